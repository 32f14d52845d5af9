//! Given and family names, with swaps between the two.

use super::Agreement;
use super::strings::{jaro_winkler, within_one_edit};
use crate::normalise::NameView;
use crate::normalise::nickname::are_nicknames;

/// Levels of a given name, strongest first.
pub const GIVEN_NAME_LEVELS: &[&str] = &[
    "exact",
    "nickname",
    "similar",
    "initial",
    "middle",
    "swapped",
    "somewhat",
    "different",
];
/// The level of given names that are different.
pub const GIVEN_NAME_DIFFERENT: u8 = GIVEN_NAME_LEVELS.len() as u8 - 1;
/// Levels of a family name, strongest first.
pub const FAMILY_NAME_LEVELS: &[&str] = &["exact", "similar", "part", "somewhat", "different"];
/// The level of family names that are different.
pub const FAMILY_NAME_DIFFERENT: u8 = FAMILY_NAME_LEVELS.len() as u8 - 1;
/// Levels of a middle name, strongest first.
pub const MIDDLE_NAME_LEVELS: &[&str] = &["exact", "initial", "similar", "different"];

/// Compares given names; `None` where one is missing.
pub fn given_names<'a>(left: NameView<'a>, right: NameView<'a>) -> Option<Agreement<'a>> {
    let (one, other) = (left.given, right.given);
    if one.is_empty() || other.is_empty() {
        return swapped(left, right).then(|| Agreement::at(5));
    }
    if one == other {
        // An initial that equals an initial says no more than that the first letters agree.
        return Some(if one.len() == 1 {
            Agreement::at(3)
        } else {
            Agreement::on(0, one, other)
        });
    }
    if one.len() == 1 || other.len() == 1 {
        let agrees = one.as_bytes()[0] == other.as_bytes()[0];
        return Some(Agreement::at(if agrees { 3 } else { 7 }));
    }
    if are_nicknames(one, other) {
        return Some(Agreement::on(1, one, other));
    }
    let similarity = jaro_winkler(one, other);
    if similarity >= 0.92
        || (one.len().min(other.len()) >= 4 && within_one_edit(one.as_bytes(), other.as_bytes()))
    {
        return Some(Agreement::on(2, one, other));
    }
    if swapped(left, right) {
        return Some(Agreement::at(5));
    }
    if has_word(left.middle, other) || has_word(right.middle, one) {
        return Some(Agreement::at(4));
    }
    Some(Agreement::at(if similarity >= 0.8 { 6 } else { 7 }))
}

/// Compares family names; `None` where one is missing, or where given and family name are swapped: the given name says so, and it
/// counts once.
pub fn family_names<'a>(left: NameView<'a>, right: NameView<'a>) -> Option<Agreement<'a>> {
    let (one, other) = (left.family, right.family);
    if one.is_empty() || other.is_empty() {
        return None;
    }
    if one == other {
        return Some(Agreement::on(0, one, other));
    }
    let similarity = jaro_winkler(one, other);
    let long_enough = one.len().min(other.len()) >= 4;
    if similarity >= 0.92
        || (long_enough && within_one_edit(one.as_bytes(), other.as_bytes()))
        || spelled_together(one, other)
    {
        return Some(Agreement::on(1, one, other));
    }
    if shares_part(one, other) {
        return Some(Agreement::at(2));
    }
    if swapped(left, right) {
        return None;
    }
    Some(Agreement::at(if similarity >= 0.8 { 3 } else { 4 }))
}

/// Compares middle names; `None` where one is missing.
pub fn middle_names<'a>(left: NameView<'a>, right: NameView<'a>) -> Option<Agreement<'a>> {
    let (one, other) = (left.middle, right.middle);
    if one.is_empty() || other.is_empty() {
        return None;
    }
    if one == other {
        return Some(Agreement::at(if one.len() == 1 { 1 } else { 0 }));
    }
    let shorter = one.len().min(other.len());
    let same_initial = one.as_bytes()[0] == other.as_bytes()[0];
    if shorter == 1 {
        return Some(Agreement::at(if same_initial { 1 } else { 3 }));
    }
    let similar = jaro_winkler(one, other) >= 0.88
        || one
            .split(' ')
            .any(|word| word.len() > 1 && has_word(other, word));
    Some(Agreement::at(if similar { 2 } else { 3 }))
}

/// Compares generations; `None` where one is missing.
pub fn generations<'a>(left: NameView<'a>, right: NameView<'a>) -> Option<Agreement<'a>> {
    let known = !left.generation.is_empty() && !right.generation.is_empty();
    known.then(|| Agreement::at(u8::from(left.generation != right.generation)))
}

/// Whether given and family name stand in each other's place, one typing error forgiven in one of them.
fn swapped(left: NameView<'_>, right: NameView<'_>) -> bool {
    let alike = |one: &str, other: &str| one.len() > 1 && one == other;
    let close = |one: &str, other: &str| {
        alike(one, other) || (one.len() > 3 && jaro_winkler(one, other) >= 0.92)
    };
    (alike(left.given, right.family)
        && (close(left.family, right.given) || left.family.is_empty() || right.given.is_empty()))
        || (alike(left.family, right.given)
            && (close(left.given, right.family)
                || left.given.is_empty()
                || right.family.is_empty()))
}

fn has_word(words: &str, word: &str) -> bool {
    words
        .split(' ')
        .any(|candidate| candidate == word || are_nicknames(candidate, word))
}

fn spelled_together(one: &str, other: &str) -> bool {
    (one.contains(' ') || other.contains(' '))
        && one
            .bytes()
            .filter(|byte| *byte != b' ')
            .eq(other.bytes().filter(|byte| *byte != b' '))
}

/// Whether a part of a compound name (not a mere particle) stands in the other: maiden and married names.
fn shares_part(one: &str, other: &str) -> bool {
    (one.contains(' ') || other.contains(' '))
        && one.split(' ').any(|part| {
            part.len() >= 4
                && other
                    .split(' ')
                    .any(|candidate| jaro_winkler(candidate, part) >= 0.94)
        })
}
