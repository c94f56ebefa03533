//! Whether Claude Code's own settings keep it from running the hooks that are registered.
//!
//! `disableAllHooks` may stand in any settings file; the most particular file that names it decides, the project's local one
//! before the project's shared one before the user's. Settings that the machine's administrator manages go before all of them:
//! there `disableAllHooks` stops every hook, and `allowManagedHooksOnly` those of everybody else. Hooks that the managed settings
//! register themselves are stopped by the first alone.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::registration::{self, read};

/// Stops all hooks.
const ALL: &str = "disableAllHooks";
/// Stops those that the administrator did not register; counts in managed settings only.
const OTHERS: &str = "allowManagedHooksOnly";

/// Where an administrator's settings lie.
const MANAGED: &str =
    if cfg!(target_os = "macos") { "/Library/Application Support/ClaudeCode" } else { "/etc/claude-code" };

/// What keeps the hooks from being run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchedOff {
    /// The settings file.
    pub file: PathBuf,
    /// The key that is true in it.
    pub key: &'static str,
}

/// The managed settings of this machine: a file, and a directory of others beside it.
pub fn managed_files() -> Vec<PathBuf> {
    let top = Path::new(MANAGED);
    let beside = std::fs::read_dir(top.join("managed-settings.d")).into_iter().flatten().flatten();
    let mut beside: Vec<PathBuf> = beside
        .map(|item| item.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    beside.sort();
    [top.join("managed-settings.json")].into_iter().chain(beside).collect()
}

/// What keeps hooks that these files register from being run, if anything does. A file that cannot be read says nothing.
pub fn switched_off(managed: &[PathBuf], files: &[PathBuf]) -> Option<SwitchedOff> {
    let said = |file: &PathBuf, key| read(file)?.get(key).and_then(Value::as_bool);
    let in_managed = |key: &'static str| {
        let file = managed.iter().find(|file| said(file, key) == Some(true))?;
        Some(SwitchedOff { file: file.clone(), key })
    };
    if let Some(off) = in_managed(ALL) {
        return Some(off);
    }
    if managed.iter().any(|file| registration::registers_any(file)) {
        return None;
    }
    if let Some(off) = in_managed(OTHERS) {
        return Some(off);
    }
    let mut ordered: Vec<&PathBuf> = files.iter().collect();
    ordered.sort_by_key(|file| !file.ends_with("settings.local.json"));
    let (file, off) = ordered.into_iter().find_map(|file| Some((file, said(file, ALL)?)))?;
    off.then(|| SwitchedOff { file: file.clone(), key: ALL })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_most_particular_decides_and_the_administrator_before_all() {
        const OURS: &str =
            r#"{"hooks": {"Stop": [{"hooks": [{"command": "/b/mnemosyne", "args": ["hook"]}]}]}}"#;
        let dir = tempfile::tempdir().unwrap();
        let names = ["managed-settings.json", "settings.json", "settings.local.json", "user.json"];
        let off = |texts: [&str; 4]| {
            let files: Vec<PathBuf> = names.iter().map(|name| dir.path().join(name)).collect();
            files.iter().zip(texts).for_each(|(file, text)| std::fs::write(file, text).unwrap());
            let off = switched_off(&files[..1], &files[1..])?;
            Some((off.file.file_name()?.to_str()?.to_owned(), off.key))
        };
        let (on, yes, only) = (
            r#"{"disableAllHooks": false}"#,
            r#"{"disableAllHooks": true}"#,
            r#"{"allowManagedHooksOnly": true}"#,
        );
        let rows = [
            (["", "", "", ""], None),
            (["{}", on, "{}", r#"{"disableAllHooks": "yes"}"#], None),
            (["", yes, on, yes], None),
            (["", "", "", yes], Some(("user.json", ALL))),
            (["", on, yes, ""], Some(("settings.local.json", ALL))),
            (["", yes, "{ // mine\n}", on], Some(("settings.json", ALL))),
            (["", only, only, only], None),
            ([only, "", on, ""], Some(("managed-settings.json", OTHERS))),
            ([yes, on, on, on], Some(("managed-settings.json", ALL))),
            ([OURS, "", yes, ""], None),
        ];
        for (texts, expected) in rows {
            let expected = expected.map(|(file, key): (&str, _)| (file.to_owned(), key));
            assert_eq!(off(texts), expected, "{texts:?}");
        }
    }
}
