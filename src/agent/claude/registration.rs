//! Whether Claude Code's own settings call this program for a hook, and how.
//!
//! The same hook may be registered twice, in the settings and by a plugin; both then run for one event. Most such doubles
//! are one event by their key, but a turn's end has none. So the plugin's call stands aside where the settings' call is sure
//! to run: a settings file that registers `mnemosyne hook` for this very hook, with a matcher that lets everything pass.
//!
//! [`registrations`] lists what is registered and whether it can work: the program must be there and be of our version.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::settings::{self, is_ours, passes_everything, words_of};
use super::version;

/// A larger settings file is not read.
pub const SETTINGS_BYTES_MAX: u64 = 1 << 20;

/// One hook that a settings file registers for this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The settings file.
    pub file: PathBuf,
    /// The hook's name.
    pub hook: String,
    /// The program, as it stands there: an absolute path, or a name to be looked for on the search path.
    pub program: PathBuf,
    /// The arguments, `hook` among them.
    pub args: Vec<String>,
    /// Whether it lies in the project whose settings name it, and whose files may be anybody's: such a one is not asked anything.
    pub inside: bool,
    /// Whether a file of that path is there; for a bare name, whether the program could be asked.
    pub exists: bool,
    /// The version that the program says it is.
    pub version: Option<String>,
}

/// What these settings files register for this program, in the order of the files. Each program is run once, with
/// `--version`, unless it lies in `project` and a file of that names it.
pub fn registrations(files: &[PathBuf], project: Option<&Path>) -> Vec<Registration> {
    let mut versions: BTreeMap<PathBuf, Option<String>> = BTreeMap::new();
    let mut found = Vec::new();
    for file in files {
        let Some(settings) = read(file) else { continue };
        let project = project.filter(|project| file.starts_with(project));
        for (hook, handler) in ours_in(&settings) {
            let mut words = words_of(handler);
            let program = PathBuf::from(words.remove(0).trim_matches(['"', '\'']));
            let inside = project.is_some_and(|project| is_inside(&program, project));
            let ask = || if inside { None } else { version::of(&program) };
            let version = versions.entry(program.clone()).or_insert_with(ask).clone();
            let exists = program.is_file() || version.is_some();
            found.push(Registration {
                file: file.clone(),
                hook: hook.clone(),
                program,
                args: words,
                inside,
                exists,
                version,
            });
        }
    }
    found
}

/// Our server as a file registers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// The program, as it stands there.
    pub program: PathBuf,
    /// Whether it lies in the project, whose files may be anybody's: such a one is not asked anything.
    pub inside: bool,
    /// Whether a file of that path is there; for a bare name, whether the program could be asked.
    pub exists: bool,
    /// The version that the program says it is.
    pub version: Option<String>,
}

/// The file that names the MCP servers of a project.
pub const SERVERS_FILE: &str = ".mcp.json";

/// Claude Code's own file, in which the servers for all projects stand beside much else.
pub const USERS_FILE: &str = ".claude.json";
/// It grows with every project that was ever opened.
const USERS_BYTES_MAX: u64 = 64 << 20;

/// The server that the file of a project registers, if it is ours. The program is run once, with `--version`, unless it lies in the project.
pub fn server(file: &Path) -> Option<Serving> {
    serving(&read(file)?, file.parent())
}

/// The server that Claude Code's own file registers for all projects, if it is ours. The program is run once, with `--version`.
pub fn users_server(file: &Path) -> Option<Serving> {
    serving(&read_at_most(file, USERS_BYTES_MAX)?, None)
}

fn serving(servers: &Value, project: Option<&Path>) -> Option<Serving> {
    let ours =
        servers.get("mcpServers")?.get(settings::SERVER).filter(|ours| settings::is_our_server(ours))?;
    let program = PathBuf::from(words_of(ours).into_iter().next()?);
    let inside = project.is_some_and(|project| is_inside(&program, project));
    let version = if inside { None } else { version::of(&program) };
    Some(Serving { exists: program.is_file() || version.is_some(), inside, program, version })
}

/// Whether a program that is named by its path lies below `top`. Where a path leads from here is not looked at: it may lead there.
pub fn is_inside(program: &Path, top: &Path) -> bool {
    program.components().count() > 1 && (program.is_relative() || program.starts_with(top))
}

/// Whether a settings file registers any hook for this program.
pub fn registers_any(file: &Path) -> bool {
    read(file).is_some_and(|settings| ours_in(&settings).next().is_some())
}

