//! Small values of the envelope: category, importance, fraction, seq.

use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// What a kind is about. Derived from the kind, never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// Plans, items and the agents that work on them.
    Orchestration,
    /// The life of a command.
    Cli,
    /// Memories.
    Memory,
    /// The upkeep of memories.
    Evolution,
    /// Checks of this program's state.
    Health,
    /// The context editor.
    Editor,
    /// Settings, secrets, exports.
    Configuration,
    /// Embeddings, models, artifacts.
    Advanced,
    /// Servers and dashboards.
    Interface,
    /// The start and end of an agent's session.
    Session,
    /// Searches and operations of the store on its own data.
    LowLevel,
    /// What an agent does inside a session.
    Agent,
    /// The store's own health.
    Store,
    /// What emitters define themselves, and kinds that this version does not know.
    Custom,
}

impl Category {
    /// Every category.
    pub const ALL: &'static [Category] = &[
        Category::Orchestration,
        Category::Cli,
        Category::Memory,
        Category::Evolution,
        Category::Health,
        Category::Editor,
        Category::Configuration,
        Category::Advanced,
        Category::Interface,
        Category::Session,
        Category::LowLevel,
        Category::Agent,
        Category::Store,
        Category::Custom,
    ];

    /// The name, in `snake_case`.
    pub const fn name(self) -> &'static str {
        match self {
            Category::Orchestration => "orchestration",
            Category::Cli => "cli",
            Category::Memory => "memory",
            Category::Evolution => "evolution",
            Category::Health => "health",
            Category::Editor => "editor",
            Category::Configuration => "configuration",
            Category::Advanced => "advanced",
            Category::Interface => "interface",
            Category::Session => "session",
            Category::LowLevel => "low_level",
            Category::Agent => "agent",
            Category::Store => "store",
            Category::Custom => "custom",
        }
    }

    /// The category of this name.
    pub fn from_name(name: &str) -> Option<Category> {
        Category::ALL.iter().copied().find(|category| category.name() == name)
    }

    /// The least and the greatest importance that a kind of this category may have in the catalog.
    pub const fn importance_range(self) -> (u8, u8) {
        match self {
            Category::Orchestration | Category::Store => (4, 9),
            Category::Cli => (3, 6),
            Category::Memory | Category::Advanced => (4, 7),
            Category::Evolution => (5, 7),
            Category::Health => (4, 6),
            Category::Editor => (6, 6),
            Category::Configuration | Category::Interface => (5, 8),
            Category::Session => (8, 8),
            Category::LowLevel => (2, 3),
            Category::Agent => (3, 7),
            Category::Custom => (3, 4),
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Category {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// How much an event matters, from 1 to 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Importance(u8);

impl Importance {
    /// The least.
    pub const MIN: Importance = Importance(1);
    /// The greatest.
    pub const MAX: Importance = Importance(10);

    /// From a number from 1 to 10; nothing for any other.
    pub const fn new(value: u8) -> Option<Importance> {
        if value >= 1 && value <= 10 { Some(Importance(value)) } else { None }
    }

    /// From a literal of the catalog; any other value does not compile.
    pub(crate) const fn literal(value: u8) -> Importance {
        assert!(value >= 1 && value <= 10);
        Importance(value)
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Importance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Importance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Importance, D::Error> {
        let value = u8::deserialize(deserializer)?;
        Importance::new(value).ok_or_else(|| serde::de::Error::custom("importance goes from 1 to 10"))
    }
}

/// A number from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Fraction(f64);

impl Fraction {
    /// From a number from 0 to 1; nothing for any other, nor for what is no number.
    pub fn new(value: f64) -> Option<Fraction> {
        (0.0..=1.0).contains(&value).then_some(Fraction(value))
    }

    /// The number.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fraction, D::Error> {
        let value = f64::deserialize(deserializer)?;
        Fraction::new(value).ok_or_else(|| serde::de::Error::custom("a fraction goes from 0 to 1"))
    }
}

/// The place of an event in the journal: dense, from 1. The public cursor and the `id:` of a server-sent event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(u64);

impl Seq {
    /// Before the first event.
    pub const ZERO: Seq = Seq(0);
    /// The first event's place.
    pub const FIRST: Seq = Seq(1);
    /// The last place that there can be.
    pub const MAX: Seq = Seq(u64::MAX);

    /// From a number.
    pub const fn new(value: u64) -> Seq {
        Seq(value)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The place after this one; the last place is followed by itself.
    #[must_use]
    pub const fn next(self) -> Seq {
        Seq(self.0.saturating_add(1))
    }

    /// The place before this one; `ZERO` is preceded by itself.
    #[must_use]
    pub const fn prev(self) -> Seq {
        Seq(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for Seq {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Seq, Self::Err> {
        text.parse().map(Seq)
    }
}
