//! Statistics of small streams written by hand, and of ranges of a store.

use serde_json::{Value, json};
use uuid::Uuid;

use super::tokens::Reply;
use super::*;
use crate::event::{Event, Payload, payload};
use crate::projection::sessions::SessionsProjection;
use crate::projection::sessions::state::Tokens;
use crate::projection::testing::{DAY, MINUTE, Stream};
use crate::store::{Level, testing};

fn prompt() -> Payload {
    payload::PromptSubmitted { prompt: "p".into(), prompt_id: None }.into()
}

fn said(message_id: &str, output_tokens: Option<u64>) -> Payload {
    let usage = output_tokens.map(|output_tokens| payload::Usage {
        input_tokens: 10,
        output_tokens,
        cache_read_tokens: 100,
        cache_creation_tokens: 1,
    });
    payload::AgentMessage { model: "opus".into(), text: "words".into(), usage, message_id: message_id.into() }
        .into()
}

fn failed_turn() -> Payload {
    payload::TurnFailed { error: "e".into(), details: None }.into()
}

fn run(stream: &mut Stream, ms: i64, n: u128, payload: impl Into<Payload>) -> &mut Event {
    let event = stream.push(ms, payload);
    event.correlation = Uuid::from_u128(1_000 + n);
    event
}

fn started() -> Payload {
    payload::CliCommandStarted { command: "import".into(), args: vec![] }.into()
}

fn completed(duration_ms: u64) -> Payload {
    payload::CliCommandCompleted { command: "import".into(), duration_ms, result_summary: String::new() }
        .into()
}

fn stats(stream: &Stream, by: Option<By>) -> Stats {
    let mut stats = Stats::new(by);
    stream.events.iter().for_each(|event| stats.apply(event));
    stats
}

fn json_of(stream: &Stream, by: Option<By>) -> Value {
    let query = Query { by, ..Query::default() };
    serde_json::to_value(view::stats(&stats(stream, by), &Progress::default(), &query, None)).unwrap()
}

