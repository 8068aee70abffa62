//! How tensor cores add: the published models.

/// The arithmetic of one accumulation step of a floating-point mma with an f32 or f16 accumulator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TensorModel {
    /// One fused multiply-add in f32 per product, in ascending k.
    #[default]
    Sequential,
    /// Eight products (four of tf32) and the accumulator at a time, aligned to the largest exponent, cut to 24 fraction bits,
    /// added exactly, cut to f32.
    A100,
    /// Sixteen products (eight of tf32) and the accumulator at a time, cut to 25 fraction bits.
    H100,
}

impl TensorModel {
    /// Products of a step and fraction bits kept; `None` for the sequential model.
    pub fn step(self, tf32: bool) -> Option<(usize, i32)> {
        let halved = |n: usize| if tf32 { n / 2 } else { n };
        match self {
            TensorModel::Sequential => None,
            TensorModel::A100 => Some((halved(8), 24)),
            TensorModel::H100 => Some((halved(16), 25)),
        }
    }
}

/// Exponent of a finite nonzero number; a small one for zero.
#[inline(always)]
pub fn exponent(x: f32) -> i32 {
    let bits = f64::from(x).to_bits();
    if x == 0.0 { -100_000 } else { (bits >> 52 & 0x7ff) as i32 - 1023 }
}

/// 2^e for |e| < 1023.
#[inline(always)]
fn power(e: i32) -> f64 {
    f64::from_bits(((e + 1023) as u64) << 52)
}

/// The products of `a` and `b` added to `c` in one aligned step.
pub fn aligned_sum(a: &[f32], b: impl Fn(usize) -> f32, c: f32, fraction: i32) -> f32 {
    let mut largest = exponent(c);
    let mut finite = c.is_finite();
    for (k, a) in a.iter().enumerate() {
        let b = b(k);
        finite &= a.is_finite() & b.is_finite();
        if *a != 0.0 && b != 0.0 {
            largest = largest.max(exponent(*a) + exponent(b));
        }
    }
    if !finite {
        return a.iter().enumerate().fold(c, |sum, (k, a)| a.mul_add(b(k), sum));
    }
    if largest < -1000 {
        return a.iter().enumerate().fold(c, |sum, (k, a)| sum + a * b(k));
    }
    // Every term becomes a multiple of 2^(largest - fraction); their sum stays below 2^53 of those.
    let unit = largest - fraction;
    let (up, down) = (power(-unit), power(unit));
    let mut sum = (f64::from(c) * up).trunc();
    for (k, a) in a.iter().enumerate() {
        sum += (f64::from(*a) * f64::from(b(k)) * up).trunc();
    }
    cut(sum * down)
}

/// [`aligned_sum`] for the eight columns of a tile and finite numbers, whose exponents are known.
#[inline(always)]
pub fn aligned_step(
    a: &[f32],
    a_exponents: &[i32],
    b: &[[f32; 8]],
    b_exponents: &[[i32; 8]],
    c: &mut [f32; 8],
    fraction: i32,
) {
    // Products of two f32 have larger exponents than this, unless they are zero.
    let mut largest = c.map(|c| exponent(c).max(-900));
    for (a, b) in a_exponents.iter().zip(b_exponents) {
        for n in 0..8 {
            largest[n] = largest[n].max(a + b[n]);
        }
    }
    let (up, down) = (largest.map(|e| power(fraction - e)), largest.map(|e| power(e - fraction)));
    let mut sums = [0.0; 8];
    for n in 0..8 {
        sums[n] = (f64::from(c[n]) * up[n]).trunc();
    }
    for (a, b) in a.iter().zip(b) {
        for n in 0..8 {
            sums[n] += (f64::from(*a) * f64::from(b[n]) * up[n]).trunc();
        }
    }
    for n in 0..8 {
        c[n] = cut(sums[n] * down[n]);
    }
}

/// f64 to f32 towards zero.
#[inline(always)]
fn cut(x: f64) -> f32 {
    let nearest = x as f32;
    let away = f64::from(nearest).abs() > x.abs() && !nearest.is_infinite();
    f32::from_bits(nearest.to_bits() - u32::from(away))
}
