//! One message a line, in and out.
//!
//! Constraints first. A line may be of any length and hold anything: it is read into at most [`LINE_BYTES_MAX`], and what is too long is
//! passed over. What is no message is answered with the code that JSON-RPC has for it and goes no further. The end of the input
//! is told only when every request has its answer, so a client may write all it has to ask and close. The client may stop reading: then
//! nothing more is read from it either, because both channels are bounded.
//!
//! A thread reads and a thread writes, because neither can be given up in the middle: the process must be able to end while they wait.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rmcp::RoleServer;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, ErrorData, GetMeta as _, JsonRpcMessage,
    RequestId, ServerJsonRpcMessage,
};
use rmcp::transport::Transport;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use crate::event::text::json_escaped;

/// Longest line that is read: far more than the longest note.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Lines that wait on either side.
const LINES_WAITING: usize = 16;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The two streams as the protocol's library wants them.
pub(super) struct Lines {
    incoming: mpsc::Receiver<Line>,
    outgoing: mpsc::Sender<String>,
    open: Arc<Open>,
    /// Whether the first request was let through: what comes before it means nothing to anybody.
    begun: bool,
    requests: Count,
}

/// What is known at the end.
pub(super) struct Ends {
    /// Resolves when the last line was written, or nobody reads any more.
    pub(super) written: oneshot::Receiver<()>,
    pub(super) requests: Count,
}

#[derive(Clone, Default)]
pub(super) struct Count(Arc<AtomicU64>);

impl Count {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The requests without an answer.
#[derive(Default)]
struct Open {
    ids: Mutex<HashSet<RequestId>>,
    changed: watch::Sender<()>,
}

impl Open {
    fn ids(&self) -> MutexGuard<'_, HashSet<RequestId>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, id: &RequestId) {
        self.ids().remove(id);
        self.changed.send_replace(());
    }

    async fn none(&self) {
        let mut changed = self.changed.subscribe();
        while !self.ids().is_empty() {
            // The sender is part of this.
            let _ = changed.changed().await;
        }
    }
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
}

/// Starts both threads.
pub(super) fn open(
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
) -> std::io::Result<(Lines, Ends)> {
    let (sender, incoming) = mpsc::channel(LINES_WAITING);
    thread::Builder::new().name("mcp-input".into()).spawn(move || {
        let mut input = BufReader::new(input);
        while let Some(line) = next_line(&mut input, LINE_BYTES_MAX) {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    })?;
    let (outgoing, mut receiver) = mpsc::channel::<String>(LINES_WAITING);
    let (done, written) = oneshot::channel();
    let mut output = output;
    thread::Builder::new().name("mcp-output".into()).spawn(move || {
        while let Some(line) = receiver.blocking_recv() {
            // The reader is gone, and with the channel's end so is this side of it.
            if output.write_all(line.as_bytes()).and_then(|()| output.flush()).is_err() {
                break;
            }
        }
        drop(receiver);
        done.send(()).ok();
    })?;
    let (open, requests) = (Arc::new(Open::default()), Count::default());
    let lines = Lines { incoming, outgoing, open, begun: false, requests: requests.clone() };
    Ok((lines, Ends { written, requests }))
}

/// The next line without its end; none at the end of the input, and of one that cannot be read, which is as good.
fn next_line(input: &mut impl BufRead, bytes_max: usize) -> Option<Line> {
    let (mut line, mut too_long) = (Vec::new(), false);
    loop {
        let available = match input.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return None,
        };
        if available.is_empty() {
            // A last line needs no end.
            return (!line.is_empty()).then_some(Line::Whole(line));
        }
        let end = memchr::memchr(b'\n', available);
        let part = &available[..end.unwrap_or(available.len())];
        too_long |= line.len() + part.len() > bytes_max;
        if too_long {
            line.clear();
        } else {
            line.extend_from_slice(part);
        }
        let taken = end.map_or(available.len(), |end| end + 1);
        input.consume(taken);
        if end.is_some() {
            return Some(if too_long { Line::TooLong } else { Line::Whole(line) });
        }
    }
}

/// What a line holds.
enum Parsed {
    Nothing,
    Passed(Box<ClientJsonRpcMessage>),
    Refused(ErrorData, Option<RequestId>),
}

fn parsed(line: &[u8]) -> Parsed {
    let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line).trim_ascii();
    if line.is_empty() {
        return Parsed::Nothing;
    }
    let value: Value = match serde_json::from_slice(line) {
        Ok(value) => value,
        Err(error) => {
            let place = format!("line {}, column {}", error.line(), error.column());
            return Parsed::Refused(ErrorData::parse_error(format!("this is no JSON: {place}"), None), None);
        }
    };
    let invalid = |words: &'static str, id| Parsed::Refused(ErrorData::invalid_request(words, None), id);
    if value.is_array() {
        return invalid("batches are not taken: send one request a line", None);
    }
    let id = value.get("id").cloned().and_then(|id| serde_json::from_value::<RequestId>(id).ok());
    let is_notification = value.get("id").is_none() && value.get("method").is_some();
    let is_version_2 = value.get("jsonrpc").and_then(Value::as_str) == Some("2.0");
    match serde_json::from_value(value) {
        Ok(passed) => Parsed::Passed(Box::new(passed)),
        // Nobody waits for an answer to one.
        Err(_) if is_notification && is_version_2 => Parsed::Nothing,
        Err(_) => invalid("this is no JSON-RPC 2.0 message of the Model Context Protocol", id),
    }
}

