//! Sinks into folders: files that appear whole, in the layout of object storage.

use std::path::Path;
use std::time::Duration;

use arrow::array::{Array, Int64Array, StringArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use veridem::config::Config;
use veridem::files::Format;
use veridem::objects::ObjectsPlace;
use veridem::publish::{SinkKind, SinkSettings};
use veridem::store::Tenant;
use veridem_proto::v1;

use crate::consumer::*;
use crate::publishing::{churn, operations, settled, store_of};
use crate::support::*;

fn sink(name: &str, folder: &Path, format: Format) -> SinkSettings {
    let place = ObjectsPlace {
        url: format!("file://{}", folder.display()),
        options: Default::default(),
    };
    SinkSettings {
        collect_for: Duration::from_millis(300),
        ..SinkSettings::new(name, SinkKind::Objects { place, format })
    }
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let days = std::fs::read_dir(folder).expect("a folder");
    let mut files: Vec<_> = days
        .flat_map(|day| std::fs::read_dir(day.expect("a day").path()).expect("a folder"))
        .map(|file| file.expect("a file").path())
        .collect();
    files.sort();
    files
}

fn lines(folder: &Path) -> Vec<Value> {
    let text = files(folder)
        .into_iter()
        .map(|file| std::fs::read_to_string(file).expect("reads"));
    let text: String = text.collect();
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn rows(folder: &Path) -> Vec<(i64, Value)> {
    let mut rows = Vec::new();
    for file in files(folder) {
        let file = std::fs::File::open(file).expect("opens");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)
            .expect("Parquet")
            .build()
            .expect("reads");
        for batch in reader {
            let batch = batch.expect("a batch");
            let column = |name: &str| batch.column_by_name(name).expect(name).clone();
            let (sequence, data) = (column("sequence"), column("data"));
            let sequence = sequence
                .as_any()
                .downcast_ref::<Int64Array>()
                .expect("numbers");
            let data = data.as_any().downcast_ref::<StringArray>().expect("texts");
            assert_eq!(column("time").null_count(), 0);
            rows.extend((0..batch.num_rows()).map(|row| {
                (
                    sequence.value(row),
                    serde_json::from_str(data.value(row)).expect("JSON"),
                )
            }));
        }
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_gets_every_event_in_files_of_many() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (jsonl, parquet) = (
        directory.path().join("jsonl"),
        directory.path().join("parquet"),
    );
    let mut config = config(directory.path());
    config.sinks = vec![
        sink("jsonl", &jsonl, Format::Jsonl),
        sink("parquet", &parquet, Format::Parquet),
    ];
    let running = Running::start_with(config.clone()).await;
    churn(&running, 0..60).await;
    settled(&running).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    running.stop().await;
    // A restart goes on where it was, in further files.
    let running = Running::start_with(config).await;
    churn(&running, 60..100).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    settled(&running).await;
    let replay = v1::ReplaySinkRequest {
        sink: "jsonl".into(),
        from: Some(v1::replay_sink_request::From::Sequence(1)),
    };
    let received = lines(&jsonl);
    operations(&running)
        .await
        .replay_sink(replay)
        .await
        .expect("replays");
    tokio::time::sleep(Duration::from_millis(600)).await;
    settled(&running).await;
    running.stop().await;

    let store = store_of(directory.path());
    let wanted = view_of_store(&store, &Tenant::default_tenant());
    assert_in_order_per_identity(&received);
    assert_eq!(view_of(&received), wanted);
    assert_eq!(
        lines(&jsonl).len(),
        2 * received.len(),
        "a replay stands beside what was there"
    );
    let rows = rows(&parquet);
    assert_eq!(rows.len(), received.len());
    for ((sequence, data), event) in rows.iter().zip(&received) {
        assert_eq!(
            (*sequence as u64, data),
            (sequence_of(event), &event["data"])
        );
    }
    let count = files(&parquet).len();
    assert!(count < 20, "{count} files for {} events", rows.len());
}

#[test]
fn places_are_checked_when_the_configuration_is_read() {
    let text = |url: &str| {
        format!(
            "[[sinks]]\nname = \"lake\"\nkind = \"objects\"\nurl = \"{url}\"\nformat = \"parquet\"\n"
        )
    };
    let mistake = |url: &str| {
        Config::from_toml(&text(url))
            .err()
            .map(|cause| cause.to_string())
            .unwrap_or_default()
    };
    assert!(
        mistake("lake").starts_with("sinks[0].url"),
        "{}",
        mistake("lake")
    );
    assert!(mistake("gopher://x/y").starts_with("sinks[0].url"));
    let directory = tempfile::tempdir().expect("a temporary directory");
    assert_eq!(
        mistake(&format!("file://{}/lake", directory.path().display())),
        ""
    );
}
