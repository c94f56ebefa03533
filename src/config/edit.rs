//! One key of a `config.toml`, changed in place.
//!
//! The file belongs to its user: comments, order and everything else stay. Whatever would come of a change is read by
//! [`Settings`] first, with the other file beside it, and nothing is written that a command would then refuse.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use toml_edit::{DocumentMut, Item, Table, Value};

use crate::config::amend::UserFile;
use crate::config::keys::{Form, Named};
use crate::config::{DataDir, Env, Settings};
use crate::error::Error;

/// Which of the two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The user's own, for all data directories.
    User,
    /// The data directory's, which goes before the user's.
    Project,
}

impl Scope {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Scope::User => "user",
            Scope::Project => "project",
        }
    }

    /// Where its file is.
    ///
    /// # Errors
    /// [`Error::NoHome`].
    pub fn path(self, dir: &DataDir, env: &Env) -> Result<PathBuf, Error> {
        match self {
            Scope::User => env.user_config_toml().ok_or(Error::NoHome),
            Scope::Project => Ok(dir.config_toml()),
        }
    }
}

/// A `config.toml` as it was read.
pub struct ConfigFile {
    scope: Scope,
    file: UserFile,
    document: DocumentMut,
}

/// What a change was.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// What the file said before; none where it said nothing.
    pub old: Option<Json>,
    /// What it says now.
    pub new: Option<Json>,
}

