//! Model files: read back as written, refused where they cannot be right, with the place named.

use proptest::prelude::*;
use veridem_matchers::compare::Comparison;
use veridem_matchers::model::{MAX_COMPARISONS, ModelError, TermFrequencies};
use veridem_matchers::{MatchProbability, MatchWeight, Model};

use crate::arbitrary::{all_comparisons, cases};
use crate::fixtures::model;

fn names_only() -> Model {
    model(&[Comparison::GivenName, Comparison::Email])
}

fn refusal(change: impl FnOnce(&mut Model)) -> String {
    let mut changed = names_only();
    change(&mut changed);
    Model::from_json(&changed.to_json())
        .expect_err("must be refused")
        .to_string()
}

fn text_refusal(from: &str, to: &str) -> String {
    let text = names_only().to_json();
    assert!(text.contains(from), "{from} is not in {text}");
    Model::from_json(&text.replacen(from, to, 1))
        .expect_err("must be refused")
        .to_string()
}

fn probability() -> impl Strategy<Value = f64> {
    prop_oneof![
        0.000_001..0.999_999_f64,
        1e-9..1e-6_f64,
        Just(1e-9),
        Just(1.0 - 1e-9),
        Just(0.1)
    ]
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn a_model_reads_back_as_it_was_written(
        prior in probability(),
        values in prop::collection::vec((probability(), probability()), 80),
        terms in prop::collection::btree_map("\\PC{0,8}", probability(), 0..5),
        unlisted in probability(),
        trained_on_records in any::<u64>(),
    ) {
        let mut written = model(&all_comparisons());
        written.prior = prior;
        written.household_prior = (1.0 - prior) / 3.0;
        written.trained_on_records = trained_on_records;
        let mut values = values.into_iter().cycle();
        for comparison in &mut written.comparisons {
            for level in &mut comparison.levels {
                (level.m, level.u) = values.next().expect("a cycle");
            }
        }
        written.comparisons[0].term_frequencies = Some(TermFrequencies {
            unlisted,
            listed: terms,
        });
        let text = written.to_json();
        let read = Model::from_json(&text).expect("a model that was written");
        prop_assert_eq!(&read.to_json(), &text);
        prop_assert_eq!(read, written);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,60}", at in any::<prop::sample::Index>()) {
        let _ = Model::from_json(&text);
        let whole = names_only().to_json();
        prop_assert!(
            Model::from_json(&whole[..at.index(whole.len() - 1)]).is_err(),
            "a model cut short"
        );
    }

    #[test]
    fn weight_and_probability_are_two_scales_of_one_thing(probability in 0.000_1..0.999_9_f64) {
        let weight = MatchWeight::from(MatchProbability(probability));
        prop_assert!((MatchProbability::from(weight).0 - probability).abs() < 1e-9);
        prop_assert_eq!(weight.0 > 0.0, probability > 0.5);
    }
}

#[test]
fn the_shipped_model_is_read_and_serves_the_shipped_pack() {
    let shipped = Model::from_json(include_str!("../../packs/retail-model.json"));
    let shipped = shipped.expect("the shipped model is valid");
    assert_eq!(
        Model::from_json(&shipped.to_json()).expect("a model"),
        shipped
    );
    for comparison in &shipped.comparisons {
        let weights =
            [0, comparison.levels.len() - 1].map(|level| comparison.weight(level as u8).0);
        assert!(
            weights[0] > 0.0 && weights[1] < 0.0,
            "{}: {weights:?}",
            comparison.comparison
        );
    }
}

#[test]
fn malformed_files_are_refused_with_the_line() {
    for text in [
        "",
        "{",
        "[]",
        "null",
        "{\"format_version\": 2}",
        "not a model",
    ] {
        let error = Model::from_json(text).expect_err("must be refused");
        assert!(matches!(error, ModelError::Malformed(_)), "{error}");
        assert!(error.to_string().contains("line 1"), "{error}");
    }
}

#[test]
fn another_version_is_refused_by_its_number() {
    for version in [0, 1, 77] {
        let error = refusal(|model| model.format_version = version);
        assert!(
            error.contains("format_version") && error.contains(&version.to_string()),
            "{error}"
        );
    }
}

/// A later version has other fields; the reader must say that the file is from a later version, not that a field is wrong.
#[test]
fn a_later_version_with_other_fields_is_refused_by_its_number() {
    let text = names_only().to_json().replacen(
        "\"format_version\": 2",
        "\"format_version\": 3, \"calibration\": []",
        1,
    );
    let error = Model::from_json(&text).expect_err("must be refused");
    assert!(
        matches!(error, ModelError::UnknownVersion { found: 3 }),
        "{error}"
    );
}

