//! The text of server-sent events: frames written by the server, and a decoder for whoever reads them.
//!
//! A frame of an event is `id: SEQ`, `event: KIND`, `data: JSON` and an empty line. Control frames move or
//! explain the cursor and can never be mistaken for an event, because no kind may take their names. Only a frame
//! that moves the cursor has an `id:`.
//!
//! `retry:` stands inside the first frame of a stream: a block of its own, without data, makes some clients
//! deliver an empty event. A sign of life is one comment line without an empty line after it, for the same reason.
//!
//! The decoder follows the WHATWG text: one byte order mark is dropped, lines end in CR, LF or CRLF wherever the
//! chunks are cut, an id with a NUL is ignored, a block without data delivers nothing, and an unfinished block at
//! the end of the stream is dropped. It holds at most [`FRAME_BYTES_MAX`] bytes of an unfinished frame.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Name of the frame that says which seqs can no longer be read. Its id is the last of them.
pub const GAP: &str = "gap";
/// Name of the frame that moves the cursor over events that the filter left out. Its id is the last of them.
pub const CHECKPOINT: &str = "checkpoint";
/// Name of the frame that says how far behind the tail a slow reader is. It has no id.
pub const LAG: &str = "lag";
/// Name of the frame that keeps a replay alive and says how far it is. It has no id.
pub const CLOCK: &str = "clock";
/// Name of the frame before an event of a replay that says what the event changes in a projection. It has no id.
pub const STATE: &str = "state";
/// All of them: no event kind may have one of these names.
pub const CONTROL_NAMES: [&str; 5] = [GAP, CHECKPOINT, LAG, CLOCK, STATE];

/// A comment, ignored by every client, that keeps proxies from cutting a silent stream.
pub const SIGN_OF_LIFE: &str = ": alive\n";

/// Most bytes of one frame that a decoder holds: a batch of hook payloads is 16 MiB before it is cut.
pub const FRAME_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Why a range of seqs is not in the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// First unreadable seq.
    pub from_seq: u64,
    /// Last unreadable seq.
    pub to_seq: u64,
    /// `retention`, `corruption`, or `undecodable` for a whole record that this program cannot read.
    pub reason: String,
}

/// `data:` of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The last seq that the filter left out.
    pub seq: u64,
}

/// `data:` of a lag frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lag {
    /// How many seqs lie between the cursor and the durable tail.
    pub behind: u64,
}

/// `data:` of a clock frame. The first frame of a replay is one with `elapsed_ms` 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockTick {
    /// Scheduled time since the replay began, before the speed is applied.
    pub elapsed_ms: u64,
    /// The highest seq of the session, as fixed at the start.
    pub until_seq: u64,
    /// Whether everything was shown.
    pub done: bool,
}

/// Appends the frame of one event.
pub fn event_frame(out: &mut String, seq: u64, kind: &str, json: &str) {
    debug_assert!(!json.contains(['\n', '\r']), "one line of JSON");
    out.reserve(json.len() + kind.len() + 48);
    let _ = write!(out, "id: {seq}\nevent: {kind}\ndata: ");
    out.push_str(json);
    out.push_str("\n\n");
}

/// Appends a gap frame.
pub fn gap_frame(out: &mut String, gap: &Gap) {
    control_frame(out, GAP, Some(gap.to_seq), gap);
}

/// Appends a gap frame that moves no cursor: for streams that are not in the order of seqs.
pub fn gap_note(out: &mut String, gap: &Gap) {
    control_frame(out, GAP, None, gap);
}

/// Appends a checkpoint frame.
pub fn checkpoint_frame(out: &mut String, seq: u64) {
    control_frame(out, CHECKPOINT, Some(seq), &Checkpoint { seq });
}

/// Appends a lag frame.
pub fn lag_frame(out: &mut String, behind: u64) {
    control_frame(out, LAG, None, &Lag { behind });
}

/// Appends a clock frame.
pub fn clock_frame(out: &mut String, tick: &ClockTick) {
    control_frame(out, CLOCK, None, tick);
}

/// Appends a state frame.
pub fn state_frame(out: &mut String, step: &impl Serialize) {
    control_frame(out, STATE, None, step);
}

/// Appends the line that opens the first frame of a stream.
pub fn retry_line(out: &mut String, retry: Duration) {
    let _ = writeln!(out, "retry: {}", retry.as_millis());
}

fn control_frame(out: &mut String, name: &str, id: Option<u64>, data: &impl Serialize) {
    if let Some(id) = id {
        let _ = writeln!(out, "id: {id}");
    }
    let json = serde_json::to_string(data).unwrap_or_else(|_| String::from("{}"));
    let _ = write!(out, "event: {name}\ndata: {json}\n\n");
}

