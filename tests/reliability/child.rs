//! This very program, started again to play a part that needs a process of its own.

use std::process::Command;

const ROLE: &str = "MNEMOSYNE_RELIABILITY_ROLE";

/// The command that starts this program in `role`; what the role needs to know goes into its environment.
pub(crate) fn command(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    command.args(arguments()).env(ROLE, role);
    command
}

/// The same through another program that starts it: `prefix` is that program and its arguments.
pub(crate) fn command_through(prefix: &[&str], role: &str) -> Command {
    let mut command = Command::new(prefix[0]);
    command.args(&prefix[1..]).arg(std::env::current_exe().expect("the path of this program"));
    command.args(arguments()).env(ROLE, role);
    command
}

fn arguments() -> [&'static str; 4] {
    ["child::plays_its_part", "--exact", "--nocapture", "--test-threads=1"]
}

#[test]
fn plays_its_part() {
    match std::env::var(ROLE).as_deref() {
        Err(_) => {
            let ran = command("echo").output().expect("this program can be started again");
            assert!(String::from_utf8_lossy(&ran.stdout).contains("here I am"), "{ran:?}");
            let ran = command("nobody").output().expect("this program can be started again");
            assert!(!ran.status.success(), "a part that nobody knows fails: {ran:?}");
        }
        Ok("echo") => println!("here I am"),
        Ok("full") => crate::full::on_the_small_disk(),
        Ok("handed") => crate::full::handed_over_without_room(),
        Ok("start") => crate::full::start_without_a_page(),
        Ok(role) if role.starts_with("untold-") => crate::full::opened_without_room(role),
        Ok("power") => crate::power::write_until_the_power_fails(),
        Ok("store") => crate::power::store::emit_until_the_power_fails(),
        Ok(other) => panic!("no such part: {other}"),
    }
}
