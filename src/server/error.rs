//! One mapping from what fails inside to what the caller is told.
//!
//! A refusal is told to the caller and not logged; a failure of ours is logged in full and told in one sentence
//! without a path in it. Neither holds a payload or a token.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::error::Error;
use crate::wire::{ErrorBody, ErrorCode};

/// An answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    message: String,
    field: Option<String>,
    actual: Option<u64>,
    /// Seconds after which it is worth trying again.
    retry_after: Option<u64>,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Refusal {
        let retry_after = matches!(code, ErrorCode::Stopping | ErrorCode::TooManyConnections).then_some(1);
        Refusal { code, message: message.into(), field: None, actual: None, retry_after }
    }

    /// Says when it is worth trying again.
    pub(crate) fn retry_after(mut self, seconds: u64) -> Refusal {
        self.retry_after = Some(seconds);
        self
    }

    /// Says which field or parameter is meant.
    pub(crate) fn field(mut self, field: impl Into<String>) -> Refusal {
        self.field = Some(field.into());
        self
    }

    /// Says what is true where the request assumed something else.
    pub(crate) fn actual(mut self, actual: u64) -> Refusal {
        self.actual = Some(actual);
        self
    }

    /// A query parameter with a value that it cannot take.
    pub(crate) fn parameter(name: &str, message: impl Into<String>) -> Refusal {
        Refusal::new(ErrorCode::InvalidParameter, message).field(name)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut body = ErrorBody::new(self.code, self.message, self.field);
        body.error.actual = self.actual;
        let mut response = super::json_response(status, &body);
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let message = error.to_string();
        match error {
            Error::Usage { .. } => Refusal::new(ErrorCode::InvalidParameter, message),
            Error::Invalid { field, message } => Refusal::new(ErrorCode::OutOfRange, message).field(field),
            Error::NotFound { .. } => Refusal::new(ErrorCode::NotFound, message),
            Error::JournalPoisoned { .. } => Refusal::new(ErrorCode::JournalPoisoned, message),
            Error::StorageFull { .. } => Refusal::new(ErrorCode::StorageFull, message),
            Error::Conflict { actual, .. } => {
                Refusal::new(ErrorCode::Conflict, message).field("expected_seq").actual(actual)
            }
            Error::CursorAhead { last, .. } => Refusal::new(ErrorCode::CursorAhead, message).actual(last),
            Error::BeforeBase { first, .. } | Error::BeforeBaseAt { first, .. } => {
                Refusal::new(ErrorCode::Gone, message).actual(first)
            }
            Error::OtherJournal { .. } => Refusal::new(ErrorCode::OtherJournal, message).field("journal"),
            Error::BatchSize { .. } => Refusal::new(ErrorCode::OutOfRange, message),
            Error::Closed { .. } => Refusal::new(ErrorCode::Stopping, message),
            // What remains is ours to mend. Its sentence may hold paths, so the log gets it, not the caller.
            failure => {
                tracing::error!(code = failure.code(), error = %failure, "a request failed");
                Refusal::new(
                    ErrorCode::Internal,
                    format!("the server failed ({}); its log says why", failure.code()),
                )
            }
        }
    }
}

/// Headers that every JSON answer has.
pub(crate) fn json_headers(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}
