//! Laws that every comparison keeps.

use proptest::prelude::*;
use veridem_matchers::compare::Comparison;
use veridem_matchers::normalise::{NormalisedRecord, Region};
use veridem_matchers::{Attribute, PersonName, StatedAttribute};

use crate::arbitrary::{
    all_comparisons, attribute, cases, normalised_record, person_name, stated_attributes,
};
use crate::fixtures::{
    address, birth_date, custom, email, gender, identifier, name, normalised, phone,
};

fn level_of(
    comparison: &Comparison,
    left: &NormalisedRecord,
    right: &NormalisedRecord,
) -> Option<u8> {
    comparison
        .compare(left, right)
        .map(|agreement| agreement.level)
}

fn level_name(comparison: &Comparison, left: &[Attribute], right: &[Attribute]) -> &'static str {
    level_of(comparison, &normalised(left), &normalised(right))
        .map_or("missing", |level| comparison.levels()[usize::from(level)])
}

/// A record with every attribute known in full.
fn complete_record() -> impl Strategy<Value = NormalisedRecord> {
    let names = (
        "[a-z]{2,9}",
        "[a-z]{2,9}",
        "[a-z]{2,9}",
        prop::sample::select(vec!["Jr", "Sr", "II", "III", "IV"]),
    );
    let place = (1..2_000_u16, "[a-z]{4,9}", "[a-z]{4,9}", 10_000..99_999_u32);
    let rest = (
        1950..2000_u16,
        2..13_u8,
        1..29_u8,
        2_000_000..9_000_000_u32,
        prop::sample::select(vec!["f", "m", "divers"]),
    );
    let complete = (names, place, rest).prop_map(
        |(
            (given, middle, family, suffix),
            (number, street, city, postcode),
            (year, month, day, digits, sex),
        )| {
            normalised(&[
                Attribute::Name(PersonName {
                    given,
                    middle,
                    family: family.clone(),
                    suffix: suffix.to_owned(),
                    full: String::new(),
                }),
                birth_date(&format!("{year}-{month:02}-{day:02}")),
                email(&format!("q{family}@mail.org")),
                phone(&format!("212{digits}")),
                address(
                    &format!("{number} {street} street"),
                    &city,
                    &postcode.to_string(),
                ),
                gender(sex),
                identifier("loyalty", &format!("A{digits}")),
                identifier("device", &format!("D{digits}")),
                custom("employer", &format!("works {digits}")),
                custom("segment", &format!("kind {digits}")),
            ])
        },
    );
    complete.prop_filter("random letters spell a placeholder or a title", |record| {
        all_comparisons()
            .iter()
            .all(|comparison| comparison.is_present(record))
    })
}

