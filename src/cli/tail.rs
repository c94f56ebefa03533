//! `tail`: the newest events, and with `-f` each new one as it comes.
//!
//! What is there already is read from the files, as `events` does. Following goes on from the seq after it: through
//! the stream of a running server, which pushes, or else through the files, which drains the inbox meanwhile. Either
//! can end at any time: a server stops, is killed, or appears. The one thing that is kept over such a change is the
//! last seq that was shown or skipped, and both ways go on right after it; so nothing is shown twice and nothing is
//! left out.
//!
//! With a cursor file that holds over the follower's own death too: the file is replaced after the output was flushed, soon
//! ([`Shown`]). Who is killed in between shows what lies in between once more, and
//! leaves nothing out.

use super::cursor_file::CursorFile;
use super::filters::Filters;
use super::lines::Lines;
use super::notes::Noted;
use super::shown::Shown;
use super::{Context, Exit, Outcome, elsewhere, events};
use crate::answers::{start, when};
use crate::client::{self, Next, Server, Stream};
use crate::config::DataDir;
use crate::error::Error;
use crate::event::{Filter, Place, Seq, StoredEvent, Timestamp};
use crate::projection::seq_at;
use crate::store::{self, Delivery, Item, Replay, Subscription, View};
use crate::wire::{self, sse};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Lines that are shown where nobody says how many.
const LINES_DEFAULT: usize = 10;
/// How long to wait for an event before looking whether the user wants to end, or a server has come.
const LOOK_AROUND: Duration = Duration::from_millis(100);
/// How often a follower of the files looks for a server: rarely, since it misses nothing meanwhile.
const LOOK_FOR_SERVER: Duration = Duration::from_secs(1);

/// Shows the newest events, and with -f each new one as it comes.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// How many of the newest events that match to show first [default: 10, or all with --since or --from]
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<usize>,
    /// Go on with each new event until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
    /// Begin with what was recorded at or after this time: 2026-11-22T10:00:00Z, 2026-11-22, or 2h
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Begin at this seq
    #[arg(long, value_name = "SEQ", conflicts_with = "since")]
    pub from: Option<u64>,
    /// End with this seq, or with what was recorded at or before this time; nothing is followed then
    #[arg(long, value_name = "SEQ|TIME", conflicts_with_all = ["follow", "cursor_file"])]
    pub until: Option<String>,
    /// Go on after the seq that this file holds, and keep it up to date; without the file, begin as usual
    ///
    /// With it, everything since is shown, not the newest 10. The file is replaced after the output was handed on: whoever is
    /// killed leaves nothing out and shows at most the last 256 events or 100 ms once more.
    #[arg(long, value_name = "FILE")]
    pub cursor_file: Option<std::path::PathBuf>,
    /// Which of them
    #[command(flatten)]
    pub filters: Filters,
}

impl Args {
    /// Whether a session may still come: for whoever follows, and for whoever comes again with a cursor.
    pub(super) fn waits(&self) -> bool {
        self.follow || self.cursor_file.is_some()
    }
}

/// Shows them.
///
/// # Errors
/// A wrong argument, no data directory, a session that is not on record and that nobody waits for, a journal that cannot be read, a
/// server that refuses.
pub fn run(mut args: Args, context: &mut Context) -> Result<Outcome, Error> {
    args.filters.filter()?;
    let now = context.now();
    let since = args.since.as_deref().map(|text| when::parse("--since", text, now)).transpose()?;
    let until = args.until.as_deref().map(|text| when::place("--until", text, now)).transpose()?;
    when::ordered(args.from.map(Seq::new).map(Place::Seq), until)?;
    when::ordered(since.map(Place::Time), until)?;
    if let Some(server) = context.elsewhere()? {
        return elsewhere::tail(args, (since, until), &server, context);
    }
    let view = events::open(context)?;
    let waits = args.waits();
    args.filters.complete(&view, waits, context)?;
    let filter = args.filters.filter()?;
    let through = view.durable();
    let journal = view.journal_id().map(|id| id.to_string());
    let file = args.cursor_file.as_deref().map(|path| CursorFile::open(path, journal)).transpose()?;
    let dir = context.locate_data_dir()?;
    let pairs = args.filters.pairs();
    let mut follower = Follower { dir, filter, pairs, shown: Shown::up_to(Seq::ZERO, file) };
    let mut lines = Lines::default();
    if let Some(cursor) = follower.shown.noted() {
        follower.show_after(cursor, &view, through, &mut lines, context)?;
    } else if args.lines.is_none() && (since.is_some() || args.from.is_some()) {
        let mut replay = from_there(&args, &follower.filter, (since, until), &view, through)?;
        let noted = Noted::beside_lines(replay.position(), &view, context)?;
        while let Some(item) = replay.next()? {
            noted.item(&mut lines, &mut context.out, &item)?;
        }
    } else {
        let items = newest(&args, &follower.filter, (since, until), &view, through)?;
        let noted = Noted::beside_lines(items.first().map_or(through, Item::last), &view, context)?;
        for item in items {
            noted.item(&mut lines, &mut context.out, &item)?;
        }
    }
    follower.shown.pass(through);
    follower.shown.settle(context)?;
    if !args.follow {
        return events::end(&lines, context);
    }
    let followed = follower.follow(&mut lines, context);
    // What was shown before an error was shown.
    let settled = follower.shown.settle(context);
    followed.and(settled)?;
    let summary = super::display::counted(lines.events, "event");
    Ok(Outcome { exit: Exit::Interrupted, summary: Some(format!("interrupted after {summary}")) })
}

