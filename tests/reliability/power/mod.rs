//! Power cuts, under the real file system calls of a real process.
//!
//! A child writes a journal on a file system of ours ([`disk`]) that loses what was not flushed. The power fails at an
//! operation that dice choose: in the middle of opening, of a batch, of rolling to the next segment, of a recovery from the cut
//! before. Or only the child dies there, and what it left unflushed waits for the next cut. Then the next child opens what is left.
//! Checked every time:
//!
//! - each acknowledged record is there, at its seq, byte for byte;
//! - what is there of one child is the beginning of what it submitted, in order, and no batch is half there;
//! - what a follower saw is still there: nobody sees what a cut can take back.
//!
//! The positive control is the same run on a disk that says it has flushed and has not.

pub(crate) mod disk;
pub(crate) mod store;

use crate::child;
use crate::support::{Ran, Running};
use crate::world::{Dice, rounds, skipped, tell};
use disk::PowerDisk;
use mnemosyne_journal::{Item, Journal, JournalId, Level, Micros, Options, RealDisk, Seq, View, Writer};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PLACE: &str = "MNEMOSYNE_RELIABILITY_PLACE";
const SEED: &str = "MNEMOSYNE_RELIABILITY_SEED";
const CHILD: &str = "MNEMOSYNE_RELIABILITY_CHILD";
/// Records that one child submits, if the power lets it.
const RECORDS: u64 = 60;
/// Children on one disk before it is formatted: later cuts then meet journals of many segments.
const CHILDREN_A_DISK: u64 = 12;

/// A record says who wrote it and which batch it belongs to, and fills up with bytes that follow from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Written {
    child: u64,
    number: u64,
    /// Of its batch: the place in it, and how many records it has.
    place: u64,
    count: u64,
}

impl Written {
    fn encode(self) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            [self.child, self.number, self.place, self.count].iter().flat_map(|n| n.to_le_bytes()).collect();
        let mut dice = Dice::from_seed(self.child << 32 | self.number);
        let fill = dice.below(if self.number.is_multiple_of(11) { 5_000 } else { 200 });
        bytes.extend((0..fill).map(|_| dice.next().to_le_bytes()[0]));
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Written> {
        let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let written = Written { child: word(0)?, number: word(8)?, place: word(16)?, count: word(24)? };
        (written.encode() == bytes).then_some(written)
    }
}

/// The child's part: open, follow, submit, tell.
pub(crate) fn write_until_the_power_fails() {
    // The test runner has begun a line.
    say("begins");
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is set"));
    let number = |name: &str| variable(name).parse::<u64>().expect("a number");
    let (child, mut dice) = (number(CHILD), Dice::from_seed(number(SEED)));
    let disk = Arc::new(RealDisk::new(PathBuf::from(variable(PLACE)).join("journal")));
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&dice.next().to_le_bytes());
    let options = Options::new(JournalId::from_bytes([3; 16]), seed).with_segment_bytes_target(16 * 1024);
    let (journal, _recovery) = match Journal::open(disk, options, Micros::new(1)) {
        Ok(opened) => opened,
        Err(error) => return say(&format!("not opened: {error}")),
    };
    if dice.below(2) == 0 && journal.start_committer().is_err() {
        return;
    }
    std::thread::scope(|scope| {
        let submitting = scope.spawn(|| submit(&journal, child, &mut dice));
        follow(&journal, || submitting.is_finished());
    });
    if journal.close().is_ok() {
        say("closed");
    }
}

/// Submits batches, some of them before the last one was acknowledged, and says what was acknowledged.
fn submit(journal: &Journal, child: u64, dice: &mut Dice) {
    let mut number = 0;
    while number < RECORDS {
        let mut tickets = Vec::new();
        for _ in 0..=dice.below(3) {
            let count = dice.below(4) as u64 + 1;
            let records: Vec<Vec<u8>> = (0..count)
                .map(|place| Written { child, number: number + place, place, count }.encode())
                .collect();
            let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
            let Ok(ticket) = journal.submit(&records, Micros::new(1), Level::Disk, None) else { return };
            tickets.push((ticket, number));
            number += count;
        }
        for (ticket, first) in tickets {
            let Ok(ack) = ticket.wait() else { return };
            for place in 0..=ack.last.since(ack.first) {
                say(&format!("acknowledged {} {}", ack.first.plus(place), first + place));
            }
        }
    }
}

