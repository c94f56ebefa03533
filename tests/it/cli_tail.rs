//! `tail`: the newest, and each new one, over every change of who writes.

use crate::cli_basics::prompt;
use crate::support::{BOUND, Running, World, wait_for};
use rustix::process::Signal;
use serde_json::Value;

/// The seqs that a follower with `--json` has printed so far.
fn seqs(running: &Running) -> Vec<u64> {
    let text = running.stdout();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let parse = |line: &str| serde_json::from_str::<Value>(line).expect("one object a line");
    whole.lines().filter_map(|line| parse(line)["seq"].as_u64()).collect()
}

fn prompts(running: &Running) -> Vec<String> {
    let text = running.stdout();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let parse = |line: &str| serde_json::from_str::<Value>(line).expect("one object a line");
    whole.lines().filter_map(|line| parse(line)["payload"]["prompt"].as_str().map(str::to_owned)).collect()
}

fn follow(world: &World, args: &[&str]) -> Running {
    Running::start(&mut world.command(["tail", "-f", "--json"].iter().chain(args)))
}

#[test]
fn the_last_ten_or_as_many_as_asked_that_match() {
    let world = World::new();
    for n in 0..30 {
        world.hook(&prompt(if n % 3 == 0 { "third" } else { "other" }, &n.to_string()));
    }
    let tail = |args: &[&str]| -> Vec<u64> {
        let lines = world.ok(["tail", "--json"].iter().chain(args)).json_lines();
        lines.iter().map(|line| line["seq"].as_u64().expect("a seq")).collect()
    };
    assert_eq!(tail(&[]), (21..=30).collect::<Vec<u64>>());
    assert_eq!(tail(&["-n", "2"]), [29, 30]);
    assert_eq!(tail(&["--lines", "0"]), [0; 0]);
    assert_eq!(tail(&["-n", "3", "--session", "third"]), [22, 25, 28]);
    assert_eq!(tail(&["-n", "100"]).len(), 30);
    assert_eq!(tail(&["--since", "1h"]).len(), 30);
    assert_eq!(tail(&["--since", "1h", "-n", "4"]), [27, 28, 29, 30]);
    assert_eq!(tail(&["--since", "2100-01-01"]), [0; 0]);
    assert_eq!(tail(&["--kind", "tool_*"]), [0; 0]);
    assert_eq!(tail(&["--category", "agent", "--min-importance", "6", "--grep", "29"]), [30]);
}

#[test]
fn the_newest_of_a_long_history_are_found_by_looking_back() {
    let world = World::new();
    let server = world.server();
    for batch in 0..5 {
        let events: Vec<Value> = (0..400)
            .map(|n| {
                serde_json::json!({"kind": "custom", "payload": {"name": format!("{batch}.{n}"), "data": n},
                "session": if batch == 0 && n < 3 { "rare" } else { "common" }})
            })
            .collect();
        assert_eq!(server.post("/events/emit", &Value::from(events).to_string()).status, 200);
    }
    let ran = world.ok(["tail", "--json", "-n", "2", "--session", "rare"]);
    let names: Vec<String> = ran
        .json_lines()
        .iter()
        .map(|line| line["payload"]["name"].as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(names, ["0.1", "0.2"]);
    server.stop();
}

#[test]
fn with_no_server_each_hook_is_shown_as_it_comes() {
    let world = World::new();
    world.hook(&prompt("s", "before"));
    let tail = follow(&world, &["-n", "1"]);
    tail.wait_for_stdout("before");
    for n in 0..5 {
        world.hook(&prompt("s", &format!("live {n}")));
        tail.wait_for_stdout(&format!("live {n}"));
    }
    assert_eq!(seqs(&tail), [1, 2, 3, 4, 5, 6]);
    tail.signal(Signal::INT);
    assert_eq!(tail.wait().code, Some(130));
}

#[test]
fn with_a_server_they_come_over_its_stream() {
    let world = World::new();
    let server = world.server();
    let tail = follow(&world, &["-n", "0", "-v", "--session", "s"]);
    wait_for("the stream", || tail.stderr().contains("following the server's stream").then_some(()));
    for n in 0..5 {
        world.hook(&prompt("other", "not shown"));
        world.hook(&prompt("s", &format!("live {n}")));
        tail.wait_for_stdout(&format!("live {n}"));
    }
    assert_eq!(prompts(&tail), ["live 0", "live 1", "live 2", "live 3", "live 4"]);
    tail.signal(Signal::TERM);
    assert_eq!(tail.wait().code, Some(130));
    server.stop();
}

#[test]
fn servers_come_go_and_are_killed_and_nothing_is_shown_twice_or_left_out() {
    let world = World::new();
    world.hook(&prompt("s", "0"));
    let tail = follow(&world, &["-n", "1", "--kind", "prompt_submitted"]);
    tail.wait_for_stdout("\"0\"");
    let mut said = vec!["0".to_owned()];
    let mut say = || {
        let text = format!("p{}", said.len());
        world.hook(&prompt("s", &text));
        said.push(text);
    };
    for round in 0..3 {
        say();
        let server = world.server();
        say();
        if round == 1 {
            server.kill();
        } else {
            server.stop();
        }
        say();
    }
    let expected = said;
    wait_for("all of them", || (prompts(&tail).len() >= expected.len()).then_some(()));
    assert_eq!(prompts(&tail), expected);
    let seen = seqs(&tail);
    assert!(seen.windows(2).all(|two| two[0] < two[1]), "{seen:?}");
    tail.signal(Signal::INT);
    assert_eq!(tail.wait_at_most(BOUND).code, Some(130));
}

#[test]
fn a_follower_whose_reader_went_away_ends_well_though_no_event_comes() {
    for with_a_server in [false, true] {
        let world = World::new();
        world.hook(&prompt("s", "first"));
        let server = with_a_server.then(|| world.server());
        let mut child = world.command(["tail", "-f", "--json"]).spawn().expect("started");
        let mut stdout = child.stdout.take().expect("a pipe");
        std::io::Read::read_exact(&mut stdout, &mut [0; 10]).expect("the beginning");
        drop(stdout);
        let status = wait_for("its end", || child.try_wait().expect("its state"));
        assert_eq!(status.code(), Some(0));
        if let Some(server) = server {
            server.stop();
        }
    }
}

#[test]
fn with_a_cursor_file_it_goes_on_where_it_stopped() {
    let world = World::new();
    let tail = |args: &[&str]| -> Vec<u64> {
        let lines = world.ok(["tail", "--json", "--cursor-file", "cursor"].iter().chain(args)).json_lines();
        lines.iter().map(|line| line["seq"].as_u64().expect("a seq")).collect()
    };
    for n in 0..20 {
        world.hook(&prompt("s", &n.to_string()));
    }
    assert_eq!(tail(&["-n", "3"]), [18, 19, 20], "the first time, as without it");
    assert_eq!(tail(&[]), [0; 0]);
    for n in 0..15 {
        world.hook(&prompt("s", &n.to_string()));
    }
    assert_eq!(tail(&["--session", "other"]), [0; 0], "what was looked at and left out is behind it");
    world.hook(&prompt("s", "one more"));
    assert_eq!(tail(&["-n", "0"]), [36], "all since, however few are asked for");
    let other = World::new();
    other.hook(&prompt("s", "elsewhere"));
    let cursor = world.home().join("cursor");
    let ran = other.run(["tail", "--cursor-file", cursor.to_str().expect("UTF-8")]);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains("belongs to journal"), "{ran}");
}

