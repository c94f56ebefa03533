//! What the commands projection says, on small streams written by hand and on random orders of them.

use proptest::prelude::*;
use uuid::Uuid;

use super::figures::{COMMANDS_KEPT_MAX, OTHER_COMMANDS};
use super::spans::{SPANS_KEPT_MAX, SPANS_RECENT_MAX};
use super::view::{CommandView, SessionsView, commands};
use super::*;
use crate::event::{Event, Payload, payload};
use crate::projection::snapshot;
use crate::projection::testing::{DAY, MINUTE, Stream};

fn started(command: &str) -> Payload {
    payload::CliCommandStarted { command: command.into(), args: vec![] }.into()
}

fn completed(command: &str, duration_ms: u64) -> Payload {
    payload::CliCommandCompleted { command: command.into(), duration_ms, result_summary: String::new() }
        .into()
}

fn failed(command: &str, duration_ms: Option<u64>) -> Payload {
    let inferred = duration_ms.is_none().then_some(true);
    let exit_code = duration_ms.map(|_| 1);
    payload::CliCommandFailed {
        command: command.into(),
        error: "no".into(),
        duration_ms,
        exit_code,
        inferred,
    }
    .into()
}

fn annotated() -> Payload {
    payload::Annotated { seq: 1, text: "t".into() }.into()
}

fn prompt() -> Payload {
    payload::PromptSubmitted { prompt: "p".into(), prompt_id: None }.into()
}

fn ended(reason: &str, inferred: bool) -> Payload {
    payload::SessionEnded { reason: reason.into(), inferred }.into()
}

fn run(event: &mut Event, n: u128) -> &mut Event {
    event.correlation = Uuid::from_u128(1_000 + n);
    event
}

fn state(stream: &Stream) -> Commands {
    stream.fold::<CommandsProjection>().state().clone()
}

fn only(stream: &Stream) -> CommandView {
    let rows = commands(&state(stream).commands);
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows[0].clone()
}

#[test]
fn a_run_is_running_until_its_end_and_counts_its_events() {
    let mut stream = Stream::default();
    run(stream.push(0, started("import")), 1);
    assert_eq!((only(&stream).runs, only(&stream).running, only(&stream).failure_rate_bp), (1, 1, None));
    assert_eq!(only(&stream).durations, None, "unknown, not 0");
    run(stream.push(1, annotated()), 1);
    stream.push(1, annotated());
    run(stream.push(9, completed("import", 9)), 1);
    let row = only(&stream);
    assert_eq!((row.runs, row.running, row.completed, row.failed), (1, 0, 1, 0));
    assert_eq!((row.events, row.events_per_run_hundredths, row.importance_max), (3, 300, 4));
    assert_eq!(row.durations.map(|d| (d.count, d.mean_ms, d.p99_ms)), Some((1, 9, 9)));
    assert_eq!((row.seqs.from_seq, row.seqs.to_seq), (Some(Seq::new(1)), Some(Seq::new(4))));
    assert_eq!(row.failure_rate_bp, Some(0));
}

#[test]
fn an_inferred_failure_is_counted_apart_and_gives_way_to_a_report() {
    let mut stream = Stream::default();
    run(stream.push(0, started("demo")), 1);
    run(stream.push(0, started("demo")), 2);
    run(stream.push(5, failed("demo", None)), 1);
    run(stream.push(5, failed("demo", Some(5))), 2);
    let row = only(&stream);
    assert_eq!((row.runs, row.failed, row.failed_inferred, row.failure_rate_bp), (2, 1, 1, Some(10_000)));
    assert_eq!(row.durations.map(|d| d.count), Some(1));
    run(stream.push(7, completed("demo", 7)), 1);
    let row = only(&stream);
    assert_eq!((row.completed, row.failed, row.failed_inferred, row.failure_rate_bp), (1, 1, 0, Some(5_000)));
}

#[test]
fn a_run_belongs_to_the_day_of_its_start_even_if_that_comes_last() {
    let mut stream = Stream::default();
    run(stream.push(DAY + 5, completed("import", 10)), 1);
    let days = |stream: &Stream| -> Vec<(String, u64)> {
        let days = state(stream).days.kept;
        days.iter().map(|(day, figures)| (day.to_string(), figures.commands.0["import"].runs)).collect()
    };
    assert_eq!(days(&stream), [("1970-01-02".to_owned(), 1)]);
    run(stream.push(DAY - 5, started("import")), 1);
    assert_eq!(days(&stream), [("1970-01-01".to_owned(), 1)]);
}

