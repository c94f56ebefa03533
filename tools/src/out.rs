//! What a command says: data to stdout, words to stderr, and whether damage was met.

use std::io::{self, BufWriter, Write};

use mnemosyne_journal::verify::Problem;
use serde_json::Value;

use crate::failure::Failure;
use crate::text;

/// The two streams.
pub(crate) struct Out {
    stdout: BufWriter<io::Stdout>,
    json: bool,
    damaged: bool,
}

impl Out {
    pub(crate) fn of_process(json: bool) -> Out {
        Out { stdout: BufWriter::with_capacity(64 * 1024, io::stdout()), json, damaged: false }
    }

    /// Whether data is to be JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// The command will end with exit code 4.
    pub(crate) fn damage(&mut self) {
        self.damaged = true;
    }

    /// One line of data; what comes from a record must be visible text already.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())?;
        self.bytes(b"\n")
    }

    /// One JSON value on a line.
    pub(crate) fn json(&mut self, value: &Value) -> Result<(), Failure> {
        self.line(&value.to_string())
    }

    /// Data as it is.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stdout.write_all(bytes).map_err(failed)
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush().map_err(failed)
    }

    /// Words beside the data.
    pub(crate) fn note(&mut self, words: &str) {
        self.say(&format!("note: {words}"));
    }

    /// Damage beside the data, in the place where it was met.
    pub(crate) fn problem(&mut self, problem: &Problem) {
        self.damage();
        self.say(&format!("damage: {}", text::problem(problem)));
    }

    /// The same where there are two journals, of that which is called so.
    pub(crate) fn problem_of(&mut self, name: &str, problem: &Problem) {
        self.damage();
        self.say(&format!("damage: of the {name}: {}", text::problem(problem)));
    }

    pub(crate) fn fail(&mut self, failure: &Failure) {
        if self.json {
            let error = serde_json::json!({"code": failure.code(), "message": failure.to_string()});
            self.say(&serde_json::json!({ "error": error }).to_string());
        } else {
            self.say(&format!("error: {failure}"));
        }
    }

    /// Stdout first, so that both streams on one terminal are in order. There is no third stream to tell of a failure on.
    fn say(&mut self, words: &str) {
        let _told_by_the_next_write = self.stdout.flush();
        let _nowhere_to_tell = writeln!(io::stderr(), "{words}");
    }
}

fn failed(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe { Failure::OutputClosed } else { Failure::Output(error) }
}