#[test]
fn of_nothing_nothing_is_known() {
    let shown = json_of(&Stream::default(), None);
    assert_eq!(shown["groups"], Value::Null);
    let total = &shown["total"];
    assert_eq!(
        (&total["events"], &total["from_seq"], &total["commands"]),
        (&json!(0), &Value::Null, &json!([]))
    );
    assert_eq!(
        (&total["sessions"]["durations"], &total["tokens"]["total"]["tokens"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(total["health"]["rates"]["turns"], json!({"ended": 0, "failed": 0, "failed_bp": null}));
}

#[test]
fn the_last_line_of_a_message_counts_once_and_copies_do_not() {
    let mut stream = Stream::default();
    stream.of(0, "a", None, said("m1", Some(5)));
    stream.of(2, "a", None, said("m1", Some(50)));
    stream.of(1, "a", None, said("m1", Some(20)));
    stream.of(3, "a", None, said("m2", None));
    stream.of(4, "b", None, said("m1", Some(900)));
    stream.of(5, "a", Some("helper"), said("m3", Some(7)));
    let total = json_of(&stream, None)["total"]["tokens"]["total"].clone();
    assert_eq!(total["tokens"], json!({"input": 20, "output": 57, "cache_read": 200, "cache_creation": 2}));
    assert_eq!(
        (&total["messages"], &total["messages_with_usage"], &total["lines_copied"]),
        (&json!(3), &json!(2), &json!(1))
    );
    // The list of sessions says the same.
    let fold = stream.fold::<SessionsProjection>();
    let mut sum = Tokens::default();
    fold.state().all().for_each(|(_, session)| sum.replace(Tokens::default(), session.tokens));
    assert_eq!(sum.total(), 20 + 57 + 200 + 2);
}

#[test]
fn a_message_without_a_usage_is_unknown_not_0() {
    let mut stream = Stream::default();
    stream.of(0, "a", None, said("m", None));
    let model = json_of(&stream, None)["total"]["tokens"]["models"][0].clone();
    assert_eq!(
        (&model["model"], &model["messages"], &model["tokens"]),
        (&json!("opus"), &json!(1), &Value::Null)
    );
}

#[test]
fn each_thing_belongs_to_the_group_of_its_beginning() {
    let mut stream = Stream::default();
    run(&mut stream, DAY - 5, 1, started());
    run(&mut stream, DAY + 5, 1, completed(10));
    stream.of(DAY - MINUTE, "a", None, prompt());
    stream.of(DAY + MINUTE, "a", None, failed_turn());
    stream.of(DAY - 1, "a", None, said("m", Some(1)));
    stream.of(DAY + 1, "a", None, said("m", Some(9)));
    let shown = json_of(&stream, Some(By::Day));
    let groups = shown["groups"].as_array().unwrap();
    let keys: Vec<_> = groups.iter().map(|group| group["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["1970-01-01", "1970-01-02"]);
    let (first, second) = (&groups[0], &groups[1]);
    assert_eq!(first["commands"][0]["completed"], 1);
    assert_eq!((&first["from_seq"], &first["to_seq"], &first["events"]), (&json!(1), &json!(5), &json!(3)));
    assert_eq!((&first["commands"][0]["from_seq"], &first["commands"][0]["to_seq"]), (&json!(1), &json!(2)));
    assert_eq!((&first["sessions"]["sessions"], &second["sessions"]["sessions"]), (&json!(1), &json!(0)));
    assert_eq!((&first["tokens"]["total"]["tokens"]["output"], &second["commands"]), (&json!(9), &json!([])));
    assert_eq!(
        (&first["health"]["rates"]["turns"]["failed"], &second["health"]["rates"]["turns"]["failed"]),
        (&json!(0), &json!(1))
    );
}

#[test]
fn what_names_no_session_or_project_is_a_group_of_its_own() {
    let mut stream = Stream::default();
    run(&mut stream, 0, 1, started());
    stream.of(0, "a", None, prompt()).project = Some("project:app".to_owned());
    let keys = |by| {
        let shown = json_of(&stream, Some(by));
        shown["groups"].as_array().unwrap().iter().map(|group| group["key"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(keys(By::Session), [json!("a"), Value::Null]);
    assert_eq!(keys(By::Project), [json!("project:app"), Value::Null]);
    assert_eq!(keys(By::Hour), [json!("1970-01-01T00")]);
}

#[test]
fn the_groups_add_up_to_the_whole() {
    let mut stream = Stream::default();
    for n in 0..60 {
        let session = format!("s{}", n % 7);
        stream.of(n * 20 * MINUTE, &session, None, prompt());
        stream.of(n * 20 * MINUTE, &session, None, said(&format!("m{}", n / 2), Some(3)));
        run(
            &mut stream,
            n * 20 * MINUTE,
            u128::try_from(n / 3).unwrap(),
            if n % 3 == 0 { started() } else { completed(4) },
        );
    }
    for by in By::ALL {
        let stats = stats(&stream, Some(by));
        let sum = |figure: fn(&Figures) -> u64| stats.groups.values().map(figure).sum::<u64>();
        let figures: [fn(&Figures) -> u64; 4] = [
            |figures| figures.events,
            |figures| figures.commands.0.values().map(|command| command.runs).sum(),
            |figures| figures.sessions.sessions,
            |figures| figures.tokens.0.values().map(|model| model.tokens.total()).sum(),
        ];
        for (n, figure) in figures.into_iter().enumerate() {
            assert!(figure(&stats.total) > 0, "figure {n}");
            assert_eq!(sum(figure), figure(&stats.total), "figure {n} by {by}");
        }
    }
}

#[test]
fn groups_beyond_the_bound_count_together() {
    let mut stream = Stream::default();
    let n = GROUPS_MAX + 5;
    (0..n).for_each(|n| _ = stream.of(0, &format!("s{n:06}"), None, failed_turn()));
    let stats = stats(&stream, Some(By::Session));
    assert_eq!((stats.groups.len(), stats.groups[&Group::Others].events), (GROUPS_MAX + 1, 5));
}

#[test]
fn a_message_that_cannot_be_read_is_counted_as_such() {
    let mut stream = Stream::default();
    stream.of(0, "a", None, said("m", Some(1))).payload =
        crate::event::PayloadText::parse(r#"{"message_id": 7}"#).unwrap();
    let stats = stats(&stream, None);
    assert_eq!((stats.unread, stats.total.tokens.0.len(), stats.total.events), (1, 0, 1));
}

#[test]
fn a_message_keeps_its_place_when_an_earlier_line_comes_late() {
    let mut messages = tokens::Messages::default();
    let mut stream = Stream::default();
    stream.of(DAY, "a", None, said("m", Some(2)));
    stream.of(DAY - 1, "a", None, said("m", Some(1)));
    let mut last: Option<Reply> = None;
    for event in &stream.events {
        let change = messages.take(event).unwrap().unwrap();
        assert_eq!(change.before, last);
        last = Some(change.after);
    }
    let message = last.unwrap();
    assert_eq!((message.first.seq().get(), message.usage.unwrap().value.output), (2, 2));
}

#[tokio::test]
async fn a_range_of_a_store_is_counted_to_the_event() {
    let (store, _log) = testing::memory_store();
    for n in 1..=9 {
        store.emit(vec![testing::event(n)], Level::Disk, None).unwrap().await.unwrap();
    }
    let mut recorded = Vec::new();
    let mut replay = store.replay(Seq::FIRST);
    while let Some(Item::Event(event)) = replay.next().unwrap() {
        recorded.push(event.recorded);
    }
    for (since, until) in
        [(None, None), (Some(2), None), (None, Some(6)), (Some(3), Some(5)), (Some(8), Some(1))]
    {
        let query = Query {
            since: since.map(|n: usize| recorded[n]),
            until: until.map(|n: usize| recorded[n]),
            by: None,
        };
        let (stats, progress) = count(&store, store.first(), &query).unwrap();
        let wanted = |time: &&Timestamp| {
            query.since.is_none_or(|since| since <= **time) && query.until.is_none_or(|until| **time <= until)
        };
        let expected = recorded.iter().filter(wanted).count() as u64;
        assert_eq!((stats.total.events, progress.events), (expected, expected), "{since:?} {until:?}");
    }
}
