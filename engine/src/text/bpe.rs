//! Byte-pair encoding: the merge table and the merge loop.
//!
//! Of all adjacent pairs that the table knows, the one of least rank is merged, the leftmost among equals, until none is
//! left. That is the rule of `tokenizers` (rank = position in the list of merges) and of SentencePiece (rank = order of
//! the merged piece's score) alike.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::{Error, Result};

/// A word of at most this many symbols is merged on the stack, by scanning for the least rank. Clinical words have 3 to
/// 20; from about 40 symbols on the heap is as fast.
const SHORT: usize = 40;

/// One rule: `left right -> merged`, applied in the order of `rank`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Merge {
    pub left: u32,
    pub right: u32,
    pub rank: u32,
    pub merged: u32,
}

/// All rules, grouped by the left symbol and sorted by the right one: 12 bytes per rule and no hash for a hostile file to
/// collide.
#[derive(Debug)]
pub(super) struct Bpe {
    /// Rules of left symbol `l` are `starts[l]..starts[l + 1]`.
    starts: Vec<u32>,
    rights: Vec<u32>,
    /// `(rank, merged)` of each rule.
    rules: Vec<(u32, u32)>,
}

impl Bpe {
    /// The table of `merges` over symbols `0..symbols`. Of two rules for one pair the later one counts.
    pub fn new(symbols: usize, mut merges: Vec<Merge>) -> Result<Self> {
        if merges.iter().any(|m| m.left.max(m.right).max(m.merged) as usize >= symbols) {
            return Err(Error::internal("a merge rule names a symbol outside the vocabulary"));
        }
        if u32::try_from(merges.len()).is_err() {
            return Err(Error::unsupported("more than 2^32 merge rules"));
        }
        merges.sort_by_key(|m| (m.left, m.right));
        // The sort is stable: the last of equal pairs is the last of the file.
        let mut kept: Vec<Merge> = Vec::with_capacity(merges.len());
        for merge in merges {
            match kept.last_mut() {
                Some(last) if (last.left, last.right) == (merge.left, merge.right) => *last = merge,
                _ => kept.push(merge),
            }
        }
        let mut starts = vec![0u32; symbols + 1];
        for merge in &kept {
            starts[merge.left as usize + 1] += 1;
        }
        for i in 0..symbols {
            starts[i + 1] += starts[i];
        }
        Ok(Self {
            starts,
            rights: kept.iter().map(|m| m.right).collect(),
            rules: kept.iter().map(|m| (m.rank, m.merged)).collect(),
        })
    }

    /// `(rank, merged)` of the pair, if there is such a rule.
    fn rule(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        let from = *self.starts.get(left as usize)? as usize;
        let to = *self.starts.get(left as usize + 1)? as usize;
        let at = self.rights[from..to].binary_search(&right).ok()?;
        Some(self.rules[from + at])
    }

