//! Durable emits over HTTP, in requests a second and in time a request, with the same clients in the same process:
//!
//! - over a journal whose flush takes a fixed 200 us, beside a plain axum handler that answers a POST with a constant, and with one
//!   connection beside the same after a flush of its own;
//! - over a journal on the real disk, beside Redis, where it is installed: XADD of the same text with `appendfsync always`; and beside
//!   `PostgreSQL`, where it is installed: INSERT of the same text, each a transaction of its own;
//! - over journals of ten thousand, a million and `GROWN_EVENTS` (ten million) events, a flush of fixed 200 us: `grown`.
//!
//! Another server of ours is a process of its own: of that, as of Redis and `PostgreSQL`, the processor time a request is told without
//! that of the clients.
//!
//! What is compared takes turns, so that whatever else the machine does falls on all. Of each figure the median of the rounds is told, of
//! each ratio the median of the ratios within a round. The processor time is that of servers and clients together. Words
//! on the command line choose parts: `cargo bench --bench http -- fixed`.
#![allow(unreachable_pub, dead_code, clippy::print_stderr, reason = "a bench is a program, and it reports")]

#[path = "support/apart.rs"]
mod apart;
#[path = "support/foreign.rs"]
mod foreign;
#[path = "support/net.rs"]
mod net;
#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/redis.rs"]
mod redis;
mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use apart::{Apart, has_served};
use net::{
    Asked, Served, ask_again_and_again, cpu, cpu_of, in_earnest, is_asked_for, is_whole, median, percentile,
    request, runtime,
};
use postgres::Postgres;
use redis::{Redis, command, is_string};
use tokio::runtime::Runtime;

const ROUNDS: usize = 7;
const TURN: Duration = Duration::from_secs(1);

/// 256 bytes on disk, about.
fn body() -> String {
    format!(r#"{{"kind":"custom","payload":{{"name":"bench","data":"{}"}}}}"#, "x".repeat(120))
}

fn hello(runtime: &Runtime) -> SocketAddr {
    answering(runtime, || "hello")
}

/// What no durable emit can undercut: the same handler, which waits for the flush on the thread that serves it and does nothing else.
fn flushed_hello(runtime: &Runtime) -> SocketAddr {
    answering(runtime, || {
        support::sleeping_flush();
        "hello"
    })
}

fn answering(runtime: &Runtime, answer: fn() -> &'static str) -> SocketAddr {
    let answer = move || async move { answer() };
    let router =
        axum::Router::new().route("/events/emit", axum::routing::post(move |_body: bytes::Bytes| answer()));
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let addr = listener.local_addr().expect("its address");
    runtime.spawn(async move {
        let listener = axum::serve::ListenerExt::tap_io(listener, |tcp| {
            tcp.set_nodelay(true).expect("an option");
        });
        axum::serve(listener, router).await
    });
    addr
}

/// One of those that are compared.
struct Contender {
    name: &'static str,
    addr: SocketAddr,
    /// What a connection begins with.
    opening: Option<Asked>,
    asked: Asked,
    /// Its own process, if it has one.
    pid: Option<u32>,
    rounds: Vec<Round>,
}

/// What a turn gave.
struct Round {
    per_second: f64,
    p50: Duration,
    p99: Duration,
    /// Microseconds of processor a request.
    cpu: f64,
    /// Those of its own process, if it has one.
    cpu_apart: Option<f64>,
}

impl Contender {
    fn http(name: &'static str, addr: SocketAddr, token: &str) -> Contender {
        let request = request(addr, token, "POST /events/emit", &body());
        let asked = Asked { request, is_answer: is_whole };
        Contender { name, addr, opening: None, asked, pid: None, rounds: Vec::new() }
    }

    fn turn(&mut self, runtime: &Runtime, connections: usize, length: Duration) {
        let (before, apart_before, began) = (cpu(self.pid), self.pid.map(cpu_of), Instant::now());
        let ask =
            |_| ask_again_and_again(self.addr, self.opening.clone(), self.asked.clone(), began + length);
        let asking: Vec<_> = (0..connections).map(ask).map(|asking| runtime.spawn(asking)).collect();
        let answers = asking.into_iter().flat_map(|asked| runtime.block_on(asked).expect("answers"));
        let mut each: Vec<Duration> = answers.collect();
        let (took, used) = (began.elapsed(), cpu(self.pid).saturating_sub(before));
        let apart = self.pid.map(cpu_of).zip(apart_before).map(|(now, before)| now.saturating_sub(before));
        each.sort_unstable();
        let micros = |used: Duration| used.as_secs_f64() * 1e6 / each.len() as f64;
        self.rounds.push(Round {
            per_second: each.len() as f64 / took.as_secs_f64(),
            p50: percentile(&each, 50),
            p99: percentile(&each, 99),
            cpu: micros(used),
            cpu_apart: apart.map(micros),
        });
    }

    fn figure(&self, of: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(of).collect())
    }

    /// The median of the ratios within a round.
    fn ratio(&self, to: &Contender, of: impl Fn(&Round, &Round) -> f64) -> f64 {
        median(self.rounds.iter().zip(&to.rounds).map(|(own, other)| of(own, other)).collect())
    }
}

