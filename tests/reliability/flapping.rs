//! Hooks while the server is started, killed and stopped in a loop: a hook that ended has left its event in the journal or in
//! the inbox, whatever happened to whom. In the end each is there once, and those of one emitter, a session whose hooks ran one
//! after the other, stand in its order.
//!
//! The emitters of a lane take turns, a hook each: so each is at work for as long as the test runs, and meets the server in all of its
//! states.

use crate::support::{Running, World};
use crate::world::{Dice, prompt, rounds, tell};
use serde_json::Value;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Hooks at once.
const LANES: usize = 4;
/// Hooks of each emitter.
const EACH: usize = 10;

#[test]
fn hooks_beside_a_flapping_server_lose_and_double_nothing() {
    let world = World::new();
    let emitters = rounds(100, 1_000);
    let all = emitters * EACH;
    let (done, mut dice) = (AtomicUsize::new(0), Dice::thrown("hooks beside a flapping server"));
    let (mut kills, mut stops) = (0, 0);
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            let (world, done) = (&world, &done);
            scope.spawn(move || {
                for n in 0..EACH {
                    for emitter in (lane..emitters).step_by(LANES) {
                        hook(world, emitter, n);
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        while done.load(Ordering::SeqCst) < all {
            let server = world.server();
            let until = done.load(Ordering::SeqCst) + dice.below(60);
            while done.load(Ordering::SeqCst) < until.min(all) {
                std::thread::yield_now();
            }
            if dice.below(3) == 0 {
                server.stop();
                stops += 1;
            } else {
                server.kill();
                kills += 1;
            }
        }
    });
    let prompts: Vec<(usize, usize)> = world
        .events([])
        .iter()
        .filter(|event| event["kind"] == "prompt_submitted")
        .map(|event| {
            let number = |text: &Value| text.as_str().and_then(|text| text.parse().ok()).expect("a number");
            (number(&event["session"]), number(&event["payload"]["prompt"]))
        })
        .collect();
    assert_eq!(complete(&prompts, emitters, EACH), Ok(()));
    assert_eq!(world.inbox_len(), 0);
    tell(&format!(
        "{all} hooks of {emitters} emitters, {kills} kills and {stops} stops of the server: 0 lost, 0 doubled"
    ));
}

/// Whether the prompts, emitter and number, of so many emitters are all there, `each` of each of them, once and in order.
fn complete(prompts: &[(usize, usize)], emitters: usize, each: usize) -> Result<(), String> {
    let mut next = vec![0; emitters];
    for (emitter, number) in prompts {
        let next = next.get_mut(*emitter).ok_or_else(|| format!("nobody is {emitter}"))?;
        if number != next {
            return Err(format!("{number} of {emitter} came where {next} was due: lost, doubled or late"));
        }
        *next += 1;
    }
    let short: Vec<usize> = (0..emitters).filter(|emitter| next[*emitter] != each).collect();
    if short.is_empty() { Ok(()) } else { Err(format!("not {each} of each of {short:?}")) }
}

#[test]
fn a_lost_a_doubled_and_a_late_event_would_be_noticed() {
    let all: Vec<(usize, usize)> = (0..3).flat_map(|n| (0..4).map(move |emitter| (emitter, n))).collect();
    assert_eq!(complete(&all, 4, 3), Ok(()));
    let mut lost = all.clone();
    lost.pop();
    let mut doubled = all.clone();
    doubled.insert(5, all[4]);
    let mut late = all.clone();
    late.swap(0, 4);
    let mut strange = all;
    strange.push((4, 0));
    for wrong in [lost, doubled, late, strange] {
        assert!(complete(&wrong, 4, 3).is_err(), "{wrong:?}");
    }
}

/// One hook: prompt `n` of this emitter, in a session of its own.
fn hook(world: &World, emitter: usize, n: usize) {
    let mut command = world.command(["hook"]);
    command.stdin(Stdio::piped());
    let mut running = Running::start(&mut command);
    running.feed(prompt(&emitter.to_string(), &n.to_string()).to_string().as_bytes());
    let ran = running.wait();
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""));
}
