//! Models that Splink trained: what each of its levels has is kept, what cannot be taken over is said, nothing makes
//! the reader panic. The fixtures are files that Splink 5.0.0 and 3.9.15 saved.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use veridem_matchers::Model;
use veridem_matchers::compare::Comparison;
use veridem_matchers::model::{ComparedValue, SplinkImport, SplinkNote, import_splink};

use crate::arbitrary::cases;

const SPLINK_5: &str = include_str!("../fixtures/splink-5-model.json");
const SPLINK_3: &str = include_str!("../fixtures/splink-3-model.json");

fn recognise(column: &str) -> Option<ComparedValue> {
    Some(match column {
        "first_name" => ComparedValue::GivenName,
        "last_name" | "surname" => ComparedValue::FamilyName,
        "full_name" => ComparedValue::FullName,
        "email" | "emails" => ComparedValue::Email,
        "phone" => ComparedValue::Phone,
        "dob" => ComparedValue::BirthDate,
        "address" => ComparedValue::Street,
        "zip" | "postcode_fake" => ComparedValue::Postcode,
        "city" => ComparedValue::City,
        "gender" => ComparedValue::Gender,
        "loyalty_id" => ComparedValue::Identifier("loyalty".to_owned()),
        "country" => return None,
        other => ComparedValue::Custom(other.to_owned()),
    })
}

