//! A hundred events a second of twenty sessions, watched by clients that come and go, for as long as one likes.
//!
//! `MNEMOSYNE_SOAK_MINUTES` says how long: an hour with `MNEMOSYNE_LONG=1`, a third of a minute otherwise. It prints a table with
//! a line a minute (or forty lines, if that is more), and keeps it in the file that `MNEMOSYNE_SOAK_TABLE` names while it runs.

use super::traffic::{Agent, Emitter, Follower};
use super::usage::{STEADY, Usage, flat, line};
use super::{check_books, counters, server, small_segments_and_retention};
use crate::support::{Server, World};
use crate::world::{Dice, rounds, tell};
use serde_json::Value;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const SESSIONS: u64 = 20;
const FOLLOWERS: usize = 8;
const EVENTS_PER_SECOND: u32 = 100;
/// Fewer lines show no trend.
const LINES_MIN: u32 = 40;
/// A session is over after so many of its events, and another begins.
const SESSION_EVENTS: u64 = 3_000;
/// Frames between two reconnects of a client, at most.
const FRAMES_MAX: usize = 1_000;

#[test]
fn an_hour_at_a_hundred_events_a_second_leaves_the_server_as_large_as_it_was() {
    let length = length();
    let world = World::new();
    small_segments_and_retention(&world);
    let server = server(&world);
    let lines = u32::try_from(length.as_secs() / 60).expect("less than an age").max(LINES_MIN);
    let mut table = Table::new(length / lines);
    let cursors: [AtomicU64; FOLLOWERS] = std::array::from_fn(|_| AtomicU64::new(0));
    let seeds = Dice::thrown("a hundred events a second").next();
    let mut emitted = 0;
    let followers: Vec<Follower> = std::thread::scope(|scope| {
        let server = &server;
        let following: Vec<_> = (0..)
            .zip(&cursors)
            .map(|(n, shown)| {
                let mut dice = Dice::from_seed(seeds.wrapping_add(n));
                scope.spawn(move || Follower::default().follow(server, FRAMES_MAX, &mut dice, shown))
            })
            .collect();
        let mut work = Work::new(server);
        let began = Instant::now();
        for of_line in 1..=lines {
            // Each event has its moment. One that comes too late is followed by the next at once: the count is kept.
            let until = length / lines * of_line;
            let due = u64::try_from(until.as_micros()).expect("less than an age")
                * u64::from(EVENTS_PER_SECOND)
                / 1_000_000;
            while work.emitted < due {
                let moment = Duration::from_secs(work.emitted) / EVENTS_PER_SECOND;
                std::thread::sleep(moment.saturating_sub(began.elapsed()));
                work.emit();
            }
            let slowest = cursors.iter().map(|cursor| cursor.load(Ordering::Relaxed)).min();
            table.add(server, began.elapsed(), slowest.expect("followers"));
        }
        work.emitter.emit_last();
        emitted = work.emitted + 1;
        following.into_iter().map(|follower| follower.join().expect("it saw what it should")).collect()
    });
    check_books(&counters(&server), emitted);
    let reconnects: u64 = followers.iter().map(|follower| follower.reconnects).sum();
    assert!(reconnects > 0, "connections were dropped");
    assert!(followers.iter().all(|follower| follower.cursor == follower.events + follower.gone));
    tell(&table.text);
    tell(&format!(
        "{emitted} events of {SESSIONS} sessions in {length:?}, {reconnects} reconnects of {FOLLOWERS} clients; {}",
        line(&table.samples)
    ));
    assert_eq!(flat(&table.samples, STEADY), Ok(()));
    server.stop();
}

fn length() -> Duration {
    match std::env::var("MNEMOSYNE_SOAK_MINUTES") {
        Ok(minutes) => Duration::from_mins(minutes.parse().expect("MNEMOSYNE_SOAK_MINUTES is a number")),
        Err(_) => Duration::from_secs(rounds(20, 3_600) as u64),
    }
}

/// Who emits, and what.
struct Work {
    emitter: Emitter,
    agents: Vec<Agent>,
    /// Sessions that have begun.
    sessions: u64,
    emitted: u64,
}

impl Work {
    fn new(server: &Server) -> Work {
        let agents = (0..SESSIONS).map(Agent::new).collect();
        Work { emitter: Emitter::to(server), agents, sessions: SESSIONS, emitted: 0 }
    }

    /// One event of the session whose turn it is.
    fn emit(&mut self) {
        let at = usize::try_from(self.emitted % SESSIONS).expect("few");
        let agent = &mut self.agents[at];
        let is_over = self.emitted / SESSIONS % SESSION_EVENTS == SESSION_EVENTS - 1;
        let event: Value = if is_over { agent.end() } else { agent.next() };
        if is_over {
            *agent = Agent::new(self.sessions);
            self.sessions += 1;
        }
        self.emitter.emit(&event);
        self.emitted += 1;
    }
}

/// A line at equal distances: what the server holds, did and is behind.
struct Table {
    text: String,
    samples: Vec<Usage>,
    every: Duration,
    file: Option<OsString>,
}

impl Table {
    fn new(every: Duration) -> Table {
        let text = "| minute | RSS KiB | descriptors | threads | maps | CPU % | tail | slowest client behind | projection behind |\n\
                    |---|---|---|---|---|---|---|---|---|\n";
        Table {
            text: text.to_owned(),
            samples: Vec::new(),
            every,
            file: std::env::var_os("MNEMOSYNE_SOAK_TABLE"),
        }
    }

    fn add(&mut self, server: &Server, elapsed: Duration, slowest: u64) {
        let usage = Usage::of(server.pid());
        let journal = counters(server)["journal"].clone();
        let tail = journal["last_seq"].as_u64().expect("a seq");
        let before = self.samples.last().map_or(0, |before| before.cpu_ticks);
        // A tick is a hundredth of a second, so ticks a second are per cent.
        let cpu = (usage.cpu_ticks - before) as f64 / self.every.as_secs_f64();
        writeln!(
            self.text,
            "| {:.1} | {} | {} | {} | {} | {cpu:.1} | {tail} | {} | {} |",
            elapsed.as_secs_f64() / 60.0,
            usage.resident / 1024,
            usage.descriptors,
            usage.threads,
            usage.maps,
            tail.saturating_sub(slowest),
            journal["projection_lag"],
        )
        .expect("a string takes it");
        self.samples.push(usage);
        if let Some(file) = &self.file {
            std::fs::write(file, &self.text).expect("the table is kept");
        }
    }
}
