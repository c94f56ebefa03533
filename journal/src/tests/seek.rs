//! Jumps: by seq and by time, in large and small frames, through maps and through reads, over damage.

use std::cell::Cell;
use std::sync::Arc;

use super::{open, read, with_seeds};
use crate::disk::Disk;
use crate::format::segment::segment_base;
use crate::sim::{Rng, SimDisk};
use crate::verify::verify;
use crate::{Item, Journal, Level, Micros, Options, Reader, Seq, View, Writer};

thread_local! {
    static LOOKS: Cell<u64> = const { Cell::new(0) };
    static LOOKED_THROUGH: Cell<usize> = const { Cell::new(0) };
    /// The reference, and the control: searches walk from the segment's begin.
    static WALKS_ALWAYS: Cell<bool> = const { Cell::new(false) };
}

/// A frame's header was looked for from one place on, through so many bytes.
pub(crate) fn look(bytes: usize) {
    LOOKS.set(LOOKS.get() + 1);
    LOOKED_THROUGH.set(LOOKED_THROUGH.get() + bytes);
}

pub(crate) fn walks_always() -> bool {
    WALKS_ALWAYS.get()
}

/// What `search` gives, and the number of headers that it looked for, by walking or by halving.
fn looking<T>(by_walking: bool, search: impl FnOnce() -> T) -> (T, u64) {
    WALKS_ALWAYS.set(by_walking);
    LOOKS.set(0);
    let found = search();
    WALKS_ALWAYS.set(false);
    (found, LOOKS.get())
}

/// A journal of sealed segments and an open one, with frames on both sides of what the index tells apart.
fn journal_of_all_sizes(seed: u64) -> (SimDisk, Journal, Vec<Vec<u8>>, Vec<i64>) {
    let (disk, mut rng) = (SimDisk::new(seed), Rng::new(seed));
    let options = Options::new(super::ID, [3; 32]).with_segment_bytes_target(60_000);
    let (journal, _) = Journal::open(Arc::new(disk.clone()), options, Micros::new(0)).unwrap();
    let (mut payloads, mut times) = (Vec::new(), Vec::new());
    for batch in 0..24 {
        let count = if rng.chance(40) { rng.below(300) + 40 } else { rng.below(3) + 1 };
        let records: Vec<Vec<u8>> =
            (0..count).map(|_| (0..rng.below(90)).map(|_| rng.bits() as u8).collect()).collect();
        let slices: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        let now = batch * 10_000;
        journal.submit(&slices, Micros::new(now), Level::Disk, None).unwrap().wait().unwrap();
        times.extend(records.iter().map(|_| now));
        payloads.extend(records);
    }
    (disk, journal, payloads, times)
}

/// Jumps to a random place and reads on for a random while, again and again.
fn jump_about(reader: &mut Reader, rng: &mut Rng, mut check: impl FnMut(Item<'_>), last: u64) {
    for _ in 0..200 {
        let from = Seq::new(rng.below(last) + 1);
        reader.seek(from);
        let mut next = from;
        for _ in 0..rng.below(40) {
            let Some(item) = reader.next().unwrap() else {
                assert_eq!(next.get(), last + 1, "it ended before the end");
                break;
            };
            let (first, behind) = match &item {
                Item::Record(record) => (record.seq, record.seq.next()),
                Item::Gap(gap) => (gap.from, gap.to.next()),
            };
            assert_eq!(first, next, "a seq was left out or given twice");
            next = behind;
            check(item);
        }
        assert_eq!(reader.position(), next);
    }
}

#[test]
fn a_jump_leads_to_the_very_record_wherever_the_reader_stood() {
    with_seeds(8, |seed| {
        let (disk, journal, payloads, times) = journal_of_all_sizes(seed);
        let mut rng = Rng::new(seed);
        let (view, _) = View::open(Arc::new(disk), Writer::Absent).unwrap();
        for mut reader in [journal.reader(Seq::FIRST), view.reader(Seq::FIRST), journal.reader(Seq::FIRST)] {
            let check = |item: Item<'_>| {
                let Item::Record(record) = item else { panic!("a gap in a whole journal") };
                let index = record.seq.get() as usize - 1;
                assert_eq!(record.payload, payloads[index]);
                assert_eq!((record.recorded.get(), record.recorded_is_bound), (times[index], false));
            };
            jump_about(&mut reader, &mut rng, check, payloads.len() as u64);
        }
    });
}

