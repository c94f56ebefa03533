//! One line of text about an event, for people.

use super::Event;

/// Columns that a summary takes at most.
pub const SUMMARY_COLUMNS_MAX: usize = 120;

pub(super) fn of(event: &Event) -> String {
    let _ = event.kind.known().map(super::Kind::summary_template);
    event.kind.name().to_owned()
}
