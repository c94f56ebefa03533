//! `verify --projections` and `sessions`, on journals whose states were saved by the library's own code.

use std::fs;
use std::path::PathBuf;

use mnemosyne::config::DataDir;
use mnemosyne::event::Seq;
use mnemosyne::projection::snapshot::Files;
use mnemosyne::projection::{base, registry};
use mnemosyne::store::View;
use serde_json::{Value, json};

use crate::support::{RunOut as _, World, contents, find, inspect, options, write};

const JOURNAL: [u8; 16] = *b"journal-of-tests";

/// Thirty events, and a snapshot of every projection at seq 20.
fn world() -> World {
    let world = World::with_events(30);
    fs::create_dir_all(world.data().join("snapshots")).unwrap();
    let view = View::open(&DataDir::at(world.data())).unwrap();
    for definition in registry::TABLE {
        let (fold, _) = definition.state_at(&view, None, Seq::new(20)).unwrap();
        fs::write(snapshot(&world, definition.name), fold.encode(JOURNAL).unwrap()).unwrap();
    }
    world
}

fn snapshot(world: &World, projection: &str) -> PathBuf {
    world.data().join("snapshots").join(format!("{projection}.0.snap"))
}

/// Makes a base of everything up to `seq`.
fn with_base(world: &World, seq: u64) -> PathBuf {
    let view = View::open(&DataDir::at(world.data())).unwrap();
    let files = Files::new(world.data().join("snapshots"), JOURNAL).with_base(world.data().join("base"));
    base::write(&view, &files, Seq::new(seq)).unwrap().path
}

/// Verdicts by projection of the files with this ending.
fn verdicts(report: &Value, ending: &str) -> Vec<(String, String)> {
    let states = report["projections"].as_array().expect("saved states");
    let of_file = states.iter().filter(|state| state["file"].as_str().unwrap().ends_with(ending));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    of_file.map(|state| (text(&state["projection"]), text(&state["verdict"]))).collect()
}

#[test]
fn what_was_saved_is_what_the_journal_says() {
    let world = world();
    let report = world.json(&["verify", "DIR", "--projections"]);
    let all: Vec<(String, String)> = {
        let mut names: Vec<&str> = registry::names().collect();
        names.sort_unstable();
        names.into_iter().map(|name| (name.to_owned(), "same".to_owned())).collect()
    };
    assert_eq!(verdicts(&report, ".snap"), all);
    assert_eq!(report["whole"], true);
    let run = world.run(&["verify", "DIR", "--projections"]);
    assert_eq!(
        (run.code, run.stdout.lines().filter(|line| line.starts_with("state ")).count()),
        (0, all.len())
    );
}

#[test]
fn a_state_that_is_not_what_the_journal_says_is_damage() {
    let world = world();
    let view = View::open(&DataDir::at(world.data())).unwrap();
    let sessions = registry::find("sessions").unwrap();
    // Whole by its checksum, and wrong: it lacks one event and says that it had it.
    let mut fold = sessions.empty();
    let mut replay = view.replay(Seq::FIRST).through(Seq::new(20));
    while let Some(item) = replay.next().unwrap() {
        if item.last() == Seq::new(7) { fold.skip(Seq::new(7)) } else { fold.take(&item) }
    }
    fs::write(snapshot(&world, "sessions"), fold.encode(JOURNAL).unwrap()).unwrap();
    let run = world.run(&["verify", "DIR", "--projections"]);
    assert_eq!(run.code, 4, "{}", run.stdout);
    assert!(run.stdout.contains("sessions at seq 20: WRONG"), "{}", run.stdout);
    assert!(run.stdout.ends_with("verdict   1 saved state not what the journal says\n"), "{}", run.stdout);
    // Without the flag it is not looked at.
    assert_eq!(world.run(&["verify", "DIR"]).code, 0);
}