#[test]
fn sessions_are_open_over_and_open_again() {
    let mut stream = Stream::default();
    let view = |stream: &Stream| SessionsView::of(&state(stream).sessions);
    stream.of(0, "a", None, prompt());
    assert_eq!((view(&stream).sessions, view(&stream).open, view(&stream).durations), (1, 1, None));
    stream.of(5 * MINUTE, "a", None, ended("logout", false));
    let over = view(&stream);
    assert_eq!((over.open, over.ended, over.outcomes[0].reason.as_str()), (0, 1, "logout"));
    assert_eq!(over.durations.map(|d| d.mean_ms), Some(300_000));
    stream.of(MINUTE, "a", None, prompt());
    assert_eq!(view(&stream).ended, 1, "a late line does not open it again");
    stream.of(6 * MINUTE, "a", None, prompt());
    assert_eq!((view(&stream).open, view(&stream).ended, view(&stream).outcomes.len()), (1, 0, 0));
    stream.of(9 * MINUTE, "a", None, ended("other", true));
    assert_eq!((view(&stream).ended, view(&stream).ended_inferred), (0, 1));
    assert_eq!(
        view(&stream).durations.map(|d| d.mean_ms),
        Some(360_000),
        "to the last sign, not to the finding"
    );
    stream.of(7 * MINUTE, "a", None, prompt());
    assert_eq!(
        view(&stream).durations.map(|d| (d.count, d.mean_ms)),
        Some((1, 420_000)),
        "a late line moves it"
    );
    // An import long after the end, and a command in it, say nothing of the agent.
    stream.of(DAY, "a", None, started("import"));
    assert_eq!(view(&stream).ended_inferred, 1);
}

#[test]
fn a_line_from_the_day_before_moves_the_session_there() {
    let mut stream = Stream::default();
    stream.of(DAY + 1, "a", None, prompt());
    stream.of(DAY - 1, "a", None, prompt());
    let days: Vec<_> = state(&stream).days.kept.keys().map(ToString::to_string).collect();
    assert_eq!(days, ["1970-01-01"]);
}

#[test]
fn names_beyond_the_bound_count_together_and_none_is_lost() {
    let mut stream = Stream::default();
    for n in 0..COMMANDS_KEPT_MAX as u128 + 5 {
        run(stream.push(0, started(&format!("command-{n}"))), n);
        run(stream.push(1, completed(&format!("command-{n}"), 1)), n);
    }
    let table = state(&stream).commands.0;
    assert_eq!(table.len(), COMMANDS_KEPT_MAX + 1);
    let other = &table[OTHER_COMMANDS];
    assert_eq!((other.runs, other.completed, other.durations.count()), (5, 5, 5));
}

#[test]
fn open_runs_beyond_the_bound_are_given_up_and_stay_counted() {
    let mut stream = Stream::default();
    let n = runs::RUNS_OPEN_MAX as u128 + 3;
    (0..n).for_each(|n| _ = run(stream.push(0, started("serve")), n));
    let state = state(&stream);
    assert_eq!((state.runs.given_up, u128::from(state.commands.0["serve"].runs)), (3, n));
}

/// Each session is seen, left behind by others, seen again and ended: wherever it lay meanwhile, it is one session with its whole duration.
#[test]
fn a_session_is_the_same_one_whether_it_was_among_the_recent_or_in_the_archive() {
    let sessions = i64::try_from(3 * SPANS_RECENT_MAX).unwrap();
    let name = |n: i64| format!("session-{n}");
    let mut stream = Stream::default();
    (0..sessions).for_each(|n| _ = stream.of(n, &name(n), None, prompt()));
    (0..sessions).for_each(|n| _ = stream.of(n + MINUTE, &name(n), None, ended("other", false)));
    let fold = stream.fold::<CommandsProjection>();
    let told = SessionsView::of(&fold.state().sessions);
    let durations = told.durations.unwrap();
    assert_eq!(
        (told.sessions, told.ended, told.open),
        (sessions.cast_unsigned(), sessions.cast_unsigned(), 0)
    );
    assert_eq!((durations.count, durations.mean_ms), (sessions.cast_unsigned(), 60_000));
    assert_eq!(fold.state().spans.forgotten, 0);

    // In a snapshot, or with a fold that goes on from it, nothing differs.
    let mut going = crate::projection::Fold::<CommandsProjection>::default();
    for event in &stream.events {
        going.apply(event);
        if event.seq.get().is_multiple_of(499) {
            let bytes = snapshot::encode(&going, [7; 16]).unwrap();
            going = snapshot::decode(&bytes, [7; 16], event.seq).unwrap();
        }
    }
    assert_eq!(going.state(), fold.state());
    assert_eq!(going.hash().unwrap(), fold.hash().unwrap());
    let json = serde_json::to_value(&fold.state().spans).unwrap();
    assert_eq!(json["by_session"].as_object().unwrap().len(), 3 * SPANS_RECENT_MAX, "wherever they lie");
    let told: spans::Spans = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(&told).unwrap(), json);
}

