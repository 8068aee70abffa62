//! Whether probabilities are shares of right answers, and what is gained by leaving the doubtful ones out.

use serde::{Deserialize, Serialize};

/// Bins of equal width that [0, 1] is cut into.
const BINS: usize = 10;
/// Points of an abstention curve.
const POINTS: usize = 20;

/// Answers of similar confidence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Answers in it.
    pub count: usize,
    /// Mean of their confidence.
    pub confidence: f64,
    /// Share of them that is right.
    pub right: f64,
}

/// Calibration of a list of answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// `Σ |bin| / n · |right - confidence|` (Guo et al. 2017).
    pub ece: f64,
    /// Mean of the squared differences of probabilities and what is the case (Brier 1950); over options where there are several.
    pub brier: f64,
    /// The reliability diagram: bins of a tenth each, from 0.
    pub bins: Vec<Bin>,
}

/// Of answers with their confidence; `brier` is counted elsewhere, since it looks at all options.
pub fn calibration(answers: &[(f64, bool)], brier: f64) -> Option<Calibration> {
    if answers.is_empty() {
        return None;
    }
    let mut bins = vec![Bin::default(); BINS];
    for &(confidence, right) in answers {
        let bin = &mut bins[((confidence * BINS as f64) as usize).min(BINS - 1)];
        bin.count += 1;
        bin.confidence += confidence;
        bin.right += f64::from(u8::from(right));
    }
    let mut ece = 0.0;
    for bin in bins.iter_mut().filter(|bin| bin.count > 0) {
        bin.confidence /= bin.count as f64;
        bin.right /= bin.count as f64;
        ece += bin.count as f64 / answers.len() as f64 * (bin.right - bin.confidence).abs();
    }
    Some(Calibration { ece, brier, bins })
}

/// `Σ (p - y)²` of one answer: probabilities of the options, and which of them is the case.
pub fn brier(options: impl Iterator<Item = (f64, bool)>) -> f64 {
    options.map(|(p, is)| (p - f64::from(u8::from(is))).powi(2)).sum()
}

/// What is right among the answers that are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// `[share kept, share of them that is right]`, in twentieths.
    pub points: Vec<[f64; 2]>,
    /// Mean over all shares kept, answer by answer, of what is wrong among them.
    pub risk: f64,
}

/// Answers left out from the lowest `score` up. Of equal scores all are left out alike: the curve does not know their order.
pub fn abstention(answers: &[(f64, bool)]) -> Option<Curve> {
    if answers.is_empty() {
        return None;
    }
    let mut sorted = answers.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    // Right answers among the first k.
    let mut right = vec![0.0];
    let mut from = 0;
    while from < sorted.len() {
        let same = sorted[from..].iter().take_while(|answer| answer.0 == sorted[from].0).count().max(1);
        let hits = sorted[from..from + same].iter().filter(|answer| answer.1).count() as f64;
        let before = right[from];
        right.extend((1..=same).map(|i| before + hits * i as f64 / same as f64));
        from += same;
    }
    let n = sorted.len();
    let point = |i: usize| {
        let kept = (n * i).div_ceil(POINTS);
        [kept as f64 / n as f64, right[kept] / kept as f64]
    };
    let risk = (1..=n).map(|kept| 1.0 - right[kept] / kept as f64).sum::<f64>() / n as f64;
    Some(Curve { points: (1..=POINTS).map(point).collect(), risk })
}
