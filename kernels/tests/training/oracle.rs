//! Attention of packed examples and its gradients in f64, with bounds of what bf16 may do to them.

use crate::harness::{Expected, Random};
use half::bf16;
use std::ops::Range;

/// A batch of packed examples.
#[derive(Clone)]
pub struct Case {
    pub examples: Vec<Range<usize>>,
    pub heads: usize,
    pub kv_heads: usize,
    pub dim: usize,
    pub window: Option<usize>,
    /// `[T, H, D]`, `[T, G, D]`, `[T, G, D]`, `[T, H, D]`.
    pub q: Vec<bf16>,
    pub k: Vec<bf16>,
    pub v: Vec<bf16>,
    pub d_o: Vec<bf16>,
}

/// What forward and backward should give.
#[derive(Default)]
pub struct Answer {
    pub o: Vec<Expected>,
    pub lse: Vec<Expected>,
    pub dq: Vec<Expected>,
    pub dk: Vec<Expected>,
    pub dv: Vec<Expected>,
}

impl Case {
    pub fn new(seed: u64, lengths: &[usize], heads: [usize; 2], dim: usize, window: Option<usize>) -> Self {
        let mut random = Random::new(seed);
        let mut at = 0;
        let examples = lengths.iter().map(|len| (at, at += len).0..at).collect();
        let [h, g] = heads;
        // Scores of some units, so that weights are neither all alike nor all at one key.
        let mut values = |n: usize| (0..n).map(|_| bf16::from_f32(2.0 * random.uniform())).collect::<Vec<_>>();
        let (q, k, v, d_o) = (values(at * h * dim), values(at * g * dim), values(at * g * dim), values(at * h * dim));
        Case { examples, heads: h, kv_heads: g, dim, window, q, k, v, d_o }
    }

    pub fn rows(&self) -> usize {
        self.examples.last().map_or(0, |e| e.end)
    }

    /// One example alone.
    pub fn only(&self, number: usize) -> Self {
        let rows = self.examples[number].clone();
        let cut = |x: &[bf16], n: usize| x[rows.start * n..rows.end * n].to_vec();
        let (h, g) = (self.heads * self.dim, self.kv_heads * self.dim);
        Case {
            examples: std::iter::once(0..rows.len()).collect(),
            q: cut(&self.q, h),
            k: cut(&self.k, g),
            v: cut(&self.v, g),
            d_o: cut(&self.d_o, h),
            ..*self
        }
    }

    pub fn seen(&self, example: &Range<usize>, i: usize) -> Range<usize> {
        let first = self.window.map_or(example.start, |w| (i + 1).saturating_sub(w).max(example.start));
        first..i + 1
    }

    fn dot(&self, a: &[bf16], i: usize, b: &[bf16], j: usize) -> (f64, f64) {
        let products = (0..self.dim).map(|d| a[i * self.dim + d].to_f64() * b[j * self.dim + d].to_f64());
        (products.clone().sum(), products.map(f64::abs).sum())
    }

    /// `Σ o ∘ d_o`, whose slope backward computes, with one element of an operand moved.
    pub fn loss(&self) -> f64 {
        let answer = self.answer();
        answer.o.iter().zip(&self.d_o).map(|(o, d)| o.value * d.to_f64()).sum()
    }

    pub fn answer(&self) -> Answer {
        let (dim, ratio, root) = (self.dim, self.heads / self.kv_heads, 1.0 / (self.dim as f64).sqrt());
        let zero = Expected { value: 0.0, within: 0.0 };
        let (t, hd, gd) = (self.rows(), self.heads * dim, self.kv_heads * dim);
        let mut a = Answer {
            o: vec![zero; t * hd],
            lse: vec![zero; t * self.heads],
            dq: vec![zero; t * hd],
            dk: vec![zero; t * gd],
            dv: vec![zero; t * gd],
        };
        // Half an ulp of bf16, with a little for what is rounded of it again.
        let half = 2f64.powi(-8) * 1.01;
        for example in &self.examples {
            for i in example.clone() {
                for head in 0..self.heads {
                    let at = i * self.heads + head;
                    let key = |j: usize| j * self.kv_heads + head / ratio;
                    let seen = self.seen(example, i);
                    let scores: Vec<(f64, f64)> =
                        seen.clone().map(|j| self.dot(&self.q, at, &self.k, key(j))).collect();
                    let max = scores.iter().fold(f64::NEG_INFINITY, |m, s| m.max(s.0 * root));
                    let sum: f64 = scores.iter().map(|s| (s.0 * root - max).exp()).sum();
                    let lse = max + sum.ln();
                    // A score is a sum of D products in f32; it and its distance from the maximum are rounded a few times.
                    let slack =
                        scores.iter().fold(0f64, |m, s| m.max(s.1 * root)) * (dim as f64 + 8.0) * 2f64.powi(-24)
                            + 2f64.powi(-19);
                    a.lse[at] = Expected { value: lse, within: slack + lse.abs() * 2f64.powi(-22) };
                    let p: Vec<f64> = scores.iter().map(|s| (s.0 * root - lse).exp()).collect();
                    let mut o_off = vec![0f64; dim];
                    for (d, off) in o_off.iter_mut().enumerate() {
                        let each = || seen.clone().zip(&p).map(|(j, p)| p * self.v[key(j) * dim + d].to_f64());
                        let (value, size): (f64, f64) = (each().sum(), each().map(f64::abs).sum());
                        *off = size * (half + 2.0 * slack) + value.abs() * half;
                        a.o[at * dim + d] = Expected { value, within: *off };
                    }
                    let d_o = |d: usize| self.d_o[at * dim + d].to_f64();
                    let delta: f64 = (0..dim).map(|d| a.o[at * dim + d].value * d_o(d)).sum();
                    let delta_off: f64 = (0..dim).map(|d| o_off[d] * d_o(d).abs()).sum();
                    for (j, p) in seen.zip(p) {
                        let (dp, dp_size) = self.dot(&self.d_o, at, &self.v, key(j));
                        let ds = p * (dp - delta);
                        let off = ds.abs() * (half + 2.0 * slack)
                            + p * (delta_off + (dp_size + delta.abs()) * (dim as f64 + 8.0) * 2f64.powi(-24));
                        for d in 0..dim {
                            let (q, k) = (self.q[at * dim + d].to_f64(), self.k[key(j) * dim + d].to_f64());
                            let add = |e: &mut Expected, value: f64, within: f64| {
                                e.value += value;
                                // Sums in f32, however accumulated.
                                e.within += within + value.abs() * 2f64.powi(-16);
                            };
                            add(&mut a.dq[at * dim + d], ds * k * root, off * k.abs() * root);
                            add(&mut a.dk[key(j) * dim + d], ds * q * root, off * q.abs() * root);
                            add(&mut a.dv[key(j) * dim + d], p * d_o(d), p * d_o(d).abs() * (half + 2.0 * slack));
                        }
                    }
                }
            }
        }
        a
    }
}
