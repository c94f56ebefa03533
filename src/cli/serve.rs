//! `serve`: the MCP server over stdio, for an agent that wants to ask its own record.
//!
//! It reads as any reading command does, request by request, and needs no data directory to begin: an agent starts it before the first
//! hook has made one. Until there is one each answer says so.

use super::{Context, Outcome, display};
use crate::error::Error;
use crate::event::payload;
use crate::mcp::{self, Desk};
use std::io::IsTerminal as _;
use std::time::Instant;

const TYPE: &str = "mcp";

/// Serves MCP over stdin and stdout, until stdin ends.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {}

/// Runs it.
///
/// # Errors
/// When a client does not speak the protocol.
pub fn run(_args: Args, context: &mut Context) -> Result<Outcome, Error> {
    let record = context.record()?;
    let dir = record.dir().path().display().to_string();
    if std::io::stdin().is_terminal() {
        context
            .out
            .note("this speaks MCP, one JSON-RPC message a line, to a program that asks; Ctrl-D ends it");
    }
    context.out.detail(&format!("the data directory is {dir}"));
    let since = Instant::now();
    let run = context.run().cloned();
    if let Some(run) = &run {
        run.emit(payload::ServerStarted {
            server_type: TYPE.to_owned(),
            listen_addr: "stdio".to_owned(),
            program_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        });
    }
    context.interrupt.take_over();
    let interrupt = context.interrupt.clone();
    let desk = Desk { record, run: run.as_ref().map(|run| (run.correlation(), run.started())) };
    let served = mcp::serve(desk, std::io::stdin(), std::io::stdout(), async move { interrupt.wait().await });
    let uptime_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
    let requests_handled = served.as_ref().map_or(0, |served| served.requests_handled);
    if let Some(run) = &run {
        run.emit(payload::ServerStopped { server_type: TYPE.to_owned(), uptime_ms, requests_handled });
    }
    served?.ended?;
    let requests = display::counted(requests_handled, "request");
    Ok(Outcome::with_summary(format!("{requests} in {}", display::duration(uptime_ms))))
}
