//! `gc`: retention now. A server that runs does it, since it holds the journal; else this command takes the lock.

use super::{Context, Outcome, display};
use crate::client::{self, Server};
use crate::clock;
use crate::config::{DataDir, Settings};
use crate::error::Error;
use crate::projection::retention::{self, Report};
use crate::projection::snapshot::Files;
use crate::store::retention::Pace;
use crate::store::{Opening, Store};

/// Drops the oldest segments that `retention.max_age` and `retention.max_bytes` let go, all of them at once.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Only say what would go, what stays and why
    #[arg(long)]
    pub dry_run: bool,
}

/// Applies it.
///
/// # Errors
/// No data directory, a journal that another process holds, a base that cannot be written: then nothing goes.
#[expect(clippy::needless_pass_by_value, reason = "the shape of every command")]
pub fn run(args: Args, context: &mut Context) -> Result<Outcome, Error> {
    let dir = context.open_data_dir()?;
    let report = if let Some(server) = Server::find(&dir)? {
        server.check_answers().map_err(holds_on)?;
        server.gc(args.dry_run).map_err(fell_silent)?
    } else {
        by_itself(&dir, args.dry_run, context)?
    };
    let summary = words(&report);
    if context.out.is_json() {
        context.out.json(&report)?;
    } else {
        context.out.line(&summary)?;
        let kept = &report.kept;
        let (segments, bytes) =
            (display::counted(kept.segments, "segment"), display::counted(kept.bytes, "byte"));
        let first = kept.first_seq;
        context.out.line(&format!("from seq {first} on, {segments} of {bytes} stay: {}", kept.why))?;
    }
    Ok(Outcome::with_summary(summary))
}

/// The server holds the journal and does not answer: only it could.
fn holds_on(error: client::Error) -> Error {
    match Error::from(error) {
        Error::Server { code, message } => Error::Server {
            code,
            message: format!(
                "{message}, and it holds the journal: nothing went. If it hangs, end its process; `mnemosyne status` names it"
            ),
        },
        other => other,
    }
}

/// It was there when it was asked, and did not say to the end what it did.
fn fell_silent(error: client::Error) -> Error {
    let is_known = !error.outcome_unknown();
    match Error::from(error) {
        Error::Server { code, message } if !is_known => Error::Server {
            code,
            message: format!(
                "{message}, so it is not known what went; what it has begun it goes on with, now or at its next start. \
                 If it hangs, end its process; `mnemosyne status` names it"
            ),
        },
        other => other,
    }
}

/// With the lock, where no server holds it.
fn by_itself(dir: &DataDir, dry_run: bool, context: &Context) -> Result<Report, Error> {
    let settings = Settings::load(dir, &context.env)?;
    let policy = settings.retention;
    let instance = clock::new_id(&*context.clock).to_string();
    // Nothing is told by who only looks, and who comes to make room gets in.
    let opening = Opening {
        tells: !dry_run,
        bears_full_disk: true,
        ..Opening::command(instance, context.clock.clone(), settings)
    };
    let (store, _) = Store::open(dir, opening)?;
    let files = Files::new(dir.snapshots(), store.journal_id().to_bytes()).with_base(dir.base());
    let applied = retention::apply(&store, &files, &policy, Pace::All, dry_run);
    let closed = store.close();
    let report = applied?;
    closed.map(|()| report)
}

fn words(report: &Report) -> String {
    let Some(dropped) = &report.dropped else { return "nothing goes".to_owned() };
    let verb = if report.dry_run { "would go" } else { "went" };
    format!(
        "seq {} to {} {verb}, for their {}: {}, {}",
        dropped.from_seq,
        dropped.to_seq,
        dropped.reason,
        display::counted(dropped.segments, "segment"),
        display::counted(dropped.bytes, "byte")
    )
}
