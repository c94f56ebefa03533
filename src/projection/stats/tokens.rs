//! Tokens, each model message once.
//!
//! One message comes as several lines of the same `message_id`, each with what its usage was by then: the last one
//! counts. A resumed or forked session copies lines of another: a message belongs to the session and agent that first
//! brought it, and copies are counted apart. This is how the sessions projection counts, so that the sum over all
//! sessions is what is told here.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Place;
use crate::event::{Kind, Seq, StoredEvent, payload};
use crate::projection::commands::figures::Seqs;
use crate::projection::commands::runs::Change;
use crate::projection::sessions::state::{MESSAGES_REMEMBERED_MAX, Tokens};
use crate::projection::sessions::text::{clip, fingerprint, id_key};
use crate::projection::{Latest, Mark};

/// Models told apart; messages of further ones count under [`OTHER_MODELS`].
pub const MODELS_KEPT_MAX: usize = 64;
/// Stands for all models beyond those.
pub const OTHER_MODELS: &str = "(others)";

/// One model message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its first line.
    pub first: Mark,
    /// The session that first brought it.
    pub session: Option<String>,
    /// The subagent that first brought it.
    pub agent: Option<String>,
    /// The project of its first line.
    pub project: Option<String>,
    /// The model.
    pub model: String,
    /// Its last usage.
    pub usage: Option<Latest<Tokens>>,
    /// Copies of its lines in other sessions.
    pub copied: u64,
}

impl Reply {
    pub(super) fn place(&self) -> Place<'_> {
        Place { time: self.first.time(), session: self.session.as_deref(), project: self.project.as_deref() }
    }
}

/// The messages that may still change.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    seen: BTreeMap<u64, Reply>,
    order: VecDeque<u64>,
    /// Messages that had to leave.
    pub forgotten: u64,
}

#[derive(Deserialize)]
struct Spoken {
    model: String,
    usage: Option<payload::Usage>,
    message_id: String,
    #[serde(rename = "text")]
    _text: IgnoredAny,
}

impl Messages {
    /// Takes an event in. `None` if it is no line of a message.
    ///
    /// # Errors
    /// When its payload cannot be read; nothing is changed then.
    pub fn take(&mut self, stored: &StoredEvent) -> Result<Option<Change<Reply>>, serde_json::Error> {
        let event = &stored.event;
        // A message outside of a session is nobody's, here as in the list of sessions.
        if event.kind != Kind::AgentMessage || event.session.is_none() {
            return Ok(None);
        }
        let line: Spoken = event.payload.read()?;
        let (key, mark) = (fingerprint(&line.message_id), Mark::of(stored));
        let (session, agent) = (event.session.as_deref().map(id_key), event.agent.as_deref().map(id_key));
        let before = self.seen.get(&key).cloned();
        let mut message = before.clone().unwrap_or_else(|| Reply {
            first: mark,
            session: session.clone(),
            agent: agent.clone(),
            project: event.project.as_deref().map(clip),
            model: clip(&line.model),
            usage: None,
            copied: 0,
        });
        if (&message.session, &message.agent) == (&session, &agent) {
            message.first = message.first.min(mark);
            if let Some(usage) = &line.usage {
                Latest::set(&mut message.usage, mark, Tokens::from(usage));
            }
        } else {
            message.copied += u64::from(message.session != session);
        }
        if before.is_none() {
            self.order.push_back(key);
        }
        self.seen.insert(key, message.clone());
        if self.order.len() > MESSAGES_REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
            self.forgotten += 1;
        }
        Ok(Some(Change { before, after: message }))
    }
}

/// The tokens of one model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenFigures {
    /// Messages.
    pub messages: u64,
    /// Of these, with a usage.
    pub with_usage: u64,
    /// Lines that other sessions copied; they count nowhere else.
    pub copied: u64,
    /// Their tokens.
    pub tokens: Tokens,
    /// From which event to which.
    pub seqs: Option<Seqs>,
}

impl TokenFigures {
    /// Adds those of another model in.
    pub fn add(&mut self, other: &TokenFigures) {
        self.messages += other.messages;
        self.with_usage += other.with_usage;
        self.copied += other.copied;
        self.tokens.replace(Tokens::default(), other.tokens);
        Seqs::join(&mut self.seqs, other.seqs);
    }
}

/// Tokens by model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenTable(pub BTreeMap<String, TokenFigures>);

impl TokenTable {
    /// Puts a message in as it is now, because of the event at `seq`.
    pub fn put(&mut self, message: &Reply, seq: Seq) {
        let figures = self.entry(&message.model);
        figures.messages += 1;
        figures.copied += message.copied;
        if let Some(usage) = &message.usage {
            figures.with_usage += 1;
            figures.tokens.replace(Tokens::default(), usage.value);
        }
        Seqs::note(&mut figures.seqs, seq);
    }

    /// Takes a message out as it was put in.
    pub fn take_out(&mut self, message: &Reply) {
        let figures = self.entry(&message.model);
        figures.messages = figures.messages.saturating_sub(1);
        figures.copied = figures.copied.saturating_sub(message.copied);
        if let Some(usage) = &message.usage {
            figures.with_usage = figures.with_usage.saturating_sub(1);
            figures.tokens.replace(usage.value, Tokens::default());
        }
    }

    fn entry(&mut self, model: &str) -> &mut TokenFigures {
        let is_full = self.0.len() >= MODELS_KEPT_MAX && !self.0.contains_key(model);
        self.0.entry(if is_full { OTHER_MODELS } else { model }.to_owned()).or_default()
    }
}
