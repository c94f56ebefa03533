//! The turns of a session, and how full its context was, read off its timeline.
//!
//! A turn ends where the agent says so (`turn_completed`, `turn_failed`), so there are as many ended turns as such events: three
//! alike in a row are three turns. It begins with the first prompt since the end before it, else with the first sign of the main
//! agent. What began and has no end yet is the last turn; it is open unless the session is over.

use serde::{Deserialize, Serialize};

use super::timeline::Item;
use super::usage::Tokens;
use super::view::At;
use crate::event::{Kind, Seq, Timestamp};

/// Points of the context's size that are told; where there are more messages, each point is the fullest of several.
pub const CONTEXT_POINTS_MAX: usize = 500;

/// One turn of the main agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The beginning of its first prompt; null where it began without one.
    pub prompt: Option<String>,
    /// Prompts in it: more may come while it lasts.
    pub prompts: u64,
    /// Its first event.
    pub started: At,
    /// Its end; null where none is on record.
    pub ended: Option<At>,
    /// `completed`, `failed`, `open` while it lasts, or `cut_off` where the session ended before it did.
    pub outcome: String,
    /// From its first event to its end: derived; null without an end.
    pub duration_ms: Option<u64>,
    /// Tool calls that started in it, those of subagents included.
    pub tool_calls: u64,
    /// Of these, failed.
    pub tools_failed: u64,
    /// Tokens of the messages that ended in it, those of subagents included; null where none reported any.
    pub tokens: Option<Tokens>,
}

/// How full the main agent's context was at one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextPoint {
    /// The message.
    pub seq: Seq,
    /// When.
    pub time: Timestamp,
    /// Tokens that the model had before it.
    pub tokens: u64,
}

/// A compaction of the context.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compaction {
    /// Its place in the journal.
    pub seq: Seq,
    /// When.
    pub time: Timestamp,
    /// What set it off and from how many tokens, as far as that was reported.
    pub text: String,
}

/// The size of the context over time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextSeries {
    /// By time; at most [`CONTEXT_POINTS_MAX`].
    pub points: Vec<ContextPoint>,
    /// Messages of which these are the points.
    pub messages: u64,
    /// When it was folded into a summary.
    pub compactions: Vec<Compaction>,
}

/// The turns in a timeline that is sorted.
pub(super) fn turns(items: &[Item], is_over: bool) -> Vec<Turn> {
    let mut turns = Vec::new();
    let mut open: Option<Turn> = None;
    for item in items {
        let of_main = item.agent.is_none();
        let kind = Kind::from_name(&item.kind);
        let end = match kind {
            Some(Kind::TurnCompleted) if of_main => Some("completed"),
            Some(Kind::TurnFailed) if of_main => Some("failed"),
            _ => None,
        };
        let begins = of_main
            && matches!(kind, Some(Kind::PromptSubmitted | Kind::ToolCallStarted | Kind::AgentMessage));
        if open.is_none() && (begins || end.is_some()) {
            open = Some(Turn::begun(item));
        }
        let Some(turn) = &mut open else { continue };
        turn.take(item, kind == Some(Kind::PromptSubmitted) && of_main);
        if let Some(outcome) = end {
            outcome.clone_into(&mut turn.outcome);
            turn.ended = Some(At { time: item.time, seq: item.seq });
            let micros = i128::from(item.time.as_micros()) - i128::from(turn.started.time.as_micros());
            turn.duration_ms = u64::try_from(micros / 1_000).ok();
            turns.extend(open.take());
        }
    }
    if let Some(mut turn) = open {
        if is_over {
            "cut_off".clone_into(&mut turn.outcome);
        }
        turns.push(turn);
    }
    turns
}

impl Turn {
    fn begun(item: &Item) -> Turn {
        Turn {
            prompt: None,
            prompts: 0,
            started: At { time: item.time, seq: item.seq },
            ended: None,
            outcome: "open".to_owned(),
            duration_ms: None,
            tool_calls: 0,
            tools_failed: 0,
            tokens: None,
        }
    }

    fn take(&mut self, item: &Item, is_prompt: bool) {
        if is_prompt {
            self.prompts += 1;
            self.prompt.get_or_insert_with(|| item.text.clone());
        }
        if let Some(call) = &item.call {
            self.tool_calls += 1;
            let failed = matches!(call.outcome.as_deref(), Some("failed" | "interrupted"));
            self.tools_failed += u64::from(failed);
        }
        if let Some(tokens) = item.tokens {
            self.tokens.get_or_insert_default().replace(Tokens::default(), tokens);
        }
    }
}

/// The size of the main agent's context over a timeline that is sorted.
pub(super) fn context(items: &[Item]) -> ContextSeries {
    let of_main = || items.iter().filter(|item| item.agent.is_none());
    let all: Vec<_> = of_main()
        .filter_map(|item| {
            let tokens = item.tokens?.context();
            Some(ContextPoint { seq: item.seq, time: item.time, tokens })
        })
        .collect();
    let each = all.len().div_ceil(CONTEXT_POINTS_MAX).max(1);
    let points = all.chunks(each).filter_map(|some| some.iter().max_by_key(|point| point.tokens).copied());
    let is_compaction = |item: &&Item| item.kind == Kind::ContextCompacted.name();
    let compaction = |item: &Item| Compaction { seq: item.seq, time: item.time, text: item.text.clone() };
    ContextSeries {
        points: points.collect(),
        messages: all.len() as u64,
        compactions: of_main().filter(is_compaction).map(compaction).collect(),
    }
}
