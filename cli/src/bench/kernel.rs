//! `bmn bench kernel`: one operation of the CUDA device alone, checked against float64 and timed with a cold cache.

use crate::args::BenchKernel;
use crate::stop::{Result, Stop};
use biomistral_nlu::Result as Done;
use biomistral_nlu::device::cuda::{Buffer, Cuda, CudaMatrix, CudaOptions};
use biomistral_nlu::device::{
    Attention, Device, DeviceChoice, HostMatrix, Layout, Linear, RopeTable, RowSelection, SequenceRows,
};
use biomistral_nlu::weights::MatrixData;
use half::bf16;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{Write, stdout};

/// Times measured, of which the median counts.
const TIMES: usize = 30;
/// Rows that are checked at most: float64 on the host takes its time.
const CHECKED: usize = 4;

/// Sizes by letter.
type Sizes = &'static [(&'static str, usize)];

/// The operations, and the sizes each of them has by default.
const KERNELS: [(&str, Sizes, Measure); 7] = [
    ("embed", &[("T", 2048), ("V", 32000), ("C", 4096)], embed),
    ("rms_norm", &[("T", 2048), ("C", 4096)], rms_norm),
    ("linear_add", &[("T", 1), ("N", 4096), ("K", 4096)], linear_add),
    ("gate_up", &[("T", 1), ("F", 14336), ("C", 4096)], gate_up),
    ("attention", &[("T", 1), ("S", 2047), ("H", 32), ("G", 8), ("D", 128)], attention),
    ("head_all", &[("V", 32000), ("C", 4096)], head_all),
    ("head_lse", &[("T", 64), ("V", 32000), ("C", 4096)], head_lse),
];

type Measure = fn(&Bench<'_>, &Shape) -> Done<Measured>;

struct Bench<'c> {
    cuda: &'c Cuda,
    timed: bool,
}

struct Measured {
    /// Largest error of some rows, over the largest value.
    error: f64,
    /// What that may be.
    tolerance: f64,
    milliseconds: Option<f64>,
    /// Input read once and output written once.
    bytes: usize,
    flops: usize,
}

#[derive(Serialize)]
struct Report<'r> {
    kernel: &'r str,
    device: &'r str,
    shape: &'r BTreeMap<String, usize>,
    error: f64,
    tolerance: f64,
    bytes: usize,
    flops: usize,
    milliseconds: Option<f64>,
    gb_per_second: Option<f64>,
    tflop_per_second: Option<f64>,
    of_roof: Option<f64>,
}

struct Shape(BTreeMap<String, usize>);

impl Shape {
    /// `T=64,N=4096` over the sizes of the operation.
    fn read(text: &str, defaults: &[(&str, usize)]) -> Result<Self> {
        let mut sizes: BTreeMap<String, usize> = defaults.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let wrong = || {
                let names = defaults.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
                Stop::usage(format!("--shape: expected NAME=N with sizes {names}, found {part:?}"))
            };
            let (name, n) = part.split_once('=').ok_or_else(wrong)?;
            let n = n.parse().ok().filter(|n| (1..=1 << 20).contains(n)).ok_or_else(wrong)?;
            *sizes.get_mut(name).ok_or_else(wrong)? = n;
        }
        Ok(Shape(sizes))
    }

    fn of<const N: usize>(&self, names: [&str; N]) -> [usize; N] {
        names.map(|name| self.0.get(name).copied().unwrap_or(1))
    }
}

