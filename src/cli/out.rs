//! What a command says, and where.
//!
//! Data goes to stdout, words go to stderr; nothing in the program writes to either in another way. With `--json`
//! the data is JSON: one versioned object, or one object a line for streams. A reader that has gone away (`| head`)
//! is no failure: the first write that finds the pipe closed returns [`Error::OutputClosed`], which ends the command
//! and counts as success. A follower that has nothing to write asks with [`Out::check_reader`].
//!
//! Stdout is buffered even on a pipe, because `events` prints millions of lines; it is flushed before any word goes
//! to stderr, at the end, by [`Out::flush`] wherever a follower has caught up, and after each line on a terminal.

use super::display::{self, Style};
use crate::error::Error;
use crate::event::text::{json_escaped, visible};
use crate::event::{Redactor, Timestamp};
use clap::ValueEnum;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use std::io::{BufWriter, IsTerminal, Stdout, Write};

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set to anything
    #[default]
    Auto,
    /// Always, even into a file
    Always,
    /// Never
    Never,
}

/// How a command was asked to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Manner {
    /// `--json`
    pub json: bool,
    /// `--quiet`
    pub quiet: bool,
    /// How often `-v` was given.
    pub verbose: u8,
    /// `--color`
    pub color: Color,
    /// `NO_COLOR` is set to something.
    pub no_color: bool,
}

/// The two streams of a command.
pub struct Out {
    stdout: BufWriter<Box<dyn Write + Send>>,
    stderr: Box<dyn Write + Send>,
    manner: Manner,
    color: bool,
    color_words: bool,
    each_line: bool,
    columns: Option<usize>,
    today: Option<chrono::NaiveDate>,
    /// The process's own stdout, where data goes there: whoever reads it can go away.
    watched: Option<Stdout>,
}

impl Out {
    /// The process's own streams.
    pub fn of_process(manner: Manner) -> Out {
        let terminal = std::io::stdout().is_terminal();
        let mut out = Out::new(Box::new(std::io::stdout()), Box::new(std::io::stderr()), manner, terminal);
        out.columns = terminal.then(columns_of_terminal).flatten();
        out.color_words = colored(manner, std::io::stderr().is_terminal());
        out.watched = Some(std::io::stdout());
        out
    }

    /// Any two streams; `terminal` says whether the first is one.
    pub fn new(
        stdout: Box<dyn Write + Send>,
        stderr: Box<dyn Write + Send>,
        manner: Manner,
        terminal: bool,
    ) -> Out {
        let color = colored(manner, terminal) && !manner.json;
        let stdout = BufWriter::with_capacity(64 * 1024, stdout);
        Out {
            stdout,
            stderr,
            manner,
            color,
            color_words: color,
            each_line: terminal,
            columns: None,
            today: None,
            watched: None,
        }
    }

    /// Says when the command runs: what happened on another day is then shown with its date.
    pub fn set_now(&mut self, now: Timestamp) {
        self.today = display::day_of(now);
    }

    /// Whether data is to be JSON.
    pub fn is_json(&self) -> bool {
        self.manner.json
    }

    /// Whether words beside warnings and errors are unwanted.
    pub fn is_quiet(&self) -> bool {
        self.manner.quiet
    }

    /// Whether data goes to a terminal.
    pub fn is_terminal(&self) -> bool {
        self.each_line
    }

    /// Whether more was asked for.
    pub fn is_verbose(&self) -> bool {
        self.manner.verbose > 0
    }

    /// Whether data is coloured.
    pub fn is_colored(&self) -> bool {
        self.color
    }

    /// How lines of data are to look; cut to the terminal's width only on a terminal.
    pub fn style(&self) -> Style {
        Style { color: self.color, columns: self.columns, today: self.today }
    }

    /// One line of data. The text must be safe for a terminal: see `cli::display`.
    ///
    /// # Errors
    /// [`Error::OutputClosed`] when nobody reads any more; an I/O error otherwise, for instance of a full disk.
    pub fn line(&mut self, text: &str) -> Result<(), Error> {
        let line_bytes = text.len() + 1;
        // A full buffer must not be handed on between a text and its line break.
        let is_full = self.stdout.buffer().len() + line_bytes > self.stdout.capacity();
        let written = if is_full { self.stdout.flush() } else { Ok(()) };
        let written = written
            .and_then(|()| self.stdout.write_all(text.as_bytes()))
            .and_then(|()| self.stdout.write_all(b"\n"));
        let written = if self.each_line { written.and_then(|()| self.stdout.flush()) } else { written };
        written.map_err(failed)
    }

