//! What each tool takes. The schema that a client sees is made from these structs, and so is the reading of what it sends: a name that
//! is not here is refused, and never passed over.

use rmcp::schemars::{self, JsonSchema};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::error::Error;
use crate::event::Filter;

/// A struct of arguments that has the filters too: serde can refuse unknown names or flatten a struct, not both.
macro_rules! filtered {
    ($(#[$about:meta])* $name:ident { $($own:tt)* }) => {
        $(#[$about])*
        #[derive(Debug, Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $($own)*
            /// Only events of this agent session: its id, or the beginning of it that no other shares.
            pub(super) session: Option<String>,
            /// Only events of these kinds: a name or a pattern, several with commas, like `tool_call_*,prompt_submitted`.
            pub(super) kind: Option<String>,
            /// Only events of these categories, several with commas, like `agent,session`.
            pub(super) category: Option<String>,
            /// Only events whose payload or summary contains this text, as it is, letters in either case.
            pub(super) grep: Option<String>,
            /// Only events at least this important, 1 to 10; failures have 6 and more.
            #[schemars(range(min = 1, max = 10))]
            pub(super) min_importance: Option<u8>,
            /// Only events of this agent or subagent.
            pub(super) agent: Option<String>,
            /// Only events of this project.
            pub(super) project: Option<String>,
            /// Only what was recorded at or after this time: `2026-11-22T10:00:00Z`, `2026-11-22`, or how long ago, like `2h`.
            pub(super) since: Option<String>,
            /// Only what was recorded up to this seq, in digits, or this time.
            #[serde(default, deserialize_with = "digits_or_text")]
            #[schemars(with = "Option<String>")]
            pub(super) until: Option<String>,
        }

        impl $name {
            /// The filter; the session has to be a whole id by then.
            pub(super) fn filter(&self) -> Result<Filter, Error> {
                let importance = self.min_importance.map(|n| n.to_string());
                let pairs = [
                    ("session", &self.session),
                    ("kind", &self.kind),
                    ("category", &self.category),
                    ("grep", &self.grep),
                    ("min_importance", &importance),
                    ("agent", &self.agent),
                    ("project", &self.project),
                ];
                let pairs = pairs.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
                Filter::from_pairs(pairs).map_err(|error| Error::usage(error.to_string()))
            }
        }
    };
}

/// Arguments of `sessions`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Sessions {
    /// Only sessions of this project.
    pub(super) project: Option<String>,
    /// Only sessions seen at or after this time: `2026-11-22T10:00:00Z`, `2026-11-22`, or how long ago, like `2h`.
    pub(super) since: Option<String>,
    /// Only sessions in this state: `working`, `waiting` (for the user), `idle`, `ended`, or `dead` (presumed: nobody reported an end).
    pub(super) state: Option<String>,
    /// At most so many; `total` says how many there are.
    #[schemars(range(min = 1))]
    pub(super) limit: Option<u64>,
}

/// Arguments of `session`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Session {
    /// Its id, or the beginning of it that no other session shares.
    pub(super) session: String,
    /// Every change of a file too, by the tool's own patch.
    #[serde(default)]
    pub(super) patches: bool,
}

filtered! {
    /// Arguments of `events`.
    Events {
        /// Begin at this seq.
        pub(super) from: Option<u64>,
        /// Begin after this seq: `next` of the answer before, to read on.
        pub(super) after: Option<u64>,
        /// At most so many events, 50 unless told otherwise.
        #[schemars(range(min = 1, max = 500))]
        pub(super) limit: Option<usize>,
    }
}

filtered! {
    /// Arguments of `search`.
    Search {
        /// All of these words, found whole and in either case; `"a phrase"` in this order; `-word` must not be there.
        pub(super) words: String,
        /// Begin at this seq.
        pub(super) from: Option<u64>,
        /// At most so many of the best, 10 unless told otherwise.
        #[schemars(range(min = 1, max = 100))]
        pub(super) limit: Option<usize>,
    }
}

/// Arguments of `why`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    /// The event.
    pub(super) seq: u64,
    /// Go back at most so many links, 16 unless told otherwise.
    #[schemars(range(min = 1))]
    pub(super) depth: Option<u32>,
}

/// Arguments of `diff`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Diff {
    /// One session: its id, or the beginning of it that no other shares.
    pub(super) a: String,
    /// The other one.
    pub(super) b: String,
    /// At most so many differences in each list, 200 unless told otherwise.
    #[schemars(range(min = 1))]
    pub(super) limit: Option<usize>,
}

/// Arguments of `state`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    /// Which projection: `sessions`, `health`, `orchestrator`, `commands`, `agents` or `notes`.
    pub(super) projection: String,
    /// As of this event, a seq in digits, or this moment: a time, a date, or how long ago, like `2h`.
    #[serde(default, deserialize_with = "digits_or_text")]
    #[schemars(with = "Option<String>")]
    pub(super) at: Option<String>,
}

/// Arguments of `stats`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Stats {
    /// Only these figures: `commands`, `sessions`, `health` or `tokens`.
    pub(super) which: Option<String>,
    /// Only what was recorded at or after this time: `2026-11-22T10:00:00Z`, `2026-11-22`, or how long ago, like `2h`.
    pub(super) since: Option<String>,
    /// Only what was recorded at or before this time.
    pub(super) until: Option<String>,
    /// Break them down by `hour`, `day`, `session` or `project`.
    pub(super) by: Option<String>,
}

/// Arguments of `annotate`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Annotate {
    /// The event that the note is about.
    pub(super) seq: u64,
    /// The note, of at most 32768 bytes; secrets are taken out of it.
    pub(super) text: String,
}

/// A seq is a number to most who send one, and stands where a text may stand too.
fn digits_or_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(from)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Number(number) if number.is_u64() => Ok(Some(number.to_string())),
        _ => Err(serde::de::Error::custom("a seq or a time, as a text, is wanted here")),
    }
}
