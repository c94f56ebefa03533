//! The way to a frame that nobody has walked to: frames stand in order of seq and of time, and each can be told apart
//! from anything else by itself, so a segment is halved by looking for the first whole header behind a place in it.
//!
//! Constraints: nothing beside the segment is read, written or trusted, and damage may cost time but no answer.
//! Where no header is found, or where it was not searched for to the end, the search goes on before that place: it
//! ends at an earlier frame, and an earlier start is never wrong, since whoever reads from there verifies and
//! sorts what lies between as a reader from the begin does.
//!
//! A function of whatever finds headers; the bytes are the caller's business.

use crate::format::{ALIGN, BATCH_HEADER_BYTES, BatchHeader};
use crate::index::FRAME_STRETCH_BYTES;
use crate::scan::Identity;

/// A search is over when this little is left: walking a few headers is cheaper than another look.
const REST_BYTES: u64 = FRAME_STRETCH_BYTES;

/// Headers that are walked to before the first look behind a place: where frames are large, these few lead to all of them, and a look would
/// go through half a frame.
const WALKED_FRAMES: u32 = 8;

/// The last frame that begins in `start..end` and of which `is_before` says so, or one before it; `None` if there is none.
/// `first_from(at, end)` gives the first whole header that begins in `at..end`, with its offset, or `None`.
///
/// A frame may begin at `start`. A few are walked; from there on strides double, so that what is near costs little however long the segment is.
///
/// # Errors
/// Those of `first_from`.
pub(crate) fn last_before<E>(
    (start, end): (u64, u64),
    is_before: impl Fn(&BatchHeader) -> bool,
    mut first_from: impl FnMut(u64, u64) -> Result<Option<(u64, BatchHeader)>, E>,
) -> Result<Option<(u64, BatchHeader)>, E> {
    let (mut low, mut high, mut best) = (start, end, None);
    let (mut stride, mut walked) = (Some(0), 0);
    while high.saturating_sub(low) > REST_BYTES {
        let middle = low + (high - low) / 2;
        let at = stride.map_or(middle, |stride| middle.min(low + stride)).next_multiple_of(ALIGN as u64);
        match first_from(at, high)? {
            Some((found, header)) if is_before(&header) => {
                best = Some((found, header));
                low = found + header.frame_bytes() as u64;
                walked += 1;
                stride = stride.map(|_| if walked < WALKED_FRAMES { 0 } else { REST_BYTES.max(low - start) });
            }
            _ => {
                high = at;
                stride = None;
            }
        }
    }
    Ok(best)
}

/// The first whole header of a frame of `identity` that begins in `from..to` of `bytes`, which stand at `origin` of the file.
pub(crate) fn first_header(
    bytes: &[u8],
    origin: u64,
    identity: Identity,
    (from, to): (usize, usize),
) -> Option<(usize, BatchHeader)> {
    let to = to.min((bytes.len() + 1).saturating_sub(BATCH_HEADER_BYTES));
    let found = (from.next_multiple_of(ALIGN)..to).step_by(ALIGN).find_map(|at| {
        let header = BatchHeader::decode(&bytes[at..], origin + at as u64).ok()?;
        (Identity { journal: header.journal, salt: header.salt } == identity).then_some((at, header))
    });
    #[cfg(test)]
    crate::tests::seek::look(found.as_ref().map_or(to, |(at, _)| *at).saturating_sub(from));
    found
}
