//! Pages in a real browser: everything that a page of another origin can send is sent at the server, and nothing is written,
//! nothing is read. And DNS rebinding: a page whose own name leads to the server, with the token in its hands.
//!
//! The page (`attack/page.js`) reports to a server of this test what it could read. The controls: the same page at a server that
//! grants everything reads what lies there, so the page can see; that server knows by which primitive each request came, so all
//! of them really fire; and the same rebound page at our server without the check of the host reads and writes.
//!
//! It needs Chromium (`MNEMOSYNE_TEST_CHROMIUM`, else `chromium` of the PATH); where there is none that is said, and
//! with `MNEMOSYNE_TEST_BROWSER=require` it is a failure.

use crate::cli_basics::prompt;
use crate::support::{Running, World, skipped, wait_at_most};
use mnemosyne::clock::{self, SystemClock};
use mnemosyne::config::{self, DataDir};
use mnemosyne::server::{Guard, Settings, Token, serve};
use mnemosyne::store::{Opening, Store};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What stands in the journal, and at the control: what a page must not read.
const PRIVATE: &str = "private-words-3f81";
/// A browser on a busy machine, with more than a hundred requests.
const BROWSER_BOUND: Duration = Duration::from_secs(240);

fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("MNEMOSYNE_TEST_CHROMIUM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = named.or_else(|| {
        std::env::split_paths(&path)
            .flat_map(|place| ["chromium", "chromium-browser"].map(|name| place.join(name)))
            .find(|file| file.is_file())
    });
    if found.is_none() {
        let required = std::env::var_os("MNEMOSYNE_TEST_BROWSER").is_some_and(|value| value == "require");
        assert!(!required, "no Chromium was found, and one is required");
        skipped("no Chromium: what a browser's pages can do was not tried");
    }
    found
}

/// A browser with a profile of its own, and everything it starts; killed when dropped.
struct Browser {
    running: Option<Running>,
    group: rustix::process::Pid,
    _profile: tempfile::TempDir,
}

impl Browser {
    fn open(program: &Path, url: &str) -> Browser {
        let profile = tempfile::tempdir().expect("a profile");
        let mut command = Command::new(program);
        command
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-popup-blocking", "--no-default-browser-check"])
            // Its own checks of local addresses are another protection; this is about ours.
            .arg("--disable-features=LocalNetworkAccessChecks,PrivateNetworkAccessSendPreflights,BlockInsecurePrivateNetworkRequests")
            .arg("--host-resolver-rules=MAP evil.test 127.0.0.1")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .env("HOME", profile.path())
            // Where its own temporary files end with the test too.
            .env("TMPDIR", profile.path())
            .process_group(0)
            .stdin(Stdio::null())
            // It speaks of buses and graphics that are not there.
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let running = Running::start(&mut command);
        let group = i32::try_from(running.pid()).ok().and_then(rustix::process::Pid::from_raw);
        Browser { running: Some(running), group: group.expect("a pid"), _profile: profile }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The group is that of a child that has not been waited for, so the id is still its own.
        let _ = rustix::process::kill_process_group(self.group, rustix::process::Signal::KILL);
        drop(self.running.take());
    }
}

/// What came to a [`Site`].
#[derive(Debug, Clone)]
struct Came {
    target: String,
    body: String,
}

/// A server of this test: the attacker's own, or the control that grants everything.
struct Site {
    port: u16,
    came: Arc<Mutex<Vec<Came>>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Site {
    /// Answers each request with what `answer` says: a content type and a body.
    fn start(answer: impl Fn(&Came) -> (&'static str, String) + Send + Sync + 'static) -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let (came, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (noted, stopped, answer) = (came.clone(), stop.clone(), Arc::new(answer));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (noted, answer) = (noted.clone(), answer.clone());
                std::thread::spawn(move || talk(&stream, &noted, &*answer));
            }
        });
        Site { port, came, stop, thread: Some(thread) }
    }

    fn came(&self) -> Vec<Came> {
        self.came.lock().expect("what came").clone()
    }

    /// What the page reported under this name, once it has.
    fn reported(&self, name: &str) -> Vec<String> {
        let wanted = format!("/report?{name}");
        self.came().into_iter().filter(|came| came.target == wanted).map(|came| came.body).collect()
    }

    /// Gives the port back.
    fn close(mut self) -> u16 {
        self.stop.store(true, Ordering::SeqCst);
        // It looks when somebody comes.
        drop(TcpStream::connect(("127.0.0.1", self.port)).expect("it still listens"));
        self.thread.take().expect("a thread").join().expect("it ends well");
        self.port
    }
}

