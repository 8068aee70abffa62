//! The work list against brute force: every key that a row sees is visited once, by items that tell the kernel the truth.

use super::*;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

#[derive(Debug, Clone)]
struct Rows {
    cached: usize,
    chain: usize,
    tree: Vec<u64>,
}

/// A forest whose nodes follow their parents.
fn tree(max: usize) -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(any::<u8>(), 0..max).prop_map(|parents| {
        let mut tree: Vec<u64> = Vec::new();
        for (node, parent) in parents.into_iter().enumerate() {
            let seen = if node == 0 || parent % 5 == 0 { 0 } else { tree[parent as usize % node] };
            tree.push(seen | 1 << node);
        }
        tree
    })
}

fn rows() -> impl Strategy<Value = Rows> {
    (0usize..900, 0usize..200, tree(20))
        .prop_map(|(cached, chain, tree)| Rows { cached, chain, tree })
        .prop_filter("a sequence has rows", |r| r.chain + r.tree.len() > 0)
}

fn shape() -> impl Strategy<Value = Shape> {
    let ratios = prop::sample::select(vec![(1, 1), (4, 1), (6, 2), (7, 1), (70, 1), (3, 3)]);
    (ratios, prop::sample::select(vec![64usize, 256]), prop::option::of(1usize..500), any::<bool>()).prop_map(
        |((heads, kv_heads), head_dim, window, split_always)| Shape { heads, kv_heads, head_dim, window, split_always },
    )
}

/// Slots that a row sees by position, and its first visible position.
fn slots(rows: &Rows, row: usize, window: Option<usize>) -> (Vec<usize>, usize) {
    let base = rows.cached + rows.chain;
    let slots: Vec<usize> = match row.checked_sub(rows.chain) {
        None => (0..rows.cached + row + 1).collect(),
        Some(node) => (0..base).chain((0..64).filter(|n| rows.tree[node] >> n & 1 == 1).map(|n| base + n)).collect(),
    };
    let start = slots.len().saturating_sub(window.unwrap_or(usize::MAX));
    (slots, start)
}

/// The slot where an item looks for a position, as attention.cuh does.
fn slot_of(item: &AttentionItem, position: usize) -> Option<usize> {
    let base = item.base as usize;
    if item.tree == 0 || position < base {
        return Some(position);
    }
    (0..64).filter(|n| item.tree >> n & 1 == 1).nth(position - base).map(|n| base + n)
}

