//! What needs more than one crate or a process: one binary, since each further one links everything again.

mod architecture;
#[cfg(feature = "nats")]
mod brokers;
mod bulk;
mod consumer;
mod contract;
mod crash;
mod gateway;
mod histories;
mod laws;
mod mapped;
mod models;
#[cfg(feature = "nats")]
mod nats_server;
mod power_loss;
mod process;
mod publishing;
mod refusals;
mod sample;
mod service;
mod stewardship;
mod store;
mod support;
mod torn_writes;
