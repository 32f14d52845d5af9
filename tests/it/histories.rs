//! Random histories of everything that can happen to a tenant, against a plain model that recomputes all of it with the bulk code:
//! signals of every kind, late and repeated ones, stewards' merges, splits, overrides and undoing them, persons
//! erased, other models coming into force while all that goes on, restarts at any point.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use proptest::prelude::*;
use veridem::resolver::{
    BulkOptions, Engine, EngineError, Fold, Matcher, Moment, OverrideState, Records, Signal,
    StewardAction, StewardAnswer, StewardRequest, golden_record_of_rows, resolve_records,
};
use veridem::store::{
    Approval, IdentityId, ModelPhase, OverrideKind, Store, StoredOverride, ValueMark, check_tenant,
};
use veridem_matchers::block::PersonalValue;
use veridem_matchers::cluster::Link;
use veridem_matchers::golden::{Criterion, SurvivingValue};
use veridem_matchers::{
    Attribute, Comparable, CustomAttribute, GoldenRecord, Pack, Record, RecordKey, StatedValue,
};

use crate::laws::{check_counters, check_feed, signals, submit_all};
use crate::support::*;

/// What happens.
#[derive(Clone, Debug)]
enum Step {
    Signal(Signal),
    /// Signals that three senders send at once.
    Together(Vec<Signal>),
    /// A signal again, by its place among those that came.
    Repeat(usize),
    /// Two identities are one person, by their places in the order of their ids.
    Merge(usize, usize),
    /// Some records of an identity are another person: those whose bit is set.
    Split(usize, u8),
    /// A word on two records.
    Override(usize, usize, bool),
    /// What a record states survives: the record and the slot by their places.
    Pin(usize, usize),
    /// What a record states is shared or junk: the record and the value by their places.
    Mark(usize, usize, ValueMark),
    /// Two identities live together, by their places in the order of their ids.
    Household(usize, usize),
    /// An override is taken back, by its place among those there are.
    Undo(usize),
    /// The person of a record, be it deleted, is erased.
    Erase(usize),
    /// Another model is asked for.
    Model(usize),
    /// A model change goes on by a step.
    GoOn,
    Restart,
}

fn steps(count: usize) -> impl Strategy<Value = Vec<Step>> {
    let place = 0..64_usize;
    let other = prop_oneof![
        2 => place.clone().prop_map(Step::Repeat),
        2 => (place.clone(), place.clone()).prop_map(|(one, other)| Step::Merge(one, other)),
        2 => (place.clone(), any::<u8>()).prop_map(|(one, bits)| Step::Split(one, bits)),
        2 => (place.clone(), place.clone(), any::<bool>())
            .prop_map(|(one, other, same)| Step::Override(one, other, same)),
        2 => (place.clone(), place.clone()).prop_map(|(record, slot)| Step::Pin(record, slot)),
        3 => (place.clone(), place.clone(), prop_oneof![Just(ValueMark::Shared), Just(ValueMark::Junk)])
            .prop_map(|(record, slot, mark)| Step::Mark(record, slot, mark)),
        2 => (place.clone(), place.clone()).prop_map(|(one, other)| Step::Household(one, other)),
        3 => place.clone().prop_map(Step::Undo),
        1 => place.clone().prop_map(Step::Erase),
        1 => (0..3_usize).prop_map(Step::Model),
        2 => Just(Step::GoOn),
        1 => Just(Step::Restart),
    ];
    let others = prop::collection::vec((0..20_usize, other), 0..count);
    (signals(20), others, prop::bool::weighted(0.2)).prop_map(|(signals, others, together)| {
        let mut steps: Vec<Step> = signals.into_iter().map(Step::Signal).collect();
        if together {
            let all = signals_of(&mut steps);
            steps.extend(all.chunks(5).map(|some| Step::Together(some.to_vec())));
        }
        for (at, other) in others {
            steps.insert(at.min(steps.len()), other);
        }
        steps
    })
}

fn signals_of(steps: &mut Vec<Step>) -> Vec<Signal> {
    let signals = steps.drain(..).filter_map(|step| match step {
        Step::Signal(signal) => Some(signal),
        _ => None,
    });
    signals.collect()
}

