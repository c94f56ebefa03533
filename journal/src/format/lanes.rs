//! BLAKE3 of many short payloads at once.
//!
//! A payload of up to 1,024 bytes is one chunk: blocks of 64 bytes that are hashed one after the other, each with what came
//! of the one before. One payload alone cannot use the width of the processor; the digests of a batch do not depend on
//! each other, so here each lane of a vector hashes a payload of its own.
//!
//! Payloads have any lengths. Each step takes the next block of every lane; a lane whose payload has ended gives its digest out and goes
//! on with the next payload that waits, so all lanes work until none waits. Longer payloads are trees of chunks, in
//! which the `blake3` crate finds lanes by itself; and that crate does everything where the processor has no vectors that
//! are known here. What comes out is the same, byte for byte (the tests compare).
#![cfg_attr(
    not(target_arch = "x86_64"),
    expect(dead_code, reason = "no vectors are known for this processor")
)]

use super::chain::digest;
#[cfg(target_arch = "x86_64")]
use super::vector::{Avx2, Avx512};
use crate::types::Hash;

/// What is hashed in one step.
pub(super) const BLOCK_BYTES: usize = 64;
/// Payloads up to this are one chunk.
const CHUNK_BYTES: usize = 1024;
/// So few payloads are faster one by one: a step takes as long for one lane as for all.
const PAYLOADS_MIN: usize = 4;

/// The state before the first block.
pub(super) const START: [u32; 8] =
    [0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A, 0x510E_527F, 0x9B05_688C, 0x1F83_D9AB, 0x5BE0_CD19];
/// Flags of a block: the first of a chunk; the last one, of a chunk that is all there is.
const CHUNK_START: u32 = 1;
const CHUNK_END_AND_ROOT: u32 = 2 | 8;

/// What one step works on, word by word: `state[word][lane]`.
pub(super) struct Step<const LANES: usize> {
    pub(super) state: [[u32; LANES]; 8],
    /// The block of each lane.
    pub(super) blocks: [[u8; BLOCK_BYTES]; LANES],
    /// How many bytes of it are the payload's.
    pub(super) lengths: [u32; LANES],
    pub(super) flags: [u32; LANES],
}

/// The digests of as many payloads as `out` has places: `payload` gives that of a place.
pub(crate) fn digests<'a>(payload: impl Fn(usize) -> &'a [u8], out: &mut [Hash]) {
    if out.len() >= PAYLOADS_MIN {
        #[cfg(target_arch = "x86_64")]
        if let Some(vectors) = Avx512::detect() {
            return run(|step| vectors.compress(step), payload, out);
        } else if let Some(vectors) = Avx2::detect() {
            return run(|step| vectors.compress(step), payload, out);
        }
    }
    for (place, out) in out.iter_mut().enumerate() {
        *out = digest(payload(place));
    }
}

/// One lane: what is left of its payload, and where the digest goes.
#[derive(Clone, Copy)]
struct Lane<'a> {
    rest: &'a [u8],
    place: usize,
    start: u32,
}

/// The next payload for a lane, if any waits. Those that are too long for one are done on the way.
fn next_lane<'a>(
    payload: &impl Fn(usize) -> &'a [u8],
    next: &mut usize,
    out: &mut [Hash],
) -> Option<Lane<'a>> {
    while *next < out.len() {
        let place = *next;
        *next += 1;
        let rest = payload(place);
        if rest.len() <= CHUNK_BYTES {
            return Some(Lane { rest, place, start: CHUNK_START });
        }
        out[place] = digest(rest);
    }
    None
}

