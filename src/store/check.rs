//! Whether what a store holds agrees with itself.

use rustc_hash::FxHashMap;
use veridem_matchers::RecordKey;

use super::{
    AuditHead, EventKind, IdentityId, RecordNumber, Store, StoreError, StoredReviewTask, Tenant,
    impact_of,
};

/// Entries read at once.
const BATCH: usize = 10_000;
/// Problems after which the check ends.
const MAX_PROBLEMS: usize = 20;

/// Reads everything of a tenant and tells what contradicts what, without values of persons; nothing where all is well.
///
/// Every record is in the crosswalk; every living one is a member of a living identity and of no other; edges stand on both sides;
/// events are numbered without a gap and an identity's latest event shows it as it is; the counters count what there is; a review task stands
/// where what it settles puts it; no entry of the audit log was changed, taken out or put between.
pub fn check_tenant(store: &dyn Store, tenant: &Tenant) -> Result<Vec<String>, StoreError> {
    let mut check = Check {
        store,
        tenant,
        problems: Vec::new(),
        identities: FxHashMap::default(),
    };
    check.events()?;
    check.records()?;
    check.tasks()?;
    check.audit()?;
    Ok(check.problems)
}

/// What the feed says of an identity: members and the event that said so last.
struct Told {
    members: Vec<RecordNumber>,
    sequence: u64,
    is_living: bool,
}

struct Check<'a> {
    store: &'a dyn Store,
    tenant: &'a Tenant,
    problems: Vec<String>,
    identities: FxHashMap<IdentityId, Told>,
}

impl Check<'_> {
    fn problem(&mut self, text: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(text);
        }
    }

    /// Follows the feed as a consumer would.
    fn events(&mut self) -> Result<(), StoreError> {
        let counters = self.store.counters(self.tenant)?;
        let mut next = 1;
        loop {
            let events = self.store.events(self.tenant, next, BATCH)?;
            let Some(last) = events.last() else { break };
            let last = last.sequence;
            for event in events {
                if event.sequence != next {
                    self.problem(format!("event {next} is missing"));
                    next = event.sequence;
                }
                next += 1;
                for merged in &event.merged {
                    if let Some(told) = self.identities.get_mut(merged) {
                        told.is_living = false;
                    }
                }
                let told = Told {
                    members: event.identity.members.clone(),
                    sequence: event.sequence,
                    is_living: event.kind != EventKind::Erased,
                };
                self.identities.insert(event.identity.id, told);
            }
            next = last + 1;
        }
        if next != counters.last_sequence + 1 {
            self.problem(format!(
                "the feed ends with event {}, the counters say {}",
                next - 1,
                counters.last_sequence
            ));
        }
        let mut living = 0;
        let mut problems = Vec::new();
        for (id, told) in &self.identities {
            living += u64::from(told.is_living && !told.members.is_empty());
            let Some(identity) = self.store.identity(self.tenant, id)? else {
                problems.push(format!("identity {id} is in the feed and not in the store"));
                continue;
            };
            if told.is_living != identity.ended.is_none()
                || (told.is_living
                    && (told.members != identity.members
                        || told.sequence != identity.changed_at_sequence))
            {
                problems.push(format!(
                    "identity {id} is not as event {} says",
                    told.sequence
                ));
            }
        }
        problems.sort_unstable();
        problems
            .into_iter()
            .for_each(|problem| self.problem(problem));
        if living != counters.identities {
            self.problem(format!(
                "{living} identities live, the counters say {}",
                counters.identities
            ));
        }
        Ok(())
    }

    fn records(&mut self) -> Result<(), StoreError> {
        let counters = self.store.counters(self.tenant)?;
        let generation = self.store.in_force(self.tenant);
        let (mut first, mut living) = (0, 0);
        loop {
            let records = self
                .store
                .records_from(self.tenant, generation, first, BATCH)?;
            let Some(last) = records.last() else { break };
            first = last.number + 1;
            for record in records {
                let number = record.number;
                if self.number_of(&record.key)? != Some(number) {
                    self.problem(format!("record {number} is not in the crosswalk"));
                }
                let Some(fold) = self.store.fold(self.tenant, number)? else {
                    self.problem(format!("record {number} has no fold"));
                    continue;
                };
                if fold.fold.is_alive() != record.is_alive {
                    self.problem(format!("record {number} lives and does not"));
                }
                if record.is_alive {
                    living += 1;
                    let told = record.identity_id.and_then(|id| self.identities.get(&id));
                    if !told.is_some_and(|told| told.is_living && told.members.contains(&number)) {
                        self.problem(format!("record {number} is no member of its identity"));
                    }
                }
                for edge in self.store.edges(self.tenant, generation, number)?.iter() {
                    let back = self.store.edges(self.tenant, generation, edge.other)?;
                    if !back
                        .iter()
                        .any(|back| back.other == number && back.score == edge.score)
                    {
                        self.problem(format!(
                            "the edge from record {number} to {} has no other side",
                            edge.other
                        ));
                    }
                }
            }
        }
        if living != counters.source_records {
            self.problem(format!(
                "{living} records live, the counters say {}",
                counters.source_records
            ));
        }
        let members: usize = self
            .identities
            .values()
            .filter(|told| told.is_living)
            .map(|told| told.members.len())
            .sum();
        if members as u64 != living {
            self.problem(format!("{living} records live, identities have {members}"));
        }
        Ok(())
    }

    fn number_of(&self, key: &RecordKey) -> Result<Option<RecordNumber>, StoreError> {
        self.store.record_number(self.tenant, key)
    }

    fn audit(&mut self) -> Result<(), StoreError> {
        let mut last = AuditHead::default();
        loop {
            let entries = self.store.audit_entries(self.tenant, last.number, BATCH)?;
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                if !entry.follows(&last) {
                    let number = entry.number;
                    self.problem(format!("audit entry {number} is not what was written"));
                }
                last = entry.head();
            }
        }
        let head = self.store.audit_head(self.tenant)?;
        if last != head {
            self.problem(format!(
                "the audit log ends with entry {}, not as it was written with entry {}",
                last.number, head.number
            ));
        }
        Ok(())
    }

    /// Whether a task stands where what it settles puts it, and is found by its id.
    fn task(&mut self, task: &StoredReviewTask) -> Result<(), StoreError> {
        let (one, other) = task.records;
        let records = self.store.records_beside(self.tenant, one)?
            + self.store.records_beside(self.tenant, other)?;
        let by_id = self.store.review_task(self.tenant, &task.id)?;
        if by_id.as_ref() != Some(task) {
            self.problem(format!("review task {} is not found by its id", task.id));
        }
        if task.impact != impact_of(records) {
            self.problem(format!(
                "review task {} has impact {}, its identities have {records} records",
                task.id, task.impact
            ));
        }
        Ok(())
    }

    fn tasks(&mut self) -> Result<(), StoreError> {
        let counters = self.store.counters(self.tenant)?;
        let (mut after, mut open) = (None, 0);
        loop {
            let tasks = self
                .store
                .review_tasks(self.tenant, after.as_deref(), BATCH)?;
            let Some((last, _)) = tasks.last() else { break };
            after = Some(last.clone());
            open += tasks.len() as u64;
            for (_, task) in &tasks {
                self.task(task)?;
            }
        }
        if open != counters.open_review_tasks {
            self.problem(format!(
                "{open} review tasks are open, the counters say {}",
                counters.open_review_tasks
            ));
        }
        Ok(())
    }
}
