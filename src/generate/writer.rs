//! Writes a person's values down the way a source's staff, or the customers themselves, do.

use super::dice::Dice;
use super::household::{Household, Person};
use super::names::{Spelling, nicknames};
use super::neighbourhood::Neighbourhood;
use super::places::StreetNotation;
use super::source::SourceProfile;
use super::trap::{Trap, TrapSet};
use super::typing::{loosen, misspell, mistype, wrong_digit};

/// One written value with the traps that are in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written<T> {
    pub(super) value: T,
    pub(super) traps: TrapSet,
}

/// A street address as written, any part of which may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WrittenAddress {
    pub(super) street: String,
    pub(super) city: String,
    pub(super) state: String,
    pub(super) postcode: String,
}

const JUNK_NAMES: [(&str, &str); 7] = [
    ("Guest", ""),
    ("Customer", "Customer"),
    ("unknown", "unknown"),
    ("N/A", "N/A"),
    ("Cash", "Customer"),
    ("Test", "Test"),
    ("Walk In", "Customer"),
];
const JUNK_EMAILS: [&str; 9] = [
    "none@none.com",
    "noemail@noemail.com",
    "test@test.com",
    "na@na.com",
    "n/a",
    "no@email.com",
    "refused@store.com",
    "a@a.com",
    "unknown",
];
const JUNK_PHONES: [&str; 8] = [
    "0000000000",
    "5555555555",
    "1234567890",
    "9999999999",
    "1111111111",
    "000-000-0000",
    "n/a",
    "0",
];
const JUNK_BIRTH_DATES: [&str; 3] = ["1900-01-01", "01/01/1900", "1970-01-01"];

/// Letter case of a whole record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LetterCase {
    AsIs,
    Upper,
    Lower,
}

/// Habits that one record keeps through all of its signals.
struct Habits {
    with_given: bool,
    with_family: bool,
    initial: bool,
    nickname: Option<&'static str>,
    middle_initial: bool,
    suffix: bool,
    native: bool,
    other_latin: bool,
    letter_case: LetterCase,
    full_address: bool,
    phone_notation: usize,
    street_notation: StreetNotation,
    american_date: bool,
    plus_four: bool,
    /// The record never heard of a move or a marriage.
    outdated: bool,
    /// Which of the person's own phones, e-mail addresses and cards the record has.
    phone: usize,
    email: usize,
    card: usize,
}

/// The hand that writes one record.
pub(super) struct Writer<'world> {
    source: &'static SourceProfile,
    household: &'world Household,
    person: &'world Person,
    neighbourhood: &'world Neighbourhood,
    habits: Habits,
}

impl<'world> Writer<'world> {
    /// A hand with its habits drawn.
    pub(super) fn draw(
        dice: &mut Dice,
        source: &'static SourceProfile,
        household: &'world Household,
        person: &'world Person,
        neighbourhood: &'world Neighbourhood,
    ) -> Self {
        let choices = nicknames(&person.given.latin);
        let nickname = (!choices.is_empty() && dice.chance(0.17))
            .then(|| choices[dice.low_below(choices.len())]);
        let letter_case = if dice.chance(source.upper_case) {
            LetterCase::Upper
        } else if dice.chance(source.lower_case) {
            LetterCase::Lower
        } else {
            LetterCase::AsIs
        };
        let with_given = dice.chance(source.given);
        let habits = Habits {
            with_given,
            with_family: dice.chance(source.family),
            initial: dice.chance(source.initial),
            nickname,
            middle_initial: dice.chance(0.045),
            suffix: dice.chance(0.4),
            native: dice.chance(source.native),
            other_latin: dice.chance(0.35),
            letter_case,
            full_address: dice.chance(source.address),
            phone_notation: dice.weighted(&[40, 12, 12, 12, 12, 11, 1]),
            street_notation: StreetNotation::draw(dice),
            american_date: dice.chance(source.american_date),
            plus_four: dice.chance(0.055),
            outdated: dice.chance(0.12),
            phone: dice.weighted(&[74, 26]),
            email: dice.weighted(&[72, 20, 8]),
            card: dice.weighted(&[70, 30]),
        };
        Self {
            source,
            household,
            person,
            neighbourhood,
            habits,
        }
    }

