//! Exit codes, command by command: what is not there ends every command with 3, what makes no sense with 2, here and of a server elsewhere.

use crate::cli_basics::prompt;
use crate::cli_elsewhere::Far;
use crate::support::{Ran, World};

/// One line that says what is wrong, nothing on stdout, and with `--json` the same as an object with a stable code.
#[track_caller]
fn refused(args: &[&str], code: i32, run: impl Fn(&[&str]) -> Ran) {
    let plain = run(args);
    assert_eq!((plain.code, plain.stdout.as_str()), (Some(code), ""), "{args:?}: {plain}");
    let said = plain.stderr.lines().find_map(|line| line.strip_prefix("error: "));
    let said = said.unwrap_or_else(|| panic!("{args:?} says nothing: {plain}"));
    assert!(said.matches("does not exist").count() <= 1, "{args:?}: {plain}");
    assert!(!said.contains("begins with `nobody` does not exist"), "{args:?}: {plain}");
    let json = run(&[args, &["--json"]].concat());
    assert_eq!(json.code, Some(code), "{args:?}: {json}");
    let told: serde_json::Value = json
        .stderr
        .lines()
        .find_map(|line| serde_json::from_str(line).ok())
        .unwrap_or_else(|| panic!("{args:?} tells no object: {json}"));
    let known = ["not_found", "cursor_ahead", "no_data_dir", "usage", "config_invalid"];
    let word = told["error"]["code"].as_str().unwrap_or_else(|| panic!("{args:?}: {told}"));
    assert!(known.contains(&word), "{args:?}: {told}");
}

/// What can be asked for by name or number, and is not there.
const ABSENT: &[&[&str]] = &[
    &["session", "nobody"],
    &["replay", "nobody"],
    &["replay", "s-1", "--state", "nothing"],
    &["replay", "s-1", "--from", "9999"],
    &["diff", "s-1", "nobody"],
    &["state", "nothing"],
    &["state", "sessions", "--at", "9999"],
    &["events", "--from", "9999"],
    &["events", "--session", "nobody"],
    &["events", "--session", "00000000-0000-4000-8000-00000000beef"],
    &["events", "--search", "needle", "--session", "nobody"],
    &["tail", "--session", "nobody"],
    &["events", "--search", "needle", "--from", "9999"],
    &["tail", "--from", "9999"],
    &["why", "9999"],
    &["why", "0"],
    &["annotate", "9999", "a note"],
];

/// The same, of commands that ask a data directory of this machine alone.
const ABSENT_HERE: &[&[&str]] = &[
    &["bisect", "true", "nothing"],
    &["bisect", "true", "--session", "nobody"],
    &["bisect", "true", "--from", "9999"],
    &["config", "get", "nothing"],
    &["config", "set", "nothing", "1"],
    &["config", "unset", "nothing"],
    &["config", "show-key", "nothing"],
    &["config", "delete-key", "nothing"],
    &["import", "/nowhere/at/all.jsonl"],
];

/// What no record could make sense of.
const SENSELESS: &[&[&str]] = &[
    &["session", "s-"],
    &["replay", "s-"],
    &["replay", "s-1", "--from", "soon"],
    &["diff", "s-", "s-1"],
    &["state", "sessions", "--at", "soon"],
    &["state", "sessions", "--at", "-1"],
    &["events", "--since", "soon"],
    &["events", "--limit", "0"],
    &["events", "--search", "needle", "--limit", "0"],
    &["events", "--from", "3", "--until", "2"],
    &["events", "--session", "s-"],
    &["events", "--kind", "nothing"],
    &["events", "--category", "nothing"],
    &["events", "--min-importance", "11"],
    &["tail", "--until", "soon"],
    &["stats", "--since", "soon"],
];

fn world() -> World {
    let world = World::new();
    world.hook(&prompt("s-1", "needle"));
    world.hook(&prompt("s-2", "hay"));
    world.ok(["events"]);
    world
}

#[test]
fn what_is_not_there_and_what_makes_no_sense_end_each_command_alike() {
    let world = world();
    let run = |args: &[&str]| world.run(args);
    for args in ABSENT.iter().chain(ABSENT_HERE) {
        refused(args, 3, run);
    }
    for args in SENSELESS {
        refused(args, 2, run);
    }
    for args in [
        &["events"][..],
        &["state", "sessions"],
        &["sessions"],
        &["stats"],
        &["why", "1"],
        &["replay", "s-1"],
    ] {
        refused(args, 3, |args| World::new().run(args));
    }
    // Control: what is there is shown. A bound beyond the end is one that nothing has reached yet.
    for args in [
        &["session", "s-1"][..],
        &["state", "sessions", "--at", "1"],
        &["events", "--from", "1", "--until", "9999"],
        &["replay", "s-1", "--from", "1", "--until", "9999", "--speed", "max"],
        &["bisect", ".sessions[\"s-1\"]", "--from", "1", "--until", "9999"],
        &["config", "get", "server.linger"],
    ] {
        world.ok(args);
    }
}

#[test]
fn a_server_elsewhere_refuses_the_same_with_the_same() {
    let (far, near) = (Far::new(), World::new());
    let mine = "5e551010-a";
    let run = |args: &[&str]| {
        let args: Vec<&str> = args
            .iter()
            .map(|arg| match *arg {
                "s-1" => mine,
                "s-" => "5e551010",
                arg => arg,
            })
            .collect();
        far.from(&near, &args)
    };
    ABSENT.iter().for_each(|args| refused(args, 3, run));
    SENSELESS.iter().for_each(|args| refused(args, 2, run));
}
