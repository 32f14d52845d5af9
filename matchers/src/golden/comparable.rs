//! What of a stated value survivorship looks at.

use std::hash::{Hash, Hasher};
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Default;

use crate::normalise::{NormalisedRecord, NormalisedValue, Region};
use crate::record::Attribute;

/// Tells values apart, and how complete they are, in eight bytes: 48 bits of a hash over 16 bits of completeness. Two values
/// that normalise alike are equal; two others are so once in 2^48. May be stored: the hash is the same on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Comparable(NonZeroU64);

const COMPLETENESS_BITS: u32 = 16;

impl Comparable {
    /// `None` for a placeholder or malformed value, which never survives.
    pub fn new(attribute: &Attribute, region: Region) -> Option<Self> {
        NormalisedValue::new(attribute, region).map(|value| Self::of(&value))
    }

    fn of(value: &NormalisedValue) -> Self {
        let mut hasher = Xxh3Default::default();
        value.hash(&mut hasher);
        let completeness = completeness(value).clamp(1, usize::from(u16::MAX)) as u64;
        let packed = hasher.finish() << COMPLETENESS_BITS | completeness;
        Self(NonZeroU64::new(packed).expect("completeness is at least 1"))
    }

    /// Letters and digits of the value.
    pub(super) fn completeness(self) -> u16 {
        self.0.get() as u16
    }
}

impl NormalisedRecord {
    /// Normalises what a source states, as [`NormalisedRecord::new`] does, and pushes the [`Comparable`] of each attribute.
    pub fn with_comparables<'a>(
        attributes: impl Iterator<Item = &'a Attribute>,
        region: Region,
        comparables: &mut Vec<Option<Comparable>>,
    ) -> Self {
        Self::of_values(attributes.filter_map(|attribute| {
            let value = NormalisedValue::new(attribute, region);
            comparables.push(value.as_ref().map(Comparable::of));
            value
        }))
    }
}

fn completeness(value: &NormalisedValue) -> usize {
    let texts: &[&str] = match value {
        NormalisedValue::Name(name) => &[&name.given, &name.middle, &name.family, &name.generation],
        NormalisedValue::Address(address) => &[
            &address.number,
            &address.street,
            &address.unit,
            &address.city,
            &address.region,
            &address.postcode,
        ],
        NormalisedValue::BirthDate(date) if date.is_complete() => return 8,
        NormalisedValue::BirthDate(date) if date.month > 1 => return 6,
        NormalisedValue::BirthDate(_) => return 4,
        NormalisedValue::Email(email) => &[&email.address],
        NormalisedValue::Phone(phone) => &[phone],
        NormalisedValue::Identifier(identifier) => &[&identifier.value],
        NormalisedValue::Custom(custom) => &[&custom.value],
        NormalisedValue::Gender(_) => &[],
    };
    texts.iter().map(|text| text.len()).sum()
}
