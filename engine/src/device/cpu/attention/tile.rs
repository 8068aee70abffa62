//! A tile of attention: a few rows of one kv head against blocks of keys.
//!
//! Keys are taken in blocks of [`BLOCK`] positions from position 0 on. A block gives each row a maximum, a sum and an
//! unnormalised output, in key order and from that row's scores alone; blocks are folded in order. Whatever rows share a
//! tile, and whichever thread computes a block, a row's arithmetic is the same.

use super::super::kv::{CpuKv, GROUP, Lane, copy_key};
use super::super::lanes::Lanes;
use crate::device::SequenceRows;
use half::bf16;
use std::ops::Range;

/// Keys per block.
pub(super) const BLOCK: usize = 256;
/// Groups per block.
const GROUPS: usize = BLOCK / GROUP;

/// One token of a tile: the query rows of the heads that share a kv head.
pub(super) struct Token {
    /// Positions it sees.
    pub visible: Range<usize>,
    /// Groups from `own_from` on are read from here instead of the cache.
    own: Vec<(Vec<Lane>, Vec<Lane>)>,
    own_from: usize,
}

/// What a tile reads.
pub(super) struct Tile<'a> {
    pub kv: &'a CpuKv,
    pub layer: usize,
    pub head: usize,
    pub pages: &'a [u32],
    pub tokens: Vec<Token>,
    /// Query heads per kv head; row `i` is head `i % heads` of token `i / heads`.
    pub heads: usize,
    /// `[rows, D/2]` pairs.
    pub q: &'a [u32],
}

/// The maximum of no scores. Finite, so that its difference from itself is 0; any score is larger.
const NONE: f32 = f32::MIN;

/// Maximum, sum and unnormalised output of rows over some keys.
#[derive(Default)]
pub(super) struct Partial {
    /// Largest score per row, times the scale; [`NONE`] for a row that sees none of the keys.
    max: Vec<[f32; GROUP]>,
    /// Sum of weights per row; 0 for a row that sees none of the keys.
    sum: Vec<[f32; GROUP]>,
    /// `[rows, value lanes]`.
    o: Vec<[f32; GROUP]>,
}

impl Partial {
    /// Nothing seen yet by `rows` rows of `width` lanes.
    pub fn clear(&mut self, rows: usize, width: usize) {
        for (values, len, value) in [
            (&mut self.max, rows.div_ceil(GROUP), NONE),
            (&mut self.sum, rows.div_ceil(GROUP), 0.0),
            (&mut self.o, rows * width, 0.0),
        ] {
            values.clear();
            values.resize(len, [value; GROUP]);
        }
    }

    /// Divides by the sum and rounds: `width` lanes of row `row` to `output`.
    #[inline(always)]
    pub fn divide<S: Lanes>(&self, row: usize, width: usize, output: &mut [bf16]) {
        let inverse = S::splat(1.0 / self.sum[row / GROUP][row % GROUP]);
        let zero = [[0.0; GROUP]];
        for (o, output) in self.o[row * width..(row + 1) * width].chunks(2).zip(output.chunks_mut(2 * GROUP)) {
            let mut rounded = Lane([0; GROUP]);
            let high = o.get(1).unwrap_or(&zero[0]);
            S::load(&o[0]).mul(inverse).round(S::load(high).mul(inverse), &mut rounded);
            let rounded: &[bf16] = bytemuck::cast_slice(&rounded.0);
            match <&mut [bf16; 2 * GROUP]>::try_from(&mut *output) {
                Ok(output) => output.copy_from_slice(rounded),
                Err(_) => output.copy_from_slice(&rounded[..output.len()]),
            }
        }
    }
}

