//! tmp
pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod executor;
pub mod files;
pub mod generate;
pub mod index;
pub mod lifecycle;
pub mod publish;
pub mod report;
pub mod resolver;
pub mod store;
pub mod telemetry;