/// One request, one answer that allows everything.
fn talk(stream: &TcpStream, noted: &Mutex<Vec<Came>>, answer: &dyn Fn(&Came) -> (&'static str, String)) {
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a bound");
    let mut reader = BufReader::new(stream);
    let (mut first, mut length, mut origin) = (String::new(), 0_u64, "*".to_owned());
    // A browser opens connections that it never uses.
    if reader.read_line(&mut first).is_err() || first.is_empty() {
        return;
    }
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).is_err() {
            return;
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().expect("a length"),
            "origin" => value.trim().clone_into(&mut origin),
            _ => {}
        }
    }
    let mut body = Vec::new();
    if reader.take(length).read_to_end(&mut body).is_err() {
        return;
    }
    let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let came = Came { target, body: String::from_utf8_lossy(&body).into_owned() };
    let (kind, text) = answer(&came);
    noted.lock().expect("what came").push(came);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\
         Access-Control-Allow-Origin: {origin}\r\nAccess-Control-Allow-Credentials: true\r\n\
         Access-Control-Allow-Methods: PUT\r\nAccess-Control-Allow-Headers: authorization, content-type\r\n\
         Service-Worker-Allowed: /\r\n\r\n",
        text.len()
    );
    // The browser may have gone on.
    let _ = (&*stream).write_all((head + &text).as_bytes());
}

const WORKER: &str = "self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil((async () => {
  const target = decodeURIComponent(location.search.slice(1));
  let got;
  try { got = await (await fetch(target)).text() } catch (error) { got = 'blocked: ' + error }
  await self.clients.claim();
  for (const page of await self.clients.matchAll({ includeUncontrolled: true })) page.postMessage(got);
})()));";

/// One page of an attacker: what it attacks, whether it marks what it sends, and the name under which the next one is opened.
struct Step {
    target: String,
    mark: bool,
    next_name: Option<&'static str>,
}

/// A site whose page `/attack/N` does the step of that number and goes on to the next, or says that it is done.
fn attacker(steps: Vec<Step>) -> Site {
    Site::start(move |came| {
        if came.target.starts_with("/worker.js") {
            return ("text/javascript", WORKER.to_owned());
        }
        let number = came.target.strip_prefix("/attack/").and_then(|number| number.parse::<usize>().ok());
        let Some((at, step)) = number.and_then(|at| Some((at, steps.get(at)?))) else {
            return ("text/plain", String::new());
        };
        let then = step.next_name.map_or_else(
            || "report('done', location.origin)".to_owned(),
            |name| format!("location = 'http://{name}:' + location.port + '/attack/{}'", at + 1),
        );
        let html = format!(
            "<!doctype html><body><script>const TARGET = '{}', MARK = {}, HOME = location.origin;\n{}\n\
             attack().catch((error) => report('broken', error)).then(() => {then});</script>",
            step.target,
            step.mark,
            include_str!("attack/page.js")
        );
        ("text/html", html)
    })
}

