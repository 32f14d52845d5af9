//! Another model on a running service: preview, limit, activation while signals flow, interruption, and that the result is what a fresh
//! start under the new model would have come to.

use std::time::Duration;

use tonic::Code;
use tonic::transport::Channel;
use veridem::resolver::{Abandoned, Engine, EngineError, Matcher, StewardAction, StewardRequest};
use veridem::store::{ModelPhase as StoredPhase, check_tenant};
use veridem_matchers::Pack;
use veridem_proto::v1;
use veridem_proto::v1::ModelPhase;
use veridem_proto::v1::operations_service_client::OperationsServiceClient;

use crate::bulk::{bad, good};
use crate::crash::send;
use crate::process::Process;
use crate::support::*;

/// The retail rules, but more has to speak for a match.
pub fn strict_rules() -> String {
    let rules = include_str!("../../matchers/packs/retail.toml");
    let strict = rules.replace("match_probability = 0.8", "match_probability = 0.99");
    assert_ne!(rules, strict);
    strict
}

fn strict_matcher() -> Matcher {
    let pack = Pack::from_toml(&strict_rules()).expect("rules");
    Matcher::new(Matcher::shipped_model(), pack)
}

fn strict_engine() -> Engine {
    memory_engine_with(strict_matcher().into())
}

fn submit_all(engine: &Engine, signals: &[veridem::resolver::Signal]) {
    for signal in signals {
        let accepted = engine.submit(&tenant(), signal, EVENT_TIME_MS + 200_000_000_000);
        accepted.expect("accepted");
    }
}

async fn status(client: &mut OperationsServiceClient<Channel>) -> v1::GetModelStatusResponse {
    let asked = client.get_model_status(v1::GetModelStatusRequest {});
    asked.await.expect("a status").into_inner()
}

