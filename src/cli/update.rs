//! `update`: which versions of this program are in use here, and how to install another. It installs nothing and asks nobody
//! over a network.

use std::collections::BTreeMap;

use serde_json::json;

use super::display::{Role, visible};
use super::table::{Cell, Table};
use super::{Context, Exit, Outcome, detach};
use crate::agent::claude::{registration, version};
use crate::client::Server;
use crate::error::Error;
use crate::event::{Filter, Kind, payload};
use crate::store::{Item, View};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const INSTALL: &str = "cargo install --path . --locked";

/// Arguments.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Exit with 1 when not everything in use here is of this program's version
    #[arg(long)]
    check: bool,
}

/// A program in use.
struct InUse {
    what: &'static str,
    place: String,
    version: Option<String>,
}

/// Says it.
///
/// # Errors
/// When it cannot be told which program this is.
#[expect(clippy::needless_pass_by_value, reason = "the shape of every command")]
pub fn run(args: Args, context: &mut Context) -> Result<Outcome, Error> {
    let found = in_use(context)?;
    // The journal's history holds older ones; only a newer one counts.
    let is_other = |one: &&InUse| match &one.version {
        Some(version) if one.what == "journal" => version::numbers(version) > version::numbers(VERSION),
        version => version.as_deref() != Some(VERSION),
    };
    let others = found.iter().filter(is_other).count();
    let newest = found
        .iter()
        .filter_map(|one| one.version.as_deref())
        .max_by_key(|found| version::numbers(found))
        .filter(|found| version::numbers(found) > version::numbers(VERSION));
    let advice = match (newest, others) {
        (Some(newest), _) => {
            format!("version {newest} is in use here, newer than this one ({VERSION}): run that one")
        }
        (None, 0) => {
            format!("everything in use here is version {VERSION}; whether there is a newer one is not asked")
        }
        (None, _) => {
            format!(
                "not everything in use here is version {VERSION}: install it there, and stop an older server"
            )
        }
    };
    if context.out.is_json() {
        let programs: Vec<_> = found
            .iter()
            .map(|one| json!({"what": one.what, "place": one.place, "version": one.version}))
            .collect();
        context.out.json(&json!({
            "version": 1, "this": VERSION, "in_use": programs, "newest": newest.unwrap_or(VERSION),
            "same": others == 0, "install": INSTALL,
        }))?;
    } else {
        let mut table = Table::new(["WHAT", "VERSION", "WHERE"]);
        for one in &found {
            let version = one.version.as_deref().unwrap_or("-");
            table.row([
                Cell::words(one.what).role(Role::Strong),
                Cell::words(version),
                Cell::words(&one.place),
            ]);
        }
        let style = context.out.style();
        table.lines(style).iter().try_for_each(|line| context.out.line(line))?;
        context.out.line(&visible(&advice))?;
        context.out.line(&format!("install  in a checkout of the version that you want: {INSTALL}"))?;
    }
    let exit = if args.check && others > 0 { Exit::Failed } else { Exit::Done };
    Ok(Outcome { exit, summary: Some(advice) })
}

fn in_use(context: &Context) -> Result<Vec<InUse>, Error> {
    let this = detach::this_program()?.to_string_lossy().into_owned();
    let mut found = vec![InUse { what: "this program", place: this, version: Some(VERSION.to_owned()) }];
    let registered: BTreeMap<_, _> =
        registration::registrations(&context.claude_settings(), context.foreign_project())
            .into_iter()
            .map(|one| (one.program, one.version))
            .collect();
    found.extend(registered.into_iter().map(|(program, version)| InUse {
        what: "hooks",
        place: program.to_string_lossy().into_owned(),
        version,
    }));
    if let Some(server) = Server::find(&context.locate_data_dir()?)? {
        let runtime = server.runtime();
        found.push(InUse {
            what: "server",
            place: format!("http://{}, process {}", runtime.addr, runtime.pid),
            version: Some(runtime.version.clone()),
        });
    }
    found.extend(newest_writer(context)?);
    Ok(found)
}

/// The newest of the servers that wrote the journal, as far as they told: what a newer one wrote an older one may not read.
fn newest_writer(context: &Context) -> Result<Option<InUse>, Error> {
    let dir = context.locate_data_dir()?;
    if dir.open_existing().is_err() {
        return Ok(None);
    }
    let view = View::open(&dir)?;
    let starts = Filter::from_pairs([("kind", Kind::ServerStarted.name())])
        .map_err(|error| Error::failed(error.to_string()))?;
    let mut newest: Option<InUse> = None;
    let mut replay = view.replay(view.first()).filtered(starts);
    while let Some(item) = replay.next()? {
        let Item::Event(stored) = item else { continue };
        // One that an older program wrote does not name a version, and one that cannot be read names none.
        let told = stored.event.payload.read::<payload::ServerStarted>().ok();
        let Some(version) = told.and_then(|started| started.program_version) else { continue };
        let before = newest.as_ref().and_then(|one| one.version.as_deref()).and_then(version::numbers);
        if version::numbers(&version) >= before {
            let place = format!("a server at seq {}", stored.seq);
            newest = Some(InUse { what: "journal", place, version: Some(version) });
        }
    }
    Ok(newest)
}
