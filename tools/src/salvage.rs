//! `salvage`: everything readable, copied into a new journal that holds.
//!
//! Records keep their seq, their time and their batch. A lost record's place is taken by a `corruption_detected` event
//! that says so, because a seq must not be given to another record and a journal must have no hole. The batches are
//! linked anew, so the copy gets an id of its own: nobody shall take it for the original.

use std::fs::{self, DirBuilder, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mnemosyne::event::text::visible;
use mnemosyne::event::{Event, Source, ids, payload};
use mnemosyne::projection::base;
use mnemosyne_journal::inspect::Survey;
use mnemosyne_journal::verify::Part;
use mnemosyne_journal::{Hash, Journal, JournalId, Level, Lock, Micros, Options, RealDisk, Seq};
use serde_json::json;

use crate::failure::Failure;
use crate::out::Out;
use crate::place::Place;
use crate::records::{self, Flow, Gap, Item, Record, Span};
use crate::text;

/// More lost records than this are not replaced one by one.
const REPLACED_MAX: u64 = 1_000_000;
/// A batch of the copy is ended when it holds this much, whatever it was before.
const BATCH_BYTES_TARGET: usize = 32 << 20;
/// Records without a batch of their own are put together in batches of this many.
const BATCH_RECORDS_MAX: usize = 1_000;

/// Copy everything readable into a new journal
///
/// NEWDIR becomes a data directory with a journal of its own id that holds every record that can still be read, under the
/// same seq and with the same time. In the place of a lost record stands an event that tells what
/// was there. Where retention has dropped the beginning, the states that stand for it are carried over. Nothing in DIR is
/// changed. The copy is verified before the command ends; one that was begun and failed is left as
/// it is. Exit code 4: something was lost, or DIR was damaged in another way.
#[derive(Debug, clap::Args)]
pub(crate) struct SalvageArgs {
    /// A data directory or a journal directory
    dir: PathBuf,
    /// The directory to make; it must not exist
    #[arg(long, short, value_name = "NEWDIR")]
    output: PathBuf,
    /// Leave lost records out and give the others new seqs, from 1
    #[arg(long)]
    renumber: bool,
}

pub(crate) fn run(args: &SalvageArgs, out: &mut Out) -> Result<(), Failure> {
    let place = Place::find(&args.dir)?;
    let survey = place.open()?;
    let target = make_target(&place, &args.output)?;
    let mut copy = Copy::new(&target, args.renumber);
    records::each(&survey, Span::ALL, out, |item, _| {
        match item {
            Item::Record(record) => copy.record(&record)?,
            Item::Gap(gap) => copy.gap(&gap)?,
        }
        Ok(Flow::On)
    })?;
    let done = copy.finish()?;
    let checked = verified(&target)?;
    if checked.records != done.kept + done.replaced {
        let written = text::counted(done.kept + done.replaced, "record");
        let words = format!("the copy holds {} of {written}: is there space?", checked.records);
        return Err(Failure::Failed(words));
    }
    let carried = carry(&place, &target, &done, checked.last, args.renumber, out)?;
    if done.lost > 0 {
        out.damage();
    }
    if place.data.is_some() {
        out.note("events that wait in the inbox were not copied; they are safe where they are");
    }
    if out.is_json() {
        out.json(&done.as_json(&carried, &checked))
    } else {
        done.print(&args.output, &carried, &checked, out)
    }
}

/// The states that stand for what retention has dropped.
#[derive(Default)]
struct Carried {
    /// The last seqs that they stand for, of the bases that were copied.
    bases: Vec<u64>,
    states: usize,
    /// States, or whole bases, that cannot be believed.
    refused: usize,
}

/// Copies the bases that the copy begins from, under its id.
fn carry(
    place: &Place,
    target: &Path,
    done: &Done,
    last: Seq,
    renumber: bool,
    out: &mut Out,
) -> Result<Carried, Failure> {
    let mut carried = Carried::default();
    let cut = done.first.prev();
    let (Some(from), Some(to), true) = (done.origin, done.journal, cut > Seq::ZERO) else {
        return Ok(carried);
    };
    let Some(data) = place.data.as_ref().filter(|_| !renumber) else {
        let why = if renumber {
            "the events have other seqs now"
        } else {
            "they lie beside the journal: name the data directory to have them too"
        };
        out.note(&format!("the states that stand for seq 1 to {cut} were not copied: {why}"));
        return Ok(carried);
    };
    let failed = |error: mnemosyne::error::Error| Failure::Failed(error.to_string());
    let outward = |seq: Seq| mnemosyne::event::Seq::new(seq.get());
    for (seq, path) in base::bases(&data.join("base")).map_err(failed)?.range(outward(cut)..=outward(last)) {
        let io = |action| move |source| Failure::Io { action, path: path.clone(), source };
        let bytes = fs::read(path).map_err(io("read"))?;
        match base::relabelled(&bytes, from.to_bytes(), to.to_bytes()) {
            Ok(moved) => {
                write_base(target, *seq, &moved.bytes)?;
                carried.bases.push(seq.get());
                carried.states += moved.states - moved.refused;
                carried.refused += moved.refused;
            }
            Err(why) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                out.note(&format!("{}: {why}; it was not copied", visible(&name)));
                carried.refused += 1;
            }
        }
    }
    if carried.bases.is_empty() {
        out.note(&format!(
            "no state stands for seq 1 to {cut}, which retention has dropped: they are not in the copy"
        ));
        out.damage();
    }
    if carried.refused > 0 {
        out.damage();
    }
    Ok(carried)
}