/// The last seq that is shown first.
fn last_of(view: &View, until: Option<Place>, through: Seq) -> Result<Seq, Error> {
    Ok(match until {
        Some(Place::Seq(last)) => through.min(last),
        Some(Place::Time(last)) => through.min(seq_at(view, last)?),
        None => through,
    })
}

/// All that is shown first where it begins somewhere and nobody wants only the last of it.
fn from_there(
    args: &Args,
    filter: &Filter,
    (since, until): (Option<Timestamp>, Option<Place>),
    view: &View,
    through: Seq,
) -> Result<Replay, Error> {
    let through = last_of(view, until, through)?;
    let replay = view.replay(start(view, args.from)?).filtered(filter.clone()).through(through);
    Ok(match since {
        Some(since) => replay.since(since)?,
        None => replay,
    })
}

/// The last lines of what is shown first, without a cursor.
fn newest(
    args: &Args,
    filter: &Filter,
    (since, until): (Option<Timestamp>, Option<Place>),
    view: &View,
    through: Seq,
) -> Result<Vec<Item>, Error> {
    let n = args.lines.unwrap_or(LINES_DEFAULT);
    if since.is_none() && args.from.is_none() {
        let through = last_of(view, until, through)?;
        return events::last_matching(view, filter, n, through);
    }
    let mut replay = from_there(args, filter, (since, until), view, through)?;
    let mut items = VecDeque::new();
    while let Some(item) = replay.next()? {
        items.push_back(item);
        if items.len() > n {
            items.pop_front();
        }
    }
    Ok(items.into())
}

/// Goes on after a cursor, whoever writes.
struct Follower {
    dir: DataDir,
    filter: Filter,
    pairs: Vec<(String, String)>,
    shown: Shown,
}

/// Why one way of following ended.
enum Turn {
    /// The user wants to end.
    Asked,
    /// The other way is to be tried.
    Other,
}

impl Follower {
    /// Shows what stands after `cursor`, up to `through`.
    fn show_after(
        &mut self,
        cursor: Seq,
        view: &View,
        through: Seq,
        lines: &mut Lines,
        context: &mut Context,
    ) -> Result<(), Error> {
        if cursor > through {
            return Err(Error::CursorAhead { asked: cursor.get(), last: through.get() });
        }
        let mut replay = view.replay(cursor.next()).filtered(self.filter.clone()).through(through);
        let noted = Noted::beside_lines(cursor.next(), view, context)?;
        while let Some(item) = replay.next()? {
            noted.item(lines, &mut context.out, &item)?;
            self.shown.pass(item.last());
            self.shown.one_more(context)?;
        }
        Ok(())
    }

    fn follow(&mut self, lines: &mut Lines, context: &mut Context) -> Result<(), Error> {
        context.interrupt.take_over();
        loop {
            let turn = match self.stream()? {
                Some(stream) => self.read_server(stream, lines, context)?,
                None => self.read_files(lines, context)?,
            };
            if matches!(turn, Turn::Asked) {
                return Ok(());
            }
        }
    }

