//! Hooks while the server is started, killed and stopped in a loop: a hook that ended has left its event in the journal or in
//! the inbox, whatever happened to whom. In the end each is there once, and those of one emitter, whose hooks ran one after the
//! other, stand in its order.

use crate::support::{Running, World};
use crate::world::{Dice, prompt, rounds, tell};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

const EMITTERS: usize = 4;

#[test]
fn hooks_beside_a_flapping_server_lose_and_double_nothing() {
    let world = World::new();
    let each = rounds(1_000, 10_000) / EMITTERS;
    let (done, mut dice) = (AtomicUsize::new(0), Dice::thrown("hooks beside a flapping server"));
    let (mut kills, mut stops) = (0, 0);
    std::thread::scope(|scope| {
        for emitter in 0..EMITTERS {
            let (world, done) = (&world, &done);
            scope.spawn(move || {
                for n in 0..each {
                    hook(world, &format!("{emitter} {n}"));
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        while done.load(Ordering::SeqCst) < EMITTERS * each {
            let server = world.server();
            let until = done.load(Ordering::SeqCst) + dice.below(60);
            while done.load(Ordering::SeqCst) < until.min(EMITTERS * each) {
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
    let prompts: Vec<String> = world
        .events([])
        .iter()
        .filter(|event| event["kind"] == "prompt_submitted")
        .map(|event| event["payload"]["prompt"].as_str().expect("a prompt").to_owned())
        .collect();
    assert_eq!(complete(&prompts, each), Ok(()));
    assert_eq!(world.inbox_len(), 0);
    tell(&format!(
        "{} hooks, {kills} kills and {stops} stops of the server: 0 lost, 0 doubled",
        EMITTERS * each
    ));
}

/// Whether each emitter's prompts, `EMITTER NUMBER`, are all there, once and in order.
fn complete(prompts: &[String], each: usize) -> Result<(), String> {
    let mut next = [0; EMITTERS];
    for text in prompts {
        let (emitter, number) = text.split_once(' ').expect("who and which");
        let next = &mut next[emitter.parse::<usize>().expect("a number")];
        if number.parse::<usize>().expect("a number") != *next {
            return Err(format!("{text} came where {next} was due: lost, doubled or out of order"));
        }
        *next += 1;
    }
    if next == [each; EMITTERS] { Ok(()) } else { Err(format!("of {each} there are {next:?}")) }
}

#[test]
fn a_lost_a_doubled_and_a_late_event_would_be_noticed() {
    let all: Vec<String> =
        (0..3).flat_map(|n| (0..EMITTERS).map(move |emitter| format!("{emitter} {n}"))).collect();
    assert_eq!(complete(&all, 3), Ok(()));
    let mut lost = all.clone();
    lost.pop();
    let mut doubled = all.clone();
    doubled.insert(5, all[4].clone());
    let mut late = all;
    late.swap(0, EMITTERS);
    for wrong in [lost, doubled, late] {
        assert!(complete(&wrong, 3).is_err(), "{wrong:?}");
    }
}

fn hook(world: &World, text: &str) {
    let mut command = world.command(["hook"]);
    command.stdin(Stdio::piped());
    let mut running = Running::start(&mut command);
    running.feed(prompt("s", text).to_string().as_bytes());
    let ran = running.wait();
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""));
}
