//! `doctor`: each check sees the world broken in its way, and nothing in a world that is in order; what `--fix` says that it
//! repairs is in order afterwards.

use crate::http_rebuild::forge;
use crate::support::{Ran, Running, World, wait_for};
use mnemosyne::clock::{FixedClock, ProcessStamp, SystemClock};
use mnemosyne::config::{DataDir, Settings};
use mnemosyne::event::Timestamp;
use mnemosyne::store::{Opening, Store};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SESSION: &str = "0c3d9f4e-5b1a-4c7e-8f2d-6a9b0c1d2e3f";
/// No system gives out a process id this high.
const NOBODY: u32 = 99_999_999;

fn payload(n: usize) -> Value {
    json!({
        "session_id": SESSION, "hook_event_name": "PostToolUse", "cwd": "/code/app", "transcript_path": "/nowhere/t.jsonl",
        "tool_name": "Bash", "tool_use_id": format!("t{n}"), "tool_input": {"command": "true"},
        "tool_response": {"stdout": "x".repeat(6_000)},
    })
}

/// The settings of Claude Code, as `init` writes them, with this program.
pub(crate) fn register(settings: &Path, program: &Path) {
    let handler = json!({"type": "command", "command": program, "args": ["hook"]});
    let hooks: serde_json::Map<String, Value> = mnemosyne::agent::claude::hooks::HOOKS
        .iter()
        .map(|hook| (hook.name.to_owned(), json!([{"hooks": [handler]}])))
        .collect();
    std::fs::create_dir_all(settings.parent().expect("a directory")).expect("made");
    std::fs::write(settings, json!({"hooks": hooks}).to_string()).expect("written");
}

/// The server of an `.mcp.json`, as `init` writes it, with this program.
fn serve_by(world: &World, program: &Path) {
    let ours = json!({"type": "stdio", "command": program, "args": ["serve"]});
    let servers = json!({"mcpServers": {"other": {"command": "o"}, "mnemosyne": ours}});
    std::fs::write(world.home().join(".mcp.json"), servers.to_string()).expect("written");
}

/// A world in which everything is in order: some events, saved states, an index, registered hooks.
pub(crate) fn healthy() -> World {
    let world = World::new();
    for directory in ["bin", ".git"] {
        std::fs::create_dir_all(world.home().join(directory)).expect("made");
    }
    symlink(env!("CARGO_BIN_EXE_mnemosyne"), world.home().join("bin/mnemosyne")).expect("linked");
    register(&world.home().join(".claude/settings.json"), &world.home().join("bin/mnemosyne"));
    for n in 0..3 {
        world.hook(&payload(n));
    }
    let server = world.server();
    server.signal(rustix::process::Signal::TERM);
    let stopped = server.wait();
    assert_eq!(stopped.code, Some(0), "{stopped}");
    world
}

pub(crate) fn run(world: &World, args: &[&str]) -> Ran {
    let mut command = world.command(["doctor", "--json"].iter().chain(args));
    command.env_remove("MNEMOSYNE_DISABLE_AUTO_START_API");
    Running::start(&mut command).wait()
}

/// What each check says.
pub(crate) fn verdicts(ran: &Ran) -> BTreeMap<String, String> {
    let told = ran.json_lines().remove(0);
    let checks = told["checks"].as_array().expect("a list").clone();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    checks.iter().map(|check| (text(&check["name"]), text(&check["status"]))).collect()
}

fn segment(world: &World) -> PathBuf {
    let name = world.names_in("journal").into_iter().find(|name| name.ends_with(".seg"));
    world.data().join("journal").join(name.expect("a segment"))
}

fn last_segment(world: &World) -> PathBuf {
    let name = world.names_in("journal").into_iter().rfind(|name| name.ends_with(".seg"));
    world.data().join("journal").join(name.expect("a segment"))
}

/// Damages a record that begins before the middle of what was written.
fn flip_middle(path: &Path) {
    let bytes = std::fs::read(path).expect("there");
    let written = bytes.iter().rposition(|byte| *byte != 0).expect("something was written");
    flip(path, written / 2);
}

/// In its place, as a disk does it: somebody may have the file open.
fn flip(path: &Path, at: usize) {
    let file = std::fs::File::options().read(true).write(true).open(path).expect("there");
    let (mut byte, at) = ([0], at as u64);
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[byte[0] ^ 0xff], at).expect("written");
}

