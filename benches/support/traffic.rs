//! A journal of any length that looks like the traffic of coding agents, from a seed.
//!
//! The constants below were counted once in real traffic: eight recorded sessions of one coding agent, five of them of subagents,
//! replayed as hook calls and imported after, 850 events. They say how often each kind comes, how long its payload is and how long a
//! session; the text itself is made up.

use std::sync::Arc;

use mnemosyne::config::DataDir;
use mnemosyne::event::payload::{self, Usage};
use mnemosyne::event::{Event, Json, Payload, Source, Timestamp};
use mnemosyne_journal::{Journal, JournalId, Level, Micros, Options, RealDisk};
use serde_json::json;
use uuid::Uuid;

/// Of 850 real events, those that a session is made of: how many of each kind.
const CALLS: u64 = 293;
const CALLS_FAILED: u64 = 19;
const MESSAGES: u64 = 203;
const PROMPTS: u64 = 16;
const TURNS_COMPLETED: u64 = 7;
const TURNS_FAILED: u64 = 5;
const SUBAGENTS: u64 = 5;
const COMPACTIONS: u64 = 1;
/// Of 850, those that named a subagent: 213, which makes 43 for each.
const SUBAGENT_EVENTS: u64 = 43;
/// Events of the real sessions, least first: each is as likely for one that is made here.
const SESSION_EVENTS: [u64; 7] = [5, 10, 25, 52, 82, 118, 552];
/// Sessions that go on at a time. Not counted: a supposition.
const SESSIONS_AT_A_TIME: usize = 8;
/// Of the tools called, how many of each; rarer ones left out.
const TOOLS: [(&str, u64); 7] =
    [("Bash", 109), ("Read", 90), ("Edit", 35), ("Glob", 21), ("Write", 14), ("Grep", 7), ("WebSearch", 6)];
/// Bytes of the payload: the least, a tenth, a quarter, half, three quarters, nine tenths, 99 of a hundred and the greatest.
const STARTED_BYTES: [u64; 8] = [120, 177, 223, 260, 326, 1_034, 4_835, 22_280];
const COMPLETED_BYTES: [u64; 8] = [150, 206, 365, 1_152, 3_577, 10_881, 38_365, 65_536];
const FAILED_BYTES: [u64; 8] = [150, 163, 171, 171, 442, 7_028, 11_347, 11_347];
const MESSAGE_BYTES: [u64; 8] = [160, 182, 183, 234, 275, 334, 10_647, 16_655];
const PROMPT_BYTES: [u64; 8] = [120, 143, 171, 455, 617, 9_076, 14_988, 14_988];
const STOPPED_BYTES: [u64; 8] = [148, 148, 148, 164, 3_753, 10_278, 10_278, 10_278];
const COMPACTED_BYTES: [u64; 8] = [14_889; 8];
const SHARES: [u64; 8] = [0, 10, 25, 50, 75, 90, 99, 100];
/// Bytes of a payload between two that JSON escapes.
const BYTES_AN_ESCAPE: usize = 29;
/// Microseconds between two events.
const SPACING: i64 = 400_000;
/// Stands in few texts,
pub const RARE: &str = "needle";
/// and in many.
pub const COMMON: &str = "haystack";
const COMMON_IN_POOL: usize = 64;
const POOL_BYTES: usize = 1 << 18;
const BATCH: u64 = 500;
/// So many bytes wait for the disk before the next are made.
const FLUSH_EVERY: u64 = 64 << 20;
const BEGAN: i64 = 1_767_225_600_000_000;

/// How long records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// As long as real ones.
    Real,
    /// So many bytes each, as near as their kind lets them be.
    Even(usize),
}

/// Makes events, one after the other.
pub struct Traffic {
    dice: Dice,
    size: Size,
    text: String,
    sessions: Vec<Session>,
    made: u64,
}

struct Session {
    id: String,
    left: u64,
    begun: bool,
    call: Option<Call>,
    agent: Option<(String, u64)>,
}

struct Call {
    tool: &'static str,
    id: String,
    start: Uuid,
}

impl Traffic {
    pub fn new(seed: u64, size: Size) -> Traffic {
        let mut dice = Dice(seed);
        let sessions = (0..SESSIONS_AT_A_TIME).map(|_| Session::new(&mut dice)).collect();
        let mut text: String = (0..POOL_BYTES)
            .map(|at| match (at % BYTES_AN_ESCAPE, at % 3) {
                (0, 0) => '"',
                (0, _) => '\n',
                _ => char::from(b"etaoin shrdlu(cmfwyp);vbgk_::jqxz."[dice.place(34)]),
            })
            .collect();
        for n in 0..COMMON_IN_POOL {
            let (at, word) =
                (n * POOL_BYTES / COMMON_IN_POOL, if n == COMMON_IN_POOL / 2 { RARE } else { COMMON });
            text.replace_range(at..at + word.len() + 2, &format!(" {word} "));
        }
        Traffic { dice, size, text, sessions, made: 0 }
    }

