//! What folds cost, beside reading the same journal with every checksum and copying as many bytes: `cargo bench --bench projection`.
//!
//! A journal is made from a seed, once of records of 256 bytes and once of records as long as real ones (`support/traffic.rs`), of a million
//! events, or as many as `MNEMOSYNE_BENCH_EVENTS` says, in three rounds, or
//! `MNEMOSYNE_BENCH_ROUNDS`; with 0 only the states at random seqs are timed. Then, in one run, in turn and as medians: the limits; decoding; each projection
//! folded from the first event on; all of them in one pass; the state at random seqs from the snapshots that such a pass leaves; and ranked
//! search beside a plain scan of the same records. `MNEMOSYNE_BENCH_SIZE` chooses one of the two journals, `256 B` or `real`. A word after `--` runs the limit and the
//! jobs whose name has it in it, search too.
#![allow(unreachable_pub, reason = "a bench is a program, and it reports")]

#[path = "support/traffic.rs"]
mod traffic;

use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mnemosyne::config::DataDir;
use mnemosyne::event::search::Query;
use mnemosyne::event::{Filter, Seq, Timestamp};
use mnemosyne::projection::registry::{Runners, TABLE};
use mnemosyne::projection::snapshot::Files;
use mnemosyne::projection::{AnyFold, Definition, Follower};
use mnemosyne::store::search::Search;
use mnemosyne::store::{Item, View};
use mnemosyne_journal::{Item as Record, RealDisk};
use traffic::{COMMON, Dice, RARE, Size, fill};

const EVENTS: u64 = 1_000_000;
const ROUNDS: usize = 3;
const LOOKS: usize = 100;
const BLOCK: usize = 1 << 20;
const SIZE: &str = "MNEMOSYNE_BENCH_SIZE";

type Fault = Box<dyn std::error::Error>;

fn main() -> Result<(), Fault> {
    // `cargo test` starts benches, too, to see that they run.
    let full = std::env::args().any(|argument| argument == "--bench");
    let asked = std::env::var("MNEMOSYNE_BENCH_EVENTS").ok().map(|text| text.parse()).transpose()?;
    let rounds = std::env::var("MNEMOSYNE_BENCH_ROUNDS").ok().map(|text| text.parse()).transpose()?;
    let (events, rounds, looks) =
        if full { (asked.unwrap_or(EVENTS), rounds.unwrap_or(ROUNDS), LOOKS) } else { (3_000, 1, 3) };
    let sizes = [("256 B", Size::Even(256)), ("real", Size::Real)];
    let Ok(only) = std::env::var(SIZE) else {
        // A process for each: memory that one journal took and gave back would hide what the next one takes.
        for (name, _) in sizes {
            let mut again = Command::new(std::env::current_exe()?);
            let status = again.args(std::env::args_os().skip(1)).env(SIZE, name).status()?;
            if !status.success() {
                return Err(format!("the bench of {name} ended with {status}").into());
            }
        }
        return Ok(());
    };
    let found = sizes.into_iter().find(|(name, _)| *name == only);
    let (name, size) = found.ok_or_else(|| format!("{SIZE} is `256 B` or `real`"))?;
    let home = tempfile::tempdir()?;
    Bench::new(home.path(), events, size)?.run(name, rounds, looks, &mut std::io::stdout().lock())
}

struct Bench {
    dir: DataDir,
    view: View,
    events: u64,
    bytes: u64,
}

impl Bench {
    fn new(home: &Path, events: u64, size: Size) -> Result<Bench, Fault> {
        let dir = DataDir::at(home.join("data"));
        dir.create()?;
        let bytes = fill(&dir, events, size)?;
        let view = View::open(&dir)?;
        if view.durable() != Seq::new(events) {
            return Err(format!("{events} events were written and {} are there", view.durable()).into());
        }
        Ok(Bench { dir, view, events, bytes })
    }

    fn run(&self, name: &str, rounds: usize, looks: usize, out: &mut impl Write) -> Result<(), Fault> {
        let mean = self.bytes / self.events;
        writeln!(out, "{} events of {name}, {mean} bytes each", self.events)?;
        // First, while nothing was given back that would hide what the states take.
        self.looks(looks, out)?;
        let asked = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
        if rounds > 0 {
            self.folds(rounds, asked.as_deref(), out)?;
        }
        if rounds > 0 && asked.is_none_or(|asked| "search".contains(&asked)) {
            self.searches(rounds, out)?;
        }
        writeln!(out)?;
        Ok(())
    }