fn run<'a, const LANES: usize>(
    compress: impl Fn(&mut Step<LANES>),
    payload: impl Fn(usize) -> &'a [u8],
    out: &mut [Hash],
) {
    let mut next = 0;
    let mut lanes: [Option<Lane<'a>>; LANES] = [None; LANES];
    let mut step = Step {
        state: START.map(|word| [word; LANES]),
        blocks: [[0; BLOCK_BYTES]; LANES],
        lengths: [0; LANES],
        flags: [0; LANES],
    };
    let mut working = 0_usize;
    for lane in &mut lanes {
        *lane = next_lane(&payload, &mut next, out);
        working += usize::from(lane.is_some());
    }
    while working > 0 {
        for (at, lane) in lanes.iter_mut().enumerate() {
            let Some(lane) = lane else { continue };
            let (taken, ends) = take_block(&mut lane.rest, &mut step.blocks[at]);
            step.lengths[at] = taken;
            step.flags[at] = lane.start | if ends { CHUNK_END_AND_ROOT } else { 0 };
            lane.start = 0;
        }
        compress(&mut step);
        for (at, lane) in lanes.iter_mut().enumerate() {
            let Some(ended) = lane.filter(|_| step.flags[at] & CHUNK_END_AND_ROOT != 0) else { continue };
            let mut bytes = [0; Hash::BYTES];
            for (word, bytes) in bytes.chunks_exact_mut(4).enumerate() {
                bytes.copy_from_slice(&step.state[word][at].to_le_bytes());
                step.state[word][at] = START[word];
            }
            out[ended.place] = Hash::from_bytes(bytes);
            *lane = next_lane(&payload, &mut next, out);
            working -= usize::from(lane.is_none());
        }
    }
}

/// Moves the next block out of `rest`, filled up with zeros; how many bytes it has, and whether it is the last.
#[inline]
fn take_block(rest: &mut &[u8], block: &mut [u8; BLOCK_BYTES]) -> (u32, bool) {
    if let Some((whole, left)) = rest.split_first_chunk() {
        *block = *whole;
        *rest = left;
        (short(BLOCK_BYTES), left.is_empty())
    } else {
        let taken = std::mem::take(rest);
        *block = [0; BLOCK_BYTES];
        block[..taken.len()].copy_from_slice(taken);
        (short(taken.len()), true)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "at most a block")]
fn short(bytes: usize) -> u32 {
    bytes as u32
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::sim::Rng;

    fn below(rng: &mut Rng, end: usize) -> usize {
        usize::try_from(rng.below(end as u64)).expect("small")
    }

    type Run = fn(&[&[u8]], &mut [Hash]);

    /// Every way that this processor has, the one that is chosen among them.
    fn ways() -> Vec<(&'static str, Run)> {
        let mut ways: Vec<(&'static str, Run)> = vec![("chosen", |payloads, out| {
            digests(|place| payloads[place], out);
        })];
        if Avx512::detect().is_some() {
            ways.push(("avx512", |payloads, out| {
                let vectors = Avx512::detect().expect("asked before");
                run(|step| vectors.compress(step), |place| payloads[place], out);
            }));
        }
        if Avx2::detect().is_some() {
            ways.push(("avx2", |payloads, out| {
                let vectors = Avx2::detect().expect("asked before");
                run(|step| vectors.compress(step), |place| payloads[place], out);
            }));
        }
        ways
    }

    /// The places at which `run` and the `blake3` crate differ.
    fn differences(run: Run, payloads: &[&[u8]]) -> Vec<usize> {
        let mut out = vec![Hash::ZERO; payloads.len()];
        run(payloads, &mut out);
        (0..payloads.len())
            .filter(|&place| out[place].to_bytes() != *blake3::hash(payloads[place]).as_bytes())
            .collect()
    }

    fn noise(bytes: usize, seed: u64) -> Vec<u8> {
        let mut rng = Rng::new(seed);
        (0..bytes).map(|_| rng.bits().to_le_bytes()[0]).collect()
    }

    #[test]
    fn every_length_gives_what_the_crate_gives() {
        let bytes = noise(4_000, 1);
        for (name, run) in ways() {
            let rising: Vec<&[u8]> = (0..=1_100).map(|length| &bytes[length..2 * length]).collect();
            assert_eq!(differences(run, &rising), Vec::<usize>::new(), "{name}, rising");
            for length in (0..=1_100).step_by(3) {
                let same: Vec<&[u8]> = (0..19).map(|at| &bytes[at..at + length]).collect();
                assert_eq!(differences(run, &same), Vec::<usize>::new(), "{name}, {length} bytes");
            }
        }
    }

    #[test]
    fn any_mix_of_lengths_gives_what_the_crate_gives() {
        let bytes = noise(70_000, 2);
        for seed in 0..150 {
            let mut rng = Rng::new(seed);
            let longest = [3, 65, 200, 1_025, 3_000][below(&mut rng, 5)];
            let payloads: Vec<&[u8]> = (0..below(&mut rng, 100))
                .map(|_| {
                    let at = below(&mut rng, 60_000);
                    &bytes[at..at + below(&mut rng, longest + 1)]
                })
                .collect();
            for (name, run) in ways() {
                assert_eq!(differences(run, &payloads), Vec::<usize>::new(), "{name}, seed {seed}");
            }
        }
    }

    /// The control of the two above: one bit of one lane wrong in one step is seen, and nowhere else.
    #[test]
    fn one_wrong_bit_in_one_lane_is_seen() {
        let Some(_) = Avx2::detect() else { return };
        let bytes = noise(1_000, 3);
        let payloads: Vec<&[u8]> = (0..8).map(|at| &bytes[at..at + 200]).collect();
        let broken: Run = |payloads, out| {
            let vectors = Avx2::detect().expect("asked before");
            let steps = std::cell::Cell::new(0);
            let compress = |step: &mut Step<8>| {
                vectors.compress(step);
                step.state[5][3] ^= u32::from(steps.replace(steps.get() + 1) == 2);
            };
            run(compress, |place| payloads[place], out);
        };
        assert_eq!(differences(broken, &payloads), vec![3]);
    }
}
