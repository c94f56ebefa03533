//! Tool calls and permission requests of one session.
//!
//! The two ends of a call, and the permission request between them, come from processes that run side by side, and
//! a transcript may bring one of them days later. So every joining rule here looks at what is known of both sides and
//! gives the same answer in whichever order they came.

use super::state::{
    AGENTS_KEPT_MAX, Agent, CALLS_KEPT_ENDED_MAX, CALLS_KEPT_MAX, Call, KEPT_WITHOUT_DETAIL_MAX, Outcome,
    Phase, Ran, SIGNATURES_KEPT_MAX, Session, WAITS_KEPT_MAX, Wait,
};
use super::text::{clip, id_key};
use crate::projection::mark::keep_earlier;
use crate::projection::{Latest, Mark};

/// One end of a call, as an event tells it.
pub(super) struct Told<'a> {
    pub(super) mark: Mark,
    pub(super) agent: Option<&'a str>,
    pub(super) tool: &'a str,
    pub(super) tool_use_id: &'a str,
    /// The id of the event that started the call.
    pub(super) start: Option<[u8; 16]>,
}

impl Session {
    pub(super) fn call_started(&mut self, told: &Told<'_>, input: u64) {
        let call = self.call(told);
        call.input = input;
        if call.started.is_none() {
            call.started = Some(told.mark);
            // An end that came first could not tell how long it ran.
            if let (Some(Outcome::Completed | Outcome::Failed { .. }), None, Some(ran)) =
                (call.ended.as_ref().map(|ended| &ended.value), call.reported_ms, call.ran())
            {
                add(&mut self.counts.tool_ms_derived, ran.ms());
            }
        }
        self.answer_waits();
        self.bound_calls();
    }

    pub(super) fn call_ended(&mut self, told: &Told<'_>, outcome: Outcome, reported_ms: Option<u64>) {
        let call = self.call(told);
        if call.ended.is_some() {
            return; // The first word on a call stands.
        }
        call.ended = Some(Latest { mark: told.mark, value: outcome.clone() });
        call.reported_ms = reported_ms;
        let ran = call.ran();
        self.count_outcome(told, outcome);
        match ran {
            Some(Ran::Reported(ms)) => add(&mut self.counts.tool_ms_reported, ms),
            Some(Ran::Derived(ms)) => add(&mut self.counts.tool_ms_derived, ms),
            None => {}
        }
        self.answer_waits();
        self.bound_calls();
    }

    fn count_outcome(&mut self, told: &Told<'_>, outcome: Outcome) {
        match outcome {
            Outcome::Completed => self.counts.tools_completed += 1,
            Outcome::Denied => self.counts.tools_denied += 1,
            Outcome::Failed { signature, interrupted } => {
                self.counts.tools_failed += 1;
                self.counts.tools_interrupted += u64::from(interrupted);
                if let Some(agent) = told.agent {
                    self.agent(agent, told.mark).tools_failed += 1;
                }
                let known = self.failures.contains_key(&signature);
                if known || self.failures.len() < SIGNATURES_KEPT_MAX {
                    *self.failures.entry(signature).or_insert(0) += 1;
                } else {
                    self.failures_other += 1;
                }
            }
        }
    }

    /// The call of this id, counted when it is first heard of.
    fn call(&mut self, told: &Told<'_>) -> &mut Call {
        let key = id_key(told.tool_use_id);
        if !self.calls.contains_key(&key) {
            self.counts.tool_calls += 1;
            if let Some(agent) = told.agent {
                self.agent(agent, told.mark).tool_calls += 1;
            }
        }
        let call = self.calls.entry(key).or_insert_with(|| Call {
            tool: clip(told.tool),
            agent: told.agent.map(id_key),
            seen: told.mark,
            started: None,
            ended: None,
            reported_ms: None,
            asked: None,
            input: 0,
            start: told.start,
        });
        call.seen = call.seen.min(told.mark);
        call.start = call.start.or(told.start);
        call
    }

