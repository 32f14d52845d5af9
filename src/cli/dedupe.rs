//! tmp
use std::path::PathBuf;
use crate::files::*;
use crate::resolver::*;
use veridem_matchers::*;
#[derive(clap::Args)]
pub struct DedupeArguments { files: Vec<PathBuf>, #[arg(long)] out: PathBuf, #[arg(long)] rules: Option<PathBuf>, #[arg(long)] threshold: Option<f64> }
pub(super) fn run(a: DedupeArguments) -> anyhow::Result<()> {
    let mut pack = match &a.rules { Some(p) => Pack::from_toml(&std::fs::read_to_string(p)?)?, None => Pack::retail() };
    if let Some(t)=a.threshold { pack.thresholds.match_probability=t; }
    let t = crate::clock::Stopwatch::start();
    let input = read_records(&a.files, &ReadOptions::default(), &pack)?;
    eprintln!("read {} rejects {} {:.2}s", input.records.len(), input.rejects.len(), t.seconds());
    let r = resolve_records(&input.records, BulkOptions{pack: pack.clone(), model: None, training: Default::default(), link_only:false}, &|_|{});
    eprintln!("{:?} pairs {} compared {}", r.seconds, r.pairs.len(), r.compared_pairs);
    if std::env::var("V").is_ok() { for c in &r.scorer.model().comparisons { eprint!("{}: ", c.comparison); for (i,l) in c.levels.iter().enumerate() { eprint!("{} m={:.4} u={:.6} w={:.1}; ", l.level, l.m, l.u, c.weight(i as u8).0);} eprintln!(); } eprintln!("prior {} {:?}", r.scorer.model().prior, r.scorer.model().prior_weight()); for b in &r.blocking { eprintln!("{b:?}"); } }
    std::fs::create_dir_all(&a.out)?;
    let mut w = TableWriter::create(&a.out, "clusters", Format::Csv, ["source","record_id","identity_id"].map(|c|(c.to_string(),ColumnType::Text)).to_vec())?;
    for (i,c) in r.clusters.iter().enumerate() { for m in c { let k=&input.records[*m].key; w.write(&[Cell::Text(&k.source),Cell::Text(&k.record_id),Cell::Text(&i.to_string())])?; } }
    w.finish()?;
    Ok(())
}
