//! A disk that fails: the n-th flush, or the n-th write of a segment, ends with EIO, for every n that a run reaches.
//!
//! From that moment on nothing may be acknowledged, since the kernel may have dropped the pages and call them clean; reads
//! go on, hooks go on into the inbox, and the next server goes on in a new segment with everything that was acknowledged.
//!
//! A server flushes on the thread of a request that is alone, and on the committer's otherwise. So its data directory lies on a disk of
//! ours ([`crate::power::disk`]), which counts calls whoever makes them, and lets one fail. A command has one thread that flushes: there
//! the failures are injected by `strace`, which stands between the real program and the real kernel.

use crate::power::disk::{Call, PowerDisk};
use crate::power::{mounted_at, unmount};
use crate::support::{BOUND, Ran, Running, Server, World};
use crate::world::{Acknowledged, has, prompt, segments, served, skipped, small_segments, tell};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;

/// Enough to roll to the next segment several times; there must be more flushes of directories than opening does.
fn emits(fault: Fault<'_>) -> u64 {
    if fault.call == "fsync" { 24 } else { 8 }
}

const EVENT_BYTES: usize = 20_000;

/// More than any journal here has: a segment may begin with any of them.
const SEQS_MAX: u64 = 100;

/// What fails.
#[derive(Clone, Copy, Debug)]
struct Fault<'a> {
    /// The system call.
    call: &'static str,
    /// On these segments only, and not on the files beside them, whose loss costs nothing.
    on_segments: Segments<'a>,
}

/// Where a call fails.
#[derive(Clone, Copy, Debug)]
enum Segments<'a> {
    /// On any file or directory, segment or not.
    Whatever,
    /// On this segment.
    One(&'a str),
    /// On those whose first seq is this or more.
    From(u64),
}

const FIRST_SEGMENT: &str = "00000000000000000001.seg";
const SERVE: [&str; 3] = ["api-server", "--addr", "127.0.0.1:0"];

impl Fault<'_> {
    /// The n-th of these calls on `disk` fails.
    fn set(self, disk: &PowerDisk, n: u64) {
        let call = match self.call {
            "fdatasync" => Call::SyncData,
            "fsync" => Call::Sync,
            _ => Call::Write,
        };
        match self.on_segments {
            Segments::Whatever => disk.fail_call(call, n, |_| true),
            Segments::One(name) => {
                let name = name.to_owned();
                disk.fail_call(call, n, move |of| of == name);
            }
            Segments::From(first) => disk.fail_call(call, n, move |of| {
                of.strip_suffix(".seg")
                    .and_then(|base| base.parse().ok())
                    .is_some_and(|base: u64| base >= first)
            }),
        }
    }
}

/// A world whose data directory lies on a disk of ours.
struct Broken {
    world: World,
    disk: PowerDisk,
    session: Option<fuser::BackgroundSession>,
}

impl Broken {
    /// `None` where there is no such disk to be had.
    fn new() -> Option<Broken> {
        let world = World::new();
        std::fs::create_dir(world.data()).expect("a directory");
        let (disk, session) = mounted_at("a disk that fails", false, &world.data())?;
        small_segments(&world.data());
        Some(Broken { world, disk, session: Some(session) })
    }

    fn has_failed(&self) -> bool {
        self.disk.met_by().is_some()
    }

    fn try_start(&self) -> Result<Server, Ran> {
        Server::try_start(&self.world.data(), &mut self.world.command(SERVE))
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        // After a failed test a server may still be there, and the disk is busy.
        if !std::thread::panicking() {
            unmount(session, &self.world.data());
        }
    }
}

