//! `o = softmax(q kᵀ / sqrt(D) + mask) v` over the cache, for prompts, single tokens and trees alike.
//!
//! Work is cut into tiles of a few tokens of one kv head, longest first. Where there are fewer tiles than threads want, a
//! tile's blocks of keys are shared out too; the blocks are folded in the same order either way.

#[cfg(test)]
mod tests;
mod tile;

use super::kv::{CpuKv, GROUP};
use super::lanes::{Lanes, Portable};
#[cfg(target_arch = "x86_64")]
use super::lanes_x86::{Avx2, Avx512};
use super::{Cpu, Isa, Parts, need};
use crate::device::{Attention, Layout};
use crate::{Error, Result};
use half::bf16;
use std::cell::Cell;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use tile::{BLOCK, Partial, Scratch, Tile, Token, fold};

/// Rows per tile, where a token's heads do not make more: the block's keys and values, the scores and the outputs fit
/// into 32 KiB of first-level cache at `D` = 64.
const TILE_ROWS: usize = 24;

/// Some tokens of one sequence under one kv head.
struct Unit {
    sequence: usize,
    /// Rows of the sequence.
    rows: Range<usize>,
    head: usize,
    /// Blocks of keys that any of the rows sees.
    blocks: Range<usize>,
    /// Tasks that share the blocks.
    tasks: usize,
}

/// Blocks `blocks` of a unit, the `part`-th of its tasks.
struct Task {
    unit: usize,
    part: usize,
    blocks: Range<usize>,
}

/// The operands of one attention.
struct Work<'a> {
    q: &'a [bf16],
    kv: &'a CpuKv,
    layer: usize,
    layout: &'a Layout,
    heads: usize,
    window: Option<usize>,
    /// `log2(e) / sqrt(D)`.
    scale: f32,
    output: Parts<'a, bf16>,
}

