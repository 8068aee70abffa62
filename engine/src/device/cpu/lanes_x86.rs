//! The vector operations of attention on AVX-512 BF16 and on AVX2 with FMA.
//!
//! Each function here runs only within a caller that has the features enabled: the types are made nowhere else than in
//! the kernels that `attention` enters after the device has found the instruction set.

use super::kv::{GROUP, Lane};
use super::lanes::{EXP2, Lanes};
use std::arch::x86_64::*;
use std::ops::Range;

/// A mask with the bits of `range` set.
#[inline(always)]
fn mask(range: Range<usize>) -> u16 {
    let below = |n: usize| (1u32 << n) - 1;
    (below(range.end.min(GROUP)) & !below(range.start.min(GROUP))) as u16
}

/// One 512-bit register.
#[derive(Clone, Copy)]
pub(super) struct Avx512(__m512);

// SAFETY of all blocks below: the instructions are there by the module's rule; references give valid addresses.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Lanes for Avx512 {
    const ROWS: usize = 6;
    const WIDE: usize = 4;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        unsafe { Avx512(_mm512_set1_ps(x)) }
    }
    #[inline(always)]
    fn load(x: &[f32; GROUP]) -> Self {
        unsafe { Avx512(_mm512_loadu_ps(x.as_ptr())) }
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; GROUP]) {
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), self.0) }
    }
    #[inline(always)]
    fn dot(self, a: u32, b: &Lane) -> Self {
        unsafe {
            let a: __m512bh = std::mem::transmute(_mm512_set1_epi32(a as i32));
            let b: __m512bh = std::mem::transmute(_mm512_load_si512(b.0.as_ptr().cast()));
            Avx512(_mm512_dpbf16_ps(self.0, a, b))
        }
    }
    #[inline(always)]
    fn sub(self, x: Self) -> Self {
        unsafe { Avx512(_mm512_sub_ps(self.0, x.0)) }
    }
    #[inline(always)]
    fn mul(self, x: Self) -> Self {
        unsafe { Avx512(_mm512_mul_ps(self.0, x.0)) }
    }
    #[inline(always)]
    fn mul_add(self, x: Self, y: Self) -> Self {
        unsafe { Avx512(_mm512_fmadd_ps(self.0, x.0, y.0)) }
    }
    #[inline(always)]
    fn max(self, x: Self) -> Self {
        unsafe { Avx512(_mm512_max_ps(self.0, x.0)) }
    }
    #[inline(always)]
    fn keep(self, range: Range<usize>, x: f32) -> Self {
        unsafe { Avx512(_mm512_mask_blend_ps(mask(range), _mm512_set1_ps(x), self.0)) }
    }
    #[inline(always)]
    fn exp2(self) -> Self {
        unsafe {
            // `x - floor(x)`; `scalef` takes the floor itself. Minus infinity gives 0.
            let f = _mm512_reduce_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(self.0);
            let mut p = _mm512_set1_ps(EXP2[5]);
            for c in EXP2[..5].iter().rev() {
                p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(*c));
            }
            Avx512(_mm512_scalef_ps(p, self.0))
        }
    }
    #[inline(always)]
    fn round(self, next: Self, to: &mut Lane) {
        unsafe {
            let rounded: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(next.0, self.0));
            _mm512_store_si512(to.0.as_mut_ptr().cast(), rounded);
        }
    }
    #[inline(always)]
    fn prefetch(lane: *const Lane) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(lane.cast()) }
    }
    #[inline(always)]
    fn reduce_max(self) -> f32 {
        unsafe { _mm512_reduce_max_ps(self.0) }
    }
    #[inline(always)]
    fn reduce_sum(self) -> f32 {
        let halves = |x: __m512| unsafe {
            let high =
                _mm512_castsi512_ps(_mm512_castsi256_si512(_mm512_extracti64x4_epi64::<1>(_mm512_castps_si512(x))));
            _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_castps512_ps256(high))
        };
        sum_of_eight(halves(self.0))
    }
}

/// Two 256-bit registers.
#[derive(Clone, Copy)]
pub(super) struct Avx2(__m256, __m256);

/// `sum + a · b` for the eight pairs at `b`, which is aligned; the even of each pair first.
///
/// # Safety
/// Eight values are readable at `b`.
#[inline(always)]
unsafe fn dot_eight(sum: __m256, a: __m256i, b: *const u32) -> __m256 {
    // SAFETY: by contract, and see the module.
    unsafe {
        let high = _mm256_set1_epi32(0xffff_0000u32 as i32);
        let b = _mm256_load_si256(b.cast());
        let (a_even, b_even) = (_mm256_slli_epi32::<16>(a), _mm256_slli_epi32::<16>(b));
        let (a_odd, b_odd) = (_mm256_and_si256(a, high), _mm256_and_si256(b, high));
        let sum = _mm256_fmadd_ps(_mm256_castsi256_ps(a_even), _mm256_castsi256_ps(b_even), sum);
        _mm256_fmadd_ps(_mm256_castsi256_ps(a_odd), _mm256_castsi256_ps(b_odd), sum)
    }
}

