//! A server that nobody uses: it holds little and sleeps.

use super::usage::{Usage, sleeps};
use crate::support::{Server, World, wait_for};
use crate::world::tell;
use std::time::{Duration, Instant};

/// How long it is watched.
const WATCHED: Duration = Duration::from_secs(8);
/// Something that happens each second would be at least 8; the look at the inbox every five seconds is one or two, of each thread
/// that takes part.
const SLEEPS_MAX: u64 = 6;
/// In a release build; what an unoptimised one holds says nothing.
const RESIDENT_MAX: u64 = 30 * 1024 * 1024;

/// How often its threads go to sleep while it is watched.
fn watched(server: &Server, mut meanwhile: impl FnMut()) -> u64 {
    let (began, before) = (Instant::now(), sleeps(server.pid()));
    while began.elapsed() < WATCHED {
        meanwhile();
        // Not to wait for something, but to see that nothing comes.
        std::thread::sleep(Duration::from_millis(500));
    }
    sleeps(server.pid()) - before
}

#[test]
fn an_idle_server_sleeps_and_is_small() {
    let world = World::new();
    let server = super::server(&world);
    // What it does after its start is no idleness yet.
    wait_for("the start to be over", || {
        let before = sleeps(server.pid());
        std::thread::sleep(Duration::from_secs(2));
        (sleeps(server.pid()) - before <= 2).then_some(())
    });
    let slept = watched(&server, || ());
    let usage = Usage::of(server.pid());
    tell(&format!(
        "idle for {WATCHED:?}: {slept} sleeps; {} KiB, {} descriptors, {} threads",
        usage.resident / 1024,
        usage.descriptors,
        usage.threads
    ));
    assert!(slept <= SLEEPS_MAX, "it woke up {slept} times in {WATCHED:?}");
    assert!(cfg!(debug_assertions) || usage.resident <= RESIDENT_MAX, "{} bytes", usage.resident);
    // One question every half second is noticed: the measure sees what it should see.
    let asked = watched(&server, || assert_eq!(server.get("/health").status, 200));
    assert!(asked > SLEEPS_MAX, "{asked} sleeps with a client");
    server.stop();
}
