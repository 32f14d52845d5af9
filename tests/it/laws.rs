//! The laws of the design, each over the engine and a plain model that recomputes everything with the bulk code.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use veridem::resolver::{
    Engine, EngineError, Fold, Moment, Records, Signal, SignalKind, resolve_records,
};
use veridem::store::{Ended, EventKind, IdentityId, Store, StoredEvent, check_tenant};
use veridem_matchers::{Attribute, CustomAttribute, Record, RecordKey};

use crate::support::*;

/// The plain model: fold all signals, resolve all records at once.
pub fn bulk_partition(signals: &[Signal]) -> Partition {
    let matcher = matcher();
    let mut folds: BTreeMap<RecordKey, Fold> = BTreeMap::new();
    for signal in signals {
        folds
            .entry(signal.record_key())
            .or_default()
            .apply(signal, &matcher.pack);
    }
    let living = folds.into_iter().filter(|(_, fold)| fold.is_alive());
    let records: Records = living
        .map(|(key, fold)| Record {
            key,
            attributes: fold.attributes(),
        })
        .collect();
    let options = matcher.bulk_options();
    let result = resolve_records(&records, options, &|_| {});
    result
        .clusters
        .iter()
        .map(|cluster| cluster.iter().map(|row| records.get(*row).key).collect())
        .collect()
}

pub fn submit_all(engine: &Engine, signals: &[Signal]) {
    for signal in signals {
        engine
            .submit(&tenant(), signal, EVENT_TIME_MS)
            .expect("a valid signal is accepted");
    }
}

/// A small world in which records resemble each other: few values for each attribute.
pub fn attribute() -> impl Strategy<Value = Attribute> {
    prop_oneof![
        (0..4_usize, 0..3_usize).prop_map(|(given, family)| name(
            ["Anna", "Ann", "Robert", "Bob"][given],
            ["Miller", "Muller", "Okafor"][family]
        )),
        (0..4_usize).prop_map(|index| email(
            [
                "anna.miller@web.org",
                "bob@web.org",
                "family@web.org",
                "none@none.com"
            ][index]
        )),
        (0..3_usize)
            .prop_map(|index| phone(["(212) 736-5001", "212-736-5002", "5555555555"][index])),
        (0..2_usize).prop_map(|index| address(
            ["12 High Street", "77 Lake Avenue Apt 4"][index],
            "Springfield",
            ["62704", "62711"][index]
        )),
        (0..3_usize).prop_map(|index| Attribute::BirthDate(
            ["1980-05-17", "1980-07-05", "2011-11-30"][index].into()
        )),
        (0..3_usize)
            .prop_map(|index| identifier("loyalty", ["L100200", "L100201", "L777000"][index])),
        (0..2_usize).prop_map(|index| identifier("order", ["W55501", "W55502"][index])),
        // What people did: no evidence, the latest stays, and a snapshot does not take it back.
        (0..2_usize, 0..2_usize).prop_map(|(channel, day)| Attribute::Custom(CustomAttribute {
            name: ["activity_last_purchase_pos", "activity_last_return_pos"][channel].to_owned(),
            value: ["2026-05-01T09:00:00.000Z", "2026-06-01T09:00:00.000Z"][day].to_owned(),
        })),
    ]
}

