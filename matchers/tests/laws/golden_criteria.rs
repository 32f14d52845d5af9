//! Each criterion of survivorship decides as its documentation says.

use veridem_matchers::golden::{Criterion, SurvivingValue, SurvivorshipRules};
use veridem_matchers::{
    Attribute, Pack, PersonName, Record, RecordKey, StatedAttribute, golden_record,
};

use crate::fixtures::{address, birth_date, custom, email, identifier, name, pack, phone};

const SOURCES: &str =
    "[sources]\nerp = { trust = 50 }\npos = { trust = 10 }\ncdp = { trust = 10 }\n";

fn pack_of(criteria: &[Criterion]) -> Pack {
    let mut made = pack(SOURCES);
    made.survivorship = SurvivorshipRules {
        default: criteria.to_vec(),
        ..SurvivorshipRules::default()
    };
    made
}

/// A member `source/id` with what it states and when.
fn member(key: &str, stated: &[(Attribute, i64)]) -> Record {
    let (source, id) = key.split_once('/').expect("source/id");
    let attributes = stated
        .iter()
        .map(|(attribute, at)| StatedAttribute {
            attribute: attribute.clone(),
            stated_at_ms: *at,
        })
        .collect();
    Record {
        key: RecordKey::new(source, id),
        attributes,
    }
}

fn only_value(members: &[Record], criteria: &[Criterion]) -> SurvivingValue {
    let mut golden = golden_record(members.iter(), &pack_of(criteria));
    assert_eq!(golden.values.len(), 1, "{golden:?}");
    golden.values.remove(0)
}

/// `(record, value, when)` of members that each state one e-mail address.
fn assert_survivor(
    criteria: &[Criterion],
    stated: &[(&str, &str, i64)],
    expected: (&str, &str, Criterion),
) {
    let members: Vec<Record> = stated
        .iter()
        .map(|(key, address, at)| member(key, &[(email(address), *at)]))
        .collect();
    let survivor = only_value(&members, criteria);
    let found = (
        survivor.record.to_string(),
        survivor.attribute,
        survivor.criterion,
    );
    assert_eq!(
        found,
        (expected.0.to_owned(), email(expected.1), expected.2),
        "{criteria:?} over {stated:?}"
    );
}

#[test]
fn each_criterion_decides_as_it_says() {
    use Criterion::{MostFrequent, MostRecent, MostTrusted, OnlyValue, RecordOrder};
    let (old, new) = ("old@x.org", "new@x.org");
    assert_survivor(
        &[MostTrusted],
        &[("pos/1", new, 9), ("erp/1", old, 1)],
        ("erp/1", old, MostTrusted),
    );
    assert_survivor(
        &[MostTrusted],
        &[("till/1", new, 9), ("pos/1", old, 1)],
        ("pos/1", old, MostTrusted),
    );
    assert_survivor(
        &[MostRecent],
        &[("erp/1", old, 1), ("pos/1", new, 9)],
        ("pos/1", new, MostRecent),
    );
    assert_survivor(
        &[MostRecent],
        &[("erp/1", old, -5), ("pos/1", new, -4)],
        ("pos/1", new, MostRecent),
    );
    assert_survivor(
        &[MostFrequent],
        &[("erp/1", old, 9), ("pos/1", new, 1), ("pos/2", new, 1)],
        ("pos/1", new, MostFrequent),
    );
    assert_survivor(
        &[],
        &[("pos/2", new, 9), ("pos/1", old, 1)],
        ("pos/1", old, RecordOrder),
    );
    assert_survivor(
        &[RecordOrder, MostRecent],
        &[("pos/2", new, 9), ("pos/1", old, 1)],
        ("pos/1", old, RecordOrder),
    );
    assert_survivor(
        &[MostTrusted],
        &[("pos/1", old, 1)],
        ("pos/1", old, OnlyValue),
    );
}

#[test]
fn a_tie_goes_to_the_next_criterion() {
    use Criterion::{MostFrequent, MostRecent, MostTrusted, RecordOrder};
    let (old, new) = ("old@x.org", "new@x.org");
    assert_survivor(
        &[MostTrusted, MostRecent],
        &[("pos/1", old, 1), ("cdp/1", new, 9)],
        ("cdp/1", new, MostRecent),
    );
    assert_survivor(
        &[MostFrequent, MostTrusted],
        &[("pos/1", new, 9), ("erp/1", old, 1)],
        ("erp/1", old, MostTrusted),
    );
    assert_survivor(
        &[MostTrusted, MostRecent, MostFrequent],
        &[("pos/1", old, 1), ("cdp/1", new, 1)],
        ("cdp/1", new, RecordOrder),
    );
    assert_survivor(
        &[MostRecent, MostTrusted],
        &[("erp/1", old, 1), ("pos/1", new, 9)],
        ("pos/1", new, MostRecent),
    );
}

#[test]
fn spellings_of_one_value_count_together_and_the_preferred_one_is_shown() {
    use Criterion::{MostFrequent, MostRecent, OnlyValue};
    let spellings = [
        ("pos/1", "Ann.Lee@X.org", 1),
        ("pos/2", "ann.lee+shop@x.org", 5),
        ("erp/1", "ann.lee@x.org", 3),
    ];
    assert_survivor(
        &[MostRecent],
        &spellings,
        ("pos/2", "ann.lee+shop@x.org", OnlyValue),
    );
    let mut with_other = spellings.to_vec();
    with_other.push(("erp/0", "other@x.org", 9));
    assert_survivor(
        &[MostFrequent, MostRecent],
        &with_other,
        ("pos/2", "ann.lee+shop@x.org", MostFrequent),
    );
}

