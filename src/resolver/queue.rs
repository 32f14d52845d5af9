//! The review queue: which tasks wait, and who works at which. A claim is a promise of a while, kept in memory: it ends when its time is
//! over, when its holder lets go or has decided, and with the process.

use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use veridem_matchers::block::PersonalValue;
use veridem_matchers::cluster::Link;
use veridem_matchers::normalise::normalised_text;
use veridem_matchers::{Attribute, RecordKey};

use super::engine::Engine;
use super::error::EngineError;
use super::read::MatchAnswer;
use super::tasks::RecordPair;
use crate::store::{
    IdentityId, ReviewReason, StoredIdentity, StoredReviewTask, Tenant, ValueMark, impact_of,
};

/// How long a claim holds without being renewed, milliseconds.
const CLAIM_MS: i64 = 5 * 60 * 1_000;
/// How long a task stays assigned, milliseconds: a day's work.
const ASSIGNED_MS: i64 = 8 * 60 * 60 * 1_000;
/// Tasks that one principal may work at at once.
const MAX_CLAIMS: usize = 100;
/// Tasks read for one page at most: where few fit, the rest is for the next page.
const MAX_READ: usize = 10_000;
/// Records of one identity that are shown at once.
const MAX_SOURCE_RECORDS: usize = 1_000;
/// Tasks read at once, at least and at most.
const BATCH: std::ops::RangeInclusive<usize> = 100..=500;

/// That somebody works at a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who.
    pub principal: String,
    /// Until when, milliseconds since the Unix epoch.
    pub until_ms: i64,
    /// Somebody has given the task to them.
    pub is_assigned: bool,
}

/// Who works at which task.
#[derive(Default)]
pub struct Claims(Mutex<FxHashMap<(Tenant, String), Claim>>);

impl Claims {
    /// Claims a task, or renews a claim.
    ///
    /// # Errors
    /// Where somebody else works at it, or the principal has claimed too many.
    pub fn claim(
        &self,
        tenant: &Tenant,
        task_id: &str,
        principal: &str,
        now_ms: i64,
    ) -> Result<Claim, EngineError> {
        let mut held = self.0.lock();
        held.retain(|_, claim| claim.until_ms > now_ms);
        let key = (tenant.clone(), task_id.to_owned());
        match held.get(&key) {
            Some(claim) if claim.principal != principal => {
                return Err(EngineError::Claimed(claim.clone()));
            }
            Some(_) => {}
            None => {
                let own = |((of, _), claim): &(&(Tenant, String), &Claim)| {
                    of == tenant && claim.principal == principal && !claim.is_assigned
                };
                if held.iter().filter(own).count() >= MAX_CLAIMS {
                    return Err(EngineError::Refused {
                        field: "review_task_id",
                        problem: "too many tasks are claimed already; release some",
                    });
                }
            }
        }
        // One that is assigned stays so for as long as it was.
        let before = held
            .get(&key)
            .map(|claim| (claim.until_ms, claim.is_assigned));
        let (until_ms, is_assigned) = before.unwrap_or_default();
        let claim = Claim {
            principal: principal.to_owned(),
            until_ms: until_ms.max(now_ms + CLAIM_MS),
            is_assigned,
        };
        held.insert(key, claim.clone());
        Ok(claim)
    }

    /// Gives a task to a principal, whoever works at it.
    pub fn assign(&self, tenant: &Tenant, task_id: &str, principal: &str, now_ms: i64) -> Claim {
        let claim = Claim {
            principal: principal.to_owned(),
            until_ms: now_ms + ASSIGNED_MS,
            is_assigned: true,
        };
        let key = (tenant.clone(), task_id.to_owned());
        self.0.lock().insert(key, claim.clone());
        claim
    }

    /// Lets a task go that the principal has claimed; one that is assigned stays so. Whether it is free now.
    pub fn release(&self, tenant: &Tenant, task_id: &str, principal: &str) -> bool {
        let mut held = self.0.lock();
        let key = (tenant.clone(), task_id.to_owned());
        let is_own = held
            .get(&key)
            .is_some_and(|claim| claim.principal == principal && !claim.is_assigned);
        is_own && held.remove(&key).is_some()
    }

