//! Hostile files: every file of a used data directory changed in every way that a seed leads to, and read by the real program under
//! a bound on its memory. It may say that something is damaged; it may not panic, be killed, hang, or take what a length in
//! the file says.

use crate::attack_plants::{copy, paths_below, run, used};
use crate::cli_basics::prompt;
use crate::support::{Random, World};
use std::fs;
use std::path::{Path, PathBuf};

/// Changes that are tried; `MNEMOSYNE_TEST_MUTATIONS` tries more.
const MUTATIONS: u64 = 400;

/// Texts for the files that are text: each is a lie of its own.
const TEXTS: &[&str] = &[
    "",
    "null",
    "[]",
    "{}",
    "\"\"",
    "{\"pid\":-1}",
    "{\"pid\":99999999999999999999,\"role\":\"server\",\"start_ticks\":0}",
    "{\"role\":\"server\",\"pid\":1,\"start_ticks\":0,\"journal_id\":\"../../../etc/passwd\"}",
    "{\"addr\":\"\\u0000\",\"pid\":1,\"token\":\"\\r\\nX: y\"}",
    "retention.max_bytes = -1",
    "[retention]\nmax_age = \"999999999999999999999999y\"",
    "[store]\nsegment_bytes = 18446744073709551615",
    "[server]\naddr = \"\u{1b}[31m\"",
    "a = [",
];

fn garbage(random: &mut Random, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|_| random.below(256).to_le_bytes()[0]).collect()
}

/// One change; says what it was.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) -> String {
    // What is used lies at the beginning; the zeros ahead of a writer are the larger part.
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let place = |random: &mut Random| if used == 0 { 0 } else { random.below(used) };
    match random.below(10) {
        0..=2 if used > 0 => {
            let (at, bit) = (place(random), random.below(8));
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at}")
        }
        3..=4 if used > 8 => {
            let at = random.below(used - 8);
            let value = [u64::MAX, u64::MAX >> 1, 1 << 40, 1 << 31, u64::from(u32::MAX), 0][random.below(6)];
            let width = [4, 8][random.below(2)];
            bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
            format!("{value} in {width} bytes at {at}")
        }
        5 => {
            let at = place(random);
            bytes.truncate(at);
            format!("cut at {at}")
        }
        6 if used > 0 => {
            let (at, length) = (place(random), (1 + random.below(63)));
            let end = (at + length).min(bytes.len());
            let noise = garbage(random, end - at);
            bytes[at..end].copy_from_slice(&noise);
            format!("noise at {at}")
        }
        7 if used > 0 => {
            let (from, to) = (place(random), place(random));
            let length = (1 + random.below(255)).min(bytes.len() - from.max(to));
            bytes.copy_within(from..from + length, to);
            format!("{length} bytes of {from} at {to}")
        }
        8 => {
            let length = random.below(4096);
            *bytes = garbage(random, length);
            format!("{length} bytes of noise alone")
        }
        _ => {
            let which = random.below(TEXTS.len() + 1);
            *bytes = TEXTS.get(which).map_or_else(|| b"[".repeat(100_000), |text| text.as_bytes().to_vec());
            format!("text {which}")
        }
    }
}

fn files(world: &World) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    paths_below(&world.data(), Path::new(""), &mut paths);
    let mut files: Vec<PathBuf> =
        paths.into_iter().filter(|(_, is_dir)| !is_dir).map(|(path, _)| path).collect();
    files.extend(
        ["server.json", "start.json", "config.toml", "base/00000000000000000003.base"].map(PathBuf::from),
    );
    files.sort();
    files.dedup();
    files
}

const READING: &[&[&str]] = &[
    &["events", "--json"],
    &["sessions"],
    &["state", "sessions"],
    &["tail", "-n", "100"],
    &["stats"],
    &["session", "s"],
    &["gc", "--dry-run"],
    &["api-server", "--stop"],
];

#[test]
fn no_file_makes_a_command_panic_hang_or_take_memory_without_bound() {
    let template = used();
    let files = files(&template);
    let control = World::new();
    copy(&template.data(), &control.data());
    for args in READING.iter().filter(|args| args[0] != "api-server") {
        let ran = run(&control, args, None);
        assert_eq!(
            ran.code,
            Some(0),
            "the control: it works under the bound when nothing is changed: {args:?}: {ran}"
        );
    }
    let count = std::env::var("MNEMOSYNE_TEST_MUTATIONS")
        .ok()
        .map_or(MUTATIONS, |text| text.parse().expect("a number"));
    let mut damaged = 0;
    for seed in 0..count {
        let mut random = Random::new(seed);
        let world = World::new();
        copy(&template.data(), &world.data());
        let file = &files[random.below(files.len())];
        let path = world.data().join(file);
        let mut bytes = fs::read(&path).unwrap_or_default();
        let change = mutate(&mut bytes, &mut random);
        fs::write(&path, &bytes).expect("written");
        let args = READING[random.below(READING.len())];
        for args in [args, &["hook"]] {
            let stdin = prompt("s", "after the change").to_string();
            let ran = run(&world, args, (args[0] == "hook").then_some(stdin.as_bytes()));
            let case = format!("seed {seed}: {} with {change}: {args:?}: {ran}", file.display());
            assert!(ran.code.is_some_and(|code| (0..=4).contains(&code)), "{case}");
            assert!(!ran.stderr.contains("panicked") && !ran.stderr.contains("memory allocation"), "{case}");
            assert!(ran.code == Some(0) || !ran.stderr.is_empty(), "it fails without a word: {case}");
            damaged += u64::from(ran.code != Some(0));
        }
    }
    assert!(damaged > 0, "the control: some change was seen");
}
