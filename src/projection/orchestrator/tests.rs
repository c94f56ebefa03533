//! What the orchestrator projection says, on small streams written by hand.

use proptest::prelude::*;

use super::state::ITEMS_KEPT_MAX;
use super::view::{RunView, orchestrator};
use super::*;
use crate::event::{Payload, Timestamp, payload};
use crate::projection::testing::Stream;

const RUN: u128 = 7_000;

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// The next event, of an item or of the run itself.
fn push(stream: &mut Stream, correlation: u128, payload: impl Into<Payload>) -> Uuid {
    let ms = i64::try_from(stream.events.len()).unwrap();
    let event = stream.push(ms, payload);
    event.correlation = id(correlation);
    event.id
}

fn begin(stream: &mut Stream, run: u128) -> Uuid {
    push(stream, run, payload::OrchestrationStarted { plan_description: "port it".into(), max_concurrent: 2 })
}

fn finish(completed: u64, failed: u64) -> Payload {
    payload::OrchestrationCompleted {
        work_items_completed: completed,
        work_items_failed: failed,
        duration_ms: 9,
    }
    .into()
}

fn assigned(n: u128) -> Payload {
    let (agent, description, phase) = ("builder".into(), format!("item {n}"), "plan".into());
    payload::WorkItemAssigned { agent, item_id: id(n), description, phase }.into()
}

fn started(n: u128) -> Payload {
    payload::WorkItemStarted { agent: "builder".into(), item_id: id(n), description: "d".into() }.into()
}

fn completed(n: u128) -> Payload {
    payload::WorkItemCompleted {
        agent: "builder".into(),
        item_id: id(n),
        duration_ms: 40,
        memory_ids: vec![],
    }
    .into()
}

fn failed(n: u128) -> Payload {
    payload::WorkItemFailed { agent: "builder".into(), item_id: id(n), error: "no".into() }.into()
}

fn review(n: u128) -> Payload {
    payload::ReviewFailed { item_id: id(n), issues: vec!["one".into(), "two".into()], attempt: 1 }.into()
}

fn requeued(n: u128) -> Payload {
    payload::WorkItemRequeued { item_id: id(n), reason: "review".into(), review_attempt: 1 }.into()
}

fn state(stream: &Stream) -> Orchestrator {
    stream.fold::<OrchestratorProjection>().state().clone()
}

fn run(stream: &Stream) -> RunView {
    let view = orchestrator(&stream.fold::<OrchestratorProjection>());
    assert_eq!(view.runs.len(), 1, "{view:?}");
    view.runs[0].clone()
}

#[test]
fn a_plan_runs_and_its_counts_are_those_of_its_items() {
    let mut stream = Stream::default();
    begin(&mut stream, RUN);
    for n in 1..=3 {
        push(&mut stream, n, assigned(n));
        push(&mut stream, n, started(n));
    }
    push(&mut stream, 1, completed(1));
    push(&mut stream, 2, failed(2));
    let running = run(&stream);
    assert_eq!((running.completed, running.failed, running.active, running.ended), (1, 1, 1, None));
    push(&mut stream, 3, completed(3));
    push(&mut stream, RUN, finish(2, 1));
    let over = run(&stream);
    assert_eq!((over.completed, over.failed, over.last_word_agrees), (2, 1, Some(true)));
    assert_eq!(
        (over.items.len(), over.items[0].duration_ms, over.items[1].error.as_deref()),
        (3, Some(40), Some("no"))
    );
    assert_eq!(state(&stream).totals.illegal, 0);
}

#[test]
fn a_last_word_that_is_not_what_happened_is_shown_as_such() {
    let mut stream = Stream::default();
    begin(&mut stream, RUN);
    push(&mut stream, 1, assigned(1));
    push(&mut stream, RUN, finish(1, 0));
    assert_eq!((run(&stream).completed, run(&stream).last_word_agrees), (0, Some(false)));
}

