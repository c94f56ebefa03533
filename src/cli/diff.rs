//! `diff A B`: how two sessions differ in what they did. Works without a server, and shows the same with one.

use std::collections::BTreeMap;

use super::display::{self, Role, Style};
use super::sessions::{folded, outcome};
use super::{Context, Exit, Outcome, elsewhere};
use crate::answers::find;
use crate::error::Error;
use crate::event::Seq;
use crate::projection::diff::{self, CallView, DiffView, How, Place, Side};

/// Arguments.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// One session: its id, or the beginning of it that no other shares
    #[arg(value_name = "A")]
    pub(super) a: String,
    /// The other one
    #[arg(value_name = "B")]
    pub(super) b: String,
    /// End with code 1 where the sessions differ, and with 4 where events that would tell are missing
    #[arg(long)]
    fail_on_divergence: bool,
    /// Show at most so many differences; in JSON, in each list
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) limit: u64,
}

/// Columns for both sides together where there is no terminal.
const COLUMNS_DEFAULT: usize = 120;
/// Columns between the sides: a mark with a space on both its sides.
const GUTTER: usize = 3;

/// Runs it.
///
/// # Errors
/// [`Error::NotFound`] when no session begins with an id, [`Error::Usage`] when several do.
#[expect(clippy::needless_pass_by_value, reason = "the shape of every command")]
pub fn run(args: Args, context: &mut Context) -> Result<Outcome, Error> {
    if let Some(server) = context.elsewhere()? {
        return elsewhere::diff(&args, &server, context);
    }
    let folded = folded(context)?;
    let (a, b) = (find(&folded, &args.a)?, find(&folded, &args.b)?);
    let (difference, progress) = diff::compare(&folded.view, &a, &b)?;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let view = difference.view(limit);
    let summary = show(&view, context)?;
    let done = outcome(context, &progress, summary);
    Ok(judged(&args, &view, done))
}

/// Prints it, and says what it comes to.
pub(super) fn show(view: &DiffView, context: &mut Context) -> Result<String, Error> {
    if context.out.is_json() {
        context.out.json(view)?;
    } else {
        print(context, view)?;
    }
    for side in [&view.a, &view.b].into_iter().filter(|side| side.calls_omitted > 0) {
        let omitted = display::counted(side.calls_omitted, "event");
        let session = display::short_id(&side.session);
        context.out.warn(&format!(
            "{omitted} of calls of {session} beyond the first {} are not compared",
            diff::CALLS_MAX
        ));
    }
    Ok(display::counted(view.order.len() as u64 + view.order_omitted, "difference"))
}

/// The exit code that was asked for.
pub(super) fn judged(args: &Args, view: &DiffView, done: Outcome) -> Outcome {
    let exit = match view.same {
        Some(true) => Exit::Done,
        Some(false) => Exit::Failed,
        None => Exit::Damaged,
    };
    if args.fail_on_divergence && done.exit == Exit::Done { Outcome { exit, ..done } } else { done }
}

fn print(context: &mut Context, view: &DiffView) -> Result<(), Error> {
    let style = context.out.style();
    for line in figures(view, style) {
        context.out.line(&line)?;
    }
    context.out.line("")?;
    let half = (style.columns.unwrap_or(COLUMNS_DEFAULT).max(40) - GUTTER) / 2;
    let alike = |n: u64| {
        let words = format!("= {} alike", display::counted(n, "call"));
        (n > 0).then(|| style.paint(Role::Dim, &words))
    };
    let calls = Calls::of(view);
    for place in &view.order {
        if let Some(line) = alike(place.alike) {
            context.out.line(&line)?;
        }
        context.out.line(&row_words(place, &calls, half, style))?;
    }
    if view.order_omitted > 0 {
        let left = display::counted(view.order_omitted, "difference");
        context.out.note(&format!("{left} more not shown: --limit shows more"));
    } else if let Some(line) = alike(view.alike_last) {
        context.out.line(&line)?;
    }
    context.out.line("")?;
    for line in verdict(view) {
        context.out.line(&line)?;
    }
    Ok(())
}

/// The calls that differ, by where they stand.
struct Calls<'a> {
    a: BTreeMap<Seq, &'a CallView>,
    b: BTreeMap<Seq, &'a CallView>,
}

