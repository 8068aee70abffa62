//! A tile of attention: a few rows of one kv head against blocks of keys.
//!
//! Keys are taken in blocks of [`BLOCK`] positions from position 0 on. A block gives each row a maximum, a sum and an
//! unnormalised output, in key order and from that row's scores alone; blocks are folded in order. Whatever rows share a
//! tile, and whichever thread computes a block, a row's arithmetic is the same.

use super::super::kv::{CpuKv, GROUP, Lane, copy_key};
use super::super::lanes::Lanes;
use crate::device::SequenceRows;
use std::ops::Range;

/// Keys per block.
pub(super) const BLOCK: usize = 128;
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
    pub q: Vec<u32>,
}

/// Maximum, sum and unnormalised output of rows over some keys.
pub(super) struct Partial {
    /// Largest score per row.
    pub max: Vec<f32>,
    /// Sum of weights per row; 0 for a row that sees none of the keys.
    pub sum: Vec<f32>,
    /// `[rows, value lanes]`.
    pub o: Vec<[f32; GROUP]>,
}

impl Partial {
    /// Nothing seen yet.
    pub fn new(rows: usize, width: usize) -> Self {
        Partial { max: vec![f32::NEG_INFINITY; rows], sum: vec![0.0; rows], o: vec![[0.0; GROUP]; rows * width] }
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
        // Four groups of keys stay in the first-level cache while all rows pass.
        for (i, keys) in groups.chunks(4).enumerate() {
            let first = used.start + 4 * i;
            for (at, wide) in pieces(keys.len(), S::WIDE) {
                match wide {
                    4 => self.scores_wide::<S, 4>(rows.clone(), &keys[at..], first + at, scratch),
                    2 => self.scores_wide::<S, 2>(rows.clone(), &keys[at..], first + at, scratch),
                    _ => self.scores_wide::<S, 1>(rows.clone(), &keys[at..], first + at, scratch),
                }
            }
        }
        for row in rows.clone() {
            let visible = within(&self.tokens[row / self.heads]);
            let (max, sum) = (&mut out.max[row], &mut out.sum[row]);
            softmax::<S>(&scratch.scores[row], &mut scratch.weights[row], used.clone(), visible, scale, (max, sum));
        }
        for (column, wide) in pieces(self.kv.shape().value_width(), S::WIDE) {
            match wide {
                4 => self.outputs_wide::<S, 4>(rows.clone(), groups, used.start, column, scratch, out),
                2 => self.outputs_wide::<S, 2>(rows.clone(), groups, used.start, column, scratch, out),
                _ => self.outputs_wide::<S, 1>(rows.clone(), groups, used.start, column, scratch, out),
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
                6 => self.scores::<S, 6, N>(row, groups, group, scratch),
                5 => self.scores::<S, 5, N>(row, groups, group, scratch),
                4 => self.scores::<S, 4, N>(row, groups, group, scratch),
                3 => self.scores::<S, 3, N>(row, groups, group, scratch),
                2 => self.scores::<S, 2, N>(row, groups, group, scratch),
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
        let q: [&[u32]; R] = std::array::from_fn(|r| &self.q[(row + r) * pairs..][..pairs]);
        let sums = product([[S::splat(0.0); N]; R], q, std::array::from_fn(|n| groups[n].0), 1);
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
        groups: &[(&[Lane], &[Lane])],
        first: usize,
        column: usize,
        scratch: &Scratch,
        out: &mut Partial,
    ) {
        for (row, count) in pieces_of_rows(rows, S::ROWS) {
            match count {
                6 => self.outputs::<S, 6, N>(row, groups, first, column, scratch, out),
                5 => self.outputs::<S, 5, N>(row, groups, first, column, scratch, out),
                4 => self.outputs::<S, 4, N>(row, groups, first, column, scratch, out),
                3 => self.outputs::<S, 3, N>(row, groups, first, column, scratch, out),
                2 => self.outputs::<S, 2, N>(row, groups, first, column, scratch, out),
                _ => self.outputs::<S, 1, N>(row, groups, first, column, scratch, out),
            }
        }
    }

    #[inline(always)]
    fn outputs<S: Lanes, const R: usize, const N: usize>(
        &self,
        row: usize,
        groups: &[(&[Lane], &[Lane])],
        first: usize,
        column: usize,
        scratch: &Scratch,
        out: &mut Partial,
    ) {
        let width = self.kv.shape().value_width();
        let mut sums = [[S::splat(0.0); N]; R];
        for (group, (_, values)) in groups.iter().enumerate() {
            let weights: [&[u32]; R] = std::array::from_fn(|r| scratch.weights[row + r][first + group].as_slice());
            sums = product(sums, weights, std::array::from_fn(|n| &values[column + n..]), width);
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

/// `sums[r][n] + Σ_i a[r][i] · b[n][i · step]`, `i` in order.
#[inline(always)]
fn product<S: Lanes, const R: usize, const N: usize>(
    mut sums: [[S; N]; R],
    a: [&[u32]; R],
    b: [&[Lane]; N],
    step: usize,
) -> [[S; N]; R] {
    let len = a.iter().map(|a| a.len()).chain(b.iter().map(|b| b.len().div_ceil(step))).min().unwrap_or(0);
    for i in 0..len {
        for n in 0..N {
            // SAFETY: `i < b[n].len().div_ceil(step)`, so `i * step < b[n].len()`.
            let b = unsafe { b[n].get_unchecked(i * step) };
            for r in 0..R {
                // SAFETY: `i < a[r].len()`.
                sums[r][n] = sums[r][n].dot(unsafe { *a[r].get_unchecked(i) }, b);
            }
        }
    }
    sums
}

/// Scores and weights of a tile's rows in a block.
pub(super) struct Scratch {
    scores: Vec<[[f32; GROUP]; GROUPS]>,
    weights: Vec<[[u32; GROUP / 2]; GROUPS]>,
}

impl Scratch {
    pub fn new(rows: usize) -> Self {
        Scratch { scores: vec![[[0.0; GROUP]; GROUPS]; rows], weights: vec![[[0; GROUP / 2]; GROUPS]; rows] }
    }
}

/// Weights `2^(scale (s - max))` rounded to bf16, their maximum score and their sum; 0 outside `visible`.
#[inline(always)]
fn softmax<S: Lanes>(
    scores: &[[f32; GROUP]; GROUPS],
    weights: &mut [[u32; GROUP / 2]; GROUPS],
    groups: Range<usize>,
    visible: Range<usize>,
    scale: f32,
    (max, sum): (&mut f32, &mut f32),
) {
    let lanes = |group: usize| {
        let low = visible.start.saturating_sub(group * GROUP).min(GROUP);
        low..visible.end.saturating_sub(group * GROUP).min(GROUP)
    };
    if visible.is_empty() {
        (*max, *sum) = (f32::NEG_INFINITY, 0.0);
        weights[groups].fill([0; GROUP / 2]);
        return;
    }
    let mut largest = S::splat(f32::NEG_INFINITY);
    for group in groups.clone() {
        largest = largest.max(S::load(&scores[group]).keep(lanes(group), f32::NEG_INFINITY));
    }
    *max = largest.reduce_max();
    let (shift, scale) = (S::splat(*max), S::splat(scale));
    let mut total = S::splat(0.0);
    for group in groups {
        let exact = S::load(&scores[group]).sub(shift).mul(scale).exp2().keep(lanes(group), 0.0);
        total = total.add(exact.round_pairs(&mut weights[group]));
    }
    *sum = total.reduce_sum();
}

/// Adds the next block: `o = o 2^(scale (m - M)) + o' 2^(scale (m' - M))` with `M = max(m, m')`, and likewise the sum.
#[inline(always)]
pub(super) fn fold<S: Lanes>(total: &mut Partial, next: &Partial, scale: f32) {
    let width = total.o.len() / total.max.len();
    for row in 0..total.max.len() {
        if next.sum[row] == 0.0 {
            continue;
        }
        let max = S::splat(total.max[row]).max(S::splat(next.max[row]));
        let old = S::splat(total.max[row]).sub(max).mul(S::splat(scale)).exp2();
        let new = S::splat(next.max[row]).sub(max).mul(S::splat(scale)).exp2();
        let sum = S::splat(total.sum[row]).mul_add(old, S::splat(next.sum[row]).mul(new));
        total.sum[row] = sum.reduce_max();
        total.max[row] = max.reduce_max();
        let rows = row * width..(row + 1) * width;
        for (o, next) in total.o[rows.clone()].iter_mut().zip(&next.o[rows]) {
            S::load(o).mul_add(old, S::load(next).mul(new)).store(o);
        }
    }
}
