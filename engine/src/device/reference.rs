//! Each operation in a few plain lines of f64: what devices are tested against. Inputs are what the device got, bf16 as
//! stored, so a difference is the device's arithmetic alone.

use half::bf16;

/// `x` in f64.
pub fn wide(x: &[bf16]) -> Vec<f64> {
    x.iter().map(|x| x.to_f64()).collect()
}

/// `y[t, n] = Σ x[t, k] w[n, k]`.
pub fn linear(x: &[f64], w: &[f64], k: usize) -> Vec<f64> {
    let dot = |x: &[f64], w: &[f64]| x.iter().zip(w).map(|(x, w)| x * w).sum();
    x.chunks(k).flat_map(|x| w.chunks(k).map(move |w| dot(x, w))).collect()
}

/// `x[t, c] = h[t, c] w[c] / sqrt(mean(h[t]²) + eps)`.
pub fn rms_norm(h: &[f64], w: &[f64], eps: f64) -> Vec<f64> {
    let c = w.len();
    let scale = |h: &[f64]| 1.0 / (h.iter().map(|h| h * h).sum::<f64>() / c as f64 + eps).sqrt();
    h.chunks(c).flat_map(|h| h.iter().zip(w).map(move |(x, w)| x * w * scale(h))).collect()
}

/// `a = g / (1 + e⁻ᵍ) · u`.
pub fn swiglu(gate: &[f64], up: &[f64]) -> Vec<f64> {
    gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect()
}

/// Rotate-half rotary embedding of heads of width `d` in rows of `n`: pair `(i, i + D/2)` by `position · theta^(-2i/D)`.
pub fn rope(x: &mut [f64], n: usize, d: usize, positions: &[u32], theta: f64) {
    for (row, &position) in x.chunks_mut(n).zip(positions) {
        for head in row.chunks_mut(d) {
            for i in 0..d / 2 {
                let (sin, cos) = (position as f64 * theta.powf(-2.0 * i as f64 / d as f64)).sin_cos();
                (head[i], head[i + d / 2]) =
                    (head[i] * cos - head[i + d / 2] * sin, head[i + d / 2] * cos + head[i] * sin);
            }
        }
    }
}

/// `ln Σ eʸ`.
pub fn lse(y: &[f64]) -> f64 {
    let max = y.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    max + y.iter().map(|y| (y - max).exp()).sum::<f64>().ln()
}
