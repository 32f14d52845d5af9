//! Killed processes: what was acknowledged is there, once.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio_stream::StreamExt;
use tonic::transport::Channel;
use veridem::resolver::Signal;
use veridem::store::{StoreEngine, open_store};
use veridem_proto::v1;
use veridem_proto::v1::operations_service_client::OperationsServiceClient;
use veridem_proto::v1::resolution_service_client::ResolutionServiceClient;
use veridem_proto::v1::submit_signals_response::Outcome;

use crate::process::Process;
use crate::support::*;

async fn last_sequence(process: &Process) -> u64 {
    OperationsServiceClient::new(process.channel.clone())
        .get_statistics(v1::GetStatisticsRequest {})
        .await
        .expect("counts")
        .into_inner()
        .last_sequence
}

/// Sends signals until all are acknowledged or the process is gone; returns the acknowledged ids.
pub async fn send(channel: Channel, signals: &[Signal]) -> BTreeSet<String> {
    let acks = acks(channel, signals).await;
    acks.into_iter().map(|ack| ack.signal_id).collect()
}

/// Sends signals again; returns how many were known.
pub async fn repeated(channel: Channel, signals: &[Signal]) -> usize {
    let acks = acks(channel, signals).await;
    acks.iter().filter(|ack| ack.repeated).count()
}

/// Sends signals of which some may be refused; returns the acknowledged ids.
pub async fn acknowledged_of(channel: Channel, signals: &[Signal]) -> BTreeSet<String> {
    let mut acknowledged = BTreeSet::new();
    for signals in signals.chunks(100) {
        let requests: Vec<_> = signals.iter().map(request_of).collect();
        let mut client = ResolutionServiceClient::new(channel.clone());
        let Ok(answers) = client.submit_signals(tokio_stream::iter(requests)).await else {
            continue;
        };
        let mut answers = answers.into_inner();
        while let Some(Ok(answer)) = answers.next().await {
            if let Some(Outcome::Ack(ack)) = answer.outcome {
                acknowledged.insert(ack.signal_id);
            }
        }
    }
    acknowledged
}

fn request_of(signal: &Signal) -> v1::SubmitSignalsRequest {
    v1::SubmitSignalsRequest {
        signal: Some(message(signal)),
    }
}

async fn acks(channel: Channel, signals: &[Signal]) -> Vec<v1::SignalAck> {
    let requests: Vec<_> = signals.iter().map(request_of).collect();
    let mut acknowledged = Vec::new();
    let Ok(answers) = ResolutionServiceClient::new(channel)
        .submit_signals(tokio_stream::iter(requests))
        .await
    else {
        return acknowledged;
    };
    let mut answers = answers.into_inner();
    while let Some(Ok(answer)) = answers.next().await {
        match answer.outcome {
            Some(Outcome::Ack(ack)) => acknowledged.push(ack),
            other => panic!("refused: {other:?}"),
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_nothing_and_repeats_nothing_on_fjall() {
    kill_9_loses_nothing_and_repeats_nothing("fjall", 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_nothing_and_repeats_nothing_on_sled() {
    kill_9_loses_nothing_and_repeats_nothing("sled", 4).await;
}

async fn kill_9_loses_nothing_and_repeats_nothing(engine: &str, rounds: u64) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let signals: Vec<Signal> = sample_signals().into_iter().take(1_500).collect();
    let mut acknowledged: BTreeSet<String> = BTreeSet::new();
    for round in 0..rounds {
        let process = Process::start(directory.path(), engine).await;
        // Everything acknowledged before the last kill is still answered as a repetition.
        let known: Vec<Signal> = signals
            .iter()
            .filter(|signal| acknowledged.contains(&signal.signal_id))
            .cloned()
            .collect();
        let before = last_sequence(&process).await;
        assert_eq!(
            send(process.channel.clone(), &known).await.len(),
            known.len()
        );
        assert_eq!(
            last_sequence(&process).await,
            before,
            "a repetition changes nothing"
        );
        let sender = tokio::spawn({
            let (channel, signals) = (process.channel.clone(), signals.clone());
            async move { send(channel, &signals).await }
        });
        tokio::time::sleep(Duration::from_millis(120 + round * 740 / rounds)).await;
        process.kill();
        acknowledged.extend(sender.await.expect("the sender ends"));
    }
    let process = Process::start(directory.path(), engine).await;
    assert_eq!(
        send(process.channel.clone(), &signals).await.len(),
        signals.len()
    );
    let statistics = OperationsServiceClient::new(process.channel.clone())
        .get_statistics(v1::GetStatisticsRequest {})
        .await
        .expect("counts")
        .into_inner();
    assert_eq!(
        statistics.signals,
        signals.len() as u64,
        "each signal is counted once"
    );
    process.kill();
    // The store behind it: the partition of an engine that saw each signal once.
    let expected = memory_engine();
    for signal in &signals {
        expected
            .submit(&tenant(), signal, EVENT_TIME_MS + 200_000_000_000)
            .expect("accepted");
    }
    let data = directory.path().join("data/store");
    let store = open_store(&data, StoreEngine::default(), 16 << 20).expect("it opens after a kill");
    assert!(partition_of(store.as_ref()) == partition_of(expected.store().as_ref()));
}
