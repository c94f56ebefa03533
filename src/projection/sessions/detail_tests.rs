//! Questions, times, files, failures, models, turns, presumed death and the bounds of all that, on streams written by hand.

use serde_json::json;

use super::state::*;
use super::tests::*;
use super::timeline::{Builder, Timeline};
use super::view::{self, ListQuery, SessionView, StateFilter};
use super::viewer::{Looking, Presumed, Viewer};
use super::*;
use crate::config::Settings;
use crate::event::{Cut, Payload, Seq, Timestamp, payload};

pub(super) fn question(id: &str) -> Payload {
    let input = json!({"questions": [{"question": "Which colour?", "options": []}]});
    payload::ToolCallStarted { tool: "AskUserQuestion".into(), tool_use_id: id.into(), input }.into()
}

pub(super) fn answered(id: &str) -> Payload {
    let (tool, output) = ("AskUserQuestion".into(), json!({"answers": {}}));
    payload::ToolCallCompleted { tool, tool_use_id: id.into(), output, duration_ms: None }.into()
}

pub(super) fn edit(id: &str, path: &str) -> Payload {
    let input = json!({"file_path": path, "old_string": "a", "new_string": "b"});
    payload::ToolCallStarted { tool: "Edit".into(), tool_use_id: id.into(), input }.into()
}

/// An answer that adds `added` lines and removes one.
pub(super) fn edited(id: &str, path: Option<&str>, added: u64) -> Payload {
    let mut lines = vec![" same".to_owned(), "-old".to_owned()];
    lines.extend((0..added).map(|n| format!("+new {n}")));
    let hunk = json!({"oldStart": 3, "oldLines": 2, "newStart": 3, "newLines": added + 1, "lines": lines});
    let mut output = json!({"structuredPatch": [hunk], "originalFile": "same\nold\n"});
    if let Some(path) = path {
        output["filePath"] = json!(path);
    }
    payload::ToolCallCompleted { tool: "Edit".into(), tool_use_id: id.into(), output, duration_ms: None }
        .into()
}

fn tool(tool: &str, id: &str, input: serde_json::Value) -> Payload {
    payload::ToolCallStarted { tool: tool.into(), tool_use_id: id.into(), input }.into()
}

fn tool_done(tool: &str, id: &str, output: serde_json::Value) -> Payload {
    payload::ToolCallCompleted { tool: tool.into(), tool_use_id: id.into(), output, duration_ms: None }.into()
}

fn timeline(events: &[StoredEvent], id: &str, session: &Session) -> Timeline {
    let mut builder = Builder::with_patches();
    events
        .iter()
        .filter(|event| event.event.session.as_deref() == Some(id))
        .for_each(|event| builder.push(event));
    builder.finish(SessionView::of(id, session), Seq::new(events.len() as u64))
}

/// What is read back from the journal says of files and times what the live state says.
pub(super) fn timeline_agrees(events: &[StoredEvent]) {
    let mut fold = crate::projection::Fold::<SessionsProjection>::default();
    events.iter().for_each(|event| fold.apply(event));
    for (id, session) in &fold.state().recent {
        let detail = view::detail(id, session, fold.seq(), &looking(Timestamp::EPOCH));
        let timeline = timeline(events, id, session);
        assert_eq!(timeline.files, detail.files);
        let ended = timeline.turns.iter().filter(|turn| turn.ended.is_some()).count() as u64;
        assert_eq!(ended, session.counts.turns + session.counts.turns_failed);
        for item in timeline.items.iter().filter_map(|item| item.call.as_ref()) {
            let call = detail.calls.iter().find(|call| call.tool_use_id == item.tool_use_id).unwrap();
            assert_eq!(
                (item.times, item.duration_ms),
                (call.times, call.duration_ms),
                "{}",
                item.tool_use_id
            );
        }
    }
}

