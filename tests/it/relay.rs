//! The relay: what it acknowledges reaches the service, whatever fails between, and the result is what it would have been.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio_stream::StreamExt;
use tonic::Code;
use tonic::transport::Channel;
use veridem::config::Config;
use veridem::generate::{GenerateOptions, generate};
use veridem::relay::{Relay, RelaySettings, WhenFull};
use veridem::resolver::Signal;
use veridem_proto::v1;
use veridem_proto::v1::resolution_service_client::ResolutionServiceClient;
use veridem_proto::v1::submit_signals_response::Outcome;

use crate::process::Process;
use crate::publishing::{operations, store_of};
use crate::support::*;

pub fn settings(directory: &Path, upstream: SocketAddr) -> RelaySettings {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    RelaySettings {
        upstream: format!("http://{upstream}"),
        token: None,
        tenant: "default".into(),
        data_directory: directory.join("relay"),
        grpc_address: any,
        http_address: any,
        max_bytes: 1 << 20,
        when_full: WhenFull::Refuse,
        principals: Vec::new(),
    }
}

async fn client(relay: &Relay) -> ResolutionServiceClient<Channel> {
    let address = format!("http://{}", relay.grpc_address);
    let channel = Channel::from_shared(address).expect("an address");
    ResolutionServiceClient::new(channel.connect().await.expect("it listens"))
}

fn service_at(directory: &Path, address: SocketAddr) -> Config {
    let mut config = config(directory);
    config.grpc_address = address;
    config
}

/// Sends signals over one stream; those that were acknowledged.
async fn send(mut client: ResolutionServiceClient<Channel>, signals: Vec<Signal>) -> Vec<String> {
    let requests: Vec<_> = signals
        .iter()
        .map(|signal| v1::SubmitSignalsRequest {
            signal: Some(message(signal)),
        })
        .collect();
    let mut acknowledged = Vec::new();
    let Ok(answers) = client.submit_signals(tokio_stream::iter(requests)).await else {
        return acknowledged;
    };
    let mut answers = answers.into_inner();
    while let Some(Ok(answer)) = answers.next().await {
        match answer.outcome {
            Some(Outcome::Ack(ack)) => {
                assert!(
                    ack.provisional && ack.identity_id.is_empty(),
                    "the service decides later"
                );
                acknowledged.push(ack.signal_id);
            }
            other => panic!("{other:?}"),
        }
    }
    acknowledged
}

