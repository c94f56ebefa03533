//! `state PROJECTION`: what a projection says, now or as of any moment. Works without a server, and shows the same with one.

use serde_json::Value;

use super::display::{self, Role, Style};
use super::sessions::outcome;
use super::{Context, Outcome, elsewhere, events};
use crate::answers::when;
use crate::clock;
use crate::error::Error;
use crate::event::Timestamp;
use crate::projection::sessions::viewer::Looking;
use crate::projection::{StateView, registry};

/// Arguments.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Which projection; an unknown name lists those that there are
    #[arg(value_name = "PROJECTION")]
    projection: String,
    /// As of this event, or this moment by the journal's clock: a seq, a time, a date, or how long ago, like 2h
    #[arg(long, value_name = "SEQ|TIME", allow_hyphen_values = true)]
    at: Option<String>,
}

/// Columns of one value in the tree.
const VALUE_COLUMNS: usize = 120;
/// Counts that stand on one line.
const COUNTS_ON_A_LINE_MAX: usize = 6;

/// Runs it.
///
/// # Errors
/// [`Error::NotFound`] for an unknown projection, [`Error::CursorAhead`] for a seq beyond the tail, [`Error::BeforeBase`] for one
/// whose events retention has dropped.
#[expect(clippy::needless_pass_by_value, reason = "the shape of every command")]
pub fn run(args: Args, context: &mut Context) -> Result<Outcome, Error> {
    let now = context.now();
    let at = args.at.as_deref().map(|text| when::place("--at", text, now)).transpose()?;
    if let Some(server) = context.elsewhere()? {
        return elsewhere::state(&args.projection, at, &server, context);
    }
    registry::find(&args.projection)?;
    let view = events::open(context)?;
    let (fold, progress) = context.record()?.state(&view, &args.projection, at)?;
    let state = StateView::of(&*fold)?;
    if context.out.is_json() {
        context.out.json(&state)?;
    } else {
        let (settings, host) = (context.record()?.settings()?, clock::this_source("mnemosyne").host);
        print(context, &state, fold.shown(&Looking::from_here(now, &host, &settings.prices))?)?;
    }
    Ok(outcome(context, &progress, format!("{} at seq {}", state.projection, state.seq)))
}

/// Prints a state as a tree, or what is shown in its place.
pub(super) fn print(context: &mut Context, state: &StateView, shown: Option<Value>) -> Result<(), Error> {
    let style = context.out.style();
    let head =
        format!("{} at seq {}", style.paint(Role::Strong, &display::visible(&state.projection)), state.seq);
    context.out.line(&head)?;
    context.out.line(&format!("{}  {}", style.paint(Role::Dim, "hash"), display::visible(&state.hash)))?;
    if state.missing > 0 {
        let missing = display::counted(state.missing, "event");
        context.out.line(&format!("{}  {missing} could not be read", style.paint(Role::Bad, "missing")))?;
    }
    let whole = || serde_json::from_str(state.state.get());
    let value = shown
        .map_or_else(whole, Ok)
        .map_err(|error| Error::failed(format!("the state cannot be shown: {error}")))?;
    let mut lines = Vec::new();
    tree(&value, 0, style, &mut lines);
    lines.iter().try_for_each(|line| context.out.line(line))
}

/// A value as an indented tree: a line for each field, elements of lists behind a dash.
fn tree(value: &Value, depth: usize, style: Style, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    let mut branch = |field: &str, name: String, value: &Value| match (leaf(field, value), said(value)) {
        (Some(leaf), _) => lines.push(format!("{indent}{name}  {leaf}")),
        (None, Some((mark, value))) => {
            lines.push(format!("{indent}{name}  {mark}"));
            tree(value, depth + 1, style, lines);
        }
        (None, None) => {
            lines.push(format!("{indent}{name}"));
            tree(value, depth + 1, style, lines);
        }
    };
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                branch(name, style.paint(Role::Dim, &display::fit(name, VALUE_COLUMNS)), value);
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| branch("", "-".to_owned(), element)),
        leaf => lines.push(format!("{indent}{}", display::fit(&leaf.to_string(), VALUE_COLUMNS))),
    }
}

