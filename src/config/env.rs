//! A snapshot of the environment: the variables that mnemosyne reads, all of them, and where the user's directories are.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;

use crate::error::Error;

/// Every variable that is read, with what it is for; `--help` prints this table.
pub const VARIABLES: [(&str, &str); 11] = [
    ("MNEMOSYNE_DATA_DIR", "the data directory, unless --data-dir names one"),
    ("MNEMOSYNE_DISABLE_EVENTS", "record nothing (1, true, yes, on)"),
    ("MNEMOSYNE_DISABLE_AUTO_START_API", "never start a server on its own (1, true, yes, on)"),
    ("MNEMOSYNE_SERVER", "URL of a server elsewhere, unless --server names one"),
    ("MNEMOSYNE_TOKEN_FILE", "file with the token of that server, unless --token-file names one"),
    ("MNEMOSYNE_LOG", "level of the server's own log: error, warn, info, debug, trace"),
    ("NO_COLOR", "no colours, whatever the terminal"),
    ("CLAUDE_CONFIG_DIR", "where Claude Code keeps its transcripts"),
    ("CLAUDE_PROJECT_DIR", "the project of a hook; decides its data directory"),
    ("CLAUDE_CODE_SESSION_ID", "the agent session that runs this command"),
    ("CLAUDE_PID", "process of the agent that runs this command"),
];

/// The environment as it was when the process started.
#[derive(Debug, Clone, Default)]
pub struct Env {
    variables: BTreeMap<&'static str, OsString>,
    user_data: Option<PathBuf>,
    user_config: Option<PathBuf>,
    home: Option<PathBuf>,
    search_path: Option<OsString>,
}

impl Env {
    /// Reads the process's environment. The only place that does.
    pub fn from_process() -> Env {
        let variables = VARIABLES
            .iter()
            .filter_map(|(name, _)| std::env::var_os(name).map(|value| (*name, value)))
            .collect();
        let user = etcetera::choose_base_strategy().ok();
        // A relative one would be another place in each working directory.
        let absolute = |path: PathBuf| Some(path).filter(|path| path.is_absolute());
        Env {
            variables,
            user_data: user.as_ref().and_then(|base| absolute(base.data_dir().join("mnemosyne"))),
            user_config: user.as_ref().and_then(|base| absolute(base.config_dir().join("mnemosyne"))),
            home: user.as_ref().and_then(|base| absolute(base.home_dir().to_owned())),
            search_path: std::env::var_os("PATH"),
        }
    }

    /// An environment for tests: no variables, and `home` as the user's home.
    pub fn with_home(home: &Path) -> Env {
        Env {
            variables: BTreeMap::new(),
            user_data: Some(home.join(".local/share/mnemosyne")),
            user_config: Some(home.join(".config/mnemosyne")),
            home: Some(home.to_owned()),
            search_path: None,
        }
    }

