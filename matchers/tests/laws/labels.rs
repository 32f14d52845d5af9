//! What labels correct.

use std::sync::LazyLock;

use veridem_matchers::block::Candidates;
use veridem_matchers::compare::Comparison;
use veridem_matchers::train::{LabelledPair, learn_from_labels, weigh};
use veridem_matchers::{Model, Pack, Table};

use crate::population::Population;

struct World {
    table: Table,
    model: Model,
    /// All candidate pairs.
    labels: Vec<LabelledPair>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let population = Population::new(20_262, 700, 0.5);
    let table = Table::new(&population.records);
    let candidates = Candidates::new(&table, &Pack::retail().blocking);
    let labels = candidates.map_pairs(&table, |left, right| {
        Some(LabelledPair {
            left: left as u32,
            right: right as u32,
            is_match: population.persons[left] == population.persons[right],
        })
    });
    World {
        model: population.train(|_, _| true),
        table,
        labels,
    }
});

/// Matches by the probabilities of labelled pairs.
fn expected_matches(model: &Model) -> f64 {
    let weighed = weigh(model, &WORLD.table, &WORLD.labels);
    weighed
        .iter()
        .map(|(weight, _)| 1.0 / (1.0 + (-weight).exp2()))
        .sum()
}

#[test]
fn probabilities_sum_to_the_labelled_matches_whatever_the_prior_was() {
    let matches = WORLD.labels.iter().filter(|label| label.is_match).count() as f64;
    assert!(matches > 300.0, "{matches} matches");
    for wrong_by in [1e-3, 1.0, 1e3] {
        let mut model = WORLD.model.clone();
        model.prior *= wrong_by;
        learn_from_labels(&mut model, &WORLD.table, &WORLD.labels);
        let expected = expected_matches(&model);
        assert!(
            (expected - matches).abs() < matches * 0.02,
            "prior wrong by {wrong_by}: {expected} expected, {matches} labelled"
        );
    }
}

#[test]
fn labelled_matches_correct_m() {
    let email = |model: &Model| {
        let found = model.comparisons.iter();
        let mut found = found.filter(|model| model.comparison == Comparison::Email);
        found.next().expect("e-mail is compared").levels[0].m
    };
    let right = email(&WORLD.model);
    let mut model = WORLD.model.clone();
    for comparison in &mut model.comparisons {
        comparison.levels.reverse();
        let names = comparison.comparison.levels();
        for (level, name) in comparison.levels.iter_mut().zip(names) {
            level.level = (*name).to_owned();
        }
    }
    let wrong = email(&model);
    learn_from_labels(&mut model, &WORLD.table, &WORLD.labels);
    let corrected = email(&model);
    assert!(
        (corrected - right).abs() < (wrong - right).abs() * 0.4,
        "{wrong} became {corrected}, {right} is right"
    );
}

#[test]
fn no_label_changes_nothing() {
    let mut model = WORLD.model.clone();
    learn_from_labels(&mut model, &WORLD.table, &[]);
    assert!((model.prior - WORLD.model.prior).abs() < 1e-12);
    for (one, other) in model.comparisons.iter().zip(&WORLD.model.comparisons) {
        for (one, other) in one.levels.iter().zip(&other.levels) {
            assert!((one.m - other.m).abs() < 1e-12);
        }
    }
}
