//! Precision, recall and F1 of counts.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};

/// What was given, what is right, and what is both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Answers.
    pub given: f64,
    /// Right ones there are.
    pub gold: f64,
    /// Answers that are right.
    pub both: f64,
}

impl Counts {
    /// `both / given`; none where nothing was given.
    pub fn precision(&self) -> Option<f64> {
        (self.given > 0.0).then(|| self.both / self.given)
    }

    /// `both / gold`; none where there is nothing to give.
    pub fn recall(&self) -> Option<f64> {
        (self.gold > 0.0).then(|| self.both / self.gold)
    }

    /// `2 · both / (given + gold)`, the harmonic mean of precision and recall; none where both are none.
    pub fn f1(&self) -> Option<f64> {
        (self.given + self.gold > 0.0).then(|| 2.0 * self.both / (self.given + self.gold))
    }
}

/// Counts of each label, from sums `given, gold, both` per label.
fn triples(sums: &[f64]) -> impl Iterator<Item = Counts> + '_ {
    sums.chunks_exact(3).map(|c| Counts { given: c[0], gold: c[1], both: c[2] })
}

/// F1 of the counts of all labels together; `sums` are `given, gold, both` per label.
pub fn micro_f1(sums: &[f64]) -> Option<f64> {
    let mut all = Counts::default();
    for Counts { given, gold, both } in triples(sums) {
        all = Counts { given: all.given + given, gold: all.gold + gold, both: all.both + both };
    }
    all.f1()
}

/// Mean of the labels' F1, of those that were given or are right somewhere.
pub fn macro_f1(sums: &[f64]) -> Option<f64> {
    let each: Vec<f64> = triples(sums).filter_map(|counts| counts.f1()).collect();
    (!each.is_empty()).then(|| each.iter().sum::<f64>() / each.len() as f64)
}

/// `sums[0] / sums[1]`: accuracy of sums `right, all`.
pub fn ratio(sums: &[f64]) -> Option<f64> {
    (sums[1] > 0.0).then(|| sums[0] / sums[1])
}

/// Precision, recall and 1 of one example with any number of labels, as sums for [`example_f1`].
///
/// `P = |A∩G| / |A|`, 0 where nothing was given; `R = |A∩G| / |G|`, 0 where nothing is right. Nothing given and nothing right is 1 and 1.
pub fn example(given: &BTreeSet<&str>, gold: &BTreeSet<&str>) -> [f64; 3] {
    if given.is_empty() && gold.is_empty() {
        return [1.0, 1.0, 1.0];
    }
    let both = given.intersection(gold).count() as f64;
    let share = |of: usize| if of == 0 { 0.0 } else { both / of as f64 };
    [share(given.len()), share(gold.len()), 1.0]
}

/// `2PR / (P + R)` of the means over examples of precision and recall.
pub fn example_f1(sums: &[f64]) -> Option<f64> {
    let [precision, recall, n] = [sums[0], sums[1], sums[2]];
    match (n > 0.0, precision + recall > 0.0) {
        (false, _) => None,
        (true, false) => Some(0.0),
        (true, true) => Some(2.0 * precision * recall / (precision + recall) / n),
    }
}

/// How many strings two bags have in common: `Σ min(count, count)`.
pub fn bag_overlap<T: AsRef<str>>(given: &[T], gold: &[T]) -> usize {
    let mut left: HashMap<&str, usize> = HashMap::new();
    for string in gold {
        *left.entry(string.as_ref()).or_default() += 1;
    }
    let mut both = 0;
    for string in given {
        if let Some(count) = left.get_mut(string.as_ref()).filter(|count| **count > 0) {
            *count -= 1;
            both += 1;
        }
    }
    both
}

/// Words that touch a given place, a right one, and both. Places and words are half-open.
pub fn word_counts(words: &[(usize, usize)], given: &[(usize, usize)], gold: &[(usize, usize)]) -> [usize; 3] {
    let touches = |word: &(usize, usize), places: &[(usize, usize)]| {
        places.iter().any(|place| place.0 < word.1 && word.0 < place.1)
    };
    let mut counts = [0; 3];
    for word in words {
        let (in_given, in_gold) = (touches(word, given), touches(word, gold));
        counts[0] += usize::from(in_given);
        counts[1] += usize::from(in_gold);
        counts[2] += usize::from(in_given && in_gold);
    }
    counts
}
