//! `tail`: the newest events, and with `-f` each new one as it comes.
//!
//! What is there already is read from the files, as `events` does. Following goes on from the seq after it: through
//! the stream of a running server, which pushes, or else through the files, which drains the inbox meanwhile. Either
//! can end at any time: a server stops, is killed, or appears. The one thing that is kept over such a change is the
//! last seq that was shown or skipped, and both ways go on right after it; so nothing is shown twice and nothing is
//! left out.

use super::filters::Filters;
use super::lines::Lines;
use super::{Context, Exit, Outcome, events, when};
use crate::client::{self, Next, Server, Stream};
use crate::config::DataDir;
use crate::error::Error;
use crate::event::{Filter, Seq, StoredEvent};
use crate::store::{self, Delivery, Subscription};
use crate::wire::{self, sse};
use std::time::{Duration, Instant};

/// How long to wait for an event before looking whether the user wants to end, or a server has come.
const LOOK_AROUND: Duration = Duration::from_millis(100);
/// How often a follower of the files looks for a server: rarely, since it misses nothing meanwhile.
const LOOK_FOR_SERVER: Duration = Duration::from_secs(1);

/// Shows the newest events, and with -f each new one as it comes.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// How many of the newest events that match to show first [default: 10, or all with --since]
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<usize>,
    /// Go on with each new event until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
    /// Begin with what was recorded at or after this time: 2026-11-22T10:00:00Z, 2026-11-22, or 2h
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Which of them
    #[command(flatten)]
    pub filters: Filters,
}

/// Shows them.
///
/// # Errors
/// A wrong argument, no data directory, a journal that cannot be read, a server that refuses.
pub fn run(mut args: Args, context: &mut Context) -> Result<Outcome, Error> {
    args.filters.filter()?;
    let now = context.now();
    let since = args.since.map(|text| when::parse("--since", &text, now)).transpose()?;
    let view = events::open(context)?;
    args.filters.complete(&view, context)?;
    let filter = args.filters.filter()?;
    let through = view.durable();
    let mut lines = Lines::default();
    let newest = match since {
        None => events::last_matching(&view, &filter, args.lines.unwrap_or(10), through)?,
        Some(since) => {
            let mut replay =
                view.replay(view.first()).filtered(filter.clone()).through(through).since(since)?;
            let mut items = std::collections::VecDeque::new();
            while let Some(item) = replay.next()? {
                items.push_back(item);
                if args.lines.is_some_and(|n| items.len() > n) {
                    items.pop_front();
                }
            }
            items.into()
        }
    };
    for item in newest {
        lines.item(&mut context.out, &item)?;
    }
    if !args.follow {
        return events::end(&lines, context);
    }
    let dir = context.locate_data_dir()?;
    let mut follower = Follower { dir, filter, pairs: args.filters.pairs(), cursor: through };
    let result = follower.follow(&mut lines, context);
    result?;
    let summary = super::display::counted(lines.events, "event");
    Ok(Outcome { exit: Exit::Interrupted, summary: Some(format!("interrupted after {summary}")) })
}

/// Goes on after a cursor, whoever writes.
struct Follower {
    dir: DataDir,
    filter: Filter,
    pairs: Vec<(String, String)>,
    /// The last seq that was shown or skipped.
    cursor: Seq,
}

/// Why one way of following ended.
enum Turn {
    /// The user wants to end.
    Asked,
    /// The other way is to be tried.
    Other,
}

impl Follower {
    fn follow(&mut self, lines: &mut Lines, context: &mut Context) -> Result<(), Error> {
        context.interrupt.take_over();
        loop {
            let turn = match self.stream()? {
                Some(stream) => self.read_server(stream, lines, context)?,
                None => self.read_files(lines, context)?,
            };
            if matches!(turn, Turn::Asked) {
                return context.out.flush();
            }
        }
    }

    /// A stream of the server that runs, if one does and it can be reached.
    fn stream(&self) -> Result<Option<Stream>, Error> {
        let Some(server) = Server::find(&self.dir)? else { return Ok(None) };
        let pairs = self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        match server.stream(&client::target(wire::path::STREAM, pairs), Some(self.cursor.get())) {
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
                Ok(Next::Quiet) => context.out.flush()?,
                Err(error @ client::Error::Refused { .. }) => return Err(error.into()),
                // It stopped, or it broke and did not come back: whoever holds the journal now has the rest.
                Ok(Next::End) | Err(_) => return Ok(Turn::Other),
            }
        }
    }

    fn frame(&mut self, frame: &sse::Frame, lines: &mut Lines, context: &mut Context) -> Result<(), Error> {
        show_frame(frame, lines, context)?;
        if let Ok(seq) = frame.last_event_id.parse() {
            self.cursor = self.cursor.max(seq);
        }
        Ok(())
    }

    fn read_files(&mut self, lines: &mut Lines, context: &mut Context) -> Result<Turn, Error> {
        context.out.detail("following the files: no server runs");
        let view = store::read(&self.dir, &context.env)?;
        let mut subscription = view.follow(self.cursor.next(), self.filter.clone())?;
        let mut looked = Instant::now();
        loop {
            if context.interrupt.is_asked() {
                return Ok(Turn::Asked);
            }
            match subscription.wait_next(LOOK_AROUND)? {
                Some(delivery) => self.delivery(&delivery, &subscription, lines, context)?,
                None => context.out.flush()?,
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
        self.cursor = self.cursor.max(subscription.cursor());
        Ok(())
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
        sse::CHECKPOINT | sse::CLOCK => Ok(()),
        sse::LAG => {
            let lag: sse::Lag = serde_json::from_str(&frame.data).map_err(|error| broken("a lag", &error))?;
            context.out.detail(&format!("{} events behind", lag.behind));
            Ok(())
        }
        _ if context.out.is_json() => {
            lines.events += 1;
            context.out.line(&frame.data)
        }
        _ => {
            let event = StoredEvent::from_json(&frame.data).map_err(|error| broken("an event", &error))?;
            lines.event(&mut context.out, &event)
        }
    }
}