fn write_base(target: &Path, seq: mnemosyne::event::Seq, bytes: &[u8]) -> Result<(), Failure> {
    let directory = target.join("base");
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| Failure::Io { action, path, source }
    };
    match DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(io("make", &directory)(error));
        }
        _ => {}
    }
    let path = base::path_of(&directory, seq);
    let file = File::options().write(true).create_new(true).mode(0o600).open(&path);
    let mut file = file.map_err(io("make", &path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io("write", &path))?;
    for names in [directory.as_path(), target] {
        File::open(names).and_then(|names| names.sync_all()).map_err(io("flush", names))?;
    }
    Ok(())
}

/// The new directory, outside of what is read.
fn make_target(place: &Place, output: &Path) -> Result<PathBuf, Failure> {
    let io = |action| move |source| Failure::Io { action, path: output.to_owned(), source };
    let source = place.data.as_ref().unwrap_or(&place.journal);
    let source = fs::canonicalize(source).map_err(io("resolve"))?;
    let absolute = std::path::absolute(output).map_err(io("resolve"))?;
    let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
        return Err(Failure::Usage("the new directory must have a name".to_owned()));
    };
    let parent = fs::canonicalize(parent).map_err(io("find the parent directory of"))?;
    if parent.starts_with(&source) {
        return Err(Failure::Usage("the new directory must not lie in the one that is read".to_owned()));
    }
    let target = parent.join(name);
    match DirBuilder::new().mode(0o700).create(&target) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let shown = visible(&output.display().to_string()).into_owned();
            return Err(Failure::Usage(format!("{shown} is there already: name a directory that is not")));
        }
        made => made.map_err(io("make the new directory"))?,
    }
    File::open(&parent).and_then(|parent| parent.sync_all()).map_err(io("flush the parent directory of"))?;
    Ok(target)
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let path = PathBuf::from("/dev/urandom");
    let mut bytes = [0; N];
    let read = File::open(&path).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|source| Failure::Io { action: "read", path, source })?;
    Ok(bytes)
}

/// The copy as it grows.
struct Copy<'a> {
    target: &'a Path,
    renumber: bool,
    writer: Option<(Journal, Lock)>,
    batch: Vec<Vec<u8>>,
    batch_bytes: usize,
    /// Which batch of the original the records come from, if it had a header.
    origin: Option<(Seq, Seq)>,
    recorded: Micros,
    done: Done,
}

