//! `POST /admin/rebuild` of a running server: the same states afterwards, requests answered meanwhile, and told on the stream.

use crate::http_emit::emit;
use crate::support::{Server, World};
use mnemosyne::event::Seq;
use mnemosyne::projection::sessions::SessionsProjection;
use mnemosyne::projection::snapshot::{self, Files};
use mnemosyne::projection::{Fold, Projection as _};
use serde_json::{Value, json};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

fn fill(server: &Server, prompts: u32) {
    let prompt = |n: u32| {
        let session = format!("s-{}", n % 17);
        json!({"kind": "prompt_submitted", "session": session, "payload": {"prompt": format!("prompt {n}")}})
    };
    emit(server, &(0..prompts).map(prompt).collect());
}

/// The projections of an answer that is as it should be.
#[track_caller]
fn rebuild(server: &Server, query: &str) -> Vec<Value> {
    let answer = server.post(&format!("/admin/rebuild{query}"), "{}");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["projections"].as_array().expect("a list").clone()
}

/// A state of nothing, saved as that of the journal's sessions up to `seq`: it is believed, and wrong.
pub(crate) fn forge(data: &Path, journal: &str, seq: u64) {
    let mut bytes = [0; 16];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&journal[at * 2..at * 2 + 2], 16).expect("hex");
    }
    let files = Files::new(data.join("snapshots"), bytes);
    files.forget::<SessionsProjection>().expect("forgotten");
    let mut wrong = Fold::<SessionsProjection>::default();
    wrong.skip(Seq::new(seq));
    let bytes = snapshot::encode(&wrong, files.journal()).expect("bytes");
    files.save::<SessionsProjection>(&bytes).expect("saved");
}

#[test]
fn requests_are_answered_while_states_are_folded_anew_and_are_the_same_afterwards() {
    let world = World::new();
    let server = world.server();
    fill(&server, 900);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let rebuilding = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) || rounds < 3 {
                for one in rebuild(&server, "") {
                    assert_eq!(one["hash_before"], one["hash_after"], "{one}");
                    assert_eq!((&one["replaced"], &one["missing"]), (&json!(true), &json!(0)), "{one}");
                    assert!(one["events"].as_u64() > Some(0) && one["seq"].as_u64() >= Some(900), "{one}");
                }
                rounds += 1;
            }
        });
        for _ in 0..40 {
            let last = *emit(
                &server,
                &json!([{"kind": "prompt_submitted", "session": "during", "payload": {"prompt": "x"}}]),
            )
            .last()
            .expect("a seq");
            let state = server.get("/state/sessions");
            assert_eq!(state.status, 200, "{}", state.text());
            assert!(state.json()["seq"].as_u64() >= Some(last), "what was acknowledged is in the state");
        }
        done.store(true, Ordering::Relaxed);
        rebuilding.join().expect("rebuilt");
    });
    let state = server.get("/state/sessions").json();
    let printed = world.run(["state", "sessions", "--json", "--at", &state["seq"].to_string()]).json();
    assert_eq!(state["hash"], printed["hash"]);
    assert_eq!(state["state"]["sessions"]["during"]["counts"]["prompts"], 40);
    server.stop();
}

#[test]
fn one_projection_is_rebuilt_and_told_on_the_stream_and_an_unknown_one_is_refused() {
    let world = World::new();
    let server = world.server();
    fill(&server, 20);
    let stream = server.sse("/events/stream?kind=database_operation&from=1", &[]);
    let rebuilt = rebuild(&server, "?projection=commands");
    assert_eq!(rebuilt.len(), 1);
    assert_eq!(rebuilt[0]["projection"], "commands");
    let told = stream.take_events(1)[0].json();
    assert_eq!(
        (&told["payload"]["operation"], &told["payload"]["projection"]),
        (&json!("rebuild"), &json!("commands"))
    );
    assert_eq!(told["payload"]["affected_rows"], rebuilt[0]["events"]);

    let unknown = server.post("/admin/rebuild?projection=sesions", "{}");
    assert_eq!((unknown.status, unknown.error_code().as_str()), (404, "not_found"));
    assert!(unknown.text().contains("did you mean `sessions`?"), "{}", unknown.text());
    assert_eq!(server.post("/admin/rebuild?projections=sessions", "{}").status, 400);
    assert_eq!(server.get("/admin/rebuild").status, 405);
    let stranger =
        server.bare_request("POST", "/admin/rebuild", &[("Content-Type", "application/json")], b"{}");
    assert_eq!(stranger.status, 401, "{}", stranger.text());
    // None of those did anything.
    fill(&server, 1);
    let all = server.get("/events?kind=database_operation").json();
    assert_eq!(all["events"].as_array().map(Vec::len), Some(1), "{all}");
    server.stop();
}

#[test]
fn a_wrong_state_is_put_right_for_good() {
    let world = World::new();
    let server = world.server();
    fill(&server, 20);
    let journal = server.get("/state/sessions").header("mnemosyne-journal").expect("the journal").to_owned();
    server.stop();
    forge(&world.data(), &journal, 10);
    let server = world.server();
    let sessions = |server: &Server| server.get("/state/sessions").json()["state"]["sessions"].clone();
    assert_ne!(sessions(&server)["s-1"]["counts"]["prompts"], 2, "the harness: a forged state is believed");
    let rebuilt = rebuild(&server, "?projection=sessions").remove(0);
    assert_ne!(rebuilt["hash_before"], rebuilt["hash_after"], "{rebuilt}");
    assert_eq!(sessions(&server)["s-1"]["counts"]["prompts"], 2);
    // The saved states that it came from are gone too.
    server.kill();
    let server = world.server();
    assert_eq!(sessions(&server)["s-1"]["counts"]["prompts"], 2);
    server.stop();
}

#[test]
fn a_state_that_knows_more_than_can_be_read_stays() {
    let world = World::new();
    let server = world.server();
    fill(&server, 50);
    let before = server.get("/state/sessions").json();
    let name = world.names_in("journal").into_iter().rfind(|name| name.ends_with(".seg")).expect("a segment");
    let path = world.data().join("journal").join(name);
    let bytes = std::fs::read(&path).expect("there");
    let at = bytes.windows(9).position(|some| some == b"prompt 25").expect("the prompt");
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("opened");
    file.write_all_at(b"X", at as u64).expect("damaged");
    let rebuilt = rebuild(&server, &format!("?projection={}", SessionsProjection::NAME)).remove(0);
    assert_eq!((&rebuilt["replaced"], &rebuilt["missing"]), (&json!(false), &json!(1)), "{rebuilt}");
    assert_ne!(rebuilt["hash_before"], rebuilt["hash_after"], "{rebuilt}");
    let after = server.get("/state/sessions").json();
    assert_eq!(
        (&after["state"]["sessions"], &after["missing"]),
        (&before["state"]["sessions"], &json!(0)),
        "what was known is still known"
    );
    server.stop();
}
