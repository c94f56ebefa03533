//! The second address of `unsafe`: one block of BLAKE3 in each lane of the processor's vectors, and the checksums of records
//! by products without carries.
//!
//! BLAKE3 has two widths, 16 lanes with AVX-512 and 8 with AVX2, from one definition. Functions that use such instructions are
//! safe in themselves and may only be called where the processor has them, which is known when the program runs and not when it
//! is compiled. So a value of [`Avx512`], [`Avx2`] or [`Carryless`] exists only once the processor was asked, and its method needs
//! no care by anybody. The rest of `unsafe` here turns arrays of words into vectors and back, and reads bytes under a mask.
#![expect(unsafe_code, reason = "vectors that only some processors have; `disk/mmap.rs` is the other place")]

use std::arch::x86_64::{
    __m128i, __m256i, __m512i, _MM_HINT_T0, _mm_clmulepi64_si128, _mm_cvtsi32_si128, _mm_cvtsi128_si64,
    _mm_prefetch, _mm_set_epi8, _mm_set_epi64x, _mm_srli_si128, _mm_xor_si128, _mm256_add_epi32,
    _mm256_broadcastsi128_si256, _mm256_or_si256, _mm256_permute2x128_si256, _mm256_set1_epi32,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi32, _mm256_srli_epi32, _mm256_unpackhi_epi32,
    _mm256_unpackhi_epi64, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64, _mm256_xor_si256, _mm512_add_epi32,
    _mm512_clmulepi64_epi128, _mm512_extracti32x4_epi32, _mm512_maskz_expand_epi8, _mm512_maskz_loadu_epi8,
    _mm512_ror_epi32, _mm512_set_epi64, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_shuffle_i32x4,
    _mm512_ternarylogic_epi64, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64, _mm512_xor_si512, _mm512_zextsi128_si512,
};
use std::mem::transmute;

use super::crc::power;
use super::lanes::{BLOCK_BYTES, START, Step};

/// The processor has AVX-512: 16 lanes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512(());

/// The processor has AVX2: 8 lanes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx2(());

impl Avx512 {
    pub(super) fn detect() -> Option<Avx512> {
        is_x86_feature_detected!("avx512f").then_some(Avx512(()))
    }

    #[inline]
    #[expect(clippy::unused_self, reason = "a value is the proof")]
    pub(super) fn compress(self, step: &mut Step<16>) {
        // SAFETY: needs a processor with AVX-512F. A value of this type is only made where that was found.
        unsafe { compress_avx512(step) }
    }
}

impl Avx2 {
    pub(super) fn detect() -> Option<Avx2> {
        is_x86_feature_detected!("avx2").then_some(Avx2(()))
    }

    #[inline]
    #[expect(clippy::unused_self, reason = "a value is the proof")]
    pub(super) fn compress(self, step: &mut Step<8>) {
        // SAFETY: needs a processor with AVX2. A value of this type is only made where that was found.
        unsafe { compress_avx2(step) }
    }
}

/// A quarter of half a round.
macro_rules! mix {
    ($v:ident $a:literal $b:literal $c:literal $d:literal, $x:expr, $y:expr;
     $add:path, $xor:path, $r16:path, $r12:path, $r8:path, $r7:path) => {
        $v[$a] = $add($add($v[$a], $x), $v[$b]);
        $v[$d] = $r16($xor($v[$d], $v[$a]));
        $v[$c] = $add($v[$c], $v[$d]);
        $v[$b] = $r12($xor($v[$b], $v[$c]));
        $v[$a] = $add($add($v[$a], $y), $v[$b]);
        $v[$d] = $r8($xor($v[$d], $v[$a]));
        $v[$c] = $add($v[$c], $v[$d]);
        $v[$b] = $r7($xor($v[$b], $v[$c]));
    };
}

/// One round, with the words of the block in the order of `[..]`: columns, then diagonals.
macro_rules! rounds {
    ($v:ident $m:ident [$s0:literal $s1:literal $s2:literal $s3:literal $s4:literal $s5:literal $s6:literal $s7:literal
     $s8:literal $s9:literal $sa:literal $sb:literal $sc:literal $sd:literal $se:literal $sf:literal];
     $add:path, $xor:path, $r16:path, $r12:path, $r8:path, $r7:path) => {
        mix!($v 0 4 8 12, $m[$s0], $m[$s1]; $add, $xor, $r16, $r12, $r8, $r7);
        mix!($v 1 5 9 13, $m[$s2], $m[$s3]; $add, $xor, $r16, $r12, $r8, $r7);
        mix!($v 2 6 10 14, $m[$s4], $m[$s5]; $add, $xor, $r16, $r12, $r8, $r7);
        mix!($v 3 7 11 15, $m[$s6], $m[$s7]; $add, $xor, $r16, $r12, $r8, $r7);
        mix!($v 0 5 10 15, $m[$s8], $m[$s9]; $add, $xor, $r16, $r12, $r8, $r7);
        mix!($v 1 6 11 12, $m[$sa], $m[$sb]; $add, $xor, $r16, $r12, $r8, $r7);
        mix!($v 2 7 8 13, $m[$sc], $m[$sd]; $add, $xor, $r16, $r12, $r8, $r7);
        mix!($v 3 4 9 14, $m[$se], $m[$sf]; $add, $xor, $r16, $r12, $r8, $r7);
    };
}

