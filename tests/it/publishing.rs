//! Sinks: every event, in order for each identity, through everything that consumers do.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use veridem::publish::{Mapping, SinkKind, SinkSettings};
use veridem::resolver::SignalKind;
use veridem::store::{FjallStore, Tenant};
use veridem_proto::v1;
use veridem_proto::v1::operations_service_client::OperationsServiceClient;

use crate::consumer::*;
use crate::support::*;

fn mapping(fields: &[(&str, &str)]) -> Mapping {
    Mapping::of_fields(
        fields
            .iter()
            .map(|(target, path)| ((*target).to_owned(), (*path).to_owned()))
            .collect(),
    )
    .expect("known paths")
}

pub fn webhook(consumer: &Consumer) -> SinkSettings {
    let kind = SinkKind::Webhook {
        url: consumer.url.clone(),
        secret: Some(SECRET.into()),
        authorization_file: None,
    };
    SinkSettings {
        timeout: Duration::from_millis(500),
        ..SinkSettings::new("erp", kind)
    }
}

pub async fn submit(running: &Running, range: std::ops::Range<usize>) {
    for index in range {
        let signal = update(
            &format!("s{index}"),
            &format!("pos/{index}"),
            vec![
                name("Ann", "Lee"),
                email(&format!("ann{}@lee.org", index % 3)),
            ],
        );
        running
            .resolution()
            .submit_signal(v1::SubmitSignalRequest {
                signal: Some(message(&signal)),
            })
            .await
            .expect("accepted");
    }
}

pub async fn wait_until(holds: impl Fn() -> bool) {
    for _ in 0..600 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not come true in 12 s");
}

pub fn lines(path: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_reaches_both_sinks_through_failures_and_a_restart() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let failures = AtomicUsize::new(3);
    let consumer = Consumer::start(move |_| {
        let left = failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        });
        left.map_or(Answer::Ok, |_| Answer::Status(503))
    })
    .await;
    let file = directory.path().join("cdp/feed.jsonl");
    let mut config = config(directory.path());
    config.sinks = vec![
        SinkSettings {
            mapping: mapping(&[
                ("Partner.LastName", "identity.golden.name.family"),
                ("Op", "kind"),
            ]),
            ..webhook(&consumer)
        },
        SinkSettings::new("cdp", SinkKind::File { path: file.clone() }),
    ];
    let running = Running::start_with(config.clone()).await;
    submit(&running, 0..10).await;
    wait_until(|| consumer.received.lock().len() >= 10 && lines(&file).len() >= 10).await;
    running.stop().await;
    // A crash in the middle of a line.
    use std::io::Write;
    std::fs::OpenOptions::new()
        .append(true)
        .open(&file)
        .expect("the file is there")
        .write_all(b"{\"half\":")
        .expect("written");
    let running = Running::start_with(config).await;
    submit(&running, 10..20).await;
    wait_until(|| consumer.received.lock().len() >= 20 && lines(&file).len() >= 20).await;
    running.stop().await;
    let (webhook, file) = (consumer.received.lock().clone(), lines(&file));
    let numbers: BTreeSet<u64> = webhook.iter().map(sequence_of).collect();
    assert!(
        numbers.into_iter().eq(1..=webhook.len() as u64),
        "without gap, none twice"
    );
    let numbers = file.iter().map(sequence_of);
    assert!(
        numbers.eq(1..=file.len() as u64),
        "in order, without gap, none twice"
    );
    assert_eq!(webhook.len(), file.len());
    let first = (webhook.iter())
        .find(|event| sequence_of(event) == 1)
        .expect("the first");
    assert_eq!(
        (first["specversion"].as_str(), first["type"].as_str()),
        (Some("1.0"), Some("veridem.identity.created.v1"))
    );
    assert_eq!(
        first["data"],
        serde_json::json!({ "Partner": { "LastName": "Lee" }, "Op": "created" })
    );
    assert_eq!(
        file[0]["data"]["identity"]["golden"]["email"],
        "ann0@lee.org"
    );
}

