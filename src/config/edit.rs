//! One key of a `config.toml`, changed in place.
//!
//! The file belongs to its user: comments, order and everything else stay. Whatever would come of a change is read by
//! [`Settings`] first, with the other file beside it, and nothing is written that a command would then refuse.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use toml_edit::{DocumentMut, Item, Table, Value};

use crate::config::amend::UserFile;
use crate::config::fault::Fault;
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
    /// Why commands refuse the file all the same, in one line: something else in it, that was there before.
    pub fault: Option<String>,
}

impl ConfigFile {
    /// Reads it; one that is not there is empty.
    ///
    /// # Errors
    /// [`Error::Config`] when it is no TOML, and as [`UserFile::read`].
    pub fn read(scope: Scope, dir: &DataDir, env: &Env) -> Result<ConfigFile, Error> {
        let path = scope.path(dir, env)?;
        // The user's own may be a link to anywhere; what a data directory brings along may not lead out of it.
        let within = (scope == Scope::Project && dir.path().exists()).then(|| dir.path());
        let file = UserFile::read(&path, within)?;
        let text = file.text()?;
        let document = text.parse::<DocumentMut>().map_err(|error| {
            let fault = Fault::in_text(text, error.span().map(|span| span.start), error.message());
            Error::Config { path: path.clone(), message: format!("{fault}; correct that in the file first") }
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
        self.item(named).and_then(json_of)
    }

    /// Whether anything stands at a key, known or not.
    pub fn holds(&self, named: &Named) -> bool {
        self.item(named).is_some()
    }

    fn item(&self, named: &Named) -> Option<&Item> {
        named.path.iter().try_fold(self.document.as_item(), |at, name| at.as_table_like()?.get(name))
    }

    /// The models that it has prices for.
    pub fn models(&self) -> Vec<String> {
        let prices = self.document.get("prices").and_then(Item::as_table_like);
        prices.into_iter().flat_map(|prices| prices.iter().map(|(model, _)| model.to_owned())).collect()
    }

    /// Sets a key to what was typed; [`ConfigFile::save`] writes it.
    ///
    /// # Errors
    /// [`Error::Usage`] for a value that the key cannot have, [`Error::Config`] for a file that no command would read with it.
    pub fn set(&mut self, named: &Named, typed: &str, dir: &DataDir, env: &Env) -> Result<Changed, Error> {
        if self.scope == Scope::Project && named.key.is_some_and(|key| key.users_only) {
            return Err(Error::usage(format!(
                "{} stands in the user's own file only: say --user",
                named.name
            )));
        }
        let mut value = parse(named, typed)?;
        let (old, before) = (self.get(named), self.fault(dir, env)?);
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
        match self.fault(dir, env)? {
            None => Ok(Changed { old, new: self.get(named), fault: None }),
            Some(fault) if before.as_ref().is_some_and(|before| before.message() == fault.message()) => {
                Err(Error::Config {
                    path: self.path().to_owned(),
                    message: format!(
                        "{}; nothing was changed: correct that in the file first, or take it out with `mnemosyne config unset KEY`",
                        before.unwrap_or(fault)
                    ),
                })
            }
            Some(fault) => Err(refusal(named, typed, &fault)),
        }
    }

    /// Takes a key out; one that is not there is out already. What stays empty of its table stays. [`ConfigFile::save`] writes it.
    /// A file that no command would read is changed all the same: this may be the way to mend it.
    ///
    /// # Errors
    /// [`Error::Usage`] where the rest makes no sense without it.
    pub fn unset(&mut self, named: &Named, dir: &DataDir, env: &Env) -> Result<Changed, Error> {
        let Some(item) = self.item(named) else {
            return Ok(Changed { old: None, new: None, fault: None });
        };
        let old = Some(json_of(item).unwrap_or(Json::Null));
        let before = self.fault(dir, env)?;
        let table = self.table_of(named)?;
        table.remove(named.path.last().map_or("", String::as_str));
        match (before, self.fault(dir, env)?) {
            (None, Some(fault)) => {
                Err(Error::usage(format!("{} cannot be taken out: {}", named.name, fault.message())))
            }
            (_, fault) => Ok(Changed { old, new: None, fault: fault.map(|fault| fault.to_string()) }),
        }
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

    /// Writes it.
    ///
    /// # Errors
    /// As [`UserFile::replace`].
    pub fn save(&self) -> Result<(), Error> {
        self.file.replace(self.document.to_string().as_bytes())
    }

    /// Why commands would refuse it as it stands now, with the other file beside it.
    fn fault(&self, dir: &DataDir, env: &Env) -> Result<Option<Fault>, Error> {
        let mut settings = match self.scope {
            Scope::User => Settings::default(),
            Scope::Project => Settings::load_user(env)?,
        };
        if let Err(fault) = settings.apply_text(&self.document.to_string(), self.scope == Scope::User) {
            return Ok(Some(fault));
        }
        if self.scope == Scope::User && dir.config_toml().exists() {
            settings.apply_file(&dir.config_toml(), false)?;
        }
        Ok(settings.check().err())
    }
}

/// Why a key cannot have what was typed. Where that would stand in the file is no matter: it never stood there.
fn refusal(named: &Named, typed: &str, fault: &Fault) -> Error {
    let (name, message) = (&named.name, fault.message());
    Error::usage(match named.form() {
        Form::Toml(form) if fault.is_of_form() => format!("{name} cannot be {typed:?}: it is {form}"),
        _ if message.starts_with(&format!("{name}: ")) => message.to_owned(),
        _ => format!("{name} cannot be {typed:?}: {message}"),
    })
}

fn parse(named: &Named, typed: &str) -> Result<Value, Error> {
    match named.form() {
        Form::Text => Ok(Value::from(typed)),
        Form::Toml(form) => typed
            .parse::<Value>()
            .map_err(|_| Error::usage(format!("{} cannot be {typed:?}: it is {form}", named.name))),
    }
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
        let changed = file.set(&Named::find(name)?, typed, &world.dir, &world.env)?;
        file.save()?;
        Ok(changed)
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
        let again = file.unset(&linger, &world.dir, &world.env).unwrap();
        assert_eq!(again, Changed { old: None, new: None, fault: None });
    }

    #[test]
    fn nothing_is_written_that_a_command_would_refuse() {
        let world = world();
        for (scope, name, typed) in [
            (Scope::Project, "server.addr", "localhost"),
            (Scope::Project, "server.addr", "0.0.0.0:0"),
            (Scope::User, "server.addr", "[::]:3000"),
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
