//! A JSON Lines file that holds every event once, and once more for each replay: after a crash a half line is cut off and what is there
//! is not appended again.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde_json::Value;

use super::{Failure, Outgoing};

/// How much of the end is read to find the last line.
const TAIL_BYTES: u64 = 4 << 20;

pub(super) struct EventFile {
    file: File,
    /// Of the last line.
    last_sequence: u64,
    last_replay: u64,
}

impl EventFile {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        use anyhow::Context;
        let describe = || format!("sink file {}", path.display());
        if let Some(directory) = path
            .parent()
            .filter(|directory| !directory.as_os_str().is_empty())
        {
            std::fs::create_dir_all(directory).with_context(describe)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .with_context(describe)?;
        let length = file.metadata().with_context(describe)?.len();
        let start = length.saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(start)).with_context(describe)?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail).with_context(describe)?;
        let whole = tail
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        if whole < tail.len() {
            file.set_len(start + whole as u64).with_context(describe)?;
        }
        let last_line = tail[..whole]
            .trim_ascii_end()
            .rsplit(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let last: Option<Value> = serde_json::from_slice(last_line).ok();
        let last = last.as_ref();
        let last_sequence = last
            .and_then(|event| event.get("sequence")?.as_str()?.parse().ok())
            .unwrap_or(0);
        let last_replay = last
            .and_then(|event| event.get("replay")?.as_u64())
            .unwrap_or(0);
        Ok(Self {
            file,
            last_sequence,
            last_replay,
        })
    }

    /// What follows belongs to this replay. One that had appended something goes on behind that.
    pub(super) fn begin_replay(&mut self, replay: u64) {
        if self.last_replay < replay {
            (self.last_sequence, self.last_replay) = (0, replay);
        }
    }

    /// Appends events and makes them durable.
    pub(super) fn append(&mut self, events: &[Outgoing]) -> Result<(), Failure> {
        let mut lines = Vec::new();
        let new = (events.iter()).filter(|outgoing| outgoing.sequence > self.last_sequence);
        for outgoing in new {
            lines.extend(outgoing.cloud_event()?);
            lines.push(b'\n');
        }
        let failed = |cause: std::io::Error| {
            Failure::unavailable(format_args!("cannot write the file: {cause}"))
        };
        let before = self.file.metadata().map_err(failed)?.len();
        if let Err(cause) = self
            .file
            .write_all(&lines)
            .and_then(|()| self.file.sync_data())
        {
            // What was written in part must not stand before what comes next.
            self.file.set_len(before).map_err(failed)?;
            return Err(failed(cause));
        }
        let last = events.last().map_or(0, |outgoing| outgoing.sequence);
        self.last_sequence = self.last_sequence.max(last);
        Ok(())
    }
}
