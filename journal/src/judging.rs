//! Reading a segment to judge it, without holding all of it.
//!
//! Most of a segment is sound: whole frames, one after the other, which a later frame proves to have been flushed. Nothing of
//! them but the link, the time and the place that they end with counts for the verdict. So they pass by through a window that is
//! used again, and only what follows them is held and judged ([`crate::recovery`]): after a crash a few batches and zeros, and
//! everything from the first frame on that is not sound. To read a whole segment into fresh memory costs more than to
//! check it.

use std::ops::Range;

use crate::catalog::{read_from, read_some};
use crate::disk::{Bytes, DiskFile, read_full};
use crate::error::{Error, Result};
use crate::format::{BATCH_HEADER_BYTES, BatchHeader, Fault, SEGMENT_HEADER_BYTES, SegmentHeader, is_zero};
use crate::recovery::{Prefix, Surroundings, Verdict, judge, judge_behind};
use crate::scan::{Identity, is_sound};
use crate::types::Seq;

/// How much is read at once: little enough to stay in the processor's cache until it was checked, and some of the largest usual frames.
const WINDOW_BYTES: usize = 512 * 1024;

/// A segment that was read and judged.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) verdict: Verdict,
    /// What the verdict has places in.
    held: Bytes,
    /// Where in the file that begins.
    origin: usize,
}

impl Judged {
    /// The bytes at these places of the file, which the verdict named.
    pub(crate) fn bytes(&self, at: &Range<usize>) -> &[u8] {
        &self.held[at.start - self.origin..at.end - self.origin]
    }
}

/// Reads and judges the segment in `file`.
///
/// # Errors
/// [`Error::Io`]. A fault as of [`judge`] is given, not told: only the caller knows what it means.
pub(crate) fn read_judged(
    file: &dyn DiskFile,
    name: &str,
    around: Surroundings,
) -> Result<std::result::Result<Judged, Fault>> {
    read_judged_by(WINDOW_BYTES, file, name, around)
}

fn read_judged_by(
    window_bytes: usize,
    file: &dyn DiskFile,
    name: &str,
    around: Surroundings,
) -> Result<std::result::Result<Judged, Fault>> {
    let header = SegmentHeader::decode(&read_some(file, name, 0, SEGMENT_HEADER_BYTES)?);
    let Some(header) = header.ok().filter(|header| header.base == around.base) else {
        let held = read_from(file, name, 0)?;
        return Ok(judge(&held, around).map(|verdict| Judged { verdict, held, origin: 0 }));
    };
    let (prefix, is_rest_zero) =
        pass(window_bytes, file, header, around.proven).map_err(|error| Error::io("read", name, error))?;
    let held = if is_rest_zero { Bytes::zeros(0) } else { read_from(file, name, prefix.end as u64)? };
    let verdict = judge_behind(&held, &prefix);
    Ok(Ok(Judged { verdict, held, origin: prefix.end }))
}

/// Passes over the sound frames that are proven; whether all that follows them is zero.
fn pass(
    window_bytes: usize,
    file: &dyn DiskFile,
    header: SegmentHeader,
    proven: Option<Seq>,
) -> std::io::Result<(Prefix, bool)> {
    let (identity, file_bytes) = (Identity::of(&header), file.size()?);
    let mut prefix = Prefix::of(header, proven);
    // Sound frames that no later one has proven yet.
    let mut unproven: Vec<(u64, BatchHeader)> = Vec::new();
    let mut window = vec![0; window_bytes];
    let (mut next, mut offset, mut held) = (prefix.next, prefix.end as u64, 0);
    loop {
        // The bytes of the window from `at` on begin at `offset` of the file.
        let got = held + read_full(file, &mut window[held..], offset + held as u64)?;
        let (bytes, is_last) = (&window[..got], got < window.len());
        let mut at = 0;
        // How many bytes of the frame that begins there are not in the window.
        let missing = loop {
            let Ok(frame) = BatchHeader::decode(&bytes[at..], offset + at as u64) else { break 0 };
            let ours = Identity { journal: frame.journal, salt: frame.salt } == identity;
            if !ours || frame.first != next {
                return Ok((prefix, false));
            }
            let end = at + frame.frame_bytes();
            if end > got {
                break end - at;
            }
            if !is_sound(bytes, at, &frame, identity.key()) {
                return Ok((prefix, false));
            }
            next = frame.last().next();
            prefix.durable = prefix.durable.max(frame.durable);
            unproven.push((offset + at as u64, frame));
            let proven = unproven.partition_point(|(_, frame)| prefix.covers(frame));
            for (at, frame) in unproven.drain(..proven) {
                prefix.take(at, &frame);
            }
            at = end;
        };
        let read = offset + got as u64;
        let is_cut = missing as u64 > file_bytes.saturating_sub(read);
        (offset, held) = (offset + at as u64, got - at);
        let goes_on = (missing > 0 && !is_cut) || (held < BATCH_HEADER_BYTES && !is_last);
        if !goes_on {
            let is_zero = unproven.is_empty()
                && is_zero(&bytes[at..])
                && (is_last || only_zeros(file, &mut window, read)?);
            return Ok((prefix, is_zero));
        }
        window.copy_within(at..got, 0);
        if held + missing > window.len() {
            // The file has as many bytes of this frame, and most likely more like it.
            window.resize(held + missing + window_bytes, 0);
        }
    }
}

