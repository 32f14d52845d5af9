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
const OPEN: [&str; 24] = [
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
    "RevealIdentity",
    "ListLabels",
    "GetQuality",
    "GetStatistics",
    "GetModelStatus",
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
