//! The keys of `config.toml` as people name them on a command line: `retention.max_age`.
//!
//! The table is what `mnemosyne config` knows. What a value must be is decided by [`Settings`], which every command
//! reads, so what `config set` takes is what the others take; a test holds the two together.

use serde_json::{Value as Json, json};

use crate::config::Settings;
use crate::config::settings::Durability;
use crate::error::Error;

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Text, quoted in the file; on a command line without quotes.
    Text,
    /// Anything else, as TOML writes it: what that is, with an example.
    Toml(&'static str),
}

const BYTES: Form = Form::Toml("a whole number of bytes without a unit, such as 268435456");
const SECONDS: Form = Form::Toml("a whole number of seconds without a unit, such as 60");
const EVENTS: Form = Form::Toml("a whole number of events, such as 20000");
const TRUTH: Form = Form::Toml("true or false");
const DIRECTORIES: Form = Form::Toml("a list of paths, such as [\"/code/app/.mnemosyne\"]");
const PRICE: Form =
    Form::Toml("US dollars for a million tokens, such as { input = 3, output = 15, cache_read = 0.3 }");

/// A key.
#[derive(Clone, Copy)]
pub struct Key {
    /// As it is typed.
    pub name: &'static str,
    /// What it decides.
    pub about: &'static str,
    /// How its value is written.
    pub form: Form,
    /// Whether it stands in the user's own file only.
    pub users_only: bool,
    /// What is in force; null where there is nothing.
    value: fn(&Settings) -> Json,
}

/// `prices.MODEL`: as many keys as somebody has models.
const PRICES: &str = "prices.";
/// How the table of prices is named where keys are listed.
const PRICES_KEY: &str = "prices.MODEL";

const fn key(name: &'static str, form: Form, about: &'static str, value: fn(&Settings) -> Json) -> Key {
    Key { name, about, form, users_only: false, value }
}

/// Every key, in the order of the list.
pub const KEYS: &[Key] = &[
    key("server.addr", Form::Text, "where `api-server` listens", |s| json!(s.server_addr.to_string())),
    key(
        "server.linger",
        SECONDS,
        "seconds that a server started unasked stays without session and client; 0: for ever",
        |s| json!(s.linger.map_or(0, |linger| linger.as_secs())),
    ),
    key("emit.durability", Form::Text, "what commands wait for: os or disk", |s| {
        json!(match s.emit_durability {
            Durability::Os => "os",
            Durability::Disk => "disk",
        })
    }),
    key(
        "emit.rate_per_second",
        EVENTS,
        "events a second that a server takes from one source; 0: no limit",
        |s| json!(s.emit_rate_per_second),
    ),
    key("emit.burst", EVENTS, "events that it takes from one source at once, after a rest", |s| {
        json!(s.emit_burst)
    }),
    key("journal.segment_bytes", BYTES, "size at which a segment is sealed", |s| json!(s.segment_bytes)),
    key("journal.chain", TRUTH, "whether batches carry the hash chain", |s| json!(s.chain)),
    key("retention.max_age", Form::Text, "segments older than this may go, such as 30d", |s| {
        json!(s.retention.max_age.map(|age| format!("{}s", age.as_secs())))
    }),
    key("retention.max_bytes", BYTES, "the oldest segments go while the journal is larger", |s| {
        json!(s.retention.max_bytes)
    }),
    key("retention.min_bytes", BYTES, "the newest so many bytes stay, whatever the other two say", |s| {
        json!(s.retention.min_bytes)
    }),
    key("disk.max_bytes", BYTES, "nothing is appended that would make it all larger", |s| {
        json!(s.disk.max_bytes)
    }),
    key("disk.reserve", BYTES, "bytes of the disk that are left to others", |s| json!(s.disk.reserve)),
    Key {
        users_only: true,
        ..key("data.registered", DIRECTORIES, "the .mnemosyne/ directories that are trusted", |s| {
            json!(s.registered)
        })
    },
];

/// A key that somebody named.
#[derive(Clone)]
pub struct Named {
    /// The whole name.
    pub name: String,
    /// Its parts, as tables and keys of the file: the name of a model may hold dots.
    pub path: Vec<String>,
    /// Its row; none for a price.
    pub key: Option<&'static Key>,
}

impl Named {
    /// The key of this name.
    ///
    /// # Errors
    /// [`Error::NotFound`], which names the nearest.
    pub fn find(name: &str) -> Result<Named, Error> {
        if let Some(model) = name.strip_prefix(PRICES).filter(|model| !model.is_empty()) {
            let path = vec!["prices".to_owned(), model.trim_matches('"').to_owned()];
            return Ok(Named { name: name.to_owned(), path, key: None });
        }
        if let Some(key) = KEYS.iter().find(|key| key.name == name) {
            let path = name.split('.').map(str::to_owned).collect();
            return Ok(Named { name: name.to_owned(), path, key: Some(key) });
        }
        let names = KEYS.iter().map(|key| key.name).chain([PRICES_KEY]);
        let nearest = names
            .map(|known| (strsim::jaro_winkler(name, known), known))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(likeness, _)| *likeness > LIKE);
        let meant = nearest.map_or_else(
            || "`mnemosyne config list` shows all of them".to_owned(),
            |(_, known)| format!("did you mean `{known}`?"),
        );
        let shown: String = name.chars().take(NAME_CHARS_SHOWN).collect();
        Err(Error::NotFound { what: format!("the setting {shown:?}"), hint: format!(": {meant}") })
    }

    /// A key that stands in a file and is not known: to be taken out, never to be set. Its parts are split at the dots.
    pub fn unknown(name: &str) -> Named {
        Named { name: name.to_owned(), path: name.split('.').map(str::to_owned).collect(), key: None }
    }

    /// How its value is written.
    pub fn form(&self) -> Form {
        self.key.map_or(PRICE, |key| key.form)
    }

    /// What is in force; null where there is nothing, and for prices, which only their files know.
    pub fn effective(&self, settings: &Settings) -> Json {
        self.key.map_or(Json::Null, |key| (key.value)(settings))
    }
}

/// From here on a name is near enough to be offered.
const LIKE: f64 = 0.8;
/// Longest part of an unknown name that is repeated to whoever typed it.
const NAME_CHARS_SHOWN: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    /// A word that no table has as a key: the refusal then lists those that it has.
    fn known_in(table: &str) -> Vec<String> {
        let text = if table.is_empty() { "zzz = 1".to_owned() } else { format!("[{table}]\nzzz = 1\n") };
        let refusal = Settings::default().apply_text(&text, true).unwrap_err().to_string();
        let listed = refusal.rsplit("expected").next().unwrap();
        listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn every_key_that_a_file_may_hold_has_a_row_and_no_other() {
        let mut in_files: Vec<String> = known_in("")
            .iter()
            .filter(|table| *table != "prices")
            .flat_map(|table| known_in(table).into_iter().map(move |key| format!("{table}.{key}")))
            .collect();
        let mut rows: Vec<String> = KEYS.iter().map(|key| key.name.to_owned()).collect();
        in_files.sort();
        rows.sort();
        assert_eq!(rows, in_files);
    }

    #[test]
    fn a_misspelt_key_is_told_what_was_meant() {
        let words = |name: &str| Named::find(name).err().unwrap().to_string();
        assert!(words("retention.maxage").contains("`retention.max_age`"), "{}", words("retention.maxage"));
        assert!(words("zebra").contains("config list"), "{}", words("zebra"));
        assert_eq!(Named::find("prices.claude-opus-4.1").ok().unwrap().path, ["prices", "claude-opus-4.1"]);
    }
}
