//! Tool calls and permission requests of one session.
//!
//! The two ends of a call, and the permission request between them, come from processes that run side by side, and
//! a transcript may bring one of them days later. So every joining rule here looks at what is known of both sides and
//! gives the same answer in whichever order they came.

use super::files::{Change, Touch};
use super::state::{
    AGENTS_KEPT_MAX, Agent, CALLS_KEPT_ENDED_MAX, CALLS_KEPT_MAX, Call, FILES_KEPT_MAX, Failure,
    KEPT_WITHOUT_DETAIL_MAX, Outcome, Phase, SIGNATURES_KEPT_MAX, Session, WAITS_KEPT_MAX, Wait,
};
use super::text::{bounded_id, clip, fingerprint, id_key, tool_name};
use super::times::Sums;
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

/// How a call ended, as an event tells it.
pub(super) struct Ending {
    pub(super) outcome: Outcome,
    pub(super) reported_ms: Option<u64>,
    /// What it changed, of a call that wrote a file and completed.
    pub(super) change: Option<Change>,
    /// The error of a failure.
    pub(super) error: Option<String>,
}

impl Ending {
    pub(super) fn of(outcome: Outcome, reported_ms: Option<u64>) -> Ending {
        Ending { outcome, reported_ms, change: None, error: None }
    }
}

impl Session {
    pub(super) fn call_started(&mut self, told: &Told<'_>, input: u64, path: Option<String>) {
        self.change_call(told, |call| {
            call.input = input;
            call.names_file(path);
            if call.started.is_none() {
                call.started = Some(told.mark);
            }
        });
        self.answer_waits();
        self.bound_calls();
    }

    pub(super) fn call_ended(&mut self, told: &Told<'_>, ending: Ending) {
        let Ending { outcome, reported_ms, change, error } = ending;
        let is_first = self.change_call(told, |call| {
            if call.ended.is_some() {
                return false; // The first word on a call stands.
            }
            call.ended = Some(Latest { mark: told.mark, value: outcome.clone() });
            call.reported_ms = reported_ms;
            if let Some(change) = change {
                call.changed_file(change);
            }
            true
        });
        if !is_first {
            return;
        }
        self.count_outcome(told, outcome, error.as_deref().unwrap_or_default());
        self.answer_waits();
        self.bound_calls();
    }

    /// Changes what is known of a call, and with it what follows: the sums of times, and the file that it worked on.
    fn change_call<T>(&mut self, told: &Told<'_>, change: impl FnOnce(&mut Call) -> T) -> T {
        let id = bounded_id(told.tool_use_id);
        let Session { calls, files, .. } = self;
        let tell = |call: &mut Call| {
            call.seen = call.seen.min(told.mark);
            call.start = call.start.or(told.start);
            let before = Sums::of(call);
            let changed = change(call);
            let after = Sums::of(call);
            if let Some((path, mark, deed, lines)) = call.touched() {
                files.take(path, mark, deed, lines);
                files.keep(FILES_KEPT_MAX);
            }
            (before, after, changed)
        };
        let (is_new, (before, after, changed)) = match calls.get_mut(&id) {
            Some(call) => (false, tell(call)),
            None => (true, tell(calls.put(id.into_owned(), Call::new(told)))),
        };
        self.sum(before, after);
        if is_new {
            self.counts.tool_calls += 1;
            if let Some(agent) = told.agent {
                self.agent(agent, told.mark).tool_calls += 1;
            }
        }
        changed
    }

    fn sum(&mut self, before: Sums, after: Sums) {
        let swap = |held: &mut u64, before: u64, after: u64| {
            *held = held.saturating_sub(before).saturating_add(after);
        };
        swap(&mut self.counts.tool_ms_reported, before.reported, after.reported);
        swap(&mut self.counts.tool_ms_derived, before.derived, after.derived);
        swap(&mut self.counts.wait_ms_derived, before.wait, after.wait);
        swap(&mut self.counts.hook_ms_derived, before.hook, after.hook);
    }

    fn count_outcome(&mut self, told: &Told<'_>, outcome: Outcome, error: &str) {
        match outcome {
            Outcome::Completed => self.counts.tools_completed += 1,
            Outcome::Denied => self.counts.tools_denied += 1,
            Outcome::Failed { signature, interrupted } => {
                self.counts.tools_failed += 1;
                self.counts.tools_interrupted += u64::from(interrupted);
                if let Some(agent) = told.agent {
                    self.agent(agent, told.mark).tools_failed += 1;
                }
                self.count_failure(told, signature, error);
            }
        }
    }

    fn count_failure(&mut self, told: &Told<'_>, signature: String, error: &str) {
        let tool = clip(told.tool);
        let key = failure_key(&tool, &signature);
        if !self.failures.contains_key(&key) && self.failures.len() >= SIGNATURES_KEPT_MAX {
            self.failures_other += 1;
            return;
        }
        let example = || Latest { mark: told.mark, value: clip(error) };
        let failure = self.failures.entry(key).or_insert_with(|| Failure {
            tool,
            signature,
            count: 0,
            first: example(),
            last: told.mark,
        });
        failure.count += 1;
        failure.last = failure.last.max(told.mark);
        if told.mark < failure.first.mark {
            failure.first = example();
        }
    }

