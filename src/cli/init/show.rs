//! What a change looks like, for a person.

use std::path::Path;

use chrono::DateTime;
use similar::{ChangeTag, TextDiff};

use super::apply::Edit;
use crate::cli::display::Role;
use crate::cli::out::Out;
use crate::error::Error;
use crate::event::text::visible;
use crate::event::{Redactor, Timestamp};

/// Lines around a change.
const CONTEXT: usize = 3;

/// Prints the change of a file.
pub(super) fn diff(edit: &Edit, out: &mut Out) -> Result<(), Error> {
    texts(edit.path(), edit.file.text()?, &edit.after, out)
}

/// Prints a change as a unified diff; nothing with `--json`. Settings may hold secrets beside our entries: they are taken out
/// of what is shown, as everywhere.
pub(super) fn texts(path: &Path, before: &str, after: &str, out: &mut Out) -> Result<(), Error> {
    if out.is_json() {
        return Ok(());
    }
    let (style, redactor) = (out.style(), Redactor::new());
    let name = visible(&path.to_string_lossy()).into_owned();
    out.line(&style.paint(Role::Strong, &format!("--- {name}")))?;
    out.line(&style.paint(Role::Strong, &format!("+++ {name}")))?;
    let lines = TextDiff::from_lines(before, after);
    for group in lines.grouped_ops(CONTEXT) {
        out.line(&style.paint(Role::Dim, "@@"))?;
        for change in group.iter().flat_map(|op| lines.iter_changes(op)) {
            let (sign, role) = match change.tag() {
                ChangeTag::Delete => ('-', Some(Role::Bad)),
                ChangeTag::Insert => ('+', Some(Role::Good)),
                ChangeTag::Equal => (' ', None),
            };
            let text = change.value().trim_end_matches(['\n', '\r']).replace('\t', "    ");
            let line = format!("{sign}{}", visible(&redactor.text(&text)));
            out.line(&role.map_or(line.clone(), |role| style.paint(role, &line)))?;
        }
    }
    Ok(())
}

/// A moment as part of a file's name: UTC, and sorts by time.
pub(super) fn stamp(time: Timestamp) -> String {
    let utc = DateTime::from_timestamp_micros(time.as_micros()).unwrap_or_default();
    utc.format("%Y%m%dT%H%M%S%6fZ").to_string()
}
