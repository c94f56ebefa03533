//! One writer. A second is refused with the pid of the first; a holder that was killed holds nothing, whoever has its pid now;
//! of servers that start at the same moment one runs and the others name it.

use crate::support::{Running, World, wait_for};
use crate::world::{rounds, tell};
use mnemosyne::config::DataDir;
use mnemosyne::store::holder;

const SERVE: [&str; 3] = ["api-server", "--addr", "127.0.0.1:0"];

#[test]
fn a_second_writer_is_refused_and_a_killed_one_holds_nothing() {
    let world = World::new();
    let dir = DataDir::at(world.data());
    let all = rounds(20, 200);
    for round in 0..all {
        let server = world.server();
        let refused = world.run(SERVE);
        assert_eq!(refused.code, Some(1), "{refused}");
        assert!(refused.stderr.contains(&server.pid().to_string()), "round {round}: {refused}");
        assert_eq!(holder(&dir).expect("a holder").process.pid, server.pid());
        server.kill();
        assert!(holder(&dir).is_none(), "round {round}: nobody holds it");
        // The pid goes to somebody else: to this very process, which started at another moment.
        let lock = world.data().join("lock");
        let mut words: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&lock).expect("the lock's file")).expect("JSON");
        words["pid"] = std::process::id().into();
        std::fs::write(&lock, words.to_string()).expect("the lock's file");
        assert!(holder(&dir).is_none(), "round {round}: {words}");
    }
    world.server().stop();
    tell(&format!("{all} rounds of two writers: each second one refused, each killed one replaced"));
}

#[test]
fn of_servers_that_start_together_one_runs_and_the_others_name_it() {
    let all = rounds(5, 50);
    for _ in 0..all {
        let world = World::new();
        let mut racers: Vec<Running> = (0..4).map(|_| Running::start(&mut world.command(SERVE))).collect();
        wait_for("three to give up", || {
            let alive = racers.iter_mut().filter_map(|racer| racer.is_alive().then_some(())).count();
            (alive <= 1).then_some(())
        });
        let winner = racers.iter_mut().position(Running::is_alive).expect("one runs");
        let pid = racers[winner].pid().to_string();
        stops_when_asked(racers.remove(winner));
        for racer in racers {
            let ran = racer.wait();
            assert_eq!(ran.code, Some(1), "{ran}");
            assert!(ran.stderr.contains(&pid), "it names {pid}: {ran}");
        }
    }
    tell(&format!("{all} races of 4 servers: one winner each"));
}

/// It serves until it is asked to stop.
fn stops_when_asked(winner: Running) {
    winner.wait_for_stdout("http://127.0.0.1:");
    winner.signal(rustix::process::Signal::TERM);
    let ran = winner.wait();
    assert_eq!(ran.code, Some(0), "{ran}");
}
