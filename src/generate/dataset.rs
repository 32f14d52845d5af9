//! The files of a generated world.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::household::{WINDOW_END_MS, WINDOW_START_MS};
use super::signal_line::SignalLine;
use super::sorter::SpillSorter;
use super::source::{CDP, ECOMMERCE, LOYALTY, POS, SOURCES};
use super::{GENERATOR_VERSION, GenerateOptions, GeneratedPersons, GeneratedRecord, Trap};

/// Memory that the signals may take before they are spilled.
const SIGNAL_LIMIT_BYTES: usize = 256 << 20;
/// Memory that one source's records may take before they are spilled.
const RECORD_LIMIT_BYTES: usize = 96 << 20;

const RECORD_HEADER: [&str; 13] = [
    "record_id",
    "first_name",
    "last_name",
    "email",
    "phone",
    "dob",
    "street",
    "city",
    "state",
    "zip",
    "loyalty_id",
    "order_id",
    "updated_at",
];

/// What a generated data set consists of; the content of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The program that wrote the data set.
    pub generator: String,
    /// [`GENERATOR_VERSION`] of that program.
    pub generator_version: u32,
    /// The seed.
    pub seed: u64,
    /// Persons, which are the clusters of the truth.
    pub persons: u64,
    /// Households that the persons live in.
    pub households: u64,
    /// Records of all sources.
    pub records: u64,
    /// Records of each source.
    pub records_by_source: BTreeMap<String, u64>,
    /// Pairs of records that belong to one person.
    pub true_pairs: u64,
    /// Signals in `signals.jsonl`; 0 where they were not asked for.
    pub signals: u64,
    /// How many persons, or records in their final state, have each difficulty.
    pub traps: BTreeMap<String, u64>,
}

impl Manifest {
    fn new(options: &GenerateOptions) -> Self {
        let sources = SOURCES.iter().map(|source| (source.name.to_owned(), 0));
        Self {
            generator: "veridem generate".to_owned(),
            generator_version: GENERATOR_VERSION,
            seed: options.seed,
            persons: 0,
            households: 0,
            records: 0,
            records_by_source: sources.collect(),
            true_pairs: 0,
            signals: 0,
            traps: Trap::ALL
                .iter()
                .map(|trap| (trap.name().to_owned(), 0))
                .collect(),
        }
    }

    fn count(&mut self, trap: Trap) {
        if let Some(count) = self.traps.get_mut(trap.name()) {
            *count += 1;
        }
    }
}

/// Writes a world into a folder, which is created where it is missing: `<source>.csv` for each of the four sources,
/// `truth.csv`, `manifest.json` and, where asked for, `signals.jsonl`.
///
/// Rows are sorted by record id, that is, shuffled; signals by event time, then signal id. Memory stays below about
/// 1 GiB however many persons there are; what does not fit is sorted in a folder `.spill` that is gone in the end.
///
/// # Errors
///
/// A file or folder that cannot be written, with its name.
pub fn write_dataset(
    options: &GenerateOptions,
    out: &Path,
    signals: bool,
) -> anyhow::Result<Manifest> {
    write_limited(
        options,
        out,
        signals,
        [RECORD_LIMIT_BYTES, SIGNAL_LIMIT_BYTES],
    )
}