fn import(text: &str) -> SplinkImport {
    import_splink(text, &recognise).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(settings: &Value) -> String {
    import_splink(&settings.to_string(), &recognise)
        .expect_err("must be refused")
        .to_string()
}

/// m and u by the label of a level.
type Levels = BTreeMap<String, (f64, f64)>;

fn splink_levels(text: &str, comparison: &str) -> Levels {
    let settings: Value = serde_json::from_str(text).expect("JSON");
    let comparisons = settings["comparisons"].as_array().expect("comparisons");
    let found = comparisons
        .iter()
        .find(|found| found["output_column_name"] == comparison)
        .expect("the comparison");
    let levels = found["comparison_levels"].as_array().expect("levels");
    let label = |level: &Value| {
        level["label_for_charts"]
            .as_str()
            .expect("a label")
            .to_owned()
    };
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let parameters = |level: &Value| {
        (
            number(&level["m_probability"]),
            number(&level["u_probability"]),
        )
    };
    levels
        .iter()
        .map(|level| (label(level), parameters(level)))
        .collect()
}

/// m and u of the named levels together must be those of Splink's levels together.
fn assert_preserved(
    model: &Model,
    text: &str,
    splink: &str,
    comparison: Comparison,
    groups: &[(&[&str], &[&str])],
) {
    let theirs = splink_levels(text, splink);
    let ours = model
        .comparisons
        .iter()
        .find(|ours| ours.comparison == comparison)
        .unwrap_or_else(|| panic!("no {comparison}"));
    let mut named = 0;
    for (labels, levels) in groups {
        let expected = labels.iter().fold((0.0, 0.0), |sum, label| {
            let (m, u) = theirs[*label];
            (sum.0 + m, sum.1 + u)
        });
        let members = ours
            .levels
            .iter()
            .filter(|level| levels.contains(&level.level.as_str()));
        let found = members.fold((0.0, 0.0), |sum, level| (sum.0 + level.m, sum.1 + level.u));
        assert!(
            (found.0 - expected.0).abs() < 1e-8 && (found.1 - expected.1).abs() < 1e-8,
            "{comparison} {levels:?}: {found:?}, Splink has {expected:?} for {labels:?}"
        );
        named += levels.len();
    }
    assert_eq!(
        named,
        ours.levels.len(),
        "{comparison}: each level stands in one group"
    );
}

/// A model of one comparison on `column`; each level is condition, m and u.
fn settings(column: &str, levels: &[(&str, f64, f64)]) -> Value {
    let levels: Vec<Value> = levels
        .iter()
        .map(|(condition, m, u)| {
            json!({ "sql_condition": condition, "label_for_charts": condition, "m_probability": m, "u_probability": u })
        })
        .collect();
    json!({
        "probability_two_random_records_match": 0.001,
        "comparisons": [{ "output_column_name": column, "comparison_levels": levels }],
    })
}

/// The weights of the only comparison's levels.
fn weights(settings: &Value) -> BTreeMap<String, f64> {
    let import = import(&settings.to_string());
    let levels = import.model.comparisons[0].levels.iter();
    levels
        .map(|level| (level.level.clone(), (level.m / level.u).log2()))
        .collect()
}

fn texts(notes: &[SplinkNote]) -> Vec<String> {
    notes.iter().map(SplinkNote::to_string).collect()
}

#[test]
fn each_level_of_splink_keeps_its_m_and_u() {
    let model = import(SPLINK_5).model;
    let preserved = |splink: &str, comparison, groups: &[(&[&str], &[&str])]| {
        assert_preserved(&model, SPLINK_5, splink, comparison, groups);
    };
    let other: &str = "All other comparisons";
    preserved(
        "first_name",
        Comparison::GivenName,
        &[
            (&["Exact match on first_name"], &["exact"]),
            (
                &["Jaro-Winkler distance of first_name >= 0.92"],
                &["similar"],
            ),
            (
                &[
                    "Jaro-Winkler distance of first_name >= 0.88",
                    "Jaro-Winkler distance of first_name >= 0.7",
                ],
                &["initial", "somewhat"],
            ),
            (&[other], &["nickname", "middle", "swapped", "different"]),
        ],
    );
    preserved(
        "last_name",
        Comparison::FamilyName,
        &[
            (&["Exact match on last_name"], &["exact"]),
            (
                &["Jaro-Winkler distance of last_name >= 0.92"],
                &["similar"],
            ),
            (
                &[
                    "Jaro-Winkler distance of last_name >= 0.88",
                    "Jaro-Winkler distance of last_name >= 0.7",
                ],
                &["somewhat"],
            ),
            (&[other], &["part", "different"]),
        ],
    );
    preserved(
        "email",
        Comparison::Email,
        &[
            (&["Exact match on email"], &["exact"]),
            (&["Exact match on username"], &["same_local", "same_name"]),
            (&["Jaro-Winkler distance of email >= 0.88"], &["similar"]),
            (&["Jaro-Winkler >0.88 on username"], &["somewhat"]),
            (&[other], &["different"]),
        ],
    );
    preserved(
        "phone",
        Comparison::Phone,
        &[
            (&["Exact match on phone"], &["exact"]),
            (&["Levenshtein distance of phone <= 1"], &["similar"]),
            (
                &["Levenshtein distance of phone <= 2", other],
                &["different"],
            ),
        ],
    );
    preserved(
        "dob",
        Comparison::BirthDate,
        &[
            (&["Exact match on date of birth"], &["exact"]),
            (&["Levenshtein distance <= 1"], &["one_digit"]),
            (&["Abs date difference <= 1 month"], &["two_parts"]),
            (&["Abs date difference <= 1 year"], &["year", "near_year"]),
            (&["Abs date difference <= 10 year", other], &["different"]),
        ],
    );
    preserved(
        "address",
        Comparison::Address,
        &[
            (&["Exact match on address"], &["dwelling", "street_line"]),
            (&["Jaro-Winkler distance of address >= 0.9"], &["street"]),
            (
                &["Jaro-Winkler distance of address >= 0.7", other],
                &[
                    "postcode",
                    "postcode_similar",
                    "city",
                    "region",
                    "different",
                ],
            ),
        ],
    );
    preserved(
        "loyalty_id",
        Comparison::Identifier("loyalty".to_owned()),
        &[
            (&["Exact match on loyalty_id"], &["exact"]),
            (&[other], &["similar", "different"]),
        ],
    );
    // Splink takes the median over its training sessions, so that m need not sum to 1 quite.
    for comparison in &model.comparisons {
        let sums = comparison
            .levels
            .iter()
            .fold((0.0, 0.0), |sum, level| (sum.0 + level.m, sum.1 + level.u));
        assert!(
            (sums.0 - 1.0).abs() < 1e-3 && (sums.1 - 1.0).abs() < 1e-6,
            "{}: {sums:?}",
            comparison.comparison
        );
    }
}

#[test]
fn a_model_of_splink_3_keeps_its_m_and_u() {
    let model = import(SPLINK_3).model;
    let preserved = |splink: &str, comparison, groups: &[(&[&str], &[&str])]| {
        assert_preserved(&model, SPLINK_3, splink, comparison, groups);
    };
    let other: &str = "All other comparisons";
    preserved(
        "dob",
        Comparison::BirthDate,
        &[
            (&["Exact match"], &["exact"]),
            (&["Damerau_levenshtein <= 1"], &["one_digit"]),
            (&["Within 1 month"], &["two_parts"]),
            (&["Within 1 year"], &["year", "near_year"]),
            (&["Within 10 years", other], &["different"]),
        ],
    );
    preserved(
        "postcode_fake",
        Comparison::Address,
        &[
            (&["Exact match postcode_fake"], &["dwelling", "postcode"]),
            (&["Exact match Postcode Sector"], &["postcode_similar"]),
            (
                &["Exact match Postcode District", "Exact match Postcode Area"],
                &["city"],
            ),
            (&[other], &["street_line", "street", "region", "different"]),
        ],
    );
    preserved(
        "gender",
        Comparison::Gender,
        &[(&["Exact match"], &["exact"]), (&[other], &["different"])],
    );
    preserved(
        "birth_place",
        Comparison::Custom("birth_place".to_owned()),
        &[
            (&["Exact match"], &["exact"]),
            (&["Levenshtein <= 1"], &["similar"]),
            (&["Levenshtein <= 2", other], &["somewhat", "different"]),
        ],
    );
}

#[test]
fn a_comparison_of_whole_names_is_split() {
    let imported = import(SPLINK_3);
    assert!(texts(&imported.taken_over).contains(
        &"custom_surname_first_name: given_name and family_name, each by itself".to_owned()
    ));
    for comparison in [Comparison::GivenName, Comparison::FamilyName] {
        let models = imported.model.comparisons.iter();
        let found = models
            .clone()
            .find(|found| found.comparison == comparison)
            .expect("split");
        let sums = found
            .levels
            .iter()
            .fold((0.0, 0.0), |sum, level| (sum.0 + level.m, sum.1 + level.u));
        let splink: Vec<(f64, f64)> = splink_levels(SPLINK_3, "custom_surname_first_name")
            .into_values()
            .collect();
        let expected: f64 = splink.iter().map(|level| level.0).sum();
        // The level of swapped names was not met in training and has what Splink takes for it.
        assert!(
            (sums.0 - expected - 0.05 / 6.0).abs() < 1e-8,
            "{sums:?} {expected}"
        );
        let (exact, different) = (&found.levels[0], &found.levels[found.levels.len() - 1]);
        assert!(
            exact.m > exact.u * 20.0 && different.m < different.u,
            "{found:?}"
        );
    }
}

#[test]
fn what_weighs_in_splink_weighs_the_same() {
    let import = import(SPLINK_5);
    assert_eq!(import.model.household_weight(), None);
    let weight = |comparison: Comparison, level: u8| {
        let models = import.model.comparisons.iter();
        let mut models = models.filter(|found| found.comparison == comparison);
        models.next().expect("taken over").weight(level).0
    };
    let splink = |comparison: &str, label: &str| {
        let (m, u) = splink_levels(SPLINK_5, comparison)[label];
        (m / u).log2()
    };
    for (ours, theirs) in [
        (
            weight(Comparison::GivenName, 0),
            splink("first_name", "Exact match on first_name"),
        ),
        (
            weight(Comparison::Email, 0),
            splink("email", "Exact match on email"),
        ),
        (
            weight(Comparison::Email, 5),
            splink("email", "All other comparisons"),
        ),
        (
            weight(Comparison::Phone, 1),
            splink("phone", "Levenshtein distance of phone <= 1"),
        ),
    ] {
        assert!((ours - theirs).abs() < 1e-6, "{ours} {theirs}");
    }
    let prior = 1.983_886_505_531_722_3e-5_f64;
    assert!((import.model.prior_weight().0 - (prior / (1.0 - prior)).log2()).abs() < 1e-9);
}

#[test]
fn an_import_is_a_model_file() {
    for text in [SPLINK_5, SPLINK_3] {
        let model = import(text).model;
        assert_eq!(
            Model::from_json(&model.to_json()).expect("a model file"),
            model
        );
    }
}

#[test]
fn what_is_left_is_said_with_its_reason() {
    let import = import(SPLINK_5);
    let left = texts(&import.not_taken_over);
    for expected in [
        "zip: Veridem compares address once, and address tells it",
        "phone: level \"Levenshtein distance of phone <= 2\" is counted with \"All other comparisons\"",
        "blocking rules: 9 of Splink; Veridem blocks by the rules of its pack",
    ] {
        assert!(left.contains(&expected.to_owned()), "{expected}: {left:#?}");
    }
    assert_eq!(
        import.adjusted_by_term_frequency,
        [
            Comparison::GivenName,
            Comparison::FamilyName,
            Comparison::Email
        ]
    );
    let country = import_splink(
        &json!({
            "probability_two_random_records_match": 0.001,
            "comparisons": [
                settings("country", &[("country_l = country_r", 0.9, 0.1), ("ELSE", 0.1, 0.9)])["comparisons"][0],
                settings("email", &[
                    ("email_l = email_r", 0.8, 0.001),
                    ("soundex(email_l) = soundex(email_r)", 0.1, 0.009),
                    ("ELSE", 0.1, 0.99),
                ])["comparisons"][0],
            ],
        })
        .to_string(),
        &recognise,
    )
    .expect("one comparison is left");
    let left = texts(&country.not_taken_over);
    assert!(
        left.contains(&"country: Veridem compares none of its columns".to_owned()),
        "{left:#?}"
    );
    assert!(
        left.iter().any(|note| note.starts_with("email: ")
            && note.contains("the function soundex is not understood")),
        "{left:#?}"
    );
}

/// Conditions as the dialects and versions of Splink write them, and as people do. Each is the second of three levels;
/// the named levels of Veridem must be in it, no other.
#[test]
fn conditions_are_understood_in_the_ways_that_they_are_written() {
    let rows: &[(&str, &str, &[&str])] = &[
        (
            "phone",
            "damerau_levenshtein(`phone_l`, `phone_r`) <= 1",
            &["similar"],
        ),
        (
            "phone",
            "jaro_similarity(phone_l, phone_r) >= 0.9",
            &["similar"],
        ),
        (
            "phone",
            "jaccard(\"phone_l\", \"phone_r\") > 0.9",
            &["similar"],
        ),
        (
            "phone",
            "left(phone_l, 6) = left(phone_r, 6) AND length(phone_l) = 10",
            &["similar"],
        ),
        (
            "phone",
            "substr(phone_l, 1, 6) = substr(phone_r, 1, 6)",
            &["similar"],
        ),
        (
            "phone",
            "not (levenshtein(phone_l, phone_r) > 1 or phone_l is null)",
            &["similar"],
        ),
        (
            "phone",
            "NOT phone_l <> phone_r OR levenshtein(phone_l, phone_r) < 1 + 1",
            &["similar"],
        ),
        (
            "phone",
            "unknown(phone_l) OR levenshtein(phone_l, phone_r) <= 1",
            &["similar"],
        ),
        (
            "dob",
            "abs(datediff(`dob_l`, `dob_r`)) <= floor(864000 / 86400)",
            &["one_digit"],
        ),
        (
            "dob",
            "ABS(EPOCH(CAST(\"dob_l\" AS DATE)) - EPOCH(\"dob_r\"::date)) <= 1036800",
            &["one_digit", "two_parts"],
        ),
        (
            "dob",
            "abs(date_diff('month', strptime(\"dob_l\", '%Y-%m-%d'), strptime(\"dob_r\", '%Y-%m-%d'))) <= 5",
            &["one_digit", "two_parts", "year"],
        ),
        (
            "dob",
            "ABS(UNIX_TIMESTAMP(try_to_timestamp(`dob_l`, 'yyyy-MM-dd\\'T\\'HH:mm:ssXXX')) - \
             UNIX_TIMESTAMP(try_to_timestamp(`dob_r`, 'yyyy-MM-dd\\'T\\'HH:mm:ssXXX'))) <= 1036800.0",
            &["one_digit", "two_parts"],
        ),
        (
            "email",
            "split_part(email_l, '@', 1) = split_part(email_r, '@', 1)",
            &["same_local", "same_name"],
        ),
        (
            "email",
            "NULLIF(regexp_extract(lower(\"email_l\"), '^[^@]+', 0), '') = \
             NULLIF(regexp_extract(\"email_r\", '^[^@]+'), '')",
            &["same_local", "same_name"],
        ),
        (
            "emails",
            "list_max(list_transform(flatten(list_transform(\"emails_l\", \
             x -> list_transform(\"emails_r\", y -> [x, y]))), \
             pair -> jaro_winkler_similarity(pair[1], pair[2]))) >= 0.95",
            &["similar"],
        ),
        (
            "first_name",
            "\"first_name_l\" = \"surname_r\" AND \"first_name_r\" = \"surname_l\"",
            &["swapped"],
        ),
        (
            "first_name",
            "jaro_winkler(first_name_l, first_name_r) >= 0.9",
            &["similar"],
        ),
        ("city", "levenshtein(city_l, city_r) <= 2", &[]),
    ];
    for (column, condition, expected) in rows {
        let equal = format!("{column}_l = {column}_r");
        // The second level weighs less than any share of the shipped model makes of the others.
        let written = settings(
            column,
            &[
                (&equal, 0.5, 0.4),
                (condition, 1e-9, 0.1),
                ("ELSE", 0.5, 0.5),
            ],
        );
        let left = texts(&import(&written.to_string()).not_taken_over);
        assert!(
            condition.contains("unknown(")
                || left.iter().all(|note| !note.contains("not told apart")),
            "{condition}: {left:#?}"
        );
        let with = weights(&written);
        let found: Vec<&str> = with
            .iter()
            .filter(|(_, weight)| **weight < -18.0)
            .map(|(level, _)| level.as_str())
            .collect();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected, "{condition}: {with:?}");
    }
}

