//! Who is signed in. Sessions are kept in memory: they end with the process, with the configuration that named their principals.

use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::queue::Filter;
use crate::api::Caller;
use crate::clock;

/// Without a request for so long a session ends.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// So long a session lasts at most.
const LONGEST: Duration = Duration::from_secs(12 * 60 * 60);
/// Sessions at once; beyond them the one that was idle longest ends.
const MOST: usize = 1_000;
/// Decisions that a session can take back with a key.
const MOST_UNDONE: usize = 100;

/// Someone who is signed in.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) caller: Caller,
    /// What every form that changes something carries.
    pub(super) csrf_token: String,
    key: Key,
}

/// An override, and the page on which it was made.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Decided {
    pub(super) override_number: u64,
    pub(super) page: String,
}

struct Open {
    session: Session,
    began: Instant,
    last_seen: Instant,
    /// What was decided in this session, and not taken back since.
    decided: Vec<Decided>,
    /// The task that is claimed for the session.
    working_at: Option<String>,
    /// How the queue was narrowed down last.
    filter: Filter,
    /// Identities whose values are shown though they are masked for the role.
    revealed: FxHashSet<String>,
}

impl Open {
    fn is_over(&self, now: Instant) -> bool {
        now - self.last_seen > IDLE || now - self.began > LONGEST
    }
}

/// By the hash of their secrets: how long it takes to find one tells nothing of a secret.
type Key = [u8; 32];

fn key_of(secret: &str) -> Key {
    Sha256::digest(secret).into()
}

/// 32 random bytes as hexadecimal digits.
pub(super) fn secret() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}

/// All sessions, and the link with which the first one begins where no principals are configured.
#[derive(Default)]
pub(super) struct Sessions {
    open: Mutex<FxHashMap<Key, Open>>,
    link: Mutex<Option<Key>>,
}

impl Sessions {
    /// The secret of a link that opens one session.
    pub(super) fn new_link(&self) -> anyhow::Result<String> {
        let secret = secret()?;
        *self.link.lock() = Some(key_of(&secret));
        Ok(secret)
    }

    /// Whether a link still opens a session.
    pub(super) fn is_link(&self, secret: &str) -> bool {
        *self.link.lock() == Some(key_of(secret))
    }

    /// Uses a link up; whether it was one.
    pub(super) fn take_link(&self, secret: &str) -> bool {
        let mut link = self.link.lock();
        let is_link = *link == Some(key_of(secret));
        if is_link {
            *link = None;
        }
        is_link
    }

    /// Opens a session; its secret.
    pub(super) fn open(&self, caller: Caller) -> anyhow::Result<String> {
        let (secret, csrf_token) = (secret()?, secret()?);
        let now = clock::instant();
        let mut open = self.open.lock();
        open.retain(|_, session| !session.is_over(now));
        if open.len() >= MOST {
            let idle = open.iter().min_by_key(|(_, session)| session.last_seen);
            if let Some(key) = idle.map(|(key, _)| *key) {
                open.remove(&key);
            }
        }
        let key = key_of(&secret);
        let session = Session {
            caller,
            csrf_token,
            key,
        };
        let new = Open {
            session,
            began: now,
            last_seen: now,
            decided: Vec::new(),
            working_at: None,
            filter: Filter::default(),
            revealed: FxHashSet::default(),
        };
        open.insert(key, new);
        Ok(secret)
    }

    /// The session of a secret, where it has not ended.
    pub(super) fn find(&self, secret: &str) -> Option<Session> {
        let (key, now) = (key_of(secret), clock::instant());
        let mut open = self.open.lock();
        let found = open.get_mut(&key)?;
        if found.is_over(now) {
            open.remove(&key);
            return None;
        }
        found.last_seen = now;
        Some(found.session.clone())
    }

    /// Ends a session; the task at which it worked.
    pub(super) fn close(&self, session: &Session) -> Option<String> {
        self.open.lock().remove(&session.key)?.working_at
    }

    /// Notes a decision, so that a key takes it back.
    pub(super) fn decided(&self, session: &Session, decision: Decided) {
        self.with(session, |open| {
            open.decided.push(decision);
            let too_many = open.decided.len().saturating_sub(MOST_UNDONE);
            open.decided.drain(..too_many);
        });
    }

    /// The latest decision of a session that was not taken back.
    pub(super) fn last_decision(&self, session: &Session) -> Option<Decided> {
        self.with(session, |open| open.decided.last().cloned())?
    }

    /// A decision was taken back, or cannot be.
    pub(super) fn undone(&self, session: &Session, decision: &Decided) {
        self.with(session, |open| {
            open.decided.retain(|other| other != decision)
        });
    }

    /// The session works at a task from now on; at which it did before.
    pub(super) fn work_at(&self, session: &Session, task_id: &str) -> Option<String> {
        let now = Some(task_id.to_owned());
        self.with(session, |open| std::mem::replace(&mut open.working_at, now))?
    }

    /// How the session narrowed the queue down last.
    pub(super) fn filter(&self, session: &Session) -> Filter {
        let filter = self.with(session, |open| open.filter.clone());
        filter.unwrap_or_default()
    }

    pub(super) fn set_filter(&self, session: &Session, filter: Filter) {
        self.with(session, |open| open.filter = filter);
    }

    /// Whether the values of an identity are shown though they are masked for the role.
    pub(super) fn is_revealed(&self, session: &Session, id: &str) -> bool {
        let revealed = self.with(session, |open| open.revealed.contains(id));
        revealed.unwrap_or_default()
    }

    pub(super) fn reveal(&self, session: &Session, id: String) {
        self.with(session, |open| open.revealed.insert(id));
    }

    fn with<T>(&self, session: &Session, change: impl FnOnce(&mut Open) -> T) -> Option<T> {
        let mut open = self.open.lock();
        let found = open.get_mut(&session.key)?;
        Some(change(found))
    }
}
