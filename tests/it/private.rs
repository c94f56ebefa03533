//! What is kept from others: modes whatever the umask, links that somebody planted, secrets on every way in; and that
//! the derived files may be deleted at any time.

use crate::cli_basics::prompt;
use crate::support::{Ran, Running, World};
use serde_json::{Value, json};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Everything below a directory, links not followed.
fn below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for item in std::fs::read_dir(directory).expect("a directory") {
        let path = item.expect("an item").path();
        if path.symlink_metadata().expect("its metadata").is_dir() {
            found.extend(below(&path));
        }
        found.push(path);
    }
    found
}

#[test]
fn nothing_is_open_to_others_whatever_the_umask() {
    let world = World::new();
    std::fs::write(world.home().join("payload"), prompt("s", "hello").to_string()).expect("written");
    // The rule for a user with nothing set up makes the directories above, too.
    let script = "umask 000; \"$0\" hook < payload; \"$0\" events > /dev/null; \"$0\" import . ; \
                  \"$0\" api-server --addr 127.0.0.1:0 --background && \"$0\" api-server --stop";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_mnemosyne")]).env_clear().env("HOME", world.home());
    command.env("MNEMOSYNE_DISABLE_AUTO_START_API", "1");
    command.current_dir(world.home()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ran = Running::start(&mut command).wait();
    assert_eq!(ran.code, Some(0), "{ran}");

    let data = world.home().join(".local/share/mnemosyne");
    for path in below(&data).into_iter().chain([data]) {
        let meta = path.symlink_metadata().expect("its metadata");
        let expected = if meta.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(meta.mode() & 0o777, expected, "{}", path.display());
    }
    for above in [".local", ".local/share"] {
        let mode = world.home().join(above).metadata().expect("its metadata").mode();
        assert_eq!(mode & 0o077, 0, "{above}: who may write there can put another directory in our place");
    }
}

/// Puts a link to `target` in the place of what was there.
fn plant(world: &World, name: &str, target: &Path) {
    let path = world.data().join(name);
    if path.is_dir() {
        std::fs::remove_dir_all(&path).expect("removed");
    } else if path.exists() {
        std::fs::remove_file(&path).expect("removed");
    }
    symlink(target, &path).expect("a link");
}

#[test]
fn nothing_is_read_or_written_through_a_planted_link() {
    for (name, code) in [("inbox", 1), ("journal", 1), ("lock", 1), ("inbox/failed", 0), ("server.json", 1)] {
        let world = World::new();
        world.hook(&prompt("s", "before"));
        world.ok(["events"]);
        let victim = world.home().join("victim");
        let precious = victim.join("precious");
        std::fs::create_dir(&victim).expect("a directory");
        std::fs::write(&precious, "precious").expect("written");
        let is_directory = world.data().join(name).is_dir();
        plant(&world, name, if is_directory { &victim } else { &precious });

        // Silent and successful all the same; one payload that can be kept, one that can only be counted.
        world.hook(&prompt("s", "after"));
        let ran = world.run_with_stdin(["hook"], b"garbage");
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""), "{name}: {ran}");
        let empty = world.home().join("empty");
        std::fs::create_dir(&empty).expect("a directory");
        let import = world.run(["import", empty.to_str().expect("UTF-8")]);
        assert_eq!(import.code, Some(code), "{name}: {import}");
        let events = world.run(["events"]);
        if is_directory {
            assert_eq!(events.code, Some(1), "{name}: an empty journal would be a lie: {events}");
            assert!(events.stderr.contains("symbolic link"), "{name}: {events}");
        } else {
            assert!(events.stdout.contains("before"), "{name}: {events}");
        }
        assert_eq!(
            below(&victim),
            std::slice::from_ref(&precious),
            "{name}: something was made behind the link"
        );
        assert_eq!(std::fs::read_to_string(&precious).expect("read"), "precious", "{name}");
    }
}

#[test]
fn events_that_wait_for_no_living_process_are_told_so() {
    let world = World::new();
    world.hook(&prompt("s", "first"));
    world.ok(["events"]);
    plant(&world, "lock", Path::new("/dev/null"));
    world.hook(&prompt("s", "second"));
    let ran = world.ok(["events"]);
    assert!(ran.stderr.contains("1 event in the inbox not shown: they cannot be taken"), "{ran}");
}

#[test]
fn derived_files_can_be_deleted_at_any_time() {
    let world = World::new();
    for n in 0..5 {
        world.hook(&prompt("s", &format!("prompt {n}")));
    }
    let sessions = world.ok(["sessions", "--json"]).json();
    let events = world.events([]);
    let emitted = world.events(["--kind", "prompt_submitted"]);
    for directory in ["index", "snapshots"] {
        std::fs::remove_dir_all(world.data().join(directory)).expect("removed");
    }
    assert_eq!(world.events([]), events);
    assert_eq!(world.ok(["sessions", "--json"]).json()["sessions"], sessions["sessions"]);
    // The ids are known without their index: the same event again is no second one.
    let server = world.server();
    let again = json!({"id": emitted[2]["id"], "kind": "annotated", "payload": {"seq": 1, "text": "x"}});
    let answer = server.post("/events/emit", &again.to_string()).json();
    assert_eq!((&answer["seqs"][0], &answer["duplicates"]), (&emitted[2]["seq"], &json!([0])), "{answer}");
}

