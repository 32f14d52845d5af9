//! Match rules beside the weights.

use proptest::prelude::*;
use veridem_matchers::compare::Comparison;
use veridem_matchers::normalise::NormalisedRecord;
use veridem_matchers::rules::{MatchRule, RuleEffect};
use veridem_matchers::{Attribute, Decision, Scorer};

use crate::arbitrary::{all_comparisons, cases, normalised_record};
use crate::fixtures::{birth_date, email, identifier, model, name, normalised, pack, phone};

const MUST_NOT: &str = "[[rules]]\nname = \"other birth date\"\neffect = \"must_not_match\"\nwhen = { birth_date = [\"different\"] }\n";
const MUST: &str =
    "[[rules]]\nname = \"same e-mail\"\neffect = \"must_match\"\nwhen = { email = [\"exact\"] }\n";
const CAP: &str = "[[rules]]\nname = \"no phone\"\neffect = \"cap_at_review\"\nwhen = { phone = [\"missing\"] }\n";

fn scorer(rules: &str) -> Scorer {
    Scorer::new(model(&all_comparisons()), &pack(rules))
}

fn decided(
    rules: &str,
    left: &NormalisedRecord,
    right: &NormalisedRecord,
) -> (Decision, Option<String>, Option<RuleEffect>) {
    let explanation = scorer(rules).explain(left, right);
    (
        explanation.score.decision,
        explanation.rule,
        explanation.score.effect,
    )
}

/// The effects of the rules that hold, as the documentation of [`MatchRule`] says it.
fn effects(
    rules: &[MatchRule],
    scorer: &Scorer,
    left: &NormalisedRecord,
    right: &NormalisedRecord,
) -> Vec<RuleEffect> {
    let levels: Vec<&str> = scorer.level_names(scorer.levels(left, right)).collect();
    let compared = &scorer.model().comparisons;
    let falls_in = |(comparison, named): (&Comparison, &Vec<String>)| {
        let index = compared
            .iter()
            .position(|candidate| candidate.comparison == *comparison);
        let level = index.map_or("missing", |index| levels[index]);
        named.iter().any(|name| name == level)
    };
    let falls_in_any = |(comparison, named): (&Comparison, &Vec<String>)| {
        if *comparison != Comparison::Identifier("*".to_owned()) {
            return falls_in((comparison, named));
        }
        let identifiers = compared
            .iter()
            .zip(&levels)
            .filter(|(candidate, _)| matches!(candidate.comparison, Comparison::Identifier(_)));
        identifiers
            .into_iter()
            .any(|(_, level)| named.iter().any(|name| name == level))
    };
    let holds =
        |rule: &&MatchRule| rule.when.iter().all(falls_in) && !rule.unless.iter().any(falls_in_any);
    rules.iter().filter(holds).map(|rule| rule.effect).collect()
}

fn any_condition(comparisons: Vec<Comparison>) -> impl Strategy<Value = (Comparison, Vec<String>)> {
    prop::sample::select(comparisons).prop_flat_map(|comparison| {
        let levels = comparison.levels().iter().copied().chain(["missing"]);
        let names: Vec<String> = levels.map(str::to_owned).collect();
        let count = names.len();
        (
            Just(comparison),
            prop::sample::subsequence(names, 1..=count),
        )
    })
}

fn any_rule() -> impl Strategy<Value = MatchRule> {
    let mut exceptions = all_comparisons();
    exceptions.push(Comparison::Identifier("*".to_owned()));
    let effects = vec![
        RuleEffect::CapAtReview,
        RuleEffect::MustMatch,
        RuleEffect::MustNotMatch,
    ];
    let conditions = prop::collection::vec(any_condition(all_comparisons()), 1..3);
    let exceptions = prop::collection::vec(any_condition(exceptions), 0..2);
    (prop::sample::select(effects), conditions, exceptions).prop_map(|(effect, when, unless)| {
        MatchRule {
            name: format!("{when:?} {unless:?}"),
            effect,
            when: when.into_iter().collect(),
            unless: unless.into_iter().collect(),
        }
    })
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn the_strongest_effect_that_holds_decides(
        rules in prop::collection::vec(any_rule(), 0..5),
        comparisons in prop::sample::subsequence(all_comparisons(), 4..12),
        left in normalised_record(),
        right in normalised_record(),
    ) {
        let mut of_rules = pack("");
        of_rules.rules = rules;
        let scorer = Scorer::new(model(&comparisons), &of_rules);
        let by_weight = Scorer::new(model(&comparisons), &pack("")).score(&left, &right);
        let score = scorer.score(&left, &right);
        let strongest = effects(&of_rules.rules, &scorer, &left, &right)
            .into_iter()
            .max();
        let expected = match strongest {
            Some(RuleEffect::MustNotMatch) => Decision::NonMatch,
            Some(RuleEffect::MustMatch) => Decision::Match,
            Some(RuleEffect::CapAtReview) => by_weight.decision.min(Decision::Review),
            None => by_weight.decision,
        };
        prop_assert_eq!(score.effect, strongest);
        prop_assert_eq!(score.decision, expected);
        prop_assert_eq!(
            score.weight,
            by_weight.weight,
            "a rule changes the decision, not the weight"
        );
        let named = scorer.explain(&left, &right).rule;
        prop_assert_eq!(
            named,
            score
                .rule
                .map(|index| of_rules.rules[usize::from(index)].name.clone())
        );
    }

    #[test]
    fn rules_are_symmetric(
        rules in prop::collection::vec(any_rule(), 1..5),
        left in normalised_record(),
        right in normalised_record(),
    ) {
        let mut of_rules = pack("");
        of_rules.rules = rules;
        let scorer = Scorer::new(model(&all_comparisons()), &of_rules);
        prop_assert_eq!(scorer.score(&left, &right), scorer.score(&right, &left));
    }
}

