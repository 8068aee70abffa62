//! AVX-512 with BF16: 32 products an instruction.
//!
//! All `unsafe` here has one of two reasons. Calling a function of this file needs the instruction set: [`super::kernels`]
//! hands out [`KERNELS`] only for an [`super::Isa`] that was detected. Vector loads and stores go through pointers: `check`
//! of the operands has compared every length with the shape that the loops run over.

use super::{CHUNK, Dots, GROUP, Kernels, LANES, Wide, lane, pointwise, prefetch};
use half::bf16;
use std::arch::x86_64::*;
use std::mem::transmute;
use std::ops::Range;

pub static KERNELS: Kernels =
    Kernels { dots_rows: 64, dots_k: 2048, dots, pack, wide, rms_norm, swiglu, max_sum_exp, add, round, rotate };

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
    let [t, _, k, _] = d.check(y, stride);
    // SAFETY: `check` has compared all lengths.
    unsafe {
        match t {
            // `x` no longer fits into the L1 cache.
            4.. if t * k > 12 << 10 => dots_blocks(d, y, stride),
            1 => dots_rows::<1, 1>(d, y, stride),
            2 => dots_rows::<2, 1>(d, y, stride),
            3 => dots_rows::<3, 1>(d, y, stride),
            4 => dots_rows::<4, 2>(d, y, stride),
            5 => dots_rows::<5, 2>(d, y, stride),
            6 => dots_rows::<6, 2>(d, y, stride),
            7 => dots_rows::<7, 2>(d, y, stride),
            8 => dots_rows::<8, 2>(d, y, stride),
            _ => dots_blocks(d, y, stride),
        }
    }
}

/// Weight rows one after the other, so that memory is read in one stream (eight rows side by side: 41 % of the machine's
/// bandwidth at K = 576, one: 100 %); two where loading `x` would take longer. Eight at a time are summed.
///
/// # Safety
/// `d` passed `check` and has `T` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
unsafe fn dots_rows<const T: usize, const N: usize>(d: &Dots<'_>, y: &mut [f32], stride: usize) {
    let [_, n, k, r] = d.shape;
    let mut acc = [[_mm512_setzero_ps(); 8]; T];
    for first in (0..n).step_by(8) {
        let cols = (n - first).min(8);
        for j in (0..cols).step_by(N) {
            let mut sums = [[_mm512_setzero_ps(); N]; T];
            // A row past the last repeats it. SAFETY: so all are below `N`.
            unsafe {
                let row =
                    |w: &[bf16], k: usize| std::array::from_fn(|i| w.as_ptr().add((first + j + i).min(n - 1) * k));
                // Elements to what is fetched: 4 and 6 KiB were best, 2 and 8 KiB up to a fifth slower.
                let (w, ahead) = (row(d.w, k), if T == 1 { 2048 } else { 3072 });
                dots_run(&mut sums, d.x.as_ptr(), w, k, |i| w.iter().for_each(|w| prefetch(w.wrapping_add(i + ahead))));
                dots_run(&mut sums, d.u.as_ptr(), row(d.b, r), r, |_| ());
            }
            acc.iter_mut().zip(sums).for_each(|(acc, sums)| acc[j..j + N].copy_from_slice(&sums));
        }
        for (t, acc) in acc.iter().enumerate() {
            let mut sums = [0f32; LANES];
            // SAFETY: `sums` has 16 elements.
            unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), tree8(*acc)) };
            y[t * stride + first..][..cols].copy_from_slice(&sums[..cols]);
        }
    }
}

/// More rows: blocks of up to six meet four weight rows while the L1 cache has these; the next four come meanwhile.
///
/// # Safety
/// `d` passed `check` and has at least 4 rows.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
unsafe fn dots_blocks(d: &Dots<'_>, y: &mut [f32], stride: usize) {
    let [t, n, ..] = d.shape;
    let blocks = t.div_ceil(6);
    for first in (0..n).step_by(4) {
        for block in 0..blocks {
            let rows = block * t / blocks..(block + 1) * t / blocks;
            // Each block fetches its share of the four rows.
            let share = block * 4 / blocks..(block + 1) * 4 / blocks;
            // SAFETY: rows and columns are those of the shape.
            unsafe {
                match rows.len() {
                    3 => dots_block::<3>(d, rows.start, first, share, y, stride),
                    4 => dots_block::<4>(d, rows.start, first, share, y, stride),
                    5 => dots_block::<5>(d, rows.start, first, share, y, stride),
                    _ => dots_block::<6>(d, rows.start, first, share, y, stride),
                }
            }
        }
    }
}

