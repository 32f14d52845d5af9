//! Search that forgives: words of records, words of queries, and how well one answers the other.

use std::sync::LazyLock;

use levenshtein_automata::{DFA, LevenshteinAutomatonBuilder};
use veridem_matchers::NormalisedRecord;
use veridem_matchers::normalise::{compact, fold};

/// Digits from which on a query without letters is a number, spaces and marks in it mean nothing.
const MIN_NUMBER_DIGITS: usize = 4;
/// Letters that have to be typed before what begins with them is found: among parts of names, and among e-mail addresses and numbers.
const MIN_PREFIX: usize = 2;
const MIN_CODE: usize = 4;
/// Letters from which on an e-mail address or a number is found misspelt.
const MIN_MISSPELT_CODE: usize = 6;
/// Letters up to which typing errors are forgiven.
const MAX_FORGIVING: usize = 40;
/// Words of a query that are looked for.
const MAX_WORDS: usize = 8;
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
    pub(super) fn relevance(&self, query: &[Wanted]) -> f64 {
        let mut sum = 0.0;
        for wanted in query {
            let names = self.names.iter();
            let names = names.map(|name| wanted.similarity_to_name(name));
            let codes = self.codes.iter();
            let codes = codes.map(|code| wanted.similarity_to_code(code));
            let best = names.chain(codes).fold(0.0, f64::max);
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

/// Typing errors that a word of this length forgives; a longer one than a name is forgives none, so that nothing costs much.
fn forgiven_edits(word: &str) -> usize {
    match word.len() {
        4..=7 => 1,
        8..=MAX_FORGIVING => 2,
        _ => 0,
    }
}

/// Making one takes longer than a search.
static BUILDERS: LazyLock<[LevenshteinAutomatonBuilder; 2]> =
    LazyLock::new(|| [1, 2].map(|edits| LevenshteinAutomatonBuilder::new(edits, true)));

/// Makes ready what the first search would wait for.
pub fn prepare_search() {
    LazyLock::force(&BUILDERS);
}

/// A word of a query, ready to be compared with many.
pub(super) struct Wanted {
    word: String,
    /// Take words that differ by typing errors, and those that only begin like that.
    forgiving: Option<(Forgiving, Forgiving)>,
}

impl Wanted {
    /// The words of a query, each once, the first few.
    pub(super) fn all(query: &[String]) -> Vec<Self> {
        let mut words: Vec<Self> = Vec::new();
        for word in query {
            if words.len() < MAX_WORDS && words.iter().all(|known| known.word != *word) {
                words.push(Self::new(word));
            }
        }
        words
    }

    fn new(word: &str) -> Self {
        let builder = forgiven_edits(word).checked_sub(1).map(|at| &BUILDERS[at]);
        let automata = |builder: &LevenshteinAutomatonBuilder| {
            let (whole, beginning) = (builder.build_dfa(word), builder.build_prefix_dfa(word));
            (Forgiving(whole), Forgiving(beginning))
        };
        Self {
            word: word.to_owned(),
            forgiving: builder.map(automata),
        }
    }

    /// The beginning that is looked for among parts of names, and what takes those that are like it.
    pub(super) fn among_names(&self) -> (Option<&str>, Option<&Forgiving>) {
        let beginning = (self.word.len() >= MIN_PREFIX).then_some(self.word.as_str());
        let forgiving = self.forgiving.as_ref();
        (beginning, forgiving.map(|(_, beginning)| beginning))
    }

    /// The same among e-mail addresses, phone numbers and identifiers: nearly all are different, and many begin nearly alike.
    pub(super) fn among_codes(&self) -> (Option<&str>, Option<&Forgiving>) {
        let beginning = (self.word.len() >= MIN_CODE).then_some(self.word.as_str());
        let forgiving = self.forgiving.as_ref();
        let forgiving = forgiving.filter(|_| self.word.len() >= MIN_MISSPELT_CODE);
        (beginning, forgiving.map(|(whole, _)| whole))
    }

    /// How well a part of a name answers it, 0 to 1: the same, one that begins with it, one that differs by typing errors, one that
    /// begins with it but for typing errors.
    pub(super) fn similarity_to_name(&self, word: &str) -> f64 {
        if let Some(similarity) = self.exactly(word, MIN_PREFIX) {
            return similarity;
        }
        let Some((whole, beginning)) = &self.forgiving else {
            return 0.0;
        };
        let nearly = |(edits, most)| most * self.likeness(edits);
        let whole = whole.edits(word).map(|edits| (edits, MISSPELT));
        let found = whole.or_else(|| Some((beginning.edits(word)?, NEARLY_PREFIX)));
        found.map_or(0.0, nearly)
    }

    /// How well an e-mail address, a phone number or an identifier answers it; none that only begins nearly like it.
    pub(super) fn similarity_to_code(&self, code: &str) -> f64 {
        if let Some(similarity) = self.exactly(code, MIN_CODE) {
            return similarity;
        }
        let (_, forgiving) = self.among_codes();
        let edits = forgiving.and_then(|whole| whole.edits(code));
        edits.map_or(0.0, |edits| MISSPELT * self.likeness(edits))
    }

    fn exactly(&self, word: &str, min_prefix: usize) -> Option<f64> {
        if self.word == word {
            return Some(1.0);
        }
        let is_beginning = self.word.len() >= min_prefix && word.starts_with(&self.word);
        // The less is left to type, the better.
        let left = || 1.0 - self.word.len() as f64 / word.len() as f64;
        is_beginning.then(|| PREFIX - left() / 10.0)
    }

    fn likeness(&self, edits: u8) -> f64 {
        1.0 - f64::from(edits) / (self.word.len() + 1) as f64
    }
}

/// Takes words that differ from one by few typing errors (a letter more, less, another, or two that changed places): walks a dictionary.
pub(super) struct Forgiving(DFA);

impl Forgiving {
    /// The typing errors in a word, where they are few enough.
    fn edits(&self, word: &str) -> Option<u8> {
        let mut state = self.0.initial_state();
        for byte in word.bytes() {
            state = self.0.transition(state, byte);
            if state == levenshtein_automata::SINK_STATE {
                return None;
            }
        }
        match self.0.distance(state) {
            levenshtein_automata::Distance::Exact(edits) => Some(edits),
            levenshtein_automata::Distance::AtLeast(_) => None,
        }
    }
}

impl tantivy_fst::Automaton for &Forgiving {
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
        let johnso = Wanted::new("johnso");
        let of = |word| johnso.similarity_to_name(word);
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
        let short = Wanted::new("jo");
        assert_eq!(
            short.similarity_to_name("jp"),
            0.0,
            "short words forgive nothing"
        );
    }

    #[test]
    fn numbers_are_found_by_their_beginnings_and_misspelt() {
        let number = "2127365001";
        for length in 4..=10 {
            let wanted = Wanted::new(&number[..length]);
            assert!(wanted.similarity_to_code(number) > 0.8, "{length}");
        }
        assert!(Wanted::new("2127365010").similarity_to_code(number) > 0.0);
        assert_eq!(Wanted::new("2128365").similarity_to_code(number), 0.0);
    }

    #[test]
    fn a_query_is_bounded() {
        let words: Vec<String> = (0..60).map(|word| format!("word{}", word % 30)).collect();
        assert_eq!(Wanted::all(&words).len(), MAX_WORDS);
        let long = "x".repeat(1_000);
        let wanted = Wanted::new(&long);
        assert!(wanted.forgiving.is_none());
        assert_eq!(wanted.similarity_to_name(&long), 1.0);
    }

    /// Against the textbook's table (optimal string alignment: Boytsov, Indexing methods for approximate dictionary searching, 2011,
    /// section 2.1).
    #[test]
    fn edits_are_those_of_the_textbook() {
        let words = [
            "johnson", "jonhson", "jhon", "johnny", "smith", "smyth", "smithers", "mith", "johnsen",
        ];
        for one in words {
            let Some((whole, _)) = Wanted::new(one).forgiving else {
                continue;
            };
            for other in words {
                let edits = strsim::osa_distance(one, other);
                let forgiven = (edits <= forgiven_edits(one)).then_some(edits as u8);
                assert_eq!(whole.edits(other), forgiven, "{one} {other}");
            }
        }
    }
}
