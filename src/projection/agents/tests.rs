//! What the agents projection says, on small streams written by hand and on random orders of them.

use proptest::prelude::*;
use serde_json::json;

use super::view::{AgentsView, agents};
use super::*;
use crate::config::prices::Prices;
use crate::event::{Payload, Timestamp, payload};
use crate::projection::testing::{DAY, MINUTE, Stream};

fn prompt() -> Payload {
    payload::PromptSubmitted { prompt: "p".into(), prompt_id: None }.into()
}

fn call(id: &str, tool: &str) -> Payload {
    payload::ToolCallStarted { tool: tool.into(), tool_use_id: id.into(), input: json!({}) }.into()
}

fn done(id: &str) -> Payload {
    let (tool, tool_use_id, output) = ("Bash".into(), id.into(), json!({}));
    payload::ToolCallCompleted { tool, tool_use_id, output, duration_ms: None }.into()
}

fn starts(id: &str) -> Payload {
    payload::SubagentStarted { agent_id: id.into(), agent_type: "Explore".into() }.into()
}

fn stops(id: &str) -> Payload {
    payload::SubagentStopped { agent_id: id.into(), agent_type: "Explore".into(), last_message: None }.into()
}

fn ended() -> Payload {
    payload::SessionEnded { reason: "logout".into(), inferred: false }.into()
}

fn view(stream: &Stream) -> AgentsView {
    looked_at(&stream.fold::<AgentsProjection>(), 0)
}

fn looked_at(fold: &Fold<AgentsProjection>, ms: i64) -> AgentsView {
    let (now, prices) = (Timestamp::from_micros(ms * 1_000), Prices::default());
    agents(fold, &Looking { now, host: "here", lives: |stamp| stamp.pid == 1, prices: &prices })
}

/// Session and id of those who live, the one heard of last first.
fn living(stream: &Stream) -> Vec<(String, Option<String>)> {
    view(stream).agents.into_iter().map(|agent| (agent.session, agent.agent)).collect()
}

fn main_of(session: &str) -> (String, Option<String>) {
    (session.to_owned(), None)
}

#[test]
fn agents_live_from_their_first_sign_to_their_end() {
    let mut stream = Stream::default();
    stream.of(0, "s", None, prompt());
    stream.of(1, "s", None, starts("helper"));
    stream.of(2, "s", Some("helper"), call("t1", "Bash"));
    assert_eq!(living(&stream), [("s".to_owned(), Some("helper".to_owned())), main_of("s")]);
    stream.of(3, "s", None, stops("helper"));
    assert_eq!(living(&stream), [main_of("s")]);
    stream.of(4, "s", None, ended());
    assert_eq!((living(&stream).len(), view(&stream).ended), (0, 2));
}

#[test]
fn the_end_of_a_session_is_that_of_its_subagents() {
    let mut stream = Stream::default();
    stream.of(0, "s", None, prompt());
    stream.of(1, "s", None, starts("helper"));
    stream.of(0, "other", None, prompt());
    stream.of(5, "s", None, ended());
    assert_eq!(living(&stream), [main_of("other")]);
    stream.of(4, "s", Some("helper"), call("t", "Bash"));
    assert_eq!(living(&stream), [main_of("other")], "a late line is no sign of life");
    stream.of(4, "s", Some("unknown"), call("t", "Bash"));
    assert_eq!(living(&stream), [main_of("other")], "nor one of a subagent that nobody knew");
}

#[test]
fn a_later_event_opens_an_agent_again_and_a_late_one_does_not() {
    let mut stream = Stream::default();
    stream.of(10, "s", None, ended());
    stream.of(5, "s", None, prompt());
    assert_eq!(living(&stream), []);
    stream.of(11, "s", None, prompt());
    assert_eq!(living(&stream), [main_of("s")]);
    stream.of(8, "s", None, ended());
    assert_eq!(living(&stream), [main_of("s")], "an end that was told late ends nothing younger");
}

#[test]
fn what_it_does_is_the_open_call_that_began_last() {
    let mut stream = Stream::default();
    let tool = |stream: &Stream| (view(stream).agents[0].tool.clone(), view(stream).agents[0].open_calls);
    stream.of(0, "s", None, call("a", "Read"));
    stream.of(1, "s", None, call("b", "Bash"));
    assert_eq!(tool(&stream), (Some("Bash".to_owned()), 2));
    stream.of(2, "s", None, done("b"));
    assert_eq!(tool(&stream), (Some("Read".to_owned()), 1));
    stream.of(4, "s", None, done("c"));
    stream.of(3, "s", None, call("c", "Grep"));
    assert_eq!(tool(&stream), (Some("Read".to_owned()), 1), "its end came first");
    stream.of(5, "s", None, prompt());
    assert_eq!(tool(&stream), (None, 0), "a prompt settles what was begun before it");
}

#[test]
fn the_parent_is_who_made_the_call_that_caused_it() {
    let mut stream = Stream::default();
    let first = stream.of(0, "s", None, call("a", "Task")).id;
    stream.of(1, "s", None, starts("one")).causation = Some(first);
    let second = stream.of(2, "s", Some("one"), call("b", "Task")).id;
    stream.of(3, "s", None, starts("two")).causation = Some(second);
    stream.of(4, "s", None, starts("three"));
    let view = view(&stream);
    let parent = |id: &str| {
        let agent = view.agents.iter().find(|agent| agent.agent.as_deref() == Some(id)).unwrap();
        (agent.parent_known, agent.parent.clone())
    };
    assert_eq!(parent("one"), (true, None));
    assert_eq!(parent("two"), (true, Some("one".to_owned())));
    assert_eq!(parent("three"), (false, None));
}

