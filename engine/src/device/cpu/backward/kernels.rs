//! The innermost loops of training, once per instruction set.
//!
//! # The order
//! A product's sum has one f32 accumulator per output and runs through the pairs `(2p, 2p + 1)` of the summed index in
//! order, the odd element first, one fused multiply-add each: what `vdpbf16ps` does. An odd end is filled up with zeros.
//! Everything else is plain Rust that each instruction set compiles for itself. On data without subnormals all agree
//! bit by bit.

// Several slices run side by side: an index is clearer than zips of six, and compiles to the same.
#![allow(clippy::needless_range_loop)]

use super::super::Isa;
use super::super::kernel::pointwise::{exp, to_bf16};
use super::super::kernel::{LANES, tree};
use crate::device::AdamStep;
use crate::random::uniform;
use half::bf16;

/// Rows of a packed left operand.
pub const GROUP: usize = 16;
/// Columns of a packed right operand at most.
pub const COLUMNS: usize = 48;

/// State and parameter of one chunk of an optimiser's step.
pub enum AdamChunk<'a> {
    /// All in f32, and the weight rounded from the parameter.
    Matrix(&'a mut [f32], &'a mut [f32], &'a mut [f32], &'a mut [bf16]),
    /// All in f32; the parameter is used as it is.
    Vector(&'a mut [f32], &'a mut [f32], &'a mut [f32]),
    /// All in bf16, rounded stochastically.
    Half(&'a mut [bf16], &'a mut [bf16], &'a mut [bf16]),
}

/// Scores of one row of attention and what its backward needs.
pub struct ScoreRow<'a> {
    /// `q · k`.
    pub s: &'a [f32],
    /// `dO · v`.
    pub dp: &'a [f32],
    /// Log of the softmax's denominator.
    pub lse: f32,
    /// `Σ dO ∘ O`.
    pub delta: f32,
    /// `1 / sqrt(D)`.
    pub scale: f32,
}

/// The kernels of one instruction set, safe to call on the machine that [`kernels`] gave them to.
#[allow(clippy::type_complexity)] // Plain functions, each documented where it stands.
pub struct Kernels {
    /// Packs up to 16 rows whose elements are summed over: column `at + row` of `[pairs, cols]`; absent rows are zero.
    pub transpose: fn(rows: &[&[bf16]], out: &mut [u32], cols: usize, at: usize),
    /// Packs `n` neighbouring columns, summed over the `k` rows `stride` apart, into `[pairs, cols]`; the rest is zero.
    pub interleave: fn(data: &[bf16], stride: usize, n: usize, k: usize, out: &mut [u32], cols: usize),
    /// `y[i * stride + j] = Σ_p a[p, i] b[p, j]` for `i < rows`; continues the sum in `y` where `add`. `y` has room for 16 rows.
    pub tile: fn(a: &[u32], b: &[u32], cols: usize, rows: usize, y: &mut [f32], stride: usize, add: bool),
    /// `p = bf16(e^(scale s - max))`; returns the maximum and the sum of `p`.
    pub softmax: fn(s: &[f32], scale: f32, p: &mut [bf16]) -> (f32, f32),
    /// `out = bf16(y / by)`.
    pub divide: fn(y: &[f32], by: f32, out: &mut [bf16]),
    /// `p = e^(scale s - lse)` and `ds = p (dp - delta) scale`.
    pub softmax_backward: fn(row: &ScoreRow<'_>, p: &mut [bf16], ds: &mut [bf16]),
    /// `out = bf16(weight · e^(z - lse))`.
    pub probabilities: fn(z: &[f32], lse: f32, weight: f32, out: &mut [bf16]),
    /// `a = silu(gate) ∘ up`.
    pub swiglu: fn(gate: &[bf16], up: &[bf16], a: &mut [bf16]),
    /// Its gradients.
    pub swiglu_backward: fn(da: &[bf16], gate: &[bf16], up: &[bf16], dgate: &mut [bf16], dup: &mut [bf16]),
    /// One row: `dh += r (w ∘ dx - x̂ mean(w ∘ dx ∘ x̂))`; returns `r`.
    pub rms_norm_backward: fn(dx: &[f32], h: &[f32], w: &[f32], eps: f32, dh: &mut [f32]) -> f32,
    /// `dw += dx ∘ h · r`.
    pub norm_weight: fn(dx: &[f32], h: &[f32], r: f32, dw: &mut [f32]),
    /// `Σ a b`, in 16 lanes.
    pub dot: fn(a: &[bf16], b: &[bf16]) -> f32,
    /// `out = x ∘ mask / (1 - p)` for elements from index `first` on.
    pub dropout: fn(x: &[bf16], first: usize, p: f32, key: u64, out: &mut [bf16]),
    /// `dx += dz ∘ mask / (1 - p)`.
    pub dropout_backward: fn(dz: &[f32], first: usize, p: f32, key: u64, dx: &mut [f32]),
    /// AdamW of the elements from index `first` on.
    pub adamw: fn(step: &AdamStep, decay: f32, key: u64, first: usize, gradient: &[f32], chunk: AdamChunk<'_>),
}

/// The kernels for `isa`, which this machine has.
pub fn kernels(isa: Isa) -> &'static Kernels {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Bf16 => &avx512::KERNELS,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => &avx2::KERNELS,
        _ => &PORTABLE,
    }
}

