//! Opening for writing: what stands on the disk becomes a writer that may go on.
//!
//! Names first. A clean stop leaves a last segment that ends exactly with a proof frame: that frame is all that is read, and
//! writing goes on in the same file. A last segment that ends in a footer is followed by a new one; one that has nothing but its
//! header is made again, since whoever made it may have died, or failed, before its name was durable. Everything else is a crash: the last segment is read and judged ([`crate::recovery`]), and
//! writing goes on in a new segment that begins after what is proven durable. Whole batches behind the proof are copied
//! into it and made durable before it gets its name: they may have been acknowledged at level `os`, or at level `disk`
//! with no time left for a proof, and a file whose flush failed once is not to be trusted with them again.
//!
//! Steps are ordered so that a crash between any two leads to the same end when the journal is opened again: unfinished
//! bytes go to quarantine; the new segment is renamed into place; only then the old one is cut and sealed.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::catalog::{Catalog, list_bases, open_segment, read_all, read_footer, read_some, refusal};
use crate::disk::{Access, Disk, write_full};
use crate::error::{Error, Result};
use crate::format::segment::UNCHAINED;
use crate::format::{
    BATCH_HEADER_BYTES, BatchHeader, Footer, Key, SEGMENT_HEADER_BYTES, SegmentHeader, record,
};
use crate::judging::{Judged, read_judged};
use crate::options::Options;
use crate::recovered::{Damage, Recovery, TornTail};
use crate::recovery::{Surroundings, Verdict};
use crate::scan::Identity;
use crate::types::{Hash, JournalId, Level, Micros, Seq};
use crate::watch::Progress;
use crate::writer::{Active, Salts, Writer, remove_if_there};

/// The directory for bytes that were set aside.
pub(crate) const QUARANTINE: &str = "quarantine";

/// Opens or makes the journal.
pub(crate) fn open(disk: Arc<dyn Disk>, options: Options, now: Micros) -> Result<(Writer, Recovery)> {
    remove_leftovers(&*disk)?;
    let bases = list_bases(&*disk)?;
    let Some((&last, before)) = bases.split_last() else { return create(disk, options, now) };
    let ending = read_ending(&*disk, last)?;
    let (mut writer, mut recovery) = match ending {
        Ending::Clean(end) if end.next == last => (resume_next(disk, options, before, &end)?, clean()),
        Ending::Clean(end) => (resume(disk, options, &bases, &end)?, clean()),
        Ending::Sealed(end) => (resume_next(disk, options, &bases, &end)?, clean()),
        Ending::Crashed => recover(disk, options, &bases, now)?,
    };
    if let Some(&previous) = before.last()
        && let Err(error) = seal_behind(&writer, previous, last)
    {
        recovery.unsealed = Some(error);
    }
    recovery.durable = writer.durable;
    writer.write_tail();
    Ok((writer, recovery))
}

fn clean() -> Recovery {
    Recovery { clean: true, ..Recovery::default() }
}

/// How a segment ends, as far as its first and last bytes tell.
pub(crate) enum Ending {
    /// With a proof frame, or nothing but a header.
    Clean(End),
    /// With a footer.
    Sealed(End),
    /// With something else.
    Crashed,
}

/// Where writing goes on.
pub(crate) struct End {
    pub(crate) header: SegmentHeader,
    pub(crate) next: Seq,
    link: Hash,
    recorded: Micros,
    first_recorded: Option<Micros>,
    pub(crate) offset: u64,
}

/// Reads the first and the last bytes of the segment that begins with `base`.
pub(crate) fn read_ending(disk: &dyn Disk, base: Seq) -> Result<Ending> {
    let (file, name) = open_segment(disk, base, Access::Read)?;
    let header = match SegmentHeader::decode(&read_some(&*file, &name, 0, SEGMENT_HEADER_BYTES)?) {
        Ok(header) if header.base == base => header,
        Ok(_) => return Ok(Ending::Crashed),
        Err(fault) => return refusal(fault, &name).map_or(Ok(Ending::Crashed), Err),
    };
    let identity = Identity::of(&header);
    if let Some(footer) = read_footer(&*file, &name)?
        && (footer.salt, footer.journal, footer.base) == (header.salt, header.journal, base)
    {
        return Ok(Ending::Sealed(End {
            header,
            next: footer.last.next(),
            link: footer.link,
            recorded: header.created.max(footer.last_recorded),
            first_recorded: None,
            offset: footer.data_bytes,
        }));
    }
    let len = file.size().map_err(|error| Error::io("measure", &name, error))?;
    if len == SEGMENT_HEADER_BYTES as u64 {
        let (link, recorded) = (header.previous, header.created);
        return Ok(Ending::Clean(End {
            header,
            next: base,
            link,
            recorded,
            first_recorded: None,
            offset: len,
        }));
    }
    let frame = |at: u64| -> Result<Option<BatchHeader>> {
        let bytes = read_some(&*file, &name, at, BATCH_HEADER_BYTES)?;
        let frame = BatchHeader::decode(&bytes, at).ok();
        Ok(frame.filter(|frame| identity == Identity { journal: frame.journal, salt: frame.salt }))
    };
    let Some(proof) = frame(len.saturating_sub(BATCH_HEADER_BYTES as u64))?.filter(BatchHeader::is_proof)
    else {
        return Ok(Ending::Crashed);
    };
    let first = frame(SEGMENT_HEADER_BYTES as u64)?.filter(|frame| !frame.is_proof());
    Ok(Ending::Clean(End {
        header,
        next: proof.first,
        link: proof.link,
        recorded: proof.recorded,
        first_recorded: first.map(|frame| frame.recorded),
        offset: len,
    }))
}

