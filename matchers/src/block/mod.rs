//! Blocking: which records are worth comparing. A rule yields keys from one record alone; two records that share a key
//! are a candidate pair. A key that more records hold than its rule allows is *inactive*: it brings no pairs, and where the
//! rule names a value that should be one person's, the value is *shared* and no evidence either.

mod candidates;
mod element;
mod phonetic;

pub use candidates::{Candidates, RuleStatistics};
pub use element::Element;
pub use phonetic::soundex;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::compare::Comparison;
use crate::normalise::{NormalisedIdentifier, NormalisedRecord};

/// A hash of the values that a blocking rule yields from a record, the rule's index in the upper six bits, so that keys
/// sort by rule. Carries no readable value.
pub type BlockingKey = u64;

const HASH_BITS: u32 = 58;
/// Rules that a model may have.
pub const MAX_RULES: usize = 1 << (64 - HASH_BITS);

/// The index of the rule that yielded a key.
pub fn rule_of(key: BlockingKey) -> usize {
    (key >> HASH_BITS) as usize
}

/// Keys that one rule may yield for one record; a record with more values than that is not a customer.
const MAX_KEYS_PER_RULE: usize = 64;

/// A symmetric test that makes two records worth comparing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockingRule {
    /// Name in explanations and reports.
    pub name: String,
    /// What must agree, all of it.
    pub key: Vec<Element>,
    /// A key held by more source records than this is inactive.
    pub max_records: usize,
    /// Whether the key names a value that should be one person's: over `max_records` it is a shared value.
    #[serde(default)]
    pub shared_value: bool,
}

impl BlockingRule {
    fn push_keys(&self, rule_index: usize, record: &NormalisedRecord, keys: &mut Vec<BlockingKey>) {
        let mut hashers = vec![Xxh3::new()];
        for element in &self.key {
            let mut values = element.values(record);
            values.sort_unstable();
            values.dedup();
            hashers = hashers
                .iter()
                .flat_map(|hasher| values.iter().map(move |value| extended(hasher, value)))
                .take(MAX_KEYS_PER_RULE)
                .collect();
        }
        keys.extend(hashers.iter().map(|hasher| key_of(rule_index, hasher)));
    }

    /// The comparisons that agree in every pair that this rule brings: training on its pairs says nothing of them.
    pub fn fixes(&self, comparison: &Comparison) -> bool {
        self.key.iter().any(|element| element.fixes(comparison))
    }
}

fn key_of(rule_index: usize, hasher: &Xxh3) -> BlockingKey {
    (rule_index as u64) << HASH_BITS | hasher.digest() >> (64 - HASH_BITS)
}

fn extended(hasher: &Xxh3, value: &str) -> Xxh3 {
    let mut hasher = hasher.clone();
    hasher.update(value.as_bytes());
    hasher.update(&[0xff]);
    hasher
}

/// All blocking rules of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlockingRules(pub Vec<BlockingRule>);

impl BlockingRules {
    /// Every key of a record, sorted, without duplicates.
    pub fn keys(&self, record: &NormalisedRecord) -> Vec<BlockingKey> {
        let mut keys = Vec::new();
        for (rule_index, rule) in self.0.iter().enumerate() {
            rule.push_keys(rule_index, record, &mut keys);
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// The rule that yielded a key.
    pub fn rule(&self, key: BlockingKey) -> &BlockingRule {
        &self.0[rule_of(key)]
    }

    /// The names of the rules that yielded sorted keys, each once.
    pub fn names_of(&self, keys: impl IntoIterator<Item = BlockingKey>) -> Vec<String> {
        let mut names: Vec<String> = keys
            .into_iter()
            .map(|key| self.rule(key).name.clone())
            .collect();
        names.dedup();
        names
    }

    /// Takes the shared values out of a record: what too many people use is evidence of none of them.
    pub fn drop_shared(
        &self,
        record: &mut NormalisedRecord,
        is_inactive: impl Fn(BlockingKey) -> bool,
    ) {
        for (rule_index, rule) in self
            .0
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.shared_value)
        {
            let [element] = rule.key.as_slice() else {
                continue;
            };
            let is_shared =
                |value: &str| is_inactive(key_of(rule_index, &extended(&Xxh3::new(), value)));
            match element {
                Element::Email => record.emails.retain(|email| !is_shared(&email.address)),
                Element::Phone => record.phones.retain(|phone| !is_shared(phone)),
                Element::Identifier => record
                    .identifiers
                    .retain(|identifier| !is_shared(&Element::identifier_value(identifier))),
                _ => {}
            }
        }
    }
}

impl Element {
    fn identifier_value(identifier: &NormalisedIdentifier) -> String {
        format!("{}\u{1f}{}", identifier.scheme, identifier.value)
    }
}
