//! A component of many records, as they come and go one after the other, beside a bulk job over all of them.

use veridem::resolver::{Signal, SignalKind};
use veridem_matchers::Attribute;

use crate::foreseen::{OtherCall, call};
use crate::laws::{bulk_partition, events_of, submit_all};
use crate::support::*;

/// Signals that are made ready before the turn of the first of them.
const MADE_READY: usize = 4;

/// Namesakes whose birth dates, phone numbers and addresses cross, in one component of up to 200, whoever comes or goes.
#[test]
fn a_large_component_is_divided_as_the_bulk_job_divides_it() {
    let engine = memory_engine();
    let mut sent: Vec<Signal> = Vec::new();
    for (step, signal) in namesakes().into_iter().enumerate() {
        submit_all(&engine, std::slice::from_ref(&signal));
        sent.push(signal);
        if step % 35 == 34 {
            let (online, bulk) = (partition_of(engine.store().as_ref()), bulk_partition(&sent));
            assert!(
                online == bulk,
                "step {step}: {} identities, {} in bulk",
                online.len(),
                bulk.len()
            );
        }
    }
}

/// What is remembered of the component, by whoever makes signals ready or takes them, while stewards have a word on its members and persons
/// of it are erased: every event is as if nothing were.
#[test]
fn what_is_remembered_of_a_large_component_changes_nothing() {
    let remembering = memory_engine();
    let forgetful = memory_engine().remember_components_from(usize::MAX);
    for (turn, signals) in namesakes().chunks(MADE_READY).enumerate() {
        let prepare = |signal| remembering.prepare(&tenant(), signal);
        let prepared: Vec<_> = signals.iter().map(prepare).collect();
        for (signal, prepared) in signals.iter().zip(prepared) {
            let prepared = prepared.expect("a valid signal is made ready");
            remembering
                .submit_prepared(&tenant(), signal, prepared, EVENT_TIME_MS)
                .expect("a valid signal is accepted");
        }
        submit_all(&forgetful, signals);
        let other = match turn {
            50.. if turn % 10 == 0 => OtherCall::Erase(turn * 7 % 200),
            50.. if turn % 10 == 5 => {
                OtherCall::Override(turn * 7 % 200, turn * 11 % 200, turn % 20 == 5)
            }
            _ => OtherCall::None,
        };
        for engine in [&remembering, &forgetful] {
            call(engine, turn, &other);
        }
    }
    let [one, other] = [&remembering, &forgetful]
        .map(|engine| (events_of(engine), golden_and_tasks(engine.store().as_ref())));
    assert!(one == other, "the two engines told different things");
}

fn namesakes() -> Vec<Signal> {
    let mut signals = Vec::new();
    for step in 0..420_usize {
        let record = step * 37 % 300;
        // What a record says changes when it comes again.
        let drawn = (record * 7 + step / 300 * 11) * 7_919 % 1_009;
        let person = drawn % 60;
        let mut attributes = vec![name("Wilhelmina", "Zylberberg")];
        if drawn % 4 != 0 {
            let (year, month, day) = (1930 + person, 1 + person % 12, 1 + person % 28);
            attributes.push(Attribute::BirthDate(format!("{year}-{month:02}-{day:02}")));
        }
        if drawn % 3 != 0 {
            attributes.push(phone(&format!("212-736-50{:02}", drawn % 25)));
        }
        if drawn % 7 < 3 {
            attributes.push(address(
                &format!("{} High Street", 10 + drawn % 9),
                "Boston",
                "02134",
            ));
        }
        let kind = match step {
            300.. if step % 9 == 0 => SignalKind::Delete,
            _ => SignalKind::Snapshot,
        };
        if kind == SignalKind::Delete {
            attributes.clear();
        }
        let signal = Signal {
            kind,
            event_time_ms: EVENT_TIME_MS + step as i64,
            ..update(&format!("s{step}"), &format!("pos/{record:03}"), attributes)
        };
        signals.push(signal);
    }
    signals
}
