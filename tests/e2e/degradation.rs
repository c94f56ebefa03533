//! Every command where something is wrong: the server is down, is starting, is killed while the command waits for it; the data
//! directory cannot be written; the disk is full.
//!
//! The rule is one for all: the exit code of the table, at most one line on stderr, no panic, and everything that was on record
//! is there afterwards, once. Where the directory can be written, a run that is recorded has its start and one end. `hook` says
//! nothing and exits 0 whatever is wrong.
//!
//! - *Starting* is a server that holds the journal and cannot be found yet: its runtime file is not there.
//! - *Killed*: the server is halted, so that it takes the connection and answers nothing; once the command has connected, or has
//!   ended because it needs no server, the server is killed outright.
//! - *Read-only* and *full* are a mount of the command's own (`unshare -m`), so they need root: as root a mode keeps nobody out.

use crate::commands::{ROWS, Row, SESSION, Way, recorded};
use crate::life::prompt;
use crate::support::{BOUND, Ran, Running, Server, World, skipped};
use rustix::process::Signal;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Column of [`Row::worse`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    Down,
    Starting,
    Killed,
    ReadOnly,
    Full,
}

/// How long a command may do without a connection to the halted server before it is killed: a command that signals it has none.
pub(crate) const WITHOUT_CONNECTION: Duration = Duration::from_secs(1);

/// A demonstration has a directory and a server of its own. It, and the line that starts a server, are in [`crate::degradation_of_servers`].
fn rows() -> impl Iterator<Item = (usize, Row)> {
    let rows = ROWS.iter().filter(|row| row.way != Way::OnItsOwn).enumerate();
    rows.map(|(n, row)| {
        (n, if row.way == Way::Serves { Row { args: "--stop", domain: &[], ..*row } } else { *row })
    })
}

/// What is on record, without what the store and servers say of themselves.
pub(crate) fn on_record(world: &World) -> Vec<Value> {
    let mut events = world.events([]);
    events.retain(|event| event["category"] != "store" && event["category"] != "interface");
    events
}

/// Compares what a run did with what it should do; every difference is a line.
fn judge(row: &Row, trouble: Trouble, ran: &Ran, before: &[Value], after: &[Value]) -> Vec<String> {
    let name = format!("`{} {}`, {trouble:?}", row.path, row.args);
    let mut wrong = Vec::new();
    let expected = row.worse[trouble as usize];
    if ran.code != Some(expected) {
        wrong.push(format!("{name}: not exit {expected} but {ran}"));
    }
    let lines = ran.stderr.lines().count();
    if lines > usize::from(!row.is_hook()) {
        wrong.push(format!("{name}: {lines} lines on stderr: {}", ran.stderr));
    }
    if ran.stderr.contains("panicked") || ran.stderr.contains("internal error") {
        wrong.push(format!("{name}: {}", ran.stderr));
    }
    for event in before {
        let there = after.iter().filter(|one| one["id"] == event["id"]).count();
        if there != 1 {
            wrong.push(format!("{name}: an event of before is there {there} times: {event}"));
        }
    }
    let written = !matches!(trouble, Trouble::ReadOnly | Trouble::Full);
    let new: Vec<&Value> = after.iter().filter(|event| !before.contains(event)).collect();
    let count = |kind: &str| new.iter().filter(|event| event["kind"] == kind).count();
    let ends = count("cli_command_completed") + count("cli_command_failed");
    let recorded = usize::from(written && row.is_recorded());
    if written && (count("cli_command_started"), ends) != (recorded, recorded) {
        wrong.push(format!("{name}: {} starts and {ends} ends", count("cli_command_started")));
    }
    for kind in row.domain.iter().filter(|_| written && expected == 0 && row.facts) {
        if count(kind) != 1 {
            wrong.push(format!("{name}: {} events of kind {kind}", count(kind)));
        }
    }
    wrong
}

