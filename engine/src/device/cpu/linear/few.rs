//! Few rows: each weight row is read once and meets all rows of `x` while it is in registers.

use super::super::kernel::{DOTS_COLS, Dots, LANES};
use super::{Block, Piece, Projection, Segment, segments};
use crate::Result;
use half::bf16;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// The rows in `range`, the last one repeated.
fn rows<'a>(range: Range<usize>, row: impl Fn(usize) -> &'a [bf16]) -> [&'a [bf16]; DOTS_COLS] {
    std::array::from_fn(|i| row((range.start + i).min(range.end - 1)))
}

impl Projection<'_> {
    pub(super) fn few<const P: usize>(
        &self,
        t: usize,
        jobs: usize,
        pieces: &(impl Fn(usize) -> [Piece; P] + Sync),
        sink: &(impl Fn(Block<'_>) + Sync),
    ) -> Result<()> {
        let segments = segments(self.linears, 0..t);
        let updates = self.few_updates(&segments)?;
        self.cpu.team.run_ranges(jobs, |range| {
            let mut y = Vec::new();
            for job in range.clone() {
                let pieces = pieces(job);
                let width = pieces[0].rows.len().next_multiple_of(LANES);
                let stride = P * width;
                y.resize(t * stride, 0.0);
                for (p, piece) in pieces.iter().enumerate() {
                    for start in piece.rows.clone().step_by(DOTS_COLS) {
                        let n = start..piece.rows.end.min(start + DOTS_COLS);
                        let ahead = n.end < piece.rows.end || job + 1 < range.end;
                        let y = &mut y[p * width + start - piece.rows.start..];
                        self.few_columns(piece.linear, n, ahead, &segments, &updates, y, stride);
                    }
                }
                sink(Block { job, rows: 0..t, y: &mut y, stride });
            }
        })
    }

    #[allow(clippy::too_many_arguments)]
    fn few_columns(
        &self,
        linear: usize,
        n: Range<usize>,
        ahead: bool,
        segments: &[Segment],
        updates: &[Vec<bf16>],
        y: &mut [f32],
        stride: usize,
    ) {
        let w = rows(n.clone(), |n| self.linears[linear].weight.row(n));
        for (s, segment) in segments.iter().enumerate() {
            let b = self.part(segment, linear).map(|part| rows(n.clone(), |n| part.b.row(n)));
            let dots = Dots {
                x: &self.x[segment.rows.start * self.k..],
                w: &w[..n.len()],
                u: &updates[s * self.linears.len() + linear],
                b: b.as_ref().map_or(&[], |b| &b[..n.len()]),
                t: segment.rows.len(),
                ahead: if ahead { DOTS_COLS * self.k } else { 0 },
            };
            (self.cpu.kernels.dots)(&dots, &mut y[segment.rows.start * stride..], stride);
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
                for start in (0..r).step_by(DOTS_COLS) {
                    let n = start..r.min(start + DOTS_COLS);
                    let w = rows(n.clone(), |n| part.a.row(n));
                    let x = &self.x[segment.rows.start * self.k..];
                    let dots = Dots { x, w: &w[..n.len()], u: &[], b: &[], t, ahead: DOTS_COLS * self.k };
                    (self.cpu.kernels.dots)(&dots, &mut y[start..], r);
                }
                *updates[i].lock().unwrap_or_else(PoisonError::into_inner) = self.scaled(part.scale, &mut y);
            })?;
        }
        Ok(updates.into_iter().map(|u| u.into_inner().unwrap_or_else(PoisonError::into_inner)).collect())
    }
}
