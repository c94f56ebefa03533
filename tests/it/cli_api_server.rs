//! `api-server`: the address, the background, the safe stop, and that only one runs.

use crate::support::{Running, World, wait_for};
use rustix::process::Signal;
use std::net::TcpListener;
use std::process::Stdio;

/// Whether the process runs; one that nobody has waited for yet does not.
fn runs(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

#[test]
fn it_prints_the_address_that_it_got() {
    let world = World::new();
    let server = world.server();
    wait_for("the address", || (server.stdout() == format!("http://{}\n", server.addr)).then_some(()));
    assert!(!server.addr.ends_with(":0"));
    assert_eq!(server.get("/health").status, 200);
    server.stop();
}

#[test]
fn with_json_it_prints_one_object_when_it_listens() {
    let world = World::new();
    let server = world.server_with(["api-server", "--addr", "127.0.0.1:0", "--json"]);
    wait_for("the object", || server.stdout().ends_with('\n').then_some(()));
    let object: serde_json::Value = serde_json::from_str(&server.stdout()).expect("one object");
    assert_eq!(object["version"], 1);
    assert_eq!(object["addr"], server.addr.as_str());
    assert_eq!(object["pid"], server.pid());
    assert_eq!(object["data_dir"], world.data().to_str().expect("UTF-8"));
    server.stop();
}

#[test]
fn an_address_that_is_taken_or_not_local_is_refused() {
    let world = World::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = taken.local_addr().expect("its address").to_string();
    let ran = world.run(["api-server", "--addr", &addr]);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains(&addr), "{ran}");
    let ran = world.run(["api-server", "--addr", "0.0.0.0:0"]);
    assert_eq!(ran.code, Some(2), "{ran}");
    assert_eq!(world.run(["api-server", "--addr", "nonsense"]).code, Some(2));
    assert!(!world.data().join("server.json").exists());
}

#[test]
fn a_second_server_is_refused_with_the_pid_and_address_of_the_first() {
    let world = World::new();
    let server = world.server();
    for args in [&["api-server", "--addr", "127.0.0.1:0"][..], &["api-server", "--background"]] {
        let ran = world.run(args);
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stderr.contains(&server.pid().to_string()) && ran.stderr.contains(&server.addr), "{ran}");
    }
    assert_eq!(server.get("/health").status, 200);
    server.stop();
}

#[test]
fn ctrl_c_and_sigterm_end_it_well() {
    for signal in [Signal::INT, Signal::TERM] {
        let world = World::new();
        let server = world.server();
        server.signal(signal);
        let ran = server.wait();
        assert_eq!(ran.code, Some(0), "{ran}");
        assert!(!world.data().join("server.json").exists());
    }
}