/// Runs `bmn bench kernel`.
pub fn kernel(args: &BenchKernel) -> Result<()> {
    let Some((name, defaults, measure)) = KERNELS.iter().find(|(name, ..)| *name == args.name) else {
        let names = KERNELS.map(|(name, ..)| name).join(", ");
        return Err(Stop::usage(format!("bench kernel: expected one of {names}, found {:?}", args.name)));
    };
    let shape = Shape::read(&args.shape, defaults)?;
    let ordinal = match args.device {
        DeviceChoice::Cuda(ordinal) => ordinal,
        DeviceChoice::Auto => 0,
        DeviceChoice::Cpu => return Err(Stop::usage("bench kernel: expected a CUDA device, found cpu")),
    };
    let cuda = Cuda::open(&CudaOptions { ordinal, ..CudaOptions::default() })?;
    let roof = cuda.roof()?;
    let m = measure(&Bench { cuda: &cuda, timed: !args.verify }, &shape)?;
    let rate = |n: usize| m.milliseconds.map(|ms| n as f64 / (ms * 1e-3));
    let least = (m.bytes as f64 / roof.bytes).max(m.flops as f64 / roof.flops);
    let report = Report {
        kernel: name,
        device: &cuda.info().name,
        shape: &shape.0,
        error: m.error,
        tolerance: m.tolerance,
        bytes: m.bytes,
        flops: m.flops,
        milliseconds: m.milliseconds,
        gb_per_second: rate(m.bytes).map(|r| r / 1e9),
        tflop_per_second: rate(m.flops).map(|r| r / 1e12),
        of_roof: m.milliseconds.map(|ms| least / (ms * 1e-3)),
    };
    let text = if args.json {
        serde_json::to_string(&report).map_err(|e| Stop::failed(format!("report: {e}")))? + "\n"
    } else {
        table(&report)
    };
    let mut out = stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| Stop::write("stdout", &e))?;
    if m.error <= m.tolerance {
        return Ok(());
    }
    Err(Stop::failed(format!("{name}: the error is {:.1e}, {:.1e} is the most it may be", m.error, m.tolerance)))
}

fn table(r: &Report<'_>) -> String {
    let shape: Vec<String> = r.shape.iter().map(|(name, n)| format!("{name}={n}")).collect();
    let head = format!(
        "{} {} on {}\nerror      {:.1e} of at most {:.1e}\n",
        r.kernel,
        shape.join(","),
        r.device,
        r.error,
        r.tolerance
    );
    match (r.milliseconds, r.gb_per_second, r.tflop_per_second, r.of_roof) {
        (Some(ms), Some(gb), Some(tflop), Some(of)) => {
            format!(
                "{head}time       {ms:.4} ms\nrate       {gb:.1} GB/s, {tflop:.2} TFLOP/s\nroof       {:.0} %\n",
                100.0 * of
            )
        }
        _ => head,
    }
}

impl Bench<'_> {
    /// Median milliseconds; none where nobody wants to know.
    fn time(&self, mut run: impl FnMut() -> Done<()>) -> Done<Option<f64>> {
        if !self.timed {
            return Ok(None);
        }
        let mut times = Vec::with_capacity(TIMES);
        for _ in 0..5 {
            self.cuda.milliseconds(&mut run)?;
        }
        for _ in 0..TIMES {
            times.push(self.cuda.milliseconds(&mut run)?);
        }
        times.sort_by(f64::total_cmp);
        Ok(Some((times[(TIMES - 1) / 2] + times[TIMES / 2]) / 2.0))
    }

    fn matrix(&self, values: &[bf16], rows: usize, cols: usize) -> Done<CudaMatrix> {
        self.cuda.matrix(HostMatrix { data: MatrixData::Owned(values.to_vec()), rows, cols })
    }

    fn rows(&self, values: &[bf16], columns: usize) -> Done<Buffer<bf16>> {
        let mut buffer = self.cuda.buffer(0)?;
        self.cuda.write_rows(&mut buffer, values, columns)?;
        Ok(buffer)
    }

    fn vector(&self, values: &[f32]) -> Done<Buffer<f32>> {
        let mut buffer = self.cuda.buffer(values.len())?;
        self.cuda.write(&mut buffer, 0, values)?;
        Ok(buffer)
    }

    /// A row of the residual stream, whose rows are `channels` long where that is a multiple of four.
    fn residual(&self, h: &Buffer<f32>, row: usize, channels: usize) -> Done<Vec<f32>> {
        let mut values = vec![0f32; channels];
        self.cuda.read(h, row * channels.next_multiple_of(4), &mut values)?;
        Ok(values)
    }
}

