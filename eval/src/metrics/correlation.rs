//! Correlations of two lists of numbers.

/// What one pair adds to the sums of [`pearson_of_sums`]: `1, x, y, x², y², xy`. Numbers far from 0 lose digits: take their mean away.
pub fn pearson_sums(x: f64, y: f64) -> [f64; 6] {
    [1.0, x, y, x * x, y * y, x * y]
}

/// `r = (n Σxy - Σx Σy) / sqrt((n Σx² - (Σx)²) (n Σy² - (Σy)²))`; none where a list is constant.
pub fn pearson_of_sums(sums: &[f64]) -> Option<f64> {
    let [n, x, y, xx, yy, xy] = [sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]];
    let (vx, vy) = (n * xx - x * x, n * yy - y * y);
    // Constant lists leave rounding errors, not 0.
    let varies = |v: f64, squares: f64| v > 1e-12 * n * squares;
    (n > 1.0 && varies(vx, xx) && varies(vy, yy)).then(|| ((n * xy - x * y) / (vx * vy).sqrt()).clamp(-1.0, 1.0))
}

/// Pearson's correlation of the ranks, equal numbers sharing the mean of theirs.
pub fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    let (x, y) = (ranks(pairs.iter().map(|p| p.0)), ranks(pairs.iter().map(|p| p.1)));
    let middle = (pairs.len() as f64 + 1.0) / 2.0;
    let mut sums = [0.0; 6];
    for (x, y) in x.iter().zip(&y) {
        for (sum, more) in sums.iter_mut().zip(pearson_sums(x - middle, y - middle)) {
            *sum += more;
        }
    }
    pearson_of_sums(&sums)
}

/// Ranks from 1.
fn ranks(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let values: Vec<f64> = values.collect();
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut from = 0;
    while from < order.len() {
        let same = order[from..].iter().take_while(|&&i| values[i] == values[order[from]]).count().max(1);
        for &i in &order[from..from + same] {
            ranks[i] = from as f64 + (same as f64 + 1.0) / 2.0;
        }
        from += same;
    }
    ranks
}
