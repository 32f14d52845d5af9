//! Weights of pairs and their explanation.

use proptest::prelude::*;
use veridem_matchers::compare::Comparison;
use veridem_matchers::normalise::NormalisedRecord;
use veridem_matchers::{Decision, MatchProbability, MatchWeight, Model, Scorer};

use crate::arbitrary::{all_comparisons, cases, normalised_record};
use crate::fixtures::{model, normalised, pack, pack_of_thresholds};

/// A model whose weights are drawn at random.
fn any_model() -> impl Strategy<Value = Model> {
    let probability = || 0.000_1..0.999_9_f64;
    let values = prop::collection::vec((probability(), probability()), 60);
    (
        probability(),
        values,
        prop::sample::subsequence(all_comparisons(), 0..=13),
    )
        .prop_map(|(prior, values, comparisons)| {
            let mut drawn = model(&comparisons);
            drawn.prior = prior;
            drawn.household_prior = (1.0 - prior) / 3.0;
            let mut values = values.into_iter().cycle();
            for level in drawn
                .comparisons
                .iter_mut()
                .flat_map(|comparison| &mut comparison.levels)
            {
                (level.m, level.u) = values.next().expect("a cycle");
            }
            drawn
        })
}

/// The record without what `comparison` looks at.
fn without(record: &NormalisedRecord, comparison: &Comparison) -> NormalisedRecord {
    let mut less = record.clone();
    match comparison {
        Comparison::GivenName
        | Comparison::FamilyName
        | Comparison::MiddleName
        | Comparison::Generation => less.names.clear(),
        Comparison::BirthDate => less.birth_dates.clear(),
        Comparison::Email => less.emails.clear(),
        Comparison::Phone => less.phones.clear(),
        Comparison::Address => less.addresses.clear(),
        Comparison::Gender => less.gender = None,
        Comparison::Identifier(scheme) => less
            .identifiers
            .retain(|identifier| identifier.scheme != *scheme),
        Comparison::Custom(name) => less.customs.retain(|custom| custom.name != *name),
    }
    less
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn symmetric(model in any_model(), left in normalised_record(), right in normalised_record()) {
        let scorer = Scorer::new(model, &pack(""));
        prop_assert_eq!(scorer.score(&left, &right), scorer.score(&right, &left));
        prop_assert_eq!(scorer.explain(&left, &right), scorer.explain(&right, &left));
    }

    #[test]
    fn an_explanation_sums_to_the_weight(
        model in any_model(),
        left in normalised_record(),
        right in normalised_record(),
    ) {
        let scorer = Scorer::new(model, &pack(""));
        let explanation = scorer.explain(&left, &right);
        let sum: f64 = explanation
            .parts
            .iter()
            .map(|part| part.weight.0 + part.term_adjustment.0)
            .sum::<f64>()
            + explanation.prior_weight.0
            + explanation.household_adjustment.0;
        prop_assert!(explanation.household_adjustment.0 <= 0.0);
        prop_assert!(
            (sum - explanation.score.weight.0).abs() < 1e-9,
            "{} explained, {} decided",
            sum,
            explanation.score.weight.0
        );
        prop_assert_eq!(explanation.score, scorer.score(&left, &right));
        let levels: Vec<&str> = explanation.parts.iter().map(|part| part.level).collect();
        let names = scorer.level_names(scorer.levels(&left, &right));
        prop_assert_eq!(levels, names.collect::<Vec<_>>());
        let compared: Vec<&Comparison> = explanation
            .parts
            .iter()
            .map(|part| &part.comparison)
            .collect();
        prop_assert_eq!(
            compared,
            scorer
                .model()
                .comparisons
                .iter()
                .map(|comparison| &comparison.comparison)
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn each_part_weighs_what_the_model_says(
        model in any_model(),
        left in normalised_record(),
        right in normalised_record(),
    ) {
        let scorer = Scorer::new(model.clone(), &pack(""));
        for (part, comparison) in scorer
            .explain(&left, &right)
            .parts
            .iter()
            .zip(&model.comparisons)
        {
            let expected = comparison
                .levels
                .iter()
                .find(|level| level.level == part.level)
                .map_or(0.0, |level| (level.m / level.u).log2());
            prop_assert!(
                (part.weight.0 - expected).abs() < 1e-9,
                "{} {}",
                part.comparison,
                part.level
            );
            prop_assert_eq!(
                part.level == "missing",
                comparison.comparison.compare(&left, &right).is_none()
            );
        }
    }

    #[test]
    fn missing_weighs_nothing_and_changes_nothing_else(
        model in any_model(),
        left in normalised_record(),
        right in normalised_record(),
        index in any::<prop::sample::Index>(),
    ) {
        if model.comparisons.is_empty() {
            return Ok(());
        }
        let removed = model.comparisons[index.index(model.comparisons.len())]
            .comparison
            .clone();
        let scorer = Scorer::new(model, &pack(""));
        let (whole, less) = (
            scorer.explain(&left, &right),
            scorer.explain(&without(&left, &removed), &right),
        );
        let is_name = |comparison: &Comparison| {
            matches!(
                comparison,
                Comparison::GivenName
                    | Comparison::FamilyName
                    | Comparison::MiddleName
                    | Comparison::Generation
            )
        };
        for (before, after) in whole.parts.iter().zip(&less.parts) {
            if after.comparison == removed || (is_name(&removed) && is_name(&after.comparison)) {
                prop_assert_eq!(
                    (after.level, after.weight, after.term_adjustment),
                    ("missing", MatchWeight(0.0), MatchWeight(0.0))
                );
            } else {
                prop_assert_eq!(before, after);
            }
        }
    }

    #[test]
    fn decisions_follow_the_thresholds(
        model in any_model(),
        left in normalised_record(),
        right in normalised_record(),
        bounds in (0.001..0.999_f64, 0.001..0.999_f64),
    ) {
        let (review, matching) = (bounds.0.min(bounds.1), bounds.0.max(bounds.1));
        let scorer = Scorer::new(model, &pack_of_thresholds(matching, review, ""));
        let score = scorer.score(&left, &right);
        let expected = if score.weight >= scorer.match_weight() {
            Decision::Match
        } else if score.weight >= scorer.review_weight() {
            Decision::Review
        } else {
            Decision::NonMatch
        };
        prop_assert_eq!(score.decision, expected);
        prop_assert!((MatchProbability::from(scorer.match_weight()).0 - matching).abs() < 1e-9);
        prop_assert!((MatchProbability::from(scorer.review_weight()).0 - review).abs() < 1e-9);
        let by_probability = score.probability().0;
        prop_assert!((0.0..=1.0).contains(&by_probability));
        prop_assert!(
            (by_probability - matching).abs() < 1e-9
                || (by_probability >= matching) == (score.decision == Decision::Match)
        );
    }

    #[test]
    fn a_model_read_from_its_file_weighs_the_same(
        model in any_model(),
        left in normalised_record(),
        right in normalised_record(),
    ) {
        let read = Model::from_json(&model.to_json()).expect("a model that was written");
        prop_assert_eq!(
            Scorer::new(read, &pack("")).score(&left, &right),
            Scorer::new(model, &pack("")).score(&left, &right)
        );
    }
}

#[test]
fn records_that_say_nothing_weigh_the_prior() {
    let nothing = normalised(&[]);
    let scorer = Scorer::new(model(&all_comparisons()), &pack(""));
    let score = scorer.score(&nothing, &nothing);
    assert!((score.probability().0 - 0.001).abs() < 1e-12);
    assert_eq!(score.decision, Decision::NonMatch);
}

#[test]
fn a_weight_at_a_threshold_has_reached_it() {
    let nothing = normalised(&[]);
    let at = |matching: f64, review: f64| {
        let mut of_nothing = model(&[]);
        of_nothing.household_prior = 0.0;
        let scorer = Scorer::new(of_nothing, &pack_of_thresholds(matching, review, ""));
        scorer.score(&nothing, &nothing).decision
    };
    assert_eq!(at(0.001, 0.000_5), Decision::Match);
    assert_eq!(at(0.5, 0.001), Decision::Review);
    assert_eq!(at(0.5, 0.002), Decision::NonMatch);
}
