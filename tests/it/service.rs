//! The real service over real connections.

use tokio_stream::StreamExt;
use tonic::Code;
use tonic_types::StatusExt;
use veridem_proto::v1;
use veridem_proto::v1::privacy_service_client::PrivacyServiceClient;

use crate::support::*;

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
        .watch_identities(v1::WatchIdentitiesRequest::default())
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
        call: Some(v1::StewardCall {
            note: "called her".into(),
            idempotency_key: "k1".into(),
            ..Default::default()
        }),
    };
    let first = running
        .stewardship()
        .decide_review_task(decide.clone())
        .await
        .expect("decided")
        .into_inner();
    let ids = &first.outcome.as_ref().expect("an outcome").identity_ids;
    assert_eq!(ids[0], ids[1]);
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
        left: Some(overrides[0].groups[0].records[0].clone()),
        right: Some(overrides[0].groups[0].records[1].clone()),
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
            as_of: None,
        })
        .await
        .expect("explains")
        .into_inner();
    let explanation = explained.pairs[0]
        .explanation
        .as_ref()
        .expect("a pair is explained");
    let sum: f64 = explanation.prior_weight
        + explanation.household_adjustment
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
            as_of: None,
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
