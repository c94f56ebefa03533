//! A journal with damage of the sorts that disks do: the input says which file, where, and what.
//!
//! One burst of up to 32 bits, which a CRC-32 always finds; or a truncated file, zeroed sectors, a missing file, bytes behind
//! the end. Whatever it is, no record shows another payload than was written under its seq, and nobody writes while looking.

use std::sync::Arc;

use mnemosyne_journal::sim::SimDisk;
use mnemosyne_journal::verify::verify;
use mnemosyne_journal::{Journal, Level, Micros, Seq, View, Writer};

use super::Numbers;
use super::frames::{SAMPLE, SAMPLE_RECORDS, options, read_through, sample_payload};

const SECTOR_BYTES: usize = 64;

pub(super) fn journal(bytes: &[u8]) {
    let (disk, mut files) = (SimDisk::new(3), SAMPLE.clone());
    damage(&mut files, &mut Numbers(bytes));
    for (name, content) in &files {
        disk.put(name, content.clone());
    }
    let verified = verify(&disk).ok();
    let seen = View::open(Arc::new(disk.clone()), Writer::Absent)
        .ok()
        .map(|(view, _)| read_through(view.reader(Seq::FIRST), view.durable()));
    seen.iter().flatten().for_each(as_written);
    for (name, content) in &files {
        assert_eq!(disk.content(name).as_ref(), Some(content), "{name} was changed by looking at it");
    }
    if let (Some(verified), Some(seen)) = (&verified, &seen) {
        let lost = SAMPLE_RECORDS - seen.len() as u64;
        let told = !verified.problems.is_empty() || !verified.notes.is_empty() || files.len() < SAMPLE.len();
        assert!(
            lost == 0 || told || ends_early(&files),
            "{lost} records are gone, and nothing is told: {verified:?}"
        );
    }
    let Ok((journal, _)) = Journal::open(Arc::new(disk.clone()), options(), Micros::new(1_000_000)) else {
        return;
    };
    let kept = read_through(journal.reader(Seq::FIRST), journal.durable());
    kept.iter().for_each(as_written);
    for record in seen.iter().flatten() {
        assert!(kept.contains(record), "record {} was readable before the opening", record.0);
    }
    let ticket = journal
        .submit(&[b"one more"], Micros::new(1_000_001), Level::Disk, None)
        .expect("a journal that works");
    let seq = ticket.wait().expect("a disk that works").first;
    assert!(kept.iter().all(|(kept, _)| *kept < seq), "seq {seq} was given before");
    let after = read_through(journal.reader(Seq::FIRST), journal.durable());
    assert_eq!(after.last(), Some(&(seq, b"one more".to_vec())));
    journal.close().expect("a disk that works");
    verify(&disk).expect("what was opened can be checked");
}

fn as_written((seq, payload): &(Seq, Vec<u8>)) {
    assert_eq!(payload, &sample_payload(seq.get()), "seq {seq} shows what was not written under it");
}

/// Whether the last segment was cut: without its tail, nothing says that there was more.
fn ends_early(files: &[(String, Vec<u8>)]) -> bool {
    let whole =
        |name: &String| SAMPLE.iter().find(|(sample, _)| sample == name).map_or(0, |(_, bytes)| bytes.len());
    files
        .iter()
        .filter(|(name, _)| name.strip_suffix(".seg").is_some())
        .max()
        .is_none_or(|(name, bytes)| bytes.len() < whole(name))
}

fn damage(files: &mut Vec<(String, Vec<u8>)>, numbers: &mut Numbers<'_>) {
    let which = usize::from(numbers.byte()) % files.len();
    let (kind, at) = (numbers.byte() % 5, usize::from(numbers.u16()));
    let content = &mut files[which].1;
    let at = at % (content.len() + 1);
    match kind {
        0 => {
            let burst = numbers.bytes::<4>();
            content[at..].iter_mut().zip(burst).for_each(|(byte, flip)| *byte ^= flip);
        }
        1 => content.truncate(at),
        2 => {
            let from = at - at % SECTOR_BYTES;
            let to = (from + SECTOR_BYTES * usize::from(numbers.byte() % 4 + 1)).min(content.len());
            content[from..to].fill(0);
        }
        3 => content.extend_from_slice(numbers.0),
        _ => _ = files.remove(which),
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let files = u8::try_from(SAMPLE.len()).unwrap_or(u8::MAX);
    let mut seeds = Vec::new();
    for which in 0..files {
        for kind in 0..5 {
            for at in [0_u16, 40, 128, 300, 700] {
                let [low, high] = at.to_le_bytes();
                seeds.push(vec![which, kind, low, high, 1, 0, 0, 0]);
            }
        }
    }
    seeds
}