/// The bf16 bits nearest to each lane, ties to even.
#[inline(always)]
fn round_eight(x: __m256) -> __m256i {
    // SAFETY: see the module.
    unsafe {
        let bits = _mm256_castps_si256(x);
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
        // Adding to a NaN's bits could make it infinite.
        let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(x, x));
        let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(1 << 22));
        _mm256_srli_epi32::<16>(_mm256_blendv_epi8(rounded, quiet, nan))
    }
}

/// `2^x` for eight lanes, see [`Lanes::exp2`].
#[inline(always)]
fn exp2_eight(x: __m256) -> __m256 {
    // SAFETY: see the module.
    unsafe {
        let whole = _mm256_floor_ps(x);
        let f = _mm256_sub_ps(x, whole);
        let mut p = _mm256_set1_ps(EXP2[5]);
        for c in EXP2[..5].iter().rev() {
            p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(*c));
        }
        let power = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
        let power = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(power));
        // False for NaN, which the polynomial has kept.
        let vanishes = _mm256_cmp_ps::<_CMP_LT_OQ>(x, _mm256_set1_ps(-126.0));
        _mm256_andnot_ps(vanishes, _mm256_mul_ps(p, power))
    }
}

/// The sum of eight lanes: halves, quarters, eighths.
#[inline(always)]
fn sum_of_eight(x: __m256) -> f32 {
    // SAFETY: see the module.
    unsafe {
        let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
        _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)))
    }
}

// SAFETY of all blocks below: as above.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Lanes for Avx2 {
    const ROWS: usize = 3;
    const WIDE: usize = 2;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        unsafe { Avx2(_mm256_set1_ps(x), _mm256_set1_ps(x)) }
    }
    #[inline(always)]
    fn load(x: &[f32; GROUP]) -> Self {
        unsafe { Avx2(_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x[8..].as_ptr())) }
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; GROUP]) {
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), self.0);
            _mm256_storeu_ps(to[8..].as_mut_ptr(), self.1);
        }
    }
    #[inline(always)]
    fn dot(self, a: u32, b: &Lane) -> Self {
        unsafe {
            let a = _mm256_set1_epi32(a as i32);
            Avx2(dot_eight(self.0, a, b.0.as_ptr()), dot_eight(self.1, a, b.0[8..].as_ptr()))
        }
    }
    #[inline(always)]
    fn sub(self, x: Self) -> Self {
        unsafe { Avx2(_mm256_sub_ps(self.0, x.0), _mm256_sub_ps(self.1, x.1)) }
    }
    #[inline(always)]
    fn mul(self, x: Self) -> Self {
        unsafe { Avx2(_mm256_mul_ps(self.0, x.0), _mm256_mul_ps(self.1, x.1)) }
    }
    #[inline(always)]
    fn mul_add(self, x: Self, y: Self) -> Self {
        unsafe { Avx2(_mm256_fmadd_ps(self.0, x.0, y.0), _mm256_fmadd_ps(self.1, x.1, y.1)) }
    }
    #[inline(always)]
    fn max(self, x: Self) -> Self {
        unsafe { Avx2(_mm256_max_ps(self.0, x.0), _mm256_max_ps(self.1, x.1)) }
    }
    #[inline(always)]
    fn keep(self, range: Range<usize>, x: f32) -> Self {
        unsafe {
            let bits = _mm256_set1_epi32(mask(range).into());
            let x = _mm256_set1_ps(x);
            let lane = _mm256_setr_epi32(1, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 7);
            let low = _mm256_cmpeq_epi32(_mm256_and_si256(bits, lane), lane);
            let lane = _mm256_slli_epi32::<8>(lane);
            let high = _mm256_cmpeq_epi32(_mm256_and_si256(bits, lane), lane);
            Avx2(
                _mm256_blendv_ps(x, self.0, _mm256_castsi256_ps(low)),
                _mm256_blendv_ps(x, self.1, _mm256_castsi256_ps(high)),
            )
        }
    }
    #[inline(always)]
    fn exp2(self) -> Self {
        Avx2(exp2_eight(self.0), exp2_eight(self.1))
    }
    #[inline(always)]
    fn round(self, next: Self, to: &mut Lane) {
        unsafe {
            for (x, at) in [(self, 0), (next, 8)] {
                let packed = _mm256_packus_epi32(round_eight(x.0), round_eight(x.1));
                let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
                _mm256_store_si256(to.0[at..].as_mut_ptr().cast(), packed);
            }
        }
    }
    #[inline(always)]
    fn prefetch(lane: *const Lane) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(lane.cast()) }
    }
    #[inline(always)]
    fn reduce_max(self) -> f32 {
        unsafe {
            let x = _mm256_max_ps(self.0, self.1);
            let x = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let x = _mm_max_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)))
        }
    }
    #[inline(always)]
    fn reduce_sum(self) -> f32 {
        unsafe { sum_of_eight(_mm256_add_ps(self.0, self.1)) }
    }
}
