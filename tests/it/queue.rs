//! The review queue over gRPC: its order, its filters, tasks that close by themselves, decisions to which somebody else has to agree.

use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use veridem::config::{Config, Principal, Role, StewardshipSettings};
use veridem::intake::SourceSettings;
use veridem_proto::v1;
use veridem_proto::v1::OverrideState;
use veridem_proto::v1::stewardship_service_client::StewardshipServiceClient;

use crate::support::*;

/// So different that nobody knows whether they are one person's.
const GIVEN: [&str; 2] = ["<b>Ann</b>", "<b>Bea</b>"];

async fn listed(running: &Running, asked: v1::ListReviewTasksRequest) -> Vec<v1::ReviewTask> {
    let listed = running.stewardship().list_review_tasks(asked).await;
    listed.expect("lists").into_inner().review_tasks
}

fn sides(task: &v1::ReviewTask) -> (String, String) {
    let text = |key: &Option<v1::RecordKey>| {
        let key = key.as_ref().expect("a record");
        format!("{}/{}", key.source, key.record_id)
    };
    (text(&task.left), text(&task.right))
}

/// Two records of one e-mail address and two given names: nobody knows.
pub async fn doubt(running: &Running, number: usize, family: &str, sources: [&str; 2]) {
    for (source, given) in sources.into_iter().zip(GIVEN) {
        let told = vec![name(given, family), email(&format!("box{number}@gmx.at"))];
        let signal = update(
            &format!("{source}-{number}"),
            &format!("{source}/{number}"),
            told,
        );
        submit(running, signal).await.expect("accepted");
    }
}

/// Further records that are surely of the person of one of [`doubt`].
pub async fn grow(running: &Running, number: usize, family: &str, source: &str, by: usize) {
    for more in 0..by {
        let told = vec![
            name(GIVEN[0], family),
            email(&format!("box{number}@gmx.at")),
            phone(&format!("212 736 5{number}{more:02}")),
        ];
        let key = format!("{source}/{number}-{more}");
        let signal = update(&format!("{source}-{number}-{more}"), &key, told);
        submit(running, signal).await.expect("accepted");
    }
}

