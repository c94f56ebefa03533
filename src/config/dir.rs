//! Where the data directory is, and what lies in it.
//!
//! One rule for every command: `--data-dir`, `MNEMOSYNE_DATA_DIR`, a registered `.mnemosyne/` upwards from the working
//! directory, else the user's data directory. A hook starts the upward walk at `CLAUDE_PROJECT_DIR` instead, because its
//! working directory changes while the agent works. "Registered" means that the user's own configuration lists it: a
//! cloned repository can bring a `.mnemosyne/` along, and what it brings must not receive anybody's prompts.
//!
//! ```text
//! lock server.json config.toml .gitignore
//! server.spare  room for server.json on a full disk
//! start.json   the last start of a server that nobody asked for
//! journal/  {<20 digits>.seg, tail, quarantine/}
//! inbox/    one file an event, drained by whoever holds the lock; inbox/failed counts what could not be put there, and
//!           inbox/untold.spare is room for what an opening finds on a full disk
//! quarantine/  inbox files that could not be read, kept
//! index/ snapshots/   derived: deleting them loses nothing
//! log/      {server.log, hook-times}: what the server says, and what each of the latest hooks cost
//! ```

use std::path::{Path, PathBuf};

use crate::config::env::Env;
use crate::config::guard;
use crate::config::settings::Settings;
use crate::error::Error;

/// The directories inside a data directory.
const SUBDIRECTORIES: [&str; 6] = ["journal", "inbox", "quarantine", "index", "snapshots", "log"];
/// The files that may stand beside them; with the directories, how an existing directory is recognised as ours.
const FILES: [&str; 7] =
    ["lock", "server.json", "server.spare", "start.json", "config.toml", ".gitignore", "base"];

/// `inbox/failed` gets its block now, so that a failure can be counted later on a full disk.
const FAILURE_BLOCK_BYTES: usize = 4096;

/// A data directory: a path that was decided on; nothing was opened yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir {
    path: PathBuf,
}

impl DataDir {
    /// The directory at `path`, whatever the rules say.
    pub fn at(path: impl Into<PathBuf>) -> DataDir {
        DataDir { path: path.into() }
    }

    /// The directory of a command that runs in `cwd`.
    ///
    /// # Errors
    /// [`Error::NoHome`], or [`Error::Config`] when the user's configuration cannot be read.
    pub fn locate(flag: Option<&Path>, env: &Env, cwd: &Path) -> Result<DataDir, Error> {
        DataDir::locate_from(flag, env, Some(cwd))
    }

    /// The directory of a hook: as [`DataDir::locate`], but from `CLAUDE_PROJECT_DIR` upwards.
    ///
    /// # Errors
    /// As [`DataDir::locate`].
    pub fn locate_for_hook(flag: Option<&Path>, env: &Env) -> Result<DataDir, Error> {
        DataDir::locate_from(flag, env, env.path("CLAUDE_PROJECT_DIR"))
    }

    fn locate_from(flag: Option<&Path>, env: &Env, start: Option<&Path>) -> Result<DataDir, Error> {
        if let Some(named) = flag.or_else(|| env.path("MNEMOSYNE_DATA_DIR")) {
            let path = std::path::absolute(named).map_err(Error::io("resolve", named))?;
            return Ok(DataDir { path });
        }
        if let Some(start) = start {
            let registered = Settings::load_user(env)?.registered;
            if let Some(path) = nearest_registered(start, &registered) {
                return Ok(DataDir { path });
            }
        }
        env.user_data().map(DataDir::at).ok_or(Error::NoHome)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// The lock file: who holds the journal.
    pub fn lock(&self) -> PathBuf {
        self.path.join("lock")
    }
    /// The runtime file of a running server.
    pub fn server_json(&self) -> PathBuf {
        self.path.join("server.json")
    }
    /// Room for the runtime file, taken while there was some.
    pub fn server_spare(&self) -> PathBuf {
        self.path.join("server.spare")
    }
    /// What came of the last start of a server that nobody asked for; absent after an orderly stop.
    pub fn start_json(&self) -> PathBuf {
        self.path.join("start.json")
    }
    /// The configuration of this directory.
    pub fn config_toml(&self) -> PathBuf {
        self.path.join("config.toml")
    }
    /// Segments of the journal.
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }
    /// Events that wait for the holder of the lock.
    pub fn inbox(&self) -> PathBuf {
        self.path.join("inbox")
    }
    /// Inbox files that could not be read, kept.
    pub fn quarantine(&self) -> PathBuf {
        self.path.join("quarantine")
    }
    /// Saved projection states; derived.
    pub fn snapshots(&self) -> PathBuf {
        self.path.join("snapshots")
    }
    /// Projection states that stand for dropped events; not derived.
    pub fn base(&self) -> PathBuf {
        self.path.join("base")
    }
    /// Fingerprints of event ids; derived.
    pub fn index(&self) -> PathBuf {
        self.path.join("index")
    }
    /// What the server says about itself.
    pub fn log_file(&self) -> PathBuf {
        self.path.join("log").join("server.log")
    }

