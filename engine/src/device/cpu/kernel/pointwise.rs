//! Everything that is not a matrix product, in plain Rust: each instruction set compiles these bodies for itself. No fused
//! multiply-add, sums in 16 lanes and the common tree: the same bits everywhere.

use super::{LANES, tree};
use half::bf16;

/// `x` rounded to the nearest bf16, ties to even.
#[inline(always)]
pub fn to_bf16(x: f32) -> bf16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    bf16::from_bits(if x.is_nan() { (bits >> 16) | 0x40 } else { rounded } as u16)
}

/// `eˣ`, at most 2 ulp off for results in the normal range (tested); 0 below -87.33, infinite above 88.72.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2²³: adding it rounds to an integer
    let shifted = x.clamp(-88.0, 89.0) * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, the first with 9 bits: n · LN2_HIGH is exact.
    const LN2_HIGH: f32 = 355.0 / 512.0;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    // Taylor's series to r⁷/7!: |r| <= ln(2)/2 leaves 3e-9.
    let mut p = 1.0 / 5040.0;
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5] {
        p = p * r + c;
    }
    let y = 1.0 + (r + r * r * p);
    // 2ⁿ in two factors: n reaches 128.
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) as u32) << 23);
    let y = y * power(n >> 1) * power(n.wrapping_sub(n >> 1));
    if x < -87.33 {
        0.0
    } else if x > 88.72 {
        f32::INFINITY
    } else {
        y
    }
}

/// `x = h · rsqrt(mean(h²) + eps) ∘ w`.
#[inline(always)]
pub fn rms_norm(h: &[f32], w: &[f32], eps: f32, x: &mut [bf16]) {
    let mut squares = [0f32; LANES];
    let (chunks, tail) = h.as_chunks::<LANES>();
    for chunk in chunks {
        for (square, h) in squares.iter_mut().zip(chunk) {
            *square += h * h;
        }
    }
    for (square, h) in squares.iter_mut().zip(tail) {
        *square += h * h;
    }
    let scale = 1.0 / (tree(squares) / h.len() as f32 + eps).sqrt();
    for ((x, h), w) in x.iter_mut().zip(h).zip(w) {
        *x = to_bf16(h * scale * w);
    }
}

/// `a = silu(gate) ∘ up`, `silu(g) = g / (1 + e⁻ᵍ)`.
#[inline(always)]
pub fn swiglu(gate: &[f32], up: &[f32], a: &mut [bf16]) {
    for ((a, g), u) in a.iter_mut().zip(gate).zip(up) {
        *a = to_bf16(g / (1.0 + exp(-g)) * u);
    }
}

/// `(max y, Σ e^(y - max))`.
#[inline(always)]
pub fn max_sum_exp(y: &[f32]) -> (f32, f32) {
    let (chunks, tail) = y.as_chunks::<LANES>();
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let mut most = [f32::NEG_INFINITY; LANES];
    for chunk in chunks.iter().map(<[f32; LANES]>::as_slice).chain([tail]) {
        for (most, y) in most.iter_mut().zip(chunk) {
            *most = larger(*y, *most);
        }
    }
    let max = most.into_iter().fold(f32::NEG_INFINITY, larger);
    let mut sums = [0f32; LANES];
    for chunk in chunks {
        for (sum, y) in sums.iter_mut().zip(chunk) {
            *sum += exp(y - max);
        }
    }
    for (sum, y) in sums.iter_mut().zip(tail) {
        *sum += exp(y - max);
    }
    (max, tree(sums))
}

/// `h += y`.
#[inline(always)]
pub fn add(y: &[f32], h: &mut [f32]) {
    h.iter_mut().zip(y).for_each(|(h, y)| *h += y);
}

/// `x = y` in bf16.
#[inline(always)]
pub fn round(y: &[f32], x: &mut [bf16]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x = to_bf16(*y));
}

/// Rotate-half rotary embedding of one head: `(a, b) = (a cos - b sin, b cos + a sin)` for pairs `(i, i + D/2)`.
#[inline(always)]
pub fn rotate(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (low, high) = head.split_at_mut(head.len() / 2);
    for (((a, b), cos), sin) in low.iter_mut().zip(high).zip(cos).zip(sin) {
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
    }
}