/// [`write_dataset`] with the memory for records and for signals given.
pub(super) fn write_limited(
    options: &GenerateOptions,
    out: &Path,
    signals: bool,
    [record_limit_bytes, signal_limit_bytes]: [usize; 2],
) -> anyhow::Result<Manifest> {
    std::fs::create_dir_all(out)
        .with_context(|| format!("cannot create the folder {}", out.display()))?;
    let spill = out.join(".spill");
    let mut record_sorters = [CDP, ECOMMERCE, LOYALTY, POS].map(|source| {
        let folder = spill.join(SOURCES[source].name);
        SpillSorter::new(&folder, 0, (1 << 40) - 1, record_limit_bytes)
    });
    let window = [WINDOW_START_MS.unsigned_abs(), WINDOW_END_MS.unsigned_abs()];
    let mut signal_sorter = SpillSorter::new(
        &spill.join("signals"),
        window[0],
        window[1],
        signal_limit_bytes,
    );
    let mut persons = GeneratedPersons::new(options);
    if !signals {
        persons = persons.without_signals();
    }
    let spilling = || format!("cannot sort in {}", spill.display());

    let mut manifest = Manifest::new(options);
    let mut payload = Vec::new();
    for output in persons {
        manifest.persons += 1;
        manifest.households = output.household + 1;
        let count = output.records.len() as u64;
        manifest.records += count;
        manifest.true_pairs += count * (count - 1) / 2;
        for trap in output.traps.iter() {
            manifest.count(trap);
        }
        for record in &output.records {
            for trap in record.traps.iter() {
                manifest.count(trap);
            }
            let source = SOURCES
                .iter()
                .position(|source| source.name == record.source);
            let source = source.context("a record of no known source")?;
            let key = u64::from_str_radix(&record.record_id, 16)
                .context("a record id that is not hexadecimal")?;
            pack(record, &mut payload);
            record_sorters[source]
                .push(key, &payload)
                .with_context(spilling)?;
        }
        for signal in &output.signals {
            manifest.signals += 1;
            payload.clear();
            serde_json::to_writer(&mut payload, &SignalLine::from(signal))?;
            let key = signal.event_time_ms.unsigned_abs();
            signal_sorter.push(key, &payload).with_context(spilling)?;
        }
    }

    if signals {
        let path = out.join("signals.jsonl");
        write_signals(&path, signal_sorter)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    write_records(out, record_sorters, &mut manifest)?;
    if spill.exists() {
        std::fs::remove_dir_all(&spill)
            .with_context(|| format!("cannot remove {}", spill.display()))?;
    }
    let path = out.join("manifest.json");
    let text = serde_json::to_string_pretty(&manifest)? + "\n";
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(manifest)
}

fn write_signals(path: &Path, sorter: SpillSorter) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    sorter.drain(|line| {
        file.write_all(line)?;
        file.write_all(b"\n")
    })?;
    file.flush()
}

/// Writes the four files of records and, since both have the same order, the truth along with them.
fn write_records(
    out: &Path,
    sorters: [SpillSorter; 4],
    manifest: &mut Manifest,
) -> anyhow::Result<()> {
    let truth_path = out.join("truth.csv");
    let mut truth = csv::Writer::from_path(&truth_path)
        .with_context(|| format!("cannot write {}", truth_path.display()))?;
    truth.write_record(["source", "record_id", "cluster"])?;
    for (source, sorter) in SOURCES.iter().zip(sorters) {
        let path = out.join(format!("{}.csv", source.name));
        let cannot_write = || format!("cannot write {}", path.display());
        let mut rows = csv::Writer::from_path(&path).with_context(cannot_write)?;
        rows.write_record(RECORD_HEADER)?;
        let mut count = 0;
        let write_row = |payload: &[u8]| {
            let fields: Vec<&[u8]> = payload.split(|byte| *byte == SEPARATOR).collect();
            let [columns @ .., person] = fields.as_slice() else {
                return Ok(());
            };
            count += 1;
            rows.write_record(columns)?;
            truth.write_record([source.name.as_bytes(), columns[0], person])?;
            Ok(())
        };
        sorter.drain(write_row).with_context(cannot_write)?;
        rows.flush().with_context(cannot_write)?;
        manifest
            .records_by_source
            .insert(source.name.to_owned(), count);
    }
    truth
        .flush()
        .with_context(|| format!("cannot write {}", truth_path.display()))?;
    Ok(())
}

/// Between the fields of a sorter's payload; no generated value has it.
const SEPARATOR: u8 = 0x1F;

/// A record's columns and its person, joined.
fn pack(record: &GeneratedRecord, payload: &mut Vec<u8>) {
    payload.clear();
    let columns = [
        &record.record_id,
        &record.first_name,
        &record.last_name,
        &record.email,
        &record.phone,
        &record.dob,
        &record.street,
        &record.city,
        &record.state,
        &record.zip,
        &record.loyalty_id,
        &record.order_id,
    ];
    for column in columns {
        payload.extend_from_slice(column.as_bytes());
        payload.push(SEPARATOR);
    }
    payload.extend_from_slice(record.updated_at.to_string().as_bytes());
    payload.push(SEPARATOR);
    payload.extend_from_slice(record.person.to_string().as_bytes());
}
