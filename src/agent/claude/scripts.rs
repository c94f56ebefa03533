//! Scripts between Claude Code and this program: those of the plugin, and those that a project has for the start and the end of a
//! session.
//!
//! Constraints first. A project may be anybody's, so nothing is run here: a script is read, and known as ours by what it calls. Which
//! program it would call is looked for as it looks ([`Script::program`]); a build of the project is asked for its version by
//! reading it ([`super::version::written_in`]).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::registration::{self, read};
use super::settings::words_of;

/// No script of ours is longer.
const SCRIPT_BYTES_MAX: u64 = 64 * 1024;
/// Of the scripts beside one to which it may hand on, so many are read: ours hands on to one.
const BESIDE_MAX: usize = 8;
/// What Claude Code knows of the plugins that are installed, in its directory.
const INSTALLED: &str = "plugins/installed_plugins.json";
/// Where Claude Code looks for a plugin's hooks beside what the manifest names.
const HOOKS_DEFAULT: &str = "hooks/hooks.json";
/// Where our scripts look in a project, in that order, after the search path.
const BUILDS: [&str; 4] = ["target/release", "target/*/release", "target/debug", "target/*/debug"];

/// A script that hands hooks on to this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The file that registers it.
    pub file: PathBuf,
    /// The script, or the program itself where no script stands between.
    pub path: PathBuf,
    /// The hooks for which it is run.
    pub hooks: BTreeSet<String>,
    /// Where builds of the project are, if it looks for them.
    builds: Option<PathBuf>,
}

impl Script {
    /// The program that it would call, with this search path.
    pub fn program(&self, search_path: Option<&OsStr>) -> Option<PathBuf> {
        on_path("mnemosyne", search_path).or_else(|| build_in(self.builds.as_deref()?))
    }
}

/// The scripts of `project` that its settings register and that tell this program of a session's start or end.
pub fn of_project(files: &[PathBuf], project: &Path) -> Vec<Script> {
    let mut found: Vec<Script> = Vec::new();
    // Each is read once, however many handlers name it.
    let mut read_before: BTreeMap<PathBuf, Option<bool>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.starts_with(project)) {
        let Some(settings) = read(file) else { continue };
        for (hook, handler) in handlers_in(&settings) {
            let Some(path) = script_of(handler, "CLAUDE_PROJECT_DIR", project) else { continue };
            let tells = *read_before.entry(path.clone()).or_insert_with_key(|path| tells_of_a_session(path));
            let Some(has_builds) = tells else { continue };
            match found.iter_mut().find(|known| known.path == path && known.file == *file) {
                Some(known) => drop(known.hooks.insert(hook.clone())),
                None => found.push(Script {
                    file: file.clone(),
                    path,
                    hooks: BTreeSet::from([hook.clone()]),
                    builds: has_builds.then(|| project.to_owned()),
                }),
            }
        }
    }
    found
}

/// Our plugin as Claude Code has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// The settings file that switches it on.
    pub enabled_in: PathBuf,
    /// The file that says where it is installed.
    pub listed_in: PathBuf,
    /// Where it is installed; none where nobody says that it is.
    pub place: Option<PathBuf>,
    /// The version of its manifest; none where there is no manifest to be read.
    pub version: Option<String>,
    /// Files of hooks that the manifest names and that are not there or no JSON.
    pub unreadable: Vec<PathBuf>,
    /// Scripts that its hooks name and that are not there.
    pub absent: BTreeSet<PathBuf>,
    /// What it has run for hooks.
    pub scripts: Vec<Script>,
}

impl Plugin {
    /// The hooks for which it calls this program.
    pub fn hooks(&self) -> BTreeSet<&str> {
        self.scripts.iter().flat_map(|script| &script.hooks).map(String::as_str).collect()
    }
}

/// Our plugin, if these settings switch it on; `config` is Claude Code's own directory.
pub fn plugin(files: &[PathBuf], config: &Path) -> Option<Plugin> {
    let (enabled_in, name) = registration::plugin_enabled_in(files)?;
    let listed_in = config.join(INSTALLED);
    let place = installed_at(&listed_in, &name);
    let mut plugin = Plugin {
        enabled_in,
        listed_in,
        version: None,
        unreadable: Vec::new(),
        absent: BTreeSet::new(),
        scripts: Vec::new(),
        place,
    };
    let Some(place) = plugin.place.clone() else { return Some(plugin) };
    let Some(manifest) = read(&place.join(".claude-plugin/plugin.json")) else { return Some(plugin) };
    plugin.version = manifest.get("version").and_then(Value::as_str).map(str::to_owned);
    for file in files_of_hooks(&manifest, &place) {
        match read(&file) {
            Some(hooks) => plugin.take_in(&file, &hooks, &place),
            None => plugin.unreadable.push(file),
        }
    }
    Some(plugin)
}