fn embed(b: &Bench<'_>, s: &Shape) -> Done<Measured> {
    let [t, v, c] = s.of(["T", "V", "C"]);
    let values = noise(1, v * c);
    let table = b.matrix(&values, v, c)?;
    let tokens: Vec<u32> = (0..t).map(|i| (i * 7919 % v) as u32).collect();
    let mut h = b.cuda.buffer(0)?;
    b.cuda.embed(&table, &tokens, &mut h)?;
    let mut error = 0f64;
    for row in some(t) {
        let want = &values[tokens[row] as usize * c..][..c];
        let got = b.residual(&h, row, c)?;
        error = error.max(distance(got.iter().zip(want).map(|(g, w)| (f64::from(*g), f64::from(w.to_f32())))));
    }
    let milliseconds = b.time(|| b.cuda.embed(&table, &tokens, &mut h))?;
    Ok(Measured { error, tolerance: 0.0, milliseconds, bytes: t * c * 6, flops: 0 })
}

fn rms_norm(b: &Bench<'_>, s: &Shape) -> Done<Measured> {
    let [t, c] = s.of(["T", "C"]);
    let ld = c.next_multiple_of(4);
    let values: Vec<f32> = noise(1, t * ld).iter().map(|v| v.to_f32()).collect();
    let weights: Vec<f32> = noise(2, c).iter().map(|v| v.to_f32()).collect();
    let (h, w) = (b.vector(&values)?, b.vector(&weights)?);
    let mut x = b.cuda.buffer(0)?;
    b.cuda.rms_norm(&h, &w, 1e-5, RowSelection::All(t), &mut x, 0)?;
    let mut error = 0f64;
    for row in some(t) {
        let h = &values[row * ld..][..c];
        let square = h.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / c as f64;
        let want = h.iter().zip(&weights).map(|(h, w)| f64::from(*h) * f64::from(*w) / (square + 1e-5).sqrt());
        let got = b.cuda.read_row(&x, row, c)?;
        error = error.max(distance(got.iter().map(|g| f64::from(g.to_f32())).zip(want)));
    }
    let milliseconds = b.time(|| b.cuda.rms_norm(&h, &w, 1e-5, RowSelection::All(t), &mut x, 0))?;
    Ok(Measured { error, tolerance: BF16, milliseconds, bytes: t * c * 6 + 4 * c, flops: 4 * t * c })
}

fn linear_add(b: &Bench<'_>, s: &Shape) -> Done<Measured> {
    let [t, n, k] = s.of(["T", "N", "K"]);
    let (w, x) = (noise(1, n * k), noise(2, t * k));
    let (weight, input) = (b.matrix(&w, n, k)?, b.rows(&x, k)?);
    let mut h = b.cuda.buffer(t * n.next_multiple_of(4))?;
    let linear = || Linear { weight: &weight, lora: &[] };
    b.cuda.linear_add(&input, linear(), t, &mut h)?;
    let mut error = 0f64;
    for row in some(t) {
        let got = b.residual(&h, row, n)?;
        let want = w.chunks_exact(k).map(|w| dot(&x[row * k..][..k], w));
        error = error.max(distance(got.into_iter().map(f64::from).zip(want)));
    }
    let milliseconds = b.time(|| b.cuda.linear_add(&input, linear(), t, &mut h))?;
    let bytes = 2 * (n * k + t * k) + 8 * t * n;
    Ok(Measured { error, tolerance: sums(k), milliseconds, bytes, flops: 2 * t * n * k })
}

fn gate_up(b: &Bench<'_>, s: &Shape) -> Done<Measured> {
    let [t, f, c] = s.of(["T", "F", "C"]);
    let (g, u, x) = (noise(1, f * c), noise(2, f * c), noise(3, t * c));
    let (gate, up, input) = (b.matrix(&g, f, c)?, b.matrix(&u, f, c)?, b.rows(&x, c)?);
    let mut a = b.cuda.buffer(0)?;
    let mut run = || {
        let linear = |weight| Linear { weight, lora: &[] };
        b.cuda.gate_up(&input, linear(&gate), linear(&up), t, &mut a)
    };
    run()?;
    let milliseconds = b.time(run)?;
    let mut error = 0f64;
    for row in some(t) {
        let x = &x[row * c..][..c];
        let want = g.chunks_exact(c).zip(u.chunks_exact(c)).map(|(g, u)| {
            let (g, u) = (dot(x, g), dot(x, u));
            g / (1.0 + (-g).exp()) * u
        });
        let got = b.cuda.read_row(&a, row, f)?;
        error = error.max(distance(got.iter().map(|g| f64::from(g.to_f32())).zip(want)));
    }
    let bytes = 2 * (2 * f * c + t * c + t * f);
    Ok(Measured { error, tolerance: BF16, milliseconds, bytes, flops: 4 * t * f * c })
}