pub fn signals(count: usize) -> impl Strategy<Value = Vec<Signal>> {
    let one = (
        0..3_usize,
        0..4_usize,
        0..6_i64,
        0..10_u8,
        prop::collection::vec(attribute(), 1..4),
    );
    prop::collection::vec(one, 1..count).prop_map(|drawn| {
        let signal = |(index, (source, record, time, kind, attributes)): (
            usize,
            (usize, usize, i64, u8, Vec<Attribute>),
        )| {
            let key = format!("{}/{record}", ["pos", "loyalty", "ecommerce"][source]);
            let kind = match kind {
                0 => SignalKind::Delete,
                1 => SignalKind::Snapshot,
                _ => SignalKind::Update,
            };
            let attributes = if kind == SignalKind::Delete {
                Vec::new()
            } else {
                attributes
            };
            Signal {
                kind,
                event_time_ms: EVENT_TIME_MS + time,
                ..update(&format!("s{index}"), &key, attributes)
            }
        };
        drawn.into_iter().enumerate().map(signal).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Law 1 and 3: any order and any repetition give the partition, golden values and tasks of the bulk job.
    #[test]
    fn order_and_repetition_do_not_matter(
        (signals, shuffled) in signals(24).prop_flat_map(|signals| {
            let twice: Vec<Signal> = signals.iter().chain(signals.iter().step_by(3)).cloned().collect();
            (Just(signals), Just(twice).prop_shuffle())
        })
    ) {
        let (one, other) = (memory_engine(), memory_engine());
        submit_all(&one, &signals);
        submit_all(&other, &shuffled);
        let expected = bulk_partition(&signals);
        prop_assert_eq!(partition_of(one.store().as_ref()), expected.clone());
        prop_assert_eq!(partition_of(other.store().as_ref()), expected);
        prop_assert_eq!(golden_and_tasks(one.store().as_ref()), golden_and_tasks(other.store().as_ref()));
        check_feed(&one);
        check_feed(&other);
        check_counters(&other);
        prop_assert_eq!(check_tenant(other.store().as_ref(), &tenant()).expect("the store reads"), Vec::<String>::new());
    }
}

pub fn events_of(engine: &Engine) -> Vec<std::sync::Arc<StoredEvent>> {
    engine
        .store()
        .events(&tenant(), 0, usize::MAX)
        .expect("the store reads")
}

/// Laws 4 and 6: numbers without a gap; a consumer that only follows the feed ends with the store's partition; every id ever
/// issued resolves to living ones.
pub fn check_feed(engine: &Engine) {
    let events = events_of(engine);
    let mut members: BTreeMap<IdentityId, BTreeSet<RecordKey>> = BTreeMap::new();
    let mut issued = BTreeSet::new();
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.sequence, index as u64 + 1, "no gap, no repetition");
        issued.insert(event.identity.id);
        members.insert(
            event.identity.id,
            event.identity.member_keys.iter().cloned().collect(),
        );
        for merged in &event.merged {
            assert_eq!(event.kind, EventKind::Merged);
            assert!(
                issued.contains(merged),
                "only an id that was told can be merged away"
            );
            members.remove(merged);
        }
        if event.kind == EventKind::Erased {
            members.remove(&event.identity.id);
        }
        assert_eq!(event.kind == EventKind::Split, !event.split_into.is_empty());
        check_moment(engine, event.sequence, &issued, &members);
    }
    let followed: Partition = members
        .values()
        .filter(|members| !members.is_empty())
        .cloned()
        .collect();
    assert_eq!(
        followed,
        partition_of(engine.store().as_ref()),
        "the feed tells the store's partition"
    );
    for id in issued {
        let resolution = engine
            .get_identity(&tenant(), &id, Moment::Now)
            .expect("every id resolves");
        let has_no_successor = |ended: &Ended| ended.successors.is_empty();
        let was_erased = (resolution.ended.iter())
            .any(|identity| identity.ended.as_ref().is_some_and(has_no_successor));
        let is_alive = !resolution.living.is_empty();
        assert!(is_alive || was_erased, "to a living one");
    }
}

/// What was asked as of an event is what a consumer of the feed knew right after it.
fn check_moment(
    engine: &Engine,
    sequence: u64,
    issued: &BTreeSet<IdentityId>,
    members: &BTreeMap<IdentityId, BTreeSet<RecordKey>>,
) {
    for id in issued {
        let resolution = engine
            .get_identity(&tenant(), id, Moment::Event(sequence))
            .expect("it was known by then");
        if let Some(members) = members.get(id) {
            let [then] = resolution.living.as_slice() else {
                panic!("it lived then")
            };
            assert_eq!(then.id, *id);
            assert_eq!(
                then.member_keys.iter().cloned().collect::<BTreeSet<_>>(),
                *members
            );
        } else {
            assert!(
                resolution
                    .living
                    .iter()
                    .all(|living| members.contains_key(&living.id))
            );
        }
    }
}

