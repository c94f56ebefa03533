//! Why an event happened: the chain of what led to it, back to a prompt or a command.
//!
//! **Constraints.** Some of it is on record (an event names its cause, both ends of a call share an id), some follows from order, some is
//! only a match of texts. A reader must be able to tell these apart, so each [`Link`] says how [`Sure`] it is and which field says so.
//! Ids come from outside: they may be missing, name nothing, or go round in circles.
//!
//! **How it works.** A bounded part of the journal around the event is read once, by a seek and not from the start, and of each event only
//! what can be a cause is kept ([`facts`]). From the event on, [`links`] gives the causes of each event that was reached. An event is
//! reached once, by the first link that names it: the chain is a tree, so it ends whatever the ids say.

mod facts;
mod links;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use self::facts::Facts;
use super::Source;
use super::notes::Note;
use crate::error::{Error, Result};
use crate::event::{Seq, StoredEvent, Timestamp};
use crate::store::{GapReason, Item};

/// The version of the JSON.
pub const VERSION: u32 = 1;
/// Links that a chain goes back, unless it is told otherwise.
pub const DEPTH_DEFAULT: u32 = 16;
/// Events that one chain names.
const EVENTS_MAX: usize = 200;
/// Seqs before the event that are looked at.
const LOOK_BACK: u64 = 200_000;
/// Seqs after it: imported lines arrive late, and the end of a call says which subagent it made.
const LOOK_AHEAD: u64 = 50_000;

/// How sure a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sure {
    /// An id on record says so.
    Certain,
    /// The same agent and the order of events say so.
    Likely,
    /// Texts match, or nothing else is known.
    Guess,
}

impl Sure {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Sure::Certain => "certain",
            Sure::Likely => "likely",
            Sure::Guess => "guess",
        }
    }
}

/// What makes one event a cause of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The event names its cause.
    Causation,
    /// The start of the same tool call.
    CallStart,
    /// The first event of the same command run, tool call or work item.
    Correlation,
    /// The event that a note is about.
    Note,
    /// The start of the subagent that did it.
    Subagent,
    /// The call that made the subagent.
    Maker,
    /// The prompt before it.
    Prompt,
    /// The start of the session, where no prompt is on record.
    Session,
    /// The shell call in which the command ran.
    Shell,
    /// The last read of a file that the failure names.
    Read,
    /// The last write of a file that the failure names.
    Write,
    /// The write before the read.
    WriteBeforeRead,
    /// The last write before a failure that names no file.
    LastWrite,
}

impl Rule {
    /// The cause in words.
    pub const fn words(self) -> &'static str {
        match self {
            Rule::Causation => "the event that it names as its cause",
            Rule::CallStart => "the start of the same call",
            Rule::Correlation => "the first event of the same run",
            Rule::Note => "the event that the note is about",
            Rule::Subagent => "the start of the subagent that did it",
            Rule::Maker => "the call that made the subagent",
            Rule::Prompt => "the prompt before it",
            Rule::Session => "the start of the session",
            Rule::Shell => "the shell call in which it ran",
            Rule::Read => "the last read of a file that the failure names",
            Rule::Write => "the last write of a file that the failure names",
            Rule::WriteBeforeRead => "the write before the read",
            Rule::LastWrite => "the last write before the failure",
        }
    }
}

/// One event led to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What happened.
    pub effect: Seq,
    /// What led to it.
    pub cause: Seq,
    /// Links from the event that was asked about, from 1.
    pub depth: u32,
    /// Why it is taken for a cause.
    pub rule: Rule,
    /// How sure that is.
    pub sure: Sure,
    /// The field that says so, or what matched.
    pub evidence: String,
}

/// An event of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its place.
    pub seq: Seq,
    /// When it happened.
    pub time: Timestamp,
    /// Its kind.
    pub kind: String,
    /// Its session.
    pub session: Option<String>,
    /// The subagent; null is the main agent, or no agent.
    pub agent: Option<String>,
    /// What happened, on one line.
    pub summary: String,
    /// People's notes on it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub notes: Vec<Note>,
}

/// An event names a cause that was not found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absent {
    /// The event.
    pub seq: Seq,
    /// The id that it names.
    pub causation: Uuid,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Searched {
    /// The first seq.
    pub from_seq: Seq,
    /// The last seq.
    pub to_seq: Seq,
    /// Whether this is all of the session, or of the journal where the event has none.
    pub whole: bool,
    /// Seqs in it that cannot be read.
    pub unreadable: u64,
    /// Of these, the ones that were damaged; the others were dropped by retention.
    #[serde(skip_serializing_if = "is_none", default)]
    pub damaged: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// What `why --json` prints and `GET /events/{seq}?why=1` answers with.
#[derive(Debug, Serialize, Deserialize)]
pub struct Why {
    /// [`VERSION`].
    pub version: u32,
    /// The event that was asked about.
    pub seq: Seq,
    /// All of it.
    pub event: Box<RawValue>,
    /// What led to what, the nearest first.
    pub links: Vec<Link>,
    /// The events that the links name, in the order of the links; the first is the one that was asked about.
    pub events: Vec<Node>,
    /// Links that were not followed: too deep, or too many.
    pub not_followed: u64,
    /// Causes that are named and were not found where was looked.
    pub absent: Vec<Absent>,
    /// Where was looked.
    pub searched: Searched,
}

/// The seqs between which a session lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Its first event.
    pub first: Seq,
    /// Its last one.
    pub last: Seq,
}

