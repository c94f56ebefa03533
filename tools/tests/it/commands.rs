//! Every command on a whole journal, and what they answer where there is nothing.

use mnemosyne::event::StoredEvent;
use mnemosyne_journal::{Level, Micros};

use crate::support::{RunOut as _, World, contents, event, inspect, options};

#[test]
fn a_whole_journal_verifies_and_every_record_is_dumped() {
    let world = World::with_events(30);
    let run = world.run(&["verify", "DIR"]);
    assert!(run.code == 0 && run.stdout.ends_with("verdict   whole\n"), "{}", run.stdout);
    let run = world.run(&["dump", "DIR"]);
    assert_eq!((run.code, run.stdout.lines().count(), run.stderr.as_str()), (0, 30, ""));
    assert!(run.stdout.lines().next().unwrap().starts_with("       1  2026-01-02T03:04:05.000000Z"));
    let run = world.run(&["dump", "DIR", "--from", "10", "--to", "12"]);
    assert_eq!(run.stdout.lines().count(), 3);
    let run = world.run(&["dump", "DIR", "--from", "10", "--limit", "2"]);
    assert_eq!(run.stdout.lines().count(), 2);
}

#[test]
fn a_journal_directory_will_do_as_well() {
    let world = World::with_events(5);
    let run = inspect().arg("verify").arg(world.journal_dir()).run();
    assert!(run.code == 0 && run.stdout.ends_with("verdict   whole\n"), "{}", run.stdout);
}

