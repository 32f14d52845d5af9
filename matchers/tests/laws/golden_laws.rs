//! Laws of golden records.

use proptest::prelude::*;
use veridem_matchers::golden::{Criterion, SurvivorshipRules};
use veridem_matchers::{
    Attribute, GoldenRecord, Pack, Record, RecordKey, StatedAttribute, golden_record,
};

use crate::arbitrary::{cases, stated_attributes};
use crate::fixtures::{address, birth_date, custom, email, gender, identifier, name, pack, phone};

const SOURCES: &str =
    "[sources]\nerp = { trust = 50 }\npos = { trust = 10 }\ncdp = { trust = 10 }\n";

/// Members of distinct keys over sources of which two are equally trusted and one is unknown.
fn members() -> impl Strategy<Value = Vec<Record>> {
    let source = prop::sample::select(vec!["erp", "pos", "cdp", "till"]);
    let members = prop::collection::btree_map((source, 0..5_u8), stated_attributes(), 0..6);
    members.prop_map(|members| {
        members
            .into_iter()
            .map(|((source, id), attributes)| Record {
                key: RecordKey::new(source, format!("r{id}")),
                attributes,
            })
            .collect()
    })
}

fn in_two_orders() -> impl Strategy<Value = (Vec<Record>, Vec<Record>)> {
    members().prop_flat_map(|members| (Just(members.clone()), Just(members).prop_shuffle()))
}

fn any_pack() -> impl Strategy<Value = Pack> {
    use Criterion::{MostComplete, MostFrequent, MostRecent, MostTrusted, RecordOrder};
    let criteria = || {
        prop::sample::subsequence(
            vec![
                MostTrusted,
                MostRecent,
                MostFrequent,
                MostComplete,
                RecordOrder,
            ],
            0..5,
        )
        .prop_shuffle()
    };
    (
        criteria(),
        prop::option::of(criteria()),
        prop::option::of(criteria()),
    )
        .prop_map(|(default, name, custom)| {
            let mut drawn = pack(SOURCES);
            drawn.survivorship = SurvivorshipRules {
                default,
                name,
                custom,
                ..SurvivorshipRules::default()
            };
            drawn
        })
}

fn is_stated(golden: &GoldenRecord, members: &[Record]) -> bool {
    golden.values.iter().all(|value| {
        let stated = StatedAttribute {
            attribute: value.attribute.clone(),
            stated_at_ms: value.stated_at_ms,
        };
        members
            .iter()
            .any(|member| member.key == value.record && member.attributes.contains(&stated))
            && value.slot == value.attribute.slot()
    })
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn the_order_of_members_does_not_matter((members, shuffled) in in_two_orders(), pack in any_pack()) {
        let golden = golden_record(members.iter(), &pack);
        prop_assert_eq!(golden_record(shuffled.iter(), &pack), golden);
    }

    #[test]
    fn the_order_of_attributes_within_a_member_does_not_matter(
        members in members(),
        pack in any_pack(),
    ) {
        let turned: Vec<Record> = members
            .iter()
            .map(|member| Record {
                key: member.key.clone(),
                attributes: member.attributes.iter().rev().cloned().collect(),
            })
            .collect();
        prop_assert_eq!(
            golden_record(turned.iter(), &pack),
            golden_record(members.iter(), &pack)
        );
    }

    #[test]
    fn every_value_names_a_member_that_states_it(members in members(), pack in any_pack()) {
        let golden = golden_record(members.iter(), &pack);
        prop_assert!(is_stated(&golden, &members), "{:?}", golden);
        prop_assert!(
            golden
                .values
                .is_sorted_by(|left, right| left.slot < right.slot),
            "one value a slot, sorted"
        );
    }

    #[test]
    fn the_criterion_is_one_of_those_asked_for(members in members(), pack in any_pack()) {
        for value in golden_record(members.iter(), &pack).values {
            let rules = &pack.survivorship;
            let asked = match value.attribute {
                Attribute::Name(_) => rules.name.as_ref().unwrap_or(&rules.default),
                Attribute::Custom(_) => rules.custom.as_ref().unwrap_or(&rules.default),
                _ => &rules.default,
            };
            prop_assert!(
                asked.contains(&value.criterion)
                    || [Criterion::OnlyValue, Criterion::RecordOrder].contains(&value.criterion)
            );
        }
    }

    #[test]
    fn a_golden_record_of_one_member_is_what_it_says(members in members(), pack in any_pack()) {
        for member in &members {
            let golden = golden_record(std::iter::once(member), &pack);
            prop_assert!(golden.values.iter().all(|value| value.record == member.key));
        }
    }

    /// What more members say may change a value, but no slot is lost.
    #[test]
    fn no_slot_is_lost_when_members_join(members in members(), pack in any_pack()) {
        let slots = |members: &[Record]| -> Vec<String> {
            golden_record(members.iter(), &pack)
                .values
                .into_iter()
                .map(|value| value.slot)
                .collect()
        };
        let whole = slots(&members);
        for member in &members {
            prop_assert!(
                slots(std::slice::from_ref(member))
                    .iter()
                    .all(|slot| whole.contains(slot))
            );
        }
    }
}

#[test]
fn placeholder_values_never_survive() {
    let placeholders = [
        name("Cash", "Customer"),
        name("", ""),
        name("N/A", "unknown"),
        email("none@none.com"),
        email("info@shop.com"),
        email("not an address"),
        phone("000-000-0000"),
        phone("12"),
        address("n/a", "unknown", "00000"),
        birth_date("1900-01-01"),
        birth_date("soon"),
        gender("not stated"),
        gender("unknown"),
        identifier("loyalty", "0000000"),
        identifier("device", "n/a"),
        custom("employer", "none"),
        custom("segment", ""),
    ];
    let pack = Pack::retail();
    let stated = |attribute: &Attribute, at: i64| StatedAttribute {
        attribute: attribute.clone(),
        stated_at_ms: at,
    };
    for placeholder in &placeholders {
        let trusted = Record {
            key: RecordKey::new("erp", "1"),
            attributes: vec![stated(placeholder, 9_000)],
        };
        assert_eq!(
            golden_record([&trusted].into_iter(), &pack),
            GoldenRecord::default(),
            "{placeholder:?}"
        );
    }
    let trusted = Record {
        key: RecordKey::new("erp", "1"),
        attributes: placeholders
            .iter()
            .map(|value| stated(value, 9_000))
            .collect(),
    };
    let known = [
        name("Ann", "Lee"),
        email("ann.lee@x.org"),
        phone("212-736-5000"),
        address("12 High Street", "Boston", "02134"),
        birth_date("1978-03-24"),
        gender("f"),
        identifier("loyalty", "A100200"),
        identifier("device", "D77123"),
        custom("employer", "Acme"),
        custom("segment", "gold"),
    ];
    let poor = Record {
        key: RecordKey::new("pos", "1"),
        attributes: known.iter().map(|value| stated(value, 1)).collect(),
    };
    let golden = golden_record([&trusted, &poor].into_iter(), &pack);
    let mut survived: Vec<&Attribute> =
        golden.values.iter().map(|value| &value.attribute).collect();
    survived.sort_unstable();
    let mut expected: Vec<&Attribute> = known.iter().collect();
    expected.sort_unstable();
    assert_eq!(survived, expected);
    assert!(
        golden
            .values
            .iter()
            .all(|value| value.criterion == Criterion::OnlyValue)
    );
}

#[test]
fn an_identity_without_members_has_no_golden_values() {
    assert_eq!(
        golden_record(std::iter::empty(), &Pack::retail()),
        GoldenRecord::default()
    );
}