    pub(super) fn permission_asked(&mut self, wait: Wait) {
        self.counts.permissions_requested += 1;
        self.waits.push(wait);
        self.answer_waits();
        self.keep_waits(WAITS_KEPT_MAX);
    }

    /// Drops requests beyond `kept`: overtaken ones first, then the oldest.
    fn keep_waits(&mut self, kept: usize) {
        let settled = self.settled;
        let open = |wait: &Wait| settled.is_none_or(|settled| settled < wait.asked);
        while self.waits.len() > kept {
            self.waits.sort_by_key(|wait| (open(wait), wait.asked));
            let leaving = self.waits.remove(0);
            self.counts.waits_lost += u64::from(open(&leaving));
        }
    }

    /// Joins requests to the calls that they were asked for. A request is answered once its call has ended: that the
    /// user said yes is told by nobody until then.
    fn answer_waits(&mut self) {
        let calls = &mut self.calls;
        self.waits.retain(|wait| {
            let answering = match &wait.tool_use_id {
                Some(id) => calls.get_mut(id),
                None => calls
                    .values_mut()
                    .filter(|call| {
                        call.tool == wait.tool && call.agent == wait.agent && call.input == wait.input
                    })
                    .filter(|call| call.ended.as_ref().is_none_or(|ended| wait.asked < ended.mark))
                    .min_by_key(|call| call.seen),
            };
            let Some(call) = answering else { return true };
            let answered = call.ended.as_ref().is_some_and(|ended| wait.asked < ended.mark);
            if answered {
                keep_earlier(&mut call.asked, wait.asked);
            }
            !answered
        });
    }

    pub(super) fn agent(&mut self, id: &str, mark: Mark) -> &mut Agent {
        let key = id_key(id);
        if !self.agents.contains_key(&key) {
            self.counts.agents += 1;
            self.keep_agents(AGENTS_KEPT_MAX - 1);
        }
        let agent = self.agents.entry(key).or_insert_with(|| Agent::new(mark));
        agent.first = agent.first.min(mark);
        agent.last = agent.last.max(mark);
        agent
    }

    /// Drops subagents beyond `kept`: stopped ones first, then those seen least recently.
    fn keep_agents(&mut self, kept: usize) {
        while self.agents.len() > kept {
            let quietest = self.agents.iter().min_by_key(|(_, agent)| (agent.is_open(), agent.last));
            let Some(leaving) = quietest.map(|(id, _)| id.clone()) else { break };
            self.agents.remove(&leaving);
            self.counts.subagents_lost += 1;
        }
    }

    /// Leaves little more than counts of a session that others have pushed out of the recent ones.
    pub(super) fn drop_detail(&mut self) {
        self.keep_calls(KEPT_WITHOUT_DETAIL_MAX);
        self.keep_waits(KEPT_WITHOUT_DETAIL_MAX);
        self.keep_agents(KEPT_WITHOUT_DETAIL_MAX);
    }

    fn bound_calls(&mut self) {
        let kept = if self.phase() == Phase::Ended { CALLS_KEPT_ENDED_MAX } else { CALLS_KEPT_MAX };
        self.keep_calls(kept);
    }

    /// Drops the detail of all but `kept` calls: whole ones first, then those without a start, then open ones; of
    /// each the oldest first. A quarter more than needed leaves, so that this is rare.
    pub(super) fn keep_calls(&mut self, kept: usize) {
        if self.calls.len() <= kept {
            return;
        }
        self.conclude_makers();
        let mut order: Vec<_> = self
            .calls
            .iter()
            .map(|(id, call)| ((!call.is_whole(), call.ended.is_none(), call.seen), id.clone()))
            .collect();
        order.sort_unstable();
        for (_, id) in order.into_iter().take(self.calls.len() - kept + kept / 4) {
            let left = self.calls.remove(&id);
            self.counts.tools_lost += u64::from(left.is_some_and(|call| call.ended.is_none()));
        }
    }
}

fn add(total: &mut u64, ms: u64) {
    *total = total.saturating_add(ms);
}