#[test]
fn what_is_not_there_is_not_found() {
    let world = World::with_events(3);
    for args in [&["info", "/nowhere"][..], &["cat", "DIR", "4"], &["explain", "DIR", "99"]] {
        let run = world.run(args);
        assert_eq!((run.code, run.stdout.as_str()), (3, ""), "{args:?}");
        assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
    }
    let empty = World::new();
    assert_eq!(empty.run(&["dump", "DIR"]).code, 3);
    let run = empty.run(&["verify", "DIR", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&run.stderr).unwrap();
    assert_eq!((run.code, &error["error"]["code"]), (3, &"not_found".into()));
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let world = World::with_events(3);
    for args in [&[][..], &["nothing"], &["dump"], &["dump", "DIR", "--from", "0"], &["salvage", "DIR"]] {
        assert_eq!(world.run(args).code, 2, "{args:?}");
    }
    assert_eq!(world.run(&["dump", "DIR", "--from", "3", "--to", "2"]).code, 2);
    assert_eq!(world.run(&["--help"]).code, 0);
    assert_eq!(world.run(&["--version"]).code, 0);
}

#[test]
fn a_segment_of_a_newer_version_is_refused_by_name() {
    let world = World::with_events(3);
    world.damage(0, |bytes| {
        bytes[8] = 9;
        let crc = crc32fast::hash(&bytes[..124]).to_le_bytes();
        bytes[124..128].copy_from_slice(&crc);
    });
    let run = world.run(&["verify", "DIR"]);
    assert!(run.code == 1 && run.stderr.contains("format version 9"), "{}", run.stderr);
}

#[test]
fn info_tells_what_lies_beside_and_keeps_the_token() {
    let world = World::with_events(30);
    let data = world.data();
    std::fs::create_dir_all(data.join("inbox")).unwrap();
    std::fs::create_dir_all(data.join("journal/quarantine")).unwrap();
    std::fs::write(data.join("inbox/01767323045000000000-42-ab12"), b"x").unwrap();
    std::fs::write(data.join("inbox/01767323045000000001-42-ab13.tmp"), b"x").unwrap();
    std::fs::write(data.join("inbox/failed"), [0; 64]).unwrap();
    std::fs::write(data.join("journal/quarantine/00000000000000000001-0000000128.torn"), [1; 40]).unwrap();
    std::fs::write(data.join("lock"), br#"{"role":"server","pid":77,"start_ticks":1,"journal_id":"ab"}"#)
        .unwrap();
    std::fs::write(data.join("server.json"), br#"{"addr":"127.0.0.1:3000","pid":77,"token":"secret"}"#)
        .unwrap();
    let before = contents(&data);
    let info = world.json(&["info", "DIR"]);
    assert_eq!((&info["first_seq"], &info["last_seq"]), (&1.into(), &30.into()));
    assert_eq!((&info["inbox"], &info["lock"]["pid"]), (&1.into(), &77.into()));
    assert_eq!(info["server"]["addr"], "127.0.0.1:3000");
    assert_eq!(info["quarantine"][0]["bytes"], 40);
    let states: Vec<_> = info["segments"].as_array().unwrap().iter().map(|s| s["state"].clone()).collect();
    assert!(states.len() > 2 && states[0] == "sealed" && states[states.len() - 1] == "active", "{states:?}");
    let run = world.run(&["info", "DIR"]);
    assert!(!run.stdout.contains("secret") && !info.to_string().contains("secret"));
    assert!(
        run.stdout.contains("1 event waiting") && run.stdout.contains("1 file, 40 bytes"),
        "{}",
        run.stdout
    );
    assert_eq!(info["head"], world.json(&["verify", "DIR"])["head"]);
    assert_eq!(contents(&data), before);
}

#[test]
fn cat_prints_the_event_or_its_bytes() {
    let world = World::with_events(6);
    let run = world.run(&["cat", "DIR", "3"]);
    assert!(run.code == 0 && run.stdout.contains("\n    \"prompt\": \"prompt number 2\""), "{}", run.stdout);
    let object = world.json(&["cat", "DIR", "3"]);
    assert_eq!(
        (&object["version"], &object["seq"], &object["event"]["seq"]),
        (&1.into(), &3.into(), &3.into())
    );
    let raw = inspect().args(["cat", "--raw"]).arg(world.data()).arg("3").output().unwrap();
    assert_eq!(raw.stdout, event(2).encode());
}

#[test]
fn an_opaque_record_is_shown_as_bytes() {
    let world = World::new();
    let journal = world.open(options());
    journal.submit(&[b"\0no event"], Micros::new(1), Level::Disk, None).unwrap().wait().unwrap();
    journal.close().unwrap();
    let run = world.run(&["dump", "DIR"]);
    assert!(
        run.code == 0 && run.stdout.contains("opaque, ") && run.stdout.contains("|.no event|"),
        "{}",
        run.stdout
    );
    let object = world.json(&["cat", "DIR", "1"]);
    assert_eq!(object["opaque"]["hex"], "006e6f206576656e74");
    let run = world.run(&["export", "DIR"]);
    assert!(run.stdout.is_empty() && run.stderr.contains("1 record left out"), "{}", run.stderr);
    assert_eq!(world.run(&["grep", "NO EV", "DIR"]).stdout.lines().count(), 1);
    assert_eq!(world.json(&["stat", "DIR"])["opaque"]["records"], 1);
}

#[test]
fn explain_names_every_byte_of_the_headers() {
    let world = World::with_events(6);
    let object = world.json(&["explain", "DIR", "2"]);
    let sections = object["sections"].as_array().unwrap();
    let bytes = std::fs::read(&world.segments()[0]).unwrap();
    for (section, length) in sections.iter().zip([128, 96, 12]) {
        let fields = section["fields"].as_array().unwrap();
        let start = fields[0]["offset"].as_u64().unwrap() as usize;
        let hex: String = fields.iter().map(|field| field["bytes"].as_str().unwrap()).collect();
        assert_eq!(hex, crate::support::hex(&bytes[start..start + length]), "{}", section["title"]);
    }
    let says = |section: usize, field: &str| {
        let fields = sections[section]["fields"].as_array().unwrap();
        fields.iter().find(|f| f["field"] == field).unwrap()["says"].as_str().unwrap().to_owned()
    };
    assert_eq!((says(0, "magic"), says(0, "base")), ("MNEMOSEG".to_owned(), "1".to_owned()));
    assert_eq!((says(1, "first"), says(1, "count")), ("1".to_owned(), "3".to_owned()));
    assert_eq!(says(3, "kind"), "tool_call_started");
    let text = world.run(&["explain", "DIR", "2"]).stdout;
    assert!(text.contains("everything about it holds") && text.contains("ke step-1\"}}"), "{text}");
}

#[test]
fn stat_sums_up_to_the_files() {
    let world = World::with_events(30);
    let stat = world.json(&["stat", "DIR"]);
    let files: u64 = world.segments().iter().map(|path| path.metadata().unwrap().len()).sum();
    let events: u64 = (0..30).map(|number| event(number).encode().len() as u64).sum();
    assert_eq!((&stat["records"], &stat["bytes"]), (&30.into(), &events.into()));
    assert_eq!((&stat["file_bytes"], &stat["overhead_bytes"]), (&files.into(), &(files - events).into()));
    assert_eq!(stat["kinds"]["prompt_submitted"]["records"], 15);
    assert_eq!(stat["sessions"][crate::support::SESSION]["records"], 30);
}

#[test]
fn grep_finds_letters_in_either_case_and_narrows() {
    let world = World::with_events(30);
    assert_eq!(world.run(&["grep", "PROMPT NUMBER 2", "DIR"]).stdout.lines().count(), 6);
    assert_eq!(world.run(&["grep", "number", "DIR", "--count"]).stdout, "15\n");
    assert_eq!(
        world.run(&["grep", "1", "DIR", "--kind", "tool_*", "--limit", "2"]).stdout.lines().count(),
        2
    );
    let none = world.run(&["grep", "no such text", "DIR"]);
    assert_eq!((none.code, none.stdout.as_str()), (0, ""));
    assert_eq!(world.run(&["grep", "x", "DIR", "--kind", "Not A Kind"]).code, 2);
}

#[test]
fn export_gives_the_lines_that_events_gives() {
    let world = World::with_events(30);
    let run = world.run(&["export", "DIR"]);
    let events: Vec<_> =
        run.stdout.lines().map(|line| StoredEvent::from_json(line).expect("an event")).collect();
    assert_eq!(events.len(), 30);
    assert!(events.iter().enumerate().all(|(number, stored)| stored.event == event(number)));
    let run = world.run(&["export", "DIR", "--kind", "prompt_submitted", "--limit", "4"]);
    assert_eq!(run.stdout.lines().count(), 4);
}

#[test]
fn a_wrong_command_line_is_with_json_one_object() {
    let world = World::with_events(1);
    for (args, words) in [
        (&["--json", "cat", "DIR", "abc"][..], "a whole number is wanted"),
        (&["--json", "nosuch"], "unrecognized subcommand"),
        (&["dump", "DIR", "extra", "--json"], "unexpected argument"),
    ] {
        let run = world.run(args);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{args:?}");
        let error: serde_json::Value = serde_json::from_str(&run.stderr).unwrap();
        assert_eq!(error["error"]["code"], "usage", "{}", run.stderr);
        assert!(error["error"]["message"].as_str().unwrap().contains(words), "{}", run.stderr);
    }
    let run = world.run(&["cat", "DIR", "abc"]);
    assert!(run.code == 2 && run.stderr.starts_with("error: "), "{}", run.stderr);
    assert!(run.stderr.contains("a whole number is wanted"), "{}", run.stderr);
}
