//! Object storage over the wire: what goes into a bucket, and what comes out of one.

use std::time::Duration;

use serde_json::Value;
use veridem::config::Config;
use veridem::files::Format;
use veridem::publish::{SinkKind, SinkSettings};
use veridem::store::Tenant;
use veridem_proto::v1;

use crate::consumer::*;
use crate::publishing::{churn, operations, settled, state, store_of};
use crate::s3_server::S3Server;
use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_gets_every_event_though_it_was_not_there_at_first() {
    let Some(mut server) = S3Server::reserve() else {
        return;
    };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut config = config(directory.path());
    let kind = SinkKind::Objects {
        place: server.place("events"),
        format: Format::Jsonl,
    };
    config.sinks = vec![SinkSettings {
        collect_for: Duration::from_millis(300),
        timeout: Duration::from_secs(1),
        ..SinkSettings::new("cdp", kind)
    }];
    let running = Running::start_with(config).await;
    churn(&running, 0..40).await;
    for _ in 0..300 {
        if state(&running).await.down {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let sink = state(&running).await;
    assert!(sink.down && sink.cursor == 0, "{sink:?}");
    server.start().await;
    churn(&running, 40..80).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let sink = settled(&running).await;
    assert_eq!(sink.dead_letters, 0, "{sink:?}");
    running.stop().await;

    let mut received: Vec<Value> = Vec::new();
    let names = server.list("events").await;
    assert!(names.len() > 1, "{names:?}");
    for name in names {
        let bytes = server.get(&name).await.expect("it is there");
        let text = String::from_utf8(bytes).expect("text");
        let events = (text.lines()).map(|line| serde_json::from_str(line).expect("JSON"));
        received.extend(events);
    }
    let store = store_of(directory.path());
    assert_in_order_per_identity(&received);
    assert_eq!(
        view_of(&received),
        view_of_store(&store, &Tenant::default_tenant())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_in_out_of_a_bucket_with_a_result_beside_each() {
    let Some(mut server) = S3Server::reserve() else {
        return;
    };
    server.start().await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut config = config(directory.path());
    let place = server.place("drop");
    let options = place.options.iter();
    let options: Vec<String> = options
        .map(|(name, value)| format!("{name} = {value:?}"))
        .collect();
    let text = format!(
        "[[drops]]\nname = \"nightly\"\nurl = {:?}\nsource = \"loyalty\"\ninterval = \"50ms\"\noptions = {{ {} }}\n",
        place.url,
        options.join(", ")
    );
    let read = Config::from_toml(&text).unwrap_or_else(|cause| panic!("{cause}"));
    config.drops = read.drops;
    let running = Running::start_with(config).await;
    let customers = "id,first_name,last_name,email\n1,Ann,Lee,ann@lee.org\n2,Bob,Roe,bob@roe.org\n";
    server.put("drop/monday.csv", customers).await;
    let result = result_of(&server, "monday.csv").await;
    assert_eq!(
        (&result["outcome"], &result["accepted"]),
        (&"loaded".into(), &2.into()),
        "{result}"
    );
    server.put("drop/again.csv", customers).await;
    let result = result_of(&server, "again.csv").await;
    assert_eq!(result["outcome"], "repeated", "{result}");
    let counted = operations(&running)
        .await
        .get_statistics(v1::GetStatisticsRequest {})
        .await;
    assert_eq!(counted.expect("counts").into_inner().source_records, 2);
    running.stop().await;
}

async fn result_of(server: &S3Server, name: &str) -> Value {
    for _ in 0..300 {
        if let Some(result) = server.get(&format!("drop/{name}.result.json")).await {
            return serde_json::from_slice(&result).expect("JSON");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{name} is not processed in 15 s");
}
