//! Sinks whose consumers, or whose settings, say how fast.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use veridem::clock;
use veridem::publish::SinkSettings;
use veridem_proto::v1;

use crate::consumer::*;
use crate::publishing::{
    assert_has_everything, is_of, operations, settled, state, submit, wait_for_dead_letters,
    webhook,
};
use crate::support;
use crate::support::{Running, config, email, name, update};

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_with_a_rate_delivers_no_faster() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let consumer = Consumer::start(|_| Answer::Ok).await;
    let mut config = config(directory.path());
    config.sinks = vec![SinkSettings {
        max_per_second: Some(20.0),
        ..webhook(&consumer)
    }];
    let running = Running::start_with(config).await;
    let start = clock::instant();
    submit(&running, 0..21).await;
    let events = settled(&running).await.cursor;
    // The first goes at once.
    let least = Duration::from_secs_f64((events - 1) as f64 / 20.0);
    assert!(start.elapsed() >= least, "{events} events");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_asks_for_a_pause_gets_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let moments = Arc::new(Mutex::new(Vec::new()));
    let noted = moments.clone();
    let consumer = Consumer::start(move |_| {
        let mut noted = noted.lock();
        noted.push(clock::instant());
        match noted.len() {
            1 => Answer::RetryAfter(2),
            _ => Answer::Ok,
        }
    })
    .await;
    let mut config = config(directory.path());
    config.sinks = vec![webhook(&consumer)];
    let running = Running::start_with(config).await;
    submit(&running, 0..1).await;
    settled(&running).await;
    running.stop().await;
    let moments = moments.lock().clone();
    assert_eq!(moments.len(), 2);
    assert!(moments[1] - moments[0] >= Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_never_answers_is_tried_again_after_the_deadline() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let turn = AtomicUsize::new(0);
    let consumer = Consumer::start(move |_| match turn.fetch_add(1, Ordering::Relaxed) {
        0 => Answer::Late(Duration::from_secs(3_600)),
        _ => Answer::Ok,
    })
    .await;
    let mut config = config(directory.path());
    config.sinks = vec![webhook(&consumer)];
    let running = Running::start_with(config).await;
    submit(&running, 0..3).await;
    let sink = settled(&running).await;
    assert_eq!((sink.dead_letters, sink.down), (0, false));
    running.stop().await;
    assert_has_everything(&consumer, directory.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_arrives_in_time_while_others_do_becomes_a_dead_letter() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let consumer = Consumer::start(|events| {
        if is_of(events, "Slow") {
            Answer::Late(Duration::from_secs(3_600))
        } else {
            Answer::Ok
        }
    })
    .await;
    let mut config = config(directory.path());
    config.sinks = vec![SinkSettings {
        max_attempts: 3,
        timeout: Duration::from_millis(200),
        ..webhook(&consumer)
    }];
    let running = Running::start_with(config).await;
    let attributes = vec![name("Sam", "Slow"), email("sam@slow.org")];
    let slow = update("slow", "web/slow", attributes);
    support::submit(&running, slow).await.expect("accepted");
    // Others arrive between its attempts.
    let mut index = 0;
    while state(&running).await.dead_letters == 0 {
        assert!(index < 600, "{:?}", state(&running).await);
        submit(&running, index..index + 1).await;
        index += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    wait_for_dead_letters(&running, 1).await;
    let asked = v1::ListDeadLettersRequest {
        sink: "erp".into(),
        ..Default::default()
    };
    let mut client = operations(&running).await;
    let letters = client.list_dead_letters(asked).await.expect("lists");
    let letter = &letters.into_inner().dead_letters[0];
    assert_eq!((letter.sequence, letter.attempts), (1, 3), "{letter:?}");
    assert!(letter.reason.contains("in time"), "{letter:?}");
    running.stop().await;
}
