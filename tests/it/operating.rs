//! The commands with which somebody runs the flows: sinks, quarantine, sources, mappings, against a running service.

use std::path::Path;

use serde_json::Value;
use veridem::config::Config;
use veridem::publish::SinkSettings;

use crate::bulk::{bad, clusters, good};
use crate::consumer::*;
use crate::crosswalk::sink;
use crate::publishing::{settled, wait_for_dead_letters};
use crate::support::*;

/// Runs a command against a service.
pub fn told(running: &Running, arguments: &[&str], directory: &Path) -> String {
    let address = format!("http://{}", running.service.grpc_address);
    let arguments = [arguments, &["--address", &address]].concat();
    tokio::task::block_in_place(|| good(&arguments, directory))
}

/// The first words of lines.
fn first_words(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_and_sent_again_or_given_up_one_by_one() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let consumer = Consumer::start(|_| Answer::Status(422)).await;
    let mut config = config(path);
    config.sinks = vec![SinkSettings {
        max_attempts: 1,
        owner: "finance-it@example.com".into(),
        ..sink(&consumer)
    }];
    let running = Running::start_with(config).await;
    for family in ["Lee", "Quist", "Ray"] {
        let attributes = vec![name("Ann", family), email(&format!("ann@{family}.org"))];
        let signal = update(family, &format!("pos/{family}"), attributes);
        submit(&running, signal).await.expect("accepted");
    }
    wait_for_dead_letters(&running, 3).await;
    let listed = told(&running, &["sinks", "list"], path);
    assert!(
        listed.contains("erp") && listed.contains("finance-it@example.com"),
        "{listed}"
    );
    let letters = told(&running, &["sinks", "dead-letters", "erp"], path);
    assert_eq!(first_words(&letters), ["1", "2", "3"], "{letters}");
    assert!(letters.lines().all(|line| line.contains("422")));
    assert!(!letters.contains("Lee"), "no personal value: {letters}");

    // Two of three are sent again, the third is given up.
    consumer.now(|_| Answer::Ok);
    let redrive = ["sinks", "redrive", "erp", "--sequence", "1"];
    let redriven = told(
        &running,
        &[&redrive[..], &["--sequence", "3"]].concat(),
        path,
    );
    assert_eq!(redriven, "2 are sent again\n");
    wait_for_dead_letters(&running, 1).await;
    let letters = told(&running, &["sinks", "dead-letters", "erp"], path);
    assert_eq!(first_words(&letters), ["2"]);
    let discard = ["sinks", "discard", "erp", "--sequence", "2"];
    assert_eq!(told(&running, &discard, path), "1 are discarded\n");
    settled(&running).await;
    let received: Vec<u64> = consumer.received.lock().iter().map(sequence_of).collect();
    assert_eq!(received.len(), 2);
    assert!(received.contains(&1) && received.contains(&3));

    // What was given up is missing where it is asked for, and comes.
    let mut held = "identity_id,version\n".to_owned();
    for (id, identity) in view_of(&consumer.received.lock()) {
        held += &format!("{id},{}\n", identity["version"]);
    }
    std::fs::write(path.join("held.csv"), held).expect("written");
    let reconciled = told(
        &running,
        &["sinks", "reconcile", "erp", "held.csv", "--repair"],
        path,
    );
    assert!(
        reconciled.contains("missing\n") && reconciled.contains("1 are delivered once more"),
        "{reconciled}"
    );
    settled(&running).await;
    assert_eq!(view_of(&consumer.received.lock()).len(), 3);
    let replayed = told(&running, &["sinks", "replay", "erp", "--snapshot"], path);
    assert_eq!(replayed, "it is replayed from event 1\n");
    settled(&running).await;
    assert_eq!(consumer.received.lock().len(), 6);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_aside_is_listed_mended_and_submitted_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    std::fs::write(path.join("stores.txt"), "0001\n0002\n").expect("written");
    let registry = format!(
        r#"
[[sources]]
name = "pos"
owner = "stores-it@example.com"
max_silence = "2h"

[[sources.rules]]
attribute = "birth_date"
min = "1900-01-01"
max = "2020-12-31"

[[sources.rules]]
attribute = "identifier.store"
reference_file = "{}/stores.txt"
"#,
        path.display()
    );
    let mut config = config(path);
    config.sources = Config::from_toml(&registry).expect("a registry").sources;
    let running = Running::start_with(config).await;
    let ann = |id: &str, store: &str| {
        let attributes = vec![name("Ann", "Lee"), identifier("store", store)];
        update(id, &format!("pos/{id}"), attributes)
    };
    submit(&running, ann("good", "0002"))
        .await
        .expect("accepted");
    let refused = submit(&running, ann("store", "9999")).await;
    assert!(refused.is_err());
    let mut old = ann("old", "0001");
    let born = veridem_matchers::Attribute::BirthDate("1822-03-04".to_owned());
    old.attributes.push(born);
    assert!(submit(&running, old).await.is_err());

    let sources = told(&running, &["sources"], path);
    assert!(
        sources.contains("stores-it@example.com")
            && sources.contains("2h")
            && sources.contains("1h")
            && sources.contains("99%"),
        "{sources}"
    );
    let listed = told(&running, &["quarantine", "list"], path);
    let of = |reason: &str| {
        let line = listed.lines().find(|line| line.contains(reason));
        let line = line.unwrap_or_else(|| panic!("{reason}: {listed}"));
        first_words(line)[0].to_owned()
    };
    let store = of("identifier.store: is not in the reference list");
    let old = of("birth_date: lies outside its range");
    assert!(
        !listed.contains("9999") && !listed.contains("1822"),
        "{listed}"
    );
    let shown = told(&running, &["quarantine", "show", &store], path);
    std::fs::write(path.join("mended.json"), shown.replace("9999", "0001")).expect("written");
    let mended = ["quarantine", "resubmit", &store, "--mended", "mended.json"];
    assert_eq!(told(&running, &mended, path), "1 accepted\n");
    let discarded = told(&running, &["quarantine", "discard", &old], path);
    assert_eq!(discarded, "1 discarded\n");
    assert_eq!(
        told(&running, &["quarantine", "list"], path),
        "nothing is set aside\n"
    );
    running.stop().await;
}

