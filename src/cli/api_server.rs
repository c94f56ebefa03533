//! `api-server`: records and serves; also in the background, and the safe stop.
//!
//! A server is stopped by asking the very process that holds the journal: the lock names it by pid and start time,
//! and on Linux the signal goes to a handle of that process, so that a stranger who was given its pid meanwhile gets
//! nothing. Never is a process looked for by its name.

use super::{Context, Outcome, autostart, detach, display};
use crate::client::{Proven, Server};
use crate::clock::ProcessStamp;
use crate::config::guard::{self, How};
use crate::config::{DataDir, Settings};
use crate::error::Error;
use crate::server::{self, Options};
use crate::store::{self, Role, inbox};
use crate::wire::{self, Runtime};
use serde_json::json;
use std::ffi::OsString;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::SocketAddr;
use std::process::Child;
use std::time::{Duration, Instant};

/// How long `--background` waits for the server's first answer.
const START_BOUND: Duration = Duration::from_secs(10);
/// How long `--stop` waits for the end: longer than a server waits for its own last answers.
const STOP_BOUND: Duration = Duration::from_secs(30);
/// How often either looks.
const LOOK: Duration = Duration::from_millis(10);
/// Lines of the log that a failed start shows.
const LOG_LINES: usize = 5;
/// So much of its end is read for them.
const LOG_BYTES_SHOWN: u64 = 16 * 1024;

/// Records and serves over HTTP, until Ctrl-C or SIGTERM.
#[derive(Debug, Clone, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Args {
    /// Where to listen; port 0 is any free one [default: the configured address, or any free port if that is taken]
    #[arg(long, value_name = "ADDR")]
    pub addr: Option<SocketAddr>,
    /// Run in the background, once it answers
    #[arg(long, conflicts_with = "stop")]
    pub background: bool,
    /// Stop the server that runs on this data directory, and wait until it is gone
    #[arg(long, conflicts_with = "addr")]
    pub stop: bool,
    /// What --background starts
    #[arg(long, hide = true)]
    pub detached: bool,
    /// What a hook starts: in the background, content where another server runs, and gone when nobody needs it
    #[arg(long, hide = true)]
    pub unasked: bool,
    /// What demo starts: ends when the process that started it does
    #[arg(long, hide = true)]
    pub with_parent: bool,
}

/// Serves, starts one that does, or stops it.
///
/// # Errors
/// A server that runs already, an address that cannot be had, a journal that cannot be opened; for `--stop`, none.
#[expect(clippy::needless_pass_by_value, reason = "the shape of every command")]
pub fn run(args: Args, context: &mut Context) -> Result<Outcome, Error> {
    if args.with_parent {
        detach::end_with_parent();
    }
    if args.stop {
        stop(context)
    } else if args.background {
        background(&args, context)
    } else {
        serve(&args, context)
    }
}

fn serve(args: &Args, context: &mut Context) -> Result<Outcome, Error> {
    if args.detached || args.unasked {
        detach::let_go()?;
    }
    let dir = context.create_data_dir()?;
    let settings = Settings::load(&dir, &context.env)?;
    let log_level = context.env.text("MNEMOSYNE_LOG").map(str::to_owned);
    let options = Options { dir: dir.clone(), settings, addr: args.addr, lingers: args.unasked, log_level };
    context.interrupt.take_over();
    let interrupt = context.interrupt.clone();
    let shutdown = async move { interrupt.wait().await };
    let mut told = Ok(());
    let served = match server::run(&options, shutdown, |runtime| told = tell(runtime, &dir, context)) {
        // Somebody was quicker, which is as good.
        Err(Error::ServerRunning { pid, .. }) if args.unasked => {
            return Ok(Outcome::with_summary(format!("process {pid} serves already")));
        }
        served => served?,
    };
    autostart::forget(&dir)?;
    if served.came_late || (served.left_with.is_some() && inbox::any(&dir.inbox())?) {
        // A session that began while it left saw a server, and started none. What it left is in the journal or still waits.
        autostart::ensure_server(&dir, &context.env)?;
    }
    match told {
        // Nobody reads the address; the server has served all the same.
        Ok(()) | Err(Error::OutputClosed) => {}
        Err(error) => return Err(error),
    }
    let requests = display::counted(served.requests_handled, "request");
    let uptime = display::duration(u64::try_from(served.uptime.as_millis()).unwrap_or(u64::MAX));
    Ok(Outcome::with_summary(format!("{requests} in {uptime}")))
}

/// The address, once somebody can connect to it.
fn tell(runtime: &Runtime, dir: &DataDir, context: &mut Context) -> Result<(), Error> {
    let out = &mut context.out;
    if out.is_json() {
        let data_dir = dir.path().to_string_lossy();
        out.json(&json!({"version": 1, "addr": runtime.addr, "pid": runtime.pid, "data_dir": data_dir}))?;
    } else {
        out.line(&format!("http://{}", runtime.addr))?;
    }
    out.flush()?;
    out.note(&format!("recording into {}", dir.path().display()));
    Ok(())
}

