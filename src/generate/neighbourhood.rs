//! What unrelated households have in common: a shop, and names.

use super::dice::{Dice, Purpose};
use super::mail::compact;
use super::names::{FamilyName, Spelling, common_name};
use super::places::City;

/// Households that share a shop and its namesakes.
pub(super) const HOUSEHOLDS_PER_NEIGHBOURHOOD: u64 = 1024;

/// What the households of a neighbourhood have in common.
pub(super) struct Neighbourhood {
    pub(super) number: u64,
    /// The number that the shop's staff enter for customers who give none.
    pub(super) shop_phone: String,
    /// The address that the shop's staff enter for customers who give none.
    pub(super) shop_email: String,
    /// Names that several unrelated people bear.
    pub(super) namesakes: Vec<Namesake>,
}

/// A name that unrelated people bear, and the city where half of them live.
pub(super) struct Namesake {
    pub(super) is_woman: bool,
    pub(super) given: Spelling,
    pub(super) family: FamilyName,
    pub(super) city: &'static City,
}

impl Neighbourhood {
    /// The neighbourhood of a household.
    pub(super) fn of(seed: u64, household: u64) -> Self {
        let number = household / HOUSEHOLDS_PER_NEIGHBOURHOOD;
        let mut dice = Dice::new(seed, Purpose::Neighbourhood, number);
        let city = City::draw(&mut dice);
        let namesakes = (0..4)
            .map(|_| {
                let is_woman = dice.chance(0.5);
                let (given, family) = common_name(&mut dice, is_woman);
                Namesake {
                    is_woman,
                    given,
                    family,
                    city: City::draw(&mut dice),
                }
            })
            .collect();
        let domain = dice.pick(&["gmail.com", "outlook.com", "ourstore.com"]);
        Self {
            number,
            shop_phone: city.phone(&mut dice),
            shop_email: format!(
                "{}.store{}@{domain}",
                compact(city.name),
                dice.between(100, 999)
            ),
            namesakes,
        }
    }
}
