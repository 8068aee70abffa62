//! A product with its epilogue: inputs from a seed, launch by any of its kernels, and the f64 oracle.

use crate::harness::{Address, Device, Expected, Random};
use biomistral_nlu_kernels::params::{GemmParams, HeadSomeParams, LoraPart, QkvParams, Weight};
use biomistral_nlu_kernels::table::{self, Kernel};
use biomistral_nlu_kernels::{int8_position, int8_row};
use half::bf16;
use std::ops::Range;

/// Epilogues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Store,
    Add,
    Swiglu,
    /// `H`, `G`, `D`.
    Qkv(usize, usize, usize),
    Logits,
}

/// Which kernel computes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    Gemm,
    /// Index of the bucket.
    Skinny(usize),
}

/// A low-rank update of weight `weight`.
#[derive(Debug, Clone)]
pub struct Lora {
    pub rows: Range<usize>,
    pub rank: usize,
    pub weight: usize,
}

/// Shapes of one product.
#[derive(Debug, Clone)]
pub struct Case {
    pub op: Op,
    pub int8: bool,
    pub m: usize,
    /// Columns of the product (`F` for SwiGLU; ignored for QKV).
    pub n: usize,
    pub k: usize,
    pub lora: Vec<Lora>,
    pub seed: u64,
    /// Rows padded to 64 elements, as the engine does; else oddly.
    pub dense: bool,
    /// Columns between the rows of an f32 output, which are dense in the engine.
    pub spare: usize,
}

/// One weight: what the device gets, and the same in f64.
struct Matrix {
    rows: usize,
    bf16: Vec<bf16>,
    int8: Vec<i8>,
    scale: Vec<f32>,
    exact: Vec<f64>,
}

/// Inputs of one case; rows can be taken out.
pub struct Data {
    case: Case,
    x: Vec<bf16>,
    weights: Vec<Matrix>,
    /// Per update: `u` `[m, rank]` and `b` `[rows, rank]`.
    lora: Vec<(Vec<bf16>, Vec<bf16>)>,
    /// What the output holds before.
    h: Vec<f32>,
    scale: f32,
    positions: Vec<u32>,
    slots: Vec<u32>,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

const POSITIONS: usize = 300;
const PAGES: usize = 6;

impl Case {
    pub fn new(op: Op, m: usize, n: usize, k: usize) -> Self {
        Self { op, int8: false, m, n, k, lora: Vec::new(), seed: 1, dense: false, spare: 0 }
    }
    pub fn int8(self) -> Self {
        Self { int8: true, ..self }
    }
    pub fn lora(mut self, rows: Range<usize>, rank: usize, weight: usize) -> Self {
        self.lora.push(Lora { rows, rank, weight });
        self
    }

    fn weight_rows(&self) -> Vec<usize> {
        match self.op {
            Op::Swiglu => vec![self.n; 2],
            Op::Qkv(h, g, d) => vec![h * d, g * d, g * d],
            _ => vec![self.n],
        }
    }
    /// Values per row of the output.
    pub fn columns(&self) -> usize {
        match self.op {
            Op::Swiglu => self.n,
            _ => self.weight_rows().iter().sum(),
        }
    }

