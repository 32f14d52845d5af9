//! A simulated population with known errors and known truth; everything is drawn from a seed.

use veridem_matchers::Table;
use veridem_matchers::block::{BlockingRules, Candidates};
use veridem_matchers::compare::Comparison;
use veridem_matchers::normalise::NormalisedRecord;
use veridem_matchers::train::{TrainingOptions, train};
use veridem_matchers::{Attribute, Model, Pack};

use crate::fixtures::{address, birth_date, email, name, normalised, phone};

/// A seeded source of chances (splitmix64).
pub struct Chance(pub u64);

impl Chance {
    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    /// Whether an event of this probability happens.
    pub fn happens(&mut self, probability: f64) -> bool {
        (self.below(1 << 30) as f64) < probability * f64::from(1 << 30)
    }

    /// An index, drawn by weights.
    pub fn by_weight(&mut self, weights: &[f64]) -> usize {
        let mut rest =
            self.below(1 << 30) as f64 / f64::from(1 << 30) * weights.iter().sum::<f64>();
        for (index, weight) in weights.iter().enumerate() {
            rest -= weight;
            if rest < 0.0 {
                return index;
            }
        }
        weights.len() - 1
    }

    fn word(&mut self, syllables: usize) -> String {
        const SYLLABLES: [&str; 24] = [
            "ba", "cor", "den", "fi", "gul", "ham", "jo", "ker", "lin", "mo", "nap", "ost", "pil",
            "qua", "ru", "sten", "tam", "ulf", "vic", "wen", "xor", "yal", "zi", "dro",
        ];
        (0..syllables)
            .map(|_| SYLLABLES[self.below(SYLLABLES.len())])
            .collect()
    }
}

/// How often a duplicate differs from its person, by attribute.
pub const GIVEN_NAME_ERRORS: f64 = 0.10;
/// See [`GIVEN_NAME_ERRORS`].
pub const FAMILY_NAME_ERRORS: f64 = 0.06;
/// See [`GIVEN_NAME_ERRORS`].
pub const BIRTH_DATE_ERRORS: f64 = 0.04;
/// See [`GIVEN_NAME_ERRORS`].
pub const EMAIL_ERRORS: f64 = 0.20;
/// See [`GIVEN_NAME_ERRORS`].
pub const PHONE_ERRORS: f64 = 0.25;
/// See [`GIVEN_NAME_ERRORS`].
pub const ADDRESS_ERRORS: f64 = 0.15;

/// Records, and for each the person it is about.
pub struct Population {
    /// The records.
    pub records: Vec<NormalisedRecord>,
    /// The person of each.
    pub persons: Vec<usize>,
}

struct Person([Attribute; 6]);

fn person(chance: &mut Chance, given_names: &[String], family_names: &[String]) -> Person {
    let (given, family) = (
        &given_names[chance.below(given_names.len())],
        &family_names[chance.below(family_names.len())],
    );
    let street = format!("{} {} street", 1 + chance.below(300), chance.word(3));
    Person([
        name(given, ""),
        name("", family),
        birth_date(&format!(
            "{}-{:02}-{:02}",
            1940 + chance.below(65),
            1 + chance.below(12),
            2 + chance.below(27)
        )),
        email(&format!("{}@{}.org", chance.word(4), chance.word(2))),
        phone(&format!(
            "{}7{:06}",
            ["212", "646", "917", "415"][chance.below(4)],
            chance.below(1_000_000)
        )),
        address(
            &street,
            &chance.word(2),
            &format!("{:05}", 20_000 + chance.below(60) * 37),
        ),
    ])
}

fn name_of(given: &Attribute, family: &Attribute) -> Attribute {
    match (given, family) {
        (Attribute::Name(given), Attribute::Name(family)) => name(&given.given, &family.family),
        _ => unreachable!("a person has a given and a family name"),
    }
}

impl Population {
    /// `persons` persons, each with one or two records; in a second record each attribute is another person's with its error
    /// rate, and missing in a tenth.
    pub fn new(seed: u64, persons: usize, with_second_record: f64) -> Self {
        let chance = &mut Chance(seed);
        let given_names: Vec<String> = (0..120).map(|_| chance.word(2)).collect();
        let family_names: Vec<String> = (0..400).map(|_| chance.word(3)).collect();
        let errors = [
            GIVEN_NAME_ERRORS,
            FAMILY_NAME_ERRORS,
            BIRTH_DATE_ERRORS,
            EMAIL_ERRORS,
            PHONE_ERRORS,
            ADDRESS_ERRORS,
        ];
        let mut population = Self {
            records: Vec::new(),
            persons: Vec::new(),
        };
        for index in 0..persons {
            let Person(truth) = person(chance, &given_names, &family_names);
            let copies = if chance.happens(with_second_record) {
                2
            } else {
                1
            };
            for copy in 0..copies {
                let Person(other) = person(chance, &given_names, &family_names);
                let stated: Vec<Attribute> = (0..truth.len())
                    .map(|at| {
                        if copy > 0 && chance.happens(errors[at]) {
                            &other[at]
                        } else {
                            &truth[at]
                        }
                    })
                    .cloned()
                    .collect();
                let mut attributes = vec![name_of(&stated[0], &stated[1])];
                attributes.extend(stated.into_iter().skip(2).filter(|_| !chance.happens(0.1)));
                population.records.push(normalised(&attributes));
                population.persons.push(index);
            }
        }
        population
    }

    /// All pairs of records of one person.
    pub fn matches(&self) -> Vec<(usize, usize)> {
        (1..self.persons.len())
            .filter(|row| self.persons[row - 1] == self.persons[*row])
            .map(|row| (row - 1, row))
            .collect()
    }

    /// A model trained without labels, under the blocking of the retail pack.
    pub fn train(&self, may_match: impl Fn(usize, usize) -> bool + Sync) -> Model {
        let rules: BlockingRules = Pack::retail().blocking;
        let table = Table::new(&self.records);
        let candidates = Candidates::new(&table, &rules);
        let options = TrainingOptions {
            seed: 7,
            random_pairs: 60_000,
            pairs_per_rule: 4_000,
            candidate_pairs: 100_000,
        };
        train(&table, &candidates, &rules, &options, may_match)
    }

    /// The share of each level among pairs where both sides are present.
    pub fn level_shares(&self, comparison: &Comparison, pairs: &[(usize, usize)]) -> Vec<f64> {
        let mut counts = vec![0.0; comparison.levels().len()];
        for (left, right) in pairs {
            if let Some(agreement) = comparison.compare(&self.records[*left], &self.records[*right])
            {
                counts[usize::from(agreement.level)] += 1.0;
            }
        }
        let total: f64 = counts.iter().sum();
        counts.iter().map(|count| count / total.max(1.0)).collect()
    }
}