/// The pages of the archive lie in files of their own, and in a base with the rest.
#[test]
fn a_state_whose_sessions_fill_pages_comes_back_from_its_files_and_from_a_base() {
    let mut stream = Stream::default();
    let sessions = i64::try_from(SPANS_KEPT_MAX).unwrap() / 2;
    (0..sessions).for_each(|n| _ = stream.of(n, &format!("session-{n}"), None, prompt()));
    (0..sessions / 4)
        .for_each(|n| _ = stream.of(n + MINUTE, &format!("session-{}", 3 * n), None, ended("other", false)));
    let fold = stream.fold::<CommandsProjection>();
    let dir = tempfile::tempdir().unwrap();
    let files = snapshot::Files::new(dir.path(), [7; 16]);
    let (bytes, parts) = snapshot::encode_apart(&fold, [7; 16]).unwrap();
    assert!(parts.len() > 3, "{} pages", parts.len());
    files.save_with_parts::<CommandsProjection>(&bytes, &parts).unwrap();
    let found = files.newest::<CommandsProjection>(snapshot::Span::up_to(fold.seq()));
    let found = found.fold.unwrap();
    assert_eq!((found.state(), found.hash().unwrap()), (fold.state(), fold.hash().unwrap()));
    let in_base = snapshot::encode(&fold, [7; 16]).unwrap();
    let decoded = snapshot::decode_primary::<CommandsProjection>(&in_base, [7; 16], fold.seq()).unwrap();
    assert_eq!((decoded.state(), decoded.hash().unwrap()), (fold.state(), fold.hash().unwrap()));
}

#[test]
fn sessions_beyond_the_bound_are_forgotten_one_by_one_and_stay_counted() {
    let mut stream = Stream::default();
    let sessions = i64::try_from(SPANS_KEPT_MAX).unwrap() + 3;
    (0..sessions).for_each(|n| _ = stream.of(n, &format!("session-{n}"), None, prompt()));
    assert_eq!(state(&stream).spans.forgotten, 3);
    // The first three are away and count once more; the fourth is still known until they push it out.
    stream.of(sessions, "session-3", None, prompt());
    assert_eq!(state(&stream).sessions.sessions, sessions.cast_unsigned());
    stream.of(sessions + 1, "session-0", None, prompt());
    assert_eq!(state(&stream).sessions.sessions, sessions.cast_unsigned() + 1);
}

#[test]
fn what_cannot_be_read_is_counted_and_changes_nothing() {
    let mut stream = Stream::default();
    let event = stream.push(0, started("import"));
    event.payload = crate::event::PayloadText::parse(r#"{"command": 7}"#).unwrap();
    let state = state(&stream);
    assert_eq!((state.unread, state.commands.0.len()), (1, 0));
}

/// What a run did, without its events in between.
#[derive(Debug, Clone)]
struct Planned {
    command: usize,
    at: i64,
    end: Option<(bool, Option<u64>)>,
}

fn planned() -> impl Strategy<Value = Planned> {
    let end = prop::option::of((any::<bool>(), prop::option::of(0_u64..5_000)));
    (0_usize..3, 0_i64..5 * DAY, end).prop_map(|(command, at, end)| Planned { command, at, end })
}

proptest! {
    #[test]
    fn the_figures_are_those_of_a_recount_in_any_order(
        plan in prop::collection::vec(planned(), 1..40),
        seed in any::<prop::sample::Index>(),
    ) {
        let names = ["import", "demo", "export"];
        let mut stream = Stream::default();
        for (n, planned) in plan.iter().enumerate() {
            let name = names[planned.command];
            run(stream.push(planned.at, started(name)), n as u128);
            if let Some((fails, ms)) = planned.end {
                let end = if fails { failed(name, ms) } else { completed(name, ms.unwrap_or(0)) };
                run(stream.push(planned.at + 10, end), n as u128);
            }
        }
        let len = stream.events.len();
        let mut order: Vec<usize> = (0..len).collect();
        order.rotate_left(seed.index(len));
        order.reverse();
        let (forward, other) = (state(&stream), state(&stream.reordered(&order)));
        let without_seqs = |state: &Commands| {
            let mut rows = commands(&state.commands);
            for row in &mut rows {
                row.seqs = None.into();
            }
            let days = state.days.kept.iter();
            let days: Vec<_> = days.map(|(day, figures)| (*day, commands(&figures.commands)
                .into_iter().map(|row| (row.command, row.runs, row.completed, row.durations)).collect::<Vec<_>>())).collect();
            (rows, days)
        };
        prop_assert_eq!(without_seqs(&forward), without_seqs(&other));
        for (command, name) in names.iter().enumerate() {
            let mine = plan.iter().filter(|planned| planned.command == command);
            let expected = (
                mine.clone().count() as u64,
                mine.clone().filter(|planned| matches!(planned.end, Some((false, _)))).count() as u64,
                mine.clone().filter(|planned| matches!(planned.end, Some((true, Some(_))))).count() as u64,
                mine.filter(|planned| matches!(planned.end, Some((true, None)))).count() as u64,
            );
            let told = forward.commands.0.get(*name).cloned().unwrap_or_default();
            prop_assert_eq!(expected, (told.runs, told.completed, told.failed, told.failed_inferred));
        }
        let by_day: u64 = forward.days.kept.values().flat_map(|day| day.commands.0.values()).map(|f| f.runs).sum();
        prop_assert_eq!(by_day, plan.len() as u64);
    }
}