static PORTABLE: Kernels = Kernels {
    transpose,
    interleave,
    tile,
    softmax,
    divide,
    softmax_backward,
    probabilities,
    swiglu,
    swiglu_backward,
    rms_norm_backward,
    norm_weight,
    dot,
    dropout,
    dropout_backward,
    adamw,
};

/// The shape of a tile's operands; panics if they disagree, which the kernels rely on. Returns the number of pairs.
#[inline(always)]
fn check_tile(a: &[u32], b: &[u32], cols: usize, rows: usize, y: &[f32], stride: usize) -> usize {
    let pairs = a.len() / GROUP;
    assert!(cols.is_multiple_of(LANES) && (LANES..=COLUMNS).contains(&cols) && (1..=GROUP).contains(&rows));
    assert!(b.len() >= pairs * cols && stride >= cols && y.len() >= (GROUP - 1) * stride + cols);
    pairs
}

#[inline(always)]
fn transpose(rows: &[&[bf16]], out: &mut [u32], cols: usize, at: usize) {
    let k = rows[0].len();
    let element = |row: &[bf16], i: usize| if i < k { row[i].to_bits() as u32 } else { 0 };
    for p in 0..k.div_ceil(2) {
        let out = &mut out[p * cols + at..][..LANES];
        out.fill(0);
        for (out, row) in out.iter_mut().zip(rows) {
            *out = element(row, 2 * p) | element(row, 2 * p + 1) << 16;
        }
    }
}

#[inline(always)]
fn interleave(data: &[bf16], stride: usize, n: usize, k: usize, out: &mut [u32], cols: usize) {
    for p in 0..k.div_ceil(2) {
        let even = &data[2 * p * stride..][..n];
        let out = &mut out[p * cols..][..cols];
        if 2 * p + 1 < k {
            let odd = &data[(2 * p + 1) * stride..][..n];
            for ((out, even), odd) in out.iter_mut().zip(even).zip(odd) {
                *out = even.to_bits() as u32 | (odd.to_bits() as u32) << 16;
            }
        } else {
            out.iter_mut().zip(even).for_each(|(out, even)| *out = even.to_bits() as u32);
        }
        out[n..].fill(0);
    }
}

/// The two elements of a pair.
#[inline(always)]
fn halves(pair: u32) -> (f32, f32) {
    (f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000))
}

