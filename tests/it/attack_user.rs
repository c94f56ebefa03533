//! Another user of the same machine: cannot list, read or write what is on record, and gets nothing from the server without
//! the token. The other user is real: `setpriv` gives up root for uid 65534.

use crate::cli_basics::prompt;
use crate::support::{Ran, Running, Server, World};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

/// Whether this runs as root, which alone may become another user; says so where it does not.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        crate::support::skipped("not root: nobody else can be played");
    }
    root
}

/// What this script says when another user runs it in the data directory's place; `$1` is the data directory.
fn as_other(world: &World, script: &str, more: &[&str]) -> Ran {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--", "sh", "-c", script, "sh"])
        .arg(world.data())
        .args(more)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Running::start(&mut command).wait()
}

/// A used directory whose parents anybody may enter, so that its own modes are all that protects it; a server that runs
/// with the most careless umask.
fn world() -> (World, Server) {
    let world = World::new();
    std::fs::set_permissions(world.home(), std::fs::Permissions::from_mode(0o755)).expect("opened");
    world.hook(&prompt("s", "private words"));
    let plain = world.command(["api-server", "--addr", "127.0.0.1:0"]);
    let mut command = Command::new("sh");
    command.args(["-c", "umask 000; exec \"$0\" \"$@\""]).arg(plain.get_program()).args(plain.get_args());
    command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(world.home()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let server = Server::start(&world.data(), &mut command);
    (world, server)
}

#[test]
fn another_user_can_neither_list_nor_read_nor_write_what_is_on_record() {
    if !is_root() {
        return;
    }
    let (world, server) = world();
    world.hook(&prompt("s", "more private words"));
    let before = world.events([]);
    let control = world.home().join("open");
    std::fs::write(&control, "readable").expect("written");
    std::fs::set_permissions(&control, std::fs::Permissions::from_mode(0o644)).expect("opened");
    let reads = as_other(&world, "id -u; cat \"$2\"", &[control.to_str().expect("UTF-8")]);
    assert_eq!(
        (reads.code, reads.stdout.as_str()),
        (Some(0), "65534\nreadable"),
        "the other user is real: {reads}"
    );

    for script in [
        "ls \"$1\"",
        "ls -d \"$1\"/*.json",
        "cat \"$1/server.json\"",
        "cat \"$1/lock\"",
        "cat \"$1/log/server.log\"",
        "cat \"$1/journal/00000000000000000001.seg\"",
        "cat \"$1/inbox/failed\"",
        "cd \"$1\"",
        "touch \"$1/planted\"",
        "echo x > \"$1/inbox/00000000000000000001-1-1\"",
        "echo x >> \"$1/journal/tail\"",
        "rm -f \"$1/lock\"",
        "mv \"$1\" \"$1.gone\"",
        "chmod 777 \"$1\"",
        "rmdir \"$1/quarantine\"",
        "own=$(mktemp -d) && { ln \"$1/server.json\" \"$own/planted\"; code=$?; rm -rf \"$own\"; exit $code; }",
    ] {
        let ran = as_other(&world, script, &[]);
        assert_ne!(ran.code, Some(0), "{script}: {ran}");
        assert!(!ran.stdout.contains("token") && !ran.stdout.contains("private"), "{script}: {ran}");
    }
    // And the same through the program itself.
    let mut own = world.command(["events"]);
    own.env("HOME", "/nonexistent");
    let program = own.get_program().to_str().expect("UTF-8").to_owned();
    let copied = world.home().join("program");
    std::fs::copy(&program, &copied).expect("a copy that anybody may run");
    std::fs::set_permissions(&copied, std::fs::Permissions::from_mode(0o755)).expect("may be run");
    let copied = copied.to_str().expect("UTF-8");
    let runs = as_other(&world, "\"$2\" --version", &[copied]);
    assert_eq!(runs.code, Some(0), "the control: the program runs for the other user: {runs}");
    for command in ["events", "sessions", "api-server --stop", "gc", "import /nonexistent"] {
        let ran = as_other(&world, &format!("\"$2\" {command} --data-dir \"$1\""), &[copied]);
        assert!(!matches!(ran.code, Some(0 | 101) | None), "{command}: {ran}");
        assert!(!ran.stdout.contains("private"), "{command}: {ran}");
    }
    let hook = as_other(&world, "echo '{}' | \"$2\" hook --data-dir \"$1\"", &[copied]);
    assert_eq!((hook.code, hook.stdout.as_str(), hook.stderr.as_str()), (Some(0), "", ""), "{hook}");
    assert_eq!(world.events([]), before, "nothing came in, nothing went");
    server.stop();
}

#[test]
fn another_user_who_connects_is_a_stranger_without_the_token() {
    if !is_root() {
        return;
    }
    let (world, server) = world();
    let (host, port) = server.addr.split_once(':').expect("a port");
    let ask = |path: &str, header: &str| {
        let script = format!(
            "exec 3<>/dev/tcp/{host}/{port}; printf 'GET {path} HTTP/1.1\\r\\nHost: {}\\r\\n{header}Connection: close\\r\\n\\r\\n' >&3; cat <&3",
            server.addr
        );
        as_other(&world, "exec bash -c \"$2\"", &[&script]).stdout
    };
    assert!(ask("/health", "").starts_with("HTTP/1.1 200"), "the control: the other user does get through");
    for path in ["/events", "/events/stream?from=1", "/sessions", "/metrics", "/stats", "/state/sessions"] {
        let answer = ask(path, "");
        assert!(answer.starts_with("HTTP/1.1 401") && !answer.contains("private"), "{path}: {answer}");
        let answer = ask(path, &format!("Authorization: Bearer {}\\r\\n", "0".repeat(64)));
        assert!(answer.starts_with("HTTP/1.1 401") && !answer.contains("private"), "{path}: {answer}");
    }
    let bearer = format!("Authorization: Bearer {}\\r\\n", server.token);
    assert!(ask("/events", &bearer).contains("private words"), "and the token is what opens it");
    server.stop();
}
