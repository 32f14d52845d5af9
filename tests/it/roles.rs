//! What principals may do by their roles.

use reqwest::StatusCode;
use veridem::config::{Principal, Role};
use veridem::schema::CONTRACT;

use crate::support::*;

const ROLES: [(Role, &str); 5] = [
    (Role::Service, "the-token-of-a-service"),
    (Role::Viewer, "the-token-of-a-viewer"),
    (Role::Steward, "the-token-of-a-steward"),
    (Role::Lead, "the-token-of-a-lead"),
    (Role::Administrator, "the-token-of-an-administrator"),
];

/// The calls that not everybody may make, and who may.
const RESTRICTED: [(&[Role], &[&str]); 4] = [
    (
        &[Role::Service, Role::Administrator],
        &["SubmitSignal", "SubmitSignals", "AckDelivery", "Reconcile"],
    ),
    (
        &[Role::Steward, Role::Lead, Role::Administrator],
        &[
            "DecideReviewTask",
            "DecideReviewTasks",
            "ClaimReviewTask",
            "ReleaseReviewTask",
            "MergeIdentities",
            "SplitIdentity",
            "SetOverride",
            "UndoOverride",
            "ApproveOverride",
            "GetSampledPair",
            "JudgeSampledPair",
            "PinValue",
            "MarkValue",
            "MakeHousehold",
        ],
    ),
    (
        &[Role::Lead, Role::Administrator],
        &[
            "ListAuditEntries",
            "ListDeadLetters",
            "ListQuarantine",
            "GetModel",
            "DrawSample",
            "RedriveDeadLetters",
            "DiscardDeadLetters",
            "ReplaySink",
            "ResubmitQuarantined",
            "DiscardQuarantined",
        ],
    ),
    (
        &[Role::Administrator],
        &[
            "Backup",
            "PreviewModel",
            "ActivateModel",
            "ExportPerson",
            "ErasePerson",
        ],
    ),
];

/// What everybody may do who is known.
const OPEN: [&str; 26] = [
    "Resolve",
    "ResolveStream",
    "GetIdentity",
    "LookupIdentity",
    "SearchIdentities",
    "ExplainMatch",
    "ExplainIdentity",
    "WaitSettled",
    "ListIdentityEvents",
    "WatchIdentities",
    "ListReviewTasks",
    "GetReviewTask",
    "ListOverrides",
    "GetStewardshipSettings",
    "ListSourceRecords",
    "GetHousehold",
    "RevealIdentity",
    "ListLabels",
    "GetQuality",
    "GetStatistics",
    "GetModelStatus",
    "ListJobs",
    "ListSinks",
    "ListCrossReferences",
    "ListDeliveries",
    "ListSources",
];

