//! Blocking keys: what a record yields alone.

use std::collections::BTreeSet;

use proptest::prelude::*;
use veridem_matchers::block::{
    BlockingKey, BlockingRule, BlockingRules, Element, PersonalValue, rule_of,
};
use veridem_matchers::normalise::NormalisedRecord;
use veridem_matchers::{Attribute, Identifier, Pack, StatedAttribute};

use crate::arbitrary::{cases, normalised_record};
use crate::fixtures::{
    address, assert_rows, birth_date, custom, email, identifier, name, normalised, phone,
};

const ELEMENTS: [Element; 21] = [
    Element::GivenName,
    Element::GivenNameRoot,
    Element::GivenNameInitial,
    Element::GivenNameSoundex,
    Element::FamilyName,
    Element::FamilyNameSoundex,
    Element::SortedName,
    Element::SortedNamePrefix,
    Element::BirthDate,
    Element::BirthYear,
    Element::BirthDayMonth,
    Element::Email,
    Element::EmailLocal,
    Element::Phone,
    Element::PhoneTail,
    Element::Identifier,
    Element::Postcode,
    Element::PostcodePrefix,
    Element::City,
    Element::StreetLine,
    Element::Custom,
];

/// Keys that one rule may yield for one record.
const MAX_KEYS_PER_RULE: usize = 64;

/// In how many ways the different values of a record can be combined under a rule.
fn combinations(rule: &BlockingRule, record: &NormalisedRecord) -> usize {
    let different = |element: &Element| element.values(record).into_iter().collect::<BTreeSet<_>>();
    rule.key
        .iter()
        .map(|element| different(element).len())
        .product()
}

/// A blocking rule, named by its key.
pub fn rule(key: Vec<Element>, max_records: usize, shared_value: bool) -> BlockingRule {
    BlockingRule {
        name: format!("{key:?}"),
        key,
        max_records,
        shared_value,
    }
}

/// A few rules of one or two elements, some of a shared value, with small bounds.
pub fn rules() -> impl Strategy<Value = BlockingRules> {
    let shared = prop::sample::select(vec![Element::Email, Element::Phone, Element::Identifier]);
    let of_one = (shared, 2..6_usize)
        .prop_map(|(element, max_records)| rule(vec![element], max_records, true));
    let of_some = (
        prop::sample::subsequence(ELEMENTS.to_vec(), 1..3),
        2..6_usize,
    )
        .prop_map(|(key, max_records)| rule(key, max_records, false));
    prop::collection::vec(prop_oneof![of_one, of_some], 1..6).prop_map(BlockingRules)
}

proptest! {
    #![proptest_config(cases(250))]

    #[test]
    fn keys_are_sorted_distinct_and_of_the_record_alone(
        records in prop::collection::vec(normalised_record(), 1..6),
        rules in rules(),
    ) {
        for record in &records {
            let keys = rules.keys(record);
            prop_assert!(keys.is_sorted_by(|left, right| left < right));
            prop_assert!(keys.iter().all(|key| rule_of(*key) < rules.0.len()));
            prop_assert_eq!(rules.keys(&record.clone()), keys);
        }
    }

    #[test]
    fn keys_do_not_depend_on_the_order_of_values(record in normalised_record(), rules in rules()) {
        let mut reversed = record.clone();
        reversed.names.reverse();
        reversed.emails.reverse();
        reversed.phones.reverse();
        reversed.addresses.reverse();
        reversed.birth_dates.reverse();
        reversed.identifiers.reverse();
        reversed.customs.reverse();
        prop_assert_eq!(rules.keys(&reversed), rules.keys(&record));
    }

    #[test]
    fn a_richer_record_keeps_its_keys(
        left in normalised_record(),
        right in normalised_record(),
        rules in rules(),
    ) {
        let mut both = left.clone();
        both.names.extend(right.names);
        both.emails.extend(right.emails);
        both.addresses.extend(right.addresses);
        let richer: BTreeSet<BlockingKey> = rules.keys(&both).into_iter().collect();
        for key in rules.keys(&left) {
            prop_assert!(
                richer.contains(&key) || combinations(rules.rule(key), &both) > MAX_KEYS_PER_RULE
            );
        }
    }

    #[test]
    fn a_rule_yields_a_key_for_every_combination_of_different_values(
        record in normalised_record(),
        rules in rules(),
    ) {
        for (index, rule) in rules.0.iter().enumerate() {
            let found = rules
                .keys(&record)
                .into_iter()
                .filter(|key| rule_of(*key) == index)
                .count();
            prop_assert_eq!(
                found,
                combinations(rule, &record).min(MAX_KEYS_PER_RULE),
                "{}",
                rule.name
            );
        }
    }
}

