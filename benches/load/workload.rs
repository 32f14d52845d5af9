//! What the rows are driven with.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use veridem::api::signal_message;
use veridem::generate::{GenerateOptions, GeneratedPersons};
use veridem::resolver::Signal;
use veridem_proto::v1;

/// What the rows are driven with.
pub struct Workload {
    /// Signals of persons that are not loaded, and of every other one that is.
    pub signals: Vec<v1::Signal>,
    pub questions: Vec<Vec<v1::Attribute>>,
    pub keys: Vec<v1::RecordKey>,
}

const SEED: u64 = 4_711;

/// Writes the records of the load as files; returns them, the workload and the number of records.
pub fn prepare(
    directory: &Path,
    records: usize,
    signal_count: usize,
) -> anyhow::Result<(Vec<PathBuf>, Workload, usize)> {
    let unbounded = GenerateOptions {
        persons: usize::MAX / 4,
        seed: SEED,
    };
    let mut workload = Workload {
        signals: Vec::new(),
        questions: Vec::new(),
        keys: Vec::new(),
    };
    let (mut loaded, mut persons) = (0, 0);
    let mut known: Vec<Signal> = Vec::new();
    let mut new: Vec<Signal> = Vec::new();
    for person in GeneratedPersons::new(&unbounded) {
        if loaded < records {
            loaded += person.records.len();
            persons += 1;
            for signal in &person.signals {
                if persons % 7 == 0 && workload.keys.len() < 100_000 {
                    workload.keys.push(v1::RecordKey {
                        source: signal.source.clone(),
                        record_id: signal.record_id.clone(),
                    });
                }
            }
            if persons % 11 == 0 && workload.questions.len() < 50_000 {
                let stated = person
                    .signals
                    .iter()
                    .filter(|signal| !signal.attributes.is_empty());
                let attributes = stated.map(|signal| signal_message(signal).attributes);
                workload.questions.extend(attributes);
            }
            if known.len() < signal_count / 2 && persons % 13 == 0 {
                known.extend(person.signals);
            }
        } else if new.len() < signal_count {
            new.extend(person.signals);
        } else {
            break;
        }
    }
    let mut known = known.iter();
    for signal in &new {
        workload.signals.push(signal_message(signal));
        workload.signals.extend(known.next().map(signal_message));
    }
    // What comes out of the generator person by person would come from the shops in no order.
    let mut order: Vec<usize> = (0..workload.signals.len()).collect();
    order.sort_by_key(|index| index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20);
    workload.signals = order
        .into_iter()
        .map(|index| workload.signals[index].clone())
        .collect();
    let files = directory.join("generated");
    let generated = Command::new(env!("CARGO_BIN_EXE_veridem"))
        .args(["generate", "--persons", &persons.to_string()])
        .args(["--seed", &SEED.to_string(), "--out"])
        .arg(&files)
        .stdout(Stdio::null())
        .status()?;
    anyhow::ensure!(generated.success(), "veridem generate failed");
    let sources = ["pos", "loyalty", "ecommerce", "cdp"];
    let paths = sources
        .iter()
        .map(|source| files.join(format!("{source}.csv")));
    Ok((paths.collect(), workload, loaded))
}

/// Till receipts that all carry one e-mail address, and the records of one identity.
pub fn worst_signals(records: usize) -> Vec<v1::Signal> {
    let attribute = |value| v1::Attribute { value: Some(value) };
    let signal = |index: usize, id: String, attributes| v1::Signal {
        signal_id: format!("worst-{index}"),
        source: "worst".to_owned(),
        record_id: id,
        event_time_ms: 1_760_000_000_000 + index as i64,
        kind: v1::SignalKind::Update.into(),
        attributes,
        ..v1::Signal::default()
    };
    let shared = (0..records).map(|index| {
        let email = attribute(v1::attribute::Value::Email(
            "receipts77@shop.test".to_owned(),
        ));
        let phone = attribute(v1::attribute::Value::Phone(format!(
            "415-{:03}-{:04}",
            200 + index / 10_000,
            index % 10_000
        )));
        signal(index, format!("till-{index}"), vec![email, phone])
    });
    let one_person = (0..500).map(|index| {
        let name = attribute(v1::attribute::Value::Name(v1::PersonName {
            given: "Wilhelmina".to_owned(),
            family: "Oyelaranberg".to_owned(),
            ..Default::default()
        }));
        let born = attribute(v1::attribute::Value::BirthDate("1971-03-09".to_owned()));
        // Each value is held by fewer records than make it shared, and the next of the other kind overlaps: a chain of 500.
        let address = format!("w.oyelaranberg{}@mail.test", index / 90);
        let email = attribute(v1::attribute::Value::Email(address));
        let number = format!("415-736-{}", 1_000 + (index + 45) / 90);
        let phone = attribute(v1::attribute::Value::Phone(number));
        signal(
            records + index,
            format!("person-{index}"),
            vec![name, born, email, phone],
        )
    });
    shared.chain(one_person).collect()
}