#[test]
fn an_illegal_move_changes_no_state_and_is_shown() {
    let mut stream = Stream::default();
    begin(&mut stream, RUN);
    push(&mut stream, 1, completed(1));
    push(&mut stream, 2, assigned(2));
    push(&mut stream, 2, completed(2));
    push(&mut stream, 2, requeued(2));
    let run = run(&stream);
    assert_eq!((run.completed, run.items.len(), run.items[0].state), (0, 1, ItemState::Assigned));
    let moves: Vec<_> = run.illegal.iter().map(|illegal| (illegal.from, illegal.to)).collect();
    let assigned = Some(ItemState::Assigned);
    assert_eq!(
        moves,
        [(None, ItemState::Completed), (assigned, ItemState::Completed), (assigned, ItemState::Requeued)]
    );
    assert_eq!((state(&stream).totals.illegal, state(&stream).totals.completions), (3, 0));
}

#[test]
fn a_review_sends_an_item_back_and_it_counts_once_it_is_done_again() {
    let mut stream = Stream::default();
    begin(&mut stream, RUN);
    for payload in [assigned(1), started(1), completed(1), review(1), requeued(1), started(1)] {
        push(&mut stream, 1, payload);
    }
    let again = run(&stream);
    assert_eq!(
        (again.completed, again.active, again.counts.requeues, again.counts.reviews_failed),
        (0, 1, 1, 1)
    );
    push(&mut stream, 1, completed(1));
    let run = run(&stream);
    assert_eq!((run.completed, run.items[0].attempts, state(&stream).totals.completions), (1, 2, 2));
}

#[test]
fn blocked_items_are_known_until_they_move_or_the_deadlock_is_resolved() {
    let mut stream = Stream::default();
    begin(&mut stream, RUN);
    push(&mut stream, 1, assigned(1));
    let blocked_items = vec![id(1), id(2), id(3)];
    let detected_at = Timestamp::EPOCH;
    push(&mut stream, RUN, payload::DeadlockDetected { blocked_items, detected_at });
    assert_eq!(run(&stream).blocked, [id(1), id(2), id(3)]);
    push(&mut stream, 1, started(1));
    push(&mut stream, 2, failed(2));
    assert_eq!(run(&stream).blocked, [id(3)]);
    push(
        &mut stream,
        RUN,
        payload::DeadlockResolved { blocked_items: vec![id(3)], resolution: "dropped".into() },
    );
    let run = run(&stream);
    assert_eq!((run.blocked.len(), run.failed, run.counts.deadlocks, run.counts.illegal), (0, 1, 1, 0));
}

#[test]
fn agents_have_the_state_that_was_told_last_and_a_parent() {
    let mut stream = Stream::default();
    begin(&mut stream, RUN);
    push(
        &mut stream,
        RUN,
        payload::SubAgentSpawned { parent: "planner".into(), child: "builder".into(), item_id: None },
    );
    let moved = |from: &str, to: &str| payload::AgentStateChanged {
        agent: "builder".into(),
        from: from.into(),
        to: to.into(),
        reason: None,
    };
    push(&mut stream, RUN, moved("idle", "active"));
    push(&mut stream, RUN, moved("waiting", "complete"));
    push(
        &mut stream,
        RUN,
        payload::PhaseTransition { from: "plan".into(), to: "build".into(), approved_by: "gate".into() },
    );
    let run = run(&stream);
    let builder = &run.agents[0];
    assert_eq!((builder.state.as_deref(), builder.parent.as_deref()), (Some("complete"), Some("planner")));
    assert_eq!((run.agents[1].state.as_deref(), run.phase.as_deref()), (None, Some("build")));
    assert_eq!(state(&stream).runs[&id(RUN)].agents["builder"].mismatches, 1);
}