#[track_caller]
fn all_is_well(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn with_the_server_down_every_command_does_its_work() {
    let world = recorded();
    let mut wrong = Vec::new();
    for (n, row) in rows() {
        let before = on_record(&world);
        let ran = row.run(&world, n, &[]);
        wrong.extend(judge(&row, Trouble::Down, &ran, &before, &on_record(&world)));
    }
    all_is_well(&wrong);
}

#[test]
fn while_a_server_starts_every_command_ends_as_documented() {
    let world = recorded();
    let mut wrong = Vec::new();
    for (n, row) in rows() {
        let before = on_record(&world);
        let server = world.server();
        std::fs::remove_file(world.data().join("server.json")).expect("its runtime file");
        let ran = row.run(&world, n, &[]);
        server.stop();
        wrong.extend(judge(&row, Trouble::Starting, &ran, &before, &runs_of_others(&world, &before)));
    }
    all_is_well(&wrong);
}

#[test]
fn a_server_that_is_killed_in_the_middle_fails_no_command_that_can_do_without() {
    let world = recorded();
    let mut wrong = Vec::new();
    for (n, row) in rows() {
        let before = on_record(&world);
        let server = world.server();
        server.signal(Signal::STOP);
        let line = row.line(&world, n);
        let mut command = world.command(&line);
        row.stdio(&mut command);
        let mut running = Running::start(&mut command);
        row.feed(&mut running);
        let began = Instant::now();
        while running.is_alive() && !is_connected(&server) && began.elapsed() < WITHOUT_CONNECTION {
            std::thread::yield_now();
        }
        server.kill();
        let ran = running.wait_at_most(BOUND);
        // The next server ends what the killed one left open; its own run is not the row's.
        world.server().stop();
        wrong.extend(judge(&row, Trouble::Killed, &ran, &before, &runs_of_others(&world, &before)));
    }
    all_is_well(&wrong);
}

/// What is on record without the runs of servers that a test started around the row.
fn runs_of_others(world: &World, before: &[Value]) -> Vec<Value> {
    let mut events = on_record(world);
    let served = |event: &Value| {
        let arguments = &event["payload"]["args"];
        event["kind"] == "cli_command_started" && arguments[0] == "--addr" && !before.contains(event)
    };
    let runs: Vec<Value> = events.iter().filter(|e| served(e)).map(|e| e["correlation"].clone()).collect();
    events.retain(|event| !runs.contains(&event["correlation"]));
    events
}

/// Whether somebody has a connection to the server: an established one on its port, as the kernel lists them.
pub(crate) fn is_connected(server: &Server) -> bool {
    let port: u16 = server.addr.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let listed = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's list");
    let ours = format!(":{port:04X}");
    listed.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.len() > 3 && fields[1].ends_with(&ours) && fields[3] == "01"
    })
}

/// Whether this machine lets a command have mounts of its own; says so where it does not.
pub(crate) fn can_mount() -> bool {
    let tried = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    let can = tried.is_ok_and(|tried| tried.status.success());
    if !can {
        skipped("no mounts of our own (root and unshare): no read-only directory, no full disk");
    }
    can
}

/// The data directory cannot be written.
pub(crate) const READ_ONLY: &str =
    "mount --bind \"$DATA\" \"$DATA\" && mount -o remount,ro,bind \"$DATA\" && exec \"$0\" \"$@\"";
/// A copy of the data directory, what it keeps room with included, on a disk without room.
pub(crate) const FULL: &str = "mount -t tmpfs -o size=96m,mode=700 none disk && \
    cp -a --sparse=never \"$DATA\" disk/data && export MNEMOSYNE_DATA_DIR=\"$PWD/disk/data\"; cat /dev/zero > disk/ballast 2>/dev/null; exec \"$0\" \"$@\"";

/// A line behind a script that prepares its mounts. `$DATA` is the data directory.
pub(crate) fn command_behind(world: &World, line: &[&str], script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, env!("CARGO_BIN_EXE_mnemosyne")]).args(line).env_clear();
    let own = world.command(line);
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("DATA", world.data()).current_dir(world.home());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a row so.
fn behind(world: &World, row: &Row, n: usize, script: &str) -> Ran {
    let line = row.line(world, n);
    let words: Vec<&str> = line.iter().map(String::as_str).collect();
    let mut command = command_behind(world, &words, script);
    row.stdio(&mut command);
    let mut running = Running::start(&mut command);
    row.feed(&mut running);
    running.wait_at_most(BOUND)
}