#[test]
fn a_mapping_is_proposed_from_a_file_and_used_as_it_is() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let mut rows = "Kundennummer;Vorname;Nachname;E-Mail;Bemerkung\n".to_owned();
    let given = ["Änne", "Jörg", "Lena", "Uwe", "Kai"];
    let family = [
        "Groß", "Weiß", "Öztürk", "Huber", "Nowak", "Klein", "Wolf", "Lang",
    ];
    let mail = |number: usize| {
        let letter =
            |at: u32| char::from(b'a' + ((number + 1) * 123_457 / 26_usize.pow(at) % 26) as u8);
        let local: String = (0..5).map(letter).collect();
        format!("{local}@{}.example", ["web", "post", "mail"][number % 3])
    };
    for number in 0..40 {
        let (given, family) = (given[number % 5], family[number / 5]);
        let note = ["", "ruft an"][number % 2];
        rows += &format!("{number};{given};{family};{};{note}\n", mail(number));
    }
    rows += &format!("99;Jörg;Groß;{};\n", mail(1));
    std::fs::write(path.join("kunden.csv"), rows).expect("written");
    let shown = good(&["map", "kunden.csv", "--out", "kunden.toml"], path);
    assert!(
        shown.contains(&mail(0)) && shown.contains("kunden.toml is written"),
        "{shown}"
    );
    let file = std::fs::read_to_string(path.join("kunden.toml")).expect("written");
    assert!(
        file.contains("\"email\"") && file.contains("\"record_id\"") && !file.contains(&mail(0)),
        "no values of persons: {file}"
    );
    let again = bad(&["map", "kunden.csv", "--out", "kunden.toml"], path, 1);
    assert!(again.contains("kunden.toml"), "{again}");
    let json: Value =
        serde_json::from_str(&good(&["map", "kunden.csv", "--json"], path)).expect("JSON");
    assert_eq!(json["rows"], 41);
    assert_eq!(json["columns"][4]["filled"], 20);
    let dedupe = [
        "dedupe",
        "kunden.csv",
        "--mapping",
        "kunden.toml",
        "--out",
        "out",
    ];
    good(&dedupe, path);
    let twice = vec!["1".to_owned(), "99".to_owned()];
    let clusters = clusters(path, "out");
    assert!(
        clusters.contains(&twice) && clusters.len() == 40,
        "{clusters:?}"
    );
}

#[test]
fn mappings_and_schemas_are_shown_as_they_are_used() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let names = good(&["mapping", "list"], path);
    assert_eq!(names.lines().count(), 7, "{names}");
    for name in names.lines() {
        // A copy of one's own says the same.
        let text = good(&["mapping", "show", name], path);
        std::fs::write(path.join("mine.toml"), text).expect("written");
        let preview = |which: &str| good(&["mapping", "preview", which, "--json"], path);
        assert_eq!(preview(name), preview("mine.toml"));
    }
    let set = ["mapping", "preview", "sap_s4hana_business_partner", "--set"];
    let other = good(&[&set[..], &["source=cdp"]].concat(), path);
    assert!(
        other.contains("c-77") && !other.contains("1000123"),
        "{other}"
    );
    let wrong = bad(&[&set[..], &["sauce=cdp"]].concat(), path, 1);
    assert!(wrong.contains("settings.sauce"), "{wrong}");
    good(&["schemas", "--out", "schemas"], path);
    let written = std::fs::read_dir(path.join("schemas"))
        .expect("written")
        .count();
    assert_eq!(
        written,
        std::fs::read_dir("proto/schemas").expect("there").count()
    );
}
