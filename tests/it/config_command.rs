//! `config`: what is in force and where that is said, and that a change is on record and in force.

use crate::support::{Ran, Running, World};
use serde_json::{Value, json};

fn world() -> World {
    let world = World::new();
    world.ok(["init", "--user"]);
    world
}

fn setting(world: &World, key: &str) -> Value {
    let listed = world.ok(["config", "list", "--json"]).json_lines().remove(0);
    let all = listed["settings"].as_array().expect("a list").clone();
    all.into_iter().find(|setting| setting["key"] == key).expect("the key is listed")
}

#[test]
fn a_setting_goes_from_default_to_user_to_project_and_back() {
    let world = world();
    let told = |value: Value, source: &str| (value, json!(source));
    let look = || {
        let found = setting(&world, "server.linger");
        (found["value"].clone(), found["source"].clone())
    };
    assert_eq!(look(), told(json!(60), "default"));
    world.ok(["config", "set", "--user", "server.linger", "30"]);
    assert_eq!(look(), told(json!(30), "user"));
    world.ok(["config", "set", "server.linger", "5"]);
    assert_eq!(look(), told(json!(5), "project"));
    assert_eq!(world.ok(["config", "get", "server.linger"]).stdout, "5\n");
    assert_eq!(world.ok(["config", "get", "server.linger", "--user"]).stdout, "30\n");
    world.ok(["config", "unset", "server.linger"]);
    assert_eq!(look(), told(json!(30), "user"));

    let changes = world.events(["--kind", "config_changed"]);
    let changes: Vec<&Value> = changes.iter().map(|event| &event["payload"]).collect();
    assert_eq!(*changes[0], json!({"setting": "server.linger", "new_value": 30}));
    assert_eq!(*changes[2], json!({"setting": "server.linger", "old_value": 5}));
}

#[test]
fn what_no_command_would_read_is_refused_and_the_file_stays() {
    let world = world();
    world.ok(["config", "set", "retention.max_age", "30d"]);
    let path = world.data().join("config.toml");
    let before = std::fs::read(&path).expect("written");
    for (args, code, words) in [
        (&["config", "set", "retention.maxage", "3"][..], 3, "did you mean `retention.max_age`?"),
        (&["config", "set", "retention.max_age", "3"], 2, "retention.max_age"),
        (&["config", "set", "server.linger", "-1"], 2, "server.linger"),
        (&["config", "get", "disk.max_bytes"], 3, "disk.max_bytes"),
        (&["config", "list", "--user", "--project"], 2, "cannot be used with"),
    ] {
        let ran = world.run(args);
        assert_eq!(ran.code, Some(code), "{ran}");
        assert!(ran.stderr.contains(words), "{ran}");
        assert_eq!(std::fs::read(&path).expect("there"), before);
    }
    world.ok(["config", "unset", "disk.max_bytes"]);
    assert_eq!(std::fs::read(&path).expect("there"), before, "it was not set");
    assert_eq!(world.events(["--kind", "config_changed"]).len(), 1);
    assert_eq!(world.ok(["config", "path", "--project"]).stdout, format!("{}\n", path.display()));
}

/// The line that a failed run leaves on stderr; with no words of a parser in it.
#[track_caller]
fn refusal(ran: &Ran) -> String {
    assert_eq!(ran.code, Some(2), "{ran}");
    assert_eq!(ran.stderr.lines().count(), 1, "one line: {ran}");
    for raw in ["TOML parse error", "u64", " | ", "\\n"] {
        assert!(!ran.stderr.contains(raw), "{raw}: {ran}");
    }
    ran.stderr.clone()
}

#[test]
fn what_a_key_cannot_be_is_told_in_one_line_with_what_it_can() {
    let world = world();
    for (key, value, words) in [
        ("server.linger", "-5", "server.linger cannot be \"-5\": it is a whole number of seconds"),
        (
            "retention.max_bytes",
            "2MiB",
            "retention.max_bytes cannot be \"2MiB\": it is a whole number of bytes without a unit",
        ),
        ("journal.chain", "maybe", "true or false"),
        ("emit.durability", "fast", "unknown value `fast`, expected `os` or `disk`"),
        ("prices.m", "4", "US dollars"),
        ("server.addr", "0.0.0.0:0", "error: server.addr: 0.0.0.0:0 is not a loopback address"),
    ] {
        let said = refusal(&world.run(["config", "set", key, value]));
        assert!(said.contains(words), "{said}");
        let failed = world.events(["--kind", "cli_command_failed"]).pop().expect("on record");
        let error = failed["payload"]["error"].as_str().expect("words").to_owned();
        assert!(said.contains(&error) && !error.contains('\n'), "{error}");
    }
    // Control: what they can be is taken.
    world.ok(["config", "set", "server.linger", "5"]);
    world.ok(["config", "set", "server.addr", "[::1]:0"]);
}

