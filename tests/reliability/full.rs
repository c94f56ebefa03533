//! A disk without room: a small file system that is filled and freed again and again, and a limit on the size of a file.
//!
//! An emit says 507 `storage_full` and nothing of it is kept; what was acknowledged stays readable; once there is room,
//! writing goes on in the same process. A hook on the full disk ends well all the same, and what it could not keep is counted in
//! `inbox/failed`, which needs no room.
//!
//! The small file system is a tmpfs in a mount namespace of its own, so it needs root and vanishes with the child.

use crate::child;
use crate::support::{Running, Server, World};
use crate::world::{Acknowledged, has, prompt, rounds, served, skipped, small_segments, tell};
use mnemosyne::store::inbox::failed;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// Where the small disk is, for the child.
const PLACE: &str = "MNEMOSYNE_RELIABILITY_PLACE";
const MIB: usize = 1 << 20;

#[test]
fn a_disk_that_fills_and_frees_costs_nothing_that_was_acknowledged() {
    if !rustix::process::geteuid().is_root() || !has("unshare", "--version") {
        return skipped("no root or no unshare: no small disk was filled");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let place = dir.path().to_str().expect("UTF-8");
    let size = 16 + rounds(10, 200);
    let script = format!("mount -t tmpfs -o size={size}m,mode=700 none '{place}' && exec \"$0\" \"$@\"");
    let mut command = child::command_through(&["unshare", "-m", "sh", "-c", &script], "full");
    command.env(PLACE, dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ran = Running::start(&mut command).wait_at_most(Duration::from_secs(1_800));
    tell(&ran.stderr);
    if ran.stderr.contains("permission denied") || ran.stderr.contains("Operation not permitted") {
        return skipped("no mounts of our own: no small disk was filled");
    }
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(ran.stderr.contains("cycles on a full disk"), "the child did its part: {ran}");
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
    assert_eq!(prompts, hooks.kept, "each hook's event is in the journal or counted as failed");
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
