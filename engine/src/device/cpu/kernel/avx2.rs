//! AVX2 with FMA: bf16 pairs are widened to f32, eight lanes to a register, two registers for the 16 lanes.
//!
//! All `unsafe` here has one of two reasons. Calling a function of this file needs the instruction set: [`super::kernels`]
//! hands out [`KERNELS`] only for an [`super::Isa`] that was detected. Vector loads and stores go through pointers: `check`
//! of the operands has compared every length with the shape that the loops run over.

use super::{CHUNK, Dots, GROUP, Kernels, LANES, Wide, pointwise, portable, tree};
use half::bf16;
use std::arch::x86_64::*;

pub static KERNELS: Kernels =
    Kernels { dots_rows: 8, dots_k: 0, dots, pack, wide, rms_norm, swiglu, max_sum_exp, add, round, rotate };

/// A safe function that enters the instruction set.
macro_rules! entry {
    ($name:ident, ($($arg:ident: $type:ty),*) $(-> $result:ty)?, $body:expr) => {
        fn $name($($arg: $type),*) $(-> $result)? {
            #[target_feature(enable = "avx2,fma")]
            fn inside($($arg: $type),*) $(-> $result)? {
                $body
            }
            // SAFETY: the machine has the instruction set (see the top of the file).
            unsafe { inside($($arg),*) }
        }
    };
}

entry!(rms_norm, (h: &[f32], w: &[f32], eps: f32, x: &mut [bf16]), pointwise::rms_norm(h, w, eps, x));
entry!(swiglu, (gate: &[f32], up: &[f32], a: &mut [bf16]), pointwise::swiglu(gate, up, a));
entry!(max_sum_exp, (y: &[f32]) -> (f32, f32), pointwise::max_sum_exp(y));
entry!(add, (y: &[f32], h: &mut [f32]), pointwise::add(y, h));
entry!(round, (y: &[f32], x: &mut [bf16]), pointwise::round(y, x));
entry!(rotate, (head: &mut [f32], cos: &[f32], sin: &[f32]), pointwise::rotate(head, cos, sin));
entry!(dots, (d: &Dots<'_>, y: &mut [f32], stride: usize), dots_any(d, y, stride));
entry!(pack, (rows: &[&[bf16]], pairs: &mut [u32], stride: usize, cols: usize, at: usize), portable::pack(rows, pairs, stride, cols, at));
entry!(wide, (d: &Wide<'_>, y: &mut [f32], stride: usize), wide_any(d, y, stride));

/// Even and odd elements of eight pairs.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn halves(pairs: __m256i) -> (__m256, __m256) {
    let odd = _mm256_and_si256(pairs, _mm256_set1_epi32(0xffff_0000_u32 as i32));
    (_mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs)), _mm256_castsi256_ps(odd))
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn dots_any(d: &Dots<'_>, y: &mut [f32], stride: usize) {
    let [t, n, ..] = d.check(y, stride);
    // 2 · T · N accumulators of 16 registers: all columns in N for one row, some in T for more.
    let (rows, cols) = if t == 1 { (1, 4) } else { (2, 2) };
    for first in (0..n).step_by(cols) {
        for row in (0..t).step_by(rows) {
            // SAFETY: `check` has compared all lengths; `row < t` and `first < n`.
            unsafe {
                match rows {
                    1 => dots_tile::<1, 4>(d, row, first, y, stride),
                    _ => dots_tile::<2, 2>(d, row, first, y, stride),
                }
            }
        }
    }
}

/// Rows `row..` by columns `first..`; those past the last repeat it and are not stored.
///
/// # Safety
/// `d` passed `check`, `row < T`, `first < N`.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn dots_tile<const T: usize, const N: usize>(
    d: &Dots<'_>,
    row: usize,
    first: usize,
    y: &mut [f32],
    stride: usize,
) {
    let [t, n, k, r] = d.shape;
    let (rows, cols) = ((t - row).min(T), (n - first).min(N));
    let mut acc = [[[_mm256_setzero_ps(); 2]; N]; T];
    // SAFETY: all rows and columns are those of the shape.
    unsafe {
        let xs = |x: &[bf16], k: usize| std::array::from_fn(|i| x.as_ptr().add((row + i.min(rows - 1)) * k));
        let ws = |w: &[bf16], k: usize| std::array::from_fn(|j| w.as_ptr().add((first + j.min(cols - 1)) * k));
        dots_run(&mut acc, xs(d.x, k), ws(d.w, k), k);
        dots_run(&mut acc, xs(d.u, r), ws(d.b, r), r);
    }
    for (i, acc) in acc.iter().enumerate().take(rows) {
        for (j, acc) in acc.iter().enumerate().take(cols) {
            let mut lanes = [0f32; LANES];
            // SAFETY: `lanes` has 16 elements.
            unsafe {
                _mm256_storeu_ps(lanes.as_mut_ptr(), acc[0]);
                _mm256_storeu_ps(lanes.as_mut_ptr().add(8), acc[1]);
            }
            y[(row + i) * stride + first + j] = tree(lanes);
        }
    }
}

/// # Safety
/// Each `x` and `w` points to `k` elements.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn dots_run<const T: usize, const N: usize>(
    acc: &mut [[[__m256; 2]; N]; T],
    x: [*const bf16; T],
    w: [*const bf16; N],
    k: usize,
) {
    let whole = k / CHUNK * CHUNK;
    // SAFETY: offsets stay below `k`; a prefetch may point anywhere.
    unsafe {
        for i in (0..whole).step_by(CHUNK) {
            let xs = std::array::from_fn(|t| x[t].add(i));
            w.iter().for_each(|w| _mm_prefetch::<_MM_HINT_T0>(w.wrapping_add(i + 2048).cast()));
            dots_chunk(acc, xs, std::array::from_fn(|n| w[n].add(i)));
        }
        if whole < k {
            let padded = |from: *const bf16| {
                let mut to = [bf16::ZERO; CHUNK];
                std::ptr::copy_nonoverlapping(from.add(whole), to.as_mut_ptr(), k - whole);
                to
            };
            let xs: [_; T] = std::array::from_fn(|t| padded(x[t]));
            let ws: [_; N] = std::array::from_fn(|n| padded(w[n]));
            dots_chunk(acc, std::array::from_fn(|t| xs[t].as_ptr()), std::array::from_fn(|n| ws[n].as_ptr()));
        }
    }
}