/// Waits as long as signals go out.
async fn wait_until_empty(relay: &Relay) {
    let (mut before, mut idle) = (relay.waiting(), 0);
    while relay.waiting() > 0 {
        idle += 1;
        if relay.waiting() != before {
            (before, idle) = (relay.waiting(), 0);
        }
        assert!(idle < 1_500, "{before} wait, for 30 s already");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Signals of the sample, or as many generated ones as `VERIDEM_OFFLINE_SIGNALS` says.
fn signals_of_a_shop() -> Vec<Signal> {
    let Ok(count) = std::env::var("VERIDEM_OFFLINE_SIGNALS") else {
        return sample_signals().into_iter().take(1_200).collect();
    };
    let count: usize = count.parse().expect("a number");
    let options = GenerateOptions {
        persons: count / 2,
        seed: 1,
    };
    let signals: Vec<Signal> = generate(&options).signals;
    assert!(signals.len() >= count);
    signals.into_iter().take(count).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_that_was_offline_comes_to_the_same_result() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let upstream = free_address();
    let signals = signals_of_a_shop();
    let direct = memory_engine();
    for signal in &signals {
        direct
            .submit(&tenant(), signal, signal.event_time_ms + 1)
            .expect("accepted");
    }
    // The line is dead, and the relay is killed while tills send.
    let run = |directory: &Path| {
        let arguments = [
            "relay",
            "--upstream",
            &format!("http://{upstream}"),
            "--data",
            &directory.join("relay").display().to_string(),
            "--grpc-address",
            "127.0.0.1:0",
            "--http-address",
            "127.0.0.1:0",
            "--log-format",
            "json",
        ];
        arguments.map(std::ffi::OsString::from)
    };
    let process = Process::spawn(&run(directory.path())).await;
    let sending = send(
        ResolutionServiceClient::new(process.channel.clone()),
        signals[..signals.len() / 3 * 2].to_vec(),
    );
    let sending = tokio::spawn(sending);
    tokio::time::sleep(Duration::from_millis(400)).await;
    process.kill();
    let acknowledged = sending.await.expect("it ends");
    assert!(!acknowledged.is_empty(), "some were acknowledged before");
    // Started again it has what it acknowledged; tills send again what they got no answer to, and some that they did.
    let settings = RelaySettings {
        max_bytes: 1 << 30,
        ..settings(directory.path(), upstream)
    };
    let relay = Relay::start(settings).await.expect("it starts");
    assert!(relay.waiting() >= acknowledged.len() as u64);
    let again = signals
        .iter()
        .skip(acknowledged.len().saturating_sub(50))
        .cloned()
        .collect();
    send(client(&relay).await, again).await;
    // The line comes, breaks, and comes again.
    let service = Running::start_with(service_at(directory.path(), upstream)).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    service.stop().await;
    let service = Running::start_with(service_at(directory.path(), upstream)).await;
    wait_until_empty(&relay).await;
    let statistics = operations(&service)
        .await
        .get_statistics(v1::GetStatisticsRequest {})
        .await
        .expect("counts");
    assert_eq!(
        statistics.into_inner().signals,
        signals.len() as u64,
        "each once, none lost"
    );
    relay.stop().await;
    service.stop().await;
    let store = store_of(directory.path());
    assert_eq!(partition_of(&store), partition_of(direct.store().as_ref()));
    assert_eq!(
        golden_and_tasks(&store),
        golden_and_tasks(direct.store().as_ref())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_room_signals_are_refused_or_the_oldest_are_lost() {
    for when_full in [WhenFull::Refuse, WhenFull::DropOldest] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let upstream = free_address();
        let settings = RelaySettings {
            max_bytes: 2_000,
            when_full,
            ..settings(directory.path(), upstream)
        };
        let relay = Relay::start(settings).await.expect("it starts");
        let mut client = client(&relay).await;
        let mut refused = 0;
        for index in 0..60 {
            let signal = update(
                &format!("s{index}"),
                &format!("pos/{index}"),
                vec![name("Ann", "Lee")],
            );
            let asked = v1::SubmitSignalRequest {
                signal: Some(message(&signal)),
            };
            match client.submit_signal(asked).await {
                Ok(_) => {}
                Err(status) => {
                    assert_eq!(status.code(), Code::ResourceExhausted);
                    refused += 1;
                }
            }
        }
        let waiting = relay.waiting();
        assert!((10..60).contains(&waiting), "{waiting}");
        let service = Running::start_with(service_at(directory.path(), upstream)).await;
        wait_until_empty(&relay).await;
        let has = async |index: u64| {
            let record = Some(v1::RecordKey {
                source: "pos".into(),
                record_id: index.to_string(),
            });
            service
                .resolution()
                .lookup_identity(v1::LookupIdentityRequest { record })
                .await
                .is_ok()
        };
        match when_full {
            WhenFull::Refuse => assert!(refused == 60 - waiting && has(0).await && !has(59).await),
            WhenFull::DropOldest => assert!(refused == 0 && !has(0).await && has(59).await),
        }
        // There is room again.
        let signal = update("later", "pos/later", vec![name("Ann", "Lee")]);
        let asked = v1::SubmitSignalRequest {
            signal: Some(message(&signal)),
        };
        client.submit_signal(asked).await.expect("accepted");
        wait_until_empty(&relay).await;
        relay.stop().await;
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_refuses_for_good_is_kept_aside_and_holds_up_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let upstream = free_address();
    let service = Running::start_with(service_at(directory.path(), upstream)).await;
    submit(&service, update("s1", "pos/1", vec![name("Ann", "Lee")]))
        .await
        .expect("accepted");
    let relay = Relay::start(settings(directory.path(), upstream))
        .await
        .expect("it starts");
    let other_content = update("s1", "pos/1", vec![name("Bob", "Quist")]);
    let good = update("s2", "pos/2", vec![name("Bob", "Quist")]);
    assert_eq!(
        send(client(&relay).await, vec![other_content, good]).await,
        ["s1", "s2"]
    );
    wait_until_empty(&relay).await;
    let metrics = reqwest::get(format!("http://{}/metrics", relay.http_address))
        .await
        .expect("an answer");
    let metrics = metrics.text().await.expect("a text");
    assert!(
        metrics.contains("veridem_relay_refused_signals 1"),
        "{metrics}"
    );

    // What is no signal is refused at once, and what a relay cannot know is asked elsewhere.
    let mut client = client(&relay).await;
    let nameless = v1::SubmitSignalRequest {
        signal: Some(v1::Signal::default()),
    };
    assert_eq!(
        client
            .submit_signal(nameless)
            .await
            .expect_err("refused")
            .code(),
        Code::InvalidArgument
    );
    let asked = v1::LookupIdentityRequest {
        record: Some(v1::RecordKey {
            source: "pos".into(),
            record_id: "1".into(),
        }),
    };
    assert_eq!(
        client
            .lookup_identity(asked)
            .await
            .expect_err("elsewhere")
            .code(),
        Code::Unimplemented
    );
    // Over JSON as well.
    let signal = serde_json::json!({ "signal": { "signal_id": "s3", "source": "pos", "record_id": "3", "event_time_ms": 1,
        "attributes": [{ "email": "x@y.org" }] } });
    let url = format!(
        "http://{}/veridem.v1.ResolutionService/SubmitSignal",
        relay.http_address
    );
    let posted = reqwest::Client::new()
        .post(url)
        .header("content-type", "application/json")
        .body(signal.to_string());
    assert_eq!(
        posted.send().await.expect("an answer").status().as_u16(),
        200
    );
    wait_until_empty(&relay).await;
    relay.stop().await;
    service.stop().await;
    let listed = std::process::Command::new(env!("CARGO_BIN_EXE_veridem"))
        .arg("relay")
        .arg("--data")
        .arg(directory.path().join("relay"))
        .arg("--list-refused")
        .output()
        .expect("it runs");
    let line: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("a JSON line");
    assert_eq!(line["signal_id"], "s1");
}

#[tokio::test(flavor = "multi_thread")]
async fn others_than_this_machine_need_a_token() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let open = RelaySettings {
        grpc_address: SocketAddr::from(([0, 0, 0, 0], 0)),
        ..settings(directory.path(), free_address())
    };
    let refused = Relay::start(open).await.err().expect("refused").to_string();
    assert!(refused.contains("--client-token-file"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_small_signals_to_a_relay_is_held_back_and_not_cut_off() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let relay = Relay::start(settings(directory.path(), free_address()))
        .await
        .expect("it starts");
    assert_eq!(flood(client(&relay).await).await, [2_500; 4]);
    relay.stop().await;
}
