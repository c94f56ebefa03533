//! What the tests of the import stand on: a journal in memory, and a transcript that is written line by line.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Known, Report, Sink, SinkError, Taken, import};
use crate::agent::Origin;
use crate::agent::claude::hook;
use crate::event::payload::AgentMessage;
use crate::event::{Event, Kind, Redactor, Source, Timestamp};

/// What a journal does with events: the first of an id stays.
#[derive(Default)]
pub(super) struct Journal {
    pub(super) events: Vec<Event>,
    pub(super) places: HashMap<Uuid, usize>,
    pub(super) fails: bool,
}

impl Journal {
    pub(super) fn known(&self) -> Known {
        let mut known = Known::default();
        self.events.iter().for_each(|event| known.learn(event));
        known
    }

    pub(super) fn of(&self, kind: Kind) -> Vec<&Event> {
        self.events.iter().filter(|event| event.kind == kind).collect()
    }

    /// A hook that was recorded, with a random part of its own.
    pub(super) fn hook(&mut self, payload: &Value) {
        let random = [u8::try_from(self.events.len() % 251).unwrap(); 10];
        let event = hook::event(payload.to_string().as_bytes(), &origin(), random).expect("an object");
        self.emit(vec![event]).expect("taken");
    }

    pub(super) fn import(&mut self, path: &Path) -> Report {
        let mut known = self.known();
        import(&[path.to_owned()], &mut known, self, &origin(), &Redactor::new(), &mut |_| {})
            .expect("imported")
    }

    /// The last output count of each response.
    pub(super) fn spent(&self) -> u64 {
        let messages = self.of(Kind::AgentMessage).into_iter().map(message);
        let told = messages.filter_map(|message| Some((message.message_id, message.usage?.output_tokens)));
        told.collect::<HashMap<_, _>>().values().sum()
    }
}

impl Sink for Journal {
    fn emit(&mut self, events: Vec<Event>) -> Result<Taken, SinkError> {
        if self.fails {
            return Err("no space is left".into());
        }
        let mut taken = Taken::default();
        for event in events {
            if self.places.contains_key(&event.id) {
                taken.known += 1;
                continue;
            }
            self.places.insert(event.id, self.events.len());
            self.events.push(event);
            taken.added += 1;
        }
        Ok(taken)
    }
}

pub(super) fn message(event: &Event) -> AgentMessage {
    event.payload_as().expect("a message").expect("whole")
}

pub(super) fn origin() -> Origin {
    Origin {
        now: Timestamp::from_micros(1_770_000_000_000_000),
        source: Source::default(),
        instance: "nobody".into(),
        project_dir: None,
        process: None,
    }
}

/// A transcript in a directory of its own.
pub(super) struct Transcript {
    pub(super) dir: tempfile::TempDir,
    lines: u32,
}

impl Transcript {
    pub(super) fn new() -> Transcript {
        Transcript { dir: tempfile::tempdir().expect("a directory"), lines: 0 }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join("s.jsonl")
    }

    pub(super) fn raw(&mut self, text: &str) -> &mut Self {
        let before = fs::read_to_string(self.path()).unwrap_or_default();
        fs::write(self.path(), before + text).expect("written");
        self.lines += 1;
        self
    }

    pub(super) fn line(&mut self, more: &Value) -> &mut Self {
        let n = self.lines;
        let mut line = json!({
            "type": "user", "uuid": format!("line-{n}"), "sessionId": "s", "cwd": "/code/parcels",
            "timestamp": format!("2026-02-11T20:00:{n:02}.000Z"),
        });
        line.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
        self.raw(&format!("{line}\n"))
    }

    pub(super) fn prompt(&mut self, text: &str) -> &mut Self {
        self.line(&json!({"message": {"content": text}}))
    }

    pub(super) fn response(&mut self, id: &str, block: &Value, output_tokens: u64) -> &mut Self {
        let usage = json!({"input_tokens": 3, "output_tokens": output_tokens, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 7});
        self.line(&json!({"type": "assistant", "message": {"id": id, "model": "m", "content": [block], "usage": usage}}))
    }

    pub(super) fn tool(&mut self, id: &str, name: &str) -> &mut Self {
        self.response(
            &format!("msg-{id}"),
            &json!({"type": "tool_use", "id": id, "name": name, "input": {"a": 1}}),
            4,
        )
    }

    pub(super) fn answer(&mut self, id: &str, text: &str, failed: bool) -> &mut Self {
        self.line(&json!({"message": {"content": [{"type": "tool_result", "tool_use_id": id, "content": text, "is_error": failed}]}}))
    }

    pub(super) fn turn_end(&mut self) -> &mut Self {
        self.line(&json!({"type": "system", "subtype": "stop_hook_summary"}))
    }
}

pub(super) fn said(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

pub(super) fn stop() -> Value {
    json!({"session_id": "s", "hook_event_name": "Stop", "cwd": "/code/parcels", "stop_hook_active": false})
}