#[test]
fn in_a_directory_that_cannot_be_written_reading_works_and_writing_fails_in_one_line() {
    if !can_mount() {
        return;
    }
    let world = recorded();
    let before = on_record(&world);
    let mut wrong = Vec::new();
    for (n, row) in rows() {
        let ran = behind(&world, &row, n, READ_ONLY);
        wrong.extend(judge(&row, Trouble::ReadOnly, &ran, &before, &on_record(&world)));
    }
    all_is_well(&wrong);
}

#[test]
fn on_a_full_disk_reading_works_and_nothing_that_was_there_is_lost() {
    if !can_mount() {
        return;
    }
    let world = recorded();
    let before = on_record(&world);
    let disk = world.home().join("disk");
    std::fs::create_dir(&disk).expect("a directory");
    // The copy is read back inside, as the disk is gone with the command.
    let script = "mount -t tmpfs -o size=96m,mode=700 none disk && cp -a \"$DATA\" disk/data && \
        export MNEMOSYNE_DATA_DIR=\"$PWD/disk/data\"; cat /dev/zero > disk/ballast 2>/dev/null; \
        \"$0\" \"$@\"; code=$?; rm disk/ballast; \"$0\" events --json > after.json; exit $code";
    let mut wrong = Vec::new();
    for (n, row) in rows() {
        let ran = behind(&world, &row, n, script);
        let after = read_lines(&world.home().join("after.json"));
        wrong.extend(judge(&row, Trouble::Full, &ran, &before, &after));
    }
    all_is_well(&wrong);
}

/// Runs a line that does not end by itself, behind a script if there is one.
fn follower(world: &World, script: Option<&str>) -> Running {
    let line = ["tail", "-f", "-n", "100"];
    let mut command =
        script.map_or_else(|| world.command(line), |script| command_behind(world, &line, script));
    Running::start(&mut command)
}

/// Ends it as a person would: it was not done, and says at most how much of what was emitted it cannot show.
#[track_caller]
fn end(following: Running, name: &str) {
    following.signal(Signal::TERM);
    let ran = following.wait();
    assert!(ran.code == Some(130) && ran.stderr.lines().count() <= 1, "{name}: {ran}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    for line in &lines {
        assert_eq!(lines.iter().filter(|other| other == &line).count(), 1, "{name}: shown twice: {line}");
    }
}

#[test]
fn a_follower_goes_on_with_the_server_down_starting_and_killed() {
    let world = recorded();
    let following = follower(&world, None);
    following.wait_for_stdout("session_ended");
    let shown = |n: u32| {
        world.hook(&prompt(SESSION, &format!("prompt number {n}")));
        following.wait_for_stdout(&format!("prompt number {n}"));
    };
    shown(1);
    // One that starts holds the journal and cannot be found.
    let server = world.server();
    let runtime = std::fs::read(world.data().join("server.json")).expect("its runtime file");
    std::fs::remove_file(world.data().join("server.json")).expect("its runtime file");
    shown(2);
    std::fs::write(world.data().join("server.json"), runtime).expect("its runtime file");
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(world.data().join("server.json"), mode).expect("its mode");
    crate::support::wait_for("the follower at the server", || is_connected(&server).then_some(()));
    shown(3);
    server.signal(Signal::STOP);
    world.hook(&prompt(SESSION, "prompt number 4"));
    server.kill();
    following.wait_for_stdout("prompt number 4");
    shown(5);
    end(following, "down, starting, killed");
}

#[test]
fn a_follower_shows_what_comes_where_it_cannot_write() {
    if !can_mount() {
        return;
    }
    let world = recorded();
    let following = follower(&world, Some(READ_ONLY));
    following.wait_for_stdout("session_ended");
    let server = world.server();
    world.hook(&prompt(SESSION, "from outside"));
    following.wait_for_stdout("from outside");
    server.stop();
    end(following, "read-only");

    std::fs::create_dir(world.home().join("disk")).expect("a directory");
    let following = follower(&world, Some(FULL));
    following.wait_for_stdout("session_ended");
    end(following, "full");
}

fn read_lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("what was on the disk");
    std::fs::remove_file(path).expect("it is ours");
    text.lines().map(|line| serde_json::from_str(line).expect("an event")).collect()
}