fn verify(shape: &Shape, all: &[Rows]) {
    let pages_of = |rows: &Rows| (rows.cached + rows.chain + rows.tree.len()).div_ceil(PAGE);
    let mut next = 0;
    let pages: Vec<Vec<u32>> = all
        .iter()
        .map(|rows| {
            next += pages_of(rows) as u32;
            (next - pages_of(rows) as u32..next).rev().collect()
        })
        .collect();
    let (mut positions, mut sequences, mut owner) = (Vec::new(), Vec::new(), Vec::new());
    for (index, (rows, pages)) in all.iter().zip(&pages).enumerate() {
        let row = positions.len();
        sequences.push(Sequence { row, cached: rows.cached, chain: rows.chain, tree: &rows.tree, pages });
        for r in 0..rows.chain + rows.tree.len() {
            positions.push(slots(rows, r, None).0.len() as u32 - 1);
            owner.push((index, r));
        }
    }
    let work = plan(shape, &positions, &sequences);
    let ratio = shape.heads / shape.kv_heads;

    // (row, head, split or none) to partial.
    let mut covered: HashMap<(usize, usize, Option<usize>), usize> = HashMap::new();
    let mut partials = HashSet::new();
    for (items, is_split) in [(&work.prompt, false), (&work.split, true)] {
        for item in items {
            assert!(item.rows as usize <= tile_rows(shape.head_dim) && item.rows > 0);
            let blocks = item.block_begin as usize..item.block_end as usize;
            let split = blocks.start * PAGE / SPLIT;
            assert!(!blocks.is_empty());
            assert!(!is_split || (blocks.end - 1) * PAGE / SPLIT == split, "one split per item");
            let (index, _) = owner[item.row as usize];
            for r in 0..item.rows as usize {
                let row = item.row as usize + (item.first as usize + r) / ratio;
                let head = item.head as usize * ratio + (item.first as usize + r) % ratio;
                let (of, local) = owner[row];
                assert_eq!(of, index, "a tile keeps to one sequence");
                assert_eq!(work.pages[item.pages as usize..][..pages[index].len()], pages[index]);
                let partial = item.partial as usize + r;
                if is_split {
                    assert!(partial < work.partial_rows && partials.insert(partial), "a partial has one writer");
                }
                let key = (row, head, is_split.then_some(split));
                assert!(covered.insert(key, partial).is_none(), "a row meets a split once");

                let (slots, start) = slots(&all[index], local, shape.window);
                let seen = start..slots.len();
                let here = if is_split { split * SPLIT..(split + 1) * SPLIT } else { 0..usize::MAX };
                let of_split = slots.iter().enumerate().take(here.end).skip(seen.start.max(here.start));
                for (position, slot) in of_split {
                    assert!(blocks.contains(&(position / PAGE)), "a key is not visited");
                    assert!((item.key_begin..item.key_end).contains(&(position as u32)), "a key is not read");
                    assert_eq!(slot_of(item, position), Some(*slot), "row {row} position {position}");
                }
                for block in item.full_begin.max(item.block_begin)..item.full_end.min(item.block_end) {
                    let block = block as usize * PAGE;
                    assert!(seen.start <= block && block + PAGE <= seen.end, "a block is not seen whole");
                }
            }
            // Keys that nobody sees are not read: some row of the tile sees the first and the last.
            let seen = |position: usize| {
                (0..item.rows as usize).any(|r| {
                    let row = item.row as usize + (item.first as usize + r) / ratio;
                    let (slots, start) = slots(&all[index], owner[row].1, shape.window);
                    (start..slots.len()).contains(&position)
                })
            };
            assert!(seen(item.key_begin as usize) && seen(item.key_end as usize - 1));
        }
        let lengths: Vec<u32> = items.iter().map(|i| i.block_end - i.block_begin).collect();
        assert!(lengths.is_sorted_by(|a, b| a >= b), "longest first");
    }

    // Every row is finished once: by the prompt kernel, or by combining exactly the splits it sees.
    let combined: HashMap<usize, &CombineRow> = work.combine.iter().map(|row| (row.row as usize, row)).collect();
    assert_eq!(combined.len(), work.combine.len());
    for (row, &(index, local)) in owner.iter().enumerate() {
        let (slots, start) = slots(&all[index], local, shape.window);
        for head in 0..shape.heads {
            match combined.get(&row) {
                None => assert!(covered.contains_key(&(row, head, None)), "row {row} is not computed"),
                Some(rule) => {
                    assert!(!covered.contains_key(&(row, head, None)));
                    assert_eq!(rule.splits as usize, slots.len().div_ceil(SPLIT) - start / SPLIT);
                    for i in 0..rule.splits as usize {
                        let partial = rule.partial as usize
                            + i * rule.split_stride as usize
                            + head / ratio * rule.head_stride as usize
                            + head % ratio;
                        assert_eq!(covered[&(row, head, Some(start / SPLIT + i))], partial, "row {row} split {i}");
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn every_visible_key_is_visited_once(shape in shape(), all in prop::collection::vec(rows(), 1..4)) {
        verify(&shape, &all);
    }
}

#[test]
fn edges_of_pages_and_splits() {
    for cached in [0, 62, 63, 64, 65, 191, 192, 254, 255, 256, 257, 511, 512] {
        for chain in [1, 2, 63, 64, 65, 129] {
            for window in [None, Some(1), Some(4), Some(64), Some(65), Some(256)] {
                for split_always in [false, true] {
                    let shape = Shape { heads: 4, kv_heads: 2, head_dim: 64, window, split_always };
                    verify(&shape, &[Rows { cached, chain, tree: vec![1, 3, 5, 0b1011, 16] }]);
                }
            }
        }
    }
}

#[test]
fn linear_drafts_are_causal_rows() {
    let tree: Vec<u64> = (0..64).map(|n| u64::MAX >> (63 - n)).collect();
    assert_eq!(in_place(&tree), 64);
    assert_eq!(in_place(&[1, 2, 7]), 1);
    assert_eq!(in_place(&[]), 0);
    let shape = Shape { heads: 4, kv_heads: 1, head_dim: 64, window: None, split_always: true };
    let positions: Vec<u32> = (999..1064).collect();
    let pages: Vec<u32> = (0..17).collect();
    let work = plan(&shape, &positions, &[Sequence { row: 0, cached: 999, chain: 1, tree: &tree, pages: &pages }]);
    // Five tiles of 16 rows; the first ends at key 1015 and needs four splits, the others five.
    assert!(work.split.iter().all(|item| item.tree == 0));
    assert_eq!(work.split.len(), 4 + 4 * 5);
}

#[test]
fn decoding_takes_one_item_per_head_and_split() {
    let shape = Shape { heads: 32, kv_heads: 8, head_dim: 128, window: None, split_always: false };
    let pages: Vec<u32> = (0..32).collect();
    let work = plan(&shape, &[2047], &[Sequence { row: 0, cached: 2047, chain: 1, tree: &[], pages: &pages }]);
    assert_eq!((work.prompt.len(), work.split.len(), work.combine.len()), (0, 64, 1));
    assert_eq!(work.partial_rows, 32 * 8);
}
