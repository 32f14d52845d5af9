//! Records of bulk files: flat rows by column, or signals folded into their source records.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use csv::StringRecord;
use rustc_hash::FxHashMap;
use veridem_matchers::normalise::normalise_date;
use veridem_matchers::{
    Attribute, CustomAttribute, Identifier, Pack, PersonName, PostalAddress, Record, RecordKey,
    StatedAttribute,
};

use super::columns::{Mapping, SAMPLE_ROWS};
use super::roles::ColumnRole;
use super::rows::{Format, InputError, Rows};
use crate::resolver::{Fold, Records, RecordsBuilder, Signal};

/// How files are read.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// The text of a mapping file.
    pub mapping: Option<String>,
    /// The column that holds the record id.
    pub id_column: Option<String>,
    /// The column that holds the source; else the file's name is the source.
    pub source_column: Option<String>,
    /// The source, whatever file and columns say.
    pub source: Option<String>,
}

/// A line that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The file.
    pub file: PathBuf,
    /// Line or row, from 1.
    pub line: u64,
    /// Why.
    pub reason: String,
}

/// What was read.
#[derive(Debug, Default)]
pub struct Input {
    /// The records.
    pub records: Records,
    /// The line of each; 0 where several lines tell of it, as in a signal log.
    pub lines: Vec<u64>,
    /// Lines set aside.
    pub rejects: Vec<Reject>,
}

/// What has been read so far.
#[derive(Default)]
struct Read {
    records: RecordsBuilder,
    /// File and line of each record.
    origins: Vec<(u32, u64)>,
    rejects: Vec<Reject>,
}

/// Reads all files. Fails where a file as a whole makes no sense; single lines are set aside in `rejects`.
pub fn read_records(
    paths: &[PathBuf],
    options: &ReadOptions,
    pack: &Pack,
) -> Result<Input, InputError> {
    let mut read = Read::default();
    for (file, path) in paths.iter().enumerate() {
        let rows = Rows::open(path)?;
        let (before, rejects_before) = (read.records.len(), read.rejects.len());
        if is_signal_log(&rows) {
            read_signals(&rows, file as u32, pack, &mut read)?;
        } else {
            read_rows(&rows, file as u32, options, &mut read)?;
        }
        let rejects = &read.rejects[rejects_before..];
        if rejects.len() > 10 && rejects.len() > read.records.len() - before {
            let first = &rejects[0];
            return Err(InputError::unusable(
                path,
                format!(
                    "more lines are wrong than right ({}); the first is line {}: {}; is it UTF-8, and is the delimiter right?",
                    rejects.len(),
                    first.line,
                    first.reason
                ),
            ));
        }
    }
    let Read {
        records,
        origins,
        mut rejects,
    } = read;
    let (records, kept) = records.finish_with_origins(|repeated, first| {
        let ((file, line), (_, first)) = (origins[repeated], origins[first]);
        rejects.push(Reject {
            file: paths[file as usize].clone(),
            line,
            reason: format!("repeats the record id of line {first}"),
        });
    });
    rejects.sort_by(|left, right| (&left.file, left.line).cmp(&(&right.file, right.line)));
    let lines = kept
        .into_iter()
        .map(|index| origins[index as usize].1)
        .collect();
    Ok(Input {
        records,
        lines,
        rejects,
    })
}

/// Whether each line of a file is a signal.
pub fn is_signal_log(rows: &Rows) -> bool {
    rows.format() == Format::Jsonl
        && ["signal_id", "source", "record_id", "event_time_ms"]
            .iter()
            .all(|field| rows.columns.iter().any(|column| column == field))
}

/// Shows each line of a signal log: a signal, or why it is none.
pub fn read_signal_log(
    rows: &Rows,
    mut visit: impl FnMut(u64, Result<Signal, String>),
) -> Result<(), InputError> {
    rows.for_each_json(|line, parsed| {
        let signal = parsed.and_then(|object| {
            serde_json::from_value::<Signal>(object.into())
                // What serde says may hold the values.
                .map_err(|cause| match cause.classify() {
                    serde_json::error::Category::Data => {
                        "not a signal: a field is missing, unknown or of another type".to_owned()
                    }
                    _ => "not a signal".to_owned(),
                })
        });
        visit(line, signal);
    })
}

