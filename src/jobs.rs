//! Jobs that take a while: which run, how far each is, and what came of the latest. Known to this process, and gone with it.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock;
use crate::store::Tenant;

/// Jobs that are remembered; the oldest that has ended is forgotten first.
const REMEMBERED: usize = 100;

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// Works out what would come of another model.
    ModelPreview,
    /// Puts another model in force.
    ModelChange,
    /// Draws a sample of pairs to be judged.
    Sample,
    /// Writes a backup.
    Backup,
    /// Takes a file in.
    FileDrop,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// It has done what it was for.
    Done,
    /// It was given up, by whoever asked for it or with the process.
    Stopped,
    /// Why it could not, without personal values.
    Failed(String),
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// From 1, in the order in which they began.
    pub number: u64,
    /// Whose data it is about.
    pub tenant: Tenant,
    /// What it does.
    pub kind: JobKind,
    /// What it is about: a fingerprint, a file.
    pub name: String,
    /// Who asked for it; empty where nobody did.
    pub principal: String,
    /// When it began, milliseconds since the Unix epoch.
    pub started_at_ms: i64,
    /// What it is at, in a word; empty where it has no stages.
    pub stage: &'static str,
    /// So much is done, of so much; 0 of 0 where that is not known.
    pub progress: (u64, u64),
    /// When and how it ended.
    pub ended: Option<(i64, JobEnd)>,
}

/// The jobs of a process. Clones tell the same.
#[derive(Clone, Default)]
pub struct Jobs(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    last_number: u64,
    jobs: VecDeque<Job>,
}

impl Jobs {
    /// A job begins. It is stopped where it is let go of before it has ended.
    pub fn begin(&self, tenant: &Tenant, kind: JobKind, name: &str, principal: &str) -> RunningJob {
        let mut known = self.0.lock();
        known.last_number += 1;
        let number = known.last_number;
        known.jobs.push_front(Job {
            number,
            tenant: tenant.clone(),
            kind,
            name: name.to_owned(),
            principal: principal.to_owned(),
            started_at_ms: clock::now_ms(),
            stage: "",
            progress: (0, 0),
            ended: None,
        });
        while known.jobs.len() > REMEMBERED
            && let Some(oldest) = known.jobs.iter().rposition(|job| job.ended.is_some())
        {
            known.jobs.remove(oldest);
        }
        RunningJob {
            jobs: self.clone(),
            number,
        }
    }

    /// A tenant's jobs, the latest first.
    pub fn of(&self, tenant: &Tenant) -> Vec<Job> {
        let known = self.0.lock();
        let jobs = known.jobs.iter().filter(|job| job.tenant == *tenant);
        jobs.cloned().collect()
    }
}

/// A job that runs.
pub struct RunningJob {
    jobs: Jobs,
    number: u64,
}

impl RunningJob {
    fn change(&self, change: impl FnOnce(&mut Job)) {
        let mut known = self.jobs.0.lock();
        let mut jobs = known.jobs.iter_mut();
        if let Some(job) = jobs.find(|job| job.number == self.number) {
            change(job);
        }
    }

    /// It enters a stage.
    pub fn enter(&self, stage: &'static str) {
        self.change(|job| {
            job.stage = stage;
            job.progress = (0, 0);
        });
    }

    /// So much is done, of so much.
    pub fn progress(&self, done: u64, total: u64) {
        self.change(|job| job.progress = (done, total));
    }

    /// It has ended, as its result says.
    pub fn end<T, E: std::fmt::Display>(self, result: &Result<T, E>) {
        let end = match result {
            Ok(_) => JobEnd::Done,
            Err(cause) => JobEnd::Failed(cause.to_string()),
        };
        self.end_as(end);
    }

    /// It has ended like this.
    pub fn end_as(self, end: JobEnd) {
        self.change(|job| job.ended = Some((clock::now_ms(), end)));
    }
}

impl Drop for RunningJob {
    fn drop(&mut self) {
        self.change(|job| {
            job.ended
                .get_or_insert_with(|| (clock::now_ms(), JobEnd::Stopped));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_tells_how_far_it_is_and_how_it_ended() {
        let (jobs, tenant) = (Jobs::default(), Tenant::default_tenant());
        let begin = |name| jobs.begin(&tenant, JobKind::Backup, name, "ann");
        let ends = || {
            let jobs = jobs.of(&tenant).into_iter();
            let ends = jobs.map(|job| (job.name, job.progress, job.ended.map(|(_, end)| end)));
            ends.collect::<Vec<_>>()
        };
        let (one, two, three) = (begin("one"), begin("two"), begin("three"));
        one.enter("records");
        one.progress(3, 9);
        two.end(&Err::<(), _>("no room"));
        drop(three);
        assert_eq!(
            ends(),
            [
                ("three".to_owned(), (0, 0), Some(JobEnd::Stopped)),
                (
                    "two".to_owned(),
                    (0, 0),
                    Some(JobEnd::Failed("no room".into()))
                ),
                ("one".to_owned(), (3, 9), None),
            ]
        );
        for _ in 0..200 {
            begin("more").end(&Ok::<_, String>(()));
        }
        let known = jobs.of(&tenant);
        assert_eq!(known.len(), REMEMBERED);
        assert_eq!(known[REMEMBERED - 1].name, "one", "it still runs");
        assert!(
            jobs.of(&"other".to_owned().try_into().expect("a tenant"))
                .is_empty()
        );
    }
}
