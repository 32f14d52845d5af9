//! File drop: a folder, or a prefix in object storage, into which sources put files of customers. Each file that is whole is read as a
//! bulk job reads it, its lines come in as signals, and a result stands beside it. What was processed is known by its result; a file that
//! was interrupted is processed once more, which changes nothing.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use veridem_matchers::{Pack, RecordKey};

use super::{Incoming, Intake};
use crate::clock;
use crate::files::{ReadOptions, Rows, is_signal_log, read_records, read_signal_log};
use crate::jobs::{JobEnd, JobKind, Jobs, RunningJob};
use crate::objects::{Listed, Objects, ObjectsPlace};
use crate::resolver::{Ack, EngineError, Pending, Signal, SignalKind, answer, snapshot_signal};
use crate::store::Tenant;

/// What a file says of the records that it does not name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DropMode {
    /// Nothing.
    #[default]
    Incremental,
    /// Their source has them no more.
    Full,
}

/// A file drop.
#[derive(Clone, Debug, PartialEq)]
pub struct DropSettings {
    /// Its name.
    pub name: String,
    /// Who answers for it.
    pub owner: String,
    /// Where files are put.
    pub place: ObjectsPlace,
    /// Whose signals.
    pub tenant: Tenant,
    /// The source of all records; none: a column names it, or the file's name is the source.
    pub source: Option<String>,
    /// The text of a mapping file, as bulk jobs take it; none: columns are recognised.
    pub mapping: Option<String>,
    /// The version of the source's schema, where the registry asks for one.
    pub schema_version: String,
    /// What a file says of the records that it does not name.
    pub mode: DropMode,
    /// The share of a source's records that a full file may end; above it none is ended.
    pub max_ended_share: f64,
    /// How often it is looked for files.
    pub interval: Duration,
}

/// What results are called: the file's name and this.
const RESULT_ENDING: &str = ".result.json";
/// Endings of files that are still being written.
const PARTIAL_ENDINGS: &[&str] = &[".tmp", ".part", ".partial", ".crdownload", ".filepart"];
/// Wrong lines that a result names.
const MAX_TOLD: usize = 1_000;
/// Signals that may be on their way to the writer.
const MAX_OPEN: usize = 512;
/// Records read at once.
const READ_AT_ONCE: usize = 10_000;
const LONGEST_DELAY: Duration = Duration::from_secs(300);

/// What came of a file, in a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DropOutcome {
    /// Its lines were taken.
    Loaded,
    /// It has the content of the file before.
    Repeated,
    /// It could not be read.
    #[default]
    Failed,
}

/// What came of a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DropResult {
    /// The file.
    pub file: String,
    /// Of its content.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// When it was written, milliseconds since the Unix epoch.
    pub modified_at_ms: i64,
    /// In a word.
    pub outcome: DropOutcome,
    /// Failed: why. Repeated: which file had the same content. Loaded: why no record was ended.
    pub problem: String,
    /// Records, or signals of a signal log.
    pub records: u64,
    /// Signals that are new.
    pub accepted: u64,
    /// Signals that had come before.
    pub repeated: u64,
    /// Signals that are set aside: see the quarantine.
    pub quarantined: u64,
    /// The lines of the first of them.
    #[serde(default)]
    pub quarantined_lines: Vec<DropReject>,
    /// Records that a full file has ended.
    pub ended: u64,
    /// Lines that could not be used.
    pub rejected: u64,
    /// The first of them.
    pub rejects: Vec<DropReject>,
    /// When it was done, milliseconds since the Unix epoch.
    pub finished_at_ms: i64,
}

/// A line that could not be used, or whose signal is set aside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DropReject {
    /// From 1; 0 where several lines tell of the record.
    pub line: u64,
    /// Why, without its values.
    pub reason: String,
}

/// Looks for files until `stop`.
pub async fn watch(
    settings: DropSettings,
    pack: Pack,
    intake: Intake,
    jobs: Jobs,
    stop: CancellationToken,
) {
    let label = || settings.name.clone();
    let files = metrics::counter!("veridem_drop_files_total", "drop" => label());
    let owned = [("drop", label()), ("owner", settings.owner.clone())];
    let failures = metrics::counter!("veridem_drop_failures_total", &owned);
    let mut files_in = FileDrop {
        settings: &settings,
        pack,
        intake,
        jobs,
        seen: BTreeMap::new(),
        results: None,
    };
    let mut wait = settings.interval;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            looked = files_in.look(&stop) => match looked {
                Ok(count) => {
                    files.increment(count);
                    wait = settings.interval;
                }
                Err(cause) => {
                    failures.increment(1);
                    tracing::warn!(drop = settings.name, cause = format!("{cause:#}"), "the file drop failed; it is tried again");
                    wait = (wait * 2).min(LONGEST_DELAY);
                }
            },
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

struct FileDrop<'a> {
    settings: &'a DropSettings,
    pack: Pack,
    intake: Intake,
    jobs: Jobs,
    /// Files as they were the last time: one that has not changed since is whole.
    seen: BTreeMap<String, Listed>,
    /// What was processed, by the file's name; read once.
    results: Option<BTreeMap<String, DropResult>>,
}

