//! Keys that the user has named: `keys.toml` beside the user's own `config.toml`, and never in a data directory, which is copied,
//! backed up and handed on.
//!
//! ```toml
//! [keys]
//! anthropic = "the key, as it is"
//! ```
//!
//! The file is the user's alone (0600) and replaced in one step. Every process of ours reads it when it starts and takes these very
//! values out of whatever it records or says ([`crate::event::redact::know`]): a key of no known shape, under no telling name, is
//! found as well.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::amend::UserFile;
use super::{Env, guard};
use crate::error::Error;

/// The shortest key: anything shorter would be taken out of words that have nothing to do with it.
pub const VALUE_BYTES_MIN: usize = 8;
/// The longest key.
pub const VALUE_BYTES_MAX: usize = 1024;
/// The longest name.
pub const NAME_BYTES_MAX: usize = 64;
/// The most keys: each is looked for in every text.
pub const KEYS_MAX: usize = 64;
/// Of a key this long or longer, the last characters may be shown.
const SHOWN_FROM_BYTES: usize = 16;
/// How many are shown.
const SHOWN_CHARS: usize = 4;

/// The file's name.
const FILE: &str = "keys.toml";
/// The file with as many keys as there may be, each as long as it may be, with its name and quotes.
const FILE_BYTES_MAX: u64 = ((VALUE_BYTES_MAX * 2 + NAME_BYTES_MAX + 16) * KEYS_MAX) as u64;

/// A key's value. Neither `Debug` nor `Display` shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(String);

impl Key {
    /// What was typed.
    ///
    /// # Errors
    /// [`Error::Usage`] when it is too short or too long, or not of printable ASCII without blanks.
    pub fn new(value: String) -> Result<Key, Error> {
        if !(VALUE_BYTES_MIN..=VALUE_BYTES_MAX).contains(&value.len()) {
            return Err(Error::usage(format!("a key has {VALUE_BYTES_MIN} to {VALUE_BYTES_MAX} bytes")));
        }
        if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::usage("a key is of printable ASCII without blanks"));
        }
        Ok(Key(value))
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// Its last four characters; none of a short one, of which they would be too much.
    pub fn end(&self) -> Option<&str> {
        (self.0.len() >= SHOWN_FROM_BYTES).then(|| &self.0[self.0.len() - SHOWN_CHARS..])
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.0.len())
    }
}

/// The keys by name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    #[serde(default)]
    keys: BTreeMap<String, Key>,
}

/// The file as it was read.
#[derive(Debug)]
pub struct KnownKeys {
    file: UserFile,
    content: Content,
}

impl KnownKeys {
    /// Where the file is, or would be.
    pub fn path(env: &Env) -> Option<PathBuf> {
        Some(env.user_config_toml()?.with_file_name(FILE))
    }

    /// Reads the file to change it; one that is not there is empty.
    ///
    /// # Errors
    /// [`Error::NoHome`]; [`Error::UnsafePath`] when others may read it; [`Error::Config`] when it is not understood.
    pub fn read(env: &Env) -> Result<KnownKeys, Error> {
        let path = KnownKeys::path(env).ok_or(Error::NoHome)?;
        let file = UserFile::read(&path, None)?;
        let content = match file.bytes() {
            Some(_) => parse(&guard::read_secret(file.path(), FILE_BYTES_MAX)?, &path)?,
            None => Content::default(),
        };
        Ok(KnownKeys { file, content })
    }

    /// The values alone; empty where there is no home or no file.
    ///
    /// # Errors
    /// As [`KnownKeys::read`].
    pub fn values(env: &Env) -> Result<Vec<String>, Error> {
        let Some(path) = KnownKeys::path(env) else { return Ok(Vec::new()) };
        let bytes = match guard::read_secret(&path, FILE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Vec::new());
            }
            // Kept behind a link (dotfiles): what it leads to is checked.
            Err(Error::UnsafePath { .. }) if path.is_symlink() => {
                return KnownKeys::read(env).map(|known| known.content.into_values());
            }
            Err(error) => return Err(error),
        };
        parse(&bytes, &path).map(Content::into_values)
    }

    /// By name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Key)> {
        self.content.keys.iter().map(|(name, key)| (name.as_str(), key))
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<&Key> {
        self.content.keys.get(name)
    }

    /// Sets one and writes the file; whether there was one of this name.
    ///
    /// # Errors
    /// [`Error::Usage`] for a name that is none, or too many keys; as [`UserFile::replace`].
    pub fn set(&mut self, name: &str, key: Key) -> Result<bool, Error> {
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_of_name) {
            return Err(Error::usage(format!(
                "a key's name has 1 to {NAME_BYTES_MAX} letters, digits, dots, dashes or underscores"
            )));
        }
        if !self.content.keys.contains_key(name) && self.content.keys.len() >= KEYS_MAX {
            return Err(Error::usage(format!("there are {KEYS_MAX} keys already: delete one first")));
        }
        let there = self.content.keys.insert(name.to_owned(), key).is_some();
        self.write()?;
        Ok(there)
    }

    /// Takes one out and writes the file; whether it was there.
    ///
    /// # Errors
    /// As [`UserFile::replace`].
    pub fn delete(&mut self, name: &str) -> Result<bool, Error> {
        let there = self.content.keys.remove(name).is_some();
        if there {
            self.write()?;
        }
        Ok(there)
    }

    fn write(&self) -> Result<(), Error> {
        let text = toml::to_string(&self.content)
            .map_err(|error| Error::failed(format!("the keys cannot be written: {error}")))?;
        self.file.replace(text.as_bytes())
    }
}