/// Secrets of many makers, each with the part of it that must not be found anywhere. None was ever valid.
const SECRETS: &[(&str, &str)] = &[
    ("sk-ant-api03-K7qVx2mT9bLs4ZpW1nYc8RdH3fJg6UaE5oXi0QkBvN", "K7qVx2mT9bLs4ZpW1nYc8RdH3fJg6UaE5oXi0QkBvN"),
    ("sk-proj-Wc8RdH3fJg6UaE5oXi0QkBvNK7qVx2mT9bLs4ZpW1nY", "Wc8RdH3fJg6UaE5oXi0QkBvNK7qVx2mT9bLs4ZpW1nY"),
    ("ghp_x7Qm2VtR9bLk4ZsW1nYc8PdH3fJg6TaU5eMo", "x7Qm2VtR9bLk4ZsW1nYc8PdH3fJg6TaU5eMo"),
    (
        "github_pat_11ABCDEFG0Qm2VtR9bLk4Z_sW1nYc8PdH3fJg6TaU5eMox7Qm2VtR9bLk4ZsW1nYc8PdH3fJg6Ta",
        "sW1nYc8PdH3fJg6TaU5eMox7",
    ),
    ("glpat-Xk92mQ7vLs4ZpW1nYc8R", "Xk92mQ7vLs4ZpW1nYc8R"),
    ("AKIAQ3EGX7VZ5TNB2KWD", "AKIAQ3EGX7VZ5TNB2KWD"),
    (
        "aws_secret_access_key=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",
        "t9bLs4ZpW1nYc8RdH3fJg6UaE5oXi0QkBvNK7qVx",
    ),
    ("xoxb-274918365027-581920374651-Zp1nYc8RdH3fJg6UaE5oXi0Q", "Zp1nYc8RdH3fJg6UaE5oXi0Q"),
    ("sk_live_8RdH3fJg6UaE5oXi0QkBvNK7", "8RdH3fJg6UaE5oXi0QkBvNK7"),
    ("AIzaW1nYc8RdH3fJg6UaE5oXi0QkBvNK7qVx2mT", "W1nYc8RdH3fJg6UaE5oXi0QkBvNK7qVx2mT"),
    ("npm_3fJg6UaE5oXi0QkBvNK7qVx2mT9bLs4ZpW1n", "3fJg6UaE5oXi0QkBvNK7qVx2mT9bLs4ZpW1n"),
    ("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", "UaEoXiQkBvNKqVxmTbLsZpWnYcRdHfJgab"),
    ("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", "Ls4ZpW1nYc8RdH3fJg6U"),
    (
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
        "dozjgNryP4J3jVmNHl0w5N",
    ),
    ("Authorization: Bearer oXi0QkBvNK7qVx2mT9bLs4ZpW1nYc8", "oXi0QkBvNK7qVx2mT9bLs4ZpW1nYc8"),
    ("Authorization: Basic dXNlcjpYazkybVE3dkxzNFpwVzFuWWM4", "dXNlcjpYazkybVE3dkxzNFpwVzFuWWM4"),
    ("postgres://admin:Vx2mT9bLs4ZpW1@db.example.com/shop", "Vx2mT9bLs4ZpW1"),
    ("password=mT9bLs4ZpW1nYc8R", "mT9bLs4ZpW1nYc8R"),
    (
        "export GITHUB_TOKEN=9bLs4ZpW1nYc8RdH3fJg6UaE5oXi0QkBvNK7qVx2",
        "9bLs4ZpW1nYc8RdH3fJg6UaE5oXi0QkBvNK7qVx2",
    ),
    ("API_KEY=4f1a9c3e7b2d8056e1f4a7c9032b5d8e6f7a1c4b9d0e3f2a5b8c7d6e9f0a1b2c", "4f1a9c3e7b2d8056e1f4a7c9"),
    ("mysql --password=Ls4ZpW1nYc8RdH -u x", "Ls4ZpW1nYc8RdH"),
    ("curl -u admin:s4ZpW1nYc8RdH3fJ http://x", "s4ZpW1nYc8RdH3fJ"),
    (
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA4ZpW1nYc8RdH3fJg6UaE5oXi0QkBvNK7\n-----END RSA PRIVATE KEY-----",
        "4ZpW1nYc8RdH3fJg6UaE5oXi0QkBvNK7",
    ),
    ("PGPASSWORD=pW1nYc8RdH3fJg psql", "pW1nYc8RdH3fJg"),
    (
        "MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs8RdH3fJg6Ua",
        "ZnCjm1XVW7vRze4b7Cq4se7kKWs8RdH3fJg6Ua",
    ),
];

