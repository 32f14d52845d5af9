//! What expressions and templates see of an event, and the events on which a mapping is tried before anything is sent.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use minijinja::value::{Serde, Value as JinjaValue};
use serde_json::{Map, Value, json};
use veridem_matchers::golden::{Criterion, GoldenRecord, SurvivingValue};
use veridem_matchers::{
    Attribute, CustomAttribute, Identifier, PersonName, PostalAddress, RecordKey,
};

use crate::publish::cloud_event::{ConsumerRecords, EventData, id_of, kind_of};
use crate::store::{Cause, EventKind, IdentityId, StoredEvent, StoredIdentity, Tenant};

/// The names that an expression may use, besides those below [`OPEN`].
const NAMES: &[&str] = &[
    "event_id",
    "sequence",
    "kind",
    "occurred_at",
    "cause",
    "identity",
    "identity.identity_id",
    "identity.version",
    "identity.members",
    "identity.golden",
    "identity.golden.name",
    "identity.golden.name.given",
    "identity.golden.name.middle",
    "identity.golden.name.family",
    "identity.golden.name.suffix",
    "identity.golden.name.full",
    "identity.golden.email",
    "identity.golden.phone",
    "identity.golden.birth_date",
    "identity.golden.gender",
    "identity.golden.address",
    "identity.golden.address.street",
    "identity.golden.address.number",
    "identity.golden.address.unit",
    "identity.golden.address.city",
    "identity.golden.address.region",
    "identity.golden.address.postcode",
    "identity.golden.address.country",
    "identity.golden.identifier",
    "identity.golden.custom",
    "merged_identity_ids",
    "split_into_identity_ids",
    "moved_records",
    "consumer_record_ids",
    "returned",
    "settings",
    "each",
];

/// Below these any name may stand.
const OPEN: &[&str] = &[
    "identity.golden.identifier.",
    "identity.golden.custom.",
    "each.",
];

/// Refuses names that no event has.
pub(super) fn check_names(names: HashSet<String>, settings: &[&str]) -> Result<(), String> {
    let is_known = |name: &str| {
        NAMES.contains(&name)
            || OPEN.iter().any(|prefix| name.starts_with(prefix))
            || name
                .strip_prefix("settings.")
                .is_some_and(|name| settings.contains(&name))
    };
    // The same mistake is told in the same words.
    let mut unknown: Vec<String> = names.into_iter().filter(|name| !is_known(name)).collect();
    unknown.sort_unstable();
    match unknown.first() {
        None => Ok(()),
        Some(name) if name.starts_with("settings.") => {
            Err(format!("{name} is not among the mapping's settings"))
        }
        Some(name) => Err(format!(
            "no event has {name}; use one of {}",
            NAMES.join(", ")
        )),
    }
}

/// An event as expressions see it: with every name of [`NAMES`], null where the event has nothing, also for empty texts.
pub(super) fn of_event(
    data: &Value,
    event_id: &str,
    settings: &BTreeMap<String, String>,
) -> JinjaValue {
    let mut data = data.clone();
    data["event_id"] = json!(event_id);
    data["settings"] = json!(settings);
    // Where the consumer has said nothing of its own records.
    for list in ["consumer_record_ids", "returned"] {
        if data[list].is_null() {
            data[list] = json!([]);
        }
    }
    let golden = &mut data["identity"]["golden"];
    if golden.is_null() {
        *golden = json!({});
    }
    empty_is_null(golden);
    for map in ["identifier", "custom"] {
        if golden[map].is_null() {
            golden[map] = Value::Object(Map::new());
        }
    }
    JinjaValue::from(Serde(&data))
}

fn empty_is_null(value: &mut Value) {
    match value {
        Value::String(text) if text.is_empty() => *value = Value::Null,
        Value::Object(fields) => fields.values_mut().for_each(empty_is_null),
        _ => {}
    }
}

/// Tries something on every sample; says on which it fails.
pub(super) fn try_samples(
    attempt: impl Fn(&Value, &str) -> Result<(), String>,
) -> Result<(), String> {
    for (id, data) in samples() {
        attempt(&data, &id)
            .map_err(|problem| format!("{problem} (tried on a sample of kind {})", data["kind"]))?;
    }
    Ok(())
}

