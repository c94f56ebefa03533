//! A disk without room: a small file system that is filled and freed again and again, and a limit on the size of a file.
//!
//! An emit says 507 `storage_full` and nothing of it is kept; what was acknowledged stays readable; once there is room,
//! writing goes on in the same process. A hook on the full disk ends well all the same: a server that has room set aside takes its event,
//! and what nobody could keep is counted in `inbox/failed`, which needs no room.
//!
//! A server that starts where not one page is free shows what was recorded, refuses the rest, and goes on in the same way.
//!
//! The small file system is a tmpfs in a mount namespace of its own, so it needs root and vanishes with the child.

use crate::child;
use crate::support::{BOUND, Ran, Running, Server, World, wait_for};
use crate::world::{Acknowledged, has, id, prompt, request, rounds, served, skipped, small_segments, tell};
use mnemosyne::store::inbox::failed;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// Where the small disk is, for the child.
const PLACE: &str = "MNEMOSYNE_RELIABILITY_PLACE";
const MIB: usize = 1 << 20;

/// How the script of a child ends that could not mount anything.
const NO_MOUNT: i32 = 77;

/// Whether it was the machine that refused a mount; whatever else goes wrong in the child is a failure.
fn has_no_mounts(ran: &Ran) -> bool {
    ran.code == Some(NO_MOUNT) || ran.stderr.starts_with("unshare: ")
}

