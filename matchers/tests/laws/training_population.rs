//! Training on a simulated population whose errors and matches are known.

use std::sync::LazyLock;

use veridem_matchers::Table;
use veridem_matchers::block::{BlockingRules, Candidates};
use veridem_matchers::compare::Comparison;
use veridem_matchers::train::{TrainingOptions, train};
use veridem_matchers::{Model, NormalisedRecord, Pack};

use crate::fixtures::{custom, email, name, normalised};
use crate::population::{
    ADDRESS_ERRORS, BIRTH_DATE_ERRORS, EMAIL_ERRORS, FAMILY_NAME_ERRORS, GIVEN_NAME_ERRORS,
    PHONE_ERRORS, Population,
};

static POPULATION: LazyLock<Population> = LazyLock::new(|| Population::new(20_261, 1_400, 0.5));
static TRAINED: LazyLock<Model> = LazyLock::new(|| POPULATION.train(|_, _| true));

fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("threads")
        .install(work)
}

fn assert_prior(model: &Model, expected: f64, factor: f64) {
    let ratio = model.prior / expected;
    assert!(
        (1.0 / factor..=factor).contains(&ratio),
        "prior {}, in truth {expected}",
        model.prior
    );
}

fn levels<'a>(
    model: &'a Model,
    comparison: &Comparison,
) -> &'a [veridem_matchers::model::LevelParameters] {
    let found = model
        .comparisons
        .iter()
        .find(|candidate| candidate.comparison == *comparison);
    &found
        .unwrap_or_else(|| panic!("{comparison} is not in the model"))
        .levels
}

#[test]
fn m_is_recovered() {
    let matches = POPULATION.matches();
    let errors = [
        (Comparison::GivenName, GIVEN_NAME_ERRORS),
        (Comparison::FamilyName, FAMILY_NAME_ERRORS),
        (Comparison::BirthDate, BIRTH_DATE_ERRORS),
        (Comparison::Email, EMAIL_ERRORS),
        (Comparison::Phone, PHONE_ERRORS),
        (Comparison::Address, ADDRESS_ERRORS),
    ];
    for (comparison, error_rate) in errors {
        let trained = levels(&TRAINED, &comparison);
        assert!(
            (trained[0].m - (1.0 - error_rate)).abs() < 0.06,
            "{comparison}: m of exact is {}, errors {error_rate}",
            trained[0].m
        );
        for (level, share) in trained
            .iter()
            .zip(POPULATION.level_shares(&comparison, &matches))
        {
            assert!(
                (level.m - share).abs() < 0.05,
                "{comparison} {}: m is {}, in truth {share}",
                level.level,
                level.m
            );
        }
    }
}

#[test]
fn u_is_recovered() {
    let persons = &POPULATION.persons;
    let strangers: Vec<(usize, usize)> = (0..persons.len())
        .flat_map(|left| {
            (left + 1..persons.len())
                .step_by(97)
                .map(move |right| (left, right))
        })
        .filter(|(left, right)| persons[*left] != persons[*right])
        .collect();
    for comparison in &TRAINED.comparisons {
        let shares = POPULATION.level_shares(&comparison.comparison, &strangers);
        for (level, share) in comparison.levels.iter().zip(shares) {
            assert!(
                (level.u - share).abs() < 0.01 + share * 0.1,
                "{} {}: u is {}, in truth {share}",
                comparison.comparison,
                level.level,
                level.u
            );
        }
    }
}

/// Among few records with many duplicates some random pairs match; they must not pass for chance agreement.
#[test]
fn matches_among_the_random_pairs_do_not_raise_u() {
    let population = Population::new(9, 150, 1.0);
    let share = 1.0 / population.records.len() as f64;
    for comparison in [Comparison::Email, Comparison::Phone] {
        let u = levels(&population.train(|_, _| true), &comparison)[0].u;
        assert!(
            u < share * 0.3,
            "{comparison}: u is {u}, {share} of the random pairs match"
        );
    }
}

#[test]
fn the_prior_is_recovered() {
    let records = POPULATION.records.len() as f64;
    let expected = POPULATION.matches().len() as f64 / (records * (records - 1.0) / 2.0);
    assert_prior(&TRAINED, expected, 1.3);
}

