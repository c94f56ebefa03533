//! What the modules share beyond the kit: counts, seeds, skips, and a list of what was acknowledged.

use crate::support::{Response, Server, World};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

pub(crate) use crate::support::{rounds, skipped};

/// Says what a run came to; shown where a test fails, and with `--nocapture`.
#[expect(clippy::print_stderr, reason = "the test runner shows it; there is nobody else to tell")]
pub(crate) fn tell(what: &str) {
    eprintln!("{what}");
}

/// Whether this program can be started.
pub(crate) fn has(program: &str, version_flag: &str) -> bool {
    let tried = Command::new(program).arg(version_flag).stdout(Stdio::null()).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

/// Numbers that look random and depend on a seed alone.
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice with the seed of `MNEMOSYNE_SEED`, else one of the system's; either way it is printed.
    pub(crate) fn thrown(test: &str) -> Dice {
        let seed = match std::env::var("MNEMOSYNE_SEED") {
            Ok(text) => text.parse().expect("MNEMOSYNE_SEED is a number"),
            Err(_) => RandomState::new().build_hasher().finish() >> 16,
        };
        tell(&format!("{test}: MNEMOSYNE_SEED={seed}"));
        Dice(seed)
    }

    pub(crate) fn from_seed(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }
}

/// The id of the n-th event of a test.
pub(crate) fn id(n: u64) -> String {
    format!("00000000-0000-4000-8000-{n:012x}")
}

/// An emit request for event `n`, with so many bytes of payload more.
pub(crate) fn request(n: u64, bytes: usize) -> Value {
    let data = json!({"n": n, "fill": "x".repeat(bytes)});
    json!({"id": id(n), "kind": "custom", "payload": {"name": "reliability", "data": data}})
}

/// What a server acknowledged: seq by id.
#[derive(Default)]
pub(crate) struct Acknowledged(pub(crate) BTreeMap<String, u64>);

impl Acknowledged {
    /// Emits event `n` and remembers its acknowledgement; the answer.
    pub(crate) fn emit(&mut self, server: &Server, n: u64, bytes: usize) -> Response {
        let answer = server.post("/events/emit", &request(n, bytes).to_string());
        if answer.status == 200 {
            let body = answer.json();
            assert_eq!(body["durability"], "disk", "{body}");
            self.0.insert(id(n), body["seqs"][0].as_u64().expect("a seq"));
        }
        answer
    }

    /// Demands that `events` hold each acknowledged event at its seq, and none twice; how many others of ours there are.
    #[track_caller]
    pub(crate) fn check(&self, events: &[Value]) -> usize {
        let mut seen: HashMap<&str, u64> = HashMap::new();
        let mut last = 0;
        for event in events {
            let (seq, id) = (event["seq"].as_u64().expect("a seq"), event["id"].as_str().expect("an id"));
            assert!(seq > last, "seq {seq} after {last}");
            last = seq;
            assert_eq!(seen.insert(id, seq), None, "{id} stands twice");
        }
        for (id, seq) in &self.0 {
            assert_eq!(seen.get(id.as_str()), Some(seq), "{id} was acknowledged at {seq}");
        }
        seen.keys().filter(|id| id.starts_with("00000000-0000-4000-8000-")).count() - self.0.len()
    }
}

/// Every event that the server shows, by pages.
#[track_caller]
pub(crate) fn served(server: &Server) -> Vec<Value> {
    let (mut after, mut events) = (0, Vec::new());
    loop {
        let answer = server.get(&format!("/events?after={after}&limit=1000"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut page = answer.json();
        let Value::Array(more) = page["events"].take() else { panic!("no events in {page}") };
        events.extend(more);
        after = page["next"].as_u64().expect("next");
        if page["more"] == json!(false) {
            return events;
        }
    }
}

/// A hook payload of session `session`.
pub(crate) fn prompt(session: &str, text: &str) -> Value {
    json!({"session_id": session, "hook_event_name": "UserPromptSubmit", "cwd": "/", "prompt": text})
}

/// The segments of a world's journal: names, and which file each is.
pub(crate) fn segments(world: &World) -> Vec<(String, u64)> {
    let names = world.names_in("journal").into_iter().filter(|name| name.strip_suffix(".seg").is_some());
    names
        .map(|name| {
            let metadata = std::fs::metadata(world.data().join("journal").join(&name)).expect("it is there");
            (name, metadata.ino())
        })
        .collect()
}

/// Makes the data directory with settings that let segments be small, so that rolling to the next is nothing rare.
pub(crate) fn small_segments(data: &Path) {
    std::fs::create_dir_all(data).expect("the data directory");
    std::fs::write(data.join("config.toml"), "[journal]\nsegment_bytes = 65536\n").expect("its settings");
}