impl Plugin {
    fn take_in(&mut self, file: &Path, hooks: &Value, place: &Path) {
        for (hook, handler) in handlers_in(hooks) {
            let Some(path) = script_of(handler, "CLAUDE_PLUGIN_ROOT", place) else { continue };
            let Some(text) = text_of(&path) else {
                self.absent.insert(path);
                continue;
            };
            if !(has_word(&text, "mnemosyne") && has_word(&text, "hook")) {
                continue;
            }
            match self.scripts.iter_mut().find(|known| known.path == path) {
                Some(known) => drop(known.hooks.insert(hook.clone())),
                None => self.scripts.push(Script {
                    file: file.to_owned(),
                    path,
                    hooks: BTreeSet::from([hook.clone()]),
                    builds: None,
                }),
            }
        }
    }
}

/// Where a plugin of this name is installed: where there are several, one that is there.
fn installed_at(list: &Path, name: &str) -> Option<PathBuf> {
    let list = read(list)?;
    let places: Vec<PathBuf> = list
        .get("plugins")?
        .get(name)?
        .as_array()?
        .iter()
        .filter_map(|one| Some(PathBuf::from(one.get("installPath")?.as_str()?)))
        .collect();
    places.iter().find(|place| place.is_dir()).or(places.first()).cloned()
}

