//! What the sessions projection says, on small streams written by hand and on random ones.

use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::makers::Known;
use super::state::*;
use super::timeline::Builder;
use super::view::{self, SessionView, resolve};
use super::viewer::{Looking, SILENCE_PRESUMED_DEAD};
use super::*;
use crate::config::prices::Prices;
use crate::event::{Event, Payload, Seq, Source, Timestamp, payload};
use crate::projection::{Fold, snapshot};

/// Builds a stream: each event gets the next seq; time is in milliseconds.
#[derive(Default)]
pub(crate) struct Stream {
    pub(crate) events: Vec<StoredEvent>,
}

impl Stream {
    pub(super) fn push(
        &mut self,
        ms: i64,
        session: &str,
        agent: Option<&str>,
        payload: impl Into<Payload>,
    ) -> &mut Event {
        let seq = self.events.len() as u64 + 1;
        let time = Timestamp::from_micros(ms * 1_000);
        let mut event = Event::new(Uuid::from_u128(seq.into()), time, session, Source::default(), payload);
        event.session = Some(session.to_owned());
        event.agent = agent.map(str::to_owned);
        self.events.push(StoredEvent { seq: Seq::new(seq), recorded: time, event });
        &mut self.events.last_mut().unwrap().event
    }

    pub(super) fn main(&mut self, ms: i64, payload: impl Into<Payload>) -> &mut Self {
        self.push(ms, "s", None, payload);
        self
    }

    pub(super) fn fold(&self) -> Fold<SessionsProjection> {
        let mut fold = Fold::default();
        self.events.iter().for_each(|event| fold.apply(event));
        fold
    }

    pub(super) fn session(&self) -> Session {
        self.fold().state().recent["s"].clone()
    }

    pub(super) fn phase(&self) -> Phase {
        self.session().phase()
    }
}

pub(super) fn started(source: &str) -> Payload {
    payload::SessionStarted {
        source: source.into(),
        cwd: "/code/parcels".into(),
        transcript_path: None,
        model: None,
        agent_pid: None,
        agent_start_ticks: None,
    }
    .into()
}

pub(super) fn prompt(text: &str) -> Payload {
    payload::PromptSubmitted { prompt: text.into(), prompt_id: None }.into()
}

pub(super) fn call(id: &str) -> Payload {
    let input = json!({"of": id});
    payload::ToolCallStarted { tool: "Bash".into(), tool_use_id: id.into(), input }.into()
}

pub(super) fn done(id: &str, duration_ms: Option<u64>) -> Payload {
    let output = json!({"stdout": "ok"});
    payload::ToolCallCompleted { tool: "Bash".into(), tool_use_id: id.into(), output, duration_ms }.into()
}

pub(super) fn task(id: &str) -> Payload {
    let input = json!({"of": id});
    payload::ToolCallStarted { tool: "Task".into(), tool_use_id: id.into(), input }.into()
}

fn task_done(id: &str, output: Value) -> Payload {
    let (tool, tool_use_id) = ("Task".into(), id.into());
    payload::ToolCallCompleted { tool, tool_use_id, output, duration_ms: None }.into()
}

/// A look from a machine on which every process is gone but that of id 1.
pub(crate) fn looking(now: Timestamp) -> Looking<'static> {
    static NO_PRICES: std::sync::LazyLock<Prices> = std::sync::LazyLock::new(Prices::default);
    Looking { now, host: "here", lives: |process| process.pid == 1, prices: &NO_PRICES }
}

/// Subagent, its call, its parent, how that is known.
fn joined(stream: &Stream) -> Value {
    let detail = view::detail("s", &stream.session(), Seq::new(99), &looking(Timestamp::EPOCH));
    let agents = serde_json::to_value(detail.agents).unwrap();
    let one = |agent: &Value| {
        json!([agent["agent_id"], agent["tool_use_id"], agent["parent"], agent["parent_origin"]])
    };
    agents.as_array().unwrap().iter().map(one).collect()
}

pub(super) fn failed(id: &str, error: &str) -> Payload {
    let (error, interrupted, duration_ms) = (error.into(), false, None);
    payload::ToolCallFailed { tool: "Bash".into(), tool_use_id: id.into(), error, interrupted, duration_ms }
        .into()
}

