//! AVX-512 with BF16: 32 products an instruction.
//!
//! All `unsafe` here has one of two reasons. Calling a function of this file needs the instruction set: [`super::kernels`]
//! hands out [`KERNELS`] only for an [`super::Isa`] that was detected. Vector loads and stores go through pointers: `check`
//! of the operands has compared every length with the shape that the loops run over.

use super::{CHUNK, Dots, GROUP, Kernels, LANES, Wide, lane, pointwise};
use half::bf16;
use std::arch::x86_64::*;
use std::mem::transmute;

pub static KERNELS: Kernels = Kernels { dots, pack, wide, rms_norm, swiglu, max_sum_exp, add, round, rotate };

/// A safe function that enters the instruction set.
macro_rules! entry {
    ($name:ident, ($($arg:ident: $type:ty),*) $(-> $result:ty)?, $body:expr) => {
        fn $name($($arg: $type),*) $(-> $result)? {
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
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
entry!(pack, (rows: &[&[bf16]], pairs: &mut [u32], stride: usize, cols: usize, at: usize), pack_group(rows, pairs, stride, cols, at));
entry!(wide, (d: &Wide<'_>, y: &mut [f32], stride: usize), wide_any(d, y, stride));

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
fn dots_any(d: &Dots<'_>, y: &mut [f32], stride: usize) {
    let (k, r) = d.check(y, stride);
    // T · N accumulators, at most 24 of 32 registers; a weight row past the last repeats it and is not stored.
    let n = if d.t <= 3 {
        8
    } else if d.t <= 6 {
        4
    } else {
        2
    };
    for first in (0..d.w.len()).step_by(n) {
        let y = &mut y[first..];
        // SAFETY: `check` has compared all lengths, `first` is below the number of weight rows.
        unsafe {
            match d.t {
                1 => dots_tile::<1, 8>(d, k, r, first, y, stride),
                2 => dots_tile::<2, 8>(d, k, r, first, y, stride),
                3 => dots_tile::<3, 8>(d, k, r, first, y, stride),
                4 => dots_tile::<4, 4>(d, k, r, first, y, stride),
                5 => dots_tile::<5, 4>(d, k, r, first, y, stride),
                6 => dots_tile::<6, 4>(d, k, r, first, y, stride),
                7 => dots_tile::<7, 2>(d, k, r, first, y, stride),
                8 => dots_tile::<8, 2>(d, k, r, first, y, stride),
                9 => dots_tile::<9, 2>(d, k, r, first, y, stride),
                10 => dots_tile::<10, 2>(d, k, r, first, y, stride),
                11 => dots_tile::<11, 2>(d, k, r, first, y, stride),
                _ => dots_tile::<12, 2>(d, k, r, first, y, stride),
            }
        }
    }
}

/// # Safety
/// `d.x` has `T` rows of `k`, `d.w` at least `first + 1` rows of `k`, `d.u` and `d.b` alike of `r` unless `d.b` is empty.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
unsafe fn dots_tile<const T: usize, const N: usize>(
    d: &Dots<'_>,
    k: usize,
    r: usize,
    first: usize,
    y: &mut [f32],
    stride: usize,
) {
    let cols = (d.w.len() - first).min(N);
    let row =
        |rows: &[&[bf16]]| -> [*const bf16; N] { std::array::from_fn(|n| rows[first + n.min(cols - 1)].as_ptr()) };
    let mut acc = [[_mm512_setzero_ps(); N]; T];
    // SAFETY: this function's contract.
    unsafe {
        dots_run(&mut acc, d.x.as_ptr(), row(d.w), k, d.ahead);
        if !d.b.is_empty() {
            dots_run(&mut acc, d.u.as_ptr(), row(d.b), r, 0);
        }
    }
    let mut sums = [[0f32; LANES]; 2];
    for (group, sums) in sums.iter_mut().enumerate().take((T * N).div_ceil(LANES)) {
        let flat = |i: usize| {
            if group * LANES + i < T * N {
                acc[(group * LANES + i) / N][(group * LANES + i) % N]
            } else {
                _mm512_setzero_ps()
            }
        };
        // SAFETY: `sums` has 16 elements.
        unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), tree16(std::array::from_fn(flat))) };
    }
    for t in 0..T {
        for n in 0..cols {
            y[t * stride + n] = sums[(t * N + n) / LANES][(t * N + n) % LANES];
        }
    }
}

/// # Safety
/// `x` points to `T` rows of `k` elements, each `w` to `k`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
unsafe fn dots_run<const T: usize, const N: usize>(
    acc: &mut [[__m512; N]; T],
    x: *const bf16,
    w: [*const bf16; N],
    k: usize,
    ahead: usize,
) {
    let whole = k / CHUNK * CHUNK;
    // SAFETY: offsets stay below `k` by the loops' bounds and the mask; a prefetch may point anywhere.
    unsafe {
        for i in (0..whole).step_by(CHUNK) {
            let mut ws = [_mm512_setzero_si512(); N];
            for n in 0..N {
                ws[n] = _mm512_loadu_si512(w[n].add(i).cast());
                _mm_prefetch::<_MM_HINT_T0>(w[n].wrapping_add(i + ahead).cast());
            }
            for t in 0..T {
                let xs = _mm512_loadu_si512(x.add(t * k + i).cast());
                for n in 0..N {
                    acc[t][n] = _mm512_dpbf16_ps(
                        acc[t][n],
                        transmute::<__m512i, __m512bh>(xs),
                        transmute::<__m512i, __m512bh>(ws[n]),
                    );
                }
            }
        }
        if whole < k {
            let mask = u32::MAX >> (CHUNK - (k - whole));
            let ws: [__m512i; N] = std::array::from_fn(|n| _mm512_maskz_loadu_epi16(mask, w[n].add(whole).cast()));
            for t in 0..T {
                let xs = _mm512_maskz_loadu_epi16(mask, x.add(t * k + whole).cast());
                for n in 0..N {
                    acc[t][n] = _mm512_dpbf16_ps(
                        acc[t][n],
                        transmute::<__m512i, __m512bh>(xs),
                        transmute::<__m512i, __m512bh>(ws[n]),
                    );
                }
            }
        }
    }
}

/// The sums of 16 accumulators in the common order.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
fn tree16(a: [__m512; LANES]) -> __m512 {
    // l + (l+8): halves [a | b].
    let pair =
        |a: __m512, b: __m512| _mm512_add_ps(_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0xee>(a, b));
    // l + (l+4): quarters [a0 | a1 | b0 | b1] of two halves each.
    let quad =
        |a: __m512, b: __m512| _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
    // l + (l+2), then l + (l+1), within each quarter.
    let two = |a: __m512, b: __m512| _mm512_add_ps(_mm512_shuffle_ps::<0x44>(a, b), _mm512_shuffle_ps::<0xee>(a, b));
    let one = |a: __m512, b: __m512| _mm512_add_ps(_mm512_shuffle_ps::<0x88>(a, b), _mm512_shuffle_ps::<0xdd>(a, b));
    let four = |i: usize| quad(pair(a[i], a[i + 1]), pair(a[i + 2], a[i + 3]));
    let all = one(two(four(0), four(4)), two(four(8), four(12)));
    // Quarter i holds sums i, i + 4, i + 8, i + 12.
    _mm512_permutexvar_ps(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), all)
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
fn pack_group(rows: &[&[bf16]], pairs: &mut [u32], stride: usize, cols: usize, at: usize) {
    let k = rows[0].len();
    let chunks = k.div_ceil(CHUNK);
    assert!(rows.len() <= GROUP && rows.iter().all(|row| row.len() == k) && at + GROUP <= cols);
    assert!(stride >= chunks * cols && pairs.len() >= LANES * stride);
    let zeros = _mm512_setzero_si512();
    for c in 0..chunks {
        let mask = if (c + 1) * CHUNK <= k { u32::MAX } else { u32::MAX >> (CHUNK - k % CHUNK) };
        let mut block = [zeros; GROUP];
        for (block, row) in block.iter_mut().zip(rows) {
            // SAFETY: the mask leaves elements below `k`, the length of the row.
            *block = unsafe { _mm512_maskz_loadu_epi16(mask, row.as_ptr().add(c * CHUNK).cast()) };
        }
        let block = transpose(block);
        for position in 0..LANES {
            // SAFETY: position · stride + c · cols + at + 16 <= 16 · stride <= the length, asserted above.
            unsafe {
                _mm512_storeu_si512(
                    pairs.as_mut_ptr().add(position * stride + c * cols + at).cast(),
                    block[lane(position)],
                )
            };
        }
    }
}

/// Transposes 16 rows of 16 pairs.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
fn transpose(a: [__m512i; 16]) -> [__m512i; 16] {
    // 4 × 4 pairs within 128-bit lanes ...
    let b: [__m512i; 16] = std::array::from_fn(|i| {
        let (g, j) = (i / 4 * 4, i % 4);
        let (p, q) = if j < 2 { (a[g], a[g + 1]) } else { (a[g + 2], a[g + 3]) };
        if j % 2 == 0 { _mm512_unpacklo_epi32(p, q) } else { _mm512_unpackhi_epi32(p, q) }
    });
    let c: [__m512i; 16] = std::array::from_fn(|i| {
        let (g, j) = (i / 4 * 4, i % 4);
        let (p, q) = (b[g + j / 2], b[g + 2 + j / 2]);
        if j % 2 == 0 { _mm512_unpacklo_epi64(p, q) } else { _mm512_unpackhi_epi64(p, q) }
    });
    // ... c[4g + j] holds column 4q + j of rows 4g..4g+4 in lane q; then the 4 × 4 lanes.
    let d: [__m512i; 16] = std::array::from_fn(|i| {
        let (j, s) = (i % 4, i / 4);
        let (p, q) = if s < 2 { (c[j], c[4 + j]) } else { (c[8 + j], c[12 + j]) };
        if s % 2 == 0 { _mm512_shuffle_i32x4::<0x88>(p, q) } else { _mm512_shuffle_i32x4::<0xdd>(p, q) }
    });
    std::array::from_fn(|i| {
        let (j, q) = (i % 4, i / 4);
        let (lo, hi) = (d[(q % 2) * 4 + j], d[(2 + q % 2) * 4 + j]);
        if q < 2 { _mm512_shuffle_i32x4::<0x88>(lo, hi) } else { _mm512_shuffle_i32x4::<0xdd>(lo, hi) }
    })
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
fn wide_any(d: &Wide<'_>, y: &mut [f32], stride: usize) {
    let vectors = d.check(y, stride);
    for m in (0..d.rows).step_by(8) {
        // SAFETY: `check` has compared all lengths.
        unsafe {
            match (d.rows - m > 4, vectors) {
                (true, 3) => wide_tile::<8, 3>(d, m, y, stride),
                (true, 2) => wide_tile::<8, 2>(d, m, y, stride),
                (true, _) => wide_tile::<8, 1>(d, m, y, stride),
                (false, 3) => wide_tile::<4, 3>(d, m, y, stride),
                (false, 2) => wide_tile::<4, 2>(d, m, y, stride),
                (false, _) => wide_tile::<4, 1>(d, m, y, stride),
            }
        }
    }
}

/// Rows `m..m+M` of the group by `16 V` columns: 24 accumulators, and 11 loads for 24 products.
///
/// # Safety
/// The operands passed `check`; `m + M <= 16`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
unsafe fn wide_tile<const M: usize, const V: usize>(d: &Wide<'_>, m: usize, y: &mut [f32], stride: usize) {
    let mut levels = [[[_mm512_setzero_ps(); V]; M]; 4];
    let mut sums = [[_mm512_setzero_ps(); V]; M];
    for (step, position) in d.positions.clone().enumerate() {
        let mut acc = [[_mm512_setzero_ps(); V]; M];
        for (x, w, chunks) in d.parts {
            // SAFETY: position < 16 and c < chunks, so every load lies in the 16 lanes that `check` found room for.
            unsafe {
                let mut xs = x.pairs.as_ptr().add(position * x.lane + m);
                let mut ws = w.pairs.as_ptr().add(position * w.lane);
                for _ in 0..*chunks {
                    let wv: [__m512i; V] = std::array::from_fn(|v| _mm512_loadu_si512(ws.add(v * LANES).cast()));
                    for i in 0..M {
                        let xv = transmute::<__m512i, __m512bh>(_mm512_set1_epi32(*xs.add(i) as i32));
                        for v in 0..V {
                            acc[i][v] = _mm512_dpbf16_ps(acc[i][v], xv, transmute::<__m512i, __m512bh>(wv[v]));
                        }
                    }
                    xs = xs.add(GROUP);
                    ws = ws.add(V * LANES);
                }
            }
        }
        for left in &levels[..step.trailing_ones().min(4) as usize] {
            for i in 0..M {
                for v in 0..V {
                    acc[i][v] = _mm512_add_ps(left[i][v], acc[i][v]);
                }
            }
        }
        match levels.get_mut(step.trailing_ones() as usize) {
            Some(level) if step + 1 < d.positions.len() => *level = acc,
            _ => sums = acc,
        }
    }
    for i in 0..M {
        for v in 0..V {
            // SAFETY: `check` found room for 16 rows of `V` vectors.
            unsafe {
                let y = y.as_mut_ptr().add((m + i) * stride + v * LANES);
                let sum = if d.add { _mm512_add_ps(_mm512_loadu_ps(y), sums[i][v]) } else { sums[i][v] };
                _mm512_storeu_ps(y, sum);
            }
        }
    }
}