/// Lets a child play `role` on a small disk of so many megabytes; what it told. `None` where there is none to be had.
fn on_a_small_disk(role: &str, size: usize) -> Option<Ran> {
    if !rustix::process::geteuid().is_root() || !has("unshare", "--version") {
        skipped("no root or no unshare: no small disk was filled");
        return None;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let place = dir.path().to_str().expect("UTF-8");
    let script = format!(
        "mount -t tmpfs -o size={size}m,mode=700 none '{place}' || exit {NO_MOUNT}; exec \"$0\" \"$@\""
    );
    let mut command = child::command_through(&["unshare", "-m", "sh", "-c", &script], role);
    command.env(PLACE, dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ran = Running::start(&mut command).wait_at_most(Duration::from_secs(1_800));
    tell(&ran.stderr);
    if has_no_mounts(&ran) {
        skipped("no mounts of our own: no small disk was filled");
        return None;
    }
    assert_eq!(ran.code, Some(0), "{ran}");
    Some(ran)
}

#[test]
fn a_disk_that_fills_and_frees_costs_nothing_that_was_acknowledged() {
    let Some(ran) = on_a_small_disk("full", 16 + rounds(10, 200)) else { return };
    assert!(ran.stderr.contains("cycles on a full disk"), "the child did its part: {ran}");
}

#[test]
fn a_server_starts_where_not_one_page_is_free_reads_refuses_and_goes_on_when_there_is_room() {
    let Some(ran) = on_a_small_disk("start", 16 + rounds(6, 60)) else { return };
    assert!(ran.stderr.contains("starts on a full disk"), "the child did its part: {ran}");
}

/// The child's part of that.
pub(crate) fn start_without_a_page() {
    let place = PathBuf::from(std::env::var_os(PLACE).expect("where the small disk is"));
    let (world, data) = (World::new(), place.join("data"));
    small_segments(&data);
    let start = || {
        let mut command = world.command(["api-server", "--addr", "127.0.0.1:0"]);
        Server::try_start(&data, command.env("MNEMOSYNE_DATA_DIR", &data))
    };
    let mut server = start().expect("there is room");
    let (mut acknowledged, mut n, mut only_read) = (Acknowledged::default(), 0, 0);
    let starts = rounds(6, 60);
    for round in 0..starts {
        let mut emit = |server: &Server, acknowledged: &mut Acknowledged, bytes| {
            n += 1;
            acknowledged.emit(server, n, bytes).status
        };
        for bytes in [10, 5_000, 20_000] {
            assert_eq!(emit(&server, &mut acknowledged, bytes), 200, "round {round}");
        }
        fill(&place.join("ballast"));
        while emit(&server, &mut acknowledged, 5_000) == 200 {}
        // Every other one is asked to stop, and may not be able to write that down.
        if round % 2 == 0 {
            server.kill();
        } else {
            server.signal(rustix::process::Signal::TERM);
            server.wait();
        }
        // What it gave back.
        fill(&place.join("more"));
        server = start().unwrap_or_else(|ran| panic!("round {round}: it does not start: {ran}"));
        let health = server.bare_request("GET", "/health", &[], b"").json();
        only_read += usize::from(health["status"] == "read_only");
        assert_eq!(acknowledged.check(&served(&server)), 0, "round {round}: what was refused is there");
        for bytes in [10, 5_000] {
            assert_eq!(emit(&server, &mut acknowledged, bytes), 507, "round {round}");
        }
        for ballast in ["ballast", "more"] {
            std::fs::remove_file(place.join(ballast)).expect("room again");
        }
        wait_for("writing to go on without a restart", || {
            n += 1;
            acknowledged.0.insert(id(n), try_emit(&server, n)?);
            Some(())
        });
    }
    assert!(only_read > 0, "every journal could be opened for writing on a full disk");
    server.kill();
    // The control: what is kept for this is away, and its room is taken.
    for kept in ["server.json", "server.spare"] {
        std::fs::remove_file(data.join(kept)).expect("it is there");
    }
    fill(&place.join("ballast"));
    let ran = start().err().expect("there is no room for its address");
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains("server.") && ran.stderr.contains("No space left"), "{ran}");
    std::fs::remove_file(place.join("ballast")).expect("room again");
    let server = start().expect("there is room");
    acknowledged.check(&served(&server));
    server.stop();
    tell(&format!(
        "{starts} starts on a full disk, {only_read} for reading alone at first: {} acknowledged, 0 lost",
        acknowledged.0.len()
    ));
}

/// The seq of an event, if it was taken. A server that goes from reading to writing may close a connection that has not asked yet.
fn try_emit(server: &Server, n: u64) -> Option<u64> {
    let body = request(n, 10).to_string();
    let mut stream = TcpStream::connect(&server.addr).ok()?;
    stream.set_read_timeout(Some(BOUND)).ok()?;
    let head = format!(
        "POST /events/emit HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        server.addr,
        server.token,
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    head.starts_with("HTTP/1.1 200").then(|| body["seqs"][0].as_u64().expect("a seq"))
}

#[test]
fn a_hook_that_finds_no_room_hands_its_event_to_the_server_that_has_some() {
    let Some(ran) = on_a_small_disk("handed", 26) else { return };
    assert!(ran.stderr.contains("handed over on a full disk"), "the child did its part: {ran}");
}

/// The child's part of that. The controls: a server that is halted, and none.
pub(crate) fn handed_over_without_room() {
    let place = PathBuf::from(std::env::var_os(PLACE).expect("where the small disk is"));
    let (world, data) = (World::new(), place.join("data"));
    small_segments(&data);
    let mut command = world.command(["api-server", "--addr", "127.0.0.1:0"]);
    let server = Server::start(&data, command.env("MNEMOSYNE_DATA_DIR", &data));
    let (mut acknowledged, mut hooks) = (Acknowledged::default(), Hooks::default());
    assert_eq!(acknowledged.emit(&server, 1, 10).status, 200);
    // Its first event makes the directories and the count.
    hooks.run(&world, &data, "before");
    let prompts = |server: &Server| {
        let events = served(server);
        let prompts = events.iter().filter(|event| event["kind"] == "prompt_submitted");
        prompts.map(|event| event["payload"]["prompt"].to_string().len()).collect::<Vec<_>>()
    };
    wait_for("the event before", || (prompts(&server).len() == 1).then_some(()));
    fill(&place.join("ballast"));
    hooks.run(&world, &data, "handed");
    assert_eq!(
        (hooks.kept, hooks.failed, prompts(&server).len()),
        (2, 0, 2),
        "the server has room set aside"
    );
    let names = std::fs::read_dir(data.join("inbox"))
        .expect("the inbox")
        .filter_map(|name| name.ok()?.file_name().into_string().ok());
    let left: Vec<String> = names.filter(|name| name.starts_with(|c: char| c.is_ascii_digit())).collect();
    assert_eq!(left, [""; 0], "nothing of it is in the inbox");

    // One that does not answer is not waited for, and the event is counted.
    server.signal(rustix::process::Signal::STOP);
    hooks.run(&world, &data, "halted");
    assert_eq!((hooks.kept, hooks.failed), (2, 1));
    server.kill();
    hooks.run(&world, &data, "nobody");
    assert_eq!((hooks.kept, hooks.failed), (2, 2));
    tell("handed over on a full disk: 1 of 3, the others counted");
}

/// The child's part, inside of the namespace.
pub(crate) fn on_the_small_disk() {
    let place = PathBuf::from(std::env::var_os(PLACE).expect("where the small disk is"));
    let world = World::new();
    let data = place.join("data");
    // A cycle of zeros ahead of the writer is not to take most of the disk.
    small_segments(&data);
    let mut command = world.command(["api-server", "--addr", "127.0.0.1:0"]);
    command.env("MNEMOSYNE_DATA_DIR", &data);
    let server = Server::start(&data, &mut command);
    let mut acknowledged = Acknowledged::default();
    let mut hooks = Hooks::default();
    let cycles = rounds(10, 200);
    let mut n = 0;
    for cycle in 0..cycles {
        n = one_cycle(cycle, n, &place, &server, &mut acknowledged, &mut |text| {
            hooks.run(&world, &data, text);
        });
    }
    assert!(hooks.failed > 0, "no hook met the full disk");
    server.stop();
    let mut command = world.command(["events", "--json"]);
    command.env("MNEMOSYNE_DATA_DIR", &data);
    let ran = Running::start(&mut command).wait();
    let events = ran.json_lines();
    assert_eq!(acknowledged.check(&events), 0, "what was refused with 507 is not there");
    let prompts = events.iter().filter(|event| event["kind"] == "prompt_submitted").count();
    // One that a server took too late to say so is counted as well.
    let all = hooks.kept..=hooks.kept + hooks.failed;
    assert!(
        all.contains(&prompts),
        "{prompts} of {all:?}: each hook's event is in the journal or counted as failed"
    );
    tell(&format!(
        "{cycles} cycles on a full disk: {} acknowledged, 0 lost; hooks: {} kept, {} counted as failed",
        acknowledged.0.len(),
        hooks.kept,
        hooks.failed
    ));
}

/// Fills the disk, emits until it is refused, frees it, emits again; the number of the next event.
fn one_cycle(
    cycle: usize,
    mut n: u64,
    place: &Path,
    server: &Server,
    acknowledged: &mut Acknowledged,
    hook: &mut dyn FnMut(&str),
) -> u64 {
    let ballast = place.join("ballast");
    fill(&ballast);
    let refusal = loop {
        let answer = acknowledged.emit(server, n, 20_000);
        n += 1;
        if answer.status != 200 {
            break answer;
        }
        assert!(n < (cycle as u64 + 1) * 10_000, "the disk is never full");
    };
    assert_eq!((refusal.status, refusal.error_code().as_str()), (507, "storage_full"), "{}", refusal.text());
    hook("on the full disk");
    let answer = acknowledged.emit(server, n, 20_000);
    assert_eq!(answer.status, 507, "cycle {cycle}: {}", answer.text());
    n += 1;
    if cycle < 3 {
        assert_eq!(acknowledged.check(&served(server)), 0);
    } else {
        let last = acknowledged.0.values().max().copied().expect("something was acknowledged");
        assert_eq!(server.get(&format!("/events/{last}")).status, 200, "reading goes on");
    }
    std::fs::remove_file(&ballast).expect("room again");
    for _ in 0..3 {
        let answer = acknowledged.emit(server, n, 5_000);
        assert_eq!(answer.status, 200, "cycle {cycle}: no restart is needed: {}", answer.text());
        n += 1;
    }
    n
}

#[test]
fn what_an_opening_finds_is_told_though_there_was_no_room_for_it() {
    // The last one is the control: without the room that is kept for it, it is lost with the process.
    for role in ["untold-journal", "untold-spare", "untold-later", "untold-control"] {
        let Some(ran) = in_a_small_inbox(role) else { return };
        assert!(ran.stderr.contains("a recovery without room"), "the child did its part: {ran}");
    }
}

/// Lets a child play `role` where the inbox is a disk of its own with 64 KiB.
fn in_a_small_inbox(role: &str) -> Option<Ran> {
    if !rustix::process::geteuid().is_root() || !has("unshare", "--version") {
        skipped("no root or no unshare: no small inbox was filled");
        return None;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let inbox = dir.path().join("data/inbox");
    std::fs::create_dir_all(&inbox).expect("the inbox");
    let place = inbox.to_str().expect("UTF-8");
    let script =
        format!("mount -t tmpfs -o size=64k,mode=700 none '{place}' || exit {NO_MOUNT}; exec \"$0\" \"$@\"");
    let mut command = child::command_through(&["unshare", "-m", "sh", "-c", &script], role);
    command.env(PLACE, dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ran = Running::start(&mut command).wait_at_most(Duration::from_secs(600));
    tell(&ran.stderr);
    if has_no_mounts(&ran) {
        skipped("no mounts of our own: no small inbox was filled");
        return None;
    }
    assert_eq!(ran.code, Some(0), "{ran}");
    Some(ran)
}

/// The child's part of that: a server is killed, its journal gets a torn end, and the next one opens it where the inbox is full, and
/// the journal at its cap or not. That one is killed, too, and what it found is known to nobody else.
pub(crate) fn opened_without_room(role: &str) {
    let place = PathBuf::from(std::env::var_os(PLACE).expect("where the data directory is"));
    let (world, data) = (World::new(), place.join("data"));
    let [spare, ballast, note] =
        ["untold.spare", "ballast", "untold-journal_recovered"].map(|name| data.join("inbox").join(name));
    let start = || {
        let mut command = world.command(["api-server", "--addr", "127.0.0.1:0"]);
        Server::start(&data, command.env("MNEMOSYNE_DATA_DIR", &data))
    };
    let told = |server: &Server| {
        let torn = |event: &serde_json::Value| event["payload"]["torn_bytes"].as_u64() > Some(0);
        let events = served(server);
        events.iter().filter(|event| event["kind"] == "journal_recovered" && torn(event)).count()
    };
    capped(&data, 16 * MIB);
    let (server, mut acknowledged) = (start(), Acknowledged::default());
    let refused = (0..10_000).find(|n| {
        let status = acknowledged.emit(&server, *n, 60_000).status;
        status != 200 || role == "untold-journal"
    });
    assert!(refused.is_some(), "the cap does not hold");
    server.kill();
    tear(&data.join("journal"));
    if role != "untold-spare" {
        std::fs::remove_file(&spare).expect("room is kept");
    }
    fill(&ballast);
    let mut server = start();
    if role != "untold-journal" {
        assert_eq!(told(&server), 0, "there is no room to tell it");
        if role == "untold-later" {
            std::fs::remove_file(&ballast).expect("room again");
            wait_for("it to be left for the next", || note.exists().then_some(()));
        }
        server.kill();
        std::fs::remove_file(&ballast).ok();
        capped(&data, 64 * MIB);
        server = start();
    }
    assert_eq!(told(&server), usize::from(role != "untold-control"), "{role}");
    assert!(!note.exists(), "{role}: once it was told");
    assert_eq!(spare.exists(), role != "untold-journal", "{role}: room is kept for the next");
    assert_eq!(acknowledged.check(&served(&server)), 0);
    server.stop();
    tell(&format!("a recovery without room, {role}: as promised"));
}

/// Bytes of a batch that was never finished.
fn tear(journal: &Path) {
    let segments = std::fs::read_dir(journal).expect("a journal").map(|file| file.expect("a file").path());
    let last = segments.filter(|path| path.extension().is_some_and(|end| end == "seg")).max();
    let mut file = std::fs::File::options().append(true).open(last.expect("a segment")).expect("opened");
    file.write_all(&[0xA5; 100]).expect("written");
}

/// Writes until there is no room.
fn fill(ballast: &Path) {
    let mut file = std::fs::File::create(ballast).expect("an empty file fits");
    for size in [MIB, 4096, 1] {
        let block = vec![0xA5; size];
        while file.write_all(&block).is_ok() {}
    }
}

/// Hooks, and what became of their events.
#[derive(Default)]
struct Hooks {
    kept: usize,
    failed: usize,
}

impl Hooks {
    fn run(&mut self, world: &World, data: &Path, text: &str) {
        let count = || failed::read(&data.join("inbox")).expect("the count can be read");
        let before = count();
        let mut command = world.command(["hook"]);
        command.env("MNEMOSYNE_DATA_DIR", data).stdin(Stdio::piped());
        let mut running = Running::start(&mut command);
        // Longer than what may be left of the last block.
        running.feed(prompt("s", &text.repeat(1_000)).to_string().as_bytes());
        let ran = running.wait();
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""));
        let after = count();
        match after.count - before.count {
            0 => self.kept += 1,
            1 => {
                self.failed += 1;
                assert!(after.last.is_some() && !after.reason.is_empty(), "{after:?}");
            }
            more => panic!("one hook counted {more} failures"),
        }
    }
}

#[test]
fn a_limit_on_the_size_of_files_is_a_full_disk_and_not_the_end() {
    if !has("prlimit", "--version") {
        return skipped("no prlimit: no limit was set on the size of files");
    }
    let world = World::new();
    let server = world.server();
    let limit = |value: &str| {
        let pid = server.pid().to_string();
        let mut prlimit = std::process::Command::new("prlimit");
        let status = prlimit.args(["--pid", &pid, &format!("--fsize={value}")]).status();
        assert!(status.is_ok_and(|status| status.success()), "the limit can be set");
    };
    let mut acknowledged = Acknowledged::default();
    let mut n = 0;
    for round in 0..3_u64 {
        limit(&format!("{}:unlimited", (round + 1) * 2 * MIB as u64));
        let refusal = loop {
            let answer = acknowledged.emit(&server, n, 60_000);
            n += 1;
            if answer.status != 200 {
                break answer;
            }
            assert!(n < 1_000, "the limit does not hold");
        };
        assert_eq!((refusal.status, refusal.error_code().as_str()), (507, "storage_full"));
        assert_eq!(acknowledged.check(&served(&server)), 0);
    }
    limit("unlimited");
    assert_eq!(acknowledged.emit(&server, n, 60_000).status, 200, "no restart is needed");
    server.stop();
    assert_eq!(acknowledged.check(&world.events([])), 0);
    tell(&format!("a limit on file sizes: {} acknowledged, 3 times refused", acknowledged.0.len()));
}

/// Settings of a store that may take so much of the disk, in segments small enough to be many.
fn capped(data: &Path, max_bytes: usize) {
    small_segments(data);
    let settings = format!("[journal]\nsegment_bytes = 65536\n[disk]\nmax_bytes = {max_bytes}\n");
    std::fs::write(data.join("config.toml"), settings).expect("its settings");
}

#[test]
fn a_server_at_its_cap_starts_again_reads_refuses_and_goes_on_when_the_cap_is_raised() {
    let world = World::new();
    capped(&world.data(), 16 * MIB);
    let (mut acknowledged, mut n) = (Acknowledged::default(), 0);
    for round in 0..4 {
        let server = world.server();
        assert_eq!(server.bare_request("GET", "/health", &[], b"").status, 200, "round {round}");
        // Small ones last: they are refused, too, and not only what is too large for what is left.
        for bytes in [60_000, 1_000, 10] {
            let refusal = loop {
                let answer = acknowledged.emit(&server, n, bytes);
                n += 1;
                if answer.status != 200 {
                    break answer;
                }
                assert!(n < 10_000, "the cap does not hold");
            };
            assert_eq!((refusal.status, refusal.error_code().as_str()), (507, "storage_full"));
            assert!(refusal.text().contains("disk.max_bytes"), "{}", refusal.text());
        }
        assert_eq!(acknowledged.check(&served(&server)), 0, "round {round}");
        if round % 2 == 0 {
            server.kill();
        } else {
            server.stop();
        }
    }
    let taken = acknowledged.0.len();
    capped(&world.data(), 24 * MIB);
    let server = world.server();
    assert_eq!(acknowledged.emit(&server, n, 20_000).status, 200, "there is room again");
    server.stop();
    assert_eq!(acknowledged.check(&world.events([])), 0);
    tell(&format!("a server at its cap: started 4 times, {taken} acknowledged, 0 lost"));
}
