//! A directory of segments, one look at a time.
//!
//! A writer may be at work meanwhile, and a large segment is read piece by piece: a later piece can hold frames that were
//! written after an earlier one was read, and what is missing between them looks like damage. What a writer has written
//! it never changes, and it writes in order. So a last segment with a problem is read a second time, up to where the
//! first look saw anything: all of that was written before the second began, and the second look counts. A segment that is gone when its turn comes was dropped by retention if everything before
//! it is gone too.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::catalog::{list_bases, open_segment, read_footer, refusal};
use crate::disk::{Access, Disk, DiskFile, read_full};
use crate::error::{Error, Result};
use crate::format::segment::segment_name;
use crate::format::tail::{TAIL_BYTES, TAIL_NAME, TailFile};
use crate::format::{Fault, Footer, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::opening::QUARANTINE;
use crate::scan::{Slot, seen_bytes};
use crate::types::{Hash, JournalId, Micros, Seq};
use crate::verify::{Around, Checked, MISSING_SEGMENT, NO_SEGMENT, Part, Problem, check_parts};

/// No segment is larger: a batch has at most 64 MiB, and a target beyond this is of no use to anybody. A file that
/// claims more is not read into memory.
const SEGMENT_BYTES_MAX: u64 = 4 << 30;
/// How much is read at once, and how much of it is given up where the disk cannot read.
const CHUNK_BYTES: usize = 1 << 20;
const SECTOR_BYTES: usize = 4096;

/// The segments of a directory.
#[derive(Clone, Debug)]
pub struct Survey {
    disk: Arc<dyn Disk>,
    bases: Vec<Seq>,
}

/// A segment as its name, its first and its last bytes show it.
#[derive(Clone, Debug)]
pub struct Glance {
    /// The file.
    pub name: String,
    /// The base in its name.
    pub base: Seq,
    /// Its length.
    pub file_bytes: u64,
    /// Its header, or what is wrong with it.
    pub header: std::result::Result<SegmentHeader, Fault>,
    /// Its footer, if it is sealed.
    pub footer: Option<Footer>,
}

/// A segment, read and checked.
#[derive(Debug)]
pub struct Look {
    /// The file.
    pub name: String,
    /// The base in its name.
    pub base: Seq,
    /// The base of the segment after it.
    pub next_base: Option<Seq>,
    /// All its bytes.
    pub bytes: Vec<u8>,
    /// What stands in them, in order.
    pub parts: Vec<Part>,
    /// What the check says.
    pub checked: Checked,
}

impl Glance {
    /// What no segment holds between this one and the next, which begins with `next`: the same problem that a check of the
    /// whole segment tells. `None` without a footer, which alone says where it ends.
    pub fn missing_before(&self, next: Seq) -> Option<Problem> {
        let from = self.footer?.last.next();
        (from < next).then(|| Problem {
            segment: self.name.clone(),
            bytes: self.file_bytes..self.file_bytes,
            lost: Some((from, next.prev())),
            code: MISSING_SEGMENT,
            what: NO_SEGMENT.to_owned(),
        })
    }
}

impl Survey {
    /// Lists the segments.
    ///
    /// # Errors
    /// [`Error::NoJournal`] if there is none; [`Error::Io`].
    pub fn open(disk: Arc<dyn Disk>) -> Result<Survey> {
        let bases = list_bases(&*disk)?;
        if bases.is_empty() { Err(Error::NoJournal) } else { Ok(Survey { disk, bases }) }
    }

    /// First seqs of the segments, ascending.
    pub fn bases(&self) -> &[Seq] {
        &self.bases
    }

    /// Which segment holds `seq`, if the names are right.
    pub fn index_of(&self, seq: Seq) -> Option<usize> {
        self.bases.partition_point(|base| *base <= seq).checked_sub(1)
    }

    /// Looks at the ends of a segment only.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn glance(&self, index: usize) -> Result<Glance> {
        let base = self.bases[index];
        let (file, name) = open_segment(&*self.disk, base, Access::Read)?;
        let io = |error| Error::io("read", &name, error);
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        let got = read_full(&*file, &mut bytes, 0).map_err(io)?;
        let (header, footer) = (SegmentHeader::decode(&bytes[..got]), read_footer(&*file, &name)?);
        let file_bytes = file.size().map_err(io)?;
        Ok(Glance { header, footer: footer.filter(|footer| footer.base == base), base, file_bytes, name })
    }

    /// What lies between the segments and is in none, as their footers and the names of the next ones tell.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn missing(&self) -> Result<Vec<Problem>> {
        let mut missing = Vec::new();
        for (index, next) in self.bases.iter().enumerate().skip(1) {
            missing.extend(self.glance(index - 1)?.missing_before(*next));
        }
        Ok(missing)
    }

    /// Reads and checks the segments from the one that holds `from`.
    pub fn looks(&self, from: Seq) -> Looks<'_> {
        let index = self.index_of(from).unwrap_or(0);
        let previous = (index == 0 && self.bases[0] == Seq::FIRST).then_some(Hash::ZERO);
        Looks { survey: self, index, previous, journal: None, recorded: Micros::MIN, begun: false }
    }

    /// What the tail file says, or what is wrong with it; `None` if there is no such file.
    pub fn tail_file(&self) -> Option<std::result::Result<TailFile, Fault>> {
        let file = self.disk.open(TAIL_NAME, Access::Read).ok()?;
        let mut bytes = [0; TAIL_BYTES];
        let got = read_full(&*file, &mut bytes, 0).ok()?;
        Some(TailFile::decode(&bytes[..got]))
    }

    /// The files that recovery has set aside, with their lengths, by name.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn quarantine(&self) -> Result<Vec<(String, u64)>> {
        let mut names = self.disk.list(QUARANTINE).map_err(|error| Error::io("list", QUARANTINE, error))?;
        names.sort_unstable();
        let length = |name: String| {
            let path = format!("{QUARANTINE}/{name}");
            let file = self.disk.open(&path, Access::Read);
            let bytes =
                file.and_then(|file| file.size()).map_err(|error| Error::io("measure", &path, error))?;
            Ok((name, bytes))
        };
        names.into_iter().map(length).collect()
    }

    /// Whether the directory still names this segment.
    fn still_there(&self, base: Seq) -> Result<bool> {
        Ok(list_bases(&*self.disk)?.contains(&base))
    }
}

