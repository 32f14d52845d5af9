//! Packs: the shipped one is read, what cannot be is refused by name.

use proptest::prelude::*;
use veridem_matchers::Pack;
use veridem_matchers::block::Element;
use veridem_matchers::golden::Criterion;
use veridem_matchers::normalise::Region;

use crate::arbitrary::cases;

const SMALL: &str = r#"
format_version = 1
default_region = "GB"

[thresholds]
match_probability = 0.9
review_probability = 0.4

[identifiers]
accumulating = ["order"]

[sources]
erp = { trust = 50 }

[[blocking]]
name = "by e-mail"
key = ["email"]
max_records = 100
shared_value = true

[[rules]]
name = "same loyalty number"
effect = "must_match"
when = { "identifier.loyalty" = ["exact"], email = ["exact", "missing"] }

[survivorship]
default = ["most_recent"]
"#;

/// Why the pack is refused once `from` is replaced by `to`.
fn refusal(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from} is not in the pack");
    match Pack::from_toml(&SMALL.replacen(from, to, 1)) {
        Ok(_) => panic!("{to:?} in place of {from:?} must be refused"),
        Err(error) => error.to_string(),
    }
}

fn assert_names(error: &str, names: &[&str]) {
    for name in names {
        assert!(error.contains(name), "{name:?} is not named in: {error}");
    }
}

#[test]
fn the_retail_pack_is_read() {
    let pack = Pack::retail();
    assert_eq!(pack.region(), Region::US);
    assert!(
        pack.trust("erp") > pack.trust("pos") && pack.trust("pos") > pack.trust("never heard of")
    );
    assert!(
        pack.blocking
            .0
            .iter()
            .any(|rule| rule.shared_value && rule.key == [Element::Email])
    );
    assert_eq!(
        pack.survivorship.email.as_deref(),
        Some([Criterion::MostRecent, Criterion::MostTrusted].as_slice())
    );
    let again: Pack = toml::to_string(&pack)
        .expect("a pack is TOML")
        .parse()
        .expect("what was written is read");
    assert_eq!(again, pack);
}

#[test]
fn the_small_pack_is_read() {
    let pack = Pack::from_toml(SMALL).expect("a pack");
    assert_eq!(
        (
            pack.region(),
            pack.rules.len(),
            pack.identifiers.accumulating.len()
        ),
        (Region::GB, 1, 1)
    );
}

#[test]
fn unknown_keys_are_refused_by_name() {
    assert_names(
        &refusal("default_region", "defualt_region"),
        &["defualt_region"],
    );
    assert_names(&refusal("[sources]", "colour = 1\n[sources]"), &["colour"]);
    assert_names(
        &refusal(
            "match_probability = 0.9",
            "match_probability = 0.9\ncolour = 1",
        ),
        &["colour"],
    );
    assert_names(
        &refusal("trust = 50", "trust = 50, colour = 1"),
        &["colour"],
    );
    assert_names(
        &refusal("max_records = 100", "max_records = 100\ncolour = 1"),
        &["colour"],
    );
    assert_names(
        &refusal(
            "effect = \"must_match\"",
            "effect = \"must_match\"\ncolour = 1",
        ),
        &["colour"],
    );
    assert_names(
        &refusal(
            "default = [\"most_recent\"]",
            "default = [\"most_recent\"]\ncolour = [\"most_recent\"]",
        ),
        &["colour"],
    );
    assert_names(&refusal("accumulating", "acumulating"), &["acumulating"]);
}

#[test]
fn missing_keys_are_refused_by_name() {
    assert_names(&refusal("format_version = 1\n", ""), &["format_version"]);
    assert_names(&refusal("max_records = 100\n", ""), &["max_records"]);
    assert_names(
        &refusal("review_probability = 0.4\n", ""),
        &["review_probability"],
    );
}

#[test]
fn unknown_words_are_refused_by_name() {
    assert_names(
        &refusal("key = [\"email\"]", "key = [\"e_mail\"]"),
        &["e_mail", "email_local"],
    );
    assert_names(
        &refusal("most_recent", "newest"),
        &["newest", "most_recent"],
    );
    assert_names(
        &refusal("must_match", "shall_match"),
        &["shall_match", "must_match"],
    );
}

#[test]
fn an_unknown_comparison_is_refused_by_name() {
    assert_names(
        &refusal("email = [\"exact\", \"missing\"]", "emial = [\"exact\"]"),
        &["same loyalty number", "emial"],
    );
    assert_names(
        &refusal("\"identifier.loyalty\"", "\"identifer.loyalty\""),
        &["same loyalty number", "identifer.loyalty"],
    );
}

#[test]
fn a_custom_comparison_is_known_by_its_prefix() {
    let pack = Pack::from_toml(&SMALL.replacen(
        "email = [\"exact\", \"missing\"]",
        "\"custom.employer\" = [\"exact\"]",
        1,
    ));
    assert!(pack.is_ok(), "{pack:?}");
}

