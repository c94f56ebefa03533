//! A stranger who listens where the server did, or says so in a planted file: commands find no server there, and the token of
//! no server ever reaches it. Everything that the stranger is sent is kept and searched.

use crate::cli_basics::prompt;
use crate::support::World;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Listens, answers everything as a friendly server would, and keeps every byte.
pub(crate) struct Stranger {
    pub(crate) addr: String,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Stranger {
    pub(crate) fn on(addr: &str) -> Stranger {
        let body = r#"{"status":"ok","seqs":[1],"events":[]}"#;
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:";
        Stranger::answering(addr, format!("{head} {}\r\n\r\n{body}", body.len()))
    }

    /// One that answers everything with these bytes.
    pub(crate) fn answering(addr: &str, answer: String) -> Stranger {
        let listener = TcpListener::bind(addr).expect("the port is free");
        let addr = listener.local_addr().expect("its address").to_string();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = heard.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let (kept, answer) = (kept.clone(), answer.clone());
                std::thread::spawn(move || {
                    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a bound");
                    let mut chunk = [0; 4096];
                    while let Ok(n) = stream.read(&mut chunk) {
                        if n == 0 {
                            return;
                        }
                        kept.lock().expect("what was heard").extend_from_slice(&chunk[..n]);
                        if stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Stranger { addr, heard }
    }

    pub(crate) fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().expect("what was heard")).into_owned()
    }
}

/// Everything that would talk to a server, if there were one.
fn all_commands(world: &World) {
    world.hook(&prompt("s", "words for nobody else"));
    world.run_with_stdin(["hook"], b"garbage");
    let empty = world.home().join("empty");
    std::fs::create_dir_all(&empty).expect("a directory");
    let copied = world.home().join("copied");
    let (empty, copied) = (empty.to_str().expect("UTF-8"), copied.to_str().expect("UTF-8"));
    for args in [
        &["events", "--record"][..],
        &["tail", "-n", "3"],
        &["sessions"],
        &["session", "s"],
        &["state", "sessions"],
        &["stats"],
        &["replay", "s", "--speed", "max"],
        &["import", empty],
        &["gc"],
        &["backup", copied],
        &["api-server", "--stop"],
        &["internal", "session-started"],
        &["init", "--dry-run"],
    ] {
        let ran = world.run(args);
        assert!(ran.code.is_some_and(|code| code != 101), "{args:?}: {ran}");
    }
    std::fs::remove_dir_all(copied).ok();
}

fn write_runtime(path: &Path, runtime: &Value) {
    std::fs::write(path, runtime.to_string()).expect("written");
}

#[test]
fn no_token_reaches_a_stranger_at_the_address_of_a_killed_server() {
    let world = World::new();
    let server = world.server();
    let (addr, token) = (server.addr.clone(), server.token.clone());
    // The control: with the server alive, its own token does what is needed.
    assert_eq!(server.get("/events").status, 200);
    server.kill();
    assert!(world.data().join("server.json").exists(), "a killed server leaves it behind");
    let stranger = Stranger::on(&addr);
    all_commands(&world);
    let heard = stranger.heard();
    assert!(!heard.contains(&token), "the token was told to a stranger: {heard}");
    assert!(!heard.contains("words for nobody else"), "events were told to a stranger: {heard}");
    assert!(heard.is_empty(), "nothing is asked of an unproven listener: {heard}");
}

#[test]
fn a_planted_runtime_file_leads_nobody_to_a_stranger() {
    let world = World::new();
    let server = world.server();
    let path = world.data().join("server.json");
    let real: Value = serde_json::from_slice(&std::fs::read(&path).expect("server.json")).expect("JSON");
    let stranger = Stranger::on("127.0.0.1:0");
    let own = json!(std::process::id());
    for (what, change) in [
        ("another process", json!({"pid": own, "addr": stranger.addr})),
        ("a process that is none", json!({"pid": 0, "addr": stranger.addr})),
        ("another start", json!({"start_ticks": 1, "addr": stranger.addr})),
        ("a name", json!({"pid": own, "addr": "evil.test:80"})),
        ("no loopback", json!({"pid": own, "addr": "192.0.2.1:80"})),
    ] {
        let mut planted = real.clone();
        for (key, value) in change.as_object().expect("an object") {
            planted[key] = value.clone();
        }
        write_runtime(&path, &planted);
        world.hook(&prompt("s", "words for nobody else"));
        for args in [&["events"][..], &["sessions"], &["tail", "-n", "1"], &["gc"]] {
            let ran = world.run(args);
            assert!(ran.code.is_some_and(|code| code != 101), "{what}: {args:?}: {ran}");
        }
        let heard = stranger.heard();
        assert!(!heard.contains(&server.token) && !heard.contains("words for nobody"), "{what}: {heard}");
    }
    // The control: the stranger does hear who really connects.
    let answer = crate::support::http_request(&stranger.addr, "GET", "/hello", &[], b"");
    assert_eq!(answer.status, 200);
    assert!(stranger.heard().contains("GET /hello"));
    write_runtime(&path, &real);
    server.stop();
}
