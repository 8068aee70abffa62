//! The CPU device: bf16 weights as stored, f32 accumulation, hand-written kernels per instruction set.
//!
//! Every reduction runs in an order that is a function of its length and the instruction set alone, never of the number of
//! rows, tile or threads: a row of a prompt and the same row decoded alone have the same bits.

mod attention;
mod backward;
mod buffer;
mod head;
mod kernel;
mod kv;
mod lanes;
#[cfg(target_arch = "x86_64")]
mod lanes_x86;
mod linear;
mod team;
#[cfg(test)]
mod tests;

pub use buffer::Buffer;
pub use kv::CpuKv;
pub use team::{Parts, Team};

use super::{Attention, Device, Element, Granularity, HostMatrix, Linear, RopeTable, RowSelection};
use crate::weights::MatrixData;
use crate::{Error, Result};
use half::bf16;
use kernel::Kernels;
use linear::{Block, Piece, Scratch, project};
use std::ops::Range;

/// Instruction sets the kernels are written for, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, BW, DQ, VL and BF16.
    Avx512Bf16,
}

impl Isa {
    /// The best one this machine has.
    pub fn detect() -> Isa {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bf16")
            {
                return Isa::Avx512Bf16;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Isa::Avx2;
            }
        }
        Isa::Portable
    }

    fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512Bf16 => "avx512bf16",
        }
    }
}

/// How a CPU device is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct CpuOptions {
    /// Threads to compute with, the caller's included; all the machine offers when `None`.
    pub threads: Option<usize>,
    /// Instruction set; the best this machine has when `None`.
    pub isa: Option<Isa>,
}

/// A weight `[N, K]` where it lies.
pub struct CpuMatrix {
    data: MatrixData,
    rows: usize,
    cols: usize,
}

impl CpuMatrix {
    fn row(&self, n: usize) -> &[bf16] {
        self.rows_of(n..n + 1)
    }

    fn rows_of(&self, rows: Range<usize>) -> &[bf16] {
        &self.data[rows.start * self.cols..rows.end * self.cols]
    }
}

/// The processor.
pub struct Cpu {
    isa: Isa,
    kernels: &'static Kernels,
    team: Team,
    scratch: Scratch,
}

impl Cpu {
    /// What sizes depend on here: weights as stored, pages of 64 keys, passes of 512 rows.
    pub const GRANULARITY: Granularity = Granularity { columns: 1, page: kv::PAGE, rows: 512, fixed: 0 };

    /// Starts the threads.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if this machine lacks the instruction set asked for, [`Error::Invalid`] for zero threads.
    pub fn new(options: CpuOptions) -> Result<Self> {
        let best = Isa::detect();
        let isa = options.isa.unwrap_or(best);
        if isa > best {
            return Err(Error::unsupported(format!("the instruction set {} on this machine", isa.name())));
        }
        let threads = match options.threads {
            Some(0) => return Err(Error::invalid("a CPU device needs at least one thread, found 0")),
            Some(threads) => threads,
            None => std::thread::available_parallelism().map_or(1, |n| n.get()),
        };
        Ok(Cpu { isa, kernels: kernel::kernels(isa), team: Team::new(threads)?, scratch: Scratch::default() })
    }

    /// The instruction set its kernels use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Its threads.
    pub fn team(&self) -> &Team {
        &self.team
    }
}

/// An error unless `got` elements are enough for `want`, the length of a buffer; a product for it saturates.
fn need(op: &str, name: &str, want: usize, got: usize) -> Result<()> {
    if got < want {
        return Err(Error::shape(format!("{op}, {name}"), format!("at least {want} elements"), got));
    }
    Ok(())
}

/// Columns of a job: the widest tile; less where few rows leave too few jobs for all threads.
fn columns(cpu: &Cpu, t: usize, n: usize) -> usize {
    if t <= cpu.kernels.dots_rows && n < 48 * 4 * cpu.team.threads() { 16 } else { 48 }
}

impl Device for Cpu {
    type Matrix = CpuMatrix;
    type Buffer<T: Element> = Buffer<T>;
    type Kv = CpuKv;

    fn fingerprint(&self) -> String {
        format!("cpu/{}/1", self.isa.name())
    }

    fn matrix(&self, host: HostMatrix) -> Result<CpuMatrix> {
        let HostMatrix { data, rows, cols } = host;
        if rows.checked_mul(cols) != Some(data.len()) || data.is_empty() {
            return Err(Error::shape("matrix", format!("[{rows}, {cols}]"), data.len()));
        }
        Ok(CpuMatrix { data, rows, cols })
    }

    fn buffer<T: Element>(&self, len: usize) -> Result<Buffer<T>> {
        Buffer::new(len)
    }

    fn reserve<T: Element>(&self, buffer: &mut Buffer<T>, len: usize) -> Result<()> {
        buffer.reserve(len)
    }