/// Keys and values reach the cache through projections that pick them out of `x = [q | k | v]`, turned by an angle of zero.
fn attention(b: &Bench<'_>, s: &Shape) -> Done<Measured> {
    let [t, cached, h, g, d] = s.of(["T", "S", "H", "G", "D"]);
    if d % 2 != 0 || h % g != 0 || t > 1024 {
        let what = "attention: expected an even D, H a multiple of G, and at most 1024 rows as a pass has";
        return Err(biomistral_nlu::Error::invalid(what));
    }
    let (keys, width) = (cached + t, (h + 2 * g) * d);
    let pick = |first: usize, rows: usize| {
        let mut values = vec![bf16::ZERO; rows * width];
        (0..rows).for_each(|r| values[r * width + first + r] = bf16::ONE);
        b.matrix(&values, rows, width)
    };
    let weights = [pick(0, h * d)?, pick(h * d, g * d)?, pick((h + g) * d, g * d)?];
    let x = noise(1, keys * width);
    let table = |value| b.vector(&vec![value; keys * d / 2]);
    let rope = RopeTable::<Cuda> { cos: table(1.0)?, sin: table(0.0)?, positions: keys };
    let mut kv = b.cuda.kv(1, g, d)?;
    let page = b.cuda.kv_page();
    b.cuda.kv_reserve(&mut kv, keys.div_ceil(page))?;
    let pages: Vec<u32> = (0..keys.div_ceil(page) as u32).collect();
    let layout = |cached: usize, chain: usize| Layout {
        positions: (cached..cached + chain).map(|p| p as u32).collect(),
        sequences: vec![SequenceRows { row: 0, cached, chain, tree: Vec::new(), pages: pages.clone() }],
    };
    let mut q = b.cuda.buffer(0)?;
    let before = (0..cached).step_by(1024).map(|first| (first, 1024.min(cached - first)));
    for (first, rows) in before.chain([(cached, t)]) {
        let (input, layout) = (b.rows(&x[first * width..][..rows * width], width)?, layout(first, rows));
        let mut at = Attention::<Cuda> { kv: &mut kv, layer: 0, layout: &layout, heads: h, window: None };
        let linear = weights.each_ref().map(|weight| Linear { weight, lora: &[] });
        b.cuda.qkv(&input, linear, &rope, &mut at, &mut q)?;
    }
    let (mut o, layout) = (b.cuda.buffer(0)?, layout(cached, t));
    let mut run = || {
        let mut at = Attention::<Cuda> { kv: &mut kv, layer: 0, layout: &layout, heads: h, window: None };
        b.cuda.attention(&q, &mut at, &mut o)
    };
    run()?;
    let milliseconds = b.time(run)?;
    let part = |key: usize, first: usize| &x[key * width + first..][..d];
    let mut error = 0f64;
    for row in some(t) {
        let got = b.cuda.read_row(&o, row, h * d)?;
        for head in [0, h - 1] {
            let kv_head = head / (h / g) * d;
            let seen = cached + row + 1;
            let scores: Vec<f64> = (0..seen)
                .map(|key| dot(part(cached + row, head * d), part(key, h * d + kv_head)) / (d as f64).sqrt())
                .collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scores.iter().map(|s| (s - most).exp()).sum();
            let mut want = vec![0f64; d];
            for (key, score) in scores.iter().enumerate() {
                let p = (score - most).exp() / sum;
                let v = part(key, (h + g) * d + kv_head);
                want.iter_mut().zip(v).for_each(|(w, v)| *w += p * f64::from(v.to_f32()));
            }
            let got = got[head * d..][..d].iter().map(|g| f64::from(g.to_f32()));
            error = error.max(distance(got.zip(want)));
        }
    }
    let bytes = 4 * t * h * d + 4 * keys * g * d;
    let pairs: usize = (0..t).map(|row| cached + row + 1).sum();
    // Weights and results are rounded to bf16.
    Ok(Measured { error, tolerance: 2.0 * BF16, milliseconds, bytes, flops: 4 * pairs * h * d })
}

