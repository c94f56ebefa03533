//! One writer. A second is refused with the pid of the first; a holder that was killed holds nothing, whoever has its pid now;
//! of servers that start at the same moment one runs and the others name it.

use crate::support::{Running, Server, World, wait_for};
use crate::world::{Acknowledged, has, rounds, served, skipped, tell};
use mnemosyne::config::DataDir;
use mnemosyne::store::holder;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

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
    let (all, servers) = (rounds(5, 200), rounds(4, 50));
    for _ in 0..all {
        let world = World::new();
        let mut racers: Vec<Running> =
            (0..servers).map(|_| Running::start(&mut world.command(SERVE))).collect();
        wait_for("all but one to give up", || {
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
    tell(&format!("{all} races of {servers} servers: one winner each"));
}

/// It serves until it is asked to stop.
fn stops_when_asked(winner: Running) {
    winner.wait_for_stdout("http://127.0.0.1:");
    winner.signal(rustix::process::Signal::TERM);
    let ran = winner.wait();
    assert_eq!(ran.code, Some(0), "{ran}");
}

/// A server under strace that is told that it has the lock, whoever has it.
fn without_the_lock(world: &World) -> Command {
    let plain = world.command(SERVE);
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-qq", "--seccomp-bpf", "-o"]).arg(world.home().join("trace"));
    command.args(["-e", "trace=flock", "-e", "inject=flock:retval=0"]);
    command.arg(plain.get_program()).args(plain.get_args()).env_clear();
    for (name, value) in plain.get_envs() {
        command.env(name, value.expect("nothing is taken away from an empty environment"));
    }
    command
        .current_dir(world.home())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    command
}

/// Two servers over one data directory, the second started as it is made; each that runs takes events in turn, both are killed, and what
/// was acknowledged is looked for. Whether the second ran, and whether everything is there.
fn two_servers(second: impl FnOnce(&World) -> Command) -> (bool, bool) {
    let world = World::new();
    let (first, mut acknowledged) = (world.server(), Acknowledged::default());
    assert_eq!(acknowledged.emit(&first, 1_000, 10).status, 200);
    let second = Server::try_start(&world.data(), &mut second(&world));
    for n in 0..10 {
        assert_eq!(acknowledged.emit(&first, 2 * n, 100).status, 200);
        if let Ok(second) = &second {
            // It may find out that the ground is gone from under it.
            let _answer = acknowledged.emit(second, 2 * n + 1, 100);
        }
    }
    first.kill();
    let ran = second.is_ok();
    if let Ok(second) = second {
        second.kill();
    }
    let server = world.server();
    let whole = catch_unwind(AssertUnwindSafe(|| acknowledged.check(&served(&server)))).is_ok();
    server.stop();
    (ran, whole)
}

#[test]
fn two_real_servers_lose_nothing_because_the_second_is_refused() {
    assert_eq!(two_servers(|world| world.command(SERVE)), (false, true));
}

#[test]
fn control_without_the_lock_two_real_servers_take_each_other_what_was_acknowledged() {
    if !has("strace", "-V") {
        return skipped("no strace: the lock was not switched off");
    }
    assert_eq!(two_servers(without_the_lock), (true, false), "two writers, and nobody noticed");
}
