//! The rules of the house, as code: who may import whom, where `unsafe` lives, which words are not names here, how
//! long a file may be. The table of layers is the one of `docs/architecture.md`.
//!
//! The rules read source text, with comments and literals blanked out where they are about code. Each rule has a
//! positive control: a planted violation that it must find.

#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/source.rs"]
mod source;

use source::{Source, has_word, sources};

/// Longest file; past it a file is split, or its tests move to a file of their own.
const FILE_LINES_MAX: usize = 700;

/// One breach: where, and what to do.
type Breaches = Vec<String>;

/// A rule looks at one file.
type Rule = fn(&Source) -> Breaches;

const RULES: &[(&str, Rule)] = &[
    ("layers", layers::breaches),
    ("unsafe", unsafe_has_two_addresses),
    ("names", names_are_ours),
    ("length", files_are_short),
    ("unfinished", nothing_is_unfinished),
    ("exit", only_the_wrapper_ends_the_process),
    ("sleep", tests_wait_for_conditions),
    ("skips", skips_are_said_in_one_way),
];

/// The only files with `unsafe`: the read-only map of sealed segments, and vectors that only some processors have.
const UNSAFE_ADDRESSES: &[&str] = &["journal/src/disk/mmap.rs", "journal/src/format/vector.rs"];

/// A program of its own that speaks other projects' interfaces: their names are theirs, and it replaces the C library's flush.
const PEERS: &str = "benches/peers/";

fn unsafe_has_two_addresses(source: &Source) -> Breaches {
    if UNSAFE_ADDRESSES.contains(&source.path.as_str()) || source.path.starts_with(PEERS) {
        return Vec::new();
    }
    source
        .lines_with(|line| has_word(line, "unsafe"))
        .map(|at| format!("{at}: `unsafe` belongs in {}", UNSAFE_ADDRESSES.join(" or ")))
        .collect()
}

/// Names that say nothing, or that mean something else here.
const NOT_NAMES: &[&str] =
    &["entry", "message", "lsn", "util", "utils", "common", "helper", "helpers", "manager"];

fn names_are_ours(source: &Source) -> Breaches {
    if source.path.starts_with(PEERS) {
        return Vec::new();
    }
    let file = source.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
    let mut breaches = Vec::new();
    if source.path.split('/').chain([file]).any(|part| NOT_NAMES.contains(&part)) {
        breaches.push(format!("{}: a path with a name that is not used here", source.path));
    }
    for (number, line) in source.code.lines().enumerate() {
        let words: Vec<&str> = line.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
        for two in words.windows(2) {
            let [keyword, name] = [two[0], two[1]];
            let is_type = ["struct", "enum", "trait", "type", "union"].contains(&keyword);
            let lower = name.to_ascii_lowercase();
            let ends_badly =
                ["Manager", "Helper", "Helpers", "Utils", "Util"].iter().any(|bad| name.ends_with(bad));
            // The one trait `Log` is what the store needs of the log behind it.
            let a_log = lower == "log" && !(keyword == "trait" && source.path.starts_with("src/store/"));
            let bad_type = is_type && (NOT_NAMES.contains(&lower.as_str()) || ends_badly || a_log);
            let bad_module = keyword == "mod" && NOT_NAMES.contains(&name);
            if bad_type || bad_module {
                breaches.push(format!(
                    "{}:{}: `{keyword} {name}` is not a name here",
                    source.path,
                    number + 1
                ));
            }
        }
    }
    breaches
}

fn files_are_short(source: &Source) -> Breaches {
    let lines = source.text.lines().count();
    let breach = format!("{}: {lines} lines, at most {FILE_LINES_MAX}: split it", source.path);
    if lines > FILE_LINES_MAX { vec![breach] } else { Vec::new() }
}

fn nothing_is_unfinished(source: &Source) -> Breaches {
    let macros = ["todo!", "unimplemented!", "#[ignore"];
    let marks = [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("XX", "X")];
    let in_code = source.lines_with(|line| macros.iter().any(|m| line.contains(m)));
    let in_text = source.text_lines_with(|line| marks.iter().any(|m| has_word(line, m)));
    in_code.chain(in_text).map(|at| format!("{at}: unfinished")).collect()
}

/// Where a process may be ended: after the end of the run is on record.
const EXITS: &[&str] = &["src/cli/run.rs", "src/main.rs"];

fn only_the_wrapper_ends_the_process(source: &Source) -> Breaches {
    if !source.path.starts_with("src/") || EXITS.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let exits = ["process::exit", "process::abort"];
    Source::new(&source.path, &source.shipped())
        .lines_with(|line| exits.iter().any(|exit| line.contains(exit)))
        .map(|at| format!("{at}: return instead, so that the run's end is recorded"))
        .collect()
}

fn tests_wait_for_conditions(source: &Source) -> Breaches {
    let black_box = ["tests/it/", "tests/e2e/"].iter().any(|place| source.path.starts_with(place));
    if !black_box || source.path.starts_with("tests/it/support") {
        return Vec::new();
    }
    source
        .lines_with(|line| line.contains("sleep("))
        .map(|at| format!("{at}: wait for a condition with a bound (`support::wait_for`)"))
        .collect()
}

/// What a macro prints is shown of failing tests only, and a skip that nobody sees looks like a pass.
fn skips_are_said_in_one_way(source: &Source) -> Breaches {
    if !source.path.starts_with("tests/") || source.path == "tests/it/support.rs" {
        return Vec::new();
    }
    source
        .text_lines_with(|line| line.contains(concat!("\"SKIP", "PED")))
        .map(|at| format!("{at}: say it with `support::skipped`"))
        .collect()
}