pub(super) fn asked(id: &str) -> Payload {
    let input = json!({"of": id});
    payload::PermissionRequested { tool: "Bash".into(), tool_use_id: None, input }.into()
}

pub(super) fn said(message_id: &str, output_tokens: u64) -> Payload {
    let usage =
        payload::Usage { input_tokens: 10, output_tokens, cache_read_tokens: 100, cache_creation_tokens: 1 };
    let (model, text) = ("claude-opus-4".into(), "words".into());
    payload::AgentMessage { model, text, usage: Some(usage), message_id: message_id.into() }.into()
}

pub(super) fn turn() -> Payload {
    payload::TurnCompleted { last_message: None }.into()
}

pub(super) fn ended(reason: &str) -> Payload {
    payload::SessionEnded { reason: reason.into(), inferred: false }.into()
}

pub(super) fn subagent(id: &str, starts: bool) -> Payload {
    let (agent_id, agent_type) = (id.to_owned(), "Explore".to_owned());
    if starts {
        payload::SubagentStarted { agent_id, agent_type }.into()
    } else {
        payload::SubagentStopped { agent_id, agent_type, last_message: None }.into()
    }
}

#[test]
fn a_session_works_waits_idles_and_ends() {
    let mut stream = Stream::default();
    assert_eq!(stream.main(0, started("startup")).phase(), Phase::Idle);
    assert_eq!(stream.main(1, prompt("why?")).phase(), Phase::Working);
    assert_eq!(stream.main(2, call("t1")).phase(), Phase::Working);
    assert_eq!(stream.main(3, asked("t1")).phase(), Phase::Waiting);
    assert_eq!(stream.main(9, done("t1", Some(2))).phase(), Phase::Working);
    assert_eq!(stream.main(10, turn()).phase(), Phase::Idle);
    assert_eq!(stream.main(11, ended("logout")).phase(), Phase::Ended);
    let session = stream.session();
    assert_eq!(session.ended().unwrap().value, End { reason: "logout".into(), inferred: false });
    assert_eq!((session.counts.prompts, session.counts.turns, session.counts.tool_calls), (1, 1, 1));
    assert_eq!(session.cwd.unwrap().value, "/code/parcels");
}

#[test]
fn another_call_that_ends_does_not_answer_an_open_question() {
    let mut stream = Stream::default();
    stream.main(0, prompt("p")).main(1, call("t1")).main(1, call("t2")).main(2, asked("t1"));
    assert_eq!(stream.main(3, done("t2", None)).phase(), Phase::Waiting);
    assert_eq!(stream.main(4, failed("t1", "no")).phase(), Phase::Working);
}

#[test]
fn a_prompt_or_the_end_of_the_turn_overtakes_an_open_question() {
    let mut stream = Stream::default();
    stream.main(0, prompt("p")).main(1, call("t1")).main(2, asked("t1"));
    assert_eq!(stream.phase(), Phase::Waiting);
    assert_eq!(stream.main(3, turn()).phase(), Phase::Idle);
    assert_eq!(
        stream.session().open_calls().count(),
        0,
        "what never ended does not run on behind an idle prompt"
    );
}

#[test]
fn a_question_that_arrives_after_its_answer_is_not_open() {
    let mut stream = Stream::default();
    stream.main(0, call("t1")).main(9, done("t1", None)).main(4, asked("t1"));
    assert_eq!(stream.phase(), Phase::Working);
    assert_eq!(stream.session().calls["t1"].asked.unwrap().time(), Timestamp::from_micros(4_000));
}

#[test]
fn a_notification_that_asks_is_waiting_and_keeps_the_question() {
    let mut stream = Stream::default();
    let asks = payload::NotificationRaised {
        message: "Claude needs your permission to use Bash".into(),
        notification_type: "permission_prompt".into(),
        title: None,
    };
    stream.main(0, prompt("p")).main(1, asks);
    let view = SessionView::of("s", &stream.session());
    assert_eq!(view.state, Phase::Waiting);
    assert_eq!(view.waiting_on.unwrap().question.unwrap(), "Claude needs your permission to use Bash");
}