    pub fn data(&self) -> Data {
        let mut random = Random::new(self.seed);
        let weights =
            self.weight_rows().into_iter().map(|rows| Matrix::new(rows, self.k, self.int8, &mut random)).collect();
        let x = random.bf16s(self.m * self.k);
        let rows = self.weight_rows();
        let lora =
            self.lora.iter().map(|l| (random.bf16s(self.m * l.rank), random.bf16s(rows[l.weight] * l.rank))).collect();
        let h = (0..self.m * self.columns()).map(|_| random.uniform()).collect();
        let half = if let Op::Qkv(_, _, d) = self.op { d / 2 } else { 1 };
        let angle = |i: usize| (i / half) as f64 * 10000f64.powf(-((i % half) as f64) / half as f64);
        let mut free: Vec<u32> = (0..64 * PAGES as u32).collect();
        let rows = if matches!(self.op, Op::Qkv(..)) { self.m } else { 0 };
        let slots = (0..rows).map(|_| free.swap_remove(random.below(free.len()))).collect();
        Data {
            x,
            weights,
            lora,
            h,
            scale: 0.75,
            positions: (0..self.m).map(|_| random.below(POSITIONS) as u32).collect(),
            slots,
            cos: (0..POSITIONS * half).map(|i| angle(i).cos() as f32).collect(),
            sin: (0..POSITIONS * half).map(|i| angle(i).sin() as f32).collect(),
            case: self.clone(),
        }
    }
}

impl Matrix {
    fn new(rows: usize, k: usize, int8: bool, random: &mut Random) -> Self {
        if !int8 {
            let bf16 = random.bf16s(rows * k);
            let exact = bf16.iter().map(|w| w.to_f64()).collect();
            return Self { rows, bf16, int8: Vec::new(), scale: Vec::new(), exact };
        }
        let scale: Vec<f32> = (0..rows).map(|_| (random.uniform() + 1.5) / 127.0).collect();
        let mut packed = vec![0i8; rows * int8_row(k)];
        let mut exact = vec![0.0; rows * k];
        for row in 0..rows {
            for i in 0..k {
                // -128 never comes of `quantize_row`, yet it is a bit pattern like any other.
                let w = (random.below(256) as i32 - 128) as i8;
                packed[row * int8_row(k) + int8_position(i)] = w;
                exact[row * k + i] = f64::from(w) * f64::from(scale[row]);
            }
        }
        Self { rows, bf16: Vec::new(), int8: packed, scale, exact }
    }
}

impl Data {
    /// The same inputs for row `row` alone.
    pub fn only(&self, row: usize) -> Self {
        let case = &self.case;
        let of = |values: &[bf16], width: usize| values[row * width..(row + 1) * width].to_vec();
        let kept: Vec<usize> = (0..case.lora.len()).filter(|&l| case.lora[l].rows.contains(&row)).collect();
        Self {
            x: of(&self.x, case.k),
            weights: self.weights.iter().map(Matrix::copy).collect(),
            lora: kept.iter().map(|&l| (of(&self.lora[l].0, case.lora[l].rank), self.lora[l].1.clone())).collect(),
            h: self.h[row * case.columns()..(row + 1) * case.columns()].to_vec(),
            positions: vec![self.positions[row]],
            slots: self.slots.get(row).copied().into_iter().collect(),
            cos: self.cos.clone(),
            sin: self.sin.clone(),
            scale: self.scale,
            case: Case {
                m: 1,
                lora: kept.iter().map(|&l| Lora { rows: 0..1, ..case.lora[l].clone() }).collect(),
                ..case.clone()
            },
        }
    }

