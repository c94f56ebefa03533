//! Ids are found across blocks, restarts and lost files; a wrong hit never counts.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::event::Timestamp;
use crate::store::log::{Level, MemoryLog};
use crate::store::testing::{event_with_id, journal_id, uuid};

/// A log of `count` events with the ids 1.., in batches.
fn log_of(count: u64) -> Arc<dyn Log> {
    let log = MemoryLog::pretending(journal_id());
    append(&log, 1..=count);
    Arc::new(log)
}

fn append(log: &dyn Log, ids: impl Iterator<Item = u64>) {
    let events: Vec<Vec<u8>> = ids.map(|id| event_with_id(uuid(id.into())).encode()).collect();
    for some in events.chunks(1000) {
        let batch: Vec<&[u8]> = some.iter().map(Vec::as_slice).collect();
        log.append(&batch, Level::Os, None, Timestamp::EPOCH).unwrap().wait().unwrap();
    }
}

fn find(ids: &mut Ids, id: u64) -> Option<u64> {
    ids.find(uuid(id.into())).unwrap().map(|hit| hit.seq().get())
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn ids_are_found_from_files_from_a_clean_stop_and_from_the_journal_alone() {
    let count = BLOCK * 2 + 100;
    let log = log_of(count);
    let dir = tempfile::tempdir().unwrap();
    let index = dir.path().join("index");
    let check = |dir: Option<PathBuf>| {
        let mut ids = Ids::new(log.clone(), dir);
        for id in [1, 2, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 1, count] {
            assert_eq!(find(&mut ids, id), Some(id));
        }
        for id in count + 1..count + 500 {
            assert_eq!(find(&mut ids, id), None);
        }
        ids
    };
    check(None);
    check(Some(index.clone())).save();
    let names = files(&index);
    let name = |block: u64| block::file_name(block * BLOCK + 1);
    assert_eq!(names, [name(0), name(1), format!("{}.part", name(2))]);
    check(Some(index.clone()));
    // Each file lost or damaged in turn: rebuilt, and the answers are the same.
    for name in &names {
        let path = index.join(name);
        let whole = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        check(Some(index.clone())).save();
        assert_eq!(files(&index), names);
        for at in [0, 30, 44, 64, whole.len() / 2, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            std::fs::write(&path, damaged).unwrap();
            check(Some(index.clone()));
        }
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        check(Some(index.clone())).save();
    }
}

#[test]
fn an_index_of_another_journal_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let other = MemoryLog::pretending(JournalId::from_bytes([9; 16]));
    append(&other, 1..=10);
    let mut ids = Ids::new(Arc::new(other), Some(dir.path().into()));
    assert_eq!(find(&mut ids, 3), Some(3));
    ids.save();
    assert_eq!(find(&mut Ids::new(log_of(2), Some(dir.path().into())), 3), None);
}

#[test]
fn what_came_after_a_clean_stop_is_read_from_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let log = MemoryLog::pretending(journal_id());
    append(&log, 1..=10);
    let mut ids = Ids::new(Arc::new(log.clone()), Some(dir.path().into()));
    assert_eq!(find(&mut ids, 10), Some(10));
    ids.save();
    append(&log, 11..=20);
    assert_eq!(find(&mut Ids::new(Arc::new(log), Some(dir.path().into())), 15), Some(15));
}

#[test]
fn blocks_become_files_while_events_arrive_and_only_when_they_are_durable() {
    let dir = tempfile::tempdir().unwrap();
    let log = MemoryLog::pretending(journal_id());
    let mut ids = Ids::new(Arc::new(log.clone()), Some(dir.path().into()));
    assert_eq!(find(&mut ids, 1), None);
    let fill = |ids: &mut Ids, range: std::ops::RangeInclusive<u64>| {
        append(&log, range.clone());
        range.for_each(|id| ids.insert(uuid(id.into()), Seq::new(id)));
    };
    fill(&mut ids, 1..=BLOCK - 1);
    log.hold(true);
    let event = event_with_id(uuid(BLOCK.into())).encode();
    let last = log.append(&[&event], Level::Os, None, Timestamp::EPOCH).unwrap();
    ids.insert(uuid(BLOCK.into()), Seq::new(BLOCK));
    let event = event_with_id(uuid((BLOCK + 1).into())).encode();
    let next = log.append(&[&event], Level::Os, None, Timestamp::EPOCH).unwrap();
    ids.insert(uuid((BLOCK + 1).into()), Seq::new(BLOCK + 1));
    assert!(files(dir.path()).is_empty(), "not durable yet");
    assert_eq!(ids.find(uuid(BLOCK.into())).unwrap(), Some(Hit::OnItsWay(Seq::new(BLOCK))));
    log.hold(false);
    last.wait().unwrap();
    next.wait().unwrap();
    fill(&mut ids, BLOCK + 2..=2 * BLOCK + 1);
    assert_eq!(files(dir.path()), [block::file_name(1), block::file_name(BLOCK + 1)]);
    assert_eq!(find(&mut ids, 5), Some(5));
}

#[test]
fn a_seq_that_was_taken_back_and_given_to_another_event_is_no_hit() {
    let log = log_of(3);
    let mut ids = Ids::new(log, None);
    assert_eq!(find(&mut ids, 1), Some(1));
    // Written down for seq 2, but the journal kept another event there.
    ids.insert(uuid(77), Seq::new(2));
    assert_eq!(find(&mut ids, 77), None);
    // Beyond the tail there is nothing at all.
    ids.insert(uuid(78), Seq::new(4));
    assert_eq!(find(&mut ids, 78), None);
}