impl<'a> Calls<'a> {
    fn of(view: &'a DiffView) -> Calls<'a> {
        let a = view.changed.iter().map(|pair| &pair.a).chain(&view.only_a);
        let b = view.changed.iter().map(|pair| &pair.b).chain(&view.only_b);
        Calls { a: a.map(|call| (call.seq, call)).collect(), b: b.map(|call| (call.seq, call)).collect() }
    }
}

fn figures(view: &DiffView, style: Style) -> Vec<String> {
    const NAME: usize = 10;
    const CELL: usize = 16;
    let row = |name: &str, a: String, b: String, delta: String| {
        let cells =
            [display::cell_right(&a, CELL), display::cell_right(&b, CELL), display::cell_right(&delta, CELL)];
        format!("{}{}", style.paint(Role::Dim, &display::cell(name, NAME)), cells.join("  "))
    };
    let signed = |n: i64, words: fn(u64) -> String| {
        let sign = match n {
            0 => return "=".to_owned(),
            1.. => "+",
            _ => "-",
        };
        format!("{sign}{}", words(n.unsigned_abs()))
    };
    let (a, b, delta) = (&view.a, &view.b, &view.delta);
    let known: [(&str, u64, u64, i64, fn(u64) -> String); 5] = [
        ("calls", a.calls, b.calls, delta.calls, display::count),
        ("failed", a.failed, b.failed, delta.failed, display::count),
        ("denied", a.denied, b.denied, delta.denied, display::count),
        ("span", a.span_ms, b.span_ms, delta.span_ms, display::duration),
        ("in tools", a.tool_ms, b.tool_ms, delta.tool_ms, display::duration),
    ];
    let mut lines =
        vec![row("", display::short_id(&a.session), display::short_id(&b.session), "DELTA".to_owned())];
    lines.extend(known.map(|(name, a, b, delta, words)| row(name, words(a), words(b), signed(delta, words))));
    let or_unknown = |words: Option<String>| words.unwrap_or_else(|| "unknown".to_owned());
    let tokens = |side: &Side| or_unknown(side.tokens.map(|tokens| display::count(tokens.total())));
    let more = or_unknown(delta.tokens.map(|n| signed(n, display::count)));
    lines.push(row("tokens", tokens(a), tokens(b), more));
    lines
}

fn row_words(place: &Place, calls: &Calls<'_>, half: usize, style: Style) -> String {
    let side = |calls: &BTreeMap<Seq, &CallView>, seq: Option<Seq>| {
        seq.and_then(|seq| calls.get(&seq)).map(|call| words(call)).unwrap_or_default()
    };
    let (a, b) = (side(&calls.a, place.a), side(&calls.b, place.b));
    let (mark, role) = match place.how {
        How::OnlyA => ("<", Role::Bad),
        How::OnlyB => (">", Role::Good),
        How::Input => ("~", Role::Waiting),
        How::Outcome => ("!", Role::Bad),
    };
    let line = format!("{} {} {}", display::cell(&a, half), style.paint(role, mark), display::fit(&b, half));
    line.trim_end().to_owned()
}

fn words(call: &CallView) -> String {
    let outcome = match call.outcome.as_deref() {
        Some("completed") => String::new(),
        Some(outcome) => format!(" [{outcome}]"),
        None => " [no end]".to_owned(),
    };
    let by = if call.agent.is_some() { "  " } else { "" };
    format!("{:>5} {by}{}{outcome} {}", call.seq.get(), call.tool, call.text)
}

fn verdict(view: &DiffView) -> Vec<String> {
    let place = |call: Option<&CallView>| {
        call.map_or_else(
            || "its end".to_owned(),
            |call| format!("{} ({})", call.seq, display::fit(&call.tool, 40)),
        )
    };
    let unproven = match (view.same, &view.first_divergence) {
        (None, _) => Some(format!("not known whether they are alike: {}", missing(view))),
        (Some(false), None) => Some(format!("they differ in their counts: {}", missing(view))),
        (Some(_), _) => None,
    };
    let mut lines: Vec<String> = unproven.into_iter().collect();
    let Some(divergence) = &view.first_divergence else {
        let whole = if lines.is_empty() { "alike" } else { "alike in what is left" };
        lines.push(format!("{whole}: {} aligned", display::counted(view.aligned, "call")));
        return lines;
    };
    let how = match divergence.how {
        How::Input => "the same step with another input",
        How::Outcome => "the same call with another outcome",
        How::OnlyA => "a call that only the first makes",
        How::OnlyB => "a call that only the second makes",
    };
    let first = format!(
        "first divergence: {how}, at {} and {}",
        place(divergence.a.as_ref()),
        place(divergence.b.as_ref())
    );
    let again = match &view.resync {
        Some(pair) => format!("alike again: at {} and {}", place(Some(&pair.a)), place(Some(&pair.b))),
        None => "alike again: nowhere".to_owned(),
    };
    lines.extend([first, again]);
    lines
}

/// What of the two could not be compared.
fn missing(view: &DiffView) -> String {
    let of = |side: &Side| {
        let events = display::counted(side.events_missing, "event");
        let session = display::short_id(&side.session);
        (side.events_missing > 0).then(|| format!("{events} of {session} can no longer be read"))
    };
    let sides: Vec<String> = [&view.a, &view.b].into_iter().filter_map(of).collect();
    if sides.is_empty() { "not all of their events were compared".to_owned() } else { sides.join(", ") }
}
