//! The bulk commands as a data engineer runs them.

use std::path::Path;
use std::process::{Command, Output};

fn veridem(arguments: &[&str], directory: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_veridem"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn good(arguments: &[&str], directory: &Path) -> String {
    let output = veridem(arguments, directory);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

pub fn bad(arguments: &[&str], directory: &Path, exit: i32) -> String {
    let output = veridem(arguments, directory);
    assert_eq!(
        output.status.code(),
        Some(exit),
        "{arguments:?}: {}",
        text(&output.stdout)
    );
    let message = text(&output.stderr);
    assert!(!message.contains("panicked"), "{message}");
    message
}

const RECORDS: &str = "record_id,first_name,last_name,email,phone\n\
    1,Ann,Lee,ann@lee.org,212 736 5001\n\
    2,Anne,Lee,ann@lee.org,\n\
    3,Bob,Ray,bob@ray.org,646 736 9911\n\
    4,Cleo,Fox,cleo@fox.org,\n\
    5,Bob,Ray,bob@ray.org,646 736 9911\n";

fn write(directory: &Path, name: &str, content: impl AsRef<[u8]>) {
    std::fs::write(directory.join(name), content).expect("written");
}

fn read(directory: &Path, name: &str) -> String {
    std::fs::read_to_string(directory.join(name)).unwrap_or_else(|cause| panic!("{name}: {cause}"))
}

/// Sets of record ids by identity.
pub fn clusters(directory: &Path, out: &str) -> std::collections::BTreeSet<Vec<String>> {
    let mut members: std::collections::BTreeMap<String, Vec<String>> = Default::default();
    for row in csv::Reader::from_path(directory.join(out).join("clusters.csv"))
        .expect("clusters.csv")
        .records()
    {
        let row = row.expect("a row");
        members
            .entry(row[2].to_owned())
            .or_default()
            .push(row[1].to_owned());
    }
    members.into_values().collect()
}

#[test]
fn records_that_are_all_one_person_are_one_identity() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let rows = (1..=40).map(|id| format!("{id},Ann,Lee,ann.lee@xy.org,1978-03-24\n"));
    let text: String = std::iter::once("id,first_name,last_name,email,dob\n".to_owned())
        .chain(rows)
        .collect();
    write(path, "people.csv", text);
    good(&["dedupe", "people.csv", "--out", "out"], path);
    assert_eq!(clusters(path, "out").len(), 1);
}

#[test]
fn labels_train_and_judge() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    write(path, "people.csv", RECORDS);
    write(path, "other.csv", "record_id,first_name\n1,Ann\n");
    write(
        path,
        "labels.csv",
        "record_id,cluster\n1,a\n2,a\n3,b\n5,b\n77,c\n",
    );
    let output = veridem(
        &[
            "dedupe",
            "people.csv",
            "--labels",
            "labels.csv",
            "--out",
            "out",
        ],
        path,
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let note = text(&output.stderr);
    assert!(note.contains("1 lines of the labels"), "{note}");
    let summary: serde_json::Value =
        serde_json::from_str(&read(path, "out/summary.json")).expect("JSON");
    assert_eq!(summary["labelled_pairs"], 2, "{summary}");
    assert!(summary["blocking_recall"]["recall"].as_f64().is_some());
    assert!(read(path, "out/report.html").contains("Share of matches by match probability"));

    good(
        &[
            "train",
            "people.csv",
            "--labels",
            "labels.csv",
            "--out",
            "with.json",
        ],
        path,
    );
    good(&["train", "people.csv", "--out", "without.json"], path);
    assert_ne!(read(path, "with.json"), read(path, "without.json"));

    write(
        path,
        "pairs.csv",
        "left_source,left_record_id,right_source,right_record_id,match\npeople,2,people,1,true\npeople,5,people,3,true\n",
    );
    good(
        &[
            "dedupe",
            "people.csv",
            "--labels",
            "pairs.csv",
            "--out",
            "pairs",
        ],
        path,
    );
    let summary: serde_json::Value =
        serde_json::from_str(&read(path, "pairs/summary.json")).expect("JSON");
    assert_eq!(summary["labelled_pairs"], 2, "{summary}");

    for (labels, problem) in [
        ("record_id,person\n1,a\n", "needs the columns"),
        ("record_id,cluster\n1,a\n", "several sources"),
        (
            "source,record_id,cluster\nshop,1,a\n",
            "no line names records",
        ),
        (
            "left_record_id,right_record_id,match\n2,3,perhaps\n",
            "line 2",
        ),
    ] {
        write(path, "bad.csv", labels);
        let message = bad(
            &[
                "dedupe",
                "people.csv",
                "other.csv",
                "--labels",
                "bad.csv",
                "--out",
                "bad",
            ],
            path,
            1,
        );
        assert!(
            message.contains(problem) && message.contains("bad.csv"),
            "{message}"
        );
    }
}

