//! The world as it is: who lives where, with whom, and how they can be reached.

use super::dice::Dice;
use super::ids;
use super::mail::{family_email, own_email};
use super::names::{FamilyName, Heritage, Spelling, given_with_initial};
use super::neighbourhood::Neighbourhood;
use super::places::{City, Home};
use super::trap::{Trap, TrapSet};

/// First moment of an event: 2018-01-01.
pub(super) const WINDOW_START_MS: i64 = 1_514_764_800_000;
/// Last moment of an event: 2025-12-10.
pub(super) const WINDOW_END_MS: i64 = 1_765_324_800_000;

/// Of 100 households, how many have one, two, … members.
const SIZE_WEIGHTS: [u32; 6] = [35, 32, 15, 11, 5, 2];

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
}

impl Day {
    fn draw(dice: &mut Dice, first_year: i64, last_year: i64) -> Self {
        let year = dice.between(first_year, last_year);
        let month = dice.between(1, 12);
        let length = match month {
            2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        Self {
            year,
            month,
            day: dice.between(1, length),
        }
    }
}

/// One real person.
pub(super) struct Person {
    pub(super) is_woman: bool,
    pub(super) given: Spelling,
    pub(super) middle_initial: Option<char>,
    family: Spelling,
    /// The family name until the moment of marriage.
    former_family: Option<(i64, Spelling)>,
    pub(super) suffix: Option<&'static str>,
    pub(super) birth: Day,
    /// Own phone numbers, ten digits, the most used one first.
    pub(super) phones: Vec<String>,
    /// Own e-mail addresses, the most used one first.
    pub(super) emails: Vec<String>,
    /// Own loyalty cards; a person without takes no part in the programme.
    pub(super) cards: Vec<String>,
    /// Where the person lives from which moment on, as an index into the household's homes.
    residences: Vec<(i64, usize)>,
    pub(super) traps: TrapSet,
}

impl Person {
    fn new(given: Spelling, family: Spelling, is_woman: bool, birth: Day, dice: &mut Dice) -> Self {
        Self {
            is_woman,
            given,
            middle_initial: dice
                .chance(0.75)
                .then(|| dice.letter().to_ascii_uppercase()),
            family,
            former_family: None,
            suffix: None,
            birth,
            phones: Vec::new(),
            emails: Vec::new(),
            cards: Vec::new(),
            residences: vec![(i64::MIN, 0)],
            traps: TrapSet::default(),
        }
    }

    /// The family name at a moment.
    pub(super) fn family_at(&self, at_ms: i64) -> &Spelling {
        match &self.former_family {
            Some((until_ms, former)) if at_ms < *until_ms => former,
            _ => &self.family,
        }
    }

    /// The family name before the marriage, if there was another one.
    pub(super) fn former_family(&self) -> Option<&Spelling> {
        self.former_family.as_ref().map(|(_, former)| former)
    }

    /// Whether the person changed name or address between two moments.
    pub(super) fn changed_between(&self, after_ms: i64, until_ms: i64) -> (bool, bool) {
        let within = |moment: i64| after_ms < moment && moment <= until_ms;
        let name = self
            .former_family
            .as_ref()
            .is_some_and(|(moment, _)| within(*moment));
        let address = self.residences.iter().any(|(moment, _)| within(*moment));
        (name, address)
    }

    /// The home at a moment, as an index into the household's homes.
    pub(super) fn home_at(&self, at_ms: i64) -> usize {
        let past = self
            .residences
            .iter()
            .rev()
            .find(|(from_ms, _)| *from_ms <= at_ms);
        past.map_or(0, |(_, home)| *home)
    }

    /// The home before the last move.
    pub(super) fn former_home(&self) -> Option<usize> {
        let before_last = self.residences.len().checked_sub(2)?;
        Some(self.residences[before_last].1)
    }
}

/// People who live together, or did.
pub(super) struct Household {
    pub(super) number: u64,
    pub(super) homes: Vec<Home>,
    pub(super) landline: Option<String>,
    pub(super) email: Option<String>,
    pub(super) members: Vec<Person>,
}

impl Household {
    /// Draws the household of a number.
    pub(super) fn draw(
        seed: u64,
        number: u64,
        neighbourhood: &Neighbourhood,
        dice: &mut Dice,
    ) -> Self {
        let size = 1 + dice.weighted(&SIZE_WEIGHTS);
        let heritage = Heritage::draw(dice);
        let namesake = (size == 1 && heritage == Heritage::Census && dice.chance(0.09))
            .then(|| &neighbourhood.namesakes[dice.below(neighbourhood.namesakes.len())]);
        let city = match namesake {
            Some(namesake) if dice.chance(0.5) => namesake.city,
            _ => City::draw(dice),
        };
        let mut household = Self {
            number,
            homes: vec![Home::draw(dice, city)],
            landline: None,
            email: None,
            members: Vec::with_capacity(size),
        };
        if let Some(namesake) = namesake {
            let family = namesake.family.of(namesake.is_woman).clone();
            let birth = Day::draw(dice, 1940, 2004);
            let mut person = Person::new(
                namesake.given.clone(),
                family,
                namesake.is_woman,
                birth,
                dice,
            );
            person.traps.insert(Trap::Namesake);
            household.members.push(person);
        } else {
            household.move_in(dice, heritage, size);
        }
        household.move_house(dice);
        household.connect(seed, dice);
        household
    }

