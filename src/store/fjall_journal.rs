//! The journals of fjall (3.1.13), where it leaves something to do.
//!
//! Their end after power loss: fjall drops an end that it cannot read, but refuses to open (debug builds panic) where the end of a commit
//! reached the disk and a sector before it did not. Here such an end is dropped before fjall looks at it.
//!
//! And making them durable: fjall lets nobody write meanwhile.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Error, ErrorKind, Read, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use xxhash_rust::xxh3::Xxh3;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
/// What follows the checksum of a commit.
const TRAILER: [u8; 4] = *b"FJL\x03";

/// Cuts off the journal that was written last behind its last whole commit, durably. What was flushed lies before it.
pub(super) fn drop_torn_end(directory: &Path) -> Result<()> {
    // One who has the store open is still writing: fjall will refuse a second.
    let lock = match File::open(directory.join("lock")) {
        Ok(lock) => lock,
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(cause),
    };
    if lock.try_lock().is_err() {
        return Ok(());
    }
    let Some(path) = active_journal(directory)? else {
        return Ok(());
    };
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let mut journal = Journal {
        left: file.metadata()?.len(),
        reader: BufReader::new(&file),
        position: 0,
        hash: Xxh3::new(),
    };
    let (mut whole, mut is_blank) = (0, false);
    while !is_blank {
        match journal.commit() {
            Ok(Commit::Whole) => whole = journal.position,
            Ok(Commit::Blank) => is_blank = true,
            Err(cause) if is_damage(&cause) => break,
            Err(cause) => return Err(cause),
        }
    }
    // Room that fjall has made and not filled is no damage.
    if !is_blank && whole < file.metadata()?.len() {
        tracing::warn!(
            bytes = file.metadata()?.len() - whole,
            "the journal ends with a commit that was not written whole; it is dropped"
        );
        file.set_len(whole)?;
        file.sync_all()?;
    }
    Ok(())
}

/// The journal that is written to, opened a second time: it is made durable while others write.
pub(super) struct ActiveJournal {
    directory: PathBuf,
    opened: Mutex<Option<(PathBuf, File)>>,
    is_lost: AtomicBool,
}

impl ActiveJournal {
    pub(super) fn of(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            opened: Mutex::new(None),
            is_lost: AtomicBool::new(false),
        }
    }

    /// Fails once something could not be made durable: what the system says of later writes does not hold for earlier ones.
    pub(super) fn check(&self) -> Result<()> {
        if self.is_lost.load(Ordering::Acquire) {
            return Err(Error::other(
                "an earlier write could not be made durable; the store has to be opened again",
            ));
        }
        Ok(())
    }

    /// The journal that was made durable last.
    #[cfg(test)]
    pub(super) fn synced(&self) -> Option<PathBuf> {
        self.opened.lock().as_ref().map(|(path, _)| path.clone())
    }

    /// Returns when what fjall has handed to the system survives power loss.
    pub(super) fn sync(&self) -> Result<()> {
        let mut opened = self.opened.lock();
        self.check()?;
        loop {
            let path = active_journal(&self.directory)?
                .ok_or_else(|| Error::other("there is no journal in the store's directory"))?;
            if opened.as_ref().is_some_and(|(known, _)| *known == path) {
                break;
            }
            // Some systems want that whoever makes a file durable may write it.
            let file = match OpenOptions::new().write(true).open(&path) {
                // fjall has begun another meanwhile, and has no need of this one any more.
                Err(cause) if cause.kind() == ErrorKind::NotFound => continue,
                opened => opened?,
            };
            if let Some((_, before)) = opened.replace((path, file)) {
                // fjall makes it durable before it begins another, unless that fails half-way.
                self.sync_file(&before)?;
            }
        }
        (opened.as_ref()).map_or(Ok(()), |(_, file)| self.sync_file(file))
    }

    fn sync_file(&self, file: &File) -> Result<()> {
        file.sync_data()
            .inspect_err(|_| self.is_lost.store(true, Ordering::Release))
    }
}

