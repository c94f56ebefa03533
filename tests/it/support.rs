//! The test kit: a world of its own for every test.
//!
//! A [`World`] is a temporary home with a data directory in it. Every process that it starts sees this home and
//! none of the variables of the machine that the tests run on, so a test can neither read nor change what a
//! developer has recorded. Nothing waits without a bound, and nothing sleeps in the hope that something has
//! happened by then: [`wait_for`] asks again until the condition holds or the bound is over.

#[path = "support/http.rs"]
mod http;
#[path = "support/process.rs"]
mod process;
#[path = "support/sse.rs"]
mod sse;

pub(crate) use http::{Response, head, read_head, request as http_request};
pub(crate) use process::{Ran, Running, Server};
pub(crate) use sse::{End, Frame, Sse};

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What anything here may take before it counts as hung. Generous: the machine may be busy with other tests.
pub(crate) const BOUND: Duration = Duration::from_secs(30);

/// Asks `probe` until it answers, and fails the test with `what` when it has not answered within [`BOUND`].
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    wait_at_most(BOUND, what, probe)
}

/// [`wait_for`] with a bound of its own.
#[track_caller]
pub(crate) fn wait_at_most<T>(bound: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(start.elapsed() < bound, "waited {bound:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Real transcripts and the script that turns them into hook payloads: `MNEMOSYNE_TEST_DATA`, else
/// `../shared/data` beside the checkout. `None` where they are absent, and then it says so on stderr: a test
/// that did not run must not look like one that passed.
pub(crate) fn shared_data() -> Option<PathBuf> {
    let place = std::env::var_os("MNEMOSYNE_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    if place.join("transcripts").is_dir() {
        return Some(place);
    }
    skipped(&format!("no real transcripts at {} (set MNEMOSYNE_TEST_DATA)", place.display()));
    None
}

/// Numbers that look random and are the same for the same seed (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(1))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("a number that fits");
        usize::try_from(self.next() % end).expect("a number that fits")
    }
}

/// Says on stderr that a test, or a part of it, did not run, and why. The one way to say it: `.ci/run` counts these lines.
pub(crate) fn skipped(why: &str) {
    // Not by a macro: what passing tests print that way is never shown.
    let words = format!("SKIPPED: {why}\n");
    std::io::Write::write_all(&mut std::io::stderr(), words.as_bytes()).expect("stderr takes it");
}

/// A home directory with a data directory in it, gone when the test ends.
pub(crate) struct World {
    home: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> World {
        World { home: tempfile::tempdir().expect("a temporary directory") }
    }

    /// The home directory: also where the processes work.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The data directory. Not made by this: the program makes it, or a test checks that it does not.
    pub(crate) fn data(&self) -> PathBuf {
        self.home().join("data")
    }

    /// The names of what lies in a directory of the data directory, sorted; empty where it does not exist.
    pub(crate) fn names_in(&self, directory: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.data().join(directory)) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .map(|e| e.expect("a directory entry").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    }

    /// How many events wait in the inbox.
    pub(crate) fn inbox_len(&self) -> usize {
        self.names_in("inbox").iter().filter(|name| name.starts_with(|c: char| c.is_ascii_digit())).count()
    }

    /// The program with this world's data directory and nothing else of the environment but `PATH`.
    pub(crate) fn command<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.bare_command(args);
        command.env("MNEMOSYNE_DATA_DIR", self.data());
        command
    }

    /// The program with no data directory named: it has to find one by its own rule, from this world's home.
    pub(crate) fn bare_command<A: AsRef<std::ffi::OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
    ) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mnemosyne"));
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home())
            .env("TZ", "UTC")
            .env("MNEMOSYNE_DISABLE_AUTO_START_API", "1")
            .current_dir(self.home())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    #[track_caller]
    pub(crate) fn run<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Ran {
        Running::start(&mut self.command(args)).wait()
    }

    /// Runs the program to its end and demands success.
    #[track_caller]
    pub(crate) fn ok<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "{ran}");
        ran
    }

    /// Runs the program with this on its stdin, to its end.
    #[track_caller]
    pub(crate) fn run_with_stdin<A: AsRef<std::ffi::OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
        stdin: &[u8],
    ) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped());
        let mut running = Running::start(&mut command);
        running.feed(stdin);
        running.wait()
    }

    /// Hands one hook payload to the `hook` command, which must be silent and must succeed.
    #[track_caller]
    pub(crate) fn hook(&self, payload: &serde_json::Value) {
        let ran = self.run_with_stdin(["hook"], payload.to_string().as_bytes());
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""), "{ran}");
    }

    /// Starts a server on a free port and waits until it has said where it listens.
    #[track_caller]
    pub(crate) fn server(&self) -> Server {
        self.server_with(["api-server", "--addr", "127.0.0.1:0"])
    }

    /// [`World::server`] with arguments of its own.
    #[track_caller]
    pub(crate) fn server_with<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Server {
        Server::start(&self.data(), &mut self.command(args))
    }

    /// The events of the journal as `events --json` prints them, with these arguments more.
    #[track_caller]
    pub(crate) fn events<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Vec<serde_json::Value> {
        self.ok(["events", "--json"].into_iter().chain(args)).json_lines()
    }
}

/// The kinds of some events, in their order.
pub(crate) fn kinds(events: &[serde_json::Value]) -> Vec<&str> {
    events.iter().map(|event| event["kind"].as_str().expect("every event has a kind")).collect()
}

/// How often to do it: `short` by default, `long`, which is what the promise names, with `MNEMOSYNE_LONG=1`.
pub(crate) fn rounds(short: usize, long: usize) -> usize {
    if std::env::var_os("MNEMOSYNE_LONG").is_some_and(|value| value == "1") { long } else { short }
}