#[test]
fn a_younger_event_reopens_an_ended_session_and_an_older_one_does_not() {
    let mut stream = Stream::default();
    stream.main(0, started("startup")).main(10, ended("other"));
    assert_eq!(stream.main(5, said("m1", 1)).phase(), Phase::Ended, "an imported line from before the end");
    assert_eq!(stream.main(11, said("m2", 1)).phase(), Phase::Working);
    assert!(stream.session().ended().is_none());
    stream.main(12, ended("logout"));
    assert_eq!(stream.session().ended().unwrap().value.reason, "logout");
    let hook = payload::AgentEvent { hook: "CwdChanged".into(), data: json!({}) };
    assert_eq!(stream.main(13, hook).phase(), Phase::Idle);
}

#[test]
fn our_own_upkeep_is_no_sign_of_the_agent() {
    let mut stream = Stream::default();
    let imported = payload::TranscriptImported {
        path: "/t".into(),
        inode: 1,
        bytes: 2,
        last_uuid: "u".into(),
        added: 3,
    };
    stream.main(0, started("startup")).main(1, ended("other")).main(2, imported);
    assert_eq!(stream.phase(), Phase::Ended);
    assert_eq!(stream.session().events, 3);
    assert_eq!(stream.session().last.time(), Timestamp::from_micros(1_000), "an import is no sign of life");
    stream.events.reverse();
    for (event, seq) in stream.events.iter_mut().zip(1..) {
        event.seq = Seq::new(seq);
    }
    let session = stream.session();
    assert_eq!(
        (session.first.time(), session.last.time()),
        (Timestamp::EPOCH, Timestamp::from_micros(1_000))
    );
}

#[test]
fn durations_are_reported_or_derived_and_never_both() {
    let mut stream = Stream::default();
    stream.main(0, call("a")).main(500, done("a", Some(120)));
    stream.main(1_000, call("b")).main(1_300, done("b", None));
    stream.main(2_400, done("c", None)).main(2_000, call("c")); // the end arrives first
    stream.main(3_000, done("d", None)); // its start never comes
    let session = stream.session();
    assert_eq!((session.counts.tool_ms_reported, session.counts.tool_ms_derived), (120, 300 + 400));
    let ran = |id: &str| session.calls[id].ran();
    assert_eq!((ran("a"), ran("b")), (Some(Ran::Reported(120)), Some(Ran::Derived(300))));
    assert_eq!((ran("c"), ran("d")), (Some(Ran::Derived(400)), None));
    assert_eq!((session.counts.tool_calls, session.counts.tools_completed), (4, 4));
}

#[test]
fn tokens_of_a_message_count_once_and_as_its_last_line_says() {
    let mut stream = Stream::default();
    stream.main(0, prompt("p"));
    assert_eq!(stream.session().tokens_known(), None, "unknown is not zero");
    stream.main(1, said("m1", 1)).main(3, said("m1", 90)).main(2, said("m1", 40)).main(4, said("m2", 5));
    let session = stream.session();
    let tokens = Tokens { input: 20, output: 95, cache_read: 200, cache_creation: 2 };
    assert_eq!((session.tokens_known(), session.counts.messages), (Some(tokens), 2));
    stream.push(9, "fork", None, said("m2", 5));
    let fold = stream.fold();
    let fork = &fold.state().recent["fork"];
    assert_eq!((fork.tokens_known(), fork.counts.messages_copied), (None, 1));
}

#[test]
fn a_subagent_is_counted_apart_and_does_not_decide() {
    let mut stream = Stream::default();
    stream.main(0, prompt("p")).main(1, call("task"));
    let maker = stream.events.last().unwrap().event.id;
    stream.push(2, "s", Some("a1"), subagent("a1", true)).causation = Some(maker);
    stream.push(3, "s", Some("a1"), prompt("look"));
    stream.push(4, "s", Some("a1"), call("t1"));
    stream.push(5, "s", Some("a1"), failed("t1", "Exit code 1"));
    stream.push(6, "s", Some("a1"), said("m1", 7));
    stream.main(7, turn());
    stream.push(8, "s", Some("a1"), call("t2"));
    let session = stream.session();
    assert_eq!(session.phase(), Phase::Idle);
    assert_eq!((session.counts.prompts, session.counts.tool_calls, session.counts.tools_failed), (1, 3, 1));
    let agent = &session.agents["a1"];
    assert_eq!((agent.prompts, agent.tool_calls, agent.tools_failed, agent.tokens.output), (1, 2, 1, 7));
    assert!(agent.is_open());
    let (maker, known) = &session.makers()["a1"];
    assert_eq!((maker.tool_use_id.as_str(), *known), ("task", Known::Reported));
    assert_eq!(session.open_calls().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["t2"]);
    let failures: Vec<_> =
        session.failures.values().map(|f| (f.tool.as_str(), f.signature.as_str(), f.count)).collect();
    assert_eq!(failures, [("Bash", "Exit code #", 1)]);
    stream.push(9, "s", Some("a1"), subagent("a1", false));
    assert_eq!(stream.session().open_calls().count(), 0);
}