#[inline(always)]
fn tile(a: &[u32], b: &[u32], cols: usize, rows: usize, y: &mut [f32], stride: usize, add: bool) {
    const ROWS: usize = 4;
    let pairs = check_tile(a, b, cols, rows, y, stride);
    for m in (0..rows).step_by(ROWS) {
        for n in (0..cols).step_by(LANES) {
            let mut sums = [[0f32; LANES]; ROWS];
            if add {
                for (i, sums) in sums.iter_mut().enumerate() {
                    sums.copy_from_slice(&y[(m + i) * stride + n..][..LANES]);
                }
            }
            for p in 0..pairs {
                let (a, b) = (&a[p * GROUP + m..][..ROWS], &b[p * cols + n..][..LANES]);
                for (sums, a) in sums.iter_mut().zip(a) {
                    let (even, odd) = halves(*a);
                    for (sum, b) in sums.iter_mut().zip(b) {
                        let (b_even, b_odd) = halves(*b);
                        *sum += odd * b_odd;
                        *sum += even * b_even;
                    }
                }
            }
            for (i, sums) in sums.iter().enumerate() {
                y[(m + i) * stride + n..][..LANES].copy_from_slice(sums);
            }
        }
    }
}

#[inline(always)]
fn softmax(s: &[f32], scale: f32, p: &mut [bf16]) -> (f32, f32) {
    let mut most = [f32::NEG_INFINITY; LANES];
    for s in s.chunks(LANES) {
        for (most, s) in most.iter_mut().zip(s) {
            let s = s * scale;
            *most = if s > *most { s } else { *most };
        }
    }
    let max = most.into_iter().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
    let mut sums = [0f32; LANES];
    for (p, s) in p.chunks_mut(LANES).zip(s.chunks(LANES)) {
        for ((sum, p), s) in sums.iter_mut().zip(p).zip(s) {
            *p = to_bf16(exp(s * scale - max));
            *sum += p.to_f32();
        }
    }
    (max, tree(sums))
}

#[inline(always)]
fn divide(y: &[f32], by: f32, out: &mut [bf16]) {
    out.iter_mut().zip(y).for_each(|(out, y)| *out = to_bf16(y / by));
}

#[inline(always)]
fn softmax_backward(row: &ScoreRow<'_>, p: &mut [bf16], ds: &mut [bf16]) {
    for (((p, ds), s), dp) in p.iter_mut().zip(ds).zip(row.s).zip(row.dp) {
        let weight = exp(s * row.scale - row.lse);
        *p = to_bf16(weight);
        *ds = to_bf16(weight * (dp - row.delta) * row.scale);
    }
}

#[inline(always)]
fn probabilities(z: &[f32], lse: f32, weight: f32, out: &mut [bf16]) {
    out.iter_mut().zip(z).for_each(|(out, z)| *out = to_bf16(exp(z - lse) * weight));
}

#[inline(always)]
fn swiglu(gate: &[bf16], up: &[bf16], a: &mut [bf16]) {
    for ((a, g), u) in a.iter_mut().zip(gate).zip(up) {
        let g = g.to_f32();
        *a = to_bf16(g / (1.0 + exp(-g)) * u.to_f32());
    }
}

#[inline(always)]
fn swiglu_backward(da: &[bf16], gate: &[bf16], up: &[bf16], dgate: &mut [bf16], dup: &mut [bf16]) {
    for ((((da, g), u), dgate), dup) in da.iter().zip(gate).zip(up).zip(dgate).zip(dup) {
        let (da, g) = (da.to_f32(), g.to_f32());
        let sigmoid = 1.0 / (1.0 + exp(-g));
        *dup = to_bf16(da * g * sigmoid);
        *dgate = to_bf16(da * u.to_f32() * sigmoid * (1.0 + g * (1.0 - sigmoid)));
    }
}

/// `Σ f(i)` over `0..len` in 16 lanes and the common tree.
#[inline(always)]
fn lanes(len: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut sums = [0f32; LANES];
    let whole = len - len % LANES;
    for start in (0..whole).step_by(LANES) {
        for (l, sum) in sums.iter_mut().enumerate() {
            *sum += f(start + l);
        }
    }
    for i in whole..len {
        sums[i - whole] += f(i);
    }
    tree(sums)
}

