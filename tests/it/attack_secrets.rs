//! A thousand secrets of more than twenty kinds, made from a seed, on every way in: hook processes, hooks and events over HTTP,
//! transcripts, command lines, variables. Afterwards every byte of the data directory and of what our processes said, and what
//! `/proc` tells about them while they run, is searched for each of them.

use crate::cli_basics::prompt;
use crate::support::{Random, Running, Server, World};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Stdio;

/// How many of each kind.
const ROUNDS: usize = 46;

const ALNUM: &str = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const DIGITS: &str = "0123456789";

fn text(random: &mut Random, set: &str, length: usize) -> String {
    (0..length).map(|_| char::from(set.as_bytes()[random.below(set.len())])).collect()
}

/// The part that must be found nowhere, with letters and digits for certain.
fn word(random: &mut Random, length: usize) -> String {
    format!("{}7q{}", text(random, ALNUM, length / 2), text(random, ALNUM, length - length / 2))
}

/// Each kind: how it stands in a text, and the part that is secret.
const KINDS: &[fn(&mut Random) -> (String, String)] = &[
    |random| whole("sk-ant-api03-", word(random, 80)),
    |random| whole("sk-proj-", word(random, 46)),
    |random| whole("ghp_", word(random, 34)),
    |random| whole("github_pat_11ABCDEFG0", word(random, 58)),
    |random| whole("glpat-", word(random, 18)),
    |random| whole("xoxb-274918365027-", word(random, 24)),
    |random| whole("AKIA", text(random, UPPER, 16)),
    |random| whole("AIza", word(random, 33)),
    |random| whole("ya29.", word(random, 40)),
    |random| whole("npm_", word(random, 34)),
    |random| whole("sk_live_", word(random, 22)),
    |random| whole("hf_", text(random, ALNUM, 34)),
    |random| whole("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.", word(random, 41)),
    |random| whole("MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.", word(random, 36)),
    |random| {
        let (id, key) = (text(random, DIGITS, 10), word(random, 33));
        (format!("{id}:{key}"), key)
    },
    |random| around("-----BEGIN PRIVATE KEY-----\n", word(random, 62), "\n-----END PRIVATE KEY-----"),
    |random| around("Authorization: Bearer ", word(random, 30), ""),
    |random| around("postgres://app:", word(random, 14), "@db.example.com:5432/app"),
    |random| around("export SERVICE_TOKEN=", word(random, 24), ""),
    |random| around("DB_PASSWORD=", word(random, 12), " run"),
    |random| around("aws_secret_access_key = ", word(random, 38), ""),
    |random| around("mytool --password ", word(random, 12), " go"),
    |random| around("https://hooks.slack.com/services/T7ABCDEFG/B7ABCDEFG/", word(random, 22), ""),
    |random| around(r#"{"auths":{"https://index.docker.io/v1/":{"auth":""#, word(random, 40), r#""}}}"#),
    |random| around("client-key-data: ", encoded_key(random), ""),
    |random| around("secret_key_base: ", text(random, "0123456789abcdef", 62) + "7f", ""),
    |random| around("<password>", word(random, 14), "</password>"),
    |random| around("machine example.com login app password ", word(random, 14), ""),
    |random| around("localhost:5432:app:u:", word(random, 14), ""),
    |random| around("ENV DB_PASSWORD ", word(random, 14), ""),
    |random| around("- name: DB_PASSWORD\n  value: ", word(random, 14), ""),
    |random| around("define('DB_PASSWORD','", word(random, 14), "');"),
    |random| around("openssl rsa -in k.pem -passin pass:", word(random, 14), " -out k"),
    |random| around("zip -P ", word(random, 14), " all.zip a b"),
    |random| around("echo ", word(random, 14), " | sudo -S true"),
    |random| around("psk=", word(random, 14), ""),
    |random| around(r#"{"headers":[["Authorization",""#, format!("31{}", word(random, 30)), r#""]]}"#),
    |random| around(r#"{"headers":[["Authorization","Token "#, word(random, 30), r#""]]}"#),
    |random| around(r#"["X-Api-Key",""#, word(random, 30), r#""]"#),
];

/// A private key in base64: `-----BEGIN RSA PRIVATE KEY-----` and what follows.
fn encoded_key(random: &mut Random) -> String {
    format!("LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQ{}", word(random, 90))
}

fn whole(prefix: &str, secret: String) -> (String, String) {
    (format!("{prefix}{secret}"), secret)
}

fn around(before: &str, secret: String, after: &str) -> (String, String) {
    (format!("{before}{secret}{after}"), secret)
}

fn secrets() -> Vec<(String, String)> {
    let mut random = Random::new(20);
    (0..ROUNDS).flat_map(|_| KINDS.iter().map(|kind| kind(&mut random)).collect::<Vec<_>>()).collect()
}

/// Which secrets stand in these bytes.
fn found<'a>(secrets: &'a [(String, String)], bytes: &[u8]) -> Vec<&'a str> {
    // A part of it is as bad, so the middle is looked for.
    let holds = |secret: &str| memchr::memmem::find(bytes, &secret.as_bytes()[2..secret.len() - 2]).is_some();
    secrets.iter().filter(|(_, secret)| holds(secret)).map(|(whole, _)| whole.as_str()).collect()
}

fn files_below(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for item in fs::read_dir(directory).expect("a directory") {
        let path = item.expect("an item").path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

fn transcripts(world: &World, secrets: &[(String, String)]) -> String {
    let directory = world.home().join("transcripts");
    fs::create_dir(&directory).expect("a directory");
    let mut lines = String::new();
    for (n, (whole, _)) in secrets.iter().enumerate() {
        let line = json!({
            "uuid": format!("00000000-0000-4000-8000-{n:012}"), "parentUuid": null, "isSidechain": false, "cwd": "/code/app",
            "sessionId": "imported", "version": "2.0.0", "timestamp": "2026-01-02T03:04:05.000Z", "type": "user",
            "message": {"role": "user", "content": format!("number {n}: {whole}")},
        });
        lines.extend([line.to_string().as_str(), "\n"]);
    }
    fs::write(directory.join("imported.jsonl"), lines).expect("written");
    directory.to_str().expect("UTF-8").to_owned()
}

/// What the system tells everybody of the same user about a running server.
fn proc_of(server: &Server, secrets: &[(String, String)]) {
    let read = |name: &str| fs::read(format!("/proc/{}/{name}", server.pid())).expect("its file in /proc");
    for name in ["cmdline", "environ"] {
        let bytes = read(name);
        assert!(
            memchr::memmem::find(&bytes, server.token.as_bytes()).is_none(),
            "the token stands in {name}"
        );
        assert_eq!(found(secrets, &bytes), Vec::<&str>::new(), "in {name}");
    }
    let limits = String::from_utf8(read("limits")).expect("text");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(
        core.split_whitespace().nth(4),
        Some("0"),
        "no core dump, which would hold what passes through: {core}"
    );
}

#[test]
#[allow(clippy::too_many_lines, reason = "one way in after another, and then one search")]
fn a_thousand_secrets_on_every_way_in_are_found_nowhere() {
    let secrets = secrets();
    assert!(secrets.len() >= 1_000 && KINDS.len() > 20);
    let world = World::new();
    let transcripts = transcripts(&world, &secrets);
    let mut said: Vec<(String, Vec<u8>)> = Vec::new();

    // Processes, each with a secret of its own in a variable, too; some of every kind.
    for (n, (whole, secret)) in secrets.iter().take(2 * KINDS.len()).enumerate() {
        let mut command = world.command(["hook"]);
        command
            .env("ANTHROPIC_API_KEY", secret)
            .env("HTTPS_PROXY", whole.replace('\0', ""))
            .stdin(Stdio::piped());
        let mut running = Running::start(&mut command);
        running.feed(prompt("hooked", &format!("number {n}: {whole}")).to_string().as_bytes());
        let ran = running.wait();
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""), "{ran}");
        if n < KINDS.len() {
            for args in [["events", "--record", "--grep", whole], ["import", "--record", "-v", whole]] {
                let ran = world.run(args);
                said.push((format!("{args:?}"), [ran.stdout, ran.stderr].concat().into_bytes()));
            }
        }
    }
    // Command lines that take a text, a value, a place; variables that name one.
    for (n, (whole, secret)) in secrets.iter().take(KINDS.len()).enumerate() {
        let url = format!("http://me:{secret}@127.0.0.1:9");
        let private = crate::cli_elsewhere::private(&world, &format!("t{n}"), whole);
        let private = private.to_str().expect("UTF-8");
        for args in [
            &["annotate", "1", whole][..],
            &["annotate", whole, "x"],
            &["config", "set", "server.addr", whole],
            &["config", "set", whole, "1"],
            &["config", "get", whole],
            &["init", "--dry-run", whole],
            &["events", "--record", "--server", &url, "--token-file", private],
            &["events", "--record", "--server", whole],
            &["events", "--record", "--server", "http://127.0.0.1:9", "--token-file", private],
            &["gc", "--server", whole],
        ] {
            let mut command = world.command(args);
            command.env("MNEMOSYNE_SERVER", if n % 2 == 0 { &url } else { "" });
            let ran = Running::start(&mut command).wait();
            said.push((format!("{args:?}"), [ran.stdout, ran.stderr].concat().into_bytes()));
        }
        std::fs::remove_file(private).expect("removed");
    }
    let server = world.server();
    let stream = server.sse("/events/stream?from=1", &[]);
    for some in secrets.chunks(100) {
        let events: Vec<_> = some
            .iter()
            .map(|(whole, _)| json!({"kind": "custom", "payload": {"name": "n", "data": {"deep": [{"x": whole}], whole.clone(): 1}}}))
            .collect();
        let answer = server.post("/events/emit", &json!(events).to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
        said.push(("the answer to events".into(), answer.body));
    }
    for (n, (whole, _)) in secrets.iter().enumerate() {
        let hook = json!({"session_id": "posted", "hook_event_name": "PostToolUse", "cwd": "/code/app", "tool_name": "Bash",
            "tool_use_id": format!("p{n}"), "tool_input": {"command": whole}, "tool_response": {"stdout": format!("x\n{whole}\ny")}});
        let answer = server.post("/hooks/claude", &hook.to_string());
        said.push(("the answer to a hook".into(), answer.body));
    }
    for (whole, _) in secrets.iter().take(KINDS.len()) {
        let bad = json!({"kind": whole, "payload": {"seq": whole}});
        said.push(("the refusal of an event".into(), server.post("/events/emit", &bad.to_string()).body));
        said.push(("the refusal of no JSON".into(), server.post("/events/emit", &format!("{{{whole}")).body));
    }
    for path in [
        "/events?limit=1000",
        "/sessions",
        "/metrics",
        "/metrics?format=json",
        "/stats",
        "/diff?a=s&b=s",
        "/state/sessions",
        "/sessions/posted",
    ] {
        said.push((path.into(), server.get(path).body));
    }
    let frames = stream.take(secrets.len()).iter().map(|frame| frame.data.clone()).collect::<String>();
    said.push(("the stream".into(), frames.into_bytes()));
    proc_of(&server, &secrets);
    let imported = world.run(["-vv", "import", &transcripts]);
    assert_eq!(imported.code, Some(0), "{imported}");
    said.push(("import".into(), [imported.stdout, imported.stderr].concat().into_bytes()));
    let stopped = server.stop();
    said.push(("the server".into(), [stopped.stdout, stopped.stderr].concat().into_bytes()));
    for args in [
        &["events"][..],
        &["events", "--json"],
        &["sessions", "--json"],
        &["session", "posted", "--calls"],
        &["session", "imported", "--json"],
        &["tail", "-n", "500"],
        &["replay", "imported", "--speed", "max"],
        &["state", "sessions", "--json"],
        &["stats", "--json"],
    ] {
        let ran = world.ok(args);
        said.push((format!("{args:?}"), [ran.stdout, ran.stderr].concat().into_bytes()));
    }

    for (what, bytes) in &said {
        assert_eq!(found(&secrets, bytes), Vec::<&str>::new(), "{what} says it");
    }
    let files = files_below(&world.data());
    for file in &files {
        assert_eq!(
            found(&secrets, &fs::read(file).expect("read")),
            Vec::<&str>::new(),
            "in {}",
            file.display()
        );
    }
    // The controls: the search finds what is there, and what surrounded the secrets is on record.
    let raw = fs::read(Path::new(&transcripts).join("imported.jsonl")).expect("read");
    assert_eq!(found(&secrets, &raw).len(), secrets.len());
    assert!(files.len() > 6, "{files:?}");
    let redacted = world.events(["--grep", "REDACTED"]).len();
    assert!(redacted > 3 * secrets.len() - 100, "{redacted} events tell of a secret that was taken out");
}