#[test]
fn hooks_alone_join_a_subagent_to_the_call_that_names_it() {
    let mut stream = Stream::default();
    stream.main(0, task("one")).main(1, task("two"));
    stream.push(2, "s", Some("a1"), subagent("a1", true));
    stream.push(3, "s", Some("a2"), subagent("a2", true));
    assert_eq!(
        joined(&stream),
        json!([["a1", null, null, null], ["a2", null, null, null]]),
        "either may be either"
    );
    stream.push(4, "s", Some("a2"), task("three"));
    stream.push(5, "s", Some("a3"), subagent("a3", true));
    stream.push(6, "s", Some("a2"), task_done("three", json!({"agentId": "a3", "content": []})));
    stream.main(7, task_done("one", json!({"agentId": "a2"})));
    assert_eq!(
        joined(&stream),
        json!([
            ["a1", "two", null, "inferred"],
            ["a2", "one", null, "reported"],
            ["a3", "three", "a2", "reported"]
        ])
    );
}

#[test]
fn a_subagent_is_inferred_to_be_of_the_one_call_that_can_have_made_it() {
    let mut stream = Stream::default();
    stream.push(0, "s", Some("a0"), subagent("a0", true));
    stream.main(1, task("one")).main(1, call("other"));
    stream.push(2, "s", Some("a1"), subagent("a1", true));
    stream.push(3, "s", Some("a1"), task("two"));
    stream.push(4, "s", Some("a2"), subagent("a2", true));
    stream.push(5, "s", Some("a3"), subagent("a3", true));
    let expected = json!([
        ["a0", null, null, null],
        ["a1", "one", null, "inferred"],
        ["a2", "two", "a1", "inferred"],
        ["a3", null, null, null],
    ]);
    assert_eq!(joined(&stream), expected);
    // What was concluded stays when the calls have left.
    stream.main(6, task_done("one", json!("no object"))).push(
        6,
        "s",
        Some("a1"),
        task_done("two", json!([1])),
    );
    for n in 0..CALLS_KEPT_MAX * 2 {
        let ms = 10 + i64::try_from(n).unwrap();
        stream.main(ms, call(&format!("t{n}"))).main(ms, done(&format!("t{n}"), None));
    }
    assert!(!stream.session().calls.contains_key("one") && !stream.session().calls.contains_key("two"));
    assert_eq!(joined(&stream), expected);
    assert_eq!(
        stream.fold().state().unread,
        0,
        "an output of another shape is no payload that cannot be read"
    );
}

#[test]
fn subagents_beyond_the_bound_are_counted() {
    let mut stream = Stream::default();
    for n in 0..AGENTS_KEPT_MAX + 3 {
        let id = format!("a{n}");
        stream.push(i64::try_from(n).unwrap(), "s", Some(&id), subagent(&id, true));
    }
    let session = stream.session();
    assert_eq!(session.agents.len(), AGENTS_KEPT_MAX);
    assert_eq!((session.counts.agents, session.counts.subagents_lost), (AGENTS_KEPT_MAX as u64 + 3, 3));
}

#[test]
fn what_cannot_be_read_is_counted_and_harms_nothing() {
    let mut stream = Stream::default();
    stream.main(0, call("t1")).main(1, call("t2"));
    stream.events[1].event.payload = crate::event::PayloadText::empty();
    let fold = stream.fold();
    assert_eq!(fold.state().unread, 1);
    let session = &fold.state().recent["s"];
    assert_eq!((session.events, session.counts.tool_calls), (2, 1));
}