#[test]
fn a_file_that_no_command_reads_is_told_with_its_line_and_mended_here() {
    let world = world();
    let path = world.data().join("config.toml");
    std::fs::write(&path, "[server]\nlinger = -5\n[nonsense]\nx = 1\n").expect("written");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("private");
    let other = refusal(&world.run(["config", "set", "journal.chain", "false"]));
    assert!(other.contains("config.toml: line 3, column 2: unknown setting `nonsense`"), "{other}");
    assert!(other.contains("nothing was changed") && !other.contains("journal.chain"), "{other}");
    let doctor = world.run(["doctor"]);
    let row = doctor.stdout.lines().find(|line| line.contains("configuration")).expect("a row").to_owned();
    assert!(row.starts_with("fail") && row.contains("line 3, column 2") && !row.contains("\\n"), "{row}");

    let first = world.ok(["config", "unset", "server.linger"]);
    assert!(
        first.stderr.contains("is refused as before: line 2, column 2: unknown setting `nonsense`"),
        "{first}"
    );
    let second = world.ok(["config", "unset", "nonsense"]);
    assert_eq!(second.stderr, "", "{second}");
    world.ok(["config", "list"]);

    std::fs::write(&path, "[server\n").expect("written");
    let broken = refusal(&world.run(["config", "unset", "server.linger"]));
    assert!(broken.contains("config.toml: line 1, column"), "{broken}");
}

#[test]
fn an_address_that_no_server_takes_is_seen_where_it_is_read_and_put_right() {
    let world = world();
    let ask = |args: &[&str]| {
        let mut command = world.bare_command(args);
        Running::start(&mut command).wait()
    };
    let path = ask(&["config", "path", "--user"]).stdout;
    let path = std::path::Path::new(path.trim_end());
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
    std::fs::write(path, "[server]\naddr = \"0.0.0.0:0\"\n").expect("written");
    let doctor = world.run(["doctor"]);
    assert_eq!(doctor.code, Some(1), "{doctor}");
    let row = doctor.stdout.lines().find(|line| line.contains("configuration")).expect("a row").to_owned();
    assert!(row.starts_with("fail") && row.contains("0.0.0.0:0 is not a loopback address"), "{row}");
    assert!(row.contains(&*path.to_string_lossy()), "the file that says it: {row}");
    // A hook finds its data directory all the same.
    world.hook(&crate::cli_basics::prompt("s", "hello"));
    world.ok(["config", "set", "--user", "server.addr", "127.0.0.1:0"]);
    assert_eq!(world.events(["--kind", "prompt_submitted"]).len(), 1);

    // A file of the user's that cannot be read at all is mended as well, wherever the data directory then is.
    std::fs::write(path, "[nonsense]\n").expect("written");
    let ran = ask(&["config", "unset", "--user", "nonsense"]);
    assert_eq!(ran.code, Some(0), "{ran}");
}

#[test]
fn setting_something_makes_the_data_directory_and_what_is_refused_makes_none() {
    let world = World::new();
    assert_eq!(world.run(["config", "set", "server.linger", "-5"]).code, Some(2));
    assert_eq!(world.run(["config", "unset", "server.linger"]).code, Some(3));
    assert!(!world.data().exists());
    world.ok(["config", "set", "server.linger", "5"]);
    assert_eq!(world.ok(["config", "get", "server.linger"]).stdout, "5\n");
    assert_eq!(world.events(["--kind", "config_changed"]).len(), 1);

    let foreign = world.home().join("foreign");
    std::fs::create_dir(&foreign).expect("made");
    std::fs::write(foreign.join("letter.txt"), "mine").expect("written");
    let named = foreign.to_str().expect("UTF-8");
    let ran = world.run(["--data-dir", named, "config", "set", "server.linger", "5"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains("no data directory") && !foreign.join("config.toml").exists(), "{ran}");
}
