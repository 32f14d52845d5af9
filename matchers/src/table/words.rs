//! Texts, each kept once, with what tells most of them apart without looking at the letters.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::normalise::nickname::formal_names;

/// A text of a [`Words`]; 0 is the empty text.
pub(super) type WordId = u32;

/// Where a text ends, beside what tells it apart: one line of the cache.
#[derive(Clone, Copy)]
struct Entry {
    hash: u64,
    signature: Signature,
    start: u32,
    length: u32,
}

/// A dictionary of texts.
#[derive(Default)]
pub(super) struct Words {
    text: String,
    /// By id; that of id 0 is empty.
    entries: Vec<Entry>,
    index: HashTable<WordId>,
}

impl Words {
    /// The id of a text, a new one where it has none.
    pub fn intern(&mut self, text: &str) -> WordId {
        if text.is_empty() {
            return 0;
        }
        if self.entries.is_empty() {
            self.entries.push(Entry {
                hash: 0,
                signature: Signature::of(""),
                start: 0,
                length: 0,
            });
        }
        let hash = xxh3_64(text.as_bytes());
        let is_known = |id: &WordId| {
            self.entries[*id as usize].hash == hash && slice(&self.text, &self.entries, *id) == text
        };
        let known = self.index.find(hash, is_known);
        if let Some(id) = known {
            return *id;
        }
        let id = self.entries.len() as WordId;
        self.entries.push(Entry {
            hash,
            signature: Signature::of(text),
            start: u32::try_from(self.text.len())
                .expect("at most 4 GiB of different texts of a kind"),
            length: text.len() as u32,
        });
        self.text.push_str(text);
        let entries = &self.entries;
        let hash_of = |id: &WordId| entries[*id as usize].hash;
        self.index.insert_unique(hash, id, hash_of);
        id
    }

    /// The text of an id.
    pub fn get(&self, id: WordId) -> &str {
        if id == 0 {
            return "";
        }
        slice(&self.text, &self.entries, id)
    }

    /// Number of ids, that of the empty text included.
    pub fn len(&self) -> usize {
        self.entries.len().max(1)
    }

    /// What tells a text apart; 0 for no text.
    pub fn signature(&self, id: WordId) -> Signature {
        let entry = self.entries.get(id as usize);
        entry.map_or(Signature::default(), |entry| entry.signature)
    }

    /// No further text comes: gives back what only interning needs.
    pub fn freeze(&mut self) {
        self.index = HashTable::new();
        self.text.shrink_to_fit();
        self.entries.shrink_to_fit();
    }
}

/// A bit for each given name that a text is or may be short for: names without a common bit are no forms of one name.
pub(super) fn roots_of(text: &str) -> u64 {
    let bit = |name: &str| 1 << (xxh3_64(name.as_bytes()) >> 58);
    formal_names(text)
        .iter()
        .fold(bit(text), |bits, formal| bits | bit(formal))
}

fn slice<'a>(text: &'a str, entries: &[Entry], id: WordId) -> &'a str {
    let entry = entries[id as usize];
    let start = entry.start as usize;
    &text[start..start + entry.length as usize]
}

/// Which letters and digits stand in a text, how often, and how it begins. What it says holds for texts of ASCII up to 64 bytes;
/// of others it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Signature {
    /// What stands in the text (bits 0 to 36, the last for everything that is no letter and no digit), its length (bits 37 to 43)
    /// and five bits of each of the first four bytes.
    once: u64,
    /// What stands in the text twice.
    twice: u64,
}

const OTHER: u64 = 1 << 36;
const LETTERS: u64 = (1 << 37) - 1;
const LENGTH_AT: u32 = 37;
const START_AT: u32 = 44;
const SAYS_NOTHING: Signature = Signature {
    once: u64::MAX,
    twice: u64::MAX,
};

impl Signature {
    pub fn of(text: &str) -> Self {
        if text.len() > 64 || !text.is_ascii() {
            return SAYS_NOTHING;
        }
        let (mut once, mut twice) = (0, 0);
        for byte in text.bytes() {
            let bit = 1
                << match byte {
                    b'a'..=b'z' => byte - b'a',
                    b'0'..=b'9' => byte - b'0' + 26,
                    _ => 36,
                };
            twice |= once & bit;
            once |= bit;
        }
        let start = text.bytes().take(4).enumerate();
        let start = start.fold(0, |start, (index, byte)| {
            start | u64::from(byte & 31) << (5 * index)
        });
        Self {
            once: once | (text.len() as u64) << LENGTH_AT | start << START_AT,
            twice,
        }
    }

    /// Whether the text is one letter.
    pub fn is_initial(self) -> bool {
        self != SAYS_NOTHING && self.length() == 1
    }

    /// Whether a space or another mark stands in the text.
    pub fn has_space(self) -> bool {
        self.once & OTHER != 0
    }

    fn length(self) -> u32 {
        (self.once >> LENGTH_AT & 0x7f) as u32
    }

    /// How many bytes stand in the text for the third time and more.
    fn further(self) -> u32 {
        self.length() - (self.once & LETTERS).count_ones() - self.twice.count_ones()
    }

    /// Whether two texts may be within one edit of each other or reach a Jaro-Winkler similarity: false is certain. No more can
    /// match than what both have, which bounds the similarity.
    pub fn may_be_alike(self, other: Self, similarity: f32) -> bool {
        if self == SAYS_NOTHING || other == SAYS_NOTHING {
            return true;
        }
        let (one_length, other_length) = (self.length(), other.length());
        let in_both = (self.once & other.once & LETTERS).count_ones()
            + (self.twice & other.twice).count_ones()
            + self.further().min(other.further());
        if in_both + 1 >= one_length.max(other_length) {
            return true;
        }
        if in_both == 0 {
            return false;
        }
        let matches = in_both as f32;
        let jaro = (matches / one_length as f32 + matches / other_length as f32 + 1.0) / 3.0;
        let differing = (self.once ^ other.once) >> START_AT;
        let prefix = (differing.trailing_zeros() / 5).min(4) as f32;
        jaro + 0.1 * prefix * (1.0 - jaro) + 1e-4 >= similarity
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::compare::{jaro_winkler, within_one_edit};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn signatures_never_tell_like_texts_apart(
            one in "[a-d0 ]{0,9}",
            other in "[a-d0 ]{0,9}",
            similarity in 0.5..1.0_f32,
        ) {
            if !Signature::of(&one).may_be_alike(Signature::of(&other), similarity) {
                prop_assert!(!within_one_edit(one.as_bytes(), other.as_bytes()));
                prop_assert!(jaro_winkler(&one, &other) < f64::from(similarity));
            }
        }
    }
}