#[test]
fn a_time_leads_to_the_first_record_that_is_not_earlier() {
    with_seeds(4, |seed| {
        let (_, journal, _, times) = journal_of_all_sizes(seed);
        let mut rng = Rng::new(seed);
        let mut reader = journal.reader(Seq::FIRST);
        for _ in 0..100 {
            let time = rng.below(250_000) as i64 - 5_000;
            let expected = times.iter().take_while(|&&recorded| recorded < time).count() as u64 + 1;
            assert_eq!(reader.seek_time(Micros::new(time)).unwrap().get(), expected);
            assert_eq!(reader.position().get(), expected);
        }
    });
}

#[test]
fn a_jump_over_damage_finds_what_a_reader_from_the_begin_finds() {
    with_seeds(40, |seed| {
        let (disk, journal, payloads, _) = journal_of_all_sizes(seed);
        journal.close().unwrap();
        let mut rng = Rng::new(seed);
        let mut names: Vec<String> =
            disk.list("").unwrap().into_iter().filter(|name| segment_base(name).is_some()).collect();
        names.sort();
        for name in &names {
            let mut content = disk.content(name).unwrap();
            for _ in 0..3 {
                // Not the last frame: whether that was durable is another question.
                let at = rng.below(content.len() as u64 / 2) as usize;
                content[at] ^= 1 << rng.below(8);
            }
            disk.put(name, content);
        }
        let fresh = || View::open(Arc::new(disk.copied(seed)), Writer::Absent).unwrap().0;
        let whole = read(fresh().reader(Seq::FIRST));
        // Damage of the frames' headers alone costs no record.
        assert!(!verify(&disk).unwrap().problems.is_empty(), "the damage should be seen");
        for (seq, payload) in &whole.records {
            assert_eq!(payload, &payloads[*seq as usize - 1], "seq {seq}");
        }
        let lost_in_all: u64 = whole.gaps.iter().map(|(from, to)| to - from + 1).sum();
        assert_eq!(whole.records.len() as u64 + lost_in_all, payloads.len() as u64);
        let tail = fresh().durable().get();
        let lost = |seq: u64| whole.gaps.iter().any(|&(from, to)| from <= seq && seq <= to);
        let check = |item: Item<'_>| match item {
            Item::Record(record) => {
                let seq = record.seq.get();
                let index = whole.records.binary_search_by_key(&seq, |(seq, _)| *seq).unwrap();
                assert_eq!(record.payload, whole.records[index].1);
            }
            Item::Gap(gap) => assert!((gap.from.get()..=gap.to.get()).all(lost), "{gap:?} is not lost"),
        };
        // Cold, and again with an index that others have built.
        let view = fresh();
        for _ in 0..2 {
            jump_about(&mut view.reader(Seq::FIRST), &mut rng, check, tail);
        }
    });
}

/// A request for what stands behind damage in the last segment never ended: the stretch was sorted, nothing of it was wanted, the segment
/// was opened again, and so on.
#[test]
fn a_reader_that_wants_what_stands_behind_damage_in_the_last_segment_comes_to_an_end() {
    let disk = SimDisk::new(1);
    let (journal, _) = open(&disk, 1, 0).unwrap();
    for (payload, now) in [(b"first", 0), (b"other", 20_000), (b"third", 40_000)] {
        journal.submit(&[payload], Micros::new(now), Level::Disk, None).unwrap().wait().unwrap();
    }
    journal.close().unwrap();
    let name = disk.list("").unwrap().into_iter().find(|name| segment_base(name).is_some()).unwrap();
    let mut content = disk.content(&name).unwrap();
    let frames: Vec<usize> = (0..content.len()).filter(|at| content[*at..].starts_with(b"MBAT")).collect();
    content[frames[1] + 40] ^= 1;
    disk.put(&name, content);
    let (view, _) = View::open(Arc::new(disk), Writer::Absent).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    // In a thread of its own: one that goes round can be waited for in vain.
    std::thread::spawn(move || {
        let mut reader = view.reader(Seq::new(3));
        let item = reader
            .next()
            .map(|item| matches!(item, Some(Item::Record(record)) if record.payload == b"third"));
        let rest = read(view.reader(Seq::FIRST));
        tell.send((item.unwrap(), rest.records.len(), rest.gaps)).unwrap();
    });
    let found = told.recv_timeout(std::time::Duration::from_secs(60)).expect("a reader that ends");
    assert_eq!(found, (true, 3, vec![]), "a damaged batch header loses no record");
}

