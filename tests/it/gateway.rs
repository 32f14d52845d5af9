//! JSON over HTTP: the same calls, callers, limits and errors as gRPC.

use serde_json::{Value, json};
use veridem::config::{Principal, Role};
use veridem::store::Tenant;

use crate::support::*;

const RESOLUTION: &str = "veridem.v1.ResolutionService";

struct Caller {
    client: reqwest::Client,
    address: String,
    headers: Vec<(&'static str, String)>,
}

impl Caller {
    fn of(running: &Running) -> Self {
        Self {
            client: reqwest::Client::new(),
            address: format!("http://{}", running.service.http_address),
            headers: vec![("content-type", "application/json".into())],
        }
    }

    fn with(&self, name: &'static str, value: &str) -> Self {
        let mut headers = self.headers.clone();
        headers.retain(|(known, _)| *known != name);
        headers.push((name, value.to_owned()));
        Self {
            client: self.client.clone(),
            address: self.address.clone(),
            headers,
        }
    }

    async fn send(&self, method: &str, body: impl Into<reqwest::Body>) -> reqwest::Response {
        let mut request = self
            .client
            .post(format!("{}/{method}", self.address))
            .body(body);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request.send().await.expect("an answer")
    }

    async fn call(&self, method: &str, message: Value) -> (u16, Value) {
        let response = self.send(method, message.to_string()).await;
        let status = response.status().as_u16();
        let text = response.text().await.expect("a text");
        (
            status,
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}")),
        )
    }
}

fn signal(signal_id: &str, record_id: &str, mail: &str) -> Value {
    json!({
        "signal_id": signal_id,
        "source": "pos",
        "record_id": record_id,
        "event_time_ms": 1_700_000_000_000_i64,
        "attributes": [
            { "name": { "given": "Ann", "family": "Lee" } },
            { "email": mail },
        ],
    })
}