#[test]
fn detail_is_bounded_and_counts_are_not() {
    let mut stream = Stream::default();
    let calls = CALLS_KEPT_MAX * 3;
    for n in 0..calls {
        let ms = i64::try_from(n).unwrap() * 10;
        stream.main(ms, call(&format!("t{n}"))).main(ms + 5, done(&format!("t{n}"), None));
    }
    stream.main(1_000_000, call("open"));
    let session = stream.session();
    assert!(session.calls.len() <= CALLS_KEPT_MAX && session.calls.contains_key("open"));
    assert_eq!(session.counts.tool_calls, calls as u64 + 1);
    assert_eq!(session.counts.tool_ms_derived, 5 * calls as u64);
    stream.main(2_000_000, ended("other"));
    let session = stream.session();
    assert!(session.calls.len() <= CALLS_KEPT_ENDED_MAX);
    assert_eq!((session.counts.tool_calls, session.counts.tools_lost), (calls as u64 + 1, 0));
}

#[test]
fn sessions_beyond_the_bound_leave_and_are_told_of_and_come_back_marked() {
    let mut stream = Stream::default();
    let name = |n: usize| format!("session-{n:06}");
    for n in 0..SESSIONS_KEPT_MAX + 3 {
        stream.push(1, &name(n), None, prompt("p"));
    }
    let fold = stream.fold();
    assert_eq!((fold.state().len(), fold.state().departed()), (SESSIONS_KEPT_MAX, 3));
    assert!(resolve(fold.state(), &name(0)).is_err());
    stream.push(2, &name(0), None, prompt("p"));
    let fold = stream.fold();
    assert!(fold.state().get(&name(0)).unwrap().returned);
    assert_eq!(fold.state().departed(), 3, "one came back and another left");
}

#[test]
fn a_session_is_found_by_the_beginning_of_its_id_if_no_other_shares_it() {
    let mut stream = Stream::default();
    for id in ["abc-1", "abc-2", "abc", "xyz"] {
        stream.push(0, id, None, prompt("p"));
    }
    let fold = stream.fold();
    let find = |given: &str| resolve(fold.state(), given).map(|(id, _)| id);
    assert_eq!(find("x"), Ok("xyz".to_owned()));
    assert_eq!(find("abc"), Ok("abc".to_owned()), "a whole id wins over a beginning");
    assert_eq!(find("abc-"), Err(view::Unresolved::Ambiguous(vec!["abc-1".into(), "abc-2".into()])));
    assert_eq!(find("q"), Err(view::Unresolved::Unknown));
    assert_eq!(find(""), Err(view::Unresolved::Unknown));
}

#[test]
fn a_silent_session_is_presumed_dead_by_the_viewer_alone() {
    let mut stream = Stream::default();
    stream.main(0, prompt("p"));
    let fold = stream.fold();
    let silence = i64::try_from(SILENCE_PRESUMED_DEAD.as_micros()).unwrap();
    let at =
        |micros| view::list(&fold, &view::ListQuery::default(), &looking(Timestamp::from_micros(micros)));
    assert!(at(silence - 1).viewer.presumed_dead.is_empty());
    assert_eq!(at(silence).viewer.presumed_dead, ["s"]);
    assert_eq!(at(silence).sessions[0].state, Phase::Working);
    assert!(at(i64::MIN).viewer.presumed_dead.is_empty(), "a clock before the event");
}

#[test]
fn the_list_is_cut_by_its_limit_and_says_how_many_there_are() {
    let mut stream = Stream::default();
    for n in 0..5 {
        stream.push(n, &format!("s{n}"), None, prompt("p")).project = Some(format!("project:{}", n % 2));
    }
    let query = view::ListQuery { project: Some("0".into()), limit: 2, ..view::ListQuery::default() };
    let list = view::list(&stream.fold(), &query, &looking(Timestamp::EPOCH));
    assert_eq!(list.total, 3);
    assert_eq!(list.sessions.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["s4", "s2"]);
    let text = serde_json::to_string(&list).unwrap();
    assert_eq!(serde_json::from_str::<view::SessionList>(&text).unwrap(), list);
}