impl Token {
    /// Row `row` of a sequence. Tree nodes get groups of their own where slots are not positions, and so does every
    /// token when hidden keys may not be finite. Only groups in `groups` are made.
    pub fn new(
        tile: (&CpuKv, usize, usize),
        sequence: &SequenceRows,
        row: usize,
        window: Option<usize>,
        groups: &Range<usize>,
    ) -> Self {
        let (kv, layer, head) = tile;
        let base = sequence.cached + sequence.chain;
        let seen = row.checked_sub(sequence.chain).map_or(0, |node| sequence.tree[node]);
        let end = if seen == 0 { sequence.cached + row + 1 } else { base + seen.count_ones() as usize };
        let visible = end.saturating_sub(window.unwrap_or(end))..end;
        // Nodes 0, 1, 2... stand where they count.
        let in_place = base + seen.trailing_ones() as usize;
        let own_from = match (kv.tainted(), in_place < end && seen != 0) {
            (true, _) => visible.start / GROUP,
            (false, true) => in_place / GROUP,
            (false, false) => usize::MAX,
        };
        let own_from = own_from.max(groups.start);
        let shape = kv.shape();
        let mut own = Vec::new();
        for group in own_from..end.div_ceil(GROUP).min(groups.end) {
            let mut keys = vec![Lane([0; GROUP]); shape.key_lanes()];
            let mut values = vec![Lane([0; GROUP]); shape.value_lanes()];
            for position in (group * GROUP).max(visible.start)..((group + 1) * GROUP).min(end) {
                let slot = if position < base || seen == 0 { position } else { base + nth_one(seen, position - base) };
                let (k, v) = kv.group(layer, head, &sequence.pages, slot / GROUP);
                copy_key(&shape, (k, v, slot % GROUP), (&mut keys, &mut values, position % GROUP));
            }
            own.push((keys, values));
        }
        Token { visible, own, own_from }
    }
}

/// Index of the `n`-th set bit.
fn nth_one(mut bits: u64, n: usize) -> usize {
    for _ in 0..n {
        bits &= bits - 1;
    }
    bits.trailing_zeros() as usize
}

/// The groups of a block that some rows see.
struct Keys<'a> {
    groups: &'a [(&'a [Lane], &'a [Lane])],
    /// Keys of the next block's groups, to be asked for.
    ahead: &'a [*const Lane],
    /// The first group's place in the block.
    first: usize,
}