/// What may be shown twice after a kill: see `tail --help`.
const TWICE_MAX: usize = 256;

#[test]
fn a_follower_that_is_killed_leaves_nothing_out_and_repeats_little() {
    let world = World::new();
    let server = world.server();
    let emit = |from: u64, count: u64| -> u64 {
        let events: Vec<Value> = (from..from + count)
            .map(|n| serde_json::json!({"kind": "custom", "payload": {"name": "n", "data": n}}))
            .collect();
        let answer = server.post("/events/emit", &Value::from(events).to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["seqs"].as_array().and_then(|seqs| seqs.last()?.as_u64()).expect("seqs")
    };
    let first = emit(0, 1);
    world.ok(["tail", "-n", "0", "--cursor-file", "cursor"]);
    let mut all: Vec<u64> = Vec::new();
    let mut last = first;
    for round in 0..6_u64 {
        let tail = follow(&world, &["--cursor-file", "cursor"]);
        // Killed somewhere in the middle: how far it has come differs from round to round.
        for batch in 0..5 {
            last = emit(batch, 300 + 7 * round);
        }
        let wanted = 200 * usize::try_from(round).expect("small");
        wait_for("some of them", || (seqs(&tail).len() >= wanted).then_some(()));
        tail.signal(Signal::KILL);
        let ran = tail.wait();
        let whole = ran.stdout.rfind('\n').map_or("", |end| &ran.stdout[..end]);
        let shown: Vec<u64> = whole
            .lines()
            .map(|line| {
                serde_json::from_str::<Value>(line).expect("one object a line")["seq"]
                    .as_u64()
                    .expect("a seq")
            })
            .collect();
        assert!(shown.windows(2).all(|two| two[0] + 1 == two[1]), "in order, each once");
        let Some(begin) = shown.first() else { continue };
        let reached = all.last().copied().unwrap_or(first);
        assert!(*begin <= reached + 1, "round {round}: {begin} after {reached}: something was left out");
        let twice = usize::try_from(reached + 1 - begin).expect("small");
        assert!(twice <= TWICE_MAX, "round {round}: {twice} events were shown again");
        all.truncate(all.len() - twice);
        all.extend(shown);
    }
    let rest = world.ok(["tail", "--json", "--cursor-file", "cursor"]).json_lines();
    let begin = rest.first().map_or(last + 1, |line| line["seq"].as_u64().expect("a seq"));
    all.retain(|seq| *seq < begin);
    all.extend(rest.iter().map(|line| line["seq"].as_u64().expect("a seq")));
    assert!(all.len() as u64 >= last - first, "all of them");
    assert_eq!(all[..usize::try_from(last - first).expect("small")], (first + 1..=last).collect::<Vec<_>>());
    server.stop();
}
