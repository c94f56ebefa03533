//! What is wrong with the text of a configuration file, in one line: where, what, and what is accepted.
//!
//! The TOML reader draws the line with an arrow below it and speaks of types of Rust. That is good on a terminal of who wrote the
//! file by hand, and bad everywhere else: in an event, in a log, in a row of `doctor`.

use std::fmt;

/// Words of the reader, and those that stand for them.
const PLAIN: &[(&str, &str)] = &[
    ("unknown field", "unknown setting"),
    ("missing field", "missing setting"),
    ("unknown variant", "unknown value"),
    ("invalid value: ", ""),
    ("invalid type: ", ""),
    ("expected u64", "expected a whole number from 0"),
    ("expected u32", "expected a whole number from 0 to 4294967295"),
    ("expected f64", "expected a number"),
    ("expected a boolean", "expected true or false"),
    ("expected a string", "expected text in quotes"),
    ("expected struct ", "expected a table for "),
    ("expected a sequence", "expected a list"),
];

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Line and column, from 1; none where the key is named instead.
    at: Option<(usize, usize)>,
    /// What is wrong, without the place.
    message: String,
}

impl Fault {
    /// What the TOML reader says of `text` from the byte `start` on.
    pub(crate) fn in_text(text: &str, start: Option<usize>, message: &str) -> Fault {
        let before = start.and_then(|start| text.get(..start)).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let at = (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1);
        let message =
            message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ");
        let message = PLAIN.iter().fold(message, |message, (theirs, ours)| message.replacen(theirs, ours, 1));
        // What is wrong with a value does not name its key.
        let message = match before[line_start..].split_once('=') {
            Some((key, _)) => format!("{}: {message}", key.trim()),
            None => message,
        };
        Fault { at: Some(at), message }
    }

    /// A value that is of the right type and cannot be; the sentence names its key.
    pub(crate) fn of_value(message: String) -> Fault {
        Fault { at: None, message }
    }

    /// Whether it is in how the text is written, or in the type of a value.
    pub(crate) fn is_of_form(&self) -> bool {
        self.at.is_some()
    }

    /// What is wrong, without the place: for a text that was never in a file.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.at {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Settings;

    #[test]
    fn a_fault_is_one_line_that_says_where_and_in_words_of_ours() {
        let rows = [
            (
                "[server]\nlinger = -5\n",
                "line 2, column 10: linger: integer `-5`, expected a whole number from 0",
            ),
            (
                "# é\n[server]\nlinger = \"é\"\n",
                "line 3, column 10: linger: string \"é\", expected a whole number from 0",
            ),
            ("[journal]\nchain = 1\n", "line 2, column 9: chain: integer `1`, expected true or false"),
            ("[server]\naddr = 1\n", "line 2, column 8: addr: integer `1`, expected text in quotes"),
            (
                "[emit]\ndurability = \"fast\"\n",
                "line 2, column 14: durability: unknown value `fast`, expected `os` or `disk`",
            ),
            (
                "[server]\nadress = 1\n",
                "line 2, column 1: unknown setting `adress`, expected `addr` or `linger`",
            ),
        ];
        for (text, expected) in rows {
            assert_eq!(Settings::default().apply_text(text, true).unwrap_err().to_string(), expected);
        }
        for text in ["server = ", "[nonsense]\n", "[server\n", "a\u{0}b", "server = 4", "x = \"\"\"\n\n"] {
            let fault = Settings::default().apply_text(text, true).unwrap_err().to_string();
            assert!(fault.starts_with("line ") && !fault.contains('\n'), "{text:?}: {fault}");
        }
    }
}
