//! The innermost loops, once per instruction set, and the order of summation that they share.
//!
//! # The order
//! `x · w` over `K` runs in [`LANES`] = 16 f32 accumulators. Chunk `c` holds elements `32c .. 32c+32`, lane `l` takes the pair
//! `(32c + 2l, 32c + 2l + 1)`, the odd element first, one fused multiply-add each, chunk after chunk, the last one filled up
//! with zeros. Then the lanes are added as a tree: `l + (l+8)`, `l + (l+4)`, `l + (l+2)`, `l + (l+1)`. A low-rank update's
//! `u · b` goes into the same accumulators before the tree, its chunks after those of `K`.
//!
//! `vdpbf16ps` is that pair of fused multiply-adds in hardware (it flushes subnormals), and a product of two bf16 is exact in
//! f32, so that fused or not makes no difference: on data without subnormals all paths agree bit by bit. Two kernels
//! follow the order: [`Dots`] for few rows holds the 16 lanes of one output in one register and streams the weight once;
//! [`Wide`] for many rows holds one lane of 16 outputs in a register and reads panels that [`Kernels::pack`] has transposed.

// Rows and columns of register tiles are numbered as in the maths.
#![allow(clippy::needless_range_loop)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
pub(super) mod pointwise;
mod portable;
#[cfg(test)]
pub(super) mod tests;

use super::Isa;
use half::bf16;
use std::ops::Range;

/// Accumulators of one output.
pub const LANES: usize = 16;
/// Elements that one round over the lanes takes.
pub const CHUNK: usize = 32;
/// Rows of `x` that [`Dots`] takes at most.
pub const DOTS_ROWS: usize = 128;
/// Rows of one packed group.
pub const GROUP: usize = 16;

/// The order in which lanes are packed and summed: with the lanes bit-reversed, the tree is a binary counter.
pub const fn lane(position: usize) -> usize {
    ((position & 1) << 3) | ((position & 2) << 1) | ((position & 4) >> 1) | ((position & 8) >> 3)
}

/// Sum of the lanes in the common order.
#[inline(always)]
pub fn tree(mut lanes: [f32; LANES]) -> f32 {
    for half in [8, 4, 2, 1] {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
    }
    lanes[0]
}

/// `y[t, n] = x[t] · w[n] + u[t] · b[n]` for few rows.
pub struct Dots<'a> {
    /// `[T, K]`, `1 <= T <= DOTS_ROWS`.
    pub x: &'a [bf16],
    /// `[N, K]`.
    pub w: &'a [bf16],
    /// `[T, R]`, empty without a low-rank update.
    pub u: &'a [bf16],
    /// `[N, R]`, empty without a low-rank update.
    pub b: &'a [bf16],
    /// `T`, `N`, `K` and `R`.
    pub shape: [usize; 4],
}

impl Dots<'_> {
    /// The shape; panics if it disagrees with the lengths, which the kernels rely on.
    fn check(&self, y: &[f32], stride: usize) -> [usize; 4] {
        let [t, n, k, r] = self.shape;
        assert!((1..=DOTS_ROWS).contains(&t) && n >= 1 && k >= 1);
        assert!(self.x.len() >= t * k && self.w.len() >= n * k && self.u.len() >= t * r && self.b.len() >= n * r);
        assert!(stride >= n && y.len() >= (t - 1) * stride + n);
        self.shape
    }
}

/// A packed operand: for each lane position a run of chunks, for each chunk `cols` pairs (even element in the low half).
#[derive(Clone, Copy)]
pub struct Packed<'a> {
    /// The pairs.
    pub pairs: &'a [u32],
    /// Pairs from one lane position to the next.
    pub lane: usize,
    /// Pairs from one chunk to the next: packed rows.
    pub cols: usize,
}

