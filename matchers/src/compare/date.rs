//! Birth dates.

use super::strings::within_one_edit;
use crate::normalise::PartialDate;

/// Levels of a birth date, strongest first.
pub const BIRTH_DATE_LEVELS: &[&str] = &[
    "exact",
    "one_digit",
    "two_parts",
    "year",
    "near_year",
    "different",
];

/// The level of two birth dates.
pub fn birth_dates(left: PartialDate, right: PartialDate) -> u8 {
    if left == right {
        return if left.is_complete() { 0 } else { 3 };
    }
    if !left.is_complete() || !right.is_complete() {
        let month_known = |date: PartialDate| date.month > 1 || (date.month == 1 && date.day > 1);
        let month_conflicts = month_known(left) && month_known(right) && left.month != right.month;
        return match left.year.abs_diff(right.year) {
            0 if !month_conflicts => 3,
            0 | 1 => 4,
            _ => 5,
        };
    }
    let same_year = left.year == right.year;
    if within_one_edit(&left.digits(), &right.digits())
        || (same_year && left.day == right.month && left.month == right.day)
    {
        return 1;
    }
    let same_parts = [same_year, left.month == right.month, left.day == right.day]
        .iter()
        .filter(|same| **same)
        .count();
    if same_parts == 2 {
        return 2;
    }
    match left.year.abs_diff(right.year) {
        0 => 3,
        1 => 4,
        _ => 5,
    }
}