async fn wait(client: &mut OperationsServiceClient<Channel>) -> v1::GetModelStatusResponse {
    loop {
        let now = status(client).await;
        if matches!(now.phase(), ModelPhase::Done | ModelPhase::Refused) {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn activate(limit: f64) -> v1::ActivateModelRequest {
    v1::ActivateModelRequest {
        model: String::new(),
        rules: strict_rules(),
        limit,
    }
}

#[test]
fn a_preview_that_nobody_waits_for_ends_without_an_answer() {
    let (engine, matcher) = (memory_engine(), strict_matcher());
    submit_all(&engine, &sample_signals()[..200]);
    let preview =
        |abandoned: &Abandoned| engine.preview_model(&tenant(), &matcher, abandoned, &|_| {});
    let told = preview(&Abandoned::default()).expect("a preview");
    let abandoned = Abandoned::default();
    abandoned.set();
    assert!(matches!(preview(&abandoned), Err(EngineError::Abandoned)));
    let again = preview(&Abandoned::default());
    assert_eq!(again.expect("the turn was given back"), told);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_tells_what_the_activation_does() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    let signals = &sample_signals()[..600];
    send(running.channel.clone(), signals).await;
    let mut client = OperationsServiceClient::new(running.channel.clone());
    let statistics = |client: &mut OperationsServiceClient<Channel>| {
        let mut client = client.clone();
        async move {
            let counts = client.get_statistics(v1::GetStatisticsRequest {}).await;
            counts.expect("counts").into_inner()
        }
    };
    let before = statistics(&mut client).await;
    let preview = v1::PreviewModelRequest {
        model: String::new(),
        rules: strict_rules(),
    };
    let told = client
        .preview_model(preview)
        .await
        .expect("a preview")
        .into_inner();
    assert_eq!(told.identities, before.identities);
    assert!(told.identities_split > 0 && told.events > 0 && !told.largest.is_empty());
    assert_eq!(statistics(&mut client).await, before, "nothing is changed");

    client
        .activate_model(activate(told.changed_share / 2.0))
        .await
        .expect("asked for");
    let refused = wait(&mut client).await;
    assert_eq!(refused.phase(), ModelPhase::Refused);
    assert_eq!(
        refused.changed_identities,
        told.identities_ended + told.identities_split
    );
    assert_eq!(statistics(&mut client).await, before, "nothing is changed");

    client
        .activate_model(activate(1.0))
        .await
        .expect("asked for");
    let done = wait(&mut client).await;
    assert_eq!(
        (done.phase(), done.fingerprint_in_force),
        (ModelPhase::Done, told.fingerprint)
    );
    let settled = running
        .resolution()
        .wait_settled(v1::WaitSettledRequest {})
        .await;
    let after = statistics(&mut client).await;
    assert_eq!(
        settled.expect("settled").into_inner().sequence,
        after.last_sequence
    );
    assert_eq!(after.identities, told.identities_after);
    assert_eq!(after.last_sequence - before.last_sequence, told.events);
    assert_eq!(
        after.events_split - before.events_split,
        told.identities_split
    );
    assert_eq!(
        after.events_merged - before.events_merged,
        told.identities_merged
    );
    assert_eq!(
        after.events_created - before.events_created,
        told.identities_created
    );
    // Asked for again: it is in force.
    client
        .activate_model(activate(1.0))
        .await
        .expect("nothing to do");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_flow_while_a_model_comes_into_force() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    let signals = &sample_signals()[..1_200];
    let (first, rest) = signals.split_at(600);
    send(running.channel.clone(), first).await;
    let mut client = OperationsServiceClient::new(running.channel.clone());
    client
        .activate_model(activate(1.0))
        .await
        .expect("asked for");
    let other = client.activate_model(v1::ActivateModelRequest {
        rules: strict_rules().replace("0.99", "0.98"),
        ..activate(1.0)
    });
    assert_eq!(
        other.await.expect_err("one at a time").code(),
        Code::FailedPrecondition
    );
    let sent = send(running.channel.clone(), rest).await;
    assert_eq!(sent.len(), rest.len());
    assert_eq!(wait(&mut client).await.phase(), ModelPhase::Done);
    running.stop().await;

    let expected = strict_engine();
    submit_all(&expected, signals);
    let equal = |store: &dyn veridem::store::Store| {
        assert!(partition_of(store) == partition_of(expected.store().as_ref()));
        assert!(golden_and_tasks(store) == golden_and_tasks(expected.store().as_ref()));
        let problems = check_tenant(store, &tenant()).expect("reads");
        assert_eq!(problems, Vec::<String>::new());
    };
    let data = directory.path().join("data/store");
    let store = veridem::store::open_store(&data, Default::default(), 16 << 20);
    equal(store.expect("it opens").as_ref());
    assert!(directory.path().join("data/index/default.1").exists());
    assert!(
        !directory.path().join("data/index/default").exists(),
        "what is old is removed"
    );

    // The configuration still names the rules before; those in force decide.
    let running = Running::start(directory.path()).await;
    let further = &sample_signals()[1_200..1_300];
    send(running.channel.clone(), further).await;
    running.stop().await;
    submit_all(&expected, further);
    let store = veridem::store::open_store(&data, Default::default(), 16 << 20);
    equal(store.expect("it opens").as_ref());
}

#[test]
fn a_record_that_goes_to_another_identity_does_so_under_the_model_that_comes() {
    let engine = memory_engine();
    let person = |given: &str| vec![name(given, "Okafor"), email(&format!("{given}@web.org"))];
    let (one, other) = ("ecommerce/1", "ecommerce/2");
    submit_all(
        &engine,
        &[
            update("s1", one, person("Anna")),
            update("s2", other, person("Bob")),
        ],
    );
    let begun =
        engine.begin_model_change(&tenant(), &strict_matcher(), "steward", 1.0, EVENT_TIME_MS);
    begun.expect("asked for");
    engine
        .weigh_model_change(&tenant(), &|_| {})
        .expect("all pairs are weighed");
    // Neither says anything new.
    let request = StewardRequest {
        call: "SetOverride",
        action: StewardAction::Override(vec![vec![key(one), key(other)]]),
        expected_versions: Vec::new(),
        principal: "steward".into(),
        reason: String::new(),
        four_eyes_above: None,
        note: String::new(),
        idempotency_key: "one person".into(),
        preview: false,
    };
    let said = engine.steward(&tenant(), &request, EVENT_TIME_MS);
    said.expect("both are known");
    let step = engine.model_step(&tenant(), EVENT_TIME_MS).expect("a step");
    assert!(matches!(step.phase, StoredPhase::Deciding { .. }));
    let problems = check_tenant(engine.store().as_ref(), &tenant()).expect("reads");
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(partition_of(engine.store().as_ref()).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_model_change_goes_on_by_itself() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let signals: Vec<_> = sample_signals().into_iter().take(1_500).collect();
    let process = Process::start(directory.path(), "fjall").await;
    send(process.channel.clone(), &signals).await;
    let mut client = OperationsServiceClient::new(process.channel.clone());
    client
        .activate_model(activate(1.0))
        .await
        .expect("asked for");
    process.kill();
    let mut phases = std::collections::BTreeSet::new();
    // Each life is longer than the one before: how long weighing takes is the machine's affair.
    let mut life = Duration::from_millis(20);
    while life < Duration::from_secs(20) {
        let process = Process::start(directory.path(), "fjall").await;
        let mut client = OperationsServiceClient::new(process.channel.clone());
        tokio::time::sleep(life).await;
        let phase = status(&mut client).await.phase();
        phases.insert(phase);
        process.kill();
        if phase == ModelPhase::Done {
            break;
        }
        life = life.mul_f64(1.2);
    }
    assert!(phases.contains(&ModelPhase::Done), "{phases:?}");
    let expected = strict_engine();
    submit_all(&expected, &signals);
    let data = directory.path().join("data/store");
    let store = veridem::store::open_store(&data, Default::default(), 16 << 20);
    let store = store.expect("it opens after a kill");
    assert!(partition_of(store.as_ref()) == partition_of(expected.store().as_ref()));
    assert!(golden_and_tasks(store.as_ref()) == golden_and_tasks(expected.store().as_ref()));
    let problems = check_tenant(store.as_ref(), &tenant()).expect("reads");
    assert_eq!(problems, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_previews_activates_and_tells() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    send(running.channel.clone(), &sample_signals()[..400]).await;
    let address = format!("http://{}", running.service.grpc_address);
    std::fs::write(directory.path().join("strict.toml"), strict_rules()).expect("written");
    let folds = strict_rules().replace("accumulating = [", "accumulating = [\"coupon\", ");
    std::fs::write(directory.path().join("folds.toml"), folds).expect("written");
    let path = directory.path().to_owned();
    let ran = tokio::task::spawn_blocking(move || {
        let address = ["--address", address.as_str()];
        let with = |words: &[&'static str]| [&["model"], words, &address].concat();
        let said = good(&with(&["preview", "--rules", "strict.toml"]), &path);
        assert!(
            said.contains("are split") && said.contains("the largest changes"),
            "{said}"
        );
        let said = bad(&with(&["preview", "--rules", "folds.toml"]), &path, 1);
        assert!(said.contains("accumulating"), "{said}");
        let said = bad(
            &with(&["activate", "--rules", "strict.toml", "--limit", "0.0001"]),
            &path,
            1,
        );
        assert!(said.contains("nothing was changed"), "{said}");
        let said = good(
            &with(&["activate", "--rules", "strict.toml", "--limit", "1"]),
            &path,
        );
        assert!(said.contains("in force"), "{said}");
        assert!(good(&with(&["status"]), &path).contains("done"));
        bad(&with(&["preview"]), &path, 2);
    });
    ran.await.expect("all ran");
    running.stop().await;
}