/// Which of the secrets stand somewhere in these bytes.
fn found_in(bytes: &[u8]) -> Vec<&'static str> {
    let text = String::from_utf8_lossy(bytes);
    SECRETS.iter().filter(|(_, part)| text.contains(part)).map(|(whole, _)| *whole).collect()
}

fn transcript(world: &World) -> String {
    let directory = world.home().join("transcripts");
    std::fs::create_dir(&directory).expect("a directory");
    let line = |n: usize, message: Value| {
        json!({
            "uuid": format!("00000000-0000-4000-8000-{n:012}"), "parentUuid": null, "isSidechain": false,
            "cwd": "/code/app", "sessionId": "imported", "version": "2.0.0",
            "timestamp": "2026-01-02T03:04:05.000Z", "type": message["role"], "message": message,
        })
        .to_string()
    };
    let mut lines: Vec<String> = Vec::new();
    for (n, (secret, _)) in SECRETS.iter().enumerate() {
        lines.push(line(3 * n, json!({"role": "user", "content": format!("use {secret}")})));
        let call = json!([{"type": "tool_use", "id": format!("i{n}"), "name": "Bash", "input": {"command": secret}}]);
        lines.push(line(
            3 * n + 1,
            json!({"role": "assistant", "id": format!("m{n}"), "model": "a-model", "content": call}),
        ));
        let result = json!([{"type": "tool_result", "tool_use_id": format!("i{n}"), "content": secret}]);
        lines.push(line(3 * n + 2, json!({"role": "user", "content": result})));
    }
    lines.push(format!("{{\"broken\": \"{}", SECRETS[2].0));
    std::fs::write(directory.join("imported.jsonl"), lines.join("\n") + "\n").expect("written");
    directory.to_str().expect("UTF-8").to_owned()
}

/// Every way in, and then every byte of the data directory and of what our processes printed or answered.
#[test]
fn no_secret_reaches_a_disk_or_an_output_on_any_way_in() {
    let world = World::new();
    let transcripts = transcript(&world);
    let mut printed = Vec::new();
    let keep = |what: &str, ran: &Ran| {
        let said = [ran.stdout.as_str(), &ran.stderr].concat().into_bytes();
        assert_eq!(found_in(&said), Vec::<&str>::new(), "{what} printed: {ran}");
    };
    for (n, (secret, _)) in SECRETS.iter().enumerate() {
        world.hook(&prompt("hooked", &format!("please use {secret} now")));
        world.hook(&json!({
            "session_id": "hooked", "hook_event_name": "PostToolUseFailure", "cwd": "/code/app", "tool_name": "Bash",
            "tool_use_id": format!("t{n}"), "tool_input": {"command": secret, "deep": [{"x": secret}]}, "error": secret,
        }));
        keep("events", &world.run(["events", "--record", "--grep", secret]));
        keep("session", &world.run(["session", "--", secret]));
        keep("api-server", &world.run(["api-server", &format!("--addr={secret}")]));
        keep("import", &world.run(["import", secret]));
    }
    let server = world.server();
    for (n, (secret, _)) in SECRETS.iter().enumerate() {
        let bodies = [
            (
                "/events/emit",
                json!({"kind": "custom", "payload": {"name": "n", "data": {"v": secret, "n": [{*secret: 1}]}}}),
            ),
            ("/events/emit", json!({"kind": secret, "payload": {}})),
            ("/events/emit", json!({"kind": "annotated", "payload": {"seq": secret, "text": "t"}})),
            (
                "/hooks/claude",
                json!({"session_id": "posted", "hook_event_name": "PreToolUse", "cwd": "/code/app",
                "tool_name": "Bash", "tool_use_id": format!("p{n}"), "tool_input": {"command": secret}}),
            ),
        ];
        for (path, body) in bodies {
            printed.extend(server.post(path, &body.to_string()).text().into_bytes());
        }
    }
    let imported = world.run(["-vv", "import", &transcripts]);
    assert_eq!(imported.code, Some(1), "one line is broken: {imported}");
    keep("import", &imported);
    printed.extend([server.stdout(), server.stderr()].concat().into_bytes());
    drop(server);
    for args in [
        &["events"][..],
        &["events", "--json"],
        &["sessions"],
        &["session", "hooked"],
        &["replay", "imported", "--speed", "max"],
    ] {
        keep(args[0], &world.ok(args));
    }

    assert_eq!(found_in(&printed), Vec::<&str>::new(), "in what the server said");
    let mut files = 0;
    for path in below(&world.data()).into_iter().filter(|path| path.is_file()) {
        files += 1;
        assert_eq!(
            found_in(&std::fs::read(&path).expect("read")),
            Vec::<&str>::new(),
            "in {}",
            path.display()
        );
    }
    // The controls: the search finds what is there, and what is no secret was recorded.
    assert_eq!(
        found_in(&std::fs::read(Path::new(&transcripts).join("imported.jsonl")).expect("read")).len(),
        SECRETS.len()
    );
    assert!(files > 3 && world.events(["--grep", "REDACTED"]).len() > 5 * SECRETS.len());
}