impl ConfigFile {
    /// Reads it; one that is not there is empty.
    ///
    /// # Errors
    /// [`Error::Config`] when it is no TOML, and as [`UserFile::read`].
    pub fn read(scope: Scope, dir: &DataDir, env: &Env) -> Result<ConfigFile, Error> {
        let path = scope.path(dir, env)?;
        // The user's own may be a link to anywhere; what a data directory brings along may not lead out of it.
        let within = (scope == Scope::Project).then(|| dir.path());
        let file = UserFile::read(&path, within)?;
        let document = file.text()?.parse::<DocumentMut>().map_err(|error| Error::Config {
            path: path.clone(),
            message: error.to_string().trim_end().to_owned(),
        })?;
        Ok(ConfigFile { scope, file, document })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Whether it is there.
    pub fn exists(&self) -> bool {
        self.file.bytes().is_some()
    }

    /// What it says of a key.
    pub fn get(&self, named: &Named) -> Option<Json> {
        let (last, tables) = named.path.split_last()?;
        let mut at = self.document.as_item();
        for table in tables {
            at = at.as_table_like()?.get(table)?;
        }
        at.as_table_like()?.get(last).and_then(json_of)
    }

    /// The models that it has prices for.
    pub fn models(&self) -> Vec<String> {
        let prices = self.document.get("prices").and_then(Item::as_table_like);
        prices.into_iter().flat_map(|prices| prices.iter().map(|(model, _)| model.to_owned())).collect()
    }

    /// Sets a key to what was typed, and writes the file.
    ///
    /// # Errors
    /// [`Error::Usage`] for a value that the key cannot have; nothing is written then. As [`UserFile::replace`].
    pub fn set(&mut self, named: &Named, typed: &str, dir: &DataDir, env: &Env) -> Result<Changed, Error> {
        if self.scope == Scope::Project && named.key.is_some_and(|key| key.users_only) {
            return Err(Error::usage(format!(
                "{} stands in the user's own file only: say --user",
                named.name
            )));
        }
        let mut value = parse(named, typed)?;
        let old = self.get(named);
        let table = self.table_of(named)?;
        let last = named.path.last().map_or("", String::as_str);
        match table.get_mut(last) {
            Some(Item::Value(there)) => {
                // What stands around the old value, a comment behind it included, is the user's.
                *value.decor_mut() = there.decor().clone();
                *there = value;
            }
            _ => drop(table.insert(last, Item::Value(value))),
        }
        self.write(named, dir, env)?;
        Ok(Changed { old, new: self.get(named) })
    }

    /// Takes a key out, and writes the file; one that is not there is out already. What stays empty of its table stays.
    ///
    /// # Errors
    /// [`Error::Usage`] where the rest makes no sense without it; as [`UserFile::replace`].
    pub fn unset(&mut self, named: &Named, dir: &DataDir, env: &Env) -> Result<Changed, Error> {
        let Some(old) = self.get(named) else { return Ok(Changed { old: None, new: None }) };
        let table = self.table_of(named)?;
        table.remove(named.path.last().map_or("", String::as_str));
        self.write(named, dir, env)?;
        Ok(Changed { old: Some(old), new: None })
    }

    fn table_of(&mut self, named: &Named) -> Result<&mut dyn toml_edit::TableLike, Error> {
        let path = self.file.path().to_owned();
        let mut at: &mut dyn toml_edit::TableLike = self.document.as_table_mut();
        for name in &named.path[..named.path.len() - 1] {
            let item = at.entry(name).or_insert_with(|| Item::Table(Table::new()));
            at = item.as_table_like_mut().ok_or_else(|| Error::Config {
                path: path.clone(),
                message: format!("{name}: this must be a table"),
            })?;
        }
        Ok(at)
    }

    /// Writes it, if every command would read it.
    fn write(&self, named: &Named, dir: &DataDir, env: &Env) -> Result<(), Error> {
        let after = self.document.to_string();
        let refused = |message: String| Error::usage(format!("{} cannot be that: {message}", named.name));
        let mut settings = match self.scope {
            Scope::User => Settings::default(),
            Scope::Project => Settings::load_user(env)?,
        };
        settings.apply_text(&after, self.scope == Scope::User).map_err(&refused)?;
        if self.scope == Scope::Project {
            settings.check(self.path()).map_err(|error| refused(error.to_string()))?;
        } else if dir.config_toml().exists() {
            settings.apply_file(&dir.config_toml(), false)?;
            settings.check(self.path()).map_err(|error| refused(error.to_string()))?;
        }
        self.file.replace(after.as_bytes())
    }
}

fn parse(named: &Named, typed: &str) -> Result<Value, Error> {
    if named.form() == Form::Text {
        return Ok(Value::from(typed));
    }
    typed.parse::<Value>().map_err(|_| {
        Error::usage(format!(
            "{typed:?} is no value for {}: write it as TOML does, such as 60, true or [\"a\"]",
            named.name
        ))
    })
}

fn json_of(item: &Item) -> Option<Json> {
    match item {
        Item::None => None,
        Item::Value(Value::String(text)) => Some(text.value().clone().into()),
        Item::Value(Value::Integer(number)) => Some((*number.value()).into()),
        Item::Value(Value::Float(number)) => serde_json::Number::from_f64(*number.value()).map(Json::Number),
        Item::Value(Value::Boolean(truth)) => Some((*truth.value()).into()),
        Item::Value(Value::Array(list)) => {
            Some(list.iter().filter_map(|value| json_of(&Item::Value(value.clone()))).collect())
        }
        Item::Value(Value::Datetime(time)) => Some(time.value().to_string().into()),
        other => {
            let table = other.as_table_like()?;
            let fields = table.iter().filter_map(|(name, item)| Some((name.to_owned(), json_of(item)?)));
            Some(Json::Object(fields.collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        _home: tempfile::TempDir,
        env: Env,
        dir: DataDir,
    }

    fn world() -> World {
        let home = tempfile::tempdir().unwrap();
        let env = Env::with_home(home.path());
        let dir = DataDir::at(home.path().join("data"));
        dir.create().unwrap();
        World { _home: home, env, dir }
    }

    fn set(world: &World, scope: Scope, name: &str, typed: &str) -> Result<Changed, Error> {
        let mut file = ConfigFile::read(scope, &world.dir, &world.env)?;
        file.set(&Named::find(name)?, typed, &world.dir, &world.env)
    }

    #[test]
    fn a_value_is_changed_in_place_and_everything_around_it_stays() {
        let world = world();
        let path = world.dir.config_toml();
        std::fs::write(&path, "# top\n[server]\nlinger = 60 # seconds\n\n# end\n").unwrap();
        let changed = set(&world, Scope::Project, "server.linger", "5").unwrap();
        assert_eq!((changed.old, changed.new), (Some(60.into()), Some(5.into())));
        set(&world, Scope::Project, "retention.max_age", "30d").unwrap();
        set(&world, Scope::Project, "prices.claude-opus-4.1", "{ input = 15, output = 75.5 }").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# top\n[server]\nlinger = 5 # seconds\n"), "{text}");
        assert!(text.contains("# end\n") && text.contains("[retention]\nmax_age = \"30d\""), "{text}");
        let settings = Settings::load(&world.dir, &world.env).unwrap();
        assert_eq!(settings.prices.of("claude-opus-4.1").unwrap().output, 75_500_000);
        let mut file = ConfigFile::read(Scope::Project, &world.dir, &world.env).unwrap();
        let linger = Named::find("server.linger").unwrap();
        file.unset(&linger, &world.dir, &world.env).unwrap();
        assert_eq!(file.get(&linger), None);
        assert_eq!(file.unset(&linger, &world.dir, &world.env).unwrap(), Changed { old: None, new: None });
    }

    #[test]
    fn nothing_is_written_that_a_command_would_refuse() {
        let world = world();
        for (scope, name, typed) in [
            (Scope::Project, "server.addr", "localhost"),
            (Scope::Project, "server.linger", "soon"),
            (Scope::Project, "server.linger", "-1"),
            (Scope::Project, "journal.chain", "1"),
            (Scope::Project, "retention.max_bytes", "1000"),
            (Scope::Project, "data.registered", "[]"),
            (Scope::User, "emit.burst", "3"),
            (Scope::User, "prices.m", "4"),
        ] {
            let error = set(&world, scope, name, typed).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{name} {typed}: {error}");
            assert!(error.to_string().contains(name.split('.').next().unwrap()), "{error}");
        }
        assert!(!world.dir.config_toml().exists() && !world.env.user_config_toml().unwrap().exists());
        // Control: with what it needs beside it, the same is taken.
        set(&world, Scope::User, "retention.min_bytes", "0").unwrap();
        set(&world, Scope::Project, "retention.max_bytes", "1000").unwrap();
        assert_eq!(set(&world, Scope::User, "retention.min_bytes", "2000").unwrap_err().exit_code(), 2);
    }
}
