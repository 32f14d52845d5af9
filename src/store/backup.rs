//! Backups: every entry of a store as of one moment, in one compressed file that tells whether it is whole.
//!
//! A line of text names the format and its version; what follows is one zstd frame with a checksum: entries as the lengths of key and
//! value (u32, little endian), key and value, then an end mark and the number of entries.

use std::io::{BufRead, Read, Write};

use super::{Store, StoreError, Tenant};

const HEADER: &[u8] = b"veridem backup 1\n";
const END: u32 = u32::MAX;
const COMPRESSION_LEVEL: i32 = 1;
/// The longest key or value that is believed; a longer one is a damaged file.
const MAX_BYTES: u32 = 64 << 20;
/// Entries that one write restores.
const ENTRIES_AT_ONCE: usize = 10_000;

fn failed(cause: impl std::fmt::Display) -> StoreError {
    StoreError::Backup(cause.to_string())
}

/// Writes a backup of a tenant, or of all; returns the number of entries. Consistent also while others write.
pub fn write_backup(
    store: &dyn Store,
    tenant: Option<&Tenant>,
    mut output: impl Write,
) -> Result<u64, StoreError> {
    output.write_all(HEADER).map_err(failed)?;
    let mut encoder = zstd::Encoder::new(output, COMPRESSION_LEVEL).map_err(failed)?;
    encoder.include_checksum(true).map_err(failed)?;
    let mut entries = 0_u64;
    store.export(tenant, &mut |key, value| {
        entries += 1;
        let mut lengths = [0; 8];
        lengths[..4].copy_from_slice(&(key.len() as u32).to_le_bytes());
        lengths[4..].copy_from_slice(&(value.len() as u32).to_le_bytes());
        for part in [&lengths, key, value] {
            encoder.write_all(part).map_err(failed)?;
        }
        Ok(())
    })?;
    encoder.write_all(&END.to_le_bytes()).map_err(failed)?;
    encoder.write_all(&entries.to_le_bytes()).map_err(failed)?;
    encoder
        .finish()
        .and_then(|mut output| output.flush())
        .map_err(failed)?;
    Ok(entries)
}

/// Reads a backup into a store that holds nothing; returns the number of entries. Where it fails the store is to be thrown away.
pub fn read_backup(store: &dyn Store, mut input: impl BufRead) -> Result<u64, StoreError> {
    let mut header = [0; HEADER.len()];
    input
        .read_exact(&mut header)
        .ok()
        .filter(|()| header == HEADER)
        .ok_or_else(|| failed("it is no backup of a version that this veridem reads"))?;
    let mut decoder = zstd::Decoder::with_buffer(input).map_err(failed)?;
    let mut entries = 0_u64;
    let mut batch = Vec::with_capacity(ENTRIES_AT_ONCE);
    loop {
        let key_bytes = read_number(&mut decoder)?;
        if key_bytes == END {
            break;
        }
        let value_bytes = read_number(&mut decoder)?;
        batch.push((
            read_bytes(&mut decoder, key_bytes)?,
            read_bytes(&mut decoder, value_bytes)?,
        ));
        entries += 1;
        if batch.len() == ENTRIES_AT_ONCE {
            store.import(std::mem::take(&mut batch))?;
        }
    }
    let mut told = [0; 8];
    decoder.read_exact(&mut told).map_err(damaged)?;
    // The checksum stands behind the last byte: only reading on to the end compares it.
    let rest = std::io::copy(&mut decoder, &mut std::io::sink()).map_err(damaged)?;
    if u64::from_le_bytes(told) != entries || rest > 0 {
        return Err(failed("it does not hold what it says"));
    }
    store.import(batch)?;
    store.finish_import()?;
    Ok(entries)
}

fn read_number(input: &mut impl Read) -> Result<u32, StoreError> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes).map_err(damaged)?;
    Ok(u32::from_le_bytes(bytes))
}

fn read_bytes(input: &mut impl Read, length: u32) -> Result<Vec<u8>, StoreError> {
    if length > MAX_BYTES {
        return Err(failed("it is damaged: an entry is too long"));
    }
    let mut bytes = vec![0; length as usize];
    input.read_exact(&mut bytes).map_err(damaged)?;
    Ok(bytes)
}

fn damaged(cause: std::io::Error) -> StoreError {
    failed(format!("it is cut short or damaged ({cause})"))
}