/// The block of all lanes. Written out, because the vectors stay in registers only where every index is known.
macro_rules! compress {
    ($name:ident, $feature:literal, $lanes:literal, $vector:ty, $transpose:path, $splat:path,
     $add:path, $xor:path, $r16:path, $r12:path, $r8:path, $r7:path) => {
        #[target_feature(enable = $feature)]
        fn $name(step: &mut Step<$lanes>) {
            let m = $transpose(&step.blocks);
            let mut v = [$splat(0); 16];
            for word in 0..8 {
                // SAFETY: as many words as the vector has; every pattern of bits is a vector.
                v[word] = unsafe { transmute::<[u32; $lanes], $vector>(step.state[word]) };
            }
            for word in 0..4 {
                v[8 + word] = $splat(START[word].cast_signed());
            }
            // Words 12 and 13 count chunks: there is one, number 0.
            // SAFETY: as above.
            v[14] = unsafe { transmute::<[u32; $lanes], $vector>(step.lengths) };
            // SAFETY: as above.
            v[15] = unsafe { transmute::<[u32; $lanes], $vector>(step.flags) };
            rounds!(v m [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15]; $add, $xor, $r16, $r12, $r8, $r7);
            rounds!(v m [2 6 3 10 7 0 4 13 1 11 12 5 9 14 15 8]; $add, $xor, $r16, $r12, $r8, $r7);
            rounds!(v m [3 4 10 12 13 2 7 14 6 5 9 0 11 15 8 1]; $add, $xor, $r16, $r12, $r8, $r7);
            rounds!(v m [10 7 12 9 14 3 13 15 4 0 11 2 5 8 1 6]; $add, $xor, $r16, $r12, $r8, $r7);
            rounds!(v m [12 13 9 11 15 10 14 8 7 2 5 3 0 1 6 4]; $add, $xor, $r16, $r12, $r8, $r7);
            rounds!(v m [9 14 11 5 8 12 15 1 13 3 0 10 2 6 4 7]; $add, $xor, $r16, $r12, $r8, $r7);
            rounds!(v m [11 15 5 0 1 9 8 6 14 10 2 12 3 4 7 13]; $add, $xor, $r16, $r12, $r8, $r7);
            for word in 0..8 {
                let after = $xor(v[word], v[word + 8]);
                // SAFETY: as above, the other way.
                step.state[word] = unsafe { transmute::<$vector, [u32; $lanes]>(after) };
            }
        }
    };
}

compress!(
    compress_avx512,
    "avx512f",
    16,
    __m512i,
    words_avx512,
    _mm512_set1_epi32,
    _mm512_add_epi32,
    _mm512_xor_si512,
    _mm512_ror_epi32::<16>,
    _mm512_ror_epi32::<12>,
    _mm512_ror_epi32::<8>,
    _mm512_ror_epi32::<7>
);

compress!(
    compress_avx2,
    "avx2",
    8,
    __m256i,
    words_avx2,
    _mm256_set1_epi32,
    _mm256_add_epi32,
    _mm256_xor_si256,
    rotate_16,
    rotate_12,
    rotate_8,
    rotate_7
);

#[target_feature(enable = "avx2")]
#[inline]
fn rotate_16(v: __m256i) -> __m256i {
    let four = _mm_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2);
    _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(four))
}

#[target_feature(enable = "avx2")]
#[inline]
fn rotate_12(v: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_srli_epi32::<12>(v), _mm256_slli_epi32::<20>(v))
}

#[target_feature(enable = "avx2")]
#[inline]
fn rotate_8(v: __m256i) -> __m256i {
    let four = _mm_set_epi8(12, 15, 14, 13, 8, 11, 10, 9, 4, 7, 6, 5, 0, 3, 2, 1);
    _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(four))
}

#[target_feature(enable = "avx2")]
#[inline]
fn rotate_7(v: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_srli_epi32::<7>(v), _mm256_slli_epi32::<25>(v))
}