fn head_all(b: &Bench<'_>, s: &Shape) -> Done<Measured> {
    let [v, c] = s.of(["V", "C"]);
    let (w, x) = (noise(1, v * c), noise(2, c));
    let (head, input) = (b.matrix(&w, v, c)?, b.rows(&x, c)?);
    let got = b.cuda.head_all(&input, &head, 0)?;
    let error = distance(got.into_iter().map(f64::from).zip(w.chunks_exact(c).map(|w| dot(&x, w))));
    let milliseconds = b.time(|| b.cuda.head_all(&input, &head, 0).map(drop))?;
    Ok(Measured { error, tolerance: sums(c), milliseconds, bytes: 2 * (v * c + c) + 4 * v, flops: 2 * v * c })
}

fn head_lse(b: &Bench<'_>, s: &Shape) -> Done<Measured> {
    let [t, v, c] = s.of(["T", "V", "C"]);
    let (w, x) = (noise(1, v * c), noise(2, t * c));
    let (head, input) = (b.matrix(&w, v, c)?, b.rows(&x, c)?);
    let rows: Vec<u32> = (0..t as u32).collect();
    let got = b.cuda.head_lse(&input, &head, &rows)?;
    let want = |row: usize| {
        let logits: Vec<f64> = w.chunks_exact(c).map(|w| dot(&x[row * c..][..c], w)).collect();
        let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        most + logits.iter().map(|l| (l - most).exp()).sum::<f64>().ln()
    };
    let error = distance(some(t).map(|row| (got[row], want(row))));
    let milliseconds = b.time(|| b.cuda.head_lse(&input, &head, &rows).map(drop))?;
    let bytes = 2 * (v * c + t * c) + 8 * t;
    Ok(Measured { error, tolerance: sums(c), milliseconds, bytes, flops: 2 * t * v * c })
}

/// One rounding to bf16, twice.
const BF16: f64 = 1.0 / 128.0;

/// `k` additions in f32, each rounded; tensor cores drop bits below the largest addend.
fn sums(k: usize) -> f64 {
    1e-5 + k as f64 * f64::from(f32::EPSILON)
}

/// Values in -1..1 that depend on `seed` alone.
fn noise(seed: u64, len: usize) -> Vec<bf16> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bf16::from_f32((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0)
    };
    (0..len).map(|_| next()).collect()
}

fn dot(a: &[bf16], b: &[bf16]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a.to_f32()) * f64::from(b.to_f32())).sum()
}

/// Rows spread over `0..t`, the first and the last among them.
fn some(t: usize) -> impl Iterator<Item = usize> {
    let count = t.min(CHECKED);
    (0..count).map(move |i| i * (t - 1) / count.saturating_sub(1).max(1))
}

/// Largest distance over the largest value that should be.
fn distance(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (error, scale) =
        pairs.fold((0f64, 0f64), |(error, scale), (got, want)| (error.max((got - want).abs()), scale.max(want.abs())));
    error / scale.max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_read_over_the_defaults() {
        let read = |text| Shape::read(text, &[("T", 1), ("C", 4096)]).map(|s| s.of(["T", "C"]));
        assert_eq!(read("").unwrap(), [1, 4096]);
        assert_eq!(read("C=7,T=129").unwrap(), [129, 7]);
        for wrong in ["T", "T=", "T=0", "X=1", "T=-1", "T=1.5", "T:1"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn checked_rows_include_the_ends() {
        assert_eq!(some(1).collect::<Vec<_>>(), [0]);
        let rows: Vec<usize> = some(130).collect();
        assert!(rows.first() == Some(&0) && rows.last() == Some(&129) && rows.len() == CHECKED);
    }
}
