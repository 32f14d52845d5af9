//! A service in this process on free ports, engines over memory, and the sample.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use tokio_stream::StreamExt as _;
use tonic::transport::Channel;
use veridem::config::Config;
use veridem::index::MemoryIndexes;
use veridem::lifecycle::Service;
use veridem::resolver::{Engine, Matcher, Signal, SignalKind};
use veridem::store::{MemoryStore, Store, StoredRecord, Tenant};
use veridem_matchers::{Attribute, Identifier, Pack, PersonName, PostalAddress, RecordKey};
use veridem_proto::v1;
use veridem_proto::v1::resolution_service_client::ResolutionServiceClient;
use veridem_proto::v1::stewardship_service_client::StewardshipServiceClient;
use veridem_proto::v1::submit_signals_response::Outcome;

/// An event time in the past.
pub const EVENT_TIME_MS: i64 = 1_700_000_000_000;

pub fn tenant() -> Tenant {
    Tenant::default_tenant()
}

pub fn matcher() -> Arc<Matcher> {
    Arc::new(Matcher::new(Matcher::shipped_model(), Pack::retail()))
}

/// An engine whose state is gone with it.
pub fn memory_engine() -> Engine {
    memory_engine_with(matcher())
}

pub fn memory_engine_with(matcher: Arc<Matcher>) -> Engine {
    engine_over_with(Arc::new(MemoryStore::new()), matcher)
}

/// The records of a store.
pub fn records_of(store: &dyn Store, tenant: &Tenant) -> Vec<StoredRecord> {
    store
        .records_from(tenant, store.in_force(tenant), 0, usize::MAX)
        .expect("the store reads")
}

/// An engine over a store.
pub fn engine_over(store: Arc<dyn Store>) -> Engine {
    engine_over_with(store, matcher())
}

pub fn engine_over_with(store: Arc<dyn Store>, matcher: Arc<Matcher>) -> Engine {
    Engine::new(store, matcher, Box::new(MemoryIndexes))
}

/// A running service with its channel.
pub struct Running {
    pub service: Service,
    pub channel: Channel,
}

impl Running {
    pub async fn start(directory: &Path) -> Self {
        Self::start_with(config(directory)).await
    }

    pub async fn start_with(config: Config) -> Self {
        let service = Service::start(config)
            .await
            .expect("the service starts on free ports");
        let address = format!("http://{}", service.grpc_address);
        let channel = Channel::from_shared(address)
            .expect("an address")
            .connect()
            .await
            .expect("the service listens");
        Self { service, channel }
    }

    pub fn resolution(&self) -> ResolutionServiceClient<Channel> {
        ResolutionServiceClient::new(self.channel.clone())
    }

    pub fn stewardship(&self) -> StewardshipServiceClient<Channel> {
        StewardshipServiceClient::new(self.channel.clone())
    }

    pub async fn stop(self) {
        drop(self.channel);
        self.service.stop().await.expect("the service stops");
    }
}

pub fn config(directory: &Path) -> Config {
    let mut config = Config::for_directory(directory.join("data"));
    config.grpc_address.set_port(0);
    config.http_address.set_port(0);
    config
}

pub fn name(given: &str, family: &str) -> Attribute {
    Attribute::Name(PersonName {
        given: given.into(),
        family: family.into(),
        ..PersonName::default()
    })
}

pub fn email(address: &str) -> Attribute {
    Attribute::Email(address.into())
}

pub fn phone(number: &str) -> Attribute {
    Attribute::Phone(number.into())
}

pub fn address(street: &str, city: &str, postcode: &str) -> Attribute {
    Attribute::Address(PostalAddress {
        street: street.into(),
        city: city.into(),
        postcode: postcode.into(),
        ..PostalAddress::default()
    })
}

pub fn identifier(scheme: &str, value: &str) -> Attribute {
    Attribute::Identifier(Identifier {
        scheme: scheme.into(),
        value: value.into(),
    })
}

