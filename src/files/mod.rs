//! Bulk files: CSV, JSON Lines and Parquet in, the same out. Lines that cannot be read are set aside with the reason, the
//! rest goes on.

mod columns;
mod read;
mod rows;
mod write;

pub use columns::{ColumnRole, Mapping, MappingError};
pub use read::{Input, ReadOptions, Reject, read_records};
pub use rows::{Format, InputError, Rows};
pub use write::{Cell, ColumnType, TableWriter};