/// `o[t, h] = softmax(q[t, h] kᵀ / sqrt(D) + mask) v`; `q` and `o`: `[T, H·D]`; row `t` of query head `h` reads kv head
/// `h / (H/G)` and sees the keys that [`crate::device::SequenceRows`] says, of those the last `window` by position.
///
/// # Errors
/// [`Error::Shape`] or [`Error::Invalid`] when heads, buffers or layout do not fit the cache.
pub fn attention(cpu: &Cpu, q: &[bf16], at: &mut Attention<'_, Cpu>, o: &mut [bf16]) -> Result<()> {
    let &mut Attention { ref kv, layer, layout, heads, window } = at;
    kv.check(layer, layout)?;
    let shape = kv.shape();
    if heads == 0 || !heads.is_multiple_of(shape.kv_heads) || window == Some(0) {
        return Err(Error::invalid(format!(
            "attention: expected a multiple of {} heads and a positive window, found {heads} heads and window {window:?}",
            shape.kv_heads
        )));
    }
    let row = heads * shape.head_dim;
    need("attention", "q", layout.rows() * row, q.len())?;
    need("attention", "o", layout.rows() * row, o.len())?;
    let scale = (std::f64::consts::LOG2_E / (shape.head_dim as f64).sqrt()) as f32;
    let work = Work { q, kv, layer, layout, heads, window, scale, output: Parts::new(o) };
    let (units, tasks) = work.plan(cpu.team().threads());
    let shared: Vec<Shared> = units.iter().map(|unit| Shared::new(unit.tasks)).collect();
    cpu.team().run(tasks.len(), |i| {
        let task = &tasks[i];
        let (unit, shared) = (&units[task.unit], &shared[task.unit]);
        match cpu.isa() {
            Isa::Portable => work.task::<Portable>(unit, task, shared),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a `Cpu` has no instruction set that the processor lacks.
            Isa::Avx2 => unsafe { work.task_avx2(unit, task, shared) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512Bf16 => unsafe { work.task_avx512(unit, task, shared) },
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512Bf16 => work.task::<Portable>(unit, task, shared),
        }
    })
}

/// Blocks of a unit computed by several tasks.
struct Shared {
    done: AtomicUsize,
    parts: Vec<OnceLock<Vec<Partial>>>,
}

impl Shared {
    fn new(tasks: usize) -> Self {
        let parts = if tasks > 1 { tasks } else { 0 };
        Shared { done: AtomicUsize::new(0), parts: (0..parts).map(|_| OnceLock::new()).collect() }
    }
}

/// What a thread keeps from task to task.
#[derive(Default)]
struct Space {
    scratch: Scratch,
    next: Partial,
    total: Partial,
    q: Vec<u32>,
}

thread_local! {
    static SPACE: Cell<Space> = Cell::default();
}

impl Work<'_> {
    /// Tiles and their tasks, longest first.
    fn plan(&self, threads: usize) -> (Vec<Unit>, Vec<Task>) {
        let kv_heads = self.kv.shape().kv_heads;
        let step = (TILE_ROWS / (self.heads / kv_heads)).max(1);
        let mut units = Vec::new();
        for (index, sequence) in self.layout.sequences.iter().enumerate() {
            for first in (0..sequence.rows()).step_by(step) {
                let rows = first..(first + step).min(sequence.rows());
                let ends = rows.clone().map(|row| self.layout.positions[sequence.row + row] as usize + 1);
                let (low, high) = ends.fold((usize::MAX, 0), |(low, high), end| (low.min(end), high.max(end)));
                let start = low.saturating_sub(self.window.unwrap_or(low));
                let blocks = start / BLOCK..high.div_ceil(BLOCK);
                for head in 0..kv_heads {
                    units.push(Unit { sequence: index, rows: rows.clone(), head, blocks: blocks.clone(), tasks: 1 });
                }
            }
        }
        let cost = |unit: &Unit, blocks: usize| unit.rows.len() * blocks;
        let total: usize = units.iter().map(|unit| cost(unit, unit.blocks.len())).sum();
        // Four tasks a thread keep two threads within an eighth of each other.
        let share = if threads > 1 { total.div_ceil(4 * threads).max(1) } else { usize::MAX };
        let mut tasks = Vec::new();
        for (index, unit) in units.iter_mut().enumerate() {
            let parts = cost(unit, unit.blocks.len()).div_ceil(share).clamp(1, unit.blocks.len());
            let per = unit.blocks.len().div_ceil(parts);
            for (part, first) in unit.blocks.clone().step_by(per).enumerate() {
                tasks.push(Task { unit: index, part, blocks: first..(first + per).min(unit.blocks.end) });
                unit.tasks = part + 1;
            }
        }
        tasks.sort_by_key(|task| std::cmp::Reverse(cost(&units[task.unit], task.blocks.len())));
        (units, tasks)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn task_avx2(&self, unit: &Unit, task: &Task, shared: &Shared) {
        self.task::<Avx2>(unit, task, shared);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    fn task_avx512(&self, unit: &Unit, task: &Task, shared: &Shared) {
        self.task::<Avx512>(unit, task, shared);
    }

    /// Computes a task's blocks; the last task of a unit to finish folds all of them in order.
    #[inline(always)]
    fn task<S: Lanes>(&self, unit: &Unit, task: &Task, shared: &Shared) {
        let width = self.kv.shape().value_width();
        let mut space = SPACE.take();
        let Space { scratch, next, total, q } = &mut space;
        let tile = self.tile(unit, &task.blocks, q);
        let rows = tile.rows();
        scratch.reserve(rows);
        total.clear(rows, width);
        if unit.tasks == 1 {
            next.clear(rows, width);
            for block in task.blocks.clone() {
                tile.block::<S>(block, self.scale, scratch, next);
                fold::<S>(total, next, rows, width);
            }
            self.finish::<S>(unit, total);
        } else {
            let mut parts = Vec::with_capacity(task.blocks.len());
            for block in task.blocks.clone() {
                let mut part = Partial::default();
                part.clear(rows, width);
                tile.block::<S>(block, self.scale, scratch, &mut part);
                parts.push(part);
            }
            let _ = shared.parts[task.part].set(parts);
            if shared.done.fetch_add(1, Ordering::AcqRel) + 1 == unit.tasks {
                for part in shared.parts.iter().filter_map(OnceLock::get).flatten() {
                    fold::<S>(total, part, rows, width);
                }
                self.finish::<S>(unit, total);
            }
        }
        SPACE.set(space);
    }

    fn tile<'t>(&'t self, unit: &Unit, blocks: &Range<usize>, q: &'t mut Vec<u32>) -> Tile<'t> {
        let sequence = &self.layout.sequences[unit.sequence];
        let shape = self.kv.shape();
        let heads = self.heads / shape.kv_heads;
        let groups = blocks.start * (BLOCK / GROUP)..blocks.end * (BLOCK / GROUP);
        let place = (self.kv, self.layer, unit.head);
        let tokens = unit.rows.clone().map(|row| Token::new(place, sequence, row, self.window, &groups)).collect();
        let per_token = heads * shape.head_dim;
        q.resize(unit.rows.len() * per_token / 2, 0);
        // The first of a pair is the low half: a copy of memory on the little-endian machines this runs on.
        for (row, q) in unit.rows.clone().zip(bytemuck::cast_slice_mut(q).chunks_mut(per_token)) {
            let at = ((sequence.row + row) * self.heads + unit.head * heads) * shape.head_dim;
            q.copy_from_slice(&self.q[at..at + per_token]);
        }
        Tile { kv: self.kv, layer: self.layer, head: unit.head, pages: &sequence.pages, tokens, heads, q }
    }

    /// `o / sum`, rounded.
    #[inline(always)]
    fn finish<S: Lanes>(&self, unit: &Unit, total: &Partial) {
        let shape = self.kv.shape();
        let (heads, width) = (self.heads / shape.kv_heads, shape.value_width());
        let first = self.layout.sequences[unit.sequence].row + unit.rows.start;
        for row in 0..unit.rows.len() * heads {
            let at = ((first + row / heads) * self.heads + unit.head * heads + row % heads) * shape.head_dim;
            // SAFETY: a row of a head belongs to one unit, and one task finishes a unit.
            let output = unsafe { self.output.range(at..at + shape.head_dim) };
            total.divide::<S>(row, width, output);
        }
    }
}