    fn folds(&self, rounds: usize, asked: Option<&str>, out: &mut impl Write) -> Result<(), Fault> {
        writeln!(out, "{:32} {:>12} {:>9} {:>9}", "", "events/s", "GB/s", "of limit")?;
        let mut jobs = self.jobs();
        if let Some(part) = asked {
            jobs = jobs
                .into_iter()
                .enumerate()
                .filter(|(nth, (name, _))| *nth == 0 || name.contains(part))
                .map(|(_, job)| job)
                .collect();
        }
        let mut took = vec![Vec::new(); jobs.len()];
        for _ in 0..rounds {
            for ((_, job), took) in jobs.iter().zip(&mut took) {
                let began = Instant::now();
                job()?;
                took.push(began.elapsed());
            }
        }
        let limit = took[0].clone();
        for ((name, _), took) in jobs.iter().zip(took) {
            let ratios =
                limit.iter().zip(&took).map(|(limit, took)| limit.as_secs_f64() / took.as_secs_f64());
            let ratio = middle(ratios.map(Duration::from_secs_f64).collect()).as_secs_f64();
            let seconds = middle(took).as_secs_f64();
            let (each, bytes) = (self.events as f64 / seconds, self.bytes as f64 / seconds / 1e9);
            writeln!(out, "{name:32} {each:>12.0} {bytes:>9.3} {ratio:>9.2}")?;
        }
        Ok(())
    }

    /// Ranked search, beside a scan of the same records for the same bytes.
    fn searches(&self, rounds: usize, out: &mut impl Write) -> Result<(), Fault> {
        writeln!(out, "{:32} {:>12} {:>9} {:>9} {:>9}", "search", "found", "ms", "scan ms", "of scan")?;
        for word in ["nowhere", RARE, COMMON] {
            let (mut found, mut ours, mut scans) = (0, Vec::new(), Vec::new());
            for _ in 0..rounds {
                let query = Query::parse("q", word).map_err(|error| error.to_string())?;
                let (filter, from, limit) = (Filter::default(), Seq::FIRST, 20);
                let (through, since, until) = (Seq::MAX, None, Timestamp::MAX);
                let began = Instant::now();
                let answer =
                    self.view.search(&Search { query, filter, from, through, since, until, limit })?;
                ours.push(began.elapsed());
                found = answer.matched;
                let began = Instant::now();
                let held = self.scan(word)?;
                scans.push(began.elapsed());
                if held < found {
                    return Err(format!("{word} is in {held} records and was found in {found}").into());
                }
            }
            let (ours, scan) = (middle(ours).as_secs_f64() * 1e3, middle(scans).as_secs_f64() * 1e3);
            writeln!(out, "{word:32} {found:>12} {ours:>9.1} {scan:>9.1} {:>9.2}", scan / ours)?;
        }
        Ok(())
    }

    /// How many records hold these bytes.
    fn scan(&self, word: &str) -> Result<u64, Fault> {
        let (finder, mut held) = (memchr::memmem::Finder::new(word), 0);
        self.each_record(|record| held += u64::from(finder.find(record).is_some()))?;
        Ok(held)
    }

    fn each_record(&self, mut see: impl FnMut(&[u8])) -> Result<(), Fault> {
        let disk = Arc::new(RealDisk::new(self.dir.journal()));
        let (view, _) = mnemosyne_journal::View::open(disk, mnemosyne_journal::Writer::Absent)?;
        let mut reader = view.reader(mnemosyne_journal::Seq::FIRST);
        while let Some(item) = reader.next()? {
            match item {
                Record::Record(record) => see(record.payload),
                Record::Gap(gap) => return Err(format!("a gap in an undamaged journal: {gap:?}").into()),
            }
        }
        Ok(())
    }

    /// What is measured; the first is the limit.
    fn jobs(&self) -> Vec<(String, Box<dyn Fn() -> Result<(), Fault> + '_>)> {
        let mut jobs: Vec<(String, Box<dyn Fn() -> Result<(), Fault> + '_>)> = vec![
            ("limit: read, every checksum".to_owned(), Box::new(|| self.read())),
            (
                "limit: copy the bytes".to_owned(),
                Box::new(|| {
                    self.copy();
                    Ok(())
                }),
            ),
            ("decode".to_owned(), Box::new(|| self.decode())),
        ];
        for definition in TABLE {
            let fold = move || {
                let (fold, _) = definition.state_at(&self.view, None, Seq::MAX)?;
                self.whole(&*fold)
            };
            jobs.push((format!("fold {}", definition.name), Box::new(fold)));
            let each = move || {
                let (mut fold, mut replay) = (definition.empty(), self.view.replay(Seq::FIRST));
                while let Some(item) = replay.next()? {
                    fold.take(&item);
                }
                self.whole(&*fold)
            };
            jobs.push(("  each event taken out for it".to_owned(), Box::new(each)));
        }
        jobs.push(("fold all, one pass".to_owned(), Box::new(|| self.fold_all(None).map(drop))));
        jobs
    }

