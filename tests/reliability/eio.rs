//! A disk that fails: the n-th flush, or the n-th write of a segment, ends with EIO, for every n that a run reaches.
//!
//! From that moment on nothing may be acknowledged, since the kernel may have dropped the pages and call them clean; reads
//! go on, hooks go on into the inbox, and the next server goes on in a new segment with everything that was acknowledged.
//! The failures are injected by `strace`, which stands between the real program and the real kernel.

use crate::support::{BOUND, Ran, Server, World};
use crate::world::{Acknowledged, has, prompt, segments, served, skipped, small_segments, tell};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;

/// Enough to roll to the next segment several times; there must be more flushes of directories than opening does.
fn emits(fault: Fault) -> u64 {
    if fault.call == "fsync" { 24 } else { 8 }
}

const EVENT_BYTES: usize = 20_000;

/// What fails.
#[derive(Clone, Copy, Debug)]
struct Fault {
    /// The system call.
    call: &'static str,
    /// On the first segment only, and not on the files beside it, whose loss costs nothing.
    on_segment: bool,
}

/// The `api-server` of `world` under strace, with the n-th of these calls of each thread failing.
fn failing(world: &World, fault: Fault, n: u64) -> Command {
    let plain = world.command(["api-server", "--addr", "127.0.0.1:0"]);
    let mut command = Command::new("strace");
    // The tracer is the detached one, so that the server is our child and keeps its pid.
    command.args(["-D", "-f", "-qq", "--seccomp-bpf", "-o"]).arg(trace(world));
    command.args(["-e", &format!("trace={}", fault.call)]);
    command.args(["-e", &format!("inject={}:error=EIO:when={n}", fault.call)]);
    if fault.on_segment {
        command.arg("-P").arg(world.data().join("journal/00000000000000000001.seg"));
    }
    command.arg(plain.get_program()).args(plain.get_args()).env_clear();
    for (name, value) in plain.get_envs() {
        command.env(name, value.expect("nothing is taken away from an empty environment"));
    }
    command
        .current_dir(world.home())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    command
}

fn trace(world: &World) -> std::path::PathBuf {
    world.home().join("trace")
}

fn has_failed(trace: &Path) -> bool {
    std::fs::read_to_string(trace).is_ok_and(|text| text.contains("(INJECTED)"))
}

/// What a run met.
#[derive(Debug, PartialEq, Eq)]
enum Met {
    /// The server never came up.
    NoStart,
    /// It came up, and an emit was refused after so many acknowledgements.
    Refusal(usize),
    /// Everything was acknowledged, and its stop failed.
    AtTheEnd,
    /// Everything was acknowledged, and nothing failed.
    Nothing,
}

/// One run with the n-th call failing, and everything that must be so afterwards.
fn run(fault: Fault, n: u64) -> Met {
    let world = World::new();
    small_segments(&world.data());
    let mut acknowledged = Acknowledged::default();
    let mut hooks = 0;
    let met = match started(Server::try_start(&world.data(), &mut failing(&world, fault, n))) {
        Err(ran) => {
            assert!(has_failed(&trace(&world)), "{fault:?} {n}: it ended for another reason: {ran}");
            assert_eq!(ran.code, Some(1), "{ran}");
            Met::NoStart
        }
        Ok(server) => {
            let met = emit_until_refused(&server, &mut acknowledged, fault, n);
            if met != Met::Nothing {
                hooks = poisoned(&world, &server, &mut acknowledged, n);
            }
            // Half of those that failed die, the others are asked to stop.
            if met != Met::Nothing && n.is_multiple_of(2) {
                server.kill();
                met
            } else {
                stopped(server, &trace(&world), met)
            }
        }
    };
    let before = segments(&world);
    let server = world.server();
    let events = served(&server);
    acknowledged.check(&events);
    let prompts = events.iter().filter(|event| event["kind"] == "prompt_submitted").count();
    assert_eq!(prompts, hooks, "{fault:?} {n}: what the hooks left in the inbox is in the journal");
    if matches!(met, Met::Refusal(1..)) {
        // One that held nothing may have been replaced under its own name.
        let after = segments(&world);
        assert_ne!(after.last(), before.last(), "{fault:?} {n}: no new segment: {before:?}, {after:?}");
    }
    assert_eq!(acknowledged.emit(&server, 1_000, 0).status, 200);
    server.stop();
    acknowledged.check(&world.events([]));
    met
}

