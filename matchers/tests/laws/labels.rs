//! What labels correct.

use std::sync::LazyLock;

use veridem_matchers::block::Candidates;
use veridem_matchers::compare::Comparison;
use veridem_matchers::train::{LabelledPair, learn_m, weigh};
use veridem_matchers::{Model, Pack, Scorer, Table};

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
    learn_m(&mut model, &WORLD.table, &WORLD.labels);
    let corrected = email(&model);
    assert!(
        (corrected - right).abs() < (wrong - right).abs() * 0.4,
        "{wrong} became {corrected}, {right} is right"
    );
}

#[test]
fn no_label_changes_nothing() {
    let mut model = WORLD.model.clone();
    learn_m(&mut model, &WORLD.table, &[]);
    for (one, other) in model.comparisons.iter().zip(&WORLD.model.comparisons) {
        for (one, other) in one.levels.iter().zip(&other.levels) {
            assert!((one.m - other.m).abs() < 1e-12);
        }
    }
}

#[test]
fn labelled_pairs_weigh_what_they_weigh_as_records() {
    let scorer = Scorer::new(WORLD.model.clone(), &Pack::retail());
    let labels = &WORLD.labels[..200];
    for (label, (weight, is_match)) in labels.iter().zip(weigh(&WORLD.model, &WORLD.table, labels))
    {
        let record = |row: u32| WORLD.table.record(row as usize);
        let score = scorer.score(&record(label.left), &record(label.right));
        assert!((score.weight.0 - weight).abs() < 1e-9);
        assert_eq!(is_match, label.is_match);
    }
}