    fn read(&self) -> Result<(), Fault> {
        let mut bytes = 0;
        self.each_record(|record| bytes += black_box(record).len() as u64)?;
        if bytes == self.bytes { Ok(()) } else { Err("not all of the journal was read".into()) }
    }

    fn copy(&self) {
        let (from, mut to) = (vec![7_u8; BLOCK], vec![0_u8; BLOCK]);
        for _ in 0..self.bytes / BLOCK as u64 {
            to.copy_from_slice(black_box(&from));
            black_box(&mut to);
        }
    }

    fn decode(&self) -> Result<(), Fault> {
        let (mut replay, mut events) = (self.view.replay(Seq::FIRST), 0);
        while let Some(item) = replay.next()? {
            events += u64::from(matches!(black_box(item), Item::Event(_)));
        }
        if events == self.events { Ok(()) } else { Err("not all events were decoded".into()) }
    }

    fn whole(&self, fold: &dyn AnyFold) -> Result<(), Fault> {
        if fold.seq().get() == self.events && fold.missing() == 0 {
            return Ok(());
        }
        Err(format!("{} was folded up to {} without {}", fold.name(), fold.seq(), fold.missing()).into())
    }

    fn fold_all(&self, files: Option<&Files>) -> Result<Runners, Fault> {
        let (runners, _) = Runners::restore(files, &self.view)?;
        Follower::new(&runners).catch_up(&self.view, |_| {})?;
        if runners.seq().get() == self.events { Ok(runners) } else { Err("not all was folded".into()) }
    }

    /// States at random seqs, from the snapshots of one pass.
    fn looks(&self, looks: usize, out: &mut impl Write) -> Result<(), Fault> {
        let journal = self.view.journal_id().ok_or("no journal")?.to_bytes();
        let files = Files::new(self.dir.snapshots(), journal);
        let before = anonymous_kib()?;
        let began = Instant::now();
        let runners = self.fold_all(Some(&files))?;
        let took = began.elapsed();
        let held = anonymous_kib()?.saturating_sub(before);
        drop(runners);
        let (mut count, mut bytes) = (0, 0);
        for entry in std::fs::read_dir(self.dir.snapshots())? {
            (count, bytes) = (count + 1, bytes + entry?.metadata()?.len());
        }
        let each = self.events as f64 / took.as_secs_f64();
        writeln!(
            out,
            "{:32} {each:>12.0}  {count} snapshots of {} MiB",
            "the same with snapshots",
            bytes >> 20
        )?;
        writeln!(out, "memory held by all states: {} MiB", held >> 10)?;
        writeln!(
            out,
            "{:32} {:>9} {:>9} {:>9} {:>12}",
            "state at a random seq (ms)", "p50", "p95", "worst", "state bytes"
        )?;
        for definition in TABLE {
            self.look(definition, &files, looks, out)?;
        }
        Ok(())
    }

    fn look(
        &self,
        definition: &Definition,
        files: &Files,
        looks: usize,
        out: &mut impl Write,
    ) -> Result<(), Fault> {
        let (mut dice, mut took, mut bytes) = (Dice(11), Vec::new(), 0);
        for _ in 0..looks {
            let seq = Seq::new(dice.below(self.events) + 1);
            let began = Instant::now();
            let (fold, _) = definition.state_at(&self.view, Some(files), seq)?;
            took.push(began.elapsed());
            if fold.seq() != seq {
                return Err(format!("{} at {seq} is of {}", definition.name, fold.seq()).into());
            }
            bytes = bytes.max(fold.encode(files.journal())?.len());
        }
        took.sort();
        let ms = |part: usize| took[(took.len() - 1) * part / 100].as_secs_f64() * 1e3;
        let name = definition.name;
        writeln!(out, "{name:32} {:>9.2} {:>9.2} {:>9.2} {bytes:>12}", ms(50), ms(95), ms(100))?;
        Ok(())
    }
}

/// Memory of this process that is no file's.
fn anonymous_kib() -> Result<u64, Fault> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn middle(mut took: Vec<Duration>) -> Duration {
    took.sort();
    took[took.len() / 2]
}