/// Rows `row..row + T` by columns `first..first + 4`; those past the last repeat it and are not stored.
///
/// # Safety
/// `d` passed `check`, `row + T <= d.shape[0]`, `first < d.shape[1]`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
unsafe fn dots_block<const T: usize>(
    d: &Dots<'_>,
    row: usize,
    first: usize,
    share: Range<usize>,
    y: &mut [f32],
    stride: usize,
) {
    let [_, n, k, r] = d.shape;
    let mut sums = [[_mm512_setzero_ps(); 4]; T];
    // SAFETY: this function's contract.
    unsafe {
        let columns = |w: &[bf16], k: usize| std::array::from_fn(|j| w.as_ptr().add((first + j).min(n - 1) * k));
        let next = d.w.as_ptr().wrapping_add((first + 4 + share.start) * k);
        let fetch = |i: usize| (0..share.len()).for_each(|l| prefetch(next.wrapping_add(i * share.len() + l * CHUNK)));
        dots_run(&mut sums, d.x.as_ptr().add(row * k), columns(d.w, k), k, fetch);
        dots_run(&mut sums, d.u.as_ptr().add(row * r), columns(d.b, r), r, |_| ());
    }
    let mask = 0xf_u8 >> 4usize.saturating_sub(n - first);
    for part in (0..T).step_by(4) {
        let quarters = std::array::from_fn(|i| {
            let [a, b, c, d] = sums[(part + i).min(T - 1)];
            tree4(a, b, c, d)
        });
        let mut lanes = [0f32; LANES];
        // SAFETY: `lanes` has 16 elements; `check` found room for the rows and, under the mask, the columns.
        unsafe {
            _mm512_storeu_ps(lanes.as_mut_ptr(), tree_quarters(quarters));
            for i in 0..4.min(T - part) {
                let to = y.as_mut_ptr().add((row + part + i) * stride + first);
                _mm_mask_storeu_ps(to, mask, _mm_loadu_ps(lanes.as_ptr().add(4 * i)));
            }
        }
    }
}

/// Adds the products of `k` elements; `fetch` is told where it is.
///
/// # Safety
/// `x` points to `T` rows of `k` elements, each `w` to `k`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
unsafe fn dots_run<const T: usize, const N: usize>(
    sums: &mut [[__m512; N]; T],
    x: *const bf16,
    w: [*const bf16; N],
    k: usize,
    fetch: impl Fn(usize),
) {
    let whole = k / CHUNK * CHUNK;
    let mut acc = *sums;
    // SAFETY: offsets stay below `k` by the loop's bound and the mask.
    unsafe {
        let mut i = 0;
        while i < whole {
            fetch(i);
            let mut ws = [_mm512_setzero_si512(); N];
            for n in 0..N {
                ws[n] = _mm512_loadu_si512(w[n].add(i).cast());
            }
            for t in 0..T {
                let xs = _mm512_loadu_si512(x.add(t * k + i).cast());
                for n in 0..N {
                    acc[t][n] = dot(acc[t][n], xs, ws[n]);
                }
            }
            i += CHUNK;
        }
        if whole < k {
            let mask = u32::MAX >> (CHUNK - (k - whole));
            let ws: [__m512i; N] = std::array::from_fn(|n| _mm512_maskz_loadu_epi16(mask, w[n].add(whole).cast()));
            for t in 0..T {
                let xs = _mm512_maskz_loadu_epi16(mask, x.add(t * k + whole).cast());
                for n in 0..N {
                    acc[t][n] = dot(acc[t][n], xs, ws[n]);
                }
            }
        }
    }
    *sums = acc;
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
pub fn dot(acc: __m512, x: __m512i, w: __m512i) -> __m512 {
    // SAFETY: both types are 64 bytes of plain data.
    unsafe { _mm512_dpbf16_ps(acc, transmute::<__m512i, __m512bh>(x), transmute::<__m512i, __m512bh>(w)) }
}

/// `l + (l+8)` and `l + (l+4)` of four accumulators, each left in a quarter.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
fn tree4(a: __m512, b: __m512, c: __m512, d: __m512) -> __m512 {
    let pair = |a, b| _mm512_add_ps(_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0xee>(a, b));
    let (ab, cd) = (pair(a, b), pair(c, d));
    _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(ab, cd), _mm512_shuffle_f32x4::<0xdd>(ab, cd))
}

/// `l + (l+2)`, then `l + (l+1)`, of quarters.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
fn tree_quarters(a: [__m512; 4]) -> __m512 {
    let two = |a, b| _mm512_add_ps(_mm512_shuffle_ps::<0x44>(a, b), _mm512_shuffle_ps::<0xee>(a, b));
    let (ab, cd) = (two(a[0], a[1]), two(a[2], a[3]));
    let all = _mm512_add_ps(_mm512_shuffle_ps::<0x88>(ab, cd), _mm512_shuffle_ps::<0xdd>(ab, cd));
    // Quarter i holds sums i, i + 4, i + 8, i + 12.
    _mm512_permutexvar_ps(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), all)
}

