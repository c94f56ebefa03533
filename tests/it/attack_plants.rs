//! Things planted in a data directory: at every path that a used directory has, and at those it may have, every kind of
//! thing that is no file of ours, before every command. Nothing may be followed, hang, or be written outside; a hook
//! stays silent and successful, and what it was told is kept.
//!
//! The table is made from a directory that was really used, so a new file of ours is a new row by itself.

use crate::cli_basics::prompt;
use crate::support::{Ran, Running, World, wait_at_most};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// What stands in the victim's file: found in no output, and still there at the end.
const PRECIOUS: &str = "precious-9d41c7";
/// What the hook is told after the plant.
const AFTER: &str = "told-after-the-plant";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plant {
    Link,
    LinkToNothing,
    HardLink,
    Fifo,
    Socket,
    Directory,
    /// `/dev/zero` under another name: who reads it never comes to an end.
    Device,
    /// A file, or directory, of another user.
    Foreign,
}

/// A directory in which everything was used once: hooks, a server with its log and saved states, gc, quarantine.
pub(crate) fn used() -> World {
    let world = World::new();
    world.hook(&prompt("s", "before"));
    let server = world.server();
    assert_eq!(server.get("/sessions").status, 200);
    assert_eq!(server.get("/stats").status, 200);
    server.stop();
    world.ok(["state", "sessions"]);
    world.hook(&prompt("s", "waits in the inbox"));
    fs::create_dir_all(world.data().join("base")).expect("a directory");
    fs::set_permissions(world.data().join("base"), fs::Permissions::from_mode(0o700)).expect("private");
    world
}

/// Every path below `directory`, relative, with whether it is a directory.
pub(crate) fn paths_below(directory: &Path, above: &Path, found: &mut Vec<(PathBuf, bool)>) {
    for item in fs::read_dir(directory).expect("a directory") {
        let item = item.expect("an item");
        let is_dir = item.file_type().expect("its type").is_dir();
        let name = above.join(item.file_name());
        if is_dir {
            paths_below(&item.path(), &name, found);
        }
        found.push((name, is_dir));
    }
}

/// The rows: what is there, and what may be there.
fn rows(world: &World) -> Vec<(PathBuf, bool)> {
    let mut rows = Vec::new();
    paths_below(&world.data(), Path::new(""), &mut rows);
    for (name, is_dir) in [
        ("server.json", false),
        ("start.json", false),
        ("config.toml", false),
        ("journal/quarantine", true),
        ("base/00000000000000000001.base", false),
        ("inbox/00000000000000000001-1-1", false),
        ("log/server.log.1", false),
    ] {
        if !rows.iter().any(|(path, _)| path == Path::new(name)) {
            rows.push((name.into(), is_dir));
        }
    }
    rows.sort();
    let has = |start: &str| rows.iter().any(|(path, _)| path.starts_with(start));
    for place in
        ["lock", "journal/tail", "index", "snapshots", "log/server.log", "quarantine", "inbox/failed"]
    {
        assert!(has(place), "a used directory has no {place}: {rows:?}");
    }
    assert!(rows.iter().any(|(path, _)| path.extension().is_some_and(|is| is == "seg")), "{rows:?}");
    rows
}

/// Copies a directory as `cp -a` does; there are only files and directories in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a directory");
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).expect("private");
    for item in fs::read_dir(from).expect("a directory") {
        let item = item.expect("an item");
        let target = to.join(item.file_name());
        if item.file_type().expect("its type").is_dir() {
            copy(&item.path(), &target);
        } else {
            fs::copy(item.path(), &target).expect("a copy");
        }
    }
}