#[test]
fn a_waiting_session_says_what_it_asks() {
    let mut stream = Stream::default();
    let input = json!({"command": "rm -r target"});
    stream.main(0, prompt("clean up")).main(1, tool("Bash", "t1", input.clone()));
    stream.main(2, payload::PermissionRequested { tool: "Bash".into(), tool_use_id: None, input });
    let waiting = SessionView::of("s", &stream.session()).waiting_on.unwrap();
    assert_eq!(
        (waiting.tool.as_deref(), waiting.question.as_deref()),
        (Some("Bash"), Some("Bash rm -r target"))
    );
    stream.main(5, done("t1", Some(1)));
    assert_eq!(stream.main(6, question("q1")).phase(), Phase::Waiting);
    let waiting = SessionView::of("s", &stream.session()).waiting_on.unwrap();
    assert_eq!(waiting.question.as_deref(), Some("Which colour?"));
    assert_eq!(stream.session().counts.permissions_requested, 1, "a question is no permission request");
    assert_eq!(stream.main(9, answered("q1")).phase(), Phase::Working);
    let data = json!({"message": "Which account?", "mcp_server_name": "bank"});
    assert_eq!(
        stream.main(10, payload::AgentEvent { hook: "Elicitation".into(), data }).phase(),
        Phase::Waiting
    );
    let waiting = SessionView::of("s", &stream.session()).waiting_on.unwrap();
    assert_eq!(waiting.question.as_deref(), Some("Which account?"));
    let result = payload::AgentEvent { hook: "ElicitationResult".into(), data: json!({"action": "accept"}) };
    assert_eq!(stream.main(11, result).phase(), Phase::Working);
}

#[test]
fn the_time_of_a_call_is_split_as_far_as_it_is_known() {
    let mut stream = Stream::default();
    // Hooks for 100 ms, the user for 500 ms, then the run of 300 ms.
    stream.main(0, call("a")).main(100, asked("a")).main(900, done("a", Some(300)));
    stream.main(1_000, call("b")).main(1_400, done("b", Some(150)));
    stream.main(2_000, call("c")).main(2_100, asked("c")).main(2_900, done("c", None));
    stream.main(3_000, question("d")).main(3_700, answered("d"));
    stream.main(4_000, call("e"));
    let denied =
        payload::PermissionDenied { tool: "Bash".into(), tool_use_id: Some("e".into()), reason: "no".into() };
    stream.main(4_050, asked("e")).main(4_250, denied);
    let session = stream.session();
    let split = |id: &str| {
        let Split { total_ms, wait_ms, run_ms, hook_ms } = session.calls[id].split();
        (total_ms, wait_ms, run_ms, hook_ms)
    };
    assert_eq!(split("a"), (Some(900), Some(500), Some(300), Some(100)));
    assert_eq!(split("b"), (Some(400), None, Some(150), Some(250)), "no question is on record");
    assert_eq!(split("c"), (Some(900), None, None, None), "waiting and running cannot be told apart");
    assert_eq!(split("d"), (Some(700), Some(700), None, None), "the call is the question");
    assert_eq!(split("e"), (Some(250), Some(200), None, None), "it did not run");
    let counts = &session.counts;
    assert_eq!((counts.wait_ms_derived, counts.hook_ms_derived), (500 + 700 + 200, 100 + 250));
    assert_eq!((counts.tool_ms_reported, counts.tool_ms_derived), (300 + 150, 900 + 700));
    timeline_agrees(&stream.events);
}

