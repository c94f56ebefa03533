//! Load: many events, many clients, long times. Nothing is lost, everything comes in order, and the server holds in the end
//! what it held after it had warmed up.
//!
//! - [`usage`]: memory, descriptors, threads and maps of a process, and whether they grow.
//! - [`traffic`]: agents that work, clients that follow, drop their connection and come back.
//! - [`idle`]: a server that nobody uses.
//! - [`soak`]: a hundred events a second for as long as one likes, with a table.
//!
//! `MNEMOSYNE_LOAD_PROGRAM` is another build of the program to put under load, such as a release build.

mod idle;
mod soak;
mod traffic;
mod usage;

use self::traffic::{Agent, Emitter, Follower, TURN};
use self::usage::{LONG, Usage, WARMING_UP, flat, line};
use crate::support::{BOUND, Server, Sse, World, head, kinds, wait_for};
use crate::world::{Dice, rounds, tell};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicU64;
use std::time::Instant;

/// Settings under which a short run does often what a long life does now and then.
fn small_segments_and_retention(world: &World) {
    std::fs::create_dir_all(world.data()).expect("the data directory");
    let config = "[journal]\nsegment_bytes = 262144\n[retention]\nmax_bytes = 2097152\nmin_bytes = 0\n\
                  [emit]\nrate_per_second = 0\n";
    std::fs::write(world.data().join("config.toml"), config).expect("its settings");
}

