//! What people said of records, as a file: clusters of some of them, or pairs.

use std::path::Path;

use anyhow::bail;
use csv::StringRecord;
use rustc_hash::FxHashMap;
use veridem_matchers::RecordKey;
use veridem_matchers::train::LabelledPair;

use super::Rows;
use crate::resolver::{Labels, Records};

/// Where a record is named in a file of labels.
struct KeyColumns {
    source: Option<usize>,
    record_id: usize,
}

/// Reads labels: a file of `record_id[,source],cluster`, or of `left_record_id[,left_source],right_record_id[,right_source],match`
/// with `true` or `false`. Also gives the number of lines that name a record which is not there.
pub fn read_labels(path: &Path, records: &Records) -> anyhow::Result<(Labels, usize)> {
    let rows = Rows::open(path)?;
    let column = |name: &str| rows.columns.iter().position(|column| column == name);
    let key = |side: &str| {
        Some(KeyColumns {
            source: column(&format!("{side}source")),
            record_id: column(&format!("{side}record_id"))?,
        })
    };
    let mut reader = LabelReader::new(records);
    if let (Some(key), Some(cluster)) = (key(""), column("cluster")) {
        reader.for_each(&rows, |reader, fields| {
            let row = reader.row(fields, &key)?;
            reader.found(row, |labels, row| {
                labels.clusters.push((row, fields[cluster].to_owned()));
            });
            Ok(())
        })?;
    } else if let (Some(left), Some(right), Some(is_match)) =
        (key("left_"), key("right_"), column("match"))
    {
        reader.for_each(&rows, |reader, fields| {
            let is_match = truth_of(&fields[is_match])?;
            let pair = reader.row(fields, &left)?.zip(reader.row(fields, &right)?);
            reader.found(pair, |labels, (left, right)| {
                labels.pairs.push(LabelledPair {
                    left: left.min(right),
                    right: left.max(right),
                    is_match,
                });
            });
            Ok(())
        })?;
    } else {
        bail!(
            "{}: needs the columns record_id and cluster, or left_record_id, right_record_id and match; it has {}",
            path.display(),
            rows.columns.join(", ")
        );
    }
    let labels = reader.labels;
    if labels.clusters.is_empty() && labels.pairs.is_empty() {
        bail!("{}: no line names records of the files", path.display());
    }
    Ok((labels, reader.missing))
}

fn truth_of(text: &str) -> anyhow::Result<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "match" => Ok(true),
        "false" | "0" | "no" | "non_match" => Ok(false),
        _ => bail!("column match must be true or false"),
    }
}

struct LabelReader<'a> {
    records: &'a Records,
    /// Rows by record id, for keys without a source; `None` where several sources have the id.
    by_record_id: Option<FxHashMap<&'a str, Option<u32>>>,
    labels: Labels,
    missing: usize,
}

impl<'a> LabelReader<'a> {
    fn new(records: &'a Records) -> Self {
        Self {
            records,
            by_record_id: None,
            labels: Labels::default(),
            missing: 0,
        }
    }

    fn for_each(
        &mut self,
        rows: &Rows,
        mut take: impl FnMut(&mut Self, &StringRecord) -> anyhow::Result<()> + Send,
    ) -> anyhow::Result<()> {
        let mut problem = Ok(());
        rows.for_each_chunk(
            |rows| rows,
            |chunk| {
                for (line, fields) in chunk {
                    let taken = fields
                        .map_err(anyhow::Error::msg)
                        .and_then(|fields| take(self, &fields));
                    if let Err(cause) = taken {
                        problem =
                            Err(cause.context(format!("{}: line {line}", rows.path().display())));
                        return false;
                    }
                }
                true
            },
        )?;
        problem
    }

    fn row(&mut self, fields: &StringRecord, key: &KeyColumns) -> anyhow::Result<Option<u32>> {
        let record_id = &fields[key.record_id];
        if let Some(source) = key.source {
            let key = RecordKey::new(&fields[source], record_id);
            return Ok(self.records.find(&key).map(|row| row as u32));
        }
        let records = self.records;
        let by_record_id = self.by_record_id.get_or_insert_with(|| {
            let mut rows = FxHashMap::default();
            for row in 0..records.len() {
                rows.entry(records.key(row).1)
                    .and_modify(|known| *known = None)
                    .or_insert(Some(row as u32));
            }
            rows
        });
        match by_record_id.get(record_id) {
            Some(None) => {
                bail!("several sources have a record of this id; give the source in a column too")
            }
            found => Ok(found.copied().flatten()),
        }
    }

    fn found<T>(&mut self, rows: Option<T>, take: impl FnOnce(&mut Labels, T)) {
        match rows {
            Some(rows) => take(&mut self.labels, rows),
            None => self.missing += 1,
        }
    }
}