#[test]
fn files_are_counted_by_the_tools_own_patches() {
    let mut stream = Stream::default();
    stream.main(0, edit("e1", "a.rs")).main(1, edited("e1", Some("/code/a.rs"), 3));
    stream.main(2, edited("e2", None, 2)).main(3, edit("e2", "/code/a.rs")); // the end arrives first
    stream.main(4, tool("Write", "w1", json!({"file_path": "/code/b.rs", "content": "x"})));
    let created =
        json!({"type": "create", "filePath": "/code/b.rs", "content": "1\n2\n3\n", "structuredPatch": []});
    stream.main(5, tool_done("Write", "w1", created.clone()));
    stream.main(6, tool_done("Write", "w2", created));
    stream.events.last_mut().unwrap().event.cut =
        vec![Cut { pointer: "/output/content".into(), bytes: 99_999 }];
    stream
        .main(7, tool("Read", "r1", json!({"file_path": "/code/c.rs"})))
        .main(8, tool_done("Read", "r1", json!({})));
    stream.main(9, edit("e3", "/code/never.rs"));
    let error = payload::ToolCallFailed {
        tool: "Edit".into(),
        tool_use_id: "e3".into(),
        error: "no match".into(),
        interrupted: false,
        duration_ms: None,
    };
    stream.main(10, error).main(11, tool("NotebookEdit", "n1", json!({"notebook_path": "/code/n.ipynb"})));
    stream.main(12, tool_done("NotebookEdit", "n1", json!("done")));
    let session = stream.session();
    let detail = view::detail("s", &session, Seq::new(9), &looking(Timestamp::EPOCH));
    let told: Vec<_> = detail
        .files
        .iter()
        .map(|f| (f.path.as_str(), f.reads, f.writes, f.writes_unmeasured, f.lines.added, f.lines.removed))
        .collect();
    assert_eq!(
        told,
        [
            ("/code/a.rs", 0, 2, 0, 5, 2),
            ("/code/b.rs", 0, 2, 1, 3, 0),
            ("/code/n.ipynb", 0, 1, 1, 0, 0),
            ("/code/c.rs", 1, 0, 0, 0, 0),
        ]
    );
    let sums = detail.session.files;
    assert_eq!((sums.reads, sums.writes, sums.writes_unmeasured, sums.lines.added), (1, 5, 2, 8));
    let patches = timeline(&stream.events, "s", &session).patches.unwrap();
    let shapes: Vec<_> = patches
        .iter()
        .map(|p| (p.tool_use_id.as_str(), p.created, p.hunks.as_ref().map(|hunks| hunks[0].lines.len())))
        .collect();
    assert_eq!(
        shapes,
        [
            ("e1", false, Some(5)),
            ("e2", false, Some(4)),
            ("w1", true, Some(3)),
            ("w2", true, None),
            ("n1", false, None)
        ]
    );
    timeline_agrees(&stream.events);
}

#[test]
fn failures_are_told_apart_by_tool_and_by_what_their_errors_have_in_common() {
    let mut stream = Stream::default();
    stream
        .main(5, failed("b", "Exit code 2: /tmp/x"))
        .main(1, failed("a", "Exit code 1: /home/y"))
        .main(9, failed("c", "other"));
    let detail = view::detail("s", &stream.session(), Seq::new(3), &looking(Timestamp::EPOCH));
    let first = &detail.failures[0];
    assert_eq!((first.count, first.signature.as_deref()), (2, Some("Exit code #: <path>")));
    assert_eq!(
        (first.first.unwrap().seq.get(), first.last.unwrap().seq.get()),
        (2, 1),
        "by time, not by arrival"
    );
    assert_eq!(first.example.as_deref(), Some("Exit code 1: /home/y"));
    assert_eq!(first.id, Some(format!("{:016x}", calls::failure_key("Bash", "Exit code #: <path>"))));
    assert_ne!(calls::failure_key("Bash", "x"), calls::failure_key("Edit", "x"));
    assert_eq!(detail.failures.len(), 2);
}

#[test]
fn tokens_are_told_by_model_and_cost_only_what_the_user_says() {
    let mut stream = Stream::default();
    stream.main(0, prompt("p")).main(1, said("m1", 1)).main(2, said("m1", 90));
    stream.push(3, "s", Some("a1"), with_model("m2", "claude-haiku", 7));
    let session = stream.session();
    let view = SessionView::of("s", &session);
    let models: Vec<_> =
        view.models.iter().map(|m| (m.model.as_str(), m.messages, m.tokens.output)).collect();
    assert_eq!(models, [("claude-opus-4", 1, 90), ("claude-haiku", 1, 7)]);
    let context = view.context.clone().unwrap();
    assert_eq!((context.last_tokens, context.peak_tokens), (111, 111), "of the main agent's messages");

    let cost = |prices: &str| {
        let home = tempfile::tempdir().unwrap();
        let env = crate::config::Env::with_home(home.path());
        let file = env.user_config_toml().unwrap();
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, prices).unwrap();
        let prices = Settings::load_user(&env).unwrap().prices;
        let looking = Looking { prices: &prices, ..looking(Timestamp::EPOCH) };
        view::detail("s", &session, Seq::new(1), &looking).viewer.costs
    };
    assert_eq!(cost(""), [], "no price, no cost");
    let opus = "[prices.claude-opus]\ninput = 10\noutput = 100\ncache_read = 1\ncache_write = 20\n";
    let partly = &cost(opus)[0];
    assert_eq!((partly.usd_micros, partly.unpriced.as_slice()), (None, &["claude-haiku".to_owned()][..]));
    let whole = &cost(&format!(
        "{opus}[prices.claude-haiku]\ninput = 1\noutput = 2\ncache_read = 0\ncache_write = 0\n"
    ))[0];
    // 10 x 10 + 90 x 100 + 100 x 1 + 1 x 20, and 10 x 1 + 7 x 2.
    assert_eq!(
        (whole.usd_micros, whole.origin.as_str()),
        (Some(100 + 9_000 + 100 + 20 + 10 + 14), "derived")
    );
    let no_cache = "[prices.claude]\ninput = 1\noutput = 2\n";
    assert_eq!(cost(no_cache)[0].usd_micros, None, "tokens of the cache have no price");
}