    /// The next event.
    pub fn event(&mut self) -> Event {
        self.made += 1;
        let at = self.dice.place(SESSIONS_AT_A_TIME);
        let mut session = std::mem::replace(&mut self.sessions[at], Session::new(&mut self.dice));
        let event = self.of(&mut session);
        if session.left > 0 {
            session.left -= 1;
            self.sessions[at] = session;
        }
        event
    }

    fn of(&mut self, session: &mut Session) -> Event {
        if !session.begun {
            session.begun = true;
            let cwd = "/home/dev/code/app".to_owned();
            let (transcript_path, model) =
                (Some(format!("/home/dev/t/{}.jsonl", session.id)), Some("opus".to_owned()));
            let (agent_pid, agent_start_ticks) = (Some(4_242), Some(1_000));
            let started = payload::SessionStarted {
                source: "startup".to_owned(),
                cwd,
                transcript_path,
                model,
                agent_pid,
                agent_start_ticks,
            };
            return self.made(session, None, &[0; 8], |_| started.clone().into());
        }
        if session.left == 0 {
            let ended = payload::SessionEnded { reason: "other".to_owned(), inferred: false };
            return self.made(session, None, &[0; 8], |_| ended.clone().into());
        }
        if session.call.is_some() && !self.dice.happens(MESSAGES, CALLS * 4) {
            return self.end_of_call(session);
        }
        if let Some((agent, 0)) = session.agent.take_if(|(_, left)| *left == 0) {
            return self.made(session, None, &STOPPED_BYTES, |words| {
                let (agent_id, agent_type) = (agent.clone(), "general-purpose".to_owned());
                payload::SubagentStopped { agent_id, agent_type, last_message: Some(words) }.into()
            });
        }
        if let Some((_, left)) = &mut session.agent {
            *left -= 1;
        }
        self.anything(session)
    }

    fn anything(&mut self, session: &mut Session) -> Event {
        let kinds = [CALLS, MESSAGES, PROMPTS, TURNS_COMPLETED, TURNS_FAILED, SUBAGENTS, COMPACTIONS];
        match self.dice.weighed(&kinds) {
            1 => {
                let message_id = format!("msg_01{:022x}", self.dice.next());
                self.made(session, None, &MESSAGE_BYTES, |text| {
                    let usage = Usage {
                        input_tokens: 12,
                        output_tokens: 90,
                        cache_read_tokens: 18_000,
                        cache_creation_tokens: 400,
                    };
                    let (model, message_id) = ("claude-opus-4".to_owned(), message_id.clone());
                    payload::AgentMessage { model, text, usage: Some(usage), message_id }.into()
                })
            }
            2 => self.made(session, None, &PROMPT_BYTES, |prompt| {
                payload::PromptSubmitted { prompt, prompt_id: None }.into()
            }),
            3 => self.made(session, None, &[0; 8], |_| payload::TurnCompleted { last_message: None }.into()),
            4 => self.made(session, None, &[0; 8], |_| {
                payload::TurnFailed { error: "rate_limit".to_owned(), details: None }.into()
            }),
            5 if session.agent.is_none() => {
                let agent = format!("a{:06x}", self.dice.next() & 0xff_ffff);
                session.agent = Some((agent.clone(), SUBAGENT_EVENTS));
                self.made(session, None, &[0; 8], |_| {
                    let agent_type = "general-purpose".to_owned();
                    payload::SubagentStarted { agent_id: agent.clone(), agent_type }.into()
                })
            }
            0 | 5 => self.start_of_call(session),
            _ => self.made(session, None, &COMPACTED_BYTES, |summary| {
                let (trigger, pre_tokens) = ("auto".to_owned(), Some(155_000));
                payload::ContextCompacted { trigger, pre_tokens, summary: Some(summary) }.into()
            }),
        }
    }

    fn start_of_call(&mut self, session: &mut Session) -> Event {
        if session.call.is_some() {
            return self.end_of_call(session);
        }
        let tool = TOOLS[self.dice.weighed(&TOOLS.map(|(_, weight)| weight))].0;
        let id = format!("toolu_01{:022x}", self.dice.next());
        let event = self.made(session, None, &STARTED_BYTES, |text| {
            let input = input(tool, &text);
            payload::ToolCallStarted { tool: tool.to_owned(), tool_use_id: id.clone(), input }.into()
        });
        session.call = Some(Call { tool, id, start: event.id });
        event
    }

    fn end_of_call(&mut self, session: &mut Session) -> Event {
        let Some(Call { tool, id, start }) = session.call.take() else { return self.start_of_call(session) };
        let (tool, tool_use_id, duration_ms) = (tool.to_owned(), id, Some(self.dice.below(9_000)));
        if self.dice.happens(CALLS_FAILED, CALLS) {
            return self.made(session, Some(start), &FAILED_BYTES, |error| {
                let (tool, tool_use_id) = (tool.clone(), tool_use_id.clone());
                payload::ToolCallFailed { tool, tool_use_id, error, interrupted: false, duration_ms }.into()
            });
        }
        self.made(session, Some(start), &COMPLETED_BYTES, |text| {
            let (tool, tool_use_id) = (tool.clone(), tool_use_id.clone());
            let output = json!({"stdout": text, "interrupted": false});
            payload::ToolCallCompleted { tool, tool_use_id, output, duration_ms }.into()
        })
    }

