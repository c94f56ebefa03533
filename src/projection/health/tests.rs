//! What the health projection says, on small streams written by hand.

use serde_json::json;

use super::view::{HealthView, health};
use super::*;
use crate::event::{Payload, PayloadText, payload};
use crate::projection::testing::{MINUTE, Stream};

fn view(stream: &Stream) -> HealthView {
    health(&stream.fold::<HealthProjection>())
}

fn result(failed: u64) -> Payload {
    let check = payload::Check { name: "permissions".into(), status: "pass".into(), detail: None };
    let (checks_passed, checks_warned, duration_ms) = (9, 1, 40);
    payload::HealthCheckCompleted {
        checks_passed,
        checks_failed: failed,
        checks_warned,
        duration_ms,
        checks: vec![check],
    }
    .into()
}

fn server(stream: &mut Stream, ms: i64, instance: &str, payload: impl Into<Payload>) {
    stream.push(ms, payload).instance = instance.to_owned();
}

fn started(server_type: &str) -> Payload {
    payload::ServerStarted {
        server_type: server_type.into(),
        listen_addr: "127.0.0.1:3000".into(),
        program_version: None,
    }
    .into()
}

fn stopped() -> Payload {
    payload::ServerStopped { server_type: "api".into(), uptime_ms: 500, requests_handled: 7 }.into()
}

#[test]
fn before_anything_is_told_nothing_is_known() {
    let view = view(&Stream::default());
    assert_eq!((view.doctor, view.inbox_last, view.rates.turns.failed_bp), (None, None, None));
}

#[test]
fn the_latest_result_stands_whatever_arrives_late() {
    let mut stream = Stream::default();
    stream.push(0, payload::HealthCheckStarted {});
    stream.push(50, result(2));
    stream.push(10, result(5));
    let doctor = view(&stream).doctor.unwrap();
    assert_eq!((doctor.results, doctor.last.failed, doctor.checks.len()), (2, 2, 1));
    assert_eq!(doctor.trend.iter().map(|result| result.failed).collect::<Vec<_>>(), [5, 2]);
}

#[test]
fn the_trend_is_bounded_and_the_count_is_not() {
    let mut stream = Stream::default();
    (0..100).for_each(|n| _ = stream.push(n, result(u64::try_from(n).unwrap())));
    let doctor = view(&stream).doctor.unwrap();
    assert_eq!((doctor.results, doctor.trend.len(), doctor.trend[0].failed), (100, RESULTS_KEPT_MAX, 36));
}

#[test]
fn failures_are_counted_an_hour_and_what_has_no_end_has_no_rate() {
    let mut stream = Stream::default();
    let failed = || payload::TurnFailed { error: "e".into(), details: None };
    stream.push(0, payload::TurnCompleted { last_message: None });
    stream.push(59 * MINUTE, failed());
    stream.push(61 * MINUTE, failed());
    let view = view(&stream);
    assert_eq!(
        (view.rates.turns.ended, view.rates.turns.failed, view.rates.turns.failed_bp),
        (3, 2, Some(6_667))
    );
    assert_eq!(view.rates.commands.failed_bp, None);
    let hours: Vec<_> =
        view.hours.iter().map(|hour| (hour.hour.unwrap().to_string(), hour.rates.turns.failed)).collect();
    assert_eq!(hours, [("1970-01-01T00".to_owned(), 1), ("1970-01-01T01".to_owned(), 1)]);
}

#[test]
fn what_the_store_tells_is_counted_with_its_first_and_last_time() {
    let mut stream = Stream::default();
    let damage = |from_seq, to_seq| payload::CorruptionDetected {
        readable: None,
        offset: None,
        bytes: None,
        from_seq,
        to_seq,
        segment: "s".into(),
        detail: None,
    };
    stream.push(5, damage(4, 6));
    stream.push(9, damage(8, 8));
    stream.push(9, payload::InboxDrained { events: 3, duplicates: 1, quarantined: 1 });
    stream.push(3, payload::InboxDrained { events: 30, duplicates: 0, quarantined: 0 });
    let view = view(&stream);
    assert_eq!((view.seqs_damaged, view.inbox_backlog_max), (4, 30));
    assert_eq!(view.inbox_last.map(|backlog| (backlog.events, backlog.at.seq.get())), Some((5, 3)));
    let told: Vec<_> =
        view.store.iter().map(|told| (told.kind.as_str(), told.count, told.last.seq.get())).collect();
    assert_eq!(told, [("corruption_detected", 2, 2), ("inbox_drained", 2, 3)]);
}

#[test]
fn a_server_that_another_followed_without_a_stop_ended_without_order() {
    let mut stream = Stream::default();
    server(&mut stream, 0, "a", started("api"));
    server(&mut stream, 5, "tools", started("mcp"));
    assert_eq!(view(&stream).servers.unclean, 0, "it may be running");
    server(&mut stream, 10, "b", started("api"));
    assert_eq!(view(&stream).servers.unclean, 1);
    server(&mut stream, 9, "a", stopped());
    let servers = view(&stream).servers;
    assert_eq!((servers.unclean, servers.starts, servers.stops, servers.requests_handled), (0, 3, 1, 7));
    let latest: Vec<_> =
        servers.latest.iter().map(|server| (server.instance.as_str(), server.uptime_ms)).collect();
    assert_eq!(latest, [("a", Some(500)), ("tools", None), ("b", None)]);
}

#[test]
fn servers_are_bounded_and_those_that_left_without_a_stop_stay_counted() {
    let mut stream = Stream::default();
    let n = i64::try_from(SERVERS_KEPT_MAX).unwrap() + 10;
    (0..n).for_each(|n| server(&mut stream, n, &format!("server-{n}"), started("api")));
    let servers = view(&stream).servers;
    assert_eq!((servers.latest.len(), servers.starts), (SERVERS_KEPT_MAX, n.unsigned_abs()));
    assert_eq!(servers.unclean, n.unsigned_abs() - 1);
}

#[test]
fn what_cannot_be_read_is_counted_and_unknown_kinds_are_passed_over() {
    let mut stream = Stream::default();
    stream.push(0, result(0)).payload = PayloadText::parse("{}").unwrap();
    stream.push(0, result(0)).kind = crate::event::KindName::from_name("of_a_later_version");
    let fold = stream.fold::<HealthProjection>();
    assert_eq!((fold.state().unread, fold.state().checks_completed), (1, 0));
    assert_eq!(serde_json::to_value(fold.state()).unwrap()["unread"], json!(1));
}
