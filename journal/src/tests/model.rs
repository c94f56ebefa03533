//! Random work against a vector: whatever happens to process, power and disk, what was acknowledged is there, and
//! nothing but a prefix of what was submitted.

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

use super::{Read, open, payload, read, with_seeds};
use crate::catalog::list_bases;
use crate::disk::Disk as _;
use crate::format::Footer;
use crate::format::segment::segment_name;
use crate::sim::{Call, Rng, SimDisk};
use crate::{Error, Journal, Level, Micros, Recovery, Seq, Ticket, View, Writer};

/// A journal at work and what must be true of it.
struct Run {
    seed: u64,
    rng: Rng,
    disk: SimDisk,
    journal: Journal,
    now: i64,
    openings: u64,
    /// Payload of each seq, as given out last.
    submitted: Vec<Vec<u8>>,
    /// Last seqs of submissions.
    ends: Vec<u64>,
    /// The highest seqs acknowledged at each level.
    os: u64,
    durable: u64,
    tickets: Vec<Ticket>,
    may_refuse: bool,
}

impl Run {
    fn new(seed: u64, disk: SimDisk) -> Run {
        let (journal, _) = open(&disk, seed, 0).unwrap();
        let (submitted, ends, tickets) = Default::default();
        let rng = Rng::new(seed ^ 0xABCD);
        Run {
            seed,
            rng,
            disk,
            journal,
            now: 0,
            openings: 0,
            submitted,
            ends,
            os: 0,
            durable: 0,
            tickets,
            may_refuse: false,
        }
    }

    /// On a full disk: what was refused, perhaps while somebody else waited, is gone and its seqs are given again.
    fn forget_refused(&mut self) {
        let last = self.journal.tail().prev().get();
        assert!(last >= self.os.max(self.durable), "something acknowledged was refused");
        self.submitted.truncate(last as usize);
        self.ends.retain(|&end| end <= last);
    }

    fn submit(&mut self) -> Result<(), Error> {
        if self.may_refuse {
            self.forget_refused();
        }
        let payloads: Vec<Vec<u8>> = (0..=self.rng.below(3)).map(|_| payload(&mut self.rng)).collect();
        let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        // Clocks jump either way.
        self.now += self.rng.below(4_000) as i64 - 1_000;
        let level = if self.rng.chance(50) { Level::Disk } else { Level::Os };
        let expected = self.rng.chance(20).then(|| self.journal.tail());
        let ticket = self.journal.submit(&slices, Micros::new(self.now), level, expected)?;
        assert_eq!(ticket.first().get(), self.submitted.len() as u64 + 1);
        self.submitted.extend(payloads);
        self.ends.push(ticket.last().get());
        self.tickets.push(ticket);
        Ok(())
    }

    fn wait_for_one(&mut self) -> Result<(), Error> {
        if self.tickets.is_empty() {
            return Ok(());
        }
        let index = self.rng.below(self.tickets.len() as u64) as usize;
        let ack = self.tickets.swap_remove(index).wait()?;
        self.os = self.os.max(ack.last.get());
        if ack.level == Level::Disk {
            self.durable = self.durable.max(ack.last.get());
            assert!(self.journal.durable() >= ack.last);
        }
        Ok(())
    }

    /// Some work, until it is enough or something fails.
    fn work(&mut self, steps: u64) -> Result<(), Error> {
        for _ in 0..steps {
            // Some failures of a dying disk concern nobody: the hint for followers is left out.
            if self.disk.is_cut() {
                return Err(Error::Closed);
            }
            match self.rng.below(10) {
                0..=4 => self.submit()?,
                5..=7 => self.wait_for_one()?,
                8 => self.journal.flush(if self.rng.chance(50) { Level::Disk } else { Level::Os })?,
                _ => self.check_readers(),
            }
            // Readers see the durable tail: a later crash may not take it back.
            self.durable = self.durable.max(self.journal.durable().get());
        }
        Ok(())
    }

    fn check_readers(&mut self) {
        let durable = self.journal.durable().get();
        let from = 1 + self.rng.below(durable + 1);
        let Read { records, gaps } = read(self.journal.reader(Seq::new(from)));
        assert!(gaps.is_empty());
        assert_eq!(records.len() as u64, durable + 1 - from.min(durable + 1));
        for (seq, bytes) in records {
            assert_eq!(bytes, self.submitted[seq as usize - 1], "seq {seq}");
        }
    }

