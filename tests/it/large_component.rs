//! A component of many records, as they come and go one after the other, beside a bulk job over all of them.

use veridem::resolver::{Signal, SignalKind};
use veridem_matchers::Attribute;

use crate::laws::{bulk_partition, submit_all};
use crate::support::*;

/// Namesakes whose birth dates, phone numbers and addresses cross, in one component of up to 200, whoever comes or goes.
#[test]
fn a_large_component_is_divided_as_the_bulk_job_divides_it() {
    let engine = memory_engine();
    let mut sent: Vec<Signal> = Vec::new();
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