/// Signals that merge and split: people share e-mail addresses now and then.
pub async fn churn(running: &Running, range: std::ops::Range<usize>) {
    for index in range {
        let person = index * 7 % 12;
        let mut signal = update(
            &format!("churn{index}"),
            &format!("pos/{person}"),
            vec![
                name(
                    ["Ann", "Bob", "Eva"][person % 3],
                    ["Lee", "Quist"][person % 2],
                ),
                email(&format!("p{}@lee.org", (person + index / 5) % 6)),
                phone(&format!("+61 400 000 {:03}", index % 40)),
            ],
        );
        // Each is later than the one before.
        signal.event_time_ms += index as i64;
        crate::support::submit(running, signal)
            .await
            .expect("accepted");
    }
}

pub async fn operations(running: &Running) -> OperationsServiceClient<tonic::transport::Channel> {
    OperationsServiceClient::new(running.channel.clone())
}

pub async fn state(running: &Running) -> v1::Sink {
    let asked = v1::ListSinksRequest {};
    let answer = operations(running)
        .await
        .list_sinks(asked)
        .await
        .expect("lists");
    answer.into_inner().sinks.remove(0)
}

/// The number of the latest event.
async fn last_sequence(running: &Running) -> u64 {
    let asked = v1::GetStatisticsRequest {};
    let answer = operations(running).await.get_statistics(asked).await;
    answer.expect("counts").into_inner().last_sequence
}

