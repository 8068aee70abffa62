//! Many rows: both operands are packed, and multiplied tile by tile from the caches.

use super::super::kernel::{CHUNK, GROUP, LANES, Packed, Wide};
use super::super::team::Parts;
use super::{Block, Piece, Projection, Segment, segments};
use crate::Result;
use crate::device::LoraPart;
use half::bf16;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Packed weights beyond this many bytes are taken in two halves of the lanes, so that a half stays in the L2 cache.
const TILE_BYTES: usize = 512 << 10;

/// A group of up to 16 packed rows of one segment.
struct Panel {
    rows: Range<usize>,
    segment: usize,
}

/// Packed `x`, and the packed `u` of one segment and projection (a group for each of the segment's panels).
struct Groups<'a> {
    pairs: &'a [u32],
    chunks: usize,
}

impl<'a> Groups<'a> {
    fn group(&self, i: usize) -> Packed<'a> {
        let size = Packed::size(self.chunks, GROUP);
        packed(&self.pairs[i * size..(i + 1) * size], self.chunks, GROUP)
    }
}

fn packed(pairs: &[u32], chunks: usize, cols: usize) -> Packed<'_> {
    Packed { pairs, lane: Packed::lane_stride(chunks, cols), cols }
}

/// Packs the rows in `range`, 16 to a group of columns.
fn pack<'r>(
    p: &Projection<'_>,
    range: Range<usize>,
    row: impl Fn(usize) -> &'r [bf16],
    pairs: &mut [u32],
    cols: usize,
) {
    for (at, start) in (0..cols).step_by(GROUP).zip(range.clone().step_by(GROUP)) {
        let n = range.end.min(start + GROUP) - start;
        let group: [&[bf16]; GROUP] = std::array::from_fn(|i| row(start + i.min(n - 1)));
        let lane = Packed::lane_stride(group[0].len().div_ceil(CHUNK), cols);
        (p.cpu.kernels.pack)(&group[..n], pairs, lane, cols, at);
    }
}

/// Columns of the next tile for `left` ones: 48, or 32 where that avoids 16 alone.
fn tile_columns(left: usize) -> usize {
    LANES
        * match left.div_ceil(LANES) {
            1 => 1,
            2 | 4 => 2,
            _ => 3,
        }
}

impl Projection<'_> {
    pub(super) fn many<const P: usize>(
        &self,
        block: Range<usize>,
        jobs: usize,
        pieces: &(impl Fn(usize) -> [Piece; P] + Sync),
        sink: &(impl Fn(Block<'_>) + Sync),
    ) -> Result<()> {
        let (team, chunks) = (&self.cpu.team, self.k.div_ceil(CHUNK));
        let segments = segments(self.linears, block);
        let mut panels = Vec::new();
        for (segment, s) in segments.iter().enumerate() {
            let end = s.rows.end;
            panels.extend(s.rows.clone().step_by(GROUP).map(|row| Panel { rows: row..end.min(row + GROUP), segment }));
        }
        let size = Packed::size(chunks, GROUP);
        self.cpu.scratch.lend(panels.len() * size, |x| {
            let parts = Parts::new(bytemuck::cast_slice_mut::<f32, u32>(x));
            team.run_ranges(panels.len(), |range| {
                for i in range {
                    // SAFETY: each panel is packed once, into its own part.
                    let pairs = unsafe { parts.range(i * size..(i + 1) * size) };
                    pack(self, panels[i].rows.clone(), |t| &self.x[t * self.k..][..self.k], pairs, GROUP);
                }
            })?;
            let x = Groups { pairs: bytemuck::cast_slice(x), chunks };
            let updates = self.many_updates(&segments, &panels, &x)?;
            let tiles = Tiles { of: self, segments: &segments, panels: &panels, x, updates: &updates };
            // Rows are split too where that keeps all threads busy to the end.
            let splits = (8 * team.threads()).div_ceil(jobs).clamp(1, panels.len().div_ceil(4));
            let share = panels.len().div_ceil(splits);
            team.run(jobs * splits, |task| {
                let (job, first) = (task / splits, task % splits * share);
                let mine = first.min(panels.len())..panels.len().min(first + share);
                if !mine.is_empty() {
                    self.note(tiles.run(job, &pieces(job), mine, sink));
                }
            })
        })?
    }

    /// `u = scale · x Aᵀ` of each segment and projection, packed; empty without an update.
    fn many_updates(&self, segments: &[Segment], panels: &[Panel], x: &Groups<'_>) -> Result<Vec<Vec<u32>>> {
        let l = self.linears.len();
        let updates: Vec<Mutex<Vec<u32>>> = (0..segments.len() * l).map(|_| Mutex::default()).collect();
        if self.linears.iter().any(|linear| !linear.lora.is_empty()) {
            self.cpu.team.run(updates.len(), |i| {
                if let Some(part) = self.part(&segments[i / l], i % l) {
                    let panels = panels.iter().enumerate().filter(|(_, panel)| panel.segment == i / l);
                    let update =
                        self.many_update(part, panels.map(|(i, panel)| (x.group(i), panel.rows.len())), x.chunks);
                    *updates[i].lock().unwrap_or_else(PoisonError::into_inner) = update;
                }
            })?;
        }
        Ok(updates.into_iter().map(|u| u.into_inner().unwrap_or_else(PoisonError::into_inner)).collect())
    }

    fn many_update<'x>(
        &self,
        part: &LoraPart<'_, super::Cpu>,
        panels: impl Iterator<Item = (Packed<'x>, usize)>,
        chunks: usize,
    ) -> Vec<u32> {
        let r = part.a.rows;
        let (stride, size) = (r.next_multiple_of(LANES), Packed::size(r.div_ceil(CHUNK), GROUP));
        let a: Vec<(usize, usize, Vec<u32>)> = tile_starts(r)
            .map(|(start, cols)| {
                let mut a = vec![0; Packed::size(chunks, cols)];
                pack(self, start..r.min(start + cols), |n| part.a.row(n), &mut a, cols);
                (start, cols, a)
            })
            .collect();
        let mut pairs = Vec::new();
        let mut y = vec![0f32; GROUP * stride];
        for (x, rows) in panels {
            for (start, cols, a) in &a {
                let parts = [(x, packed(a, chunks, *cols), chunks)];
                let wide = Wide { parts: &parts, rows, positions: 0..LANES, add: false };
                (self.cpu.kernels.wide)(&wide, &mut y[*start..], stride);
            }
            let u = self.scaled(part.scale, &mut y);
            let at = pairs.len();
            pairs.resize(at + size, 0);
            pack(self, 0..rows, |t| &u[t * stride..][..r], &mut pairs[at..], GROUP);
        }
        pairs
    }
}

/// First column and number of columns of each tile of `n` columns.
fn tile_starts(n: usize) -> impl Iterator<Item = (usize, usize)> {
    let tile = move |start: usize| (start < n).then(|| (start, tile_columns(n - start)));
    std::iter::successors(tile(0), move |(start, cols)| tile(start + cols))
}

/// Where the columns of a tile go: `at..` of each row of `y`.
struct Tile<'a> {
    y: &'a mut [f32],
    at: usize,
    stride: usize,
}