#[test]
fn a_timeline_joins_ends_to_starts_and_indents_subagents() {
    let mut stream = Stream::default();
    stream.main(0, prompt("why?")).main(1, call("task"));
    let maker = stream.events.last().unwrap().event.id;
    stream.push(2, "s", Some("a1"), subagent("a1", true)).causation = Some(maker);
    stream.push(3, "s", Some("a1"), call("t1"));
    let nested = stream.events.last().unwrap().event.id;
    stream.push(4, "s", Some("a2"), subagent("a2", true)).causation = Some(nested);
    stream.push(6, "s", Some("a1"), failed("t1", "Exit code 1\nmore"));
    stream
        .main(9, done("task", Some(7)))
        .main(11, said("m1", 5))
        .main(10, said("m1", 2))
        .main(12, done("lost", None));
    let mut builder = Builder::default();
    stream.events.iter().rev().for_each(|event| builder.push(event));
    let timeline = builder.finish(SessionView::of("s", &stream.session()), Seq::new(10));
    let lines: Vec<_> = timeline.items.iter().map(|item| (item.kind.as_str(), item.depth)).collect();
    let expected = [
        ("prompt_submitted", 0),
        ("tool_call_started", 0),
        ("subagent_started", 1),
        ("tool_call_started", 1),
        ("subagent_started", 2),
        ("agent_message", 0),
        ("agent_message", 0),
        ("tool_call_completed", 0),
    ];
    assert_eq!(lines, expected);
    let task = timeline.items[1].call.as_ref().unwrap();
    assert_eq!((task.duration_ms, task.duration_origin.as_deref()), (Some(7), Some("reported")));
    let inner = timeline.items[3].call.as_ref().unwrap();
    assert_eq!(
        (inner.outcome.as_deref(), inner.error.as_deref()),
        (Some("failed"), Some("Exit code 1\nmore"))
    );
    assert_eq!((inner.duration_ms, inner.duration_origin.as_deref()), (Some(3), Some("derived")));
    assert_eq!(timeline.items[5].tokens, None);
    assert_eq!(timeline.items[6].tokens.unwrap().output, 5);
    assert_eq!(timeline.items[7].call.as_ref().unwrap().duration_ms, None);
}

/// The same bytes on every machine and from every later version with this schema.
#[test]
fn the_hash_of_a_small_stream_is_pinned() {
    let mut stream = Stream::default();
    stream.main(0, started("startup")).main(1, prompt("why?")).main(2, call("t1")).main(3, asked("t1"));
    stream.main(9, failed("t1", "Exit code 1")).main(10, said("m1", 7));
    stream.push(11, "s", Some("a1"), subagent("a1", true));
    stream.main(12, turn()).main(13, ended("logout"));
    assert_eq!(SessionsProjection::SCHEMA, 4, "a new schema needs a new hash");
    let hash = stream.fold().hash().unwrap().to_string();
    assert_eq!(hash, "7f9ed12363ef5cce40f45af55353a707d00513393dd5a8c70c05219e288e4c9a");
}

/// A random event. Ids are few, so that ends meet starts; facts with a natural key come at most once a stream.
fn any_event() -> impl Strategy<Value = (u8, u8, u8, u64)> {
    (0..21_u8, 0..3_u8, 0..6_u8, 0..1_000_u64)
}

