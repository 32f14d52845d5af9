//! A table answers as the records that it was made of.

use proptest::prelude::*;
use veridem_matchers::block::Candidates;
use veridem_matchers::normalise::NormalisedRecord;
use veridem_matchers::{Decision, Pack, Scorer, Table, TableScorer};

use crate::arbitrary::{all_comparisons, cases, normalised_record};
use crate::fixtures::{model, pack_of_thresholds};

/// Rules that need every level, so that a pair's score tells whether one is wrong.
const CAP: &str =
    "[[rules]]\nname = \"cap\"\neffect = \"cap_at_review\"\nwhen = { phone = [\"missing\"] }\n";

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn pairs_weigh_as_the_records_do(records in prop::collection::vec(normalised_record(), 2..5), rules in any::<bool>()) {
        let pack = pack_of_thresholds(0.9, 0.001, if rules { CAP } else { "" });
        let scorer = Scorer::new(model(&all_comparisons()), &pack);
        let table = Table::new(&records);
        let of_table = TableScorer::new(&scorer, &table);
        for left in 0..records.len() {
            for right in left + 1..records.len() {
                let (one, other) = (&records[left], &records[right]);
                let score = scorer.score(one, other);
                let levels = scorer.levels(one, other);
                let expected = (score.decision != Decision::NonMatch).then_some((score, levels));
                prop_assert_eq!(scorer.score_close(one, other), expected.map(|(score, _)| score));
                prop_assert_eq!(of_table.score(left, right), expected);
                prop_assert_eq!(of_table.evidence(left, right), scorer.evidence(one, other));
            }
        }
    }

    #[test]
    fn rows_read_back(records in prop::collection::vec(normalised_record(), 0..6)) {
        let table = Table::new(&records);
        prop_assert_eq!(table.len(), records.len());
        for (row, record) in records.iter().enumerate() {
            prop_assert_eq!(sorted(table.record(row)), sorted(record.clone()));
        }
    }

    #[test]
    fn shared_values_are_dropped_as_from_records(records in prop::collection::vec(normalised_record(), 1..20)) {
        let mut rules = Pack::retail().blocking;
        for rule in &mut rules.0 {
            rule.max_records = 2;
        }
        let mut table = Table::new(&records);
        let candidates = Candidates::new(&table, &rules);
        table.drop_shared(&rules, |key| candidates.is_inactive(key));
        for (row, record) in records.into_iter().enumerate() {
            let mut expected = record;
            rules.drop_shared(&mut expected, |key| candidates.is_inactive(key));
            prop_assert_eq!(sorted(table.record(row)), sorted(expected));
        }
    }
}

/// A table keeps identifiers and custom attributes by scheme and name.
fn sorted(mut record: NormalisedRecord) -> NormalisedRecord {
    record.identifiers.sort();
    record
        .customs
        .sort_by(|left, right| (&left.name, &left.value).cmp(&(&right.name, &right.value)));
    record
}