    /// The output, `[m, columns]`, widened to f32; q, k and v side by side.
    pub fn run(&self, device: &Device, route: Route) -> Vec<f32> {
        let case = &self.case;
        // Odd paddings on purpose: a row start is 16-byte aligned and no more.
        let odd = if case.dense { 0 } else { 1 };
        let padded = |columns: usize, to: usize| columns.next_multiple_of(if case.dense { 64 } else { to }) + odd * to;
        let x = device.input(&self.x, case.k, padded(case.k, 8));
        let mut held = Vec::new();
        let mut weights = [Weight::default(); 3];
        for (weight, m) in weights.iter_mut().zip(&self.weights) {
            let (data, ld) = if case.int8 {
                let k = int8_row(case.k);
                (device.input(&m.int8, k, k + odd * 16), k + odd * 16)
            } else {
                (device.input(&m.bf16, case.k, padded(case.k, 8)), padded(case.k, 8))
            };
            let scale = device.array(&m.scale);
            *weight = Weight { data: data.address(), scale: scale.address(), ld: ld as i64 };
            held.extend([data, scale]);
        }
        let mut parts: Vec<u8> = Vec::new();
        for (l, (u, b)) in case.lora.iter().zip(&self.lora) {
            let ld = padded(l.rank, 8);
            let (u, b) = (device.input(u, l.rank, ld), device.input(b, l.rank, ld));
            let part = LoraPart {
                u: u.address(),
                b: b.address(),
                ldu: ld as i64,
                ldb: ld as i64,
                row_begin: l.rows.start as i32,
                row_end: l.rows.end as i32,
                rank: l.rank as i32,
                weight: l.weight as i32,
            };
            // SAFETY: the struct has no padding (four 8-byte, then four 4-byte fields).
            parts.extend(unsafe { std::mem::transmute::<LoraPart, [u8; 48]>(part) });
            held.extend([u, b]);
        }
        let parts = device.array(&parts);
        let gemm = GemmParams {
            x: x.address(),
            ldx: padded(case.k, 8) as i64,
            weights,
            lora: parts.address(),
            lora_count: case.lora.len() as i32,
            m: case.m as i32,
            n: case.columns() as i32,
            k: case.k as i32,
            scale: self.scale,
            ..GemmParams::default()
        };
        let columns = case.columns();
        let wide = |v: Vec<bf16>| v.into_iter().map(bf16::to_f32).collect();
        match case.op {
            Op::Add | Op::Logits => {
                // Dense rows, as the residual stream has: aligned to 16 bytes only if the width is.
                let ld = columns + case.spare;
                let out = device.output(&self.h, columns, ld);
                let params = GemmParams { out: out.address(), ldo: ld as i64, ..gemm };
                device.launch(self.kernel(route), &params);
                device.read(&out)
            }
            Op::Store | Op::Swiglu => {
                let ld = padded(columns, 8);
                let out = device.output(&vec![bf16::NAN; case.m * columns], columns, ld);
                let params = GemmParams { out: out.address(), ldo: ld as i64, ..gemm };
                device.launch(self.kernel(route), &params);
                wide(device.read(&out))
            }
            Op::Qkv(heads, kv_heads, head_dim) => {
                let (width, kv) = (heads * head_dim, kv_heads * head_dim);
                let ld = padded(width, 8);
                let q = device.output(&vec![bf16::NAN; case.m * width], width, ld);
                let empty = vec![bf16::NAN; PAGES * 64 * kv];
                let (k, v) = (device.output(&empty, kv, kv), device.output(&empty, kv, kv));
                let (positions, slots) = (device.array(&self.positions), device.array(&self.slots));
                let (cos, sin) = (device.array(&self.cos), device.array(&self.sin));
                let params = QkvParams {
                    gemm: GemmParams { out: q.address(), ldo: ld as i64, ..gemm },
                    k_cache: k.address(),
                    v_cache: v.address(),
                    slots: slots.address(),
                    positions: positions.address(),
                    cos: cos.address(),
                    sin: sin.address(),
                    heads: heads as i32,
                    kv_heads: kv_heads as i32,
                    head_dim: head_dim as i32,
                    reserved: 0,
                };
                device.launch(qkv_kernel(route, case.int8), &params);
                let (q, caches) = (device.read(&q), [device.read(&k), device.read(&v)]);
                let mut written = 0;
                let mut out = Vec::new();
                for row in 0..case.m {
                    out.extend_from_slice(&q[row * width..(row + 1) * width]);
                    let slot = self.slots[row] as usize;
                    for cache in &caches {
                        for head in 0..kv_heads {
                            let at = ((slot / 64 * kv_heads + head) * 64 + slot % 64) * head_dim;
                            out.extend_from_slice(&cache[at..at + head_dim]);
                            written += head_dim;
                        }
                    }
                }
                let touched: usize = caches.iter().map(|c| c.iter().filter(|v| !v.is_nan()).count()).sum();
                assert_eq!(touched, written, "slots of no row were written");
                wide(out)
            }
        }
    }

    /// Chosen logits, of all asks in order.
    pub fn run_some(&self, device: &Device, asks: &[(u32, &[u32])]) -> Vec<f32> {
        let (case, m) = (&self.case, &self.weights[0]);
        let ld = int8_row(case.k) + 16;
        let x = device.input(&self.x, case.k, ld);
        let data =
            if case.int8 { device.input(&m.int8, int8_row(case.k), ld) } else { device.input(&m.bf16, case.k, ld) };
        let scale = device.array(&m.scale);
        let ids: Vec<u32> = asks.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
        let mut first = 0;
        let mut flat = Vec::new();
        for (row, ids) in asks {
            flat.extend([first, ids.len() as u32, *row, 0]);
            first += ids.len() as u32;
        }
        let (ask, ids_) = (device.array(&flat), device.array(&ids));
        let out = device.output(&vec![f32::NAN; ids.len()], ids.len(), ids.len());
        let params = HeadSomeParams {
            x: x.address(),
            ldx: ld as i64,
            head: Weight { data: data.address(), scale: scale.address(), ld: ld as i64 },
            ask: ask.address(),
            ids: ids_.address(),
            out: out.address(),
            asks: asks.len() as i32,
            longest: asks.iter().map(|a| a.1.len()).max().unwrap_or(0) as i32,
            k: case.k as i32,
            reserved: 0,
        };
        device.launch(if case.int8 { &table::HEAD_SOME_INT8 } else { &table::HEAD_SOME }, &params);
        device.read(&out)
    }

    fn kernel(&self, route: Route) -> &'static Kernel<GemmParams> {
        let rows = [1, 16, 32, 64];
        let at = if let Route::Skinny(bucket) = route { rows[bucket] } else { 65 };
        match (self.case.op, route) {
            (Op::Add, _) => table::add(at, self.case.int8),
            (Op::Swiglu, _) => table::swiglu(at, self.case.int8),
            (Op::Logits, _) => table::logits(at, self.case.int8),
            (Op::Store, Route::Gemm) => &table::GEMM_STORE,
            (Op::Store, Route::Skinny(bucket)) => {
                [&table::SKINNY_STORE_8, &table::SKINNY_STORE_16, &table::SKINNY_STORE_32, &table::SKINNY_STORE_64]
                    [bucket]
            }
            (Op::Qkv(..), _) => unreachable!("has parameters of its own"),
        }
    }