#[test]
fn each_element_yields_its_values() {
    let record = normalised(&[
        name("Bob", "Garcia Lopez"),
        birth_date("1978-12-07"),
        birth_date("1981"),
        email("ann.lee@x.org"),
        email("bob@x.org"),
        phone("212-736-5000"),
        identifier("Loyalty", "A-100"),
        address("12 East Trotter Avenue", "Boston", "02134"),
        custom("employer", "Acme Ltd"),
    ]);
    let table: [(Element, &[&str]); 20] = [
        (Element::GivenName, &["bob"]),
        (Element::GivenNameInitial, &["b"]),
        (Element::GivenNameSoundex, &["B1"]),
        (Element::FamilyName, &["garcia lopez"]),
        (Element::FamilyNameSoundex, &["G624", "G62", "L12"]),
        (Element::SortedName, &["bob garcia lopez"]),
        (Element::SortedNamePrefix, &["bob garc"]),
        (Element::BirthDate, &["1978-12-07", "1981"]),
        (Element::BirthYear, &["1978", "1981"]),
        (Element::BirthDayMonth, &["7-12"]),
        (Element::Email, &["ann.lee@x.org", "bob@x.org"]),
        (Element::EmailLocal, &["ann.lee"]),
        (Element::Phone, &["+12127365000"]),
        (Element::PhoneTail, &["7365000"]),
        (Element::Identifier, &["loyalty\u{1f}A100"]),
        (Element::Postcode, &["02134"]),
        (Element::PostcodePrefix, &["021"]),
        (Element::City, &["boston"]),
        (Element::StreetLine, &["12 T636"]),
        (Element::Custom, &["employer\u{1f}acme ltd"]),
    ];
    assert_rows(table.map(|(element, expected)| {
        let found: Vec<String> = element.values(&record).into_iter().collect();
        (
            element,
            found,
            expected.iter().map(|value| (*value).to_owned()).collect(),
        )
    }));
    let roots = Element::GivenNameRoot.values(&record);
    assert!(
        roots.iter().any(|root| root == "robert") && roots.iter().any(|root| root == "bob"),
        "{roots:?}"
    );
    let nothing = normalised(&[name("B", ""), phone("999")]);
    let alone: Vec<Element> = ELEMENTS
        .into_iter()
        .filter(|element| !element.values(&nothing).is_empty())
        .collect();
    assert_eq!(alone, [Element::GivenNameInitial], "an initial is no name");
}

#[test]
fn rules_have_keys_of_their_own_and_parts_do_not_run_together() {
    let record = normalised(&[email("ann.lee@x.org")]);
    let twice = BlockingRules(vec![
        rule(vec![Element::Email], 10, true),
        rule(vec![Element::Email], 10, false),
    ]);
    assert_eq!(
        twice
            .keys(&record)
            .iter()
            .map(|key| rule_of(*key))
            .collect::<Vec<_>>(),
        [0, 1]
    );
    let names = BlockingRules(vec![rule(
        vec![Element::GivenName, Element::FamilyName],
        10,
        false,
    )]);
    assert_ne!(
        names.keys(&normalised(&[name("ab", "cde")])),
        names.keys(&normalised(&[name("abc", "de")]))
    );
}

