//! The real service over real connections.

use tokio_stream::StreamExt;
use tonic::Code;
use tonic_types::StatusExt;
use veridem::config::Principal;
use veridem::store::Tenant;
use veridem_proto::v1;
use veridem_proto::v1::operations_service_client::OperationsServiceClient;
use veridem_proto::v1::privacy_service_client::PrivacyServiceClient;
use veridem_proto::v1::submit_signals_response::Outcome;

use crate::support::*;

async fn submit(
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

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_visible_to_the_very_next_read() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    let mut client = running.resolution();
    for index in 0..20 {
        let family = format!("Quist{}", (b'a' + index) as char);
        let mail = format!("zoe.{family}@web.org");
        let ack = submit(
            &running,
            update(
                &format!("s{index}"),
                &format!("pos/{index}"),
                vec![name("Zoë", &family), email(&mail)],
            ),
        )
        .await
        .expect("accepted");
        let resolve = v1::ResolveRequest {
            attributes: message(&update(
                "q",
                "q/q",
                vec![name("Zoe", &family), email(&mail)],
            ))
            .attributes,
            ..Default::default()
        };
        let found = client
            .resolve(resolve)
            .await
            .expect("resolves")
            .into_inner()
            .identities;
        assert_eq!(
            found[0].identity.as_ref().expect("an identity").identity_id,
            ack.identity_id
        );
        assert_eq!(found[0].decision, v1::Decision::Match as i32);
        let record = v1::RecordKey {
            source: "pos".into(),
            record_id: index.to_string(),
        };
        let looked_up = client
            .lookup_identity(v1::LookupIdentityRequest {
                record: Some(record),
            })
            .await
            .expect("found")
            .into_inner();
        assert_eq!(
            looked_up.identity.expect("an identity").identity_id,
            ack.identity_id
        );
        let query = format!("zoe {}", family.replace("Qui", "Qiu"));
        let search = v1::SearchIdentitiesRequest {
            query,
            ..Default::default()
        };
        let found = client
            .search_identities(search)
            .await
            .expect("searches")
            .into_inner()
            .identities;
        assert!(
            found
                .iter()
                .any(|identity| identity.identity_id == ack.identity_id),
            "a typing error is forgiven"
        );
    }
    // The same once the index has committed what was in memory.
    tokio::time::sleep(std::time::Duration::from_millis(800)).await;
    for query in ["zoe.quistc@web.org", "Qiustc zoe"] {
        let found = client
            .search_identities(v1::SearchIdentitiesRequest {
                query: query.into(),
                ..Default::default()
            })
            .await
            .expect("searches")
            .into_inner();
        assert!(!found.identities.is_empty(), "{query}");
    }
    running.stop().await;
}

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
async fn a_watcher_sees_every_event_once_in_order() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    submit(
        &running,
        update(
            "s0",
            "pos/0",
            vec![name("Ann", "Lee"), email("ann@lee.org")],
        ),
    )
    .await
    .expect("accepted");
    let mut events = running
        .resolution()
        .watch_identities(v1::WatchIdentitiesRequest { from_sequence: 0 })
        .await
        .expect("opens")
        .into_inner();
    for index in 1..50 {
        submit(
            &running,
            update(
                &format!("s{index}"),
                &format!("ecommerce/{index}"),
                vec![name("Ann", "Lee"), email("ann@lee.org")],
            ),
        )
        .await
        .expect("accepted");
    }
    for expected in 1..=50 {
        let event = events
            .next()
            .await
            .expect("the stream goes on")
            .expect("an event")
            .event
            .expect("its content");
        assert_eq!(event.sequence, expected);
        let kind = if expected == 1 {
            v1::IdentityEventKind::Created
        } else {
            v1::IdentityEventKind::Updated
        };
        assert_eq!(event.kind, kind as i32);
    }
    running.stop().await;
    assert!(
        events.next().await.is_none_or(|last| last.is_err()),
        "a stop ends the stream"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_steward_decides_a_review_task_for_ever() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    // One name and nothing else: too little to join, too much to ignore.
    submit(
        &running,
        update(
            "a",
            "pos/1",
            vec![name("Alice", "Baker"), phone("212 736 5001")],
        ),
    )
    .await
    .expect("accepted");
    submit(
        &running,
        update(
            "b",
            "ecommerce/1",
            vec![name("Alice", "Baker"), phone("646 736 9911")],
        ),
    )
    .await
    .expect("accepted");
    let tasks = running
        .stewardship()
        .list_review_tasks(v1::ListReviewTasksRequest::default())
        .await
        .expect("lists")
        .into_inner()
        .review_tasks;
    assert_eq!(tasks.len(), 1, "{tasks:?}");
    assert_ne!(tasks[0].left_identity_id, tasks[0].right_identity_id);
    let decide = v1::DecideReviewTaskRequest {
        review_task_id: tasks[0].review_task_id.clone(),
        decision: v1::StewardDecision::SamePerson.into(),
        note: "called her".into(),
        idempotency_key: "k1".into(),
    };
    let first = running
        .stewardship()
        .decide_review_task(decide.clone())
        .await
        .expect("decided")
        .into_inner();
    assert_eq!(first.left_identity_id, first.right_identity_id);
    let again = running
        .stewardship()
        .decide_review_task(decide.clone())
        .await
        .expect("the first answer")
        .into_inner();
    assert_eq!(first, again);
    let other = v1::DecideReviewTaskRequest {
        decision: v1::StewardDecision::DifferentPersons.into(),
        ..decide
    };
    assert_eq!(
        running
            .stewardship()
            .decide_review_task(other)
            .await
            .expect_err("refused")
            .code(),
        Code::AlreadyExists
    );
    assert!(
        running
            .stewardship()
            .list_review_tasks(v1::ListReviewTasksRequest::default())
            .await
            .expect("lists")
            .into_inner()
            .review_tasks
            .is_empty()
    );
    running.stop().await;
    // The override outlives a restart and new signals.
    let running = Running::start(directory.path()).await;
    submit(
        &running,
        update(
            "c",
            "pos/1",
            vec![name("Alicia", "Fairweather"), phone("212 736 5002")],
        ),
    )
    .await
    .expect("accepted");
    let overrides = running
        .stewardship()
        .list_overrides(v1::ListOverridesRequest::default())
        .await
        .expect("lists")
        .into_inner()
        .overrides;
    assert_eq!(
        (
            overrides.len(),
            overrides[0].principal.as_str(),
            overrides[0].note.as_str()
        ),
        (1, "local", "called her")
    );
    let explained = v1::ExplainMatchRequest {
        left: overrides[0].left.clone(),
        right: overrides[0].right.clone(),
    };
    let found = running
        .resolution()
        .explain_match(explained)
        .await
        .expect("explains")
        .into_inner();
    assert_eq!(found.left_identity_id, found.right_identity_id);
    assert_eq!(
        found.explanation.expect("an explanation").r#override,
        "same person"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn explanations_exports_and_unknown_ids() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    let ack = submit(
        &running,
        update("a", "pos/1", vec![name("Ann", "Lee"), email("ann@lee.org")]),
    )
    .await
    .expect("accepted");
    submit(
        &running,
        update(
            "b",
            "loyalty/1",
            vec![
                name("Anne", "Lee"),
                email("ann@lee.org"),
                identifier("loyalty", "L555123"),
            ],
        ),
    )
    .await
    .expect("accepted");
    let mut client = running.resolution();
    let explained = client
        .explain_identity(v1::ExplainIdentityRequest {
            identity_id: ack.identity_id.clone(),
        })
        .await
        .expect("explains")
        .into_inner();
    let explanation = explained.pairs[0]
        .explanation
        .as_ref()
        .expect("a pair is explained");
    let sum: f64 = explanation.prior_weight
        + explanation
            .parts
            .iter()
            .map(|part| part.weight + part.term_frequency_adjustment)
            .sum::<f64>();
    assert!((sum - explanation.match_weight).abs() < 1e-9);
    assert_eq!(explained.events.len(), 2);
    for value in &explained.identity.expect("the identity").golden_record {
        assert!(
            ["pos", "loyalty"]
                .contains(&value.record.as_ref().expect("provenance").source.as_str())
        );
        assert_ne!(value.criterion, 0);
    }
    let exported = PrivacyServiceClient::new(running.channel.clone())
        .export_person(v1::ExportPersonRequest {
            identity_id: ack.identity_id,
        })
        .await
        .expect("exports")
        .into_inner();
    assert_eq!((exported.identities.len(), exported.records.len()), (1, 2));
    let unknown = client
        .get_identity(v1::GetIdentityRequest {
            identity_id: "0".repeat(32),
        })
        .await
        .expect_err("unknown");
    assert_eq!(unknown.code(), Code::NotFound);
    let empty = client
        .resolve(v1::ResolveRequest::default())
        .await
        .expect_err("empty");
    assert_eq!(
        empty
            .get_details_error_info()
            .expect("an ErrorInfo")
            .metadata["field"],
        "attributes"
    );
    let token = client
        .list_identity_events(v1::ListIdentityEventsRequest {
            page_token: "%%".into(),
            ..Default::default()
        })
        .await
        .expect_err("no token");
    assert_eq!(token.code(), Code::InvalidArgument);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resolve_stream_answers_each_question() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    submit(
        &running,
        update("a", "pos/1", vec![name("Ann", "Lee"), email("ann@lee.org")]),
    )
    .await
    .expect("accepted");
    let attributes = message(&update(
        "q",
        "q/q",
        vec![email("ann@lee.org"), name("Ann", "Lee")],
    ))
    .attributes;
    let question = |id: &str, attributes| v1::ResolveStreamRequest {
        request_id: id.into(),
        request: Some(v1::ResolveRequest {
            attributes,
            ..Default::default()
        }),
    };
    let questions = vec![
        question("1", attributes.clone()),
        question("2", Vec::new()),
        question("3", attributes),
    ];
    let answers: Vec<_> = running
        .resolution()
        .resolve_stream(tokio_stream::iter(questions))
        .await
        .expect("opens")
        .into_inner()
        .collect()
        .await;
    let kinds: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.expect("an answer"))
        .map(|answer| {
            (
                answer.request_id,
                matches!(
                    answer.outcome,
                    Some(v1::resolve_stream_response::Outcome::Response(_))
                ),
            )
        })
        .collect();
    assert_eq!(
        kinds,
        [("1".into(), true), ("2".into(), false), ("3".into(), true)]
    );
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
        },
        Principal {
            name: "north".into(),
            token: "a-token-of-the-north".into(),
            tenants: vec![north],
        },
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
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_reflection_and_metrics_answer() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    let ack = submit(
        &running,
        update(
            "a",
            "pos/1",
            vec![name("Quillfeather", "Lee"), email("quillfeather@lee.org")],
        ),
    )
    .await
    .expect("accepted");
    assert!(!ack.identity_id.is_empty());
    let mut health = tonic_health::pb::health_client::HealthClient::new(running.channel.clone());
    let request = tonic_health::pb::HealthCheckRequest {
        service: "veridem.v1.ResolutionService".into(),
    };
    assert_eq!(
        health
            .check(request)
            .await
            .expect("answers")
            .into_inner()
            .status,
        1
    );
    use tonic_reflection::pb::v1 as reflection;
    let mut client =
        reflection::server_reflection_client::ServerReflectionClient::new(running.channel.clone());
    let list = reflection::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            reflection::server_reflection_request::MessageRequest::ListServices(String::new()),
        ),
    };
    let answer = client
        .server_reflection_info(tokio_stream::iter([list]))
        .await
        .expect("opens")
        .into_inner()
        .next()
        .await
        .expect("answers")
        .expect("a list");
    let listed = format!("{answer:?}");
    for service in [
        "veridem.v1.ResolutionService",
        "veridem.v1.StewardshipService",
        "veridem.v1.OperationsService",
        "veridem.v1.PrivacyService",
        "grpc.health.v1.Health",
    ] {
        assert!(listed.contains(service), "{service}");
    }
    let get = |path: &str| reqwest::get(format!("http://{}{path}", running.service.http_address));
    assert_eq!(get("/health/ready").await.expect("answers").status(), 200);
    let metrics = get("/metrics")
        .await
        .expect("answers")
        .text()
        .await
        .expect("text");
    for metric in [
        "veridem_signals_total",
        "veridem_call_seconds",
        "veridem_calls_total",
        "veridem_commit_group_size",
    ] {
        assert!(metrics.contains(metric), "{metric} in {metrics}");
    }
    assert!(
        !metrics.to_lowercase().contains("quillfeather"),
        "no personal value in metrics"
    );
    running.stop().await;
}