/// The server under load.
fn server(world: &World) -> Server {
    let own = world.command(["api-server", "--addr", "127.0.0.1:0"]);
    let program = std::env::var_os("MNEMOSYNE_LOAD_PROGRAM");
    let mut command = Command::new(program.as_deref().unwrap_or(own.get_program()));
    command.args(own.get_args()).env_clear();
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(world.home()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Server::start(&world.data(), &mut command)
}

fn counters(server: &Server) -> Value {
    let answer = server.get("/metrics?format=json");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Demands that the books of HTTP say exactly `events` committed and nothing else.
#[track_caller]
fn check_books(counters: &Value, events: u64) {
    let http = &counters["events"]["http"];
    let want = json!({"offered": events, "committed_disk": events, "committed_os": 0, "duplicates": 0,
                      "refused": {}, "pending": 0});
    assert_eq!(http, &want);
}

/// Agents on one connection: a turn of each goes out as one batch.
struct Shift {
    emitter: Emitter,
    agents: Vec<Agent>,
}

impl Shift {
    fn work(&mut self, turns: u64) {
        for _ in 0..turns {
            let turn = |agent: &mut Agent| (0..TURN).map(|_| agent.next()).collect::<Vec<_>>();
            let batch: Vec<Value> = self.agents.iter_mut().flat_map(turn).collect();
            self.emitter.emit(&batch.into());
        }
    }
}

/// A hundred a second, or, unless the long counts are asked for, a part of them; `MNEMOSYNE_LOAD_EVENTS` is another number.
fn events_of_a_day() -> u64 {
    match std::env::var("MNEMOSYNE_LOAD_EVENTS") {
        Ok(events) => events.parse().expect("MNEMOSYNE_LOAD_EVENTS is a number"),
        Err(_) => rounds(100_000, 8_640_000) as u64,
    }
}

#[test]
fn a_day_in_little_time_leaves_the_server_as_large_as_it_was() {
    const SHIFTS: u64 = 5;
    const AGENTS: u64 = 10;
    const SAMPLES: u64 = 40;
    const FOLLOWERS: usize = 6;
    let world = World::new();
    small_segments_and_retention(&world);
    let server = server(&world);
    let per_sample = events_of_a_day() / SAMPLES / SHIFTS / AGENTS / TURN;
    let began = Instant::now();
    let mut samples = Vec::new();
    let mut emitted = 0;
    let mut shifts: Vec<Shift> =
        (0..SHIFTS).map(|_| Shift { emitter: Emitter::to(&server), agents: Vec::new() }).collect();
    let seeds = Dice::thrown("a day in little time").next();
    let followers: Vec<Follower> = std::thread::scope(|scope| {
        let server = &server;
        let following: Vec<_> = (0..FOLLOWERS)
            .map(|n| {
                let mut dice = Dice::from_seed(seeds.wrapping_add(n as u64));
                scope.spawn(move || Follower::default().follow(server, 3_000, &mut dice, &AtomicU64::new(0)))
            })
            .collect();
        for sample in 0..SAMPLES {
            // Four times a day everybody begins a new session.
            if sample % (SAMPLES / 4) == 0 {
                for (number, shift) in (0..).zip(&mut shifts) {
                    let ends: Vec<Value> = shift.agents.iter_mut().map(Agent::end).collect();
                    if !ends.is_empty() {
                        emitted += ends.len() as u64;
                        shift.emitter.emit(&ends.into());
                    }
                    let first = (sample * SHIFTS + number) * AGENTS;
                    shift.agents = (first..first + AGENTS).map(Agent::new).collect();
                }
            }
            std::thread::scope(|scope| {
                for shift in &mut shifts {
                    scope.spawn(|| shift.work(per_sample));
                }
            });
            emitted += per_sample * SHIFTS * AGENTS * TURN;
            samples.push(Usage::of(server.pid()));
        }
        shifts[0].emitter.emit_last();
        emitted += 1;
        following.into_iter().map(|follower| follower.join().expect("it saw what it should")).collect()
    });
    let took = began.elapsed();
    check_books(&counters(&server), emitted);
    for follower in &followers {
        assert_eq!(follower.cursor, follower.events + follower.gone, "each seq came or was told gone");
    }
    let reconnects: u64 = followers.iter().map(|follower| follower.reconnects).sum();
    assert!(reconnects >= FOLLOWERS as u64, "connections were dropped: {reconnects}");
    // Its notes go, too: they come once a minute, and less than that is kept.
    let kept = world.events(["--limit", "1"]);
    let first_kept = kept[0]["seq"].as_u64().expect("a seq");
    assert!(first_kept > emitted / 2, "retention was at work: seq {first_kept} is the first that is kept");
    tell(&format!(
        "{emitted} events in {took:.1?}, those before {first_kept} dropped, and {reconnects} reconnects; {}",
        line(&samples)
    ));
    let growth = if emitted < 1_000_000 { WARMING_UP } else { LONG };
    assert_eq!(flat(&samples, growth), Ok(()));
    server.stop();
}

#[test]
fn ten_thousand_events_a_second_of_many_emitters_are_all_there_in_order() {
    const SHIFTS: u64 = 8;
    const AGENTS: u64 = 10;
    let world = World::new();
    let server = server(&world);
    let turns = rounds(5, 500) as u64;
    let mut shifts: Vec<Shift> = (0..SHIFTS)
        .map(|number| Shift {
            emitter: Emitter::to(&server),
            agents: (number * AGENTS..(number + 1) * AGENTS).map(Agent::new).collect(),
        })
        .collect();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for shift in &mut shifts {
            scope.spawn(move || {
                for _ in 0..10 {
                    shift.work(turns);
                }
            });
        }
    });
    let took = began.elapsed();
    shifts[0].emitter.emit_last();
    let events = SHIFTS * AGENTS * TURN * turns * 10;
    let follower =
        Follower::default().follow(&server, usize::MAX, &mut Dice::from_seed(1), &AtomicU64::new(0));
    assert_eq!(follower.of_sessions(), events, "none is lost");
    assert_eq!((follower.gone, follower.reconnects), (0, 0));
    check_books(&counters(&server), events + 1);
    tell(&format!(
        "{events} events of {SHIFTS} emitters in {took:.1?}: {:.0}/s",
        events as f64 / took.as_secs_f64()
    ));
    server.stop();
}

/// A stream that has reached the live end and then reads nothing: its buffers run over.
struct Stalled {
    socket: BufReader<TcpStream>,
    cursor: u64,
}

impl Stalled {
    fn at(server: &Server, cursor: u64) -> Stalled {
        let mut socket = TcpStream::connect(&server.addr).expect("a connection");
        socket.set_read_timeout(Some(BOUND)).expect("a bound");
        let (bearer, after) = (format!("Bearer {}", server.token), cursor.to_string());
        let headers = [("Authorization", bearer.as_str()), ("Last-Event-ID", &after)];
        let request = head(&server.addr, "GET", "/events/stream", &headers) + "\r\n";
        socket.write_all(request.as_bytes()).expect("the request is taken");
        Stalled { socket: BufReader::new(socket), cursor }
    }