/// Three names of one family: the family name stands three times, and must not use up the keys three times.
#[test]
fn repeated_values_do_not_use_up_the_keys_of_a_rule() {
    let roots = rule(vec![Element::GivenNameRoot, Element::FamilyName], 10, false);
    let rules = BlockingRules(vec![roots]);
    let one = normalised(&[name("Ann", "Smith")]);
    let names = ["Jo", "Ed", "Al", "Bert", "Ann"].map(|given| name(given, "Smith"));
    let keys = rules.keys(&normalised(&names));
    assert!(
        rules.keys(&one).iter().all(|key| keys.contains(key)),
        "{} keys",
        keys.len()
    );
}

#[test]
fn a_rule_needs_all_of_its_parts() {
    let rules = BlockingRules(vec![rule(
        vec![Element::FamilyName, Element::BirthDate],
        10,
        false,
    )]);
    assert!(rules.keys(&normalised(&[name("Ann", "Lee")])).is_empty());
    assert_eq!(
        rules
            .keys(&normalised(&[name("Ann", "Lee"), birth_date("1978-03-24")]))
            .len(),
        1
    );
}

#[test]
fn what_the_retail_pack_brings_together() {
    let rules = Pack::retail().blocking;
    let shares = |left: &NormalisedRecord, right: &NormalisedRecord| {
        let keys = rules.keys(right);
        rules.keys(left).iter().any(|key| keys.contains(key))
    };
    let table = [
        (
            vec![email("a.lee@x.org")],
            vec![email("A.Lee+x@X.org")],
            true,
        ),
        (
            vec![phone("212-736-5000")],
            vec![phone("+1 212 736 5000")],
            true,
        ),
        (
            vec![identifier("loyalty", "A100200")],
            vec![identifier("Loyalty", "a-100-200")],
            true,
        ),
        (
            vec![identifier("loyalty", "A100200")],
            vec![identifier("device", "A100200")],
            false,
        ),
        (
            vec![name("Lee", "Robert")],
            vec![name("Robert", "Lee")],
            true,
        ),
        (
            vec![name("Bob", "Lee"), birth_date("1978-03-24")],
            vec![name("Robert", "Zed"), birth_date("1978-03-24")],
            true,
        ),
        (
            vec![name("Bob", "Lee")],
            vec![name("Robert", "Leigh")],
            false,
        ),
        (
            vec![name("Bob", ""), address("", "Boston", "")],
            vec![name("Lee", "Bobb"), address("", "Boston", "")],
            true,
        ),
        (
            vec![custom("birth_place", "Walsall"), name("Ann", "")],
            vec![custom("birth_place", "Walsall"), name("Anna", "Lee")],
            true,
        ),
        (
            vec![email("a.lee@x.org")],
            vec![email("b.lee@x.org")],
            false,
        ),
        (vec![], vec![], false),
    ];
    for (left, right, expected) in table {
        assert_eq!(
            shares(&normalised(&left), &normalised(&right)),
            expected,
            "{left:?} {right:?}"
        );
    }
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn a_personal_value_has_the_keys_that_its_records_have(local in "[a-z]{5,9}", digits in "212736[0-9]{4}") {
        let pack = Pack::retail();
        let stated = [
            Attribute::Email(format!("{local}@Gmx.at")),
            Attribute::Phone(format!("+1 {digits}")),
            Attribute::Identifier(Identifier { scheme: "loyalty".into(), value: digits.clone() }),
        ];
        for attribute in stated {
            let value = PersonalValue::new(&attribute, pack.region()).expect("it names a person");
            let record = NormalisedRecord::new(
                &[StatedAttribute { attribute, stated_at_ms: 0 }],
                pack.region(),
            );
            let keys: BTreeSet<BlockingKey> = pack.blocking.keys(&record).into_iter().collect();
            let of_value: Vec<BlockingKey> = pack.blocking.keys_of_value(value).collect();
            prop_assert_eq!(of_value.len(), 1);
            prop_assert!(of_value.iter().all(|key| keys.contains(key)));
            let without = pack.blocking.without_shared(&record, &pack.blocking.keys(&record), |key| {
                of_value.contains(&key)
            });
            prop_assert_eq!(without, Some(NormalisedRecord::default()));
        }
        prop_assert_eq!(PersonalValue::new(&Attribute::Gender("f".into()), pack.region()), None);
    }
}
