//! What depends on the moment and the place of looking, beside what the events say.
//!
//! Two things are concluded here and never in the state. A session that is not over is *presumed* dead when the agent's own
//! process is gone from this machine; where that cannot be told (the agent named no process, or it ran elsewhere), when it has given
//! no sign for [`SILENCE_PRESUMED_DEAD`]. And the cost of tokens, which follows from the prices that the user has configured.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::state::{ModelUsage, Phase, Process, Session};
use super::view::{AgentView, SessionView};
use crate::clock::ProcessStamp;
use crate::config::prices::{Price, Prices};
use crate::event::Timestamp;

/// After so long without a sign an unfinished session is presumed dead: its end was never reported.
pub const SILENCE_PRESUMED_DEAD: Duration = Duration::from_hours(12);

/// From where a session is looked at.
pub struct Looking<'a> {
    /// When.
    pub now: Timestamp,
    /// On which machine.
    pub host: &'a str,
    /// Whether that very process lives on it.
    pub lives: fn(ProcessStamp) -> bool,
    /// What tokens cost.
    pub prices: &'a Prices,
}

impl<'a> Looking<'a> {
    /// From this machine as it is now.
    pub fn from_here(now: Timestamp, host: &'a str, prices: &'a Prices) -> Looking<'a> {
        Looking { now, host, lives: ProcessStamp::is_alive, prices }
    }

    /// Why nobody will hear of the session again, as far as can be told; none where it ended, or lives.
    pub fn presumes(&self, session: &SessionView) -> Option<Presumed> {
        if session.state == Phase::Ended {
            return None;
        }
        self.presumes_of(session.process.as_ref(), session.last_seen.time)
    }

    /// The same of an agent that has not ended, by its process and its last sign.
    pub(in crate::projection) fn presumes_of(
        &self,
        process: Option<&Process>,
        last: Timestamp,
    ) -> Option<Presumed> {
        if let Some(stamp) = process.and_then(|process| process.on(self.host)) {
            return (!(self.lives)(stamp)).then_some(Presumed::ProcessGone);
        }
        let silence = i128::from(self.now.as_micros()) - i128::from(last.as_micros());
        let is_long =
            u128::try_from(silence).is_ok_and(|silence| silence >= SILENCE_PRESUMED_DEAD.as_micros());
        is_long.then_some(Presumed::Silence)
    }
}

/// From what a session is presumed dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presumed {
    /// The agent's process is gone.
    ProcessGone,
    /// It has given no sign for long.
    Silence,
}

/// What depends on the moment of looking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Viewer {
    /// The moment.
    pub now: Timestamp,
    /// Shown sessions that are presumed dead: inferred, not reported.
    pub presumed_dead: Vec<String>,
    /// Of these, the ones whose agent's process is gone; the others have been silent for long.
    pub process_gone: Vec<String>,
    /// Subagents of a session shown by itself that have not stopped, and cannot run any more if it is dead: inferred as that is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents_presumed_dead: Vec<String>,
    /// What the shown sessions cost, where the user has configured prices.
    pub costs: Vec<Cost>,
}

impl Viewer {
    pub(super) fn of<'s>(
        looking: &Looking<'_>,
        shown: impl IntoIterator<Item = (&'s SessionView, &'s Session)>,
    ) -> Viewer {
        let mut viewer = Viewer {
            now: looking.now,
            presumed_dead: Vec::new(),
            process_gone: Vec::new(),
            agents_presumed_dead: Vec::new(),
            costs: Vec::new(),
        };
        for (view, session) in shown {
            let presumed = looking.presumes(view);
            viewer.presumed_dead.extend(presumed.map(|_| view.id.clone()));
            viewer
                .process_gone
                .extend(presumed.filter(|p| *p == Presumed::ProcessGone).map(|_| view.id.clone()));
            viewer.costs.extend(Cost::of(&view.id, session, looking.prices));
        }
        viewer
    }

    /// The same of one session and its subagents.
    pub(super) fn of_one(
        looking: &Looking<'_>,
        view: &SessionView,
        session: &Session,
        agents: &[AgentView],
    ) -> Viewer {
        let mut viewer = Viewer::of(looking, [(view, session)]);
        if viewer.presumes(&view.id).is_some() {
            let open = agents.iter().filter(|agent| agent.open);
            viewer.agents_presumed_dead.extend(open.map(|agent| agent.agent_id.clone()));
        }
        viewer
    }

    /// Whether a subagent of the shown session is presumed dead with it.
    pub fn presumes_agent(&self, id: &str) -> bool {
        self.agents_presumed_dead.iter().any(|dead| dead == id)
    }

    /// Why a shown session is presumed dead, if it is.
    pub fn presumes(&self, id: &str) -> Option<Presumed> {
        if self.process_gone.iter().any(|gone| gone == id) {
            return Some(Presumed::ProcessGone);
        }
        self.presumed_dead.iter().any(|dead| dead == id).then_some(Presumed::Silence)
    }
}

/// What a session's tokens cost, derived from the user's prices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// The session.
    pub session: String,
    /// Millionths of a US dollar; null where a part of it is not known.
    pub usd_micros: Option<u64>,
    /// `derived` from tokens as reported and prices as configured, or `unknown`.
    pub origin: String,
    /// Models with tokens for which the user gave no price.
    pub unpriced: Vec<String>,
    /// Messages that reported no tokens.
    pub messages_without_usage: u64,
}

impl Cost {
    /// The cost of a session; none where it has no tokens, or the user no prices.
    fn of(id: &str, session: &Session, prices: &Prices) -> Option<Cost> {
        if prices.is_empty() || session.tokens_known().is_none() {
            return None;
        }
        let (mut sum, mut unpriced) = (0_u128, Vec::new());
        for usage in session.usage.values().filter(|usage| usage.tokens.total() > 0) {
            match prices.of(&usage.model).and_then(|price| cost(usage, price)) {
                Some(micros) => sum += micros,
                None => unpriced.push(usage.model.clone()),
            }
        }
        let messages_without_usage = session.counts.messages - session.counts.messages_with_usage;
        let is_whole = unpriced.is_empty() && messages_without_usage == 0;
        let usd_micros = u64::try_from(sum / PER_TOKENS).ok().filter(|_| is_whole);
        let origin = if usd_micros.is_some() { "derived" } else { "unknown" }.to_owned();
        Some(Cost { session: id.to_owned(), usd_micros, origin, unpriced, messages_without_usage })
    }
}

/// Prices are of so many tokens.
const PER_TOKENS: u128 = 1_000_000;

/// Millionths of a dollar, times [`PER_TOKENS`]; none where tokens of a sort have no price.
fn cost(usage: &ModelUsage, price: &Price) -> Option<u128> {
    let part = |tokens: u64, price: Option<u64>| match (tokens, price) {
        (0, _) => Some(0),
        (tokens, price) => Some(u128::from(tokens) * u128::from(price?)),
    };
    let tokens = &usage.tokens;
    [
        part(tokens.input, Some(price.input)),
        part(tokens.output, Some(price.output)),
        part(tokens.cache_read, price.cache_read),
        part(tokens.cache_creation, price.cache_write),
    ]
    .into_iter()
    .sum()
}