/// The model that ships, one that asks for more and bears fewer holders of an e-mail address and of what several have in common, one that asks for less.
pub fn matchers() -> &'static [Arc<Matcher>; 3] {
    static MATCHERS: OnceLock<[Arc<Matcher>; 3]> = OnceLock::new();
    MATCHERS.get_or_init(|| {
        let with = |change: fn(&mut Pack)| {
            let mut pack = Pack::retail();
            change(&mut pack);
            Arc::new(Matcher::new(Matcher::shipped_model(), pack))
        };
        [
            with(|_| {}),
            with(|pack| {
                pack.thresholds.match_probability = 0.97;
                // An address that three hold is a shared value, and what four have in common brings no pairs.
                for rule in &mut pack.blocking.0 {
                    if rule.name == "email" {
                        rule.max_records = 2;
                    } else if !rule.shared_value {
                        rule.max_records = 3;
                    }
                }
                for source in pack.sources.values_mut() {
                    source.trust = 7;
                }
            }),
            with(|pack| pack.thresholds.match_probability = 0.5),
        ]
    })
}

/// Everything that may not depend on how it came to be.
#[derive(Debug, PartialEq)]
struct Outcome {
    partition: Partition,
    golden: BTreeMap<RecordKey, GoldenRecord>,
    tasks: BTreeSet<(RecordKey, RecordKey)>,
}

fn outcome_of(engine: &Engine) -> Outcome {
    let store = engine.store().as_ref();
    let (golden, tasks) = golden_and_tasks(store);
    Outcome {
        partition: partition_of(store),
        golden,
        tasks,
    }
}

/// The latest word on two records, and the override that says it.
fn word(overrides: &[StoredOverride], one: &RecordKey, other: &RecordKey) -> Option<(Link, u64)> {
    let on_persons = |value: &&StoredOverride| value.kind == OverrideKind::Persons;
    overrides.iter().rev().filter(on_persons).find_map(|value| {
        let place = |key: &RecordKey| {
            let holds = |group: &Vec<(RecordKey, u64)>| group.iter().any(|(known, _)| known == key);
            value.groups.iter().position(holds)
        };
        let (one, other) = (place(one)?, place(other)?);
        let link = if one == other {
            Link::Must
        } else {
            Link::Cannot
        };
        Some((link, value.number))
    })
}

/// What the latest override on households that names a record of a cluster says.
fn household_value(
    overrides: &[StoredOverride],
    cluster: &[usize],
    keys: &[RecordKey],
) -> Option<SurvivingValue> {
    let households = overrides.iter().rev();
    let mut households = households.filter(|value| value.kind == OverrideKind::Household);
    households.find_map(|value| {
        let is_named = |row: &&usize| value.records().any(|(key, _)| *key == keys[**row]);
        let first = cluster.iter().find(is_named)?;
        let attribute = Attribute::Custom(CustomAttribute {
            name: "household_id".into(),
            value: value.number.to_string(),
        });
        Some(SurvivingValue {
            slot: attribute.slot(),
            attribute,
            record: keys[*first].clone(),
            stated_at_ms: value.decided_at_ms,
            criterion: Criterion::Pinned,
        })
    })
}