/// Waits until everything is delivered or a dead letter.
pub async fn settled(running: &Running) -> v1::Sink {
    for _ in 0..1_500 {
        let sink = state(running).await;
        if sink.lag == 0 {
            return sink;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not settled in 30 s: {:?}", state(running).await);
}

pub fn store_of(directory: &std::path::Path) -> FjallStore {
    FjallStore::open_directory(&directory.join("data/store"), 64 << 20).expect("opens")
}

/// Everything that the store holds arrived, in order for each identity.
pub fn assert_has_everything(consumer: &Consumer, directory: &std::path::Path) {
    let received = consumer.received.lock().clone();
    assert_in_order_per_identity(&received);
    let store = store_of(directory);
    assert_eq!(
        view_of(&received),
        view_of_store(&store, &Tenant::default_tenant())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_fails_in_every_way_gets_everything_in_order() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let turn = AtomicUsize::new(0);
    let consumer = Consumer::start(move |_| match turn.fetch_add(1, Ordering::Relaxed) % 12 {
        1 => Answer::Status(500),
        3 => Answer::Reset,
        5 => Answer::Status(503),
        7 => Answer::Late(Duration::from_millis(700)),
        9 => Answer::RetryAfter(0),
        _ => Answer::Ok,
    })
    .await;
    let mut config = config(directory.path());
    config.sinks = vec![webhook(&consumer)];
    let running = Running::start_with(config).await;
    churn(&running, 0..80).await;
    let sink = settled(&running).await;
    assert_eq!((sink.dead_letters, sink.down), (0, false), "{sink:?}");
    running.stop().await;
    assert_has_everything(&consumer, directory.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_down_is_left_alone_and_then_gets_everything() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let consumer = Consumer::start(|_| Answer::Status(503)).await;
    let mut config = config(directory.path());
    config.sinks = vec![SinkSettings {
        max_attempts: 2,
        ..webhook(&consumer)
    }];
    let running = Running::start_with(config).await;
    churn(&running, 0..40).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let sink = state(&running).await;
    assert!(
        sink.down && sink.lag > 0 && sink.last_error.contains("503"),
        "{sink:?}"
    );
    assert_eq!(
        (sink.cursor, sink.retries),
        (0, 0),
        "nothing is passed over"
    );
    assert_eq!(sink.lag, last_sequence(&running).await, "all of it waits");
    let tried = consumer.requests.lock().len();
    assert!(tried < 40, "{tried} requests to a consumer that is down");
    consumer.now(|_| Answer::Ok);
    let sink = settled(&running).await;
    assert_eq!((sink.down, sink.last_error.as_str()), (false, ""));
    running.stop().await;
    assert_has_everything(&consumer, directory.path());
}

/// Whether a request holds an event of a person.
pub fn is_of(events: &[Value], family: &str) -> bool {
    let name = |event: &Value| event["data"]["identity"]["golden"]["name"]["family"] == family;
    events.iter().any(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_consumer_never_takes_becomes_a_dead_letter_and_holds_up_nobody_else() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let refuses = |events: &[Value]| {
        if is_of(events, "Poison") {
            Answer::Status(422)
        } else {
            Answer::Ok
        }
    };
    let consumer = Consumer::start(refuses).await;
    let mut config = config(directory.path());
    config.sinks = vec![SinkSettings {
        batch: 4,
        max_attempts: 3,
        ..webhook(&consumer)
    }];
    let running = Running::start_with(config.clone()).await;
    let poison = |index: usize| {
        let attributes = vec![name("Pia", "Poison"), email(&format!("pia{index}@web.org"))];
        update(&format!("p{index}"), "pos/poison", attributes)
    };
    for index in 0..3 {
        crate::support::submit(&running, poison(index))
            .await
            .expect("accepted");
        churn(&running, index * 10..index * 10 + 10).await;
    }
    wait_for_dead_letters(&running, 1).await;
    running.stop().await;
    let store = store_of(directory.path());
    let without_poison = |mut view: View| {
        view.retain(|_, identity| identity["golden"]["name"]["family"] != "Poison");
        view
    };
    let wanted = view_of_store(&store, &Tenant::default_tenant());
    let received = consumer.received.lock().clone();
    assert_eq!(
        view_of(&received),
        without_poison(wanted.clone()),
        "nobody else was held up"
    );
    drop(store);

    // It is still there after a restart, with its reason, and later events of the same person wait behind it.
    let running = Running::start_with(config.clone()).await;
    let asked = v1::ListDeadLettersRequest {
        sink: "erp".into(),
        page_size: 1,
        ..Default::default()
    };
    let mut client = operations(&running).await;
    let page = client
        .list_dead_letters(asked.clone())
        .await
        .expect("lists")
        .into_inner();
    let letter = &page.dead_letters[0];
    assert_eq!((letter.attempts, letter.kind.as_str()), (3, "created"));
    assert!(
        letter.reason.contains("422") && letter.failed_at_ms > 0,
        "{letter:?}"
    );
    let next = v1::ListDeadLettersRequest {
        page_token: page.next_page_token.clone(),
        ..asked
    };
    let last = client
        .list_dead_letters(next)
        .await
        .expect("lists")
        .into_inner();
    assert_eq!(
        (last.dead_letters.len(), last.next_page_token.as_str()),
        (0, "")
    );
    let sink = state(&running).await;
    assert_eq!((sink.dead_letters, sink.retries), (1, 2), "{sink:?}");

    // Sent again while nothing has changed, it is given up again.
    let redrive = |sequences: Vec<u64>, all| v1::RedriveDeadLettersRequest {
        sink: "erp".into(),
        sequences,
        all,
    };
    let nothing = client
        .redrive_dead_letters(redrive(vec![letter.sequence + 1], false))
        .await;
    assert_eq!(
        nothing.expect("answers").into_inner().redriven,
        0,
        "it only waits"
    );
    let again = client
        .redrive_dead_letters(redrive(vec![letter.sequence], false))
        .await;
    assert_eq!(again.expect("answers").into_inner().redriven, 1);
    wait_for_dead_letters(&running, 1).await;
    consumer.now(|_| Answer::Ok);
    let all = client.redrive_dead_letters(redrive(Vec::new(), true)).await;
    assert_eq!(all.expect("answers").into_inner().redriven, 1);
    assert_eq!(settled(&running).await.dead_letters, 0);
    let received = consumer.received.lock().clone();
    assert_in_order_per_identity(&received);
    assert_eq!(view_of(&received), wanted);

    // One that is discarded is gone, and the next of the same person arrives.
    consumer.now(refuses);
    crate::support::submit(&running, poison(3))
        .await
        .expect("accepted");
    wait_for_dead_letters(&running, 1).await;
    crate::support::submit(&running, poison(4))
        .await
        .expect("accepted");
    consumer.now(|_| Answer::Ok);
    let discard = v1::DiscardDeadLettersRequest {
        sink: "erp".into(),
        sequences: Vec::new(),
        all: true,
    };
    let discarded = client.discard_dead_letters(discard).await.expect("answers");
    assert_eq!(discarded.into_inner().discarded, 1);
    settled(&running).await;
    running.stop().await;
    let later = consumer.received.lock()[received.len()..].to_vec();
    let mails: Vec<_> = later
        .iter()
        .map(|event| &event["data"]["identity"]["golden"]["email"])
        .collect();
    assert_eq!(mails, ["pia4@web.org"]);
}

pub async fn wait_for_dead_letters(running: &Running, count: u64) {
    for _ in 0..1_000 {
        let sink = state(running).await;
        // What waits behind a dead letter is a retry.
        if sink.dead_letters == count && sink.lag == sink.retries {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no dead letter in 20 s: {:?}", state(running).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_gets_only_what_its_filter_takes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let consumer = Consumer::start(|_| Answer::Ok).await;
    let mut config = config(directory.path());
    let mut sink = webhook(&consumer);
    sink.filter.sources = vec!["web".into()];
    sink.max_per_second = Some(1_000.0);
    config.sinks = vec![sink];
    let running = Running::start_with(config).await;
    churn(&running, 0..20).await;
    let attributes = vec![name("Zoe", "Web"), email("zoe@web.org")];
    crate::support::submit(&running, update("w1", "web/1", attributes))
        .await
        .expect("accepted");
    let sink = settled(&running).await;
    let received = consumer.received.lock().clone();
    assert_eq!(received.len(), 1);
    assert_eq!(
        sequence_of(&received[0]),
        sink.cursor,
        "the cursor passes what is left out"
    );
    // That its record is gone concerns it as well.
    let mut deletion = update("w2", "web/1", Vec::new());
    deletion.event_time_ms += 1;
    deletion.kind = SignalKind::Delete;
    crate::support::submit(&running, deletion)
        .await
        .expect("accepted");
    settled(&running).await;
    let received = consumer.received.lock().clone();
    assert_eq!(received.len(), 2);
    let members = &received[1]["data"]["identity"]["members"];
    assert_eq!(members.as_array().map_or(0, Vec::len), 0, "{members}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_beyond_the_cursor_stands_in_line_once_after_a_restart() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let consumer = Consumer::start(|events| {
        if is_of(events, "Slow") {
            Answer::Late(Duration::from_secs(2))
        } else {
            Answer::Status(422)
        }
    })
    .await;
    let mut config = config(directory.path());
    config.sinks = vec![webhook(&consumer)];
    let running = Running::start_with(config.clone()).await;
    for (index, family) in ["Slow", "Refused"].into_iter().enumerate() {
        let attributes = vec![name("Sam", family), email(&format!("{family}@web.org"))];
        let signal = update(&format!("k{index}"), &format!("web/{index}"), attributes);
        crate::support::submit(&running, signal)
            .await
            .expect("accepted");
    }
    // The second is kept, while the first holds the cursor.
    while state(&running).await.retries == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(state(&running).await.cursor, 0);
    running.stop().await;
    consumer.now(|_| Answer::Ok);
    consumer.received.lock().clear();
    let running = Running::start_with(config).await;
    settled(&running).await;
    running.stop().await;
    let received = consumer.received.lock().clone();
    let numbers: BTreeSet<u64> = received.iter().map(sequence_of).collect();
    assert_eq!(numbers, BTreeSet::from([1, 2]));
    assert_eq!(received.len(), 2, "none twice");
}