fn configure(world: &World, text: &str) {
    std::fs::write(world.data().join("config.toml"), text).expect("written");
    private(&world.data().join("config.toml"));
}

fn write(world: &World, name: &str, bytes: &[u8]) {
    let path = world.data().join(name);
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
    std::fs::write(&path, bytes).expect("written");
    private(&path);
}

fn private(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("made private");
}

/// Gives every event that waits the name of one that came at this time.
fn age_inbox(world: &World, nanos: &str) {
    for name in
        world.names_in("inbox").into_iter().filter(|name| name.starts_with(|c: char| c.is_ascii_digit()))
    {
        let (_, rest) = name.split_once('-').expect("a deposit's name");
        let inbox = world.data().join("inbox");
        std::fs::rename(inbox.join(&name), inbox.join(format!("{nanos}-{rest}"))).expect("renamed");
    }
}

/// A program of our name that says this on stdout when it is called as a hook.
fn talker(world: &World) -> PathBuf {
    let program = world.home().join("talker/mnemosyne");
    std::fs::create_dir_all(program.parent().expect("a directory")).expect("made");
    let version = env!("CARGO_PKG_VERSION");
    std::fs::write(&program, format!("#!/bin/sh\ncat > /dev/null\necho mnemosyne {version}\n"))
        .expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("made executable");
    program
}

struct Row {
    check: &'static str,
    /// What it says of the broken world.
    says: &'static str,
    break_it: fn(&World),
    /// Whether `--fix` puts it right.
    fixed: bool,
    /// How it is asked.
    args: &'static [&'static str],
}

const fn row(check: &'static str, says: &'static str, fixed: bool, break_it: fn(&World)) -> Row {
    Row { check, says, break_it, fixed, args: &[] }
}

