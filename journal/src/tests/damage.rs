//! Bytes that rot: every bit, every length, whole sectors.
//!
//! Of each damaged copy three things are asked. Does `verify` say so? Does a reader give only right payloads, each in its
//! place, and a gap where one is missing? Is no more missing than was damaged?

use std::cell::Cell;
use std::sync::Arc;

use super::{Read, open, read, small_journal};
use crate::disk::Disk;
use crate::format::segment::segment_base;
use crate::format::{BATCH_HEADER_BYTES, BatchHeader, SEGMENT_HEADER_BYTES};
use crate::recovery::{Surroundings, judge};
use crate::sim::{Rng, SimDisk};
use crate::verify::{Verified, verify};
use crate::{Seq, View, Writer};

thread_local! {
    /// For controls: payload checksums are taken as right. Read by `format::record` in tests alone.
    pub(crate) static TRUST_PAYLOADS: Cell<bool> = const { Cell::new(false) };
}

fn segments(disk: &SimDisk) -> Vec<String> {
    let mut names = disk.list("").unwrap();
    names.retain(|name| segment_base(name).is_some());
    names.sort();
    names
}

fn view(disk: &SimDisk) -> Read {
    let (view, _) = View::open(Arc::new(disk.clone()), Writer::Absent).unwrap();
    read(view.reader(Seq::FIRST))
}

fn checked(disk: &SimDisk) -> Verified {
    verify(disk).unwrap()
}

/// How many of `payloads` cannot be read, after checking that no other payload is given.
fn missing(disk: &SimDisk, payloads: &[Vec<u8>]) -> usize {
    let found = view(disk);
    for (seq, bytes) in &found.records {
        assert_eq!(*bytes, payloads[*seq as usize - 1], "a wrong payload at seq {seq}");
    }
    payloads.len() - found.records.len()
}

fn is_reported(verified: &Verified) -> bool {
    !verified.problems.is_empty() || !verified.notes.is_empty()
}

/// Flips every bit of the journal, one at a time; how many flips went unnoticed.
fn flip_every_bit(disk: &SimDisk, payloads: &[Vec<u8>]) -> usize {
    let mut unnoticed = 0;
    for name in segments(disk) {
        let whole = disk.content(&name).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            disk.put(&name, bytes);
            unnoticed += usize::from(!is_reported(&checked(disk)));
            let missing = missing(disk, payloads);
            assert!(missing <= 1, "{missing} records missing after bit {bit} of {name}");
        }
        disk.put(&name, whole);
    }
    unnoticed
}

#[test]
fn an_undamaged_journal_is_whole() {
    let (disk, payloads) = small_journal(5, 20);
    let verified = checked(&disk);
    assert!(!is_reported(&verified), "{verified:?}");
    assert!(verified.segments > 2, "several segments");
    assert_eq!((verified.records, verified.last.get()), (payloads.len() as u64, payloads.len() as u64));
    assert_eq!(missing(&disk, &payloads), 0);
}

#[test]
fn every_flipped_bit_is_reported_and_costs_at_most_its_record() {
    let (disk, payloads) = small_journal(5, 12);
    assert_eq!(flip_every_bit(&disk, &payloads), 0);
}

#[test]
fn control_without_payload_checksums_a_flip_goes_through() {
    let (disk, payloads) = small_journal(5, 12);
    TRUST_PAYLOADS.set(true);
    let caught = std::panic::catch_unwind(|| flip_every_bit(&disk, &payloads));
    TRUST_PAYLOADS.set(false);
    assert!(caught.is_err(), "the same test passes with checksums switched off");
}

/// Found by fuzzing: an opening cut away the frame whose header alone still named the salt, and the records before it could not
/// be checked any more, whole as they were.
#[test]
fn a_sealed_segment_is_readable_by_its_footer_when_no_header_in_it_is_whole() {
    let (disk, payloads) = small_journal(5, 20);
    let name = segments(&disk).swap_remove(0);
    let mut bytes = disk.content(&name).unwrap();
    bytes[9] ^= 1;
    for at in (SEGMENT_HEADER_BYTES..bytes.len()).step_by(8) {
        if BatchHeader::decode(&bytes[at..], at as u64).is_ok() {
            bytes[at] ^= 1;
        }
    }
    disk.put(&name, bytes);
    assert_eq!(missing(&disk, &payloads), 0);
    let verified = checked(&disk);
    assert!(is_reported(&verified));
    assert!(verified.problems.iter().all(|problem| problem.lost.is_none()), "{:?}", verified.problems);
    assert_eq!(verified.records, payloads.len() as u64);
}