#[test]
fn a_flipped_snapshot_and_one_of_another_schema_would_not_be_used_and_are_told() {
    let world = world();
    let path = snapshot(&world, "agents");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let path = snapshot(&world, "health");
    let mut bytes = fs::read(&path).unwrap();
    // The schema, with the checksum over everything repaired.
    bytes[12] ^= 0x40;
    let end = bytes.len() - 32;
    let checksum = blake3::hash(&bytes[..end]);
    bytes[end..].copy_from_slice(checksum.as_bytes());
    fs::write(&path, bytes).unwrap();
    let run = world.run(&["verify", "DIR", "--projections"]);
    assert_eq!(run.code, 4, "{}", run.stdout);
    assert!(run.stdout.contains("agents.0.snap : DAMAGED, folded anew without it"), "{}", run.stdout);
    assert!(run.stdout.contains("not used, the snapshot is of another schema"), "{}", run.stdout);
    let others = registry::TABLE.len() - 2;
    let end = format!(
        "states    {others} as the journal says; 1 damaged, to be folded anew; 1 of no use\nverdict   whole\n"
    );
    assert!(run.stdout.ends_with(&end), "no event is lost: {}", run.stdout);
    let report = world.json(&["verify", "DIR", "--projections"]);
    assert_eq!((&report["whole"], &report["states"]["whole"]), (&json!(true), &json!(false)));
    assert_eq!((&report["states"]["damaged"], &report["states"]["not_used"]), (&json!(1), &json!(1)));
    // Of another schema alone is no damage; without the flag nobody looks.
    fs::remove_file(snapshot(&world, "agents")).unwrap();
    assert_eq!(world.run(&["verify", "DIR", "--projections"]).code, 0);
    assert_eq!(world.json(&["verify", "DIR"])["states"], Value::Null);
}

#[test]
fn a_snapshot_ahead_of_the_journal_is_counted_as_that() {
    let world = world();
    while world.segments().len() > 1 {
        fs::remove_file(world.segments().last().unwrap()).unwrap();
    }
    assert!(world.json(&["verify", "DIR"])["last_seq"].as_u64() < Some(20));
    let run = world.run(&["verify", "DIR", "--projections"]);
    let all = registry::TABLE.len();
    assert!(
        run.stdout.contains(&format!("states    0 as the journal says; {all} ahead of the journal\n")),
        "{}",
        run.stdout
    );
    assert_eq!(run.code, 0, "a writer at work may have saved them meanwhile");
}

#[test]
fn a_base_is_compared_and_losing_one_is_damage() {
    let world = world();
    let path = with_base(&world, 12);
    let report = world.json(&["verify", "DIR", "--projections"]);
    let of_base = verdicts(&report, ".base");
    assert_eq!(of_base.len(), registry::TABLE.len());
    assert!(of_base.iter().all(|(_, verdict)| verdict == "same"), "{of_base:?}");
    let mut bytes = fs::read(&path).unwrap();
    bytes[41] ^= 1;
    fs::write(&path, bytes).unwrap();
    let run = world.run(&["verify", "DIR", "--projections"]);
    assert_eq!(run.code, 4, "{}", run.stdout);
    assert!(run.stdout.contains("LOST"), "{}", run.stdout);
}

fn listed(world: &World) -> Value {
    world.json(&["sessions", "DIR"])
}

#[test]
fn sessions_are_listed_from_the_files_alone_and_nothing_is_changed() {
    let world = world();
    let before = contents(&world.data());
    let list = listed(&world);
    assert_eq!((&list["version"], &list["seq"], &list["missing"]), (&json!(1), &json!(30), &json!(0)));
    let [session] = &list["sessions"].as_array().unwrap()[..] else { panic!("{list}") };
    assert_eq!(session["id"], crate::support::SESSION);
    assert_eq!((&session["counts"]["prompts"], &session["counts"]["tool_calls"]), (&json!(15), &json!(15)));
    let run = world.run(&["sessions", "DIR"]);
    assert_eq!((run.code, run.stdout.lines().count(), run.stderr.as_str()), (0, 2, ""), "{}", run.stdout);
    assert!(run.stdout.contains("prompt number 0"), "{}", run.stdout);
    assert_eq!(contents(&world.data()), before);
    // A journal directory will do, and so will one that nobody may write to.
    let only =
        crate::support::inspect().args(["sessions", "--json"]).arg(world.journal_dir()).output().unwrap();
    assert_eq!(String::from_utf8(only.stdout).unwrap(), format!("{list}\n"));
}

