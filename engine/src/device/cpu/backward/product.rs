//! `y = Σ a · b` over packed operands that lie either way in memory: forward products, gradients of inputs and of weights.
//!
//! The left operand is packed once per block of rows, the right one tile by tile by the task that multiplies it: no copy of
//! a whole weight exists. Each output is one sum in the order of [`kernels`](super::kernels), whatever the blocks and tasks.

use super::super::linear::Scratch;
use super::super::{Cpu, Parts};
use super::kernels::{COLUMNS, GROUP, Kernels, kernels};
use crate::{Error, Result};
use half::bf16;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Rows that are packed at a time: bounds the scratch memory.
const BLOCK: usize = 512;
/// Pairs multiplied at a time: a tile of the right operand stays in the first-level cache.
const DEPTH: usize = 128;

/// A matrix in memory, `outer` by what is summed over.
#[derive(Clone, Copy)]
pub(super) struct Operand<'a> {
    pub data: &'a [bf16],
    pub stride: usize,
    /// Element `(i, k)` stands at `i · stride + k`, else at `k · stride + i`.
    pub along: bool,
}

impl<'a> Operand<'a> {
    /// Summed over along its rows.
    pub fn along(data: &'a [bf16], stride: usize) -> Self {
        Operand { data, stride, along: true }
    }

    /// Summed over across its rows.
    pub fn across(data: &'a [bf16], stride: usize) -> Self {
        Operand { data, stride, along: false }
    }

    fn check(&self, outer: usize, k: usize) -> Result<()> {
        let (rows, cols) = if self.along { (outer, k) } else { (k, outer) };
        let need = if rows == 0 { 0 } else { (rows - 1) * self.stride + cols };
        if cols > self.stride || self.data.len() < need {
            return Err(Error::shape("product", [rows, cols], [self.data.len() / self.stride.max(1), self.stride]));
        }
        Ok(())
    }

    /// Packs `outer` (at most `cols`, a multiple of 16) of the summed elements `k` as `[pairs, cols]`.
    pub fn pack(&self, kernels: &Kernels, outer: Range<usize>, k: Range<usize>, cols: usize, out: &mut [u32]) {
        if !self.along {
            let data = &self.data[k.start * self.stride + outer.start..];
            return (kernels.interleave)(data, self.stride, outer.len(), k.len(), out, cols);
        }
        for at in (0..cols).step_by(GROUP) {
            let first = outer.start + at;
            let count = outer.end.saturating_sub(first).min(GROUP);
            // All of a group beyond the last row is zero: one empty set of rows has no length to go by.
            if count == 0 {
                (0..k.len().div_ceil(2)).for_each(|p| out[p * cols + at..][..GROUP].fill(0));
                continue;
            }
            let row = |i: usize| &self.data[(first + i) * self.stride..][k.clone()];
            let rows: [&[bf16]; GROUP] = std::array::from_fn(|i| row(i.min(count - 1)));
            (kernels.transpose)(&rows[..count], out, cols, at);
        }
    }
}

/// `Σ_k a(i, k) b(j, k)`.
pub(super) struct Term<'a> {
    pub a: Operand<'a>,
    pub b: Operand<'a>,
    pub k: usize,
}

/// A finished part: `y[(i - rows.start) * stride + j - columns.start]`.
pub(super) struct Tile<'a> {
    pub rows: Range<usize>,
    pub columns: Range<usize>,
    pub y: &'a mut [f32],
    pub stride: usize,
}

impl Tile<'_> {
    /// Calls `row(i, values of the columns)`.
    pub fn rows(&mut self, mut row: impl FnMut(usize, &mut [f32])) {
        let width = self.columns.len();
        for (i, y) in self.rows.clone().zip(self.y.chunks_mut(self.stride)) {
            row(i, &mut y[..width]);
        }
    }
}

/// Tiles of columns `0..n`: starts and packed widths.
pub(super) fn tiles(n: usize) -> impl Iterator<Item = (Range<usize>, usize)> {
    (0..n).step_by(COLUMNS).map(move |start| {
        let end = n.min(start + COLUMNS);
        (start..end, (end - start).next_multiple_of(GROUP))
    })
}

