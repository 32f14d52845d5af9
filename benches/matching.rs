//! The functions that a pair costs, beside the crates that do the same: `cargo bench --bench matching`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use veridem::generate::{GenerateOptions, generate};
use veridem::resolver::{Fold, Matcher};
use veridem_matchers::block::Candidates;
use veridem_matchers::cluster::connected_components;
use veridem_matchers::compare::{Comparison, jaro_winkler, within_one_edit};
use veridem_matchers::{
    Decision, NormalisedRecord, Pack, PairScore, Scorer, StatedAttribute, Table, TableScorer,
    partition_rows,
};

const NAMES: &[(&str, &str)] = &[
    ("katherine", "catherine"),
    ("robert", "bob"),
    ("muller", "miller"),
    ("fitzgerald", "fitzgerlad"),
    ("okafor", "nguyen"),
];

/// How alike two texts are.
type Measure = fn(&str, &str) -> f64;
/// Whether they are alike.
type Test = fn(&str, &str) -> bool;

fn jaro_winkler_of_rapidfuzz(left: &str, right: &str) -> f64 {
    rapidfuzz::distance::jaro_winkler::similarity(left.bytes(), right.bytes())
}

fn strings(criterion: &mut Criterion) {
    let measures: [(&str, Measure); 3] = [
        ("veridem", jaro_winkler),
        ("strsim", strsim::jaro_winkler),
        ("rapidfuzz", jaro_winkler_of_rapidfuzz),
    ];
    let mut group = criterion.benchmark_group("jaro_winkler, 5 pairs of names");
    for (name, measure) in measures {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let pairs = NAMES.iter();
                pairs
                    .map(|(left, right)| measure(black_box(left), black_box(right)))
                    .sum::<f64>()
            })
        });
    }
    group.finish();
    let tests: [(&str, Test); 3] = [
        ("veridem", |left, right| {
            within_one_edit(left.as_bytes(), right.as_bytes())
        }),
        ("strsim", |left, right| {
            strsim::osa_distance(left, right) <= 1
        }),
        ("rapidfuzz", |left, right| {
            rapidfuzz::distance::osa::distance(left.bytes(), right.bytes()) <= 1
        }),
    ];
    let mut group = criterion.benchmark_group("one edit apart, 5 pairs of names");
    for (name, test) in tests {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let pairs = NAMES.iter();
                pairs
                    .filter(|(left, right)| test(black_box(left), black_box(right)))
                    .count()
            })
        });
    }
    group.finish();
}

/// Values of generated records, and a text of each as the general measures would take it.
struct Values {
    comparison: Comparison,
    records: Vec<NormalisedRecord>,
    texts: Vec<String>,
}

fn values_of(comparison: Comparison, records: &[NormalisedRecord]) -> Values {
    let text = |record: &NormalisedRecord| match comparison {
        Comparison::GivenName => Some(record.names.first()?.given.to_string()),
        Comparison::FamilyName => Some(record.names.first()?.family.to_string()),
        Comparison::BirthDate => {
            let date = record.birth_dates.first()?;
            Some(format!("{}-{:02}-{:02}", date.year, date.month, date.day))
        }
        Comparison::Email => Some(record.emails.first()?.address.to_string()),
        Comparison::Phone => Some(record.phones.first()?.to_string()),
        Comparison::Address => {
            let address = record.addresses.first()?;
            Some(format!("{} {}", address.number, address.street))
        }
        _ => None,
    };
    let (records, texts) = records
        .iter()
        .filter_map(|record| Some((record.clone(), text(record)?)))
        .filter(|(_, text)| !text.is_empty())
        .take(512)
        .unzip();
    Values {
        comparison,
        records,
        texts,
    }
}

/// One comparison of an attribute, all its levels, beside one Jaro-Winkler similarity of the same texts.
fn comparators(criterion: &mut Criterion) {
    let (_, normalised) = generated(600);
    for comparison in [
        Comparison::GivenName,
        Comparison::FamilyName,
        Comparison::BirthDate,
        Comparison::Email,
        Comparison::Phone,
        Comparison::Address,
    ] {
        let Values {
            comparison,
            records,
            texts,
        } = values_of(comparison, &normalised);
        let count = records.len();
        let mut group = criterion.benchmark_group(format!("compare {comparison}"));
        group.bench_function("veridem, its levels", |bencher| {
            let mut index = 0;
            bencher.iter(|| {
                index = (index + 1) % count;
                let other = (index * 7 + 1) % count;
                comparison.compare(black_box(&records[index]), black_box(&records[other]))
            })
        });
        for (name, measure) in [
            (
                "strsim, jaro_winkler",
                strsim::jaro_winkler as fn(&str, &str) -> f64,
            ),
            ("rapidfuzz, jaro_winkler", jaro_winkler_of_rapidfuzz),
        ] {
            group.bench_function(name, |bencher| {
                let mut index = 0;
                bencher.iter(|| {
                    index = (index + 1) % count;
                    let other = (index * 7 + 1) % count;
                    measure(black_box(&texts[index]), black_box(&texts[other]))
                })
            });
        }
        group.finish();
    }
}