fn may(role: Role, call: &str) -> bool {
    let restricted = RESTRICTED.iter().find(|(_, calls)| calls.contains(&call));
    match restricted {
        Some((roles, _)) => roles.contains(&role),
        None => {
            assert!(OPEN.contains(&call), "{call}");
            true
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_make_the_calls_that_it_is_for_and_no_others() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut config = config(directory.path());
    config.principals = (ROLES.iter())
        .map(|(role, token)| Principal {
            name: role.as_str().into(),
            token: (*token).into(),
            tenants: vec![tenant()],
            role: *role,
        })
        .collect();
    let running = Running::start_with(config).await;
    let client = reqwest::Client::new();
    let mut refused = 0;
    for service in CONTRACT.services() {
        for method in service.methods() {
            let (address, content_type) = (
                format!(
                    "http://{}/{}/{}",
                    running.service.http_address,
                    service.full_name(),
                    method.name()
                ),
                match method.is_client_streaming() {
                    true => "application/x-ndjson",
                    false => "application/json",
                },
            );
            for (role, token) in ROLES {
                // Nothing in it: who may call is told what is missing, or is answered.
                let asked = client
                    .post(&address)
                    .header("content-type", content_type)
                    .bearer_auth(token)
                    .body("{}");
                let status = asked.send().await.expect("an answer").status();
                let is_refused = status == StatusCode::FORBIDDEN;
                assert_eq!(
                    !is_refused,
                    may(role, method.name()),
                    "{} by {}: {status}",
                    method.name(),
                    role.as_str()
                );
                refused += usize::from(is_refused);
            }
        }
    }
    assert!(refused > 40, "{refused}");
    // Whoever watches a sink takes the place of its consumer.
    for (role, token) in ROLES {
        let address = format!(
            "http://{}/veridem.v1.ResolutionService/WatchIdentities",
            running.service.http_address
        );
        let asked = client
            .post(&address)
            .header("content-type", "application/json")
            .bearer_auth(token)
            .body("{\"sink\": \"cdp\"}");
        let status = asked.send().await.expect("an answer").status();
        let wanted = match may(role, "AckDelivery") {
            true => StatusCode::NOT_FOUND,
            false => StatusCode::FORBIDDEN,
        };
        assert_eq!(status, wanted, "{}", role.as_str());
    }
    running.stop().await;
}

#[test]
fn a_principal_is_a_service_where_nothing_is_said() {
    let text = "[[principals]]\nname = \"shop\"\ntoken = \"a-token-of-the-shop\"\n";
    let role = |text: &str| {
        let config = veridem::config::Config::from_toml(text)?;
        Ok::<_, anyhow::Error>(config.principals[0].role)
    };
    assert_eq!(role(text).expect("a configuration"), Role::Service);
    let lead = format!("{text}role = \"lead\"\n");
    assert_eq!(role(&lead).expect("a configuration"), Role::Lead);
    let other = format!("{text}role = \"boss\"\n");
    let problem = role(&other).expect_err("there is no such role").to_string();
    assert!(problem.contains("administrator"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_gets_no_value_of_a_person_over_any_call() {
    let directory = tempfile::tempdir().expect("a folder");
    let open = Running::start(directory.path()).await;
    let told = |given: &str| {
        vec![
            name(given, "Oberholzer"),
            email("wilhelmina@gmx.at"),
            phone("212 736 5001"),
            address("12 Hauptstrasse", "Springfield", "62704"),
            identifier("loyalty", "LOYALTY77"),
        ]
    };
    let mut id = String::new();
    for (signal, key, given) in [
        ("first-signal", "pos/record-one", "Wilhelmina"),
        ("second-signal", "loyalty/record-two", "Wilhelmina"),
        ("third-signal", "cdp/record-three", "Bartholomew"),
    ] {
        let ack = submit(&open, update(signal, key, told(given))).await;
        id = ack.expect("accepted").identity_id;
    }
    open.stop().await;
    let mut config = config(directory.path());
    config.principals = [Role::Viewer, Role::Steward]
        .map(|role| Principal {
            name: role.as_str().into(),
            token: format!("the-token-of-a-{}", role.as_str()),
            tenants: vec![tenant()],
            role,
        })
        .to_vec();
    let running = Running::start_with(config).await;
    let client = reqwest::Client::new();
    let ask = async |role: &str, call: &str, body: &str| -> String {
        let address = format!("http://{}/veridem.v1.{call}", running.service.http_address);
        let asked = client
            .post(&address)
            .header("content-type", "application/json")
            .bearer_auth(format!("the-token-of-a-{role}"))
            .body(body.to_owned());
        let answer = asked.send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{call}");
        answer.text().await.expect("text").to_lowercase()
    };
    let of_id = format!("{{\"identity_id\": \"{id}\"}}");
    let record = "{\"record\": {\"source\": \"pos\", \"record_id\": \"record-one\"}}";
    let attributes =
        "{\"attributes\": [{\"email\": \"wilhelmina@gmx.at\"}, {\"phone\": \"212 736 5001\"}]}";
    let secrets = [
        "oberholzer",
        "wilhelmina",
        "bartholomew",
        "5001",
        "hauptstr",
        "loyalty77",
        "record-",
        "-signal",
    ];
    let mut shown = 0;
    for (call, body) in [
        ("ResolutionService/GetIdentity", of_id.as_str()),
        ("ResolutionService/ExplainIdentity", &of_id),
        ("ResolutionService/LookupIdentity", record),
        (
            "ResolutionService/SearchIdentities",
            "{\"query\": \"oberholzer\"}",
        ),
        ("ResolutionService/Resolve", attributes),
        ("ResolutionService/ListIdentityEvents", "{}"),
        (
            "StewardshipService/ListReviewTasks",
            "{\"include_identities\": true}",
        ),
        ("StewardshipService/ListSourceRecords", &of_id),
        ("StewardshipService/ListOverrides", "{}"),
        ("StewardshipService/ListLabels", "{}"),
        ("OperationsService/ListCrossReferences", &of_id),
    ] {
        let of_viewer = ask("viewer", call, body).await;
        for secret in secrets {
            assert!(
                !of_viewer.contains(secret),
                "{call}: {secret} in {of_viewer}"
            );
        }
        let of_steward = ask("steward", call, body).await;
        if secrets.iter().any(|secret| of_steward.contains(secret)) {
            shown += 1;
            assert!(of_viewer.contains('•'), "{call}: {of_viewer}");
        }
    }
    assert!(shown >= 7, "{shown} calls show something to a steward");
    let why = format!("{{\"identity_id\": \"{id}\", \"note\": \"the customer called\"}}");
    let revealed = ask("viewer", "StewardshipService/RevealIdentity", &why).await;
    assert!(revealed.contains("oberholzer"), "{revealed}");
    running.stop().await;
}