/// The words of 16 blocks: vector `n` has word `n` of each.
#[target_feature(enable = "avx512f")]
#[inline]
fn words_avx512(blocks: &[[u8; BLOCK_BYTES]; 16]) -> [__m512i; 16] {
    let zero = _mm512_setzero_si512();
    let (mut rows, mut pairs, mut words) = ([zero; 16], [zero; 16], [zero; 16]);
    for (row, block) in rows.iter_mut().zip(blocks) {
        // SAFETY: 64 bytes both; every pattern of bits is a vector.
        *row = unsafe { transmute::<[u8; BLOCK_BYTES], __m512i>(*block) };
    }
    for n in 0..8 {
        pairs[2 * n] = _mm512_unpacklo_epi32(rows[2 * n], rows[2 * n + 1]);
        pairs[2 * n + 1] = _mm512_unpackhi_epi32(rows[2 * n], rows[2 * n + 1]);
    }
    for n in 0..4 {
        let [a, b, c, d] = [pairs[4 * n], pairs[4 * n + 1], pairs[4 * n + 2], pairs[4 * n + 3]];
        rows[4 * n] = _mm512_unpacklo_epi64(a, c);
        rows[4 * n + 1] = _mm512_unpackhi_epi64(a, c);
        rows[4 * n + 2] = _mm512_unpacklo_epi64(b, d);
        rows[4 * n + 3] = _mm512_unpackhi_epi64(b, d);
    }
    // Now each row has four blocks' word of each quarter; quarters 0 and 2 part from 1 and 3, then from each other.
    for n in 0..4 {
        let even = _mm512_shuffle_i32x4::<0x88>(rows[n], rows[4 + n]);
        let odd = _mm512_shuffle_i32x4::<0xDD>(rows[n], rows[4 + n]);
        let later_even = _mm512_shuffle_i32x4::<0x88>(rows[8 + n], rows[12 + n]);
        let later_odd = _mm512_shuffle_i32x4::<0xDD>(rows[8 + n], rows[12 + n]);
        words[n] = _mm512_shuffle_i32x4::<0x88>(even, later_even);
        words[8 + n] = _mm512_shuffle_i32x4::<0xDD>(even, later_even);
        words[4 + n] = _mm512_shuffle_i32x4::<0x88>(odd, later_odd);
        words[12 + n] = _mm512_shuffle_i32x4::<0xDD>(odd, later_odd);
    }
    words
}

/// The words of 8 blocks, likewise.
#[target_feature(enable = "avx2")]
#[inline]
fn words_avx2(blocks: &[[u8; BLOCK_BYTES]; 8]) -> [__m256i; 16] {
    let zero = _mm256_setzero_si256();
    let (mut rows, mut pairs, mut words) = ([zero; 8], [zero; 8], [zero; 16]);
    for half in 0..2 {
        for (row, block) in rows.iter_mut().zip(blocks) {
            let bytes: [u8; 32] = super::array(block, 32 * half);
            // SAFETY: 32 bytes both; every pattern of bits is a vector.
            *row = unsafe { transmute::<[u8; 32], __m256i>(bytes) };
        }
        for n in 0..4 {
            pairs[2 * n] = _mm256_unpacklo_epi32(rows[2 * n], rows[2 * n + 1]);
            pairs[2 * n + 1] = _mm256_unpackhi_epi32(rows[2 * n], rows[2 * n + 1]);
        }
        for n in 0..2 {
            let [a, b, c, d] = [pairs[4 * n], pairs[4 * n + 1], pairs[4 * n + 2], pairs[4 * n + 3]];
            rows[4 * n] = _mm256_unpacklo_epi64(a, c);
            rows[4 * n + 1] = _mm256_unpackhi_epi64(a, c);
            rows[4 * n + 2] = _mm256_unpacklo_epi64(b, d);
            rows[4 * n + 3] = _mm256_unpackhi_epi64(b, d);
        }
        for n in 0..4 {
            words[8 * half + n] = _mm256_permute2x128_si256::<0x20>(rows[n], rows[4 + n]);
            words[8 * half + 4 + n] = _mm256_permute2x128_si256::<0x31>(rows[n], rows[4 + n]);
        }
    }
    words
}

/// The processor multiplies without carries, four times in one instruction: what the checksums of records fold with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Carryless(());

impl Carryless {
    pub(super) fn detect() -> Option<Carryless> {
        let all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vbmi2")
            && is_x86_feature_detected!("pclmulqdq")
            && is_x86_feature_detected!("vpclmulqdq");
        all.then_some(Carryless(()))
    }

