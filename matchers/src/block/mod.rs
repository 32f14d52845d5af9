//! Blocking: which records are worth comparing. A rule yields keys from one record alone; two records that share a key
//! are a candidate pair. A key that more records hold than its rule allows is *inactive*: it brings no pairs, and where the
//! rule names a value that should be one person's, the value is *shared* and no evidence either.

mod candidates;
mod element;
mod personal;
mod phonetic;
mod recall;

pub use candidates::{Candidates, RuleStatistics};
pub(crate) use element::Kind;
pub use element::{Element, Value};
pub use personal::PersonalValue;
pub use phonetic::soundex;
pub use recall::BlockingRecall;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::compare::Comparison;
use crate::normalise::NormalisedRecord;

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
    /// Pushes every key of a record, whose values of an element come as hashes.
    fn push_keys(
        &self,
        rule_index: usize,
        hashes_of: &mut dyn FnMut(Element, &mut Vec<u64>),
        scratch: &mut KeyScratch,
        push: &mut dyn FnMut(BlockingKey),
    ) {
        let KeyScratch {
            values,
            partial,
            next,
        } = scratch;
        partial.clear();
        partial.push(0);
        for element in &self.key {
            values.clear();
            hashes_of(*element, values);
            values.sort_unstable();
            values.dedup();
            next.clear();
            let combined = partial
                .iter()
                .flat_map(|before| values.iter().map(move |value| combine(*before, *value)));
            next.extend(combined.take(MAX_KEYS_PER_RULE));
            std::mem::swap(partial, next);
        }
        partial
            .iter()
            .for_each(|hash| push(key_of(rule_index, *hash)));
    }

    /// The comparisons that agree in every pair that this rule brings: training on its pairs says nothing of them.
    pub fn fixes(&self, comparison: &Comparison) -> bool {
        self.key.iter().any(|element| element.fixes(comparison))
    }
}

/// What [`BlockingRule::push_keys`] needs room for, kept between records.
#[derive(Default)]
struct KeyScratch {
    values: Vec<u64>,
    partial: Vec<u64>,
    next: Vec<u64>,
}

fn key_of(rule_index: usize, hash: u64) -> BlockingKey {
    (rule_index as u64) << HASH_BITS | hash >> (64 - HASH_BITS)
}

/// Hashes of values one after the other, so that parts do not run together (the finaliser of splitmix64).
fn combine(before: u64, value: u64) -> u64 {
    let mut mixed = before.rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ value;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// All blocking rules of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlockingRules(pub Vec<BlockingRule>);

impl BlockingRules {
    /// Every key of a record, sorted, without duplicates.
    pub fn keys(&self, record: &NormalisedRecord) -> Vec<BlockingKey> {
        let mut keys = Vec::new();
        let mut scratch = KeyScratch::default();
        let mut hashes_of = |element: Element, hashes: &mut Vec<u64>| {
            for value in record.block_values() {
                element.push_values(value, &mut |text| hashes.push(xxh3_64(text.as_bytes())));
            }
        };
        for (rule_index, rule) in self.0.iter().enumerate() {
            rule.push_keys(rule_index, &mut hashes_of, &mut scratch, &mut |key| {
                keys.push(key);
            });
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
        for (rule_index, element) in self.shared_values() {
            let is_shared = |value: &str| is_inactive(single_key(rule_index, value));
            match element {
                Element::Email => record.emails.retain(|email| !is_shared(&email.address)),
                Element::Phone => record.phones.retain(|phone| !is_shared(phone)),
                Element::Identifier => record.identifiers.retain(|identifier| {
                    !is_shared(&Element::named_value(&identifier.scheme, &identifier.value))
                }),
                _ => {}
            }
        }
    }

    /// A record without its shared values; `None` where it holds none, which its keys tell.
    pub fn without_shared(
        &self,
        record: &NormalisedRecord,
        keys: &[BlockingKey],
        is_inactive: impl Fn(BlockingKey) -> bool,
    ) -> Option<NormalisedRecord> {
        let mut keys = keys.iter();
        keys.any(|key| self.rule(*key).shared_value && is_inactive(*key))
            .then(|| {
                let mut record = record.clone();
                self.drop_shared(&mut record, is_inactive);
                record
            })
    }

    /// The rules whose keys name a value that should be one person's, with the element that is the whole key.
    pub(crate) fn shared_values(&self) -> impl Iterator<Item = (usize, Element)> {
        let rules = self.0.iter().enumerate();
        rules.filter_map(|(index, rule)| match rule.key.as_slice() {
            [element] if rule.shared_value => Some((index, *element)),
            _ => None,
        })
    }
}

/// The key of a rule that is one value alone.
pub(crate) fn single_key(rule_index: usize, value: &str) -> BlockingKey {
    key_of(rule_index, combine(0, xxh3_64(value.as_bytes())))
}