impl Content {
    fn into_values(self) -> Vec<String> {
        self.keys.into_values().map(|key| key.0).collect()
    }
}

/// What is wrong with the file is told by line, never with its text.
fn parse(bytes: &[u8], path: &std::path::Path) -> Result<Content, Error> {
    let wrong = |line: Option<usize>| Error::Config {
        path: path.to_owned(),
        message: match line {
            Some(line) => {
                format!("line {line} is not understood: only [keys] with a text for each name stands here")
            }
            None => "it is not UTF-8 text".to_owned(),
        },
    };
    let text = std::str::from_utf8(bytes).map_err(|_| wrong(None))?;
    let content: Content = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        wrong(Some(text.as_bytes()[..at].split(|byte| *byte == b'\n').count()))
    })?;
    for key in content.keys.values() {
        // Written by hand: a blank would be taken out of every text.
        Key::new(key.0.clone())
            .map_err(|error| Error::Config { path: path.to_owned(), message: error.to_string() })?;
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_set_replaced_read_and_taken_out_in_a_private_file() {
        let home = tempfile::tempdir().unwrap();
        let env = Env::with_home(home.path());
        assert_eq!(KnownKeys::values(&env).unwrap(), Vec::<String>::new());
        let key = |text: &str| Key::new(text.to_owned()).unwrap();
        assert!(!KnownKeys::read(&env).unwrap().set("a.b-1", key("first-value")).unwrap());
        assert!(KnownKeys::read(&env).unwrap().set("a.b-1", key("second-\"value\\")).unwrap());
        assert_eq!(KnownKeys::values(&env).unwrap(), ["second-\"value\\"]);
        let path = KnownKeys::path(&env).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let mut known = KnownKeys::read(&env).unwrap();
        assert!(!known.delete("other").unwrap());
        assert!(known.delete("a.b-1").unwrap());
        assert_eq!(KnownKeys::values(&env).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_file_that_others_may_read_or_that_is_none_is_refused_without_its_text() {
        let home = tempfile::tempdir().unwrap();
        let env = Env::with_home(home.path());
        KnownKeys::read(&env).unwrap().set("a", Key::new("hidden-value".into()).unwrap()).unwrap();
        let path = KnownKeys::path(&env).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(KnownKeys::values(&env), Err(Error::UnsafePath { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        for text in [
            "[keys]\na = 5\n",
            "[keys]\na = \"hidden",
            "[other]\nb = \"hidden-value\"\n",
            "[keys]\na = \"x\"\n",
        ] {
            std::fs::write(&path, text).unwrap();
            let error = KnownKeys::values(&env).unwrap_err().to_string();
            assert!(!error.contains("hidden"), "{error}");
            assert!(KnownKeys::read(&env).is_err());
        }
    }

    #[test]
    fn what_is_no_key_or_no_name_is_refused() {
        for wrong in ["short", "", "with a blank", "line\nbreak", "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}"] {
            assert!(Key::new(wrong.to_owned()).is_err(), "{wrong:?}");
        }
        let home = tempfile::tempdir().unwrap();
        let env = Env::with_home(home.path());
        for wrong in ["", "a b", "a/b", "\u{e9}", &"n".repeat(NAME_BYTES_MAX + 1)] {
            let key = Key::new("a-good-value".to_owned()).unwrap();
            assert!(KnownKeys::read(&env).unwrap().set(wrong, key).is_err(), "{wrong:?}");
        }
        assert!(!KnownKeys::path(&env).unwrap().exists());
        let key = Key::new("0123456789abcdef".to_owned()).unwrap();
        assert_eq!((key.end(), format!("{key:?}").contains("cdef")), (Some("cdef"), false));
        assert_eq!(Key::new("0123456789abcde".to_owned()).unwrap().end(), None);
    }

    #[test]
    fn there_is_a_bound_on_their_number() {
        let home = tempfile::tempdir().unwrap();
        let env = Env::with_home(home.path());
        for n in 0..KEYS_MAX {
            let key = Key::new("\"".repeat(VALUE_BYTES_MAX)).unwrap();
            KnownKeys::read(&env).unwrap().set(&format!("{n:0>64}"), key).unwrap();
        }
        assert_eq!(KnownKeys::values(&env).unwrap().len(), KEYS_MAX, "the largest file can be read");
        let key = Key::new("one-too-many".to_owned()).unwrap();
        assert!(KnownKeys::read(&env).unwrap().set("more", key.clone()).is_err());
        assert!(KnownKeys::read(&env).unwrap().set(&format!("{:0>64}", 0), key).unwrap());
    }
}
