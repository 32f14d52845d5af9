//! Delivery as objects: JSON Lines or Parquet files in a folder or in object storage, a file a delivery, under
//! `date=<day>/<time>-<first>-<last>.<format>`, day and time (UTC) of the delivery. Names rise, unless the clock goes back while the service is
//! stopped: whoever has read up to one finds everything later behind it, and the events of an identity in their order. A delivery that is
//! repeated after a failure may hold other events than before: take an event only where its sequence number is new.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::Value;

use super::{Failure, Outgoing};
use crate::clock;
use crate::files::Format;
use crate::objects::Objects;

pub(super) struct ObjectSink {
    objects: Objects,
    format: Format,
    /// When the latest object was named, milliseconds since the Unix epoch.
    latest_ms: AtomicI64,
}

impl ObjectSink {
    pub(super) fn new(objects: Objects, format: Format) -> Self {
        Self {
            objects,
            format,
            latest_ms: AtomicI64::new(0),
        }
    }

    pub(super) async fn deliver(&self, events: Vec<Outgoing>) -> Result<(), Failure> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            return Ok(());
        };
        let (first, last) = (first.sequence, last.sequence);
        let format = self.format;
        let written = tokio::task::spawn_blocking(move || match format {
            Format::Parquet => {
                parquet(&events).map_err(|cause| Failure::Rejected(cause.to_string()))
            }
            _ => json_lines(&events),
        });
        let bytes = written.await.map_err(Failure::unavailable)??;
        let name = name_of(self.moment_ms(), first, last, format);
        let put = self.objects.put(&name, bytes).await;
        put.map_err(|cause| Failure::unavailable(format_args!("{cause:#}")))
    }

    /// Now, or right after the latest where the clock has not moved on. One delivery comes after the other.
    fn moment_ms(&self) -> i64 {
        let moment = clock::now_ms().max(self.latest_ms.load(Ordering::Relaxed) + 1);
        self.latest_ms.store(moment, Ordering::Relaxed);
        moment
    }
}

fn name_of(written_at_ms: i64, first: u64, last: u64, format: Format) -> String {
    let since_epoch = Duration::from_millis(written_at_ms.unsigned_abs());
    let moment = humantime::format_rfc3339_millis(UNIX_EPOCH + since_epoch).to_string();
    let (day, time) = moment.split_once('T').unwrap_or_default();
    let time = time.trim_end_matches('Z').replace(':', "");
    format!("date={day}/{time}-{first}-{last}.{}", format.extension())
}

fn json_lines(events: &[Outgoing]) -> Result<Vec<u8>, Failure> {
    let mut lines = Vec::new();
    for event in events {
        lines.extend(event.cloud_event()?);
        lines.push(b'\n');
    }
    Ok(lines)
}

/// The fields of CloudEvents as columns; `data` is JSON.
fn parquet(events: &[Outgoing]) -> anyhow::Result<Vec<u8>> {
    let mut parsed: Vec<Value> = Vec::with_capacity(events.len());
    for event in events {
        parsed.push(serde_json::from_slice(event.cloud_event()?)?);
    }
    let text = |name: &str| -> ArrayRef {
        let values = parsed.iter().map(|event| event[name].as_str());
        Arc::new(StringArray::from_iter(values))
    };
    let data = parsed.iter().map(|event| Some(event["data"].to_string()));
    let times = parsed.iter().map(|event| {
        let time = humantime::parse_rfc3339(event["time"].as_str()?).ok()?;
        let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_millis()).ok()
    });
    let replays = events.iter().map(|event| event.replays as i64);
    let sequences = events.iter().map(|event| event.sequence as i64);
    let moment = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let columns: [(&str, DataType, ArrayRef); 8] = [
        (
            "sequence",
            DataType::Int64,
            Arc::new(Int64Array::from_iter_values(sequences)),
        ),
        (
            "replay",
            DataType::Int64,
            Arc::new(Int64Array::from_iter_values(replays)),
        ),
        ("id", DataType::Utf8, text("id")),
        ("source", DataType::Utf8, text("source")),
        ("type", DataType::Utf8, text("type")),
        ("subject", DataType::Utf8, text("subject")),
        (
            "time",
            moment,
            Arc::new(TimestampMillisecondArray::from_iter(times).with_timezone("UTC")),
        ),
        (
            "data",
            DataType::Utf8,
            Arc::new(StringArray::from_iter(data)),
        ),
    ];
    let fields = columns
        .iter()
        .map(|(name, kind, _)| Field::new(*name, kind.clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let arrays = columns.iter().map(|(.., array)| array.clone()).collect();
    let batch = RecordBatch::try_new(schema.clone(), arrays)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties))?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_rise_with_the_moment_of_delivery() {
        let moments = [
            0,
            1,
            999,
            59_999,
            60_000,
            86_399_999,
            86_400_000,
            1_795_000_000_000,
        ];
        let names = moments.map(|moment| name_of(moment, 7, 9, Format::Parquet));
        assert!(names.is_sorted_by(|one, next| one < next), "{names:?}");
        assert_eq!(names[2], "date=1970-01-01/000000.999-7-9.parquet");
    }
}