pub fn check_counters(engine: &Engine) {
    let counters = engine.store().counters(&tenant()).expect("the store reads");
    let partition = partition_of(engine.store().as_ref());
    assert_eq!(counters.identities, partition.len() as u64);
    assert_eq!(
        counters.source_records,
        partition.iter().map(BTreeSet::len).sum::<usize>() as u64
    );
    assert_eq!(
        counters.open_review_tasks,
        golden_and_tasks(engine.store().as_ref()).1.len() as u64
    );
    assert_eq!(counters.events.iter().sum::<u64>(), counters.last_sequence);
}

/// Law 2: the same id again changes nothing; with other content it is refused.
#[test]
fn a_repeated_signal_gets_its_first_answer() {
    let engine = memory_engine();
    let signal = update(
        "s1",
        "pos/1",
        vec![name("Ann", "Lee"), email("ann@lee.org")],
    );
    let first = engine
        .submit(&tenant(), &signal, EVENT_TIME_MS)
        .expect("accepted");
    submit_all(
        &engine,
        &[update(
            "s2",
            "ecommerce/9",
            vec![name("Ann", "Lee"), email("ann@lee.org")],
        )],
    );
    let again = engine
        .submit(&tenant(), &signal, EVENT_TIME_MS)
        .expect("accepted before");
    assert!(again.repeated && !first.repeated);
    assert_eq!(
        (again.identity_id, again.sequence),
        (first.identity_id, first.sequence)
    );
    let other = Signal {
        attributes: vec![name("Eve", "Lee")],
        ..signal
    };
    assert!(matches!(
        engine.submit(&tenant(), &other, EVENT_TIME_MS),
        Err(EngineError::Conflict { .. })
    ));
}

/// A value that becomes shared splits what hung on it; when it is no longer shared they join again.
#[test]
fn a_shared_value_is_no_evidence_in_both_directions() {
    let mut pack = veridem_matchers::Pack::retail();
    for rule in pack
        .blocking
        .0
        .iter_mut()
        .filter(|rule| rule.name == "email")
    {
        rule.max_records = 3;
    }
    let matcher = std::sync::Arc::new(veridem::resolver::Matcher::new(
        veridem::resolver::Matcher::shipped_model(),
        pack,
    ));
    let engine = memory_engine_with(matcher);
    let together = |engine: &Engine| {
        partition_of(engine.store().as_ref())
            .iter()
            .any(|cluster| cluster.contains(&key("pos/1")) && cluster.contains(&key("ecommerce/1")))
    };
    submit_all(
        &engine,
        &[
            update(
                "a",
                "pos/1",
                vec![name("Ann", "Lee"), email("desk7@shop.org")],
            ),
            update(
                "b",
                "ecommerce/1",
                vec![name("Ann", "Lee"), email("desk7@shop.org")],
            ),
        ],
    );
    assert!(together(&engine), "a name and an e-mail address in common");
    submit_all(
        &engine,
        &[
            update(
                "c",
                "pos/2",
                vec![name("Bob", "Ray"), email("desk7@shop.org")],
            ),
            update(
                "d",
                "pos/3",
                vec![name("Cleo", "Fox"), email("desk7@shop.org")],
            ),
        ],
    );
    assert!(
        !together(&engine),
        "four records share the address: it is the till's"
    );
    let split = events_of(&engine)
        .into_iter()
        .find(|event| event.kind == EventKind::Split)
        .expect("a split is told");
    assert_eq!(split.split_into.len(), 1);
    submit_all(
        &engine,
        &[Signal {
            kind: SignalKind::Delete,
            attributes: Vec::new(),
            event_time_ms: EVENT_TIME_MS + 1,
            ..update("e", "pos/3", Vec::new())
        }],
    );
    assert!(together(&engine), "three records share it: evidence again");
    check_feed(&engine);
}

