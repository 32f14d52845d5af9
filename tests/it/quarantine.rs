//! The source registry: what is not agreed is set aside, durably and once, until it is mended or discarded.

use tonic::Code;
use veridem::config::Config;
use veridem_proto::v1;
use veridem_proto::v1::operations_service_client::OperationsServiceClient;

use crate::support::*;

const REGISTRY: &str = r#"
[[sources]]
name = "pos"
owner = "stores-it@example.com"
expected_per_day = 5000
max_silence = "2h"
attributes = ["name", "email", "identifier.loyalty"]
schema_versions = ["", "2"]

[[sources.rules]]
attribute = "email"
pattern = "[^@ ]+@[^@ ]+"

[[sources.rules]]
attribute = "name.family"
required = true
"#;

fn registered(directory: &std::path::Path) -> Config {
    let mut config = config(directory);
    config.sources = Config::from_toml(REGISTRY).expect("a registry").sources;
    config
}

async fn client(running: &Running) -> OperationsServiceClient<tonic::transport::Channel> {
    OperationsServiceClient::new(running.channel.clone())
}

async fn quarantine(running: &Running) -> Vec<v1::Quarantined> {
    let mut entries = Vec::new();
    let mut page_token = String::new();
    loop {
        let asked = v1::ListQuarantineRequest {
            page_size: 2,
            page_token,
        };
        let page = client(running)
            .await
            .list_quarantine(asked)
            .await
            .expect("lists")
            .into_inner();
        entries.extend(page.quarantined);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return entries;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_source_may_not_send_waits_until_it_is_mended() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start_with(registered(directory.path())).await;
    let good = update(
        "good",
        "pos/1",
        vec![name("Ann", "Lee"), email("ann@lee.org")],
    );
    submit(&running, good.clone()).await.expect("accepted");
    let bad_mail = update("mail", "pos/2", vec![name("Bob", "Lee"), email("nobody")]);
    let not_agreed = update(
        "phone",
        "pos/3",
        vec![name("Eva", "Lee"), phone("+61 400 000 001")],
    );
    let unknown = update("unknown", "kiosk/4", vec![name("Tim", "Lee")]);
    let nameless = update("nameless", "pos/5", vec![email("x@y.org")]);
    for signal in [&bad_mail, &not_agreed, &unknown, &nameless, &bad_mail] {
        let refused = submit(&running, signal.clone())
            .await
            .expect_err("set aside");
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
        assert!(
            !refused.message().contains("nobody"),
            "no values: {refused:?}"
        );
    }
    running.stop().await;

    // It survives, once each, with its reasons.
    let running = Running::start_with(registered(directory.path())).await;
    let entries = quarantine(&running).await;
    let reasons = |signal_id: &str| {
        let entry = entries.iter().find(|entry| {
            entry
                .signal
                .as_ref()
                .is_some_and(|signal| signal.signal_id == signal_id)
        });
        entry
            .unwrap_or_else(|| panic!("{signal_id} in {entries:?}"))
            .reasons
            .join("; ")
    };
    assert_eq!(entries.len(), 4);
    assert_eq!(reasons("mail"), "email: does not fit the pattern");
    assert_eq!(reasons("phone"), "phone: may not come from this source");
    assert_eq!(reasons("unknown"), "source: is not registered");
    assert_eq!(reasons("nameless"), "name.family: is missing");

    // Mended, it comes in and leaves; as it is, it stays.
    let of = |signal_id: &str| {
        let entry = entries.iter().find(|entry| {
            entry
                .signal
                .as_ref()
                .is_some_and(|signal| signal.signal_id == signal_id)
        });
        entry.expect("an entry").clone()
    };
    let mut operations = client(&running).await;
    let as_it_is = v1::ResubmitQuarantinedRequest {
        quarantine_id: of("mail").quarantine_id,
        signal: None,
    };
    let stays = operations
        .resubmit_quarantined(as_it_is.clone())
        .await
        .expect_err("still wrong");
    assert_eq!(stays.code(), Code::FailedPrecondition);
    let mended = update(
        "mail",
        "pos/2",
        vec![name("Bob", "Lee"), email("bob@lee.org")],
    );
    let mended = v1::ResubmitQuarantinedRequest {
        signal: Some(message(&mended)),
        ..as_it_is
    };
    let answer = operations
        .resubmit_quarantined(mended.clone())
        .await
        .expect("accepted")
        .into_inner();
    assert!(!answer.ack.expect("an ack").identity_id.is_empty());
    let gone = operations
        .resubmit_quarantined(mended)
        .await
        .expect_err("it has left");
    assert_eq!(gone.code(), Code::NotFound);
    let discard = v1::DiscardQuarantinedRequest {
        quarantine_ids: vec![
            of("phone").quarantine_id,
            of("phone").quarantine_id,
            "f".repeat(32),
        ],
    };
    let discarded = operations
        .discard_quarantined(discard)
        .await
        .expect("discarded")
        .into_inner();
    assert_eq!(discarded.discarded, 1);
    assert_eq!(quarantine(&running).await.len(), 2);

    // The version of the schema is held against the registry, and is no part of the signal.
    let mut versioned = message(&good);
    versioned.schema_version = "3".into();
    let asked = v1::SubmitSignalRequest {
        signal: Some(versioned.clone()),
    };
    assert_eq!(
        running
            .resolution()
            .submit_signal(asked)
            .await
            .expect_err("set aside")
            .code(),
        Code::FailedPrecondition
    );
    versioned.schema_version = "2".into();
    let asked = v1::SubmitSignalRequest {
        signal: Some(versioned),
    };
    let ack = running
        .resolution()
        .submit_signal(asked)
        .await
        .expect("accepted")
        .into_inner()
        .ack;
    assert!(ack.expect("an ack").repeated, "the same signal as before");

    let sources = operations
        .list_sources(v1::ListSourcesRequest {})
        .await
        .expect("lists")
        .into_inner()
        .sources;
    let pos = &sources[0];
    assert_eq!(
        (pos.owner.as_str(), pos.trust, pos.max_silence_ms, pos.rules),
        ("stores-it@example.com", 10, 7_200_000, 2)
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_past_what_is_set_aside() {
    use tokio_stream::StreamExt;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start_with(registered(directory.path())).await;
    let signals: Vec<_> = (0..60)
        .map(|index| {
            let mail = if index % 3 == 0 {
                "nobody".to_owned()
            } else {
                format!("a{index}@lee.org")
            };
            let signal = update(
                &format!("s{index}"),
                &format!("pos/{index}"),
                vec![name("Ann", "Lee"), email(&mail)],
            );
            v1::SubmitSignalsRequest {
                signal: Some(message(&signal)),
            }
        })
        .collect();
    let answers = running
        .resolution()
        .submit_signals(tokio_stream::iter(signals))
        .await
        .expect("opens")
        .into_inner();
    let answers: Vec<_> = answers.collect().await;
    for (index, answer) in answers.iter().enumerate() {
        let outcome = answer
            .as_ref()
            .expect("the stream goes on")
            .outcome
            .as_ref()
            .expect("an outcome");
        match outcome {
            v1::submit_signals_response::Outcome::Ack(_) => assert_ne!(index % 3, 0),
            v1::submit_signals_response::Outcome::Refusal(refusal) => {
                assert_eq!((index % 3, refusal.reason.as_str()), (0, "QUARANTINED"));
            }
        }
    }
    assert_eq!((answers.len(), quarantine(&running).await.len()), (60, 20));
    running.stop().await;
}

#[test]
fn mistakes_in_the_registry_are_told_by_place() {
    let text = REGISTRY
        .replace("\"name\", ", "\"nmae\", ")
        .replace("\"2h\"", "\"2\"")
        .replace("[^@ ]+@[^@ ]+", "(")
        .replace("name.family", "name.surname");
    let mistakes = Config::from_toml(&text).err().expect("mistakes").0;
    for place in [
        "sources[0].attributes",
        "sources[0].max_silence",
        "sources[0].rules[0].pattern",
        "sources[0].rules[1].attribute",
    ] {
        assert!(
            mistakes.iter().any(|mistake| mistake.starts_with(place)),
            "{place} in {mistakes:?}"
        );
    }
}