#[test]
fn a_view_goes_on_where_another_process_has_replaced_the_segment() {
    let disk = SimDisk::new(1);
    let (journal, _) = open(&disk, 1, 0).unwrap();
    journal.submit(&[b"one"], Micros::new(1), Level::Disk, None).unwrap().wait().unwrap();
    drop(journal);
    // Nothing proves the only batch, so the view flushes and shows it, and the next writer carries it over.
    let (view, _) = View::open(Arc::new(disk.clone()), Writer::Absent).unwrap();
    let mut reader = view.reader(Seq::FIRST);
    assert!(matches!(reader.next().unwrap(), Some(Item::Record(record)) if record.payload == b"one"));
    let (journal, recovery) = open(&disk, 2, 0).unwrap();
    assert_eq!(recovery.carried, 1);
    journal.submit(&[b"two"], Micros::new(1), Level::Disk, None).unwrap().wait().unwrap();
    journal.close().unwrap();
    assert_eq!(view.refresh(Writer::Absent).unwrap(), Seq::new(2));
    assert!(matches!(reader.next().unwrap(), Some(Item::Record(record)) if record.payload == b"two"));
    assert_eq!(read(view.reader(Seq::FIRST)).records, [(1, b"one".to_vec()), (2, b"two".to_vec())]);
}

/// A journal of two segments, sealed and open, with many small frames in each and a few large ones; some payloads are copies of frames
/// that stand elsewhere in the same segment, and of bytes that begin like one. The times of its frames.
fn journal_of_small_frames(seed: u64, frames: u64) -> (SimDisk, Vec<i64>) {
    let (disk, mut rng) = (SimDisk::new(seed), Rng::new(seed));
    let mut options = Options::new(super::ID, [4; 32]).with_segment_bytes_target(u64::MAX);
    let mut times = Vec::new();
    for half in 0..2 {
        let (journal, _) = Journal::open(Arc::new(disk.clone()), options.clone(), Micros::new(0)).unwrap();
        for _ in 0..frames / 2 {
            // Several frames have one time.
            let now = times.last().copied().unwrap_or(0) + 1_000 * rng.below(3) as i64;
            let payload = match rng.below(200) {
                0 => vec![0; rng.below(40_000) as usize],
                1..20 => {
                    let names = disk.list("").unwrap();
                    let name = names.iter().filter(|name| segment_base(name).is_some()).max().unwrap();
                    let content = disk.content(name).unwrap();
                    let at = rng.below(content.len() as u64) as usize & !7;
                    content[at..content.len().min(at + 300)].to_vec()
                }
                20..30 => b"MBAT".repeat(30),
                _ => (0..rng.below(60)).map(|_| rng.bits() as u8).collect(),
            };
            journal.submit(&[&payload], Micros::new(now), Level::Disk, None).unwrap().wait().unwrap();
            times.push(now);
        }
        journal.close().unwrap();
        if half == 0 {
            // The next opening finds no room in this segment.
            options = options.with_segment_bytes_target(1);
            let (journal, _) =
                Journal::open(Arc::new(disk.clone()), options.clone(), Micros::new(0)).unwrap();
            let now = Micros::new(times.last().copied().unwrap_or(0));
            journal.submit(&[b"the first of the second"], now, Level::Disk, None).unwrap().wait().unwrap();
            times.push(now.get());
            journal.close().unwrap();
            options = options.with_segment_bytes_target(u64::MAX);
        }
    }
    (disk, times)
}

#[test]
fn the_first_search_in_a_segment_looks_at_few_headers_however_many_there_are() {
    let (disk, times) = journal_of_small_frames(1, 8_000);
    let fresh = || View::open(Arc::new(disk.clone()), Writer::Absent).unwrap().0;
    assert_eq!(fresh().catalog.bases().len(), 2, "one that is sealed and one that is not");
    let (mut most, mut least_by_walking) = (0, u64::MAX);
    for percent in [10, 30, 49, 60, 75, 99] {
        let seq = times.len() as u64 * percent / 100;
        let by_seq = || {
            let view = fresh();
            let mut reader = view.reader(Seq::new(seq));
            assert!(matches!(reader.next().unwrap(), Some(Item::Record(record)) if record.seq.get() == seq));
        };
        let by_time = || {
            let time = times[seq as usize];
            let expected = times.partition_point(|&recorded| recorded < time) as u64 + 1;
            let view = fresh();
            assert_eq!(view.reader(Seq::FIRST).seek_time(Micros::new(time)).unwrap().get(), expected);
        };
        most = most.max(looking(false, by_seq).1).max(looking(false, by_time).1);
        let walked = looking(true, by_seq).1.min(looking(true, by_time).1);
        least_by_walking = least_by_walking.min(walked);
    }
    // Two searches of at most 2 log2(1 MiB / 4 KiB) looks each, and the headers in 4 KiB twice.
    assert!(most <= 120, "{most} headers were looked for");
    assert!(least_by_walking > 300, "control: walking looks at them all, and this says {least_by_walking}");
}

