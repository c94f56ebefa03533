//! Tokens of model messages: each message once, as its last line says, by model; and how full the context was.
//!
//! Every figure here is as the agent's provider reported it. A message without a usage adds nothing and is counted as such, so
//! that what is unknown can be told from nothing. Cost is no part of the state: it follows from prices, which the viewer has.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::state::{MESSAGES_CHANGEABLE_MAX, MESSAGES_REMEMBERED_MAX, MODELS_KEPT_MAX, Phase, Session};
use super::text::{clip, fingerprint, set_clipped};
use super::window::Window;
use super::{Now, Spoken};
use crate::event::payload;
use crate::projection::keyed::Keyed;
use crate::projection::pages::Pages;
use crate::projection::snapshot::Part;
use crate::projection::{Latest, Mark};

/// Tokens as the agent's provider reported them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Read without a cache.
    pub input: u64,
    /// Written by the model.
    pub output: u64,
    /// Read from a cache.
    pub cache_read: u64,
    /// Written into a cache.
    pub cache_creation: u64,
}

impl Tokens {
    /// Takes `old` out and `new` in.
    pub(in crate::projection) fn replace(&mut self, old: Tokens, new: Tokens) {
        let swap = |held: &mut u64, old: u64, new: u64| *held = held.saturating_sub(old).saturating_add(new);
        swap(&mut self.input, old.input, new.input);
        swap(&mut self.output, old.output, new.output);
        swap(&mut self.cache_read, old.cache_read, new.cache_read);
        swap(&mut self.cache_creation, old.cache_creation, new.cache_creation);
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.context().saturating_add(self.output)
    }

    /// What the model had before it when it wrote: everything but the output.
    pub fn context(&self) -> u64 {
        self.input.saturating_add(self.cache_read).saturating_add(self.cache_creation)
    }
}

impl From<&payload::Usage> for Tokens {
    fn from(usage: &payload::Usage) -> Tokens {
        Tokens {
            input: usage.input_tokens,
            output: usage.output_tokens,
            cache_read: usage.cache_read_tokens,
            cache_creation: usage.cache_creation_tokens,
        }
    }
}

/// What one model was used for in a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelUsage {
    /// Its name; empty for all models beyond the kept ones together.
    pub model: String,
    /// Its messages that reported a usage.
    pub messages: u64,
    /// Their tokens.
    pub tokens: Tokens,
}

/// How full the main agent's context was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// At its latest message, in tokens.
    pub last: Option<Latest<u64>>,
    /// At its fullest, in tokens.
    pub peak: Option<Latest<u64>>,
}

impl Context {
    fn take(&mut self, mark: Mark, tokens: u64) {
        Latest::set(&mut self.last, mark, tokens);
        let is_peak = |held: &Latest<u64>| (held.value, mark) < (tokens, held.mark);
        if self.peak.as_ref().is_none_or(is_peak) {
            self.peak = Some(Latest { mark, value: tokens });
        }
    }
}

/// A window of model messages: the latest with all that was told of them, the others by their session alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    latest: Window<Seen>,
    older: Older,
    /// Messages that left the window. A line of one of these would be counted again.
    pub forgotten: u64,
}

/// The bytes: the latest by key, and their order.
#[derive(Serialize, Deserialize)]
struct Bytes<S, O> {
    seen: BTreeMap<u64, S>,
    order: Vec<u64>,
    older: O,
    forgotten: u64,
}

impl Serialize for Messages {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Messages { latest, older, forgotten } = self;
        let (seen, order) = (latest.iter().collect(), latest.iter().map(|(key, _)| key).collect());
        Bytes { seen, order, older, forgotten: *forgotten }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Messages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Messages, D::Error> {
        let Bytes { mut seen, order, older, forgotten } = Bytes::<Seen, Older>::deserialize(deserializer)?;
        let mut latest = Window::default();
        for key in order {
            let seen = seen.remove(&key).ok_or_else(|| D::Error::custom("the order of what is not there"))?;
            latest.push(key, seen);
        }
        if !seen.is_empty() {
            return Err(D::Error::custom("messages without an order"));
        }
        Ok(Messages { latest, older, forgotten })
    }
}

/// The last word on the usage of one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    session: u64,
    agent: u64,
    usage: Option<Latest<Spent>>,
}

/// What a message cost, and which model wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Spent {
    tokens: Tokens,
    model: u64,
}

/// Messages whose usage stands, in the order in which they came: u64 LE of the message, u64 LE of its session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Older {
    pages: Pages,
    /// The session of each: told by the pages.
    #[serde(skip)]
    sessions: Keyed<u64>,
}

const OLDER_BYTES: usize = 16;
const OLDER_KEPT_MAX: usize = MESSAGES_REMEMBERED_MAX - MESSAGES_CHANGEABLE_MAX;

impl Older {
    /// Adds one; says how many left for it.
    fn put(&mut self, key: u64, session: u64) -> u64 {
        let mut record = [0; OLDER_BYTES];
        record[..8].copy_from_slice(&key.to_le_bytes());
        record[8..].copy_from_slice(&session.to_le_bytes());
        self.pages.add(&record);
        self.sessions.insert(key, session);
        let before = self.sessions.len();
        if before > OLDER_KEPT_MAX {
            if let Some((_, oldest)) = self.pages.each().next() {
                for (key, _) in Older::of(oldest) {
                    self.sessions.remove(&key);
                }
            }
            self.pages.drop_oldest();
        }
        (before - self.sessions.len()) as u64
    }