impl FileDrop<'_> {
    /// Processes what is whole and new; how many files.
    async fn look(&mut self, stop: &CancellationToken) -> anyhow::Result<u64> {
        let objects = self.settings.place.open()?;
        let listed = objects.list().await?;
        if self.results.is_none() {
            self.results = Some(read_results(&objects, &listed).await?);
        }
        // A result that was removed asks for the file once more.
        let names: FxHashSet<String> = listed.iter().map(|object| object.name.clone()).collect();
        self.results
            .get_or_insert_default()
            .retain(|name, _| names.contains(&format!("{name}{RESULT_ENDING}")));
        let is_file = |name: &str| {
            let is_partial = PARTIAL_ENDINGS.iter().any(|ending| name.ends_with(ending));
            !name.starts_with('.') && !name.ends_with(RESULT_ENDING) && !is_partial
        };
        let mut files: Vec<Listed> = listed
            .into_iter()
            .filter(|file| is_file(&file.name))
            .collect();
        // What was written first says what was true first.
        files.sort_by(|left, right| {
            (left.modified_at_ms, &left.name).cmp(&(right.modified_at_ms, &right.name))
        });
        let (mut count, mut failure) = (0, None);
        for file in &files {
            if stop.is_cancelled() {
                break;
            }
            let is_whole = self.seen.get(&file.name) == Some(file);
            let known = self
                .results
                .as_ref()
                .and_then(|results| results.get(&file.name));
            let is_done = known.is_some_and(|known| {
                (known.size, known.modified_at_ms) == (file.size, file.modified_at_ms)
            });
            if !is_whole || is_done {
                continue;
            }
            match self.process(&objects, file).await {
                Ok(true) => count += 1,
                // It is being written once more.
                Ok(false) => {}
                Err(cause) => {
                    tracing::warn!(
                        drop = self.settings.name,
                        file = file.name,
                        cause = format!("{cause:#}"),
                        "a file cannot be processed now; it is tried again"
                    );
                    failure.get_or_insert(cause);
                }
            }
        }
        self.seen = files
            .into_iter()
            .map(|file| (file.name.clone(), file))
            .collect();
        match failure {
            Some(cause) if count == 0 => Err(cause),
            _ => Ok(count),
        }
    }

    /// Processes a file and puts its result beside it; not where it has changed meanwhile.
    async fn process(&mut self, objects: &Objects, file: &Listed) -> anyhow::Result<bool> {
        let name = format!("{}/{}", self.settings.name, file.name);
        let (tenant, kind) = (&self.settings.tenant, JobKind::FileDrop);
        let job = self.jobs.begin(tenant, kind, &name, "");
        let result = match self.result_of(objects, file, &job).await {
            Ok(Some(result)) => result,
            Ok(None) => return Ok(false),
            Err(cause) => {
                job.end_as(JobEnd::Failed(format!("{cause:#}")));
                return Err(cause);
            }
        };
        job.end_as(match result.outcome {
            DropOutcome::Failed => JobEnd::Failed(result.problem.clone()),
            DropOutcome::Loaded | DropOutcome::Repeated => JobEnd::Done,
        });
        tracing::info!(
            drop = self.settings.name,
            outcome = ?result.outcome,
            records = result.records,
            accepted = result.accepted,
            rejected = result.rejected,
            ended = result.ended,
            "a file is processed"
        );
        let text = serde_json::to_vec_pretty(&result)?;
        objects
            .put(&format!("{}{RESULT_ENDING}", file.name), text)
            .await?;
        let results = self.results.get_or_insert_default();
        results.insert(file.name.clone(), result);
        Ok(true)
    }

    async fn result_of(
        &self,
        objects: &Objects,
        file: &Listed,
        job: &RunningJob,
    ) -> anyhow::Result<Option<DropResult>> {
        let mut result = DropResult {
            file: file.name.clone(),
            size: file.size,
            modified_at_ms: file.modified_at_ms,
            ..DropResult::default()
        };
        // A copy stays as it is, and has the ending by which its format is known.
        let folder = tempfile::tempdir()?;
        let path = folder.path().join(&file.name);
        let mut copy = tokio::fs::File::create(&path).await?;
        let downloaded = objects.download(&file.name, &mut copy).await?;
        drop(copy);
        if downloaded != *file {
            return Ok(None);
        }
        result.sha256 = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || hash_of(&path)).await??
        };
        // What came before the latest file may be true again.
        let loaded = self
            .results
            .iter()
            .flatten()
            .filter(|(_, known)| known.outcome == DropOutcome::Loaded);
        let latest = loaded.max_by_key(|(_, known)| known.finished_at_ms);
        if let Some((name, _)) = latest.filter(|(_, known)| known.sha256 == result.sha256) {
            result.outcome = DropOutcome::Repeated;
            result.problem = format!("has the same content as {name}, the file before");
        } else {
            let signals = {
                let options = ReadOptions {
                    mapping: self.settings.mapping.clone(),
                    source: self.settings.source.clone(),
                    ..ReadOptions::default()
                };
                let (pack, modified_at_ms) = (self.pack.clone(), file.modified_at_ms);
                tokio::task::spawn_blocking(move || read(&path, &options, &pack, modified_at_ms))
                    .await?
            };
            match signals {
                Err(problem) => {
                    result.outcome = DropOutcome::Failed;
                    // The copy's folder is nobody's business.
                    result.problem = problem.replace(&format!("{}/", folder.path().display()), "");
                }
                Ok(read) => self.take(read, file, job, &mut result).await?,
            }
        }
        result.finished_at_ms = clock::now_ms();
        Ok(Some(result))
    }

    async fn take(
        &self,
        read: ReadFile,
        file: &Listed,
        job: &RunningJob,
        result: &mut DropResult,
    ) -> anyhow::Result<()> {
        result.records = read.signals.len() as u64;
        for reject in read.rejects {
            reject_line(result, reject);
        }
        let mut named = FxHashSet::default();
        let mut open = VecDeque::new();
        for (done, (line, signal)) in (0..).zip(read.signals) {
            job.progress(done, result.records);
            if self.settings.mode == DropMode::Full {
                named.insert(signal.record_key());
            }
            self.submit(line, signal, &mut open, result).await?;
        }
        self.settle(&mut open, 0, result).await?;
        result.outcome = DropOutcome::Loaded;
        if self.settings.mode == DropMode::Full {
            self.end_others(&named, file, result).await?;
        }
        Ok(())
    }

    async fn submit(
        &self,
        line: u64,
        signal: Signal,
        open: &mut VecDeque<(u64, Pending<Ack>)>,
        result: &mut DropResult,
    ) -> Result<(), EngineError> {
        let incoming = Incoming {
            signal,
            schema_version: self.settings.schema_version.clone(),
        };
        let submitted =
            self.intake
                .submit(self.settings.tenant.clone(), incoming, &self.settings.name);
        match submitted.await {
            Ok(pending) => open.push_back((line, pending)),
            Err(cause) => judge(line, cause, result)?,
        }
        self.settle(open, MAX_OPEN, result).await
    }

    /// Waits until at most so many signals are on their way.
    async fn settle(
        &self,
        open: &mut VecDeque<(u64, Pending<Ack>)>,
        most: usize,
        result: &mut DropResult,
    ) -> Result<(), EngineError> {
        while open.len() > most
            && let Some((line, pending)) = open.pop_front()
        {
            match answer(pending).await {
                Ok(ack) if ack.repeated => result.repeated += 1,
                Ok(_) => result.accepted += 1,
                Err(cause) => judge(line, cause, result)?,
            }
        }
        Ok(())
    }

    /// Ends the source's records that a full file does not name, where they are not suspiciously many.
    async fn end_others(
        &self,
        named: &FxHashSet<RecordKey>,
        file: &Listed,
        result: &mut DropResult,
    ) -> anyhow::Result<()> {
        let Some(source) = self.settings.source.clone() else {
            return Ok(());
        };
        let (store, tenant) = (
            self.intake.quarantine().store().clone(),
            self.settings.tenant.clone(),
        );
        let living = tokio::task::spawn_blocking(move || {
            let generation = store.in_force(&tenant);
            let (mut living, mut first) = (Vec::new(), 0);
            loop {
                let records = store.records_from(&tenant, generation, first, READ_AT_ONCE)?;
                let Some(last) = records.last() else {
                    return Ok::<_, crate::store::StoreError>(living);
                };
                first = last.number + 1;
                let of_source = records
                    .into_iter()
                    .filter(|record| record.is_alive && record.key.source == source);
                living.extend(of_source.map(|record| record.key));
            }
        });
        let living = living.await??;
        let total = living.len();
        let gone: Vec<RecordKey> = living
            .into_iter()
            .filter(|key| !named.contains(key))
            .collect();
        let most = self.settings.max_ended_share * total as f64;
        // Lines that could not be read may be theirs.
        if gone.len() as f64 > most || (result.rejected > 0 && !gone.is_empty()) {
            result.problem = format!(
                "{} of the source's {total} records are not in the file, {} lines could not be read; none is ended",
                gone.len(),
                result.rejected
            );
            return Ok(());
        }
        let count = gone.len() as u64;
        let (accepted, mut open) = (result.accepted, VecDeque::new());
        for key in gone {
            let signal = Signal {
                signal_id: format!(
                    "{}-gone-{}",
                    self.settings.name,
                    signal_hash(&key, &[], file.modified_at_ms)
                ),
                source: key.source,
                record_id: key.record_id,
                event_time_ms: file.modified_at_ms.max(1),
                kind: SignalKind::Delete,
                attributes: Vec::new(),
            };
            self.submit(0, signal, &mut open, result).await?;
        }
        self.settle(&mut open, 0, result).await?;
        result.accepted = accepted;
        result.ended = count;
        Ok(())
    }
}