#[test]
fn a_torn_end_is_no_damage_and_a_lost_record_is() {
    let world = World::new();
    let journal = world.open(options());
    write(&journal, 0..4);
    write(&journal, 4..7);
    // A writer at work: what it has written is listed.
    assert_eq!(listed(&world)["seq"], 7);
    drop(journal);
    world.damage(0, |bytes| bytes.truncate(bytes.len() - 10));
    let run = world.run(&["sessions", "DIR"]);
    assert_eq!(run.code, 0, "{}", run.stderr);

    let world = World::with_events(30);
    world.damage(0, |bytes| {
        let at = find(bytes, b"prompt number 4");
        bytes[at] ^= 1;
    });
    let run = world.run(&["sessions", "DIR"]);
    assert_eq!(run.code, 4, "{}", run.stdout);
    assert!(run.stderr.contains("1 event cannot be read"), "{}", run.stderr);
    let list = listed(&world);
    assert_eq!((&list["missing"], &list["sessions"][0]["counts"]["prompts"]), (&json!(1), &json!(14)));
}

#[test]
fn where_the_beginning_was_dropped_the_base_stands_for_it() {
    let world = world();
    let segments = world.segments();
    assert!(segments.len() > 2, "{segments:?}");
    let first: u64 = segments[1].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let path = with_base(&world, first - 1);
    let whole = listed(&world);
    fs::remove_file(&segments[0]).unwrap();
    assert_eq!(listed(&world), whole, "the fold over the base");
    let mut bytes = fs::read(&path).unwrap();
    bytes[41] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let run = world.run(&["sessions", "DIR"]);
    assert_eq!(run.code, 4, "{}", run.stderr);
    fs::remove_file(&path).unwrap();
    let without = listed(&world);
    assert_eq!(without["missing"].as_u64(), Some(first - 1), "{without}");
    assert!(without["sessions"][0]["events"].as_u64() < whole["sessions"][0]["events"].as_u64());
}

/// Cuts the beginning off, with a base for it; the base and the cut.
fn cut(world: &World) -> (PathBuf, u64) {
    let segments = world.segments();
    let first: u64 = segments[1].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let path = with_base(world, first - 1);
    fs::remove_file(&segments[0]).unwrap();
    (path, first - 1)
}

/// The sessions in the copy, and how salvaging ended.
fn salvaged(world: &World, name: &str, extra: &[&str]) -> (i32, Value, Value) {
    let new = world.path(name);
    let run = inspect().arg("salvage").arg(world.data()).args(["--json", "-o"]).arg(&new).args(extra).run();
    let sessions = inspect().args(["sessions", "--json"]).arg(&new).run();
    (run.code, serde_json::from_str(&run.stdout).unwrap(), serde_json::from_str(&sessions.stdout).unwrap())
}

#[test]
fn salvage_carries_the_states_that_stand_for_what_was_dropped() {
    let world = world();
    let (path, last_dropped) = cut(&world);
    let original = listed(&world);
    let (code, report, sessions) = salvaged(&world, "new", &[]);
    assert_eq!(code, 0, "{report}");
    assert_eq!((&report["bases"], &report["states_lost"]), (&json!([last_dropped]), &json!(0)));
    assert_eq!(report["states"].as_u64(), Some(registry::TABLE.len() as u64));
    assert_eq!((&sessions["sessions"], &sessions["missing"]), (&original["sessions"], &original["missing"]));
    // The program itself believes the copy, and so does the check of every state in it.
    let verified = inspect().args(["verify", "--projections", "--json"]).arg(world.path("new")).run();
    assert_eq!(verified.code, 0, "{}", verified.stdout);

    // One damaged state is not made whole by being copied.
    let whole = fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (code, report, _) = salvaged(&world, "one", &[]);
    assert_eq!((code, &report["states_lost"]), (4, &json!(1)), "{report}");
    let verified = inspect().args(["verify", "--projections"]).arg(world.path("one")).run();
    assert_eq!(verified.code, 4, "{}", verified.stdout);

    // A base that cannot be believed at all is lost, and so is one that is not there.
    bytes[41] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(salvaged(&world, "none", &[]).0, 4);
    fs::remove_file(&path).unwrap();
    let (code, report, _) = salvaged(&world, "without", &[]);
    assert_eq!((code, &report["bases"]), (4, &json!([])), "{report}");
    fs::write(&path, whole).unwrap();
    assert_eq!(salvaged(&world, "again", &[]).0, 0);
    let (code, report, _) = salvaged(&world, "renumbered", &["--renumber"]);
    assert_eq!((code, &report["bases"]), (0, &json!([])), "{report}");
}