#[test]
fn a_level_of_missing_values_is_left_out() {
    let levels = [
        ("last_name_l = last_name_r AND zip_l = zip_r", 0.6, 0.001),
        ("last_name_l = last_name_r AND zip_l IS NULL", 0.1, 0.002),
        ("last_name_l = last_name_r", 0.2, 0.006),
        ("ELSE", 0.1, 0.991),
    ];
    let import = import(&settings("family", &levels).to_string());
    for comparison in &import.model.comparisons {
        let m: f64 = comparison.levels.iter().map(|level| level.m).sum();
        assert!((m - 0.9).abs() < 1e-8, "{comparison:?}");
    }
    assert_eq!(import.model.comparisons.len(), 2);
}

#[test]
fn a_list_in_common_is_agreement() {
    let levels = [
        (
            "array_length(list_intersect(\"emails_l\", \"emails_r\")) >= 1",
            0.8,
            0.001,
        ),
        ("ELSE", 0.2, 0.999),
    ];
    let exact = weights(&settings("emails", &levels))["exact"];
    assert!((exact - 800_f64.log2()).abs() < 1e-6, "{exact}");
}

#[test]
fn refusals_name_comparison_and_level() {
    let whole = settings(
        "email",
        &[("email_l = email_r", 0.8, 0.001), ("ELSE", 0.2, 0.999)],
    );
    let level = |change: &dyn Fn(&mut Value)| {
        let mut changed = whole.clone();
        for level in changed["comparisons"][0]["comparison_levels"]
            .as_array_mut()
            .expect("levels")
        {
            change(level);
        }
        refusal(&changed)
    };
    for parameter in ["m_probability", "u_probability"] {
        let untrained =
            level(&|level| drop(level.as_object_mut().expect("a level").remove(parameter)));
        let message = format!(
            "comparison email, level \"email_l = email_r\": no level of the comparison has a {parameter}"
        );
        assert!(untrained.contains(&message), "{untrained}");
        let impossible = level(&|level| level[parameter] = json!(1.5));
        assert!(
            impossible.contains("comparison email, level \"email_l = email_r\"")
                && impossible.contains(parameter),
            "{impossible}"
        );
    }
    let mut changed = whole.clone();
    changed["comparisons"] = json!([]);
    assert!(refusal(&changed).contains("\"comparisons\""));
    changed
        .as_object_mut()
        .expect("settings")
        .remove("comparisons");
    assert!(refusal(&changed).contains("\"comparisons\""));
    let mut changed = whole.clone();
    changed
        .as_object_mut()
        .expect("settings")
        .remove("probability_two_random_records_match");
    assert!(refusal(&changed).contains("\"probability_two_random_records_match\""));
    let nothing = refusal(&settings(
        "country",
        &[("country_l = country_r", 0.9, 0.1), ("ELSE", 0.1, 0.9)],
    ));
    assert!(
        nothing.contains("country: Veridem compares none of its columns"),
        "{nothing}"
    );
    for text in ["", "{", "not JSON", "[1]"] {
        let error = import_splink(text, &recognise)
            .expect_err("must be refused")
            .to_string();
        assert!(error.contains("not a model that Splink saved"), "{error}");
    }
}