/// What the signal itself is to blame for is told; what is our own trouble has the file processed once more.
fn judge(line: u64, cause: EngineError, result: &mut DropResult) -> Result<(), EngineError> {
    match cause {
        EngineError::Quarantined { problem } => {
            result.quarantined += 1;
            if result.quarantined_lines.len() < MAX_TOLD {
                let reason = problem;
                result.quarantined_lines.push(DropReject { line, reason });
            }
        }
        cause if cause.is_transient() => return Err(cause),
        cause => {
            let reason = cause.to_string();
            reject_line(result, DropReject { line, reason });
        }
    }
    Ok(())
}

fn reject_line(result: &mut DropResult, reject: DropReject) {
    result.rejected += 1;
    if result.rejects.len() < MAX_TOLD {
        result.rejects.push(reject);
    }
}

/// A file's content.
struct ReadFile {
    /// Lines and their signals.
    signals: Vec<(u64, Signal)>,
    rejects: Vec<DropReject>,
}

fn read(
    path: &std::path::Path,
    options: &ReadOptions,
    pack: &Pack,
    modified_at_ms: i64,
) -> Result<ReadFile, String> {
    let told = |cause: crate::files::InputError| cause.to_string();
    let rows = Rows::open(path).map_err(told)?;
    if is_signal_log(&rows) {
        let mut read = ReadFile {
            signals: Vec::new(),
            rejects: Vec::new(),
        };
        let is_meant = |signal: &Signal| {
            options
                .source
                .as_ref()
                .is_none_or(|source| signal.source == *source)
        };
        read_signal_log(&rows, |line, signal| match signal {
            Ok(signal) if !is_meant(&signal) => read.rejects.push(DropReject {
                line,
                reason: "is not of the drop's source".to_owned(),
            }),
            Ok(signal) => read.signals.push((line, signal)),
            Err(reason) => read.rejects.push(DropReject { line, reason }),
        })
        .map_err(told)?;
        return Ok(read);
    }
    let input = read_records(&[path.to_owned()], options, pack).map_err(told)?;
    let rejects = input.rejects.into_iter().map(|reject| DropReject {
        line: reject.line,
        reason: reject.reason,
    });
    let signals = input.lines.into_iter().enumerate().map(|(index, line)| {
        let mut signal = snapshot_signal(input.records.get(index));
        // What tells no time was said when the file was written.
        if signal.event_time_ms <= 1 {
            signal.event_time_ms = modified_at_ms.max(1);
        }
        let content = serde_json::to_vec(&signal.attributes).unwrap_or_default();
        signal.signal_id = format!(
            "file-{}",
            signal_hash(&signal.record_key(), &content, signal.event_time_ms)
        );
        (line, signal)
    });
    Ok(ReadFile {
        signals: signals.collect(),
        rejects: rejects.collect(),
    })
}

fn signal_hash(key: &RecordKey, content: &[u8], event_time_ms: i64) -> String {
    let mut hash = Sha256::new();
    for text in [key.source.as_bytes(), key.record_id.as_bytes(), content] {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.update(event_time_ms.to_le_bytes());
    hex::encode(&hash.finalize()[..16])
}

fn hash_of(path: &std::path::Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut file = std::fs::File::open(path)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

async fn read_results(
    objects: &Objects,
    listed: &[Listed],
) -> anyhow::Result<BTreeMap<String, DropResult>> {
    let mut results = BTreeMap::new();
    for object in listed
        .iter()
        .filter(|object| object.name.ends_with(RESULT_ENDING))
    {
        let text = objects.get(&object.name).await?;
        // One that is not ours, or of another version, is made anew.
        if let Ok(result) = serde_json::from_slice::<DropResult>(&text) {
            results.insert(result.file.clone(), result);
        }
    }
    Ok(results)
}