/// Whether the protocol's library is to see something.
enum Admitted {
    Yes,
    No,
    Refused(ErrorData, RequestId),
}

impl Admitted {
    fn when(begun: bool) -> Admitted {
        if begun { Admitted::Yes } else { Admitted::No }
    }
}

impl Lines {
    /// Whether the library is to see it, or what is to be said to the client instead.
    fn admit(&mut self, passed: &ClientJsonRpcMessage) -> Admitted {
        match passed {
            JsonRpcMessage::Request(asked) => {
                self.requests.0.fetch_add(1, Ordering::Relaxed);
                if !self.open.ids().insert(asked.id.clone()) {
                    let words = "a request with this id has no answer yet: give each its own";
                    return Admitted::Refused(ErrorData::invalid_request(words, None), asked.id.clone());
                }
                let initializes = matches!(asked.request, ClientRequest::InitializeRequest(_));
                self.begun |= initializes || asked.request.get_meta().protocol_version().is_some();
                Admitted::Yes
            }
            JsonRpcMessage::Notification(told) => {
                if let ClientNotification::CancelledNotification(cancelled) = &told.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.open.close(id);
                }
                Admitted::when(self.begun)
            }
            JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => Admitted::when(self.begun),
        }
    }

    async fn refuse(&self, error: ErrorData, id: Option<RequestId>) {
        let line = written(&ServerJsonRpcMessage::error(error, id));
        // Without a reader the input ends too, which is seen by whoever waits for the next line.
        self.outgoing.send(line).await.ok();
    }
}

/// A message as its line.
fn written(sent: &ServerJsonRpcMessage) -> String {
    // What cannot be JSON is not among the types of the protocol.
    let text = serde_json::to_string(sent).unwrap_or_default();
    let mut line = json_escaped(&text).into_owned();
    line.push('\n');
    line
}

impl Transport<RoleServer> for Lines {
    type Error = std::io::Error;

    fn send(
        &mut self,
        item: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let (outgoing, open) = (self.outgoing.clone(), self.open.clone());
        async move {
            let id = match &item {
                JsonRpcMessage::Response(answer) => Some(answer.id.clone()),
                JsonRpcMessage::Error(error) => error.id.clone(),
                _ => None,
            };
            let sent = outgoing.send(written(&item)).await;
            if let Some(id) = id {
                open.close(&id);
            }
            sent.map_err(|_| std::io::ErrorKind::BrokenPipe.into())
        }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            let line = tokio::select! {
                line = self.incoming.recv() => line,
                () = self.outgoing.closed() => return None,
            };
            let parsed = match line {
                None => {
                    self.open.none().await;
                    return None;
                }
                Some(Line::Whole(line)) => parsed(&line),
                Some(Line::TooLong) => {
                    let words = format!("a line has at most {LINE_BYTES_MAX} bytes");
                    Parsed::Refused(ErrorData::invalid_request(words, None), None)
                }
            };
            match parsed {
                Parsed::Nothing => {}
                Parsed::Refused(error, id) => self.refuse(error, id).await,
                Parsed::Passed(passed) => match self.admit(&passed) {
                    Admitted::Yes => return Some(*passed),
                    Admitted::No => {}
                    Admitted::Refused(error, id) => self.refuse(error, Some(id)).await,
                },
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.incoming.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(input: &[u8], bytes_max: usize) -> Vec<Option<Vec<u8>>> {
        // Small reads, so that lines lie across them.
        let mut input = BufReader::with_capacity(3, input);
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut input, bytes_max) {
            lines.push(match line {
                Line::Whole(line) => Some(line),
                Line::TooLong => None,
            });
        }
        lines
    }

    #[test]
    fn a_line_that_is_too_long_costs_itself_and_no_other() {
        let whole = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(
            lines_of(b"ab\n0123456789\ncd\n\nef", 4),
            [whole("ab"), None, whole("cd"), whole(""), whole("ef")]
        );
        assert_eq!(lines_of(b"0123\n", 4), [whole("0123")]);
        assert_eq!(lines_of(b"", 4), []);
    }

    #[test]
    fn what_is_no_message_is_answered_with_its_code() {
        let code = |line: &str| match parsed(line.as_bytes()) {
            Parsed::Refused(error, id) => Some((error.code.0, id.map(|id| id.to_string()))),
            Parsed::Nothing => None,
            Parsed::Passed(_) => panic!("{line} passed"),
        };
        assert_eq!(code("{"), Some((-32700, None)));
        assert_eq!(code(&"[".repeat(100_000)), Some((-32700, None)));
        assert_eq!(code(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#), Some((-32600, None)));
        assert_eq!(code("3"), Some((-32600, None)));
        assert_eq!(code(r#"{"id":7,"method":"ping"}"#), Some((-32600, Some("7".to_owned()))));
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#), Some((-32600, None)));
        assert_eq!(code("  \r"), None);
        assert_eq!(code(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":3}"#), None);
    }

    #[test]
    fn what_is_a_message_passes_with_all_digits_of_its_numbers() {
        let line = "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"why\",\"arguments\":{\"seq\":18446744073709551615},\"_meta\":{\"progressToken\":4}}}\r";
        let Parsed::Passed(passed) = parsed(line.as_bytes()) else { panic!("it is a request") };
        let JsonRpcMessage::Request(asked) = *passed else { panic!("it is a request") };
        let ClientRequest::CallToolRequest(call) = asked.request else { panic!("of a tool") };
        assert_eq!(call.params.arguments.unwrap()["seq"].as_u64(), Some(u64::MAX));
    }
}