#[test]
fn the_value_of_most_members_survives_however_often_one_member_repeats_its_own() {
    let repeats = member(
        "pos/9",
        &[
            (phone("212-736-5000"), 1),
            (phone("(212) 736 5000"), 1),
            (phone("+1 212 736 5000"), 1),
        ],
    );
    let others = [
        member("pos/1", &[(phone("646-736-5000"), 1)]),
        member("pos/2", &[(phone("646-736-5000"), 1)]),
    ];
    let survivor = only_value(
        &[repeats, others[0].clone(), others[1].clone()],
        &[Criterion::MostFrequent],
    );
    assert_eq!(
        (survivor.attribute, survivor.criterion),
        (phone("646-736-5000"), Criterion::MostFrequent)
    );
}

#[test]
fn the_most_complete_value_has_the_most_letters_and_digits() {
    let full = |text: &str| {
        Attribute::Name(PersonName {
            full: text.to_owned(),
            ..PersonName::default()
        })
    };
    let table = [
        (name("A", "Lee"), name("Ann", "Lee")),
        (full("Ann Lee"), full("Ann Louise Lee")),
        (full("Ann Lee"), full("Ann Lee Jr")),
        (
            address("12 High Street", "", ""),
            address("12 High Street", "Boston", "02134"),
        ),
        (birth_date("1978"), birth_date("1978-03-24")),
        (birth_date("1978-01-01"), birth_date("1978-03-24")),
        (phone("736-5000"), phone("212-736-5000")),
        (email("a.lee@x.org"), email("ann.lee@x.org")),
    ];
    assert_more_complete(&table);
}

#[test]
fn completeness_is_known_of_every_kind() {
    assert_more_complete(&[(
        identifier("loyalty", "A1002"),
        identifier("loyalty", "A100200"),
    )]);
    assert_more_complete(&[(
        custom("employer", "Acme"),
        custom("employer", "Acme Limited"),
    )]);
    assert_more_complete(&[(birth_date("1978"), birth_date("1978-03"))]);
}

fn assert_more_complete(table: &[(Attribute, Attribute)]) {
    for (poorer, richer) in table {
        for (first, second) in [(poorer, richer), (richer, poorer)] {
            let members = [
                member("pos/1", &[(first.clone(), 1)]),
                member("pos/2", &[(second.clone(), 1)]),
            ];
            let survivor = only_value(&members, &[Criterion::MostComplete]);
            assert_eq!(
                (&survivor.attribute, survivor.criterion),
                (richer, Criterion::MostComplete),
                "{poorer:?} or {richer:?}"
            );
        }
    }
}

#[test]
fn each_slot_is_decided_alone() {
    let erp = member(
        "erp/1",
        &[
            (email("old@x.org"), 1),
            (identifier("loyalty", "A100200"), 1),
            (identifier("device", "D1234"), 1),
        ],
    );
    let pos = member(
        "pos/1",
        &[
            (email("new@x.org"), 9),
            (identifier("loyalty", "A100201"), 9),
            (custom("employer", "Acme"), 9),
        ],
    );
    let golden = golden_record(
        [&erp, &pos].into_iter(),
        &pack_of(&[Criterion::MostTrusted]),
    );
    let found: Vec<(&str, String, Criterion)> = golden
        .values
        .iter()
        .map(|value| {
            (
                value.slot.as_str(),
                value.record.to_string(),
                value.criterion,
            )
        })
        .collect();
    let expected = [
        ("custom.employer", "pos/1", Criterion::OnlyValue),
        ("email", "erp/1", Criterion::MostTrusted),
        ("identifier.device", "erp/1", Criterion::OnlyValue),
        ("identifier.loyalty", "erp/1", Criterion::MostTrusted),
    ];
    assert_eq!(
        found,
        expected.map(|(slot, record, criterion)| (slot, record.to_owned(), criterion))
    );
}

#[test]
fn kinds_have_criteria_of_their_own() {
    let mut of_kinds = pack_of(&[Criterion::MostTrusted]);
    of_kinds.survivorship.email = Some(vec![Criterion::MostRecent]);
    of_kinds.survivorship.custom = Some(vec![Criterion::MostFrequent]);
    let erp = member(
        "erp/1",
        &[
            (email("old@x.org"), 1),
            (phone("212-736-5000"), 1),
            (custom("employer", "Acme"), 1),
        ],
    );
    let pos = member(
        "pos/1",
        &[
            (email("new@x.org"), 9),
            (phone("646-736-5000"), 9),
            (custom("employer", "Zenith"), 9),
        ],
    );
    let cdp = member("cdp/1", &[(custom("employer", "Zenith"), 1)]);
    let golden = golden_record([&erp, &pos, &cdp].into_iter(), &of_kinds);
    let found: Vec<(&Attribute, Criterion)> = golden
        .values
        .iter()
        .map(|value| (&value.attribute, value.criterion))
        .collect();
    let expected = [
        (custom("employer", "Zenith"), Criterion::MostFrequent),
        (email("new@x.org"), Criterion::MostRecent),
        (phone("212-736-5000"), Criterion::MostTrusted),
    ];
    assert_eq!(
        found,
        expected
            .iter()
            .map(|(attribute, criterion)| (attribute, *criterion))
            .collect::<Vec<_>>()
    );
}

#[test]
fn trust_alone_does_not_save_a_placeholder() {
    let members = [
        member("erp/1", &[(email("noemail@none.com"), 9)]),
        member("till/1", &[(email("ann@x.org"), 1)]),
    ];
    let survivor = only_value(&members, &[Criterion::MostTrusted]);
    assert_eq!(
        (survivor.attribute, survivor.criterion),
        (email("ann@x.org"), Criterion::OnlyValue)
    );
}