    fn move_in(&mut self, dice: &mut Dice, heritage: Heritage, size: usize) {
        let family = heritage.family(dice);
        let has_children = size > 2 || (size == 2 && dice.chance(0.18));
        let head_is_woman = dice.chance(if has_children { 0.3 } else { 0.5 });
        let birth = if has_children {
            Day::draw(dice, 1948, 1983)
        } else {
            Day::draw(dice, 1938, 2004)
        };
        let head_birth = birth.year;
        let given = heritage.given(dice, head_is_woman);
        let head = Person::new(
            given,
            family.of(head_is_woman).clone(),
            head_is_woman,
            birth,
            dice,
        );
        self.members.push(head);
        if size == 1 {
            // Married, but the other one is nobody's customer.
            if dice.chance(0.04) {
                let former = heritage.family(dice);
                self.marry(dice, 0, former.of(head_is_woman).clone());
            }
            return;
        }
        if size == 2 && !has_children && dice.chance(0.14) {
            self.add_flatmate(dice);
            return;
        }
        if !has_children || (size > 2 && dice.chance(0.85)) {
            self.add_partner(dice, heritage, &family, head_is_woman, head_birth);
        }
        let grandparent = size >= 5 && dice.chance(0.35);
        let children = size - self.members.len() - usize::from(grandparent);
        self.add_children(dice, heritage, &family, children, head_birth);
        if grandparent {
            let is_woman = dice.chance(0.6);
            let birth = Day::draw(dice, head_birth - 34, head_birth - 20);
            let given = heritage.given(dice, is_woman);
            let own = if dice.chance(0.65) {
                family
            } else {
                heritage.family(dice)
            };
            self.members.push(Person::new(
                given,
                own.of(is_woman).clone(),
                is_woman,
                birth,
                dice,
            ));
        }
    }

    fn add_flatmate(&mut self, dice: &mut Dice) {
        let heritage = Heritage::draw(dice);
        let is_woman = dice.chance(0.5);
        let given = heritage.given(dice, is_woman);
        let family = heritage.family(dice);
        let birth = Day::draw(dice, 1970, 2004);
        self.members.push(Person::new(
            given,
            family.of(is_woman).clone(),
            is_woman,
            birth,
            dice,
        ));
        for member in &mut self.members {
            member.traps.insert(Trap::Flatmate);
        }
    }

    fn add_partner(
        &mut self,
        dice: &mut Dice,
        heritage: Heritage,
        family: &FamilyName,
        head_is_woman: bool,
        head_birth: i64,
    ) {
        let is_woman = if dice.chance(0.95) {
            !head_is_woman
        } else {
            head_is_woman
        };
        let birth = Day::draw(dice, head_birth - 5, (head_birth + 6).min(2005));
        let given = heritage.given(dice, is_woman);
        let shares_name = dice.chance(0.82);
        let own = heritage.family(dice);
        let borne = if shares_name { family } else { &own };
        self.members.push(Person::new(
            given,
            borne.of(is_woman).clone(),
            is_woman,
            birth,
            dice,
        ));
        if shares_name && dice.chance(0.14) {
            let who = usize::from(is_woman || dice.chance(0.3));
            let former = own.of(self.members[who].is_woman).clone();
            self.marry(dice, who, former);
        }
    }

    /// One member took another family name at some moment, and moved in then or had lived here before.
    fn marry(&mut self, dice: &mut Dice, who: usize, former: Spelling) {
        let at_ms = moment(dice);
        let lived_elsewhere = dice.chance(0.5);
        let member = &mut self.members[who];
        if former == member.family {
            return;
        }
        if dice.chance(0.12) {
            member.family = former.joined(&member.family);
        }
        member.former_family = Some((at_ms, former));
        member.traps.insert(Trap::Marriage);
        if lived_elsewhere {
            let city = if dice.chance(0.7) {
                self.homes[0].city
            } else {
                City::draw(dice)
            };
            self.homes.push(Home::draw(dice, city));
            let earlier = self.homes.len() - 1;
            let member = &mut self.members[who];
            member.residences = vec![(i64::MIN, earlier), (at_ms, 0)];
            member.traps.insert(Trap::Move);
        }
    }

