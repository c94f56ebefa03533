//! Servers that change places: one that leaves while an agent calls, one whose program was replaced meanwhile, one of another
//! version after it. Nothing that was emitted is lost, doubled or out of order, and nothing waits for a hand.

use crate::life::{Home, Unasked, ended, fed, prompt, runs, silent, started};
use crate::support::{Running, wait_for};
use mnemosyne::client::{Batcher, Server, request_of};
use mnemosyne::clock::{self, Clock as _, SystemClock};
use mnemosyne::config::DataDir;
use mnemosyne::event::{Event, payload};
use mnemosyne::wire::Durability;
use rustix::process::Signal;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const LINGER: &str = "[server]\naddr = \"127.0.0.1:0\"\nlinger = 1\n";

/// This very file with these arguments, in the environment of a hook that may start a server.
fn command_of(home: &Home, program: &Path, arguments: &[&str]) -> Command {
    let of_home = home.hook_command();
    let mut command = Command::new(program);
    command.args(arguments).env_clear().current_dir(home.world.home());
    command.envs(of_home.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[track_caller]
fn hook_of(home: &Home, program: &Path, payload: &Value) {
    silent(&fed(&mut command_of(home, program, &["hook"]), payload));
}

/// Whether the lock's file names a process.
fn lock_is_held(home: &Home) -> bool {
    std::fs::read(home.world.data().join("lock"))
        .is_ok_and(|lock| lock.iter().any(|byte| !byte.is_ascii_whitespace() && *byte != 0))
}

/// Waits until `server` begins to leave, and lets `program` record a prompt right then. With `halt` the server stands still
/// meanwhile. Whether the hook came while the server still held the lock, so that it saw one and started none.
#[track_caller]
fn prompt_while_it_leaves(home: &Home, program: &Path, server: &Unasked, halt: bool, text: &str) -> bool {
    let deadline = std::time::Instant::now() + crate::support::BOUND;
    // The runtime file goes first, the lock last, and there are a few milliseconds between the two.
    while home.world.data().join("server.json").exists() {
        assert!(std::time::Instant::now() < deadline, "it does not leave");
        std::hint::spin_loop();
    }
    let is_halted = halt && runs(server.pid) && {
        server.signal(Signal::STOP);
        true
    };
    let is_hit = is_halted && lock_is_held(home);
    hook_of(home, program, &prompt("late", text));
    if is_halted {
        server.signal(Signal::CONT);
    }
    is_hit
}

/// Waits until somebody has taken in what waits. Nothing here looks at the journal: whoever reads takes in as well.
#[track_caller]
fn wait_until_taken_in(home: &Home) {
    let is_taken_in = || home.world.inbox_len() == 0 && home.runtime().is_some();
    let deadline = std::time::Instant::now() + crate::support::BOUND;
    while !is_taken_in() {
        let (inbox, start, log) = (home.world.names_in("inbox"), home.last_start(), home.log());
        let in_time = std::time::Instant::now() < deadline;
        assert!(
            in_time,
            "nobody takes in what came late: {inbox:?}, {start:?}, {:?}\n{log}",
            home.processes()
        );
        std::thread::yield_now();
    }
}

#[test]
fn what_comes_while_a_server_leaves_is_taken_in_with_no_other_hook() {
    const ROUNDS: usize = 6;
    let program = Path::new(env!("CARGO_BIN_EXE_mnemosyne"));
    let hits: usize = std::thread::scope(|scope| {
        let homes: Vec<_> = (0..4)
            .map(|of| {
                scope.spawn(move || {
                    let home = Home::with_config(LINGER);
                    home.hook(&started("late"));
                    let mut hits = 0;
                    for round in 0..ROUNDS {
                        let server = home.server();
                        home.hook(&ended("late"));
                        // In one home nobody is held up: the hook comes when it comes.
                        let is_hit = prompt_while_it_leaves(
                            &home,
                            program,
                            &server,
                            of > 0,
                            &format!("prompt {round}"),
                        );
                        hits += usize::from(is_hit);
                        server.wait_for_end();
                        wait_until_taken_in(&home);
                    }
                    let events = home.world.events(["--kind", "prompt_submitted"]);
                    let said: Vec<&str> =
                        events.iter().filter_map(|one| one["payload"]["prompt"].as_str()).collect();
                    assert_eq!(said, (0..ROUNDS).map(|n| format!("prompt {n}")).collect::<Vec<_>>());
                    hits
                })
            })
            .collect();
        homes.into_iter().map(|home| home.join().expect("a home in order")).sum()
    });
    assert!(hits >= 3, "only {hits} prompts came while a server that was leaving held the lock");
}

#[test]
fn a_server_whose_program_was_replaced_is_followed_by_the_new_one() {
    let home = Home::with_config(LINGER);
    let program = copy(&home, "bin/mnemosyne", |_| {});
    hook_of(&home, &program, &started("late"));
    // The moment may be missed: then the hook itself starts the next server.
    for attempt in 0..10 {
        let server = home.server();
        // As an installation does it: a new file takes the name.
        std::fs::rename(copy(&home, "bin/new", |_| {}), &program).expect("replaced");
        let runs_from = std::fs::read_link(server.proc("exe")).expect("its program");
        assert!(runs_from.to_string_lossy().ends_with(" (deleted)"), "{}", runs_from.display());
        hook_of(&home, &program, &ended("late"));
        let is_hit = prompt_while_it_leaves(&home, &program, &server, true, &format!("attempt {attempt}"));
        server.wait_for_end();
        wait_until_taken_in(&home);
        let next = home.server();
        assert_eq!(std::fs::read_link(next.proc("exe")).expect("its program"), program);
        if is_hit {
            return;
        }
    }
    panic!("no server was met in the moment between its runtime file and its lock");
}

/// A copy of the program in this home, changed.
fn copy(home: &Home, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let to = home.world.home().canonicalize().expect("a home").join(name);
    std::fs::create_dir_all(to.parent().expect("a directory")).expect("made");
    let mut bytes = std::fs::read(env!("CARGO_BIN_EXE_mnemosyne")).expect("the program");
    change(&mut bytes);
    let plain = to.with_extension("bytes");
    std::fs::write(&plain, bytes).expect("written");
    // Copied by another process: a file that this one wrote may still be open in a child that another test starts, and
    // what somebody has open for writing cannot be run.
    let copied = std::process::Command::new("cp").arg(&plain).arg(&to).status().expect("cp");
    assert!(copied.success(), "cp: {copied}");
    std::fs::remove_file(&plain).expect("it is ours");
    std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o755)).expect("made executable");
    to
}