/// A segment that was not finished has another name, and whoever made it is gone: the caller holds the lock.
fn remove_leftovers(disk: &dyn Disk) -> Result<()> {
    let names = disk.list("").map_err(|error| Error::io("list", "the journal's directory", error))?;
    for name in names.iter().filter(|name| name.ends_with(".seg.tmp")) {
        remove_if_there(disk, name).map_err(|error| Error::io("remove", name, error))?;
    }
    Ok(())
}

/// A writer that stands behind `next - 1`, everything before it durable, without a segment to write to.
fn writer_behind(
    disk: Arc<dyn Disk>,
    options: Options,
    bases: Vec<Seq>,
    journal: JournalId,
    (next, link, recorded, chained): (Seq, Hash, Micros, bool),
) -> Writer {
    let progress = Arc::new(Progress::starting_at(next.prev()));
    let catalog = Arc::new(Catalog::new(Arc::clone(&disk), journal, progress, bases));
    let salts = Salts::new(options.salt_seed);
    Writer {
        disk,
        catalog,
        options,
        chained,
        active: None,
        next,
        link,
        recorded,
        durable: next.prev(),
        proved: true,
        dirty: false,
        poison: None,
        flush_time: Duration::from_micros(200),
        flushed_at: None,
        tail_file: None,
        filler: Arc::default(),
        salts,
    }
}

fn create(disk: Arc<dyn Disk>, options: Options, now: Micros) -> Result<(Writer, Recovery)> {
    let (journal, chained) = (options.journal_id_if_new, options.chain);
    let place = (options.first_if_new, Hash::ZERO, now, chained);
    let mut writer = writer_behind(disk, options, Vec::new(), journal, place);
    writer.create_segment()?;
    writer.write_tail();
    Ok((writer, Recovery { created: true, clean: true, ..Recovery::default() }))
}

fn resume(disk: Arc<dyn Disk>, options: Options, bases: &[Seq], end: &End) -> Result<Writer> {
    let base = end.header.base;
    let (file, name) = open_segment(&*disk, base, Access::Write)?;
    // Whoever gave it its name may have died before that was durable; what is acknowledged in it must not go with the name.
    disk.sync_dir("").map_err(|error| Error::io("flush", "the journal's directory", error))?;
    let place = (end.next, end.link, end.recorded, end.header.chained());
    let mut writer = writer_behind(disk, options, bases.to_vec(), end.header.journal, place);
    writer.active = Some(Active {
        file,
        name,
        base,
        salt: end.header.salt,
        offset: end.offset,
        file_bytes: end.offset,
        first_recorded: end.first_recorded,
    });
    Ok(writer)
}

fn resume_next(disk: Arc<dyn Disk>, options: Options, bases: &[Seq], end: &End) -> Result<Writer> {
    let place = (end.next, end.link, end.recorded, end.header.chained());
    let mut writer = writer_behind(disk, options, bases.to_vec(), end.header.journal, place);
    writer.create_segment()?;
    Ok(writer)
}

/// What the segments before the last tell: the journal's id, the link and the time they end with.
#[derive(Default)]
pub(crate) struct Before {
    pub(crate) journal: Option<JournalId>,
    pub(crate) link: Option<Hash>,
    pub(crate) recorded: Option<Micros>,
}