    fn add_children(
        &mut self,
        dice: &mut Dice,
        heritage: Heritage,
        family: &FamilyName,
        count: usize,
        head_birth: i64,
    ) {
        let first_year = (head_birth + 19).clamp(1970, 2000);
        let last_year = (head_birth + 40).clamp(first_year, 2008);
        let mut twin_of_last = count >= 2 && dice.chance(0.12);
        for child in 0..count {
            let is_woman = dice.chance(0.49);
            let mut birth = Day::draw(dice, first_year, last_year);
            let mut given = heritage.given(dice, is_woman);
            let is_twin = child > 0 && twin_of_last;
            let elder = self.members.len() - 1;
            if is_twin {
                twin_of_last = false;
                birth = self.members[elder].birth;
                let initial = self.members[elder].given.latin.chars().next();
                if let Some(initial) =
                    initial.filter(|_| heritage == Heritage::Census && dice.chance(0.4))
                {
                    given = given_with_initial(dice, is_woman, initial);
                }
            }
            let father = self
                .members
                .iter()
                .position(|member| !member.is_woman && member.birth.year <= head_birth + 6);
            let named_after = father.filter(|_| !is_woman && !is_twin && dice.chance(0.06));
            let named_after = named_after.filter(|father| self.members[*father].suffix.is_none());
            // Brothers and sisters do not share a given name, nor a child its parent's by mere chance.
            while named_after.is_none() && self.members.iter().any(|member| member.given == given) {
                given = Heritage::Census.given(dice, is_woman);
            }
            let mut person = Person::new(given, family.of(is_woman).clone(), is_woman, birth, dice);
            if let Some(father) = named_after {
                let elder = &mut self.members[father];
                elder.suffix = Some("Sr");
                elder.traps.insert(Trap::FatherAndSon);
                person.given = elder.given.clone();
                person.family = elder.family.clone();
                person.suffix = Some("Jr");
                person.traps.insert(Trap::FatherAndSon);
            }
            if is_twin {
                person.traps.insert(Trap::Twin);
                self.members[elder].traps.insert(Trap::Twin);
            }
            self.members.push(person);
        }
    }

    /// Moves of the whole household and of grown-up children alone.
    fn move_house(&mut self, dice: &mut Dice) {
        if dice.chance(0.15) {
            let at_ms = moment(dice);
            let home = self.another_home(dice);
            for member in &mut self.members {
                // Who moves in later than this has never lived at the old home.
                if member
                    .residences
                    .last()
                    .is_some_and(|(from_ms, _)| *from_ms < at_ms)
                {
                    member.residences.push((at_ms, home));
                } else if let Some(last) = member.residences.last_mut() {
                    last.1 = home;
                }
                member.traps.insert(Trap::Move);
            }
        }
        for child in 2..self.members.len() {
            let grown_up = self.members[child].birth.year <= 2002;
            if grown_up && self.members[child].residences.len() == 1 && dice.chance(0.3) {
                let at_ms = moment(dice);
                let home = self.another_home(dice);
                self.members[child].residences.push((at_ms, home));
                self.members[child].traps.insert(Trap::Move);
            }
        }
    }

    fn another_home(&mut self, dice: &mut Dice) -> usize {
        let city = if dice.chance(0.6) {
            self.homes[0].city
        } else {
            City::draw(dice)
        };
        self.homes.push(Home::draw(dice, city));
        self.homes.len() - 1
    }

    /// Phones, e-mail addresses and loyalty cards.
    fn connect(&mut self, seed: u64, dice: &mut Dice) {
        let city = self.homes[0].city;
        let shared = self.members.len() > 1;
        if dice.chance(if shared { 0.42 } else { 0.2 }) {
            self.landline = Some(city.phone(dice));
        }
        if shared && dice.chance(0.1) {
            self.email = Some(family_email(dice, &self.members[0]));
        }
        for (position, member) in self.members.iter_mut().enumerate() {
            let no_mobile = if self.landline.is_some() { 8 } else { 0 };
            for _ in 0..dice.weighted(&[no_mobile, 76, 24]) {
                let dialled = if dice.chance(0.85) {
                    city
                } else {
                    City::draw(dice)
                };
                member.phones.push(dialled.phone(dice));
            }
            for _ in 0..dice.weighted(&[4, 66, 25, 5]) {
                let address = own_email(dice, member);
                if !member.emails.contains(&address) {
                    member.emails.push(address);
                }
            }
            for card in 0..dice.weighted(&[46, 50, 4]) {
                member.cards.push(ids::loyalty_id(
                    seed,
                    self.number,
                    (2 * position + card) as u64,
                ));
            }
            if member.emails.len() > 1 {
                member.traps.insert(Trap::SeveralEmails);
            }
            if member.cards.len() > 1 {
                member.traps.insert(Trap::SecondCard);
            }
            for native in [&member.given.native, &member.family.native]
                .into_iter()
                .flatten()
            {
                // U+024F ends the Latin letters with accents.
                let is_latin = native.chars().all(|letter| letter <= '\u{24F}');
                let trap = if is_latin {
                    Trap::AccentedName
                } else {
                    Trap::NonLatinName
                };
                member.traps.insert(trap);
            }
        }
    }
}

/// A moment of the window with some time before and after it.
fn moment(dice: &mut Dice) -> i64 {
    let margin_ms = 180 * 86_400_000;
    dice.between(WINDOW_START_MS + margin_ms, WINDOW_END_MS - margin_ms)
}
