//! `docs/inspect.md` shows what the program prints. `MNEMOSYNE_BLESS=1 cargo test -p mnemosyne-inspect` writes it anew.
//!
//! A block that begins with `$ mnemosyne-inspect` is run; DIR is a whole journal of seven events, DAMAGED the same with a
//! flipped byte, TORN one that a crash left, OLDER a copy of DIR that ends earlier. Ids that are new in every run are
//! shown as dots.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::support::{RunOut as _, World, find, inspect, options, write};

struct Samples {
    world: World,
    older: PathBuf,
    damaged: World,
    torn: World,
}

impl Samples {
    fn new() -> Samples {
        let world = World::with_events(4);
        let older = world.copy("OLDER");
        world.append(4..7);
        let damaged = World::with_events(4);
        damaged.append(4..7);
        damaged.damage(0, |bytes| {
            let at = find(bytes, b"prompt number 4");
            bytes[at] ^= 1;
        });
        let torn = World::new();
        let journal = torn.open(options());
        write(&journal, 0..4);
        write(&journal, 4..7);
        drop(journal);
        torn.damage(0, |bytes| bytes.truncate(bytes.len() - 10));
        Samples { world, older, damaged, torn }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        match name {
            "DIR" => Some(self.world.data()),
            "DAMAGED" => Some(self.damaged.data()),
            "TORN" => Some(self.torn.data()),
            "OLDER" => Some(self.older.clone()),
            "NEWDIR" => Some(self.world.path("NEWDIR")),
            _ => None,
        }
    }

    /// What a terminal shows: stdout, stderr, and the exit code where it is not 0.
    fn shown(&self, line: &str) -> String {
        let args: Vec<&str> = line.split_whitespace().collect();
        let args =
            args.iter().map(|arg| self.path(arg).map_or_else(|| (*arg).into(), PathBuf::into_os_string));
        let run = inspect().args(args).run();
        let mut text = format!("{}{}", run.stdout, run.stderr);
        for name in ["DIR", "DAMAGED", "TORN", "OLDER", "NEWDIR"] {
            if let Some(path) = self.path(name) {
                text = text.replace(&path.display().to_string(), name);
            }
        }
        if run.code != 0 {
            writeln!(text, "[exit code {}]", run.code).expect("a String takes it");
        }
        if line.starts_with("salvage") { without_ids(&text) } else { text }
    }
}

/// Long runs of hex digits as dots.
fn without_ids(text: &str) -> String {
    let is_id = |word: &str| word.len() >= 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    parts
        .map(|part| {
            let word = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            if is_id(word) { part.replace(word, "...") } else { part.to_owned() }
        })
        .collect()
}

#[test]
fn the_examples_are_what_the_program_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/inspect.md");
    let text = std::fs::read_to_string(&path).expect("docs/inspect.md");
    let (samples, mut fresh, mut examples) = (Samples::new(), String::new(), 0);
    let mut lines = text.split_inclusive('\n');
    while let Some(line) = lines.next() {
        fresh.push_str(line);
        let Some(command) = line.strip_prefix("$ mnemosyne-inspect ") else { continue };
        fresh.push_str(&samples.shown(command.trim_end()));
        examples += 1;
        fresh.push_str(lines.find(|line| line.starts_with("```")).expect("the block ends"));
    }
    assert!(examples >= 20, "{examples} examples");
    if std::env::var_os("MNEMOSYNE_BLESS").is_some() {
        std::fs::write(&path, &fresh).expect("docs/inspect.md is written");
        return;
    }
    assert!(
        text == fresh,
        "docs/inspect.md is not what the program prints; write it anew with MNEMOSYNE_BLESS=1"
    );
}

#[test]
fn every_command_has_an_example_and_its_help_is_shown() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/inspect.md")).unwrap();
    let help = inspect().arg("--help").run().stdout;
    let listed =
        help.split("Commands:").nth(1).and_then(|rest| rest.split("Options:").next()).expect("commands");
    let commands: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(commands.len(), 11, "{commands:?}");
    for command in commands {
        assert!(text.contains(&format!("$ mnemosyne-inspect {command} --help")), "{command}: no help");
        let example = text.lines().any(|line| {
            line.starts_with(&format!("$ mnemosyne-inspect {command} ")) && !line.ends_with("--help")
        });
        assert!(example, "{command}: no example");
    }
}