    /// Makes the directory and what belongs into it, or makes sure that it is private. Costs two system calls when it is there already.
    ///
    /// # Errors
    /// [`Error::UnsafePath`] when it holds files that are not ours, is a planted link, or belongs to another user; [`Error::Io`].
    pub fn create(&self) -> Result<(), Error> {
        // A link that the user set up on purpose (to a larger disk) is followed; what it leads to is checked.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|meta| meta.is_symlink()) {
            let target = std::fs::canonicalize(&self.path).map_err(Error::io("resolve", &self.path))?;
            return DataDir::at(target).create();
        }
        if self.is_complete() {
            return guard::check_dir(&self.path);
        }
        if let Some(parent) = self.path.parent() {
            guard::make_parents(parent)?;
        }
        if self.path.is_dir() {
            self.refuse_foreign()?;
        }
        guard::make_dir(&self.path)?;
        for name in SUBDIRECTORIES {
            guard::make_dir(&self.path.join(name))?;
        }
        guard::preallocate(&self.inbox().join("failed"), FAILURE_BLOCK_BYTES)?;
        // Last, because its presence says that everything else is there.
        guard::replace(&self.path.join(".gitignore"), b"*\n")
    }

    /// For commands that only read: the directory must be there; nothing is created.
    ///
    /// # Errors
    /// [`Error::NoDataDir`], or [`Error::UnsafePath`] when a directory inside is a link to somewhere else: what is
    /// behind it would be shown, or taken in and deleted, as if it were ours.
    pub fn open_existing(&self) -> Result<(), Error> {
        self.refuse_links()?;
        let journal = guard::is_own_dir(&self.journal())?;
        let inbox = guard::is_own_dir(&self.inbox())?;
        if journal || inbox { Ok(()) } else { Err(Error::NoDataDir { path: self.path.clone() }) }
    }

    /// No directory inside may be a link: what is written into it would be written elsewhere. For who is about to use more of
    /// them than a hook does.
    ///
    /// # Errors
    /// [`Error::UnsafePath`].
    pub fn refuse_links(&self) -> Result<(), Error> {
        SUBDIRECTORIES.iter().chain(&["base"]).try_for_each(|name| {
            guard::is_own_dir(&self.path.join(name))?;
            Ok(())
        })
    }

    fn is_complete(&self) -> bool {
        std::fs::symlink_metadata(self.path.join(".gitignore")).is_ok_and(|meta| meta.is_file())
            && std::fs::symlink_metadata(self.inbox()).is_ok_and(|meta| meta.is_dir())
            && std::fs::symlink_metadata(self.journal()).is_ok_and(|meta| meta.is_dir())
    }

    /// An existing directory is taken only if it is empty or holds nothing but what we put there: its modes are about to change.
    fn refuse_foreign(&self) -> Result<(), Error> {
        for found in std::fs::read_dir(&self.path).map_err(Error::io("list", &self.path))? {
            let name = found.map_err(Error::io("list", &self.path))?.file_name();
            let temporary = name.to_string_lossy().ends_with(".tmp");
            let known = SUBDIRECTORIES.iter().chain(&FILES).any(|known| name == **known);
            if !known && !temporary {
                return Err(Error::UnsafePath {
                    path: self.path.clone(),
                    reason: format!(
                        "it holds {}, so it is no data directory: name an empty or a new one",
                        name.to_string_lossy().escape_debug()
                    ),
                });
            }
        }
        Ok(())
    }
}

