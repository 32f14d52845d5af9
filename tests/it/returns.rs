//! Returns: a receipt in a shop finds who ordered online, and what was done last, and where, follows.

use serde_json::Value;
use veridem_proto::v1;
use veridem_proto::v1::ActivityKind;

use crate::support::*;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
const MONDAY: i64 = 1_790_000_000_000;

fn signal(
    id: &str,
    key: &str,
    day: i64,
    attributes: Vec<veridem_matchers::Attribute>,
    activity: Option<(ActivityKind, &str)>,
) -> v1::Signal {
    let mut signal = update(id, key, attributes);
    signal.event_time_ms = MONDAY + day * DAY_MS;
    let mut message = message(&signal);
    message.activity = activity.map(|(kind, channel)| v1::Activity {
        kind: kind.into(),
        channel: channel.into(),
    });
    message
}

async fn submit_message(running: &Running, signal: v1::Signal) -> String {
    let asked = v1::SubmitSignalRequest {
        signal: Some(signal),
    };
    let answer = running
        .resolution()
        .submit_signal(asked)
        .await
        .expect("accepted");
    answer.into_inner().ack.expect("an ack").identity_id
}

async fn activity(running: &Running, id: &str) -> Vec<(String, String)> {
    let asked = v1::GetIdentityRequest {
        identity_id: id.into(),
        as_of: None,
    };
    let identity = running
        .resolution()
        .get_identity(asked)
        .await
        .expect("known")
        .into_inner()
        .identities
        .remove(0);
    let customs =
        identity
            .golden_record
            .into_iter()
            .filter_map(|value| match value.attribute?.value? {
                v1::attribute::Value::Custom(custom) => {
                    Some((custom.name, custom.value[..10].to_owned()))
                }
                _ => None,
            });
    customs.collect()
}

fn named(values: &[(&str, &str)]) -> Vec<(String, String)> {
    values
        .iter()
        .map(|(name, value)| (format!("activity_{name}"), (*value).to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_in_a_shop_finds_who_ordered_online() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    let shop = vec![
        name("Ann", "Lee"),
        email("ann@lee.org"),
        identifier("order", "O-1001"),
        identifier("payment_token", "tok-77"),
    ];
    let ann = submit_message(
        &running,
        signal(
            "o1",
            "ecommerce/ann",
            0,
            shop,
            Some((ActivityKind::Purchase, "")),
        ),
    )
    .await;
    let other = vec![
        name("Bob", "Quist"),
        email("bob@quist.org"),
        identifier("order", "O-1002"),
    ];
    let bob = submit_message(
        &running,
        signal(
            "o2",
            "ecommerce/bob",
            0,
            other,
            Some((ActivityKind::Purchase, "")),
        ),
    )
    .await;
    assert_ne!(ann, bob);
    // The till knows the order's number, another till the card.
    let by_order = signal(
        "r1",
        "pos/return-1",
        3,
        vec![identifier("order", "O-1001")],
        Some((ActivityKind::Return, "store")),
    );
    assert_eq!(submit_message(&running, by_order).await, ann);
    let by_card = signal(
        "p1",
        "pos/receipt-9",
        5,
        vec![identifier("payment_token", "tok-77")],
        Some((ActivityKind::Purchase, "store")),
    );
    assert_eq!(submit_message(&running, by_card).await, ann);
    let wanted = named(&[
        ("last_purchase_ecommerce", "2026-09-21"),
        ("last_purchase_store", "2026-09-26"),
        ("last_return_store", "2026-09-24"),
    ]);
    assert_eq!(activity(&running, &ann).await, wanted);
    assert_eq!(
        activity(&running, &bob).await,
        named(&[("last_purchase_ecommerce", "2026-09-21")])
    );
    // Late does not overwrite newer; and what the shop states anew does not take back what was done.
    let late = signal(
        "p0",
        "pos/receipt-9",
        1,
        vec![],
        Some((ActivityKind::Purchase, "store")),
    );
    submit_message(&running, late).await;
    let mut anew = signal(
        "o3",
        "ecommerce/ann",
        6,
        vec![
            name("Ann", "Lee"),
            email("ann@lee.org"),
            identifier("order", "O-1001"),
            identifier("payment_token", "tok-77"),
        ],
        None,
    );
    anew.kind = v1::SignalKind::Snapshot.into();
    submit_message(&running, anew).await;
    assert_eq!(activity(&running, &ann).await, wanted);
    let refused = signal(
        "x",
        "pos/1",
        0,
        vec![],
        Some((ActivityKind::Purchase, "Über")),
    );
    let refused = running
        .resolution()
        .submit_signal(v1::SubmitSignalRequest {
            signal: Some(refused),
        })
        .await
        .expect_err("refused");
    assert!(
        refused.message().starts_with("signal.activity.channel"),
        "{refused:?}"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_with_nothing_but_a_receipt_finds_whoever_bought() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    let member = vec![
        name("Eva", "Ray"),
        email("eva@ray.org"),
        identifier("loyalty", "L-900177"),
    ];
    let eva = signal("m", "loyalty/eva", 0, member, None);
    let eva = submit_message(&running, eva).await;
    let sale = vec![
        identifier("loyalty", "L-900177"),
        identifier("receipt", "0012-000055"),
    ];
    let purchase = Some((ActivityKind::Purchase, "store"));
    let bought = signal("p", "pos/sale-55", 1, sale, purchase);
    assert_eq!(submit_message(&running, bought).await, eva);
    let receipt = |number: &str| vec![identifier("receipt", number)];
    let taken_back = Some((ActivityKind::Return, "store"));
    let back = signal("r", "pos/return-7", 4, receipt("0012-000055"), taken_back);
    assert_eq!(submit_message(&running, back).await, eva);
    let other = signal("x", "pos/return-8", 5, receipt("0012-000056"), taken_back);
    assert_ne!(submit_message(&running, other).await, eva);
    let wanted = named(&[
        ("last_purchase_store", "2026-09-22"),
        ("last_return_store", "2026-09-25"),
    ]);
    assert_eq!(activity(&running, &eva).await, wanted);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_did_at_one_moment_does_not_make_them_one() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(directory.path()).await;
    let people = [
        ("Ann", "Lee"),
        ("Bob", "Quist"),
        ("Eva", "Okafor"),
        ("Tim", "Nowak"),
    ];
    let mut ids = std::collections::BTreeSet::new();
    for (index, (given, family)) in people.into_iter().enumerate() {
        let attributes = vec![name(given, family)];
        let signal = signal(
            &format!("s{index}"),
            &format!("pos/{index}"),
            2,
            attributes,
            Some((ActivityKind::Purchase, "")),
        );
        ids.insert(submit_message(&running, signal).await);
    }
    assert_eq!(ids.len(), people.len());
    let url = format!(
        "http://{}/veridem.v1.StewardshipService/ListReviewTasks",
        running.service.http_address
    );
    let answer = reqwest::Client::new()
        .post(url)
        .header("content-type", "application/json")
        .body("{}")
        .send()
        .await;
    let tasks: Value =
        serde_json::from_str(&answer.expect("an answer").text().await.expect("a text"))
            .expect("JSON");
    assert_eq!(tasks["review_tasks"], serde_json::json!([]));
    running.stop().await;
}