#[test]
fn certainty_becomes_near_certainty() {
    let imported = import(
        &settings(
            "email",
            &[("email_l = email_r", 1.0, 0.0), ("ELSE", 0.0, 1.0)],
        )
        .to_string(),
    );
    assert!(Model::from_json(&imported.model.to_json()).is_ok());
}

/// Words that conditions are made of.
fn condition() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "(",
        ")",
        "NOT",
        "AND",
        "OR",
        "IS",
        "NULL",
        "=",
        "<=",
        ">=",
        "-",
        "/",
        "*",
        ",",
        "::",
        "->",
        "'",
        "\"",
        "`",
        "0",
        "2629800.0",
        "1.2.3",
        "'%Y'",
        "'[a-z'",
        "email_l",
        "email_r",
        "\"first_name_l\"",
        "dob_l",
        "dob_r",
        "levenshtein(",
        "jaro_winkler(",
        "substr(",
        "left(",
        "split_part(",
        "regexp_extract(",
        "list_max(",
        "abs(",
        "epoch(",
        "date_diff(",
        "CAST(",
        "AS",
        "DATE",
        "ELSE",
        "ß",
        "[",
        "]",
    ]);
    prop_oneof![
        prop::collection::vec(word, 0..40).prop_map(|words| words.join(" ")),
        "\\PC{0,40}",
        Just("(".repeat(5_000)),
        Just("not ".repeat(5_000)),
        Just("- ".repeat(900)),
        Just(format!(
            "email_l = email_r{}",
            " and email_l = email_r".repeat(200)
        )),
    ]
}