#[test]
fn every_truncation_is_reported_or_ends_at_a_frame_and_keeps_the_longest_prefix() {
    let (disk, payloads) = small_journal(6, 14);
    let names = segments(&disk);
    for (index, name) in names.iter().enumerate() {
        let whole = disk.content(name).unwrap();
        let is_last = index + 1 == names.len();
        let first = segment_base(name).unwrap().get();
        for len in 0..whole.len() {
            disk.put(name, whole[..len].to_vec());
            let verified = checked(&disk);
            let kept = records_before(&whole, len);
            // Cut exactly behind a frame, a last segment looks like one that was written no further: only a head that
            // somebody noted tells. Everywhere else the cut shows.
            let shows = is_reported(&verified) || (is_last && verified.last.get() == first + kept - 1);
            assert!(shows, "{name} cut to {len}");
            let found = view(&disk);
            for (seq, bytes) in &found.records {
                assert_eq!(*bytes, payloads[*seq as usize - 1]);
            }
            let here = found.records.iter().filter(|(seq, _)| *seq >= first).count() as u64;
            if is_last {
                assert_eq!(here, kept, "{name} cut to {len}");
            } else {
                let behind = payloads.len() as u64 + 1 - segment_base(&names[index + 1]).unwrap().get();
                assert!(here >= kept + behind, "{name} cut to {len}");
                assert_eq!(found.records.len() + lost(&found), payloads.len());
            }
        }
        disk.put(name, whole);
    }
}

fn lost(found: &Read) -> usize {
    found.gaps.iter().map(|(from, to)| (to - from + 1) as usize).sum()
}

/// How many records lie in frames that end within the first `len` bytes of a whole segment.
fn records_before(segment: &[u8], len: usize) -> u64 {
    let (mut at, mut records) = (SEGMENT_HEADER_BYTES, 0);
    while let Ok(header) = BatchHeader::decode(segment.get(at..).unwrap_or_default(), at as u64) {
        at += header.frame_bytes();
        if at > len {
            break;
        }
        records += u64::from(header.count);
    }
    records
}

#[test]
fn zeroed_doubled_and_swapped_sectors_never_give_a_wrong_payload() {
    let (disk, payloads) = small_journal(7, 40);
    let mut rng = Rng::new(7);
    for _ in 0..300 {
        let names = segments(&disk);
        let name = &names[rng.below(names.len() as u64) as usize];
        let whole = disk.content(name).unwrap();
        let sectors = (whole.len() / 64).max(1) as u64;
        let (a, b) = (rng.below(sectors) as usize * 64, rng.below(sectors) as usize * 64);
        let mut bytes = whole.clone();
        let len = 64.min(whole.len() - a).min(whole.len() - b);
        match rng.below(3) {
            0 => bytes[a..a + len].fill(0),
            1 => bytes.copy_within(a..a + len, b),
            _ => {
                let kept = bytes[b..b + len].to_vec();
                bytes.copy_within(a..a + len, b);
                bytes[a..a + len].copy_from_slice(&kept);
            }
        }
        let changed = bytes != whole;
        disk.put(name, bytes);
        assert_eq!(is_reported(&checked(&disk)), changed);
        missing(&disk, &payloads);
        // Opening for writing agrees with the view, and loses nothing more.
        let before = view(&disk);
        let copy = disk.copied(1);
        let (journal, _) = open(&copy, 3, 0).unwrap();
        assert_eq!(read(journal.reader(Seq::FIRST)), before);
        disk.put(name, whole);
    }
}

