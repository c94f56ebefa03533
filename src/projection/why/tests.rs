use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::event::{Payload, payload};
use crate::projection::testing::Stream;

fn started(tool: &str, id: &str, input: serde_json::Value) -> payload::ToolCallStarted {
    payload::ToolCallStarted { tool: tool.into(), tool_use_id: id.into(), input }
}

fn completed(tool: &str, id: &str, output: serde_json::Value) -> payload::ToolCallCompleted {
    payload::ToolCallCompleted { tool: tool.into(), tool_use_id: id.into(), output, duration_ms: None }
}

fn failed(tool: &str, id: &str, error: &str) -> payload::ToolCallFailed {
    payload::ToolCallFailed {
        tool: tool.into(),
        tool_use_id: id.into(),
        error: error.into(),
        interrupted: false,
        duration_ms: None,
    }
}

fn prompt() -> payload::PromptSubmitted {
    payload::PromptSubmitted { prompt: "fix it".into(), prompt_id: None }
}

/// Events of one session in their order; each is a millisecond after the one before.
#[derive(Default)]
struct Session(Stream);

impl Session {
    fn push(&mut self, agent: Option<&str>, payload: impl Into<Payload>) -> u64 {
        let ms = i64::try_from(self.0.events.len()).unwrap();
        self.0.of(ms, "s", agent, payload);
        self.0.events.len() as u64
    }

    fn call(&mut self, agent: Option<&str>, tool: &str, id: &str, input: serde_json::Value) -> u64 {
        let start = self.push(agent, started(tool, id, input));
        self.push(agent, completed(tool, id, json!({})));
        start
    }

    fn chain(&self, target: u64) -> Chain {
        chain(&self.0.events, target, DEPTH_DEFAULT)
    }

    /// The links of a chain as (effect, cause, rule, sure).
    fn links(&self, target: u64) -> Vec<(u64, u64, Rule, Sure)> {
        let of = |link: &Link| (link.effect.get(), link.cause.get(), link.rule, link.sure);
        self.chain(target).links.iter().map(of).collect()
    }
}

fn chain(events: &[StoredEvent], target: u64, depth: u32) -> Chain {
    let target = Seq::new(target);
    let of = |seq: Seq| events.iter().find(|stored| stored.seq == seq);
    let mut facts = Facts::about(&of(target).unwrap().event);
    events.iter().for_each(|stored| facts.take(stored));
    facts.settle();
    let mut read = |seq: Seq| Ok(of(seq).map(|stored| stored.event.payload.as_str().to_owned()));
    follow(&facts, target, depth, &mut read).unwrap()
}

#[test]
fn a_failure_leads_to_the_read_and_the_write_before_it_and_to_the_prompt() {
    let mut session = Session::default();
    let asked = session.push(None, prompt());
    session.call(None, "Edit", "w0", json!({"file_path": "/code/app/src/other.rs"}));
    let write = session.call(None, "Edit", "w1", json!({"file_path": "/code/app/src/parser.rs"}));
    let read = session.call(None, "Read", "r1", json!({"file_path": "/code/app/src/parser.rs"}));
    session.call(None, "Edit", "w2", json!({"file_path": "/code/app/src/other.rs"}));
    let start = session.push(None, started("Bash", "b1", json!({"command": "cargo test"})));
    let failure = session.push(None, failed("Bash", "b1", "panicked at src/parser.rs:10:5"));
    let links = session.links(failure);
    assert_eq!(
        links,
        [
            (failure, start, Rule::CallStart, Sure::Certain),
            (failure, read, Rule::Read, Sure::Guess),
            (start, asked, Rule::Prompt, Sure::Likely),
            (read, write, Rule::WriteBeforeRead, Sure::Likely),
        ]
    );
}

#[test]
fn a_write_after_the_read_is_named_beside_it_and_a_failed_one_is_not() {
    let mut session = Session::default();
    let file = json!({"file_path": "/code/app/a.py"});
    session.call(None, "Write", "w1", file.clone());
    let read = session.call(None, "Read", "r1", file.clone());
    let write = session.call(None, "Edit", "w2", file.clone());
    session.push(None, started("Edit", "w3", file.clone()));
    session.push(None, failed("Edit", "w3", "no match"));
    session.push(None, started("Bash", "b1", json!({"command": "python /code/app/a.py"})));
    let failure = session.push(None, failed("Bash", "b1", "SyntaxError"));
    let links = session.links(failure);
    assert!(links.contains(&(failure, read, Rule::Read, Sure::Likely)), "{links:?}");
    assert!(links.contains(&(failure, write, Rule::Write, Sure::Likely)), "{links:?}");
}