/// This program with another version number: the same bytes but for those of the number.
fn of_another_version(home: &Home) -> (PathBuf, String) {
    let here = env!("CARGO_PKG_VERSION");
    let there: String = here.chars().rev().skip(1).collect::<String>().chars().rev().chain(['9']).collect();
    assert!(there.len() == here.len() && there != here);
    let program = copy(home, "other/mnemosyne", |bytes| {
        let places: Vec<usize> = memchr::memmem::find_iter(bytes, here).collect();
        for at in places {
            bytes[at..at + there.len()].copy_from_slice(there.as_bytes());
        }
    });
    let said = Command::new(&program).arg("--version").output().expect("it runs");
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), format!("mnemosyne {there}"));
    (program, there)
}

fn numbered(emitter: &str, n: usize) -> Event {
    let clock = SystemClock;
    let data = serde_json::json!(n);
    let custom = payload::Custom { name: emitter.to_owned(), data };
    Event::new(clock::new_id(&clock), clock.now(), emitter, clock::this_source("upgrade"), custom)
}

/// Emits over HTTP until the server has taken it, as a client that is not ours would: the id makes asking again safe.
fn emit_until_taken(dir: &DataDir, event: &Event) {
    let request = request_of(event).expect("a request");
    wait_for("a server that takes the event", || {
        let server = Server::find(dir).ok().flatten()?;
        server.emit(&request, Durability::Disk, None).ok()
    });
}

/// The highest durable seq.
fn tail(server: &Server) -> u64 {
    let health: Value = serde_json::from_str(&server.get_json("/health").expect("an answer")).expect("JSON");
    health["tail"].as_u64().expect("a seq")
}

/// Ends the emitters when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn emitters_go_on_while_another_version_takes_the_servers_place_and_back() {
    const CHANGES: usize = 6;
    let home = Home::new();
    let (other, version) = of_another_version(&home);
    let here = Path::new(env!("CARGO_BIN_EXE_mnemosyne"));
    let dir = DataDir::at(home.world.data());
    let serve = |program: &Path| {
        let running =
            Running::start(&mut command_of(&home, program, &["api-server", "--addr", "127.0.0.1:0"]));
        wait_for("the server", || Server::find(&dir).ok().flatten());
        running
    };
    let first = serve(here);
    let done = AtomicBool::new(false);
    let (server, [asked, batched, hooked]) = std::thread::scope(|scope| {
        // Also where something here fails: the emitters are waited for.
        let over = Over(&done);
        let until_done = |mut emit: Box<dyn FnMut(usize) + Send>| {
            let done = &done;
            scope.spawn(move || {
                let mut n = 0;
                while !done.load(Ordering::SeqCst) {
                    emit(n);
                    n += 1;
                }
                n
            })
        };
        let (dir, home) = (&dir, &home);
        let batcher = Batcher::start(dir.clone(), Arc::new(SystemClock)).expect("a batcher");
        let emitters = [
            until_done(Box::new(move |n| emit_until_taken(dir, &numbered("asked", n)))),
            until_done(Box::new(move |n| {
                batcher.emit(numbered("batched", n)).expect("taken");
                if n % 10 == 9 {
                    batcher.flush().expect("kept");
                }
            })),
            until_done(Box::new(move |n| home.world.hook(&prompt("hooked", &n.to_string())))),
        ];
        let mut server = first;
        for change in 0..CHANGES {
            server.signal(Signal::TERM);
            assert_eq!(server.wait().code, Some(0));
            let (program, expected) = if change % 2 == 0 {
                (other.as_path(), version.as_str())
            } else {
                (here, env!("CARGO_PKG_VERSION"))
            };
            server = serve(program);
            let found = Server::find(dir).expect("readable").expect("the new server");
            assert_eq!(found.runtime().version, expected);
            let begun = tail(&found);
            wait_for("emitters that go on", || (tail(&found) > begun + 30).then_some(()));
        }
        drop(over);
        (server, emitters.map(|emitter| emitter.join().expect("an emitter in order")))
    });
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code, Some(0));
    let events = home.world.events([]);
    let numbers =
        |matches: &dyn Fn(&Value) -> Option<usize>| events.iter().filter_map(matches).collect::<Vec<_>>();
    for (emitter, count) in [("asked", asked), ("batched", batched)] {
        let of = numbers(&|event| {
            let is_its = event["kind"] == "custom" && event["payload"]["name"] == emitter;
            is_its.then(|| event["payload"]["data"].as_u64())?.and_then(|n| usize::try_from(n).ok())
        });
        assert!(
            count > CHANGES && of == (0..count).collect::<Vec<_>>(),
            "{emitter}: {count} emitted, {of:?}"
        );
    }
    let of = numbers(&|event| event["payload"]["prompt"].as_str()?.parse().ok());
    assert!(hooked > CHANGES && of == (0..hooked).collect::<Vec<_>>(), "{hooked} hooks, {of:?}");
}
