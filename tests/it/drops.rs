//! File drops: whole files come in once, wrong lines are told, what a full file leaves out ends.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use veridem::config::Config;
use veridem::files::{Cell, ColumnType, Format, TableWriter};
use veridem_proto::v1;
use veridem_proto::v1::{JobKind, JobState};

use crate::publishing::operations;
use crate::support::*;

struct Folder {
    folder: PathBuf,
    config: Config,
}

impl Folder {
    fn new(directory: &Path, settings: &str) -> Self {
        let folder = directory.join("drop");
        let text = format!(
            "[[drops]]\nname = \"nightly\"\nurl = \"file://{}\"\ninterval = \"50ms\"\n{settings}",
            folder.display()
        );
        let mut config = config(directory);
        let read = Config::from_toml(&text).unwrap_or_else(|cause| panic!("{cause}"));
        (config.drops, config.sources) = (read.drops, read.sources);
        Self { folder, config }
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).expect("written");
    }

    fn result_of(&self, name: &str) -> Option<Value> {
        let text = std::fs::read_to_string(self.folder.join(format!("{name}.result.json"))).ok()?;
        serde_json::from_str(&text).ok()
    }

    async fn processed(&self, name: &str) -> Value {
        for _ in 0..600 {
            if let Some(result) = self.result_of(name) {
                return result;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{name} is not processed in 12 s");
    }
}

async fn statistics(running: &Running) -> v1::GetStatisticsResponse {
    let answer = operations(running)
        .await
        .get_statistics(v1::GetStatisticsRequest {})
        .await;
    answer.expect("counts").into_inner()
}

/// A customer file: all of these have a name of their own.
fn file(records: std::ops::Range<usize>) -> String {
    let rows = records.map(|index| format!("{index},Ann{index},Lee{index},ann{index}@lee.org\n"));
    format!(
        "customer_id,first_name,last_name,email\n{}",
        rows.collect::<String>()
    )
    .replace("customer_id", "id")
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_in_once_with_a_result_beside_each() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let drop = Folder::new(directory.path(), "source = \"loyalty\"\n");
    let running = Running::start_with(drop.config.clone()).await;
    drop.put("monday.csv", &file(0..20));
    let result = drop.processed("monday.csv").await;
    assert_eq!(
        (&result["outcome"], &result["accepted"]),
        (&"loaded".into(), &20.into()),
        "{result}"
    );
    // The same again, under another name; one that is still written; one that is none; one with wrong lines.
    drop.put("again.csv", &file(0..20));
    drop.put("half.csv.part", &file(20..30));
    drop.put("picture.csv", "\u{0}\u{1}\u{2}");
    assert_eq!(drop.processed("again.csv").await["outcome"], "repeated");
    let mut text = file(20..30);
    text.push_str("\u{fffd},\"unclosed\n");
    drop.put("tuesday.csv", &text);
    let result = drop.processed("tuesday.csv").await;
    assert_eq!(
        (&result["accepted"], &result["rejected"]),
        (&10.into(), &1.into()),
        "{result}"
    );
    assert!(result["rejects"][0]["line"].as_u64() > Some(10), "{result}");
    let result = drop.processed("picture.csv").await;
    assert_eq!(result["outcome"], "failed", "{result}");
    assert!(
        !result["problem"]
            .as_str()
            .unwrap_or_default()
            .contains("/tmp"),
        "{result}"
    );
    assert!(drop.result_of("half.csv.part").is_none());
    assert_eq!(statistics(&running).await.source_records, 30);
    let asked = v1::ListJobsRequest {};
    let jobs = operations(&running).await.list_jobs(asked).await;
    let jobs = jobs.expect("lists").into_inner().jobs.into_iter().rev();
    let jobs = jobs.map(|job| (job.name.clone(), job.kind(), job.state()));
    let jobs: BTreeSet<_> = jobs.map(|job| format!("{job:?}")).collect();
    let job = |name: &str, state| {
        format!(
            "{:?}",
            (format!("nightly/{name}"), JobKind::FileDrop, state)
        )
    };
    let expected = [
        job("again.csv", JobState::Done),
        job("monday.csv", JobState::Done),
        job("picture.csv", JobState::Failed),
        job("tuesday.csv", JobState::Done),
    ];
    assert_eq!(jobs, expected.into());
    running.stop().await;

    // A restart processes nothing twice, and what changes anew.
    let running = Running::start_with(drop.config.clone()).await;
    std::fs::rename(
        drop.folder.join("half.csv.part"),
        drop.folder.join("half.csv"),
    )
    .expect("renamed");
    assert_eq!(drop.processed("half.csv").await["repeated"], 0);
    let signals = statistics(&running).await.signals;
    std::fs::remove_file(drop.folder.join("monday.csv.result.json")).expect("removed");
    let result = drop.processed("monday.csv").await;
    assert_eq!(
        (&result["accepted"], &result["repeated"]),
        (&0.into(), &20.into()),
        "as after a crash: {result}"
    );
    assert_eq!(statistics(&running).await.signals, signals);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_ends_what_it_leaves_out_but_not_suspiciously_much() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let drop = Folder::new(
        directory.path(),
        "source = \"loyalty\"\nmode = \"full\"\nmax_ended_share = 0.5\n",
    );
    let running = Running::start_with(drop.config.clone()).await;
    submit(&running, update("pos", "pos/1", vec![name("Bob", "Quist")]))
        .await
        .expect("accepted");
    drop.put("1.csv", &file(0..20));
    assert_eq!(drop.processed("1.csv").await["ended"], 0);
    drop.put("2.csv", &file(5..21));
    let result = drop.processed("2.csv").await;
    assert_eq!(
        (&result["ended"], &result["problem"]),
        (&5.into(), &"".into()),
        "{result}"
    );
    assert_eq!(
        statistics(&running).await.source_records,
        16 + 1,
        "those of other sources stay"
    );
    // A file that was cut off would end nearly all.
    drop.put("3.csv", &file(5..7));
    let result = drop.processed("3.csv").await;
    assert_eq!(result["ended"], 0, "{result}");
    assert!(
        result["problem"]
            .as_str()
            .unwrap_or_default()
            .contains("none is ended"),
        "{result}"
    );
    assert_eq!(statistics(&running).await.source_records, 17);
    // What was there before comes back.
    drop.put("4.csv", &file(0..20));
    assert_eq!(drop.processed("4.csv").await["ended"], 1);
    assert_eq!(statistics(&running).await.source_records, 21);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signal_logs_keep_their_signals_and_the_registry_is_asked() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let registry =
        "[[sources]]\nname = \"pos\"\n[[sources.rules]]\nattribute = \"email\"\nrequired = true\n";
    let drop = Folder::new(directory.path(), registry);
    let running = Running::start_with(drop.config.clone()).await;
    let signals = [
        update(
            "s1",
            "pos/1",
            vec![name("Ann", "Lee"), email("ann@lee.org")],
        ),
        update("s2", "pos/2", vec![name("Bob", "Lee")]),
        update(
            "s3",
            "kiosk/3",
            vec![name("Eva", "Lee"), email("eva@lee.org")],
        ),
    ];
    let mut lines: Vec<String> = signals
        .iter()
        .map(|signal| serde_json::to_string(signal).expect("JSON"))
        .collect();
    lines.push(lines[0].replace("ann@", "anna@"));
    drop.put("log.jsonl", &(lines.join("\n") + "\n"));
    let result = drop.processed("log.jsonl").await;
    let counts =
        ["records", "accepted", "quarantined", "rejected"].map(|name| result[name].as_u64());
    assert_eq!(counts, [4, 1, 2, 1].map(Some), "{result}");
    assert_eq!(
        result["rejects"][0]["line"], 4,
        "the same id with other content: {result}"
    );
    let asked = v1::ListQuarantineRequest::default();
    let entries = operations(&running)
        .await
        .list_quarantine(asked)
        .await
        .expect("lists")
        .into_inner()
        .quarantined;
    assert!(
        entries.len() == 2 && entries.iter().all(|entry| entry.origin == "nightly"),
        "{entries:?}"
    );
    running.stop().await;
}

/// The same ten customers in every format that a drop takes; the third and the fifth have no e-mail address.
fn write_customers(folder: &Path, format: Format) {
    let columns = ["id", "first_name", "last_name", "contact"];
    let text = columns.map(|name| (name.to_owned(), ColumnType::Text));
    let mut table =
        TableWriter::create(folder, "customers", format, text.into()).expect("creates the file");
    let row = |index: usize, take: &mut dyn FnMut(&[Cell<'_>])| {
        let (id, given) = (format!("k{index}"), format!("Ann{index}"));
        let email = match index {
            2 | 4 => String::new(),
            _ => format!("ann{index}@lee.org"),
        };
        take(&[&id, &given, "Lee", &email].map(Cell::Text));
    };
    table.write_rows(10, row).expect("written");
    table.finish().expect("put in its place");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_names_the_lines_of_every_format_that_are_set_aside() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mapping = directory.path().join("mapping.toml");
    std::fs::write(&mapping, "[columns]\n\"contact\" = \"email\"\n").expect("written");
    let settings = format!(
        "source = \"crm\"\nmapping = \"{}\"\n[[sources]]\nname = \"crm\"\n[[sources.rules]]\nattribute = \"email\"\nrequired = true\n",
        mapping.display()
    );
    let drop = Folder::new(directory.path(), &settings);
    let running = Running::start_with(drop.config.clone()).await;
    for (format, first_line) in [(Format::Csv, 2), (Format::Jsonl, 1), (Format::Parquet, 1)] {
        let name = format!("customers.{}", format.extension());
        write_customers(&drop.folder, format);
        let result = drop.processed(&name).await;
        let counts = ["records", "quarantined", "rejected"].map(|name| result[name].as_u64());
        assert_eq!(counts, [10, 2, 0].map(Some), "{result}");
        let lines: Vec<u64> = (result["quarantined_lines"].as_array().into_iter().flatten())
            .filter_map(|told| told["line"].as_u64())
            .collect();
        assert_eq!(lines, [first_line + 2, first_line + 4], "{name}: {result}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_still_grows_is_left_until_it_is_whole() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let drop = Folder::new(directory.path(), "source = \"loyalty\"\n");
    let mut config = drop.config.clone();
    config.drops[0].interval = Duration::from_secs(1);
    let running = Running::start_with(config).await;
    let whole = file(0..150);
    let mut growing = std::fs::File::create(drop.folder.join("slow.csv")).expect("created");
    for piece in whole.as_bytes().chunks(whole.len().div_ceil(100)) {
        growing.write_all(piece).expect("written");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(drop.result_of("slow.csv"), None);
    std::mem::drop(growing);
    let result = drop.processed("slow.csv").await;
    let counts = ["records", "accepted", "rejected"].map(|name| result[name].as_u64());
    assert_eq!(counts, [150, 150, 0].map(Some), "{result}");
    running.stop().await;
}