/// The sums of 8 accumulators, in the lower half.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
fn tree8(a: [__m512; 8]) -> __m512 {
    let (low, high) = (tree4(a[0], a[1], a[2], a[3]), tree4(a[4], a[5], a[6], a[7]));
    tree_quarters([low, high, low, high])
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
fn pack_group(rows: &[&[bf16]], pairs: &mut [u32], stride: usize, cols: usize, at: usize) {
    let k = rows[0].len();
    let chunks = k.div_ceil(CHUNK);
    assert!(rows.len() <= GROUP && rows.iter().all(|row| row.len() == k) && at + GROUP <= cols);
    assert!(stride >= chunks * cols && pairs.len() >= LANES * stride);
    // An absent row repeats the first under an empty mask.
    let present: [bool; GROUP] = std::array::from_fn(|i| i < rows.len());
    let row: [*const bf16; GROUP] = std::array::from_fn(|i| rows[if present[i] { i } else { 0 }].as_ptr());
    // The group that follows in memory is mostly packed next: fetch it in one stream meanwhile.
    let next = row[0].wrapping_add(GROUP * k);
    for c in 0..chunks {
        (0..GROUP).for_each(|i| prefetch(next.wrapping_add((c * GROUP + i) * CHUNK)));
        let mask = if (c + 1) * CHUNK <= k { u32::MAX } else { u32::MAX >> (CHUNK - k % CHUNK) };
        let masks: [u32; GROUP] = std::array::from_fn(|i| if present[i] { mask } else { 0 });
        // SAFETY: the masks leave elements below `k`, the length of each row; position · stride + c · cols + at + 16
        // <= 16 · stride <= the length of `pairs`.
        unsafe {
            // Reversing bits is its own inverse: `lane` also says where a lane stands.
            let out = pairs.as_mut_ptr().add(c * cols + at);
            if masks == [u32::MAX; GROUP] {
                transpose(|i| _mm512_loadu_si512(row[i].add(c * CHUNK).cast()), |l| out.add(lane(l) * stride));
            } else {
                transpose(
                    |i| _mm512_maskz_loadu_epi16(masks[i], row[i].add(c * CHUNK).cast()),
                    |l| out.add(lane(l) * stride),
                );
            }
        }
    }
}

/// Writes the transpose of 16 rows of 16 pairs: column `l` to `place(l)`.
///
/// # Safety
/// Each place has room for 16 pairs.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
pub unsafe fn transpose(row: impl Fn(usize) -> __m512i, place: impl Fn(usize) -> *mut u32) {
    // Blocks of 4 × 4: quarter q of c[g][j] is column 4q + j of rows 4g..4g+4 ...
    let mut c = [[_mm512_setzero_si512(); 4]; 4];
    for (g, c) in c.iter_mut().enumerate() {
        let (a, b, d, e) = (row(4 * g), row(4 * g + 1), row(4 * g + 2), row(4 * g + 3));
        let (ab, de) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(d, e));
        let (fg, hi) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(d, e));
        *c = [
            _mm512_unpacklo_epi64(ab, de),
            _mm512_unpackhi_epi64(ab, de),
            _mm512_unpacklo_epi64(fg, hi),
            _mm512_unpackhi_epi64(fg, hi),
        ];
    }
    // ... then the 4 × 4 quarters of each j.
    for j in 0..4 {
        let even = (_mm512_shuffle_i32x4::<0x88>(c[0][j], c[1][j]), _mm512_shuffle_i32x4::<0x88>(c[2][j], c[3][j]));
        let odd = (_mm512_shuffle_i32x4::<0xdd>(c[0][j], c[1][j]), _mm512_shuffle_i32x4::<0xdd>(c[2][j], c[3][j]));
        let columns = [
            _mm512_shuffle_i32x4::<0x88>(even.0, even.1),
            _mm512_shuffle_i32x4::<0x88>(odd.0, odd.1),
            _mm512_shuffle_i32x4::<0xdd>(even.0, even.1),
            _mm512_shuffle_i32x4::<0xdd>(odd.0, odd.1),
        ];
        for (q, column) in columns.into_iter().enumerate() {
            // SAFETY: the caller's.
            unsafe { _mm512_storeu_si512(place(4 * q + j).cast(), column) };
        }
    }
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
                    // Not `from_fn`: its closure may stay a call of its own, which spills every accumulator.
                    let mut wv = [_mm512_setzero_si512(); V];
                    for (v, w) in wv.iter_mut().enumerate() {
                        *w = _mm512_loadu_si512(ws.add(v * LANES).cast());
                    }
                    for i in 0..M {
                        let xv = _mm512_set1_epi32(*xs.add(i) as i32);
                        for v in 0..V {
                            acc[i][v] = dot(acc[i][v], xv, wv[v]);
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