/// The segments one after the other, each checked against those before it.
#[derive(Debug)]
pub struct Looks<'a> {
    survey: &'a Survey,
    index: usize,
    previous: Option<Hash>,
    journal: Option<JournalId>,
    recorded: Micros,
    begun: bool,
}

impl Looks<'_> {
    /// The next segment; `None` behind the last.
    ///
    /// # Errors
    /// [`Error::UnsupportedVersion`], [`Error::UnsupportedFeature`], [`Error::Io`]. Damage is not an error.
    #[expect(clippy::should_implement_trait, reason = "an error ends it, and callers use `?`")]
    pub fn next(&mut self) -> Result<Option<Look>> {
        while let Some(&base) = self.survey.bases.get(self.index) {
            self.index += 1;
            let next_base = self.survey.bases.get(self.index).copied();
            let read = match self.read(base) {
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
                read => Some(read?),
            };
            if read.is_none() && !self.begun && !self.survey.still_there(base)? {
                self.previous = None;
                continue;
            }
            let mut look = self.check(base, next_base, read.unwrap_or_default())?;
            if next_base.is_none() && !look.checked.problems.is_empty() {
                let mut again = self.read(base)?;
                again.bytes.truncate(seen_bytes(&look.bytes));
                look = self.check(base, next_base, again)?;
            }
            self.begun = true;
            self.previous = look.checked.link;
            self.journal = self.journal.or(look.checked.journal);
            self.recorded = look.checked.recorded;
            return Ok(Some(look));
        }
        Ok(None)
    }

    fn read(&self, base: Seq) -> Result<Content> {
        let (file, name) = open_segment(&*self.survey.disk, base, Access::Read)?;
        read_patiently(&*file).map_err(|error| Error::io("read", &name, error))
    }

    fn check(&self, base: Seq, next_base: Option<Seq>, content: Content) -> Result<Look> {
        let name = segment_name(base);
        let (previous, journal, recorded) = (self.previous, self.journal, self.recorded);
        let around = Around { base, next_base, journal, previous, recorded };
        let mut parts = Vec::new();
        let checked = check_parts(&content.bytes, &around, &mut |part| parts.push(part));
        let mut checked = checked.map_err(|fault| {
            let damaged = || Error::io("understand", &name, io::ErrorKind::InvalidData.into());
            refusal(fault, &name).unwrap_or_else(damaged)
        })?;
        checked.problems.extend(content.unreadable.into_iter().map(|bytes| Problem {
            segment: name.clone(),
            bytes,
            lost: None,
            code: "unreadable",
            what: "the operating system could not read these bytes; they were taken as zeros".to_owned(),
        }));
        Ok(Look { name, base, next_base, bytes: content.bytes, parts, checked })
    }
}