/// Mother and daughter of one name at one address, and a receipt that says no more than that.
#[test]
fn a_record_that_fits_two_identities_equally_joins_neither() {
    let told = |own: Option<(&str, &str)>| {
        let mut attributes = vec![
            name("Mary", "Smith"),
            address("12 High Street", "Springfield", "62704"),
        ];
        if let Some((born, loyalty)) = own {
            attributes.push(Attribute::BirthDate(born.into()));
            attributes.push(identifier("loyalty", loyalty));
        }
        attributes
    };
    let mother = told(Some(("1951-02-27", "L100200")));
    let daughter = told(Some(("1983-11-08", "L777431")));
    let engine = memory_engine();
    submit_all(
        &engine,
        &[
            update("a", "loyalty/1", mother.clone()),
            update("b", "loyalty/2", daughter),
            update("c", "pos/1", told(None)),
        ],
    );
    let partition = partition_of(engine.store().as_ref());
    assert_eq!(partition.len(), 3, "contested: {partition:?}");
    let (_, tasks) = golden_and_tasks(engine.store().as_ref());
    for loyalty in ["loyalty/1", "loyalty/2"] {
        assert!(tasks.contains(&(key(loyalty), key("pos/1"))), "{tasks:?}");
    }
    // What tells whose it is settles it.
    submit_all(&engine, &[update("d", "pos/1", mother)]);
    let partition = partition_of(engine.store().as_ref());
    assert!(partition.contains(&[key("loyalty/1"), key("pos/1")].into()));
}

/// Law 3: what happened earlier does not overwrite what happened later.
#[test]
fn a_late_signal_does_not_overwrite() {
    let engine = memory_engine();
    let at = |signal: Signal, time| Signal {
        event_time_ms: EVENT_TIME_MS + time,
        ..signal
    };
    submit_all(
        &engine,
        &[
            at(
                update(
                    "new",
                    "pos/1",
                    vec![name("Ann", "Lee"), phone("212 736 5001")],
                ),
                10,
            ),
            at(
                update(
                    "old",
                    "pos/1",
                    vec![name("Anne", "Leigh"), email("ann@lee.org")],
                ),
                5,
            ),
        ],
    );
    let identity = engine
        .lookup_identity(&tenant(), &key("pos/1"))
        .expect("it is known");
    let values: Vec<Attribute> = identity
        .golden
        .values
        .iter()
        .map(|value| value.attribute.clone())
        .collect();
    assert!(
        values.contains(&name("Ann", "Lee"))
            && values.contains(&email("ann@lee.org"))
            && values.contains(&phone("212 736 5001"))
    );
}

/// Law 4: the id created first survives; the other resolves to it for ever.
#[test]
fn a_bridge_merges_and_its_removal_splits() {
    let engine = memory_engine();
    submit_all(
        &engine,
        &[
            update(
                "a",
                "loyalty/1",
                vec![name("Ann", "Lee"), identifier("loyalty", "L555123")],
            ),
            update(
                "b",
                "ecommerce/1",
                vec![name("Ann", "Lee"), email("ann@lee.org")],
            ),
        ],
    );
    let id = |key_text: &str| {
        engine
            .lookup_identity(&tenant(), &key(key_text))
            .expect("known")
            .id
    };
    let (first, second) = (id("loyalty/1"), id("ecommerce/1"));
    assert_ne!(first, second);
    let bridge = update(
        "c",
        "cdp/1",
        vec![
            name("Ann", "Lee"),
            email("ann@lee.org"),
            identifier("loyalty", "L555123"),
        ],
    );
    submit_all(&engine, &[bridge]);
    assert_eq!(
        (id("loyalty/1"), id("ecommerce/1"), id("cdp/1")),
        (first, first, first)
    );
    let merged = engine
        .get_identity(&tenant(), &second, Moment::Now)
        .expect("an ended id resolves");
    assert_eq!(merged.living[0].id, first);
    submit_all(
        &engine,
        &[Signal {
            kind: SignalKind::Delete,
            attributes: Vec::new(),
            event_time_ms: EVENT_TIME_MS + 1,
            ..update("d", "cdp/1", Vec::new())
        }],
    );
    assert_ne!(id("loyalty/1"), id("ecommerce/1"));
    check_feed(&engine);
}