#[test]
fn every_file_keeps_every_rule() {
    let sources = sources();
    assert!(sources.len() > 20, "the walk found {} files only", sources.len());
    let mut breaches = Breaches::new();
    for source in &sources {
        for (name, rule) in RULES {
            breaches.extend(rule(source).into_iter().map(|breach| format!("[{name}] {breach}")));
        }
    }
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

/// A workplace's paths tell strangers nothing, and tell of the workplace.
#[test]
fn no_file_names_a_path_of_this_machine() {
    let home = concat!("/wo", "rk/");
    let clone = concat!("/tmp/", "w/");
    let found: Vec<String> = source::committed_texts()
        .into_iter()
        .filter(|(_, text)| text.contains(home) || text.contains(clone))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(found, Vec::<String>::new());
}

/// Each rule, a file that breaks it, and the same file without the breach.
#[test]
fn a_planted_violation_is_found() {
    let long = "\n".repeat(FILE_LINES_MAX + 1);
    let planted: &[(&str, &str, &str, &str)] = &[
        ("layers", "src/event/x.rs", "use crate::store::Store;", "use crate::event::Kind; // crate::store"),
        ("layers", "src/store/x.rs", "use crate::{event::Event, cli};", "use crate::{event::Event, clock};"),
        ("layers", "src/cli/x.rs", "use mnemosyne_journal::Seq;", "use crate::event::Seq;"),
        (
            "layers",
            "src/projection/x.rs",
            "fn f() { crate::server::serve() }",
            "fn f() { \"crate::server\" }",
        ),
        ("layers", "src/event/x.rs", "use super::super::store::Store;", "use super::Kind;"),
        ("layers", "journal/src/x.rs", "use serde::Serialize;", "use std::fs::File;"),
        ("layers", "journal/src/x.rs", "struct EventCount;", "struct RecordCount;"),
        ("layers", "journal/src/recovery.rs", "use std::fs::File;", "use std::fmt;"),
        ("layers", "src/event/x.rs", "use std::fs;", "use std::fmt;"),
        ("layers", "src/nowhere/x.rs", "", "none"),
        ("layers", "tools/src/x.rs", "use mnemosyne::store::Store;", "use mnemosyne::event::Event;"),
        ("layers", "tools/src/x.rs", "fn f() { std::fs::write(a, b) }", "fn f() { std::fs::read(a) }"),
        ("unsafe", "src/store/x.rs", "fn f() { unsafe { g() } }", "#![forbid(unsafe_code)] // unsafe"),
        ("unsafe", "journal/src/format/lanes.rs", "fn f() { unsafe { g() } }", "fn f() { g() }"),
        ("names", "src/store/x.rs", "pub struct Entry;", "pub struct Row; fn f() { map.entry(1) }"),
        ("names", "src/store/x.rs", "struct CacheManager;", "struct Cache;"),
        ("names", "src/cli/x.rs", "struct Log;", "struct Lines;"),
        ("names", "src/cli/utils.rs", "", "none"),
        ("length", "src/cli/x.rs", &long, "\n"),
        ("unfinished", "src/cli/x.rs", "fn f() { todo!() }", "fn f() {}"),
        ("unfinished", "src/cli/x.rs", concat!("// FIX", "ME: later"), "// later"),
        ("unfinished", "tests/it/x.rs", "#[ignore]", "// ignore"),
        ("exit", "src/cli/x.rs", "std::process::exit(0)", "return"),
        (
            "exit",
            "src/cli/x.rs",
            "#[cfg(test)] fn f() {} fn g() { process::abort() }",
            "#[cfg(test)] fn f() { process::abort() }",
        ),
        ("sleep", "tests/e2e/x.rs", "std::thread::sleep(a)", "wait_for(a)"),
        ("sleep", "tests/it/x.rs", "std::thread::sleep(a)", "wait_for(a)"),
        ("skips", "tests/it/x.rs", concat!("eprintln!(\"SKIP", "PED: a\")"), "skipped(\"a\")"),
    ];
    for (name, path, bad, good) in planted {
        let rule = RULES.iter().find(|(n, _)| n == name).expect("a rule of this name").1;
        assert!(!rule(&Source::new(path, bad)).is_empty(), "[{name}] does not see {bad:?} in {path}");
        if *good != "none" {
            assert_eq!(rule(&Source::new(path, good)), Breaches::new(), "[{name}] false alarm in {path}");
        }
    }
}

/// The two version floors: older ones have advisories that concern us.
#[test]
fn the_lock_file_keeps_the_version_floors() {
    let lock = std::fs::read_to_string(source::root().join("Cargo.lock")).expect("Cargo.lock is committed");
    for (name, floor) in [("memmap2", [0, 9, 11]), ("bytes", [1, 11, 1])] {
        let mut found = 0;
        for package in lock.split("[[package]]").filter(|p| p.contains(&format!("name = \"{name}\"\n"))) {
            let version = package.split("version = \"").nth(1).and_then(|v| v.split('"').next());
            let parts: Vec<u64> = version
                .into_iter()
                .flat_map(|v| v.split('.'))
                .map(|n| n.parse().expect("a number"))
                .collect();
            assert!(parts[..] >= floor[..], "{name} {parts:?} is older than {floor:?}");
            found += 1;
        }
        assert!(found > 0, "{name} is not in the lock file: drop its floor");
    }
}