fn with_model(message_id: &str, model: &str, output_tokens: u64) -> Payload {
    let usage =
        payload::Usage { input_tokens: 10, output_tokens, cache_read_tokens: 0, cache_creation_tokens: 0 };
    let (model, text) = (model.into(), "words".into());
    payload::AgentMessage { model, text, usage: Some(usage), message_id: message_id.into() }.into()
}

#[test]
fn a_killed_agent_is_presumed_dead_by_its_process_and_only_on_its_own_machine() {
    let presumed = |pid: u32, host: &str, silent_ms: i64| {
        let mut stream = Stream::default();
        let event = stream.push(0, "s", None, started("startup"));
        event.source.host = host.to_owned();
        let mut payload = event.payload.to_json();
        payload["agent_pid"] = json!(pid);
        payload["agent_start_ticks"] = json!(77);
        event.payload = crate::event::PayloadText::from_json(&payload).unwrap();
        stream.main(1, prompt("p"));
        let session = stream.session();
        assert_eq!(session.phase(), Phase::Working, "the state presumes nothing");
        let view = SessionView::of("s", &session);
        looking(Timestamp::from_micros(silent_ms * 1_000)).presumes(&view)
    };
    const DAY: i64 = 86_400_000;
    assert_eq!(presumed(2, "here", 5), Some(Presumed::ProcessGone), "at once");
    assert_eq!(presumed(1, "here", DAY), None, "silent for long, and alive");
    assert_eq!(presumed(2, "elsewhere", 5), None, "a process of another machine cannot be seen");
    assert_eq!(presumed(1, "elsewhere", DAY), Some(Presumed::Silence));
    let mut stream = Stream::default();
    stream.main(0, prompt("p")).main(1, ended("logout"));
    let view = SessionView::of("s", &stream.session());
    assert_eq!(looking(Timestamp::from_micros(i64::MAX)).presumes(&view), None, "what ended is not presumed");
}