/// Law 9: the weights of an explanation sum to the weight that decided; "why not" names what is missing.
#[test]
fn decisions_explain_themselves() {
    let engine = memory_engine();
    submit_all(
        &engine,
        &[
            update(
                "a",
                "pos/1",
                vec![
                    name("Ann", "Lee"),
                    email("ann@lee.org"),
                    phone("212 736 5001"),
                ],
            ),
            update(
                "b",
                "ecommerce/1",
                vec![name("Anne", "Lee"), email("ann@lee.org")],
            ),
            update(
                "c",
                "cdp/1",
                vec![name("Zoë", "Quist"), phone("646 555 0199")],
            ),
        ],
    );
    let found = engine
        .explain_match(&tenant(), &key("pos/1"), &key("ecommerce/1"))
        .expect("both are known");
    let sum: f64 = found.explanation.prior_weight.0
        + found.explanation.household_adjustment.0
        + found
            .explanation
            .parts
            .iter()
            .map(|part| part.weight.0 + part.term_adjustment.0)
            .sum::<f64>();
    assert!((sum - found.explanation.score.weight.0).abs() < 1e-9);
    assert!(found.why_not.is_empty() && found.shared_blocking_rules.contains(&"email".to_owned()));
    let apart = engine
        .explain_match(&tenant(), &key("pos/1"), &key("cdp/1"))
        .expect("both are known");
    assert!(
        apart.why_not.contains("no blocking key"),
        "{}",
        apart.why_not
    );
}

/// A person who was erased after the index's last commit is not in the index that a start catches up.
#[test]
fn the_index_forgets_who_was_erased_before_its_commit() {
    use std::sync::Arc;
    use veridem::index::{Indexes, TantivyIndexes};
    use veridem::store::{FjallStore, Generation};
    let directory = tempfile::tempdir().expect("a temporary directory");
    let indexes = || TantivyIndexes::new(directory.path().join("index"));
    let open = || {
        let store = FjallStore::open_directory(&directory.path().join("store"), 16 << 20);
        let store: Arc<dyn Store> = Arc::new(store.expect("the store opens"));
        Engine::new(store, matcher(), Box::new(indexes()))
    };
    let engine = open();
    let said = update("1", "pos/1", vec![name("Xenobia", "Okafor")]);
    let told = engine.submit(&tenant(), &said, EVENT_TIME_MS);
    let id = told.expect("it is accepted").identity_id;
    let id = id.expect("it is somebody's");
    engine.commit_indexes().expect("the index commits");
    let erasure = engine.find_person(&tenant(), &id, "test");
    let erasure = erasure.expect("it is a living identity");
    let erased = engine.erase(&tenant(), &erasure, EVENT_TIME_MS);
    erased.expect("it is erased");
    engine.store().flush().expect("the store flushes");
    drop(engine);
    let engine = open();
    engine.open_tenant(&tenant()).expect("the tenant opens");
    engine.commit_indexes().expect("the index commits");
    drop(engine);
    let index = indexes().open(&tenant(), Generation::default());
    let index = index.expect("the index opens");
    let found = index.search(&["xenobia".to_owned()], 10);
    assert_eq!(found.expect("it is asked"), Vec::<u64>::new());
}

/// Law 7: the index can be deleted; law 2: what the store holds is there after a restart.
#[test]
fn the_index_is_rebuilt_from_the_store() {
    use std::sync::Arc;
    use veridem::index::TantivyIndexes;
    use veridem::store::SledStore;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let signals = sample_signals();
    let (first, rest) = signals[..400].split_at(300);
    let open = || {
        let store: Arc<dyn Store> = Arc::new(
            SledStore::open_directory(&directory.path().join("store"), 16 << 20)
                .expect("the store opens"),
        );
        let indexes = TantivyIndexes::new(directory.path().join("index"));
        Engine::new(store, matcher(), Box::new(indexes))
    };
    let engine = open();
    submit_all(&engine, &first[..150]);
    engine.commit_indexes().expect("the index commits");
    submit_all(&engine, &first[150..]);
    engine.store().flush().expect("the store flushes");
    drop(engine);
    // What was not committed to the index is caught up.
    let engine = open();
    submit_all(&engine, &rest[..50]);
    engine.store().flush().expect("the store flushes");
    drop(engine);
    // A damaged index is thrown away.
    std::fs::write(directory.path().join("index/default/meta.json"), "{")
        .expect("the index directory is there");
    let engine = open();
    submit_all(&engine, &rest[50..]);
    assert_eq!(
        partition_of(engine.store().as_ref()),
        bulk_partition(&signals[..400])
    );
}
