//! Nothing that is read is changed; no input makes it panic; a writer at work is no damage.

use std::fs::{self, File, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use mnemosyne_journal::format::SEGMENT_HEADER_BYTES;
use mnemosyne_journal::{Level, Micros};

use crate::support::{RunOut as _, World, contents, inspect, options, skipped};

/// Who is nobody in particular: what root may do, no permission keeps it from.
const NOBODY: u32 = 65_534;

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

/// Gives every directory below `path`, and itself, the one mode, and every file the other.
fn set_modes(path: &Path, dirs: u32, files: u32) {
    if path.is_dir() {
        fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
        fs::read_dir(path).unwrap().for_each(|name| set_modes(&name.unwrap().path(), dirs, files));
        fs::set_permissions(path, Permissions::from_mode(dirs)).unwrap();
    } else {
        fs::set_permissions(path, Permissions::from_mode(files)).unwrap();
    }
}

fn give_away(path: &Path, to: u32) {
    chown(path, Some(to), Some(to)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|name| give_away(&name.unwrap().path(), to));
    }
}

/// Runs programs as the owner of a directory whom permissions bind: as root they are given to nobody.
struct Bound {
    /// A copy of the tool that this owner can reach.
    tool: PathBuf,
    as_user: Option<u32>,
}

impl Bound {
    fn of(world: &World) -> Bound {
        let tool = world.path("tool");
        // By another process: a file that this one has open for writing cannot be run by a thread beside.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_mnemosyne-inspect")).arg(&tool).status();
        assert!(copied.unwrap().success());
        let root = world.path("");
        let as_user = (fs::metadata(&root).unwrap().uid() == 0).then_some(NOBODY);
        if let Some(user) = as_user {
            give_away(&root, user);
        }
        Bound { tool, as_user }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().stdin(Stdio::null());
        if let Some(user) = self.as_user {
            command.uid(user).gid(user);
        }
        command
    }

    /// Whether the tool runs, and permissions keep its user from writing.
    fn is_bound(&self, dir: &Path) -> bool {
        let intruder = dir.join("intruder");
        let runs = self.command(&self.tool).arg("--version").output();
        let touch = self.command(Path::new("/bin/sh")).args(["-c", ": > \"$0\""]).arg(&intruder).output();
        let refused = touch.is_ok_and(|ran| !ran.status.success()) && !intruder.exists();
        refused && runs.is_ok_and(|ran| ran.status.success())
    }
}

#[test]
fn a_directory_that_may_not_be_written_is_read_like_any_other_and_stays_as_it_is() {
    for damaged in [false, true] {
        let world = World::with_events(20);
        fs::create_dir(world.data().join("inbox")).unwrap();
        if damaged {
            world.damage(0, |bytes| bytes[400..500].fill(0));
            world.damage(1, |bytes| bytes.truncate(700));
        }
        let expected: Vec<_> = COMMANDS.iter().map(|args| world.run(args)).collect();
        let bound = Bound::of(&world);
        set_modes(&world.data(), 0o500, 0o400);
        let before = contents(&world.data());
        let is_bound = bound.is_bound(&world.journal_dir());
        let run = |args: &[&str]| {
            let data = world.data().into_os_string();
            let args = args.iter().map(|arg| if *arg == "DIR" { data.clone() } else { (*arg).into() });
            bound.command(&bound.tool).args(args).run()
        };
        let (mut runs, mut salvaged) = (Vec::new(), None);
        if is_bound {
            runs = COMMANDS.iter().map(|args| run(args)).collect();
            let new = world.path("new");
            salvaged = Some(run(&["salvage", "DIR", "-o", new.to_str().unwrap()]));
        }
        let after = contents(&world.data());
        // Who is not root cannot remove it otherwise.
        set_modes(&world.data(), 0o700, 0o600);
        let Some(salvaged) = salvaged else {
            skipped("permissions bind nobody here, or the tool cannot be run as somebody they bind");
            return;
        };
        assert!(after == before, "what was read has changed");
        assert_eq!(salvaged.code, if damaged { 4 } else { 0 }, "{}", salvaged.stderr);
        for ((args, expected), ran) in COMMANDS.iter().zip(&expected).zip(&runs) {
            assert!([0, 4].contains(&ran.code), "{args:?}: {} {}", ran.code, ran.stderr);
            assert_eq!((ran.code, &ran.stdout), (expected.code, &expected.stdout), "{args:?} {}", ran.stderr);
        }
    }
}

/// The segments of a journal, which are cut and made whole again.
struct Cut {
    files: Vec<(File, Vec<u8>)>,
}

impl Cut {
    fn of(world: &World) -> Cut {
        let open = |path: &PathBuf| {
            let file = File::options().write(true).open(path).unwrap();
            (file, fs::read(path).unwrap())
        };
        Cut { files: world.segments().iter().map(open).collect() }
    }

    fn to(&self, bytes: usize) {
        for (file, whole) in &self.files {
            file.set_len(bytes.min(whole.len()) as u64).unwrap();
        }
    }

    fn undo(&self) {
        self.files.iter().for_each(|(file, whole)| file.write_all_at(whole, 0).unwrap());
    }
}

/// Nothing, half a segment header, one behind a batch header, the middle of a batch.
const CUTS: [usize; 4] = [0, SEGMENT_HEADER_BYTES / 2, SEGMENT_HEADER_BYTES + 97, 1_000];

#[test]
fn segments_that_become_shorter_in_the_middle_of_an_output_are_damage_at_most() {
    let world = World::with_events(900);
    let segments = Cut::of(&world);
    for command in ["dump", "export"] {
        for cut in CUTS {
            let mut child = inspect()
                .arg(command)
                .arg(world.data())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            // It has begun, and cannot end: there is more to print than a pipe holds.
            child.stdout.as_mut().unwrap().read_exact(&mut [0; 10]).unwrap();
            segments.to(cut);
            let output = child.wait_with_output().unwrap();
            segments.undo();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.signal(), None, "{command} {cut}: {said}");
            assert_eq!(output.status.code(), Some(4), "{command} {cut}: the cut was met: {said}");
            assert!(!said.contains("panicked"), "{command} {cut}: {said}");
        }
    }
    assert_eq!(world.run(&["verify", "DIR"]).code, 0, "all is whole again");
}

#[test]
fn segments_that_become_shorter_and_longer_all_the_time_are_damage_at_most() {
    let world = World::with_events(90);
    let segments = Cut::of(&world);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let cutter = scope.spawn(|| {
            for cut in CUTS.into_iter().cycle() {
                segments.to(cut);
                segments.undo();
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let runs: Vec<_> = [["dump", "DIR"], ["export", "DIR"], ["verify", "DIR"]]
            .iter()
            .cycle()
            .take(45)
            .map(|args| (args[0], world.run(args)))
            .collect();
        stop.store(true, Ordering::Relaxed);
        cutter.join().unwrap();
        for (command, run) in runs {
            assert!([0, 4].contains(&run.code), "{command}: {} {}", run.code, run.stderr);
            assert!(!run.stderr.contains("panicked"), "{command}: {}", run.stderr);
        }
    });
    assert_eq!(world.run(&["verify", "DIR"]).code, 0, "all is whole again");
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