/// This command under strace, with the n-th of these calls failing.
fn failing(world: &World, plain: &Command, fault: Fault<'_>, n: u64) -> Command {
    let mut command = Command::new("strace");
    // The tracer is the detached one, so that the server is our child and keeps its pid.
    command.args(["-D", "-f", "-qq", "--seccomp-bpf", "-o"]).arg(trace(world));
    command.args(["-e", &format!("trace={}", fault.call)]);
    command.args(["-e", &format!("inject={}:error=EIO:when={n}", fault.call)]);
    let names = match fault.on_segments {
        Segments::Whatever => Vec::new(),
        Segments::One(name) => vec![name.to_owned()],
        Segments::From(first) => (first..=SEQS_MAX).map(|base| format!("{base:020}.seg")).collect(),
    };
    for name in names {
        command.arg("-P").arg(world.data().join("journal").join(name));
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

fn trace_tells_of_a_failure(trace: &Path) -> bool {
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

/// One run with the n-th call failing, and everything that must be so afterwards; also, which thread met the failure.
fn run(fault: Fault<'_>, n: u64) -> Option<(Met, Option<String>)> {
    let broken = Broken::new()?;
    let world = &broken.world;
    fault.set(&broken.disk, n);
    let mut acknowledged = Acknowledged::default();
    let mut hooks = 0;
    let met = match started(broken.try_start()) {
        Err(ran) => {
            assert!(broken.has_failed(), "{fault:?} {n}: it ended for another reason: {ran}");
            assert_eq!(ran.code, Some(1), "{ran}");
            Met::NoStart
        }
        Ok(server) => {
            let met = emit_until_refused(&broken, &server, &mut acknowledged, fault, n);
            if met != Met::Nothing {
                hooks = poisoned(world, &server, &mut acknowledged, n);
            }
            // Half of those that failed die, the others are asked to stop.
            if met != Met::Nothing && n.is_multiple_of(2) {
                server.kill();
                met
            } else {
                stopped(server, &broken, met)
            }
        }
    };
    let met_by = broken.disk.heal();
    let before = segments(world);
    let server = world.server();
    let events = served(&server);
    acknowledged.check(&events);
    let prompts = events.iter().filter(|event| event["kind"] == "prompt_submitted").count();
    assert_eq!(prompts, hooks, "{fault:?} {n}: what the hooks left in the inbox is in the journal");
    if matches!(met, Met::Refusal(1..)) {
        // One that held nothing may have been replaced under its own name.
        let after = segments(world);
        assert_ne!(after.last(), before.last(), "{fault:?} {n}: no new segment: {before:?}, {after:?}");
    }
    assert_eq!(acknowledged.emit(&server, 1_000, 0).status, 200);
    server.stop();
    acknowledged.check(&world.events([]));
    Some((met, met_by))
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

fn emit_until_refused(
    broken: &Broken,
    server: &Server,
    acknowledged: &mut Acknowledged,
    fault: Fault<'_>,
    n: u64,
) -> Met {
    for event in 0..emits(fault) {
        let failed_before = broken.has_failed();
        let answer = acknowledged.emit(server, event, EVENT_BYTES);
        if answer.status != 200 {
            assert!(broken.has_failed(), "{fault:?} {n}: refused without a failure: {}", answer.text());
            assert_eq!((answer.status, answer.error_code().as_str()), (503, "journal_poisoned"));
            return Met::Refusal(acknowledged.0.len());
        }
        assert!(!failed_before, "{fault:?} {n}: event {event} was acknowledged after the failure");
    }
    if broken.has_failed() {
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
fn stopped(server: Server, broken: &Broken, met: Met) -> Met {
    server.signal(rustix::process::Signal::TERM);
    let ran = server.wait();
    let failed = broken.has_failed();
    assert_eq!(ran.code, Some(i32::from(failed)), "{ran}");
    if failed && met == Met::Nothing { Met::AtTheEnd } else { met }
}

/// Runs with every n from 1 on, until a run does not get as far as n; how often each thread met the failure.
fn every(fault: Fault<'_>) -> Option<BTreeMap<String, usize>> {
    let (mut unstarted, mut refusals, mut stops, mut n) = (0, 0, 0, 1);
    let mut met_by: BTreeMap<String, usize> = BTreeMap::new();
    loop {
        let (met, thread) = run(fault, n)?;
        if let Some(thread) = thread {
            *met_by.entry(thread).or_default() += 1;
        }
        match met {
            Met::NoStart => unstarted += 1,
            Met::Refusal(_) => refusals += 1,
            Met::AtTheEnd => stops += 1,
            // The positive control: the same harness, and nothing failed.
            Met::Nothing => break,
        }
        n += 1;
    }
    tell(&format!(
        "{fault:?}: {} failures injected: {unstarted} starts, {refusals} emits and {stops} stops failed; by thread: {met_by:?}",
        n - 1
    ));
    assert!(refusals > 0, "no failure ever met an emit");
    Some(met_by)
}

/// The names of the segments after the first, in a world in which nothing fails and `work` is done.
fn later_segments(work: impl FnOnce(&World)) -> Vec<String> {
    let world = World::new();
    small_segments(&world.data());
    work(&world);
    let names: Vec<String> = segments(&world).into_iter().map(|(name, _)| name).collect();
    assert!(names.len() > 2 && names[0] == FIRST_SEGMENT, "it did not go on to others: {names:?}");
    names[1..].to_vec()
}

/// Lines of a transcript, enough for several segments.
const LINES: usize = 40;

/// A transcript of prompts, each of which is an event of some size.
fn transcript(world: &World) -> String {
    let line = |n: usize| {
        let text = format!("prompt {n} {}", "x".repeat(5_000));
        serde_json::json!({
            "uuid": format!("00000000-0000-4000-9000-{n:012}"), "parentUuid": null, "isSidechain": false, "cwd": "/code/app",
            "sessionId": "6d1f3c52-98a4-4a0e-8d3b-2f6f5b7c1e10", "version": "2.0.0",
            "timestamp": format!("2026-01-02T03:04:{n:02}.000Z"), "type": "user", "message": {"role": "user", "content": text},
        })
        .to_string()
    };
    let path = world.home().join("transcript.jsonl");
    let lines: Vec<String> = (0..LINES).map(line).collect();
    std::fs::write(&path, lines.join("\n") + "\n").expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

/// The prompts of a journal in the order of their seqs, and that each stands there once.
fn prompts(world: &World) -> Vec<usize> {
    let events = world.events(["--kind", "prompt_submitted"]);
    Acknowledged::default().check(&events);
    let number = |event: &serde_json::Value| {
        let text = event["payload"]["prompt"].as_str().expect("a prompt");
        text.split(' ').nth(1).expect("a number").parse().expect("a number")
    };
    events.iter().map(number).collect()
}

/// What became of an import.
struct Imported {
    /// Whether it got as far as the call that was to fail.
    failed: bool,
    /// How many segments there were when it was refused, if it was.
    refused_at: Option<usize>,
}

/// An import through a server in which the n-th call fails. `None` where there is no disk to be had for it.
fn import_by_server(fault: Fault<'_>, n: u64) -> Option<Imported> {
    let broken = Broken::new()?;
    let path = transcript(&broken.world);
    fault.set(&broken.disk, n);
    let Ok(server) = started(broken.try_start()) else {
        assert!(broken.has_failed(), "{fault:?} {n}: it did not start, and nothing had failed");
        return Some(Imported { failed: true, refused_at: None });
    };
    let ran = broken.world.run(["import", "--json", path.as_str()]);
    let failed = broken.disk.heal().is_some();
    Some(imported(&broken.world, &path, &ran, failed, Some(server), (fault, n)))
}

/// An import by itself in which the n-th call fails.
fn import_alone(fault: Fault<'_>, n: u64) -> Imported {
    let world = World::new();
    small_segments(&world.data());
    let path = transcript(&world);
    let import = world.command(["import", "--json", path.as_str()]);
    let ran = Running::start(&mut failing(&world, &import, fault, n)).wait();
    let failed = trace_tells_of_a_failure(&trace(&world));
    imported(&world, &path, &ran, failed, None, (fault, n))
}

/// What must be so after an import, and after another that adds what is missing.
fn imported(
    world: &World,
    path: &str,
    ran: &Ran,
    failed: bool,
    server: Option<Server>,
    (fault, n): (Fault<'_>, u64),
) -> Imported {
    let refused = ran.code != Some(0);
    if refused {
        assert!(failed && ran.code == Some(1), "{fault:?} {n}: {ran}");
        assert_eq!(ran.stdout, "", "{fault:?} {n}: it says that something was added");
        assert!(!ran.stderr.is_empty(), "{fault:?} {n}: it says nothing of the failure");
    }
    if let Some(server) = server {
        server.kill();
    } else {
        assert_eq!(refused, failed, "{fault:?} {n}: {ran}");
    }
    let refused_at = refused.then(|| segments(world).len());
    let before = prompts(world);
    assert!(before.iter().copied().eq(0..before.len()), "{fault:?} {n}: not the first ones: {before:?}");
    assert!(refused || before.len() == LINES, "{fault:?} {n}: it said that all were added: {before:?}");
    let again = world.ok(["import", "--json", path]).json();
    let missing = LINES - before.len();
    assert!(
        again["added"].as_u64() >= Some(missing as u64),
        "{fault:?} {n}: {missing} were missing: {again}"
    );
    assert_eq!(prompts(world), (0..LINES).collect::<Vec<_>>(), "{fault:?} {n}");
    Imported { failed, refused_at }
}

/// Imports with every n from 1 on, until one does not get as far as n; at how many segments each was refused.
fn every_import(by_server: bool, fault: Fault<'_>) -> Option<Vec<usize>> {
    let mut refused = Vec::new();
    for n in 1.. {
        let imported = if by_server { import_by_server(fault, n)? } else { import_alone(fault, n) };
        refused.extend(imported.refused_at);
        if !imported.failed {
            break;
        }
    }
    Some(refused)
}

/// The first seqs of the segments that an import makes in which nothing fails: the positive control.
fn bases_of_an_import(by_server: bool) -> Vec<u64> {
    let world = World::new();
    small_segments(&world.data());
    let path = transcript(&world);
    let server = by_server.then(|| world.server());
    _ = world.ok(["import", path.as_str()]);
    if let Some(server) = server {
        server.kill();
    }
    let base = |(name, _): &(String, u64)| name.strip_suffix(".seg")?.parse().ok();
    let bases: Option<Vec<u64>> = segments(&world).iter().map(base).collect();
    assert_eq!(prompts(&world), (0..LINES).collect::<Vec<_>>());
    bases.expect("named by their first seqs")
}

#[test]
fn after_a_failed_fdatasync_nothing_is_acknowledged_and_nothing_is_lost() {
    let Some(met_by) = every(Fault { call: "fdatasync", on_segments: Segments::From(1) }) else { return };
    // Emits that come one by one are flushed where they are served.
    assert!(met_by.contains_key("server"), "no thread that serves met a failure: {met_by:?}");
}

#[test]
fn after_a_failed_fsync_of_a_directory_nothing_is_acknowledged_and_nothing_is_lost() {
    _ = every(Fault { call: "fsync", on_segments: Segments::Whatever });
}

#[test]
fn after_a_failed_write_of_a_segment_nothing_is_acknowledged_and_nothing_is_lost() {
    _ = every(Fault { call: "pwrite64", on_segments: Segments::One(FIRST_SEGMENT) });
}

#[test]
fn a_later_segment_whose_writes_or_flushes_fail_ends_acknowledging_as_the_first_does() {
    let later = later_segments(|world| {
        let (server, mut acknowledged) = (world.server(), Acknowledged::default());
        for event in 0..emits(Fault { call: "fdatasync", on_segments: Segments::From(1) }) {
            assert_eq!(acknowledged.emit(&server, event, EVENT_BYTES).status, 200);
        }
        server.stop();
    });
    for segment in &later {
        for call in ["pwrite64", "fdatasync"] {
            _ = every(Fault { call, on_segments: Segments::One(segment) });
        }
    }
}

#[test]
fn an_import_that_meets_a_failing_disk_claims_nothing_and_the_next_one_adds_the_rest_once() {
    if !has("strace", "-V") {
        return skipped("no strace: no failure was injected into an import");
    }
    for (by_server, call) in [(false, "fdatasync"), (false, "pwrite64"), (true, "fdatasync")] {
        let bases = bases_of_an_import(by_server);
        let [.., before, last] = bases[..] else { panic!("it did not go on to others: {bases:?}") };
        assert!(bases.len() > 2 && last <= SEQS_MAX, "{bases:?}");
        // A batch that is a little longer or shorter may move the last segment by a seq.
        let on_the_last = Segments::From(before.midpoint(last) + 1);
        for (on_segments, reached) in [(Segments::One(FIRST_SEGMENT), 1), (on_the_last, bases.len())] {
            let Some(refused) = every_import(by_server, Fault { call, on_segments }) else { continue };
            tell(&format!(
                "imports, by a server: {by_server}, {call}, {on_segments:?}: refused at so many segments of {}: {refused:?}",
                bases.len()
            ));
            assert!(refused.contains(&reached), "no failure of segment {reached} ever met an import");
        }
    }
}