/// Lets them take turns; the first is what the others are compared with.
fn compare(runtime: &Runtime, title: &str, mut contenders: Vec<Contender>, flush: impl Fn() -> Duration) {
    compare_over(runtime, title, &[64, 1], &mut contenders, flush);
}

fn compare_over(
    runtime: &Runtime,
    title: &str,
    connections: &[usize],
    contenders: &mut [Contender],
    flush: impl Fn() -> Duration,
) {
    let (rounds, length) = if in_earnest() { (ROUNDS, TURN) } else { (1, Duration::from_millis(20)) };
    for &connections in connections {
        let mut flushes = Vec::new();
        contenders.iter_mut().for_each(|contender| contender.rounds.clear());
        for _ in 0..rounds {
            flushes.push(flush().as_secs_f64());
            contenders.iter_mut().for_each(|contender| contender.turn(runtime, connections, length));
        }
        let flush = median(flushes);
        eprintln!("{title}, {connections} connections");
        for contender in contenders.iter() {
            let first = &contenders[0];
            let micros = |of: fn(&Round) -> Duration| contender.figure(|round| of(round).as_secs_f64() * 1e6);
            eprintln!(
                "  {:34} {:>7.0}/s ({:.2})  p50 {:>6.0} us  p99 {:>6.0} us  {:>5.1} us of processor",
                contender.name,
                contender.figure(|round| round.per_second),
                contender.ratio(first, |own, other| own.per_second / other.per_second),
                micros(|round| round.p50),
                micros(|round| round.p99),
                contender.figure(|round| round.cpu),
            );
            let apart: Vec<f64> = contender.rounds.iter().filter_map(|round| round.cpu_apart).collect();
            if !apart.is_empty() {
                eprintln!("  {:34} {:.1} us of processor in its own process", "", median(apart));
            }
            for other in contenders.iter().skip(1).filter(|other| other.name != contender.name) {
                let ratio = contender.ratio(other, |own, other| own.per_second / other.per_second);
                eprintln!("  {:34} {ratio:.2} of {}", "", other.name);
            }
            if flush > 0.0 && connections == 1 {
                let ratio = contender
                    .ratio(first, |own, other| own.p50.as_secs_f64() / (other.p50.as_secs_f64() + flush));
                eprintln!("  {:34} p50 / (flush of {:.0} us + the first's) = {ratio:.2}", "", flush * 1e6);
            }
        }
    }
}

/// The middle one of some flushes of fixed time, as long as they really take just now.
fn flush() -> Duration {
    let time = |_| {
        let began = Instant::now();
        support::sleeping_flush();
        began.elapsed()
    };
    let mut each: Vec<Duration> = (0..99).map(time).collect();
    each.sort_unstable();
    percentile(&each, 50)
}

fn main() {
    if has_served() {
        return;
    }
    let runtime = runtime();
    if is_asked_for("fixed") {
        let (served, apart) = (Served::start(&runtime), Apart::start());
        let mut contenders = vec![
            Contender::http("limit: axum hello", hello(&runtime), ""),
            Contender::http("emit", served.addr, &served.token),
            Contender {
                pid: Some(apart.pid()),
                ..Contender::http("emit, a process of its own", apart.addr, &apart.token)
            },
        ];
        let title = "POST durable, flush of fixed 200 us";
        compare_over(&runtime, title, &[64], &mut contenders, flush);
        contenders.push(Contender::http("limit: hello after the same flush", flushed_hello(&runtime), ""));
        compare_over(&runtime, title, &[1], &mut contenders, flush);
    }
    if is_asked_for("grown") {
        let most = std::env::var("GROWN_EVENTS").map_or(Ok(10_000_000), |text| text.parse());
        let most = if in_earnest() { most.expect("GROWN_EVENTS is a number") } else { 20_000 };
        let sizes =
            [("emit, 10 thousand events", 10_000), ("emit, a million", 1_000_000), ("emit, the most", most)];
        let sizes = sizes.into_iter().filter(|(_, events)| *events <= most);
        let served: Vec<_> = sizes.map(|(name, events)| (name, Served::grown(&runtime, events))).collect();
        let contenders =
            served.iter().map(|(name, served)| Contender::http(name, served.addr, &served.token)).collect();
        compare(&runtime, &format!("POST durable into journals of up to {most} events"), contenders, flush);
    }
    if is_asked_for("disk") {
        let served = Served::on_disk(&runtime);
        let (redis, postgres) = (Redis::start(), Postgres::start());
        let mut contenders = Vec::new();
        contenders.extend(redis.as_ref().map(|redis| Contender {
            name: "Redis XADD, appendfsync always",
            addr: redis.addr,
            opening: None,
            asked: Asked {
                request: command(&["XADD", "bench", "*", "event", &body()]),
                is_answer: is_string,
            },
            pid: Some(redis.pid()),
            rounds: Vec::new(),
        }));
        contenders.extend(postgres.as_ref().map(|postgres| Contender {
            name: "PostgreSQL INSERT",
            addr: postgres.addr,
            opening: Some(Asked { request: postgres::opening(), is_answer: postgres::is_opened }),
            asked: Asked { request: postgres::insert(&body()), is_answer: postgres::is_inserted },
            pid: Some(postgres.pid()),
            rounds: Vec::new(),
        }));
        contenders.push(Contender::http("emit", served.addr, &served.token));
        compare(&runtime, "durable on the real disk", contenders, || Duration::ZERO);
    }
}