/// Puts the plant where something else was. False where it cannot stand there.
fn plant(kind: Plant, path: &Path, is_dir: bool, outside: &Path) -> bool {
    let precious = outside.join("precious");
    if is_dir && matches!(kind, Plant::HardLink | Plant::Directory) {
        return false;
    }
    let was = fs::read(path).ok();
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path).expect("removed"),
        Ok(_) => fs::remove_file(path).expect("removed"),
        Err(_) => {}
    }
    let node = |kind, device| {
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, 0o600.into(), device).expect("a node");
    };
    match kind {
        Plant::Link if is_dir => symlink(outside, path).expect("a link"),
        Plant::Link => symlink(&precious, path).expect("a link"),
        Plant::LinkToNothing => symlink(outside.join("made"), path).expect("a link"),
        Plant::HardLink => {
            // With our own content, so that it is believed as far as it can be: the victim is a good copy of our file.
            let victim = outside.join("copy");
            fs::write(&victim, was.unwrap_or_else(|| PRECIOUS.into())).expect("written");
            fs::hard_link(victim, path).expect("a hard link");
        }
        Plant::Fifo => node(rustix::fs::FileType::Fifo, 0),
        // A socket that is bound and closed stays as a name.
        Plant::Socket => drop(UnixListener::bind(path).expect("a socket")),
        Plant::Directory => fs::create_dir(path).expect("a directory"),
        Plant::Device => node(rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 5)),
        Plant::Foreign => {
            if is_dir {
                fs::create_dir(path).expect("a directory");
            } else {
                fs::write(path, was.unwrap_or_else(|| PRECIOUS.into())).expect("written");
            }
            fs::set_permissions(path, fs::Permissions::from_mode(if is_dir { 0o777 } else { 0o666 }))
                .expect("open");
            std::os::unix::fs::chown(path, Some(65_534), Some(65_534)).expect("given away");
        }
    }
    true
}

/// Names, modes and bytes of everything outside.
fn state_of(outside: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
    let mut paths = Vec::new();
    paths_below(outside, Path::new(""), &mut paths);
    paths.sort();
    let state = |(path, is_dir): (PathBuf, bool)| {
        let whole = outside.join(&path);
        let mode = whole.symlink_metadata().expect("its metadata").mode();
        (path, mode, if is_dir { Vec::new() } else { fs::read(whole).expect("read") })
    };
    paths.into_iter().map(state).collect()
}

/// One run under a bound on its memory, so that who reads a device without end fails and takes nobody along.
pub(crate) fn run(world: &World, args: &[&str], stdin: Option<&[u8]>) -> Ran {
    let plain = world.command(args);
    let mut command = std::process::Command::new("prlimit");
    command
        .args(["--as=4294967296", "--fsize=268435456", "--"])
        .arg(plain.get_program())
        .args(plain.get_args());
    command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(world.home()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut running = Running::start(&mut command);
    if let Some(stdin) = stdin {
        running.feed(stdin);
    }
    running.wait()
}

/// A server that starts, or says why not; either way it ends.
fn serve(world: &World) -> Ran {
    let mut command = world.command(["api-server", "--addr", "127.0.0.1:0"]);
    let mut running = Running::start(&mut command);
    wait_at_most(Duration::from_secs(60), "a server that listens or has ended", || {
        (!running.is_alive() || running.stdout().contains("http://") || running.stderr().contains("http://"))
            .then_some(())
    });
    if running.is_alive() {
        running.signal(rustix::process::Signal::TERM);
    }
    running.wait()
}

/// Everything that went wrong at any path, told together.
fn try_all(kind: Plant) {
    let template = used();
    let mut wrong = Vec::new();
    let mut tried = 0;
    for (row, is_dir) in rows(&template) {
        let world = World::new();
        copy(&template.data(), &world.data());
        let outside = world.home().join("outside");
        fs::create_dir(&outside).expect("a directory");
        fs::write(outside.join("precious"), PRECIOUS).expect("written");
        if plant(kind, &world.data().join(&row), is_dir, &outside) {
            tried += 1;
            try_one(kind, &world, &row, &outside, &mut wrong);
        }
    }
    assert!(tried >= 15, "{kind:?} was tried at {tried} paths");
    assert!(wrong.is_empty(), "{} of {tried} paths:\n{}", wrong.len(), wrong.join("\n"));
}

fn try_one(kind: Plant, world: &World, row: &Path, outside: &Path, wrong: &mut Vec<String>) {
    let mut tell = |what: String| wrong.push(format!("{kind:?} at {}: {what}", row.display()));
    let before = state_of(outside);
    let counted = failures(world);
    let foreign = foreign_file(&world.data().join(row));
    let hook = run(world, &["hook"], Some(prompt("s", AFTER).to_string().as_bytes()));
    if (hook.code, hook.stdout.as_str(), hook.stderr.as_str()) != (Some(0), "", "") {
        tell(format!("hook: {hook}"));
    }
    // Kept, or counted; where both places are planted there is no third one.
    let is_told = holding(world, AFTER) == 1 || failures(world) > counted;
    if !is_told && !row.starts_with("inbox") {
        tell("what the hook was told is neither kept nor counted".into());
    }
    let empty = world.home().join("empty");
    fs::create_dir(&empty).expect("a directory");
    let copied = world.home().join("copied");
    let (empty, copied) = (empty.to_str().expect("UTF-8"), copied.to_str().expect("UTF-8"));
    for args in [
        &["hook"][..],
        &["events", "--json"],
        &["tail", "-n", "3"],
        &["sessions"],
        &["state", "sessions"],
        &["stats"],
        &["status"],
        &["config", "list"],
        &["gc", "--dry-run"],
        &["gc"],
        &["import", empty],
        &["backup", copied],
        &["api-server", "--background", "--addr", "127.0.0.1:0"],
        &["api-server", "--stop"],
        &["api-server", "--addr", "127.0.0.1:0"],
    ] {
        let ran = match args[0] {
            "hook" => hook.clone(),
            "api-server" if args[1] == "--addr" => serve(world),
            // No bounds on it: a server asks for its own.
            "api-server" => world.run(args),
            _ => run(world, args, None),
        };
        if let Some(complaint) = complaint(&ran, kind) {
            tell(format!("{args:?} {complaint}: {ran}"));
        }
        let now = foreign_file(&world.data().join(row));
        if foreign.is_some() && now.is_some() && foreign != now {
            tell(format!("{args:?} wrote to it: {ran}"));
            return;
        }
        if state_of(outside) != before {
            tell(format!("{args:?} reached outside: {ran}"));
            return;
        }
    }
}

fn complaint(ran: &Ran, kind: Plant) -> Option<&'static str> {
    match ran.code {
        None => return Some("was killed"),
        Some(0..=4) => {}
        Some(_) => return Some("ended oddly"),
    }
    if ran.stderr.contains("panicked") {
        return Some("panicked");
    }
    if ran.code != Some(0) && ran.stderr.is_empty() {
        return Some("failed without a word");
    }
    let shows = ran.stdout.contains(PRECIOUS) || ran.stderr.contains(PRECIOUS);
    (shows && kind == Plant::Link).then_some("shows what lies outside")
}