/// The primitives that must be seen to fire, each of which the page names.
const PRIMITIVES: &[&str] = &[
    "fetch-get",
    "fetch-opaque",
    "fetch-credentials",
    "xhr-get",
    "iframe",
    "image",
    "fetch-text",
    "fetch-opaque-text",
    "fetch-opaque-json",
    "fetch-json",
    "fetch-token",
    "fetch-keepalive",
    "fetch-blob",
    "fetch-put",
    "xhr-post",
    "xhr-json",
    "beacon",
    "beacon-json",
    "form-urlencoded",
    "form-multipart",
    "form-text",
    "form-get",
    "script",
    "module",
    "stylesheet",
    "preload",
    "modulepreload",
    "prefetch",
    "object",
    "embed",
    "audio",
    "video",
    "poster",
    "input-image",
    "css-background",
    "css-import",
    "css-font",
    "eventsource",
    "eventsource-credentials",
    "websocket",
    "ping",
    "worker",
    "import-scripts",
    "service-worker",
    "window",
];

#[test]
fn no_page_of_another_origin_writes_or_reads_anything() {
    let Some(program) = chromium() else { return };
    let world = World::new();
    world.hook(&prompt("s", PRIVATE));
    let server = world.server();
    let before = server.get("/events").text();
    assert!(before.contains(PRIVATE));

    let control = Site::start(|came| match came.target.split('?').next() {
        Some("/events/stream") => ("text/event-stream", format!("data: {PRIVATE}\n\n")),
        Some("/events") if came.target.contains("script") || came.target.contains("module") => {
            ("text/javascript", String::new())
        }
        _ => ("application/json", PRIVATE.to_owned()),
    });
    // As another site, as another port of the same site, and at the control: one after the other in one browser.
    let ours = format!("http://{}", server.addr);
    let home = attacker(vec![
        Step { target: ours.clone(), mark: false, next_name: Some("localhost") },
        Step { target: ours.replace("127.0.0.1", "localhost"), mark: false, next_name: Some("localhost") },
        Step { target: format!("http://localhost:{}", control.port), mark: true, next_name: None },
    ]);
    let browser = Browser::open(&program, &format!("http://evil.test:{}/attack/0", home.port));
    wait_at_most(BROWSER_BOUND, "the pages to have done all they can", || {
        let broken = home.reported("broken");
        assert!(broken.is_empty(), "{broken:?}");
        home.reported("done").pop()
    });
    drop(browser);

    // The control first: the page fires all of it, and reads where it may.
    let fired: BTreeSet<String> =
        control.came().iter().filter_map(|came| Some(came.target.split_once("p=")?.1.to_owned())).collect();
    let missing: Vec<_> = PRIMITIVES.iter().filter(|name| !fired.contains(**name)).collect();
    assert!(missing.is_empty(), "never fired: {missing:?}");
    for name in
        ["fetch-get", "fetch-credentials", "xhr-get", "fetch-json", "eventsource", "worker", "service-worker"]
    {
        let read = home.reported(name).iter().filter(|text| text.contains(PRIVATE)).count();
        assert!(
            read >= 1,
            "{name} reads nothing even where everything is granted: {:?}",
            home.reported(name)
        );
    }
    // The page reports in order, so what came before the first mark came from our server.
    let reports = home.came();
    let third =
        reports.iter().position(|came| came.target == "/attack/2").expect("the third page was asked for");
    let read: Vec<_> = reports[..third].iter().filter(|came| came.body.contains(PRIVATE)).collect();
    assert!(read.is_empty(), "a page read what is on record: {read:?}");
    let leaks: Vec<_> = reports[..third]
        .iter()
        .filter(|came| came.body.contains(server.token.as_str()) || came.body.contains("instance_id"))
        .collect();
    assert!(leaks.is_empty(), "a page learned something of the server: {leaks:?}");
    let after = server.get("/events").text();
    assert_eq!(after, before, "nothing was written");
    let metrics = server.get("/metrics?format=json").json();
    let refused = refused_requests(&metrics);
    assert!(refused > 200, "the requests did arrive, and were refused: {refused}: {metrics}");
    server.stop();
}

/// Requests that were answered with 401 or 403, as the server counts them.
fn refused_requests(metrics: &serde_json::Value) -> u64 {
    let requests = metrics["requests"].as_array().expect("counts of requests");
    let refused = requests.iter().filter(|one| matches!(one["status"].as_u64(), Some(401 | 403)));
    refused.map(|one| one["count"].as_u64().expect("a count")).sum()
}

