//! `sessions`, `session`, `state`, `stats`, `diff` and `why` with `--server`: one object of the server each.

use super::super::session_parts::Parts;
use super::super::{
    Context, Outcome, diff as compared, display, session as one, sessions as list, state as any,
    stats as figures, why as chain,
};
use super::{Pairs, detail, given, noted, of_pairs, place_words, session_path, since_pair, told};
use crate::answers::{gap_words, missing_words};
use crate::client::{Server, percent_encoded};
use crate::clock;
use crate::config::prices::Prices;
use crate::error::Error;
use crate::event::{Place, Seq};
use crate::projection::diff::DiffView;
use crate::projection::sessions::timeline::Timeline;
use crate::projection::sessions::view::{ListQuery, SessionList};
use crate::projection::sessions::viewer::Looking;
use crate::projection::stats::view::{StatsView, Topic};
use crate::projection::stats::{By, Query};
use crate::projection::why::Why;
use crate::projection::{GapView, StateView, registry};
use crate::wire::path;

pub(in crate::cli) fn sessions(
    query: &ListQuery,
    server: &Server,
    context: &mut Context,
) -> Result<Outcome, Error> {
    let mut pairs = Pairs::new();
    given(&mut pairs, "project", query.project.as_deref());
    since_pair(&mut pairs, query.since);
    given(&mut pairs, "state", query.state);
    given(&mut pairs, "limit", Some(query.limit));
    let answer: SessionList = server.get(&of_pairs(path::SESSIONS, &pairs)).map_err(told)?;
    if context.out.is_json() {
        context.out.json(&answer)?;
    } else {
        // A beginning has to tell a session from all that there are, shown or not.
        let all = vec![("limit", u64::from(u32::MAX).to_string())];
        let all: SessionList = server.get(&of_pairs(path::SESSIONS, &all)).map_err(told)?;
        let ids = all.sessions.into_iter().map(|session| session.id).collect();
        list::print(context, &answer, &ids)?;
    }
    Ok(lacking(answer.missing, display::counted(answer.total, "session"), context))
}

pub(in crate::cli) fn session(
    given_id: &str,
    parts: Parts,
    server: &Server,
    context: &mut Context,
) -> Result<Outcome, Error> {
    let detail = detail(server, given_id).map_err(told)?;
    let mut pairs = Pairs::new();
    given(&mut pairs, "patches", parts.diff().then_some(true));
    let target = of_pairs(&session_path(&detail.session.id, "/timeline"), &pairs);
    let timeline: Timeline = server.get(&target).map_err(told)?;
    let noted = noted(server, context)?;
    one::show(context, parts, &detail, &timeline, |_| Ok(noted.unwrap_or_default()))?;
    unreadable(timeline.unreadable, context);
    Ok(ended(&timeline.gaps, display::counted(timeline.items.len() as u64, "item"), context))
}

pub(in crate::cli) fn state(
    projection: &str,
    at: Option<Place>,
    server: &Server,
    context: &mut Context,
) -> Result<Outcome, Error> {
    let mut pairs = Pairs::new();
    given(&mut pairs, "at", at.map(place_words));
    let target = of_pairs(&format!("/state/{}", percent_encoded(projection)), &pairs);
    let answer: StateView = server.get(&target).map_err(told)?;
    if context.out.is_json() {
        context.out.json(&answer)?;
    } else {
        let (prices, host) = (Prices::default(), clock::this_source("mnemosyne").host);
        let looking = Looking::from_here(context.now(), &host, &prices);
        let shown = registry::find(projection)?.told(&answer)?.shown(&looking)?;
        any::print(context, &answer, shown)?;
    }
    Ok(lacking(answer.missing, format!("{} at seq {}", answer.projection, answer.seq), context))
}

/// Tells of events that a state lacks, and ends the command accordingly.
fn lacking(missing: u64, summary: String, context: &mut Context) -> Outcome {
    if missing == 0 {
        return Outcome::with_summary(summary);
    }
    context.out.warn(&missing_words(missing));
    Outcome::damaged(summary)
}

pub(in crate::cli) fn stats(
    query: &Query,
    topic: Option<Topic>,
    server: &Server,
    context: &mut Context,
) -> Result<Outcome, Error> {
    let mut pairs = Pairs::new();
    since_pair(&mut pairs, query.since);
    given(&mut pairs, "until", query.until);
    given(&mut pairs, "by", query.by.map(By::name));
    let answer: StatsView = server.get(&of_pairs(path::STATS, &pairs)).map_err(told)?;
    let answer = topic.map_or_else(|| answer.clone(), |topic| answer.clone().only(topic));
    if context.out.is_json() {
        context.out.json(&answer)?;
    } else {
        figures::print(context, &answer)?;
    }
    if answer.unreadable > 0 {
        let events = display::counted(answer.unreadable, "event");
        context.out.warn(&format!("{events} cannot be read there and count as events at most"));
    }
    Ok(ended(&answer.gaps, display::counted(answer.total.events, "event"), context))
}

pub(in crate::cli) fn diff(
    args: &compared::Args,
    server: &Server,
    context: &mut Context,
) -> Result<Outcome, Error> {
    let pairs = vec![("a", args.a.clone()), ("b", args.b.clone()), ("limit", args.limit.to_string())];
    let answer: DiffView = server.get(&of_pairs(path::DIFF, &pairs)).map_err(told)?;
    let summary = compared::show(&answer, context)?;
    unreadable(answer.unreadable, context);
    let done = ended(&answer.gaps, summary, context);
    Ok(compared::judged(args, &answer, done))
}

/// Tells of records that the server cannot read.
fn unreadable(records: u64, context: &mut Context) {
    if records > 0 {
        let records = display::counted(records, "record");
        context.out.warn(&format!("{records} cannot be read there and do not count here"));
    }
}

/// Tells of what the server could not take in, and ends the command accordingly.
fn ended(gaps: &[GapView], summary: String, context: &mut Context) -> Outcome {
    let mut damaged = false;
    for gap in gaps {
        let corrupt = gap.reason != "retention";
        damaged |= corrupt;
        context.out.warn(&gap_words(Seq::new(gap.from_seq), Seq::new(gap.to_seq), corrupt));
    }
    if damaged { Outcome::damaged(summary) } else { Outcome::with_summary(summary) }
}

pub(in crate::cli) fn why(
    seq: u64,
    depth: u32,
    server: &Server,
    context: &mut Context,
) -> Result<Outcome, Error> {
    let pairs = vec![("why", "1".to_owned()), ("depth", depth.to_string())];
    let answer: Why = server.get(&of_pairs(&path::event(seq), &pairs)).map_err(told)?;
    chain::show(context, &answer)
}
