//! Which events a reader wants: one syntax for the URL query and the command line.

use super::{Event, FieldError, StoredEvent};

/// A choice of events.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Filter {
    key: String,
}

impl Filter {
    /// The keys that a filter takes.
    pub const KEYS: &'static [&'static str] =
        &["session", "kind", "category", "min_importance", "agent", "project", "grep"];

    /// Takes every event.
    pub fn all() -> Filter {
        Filter::default()
    }

    /// Reads pairs of key and value; an unknown key or a bad value is named.
    pub fn from_pairs<K: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Filter, FieldError> {
        let _ = pairs;
        todo!()
    }

    /// True where it takes every event.
    pub fn is_all(&self) -> bool {
        todo!()
    }

    /// Whether the event is wanted.
    pub fn matches(&self, stored: &StoredEvent) -> bool {
        self.matches_event(&stored.event)
    }

    /// Whether the event is wanted.
    pub fn matches_event(&self, event: &Event) -> bool {
        let _ = event;
        todo!()
    }

    /// A canonical text: filters that want the same have the same one.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The filter as pairs that `from_pairs` reads, for a URL.
    pub fn to_pairs(&self) -> Vec<(&'static str, String)> {
        todo!()
    }
}