#[inline(always)]
fn rms_norm_backward(dx: &[f32], h: &[f32], w: &[f32], eps: f32, dh: &mut [f32]) -> f32 {
    let c = h.len();
    let (dx, w, dh) = (&dx[..c], &w[..c], &mut dh[..c]);
    let r = 1.0 / (lanes(c, |i| h[i] * h[i]) / c as f32 + eps).sqrt();
    let mean = lanes(c, |i| w[i] * dx[i] * (h[i] * r)) / c as f32;
    for i in 0..c {
        dh[i] += r * (w[i] * dx[i] - h[i] * r * mean);
    }
    r
}

#[inline(always)]
fn norm_weight(dx: &[f32], h: &[f32], r: f32, dw: &mut [f32]) {
    for ((dw, dx), h) in dw.iter_mut().zip(dx).zip(h) {
        *dw += dx * (h * r);
    }
}

#[inline(always)]
fn dot(a: &[bf16], b: &[bf16]) -> f32 {
    let b = &b[..a.len()];
    lanes(a.len(), |i| a[i].to_f32() * b[i].to_f32())
}

/// 0 with probability `p`, else `1 / (1 - p)`.
#[inline(always)]
fn mask(p: f32, key: u64, index: usize) -> f32 {
    // 24 bits are exact in f32.
    let drawn = (uniform(key, index) >> 8) as f32 * (1.0 / (1 << 24) as f32);
    if drawn < p { 0.0 } else { 1.0 / (1.0 - p) }
}

#[inline(always)]
fn dropout(x: &[bf16], first: usize, p: f32, key: u64, out: &mut [bf16]) {
    for (i, (out, x)) in out.iter_mut().zip(x).enumerate() {
        *out = to_bf16(x.to_f32() * mask(p, key, first + i));
    }
}

#[inline(always)]
fn dropout_backward(dz: &[f32], first: usize, p: f32, key: u64, dx: &mut [f32]) {
    for (i, (dx, dz)) in dx.iter_mut().zip(dz).enumerate() {
        *dx += dz * mask(p, key, first + i);
    }
}

/// `x` rounded to one of its two neighbours in bf16, up with the probability of the distance from the lower one.
#[inline(always)]
fn stochastic(x: f32, random: u32) -> bf16 {
    let bits = x.to_bits();
    // A carry into an exponent of ones would make infinity of a finite number.
    let rounded = if bits & 0x7f80_0000 == 0x7f80_0000 { bits } else { bits.wrapping_add(random & 0xffff) };
    if x.is_nan() { bf16::NAN } else { bf16::from_bits((rounded >> 16) as u16) }
}

/// Mean, mean square and parameter after the step.
#[inline(always)]
fn adam(step: &AdamStep, decay: f32, gradient: f32, m: f32, v: f32, w: f32) -> (f32, f32, f32) {
    let g = gradient * step.scale;
    let m = step.beta[0] * m + (1.0 - step.beta[0]) * g;
    let v = step.beta[1] * v + (1.0 - step.beta[1]) * g * g;
    let move_by = (m * step.correction[0]) / ((v * step.correction[1]).sqrt() + step.epsilon);
    (m, v, w - step.rate * decay * w - step.rate * move_by)
}

#[inline(always)]
fn adamw(step: &AdamStep, decay: f32, key: u64, first: usize, gradient: &[f32], chunk: AdamChunk<'_>) {
    let n = gradient.len();
    match chunk {
        AdamChunk::Matrix(m, v, master, weight) => {
            let (m, v, master, weight) = (&mut m[..n], &mut v[..n], &mut master[..n], &mut weight[..n]);
            for i in 0..n {
                (m[i], v[i], master[i]) = adam(step, decay, gradient[i], m[i], v[i], master[i]);
                weight[i] = to_bf16(master[i]);
            }
        }
        AdamChunk::Vector(m, v, w) => {
            let (m, v, w) = (&mut m[..n], &mut v[..n], &mut w[..n]);
            for i in 0..n {
                (m[i], v[i], w[i]) = adam(step, decay, gradient[i], m[i], v[i], w[i]);
            }
        }
        AdamChunk::Half(m, v, weight) => {
            let (m, v, weight) = (&mut m[..n], &mut v[..n], &mut weight[..n]);
            for i in 0..n {
                let (mean, square, w) =
                    adam(step, decay, gradient[i], m[i].to_f32(), v[i].to_f32(), weight[i].to_f32());
                // Three draws of one counter: 16 bits each.
                let draw = uniform(key, 2 * (first + i));
                let other = uniform(key, 2 * (first + i) + 1);
                (m[i], v[i], weight[i]) =
                    (stochastic(mean, draw), stochastic(square, draw >> 16), stochastic(w, other));
            }
        }
    }
}