#[test]
fn items_belong_to_their_run_also_where_two_run_at_once() {
    let mut stream = Stream::default();
    let (first, second) = (begin(&mut stream, RUN), begin(&mut stream, RUN + 1));
    for (n, cause) in [(1, first), (2, second)] {
        push(&mut stream, n, assigned(n));
        stream.events.last_mut().unwrap().event.causation = Some(cause);
        push(&mut stream, n, started(n));
    }
    push(&mut stream, 99, assigned(3));
    let runs = state(&stream).runs;
    let items = |run: Uuid| runs[&run].items.keys().copied().collect::<Vec<_>>();
    assert_eq!(
        (items(id(RUN)), items(id(RUN + 1)), items(UNPLACED)),
        (vec![id(1)], vec![id(2)], vec![id(3)])
    );
}

#[test]
fn finished_runs_keep_their_counts_and_totals_outlive_them() {
    let mut stream = Stream::default();
    let runs = RUNS_KEPT_MAX as u128 + 10;
    for n in 0..runs {
        begin(&mut stream, RUN + n);
        push(&mut stream, n + 1, assigned(n + 1));
        push(&mut stream, n + 1, started(n + 1));
        push(&mut stream, n + 1, completed(n + 1));
        push(&mut stream, RUN + n, finish(1, 0));
    }
    let state = state(&stream);
    assert_eq!((state.runs.len(), state.totals.runs_started), (RUNS_KEPT_MAX, RUNS_KEPT_MAX as u64 + 10));
    assert_eq!(state.totals.completions, RUNS_KEPT_MAX as u64 + 10);
    assert_eq!(state.runs.values().filter(|run| !run.items.is_empty()).count(), RUNS_DETAILED_MAX);
    assert!(state.runs.values().all(|run| run.in_state(ItemState::Completed) == 1));
    assert_eq!(state.items.len(), RUNS_DETAILED_MAX);
}

#[test]
fn items_are_bounded_and_only_done_ones_leave() {
    let mut stream = Stream::default();
    begin(&mut stream, RUN);
    let n = ITEMS_KEPT_MAX as u128 + 2;
    for n in 1..=n {
        push(&mut stream, n, assigned(n));
        if n <= 10 {
            push(&mut stream, n, failed(n));
        }
    }
    let run = run(&stream);
    assert_eq!(
        (run.counts.items, run.counts.items_departed, run.failed),
        (ITEMS_KEPT_MAX as u64 + 2, 10, 10)
    );
    assert!(run.items.iter().all(|item| item.state == ItemState::Assigned));
}

#[test]
fn other_kinds_say_nothing_here() {
    let mut stream = Stream::default();
    push(&mut stream, 1, payload::TurnCompleted { last_message: None });
    push(&mut stream, 1, assigned(1));
    stream.events.last_mut().unwrap().event.kind = crate::event::KindName::from_name("of_a_later_version");
    assert_eq!(state(&stream), Orchestrator::default());
}

proptest! {
    #[test]
    fn whatever_is_told_the_states_add_up(plan in prop::collection::vec((0_u128..6, 0_u8..7), 0..120)) {
        let mut stream = Stream::default();
        begin(&mut stream, RUN);
        for (n, what) in plan {
            let payload = match what {
                0 => assigned(n),
                1 => started(n),
                2 => completed(n),
                3 => failed(n),
                4 => review(n),
                5 => requeued(n),
                _ => payload::DeadlockDetected { blocked_items: vec![id(n)], detected_at: Timestamp::EPOCH }.into(),
            };
            push(&mut stream, n, payload);
        }
        let state = state(&stream);
        let run = &state.runs[&id(RUN)];
        let mut counted = BTreeMap::<ItemState, u64>::new();
        run.items.values().for_each(|item| *counted.entry(item.state).or_default() += 1);
        let told: BTreeMap<_, _> = run.states.iter().filter(|(_, n)| **n > 0).map(|(s, n)| (*s, *n)).collect();
        prop_assert_eq!(told, counted);
        prop_assert_eq!(run.counts.items, run.items.len() as u64);
        prop_assert_eq!(run.counts.illegal, state.totals.illegal);
        prop_assert!(run.illegal.iter().all(|illegal| illegal.from.is_none_or(|from| !from.may_become(illegal.to))));
    }
}