    /// Every rule, in the order of its pair.
    pub fn rules(&self) -> impl Iterator<Item = Merge> + '_ {
        (0..self.starts.len().saturating_sub(1)).flat_map(move |left| {
            (self.starts[left] as usize..self.starts[left + 1] as usize).map(move |i| Merge {
                left: left as u32,
                right: self.rights[i],
                rank: self.rules[i].0,
                merged: self.rules[i].1,
            })
        })
    }

    /// Appends to `out` what `symbols` merge into.
    pub fn merge(&self, symbols: &[u32], out: &mut Vec<u32>) {
        match symbols.len() {
            0 | 1 => out.extend_from_slice(symbols),
            n if n <= SHORT => self.merge_short(symbols, out),
            _ => self.merge_long(symbols, out),
        }
    }

    fn merge_short(&self, symbols: &[u32], out: &mut Vec<u32>) {
        const NONE: (u32, u32) = (u32::MAX, u32::MAX);
        let mut ids = [0u32; SHORT];
        let mut rules = [NONE; SHORT];
        let mut n = symbols.len();
        ids[..n].copy_from_slice(symbols);
        for i in 0..n - 1 {
            rules[i] = self.rule(ids[i], ids[i + 1]).unwrap_or(NONE);
        }
        while n > 1 {
            let (mut best, mut at) = (NONE, 0);
            for (i, &rule) in rules[..n - 1].iter().enumerate() {
                if rule.0 < best.0 {
                    (best, at) = (rule, i);
                }
            }
            if best == NONE {
                break;
            }
            ids[at] = best.1;
            ids.copy_within(at + 2..n, at + 1);
            n -= 1;
            rules.copy_within(at + 1..n, at);
            rules[n - 1] = NONE;
            if at + 1 < n {
                rules[at] = self.rule(ids[at], ids[at + 1]).unwrap_or(NONE);
            }
            if at > 0 {
                rules[at - 1] = self.rule(ids[at - 1], ids[at]).unwrap_or(NONE);
            }
        }
        out.extend_from_slice(&ids[..n]);
    }

    /// O(n log n): a heap of candidate pairs over a linked list; a candidate whose pair changed is dropped when popped.
    fn merge_long(&self, symbols: &[u32], out: &mut Vec<u32>) {
        const GONE: u32 = u32::MAX;
        let n = symbols.len();
        let mut ids = symbols.to_vec();
        let mut next: Vec<usize> = (1..=n).collect();
        let mut previous: Vec<usize> = (0..n).map(|i| i.wrapping_sub(1)).collect();
        let mut heap = BinaryHeap::with_capacity(n);
        for i in 0..n - 1 {
            if let Some((rank, _)) = self.rule(ids[i], ids[i + 1]) {
                heap.push(Reverse((rank, i, ids[i], ids[i + 1])));
            }
        }
        while let Some(Reverse((_, at, left, right))) = heap.pop() {
            let with = next[at];
            if ids[at] != left || with >= n || ids[with] != right {
                continue;
            }
            let Some((_, merged)) = self.rule(left, right) else { continue };
            ids[at] = merged;
            ids[with] = GONE;
            next[at] = next[with];
            if next[at] < n {
                previous[next[at]] = at;
                if let Some((rank, _)) = self.rule(merged, ids[next[at]]) {
                    heap.push(Reverse((rank, at, merged, ids[next[at]])));
                }
            }
            if previous[at] < n {
                let before = previous[at];
                if let Some((rank, _)) = self.rule(ids[before], merged) {
                    heap.push(Reverse((rank, before, ids[before], merged)));
                }
            }
        }
        let mut at = 0;
        while at < n {
            out.push(ids[at]);
            at = next[at];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rule as it is stated, without any bookkeeping.
    fn merge_plainly(merges: &[Merge], symbols: &[u32]) -> Vec<u32> {
        let mut ids = symbols.to_vec();
        loop {
            let candidates = (0..ids.len().saturating_sub(1)).filter_map(|i| {
                let rule = merges.iter().rev().find(|m| (m.left, m.right) == (ids[i], ids[i + 1]))?;
                Some((rule.rank, i, rule.merged))
            });
            let Some((_, at, merged)) = candidates.min() else { return ids };
            ids.splice(at..at + 2, [merged]);
        }
    }

    proptest! {
        #[test]
        fn both_loops_follow_the_stated_rule(
            rules in prop::collection::vec((0u32..6, 0u32..6, 0u32..5, 6u32..12), 0..30),
            late in prop::collection::vec((0u32..12, 0u32..12, 0u32..9, 0u32..16), 0..30),
            symbols in prop::collection::vec(0u32..6, 2..SHORT),
        ) {
            // A merged symbol may be any symbol: equal ranks, cycles and repeated rules included.
            let merges: Vec<Merge> = rules.iter().chain(&late)
                .map(|&(left, right, rank, merged)| Merge { left, right, rank, merged }).collect();
            let bpe = Bpe::new(16, merges.clone()).unwrap();
            let (mut short, mut long) = (Vec::new(), Vec::new());
            bpe.merge_short(&symbols, &mut short);
            bpe.merge_long(&symbols, &mut long);
            let plain = merge_plainly(&merges, &symbols);
            prop_assert_eq!(&short, &plain);
            prop_assert_eq!(&long, &plain);
        }
    }

    #[test]
    fn a_rule_outside_the_vocabulary_is_refused() {
        assert!(Bpe::new(2, vec![Merge { left: 0, right: 1, rank: 0, merged: 2 }]).is_err());
    }

    #[test]
    fn long_words_take_n_log_n() {
        let merges =
            vec![Merge { left: 0, right: 0, rank: 0, merged: 1 }, Merge { left: 1, right: 1, rank: 0, merged: 2 }];
        let bpe = Bpe::new(3, merges).unwrap();
        let mut out = Vec::new();
        bpe.merge(&vec![0; 1 << 20], &mut out);
        assert_eq!(out, vec![2; 1 << 18]);
    }
}
