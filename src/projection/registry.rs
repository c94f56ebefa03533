//! The projections that there are: one row each.
//!
//! A row is a field name and a type. What a user can name, what the server keeps up, what a base holds and what the tests
//! of the frame check all come from here; a projection without a row does not exist.

use std::sync::Arc;

pub use super::any::Definition;

use super::agents::AgentsProjection;
use super::commands::CommandsProjection;
use super::health::HealthProjection;
use super::notes::NotesProjection;
use super::orchestrator::OrchestratorProjection;
use super::sessions::SessionsProjection;
use super::snapshot::{Files, Refusal};
use super::{AnyRunner, Projection as _, Runner, Source};
use crate::error::{Error, Result};
use crate::event::Seq;

macro_rules! projections {
    ($($(#[doc = $doc:literal])+ $field:ident: $projection:ty;)+) => {
        /// All projections, in the order of the rows.
        pub const TABLE: &[Definition] = &[$(Definition::of::<$projection>()),+];

        /// A runner for every projection: what a server keeps at the live end.
        pub struct Runners {
            $($(#[doc = $doc])+ pub $field: Arc<Runner<$projection>>,)+
        }

        impl Runners {
            /// Each at the newest state that can be believed, and what could not be.
            ///
            /// # Errors
            /// As [`Runner::restore`].
            pub fn restore(files: Option<&Files>, source: &dyn Source) -> Result<(Runners, Vec<Refusal>)> {
                let mut all_refused = Vec::new();
                let runners = Runners {
                    $($field: {
                        let (runner, refused) = Runner::restore(files.cloned(), source)?;
                        all_refused.extend(refused);
                        Arc::new(runner)
                    },)+
                };
                Ok((runners, all_refused))
            }

            /// All of them, in the order of [`TABLE`].
            pub fn all(&self) -> Vec<Arc<dyn AnyRunner>> {
                vec![$(self.$field.clone()),+]
            }

            /// How far all of them have come.
            pub fn seq(&self) -> Seq {
                self.all().iter().map(|runner| runner.seq()).min().unwrap_or(Seq::ZERO)
            }

            /// The one of this name.
            pub fn get(&self, name: &str) -> Option<Arc<dyn AnyRunner>> {
                $(if name == <$projection>::NAME {
                    return Some(self.$field.clone());
                })+
                None
            }
        }
    };
}

projections! {
    /// What every agent session did and does.
    sessions: SessionsProjection;
    /// How this program and its journal fare.
    health: HealthProjection;
    /// Runs of plans, their work items and agents.
    orchestrator: OrchestratorProjection;
    /// How often which command ran, how long and how it ended.
    commands: CommandsProjection;
    /// The agents that live and their last sign of life.
    agents: AgentsProjection;
    /// People's notes on events.
    notes: NotesProjection;
}

/// The names, in the order of the rows.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|definition| definition.name)
}

/// The projection of this name.
///
/// # Errors
/// [`Error::NotFound`], which names those that there are and the one that was probably meant.
pub fn find(name: &str) -> Result<&'static Definition> {
    TABLE.iter().find(|definition| definition.name == name).ok_or_else(|| {
        let known = names().collect::<Vec<_>>().join(", ");
        let meant = meant(name).map_or_else(String::new, |meant| format!(": did you mean `{meant}`?"));
        let name: String = name.chars().take(NAME_CHARS_SHOWN).collect();
        Error::NotFound {
            what: format!("the projection {name:?}"),
            hint: format!("{meant}{} there are {known}", if meant.is_empty() { ":" } else { "" }),
        }
    })
}

/// Longest part of an unknown name that is repeated to whoever typed it.
const NAME_CHARS_SHOWN: usize = 40;

/// The name that `typed` may have been meant to be: at most a third of it is to be changed.
fn meant(typed: &str) -> Option<&'static str> {
    if typed.len() > NAME_CHARS_SHOWN {
        return None;
    }
    let nearest = names().map(|name| (distance(typed, name), name)).min()?;
    (nearest.0 <= nearest.1.len() / 3).then_some(nearest.1)
}

/// How many letters are to be put in, taken out or changed.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, letter) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, other) in to.iter().enumerate() {
            let change = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = change.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_are_unlike_each_other() {
        let mut seen = std::collections::BTreeSet::new();
        for definition in TABLE {
            assert_eq!(find(definition.name).unwrap().name, definition.name);
            assert!(seen.insert(definition.name), "{} has two rows", definition.name);
            assert!(definition.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        }
    }

    #[test]
    fn a_misspelt_name_is_told_what_was_meant() {
        let words = |name: &str| find(name).unwrap_err().to_string();
        assert!(words("session").contains("did you mean `sessions`?"), "{}", words("session"));
        assert!(words("sesions").contains("did you mean `sessions`?"));
        assert!(!words("zebra").contains("did you mean"), "{}", words("zebra"));
        assert!(words("zebra").contains("sessions"), "what there is, is named");
        assert!(words(&"x".repeat(5_000)).len() < 400);
        assert_eq!(find("zebra").unwrap_err().exit_code(), 3);
    }
}