impl Before {
    /// Asks the newest first; an id is taken from any, link and time from the nearest alone.
    pub(crate) fn read(disk: &dyn Disk, before: &[Seq]) -> Result<Before> {
        let mut told = Before::default();
        for (distance, &base) in before.iter().rev().enumerate() {
            let (file, name) = open_segment(disk, base, Access::Read)?;
            let footer = read_footer(&*file, &name)?;
            let header = SegmentHeader::decode(&read_some(&*file, &name, 0, SEGMENT_HEADER_BYTES)?).ok();
            if distance == 0 {
                told.link = footer.map(|footer| footer.link);
                told.recorded = footer.map(|footer| footer.last_recorded);
            }
            told.journal = header.map(|header| header.journal).or(footer.map(|footer| footer.journal));
            if told.journal.is_some() {
                break;
            }
        }
        Ok(told)
    }
}

/// After a crash: judge, set aside, carry over, seal.
fn recover(disk: Arc<dyn Disk>, options: Options, bases: &[Seq], now: Micros) -> Result<(Writer, Recovery)> {
    let Some((&base, before)) = bases.split_last() else { return create(disk, options, now) };
    let told = Before::read(&*disk, before)?;
    let (file, name) = open_segment(&*disk, base, Access::Read)?;
    let around =
        Surroundings { base, journal: told.journal, previous: told.link, footer: None, proven: None };
    let judged = match read_judged(&*file, &name, around)? {
        Ok(judged) => judged,
        Err(fault) => {
            let damaged = || Error::io("understand", &name, std::io::ErrorKind::InvalidData.into());
            return Err(refusal(fault, &name).unwrap_or_else(damaged));
        }
    };
    drop(file);
    let verdict = &judged.verdict;
    let mut recovery = Recovery { carried: carried(verdict), ..report(verdict, &name) };
    set_aside(&*disk, base, &judged, &mut recovery)?;

    let journal = verdict.identity.map(|identity| identity.journal).or(told.journal);
    let journal = journal.unwrap_or(options.journal_id_if_new);
    // No batch of the new segment is earlier than this.
    let created = verdict.header.map(|header| header.created);
    let created = verdict.proven_recorded.or(told.recorded).or(created).unwrap_or(now);
    let created = verdict.unproven.first().map_or(created, |(_, first)| created.min(first.recorded));
    let recorded = verdict.recorded().unwrap_or(created);
    let place = (verdict.proven.next(), verdict.proven_link, recorded, verdict.chained);
    let mut writer = writer_behind(disk, options, bases.to_vec(), journal, place);
    carry_over(&mut writer, &judged, created)?;
    if verdict.proven.next() > base
        && let Err(error) = seal_judged(&*writer.disk, base, verdict)
    {
        recovery.unsealed = Some(error);
    }
    Ok((writer, recovery))
}

fn carried(verdict: &Verdict) -> u64 {
    verdict.last().since(verdict.proven)
}

/// What a verdict means to the person who asks.
pub(crate) fn report(verdict: &Verdict, name: &str) -> Recovery {
    let torn = verdict.torn.as_ref().map(|(bytes, first)| TornTail {
        segment: name.to_owned(),
        offset: bytes.start as u64,
        bytes: bytes.len() as u64,
        first: *first,
        quarantine: None,
    });
    let damage = verdict.damage.iter().map(|(from, to, bytes)| Damage {
        from: *from,
        to: *to,
        segment: name.to_owned(),
        offset: bytes.start as u64,
        bytes: bytes.len() as u64,
        quarantine: None,
    });
    Recovery { torn, damage: damage.collect(), durable: verdict.proven, ..Recovery::default() }
}

/// Copies what is torn or damaged into the quarantine, durably, before anything else is changed.
fn set_aside(disk: &dyn Disk, base: Seq, judged: &Judged, recovery: &mut Recovery) -> Result<()> {
    let verdict = &judged.verdict;
    let keep = |range: &Range<usize>, what: &str| keep(disk, base, range.start, judged.bytes(range), what);
    if let (Some((range, _)), Some(torn)) = (&verdict.torn, &mut recovery.torn) {
        torn.quarantine = Some(keep(range, "torn")?);
    }
    for ((_, _, range), damage) in verdict.damage.iter().zip(&mut recovery.damage) {
        damage.quarantine = Some(keep(range, "damaged")?);
    }
    if recovery.torn.is_some() || !recovery.damage.is_empty() {
        disk.sync_dir(QUARANTINE).map_err(|error| Error::io("flush", QUARANTINE, error))?;
        disk.sync_dir("").map_err(|error| Error::io("flush", "the journal's directory", error))?;
    }
    Ok(())
}

