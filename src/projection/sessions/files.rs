//! Files that a session read and wrote, as the agent's file tools say.
//!
//! The lines of a change are those of the tool's own patch (`structuredPatch`), or of the text of a file that it made; where a
//! tool gives neither, or its answer was cut to fit an event, they are unknown and counted as such. Which file it was stands in
//! the tool's answer, else in its input. Either end of a call may arrive first.
//!
//! A shell command can change files too. That is not seen here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::output_of;
use super::state::{Call, Outcome};
use super::text::bounded;
use crate::event::{Cut, Event, FieldText};
use crate::projection::Mark;

/// Paths longer than this are replaced by their hash.
const PATH_BYTES_MAX: usize = 1024;

/// What a tool does to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::projection) enum Deed {
    Read,
    Write,
}

impl Deed {
    /// What this tool does, if it works on one file.
    pub(in crate::projection) fn of(tool: &str) -> Option<Deed> {
        match tool {
            "Read" | "NotebookRead" => Some(Deed::Read),
            "Edit" | "MultiEdit" | "Write" | "NotebookEdit" => Some(Deed::Write),
            _ => None,
        }
    }
}

/// The file that the input of a file tool names.
pub(in crate::projection) fn path_of_input(input: &str) -> Option<String> {
    let mut found = None;
    for (name, field) in FieldText::part(input).fields() {
        if matches!(name, "file_path" | "notebook_path") && found.replace(field.text()?).is_some() {
            return None; // Which of the two is meant, nobody says.
        }
    }
    // Inputs have no fixed shape: one without a path names no file.
    Some(path_key(&found?)).filter(|path| !path.is_empty())
}

fn path_key(path: &str) -> String {
    bounded(path, PATH_BYTES_MAX)
}

/// One part of a patch, in our own words; the agent's tools write theirs in camel case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hunk {
    /// Its first line in the file before.
    #[serde(alias = "oldStart")]
    pub old_start: u64,
    /// Lines of the file before that it covers.
    #[serde(alias = "oldLines")]
    pub old_lines: u64,
    /// Its first line in the file after.
    #[serde(alias = "newStart")]
    pub new_start: u64,
    /// Lines of the file after that it covers.
    #[serde(alias = "newLines")]
    pub new_lines: u64,
    /// The lines, each with `+`, `-` or a space before it.
    pub lines: Vec<String>,
}

/// What the answer of a writing tool says.
#[derive(Default, Deserialize)]
struct Answer {
    #[serde(rename = "filePath", alias = "notebook_path")]
    path: Option<String>,
    #[serde(rename = "structuredPatch")]
    patch: Option<Vec<Hunk>>,
    #[serde(rename = "type")]
    sort: Option<String>,
    content: Option<String>,
}

/// What a tool changed in a file, as its answer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) path: Option<String>,
    /// The tool's own patch; for a file that it made, one hunk that adds every line. None where it gave none, or not all of it.
    pub(super) patch: Option<Vec<Hunk>>,
    pub(super) created: bool,
}

impl Change {
    /// Reads the answer of a call that wrote. An answer of another shape says nothing.
    pub(super) fn of(event: &Event) -> Change {
        let answer: Option<Answer> = output_of(event).and_then(|output| serde_json::from_str(output).ok());
        let Answer { path, patch, sort, content } = answer.unwrap_or_default();
        let created = sort.as_deref() == Some("create");
        let patch = patch.filter(|patch| is_whole(&event.cut, "structuredPatch") || patch.is_empty());
        let patch = match (patch, content) {
            (Some(patch), Some(content)) if created && patch.is_empty() => {
                is_whole(&event.cut, "content").then(|| vec![Hunk::all_of(&content)])
            }
            (patch, _) => patch,
        };
        let path = path.filter(|path| !path.is_empty()).map(|path| path_key(&path));
        Change { path, patch, created }
    }

    /// Lines added and removed.
    pub(super) fn lines(&self) -> Option<Lines> {
        let lines = || self.patch.iter().flatten().flat_map(|hunk| &hunk.lines);
        let with = |sign| lines().filter(|line| line.starts_with(sign)).count() as u64;
        self.patch.as_ref().map(|_| Lines { added: with('+'), removed: with('-') })
    }
}

impl Hunk {
    fn all_of(content: &str) -> Hunk {
        let lines: Vec<_> = content.lines().map(|line| format!("+{line}")).collect();
        Hunk { old_start: 0, old_lines: 0, new_start: 1, new_lines: lines.len() as u64, lines }
    }
}

