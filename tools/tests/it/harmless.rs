//! Nothing that is read is changed; no input makes it panic; a writer at work is no damage.

use std::io::Read as _;
use std::process::Stdio;

use mnemosyne_journal::{Level, Micros};

use crate::support::{RunOut as _, World, contents, inspect, options};

/// Every command that reads, as it is called.
const COMMANDS: &[&[&str]] = &[
    &["info", "DIR"],
    &["dump", "DIR"],
    &["dump", "DIR", "--json"],
    &["verify", "DIR"],
    &["verify", "DIR", "--json"],
    &["cat", "DIR", "5"],
    &["explain", "DIR", "5"],
    &["stat", "DIR"],
    &["grep", "number", "DIR"],
    &["diff", "DIR", "DIR"],
    &["export", "DIR"],
    &["sessions", "DIR"],
    &["verify", "DIR", "--projections"],
];

#[test]
fn no_command_changes_what_it_reads() {
    for damaged in [false, true] {
        let world = World::with_events(20);
        if damaged {
            world.damage(0, |bytes| bytes[400..500].fill(0));
            world.damage(1, |bytes| bytes.truncate(700));
        }
        let before = contents(&world.data());
        for args in COMMANDS {
            let run = world.run(args);
            assert!([0, 4].contains(&run.code), "{args:?}: {} {}", run.code, run.stderr);
        }
        let new = world.path("new");
        world.run(&["salvage", "DIR", "-o", new.to_str().unwrap()]);
        assert_eq!(contents(&world.data()), before);
    }
}

/// A source of bytes that is the same in every run.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }
}

#[test]
fn random_bytes_never_make_it_panic() {
    let mut rng = Rng(0x5EED);
    for round in 0..12 {
        let world = World::with_events(12);
        let segments = world.segments().len();
        for segment in 0..segments {
            world.damage(segment, |bytes| match round % 3 {
                0 => bytes.iter_mut().for_each(|byte| *byte = rng.next() as u8),
                1 => (0..20).for_each(|_| {
                    let at = rng.below(bytes.len());
                    bytes[at] = rng.next() as u8;
                }),
                _ => bytes.truncate(rng.below(bytes.len())),
            });
        }
        std::fs::write(world.journal_dir().join("tail"), [rng.next() as u8; 64]).unwrap();
        std::fs::write(world.data().join("lock"), [rng.next() as u8; 64]).unwrap();
        for args in COMMANDS {
            let run = world.run(args);
            assert!([0, 1, 3, 4].contains(&run.code), "round {round} {args:?}: {} {}", run.code, run.stderr);
            assert!(!run.stderr.contains("panicked"), "round {round} {args:?}: {}", run.stderr);
        }
        let new = world.path("new");
        let run = world.run(&["salvage", "DIR", "-o", new.to_str().unwrap()]);
        assert!(!run.stderr.contains("panicked") && [0, 1, 4].contains(&run.code), "{}", run.stderr);
    }
}

#[test]
fn names_without_content_and_the_highest_seq_are_survived() {
    let world = World::with_events(3);
    std::fs::write(world.journal_dir().join("18446744073709551615.seg"), b"").unwrap();
    std::fs::write(world.journal_dir().join("00000000000000000000.seg"), b"x").unwrap();
    std::fs::write(world.journal_dir().join("another file"), b"x").unwrap();
    for args in COMMANDS {
        let run = world.run(args);
        assert!([0, 4].contains(&run.code), "{args:?}: {} {}", run.code, run.stderr);
    }
    let new = world.path("new");
    let run = world.run(&["salvage", "DIR", "-o", new.to_str().unwrap()]);
    assert!(run.code == 1 && run.stderr.contains("--renumber"), "{}", run.stderr);
}

#[test]
fn a_writer_at_work_is_no_damage() {
    let world = World::new();
    let journal = world.open(options().with_segment_bytes_target(60_000));
    journal.start_committer().unwrap();
    let (stop, mut written) = (std::sync::atomic::AtomicBool::new(false), 0_u64);
    let stopped = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut count = 0_u64;
            while !stop.load(stopped) {
                let payload = vec![b'x'; (count % 3_000) as usize];
                let now = Micros::new(count as i64);
                journal.submit(&[&payload, b"short"], now, Level::Disk, None).unwrap().wait().unwrap();
                count += 2;
            }
            count
        });
        let mut last = 0;
        for _ in 0..25 {
            let run = world.run(&["verify", "DIR", "--json"]);
            let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap_or_default();
            if run.code != 3 {
                assert_eq!(run.code, 0, "{report:#}");
                let seen = report["last_seq"].as_u64().unwrap();
                assert!(seen >= last, "what was there is there");
                last = seen;
            }
        }
        stop.store(true, stopped);
        written = writer.join().unwrap();
        assert!(last > 0, "something was seen while it was written");
    });
    journal.close().unwrap();
    assert_eq!(world.json(&["verify", "DIR"])["last_seq"], written);
}

#[test]
fn a_reader_that_goes_away_is_a_quiet_success() {
    let world = World::with_events(3_000);
    let mut child = inspect()
        .args(["export".as_ref(), world.data().as_os_str()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn text_from_events_cannot_reach_the_terminal_as_it_is() {
    let world = World::new();
    let journal = world.open(options());
    let hostile = "a\u{1b}[2Jb\u{202e}c";
    let prompt = mnemosyne::event::payload::PromptSubmitted { prompt: hostile.to_owned(), prompt_id: None };
    let event = crate::support::event(0);
    let event = mnemosyne::event::Event::new(event.id, event.time, hostile, event.source, prompt);
    journal
        .submit(&[&event.encode(), hostile.as_bytes()], Micros::new(1), Level::Disk, None)
        .unwrap()
        .wait()
        .unwrap();
    journal.close().unwrap();
    for args in
        [&["dump", "DIR"][..], &["cat", "DIR", "1"], &["explain", "DIR", "1"], &["explain", "DIR", "2"]]
    {
        let run = world.run(args);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(!run.stdout.contains(['\u{1b}', '\u{202e}']), "{args:?}: {:?}", run.stdout);
    }
    assert!(!inspect().arg("dump").arg("\u{1b}[2J").run().stderr.contains('\u{1b}'));
}