impl Tile<'_> {
    /// Rows of the tile.
    pub fn rows(&self) -> usize {
        self.tokens.len() * self.heads
    }

    /// Keys and values of a group as `token` sees them.
    fn group(&self, token: usize, group: usize) -> (&[Lane], &[Lane]) {
        let token = &self.tokens[token];
        match group.checked_sub(token.own_from).and_then(|i| token.own.get(i)) {
            Some((keys, values)) => (keys, values),
            None => self.kv.group(self.layer, self.head, self.pages, group),
        }
    }

    /// Tokens from `first` on that read the same groups of `block`.
    fn run(&self, first: usize, block: usize) -> Range<usize> {
        let shared = |token: &Token| token.own.is_empty() || token.own_from >= (block + 1) * GROUPS;
        let more = self.tokens[first..].iter().take_while(|token| shared(token)).count();
        first..first + more.max(1)
    }

    /// Maximum, sum and output of every row over one block of keys.
    #[inline(always)]
    pub fn block<S: Lanes>(&self, block: usize, scale: f32, scratch: &mut Scratch, out: &mut Partial) {
        let mut first = 0;
        while first < self.tokens.len() {
            let run = self.run(first, block);
            first = run.end;
            self.block_run::<S>(run, block, scale, scratch, out);
        }
    }

    #[inline(always)]
    fn block_run<S: Lanes>(
        &self,
        run: Range<usize>,
        block: usize,
        scale: f32,
        scratch: &mut Scratch,
        out: &mut Partial,
    ) {
        let start = block * BLOCK;
        let within = |token: &Token| {
            let low = token.visible.start.clamp(start, start + BLOCK) - start;
            low..token.visible.end.clamp(start, start + BLOCK) - start
        };
        let (mut low, mut high) = (BLOCK, 0);
        for visible in self.tokens[run.clone()].iter().map(within).filter(|visible| !visible.is_empty()) {
            (low, high) = (low.min(visible.start), high.max(visible.end));
        }
        let used = low.min(high) / GROUP..high.div_ceil(GROUP);
        let mut groups: [(&[Lane], &[Lane]); GROUPS] = [(&[], &[]); GROUPS];
        for group in used.clone() {
            groups[group] = self.group(run.start, block * GROUPS + group);
        }
        let rows = run.start * self.heads..run.end * self.heads;
        let groups = &groups[used.clone()];
        let mut ahead = [std::ptr::null(); GROUPS];
        if rows.len() <= FEW {
            let last = self.tokens[run.start].visible.end.div_ceil(GROUP);
            for (ahead, group) in ahead.iter_mut().zip((block + 1) * GROUPS..last) {
                *ahead = self.group(run.start, group).0.as_ptr();
            }
        }
        let keys = Keys { groups, ahead: &ahead, first: used.start };
        // Four groups of keys stay in the first-level cache while all rows pass.
        for (i, keys) in groups.chunks(4).enumerate() {
            let first = used.start + 4 * i;
            for (at, wide) in pieces(keys.len(), S::WIDE) {
                match wide {
                    4 if const { S::WIDE >= 4 } => {
                        self.scores_wide::<S, 4>(rows.clone(), &keys[at..], first + at, scratch)
                    }
                    2 if const { S::WIDE >= 2 } => {
                        self.scores_wide::<S, 2>(rows.clone(), &keys[at..], first + at, scratch)
                    }
                    _ => self.scores_wide::<S, 1>(rows.clone(), &keys[at..], first + at, scratch),
                }
            }
        }
        for row in rows.clone() {
            let visible = within(&self.tokens[row / self.heads]);
            out.max[row / GROUP][row % GROUP] = largest::<S>(&scratch.scores[row], used.clone(), visible) * scale;
        }
        for row in rows.clone() {
            let visible = within(&self.tokens[row / self.heads]);
            let (scores, weights) = (&scratch.scores[row], &mut scratch.weights[row]);
            out.sum[row / GROUP][row % GROUP] =
                weigh::<S>(scores, weights, used.clone(), visible, scale, out.max[row / GROUP][row % GROUP]);
        }
        for (column, wide) in pieces(self.kv.shape().value_width(), S::WIDE) {
            match wide {
                4 if const { S::WIDE >= 4 } => self.outputs_wide::<S, 4>(rows.clone(), &keys, column, scratch, out),
                2 if const { S::WIDE >= 2 } => self.outputs_wide::<S, 2>(rows.clone(), &keys, column, scratch, out),
                _ => self.outputs_wide::<S, 1>(rows.clone(), &keys, column, scratch, out),
            }
        }
    }

    /// Scores of `rows` and the first `N` of `groups`, the first of which is the block's group `group`.
    #[inline(always)]
    fn scores_wide<S: Lanes, const N: usize>(
        &self,
        rows: Range<usize>,
        groups: &[(&[Lane], &[Lane])],
        group: usize,
        scratch: &mut Scratch,
    ) {
        for (row, count) in pieces_of_rows(rows, S::ROWS) {
            match count {
                6 if const { S::ROWS >= 6 } => self.scores::<S, 6, N>(row, groups, group, scratch),
                5 if const { S::ROWS >= 5 } => self.scores::<S, 5, N>(row, groups, group, scratch),
                4 if const { S::ROWS >= 4 } => self.scores::<S, 4, N>(row, groups, group, scratch),
                3 if const { S::ROWS >= 3 } => self.scores::<S, 3, N>(row, groups, group, scratch),
                2 if const { S::ROWS >= 2 } => self.scores::<S, 2, N>(row, groups, group, scratch),
                _ => self.scores::<S, 1, N>(row, groups, group, scratch),
            }
        }
    }

    #[inline(always)]
    fn scores<S: Lanes, const R: usize, const N: usize>(
        &self,
        row: usize,
        groups: &[(&[Lane], &[Lane])],
        group: usize,
        scratch: &mut Scratch,
    ) {
        let pairs = self.kv.shape().key_lanes();
        let mut q: [&[u32]; R] = [&[]; R];
        for (r, q) in q.iter_mut().enumerate() {
            *q = &self.q[(row + r) * pairs..][..pairs];
        }
        let mut keys: [&[Lane]; N] = [&[]; N];
        for (keys, group) in keys.iter_mut().zip(groups) {
            *keys = group.0;
        }
        let mut ahead = [std::ptr::null(); N];
        for (ahead, group) in ahead.iter_mut().zip(groups) {
            *ahead = group.1.as_ptr();
        }
        let sums = product([[S::splat(0.0); N]; R], q, keys, 1, ahead);
        for (r, sums) in sums.iter().enumerate() {
            for (n, sum) in sums.iter().enumerate() {
                sum.store(&mut scratch.scores[row + r][group + n]);
            }
        }
    }

    /// Columns `16 column..16 (column + N)` of the outputs of `rows`.
    #[inline(always)]
    fn outputs_wide<S: Lanes, const N: usize>(
        &self,
        rows: Range<usize>,
        keys: &Keys,
        column: usize,
        scratch: &Scratch,
        out: &mut Partial,
    ) {
        for (row, count) in pieces_of_rows(rows, S::ROWS) {
            match count {
                6 if const { S::ROWS >= 6 } => self.outputs::<S, 6, N>(row, keys, column, scratch, out),
                5 if const { S::ROWS >= 5 } => self.outputs::<S, 5, N>(row, keys, column, scratch, out),
                4 if const { S::ROWS >= 4 } => self.outputs::<S, 4, N>(row, keys, column, scratch, out),
                3 if const { S::ROWS >= 3 } => self.outputs::<S, 3, N>(row, keys, column, scratch, out),
                2 if const { S::ROWS >= 2 } => self.outputs::<S, 2, N>(row, keys, column, scratch, out),
                _ => self.outputs::<S, 1, N>(row, keys, column, scratch, out),
            }
        }
    }

    #[inline(always)]
    fn outputs<S: Lanes, const R: usize, const N: usize>(
        &self,
        row: usize,
        keys: &Keys,
        column: usize,
        scratch: &Scratch,
        out: &mut Partial,
    ) {
        let width = self.kv.shape().value_width();
        let mut sums = [[S::splat(0.0); N]; R];
        for (group, (_, values)) in keys.groups.iter().enumerate() {
            let next = keys.ahead.get(group).copied().unwrap_or(std::ptr::null());
            let mut ahead = [std::ptr::null(); N];
            for (n, ahead) in ahead.iter_mut().enumerate() {
                *ahead = next.wrapping_add(column + n);
            }
            let mut weights: [&[u32]; R] = [&[]; R];
            for (r, weights) in weights.iter_mut().enumerate() {
                let at = keys.first + group;
                *weights = &scratch.weights[row + r][at / 2].0[at % 2 * GROUP / 2..][..GROUP / 2];
            }
            let mut b: [&[Lane]; N] = [&[]; N];
            for (n, b) in b.iter_mut().enumerate() {
                *b = &values[column + n..];
            }
            sums = product(sums, weights, b, width, ahead);
        }
        for (r, sums) in sums.iter().enumerate() {
            for (n, sum) in sums.iter().enumerate() {
                sum.store(&mut out.o[(row + r) * width + column + n]);
            }
        }
    }
}

