//! Pairs of rows compared. What ids and signatures decide is decided by them; everything else goes to the comparisons
//! themselves, so that the answer is theirs.

use std::cmp::Ordering;

use super::facts::{AddressFacts, EmailFacts, NameFacts, PhoneFacts};
use super::words::Signature;
use super::{SEVERAL, Table, WordId, unpack_date};
use crate::compare::address::{self, addresses};
use crate::compare::{Agreement, Comparison, contact, date::birth_dates, name};

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

/// Which kinds of values a row has, a bit each.
pub(crate) type Presence = u32;

/// The bit of what is not told apart, set in every row.
const OF_ALL: u32 = 31;
const NAME: u32 = 0;
const BIRTH_DATE: u32 = 1;
const EMAIL: u32 = 2;
const PHONE: u32 = 3;
const ADDRESS: u32 = 4;
const GENDER: u32 = 5;
const FIRST_NAMED: u32 = 6;

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

    /// The bit without which, on both sides, a comparison finds nothing.
    pub(crate) fn presence_bit(&self, plan: Plan) -> u32 {
        let named = |column: usize| (FIRST_NAMED + column as u32).min(OF_ALL);
        match plan {
            Plan::GivenName | Plan::FamilyName | Plan::MiddleName | Plan::Generation => NAME,
            Plan::BirthDate => BIRTH_DATE,
            Plan::Email => EMAIL,
            Plan::Phone => PHONE,
            Plan::Address => ADDRESS,
            Plan::Gender => GENDER,
            Plan::Identifier(column) => named(column),
            Plan::Custom(column) => named(self.identifiers.columns.len() + column),
            Plan::Absent => OF_ALL,
        }
    }

    /// Which kinds of values a row has.
    pub(super) fn presence_of(&self, cells: &super::Row, row: usize) -> Presence {
        let kinds = [
            (NAME, cells.name),
            (BIRTH_DATE, cells.birth_date),
            (EMAIL, cells.email),
            (PHONE, cells.phone),
            (ADDRESS, cells.address),
            (GENDER, cells.gender),
        ];
        let of_kinds = kinds
            .into_iter()
            .fold(1 << OF_ALL, |presence, (bit, cell)| {
                presence | u32::from(cell != 0) << bit
            });
        let identifiers = self.identifiers.columns.iter();
        let named = identifiers
            .chain(&self.customs.columns)
            .zip(FIRST_NAMED..OF_ALL);
        named.fold(of_kinds, |presence, (column, bit)| {
            presence | u32::from(column.cells.cells[row] != 0) << bit
        })
    }

    /// Which kinds of values two rows both have, and for which of these it is plain that no comparison finds the same on both
    /// sides.
    pub(crate) fn presence(&self, left: usize, right: usize) -> (Presence, Presence) {
        let (one, other) = (&self.rows[left], &self.rows[right]);
        let unequal = |bit: u32, cells: (u32, u32), ids: (u32, u32)| {
            u32::from((cells.0 | cells.1) & SEVERAL == 0 && ids.0 != ids.1) << bit
        };
        // One address may be made of the name of one record and not of that of the other, so that entries say less than addresses.
        let addresses = (one.facts.email.ids.address, other.facts.email.ids.address);
        let dates = (one.birth_date, other.birth_date);
        let phones = (one.phone, other.phone);
        let unequal = unequal(BIRTH_DATE, dates, dates)
            | unequal(EMAIL, (one.email, other.email), addresses)
            | unequal(PHONE, phones, phones);
        (one.presence & other.presence, unequal)
    }

    /// Compares two rows; `None` where a side is missing.
    pub(crate) fn compare(&self, plan: Plan, left: usize, right: usize) -> Option<Found> {
        let (one, other) = (&self.rows[left], &self.rows[right]);
        let (facts, other_facts) = (&one.facts, &other.facts);
        let names = |compare: fn(&Self, &NameFacts, &NameFacts) -> Option<Found>| {
            let facts = (&facts.name, &other_facts.name);
            self.strongest(plan, one.name, other.name, facts, Self::name_facts, compare)
        };
        match plan {
            Plan::GivenName => names(Self::given_names),
            Plan::FamilyName => names(Self::family_names),
            Plan::MiddleName => names(Self::middle_names),
            Plan::Generation => names(Self::generations),
            Plan::BirthDate => self.strongest(
                plan,
                one.birth_date,
                other.birth_date,
                (&one.birth_date, &other.birth_date),
                |_, packed| packed,
                |_, one, other| {
                    let level = birth_dates(unpack_date(*one), unpack_date(*other));
                    Some(Found::at(level))
                },
            ),
            Plan::Email => self.strongest(
                plan,
                one.email,
                other.email,
                (&facts.email, &other_facts.email),
                Self::email_facts,
                Self::emails,
            ),
            Plan::Phone => self.strongest(
                plan,
                one.phone,
                other.phone,
                (&facts.phone, &other_facts.phone),
                Self::phone_facts,
                Self::phones,
            ),
            Plan::Address => self.strongest(
                plan,
                one.address,
                other.address,
                (&facts.address, &other_facts.address),
                Self::address_facts,
                Self::addresses,
            ),
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

    /// Compares the only values of two rows, whose facts stand in the rows, or else all their values.
    fn strongest<T>(
        &self,
        plan: Plan,
        left: u32,
        right: u32,
        facts: (&T, &T),
        facts_of: impl Fn(&Self, u32) -> T,
        compare: impl Fn(&Self, &T, &T) -> Option<Found>,
    ) -> Option<Found> {
        if left == 0 || right == 0 {
            return None;
        }
        if (left | right) & SEVERAL == 0 {
            return compare(self, facts.0, facts.1);
        }
        let (left, right) = (self.values(&left), self.values(&right));
        self.strongest_of(plan, left, right, |table, one, other| {
            compare(table, &facts_of(table, one), &facts_of(table, other))
        })
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

    fn given_names(&self, left: &NameFacts, right: &NameFacts) -> Option<Found> {
        let (one, other) = (left.ids, right.ids);
        let swapped = one.given == other.family || one.family == other.given;
        if one.given != 0 && other.given != 0 {
            if one.given == other.given && !left.given.is_initial() {
                return Some(Found::on(0, one.given, other.given));
            }
            let plainly_different = !swapped
                && one.middle == 0
                && other.middle == 0
                && left.roots & right.roots == 0
                && !left.given.is_initial()
                && !right.given.is_initial()
                && !left.given.may_be_alike(right.given, NAME_SOMEWHAT);
            if plainly_different {
                return Some(Found::at(name::GIVEN_NAME_DIFFERENT));
            }
        } else if !swapped {
            return None;
        }
        let agreement = name::given_names(self.names.view_of(one), self.names.view_of(other))?;
        Some(found(agreement, one.given, other.given))
    }

    fn family_names(&self, left: &NameFacts, right: &NameFacts) -> Option<Found> {
        let (one, other) = (left.ids, right.ids);
        if one.family == 0 || other.family == 0 {
            return None;
        }
        if one.family == other.family {
            return Some(Found::on(0, one.family, other.family));
        }
        let swapped = one.given == other.family || one.family == other.given;
        let plainly_different = !swapped
            && !left.family.may_be_alike(right.family, NAME_SOMEWHAT)
            && !left.family.has_space()
            && !right.family.has_space();
        if plainly_different {
            return Some(Found::at(name::FAMILY_NAME_DIFFERENT));
        }
        let agreement = name::family_names(self.names.view_of(one), self.names.view_of(other))?;
        Some(found(agreement, one.family, other.family))
    }

    fn middle_names(&self, left: &NameFacts, right: &NameFacts) -> Option<Found> {
        let (one, other) = (left.ids, right.ids);
        if one.middle == 0 || other.middle == 0 {
            return None;
        }
        let agreement = name::middle_names(self.names.view_of(one), self.names.view_of(other))?;
        Some(Found::at(agreement.level))
    }

    fn generations(&self, left: &NameFacts, right: &NameFacts) -> Option<Found> {
        let (one, other) = (left.ids.generation, right.ids.generation);
        (one != 0 && other != 0).then(|| Found::at(u8::from(one != other)))
    }

    fn emails(&self, left: &EmailFacts, right: &EmailFacts) -> Option<Found> {
        let (one, other) = (left.ids, right.ids);
        if one.address == other.address {
            return Some(Found::at(0));
        }
        let plainly_different =
            one.local != other.local && !left.local.may_be_alike(right.local, EMAIL_SOMEWHAT);
        let level = if plainly_different {
            contact::EMAIL_DIFFERENT
        } else {
            contact::emails(self.emails.view_of(one), self.emails.view_of(other))
        };
        Some(Found::at(level))
    }

    fn phones(&self, left: &PhoneFacts, right: &PhoneFacts) -> Option<Found> {
        let level = if left.id == right.id {
            0
        } else {
            left.digits.level(right.digits).unwrap_or_else(|| {
                contact::phones(self.phones.get(left.id), self.phones.get(right.id))
            })
        };
        Some(Found::at(level))
    }

    fn addresses(&self, left: &AddressFacts, right: &AddressFacts) -> Option<Found> {
        if let Some(level) = plain_address_level(left, right) {
            return Some(Found::at(level));
        }
        let (one, other) = (left.ids, right.ids);
        let agreement = addresses(self.addresses.view_of(one), self.addresses.view_of(other))?;
        Some(Found::at(agreement.level))
    }

    fn customs(&self, one: WordId, other: WordId) -> Option<Found> {
        let words = &self.customs.words;
        let different = contact::CUSTOM_LEVELS.len() as u8 - 1;
        let level = if one == other {
            0
        } else if words
            .signature(one)
            .may_be_alike(words.signature(other), CUSTOM_SOMEWHAT)
        {
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

/// The level of two addresses whose streets are plainly different or not both known.
fn plain_address_level(left: &AddressFacts, right: &AddressFacts) -> Option<u8> {
    let (one, other) = (left.ids, right.ids);
    let differs = |ids: (WordId, WordId), signatures: (Signature, Signature), similarity: f32| {
        ids.0 != ids.1 && !signatures.0.may_be_alike(signatures.1, similarity)
    };
    let street_apart = one.street == 0
        || other.street == 0
        || (differs(
            (one.street, other.street),
            (left.street, right.street),
            STREET_SIMILAR,
        ) && !left.street.has_space()
            && !right.street.has_space());
    if !street_apart {
        return None;
    }
    let both_postcodes = one.postcode != 0 && other.postcode != 0;
    if both_postcodes && one.postcode == other.postcode {
        return Some(address::POSTCODE);
    }
    let postcodes_apart = both_postcodes
        && differs(
            (one.postcode, other.postcode),
            (left.postcode, right.postcode),
            PLACE_SIMILAR,
        );
    let cities_apart = one.city == 0
        || other.city == 0
        || differs(
            (one.city, other.city),
            (left.city, right.city),
            PLACE_SIMILAR,
        );
    let regions_known = one.region != 0 && other.region != 0;
    (postcodes_apart && cities_apart).then_some(if regions_known && one.region == other.region {
        address::REGION
    } else {
        address::DIFFERENT
    })
}

fn found(agreement: Agreement<'_>, one: WordId, other: WordId) -> Found {
    match agreement.terms {
        Some(_) => Found::on(agreement.level, one, other),
        None => Found::at(agreement.level),
    }
}