/// What was done.
#[derive(Default)]
struct Done {
    journal: Option<JournalId>,
    /// The id of what was read.
    origin: Option<JournalId>,
    /// The first seq that was read or found lost.
    first: Seq,
    kept: u64,
    lost: u64,
    replaced: u64,
    digests: u64,
    losses: Vec<(Seq, Seq, String)>,
}

impl<'a> Copy<'a> {
    fn new(target: &'a Path, renumber: bool) -> Copy<'a> {
        Copy {
            target,
            renumber,
            writer: None,
            batch: Vec::new(),
            batch_bytes: 0,
            origin: None,
            recorded: Micros::EPOCH,
            done: Done::default(),
        }
    }

    fn record(&mut self, record: &Record<'_>) -> Result<(), Failure> {
        let origin = match record.part {
            Part::Frame { header, .. } => Some((record.look.base, header.first)),
            _ => None,
        };
        self.done.origin = self.done.origin.or(record.look.checked.journal);
        self.open(record.seq, record.recorded)?;
        if origin != self.origin || record.recorded != self.recorded {
            self.end_batch()?;
        }
        (self.origin, self.recorded) = (origin, record.recorded);
        self.done.kept += 1;
        self.done.digests += u64::from(record.redacted);
        self.put(record.payload.to_vec())
    }

    fn gap(&mut self, gap: &Gap<'_>) -> Result<(), Failure> {
        let count = gap.to.since(gap.from).saturating_add(1);
        self.done.lost = self.done.lost.saturating_add(count);
        let why = gap.why.map_or_else(|| "it cannot be read".to_owned(), text::problem);
        self.done.losses.push((gap.from, gap.to, why));
        if self.renumber {
            return Ok(());
        }
        if self.done.lost > REPLACED_MAX {
            let words = format!(
                "{} are lost, more than can be replaced one by one; run again with --renumber and another \
                 directory",
                text::counted(self.done.lost, "record")
            );
            return Err(Failure::Failed(words));
        }
        self.open(gap.from, self.recorded)?;
        let segment = gap.why.map_or_else(String::new, |problem| problem.segment.clone());
        let detail = gap.why.map(|problem| problem.what.clone());
        for seq in gap.from.get()..=gap.to.get() {
            let lost = payload::CorruptionDetected {
                readable: None,
                offset: None,
                bytes: None,
                from_seq: seq,
                to_seq: seq,
                segment: segment.clone(),
                detail: detail.clone(),
            };
            self.done.replaced += 1;
            let event = self.replacement(seq, lost);
            self.put(event)?;
        }
        Ok(())
    }

    /// The event that stands where a record was.
    fn replacement(&self, seq: u64, lost: payload::CorruptionDetected) -> Vec<u8> {
        let instance = self.done.journal.map_or_else(String::new, |id| id.to_string());
        let id = ids::natural(&instance, "corruption_detected", &seq.to_string());
        let source = Source {
            program: env!("CARGO_PKG_NAME").to_owned(),
            host: String::new(),
            pid: std::process::id(),
        };
        Event::new(id, text::timestamp(self.recorded), instance, source, lost).encode()
    }

    /// Makes the journal when the first seq is known.
    fn open(&mut self, first: Seq, now: Micros) -> Result<(), Failure> {
        if self.writer.is_some() {
            return Ok(());
        }
        let lock = Lock::try_acquire(&self.target.join("lock"), b"")?;
        let lock = lock.ok_or_else(|| Failure::Failed("somebody else uses the new directory".to_owned()))?;
        let id = JournalId::from_bytes(random()?);
        self.done.first = first;
        let first = if self.renumber { Seq::FIRST } else { first };
        let options = Options::new(id, random()?).with_first_if_new(first);
        let disk = Arc::new(RealDisk::new(self.target.join("journal")));
        let (journal, _) = Journal::open(disk, options, now)?;
        self.done.journal = Some(id);
        self.writer = Some((journal, lock));
        Ok(())
    }

    fn put(&mut self, payload: Vec<u8>) -> Result<(), Failure> {
        self.batch_bytes += payload.len();
        self.batch.push(payload);
        let is_long = self.origin.is_none() && self.batch.len() >= BATCH_RECORDS_MAX;
        if is_long || self.batch_bytes >= BATCH_BYTES_TARGET { self.end_batch() } else { Ok(()) }
    }

    fn end_batch(&mut self) -> Result<(), Failure> {
        if let (Some((journal, _)), false) = (&self.writer, self.batch.is_empty()) {
            let payloads: Vec<&[u8]> = self.batch.iter().map(Vec::as_slice).collect();
            // What a ticket would tell is told at the end: by the flush, and by reading the copy back.
            let _ticket = journal.submit(&payloads, self.recorded, Level::Os, None)?;
        }
        self.batch.clear();
        self.batch_bytes = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<Done, Failure> {
        self.end_batch()?;
        let Some((journal, _lock)) = self.writer.take() else {
            return Err(Failure::Damaged("nothing could be read; the new directory stays empty".to_owned()));
        };
        journal.flush(Level::Disk)?;
        journal.close()?;
        Ok(self.done)
    }
}

/// The copy, read back.
struct Checked {
    records: u64,
    last: Seq,
    head: Option<Hash>,
}

fn verified(target: &Path) -> Result<Checked, Failure> {
    let survey = Survey::open(Arc::new(RealDisk::new(target.join("journal"))))?;
    let mut looks = survey.looks(Seq::FIRST);
    let mut checked = Checked { records: 0, last: Seq::ZERO, head: None };
    while let Some(look) = looks.next()? {
        if let Some(problem) = look.checked.problems.first() {
            return Err(Failure::Failed(format!("the copy does not hold: {}", text::problem(problem))));
        }
        checked.records += look.checked.records;
        (checked.last, checked.head) = (look.checked.last, look.checked.link);
    }
    Ok(checked)
}

impl Done {
    fn print(
        &self,
        output: &Path,
        carried: &Carried,
        checked: &Checked,
        out: &mut Out,
    ) -> Result<(), Failure> {
        out.line(&format!("copied    into {}", visible(&output.display().to_string())))?;
        if let Some(journal) = self.journal {
            out.line(&format!("journal   {journal}, a new id: its batches are linked anew"))?;
        }
        out.line(&format!("kept      {}", text::counted(self.kept, "record")))?;
        out.line(&format!("lost      {}", text::counted(self.lost, "record")))?;
        for (from, to, why) in &self.losses {
            out.line(&format!("  {}: {why}", text::seqs(*from, *to)))?;
        }
        if self.replaced > 0 {
            let events = text::counted(self.replaced, "event");
            out.line(&format!("replaced  {events} corruption_detected in the places of the lost records"))?;
        }
        if self.digests > 0 {
            let records = text::counted(self.digests, "redacted record");
            out.line(&format!("digests   {records} without the digest of what was there before redaction"))?;
        }
        for base in &carried.bases {
            out.line(&format!("base      what stands for seq 1 to {base}, which retention has dropped"))?;
        }
        if carried.refused > 0 {
            let refused = text::counted(carried.refused as u64, "state");
            out.line(&format!("  {refused} before that cannot be believed and count as lost"))?;
        }
        if let Some(head) = checked.head {
            out.line(&format!("head      {head} after seq {}", checked.last))?;
        }
        out.line(&format!("verdict   whole: {} verified", text::counted(checked.records, "record")))
    }

    fn as_json(&self, carried: &Carried, checked: &Checked) -> serde_json::Value {
        let losses = self
            .losses
            .iter()
            .map(|(from, to, why)| json!({ "from_seq": from.get(), "to_seq": to.get(), "what": why }));
        json!({
            "version": 1,
            "journal": self.journal.map(|id| id.to_string()),
            "kept": self.kept,
            "lost": self.lost,
            "losses": losses.collect::<Vec<_>>(),
            "replaced": self.replaced,
            "digests_left_out": self.digests,
            "bases": carried.bases,
            "states": carried.states,
            "states_lost": carried.refused,
            "records": checked.records,
            "last_seq": checked.last.get(),
            "head": checked.head.map(|head| head.to_string()),
        })
    }
}