fn files_of_hooks(manifest: &Value, place: &Path) -> Vec<PathBuf> {
    let named: Vec<&str> = match manifest.get("hooks") {
        Some(Value::String(file)) => vec![file],
        Some(Value::Array(files)) => files.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let mut files: Vec<PathBuf> =
        named.iter().map(|file| place.join(file.strip_prefix("./").unwrap_or(file))).collect();
    let beside = place.join(HOOKS_DEFAULT);
    if beside.is_file() && !files.contains(&beside) {
        files.push(beside);
    }
    files
}

/// Every handler with the name of its hook.
fn handlers_in(settings: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let hooks = settings.get("hooks").and_then(Value::as_object);
    hooks.into_iter().flatten().flat_map(|(hook, groups)| {
        let groups = groups.as_array().into_iter().flatten();
        let handlers = groups.filter_map(|group| group.get("hooks").and_then(Value::as_array)).flatten();
        handlers.map(move |handler| (hook, handler))
    })
}

/// The script that a handler names below the directory of that variable.
fn script_of(handler: &Value, variable: &str, directory: &Path) -> Option<PathBuf> {
    words_of(handler).iter().find_map(|word| {
        let word = word.trim_matches(['"', '\'']).replace('"', "");
        let rest = word.strip_prefix(&format!("${{{variable}}}/"));
        let rest = Path::new(rest.or_else(|| word.strip_prefix(&format!("${variable}/")))?);
        // What leads out of the directory is no script of it.
        rest.components().all(|part| matches!(part, Component::Normal(_))).then(|| directory.join(rest))
    })
}

fn text_of(script: &Path) -> Option<String> {
    registration::text_at_most(script, SCRIPT_BYTES_MAX)
}

/// Whether a script that tells this program of a session's start or end looks for builds of the project; none is a script that does not tell.
fn tells_of_a_session(script: &Path) -> Option<bool> {
    let text = text_with_what_it_runs(script)?;
    let tells = text.contains("session-started") || text.contains("session-ended");
    let is_ours = tells && has_word(&text, "mnemosyne") && has_word(&text, "internal");
    is_ours.then(|| text.contains("target/"))
}

/// The text of a script, with that of the scripts beside it to which it hands on, of which there are few.
fn text_with_what_it_runs(script: &Path) -> Option<String> {
    const BESIDE: &str = "$(dirname \"$0\")/";
    let mut text = text_of(script)?;
    let named = text.split(BESIDE).skip(1).filter_map(|rest| rest.split(['"', ' ', '\n']).next());
    let named: BTreeSet<PathBuf> =
        named.filter(|name| !name.contains('/')).map(|name| script.with_file_name(name)).collect();
    for beside in named.iter().take(BESIDE_MAX).filter_map(|path| text_of(path)) {
        text.push('\n');
        text.push_str(&beside);
    }
    Some(text)
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').any(|one| one == word)
}

/// What a shell would run by this name.
fn on_path(name: &str, search_path: Option<&OsStr>) -> Option<PathBuf> {
    // An empty name of a directory is the one where the shell is, and what is found there has to be known as lying there.
    let place = |directory: PathBuf| if directory.as_os_str().is_empty() { ".".into() } else { directory };
    std::env::split_paths(search_path?)
        .map(|directory| place(directory).join(name))
        .find(|path| is_program(path))
}

/// The first build of a project, in the order in which our scripts look.
fn build_in(project: &Path) -> Option<PathBuf> {
    BUILDS.iter().find_map(|place| match place.split_once("/*/") {
        None => Some(project.join(place).join("mnemosyne")).filter(|path| is_program(path)),
        Some((top, profile)) => {
            let mut targets: Vec<PathBuf> =
                std::fs::read_dir(project.join(top)).ok()?.flatten().map(|target| target.path()).collect();
            targets.sort();
            targets
                .into_iter()
                .map(|target| target.join(profile).join("mnemosyne"))
                .find(|path| is_program(path))
        }
    })
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn the_scripts_of_this_repository_are_known_and_look_where_they_look() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        let found = of_project(&[repository.join(".claude/settings.json")], repository);
        let told: Vec<(&OsStr, Vec<&str>)> = found
            .iter()
            .map(|script| {
                (script.path.file_name().unwrap(), script.hooks.iter().map(String::as_str).collect())
            })
            .collect();
        assert_eq!(
            told,
            [
                (OsStr::new("session-start.sh"), vec!["SessionStart"]),
                (OsStr::new("session-end.sh"), vec!["SessionEnd"])
            ]
        );
        let dir = tempfile::tempdir().unwrap();
        let script = Script { builds: Some(dir.path().to_owned()), ..found[0].clone() };
        let path = dir.path().join("bin");
        let found = || script.program(Some(path.as_os_str()));
        assert_eq!(found(), None);
        for place in ["target/x/debug", "target/debug", "target/x/release", "target/release", "bin"] {
            let place = dir.path().join(place).join("mnemosyne");
            program(&place);
            assert_eq!(found(), Some(place));
        }
        let here = on_path("tools/schedules.sh", Some(OsStr::new("/nowhere:")));
        assert_eq!(here, Some("./tools/schedules.sh".into()), "as a path from here, and not as a name");
        let mode = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(path.join("mnemosyne"), mode).unwrap();
        assert_eq!(found(), Some(dir.path().join("target/release/mnemosyne")), "that one cannot be run");
    }

    #[test]
    fn scripts_of_others_and_settings_of_others_are_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let (file, hooks) = (dir.path().join(".claude/settings.json"), dir.path().join(".claude/hooks"));
        std::fs::create_dir_all(&hooks).unwrap();
        let handler = serde_json::json!({"command": "sh \"$CLAUDE_PROJECT_DIR\"/.claude/hooks/start.sh"});
        let settings = serde_json::json!({"hooks": {"SessionStart": [{"hooks": [handler]}]}});
        std::fs::write(&file, settings.to_string()).unwrap();
        let script = hooks.join("start.sh");
        let count = || of_project(std::slice::from_ref(&file), dir.path()).len();
        for (text, ours) in [
            ("#!/bin/sh\nexec mnemosyne internal session-started\n", 1),
            ("#!/bin/sh\nexec other internal session-started\n", 0),
            ("#!/bin/sh\nexec mnemosyne tail\n", 0),
            ("#!/bin/sh\nexec sh \"$(dirname \"$0\")/beside.sh\" session-started\n", 0),
        ] {
            std::fs::write(&script, text).unwrap();
            assert_eq!(count(), ours, "{text}");
        }
        std::fs::write(hooks.join("beside.sh"), "mnemosyne internal \"$@\"\n").unwrap();
        assert_eq!(count(), 1, "it hands on to the one beside it");
        // Out of the project, by a root and by steps up.
        let name = dir.path().file_name().unwrap().to_str().unwrap();
        for (way, ours) in [
            (".claude/hooks".to_owned(), 1),
            (format!("../{name}/.claude/hooks"), 0),
            (hooks.display().to_string(), 0),
        ] {
            let handler =
                serde_json::json!({"command": format!("sh \"$CLAUDE_PROJECT_DIR\"/{way}/start.sh")});
            let settings = serde_json::json!({"hooks": {"SessionStart": [{"hooks": [handler]}]}});
            std::fs::write(&file, settings.to_string()).unwrap();
            assert_eq!(count(), ours, "{way}");
        }
        assert_eq!(of_project(&[file], Path::new("/elsewhere")), []);
    }

    #[test]
    fn the_plugin_of_this_repository_calls_the_program_for_every_hook() {
        let dir = tempfile::tempdir().unwrap();
        let settings = dir.path().join("settings.json");
        std::fs::write(&settings, r#"{"enabledPlugins": {"mnemosyne@market": true}}"#).unwrap();
        let look = || plugin(std::slice::from_ref(&settings), dir.path()).unwrap();
        assert_eq!((look().place, look().hooks().len()), (None, 0));
        let list = |place: &str| {
            std::fs::create_dir_all(dir.path().join("plugins")).unwrap();
            let list =
                serde_json::json!({"version": 2, "plugins": {"mnemosyne@market": [{"installPath": place}]}});
            std::fs::write(dir.path().join(INSTALLED), list.to_string()).unwrap();
        };
        list("/nowhere/plugin");
        let found = look();
        assert_eq!((found.place, found.version), (Some("/nowhere/plugin".into()), None));
        list(env!("CARGO_MANIFEST_DIR"));
        let found = look();
        assert_eq!(found.version.as_deref(), Some(env!("CARGO_PKG_VERSION")));
        assert_eq!((found.unreadable.len(), found.absent.len(), found.scripts.len()), (0, 0, 1));
        let all: BTreeSet<&str> = super::super::hooks::HOOKS.iter().map(|hook| hook.name).collect();
        assert_eq!(found.hooks(), all);
    }
}
