//! Streets, cities and the addresses made of them.

use std::sync::LazyLock;

use super::dice::Dice;

static CITIES: LazyLock<Vec<City>> = LazyLock::new(|| {
    include_str!("data/cities.txt")
        .lines()
        .filter_map(|line| {
            let mut parts = line.split('|');
            Some(City {
                name: parts.next()?,
                state: parts.next()?,
                postcode_prefix: parts.next()?,
                area_code: parts.next()?,
            })
        })
        .collect()
});
static STREETS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    include_str!("data/streets.txt")
        .split_whitespace()
        .collect()
});

/// A kind of street with its abbreviation and how frequent it is.
const STREET_TYPES: [(&str, &str, u32); 12] = [
    ("Street", "St", 24),
    ("Avenue", "Ave", 16),
    ("Road", "Rd", 14),
    ("Drive", "Dr", 14),
    ("Lane", "Ln", 9),
    ("Court", "Ct", 6),
    ("Boulevard", "Blvd", 4),
    ("Place", "Pl", 4),
    ("Circle", "Cir", 3),
    ("Way", "Way", 3),
    ("Terrace", "Ter", 2),
    ("Trail", "Trl", 1),
];
const DIRECTIONS: [(&str, &str); 4] =
    [("North", "N"), ("South", "S"), ("East", "E"), ("West", "W")];

/// A city with what numbers begin with there.
#[derive(Debug)]
pub(super) struct City {
    pub(super) name: &'static str,
    pub(super) state: &'static str,
    postcode_prefix: &'static str,
    area_code: &'static str,
}

impl City {
    /// Any city.
    pub(super) fn draw(dice: &mut Dice) -> &'static Self {
        &CITIES[dice.below(CITIES.len())]
    }

    /// A phone number of ten digits.
    pub(super) fn phone(&self, dice: &mut Dice) -> String {
        // Neither exchange codes below 200 nor the service codes N11 are ever given out.
        let exchange = loop {
            let exchange = dice.between(200, 999);
            if exchange % 100 != 11 {
                break exchange;
            }
        };
        format!("{}{exchange}{:04}", self.area_code, dice.below(10_000))
    }

    /// A ZIP code of five digits.
    pub(super) fn postcode(&self, dice: &mut Dice) -> String {
        format!("{}{:02}", self.postcode_prefix, dice.low_below(60) + 1)
    }
}

/// Where people live.
#[derive(Debug)]
pub(super) struct Home {
    number: i64,
    direction: Option<usize>,
    street: &'static str,
    street_type: usize,
    unit: Option<String>,
    /// The city.
    pub(super) city: &'static City,
    /// Its ZIP code, five digits.
    pub(super) postcode: String,
    /// The four digits that narrow the ZIP code down.
    pub(super) plus_four: usize,
}

/// How a writer abbreviates a street line.
#[derive(Clone, Copy)]
pub(super) struct StreetNotation {
    /// `St` in place of `Street`.
    pub(super) short_type: bool,
    /// `N` in place of `North`.
    pub(super) short_direction: bool,
    /// Index of the word before the unit's number.
    unit_word: usize,
    /// The unit is left out.
    without_unit: bool,
    /// The street type is left out.
    without_type: bool,
}

const UNIT_WORDS: [&str; 5] = ["Apt ", "#", "Unit ", "Apartment ", "Apt. "];

impl StreetNotation {
    /// Any notation.
    pub(super) fn draw(dice: &mut Dice) -> Self {
        Self {
            short_type: dice.chance(0.5),
            short_direction: dice.chance(0.6),
            unit_word: dice.weighted(&[50, 25, 12, 6, 7]),
            without_unit: dice.chance(0.06),
            without_type: dice.chance(0.02),
        }
    }
}

impl Home {
    /// A home anywhere in a city.
    pub(super) fn draw(dice: &mut Dice, city: &'static City) -> Self {
        let number = match dice.below(3) {
            0 => dice.between(1, 199),
            1 => dice.between(1, 40) * 100 + dice.between(0, 9),
            _ => dice.between(200, 9_899),
        };
        let direction = dice.chance(0.16).then(|| dice.below(DIRECTIONS.len()));
        let street = STREETS[dice.low_below(STREETS.len())];
        let street_type = dice.weighted(&STREET_TYPES.map(|(_, _, weight)| weight));
        let unit = dice.chance(0.27).then(|| match dice.below(3) {
            0 => dice.between(1, 40).to_string(),
            1 => format!("{}{}", dice.between(1, 30), dice.letter()),
            _ => dice.between(101, 499).to_string(),
        });
        Self {
            number,
            direction,
            street,
            street_type,
            unit,
            city,
            postcode: city.postcode(dice),
            plus_four: dice.below(10_000),
        }
    }

    /// The street line as one writer puts it.
    pub(super) fn street_line(&self, notation: StreetNotation) -> String {
        let mut line = self.number.to_string();
        if let Some(direction) = self.direction {
            let (long, short) = DIRECTIONS[direction];
            line.push(' ');
            line.push_str(if notation.short_direction {
                short
            } else {
                long
            });
        }
        line.push(' ');
        line.push_str(self.street);
        if !notation.without_type {
            let (long, short, _) = STREET_TYPES[self.street_type];
            line.push(' ');
            line.push_str(if notation.short_type { short } else { long });
        }
        if let Some(unit) = self.unit.as_ref().filter(|_| !notation.without_unit) {
            line.push(' ');
            line.push_str(UNIT_WORDS[notation.unit_word]);
            line.push_str(unit);
        }
        line
    }
}
