//! The errors of the HTTP interface: one table of stable codes, and the JSON object that carries them.

use serde::{Deserialize, Serialize};

/// One row a code: variant, the stable word on the wire, the HTTP status, and what it means for the caller.
/// `docs/http.md` shows the same rows; a test compares them.
macro_rules! error_codes {
    ($($variant:ident $code:literal $status:literal $meaning:literal;)+) => {
        /// Why a request was refused. The words never change; new ones may be added.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $(#[doc = $meaning] $variant,)+
        }

        impl ErrorCode {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)+];

            /// The stable word.
            pub const fn code(self) -> &'static str {
                match self { $(ErrorCode::$variant => $code,)+ }
            }

            /// The HTTP status that goes with it.
            pub const fn status(self) -> u16 {
                match self { $(ErrorCode::$variant => $status,)+ }
            }

            /// One sentence for the documentation.
            pub const fn meaning(self) -> &'static str {
                match self { $(ErrorCode::$variant => $meaning,)+ }
            }
        }
    };
}

error_codes! {
    MalformedJson "malformed_json" 400 "The body is not the JSON that the route takes; nothing was stored.";
    TooDeep "too_deep" 400 "The body nests arrays and objects deeper than 64; nothing was stored.";
    UnknownKind "unknown_kind" 400 "No such event kind; use `custom` with a name and data of your own.";
    OwnKind "own_kind" 400 "Only the program itself emits this kind; use `custom`.";
    MissingField "missing_field" 400 "A required field is absent; `field` says which.";
    WrongType "wrong_type" 400 "A field has a value of the wrong type; `field` says which.";
    OutOfRange "out_of_range" 400 "A field has a value that it cannot take, or an array is empty or holds more than 1,000 events; `field` says which.";
    UnknownField "unknown_field" 400 "A field that an event does not have outside its payload; `field` says which.";
    InvalidParameter "invalid_parameter" 400 "A query parameter has a value that it cannot take; `field` says which.";
    UnknownParameter "unknown_parameter" 400 "The route has no such query parameter; `field` says which.";
    InvalidCursor "invalid_cursor" 400 "The cursor is not a seq: send an `id:` that a stream gave you, or none.";
    Unauthorized "unauthorized" 401 "The token is missing or wrong; it stands in server.json of the data directory.";
    ForbiddenHost "forbidden_host" 403 "The Host header does not name this server; use the address in server.json.";
    ForbiddenOrigin "forbidden_origin" 403 "The request comes from a page of another site.";
    NotFound "not_found" 404 "No such route, or nothing of that name or seq.";
    MethodNotAllowed "method_not_allowed" 405 "The route does not take this method; `Allow` says which it takes.";
    RequestTimeout "request_timeout" 408 "The body did not arrive within 30 seconds; nothing was stored.";
    Conflict "conflict" 409 "`expected_seq` is not the next seq; `actual` says what is; nothing was stored.";
    CursorAhead "cursor_ahead" 409 "The cursor lies beyond the durable tail, so it is of another journal or of a lost one; `actual` says the tail.";
    OtherJournal "other_journal" 409 "`journal` does not name the journal served here; begin anew without a cursor.";
    Gone "gone" 410 "The event was dropped by retention or damaged and can no longer be read.";
    BodyTooLarge "body_too_large" 413 "The body is over 1 MiB (16 MiB for a hook); nothing was stored.";
    UnsupportedMediaType "unsupported_media_type" 415 "Only application/json is taken.";
    UnsupportedEncoding "unsupported_encoding" 415 "Compressed bodies are not taken.";
    RateLimited "rate_limited" 429 "The source emits more than `emit.rate_per_second` lets in; nothing was stored. Send it again after `Retry-After` seconds.";
    Internal "internal" 500 "The server failed; its log says why. An emit may or may not have been stored: send it again with the same ids.";
    JournalPoisoned "journal_poisoned" 503 "A flush failed, so nothing more is written until the server restarts; reading goes on.";
    Stopping "stopping" 503 "The server is stopping; try again, or go without it.";
    TooManyConnections "too_many_connections" 503 "4,096 connections are open; close one or try again.";
    StorageFull "storage_full" 507 "The disk is full; nothing was stored. Writing goes on when there is space.";
}

impl ErrorCode {
    /// The code of that word.
    pub fn from_code(code: &str) -> Option<ErrorCode> {
        ErrorCode::ALL.iter().copied().find(|known| known.code() == code)
    }
}

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Its only field.
    pub error: ErrorDetail,
}

/// What went wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// A word of [`ErrorCode`]; a newer server may send one that this program does not know.
    pub code: String,
    /// A sentence for a person.
    pub message: String,
    /// Which field or parameter, like `[3].payload.tool`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub field: Option<String>,
    /// The true value where the request assumed another.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub actual: Option<u64>,
}

impl ErrorBody {
    /// The body for `code`.
    pub fn new(code: ErrorCode, message: impl Into<String>, field: Option<String>) -> ErrorBody {
        ErrorBody {
            error: ErrorDetail { code: code.code().to_owned(), message: message.into(), field, actual: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_distinct_snake_case_words_with_an_error_status() {
        let words: BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.code()).collect();
        assert_eq!(words.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            assert!(code.code().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code:?}");
            assert!((400..600).contains(&code.status()), "{code:?}");
            assert_eq!(ErrorCode::from_code(code.code()), Some(*code));
        }
    }

    #[test]
    fn the_documentation_lists_every_code_with_its_status_and_meaning() {
        let page = include_str!("../../docs/http.md");
        let table = page.split_once("| code | status | meaning |").expect("a table of errors").1;
        let rows: Vec<_> = table.lines().filter(|line| line.starts_with("| `")).collect();
        let wanted: Vec<_> = ErrorCode::ALL
            .iter()
            .map(|code| format!("| `{}` | {} | {} |", code.code(), code.status(), code.meaning()))
            .collect();
        assert_eq!(rows, wanted);
    }

    #[test]
    fn absent_fields_are_left_out_of_the_body() {
        let body =
            serde_json::to_string(&ErrorBody::new(ErrorCode::NotFound, "no such route", None)).unwrap();
        assert_eq!(body, r#"{"error":{"code":"not_found","message":"no such route"}}"#);
    }
}
