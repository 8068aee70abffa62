//! Projections: `y = x Wᵀ` and its low-rank updates, cut into jobs, with what follows fused.
//!
//! Few rows or a short `K` stream the weights; many rows of a long one are packed and multiplied tile by tile. Both follow
//! the order of summation of [`kernel`](super::kernel), so which one runs shows in the time alone.

mod few;
mod many;

use super::{Buffer, Cpu, need};
use crate::device::{Linear, LoraPart};
use crate::{Error, Result};
use half::bf16;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Rows that are packed at a time: bounds the scratch memory.
const BLOCK: usize = 512;

/// Columns of a job: weight rows `rows` of projection `linear`.
#[derive(Clone)]
pub(super) struct Piece {
    pub linear: usize,
    pub rows: Range<usize>,
}

/// A finished part: rows `rows` of `x` times the columns of job `job`, `y[i * stride + column]`; the columns of each piece
/// begin at a multiple of `stride / P`.
pub(super) struct Block<'a> {
    pub job: usize,
    pub rows: Range<usize>,
    pub y: &'a mut [f32],
    pub stride: usize,
}

/// Scratch memory, lent to whoever needs some.
#[derive(Default)]
pub(super) struct Scratch(Mutex<Vec<Buffer<f32>>>);

impl Scratch {
    /// Calls `use_it` with `len` floats of any content.
    pub fn lend<R>(&self, len: usize, use_it: impl FnOnce(&mut [f32]) -> R) -> Result<R> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffer = taken.map_or_else(|| Buffer::new(len), Ok)?;
        buffer.reserve(len)?;
        let result = use_it(&mut buffer[..len]);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
        Ok(result)
    }
}

/// A run of rows that the same updates apply to.
struct Segment {
    rows: Range<usize>,
    /// For each projection, which of its updates.
    lora: Vec<Option<usize>>,
}

/// Cuts rows `within` where an update of any projection begins or ends.
fn segments(linears: &[Linear<'_, Cpu>], within: Range<usize>) -> Vec<Segment> {
    let bounds = linears.iter().flat_map(|l| l.lora).flat_map(|part| [part.rows.start, part.rows.end]);
    let mut cuts: Vec<usize> = bounds.filter(|cut| within.contains(cut)).chain([within.start, within.end]).collect();
    cuts.sort_unstable();
    cuts.dedup();
    let part = |l: &Linear<'_, Cpu>, row| l.lora.iter().position(|part| part.rows.contains(&row));
    cuts.windows(2)
        .map(|cut| Segment { rows: cut[0]..cut[1], lora: linears.iter().map(|l| part(l, cut[0])).collect() })
        .collect()
}

fn check(op: &str, x: &[bf16], t: usize, linears: &[Linear<'_, Cpu>]) -> Result<usize> {
    let k = linears[0].weight.cols;
    need(op, "x", t.saturating_mul(k), x.len())?;
    for linear in linears {
        let n = linear.weight.rows;
        if linear.weight.cols != k {
            return Err(Error::shape(op, format!("a weight of [{n}, {k}]"), [n, linear.weight.cols]));
        }
        for LoraPart { rows, a, b, .. } in linear.lora {
            let shapes = [a.rows, a.cols, b.rows, b.cols];
            if shapes != [a.rows, k, n, a.rows] || rows.end > t {
                return Err(Error::shape(
                    op,
                    format!("an update A [R, {k}], B [{n}, R] of rows to {t}"),
                    (shapes, rows),
                ));
            }
        }
    }
    Ok(k)
}

/// `y = x Wᵀ` for `jobs` jobs of `P` pieces each, all pieces of a job of one length; `sink` gets every row of every job
/// once, on any thread.
pub(super) fn project<const P: usize>(
    cpu: &Cpu,
    op: &str,
    (x, t): (&[bf16], usize),
    linears: &[Linear<'_, Cpu>],
    (jobs, pieces): (usize, impl Fn(usize) -> [Piece; P] + Sync),
    sink: impl Fn(Block<'_>) + Sync,
) -> Result<()> {
    let k = check(op, x, t, linears)?;
    if t == 0 || jobs == 0 {
        return Ok(());
    }
    let all = Projection { cpu, x, k, linears, failure: Mutex::new(Ok(())) };
    if t <= cpu.kernels.dots_rows || k <= cpu.kernels.dots_k {
        all.few(t, jobs, &pieces, &sink)?;
    } else {
        for start in (0..t).step_by(BLOCK) {
            all.many(start..t.min(start + BLOCK), jobs, &pieces, &sink)?;
        }
    }
    all.failure.into_inner().unwrap_or_else(PoisonError::into_inner)
}

struct Projection<'a> {
    cpu: &'a Cpu,
    x: &'a [bf16],
    k: usize,
    linears: &'a [Linear<'a, Cpu>],
    /// Of any task.
    failure: Mutex<Result<()>>,
}

impl Projection<'_> {
    fn note(&self, outcome: Result<()>) {
        if outcome.is_err() {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
        }
    }

    /// The part of `linear` that touches `segment`.
    fn part(&self, segment: &Segment, linear: usize) -> Option<&LoraPart<'_, Cpu>> {
        segment.lora[linear].map(|part| &self.linears[linear].lora[part])
    }

    /// `u = scale · y` in bf16.
    fn scaled(&self, scale: f32, y: &mut [f32]) -> Vec<bf16> {
        y.iter_mut().for_each(|y| *y *= scale);
        let mut u = vec![bf16::ZERO; y.len()];
        (self.cpu.kernels.round)(y, &mut u);
        u
    }
}
