//! What the README shows of a terminal is what a terminal shows: its `console` blocks are played again, in their order, and
//! every line must be the one that stands there, but for times, durations and this machine's own places.
//!
//! `MNEMOSYNE_BLESS=1` writes the blocks anew. The agent itself, `$ claude`, is stood in for by a process and by the
//! hooks that it calls.

use crate::life::{Agent, Home, prompt, started};
use crate::support::wait_for;
use std::path::Path;

const SESSION: &str = "6d1f3c52-98a4-4a0e-8d3b-2f6f5b7c1e10";
/// The data directory that the page shows.
const SHOWN: &str = "/home/ada/.local/share/mnemosyne";

/// The `console` blocks of a page, without their fences.
fn blocks(page: &str) -> Vec<&str> {
    page.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// An agent is opened, asked one thing, and killed.
fn play_agent(home: &Home) {
    let agent = Agent::new();
    agent.hook(home, &started(SESSION));
    home.server();
    agent.hook(home, &prompt(SESSION, "find the needle"));
    let on_record = |kind: &str| !home.world.events(["--kind", kind]).is_empty();
    wait_for("the prompt on record", || on_record("prompt_submitted").then_some(()));
    agent.kill();
    wait_for("the end on record", || on_record("session_ended").then_some(()));
}

/// What stands in a terminal after the lines of `block` that begin with `$` were typed.
fn play(home: &Home, block: &str) -> String {
    let mut shown = String::new();
    for line in block.lines().filter(|line| line.starts_with('$')) {
        shown += line;
        shown.push('\n');
        let typed = line.split("  #").next().unwrap_or_default().trim_start_matches("$ ").trim();
        match typed.split_once(' ') {
            Some(("mnemosyne", arguments)) => shown += &home.world.ok(arguments.split(' ')).stdout,
            None if typed == "claude" => play_agent(home),
            _ => panic!("nothing says how `{typed}` is played"),
        }
    }
    let data = home.world.data();
    shown.replace(data.to_str().expect("UTF-8"), SHOWN).replace(&address(home), "127.0.0.1:3000")
}

fn address(home: &Home) -> String {
    home.runtime().map_or_else(String::new, |runtime| runtime["addr"].as_str().expect("text").to_owned())
}

/// The text with every time of day and every duration in brackets as one word.
fn masked(text: &str) -> String {
    let word = |word: &str| {
        let is_time = word.len() == 12 && word.as_bytes()[2] == b':' && word.as_bytes()[8] == b'.';
        let number = word.strip_prefix('(').unwrap_or_default();
        let is_number =
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        match word {
            _ if is_time => "HH:MM:SS.mmm".to_owned(),
            _ if is_number => "(N".to_owned(),
            "s)" => "ms)".to_owned(),
            "s):" => "ms):".to_owned(),
            word => word.to_owned(),
        }
    };
    text.split('\n').map(|line| line.split(' ').map(word).collect::<Vec<_>>().join(" ") + "\n").collect()
}

#[test]
fn the_terminals_of_the_readme_show_what_a_terminal_shows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let page = std::fs::read_to_string(&path).expect("the README");
    let of_page = blocks(&page);
    assert!(of_page.len() >= 2, "the two examples are found");
    let home = Home::new();
    let mut anew = page.clone();
    for block in of_page {
        let shown = play(&home, block);
        if std::env::var_os("MNEMOSYNE_BLESS").is_some() {
            anew = anew.replacen(block, &shown, 1);
        } else {
            assert_eq!(masked(&shown), masked(block), "MNEMOSYNE_BLESS=1 writes it anew");
        }
    }
    if anew != page {
        std::fs::write(path, anew).expect("the README is written");
    }
}

#[test]
fn only_times_and_durations_are_left_out_of_the_comparison() {
    let line = "  3  22:19:07.661  6d1f3c52  cli_command_completed: config (188 ms): server.linger";
    assert_eq!(masked(line), masked(&line.replace("22:19:07.661", "01:02:03.004").replace("188", "9")));
    assert_eq!(masked(line), masked(&line.replace("188 ms", "1.2 s")));
    for (from, to) in [("  3  ", "  4  "), ("6d1f", "6d1e"), ("config", "doctor"), ("linger", "addr")] {
        assert_ne!(masked(line), masked(&line.replace(from, to)), "{from}");
    }
}
