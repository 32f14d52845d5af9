//! Pairs of rows compared. What ids and signatures decide is decided by them; everything else goes to the comparisons
//! themselves, so that the answer is theirs.

use std::cmp::Ordering;

use super::{AddressEntry, NameEntry, SEVERAL, Table, WordId, unpack_date};
use crate::compare::{Agreement, Comparison, address::addresses, contact, date::birth_dates, name};

/// The level in which a pair of rows falls, and the ids of the values whose rarity matters (0, 0 for none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub level: u8,
    pub terms: (u32, u32),
}

impl Found {
    fn at(level: u8) -> Self {
        Self {
            level,
            terms: (0, 0),
        }
    }

    fn on(level: u8, one: WordId, other: WordId) -> Self {
        Self {
            level,
            terms: (one, other),
        }
    }
}

/// A comparison with its columns found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    GivenName,
    FamilyName,
    MiddleName,
    Generation,
    BirthDate,
    Email,
    Phone,
    Address,
    Gender,
    Identifier(usize),
    Custom(usize),
    /// No row has the attribute.
    Absent,
}

/// The similarities below which names and addresses are different in every respect.
const NAME_SOMEWHAT: f32 = 0.8;
const EMAIL_SOMEWHAT: f32 = 0.85;
const PLACE_SIMILAR: f32 = 0.95;
const STREET_SIMILAR: f32 = 0.9;
const CUSTOM_SOMEWHAT: f32 = 0.8;

impl Table {
    pub(crate) fn plan(&self, comparison: &Comparison) -> Plan {
        match comparison {
            Comparison::GivenName => Plan::GivenName,
            Comparison::FamilyName => Plan::FamilyName,
            Comparison::MiddleName => Plan::MiddleName,
            Comparison::Generation => Plan::Generation,
            Comparison::BirthDate => Plan::BirthDate,
            Comparison::Email => Plan::Email,
            Comparison::Phone => Plan::Phone,
            Comparison::Address => Plan::Address,
            Comparison::Gender => Plan::Gender,
            Comparison::Identifier(scheme) => self
                .identifiers
                .column(scheme)
                .map_or(Plan::Absent, Plan::Identifier),
            Comparison::Custom(name) => {
                self.customs.column(name).map_or(Plan::Absent, Plan::Custom)
            }
        }
    }

    /// Compares two rows; `None` where a side is missing.
    pub(crate) fn compare(&self, plan: Plan, left: usize, right: usize) -> Option<Found> {
        let (one, other) = (&self.rows[left], &self.rows[right]);
        match plan {
            Plan::GivenName => self.strongest(plan, one.name, other.name, Self::given_names),
            Plan::FamilyName => self.strongest(plan, one.name, other.name, Self::family_names),
            Plan::MiddleName => self.strongest(plan, one.name, other.name, Self::middle_names),
            Plan::Generation => self.strongest(plan, one.name, other.name, Self::generations),
            Plan::BirthDate => {
                self.strongest(plan, one.birth_date, other.birth_date, |_, one, other| {
                    let level = birth_dates(unpack_date(one), unpack_date(other));
                    Some(Found::at(level))
                })
            }
            Plan::Email => self.strongest(plan, one.email, other.email, Self::emails),
            Plan::Phone => self.strongest(plan, one.phone, other.phone, |table, one, other| {
                Some(Found::at(if one == other {
                    0
                } else {
                    contact::phones(table.phones.get(one), table.phones.get(other))
                }))
            }),
            Plan::Address => self.strongest(plan, one.address, other.address, Self::addresses),
            Plan::Gender => (one.gender != 0 && other.gender != 0)
                .then(|| Found::at(u8::from(one.gender != other.gender))),
            Plan::Identifier(column) => {
                let (one, other) = (
                    self.identifiers.values(column, left),
                    self.identifiers.values(column, right),
                );
                self.strongest_of(plan, one, other, |table, one, other| {
                    let words = &table.identifiers.words;
                    Some(Found::at(if one == other {
                        0
                    } else {
                        contact::identifiers(words.get(one), words.get(other))
                    }))
                })
            }
            Plan::Custom(column) => {
                let (one, other) = (
                    self.customs.values(column, left),
                    self.customs.values(column, right),
                );
                self.strongest_of(plan, one, other, Self::customs)
            }
            Plan::Absent => None,
        }
    }