/// Says what a reader of the live end sees.
fn follow(journal: &Journal, is_over: impl Fn() -> bool) {
    let (watch, mut reader) = (journal.watch(), journal.reader(journal.tail()));
    loop {
        let over = is_over();
        while let Ok(Some(item)) = reader.next() {
            if let Item::Record(record) = item {
                let written = Written::decode(record.payload).expect("a whole record of ours");
                say(&format!("seen {} {}", record.seq, written.number));
            }
        }
        if over {
            return;
        }
        watch.wait_beyond(reader.position().prev(), Duration::from_millis(2));
    }
}

/// One line in one write: a child that dies has said it whole or not at all.
fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(format!("power: {line}\n").as_bytes()).expect("the parent listens");
    stdout.flush().expect("the parent listens");
}

/// What the parent knows of one disk.
#[derive(Default)]
struct Known {
    /// Who wrote what at which seq, for all that was acknowledged or seen.
    must: BTreeMap<u64, (u64, u64, &'static str)>,
    acknowledged: usize,
    seen: usize,
}

impl Known {
    fn listen(&mut self, child: u64, ran: &Ran) {
        for line in ran.stdout.lines().filter_map(|line| line.strip_prefix("power: ")) {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words[at].parse::<u64>().expect("a number");
            let how = match words[0] {
                "acknowledged" => {
                    self.acknowledged += 1;
                    "acknowledged"
                }
                "seen" => {
                    self.seen += 1;
                    "seen by a follower"
                }
                _ => continue,
            };
            self.must.insert(number(1), (child, number(2), how));
        }
    }