/// The settings file that switches our plugin on, and the plugin's whole name there, unless one that is more particular switches it off: the project's local one goes before
/// the project's shared one, and both before the user's.
pub fn plugin_enabled_in(files: &[PathBuf]) -> Option<(PathBuf, String)> {
    let mut ordered: Vec<&PathBuf> = files.iter().collect();
    ordered.sort_by_key(|file| !file.ends_with("settings.local.json"));
    let (file, name, on) = ordered.into_iter().find_map(|file| {
        let settings = read(file)?;
        let plugins = settings.get("enabledPlugins")?.as_object()?;
        let ours = plugins.iter().find(|(name, _)| name.split('@').next() == Some("mnemosyne"))?;
        Some((file.clone(), ours.0.clone(), ours.1.as_bool() == Some(true)))
    })?;
    on.then_some((file, name))
}

/// Our handlers with the names of their hooks.
fn ours_in(settings: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let hooks = settings.get("hooks").and_then(Value::as_object);
    hooks.into_iter().flatten().flat_map(|(hook, groups)| {
        let groups = groups.as_array().into_iter().flatten();
        let handlers = groups.filter_map(|group| group.get("hooks").and_then(Value::as_array)).flatten();
        handlers.filter(|handler| is_ours(handler)).map(move |handler| (hook, handler))
    })
}

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

pub(super) fn read(file: &Path) -> Option<Value> {
    read_at_most(file, SETTINGS_BYTES_MAX)
}

fn read_at_most(file: &Path, bytes_max: u64) -> Option<Value> {
    let text = text_at_most(file, bytes_max)?;
    // Nearly all settings are plain JSON, and this is on the way of a hook.
    serde_json::from_str(&text).ok().or_else(|| settings::parse(&text))
}

/// The text of a file of no more than so many bytes. They are counted as they are read: what calls itself empty may have no end.
pub(super) fn text_at_most(file: &Path, bytes_max: u64) -> Option<String> {
    // Something else than a file may wait for ever when it is opened.
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > bytes_max {
        return None;
    }
    let mut text = String::with_capacity(usize::try_from(metadata.len()).ok()? + 1);
    File::open(file).ok()?.take(bytes_max + 1).read_to_string(&mut text).ok()?;
    (text.len() as u64 <= bytes_max).then_some(text)
}

fn registers(settings: &Value, hook: &str) -> bool {
    let groups = settings.get("hooks").and_then(|hooks| hooks.get(hook)).and_then(Value::as_array);
    groups.into_iter().flatten().filter(|group| passes_everything(group)).any(|group| {
        let handlers = group.get("hooks").and_then(Value::as_array);
        handlers.into_iter().flatten().any(is_ours)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings(matcher: &Value, handler: &Value) -> Value {
        json!({"hooks": {"Stop": [{"matcher": matcher, "hooks": [handler]}]}})
    }

    #[test]
    fn a_file_that_calls_itself_empty_and_has_no_end_is_not_read_to_it() {
        let pages = Path::new("/proc/self/pagemap");
        assert!(!pages.exists() || pages.metadata().unwrap().len() == 0);
        assert_eq!(text_at_most(pages, 4_096), None);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "four").unwrap();
        assert_eq!(text_at_most(&file, 4).as_deref(), Some("four"));
        assert_eq!(text_at_most(&file, 3), None);
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
    fn a_registration_is_listed_with_its_program_even_amid_comments() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("settings.json");
        let text = r#"{ // mine
            "hooks": {"Stop": [{"hooks": [{"command": "/nowhere/mnemosyne", "args": ["hook"]}, {"command": "x hook"}]}],}
        }"#;
        std::fs::write(&file, text).unwrap();
        assert!(is_registered(std::slice::from_ref(&file), "Stop"));
        let found = registrations(&[dir.path().join("none.json"), file.clone()], Some(dir.path()));
        let program = PathBuf::from("/nowhere/mnemosyne");
        let expected = Registration {
            file,
            hook: "Stop".into(),
            program,
            args: vec!["hook".into()],
            inside: false,
            exists: false,
            version: None,
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn files_that_are_not_there_or_no_json_register_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let broken = dir.path().join("settings.json");
        std::fs::write(&broken, "{").unwrap();
        assert!(!is_registered(&[broken, dir.path().join("none.json"), dir.path().into()], "Stop"));
    }
}
