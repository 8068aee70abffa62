//! Few rows, or a short `K`: each weight row is read once and meets all rows of `x` while it is in registers or the L1 cache.

use super::super::kernel::{DOTS_ROWS, Dots, LANES};
use super::{Block, Piece, Projection, Segment, segments};
use crate::Result;
use half::bf16;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

impl Projection<'_> {
    pub(super) fn few<const P: usize>(
        &self,
        t: usize,
        jobs: usize,
        pieces: &(impl Fn(usize) -> [Piece; P] + Sync),
        sink: &(impl Fn(Block<'_>) + Sync),
    ) -> Result<()> {
        let blocks = t.div_ceil(DOTS_ROWS);
        let block = |i: usize| i * t / blocks..(i + 1) * t / blocks;
        let segments: Vec<Segment> = (0..blocks).flat_map(|i| segments(self.linears, block(i))).collect();
        let updates = self.few_updates(&segments)?;
        self.cpu.team.run_ranges(blocks * jobs, |range| {
            let mut y = Vec::new();
            for task in range {
                let (rows, job) = (block(task / jobs), task % jobs);
                let pieces = pieces(job);
                let width = pieces[0].rows.len().next_multiple_of(LANES);
                let stride = P * width;
                y.resize(rows.len() * stride, 0.0);
                for (p, piece) in pieces.iter().enumerate() {
                    let y = &mut y[p * width..];
                    self.few_columns(rows.clone(), piece, &segments, &updates, y, stride);
                }
                sink(Block { job, rows, y: &mut y, stride });
            }
        })
    }

    /// The columns of `piece`, a few weight rows at a time where several segments read them.
    fn few_columns(
        &self,
        rows: Range<usize>,
        piece: &Piece,
        segments: &[Segment],
        updates: &[Vec<bf16>],
        y: &mut [f32],
        stride: usize,
    ) {
        let (linear, k) = (&self.linears[piece.linear], self.k);
        let until = |row: usize| segments.partition_point(|segment| segment.rows.start < row);
        let mine = until(rows.start)..until(rows.end);
        let step = if mine.len() == 1 { piece.rows.len().max(1) } else { LANES };
        for start in piece.rows.clone().step_by(step) {
            let n = start..piece.rows.end.min(start + step);
            for s in mine.clone() {
                let segment = &segments[s];
                let part = self.part(segment, piece.linear);
                let r = part.map_or(0, |part| part.b.cols);
                let dots = Dots {
                    x: &self.x[segment.rows.start * k..],
                    w: linear.weight.rows_of(n.clone()),
                    u: &updates[s * self.linears.len() + piece.linear],
                    b: part.map_or(&[], |part| part.b.rows_of(n.clone())),
                    shape: [segment.rows.len(), n.len(), k, r],
                };
                let at = (segment.rows.start - rows.start) * stride + start - piece.rows.start;
                (self.cpu.kernels.dots)(&dots, &mut y[at..], stride);
            }
        }
    }

    /// `u = scale · x Aᵀ` in bf16 of each segment and projection, `[rows, R]` each, empty without an update.
    fn few_updates(&self, segments: &[Segment]) -> Result<Vec<Vec<bf16>>> {
        let l = self.linears.len();
        let updates: Vec<Mutex<Vec<bf16>>> = (0..segments.len() * l).map(|_| Mutex::default()).collect();
        if self.linears.iter().any(|linear| !linear.lora.is_empty()) {
            self.cpu.team.run(updates.len(), |i| {
                let segment = &segments[i / l];
                let Some(part) = self.part(segment, i % l) else { return };
                let (t, r) = (segment.rows.len(), part.a.rows);
                let mut y = vec![0f32; t * r];
                let x = &self.x[segment.rows.start * self.k..];
                let dots = Dots { x, w: &part.a.data, u: &[], b: &[], shape: [t, r, self.k, 0] };
                (self.cpu.kernels.dots)(&dots, &mut y, r);
                *updates[i].lock().unwrap_or_else(PoisonError::into_inner) = self.scaled(part.scale, &mut y);
            })?;
        }
        Ok(updates.into_iter().map(|u| u.into_inner().unwrap_or_else(PoisonError::into_inner)).collect())
    }
}