/// A file in the quarantine with these bytes: one that is there from an interrupted attempt, or a new one.
fn keep(disk: &dyn Disk, base: Seq, offset: usize, bytes: &[u8], what: &str) -> Result<String> {
    for copy in 0_u32.. {
        let number = if copy == 0 { String::new() } else { format!(".{copy}") };
        let name = format!("{QUARANTINE}/{:020}-{offset:010}.{what}{number}", base.get());
        match disk.open(&name, Access::Read) {
            Ok(file) if *read_all(&*file, &name)? == *bytes => return Ok(name),
            Ok(_) => continue,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("open", &name, error)),
        }
        let file = disk.create(&name).map_err(|error| Error::io("create", &name, error))?;
        write_full(&*file, bytes, 0).map_err(|error| Error::io("write to", &name, error))?;
        file.sync_data().map_err(|error| Error::io("flush", &name, error))?;
        return Ok(name);
    }
    Err(Error::io("create", QUARANTINE, std::io::ErrorKind::AlreadyExists.into()))
}

/// Makes the segment that begins after what is proven, with the whole batches that follow the proof: the same records,
/// times and links under a new salt. It gets its name when all of it is durable, so the proof frame at its end is true
/// whenever somebody can read it.
fn carry_over(writer: &mut Writer, judged: &Judged, created: Micros) -> Result<()> {
    let verdict = &judged.verdict;
    let base = verdict.proven.next();
    let salt = writer.salts.next(base);
    let header = SegmentHeader {
        incompatible: if verdict.chained { 0 } else { UNCHAINED },
        compatible: 0,
        journal: writer.catalog.journal,
        base,
        created,
        salt,
        previous: verdict.proven_link,
    };
    let mut segment = header.encode().to_vec();
    for (at, frame) in &verdict.unproven {
        carry_frame(&mut segment, judged.bytes(&(*at..*at + frame.frame_bytes())), frame, &header);
    }
    if let Some((_, last)) = verdict.unproven.last() {
        let next = last.last().next();
        let proof = BatchHeader { salt, first: next, count: 0, body_bytes: 0, durable: next.prev(), ..*last };
        let offset = segment.len() as u64;
        segment.extend_from_slice(&proof.encode(offset));
    }
    writer.place_segment(&header, &segment)?;
    if let (Some(active), Some((_, first))) = (&mut writer.active, verdict.unproven.first()) {
        active.first_recorded = Some(first.recorded);
    }
    (writer.next, writer.link, writer.durable) = (verdict.last().next(), verdict.link(), verdict.last());
    writer.catalog.progress.publish(Level::Os, writer.durable);
    writer.catalog.progress.publish(Level::Disk, writer.durable);
    Ok(())
}

fn carry_frame(segment: &mut Vec<u8>, frame: &[u8], header: &BatchHeader, to: &SegmentHeader) {
    let start = segment.len();
    segment.extend_from_slice(frame);
    let (mut at, mut seq, key) = (BATCH_HEADER_BYTES, header.first, Key::new(to.salt));
    for _ in 0..header.count {
        at = record::seal(&mut segment[start..], at, key, seq).end;
        seq = seq.next();
    }
    let header = BatchHeader { salt: to.salt, ..*header }.encode(start as u64);
    crate::format::put(segment, start, &header);
}

/// Cuts an old segment behind what is proven and seals it. Safe to repeat; until it is done, readers do without.
fn seal_judged(disk: &dyn Disk, base: Seq, verdict: &Verdict) -> Result<()> {
    let Some(identity) = verdict.identity else { return Ok(()) };
    let (file, name) = open_segment(disk, base, Access::Write)?;
    let data_bytes = verdict.proven_end as u64;
    let footer = Footer {
        salt: identity.salt,
        journal: identity.journal,
        base,
        last: verdict.proven,
        first_recorded: verdict.first_recorded.unwrap_or_default(),
        last_recorded: verdict.proven_recorded.unwrap_or_default(),
        data_bytes,
        link: verdict.proven_link,
    };
    file.set_len(data_bytes).map_err(|error| Error::io("cut", &name, error))?;
    write_full(&*file, &footer.encode(), data_bytes).map_err(|error| Error::io("write to", &name, error))?;
    file.sync_data().map_err(|error| Error::io("flush", &name, error))
}

/// Seals the segment before the last if a crash came between making the one and sealing the other.
fn seal_behind(writer: &Writer, previous: Seq, next: Seq) -> Result<()> {
    let (file, name) = open_segment(&*writer.disk, previous, Access::Read)?;
    if read_footer(&*file, &name)?.is_some() {
        return Ok(());
    }
    let journal = Some(writer.catalog.journal);
    let around =
        Surroundings { base: previous, journal, previous: None, footer: None, proven: Some(next.prev()) };
    match read_judged(&*file, &name, around)? {
        Ok(judged) => seal_judged(&*writer.disk, previous, &judged.verdict),
        Err(fault) => refusal(fault, &name).map_or(Ok(()), Err),
    }
}