impl Packed<'_> {
    /// Pairs from one lane position to the next: one cache line more than full, so that lanes of a long `K` do not fall
    /// into the same cache set.
    pub fn lane_stride(chunks: usize, cols: usize) -> usize {
        chunks * cols + GROUP
    }

    /// Pairs of a whole operand.
    pub fn size(chunks: usize, cols: usize) -> usize {
        LANES * Self::lane_stride(chunks, cols)
    }
}

/// `y[m, n] = x[m] · w[n]` over packed operands: the product and its low-rank update.
pub struct Wide<'a> {
    /// Up to two `(x, w, chunks)`: `x` a group of [`GROUP`] rows, `w` of 16, 32 or 48.
    pub parts: &'a [(Packed<'a>, Packed<'a>, usize)],
    /// Rows of `x` that count.
    pub rows: usize,
    /// Lane positions to sum: all, or one half.
    pub positions: Range<usize>,
    /// Whether the sum is added to `y` (the second half) or stored there.
    pub add: bool,
}

impl Wide<'_> {
    /// Number of vectors of 16 columns; panics if the shapes disagree, which the kernels rely on.
    fn check(&self, y: &[f32], stride: usize) -> usize {
        let vectors = self.parts[0].1.cols / LANES;
        assert!((1..=3).contains(&vectors) && (1..=GROUP).contains(&self.rows));
        for (x, w, chunks) in self.parts {
            assert!(x.cols == GROUP && w.cols == vectors * LANES);
            for operand in [x, w] {
                assert!(operand.lane >= chunks * operand.cols && operand.pairs.len() >= LANES * operand.lane);
            }
        }
        assert!(matches!((self.positions.start, self.positions.end), (0, 16) | (0, 8) | (8, 16)));
        assert!(stride >= vectors * LANES && y.len() >= (GROUP - 1) * stride + vectors * LANES);
        vectors
    }
}

/// `pack` of [`Kernels`].
type Pack = fn(rows: &[&[bf16]], pairs: &mut [u32], lane: usize, cols: usize, at: usize);

/// The kernels of one instruction set. All functions are safe to call on the machine that [`kernels`] gave them to.
pub struct Kernels {
    /// Rows up to which `dots` takes less time than `pack` and `wide`.
    pub dots_rows: usize,
    /// `K` up to which it does for any number of rows, [`DOTS_ROWS`] at a time.
    pub dots_k: usize,
    /// Few rows: `y[t * stride + n]`.
    pub dots: fn(&Dots<'_>, y: &mut [f32], stride: usize),
    /// Transposes up to 16 `rows` of `K` into columns `at..at+16` of a packed operand; absent rows are zero.
    pub pack: Pack,
    /// Many rows: `y[m * stride + n]`; `y` has room for 16 rows, those beyond `rows` are undefined.
    pub wide: fn(&Wide<'_>, y: &mut [f32], stride: usize),
    /// See [`pointwise::rms_norm`].
    pub rms_norm: fn(h: &[f32], w: &[f32], eps: f32, x: &mut [bf16]),
    /// See [`pointwise::swiglu`].
    pub swiglu: fn(gate: &[f32], up: &[f32], a: &mut [bf16]),
    /// See [`pointwise::max_sum_exp`].
    pub max_sum_exp: fn(&[f32]) -> (f32, f32),
    /// See [`pointwise::add`].
    pub add: fn(y: &[f32], h: &mut [f32]),
    /// See [`pointwise::round`].
    pub round: fn(y: &[f32], x: &mut [bf16]),
    /// See [`pointwise::rotate`].
    pub rotate: fn(head: &mut [f32], cos: &[f32], sin: &[f32]),
}

/// Has the processor fetch a cache line, if there is one at `at`.
#[inline(always)]
pub fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint that reads nothing; every x86-64 has it.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// The kernels for `isa`, which this machine has.
pub fn kernels(isa: Isa) -> &'static Kernels {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Bf16 => &avx512::KERNELS,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => &avx2::KERNELS,
        _ => &portable::KERNELS,
    }
}