#[test]
fn silence_is_the_viewers_business() {
    let mut stream = Stream::default();
    stream.of(0, "s", None, prompt());
    let fold = stream.fold::<AgentsProjection>();
    let at = |ms: i64| looked_at(&fold, ms);
    assert_eq!((at(MINUTE).viewer.silent_ms, at(MINUTE).viewer.presumed_dead), (vec![60_000], vec![false]));
    assert_eq!(at(30 * DAY).viewer.presumed_dead, [true]);
    assert_eq!(at(30 * DAY).agents, at(MINUTE).agents);
    assert_eq!(at(-5).viewer.silent_ms, [0], "clocks disagree");
}

/// A process that is gone takes its subagents with it; one of another machine nobody here can ask.
#[test]
fn an_agent_whose_process_is_gone_is_presumed_dead_at_once() {
    let mut stream = Stream::default();
    let mut start = |session: &str, pid: Option<u32>, host: &str| {
        let started = payload::SessionStarted {
            source: "startup".into(),
            cwd: "/p".into(),
            transcript_path: None,
            model: None,
            agent_pid: pid,
            agent_start_ticks: Some(7),
        };
        stream.of(0, session, None, started).source.host = host.to_owned();
        stream.of(1, session, Some("sub"), starts("sub"));
    };
    start("lives", Some(1), "here");
    start("gone", Some(2), "here");
    start("elsewhere", Some(2), "there");
    start("unknown", None, "here");
    let view = view(&stream);
    let dead: Vec<_> =
        view.agents.iter().zip(&view.viewer.presumed_dead).filter(|(_, dead)| **dead).collect();
    assert_eq!(dead.len(), 2, "{dead:?}");
    assert!(dead.iter().all(|(agent, _)| agent.session == "gone"), "{dead:?}");
}

#[test]
fn the_one_with_the_oldest_sign_leaves_and_is_counted() {
    let mut stream = Stream::default();
    let n = i64::try_from(AGENTS_LIVE_MAX).unwrap();
    (0..n).for_each(|n| _ = stream.of(n, &format!("s{n}"), None, prompt()));
    stream.of(n, "s0", None, prompt());
    stream.of(n + 1, "fresh", None, prompt());
    let view = view(&stream);
    assert_eq!((view.agents.len(), view.evicted), (AGENTS_LIVE_MAX, 1));
    assert_eq!(living(&stream)[..2], [main_of("fresh"), main_of("s0")]);
    assert!(!living(&stream).contains(&main_of("s1")));
    stream.of(1, "s1", None, prompt());
    assert!(!living(&stream).contains(&main_of("s1")), "an old sign brings nobody back");
    stream.of(n + 2, "s1", None, prompt());
    assert!(living(&stream).contains(&main_of("s1")));
}

#[test]
fn what_says_nothing_of_an_agent_is_no_sign_of_it() {
    let mut stream = Stream::default();
    stream.of(0, "s", None, payload::CliCommandStarted { command: "import".into(), args: vec![] });
    stream.push(0, prompt());
    stream.of(0, "s", None, prompt()).kind = crate::event::KindName::from_name("of_a_later_version");
    assert_eq!(living(&stream), []);
}

proptest! {
    #[test]
    fn who_lives_does_not_depend_on_the_order(
        plan in prop::collection::vec((0_i64..50, 0_usize..2, prop::option::of(0_usize..2), 0_u8..6), 1..40),
        shuffle in any::<u64>(),
    ) {
        let mut stream = Stream::default();
        for (n, (ms, session, agent, what)) in plan.iter().enumerate() {
            let (session, agent) = (["s", "t"][*session], agent.map(|agent| ["a", "b"][agent]));
            let id = agent.unwrap_or("a");
            let payload = match what {
                0 => prompt(),
                1 => call(&format!("c{}", n / 2), "Bash"),
                2 => starts(id),
                3 => stops(id),
                4 => ended(),
                _ => done(&format!("c{}", n / 2)),
            };
            // Distinct times: with equal ones the order of arrival is the order.
            stream.of(ms * 100 + i64::try_from(n).unwrap(), session, agent, payload);
        }
        let mut order: Vec<usize> = (0..plan.len()).collect();
        order.sort_by_key(|n| (*n as u64 + 1).wrapping_mul(shuffle | 1).rotate_left(17));
        let told = |stream: &Stream| {
            let mut told: Vec<_> = view(stream).agents.into_iter()
                .map(|agent| (agent.session, agent.agent, agent.last.time)).collect();
            told.sort();
            told
        };
        prop_assert_eq!(told(&stream), told(&stream.reordered(&order)));
        // By hand: an agent lives if its last sign is younger than its own end and that of its session.
        let mut expected = Vec::new();
        for session in ["s", "t"] {
            for agent in [None, Some("a"), Some("b")] {
                let all = || stream.events.iter().filter(|e| e.event.session.as_deref() == Some(session));
                let is = |e: &&StoredEvent, kind: Kind| e.event.kind == kind;
                let names = |e: &&StoredEvent| e.event.payload.as_str().contains(&format!(r#""agent_id":"{}""#, agent.unwrap_or("-")));
                let sign = all().filter(|e| match e.event.kind.known() {
                    Some(Kind::SessionEnded | Kind::SubagentStopped) => false,
                    Some(Kind::SubagentStarted) => names(e),
                    _ => e.event.agent.as_deref() == agent,
                }).map(|e| e.event.time).max();
                let end = all().filter(|e| is(e, Kind::SessionEnded)
                    || (is(e, Kind::SubagentStopped) && names(e))).map(|e| e.event.time).max();
                if let Some(sign) = sign.filter(|sign| end.is_none_or(|end| end < *sign)) {
                    expected.push((session.to_owned(), agent.map(str::to_owned), sign));
                }
            }
        }
        expected.sort();
        prop_assert_eq!(told(&stream), expected);
    }
}