fn random_stream(rows: &[(u8, u8, u8, u64)], times: &[i64]) -> Stream {
    let mut stream = Stream::default();
    let mut keyed = std::collections::BTreeSet::new();
    for ((what, of, id, n), ms) in rows.iter().copied().zip(times.iter().copied()) {
        let session = format!("session-{of}");
        let agent = (id >= 4).then(|| format!("agent-{id}"));
        let (name, agent) = (format!("t{id}"), agent.as_deref());
        let natural = match what {
            2 => Some("start"),
            3 | 4 => Some("end"),
            14 => Some("task start"),
            15 => Some("task end"),
            16 => Some("question start"),
            17 => Some("question end"),
            18 => Some("edit start"),
            19 => Some("edit end"),
            9 | 10 => Some(if what == 9 { "agent start" } else { "agent stop" }),
            _ => None,
        };
        if natural.is_some_and(|key| !keyed.insert((key, session.clone(), name.clone()))) {
            continue;
        }
        let payload = match what {
            0 => started(if n % 2 == 0 { "startup" } else { "compact" }),
            1 => prompt(&format!("prompt {n}")),
            2 => call(&name),
            3 => done(&name, (n % 2 == 0).then_some(n)),
            4 => failed(&name, &format!("error {n} of sort {}", if n % 2 == 0 { "a" } else { "b" })),
            5 => asked(&name),
            6 | 7 => said(&format!("m-{of}-{id}-{}", n % 3), n),
            8 => turn(),
            9 => subagent(agent.unwrap_or("agent-0"), true),
            10 => subagent(agent.unwrap_or("agent-0"), false),
            11 => ended("other"),
            14 => task(&format!("task-{id}")),
            15 => task_done(&format!("task-{id}"), json!({"agentId": format!("agent-{}", 4 + n % 2)})),
            16 => super::detail_tests::question(&format!("ask-{id}")),
            17 => super::detail_tests::answered(&format!("ask-{id}")),
            18 => super::detail_tests::edit(&format!("edit-{id}"), "/code/a.rs"),
            19 => super::detail_tests::edited(
                &format!("edit-{id}"),
                (n % 2 == 0).then_some("/code/b.rs"),
                n % 5,
            ),
            20 => payload::AgentEvent {
                hook: if n % 2 == 0 { "Elicitation" } else { "ElicitationResult" }.into(),
                data: json!({"message": format!("which of {n}?")}),
            }
            .into(),
            12 => {
                payload::ContextCompacted { trigger: "auto".into(), pre_tokens: None, summary: None }.into()
            }
            _ => payload::NotificationRaised {
                message: format!("message {n}"),
                notification_type: if n % 2 == 0 { "permission_prompt" } else { "idle_prompt" }.into(),
                title: None,
            }
            .into(),
        };
        stream.push(ms, &session, agent, payload);
    }
    stream
}

/// All that is said of sessions, without the seqs.
fn truths(events: &[StoredEvent]) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.remove("seq");
                fields.values_mut().for_each(strip);
            }
            Value::Array(values) => values.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut fold = Fold::<SessionsProjection>::default();
    for event in events {
        fold.apply(event);
    }
    let now = looking(Timestamp::EPOCH);
    let sessions = fold.state().recent.iter();
    let details: Vec<_> = sessions.map(|(id, session)| view::detail(id, session, fold.seq(), &now)).collect();
    let mut value = serde_json::to_value(details).unwrap();
    strip(&mut value);
    value
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn at_every_seq_a_snapshot_and_the_rest_equal_the_fold(rows in prop::collection::vec(any_event(), 1..48)) {
        let times: Vec<_> = (0..).take(rows.len()).map(|n: i64| n * 7 % 31).collect();
        let stream = random_stream(&rows, &times);
        let whole = stream.fold().hash().unwrap();
        let mut running = Fold::<SessionsProjection>::default();
        for (n, event) in stream.events.iter().enumerate() {
            running.apply(event);
            let bytes = snapshot::encode(&running, [7; 16]).unwrap();
            let mut restored = snapshot::decode::<SessionsProjection>(&bytes, [7; 16], event.seq).unwrap();
            prop_assert_eq!(restored.hash().unwrap(), running.hash().unwrap());
            stream.events[n + 1..].iter().for_each(|event| restored.apply(event));
            prop_assert_eq!(restored.hash().unwrap(), whole);
        }
    }

    #[test]
    fn the_order_of_arrival_changes_no_truth(
        (rows, order) in prop::collection::vec(any_event(), 1..40).prop_flat_map(|rows| {
            let order: Vec<usize> = (0..rows.len()).collect();
            (Just(rows), Just(order).prop_shuffle())
        })
    ) {
        let times: Vec<_> = (0..).take(rows.len()).map(|n: i64| n * 10).collect();
        let stream = random_stream(&rows, &times);
        let mut late: Vec<_> = order.iter().filter_map(|n| stream.events.get(*n).cloned()).collect();
        for (event, seq) in late.iter_mut().zip(1..) {
            event.seq = Seq::new(seq);
        }
        prop_assert_eq!(truths(&late), truths(&stream.events));
        super::detail_tests::timeline_agrees(&late);
    }
}
