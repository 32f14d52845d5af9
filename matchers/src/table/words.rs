//! Texts, each kept once, with what tells most of them apart without looking at the letters.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::normalise::nickname::formal_names;

/// A text of a [`Words`]; 0 is the empty text.
pub(super) type WordId = u32;

/// A dictionary of texts.
#[derive(Default)]
pub(super) struct Words {
    text: String,
    /// Where the text of each id ends; that of id 0 is empty.
    ends: Vec<u32>,
    signatures: Vec<Signature>,
    /// A bit for each given name that the text is or may be short for.
    roots: Vec<u64>,
    index: HashTable<WordId>,
}

impl Words {
    /// The id of a text, a new one where it has none.
    pub fn intern(&mut self, text: &str) -> WordId {
        if text.is_empty() {
            return 0;
        }
        if self.ends.is_empty() {
            self.ends.push(0);
            self.signatures.push(Signature::of(""));
            self.roots.push(0);
        }
        let hash = xxh3_64(text.as_bytes());
        let known = self
            .index
            .find(hash, |id| slice(&self.text, &self.ends, *id) == text);
        if let Some(id) = known {
            return *id;
        }
        let id = self.ends.len() as WordId;
        self.text.push_str(text);
        self.ends.push(
            u32::try_from(self.text.len()).expect("at most 4 GiB of different texts of a kind"),
        );
        self.signatures.push(Signature::of(text));
        self.roots.push(roots_of(text));
        let (texts, ends) = (&self.text, &self.ends);
        self.index
            .insert_unique(hash, id, |id| xxh3_64(slice(texts, ends, *id).as_bytes()));
        id
    }

    /// The text of an id.
    pub fn get(&self, id: WordId) -> &str {
        if id == 0 {
            return "";
        }
        slice(&self.text, &self.ends, id)
    }

    /// Number of ids, that of the empty text included.
    pub fn len(&self) -> usize {
        self.ends.len().max(1)
    }

    /// Whether two texts may be within one edit of each other or reach a Jaro-Winkler similarity: false is certain.
    pub fn may_be_alike(&self, one: WordId, other: WordId, similarity: f32) -> bool {
        if one == 0 || other == 0 {
            return one == other;
        }
        let (one, other) = (
            self.signatures[one as usize],
            self.signatures[other as usize],
        );
        one.may_be_alike(other, similarity)
    }

    /// Whether two texts may be forms of one given name: false is certain.
    pub fn may_be_nicknames(&self, one: WordId, other: WordId) -> bool {
        self.roots[one as usize] & self.roots[other as usize] != 0
    }

    /// Whether a space or another mark stands in a text.
    pub fn has_space(&self, id: WordId) -> bool {
        self.signatures[id as usize].0 & OTHER != 0
    }

    /// No further text comes: gives back what only interning needs.
    pub fn freeze(&mut self) {
        self.index = HashTable::new();
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.signatures.shrink_to_fit();
    }
}

fn roots_of(text: &str) -> u64 {
    let bit = |name: &str| 1 << (xxh3_64(name.as_bytes()) >> 58);
    formal_names(text)
        .iter()
        .fold(bit(text), |bits, formal| bits | bit(formal))
}

fn slice<'a>(text: &'a str, ends: &[u32], id: WordId) -> &'a str {
    let id = id as usize;
    &text[ends[id - 1] as usize..ends[id] as usize]
}

/// Which letters and digits stand in a text (bits 0 to 36, the last for everything else), its length (bits 40 to 47) and its
/// first byte (bits 48 to 55). What it says holds for texts of ASCII up to 64 bytes; of others it says nothing.
#[derive(Clone, Copy)]
pub(super) struct Signature(u64);

const OTHER: u64 = 1 << 36;
const LETTERS: u64 = (1 << 37) - 1;
const SAYS_NOTHING: u64 = u64::MAX;

impl Signature {
    pub fn of(text: &str) -> Self {
        if text.len() > 64 || !text.is_ascii() {
            return Self(SAYS_NOTHING);
        }
        let letters = text.bytes().fold(0, |letters, byte| {
            letters
                | 1 << match byte {
                    b'a'..=b'z' => byte - b'a',
                    b'0'..=b'9' => byte - b'0' + 26,
                    _ => 36,
                }
        });
        let first = u64::from(text.as_bytes().first().copied().unwrap_or_default());
        Self(letters | (text.len() as u64) << 40 | first << 48)
    }

    fn length(self) -> u32 {
        (self.0 >> 40 & 0xff) as u32
    }

    /// A letter that the other text does not have matches nothing, which bounds the matches and with them the similarity.
    pub fn may_be_alike(self, other: Self, similarity: f32) -> bool {
        if self.0 == SAYS_NOTHING || other.0 == SAYS_NOTHING {
            return true;
        }
        let (one_length, other_length) = (self.length(), other.length());
        let only_here = (self.0 & !other.0 & LETTERS).count_ones();
        let only_there = (other.0 & !self.0 & LETTERS).count_ones();
        if only_here <= 1 && only_there <= 1 && one_length.abs_diff(other_length) <= 1 {
            return true;
        }
        let matches = (one_length - only_here).min(other_length - only_there) as f32;
        if matches == 0.0 {
            return false;
        }
        let jaro = (matches / one_length as f32 + matches / other_length as f32 + 1.0) / 3.0;
        let same_first = self.0 >> 48 == other.0 >> 48;
        let bound = if same_first {
            jaro + 0.4 * (1.0 - jaro)
        } else {
            jaro
        };
        bound + 1e-4 >= similarity
    }
}
