//! Sorting of more than memory holds.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// Buckets that the range of keys is cut into.
const BUCKETS: u64 = 64;

/// Sorts entries by (key, payload), spilling to files when they outgrow a limit.
///
/// A distribution sort: the keys are known to be spread evenly over their range, so each bucket is a 64th of the whole
/// and fits memory; runs and a merge would cost one more pass over keys that are random anyhow.
pub(super) struct SpillSorter {
    folder: PathBuf,
    lowest: u64,
    span: u64,
    limit_bytes: usize,
    held_bytes: usize,
    buckets: Vec<Vec<u8>>,
    spilled: bool,
}

/// Key and length before each payload.
const HEADER_BYTES: usize = 12;

impl SpillSorter {
    /// A sorter of keys from `lowest` to `highest`, which spills into a folder of its own.
    pub(super) fn new(folder: &Path, lowest: u64, highest: u64, limit_bytes: usize) -> Self {
        Self {
            folder: folder.to_owned(),
            lowest,
            span: highest - lowest + 1,
            limit_bytes,
            held_bytes: 0,
            buckets: vec![Vec::new(); BUCKETS as usize],
            spilled: false,
        }
    }

    /// Takes one entry in. Precondition: the key is in the range.
    pub(super) fn push(&mut self, key: u64, payload: &[u8]) -> io::Result<()> {
        debug_assert!(key >= self.lowest && key - self.lowest < self.span);
        let place = u128::from(key - self.lowest) * u128::from(BUCKETS) / u128::from(self.span);
        let length = u32::try_from(payload.len())
            .map_err(|_| io::Error::other("an entry of 4 GiB or more"))?;
        let bucket = &mut self.buckets[place as usize];
        bucket.extend_from_slice(&key.to_le_bytes());
        bucket.extend_from_slice(&length.to_le_bytes());
        bucket.extend_from_slice(payload);
        self.held_bytes += HEADER_BYTES + payload.len();
        if self.held_bytes >= self.limit_bytes {
            self.spill()?;
        }
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        self.spilled = true;
        self.held_bytes = 0;
        for (index, bucket) in self.buckets.iter_mut().enumerate() {
            let path = self.folder.join(index.to_string());
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            file.write_all(bucket)?;
            bucket.clear();
        }
        Ok(())
    }

    /// Hands every entry out in order and removes what was spilled.
    pub(super) fn drain(
        mut self,
        mut visit: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        for (index, held) in std::mem::take(&mut self.buckets).into_iter().enumerate() {
            let mut bytes = Vec::new();
            if self.spilled {
                let file = File::open(self.folder.join(index.to_string()))?;
                BufReader::new(file).read_to_end(&mut bytes)?;
            }
            bytes.extend_from_slice(&held);
            drop(held);
            let mut entries = entries(&bytes);
            entries.sort_unstable();
            for (_, payload) in entries {
                visit(payload)?;
            }
        }
        if self.spilled {
            std::fs::remove_dir_all(&self.folder)?;
        }
        Ok(())
    }
}

fn entries(bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while let Some((key, tail)) = rest.split_first_chunk::<8>()
        && let Some((length, tail)) = tail.split_first_chunk::<4>()
    {
        let (payload, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
        entries.push((u64::from_le_bytes(*key), payload));
        rest = tail;
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_the_same_with_and_without_spilling() {
        let folder = std::env::temp_dir().join(format!("veridem-sorter-{}", std::process::id()));
        let mut outcomes = Vec::new();
        for limit_bytes in [usize::MAX, 500] {
            let mut sorter = SpillSorter::new(&folder, 10, 10_009, limit_bytes);
            for number in 0..2_000_u64 {
                let key = 10 + number * 7_919 % 10_000;
                sorter
                    .push(key, format!("{key}/{}", number % 3).as_bytes())
                    .expect("a writable folder");
            }
            let mut drained = Vec::new();
            let visit = |payload: &[u8]| {
                drained.push(String::from_utf8_lossy(payload).into_owned());
                Ok(())
            };
            sorter.drain(visit).expect("a readable folder");
            outcomes.push(drained);
        }
        assert_eq!(outcomes[0].len(), 2_000);
        assert!(outcomes[0].is_sorted_by_key(|payload| {
            payload
                .split('/')
                .next()
                .and_then(|key| key.parse::<u64>().ok())
        }));
        assert_eq!(outcomes[0], outcomes[1]);
        assert!(!folder.exists());
    }
}
