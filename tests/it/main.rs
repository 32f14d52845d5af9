//! What needs more than one crate or a process: one binary, since each further one links everything again.

mod architecture;
mod audit;
#[cfg(all(feature = "kafka", feature = "nats", feature = "rabbitmq"))]
mod brokers;
mod browser;
#[cfg(feature = "s3")]
mod buckets;
mod bulk;
mod console;
mod console_pages;
mod console_requests;
mod consumer;
#[cfg(all(feature = "kafka", feature = "nats", feature = "rabbitmq"))]
mod consumers;
mod contract;
mod crash;
mod crosswalk;
mod dashboards;
mod drops;
mod filters;
mod foreseen;
mod gateway;
mod histories;
#[cfg(all(feature = "kafka", feature = "nats", feature = "rabbitmq"))]
mod kafka_cluster;
mod large_component;
mod laws;
mod mapped;
mod models;
#[cfg(all(feature = "kafka", feature = "nats", feature = "rabbitmq"))]
mod nats_server;
mod objects;
mod operating;
mod pace;
mod power_loss;
mod privacy;
mod process;
mod publishing;
mod quality;
mod quarantine;
mod queue;
#[cfg(all(feature = "kafka", feature = "nats", feature = "rabbitmq"))]
mod rabbitmq_server;
mod refusals;
mod relay;
mod replays;
mod returns;
mod roles;
#[cfg(feature = "s3")]
mod s3_server;
mod sample;
mod service;
mod stewardship;
mod store;
mod support;
mod torn_writes;
mod watching;

/// Says by name what a build without all features does not test.
#[cfg(not(all(feature = "kafka", feature = "nats", feature = "rabbitmq")))]
#[test]
#[ignore = "sinks and consumers of Kafka, NATS and RabbitMQ: needs --all-features"]
fn brokers() {
    panic!("build with --all-features");
}

/// See [`brokers`].
#[cfg(not(feature = "s3"))]
#[test]
#[ignore = "sinks into buckets and drops out of them: needs --all-features"]
fn buckets() {
    panic!("build with --all-features");
}