    /// Nobody works any more at a task that is decided.
    pub fn decided(&self, tenant: &Tenant, task_id: &str) {
        self.0.lock().remove(&(tenant.clone(), task_id.to_owned()));
    }

    /// Who works at a task.
    pub fn of(&self, tenant: &Tenant, task_id: &str, now_ms: i64) -> Option<Claim> {
        let held = self.0.lock();
        let claim = held.get(&(tenant.clone(), task_id.to_owned()));
        claim.filter(|claim| claim.until_ms > now_ms).cloned()
    }

    /// Fails where somebody else than the principal works at a task.
    pub fn check(
        &self,
        tenant: &Tenant,
        task_id: &str,
        principal: &str,
        now_ms: i64,
    ) -> Result<(), EngineError> {
        match self.of(tenant, task_id, now_ms) {
            Some(claim) if claim.principal != principal => Err(EngineError::Claimed(claim)),
            _ => Ok(()),
        }
    }
}

/// Which tasks are wanted; the default: all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskFilter {
    /// Those that wait for this reason; none: for any.
    pub reason: Option<ReviewReason>,
    /// Those with a record of one of these sources; empty: of any.
    pub sources: Vec<String>,
    /// Those of at least this match probability.
    pub min_probability: f64,
    /// Those of at most this match probability; none: of any.
    pub max_probability: Option<f64>,
    /// Those that wait since this time or before, milliseconds since the Unix epoch; none: since any.
    pub opened_before_ms: Option<i64>,
    /// Those whose two identities have at least so many records together.
    pub min_records: usize,
}

impl TaskFilter {
    fn takes(&self, task: &StoredReviewTask) -> bool {
        let probability = task.score.probability().0;
        let is_of = |source: &String| *source == task.left.source || *source == task.right.source;
        self.reason.is_none_or(|reason| reason == task.reason)
            && (self.sources.is_empty() || self.sources.iter().any(is_of))
            && probability >= self.min_probability
            && self.max_probability.is_none_or(|most| probability <= most)
            && (self.opened_before_ms).is_none_or(|latest| task.opened_at_ms <= latest)
            // The exact number is not less than the impact tells; who asks for it looks at the identities.
            && task.impact >= impact_of(self.min_records)
    }
}

/// Some of the tasks that wait.
#[derive(Debug)]
pub struct TaskPage {
    /// The tasks, in the order of [`StoredReviewTask::priority`].
    pub tasks: Vec<StoredReviewTask>,
    /// The place to go on from; none on the last page.
    pub next: Option<Vec<u8>>,
}

/// A review task with what a steward has to know.
#[derive(Clone, Debug)]
pub struct ReviewedTask {
    /// The task.
    pub task: StoredReviewTask,
    /// Its two records, left and right.
    pub records: [SourceRecord; 2],
    /// The identities to which they belong.
    pub identities: [Option<Arc<StoredIdentity>>; 2],
    /// What speaks for and against.
    pub answer: MatchAnswer,
}

/// What a source states of one customer.
#[derive(Clone, Debug)]
pub struct SourceRecord {
    /// The record.
    pub key: RecordKey,
    /// Its values, sorted by slot.
    pub values: Vec<SourceValue>,
}

/// A value that a source states.
#[derive(Clone, Debug)]
pub struct SourceValue {
    /// Its slot.
    pub slot: String,
    /// As stated.
    pub attribute: Attribute,
    /// When, milliseconds since the Unix epoch; 0 where the source does not say.
    pub stated_at_ms: i64,
    /// The form in which it is compared.
    pub normalised: Option<String>,
    /// What stewards have said of it.
    pub mark: Option<ValueMark>,
}

