//! Values that should be one person's.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{BlockingKey, BlockingRules, Element, combine, key_of};
use crate::normalise::{NormalisedValue, Region};
use crate::record::Attribute;

/// A value that should be one person's: an e-mail address, a phone number or an identifier. Holds a hash of its normal form and nothing
/// readable; may be stored, the hash is the same on every machine and under every model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PersonalValue {
    kind: Kind,
    hash: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Kind {
    Email,
    Phone,
    Identifier,
}

impl PersonalValue {
    /// `None` for a value of another kind, a placeholder or a malformed one.
    pub fn new(attribute: &Attribute, region: Region) -> Option<Self> {
        let (kind, hash) = match NormalisedValue::new(attribute, region)? {
            NormalisedValue::Email(email) => (Kind::Email, hash_of(&email.address)),
            NormalisedValue::Phone(phone) => (Kind::Phone, hash_of(&phone)),
            NormalisedValue::Identifier(identifier) => {
                let named = Element::named_value(&identifier.scheme, &identifier.value);
                (Kind::Identifier, hash_of(&named))
            }
            _ => return None,
        };
        Some(Self { kind, hash })
    }

    fn element(self) -> Element {
        match self.kind {
            Kind::Email => Element::Email,
            Kind::Phone => Element::Phone,
            Kind::Identifier => Element::Identifier,
        }
    }
}

impl BlockingRules {
    /// The keys that name a value and nothing else, by rules that tell shared values; none where there is no such rule.
    pub fn keys_of_value(&self, value: PersonalValue) -> impl Iterator<Item = BlockingKey> {
        let rules = self.shared_values();
        let rules = rules.filter(move |(_, element)| *element == value.element());
        rules.map(move |(rule, _)| key_of(rule, combine(0, value.hash)))
    }
}

fn hash_of(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}