/// What fits on the line of its name; none where a tree of its own is needed.
fn leaf(name: &str, value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(elements) if elements.is_empty() => "none".to_owned(),
        Value::Object(fields) if fields.is_empty() => "none".to_owned(),
        Value::Array(elements) if elements.iter().all(is_number) => {
            elements.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
        Value::Object(fields) => match (mark(value), said(value)) {
            (Some(mark), _) => mark,
            (None, Some((mark, value))) => format!("{} ({mark})", leaf(name, value)?),
            (None, None) if fields.len() <= COUNTS_ON_A_LINE_MAX && fields.values().all(is_number) => {
                let counts = fields.iter().map(|(name, count)| format!("{name} {}", number(name, count)));
                counts.collect::<Vec<_>>().join(", ")
            }
            (None, None) => return None,
        },
        Value::Array(_) => return None,
        Value::Number(_) => number(name, value),
        Value::Bool(_) => value.to_string(),
    };
    Some(display::fit(&text, VALUE_COLUMNS))
}

/// A number with the unit that its name says it has.
fn number(name: &str, value: &Value) -> String {
    match value.as_u64() {
        Some(ms) if name.ends_with("_ms") || name.contains("_ms_") => display::duration(ms),
        _ => value.to_string(),
    }
}

/// A place in time and in the journal, in words.
fn mark(value: &Value) -> Option<String> {
    let fields = value.as_object().filter(|fields| fields.len() == 2)?;
    let time = match (fields.get("micros"), fields.get("time")) {
        (Some(micros), _) => Timestamp::from_micros(micros.as_i64()?),
        (None, Some(time)) => time.as_str()?.parse().ok()?,
        (None, None) => return None,
    };
    let seq = fields.get("seq")?.as_u64()?;
    Some(format!("{}, seq {seq}", display::local_time(time)))
}

/// Something that an event said, and which event it was.
fn said(value: &Value) -> Option<(String, &Value)> {
    let fields = value.as_object().filter(|fields| fields.len() == 2)?;
    Some((mark(fields.get("mark")?)?, fields.get("value")?))
}

fn is_number(value: &Value) -> bool {
    value.is_number()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::out::Manner;
    use crate::cli::out::tests::captured;

    #[test]
    fn a_state_is_a_tree_and_nothing_in_it_reaches_the_terminal_raw() {
        let (out, _, _) = captured(Manner::default());
        let value = serde_json::json!({"a": {"b": 1, "c": [{"d": "x\u{1b}[2J"}, 2]}, "e": [], "f": [1, 2], "g": null});
        let mut lines = Vec::new();
        tree(&value, 0, out.style(), &mut lines);
        assert!(lines.iter().all(|line| !line.contains('\u{1b}')), "{lines:?}");
        assert_eq!(lines[..5], ["a", "  b  1", "  c", "    -", &lines[4]]);
        assert_eq!(lines[5..], ["    -  2", "e  none", "f  1 2", "g  -"]);
    }

    #[test]
    fn times_and_counts_are_for_people() {
        let value = serde_json::json!({
            "last": {"micros": 1_767_323_045_000_000_i64, "seq": 7},
            "phase": {"mark": {"micros": 1_767_323_045_000_000_i64, "seq": 8}, "value": "idle"},
            "end": {"mark": {"micros": 1_767_323_045_000_000_i64, "seq": 9}, "value": {"reason": "other"}},
            "turns": {"ended": 9, "failed": 5},
            "uptime_ms": 125_000,
            "sums": {"tool_ms_reported": 850, "calls": 3},
            "mixed": {"mark": 3, "value": "x"},
        });
        let mut lines = Vec::new();
        tree(&value, 0, Style::PLAIN, &mut lines);
        let time = display::local_time(Timestamp::from_micros(1_767_323_045_000_000));
        let expected = [
            format!("last  {time}, seq 7"),
            format!("phase  idle ({time}, seq 8)"),
            format!("end  {time}, seq 9"),
            "  reason  other".to_owned(),
            "turns  ended 9, failed 5".to_owned(),
            "uptime_ms  2 m 05 s".to_owned(),
            "sums  tool_ms_reported 850 ms, calls 3".to_owned(),
            "mixed".to_owned(),
            "  mark  3".to_owned(),
            "  value  x".to_owned(),
        ];
        assert_eq!(lines, expected);
    }
}