/// # Safety
/// All pointers point to 32 elements.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn dots_chunk<const T: usize, const N: usize>(
    acc: &mut [[[__m256; 2]; N]; T],
    x: [*const bf16; T],
    w: [*const bf16; N],
) {
    for side in 0..2 {
        // SAFETY: this function's contract.
        let xs: [_; T] = std::array::from_fn(|t| unsafe { halves(_mm256_loadu_si256(x[t].add(side * 16).cast())) });
        for n in 0..N {
            // SAFETY: as above.
            let (even, odd) = unsafe { halves(_mm256_loadu_si256(w[n].add(side * 16).cast())) };
            for t in 0..T {
                acc[t][n][side] = _mm256_fmadd_ps(xs[t].1, odd, acc[t][n][side]);
                acc[t][n][side] = _mm256_fmadd_ps(xs[t].0, even, acc[t][n][side]);
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn wide_any(d: &Wide<'_>, y: &mut [f32], stride: usize) {
    let vectors = d.check(y, stride);
    for m in (0..d.rows).step_by(4) {
        for j in 0..vectors {
            // SAFETY: `check` has compared all lengths.
            unsafe { wide_tile(d, m, j * LANES, y, stride) };
        }
    }
}

/// Rows `m..m+4` of the group by columns `n..n+16`: 8 accumulators.
///
/// # Safety
/// The operands passed `check`; `m + 4 <= 16`, `n + 16` is within the columns.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn wide_tile(d: &Wide<'_>, m: usize, n: usize, y: &mut [f32], stride: usize) {
    let mut levels = [[[_mm256_setzero_ps(); 2]; 4]; 5];
    for (step, position) in d.positions.clone().enumerate() {
        let mut acc = [[_mm256_setzero_ps(); 2]; 4];
        for (x, w, chunks) in d.parts {
            // SAFETY: position < 16 and c < chunks, so every load lies in the 16 lanes that `check` found room for.
            unsafe {
                let mut xs = x.pairs.as_ptr().add(position * x.lane + m);
                let mut ws = w.pairs.as_ptr().add(position * w.lane + n);
                for _ in 0..*chunks {
                    let (w0, w1) =
                        (halves(_mm256_loadu_si256(ws.cast())), halves(_mm256_loadu_si256(ws.add(8).cast())));
                    for (i, acc) in acc.iter_mut().enumerate() {
                        let (even, odd) = halves(_mm256_set1_epi32(*xs.add(i) as i32));
                        acc[0] = _mm256_fmadd_ps(even, w0.0, _mm256_fmadd_ps(odd, w0.1, acc[0]));
                        acc[1] = _mm256_fmadd_ps(even, w1.0, _mm256_fmadd_ps(odd, w1.1, acc[1]));
                    }
                    xs = xs.add(GROUP);
                    ws = ws.add(w.cols);
                }
            }
        }
        let level = step.trailing_ones() as usize;
        for left in &levels[..level] {
            for (acc, left) in acc.iter_mut().zip(left) {
                *acc = [_mm256_add_ps(left[0], acc[0]), _mm256_add_ps(left[1], acc[1])];
            }
        }
        levels[level] = acc;
    }
    let sums = levels[d.positions.len().trailing_zeros() as usize];
    for (i, sums) in sums.iter().enumerate() {
        for (v, sum) in sums.iter().enumerate() {
            // SAFETY: `check` found room for 16 rows of all columns.
            unsafe {
                let y = y.as_mut_ptr().add((m + i) * stride + n + v * 8);
                _mm256_storeu_ps(y, if d.add { _mm256_add_ps(_mm256_loadu_ps(y), *sum) } else { *sum });
            }
        }
    }
}