/// The products of one block of rows.
struct Tiles<'a> {
    of: &'a Projection<'a>,
    segments: &'a [Segment],
    panels: &'a [Panel],
    x: Groups<'a>,
    updates: &'a [Vec<u32>],
}

impl Tiles<'_> {
    /// The columns of `pieces` for the panels `mine`.
    fn run<const P: usize>(
        &self,
        job: usize,
        pieces: &[Piece; P],
        mine: Range<usize>,
        sink: &(impl Fn(Block<'_>) + Sync),
    ) -> Result<()> {
        let width = pieces[0].rows.len().next_multiple_of(LANES);
        let (stride, tile) = (P * width, Packed::size(self.x.chunks, width.min(3 * LANES)));
        self.of.cpu.scratch.lend(mine.len() * GROUP * stride + tile, |scratch| {
            let (y, w) = scratch.split_at_mut(mine.len() * GROUP * stride);
            for (p, piece) in pieces.iter().enumerate() {
                for (start, cols) in tile_starts(piece.rows.len()) {
                    let n = piece.rows.start + start..piece.rows.end.min(piece.rows.start + start + cols);
                    let last = p + 1 == P && n.end == piece.rows.end;
                    let w = &mut bytemuck::cast_slice_mut(w)[..Packed::size(self.x.chunks, cols)];
                    let y = Tile { y: &mut *y, at: p * width + start, stride };
                    self.tile(piece.linear, n, cols, mine.clone(), w, y, |i, y| {
                        if last {
                            sink(Block { job, rows: self.panels[i].rows.clone(), y, stride });
                        }
                    });
                }
            }
        })
    }

    /// Columns `n` of one projection; `w` is room for them packed. `done` gets each panel's rows of `y` while they are in cache.
    #[allow(clippy::too_many_arguments)]
    fn tile(
        &self,
        linear: usize,
        n: Range<usize>,
        cols: usize,
        mine: Range<usize>,
        w: &mut [u32],
        tile: Tile<'_>,
        done: impl Fn(usize, &mut [f32]),
    ) {
        let Tile { y, at, stride } = tile;
        let (weight, chunks) = (&self.of.linears[linear], self.x.chunks);
        pack(self.of, n.clone(), |n| weight.weight.row(n), w, cols);
        let b = |part: &LoraPart<'_, super::Cpu>| {
            let mut b = vec![0; Packed::size(part.b.cols.div_ceil(CHUNK), cols)];
            pack(self.of, n.clone(), |n| part.b.row(n), &mut b, cols);
            b
        };
        let b: Vec<Vec<u32>> = weight.lora.iter().map(b).collect();
        let step = if size_of_val(w) > TILE_BYTES { LANES / 2 } else { LANES };
        for positions in (0..LANES).step_by(step).map(|start| start..start + step) {
            for (i, y) in mine.clone().zip(y.chunks_mut(GROUP * stride)) {
                let Panel { rows, segment } = &self.panels[i];
                let product = (self.x.group(i), packed(w, chunks, cols), chunks);
                let (mut parts, mut count) = ([product; 2], 1);
                if let Some(part) = self.segments[*segment].lora[linear] {
                    let chunks = weight.lora[part].b.cols.div_ceil(CHUNK);
                    let first = self.panels.partition_point(|panel| panel.segment < *segment);
                    let u = Groups { pairs: &self.updates[segment * self.of.linears.len() + linear], chunks };
                    (parts[1], count) = ((u.group(i - first), packed(&b[part], chunks, cols), chunks), 2);
                }
                let (positions, positions_end, add) = (positions.clone(), positions.end, positions.start > 0);
                let wide = Wide { parts: &parts[..count], rows: rows.len(), positions, add };
                (self.of.cpu.kernels.wide)(&wide, &mut y[at..], stride);
                if positions_end == LANES {
                    done(i, y);
                }
            }
        }
    }
}