#[test]
fn a_trained_model_is_valid_and_knows_its_population() {
    let model = &*TRAINED;
    assert_eq!(
        Model::from_json(&model.to_json())
            .expect("a valid model")
            .to_json(),
        model.to_json()
    );
    assert_eq!(model.trained_on_records, POPULATION.records.len() as u64);
    let compared: Vec<String> = model
        .comparisons
        .iter()
        .map(|comparison| comparison.comparison.to_string())
        .collect();
    assert_eq!(
        compared,
        [
            "given_name",
            "family_name",
            "birth_date",
            "email",
            "phone",
            "address"
        ],
        "what nobody states is not compared"
    );
    for comparison in &model.comparisons {
        for sum in [
            comparison.levels.iter().map(|level| level.m).sum::<f64>(),
            comparison.levels.iter().map(|level| level.u).sum(),
        ] {
            assert!((sum - 1.0).abs() < 1e-6, "{}: {sum}", comparison.comparison);
        }
        assert!(
            comparison.weight(0).0 > 0.0
                && comparison.weight(comparison.levels.len() as u8 - 1).0 < 0.0,
            "{}",
            comparison.comparison
        );
    }
}

#[test]
fn the_same_model_for_any_number_of_threads() {
    let population = Population::new(5, 200, 0.5);
    let bytes = |threads| in_pool(threads, || population.train(|_, _| true).to_json());
    let alone = bytes(1);
    assert_eq!(bytes(2), alone);
    assert_eq!(bytes(7), alone);
}

/// How much too high the prior is that linking two files of equal length finds: each person has a record in both.
fn prior_of_linking(records: usize, interleaved: bool) -> f64 {
    let persons = Population::new(records as u64, records / 2, 1.0);
    let mut rows: Vec<usize> = (0..records).collect();
    if !interleaved {
        rows.sort_by_key(|row| row % 2);
    }
    let linked = Population {
        records: rows
            .iter()
            .map(|row| persons.records[*row].clone())
            .collect(),
        persons: rows.iter().map(|row| persons.persons[*row]).collect(),
    };
    let source = |row: usize| rows[row] % 2;
    let model = linked.train(|left, right| source(left) != source(right));
    // Every record has one match among the `records / 2` of the other file.
    model.prior * (records / 2) as f64
}

fn assert_priors(of: &[usize], interleaved: bool) {
    let ratios: Vec<(usize, f64)> = of
        .iter()
        .map(|records| (*records, prior_of_linking(*records, interleaved)))
        .collect();
    let right = ratios
        .iter()
        .all(|(_, ratio)| (1.0 / 1.5..=1.5).contains(ratio));
    assert!(right, "(records, prior over truth): {ratios:?}");
}

#[test]
fn linking_one_file_after_the_other_recovers_the_prior() {
    assert_priors(&[210, 420, 600, 922], false);
}

#[test]
fn linking_files_line_by_line_recovers_the_prior() {
    assert_priors(&[210, 420, 630], true);
}

#[test]
fn few_records_and_none_train_to_a_valid_model() {
    let rules: BlockingRules = Pack::retail().blocking;
    let of = |records: &[NormalisedRecord]| {
        let table = Table::new(records);
        train(
            &table,
            &Candidates::new(&table, &rules),
            &rules,
            &TrainingOptions::default(),
            |_, _| true,
        )
    };
    let ann = normalised(&[
        name("Ann", "Lee"),
        email("ann.lee@x.org"),
        custom("employer", "Acme"),
    ]);
    let bob = normalised(&[
        name("Bob", "Ray"),
        email("bob@y.org"),
        custom("employer", "Zenith"),
    ]);
    for records in [
        vec![],
        vec![ann.clone()],
        vec![ann.clone(), ann.clone()],
        vec![ann.clone(), bob.clone()],
        vec![ann, bob.clone(), bob],
    ] {
        let model = of(&records);
        assert!(
            Model::from_json(&model.to_json()).is_ok(),
            "{} records: {}",
            records.len(),
            model.to_json()
        );
    }
}

#[test]
fn nothing_may_match() {
    let model = Population::new(3, 60, 0.5).train(|_, _| false);
    assert!(
        Model::from_json(&model.to_json()).is_ok(),
        "{}",
        model.to_json()
    );
}
