//! Person names: titles, suffixes, particles, initials, digits misread for letters.

use std::borrow::Cow;

use super::Text;
use serde::{Deserialize, Serialize};

use super::text::{fold, is_placeholder};
use crate::record::PersonName;

const TITLES: &[&str] = &[
    "capt",
    "dame",
    "dr",
    "frau",
    "herr",
    "hon",
    "lady",
    "lord",
    "madam",
    "major",
    "master",
    "miss",
    "mme",
    "mr",
    "mrs",
    "ms",
    "mx",
    "pastor",
    "prof",
    "professor",
    "rev",
    "reverend",
    "sir",
    "sra",
    "sr dr",
    "srta",
];
const GENERATIONS: &[(&str, &str)] = &[
    ("jr", "jr"),
    ("jnr", "jr"),
    ("junior", "jr"),
    ("sr", "sr"),
    ("snr", "sr"),
    ("senior", "sr"),
    ("ii", "ii"),
    ("2nd", "ii"),
    ("iii", "iii"),
    ("3rd", "iii"),
    ("iv", "iv"),
    ("4th", "iv"),
];
const HONOURS: &[&str] = &[
    "bt", "bart", "cbe", "cpa", "dds", "esq", "frs", "kbe", "kcb", "mba", "md", "mp", "obe", "phd",
    "qc", "rn",
];
const PARTICLES: &[&str] = &[
    "al", "ap", "av", "ben", "bin", "da", "dal", "de", "del", "della", "den", "der", "di", "dos",
    "du", "el", "fitz", "ibn", "la", "le", "mac", "mc", "o", "saint", "san", "st", "ten", "ter",
    "van", "vander", "von", "zu", "zur",
];
/// What is typed at a till in place of a customer's name.
const PLACEHOLDER_NAMES: &[&str] = &[
    "anonymous",
    "asdf",
    "cash",
    "cash customer",
    "customer",
    "do not use",
    "guest",
    "john doe",
    "jane doe",
    "no name",
    "noname",
    "store",
    "valued",
    "valued customer",
    "walk in",
    "walkin",
];

/// Words that stand for both names where a form wants two: `Customer Customer`.
const PLACEHOLDER_WORDS: &[&str] = &[
    "anonymous",
    "cash",
    "customer",
    "guest",
    "none",
    "store",
    "test",
    "unknown",
];

/// A name taken apart; every part folded to lower-case ASCII, empty where unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NormalisedName {
    /// First given name, or its initial.
    pub given: Text,
    /// Further given names, separated by a space.
    pub middle: Text,
    /// Family name, particles and parts of a compound separated by a space.
    pub family: Text,
    /// Generation: `jr`, `sr`, `ii`, `iii`, `iv`.
    pub generation: Text,
}

impl NormalisedName {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.given.is_empty() && self.family.is_empty()
    }

    /// The parts, wherever they are kept.
    pub fn view(&self) -> NameView<'_> {
        NameView {
            given: &self.given,
            middle: &self.middle,
            family: &self.family,
            generation: &self.generation,
        }
    }
}

/// The parts of a [`NormalisedName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameView<'a> {
    /// First given name, or its initial.
    pub given: &'a str,
    /// Further given names.
    pub middle: &'a str,
    /// Family name.
    pub family: &'a str,
    /// Generation.
    pub generation: &'a str,
}