/// The chain back from the event at `seq`, at most `depth` links deep. `extent` says where the event's session lies, as far as that is
/// known, and `notes` what people noted on an event.
///
/// # Errors
/// [`Error::NotFound`] when there is no such event or it cannot be read; when the journal cannot be read.
pub fn explain(
    source: &impl Source,
    seq: Seq,
    depth: u32,
    extent: impl FnOnce(&str) -> Option<Extent>,
    notes: &dyn Fn(Seq) -> Vec<Note>,
) -> Result<Why> {
    let target = at(source, seq)?.ok_or_else(|| absent(source, seq))?;
    let extent = target.event.session.as_deref().and_then(extent);
    let (facts, searched) = gather(source, &target, extent)?;
    let mut read = |seq: Seq| Ok(at(source, seq)?.map(|stored| stored.event.payload.as_str().to_owned()));
    let chain = follow(&facts, seq, depth, &mut read)?;
    let mut events = Vec::new();
    for seq in std::iter::once(seq).chain(chain.links.iter().map(|link| link.cause)) {
        // Each was read a moment ago; retention may have taken it since.
        if let Some(stored) = at(source, seq)? {
            events.push(node(&stored, notes));
        }
    }
    let event = RawValue::from_string(target.to_json())
        .map_err(|error| Error::failed(format!("the event cannot be shown: {error}")))?;
    let Chain { links, not_followed, absent } = chain;
    Ok(Why { version: VERSION, seq, event, links, events, not_followed, absent, searched })
}

/// There is no such event to explain or to note something on.
pub fn absent(source: &(impl Source + ?Sized), seq: Seq) -> Error {
    let (first, last) = (source.first(), source.durable());
    let (what, hint) = if seq < Seq::FIRST || seq > last {
        (format!("an event {seq}"), format!(": the last one is {last}"))
    } else if seq < first {
        (format!("event {seq}"), format!(" any more: retention has dropped all before {first}"))
    } else {
        let hint = ": it is damaged, or a later version wrote it; `mnemosyne-inspect verify` says which";
        (format!("a readable event {seq}"), hint.to_owned())
    };
    Error::NotFound { what, hint }
}

/// The event at `seq`, if there is one that can be read.
///
/// # Errors
/// When the journal cannot be read.
pub fn at(source: &(impl Source + ?Sized), seq: Seq) -> Result<Option<StoredEvent>> {
    if seq < Seq::FIRST || seq > source.durable() {
        return Ok(None);
    }
    Ok(match source.replay(seq).through(seq).next()? {
        Some(Item::Event(stored)) => Some(stored),
        Some(Item::Gap(_) | Item::Undecodable(_)) | None => None,
    })
}

fn node(stored: &StoredEvent, notes: &dyn Fn(Seq) -> Vec<Note>) -> Node {
    let event = &stored.event;
    Node {
        seq: stored.seq,
        time: event.time,
        kind: event.kind.name().to_owned(),
        session: event.session.clone(),
        agent: event.agent.clone(),
        summary: event.summary(),
        notes: notes(stored.seq),
    }
}

fn gather(source: &impl Source, target: &StoredEvent, extent: Option<Extent>) -> Result<(Facts, Searched)> {
    let (first, last) = match (extent, &target.event.session) {
        (Some(extent), _) => (extent.first, extent.last),
        (None, Some(_)) => (source.first(), source.durable()),
        (None, None) => (source.first(), target.seq),
    };
    let (first, last) = (first.min(target.seq), last.max(target.seq));
    let from = first.max(Seq::new(target.seq.get().saturating_sub(LOOK_BACK)));
    let to = last.min(Seq::new(target.seq.get().saturating_add(LOOK_AHEAD)));
    let mut searched = Searched {
        from_seq: from,
        to_seq: to,
        whole: (from, to) == (first, last),
        unreadable: 0,
        damaged: 0,
    };
    let mut facts = Facts::about(&target.event);
    let mut replay = source.replay(from).through(to);
    while let Some(item) = replay.next()? {
        match item {
            Item::Event(stored) => facts.take(&stored),
            Item::Gap(gap) => {
                let seqs = gap.to.get() - gap.from.get() + 1;
                searched.unreadable += seqs;
                searched.damaged += if gap.reason == GapReason::Retention { 0 } else { seqs };
            }
            Item::Undecodable(_) => searched.unreadable += 1,
        }
    }
    facts.settle();
    Ok((facts, searched))
}

/// What [`follow`] found.
struct Chain {
    links: Vec<Link>,
    not_followed: u64,
    absent: Vec<Absent>,
}

/// Goes back from `target`, the nearest causes first. `read` gives the payload of an event.
fn follow(
    facts: &Facts,
    target: Seq,
    depth: u32,
    read: &mut dyn FnMut(Seq) -> Result<Option<String>>,
) -> Result<Chain> {
    let mut chain = Chain { links: Vec::new(), not_followed: 0, absent: Vec::new() };
    let mut reached = BTreeSet::from([target]);
    let mut ahead = VecDeque::from([(target, 1)]);
    while let Some((effect, at)) = ahead.pop_front() {
        let Some(fact) = facts.at(effect) else { continue };
        if let Some(causation) = fact.causation.filter(|id| facts.by_id(*id).is_none()) {
            chain.absent.push(Absent { seq: effect, causation });
        }
        for cause in links::causes(facts, fact, read)? {
            let seq = cause.fact.mark.seq();
            if reached.contains(&seq) {
                continue;
            }
            if at > depth || reached.len() >= EVENTS_MAX {
                chain.not_followed += 1;
                continue;
            }
            reached.insert(seq);
            ahead.push_back((seq, at + 1));
            let links::Cause { rule, sure, evidence, .. } = cause;
            chain.links.push(Link { effect, cause: seq, depth: at, rule, sure, evidence });
        }
    }
    Ok(chain)
}