/// Journals are numbered; the last one is written to.
fn active_journal(directory: &Path) -> Result<Option<PathBuf>> {
    let mut active: Option<(u64, PathBuf)> = None;
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_suffix(".jnl")?.parse().ok());
        if let Some(number) = number
            && active.as_ref().is_none_or(|(known, _)| *known < number)
        {
            active = Some((number, path));
        }
    }
    Ok(active.map(|(_, path)| path))
}

fn is_damage(cause: &Error) -> bool {
    matches!(
        cause.kind(),
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof
    )
}

fn damaged() -> Error {
    Error::from(ErrorKind::InvalidData)
}

enum Commit {
    Whole,
    /// Nothing was written here yet.
    Blank,
}

struct Journal<'a> {
    reader: BufReader<&'a File>,
    position: u64,
    /// Bytes behind the position.
    left: u64,
    hash: Xxh3,
}

impl Journal<'_> {
    /// Reads a commit: a start, items, and an end with their checksum.
    fn commit(&mut self) -> Result<Commit> {
        if self.left == 0 {
            return Ok(Commit::Blank);
        }
        match self.take::<1>()? {
            [START] => {}
            [0] => return self.blank_end(),
            _ => return Err(damaged()),
        }
        self.take::<12>()?;
        self.hash.reset();
        loop {
            match self.take::<1>()? {
                [tag @ ITEM] => self.item(tag)?,
                [tag @ CLEAR] => {
                    let keyspace = self.take::<8>()?;
                    self.hash.update(&[tag]);
                    self.hash.update(&keyspace);
                }
                [END] => {
                    let checksum = u64::from_le_bytes(self.take()?);
                    let is_whole = self.take::<4>()? == TRAILER && checksum == self.hash.digest();
                    return if is_whole {
                        Ok(Commit::Whole)
                    } else {
                        Err(damaged())
                    };
                }
                _ => return Err(damaged()),
            }
        }
    }

    fn item(&mut self, tag: u8) -> Result<()> {
        // Kind, compression, keyspace; then the lengths of key, value, and value as it is stored.
        let head = self.take::<10>()?;
        let (key, value, stored) = (self.take::<2>()?, self.take::<4>()?, self.take::<4>()?);
        for part in [&[tag][..], &head, &key, &value, &stored] {
            self.hash.update(part);
        }
        let mut length = u64::from(u16::from_le_bytes(key)) + u64::from(u32::from_le_bytes(stored));
        if length > self.left {
            return Err(damaged());
        }
        let mut part = [0; 4_096];
        while length > 0 {
            let part = &mut part[..length.min(4_096) as usize];
            self.read(part)?;
            self.hash.update(part);
            length -= part.len() as u64;
        }
        Ok(())
    }

    /// Whether nothing but zeros follows.
    fn blank_end(&mut self) -> Result<Commit> {
        let mut part = [0; 4_096];
        loop {
            let length = self.reader.read(&mut part)?;
            if length == 0 {
                return Ok(Commit::Blank);
            }
            if part[..length].iter().any(|byte| *byte != 0) {
                return Err(damaged());
            }
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.reader.read_exact(bytes)?;
        self.position += bytes.len() as u64;
        self.left -= bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_journal_is_the_one_that_is_made_durable() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let journal = ActiveJournal::of(directory.path());
        assert!(journal.sync().is_err(), "there is none");
        std::fs::write(path("9.jnl"), "a commit").unwrap();
        journal.sync().unwrap();
        assert_eq!(journal.synced(), Some(path("9.jnl")));
        std::fs::write(path("10.jnl"), "another").unwrap();
        journal.sync().unwrap();
        assert_eq!(journal.synced(), Some(path("10.jnl")));
        std::fs::remove_file(path("9.jnl")).unwrap();
        journal.sync().unwrap();
        assert_eq!(journal.synced(), Some(path("10.jnl")));
    }

    #[test]
    fn nothing_is_durable_any_more_once_something_could_not_be_made_so() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("1.jnl"), "a commit").unwrap();
        let journal = ActiveJournal::of(directory.path());
        journal.sync().unwrap();
        // A pipe cannot be made durable.
        let (_, pipe) = std::io::pipe().unwrap();
        let pipe = File::from(std::os::fd::OwnedFd::from(pipe));
        assert!(journal.sync_file(&pipe).is_err());
        assert!(journal.check().is_err());
        assert!(journal.sync().is_err());
    }
}