fn read_signals(rows: &Rows, file: u32, pack: &Pack, read: &mut Read) -> Result<(), InputError> {
    let mut folds: FxHashMap<RecordKey, Fold> = FxHashMap::default();
    read_signal_log(rows, |line, signal| match signal {
        Ok(signal) => folds
            .entry(signal.record_key())
            .or_default()
            .apply(&signal, pack),
        Err(reason) => read.rejects.push(Reject {
            file: rows.path().to_owned(),
            line,
            reason,
        }),
    })?;
    for (key, fold) in folds.into_iter().filter(|(_, fold)| fold.is_alive()) {
        let attributes = fold.attributes();
        read.records.push(&Record { key, attributes });
        read.origins.push((file, 0));
    }
    Ok(())
}

fn read_rows(
    rows: &Rows,
    file: u32,
    options: &ReadOptions,
    read: &mut Read,
) -> Result<(), InputError> {
    let sample = rows.sample(SAMPLE_ROWS)?;
    let mut mapping = match &options.mapping {
        Some(text) => Mapping::from_toml(text, &rows.columns, &sample)
            .map_err(|cause| InputError::unusable(rows.path(), cause.to_string()))?,
        None => Mapping::recognise(&rows.columns, &sample),
    };
    for (column, role) in [
        (&options.id_column, ColumnRole::RecordId),
        (&options.source_column, ColumnRole::Source),
    ] {
        let Some(column) = column else { continue };
        let index = rows.columns.iter().position(|known| known == column);
        let index = index.ok_or_else(|| {
            InputError::unusable(
                rows.path(),
                format!(
                    "has no column \"{column}\"; it has {}",
                    rows.columns.join(", ")
                ),
            )
        })?;
        for other in mapping.roles.iter_mut().filter(|other| **other == role) {
            *other = ColumnRole::Ignore;
        }
        mapping.roles[index] = role;
    }
    if !sample.is_empty() && !mapping.has_evidence() {
        return Err(InputError::unusable(
            rows.path(),
            format!(
                "no column says anything about a person (columns: {}); name them with --mapping",
                rows.columns.join(", ")
            ),
        ));
    }
    if options.source.is_some() {
        for role in mapping
            .roles
            .iter_mut()
            .filter(|role| **role == ColumnRole::Source)
        {
            *role = ColumnRole::Ignore;
        }
    }
    let file_source = options
        .source
        .clone()
        .unwrap_or_else(|| source_of(rows.path()));
    let has_id = mapping.roles.contains(&ColumnRole::RecordId);
    rows.for_each_chunk(
        |rows_of_chunk| {
            let mut chunk = Read::default();
            for (line, fields) in rows_of_chunk {
                let record = fields
                    .and_then(|fields| record_of(&mapping, &fields, &file_source, has_id, line));
                match record {
                    Ok(record) => {
                        chunk.records.push(&record);
                        chunk.origins.push((file, line));
                    }
                    Err(reason) => chunk.rejects.push(Reject {
                        file: rows.path().to_owned(),
                        line,
                        reason,
                    }),
                }
            }
            chunk
        },
        |chunk| {
            read.records.append(chunk.records);
            read.origins.extend(chunk.origins);
            read.rejects.extend(chunk.rejects);
            true
        },
    )
}

fn source_of(path: &Path) -> String {
    path.file_stem().map_or_else(
        || "records".to_owned(),
        |stem| stem.to_string_lossy().into_owned(),
    )
}

