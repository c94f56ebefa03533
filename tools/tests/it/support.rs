//! Journals to look at, made by the writer; the same bytes in every run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::SystemTime;

use mnemosyne::event::{Event, Source, Timestamp, ids, payload};
use mnemosyne_journal::{Journal, JournalId, Level, Micros, Options, RealDisk};

/// 2026-01-02T03:04:05Z.
pub(crate) const START: i64 = 1_767_323_045_000_000;
pub(crate) const SESSION: &str = "258c7280-0e0b-4f5c-9d3e-0a1b2c3d4e5f";

/// A data directory of its own.
pub(crate) struct World {
    dir: tempfile::TempDir,
}

/// What a run of the tool came to.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl World {
    pub(crate) fn new() -> World {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir_all(dir.path().join("data/journal")).expect("a data directory");
        World { dir }
    }

    /// `count` events in batches of three over several segments, closed in order.
    pub(crate) fn with_events(count: usize) -> World {
        let world = World::new();
        world.append(0..count);
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub(crate) fn journal_dir(&self) -> PathBuf {
        self.path("data/journal")
    }

    pub(crate) fn open(&self, options: Options) -> Journal {
        let disk = Arc::new(RealDisk::new(self.journal_dir()));
        Journal::open(disk, options, Micros::new(START)).expect("the journal opens").0
    }

    /// Appends the events of these numbers and closes the journal.
    pub(crate) fn append(&self, numbers: std::ops::Range<usize>) {
        let journal = self.open(options());
        write(&journal, numbers);
        journal.close().expect("the journal closes");
    }

    /// The segment files by name.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let names = fs::read_dir(self.journal_dir()).expect("the journal's directory");
        let mut paths: Vec<PathBuf> = names.map(|name| name.expect("a name").path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
        paths.sort();
        paths
    }

    /// Changes the bytes of a file.
    pub(crate) fn damage(&self, segment: usize, change: impl FnOnce(&mut Vec<u8>)) {
        let path = &self.segments()[segment];
        let mut bytes = fs::read(path).expect("a segment");
        change(&mut bytes);
        fs::write(path, bytes).expect("the damage is done");
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        let args = args.iter().map(|arg| match *arg {
            "DIR" => self.data().into_os_string(),
            arg => arg.into(),
        });
        inspect().args(args).run()
    }

    /// Runs with `--json` and reads the one object that comes out.
    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        let run = self.run(&[args, &["--json"]].concat());
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", run.stdout))
    }

    /// A copy beside the data directory.
    pub(crate) fn copy(&self, name: &str) -> PathBuf {
        let to = self.path(name);
        fs::create_dir_all(to.join("journal")).expect("a directory");
        for path in self.segments() {
            fs::copy(&path, to.join("journal").join(path.file_name().expect("a name"))).expect("a copy");
        }
        to
    }
}

pub(crate) fn options() -> Options {
    Options::new(JournalId::from_bytes(*b"journal-of-tests"), [7; 32]).with_segment_bytes_target(2_500)
}

/// Submits the events of these numbers, three a batch.
pub(crate) fn write(journal: &Journal, numbers: std::ops::Range<usize>) {
    let numbers: Vec<usize> = numbers.collect();
    for batch in numbers.chunks(3) {
        let events: Vec<Vec<u8>> = batch.iter().map(|number| event(*number).encode()).collect();
        let payloads: Vec<&[u8]> = events.iter().map(Vec::as_slice).collect();
        let now = Micros::new(START + batch[0] as i64 * 1_000_000);
        journal.submit(&payloads, now, Level::Disk, None).expect("taken").wait().expect("durable");
    }
}

/// The event number `number`: prompts and tool calls in turn.
pub(crate) fn event(number: usize) -> Event {
    let id = ids::natural(SESSION, "test", &number.to_string());
    let time = Timestamp::from_micros(START + number as i64 * 1_000_000);
    let source = Source { program: "claude-code".to_owned(), host: "host".to_owned(), pid: 4242 };
    let event = if number.is_multiple_of(2) {
        let prompt = payload::PromptSubmitted { prompt: format!("prompt number {number}"), prompt_id: None };
        Event::new(id, time, SESSION, source, prompt)
    } else {
        let input = serde_json::json!({ "command": format!("make step-{number}") });
        let tool_use_id = format!("toolu_{number:04}");
        let call = payload::ToolCallStarted { tool: "Bash".to_owned(), tool_use_id, input };
        Event::new(id, time, SESSION, source, call)
    };
    event.with_session(SESSION)
}

/// The binary, with nothing of this machine's environment.
pub(crate) fn inspect() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mnemosyne-inspect"));
    command.env_clear().stdin(Stdio::null());
    command
}

pub(crate) trait RunOut {
    fn run(&mut self) -> Run;
}

impl RunOut for Command {
    fn run(&mut self) -> Run {
        let output = self.output().expect("the tool runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the tool prints UTF-8");
        Run {
            code: output.status.code().expect("the tool ends by itself"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// Every file below `dir`: its bytes, and when it was changed last.
pub(crate) fn contents(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    for item in fs::read_dir(dir).expect("a directory") {
        let path = item.expect("a name").path();
        let changed = fs::metadata(&path).and_then(|meta| meta.modified()).expect("a time");
        if path.is_dir() {
            found.extend(contents(&path));
            found.insert(path, (Vec::new(), changed));
        } else {
            found.insert(path.clone(), (fs::read(&path).expect("a file"), changed));
        }
    }
    found
}

/// Where `needle` stands in `bytes`.
pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> usize {
    bytes.windows(needle.len()).position(|window| window == needle).expect("the bytes are there")
}

/// Says on stderr that a test did not run, and why.
pub(crate) fn skipped(why: &str) {
    // Not by a macro: what passing tests print that way is never shown.
    let words = format!("SKIPPED: {why}\n");
    std::io::Write::write_all(&mut std::io::stderr(), words.as_bytes()).expect("stderr takes it");
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|half| char::from(b"0123456789abcdef"[usize::from(half)]))
        .collect()
}
