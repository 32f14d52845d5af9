//! veridem
pub mod cli;
pub mod clock;
pub mod executor;
pub mod files;
pub mod generate;
pub mod index;
pub mod resolver;
pub mod store;
pub mod telemetry;
