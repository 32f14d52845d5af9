//! A sink that speaks a vendor's own API, against a server that behaves like one: sessions with a token against cross-site request
//! forgery, records that are not there, records that are refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde_json::{Value, json};
use veridem::publish::{Mapping, SinkKind, SinkSettings};

use crate::publishing::{operations, settled, wait_for_dead_letters};
use crate::support::*;
use veridem_proto::v1;

const MAPPING: &str = r#"
follows = "a vendor"
csrf_token_path = "/session"

[settings]
source = "erp"

[[requests]]
when = "kind == 'merged'"
for_each = "merged_identity_ids"
method = "DELETE"
path = "/persons/{{ each }}"
also_done = [404]

[[requests]]
for_each = "identity.members | selectattr('source', 'equalto', settings.source) | map(attribute='record_id') | list"
method = "PUT"
path = "/persons/{{ each | urlencode }}"
headers = { "If-Match" = "*" }
[requests.fields]
"Name" = "identity.golden.name.family"
"#;

#[derive(Clone, Default)]
struct Vendor {
    taken: Arc<Mutex<Vec<(Method, String, Value)>>>,
    sessions: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

async fn serve(
    State(vendor): State<Vendor>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    if header("authorization") != "Bearer of-the-vendor" {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if method == Method::GET {
        let session = vendor.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        let token = format!("token{session}");
        let cookie = format!("session={session}; Path=/; HttpOnly");
        return ([("x-csrf-token", token), ("set-cookie", cookie)], "").into_response();
    }
    // A session ends after a few requests.
    let request = vendor.requests.fetch_add(1, Ordering::Relaxed);
    let session = vendor.sessions.load(Ordering::Relaxed);
    let is_known = header("x-csrf-token") == format!("token{session}")
        && header("cookie") == format!("session={session}");
    if !is_known || request % 5 == 4 {
        vendor.sessions.fetch_add(1, Ordering::Relaxed);
        return (StatusCode::FORBIDDEN, [("x-csrf-token", "Required")], "").into_response();
    }
    if method == Method::DELETE {
        return StatusCode::NOT_FOUND.into_response();
    }
    if uri.path() == "/base/persons/refused" {
        return StatusCode::NOT_FOUND.into_response();
    }
    let body = serde_json::from_slice(&body).unwrap_or_default();
    vendor
        .taken
        .lock()
        .push((method, uri.path().to_owned(), body));
    StatusCode::NO_CONTENT.into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_gets_requests_of_its_own_api() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let vendor = Vendor::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new().fallback(serve).with_state(vendor.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let token = directory.path().join("token");
    std::fs::write(&token, "Bearer of-the-vendor\n").expect("written");
    let kind = SinkKind::Webhook {
        url: format!("http://{address}/base/"),
        secret: None,
        authorization_file: Some(token),
    };
    let mapping = Mapping::of_requests(MAPPING, BTreeMap::new()).expect("a mapping");
    let mut config = config(directory.path());
    config.sinks = vec![SinkSettings {
        mapping,
        max_attempts: 2,
        ..SinkSettings::new("erp", kind)
    }];
    let running = Running::start_with(config).await;
    let people = [
        "Lee", "Okafor", "Nowak", "Silva", "Haddad", "Moreau", "Jensen", "Quist",
    ];
    for (index, family) in people.into_iter().enumerate() {
        let given = ["Ann", "Bob", "Eva", "Tim"][index % 4];
        let attributes = vec![name(given, family), email(&format!("{family}@web.org"))];
        let signal = update(
            &format!("s{index}"),
            &format!("erp/{index} {index}"),
            attributes,
        );
        submit(&running, signal).await.expect("accepted");
    }
    // It merges two of them.
    let twice = update(
        "twice",
        "erp/1 1",
        vec![name("Ann", "Lee"), email("Lee@web.org")],
    );
    submit(&running, twice).await.expect("accepted");
    let sink = settled(&running).await;
    assert_eq!(sink.dead_letters, 0, "{sink:?}");
    let taken = vendor.taken.lock().clone();
    let put = (
        Method::PUT,
        "/base/persons/7%207".to_owned(),
        json!({ "Name": "Quist" }),
    );
    assert!(taken.contains(&put), "{taken:?}");
    assert!(
        vendor.sessions.load(Ordering::Relaxed) > 2,
        "sessions ended and were renewed"
    );

    // What the vendor does not know is about that record alone.
    let refused = update(
        "r",
        "erp/refused",
        vec![name("Rob", "Quist"), email("rob@quist.org")],
    );
    submit(&running, refused).await.expect("accepted");
    wait_for_dead_letters(&running, 1).await;
    let asked = v1::ListDeadLettersRequest {
        sink: "erp".into(),
        ..Default::default()
    };
    let letters = operations(&running)
        .await
        .list_dead_letters(asked)
        .await
        .expect("lists")
        .into_inner();
    assert!(
        letters.dead_letters[0].reason.contains("404"),
        "{letters:?}"
    );
    running.stop().await;
}
