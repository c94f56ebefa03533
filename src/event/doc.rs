//! The page `docs/EVENTS.md`, made from the catalog.

/// The page's text.
pub fn events_md() -> String {
    String::new()
}
