//! What is worked out of a signal before its turn, and what comes between.

use proptest::prelude::*;
use veridem::resolver::{Engine, Prepared, Signal, SignalKind, StewardAction, StewardRequest};
use veridem::store::{ValueMark, check_tenant};
use veridem_matchers::block::PersonalValue;

use crate::histories::{cases, matchers};
use crate::laws::{events_of, signals, submit_all};
use crate::support::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases() / 2))]

    /// However early signals are made ready, before whatever others, words and erasures come to their turn, and whatever is remembered of the
    /// components that they come to: every event is the same.
    #[test]
    fn what_is_made_ready_early_changes_nothing(
        (signals, leads, others) in signals(24).prop_flat_map(|signals| {
            let leads = prop::collection::vec(0..24_usize, signals.len());
            let others = prop::collection::vec(other_call(), signals.len());
            (Just(signals), leads, others)
        }),
        matcher in 0..3_usize,
    ) {
        let engine = || memory_engine_with(matchers()[matcher].clone());
        let (one, other) = (engine(), engine().remember_components_from(2));
        let mut ready: Vec<Option<Prepared>> = signals.iter().map(|_| None).collect();
        for (turn, signal) in signals.iter().enumerate() {
            for later in turn..signals.len() {
                if ready[later].is_none() && later - turn <= leads[later] {
                    let prepared = other.prepare(&tenant(), &signals[later]);
                    ready[later] = Some(prepared.expect("a valid signal is made ready"));
                }
            }
            for engine in [&one, &other] {
                call(engine, turn, &others[turn]);
            }
            submit_all(&one, std::slice::from_ref(signal));
            let prepared = ready[turn].take().expect("made ready at its turn at the latest");
            other
                .submit_prepared(&tenant(), signal, prepared, EVENT_TIME_MS)
                .expect("a valid signal is accepted");
        }
        prop_assert_eq!(events_of(&one), events_of(&other));
        prop_assert_eq!(golden_and_tasks(one.store().as_ref()), golden_and_tasks(other.store().as_ref()));
        prop_assert_eq!(check_tenant(other.store().as_ref(), &tenant()).expect("the store reads"), Vec::<String>::new());
    }
}

/// Of a record that its source has deleted nothing changes with an erasure, but that it is gone.
#[test]
fn what_was_made_ready_before_an_erasure_brings_nobody_back() {
    let engine = memory_engine();
    let said = update("s1", "pos/1", vec![email("anna@web.org")]);
    let deleted = Signal {
        kind: SignalKind::Delete,
        ..update("s2", "pos/1", Vec::new())
    };
    submit_all(&engine, &[said, deleted]);
    let late = update("s3", "pos/1", vec![email("anna@web.org")]);
    let prepared = engine.prepare(&tenant(), &late).expect("made ready");
    call(&engine, 0, &OtherCall::Erase(0));
    let ack = engine.submit_prepared(&tenant(), &late, prepared, EVENT_TIME_MS);
    assert!(ack.expect("accepted").erased);
    assert!(records_of(engine.store().as_ref(), &tenant()).is_empty());
}

/// What comes between signals.
#[derive(Clone, Debug)]
pub enum OtherCall {
    None,
    /// A word on two records, by their places.
    Override(usize, usize, bool),
    /// What a record states is shared or junk: the record and the value by their places.
    Mark(usize, usize, bool),
    /// The person of a record is erased.
    Erase(usize),
}

fn other_call() -> impl Strategy<Value = OtherCall> {
    prop_oneof![
        12 => Just(OtherCall::None),
        3 => (0..12_usize, 0..12_usize, any::<bool>())
            .prop_map(|(one, other, same)| OtherCall::Override(one, other, same)),
        2 => (0..12_usize, 0..4_usize, any::<bool>())
            .prop_map(|(record, value, is_junk)| OtherCall::Mark(record, value, is_junk)),
        1 => (0..12_usize).prop_map(OtherCall::Erase),
    ]
}

pub fn call(engine: &Engine, turn: usize, call: &OtherCall) {
    let records = records_of(engine.store().as_ref(), &tenant());
    match call {
        OtherCall::None => {}
        OtherCall::Override(one, other, same) => {
            let (Some(one), Some(other)) = (records.get(*one), records.get(*other)) else {
                return;
            };
            if one.number == other.number || !one.is_alive || !other.is_alive {
                return;
            }
            let (one, other) = (one.key.clone(), other.key.clone());
            let groups = match same {
                true => vec![vec![one, other]],
                false => vec![vec![one], vec![other]],
            };
            say(engine, turn, StewardAction::Override(groups));
        }
        OtherCall::Mark(record, value, is_junk) => {
            let Some(record) = records.get(*record).filter(|record| record.is_alive) else {
                return;
            };
            let fold = engine.store().fold(&tenant(), record.number);
            let fold = fold.expect("reads").expect("it states something");
            let stated = fold.fold.stated().map(|(attribute, _)| attribute.clone());
            let region = matchers()[0].pack.region();
            let mut personal =
                stated.filter(|attribute| PersonalValue::new(attribute, region).is_some());
            let mark = match is_junk {
                true => ValueMark::Junk,
                false => ValueMark::Shared,
            };
            if let Some(value) = personal.nth(*value) {
                let action = StewardAction::Mark(record.key.clone(), value, mark);
                say(engine, turn, action);
            }
        }
        OtherCall::Erase(place) => {
            let id = records.get(*place).and_then(|record| record.identity_id);
            // An identity of records that were deleted may have ended.
            if let Some(erasure) =
                id.and_then(|id| engine.find_person(&tenant(), &id, "steward").ok())
            {
                let done = engine.erase(&tenant(), &erasure, EVENT_TIME_MS);
                done.expect("it lives");
            }
        }
    }
}

fn say(engine: &Engine, turn: usize, action: StewardAction) {
    let request = StewardRequest {
        call: "SetOverride",
        action,
        expected_versions: Vec::new(),
        principal: "steward".into(),
        reason: String::new(),
        four_eyes_above: None,
        note: String::new(),
        idempotency_key: format!("call-{turn}"),
        preview: false,
    };
    let said = engine.steward(&tenant(), &request, EVENT_TIME_MS);
    said.expect("what it is about is known");
}
