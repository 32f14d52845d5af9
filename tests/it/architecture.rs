//! The layout holds by test, not by good will: who may name what.

use std::path::{Path, PathBuf};

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a source directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Files below a directory, relative to the repository, whose code (without comments) holds one of the words.
fn files_with(directory: &str, words: &[&str]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    rust_files(&root.join(directory), &mut files);
    let names_it = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).expect("source text");
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        code.into_iter()
            .any(|line| words.iter().any(|word| line.contains(word)))
    };
    let mut names: Vec<String> = files
        .into_iter()
        .filter(names_it)
        .map(|path| {
            path.strip_prefix(root)
                .expect("below the root")
                .display()
                .to_string()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn only_the_rooms_that_may_name_a_thing_name_it() {
    assert_eq!(files_with("src", &["sled::"]), ["src/store/sled_store.rs"]);
    assert_eq!(
        files_with("src", &["fjall::"]),
        ["src/store/fjall_queue.rs", "src/store/fjall_store.rs"]
    );
    assert_eq!(
        files_with("src", &["tantivy::"]),
        ["src/index/tantivy_index.rs"]
    );
    assert_eq!(
        files_with("src", &["SystemTime::now", "Instant::now"]),
        ["src/clock.rs"]
    );
    assert_eq!(
        files_with("src", &["ThreadPoolBuilder"]),
        ["src/executor.rs"]
    );
    assert_eq!(
        files_with("src", &["async_nats::"]),
        ["src/intake/consumers/nats.rs", "src/publish/nats.rs"]
    );
    assert_eq!(
        files_with("src", &["rdkafka::"]),
        ["src/intake/consumers/kafka.rs", "src/publish/kafka.rs"]
    );
    assert_eq!(
        files_with("src", &["lapin::"]),
        [
            "src/intake/consumers/rabbitmq.rs",
            "src/publish/rabbitmq.rs"
        ]
    );
    assert_eq!(files_with("src", &["env::var"]), ["src/config/mod.rs"]);
}

#[test]
fn matchers_are_pure() {
    let worldly = [
        "std::fs",
        "std::net",
        "std::env",
        "std::time",
        "tokio",
        "tonic",
        "veridem_proto",
        "sled",
        "tantivy",
    ];
    assert_eq!(files_with("matchers/src", &worldly), Vec::<String>::new());
}

#[test]
fn dependencies_point_one_way() {
    for (room, may_not_name) in [
        (
            "src/resolver",
            &[
                "crate::api",
                "crate::cli",
                "crate::publish",
                "crate::lifecycle",
                "veridem_proto",
                "SledStore",
                "TantivyIndex",
            ][..],
        ),
        (
            "src/store",
            &[
                "crate::api",
                "crate::cli",
                "crate::publish",
                "crate::index",
                "crate::intake",
            ],
        ),
        (
            "src/intake",
            &[
                "crate::cli",
                "crate::publish",
                "crate::index",
                "veridem_proto",
            ],
        ),
        (
            "src/index",
            &[
                "crate::api",
                "crate::cli",
                "crate::publish",
                "crate::resolver",
            ],
        ),
        (
            "src/publish",
            &[
                "crate::api",
                "crate::cli",
                "crate::gateway",
                "crate::index",
                "veridem_proto",
            ],
        ),
    ] {
        assert_eq!(
            files_with(room, may_not_name),
            Vec::<String>::new(),
            "{room}"
        );
    }
    let meeting: Vec<String> = files_with("src", &["veridem_proto"])
        .into_iter()
        .filter(|name| {
            !files_with("src", &["veridem_matchers"]).contains(name) || name.starts_with("src/api")
        })
        .collect();
    // Commands are clients of the service, and so are the relay and the console; `schema` knows the contract as data.
    let may_meet = |name: &String| {
        let rooms = [
            "src/api",
            "src/cli",
            "src/console",
            "src/relay",
            "src/schema.rs",
        ];
        rooms.iter().any(|room| name.starts_with(room))
    };
    assert!(meeting.iter().all(may_meet), "{meeting:?}");
}
