//! The sample that ships: the stream's partition is the bulk job's, in any order, from any number of senders; and a floor for the
//! quality of both.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tokio_stream::StreamExt;
use veridem::resolver::{Abandoned, BulkOptions, resolve_records};
use veridem_matchers::train::TrainingOptions;
use veridem_matchers::{RecordKey, evaluate};
use veridem_proto::v1;

use crate::support::*;

fn shuffled<T>(mut items: Vec<T>, seed: u64) -> Vec<T> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for last in (1..items.len()).rev() {
        items.swap(last, (random.next_u64() % (last as u64 + 1)) as usize);
    }
    items
}

fn bulk() -> Partition {
    let matcher = matcher();
    let path = sample_directory().join("signals.jsonl");
    let input = veridem::files::read_records(&[path], &Default::default(), &matcher.pack)
        .expect("the sample reads");
    assert!(input.rejects.is_empty());
    let options = matcher.bulk_options();
    let result = resolve_records(&input.records, options, &|_| {});
    result
        .clusters
        .iter()
        .map(|cluster| {
            cluster
                .iter()
                .map(|row| input.records.get(*row).key)
                .collect()
        })
        .collect()
}

#[test]
fn twenty_orders_give_the_partition_of_the_bulk_job() {
    let expected = bulk();
    let matcher = matcher();
    let signals = sample_signals();
    let mut first = None;
    for seed in 0..20 {
        let engine = memory_engine_with(matcher.clone());
        for signal in shuffled(signals.clone(), seed) {
            engine
                .submit(&tenant(), &signal, EVENT_TIME_MS + 200_000_000_000)
                .expect("the sample is valid");
        }
        assert!(
            partition_of(engine.store().as_ref()) == expected,
            "order {seed} gives another partition"
        );
        let rest = golden_and_tasks(engine.store().as_ref());
        assert!(
            first.get_or_insert_with(|| rest.clone()) == &rest,
            "order {seed} gives other golden values or tasks"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn four_parallel_senders_give_the_partition_of_the_bulk_job() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    let signals = Arc::new(shuffled(sample_signals(), 99));
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..4 {
        let mut client = running.resolution();
        // Every sender also repeats what its neighbour sends.
        let requests: Vec<_> = signals
            .iter()
            .enumerate()
            .filter(|(index, _)| index % 4 == sender || index % 16 == (sender + 1) % 4)
            .map(|(_, signal)| v1::SubmitSignalsRequest {
                signal: Some(message(signal)),
            })
            .collect();
        senders.spawn(async move {
            let count = requests.len();
            let answers = client.submit_signals(tokio_stream::iter(requests)).await.expect("the stream opens").into_inner();
            let acks = answers.filter(|answer| matches!(answer, Ok(answer) if matches!(answer.outcome, Some(v1::submit_signals_response::Outcome::Ack(_)))));
            assert_eq!(acks.fold(0, |count, _| count + 1).await, count, "every signal is acknowledged");
        });
    }
    senders.join_all().await;
    let mut client = running.resolution();
    let mut members: BTreeMap<String, std::collections::BTreeSet<RecordKey>> = BTreeMap::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListIdentityEventsRequest {
            from_sequence: 1,
            page_size: 1_000,
            page_token,
        };
        let page = client
            .list_identity_events(request)
            .await
            .expect("the feed reads")
            .into_inner();
        for event in page.events {
            let identity = event.identity.expect("an event has its identity");
            members.insert(
                identity.identity_id,
                identity
                    .members
                    .into_iter()
                    .map(|member| RecordKey::new(member.source, member.record_id))
                    .collect(),
            );
            for merged in event.merged_identity_ids {
                members.remove(&merged);
            }
        }
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    let partition: Partition = members
        .into_values()
        .filter(|members| !members.is_empty())
        .collect();
    assert!(
        partition == bulk(),
        "the feed tells the partition of the bulk job"
    );
    running.stop().await;
}

#[test]
fn the_sample_is_resolved_well_without_labels() {
    let pack = veridem_matchers::Pack::retail();
    let files: Vec<_> = ["cdp", "ecommerce", "loyalty", "pos"]
        .map(|source| sample_directory().join(format!("{source}.csv")))
        .into();
    let input =
        veridem::files::read_records(&files, &Default::default(), &pack).expect("the sample reads");
    let options = BulkOptions {
        pack,
        model: None,
        training: TrainingOptions::default(),
        labels: None,
        overrides: Vec::new(),
        marked_values: Vec::new(),
        link_only: false,
        abandoned: Abandoned::default(),
    };
    let result = resolve_records(&input.records, options, &|_| {});
    let mut truth = BTreeMap::new();
    for row in csv::Reader::from_path(sample_directory().join("truth.csv"))
        .expect("the truth is there")
        .records()
    {
        let row = row.expect("the truth reads");
        truth.insert(
            RecordKey::new(&row[0], &row[1]),
            row[2].parse::<u64>().expect("clusters are numbers"),
        );
    }
    let couples: Vec<(u64, u64)> = result
        .clusters
        .iter()
        .enumerate()
        .flat_map(|(index, cluster)| cluster.iter().map(move |row| (index as u64, *row)))
        .map(|(cluster, row)| (cluster, truth[&input.records.get(row).key]))
        .collect();
    let evaluation = evaluate(&couples);
    assert!(
        evaluation.pairwise.f1 >= 0.87,
        "cluster F1 {:.4} is below its floor",
        evaluation.pairwise.f1
    );
    assert!(
        evaluation.b_cubed.f1 >= 0.92,
        "B-cubed F1 {:.4} is below its floor",
        evaluation.b_cubed.f1
    );
}
