//! What is computed from the journal: states of projections, as they are saved and as a server serves them, bases, the index of ids.

use std::path::PathBuf;

use serde::Deserialize;

use super::server::has_gone;
use super::{Finding, Fixed, Found, Look, first_of};
use crate::cli::display::counted;
use crate::client::{Server, percent_encoded};
use crate::error::Error;
use crate::event::Seq;
use crate::projection::compare::{self, Checked};
use crate::projection::{AnyFold, registry, snapshot};
use crate::store::{JournalId, View, index};
use crate::wire::path;

/// Folding so many events anew takes about a second; for more, it has to be asked for.
const FOLDED_UNASKED_MAX: u64 = 200_000;

/// Whether the fold of the whole journal is within what was asked for.
fn is_quick(look: &Look<'_>, view: &View) -> bool {
    look.full || view.durable().get().saturating_sub(view.first().get()) < FOLDED_UNASKED_MAX
}

fn compared(look: &Look<'_>, view: &View) -> Result<Vec<Checked>, Error> {
    compare::compare(view, &look.dir.snapshots(), &look.dir.base())
}

/// Saved states that say something else than the journal, and can be folded anew.
#[derive(Default)]
struct Astray {
    wrong: Vec<PathBuf>,
    damaged: Vec<PathBuf>,
    ahead: Vec<PathBuf>,
}

impl Astray {
    fn find(look: &Look<'_>, view: &View) -> Result<Astray, Error> {
        let mut astray = Astray::default();
        let all = compared(look, view)?;
        // A writer at work may have saved one after the journal was opened here.
        let durable = look.view()?.durable();
        for checked in all.into_iter().filter(|checked| !checked.primary) {
            if checked.is_wrong() {
                astray.wrong.push(checked.path);
            } else if checked.is_damaged() {
                astray.damaged.push(checked.path);
            } else if checked.is_ahead() && checked.seq.is_some_and(|seq| seq > durable) {
                astray.ahead.push(checked.path);
            }
        }
        Ok(astray)
    }

    /// All of them, as sentences.
    fn words(&self) -> String {
        let kinds = [
            (&self.wrong, "not what the journal says"),
            (&self.damaged, "damaged"),
            (&self.ahead, "ahead of the journal"),
        ];
        let told = kinds.iter().filter(|(paths, _)| !paths.is_empty());
        let told = told.map(|(paths, what)| format!("{} {what}", first_of(&words(paths), "saved state")));
        told.collect::<Vec<_>>().join("; ")
    }
}

fn words(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned()).collect()
}

pub(super) fn projections(look: &Look<'_>) -> Found {
    let view = look.view()?;
    if !is_quick(look, &view) {
        return Ok(Finding::pass("not compared: the journal is long; -v folds it anew"));
    }
    let astray = Astray::find(look, &view)?;
    Ok(if !astray.wrong.is_empty() || !astray.damaged.is_empty() {
        Finding::fail(astray.words(), "they are derived: without them the journal is folded anew")
    } else if !astray.ahead.is_empty() {
        Finding::warn(
            format!("{}, which ends with seq {}", astray.words(), view.durable()),
            "the journal may have lost its end, or was put back from an older copy; they are derived and not used",
        )
    } else {
        Finding::pass("every saved state is what the journal says")
    })
}

pub(super) fn drop_stray_states(look: &Look<'_>) -> Fixed {
    let Astray { wrong, damaged, ahead } = Astray::find(look, &look.view()?)?;
    remove(&[wrong, damaged, ahead].concat(), "saved state")
}

/// What a server says of a projection; the state itself is passed over.
#[derive(Deserialize)]
struct Served {
    seq: u64,
    missing: u64,
    hash: String,
}

/// Whether it is something else than the fold of the journal. What misses fewer events than the fold knows more than can be read now,
/// and what stands elsewhere cannot be compared.
fn is_wrong(served: &Served, folded: &dyn AnyFold) -> Result<bool, Error> {
    let comparable = served.seq == folded.seq().get() && served.missing >= folded.missing();
    Ok(comparable && served.hash != folded.hash()?.to_string())
}

/// The projections that the server serves otherwise than the journal says.
fn wrong_served(look: &Look<'_>, server: &Server) -> Result<Vec<String>, Error> {
    let mut wrong = Vec::new();
    for definition in registry::TABLE {
        let text =
            server.get_json(&path::STATE.replace("{projection}", &percent_encoded(definition.name)))?;
        let served: Served = serde_json::from_str(&text).map_err(|error| {
            Error::failed(format!("the state of {} is not understood: {error}", definition.name))
        })?;
        // Looked at after it was answered: what is served is durable.
        let view = look.view()?;
        let journal = view.journal_id().map(JournalId::to_bytes);
        let files =
            journal.map(|id| snapshot::Files::new(look.dir.snapshots(), id).with_base(look.dir.base()));
        let (folded, _) = definition.state_anew(&view, files.as_ref(), Seq::new(served.seq))?;
        if is_wrong(&served, &*folded)? {
            wrong.push(definition.name.to_owned());
        }
    }
    Ok(wrong)
}

pub(super) fn served(look: &Look<'_>) -> Found {
    let Some(server) = Server::find(&look.dir)? else { return Ok(None) };
    if look.is_server_silent.get() {
        return Ok(Finding::pass("not compared: the server does not answer"));
    }
    if server.runtime().version != env!("CARGO_PKG_VERSION") {
        return Ok(Finding::pass("not compared: the server is of another version"));
    }
    if !is_quick(look, &look.view()?) {
        return Ok(Finding::pass("not compared: the journal is long; -v folds it anew"));
    }
    let wrong = match wrong_served(look, &server) {
        // It ended while it was asked; the check of the server tells.
        Err(_) if has_gone(look)? => return Ok(None),
        wrong => wrong?,
    };
    Ok(if wrong.is_empty() {
        Finding::pass("what the server serves is what the journal says")
    } else {
        Finding::fail(
            format!("{} served that is not what the journal says", first_of(&wrong, "state")),
            "the server can fold it anew while it serves",
        )
    })
}

pub(super) fn rebuild_wrong(look: &Look<'_>) -> Fixed {
    let Some(server) = Server::find(&look.dir)? else { return Ok(Vec::new()) };
    let mut done = Vec::new();
    for name in wrong_served(look, &server)? {
        for rebuilt in server.rebuild(&name)?.projections {
            let (name, events) = (rebuilt.projection, counted(rebuilt.events, "event"));
            done.push(if rebuilt.replaced {
                format!("the server has rebuilt {name} from {events}")
            } else {
                format!(
                    "the server has kept {name}: {} cannot be read any more",
                    counted(rebuilt.missing, "event")
                )
            });
        }
    }
    Ok(done)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_hash_at_the_same_seq_is_wrong() {
        let definition = registry::find("sessions").unwrap();
        let mut folded = definition.empty();
        folded.skip(Seq::new(3));
        let hash = folded.hash().unwrap().to_string();
        let says = |seq, missing, hash: &str| {
            is_wrong(&Served { seq, missing, hash: hash.to_owned() }, &*folded).unwrap()
        };
        let other = "0".repeat(64);
        assert!(!says(3, 3, &hash));
        assert!(says(3, 3, &other) && says(3, 4, &other));
        assert!(!says(3, 2, &other), "it knows what cannot be read any more");
        assert!(!says(4, 3, &other), "another moment");
    }
}