#[test]
fn the_list_can_be_of_a_state_and_of_a_time() {
    let mut stream = Stream::default();
    const DAY: i64 = 86_400_000;
    stream.push(0, "old", None, prompt("p"));
    stream.push(DAY, "busy", None, prompt("p"));
    stream.push(DAY + 1, "over", None, ended("logout"));
    let fold = stream.fold();
    let looking = looking(Timestamp::from_micros(DAY * 1_000 + 5_000));
    let ids = |state: Option<&str>, since: Option<i64>| {
        let state = state.map(|state| state.parse::<StateFilter>().unwrap());
        let since = since.map(|ms| Timestamp::from_micros(ms * 1_000));
        let list = view::list(&fold, &ListQuery { since, state, ..ListQuery::default() }, &looking);
        assert_eq!(list.total, list.sessions.len() as u64);
        list.sessions.into_iter().map(|session| session.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(None, None), ["over", "busy", "old"]);
    assert_eq!(ids(Some("working"), None), ["busy"], "the dead one does not work");
    assert_eq!(ids(Some("dead"), None), ["old"]);
    assert_eq!(ids(Some("ended"), Some(DAY + 1)), ["over"]);
    assert_eq!(ids(None, Some(DAY)), ["over", "busy"]);
    assert!("asleep".parse::<StateFilter>().is_err());
    let viewer = view::list(&fold, &ListQuery::default(), &looking).viewer;
    assert_eq!(Viewer::presumes(&viewer, "old"), Some(Presumed::Silence));
}

#[test]
fn three_ends_alike_are_three_turns_and_what_has_no_end_is_open_or_cut_off() {
    let mut stream = Stream::default();
    stream
        .main(0, prompt("one"))
        .main(1, call("t1"))
        .main(2, failed("t1", "no"))
        .main(3, said("m1", 5))
        .main(10, turn());
    stream.main(20, turn()).main(30, turn());
    stream.main(40, prompt("two")).main(41, prompt("and this")).main(45, call("t2"));
    let turns = |stream: &Stream| {
        let turns = timeline(&stream.events, "s", &stream.session()).turns;
        turns
            .into_iter()
            .map(|t| {
                (
                    t.prompt.unwrap_or_default(),
                    t.outcome,
                    t.prompts,
                    t.tool_calls,
                    t.tools_failed,
                    t.duration_ms,
                )
            })
            .collect::<Vec<_>>()
    };
    let row = |prompt: &str, outcome: &str, n: u64, calls: u64, failed: u64, ms: Option<u64>| {
        (prompt.to_owned(), outcome.to_owned(), n, calls, failed, ms)
    };
    let mut expected = vec![
        row("one", "completed", 1, 1, 1, Some(10)),
        row("", "completed", 0, 0, 0, Some(0)),
        row("", "completed", 0, 0, 0, Some(0)),
        row("two", "open", 2, 1, 0, None),
    ];
    assert_eq!(turns(&stream), expected);
    assert_eq!(stream.session().counts.turns, 3);
    stream.main(50, ended("other"));
    expected[3] = row("two", "cut_off", 2, 1, 0, None);
    assert_eq!(turns(&stream), expected);
}

/// A session of a whole week costs the live state no more than one of a day.
#[test]
fn a_session_of_a_hundred_thousand_events_has_a_bounded_state_and_exact_counts() {
    let mut stream = Stream::default();
    const TURNS: u32 = 14_285;
    for n in 0..TURNS {
        let (ms, id) = (i64::from(n) * 10, format!("t{n}"));
        stream.main(ms, prompt(&format!("prompt {n}")));
        stream.main(ms + 1, edit(&id, &format!("/code/app/src/some/module/file_{n}.rs")));
        stream.main(ms + 2, edited(&id, None, 2));
        let words = ["a", "b", "c"][n as usize % 3].repeat(1 + n as usize % 200);
        stream.main(ms + 3, failed(&format!("f{n}"), &format!("{words} failed")));
        stream.push(ms + 4, "s", Some(&format!("agent-{n}")), subagent(&format!("agent-{n}"), true));
        if n % 100 == 0 {
            stream.main(ms + 5, asked(&format!("never-{n}")));
        }
        stream.main(ms + 6, said(&format!("m{n}"), 3));
        stream.main(ms + 7, turn());
    }
    assert!(stream.events.len() > 100_000);
    let fold = stream.fold();
    let session = &fold.state().recent["s"];
    let bytes = postcard::to_stdvec(session).unwrap().len();
    assert!(bytes < 256 * 1024, "{bytes} bytes of state");
    let turns = u64::from(TURNS);
    assert_eq!(
        (session.events, session.counts.turns, session.counts.tool_calls),
        (stream.events.len() as u64, turns, 2 * turns)
    );
    assert_eq!((session.files.writes, session.files.lines.added), (turns, 2 * turns));
    assert_eq!(session.files.lost + session.files.by_path.len() as u64, turns);
    let failures: u64 = session.failures.values().map(|failure| failure.count).sum();
    assert_eq!(failures + session.failures_other, turns);
    assert_eq!(session.tokens.output, 3 * turns);
}

/// A subagent that nobody saw stop does not run on in a session that is presumed dead; while the session may live, it may.
#[test]
fn an_open_subagent_is_presumed_dead_with_its_session_and_not_before() {
    let mut stream = Stream::default();
    stream.main(0, prompt("p"));
    stream.push(1, "s", Some("stopped"), subagent("stopped", true));
    stream.push(2, "s", Some("stopped"), subagent("stopped", false));
    stream.push(3, "s", Some("open"), subagent("open", true));
    let detail = |micros: i64| {
        let looking = looking(Timestamp::from_micros(micros));
        view::detail("s", &stream.session(), Seq::new(4), &looking)
    };
    let (soon, late) = (detail(4_000), detail(i64::MAX));
    assert!(!soon.viewer.presumes_agent("open") && soon.viewer.agents_presumed_dead.is_empty());
    assert_eq!(late.viewer.agents_presumed_dead, ["open"]);
    assert_eq!(late.agents, soon.agents, "what the events say stays");
    let text = serde_json::to_value(&late.viewer).unwrap();
    assert_eq!(serde_json::from_value::<Viewer>(text).unwrap(), late.viewer);
}
