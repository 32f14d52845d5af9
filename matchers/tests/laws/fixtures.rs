//! Small constructors that several laws use.

use std::fmt::Debug;

use veridem_matchers::compare::Comparison;
use veridem_matchers::model::{
    ComparisonModel, LevelParameters, MODEL_FORMAT_VERSION, TermFrequencies,
};
use veridem_matchers::normalise::{NormalisedRecord, Region};
use veridem_matchers::{
    Attribute, CustomAttribute, Identifier, Model, Pack, PersonName, PostalAddress, StatedAttribute,
};

/// A name of two parts.
pub fn name(given: &str, family: &str) -> Attribute {
    Attribute::Name(PersonName {
        given: given.to_owned(),
        family: family.to_owned(),
        ..PersonName::default()
    })
}

/// An e-mail address.
pub fn email(written: &str) -> Attribute {
    Attribute::Email(written.to_owned())
}

/// A phone number.
pub fn phone(written: &str) -> Attribute {
    Attribute::Phone(written.to_owned())
}

/// A birth date.
pub fn birth_date(written: &str) -> Attribute {
    Attribute::BirthDate(written.to_owned())
}

/// A gender.
pub fn gender(written: &str) -> Attribute {
    Attribute::Gender(written.to_owned())
}

/// An address of street line, city and postcode.
pub fn address(street: &str, city: &str, postcode: &str) -> Attribute {
    Attribute::Address(PostalAddress {
        street: street.to_owned(),
        city: city.to_owned(),
        postcode: postcode.to_owned(),
        ..PostalAddress::default()
    })
}

/// An identifier.
pub fn identifier(scheme: &str, value: &str) -> Attribute {
    Attribute::Identifier(Identifier {
        scheme: scheme.to_owned(),
        value: value.to_owned(),
    })
}

/// A custom attribute.
pub fn custom(attribute_name: &str, value: &str) -> Attribute {
    Attribute::Custom(CustomAttribute {
        name: attribute_name.to_owned(),
        value: value.to_owned(),
    })
}

/// A record that states these values, ready to be compared in the region `US`.
pub fn normalised(attributes: &[Attribute]) -> NormalisedRecord {
    let stated: Vec<StatedAttribute> = attributes
        .iter()
        .map(|attribute| StatedAttribute {
            attribute: attribute.clone(),
            stated_at_ms: 0,
        })
        .collect();
    NormalisedRecord::new(&stated, Region::US)
}

/// A pack of one blocking rule with `more` TOML appended.
pub fn pack(more: &str) -> Pack {
    pack_of_thresholds(0.95, 0.5, more)
}

/// [`pack`] with thresholds.
pub fn pack_of_thresholds(match_probability: f64, review_probability: f64, more: &str) -> Pack {
    let text = format!(
        "format_version = 1\ndefault_region = \"US\"\n\
         [thresholds]\nmatch_probability = {match_probability}\nreview_probability = {review_probability}\n\
         [[blocking]]\nname = \"e-mail\"\nkey = [\"email\"]\nmax_records = 100\n{more}"
    );
    Pack::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A model of these comparisons: m falls by half from level to level, u rises likewise; names know frequent values.
pub fn model(comparisons: &[Comparison]) -> Model {
    Model {
        format_version: MODEL_FORMAT_VERSION,
        trained_on_records: 1_000,
        prior: 0.001,
        household_prior: 0.0005,
        comparisons: comparisons.iter().map(comparison_model).collect(),
    }
}

fn comparison_model(comparison: &Comparison) -> ComparisonModel {
    let names = comparison.levels();
    let shares: Vec<f64> = (0..names.len())
        .map(|level| 0.5_f64.powi(level as i32 + 1))
        .collect();
    let total: f64 = shares.iter().sum();
    let has_terms = matches!(
        comparison,
        Comparison::GivenName | Comparison::FamilyName | Comparison::Custom(_)
    );
    let level = |index: usize| LevelParameters {
        level: names[index].to_owned(),
        m: shares[index] / total,
        household: shares[names.len() - 1 - index] / total,
        u: shares[names.len() - 1 - index] / total / 1.3,
        term_frequency: (has_terms && index < 2).then_some(0.2),
    };
    let frequent = ["smith"; 60]
        .into_iter()
        .chain(["ann"; 30])
        .chain(["acme ltd"; 10]);
    ComparisonModel {
        comparison: comparison.clone(),
        levels: (0..names.len()).map(level).collect(),
        term_frequencies: has_terms.then(|| {
            TermFrequencies::count(frequent.chain(["zylberberg", "lopez"]))
                .expect("values to count")
        }),
    }
}

/// Every row `(written, found, expected)` of a table must hold; all that do not are shown at once.
pub fn assert_rows<Written: Debug, Value: Debug + PartialEq>(
    rows: impl IntoIterator<Item = (Written, Value, Value)>,
) {
    let wrong = rows
        .into_iter()
        .filter(|(_, found, expected)| found != expected);
    let shown: Vec<String> = wrong
        .map(|(written, found, expected)| format!("{written:?}: {found:?}, expected {expected:?}"))
        .collect();
    assert!(shown.is_empty(), "\n{}", shown.join("\n"));
}
