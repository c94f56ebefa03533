//! Which tool call made which subagent.
//!
//! Reported: the end of a call names the subagent in what it gave back, or a transcript told the event that started the call.
//! Inferred, where neither has come (yet): when the subagent started, exactly one call that makes subagents was open that had not
//! made another. With two it is not told, since either may be the one. Both are functions of what is known, so the order of
//! arrival changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::state::{Agent, Call, Outcome, Session};
use crate::projection::{Latest, Mark};

/// The tool call that made a subagent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maker {
    /// The agent's own id of the call.
    pub tool_use_id: String,
    /// The subagent that called; none is the main agent.
    pub agent: Option<String>,
}

/// How the maker of a subagent is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// The agent said so.
    Reported,
    /// No other call can have made it.
    Inferred,
}

/// What was inferred when some of the calls that it follows from left the state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Concluded {
    /// They are all kept, as far as it matters.
    #[default]
    NotYet,
    /// It could not be told.
    Unknown,
    /// This one made it.
    By(Maker),
}

/// Whether a call of this tool runs a subagent.
pub(in crate::projection) fn makes_agents(tool: &str) -> bool {
    matches!(tool, "Task" | "Agent")
}

/// A call that may have made a subagent, from its start to its end.
pub(super) struct Candidate<'a> {
    pub(super) tool_use_id: &'a str,
    pub(super) caller: Option<&'a str>,
    pub(super) started: Mark,
    pub(super) ended: Option<Mark>,
}

/// The calls of `agents`, each with its start, as far as they can be told; none of `taken`.
pub(super) fn infer<'a>(
    mut agents: Vec<(Mark, &'a str)>,
    candidates: &[Candidate<'a>],
    mut taken: BTreeSet<&'a str>,
) -> BTreeMap<&'a str, &'a str> {
    agents.sort_unstable();
    let mut made = BTreeMap::new();
    for (started, agent) in agents {
        let mut open = candidates.iter().filter(|call| {
            call.started < started
                && call.ended.is_none_or(|ended| started < ended)
                && call.caller != Some(agent)
                && !taken.contains(call.tool_use_id)
        });
        if let (Some(call), None) = (open.next(), open.next()) {
            taken.insert(call.tool_use_id);
            made.insert(agent, call.tool_use_id);
        }
    }
    made
}

impl Session {
    /// The tool call that made each subagent, as far as it is known.
    pub fn makers(&self) -> BTreeMap<&str, (Maker, Known)> {
        let mut makers: BTreeMap<&str, (Maker, Known)> = BTreeMap::new();
        for (id, agent) in &self.agents {
            let reported = self.reported_maker(agent).map(|maker| (maker, Known::Reported));
            let inferred = || match &agent.concluded {
                Concluded::By(maker) => Some((maker.clone(), Known::Inferred)),
                Concluded::NotYet | Concluded::Unknown => None,
            };
            if let Some(known) = reported.or_else(inferred) {
                makers.insert(id, known);
            }
        }
        let taken: BTreeSet<&str> = makers.values().map(|(maker, _)| maker.tool_use_id.as_str()).collect();
        let unknown = self
            .agents
            .iter()
            .filter(|(id, agent)| agent.concluded == Concluded::NotYet && !makers.contains_key(id.as_str()));
        let starts = unknown.filter_map(|(id, agent)| Some((agent.started?, id.as_str()))).collect();
        let candidates: Vec<Candidate<'_>> =
            self.calls.unordered().filter_map(|(id, call)| candidate(id, call)).collect();
        let inferred: Vec<_> = infer(starts, &candidates, taken)
            .into_iter()
            .filter_map(|(agent, call)| Some((self.agents.get_key_value(agent)?.0, self.maker(call)?)))
            .collect();
        makers.extend(inferred.into_iter().map(|(agent, maker)| (agent.as_str(), (maker, Known::Inferred))));
        makers
    }

    fn reported_maker(&self, agent: &Agent) -> Option<Maker> {
        if let Some(maker) = &agent.maker {
            return Some(maker.value.clone());
        }
        let cause = agent.cause.as_ref()?.value;
        let started_by = self.calls.unordered().filter(|(_, call)| call.start == Some(cause));
        let (id, call) = started_by.min_by_key(|(id, _)| *id)?;
        Some(Maker { tool_use_id: id.clone(), agent: call.agent.clone() })
    }

    fn maker(&self, tool_use_id: &str) -> Option<Maker> {
        let call = self.calls.get(tool_use_id)?;
        Some(Maker { tool_use_id: tool_use_id.to_owned(), agent: call.agent.clone() })
    }

    /// Writes down what the kept calls tell of makers, before some of them leave: what was told must not change by that.
    pub(super) fn conclude_makers(&mut self) {
        if self.agents.is_empty() {
            return;
        }
        let makers: BTreeMap<String, (Maker, Known)> =
            self.makers().into_iter().map(|(agent, known)| (agent.to_owned(), known)).collect();
        for (id, agent) in &mut self.agents {
            match makers.get(id) {
                Some((maker, Known::Reported)) => {
                    let mark = agent.cause.as_ref().map_or(agent.first, |cause| cause.mark);
                    Latest::set_first(&mut agent.maker, mark, || maker.clone());
                }
                Some((maker, Known::Inferred)) => agent.concluded = Concluded::By(maker.clone()),
                None if agent.started.is_some() => agent.concluded = Concluded::Unknown,
                None => {}
            }
        }
    }
}

fn candidate<'a>(id: &'a str, call: &'a Call) -> Option<Candidate<'a>> {
    let denied = call.ended.as_ref().is_some_and(|ended| ended.value == Outcome::Denied);
    (makes_agents(&call.tool) && !denied).then_some(())?;
    Some(Candidate {
        tool_use_id: id,
        caller: call.agent.as_deref(),
        started: call.started?,
        ended: call.ended.as_ref().map(|ended| ended.mark),
    })
}
