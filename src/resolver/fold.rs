//! The fold of a source record's signals. A join of a semilattice: any order, any repetition, one result (law 3).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use veridem_matchers::{ACTIVITY_PREFIX, Attribute, Pack, StatedAttribute};

use super::signal::{Signal, SignalKind};

/// When a signal happened; equal times are ordered by the signal's id.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Stamp {
    event_time_ms: i64,
    signal_id: String,
}

/// The latest values of one slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    stamp: Stamp,
    values: Vec<Attribute>,
}

/// Everything that a source's signals about one customer add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fold {
    /// Slots with what was said last of each.
    slots: BTreeMap<String, Slot>,
    /// What was said before this is void: the latest snapshot or deletion.
    floor: Option<Stamp>,
    deleted: Option<Stamp>,
    latest: Option<Stamp>,
}

impl Fold {
    /// Adds a signal.
    pub fn apply(&mut self, signal: &Signal, pack: &Pack) {
        let stamp = Stamp {
            event_time_ms: signal.event_time_ms,
            signal_id: signal.signal_id.clone(),
        };
        if signal.kind != SignalKind::Update {
            raise(&mut self.floor, &stamp);
        }
        if signal.kind == SignalKind::Delete {
            raise(&mut self.deleted, &stamp);
        } else {
            let mut slots: BTreeMap<String, Vec<Attribute>> = BTreeMap::new();
            for attribute in &signal.attributes {
                slots
                    .entry(fold_slot(attribute, pack))
                    .or_default()
                    .push(attribute.clone());
            }
            for (name, mut values) in slots {
                values.sort_unstable();
                values.dedup();
                let slot = self.slots.entry(name).or_default();
                if slot.values.is_empty() || slot.stamp < stamp {
                    *slot = Slot {
                        stamp: stamp.clone(),
                        values,
                    };
                }
            }
        }
        raise(&mut self.latest, &stamp);
        if let Some(floor) = &self.floor {
            let deleted = &self.deleted;
            self.slots.retain(|name, slot| {
                let is_activity = name
                    .strip_prefix("custom.")
                    .is_some_and(|name| name.starts_with(ACTIVITY_PREFIX));
                slot.stamp >= *floor
                    || is_activity && deleted.as_ref().is_none_or(|deleted| slot.stamp > *deleted)
            });
        }
    }

    /// Whether the source still has the customer: something was said after the latest deletion.
    pub fn is_alive(&self) -> bool {
        self.latest.is_some() && self.latest > self.deleted
    }

    /// What the source currently says, and when it said that, milliseconds since the Unix epoch; nothing once deleted.
    pub fn stated(&self) -> impl Iterator<Item = (&Attribute, i64)> {
        let slots = self.slots.values().filter(|_| self.is_alive());
        slots.flat_map(|slot| {
            let stated_at_ms = slot.stamp.event_time_ms;
            let values = slot.values.iter();
            values.map(move |attribute| (attribute, stated_at_ms))
        })
    }

    /// The values that the source currently states.
    pub fn values(&self) -> impl Iterator<Item = &Attribute> {
        self.stated().map(|(attribute, _)| attribute)
    }

    /// What the source currently says; nothing once deleted.
    pub fn attributes(&self) -> Vec<StatedAttribute> {
        let stated = |(attribute, stated_at_ms): (&Attribute, i64)| StatedAttribute {
            attribute: attribute.clone(),
            stated_at_ms,
        };
        self.stated().map(stated).collect()
    }

    /// Event time of the latest signal, milliseconds since the Unix epoch.
    pub fn latest_event_time_ms(&self) -> i64 {
        self.latest.as_ref().map_or(0, |stamp| stamp.event_time_ms)
    }
}

fn raise(known: &mut Option<Stamp>, stamp: &Stamp) {
    if known.as_ref().is_none_or(|known| known < stamp) {
        *known = Some(stamp.clone());
    }
}

/// Values of accumulating schemes do not replace each other: each is a slot of its own.
fn fold_slot(attribute: &Attribute, pack: &Pack) -> String {
    match attribute {
        Attribute::Identifier(identifier)
            if pack.identifiers.accumulating.contains(&identifier.scheme) =>
        {
            format!("{}={}", attribute.slot(), identifier.value)
        }
        _ => attribute.slot(),
    }
}
