//! Bulk files: CSV, JSON Lines and Parquet in, the same out. Lines that cannot be read are set aside with the reason, the
//! rest goes on.

mod columns;
mod labels;
mod read;
mod roles;
mod rows;
mod write;

pub use columns::{Mapping, MappingError};
pub use labels::read_labels;
pub use read::{Input, ReadOptions, Reject, is_signal_log, read_records, read_signal_log};
pub use roles::ColumnRole;
pub use rows::{Format, InputError, Rows};
pub use write::{Cell, ColumnType, TableWriter};