const ROWS: &[Row] = &[
    row("permissions", "fail", true, |world| {
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(world.data().join("snapshots"), open).expect("opened");
    }),
    // As `mnemosyne-inspect salvage` leaves it.
    row("permissions", "warn", true, |world| {
        std::fs::remove_dir_all(world.data().join("inbox")).expect("removed");
    }),
    row("links", "fail", false, |world| {
        symlink("/etc/passwd", world.data().join("index/planted")).expect("planted");
    }),
    row("space", "warn", false, |world| configure(world, "[disk]\nmax_bytes = 16777216\n")),
    row("retention", "warn", false, |world| {
        configure(world, "[retention]\nmax_bytes = 1\nmin_bytes = 0\n[journal]\nsegment_bytes = 65536\n");
        for n in 10..50 {
            world.hook(&payload(n));
        }
        world.ok(["events", "--limit", "1"]);
    }),
    row("leftovers", "warn", true, |world| write(world, &format!("index/x.{NOBODY}.tmp"), b"x")),
    row("configuration", "fail", false, |world| configure(world, "[sever]\n")),
    row("clock", "warn", false, |world| {
        let day = 86_400_000_000;
        let later = mnemosyne::clock::Clock::now(&SystemClock).checked_add_micros(day).expect("a time");
        let clock = Arc::new(FixedClock::at(Timestamp::from_micros(later.as_micros())));
        world.hook(&payload(99));
        let opening = Opening::command("test", clock, Settings::default());
        let (store, _) = Store::open(&DataDir::at(world.data()), opening).expect("opened");
        store.close().expect("closed");
    }),
    row("lock", "fail", false, |world| {
        std::fs::remove_file(world.data().join("lock")).expect("removed");
        symlink("/etc/passwd", world.data().join("lock")).expect("planted");
    }),
    row("server_file", "warn", true, |world| world.server().kill()),
    row("auto_start", "warn", true, |world| {
        let attempt = json!({"at": "2026-11-01T00:00:00Z", "attempts": 3, "process": null, "error": "no"});
        write(world, "start.json", attempt.to_string().as_bytes());
    }),
    row("journal", "fail", false, |world| flip_middle(&segment(world))),
    row("recovery", "warn", false, |world| {
        let server = world.server();
        let emitted = server.post("/events/emit", r#"[{"kind":"custom","payload":{"name":"a","data":1}}]"#);
        assert_eq!(emitted.status, 200, "{emitted:?}");
        server.kill();
        flip_middle(&last_segment(world));
        let server = world.server();
        server.signal(rustix::process::Signal::TERM);
        server.wait();
    }),
    row("inbox", "warn", true, |world| {
        world.hook(&payload(7));
        age_inbox(world, "01700000000000000000");
    }),
    row("inbox_room", "fail", true, |world| {
        // The mark alone goes with the first event that happens to count what waits: it has to be true.
        write(world, "inbox/full", b"");
        write(world, "inbox/01700000000000000000-1-00000000000000ff", b"");
        let waiting = world.data().join("inbox/01700000000000000000-1-00000000000000ff");
        let file = std::fs::File::options().write(true).open(waiting).expect("opened");
        file.set_len(mnemosyne::store::inbox::BYTES_MAX).expect("a sparse file");
    }),
    row("inbox_failures", "warn", true, |world| {
        world.run_with_stdin(["hook"], b"no json");
    }),
    row("inbox_quarantine", "warn", false, |world| {
        write(world, "inbox/01700000000000000000-1-00000000000000ff", b"no event");
        world.ok(["events", "--limit", "1"]);
    }),
    row("projections", "fail", true, |world| {
        let names = world.names_in("snapshots");
        flip(&world.data().join("snapshots").join(&names[0]), 90);
    }),
    row("bases", "fail", false, |world| {
        write(world, "base/00000000000000000002.base", b"no base");
    }),
    row("index", "warn", true, |world| {
        let names = world.names_in("index");
        let ids = names.iter().find(|name| name.starts_with("ids-")).expect("the ids");
        flip(&world.data().join("index").join(ids), 70);
    }),
    row("hooks", "warn", false, |world| {
        std::fs::remove_file(world.home().join(".claude/settings.json")).expect("removed");
    }),
    row("hooks", "warn", false, |world| {
        let local = world.home().join(".claude/settings.local.json");
        std::fs::write(local, r#"{"disableAllHooks": true}"#).expect("written");
    }),
    row("hook_programs", "fail", false, |world| {
        register(&world.home().join(".claude/settings.json"), Path::new("/nowhere/mnemosyne"));
    }),
    row("hooks_double", "fail", false, |world| {
        let program = world.home().join("bin/mnemosyne");
        register(&world.home().join(".claude/settings.local.json"), &program);
    }),
    row("mcp_server", "fail", false, |world| serve_by(world, Path::new("/nowhere/mnemosyne"))),
    row("mcp_server", "fail", false, |world| {
        // Whoever can commit a file must not have it run.
        let planted = world.home().join("planted/mnemosyne");
        std::fs::create_dir(planted.parent().expect("a directory")).expect("made");
        std::fs::copy(talker(world), &planted).expect("copied");
        serve_by(world, &planted);
    }),
    row("hook_cost", "fail", false, |world| {
        register(&world.home().join(".claude/settings.json"), &talker(world));
    }),
    row("transcripts", "warn", false, |world| {
        std::fs::write(world.home().join(".claude/projects"), "").expect("written");
    }),
];

/// Whoever can commit settings to a project must not have a program of the project run by who looks at it; the user's own settings may
/// name any.
#[test]
fn a_program_that_a_projects_settings_plant_in_it_is_not_run() {
    let world = healthy();
    let project = world.home().join("project");
    for directory in [".git", "tools"] {
        std::fs::create_dir_all(project.join(directory)).expect("made");
    }
    let program = project.join("tools/mnemosyne");
    let ran = project.join("ran");
    let text = format!("#!/bin/sh\necho ran >> '{}'\necho mnemosyne 0.0.1\n", ran.display());
    std::fs::write(&program, text).expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("made executable");
    let look = |command: &[&str]| Running::start(world.command(command).current_dir(&project)).wait();
    register(&project.join(".claude/settings.json"), &program);
    for command in [&["doctor", "--json"][..], &["update"]] {
        look(command);
        assert!(!ran.exists(), "{command:?} ran it");
    }
    let told = verdicts(&look(&["doctor", "--json"]));
    assert_eq!(told["hook_programs"], "warn", "{told:?}");
    // The control: what the user's own settings name is asked.
    std::fs::remove_dir_all(project.join(".claude")).expect("removed");
    register(&world.home().join(".claude/settings.json"), &program);
    look(&["update"]);
    assert!(ran.exists());
}

#[test]
fn each_check_sees_its_own_trouble_and_what_can_be_repaired_is() {
    let whole = healthy();
    let ran = run(&whole, &[]);
    assert_eq!(ran.code, Some(0), "{ran}");
    let in_order = verdicts(&ran);
    // What depends on the machine that the tests run on may warn, and nothing may fail.
    for (check, verdict) in &in_order {
        let machine = ["file_system", "space", "descriptors", "hook_cost"].contains(&check.as_str());
        assert!(verdict == "pass" || (machine && verdict == "warn"), "{check} says {verdict}: {ran}");
    }
    for Row { check, says, break_it, fixed, args } in ROWS {
        let world = healthy();
        break_it(&world);
        let ran = run(&world, args);
        assert_eq!(verdicts(&ran).get(*check).map(String::as_str), Some(*says), "{check}: {ran}");
        assert_eq!(
            ran.code,
            Some(i32::from(verdicts(&ran).values().any(|it| it == "fail"))),
            "{check}: {ran}"
        );
        let ran = run(&world, &[*args, &["--fix"]].concat());
        let after = verdicts(&ran).remove(*check).expect("the check");
        assert_eq!(after == "pass", *fixed, "{check} after --fix: {ran}");
        if *fixed {
            let fixes = ran.json_lines().remove(0)["fixed"].clone();
            assert!(!fixes.as_array().expect("a list").is_empty(), "{check}: what was done is told");
        }
    }
}

#[test]
fn a_saved_state_ahead_of_the_journal_is_a_warning() {
    let world = healthy();
    let path = last_segment(&world);
    let older = std::fs::read(&path).expect("a segment");
    let server = world.server();
    for n in 20..30 {
        let answer = server.post("/hooks/claude", &payload(n).to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    server.stop();
    // The journal of before, put back under the states of after.
    std::fs::write(&path, older).expect("written");
    let ran = run(&world, &[]);
    let told = check(&ran, "projections");
    assert_eq!(told["status"], "warn", "{told}");
    let detail = told["detail"].as_str().expect("a sentence");
    assert!(detail.contains("ahead of the journal, which ends with seq "), "{detail}");
    let ran = run(&world, &["--fix"]);
    assert_eq!(check(&ran, "projections")["status"], "pass", "{ran}");
}

#[test]
fn damage_in_a_copy_of_the_journal_alone_is_named() {
    let world = healthy();
    flip_middle(&last_segment(&world));
    let copy = world.home().join("copy");
    let private = std::fs::Permissions::from_mode(0o700);
    for dir in [copy.clone(), copy.join("journal")] {
        std::fs::create_dir(&dir).expect("made");
        std::fs::set_permissions(&dir, private.clone()).expect("made private");
    }
    for name in world.names_in("journal").into_iter().filter(|name| name.ends_with(".seg")) {
        let to = copy.join("journal").join(&name);
        std::fs::copy(world.data().join("journal").join(&name), to).expect("copied");
    }
    let ran = run(&world, &["-v", "--data-dir", copy.to_str().expect("UTF-8")]);
    let told = check(&ran, "journal");
    assert_eq!((ran.code, &told["status"]), (Some(1), &json!("fail")), "{told}");
    let detail = told["detail"].as_str().expect("a sentence");
    assert!(detail.starts_with("1 damaged place: ") && detail.contains("(not put on record: "), "{detail}");
    assert!(!copy.join("inbox").exists(), "a look makes nothing");
}

/// What the check of this name says.
fn check(ran: &Ran, name: &str) -> Value {
    let told = ran.json_lines().remove(0);
    let checks = told["checks"].as_array().expect("a list").clone();
    checks.into_iter().find(|check| check["name"] == name).expect("the check")
}

#[test]
fn no_repair_takes_anything_that_was_recorded() {
    let world = healthy();
    world.hook(&payload(8));
    age_inbox(&world, "01700000000000000000");
    for Row { break_it, fixed, check, .. } in ROWS {
        if *fixed && !["permissions", "inbox", "inbox_room"].contains(check) {
            break_it(&world);
        }
    }
    world.ok(["doctor", "--fix"]);
    let calls = world.events(["--kind", "tool_call_completed"]);
    assert_eq!(calls.len(), 4);
}

#[test]
fn a_run_leaves_its_result_on_record_and_the_full_look_reads_everything() {
    let world = healthy();
    let ran = run(&world, &["-v"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(ran.stdout.contains("every byte of"), "{ran}");
    let events = world.events(["--kind", "health_check_*"]);
    assert_eq!(events[0]["kind"], "health_check_started");
    let done = &events[1]["payload"];
    let checks = done["checks"].as_array().expect("a list");
    assert!(checks.len() >= 20);
    let sum: u64 = ["checks_passed", "checks_warned", "checks_failed"]
        .iter()
        .map(|name| done[name].as_u64().expect("a count"))
        .sum();
    assert_eq!(sum, checks.len() as u64);
}

/// What the check of the sealed segments says.
fn sealed(world: &World) -> Value {
    let told = run(world, &[]).json_lines().remove(0);
    let checks = told["checks"].as_array().expect("a list").clone();
    checks.into_iter().find(|check| check["name"] == "segments").expect("the check")
}

#[test]
fn of_each_sealed_segment_it_is_told_when_it_was_last_seen_whole() {
    let world = World::new();
    std::fs::create_dir_all(world.data()).expect("made");
    configure(&world, "[journal]\nsegment_bytes = 65536\n");
    let server = world.server();
    for n in 0..60 {
        let answer = server.post("/hooks/claude", &payload(n).to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let names = world.names_in("journal").into_iter();
    let bases: Vec<u64> = names.filter_map(|name| name.strip_suffix(".seg")?.parse().ok()).collect();
    assert!(bases.len() > 3, "{bases:?}");
    let told = sealed(&world);
    let listed = told["segments"].as_array().expect("a list");
    // What the look itself has put on record may have sealed one more.
    assert!(listed.len() + 1 >= bases.len(), "{told}");
    for (one, base) in listed.iter().zip(&bases) {
        assert_eq!(*one, json!({"base": base, "looked": null, "last_whole": null, "problems": null}));
    }
    assert_eq!(told["detail"], format!("{} sealed segments, none of them looked at yet", listed.len()));
    assert_eq!(told["status"], "pass");

    // A reader that meets damage has the segment looked at, and no other.
    flip_middle(&segment(&world));
    let read = server.get("/events?limit=1000");
    assert_eq!(read.status, 200, "{}", read.text());
    wait_for("the look", || world.names_in("index").contains(&"whole".to_owned()).then_some(()));
    let told = sealed(&world);
    let first = &told["segments"][0];
    assert_eq!((&first["base"], &first["last_whole"]), (&json!(1), &Value::Null), "{told}");
    assert!(first["looked"].is_string() && first["problems"].as_u64() > Some(0), "{told}");
    let rest = told["segments"].as_array().expect("a list");
    assert!(rest[1..].iter().all(|one| one["looked"].is_null()), "{told}");
    let detail = told["detail"].as_str().expect("a text");
    assert!(detail.contains("the one from seq 1, never seen whole"), "{told}");
    assert!(detail.ends_with(&format!("; {} not looked at yet", rest.len() - 1)), "{told}");
    assert_eq!(told["status"], "fail");

    // People see the list with -v.
    let [plain, all] = [&["doctor"][..], &["doctor", "-v"]].map(|args| world.run(args).stdout);
    assert_eq!(
        (plain.matches("not looked at yet").count(), plain.matches("from seq").count()),
        (1, 1),
        "{plain}"
    );
    assert!(all.contains("from seq 1: "), "{all}");
    assert!(all.matches(": not looked at yet").count() >= rest.len() - 1, "{all}");
    server.stop();
}

#[test]
fn a_directory_that_is_not_there_fails_and_stays_so() {
    let world = World::new();
    let ran = world.run(["doctor", "--fix"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stdout.contains("is not there"), "{ran}");
    assert!(!world.data().exists());
}

#[test]
fn limits_and_variables_of_the_process_are_seen() {
    let world = healthy();
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "ulimit -n 512 && exec \"$0\" doctor --json", env!("CARGO_BIN_EXE_mnemosyne")])
        .env("MNEMOSYNE_DATA_DIR", world.data())
        .env("MNEMOSYNE_DISABLE_AUTO_START_API", "perhaps")
        .env("HOME", world.home())
        .current_dir(world.home())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let ran = Running::start(&mut command).wait();
    let found = verdicts(&ran);
    assert_eq!((found["descriptors"].as_str(), found["environment"].as_str()), ("warn", "fail"), "{ran}");
}

#[test]
fn a_server_that_serves_a_wrong_state_is_told_and_rebuilds_it() {
    let world = healthy();
    let server = world.server();
    let journal = server.get("/state/sessions").header("mnemosyne-journal").expect("the journal").to_owned();
    let ran = run(&world, &["--fix"]);
    assert_eq!(verdicts(&ran)["served"], "pass", "{ran}");
    assert_eq!(ran.json_lines()[0]["fixed"], json!([]), "nothing differs, so nothing is asked for: {ran}");
    assert_eq!(world.events(["--kind", "database_operation"]).len(), 0);
    server.stop();
    forge(&world.data(), &journal, 3);
    let server = world.server();
    let ran = run(&world, &[]);
    assert_eq!((verdicts(&ran)["served"].as_str(), ran.code), ("fail", Some(1)), "{ran}");
    let ran = run(&world, &["--fix"]);
    assert_eq!((verdicts(&ran)["served"].as_str(), ran.code), ("pass", Some(0)), "{ran}");
    assert!(ran.stdout.contains("the server has rebuilt sessions"), "{ran}");
    assert_eq!(world.events(["--kind", "database_operation"]).len(), 1);
    server.stop();
    assert!(
        !verdicts(&run(&world, &[])).contains_key("served"),
        "without a server there is nothing to compare"
    );
}

/// Answers every connection as a server would answer `/health`, in the name of this very process.
fn pretend(world: &World, health: &Value) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let stamp = ProcessStamp::current();
    let runtime = json!({
        "addr": listener.local_addr().expect("its address"), "pid": stamp.pid, "start_ticks": stamp.start_ticks,
        "token": "0".repeat(64), "instance_id": "i", "journal_id": "j", "version": "0.0.0",
        "started_at": "2026-11-01T00:00:00Z",
    });
    let holder =
        json!({"role": "server", "pid": stamp.pid, "start_ticks": stamp.start_ticks, "journal_id": null});
    write(world, "server.json", runtime.to_string().as_bytes());
    write(world, "lock", holder.to_string().as_bytes());
    let body = health.to_string();
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
}

#[test]
fn a_server_of_another_version_or_one_that_takes_nothing_is_told() {
    for (status, version, says) in [
        ("ok", env!("CARGO_PKG_VERSION"), "pass"),
        ("ok", "0.0.0", "warn"),
        ("read_only", env!("CARGO_PKG_VERSION"), "fail"),
    ] {
        let world = healthy();
        pretend(
            &world,
            &json!({"status": status, "version": version, "instance_id": "i", "tail": 1, "uptime_ms": 1}),
        );
        let ran = run(&world, &[]);
        assert_eq!(verdicts(&ran)["server"], says, "{ran}");
    }
}

/// What the check of the hooks' cost says.
fn cost(world: &World) -> String {
    let told = run(world, &[]).json_lines().remove(0);
    let checks = told["checks"].as_array().expect("a list").clone();
    let check = checks.iter().find(|check| check["name"] == "hook_cost").expect("the check");
    check["detail"].as_str().expect("a text").to_owned()
}

#[test]
fn what_hooks_cost_in_use_is_told_from_what_the_calls_have_left() {
    let world = World::new();
    assert!(cost(&world).starts_with("in use: no call in the last 24 h; measured now: "), "{}", cost(&world));
    assert!(!world.data().exists(), "looking makes nothing");
    let mut longest = std::time::Duration::ZERO;
    for n in 0..10 {
        let begun = std::time::Instant::now();
        world.hook(&payload(n));
        longest = longest.max(begun.elapsed());
    }
    // Forty that end at about the same time.
    let mut hooks: Vec<Running> = (0..40)
        .map(|_| Running::start(world.command(["hook"]).stdin(std::process::Stdio::piped())))
        .collect();
    let begun = std::time::Instant::now();
    for (n, hook) in hooks.iter_mut().enumerate() {
        hook.feed(payload(100 + n).to_string().as_bytes());
    }
    for hook in hooks {
        assert_eq!(hook.wait().code, Some(0));
    }
    longest += begun.elapsed();
    let said = cost(&world);
    assert!(said.contains("(50 calls, the last 24 h, as each measured itself)"), "{said}");
    let now = mnemosyne::clock::Clock::now(&SystemClock);
    let calls = mnemosyne::cli::hook_times::read(&DataDir::at(world.data()), Timestamp::EPOCH, now);
    let calls = calls.expect("readable");
    let [half, all] = [50, 100].map(|percent| calls.percentile(percent).expect("calls"));
    assert!(
        !half.is_zero() && half <= all && all <= longest,
        "{half:?}, {all:?}, seen from outside {longest:?}"
    );

    // Neither a figure that cannot be read nor a place that takes none disturbs a hook.
    write(&world, "log/hook-times", &[0x5a; 100]);
    world.hook(&payload(200));
    assert!(cost(&world).contains("(1 call, "), "{}", cost(&world));
    std::fs::remove_file(world.data().join("log/hook-times")).expect("removed");
    std::fs::create_dir(world.data().join("log/hook-times")).expect("in its place");
    world.hook(&payload(201));
    assert_eq!(world.events(["--kind", "tool_call_completed"]).len(), 52);
}

#[test]
fn the_mark_of_a_full_inbox_goes_when_nothing_waits() {
    let world = healthy();
    // The first drain takes in what there is, and the second finds nothing.
    world.ok(["events"]);
    assert_eq!(world.inbox_len(), 0);
    write(&world, "inbox/full", b"");
    let mut fix = world.command(["doctor", "--fix", "--json"]);
    // Nothing of its own to drain either.
    fix.env("MNEMOSYNE_DISABLE_EVENTS", "1");
    let ran = Running::start(&mut fix).wait();
    assert_eq!(verdicts(&ran)["inbox_room"], "pass", "{ran}");
    assert!(ran.stdout.contains("took away the mark"), "{ran}");
    assert!(!world.data().join("inbox/full").exists());
}

#[test]
fn the_plugin_counts_as_hooks_unless_it_is_switched_off() {
    let world = healthy();
    let settings = world.home().join(".claude/settings.json");
    let hooks = || verdicts(&run(&world, &[]))["hooks"].clone();
    std::fs::write(&settings, r#"{"enabledPlugins": {"mnemosyne@mnemosyne": true}}"#).expect("written");
    assert_eq!(hooks(), "warn", "it is installed nowhere");
    crate::doctor_programs::install_plugin(&world);
    std::fs::write(&settings, r#"{"enabledPlugins": {"mnemosyne@mnemosyne": true}}"#).expect("written");
    assert_eq!(hooks(), "pass");
    let local = world.home().join(".claude/settings.local.json");
    std::fs::write(&local, r#"{"enabledPlugins": {"mnemosyne@mnemosyne": false}}"#).expect("written");
    assert_eq!(hooks(), "warn", "what is more particular decides");
    std::fs::remove_file(local).expect("removed");
    std::fs::write(&settings, r#"{"enabledPlugins": {"other@mnemosyne": true}}"#).expect("written");
    assert_eq!(hooks(), "warn");
}

/// Calls of the hook are timed in a directory of their own, which an interrupted run must not leave.
#[test]
fn an_interrupted_look_leaves_nothing_in_the_temporary_directory() {
    let world = World::new();
    world.hook(&payload(1));
    // One that goes on until nobody waits for it any more, and ends by itself if nobody did when it began.
    let program = world.home().join("bin/mnemosyne");
    write_program(
        &program,
        "#!/bin/sh\n[ \"$1\" = hook ] || exit 0\nn=0; while [ $n -lt 500 ] && kill -0 $PPID 2>/dev/null; do n=$((n+1)); sleep 0.02; done\n",
    );
    register(&world.home().join(".claude/settings.json"), &program);
    let temporary = world.home().join("tmp");
    std::fs::create_dir(&temporary).expect("a directory");
    let left = || std::fs::read_dir(&temporary).expect("listed").count();
    let mut command = world.command(["doctor"]);
    let running = Running::start(command.env("TMPDIR", &temporary));
    wait_for("the first call", || (left() == 1).then_some(()));
    running.signal(rustix::process::Signal::INT);
    assert_ne!(running.wait().code, Some(0), "it was in the midst of it");
    assert_eq!(left(), 0);
}

pub(crate) fn write_program(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("executable");
}
