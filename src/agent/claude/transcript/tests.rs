use std::fs;
use std::path::Path;

use serde_json::json;

use super::fixture::{Journal, Transcript, message, origin, said, stop};
use super::*;
use crate::event::payload::{ContextCompacted, Usage};

#[test]
fn each_line_becomes_its_kind_in_the_order_of_the_file() {
    let mut transcript = Transcript::new();
    transcript
        .prompt("why?")
        .response("m1", &said("because"), 9)
        .tool("t1", "Bash")
        .answer("t1", "ok", false);
    transcript.tool("t2", "Read").answer("t2", "no such file", true).turn_end();
    let mut journal = Journal::default();
    let report = journal.import(&transcript.path());
    let kinds: Vec<_> = journal.events.iter().map(|event| event.kind.name()).collect();
    assert_eq!(
        kinds,
        [
            "session_started",
            "prompt_submitted",
            "agent_message",
            "tool_call_started",
            "agent_message",
            "tool_call_completed",
            "tool_call_started",
            "agent_message",
            "tool_call_failed",
            "turn_completed",
            "transcript_imported"
        ]
    );
    assert_eq!((report.added, report.lines, report.broken), (10, 7, 0));
    assert!(journal.events.iter().all(|event| event.session.as_deref() == Some("s")));
    assert!(journal.events[..10].iter().all(|event| event.project.as_deref() == Some("project:parcels")));
    assert_eq!(journal.of(Kind::ToolCallFailed)[0].payload.to_json()["error"], "no such file");
}

#[test]
fn importing_twice_adds_nothing_and_reads_nothing() {
    let mut transcript = Transcript::new();
    transcript.prompt("why?").response("m1", &said("because"), 9).turn_end();
    let mut journal = Journal::default();
    journal.import(&transcript.path());
    let before = journal.events.len();
    let report = journal.import(&transcript.path());
    assert_eq!((journal.events.len(), report.unchanged, report.lines), (before, 1, 0));
}

#[test]
fn an_import_that_lost_its_cursor_adds_nothing_either() {
    let mut transcript = Transcript::new();
    transcript
        .prompt("again")
        .prompt("again")
        .tool("t1", "Bash")
        .response("m1", &said("a"), 9)
        .turn_end()
        .turn_end();
    let mut journal = Journal::default();
    journal.import(&transcript.path());
    journal.events.retain(|event| event.kind != Kind::TranscriptImported);
    let before = journal.events.len();
    let report = journal.import(&transcript.path());
    assert_eq!((journal.events.len(), report.added), (before, 0));
    assert_eq!(
        report.known,
        before as u64 - 1,
        "but the tokens of the bare call, which are known by their amount"
    );
}

#[test]
fn an_import_goes_on_where_the_last_one_ended() {
    let mut transcript = Transcript::new();
    transcript.prompt("one").tool("t1", "Bash");
    let mut journal = Journal::default();
    journal.import(&transcript.path());
    transcript.answer("t1", "ok", false).prompt("two");
    let report = journal.import(&transcript.path());
    assert_eq!((report.lines, report.added), (2, 2));
    let end = journal.of(Kind::ToolCallCompleted)[0].payload.to_json();
    assert_eq!(end["tool"], "Bash", "the name stands on a line of the earlier import");
    assert_eq!(journal.of(Kind::SessionStarted).len(), 1);
}

#[test]
fn what_hooks_told_is_left_alone() {
    let mut journal = Journal::default();
    for payload in [
        json!({"session_id": "s", "hook_event_name": "SessionStart", "cwd": "/code/parcels", "source": "startup"}),
        json!({"session_id": "s", "hook_event_name": "UserPromptSubmit", "cwd": "/code/parcels", "prompt": "why?"}),
        json!({"session_id": "s", "hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_use_id": "t1", "tool_input": {}}),
        json!({"session_id": "s", "hook_event_name": "PostToolUse", "tool_name": "Bash", "tool_use_id": "t1", "tool_response": "ok"}),
        stop(),
    ] {
        journal.hook(&payload);
    }
    let mut transcript = Transcript::new();
    transcript
        .prompt("why?")
        .tool("t1", "Bash")
        .answer("t1", "ok", false)
        .response("m1", &said("done"), 9)
        .turn_end();
    journal.import(&transcript.path());
    let added: Vec<_> = journal.events[5..].iter().map(|event| event.kind.name()).collect();
    assert_eq!(
        added,
        ["agent_message", "agent_message", "transcript_imported"],
        "tokens and text, which no hook tells"
    );
}