#[test]
fn the_same_records_in_three_formats_give_the_same_result() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    write(path, "people.csv", RECORDS);
    good(
        &[
            "dedupe",
            "people.csv",
            "--out",
            "csv",
            "--format",
            "parquet",
        ],
        path,
    );
    good(
        &[
            "dedupe",
            "people.csv",
            "--out",
            "again",
            "--format",
            "jsonl",
        ],
        path,
    );
    let lines: Vec<String> = csv::Reader::from_reader(RECORDS.as_bytes())
        .records()
        .map(|row| row.expect("a row"))
        .map(|row| serde_json::json!({ "record_id": row[0], "first_name": row[1], "last_name": row[2], "email": row[3], "phone": row[4] }).to_string())
        .collect();
    std::fs::create_dir(path.join("jsonl")).expect("made");
    write(path, "jsonl/people.jsonl", lines.join("\n"));
    good(&["dedupe", "people.csv", "--out", "one"], path);
    good(&["dedupe", "jsonl/people.jsonl", "--out", "two"], path);
    assert_eq!(
        read(path, "one/clusters.csv"),
        read(path, "two/clusters.csv")
    );
    // Parquet out, Parquet in: the clusters table has a record_id column and is a table like any other.
    good(
        &[
            "evaluate",
            "--clusters",
            "csv/clusters.parquet",
            "--truth",
            "truth.csv",
        ]
        .map(|argument| {
            if argument == "truth.csv" {
                "one/truth.csv"
            } else {
                argument
            }
        }),
        {
            write(
                path,
                "one/truth.csv",
                "record_id,cluster\n1,a\n2,a\n3,b\n4,c\n5,b\n",
            );
            path
        },
    );
    for name in ["clusters", "golden", "pairs"] {
        assert!(
            path.join(format!("csv/{name}.parquet")).exists()
                && path.join(format!("again/{name}.jsonl")).exists()
        );
    }
    for name in ["model.json", "summary.json", "report.html"] {
        assert!(path.join("one").join(name).exists(), "{name}");
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_with_any_number_of_threads() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    good(
        &[
            "generate",
            "--persons",
            "600",
            "--seed",
            "7",
            "--out",
            "data",
        ],
        path,
    );
    for threads in ["1", "2", "7"] {
        good(
            &[
                "dedupe",
                "data/pos.csv",
                "data/ecommerce.csv",
                "data/loyalty.csv",
                "data/cdp.csv",
                "--out",
                threads,
                "--threads",
                threads,
            ],
            path,
        );
    }
    for name in ["clusters.csv", "golden.csv", "pairs.csv", "model.json"] {
        assert!(
            read(path, &format!("1/{name}")) == read(path, &format!("2/{name}")),
            "{name} with 2 threads"
        );
        assert!(
            read(path, &format!("1/{name}")) == read(path, &format!("7/{name}")),
            "{name} with 7 threads"
        );
    }
    let evaluation: serde_json::Value = serde_json::from_str(&good(
        &[
            "evaluate",
            "--clusters",
            "1/clusters.csv",
            "--truth",
            "data/truth.csv",
            "--json",
        ],
        path,
    ))
    .expect("JSON");
    assert!(
        evaluation["pairwise"]["f1"].as_f64() > Some(0.8),
        "{evaluation}"
    );
}