#[test]
fn the_window_holds_exactly_its_last_blocks_whatever_comes_first_the_block_or_the_restart() {
    let (dir, window) = (tempfile::tempdir().unwrap(), 2 * BLOCK);
    let log = MemoryLog::pretending(journal_id());
    let mut live = Ids::with_window(Arc::new(log.clone()), Some(dir.path().into()), window);
    assert_eq!(find(&mut live, 1), None, "loaded before anything is there");
    let mut count = 0;
    for last in [
        window - 1,
        window,
        window + 1,
        window + BLOCK - 1,
        window + BLOCK,
        window + BLOCK + 1,
        2 * window + 7,
    ] {
        append(&log, count + 1..=last);
        for id in count + 1..=last {
            live.insert(uuid(id.into()), Seq::new(id));
        }
        count = last;
        let oldest = last.saturating_sub(window) + 1;
        let restarted = || Ids::with_window(Arc::new(log.clone()), Some(dir.path().into()), window);
        let rebuilt = || Ids::with_window(Arc::new(log.clone()), None, window);
        for ids in [&mut live, &mut restarted(), &mut rebuilt()] {
            for id in [oldest, oldest + 1, last - 1, last] {
                assert_eq!(find(ids, id), Some(id), "of {last} events, window from {oldest}");
            }
        }
        // Beyond the window at most one block more is kept: memory is bounded.
        let kept = live.full.iter().map(Full::first).min().unwrap_or(1);
        assert!(kept + BLOCK + window > last, "block {kept} of {last}");
        assert!(kept <= oldest);
    }
    assert_eq!(find(&mut live, 1), None, "control: what is out of the window is forgotten");
}

#[test]
fn a_block_takes_the_column_of_one_that_has_left_the_window() {
    let dir = tempfile::tempdir().unwrap();
    let log = MemoryLog::pretending(journal_id());
    let mut live = Ids::new(Arc::new(log.clone()), Some(dir.path().into()));
    assert_eq!(find(&mut live, 1), None, "loaded before anything is there");
    let last = WINDOW + 3 * BLOCK + 5;
    append(&log, 1..=last);
    (1..=last).for_each(|id| live.insert(uuid(id.into()), Seq::new(id)));
    let restarted = Ids::new(Arc::new(log), Some(dir.path().into()));
    for mut ids in [live, restarted] {
        for id in (last - WINDOW + 1..=last).step_by(97) {
            assert_eq!(find(&mut ids, id), Some(id));
        }
        assert!((1..=3 * BLOCK).step_by(97).all(|id| find(&mut ids, id).is_none()), "control: forgotten");
    }
}

#[test]
fn what_the_log_took_back_is_forgotten_over_the_border_of_a_block() {
    let log = MemoryLog::pretending(journal_id());
    append(&log, 1..=BLOCK - 3);
    let mut ids = Ids::new(Arc::new(log.clone()), None);
    assert_eq!(find(&mut ids, 1), Some(1));
    ids.begin();
    // Written down, and then the log says that it never got there.
    (BLOCK - 2..=BLOCK + 5).for_each(|id| ids.insert(uuid(id.into()), Seq::new(id)));
    ids.next = Seq::new(BLOCK + 6);
    ids.begin();
    assert_eq!(ids.next(), Seq::new(BLOCK - 2));
    for id in BLOCK - 2..=BLOCK + 5 {
        assert_eq!(find(&mut ids, id), None);
    }
    // The same seqs go to others, and the block that was begun too early is filled.
    let others: Vec<u64> = (5_000..5_010).collect();
    for (id, seq) in others.iter().zip(BLOCK - 2..) {
        append(&log, [*id].into_iter());
        ids.insert(uuid((*id).into()), Seq::new(seq));
    }
    for (id, seq) in others.iter().zip(BLOCK - 2..) {
        assert_eq!(find(&mut ids, *id), Some(seq));
    }
    assert_eq!(find(&mut ids, 7), Some(7), "control: what stands is known");
}

#[test]
fn nothing_is_appended_after_the_log_took_something_back() {
    let log = MemoryLog::pretending(journal_id());
    append(&log, 1..=3);
    let mut ids = Ids::new(Arc::new(log.clone()), None);
    ids.begin();
    ids.next = Seq::new(6);
    let event = event_with_id(uuid(9)).encode();
    let append = |ids: &mut Ids| ids.append(&[&event], [uuid(9)], Level::Disk, Timestamp::EPOCH).unwrap();
    assert!(append(&mut ids).is_none());
    assert_eq!(log.tail(), Seq::new(4));
    ids.begin();
    assert_eq!(append(&mut ids).unwrap().first(), Seq::new(4));
    assert_eq!(ids.next(), Seq::new(5));
}

/// Found by fuzzing: a file whose checksums hold could name a seq beyond its own last one, or one past all numbers.
#[test]
fn a_file_that_names_seqs_it_does_not_know_is_as_good_as_none() {
    let part = |offset: u16| [&offset.to_le_bytes()[..], &[7; 16]].concat();
    let decode = |first: u64, last: u64, offset: u16| {
        let file = block::file_bytes(journal_id(), first, last, 1, &part(offset));
        block::Partial::decode(&file, journal_id(), first).map(|partial| partial.seqs.len())
    };
    assert_eq!(decode(1, 3, 2), Some(1));
    assert_eq!((decode(1, 3, 3), decode(1, u64::MAX, 0), decode(0, 0, 0)), (None, None, None));
}
