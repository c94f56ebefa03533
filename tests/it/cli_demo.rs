//! `demo`: a stranger's first look, and that nothing is left of it.

use crate::support::{Running, World, wait_for};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The demonstration takes some seconds by intent: it shows a session as it happens.
const DEMO_BOUND: Duration = Duration::from_secs(90);

fn demo(world: &World, args: &[&str]) -> Running {
    let mut command = world.bare_command(["demo"].iter().chain(args));
    Running::start(command.env("TMPDIR", world.home()))
}

fn left_behind(world: &World) -> Vec<PathBuf> {
    std::fs::read_dir(world.home()).expect("the home").map(|item| item.expect("an item").path()).collect()
}

/// Processes whose command line holds the path.
fn processes_on(directory: &Path) -> Vec<String> {
    let needle = directory.to_str().expect("UTF-8");
    std::fs::read_dir("/proc")
        .expect("processes")
        .filter_map(|item| std::fs::read(item.ok()?.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(needle))
        .collect()
}

#[test]
fn once_shows_the_session_live_and_again_and_leaves_nothing() {
    let world = World::new();
    let ran = demo(&world, &["--once"]).wait_at_most(DEMO_BOUND);
    assert_eq!(ran.code, Some(0), "{ran}");
    let starts = ran.stdout.matches("session_started").count();
    assert!(starts >= 2, "live and again: {ran}");
    for kind in
        ["prompt_submitted", "tool_call_started", "tool_call_failed", "subagent_started", "session_ended"]
    {
        assert!(ran.stdout.contains(kind), "{kind}: {ran}");
    }
    assert!(
        ran.stderr.contains("What to do next") && ran.stderr.contains("mnemosyne demo --once --data-dir"),
        "{ran}"
    );
    assert_eq!(left_behind(&world), Vec::<PathBuf>::new());
    assert_eq!(processes_on(world.home()), Vec::<String>::new());
}

#[test]
fn with_json_it_counts_what_it_saw_and_a_named_directory_is_kept() {
    let world = World::new();
    let kept = world.home().join("kept");
    let named = kept.to_str().expect("UTF-8");
    let ran = demo(&world, &["--once", "--json", "--data-dir", named]).wait_at_most(DEMO_BOUND);
    assert_eq!(ran.code, Some(0), "{ran}");
    let object = ran.json();
    assert_eq!((&object["version"], &object["hooks"], &object["seen"]), (&1.into(), &24.into(), &24.into()));
    assert_eq!(object["data_dir"], named);
    assert!(object["replayed"].as_u64().expect("a number") >= 24, "{object}");
    let session = object["session"].as_str().expect("an id");
    let events = world.ok(["events", "--json", "--data-dir", named, "--session", session]).json_lines();
    assert_eq!(events.len(), 24);
    let shown = world.ok(["session", session, "--json", "--data-dir", named]).json();
    let agent = &shown["agents"][0];
    assert_eq!(
        (&agent["agent_id"], &agent["tool_use_id"], &agent["parent"], &agent["parent_origin"]),
        (&"a41c9d2".into(), &"toolu_sample_03".into(), &serde_json::Value::Null, &"reported".into()),
        "{shown}"
    );
    assert_eq!(processes_on(&kept), Vec::<String>::new());
    assert!(!kept.join("server.json").exists());
}

#[test]
fn without_once_it_follows_until_ctrl_c_and_then_stops_its_server() {
    let world = World::new();
    let running = demo(&world, &[]);
    let pid = running.pid();
    wait_for("the end of the show", || running.stderr().contains("Ctrl-C ends it").then_some(()));
    assert_eq!(left_behind(&world).len(), 1, "its directory is there meanwhile");
    running.signal(Signal::INT);
    let ran = running.wait();
    assert_eq!(ran.code, Some(130), "{ran}");
    assert_eq!(left_behind(&world), Vec::<PathBuf>::new());
    assert_eq!(processes_on(world.home()), Vec::<String>::new(), "of demonstration {pid}");
}

#[test]
fn ctrl_c_in_the_middle_leaves_nothing_either() {
    let world = World::new();
    let running = demo(&world, &["--once"]);
    running.wait_for_stdout("session_started");
    running.signal(Signal::INT);
    let ran = running.wait();
    assert_eq!(ran.code, Some(130), "{ran}");
    assert_eq!(left_behind(&world), Vec::<PathBuf>::new());
    assert_eq!(processes_on(world.home()), Vec::<String>::new());
}

#[test]
fn a_second_ctrl_c_waits_for_nothing_and_leaves_nothing() {
    let world = World::new();
    let mut running = demo(&world, &[]);
    wait_for("the end of the show", || running.stderr().contains("Ctrl-C ends it").then_some(()));
    let lent = left_behind(&world).remove(0);
    // Its server hangs: the first Ctrl-C would wait for its end.
    let runtime = std::fs::read_to_string(lent.join("server.json")).expect("server.json");
    let runtime: serde_json::Value = serde_json::from_str(&runtime).expect("JSON");
    let pid = runtime["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a pid");
    let server = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(server, Signal::STOP).expect("stopped");
    running.signal(Signal::INT);
    wait_for("its end", || {
        if running.is_alive() {
            running.signal(Signal::INT);
        }
        (!running.is_alive()).then_some(())
    });
    assert_eq!(running.wait().code, Some(130));
    assert_eq!(left_behind(&world), Vec::<PathBuf>::new());
    wait_for("its server's end", || processes_on(world.home()).is_empty().then_some(()));
}

#[test]
fn a_demonstration_that_is_killed_takes_its_server_along() {
    let world = World::new();
    let running = demo(&world, &["--once"]);
    running.wait_for_stdout("session_started");
    running.kill();
    wait_for("the server's end", || processes_on(world.home()).is_empty().then_some(()));
}

#[test]
fn a_directory_with_a_server_is_not_for_a_demonstration() {
    let world = World::new();
    let server = world.server();
    let data = world.data();
    let ran = demo(&world, &["--once", "--data-dir", data.to_str().expect("UTF-8")]).wait_at_most(DEMO_BOUND);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains(&server.addr), "{ran}");
    server.stop();
    assert!(data.is_dir(), "a directory of the user's is never removed");
}