/// Waits for the first answer: a server that cannot record its own start ends, although it listens already.
fn started(server: Result<Server, Ran>) -> Result<Server, Ran> {
    let mut server = server?;
    loop {
        let mut answer = String::new();
        let asked = std::net::TcpStream::connect(&server.addr).and_then(|mut stream| {
            stream.set_read_timeout(Some(BOUND))?;
            write!(stream, "GET /health HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.addr)?;
            stream.read_to_string(&mut answer)
        });
        if asked.is_ok() && answer.starts_with("HTTP/1.1 200") {
            return Ok(server);
        }
        if !server.is_alive() {
            return Err(server.wait());
        }
    }
}

fn emit_until_refused(server: &Server, acknowledged: &mut Acknowledged, fault: Fault, n: u64) -> Met {
    let trace = server.data.parent().expect("the world").join("trace");
    for event in 0..emits(fault) {
        let failed_before = has_failed(&trace);
        let answer = acknowledged.emit(server, event, EVENT_BYTES);
        if answer.status != 200 {
            assert!(has_failed(&trace), "{fault:?} {n}: refused without a failure: {}", answer.text());
            assert_eq!((answer.status, answer.error_code().as_str()), (503, "journal_poisoned"));
            return Met::Refusal(acknowledged.0.len());
        }
        assert!(!failed_before, "{fault:?} {n}: event {event} was acknowledged after the failure");
    }
    if has_failed(&trace) {
        // The last call of all, behind the last acknowledgement.
        assert_eq!(acknowledged.emit(server, emits(fault), 100).status, 503, "{fault:?} {n}");
        return Met::Refusal(acknowledged.0.len());
    }
    Met::Nothing
}

/// What a poisoned server still does; how many hooks it took meanwhile.
fn poisoned(world: &World, server: &Server, acknowledged: &mut Acknowledged, n: u64) -> usize {
    let health = server.bare_request("GET", "/health", &[], b"");
    assert_eq!((health.status, &health.json()["status"]), (200, &"read_only".into()));
    acknowledged.check(&served(server));
    for text in ["one", "two"] {
        world.hook(&prompt("s", text));
    }
    for event in 100..105 {
        let answer = acknowledged.emit(server, event, 10);
        assert_eq!((answer.status, answer.error_code().as_str()), (503, "journal_poisoned"), "{n}");
    }
    assert_eq!(world.inbox_len(), 2, "the inbox keeps what the journal does not take");
    acknowledged.check(&served(server));
    2
}

/// Asks it to stop: it says so when it could not write or flush to the end.
fn stopped(server: Server, trace: &Path, met: Met) -> Met {
    server.signal(rustix::process::Signal::TERM);
    let ran = server.wait();
    let failed = has_failed(trace);
    assert_eq!(ran.code, Some(i32::from(failed)), "{ran}");
    if failed && met == Met::Nothing { Met::AtTheEnd } else { met }
}

/// Runs with every n from 1 on, until a run does not get as far as n.
fn every(fault: Fault) {
    if !has("strace", "-V") {
        return skipped(&format!("no strace: {fault:?} was not injected"));
    }
    let (mut unstarted, mut refusals, mut stops, mut n) = (0, 0, 0, 1);
    loop {
        match run(fault, n) {
            Met::NoStart => unstarted += 1,
            Met::Refusal(_) => refusals += 1,
            Met::AtTheEnd => stops += 1,
            // The positive control: the same harness, and nothing failed.
            Met::Nothing => break,
        }
        n += 1;
    }
    tell(&format!(
        "{fault:?}: {} failures injected: {unstarted} starts, {refusals} emits and {stops} stops failed",
        n - 1
    ));
    assert!(refusals > 0, "no failure ever met an emit");
}

#[test]
fn after_a_failed_fdatasync_nothing_is_acknowledged_and_nothing_is_lost() {
    every(Fault { call: "fdatasync", on_segment: false });
}

#[test]
fn after_a_failed_fsync_of_a_directory_nothing_is_acknowledged_and_nothing_is_lost() {
    every(Fault { call: "fsync", on_segment: false });
}

#[test]
fn after_a_failed_write_of_a_segment_nothing_is_acknowledged_and_nothing_is_lost() {
    every(Fault { call: "pwrite64", on_segment: true });
}
