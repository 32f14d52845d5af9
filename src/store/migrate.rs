//! From earlier format versions to the present one. Version 2 knew overrides as words on pairs, one generation, and of the model its
//! fingerprint only; version 3 knew no erasure, and counted no events of that kind; version 4 knew neither reasons of overrides nor that
//! somebody may have to agree to one, and had review tasks in the order of their weight.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use veridem_matchers::{PairScore, RecordKey};

use super::encoding::{FORMAT_KEY, Key, MODEL_KEY, Space, TENANTS_KEY, Tag, decode, encode};
use super::keyed::{Engine, STORE_FORMAT_VERSION};
use super::spaces::{Spaces, TenantSpaces};
use super::{
    Approval, Counters, IdentityId, OverrideKind, RecordNumber, ReviewReason, StoreError,
    StoredAnswer, StoredIdentity, StoredModel, StoredOverride, StoredRecord, StoredReviewTask,
    Tenant, Undone, impact_of, priority_of,
};
use crate::clock;
use crate::resolver::StewardAction;

/// Tags of version 2: words by records, words by record keys, answers to stewards.
const WORDS_OF: u8 = b'o';
const WORDS_BY_KEYS: u8 = b'p';
const DECISIONS: u8 = b'd';

#[derive(Serialize, Deserialize)]
struct CountersOfVersion2 {
    record_numbers: u64,
    last_sequence: u64,
    last_event_ms: i64,
    last_change: u64,
    signals: u64,
    source_records: u64,
    identities: u64,
    open_review_tasks: u64,
    overrides: u64,
    events: [u64; 4],
}

#[derive(Serialize, Deserialize)]
struct CountersOfVersion3 {
    record_numbers: u64,
    last_sequence: u64,
    last_event_ms: i64,
    signals: u64,
    source_records: u64,
    identities: u64,
    open_review_tasks: u64,
    overrides: u64,
    override_numbers: u64,
    events: [u64; 4],
}

