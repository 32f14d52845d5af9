//! Tables written as CSV, JSON Lines or Parquet. A file appears under its name only when it is whole.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use arrow::array::{ArrayRef, Float64Builder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use rayon::prelude::*;

use super::rows::Format;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// Text.
    Text,
    /// A number.
    Number,
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    /// Text.
    Text(&'a str),
    /// A number, written with six decimals at most.
    Number(f64),
}

/// Rows that one thread renders at once.
const ROWS_AT_ONCE: usize = 4096;
/// Chunks that are rendered before they are written.
const CHUNKS_AT_ONCE: usize = 16;

enum Sink {
    /// CSV and JSON Lines: rendered text.
    Text(File),
    Parquet(Box<ArrowWriter<File>>),
}

/// A chunk of rows as it will stand in the file.
enum Rendered {
    Text(Vec<u8>),
    Batch(RecordBatch),
}

enum ColumnBuilder {
    Text(StringBuilder),
    Number(Float64Builder),
}

/// Writes one table.
pub struct TableWriter {
    columns: Vec<(String, ColumnType)>,
    format: Format,
    sink: Sink,
    partial: PathBuf,
    path: PathBuf,
}

impl TableWriter {
    /// Starts `<directory>/<name>.<format>`.
    pub fn create(
        directory: &Path,
        name: &str,
        format: Format,
        columns: Vec<(String, ColumnType)>,
    ) -> anyhow::Result<Self> {
        let path = directory.join(format!("{name}.{}", format.extension()));
        let partial = directory.join(format!(".{name}.{}.partial", format.extension()));
        let mut file = File::create(&partial)
            .with_context(|| format!("cannot write {}", partial.display()))?;
        let sink = match format {
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(&mut file);
                writer.write_record(columns.iter().map(|(name, _)| name))?;
                writer.flush()?;
                drop(writer);
                Sink::Text(file)
            }
            Format::Jsonl => Sink::Text(file),
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
                    .build();
                let writer = ArrowWriter::try_new(file, schema(&columns), Some(properties))?;
                Sink::Parquet(Box::new(writer))
            }
        };
        Ok(Self {
            columns,
            format,
            sink,
            partial,
            path,
        })
    }

    /// Writes `count` rows, one cell a column. `row` gives the cells of a row, by its number, to `take`; rows are rendered on all
    /// cores and written in their order.
    pub fn write_rows(
        &mut self,
        count: usize,
        row: impl Fn(usize, &mut dyn FnMut(&[Cell<'_>])) + Sync,
    ) -> anyhow::Result<()> {
        let Self {
            format,
            columns,
            sink,
            ..
        } = self;
        let starts: Vec<usize> = (0..count).step_by(ROWS_AT_ONCE).collect();
        let mut write = |rendered: Vec<anyhow::Result<Rendered>>| -> anyhow::Result<()> {
            for chunk in rendered {
                match (chunk?, &mut *sink) {
                    (Rendered::Text(text), Sink::Text(file)) => file.write_all(&text)?,
                    (Rendered::Batch(batch), Sink::Parquet(writer)) => writer.write(&batch)?,
                    _ => unreachable!("a chunk is rendered for its sink"),
                }
            }
            Ok(())
        };
        let mut before = Vec::new();
        for starts in starts.chunks(CHUNKS_AT_ONCE) {
            let render = |start: &usize| {
                let end = (start + ROWS_AT_ONCE).min(count);
                render(*format, columns, *start..end, &row)
            };
            let (written, rendered) =
                rayon::join(|| write(before), || starts.par_iter().map(render).collect());
            written?;
            before = rendered;
        }
        write(before)
    }

    /// Ends the table and puts the file in its place.
    pub fn finish(self) -> anyhow::Result<PathBuf> {
        match self.sink {
            Sink::Text(file) => drop(file),
            Sink::Parquet(writer) => {
                writer.close()?;
            }
        }
        std::fs::rename(&self.partial, &self.path)
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(self.path)
    }
}

fn render(
    format: Format,
    columns: &[(String, ColumnType)],
    rows: Range<usize>,
    row: &(impl Fn(usize, &mut dyn FnMut(&[Cell<'_>])) + Sync),
) -> anyhow::Result<Rendered> {
    let mut failure: anyhow::Result<()> = Ok(());
    match format {
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(Vec::new());
            for index in rows {
                row(index, &mut |cells| {
                    debug_assert_eq!(cells.len(), columns.len(), "one cell a column");
                    if let Err(cause) = csv_row(&mut writer, cells) {
                        failure = Err(cause.into());
                    }
                });
            }
            failure?;
            Ok(Rendered::Text(writer.into_inner().map_err(|cause| {
                anyhow::anyhow!("cannot render rows: {cause}")
            })?))
        }
        Format::Jsonl => {
            let mut text = Vec::new();
            for index in rows {
                row(index, &mut |cells| {
                    let named = columns.iter().zip(cells);
                    let object: serde_json::Map<String, serde_json::Value> = named
                        .map(|((name, _), cell)| (name.clone(), json_value(cell)))
                        .collect();
                    if let Err(cause) = serde_json::to_writer(&mut text, &object) {
                        failure = Err(cause.into());
                    }
                    text.push(b'\n');
                });
            }
            failure.map(|()| Rendered::Text(text))
        }
        Format::Parquet => {
            let mut builders = builders(columns);
            for index in rows {
                row(index, &mut |cells| append(&mut builders, cells));
            }
            batch(columns, &mut builders).map(Rendered::Batch)
        }
    }
}

fn csv_row(writer: &mut csv::Writer<Vec<u8>>, cells: &[Cell<'_>]) -> csv::Result<()> {
    for cell in cells {
        match cell {
            Cell::Text(text) => writer.write_field(text)?,
            Cell::Number(number) => writer.write_field(number_text(*number))?,
        }
    }
    writer.write_record(None::<&[u8]>)
}

fn append(builders: &mut [ColumnBuilder], cells: &[Cell<'_>]) {
    for (builder, cell) in builders.iter_mut().zip(cells) {
        match (builder, cell) {
            (ColumnBuilder::Text(builder), Cell::Text(text)) => {
                builder.append_option((!text.is_empty()).then_some(text));
            }
            (ColumnBuilder::Number(builder), Cell::Number(number)) => builder.append_value(*number),
            (ColumnBuilder::Text(builder), Cell::Number(number)) => {
                builder.append_value(number_text(*number));
            }
            (ColumnBuilder::Number(builder), Cell::Text(_)) => builder.append_null(),
        }
    }
}

fn number_text(number: f64) -> String {
    let mut text = format!("{number:.6}");
    text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    text
}

fn json_value(cell: &Cell<'_>) -> serde_json::Value {
    match cell {
        Cell::Text("") => serde_json::Value::Null,
        Cell::Text(text) => (*text).into(),
        Cell::Number(number) => (*number).into(),
    }
}

fn schema(columns: &[(String, ColumnType)]) -> Arc<Schema> {
    let field = |(name, kind): &(String, ColumnType)| {
        Field::new(
            name,
            if *kind == ColumnType::Text {
                DataType::Utf8
            } else {
                DataType::Float64
            },
            true,
        )
    };
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

fn builders(columns: &[(String, ColumnType)]) -> Vec<ColumnBuilder> {
    let builder = |(_, kind): &(String, ColumnType)| match kind {
        ColumnType::Text => ColumnBuilder::Text(StringBuilder::new()),
        ColumnType::Number => ColumnBuilder::Number(Float64Builder::new()),
    };
    columns.iter().map(builder).collect()
}

fn batch(
    columns: &[(String, ColumnType)],
    builders: &mut [ColumnBuilder],
) -> anyhow::Result<RecordBatch> {
    let arrays = builders.iter_mut().map(|builder| -> ArrayRef {
        match builder {
            ColumnBuilder::Text(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Number(builder) => Arc::new(builder.finish()),
        }
    });
    Ok(RecordBatch::try_new(schema(columns), arrays.collect())?)
}