    /// `Σ w x` and `Σ |w x|` of one row of one weight, updates included.
    fn product(&self, row: usize, weight: usize, column: usize) -> (f64, f64) {
        let (case, k) = (&self.case, self.case.k);
        let (mut sum, mut size) = (0.0, 0.0);
        let mut add = |a: f64, b: f64| {
            sum += a * b;
            size += (a * b).abs();
        };
        for i in 0..k {
            add(self.x[row * k + i].to_f64(), self.weights[weight].exact[column * k + i]);
        }
        for (l, (u, b)) in case.lora.iter().zip(&self.lora) {
            if l.weight == weight && l.rows.contains(&row) {
                for i in 0..l.rank {
                    add(u[row * l.rank + i].to_f64(), b[column * l.rank + i].to_f64());
                }
            }
        }
        (sum, size)
    }

    /// The output in f64 with its bound.
    ///
    /// f32 sums: every step of 16 products rounds or truncates 17 aligned terms to 2^-23 of the largest, and no partial sum is
    /// larger than `Σ|w x|`, so (k + rank + 32) · 2^-22 · `Σ|w x|` bounds them under every accumulation model; one missing
    /// product of hundreds is far outside. A bf16 store adds 2^-8 of the value.
    pub fn oracle(&self) -> Vec<Expected> {
        let case = &self.case;
        let steps = (case.k + case.lora.iter().map(|l| l.rank).sum::<usize>() + 32) as f64;
        let half = 1.0 / 256.0;
        let product = |row, weight, column| {
            let (value, size) = self.product(row, weight, column);
            Expected { value, within: steps * size / f64::from(1 << 22) }
        };
        let mut out = Vec::new();
        for row in 0..case.m {
            match case.op {
                Op::Store => out.extend((0..case.n).map(|n| {
                    let p = product(row, 0, n);
                    let (value, scale) = (p.value * f64::from(self.scale), f64::from(self.scale));
                    Expected { value, within: p.within * scale + half * value.abs() }
                })),
                Op::Add => out.extend((0..case.n).map(|n| {
                    let p = product(row, 0, n);
                    Expected { value: p.value + f64::from(self.h[row * case.n + n]), within: p.within + 1e-6 }
                })),
                Op::Logits => out.extend((0..case.n).map(|n| product(row, 0, n))),
                Op::Swiglu => out.extend((0..case.n).map(|n| {
                    let (g, u) = (product(row, 0, n), product(row, 1, n));
                    let silu = |g: f64| g / (1.0 + (-g).exp());
                    let value = silu(g.value) * u.value;
                    // |silu'| <= 1.1; ex2, rcp and three roundings are below 2^-19 together for |g| < 100.
                    let within = 1.1 * g.within * (u.value.abs() + u.within) + silu(g.value).abs() * u.within;
                    Expected { value, within: within + (half + 2e-6) * value.abs() + 1e-30 }
                })),
                Op::Qkv(heads, kv_heads, head_dim) => {
                    for (weight, count) in [heads, kv_heads, kv_heads].into_iter().enumerate() {
                        for at in 0..count * head_dim {
                            let (i, d2) = (at % head_dim, head_dim / 2);
                            let here = product(row, weight, at);
                            let (value, within) = if weight == 2 {
                                (here.value, here.within)
                            } else {
                                let other = product(row, weight, if i < d2 { at + d2 } else { at - d2 });
                                let angle = self.positions[row] as usize * d2 + i % d2;
                                let (cos, sin) = (f64::from(self.cos[angle]), f64::from(self.sin[angle]));
                                let sin = if i < d2 { -sin } else { sin };
                                (here.value * cos + other.value * sin, here.within + other.within + 1e-6)
                            };
                            out.push(Expected { value, within: within + half * value.abs() });
                        }
                    }
                }
            }
        }
        out
    }
}

impl Matrix {
    fn copy(&self) -> Self {
        Self {
            rows: self.rows,
            bf16: self.bf16.clone(),
            int8: self.int8.clone(),
            scale: self.scale.clone(),
            exact: self.exact.clone(),
        }
    }
}

fn qkv_kernel(route: Route, int8: bool) -> &'static Kernel<QkvParams> {
    match route {
        Route::Gemm => table::qkv(65, int8),
        Route::Skinny(bucket) => table::qkv([1, 16, 32, 64][bucket], int8),
    }
}