/// Whether no line of a field of the output was lost when the event was cut. A line that was shortened is still a line.
fn is_whole(cuts: &[Cut], field: &str) -> bool {
    let lost = |cut: &Cut| match cut.pointer.strip_prefix("/output") {
        Some("") => true,
        Some(place) => {
            let inside = place.strip_prefix('/').and_then(|place| place.strip_prefix(field));
            inside.is_some_and(|inside| !inside.contains("/lines/"))
        }
        None => cut.pointer.is_empty(),
    };
    !cuts.iter().any(lost)
}

/// How many lines a change added and removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines {
    /// Added.
    pub added: u64,
    /// Removed.
    pub removed: u64,
}

/// What a call did to a file, as far as its two ends have told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Touch {
    /// The file of the input.
    path: Option<String>,
    /// The end, where it came before the path was known.
    lines: Option<Lines>,
    /// It is counted.
    counted: bool,
}

/// What was done to one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileUse {
    /// How often it was read.
    pub reads: u64,
    /// How often it was written.
    pub writes: u64,
    /// Of the writes, those whose lines nobody told.
    pub writes_unmeasured: u64,
    /// Lines that the other writes added and removed.
    pub lines: Lines,
    /// The first and the last time, by the ends of the calls.
    pub first: Mark,
    /// See `first`.
    pub last: Mark,
}

impl FileUse {
    fn none(mark: Mark) -> FileUse {
        FileUse {
            reads: 0,
            writes: 0,
            writes_unmeasured: 0,
            lines: Lines::default(),
            first: mark,
            last: mark,
        }
    }
}

/// What was done to the files of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// By path as the tools name it.
    pub by_path: BTreeMap<String, FileUse>,
    /// Reads of all files, also of those that left.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Of the writes, those whose lines nobody told.
    pub writes_unmeasured: u64,
    /// Lines of the other writes.
    pub lines: Lines,
    /// Files that had to leave the state.
    pub lost: u64,
}

impl Files {
    pub(super) fn take(&mut self, path: &str, mark: Mark, deed: Deed, lines: Option<Lines>) {
        let file = match self.by_path.get_mut(path) {
            Some(file) => file,
            None => self.by_path.entry(path.to_owned()).or_insert(FileUse::none(mark)),
        };
        (file.first, file.last) = (file.first.min(mark), file.last.max(mark));
        match deed {
            Deed::Read => {
                file.reads += 1;
                self.reads += 1;
            }
            Deed::Write => {
                file.writes += 1;
                self.writes += 1;
                let unmeasured = u64::from(lines.is_none());
                file.writes_unmeasured += unmeasured;
                self.writes_unmeasured += unmeasured;
                for held in [&mut file.lines, &mut self.lines] {
                    let Lines { added, removed } = lines.unwrap_or_default();
                    held.added = held.added.saturating_add(added);
                    held.removed = held.removed.saturating_add(removed);
                }
            }
        }
    }

    /// Drops files beyond `kept`, those touched least recently first.
    pub(super) fn keep(&mut self, kept: usize) {
        while self.by_path.len() > kept {
            let oldest = self.by_path.iter().min_by_key(|(_, file)| file.last);
            let Some(leaving) = oldest.map(|(path, _)| path.clone()) else { break };
            self.by_path.remove(&leaving);
            self.lost += 1;
        }
    }
}

impl Call {
    /// Notes which file the input names.
    pub(super) fn names_file(&mut self, path: Option<String>) {
        if self.touch.path.is_none() {
            self.touch.path = path;
        }
    }

    /// Notes what the answer says. Its own word on the file counts more than the input's.
    pub(super) fn changed_file(&mut self, change: Change) {
        self.touch.lines = change.lines();
        if change.path.is_some() {
            self.touch.path = change.path;
        }
    }

    /// The file, when and what was done to it, once: as soon as the call is known to have succeeded and its file is known.
    pub(super) fn touched(&mut self) -> Option<(&str, Mark, Deed, Option<Lines>)> {
        let deed = Deed::of(&self.tool)?;
        let ended = self.ended.as_ref().filter(|ended| ended.value == Outcome::Completed)?;
        if self.touch.counted {
            return None;
        }
        let path = self.touch.path.as_deref()?;
        self.touch.counted = true;
        Some((path, ended.mark, deed, self.touch.lines))
    }
}
