//! `backup` over the real program: the copy is a prefix of the journal, byte for byte, whole by itself, and made while 64
//! emitters write; a target that is not empty is refused and untouched; a copy of a copy is the same.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::retention_gc::{POLICY, filled};
use crate::support::{Ran, World, kinds};
use serde_json::{Value, json};

/// Segments so small that a test has many of them.
pub(crate) fn small_segments(world: &World, more: &str) {
    std::fs::create_dir_all(world.data()).expect("the data directory");
    std::fs::write(world.data().join("config.toml"), format!("[journal]\nsegment_bytes = 65536\n{more}"))
        .expect("a configuration");
}

pub(crate) fn event(n: usize, bytes: usize) -> String {
    json!({"kind": "custom", "payload": {"name": "load", "data": {"n": n, "text": "x".repeat(bytes)}}})
        .to_string()
}

/// Opens a copy with the program itself.
fn on(world: &World, dir: &Path, args: &[&str]) -> Ran {
    let dir = dir.to_str().expect("UTF-8");
    world.run(args.iter().copied().chain(["--data-dir", dir]))
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let files =
        std::fs::read_dir(dir.join("journal")).expect("a journal").map(|file| file.expect("a file").path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == "seg")).collect();
    files.sort();
    files
}

/// Of the frame at the end of a copy, which proves that all before it was durable.
const PROOF_BYTES: usize = mnemosyne_journal::format::batch::BATCH_HEADER_BYTES;

/// Each segment of the copy begins the original's of the same name, and all but the last are all of it; behind that comes its proof.
fn check_prefix(original: &Path, copy: &Path) {
    let copied = segments(copy);
    for (index, path) in copied.iter().enumerate() {
        let of = original.join("journal").join(path.file_name().expect("a name"));
        let (copied_bytes, bytes) =
            (std::fs::read(path).expect("it"), std::fs::read(&of).expect("its original"));
        let is_last = index + 1 == copied.len();
        let proof = if is_last { PROOF_BYTES } else { 0 };
        assert!(bytes.starts_with(&copied_bytes[..copied_bytes.len() - proof]), "{}", path.display());
        assert!(is_last || bytes.len() == copied_bytes.len(), "{}", path.display());
        let (a, b) = (std::fs::metadata(path).expect("it"), std::fs::metadata(of).expect("its original"));
        assert!(a.ino() != b.ino() || a.dev() != b.dev(), "a copy, no second name");
    }
}

fn check_modes(dir: &Path) {
    for found in std::fs::read_dir(dir).expect("a directory") {
        let found = found.expect("an entry");
        let meta = found.metadata().expect("its mode");
        assert_eq!(
            meta.mode() & 0o777,
            if meta.is_dir() { 0o700 } else { 0o600 },
            "{}",
            found.path().display()
        );
        if meta.is_dir() {
            check_modes(&found.path());
        }
    }
}