    /// A stream of the server that runs, if one does and it can be reached.
    fn stream(&mut self) -> Result<Option<Stream>, Error> {
        let Some(server) = Server::find(&self.dir)? else { return Ok(None) };
        self.shown.learn(&server.runtime().journal_id);
        let pairs = self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        if server.check_answers().is_err() {
            // It hangs, or has gone: what there is, the files have.
            return Ok(None);
        }
        match server.stream(&client::target(wire::path::STREAM, pairs), Some(self.shown.cursor.get())) {
            Ok(stream) => Ok(Some(stream)),
            Err(error @ client::Error::Refused { .. }) => Err(error.into()),
            // It has gone between being found and being asked.
            Err(_) => Ok(None),
        }
    }

    fn read_server(
        &mut self,
        mut stream: Stream,
        lines: &mut Lines,
        context: &mut Context,
    ) -> Result<Turn, Error> {
        context.out.detail("following the server's stream");
        loop {
            if context.interrupt.is_asked() {
                return Ok(Turn::Asked);
            }
            match stream.next(LOOK_AROUND) {
                Ok(Next::Frame(frame)) => self.frame(&frame, lines, context)?,
                Ok(Next::Quiet) => self.shown.settle(context)?,
                Err(error @ client::Error::Refused { .. }) => return Err(error.into()),
                // It stopped, or it broke and did not come back: whoever holds the journal now has the rest.
                Ok(Next::End) | Err(_) => return Ok(Turn::Other),
            }
        }
    }

    fn frame(&mut self, frame: &sse::Frame, lines: &mut Lines, context: &mut Context) -> Result<(), Error> {
        show_frame(frame, lines, context)?;
        if let Ok(seq) = frame.last_event_id.parse() {
            self.shown.pass(seq);
        }
        self.shown.one_more(context)
    }

    fn read_files(&mut self, lines: &mut Lines, context: &mut Context) -> Result<Turn, Error> {
        context.out.detail("following the files: no server runs");
        let view = store::read(&self.dir, &context.env)?;
        if let Some(journal) = view.journal_id() {
            self.shown.learn(&journal.to_string());
        }
        let mut subscription = view.follow(self.shown.cursor.next(), self.filter.clone())?;
        let mut looked = Instant::now();
        loop {
            if context.interrupt.is_asked() {
                return Ok(Turn::Asked);
            }
            if let Some(delivery) = subscription.wait_next(LOOK_AROUND)? {
                self.delivery(&delivery, &subscription, lines, context)?;
            } else {
                self.shown.pass(subscription.cursor());
                self.shown.settle(context)?;
            }
            if looked.elapsed() >= LOOK_FOR_SERVER {
                looked = Instant::now();
                if Server::find(&self.dir)?.is_some() {
                    return Ok(Turn::Other);
                }
            }
        }
    }

    fn delivery(
        &mut self,
        delivery: &Delivery,
        subscription: &Subscription,
        lines: &mut Lines,
        context: &mut Context,
    ) -> Result<(), Error> {
        match delivery {
            Delivery::Event(event) => lines.event(&mut context.out, event)?,
            Delivery::Gap(gap) => lines.gap(&mut context.out, gap)?,
            Delivery::Undecodable(record) => lines.undecodable(&mut context.out, record)?,
            Delivery::Checkpoint { .. } => {}
            Delivery::Lag { behind } => context.out.detail(&format!("{behind} events behind")),
        }
        self.shown.pass(subscription.cursor());
        self.shown.one_more(context)
    }
}

/// Shows what one frame of a server's stream says.
///
/// # Errors
/// A frame that is no event, and as [`super::out::Out::line`].
pub fn show_frame(frame: &sse::Frame, lines: &mut Lines, context: &mut Context) -> Result<(), Error> {
    let broken = |what: &str, error: &dyn std::fmt::Display| {
        Error::failed(format!("the server sent {what} that cannot be read: {error}"))
    };
    match frame.event.as_str() {
        sse::GAP => {
            let gap = serde_json::from_str(&frame.data).map_err(|error| broken("a gap", &error))?;
            lines.gap_frame(&mut context.out, &gap)
        }
        sse::CHECKPOINT | sse::CLOCK | sse::STATE => Ok(()),
        sse::LAG => {
            let lag: sse::Lag = serde_json::from_str(&frame.data).map_err(|error| broken("a lag", &error))?;
            context.out.detail(&format!("{} events behind", lag.behind));
            Ok(())
        }
        _ if context.out.is_json() => {
            lines.events += 1;
            context.out.json_text(&frame.data)
        }
        _ => {
            let event = StoredEvent::from_json(&frame.data).map_err(|error| broken("an event", &error))?;
            lines.event(&mut context.out, &event)
        }
    }
}
