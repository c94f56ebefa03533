//! `gc` and the server's own retention over the real program: what goes is whole oldest segments, what the events did stays,
//! each cut is told once, and a kill -9 at any moment changes none of that.

use super::retention_backup::{event, small_segments};
use crate::support::{Running, Server, World, kinds, wait_for};
use serde_json::{Value, json};

pub(crate) const POLICY: &str = "[retention]\nmax_bytes = 200000\nmin_bytes = 0\n";

/// A session in the oldest segment, and many events after it.
pub(crate) fn filled(policy: &str, events: usize) -> World {
    let world = World::new();
    // The policy comes later: a server that knows it obeys it.
    small_segments(&world, "");
    world.hook(&json!({"hook_event_name": "UserPromptSubmit", "session_id": "oldest", "prompt": "hello", "cwd": "/p"}));
    let server = world.server();
    fill(&server, events);
    server.stop();
    small_segments(&world, policy);
    world
}

fn fill(server: &Server, events: usize) {
    let batch: Vec<String> = (0..events).map(|n| event(n, 1_000)).collect();
    for some in batch.chunks(100) {
        let answer = server.post("/events/emit", &format!("[{}]", some.join(",")));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

pub(crate) fn segments(world: &World) -> Vec<String> {
    world.names_in("journal").into_iter().filter(|name| name.strip_suffix(".seg").is_some()).collect()
}

pub(crate) fn first_of(segment: &str) -> u64 {
    segment.trim_end_matches(".seg").parse().expect("a base")
}

/// What the journal says about sessions, without what depends on the moment.
fn sessions(world: &World) -> Value {
    let mut list = world.ok(["sessions", "--json"]).json();
    list["sessions"].take()
}

fn cuts(events: &[Value]) -> Vec<(u64, u64)> {
    let cuts =
        events.iter().filter(|event| event["kind"] == "retention_applied").map(|event| &event["payload"]);
    cuts.map(|cut| (cut["from_seq"].as_u64().expect("a seq"), cut["to_seq"].as_u64().expect("a seq")))
        .collect()
}

#[test]
fn what_goes_is_told_before_and_after_and_the_states_stay() {
    let world = filled(POLICY, 600);
    let (before, known) = (segments(&world), sessions(&world));
    assert!(before.len() >= 8, "{before:?}");
    assert_eq!(known[0]["id"], "oldest", "{known}");

    let dry = world.ok(["gc", "--dry-run", "--json"]).json();
    assert_eq!(segments(&world), before, "a look changes nothing");
    let would = &dry["dropped"];
    assert_eq!(
        (&dry["dry_run"], &would["from_seq"], &would["reason"]),
        (&json!(true), &json!(1), &json!("size"))
    );

    let ran = world.ok(["gc", "--json"]).json();
    let (dropped, first) = (&ran["dropped"], ran["kept"]["first_seq"].as_u64().expect("a seq"));
    assert_eq!(dropped["to_seq"].as_u64(), Some(first - 1));
    let after = segments(&world);
    assert!(before.ends_with(&after[..after.len() - 1]) || before.ends_with(&after), "{before:?} {after:?}");
    assert_eq!(first_of(&after[0]), first);
    assert_eq!(sessions(&world), known, "the state is a fold over the base");

    let events = world.events([]);
    assert_eq!(events[0]["seq"].as_u64(), Some(first));
    assert_eq!(cuts(&events), [(1, first - 1)]);
    let operations: Vec<&Value> =
        events.iter().filter(|event| event["kind"] == "database_operation").collect();
    assert_eq!((operations.len(), &operations[0]["payload"]["operation"]), (1, &json!("retention")));
    // A cursor that retention has passed is told so.
    let shown = world.ok(["events", "--json", "--from", "1", "--limit", "1"]).json_lines();
    assert_eq!(shown[0]["gap"], json!({"from_seq": 1, "to_seq": first - 1, "reason": "retention"}));

    // So is who asks for a moment, an event or a session of which nothing is left.
    let past = world.run(["state", "sessions", "--at", "2020-01-01"]);
    assert!(past.code == Some(3) && past.stderr.contains("was dropped by retention"), "{past}");
    assert_eq!(world.ok(["state", "sessions", "--at", "0s", "--json"]).json()["projection"], "sessions");
    let why = world.run(["why", "1"]);
    assert!(why.code == Some(3) && why.stderr.contains("event 1 does not exist any more"), "{why}");
    let replayed = world.ok(["replay", "oldest", "--speed", "max"]);
    assert!(replayed.stderr.contains("dropped by retention and do not count here"), "{replayed}");

    let again = world.ok(["gc"]);
    assert!(again.stdout.starts_with("nothing goes"), "{again}");
    // A copy has the base too.
    let copy = world.home().join("copy");
    world.ok(["backup", copy.to_str().expect("UTF-8")]);
    let mut of_copy = world.ok(["sessions", "--json", "--data-dir", copy.to_str().expect("UTF-8")]).json();
    assert_eq!(of_copy["sessions"].take(), known);
}

#[test]
fn without_a_policy_nothing_goes_and_that_is_said() {
    let world = filled("", 300);
    let before = segments(&world);
    let ran = world.ok(["gc"]);
    assert!(ran.stdout.contains("nothing goes") && ran.stdout.contains("retention.max_age"), "{ran}");
    assert_eq!(segments(&world), before);
}

#[test]
fn a_server_obeys_the_size_by_itself_and_does_what_gc_asks() {
    let world = World::new();
    small_segments(&world, POLICY);
    let server = world.server();
    fill(&server, 900);
    wait_for("the oldest segment to go", || {
        segments(&world).first().filter(|name| first_of(name) > 1).map(drop)
    });
    let first = first_of(&segments(&world)[0]);
    let page = server.get("/events?from=1&limit=1").json();
    assert_eq!(page["gaps"][0]["reason"], "retention", "{page}");
    assert_eq!(server.get("/events/1").status, 410);

    let refused = server.post("/admin/gc?dry_run=maybe", "{}");
    assert_eq!(refused.status, 400, "{}", refused.text());
    let ran = world.ok(["gc", "--json"]).json();
    let kept = ran["kept"]["first_seq"].as_u64().expect("a seq");
    assert!(kept >= first, "{ran}");
    // By itself the server tells once a minute; who asks for a cut hears of all that went.
    let told = cuts(&world.events(["--kind", "retention_applied"]));
    assert!(
        told.windows(2).all(|two| two[0].1 + 1 == two[1].0),
        "each cut begins where the one before ended: {told:?}"
    );
    assert_eq!(told.last().map(|cut| cut.1), Some(kept - 1), "{told:?}");
    server.stop();
    assert!(kinds(&world.events([])).contains(&"server_stopped"));
}

#[test]
fn a_kill_at_any_moment_of_gc_leaves_an_unbroken_end_and_each_cut_is_told_once() {
    const ROUNDS: u64 = 24;
    let world = filled("", 1_800);
    let (whole, known) = (segments(&world), sessions(&world));
    let (mut before, mut within, mut after) = (0, 0, 0);
    for round in 0..ROUNDS {
        // Each round has a segment or so to drop, and dies at another moment: some looks at the directory later.
        let max = 1_800_000 - round * 60_000;
        small_segments(&world, &format!("[retention]\nmax_bytes = {max}\nmin_bytes = 0\n"));
        let left = segments(&world).len();
        let running = Running::start(&mut world.command(["gc"]));
        for _ in 0..round * 11 % ROUNDS * 60 {
            segments(&world);
        }
        running.kill();
        let noted = world.names_in("inbox").iter().any(|name| name.starts_with("untold-"));
        match (noted, segments(&world).len() < left) {
            (true, _) => within += 1,
            (false, true) => after += 1,
            (false, false) => before += 1,
        }
        let left: Vec<String> = segments(&world).into_iter().filter(|name| whole.contains(name)).collect();
        assert!(whole.ends_with(&left), "a hole: {whole:?} {left:?}");
        assert_eq!(sessions(&world), known, "round {round}");
        let shown = world.run(["events", "--json", "--limit", "3"]);
        assert_eq!(shown.code, Some(0), "{shown}");
    }
    let words = format!("{before} kills came before a cut, {within} within, {after} after");
    assert!(before > 0 && within + after > 0, "{words}");
    std::io::Write::write_all(&mut std::io::stderr(), format!("{words}\n").as_bytes())
        .expect("stderr takes it");
    small_segments(&world, POLICY);
    world.ok(["gc"]);
    let (first, events) = (first_of(&segments(&world)[0]), world.events([]));
    let cuts = cuts(&events);
    assert!(first > 1 && cuts.last().map(|cut| cut.1 + 1) == Some(first), "{first} {cuts:?}");
    let chained = cuts.windows(2).all(|two| two[0].1 + 1 == two[1].0);
    assert!(chained, "each cut once, each where the one before ended: {cuts:?}");
    assert_eq!(sessions(&world), known);
}

#[test]
fn at_the_cap_emits_are_refused_hooks_are_kept_and_gc_makes_room() {
    let world = World::new();
    small_segments(&world, "[disk]\nmax_bytes = 16777216\n");
    let server = world.server();
    let mut n = 0;
    // Small ones last: where a large one does not fit, the hook's might.
    let mut refused_at = |size: usize| loop {
        n += 1;
        assert!(n < 2_000, "the cap does not hold");
        let answer = server.post("/events/emit", &event(n, size));
        if answer.status != 200 {
            break answer;
        }
    };
    let refused = refused_at(40_000);
    let smallest = [2_000, 100, 1].map(refused_at);
    assert!(smallest.iter().all(|answer| answer.status == 507));
    assert_eq!((refused.status, refused.error_code().as_str()), (507, "storage_full"), "{}", refused.text());
    assert!(refused.text().contains("disk.max_bytes"), "{}", refused.text());
    world.hook(&json!({"hook_event_name": "Stop", "session_id": "s", "cwd": "/p"}));
    assert_eq!(world.inbox_len(), 1);
    assert_eq!(server.get("/health").status, 200);
    let looked = world.run(["doctor", "--json"]);
    let checks = looked.json_lines().remove(0)["checks"].clone();
    let space = checks.as_array().expect("checks").iter().find(|check| check["name"] == "space");
    assert_eq!(
        space.map(|check| &check["status"]),
        Some(&json!("fail")),
        "what is refused has no room: {looked}"
    );
    server.kill();

    small_segments(&world, &format!("[disk]\nmax_bytes = 16777216\n{POLICY}"));
    let ran = world.ok(["gc", "--json"]).json();
    assert!(ran["dropped"]["bytes"].as_u64() > Some(10_000_000), "{ran}");
    let server = world.server();
    assert_eq!(server.post("/events/emit", &event(n, 40_000)).status, 200);
    wait_for("the hook's event to be taken in", || (world.inbox_len() == 0).then_some(()));
    server.stop();
    assert!(kinds(&world.events([])).contains(&"turn_completed"));
}

/// Counts outlive the events that they were made of; that what is left of two sessions is alike does not make them the same.
#[test]
fn sessions_whose_calls_retention_dropped_are_not_told_to_be_the_same() {
    let world = World::new();
    small_segments(&world, "");
    let call = |session: &str, id: &str, command: &str| {
        world.hook(&json!({"hook_event_name": "PreToolUse", "session_id": session, "tool_name": "Bash",
            "tool_input": {"command": command}, "tool_use_id": id, "cwd": "/p"}));
    };
    call("left", "c-1", "ls");
    call("right", "c-2", "make");
    call("more", "c-3", "ls");
    call("more", "c-4", "make");
    let server = world.server();
    fill(&server, 600);
    server.stop();
    small_segments(&world, POLICY);
    world.ok(["gc"]);

    let diff = |a: &str, b: &str| world.ok(["diff", a, b, "--json"]).json();
    let judged = |a: &str, b: &str| world.run(["diff", a, b, "--fail-on-divergence"]);
    let unproven = diff("left", "right");
    assert_eq!((&unproven["same"], &unproven["aligned"]), (&Value::Null, &json!(0)), "{unproven}");
    assert!(unproven["a"]["events_missing"].as_u64() >= Some(1), "{unproven}");
    let told = judged("left", "right");
    assert_eq!(told.code, Some(4), "{told}");
    assert!(told.stdout.contains("not known whether they are alike: "), "{told}");
    assert_eq!(world.ok(["diff", "left", "right"]).code, Some(0), "nobody asked for a verdict");
    // The counts are of all events, so what they prove is proven.
    assert_eq!(diff("left", "more")["same"], json!(false));
    let told = judged("left", "more");
    assert!(told.code == Some(1) && told.stdout.contains("they differ in their counts: "), "{told}");
    // One session is itself, whatever is left of it.
    assert_eq!(diff("left", "left")["same"], json!(true));
    assert_eq!(judged("left", "left").code, Some(0));

    let server = world.server();
    for (b, same) in [("right", Value::Null), ("more", json!(false)), ("left", json!(true))] {
        assert_eq!(server.get(&format!("/diff?a=left&b={b}")).json()["same"], same, "{b}");
    }
}
