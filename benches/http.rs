//! Durable emits over HTTP, in requests a second and in time a request, over a journal whose flush takes a fixed 200 us, beside a
//! plain axum handler that answers a POST with a constant, in the same run and with the same clients in the same process.
//!
//! Each run tells the p50 and the p99 of a request, and the processor time a request (server and clients together), on stderr.
#![allow(unreachable_pub, dead_code, clippy::print_stderr, reason = "a bench is a program, and it reports")]

#[path = "support/net.rs"]
mod net;
mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use net::{Served, ask_again_and_again, cpu, percentile, request, runtime};
use support::FIXED_FLUSH;
use tokio::runtime::Runtime;

/// 256 bytes on disk, about.
fn body() -> String {
    format!(r#"{{"kind":"custom","payload":{{"name":"bench","data":"{}"}}}}"#, "x".repeat(120))
}

fn hello(runtime: &Runtime) -> SocketAddr {
    let answer = || async { "hello" };
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

fn emits(c: &mut Criterion) {
    let runtime = runtime();
    let served = Served::start(&runtime);
    let hello = hello(&runtime);
    for connections in [64, 1] {
        let name = format!("POST durable, flush of fixed 200 us, {connections} connections (requests/s)");
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(1)).sample_size(10).measurement_time(Duration::from_secs(4));
        let mut p50s = Vec::new();
        for (name, addr) in [("limit: axum hello", hello), ("emit", served.addr)] {
            let request = request(addr, &served.token, "POST /events/emit", &body());
            let mut told = Vec::new();
            group.bench_function(name, |b| {
                b.iter_custom(|requests| {
                    let before = cpu();
                    let (took, mut each) = run(&runtime, addr, &request, connections, requests);
                    each.sort_unstable();
                    let used = cpu().saturating_sub(before);
                    told = vec![(percentile(&each, 50), percentile(&each, 99), used, requests)];
                    took
                });
            });
            if let Some((p50, p99, cpu, requests)) = told.pop() {
                p50s.push(p50);
                let each = cpu.as_secs_f64() * 1e6 / requests.max(connections) as f64;
                eprintln!(
                    "{name}, {connections} connections: p50 {p50:?}, p99 {p99:?}, {each:.1} us of processor"
                );
            }
        }
        if let ([hello, emit], 1) = (p50s.as_slice(), connections) {
            let ratio = emit.as_secs_f64() / (*hello + FIXED_FLUSH).as_secs_f64();
            eprintln!("p50 of one connection / (flush + hello): {ratio:.2}");
        }
        group.finish();
    }
}

/// `requests` in all over `connections`; the time of the whole and of each.
fn run(
    runtime: &Runtime,
    addr: SocketAddr,
    request: &[u8],
    connections: u64,
    requests: u64,
) -> (Duration, Vec<Duration>) {
    let share = requests.div_ceil(connections);
    let began = Instant::now();
    let asking: Vec<_> =
        (0..connections).map(|_| runtime.spawn(ask_again_and_again(addr, request.to_vec(), share))).collect();
    let mut each = Vec::new();
    for asked in asking {
        each.extend(runtime.block_on(asked).expect("answers"));
    }
    let took = began.elapsed();
    // What was asked beyond the number, because the connections share it evenly, is not counted.
    (took.mul_f64(requests as f64 / (share * connections) as f64), each)
}

criterion_group!(benches, emits);
criterion_main!(benches);