/// An update of `source/record_id`; `signal_id` orders signals of one time.
pub fn update(signal_id: &str, key: &str, attributes: Vec<Attribute>) -> Signal {
    let (source, record_id) = key.split_once('/').expect("source/record_id");
    Signal {
        signal_id: signal_id.into(),
        source: source.into(),
        record_id: record_id.into(),
        event_time_ms: EVENT_TIME_MS,
        kind: SignalKind::Update,
        attributes,
    }
}

pub fn key(text: &str) -> RecordKey {
    let (source, record_id) = text.split_once('/').expect("source/record_id");
    RecordKey::new(source, record_id)
}

/// Sets of record keys that are one identity.
pub type Partition = BTreeSet<BTreeSet<RecordKey>>;

/// The partition that a store holds.
pub fn partition_of(store: &dyn Store) -> Partition {
    let mut members: BTreeMap<veridem::store::IdentityId, BTreeSet<RecordKey>> = BTreeMap::new();
    for record in records_of(store, &tenant()) {
        if record.is_alive {
            let id = record.identity_id.expect("a living record has an identity");
            members.entry(id).or_default().insert(record.key);
        }
    }
    members.into_values().collect()
}

/// Golden values and open tasks by record keys: what must not depend on order, besides the partition.
pub fn golden_and_tasks(
    store: &dyn Store,
) -> (
    BTreeMap<RecordKey, veridem_matchers::GoldenRecord>,
    BTreeSet<(RecordKey, RecordKey)>,
) {
    let mut golden = BTreeMap::new();
    for record in records_of(store, &tenant())
        .iter()
        .filter(|record| record.is_alive)
    {
        let id = record.identity_id.expect("a living record has an identity");
        let identity = store
            .identity(&tenant(), &id)
            .expect("the store reads")
            .expect("its identity is stored");
        golden.insert(record.key.clone(), identity.golden.clone());
    }
    let tasks = store
        .review_tasks(&tenant(), None, usize::MAX)
        .expect("the store reads");
    (
        golden,
        tasks
            .into_iter()
            .map(|(_, task)| (task.left, task.right))
            .collect(),
    )
}

/// The signals of the sample that ships.
pub fn sample_signals() -> Vec<Signal> {
    let lines = include_str!("../../datasets/retail_sample/signals.jsonl").lines();
    lines
        .map(|line| serde_json::from_str(line).expect("the sample holds signals"))
        .collect()
}

pub fn sample_directory() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/retail_sample")
}

pub fn message(signal: &Signal) -> v1::Signal {
    veridem::api::signal_message(signal)
}

/// Submits one signal and returns its ack.
pub async fn submit(
    running: &Running,
    signal: veridem::resolver::Signal,
) -> Result<v1::SignalAck, tonic::Status> {
    let response = running
        .resolution()
        .submit_signal(v1::SubmitSignalRequest {
            signal: Some(message(&signal)),
        })
        .await?;
    Ok(response.into_inner().ack.expect("an ack"))
}

/// Sends the smallest signals over four streams of one connection, a frame each; how many of each stream are acknowledged.
pub async fn flood(client: ResolutionServiceClient<Channel>) -> Vec<usize> {
    let mut floods = tokio::task::JoinSet::new();
    for stream in 0..4 {
        let mut client = client.clone();
        floods.spawn(async move {
            let requests = (0..2_500).map(move |index| v1::SubmitSignalsRequest {
                signal: Some(v1::Signal {
                    signal_id: format!("{index}"),
                    source: format!("s{stream}"),
                    record_id: "1".into(),
                    event_time_ms: 1,
                    kind: v1::SignalKind::Delete as i32,
                    ..Default::default()
                }),
            });
            // A frame each: what is ready at once would be sent in one.
            let requests = tokio_stream::iter(requests).then(|request| async {
                tokio::task::yield_now().await;
                request
            });
            let mut answers = client
                .submit_signals(requests)
                .await
                .expect("opens")
                .into_inner();
            let mut acknowledged = 0;
            while let Some(answer) = answers.next().await {
                let outcome = answer.expect("the connection stays").outcome;
                assert!(matches!(outcome, Some(Outcome::Ack(_))), "{outcome:?}");
                acknowledged += 1;
            }
            acknowledged
        });
    }
    floods.join_all().await
}

/// An address of this machine that nobody listens on.
pub fn free_address() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0");
    listener
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
}
