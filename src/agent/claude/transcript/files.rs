//! Where transcripts are.

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Report;

/// A transcript to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// Where Claude Code keeps its transcripts: `projects` under its own directory, which `CLAUDE_CONFIG_DIR` names if set.
pub fn default_directory(config_dir: Option<&Path>, home: Option<&Path>) -> Option<PathBuf> {
    let own = config_dir.map(Path::to_owned).or_else(|| Some(home?.join(".claude")))?;
    Some(own.join("projects"))
}

/// The transcripts at these paths: a file as it is, a directory with every `.jsonl` under it. Sessions come before
/// subagents, and older ones before newer: who made what is said by the parent, and a copied line is the older file's.
/// Symbolic links are followed where they are named, not inside a directory: what stands there under a transcript's
/// name and is no regular file is passed over, and told. What cannot be read is told in the report.
pub fn find(paths: &[PathBuf], report: &mut Report) -> Vec<Found> {
    let mut found = Vec::new();
    for path in paths {
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => walk(path, &mut found, report),
            Ok(metadata) => found.push(entry(path.clone(), &metadata)),
            Err(error) => report.unreadable.push((path.clone(), error.to_string())),
        }
    }
    found.sort();
    found.dedup_by(|a, b| a.3 == b.3);
    found.into_iter().map(|(_, _, bytes, path)| Found { path, bytes }).collect()
}

/// Whether it is a subagent's, when it was last written, its size, its path: the order of reading.
type Ranked = (bool, Option<SystemTime>, u64, PathBuf);

fn entry(path: PathBuf, metadata: &std::fs::Metadata) -> Ranked {
    let subagent = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("agent-"));
    (subagent, metadata.modified().ok(), metadata.len(), path)
}

/// What it is, if it is no regular file.
fn sort_of(kind: std::fs::FileType) -> &'static str {
    match kind {
        kind if kind.is_symlink() => "a symbolic link",
        kind if kind.is_fifo() => "a named pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

fn walk(directory: &Path, found: &mut Vec<Ranked>, report: &mut Report) {
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let listed = std::fs::read_dir(&directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let entries = match listed {
            Ok(entries) => entries,
            Err(error) => {
                report.unreadable.push((directory, error.to_string()));
                continue;
            }
        };
        for listed in entries {
            let path = listed.path();
            // Of the entry itself: a link is neither.
            match listed.metadata() {
                Ok(metadata) if metadata.is_dir() => directories.push(path),
                Ok(metadata) if metadata.is_file() && path.extension().is_some_and(|end| end == "jsonl") => {
                    found.push(entry(path, &metadata));
                }
                Ok(metadata) if path.extension().is_some_and(|end| end == "jsonl") => {
                    report.passed_over.push((path, sort_of(metadata.file_type())));
                }
                Ok(_) => {}
                Err(error) => report.unreadable.push((path, error.to_string())),
            }
        }
    }
}
