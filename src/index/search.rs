//! Search that forgives: words of records, words of queries, and how well one answers the other.

use std::sync::LazyLock;

use levenshtein_automata::{DFA, LevenshteinAutomatonBuilder};
use veridem_matchers::NormalisedRecord;
use veridem_matchers::normalise::{compact, fold};

/// Digits from which on a query without letters is a number, spaces and marks in it mean nothing.
const MIN_NUMBER_DIGITS: usize = 4;
/// Letters that have to be typed before what begins with them is found.
pub(super) const MIN_PREFIX: usize = 2;
/// What a word that begins with what was typed is worth at most, one that differs by typing errors, and one that begins like that.
const PREFIX: f64 = 0.9;
const MISSPELT: f64 = 0.85;
const NEARLY_PREFIX: f64 = 0.7;

/// The words by which a record is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchWords {
    /// Parts of names: few different ones.
    pub names: Vec<String>,
    /// E-mail addresses, phone numbers, identifiers: nearly all different.
    pub codes: Vec<String>,
}

impl SearchWords {
    /// Those of a record, in Latin letters, whatever script it is in.
    pub(super) fn of(record: &NormalisedRecord) -> Self {
        let names = record
            .names
            .iter()
            .flat_map(|name| [&name.given, &name.middle, &name.family])
            .flat_map(|part| part.split(' '))
            .filter(|word| !word.is_empty())
            .map(str::to_owned);
        let mut codes = Vec::new();
        for email in &record.emails {
            codes.push(email.address.to_string());
            // As people type it who do not remember its marks.
            let local = email.address.split('@').next().unwrap_or_default();
            codes.push(compact(local).to_ascii_lowercase());
        }
        for phone in &record.phones {
            let digits = phone.trim_start_matches('+');
            // With country code, without a country code of one digit, without area code: as people type it.
            codes.extend(
                [digits.len(), 10, 7]
                    .iter()
                    .filter_map(|length| digits.get(digits.len().checked_sub(*length)?..))
                    .map(str::to_owned),
            );
        }
        let identifiers = record.identifiers.iter();
        codes.extend(identifiers.map(|identifier| identifier.value.to_ascii_lowercase().into()));
        Self {
            names: distinct(names.collect()),
            codes: distinct(codes),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.codes.is_empty()
    }

    /// How well they answer a query: 0 unless each word of it finds a partner, else the mean similarity, 0 to 1.
    pub(super) fn relevance(&self, query: &[String]) -> f64 {
        let mut sum = 0.0;
        for wanted in query {
            let words = self.names.iter().chain(&self.codes);
            let best = words
                .map(|word| similarity(wanted, word))
                .fold(0.0, f64::max);
            if best == 0.0 {
                return 0.0;
            }
            sum += best;
        }
        sum / query.len().max(1) as f64
    }
}

fn distinct(mut words: Vec<String>) -> Vec<String> {
    words.retain(|word| !word.is_empty());
    words.sort_unstable();
    words.dedup();
    words
}

/// The words of a query as records are indexed: e-mail addresses whole, numbers as digits, identifiers without marks, names folded.
pub fn query_words(query: &str) -> Vec<String> {
    if let Some(digits) = query_number(query) {
        return vec![digits];
    }
    let mut words = Vec::new();
    for part in query.split_whitespace() {
        if part.contains('@') {
            words.push(part.to_lowercase());
        } else if part.bytes().any(|byte| byte.is_ascii_digit()) {
            words.push(compact(part).to_ascii_lowercase());
        } else {
            words.extend(fold(part).split(' ').map(str::to_owned));
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The digits of a query that is nothing but a number: of a phone, or of anything else.
pub fn query_number(query: &str) -> Option<String> {
    let digits: String = query.chars().filter(char::is_ascii_digit).collect();
    let is_number = digits.len() >= MIN_NUMBER_DIGITS && !query.chars().any(char::is_alphabetic);
    is_number.then_some(digits)
}

/// Typing errors that a word of this length forgives.
fn forgiven_edits(word: &str) -> usize {
    match word.len() {
        0..=3 => 0,
        4..=7 => 1,
        _ => 2,
    }
}

/// How well a word answers one that was typed, 0 to 1: the same, one that begins with it, one that differs by typing errors, one
/// that begins with it but for typing errors.
pub(super) fn similarity(wanted: &str, word: &str) -> f64 {
    if wanted == word {
        return 1.0;
    }
    if wanted.len() >= MIN_PREFIX && word.starts_with(wanted) {
        // The less is left to type, the better.
        return PREFIX - (1.0 - wanted.len() as f64 / word.len() as f64) / 10.0;
    }
    let forgiven = forgiven_edits(wanted);
    if forgiven == 0 {
        return 0.0;
    }
    let likeness = |edits: usize| 1.0 - edits as f64 / (wanted.len() + 1) as f64;
    let edits = strsim::damerau_levenshtein(wanted, word);
    if edits <= forgiven {
        return MISSPELT * likeness(edits);
    }
    let lengths = wanted.len().saturating_sub(forgiven)..=wanted.len() + forgiven;
    let beginnings = lengths.filter_map(|length| word.get(..length));
    let edits = beginnings
        .map(|beginning| strsim::damerau_levenshtein(wanted, beginning))
        .min();
    match edits {
        Some(edits) if edits <= forgiven => NEARLY_PREFIX * likeness(edits),
        _ => 0.0,
    }
}

/// Takes the words that [`similarity`] may be above 0 for, and few others: walks a dictionary of words.
pub(super) struct Forgiving(DFA);

impl Forgiving {
    /// `beginnings`: also words that only begin like it.
    pub(super) fn new(wanted: &str, beginnings: bool) -> Self {
        // Making one takes longer than a search.
        static BUILDERS: LazyLock<[LevenshteinAutomatonBuilder; 3]> =
            LazyLock::new(|| [0, 1, 2].map(|edits| LevenshteinAutomatonBuilder::new(edits, true)));
        let builder = &BUILDERS[forgiven_edits(wanted)];
        Self(match beginnings {
            true => builder.build_prefix_dfa(wanted),
            false => builder.build_dfa(wanted),
        })
    }
}

impl tantivy_fst::Automaton for Forgiving {
    type State = u32;

    fn start(&self) -> u32 {
        self.0.initial_state()
    }

    fn is_match(&self, state: &u32) -> bool {
        matches!(
            self.0.distance(*state),
            levenshtein_automata::Distance::Exact(_)
        )
    }

    fn can_match(&self, state: &u32) -> bool {
        *state != levenshtein_automata::SINK_STATE
    }

    fn accept(&self, state: &u32, byte: u8) -> u32 {
        self.0.transition(*state, byte)
    }
}

#[cfg(test)]
mod tests {
    use tantivy_fst::Automaton;

    use super::*;

    #[test]
    fn queries_become_words_as_they_are_indexed() {
        assert_eq!(query_words("Zoë O'Neil-Quist"), ["zoe", "oneil", "quist"]);
        assert_eq!(query_words("Иванов"), ["ivanov"]);
        assert_eq!(query_words("ZOE@Quist.org"), ["zoe@quist.org"]);
        assert_eq!(query_words("(212) 736-5001"), ["2127365001"]);
        assert_eq!(query_words("LOY-0012 smith"), ["loy0012", "smith"]);
        assert_eq!(query_words(" -- "), [""; 0]);
    }

    #[test]
    fn the_nearer_a_word_the_better_it_answers() {
        let of = |word| similarity("johnso", word);
        let falling = [
            "johnso",
            "johnson",
            "johnsonville",
            "johnsa",
            "jonhsonville",
        ];
        for pair in falling.windows(2) {
            assert!(of(pair[0]) > of(pair[1]), "{pair:?}");
        }
        assert!(of("jonhsonville") > 0.0);
        assert_eq!(of("jensen"), 0.0);
        assert_eq!(similarity("jo", "jp"), 0.0, "short words forgive nothing");
    }

    #[test]
    fn the_automaton_takes_whatever_is_similar() {
        let words = [
            "johnson", "jonhson", "jhon", "johnny", "smith", "smyth", "smithers", "mith",
        ];
        for wanted in ["john", "johnson", "smit", "smithers", "jo"] {
            let automaton = Forgiving::new(wanted, true);
            for word in words {
                let bytes = word.bytes();
                let end = bytes.fold(automaton.start(), |state, byte| {
                    automaton.accept(&state, byte)
                });
                let is_similar = similarity(wanted, word) > 0.0;
                assert!(!is_similar || automaton.is_match(&end), "{wanted} {word}");
            }
        }
    }
}