impl Engine {
    /// Tasks that a filter takes, after a place, at most `limit`; those that `wants` refuses are left out, and those decided where
    /// somebody else has to agree. A page may have fewer and yet not be the last.
    pub fn review_tasks(
        &self,
        tenant: &Tenant,
        after: Option<Vec<u8>>,
        limit: usize,
        filter: &TaskFilter,
        wants: impl Fn(&StoredReviewTask) -> bool,
    ) -> Result<TaskPage, EngineError> {
        let overrides = self.tenant(tenant)?.shared.overrides.read().clone();
        let (mut after, mut read, mut tasks) = (after, 0, Vec::new());
        while tasks.len() < limit && read < MAX_READ {
            let batch = limit.clamp(*BATCH.start(), *BATCH.end());
            let found = self.store.review_tasks(tenant, after.as_deref(), batch)?;
            let is_last = found.len() < batch;
            for (place, task) in found {
                read += 1;
                after = Some(place);
                let (one, other) = task.records;
                if filter.takes(&task)
                    && !overrides.is_awaited(one, other)
                    && wants(&task)
                    && self.has_records(tenant, &task, filter.min_records)?
                {
                    tasks.push(task);
                    if tasks.len() == limit {
                        return Ok(TaskPage { tasks, next: after });
                    }
                }
            }
            if is_last {
                return Ok(TaskPage { tasks, next: None });
            }
        }
        Ok(TaskPage { tasks, next: after })
    }

    /// Whether the two identities of a task have so many records together.
    fn has_records(
        &self,
        tenant: &Tenant,
        task: &StoredReviewTask,
        least: usize,
    ) -> Result<bool, EngineError> {
        // Every identity has one.
        if least <= 2 {
            return Ok(true);
        }
        let (one, other) = task.records;
        let records =
            self.store.records_beside(tenant, one)? + self.store.records_beside(tenant, other)?;
        Ok(records >= least)
    }

    /// A task that waits; where it has closed lately, why.
    pub fn open_task(&self, tenant: &Tenant, id: &str) -> Result<StoredReviewTask, EngineError> {
        if let Some(task) = self.store.review_task(tenant, id)? {
            return Ok(task);
        }
        let closed = self.tenant(tenant)?.shared.open_tasks.read().closed(id);
        Err(match closed {
            Some(pair) => EngineError::Closed(self.why_closed(tenant, pair)?),
            None => EngineError::NotFound {
                what: "review_task_id",
            },
        })
    }

