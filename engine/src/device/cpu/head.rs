//! The head: logits of chosen tokens, of all, or only their log-sum-exp.

use super::kernel::Dots;
use super::linear::{Block, Piece, project};
use super::team::Parts;
use super::{Cpu, CpuMatrix, need};
use crate::device::Linear;
use crate::{Error, Result, reserve};
use half::bf16;

/// Vocabulary rows whose maximum and sum are kept as one pair.
const CHUNK_ROWS: usize = 192;
/// Chosen tokens of one task.
const IDS: usize = 16;

/// The whole vocabulary as one projection: `sink` gets each chunk's logits.
fn all(cpu: &Cpu, op: &str, x: (&[bf16], usize), head: &CpuMatrix, sink: impl Fn(Block<'_>) + Sync) -> Result<()> {
    let piece = |job: usize| [Piece { linear: 0, rows: job * CHUNK_ROWS..head.rows.min((job + 1) * CHUNK_ROWS) }];
    project(cpu, op, x, &[Linear { weight: head, lora: &[] }], (head.rows.div_ceil(CHUNK_ROWS), piece), sink)
}

fn row<'x>(op: &str, x: &'x [bf16], head: &CpuMatrix, row: u32) -> Result<&'x [bf16]> {
    let (row, c) = (row as usize, head.cols);
    need(op, "x", (row + 1) * c, x.len())?;
    Ok(&x[row * c..(row + 1) * c])
}

pub(super) fn lse(cpu: &Cpu, x: &[bf16], head: &CpuMatrix, rows: &[u32]) -> Result<Vec<f64>> {
    let mut gathered = reserve::room(rows.len() * head.cols)?;
    for &r in rows {
        gathered.extend_from_slice(row("head_lse", x, head, r)?);
    }
    let (t, chunks) = (rows.len(), head.rows.div_ceil(CHUNK_ROWS));
    let mut pairs = vec![(0f32, 0f32); t * chunks];
    let parts = Parts::new(&mut pairs);
    all(cpu, "head_lse", (&gathered, t), head, |block| {
        let columns = CHUNK_ROWS.min(head.rows - block.job * CHUNK_ROWS);
        for (t, y) in block.rows.clone().zip(block.y.chunks(block.stride)) {
            let at = t * chunks + block.job;
            // SAFETY: each row and chunk comes once.
            let pair = unsafe { parts.range(at..at + 1) };
            pair[0] = (cpu.kernels.max_sum_exp)(&y[..columns]);
        }
    })?;
    Ok(pairs.chunks(chunks).map(combine).collect())
}

/// `ln Σ sum · e^max`, in order.
pub(super) fn combine(pairs: &[(f32, f32)]) -> f64 {
    let most = pairs.iter().map(|pair| pair.0 as f64).fold(f64::NEG_INFINITY, f64::max);
    most + pairs.iter().map(|(max, sum)| *sum as f64 * (*max as f64 - most).exp()).sum::<f64>().ln()
}

pub(super) fn some(cpu: &Cpu, x: &[bf16], head: &CpuMatrix, asks: &[(u32, &[u32])]) -> Result<Vec<f32>> {
    let mut tasks = Vec::new();
    let mut at = 0;
    for &(r, ids) in asks {
        let x = row("head_some", x, head, r)?;
        if let Some(id) = ids.iter().find(|&&id| id as usize >= head.rows) {
            return Err(Error::invalid(format!("head_some: expected ids below {}, found {id}", head.rows)));
        }
        for ids in ids.chunks(IDS) {
            tasks.push((x, ids, at..at + ids.len()));
            at += ids.len();
        }
    }
    let mut y = vec![0f32; at];
    let parts = Parts::new(&mut y);
    let work = |i: usize| {
        let (x, ids, range) = &tasks[i];
        // SAFETY: the tasks' ranges are disjoint.
        let y = unsafe { parts.range(range.clone()) };
        for (y, &id) in y.iter_mut().zip(*ids) {
            let dots = Dots { x, w: head.row(id as usize), u: &[], b: &[], shape: [1, 1, head.cols, 0] };
            (cpu.kernels.dots)(&dots, std::slice::from_mut(y), 1);
        }
    };
    // A task takes about a microsecond: few are not worth waking anyone.
    match tasks.len() {
        0..8 => tasks.iter().enumerate().for_each(|(i, _)| work(i)),
        _ => cpu.team.run_ranges(tasks.len(), |range| range.for_each(work))?,
    }
    Ok(y)
}

pub(super) fn full(cpu: &Cpu, x: &[bf16], head: &CpuMatrix, r: u32) -> Result<Vec<f32>> {
    let x = row("head_all", x, head, r)?;
    let mut logits = vec![0f32; head.rows];
    let parts = Parts::new(&mut logits);
    all(cpu, "head_all", (x, 1), head, |block| {
        let start = block.job * CHUNK_ROWS;
        // SAFETY: each chunk comes once.
        let out = unsafe { parts.range(start..head.rows.min(start + CHUNK_ROWS)) };
        out.copy_from_slice(&block.y[..out.len()]);
    })?;
    Ok(logits)
}
