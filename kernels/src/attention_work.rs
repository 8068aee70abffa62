//! The tiles of one pass of attention: from what each sequence sees to the items that blocks of the grid take.
//!
//! Which kernel takes a row, and which rows share a tile, decides speed only: a row's bits are fixed by its keys.

use crate::params::{AttentionItem, CombineRow};
use std::ops::Range;

#[cfg(test)]
mod tests;

/// Keys per page and per block.
pub const PAGE: usize = 64;
/// Keys per split.
pub const SPLIT: usize = 256;
/// A sequence with more causal rows than this keeps the whole device busy without splits.
const FEW: usize = 64;

/// What all sequences have in common.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// `H`.
    pub heads: usize,
    /// `G`, divides `H`.
    pub kv_heads: usize,
    /// `D`.
    pub head_dim: usize,
    /// Sliding window `W`: keys `i-W < j <= i` by position.
    pub window: Option<usize>,
    /// Gives all rows to the split kernel, so that the launches of a decode step are the same at every length.
    pub split_always: bool,
}

/// The rows of one sequence: the fields of the engine's `SequenceRows`.
#[derive(Debug, Clone, Copy)]
pub struct Sequence<'a> {
    /// First packed row.
    pub row: usize,
    /// Keys already in the cache.
    pub cached: usize,
    /// Causal rows.
    pub chain: usize,
    /// Ancestor sets of the tree nodes that follow, at most 64; parents come before children.
    pub tree: &'a [u64],
    /// Cache pages; slot `s` lies in page `pages[s / 64]`.
    pub pages: &'a [u32],
}

/// What to upload and launch, once per pass for all layers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Work {
    /// Items of `attention_prompt`, longest first.
    pub prompt: Vec<AttentionItem>,
    /// Items of `attention_split`, longest first.
    pub split: Vec<AttentionItem>,
    /// Rows of `attention_combine`.
    pub combine: Vec<CombineRow>,
    /// Page numbers of all sequences.
    pub pages: Vec<u32>,
    /// Rows of the partials that `split` writes.
    pub partial_rows: usize,
}

/// Rows of a tile for this head dim.
pub fn tile_rows(head_dim: usize) -> usize {
    if head_dim > 128 { 32 } else { 64 }
}

/// The work of one pass over `sequences`, whose rows stand at `positions`.
pub fn plan(shape: &Shape, positions: &[u32], sequences: &[Sequence<'_>]) -> Work {
    let mut work = Work::default();
    for sequence in sequences {
        let planner = Planner {
            shape,
            positions: &positions[sequence.row..][..sequence.chain + sequence.tree.len()],
            sequence,
            pages: work.pages.len() as u32,
            causal: sequence.chain + in_place(sequence.tree),
        };
        planner.plan(&mut work);
        work.pages.extend(sequence.pages);
    }
    for items in [&mut work.prompt, &mut work.split] {
        items.sort_by_key(|item| std::cmp::Reverse(item.block_end - item.block_begin));
    }
    work
}

/// Leading nodes that form a path: their slots are their positions, so they are causal rows.
fn in_place(tree: &[u64]) -> usize {
    tree.iter().enumerate().take_while(|&(node, &seen)| seen == u64::MAX >> (63 - node)).count()
}

struct Planner<'a> {
    shape: &'a Shape,
    /// Of the sequence's rows.
    positions: &'a [u32],
    sequence: &'a Sequence<'a>,
    /// Where its page numbers go.
    pages: u32,
    /// Rows that see the slots up to their own.
    causal: usize,
}