    fn strongest(
        &self,
        plan: Plan,
        left: u32,
        right: u32,
        compare: impl Fn(&Self, u32, u32) -> Option<Found>,
    ) -> Option<Found> {
        if left == 0 || right == 0 {
            return None;
        }
        if (left | right) & SEVERAL == 0 {
            return compare(self, left, right);
        }
        self.strongest_of(plan, self.values(&left), self.values(&right), compare)
    }

    /// The strongest agreement among all values; on equal level the smaller terms, as the comparisons have it.
    fn strongest_of(
        &self,
        plan: Plan,
        left: &[u32],
        right: &[u32],
        compare: impl Fn(&Self, u32, u32) -> Option<Found>,
    ) -> Option<Found> {
        if let ([one], [other]) = (left, right) {
            return compare(self, *one, *other);
        }
        let pairs = left
            .iter()
            .flat_map(|one| right.iter().map(move |other| (*one, *other)));
        pairs
            .filter_map(|(one, other)| compare(self, one, other))
            .min_by(|one, other| {
                one.level.cmp(&other.level).then_with(|| {
                    let (one, other) = (self.terms(plan, *one), self.terms(plan, *other));
                    match (one, other) {
                        (None, None) => Ordering::Equal,
                        _ => one.cmp(&other),
                    }
                })
            })
    }

    /// The texts of terms, the smaller first.
    fn terms(&self, plan: Plan, found: Found) -> Option<(&str, &str)> {
        if found.terms == (0, 0) {
            return None;
        }
        let (one, other) = (
            self.term(plan, found.terms.0),
            self.term(plan, found.terms.1),
        );
        Some((one.min(other), one.max(other)))
    }

    /// The text of a term of a comparison.
    pub(crate) fn term(&self, plan: Plan, id: WordId) -> &str {
        match plan {
            Plan::Custom(_) => self.customs.words.get(id),
            _ => self.names.words.get(id),
        }
    }

    /// Ids of terms of a comparison, those of others among them.
    pub(crate) fn term_count(&self, plan: Plan) -> usize {
        match plan {
            Plan::Custom(_) => self.customs.words.len(),
            _ => self.names.words.len(),
        }
    }

    fn name_entries(&self, one: u32, other: u32) -> (NameEntry, NameEntry) {
        let entries = &self.names.entries.entries;
        (entries[one as usize], entries[other as usize])
    }

    fn given_names(&self, one_id: u32, other_id: u32) -> Option<Found> {
        let (one, other) = self.name_entries(one_id, other_id);
        let words = &self.names.words;
        let swapped = one.given == other.family || one.family == other.given;
        if one.given != 0 && other.given != 0 {
            if one.given == other.given && words.get(one.given).len() > 1 {
                return Some(Found::on(0, one.given, other.given));
            }
            let plainly_different = !swapped
                && one.middle == 0
                && other.middle == 0
                && !words.may_be_alike(one.given, other.given, NAME_SOMEWHAT)
                && !words.may_be_nicknames(one.given, other.given);
            if plainly_different {
                return Some(Found::at(name::GIVEN_NAME_DIFFERENT));
            }
        } else if !swapped {
            return None;
        }
        let agreement = name::given_names(self.names.view(one_id), self.names.view(other_id))?;
        Some(found(agreement, one.given, other.given))
    }

    fn family_names(&self, one_id: u32, other_id: u32) -> Option<Found> {
        let (one, other) = self.name_entries(one_id, other_id);
        if one.family == 0 || other.family == 0 {
            return None;
        }
        if one.family == other.family {
            return Some(Found::on(0, one.family, other.family));
        }
        let words = &self.names.words;
        let swapped = one.given == other.family || one.family == other.given;
        let plainly_different = !swapped
            && !words.may_be_alike(one.family, other.family, NAME_SOMEWHAT)
            && !words.has_space(one.family)
            && !words.has_space(other.family);
        if plainly_different {
            return Some(Found::at(name::FAMILY_NAME_DIFFERENT));
        }
        let agreement = name::family_names(self.names.view(one_id), self.names.view(other_id))?;
        Some(found(agreement, one.family, other.family))
    }