/// One delivered block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The last id seen in the stream up to and including this block; empty if there was none.
    pub last_event_id: String,
    /// `message` when the block named none.
    pub event: String,
    /// The `data:` lines, joined by line feeds.
    pub data: String,
}

/// A frame grew beyond [`FRAME_BYTES_MAX`]: whoever sends this is not our server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of the event stream is larger than {FRAME_BYTES_MAX} bytes")]
pub struct FrameTooLarge;

/// Turns the bytes of a stream into frames. Feed chunks with [`Decoder::push`], then take frames with
/// [`Decoder::next_frame`] until there is none.
///
/// ```
/// use mnemosyne::wire::sse::Decoder;
///
/// let mut decoder = Decoder::default();
/// decoder.push(b"id: 7\nevent: turn_completed\ndata: {}\r");
/// assert_eq!(decoder.next_frame().unwrap(), None);
/// decoder.push(b"\n\r\n");
/// let frame = decoder.next_frame().unwrap().unwrap();
/// assert_eq!((frame.last_event_id.as_str(), frame.event.as_str()), ("7", "turn_completed"));
/// ```
#[derive(Debug, Default)]
pub struct Decoder {
    pending: Vec<u8>,
    read: usize,
    /// Bytes after `read` that are known to hold no line end, so that a long line is searched once.
    searched: usize,
    started: bool,
    skip_line_feed: bool,
    last_event_id: String,
    /// The id of the unfinished block: it counts only once the block has ended.
    id: String,
    event: String,
    data: String,
    has_data: bool,
    retry: Option<Duration>,
}

impl Decoder {
    /// Takes the next bytes of the stream.
    pub fn push(&mut self, chunk: &[u8]) {
        self.pending.drain(..self.read);
        self.read = 0;
        self.pending.extend_from_slice(chunk);
    }

    /// The next whole frame, or `None` until more bytes are pushed.
    ///
    /// # Errors
    /// [`FrameTooLarge`] when an unfinished frame outgrew its limit; the stream is then of no more use.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameTooLarge> {
        if !self.started && !self.skip_byte_order_mark() {
            return Ok(None);
        }
        while let Some(line) = self.take_line() {
            if line.is_empty() {
                if let Some(frame) = self.dispatch() {
                    return Ok(Some(frame));
                }
            } else {
                self.field(&line);
                self.check_size()?;
            }
        }
        self.check_size()?;
        Ok(None)
    }

    /// The id to send when reconnecting; empty if none was seen. As the standard has it, it moves when a block
    /// ends, even one without data.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The last `retry:` of the stream.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn skip_byte_order_mark(&mut self) -> bool {
        const MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];
        let rest = &self.pending[self.read..];
        if rest.len() < MARK.len() && MARK.starts_with(rest) {
            return false;
        }
        if rest.starts_with(&MARK) {
            self.read += MARK.len();
        }
        self.started = true;
        true
    }

    /// The next line without its end. A CR ends a line at once; an LF right after it belongs to it, even if it
    /// comes in a later chunk.
    fn take_line(&mut self) -> Option<String> {
        if self.skip_line_feed && self.read < self.pending.len() {
            self.skip_line_feed = false;
            if self.pending[self.read] == b'\n' {
                self.read += 1;
            }
        }
        let rest = &self.pending[self.read..];
        let end = rest[self.searched..].iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let Some(end) = end.map(|at| self.searched + at) else {
            self.searched = rest.len();
            return None;
        };
        self.searched = 0;
        self.skip_line_feed = rest[end] == b'\r';
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        self.read += end + 1;
        Some(line)
    }

    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                self.retry = value.parse().ok().map(Duration::from_millis).or(self.retry);
            }
            // Comments (an empty name) and fields that a later version may add.
            _ => {}
        }
    }

    fn dispatch(&mut self) -> Option<Frame> {
        self.id.clone_into(&mut self.last_event_id);
        let event = std::mem::take(&mut self.event);
        let data = std::mem::take(&mut self.data);
        if !std::mem::take(&mut self.has_data) || data.is_empty() {
            return None;
        }
        let event = if event.is_empty() { String::from("message") } else { event };
        Some(Frame { last_event_id: self.last_event_id.clone(), event, data })
    }

    fn check_size(&self) -> Result<(), FrameTooLarge> {
        let held = self.pending.len() - self.read + self.data.len();
        if held > FRAME_BYTES_MAX { Err(FrameTooLarge) } else { Ok(()) }
    }
}

#[cfg(test)]
#[path = "sse_tests.rs"]
mod tests;
