//! `completions`, `man` and `update`: what other programs make of the first two, and what the third says of versions.

use crate::support::{World, skipped};
use serde_json::json;
use std::process::Command;

/// Whether a program is on this machine; a test that cannot ask it says so.
fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    let found = found.is_ok_and(|found| found.status.success());
    if !found {
        skipped(&format!("no {program} on this machine"));
    }
    found
}

#[test]
fn bash_completes_commands_and_options_and_nothing_hidden() {
    let world = World::new();
    let script = world.ok(["completions", "bash"]).stdout;
    std::fs::write(world.home().join("complete.sh"), &script).expect("written");
    if !has("bash") {
        return;
    }
    let complete = |line: &str| {
        let ask = format!(
            "source complete.sh; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _mnemosyne mnemosyne \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let ran =
            Command::new("bash").args(["-c", &ask]).current_dir(world.home()).output().expect("bash runs");
        assert!(ran.status.success() && ran.stderr.is_empty(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).expect("UTF-8").trim().to_owned()
    };
    assert_eq!(complete("mnemosyne ses"), "sessions session");
    assert_eq!(complete("mnemosyne int"), "", "hidden from people, hidden from their shell");
    assert!(complete("mnemosyne events --ki").contains("--kind"));
    assert!(!world.data().exists());
}

#[test]
fn every_shell_has_a_script_and_an_unknown_one_is_told() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = world.ok(["completions", shell]).stdout;
        assert!(
            script.contains("mnemosyne") && script.contains("doctor") && !script.contains("internal"),
            "{shell}"
        );
        for hidden in ["unasked", "detached", "with-parent", "on_the_command_line"] {
            assert!(!script.contains(hidden), "{shell}: {hidden} is hidden from people");
        }
        for shown in ["data-dir", "token-file", "background", "set-key", "kind"] {
            assert!(script.contains(shown), "{shell}: {shown}");
        }
        if ["zsh", "fish"].contains(&shell) && has(shell) {
            std::fs::write(world.home().join("script"), &script).expect("written");
            let ran = Command::new(shell)
                .args(["-n", "script"])
                .current_dir(world.home())
                .output()
                .expect("it runs");
            assert!(ran.status.success(), "{shell}: {}", String::from_utf8_lossy(&ran.stderr));
        }
    }
    assert_eq!(world.run(["completions", "dosh"]).code, Some(2));
}

#[test]
fn a_page_for_each_command_that_man_can_show() {
    let world = World::new();
    let out = world.home().join("man1");
    world.ok(["man", "--out", out.to_str().expect("UTF-8")]);
    for name in ["mnemosyne.1", "mnemosyne-events.1", "mnemosyne-config-get.1", "mnemosyne-doctor.1"] {
        let page = std::fs::read_to_string(out.join(name)).expect("a page");
        assert!(page.contains(".TH") && page.contains(".SH"), "{name}");
    }
    assert!(!out.join("mnemosyne-internal.1").exists());
    let own = std::fs::read_to_string(out.join("mnemosyne.1")).expect("a page");
    assert_eq!(world.ok(["man"]).stdout.trim_end(), own.trim_end());
    if has("man") {
        let page = out.join("mnemosyne-events.1");
        let ran = Command::new("man").arg("-l").arg(page).env("MANPAGER", "cat").output().expect("man runs");
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        // A machine without manual pages has a `man` that only says so.
        if ran.status.success() && text.contains("NAME") {
            assert!(text.contains("--grep"), "{text}");
        }
    }
}

#[test]
fn update_tells_the_versions_in_use_and_installs_nothing() {
    let world = World::new();
    world.ok(["init", "--user"]);
    let ran = world.ok(["update", "--check", "--json"]);
    let told = ran.json_lines().remove(0);
    assert_eq!((&told["this"], &told["same"]), (&json!(env!("CARGO_PKG_VERSION")), &json!(true)));
    assert_eq!(told["in_use"].as_array().expect("a list").len(), 1);

    let settings = world.home().join(".claude/settings.json");
    std::fs::create_dir_all(settings.parent().expect("a directory")).expect("made");
    let handler = json!({"type": "command", "command": "/nowhere/mnemosyne", "args": ["hook"]});
    std::fs::write(&settings, json!({"hooks": {"Stop": [{"hooks": [handler]}]}}).to_string())
        .expect("written");
    let ran = world.run(["update", "--check", "--json"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    let told = ran.json_lines().remove(0);
    assert_eq!(told["in_use"][1]["place"], "/nowhere/mnemosyne");
    assert_eq!(world.run(["update"]).code, Some(0), "without --check it only tells");
}

#[test]
fn update_tells_the_newest_version_that_wrote_the_journal() {
    let world = World::new();
    let journal = |world: &World| {
        let told = world.run(["update", "--json"]).json_lines().remove(0);
        let in_use = told["in_use"].as_array().expect("a list").clone();
        (in_use.into_iter().find(|one| one["what"] == "journal"), told["newest"].clone())
    };
    assert_eq!(journal(&world).0, None, "nothing was recorded yet");
    for _ in 0..2 {
        let server = world.server();
        server.signal(rustix::process::Signal::TERM);
        server.wait();
    }
    let version = env!("CARGO_PKG_VERSION");
    let (found, newest) = journal(&world);
    assert_eq!((&found.expect("a row")["version"], &newest), (&json!(version), &json!(version)));
    assert_eq!(world.run(["update", "--check"]).code, Some(0));
}
