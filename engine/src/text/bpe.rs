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

/// All rules by their pair, in one open-addressed table: a look-up touches one cache line most of the time (with a sorted
/// table a short word took twice as long).
#[derive(Debug)]
pub(super) struct Bpe {
    /// A power of two of slots, at least a third of them empty.
    slots: Vec<Merge>,
    /// Mixed into the hash; another one is tried where the pairs of a file collide too often.
    seed: u64,
}

const EMPTY: Merge = Merge { left: u32::MAX, right: u32::MAX, rank: u32::MAX, merged: u32::MAX };
/// A few dozen are needed at this load. A file made to collide costs eight attempts and is refused.
const PROBES_MAX: usize = 256;

impl Bpe {
    /// The table of `merges` over symbols `0..symbols`. Of two rules for one pair the later one counts.
    pub fn new(symbols: usize, mut merges: Vec<Merge>) -> Result<Self> {
        if merges.iter().any(|m| m.left.max(m.right).max(m.merged) as usize >= symbols) {
            return Err(Error::internal("a merge rule names a symbol outside the vocabulary"));
        }
        // The sort is stable: of equal pairs the last is the last of the file. Sorted, the table is a function of the rules.
        merges.sort_by_key(|m| (m.left, m.right));
        merges.reverse();
        merges.dedup_by_key(|m| (m.left, m.right));
        let slots = (merges.len() + merges.len() / 2 + 1).next_power_of_two();
        for seed in 0..8u64 {
            let mut bpe = Self { slots: vec![EMPTY; slots], seed: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) };
            if merges.iter().all(|&merge| bpe.insert(merge)) {
                return Ok(bpe);
            }
        }
        Err(Error::unsupported("merge rules that collide in every hash table tried"))
    }

    /// The slots to look at for a pair, in order.
    fn probes(&self, left: u32, right: u32) -> impl Iterator<Item = usize> + use<> {
        // The finalizer of SplitMix64: every bit of the pair reaches every bit of the slot.
        let mut hash = (u64::from(left) << 32 | u64::from(right)) ^ self.seed;
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let (first, mask) = ((hash ^ (hash >> 31)) as usize, self.slots.len() - 1);
        (0..PROBES_MAX).map(move |i| first.wrapping_add(i) & mask)
    }

    fn insert(&mut self, merge: Merge) -> bool {
        let free = self.probes(merge.left, merge.right).find(|&slot| self.slots[slot] == EMPTY);
        free.map(|slot| self.slots[slot] = merge).is_some()
    }

    /// `(rank, merged)` of the pair, if there is such a rule.
    pub fn rule(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        for slot in self.probes(left, right) {
            let merge = self.slots[slot];
            if (merge.left, merge.right) == (left, right) {
                return (merge != EMPTY).then_some((merge.rank, merge.merged));
            }
            if merge == EMPTY {
                return None;
            }
        }
        None
    }

    /// Every rule; the order depends on the rules alone.
    pub fn rules(&self) -> impl Iterator<Item = Merge> + '_ {
        self.slots.iter().copied().filter(|&merge| merge != EMPTY)
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
    fn ten_thousand_rules_are_found_and_no_others() {
        let rules = (0..10_000u32).map(|i| Merge { left: i % 97, right: i / 97, rank: i, merged: i });
        let bpe = Bpe::new(10_000, rules.clone().collect()).unwrap();
        assert!(rules.clone().all(|m| bpe.rule(m.left, m.right) == Some((m.rank, m.merged))));
        assert!((97..5000).all(|left| bpe.rule(left, 0).is_none()));
        assert_eq!(bpe.rule(u32::MAX, u32::MAX), None);
        let mut found: Vec<Merge> = bpe.rules().collect();
        found.sort_by_key(|m| m.rank);
        assert_eq!(found, rules.collect::<Vec<_>>());
    }

    #[test]
    fn a_pair_is_found_in_few_probes() {
        let rules = (0..58_000u32).map(|i| Merge { left: i / 7, right: 3 * i, rank: i, merged: i });
        let bpe = Bpe::new(200_000, rules.clone().collect()).unwrap();
        let probes = rules.map(|m| {
            bpe.probes(m.left, m.right)
                .position(|s| (bpe.slots[s].left, bpe.slots[s].right) == (m.left, m.right))
                .unwrap()
        });
        let (most, sum) = probes.fold((0, 0), |(most, sum), n| (most.max(n), sum + n));
        assert!(most < PROBES_MAX / 2 && sum < 58_000, "{most} {sum}");
        assert_eq!(bpe.seed, 0);
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