/// What source records of generated persons state, and their normal forms.
fn generated(persons: usize) -> (Vec<Vec<StatedAttribute>>, Vec<NormalisedRecord>) {
    let pack = Pack::retail();
    let mut folds = std::collections::BTreeMap::<_, Fold>::new();
    for signal in generate(&GenerateOptions { persons, seed: 1 }).signals {
        folds
            .entry(signal.record_key())
            .or_default()
            .apply(&signal, &pack);
    }
    let stated: Vec<_> = folds.values().map(Fold::attributes).collect();
    let records = stated
        .iter()
        .map(|attributes| NormalisedRecord::new(attributes, pack.region()))
        .collect();
    (stated, records)
}

/// The stages of a bulk job, on one thread, over some 24,000 records.
fn stages(criterion: &mut Criterion) {
    let pack = Pack::retail();
    let (_, records) = generated(10_000);
    let mut table = Table::new(&records);
    let candidates = Candidates::new(&table, &pack.blocking);
    table.drop_shared(&pack.blocking, |key| candidates.is_inactive(key));
    let scorer = Scorer::new(Matcher::shipped_model(), &pack);
    let table_scorer = TableScorer::new(&scorer, &table);
    let score = || {
        candidates.map_pairs(&table, |left, right| {
            let (score, _) = table_scorer.score(left, right)?;
            Some((left, right, score))
        })
    };
    let matches: Vec<(usize, usize, PairScore)> = score()
        .into_iter()
        .filter(|(.., score)| score.decision == Decision::Match)
        .collect();
    let pairs = candidates.map_pairs(&table, |_, _| Some(())).len();
    let alone = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .expect("a thread");
    let mut group = criterion.benchmark_group("stages, one thread");
    group.sample_size(10);
    group.throughput(Throughput::Elements(records.len() as u64));
    group.bench_function("block, records", |bencher| {
        bencher.iter(|| alone.install(|| Candidates::new(&table, &pack.blocking)));
    });
    group.throughput(Throughput::Elements(pairs as u64));
    group.bench_function("score, candidate pairs", |bencher| {
        bencher.iter(|| alone.install(score));
    });
    group.throughput(Throughput::Elements(records.len() as u64));
    group.bench_function("cluster, records", |bencher| {
        bencher.iter(|| alone.install(|| cluster(&table_scorer, table.len(), &matches)));
    });
    group.finish();
}

fn cluster(
    scorer: &TableScorer<'_>,
    rows: usize,
    matches: &[(usize, usize, PairScore)],
) -> Vec<Vec<usize>> {
    let components = connected_components(rows, matches.iter().map(|edge| (edge.0, edge.1)));
    let mut component_of = vec![0; rows];
    for (index, members) in components.iter().enumerate() {
        for row in members {
            component_of[*row] = index;
        }
    }
    let mut edges: Vec<Vec<(usize, usize, PairScore)>> = vec![Vec::new(); components.len()];
    for (left, right, score) in matches {
        let index = component_of[*left];
        let position = |row: &usize| components[index].partition_point(|member| member < row);
        edges[index].push((position(left), position(right), *score));
    }
    let components = components.iter().zip(&edges);
    components
        .flat_map(|(members, edges)| partition_rows(members, edges, &[], &|_, _| true, scorer))
        .collect()
}

fn pairs(criterion: &mut Criterion) {
    let pack = Pack::retail();
    let matcher = Matcher::new(Matcher::shipped_model(), pack.clone());
    let (stated, records) = generated(400);
    criterion.bench_function("normalise a retail record", |bencher| {
        let mut index = 0;
        bencher.iter(|| {
            index = (index + 1) % stated.len();
            NormalisedRecord::new(black_box(&stated[index]), pack.region())
        });
    });
    criterion.bench_function("blocking keys of a retail record", |bencher| {
        let mut index = 0;
        bencher.iter(|| {
            index = (index + 1) % records.len();
            pack.blocking.keys(black_box(&records[index]))
        });
    });
    criterion.bench_function("score a pair of retail records", |bencher| {
        let mut index = 0;
        bencher.iter(|| {
            index = (index + 1) % (records.len() - 1);
            matcher
                .scorer
                .score(black_box(&records[index]), black_box(&records[index + 1]))
        });
    });
}

criterion_group!(benches, strings, comparators, pairs, stages);
criterion_main!(benches);