fn resolution(method: &str) -> String {
    format!("{RESOLUTION}/{method}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_without_grpc_submits_and_finds() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    let caller = Caller::of(&running);
    let asked = json!({ "signal": signal("s1", "1", "ann@lee.org") });
    let (status, answer) = caller
        .call(&resolution("SubmitSignal"), asked.clone())
        .await;
    assert_eq!(status, 200, "{answer}");
    let id = answer["ack"]["identity_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let (_, again) = caller.call(&resolution("SubmitSignal"), asked).await;
    assert_eq!(
        again["ack"]["identity_id"],
        json!(id),
        "the same signal again gets the first answer"
    );
    let record = json!({ "record": { "source": "pos", "recordId": "1" } });
    let (status, found) = caller.call(&resolution("LookupIdentity"), record).await;
    assert_eq!(
        (status, &found["identity"]["identity_id"]),
        (200, &json!(id))
    );
    assert_eq!(
        found["identity"]["version"],
        json!(1),
        "numbers are numbers"
    );
    let attributes =
        json!({ "attributes": [{ "email": "ann@lee.org" }, { "name": { "full": "Ann Lee" } }] });
    let (status, resolved) = caller.call(&resolution("Resolve"), attributes).await;
    let best = &resolved["identities"][0];
    assert_eq!(
        (status, &best["identity"]["identity_id"]),
        (200, &json!(id))
    );
    assert_eq!(best["decision"], "DECISION_MATCH");
    // An empty body is an empty message.
    let response = caller
        .send("veridem.v1.OperationsService/GetStatistics", "")
        .await;
    let statistics: Value =
        serde_json::from_str(&response.text().await.expect("a text")).expect("JSON");
    assert_eq!(statistics["signals"], json!(1));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_says_why_and_holds_no_values() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    let caller = Caller::of(&running);
    let lookup = resolution("LookupIdentity");
    let record = |record_id: &str| json!({ "record": { "source": "pos", "record_id": record_id } });
    let (status, error) = caller.call(&lookup, record("7")).await;
    assert_eq!(
        (status, &error["code"]),
        (404, &json!("not_found")),
        "{error}"
    );
    assert_eq!(error["details"][0]["type"], "google.rpc.ErrorInfo");
    assert_eq!(error["details"][0]["debug"]["reason"], "NOT_FOUND");
    let (status, error) = caller.call(&lookup, record("")).await;
    assert_eq!(
        (status, &error["code"]),
        (400, &json!("invalid_argument")),
        "{error}"
    );
    assert_eq!(
        error["details"][0]["debug"]["metadata"]["field"],
        "record.record_id"
    );
    let (status, error) = caller
        .call(&lookup, json!({ "record": { "ann@lee.org": 1 } }))
        .await;
    assert_eq!(status, 400);
    assert!(!error.to_string().contains("ann@"), "{error}");
    let (status, error) = caller.call(&resolution("Guess"), json!({})).await;
    assert_eq!((status, &error["code"]), (501, &json!("unimplemented")));
    for wrong in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/x-ndjson",
    ] {
        let (status, error) = caller
            .with("content-type", wrong)
            .call(&lookup, record("1"))
            .await;
        assert_eq!(
            (status, &error["code"]),
            (400, &json!("invalid_argument")),
            "{wrong}"
        );
    }
    let (status, _) = caller
        .with("host", "evil.example")
        .call(&lookup, record("1"))
        .await;
    assert_eq!(
        status, 403,
        "a page of another site does not reach it through a name of its own"
    );
    let (status, _) = caller
        .with("connect-timeout-ms", "soon")
        .call(&lookup, record("1"))
        .await;
    assert_eq!(status, 400);
    // Too large a message is refused like over gRPC, and nothing of it is stored.
    let large = json!({ "signal": signal("s1", "1", &"a".repeat(2 << 20)) });
    let (status, error) = caller.call(&resolution("SubmitSignal"), large).await;
    assert_eq!(
        (status, &error["code"]),
        (429, &json!("resource_exhausted")),
        "{error}"
    );
    let (_, statistics) = caller
        .call("veridem.v1.OperationsService/GetStatistics", json!({}))
        .await;
    assert_eq!(statistics["signals"], json!(0));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_lines_gets_an_answer_a_line_and_survives_bad_ones() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    let caller = Caller::of(&running).with("content-type", "application/x-ndjson");
    let mut lines: Vec<String> = (0..300)
        .map(|index| {
            json!({ "signal": signal(&format!("s{index}"), &format!("{index}"), "ann@lee.org") })
                .to_string()
        })
        .collect();
    lines[0] = "{ no json".to_owned();
    lines[150] = json!({ "signal": { "ann@lee.org": 1 } }).to_string();
    lines[200] = json!({ "signal": signal("", "1", "") }).to_string();
    let response = caller
        .send(&resolution("SubmitSignals"), lines.join("\n"))
        .await;
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let text = response.text().await.expect("a text");
    let answers: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(answers.len(), 300);
    for (index, answer) in answers.iter().enumerate() {
        match index {
            0 | 150 => {
                let message = answer["error"]["message"].as_str().unwrap_or_default();
                assert!(
                    message.starts_with(&format!("line {}", index + 1)),
                    "{answer}"
                );
                assert!(!message.contains("ann"), "{answer}");
            }
            // Well formed, and refused by the service in the answer's own terms.
            200 => assert!(answer["refusal"].is_object(), "{answer}"),
            _ => assert!(
                answer["ack"]["identity_id"].is_string(),
                "line {index}: {answer}"
            ),
        }
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_another_encoding_or_without_an_end_is_one_wrong_line() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    let caller = Caller::of(&running).with("content-type", "application/x-ndjson");
    let line = |index: usize| {
        let id = format!("s{index}");
        json!({ "signal": signal(&id, &id, "ann@lee.org") })
            .to_string()
            .into_bytes()
    };
    // Müller in Latin-1, and a line longer than a message may be.
    let latin = b"{\"signal\": {\"record_id\": \"M\xfcller\"}}".to_vec();
    let long = vec![b'x'; 3 << 20];
    let lines = [line(0), latin, line(1), long, line(2)];
    let body = lines.join(&b'\n');
    let response = caller.send(&resolution("SubmitSignals"), body).await;
    let text = response.text().await.expect("a text");
    let kinds: Vec<&str> = text
        .lines()
        .map(|line| {
            if line.contains("\"ack\"") {
                "ack"
            } else {
                "error"
            }
        })
        .collect();
    assert_eq!(kinds, ["ack", "error", "ack", "error", "ack"], "{text}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_answers_seldom_is_read_to_its_end() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut config = config(directory.path());
    let path = directory.path().join("feed.jsonl");
    config.sinks = vec![veridem::publish::SinkSettings::new(
        "cdp",
        veridem::publish::SinkKind::File { path },
    )];
    let running = Running::start_with(config).await;
    let caller = Caller::of(&running);
    let asked = json!({ "signal": signal("s1", "1", "ann@lee.org") });
    let (_, answer) = caller.call(&resolution("SubmitSignal"), asked).await;
    let id = answer["ack"]["identity_id"].clone();
    crate::publishing::settled(&running).await;
    let lines = caller.with("content-type", "application/x-ndjson");
    let held = json!({ "held": [{ "identity_id": id, "version": 1 }] }).to_string();
    let mut body = vec![json!({ "sink": "cdp" }).to_string()];
    body.extend(std::iter::repeat_n(held, 300));
    let method = "veridem.v1.OperationsService/Reconcile";
    let response = lines.send(method, body.join("\n")).await;
    let text = response.text().await.expect("a text");
    let summary: Value = serde_json::from_str(&text).expect("one line");
    assert_eq!(summary["summary"]["held"], json!(300), "{text}");
    body[150] = "{".to_owned();
    let response = lines.send(method, body.join("\n")).await;
    let text = response.text().await.expect("a text");
    assert!(
        text.lines().last().unwrap_or_default().contains("line 151"),
        "{text}"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_gets_an_event_a_line_as_it_happens() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    let caller = Caller::of(&running);
    let mut events = caller
        .send(&resolution("WatchIdentities"), "{\"from_sequence\": 1}")
        .await;
    for index in 0..3 {
        let asked = json!({ "signal": signal(&format!("s{index}"), &format!("{index}"), &format!("a{index}@lee.org")) });
        caller.call(&resolution("SubmitSignal"), asked).await;
        let line = events.chunk().await.expect("goes on").expect("an event");
        let event: Value = serde_json::from_slice(&line).expect("one whole line");
        assert_eq!(event["event"]["sequence"], json!(index + 1));
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_are_known_by_their_tokens() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut config = config(directory.path());
    config.principals = vec![Principal {
        name: "shop".into(),
        token: "a-token-of-the-shop".into(),
        tenants: vec![Tenant::default_tenant()],
        role: Role::Service,
    }];
    let running = Running::start_with(config).await;
    let caller = Caller::of(&running);
    let statistics = "veridem.v1.OperationsService/GetStatistics";
    assert_eq!(caller.call(statistics, json!({})).await.0, 401);
    let known = caller.with("authorization", "Bearer a-token-of-the-shop");
    assert_eq!(known.call(statistics, json!({})).await.0, 200);
    assert_eq!(
        known
            .with("host", "veridem.example")
            .call(statistics, json!({}))
            .await
            .0,
        200
    );
    assert_eq!(
        known
            .with("veridem-tenant", "north")
            .call(statistics, json!({}))
            .await
            .0,
        403
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_describes_itself() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    let url = format!("http://{}/openapi.json", running.service.http_address);
    let text = reqwest::get(url)
        .await
        .expect("an answer")
        .text()
        .await
        .expect("a text");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(document, veridem::gateway::openapi());
    let paths = document["paths"].as_object().expect("paths");
    for call in ["SubmitSignal", "Resolve", "WatchIdentities"] {
        let operation = &paths[&format!("/{}", resolution(call))]["post"];
        assert!(
            !operation["summary"].as_str().unwrap_or_default().is_empty(),
            "{call}"
        );
    }
    // Every reference leads somewhere.
    let schemas = document["components"]["schemas"]
        .as_object()
        .expect("schemas");
    for (at, _) in text.match_indices("#/components/schemas/") {
        let name = text[at..].trim_start_matches("#/components/schemas/");
        let name = name.split('"').next().expect("the end of a text");
        assert!(schemas.contains_key(name), "{name}");
    }
    running.stop().await;
}
