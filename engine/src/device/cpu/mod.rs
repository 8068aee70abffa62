//! The CPU device: bf16 weights as stored, f32 accumulation, hand-written kernels per instruction set.
//!
//! Every reduction runs in an order that is a function of its length and the instruction set alone, never of the number of
//! rows, tile or threads: a row of a prompt and the same row decoded alone have the same bits.

mod attention;
mod buffer;
mod kv;
mod lanes;
#[cfg(target_arch = "x86_64")]
mod lanes_x86;
mod team;

pub use buffer::Buffer;
pub use kv::CpuKv;
pub use team::{Parts, Team};

use super::{Attention, Device, Element, HostMatrix, Linear, RopeTable, RowSelection};
use crate::weights::MatrixData;
use crate::{Error, Result};
use half::bf16;

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
        &self.data[n * self.cols..(n + 1) * self.cols]
    }
}

/// The processor.
pub struct Cpu {
    isa: Isa,
    team: Team,
}

impl Cpu {
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
        Ok(Cpu { isa, team: Team::new(threads)? })
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

fn need(op: &str, name: &str, want: usize, got: usize) -> Result<()> {
    if got < want {
        return Err(Error::shape(format!("{op}, {name}"), format!("at least {want} elements"), got));
    }
    Ok(())
}

fn dot(x: &[bf16], w: &[bf16]) -> f32 {
    x.iter().zip(w).fold(0.0, |sum, (x, w)| sum + x.to_f32() * w.to_f32())
}

/// `y = x Wᵀ` `[T, N]`, low-rank updates included.
fn product(op: &str, x: &[bf16], linear: &Linear<'_, Cpu>, t: usize) -> Result<Vec<f32>> {
    let (n, k) = (linear.weight.rows, linear.weight.cols);
    need(op, "x", t * k, x.len())?;
    let mut y = vec![0f32; t * n];
    for (row, y) in y.chunks_mut(n).enumerate() {
        let x = &x[row * k..][..k];
        let part = linear.lora.iter().find(|part| part.rows.contains(&row));
        let u: Vec<bf16> = part.map_or(Vec::new(), |part| {
            (0..part.a.rows).map(|r| bf16::from_f32(part.scale * dot(x, part.a.row(r)))).collect()
        });
        for (n, y) in y.iter_mut().enumerate() {
            *y = dot(x, linear.weight.row(n)) + part.map_or(0.0, |part| dot(&u, part.b.row(n)));
        }
    }
    Ok(y)
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
        if rows.checked_mul(cols) != Some(data.len()) {
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
        need("write", "buffer", at + data.len(), buffer.len())?;
        buffer[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn read<T: Element>(&self, buffer: &Buffer<T>, at: usize, out: &mut [T]) -> Result<()> {
        need("read", "buffer", at + out.len(), buffer.len())?;
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

    fn pass<R>(&self, run: impl FnOnce() -> R) -> R {
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
        let all: Vec<u32>;
        let rows = match rows {
            RowSelection::All(t) => {
                all = (0..t as u32).collect();
                &all
            }
            RowSelection::Some(rows) => rows,
        };
        need("rms_norm", "x", (x_row + rows.len()) * c, x.len())?;
        for (&row, x) in rows.iter().zip(x[x_row * c..].chunks_mut(c)) {
            need("rms_norm", "h", (row as usize + 1) * c, h.len())?;
            let h = &h[row as usize * c..][..c];
            let mean = h.iter().map(|h| h * h).sum::<f32>() / c as f32;
            let scale = 1.0 / (mean + eps).sqrt();
            x.iter_mut().zip(h).zip(w.iter()).for_each(|((x, h), w)| *x = bf16::from_f32(h * scale * w));
        }
        Ok(())
    }

    fn qkv(
        &self,
        x: &Buffer<bf16>,
        weights: [Linear<'_, Self>; 3],
        rope: &RopeTable<Self>,
        at: &mut Attention<'_, Self>,
        q: &mut Buffer<bf16>,
    ) -> Result<()> {
        let t = at.layout.rows();
        let [wq, wk, wv] = &weights;
        let d = wq.weight.rows / at.heads.max(1);
        let mut heads = [product("qkv", x, wq, t)?, product("qkv", x, wk, t)?];
        let v = product("qkv", x, wv, t)?;
        for (y, n) in heads.iter_mut().zip([wq.weight.rows, wk.weight.rows]) {
            for (y, &position) in y.chunks_mut(n).zip(&at.layout.positions) {
                let angle = position as usize * (d / 2);
                need("qkv", "rope table", angle + d / 2, rope.cos.len())?;
                let (cos, sin) = (&rope.cos[angle..], &rope.sin[angle..]);
                for head in y.chunks_exact_mut(d) {
                    let (low, high) = head.split_at_mut(d / 2);
                    for i in 0..d / 2 {
                        let (a, b) = (low[i], high[i]);
                        (low[i], high[i]) = (a * cos[i] - b * sin[i], b * cos[i] + a * sin[i]);
                    }
                }
            }
        }
        need("qkv", "q", heads[0].len(), q.len())?;
        q.iter_mut().zip(&heads[0]).for_each(|(q, y)| *q = bf16::from_f32(*y));
        at.kv.write(at.layer, at.layout, &heads[1], &v)
    }

    fn attention(&self, q: &Buffer<bf16>, at: &mut Attention<'_, Self>, o: &mut Buffer<bf16>) -> Result<()> {
        attention::attention(self, q, at, o)
    }

    fn linear_add(&self, x: &Buffer<bf16>, weight: Linear<'_, Self>, t: usize, h: &mut Buffer<f32>) -> Result<()> {
        let y = product("linear_add", x, &weight, t)?;
        need("linear_add", "h", y.len(), h.len())?;
        h.iter_mut().zip(&y).for_each(|(h, y)| *h += y);
        Ok(())
    }

    fn gate_up(
        &self,
        x: &Buffer<bf16>,
        gate: Linear<'_, Self>,
        up: Linear<'_, Self>,
        t: usize,
        a: &mut Buffer<bf16>,
    ) -> Result<()> {
        let (gate, up) = (product("gate_up", x, &gate, t)?, product("gate_up", x, &up, t)?);
        need("gate_up", "a", gate.len().max(up.len()), a.len())?;
        for ((a, g), u) in a.iter_mut().zip(&gate).zip(&up) {
            *a = bf16::from_f32(g / (1.0 + (-g).exp()) * u);
        }
        Ok(())
    }

    fn head_lse(&self, x: &Buffer<bf16>, head: &CpuMatrix, rows: &[u32]) -> Result<Vec<f64>> {
        rows.iter()
            .map(|&row| {
                let logits = self.head_all(x, head, row)?;
                let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
                Ok(max + logits.iter().map(|&l| (l as f64 - max).exp()).sum::<f64>().ln())
            })
            .collect()
    }

    fn head_some(&self, x: &Buffer<bf16>, head: &CpuMatrix, asks: &[(u32, &[u32])]) -> Result<Vec<f32>> {
        let mut logits = Vec::new();
        for &(row, ids) in asks {
            need("head_some", "x", (row as usize + 1) * head.cols, x.len())?;
            let x = &x[row as usize * head.cols..][..head.cols];
            for &id in ids {
                if id as usize >= head.rows {
                    return Err(Error::invalid(format!("head_some: expected ids below {}, found {id}", head.rows)));
                }
                logits.push(dot(x, head.row(id as usize)));
            }
        }
        Ok(logits)
    }

    fn head_all(&self, x: &Buffer<bf16>, head: &CpuMatrix, row: u32) -> Result<Vec<f32>> {
        let ids: Vec<u32> = (0..head.rows as u32).collect();
        self.head_some(x, head, &[(row, &ids)])
    }
}