#[test]
fn searches_among_large_frames_go_through_no_more_bytes_than_there_are() {
    const RECORDS: u64 = 100;
    // Six frames are walked to, and nothing is gone through; of sixty, a part.
    for (frames, payload, first_max) in [(6_u64, vec![7; 10_000], 0), (60, vec![7; 1_000], 1_500_000)] {
        let disk = SimDisk::new(1);
        let options = Options::new(super::ID, [4; 32]).with_segment_bytes_target(u64::MAX);
        let (journal, _) = Journal::open(Arc::new(disk.clone()), options, Micros::new(0)).unwrap();
        for _ in 0..frames {
            let batch = vec![payload.as_slice(); RECORDS as usize];
            journal.submit(&batch, Micros::new(0), Level::Disk, None).unwrap().wait().unwrap();
        }
        let bytes = payload.len() * RECORDS as usize * frames as usize;
        let mut rng = Rng::new(3);
        // A reader of its own each time: it knows no place to go on from.
        let mut jump = || {
            let seq = rng.below(frames * RECORDS) + 1;
            let mut reader = journal.reader(Seq::new(seq));
            assert!(matches!(reader.next().unwrap(), Some(Item::Record(record)) if record.seq.get() == seq));
        };
        LOOKED_THROUGH.set(0);
        jump();
        let first = LOOKED_THROUGH.get();
        (0..300).for_each(|_| jump());
        let all = LOOKED_THROUGH.get();
        assert!(first <= first_max, "{first} of {bytes} for the first search");
        assert!(all < bytes * 3 / 2, "{all} of {bytes} for all searches");
    }
}

#[test]
fn halving_finds_what_walking_finds_over_damage_and_imitations_too() {
    with_seeds(12, |seed| {
        let (disk, times) = journal_of_small_frames(seed, 600);
        let mut rng = Rng::new(seed);
        let names = disk.list("").unwrap().into_iter().filter(|name| segment_base(name).is_some());
        for name in names.filter(|_| seed % 3 > 0) {
            let mut content = disk.content(&name).unwrap();
            for _ in 0..rng.below(12) {
                let at = rng.below(content.len() as u64 - 400) as usize;
                match rng.below(3) {
                    0 => content[at] ^= 1 << rng.below(8),
                    1 => content.chunks_mut(512).skip(at / 512).take(1).for_each(|sector| sector.fill(0)),
                    // A piece of the segment where it does not belong.
                    _ => content.copy_within(at & !7..(at & !7) + 300, (at / 2) & !7),
                }
            }
            disk.put(&name, content);
        }
        let fresh = || View::open(Arc::new(disk.copied(seed)), Writer::Absent).unwrap().0;
        let count = rng.below(30);
        let read_on = |reader: &mut Reader| {
            let mut found = Vec::new();
            for _ in 0..count {
                let item = reader.next().unwrap();
                found.push(item.map(|item| match item {
                    Item::Record(record) => {
                        let time = (record.recorded, record.recorded_is_bound);
                        (record.seq, record.seq, Some((time, record.payload.to_vec())))
                    }
                    Item::Gap(gap) => (gap.from, gap.to, None),
                }));
            }
            found
        };
        let kept = fresh();
        for _ in 0..20 {
            let (time, seq) =
                (Micros::new(times[rng.below(times.len() as u64) as usize]), rng.below(600) + 1);
            let by_time = |view: &View| {
                let mut reader = view.reader(Seq::FIRST);
                (reader.seek_time(time).unwrap(), read_on(&mut reader))
            };
            let by_seq = |view: &View| read_on(&mut view.reader(Seq::new(seq)));
            let walked = looking(true, || (by_time(&fresh()), by_seq(&fresh()))).0;
            assert_eq!(looking(false, || (by_time(&fresh()), by_seq(&fresh()))).0, walked);
            // Again where others have searched and walked before.
            assert_eq!(looking(false, || (by_time(&kept), by_seq(&kept))).0, walked);
        }
    });
}