    /// One JSON value on a line of its own.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_string(value).map_err(|error| failed(error.into()))?;
        self.json_text(&text)
    }

    /// One JSON value that is text already, on a line of its own. What a terminal would obey, reorder by or hide is written
    /// as `\u` escapes, into a pipe too: to a parser it is the same value, and most pipes end on a terminal.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn json_text(&mut self, text: &str) -> Result<(), Error> {
        self.line(&json_escaped(text))
    }

    /// Hands on what is buffered: to be called where a command begins to wait.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn flush(&mut self) -> Result<(), Error> {
        self.stdout.flush().map_err(failed)
    }

    /// Whether there is still somebody to read what may come: asked by a follower, who may have nothing to write for a long time.
    ///
    /// # Errors
    /// [`Error::OutputClosed`] when the other end of the pipe is closed, or the terminal is gone.
    pub fn check_reader(&self) -> Result<(), Error> {
        let Some(stdout) = &self.watched else { return Ok(()) };
        let mut asked = [PollFd::new(stdout, PollFlags::empty())];
        // Where the system cannot tell, the next write does.
        let gone = poll(&mut asked, Some(&Timespec::default())).is_ok()
            && asked[0].revents().intersects(PollFlags::ERR | PollFlags::HUP);
        if gone { Err(Error::OutputClosed) } else { Ok(()) }
    }

    /// A picture for a terminal, with its escape sequences, at once. Text of events in it must be safe: see `cli::display`.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn draw(&mut self, picture: &str) -> Result<(), Error> {
        self.stdout.write_all(picture.as_bytes()).and_then(|()| self.stdout.flush()).map_err(failed)
    }

    /// Words for a person, unless `--quiet`.
    pub fn note(&mut self, text: &str) {
        if !self.manner.quiet {
            self.say(text);
        }
    }

    /// A question to the person at the terminal, not silenced by `--quiet`: true for a yes on stdin, false for anything else.
    ///
    /// # Errors
    /// [`Error::Failed`] when stdin cannot be read.
    pub fn ask(&mut self, question: &str) -> Result<bool, Error> {
        let _ = self.stdout.flush();
        // Without a question on the terminal there is no yes to wait for.
        if write!(self.stderr, "{question} [y/N] ").and_then(|()| self.stderr.flush()).is_err() {
            return Ok(false);
        }
        let mut answer = String::new();
        std::io::stdin()
            .read_line(&mut answer)
            .map_err(|error| Error::failed(format!("cannot read the answer from stdin: {error}")))?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// Words that only `-v` asks for.
    pub fn detail(&mut self, text: &str) {
        if self.manner.verbose > 0 {
            self.say(text);
        }
    }

    /// Something that the user must hear though the command goes on: not silenced by `--quiet`.
    pub fn warn(&mut self, text: &str) {
        let label = self.label("33", "warning:");
        self.say(&format!("{label} {}", shown(text)));
    }

    /// Why the command failed: for people, or with `--json` one object, on stderr too. It may repeat what was typed or
    /// read, and stderr ends in the logs of others: secrets are taken out of it as out of an event.
    pub fn error(&mut self, error: &Error) {
        let error_text = error.to_string();
        let message = Redactor::new().text(&error_text).into_owned();
        if self.manner.json {
            let object = serde_json::json!({"error": {"code": error.code(), "message": message}});
            self.say(&json_escaped(&object.to_string()));
        } else {
            let label = self.label("31", "error:");
            self.say(&format!("{label} {}", shown(&message)));
        }
    }

    fn label(&self, color: &str, text: &str) -> String {
        if self.color_words { format!("\x1b[{color}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A failure to write to stderr is dropped: there is no third stream to tell it on. Data first, and the line in one
    /// write: both streams may be one terminal, which other processes write to as well.
    fn say(&mut self, text: &str) {
        let _ = self.stdout.flush();
        let _ = self.stderr.write_all(format!("{text}\n").as_bytes());
        let _ = self.stderr.flush();
    }
}

/// Words of ours with names, paths and typed text in them, fit for a terminal line by line: some have several.
fn shown(text: &str) -> String {
    text.lines().map(visible).collect::<Vec<_>>().join("\n")
}

fn colored(manner: Manner, terminal: bool) -> bool {
    match manner.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => terminal && !manner.no_color,
    }
}

fn columns_of_terminal() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

fn failed(error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        Error::OutputClosed
    } else {
        Error::Output { source: error }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::event::text::is_unsafe;
    use std::sync::{Arc, Mutex};

    /// A stream that can be looked into afterwards.
    #[derive(Clone, Default)]
    pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    pub(crate) fn captured(manner: Manner) -> (Out, Captured, Captured) {
        let (stdout, stderr) = (Captured::default(), Captured::default());
        (Out::new(Box::new(stdout.clone()), Box::new(stderr.clone()), manner, false), stdout, stderr)
    }

    #[test]
    fn data_and_words_go_to_different_streams() {
        let (mut out, stdout, stderr) = captured(Manner::default());
        out.line("data").unwrap();
        out.note("words");
        out.detail("unasked");
        assert_eq!((stdout.text().as_str(), stderr.text().as_str()), ("data\n", "words\n"));
    }

    /// A stream that keeps its writes apart.
    #[derive(Clone, Default)]
    struct Writes(Arc<Mutex<Vec<String>>>);

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().push(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn words_come_after_the_data_before_them_and_never_inside_a_line() {
        let both = Writes::default();
        let mut out = Out::new(Box::new(both.clone()), Box::new(both.clone()), Manner::default(), false);
        for n in 0..30_000 {
            out.line(&format!("line {n}")).unwrap();
            if n % 10_000 == 0 {
                out.note(&format!("word {n}"));
            }
        }
        out.flush().unwrap();
        let writes = both.0.lock().unwrap();
        assert!(writes.len() > 6, "more than one buffer: {}", writes.len());
        assert!(writes.iter().all(|write| write.ends_with('\n')));
        let lines: Vec<&str> = writes.iter().flat_map(|write| write.lines()).collect();
        let word = lines.iter().position(|line| *line == "word 10000").unwrap();
        assert_eq!(lines[word - 1..=word + 1], ["line 10000", "word 10000", "line 10001"]);
    }

    #[test]
    fn quiet_silences_notes_and_never_warnings() {
        let (mut out, _, stderr) = captured(Manner { quiet: true, ..Manner::default() });
        out.note("words");
        out.warn("look out");
        assert_eq!(stderr.text(), "warning: look out\n");
    }

    #[test]
    fn verbose_adds_the_details() {
        let (mut out, _, stderr) = captured(Manner { verbose: 1, ..Manner::default() });
        out.detail("the data directory is /d");
        assert_eq!(stderr.text(), "the data directory is /d\n");
    }

    #[test]
    fn a_closed_pipe_is_told_apart_from_a_failure() {
        let mut out = Out::new(Box::new(Closed), Box::new(Captured::default()), Manner::default(), false);
        out.line("data").unwrap();
        assert!(matches!(out.flush(), Err(Error::OutputClosed)));
    }

    #[test]
    fn color_follows_the_flag_then_the_environment_then_the_terminal() {
        let asks =
            |color, no_color, terminal| colored(Manner { color, no_color, ..Manner::default() }, terminal);
        assert!(asks(Color::Auto, false, true));
        assert!(!asks(Color::Auto, true, true));
        assert!(!asks(Color::Auto, false, false));
        assert!(asks(Color::Always, true, false));
        assert!(!asks(Color::Never, false, true));
    }

    #[test]
    fn json_is_never_coloured() {
        let (out, _, _) = captured(Manner { json: true, color: Color::Always, ..Manner::default() });
        assert!(!out.is_colored());
    }

    #[test]
    fn json_is_the_same_value_without_what_a_terminal_would_obey() {
        let hostile =
            "\u{1b}[2J\u{7f}\u{9b}31m\u{202e}evil\u{200b}\u{2028}\u{e0001}\u{feff}\u{fff9} é 日本 🦀";
        let (mut out, stdout, stderr) = captured(Manner { json: true, ..Manner::default() });
        out.json(&serde_json::json!({ "text": hostile })).unwrap();
        out.error(&Error::usage(hostile));
        let (data, words) = (stdout.text(), stderr.text());
        for text in [&data, &words] {
            assert!(!text.trim_end().chars().any(is_unsafe), "{text}");
        }
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&data)["text"], hostile);
        assert!(value(&words)["error"]["message"].as_str().unwrap().contains("evil"), "{words}");
        assert!(data.contains("é 日本 🦀"), "what can be seen stays as it is: {data}");
    }

    #[test]
    fn an_error_is_a_sentence_or_an_object() {
        let (mut out, _, stderr) = captured(Manner::default());
        out.error(&Error::Interrupted);
        assert_eq!(stderr.text(), "error: interrupted\n");
        let (mut out, _, stderr) = captured(Manner { json: true, ..Manner::default() });
        out.error(&Error::Interrupted);
        assert_eq!(stderr.text(), "{\"error\":{\"code\":\"interrupted\",\"message\":\"interrupted\"}}\n");
    }
}