    fn middle_names(&self, one_id: u32, other_id: u32) -> Option<Found> {
        let (one, other) = self.name_entries(one_id, other_id);
        if one.middle == 0 || other.middle == 0 {
            return None;
        }
        let agreement = name::middle_names(self.names.view(one_id), self.names.view(other_id))?;
        Some(Found::at(agreement.level))
    }

    fn generations(&self, one_id: u32, other_id: u32) -> Option<Found> {
        let (one, other) = self.name_entries(one_id, other_id);
        let known = one.generation != 0 && other.generation != 0;
        known.then(|| Found::at(u8::from(one.generation != other.generation)))
    }

    fn emails(&self, one_id: u32, other_id: u32) -> Option<Found> {
        let entries = &self.emails.entries.entries;
        let (one, other) = (entries[one_id as usize], entries[other_id as usize]);
        if one.address == other.address {
            return Some(Found::at(0));
        }
        let plainly_different = one.local != other.local
            && !self
                .emails
                .words
                .may_be_alike(one.local, other.local, EMAIL_SOMEWHAT);
        let level = if plainly_different {
            contact::EMAIL_DIFFERENT
        } else {
            contact::emails(self.emails.view(one_id), self.emails.view(other_id))
        };
        Some(Found::at(level))
    }

    fn addresses(&self, one_id: u32, other_id: u32) -> Option<Found> {
        let entries = &self.addresses.entries.entries;
        let (one, other) = (entries[one_id as usize], entries[other_id as usize]);
        if let Some(level) = self.plain_address_level(one, other) {
            return Some(Found::at(level));
        }
        let agreement = addresses(self.addresses.view(one_id), self.addresses.view(other_id))?;
        Some(Found::at(agreement.level))
    }

    /// The level of two addresses whose streets are plainly different or not both known.
    fn plain_address_level(&self, one: AddressEntry, other: AddressEntry) -> Option<u8> {
        let words = &self.addresses.words;
        let differs = |one: WordId, other: WordId, similarity: f32| {
            one != other && !words.may_be_alike(one, other, similarity)
        };
        let street_apart = one.street == 0
            || other.street == 0
            || (differs(one.street, other.street, STREET_SIMILAR)
                && !words.has_space(one.street)
                && !words.has_space(other.street));
        if !street_apart {
            return None;
        }
        let both_postcodes = one.postcode != 0 && other.postcode != 0;
        if both_postcodes && one.postcode == other.postcode {
            return Some(crate::compare::address::POSTCODE);
        }
        let place_apart = both_postcodes
            && differs(one.postcode, other.postcode, PLACE_SIMILAR)
            && (one.city == 0 || other.city == 0 || differs(one.city, other.city, PLACE_SIMILAR));
        let regions_known = one.region != 0 && other.region != 0;
        place_apart.then_some(if regions_known && one.region == other.region {
            crate::compare::address::REGION
        } else {
            crate::compare::address::DIFFERENT
        })
    }

    fn customs(&self, one: WordId, other: WordId) -> Option<Found> {
        let words = &self.customs.words;
        let different = contact::CUSTOM_LEVELS.len() as u8 - 1;
        let level = if one == other {
            0
        } else if words.may_be_alike(one, other, CUSTOM_SOMEWHAT) {
            contact::customs(words.get(one), words.get(other))
        } else {
            different
        };
        Some(if level < different {
            Found::on(level, one, other)
        } else {
            Found::at(level)
        })
    }
}

fn found(agreement: Agreement<'_>, one: WordId, other: WordId) -> Found {
    match agreement.terms {
        Some(_) => Found::on(agreement.level, one, other),
        None => Found::at(agreement.level),
    }
}