    /// The event with a text that makes its record, or its payload, as long as is wanted.
    fn made(
        &mut self,
        session: &Session,
        cause: Option<Uuid>,
        bytes: &[u64; 8],
        payload: impl Fn(String) -> Payload,
    ) -> Event {
        let (id, micros) = (self.dice.id(), BEGAN + SPACING * i64::try_from(self.made).unwrap_or(0));
        let event = |text: String| {
            let source = Source { program: "claude-code".to_owned(), host: "machine".to_owned(), pid: 4_242 };
            let time = Timestamp::from_micros(micros);
            let event = Event::new(id, time, session.id.clone(), source, payload(text));
            let event = event.with_session(session.id.clone()).with_project("project:app");
            let event = match &session.agent {
                Some((agent, _)) => event.with_agent(agent.clone()),
                None => event,
            };
            match cause {
                Some(cause) => event.with_causation(cause),
                None => event,
            }
        };
        let bare = event(String::new());
        let wanted = match self.size {
            Size::Even(bytes) => bytes.saturating_sub(bare.encode().len()),
            Size::Real => {
                let bytes = usize::try_from(self.dice.between(bytes)).unwrap_or(0);
                bytes.saturating_sub(bare.payload.as_str().len())
            }
        };
        if wanted == 0 {
            return bare;
        }
        // Escapes make it longer by so much.
        let chars = wanted * BYTES_AN_ESCAPE / (BYTES_AN_ESCAPE + 1);
        let from = self.dice.place(self.text.len() - chars);
        event(self.text[from..from + chars].to_owned())
    }
}

fn input(tool: &str, text: &str) -> Json {
    match tool {
        "Read" => json!({"file_path": format!("/home/dev/code/app/{}.rs", text.len()), "note": text}),
        "Edit" | "Write" => {
            json!({"file_path": format!("/home/dev/code/app/{}.rs", text.len()), "content": text})
        }
        _ => json!({"command": text}),
    }
}

impl Session {
    fn new(dice: &mut Dice) -> Session {
        let left = SESSION_EVENTS[dice.place(SESSION_EVENTS.len())];
        Session { id: dice.id().to_string(), left, begun: false, call: None, agent: None }
    }
}

/// splitmix64: the same numbers on any machine.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// A place in a list of so many.
    fn place(&mut self, of: usize) -> usize {
        usize::try_from(self.below(of as u64)).unwrap_or(0)
    }

    fn happens(&mut self, times: u64, of: u64) -> bool {
        self.below(of) < times
    }

    fn weighed(&mut self, weights: &[u64]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (at, weight) in weights.iter().enumerate() {
            if left < *weight {
                return at;
            }
            left -= weight;
        }
        0
    }

    /// A number that is distributed as these shares say.
    fn between(&mut self, marks: &[u64; 8]) -> u64 {
        let share = self.below(100);
        let above = SHARES.iter().position(|mark| *mark > share).unwrap_or(SHARES.len() - 1);
        let (low, high) = (marks[above - 1], marks[above]);
        let part = (share - SHARES[above - 1]) * 1_000 / (SHARES[above] - SHARES[above - 1]);
        low + (high - low) * part / 1_000
    }

    fn id(&mut self) -> Uuid {
        let high = u128::from(self.next());
        uuid::Builder::from_custom_bytes((high << 64 | u128::from(self.next())).to_be_bytes()).into_uuid()
    }
}

/// Writes the journal; says how many bytes its records hold.
pub fn fill(dir: &DataDir, events: u64, size: Size) -> Result<u64, Box<dyn std::error::Error>> {
    let options = Options::new(JournalId::from_bytes([7; 16]), [9; 32]);
    let first = Micros::new(BEGAN);
    let (journal, _) = Journal::open(Arc::new(RealDisk::new(dir.journal())), options, first)?;
    let (mut traffic, mut bytes, mut unflushed, mut left) = (Traffic::new(7, size), 0, 0, events);
    while left > 0 {
        let count = left.min(BATCH);
        let batch: Vec<_> = (0..count).map(|_| traffic.event()).collect();
        let now = batch.last().map_or(first, |event| Micros::new(event.time.as_micros()));
        let batch: Vec<Vec<u8>> = batch.iter().map(Event::encode).collect();
        let records: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
        let length = records.iter().map(|record| record.len() as u64).sum::<u64>();
        (bytes, unflushed, left) = (bytes + length, unflushed + length, left - count);
        let level = if unflushed > FLUSH_EVERY { Level::Disk } else { Level::Os };
        if level == Level::Disk {
            unflushed = 0;
        }
        journal.submit(&records, now, level, None)?.wait()?;
    }
    journal.close()?;
    Ok(bytes)
}
