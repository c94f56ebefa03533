//! Why there is a lock: what two writers do to each other.

use super::{open, read};
use crate::sim::SimDisk;
use crate::{Level, Micros, Seq};

/// The control of [`crate::Lock`], whose own test is `tests/append.rs`: nothing else keeps a second writer away.
#[test]
fn control_without_the_lock_two_writers_take_each_other_what_was_acknowledged() {
    let disk = SimDisk::new(1);
    let (journal, _) = open(&disk, 1, 0).unwrap();
    journal.submit(&[b"before"], Micros::new(0), Level::Disk, None).unwrap().wait().unwrap();
    journal.close().unwrap();

    let mut writers = [open(&disk, 1, 1).unwrap().0, open(&disk, 1, 1).unwrap().0];
    for (writer, text) in writers.iter_mut().zip([b"from the first", b"from a second!"]) {
        let ack = writer.submit(&[text], Micros::new(1), Level::Disk, None).unwrap().wait().unwrap();
        assert_eq!(ack.last, Seq::new(2), "both are told that theirs is the second record");
    }
    drop(writers);
    let (journal, _) = open(&disk.after_kill(), 1, 2).unwrap();
    let second = read(journal.reader(Seq::new(2))).records;
    assert!(second.len() < 2, "one of two that were acknowledged is gone: {second:?}");
}
