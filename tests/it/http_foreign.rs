//! Clients that we did not write tail and resume: `httpx-sse` from PyPI and `eventsource` from npm.
//!
//! They are installed at pinned versions into `target/foreign/`, once. Where the tools or the registries are not to be had,
//! the test says `SKIPPED` on stderr; `MNEMOSYNE_TEST_FOREIGN=require` makes that a failure.

use crate::http_emit::{custom, emit};
use crate::support::{Ran, Running, Server, World, skipped};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const PYTHON_PACKAGES: [&str; 2] = ["httpx==0.28.1", "httpx-sse==0.4.3"];
const NODE_PACKAGE: &str = "eventsource@4.1.0";
/// A registry that has not delivered by then is taken for one that cannot be reached.
const INSTALL_BOUND: Duration = Duration::from_secs(120);

pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(name)
}

/// A directory that stays between runs of the tests, as installing takes longer than testing.
fn place(name: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("foreign").join(name);
    std::fs::create_dir_all(&place).expect("a directory for foreign clients");
    place
}

/// Runs a step of an installation; why it failed, if it did.
fn step(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if command.get_program().to_string_lossy().contains('/')
        || which(command.get_program().to_str().unwrap_or_default())
    {
        let ran = Running::start(command).wait_at_most(INSTALL_BOUND);
        return if ran.code == Some(0) { Ok(()) } else { Err(format!("{shown}: {ran}")) };
    }
    Err(format!("{shown}: there is no such program"))
}

pub(crate) fn which(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|place| place.join(program).is_file())
}

/// The client, or a loud word that it is not to be had.
pub(crate) fn or_skip<T>(client: &str, installed: Result<T, String>) -> Option<T> {
    match installed {
        Ok(installed) => Some(installed),
        Err(reason) => {
            let required = std::env::var("MNEMOSYNE_TEST_FOREIGN").is_ok_and(|how| how == "require");
            assert!(!required, "{client} cannot be installed: {reason}");
            skipped(&format!("{client} cannot be installed: {reason}"));
            None
        }
    }
}

fn python() -> Result<PathBuf, String> {
    python_with("python", &PYTHON_PACKAGES)
}

/// A Python that has these packages, in a place of this name.
pub(crate) fn python_with(name: &str, packages: &[&str]) -> Result<PathBuf, String> {
    let place = place(name);
    let python = place.join("bin/python");
    let done = place.join("installed");
    let wanted = packages.join(" ");
    if std::fs::read_to_string(&done).is_ok_and(|have| have == wanted) {
        return Ok(python);
    }
    step(Command::new("python3").args(["-m", "venv"]).arg(&place))?;
    step(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(packages),
    )?;
    std::fs::write(&done, wanted).map_err(|error| error.to_string())?;
    Ok(python)
}

fn node_script() -> Result<PathBuf, String> {
    let place = place("node");
    let done = place.join("installed");
    if !std::fs::read_to_string(&done).is_ok_and(|have| have == NODE_PACKAGE) {
        let npm = ["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", NODE_PACKAGE];
        step(Command::new("npm").args(npm).arg("--prefix").arg(&place).current_dir(&place))?;
        std::fs::write(&done, NODE_PACKAGE).map_err(|error| error.to_string())?;
    }
    // Node looks for packages beside the script.
    let copy = place.join("tail_and_resume.mjs");
    std::fs::copy(script("tail_and_resume.mjs"), &copy).map_err(|error| error.to_string())?;
    Ok(copy)
}

fn emit_n(server: &Server, n: u64) -> Vec<u64> {
    emit(server, &json!((0..n).map(|n| custom("foreign", json!(n))).collect::<Vec<_>>()))
}

fn lines(ran: &Ran) -> Vec<u64> {
    ran.stdout.lines().map(|line| line.parse().unwrap_or_else(|_| panic!("{ran}"))).collect()
}

fn start(command: &mut Command) -> Running {
    Running::start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))
}

#[test]
fn httpx_sse_tails_breaks_off_and_resumes() {
    let Some(python) = or_skip("httpx-sse", python()) else { return };
    let world = World::new();
    let server = world.server();
    let past = emit_n(&server, 20);
    let url = format!("http://{}/events/stream", server.addr);
    let client = start(Command::new(python).arg(script("tail_and_resume.py")).args([
        &url,
        &server.token,
        &past[0].to_string(),
        "40",
    ]));
    let present = emit_n(&server, 20);
    let ran = client.wait();
    assert_eq!(ran.code, Some(0), "{ran}");
    assert_eq!(lines(&ran), [past, present].concat());
}

#[test]
fn eventsource_goes_on_by_itself_after_a_restart_of_the_server() {
    let Some(script) = or_skip("eventsource", node_script()) else { return };
    let world = World::new();
    let server = world.server();
    let first = emit_n(&server, 10);
    let addr = server.addr.clone();
    let client = start(
        Command::new("node")
            .arg(script)
            .args([&format!("http://{addr}/events/stream?from=1"), "20"])
            .arg(world.data().join("server.json")),
    );
    client.wait_for_stdout(&format!("{}\n", first[9]));
    server.stop();
    let server = world.server_with(["api-server", "--addr", &addr]);
    let second = emit_n(&server, 10);
    let ran = client.wait();
    assert_eq!(ran.code, Some(0), "{ran}");
    assert_eq!(lines(&ran), [first, second].concat());
    assert!(ran.stderr.matches("open").count() >= 2, "it reconnected: {ran}");
}