impl Planner<'_> {
    /// Positions that a row sees.
    fn seen(&self, row: usize) -> Range<usize> {
        let end = self.positions[row] as usize + 1;
        end.saturating_sub(self.shape.window.unwrap_or(end))..end
    }

    fn plan(&self, work: &mut Work) {
        let rows = self.positions.len();
        // One split needs no merging.
        let whole = |rows: Range<usize>| {
            !self.shape.split_always && (rows.len() > FEW || rows.map(|r| self.seen(r).end).max() <= Some(SPLIT))
        };
        let split_from = if whole(0..self.causal) { self.causal } else { 0 };
        self.tiles(0..split_from, 0, 0..usize::MAX, None, &mut work.prompt);
        if split_from < rows {
            self.split(split_from..rows, work);
        }
    }

    /// Items for `rows`, one per split, and how to combine them.
    fn split(&self, rows: Range<usize>, work: &mut Work) {
        let Shape { heads, kv_heads, .. } = *self.shape;
        let ratio = heads / kv_heads;
        let base = self.sequence.cached + self.sequence.chain;
        let first = rows.clone().map(|row| self.seen(row).start / SPLIT).min().unwrap_or(0);
        let last = rows.clone().map(|row| self.seen(row).end.div_ceil(SPLIT)).max().unwrap_or(0);
        let head_stride = rows.len() * ratio;
        let split_stride = head_stride * kv_heads;
        for split in first..last {
            let partial = work.partial_rows + (split - first) * split_stride;
            let keys = split * SPLIT..(split + 1) * SPLIT;
            // Below `base` all nodes see the same slots; from there on each its own.
            let together = if keys.end <= base { rows.end } else { self.causal.max(rows.start) };
            self.tiles(rows.start..together, partial, keys.clone(), Some(head_stride), &mut work.split);
            for node in together..rows.end {
                let partial = partial + (node - rows.start) * ratio;
                self.tiles(node..node + 1, partial, keys.clone(), Some(head_stride), &mut work.split);
            }
        }
        for row in rows.clone() {
            let seen = self.seen(row);
            let (begin, end) = (seen.start / SPLIT, seen.end.div_ceil(SPLIT));
            work.combine.push(CombineRow {
                row: (self.sequence.row + row) as u32,
                partial: (work.partial_rows + (begin - first) * split_stride + (row - rows.start) * ratio) as u32,
                split_stride: split_stride as u32,
                head_stride: head_stride as u32,
                splits: (end - begin) as u32,
            });
        }
        work.partial_rows += (last - first) * split_stride;
    }

    /// Tiles of `rows` against those of `keys` that they see, for all kv heads.
    fn tiles(
        &self,
        rows: Range<usize>,
        partial: usize,
        keys: Range<usize>,
        head_stride: Option<usize>,
        items: &mut Vec<AttentionItem>,
    ) {
        let Shape { heads, kv_heads, head_dim, .. } = *self.shape;
        let ratio = heads / kv_heads;
        let packed = rows.len() * ratio;
        for first in (0..packed).step_by(tile_rows(head_dim)) {
            let count = tile_rows(head_dim).min(packed - first);
            let tokens = rows.start + first / ratio..rows.start + (first + count).div_ceil(ratio);
            let seen = || tokens.clone().map(|row| self.seen(row));
            let some = seen().reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)).unwrap_or_default();
            let all = seen().fold(0..usize::MAX, |a, b| a.start.max(b.start)..a.end.min(b.end));
            let some = some.start.max(keys.start)..some.end.min(keys.end);
            if some.is_empty() {
                continue;
            }
            let blocks = some.start / PAGE..some.end.div_ceil(PAGE);
            let within = |block: usize| block.clamp(blocks.start, blocks.end) as u32;
            let node = tokens.start.checked_sub(self.causal).map(|_| tokens.start - self.sequence.chain);
            let gather = tokens.len() == 1 && some.end > self.sequence.cached + self.sequence.chain;
            for head in 0..kv_heads {
                items.push(AttentionItem {
                    tree: node.filter(|_| gather).map_or(0, |node| self.sequence.tree[node]),
                    base: (self.sequence.cached + self.sequence.chain) as u32,
                    row: (self.sequence.row + tokens.start) as u32,
                    first: (first % ratio) as u32,
                    rows: count as u32,
                    head: head as u32,
                    pages: self.pages,
                    block_begin: blocks.start as u32,
                    block_end: blocks.end as u32,
                    full_begin: within(all.start.div_ceil(PAGE)),
                    full_end: within(all.end / PAGE),
                    key_begin: some.start as u32,
                    key_end: some.end as u32,
                    partial: (partial + head * head_stride.unwrap_or(0) + first) as u32,
                    reserved: 0,
                });
            }
        }
    }
}