#[test]
fn bad_lines_are_set_aside_with_their_reasons() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let mut content = RECORDS.as_bytes().to_vec();
    content.extend(b"6,too,few\n7,Inv\xffalid,Lee,x@y.org,\n");
    content.extend(format!("8,{},Lee,,\n", "a".repeat(10 << 20)).into_bytes());
    content.extend(b",No,Id,,\n3,Bob,Again,bob@ray.org,\n9,Dora,Ellis,dora@ellis.org,\n");
    write(path, "people.csv", content);
    good(&["dedupe", "people.csv", "--out", "out"], path);
    let rejects: Vec<(String, String)> = csv::Reader::from_path(path.join("out/rejects.csv"))
        .expect("rejects.csv")
        .records()
        .map(|row| row.expect("a row"))
        .map(|row| (row[1].to_owned(), row[2].to_owned()))
        .collect();
    let expected = [
        ("7", "has 3 fields, the header has 5"),
        ("8", "first_name is not valid UTF-8"),
        ("9", "first_name has 10485760 bytes"),
        ("10", "has no record id"),
        ("11", "repeats the record id of line 4"),
    ];
    assert_eq!(rejects.len(), expected.len(), "{rejects:?}");
    for ((line, reason), (expected_line, expected_reason)) in rejects.iter().zip(expected) {
        assert!(
            line == expected_line && reason.contains(expected_reason),
            "line {line}: {reason}"
        );
    }
    let summary: serde_json::Value =
        serde_json::from_str(&read(path, "out/summary.json")).expect("JSON");
    assert_eq!(
        (summary["records"].as_u64(), summary["rejects"].as_u64()),
        (Some(6), Some(5))
    );
    // A clean run takes the old rejects away.
    write(path, "people.csv", RECORDS);
    good(&["dedupe", "people.csv", "--out", "out"], path);
    assert!(!path.join("out/rejects.csv").exists());
}

#[test]
fn strange_files_give_a_result_or_a_clear_error() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let header = "record_id,first_name,last_name,email,phone\n";
    let wide: String = (0..200).map(|index| format!(",extra_{index}")).collect();
    let wide_row = |id: usize| {
        format!(
            "{id}{}\n",
            (0..200)
                .map(|index| format!(",v{}", (id * index) % 7))
                .collect::<String>()
        )
    };
    let results = [
        ("none.csv", header.to_owned()),
        ("one.csv", format!("{header}1,Ann,Lee,,\n")),
        ("nulls.csv", format!("{header}1,,,,\n2,,,,\n3,,,,\n")),
        (
            "same.csv",
            format!(
                "{header}{}",
                (0..300)
                    .map(|id| format!("{id},Ann,Lee,ann@lee.org,212 736 5001\n"))
                    .collect::<String>()
            ),
        ),
        (
            "column.csv",
            "email\na.one@web.org\na.one@web.org\nb.two@web.org\n".to_owned(),
        ),
        (
            "wide.csv",
            format!(
                "record_id{wide}\n{}",
                (0..50).map(wide_row).collect::<String>()
            ),
        ),
        (
            "semicolons.csv",
            "id;Vorname;Nachname;PLZ\n1;Jürgen;Groß;10115\n2;Juergen;Gross;10115\n".to_owned(),
        ),
    ];
    for (name, content) in results {
        write(path, name, content);
        good(&["dedupe", name, "--out", "out"], path);
    }
    assert_eq!(
        clusters(path, "out").len(),
        2,
        "two Germans until there is more to tell"
    );
    write(path, "utf16.csv", [0xff_u8, 0xfe, b'a', 0, b',', 0]);
    assert!(bad(&["dedupe", "utf16.csv", "--out", "out"], path, 1).contains("UTF-8"));
    write(path, "empty.csv", "");
    assert!(bad(&["dedupe", "empty.csv", "--out", "out"], path, 1).contains("header"));
    write(path, "lies.parquet", "not parquet");
    assert!(
        bad(&["dedupe", "lies.parquet", "--out", "out"], path, 1).contains("not a Parquet file")
    );
    assert!(bad(&["dedupe", "missing.csv", "--out", "out"], path, 1).contains("missing.csv"));
    write(
        path,
        "lines.jsonl",
        "{\"record_id\":\"1\",\"email\":\"ann@lee.org\"}\n{\"record_id\":\n[1,2]\n{\"record_id\":\"2\",\"email\":[\"x\"]}\n",
    );
    good(&["dedupe", "lines.jsonl", "--out", "out"], path);
    assert_eq!(read(path, "out/rejects.csv").lines().count(), 4);
}