fn background(args: &Args, context: &mut Context) -> Result<Outcome, Error> {
    let dir = context.create_data_dir()?;
    if let Some(server) = Server::find(&dir)? {
        let Runtime { pid, addr, .. } = server.runtime();
        return Err(Error::ServerRunning { pid: *pid, address: format!("http://{addr}") });
    }
    let mut arguments: Vec<OsString> =
        vec!["--data-dir".into(), dir.path().into(), "api-server".into(), "--detached".into()];
    if let Some(addr) = args.addr {
        arguments.extend(["--addr".into(), addr.to_string().into()]);
    }
    dir.refuse_links()?;
    let log = guard::open(&dir.log_file(), How::Append)?;
    let mut child = detach::start(&arguments, log)?;
    match wait_for_answer(&mut child, &dir) {
        Ok(server) => {
            let runtime = server.runtime().clone();
            tell(&runtime, &dir, context)?;
            Ok(Outcome::with_summary(format!("process {} listens on {}", runtime.pid, runtime.addr)))
        }
        Err(why) => {
            // A server that came too late would surprise whoever was told that none runs.
            end_child(&mut child);
            Err(Error::failed(format!("{why}; its log is {}{}", dir.log_file().display(), end_of_log(&dir))))
        }
    }
}

/// Waits until this very child is found and answers.
pub(super) fn wait_for_answer(child: &mut Child, dir: &DataDir) -> Result<Proven, String> {
    let deadline = Instant::now() + START_BOUND;
    while Instant::now() < deadline {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(format!("the server ended at once ({status})"));
        }
        if let Ok(Some(server)) = Server::find(dir)
            && server.runtime().pid == child.id()
            && server.get_json(wire::path::HEALTH).is_ok()
        {
            return Ok(server);
        }
        std::thread::sleep(LOOK);
    }
    Err(format!("the server did not answer within {} s", START_BOUND.as_secs()))
}

/// Ends a child of this process: asks first, and kills it when it does not hear.
pub(super) fn end_child(child: &mut Child) {
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        // It has not been waited for, so this pid is still its own, even if it has ended.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    let deadline = Instant::now() + STOP_BOUND;
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(LOOK);
    }
    // Its inbox and journal survive this; whoever opens them next takes up what is there.
    let _ = child.kill();
    let _ = child.wait();
}

pub(super) fn end_of_log(dir: &DataDir) -> String {
    // Without a log there is nothing to add to what went wrong.
    let text = read_end(dir).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.iter().skip(lines.len().saturating_sub(LOG_LINES));
    last.map(|line| format!("\n  {}", display::visible(line))).collect::<Vec<_>>().concat()
}

/// The last [`LOG_BYTES_SHOWN`] of the log.
fn read_end(dir: &DataDir) -> Option<String> {
    let mut file = guard::open(&dir.log_file(), How::Read).ok()?;
    let start = file.metadata().ok()?.len().saturating_sub(LOG_BYTES_SHOWN);
    file.seek(SeekFrom::Start(start)).ok()?;
    let mut end = Vec::new();
    file.take(LOG_BYTES_SHOWN).read_to_end(&mut end).ok()?;
    Some(String::from_utf8_lossy(&end).into_owned())
}

fn stop(context: &mut Context) -> Result<Outcome, Error> {
    let dir = context.open_data_dir()?;
    let none = || Error::NotFound {
        what: format!("a server on {}", dir.path().display()),
        hint: ": nothing was stopped".to_owned(),
    };
    let holder = store::holder(&dir).filter(|holder| holder.role == Role::Server).ok_or_else(none)?;
    let pid = holder.process.pid;
    if !terminate(holder.process)? {
        return Err(none());
    }
    let deadline = Instant::now() + STOP_BOUND;
    while holder.process.is_alive() {
        if context.interrupt.is_asked() {
            return Err(Error::Interrupted);
        }
        if Instant::now() >= deadline {
            let bound = STOP_BOUND.as_secs();
            return Err(Error::failed(format!(
                "process {pid} was asked to stop and still runs after {bound} s"
            )));
        }
        std::thread::sleep(LOOK);
    }
    if context.out.is_json() {
        context.out.json(&json!({"version": 1, "stopped": pid}))?;
    } else {
        context.out.line(&format!("stopped process {pid}"))?;
    }
    Ok(Outcome::with_summary(format!("stopped process {pid}")))
}

/// Sends SIGTERM to that very process; false when it is gone.
fn terminate(process: ProcessStamp) -> Result<bool, Error> {
    use rustix::io::Errno;
    let refused = |error: Errno| match error {
        Errno::SRCH => Ok(false),
        error => Err(Error::failed(format!("cannot ask process {} to stop: {error}", process.pid))),
    };
    let Some(pid) = i32::try_from(process.pid).ok().and_then(rustix::process::Pid::from_raw) else {
        return Ok(false);
    };
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(error) => return refused(error),
        };
        // The handle stands for one process for good; this says which.
        if !process.is_alive() {
            return Ok(false);
        }
        pidfd_send_signal(handle, Signal::TERM).map(|()| true).or_else(refused)
    }
    #[cfg(not(target_os = "linux"))]
    {
        if !process.is_alive() {
            return Ok(false);
        }
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).map(|()| true).or_else(refused)
    }
}