    /// Eight bytes that leave in a register of zeros what `bytes` leave in `register`, once they are divided by the polynomial.
    #[inline]
    #[expect(clippy::unused_self, reason = "a value is the proof")]
    pub(super) fn fold(self, register: u32, bytes: &[u8]) -> u64 {
        // SAFETY: needs a processor with what `detect` asks for. A value of this type is only made where that was found.
        unsafe { fold(register, bytes) }
    }
}

/// What moves a polynomial `bits` up: its first half, 64 bits of a power that is 32 higher, and its second, 32 lower.
const fn upwards(bits: u32) -> [i64; 2] {
    [power(bits + 32).cast_signed(), power(bits - 32).cast_signed()]
}

/// How far ahead of the sums the bytes are asked for: whoever reads records reads on, and the processor's own guesses end with
/// each page.
const AHEAD_BYTES: usize = 4096;

/// Folds the polynomial of `bytes`, with `register` added to its first four, to eight bytes of the same remainder.
///
/// The first block is filled up with zeros in front, which change no polynomial; so all others are whole.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,pclmulqdq,vpclmulqdq")]
fn fold(register: u32, bytes: &[u8]) -> u64 {
    const BLOCK: [i64; 2] = upwards(512);
    const LANES: [[i64; 2]; 3] = [upwards(384), upwards(256), upwards(128)];
    let (head, rest) = bytes.split_at(bytes.len().saturating_sub(1) % 64 + usize::from(!bytes.is_empty()));
    let ones = if head.len() == 64 { u64::MAX } else { (1 << head.len()) - 1 };
    // SAFETY: as many bytes are read as `head` has; the mask leaves out all others.
    let first = unsafe { _mm512_maskz_loadu_epi8(ones, head.as_ptr().cast()) };
    let added = _mm512_zextsi128_si512(_mm_cvtsi32_si128(register.cast_signed()));
    let mut sum =
        _mm512_maskz_expand_epi8(ones.unbounded_shl(ones.leading_zeros()), _mm512_xor_si512(first, added));
    let by = _mm512_set_epi64(BLOCK[1], BLOCK[0], BLOCK[1], BLOCK[0], BLOCK[1], BLOCK[0], BLOCK[1], BLOCK[0]);
    // What of the register the head had no room for.
    let mut spilled = u64::from(register) >> (8 * head.len().min(4));
    let (blocks, _none) = rest.as_chunks::<64>();
    for block in blocks {
        // A hint, which may name any address.
        _mm_prefetch::<_MM_HINT_T0>(block.as_ptr().wrapping_add(AHEAD_BYTES).cast());
        // SAFETY: 64 bytes both; every pattern of bits is a vector.
        let mut block = unsafe { transmute::<[u8; 64], __m512i>(*block) };
        if spilled != 0 {
            let spill = _mm_set_epi64x(0, std::mem::take(&mut spilled).cast_signed());
            block = _mm512_xor_si512(block, _mm512_zextsi128_si512(spill));
        }
        let (low, high) =
            (_mm512_clmulepi64_epi128::<0x00>(sum, by), _mm512_clmulepi64_epi128::<0x11>(sum, by));
        sum = _mm512_ternarylogic_epi64::<EITHER_OF_THREE>(low, high, block);
    }
    let [a, b, c] = LANES;
    let by = _mm512_set_epi64(0, 0, c[1], c[0], b[1], b[0], a[1], a[0]);
    let last = _mm512_extracti32x4_epi32::<3>(sum);
    let moved = _mm512_xor_si512(
        _mm512_clmulepi64_epi128::<0x00>(sum, by),
        _mm512_clmulepi64_epi128::<0x11>(sum, by),
    );
    let ab = _mm_xor_si128(_mm512_extracti32x4_epi32::<0>(moved), _mm512_extracti32x4_epi32::<1>(moved));
    let cd = _mm_xor_si128(_mm512_extracti32x4_epi32::<2>(moved), last);
    fold_128(_mm_xor_si128(ab, cd))
}

const EITHER_OF_THREE: i32 = 0x96;

/// From 16 bytes to eight, with the 32 zeros behind them that a checksum divides along.
#[target_feature(enable = "pclmulqdq")]
#[inline]
fn fold_128(sum: __m128i) -> u64 {
    let by = _mm_set_epi64x(power(64).cast_signed(), power(96).cast_signed());
    let sum = _mm_xor_si128(_mm_clmulepi64_si128::<0x00>(sum, by), _mm_srli_si128::<8>(sum));
    let first = _mm_set_epi64x(0, _mm_cvtsi128_si64(sum) & 0xFFFF_FFFF);
    let sum = _mm_xor_si128(_mm_clmulepi64_si128::<0x10>(first, by), _mm_srli_si128::<4>(sum));
    _mm_cvtsi128_si64(sum).cast_unsigned()
}