/// Whether the file has nothing but zeros from `offset` on.
fn only_zeros(file: &dyn DiskFile, window: &mut [u8], mut offset: u64) -> std::io::Result<bool> {
    loop {
        let got = read_full(file, window, offset)?;
        if !is_zero(&window[..got]) {
            return Ok(false);
        }
        if got < window.len() {
            return Ok(true);
        }
        offset += got as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Access, Disk};
    use crate::format::segment::segment_name;
    use crate::sim::{Rng, SimDisk};
    use crate::types::{Level, Micros};
    use crate::{Journal, tests};

    const BASE: Seq = Seq::FIRST;

    fn around(proven: Option<Seq>) -> Surroundings {
        Surroundings { base: BASE, journal: None, previous: None, footer: None, proven }
    }

    /// A segment as a crash leaves it: frames that are proven, frames that are not, zeros ahead; and how many bytes are used.
    fn segment(seed: u64) -> (Vec<u8>, usize) {
        let (disk, mut rng) = (SimDisk::new(seed), Rng::new(seed));
        let options = tests::options(seed).with_segment_bytes_target(1 << 20);
        let (journal, _) = Journal::open(std::sync::Arc::new(disk.clone()), options, Micros::new(0)).unwrap();
        for batch in 0..8 {
            let records: Vec<Vec<u8>> = (0..=rng.below(3))
                .map(|_| (0..rng.below(60)).map(|_| rng.bits().to_le_bytes()[0]).collect())
                .collect();
            let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
            let now = Micros::new(batch * 5_000);
            let _ticket = journal.submit(&records, now, Level::Os, None).unwrap();
            journal.flush(if batch < 5 { Level::Disk } else { Level::Os }).unwrap();
        }
        let mut bytes = disk.content(&segment_name(BASE)).unwrap();
        let used = bytes.len();
        bytes.resize(used + 1_000, 0);
        (bytes, used)
    }

    /// The verdict of the file with these bytes, through a window of this size, and how many of its bytes were held.
    fn judged(bytes: &[u8], window_bytes: usize, proven: Option<Seq>) -> (Verdict, usize) {
        let disk = SimDisk::new(1);
        disk.put("a segment", bytes.to_vec());
        let file = disk.open("a segment", Access::Read).unwrap();
        let judged = read_judged_by(window_bytes, &*file, "a segment", around(proven)).unwrap().unwrap();
        let named = judged.verdict.torn.iter().map(|(range, _)| range);
        for range in named.chain(judged.verdict.damage.iter().map(|(_, _, range)| range)) {
            assert_eq!(judged.bytes(range), &bytes[range.clone()]);
        }
        for (at, frame) in &judged.verdict.unproven {
            assert_eq!(
                judged.bytes(&(*at..*at + frame.frame_bytes())),
                &bytes[*at..*at + frame.frame_bytes()]
            );
        }
        (judged.verdict, judged.held.len())
    }

    #[track_caller]
    fn is_the_same(bytes: &[u8], proven: Option<Seq>, what: &str) {
        let whole = judge(bytes, around(proven)).unwrap();
        for window_bytes in [256, 700, 1 << 16] {
            let (verdict, _) = judged(bytes, window_bytes, proven);
            assert_eq!(verdict, whole, "{what}, a window of {window_bytes}");
        }
    }

    #[test]
    fn the_verdict_is_the_one_of_the_whole_bytes_whatever_is_damaged_and_wherever_they_end() {
        for seed in 0..3 {
            let (whole, used) = segment(seed);
            for proven in [None, Some(Seq::new(7))] {
                is_the_same(&whole, proven, "nothing");
                for end in 0..=used {
                    is_the_same(&whole[..end], proven, &format!("cut at {end}"));
                }
                for bit in (0..used * 8).step_by(3) {
                    let mut bytes = whole.clone();
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    is_the_same(&bytes, proven, &format!("bit {bit}"));
                }
                for at in used..whole.len() {
                    let mut bytes = whole.clone();
                    bytes[at] = 1;
                    is_the_same(&bytes, proven, &format!("a byte at {at} behind the end"));
                }
            }
        }
    }

    #[test]
    fn what_is_sound_and_proven_is_not_held() {
        let (bytes, used) = segment(1);
        let (verdict, held) = judged(&bytes, 256, None);
        let unproven = verdict.unproven.first().expect("frames that nothing proves").0;
        assert_eq!(held, bytes.len() - unproven);
        // Zeros behind the last proven frame are not held either. What proved it stood behind it.
        let (_, held) = judged(&[&bytes[..unproven], &[0; 5_000]].concat(), 256, Some(verdict.proven));
        assert_eq!(held, 0);
        // The control: damage in the midst has all that follows it held.
        let mut damaged = bytes.clone();
        damaged[SEGMENT_HEADER_BYTES + 100] ^= 1;
        let (_, held) = judged(&damaged, 256, None);
        assert_eq!(held, bytes.len() - SEGMENT_HEADER_BYTES);
        assert!(used < bytes.len());
    }
}
