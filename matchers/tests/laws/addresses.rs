//! Postal addresses taken apart.

use proptest::prelude::*;
use veridem_matchers::PostalAddress;
use veridem_matchers::normalise::{NormalisedAddress, fold, normalise_address};

use crate::arbitrary::{any_text, cases};
use crate::fixtures::assert_rows;

fn street(written: &str) -> NormalisedAddress {
    normalise_address(&PostalAddress {
        street: written.to_owned(),
        ..PostalAddress::default()
    })
}

/// Number, street and unit of a street line.
fn line(written: &str) -> [String; 3] {
    let address = street(written);
    [
        address.number.to_string(),
        address.street.to_string(),
        address.unit.to_string(),
    ]
}

fn assert_lines<const ROWS: usize>(table: [(&str, [&str; 3]); ROWS]) {
    assert_rows(
        table.map(|(written, expected)| (written, line(written), expected.map(str::to_owned))),
    );
}

fn unit(written: &str) -> String {
    let address = PostalAddress {
        street: "12 High Street".into(),
        unit: written.to_owned(),
        ..PostalAddress::default()
    };
    normalise_address(&address).unit.to_string()
}

fn postcode(written: &str) -> String {
    normalise_address(&PostalAddress {
        postcode: written.to_owned(),
        ..PostalAddress::default()
    })
    .postcode
    .to_string()
}

proptest! {
    #![proptest_config(cases(700))]

    #[test]
    fn total_and_folded(
        (street, number, unit) in (any_text(), any_text(), any_text()),
        (city, region, postcode, country) in (any_text(), any_text(), any_text(), any_text()),
    ) {
        let address = normalise_address(&PostalAddress {
            street,
            number,
            unit,
            city,
            region,
            postcode,
            country,
        });
        for part in [
            &address.number,
            &address.street,
            &address.unit,
            &address.city,
            &address.region,
        ] {
            prop_assert_eq!(&fold(part), part);
        }
        prop_assert!(
            address
                .postcode
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
        );
    }

    #[test]
    fn case_and_punctuation_do_not_matter(number in 1..3_000_u16, word in "[a-z]{4,9}") {
        let plain = street(&format!("{number} {word} street"));
        prop_assert_eq!(
            &plain,
            &street(&format!(" {number},  {} STREET.", word.to_uppercase()))
        );
        prop_assert_eq!(&plain, &street(&format!("{number} {word} St")));
    }
}

#[test]
fn known_street_lines() {
    let table = [
        ("", ["", "", ""]),
        ("n/a", ["", "", ""]),
        ("unknown", ["", "", ""]),
        ("12 High Street", ["12", "high st", ""]),
        ("12a High St.", ["12a", "high st", ""]),
        ("12, High Str", ["12", "high st", ""]),
        ("2700 East Trotter Avenue", ["2700", "e trotter av", ""]),
        ("2700 E Trotter Ave", ["2700", "e trotter av", ""]),
        ("1 North-West Boulevard", ["1", "n w blvd", ""]),
        ("1 Northwest Blvd", ["1", "nw blvd", ""]),
        ("Hauptstraße 5", ["5", "hauptstrasse", ""]),
        ("5 Rue de l'Église", ["5", "rue de leglise", ""]),
        ("PO Box 123", ["123", "po box", ""]),
        ("High Street", ["", "high st", ""]),
        ("12 Shop Street", ["12", "shop st", ""]),
    ];
    assert_lines(table);
}

#[test]
fn street_words_have_one_form() {
    let table = [
        ("avenue", "ave"),
        ("boulevard", "blvd"),
        ("circle", "cir"),
        ("close", "cl"),
        ("court", "ct"),
        ("crescent", "cres"),
        ("drive", "dr"),
        ("expressway", "expy"),
        ("freeway", "fwy"),
        ("gardens", "gdns"),
        ("grove", "gr"),
        ("heights", "hts"),
        ("highway", "hwy"),
        ("lane", "ln"),
        ("parade", "pde"),
        ("parkway", "pkwy"),
        ("place", "pl"),
        ("plaza", "plz"),
        ("road", "rd"),
        ("square", "sq"),
        ("street", "st"),
        ("terrace", "ter"),
        ("trail", "trl"),
        ("turnpike", "tpke"),
        ("north", "n"),
        ("east", "e"),
        ("south", "s"),
        ("west", "w"),
        ("northeast", "ne"),
        ("southwest", "sw"),
    ];
    let of = |word: &str| line(&format!("12 Vandelay {word}"));
    assert_rows(table.map(|(long, short)| (long, of(long), of(short))));
}