impl Look {
    /// Every place of the segment in order: whole records, and seqs that are lost.
    pub fn slots(&self) -> impl Iterator<Item = (Slot, &Part)> {
        self.parts.iter().flat_map(|part| {
            let (slots, missing) = match part {
                Part::Frame { slots, .. } | Part::Stretch { slots, .. } => (slots.as_slice(), None),
                Part::Missing { from, to, .. } => (&[][..], Some(Slot::Lost(*from, *to))),
            };
            slots.iter().cloned().chain(missing).map(move |slot| (slot, part))
        })
    }
}

/// What could be read of a file.
#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    unreadable: Vec<Range<u64>>,
}

/// Reads a whole file; where the disk fails, sector by sector, with zeros for those that it cannot read.
fn read_patiently(file: &dyn DiskFile) -> io::Result<Content> {
    let len = file.size()?;
    if len > SEGMENT_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let (mut content, mut chunk) = (Content::default(), vec![0; CHUNK_BYTES]);
    while (content.bytes.len() as u64) < len {
        let at = content.bytes.len() as u64;
        let wanted = CHUNK_BYTES.min(usize::try_from(len - at).unwrap_or(CHUNK_BYTES));
        let got = match read_full(file, &mut chunk[..wanted], at) {
            Ok(got) => got,
            Err(_) => read_sectors(file, &mut chunk[..wanted], at, &mut content.unreadable),
        };
        if got == 0 {
            break;
        }
        content.bytes.extend_from_slice(&chunk[..got]);
    }
    Ok(content)
}

