//! Rows of a file, whatever its format, as text fields.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use csv::StringRecord;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use rayon::prelude::*;

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

/// A row with its line (CSV, JSON Lines) or row number (Parquet), counted from 1; one that cannot be read is the reason.
pub type Row = Line<StringRecord>;
type Line<T> = (u64, Result<T, String>);
pub(super) type JsonObject = serde_json::Map<String, serde_json::Value>;

/// Rows of a chunk.
const ROWS_AT_ONCE: usize = 4096;
/// Chunks that are worked on side by side.
const CHUNKS_AT_ONCE: usize = 8;

/// Rows as they stand in the file.
enum RawRows {
    Csv(Vec<Line<csv::ByteRecord>>),
    Json(Vec<Line<Vec<u8>>>),
    /// The number of the first row, and the columns as text.
    Parquet(u64, Vec<ArrayRef>),
}

impl RawRows {
    fn is_empty(&self) -> bool {
        match self {
            Self::Csv(lines) => lines.is_empty(),
            Self::Json(lines) => lines.is_empty(),
            Self::Parquet(_, columns) => columns.iter().all(|column| column.is_empty()),
        }
    }
}

enum Reader {
    Csv(csv::Reader<File>),
    Json(JsonLines),
    Parquet {
        batches: ParquetRecordBatchReader,
        rows: u64,
    },
}

struct JsonLines {
    reader: BufReader<File>,
    number: u64,
}

impl JsonLines {
    /// The next lines that are not blank; none at the end.
    fn chunk(&mut self, path: &Path) -> Result<Vec<Line<Vec<u8>>>, InputError> {
        let mut chunk = Vec::with_capacity(ROWS_AT_ONCE);
        while chunk.len() < ROWS_AT_ONCE {
            let mut line = Vec::new();
            let read = self
                .reader
                .by_ref()
                .take(MAX_LINE_BYTES as u64 + 1)
                .read_until(b'\n', &mut line)
                .map_err(|cause| InputError::io(path, cause))?;
            if read == 0 {
                break;
            }
            self.number += 1;
            if line.len() > MAX_LINE_BYTES {
                self.reader
                    .skip_until(b'\n')
                    .map_err(|cause| InputError::io(path, cause))?;
                let reason = format!("is longer than {MAX_LINE_BYTES} bytes");
                chunk.push((self.number, Err(reason)));
            } else if !line.trim_ascii().is_empty() {
                chunk.push((self.number, Ok(line)));
            }
        }
        Ok(chunk)
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
        self.for_each_json(|_, parsed| {
            if let Ok(object) = parsed {
                for name in object.keys() {
                    if !seen.contains(name) {
                        seen.insert(name.clone());
                    }
                }
            }
        })?;
        self.columns = seen.into_iter().collect();
        Ok(())
    }

    /// Walks all rows, chunk by chunk: `work` sees the chunks side by side on all cores, `take` gets what it made of them in the
    /// order of the file, until it says false. The next chunks are read while these are worked on.
    pub fn for_each_chunk<T: Send>(
        &self,
        work: impl Fn(Vec<Row>) -> T + Sync,
        mut take: impl FnMut(T) -> bool + Send,
    ) -> Result<(), InputError> {
        let mut reader = self.reader()?;
        let mut read = move || {
            let mut chunks = Vec::with_capacity(CHUNKS_AT_ONCE);
            while chunks.len() < CHUNKS_AT_ONCE
                && let Some(chunk) = self.read_chunk(&mut reader)?
            {
                chunks.push(chunk);
            }
            Ok::<_, InputError>(chunks)
        };
        let mut chunks = read()?;
        while !chunks.is_empty() {
            let (next, made) = rayon::join(&mut read, || {
                let chunks = chunks.into_par_iter();
                chunks
                    .map(|chunk| work(self.parse(chunk)))
                    .collect::<Vec<T>>()
            });
            for made in made {
                if !take(made) {
                    return Ok(());
                }
            }
            chunks = next?;
        }
        Ok(())
    }

    fn reader(&self) -> Result<Reader, InputError> {
        Ok(match self.format {
            Format::Csv => Reader::Csv(self.csv_reader()?),
            Format::Jsonl => Reader::Json(self.json_lines()?),
            Format::Parquet => Reader::Parquet {
                batches: ParquetRecordBatchReaderBuilder::try_new(self.file()?)
                    .and_then(|builder| builder.with_batch_size(ROWS_AT_ONCE).build())
                    .map_err(|cause| self.not_parquet(&cause))?,
                rows: 0,
            },
        })
    }

    fn read_chunk(&self, reader: &mut Reader) -> Result<Option<RawRows>, InputError> {
        let chunk = match reader {
            Reader::Csv(reader) => RawRows::Csv(self.csv_chunk(reader)?),
            Reader::Json(lines) => RawRows::Json(lines.chunk(&self.path)?),
            Reader::Parquet { batches, rows } => {
                let batch = batches.next().transpose();
                let Some(batch) = batch.map_err(|cause| self.not_parquet(&cause))? else {
                    return Ok(None);
                };
                let columns: Vec<ArrayRef> = batch
                    .columns()
                    .iter()
                    .map(|column| cast(column, &DataType::Utf8))
                    .collect::<Result<_, _>>()
                    .map_err(|cause| self.not_parquet(&cause))?;
                let first = *rows + 1;
                *rows += batch.num_rows() as u64;
                RawRows::Parquet(first, columns)
            }
        };
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }

    fn not_parquet(&self, cause: &dyn std::fmt::Display) -> InputError {
        InputError::unusable(&self.path, format!("not a readable Parquet file: {cause}"))
    }

    fn csv_chunk(
        &self,
        reader: &mut csv::Reader<File>,
    ) -> Result<Vec<Line<csv::ByteRecord>>, InputError> {
        let mut chunk = Vec::with_capacity(ROWS_AT_ONCE);
        while chunk.len() < ROWS_AT_ONCE {
            let line = reader.position().line();
            let mut record = csv::ByteRecord::new();
            match reader.read_byte_record(&mut record) {
                Ok(false) => break,
                Ok(true) => {
                    let line = record.position().map_or(line, csv::Position::line);
                    chunk.push((line, Ok(record)));
                }
                Err(cause) if cause.is_io_error() => {
                    return Err(InputError::unusable(
                        &self.path,
                        format!("line {line}: {cause}"),
                    ));
                }
                Err(cause) => chunk.push((line, Err(cause.to_string()))),
            }
        }
        Ok(chunk)
    }

    fn parse(&self, chunk: RawRows) -> Vec<Row> {
        match chunk {
            RawRows::Csv(lines) => lines
                .into_iter()
                .map(|(line, record)| (line, record.and_then(|record| self.csv_fields(record))))
                .collect(),
            RawRows::Json(lines) => lines
                .into_iter()
                .map(|(line, text)| {
                    let fields = text
                        .and_then(|text| parse_object(&text))
                        .and_then(|object| {
                            let columns = self.columns.iter();
                            columns
                                .map(|column| json_text(column, object.get(column)))
                                .collect()
                        });
                    (line, fields)
                })
                .collect(),
            RawRows::Parquet(first, columns) => {
                let texts: Vec<&StringArray> = columns
                    .iter()
                    .filter_map(|column| column.as_any().downcast_ref::<StringArray>())
                    .collect();
                let rows = texts.first().map_or(0, |column| column.len());
                (0..rows)
                    .map(|row| {
                        let fields = texts.iter().zip(&self.columns).map(|(column, name)| {
                            if column.is_null(row) {
                                Ok("")
                            } else {
                                limited(name, column.value(row))
                            }
                        });
                        (first + row as u64, fields.collect())
                    })
                    .collect()
            }
        }
    }

    fn csv_fields(&self, record: csv::ByteRecord) -> Result<StringRecord, String> {
        if record.len() != self.columns.len() {
            return Err(format!(
                "has {} fields, the header has {}",
                record.len(),
                self.columns.len()
            ));
        }
        let record = StringRecord::from_byte_record(record).map_err(|cause| {
            format!(
                "column {} is not valid UTF-8",
                self.columns[cause.utf8_error().field()]
            )
        })?;
        for (field, column) in record.iter().zip(&self.columns) {
            limited(column, field)?;
        }
        Ok(record)
    }

    fn json_lines(&self) -> Result<JsonLines, InputError> {
        Ok(JsonLines {
            reader: BufReader::with_capacity(1 << 18, self.file()?),
            number: 0,
        })
    }

    /// Walks the objects of a JSON Lines file.
    pub(crate) fn for_each_json(
        &self,
        mut take: impl FnMut(u64, Result<JsonObject, String>),
    ) -> Result<(), InputError> {
        let mut lines = self.json_lines()?;
        loop {
            let chunk = lines.chunk(&self.path)?;
            if chunk.is_empty() {
                return Ok(());
            }
            let parsed: Vec<_> = chunk
                .into_par_iter()
                .map(|(line, text)| (line, text.and_then(|text| parse_object(&text))))
                .collect();
            for (line, object) in parsed {
                take(line, object);
            }
        }
    }

    /// The first rows that can be read.
    pub fn sample(&self, count: usize) -> Result<Vec<StringRecord>, InputError> {
        let mut sample = Vec::new();
        let mut reader = self.reader()?;
        while sample.len() < count
            && let Some(chunk) = self.read_chunk(&mut reader)?
        {
            let rows = self.parse(chunk).into_iter();
            sample.extend(rows.filter_map(|(_, fields)| fields.ok()));
        }
        sample.truncate(count);
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

fn limited<'a>(column: &str, text: &'a str) -> Result<&'a str, String> {
    if text.len() > MAX_FIELD_BYTES {
        return Err(format!(
            "column {column} has {} bytes, the limit is {MAX_FIELD_BYTES}",
            text.len()
        ));
    }
    Ok(text)
}

fn parse_object(text: &[u8]) -> Result<JsonObject, String> {
    serde_json::from_slice(text).map_err(|cause| format!("not a JSON object: {cause}"))
}

fn json_text<'a>(
    column: &str,
    value: Option<&'a serde_json::Value>,
) -> Result<Cow<'a, str>, String> {
    match value {
        None | Some(serde_json::Value::Null) => Ok("".into()),
        Some(serde_json::Value::String(text)) => limited(column, text).map(Cow::from),
        Some(serde_json::Value::Number(number)) => Ok(number.to_string().into()),
        Some(serde_json::Value::Bool(flag)) => Ok(flag.to_string().into()),
        Some(_) => Err(format!(
            "field {column} is a list or an object; give text or a number"
        )),
    }
}
