//! Tables written as CSV, JSON Lines or Parquet. A file appears under its name only when it is whole.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use arrow::array::{ArrayRef, Float64Builder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

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

const BATCH_ROWS: usize = 65_536;

enum Sink {
    Csv(Box<csv::Writer<BufWriter<File>>>),
    Jsonl(BufWriter<File>),
    Parquet {
        writer: Box<ArrowWriter<File>>,
        builders: Vec<ColumnBuilder>,
        rows: usize,
    },
}

enum ColumnBuilder {
    Text(StringBuilder),
    Number(Float64Builder),
}

/// Writes one table.
pub struct TableWriter {
    columns: Vec<(String, ColumnType)>,
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
        let file = File::create(&partial)
            .with_context(|| format!("cannot write {}", partial.display()))?;
        let sink = match format {
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(BufWriter::with_capacity(1 << 18, file));
                writer.write_record(columns.iter().map(|(name, _)| name))?;
                Sink::Csv(Box::new(writer))
            }
            Format::Jsonl => Sink::Jsonl(BufWriter::with_capacity(1 << 18, file)),
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
                    .build();
                Sink::Parquet {
                    writer: Box::new(ArrowWriter::try_new(
                        file,
                        schema(&columns),
                        Some(properties),
                    )?),
                    builders: builders(&columns),
                    rows: 0,
                }
            }
        };
        Ok(Self {
            columns,
            sink,
            partial,
            path,
        })
    }

    /// Writes a row, one cell a column.
    pub fn write(&mut self, row: &[Cell<'_>]) -> anyhow::Result<()> {
        debug_assert_eq!(row.len(), self.columns.len(), "one cell a column");
        match &mut self.sink {
            Sink::Csv(writer) => {
                for cell in row {
                    match cell {
                        Cell::Text(text) => writer.write_field(text)?,
                        Cell::Number(number) => writer.write_field(number_text(*number))?,
                    }
                }
                writer.write_record(None::<&[u8]>)?;
            }
            Sink::Jsonl(writer) => {
                let object: serde_json::Map<String, serde_json::Value> = self
                    .columns
                    .iter()
                    .zip(row)
                    .map(|((name, _), cell)| (name.clone(), json_value(cell)))
                    .collect();
                serde_json::to_writer(&mut *writer, &object)?;
                writer.write_all(b"\n")?;
            }
            Sink::Parquet {
                writer,
                builders,
                rows,
            } => {
                for (builder, cell) in builders.iter_mut().zip(row) {
                    match (builder, cell) {
                        (ColumnBuilder::Text(builder), Cell::Text(text)) => {
                            builder.append_option((!text.is_empty()).then_some(text))
                        }
                        (ColumnBuilder::Number(builder), Cell::Number(number)) => {
                            builder.append_value(*number)
                        }
                        (ColumnBuilder::Text(builder), Cell::Number(number)) => {
                            builder.append_value(number_text(*number))
                        }
                        (ColumnBuilder::Number(builder), Cell::Text(_)) => builder.append_null(),
                    }
                }
                *rows += 1;
                if *rows == BATCH_ROWS {
                    writer.write(&batch(&self.columns, builders)?)?;
                    *rows = 0;
                }
            }
        }
        Ok(())
    }

    /// Ends the table and puts the file in its place.
    pub fn finish(self) -> anyhow::Result<PathBuf> {
        match self.sink {
            Sink::Csv(mut writer) => writer.flush()?,
            Sink::Jsonl(mut writer) => writer.flush()?,
            Sink::Parquet {
                mut writer,
                mut builders,
                rows,
            } => {
                if rows > 0 {
                    writer.write(&batch(&self.columns, &mut builders)?)?;
                }
                writer.close()?;
            }
        }
        std::fs::rename(&self.partial, &self.path)
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(self.path)
    }
}

fn number_text(number: f64) -> String {
    let text = format!("{number:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
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
