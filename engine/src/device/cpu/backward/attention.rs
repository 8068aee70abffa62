//! Attention over packed examples, forward and backward.
//!
//! A task holds some rows of one example under one kv head and computes whole rows of scores. Backward runs twice over the
//! scores: once by rows for `dq`, once by keys for `dk` and `dv`, where the sum over the query heads of a group happens in the
//! task. So nothing is added by two tasks, at the price of seven products instead of five.

use super::super::{Cpu, Parts, need};
use super::kernels::{GROUP, Kernels, ScoreRow, kernels};
use super::product::{Operand, tiles};
use crate::device::PackedRows;
use crate::{Error, Result};
use half::bf16;
use std::ops::Range;

/// Rows of a task of the first run, keys of one of the second.
const ROWS: usize = 64;
/// Rows that meet a task's keys at a time.
const CHUNK: usize = 96;

/// Rows or keys `own` of the example in rows `example`, under one kv head.
struct Task {
    example: Range<usize>,
    head: usize,
    /// Counted from the example's beginning.
    own: Range<usize>,
}

/// A right operand, packed tile after tile.
#[derive(Default)]
struct Right {
    packed: Vec<u32>,
    n: usize,
    k: usize,
}

/// Memory of a product's left operand and result.
#[derive(Default)]
struct Work {
    left: Vec<u32>,
    y: Vec<f32>,
}

impl Right {
    fn pack(&mut self, kernels: &Kernels, operand: Operand<'_>, outer: Range<usize>, k: usize) {
        (self.n, self.k) = (outer.len(), k);
        let pairs = k.div_ceil(2);
        self.packed.resize(pairs * self.width(), 0);
        let mut at = 0;
        for (columns, width) in tiles(self.n) {
            let columns = outer.start + columns.start..outer.start + columns.end;
            operand.pack(kernels, columns, 0..k, width, &mut self.packed[at..at + pairs * width]);
            at += pairs * width;
        }
    }

    /// Columns of the product, with those that fill up the last tile.
    fn width(&self) -> usize {
        self.n.next_multiple_of(GROUP)
    }

    /// `y = a · self` for the rows `outer` of `a`, `y: [.., width]`; continues the sums in `y` where `add`.
    fn multiply(&self, kernels: &Kernels, a: Operand<'_>, outer: Range<usize>, work: &mut Work, add: bool) {
        let (width, pairs) = (self.width(), self.k.div_ceil(2));
        work.y.resize(outer.len().next_multiple_of(GROUP) * width, 0.0);
        work.left.resize(pairs * GROUP, 0);
        for (rows, y) in outer.clone().step_by(GROUP).zip(work.y.chunks_mut(GROUP * width)) {
            let rows = rows..outer.end.min(rows + GROUP);
            a.pack(kernels, rows.clone(), 0..self.k, GROUP, &mut work.left);
            let mut at = 0;
            for (columns, cols) in tiles(self.n) {
                let right = &self.packed[at..at + pairs * cols];
                (kernels.tile)(&work.left, right, cols, rows.len(), &mut y[columns.start..], width, add);
                at += pairs * cols;
            }
        }
    }
}

/// The operands and shapes of one call.
struct Call<'a> {
    rows: &'a PackedRows<'a>,
    qkv: [&'a [bf16]; 3],
    kernels: &'static Kernels,
}

impl Call<'_> {
    fn scale(&self) -> f32 {
        (1.0 / (self.rows.head_dim as f64).sqrt()) as f32
    }

    /// Query heads per kv head.
    fn group(&self) -> usize {
        self.rows.heads / self.rows.kv_heads
    }

    /// Where head `head` of `heads` begins in row `row` of a buffer of `heads` heads.
    fn at(&self, row: usize, heads: usize, head: usize) -> usize {
        (row * heads + head) * self.rows.head_dim
    }

    /// One head of a buffer of `heads` heads from row `row` on, summed over along or across rows.
    fn head<'x>(&self, data: &'x [bf16], row: usize, heads: usize, head: usize, along: bool) -> Operand<'x> {
        let stride = heads * self.rows.head_dim;
        Operand { data: &data[self.at(row, heads, head)..], stride, along }
    }

    /// Keys that row `i` sees.
    fn visible(&self, i: usize) -> Range<usize> {
        (i + 1).saturating_sub(self.rows.window.unwrap_or(i + 1))..i + 1
    }

    /// Rows that see key `j` of an example of `len` rows.
    fn seeing(&self, j: usize, len: usize) -> Range<usize> {
        j..self.rows.window.map_or(len, |window| len.min(j.saturating_add(window)))
    }

    /// Blocks of all examples and kv heads, those that come last in an example first: they have the most keys.
    fn tasks(&self) -> Vec<Task> {
        let mut tasks = Vec::new();
        for example in self.rows.examples {
            for start in (0..example.len()).step_by(ROWS) {
                for head in 0..self.rows.kv_heads {
                    let own = start..example.len().min(start + ROWS);
                    tasks.push(Task { example: example.clone(), head, own });
                }
            }
        }
        tasks.sort_by_key(|task| std::cmp::Reverse(task.own.start));
        tasks
    }
}

