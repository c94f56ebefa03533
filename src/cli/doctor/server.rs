//! Who holds the journal, and the server.

use std::time::{Duration, Instant};

use super::{Finding, Fixed, Found, Look};
use crate::cli::autostart;
use crate::cli::display::age;
use crate::client::Server;
use crate::config::guard;
use crate::error::Error;
use crate::store::Role;
use crate::wire::{Health, path};

/// No file of a holder is larger.
const LOCK_BYTES_MAX: u64 = 64 << 10;
/// How long a process that ends may hold the lock after its last connection went, and how often that is looked at.
const LAST_MOMENT: Duration = Duration::from_millis(500);
const AGAIN: Duration = Duration::from_millis(5);
const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) fn lock(look: &Look<'_>) -> Found {
    // Opened as every file here: a planted link is told.
    let bytes = guard::read_if_present(&look.dir.lock(), LOCK_BYTES_MAX)?;
    Ok(match (&look.holder, bytes) {
        (Some(holder), _) => {
            Finding::pass(format!("held by a {} (process {})", holder.role.name(), holder.process.pid))
        }
        (None, Some(bytes)) if !bytes.iter().all(u8::is_ascii_whitespace) => {
            Finding::pass("nobody holds the journal; its last holder was killed")
        }
        (None, _) => Finding::pass("nobody holds the journal"),
    })
}

/// Whether `server.json` names a server that does not hold the journal.
fn is_stale(look: &Look<'_>) -> Result<bool, Error> {
    let is_there = std::fs::symlink_metadata(look.dir.server_json()).is_ok();
    Ok(is_there && Server::find(&look.dir)?.is_none())
}

pub(super) fn server_file(look: &Look<'_>) -> Found {
    if is_stale(look)? {
        return Ok(Finding::warn(
            "server.json names a server that is gone: it was killed",
            "nobody believes it; the next server replaces it",
        ));
    }
    Ok(Finding::pass("server.json and the lock agree"))
}

pub(super) fn remove_server_file(look: &Look<'_>) -> Fixed {
    // Looked at anew: a server may have started since, and the file may be its own.
    let is_servers = crate::store::holder(&look.dir).is_some_and(|holder| holder.role == Role::Server);
    if is_servers || !is_stale(look)? {
        return Ok(Vec::new());
    }
    let path = look.dir.server_json();
    std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    Ok(vec!["removed the server.json of a server that is gone".to_owned()])
}

/// Whether the server that did not answer is gone. Of a process that ends, the connections go first and the lock a moment later.
pub(super) fn has_gone(look: &Look<'_>) -> Result<bool, Error> {
    let began = Instant::now();
    while Server::find(&look.dir)?.is_some() {
        if began.elapsed() >= LAST_MOMENT {
            return Ok(false);
        }
        std::thread::sleep(AGAIN);
    }
    Ok(true)
}

pub(super) fn server(look: &Look<'_>) -> Found {
    let Some(server) = Server::find(&look.dir)? else {
        let held = look.holder.as_ref().filter(|holder| holder.role == Role::Server);
        return Ok(match held {
            Some(holder) => Finding::warn(
                format!("process {} holds the journal and does not listen", holder.process.pid),
                "it may be starting or ending: look again in a moment",
            ),
            None => Finding::pass("none runs; nothing is lost without one"),
        });
    };
    let place = format!("http://{}, process {}", server.addr(), server.runtime().pid);
    let health = match server.check_answers().and_then(|()| server.get_json(path::HEALTH)) {
        Ok(text) => serde_json::from_str::<Health>(&text)
            .map_err(|error| Error::failed(format!("{place}: its answer is not understood: {error}")))?,
        Err(_) if has_gone(look)? => {
            return Ok(Finding::warn(
                format!("{place} ended while it was asked"),
                "the next session starts another; look again in a moment",
            ));
        }
        Err(error) => {
            look.is_server_silent.set(true);
            return Ok(Finding::fail(
                format!("{place} does not answer: {error}"),
                "stop it with `mnemosyne api-server --stop`; the next session starts another",
            ));
        }
    };
    if health.status != "ok" {
        return Ok(Finding::fail(
            format!("{place} takes no events ({})", health.status),
            "look into log/server.log, check the disk, then stop it with `mnemosyne api-server --stop`",
        ));
    }
    Ok(if health.version == VERSION {
        Finding::pass(format!("{place}, version {VERSION}"))
    } else {
        Finding::warn(
            format!("{place} is version {}, and this is {VERSION}", health.version),
            "stop it with `mnemosyne api-server --stop`; the next session starts this version",
        )
    })
}

pub(super) fn auto_start(look: &Look<'_>) -> Found {
    if look.env.auto_start_disabled().unwrap_or(false) {
        return Ok(Finding::pass("MNEMOSYNE_DISABLE_AUTO_START_API keeps hooks from starting a server"));
    }
    let Some(last) = autostart::last(&look.dir).filter(autostart::Attempt::has_failed) else {
        return Ok(Finding::pass("no start of a server has failed"));
    };
    let ago = age(last.at, look.now);
    if autostart::has_served(&look.dir, &last) {
        return Ok(Finding::warn(
            format!("a server that a hook started {ago} ago came up and was killed"),
            "the next prompt starts another",
        ));
    }
    let why = last.error.map_or_else(String::new, |error| format!(": {error}"));
    let attempts = last.attempts;
    Ok(Finding::warn(
        format!(
            "a server that a hook started {ago} ago (attempt {attempts}) is gone without having stopped{why}"
        ),
        "log/server.log says why; the next start waits",
    ))
}

pub(super) fn forget_start(look: &Look<'_>) -> Fixed {
    autostart::forget(&look.dir)?;
    Ok(vec!["forgot the last start: the next prompt starts a server".to_owned()])
}