#[test]
fn in_the_background_it_holds_nothing_of_the_one_who_started_it_and_stop_ends_it() {
    let world = World::new();
    // A third descriptor that leads to our pipe, as an agent's shell may have one: if the server kept it, reading this
    // process's output to its end would never end, and the kit would say so.
    let program = env!("CARGO_BIN_EXE_mnemosyne");
    let mut shell = world.bare_command::<&str>([]);
    let env: Vec<_> = shell.get_envs().filter_map(|(k, v)| Some((k.to_owned(), v?.to_owned()))).collect();
    shell = std::process::Command::new("sh");
    shell
        .args(["-c", "exec \"$0\" api-server --background --addr 127.0.0.1:0 --json 3>&1 4>&2", program])
        .env_clear()
        .envs(env)
        .env("MNEMOSYNE_DATA_DIR", world.data())
        .current_dir(world.home())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let ran = Running::start(&mut shell).wait();
    assert_eq!(ran.code, Some(0), "{ran}");
    let object = ran.json();
    let pid = u32::try_from(object["pid"].as_u64().expect("a pid")).expect("a pid");
    assert!(runs(pid));
    let session = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("its state");
    let fields: Vec<&str> = session.rsplit(')').next().expect("fields").split_whitespace().collect();
    assert_eq!(fields[3], pid.to_string(), "it leads a session of its own");
    let open: Vec<_> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("its descriptors")
        .filter_map(|item| std::fs::read_link(item.ok()?.path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("pipe:"))
        .collect();
    // The only pipes are those between its own threads, both ends in one process.
    for pipe in &open {
        assert!(open.iter().filter(|other| *other == pipe).count() >= 2, "{pipe:?} leads outside");
    }
    assert!(world.events([]).iter().any(|event| event["kind"] == "server_started"));

    let stopped = world.ok(["api-server", "--stop", "--json"]);
    assert_eq!(stopped.json(), serde_json::json!({"version": 1, "stopped": pid}));
    assert!(!runs(pid));
    let again = world.run(["api-server", "--stop"]);
    assert_eq!(again.code, Some(3), "{again}");
}

#[test]
fn in_the_background_a_server_that_cannot_start_is_told_with_its_log() {
    let world = World::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = taken.local_addr().expect("its address").to_string();
    let ran = world.run(["api-server", "--background", "--addr", &addr]);
    assert_eq!(ran.code, Some(1), "{ran}");
    let log = world.data().join("log/server.log");
    assert!(ran.stderr.contains(log.to_str().expect("UTF-8")), "{ran}");
    assert!(ran.stderr.contains(&format!("cannot listen on {addr}")), "the log's end says why: {ran}");
}

#[test]
fn stop_never_touches_a_process_that_the_files_name_wrongly() {
    let world = World::new();
    world.server().kill();
    // The runtime file and the lock of a killed server still name a pid. Somebody else has that pid now.
    let mut stranger = std::process::Command::new("sleep").arg("60").spawn().expect("a process");
    for file in ["server.json", "lock"] {
        let path = world.data().join(file);
        let text = std::fs::read_to_string(&path).expect("left behind by the kill");
        let mut object: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        object["pid"] = stranger.id().into();
        std::fs::write(&path, object.to_string()).expect("written");
    }
    let ran = world.run(["api-server", "--stop"]);
    assert_eq!(ran.code, Some(3), "{ran}");
    assert!(stranger.try_wait().expect("its state").is_none(), "the stranger lives");
    stranger.kill().expect("a child of ours");
    stranger.wait().expect("its end");
    world.server().stop();
}

#[test]
fn stop_excludes_what_makes_no_sense_with_it() {
    let world = World::new();
    assert_eq!(world.run(["api-server", "--stop", "--background"]).code, Some(2));
    assert_eq!(world.run(["api-server", "--stop", "--addr", "127.0.0.1:0"]).code, Some(2));
}

/// Arenas of the allocator beside the first: each lies at a multiple of 64 MiB and reserves as much, of which it uses the beginning.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn further_arenas(pid: u32) -> usize {
    const ARENA_BYTES: u64 = 64 << 20;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("its maps");
    let parse = |line: &str| {
        let mut words = line.split_whitespace();
        let (from, to) = words.next()?.split_once('-')?;
        let address = |hex| u64::from_str_radix(hex, 16).ok();
        Some((address(from)?, address(to)?, words.next()?.to_owned()))
    };
    let maps: Vec<(u64, u64, String)> = maps.lines().map(|line| parse(line).expect("a map")).collect();
    let is_arena = |pair: &[(u64, u64, String)]| {
        let ((from, middle, used), (at, to, rest)) = (&pair[0], &pair[1]);
        let is_whole = from.is_multiple_of(ARENA_BYTES) && to - from == ARENA_BYTES && middle == at;
        is_whole && used.starts_with("rw-p") && rest.starts_with("---p")
    };
    maps.windows(2).filter(|pair| is_arena(pair)).count()
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn its_threads_share_one_arena_unless_the_environment_says_otherwise() {
    for (said, arenas) in [(None, 0..=0), (Some(("MALLOC_ARENA_MAX", "8")), 1..=7)] {
        let world = World::new();
        let mut command = world.command(["api-server", "--addr", "127.0.0.1:0"]);
        command.envs(said);
        let server = crate::support::Server::start(&world.data(), &mut command);
        for _ in 0..8 {
            assert_eq!(server.get("/state/sessions").status, 200);
        }
        let found = further_arenas(server.pid());
        assert!(arenas.contains(&found), "{found} with {said:?}");
        server.stop();
    }
}