fn with_erased([created, updated, merged, split]: [u64; 4]) -> [u64; 5] {
    [created, updated, merged, split, 0]
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Word {
    SamePerson,
    DifferentPersons,
}

#[derive(Serialize, Deserialize)]
struct WordOnTwo {
    left: RecordKey,
    right: RecordKey,
    decision: Word,
    principal: String,
    decided_at_ms: i64,
    note: String,
}

#[derive(Serialize, Deserialize)]
struct DecisionOfVersion2 {
    content_hash: [u8; 16],
    value: WordOnTwo,
    identities: (Option<IdentityId>, Option<IdentityId>),
    sequence: u64,
}

#[derive(Serialize, Deserialize)]
struct OverrideOfVersion4 {
    number: u64,
    groups: Vec<Vec<(RecordKey, RecordNumber)>>,
    principal: String,
    decided_at_ms: i64,
    note: String,
    undone: Option<Undone>,
}

impl From<OverrideOfVersion4> for StoredOverride {
    fn from(old: OverrideOfVersion4) -> Self {
        Self {
            number: old.number,
            kind: OverrideKind::Persons,
            groups: old.groups,
            principal: old.principal,
            decided_at_ms: old.decided_at_ms,
            reason: String::new(),
            note: old.note,
            approval: Approval::NotNeeded,
            undone: old.undone,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct AnswerOfVersion4 {
    content_hash: [u8; 16],
    value: OverrideOfVersion4,
    identities: Vec<Option<IdentityId>>,
    before_sequence: u64,
    sequence: u64,
}

#[derive(Serialize, Deserialize)]
struct TaskOfVersion4 {
    id: String,
    left: RecordKey,
    right: RecordKey,
    records: (RecordNumber, RecordNumber),
    reason: ReviewReason,
    score: PairScore,
}

type Batch = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Brings a store of an earlier version to the present one, all at once or not at all.
pub(super) fn migrate(engine: &dyn Engine, version: u32) -> Result<(), StoreError> {
    let (spaces, mut batch) = match version {
        2 => from_version_2(engine)?,
        3 => from_version_3(engine)?,
        _ => (spaces_of(engine)?, Batch::new()),
    };
    for of_tenant in spaces.tenants.values() {
        if version > 2 {
            overrides_of_version_4(engine, of_tenant.own, &mut batch)?;
        }
        tasks_of_version_4(engine, of_tenant, &mut batch)?;
    }
    batch.push((FORMAT_KEY.to_vec(), Some(encode(&STORE_FORMAT_VERSION))));
    engine.write(batch)?;
    engine.sync()
}

fn spaces_of(engine: &dyn Engine) -> Result<Spaces, StoreError> {
    match engine.get(TENANTS_KEY)? {
        Some(bytes) => decode("tenants", &bytes),
        None => Ok(Spaces::default()),
    }
}

/// Overrides and the answers to stewards get what version 4 did not know of them.
fn overrides_of_version_4(
    engine: &dyn Engine,
    own: Space,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    for (key, value) in engine.scan(&Key::new(own, Tag::Override).bytes(), None, usize::MAX)? {
        let old: OverrideOfVersion4 = decode("override", &value)?;
        batch.push((key, Some(encode(&StoredOverride::from(old)))));
    }
    for (key, value) in engine.scan(&Key::new(own, Tag::Answer).bytes(), None, usize::MAX)? {
        let old: AnswerOfVersion4 = decode("answer", &value)?;
        let answer = StoredAnswer {
            content_hash: old.content_hash,
            value: old.value.into(),
            identities: old.identities,
            before_sequence: old.before_sequence,
            sequence: old.sequence,
        };
        batch.push((key, Some(encode(&answer))));
    }
    Ok(())
}

/// Review tasks come into the order of what an answer settles. When they were opened is not known: now.
fn tasks_of_version_4(
    engine: &dyn Engine,
    of_tenant: &TenantSpaces,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    let own = of_tenant.own;
    let by_place = Key::new(own, Tag::TaskByPriority).bytes();
    let old = engine.scan(&by_place, None, usize::MAX)?;
    let generation = of_tenant.generations.get(&of_tenant.in_force);
    let records_beside = |number: RecordNumber| -> Result<usize, StoreError> {
        let Some(space) = generation else {
            return Ok(1);
        };
        let key = Key::new(*space, Tag::Record).number(number);
        let Some(bytes) = engine.get(&key.bytes())? else {
            return Ok(1);
        };
        let record: StoredRecord = decode("source record", &bytes)?;
        let Some(id) = record.identity_id else {
            return Ok(1);
        };
        let Some(bytes) = engine.get(&Key::new(own, Tag::Identity).id(&id.0).bytes())? else {
            return Ok(1);
        };
        let identity: StoredIdentity = decode("identity", &bytes)?;
        Ok(identity.members.len())
    };
    for (key, value) in old {
        let old: TaskOfVersion4 = decode("review task", &value)?;
        let records = records_beside(old.records.0)? + records_beside(old.records.1)?;
        let impact = impact_of(records);
        let task = StoredReviewTask {
            id: old.id,
            left: old.left,
            right: old.right,
            records: old.records,
            reason: old.reason,
            score: old.score,
            impact,
            priority: priority_of(old.reason, &old.score, impact),
            opened_at_ms: clock::now_ms(),
        };
        let by_priority = Key::new(own, Tag::TaskByPriority)
            .falling(task.priority)
            .text(&task.id)
            .bytes();
        let by_id = Key::new(own, Tag::TaskById).text(&task.id);
        let value = encode(&task);
        if key != by_priority {
            batch.push((key, None));
        }
        batch.push((by_priority, Some(value.clone())));
        batch.push((by_id.bytes(), Some(value)));
    }
    Ok(())
}

fn from_version_3(engine: &dyn Engine) -> Result<(Spaces, Batch), StoreError> {
    let spaces = spaces_of(engine)?;
    let mut batch = Batch::new();
    for of_tenant in spaces.tenants.values() {
        let key = Key::new(of_tenant.own, Tag::Counters).bytes();
        let Some(bytes) = engine.get(&key)? else {
            continue;
        };
        let old: CountersOfVersion3 = decode("counters", &bytes)?;
        let counters = Counters {
            record_numbers: old.record_numbers,
            last_sequence: old.last_sequence,
            last_event_ms: old.last_event_ms,
            signals: old.signals,
            source_records: old.source_records,
            identities: old.identities,
            open_review_tasks: old.open_review_tasks,
            overrides: old.overrides,
            override_numbers: old.override_numbers,
            events: with_erased(old.events),
        };
        batch.push((key, Some(encode(&counters))));
    }
    Ok((spaces, batch))
}

fn from_version_2(engine: &dyn Engine) -> Result<(Spaces, Batch), StoreError> {
    let read = |key: &[u8]| engine.get(key);
    let tenants: BTreeMap<Tenant, Space> = match read(TENANTS_KEY)? {
        Some(bytes) => decode("tenants", &bytes)?,
        None => BTreeMap::new(),
    };
    let fingerprint: Option<String> = read(MODEL_KEY)?
        .map(|bytes| decode("model fingerprint", &bytes))
        .transpose()?;
    let mut batch = Batch::new();
    for space in tenants.values() {
        migrate_tenant(engine, *space, &mut batch)?;
        if let Some(fingerprint) = &fingerprint {
            let model = StoredModel {
                fingerprint: fingerprint.clone(),
                model: String::new(),
                pack: String::new(),
            };
            batch.push((Key::new(*space, Tag::Model).bytes(), Some(encode(&model))));
        }
    }
    let next = tenants.values().max().map_or(0, |last| last + 1);
    let of_tenant = |(tenant, space)| (tenant, TenantSpaces::new(space));
    let spaces = Spaces {
        tenants: tenants.into_iter().map(of_tenant).collect(),
        next,
    };
    batch.push((TENANTS_KEY.to_vec(), Some(encode(&spaces))));
    batch.push((MODEL_KEY.to_vec(), None));
    Ok((spaces, batch))
}

fn migrate_tenant(engine: &dyn Engine, space: Space, batch: &mut Batch) -> Result<(), StoreError> {
    let counters_key = Key::new(space, Tag::Counters).bytes();
    let Some(bytes) = engine.get(&counters_key)? else {
        return Ok(());
    };
    let old: CountersOfVersion2 = decode("counters", &bytes)?;
    let words = engine.scan(&Key::of(WORDS_BY_KEYS, space).bytes(), None, usize::MAX)?;
    let mut overrides = Vec::with_capacity(words.len());
    for (key, value) in words {
        overrides.push(override_of(engine, space, decode("override", &value)?)?);
        batch.push((key, None));
    }
    overrides.sort_by(|left, right| {
        (left.decided_at_ms, &left.groups).cmp(&(right.decided_at_ms, &right.groups))
    });
    for (number, value) in (1..).zip(&mut overrides) {
        value.number = number;
        let key = Key::new(space, Tag::Override).number(number).bytes();
        batch.push((key, Some(encode(value))));
    }
    let removed = engine.scan(&Key::of(WORDS_OF, space).bytes(), None, usize::MAX)?;
    batch.extend(removed.into_iter().map(|(key, _)| (key, None)));
    for (key, value) in engine.scan(&Key::of(DECISIONS, space).bytes(), None, usize::MAX)? {
        let decision: DecisionOfVersion2 = decode("decision", &value)?;
        let mut answered = override_of(engine, space, decision.value)?;
        let known = |known: &&StoredOverride| known.groups == answered.groups;
        answered.number = overrides.iter().find(known).map_or(0, |known| known.number);
        let answer = StoredAnswer {
            content_hash: StewardAction::of_groups(&answered).content_hash("", &answered.note),
            value: answered,
            identities: vec![decision.identities.0, decision.identities.1],
            before_sequence: decision.sequence,
            sequence: decision.sequence,
        };
        let mut new_key = key.clone();
        new_key[0] = Tag::Answer as u8;
        batch.push((key, None));
        batch.push((new_key, Some(encode(&answer))));
    }
    let counters = Counters {
        record_numbers: old.record_numbers,
        last_sequence: old.last_sequence,
        last_event_ms: old.last_event_ms,
        signals: old.signals,
        source_records: old.source_records,
        identities: old.identities,
        open_review_tasks: old.open_review_tasks,
        overrides: overrides.len() as u64,
        override_numbers: overrides.len() as u64,
        events: with_erased(old.events),
    };
    batch.push((counters_key, Some(encode(&counters))));
    let last_change = Key::new(space, Tag::LastChange).bytes();
    batch.push((last_change, Some(encode(&old.last_change))));
    Ok(())
}

/// The override that says the same.
fn override_of(
    engine: &dyn Engine,
    space: Space,
    word: WordOnTwo,
) -> Result<StoredOverride, StoreError> {
    let numbered = |record: RecordKey| -> Result<(RecordKey, RecordNumber), StoreError> {
        let key = Key::new(space, Tag::RecordNumber).hash(&[&record.source, &record.record_id]);
        let number = match engine.get(&key.bytes())? {
            Some(bytes) => decode("record number", &bytes)?,
            None => 0,
        };
        Ok((record, number))
    };
    let (left, right) = (numbered(word.left)?, numbered(word.right)?);
    let groups = match word.decision {
        Word::SamePerson => vec![vec![left, right]],
        Word::DifferentPersons => vec![vec![left], vec![right]],
    };
    Ok(StoredOverride {
        number: 0,
        kind: OverrideKind::Persons,
        groups,
        principal: word.principal,
        decided_at_ms: word.decided_at_ms,
        reason: String::new(),
        note: word.note,
        approval: Approval::NotNeeded,
        undone: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use crate::store::keyed::KeyedStore;
    use crate::store::memory_store::MemoryEngine;

    fn word(left: &str, right: &str, decision: Word, decided_at_ms: i64) -> WordOnTwo {
        WordOnTwo {
            left: RecordKey::new("pos", left),
            right: RecordKey::new("pos", right),
            decision,
            principal: "steward".to_owned(),
            decided_at_ms,
            note: "seen".to_owned(),
        }
    }

    /// As version 2 wrote it: three records, two words on them, one answer.
    fn store_of_version_2(engine: &MemoryEngine) {
        let put = |key: Vec<u8>, value: Vec<u8>| (key, Some(value));
        let tenants = BTreeMap::from([(Tenant::default_tenant(), 0_u16)]);
        let mut batch = vec![
            put(FORMAT_KEY.to_vec(), encode(&2_u32)),
            put(TENANTS_KEY.to_vec(), encode(&tenants)),
            put(MODEL_KEY.to_vec(), encode(&"abc")),
        ];
        let counters = CountersOfVersion2 {
            record_numbers: 3,
            last_sequence: 9,
            last_event_ms: 5,
            last_change: 7,
            signals: 4,
            source_records: 3,
            identities: 2,
            open_review_tasks: 1,
            overrides: 2,
            events: [3, 4, 1, 1],
        };
        batch.push(put(Key::new(0, Tag::Counters).bytes(), encode(&counters)));
        for (id, number) in [("1", 1_u64), ("2", 2), ("3", 3)] {
            let key = Key::new(0, Tag::RecordNumber).hash(&["pos", id]);
            batch.push(put(key.bytes(), encode(&number)));
        }
        for (word, numbers) in [
            (word("1", "2", Word::SamePerson, 20), (1, 2)),
            (word("1", "3", Word::DifferentPersons, 10), (1, 3)),
        ] {
            let texts =
                |key: Key, record: &RecordKey| key.text(&record.source).text(&record.record_id);
            let key = texts(texts(Key::of(WORDS_BY_KEYS, 0), &word.left), &word.right);
            for (one, other) in [numbers, (numbers.1, numbers.0)] {
                let key = Key::of(WORDS_OF, 0).number(one).number(other);
                batch.push(put(key.bytes(), encode(&word.decision)));
            }
            batch.push(put(key.bytes(), encode(&word)));
        }
        let decision = DecisionOfVersion2 {
            content_hash: [0; 16],
            value: word("1", "2", Word::SamePerson, 20),
            identities: (Some(IdentityId([1; 16])), Some(IdentityId([1; 16]))),
            sequence: 9,
        };
        batch.push(put(
            Key::of(DECISIONS, 0).text("key").bytes(),
            encode(&decision),
        ));
        engine.write(batch).expect("memory takes it");
    }

    #[test]
    fn overrides_and_answers_of_version_2_are_kept() {
        let engine = MemoryEngine::default();
        store_of_version_2(&engine);
        let store =
            KeyedStore::open(engine, 1 << 20).expect("it is brought to the present version");
        let tenant = Tenant::default_tenant();
        let overrides = store.overrides(&tenant, 0, 10).expect("reads");
        let told: Vec<_> = overrides
            .iter()
            .map(|value| (value.number, value.groups.len(), value.records().count()))
            .collect();
        assert_eq!(
            told,
            [(1, 2, 2), (2, 1, 2)],
            "in the order in which they were decided"
        );
        assert_eq!(overrides[1].groups[0][1], (RecordKey::new("pos", "2"), 2));
        let answer = store.answer(&tenant, "key").expect("reads").expect("kept");
        assert_eq!((answer.value.number, answer.sequence), (2, 9));
        // The same call made anew is known by its content.
        let action = StewardAction::Override(vec![vec![
            RecordKey::new("pos", "1"),
            RecordKey::new("pos", "2"),
        ]]);
        assert_eq!(answer.content_hash, action.content_hash("", "seen"));
        let counters = store.counters(&tenant).expect("reads");
        assert_eq!((counters.overrides, counters.override_numbers), (2, 2));
        assert_eq!(
            store
                .last_change(&tenant, store.in_force(&tenant))
                .expect("reads"),
            7
        );
        let model = store
            .model(&tenant)
            .expect("reads")
            .expect("its fingerprint");
        assert_eq!(
            (model.fingerprint.as_str(), model.model.as_str()),
            ("abc", "")
        );
        assert_eq!(store.tenants(), [tenant]);
    }
}