/// Sample events, with their ids: one or more of each kind, one of an identity of which little is known, one whose values are long or odd,
/// and one of which nothing is left. All their values are made up.
pub fn samples() -> Vec<(String, Value)> {
    let ann = identity(1, &["cdp/c-77", "erp/1000123", "pos/S-42"], true);
    let bob = identity(2, &["pos/S-43"], false);
    let gone = identity(3, &[], false);
    let odd = identity_of(4, &["pos/S-44"], odd_values());
    let merged = identity(
        1,
        &[
            "cdp/c-77",
            "erp/1000123",
            "erp/1000200",
            "pos/S-42",
            "pos/S 43",
        ],
        true,
    );
    let keys = |texts: &[&str]| texts.iter().map(|text| record_key(text)).collect();
    let others = || vec![IdentityId([2; 16])];
    let events = [
        (
            EventKind::Created,
            &ann,
            vec![],
            vec![],
            keys(&["cdp/c-77", "erp/1000123", "pos/S-42"]),
        ),
        (
            EventKind::Created,
            &bob,
            vec![],
            vec![],
            keys(&["pos/S-43"]),
        ),
        (
            EventKind::Updated,
            &ann,
            vec![],
            vec![],
            keys(&["pos/S-42"]),
        ),
        (
            EventKind::Merged,
            &merged,
            others(),
            vec![],
            keys(&["erp/1000200", "pos/S 43"]),
        ),
        (
            EventKind::Split,
            &ann,
            vec![],
            others(),
            keys(&["erp/1000200", "pos/S 43"]),
        ),
        (EventKind::Updated, &gone, vec![], vec![], vec![]),
        (
            EventKind::Split,
            &ann,
            vec![],
            others(),
            keys(&["pos/S 43"]),
        ),
        (
            EventKind::Erased,
            &gone,
            vec![],
            vec![],
            keys(&["erp/1000200", "pos/S 43"]),
        ),
        (
            EventKind::Created,
            &odd,
            vec![],
            vec![],
            keys(&["pos/S-44"]),
        ),
        (EventKind::Updated, &ann, vec![], vec![], vec![]),
    ];
    let records = ConsumerRecords {
        own: vec!["C-1".to_owned()],
        returned: vec![("C-2".to_owned(), IdentityId([2; 16]))],
    };
    let erased = ConsumerRecords {
        own: records.own.clone(),
        returned: Vec::new(),
    };
    let tenant = Tenant::default_tenant();
    let count = events.len();
    let event = |(index, (kind, identity, merged, split_into, moved)): (
        usize,
        (EventKind, &StoredIdentity, _, _, Vec<RecordKey>),
    )| {
        let event = StoredEvent {
            sequence: 4_711 + index as u64,
            kind,
            occurred_at_ms: 1_795_600_000_123,
            identity: Arc::new(identity.clone()),
            previous_sequence: 0,
            merged,
            split_into,
            moved,
            cause: Cause::Signal("pos".to_owned(), "S1".to_owned()),
        };
        let is_snapshot = index + 1 == count;
        let kind = kind_of(&event, is_snapshot);
        let data = EventData::new(
            &event,
            kind,
            match event.kind {
                EventKind::Split => Some(&records),
                EventKind::Erased => Some(&erased),
                _ => None,
            },
        );
        (id_of(&tenant, &event, is_snapshot), json!(data))
    };
    events.into_iter().enumerate().map(event).collect()
}

fn record_key(text: &str) -> RecordKey {
    let (source, record_id) = text.split_once('/').unwrap_or((text, ""));
    RecordKey::new(source, record_id)
}

fn identity(number: u8, members: &[&str], is_known_well: bool) -> StoredIdentity {
    let name = Attribute::Name(PersonName {
        given: "Zoë \"Zo\"".to_owned(),
        family: "O'Neil".to_owned(),
        ..PersonName::default()
    });
    let mut values = vec![("name", name)];
    if is_known_well {
        let address = PostalAddress {
            street: "Main Street".to_owned(),
            number: "12".to_owned(),
            city: "Springfield".to_owned(),
            region: "VIC".to_owned(),
            postcode: "3171".to_owned(),
            country: "AU".to_owned(),
            ..PostalAddress::default()
        };
        let loyalty = Identifier {
            scheme: "loyalty".to_owned(),
            value: "L-100".to_owned(),
        };
        let segment = CustomAttribute {
            name: "segment".to_owned(),
            value: "gold".to_owned(),
        };
        values.extend([
            ("email", Attribute::Email("zoe@example.org".to_owned())),
            ("phone", Attribute::Phone("+61400000001".to_owned())),
            ("birth_date", Attribute::BirthDate("24/03/1978".to_owned())),
            ("gender", Attribute::Gender("f".to_owned())),
            ("address", Attribute::Address(address)),
            ("identifier.loyalty", Attribute::Identifier(loyalty)),
            ("custom.segment", Attribute::Custom(segment)),
        ]);
    }
    identity_of(number, members, values)
}

/// Values that are longer than most systems take, and some of which a part is unknown.
fn odd_values() -> Vec<(&'static str, Attribute)> {
    let long = |text: &str, length: usize| text.repeat(length / text.len() + 1);
    let name = Attribute::Name(PersonName {
        given: long("Jo Ann ", 60),
        middle: long("Lee ", 60),
        family: long("Ng-", 60),
        suffix: "The Seventeenth".to_owned(),
        ..PersonName::default()
    });
    let address = PostalAddress {
        street: long("Long Lane ", 250),
        number: "12 rear, 2nd".to_owned(),
        unit: long("Unit ", 250),
        city: long("Llanfair ", 80),
        region: long("Region ", 60),
        postcode: "behind the church, 3171".to_owned(),
        country: "au".to_owned(),
    };
    let email = format!("{}@example.org", long("zoe", 250));
    vec![
        ("name", name),
        ("email", Attribute::Email(email)),
        ("phone", Attribute::Phone("0400 000 001 (work)".to_owned())),
        ("birth_date", Attribute::BirthDate("1978".to_owned())),
        ("gender", Attribute::Gender("weiblich".to_owned())),
        ("address", Attribute::Address(address)),
    ]
}

fn identity_of(number: u8, members: &[&str], values: Vec<(&str, Attribute)>) -> StoredIdentity {
    let member_keys: Vec<RecordKey> = members.iter().map(|text| record_key(text)).collect();
    let surviving = |(slot, attribute): (&str, Attribute)| SurvivingValue {
        slot: slot.to_owned(),
        attribute,
        record: member_keys[0].clone(),
        stated_at_ms: 1_795_500_000_000,
        criterion: Criterion::MostRecent,
    };
    let values = if members.is_empty() {
        Vec::new()
    } else {
        values.into_iter().map(surviving).collect()
    };
    StoredIdentity {
        id: IdentityId([number; 16]),
        members: (1..=members.len() as u64).collect(),
        member_keys,
        golden: GoldenRecord { values },
        version: 3,
        created_at_sequence: 7,
        changed_at_sequence: 4_711,
        ended: None,
    }
}
