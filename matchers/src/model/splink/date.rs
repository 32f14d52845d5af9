//! How far two dates are apart, as Splink's conditions ask.

use crate::normalise::{PartialDate, normalise_date};

pub(super) const SECONDS_OF_A_DAY: f64 = 86_400.0;

/// Days since 1970-01-01.
pub(super) fn days(text: &str) -> Option<f64> {
    normalise_date(text).map(days_of)
}

/// Borders of the unit between two dates, as `date_diff` counts them.
pub(super) fn between(unit: &str, from: &str, to: &str) -> Option<f64> {
    let (from, to) = (normalise_date(from)?, normalise_date(to)?);
    let years = f64::from(to.year) - f64::from(from.year);
    match unit.to_ascii_lowercase().as_str() {
        "day" => Some(days_of(to) - days_of(from)),
        "month" => Some(years * 12.0 + f64::from(to.month) - f64::from(from.month)),
        "year" => Some(years),
        _ => None,
    }
}

/// Days of the Gregorian calendar, with years that begin in March so that the leap day is a year's last.
fn days_of(date: PartialDate) -> f64 {
    let before_march = i32::from(date.month <= 2);
    let year = i32::from(date.year) - before_march;
    let month = i32::from(date.month) + 12 * before_march - 3;
    let leap_days = year / 4 - year / 100 + year / 400;
    f64::from(365 * year + leap_days + (153 * month + 2) / 5 + i32::from(date.day) - 1 - 719_468)
}