#[test]
fn an_unknown_level_is_refused_by_name() {
    let error = refusal("email = [\"exact\", \"missing\"]", "email = [\"exakt\"]");
    assert_names(
        &error,
        &[
            "same loyalty number",
            "email",
            "exakt",
            "same_local",
            "missing",
        ],
    );
}

#[test]
fn exceptions_are_checked_like_conditions() {
    let with = |unless: &str| format!("effect = \"must_match\"\nunless = {{ {unless} }}");
    let refused = |unless: &str| refusal("effect = \"must_match\"", &with(unless));
    assert_names(
        &refused("emial = [\"exact\"]"),
        &["same loyalty number", "emial"],
    );
    assert_names(
        &refused("email = [\"exakt\"]"),
        &["same loyalty number", "email", "exakt"],
    );
    let every = with("\"identifier.*\" = [\"exact\"]");
    assert!(Pack::from_toml(&SMALL.replacen("effect = \"must_match\"", &every, 1)).is_ok());
    assert_names(
        &refusal("identifier.loyalty", "identifier.*"),
        &["same loyalty number", "scheme"],
    );
}

#[test]
fn a_rule_without_conditions_is_refused() {
    assert_names(
        &refusal(
            "when = { \"identifier.loyalty\" = [\"exact\"], email = [\"exact\", \"missing\"] }",
            "when = {}",
        ),
        &["same loyalty number", "when"],
    );
}

#[test]
fn impossible_thresholds_are_refused() {
    for (match_probability, review_probability) in [
        ("0.4", "0.9"),
        ("1.0", "0.4"),
        ("0.9", "0.0"),
        ("0.9", "-0.1"),
        ("1.5", "0.4"),
        ("nan", "0.4"),
        ("0.9", "nan"),
    ] {
        let text = SMALL.replacen("0.9", match_probability, 1).replacen(
            "review_probability = 0.4",
            &format!("review_probability = {review_probability}"),
            1,
        );
        let error = Pack::from_toml(&text)
            .expect_err("must be refused")
            .to_string();
        assert_names(&error, &["thresholds", "review_probability"]);
    }
    assert!(
        Pack::from_toml(&SMALL.replacen("0.4", "0.9", 1)).is_ok(),
        "no review is a choice"
    );
}

#[test]
fn impossible_blocking_rules_are_refused_by_name() {
    assert_names(
        &refusal("key = [\"email\"]", "key = []"),
        &["by e-mail", "key"],
    );
    assert_names(
        &refusal("max_records = 100", "max_records = 1"),
        &["by e-mail", "max_records"],
    );
    assert_names(
        &refusal("key = [\"email\"]", "key = [\"email\", \"birth_date\"]"),
        &["by e-mail", "shared_value"],
    );
    let block = &SMALL
        [SMALL.find("[[blocking]]").expect("a rule")..SMALL.find("[[rules]]").expect("a rule")];
    let none =
        SMALL
            .replacen(block, "", 1)
            .replacen("default_region", "blocking = []\ndefault_region", 1);
    assert_names(
        &Pack::from_toml(&none)
            .expect_err("must be refused")
            .to_string(),
        &["blocking"],
    );
    let many = SMALL.replacen(block, &block.repeat(65), 1);
    assert_names(
        &Pack::from_toml(&many)
            .expect_err("must be refused")
            .to_string(),
        &["blocking", "64"],
    );
    assert!(Pack::from_toml(&SMALL.replacen(block, &block.repeat(64), 1)).is_ok());
}

/// A rule that says "shared value" of an element whose values are never set aside would promise what does not happen.
#[test]
fn a_shared_value_must_be_one_that_can_be_set_aside() {
    for element in ["birth_date", "city", "phone_tail", "sorted_name"] {
        assert_names(
            &refusal("key = [\"email\"]", &format!("key = [\"{element}\"]")),
            &["by e-mail", "shared_value"],
        );
    }
}

#[test]
fn another_version_or_region_is_refused() {
    assert_names(
        &refusal("format_version = 1", "format_version = 2"),
        &["format_version", "2"],
    );
    for region in ["", "USA", "us of a", "X"] {
        assert_names(
            &refusal("\"GB\"", &format!("\"{region}\"")),
            &["default_region"],
        );
    }
}

/// `UK` is what people write for `GB`: accepted, no number without a country code would be read.
#[test]
fn a_region_without_phone_numbers_is_refused() {
    for region in ["UK", "QQ", "001"] {
        assert_names(
            &refusal("\"GB\"", &format!("\"{region}\"")),
            &["default_region"],
        );
    }
}

#[test]
fn a_syntax_error_names_its_line() {
    assert_names(
        &refusal("default_region = \"GB\"", "default_region = GB"),
        &["line 3"],
    );
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,80}", at in any::<prop::sample::Index>()) {
        let _ = Pack::from_toml(&text);
        let cut = SMALL
            .char_indices()
            .map(|(at, _)| at)
            .nth(at.index(SMALL.len()))
            .expect("a position");
        let _ = Pack::from_toml(&SMALL[..cut]);
    }
}
