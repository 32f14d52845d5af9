//! Dashboards and alerts name only metrics that a running service shows.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Command;

use serde_json::Value;
use veridem::config::Config;
use veridem::publish::{SinkKind, SinkSettings};
use veridem::relay::Relay;

use crate::support::*;

const DASHBOARD: &str = include_str!("../../deploy/grafana/veridem.json");
const RULES: &str = include_str!("../../deploy/prometheus/veridem.rules.yaml");

/// Words that begin with "veridem_".
fn names_in(text: &str) -> BTreeSet<&str> {
    let words = text
        .split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_' || letter == ':'));
    words.filter(|word| word.starts_with("veridem_")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_that_is_named_is_shown() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut config = config(directory.path());
    let registry = "[[sources]]\nname = \"pos\"\nexpected_per_day = 10\nmax_silence = \"1h\"\n";
    config.sources = Config::from_toml(registry).expect("a registry").sources;
    let path = directory.path().join("feed.jsonl");
    config.sinks = vec![SinkSettings::new("cdp", SinkKind::File { path })];
    #[cfg(feature = "rabbitmq")]
    {
        let kind = veridem::intake::ConsumerKind::RabbitMq {
            url: "amqp://127.0.0.1:1".into(),
            queue: "nobody".into(),
        };
        config.consumers = vec![veridem::intake::ConsumerSettings {
            name: "stores".into(),
            owner: "store systems".into(),
            kind,
            tenant: veridem::store::Tenant::default_tenant(),
        }];
    }
    let text = format!(
        "[[drops]]\nname = \"nightly\"\nurl = \"file://{}\"\n",
        directory.path().join("drop").display()
    );
    config.drops = Config::from_toml(&text).expect("a drop").drops;
    let running = Running::start_with(config).await;
    submit(
        &running,
        update("s", "pos/1", vec![name("Ann", "Lee"), email("ann@lee.org")]),
    )
    .await
    .expect("accepted");
    // A relay shows its own; in one process all metrics are together.
    let upstream = running.service.grpc_address;
    let relay = Relay::start(crate::relay::settings(directory.path(), upstream)).await;
    let relay = relay.expect("starts");
    let mut text = String::new();
    for address in [running.service.http_address, relay.http_address] {
        let answer = reqwest::get(format!("http://{address}/metrics")).await;
        text += &answer.expect("an answer").text().await.expect("a text");
    }
    let shown = names_in(&text);
    let named: BTreeSet<&str> = names_in(DASHBOARD)
        .into_iter()
        .chain(names_in(RULES))
        .collect();
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        // Without the feature there is no consumer to show.
        if cfg!(not(feature = "rabbitmq")) && name.starts_with("veridem_consumer_") {
            continue;
        }
        assert!(shown.contains(name), "{name} is not among {shown:?}");
    }
    assert!(
        text.contains("veridem_identities{tenant=\"default\"} 1"),
        "{text}"
    );
    relay.stop().await;
    running.stop().await;
}

#[test]
fn rules_raise_what_they_should_and_nothing_else() {
    let tests = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/deploy/prometheus/veridem.rules.test.yaml"
    );
    let run = Command::new("promtool")
        .args(["test", "rules", tests])
        .output();
    match run {
        Ok(ended) => assert!(
            ended.status.success(),
            "{}",
            String::from_utf8_lossy(&ended.stderr)
        ),
        // Not through the test's own output, which is shown for failures only.
        Err(_) => drop(writeln!(
            std::io::stderr(),
            "NOT RUN: promtool is not installed (Debian package prometheus)"
        )),
    }
}

#[test]
fn a_dashboard_is_whole() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64()), "ids are unique: {panel}");
        let is_row = panel["type"] == "row";
        assert!(
            is_row
                || !panel["targets"][0]["expr"]
                    .as_str()
                    .unwrap_or_default()
                    .is_empty(),
            "{panel}"
        );
    }
}