fn record_of(
    mapping: &Mapping,
    fields: &StringRecord,
    file_source: &str,
    has_id: bool,
    line: u64,
) -> Result<Record, String> {
    let mut key = RecordKey::new(
        file_source,
        if has_id {
            String::new()
        } else {
            line.to_string()
        },
    );
    let (mut name, mut address, mut maiden, mut stated_at_ms) = (
        PersonName::default(),
        PostalAddress::default(),
        String::new(),
        0,
    );
    let mut attributes = Vec::new();
    for (role, field) in mapping.roles.iter().zip(fields) {
        let value = field.trim();
        if value.is_empty() {
            continue;
        }
        let value = value.to_owned();
        match role {
            ColumnRole::RecordId => key.record_id = value,
            ColumnRole::Source => key.source = value,
            ColumnRole::GivenName => append(&mut name.given, value),
            ColumnRole::MiddleName => append(&mut name.middle, value),
            ColumnRole::FamilyName => append(&mut name.family, value),
            ColumnRole::MaidenName => maiden = value,
            ColumnRole::NameSuffix => name.suffix = value,
            ColumnRole::FullName => name.full = value,
            ColumnRole::Email => attributes.push(Attribute::Email(value)),
            ColumnRole::Phone => attributes.push(Attribute::Phone(value)),
            ColumnRole::Street => append(&mut address.street, value),
            ColumnRole::StreetNumber => address.number = value,
            ColumnRole::Unit => append(&mut address.unit, value),
            ColumnRole::City => address.city = value,
            ColumnRole::Region => address.region = value,
            ColumnRole::Postcode => address.postcode = value,
            ColumnRole::Country => address.country = value,
            // Full stops say that the day comes first.
            ColumnRole::BirthDate { day_first } => {
                attributes.push(Attribute::BirthDate(if *day_first {
                    value.replace(['/', '-'], ".")
                } else {
                    value
                }))
            }
            ColumnRole::Gender => attributes.push(Attribute::Gender(value)),
            ColumnRole::Identifier(scheme) => attributes.push(Attribute::Identifier(Identifier {
                scheme: scheme.clone(),
                value,
            })),
            ColumnRole::Custom(name) => attributes.push(Attribute::Custom(CustomAttribute {
                name: name.clone(),
                value,
            })),
            ColumnRole::UpdatedAt => stated_at_ms = time_of(&value),
            ColumnRole::Ignore => {}
        }
    }
    if key.record_id.is_empty() {
        return Err("has no record id".to_owned());
    }
    if key.source.is_empty() {
        return Err("has no source".to_owned());
    }
    if !maiden.is_empty() {
        attributes.push(Attribute::Name(PersonName {
            family: maiden,
            full: String::new(),
            ..name.clone()
        }));
    }
    if name != PersonName::default() {
        attributes.push(Attribute::Name(name));
    }
    if address != PostalAddress::default() {
        attributes.push(Attribute::Address(address));
    }
    let attributes = attributes
        .into_iter()
        .map(|attribute| StatedAttribute {
            attribute,
            stated_at_ms,
        })
        .collect();
    Ok(Record { key, attributes })
}

fn append(text: &mut String, value: String) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(&value);
}

/// Milliseconds since the epoch of a number (seconds or milliseconds), a moment or a date; 0 where it is none.
fn time_of(value: &str) -> i64 {
    if let Ok(number) = value.parse::<i64>() {
        return if number.abs() < 100_000_000_000 {
            number * 1000
        } else {
            number
        };
    }
    let midnight = || normalise_date(value).map(|date| format!("{date} 00:00:00"));
    let time = humantime::parse_rfc3339_weak(value)
        .ok()
        .or_else(|| humantime::parse_rfc3339_weak(&midnight()?).ok());
    time.and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::time_of;

    #[test]
    fn numbers_and_dates_of_one_moment_are_one_time() {
        for written in [
            "1577934671",
            "1577934671000",
            "2020-01-02T03:11:11Z",
            "2020-01-02 03:11:11",
        ] {
            assert_eq!(time_of(written), 1_577_934_671_000, "{written}");
        }
        assert_eq!(time_of("01/02/2020"), 1_577_923_200_000);
        assert_eq!(time_of("soon"), 0);
    }
}