    /// Compares with what a reader finds; what is wrong.
    fn check(&self, place: &Path) -> Result<(), String> {
        let disk = Arc::new(RealDisk::new(place.join("journal")));
        let (view, recovery) = match View::open(disk, Writer::Absent) {
            Ok(opened) => opened,
            Err(mnemosyne_journal::Error::NoJournal) if self.must.is_empty() => return Ok(()),
            Err(error) => return Err(format!("it cannot be opened: {error}")),
        };
        if !recovery.damage.is_empty() {
            return Err(format!("a false alarm: {:?}", recovery.damage));
        }
        let (mut found, mut reader) = (BTreeMap::new(), view.reader(Seq::FIRST));
        while let Some(item) = reader.next().map_err(|error| error.to_string())? {
            let Item::Record(record) = item else { return Err(format!("a gap: {item:?}")) };
            let written = Written::decode(record.payload);
            found.insert(record.seq.get(), written.ok_or(format!("{} is altered", record.seq))?);
        }
        for (seq, (child, number, how)) in &self.must {
            let is = found.get(seq).map(|written| (written.child, written.number));
            if is != Some((*child, *number)) {
                return Err(format!("record {number} of child {child}, {how} at {seq}: there is {is:?}"));
            }
        }
        in_order(&found)
    }
}

/// Whether these are, child by child, the beginning of what it submitted, with no batch half there.
fn in_order(found: &BTreeMap<u64, Written>) -> Result<(), String> {
    let mut before: Option<Written> = None;
    for (expected, (seq, written)) in (1..).zip(found) {
        if *seq != expected {
            return Err(format!("seq {seq} stands where {expected} should"));
        }
        let follows = match before {
            Some(last) if last.child == written.child => {
                let next = if last.place + 1 == last.count { 0 } else { last.place + 1 };
                written.number == last.number + 1 && written.place == next
            }
            Some(last) if last.place + 1 != last.count => false,
            Some(last) => written.child > last.child && written.number == 0,
            None => written.number == 0,
        };
        if !follows {
            return Err(format!("at {seq}: {written:?} after {before:?}"));
        }
        before = Some(*written);
    }
    match before {
        Some(last) if last.place + 1 != last.count => Err(format!("half a batch at the end: {last:?}")),
        _ => Ok(()),
    }
}

/// What many cuts came to.
#[derive(Debug, Default)]
struct Outcome {
    cuts: usize,
    /// Children that died at such an operation, and the power stayed on.
    deaths: usize,
    acknowledged: usize,
    seen: usize,
    /// The first thing that was wrong.
    wrong: Option<String>,
}

/// A mounted disk in a directory of its own. `None` where there is no file system to be had.
fn mounted(test: &str, lies: bool) -> Option<(PowerDisk, fuser::BackgroundSession, tempfile::TempDir)> {
    let dir = tempfile::tempdir().expect("a directory");
    let (disk, session) = mounted_at(test, lies, dir.path())?;
    Some((disk, session, dir))
}

/// The same at `place`, which is there and empty.
pub(crate) fn mounted_at(
    test: &str,
    lies: bool,
    place: &Path,
) -> Option<(PowerDisk, fuser::BackgroundSession)> {
    if !Path::new("/dev/fuse").exists() || !rustix::process::geteuid().is_root() {
        skipped(&format!("{test}: no /dev/fuse or no root: nothing failed"));
        return None;
    }
    let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let disk = PowerDisk::new(owner, lies);
    match fuser::spawn_mount(disk.clone(), place, &fuser::Config::default()) {
        Ok(session) => Some((disk, session)),
        Err(error) => {
            skipped(&format!("{test}: {error}: nothing failed"));
            None
        }
    }
}

/// Takes the disk away. A child that another test starts at this instant holds our descriptors until it has become
/// its program, so that the disk is busy: then it is detached, and goes when the last of them is closed.
pub(crate) fn unmount(session: fuser::BackgroundSession, place: &Path) {
    if session.umount_and_join().is_err() {
        let detached = std::process::Command::new("umount").arg("-l").arg(place).status();
        let gone = detached.is_ok_and(|status| status.success()) || !is_mounted(place);
        assert!(gone, "the disk at {} stays mounted", place.display());
    }
}

fn is_mounted(place: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let device = |path: &Path| path.metadata().map(|metadata| metadata.dev()).ok();
    device(place) != place.parent().and_then(device)
}

/// Cuts the power so often, or until something is wrong.
fn cut(test: &str, cuts: usize, lies: bool) -> Option<Outcome> {
    let (disk, session, dir) = mounted(test, lies)?;
    let mut dice = Dice::thrown(test);
    let (mut outcome, mut known, mut child) = (Outcome::default(), Known::default(), 0);
    while outcome.cuts < cuts && outcome.wrong.is_none() {
        if child % CHILDREN_A_DISK == 0 {
            disk.format();
            outcome.acknowledged += known.acknowledged;
            outcome.seen += known.seen;
            known = Known::default();
        }
        disk.fail_at(dice.below(160) as u64 + 1);
        known.listen(child, &start(dir.path(), child, dice.next()));
        if dice.below(4) == 0 {
            disk.revive();
            outcome.deaths += 1;
        } else {
            outcome.cuts += usize::from(disk.restore(&mut dice));
        }
        child += 1;
        outcome.wrong = known.check(dir.path()).err().map(|wrong| format!("after child {child}: {wrong}"));
    }
    outcome.acknowledged += known.acknowledged;
    outcome.seen += known.seen;
    unmount(session, dir.path());
    Some(outcome)
}

fn start(place: &Path, child: u64, seed: u64) -> Ran {
    let mut command = child::command("power");
    command.env(PLACE, place).env(CHILD, child.to_string()).env(SEED, seed.to_string());
    let ran = Running::start(command.stdout(Stdio::piped()).stderr(Stdio::piped())).wait();
    assert_eq!(ran.code, Some(0), "a child ends well whatever its disk does: {ran}");
    ran
}

#[test]
fn a_power_cut_takes_nothing_that_was_acknowledged_or_seen() {
    let begun = Instant::now();
    let Some(outcome) = cut("power cuts", rounds(50, 10_000), false) else { return };
    tell(&format!("{outcome:?} in {:?}", begun.elapsed()));
    assert_eq!(outcome.wrong, None);
    assert!(outcome.acknowledged > outcome.cuts && outcome.seen > outcome.cuts, "too little happened");
}

#[test]
fn the_same_cuts_on_a_disk_that_lies_are_noticed() {
    let Some(outcome) = cut("power cuts on a disk that lies", 50, true) else { return };
    tell(&format!("{outcome:?}"));
    assert!(outcome.wrong.is_some(), "a harness that cannot go red proves nothing");
}

/// Whoever makes a directory or renames a segment and dies leaves names that are not durable. The next process must not
/// acknowledge anything that goes with them.
#[test]
fn a_death_at_each_step_of_the_first_opening_and_a_cut_in_the_next_life_lose_nothing() {
    let Some((disk, session, dir)) = mounted("deaths while the journal is made", false) else { return };
    let mut dice = Dice::thrown("deaths while the journal is made");
    for step in 1..=16 {
        disk.format();
        let mut known = Known::default();
        disk.fail_at(step);
        known.listen(0, &start(dir.path(), 0, dice.next()));
        disk.revive();
        known.listen(1, &start(dir.path(), 1, dice.next()));
        disk.restore(&mut dice);
        let whole = known.acknowledged >= usize::try_from(RECORDS).expect("few");
        assert!(whole, "death at step {step}: the second child had no whole life");
        assert_eq!(known.check(dir.path()), Ok(()), "death at step {step}");
    }
    unmount(session, dir.path());
}