/// Takes a written name apart. Parts that the source gives win over what can be read from the full name.
///
/// ```
/// use veridem_matchers::{PersonName, normalise::normalise_name};
/// let name = PersonName { full: "Dr. José van der Berg, Jr.".into(), ..Default::default() };
/// let normal = normalise_name(&name);
/// assert_eq!((normal.given.as_str(), normal.family.as_str(), normal.generation.as_str()), ("jose", "van der berg", "jr"));
/// ```
pub fn normalise_name(name: &PersonName) -> NormalisedName {
    let mut generation = "";
    let [given_text, family_text, middle_text, suffix_text] =
        [&name.given, &name.family, &name.middle, &name.suffix].map(|part| fold(part));
    let mut given = words(&given_text, &mut generation);
    let mut family = words(&family_text, &mut generation);
    let mut middle = words(&middle_text, &mut generation);
    words(&suffix_text, &mut generation);
    let full_texts = if given.is_empty() || family.is_empty() {
        fold_full(&name.full)
    } else {
        Default::default()
    };
    if given.is_empty() || family.is_empty() {
        let (full_given, full_family) = split_full(&full_texts, &mut generation);
        if given.is_empty() && family.is_empty() {
            (given, family) = (full_given, full_family);
        } else if given.is_empty() {
            given = without(full_given, &family);
        } else {
            family = without(full_family, &given);
        }
    }
    // Only the whole name is judged: a Johnny Cash and a Christopher Guest have a surname.
    let whole = || given.iter().chain(&middle).chain(&family);
    let is_whole = |placeholder: &&str| whole().eq(placeholder.split(' '));
    let is_one_word = |word: &&str| given.len() == 1 && given[0] == *word;
    let repeated = given == family && PLACEHOLDER_WORDS.iter().any(is_one_word);
    if repeated || PLACEHOLDER_NAMES.iter().any(is_whole) {
        return NormalisedName::default();
    }
    if middle.is_empty() && given.len() > 1 {
        middle = given.split_off(1);
    } else {
        given.truncate(1);
    }
    NormalisedName {
        given: given.join(" ").into(),
        middle: middle.join(" ").into(),
        family: family.join(" ").into(),
        generation: generation.into(),
    }
}

fn without<'a>(words: Vec<Word<'a>>, taken: &[Word<'_>]) -> Vec<Word<'a>> {
    words
        .into_iter()
        .filter(|word| !taken.contains(word))
        .collect()
}

/// A word of a folded text, as it stands there unless digits had to be read back.
type Word<'a> = Cow<'a, str>;

/// Words of a folded part without titles, honours and placeholders; a generation goes where it belongs.
fn words<'a>(folded: &'a str, generation: &mut &'static str) -> Vec<Word<'a>> {
    if is_placeholder(folded) && folded.len() != 1 {
        return Vec::new();
    }
    let mut words = Vec::new();
    for word in folded.split(' ').filter(|word| !word.is_empty()) {
        if let Some((_, known)) = GENERATIONS.iter().find(|(written, _)| *written == word) {
            *generation = known;
        } else if !TITLES.contains(&word) && !HONOURS.contains(&word) {
            words.extend(letters(word));
        }
    }
    words
}

/// A word as letters: digits that scanners and typing put for letters are read back, a number alone is no name.
fn letters(word: &str) -> Option<Word<'_>> {
    if !word.bytes().any(|byte| byte.is_ascii_digit()) {
        return Some(word.into());
    }
    if !word.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        return None;
    }
    let read_back = |letter| match letter {
        '0' => 'o',
        '1' => 'l',
        '3' => 'e',
        '4' => 'a',
        '5' => 's',
        '7' => 't',
        '8' => 'b',
        other => other,
    };
    Some(word.chars().map(read_back).collect::<String>().into())
}

/// What stands before and after the comma of a full name, folded; all of it before where there is no comma.
fn fold_full(full: &str) -> (String, Option<String>) {
    match full.split_once(',') {
        Some((before, after)) => (fold(before), Some(fold(after))),
        None => (fold(full), None),
    }
}

/// Given and family names of a full name: `Family, Given` or `Given Middle particle Family`.
fn split_full<'a>(
    (before, after): &'a (String, Option<String>),
    generation: &mut &'static str,
) -> (Vec<Word<'a>>, Vec<Word<'a>>) {
    let before = words(before, generation);
    if let Some(after) = after {
        let given = words(after, generation);
        if !given.is_empty() {
            return (given, before);
        }
    }
    split_words(before)
}

fn split_words(mut words: Vec<Word<'_>>) -> (Vec<Word<'_>>, Vec<Word<'_>>) {
    if words.len() < 2 {
        return (words, Vec::new());
    }
    let mut start = words.len() - 1;
    while start > 1 && PARTICLES.contains(&words[start - 1].as_ref()) {
        start -= 1;
    }
    let family = words.split_off(start);
    (words, family)
}
