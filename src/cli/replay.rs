//! `veridem replay`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};
use veridem_matchers::RecordKey;

use super::serve::read_config;
use crate::clock;
use crate::config::Config;
use crate::files::{Rows, is_signal_log};
use crate::index::MemoryIndexes;
use crate::resolver::{Engine, Matcher, Signal, validate_signal};
use crate::store::{IdentityId, MemoryStore, Store, StoreError, Tenant};

/// Resolves a log of signals in memory and prints a digest of what came out: the identities, their golden records and the open review
/// tasks. With --shuffle it does so a second time in another order, and fails where the two differ.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  veridem generate --persons 1000 --signals --out sample\n  veridem replay sample/signals.jsonl --shuffle 7"
)]
pub struct ReplayArguments {
    /// JSON Lines, a signal a line.
    #[arg(value_name = "LOG")]
    log: PathBuf,
    /// Settings that name model and rules, as for `veridem serve`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Replay once more in an order drawn from this seed.
    #[arg(long, value_name = "SEED")]
    shuffle: Option<u64>,
}

pub(super) fn run(arguments: &ReplayArguments) -> anyhow::Result<()> {
    let config = read_config(arguments.config.clone())?;
    let mut signals = read_signals(&arguments.log)?;
    let first = replay(&config, &signals)?;
    println!("in the order of the log: {first}");
    let Some(seed) = arguments.shuffle else {
        return Ok(());
    };
    shuffle(&mut signals, seed);
    let second = replay(&config, &signals)?;
    println!("in an order of seed {seed}: {second}");
    anyhow::ensure!(
        first == second,
        "the order of the signals made a difference; please report it with the log and the seed"
    );
    println!("equal");
    Ok(())
}

fn read_signals(path: &Path) -> anyhow::Result<Vec<Signal>> {
    let rows = Rows::open(path)?;
    anyhow::ensure!(
        is_signal_log(&rows),
        "{} is no signal log: each line is to be a JSON object with signal_id, source, record_id and event_time_ms",
        path.display()
    );
    let now_ms = clock::now_ms();
    let mut signals = Vec::new();
    let mut mistake = None;
    rows.for_each_json(|line, parsed| {
        let signal = parsed.and_then(|object| {
            let signal: Signal =
                serde_json::from_value(object.into()).map_err(|cause| cause.to_string())?;
            validate_signal(&signal, now_ms).map_err(|cause| cause.to_string())?;
            Ok(signal)
        });
        match signal {
            Ok(signal) => signals.push(signal),
            Err(cause) => drop(mistake.get_or_insert((line, cause))),
        }
    })?;
    match mistake {
        Some((line, cause)) => {
            anyhow::bail!("{} line {line}: {cause}", path.display())
        }
        None => Ok(signals),
    }
}

/// Fisher and Yates.
fn shuffle(signals: &mut [Signal], seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for last in (1..signals.len()).rev() {
        signals.swap(last, (random.next_u64() % (last as u64 + 1)) as usize);
    }
}

/// What a replay came to.
#[derive(PartialEq)]
struct Outcome {
    records: u64,
    identities: u64,
    review_tasks: u64,
    digest: String,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{} source records, {} identities, {} review tasks, sha256 {}",
            self.records, self.identities, self.review_tasks, self.digest
        )
    }
}

fn replay(config: &Config, signals: &[Signal]) -> anyhow::Result<Outcome> {
    let tenant = Tenant::default_tenant();
    let engine = Engine::new(
        Arc::new(MemoryStore::new()),
        Arc::new(Matcher::new(config.model.clone(), config.pack.clone())),
        Box::new(MemoryIndexes),
    );
    for signal in signals {
        engine
            .submit(&tenant, signal, clock::now_ms())
            .with_context(|| format!("signal {}/{}", signal.source, signal.signal_id))?;
    }
    let store = engine.store();
    let counters = store.counters(&tenant)?;
    Ok(Outcome {
        records: counters.source_records,
        identities: counters.identities,
        review_tasks: counters.open_review_tasks,
        digest: digest(store.as_ref(), &tenant)?,
    })
}

/// SHA-256 over everything that must not depend on the order of arrival.
fn digest(store: &dyn Store, tenant: &Tenant) -> Result<String, StoreError> {
    let mut members: BTreeMap<IdentityId, Vec<RecordKey>> = BTreeMap::new();
    for record in store.records_from(tenant, store.in_force(tenant), 0, usize::MAX)? {
        if let Some(id) = record.identity_id.filter(|_| record.is_alive) {
            members.entry(id).or_default().push(record.key);
        }
    }
    let mut identities = Vec::new();
    for (id, mut keys) in members {
        keys.sort_unstable();
        let golden = store
            .identity(tenant, &id)?
            .map(|identity| identity.golden.clone());
        identities.push(format!("{keys:?} {golden:?}"));
    }
    identities.sort_unstable();
    let tasks = store.review_tasks(tenant, None, usize::MAX)?;
    let mut tasks: Vec<String> = tasks
        .into_iter()
        .map(|(_, task)| {
            format!(
                "{:?} {:?} {:?} {:?}",
                task.left, task.right, task.reason, task.score
            )
        })
        .collect();
    tasks.sort_unstable();
    let mut hash = Sha256::new();
    for text in identities.iter().chain(&tasks) {
        hash.update(text);
        hash.update([0]);
    }
    Ok(hex::encode(hash.finalize()))
}