fn known_sources() -> Vec<SourceSettings> {
    let source = |name: &str, brand: &str| SourceSettings {
        brand: Some(brand.to_owned()),
        ..SourceSettings::new(tenant(), name)
    };
    vec![
        source("pos", "north"),
        source("shop", "north"),
        source("cdp", "south"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_task_settles_the_most_and_filters_narrow_the_queue_down() {
    let directory = tempfile::tempdir().expect("a folder");
    let running = Running::start_with(Config {
        sources: known_sources(),
        ..config(directory.path())
    })
    .await;
    doubt(&running, 1, "Lindqvist", ["pos", "shop"]).await;
    doubt(&running, 2, "Abernathy", ["pos", "cdp"]).await;
    doubt(&running, 3, "Castellano", ["cdp", "shop"]).await;
    grow(&running, 3, "Castellano", "cdp", 6).await;
    let all = listed(&running, v1::ListReviewTasksRequest::default()).await;
    assert!(all.len() >= 3, "{all:?}");
    let falling = all
        .windows(2)
        .all(|pair| pair[0].priority >= pair[1].priority);
    assert!(falling, "{all:?}");
    let (left, right) = sides(&all[0]);
    assert!(
        left.contains("/3") || right.contains("/3"),
        "eight records hang on it: {left} {right}"
    );
    assert!(all.iter().all(|task| task.opened_at_ms > 0));

    let asked = v1::ListReviewTasksRequest::default;
    let large = v1::ListReviewTasksRequest {
        min_records: 4,
        ..asked()
    };
    let large = listed(&running, large).await;
    assert!(!large.is_empty() && large.len() < all.len());
    assert!(
        large
            .iter()
            .all(|task| sides(task).0.contains("/3") || sides(task).1.contains("/3"))
    );

    let south = v1::ListReviewTasksRequest {
        brands: vec!["south".into()],
        ..asked()
    };
    let south = listed(&running, south).await;
    assert!(
        south
            .iter()
            .all(|task| sides(task).0.starts_with("cdp") || sides(task).1.starts_with("cdp"))
    );
    assert!(!south.is_empty() && south.len() < all.len());
    let unknown = v1::ListReviewTasksRequest {
        brands: vec!["west".into()],
        ..asked()
    };
    let refused = running.stewardship().list_review_tasks(unknown).await;
    assert_eq!(
        refused.expect_err("no such brand").code(),
        Code::InvalidArgument
    );

    let oldest = all
        .iter()
        .map(|task| task.opened_at_ms)
        .min()
        .expect("tasks");
    let before = v1::ListReviewTasksRequest {
        opened_before_ms: oldest - 1,
        ..asked()
    };
    assert!(listed(&running, before).await.is_empty());
    let since = v1::ListReviewTasksRequest {
        opened_before_ms: i64::MAX,
        ..asked()
    };
    assert_eq!(listed(&running, since).await.len(), all.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_later_evidence_settles_closes_and_says_why() {
    let directory = tempfile::tempdir().expect("a folder");
    let running = Running::start(directory.path()).await;
    doubt(&running, 1, "Lindqvist", ["pos", "shop"]).await;
    let task = listed(&running, v1::ListReviewTasksRequest::default())
        .await
        .remove(0);
    let asked = || v1::GetReviewTaskRequest {
        review_task_id: task.review_task_id.clone(),
    };
    assert!(running.stewardship().get_review_task(asked()).await.is_ok());
    // The till learns what the shop knew.
    for source in ["pos", "shop"] {
        let told = vec![
            name(GIVEN[0], "Lindqvist"),
            email("box1@gmx.at"),
            phone("212 736 5001"),
            identifier("loyalty", "L-77"),
        ];
        let signal = update(&format!("{source}-again"), &format!("{source}/1"), told);
        submit(&running, signal).await.expect("accepted");
    }
    let closed = running.stewardship().get_review_task(asked()).await;
    let closed = closed.expect_err("it is closed");
    assert_eq!(closed.code(), Code::NotFound);
    assert!(
        closed
            .message()
            .contains("later evidence has made them one identity"),
        "{closed}"
    );
    let unknown = v1::GetReviewTaskRequest {
        review_task_id: "0".repeat(64),
    };
    let unknown = running.stewardship().get_review_task(unknown).await;
    assert!(
        unknown
            .expect_err("there is none")
            .message()
            .contains("not known")
    );
}

pub type Caller = fn(Request<()>) -> Result<Request<()>, Status>;

fn with_token(mut request: Request<()>, token: &'static str) -> Request<()> {
    let token = format!("Bearer {token}").parse().expect("ASCII");
    request.metadata_mut().insert("authorization", token);
    request
}

pub fn as_ann(request: Request<()>) -> Result<Request<()>, Status> {
    Ok(with_token(request, "the-token-of-ann"))
}

pub fn as_bob(request: Request<()>) -> Result<Request<()>, Status> {
    Ok(with_token(request, "the-token-of-bob"))
}

/// Somebody who calls with a token.
pub type Judge = StewardshipServiceClient<InterceptedService<Channel, Caller>>;

pub async fn stewards(running: &Running, caller: Caller) -> Judge {
    let address = format!("http://{}", running.service.grpc_address);
    let channel = Channel::from_shared(address)
        .expect("an address")
        .connect()
        .await;
    StewardshipServiceClient::with_interceptor(channel.expect("connects"), caller)
}

pub fn ann_and_bob(role: Role) -> Vec<Principal> {
    let principal = |name: &str| Principal {
        name: name.to_owned(),
        token: format!("the-token-of-{name}"),
        tenants: vec![tenant()],
        role,
    };
    vec![principal("ann"), principal("bob")]
}

fn call(key: &str, reason: &str) -> Option<v1::StewardCall> {
    Some(v1::StewardCall {
        idempotency_key: key.into(),
        reason: reason.into(),
        ..v1::StewardCall::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn above_a_limit_a_decision_counts_once_somebody_else_agrees() {
    let directory = tempfile::tempdir().expect("a folder");
    let open = Running::start(directory.path()).await;
    doubt(&open, 1, "Lindqvist", ["pos", "shop"]).await;
    doubt(&open, 2, "Abernathy", ["pos", "shop"]).await;
    grow(&open, 2, "Abernathy", "pos", 5).await;
    open.stop().await;
    let running = Running::start_with(Config {
        principals: ann_and_bob(Role::Steward),
        stewardship: StewardshipSettings {
            four_eyes_above: Some(4),
            ..StewardshipSettings::default()
        },
        ..config(directory.path())
    })
    .await;
    let mut ann = stewards(&running, as_ann).await;
    let mut bob = stewards(&running, as_bob).await;
    let settings = ann
        .get_stewardship_settings(v1::GetStewardshipSettingsRequest {})
        .await;
    let settings = settings.expect("answered").into_inner();
    assert_eq!(settings.four_eyes_above, 4);
    assert!(settings.reasons.contains(&"documents seen".to_owned()));

    let tasks = ann
        .list_review_tasks(v1::ListReviewTasksRequest::default())
        .await;
    let tasks = tasks.expect("lists").into_inner().review_tasks;
    let of = |number: &str| {
        let found = tasks
            .iter()
            .find(|task| sides(task).0.starts_with(number) || sides(task).1.starts_with(number));
        found.expect("a task").review_task_id.clone()
    };
    let decide = |id: String, call| v1::DecideReviewTaskRequest {
        review_task_id: id,
        decision: v1::StewardDecision::SamePerson.into(),
        call,
    };
    let refused = ann
        .decide_review_task(decide(of("pos/1"), call("r", "because")))
        .await;
    assert!(
        refused
            .expect_err("no such reason")
            .message()
            .contains("call.reason")
    );
    // Two records: at once.
    let small = ann
        .decide_review_task(decide(of("pos/1"), call("1", "documents seen")))
        .await;
    let small = small
        .expect("decided")
        .into_inner()
        .outcome
        .expect("an outcome");
    let made = small.r#override.expect("an override");
    assert_eq!(
        (made.reason.as_str(), made.state()),
        ("documents seen", OverrideState::Unspecified)
    );
    assert!(!small.events.is_empty());

    // Seven: not before bob agrees, and it leaves the queue meanwhile.
    let large = ann
        .decide_review_task(decide(of("pos/2"), call("2", "")))
        .await;
    let large = large
        .expect("taken")
        .into_inner()
        .outcome
        .expect("an outcome");
    let number = large
        .r#override
        .as_ref()
        .expect("an override")
        .override_number;
    assert_eq!(
        large.r#override.expect("an override").state(),
        OverrideState::AwaitsApproval
    );
    assert_eq!(large.events, [], "nothing has happened yet");
    let again = ann
        .decide_review_task(decide(of("pos/2"), call("2", "")))
        .await;
    let again = again
        .expect("the first answer")
        .into_inner()
        .outcome
        .expect("an outcome");
    assert_eq!(
        again.r#override.expect("an override").override_number,
        number
    );
    let left = ann
        .list_review_tasks(v1::ListReviewTasksRequest::default())
        .await;
    let left = left.expect("lists").into_inner().review_tasks;
    assert!(left.iter().all(|task| task.review_task_id != of("pos/2")));
    let awaiting = v1::ListOverridesRequest {
        awaiting_approval: true,
        ..Default::default()
    };
    let waiting = bob
        .list_overrides(awaiting.clone())
        .await
        .expect("lists")
        .into_inner()
        .overrides;
    assert_eq!(
        waiting
            .iter()
            .map(|made| made.override_number)
            .collect::<Vec<_>>(),
        [number]
    );

    let approve = |key: &str| v1::ApproveOverrideRequest {
        override_number: number,
        call: call(key, ""),
    };
    let own = ann.approve_override(approve("3")).await;
    assert_eq!(own.expect_err("her own").code(), Code::FailedPrecondition);
    // It survives a restart.
    drop((ann, bob));
    let restarted = {
        let settings = running.service.grpc_address;
        running.stop().await;
        assert_ne!(settings.port(), 0);
        Running::start_with(Config {
            principals: ann_and_bob(Role::Steward),
            ..config(directory.path())
        })
        .await
    };
    let mut bob = stewards(&restarted, as_bob).await;
    let agreed = bob.approve_override(approve("4")).await;
    let agreed = agreed
        .expect("agreed")
        .into_inner()
        .outcome
        .expect("an outcome");
    assert!(
        agreed
            .events
            .iter()
            .any(|event| event.kind() == v1::IdentityEventKind::Merged)
    );
    let made = agreed.r#override.expect("an override");
    assert_eq!(
        (made.principal.as_str(), made.approved_by.as_str()),
        ("ann", "bob")
    );
    let twice = bob.approve_override(approve("5")).await;
    assert_eq!(
        twice.expect_err("it waits no more").code(),
        Code::FailedPrecondition
    );
    let waiting = bob
        .list_overrides(awaiting)
        .await
        .expect("lists")
        .into_inner()
        .overrides;
    assert_eq!(waiting, []);
    let listed = bob
        .list_overrides(v1::ListOverridesRequest::default())
        .await;
    let listed = listed.expect("lists").into_inner().overrides;
    let states: Vec<_> = listed.iter().map(v1::Override::state).collect();
    assert_eq!(states, [OverrideState::InForce, OverrideState::InForce]);

    // What stewards said are labels now.
    let labels = bob.list_labels(v1::ListLabelsRequest::default()).await;
    let labels = labels.expect("lists").into_inner().labels;
    assert_eq!(labels.len(), 2);
    assert!(labels.iter().all(|label| label.is_match));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_tasks_are_decided_alike_and_each_tells_what_became_of_it() {
    let directory = tempfile::tempdir().expect("a folder");
    let running = Running::start(directory.path()).await;
    for (number, family) in ["Lindqvist", "Abernathy", "Castellano"]
        .into_iter()
        .enumerate()
    {
        doubt(&running, number, family, ["pos", "shop"]).await;
    }
    let tasks = listed(&running, v1::ListReviewTasksRequest::default()).await;
    let mut ids: Vec<String> = tasks
        .iter()
        .map(|task| task.review_task_id.clone())
        .collect();
    let unknown = "0".repeat(32);
    ids.push(unknown.clone());
    let ask = |ids: &[String], call| v1::DecideReviewTasksRequest {
        review_task_ids: ids.to_vec(),
        decision: v1::StewardDecision::SamePerson.into(),
        call,
    };
    let preview = Some(v1::StewardCall {
        preview: true,
        ..v1::StewardCall::default()
    });
    let mut stewards = running.stewardship();
    let outcomes = |decided: Vec<v1::DecidedReviewTask>| -> Vec<usize> {
        let events = |one: v1::DecidedReviewTask| match one.result.expect("a result") {
            v1::decided_review_task::Result::Outcome(outcome) => outcome.events.len(),
            v1::decided_review_task::Result::Problem(problem) => {
                assert!(problem.contains("not known"), "{problem}");
                0
            }
        };
        decided.into_iter().map(events).collect()
    };
    let told = stewards.decide_review_tasks(ask(&ids, preview)).await;
    assert_eq!(
        outcomes(told.expect("told").into_inner().decided),
        [1, 1, 1, 0]
    );
    assert_eq!(
        listed(&running, v1::ListReviewTasksRequest::default())
            .await
            .len(),
        3
    );
    let twice = [ids[0].clone(), ids[0].clone()];
    let refused = stewards
        .decide_review_tasks(ask(&twice, call("t", "")))
        .await;
    assert_eq!(
        refused.expect_err("one twice").code(),
        Code::InvalidArgument
    );
    for _ in 0..2 {
        // The same call again gets the first answers.
        let done = stewards
            .decide_review_tasks(ask(&ids, call("all", "test or training data")))
            .await;
        assert_eq!(
            outcomes(done.expect("done").into_inner().decided),
            [1, 1, 1, 0]
        );
    }
    assert_eq!(
        listed(&running, v1::ListReviewTasksRequest::default()).await,
        []
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_gives_tasks_to_a_steward_who_finds_them() {
    let directory = tempfile::tempdir().expect("a folder");
    let open = Running::start(directory.path()).await;
    for (number, family) in ["Lindqvist", "Abernathy"].into_iter().enumerate() {
        doubt(&open, number, family, ["pos", "shop"]).await;
    }
    open.stop().await;
    let mut principals = ann_and_bob(Role::Steward);
    principals[1].role = Role::Lead;
    let running = Running::start_with(Config {
        principals,
        ..config(directory.path())
    })
    .await;
    let mut ann = stewards(&running, as_ann).await;
    let mut bob = stewards(&running, as_bob).await;
    let tasks = bob
        .list_review_tasks(v1::ListReviewTasksRequest::default())
        .await;
    let id = tasks.expect("lists").into_inner().review_tasks[1]
        .review_task_id
        .clone();
    let assign = |to: &str| v1::ClaimReviewTaskRequest {
        review_task_id: id.clone(),
        assignee: to.into(),
    };
    let refused = ann.claim_review_task(assign("bob")).await;
    assert_eq!(
        refused.expect_err("she may not").code(),
        Code::PermissionDenied
    );
    bob.claim_review_task(assign("ann"))
        .await
        .expect("assigned");
    let of_ann = v1::ListReviewTasksRequest {
        claimed_by: "ann".into(),
        ..v1::ListReviewTasksRequest::default()
    };
    let hers = ann
        .list_review_tasks(of_ann)
        .await
        .expect("lists")
        .into_inner()
        .review_tasks;
    assert_eq!(hers.len(), 1);
    assert_eq!(hers[0].review_task_id, id);
    let claim = bob.claim_review_task(assign("")).await;
    assert_eq!(
        claim.expect_err("it is hers").code(),
        Code::FailedPrecondition
    );
}
