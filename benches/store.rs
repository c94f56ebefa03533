//! What a start costs, and what a hook pays for its place in the inbox: `cargo bench --bench store`.
//!
//! - `open`: a store over a million events, opened after an orderly stop and after the writing process was killed outright, up to
//!   the first event that is taken (which needs the index of ids).
//! - `deposit`: one event into the inbox, beside the limit: create, write and rename the same bytes. In turn, in one run.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mnemosyne::clock::{self, Clock as _, SystemClock};
use mnemosyne::config::{DataDir, Settings};
use mnemosyne::event::{Event, payload};
use mnemosyne::store::inbox::{Deposit, deposit};
use mnemosyne::store::{Level, Opening, Store};

const EVENTS: u64 = 1_000_000;
const OPENINGS: usize = 5;
const DEPOSITS: usize = 20_000;
const BATCH: u64 = 1_000;
/// Names the data directory that a child of this process writes to, and how much, before it is killed.
const CHILD: &str = "MNEMOSYNE_BENCH_CHILD";

type Fault = Box<dyn std::error::Error>;

fn main() -> Result<(), Fault> {
    if let Some(job) = std::env::var_os(CHILD) {
        let job = job.into_string().map_err(|_| "a name that is no text")?;
        let (count, dir) = job.split_once(' ').ok_or("a job without a directory")?;
        return write_and_die(&DataDir::at(dir), count.parse()?);
    }
    // `cargo test` starts benches, too, to see that they run.
    let full = std::env::args().any(|argument| argument == "--bench");
    let (events, openings, deposits) = if full { (EVENTS, OPENINGS, DEPOSITS) } else { (2_000, 1, 20) };
    let home = tempfile::tempdir()?;
    let mut out = std::io::stdout().lock();
    bench_open(&home.path().join("data"), events, openings, &mut out)?;
    bench_deposit(&home.path().join("other"), deposits, &mut out)
}

fn bench_open(path: &Path, events: u64, openings: usize, out: &mut impl Write) -> Result<(), Fault> {
    let dir = DataDir::at(path);
    run_child(path, events)?;
    writeln!(out, "a journal of {events} events: open, first event, close")?;
    tell(out, "killed while it wrote all of them", vec![open(&dir)?])?;
    let stopped = (0..openings).map(|_| open(&dir)).collect::<Result<Vec<_>, _>>()?;
    tell(out, "stopped in order", stopped)?;
    let killed = (0..openings).map(|_| run_child(path, 1).and_then(|()| open(&dir)));
    tell(out, "killed after one event more", killed.collect::<Result<Vec<_>, _>>()?)
}

fn tell(out: &mut impl Write, name: &str, mut took: Vec<[Duration; 3]>) -> Result<(), Fault> {
    let mut middle = [0; 3];
    for (step, middle) in middle.iter_mut().enumerate() {
        took.sort_by_key(|took| took[step]);
        *middle = took[took.len() / 2][step].as_micros();
    }
    let [open, first, close] = middle;
    writeln!(out, "{name:36} {open:>9} us {first:>9} us {close:>9} us")?;
    Ok(())
}

fn open(dir: &DataDir) -> Result<[Duration; 3], Fault> {
    let begun = Instant::now();
    let (store, _) = Store::open(dir, Opening::server("bench", Arc::new(SystemClock), Settings::default()))?;
    let open = begun.elapsed();
    let begun = Instant::now();
    store.emit(vec![event(u64::MAX)], Level::Os, None)?.wait()?;
    let first = begun.elapsed();
    let begun = Instant::now();
    store.close()?;
    Ok([open, first, begun.elapsed()])
}

fn run_child(path: &Path, events: u64) -> Result<(), Fault> {
    let job = format!("{events} {}", path.display());
    let status = Command::new(std::env::current_exe()?).env(CHILD, job).status()?;
    // Killed: an exit code would mean that it failed before.
    if status.code().is_none() {
        Ok(())
    } else {
        Err(format!("the writing process ended with {status}").into())
    }
}

fn write_and_die(dir: &DataDir, events: u64) -> Result<(), Fault> {
    let opening = Opening::server("bench", Arc::new(SystemClock), Settings::default());
    let (store, _) = Store::open(dir, opening)?;
    let mut written = 0;
    while written < events {
        let count = BATCH.min(events - written);
        let batch = (written..written + count).map(event).collect();
        written += count;
        let level = if written == events { Level::Disk } else { Level::Os };
        store.emit(batch, level, None)?.wait()?;
    }
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
    Err("it outlived its own kill".into())
}

fn event(n: u64) -> Event {
    let payload = payload::NotificationRaised {
        message: format!("notification {n} of a session that does usual things"),
        notification_type: "bench".into(),
        title: None,
    };
    let source = clock::this_source("bench");
    Event::new(clock::new_id(&SystemClock), SystemClock.now(), "session-a", source, payload)
        .with_session("session-a")
}

fn bench_deposit(path: &Path, deposits: usize, out: &mut impl Write) -> Result<(), Fault> {
    let dir = DataDir::at(path);
    dir.create()?;
    let bare = path.join("bare");
    std::fs::create_dir(&bare)?;
    let event = event(1);
    // What a deposit writes: sixteen bytes of header, then the event.
    let bytes = [vec![0; 16], event.encode()].concat();
    let (mut ours, mut limit) = (Vec::new(), Vec::new());
    for n in 0..deposits {
        let begun = Instant::now();
        deposit(&dir.inbox(), &event, &SystemClock, Deposit::Os)?;
        ours.push(begun.elapsed());
        let (temporary, name) = (bare.join(format!("{n:020}-1-00.tmp")), bare.join(format!("{n:020}-1-00")));
        let begun = Instant::now();
        std::fs::OpenOptions::new().write(true).create_new(true).open(&temporary)?.write_all(&bytes)?;
        std::fs::rename(&temporary, &name)?;
        limit.push(begun.elapsed());
    }
    let (ours, limit) = (middle(ours), middle(limit));
    let ratio = ours.as_secs_f64() / limit.as_secs_f64();
    writeln!(out, "one event of {} bytes into the inbox", bytes.len())?;
    writeln!(out, "{:36} {:>9.1} us", "deposit", ours.as_secs_f64() * 1e6)?;
    writeln!(out, "{:36} {:>9.1} us", "limit: create, write, rename", limit.as_secs_f64() * 1e6)?;
    writeln!(out, "{:36} {ratio:>9.2}", "ratio")?;
    Ok(())
}

fn middle(mut took: Vec<Duration>) -> Duration {
    took.sort();
    took[took.len() / 2]
}