/// Cuts `0..len` into pieces of 4, 2 and 1, none above `most`: their starts and lengths.
#[inline(always)]
fn pieces(len: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let wide = [4, 2, 1].into_iter().find(|&wide| wide <= most && at + wide <= len)?;
        at += wide;
        Some((at - wide, wide))
    })
}

/// Cuts `rows` into pieces of at most `most`: their starts and lengths.
#[inline(always)]
fn pieces_of_rows(rows: Range<usize>, most: usize) -> impl Iterator<Item = (usize, usize)> {
    rows.clone().step_by(most).map(move |row| (row, most.min(rows.end - row)))
}

/// Up to this many rows wait for memory rather than for products. The processor's own prefetcher stops at each 4 KiB;
/// asking for values while keys are read, and for the next block's keys while values are, took one row of 7B shape after
/// 8,192 keys from 16 to 28 GB/s on one thread of Zen 4.
const FEW: usize = 4;

/// `sums[r][n] + Σ_i a[r][i] · b[n][i · step]`, `i` in order; a few rows ask for the same lanes of `ahead` meanwhile.
#[inline(always)]
fn product<S: Lanes, const R: usize, const N: usize>(
    mut sums: [[S; N]; R],
    a: [&[u32]; R],
    b: [&[Lane]; N],
    step: usize,
    ahead: [*const Lane; N],
) -> [[S; N]; R] {
    let len = a.iter().map(|a| a.len()).chain(b.iter().map(|b| b.len().div_ceil(step))).min().unwrap_or(0);
    for i in 0..len {
        for n in 0..N {
            // SAFETY: `i < b[n].len().div_ceil(step)`, so `i * step < b[n].len()`.
            let b = unsafe { b[n].get_unchecked(i * step) };
            if R <= FEW {
                S::prefetch(ahead[n].wrapping_add(i * step));
            }
            for r in 0..R {
                // SAFETY: `i < a[r].len()`.
                sums[r][n] = sums[r][n].dot(unsafe { *a[r].get_unchecked(i) }, b);
            }
        }
    }
    sums
}