#[test]
fn mistakes_in_settings_are_named() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    write(path, "people.csv", RECORDS);
    write(path, "mapping.toml", "[columns]\nmobil = \"phone\"\n");
    let message = bad(
        &[
            "dedupe",
            "people.csv",
            "--out",
            "out",
            "--mapping",
            "mapping.toml",
        ],
        path,
        1,
    );
    assert!(
        message.contains("mobil") && message.contains("first_name"),
        "{message}"
    );
    let rules = include_str!("../../matchers/packs/retail.toml");
    write(
        path,
        "rules.toml",
        rules.replace("default_region", "default_regoin"),
    );
    let message = bad(
        &[
            "dedupe",
            "people.csv",
            "--out",
            "out",
            "--rules",
            "rules.toml",
        ],
        path,
        1,
    );
    assert!(
        message.contains("default_regoin") && message.contains("rules.toml"),
        "{message}"
    );
    write(
        path,
        "rules.toml",
        format!(
            "{rules}\n[[rules]]\nname = \"namesakes\"\neffect = \"cap_at_review\"\nwhen = {{ family_nam = [\"exact\"] }}\n"
        ),
    );
    let message = bad(&["check", "--rules", "rules.toml"], path, 1);
    assert!(message.contains("family_nam"), "{message}");
    write(path, "model.json", "{\"format_version\": 9}");
    assert!(bad(&["check", "--model", "model.json"], path, 1).contains("model.json"));
    write(path, "veridem.toml", "grpc_adress = \"127.0.0.1:1\"\n");
    assert!(bad(&["check", "--config", "veridem.toml"], path, 1).contains("grpc_adress"));
    assert!(
        bad(
            &["dedupe", "people.csv", "--out", "out", "--threshold", "1.5"],
            path,
            1
        )
        .contains("threshold")
    );
    bad(&["dedupe", "people.csv"], path, 2);
    bad(&["nonsense"], path, 2);
    assert!(
        bad(
            &[
                "explain",
                "people.csv",
                "--left",
                "people/1",
                "--right",
                "people/99"
            ],
            path,
            1
        )
        .contains("people/99")
    );
}