fn check(op: &str, rows: &PackedRows<'_>, lengths: [usize; 3]) -> Result<()> {
    let (t, d) = (rows.rows(), rows.head_dim);
    if d == 0 || rows.kv_heads == 0 || !rows.heads.is_multiple_of(rows.kv_heads) || rows.window == Some(0) {
        return Err(Error::invalid(format!(
            "{op}: expected a multiple of {} heads and a positive window, found {} and {:?}",
            rows.kv_heads, rows.heads, rows.window
        )));
    }
    let mut next = 0;
    for example in rows.examples {
        if example.start != next || example.is_empty() {
            return Err(Error::invalid(format!("{op}: expected examples one after the other, found {example:?}")));
        }
        next = example.end;
    }
    need(op, "q", t * rows.heads * d, lengths[0])?;
    need(op, "k", t * rows.kv_heads * d, lengths[1])?;
    need(op, "v", t * rows.kv_heads * d, lengths[2])
}

pub(super) fn forward(
    cpu: &Cpu,
    qkv: [&[bf16]; 3],
    rows: &PackedRows<'_>,
    o: &mut [bf16],
    lse: &mut [f32],
) -> Result<()> {
    check("attention", rows, qkv.map(<[bf16]>::len))?;
    need("attention", "o", rows.rows() * rows.heads * rows.head_dim, o.len())?;
    need("attention", "lse", rows.rows() * rows.heads, lse.len())?;
    let call = Call { rows, qkv, kernels: kernels(cpu.isa) };
    let (tasks, o, lse) = (call.tasks(), Parts::new(o), Parts::new(lse));
    cpu.team.run(tasks.len(), |i| call.forward(&tasks[i], &o, &lse))
}

pub(super) fn backward(
    cpu: &Cpu,
    qkv: [&[bf16]; 3],
    (o, lse): (&[bf16], &[f32]),
    d_o: &[bf16],
    rows: &PackedRows<'_>,
    [dq, dk, dv]: [&mut [f32]; 3],
) -> Result<()> {
    let op = "attention backward";
    check(op, rows, qkv.map(<[bf16]>::len))?;
    check(op, rows, [dq.len(), dk.len(), dv.len()])?;
    let q_len = rows.rows() * rows.heads * rows.head_dim;
    need(op, "o", q_len, o.len())?;
    need(op, "d_o", q_len, d_o.len())?;
    need(op, "lse", rows.rows() * rows.heads, lse.len())?;
    let call = Call { rows, qkv, kernels: kernels(cpu.isa) };
    let (d, tasks) = (rows.head_dim, call.tasks());
    cpu.scratch.lend(rows.rows() * rows.heads, |delta| {
        let parts = Parts::new(delta);
        cpu.team.run_ranges(rows.rows() * rows.heads, |range| {
            // SAFETY: ranges are disjoint.
            for (i, delta) in range.clone().zip(unsafe { parts.range(range) }) {
                *delta = (call.kernels.dot)(&o[i * d..(i + 1) * d], &d_o[i * d..(i + 1) * d]);
            }
        })?;
        let saved = Saved { lse, delta, d_o };
        let (dq, dk, dv) = (Parts::new(dq), Parts::new(dk), Parts::new(dv));
        cpu.team.run(2 * tasks.len(), |i| match i.checked_sub(tasks.len()) {
            None => call.backward_rows(&tasks[i], &saved, &dq),
            // Keys that come first are seen most.
            Some(i) => call.backward_keys(&tasks[tasks.len() - 1 - i], &saved, &dk, &dv),
        })
    })?
}

/// What backward knows of the forward pass.
struct Saved<'a> {
    lse: &'a [f32],
    /// `Σ dO ∘ O`, `[T, H]`.
    delta: &'a [f32],
    d_o: &'a [bf16],
}