#[test]
fn a_copy_made_while_64_emitters_write_is_a_whole_prefix() {
    let world = World::new();
    small_segments(&world, "");
    let server = world.server();
    for n in 0..100 {
        assert_eq!(server.post("/events/emit", &event(n, 2_000)).status, 200);
    }
    let stop = AtomicBool::new(false);
    let target = world.home().join("copies/first");
    let (before, copied) = std::thread::scope(|scope| {
        for emitter in 0..64 {
            let (server, stop) = (&server, &stop);
            scope.spawn(move || {
                for n in 0.. {
                    if stop.load(Ordering::Acquire) {
                        return;
                    }
                    let answer = server.post("/events/emit", &event(emitter * 10_000 + n, 500));
                    assert_eq!(answer.status, 200, "{}", answer.text());
                }
            });
        }
        let tail = || server.get("/health").json()["tail"].as_u64().expect("a tail");
        let before = tail();
        let ran = world.run(["backup", "--json", target.to_str().expect("UTF-8")]);
        stop.store(true, Ordering::Release);
        assert_eq!(ran.code, Some(0), "{ran}");
        (before, ran.json())
    });
    let (first, last) = (copied["first_seq"].as_u64(), copied["last_seq"].as_u64().expect("a last seq"));
    assert_eq!((first, &copied["damage"]), (Some(1), &json!([])));
    assert!(last >= before, "what was durable when it began is in it: {last} of {before}");
    assert!(copied["segments"].as_u64().expect("a count") >= 3, "{copied}");
    assert_eq!(copied["head"].as_str().map(str::len), Some(64));
    check_prefix(&world.data(), &target);
    check_modes(&target);

    // As it was made, before anybody opens it.
    let damaged = world.home().join("copies/damaged");
    let copied = std::process::Command::new("cp").arg("-r").args([&target, &damaged]).status();
    assert!(copied.expect("cp").success());

    let shown = on(&world, &target, &["events", "--json"]);
    assert_eq!(shown.code, Some(0), "{shown}");
    let shown = shown.json_lines();
    assert_eq!(shown.len() as u64, last, "every seq once");
    assert!(shown.iter().zip(1..).all(|(event, seq)| event["seq"].as_u64() == Some(seq)));
    let original: Vec<Value> = world.events(["--limit", &last.to_string()]);
    assert_eq!(shown, original);
    server.stop();

    // Damage of its last record is damage, and no write that a crash stopped.
    let path = segments(&damaged).pop().expect("a segment");
    let mut bytes = std::fs::read(&path).expect("it");
    let at = bytes.len() - PROOF_BYTES - 50;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).expect("written");
    let looked = on(&world, &damaged, &["events", "--json"]);
    assert_eq!(looked.code, Some(4), "{looked}");

    // A copy of the copy, which has a run on record by then, begins with the same bytes.
    let second = world.home().join("copies/second");
    let ran = on(&world, &target, &["backup", "--json", second.to_str().expect("UTF-8")]);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(ran.json()["last_seq"].as_u64() > Some(last), "{ran}");
    let again = on(&world, &second, &["events", "--json", "--limit", &last.to_string()]);
    assert_eq!(again.json_lines(), shown);
    // It was written to, and nothing had crashed.
    let recovered = on(&world, &target, &["events", "--json", "--kind", "journal_recovered"]);
    assert_eq!((recovered.code, recovered.stdout.as_str()), (Some(0), ""), "{recovered}");
}

#[test]
fn without_a_server_it_takes_in_what_waits_and_copies_the_configuration() {
    let world = World::new();
    small_segments(&world, "");
    world.hook(
        &json!({"hook_event_name": "UserPromptSubmit", "session_id": "s", "prompt": "hello", "cwd": "/p"}),
    );
    let target = world.home().join("copy");
    std::fs::create_dir(&target).expect("an empty directory");
    let ran = world.ok(["backup", target.to_str().expect("UTF-8")]);
    assert!(ran.stdout.contains("head ") && ran.stdout.contains("copied "), "{ran}");
    let shown = on(&world, &target, &["events", "--json"]).json_lines();
    assert!(kinds(&shown).contains(&"prompt_submitted"), "{shown:?}");
    let config = |dir: &Path| std::fs::read(dir.join("config.toml")).expect("a configuration");
    assert_eq!(config(&target), config(&world.data()));
}

#[test]
fn a_target_that_is_not_empty_is_refused_and_stays_as_it_is() {
    let world = World::new();
    world.hook(&json!({"hook_event_name": "Stop", "session_id": "s", "cwd": "/p"}));
    let full = world.home().join("full");
    std::fs::create_dir(&full).expect("a directory");
    std::fs::write(full.join("thesis.tex"), "years").expect("a file");
    let begun = world.home().join("begun");
    std::fs::create_dir_all(begun.join("journal.tmp")).expect("what a kill leaves");
    let inside = world.data().join("copy");
    for (target, word) in [
        (&full, "not empty"),
        (&begun, "not finished"),
        (&inside, "inside"),
        (&full.join("thesis.tex"), "no directory"),
    ] {
        let ran = world.run(["backup", target.to_str().expect("UTF-8")]);
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stderr.contains(word), "{word}: {ran}");
    }
    assert_eq!(std::fs::read(full.join("thesis.tex")).expect("it stays"), b"years");
    assert!(!inside.exists());
    // What a kill left is no data directory to anybody.
    assert_eq!(on(&world, &begun, &["events"]).code, Some(3));
    let nothing = World::new();
    let ran = nothing.run(["backup", nothing.home().join("copy").to_str().expect("UTF-8")]);
    assert_eq!(ran.code, Some(3), "{ran}");
    assert!(!nothing.home().join("copy").exists() && !nothing.data().exists());
}