proptest! {
    #![proptest_config(cases(900))]

    #[test]
    fn symmetric_and_within_its_levels(left in normalised_record(), right in normalised_record()) {
        for comparison in all_comparisons() {
            let agreement = comparison.compare(&left, &right);
            prop_assert_eq!(
                agreement,
                comparison.compare(&right, &left),
                "{}",
                comparison
            );
            prop_assert!(
                agreement.is_none_or(
                    |agreement| usize::from(agreement.level) < comparison.levels().len()
                )
            );
        }
    }

    #[test]
    fn names_of_few_letters_compare_symmetrically(names in prop::collection::vec("[a-d]{1,9}", 6)) {
        let record = |parts: &[String]| {
            normalised(&[Attribute::Name(PersonName {
                given: parts[0].clone(),
                middle: parts[1].clone(),
                family: parts[2].clone(),
                ..PersonName::default()
            })])
        };
        let (left, right) = (record(&names[..3]), record(&names[3..]));
        for comparison in [
            Comparison::GivenName,
            Comparison::MiddleName,
            Comparison::FamilyName,
        ] {
            prop_assert_eq!(
                comparison.compare(&left, &right),
                comparison.compare(&right, &left),
                "{} of {:?}",
                comparison,
                names
            );
        }
    }

    /// Two exceptions. Names stand in each other's place: given and family name may agree at `swapped` though one side lacks
    /// the part. Addresses without a common part: both are present, yet there is nothing to compare.
    #[test]
    fn none_exactly_where_a_side_is_missing(
        left in normalised_record(),
        right in normalised_record(),
    ) {
        for comparison in all_comparisons() {
            let both = comparison.is_present(&left) && comparison.is_present(&right);
            let level = level_of(&comparison, &left, &right);
            match comparison {
                Comparison::GivenName | Comparison::FamilyName if !both => {
                    let allowed = level
                        .is_none_or(|level| comparison.levels()[usize::from(level)] == "swapped");
                    prop_assert!(allowed, "{} is {:?} with a side missing", comparison, level);
                }
                Comparison::Address if both && level.is_none() => {
                    let common = left
                        .addresses
                        .iter()
                        .flat_map(|one| right.addresses.iter().map(move |other| (one, other)))
                        .any(|(one, other)| {
                            [
                                (&one.street, &other.street),
                                (&one.city, &other.city),
                                (&one.postcode, &other.postcode),
                            ]
                            .iter()
                            .any(|(one, other)| !one.is_empty() && !other.is_empty())
                        });
                    prop_assert!(!common, "addresses with a common part must compare");
                }
                _ => prop_assert_eq!(level.is_some(), both, "{}", comparison),
            }
        }
    }

    /// Gender is left out: a record has one, a further value replaces it.
    #[test]
    fn a_further_value_never_weakens_the_level(
        attributes in stated_attributes(),
        more in attribute(),
        right in normalised_record(),
    ) {
        let before = NormalisedRecord::new(&attributes, Region::US);
        let mut extended = attributes;
        extended.push(StatedAttribute {
            attribute: more,
            stated_at_ms: 0,
        });
        let after = NormalisedRecord::new(&extended, Region::US);
        for comparison in all_comparisons()
            .into_iter()
            .filter(|comparison| *comparison != Comparison::Gender)
        {
            // What an e-mail address says depends on whether it is made of the record's name.
            let of_name = comparison == Comparison::Email && before.names != after.names;
            if let Some(level) = level_of(&comparison, &before, &right)
                && !of_name
            {
                let strengthened = level_of(&comparison, &after, &right);
                prop_assert!(
                    strengthened.is_some_and(|after| after <= level),
                    "{}: {:?} became {:?}",
                    comparison,
                    level,
                    strengthened
                );
            }
        }
    }

    #[test]
    fn the_order_of_values_does_not_matter(
        attributes in prop::collection::vec(attribute(), 0..7),
        right in normalised_record(),
    ) {
        let one_gender: Vec<Attribute> = attributes
            .into_iter()
            .filter(|attribute| !matches!(attribute, Attribute::Gender(_)))
            .collect();
        let reversed: Vec<Attribute> = one_gender.iter().rev().cloned().collect();
        let (forwards, backwards) = (normalised(&one_gender), normalised(&reversed));
        for comparison in all_comparisons() {
            prop_assert_eq!(
                comparison.compare(&forwards, &right),
                comparison.compare(&backwards, &right),
                "{}",
                comparison
            );
        }
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn a_complete_record_agrees_with_itself_at_the_strongest_level(record in complete_record()) {
        for comparison in all_comparisons() {
            prop_assert_eq!(
                level_of(&comparison, &record, &record),
                Some(0),
                "{}",
                comparison
            );
        }
    }

    #[test]
    fn a_comparison_reads_back_from_its_name(text in ".{0,12}") {
        for comparison in all_comparisons().into_iter().chain([
            Comparison::Custom(text.clone()),
            Comparison::Identifier(text.clone()),
        ]) {
            prop_assert_eq!(Comparison::from(comparison.to_string()), comparison);
        }
    }

    #[test]
    fn swapped_names_are_found_whatever_the_names(given in "[b-d]{5,8}", family in "[f-h]{5,8}") {
        let written = [name(&given, &family)];
        let swapped = [name(&family, &given)];
        prop_assert_eq!(
            level_name(&Comparison::GivenName, &written, &swapped),
            "swapped"
        );
        prop_assert_eq!(
            level_name(&Comparison::FamilyName, &written, &swapped),
            "missing",
            "a swap counts once"
        );
    }

    #[test]
    fn a_name_compares_with_itself_part_by_part(written in person_name()) {
        let record = normalised(&[Attribute::Name(written)]);
        for comparison in [Comparison::FamilyName, Comparison::Generation] {
            let expected = comparison.is_present(&record).then_some(0);
            prop_assert_eq!(
                level_of(&comparison, &record, &record),
                expected,
                "{} of {:?}",
                comparison,
                record.names
            );
        }
    }
}
