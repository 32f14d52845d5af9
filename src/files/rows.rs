//! Rows of a file, whatever its format, as text fields.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// The longest field; more is not what a customer's attribute holds.
const MAX_FIELD_BYTES: usize = 4096;
/// The longest line of a JSON Lines file.
const MAX_LINE_BYTES: usize = 1 << 20;

/// A bulk file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Comma, semicolon or tab separated, with a header line.
    Csv,
    /// One JSON object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// The format by a file's name: `.parquet`, `.jsonl`, `.ndjson` and `.json`, everything else is CSV.
    pub fn of(path: &Path) -> Self {
        match path
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or_default()
            .to_ascii_lowercase()
            .as_str()
        {
            "parquet" | "pq" => Self::Parquet,
            "jsonl" | "ndjson" | "json" => Self::Jsonl,
            _ => Self::Csv,
        }
    }

    /// The ending of file names.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
        }
    }
}

/// Why a file as a whole cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The file system says no.
    #[error("{}: {cause}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// Not the format that the name says, or nothing that can be resolved in it.
    #[error("{}: {problem}", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
}

impl InputError {
    pub(super) fn unusable(path: &Path, problem: impl Into<String>) -> Self {
        Self::Unusable {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }

    fn io(path: &Path, cause: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            cause,
        }
    }
}

/// A file with its columns.
pub struct Rows {
    path: PathBuf,
    format: Format,
    delimiter: u8,
    /// Names of the columns.
    pub columns: Vec<String>,
}

impl Rows {
    /// Looks at a file: its format and its columns.
    pub fn open(path: &Path) -> Result<Self, InputError> {
        let format = Format::of(path);
        let mut rows = Self {
            path: path.to_owned(),
            format,
            delimiter: b',',
            columns: Vec::new(),
        };
        match format {
            Format::Csv => rows.open_csv()?,
            Format::Jsonl => rows.open_jsonl()?,
            Format::Parquet => {
                let reader =
                    ParquetRecordBatchReaderBuilder::try_new(rows.file()?).map_err(|cause| {
                        InputError::unusable(path, format!("not a Parquet file: {cause}"))
                    })?;
                rows.columns = reader
                    .schema()
                    .fields()
                    .iter()
                    .map(|field| field.name().clone())
                    .collect();
            }
        }
        Ok(rows)
    }

    fn file(&self) -> Result<File, InputError> {
        File::open(&self.path).map_err(|cause| InputError::io(&self.path, cause))
    }

    fn open_csv(&mut self) -> Result<(), InputError> {
        let mut first = Vec::new();
        BufReader::new(self.file()?)
            .take(MAX_LINE_BYTES as u64)
            .read_until(b'\n', &mut first)
            .map_err(|cause| InputError::io(&self.path, cause))?;
        if first.starts_with(&[0xff, 0xfe])
            || first.starts_with(&[0xfe, 0xff])
            || first.contains(&0)
        {
            return Err(InputError::unusable(
                &self.path,
                "is not UTF-8 text (UTF-16 or binary); convert it, for example with: iconv -f UTF-16 -t UTF-8",
            ));
        }
        let count = |delimiter: u8| first.iter().filter(|byte| **byte == delimiter).count();
        self.delimiter = [b',', b';', b'\t', b'|']
            .into_iter()
            .rev()
            .max_by_key(|delimiter| count(*delimiter))
            .unwrap_or(b',');
        let mut reader = self.csv_reader()?;
        let header = reader
            .byte_headers()
            .map_err(|cause| InputError::unusable(&self.path, format!("header: {cause}")))?;
        self.columns = header
            .iter()
            .map(|name| {
                String::from_utf8_lossy(name)
                    .trim()
                    .trim_start_matches('\u{feff}')
                    .to_owned()
            })
            .collect();
        if self.columns.iter().all(String::is_empty) {
            return Err(InputError::unusable(
                &self.path,
                "has no header line; the first line must name the columns",
            ));
        }
        Ok(())
    }

    fn csv_reader(&self) -> Result<csv::Reader<File>, InputError> {
        Ok(csv::ReaderBuilder::new()
            .delimiter(self.delimiter)
            .flexible(true)
            .buffer_capacity(1 << 18)
            .from_reader(self.file()?))
    }

    fn open_jsonl(&mut self) -> Result<(), InputError> {
        let mut seen = std::collections::BTreeSet::new();
        self.for_each_json(&mut |_, parsed| {
            if let Ok(object) = parsed {
                for name in object.keys() {
                    if !seen.contains(name) {
                        seen.insert(name.clone());
                    }
                }
            }
            true
        })?;
        self.columns = seen.into_iter().collect();
        Ok(())
    }

    /// Walks all rows until `take` says false. A row comes with its line (CSV, JSON Lines) or row number (Parquet), counted
    /// from 1; a row that cannot be read comes as the reason.
    pub fn for_each(
        &self,
        take: &mut dyn FnMut(u64, Result<Vec<String>, String>) -> bool,
    ) -> Result<(), InputError> {
        match self.format {
            Format::Csv => self.for_each_csv(take),
            Format::Jsonl => self.for_each_json(&mut |line, parsed| {
                take(
                    line,
                    parsed.and_then(|object| {
                        self.columns
                            .iter()
                            .map(|column| json_text(column, object.get(column)))
                            .collect()
                    }),
                )
            }),
            Format::Parquet => self.for_each_parquet(take),
        }
    }

