//! `doctor`: the programs that Claude Code would call, named by settings, by the plugin, by a project's scripts and as an MCP server:
//! of another version, not there, not to be run.

use crate::attack_plants::copy;
use crate::doctor_checks::{healthy, register, run, verdicts, write_program};
use crate::support::{Ran, Running, World};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A program that is silent as a hook and says another version than ours.
fn of_another_version(path: &Path) -> PathBuf {
    write_program(path, "#!/bin/sh\n[ \"$1\" = --version ] && echo mnemosyne 9.9.9\nexit 0\n");
    path.to_owned()
}

/// What one check says: its verdict, its words, and how the command ended.
#[track_caller]
fn said(ran: &Ran, check: &str) -> (String, String, Option<i32>) {
    let told = ran.json_lines().remove(0);
    let checks = told["checks"].as_array().expect("a list").clone();
    let found = checks.into_iter().find(|one| one["name"] == check).expect("the check");
    let text = |name: &str| found[name].as_str().expect("a text").to_owned();
    (text("status"), text("detail"), ran.code)
}

/// Nothing is mended by `--fix` that is not this program's: the verdict stays, and nothing is said to be done.
#[track_caller]
fn stays(world: &World, check: &str, verdict: &str) {
    let ran = run(world, &["--fix"]);
    assert_eq!(verdicts(&ran)[check], verdict, "{ran}");
    assert_eq!(ran.json_lines()[0]["fixed"], json!([]), "{ran}");
}

#[test]
fn a_hook_program_of_another_version_or_at_no_place_is_told() {
    let world = healthy();
    let settings = world.home().join(".claude/settings.json");
    let (verdict, detail, code) = said(&run(&world, &[]), "hook_programs");
    assert_eq!((verdict.as_str(), code), ("pass", Some(0)), "{detail}");

    register(&settings, &of_another_version(&world.home().join("other/mnemosyne")));
    let (verdict, detail, code) = said(&run(&world, &[]), "hook_programs");
    assert_eq!((verdict.as_str(), code), ("warn", Some(0)), "{detail}");
    assert!(detail.contains("other/mnemosyne is 9.9.9") && detail.contains(VERSION), "{detail}");
    stays(&world, "hook_programs", "warn");

    register(&settings, Path::new("/nowhere/mnemosyne"));
    let (verdict, detail, code) = said(&run(&world, &[]), "hook_programs");
    assert_eq!((verdict.as_str(), code), ("fail", Some(1)), "{detail}");
    assert!(detail.contains("/nowhere/mnemosyne") && detail.contains("not there"), "{detail}");
    stays(&world, "hook_programs", "fail");

    let not_to_be_run = world.home().join("plain/mnemosyne");
    std::fs::create_dir(not_to_be_run.parent().expect("a directory")).expect("made");
    std::fs::write(&not_to_be_run, "text").expect("written");
    register(&settings, &not_to_be_run);
    let (verdict, detail, code) = said(&run(&world, &[]), "hook_programs");
    assert_eq!((verdict.as_str(), code), ("fail", Some(1)), "{detail}");
    assert!(detail.contains("cannot be run"), "{detail}");
}

#[test]
fn an_mcp_server_of_another_version_or_at_no_place_is_told_of_the_project_and_of_the_user() {
    let elsewhere = tempfile::tempdir().expect("a directory");
    let other = of_another_version(&elsewhere.path().join("other/mnemosyne"));
    let ours = elsewhere.path().join("ours/mnemosyne");
    std::fs::create_dir(elsewhere.path().join("ours")).expect("made");
    symlink(env!("CARGO_BIN_EXE_mnemosyne"), &ours).expect("linked");
    for file in [".mcp.json", ".claude.json"] {
        let world = healthy();
        let serve = |program: &Path| {
            let server = json!({"type": "stdio", "command": program, "args": ["serve"]});
            let servers =
                json!({"numStartups": 1, "mcpServers": {"other": {"command": "o"}, "mnemosyne": server}});
            std::fs::write(world.home().join(file), servers.to_string()).expect("written");
        };
        assert!(!verdicts(&run(&world, &[])).contains_key("mcp_server"), "none is registered");
        for (program, expected, code, words) in [
            (ours.as_path(), "pass", 0, VERSION),
            (&other, "warn", 0, "is 9.9.9 and this is"),
            (Path::new("/nowhere/mnemosyne"), "fail", 1, "is not there"),
        ] {
            serve(program);
            let before = std::fs::read(world.home().join(file)).expect("there");
            let (verdict, detail, ended) = said(&run(&world, &[]), "mcp_server");
            assert_eq!((verdict.as_str(), ended), (expected, Some(code)), "{file}: {detail}");
            assert!(detail.contains(words) && detail.contains(file), "{file}: {detail}");
            assert!(detail.contains(program.to_str().expect("UTF-8")), "{file}: {detail}");
            stays(&world, "mcp_server", expected);
            assert_eq!(
                std::fs::read(world.home().join(file)).expect("there"),
                before,
                "it is only looked at"
            );
        }
    }
}

/// This repository's plugin, as Claude Code installs it from a market. Its place.
pub(crate) fn install_plugin(world: &World) -> PathBuf {
    let plugins = world.home().join(".claude/plugins");
    let place = plugins.join("cache/mnemosyne/mnemosyne").join(VERSION);
    std::fs::create_dir_all(&place).expect("made");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".claude-plugin"), &place.join(".claude-plugin"));
    let one = json!({"scope": "user", "installPath": place, "version": VERSION});
    let list = json!({"version": 2, "plugins": {"other@o": [], "mnemosyne@mnemosyne": [one]}});
    std::fs::write(plugins.join("installed_plugins.json"), list.to_string()).expect("written");
    place
}

