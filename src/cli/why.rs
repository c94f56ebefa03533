//! `why SEQ`: the chain of what led to an event, each link with how sure it is. Works without a server, and shows the same with one.

use std::collections::BTreeMap;

use super::display::{self, Role, Style};
use super::sessions::folded;
use super::{Context, Outcome, elsewhere};
use crate::answers;
use crate::error::Error;
use crate::event::Seq;
use crate::projection::why::{DEPTH_DEFAULT, Link, Node, Sure, Why};

/// Arguments.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The event
    #[arg(value_name = "SEQ")]
    seq: u64,
    /// Go back at most so many links
    #[arg(long, value_name = "N", default_value_t = DEPTH_DEFAULT, value_parser = clap::value_parser!(u32).range(1..))]
    depth: u32,
}

/// Runs it.
///
/// # Errors
/// [`Error::NotFound`] when there is no such event.
#[expect(clippy::needless_pass_by_value, reason = "the shape of every command")]
pub fn run(args: Args, context: &mut Context) -> Result<Outcome, Error> {
    if let Some(server) = context.elsewhere()? {
        return elsewhere::why(args.seq, args.depth, &server, context);
    }
    let folded = folded(context)?;
    let notes = context.record()?.notes(&folded.view, Seq::FIRST)?;
    let why = answers::why(&folded, &notes, Seq::new(args.seq), args.depth)?;
    show(context, &why)
}

/// Shows it, wherever it comes from, and says what could not be looked at.
pub(super) fn show(context: &mut Context, why: &Why) -> Result<Outcome, Error> {
    if context.out.is_json() {
        context.out.json(why)?;
    } else {
        print(context, why)?;
    }
    let unread = why.searched.unreadable;
    if unread > 0 {
        let records = display::counted(unread, "record");
        context.out.warn(&format!(
            "{records} between {} and {} cannot be read: a cause may be among them",
            why.searched.from_seq, why.searched.to_seq
        ));
    }
    let summary = display::counted(why.links.len() as u64, "link");
    Ok(if why.searched.damaged > 0 { Outcome::damaged(summary) } else { Outcome::with_summary(summary) })
}

fn print(context: &mut Context, why: &Why) -> Result<(), Error> {
    let style = context.out.style();
    let nodes: BTreeMap<Seq, &Node> = why.events.iter().map(|node| (node.seq, node)).collect();
    let mut lines = Vec::new();
    if let Some(node) = nodes.get(&why.seq) {
        lines.push(event_words(node, style));
        lines.extend(node.notes.iter().map(|note| super::notes::line(note, "  ", style)));
    }
    causes(why, why.seq, &nodes, style, &mut lines);
    lines.iter().try_for_each(|line| context.out.line(line))?;
    for absent in &why.absent {
        context.out.line(&format!(
            "event {} names {} as its cause, and no such event was found",
            absent.seq, absent.causation
        ))?;
    }
    if why.links.is_empty() {
        context.out.line("nothing on record led to it")?;
    }
    if why.not_followed > 0 {
        let more = display::counted(why.not_followed, "link");
        context.out.line(&format!("{more} more not followed: --depth goes further back"))?;
    }
    if !why.searched.whole {
        let (from, to) = (why.searched.from_seq, why.searched.to_seq);
        context
            .out
            .line(&format!("only events {from} to {to} were looked at: causes further away are not named"))?;
    }
    Ok(())
}

/// The causes of one event below it, indented, and theirs below them.
fn causes(why: &Why, effect: Seq, nodes: &BTreeMap<Seq, &Node>, style: Style, lines: &mut Vec<String>) {
    for link in why.links.iter().filter(|link| link.effect == effect) {
        let indent = "  ".repeat(link.depth as usize);
        lines.push(format!("{indent}{}", link_words(link, style)));
        if let Some(node) = nodes.get(&link.cause) {
            lines.push(format!("{indent}  {}", event_words(node, style)));
            lines.extend(
                node.notes.iter().map(|note| super::notes::line(note, &format!("{indent}    "), style)),
            );
        }
        causes(why, link.cause, nodes, style, lines);
    }
}

fn link_words(link: &Link, style: Style) -> String {
    let role = match link.sure {
        Sure::Certain => Role::Good,
        Sure::Likely => Role::Strong,
        Sure::Guess => Role::Waiting,
    };
    let evidence = style.paint(Role::Dim, &format!("({})", display::visible(&link.evidence)));
    format!("<- {}: {} {evidence}", style.paint(role, link.sure.name()), link.rule.words())
}

fn event_words(node: &Node, style: Style) -> String {
    let by =
        node.agent.as_deref().map(|agent| format!("  [{}]", display::fit(agent, 40))).unwrap_or_default();
    let clock = style.paint(Role::Dim, &style.clock(node.time));
    let seq = style.paint(Role::Strong, &node.seq.to_string());
    format!("{seq}  {clock}  {}{}", display::visible(&node.summary), style.paint(Role::Dim, &by))
}
