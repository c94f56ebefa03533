//! What can go wrong between a command and a server.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::wire::ErrorCode;

/// A request that brought no answer, or the wrong one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection. Nothing was sent.
    #[error("cannot reach the server at {addr}: {source}")]
    Unreachable {
        /// Where it should listen.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The connection broke after the request was sent: whether an emit was stored is unknown, so send it again
    /// with the same ids.
    #[error("the connection to the server at {addr} broke before it answered: {reason}")]
    Broken {
        /// Where it listens.
        addr: SocketAddr,
        /// What HTTP says.
        reason: String,
    },
    /// No answer in time; the outcome is unknown, as with [`Error::Broken`].
    #[error("the server at {addr} did not answer within {} s", limit.as_secs())]
    TimedOut {
        /// Where it listens.
        addr: SocketAddr,
        /// How long was waited.
        limit: Duration,
    },
    /// The server said no, and why.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// A word of [`ErrorCode`], or one of a newer server.
        code: String,
        /// What to do, for a person.
        message: String,
        /// Which field or parameter.
        field: Option<String>,
        /// The true value where the request assumed another.
        actual: Option<u64>,
        /// When it says that it is worth trying again.
        retry_after: Option<Duration>,
    },
    /// An answer that is not of our protocol.
    #[error("the server at {addr} gave an answer that is not understood: {reason}")]
    Protocol {
        /// Where it listens.
        addr: SocketAddr,
        /// What is wrong with it.
        reason: String,
    },
    /// A request could not be made at all.
    #[error("cannot make a request: {0}")]
    Local(String),
}

impl Error {
    /// The stable word of this error.
    pub fn code(&self) -> &str {
        match self {
            Error::Unreachable { .. } => "server_unreachable",
            Error::Broken { .. } => "server_connection_broken",
            Error::TimedOut { .. } => "server_timed_out",
            Error::Refused { code, .. } => code,
            Error::Protocol { .. } => "server_protocol",
            Error::Local(_) => "client_failed",
        }
    }

    /// Whether the server refused with `code`.
    pub fn is(&self, code: ErrorCode) -> bool {
        matches!(self, Error::Refused { code: said, .. } if said == code.code())
    }

    /// How long to wait before sending the same again, if the server said that it came too fast. At least a moment, so that a
    /// header of 0 makes no loop without a pause.
    pub fn pause(&self) -> Option<Duration> {
        match self {
            Error::Refused { retry_after, .. } if self.is(ErrorCode::RateLimited) => {
                Some(retry_after.unwrap_or(Duration::from_secs(1)).max(Duration::from_millis(100)))
            }
            _ => None,
        }
    }

    /// Whether the request may have had its effect although no answer says so. Repeating it is safe when its
    /// events carry ids.
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Error::Broken { .. } | Error::TimedOut { .. })
    }
}

impl From<Error> for crate::error::Error {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let code = match &error {
            Error::Refused { code, .. } => {
                ErrorCode::from_code(code).map_or("server_refused", ErrorCode::code)
            }
            Error::Unreachable { .. } => "server_unreachable",
            Error::Broken { .. } => "server_connection_broken",
            Error::TimedOut { .. } => "server_timed_out",
            Error::Protocol { .. } => "server_protocol",
            Error::Local(_) => "client_failed",
        };
        crate::error::Error::Server { code, message }
    }
}