#[test]
fn unknown_fields_are_refused_by_name() {
    assert!(text_refusal("\"prior\"", "\"colour\": 1, \"prior\"").contains("colour"));
    assert!(
        text_refusal(
            "\"level\": \"exact\"",
            "\"colour\": 1, \"level\": \"exact\""
        )
        .contains("colour")
    );
    assert!(
        text_refusal(
            "\"comparison\": \"given_name\"",
            "\"colour\": 1, \"comparison\": \"given_name\""
        )
        .contains("colour")
    );
    assert!(text_refusal("\"unlisted\"", "\"colour\": 1, \"unlisted\"").contains("colour"));
}

#[test]
fn wrong_levels_are_refused_with_the_right_ones() {
    let renamed = refusal(|model| model.comparisons[1].levels[0].level = "exakt".to_owned());
    assert!(
        renamed.contains("email")
            && renamed.contains("exact, similar, same_local, same_name, somewhat, different"),
        "{renamed}"
    );
    let one_less = refusal(|model| drop(model.comparisons[0].levels.pop()));
    assert!(one_less.contains("given_name"), "{one_less}");
    let swapped = refusal(|model| model.comparisons[1].levels.swap(0, 1));
    assert!(swapped.contains("email"), "{swapped}");
}

#[test]
fn impossible_probabilities_are_refused_with_comparison_and_level() {
    for bad in [0.0, 1.0, -0.1, 1.5] {
        let m = refusal(|model| model.comparisons[1].levels[2].m = bad);
        assert!(m.contains("email") && m.contains("same_local"), "{m}");
        let u = refusal(|model| model.comparisons[0].levels[1].u = bad);
        assert!(u.contains("given_name") && u.contains("nickname"), "{u}");
        let prior = refusal(|model| model.prior = bad);
        assert!(prior.contains("prior"), "{prior}");
        let unlisted = refusal(|model| {
            model.comparisons[0]
                .term_frequencies
                .as_mut()
                .expect("terms")
                .unlisted = bad
        });
        assert!(
            unlisted.contains("given_name") && unlisted.contains("term frequencies"),
            "{unlisted}"
        );
        let listed = refusal(|model| {
            let terms = model.comparisons[0]
                .term_frequencies
                .as_mut()
                .expect("terms");
            terms.listed.insert("ann".to_owned(), bad);
        });
        assert!(listed.contains("given_name"), "{listed}");
    }
}

#[test]
fn too_many_comparisons_are_refused() {
    let of = |count: usize| {
        let comparisons: Vec<Comparison> = (0..count)
            .map(|index| Comparison::Custom(format!("field{index}")))
            .collect();
        Model::from_json(&model(&comparisons).to_json())
    };
    assert!(of(MAX_COMPARISONS).is_ok());
    assert!(
        of(MAX_COMPARISONS + 1)
            .expect_err("must be refused")
            .to_string()
            .contains(&MAX_COMPARISONS.to_string())
    );
}

#[test]
fn a_comparison_that_counts_twice_is_refused() {
    let error = refusal(|model| {
        let again = model.comparisons[1].clone();
        model.comparisons.push(again);
    });
    assert!(error.contains("email"), "{error}");
}

#[test]
fn rare_terms_weigh_more_than_frequent_ones() {
    let values = ["smith"; 50].into_iter().chain(["jones"; 10]).chain([
        "ng",
        "ng",
        "ng",
        "ng",
        "zylberberg",
    ]);
    let frequencies = TermFrequencies::count(values).expect("values to count");
    assert!(
        frequencies.of("smith") > frequencies.of("jones")
            && frequencies.of("jones") > frequencies.of("zylberberg")
    );
    assert_eq!(
        frequencies.listed.keys().collect::<Vec<_>>(),
        ["jones", "smith"],
        "a value of few customers is not listed"
    );
    assert_eq!(frequencies.of("never seen"), frequencies.unlisted);
    assert!(TermFrequencies::count(std::iter::empty()).is_none());
    let mut named = model(&[Comparison::FamilyName]);
    named.comparisons[0].term_frequencies = Some(frequencies);
    let adjusted = |term: &str| named.comparisons[0].term_adjustment(0, (term, term)).0;
    assert!(adjusted("zylberberg") > adjusted("jones") && adjusted("jones") > adjusted("smith"));
}
