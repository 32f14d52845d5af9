//! Blocking against a brute-force model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use veridem_matchers::Pack;
use veridem_matchers::block::{
    BlockingKey, BlockingRule, BlockingRules, Candidates, Element, rule_of,
};
use veridem_matchers::normalise::NormalisedRecord;

use crate::arbitrary::{cases, normalised_record};
use crate::fixtures::{birth_date, email, identifier, name, normalised, phone};

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

fn rule(key: Vec<Element>, max_records: usize, shared_value: bool) -> BlockingRule {
    BlockingRule {
        name: format!("{key:?}"),
        key,
        max_records,
        shared_value,
    }
}

fn rules() -> impl Strategy<Value = BlockingRules> {
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

fn holders(
    records: &[NormalisedRecord],
    rules: &BlockingRules,
) -> BTreeMap<BlockingKey, BTreeSet<usize>> {
    let mut holders: BTreeMap<BlockingKey, BTreeSet<usize>> = BTreeMap::new();
    for (row, record) in records.iter().enumerate() {
        for key in rules.keys(record) {
            holders.entry(key).or_default().insert(row);
        }
    }
    holders
}

/// All pairs that share a key which no more than `max_records` records hold.
fn pairs_by_brute_force(
    records: &[NormalisedRecord],
    rules: &BlockingRules,
) -> BTreeSet<(usize, usize)> {
    let active = holders(records, rules)
        .into_iter()
        .filter(|(key, rows)| rows.len() <= rules.rule(*key).max_records);
    active
        .flat_map(|(_, rows)| {
            rows.iter()
                .flat_map(|left| {
                    rows.range(left + 1..)
                        .map(|right| (*left, *right))
                        .collect::<Vec<_>>()
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("threads")
        .install(work)
}

proptest! {
    #![proptest_config(cases(250))]

    #[test]
    fn candidates_are_the_pairs_that_share_an_active_key(records in prop::collection::vec(normalised_record(), 0..14), rules in rules()) {
        let candidates = Candidates::new(&records, &rules);
        let pairs = candidates.map_pairs(|left, right| Some((left, right)));
        prop_assert!(pairs.iter().all(|(left, right)| left < right));
        let distinct: BTreeSet<(usize, usize)> = pairs.iter().copied().collect();
        prop_assert_eq!(distinct.len(), pairs.len(), "a pair came twice");
        prop_assert_eq!(distinct, pairs_by_brute_force(&records, &rules));
    }

    #[test]
    fn inactive_are_the_keys_held_by_too_many(records in prop::collection::vec(normalised_record(), 0..20), rules in rules()) {
        let candidates = Candidates::new(&records, &rules);
        let mut expected = vec![(0, 0, 0); rules.0.len()];
        for (key, rows) in holders(&records, &rules) {
            let too_many = rows.len() > rules.rule(key).max_records;
            prop_assert_eq!(candidates.is_inactive(key), too_many);
            let (pairs, largest, inactive) = &mut expected[rule_of(key)];
            if too_many {
                *inactive += 1;
            } else if rows.len() > 1 {
                *pairs += (rows.len() * (rows.len() - 1) / 2) as u64;
                *largest = rows.len().max(*largest);
            }
        }
        let found: Vec<(u64, usize, usize)> = candidates.statistics().iter().map(|rule| (rule.pairs, rule.largest_block, rule.inactive_keys)).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn keys_are_sorted_distinct_and_of_the_record_alone(records in prop::collection::vec(normalised_record(), 1..6), rules in rules()) {
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
    fn a_richer_record_keeps_its_keys(left in normalised_record(), right in normalised_record(), rules in rules()) {
        let mut both = left.clone();
        both.names.extend(right.names);
        both.emails.extend(right.emails);
        both.addresses.extend(right.addresses);
        let richer: BTreeSet<BlockingKey> = rules.keys(&both).into_iter().collect();
        for key in rules.keys(&left) {
            prop_assert!(richer.contains(&key) || combinations(rules.rule(key), &both) > MAX_KEYS_PER_RULE);
        }
    }

    #[test]
    fn a_rule_yields_a_key_for_every_combination_of_different_values(record in normalised_record(), rules in rules()) {
        for (index, rule) in rules.0.iter().enumerate() {
            let found = rules.keys(&record).into_iter().filter(|key| rule_of(*key) == index).count();
            prop_assert_eq!(found, combinations(rule, &record).min(MAX_KEYS_PER_RULE), "{}", rule.name);
        }
    }

    #[test]
    fn shared_values_and_nothing_else_are_dropped(mut records in prop::collection::vec(normalised_record(), 1..20), rules in rules()) {
        let candidates = Candidates::new(&records, &rules);
        let count = |found: &dyn Fn(&NormalisedRecord) -> bool| records.iter().filter(|record| found(record)).count();
        let bound = |element: Element| rules.0.iter().filter(|rule| rule.shared_value && rule.key == [element]).map(|rule| rule.max_records).min().unwrap_or(usize::MAX);
        let expected: Vec<NormalisedRecord> = records.iter().map(|record| {
            let mut kept = record.clone();
            kept.emails.retain(|email| count(&|other| other.emails.iter().any(|candidate| candidate.address == email.address)) <= bound(Element::Email));
            kept.phones.retain(|phone| count(&|other| other.phones.contains(phone)) <= bound(Element::Phone));
            kept.identifiers.retain(|identifier| count(&|other| other.identifiers.contains(identifier)) <= bound(Element::Identifier));
            kept
        }).collect();
        for record in &mut records {
            rules.drop_shared(record, |key| candidates.is_inactive(key));
        }
        prop_assert_eq!(records, expected);
    }

    #[test]
    fn samples_of_a_rule_are_its_pairs(records in prop::collection::vec(normalised_record(), 0..14), rules in rules(), limit in 0..20_usize) {
        let candidates = Candidates::new(&records, &rules);
        for index in 0..rules.0.len() {
            let alone = BlockingRules(vec![rules.0[index].clone()]);
            let expected = pairs_by_brute_force(&records, &alone);
            let all: BTreeSet<(usize, usize)> = candidates.sample_of_rule(index, usize::MAX).into_iter().collect();
            prop_assert_eq!(&all, &expected);
            let some = candidates.sample_of_rule(index, limit);
            prop_assert!(some.len() >= limit.min(expected.len()) && some.iter().all(|pair| expected.contains(pair)));
        }
    }
}

#[test]
fn pairs_come_in_one_order_however_many_threads_there_are() {
    let records: Vec<NormalisedRecord> = (0..4_000_u32)
        .map(|row| {
            normalised(&[
                email(&format!("person{}@x.org", row / 3)),
                name("Ann", &format!("Lee{}", row % 50)),
                birth_date(&format!("19{:02}-03-24", row % 90)),
            ])
        })
        .collect();
    let rules = BlockingRules(vec![
        rule(vec![Element::Email], 10, true),
        rule(vec![Element::FamilyName, Element::BirthDate], 20, false),
    ]);
    let pairs = |threads| {
        in_pool(threads, || {
            Candidates::new(&records, &rules)
                .map_pairs(|left, right| (left % 5 > 0).then_some((left, right)))
        })
    };
    let alone = pairs(1);
    assert!(alone.len() > 3_000, "{} pairs", alone.len());
    assert_eq!(pairs(2), alone);
    assert_eq!(pairs(7), alone);
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
    assert!(
        rules
            .keys(&normalised(&[name("Ann", "Lee"), birth_date("1978")]))
            .is_empty(),
        "a year alone is no birth date"
    );
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
        (vec![name("Bob", "Lee")], vec![name("Robert", "Lee")], false),
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
