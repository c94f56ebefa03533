//! The limits of the machine, measured beside the engines.

use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::engine::Result;
use crate::work::record;

/// Copies and checksums records and writes them 64 KiB at a time; records a second.
pub fn copy_checksum_write(dir: &Path, record: &[u8], long: Duration) -> Result<f64> {
    let mut file = tempfile::tempfile_in(dir)?;
    let mut buffer = Vec::with_capacity(64 * 1024 + record.len());
    let (began, mut records) = (Instant::now(), 0_u64);
    while began.elapsed() < long {
        for _ in 0..100 {
            buffer.extend_from_slice(record);
            black_box(crc32fast::hash(record));
            if buffer.len() >= 64 * 1024 {
                file.write_all(&buffer)?;
                buffer.clear();
            }
        }
        records += 100;
    }
    file.write_all(&buffer)?;
    Ok(records as f64 / began.elapsed().as_secs_f64())
}

/// Writes a record and flushes, again and again; records a second.
pub fn write_and_flush(dir: &Path, record: &[u8], long: Duration) -> Result<f64> {
    let file: File = tempfile::tempfile_in(dir)?;
    let (began, mut records) = (Instant::now(), 0_u64);
    while began.elapsed() < long {
        file.write_all_at(record, records * record.len() as u64)?;
        file.sync_data()?;
        records += 1;
    }
    Ok(records as f64 / began.elapsed().as_secs_f64())
}

/// Reads as many records from memory; records a second.
pub fn read_memory(records: u64, bytes: usize) -> Result<f64> {
    let memory = record(1, bytes).repeat(usize::try_from(records)?);
    let began = Instant::now();
    let words =
        memory.chunks_exact(8).map(|word| word.first_chunk().map_or(0, |word| u64::from_le_bytes(*word)));
    black_box(words.fold(0, |sum, word| sum ^ word));
    Ok(records as f64 / began.elapsed().as_secs_f64())
}
