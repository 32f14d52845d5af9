//! Sinks: every event, in order, through failures and restarts.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use parking_lot::Mutex;
use serde_json::Value;
use veridem::publish::{Mapping, SinkKind, SinkSettings, sign};
use veridem::store::Tenant;
use veridem_proto::v1;

use crate::support::*;

const SECRET: &str = "a secret that both know";

/// A consumer that fails the first attempts, and checks signatures.
struct Consumer {
    url: String,
    received: Arc<Mutex<Vec<Value>>>,
}

impl Consumer {
    async fn start(failures: usize) -> Self {
        let received: Arc<Mutex<Vec<Value>>> = Arc::default();
        let left = Arc::new(Mutex::new(failures));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let url = format!(
            "http://{}/events",
            listener.local_addr().expect("an address")
        );
        let events = received.clone();
        let receive = move |headers: HeaderMap, body: Bytes| {
            let (events, left) = (events.clone(), left.clone());
            async move {
                let header = |name: &str| headers[name].to_str().expect("text").to_owned();
                let timestamp = header("webhook-timestamp").parse().expect("seconds");
                assert_eq!(
                    header("webhook-signature"),
                    sign(SECRET, &header("webhook-id"), timestamp, &body)
                );
                let mut left = left.lock();
                if *left > 0 {
                    *left -= 1;
                    return StatusCode::SERVICE_UNAVAILABLE;
                }
                events
                    .lock()
                    .push(serde_json::from_slice(&body).expect("JSON"));
                StatusCode::OK
            }
        };
        tokio::spawn(async move {
            axum::serve(listener, Router::new().route("/events", post(receive))).await
        });
        Self { url, received }
    }
}

fn mapping(fields: &[(&str, &str)]) -> Mapping {
    Mapping::new(
        fields
            .iter()
            .map(|(target, path)| ((*target).to_owned(), (*path).to_owned()))
            .collect(),
    )
    .expect("known paths")
}

fn sink(name: &str, kind: SinkKind, mapping: Mapping) -> SinkSettings {
    SinkSettings {
        name: name.into(),
        kind,
        tenant: Tenant::default_tenant(),
        timeout: Duration::from_secs(5),
        mapping,
    }
}

async fn submit(running: &Running, range: std::ops::Range<usize>) {
    for index in range {
        let signal = update(
            &format!("s{index}"),
            &format!("pos/{index}"),
            vec![
                name("Ann", "Lee"),
                email(&format!("ann{}@lee.org", index % 3)),
            ],
        );
        running
            .resolution()
            .submit_signal(v1::SubmitSignalRequest {
                signal: Some(message(&signal)),
            })
            .await
            .expect("accepted");
    }
}

async fn wait_until(holds: impl Fn() -> bool) {
    for _ in 0..600 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not come true in 12 s");
}

fn lines(path: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn sequences(events: &[Value]) -> Vec<u64> {
    events
        .iter()
        .map(|event| {
            event["sequence"]
                .as_str()
                .expect("a sequence number")
                .parse()
                .expect("a number")
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_reaches_both_sinks_through_failures_and_a_restart() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let consumer = Consumer::start(3).await;
    let file = directory.path().join("cdp/feed.jsonl");
    let mut config = config(directory.path());
    config.sinks = vec![
        sink(
            "erp",
            SinkKind::Webhook {
                url: consumer.url.clone(),
                secret: Some(SECRET.into()),
            },
            mapping(&[
                ("Partner.LastName", "identity.golden.name.family"),
                ("Op", "kind"),
            ]),
        ),
        sink(
            "cdp",
            SinkKind::File { path: file.clone() },
            Mapping::default(),
        ),
    ];
    let running = Running::start_with(config.clone()).await;
    submit(&running, 0..10).await;
    wait_until(|| consumer.received.lock().len() >= 10 && lines(&file).len() >= 10).await;
    running.stop().await;
    // A crash in the middle of a line.
    use std::io::Write;
    std::fs::OpenOptions::new()
        .append(true)
        .open(&file)
        .expect("the file is there")
        .write_all(b"{\"half\":")
        .expect("written");
    let running = Running::start_with(config).await;
    submit(&running, 10..20).await;
    wait_until(|| consumer.received.lock().len() >= 20 && lines(&file).len() >= 20).await;
    running.stop().await;
    let (webhook, file) = (consumer.received.lock().clone(), lines(&file));
    assert_eq!(
        sequences(&webhook),
        (1..=webhook.len() as u64).collect::<Vec<_>>(),
        "in order, without gap"
    );
    assert_eq!(
        sequences(&file),
        (1..=file.len() as u64).collect::<Vec<_>>(),
        "in order, without gap, none twice"
    );
    assert_eq!(webhook.len(), file.len());
    let first = &webhook[0];
    assert_eq!(
        (first["specversion"].as_str(), first["type"].as_str()),
        (Some("1.0"), Some("veridem.identity.created.v1"))
    );
    assert_eq!(
        first["data"],
        serde_json::json!({ "Partner": { "LastName": "Lee" }, "Op": "created" })
    );
    assert_eq!(
        file[0]["data"]["identity"]["golden"]["email"],
        "ann0@lee.org"
    );
}
