//! What `init` is about: which project or user, which data directory, which files.

use std::path::{Path, PathBuf};

use crate::agent::claude::registration;
use crate::cli::Context;
use crate::config::DataDir;
use crate::error::Error;

/// What is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Hooks,
    /// Hooks, and which servers of the project are let in.
    ProjectsHooks,
    Servers,
}

/// A file to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) path: PathBuf,
    /// Where it must lie when links are resolved; the user's own links may lead anywhere.
    pub(super) within: Option<PathBuf>,
    pub(super) holds: Holds,
}

/// What the command is about.
pub(super) struct Place {
    /// The project's directory; none for the user.
    project: Option<PathBuf>,
    pub(super) data_dir: DataDir,
    /// The data directory as the command line named it: hooks do not find it by the usual rule.
    pub(super) named: Option<PathBuf>,
    /// Whether the data directory has to be registered to be found.
    pub(super) registers: bool,
    /// The settings first.
    pub(super) targets: Vec<Target>,
}

impl Place {
    pub(super) fn find(user: bool, context: &Context) -> Result<Place, Error> {
        let project = if user { None } else { Some(project_around(&context.cwd, context.env.home())?) };
        let named = context.data_dir_flag().is_some() || context.env.path("MNEMOSYNE_DATA_DIR").is_some();
        let data_dir = match &project {
            _ if named => context.locate_data_dir()?,
            Some(project) => DataDir::at(project.join(".mnemosyne")),
            None => context.env.user_data().map(DataDir::at).ok_or(Error::NoHome)?,
        };
        let targets = match &project {
            Some(project) => of_project(project),
            None => vec![Target { path: users_settings(context)?, within: None, holds: Holds::Hooks }],
        };
        Ok(Place {
            named: context.data_dir_flag().map(|_| data_dir.path().to_owned()),
            registers: project.is_some() && !named,
            project,
            data_dir,
            targets,
        })
    }

    pub(super) fn is_user(&self) -> bool {
        self.project.is_none()
    }

    /// The settings files that count for a session here.
    pub(super) fn settings_files(&self, context: &Context) -> Vec<PathBuf> {
        let project = self.project.clone().or_else(|| project_around(&context.cwd, context.env.home()).ok());
        registration::settings_files(
            project.as_deref(),
            context.env.path("CLAUDE_CONFIG_DIR"),
            context.env.home(),
        )
    }
}

fn of_project(project: &Path) -> Vec<Target> {
    let target =
        |name: &str, holds| Target { path: project.join(name), within: Some(project.to_owned()), holds };
    vec![
        target(".claude/settings.local.json", Holds::ProjectsHooks),
        target(registration::SERVERS_FILE, Holds::Servers),
    ]
}

fn users_settings(context: &Context) -> Result<PathBuf, Error> {
    let own = context.env.path("CLAUDE_CONFIG_DIR").map(Path::to_owned);
    let own = own.or_else(|| Some(context.env.home()?.join(".claude"))).ok_or(Error::NoHome)?;
    Ok(own.join("settings.json"))
}

/// The top of the repository around a directory, or the directory itself.
fn project_around(directory: &Path, home: Option<&Path>) -> Result<PathBuf, Error> {
    let directory = std::fs::canonicalize(directory).map_err(Error::io("resolve", directory))?;
    let top = directory.ancestors().find(|ancestor| ancestor.join(".git").exists());
    let project = top.unwrap_or(&directory).to_owned();
    let home = home.and_then(|home| std::fs::canonicalize(home).ok());
    if home == Some(project.clone()) {
        return Err(Error::usage(
            "the home directory is no project: say --user for all projects, or run this inside one",
        ));
    }
    Ok(project)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_begins_where_its_repository_does_and_a_home_is_none() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        let deep = home.join("app/src/deep");
        std::fs::create_dir_all(&deep).unwrap();
        assert_eq!(project_around(&deep, Some(&home)).unwrap(), deep);
        std::fs::create_dir(home.join("app/.git")).unwrap();
        assert_eq!(project_around(&deep, Some(&home)).unwrap(), home.join("app"));
        assert_eq!(project_around(&home, Some(&home)).unwrap_err().exit_code(), 2);
    }
}