#[test]
fn a_frame_of_an_older_segment_and_a_valid_header_over_zeros_are_no_records() {
    let (disk, payloads) = small_journal(8, 20);
    let names = segments(&disk);
    let last = names.last().unwrap();
    let (old, whole) = (disk.content(&names[0]).unwrap(), disk.content(last).unwrap());
    // A stale frame behind the end, where a reused block would show one.
    let mut stale = whole.clone();
    stale.extend_from_slice(&old[SEGMENT_HEADER_BYTES..old.len() - old.len() % 8]);
    disk.put(last, stale);
    assert_eq!(missing(&disk, &payloads), 0);
    let (journal, recovery) = open(&disk.copied(1), 3, 0).unwrap();
    assert_eq!(journal.tail().get(), payloads.len() as u64 + 1);
    assert!(recovery.torn.is_some() && recovery.damage.is_empty());
    // The header of the next batch reached the disk and its records did not.
    let proof =
        BatchHeader::decode(&whole[whole.len() - BATCH_HEADER_BYTES..], (whole.len() - 96) as u64).unwrap();
    let header = BatchHeader { count: 3, body_bytes: 60, ..proof };
    let mut torn = whole.clone();
    torn.extend_from_slice(&header.encode(whole.len() as u64));
    torn.extend_from_slice(&[0; 64]);
    disk.put(last, torn);
    let (journal, recovery) = open(&disk, 3, 0).unwrap();
    assert_eq!(journal.tail().get(), payloads.len() as u64 + 1);
    assert!(recovery.torn.is_some() && recovery.damage.is_empty());
}

#[test]
fn a_missing_segment_in_the_middle_is_a_gap() {
    let (disk, payloads) = small_journal(9, 30);
    let names = segments(&disk);
    disk.take(&names[1]);
    let found = view(&disk);
    let (from, to) = (segment_base(&names[1]).unwrap().get(), segment_base(&names[2]).unwrap().get() - 1);
    assert_eq!(found.gaps, [(from, to)]);
    assert_eq!(found.records.len() + lost(&found), payloads.len());
    assert!(!checked(&disk).problems.is_empty());
}

/// What a disk may keep of batches that were written and not flushed: any of their sectors.
fn torn(rng: &mut Rng, flushed: usize, bytes: &[u8]) -> Vec<u8> {
    let mut kept = vec![0; bytes.len()];
    kept[..flushed].copy_from_slice(&bytes[..flushed]);
    let percent = 10 + rng.below(90);
    let mut at = flushed;
    while at < bytes.len() {
        let end = bytes.len().min((at / 512 + 1) * 512);
        if rng.chance(percent) {
            kept[at..end].copy_from_slice(&bytes[at..end]);
        }
        at = end;
    }
    kept
}

#[test]
fn a_torn_unflushed_write_is_never_called_corruption() {
    let mut frames_after_a_hole = 0;
    let trials = super::seeds(4_000);
    for seed in trials.clone() {
        let (mut rng, disk) = (Rng::new(seed), SimDisk::new(seed));
        let large = super::options(seed).with_segment_bytes_target(1 << 20);
        let (journal, _) =
            crate::Journal::open(Arc::new(disk.clone()), large, crate::Micros::new(0)).unwrap();
        let append = |count: u64, rng: &mut Rng, level| {
            for n in 0..count {
                let bytes = super::payload(rng);
                let now = crate::Micros::new(n as i64 * 2_000);
                drop(journal.submit(&[&bytes, b"and more"], now, level, None).unwrap());
            }
            journal.flush(level).unwrap();
        };
        append(1 + rng.below(3), &mut rng, crate::Level::Disk);
        let name = segments(&disk).pop().unwrap();
        let flushed = disk.content(&name).unwrap().len();
        let acknowledged = journal.durable();
        append(1 + rng.below(8), &mut rng, crate::Level::Os);
        let bytes = torn(&mut rng, flushed, &disk.content(&name).unwrap());
        let around =
            Surroundings { base: Seq::FIRST, journal: None, previous: None, footer: None, proven: None };
        let verdict = judge(&bytes, around).unwrap();
        assert_eq!(verdict.damage, [], "a false alarm with MNEMOSYNE_SEED={seed}");
        assert!(verdict.last() >= acknowledged);
        if let Some((range, _)) = verdict.torn {
            let behind = (range.start + 8..range.end).step_by(8);
            let whole = |at: usize| BatchHeader::decode(&bytes[at..], at as u64).is_ok();
            frames_after_a_hole += u64::from(behind.into_iter().any(whole));
        }
    }
    // The control: under the rule "valid data follows, so it is corruption" these would all be alarms.
    assert!(
        frames_after_a_hole * 10 > trials.end - trials.start,
        "only {frames_after_a_hole} are of the hard kind"
    );
}
