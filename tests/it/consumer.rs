//! A consumer of identity events over HTTP, which fails as consumers do, and what it makes of what it received.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use veridem::publish::sign;
use veridem::store::{IdentityId, Store, Tenant};

pub const SECRET: &str = "a secret that both know";

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// Taken.
    Ok,
    /// Not taken.
    Status(u16),
    /// Not taken: too many requests, come again after so many seconds.
    RetryAfter(u64),
    /// Taken, and answered after the caller's deadline.
    Late(Duration),
    /// Not taken, the connection is cut.
    Reset,
}

type Script = Box<dyn FnMut(&[Value]) -> Answer + Send>;

/// A running consumer.
pub struct Consumer {
    pub url: String,
    /// Every event of every request that was taken, in the order in which they were.
    pub received: Arc<Mutex<Vec<Value>>>,
    pub requests: Arc<Mutex<Vec<Answer>>>,
    script: Arc<Mutex<Script>>,
}

impl Consumer {
    /// Answers as the script says of the events of a request.
    pub async fn start(script: impl FnMut(&[Value]) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let consumer = Self {
            url: format!("http://{address}/events"),
            received: Arc::default(),
            requests: Arc::default(),
            script: Arc::new(Mutex::new(Box::new(script))),
        };
        let (received, requests) = (consumer.received.clone(), consumer.requests.clone());
        let script = consumer.script.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (received, requests) = (received.clone(), requests.clone());
                let script = script.clone();
                tokio::spawn(serve(stream, script, received, requests));
            }
        });
        consumer
    }

    /// Answers otherwise from now on.
    pub fn now(&self, script: impl FnMut(&[Value]) -> Answer + Send + 'static) {
        *self.script.lock() = Box::new(script);
    }
}

/// One request after the other; HTTP by hand, since no server library cuts connections.
async fn serve(
    mut stream: TcpStream,
    script: Arc<Mutex<Script>>,
    received: Arc<Mutex<Vec<Value>>>,
    requests: Arc<Mutex<Vec<Answer>>>,
) {
    while let Some((head, body)) = request(&mut stream).await {
        let header = |name: &str| {
            let line = head.lines().find_map(|line| {
                let (known, value) = line.split_once(':')?;
                known.eq_ignore_ascii_case(name).then(|| value.trim())
            });
            line.unwrap_or_else(|| panic!("{name} in {head}"))
                .to_owned()
        };
        let timestamp = header("webhook-timestamp").parse().expect("seconds");
        assert_eq!(
            header("webhook-signature"),
            sign(SECRET, &header("webhook-id"), timestamp, &body)
        );
        let events = match serde_json::from_slice(&body).expect("JSON") {
            Value::Array(events) => events,
            event => vec![event],
        };
        let answer = (script.lock())(&events);
        requests.lock().push(answer);
        if matches!(answer, Answer::Ok | Answer::Late(_)) {
            received.lock().extend(events);
        }
        let head = match answer {
            Answer::Ok => "204 No Content".to_owned(),
            Answer::Status(status) => format!("{status} No"),
            Answer::RetryAfter(seconds) => {
                format!("429 Too Many Requests\r\nretry-after: {seconds}")
            }
            Answer::Late(wait) => {
                tokio::time::sleep(wait).await;
                "204 No Content".to_owned()
            }
            Answer::Reset => {
                stream.set_zero_linger().expect("set");
                return;
            }
        };
        let response = format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n");
        if stream.write_all(response.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(read[..end].to_vec()).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.eq_ignore_ascii_case("content-length")).then(|| value.trim().parse::<usize>().ok())?
    })?;
    while read.len() < end + length {
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, read[end..end + length].to_vec()))
}

/// A picture of all identities: records, golden record and version by id.
pub type View = BTreeMap<String, Value>;

/// What a consumer makes of what it received: an event that is not newer than what it knows of the identity says nothing.
pub fn view_of(events: &[Value]) -> View {
    let mut view = View::new();
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for event in events {
        let sequence = sequence_of(event);
        let data = &event["data"];
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let id = text(&data["identity"]["identity_id"]);
        let gone = data["merged_identity_ids"].as_array().expect("a list");
        for id in gone.iter().map(text) {
            let known = seen.entry(id.clone()).or_default();
            if *known < sequence {
                *known = sequence;
                view.remove(&id);
            }
        }
        let known = seen.entry(id.clone()).or_default();
        if *known < sequence {
            *known = sequence;
            if data["identity"]["members"]
                .as_array()
                .expect("a list")
                .is_empty()
            {
                view.remove(&id);
            } else {
                view.insert(id, data["identity"].clone());
            }
        }
    }
    view
}

/// What the store holds.
pub fn view_of_store(store: &dyn Store, tenant: &Tenant) -> View {
    let events = store.events(tenant, 1, usize::MAX).expect("reads");
    let ids: BTreeSet<IdentityId> = events.iter().map(|event| event.identity.id).collect();
    let living = ids.into_iter().filter_map(|id| {
        let identity = store.identity(tenant, &id).expect("reads")?;
        let is_living = identity.ended.is_none() && !identity.members.is_empty();
        let last = &events[identity.changed_at_sequence as usize - 1];
        let told = veridem::publish::event_data(last)["identity"].clone();
        is_living.then(|| (id.to_string(), told))
    });
    living.collect()
}

pub fn sequence_of(event: &Value) -> u64 {
    let text = event["sequence"].as_str().expect("a sequence number");
    text.parse().expect("a number")
}

/// [`assert_in_order_per_identity`] of what came in several lines, as in a topic of partitions: an event of another identity that names this one
/// comes in its own line.
#[allow(dead_code, reason = "only brokers have several lines")]
pub fn assert_in_order_per_subject(events: &[Value]) {
    let mut last = BTreeMap::new();
    let mut known = BTreeSet::new();
    for event in (events.iter()).filter(|event| known.insert(sequence_of(event))) {
        let before = last.insert(event["subject"].to_string(), sequence_of(event));
        assert!(before.is_none_or(|before| before < sequence_of(event)));
    }
}

/// Each identity's events came in their order, apart from what was delivered once more.
pub fn assert_in_order_per_identity(events: &[Value]) {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let mut known = BTreeSet::new();
    for event in events {
        let sequence = sequence_of(event);
        if !known.insert(sequence) {
            continue;
        }
        let data = &event["data"];
        let lists = ["merged_identity_ids", "split_into_identity_ids"];
        let others = lists
            .iter()
            .flat_map(|list| data[list].as_array().expect("a list"));
        for id in others.chain([&data["identity"]["identity_id"]]) {
            let before = last.insert(id.as_str().expect("an id"), sequence);
            assert!(
                before.is_none_or(|before| before < sequence),
                "{sequence} after {before:?}"
            );
        }
    }
}
