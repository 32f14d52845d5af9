//! Veridem, a customer identity resolution service. In the order in which data flows:
//!
//! - [`api`]: gRPC in: who asks, is it well formed; [`gateway`]: the same calls as JSON over HTTP
//! - [`intake`]: what sources may send, what of it is set aside
//! - [`files`]: bulk files in and out; [`generate`]: synthetic retail data with truth
//! - [`resolver`]: signals become source records, records become identities; knows the traits of the next two only
//! - [`store`]: the truth; [`index`]: candidates and search, can be deleted
//! - [`publish`]: identity events out to ERP, CDP and whoever listens
//! - [`console`]: the pages of stewards, over the gRPC services
//! - [`relay`]: a shop's back office: takes signals, passes them on while the line is there
//! - [`report`]: what a bulk job found, as a page
//! - [`cli`]: the commands; [`config`]: what was written, what we run with; [`lifecycle`]: start and stop; `servers`: what listens
//! - [`schema`]: the contract as data: messages as JSON, JSON Schema
//! - [`objects`]: folders and object storage
//! - [`telemetry`], [`clock`], [`executor`], [`retry`]: logs and metrics, the time, data-parallel work, waits between attempts
//!
//! The matching itself is the crate `veridem_matchers`; the messages are the crate `veridem_proto`.

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod executor;
pub mod files;
pub mod gateway;
pub mod generate;
pub mod index;
pub mod intake;
pub mod jobs;
pub mod lifecycle;
pub mod objects;
pub mod publish;
pub mod relay;
pub mod report;
pub mod resolver;
pub mod retry;
pub mod schema;
mod servers;
pub mod store;
pub mod telemetry;