impl Call<'_> {
    fn forward(&self, task: &Task, o: &Parts<'_, bf16>, lse: &Parts<'_, f32>) {
        let &PackedRows { heads, kv_heads, head_dim: d, .. } = self.rows;
        let [q, k, v] = self.qkv;
        let (base, rows) = (task.example.start, &task.own);
        let keys = self.visible(rows.start).start..rows.end;
        let (mut packed_k, mut packed_v) = (Right::default(), Right::default());
        packed_k.pack(self.kernels, self.head(k, base, kv_heads, task.head, true), keys.clone(), d);
        let v = self.head(v, base + keys.start, kv_heads, task.head, false);
        packed_v.pack(self.kernels, v, 0..d, keys.len());
        let (mut scores, mut out) = (Work::default(), Work::default());
        let mut p = vec![bf16::ZERO; rows.len() * keys.len()];
        let mut sums = vec![0f32; rows.len()];
        for head in task.head * self.group()..(task.head + 1) * self.group() {
            packed_k.multiply(self.kernels, self.head(q, base, heads, head, true), rows.clone(), &mut scores, false);
            let each = rows.clone().zip(scores.y.chunks(packed_k.width())).zip(p.chunks_mut(keys.len()));
            for (((i, s), p), sum) in each.zip(&mut sums) {
                let seen = self.visible(i);
                let seen = seen.start - keys.start..seen.end - keys.start;
                p[..seen.start].fill(bf16::ZERO);
                p[seen.end..].fill(bf16::ZERO);
                let (max, total) = (self.kernels.softmax)(&s[seen.clone()], self.scale(), &mut p[seen]);
                let at = (base + i) * heads + head;
                // SAFETY: a row of a head belongs to one task.
                let lse = unsafe { lse.range(at..at + 1) };
                lse[0] = max + total.ln();
                *sum = total;
            }
            packed_v.multiply(self.kernels, Operand::along(&p, keys.len()), 0..rows.len(), &mut out, false);
            for ((i, y), sum) in rows.clone().zip(out.y.chunks(packed_v.width())).zip(&sums) {
                let at = self.at(base + i, heads, head);
                // SAFETY: as above.
                (self.kernels.divide)(y, *sum, unsafe { o.range(at..at + d) });
            }
        }
    }

    /// `p` and `ds` of the rows `rows` against the keys `keys`, both of one example; 0 where a row does not see a key.
    #[allow(clippy::too_many_arguments)]
    fn weights(
        &self,
        (base, head): (usize, usize),
        (rows, keys): (Range<usize>, Range<usize>),
        (s, dp): (&[f32], &[f32]),
        width: usize,
        saved: &Saved<'_>,
        p: &mut [bf16],
        ds: &mut [bf16],
    ) {
        let each = rows.zip(s.chunks(width).zip(dp.chunks(width)));
        for ((i, (s, dp)), (p, ds)) in each.zip(p.chunks_mut(keys.len()).zip(ds.chunks_mut(keys.len()))) {
            let seen = self.visible(i);
            let start = seen.start.clamp(keys.start, keys.end) - keys.start;
            let end = (seen.end.clamp(keys.start, keys.end) - keys.start).max(start);
            for x in [&mut *p, &mut *ds] {
                x[..start].fill(bf16::ZERO);
                x[end..].fill(bf16::ZERO);
            }
            let at = (base + i) * self.rows.heads + head;
            let (lse, delta) = (saved.lse[at], saved.delta[at]);
            let row = ScoreRow { s: &s[start..end], dp: &dp[start..end], lse, delta, scale: self.scale() };
            (self.kernels.softmax_backward)(&row, &mut p[start..end], &mut ds[start..end]);
        }
    }

    /// `dq = ds · k` of the task's rows.
    fn backward_rows(&self, task: &Task, saved: &Saved<'_>, dq: &Parts<'_, f32>) {
        let &PackedRows { heads, kv_heads, head_dim: d, .. } = self.rows;
        let [q, k, v] = self.qkv;
        let (base, rows) = (task.example.start, &task.own);
        let keys = self.visible(rows.start).start..rows.end;
        let (mut packed_k, mut packed_v, mut across_k) = (Right::default(), Right::default(), Right::default());
        packed_k.pack(self.kernels, self.head(k, base, kv_heads, task.head, true), keys.clone(), d);
        packed_v.pack(self.kernels, self.head(v, base, kv_heads, task.head, true), keys.clone(), d);
        let k = self.head(k, base + keys.start, kv_heads, task.head, false);
        across_k.pack(self.kernels, k, 0..d, keys.len());
        let (mut s, mut dp, mut out) = (Work::default(), Work::default(), Work::default());
        let (mut p, mut ds) = (vec![bf16::ZERO; rows.len() * keys.len()], vec![bf16::ZERO; rows.len() * keys.len()]);
        for head in task.head * self.group()..(task.head + 1) * self.group() {
            packed_k.multiply(self.kernels, self.head(q, base, heads, head, true), rows.clone(), &mut s, false);
            let d_o = self.head(saved.d_o, base, heads, head, true);
            packed_v.multiply(self.kernels, d_o, rows.clone(), &mut dp, false);
            let (place, shape) = ((base, head), (rows.clone(), keys.clone()));
            self.weights(place, shape, (&s.y, &dp.y), packed_k.width(), saved, &mut p, &mut ds);
            across_k.multiply(self.kernels, Operand::along(&ds, keys.len()), 0..rows.len(), &mut out, false);
            for (i, y) in rows.clone().zip(out.y.chunks(across_k.width())) {
                let at = self.at(base + i, heads, head);
                // SAFETY: a row of a head belongs to one task.
                unsafe { dq.range(at..at + d) }.copy_from_slice(&y[..d]);
            }
        }
    }

    /// `dv = pᵀ · d_o` and `dk = dsᵀ · q` of the task's keys, over all query heads and rows that see them.
    fn backward_keys(&self, task: &Task, saved: &Saved<'_>, dk: &Parts<'_, f32>, dv: &Parts<'_, f32>) {
        let &PackedRows { heads, kv_heads, head_dim: d, .. } = self.rows;
        let [q, k, v] = self.qkv;
        let (base, keys) = (task.example.start, &task.own);
        let rows = keys.start..self.seeing(keys.end - 1, task.example.len()).end;
        let (mut packed_k, mut packed_v) = (Right::default(), Right::default());
        packed_k.pack(self.kernels, self.head(k, base, kv_heads, task.head, true), keys.clone(), d);
        packed_v.pack(self.kernels, self.head(v, base, kv_heads, task.head, true), keys.clone(), d);
        let (mut across_q, mut across_o) = (Right::default(), Right::default());
        let (mut s, mut dp) = (Work::default(), Work::default());
        let (mut key_sums, mut value_sums) = (Work::default(), Work::default());
        let (mut p, mut ds) = (vec![bf16::ZERO; CHUNK * keys.len()], vec![bf16::ZERO; CHUNK * keys.len()]);
        let mut add = false;
        for head in task.head * self.group()..(task.head + 1) * self.group() {
            for start in rows.clone().step_by(CHUNK) {
                let rows = start..rows.end.min(start + CHUNK);
                packed_k.multiply(self.kernels, self.head(q, base, heads, head, true), rows.clone(), &mut s, false);
                let d_o = self.head(saved.d_o, base, heads, head, true);
                packed_v.multiply(self.kernels, d_o, rows.clone(), &mut dp, false);
                let (place, shape) = ((base, head), (rows.clone(), keys.clone()));
                self.weights(place, shape, (&s.y, &dp.y), packed_k.width(), saved, &mut p, &mut ds);
                let q = self.head(q, base + rows.start, heads, head, false);
                across_q.pack(self.kernels, q, 0..d, rows.len());
                let d_o = self.head(saved.d_o, base + rows.start, heads, head, false);
                across_o.pack(self.kernels, d_o, 0..d, rows.len());
                let (ds, p) = (Operand::across(&ds, keys.len()), Operand::across(&p, keys.len()));
                across_q.multiply(self.kernels, ds, 0..keys.len(), &mut key_sums, add);
                across_o.multiply(self.kernels, p, 0..keys.len(), &mut value_sums, add);
                add = true;
            }
        }
        for (sums, width, out) in [(&key_sums, across_q.width(), dk), (&value_sums, across_o.width(), dv)] {
            for (j, y) in keys.clone().zip(sums.y.chunks(width)) {
                let at = self.at(base + j, kv_heads, task.head);
                // SAFETY: a key of a head belongs to one task.
                unsafe { out.range(at..at + d) }.copy_from_slice(&y[..d]);
            }
        }
    }
}
