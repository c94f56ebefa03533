//! Files that shrink under a reader. Whoever else writes, copies or restores files in the data directory may cut them at any
//! moment: a reader then sees fewer events, a gap or an error, never a signal, and a server goes on answering.

use crate::support::{Running, World};
use crate::world::{Dice, prompt, request, rounds, segments, tell};
use std::fs::OpenOptions;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A journal of several segments whose writer was killed, with events waiting in the inbox.
fn crashed() -> World {
    let world = World::new();
    crate::world::small_segments(&world.data());
    let server = world.server();
    for n in 0..40 {
        assert_eq!(server.post("/events/emit", &request(n, 10_000).to_string()).status, 200);
    }
    server.kill();
    for n in 0..5 {
        world.hook(&prompt("s", &format!("{n}")));
    }
    world
}

/// Who reads the files that are cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// It reads all with calls.
    Command,
    /// It has maps of the segments that are sealed, which nobody may cut.
    Server,
}

fn cuttable(world: &World, reader: Reader) -> Vec<PathBuf> {
    let data = world.data();
    let mut files = vec![data.join("journal/tail")];
    let segments = segments(world);
    let sealed = if reader == Reader::Server { segments.len().saturating_sub(1) } else { 0 };
    files.extend(segments[sealed..].iter().map(|(name, _)| data.join("journal").join(name)));
    for directory in ["inbox", "snapshots"] {
        files.extend(world.names_in(directory).into_iter().map(|name| data.join(directory).join(name)));
    }
    files.retain(|file| file.is_file());
    files
}

/// Cuts one of them somewhere; nothing if somebody else was quicker and took it away.
fn cut(world: &World, reader: Reader, dice: &mut Dice) {
    let files = cuttable(world, reader);
    let Some(file) = files.get(dice.below(files.len().max(1))) else { return };
    let Ok(open) = OpenOptions::new().write(true).open(file) else { return };
    let len = open.metadata().expect("its length").len();
    open.set_len(dice.next() % (len + 1)).expect("it can be cut");
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").args(["-r", "--"]).arg(from).arg(to).status().expect("cp");
    assert!(status.success());
}

#[test]
fn readers_survive_files_that_shrink_under_them() {
    let origin = crashed();
    let mut dice = Dice::thrown("files that shrink under readers");
    let (mut cuts, mut codes) = (0, std::collections::BTreeMap::<i32, usize>::new());
    for trial in 0..rounds(25, 500) {
        let world = World::new();
        copy(&origin.data(), &world.data());
        let command: &[&str] = match trial % 3 {
            0 => &["events", "--json"],
            1 => &["sessions", "--json"],
            _ => &["tail", "-n", "100", "--json"],
        };
        let mut reader = Running::start(&mut world.command(command));
        cuts += 2;
        cut(&world, Reader::Command, &mut dice);
        if reader.is_alive() {
            cut(&world, Reader::Command, &mut dice);
        }
        let ran = reader.wait();
        let code = ran.code.unwrap_or_else(|| panic!("{command:?} was ended by a signal: {ran}"));
        assert!([0, 1, 4].contains(&code) && !ran.stderr.contains("panicked"), "{command:?}: {ran}");
        *codes.entry(code).or_default() += 1;
    }
    tell(&format!("{cuts} files cut under readers, which ended with {codes:?}"));
}

#[test]
fn sealed_segments_that_become_shorter_in_the_middle_of_an_output_are_gaps() {
    let world = crashed();
    let segments = segments(&world);
    assert!(segments.len() > 3, "{segments:?}");
    // Nothing, half a header, one frame and a piece of the next.
    for (trial, bytes) in [0, 64, 15_000].into_iter().enumerate() {
        let copied = World::new();
        copy(&world.data(), &copied.data());
        let mut command = copied.command(["events", "--json"]);
        let mut reader = command.spawn().expect("the program");
        // It has begun, and cannot end: there is more to print than a pipe holds.
        let mut first = [0; 10];
        reader.stdout.as_mut().expect("a pipe").read_exact(&mut first).expect("the first of it");
        for (name, _) in &segments {
            let segment = OpenOptions::new().write(true).open(copied.data().join("journal").join(name));
            let segment = segment.expect("a segment");
            let length = segment.metadata().expect("its length").len();
            segment.set_len(length.min(bytes)).expect("it can be cut");
        }
        let output = reader.wait_with_output().expect("its end");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "cut {trial} to {bytes} bytes, {}: {said}", output.status);
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn a_server_goes_on_answering_when_its_files_shrink() {
    let world = crashed();
    let mut dice = Dice::thrown("files that shrink under a server");
    let mut server = world.server();
    let all = rounds(25, 500);
    for n in 0..all as u64 {
        cut(&world, Reader::Server, &mut dice);
        let read = server.get("/events?limit=1000");
        assert!([200, 500, 503].contains(&read.status), "{}", read.text());
        server.post("/events/emit", &request(1_000 + n, 5_000).to_string());
        assert!(server.is_alive(), "{}", server.stderr());
        assert_eq!(server.bare_request("GET", "/health", &[], b"").status, 200);
    }
    server.kill();
    let ran = world.run(["events", "--json"]);
    assert!(matches!(ran.code, Some(0 | 1 | 4)), "{ran}");
    tell(&format!("{all} files cut under a server"));
}

#[test]
fn a_reader_that_a_signal_ends_would_be_seen() {
    let ran = Running::start(Command::new("sh").args(["-c", "kill -BUS $$"])).wait();
    assert_eq!(ran.code, None);
}