/// Any JSON, of the keys that the reader knows among others.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        condition().prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "probability_two_random_records_match",
        "comparisons",
        "output_column_name",
        "comparison_levels",
        "sql_condition",
        "label_for_charts",
        "is_null_level",
        "m_probability",
        "u_probability",
        "tf_adjustment_column",
        "blocking_rules_to_generate_predictions",
    ]);
    leaf.prop_recursive(5, 60, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..8).prop_map(|entries| entries
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect()),
        ]
    })
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn no_json_makes_the_reader_panic(
        value in any_json(),
        text in "\\PC{0,60}",
        at in any::<prop::sample::Index>(),
    ) {
        let _ = import_splink(&value.to_string(), &recognise);
        let _ = import_splink(&text, &recognise);
        prop_assert!(import_splink(&SPLINK_3[..at.index(SPLINK_3.len() - 2)], &recognise).is_err(), "cut short");
    }

    /// A file of the right form with any conditions and parameters is taken over as a valid model, or refused.
    #[test]
    fn what_is_taken_over_is_a_model(
        column in prop::sample::select(vec!["first_name", "full_name", "email", "dob", "address", "family", "x"]),
        levels in prop::collection::vec((condition(), 0.0..=1.0_f64, 0.0..=1.0_f64), 0..6),
    ) {
        let equal = format!("{column}_l = {column}_r");
        let mut all = vec![(equal.as_str(), 0.9, 0.01)];
        all.extend(levels.iter().map(|(condition, m, u)| (condition.as_str(), *m, *u)));
        all.push(("ELSE", 0.1, 0.99));
        if let Ok(imported) = import_splink(&settings(column, &all).to_string(), &recognise) {
            let read = Model::from_json(&imported.model.to_json());
            prop_assert!(read.is_ok(), "{:?}", read);
        }
    }
}
