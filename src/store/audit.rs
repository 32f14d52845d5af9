//! The audit log: who made which call, when and why, and what it changed. Each entry holds the hash of the one before: none can be
//! changed, taken out or put between without changing every hash that follows.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// SHA-256.
pub type AuditHash = [u8; 32];

/// The last entry of an audit log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// Its number; 0 where there is none.
    pub number: u64,
    /// Its hash; zeros where there is none.
    pub hash: AuditHash,
}

/// One call that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAuditEntry {
    /// From 1, without a gap.
    pub number: u64,
    /// When, milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Who.
    pub principal: String,
    /// The call, by its name in the contract.
    pub call: String,
    /// What it was about: `identity ID`, `override NUMBER`, `sink NAME`. Never a person's value.
    pub subjects: Vec<String>,
    /// Why, in the caller's words; empty where nothing was said, or where the person was erased since.
    pub note: String,
    /// Random bytes that go with the note, and go with it: without them its hash tells nothing of it.
    pub note_salt: [u8; 16],
    /// The hash of salt and note as it was said, by which the chain holds also without them.
    pub note_hash: AuditHash,
    /// The first and the last identity event that it caused.
    pub events: Option<(u64, u64)>,
    /// The hash of the entry before; zeros for the first.
    pub previous_hash: AuditHash,
    /// The entry's own hash.
    pub hash: AuditHash,
}

impl StoredAuditEntry {
    /// The entry after another, with its hash. What it was made from need not have the number or the hashes.
    pub fn after(head: &AuditHead, mut entry: Self) -> Self {
        entry.number = head.number + 1;
        entry.note_hash = entry.hash_of_note();
        entry.previous_hash = head.hash;
        entry.hash = entry.hash_of_content();
        entry
    }

    /// The entry as the last of its log.
    pub fn head(&self) -> AuditHead {
        AuditHead {
            number: self.number,
            hash: self.hash,
        }
    }

    /// SHA-256 of this JSON without white space, hashes as hexadecimal digits: `[previous_hash, number, at_ms, principal, call,
    /// [subject, …], note_hash, first_event, last_event]`; 0 for events where there are none.
    pub fn hash_of_content(&self) -> AuditHash {
        let (first, last) = self.events.unwrap_or_default();
        let content = (
            hex::encode(self.previous_hash),
            self.number,
            self.at_ms,
            &self.principal,
            &self.call,
            &self.subjects,
            hex::encode(self.note_hash),
            first,
            last,
        );
        let json = serde_json::to_vec(&content).expect("texts and numbers are JSON");
        Sha256::digest(json).into()
    }

    /// Whether it follows on an entry, and is what its hash says.
    pub fn follows(&self, head: &AuditHead) -> bool {
        self.number == head.number + 1
            && self.previous_hash == head.hash
            && self.hash == self.hash_of_content()
            && (self.note.is_empty() || self.note_hash == self.hash_of_note())
    }

    fn hash_of_note(&self) -> AuditHash {
        let salted = Sha256::new_with_prefix(self.note_salt);
        salted.chain_update(&self.note).finalize().into()
    }

    /// Takes out what was said.
    pub fn forget_note(&mut self) {
        self.note.clear();
        self.note_salt = Default::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn call() -> impl Strategy<Value = StoredAuditEntry> {
        let words = prop::collection::vec("[a-zé\"]{0,4}", 0..3);
        let events = prop::option::of((1_u64..9, 9_u64..20));
        (any::<i64>(), "[a-z]{1,3}", words, "[a-z]{0,3}", events).prop_map(
            |(at_ms, principal, subjects, note, events)| StoredAuditEntry {
                at_ms,
                principal,
                call: "MergeIdentities".into(),
                subjects,
                note,
                note_salt: [7; 16],
                events,
                ..StoredAuditEntry::default()
            },
        )
    }

    fn is_whole(entries: &[StoredAuditEntry], head: &AuditHead) -> bool {
        let mut last = AuditHead::default();
        for entry in entries {
            if !entry.follows(&last) {
                return false;
            }
            last = entry.head();
        }
        last == *head
    }

    proptest! {
        #[test]
        fn no_entry_can_be_changed_taken_out_or_put_between(
            calls in prop::collection::vec(call(), 1..6),
            other in call(),
            at in any::<prop::sample::Index>(),
            what in 0..9,
        ) {
            let mut entries: Vec<StoredAuditEntry> = Vec::new();
            for call in calls {
                let head = entries.last().map(StoredAuditEntry::head).unwrap_or_default();
                entries.push(StoredAuditEntry::after(&head, call));
            }
            let head = entries.last().expect("one at least").head();
            prop_assert!(is_whole(&entries, &head));
            // What was said of a person who is erased may go.
            let mut without_notes = entries.clone();
            without_notes.iter_mut().for_each(StoredAuditEntry::forget_note);
            prop_assert!(is_whole(&without_notes, &head));

            let place = at.index(entries.len());
            let mut forged = entries.clone();
            let one = &mut forged[place];
            match what {
                0 => one.at_ms = one.at_ms.wrapping_add(1),
                1 => one.principal.push('x'),
                2 => one.call = "SplitIdentity".into(),
                3 => one.subjects.push(String::new()),
                4 => one.note.push('x'),
                5 if place % 2 == 0 => one.number += 1,
                5 => one.events = if one.events.is_none() { Some((1, 1)) } else { None },
                6 => drop(forged.remove(place)),
                7 => forged.insert(place, entries[place].clone()),
                // One of the same place in another log.
                _ => {
                    let before = place.checked_sub(1).map(|before| entries[before].head());
                    forged[place] = StoredAuditEntry::after(&before.unwrap_or_default(), other);
                    prop_assume!(forged[place] != entries[place]);
                }
            }
            prop_assert!(!is_whole(&forged, &head));
        }
    }
}
