//! `data.registered` in the user's own `config.toml`: which `.mnemosyne/` directories an upward walk may find.
//!
//! The file is the user's: comments, order and everything else stay as they are.

use std::path::Path;

use toml_edit::{Array, DocumentMut, Item, Table, Value};

use crate::config::amend::UserFile;
use crate::config::fault::Fault;
use crate::config::{Env, Settings};
use crate::error::Error;

/// A change of the user's `config.toml` that is ready to be written.
#[derive(Debug, Clone)]
pub struct Registering {
    file: UserFile,
    after: String,
}

impl Registering {
    /// Where it is to be written.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Writes it.
    ///
    /// # Errors
    /// As [`UserFile::replace`].
    pub fn write(&self) -> Result<(), Error> {
        self.file.replace(self.after.as_bytes())
    }
}

/// What has to be written to register `directory`; `None` where it is registered.
///
/// # Errors
/// [`Error::Config`] when the configuration cannot be read or is not what it must be, [`Error::NoHome`], and as
/// [`UserFile::read`].
pub fn prepare(env: &Env, directory: &Path) -> Result<Option<Registering>, Error> {
    let path = env.user_config_toml().ok_or(Error::NoHome)?;
    let same = |registered: &Path| {
        registered == directory || {
            let real = |path: &Path| std::fs::canonicalize(path).ok();
            real(registered).is_some_and(|registered| real(directory) == Some(registered))
        }
    };
    if Settings::load_user(env)?.registered.iter().any(|registered| same(registered)) {
        return Ok(None);
    }
    let file = UserFile::read(&path, None)?;
    let config = |message: String| Error::Config { path: path.clone(), message };
    let name = directory
        .to_str()
        .ok_or_else(|| config(format!("{} is not UTF-8 and cannot be registered", directory.display())))?;
    let after = with(file.text()?, name).map_err(config)?;
    Ok(Some(Registering { file, after }))
}

fn with(text: &str, directory: &str) -> Result<String, String> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        Fault::in_text(text, error.span().map(|span| span.start), error.message()).to_string()
    })?;
    let data = document.entry("data").or_insert_with(|| Item::Table(Table::new()));
    let data = data.as_table_like_mut().ok_or("data: this must be a table")?;
    let registered = data.entry("registered").or_insert_with(|| Item::Value(Value::Array(Array::new())));
    let registered = registered.as_array_mut().ok_or("data.registered: this must be a list")?;
    registered.push(directory);
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_added_once_and_comments_stay() {
        let home = tempfile::tempdir().unwrap();
        let env = Env::with_home(home.path());
        let first = home.path().join("one/.mnemosyne");
        prepare(&env, &first).unwrap().expect("a change").write().unwrap();
        assert!(prepare(&env, &first).unwrap().is_none());
        let path = env.user_config_toml().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("# mine\n[server] # here\naddr = \"127.0.0.1:0\"\n\n{text}")).unwrap();
        let second = home.path().join("two/.mnemosyne");
        prepare(&env, &second).unwrap().expect("a change").write().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# mine\n[server] # here\naddr = \"127.0.0.1:0\"\n"), "{text}");
        assert_eq!(Settings::load_user(&env).unwrap().registered, [first, second]);
    }

    #[test]
    fn a_configuration_that_is_none_is_named_and_left() {
        let home = tempfile::tempdir().unwrap();
        let env = Env::with_home(home.path());
        let path = env.user_config_toml().unwrap();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        for broken in ["data = 4", "[data]\nregistered = \"x\"", "no ["] {
            std::fs::write(&path, broken).unwrap();
            assert_eq!(prepare(&env, home.path()).unwrap_err().code(), "config_invalid");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), broken);
        }
    }
}