/// A page whose name is rebound to our server, with and without the check of the host: what it reported, by name.
fn rebound(world: &World, program: &Path, start: impl FnOnce(u16) -> String) -> Vec<(String, String)> {
    let token = Arc::new(Mutex::new(String::new()));
    let told = token.clone();
    let home = Site::start(move |_| ("text/plain", told.lock().expect("the token").clone()));
    let page = format!(
        "<!doctype html><script>const HOME = 'http://evil.test:{}';\n{}\n\
         attack().catch((error) => report('broken', error)).then(() => report('done', ''));</script>",
        home.port,
        include_str!("attack/rebound.js")
    );
    let before = Site::start(move |_| ("text/html", page.clone()));
    let browser = Browser::open(program, &format!("http://evil.test:{}/", before.port));
    wait_at_most(BROWSER_BOUND, "the page to be there", || home.reported("loaded").pop());
    let port = before.close();
    let secret = start(port);
    *token.lock().expect("the token") = secret;
    wait_at_most(BROWSER_BOUND, "the page to have asked", || home.reported("done").pop());
    drop(browser);
    assert!(world.data().exists());
    home.came()
        .into_iter()
        .filter_map(|came| Some((came.target.strip_prefix("/report?")?.to_owned(), came.body)))
        .collect()
}

#[test]
fn a_rebound_page_is_refused_even_with_the_token() {
    let Some(program) = chromium() else { return };
    let world = World::new();
    world.hook(&prompt("s", PRIVATE));
    let mut server = None;
    let reports = rebound(&world, &program, |port| {
        let started = world.server_with(["api-server", "--addr", &format!("127.0.0.1:{port}")]);
        let token = started.token.clone();
        server = Some(started);
        token
    });
    let server = server.expect("it started");
    let asked = ["health", "read", "read-token", "write", "write-token"];
    for name in asked {
        let answers: Vec<_> = reports.iter().filter(|(of, _)| of == name).collect();
        assert_eq!(answers.len(), 1, "{reports:?}");
        let answer = &answers[0].1;
        assert!(answer.starts_with("403 ") && answer.contains("forbidden_host"), "{name}: {answer}");
        assert!(!answer.contains(PRIVATE), "{name}: {answer}");
    }
    assert!(!server.get("/events").text().contains("forged"));
    server.stop();
}

#[test]
fn without_the_check_of_the_host_the_rebound_page_gets_in() {
    let Some(program) = chromium() else { return };
    let world = World::new();
    world.hook(&prompt("s", PRIVATE));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut serving = None;
    let reports = rebound(&world, &program, |port| {
        let clock: Arc<dyn clock::Clock> = Arc::new(SystemClock);
        let id = clock::new_id(&*clock).to_string();
        let opening = Opening::server(id.clone(), clock.clone(), config::Settings::default());
        let (store, _) = Store::open(&DataDir::at(world.data()), opening).expect("a store");
        let token = Token::from_bits([7; 32]);
        let secret = token.reveal().to_owned();
        let guard = Guard::new(token, port).without_host_check();
        let settings = Settings::new(guard, id, clock::this_source("mnemosyne"), clock);
        let listener =
            runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", port))).expect("the port");
        serving = Some(runtime.spawn(async move {
            let until = async move { drop(stopped.await) };
            serve(listener, store, settings, until).await
        }));
        secret
    });
    let answer = |name: &str| {
        reports.iter().find(|(of, _)| of == name).map(|(_, text)| text.clone()).unwrap_or_default()
    };
    assert!(answer("health").starts_with("200 "), "{reports:?}");
    assert!(
        answer("read-token").contains(PRIVATE),
        "the check of the host is what keeps it out: {reports:?}"
    );
    assert!(answer("write-token").starts_with("200 "), "{reports:?}");
    assert!(answer("read").starts_with("401 "), "and beyond it the token: {reports:?}");
    drop(stop);
    runtime.block_on(serving.expect("it served")).expect("no panic").expect("it ends well");
}
