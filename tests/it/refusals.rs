//! What the service refuses, by name, while the rest goes on.

use tokio_stream::StreamExt;
use tonic::Code;
use tonic_types::StatusExt;
use veridem::config::{Principal, Role};
use veridem::intake::SourceSettings;
use veridem::store::Tenant;
use veridem_proto::v1;
use veridem_proto::v1::operations_service_client::OperationsServiceClient;
use veridem_proto::v1::submit_signals_response::Outcome;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_by_name_and_the_rest_goes_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    let good = |id: &str| message(&update(id, &format!("pos/{id}"), vec![name("Ann", "Lee")]));
    let bad: Vec<(&str, v1::Signal)> = vec![
        (
            "signal.source",
            v1::Signal {
                source: String::new(),
                ..good("b1")
            },
        ),
        (
            "signal.signal_id",
            v1::Signal {
                signal_id: String::new(),
                ..good("b2")
            },
        ),
        (
            "signal.record_id",
            v1::Signal {
                record_id: String::new(),
                ..good("b3")
            },
        ),
        (
            "signal.event_time_ms",
            v1::Signal {
                event_time_ms: i64::MAX,
                ..good("b4")
            },
        ),
        (
            "signal.event_time_ms",
            v1::Signal {
                event_time_ms: 0,
                ..good("b5")
            },
        ),
        (
            "signal.attributes[0].name.given",
            message(&update(
                "b6",
                "pos/b6",
                vec![name(&"a".repeat(500_000), "Lee")],
            )),
        ),
        (
            "signal.attributes[0]",
            v1::Signal {
                attributes: vec![v1::Attribute { value: None }],
                ..good("b7")
            },
        ),
        (
            "signal.attributes[0].identifier.scheme",
            message(&update(
                "b8",
                "pos/b8",
                vec![identifier("Not A Scheme", "1234")],
            )),
        ),
        (
            "signal.kind",
            v1::Signal {
                kind: 99,
                ..good("b9")
            },
        ),
        (
            "signal.source",
            v1::Signal {
                source: "P O S".into(),
                ..good("b10")
            },
        ),
        (
            "signal.attributes",
            v1::Signal {
                attributes: Vec::new(),
                ..good("b11")
            },
        ),
        (
            "signal.attributes",
            v1::Signal {
                attributes: vec![good("x").attributes[0].clone(); 101],
                ..good("b12")
            },
        ),
    ];
    let mut requests = Vec::new();
    for (index, (_, signal)) in bad.iter().enumerate() {
        requests.push(v1::SubmitSignalsRequest {
            signal: Some(signal.clone()),
        });
        requests.push(v1::SubmitSignalsRequest {
            signal: Some(good(&format!("g{index}"))),
        });
    }
    let answers: Vec<_> = running
        .resolution()
        .submit_signals(tokio_stream::iter(requests))
        .await
        .expect("opens")
        .into_inner()
        .collect::<Vec<_>>()
        .await;
    assert_eq!(
        answers.len(),
        bad.len() * 2,
        "one answer a signal, the stream goes on"
    );
    for (index, (field, _)) in bad.iter().enumerate() {
        let Ok(v1::SubmitSignalsResponse {
            outcome: Some(Outcome::Refusal(refusal)),
        }) = &answers[index * 2]
        else {
            panic!("signal {index} was not refused")
        };
        assert_eq!(
            (refusal.field.as_str(), refusal.code),
            (*field, Code::InvalidArgument as i32),
            "{}",
            refusal.message
        );
        assert!(
            refusal.message.len() < 300,
            "a message does not repeat the input"
        );
        assert!(matches!(
            &answers[index * 2 + 1],
            Ok(v1::SubmitSignalsResponse {
                outcome: Some(Outcome::Ack(_))
            })
        ));
    }
    // Unary: the same refusal as a status with its ErrorInfo; and a message of 10 MB.
    let refused = running
        .resolution()
        .submit_signal(v1::SubmitSignalRequest {
            signal: Some(bad[0].1.clone()),
        })
        .await
        .expect_err("refused");
    let info = refused.get_details_error_info().expect("an ErrorInfo");
    assert_eq!(
        (refused.code(), info.reason.as_str(), info.domain.as_str()),
        (Code::InvalidArgument, "INVALID_FIELD", "veridem")
    );
    assert_eq!(info.metadata["field"], "signal.source");
    let huge = message(&update(
        "b13",
        "pos/b13",
        vec![name(&"a".repeat(10 << 20), "Lee")],
    ));
    let refused = running
        .resolution()
        .submit_signal(v1::SubmitSignalRequest { signal: Some(huge) })
        .await
        .expect_err("refused");
    assert_eq!(refused.code(), Code::OutOfRange, "{refused:?}");
    let statistics = OperationsServiceClient::new(running.channel.clone())
        .get_statistics(v1::GetStatisticsRequest {})
        .await
        .expect("counts")
        .into_inner();
    assert_eq!(
        (statistics.signals, statistics.source_records),
        (bad.len() as u64, bad.len() as u64),
        "nothing of what was refused is stored"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_utf8_is_refused_and_stores_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    // SubmitSignalRequest { signal { signal_id: <0xff 0xfe> } }, as no careful client would send it.
    let body: &[u8] = &[0, 0, 0, 0, 6, 0x0a, 4, 0x0a, 2, 0xff, 0xfe];
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .expect("a client");
    let url = format!(
        "http://{}/veridem.v1.ResolutionService/SubmitSignal",
        running.service.grpc_address
    );
    let response = client
        .post(url)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .send()
        .await
        .expect("an answer");
    assert_ne!(
        response
            .headers()
            .get("grpc-status")
            .map(|status| status.as_bytes()),
        Some(&b"0"[..])
    );
    let statistics = OperationsServiceClient::new(running.channel.clone())
        .get_statistics(v1::GetStatisticsRequest {})
        .await
        .expect("counts")
        .into_inner();
    assert_eq!(statistics.signals, 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_are_apart_and_every_call_has_a_principal() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut config = config(directory.path());
    let north = Tenant::try_from("north".to_owned()).expect("a tenant");
    config.principals = vec![
        Principal {
            name: "shop".into(),
            token: "a-token-of-the-shop".into(),
            tenants: vec![Tenant::default_tenant()],
            role: Role::Service,
        },
        Principal {
            name: "north".into(),
            token: "a-token-of-the-north".into(),
            tenants: vec![north.clone()],
            role: Role::Service,
        },
    ];
    config.sources = vec![
        SourceSettings::new(Tenant::default_tenant(), "pos"),
        SourceSettings::new(north.clone(), "kiosk"),
    ];
    let running = Running::start_with(config).await;
    let lookup = |token: Option<&str>, tenant: Option<&str>| {
        let record = v1::RecordKey {
            source: "pos".into(),
            record_id: "1".into(),
        };
        let mut request = tonic::Request::new(v1::LookupIdentityRequest {
            record: Some(record),
        });
        if let Some(token) = token {
            request.metadata_mut().insert(
                "authorization",
                format!("Bearer {token}").parse().expect("a header"),
            );
        }
        if let Some(tenant) = tenant {
            request
                .metadata_mut()
                .insert("veridem-tenant", tenant.parse().expect("a header"));
        }
        let mut client = running.resolution();
        async move {
            client
                .lookup_identity(request)
                .await
                .map(drop)
                .map_err(|status| status.code())
        }
    };
    let mut signal = tonic::Request::new(v1::SubmitSignalRequest {
        signal: Some(message(&update("a", "pos/1", vec![name("Ann", "Lee")]))),
    });
    signal.metadata_mut().insert(
        "authorization",
        "Bearer a-token-of-the-shop".parse().expect("a header"),
    );
    running
        .resolution()
        .submit_signal(signal)
        .await
        .expect("accepted");
    assert_eq!(lookup(None, None).await, Err(Code::Unauthenticated));
    assert_eq!(
        lookup(Some("a-token-of-nobody"), None).await,
        Err(Code::Unauthenticated)
    );
    assert_eq!(lookup(Some("a-token-of-the-shop"), None).await, Ok(()));
    assert_eq!(
        lookup(Some("a-token-of-the-shop"), Some("north")).await,
        Err(Code::PermissionDenied)
    );
    assert_eq!(
        lookup(Some("a-token-of-the-north"), Some("north")).await,
        Err(Code::NotFound),
        "the other tenant's record is not there"
    );
    for (token, tenant, own) in [
        ("a-token-of-the-shop", "default", "pos"),
        ("a-token-of-the-north", "north", "kiosk"),
    ] {
        let mut asked = tonic::Request::new(v1::ListSourcesRequest {});
        let mut sent = tonic::Request::new(v1::SubmitSignalRequest {
            signal: Some(message(&update("b", "kiosk/2", vec![name("Bob", "Lee")]))),
        });
        for metadata in [asked.metadata_mut(), sent.metadata_mut()] {
            let bearer = format!("Bearer {token}");
            metadata.insert("authorization", bearer.parse().expect("a header"));
            metadata.insert("veridem-tenant", tenant.parse().expect("a header"));
        }
        let mut operations = OperationsServiceClient::new(running.channel.clone());
        let listed = operations.list_sources(asked).await.expect("lists");
        let listed = listed.into_inner().sources;
        let names: Vec<&str> = listed.iter().map(|source| source.name.as_str()).collect();
        assert_eq!(names, [own], "a tenant sees its own sources");
        let sent = running.resolution().submit_signal(sent).await;
        assert_eq!(sent.is_ok(), own == "kiosk", "and they are its own");
    }
    running.stop().await;
}

/// HTTP/2 servers close connections on which too many small frames wait: a flood of small signals looks the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_small_signals_is_held_back_and_not_cut_off() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    let client = running.resolution();
    assert_eq!(flood(client).await, [2_500; 4]);
    running.stop().await;
}