#[test]
fn train_then_dedupe_with_the_model_and_explain() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    write(path, "people.csv", RECORDS);
    good(&["train", "people.csv", "--out", "model.json"], path);
    good(&["dedupe", "people.csv", "--out", "own"], path);
    good(
        &[
            "dedupe",
            "people.csv",
            "--out",
            "given",
            "--model",
            "model.json",
        ],
        path,
    );
    assert_eq!(
        read(path, "own/clusters.csv"),
        read(path, "given/clusters.csv")
    );
    assert_eq!(read(path, "own/model.json"), read(path, "model.json"));
    let explained: serde_json::Value = serde_json::from_str(&good(
        &[
            "explain",
            "people.csv",
            "--left",
            "people/3",
            "--right",
            "people/5",
            "--model",
            "model.json",
            "--json",
        ],
        path,
    ))
    .expect("JSON");
    assert_eq!(explained["shared_blocking_rules"][0], "email");
    // Linking only: records of one source never join.
    write(
        path,
        "shop.csv",
        "record_id,first_name,last_name,email,phone\n77,Bob,Ray,bob@ray.org,646 736 9911\n",
    );
    good(
        &[
            "dedupe",
            "people.csv",
            "shop.csv",
            "--out",
            "linked",
            "--link-only",
            "--model",
            "model.json",
        ],
        path,
    );
    assert!(
        clusters(path, "linked").iter().all(
            |members| !(members.contains(&"3".to_owned()) && members.contains(&"5".to_owned()))
        )
    );
}

#[test]
fn a_model_of_splink_is_taken_over_and_resolves_the_sample() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let settings = include_str!("../../matchers/tests/fixtures/splink-5-model.json");
    write(path, "settings.json", settings);
    let sample = ["pos", "loyalty", "ecommerce", "cdp"].map(|source| {
        format!(
            "{}/datasets/retail_sample/{source}.csv",
            env!("CARGO_MANIFEST_DIR")
        )
    });
    let sample: Vec<&str> = sample.iter().map(String::as_str).collect();
    let import = ["train", "--import-splink", "settings.json", "--out"];
    let printed = good(&[&import[..], &["model.json"]].concat(), path);
    for line in [
        "first_name: given_name",
        "loyalty_id: identifier.loyalty",
        "zip: Veridem compares address once, and address tells it",
        "term frequencies of given_name, family_name, email: Splink does not save them",
    ] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
    let printed = good(
        &[&import[..], &["counted.json"], &sample[..]].concat(),
        path,
    );
    assert!(
        printed.contains("term frequencies: counted on")
            && printed.contains("term frequencies of email: Veridem does not use them there"),
        "{printed}"
    );
    assert!(read(path, "counted.json").contains("\"listed\""));
    for model in ["model.json", "counted.json"] {
        let dedupe = ["dedupe", "--out", "out", "--model", model];
        good(&[&dedupe[..], &sample[..]].concat(), path);
        let truth = format!(
            "{}/datasets/retail_sample/truth.csv",
            env!("CARGO_MANIFEST_DIR")
        );
        let evaluate = ["evaluate", "--clusters", "out/clusters.csv", "--truth"];
        let printed = good(&[&evaluate[..], &[&truth, "--json"]].concat(), path);
        let evaluation: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
        assert!(
            evaluation["pairwise"]["f1"].as_f64() > Some(0.75),
            "{model}: {evaluation}"
        );
    }
    write(
        path,
        "untrained.json",
        settings.replace("m_probability", "not_m_probability"),
    );
    let message = bad(
        &[
            "train",
            "--import-splink",
            "untrained.json",
            "--out",
            "no.json",
        ],
        path,
        1,
    );
    assert!(
        message.contains("untrained.json")
            && message.contains("comparison first_name, level \"Exact match on first_name\""),
        "{message}"
    );
    assert!(!path.join("no.json").exists());
    bad(&["train", "--out", "model.json"], path, 2);
}

#[test]
fn the_demo_does_the_main_job() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let summary: serde_json::Value =
        serde_json::from_str(&good(&["demo", "--exit", "--json"], directory.path())).expect("JSON");
    assert_eq!(
        summary["signals_accepted"],
        crate::support::sample_signals().len()
    );
    assert_eq!(summary["delivered_to_erp"], summary["events"]);
    assert_eq!(summary["delivered_to_cdp"], summary["events"]);
    assert!(
        summary["evaluation"]["pairwise"]["f1"].as_f64() > Some(0.85),
        "{summary}"
    );
}