/// `y = Σ terms` for `m` rows and `n` columns; `sink` gets each element once, on any thread.
pub(super) fn product(cpu: &Cpu, m: usize, n: usize, terms: &[Term<'_>], sink: impl Fn(Tile<'_>) + Sync) -> Result<()> {
    for term in terms {
        term.a.check(m, term.k)?;
        term.b.check(n, term.k)?;
    }
    if m == 0 || n == 0 {
        return Ok(());
    }
    let all = Product { kernels: kernels(cpu.isa), scratch: &cpu.scratch, terms, n };
    let failure = Mutex::new(Ok(()));
    for start in (0..m).step_by(BLOCK) {
        let rows = start..m.min(start + BLOCK);
        let (groups, size) = (rows.len().div_ceil(GROUP), all.pairs() * GROUP);
        cpu.scratch.lend(groups * size, |left| {
            let parts = Parts::new(bytemuck::cast_slice_mut::<f32, u32>(left));
            cpu.team.run_ranges(groups, |range| {
                for group in range {
                    // SAFETY: each group is packed once, into its own part.
                    all.pack_left(group_rows(&rows, group), unsafe { parts.range(group * size..(group + 1) * size) });
                }
            })?;
            let left: &[u32] = bytemuck::cast_slice(left);
            // Rows are split too where that keeps all threads busy to the end.
            let jobs = n.div_ceil(COLUMNS);
            let splits = (8 * cpu.team.threads()).div_ceil(jobs).clamp(1, groups.div_ceil(4));
            let share = groups.div_ceil(splits);
            cpu.team.run(jobs * splits, |task| {
                let (job, first) = (task / splits, task % splits * share);
                let mine = first.min(groups)..groups.min(first + share);
                if !mine.is_empty() {
                    let outcome = all.tile(job, &rows, mine, left, &sink);
                    if outcome.is_err() {
                        *failure.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
                    }
                }
            })
        })??;
    }
    failure.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn group_rows(rows: &Range<usize>, group: usize) -> Range<usize> {
    let first = rows.start + group * GROUP;
    first..rows.end.min(first + GROUP)
}

struct Product<'a> {
    kernels: &'static Kernels,
    scratch: &'a Scratch,
    terms: &'a [Term<'a>],
    n: usize,
}

impl Product<'_> {
    /// Pairs of all terms.
    fn pairs(&self) -> usize {
        self.terms.iter().map(|term| term.k.div_ceil(2)).sum()
    }

    fn pack_left(&self, rows: Range<usize>, mut out: &mut [u32]) {
        for term in self.terms {
            let (mine, rest) = out.split_at_mut(term.k.div_ceil(2) * GROUP);
            term.a.pack(self.kernels, rows.clone(), 0..term.k, GROUP, mine);
            out = rest;
        }
    }

    /// Columns of job `job` for the groups `mine`.
    fn tile(
        &self,
        job: usize,
        rows: &Range<usize>,
        mine: Range<usize>,
        left: &[u32],
        sink: &(impl Fn(Tile<'_>) + Sync),
    ) -> Result<()> {
        let columns = job * COLUMNS..self.n.min((job + 1) * COLUMNS);
        let (pairs, width) = (self.pairs(), columns.len().next_multiple_of(GROUP));
        self.scratch.lend(mine.len() * GROUP * width + DEPTH * width, |scratch| {
            let (y, right) = scratch.split_at_mut(mine.len() * GROUP * width);
            let right: &mut [u32] = bytemuck::cast_slice_mut(right);
            let mut at = 0;
            for term in self.terms {
                for start in (0..term.k).step_by(2 * DEPTH) {
                    let k = start..term.k.min(start + 2 * DEPTH);
                    let depth = at..at + k.len().div_ceil(2);
                    let right = &mut right[..depth.len() * width];
                    term.b.pack(self.kernels, columns.clone(), k, width, right);
                    for (group, y) in mine.clone().zip(y.chunks_mut(GROUP * width)) {
                        let left = &left[group * pairs * GROUP..][depth.start * GROUP..depth.end * GROUP];
                        let count = group_rows(rows, group).len();
                        (self.kernels.tile)(left, right, width, count, y, width, at > 0);
                    }
                    at = depth.end;
                }
            }
            let rows = rows.start + mine.start * GROUP..rows.end.min(rows.start + mine.end * GROUP);
            sink(Tile { rows, columns, y, stride: width });
        })
    }
}