    /// After whatever happened: opens what is left on `disk`, and checks that at least `kept` records are there.
    fn reopen(&mut self, disk: SimDisk, kept: u64) -> Recovery {
        self.tickets.clear();
        self.openings += 1;
        let seen = View::open(std::sync::Arc::new(disk.copied(9)), Writer::Absent)
            .map(|(view, _)| read(view.reader(Seq::FIRST)));
        let (journal, recovery) = open(&disk, self.seed * 1_000 + self.openings, self.now).unwrap();
        let found = read(journal.reader(Seq::FIRST));
        assert_eq!(found.gaps, [], "a gap where nothing was damaged");
        assert!(recovery.damage.is_empty(), "a false alarm: {recovery:?}");
        assert!(recovery.unsealed.is_none());
        let last = found.records.len() as u64;
        assert!(last >= kept, "acknowledged up to {kept}, found up to {last}: {recovery:?}");
        assert!(last == 0 || self.ends.contains(&last), "a submission was cut in two at {last}");
        for (seq, bytes) in &found.records {
            assert_eq!(*bytes, self.submitted[*seq as usize - 1], "seq {seq} has another payload");
        }
        assert_eq!((journal.durable().get(), journal.tail().get()), (last, last + 1));
        if let Ok(seen) = seen {
            assert_eq!(seen, found, "a view and the writer disagree");
        }
        self.submitted.truncate(last as usize);
        self.ends.retain(|&end| end <= last);
        (self.os, self.durable) = (last, last);
        (self.disk, self.journal) = (disk, journal);
        recovery
    }

    /// Ends this life of the process in one of the ways there are.
    fn end(&mut self) {
        match self.rng.below(6) {
            0 => {
                self.journal.clone().close().unwrap();
                let disk = self.disk.after_kill();
                let all = self.submitted.len() as u64;
                assert!(self.reopen(disk, all).clean);
            }
            1 => {
                self.journal.clone().close().unwrap();
                self.disk.power_cut();
                let all = self.submitted.len() as u64;
                assert!(self.reopen(self.disk.restarted(), all).clean);
            }
            2 | 3 => {
                let disk = self.disk.after_kill();
                self.append_zeros(&disk);
                self.reopen(disk, self.os.max(self.durable));
            }
            _ => {
                self.disk.power_cut();
                let disk = self.disk.restarted();
                self.append_zeros(&disk);
                self.reopen(disk, self.durable);
            }
        }
    }

    /// What the filling thread of a server leaves behind when it dies.
    fn append_zeros(&mut self, disk: &SimDisk) {
        let Some(name) = list_bases(disk).unwrap().last().map(|base| segment_name(*base)) else { return };
        let mut bytes = disk.content(&name).unwrap();
        if Footer::at_end_of(&bytes).is_none() && self.rng.chance(50) {
            bytes.resize(bytes.len() + self.rng.below(3_000) as usize, 0);
            disk.put(&name, bytes);
        }
    }
}

/// Four lives of a process: what was called of the disk, and the files with every byte that stands in them in the end.
fn lives(seed: u64, disk: SimDisk) -> (Vec<String>, Vec<(String, Option<Vec<u8>>)>) {
    let mut run = Run::new(seed, disk);
    for _ in 0..4 {
        let steps = 1 + run.rng.below(25);
        run.work(steps).unwrap();
        run.end();
    }
    let mut files = Vec::new();
    for (dir, before) in [("", ""), ("quarantine", "quarantine/")] {
        for name in run.disk.list(dir).unwrap() {
            let name = format!("{before}{name}");
            let content = run.disk.content(&name);
            files.push((name, content));
        }
    }
    (run.disk.trace(), files)
}

#[test]
fn acknowledged_records_survive_any_order_of_work_and_ends() {
    with_seeds(2_000, |seed| drop(lives(seed, SimDisk::new(seed))));
}

#[test]
fn the_same_seed_makes_the_same_run() {
    with_seeds(1_000, |seed| {
        let (first, second) = (lives(seed, SimDisk::new(seed)), lives(seed, SimDisk::new(seed)));
        assert_eq!(first.0, second.0);
        // Not with both printed: a life leaves many bytes.
        assert!(first.1 == second.1, "the same calls left other bytes");
    });
}

