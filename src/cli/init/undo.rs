//! `init --undo`: the settings as they were.
//!
//! A copy counts if the file still holds what was written when the copy was made; then the copy comes back, byte for
//! byte, and goes. Several registrations are gone back through one by one. Where the file was edited since, only our own
//! entries are taken out, the copies stay, and both is said. The data directory and its registration stay: they hold
//! what was recorded.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::apply::{ABSENT, ABSENT_DIR, BACKUP, Edit, hash};
use super::place::{Place, Target};
use super::{Args, confirm, show};
use crate::cli::{Context, Outcome};
use crate::config::amend::{self, UserFile};
use crate::config::guard;
use crate::error::Error;
use crate::event::text::visible;

/// Runs `init --undo`.
pub(super) fn run(args: &Args, place: &Place, context: &mut Context) -> Result<Outcome, Error> {
    let ways = place.targets.iter().map(Way::of).collect::<Result<Vec<_>, _>>()?;
    for way in &ways {
        way.show(context)?;
    }
    let open = ways.iter().any(Way::is_change);
    if open && !args.dry_run {
        confirm(args, context)?;
        for way in ways.iter().filter(|way| way.is_change()) {
            way.walk()?;
        }
    }
    report(&ways, args.dry_run, context)?;
    Ok(Outcome::with_summary(match (open, args.dry_run) {
        (false, _) => "nothing was to be done",
        (true, true) => "nothing was written: a dry run",
        (true, false) => "the registration was taken out",
    }))
}

/// How one file becomes what it was.
enum Way {
    /// It is what was written: these copies, newest first, lead back to what it held, if it was there.
    Back { file: UserFile, to: Option<Vec<u8>>, copies: Vec<PathBuf> },
    /// It was edited since, or nothing of ours is in it.
    Out { edit: Edit, copies: Vec<PathBuf> },
}

impl Way {
    fn of(target: &Target) -> Result<Way, Error> {
        let file = UserFile::read(&target.path, target.within.as_deref())?;
        let all = copies_of(file.path())?;
        let (mut to, mut copies) = (file.bytes().map(<[u8]>::to_vec), Vec::<PathBuf>::new());
        while let Some(present) = &to {
            let written = hash(present);
            let Some(copy) = all.iter().find(|copy| written_is(copy, &written) && !copies.contains(copy))
            else {
                break;
            };
            to = if was_absent(copy) { None } else { Some(guard::read(copy, amend::BYTES_MAX)?) };
            copies.push(copy.clone());
        }
        if copies.is_empty() {
            return Ok(Way::Out { edit: Edit::unregistering(target)?, copies: all });
        }
        Ok(Way::Back { file, to, copies })
    }

    fn path(&self) -> &Path {
        match self {
            Way::Back { file, .. } => file.path(),
            Way::Out { edit, .. } => edit.path(),
        }
    }

    fn is_change(&self) -> bool {
        match self {
            Way::Back { .. } => true,
            Way::Out { edit, .. } => edit.is_change(),
        }
    }

    fn show(&self, context: &mut Context) -> Result<(), Error> {
        match self {
            Way::Back { file, to, .. } => {
                let text =
                    |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
                show::texts(file.path(), &text(file.bytes()), &text(to.as_deref()), &mut context.out)
            }
            Way::Out { edit, .. } if edit.is_change() => show::diff(edit, &mut context.out),
            Way::Out { .. } => Ok(()),
        }
    }

    fn walk(&self) -> Result<(), Error> {
        let (file, to, copies) = match self {
            Way::Out { edit, .. } => return edit.file.replace(edit.after.as_bytes()),
            Way::Back { file, to, copies } => (file, to, copies),
        };
        match to {
            Some(bytes) => file.replace(bytes)?,
            None => file.remove()?,
        }
        for copy in copies {
            std::fs::remove_file(copy).map_err(Error::io("remove", copy))?;
        }
        let made_directory = copies.last().is_some_and(|copy| name_of(copy).ends_with(ABSENT_DIR));
        if let (true, None, Some(directory)) = (made_directory, to, file.path().parent()) {
            // Something else may have moved in; then it stays.
            std::fs::remove_dir(directory).ok();
        }
        Ok(())
    }

    fn words(&self) -> &'static str {
        match self {
            Way::Back { to: Some(_), .. } => "as it was before, byte for byte",
            Way::Back { to: None, .. } => "gone, as there was none before",
            Way::Out { edit, .. } if edit.is_change() => "edited since: our entries alone were taken out",
            Way::Out { .. } => "nothing of ours is in it",
        }
    }
}

fn report(ways: &[Way], dry: bool, context: &mut Context) -> Result<(), Error> {
    if context.out.is_json() {
        let files: Vec<_> = ways
            .iter()
            .map(|way| {
                let exact = matches!(way, Way::Back { .. });
                json!({"path": way.path().to_string_lossy(), "changed": way.is_change(), "exact": exact})
            })
            .collect();
        return context.out.json(&json!({"version": 1, "dry_run": dry, "files": files}));
    }
    for way in ways {
        let path = way.path().to_string_lossy().into_owned();
        let would = if dry && way.is_change() { "would be " } else { "" };
        context.out.line(&format!("settings        {} ({would}{})", visible(&path), way.words()))?;
        if let (Way::Out { copies, .. }, true) = (way, way.is_change()) {
            for copy in copies {
                context.out.line(&format!("backup kept     {}", visible(&copy.to_string_lossy())))?;
            }
        }
    }
    if !dry {
        context.out.note("The data directory and what it holds stay.");
    }
    Ok(())
}

/// The copies of a file, newest first: their names sort by time.
fn copies_of(file: &Path) -> Result<Vec<PathBuf>, Error> {
    let directory = file.parent().unwrap_or(Path::new("/"));
    let prefix = format!("{}.{BACKUP}", name_of(file));
    let listing = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.map_err(Error::io("list", directory))?,
    };
    let mut copies = Vec::new();
    for found in listing {
        let path = found.map_err(Error::io("list", directory))?.path();
        if name_of(&path).starts_with(&prefix) {
            copies.push(path);
        }
    }
    copies.sort_unstable_by(|a, b| b.cmp(a));
    Ok(copies)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn was_absent(copy: &Path) -> bool {
    let name = name_of(copy);
    name.ends_with(ABSENT) || name.ends_with(ABSENT_DIR)
}

/// Whether this copy was made when a file of this hash was written.
fn written_is(copy: &Path, written: &str) -> bool {
    let name = name_of(copy);
    let name = name.strip_suffix(ABSENT_DIR).or_else(|| name.strip_suffix(ABSENT)).unwrap_or(&name);
    name.rsplit('-').next() == Some(written)
}