fn read_sectors(
    file: &dyn DiskFile,
    chunk: &mut [u8],
    origin: u64,
    unreadable: &mut Vec<Range<u64>>,
) -> usize {
    let mut done = 0;
    for sector in chunk.chunks_mut(SECTOR_BYTES) {
        let at = origin + done as u64;
        match read_full(file, sector, at) {
            Ok(got) if got < sector.len() => return done + got,
            Ok(_) => {}
            Err(_) => {
                sector.fill(0);
                unreadable.push(at..at + sector.len() as u64);
            }
        }
        done += sector.len();
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimDisk;
    use crate::{Journal, Level, Options};

    /// Three segments of a few batches each.
    fn journal(batches: u32) -> SimDisk {
        let disk = SimDisk::new(1);
        let options = Options::new(JournalId::from_bytes([7; 16]), [1; 32]).with_segment_bytes_target(1_000);
        let (journal, _) = Journal::open(Arc::new(disk.clone()), options, Micros::new(1)).unwrap();
        for batch in 0..batches {
            let payload = format!("record of batch {batch}");
            let now = Micros::new(i64::from(batch));
            journal.submit(&[payload.as_bytes()], now, Level::Disk, None).unwrap().wait().unwrap();
        }
        journal.close().unwrap();
        disk
    }

    fn looks(disk: &SimDisk) -> Vec<Look> {
        let survey = Survey::open(Arc::new(disk.clone())).unwrap();
        let mut looks = survey.looks(Seq::FIRST);
        std::iter::from_fn(|| looks.next().unwrap()).collect()
    }

    fn payloads(looks: &[Look]) -> Vec<(u64, String)> {
        let whole = |look: &Look| -> Vec<(u64, String)> {
            let found = look.slots().filter_map(|(slot, _)| match slot {
                Slot::Whole(found) => Some(found),
                Slot::Lost(..) => None,
            });
            let text = |found: &crate::format::record::Found| look.bytes[found.payload.clone()].to_vec();
            found.map(|found| (found.seq.get(), String::from_utf8(text(&found)).unwrap())).collect()
        };
        looks.iter().flat_map(whole).collect()
    }

    #[test]
    fn every_record_is_seen_once_and_in_order() {
        let looks = looks(&journal(20));
        assert!(looks.len() > 2);
        let expected: Vec<_> = (0..20).map(|n| (n + 1, format!("record of batch {n}"))).collect();
        assert_eq!(payloads(&looks), expected);
        assert!(looks.iter().all(|look| look.checked.problems.is_empty() && look.checked.notes.is_empty()));
    }

    #[test]
    fn a_missing_segment_is_told_where_it_is_missing_and_the_rest_stays_readable() {
        let disk = journal(20);
        let survey = Survey::open(Arc::new(disk.clone())).unwrap();
        let (from, to) = (survey.bases()[1], survey.bases()[2]);
        disk.take(&segment_name(from));
        let looks = looks(&disk);
        assert_eq!(payloads(&looks).len() as u64, 20 - to.since(from));
        let problems: Vec<_> = looks.iter().flat_map(|look| &look.checked.problems).collect();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!((problems[0].code, problems[0].lost), ("missing_segment", Some((from, to.prev()))));
        let survey = Survey::open(Arc::new(disk)).unwrap();
        assert_eq!(
            survey.missing().unwrap().iter().collect::<Vec<_>>(),
            problems,
            "names and footers tell it too"
        );
    }

    #[test]
    fn segments_dropped_after_the_listing_are_no_damage() {
        let disk = journal(20);
        let survey = Survey::open(Arc::new(disk.clone())).unwrap();
        disk.take(&segment_name(survey.bases()[0]));
        let mut looks = survey.looks(Seq::FIRST);
        let look = looks.next().unwrap().unwrap();
        assert_eq!(look.base, survey.bases()[1]);
        assert_eq!(look.checked.problems, []);
    }

    /// A disk on which the first time a file is read, some of it was not written yet.
    #[derive(Debug)]
    struct Late {
        disk: SimDisk,
        unwritten: Range<usize>,
        opened: std::sync::atomic::AtomicU32,
        /// How many times a file may be opened before everything is there.
        opens: u32,
    }

    impl Disk for Late {
        fn list(&self, dir: &str) -> io::Result<Vec<String>> {
            self.disk.list(dir)
        }
        fn open(&self, name: &str, _: Access) -> io::Result<Arc<dyn DiskFile>> {
            let mut bytes = self.disk.content(name).unwrap();
            if self.opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < self.opens {
                bytes[self.unwritten.clone()].fill(0);
            }
            let seen = SimDisk::new(1);
            seen.put(name, bytes);
            seen.open(name, Access::Read)
        }
        fn create(&self, _: &str) -> io::Result<Arc<dyn DiskFile>> {
            unreachable!("it only reads")
        }
        fn rename(&self, _: &str, _: &str) -> io::Result<()> {
            unreachable!("it only reads")
        }
        fn remove(&self, _: &str) -> io::Result<()> {
            unreachable!("it only reads")
        }
        fn sync_dir(&self, _: &str) -> io::Result<()> {
            unreachable!("it only reads")
        }
    }

    #[test]
    fn what_was_written_between_two_reads_is_no_damage_and_what_stays_away_is() {
        for (opens, problems) in [(0, 0), (1, 0), (2, 1)] {
            let disk = journal(4);
            // The second batch, where frames behind it prove that it was flushed.
            let unwritten = 256..376;
            let late = Late { disk, unwritten, opened: 0.into(), opens };
            let survey = Survey::open(Arc::new(late)).unwrap();
            let look = survey.looks(Seq::FIRST).next().unwrap().unwrap();
            assert_eq!(look.checked.problems.len(), problems, "{:?}", look.checked.problems);
        }
    }
}