    fn for_each_csv(
        &self,
        take: &mut dyn FnMut(u64, Result<Vec<String>, String>) -> bool,
    ) -> Result<(), InputError> {
        let mut reader = self.csv_reader()?;
        let mut record = csv::ByteRecord::new();
        loop {
            let line = reader.position().line();
            match reader.read_byte_record(&mut record) {
                Ok(false) => return Ok(()),
                Ok(true) => {
                    let line = record.position().map_or(line, csv::Position::line);
                    if !take(line, self.csv_fields(&record)) {
                        return Ok(());
                    }
                }
                Err(cause) if cause.is_io_error() => {
                    return Err(InputError::unusable(
                        &self.path,
                        format!("line {line}: {cause}"),
                    ));
                }
                Err(cause) => {
                    if !take(line, Err(cause.to_string())) {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn csv_fields(&self, record: &csv::ByteRecord) -> Result<Vec<String>, String> {
        if record.len() != self.columns.len() {
            return Err(format!(
                "has {} fields, the header has {}",
                record.len(),
                self.columns.len()
            ));
        }
        let fields = record.iter().zip(&self.columns);
        fields
            .map(|(field, column)| {
                std::str::from_utf8(field)
                    .map_err(|_| format!("column {column} is not valid UTF-8"))
                    .and_then(|text| limited(column, text))
            })
            .collect()
    }

    /// Walks the objects of a JSON Lines file.
    pub(super) fn for_each_json(
        &self,
        take: &mut dyn FnMut(
            u64,
            Result<serde_json::Map<String, serde_json::Value>, String>,
        ) -> bool,
    ) -> Result<(), InputError> {
        let mut reader = BufReader::with_capacity(1 << 18, self.file()?);
        let mut line = Vec::new();
        let mut number = 0;
        loop {
            line.clear();
            let read = reader
                .by_ref()
                .take(MAX_LINE_BYTES as u64 + 1)
                .read_until(b'\n', &mut line)
                .map_err(|cause| InputError::io(&self.path, cause))?;
            if read == 0 {
                return Ok(());
            }
            number += 1;
            let parsed = if line.len() > MAX_LINE_BYTES {
                reader
                    .skip_until(b'\n')
                    .map_err(|cause| InputError::io(&self.path, cause))?;
                Err(format!("is longer than {MAX_LINE_BYTES} bytes"))
            } else if line.trim_ascii().is_empty() {
                continue;
            } else {
                serde_json::from_slice(&line).map_err(|cause| format!("not a JSON object: {cause}"))
            };
            if !take(number, parsed) {
                return Ok(());
            }
        }
    }

    fn for_each_parquet(
        &self,
        take: &mut dyn FnMut(u64, Result<Vec<String>, String>) -> bool,
    ) -> Result<(), InputError> {
        let unusable = |cause: &dyn std::fmt::Display| {
            InputError::unusable(&self.path, format!("not a readable Parquet file: {cause}"))
        };
        let reader = ParquetRecordBatchReaderBuilder::try_new(self.file()?)
            .and_then(|builder| builder.with_batch_size(8192).build())
            .map_err(|cause| unusable(&cause))?;
        let mut number = 0;
        for batch in reader {
            let batch = batch.map_err(|cause| unusable(&cause))?;
            let columns: Vec<ArrayRef> = batch
                .columns()
                .iter()
                .map(|column| cast(column, &DataType::Utf8))
                .collect::<Result<_, _>>()
                .map_err(|cause| unusable(&cause))?;
            let texts: Vec<&StringArray> = columns
                .iter()
                .filter_map(|column| column.as_any().downcast_ref::<StringArray>())
                .collect();
            for row in 0..batch.num_rows() {
                number += 1;
                let fields = texts.iter().zip(&self.columns).map(|(column, name)| {
                    if column.is_null(row) {
                        Ok(String::new())
                    } else {
                        limited(name, column.value(row))
                    }
                });
                if !take(number, fields.collect()) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The first rows that can be read.
    pub fn sample(&self, count: usize) -> Result<Vec<Vec<String>>, InputError> {
        let mut sample = Vec::new();
        self.for_each(&mut |_, fields| {
            sample.extend(fields.ok());
            sample.len() < count
        })?;
        Ok(sample)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }
}

fn limited(column: &str, text: &str) -> Result<String, String> {
    if text.len() > MAX_FIELD_BYTES {
        return Err(format!(
            "column {column} has {} bytes, the limit is {MAX_FIELD_BYTES}",
            text.len()
        ));
    }
    Ok(text.to_owned())
}

fn json_text(column: &str, value: Option<&serde_json::Value>) -> Result<String, String> {
    match value {
        None | Some(serde_json::Value::Null) => Ok(String::new()),
        Some(serde_json::Value::String(text)) => limited(column, text),
        Some(serde_json::Value::Number(number)) => Ok(number.to_string()),
        Some(serde_json::Value::Bool(flag)) => Ok(flag.to_string()),
        Some(_) => Err(format!(
            "field {column} is a list or an object; give text or a number"
        )),
    }
}
