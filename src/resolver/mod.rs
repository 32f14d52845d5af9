//! resolver
mod bulk;
mod fold;
mod signal;
pub use bulk::*;
pub use fold::Fold;
pub use signal::{Signal, SignalKind};