/// The plain model: fold all signals, those of erased persons never came, resolve all records at once, apply the latest words.
fn recomputed(
    signals: &[Signal],
    erased: &BTreeSet<RecordKey>,
    overrides: &[StoredOverride],
    matcher: &Matcher,
) -> Outcome {
    let mut folds: BTreeMap<RecordKey, Fold> = BTreeMap::new();
    let of_known = |signal: &&Signal| !erased.contains(&signal.record_key());
    for signal in signals.iter().filter(of_known) {
        let fold = folds.entry(signal.record_key()).or_default();
        fold.apply(signal, &matcher.pack);
    }
    let records: Records = folds
        .into_iter()
        .filter(|(_, fold)| fold.is_alive())
        .map(|(key, fold)| Record {
            key,
            attributes: fold.attributes(),
        })
        .collect();
    let keys: Vec<RecordKey> = (0..records.len()).map(|row| records.get(row).key).collect();
    let mut words = Vec::new();
    for (left, one) in keys.iter().enumerate() {
        for (right, other) in keys.iter().enumerate().skip(left + 1) {
            if let Some((link, number)) = word(overrides, one, other) {
                words.push((left as u32, right as u32, link, number));
            }
        }
    }
    // The latest mark on each value.
    let mut marks: BTreeMap<PersonalValue, (Comparable, ValueMark)> = BTreeMap::new();
    for value in overrides {
        if let OverrideKind::Value {
            value,
            comparable,
            mark,
            ..
        } = &value.kind
        {
            marks.insert(*value, (*comparable, *mark));
        }
    }
    let options = BulkOptions {
        overrides: words.clone(),
        marked_values: marks.keys().copied().collect(),
        ..matcher.bulk_options()
    };
    let result = resolve_records(&records, options, &|_| {});
    let mut cluster_of = vec![0; keys.len()];
    let mut golden = BTreeMap::new();
    for (number, cluster) in result.clusters.iter().enumerate() {
        let judge = |row: usize, value: &mut StatedValue<'_>| {
            let slot = value.attribute.slot();
            let pins = |value: &&StoredOverride| {
                value.kind == OverrideKind::Pin { slot: slot.clone() }
                    && value.groups[0][0].0 == keys[row]
            };
            let latest = overrides.iter().rev().find(pins);
            value.pin = latest.map_or(0, |value| value.number);
            let junk = |comparable: &Comparable| {
                marks
                    .values()
                    .any(|mark| *mark == (*comparable, ValueMark::Junk))
            };
            value.comparable = value.comparable.filter(|comparable| !junk(comparable));
        };
        let (pack, comparables) = (&matcher.pack, &result.comparables);
        let mut of_cluster = golden_record_of_rows(&records, comparables, cluster, pack, judge);
        of_cluster
            .values
            .extend(household_value(overrides, cluster, &keys));
        of_cluster
            .values
            .sort_by(|one, other| one.slot.cmp(&other.slot));
        for row in cluster {
            cluster_of[*row] = number;
            golden.insert(keys[*row].clone(), of_cluster.clone());
        }
    }
    let between = |left: u32, right: u32| {
        let (one, other) = (cluster_of[left as usize], cluster_of[right as usize]);
        (one.min(other), one.max(other))
    };
    let apart: BTreeSet<(usize, usize)> = words
        .iter()
        .filter(|(_, _, link, _)| *link == Link::Cannot)
        .map(|(left, right, ..)| between(*left, *right))
        .collect();
    let mut strongest: BTreeMap<(usize, usize), (f64, usize, usize)> = BTreeMap::new();
    for pair in &result.pairs {
        let clusters = between(pair.left, pair.right);
        if clusters.0 == clusters.1 || apart.contains(&clusters) {
            continue;
        }
        let task = (pair.score.weight.0, pair.left as usize, pair.right as usize);
        let known = strongest.entry(clusters).or_insert(task);
        if task.0 > known.0 {
            *known = task;
        }
    }
    let task = |(_, left, right): (f64, usize, usize)| (keys[left].clone(), keys[right].clone());
    Outcome {
        partition: result
            .clusters
            .iter()
            .map(|cluster| cluster.iter().map(|row| keys[*row].clone()).collect())
            .collect(),
        golden,
        tasks: strongest.into_values().map(task).collect(),
    }
}

/// An engine and what the plain model needs to know.
struct World {
    engine: Engine,
    signals: Vec<Signal>,
    /// Records of persons that were erased.
    erased: BTreeSet<RecordKey>,
    overrides: Vec<StoredOverride>,
    model: usize,
    calls: usize,
}

impl World {
    fn new() -> Self {
        Self {
            engine: memory_engine_with(matchers()[0].clone()).remember_components_from(2),
            signals: Vec::new(),
            erased: BTreeSet::new(),
            overrides: Vec::new(),
            model: 0,
            calls: 0,
        }
    }

    fn store(&self) -> Arc<dyn Store> {
        self.engine.store().clone()
    }

    fn living(&self) -> Vec<IdentityId> {
        let ids: BTreeSet<IdentityId> = records_of(self.store().as_ref(), &tenant())
            .into_iter()
            .filter(|record| record.is_alive)
            .filter_map(|record| record.identity_id)
            .collect();
        ids.into_iter().collect()
    }

