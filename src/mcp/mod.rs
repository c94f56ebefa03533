//! The MCP server over stdio: the agent itself asks its own record.
//!
//! **What it is.** One JSON-RPC 2.0 message a line on stdin and stdout, as the Model Context Protocol has it; `rmcp` knows the protocol, this
//! module the tools. Stdout carries the protocol and nothing else; words go to stderr.
//!
//! **How it works.** A thread reads lines ([`lines`]), bounded, and answers what is no request. A request for a tool is looked up in the
//! one table ([`tools::TOOLS`]), its arguments are read into the struct from which its schema is made, and the question is put to the data
//! directory on a thread of its own, as the command of that name would put it: inbox drained, journal opened, read, let go. Nothing is
//! held between two requests, so a server may come and go beside it, and so may the directory. The answer is the command's `--json` object,
//! cut to [`ANSWER_BYTES_MAX`] if need be, which it then says ([`bound`]).
//!
//! **How it ends.** At the end of stdin, once what was asked is answered; at a signal, with what runs given up.

mod asks;
mod bound;
mod handler;
mod lines;
mod reference;
mod tools;

use std::io::{Read, Write};
use std::time::Duration;

use rmcp::service::{QuitReason, ServerInitializeError};
use uuid::Uuid;

use crate::answers::Record;
use crate::error::Error;

pub use bound::ANSWER_BYTES_MAX;
pub use lines::LINE_BYTES_MAX;
pub use reference::reference;

/// How long the end waits for a tool that is at work, and for a client that does not read.
const END_BOUND: Duration = Duration::from_secs(2);

/// What the tools work on.
pub struct Desk {
    /// The data directory that is asked.
    pub record: Record,
    /// Correlation and start of the run that this is, where it is on record: notes belong to it.
    pub run: Option<(Uuid, Uuid)>,
}

/// What a server has done.
#[derive(Debug)]
pub struct Served {
    /// Requests that came, answered or refused.
    pub requests_handled: u64,
    /// How it ended: an error where a client did not begin as the protocol wants.
    pub ended: Result<(), Error>,
}

/// Serves until `input` ends or `stop` resolves.
///
/// # Errors
/// When the system gives no thread: nothing was served.
pub fn serve(
    desk: Desk,
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
    stop: impl Future<Output = ()>,
) -> Result<Served, Error> {
    let refused = |error| Error::failed(format!("cannot serve: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(refused)?;
    let (lines, ends) = lines::open(input, output).map_err(refused)?;
    let ended = runtime.block_on(async {
        let ended = tokio::select! {
            () = stop => Ok(()),
            ended = to_the_end(handler::Handler::new(desk), lines) => ended,
        };
        // Dropped above, the lines are closed; what is on its way out still goes, to a client that reads.
        tokio::time::timeout(END_BOUND, ends.written).await.ok();
        ended
    });
    runtime.shutdown_timeout(END_BOUND);
    Ok(Served { requests_handled: ends.requests.get(), ended })
}

async fn to_the_end(handler: handler::Handler, lines: lines::Lines) -> Result<(), Error> {
    let running = match rmcp::serve_server(handler, lines).await {
        Ok(running) => running,
        Err(ServerInitializeError::ConnectionClosed(_) | ServerInitializeError::TransportError { .. }) => {
            return Ok(());
        }
        Err(_) => {
            return Err(Error::failed(
                "the client did not begin with `initialize`, as the Model Context Protocol wants it",
            ));
        }
    };
    match running.waiting().await {
        Ok(QuitReason::Closed | QuitReason::Cancelled) => Ok(()),
        Ok(_) | Err(_) => Err(Error::failed("an internal error ended the server")),
    }
}
