//! What a command works with: the environment, the clock, the data directory, its output, its run.

use super::interrupt::Interrupt;
use super::out::Out;
use super::run::Run;
use super::{Command, Reach};
use crate::agent::claude::registration;
use crate::answers::Record;
use crate::client::Server;
use crate::clock::Clock;
use crate::config::{DataDir, Env};
use crate::error::Error;
use crate::event::Timestamp;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SERVER: &str = "MNEMOSYNE_SERVER";
const TOKEN_FILE: &str = "MNEMOSYNE_TOKEN_FILE";

/// Everything that a command may touch beside its arguments.
pub struct Context {
    /// The environment as it was when the process started.
    pub env: Env,
    /// The working directory.
    pub cwd: PathBuf,
    /// The only source of "now".
    pub clock: Arc<dyn Clock>,
    /// The two streams.
    pub out: Out,
    /// Ctrl-C and SIGTERM.
    pub interrupt: Interrupt,
    pub(super) data_dir_flag: Option<PathBuf>,
    pub(super) server_flag: Option<String>,
    pub(super) token_file_flag: Option<PathBuf>,
    pub(super) run: Option<Run>,
}

impl Context {
    /// The present time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The server elsewhere that this command is to ask instead of the data directory, where one is named: by `--server`, or by the
    /// environment unless a flag names a data directory. Asks nothing yet.
    ///
    /// # Errors
    /// [`Error::Usage`] for flags that do not go together and as [`Server::elsewhere`].
    pub fn elsewhere(&mut self) -> Result<Option<Server>, Error> {
        let url = match (&self.server_flag, &self.data_dir_flag) {
            (Some(_), Some(_)) => {
                return Err(Error::usage("--server and --data-dir name two places: give one of them"));
            }
            (Some(url), None) => url.clone(),
            (None, None) if self.env.get(SERVER).is_some() => {
                let url = self.env.text(SERVER);
                url.ok_or_else(|| Error::usage(format!("{SERVER} is not UTF-8")))?.to_owned()
            }
            (None, _) if self.token_file_flag.is_some() => {
                return Err(Error::usage("--token-file is for a server elsewhere: name it with --server"));
            }
            (None, _) => return Ok(None),
        };
        let file = self.token_file_flag.as_deref().or_else(|| self.env.path(TOKEN_FILE));
        let file = file.ok_or_else(|| {
            Error::usage(format!(
                "a server elsewhere wants its token: name a file that holds it with --token-file or {TOKEN_FILE}"
            ))
        })?;
        let server = Server::elsewhere(&url, file)?;
        self.out.detail(&format!("asking the server at {}", server.addr()));
        Ok(Some(server))
    }

    /// Refuses a server elsewhere to a command that cannot ask one: it would do its work on something else than what was named.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub(super) fn check_reach(&self, command: &Command) -> Result<(), Error> {
        let (name, flagged) = (command.name, self.server_flag.is_some() || self.token_file_flag.is_some());
        let environment = self.data_dir_flag.is_none() && self.env.get(SERVER).is_some();
        match command.reach {
            Reach::Directory if flagged => Err(Error::usage(format!(
                "`{name}` works on a data directory of this machine, so it does not take --server; run it where the server runs"
            ))),
            Reach::Directory if environment => Err(Error::usage(format!(
                "`{name}` works on a data directory of this machine, and {SERVER} names a server: unset it, or name the directory with --data-dir"
            ))),
            Reach::Machine if flagged => {
                Err(Error::usage(format!("`{name}` is about this machine, so it does not take --server")))
            }
            Reach::Anywhere | Reach::Directory | Reach::Machine => Ok(()),
        }
    }

    /// Where the data directory is; whether there is one is another question.
    ///
    /// # Errors
    /// When the user has no home directory to derive it from, or the user's configuration cannot be read.
    pub fn locate_data_dir(&self) -> Result<DataDir, Error> {
        DataDir::locate(self.data_dir_flag.as_deref(), &self.env, &self.cwd)
    }

    /// The data directory as something to be asked.
    ///
    /// # Errors
    /// As [`Context::locate_data_dir`].
    pub fn record(&self) -> Result<Record, Error> {
        Ok(Record::new(self.locate_data_dir()?, self.env.clone(), self.clock.clone()))
    }

    /// The data directory of a command that only reads: it must be there.
    ///
    /// # Errors
    /// [`Error::NoDataDir`], which says what makes one.
    pub fn open_data_dir(&mut self) -> Result<DataDir, Error> {
        let dir = self.locate_data_dir()?;
        dir.open_existing()?;
        self.out.detail(&format!("the data directory is {}", dir.path().display()));
        Ok(dir)
    }

    /// The data directory of a command that may make one. The record of the run, held back while there was none, is
    /// written now.
    ///
    /// # Errors
    /// When it cannot be made, or holds files that are not ours.
    pub fn create_data_dir(&mut self) -> Result<DataDir, Error> {
        let dir = self.locate_data_dir()?;
        dir.create()?;
        self.out.detail(&format!("the data directory is {}", dir.path().display()));
        if let Some(run) = &self.run {
            run.directory_is_there(&dir);
        }
        Ok(dir)
    }

    /// Says that this run belongs to `dir`, which was made or found in another way than by the rule. What was held back while
    /// there was no data directory is written there; a run whose start is on record elsewhere stays there.
    pub fn data_dir_is(&mut self, dir: &DataDir) {
        if let Some(run) = &self.run {
            run.belongs_to(dir);
        }
    }

    /// The settings of Claude Code that count for a session here, each once.
    pub fn claude_settings(&self) -> Vec<PathBuf> {
        let project = self.project();
        let config_dir = self.env.path("CLAUDE_CONFIG_DIR");
        let mut files = registration::settings_files(Some(project), config_dir, self.env.home());
        // In the user's home both rules name the same file.
        let mut seen = BTreeSet::new();
        files.retain(|file| seen.insert(file.clone()));
        files
    }

    /// The project here, whose files may be anybody's; none in the user's home, where all are the user's own.
    pub fn foreign_project(&self) -> Option<&Path> {
        Some(self.project()).filter(|project| self.env.home() != Some(project))
    }

    /// The file that names the MCP servers of the project here.
    pub fn mcp_servers(&self) -> PathBuf {
        self.project().join(registration::SERVERS_FILE)
    }

    /// The directory of Claude Code's own, where the user's settings and plugins are.
    pub fn claude_directory(&self) -> Option<PathBuf> {
        let named = self.env.path("CLAUDE_CONFIG_DIR").map(Path::to_owned);
        named.or_else(|| Some(self.env.home()?.join(".claude")))
    }

    /// The file that Claude Code writes itself, with the MCP servers for all projects.
    pub fn claude_state(&self) -> Option<PathBuf> {
        let named = self.env.path("CLAUDE_CONFIG_DIR").or_else(|| self.env.home())?;
        Some(named.join(registration::USERS_FILE))
    }

    /// The top of the repository around the working directory, or the directory itself.
    pub fn project(&self) -> &Path {
        self.cwd.ancestors().find(|above| above.join(".git").exists()).unwrap_or(&self.cwd)
    }

    /// The data directory that `--data-dir` names, as it was typed.
    pub fn data_dir_flag(&self) -> Option<&Path> {
        self.data_dir_flag.as_deref()
    }

    /// The record of this run, where it is recorded: for events of a command's own.
    pub fn run(&self) -> Option<&Run> {
        self.run.as_ref()
    }
}