/// The nearest `.mnemosyne` at or above `start` that is registered and there.
fn nearest_registered(start: &Path, registered: &[PathBuf]) -> Option<PathBuf> {
    if registered.is_empty() {
        return None;
    }
    let start = std::fs::canonicalize(start).unwrap_or_else(|_| start.to_path_buf());
    let registered: Vec<PathBuf> =
        registered.iter().filter_map(|path| std::fs::canonicalize(path).ok()).collect();
    start
        .ancestors()
        .map(|ancestor| ancestor.join(".mnemosyne"))
        .find(|candidate| registered.contains(candidate))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn flag_beats_environment_beats_registration_beats_home() {
        let home = tempfile::tempdir().unwrap();
        let home_path = home.path().canonicalize().unwrap();
        let project = home_path.join("work/app");
        std::fs::create_dir_all(project.join("src/deep")).unwrap();
        std::fs::create_dir_all(project.join(".mnemosyne")).unwrap();
        let env = Env::with_home(&home_path);
        let user = home_path.join(".local/share/mnemosyne");

        // There, but not registered: a cloned repository can plant one.
        assert_eq!(DataDir::locate(None, &env, &project).unwrap().path(), user);

        std::fs::create_dir_all(home_path.join(".config/mnemosyne")).unwrap();
        let listed = format!("[data]\nregistered = [{:?}]\n", project.join(".mnemosyne"));
        std::fs::write(env.user_config_toml().unwrap(), listed).unwrap();
        let deep = project.join("src/deep");
        assert_eq!(DataDir::locate(None, &env, &deep).unwrap().path(), project.join(".mnemosyne"));
        assert_eq!(DataDir::locate(None, &env, &home_path).unwrap().path(), user);

        let hook = env.clone().with("CLAUDE_PROJECT_DIR", &project);
        assert_eq!(DataDir::locate_for_hook(None, &hook).unwrap().path(), project.join(".mnemosyne"));
        assert_eq!(DataDir::locate_for_hook(None, &env).unwrap().path(), user);

        let named = hook.with("MNEMOSYNE_DATA_DIR", "/somewhere");
        assert_eq!(DataDir::locate_for_hook(None, &named).unwrap().path(), Path::new("/somewhere"));
        let flag = Path::new("/flag");
        assert_eq!(DataDir::locate(Some(flag), &named, &deep).unwrap().path(), flag);
    }

    #[test]
    fn a_user_without_a_home_is_told_what_to_name() {
        let error = DataDir::locate(None, &Env::default(), Path::new("/")).unwrap_err();
        assert_eq!(error.code(), "no_home");
    }

    #[test]
    fn create_is_private_repeatable_and_keeps_git_out() {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::at(parent.path().join("a/b"));
        assert_eq!(dir.open_existing().unwrap_err().code(), "no_data_dir");
        assert!(!dir.path().exists(), "looking creates nothing");
        dir.create().unwrap();
        assert_eq!(mode(&parent.path().join("a")) & 0o022, 0, "who can write there could plant another one");
        dir.create().unwrap();
        dir.open_existing().unwrap();
        assert_eq!(std::fs::read(dir.path().join(".gitignore")).unwrap(), b"*\n");
        for path in [dir.path().to_path_buf(), dir.journal(), dir.inbox(), dir.index()] {
            assert_eq!(mode(&path), 0o700, "{}", path.display());
        }
        for path in [dir.path().join(".gitignore"), dir.inbox().join("failed")] {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
        std::fs::remove_dir_all(dir.index()).unwrap();
        std::fs::remove_file(dir.path().join(".gitignore")).unwrap();
        dir.create().unwrap();
        assert!(dir.index().is_dir());
    }

    #[test]
    fn a_directory_with_other_peoples_files_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        std::fs::write(parent.path().join("thesis.tex"), "").unwrap();
        let before = mode(parent.path());
        let error = DataDir::at(parent.path()).create().unwrap_err();
        assert_eq!(error.code(), "unsafe_path");
        assert!(error.to_string().contains("thesis.tex"), "{error}");
        assert_eq!(mode(parent.path()), before);
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
    }
}