    /// What has become of the records of a task.
    fn why_closed(
        &self,
        tenant: &Tenant,
        (one, other): RecordPair,
    ) -> Result<&'static str, EngineError> {
        let state = self.tenant(tenant)?;
        let ids = (
            self.identity_of(tenant, one)?,
            self.identity_of(tenant, other)?,
        );
        let (Some(left), Some(right)) = ids else {
            return Ok("one of its records is deleted");
        };
        let word = state.shared.overrides.read().word(one, other);
        Ok(match word {
            Some(Link::Must) if left == right => "a steward has said that they are one person",
            Some(Link::Cannot) => "a steward has said that they are two persons",
            _ if left == right => "later evidence has made them one identity",
            _ => {
                "later evidence has left nothing doubtful between the two records; where their identities are still in doubt, a task about other records of them says so"
            }
        })
    }

    /// A review task with what both sides state and what speaks for and against it.
    pub fn review_task(&self, tenant: &Tenant, id: &str) -> Result<ReviewedTask, EngineError> {
        let task = self.open_task(tenant, id)?;
        let answer = self.explain_match(tenant, &task.left, &task.right)?;
        let records = [
            self.source_record(tenant, &task.left)?,
            self.source_record(tenant, &task.right)?,
        ];
        let identity = |id: Option<IdentityId>| match id {
            Some(id) => self.store.identity(tenant, &id),
            None => Ok(None),
        };
        let identities = [
            identity(answer.identities.0)?,
            identity(answer.identities.1)?,
        ];
        Ok(ReviewedTask {
            task,
            records,
            identities,
            answer,
        })
    }

    /// What sources state of the records of an identity, the first 1,000 of them.
    pub fn source_records(
        &self,
        tenant: &Tenant,
        id: &IdentityId,
    ) -> Result<Vec<SourceRecord>, EngineError> {
        let identity = self.store.identity(tenant, id)?;
        let identity = identity.ok_or(EngineError::NotFound {
            what: "identity_id",
        })?;
        let keys = identity.member_keys.iter().take(MAX_SOURCE_RECORDS);
        keys.map(|key| self.source_record(tenant, key)).collect()
    }

    /// What a source states of one customer.
    pub(super) fn source_record(
        &self,
        tenant: &Tenant,
        key: &RecordKey,
    ) -> Result<SourceRecord, EngineError> {
        let record = self.find_record(tenant, key, "record")?;
        let state = self.tenant(tenant)?;
        let region = state.matcher.pack.region();
        let overrides = state.shared.overrides.read().clone();
        let mark = |attribute: &Attribute| {
            let value = PersonalValue::new(attribute, region)?;
            overrides.mark_of(value).map(|(_, mark)| mark)
        };
        let fold = self.store.fold(tenant, record.number)?;
        let stated = fold.iter().flat_map(|fold| fold.fold.stated());
        let mut values: Vec<SourceValue> = stated
            .map(|(attribute, stated_at_ms)| SourceValue {
                slot: attribute.slot(),
                attribute: attribute.clone(),
                stated_at_ms,
                normalised: normalised_text(attribute, region),
                mark: mark(attribute),
            })
            .collect();
        values.sort_by(|left, right| left.slot.cmp(&right.slot));
        Ok(SourceRecord {
            key: record.key.clone(),
            values,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_holds_against_others_for_a_while() {
        let (claims, tenant) = (Claims::default(), Tenant::default_tenant());
        let claim = |task: &str, principal: &str, now_ms| {
            claims.claim(&tenant, task, principal, now_ms).is_ok()
        };
        assert!(claim("a", "ann", 0));
        assert!(claim("a", "ann", 1_000), "a claim can be renewed");
        assert!(!claim("a", "bob", 1_000));
        assert!(claim("b", "bob", 1_000));
        assert!(claims.check(&tenant, "a", "ann", 2_000).is_ok());
        assert!(claims.check(&tenant, "a", "bob", 2_000).is_err());
        assert!(!claims.release(&tenant, "a", "bob"), "it is not theirs");
        assert!(claim("a", "bob", 1_000 + CLAIM_MS), "its time is over");
        assert!(claims.release(&tenant, "a", "bob"));
        assert_eq!(claims.of(&tenant, "a", 1_000 + CLAIM_MS), None);
    }

    #[test]
    fn what_is_assigned_stays_so_while_its_assignee_works_at_it() {
        let (claims, tenant) = (Claims::default(), Tenant::default_tenant());
        claims.claim(&tenant, "a", "bob", 0).expect("nobody has it");
        claims.assign(&tenant, "a", "ann", 0);
        assert!(claims.claim(&tenant, "a", "bob", 1_000).is_err());
        let claim = claims
            .claim(&tenant, "a", "ann", 1_000)
            .expect("it is hers");
        assert_eq!(claim.until_ms, ASSIGNED_MS);
        assert!(!claims.release(&tenant, "a", "ann"), "it stays hers");
        assert!(claims.check(&tenant, "a", "bob", 2_000).is_err());
        assert!(claims.claim(&tenant, "a", "bob", ASSIGNED_MS).is_ok());
    }

    #[test]
    fn nobody_claims_everything() {
        let (claims, tenant) = (Claims::default(), Tenant::default_tenant());
        for task in 0..MAX_CLAIMS {
            let claimed = claims.claim(&tenant, &task.to_string(), "ann", 0);
            assert!(claimed.is_ok());
        }
        assert!(claims.claim(&tenant, "one more", "ann", 0).is_err());
        assert!(claims.claim(&tenant, "1", "ann", 0).is_ok(), "it is theirs");
        assert!(claims.claim(&tenant, "one more", "bob", 0).is_ok());
    }
}
