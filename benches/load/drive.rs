//! Driving calls at a rate, and measuring them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::mpsc;
use veridem_proto::v1;

use super::client::{Client, framed};

/// Answered calls a second, their latencies, and how many calls were refused.
pub type Measured = (f64, Histogram<u64>, u64);

/// An empty histogram of microseconds.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("bounds in microseconds")
}

/// When a call was due, and when it was answered.
type Answer = (Instant, Result<Instant, tonic::Status>);

/// Calls that may be on their way at once.
const MAX_ON_THEIR_WAY: usize = 1_000;

/// The shortest sleep of what paces the calls.
const PACE: Duration = Duration::from_micros(500);

/// Tells of every call when it is due. A thread of its own: tokio's clock is not finer than a millisecond.
fn pace(started: Instant, rate: f64, count: usize) -> mpsc::UnboundedReceiver<(usize, Instant)> {
    let (calls, due_calls) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for index in 0..count {
            let due = started + Duration::from_secs_f64(index as f64 / rate);
            let early = due.saturating_duration_since(Instant::now());
            if !early.is_zero() {
                std::thread::sleep(early.max(PACE));
            }
            if calls.send((index, due)).is_err() {
                return;
            }
        }
    });
    due_calls
}

/// Calls at a fixed rate, whether or not answers keep up.
pub async fn drive<F, Fut>(rate: f64, seconds: u64, call: F) -> anyhow::Result<Measured>
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = Result<(), tonic::Status>> + Send + 'static,
{
    drive_count(rate, (rate * seconds as f64) as usize, call).await
}

pub async fn drive_count<F, Fut>(rate: f64, count: usize, call: F) -> anyhow::Result<Measured>
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = Result<(), tonic::Status>> + Send + 'static,
{
    let mut latencies = histogram();
    let mut calls = tokio::task::JoinSet::new();
    let mut answered = 0;
    let mut note = |done: Result<Answer, tokio::task::JoinError>| match done? {
        (_, Err(status)) if status.code() == tonic::Code::ResourceExhausted => Ok(()),
        (due, answer) => {
            latencies.saturating_record((answer? - due).as_micros() as u64);
            answered += 1;
            Ok::<_, anyhow::Error>(())
        }
    };
    let started = Instant::now();
    let mut due_calls = pace(started, rate, count);
    while let Some((index, due)) = due_calls.recv().await {
        // One that is due while so many are on their way starts late, and its latency tells so.
        while calls.len() >= MAX_ON_THEIR_WAY
            && let Some(done) = calls.join_next().await
        {
            note(done)?;
        }
        // What is done does not wait in memory for the end.
        while let Some(done) = calls.try_join_next() {
            note(done)?;
        }
        let answer = call(index);
        calls.spawn(async move { (due, answer.await.map(|()| Instant::now())) });
    }
    while let Some(done) = calls.join_next().await {
        note(done)?;
    }
    let achieved = answered as f64 / started.elapsed().as_secs_f64();
    Ok((achieved, latencies, count as u64 - answered))
}

/// One call after the other, by one caller.
pub async fn call_in_turn<F, Fut>(seconds: u64, call: F) -> anyhow::Result<Measured>
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = Result<(), tonic::Status>>,
{
    let mut latencies = histogram();
    let started = Instant::now();
    let mut index = 0;
    while started.elapsed().as_secs() < seconds {
        let called = Instant::now();
        call(index).await?;
        latencies.saturating_record(called.elapsed().as_micros() as u64);
        index += 1;
    }
    Ok((index as f64 / started.elapsed().as_secs_f64(), latencies, 0))
}

/// Signals at a fixed rate over 8 streams; the latency is from the moment at which a signal was due to its ack.
pub async fn stream(
    clients: &[Client],
    rate: f64,
    signals: Vec<v1::Signal>,
) -> anyhow::Result<Measured> {
    let requests = signals.into_iter().map(|signal| {
        framed(&v1::SubmitSignalsRequest {
            signal: Some(signal),
        })
    });
    let requests = requests.collect::<Result<Arc<[_]>, _>>()?;
    let count = requests.len();
    let started = Instant::now() + Duration::from_millis(50);
    let due = move |index: usize| started + Duration::from_secs_f64(index as f64 / rate);
    let mut streams = tokio::task::JoinSet::new();
    for (stream, client) in clients.iter().enumerate() {
        let (requests, client, streams_in_all) = (requests.clone(), client.clone(), clients.len());
        streams.spawn(async move {
            let (mut questions, mut answers) = client.open("SubmitSignals").await?;
            let sending = tokio::spawn(async move {
                for index in (stream..count).step_by(streams_in_all) {
                    tokio::time::sleep_until(due(index).into()).await;
                    questions.send(requests[index].clone(), index + streams_in_all >= count)?;
                }
                Ok::<_, tonic::Status>(())
            });
            let mut latencies = histogram();
            let mut index = stream;
            while let Some(answer) = answers.next::<v1::SubmitSignalsResponse>().await? {
                let Some(v1::submit_signals_response::Outcome::Ack(_)) = answer.outcome else {
                    anyhow::bail!("a signal was refused")
                };
                latencies.saturating_record(due(index).elapsed().as_micros() as u64);
                index += streams_in_all;
            }
            sending.await??;
            Ok::<_, anyhow::Error>(latencies)
        });
    }
    let mut latencies = histogram();
    while let Some(result) = streams.join_next().await {
        latencies.add(result??)?;
    }
    Ok((count as f64 / started.elapsed().as_secs_f64(), latencies, 0))
}