/// Scores and weights of a tile's rows in a block.
#[derive(Default)]
pub(super) struct Scratch {
    scores: Vec<[[f32; GROUP]; GROUPS]>,
    weights: Vec<[Lane; GROUPS / 2]>,
}

impl Scratch {
    /// Space for `rows` rows, with any contents.
    pub fn reserve(&mut self, rows: usize) {
        if self.scores.len() < rows {
            self.scores.resize(rows, [[0.0; GROUP]; GROUPS]);
            self.weights.resize(rows, [Lane([0; GROUP]); GROUPS / 2]);
        }
    }
}

/// The lanes of a group that are visible.
#[inline(always)]
fn lanes(visible: &Range<usize>, group: usize) -> Range<usize> {
    let low = visible.start.saturating_sub(group * GROUP).min(GROUP);
    low..visible.end.saturating_sub(group * GROUP).min(GROUP)
}

/// The largest visible score; [`NONE`] where none is.
#[inline(always)]
fn largest<S: Lanes>(scores: &[[f32; GROUP]; GROUPS], groups: Range<usize>, visible: Range<usize>) -> f32 {
    let mut largest = S::splat(NONE);
    for group in groups {
        let scores = S::load(&scores[group]);
        largest = largest.max(match lanes(&visible, group) {
            lanes if lanes.len() == GROUP => scores,
            lanes => scores.keep(lanes, NONE),
        });
    }
    largest.reduce_max()
}

/// Weights `2^(scale s - max)` rounded to bf16, 0 outside `visible`; returns their sum.
#[inline(always)]
fn weigh<S: Lanes>(
    scores: &[[f32; GROUP]; GROUPS],
    weights: &mut [Lane; GROUPS / 2],
    groups: Range<usize>,
    visible: Range<usize>,
    scale: f32,
    max: f32,
) -> f32 {
    const ONES: u32 = 0x3f80_3f80;
    let (shift, scale) = (S::splat(-max), S::splat(scale));
    let mut sum = S::splat(0.0);
    for two in groups.start / 2..groups.end.div_ceil(2) {
        let mut low = S::load(&scores[2 * two]).mul_add(scale, shift).exp2();
        let mut high = S::load(&scores[2 * two + 1]).mul_add(scale, shift).exp2();
        if visible.start > 2 * two * GROUP || visible.end < 2 * (two + 1) * GROUP {
            low = low.keep(lanes(&visible, 2 * two), 0.0);
            high = high.keep(lanes(&visible, 2 * two + 1), 0.0);
        }
        low.round(high, &mut weights[two]);
        sum = sum.dot(ONES, &weights[two]);
    }
    sum.reduce_sum()
}

/// Adds the next block: `o = o 2^(m - M) + o' 2^(m' - M)` with `M = max(m, m')`, and likewise the sum. A row that sees
/// none of the block keeps its bits.
#[inline(always)]
pub(super) fn fold<S: Lanes>(total: &mut Partial, next: &Partial, rows: usize, width: usize) {
    for (chunk, first) in (0..rows).step_by(GROUP).enumerate() {
        let (mut old, mut new) = ([0.0; GROUP], [0.0; GROUP]);
        let (max, next_max) = (S::load(&total.max[chunk]), S::load(&next.max[chunk]));
        let most = max.max(next_max);
        let (a, b) = (max.sub(most).exp2(), next_max.sub(most).exp2());
        let sum = S::load(&next.sum[chunk]).mul(b);
        S::load(&total.sum[chunk]).mul_add(a, sum).store(&mut total.sum[chunk]);
        most.store(&mut total.max[chunk]);
        a.store(&mut old);
        b.store(&mut new);
        for row in first..rows.min(first + GROUP) {
            if next.sum[chunk][row - first] == 0.0 {
                continue;
            }
            let (old, new) = (S::splat(old[row - first]), S::splat(new[row - first]));
            let range = row * width..(row + 1) * width;
            for (o, next) in total.o[range.clone()].iter_mut().zip(&next.o[range]) {
                S::load(o).mul_add(old, S::load(next).mul(new)).store(o);
            }
        }
    }
}