/// Compiles the plain bodies for an instruction set.
#[cfg(target_arch = "x86_64")]
macro_rules! compiled {
    ($features:literal, $($name:ident: ($($arg:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        $(fn $name($($arg: $type),*) $(-> $result)? {
            #[target_feature(enable = $features)]
            fn inside($($arg: $type),*) $(-> $result)? {
                super::$name($($arg),*)
            }
            // SAFETY: `kernels` hands this out only for an instruction set that was detected.
            unsafe { inside($($arg),*) }
        })*
    };
}

#[cfg(target_arch = "x86_64")]
macro_rules! plain {
    ($features:literal) => {
        compiled! { $features,
            interleave: (data: &[bf16], stride: usize, n: usize, k: usize, out: &mut [u32], cols: usize);
            softmax: (s: &[f32], scale: f32, p: &mut [bf16]) -> (f32, f32);
            divide: (y: &[f32], by: f32, out: &mut [bf16]);
            softmax_backward: (row: &ScoreRow<'_>, p: &mut [bf16], ds: &mut [bf16]);
            probabilities: (z: &[f32], lse: f32, weight: f32, out: &mut [bf16]);
            swiglu: (gate: &[bf16], up: &[bf16], a: &mut [bf16]);
            swiglu_backward: (da: &[bf16], gate: &[bf16], up: &[bf16], dgate: &mut [bf16], dup: &mut [bf16]);
            rms_norm_backward: (dx: &[f32], h: &[f32], w: &[f32], eps: f32, dh: &mut [f32]) -> f32;
            norm_weight: (dx: &[f32], h: &[f32], r: f32, dw: &mut [f32]);
            dot: (a: &[bf16], b: &[bf16]) -> f32;
            dropout: (x: &[bf16], first: usize, p: f32, key: u64, out: &mut [bf16]);
            dropout_backward: (dz: &[f32], first: usize, p: f32, key: u64, dx: &mut [f32]);
            adamw: (step: &AdamStep, decay: f32, key: u64, first: usize, gradient: &[f32], chunk: AdamChunk<'_>);
        }

        pub static KERNELS: Kernels = Kernels {
            transpose,
            interleave,
            tile,
            softmax,
            divide,
            softmax_backward,
            probabilities,
            swiglu,
            swiglu_backward,
            rms_norm_backward,
            norm_weight,
            dot,
            dropout,
            dropout_backward,
            adamw,
        };
    };
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::*;

    plain!("avx2,fma");

    compiled! { "avx2,fma",
        transpose: (rows: &[&[bf16]], out: &mut [u32], cols: usize, at: usize);
        tile: (a: &[u32], b: &[u32], cols: usize, rows: usize, y: &mut [f32], stride: usize, add: bool);
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::super::super::kernel::avx512::{dot as dot_pairs, transpose as transpose_pairs};
    use super::*;
    use half::bf16;
    use std::arch::x86_64::*;

    plain!("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16");

    fn transpose(rows: &[&[bf16]], out: &mut [u32], cols: usize, at: usize) {
        // SAFETY: the machine has the instruction set (see `kernels`).
        unsafe { transpose_rows(rows, out, cols, at) }
    }

    fn tile(a: &[u32], b: &[u32], cols: usize, rows: usize, y: &mut [f32], stride: usize, add: bool) {
        // SAFETY: as above.
        unsafe { tile_any(a, b, cols, rows, y, stride, add) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    fn transpose_rows(rows: &[&[bf16]], out: &mut [u32], cols: usize, at: usize) {
        let (k, pairs) = (rows[0].len(), rows[0].len().div_ceil(2));
        assert!((1..=GROUP).contains(&rows.len()) && rows.iter().all(|row| row.len() == k));
        assert!(at + GROUP <= cols && out.len() >= pairs * cols);
        let row: [*const bf16; GROUP] = std::array::from_fn(|i| rows[if i < rows.len() { i } else { 0 }].as_ptr());
        let mut spill = [0u32; GROUP];
        let spill = spill.as_mut_ptr();
        for start in (0..k).step_by(2 * GROUP) {
            let left = k - start;
            let mask = if left >= 2 * GROUP { u32::MAX } else { u32::MAX >> (2 * GROUP - left) };
            let present = |i: usize| if i < rows.len() { mask } else { 0 };
            let first = start / 2;
            // SAFETY: the masks leave elements below `k` of present rows; pair `first + l < pairs` has its place in `out`,
            // the others go to `spill`.
            unsafe {
                let out = out.as_mut_ptr();
                let place = |l: usize| if first + l < pairs { out.add((first + l) * cols + at) } else { spill };
                transpose_pairs(|i| _mm512_maskz_loadu_epi16(present(i), row[i].add(start).cast()), place);
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    fn tile_any(a: &[u32], b: &[u32], cols: usize, rows: usize, y: &mut [f32], stride: usize, add: bool) {
        let pairs = check_tile(a, b, cols, rows, y, stride);
        for m in (0..rows).step_by(8) {
            // SAFETY: `check_tile` has compared all lengths; `m + M <= 16`.
            unsafe {
                match (rows - m > 4, cols / LANES) {
                    (true, 3) => tile_of::<8, 3>(a, b, pairs, m, y, stride, add),
                    (true, 2) => tile_of::<8, 2>(a, b, pairs, m, y, stride, add),
                    (true, _) => tile_of::<8, 1>(a, b, pairs, m, y, stride, add),
                    (false, 3) => tile_of::<4, 3>(a, b, pairs, m, y, stride, add),
                    (false, 2) => tile_of::<4, 2>(a, b, pairs, m, y, stride, add),
                    (false, _) => tile_of::<4, 1>(a, b, pairs, m, y, stride, add),
                }
            }
        }
    }

    /// Rows `m..m + M` of the group by `16 V` columns: 24 accumulators, and 11 loads for 24 products.
    ///
    /// # Safety
    /// The operands passed `check_tile`, `cols = 16 V`, `m + M <= 16`.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    #[inline]
    unsafe fn tile_of<const M: usize, const V: usize>(
        a: &[u32],
        b: &[u32],
        pairs: usize,
        m: usize,
        y: &mut [f32],
        stride: usize,
        add: bool,
    ) {
        let mut sums = [[_mm512_setzero_ps(); V]; M];
        // SAFETY: pair `p < pairs` of the operands, and 16 rows of `y`, are there.
        unsafe {
            let y = y.as_mut_ptr().add(m * stride);
            if add {
                for (i, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = _mm512_loadu_ps(y.add(i * stride + v * LANES));
                    }
                }
            }
            let (mut a, mut b) = (a.as_ptr().add(m), b.as_ptr());
            for _ in 0..pairs {
                // Not `from_fn`: its closure may stay a call of its own, which spills every accumulator.
                let mut bs = [_mm512_setzero_si512(); V];
                for (v, x) in bs.iter_mut().enumerate() {
                    *x = _mm512_loadu_si512(b.add(v * LANES).cast());
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let x = _mm512_set1_epi32(*a.add(i) as i32);
                    for (sum, b) in sums.iter_mut().zip(bs) {
                        *sum = dot_pairs(*sum, x, b);
                    }
                }
                (a, b) = (a.add(GROUP), b.add(V * LANES));
            }
            for (i, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    _mm512_storeu_ps(y.add(i * stride + v * LANES), *sum);
                }
            }
        }
    }
}