#[test]
fn unit_notations() {
    let table = [
        ("12 High Street #5", ["12", "high st", "5"]),
        ("12 High Street # 5", ["12", "high st", "5"]),
        ("12 High Street Apt 5", ["12", "high st", "5"]),
        ("12 High Street, Apt. 5", ["12", "high st", "5"]),
        ("12 High Street Apartment 5", ["12", "high st", "5"]),
        ("12 High Street Suite 5B", ["12", "high st", "5b"]),
        ("12 High Street Flat 5", ["12", "high st", "5"]),
        ("Flat 5, 12 High Street", ["12", "high st", "5"]),
        ("Unit 5 12 High Street", ["12", "high st", "5"]),
        ("5/12 High Street", ["12", "high st", "5"]),
        ("Unit 5/12 High Street", ["12", "high st", "5"]),
    ];
    assert_lines(table);
    assert_rows(
        ["5", "Apt 5", "#5", "Apt. #5", "unit 5", "Suite 5"]
            .map(|written| (written, unit(written), "5".to_owned())),
    );
}

#[test]
fn a_hash_after_a_unit_word_is_the_same_unit() {
    let same = ["12", "high st", "5"];
    assert_lines([
        ("12 High Street Apt #5", same),
        ("12 High Street, Unit # 5", same),
        ("12 High St Ste #5", same),
    ]);
}

#[test]
fn no_before_a_house_number_is_not_a_unit() {
    let same = ["12", "high st", ""];
    assert_lines([("No. 12 High Street", same), ("No 12, High Street", same)]);
}

#[test]
fn an_ordinal_street_without_a_house_number_has_none() {
    assert_lines([
        ("45 5th Avenue", ["45", "5th av", ""]),
        ("5th Avenue", ["", "5th av", ""]),
    ]);
}

#[test]
fn a_placeholder_unit_is_absent() {
    let placeholders = ["n/a", "N.A.", "none", "NULL", "-", "unknown"];
    assert_rows(placeholders.map(|written| (written, unit(written), String::new())));
}

#[test]
fn parts_that_the_source_keeps_apart() {
    let written = PostalAddress {
        street: "High Street".into(),
        number: "12-A".into(),
        unit: "Floor 3".into(),
        city: "  SAINT-Étienne ".into(),
        region: "none".into(),
        postcode: "sw1a 1aa".into(),
        country: "GB".into(),
    };
    let expected = NormalisedAddress {
        number: "12 a".into(),
        street: "high st".into(),
        unit: "3".into(),
        city: "saint etienne".into(),
        region: String::new().into(),
        postcode: "SW1A1AA".into(),
    };
    assert_eq!(normalise_address(&written), expected);
}

#[test]
fn known_postcodes() {
    let table = [
        ("24808", "24808"),
        ("24808-1234", "24808"),
        ("24808 1234", "24808"),
        ("248081234", "24808"),
        ("02134", "02134"),
        ("12345", "12345"),
        ("sw1a 1aa", "SW1A1AA"),
        ("SW1A-1AA", "SW1A1AA"),
        ("", ""),
        ("-", ""),
        ("n/a", ""),
        ("none", ""),
        ("unknown", ""),
        ("00000", ""),
        ("99999", ""),
        ("0000", ""),
    ];
    assert_rows(table.map(|(written, expected)| (written, postcode(written), expected.to_owned())));
}

#[test]
fn postcodes_that_count_up_and_exist_are_no_placeholders() {
    // Virginia Beach VA, Scottown OH, Noosa Heads QLD, Attunga NSW.
    let existing = ["23456", "45678", "4567", "2345"];
    assert_rows(existing.map(|written| (written, postcode(written), written.to_owned())));
}

#[test]
fn an_address_that_places_nobody_is_empty() {
    let region_alone = PostalAddress {
        region: "MA".into(),
        country: "US".into(),
        ..PostalAddress::default()
    };
    assert!(normalise_address(&region_alone).is_empty());
    assert!(!street("12 High Street").is_empty());
    assert!(street("12 High Street").view().has_street_line());
    assert!(!street("High Street").view().has_street_line());
}