#[test]
fn control_another_seed_makes_another_run() {
    for seed in 0..20 {
        let (first, second) = (lives(seed, SimDisk::new(seed)), lives(seed + 1, SimDisk::new(seed + 1)));
        assert!(first.0 != second.0 && first.1 != second.1, "seeds {seed} and {}", seed + 1);
    }
}

#[test]
fn control_a_disk_whose_flush_does_nothing_is_caught() {
    let caught = (0..50)
        .filter(|&seed| {
            let disk = SimDisk::new(seed);
            disk.let_syncs_do_nothing();
            std::panic::catch_unwind(|| lives(seed, disk)).is_err()
        })
        .count();
    assert!(caught > 25, "only {caught} of 50 seeds noticed that nothing was flushed");
}

#[test]
fn a_power_cut_in_the_middle_of_any_call_keeps_what_was_acknowledged() {
    with_seeds(2_000, |seed| {
        let mut run = Run::new(seed, SimDisk::new(seed));
        for _ in 0..3 {
            run.disk.cut_at(run.disk.calls() + run.rng.below(40));
            let _cut_or_not = run.work(60);
            run.disk.power_cut();
            // Recovery itself is cut as well, twice; nothing new was acknowledged in between.
            let kept = run.durable;
            let mut disk = run.disk.restarted();
            for _ in 0..2 {
                disk.cut_at(disk.calls() + run.rng.below(16));
                if open(&disk, seed + 77, 0).is_ok() {
                    break;
                }
                disk = disk.restarted();
            }
            disk.power_cut();
            run.reopen(disk.restarted(), kept);
        }
    });
}

#[test]
fn after_a_failed_flush_nothing_is_acknowledged_and_nothing_acknowledged_is_lost() {
    with_seeds(1_000, |seed| {
        let mut run = Run::new(seed, SimDisk::new(seed));
        for life in 0..3 {
            let call = if run.rng.chance(70) { Call::Sync } else { Call::Write };
            run.disk.fail(call, run.rng.below(12), Errno::IO, life == 1);
            if let Err(error) = run.work(60) {
                assert!(matches!(error, Error::Poisoned { .. }), "{error}");
                let (durable, submitted) = (run.journal.durable(), run.submitted.len());
                run.disk.heal();
                // The disk is well again, and that changes nothing: the cache may lie about what it lost.
                assert!(matches!(run.submit(), Err(Error::Poisoned { .. })));
                assert!(run.journal.flush(Level::Disk).is_err());
                while !run.tickets.is_empty() {
                    let _ok_only_if_reached_before = run.wait_for_one();
                }
                assert_eq!((run.journal.durable(), run.submitted.len()), (durable, submitted));
                run.check_readers();
                assert!(run.journal.clone().close().is_err());
            }
            run.disk.heal();
            if run.rng.chance(50) {
                // The process restarts under the same kernel, whose cache shows what the disk may not have.
                let kept = run.durable;
                run.reopen(run.disk.after_kill(), kept);
                run.disk.power_cut();
                let all = run.submitted.len() as u64;
                run.reopen(run.disk.restarted(), all);
            } else {
                run.disk.power_cut();
                let kept = run.durable;
                run.reopen(run.disk.restarted(), kept);
            }
        }
    });
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_space() {
    let all_refused = AtomicU64::new(0);
    with_seeds(1_000, |seed| {
        let mut run = Run::new(seed, SimDisk::new(seed));
        let mut refused = 0;
        run.may_refuse = true;
        for _ in 0..6 {
            run.disk.set_capacity(Some(1_000 + run.rng.below(12_000)));
            if let Err(error) = run.work(40) {
                assert!(matches!(error, Error::StorageFull { .. }), "{error}");
                refused += 1;
            }
            while !run.tickets.is_empty() {
                let _some_were_written_before = run.wait_for_one();
            }
            run.forget_refused();
            run.check_readers();
            run.disk.set_capacity(None);
            run.work(10).unwrap();
        }
        run.disk.power_cut();
        let kept = run.durable;
        run.reopen(run.disk.restarted(), kept);
        all_refused.fetch_add(refused, Ordering::Relaxed);
    });
    assert!(all_refused.load(Ordering::Relaxed) > 100, "the disk was never full");
}