/// The bytes of a file that is not ours.
fn foreign_file(path: &Path) -> Option<Vec<u8>> {
    let meta = path.symlink_metadata().ok()?;
    let foreign = meta.is_file() && meta.uid() != rustix::process::geteuid().as_raw();
    foreign.then(|| fs::read(path).expect("read"))
}

/// The count in `inbox/failed`: eight bytes, little-endian, after the magic; 0 where that is no file.
fn failures(world: &World) -> u64 {
    let path = world.data().join("inbox/failed");
    if !path.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
        return 0;
    }
    let block = fs::read(path).expect("read");
    block.get(8..16).map_or(0, |count| u64::from_le_bytes(count.try_into().expect("eight bytes")))
}

/// In how many files of the inbox or the journal this text stands.
fn holding(world: &World, text: &str) -> usize {
    let mut paths = Vec::new();
    for place in ["inbox", "journal"] {
        let place = world.data().join(place);
        if place.is_dir() {
            paths_below(&place, &place, &mut paths);
        }
    }
    let is_file = |path: &Path| path.symlink_metadata().is_ok_and(|meta| meta.is_file());
    let holds = |path: &Path| String::from_utf8_lossy(&fs::read(path).expect("read")).contains(text);
    paths.iter().filter(|(path, _)| is_file(path) && holds(path)).count()
}

#[test]
fn a_planted_link_is_not_followed() {
    try_all(Plant::Link);
}

#[test]
fn nothing_is_made_behind_a_link_that_leads_nowhere() {
    try_all(Plant::LinkToNothing);
}

#[test]
fn a_file_with_a_second_name_elsewhere_is_not_written() {
    try_all(Plant::HardLink);
}

#[test]
fn a_planted_fifo_holds_nobody_up() {
    try_all(Plant::Fifo);
}

#[test]
fn a_planted_socket_holds_nobody_up() {
    try_all(Plant::Socket);
}

#[test]
fn a_directory_in_the_place_of_a_file_is_an_error_that_is_told() {
    try_all(Plant::Directory);
}

#[test]
fn a_planted_device_is_not_read_without_end() {
    if crate::attack_user::is_root() {
        try_all(Plant::Device);
    }
}

#[test]
fn what_belongs_to_somebody_else_is_not_written() {
    if crate::attack_user::is_root() {
        try_all(Plant::Foreign);
    }
}
