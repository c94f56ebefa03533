//! Whether Claude Code's own settings call this program for a hook.
//!
//! The same hook may be registered twice, in the settings and by a plugin; both then run for one event. Most such doubles
//! are one event by their key, but a turn's end has none. So the plugin's call stands aside where the settings' call is sure
//! to run: a settings file that registers `mnemosyne hook` for this very hook, with a matcher that lets everything pass.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A larger settings file is not read.
const SETTINGS_BYTES_MAX: u64 = 1 << 20;

/// The settings files that count for a project, those of the user included.
pub fn settings_files(
    project: Option<&Path>,
    config_dir: Option<&Path>,
    home: Option<&Path>,
) -> Vec<PathBuf> {
    let of_project = project.into_iter().flat_map(|project| {
        ["settings.json", "settings.local.json"].map(|name| project.join(".claude").join(name))
    });
    let own = config_dir.map(Path::to_owned).or_else(|| Some(home?.join(".claude")));
    of_project.chain(own.map(|own| own.join("settings.json"))).collect()
}

/// Whether one of these files registers this program for the hook. A file that cannot be read registers nothing.
pub fn is_registered(files: &[PathBuf], hook: &str) -> bool {
    files.iter().filter_map(|file| read(file)).any(|settings| registers(&settings, hook))
}

fn read(file: &Path) -> Option<Value> {
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > SETTINGS_BYTES_MAX {
        return None;
    }
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

fn registers(settings: &Value, hook: &str) -> bool {
    let groups = settings.get("hooks").and_then(|hooks| hooks.get(hook)).and_then(Value::as_array);
    groups.into_iter().flatten().filter(|group| passes_everything(group)).any(|group| {
        let handlers = group.get("hooks").and_then(Value::as_array);
        handlers.into_iter().flatten().any(is_ours)
    })
}

fn passes_everything(group: &Value) -> bool {
    matches!(group.get("matcher").and_then(Value::as_str), None | Some("" | "*"))
}

/// Whether a handler runs `mnemosyne hook` itself, as a program with arguments or as a line for a shell.
fn is_ours(handler: &Value) -> bool {
    let Some(command) = handler.get("command").and_then(Value::as_str) else { return false };
    let arguments = handler.get("args").and_then(Value::as_array);
    let mut words: Vec<&str> = match arguments {
        Some(arguments) => {
            std::iter::once(command).chain(arguments.iter().filter_map(Value::as_str)).collect()
        }
        None => command.split_whitespace().collect(),
    };
    if words.is_empty() {
        return false;
    }
    let program = words.remove(0).trim_matches(['"', '\'']);
    let program = program.rsplit(['/', '\\']).next().unwrap_or_default();
    program == "mnemosyne" && words.contains(&"hook") && !words.contains(&"--plugin")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings(matcher: &Value, handler: &Value) -> Value {
        json!({"hooks": {"Stop": [{"matcher": matcher, "hooks": [handler]}]}})
    }

    #[test]
    fn a_registration_is_seen_as_a_program_and_as_a_shell_line() {
        let rows = [
            json!({"type": "command", "command": "mnemosyne", "args": ["hook"]}),
            json!({"type": "command", "command": "/usr/local/bin/mnemosyne hook --data-dir /d"}),
        ];
        for handler in rows {
            assert!(registers(&settings(&json!("*"), &handler), "Stop"), "{handler}");
            assert!(!registers(&settings(&json!("*"), &handler), "PreToolUse"), "{handler}");
            assert!(!registers(&settings(&json!("Bash"), &handler), "Stop"), "a matcher may keep it away");
        }
    }

    #[test]
    fn what_is_not_our_hook_is_no_registration() {
        let rows = [
            json!({"command": "mnemosyne", "args": ["hook", "--plugin"]}),
            json!({"command": "mnemosyne", "args": ["tail"]}),
            json!({"command": "other hook"}),
            json!({"command": ""}),
            json!({"type": "http", "url": "http://127.0.0.1"}),
            json!(4),
        ];
        for handler in rows {
            assert!(!registers(&settings(&json!(null), &handler), "Stop"), "{handler}");
        }
        assert!(!registers(&json!({"hooks": []}), "Stop"));
    }

    #[test]
    fn files_that_are_not_there_or_no_json_register_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let broken = dir.path().join("settings.json");
        std::fs::write(&broken, "{").unwrap();
        assert!(!is_registered(&[broken, dir.path().join("none.json"), dir.path().into()], "Stop"));
    }
}