#[test]
fn must_not_wins_over_must_and_must_over_cap_in_any_order() {
    let left = normalised(&[email("ann.lee@x.org"), birth_date("1978-03-24")]);
    let right = normalised(&[email("ann.lee@x.org"), birth_date("1990-11-05")]);
    let expected = (
        Decision::NonMatch,
        Some("other birth date".to_owned()),
        Some(RuleEffect::MustNotMatch),
    );
    for rules in [
        [MUST_NOT, MUST, CAP],
        [CAP, MUST, MUST_NOT],
        [MUST, MUST_NOT, CAP],
    ] {
        assert_eq!(decided(&rules.concat(), &left, &right), expected);
    }
    let expected = (
        Decision::Match,
        Some("same e-mail".to_owned()),
        Some(RuleEffect::MustMatch),
    );
    for rules in [[CAP, MUST], [MUST, CAP]] {
        assert_eq!(decided(&rules.concat(), &left, &right), expected);
    }
}

#[test]
fn a_cap_lowers_a_match_and_raises_nothing() {
    let same = normalised(&[
        name("Ann", "Zylberberg"),
        email("ann.lee@x.org"),
        birth_date("1978-03-24"),
    ]);
    assert_eq!(decided("", &same, &same).0, Decision::Match);
    assert_eq!(
        decided(CAP, &same, &same),
        (
            Decision::Review,
            Some("no phone".to_owned()),
            Some(RuleEffect::CapAtReview)
        )
    );
    let other = normalised(&[
        name("Bob", "Jones"),
        email("rob@z.net"),
        birth_date("1990-11-05"),
    ]);
    assert_eq!(decided(CAP, &same, &other).0, Decision::NonMatch);
}

#[test]
fn missing_is_a_level() {
    let with = normalised(&[email("ann.lee@x.org"), phone("212-736-5000")]);
    let without = normalised(&[email("ann.lee@x.org")]);
    assert_eq!(
        decided(CAP, &with, &without).2,
        Some(RuleEffect::CapAtReview),
        "one side is missing"
    );
    assert_eq!(
        decided(CAP, &without, &without).2,
        Some(RuleEffect::CapAtReview),
        "both are missing"
    );
    assert_eq!(decided(CAP, &with, &with).2, None);
}

#[test]
fn a_comparison_that_the_model_lacks_is_missing() {
    let record = normalised(&[email("ann.lee@x.org"), phone("212-736-5000")]);
    let lacking = |rule: &str| {
        Scorer::new(model(&[Comparison::Email]), &pack(rule))
            .score(&record, &record)
            .effect
    };
    assert_eq!(lacking(CAP), Some(RuleEffect::CapAtReview));
    assert_eq!(lacking(&CAP.replace("missing", "exact")), None);
}

#[test]
fn an_exception_lifts_a_rule() {
    let unless = "unless = { email = [\"exact\"], \"identifier.*\" = [\"exact\", \"similar\"] }\n";
    let rule = MUST_NOT.to_owned() + unless;
    let born = |date: &str, more: &[Attribute]| normalised(&[&[birth_date(date)], more].concat());
    let effect = |more_left: &[Attribute], more_right: &[Attribute]| {
        decided(
            &rule,
            &born("1950-05-11", more_left),
            &born("1978-03-24", more_right),
        )
        .2
    };
    let device = || identifier("device", "D77123");
    assert_eq!(effect(&[], &[]), Some(RuleEffect::MustNotMatch));
    assert_eq!(effect(&[email("ann@x.org")], &[email("ann@x.org")]), None);
    assert_eq!(effect(&[device()], &[device()]), None, "any identifier");
    assert_eq!(
        effect(&[device()], &[identifier("device", "E99881")]),
        Some(RuleEffect::MustNotMatch)
    );
}

#[test]
fn an_exception_for_what_the_model_lacks_is_missing_as_well() {
    let born = |date: &str| normalised(&[birth_date(date)]);
    let rule = MUST_NOT.to_owned() + "unless = { phone = [\"missing\"] }\n";
    let effect = |comparisons: &[Comparison]| {
        Scorer::new(model(comparisons), &pack(&rule))
            .score(&born("1950-05-11"), &born("1978-03-24"))
            .effect
    };
    assert_eq!(effect(&[Comparison::BirthDate, Comparison::Phone]), None);
    assert_eq!(
        effect(&[Comparison::BirthDate]),
        None,
        "a model without phones"
    );
}

#[test]
fn the_first_of_equal_effects_is_named() {
    let record = normalised(&[email("ann.lee@x.org")]);
    let second = MUST.replace("same e-mail", "same e-mail again");
    assert_eq!(
        decided(&(MUST.to_owned() + &second), &record, &record)
            .1
            .as_deref(),
        Some("same e-mail")
    );
}