#[test]
fn three_equal_turn_ends_of_which_hooks_told_two_give_one_more() {
    let mut journal = Journal::default();
    journal.hook(&stop());
    journal.hook(&stop());
    let mut transcript = Transcript::new();
    transcript.turn_end().turn_end();
    assert_eq!(journal.import(&transcript.path()).added, 1, "the session's start");
    transcript.turn_end();
    assert_eq!(journal.import(&transcript.path()).added, 1, "counted over both imports");
    assert_eq!(journal.of(Kind::TurnCompleted).len(), 3);
    journal.events.retain(|event| event.kind != Kind::TranscriptImported);
    assert_eq!(journal.import(&transcript.path()).added, 0);
}

#[test]
fn the_last_line_of_a_response_says_its_tokens_and_they_are_counted_once() {
    let mut transcript = Transcript::new();
    transcript.response("m1", &said("first"), 10).tool("t1", "Bash").response("m1", &said("second"), 10);
    transcript.answer("t1", "ok", false).response("m1", &json!({"type": "thinking"}), 441);
    let mut journal = Journal::default();
    journal.import(&transcript.path());
    assert_eq!(journal.spent(), 441 + 4);
    let carrier: Vec<_> = journal
        .of(Kind::AgentMessage)
        .into_iter()
        .map(message)
        .filter(|message| message.message_id == "m1")
        .map(|message| (message.text, message.usage.map(|usage| usage.output_tokens)))
        .collect();
    assert_eq!(carrier, [("first".to_owned(), None), ("second".to_owned(), Some(441))]);
}

#[test]
fn a_response_that_goes_on_after_an_import_says_the_greater_amount() {
    let mut transcript = Transcript::new();
    transcript.response("m1", &said("first"), 10);
    let mut journal = Journal::default();
    journal.import(&transcript.path());
    transcript.response("m1", &json!({"type": "thinking"}), 30);
    journal.import(&transcript.path());
    assert_eq!(journal.spent(), 30);
    let last = message(journal.of(Kind::AgentMessage)[1]).usage;
    assert_eq!(
        last,
        Some(Usage { input_tokens: 3, output_tokens: 30, cache_read_tokens: 5, cache_creation_tokens: 7 })
    );
}