/// `doctor` in this directory, with these directories on the search path before the system's.
fn looked(world: &World, cwd: &Path, path: &[&Path]) -> Ran {
    let mut command = world.command(["doctor", "--json"]);
    let system = ["/usr/bin", "/bin"].map(Path::new);
    let path: OsString = std::env::join_paths(path.iter().copied().chain(system)).expect("a search path");
    Running::start(command.env("PATH", path).current_dir(cwd)).wait()
}

#[test]
fn the_plugin_alone_is_looked_at_with_the_program_that_its_script_would_call() {
    let world = healthy();
    let home = world.home();
    std::fs::write(
        home.join(".claude/settings.json"),
        r#"{"enabledPlugins": {"mnemosyne@mnemosyne": true}}"#,
    )
    .expect("written");
    let place = install_plugin(&world);
    let bin = home.join("bin");
    let look = |path: &[&Path], check: &str| said(&looked(&world, home, path), check);
    let expect = |path: &[&Path], check: &str, verdict: &str, code: i32, words: &str| {
        let (found, detail, ended) = look(path, check);
        assert_eq!((found.as_str(), ended), (verdict, Some(code)), "{detail}");
        assert!(detail.contains(words), "{detail}");
    };
    expect(&[&bin], "hooks", "pass", 0, "has all 30");
    let of_ours = format!("the plugin calls {}, version {VERSION}", bin.join("mnemosyne").display());
    expect(&[&bin], "hook_programs", "pass", 0, &of_ours);
    expect(&[], "hook_programs", "fail", 1, "not on the search path");
    let other = of_another_version(&home.join("other/mnemosyne"));
    let other = other.parent().expect("a directory");
    expect(&[other, &bin], "hook_programs", "warn", 0, "which is 9.9.9");

    let manifest = place.join(".claude-plugin/plugin.json");
    let text = std::fs::read_to_string(&manifest).expect("the manifest");
    std::fs::write(&manifest, text.replace(VERSION, "0.0.9")).expect("written");
    expect(&[&bin], "hook_programs", "warn", 0, "is 0.0.9 and this is");
    std::fs::write(&manifest, text.replace(", \"./.claude-plugin/hooks/newer.json\"", "")).expect("written");
    expect(&[&bin], "hooks", "warn", 0, "2 hooks: DirectoryAdded, PostModelSwitch not in the plugin");
    std::fs::write(&manifest, text).expect("written");
    let script = place.join(".claude-plugin/hooks/hook.sh");
    std::fs::rename(&script, home.join("hook.sh")).expect("moved away");
    expect(&[&bin], "hook_programs", "fail", 1, "hook.sh of the plugin cannot be read");
    expect(&[&bin], "hooks", "fail", 1, "nothing is recorded");
    std::fs::rename(home.join("hook.sh"), &script).expect("moved back");
    expect(&[&bin], "hook_programs", "pass", 0, "the plugin calls");
    std::fs::remove_dir_all(&place).expect("removed");
    expect(&[&bin], "hook_programs", "fail", 1, "is not at");
}

#[test]
fn the_scripts_of_a_project_are_known_and_so_is_the_program_that_they_would_find() {
    let world = healthy();
    std::fs::remove_file(world.home().join(".claude/settings.json")).expect("removed");
    let project = world.home().join("project");
    for directory in [".git", "target/debug", "target/release"] {
        std::fs::create_dir_all(project.join(directory)).expect("made");
    }
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".claude"), &project.join(".claude"));
    let expect = |path: &[&Path], check: &str, verdict: &str, code: i32, words: &str| {
        let (found, detail, ended) = said(&looked(&world, &project, path), check);
        assert_eq!((found.as_str(), ended), (verdict, Some(code)), "{detail}");
        assert!(detail.contains(words), "{detail}");
    };
    expect(&[], "hook_programs", "fail", 1, "not on the search path here: nothing is recorded");
    let debug = project.join("target/debug/mnemosyne");
    symlink(env!("CARGO_BIN_EXE_mnemosyne"), &debug).expect("linked");
    expect(&[], "hooks", "warn", 0, "scripts of the project tell of SessionEnd, SessionStart");
    let of_ours = format!("call {}, version {VERSION}", debug.display());
    expect(&[], "hook_programs", "pass", 0, &of_ours);
    // A build that is found first, of another version; and one that anybody's commit could have put there, which is not run.
    let release = project.join("target/release/mnemosyne");
    write_program(&release, "\nthis program is mnemosyne, version 9.9.9\n");
    expect(&[], "hook_programs", "warn", 0, "which is 9.9.9");
    let ran = project.join("ran");
    write_program(&release, &format!("#!/bin/sh\necho ran >> '{}'\necho mnemosyne 0.0.1\n", ran.display()));
    expect(&[], "hook_programs", "warn", 0, "was not run");
    assert!(!ran.exists());
    // What is on the search path goes before, and is asked.
    let bin = world.home().join("bin");
    expect(&[&bin], "hook_programs", "pass", 0, &format!("call {}", bin.join("mnemosyne").display()));
    // Where the settings record all, the scripts may find nothing.
    for build in [&debug, &release] {
        std::fs::remove_file(build).expect("removed");
    }
    register(&world.home().join(".claude/settings.json"), &bin.join("mnemosyne"));
    expect(&[], "hook_programs", "warn", 0, "so nothing comes of them");
    expect(&[], "hooks", "pass", 0, "all 30");
    let settings = std::fs::read_to_string(project.join(".claude/settings.json")).expect("there");
    let settings: Value = serde_json::from_str(&settings).expect("JSON");
    assert!(settings["hooks"]["SessionStart"].is_array(), "it is only looked at");
}