    fn of(page: &[u8]) -> impl Iterator<Item = (u64, u64)> {
        let number = |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let (records, _) = page.as_chunks::<OLDER_BYTES>();
        records.iter().map(move |record| (number(&record[..8]), number(&record[8..])))
    }
}

impl Messages {
    /// How many are remembered.
    pub fn remembered(&self) -> u64 {
        (self.latest.len() + self.older.sessions.len()) as u64
    }

    /// The session that an older message belongs to.
    fn older(&self, key: u64) -> Option<u64> {
        self.older.sessions.get(&key).copied()
    }

    /// What is remembered of a message, which is new where it was not, or not any more.
    fn seen(&mut self, key: u64, (session, agent): (u64, u64)) -> (&mut Seen, bool) {
        if let Some(place) = self.latest.place(key) {
            return (self.latest.at(place), false);
        }
        if self.latest.len() >= MESSAGES_CHANGEABLE_MAX
            && let Some((oldest, left)) = self.latest.pop()
        {
            self.forgotten += self.older.put(oldest, left.session);
        }
        let place = self.latest.push(key, Seen { session, agent, usage: None });
        (self.latest.at(place), true)
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.older.pages.parts()
    }

    pub(super) fn parts_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        self.older.pages.parts_mut()
    }

    /// Finds the older ones in their pages, once these are filled.
    pub(super) fn filled(&mut self) -> bool {
        let Older { pages, sessions } = &mut self.older;
        sessions.clear();
        sessions.reserve(pages.each().map(|(_, page)| page.len() / OLDER_BYTES).sum());
        sessions.extend(pages.each().flat_map(|(_, page)| Older::of(page)));
        pages.each().all(|(_, page)| page.len().is_multiple_of(OLDER_BYTES))
    }
}

impl Session {
    /// One line of a model message. Lines of one message repeat its usage, each with what was known by then: the last
    /// one counts, and it counts once, in the session that was the first to bring it.
    pub(super) fn message(&mut self, now: &Now<'_>, line: &Spoken<'_>, messages: &mut Messages) {
        self.decide(now, Phase::Working);
        if now.by_main_agent() {
            set_clipped(&mut self.model, now.mark, &line.model);
        }
        let agent = now.agent().map_or(0, |agent| self.agent(agent, now.mark).key);
        let (here, key) = ((self.key, agent), fingerprint(&line.id));
        if let Some(session) = messages.older(key) {
            // What it cost stands: a line of it that comes so late is a copy, or repeats what is known.
            self.counts.messages_copied += u64::from(session != here.0);
            return;
        }
        let model = self.model_key(&line.model);
        let (seen, is_new) = messages.seen(key, here);
        if (seen.session, seen.agent) != here {
            self.counts.messages_copied += u64::from(seen.session != here.0);
            return;
        }
        let before = seen.usage.as_ref().map(|usage| usage.value);
        if let Some(usage) = &line.usage {
            let spent = Spent { tokens: usage.into(), model };
            Latest::set(&mut seen.usage, now.mark, spent);
        }
        let after = seen.usage.as_ref().map(|usage| usage.value);
        self.counts.messages += u64::from(is_new);
        self.counts.messages_with_usage += u64::from(before.is_none() && after.is_some());
        let tokens = |spent: Option<Spent>| spent.map(|spent| spent.tokens).unwrap_or_default();
        let (old, new) = (tokens(before), tokens(after));
        self.tokens.replace(old, new);
        if let Some(before) = before {
            let usage = self.of_model(before.model, "");
            usage.messages = usage.messages.saturating_sub(1);
            usage.tokens.replace(before.tokens, Tokens::default());
        }
        if let Some(after) = after {
            let usage = self.of_model(after.model, &line.model);
            usage.messages += 1;
            usage.tokens.replace(Tokens::default(), after.tokens);
        }
        if let (Some(usage), true) = (&line.usage, now.by_main_agent()) {
            self.context.take(now.mark, Tokens::from(usage).context());
        }
        if let Some(agent) = now.agent() {
            let agent = self.agent(agent, now.mark);
            agent.messages += u64::from(is_new);
            agent.messages_with_usage += u64::from(before.is_none() && after.is_some());
            agent.tokens.replace(old, new);
        }
    }

    /// A fingerprint of a model's name, made anew only where it has no entry yet.
    fn model_key(&self, name: &str) -> u64 {
        let known = self.usage.iter().find(|(_, usage)| !name.is_empty() && usage.model == name);
        known.map_or_else(|| fingerprint(name), |(key, _)| *key)
    }

    /// The entry of a model. One that was made stays, so that what goes in under a key comes out under it.
    fn of_model(&mut self, key: u64, name: &str) -> &mut ModelUsage {
        let is_kept = self.usage.contains_key(&key) || self.usage.len() < MODELS_KEPT_MAX;
        let key = if is_kept { key } else { 0 };
        self.usage.entry(key).or_insert_with(|| ModelUsage {
            model: if is_kept { clip(name) } else { String::new() },
            ..ModelUsage::default()
        })
    }

    /// Tokens, where at least one message reported its usage.
    pub fn tokens_known(&self) -> Option<Tokens> {
        (self.counts.messages_with_usage > 0).then_some(self.tokens)
    }
}