    /// Whether the record has any part of the name.
    pub(super) fn has_name(&self) -> bool {
        self.habits.with_given || self.habits.with_family
    }

    /// Whether the record has an address: the whole one, or the ZIP code alone.
    pub(super) fn has_address(&self, dice: &mut Dice) -> bool {
        self.habits.full_address || dice.chance(self.source.postcode)
    }

    fn chance(&self, dice: &mut Dice, usual: f64) -> bool {
        dice.chance(usual * self.source.carelessness)
    }

    fn cased(&self, text: String, traps: &mut TrapSet) -> String {
        let cased = match self.habits.letter_case {
            LetterCase::AsIs => return text,
            LetterCase::Upper => text.to_uppercase(),
            LetterCase::Lower => text.to_lowercase(),
        };
        if cased != text {
            traps.insert(Trap::LetterCase);
        }
        cased
    }

    fn spelled<'name>(&self, name: &'name Spelling) -> &'name str {
        match (&name.native, name.other_latin) {
            (Some(native), _) if self.habits.native => native,
            (_, Some(other)) if self.habits.other_latin => other,
            _ => &name.latin,
        }
    }

    /// Errors of the ear and of the hand in one word of a name.
    fn misheard(
        &self,
        dice: &mut Dice,
        mut text: String,
        traps: &mut TrapSet,
        usual: f64,
    ) -> String {
        if self.chance(dice, usual * 0.5)
            && let Some(spelling) = misspell(dice, &text)
        {
            text = spelling;
            traps.insert(Trap::PhoneticSpelling);
        }
        self.mistyped(dice, text, traps, usual)
    }

    fn mistyped(&self, dice: &mut Dice, text: String, traps: &mut TrapSet, usual: f64) -> String {
        if !self.chance(dice, usual) {
            return text;
        }
        let typed = mistype(dice, &text);
        if typed != text {
            traps.insert(Trap::TypingError);
        }
        typed
    }

    fn loosened(&self, dice: &mut Dice, text: String, traps: &mut TrapSet) -> String {
        if text.is_empty() || !dice.chance(0.02) {
            return text;
        }
        traps.insert(Trap::WhiteSpace);
        loosen(dice, &text)
    }

    /// The record's letter case, and white space that slipped in.
    fn finished(&self, dice: &mut Dice, text: String, traps: &mut TrapSet) -> String {
        let cased = self.cased(text, traps);
        self.loosened(dice, cased, traps)
    }

    /// Given and family name at a moment, one of which may be empty. Precondition: the record has a name.
    pub(super) fn name(&self, dice: &mut Dice, at_ms: i64) -> Written<(String, String)> {
        let mut traps = TrapSet::default();
        if dice.chance(self.source.junk_name) {
            let (given, family) = JUNK_NAMES[dice.below(JUNK_NAMES.len())];
            traps.insert(Trap::JunkName);
            return Written {
                value: (given.to_owned(), family.to_owned()),
                traps,
            };
        }
        let mut given = String::new();
        if self.habits.with_given {
            given = self.given(dice, &mut traps);
        }
        let mut family = String::new();
        if self.habits.with_family {
            family = self.family(dice, at_ms, &mut traps);
        }
        if !given.is_empty() && !family.is_empty() && dice.chance(0.009) {
            std::mem::swap(&mut given, &mut family);
            traps.insert(Trap::SwappedNames);
        }
        let value = (
            self.finished(dice, given, &mut traps),
            self.finished(dice, family, &mut traps),
        );
        Written { value, traps }
    }

    fn given(&self, dice: &mut Dice, traps: &mut TrapSet) -> String {
        let person = self.person;
        if self.habits.initial
            && let Some(initial) = person.given.latin.chars().next()
        {
            traps.insert(Trap::Initial);
            return if dice.chance(0.1) {
                format!("{initial}.")
            } else {
                initial.to_string()
            };
        }
        let written = match self.habits.nickname {
            Some(nickname) => {
                traps.insert(Trap::Nickname);
                nickname
            }
            None => self.spelled(&person.given),
        };
        let mut given = self.misheard(dice, written.to_owned(), traps, 0.035);
        if let Some(initial) = person.middle_initial.filter(|_| self.habits.middle_initial) {
            given.push(' ');
            given.push(initial);
            traps.insert(Trap::MiddleInitial);
        }
        given
    }

    fn family(&self, dice: &mut Dice, at_ms: i64, traps: &mut TrapSet) -> String {
        let person = self.person;
        let current = person.family_at(at_ms);
        let name = match person.former_family() {
            Some(former) if self.habits.outdated => former,
            _ => current,
        };
        if person.former_family() == Some(name) {
            traps.insert(Trap::FormerName);
        }
        let mut family = self.misheard(dice, self.spelled(name).to_owned(), traps, 0.042);
        if let Some(suffix) = person.suffix.filter(|_| self.habits.suffix) {
            family.push(' ');
            family.push_str(suffix);
            traps.insert(Trap::Suffix);
        }
        family
    }

    /// An e-mail address; `None` where nobody of the household has one.
    pub(super) fn email(&self, dice: &mut Dice) -> Option<Written<String>> {
        let mut traps = TrapSet::default();
        if dice.chance(self.source.junk_email) {
            traps.insert(Trap::JunkEmail);
            let value = dice.pick(&JUNK_EMAILS).to_owned();
            return Some(Written { value, traps });
        }
        if dice.chance(self.source.shop_value) {
            traps.insert(Trap::ShopEmail);
            let value = self.neighbourhood.shop_email.clone();
            return Some(Written { value, traps });
        }
        let own = &self.person.emails;
        let family = self
            .household
            .email
            .as_ref()
            .filter(|_| own.is_empty() || dice.chance(0.3));
        let another = self.another(dice, |member| member.emails.first(), own.is_empty(), 0.016);
        let address = match (family, another) {
            (Some(address), _) | (None, Some(address)) => {
                traps.insert(Trap::FamilyEmail);
                address
            }
            (None, None) => self.usual(dice, own, self.habits.email)?,
        };
        let mut typed = self.mistyped(dice, address.clone(), &mut traps, 0.022);
        if dice.chance(0.012) {
            typed = typed.to_uppercase();
            traps.insert(Trap::LetterCase);
        }
        let value = self.loosened(dice, typed, &mut traps);
        Some(Written { value, traps })
    }

    /// A phone number; `None` where nobody of the household has one.
    pub(super) fn phone(&self, dice: &mut Dice) -> Option<Written<String>> {
        let mut traps = TrapSet::default();
        if dice.chance(self.source.junk_phone) {
            traps.insert(Trap::JunkPhone);
            let value = dice.pick(&JUNK_PHONES).to_owned();
            return Some(Written { value, traps });
        }
        let from_shop = dice.chance(self.source.shop_value);
        let own = &self.person.phones;
        let landline = self
            .household
            .landline
            .as_ref()
            .filter(|_| own.is_empty() || dice.chance(0.25));
        let another = self.another(dice, |member| member.phones.first(), own.is_empty(), 0.02);
        let digits = if from_shop {
            traps.insert(Trap::ShopPhone);
            &self.neighbourhood.shop_phone
        } else if let Some(digits) = landline.or(another) {
            traps.insert(Trap::FamilyPhone);
            digits
        } else {
            self.usual(dice, own, self.habits.phone)?
        };
        let mut digits = digits.clone();
        if !from_shop
            && self.chance(dice, 0.032)
            && let Some(wrong) = wrong_digit(dice, &digits)
        {
            digits = wrong;
            traps.insert(Trap::PhoneDigit);
        }
        let value = phone_notation(&digits, self.habits.phone_notation);
        Some(Written { value, traps })
    }

    /// The one of a person's own values that the record usually has; now and then another one takes its place.
    fn usual<'value>(
        &self,
        dice: &mut Dice,
        own: &'value [String],
        usual: usize,
    ) -> Option<&'value String> {
        if own.len() > 1 && dice.chance(0.2) {
            return own.get(dice.below(own.len()));
        }
        own.get(usual).or(own.first())
    }

    /// Now and then, or when the person has none, a value of another member.
    fn another(
        &self,
        dice: &mut Dice,
        value: impl Fn(&'world Person) -> Option<&'world String>,
        has_none: bool,
        probability: f64,
    ) -> Option<&'world String> {
        if !has_none && !dice.chance(probability) {
            return None;
        }
        let members = &self.household.members;
        let member = &members[dice.below(members.len())];
        if std::ptr::eq(member, self.person) {
            None
        } else {
            value(member)
        }
    }

    /// The address, or its ZIP code alone, at a moment.
    pub(super) fn address(&self, dice: &mut Dice, at_ms: i64) -> Written<WrittenAddress> {
        let mut traps = TrapSet::default();
        let current = self.person.home_at(at_ms);
        let home = match self.person.former_home() {
            Some(former) if self.habits.outdated => former,
            _ => current,
        };
        if self.person.home_at(i64::MAX) != home {
            traps.insert(Trap::OldAddress);
        }
        let home = &self.household.homes[home];
        let mut postcode = home.postcode.clone();
        if self.chance(dice, 0.014)
            && let Some(wrong) = wrong_digit(dice, &postcode)
        {
            postcode = wrong;
            traps.insert(Trap::PostcodeDigit);
        }
        if self.habits.plus_four {
            postcode = format!("{postcode}-{:04}", home.plus_four);
            traps.insert(Trap::PostcodePlusFour);
        }
        if !self.habits.full_address {
            let value = WrittenAddress {
                postcode,
                ..WrittenAddress::default()
            };
            return Written { value, traps };
        }
        let street = home.street_line(self.habits.street_notation);
        let typed_street = self.mistyped(dice, street, &mut traps, 0.04);
        let typed_city = self.mistyped(dice, home.city.name.to_owned(), &mut traps, 0.025);
        let value = WrittenAddress {
            street: self.finished(dice, typed_street, &mut traps),
            city: self.cased(typed_city, &mut traps),
            state: home.city.state.to_owned(),
            postcode,
        };
        Written { value, traps }
    }

    /// The birth date.
    pub(super) fn birth_date(&self, dice: &mut Dice) -> Written<String> {
        let mut traps = TrapSet::default();
        if dice.chance(0.003) {
            traps.insert(Trap::JunkBirthDate);
            let value = dice.pick(&JUNK_BIRTH_DATES).to_owned();
            return Written { value, traps };
        }
        let mut day = self.person.birth;
        if dice.chance(0.012) {
            (day.month, day.day) = (1, 1);
            traps.insert(Trap::JanuaryFirst);
        } else if day.day <= 12 && day.day != day.month && self.chance(dice, 0.03) {
            std::mem::swap(&mut day.month, &mut day.day);
            traps.insert(Trap::DayMonthSwap);
        }
        if self.chance(dice, 0.015) {
            day.year += [-10, -1, 1, 10][dice.below(4)];
            traps.insert(Trap::WrongYear);
        }
        let value = if self.habits.american_date {
            format!("{:02}/{:02}/{:04}", day.month, day.day, day.year)
        } else {
            format!("{:04}-{:02}-{:02}", day.year, day.month, day.day)
        };
        Written { value, traps }
    }

    /// The number of a loyalty card; `None` where the person has none.
    pub(super) fn loyalty(&self, dice: &mut Dice) -> Option<Written<String>> {
        let mut traps = TrapSet::default();
        let own = &self.person.cards;
        let another = self.another(dice, |member| member.cards.first(), false, 0.012);
        let card = match another {
            Some(lent) => {
                traps.insert(Trap::LentCard);
                lent
            }
            None => self.usual(dice, own, self.habits.card)?,
        };
        let mut value = card.clone();
        if self.chance(dice, 0.009)
            && let Some(wrong) = wrong_digit(dice, &value)
        {
            value = wrong;
            traps.insert(Trap::LoyaltyDigit);
        }
        Some(Written { value, traps })
    }
}

fn phone_notation(digits: &str, notation: usize) -> String {
    let (Some(area), Some(exchange), Some(line)) =
        (digits.get(..3), digits.get(3..6), digits.get(6..))
    else {
        return digits.to_owned();
    };
    match notation {
        0 => digits.to_owned(),
        1 => format!("{area}-{exchange}-{line}"),
        2 => format!("{area}.{exchange}.{line}"),
        3 => format!("({area}) {exchange}-{line}"),
        4 => format!("+1{digits}"),
        5 => format!("1-{area}-{exchange}-{line}"),
        _ => format!("+1 {area} {exchange} {line}"),
    }
}