#[test]
fn a_server_makes_the_copy_that_the_command_makes_and_refuses_what_it_refuses() {
    let world = World::new();
    small_segments(&world, "");
    let server = world.server();
    for n in 0..20 {
        assert_eq!(server.post("/events/emit", &event(n, 20_000)).status, 200);
    }
    let ask = |dir: &Path| server.post(&format!("/admin/backup?dir={}", dir.display()), "{}");
    let to = world.home().join("copy");
    let answer = ask(&to);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let copied = answer.json();
    assert!(copied["last_seq"].as_u64() >= Some(20) && copied["segments"].as_u64() > Some(3), "{copied}");
    assert_eq!((&copied["first_seq"], &copied["damage"]), (&1.into(), &json!([])), "{copied}");
    check_prefix(&world.data(), &to);
    check_modes(&to);
    assert_eq!(server.post("/events/emit", &event(20, 10)).status, 200, "writing goes on");
    // Not empty, inside of the data directory, from nobody knows where, and none at all.
    let before = std::fs::read_dir(world.data()).expect("a directory").count();
    for refused in [
        ask(&to),
        ask(&world.data().join("inside")),
        ask(Path::new("copy")),
        server.post("/admin/backup", "{}"),
    ] {
        assert_eq!((refused.status, refused.json()["error"]["field"].as_str()), (400, Some("dir")));
    }
    assert_eq!(std::fs::read_dir(world.data()).expect("a directory").count(), before);
    server.stop();
    let events = on(&world, &to, &["events", "--json"]);
    assert_eq!(events.json_lines().len() as u64, copied["last_seq"].as_u64().expect("a seq"), "{events}");
}

#[test]
fn a_damaged_base_is_copied_as_it_stands_and_named() {
    let world = filled(POLICY, 300);
    world.ok(["gc"]);
    small_segments(&world, "");
    let copy = |name: &str| world.home().join(name).to_str().expect("UTF-8").to_owned();
    let ran = world.ok(["backup", "--json", &copy("whole")]);
    assert_eq!(ran.json()["damage"], json!([]));
    let name = world.names_in("base").remove(0);
    let path = world.data().join("base").join(&name);
    let whole = std::fs::read(&path).expect("the base");
    // Its header, and one of its states.
    for (at, words) in [(41, "none of its states can be read"), (whole.len() - 1, "1 of its ")] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).expect("the damage is done");
        let to = copy(&format!("json-{at}"));
        let ran = world.run(["backup", "--json", &to]);
        assert_eq!(ran.code, Some(4), "{ran}");
        let damage = ran.json()["damage"].clone();
        let told = damage[0].as_str().expect("a sentence");
        assert!(told.starts_with(&format!("base/{name} is damaged: {words}")), "{damage}");
        assert_eq!(damage.as_array().map(Vec::len), Some(1), "{damage}");
        assert_eq!(std::fs::read(Path::new(&to).join("base").join(&name)).expect("its copy"), bytes);
        let ran = world.run(["backup", &copy(&format!("text-{at}"))]);
        assert!(ran.code == Some(4) && ran.stderr.contains(told), "{ran}");
        // A server says the same.
        let server = world.server();
        let answer = server.post(&format!("/admin/backup?dir={}", copy(&format!("server-{at}"))), "{}");
        assert_eq!((answer.status, &answer.json()["damage"]), (200, &damage), "{}", answer.text());
        server.stop();
    }
}
