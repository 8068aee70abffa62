//! Percentile bootstrap (Efron and Tibshirani 1993): documents drawn with replacement, as many as there are.

use biomistral_nlu::random::{mix, uniform};
use serde::{Deserialize, Serialize};

/// Resamples of an interval.
pub const RESAMPLES: usize = 1000;

/// The middle 95 % of the values of `of` over resamples of `n` documents, drawn by the seed alone. None for fewer than two documents and
/// where most resamples have no value.
pub fn bootstrap(n: usize, seed: u64, of: impl FnMut(&[usize]) -> Option<f64>) -> Option<(f64, f64)> {
    if n < 2 {
        return None;
    }
    interval(values(n, seed, of))
}

/// A difference on the same resamples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Second less first.
    pub difference: f64,
    /// The middle 95 % of it.
    pub low: f64,
    /// The middle 95 % of it.
    pub high: f64,
    /// Share of resamples in which the sign is not that of `difference`.
    pub other_sign: f64,
}

/// The difference of two values over the same resamples of `n` documents.
pub fn paired(
    n: usize,
    seed: u64,
    first: impl Fn(&[usize]) -> Option<f64>,
    second: impl Fn(&[usize]) -> Option<f64>,
) -> Option<Paired> {
    let of = |drawn: &[usize]| Some(second(drawn)? - first(drawn)?);
    let difference = of(&(0..n).collect::<Vec<_>>())?;
    let values = values(n, seed, of);
    let other = values.iter().filter(|value| **value * difference <= 0.0).count();
    let other_sign = other as f64 / values.len().max(1) as f64;
    let (low, high) = interval(values)?;
    Some(Paired { difference, low, high, other_sign })
}

/// `of` the sums of the drawn documents' rows.
pub fn summed(rows: &[Vec<f64>], drawn: &[usize], of: fn(&[f64]) -> Option<f64>) -> Option<f64> {
    let mut sums = vec![0.0; rows.first()?.len()];
    for &i in drawn {
        for (sum, more) in sums.iter_mut().zip(&rows[i]) {
            *sum += more;
        }
    }
    of(&sums)
}

fn values(n: usize, seed: u64, mut of: impl FnMut(&[usize]) -> Option<f64>) -> Vec<f64> {
    let mut drawn = vec![0; n];
    let mut values = Vec::with_capacity(RESAMPLES);
    for resample in 0..RESAMPLES {
        let key = mix(seed ^ mix(resample as u64));
        for (i, slot) in drawn.iter_mut().enumerate() {
            *slot = ((u64::from(uniform(key, i)) * n as u64) >> 32) as usize;
        }
        values.extend(of(&drawn));
    }
    values
}

fn interval(mut values: Vec<f64>) -> Option<(f64, f64)> {
    if values.len() < RESAMPLES / 2 {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    Some((at(0.025), at(0.975)))
}
