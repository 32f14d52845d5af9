//! Candidate pairs against a brute-force model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use veridem_matchers::Table;
use veridem_matchers::block::{
    BlockingKey, BlockingRecall, BlockingRules, Candidates, Element, rule_of,
};
use veridem_matchers::normalise::NormalisedRecord;

use crate::arbitrary::{cases, normalised_record};
use crate::blocking::{rule, rules};
use crate::fixtures::{birth_date, email, name, normalised};

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

fn rows((left, right): (u32, u32)) -> (usize, usize) {
    (left as usize, right as usize)
}

proptest! {
    #![proptest_config(cases(250))]

    #[test]
    fn candidates_are_the_pairs_that_share_an_active_key(
        records in prop::collection::vec(normalised_record(), 0..14),
        rules in rules(),
    ) {
        let table = Table::new(&records);
        let candidates = Candidates::new(&table, &rules);
        let pairs = candidates.map_pairs(&table, |left, right| Some((left, right)));
        prop_assert!(pairs.iter().all(|(left, right)| left < right));
        let distinct: BTreeSet<(usize, usize)> = pairs.iter().copied().collect();
        prop_assert_eq!(distinct.len(), pairs.len(), "a pair came twice");
        prop_assert_eq!(distinct, pairs_by_brute_force(&records, &rules));
    }

    #[test]
    fn rules_are_credited_with_the_matches_that_they_bring(
        records in prop::collection::vec(normalised_record(), 0..14),
        rules in rules(),
    ) {
        let table = Table::new(&records);
        let mut candidates = Candidates::new(&table, &rules);
        // Every third pair is a match.
        let matches: Vec<(u32, u32)> = candidates
            .map_pairs(&table, |left, right| Some((left as u32, right as u32)))
            .into_iter()
            .filter(|(left, right)| (left + right) % 3 == 0)
            .collect();
        let recall = candidates.recall(&matches);
        let holders = holders(&records, &rules);
        let rules_of = |pair: &(u32, u32)| -> BTreeSet<usize> {
            let (left, right) = rows(*pair);
            let shared = holders.iter().filter(|(key, held_by)| {
                held_by.len() <= rules.rule(**key).max_records
                    && held_by.contains(&left)
                    && held_by.contains(&right)
            });
            shared.map(|(key, _)| rule_of(*key)).collect()
        };
        let brought: Vec<BTreeSet<usize>> = matches.iter().map(rules_of).collect();
        let by = |number: usize| brought.iter().filter(|rules| rules.len() == number).count() as u64;
        prop_assert_eq!(
            (recall.matches, recall.by_one_rule, recall.by_two_rules),
            (matches.len() as u64, by(1), by(2))
        );
        prop_assert!(recall.recall.is_none_or(|share| share > 0.0 && share <= 1.0));
        for (index, rule) in candidates.statistics().iter().enumerate() {
            let its: Vec<_> = brought.iter().filter(|rules| rules.contains(&index)).collect();
            prop_assert_eq!(rule.matches, its.len() as u64);
            let alone = its.iter().filter(|rules| rules.len() == 1).count();
            prop_assert_eq!(rule.matches_alone, alone as u64);
        }
    }

    #[test]
    fn inactive_are_the_keys_held_by_too_many(
        records in prop::collection::vec(normalised_record(), 0..20),
        rules in rules(),
    ) {
        let candidates = Candidates::new(&Table::new(&records), &rules);
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
        let found: Vec<(u64, usize, usize)> = candidates
            .statistics()
            .iter()
            .map(|rule| (rule.pairs, rule.largest_block, rule.inactive_keys))
            .collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn shared_values_and_nothing_else_are_dropped(
        mut records in prop::collection::vec(normalised_record(), 1..20),
        rules in rules(),
    ) {
        let candidates = Candidates::new(&Table::new(&records), &rules);
        let count = |found: &dyn Fn(&NormalisedRecord) -> bool| {
            records.iter().filter(|record| found(record)).count()
        };
        let bound = |element: Element| {
            rules
                .0
                .iter()
                .filter(|rule| rule.shared_value && rule.key == [element])
                .map(|rule| rule.max_records)
                .min()
                .unwrap_or(usize::MAX)
        };
        let expected: Vec<NormalisedRecord> = records
            .iter()
            .map(|record| {
                let mut kept = record.clone();
                kept.emails.retain(|email| {
                    count(&|other| {
                        other
                            .emails
                            .iter()
                            .any(|candidate| candidate.address == email.address)
                    }) <= bound(Element::Email)
                });
                kept.phones.retain(|phone| {
                    count(&|other| other.phones.contains(phone)) <= bound(Element::Phone)
                });
                kept.identifiers.retain(|identifier| {
                    count(&|other| other.identifiers.contains(identifier))
                        <= bound(Element::Identifier)
                });
                kept
            })
            .collect();
        for record in &mut records {
            rules.drop_shared(record, |key| candidates.is_inactive(key));
        }
        prop_assert_eq!(records, expected);
    }

    #[test]
    fn samples_of_a_rule_are_its_pairs(
        records in prop::collection::vec(normalised_record(), 0..14),
        rules in rules(),
        limit in 0..20_usize,
    ) {
        let candidates = Candidates::new(&Table::new(&records), &rules);
        for index in 0..rules.0.len() {
            let alone = BlockingRules(vec![rules.0[index].clone()]);
            let expected = pairs_by_brute_force(&records, &alone);
            let all: BTreeSet<(usize, usize)> = candidates
                .sample_of_rule(index, usize::MAX)
                .into_iter()
                .map(rows)
                .collect();
            prop_assert_eq!(&all, &expected);
            let some = candidates.sample_of_rule(index, limit);
            prop_assert!(
                some.len() >= limit.min(expected.len())
                    && some.iter().all(|pair| expected.contains(&rows(*pair)))
            );
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
            let table = Table::new(&records);
            Candidates::new(&table, &rules).map_pairs(&table, |left, right| {
                (left % 5 > 0).then_some((left, right))
            })
        })
    };
    let alone = pairs(1);
    assert!(alone.len() > 3_000, "{} pairs", alone.len());
    assert_eq!(pairs(2), alone);
    assert_eq!(pairs(7), alone);
}

#[test]
fn what_independent_rules_miss_is_estimated() {
    // Five rules bring a match with a probability each: drawn by a fixed sequence, 20,000 matches.
    let chances = [0.5, 0.4, 0.3, 0.6, 0.2];
    let mut state = 7_u64;
    let mut draw = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    for _ in 0..20_000 {
        let brought_by = chances.iter().enumerate().fold(0, |rules, (rule, chance)| {
            rules | u64::from(draw() < *chance) << rule
        });
        *counts.entry(brought_by).or_default() += 1;
    }
    let missed = counts.remove(&0).expect("some matches are missed") as f64;
    let recall = BlockingRecall::of_counts(chances.len(), counts);
    assert!(
        (recall.missed - missed).abs() < missed * 0.15,
        "{} estimated, {missed} missed",
        recall.missed
    );
}