    /// Reads on up to `last` and demands each seq once and in order; how many events came, and how often it was told of a lag.
    fn read_to(&mut self, last: u64) -> (u64, u64) {
        let (mut events, mut lags, mut line) = (0, 0, String::new());
        while self.cursor < last {
            line.clear();
            assert!(
                self.socket.read_line(&mut line).expect("readable") > 0,
                "it ended after {}",
                self.cursor
            );
            // Frames as small as these are not cut by the chunks of the answer.
            if let Some(seq) = line.trim_end().strip_prefix("id: ") {
                let seq: u64 = seq.parse().expect("a seq");
                assert_eq!(seq, self.cursor + 1, "each seq once and in order");
                self.cursor = seq;
                events += 1;
            }
            lags += u64::from(line.trim_end() == "event: lag");
        }
        (events, lags)
    }
}

#[test]
fn a_subscriber_whose_buffers_run_over_reads_the_files_and_the_books_add_up() {
    const SLOW: u64 = 4;
    let world = World::new();
    let server = server(&world);
    let turns = rounds(120, 10_000) as u64;
    let mut shift = Shift { emitter: Emitter::to(&server), agents: (0..10).map(Agent::new).collect() };
    shift.work(1);
    let live = shift.emitter.last_seq;
    let mut slow: Vec<Stalled> = (0..SLOW).map(|_| Stalled::at(&server, live)).collect();
    wait_for("the streams to be open", || (counters(&server)["streams"]["open"] == SLOW).then_some(()));
    // One batch shows that they are at the live end; then they read no more.
    shift.work(1);
    let shown = shift.emitter.last_seq;
    let mut delivered = 0;
    for stream in &mut slow {
        let (events, lags) = stream.read_to(shown);
        assert_eq!(lags, 0, "at the live end");
        delivered += events;
    }
    shift.work(turns);
    let (last, mut told) = (shift.emitter.last_seq, 0);
    for stream in &mut slow {
        let (events, lags) = stream.read_to(last);
        assert!(lags > 0, "it had fallen behind");
        delivered += events;
        told += lags;
    }
    let counted = wait_for("the streams to be at the live end again", || {
        let counted = counters(&server);
        (counted["streams"]["lagging"] == 0).then_some(counted)
    });
    let streams = &counted["streams"];
    assert_eq!((&streams["opened"], &streams["lags"]), (&json!(SLOW), &json!(told)), "{streams}");
    // The event that tells of the lag goes to the streams as well, and may be on its way.
    let sent = streams["deliveries"].as_u64().expect("a number");
    assert!((delivered..=delivered + SLOW * 2).contains(&sent), "{delivered} of {streams}");
    check_books(&counted, (turns + 2) * 10 * TURN);
    drop(slow);
    server.stop();
    let events = world.events(["--kind", "subscriber_lagged"]);
    assert!(kinds(&events).contains(&"subscriber_lagged"), "the journal tells of it: {events:?}");
}

#[test]
fn a_client_that_holds_what_it_should_let_go_is_noticed() {
    let world = World::new();
    let server = server(&world);
    let mut emitter = Emitter::to(&server);
    emitter.emit(&Agent::new(1).next());
    let sampled = |held: &mut Vec<Sse>, holds: bool| -> Vec<Usage> {
        let sample = |_| {
            let streams: Vec<Sse> = (0..4).map(|_| server.sse("/events/stream?from=1", &[])).collect();
            assert!(streams.iter().all(|stream| stream.take_events(1).len() == 1));
            if holds {
                held.extend(streams);
            } else {
                drop(streams);
                wait_for("the connections to be closed", || {
                    (counters(&server)["streams"]["open"] == 0).then_some(())
                });
            }
            Usage::of(server.pid())
        };
        (0..16).map(sample).collect()
    };
    let mut held = Vec::new();
    assert_eq!(flat(&sampled(&mut held, false), WARMING_UP), Ok(()));
    let told =
        flat(&sampled(&mut held, true), WARMING_UP).expect_err("connections that are held are descriptors");
    assert!(told.contains("descriptors grew"), "{told}");
    drop(held);
    assert_eq!(flat(&sampled(&mut Vec::new(), false), WARMING_UP), Ok(()), "and they were all that was held");
    server.stop();
}
