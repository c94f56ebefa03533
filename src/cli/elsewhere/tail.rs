//! `tail --server`: the newest events there, and with `-f` its stream.
//!
//! A connection that breaks is opened again after the last event that was shown. A server that stops in order ends the following: the next
//! one lets nobody in with this token.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::cursor_file::CursorFile;
use super::super::lines::Lines;
use super::super::notes::Noted;
use super::super::shown::Shown;
use super::super::tail::{Args, show_frame};
use super::super::{Context, Exit, Outcome, display, events as here};
use super::events::{Met, Pages, Part};
use super::{asked, complete, noted, tail_of, told};
use crate::client::{Next, Server};
use crate::error::Error;
use crate::event::{Place, Seq, Timestamp};
use crate::wire::path;

/// How long to wait for an event before looking whether the user wants to end.
const LOOK_AROUND: Duration = Duration::from_millis(100);

pub(in crate::cli) fn tail(
    mut args: Args,
    (since, until): (Option<Timestamp>, Option<Place>),
    server: &Server,
    context: &mut Context,
) -> Result<Outcome, Error> {
    let waits = args.waits();
    complete(&mut args.filters, waits, server, context)?;
    let journal = args.cursor_file.is_some().then(|| server.journal_id().map_err(told)).transpose()?;
    let file = args.cursor_file.as_deref().map(|path| CursorFile::open(path, journal)).transpose()?;
    let noted = noted(server, context)?;
    let tail = tail_of(server)?;
    let mut follower = Follower { args, server, noted, shown: Shown::up_to(tail, file) };
    let mut lines = Lines::default();
    if let Some(cursor) = follower.shown.noted() {
        if cursor > tail {
            return Err(Error::CursorAhead { asked: cursor.get(), last: tail.get() });
        }
        follower.shown.cursor = cursor;
        if !follower.args.follow {
            follower.pages(Some(cursor.next().get()), None, None, None, &mut lines, context)?;
            follower.shown.cursor = tail;
        }
    } else {
        let (from, all) = (follower.args.from, since.is_some() || follower.args.from.is_some());
        let newest = follower.args.lines.or((!all).then_some(10));
        match newest {
            Some(newest) if !all && until.is_none() => follower.newest(newest, tail, &mut lines, context)?,
            newest => follower.pages(from, since, until, newest, &mut lines, context)?,
        }
    }
    follower.shown.settle(context)?;
    if !follower.args.follow {
        return here::end(&lines, context);
    }
    let followed = follower.follow(&mut lines, context);
    // What was shown before an error was shown.
    let settled = follower.shown.settle(context);
    followed.and(settled)?;
    let summary = display::counted(lines.events, "event");
    Ok(Outcome { exit: Exit::Interrupted, summary: Some(format!("interrupted after {summary}")) })
}

struct Follower<'a> {
    args: Args,
    server: &'a Server,
    /// Shown beside what is there already.
    noted: Option<Noted>,
    shown: Shown,
}

impl Follower<'_> {
    /// The newest events that match: the server finds them from its end.
    fn newest(&self, lines: usize, tail: Seq, shown: &mut Lines, context: &mut Context) -> Result<(), Error> {
        if lines == 0 || tail == Seq::ZERO {
            return Ok(());
        }
        let ends = [("tail".to_owned(), lines.to_string()), ("until".to_owned(), tail.to_string())];
        let target = self.target(ends);
        let mut stream = self.server.stream(&target, None).map_err(told)?;
        loop {
            match stream.next(LOOK_AROUND).map_err(told)? {
                Next::Frame(frame) => {
                    let before = shown.events;
                    show_frame(&frame, shown, context)?;
                    if let (Some(noted), Ok(seq)) = (&self.noted, frame.last_event_id.parse())
                        && shown.events > before
                    {
                        noted.beside(&mut context.out, seq)?;
                    }
                }
                Next::Quiet => {}
                Next::End => return Ok(()),
            }
        }
    }

    /// A part from its beginning, or the newest so many of it.
    fn pages(
        &self,
        from: Option<u64>,
        since: Option<Timestamp>,
        until: Option<Place>,
        newest: Option<usize>,
        lines: &mut Lines,
        context: &mut Context,
    ) -> Result<(), Error> {
        let part = Part { from, since, until, limit: None };
        let mut pages = Pages::begin(&self.args.filters, part, self.server)?;
        let mut kept: VecDeque<Met> = VecDeque::new();
        while let Some(met) = pages.next()? {
            let Some(newest) = newest else {
                met.show(self.noted.as_ref(), lines, context)?;
                continue;
            };
            kept.push_back(met);
            if kept.len() > newest {
                kept.pop_front();
            }
        }
        kept.iter().try_for_each(|met| met.show(self.noted.as_ref(), lines, context))
    }

    fn follow(&mut self, lines: &mut Lines, context: &mut Context) -> Result<(), Error> {
        context.interrupt.take_over();
        let target = self.target([]);
        let mut stream = self.server.stream(&target, Some(self.shown.cursor.get())).map_err(told)?;
        context.out.detail("following the server's stream");
        loop {
            if context.interrupt.is_asked() {
                return Ok(());
            }
            match stream.next(LOOK_AROUND).map_err(told)? {
                Next::Frame(frame) => {
                    show_frame(&frame, lines, context)?;
                    if let Ok(seq) = frame.last_event_id.parse() {
                        self.shown.pass(seq);
                    }
                    self.shown.one_more(context)?;
                }
                Next::Quiet => self.shown.settle(context)?,
                Next::End => {
                    let message = format!(
                        "the server at {} has stopped; what comes next is after seq {}",
                        self.server.addr(),
                        self.shown.cursor
                    );
                    return Err(Error::Server { code: "server_stopped", message });
                }
            }
        }
    }

    fn target(&self, more: impl IntoIterator<Item = (String, String)>) -> String {
        let pairs: Vec<_> = self.args.filters.pairs().into_iter().chain(more).collect();
        asked(path::STREAM, pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }
}