    fn write<T: Element>(&self, buffer: &mut Buffer<T>, at: usize, data: &[T]) -> Result<()> {
        need("write", "buffer", at.saturating_add(data.len()), buffer.len())?;
        buffer[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn read<T: Element>(&self, buffer: &Buffer<T>, at: usize, out: &mut [T]) -> Result<()> {
        need("read", "buffer", at.saturating_add(out.len()), buffer.len())?;
        out.copy_from_slice(&buffer[at..at + out.len()]);
        Ok(())
    }

    fn kv_page(&self) -> usize {
        kv::PAGE
    }

    fn kv(&self, layers: usize, kv_heads: usize, head_dim: usize) -> Result<CpuKv> {
        CpuKv::new(layers, kv_heads, head_dim)
    }

    fn kv_reserve(&self, kv: &mut CpuKv, pages: usize) -> Result<()> {
        kv.reserve(pages)
    }

    fn kv_page_bytes(&self, kv: &CpuKv) -> usize {
        kv.page_bytes()
    }

    fn kv_copy(&self, kv: &mut CpuKv, from: u32, to: u32, keys: usize) -> Result<()> {
        kv.copy(from, to, keys)
    }

    fn kv_move(&self, kv: &mut CpuKv, pages: &[u32], moves: &[(u32, u32)]) -> Result<()> {
        kv.move_keys(pages, moves)
    }

    fn pass<R>(&self, run: impl FnOnce() -> Result<R>) -> Result<R> {
        self.team.pass(run)
    }

    fn embed(&self, table: &CpuMatrix, tokens: &[u32], h: &mut Buffer<f32>) -> Result<()> {
        need("embed", "h", tokens.len() * table.cols, h.len())?;
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= table.rows) {
            return Err(Error::invalid(format!("embed: expected tokens below {}, found {token}", table.rows)));
        }
        for (&token, h) in tokens.iter().zip(h.chunks_mut(table.cols)) {
            h.iter_mut().zip(table.row(token as usize)).for_each(|(h, e)| *h = e.to_f32());
        }
        Ok(())
    }

    fn rms_norm(
        &self,
        h: &Buffer<f32>,
        w: &Buffer<f32>,
        eps: f32,
        rows: RowSelection<'_>,
        x: &mut Buffer<bf16>,
        x_row: usize,
    ) -> Result<()> {
        let c = w.len();
        let (t, last) = match rows {
            RowSelection::All(t) => (t, t),
            RowSelection::Some(rows) => (rows.len(), rows.iter().max().map_or(0, |&row| row as usize + 1)),
        };
        need("rms_norm", "w", 1, c)?;
        need("rms_norm", "h", last.saturating_mul(c), h.len())?;
        need("rms_norm", "x", x_row.saturating_add(t).saturating_mul(c), x.len())?;
        let parts = Parts::new(&mut x[x_row * c..(x_row + t) * c]);
        let work = |range: Range<usize>| {
            for i in range {
                let row = match rows {
                    RowSelection::All(_) => i,
                    RowSelection::Some(rows) => rows[i] as usize,
                };
                // SAFETY: each row is written once.
                let x = unsafe { parts.range(i * c..(i + 1) * c) };
                (self.kernels.rms_norm)(&h[row * c..(row + 1) * c], w, eps, x);
            }
        };
        // Few rows take less time than waking anyone.
        if t <= 8 {
            work(0..t);
            return Ok(());
        }
        self.team.run_ranges(t, work)
    }

    fn qkv(
        &self,
        x: &Buffer<bf16>,
        weights: [Linear<'_, Self>; 3],
        rope: &RopeTable<Self>,
        at: &mut Attention<'_, Self>,
        q: &mut Buffer<bf16>,
    ) -> Result<()> {
        let (t, positions) = (at.layout.rows(), &at.layout.positions);
        let [n_q, n_k, n_v] = weights.each_ref().map(|w| w.weight.rows);
        let d = n_q / at.heads.max(1);
        if d == 0 || !d.is_multiple_of(2) || n_q != at.heads * d || !n_k.is_multiple_of(d) || n_k != n_v {
            return Err(Error::shape("qkv", "heads of one even width", (at.heads, n_q, n_k, n_v)));
        }
        let (heads, kv_heads) = (at.heads, n_k / d);
        let (cache, found) = (at.kv.shape(), (kv_heads, d));
        if found != (cache.kv_heads, cache.head_dim) {
            return Err(Error::shape("qkv, heads of the cache", (cache.kv_heads, cache.head_dim), found));
        }
        at.kv.check(at.layer, at.layout)?;
        let table = positions.iter().max().map_or(0, |&p| p as usize + 1) * (d / 2);
        need("qkv", "rope table", table, rope.cos.len().min(rope.sin.len()))?;
        need("qkv", "q", t * n_q, q.len())?;
        self.scratch.lend(2 * t * n_k, |kv| {
            let (k, v) = kv.split_at_mut(t * n_k);
            let (q_parts, k_parts, v_parts) = (Parts::new(q), Parts::new(k), Parts::new(v));
            // A job is a head: first those of q, then k, then v.
            let piece = |job: usize| {
                let starts = [0, heads, heads + kv_heads];
                let linear = starts.iter().rposition(|&start| job >= start).unwrap_or(0);
                [Piece { linear, rows: (job - starts[linear]) * d..(job - starts[linear] + 1) * d }]
            };
            let sink = |block: Block<'_>| {
                let [Piece { linear, rows: columns }] = piece(block.job);
                for (t, y) in block.rows.clone().zip(block.y.chunks_mut(block.stride)) {
                    let (y, angle) = (&mut y[..d], positions[t] as usize * (d / 2));
                    if linear < 2 {
                        (self.kernels.rotate)(y, &rope.cos[angle..], &rope.sin[angle..]);
                    }
                    let part = |n: usize| t * n + columns.start..t * n + columns.end;
                    // SAFETY: each row of each head comes once.
                    unsafe {
                        match linear {
                            0 => (self.kernels.round)(y, q_parts.range(part(n_q))),
                            1 => k_parts.range(part(n_k)).copy_from_slice(y),
                            _ => v_parts.range(part(n_v)).copy_from_slice(y),
                        }
                    }
                }
            };
            project(self, "qkv", (x, t), &weights, (heads + 2 * kv_heads, piece), sink)?;
            at.kv.write(&self.team, at.layer, at.layout, k, v)
        })?
    }

    fn attention(&self, q: &Buffer<bf16>, at: &mut Attention<'_, Self>, o: &mut Buffer<bf16>) -> Result<()> {
        attention::attention(self, q, at, o)
    }

    fn linear_add(&self, x: &Buffer<bf16>, weight: Linear<'_, Self>, t: usize, h: &mut Buffer<f32>) -> Result<()> {
        let n = weight.weight.rows;
        need("linear_add", "h", t.saturating_mul(n), h.len())?;
        let (width, parts) = (columns(self, t, n), Parts::new(&mut h[..t * n]));
        let columns = |job: usize| job * width..n.min((job + 1) * width);
        let piece = |job: usize| [Piece { linear: 0, rows: columns(job) }];
        project(self, "linear_add", (x, t), &[weight], (n.div_ceil(width), piece), |block| {
            let columns = columns(block.job);
            // Rows of `h` are too far apart for the processor to guess: ask for those of the next block.
            for t in block.rows.end..t.min(block.rows.end + block.rows.len()) {
                parts.prefetch(t * n + columns.start..t * n + columns.end);
            }
            for (t, y) in block.rows.clone().zip(block.y.chunks(block.stride)) {
                // SAFETY: each row and column comes once.
                (self.kernels.add)(y, unsafe { parts.range(t * n + columns.start..t * n + columns.end) });
            }
        })
    }

    fn gate_up(
        &self,
        x: &Buffer<bf16>,
        gate: Linear<'_, Self>,
        up: Linear<'_, Self>,
        t: usize,
        a: &mut Buffer<bf16>,
    ) -> Result<()> {
        let n = gate.weight.rows;
        if up.weight.rows != n {
            return Err(Error::shape("gate_up", [n, n], [n, up.weight.rows]));
        }
        need("gate_up", "a", t.saturating_mul(n), a.len())?;
        let (width, parts) = (columns(self, t, n), Parts::new(&mut a[..t * n]));
        let columns = |job: usize| job * width..n.min((job + 1) * width);
        let pieces = |job: usize| [0, 1].map(|linear| Piece { linear, rows: columns(job) });
        project(self, "gate_up", (x, t), &[gate, up], (n.div_ceil(width), pieces), |block| {
            let columns = columns(block.job);
            for (t, y) in block.rows.clone().zip(block.y.chunks(block.stride)) {
                let (gate, up) = y.split_at(block.stride / 2);
                // SAFETY: each row and column comes once.
                (self.kernels.swiglu)(gate, up, unsafe { parts.range(t * n + columns.start..t * n + columns.end) });
            }
        })
    }

    fn head_lse(&self, x: &Buffer<bf16>, head: &CpuMatrix, rows: &[u32]) -> Result<Vec<f64>> {
        head::lse(self, x, head, rows)
    }

    fn head_some(&self, x: &Buffer<bf16>, head: &CpuMatrix, asks: &[(u32, &[u32])]) -> Result<Vec<f32>> {
        head::some(self, x, head, asks)
    }

    fn head_all(&self, x: &Buffer<bf16>, head: &CpuMatrix, row: u32) -> Result<Vec<f32>> {
        head::full(self, x, head, row)
    }
}