#[test]
fn lines_that_a_fork_copied_are_the_older_sessions() {
    let mut transcript = Transcript::new();
    transcript
        .prompt("why?")
        .response("m1", &said("because"), 9)
        .tool("t1", "Bash")
        .answer("t1", "ok", false);
    let mut journal = Journal::default();
    journal.import(&transcript.path());
    let copied =
        fs::read_to_string(transcript.path()).unwrap().replace(r#""sessionId":"s""#, r#""sessionId":"fork""#);
    assert_ne!(copied, fs::read_to_string(transcript.path()).unwrap());
    let fork = transcript.dir.path().join("fork.jsonl");
    fs::write(&fork, copied).unwrap();
    let report = journal.import(&fork);
    assert_eq!(report.added, 1, "the start of the session, and nothing else, is new");
    assert_eq!(journal.spent(), 13);
}

#[test]
fn a_broken_line_is_told_by_its_number_and_the_rest_is_read() {
    let mut transcript = Transcript::new();
    transcript.prompt("one").raw("{\"type\": \"user\", \"mess\n").raw("[1]\n").prompt("two");
    let mut journal = Journal::default();
    let report = journal.import(&transcript.path());
    let told: Vec<_> = report.broken_lines.iter().map(|broken| broken.line).collect();
    assert_eq!((report.broken, told), (2, vec![2, 3]));
    assert!(
        report.broken_lines.iter().all(|broken| !broken.reason.contains("mess")),
        "a line may hold secrets"
    );
    assert_eq!(journal.of(Kind::PromptSubmitted).len(), 2);
}

#[test]
fn a_last_line_that_is_still_being_written_is_left_for_the_next_import() {
    let mut transcript = Transcript::new();
    transcript.prompt("one").prompt("two");
    let whole = fs::read(transcript.path()).unwrap();
    let mut journal = Journal::default();
    fs::write(transcript.path(), &whole[..whole.len() - 10]).unwrap();
    let report = journal.import(&transcript.path());
    assert_eq!((report.broken, report.unfinished.len()), (0, 1));
    assert_eq!(journal.of(Kind::PromptSubmitted).len(), 1);
    fs::OpenOptions::new()
        .append(true)
        .open(transcript.path())
        .and_then(|mut file| std::io::Write::write_all(&mut file, &whole[whole.len() - 10..]))
        .unwrap();
    let report = journal.import(&transcript.path());
    assert_eq!((report.lines, report.unfinished.len()), (1, 0));
    assert_eq!(journal.of(Kind::PromptSubmitted).len(), 2);
}

#[test]
fn a_file_that_was_replaced_is_read_from_its_start() {
    let mut transcript = Transcript::new();
    transcript.prompt("one").prompt("two");
    let mut journal = Journal::default();
    journal.import(&transcript.path());
    let other = fs::read_to_string(transcript.path())
        .unwrap()
        .replace("line-", "other-")
        .replace("\"one\"", "\"uno and more\"");
    fs::write(transcript.path(), other).unwrap();
    assert_eq!(journal.import(&transcript.path()).added, 2, "same inode, other lines");
    fs::write(transcript.path(), "").unwrap();
    transcript.prompt("three");
    assert_eq!(journal.import(&transcript.path()).added, 1, "shorter than its cursor");
}

#[test]
fn a_compaction_has_its_size_and_the_summary_that_follows_it() {
    let mut transcript = Transcript::new();
    transcript.line(&json!({"type": "system", "subtype": "compact_boundary", "compactMetadata": {"trigger": "auto", "preTokens": 167_094}}));
    transcript.line(&json!({"isCompactSummary": true, "message": {"content": "so far"}}));
    let mut journal = Journal::default();
    journal.import(&transcript.path());
    let compacted: ContextCompacted = journal.of(Kind::ContextCompacted)[0].payload_as().unwrap().unwrap();
    assert_eq!(
        compacted,
        ContextCompacted {
            trigger: "auto".into(),
            pre_tokens: Some(167_094),
            summary: Some("so far".into())
        }
    );
    assert!(journal.of(Kind::PromptSubmitted).is_empty());
}

#[test]
fn a_subagent_is_joined_to_the_call_that_made_it() {
    let mut transcript = Transcript::new();
    transcript.response(
        "m1",
        &json!({"type": "tool_use", "id": "t1", "name": "Task", "input": {"subagent_type": "Explore"}}),
        4,
    );
    transcript.line(&json!({
        "message": {"content": [{"type": "tool_result", "tool_use_id": "t1", "content": "found"}]},
        "toolUseResult": {"status": "completed", "agentId": "a1", "content": [{"type": "text", "text": "found"}], "totalDurationMs": 70},
    }));
    let own = transcript.dir.path().join("agent-a1.jsonl");
    let line = json!({"type": "user", "uuid": "u1", "sessionId": "s", "agentId": "a1", "isSidechain": true, "timestamp": "2026-02-11T20:00:00Z", "message": {"content": "look"}});
    fs::write(own, format!("{line}\n")).unwrap();
    let mut journal = Journal::default();
    journal.import(transcript.dir.path());
    let call = journal.of(Kind::ToolCallStarted)[0].id;
    let (start, end) = (journal.of(Kind::SubagentStarted)[0], journal.of(Kind::SubagentStopped)[0]);
    assert_eq!((start.causation, start.agent.as_deref()), (Some(call), Some("a1")));
    assert_eq!(start.payload.to_json()["agent_type"], "Explore");
    assert_eq!(
        (end.causation, end.payload.to_json()["last_message"].as_str()),
        (Some(start.id), Some("found"))
    );
    assert_eq!(journal.of(Kind::ToolCallCompleted)[0].payload.to_json()["duration_ms"], 70);
    assert_eq!(journal.of(Kind::PromptSubmitted)[0].agent.as_deref(), Some("a1"));
}

#[test]
fn an_interruption_by_a_person_is_no_prompt_and_no_end_that_a_hook_told() {
    let mut journal = Journal::default();
    journal.hook(&json!({"session_id": "s", "hook_event_name": "StopFailure", "error": "rate_limit"}));
    let mut transcript = Transcript::new();
    transcript.line(&json!({"message": {"content": [said("[Request interrupted by user for tool use]")]}}));
    transcript.line(&json!({"type": "assistant", "isApiErrorMessage": true, "error": "rate_limit", "message": {"content": [said("limit")]}}));
    journal.import(&transcript.path());
    let errors: Vec<_> =
        journal.of(Kind::TurnFailed).iter().map(|event| event.payload.to_json()["error"].clone()).collect();
    assert_eq!(errors, ["rate_limit", "interrupted"]);
}

#[test]
fn odd_lines_neither_stop_the_import_nor_are_lost_from_the_count() {
    let mut transcript = Transcript::new();
    transcript
        .raw("{\"type\": 4}\n")
        .raw("{}\n")
        .raw("\n")
        .line(&json!({"type": "assistant", "message": "text"}));
    transcript
        .line(&json!({"type": "next-year", "sessionId": {"a": 1}}))
        .line(&json!({"message": {"content": [4, null, {"type": "tool_result"}]}}));
    let mut journal = Journal::default();
    let report = journal.import(&transcript.path());
    assert_eq!((report.broken, report.lines), (0, 5));
    assert_eq!(report.ignored.get("next-year"), Some(&1));
}

#[test]
fn a_sink_that_fails_stops_the_import_and_the_next_one_adds_the_rest() {
    let mut transcript = Transcript::new();
    transcript.prompt("one");
    let mut journal = Journal { fails: true, ..Journal::default() };
    let path = [transcript.path()];
    let mut known = Known::default();
    let error = import(&path, &mut known, &mut journal, &origin(), &Redactor::new(), &mut |_| {})
        .expect_err("it fails");
    assert!(matches!(error, ImportError::Sink { .. }));
    journal.fails = false;
    assert_eq!(journal.import(&transcript.path()).added, 2);
}

#[test]
fn what_cannot_be_read_is_told_and_does_not_stop_the_others() {
    let mut transcript = Transcript::new();
    transcript.prompt("one");
    let missing = transcript.dir.path().join("missing.jsonl");
    let mut journal = Journal::default();
    let paths = [missing.clone(), transcript.path()];
    let report =
        import(&paths, &mut Known::default(), &mut journal, &origin(), &Redactor::new(), &mut |_| {})
            .expect("goes on");
    assert_eq!((report.unreadable[0].0.as_path(), report.added), (missing.as_path(), 2));
    let refused =
        import_file(Path::new("/dev/null"), &mut Known::default(), &mut journal, &origin(), &Redactor::new());
    assert!(matches!(refused, Err(ImportError::NotAFile { .. })));
}

/// A sink that only measures: the largest batch in bytes, and all events.
#[derive(Default)]
struct Measure {
    bytes_max: usize,
    events: u64,
}

impl Sink for Measure {
    fn emit(&mut self, events: Vec<Event>) -> Result<Taken, SinkError> {
        let bytes = events.iter().map(|event| event.payload.as_str().len()).sum();
        self.bytes_max = self.bytes_max.max(bytes);
        self.events += events.len() as u64;
        Ok(Taken { added: events.len() as u64, known: 0 })
    }
}

#[test]
fn a_batch_never_exceeds_what_one_request_takes() {
    let mut transcript = Transcript::new();
    let big = "x".repeat(60_000);
    for n in 0..40 {
        let message = json!({"id": format!("m{n}"), "model": "m", "content": [said(&big)]});
        transcript.line(&json!({"type": "assistant", "message": message}));
    }
    let mut measure = Measure::default();
    let mut known = Known::default();
    let report = import_file(&transcript.path(), &mut known, &mut measure, &origin(), &Redactor::new())
        .expect("imported");
    assert!((60_001..=BATCH_BYTES_MAX).contains(&measure.bytes_max), "{}", measure.bytes_max);
    assert_eq!((report.added, measure.events), (41, 42), "one more says how far it came");
}
