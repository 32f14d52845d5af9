//! An example of every level of every comparison.

use std::collections::BTreeSet;

use veridem_matchers::compare::Comparison;
use veridem_matchers::{Attribute, PersonName, PostalAddress};

use crate::arbitrary::all_comparisons;
use crate::fixtures::{
    assert_rows, birth_date, custom, email, gender, identifier, name, normalised, phone,
};

fn full(written: &str) -> Attribute {
    Attribute::Name(PersonName {
        full: written.to_owned(),
        ..PersonName::default()
    })
}

/// Number and street; city; region; postcode.
fn place(written: &str) -> Attribute {
    let mut parts = written.split('|').map(|part| part.trim().to_owned());
    let mut next = || parts.next().unwrap_or_default();
    Attribute::Address(PostalAddress {
        street: next(),
        city: next(),
        region: next(),
        postcode: next(),
        ..PostalAddress::default()
    })
}

fn identifier_of_loyalty(value: &str) -> Attribute {
    identifier("loyalty", value)
}

fn employer(value: &str) -> Attribute {
    custom("employer", value)
}

type Maker = fn(&str) -> Attribute;
/// A level, and two texts whose attributes fall in it.
type Example = (&'static str, &'static str, &'static str);

fn table() -> Vec<(Comparison, Maker, Vec<Example>)> {
    vec![
        (
            Comparison::GivenName,
            full,
            vec![
                ("exact", "Robert Jones", "ROBERT Smith"),
                ("nickname", "Robert Jones", "Bob Jones"),
                ("nickname", "Bob Jones", "Rob Jones"),
                ("similar", "Michelle Jones", "Michele Jones"),
                ("similar", "Jonh Jones", "John Jones"),
                ("initial", "R Jones", "Robert Jones"),
                ("initial", "R Jones", "R. Jones"),
                ("middle", "Ann Louise Jones", "Louise Jones"),
                ("swapped", "Lee Robert", "Robert Lee"),
                ("somewhat", "Marina Jones", "Martha Jones"),
                ("different", "Robert Jones", "Ann Jones"),
                ("different", "A Jones", "Robert Jones"),
                ("missing", "Robert Jones", ""),
            ],
        ),
        (
            Comparison::FamilyName,
            full,
            vec![
                ("exact", "Ann Smith", "Bob Smith"),
                ("similar", "Ann Smith", "Ann Smyth"),
                ("similar", "Ann van der Berg", "Ann Vanderberg"),
                ("part", "Garcia Lopez, Ann", "Lopez, Ann"),
                ("missing", "Lee Robert", "Robert Lee"),
                ("somewhat", "Ann Marten", "Ann Marlowe"),
                ("different", "Ann Smith", "Ann Jones"),
                ("missing", "Ann Smith", "Ann"),
            ],
        ),
        (
            Comparison::MiddleName,
            full,
            vec![
                ("exact", "Ann Louise Lee", "Ann Louise Lee"),
                ("initial", "Ann L Lee", "Ann Louise Lee"),
                ("initial", "Ann L Lee", "Ann L Lee"),
                ("similar", "Ann Louise Lee", "Ann Luise Lee"),
                ("similar", "Ann Louise May Lee", "Ann May Lee"),
                ("different", "Ann Louise Lee", "Ann Rose Lee"),
                ("different", "Ann L Lee", "Ann Rose Lee"),
                ("missing", "Ann Lee", "Ann Rose Lee"),
            ],
        ),
        (
            Comparison::Generation,
            full,
            vec![
                ("exact", "John Smith Jr", "John Smith Junior"),
                ("different", "John Smith Jr", "John Smith Sr"),
                ("missing", "John Smith", "John Smith Sr"),
            ],
        ),
        (
            Comparison::BirthDate,
            birth_date,
            vec![
                ("exact", "1978-03-24", "24.03.1978"),
                ("one_digit", "1978-03-24", "1978-03-25"),
                ("one_digit", "1978-03-24", "1987-03-24"),
                ("one_digit", "1978-07-12", "1978-12-07"),
                ("two_parts", "1978-03-24", "1978-03-11"),
                ("two_parts", "1978-03-24", "1962-03-24"),
                ("year", "1978-03-24", "1978-11-05"),
                ("year", "1978-03-24", "1978"),
                ("year", "1978-01-01", "1978-01-01"),
                ("year", "1978-03", "1978-03-24"),
                ("near_year", "1978-03-24", "1979-11-05"),
                ("near_year", "1978-03-24", "1979"),
                ("near_year", "1978-03-24", "1978-05"),
                ("different", "1978-03-24", "1990-11-05"),
                ("missing", "1978-03-24", "unknown"),
            ],
        ),
        (
            Comparison::Email,
            email,
            vec![
                ("exact", "ann.lee@x.org", "Ann.Lee+shop@X.org"),
                ("similar", "ann.lee@x.org", "ann.le@x.org"),
                ("similar", "bob@mail.org", "bob@mial.org"),
                ("similar", "ann.leewood@x.org", "ann.leewod@mail.de"),
                ("same_local", "ann.lee@x.org", "ann.lee@mail.de"),
                ("somewhat", "robert.jones@x.org", "rob.jones@mail.de"),
                ("different", "ann.lee@x.org", "robert@x.org"),
                ("missing", "ann.lee@x.org", "info@x.org"),
            ],
        ),
        (
            Comparison::Phone,
            phone,
            vec![
                ("exact", "(212) 736-5000", "+12127365000"),
                ("similar", "212-736-5000", "212-736-5001"),
                ("similar", "212-736-5000", "212-763-5000"),
                ("similar", "736-5000", "212-736-5000"),
                ("different", "212-736-5000", "646-736-5000"),
                ("different", "212-736-5000", "646-555-0199"),
                ("missing", "212-736-5000", "000-000-0000"),
            ],
        ),
        (
            Comparison::Address,
            place,
            vec![
                (
                    "dwelling",
                    "12 High Street | Boston || 02134",
                    "12 High St | Boston || 02134",
                ),
                ("dwelling", "12 High Street", "12 High St"),
                (
                    "dwelling",
                    "12 East High Street || | 02134",
                    "12 High Street || | 02134",
                ),
                (
                    "street_line",
                    "12 High Street #5 | Boston",
                    "12 High Street #7 | Boston",
                ),
                (
                    "street_line",
                    "12 High Street | Boston",
                    "12 High Street | Austin",
                ),
                (
                    "street",
                    "12 High Street | Boston",
                    "97 High Street | Boston",
                ),
                (
                    "street",
                    "High Street | Boston",
                    "High Street | Austin || 78701",
                ),
                (
                    "postcode",
                    "12 High Street || | 02134",
                    "9 Oak Lane || | 02134",
                ),
                (
                    "postcode_similar",
                    "12 High Street || | 02134",
                    "9 Oak Lane || | 02135",
                ),
                ("city", "12 High Street | Boston", "9 Oak Lane | Boston"),
                (
                    "region",
                    "12 High Street | Boston | MA",
                    "9 Oak Lane | Salem | MA",
                ),
                (
                    "different",
                    "12 High Street | Boston | MA",
                    "9 Oak Lane | Austin | TX",
                ),
                ("missing", "12 High Street", "| Boston"),
            ],
        ),
        (
            Comparison::Gender,
            gender,
            vec![
                ("exact", "f", "Female"),
                ("exact", "w", "female"),
                ("different", "f", "m"),
                ("missing", "f", "unknown"),
            ],
        ),
        (
            Comparison::Identifier("loyalty".to_owned()),
            identifier_of_loyalty,
            vec![
                ("exact", "A-100 200", "a100200"),
                ("similar", "A100200", "A100201"),
                ("different", "A12", "A13"),
                ("different", "A100200", "B777"),
                ("missing", "A100200", "0000"),
            ],
        ),
        (
            Comparison::Custom("employer".to_owned()),
            employer,
            vec![
                ("exact", "Acme Ltd.", "ACME ltd"),
                ("similar", "Acme Limited", "Acme Limitd"),
                ("somewhat", "Acme Ltd", "Acme Corp"),
                ("different", "Acme", "Zenith"),
                ("missing", "Acme", "n/a"),
            ],
        ),
    ]
}

#[test]
fn known_levels() {
    let rows = table()
        .into_iter()
        .flat_map(|(comparison, maker, examples)| {
            examples.into_iter().map(move |(expected, left, right)| {
                let (one, other) = (normalised(&[maker(left)]), normalised(&[maker(right)]));
                let level = comparison
                    .compare(&one, &other)
                    .map(|agreement| agreement.level);
                let found =
                    level.map_or("missing", |level| comparison.levels()[usize::from(level)]);
                ((comparison.to_string(), left, right), found, expected)
            })
        });
    assert_rows(rows);
}

#[test]
fn every_level_has_an_example() {
    let table = table();
    for (comparison, _, examples) in &table {
        let named: BTreeSet<&str> = examples.iter().map(|(level, ..)| *level).collect();
        // A level that needs a name beside the address: the next test has its example.
        let alone = |level: &&&str| **level != "same_name";
        for level in comparison.levels().iter().filter(alone) {
            assert!(named.contains(level), "{comparison} {level}");
        }
    }
    let kinds = |comparison: &Comparison| {
        comparison
            .to_string()
            .split('.')
            .next()
            .expect("a name")
            .to_owned()
    };
    let covered: BTreeSet<String> = table
        .iter()
        .map(|(comparison, ..)| kinds(comparison))
        .collect();
    assert!(
        all_comparisons()
            .iter()
            .all(|comparison| covered.contains(&kinds(comparison)))
    );
}

#[test]
fn an_address_made_of_the_name_says_less() {
    let level = |given: &str, one: &str, other: &str| {
        let records = [one, other].map(|address| normalised(&[name(given, "Lee"), email(address)]));
        let agreement = Comparison::Email.compare(&records[0], &records[1]);
        Comparison::Email.levels()[usize::from(agreement.expect("both present").level)]
    };
    assert_eq!(
        level("Ann", "ann.lee@x.org", "ann.lee@mail.de"),
        "same_name"
    );
    assert_eq!(
        level("Ann", "ann.lee42@x.org", "ann.lee4@mail.de"),
        "same_name"
    );
    assert_eq!(level("Ann", "ann.lee@x.org", "ann.lee@x.org"), "exact");
    assert_eq!(
        level("Bob", "rocket757@x.org", "rocket757@mail.de"),
        "same_local"
    );
}

#[test]
fn the_strongest_of_several_values_counts() {
    let left = normalised(&[
        email("old@a.net"),
        email("ann.lee@x.org"),
        phone("212-736-5000"),
    ]);
    let right = normalised(&[
        email("ann.lee@x.org"),
        email("other@b.net"),
        phone("646-555-0199"),
        phone("212-736-5001"),
    ]);
    assert_eq!(
        Comparison::Email
            .compare(&left, &right)
            .map(|agreement| agreement.level),
        Some(0)
    );
    assert_eq!(
        Comparison::Phone
            .compare(&left, &right)
            .map(|agreement| agreement.level),
        Some(1)
    );
}

#[test]
fn identifiers_of_different_schemes_do_not_compare() {
    let (left, right) = (
        normalised(&[identifier("loyalty", "A100200")]),
        normalised(&[identifier("device", "A100200")]),
    );
    assert_eq!(
        Comparison::Identifier("loyalty".to_owned()).compare(&left, &right),
        None
    );
}
