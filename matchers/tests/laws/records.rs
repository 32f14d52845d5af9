//! Records as a whole: whatever is written goes all the way, and what says nothing is gone.

use std::collections::BTreeSet;

use proptest::prelude::*;
use veridem_matchers::normalise::{NormalisedRecord, Region};
use veridem_matchers::{
    Attribute, CustomAttribute, Identifier, Pack, PersonName, PostalAddress, Record, RecordKey,
    Scorer, StatedAttribute, golden_record,
};

use crate::arbitrary::{all_comparisons, any_text, cases, stated_attributes};
use crate::fixtures::{
    assert_rows, custom, email, gender, identifier, model, name, normalised, pack, phone,
};

/// One attribute of any kind with any text in every part of it.
fn wild_attribute() -> impl Strategy<Value = Attribute> {
    let scheme = || prop::sample::select(vec!["loyalty", "employer"]).prop_map(str::to_owned);
    prop_oneof![
        (any_text(), any_text(), any_text()).prop_map(|(given, middle, family)| {
            Attribute::Name(PersonName {
                given,
                middle,
                family,
                ..PersonName::default()
            })
        }),
        any_text().prop_map(|full| Attribute::Name(PersonName {
            full,
            ..PersonName::default()
        })),
        any_text().prop_map(Attribute::Email),
        any_text().prop_map(Attribute::Phone),
        (any_text(), any_text(), any_text()).prop_map(|(street, city, postcode)| {
            Attribute::Address(PostalAddress {
                street,
                city,
                postcode,
                ..PostalAddress::default()
            })
        }),
        any_text().prop_map(Attribute::BirthDate),
        any_text().prop_map(Attribute::Gender),
        (scheme(), any_text())
            .prop_map(|(scheme, value)| Attribute::Identifier(Identifier { scheme, value })),
        (scheme(), any_text())
            .prop_map(|(name, value)| Attribute::Custom(CustomAttribute { name, value })),
    ]
}

fn wild_record() -> impl Strategy<Value = Vec<StatedAttribute>> {
    let stated =
        (wild_attribute(), any::<i64>()).prop_map(|(attribute, stated_at_ms)| StatedAttribute {
            attribute,
            stated_at_ms,
        });
    prop::collection::vec(stated, 0..6)
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn any_text_goes_all_the_way(left in wild_record(), right in wild_record()) {
        let (one, other) = (
            NormalisedRecord::new(&left, Region::US),
            NormalisedRecord::new(&right, Region::US),
        );
        let retail = Pack::retail();
        let keys: BTreeSet<u64> = [&one, &other]
            .into_iter()
            .flat_map(|record| retail.blocking.keys(record))
            .collect();
        prop_assert!(keys.len() <= 2 * 64 * retail.blocking.0.len());
        let scorer = Scorer::new(model(&all_comparisons()), &retail);
        prop_assert!(scorer.score(&one, &other).weight.0.is_finite());
        prop_assert_eq!(scorer.score(&one, &other), scorer.score(&other, &one));
        let members = [("pos", left), ("erp", right)].map(|(source, attributes)| Record {
            key: RecordKey::new(source, "1"),
            attributes,
        });
        let golden = golden_record(members.iter(), &pack(""));
        prop_assert!(
            golden.values.len() <= members.iter().map(|member| member.attributes.len()).sum()
        );
    }
}

proptest! {
    #![proptest_config(cases(250))]

    #[test]
    fn stating_everything_twice_changes_nothing(attributes in stated_attributes()) {
        let twice: Vec<StatedAttribute> = attributes.iter().chain(&attributes).cloned().collect();
        prop_assert_eq!(
            NormalisedRecord::new(&twice, Region::US),
            NormalisedRecord::new(&attributes, Region::US)
        );
    }

    #[test]
    fn a_normalised_record_reads_back(attributes in stated_attributes()) {
        let record = NormalisedRecord::new(&attributes, Region::US);
        let text = serde_json::to_string(&record).expect("JSON");
        prop_assert_eq!(
            serde_json::from_str::<NormalisedRecord>(&text).expect("what was written"),
            record
        );
        let stated = serde_json::to_string(&attributes).expect("JSON");
        prop_assert_eq!(
            serde_json::from_str::<Vec<StatedAttribute>>(&stated).expect("what was written"),
            attributes
        );
    }
}

#[test]
fn spellings_of_one_value_are_one_value_and_placeholders_are_none() {
    let record = normalised(&[
        name("Ann", "Lee"),
        name("ANN", "lee"),
        name("Cash", "Customer"),
        email("ann@x.org"),
        email("Ann+shop@X.org"),
        email("info@x.org"),
        phone("212-736-5000"),
        phone("(212) 736 5000"),
        identifier("loyalty", "A-100"),
        identifier("Loyalty", "a100"),
        custom("employer", "Acme Ltd."),
        custom("employer", "ACME LTD"),
        custom("employer", "n/a"),
    ]);
    let counts = [
        &record.names.len(),
        &record.emails.len(),
        &record.phones.len(),
    ];
    assert_eq!(counts, [&1; 3]);
    assert_eq!((record.identifiers.len(), record.customs.len()), (1, 1));
}

#[test]
fn genders_in_the_words_of_sources() {
    let table = [
        ("F", Some('f')),
        ("female", Some('f')),
        ("Frau", Some('f')),
        ("w", Some('f')),
        ("woman", Some('f')),
        ("M", Some('m')),
        ("Herr", Some('m')),
        ("man", Some('m')),
        ("divers", Some('d')),
        ("", None),
        ("u", None),
        ("unknown", None),
        ("n/a", None),
        ("not stated", None),
        ("-", None),
    ];
    let read = |written: &str| normalised(&[gender(written)]).gender;
    assert_rows(table.map(|(written, expected)| (written, read(written), expected)));
    assert_eq!(
        normalised(&[gender("f"), gender("unknown")]).gender,
        Some('f')
    );
}

#[test]
fn slots_name_the_place_of_a_value() {
    let table = [
        (name("Ann", "Lee"), "name"),
        (email("ann@x.org"), "email"),
        (identifier("loyalty", "A100"), "identifier.loyalty"),
        (custom("employer", "Acme"), "custom.employer"),
    ];
    for (attribute, slot) in table {
        assert_eq!(attribute.slot(), slot);
        assert!(slot.starts_with(attribute.kind()));
    }
    assert_eq!(RecordKey::new("pos", "17").to_string(), "pos/17");
}