#[test]
fn a_failure_that_names_no_file_leads_to_the_last_write_as_a_guess() {
    let mut session = Session::default();
    let write = session.call(None, "Write", "w1", json!({"file_path": "/code/app/a.py"}));
    session.push(None, started("Bash", "b1", json!({"command": "make"})));
    let failure = session.push(None, failed("Bash", "b1", "exit 2"));
    assert!(session.links(failure).contains(&(failure, write, Rule::LastWrite, Sure::Guess)));
}

#[test]
fn what_a_subagent_did_leads_to_the_call_that_made_it() {
    let mut session = Session::default();
    let asked = session.push(None, prompt());
    let task = session.push(None, started("Task", "t1", json!({"subagent_type": "Explore"})));
    let made =
        session.push(None, payload::SubagentStarted { agent_id: "a1".into(), agent_type: "Explore".into() });
    let read = session.push(Some("a1"), started("Read", "r1", json!({"file_path": "/x"})));
    assert_eq!(
        session.links(read),
        [
            (read, made, Rule::Subagent, Sure::Certain),
            (made, task, Rule::Maker, Sure::Likely),
            (task, asked, Rule::Prompt, Sure::Likely),
        ]
    );
    session.push(None, completed("Task", "t1", json!({"agentId": "a1"})));
    assert!(session.links(read).contains(&(made, task, Rule::Maker, Sure::Certain)));
}

#[test]
fn of_two_calls_that_may_have_made_a_subagent_neither_is_believed() {
    let mut session = Session::default();
    session.push(None, started("Task", "t1", json!({})));
    let latest = session.push(None, started("Task", "t2", json!({})));
    let made =
        session.push(None, payload::SubagentStarted { agent_id: "a1".into(), agent_type: "Explore".into() });
    assert_eq!(session.links(made)[0], (made, latest, Rule::Maker, Sure::Guess));
}

#[test]
fn a_cause_that_is_not_there_is_told() {
    let mut session = Session::default();
    let asked = session.push(None, prompt());
    let missing = Uuid::from_u128(999);
    session.0.events[0].event.causation = Some(missing);
    let chain = session.chain(asked);
    assert_eq!(chain.absent, [Absent { seq: Seq::new(asked), causation: missing }]);
}

#[test]
fn a_chain_ends_at_its_depth_and_says_so() {
    let mut session = Session::default();
    for n in 0..10_u128 {
        session.push(None, prompt());
        let last = session.0.events.last_mut().unwrap();
        last.event.causation = (n > 0).then(|| Uuid::from_u128(n));
    }
    let chain = chain(&session.0.events, 10, 3);
    assert_eq!((chain.links.len(), chain.not_followed), (3, 1));
    assert_eq!(session.links(10).len(), 9);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the ids say: it ends, each event is reached once, and from it the way leads to the event that was asked about.
    #[test]
    fn a_chain_never_goes_round(
        causes in prop::collection::vec((0_usize..6, prop::option::of(0_u128..24), 0_u128..24, 0_i64..5), 1..20),
        target in 0_usize..20,
    ) {
        let mut stream = Stream::default();
        for (sort, causation, correlation, ms) in &causes {
            let agent = (sort % 2 == 0).then_some("a1");
            let event = match sort {
                0 => stream.of(*ms, "s", agent, started("Task", "t1", json!({"file_path": "/x"}))),
                1 => stream.of(*ms, "s", agent, completed("Task", "t1", json!({"agentId": "a1"}))),
                2 => stream.of(*ms, "s", agent, failed("Read", "r1", "/x")),
                3 => stream.of(*ms, "s", agent, payload::SubagentStarted { agent_id: "a1".into(), agent_type: "E".into() }),
                4 => stream.of(*ms, "s", agent, started("Read", "r1", json!({"file_path": "/x"}))),
                _ => stream.of(*ms, "s", agent, payload::Annotated { seq: u64::try_from(*correlation).unwrap(), text: "n".into() }),
            };
            event.causation = causation.map(Uuid::from_u128);
            event.correlation = Uuid::from_u128(*correlation);
        }
        let target = (target % causes.len()) as u64 + 1;
        let chain = chain(&stream.events, target, 64);
        let mut reached = BTreeSet::from([Seq::new(target)]);
        for link in &chain.links {
            prop_assert!(reached.contains(&link.effect), "{link:?} hangs in the air");
            prop_assert!(reached.insert(link.cause), "{link:?} is reached twice");
        }
    }
}