    fn steward(&mut self, action: StewardAction) -> Result<StewardAnswer, EngineError> {
        self.calls += 1;
        let request = |preview| StewardRequest {
            call: "SetOverride",
            action: action.clone(),
            expected_versions: Vec::new(),
            principal: "steward".into(),
            reason: String::new(),
            note: String::new(),
            four_eyes_above: self.calls.is_multiple_of(3).then_some(2),
            idempotency_key: format!("call-{}", self.calls),
            preview,
        };
        let ask = |request: &StewardRequest| self.engine.steward(&tenant(), request, EVENT_TIME_MS);
        let previewed = ask(&request(true));
        let before = self.engine.store().counters(&tenant()).expect("reads");
        let mut done = ask(&request(false));
        if let Ok(first) = &done {
            let again = ask(&request(false)).expect("the first answer");
            assert_eq!(&again, first);
            if first.value.approval == Approval::Awaited {
                assert_eq!(first.events, [], "nothing happens before somebody agrees");
                let after = self.engine.store().counters(&tenant()).expect("reads");
                assert_eq!(after.last_sequence, before.last_sequence);
                assert_eq!(after.overrides, before.overrides);
                assert_eq!(after.open_review_tasks, before.open_review_tasks);
                done = ask(&StewardRequest {
                    action: StewardAction::Approve(first.value.number),
                    principal: "lead".into(),
                    idempotency_key: format!("approval-{}", self.calls),
                    ..request(false)
                });
            }
        }
        if let (Ok(previewed), Ok(done)) = (&previewed, &done) {
            assert_eq!(previewed.events, done.events, "a preview tells what comes");
            assert_eq!(previewed.identities, done.identities);
        }
        done
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Signal(signal) => {
                submit_all(&self.engine, std::slice::from_ref(&signal));
                self.signals.push(signal);
            }
            Step::Together(signals) => {
                let engine = &self.engine;
                std::thread::scope(|scope| {
                    for signals in signals.chunks(2) {
                        scope.spawn(|| submit_all(engine, signals));
                    }
                });
                self.signals.extend(signals);
            }
            Step::Repeat(place) => {
                if let Some(signal) = pick(&self.signals, place) {
                    submit_all(&self.engine, &[signal]);
                }
            }
            Step::Merge(one, other) => {
                let living = self.living();
                if let (Some(one), Some(other)) = (pick(&living, one), pick(&living, other))
                    && one != other
                {
                    let action = StewardAction::Merge(vec![one, other]);
                    let done = self.steward(action).expect("both live");
                    let ids: BTreeSet<_> = done.identities.iter().flatten().collect();
                    assert_eq!(ids.len(), 1, "they are one identity");
                    self.overrides.push(done.value);
                }
            }
            Step::Split(place, bits) => {
                let living = self.living();
                let Some(id) = pick(&living, place) else {
                    return;
                };
                let identity = self.store().identity(&tenant(), &id);
                let members = identity
                    .expect("reads")
                    .expect("stored")
                    .member_keys
                    .clone();
                let chosen = (0..8).zip(&members).filter(|(bit, _)| bits >> bit & 1 == 1);
                let out: Vec<RecordKey> = chosen.map(|(_, key)| key.clone()).collect();
                let is_some = !out.is_empty() && out.len() < members.len();
                match self.steward(StewardAction::Split(id, out.clone())) {
                    Ok(done) => {
                        assert!(is_some);
                        let of_out: BTreeSet<_> = done.identities[..out.len()].iter().collect();
                        let of_rest: BTreeSet<_> = done.identities[out.len()..].iter().collect();
                        assert_eq!((of_out.len(), of_rest.len()), (1, 1), "two identities");
                        assert_ne!(of_out, of_rest);
                        self.overrides.push(done.value);
                    }
                    Err(refused) => assert!(!is_some, "{refused}"),
                }
            }
            Step::Pin(record, slot) => {
                let records = records_of(self.store().as_ref(), &tenant());
                let Some(record) = pick(&records, record) else {
                    return;
                };
                let fold = self.store().fold(&tenant(), record.number).expect("reads");
                let stated = fold.iter().flat_map(|fold| fold.fold.stated());
                let slots: Vec<String> = stated.map(|(attribute, _)| attribute.slot()).collect();
                let slot = pick(&slots, slot).unwrap_or_else(|| "name".to_owned());
                match self.steward(StewardAction::Pin(record.key.clone(), slot.clone())) {
                    Ok(done) => {
                        assert!(record.is_alive && slots.contains(&slot));
                        self.overrides.push(done.value);
                    }
                    Err(refused) => {
                        let EngineError::Invalid { field, .. } = refused else {
                            panic!("{refused}");
                        };
                        assert_eq!(field, "slot");
                    }
                }
            }
            Step::Mark(record, slot, mark) => self.mark(record, slot, mark),
            Step::Household(one, other) => self.household(one, other),
            Step::Override(one, other, same) => {
                let records = records_of(self.store().as_ref(), &tenant());
                if let (Some(one), Some(other)) = (pick(&records, one), pick(&records, other))
                    && one.number != other.number
                {
                    let groups = if same {
                        vec![vec![one.key.clone(), other.key.clone()]]
                    } else {
                        vec![vec![one.key.clone()], vec![other.key.clone()]]
                    };
                    let are_alive = one.is_alive && other.is_alive;
                    match self.steward(StewardAction::Override(groups)) {
                        Ok(done) => {
                            assert!(are_alive);
                            self.overrides.push(done.value);
                        }
                        Err(refused) => assert!(!are_alive, "{refused}"),
                    }
                }
            }
            Step::Undo(place) => {
                if let Some(value) = pick(&self.overrides, place) {
                    let undone = self.steward(StewardAction::Undo(value.number));
                    assert!(undone.expect("it is in force").value.undone.is_some());
                    self.overrides.retain(|known| known.number != value.number);
                    let again = self.steward(StewardAction::Undo(value.number));
                    assert!(matches!(again, Err(EngineError::Refused { .. })));
                }
            }
            Step::Erase(place) => self.erase(place),
            Step::Model(model) => {
                let matcher = &matchers()[model];
                let asked = self.engine.begin_model_change(
                    &tenant(),
                    matcher,
                    "steward",
                    1.0,
                    EVENT_TIME_MS,
                );
                if asked.is_ok() {
                    self.model = model;
                }
            }
            Step::GoOn => drop(self.go_on()),
            Step::Restart => {
                let store = self.store();
                // The configuration still names the first model.
                let engine = engine_over_with(store, matchers()[0].clone());
                self.engine = engine.remember_components_from(2);
            }
        }
    }

    fn is_changing_model(&self) -> bool {
        let change = self.store().model_change(&tenant()).expect("reads");
        change.is_some_and(|change| change.is_running())
    }

    fn mark(&mut self, record: usize, slot: usize, mark: ValueMark) {
        let records = records_of(self.store().as_ref(), &tenant());
        let Some(record) = pick(&records, record) else {
            return;
        };
        let fold = self.store().fold(&tenant(), record.number).expect("reads");
        let stated = fold.iter().flat_map(|fold| fold.fold.stated());
        let stated: Vec<Attribute> = stated.map(|(attribute, _)| attribute.clone()).collect();
        let Some(attribute) = pick(&stated, slot) else {
            return;
        };
        let region = matchers()[0].pack.region();
        let value = PersonalValue::new(&attribute, region);
        let action = StewardAction::Mark(record.key.clone(), attribute, mark);
        match self.steward(action) {
            Ok(done) => {
                assert!(record.is_alive && value.is_some());
                self.overrides.push(done.value);
            }
            Err(EngineError::Invalid { field, .. }) => {
                assert_eq!(field, "value");
                assert!(!record.is_alive || value.is_none());
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn household(&mut self, one: usize, other: usize) {
        let living = self.living();
        let (Some(one), Some(other)) = (pick(&living, one), pick(&living, other)) else {
            return;
        };
        let of = |engine: &Engine, id: &IdentityId| {
            let (number, identities) = engine.household(&tenant(), id).expect("it lives");
            let ids = identities.iter().map(|identity| identity.id);
            (number, ids.collect::<BTreeSet<_>>())
        };
        let (before, others) = (of(&self.engine, &one), of(&self.engine, &other));
        match self.steward(StewardAction::Household(vec![one, other])) {
            Ok(done) => {
                let mut asked: BTreeSet<_> = before.1.union(&others.1).copied().collect();
                asked.extend([one, other]);
                // While another model comes into force, deciding anew may change who is who.
                let now: BTreeSet<_> = done.identities.iter().flatten().copied().collect();
                assert!(now == asked || self.is_changing_model());
                for id in &now {
                    let household = of(&self.engine, id);
                    assert_eq!(household, (done.value.number, now.clone()));
                }
                self.overrides.push(done.value);
            }
            Err(EngineError::Invalid { field, .. }) => {
                assert_eq!(field, "identity_ids");
                assert!(one == other || before.0 == others.0 && before.0 > 0);
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn erase(&mut self, place: usize) {
        let records = records_of(self.store().as_ref(), &tenant());
        let Some(id) = pick(&records, place).and_then(|record| record.identity_id) else {
            return;
        };
        let may_not = self.is_changing_model();
        let identity = self.store().identity(&tenant(), &id).expect("reads");
        let has_ended = identity.expect("stored").ended.is_some();
        let engine = &self.engine;
        let erased = engine
            .find_person(&tenant(), &id, "steward")
            .and_then(|erasure| {
                let done = engine.erase(&tenant(), &erasure, EVENT_TIME_MS)?;
                let again = engine.erase(&tenant(), &erasure, EVENT_TIME_MS);
                assert_eq!(again.expect("the first answer"), done);
                Ok(done)
            });
        match erased {
            Ok(done) => {
                assert!(!may_not && !has_ended);
                assert!(!done.records.is_empty());
                let of_erased = records
                    .into_iter()
                    .filter(|record| done.records.contains(&record.number));
                self.erased.extend(of_erased.map(|record| record.key));
                let resolved = self.engine.get_identity(&tenant(), &id, Moment::Now);
                assert!(resolved.expect("it is known").living.is_empty());
            }
            Err(EngineError::Refused { .. }) => assert!(may_not || has_ended),
            Err(other) => panic!("{other}"),
        }
    }

    /// One step of a model change; whether there is more to do.
    fn go_on(&mut self) -> bool {
        let change = self.store().model_change(&tenant()).expect("reads");
        let Some(change) = change.filter(|change| change.is_running()) else {
            return false;
        };
        match change.phase {
            ModelPhase::Weighing(_) => {
                let weighed = self.engine.weigh_model_change(&tenant(), &|_| {});
                weighed.expect("all pairs are weighed");
            }
            ModelPhase::Removing(old) => {
                let removed = self.store().remove_generation(&tenant(), old);
                removed.expect("what is left is removed");
            }
            _ => {}
        }
        self.engine
            .model_step(&tenant(), EVENT_TIME_MS)
            .expect("a step is taken");
        true
    }
}

fn pick<T: Clone>(of: &[T], place: usize) -> Option<T> {
    of.get(place % of.len().max(1)).cloned()
}

/// Laws 1, 4, 5 and 6, whatever happens in whatever order.
fn history_is_recomputed(steps: Vec<Step>) {
    let mut world = World::new();
    for step in steps {
        world.take(step);
    }
    while world.go_on() {}
    let matcher = &matchers()[world.model];
    let expected = recomputed(&world.signals, &world.erased, &world.overrides, matcher);
    assert_eq!(outcome_of(&world.engine), expected);
    check_feed(&world.engine);
    check_counters(&world.engine);
    let problems = check_tenant(world.store().as_ref(), &tenant()).expect("the store reads");
    assert_eq!(problems, Vec::<String>::new());
    let counters = world.store().counters(&tenant()).expect("reads");
    assert_eq!(counters.overrides, world.overrides.len() as u64);
    let listed = world.engine.list_overrides(&tenant(), 0, usize::MAX, false);
    for (value, state) in listed.expect("lists") {
        assert_eq!(value.undone.is_some(), state == OverrideState::Undone);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn any_history_comes_to_what_the_bulk_code_makes_of_it(steps in steps(14)) {
        history_is_recomputed(steps);
    }
}

/// Histories that are tried: 1,000, or as many as `VERIDEM_HISTORIES` says.
pub fn cases() -> u32 {
    let wanted = std::env::var("VERIDEM_HISTORIES").ok();
    wanted.map_or(1_000, |wanted| {
        wanted.parse().expect("a number of histories")
    })
}