    /// The same with one variable set; names that are not in [`VARIABLES`] are not read by anybody and change nothing.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<OsStr>) -> Env {
        if let Some((known, _)) = VARIABLES.iter().find(|(known, _)| *known == name) {
            self.variables.insert(known, value.as_ref().to_owned());
        }
        self
    }

    /// Where a shell looks for programs.
    pub fn search_path(&self) -> Option<&OsStr> {
        self.search_path.as_deref()
    }

    /// A variable as it stands; unset and empty are the same.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(name).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// A variable as text; unset, empty and not UTF-8 are the same.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(OsStr::to_str)
    }

    /// A variable as a path.
    pub fn path(&self, name: &str) -> Option<&Path> {
        self.get(name).map(Path::new)
    }

    /// A switch: 1, true, yes, on / 0, false, no, off, empty, unset, in any case.
    ///
    /// # Errors
    /// [`Error::BadSwitch`] for anything else.
    pub fn switch(&self, name: &'static str) -> Result<bool, Error> {
        let Some(value) = self.get(name) else { return Ok(false) };
        match value.to_str().map(str::to_ascii_lowercase).as_deref() {
            Some("1" | "true" | "yes" | "on") => Ok(true),
            Some("0" | "false" | "no" | "off") => Ok(false),
            _ => Err(Error::BadSwitch { variable: name, value: value.to_string_lossy().into_owned() }),
        }
    }

    /// `MNEMOSYNE_DISABLE_EVENTS`: emit nothing.
    pub fn events_disabled(&self) -> Result<bool, Error> {
        self.switch("MNEMOSYNE_DISABLE_EVENTS")
    }

    /// The same for a hook, which has nobody to tell: what is neither yes nor no counts as no, so that recording goes on.
    pub fn events_disabled_for_hook(&self) -> bool {
        self.events_disabled().unwrap_or(false)
    }

    /// `MNEMOSYNE_DISABLE_AUTO_START_API`: start no server unasked.
    pub fn auto_start_disabled(&self) -> Result<bool, Error> {
        self.switch("MNEMOSYNE_DISABLE_AUTO_START_API")
    }

    /// The agent session that runs this process, if one does.
    pub fn session(&self) -> Option<&str> {
        self.text("CLAUDE_CODE_SESSION_ID")
    }

    /// The pid of the agent that runs this process, where the environment names it.
    pub fn agent_pid(&self) -> Option<u32> {
        self.text("CLAUDE_PID")?.parse().ok()
    }

    /// Where the user's data directory is, if the user has a home.
    pub fn user_data(&self) -> Option<&Path> {
        self.user_data.as_deref()
    }

    /// The user's home directory, if there is one.
    pub fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// The user's `config.toml`, if the user has a home.
    pub fn user_config_toml(&self) -> Option<PathBuf> {
        self.user_config.as_ref().map(|dir| dir.join("config.toml"))
    }
}

/// How many arenas the system's allocator may have, for glibc: read once, when a process starts.
const ARENAS: &str = "MALLOC_ARENA_MAX";
/// The newer way to say the same, and more.
const TUNABLES: &str = "GLIBC_TUNABLES";

/// What the environment of a server must say so that its allocator has one arena for all its threads; `None` where somebody
/// has said something already.
pub fn one_arena() -> Option<(&'static str, &'static str)> {
    let is_free = std::env::var_os(ARENAS).is_none() && std::env::var_os(TUNABLES).is_none();
    is_free.then_some((ARENAS, "1"))
}

/// What a server that runs on its own gets of this process's environment: where its files are, and our own variables. The rest
/// is the agent's, and may hold secrets that a process which lives for days has no use for. Which server others ask is none of its
/// business either.
pub fn for_server() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        let elsewhere = matches!(&*name, "MNEMOSYNE_SERVER" | "MNEMOSYNE_TOKEN_FILE");
        matches!(&*name, "HOME" | "PATH" | ARENAS | TUNABLES)
            || name.starts_with("XDG_")
            || (name.starts_with("MNEMOSYNE_") && !elsewhere)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_take_the_documented_words_and_refuse_the_rest() {
        let with = |value: &str| Env::default().with("MNEMOSYNE_DISABLE_EVENTS", value).events_disabled();
        for yes in ["1", "true", "YES", "On"] {
            assert!(with(yes).unwrap(), "{yes}");
        }
        for no in ["0", "false", "no", "OFF", ""] {
            assert!(!with(no).unwrap(), "{no}");
        }
        for neither in ["2", "maybe", " 1"] {
            let error = with(neither).unwrap_err();
            assert_eq!((error.code(), error.exit_code()), ("bad_switch", 2), "{neither}");
        }
        assert!(!Env::default().events_disabled().unwrap());
    }

    #[test]
    fn a_hook_records_when_the_switch_says_neither() {
        assert!(!Env::default().with("MNEMOSYNE_DISABLE_EVENTS", "maybe").events_disabled_for_hook());
        assert!(Env::default().with("MNEMOSYNE_DISABLE_EVENTS", "yes").events_disabled_for_hook());
    }
}