    /// The user is asked something.
    pub(super) fn asked(&mut self, wait: Wait) {
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
        if self.waits.is_empty() {
            return;
        }
        let Session { calls, waits, .. } = self;
        let (mut before, mut after) = (Sums::default(), Sums::default());
        waits.retain(|wait| {
            let answering = match &wait.tool_use_id {
                Some(id) => calls.get_mut(id),
                None => calls
                    .iter_mut()
                    .map(|(_, call)| call)
                    .filter(|call| {
                        call.input == wait.input && call.tool == wait.tool && call.agent == wait.agent
                    })
                    .filter(|call| call.ended.as_ref().is_none_or(|ended| wait.asked < ended.mark))
                    .min_by_key(|call| call.seen),
            };
            let Some(call) = answering else { return true };
            let answered = call.ended.as_ref().is_some_and(|ended| wait.asked < ended.mark);
            if answered {
                before.add(Sums::of(call));
                keep_earlier(&mut call.asked, wait.asked);
                after.add(Sums::of(call));
            }
            !answered
        });
        self.sum(before, after);
    }

    pub(super) fn agent(&mut self, id: &str, mark: Mark) -> &mut Agent {
        let id = bounded_id(id);
        if !self.agents.contains_key(&*id) {
            self.counts.agents += 1;
            self.keep_agents(AGENTS_KEPT_MAX - 1);
            self.agents.insert(id.clone().into_owned(), Agent::new(fingerprint(&id), mark));
        }
        #[expect(clippy::expect_used, reason = "it was put in if it was not there")]
        let agent = self.agents.get_mut(&*id).expect("an agent that was put in");
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
        if self.calls.unordered().any(|(_, call)| call.is_whole()) {
            self.conclude_makers();
            self.calls.retain(|_, call| !call.is_whole());
        }
        self.keep_calls(KEPT_WITHOUT_DETAIL_MAX);
        self.keep_waits(KEPT_WITHOUT_DETAIL_MAX);
        self.keep_agents(KEPT_WITHOUT_DETAIL_MAX);
        self.files.keep(KEPT_WITHOUT_DETAIL_MAX);
    }

    pub(super) fn bound_calls(&mut self) {
        if self.calls.len() <= CALLS_KEPT_ENDED_MAX {
            return;
        }
        let is_over = self.phase() == Phase::Ended && !self.keeps_calls;
        self.keep_calls(if is_over { CALLS_KEPT_ENDED_MAX } else { CALLS_KEPT_MAX });
    }

    /// Whether calls, files or subagents have left that a session may keep.
    pub(super) fn lacks_detail(&self) -> bool {
        // When calls have to leave, a quarter of them may.
        const CALLS_MIN: u64 = (CALLS_KEPT_MAX - CALLS_KEPT_MAX / 4) as u64;
        let lacks = |kept: usize, counted: u64, most: u64| (kept as u64) < counted.min(most);
        let (files, agents) = (&self.files, &self.counts.agents);
        lacks(self.calls.len(), self.counts.tool_calls, CALLS_MIN)
            || lacks(self.agents.len(), *agents, AGENTS_KEPT_MAX as u64 - 1)
            || (files.lost > 0 && files.by_path.len() < FILES_KEPT_MAX)
    }

    /// Adds the detail of the same session, folded again from what of it can still be read. What was counted stays as it is, but for
    /// how much is not here.
    pub(super) fn add_detail(&mut self, read: Session) {
        let is_whole = read.events == self.events;
        for (id, call) in read.calls {
            self.calls.insert(id, call);
        }
        for (id, agent) in read.agents {
            match self.agents.get_mut(&id) {
                // What was folded as it came knows which messages another session had already counted.
                Some(kept) if kept.first <= agent.first => {}
                Some(kept) => *kept = agent,
                None => _ = self.agents.insert(id, agent),
            }
        }
        let kept = std::mem::replace(&mut self.files.by_path, read.files.by_path);
        if is_whole {
            (self.files.lost, self.counts.subagents_lost) = (read.files.lost, read.counts.subagents_lost);
            return;
        }
        let known = kept.len() as u64 + self.files.lost;
        for (path, file) in kept {
            self.files.by_path.insert(path, file);
        }
        self.files.lost = known.saturating_sub(self.files.by_path.len() as u64).max(read.files.lost);
    }

    /// Drops the detail of all but `kept` calls: whole ones first, then those without a start, then open ones; of
    /// each the oldest first. A quarter more than needed leaves, so that this is rare.
    pub(super) fn keep_calls(&mut self, kept: usize) {
        if self.calls.len() <= kept {
            return;
        }
        self.conclude_makers();
        // No event is the first one of two calls, so no two of these are the same.
        let turn = |call: &Call| (!call.is_whole(), call.ended.is_none(), call.seen);
        let mut turns: Vec<_> = self.calls.unordered().map(|(_, call)| turn(call)).collect();
        let leaving = turns.len() - kept + kept / 4;
        let first_to_stay = *turns.select_nth_unstable(leaving).1;
        let lost = &mut self.counts.tools_lost;
        self.calls.retain(|_, call| {
            let stays = turn(call) >= first_to_stay;
            *lost += u64::from(!stays && call.ended.is_none());
            stays
        });
    }
}

impl Call {
    /// One that was just heard of.
    fn new(told: &Told<'_>) -> Call {
        Call {
            tool: tool_name(told.tool),
            agent: told.agent.map(id_key),
            seen: told.mark,
            started: None,
            ended: None,
            reported_ms: None,
            asked: None,
            touch: Touch::default(),
            input: 0,
            start: told.start,
        }
    }
}

/// The name under which failures of a tool with one signature are counted: the same on every machine and every day.
pub(super) fn failure_key(tool: &str, signature: &str) -> u64 {
    fingerprint(&format!("{tool}\0{signature}"))
}
