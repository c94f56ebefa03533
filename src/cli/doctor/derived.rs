//! What is computed from the journal: saved states of projections, bases, the index of ids.

use std::path::PathBuf;

use super::{Finding, Fixed, Found, Look, first_of};
use crate::cli::display::counted;
use crate::error::Error;
use crate::projection::compare::{self, Checked, Verdict};
use crate::store::{View, index};

/// Folding so many events anew takes about a second; for more, it has to be asked for.
const FOLDED_UNASKED_MAX: u64 = 200_000;

/// Whether the fold of the whole journal is within what was asked for.
fn is_quick(look: &Look<'_>, view: &View) -> bool {
    look.full || view.durable().get().saturating_sub(view.first().get()) < FOLDED_UNASKED_MAX
}

fn compared(look: &Look<'_>, view: &View) -> Result<Vec<Checked>, Error> {
    compare::compare(view, &look.dir.snapshots(), &look.dir.base())
}

/// Saved states that are wrong or of no use because they are damaged, and can be folded anew.
fn wrong_states(look: &Look<'_>, view: &View) -> Result<Vec<PathBuf>, Error> {
    let damaged = |checked: &Checked| matches!(checked.verdict, Verdict::Refused(why) if why == crate::projection::snapshot::Refused::Damaged);
    let all = compared(look, view)?;
    let wrong = all.iter().filter(|checked| !checked.primary && (checked.is_wrong() || damaged(checked)));
    Ok(wrong.map(|checked| checked.path.clone()).collect())
}

fn words(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned()).collect()
}

pub(super) fn projections(look: &Look<'_>) -> Found {
    let view = look.view()?;
    if !is_quick(look, &view) {
        return Ok(Finding::pass("not compared: the journal is long; -v folds it anew"));
    }
    let wrong = wrong_states(look, &view)?;
    Ok(if wrong.is_empty() {
        Finding::pass("every saved state is what the journal says")
    } else {
        Finding::fail(
            format!("{} not what the journal says", first_of(&words(&wrong), "saved state")),
            "they are derived: without them the journal is folded anew",
        )
    })
}

pub(super) fn drop_wrong_states(look: &Look<'_>) -> Fixed {
    remove(&wrong_states(look, &look.view()?)?, "saved state")
}

pub(super) fn bases(look: &Look<'_>) -> Found {
    let view = look.view()?;
    if !is_quick(look, &view) {
        return Ok(Finding::pass("not compared: the journal is long; -v reads them"));
    }
    let wrong: Vec<PathBuf> = compared(look, &view)?
        .into_iter()
        .filter(|checked| checked.primary && checked.is_wrong())
        .map(|checked| checked.path)
        .collect();
    Ok(if wrong.is_empty() {
        Finding::pass("what stands for dropped events is whole")
    } else {
        Finding::fail(
            format!("{} damaged", first_of(&words(&wrong), "base")),
            "what dropped events led to is lost; a backup may still hold it",
        )
    })
}

fn damaged_index(look: &Look<'_>) -> Result<Vec<PathBuf>, Error> {
    match look.view()?.journal_id() {
        Some(journal) => index::damaged(&look.dir.index(), journal),
        None => Ok(Vec::new()),
    }
}

pub(super) fn index(look: &Look<'_>) -> Found {
    let damaged = damaged_index(look)?;
    Ok(if damaged.is_empty() {
        Finding::pass("the index of ids is whole")
    } else {
        Finding::warn(
            format!("{} damaged", first_of(&words(&damaged), "index file")),
            "it is derived: what is missing is read from the journal",
        )
    })
}

pub(super) fn drop_damaged_index(look: &Look<'_>) -> Fixed {
    if look.holder.is_some() {
        return Err(Error::failed(
            "the index is in use: stop the server with `mnemosyne api-server --stop` first",
        ));
    }
    remove(&damaged_index(look)?, "index file")
}

fn remove(paths: &[PathBuf], what: &str) -> Fixed {
    for path in paths {
        std::fs::remove_file(path).map_err(Error::io("remove", path))?;
    }
    Ok(vec![format!("removed {}, to be computed anew", counted(paths.len() as u64, what))])
}
