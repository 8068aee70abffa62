//! Times attention of one layer against the peak of the machine's bf16 dot products, single-threaded unless told:
//! `cargo run --release --example attention_speed [threads]`.

use biomistral_nlu::Result;
use biomistral_nlu::device::cpu::{Cpu, CpuOptions, Isa};
use biomistral_nlu::device::{Attention, Device, Layout, SequenceRows};
use half::bf16;
use std::time::Instant;

/// Seconds this thread computed (others may want the processor too), or passed when more threads compute.
fn seconds(threads: usize) -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let clock = if threads == 1 { libc::CLOCK_THREAD_CPUTIME_ID } else { libc::CLOCK_MONOTONIC };
    // SAFETY: `time` is valid for writing.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Name, `H`, `G`, `D`.
const MODELS: [(&str, usize, usize, usize); 2] = [("SmolLM2-135M", 9, 3, 64), ("Mistral-7B", 32, 8, 128)];

#[allow(clippy::print_stdout)]
fn main() -> Result<()> {
    let threads = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1);
    let filter = std::env::args().nth(2).unwrap_or_default();
    for isa in [Isa::Avx512Bf16, Isa::Avx2, Isa::Portable].into_iter().filter(|&isa| isa <= Isa::detect()) {
        for (name, heads, kv_heads, head_dim) in MODELS {
            for (cached, rows) in [(0, 512), (0, 2048), (512, 1), (8192, 1), (512, 40)] {
                let title = format!("{isa:?} {name} {rows} rows after {cached}");
                if !title.contains(&filter) || (isa == Isa::Portable && rows > 512) {
                    continue;
                }
                let cpu = Cpu::new(CpuOptions { isa: Some(isa), threads: Some(threads) })?;
                let layout = Layout {
                    positions: (cached..cached + rows).map(|p| p as u32).collect(),
                    sequences: vec![SequenceRows {
                        row: 0,
                        cached,
                        chain: rows,
                        tree: Vec::new(),
                        pages: (0..(cached + rows).div_ceil(cpu.kv_page()) as u32).collect(),
                    }],
                };
                let time = measure(&cpu, &layout, heads, kv_heads, head_dim)?;
                let keys: usize = layout.positions.iter().map(|&p| p as usize + 1).sum();
                let flops = (4 * keys * heads * head_dim) as f64;
                let bytes = (4 * (cached + rows) * kv_heads * head_dim) as f64;
                println!(
                    "{title}: {:.1} us, {:.1} GFLOP/s ({:.0} % of {threads} x peak), {:.1} GB/s of keys and values; writing {:.1} us",
                    time.attention * 1e6,
                    flops / time.attention / 1e9,
                    100.0 * flops / time.attention / time.peak / threads as f64,
                    bytes / time.attention / 1e9,
                    time.write * 1e6
                );
            }
        }
    }
    Ok(())
}

struct Times {
    attention: f64,
    write: f64,
    /// FLOP/s of one thread.
    peak: f64,
}

/// Best of many, the peak taken between them.
fn measure(cpu: &Cpu, layout: &Layout, heads: usize, kv_heads: usize, head_dim: usize) -> Result<Times> {
    let rows = layout.rows();
    let mut kv = cpu.kv(1, kv_heads, head_dim)?;
    cpu.kv_reserve(&mut kv, layout.sequences[0].pages.len())?;
    let mut state = 1u32;
    let mut random = |len: usize| -> Vec<f32> {
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..len).map(|_| next()).collect()
    };
    let past = layout.sequences[0].cached;
    if past > 0 {
        let sequence = SequenceRows { cached: 0, chain: past, ..layout.sequences[0].clone() };
        let all = Layout { positions: (0..past as u32).collect(), sequences: vec![sequence] };
        kv.write(cpu.team(), 0, &all, &random(past * kv_heads * head_dim), &random(past * kv_heads * head_dim))?;
    }
    let (k, v) = (random(rows * kv_heads * head_dim), random(rows * kv_heads * head_dim));
    let mut q = cpu.buffer::<bf16>(rows * heads * head_dim)?;
    let values: Vec<bf16> = random(rows * heads * head_dim).into_iter().map(bf16::from_f32).collect();
    cpu.write(&mut q, 0, &values)?;
    let mut o = cpu.buffer::<bf16>(rows * heads * head_dim)?;
    let mut times = Times { attention: f64::MAX, write: f64::MAX, peak: 0.0 };
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < 1.0 {
        times.peak = times.peak.max(peak());
        let write = seconds(1);
        kv.write(cpu.team(), 0, layout, &k, &v)?;
        times.write = times.write.min(seconds(1) - write);
        for _ in 0..if rows > 100 { 1 } else { 30 } {
            let attention = seconds(cpu.team().threads());
            let mut at = Attention { kv: &mut kv, layer: 0, layout, heads, window: None };
            cpu.pass(|| cpu.attention(&q, &mut at, &mut o))?;
            times.attention = times.attention.min(seconds(cpu.team().threads()) - attention);
        }
    }
    Ok(times)
}

/// FLOP/s of bf16 dot products on registers alone, one thread; of f32 multiply-adds where there are none.
fn peak() -> f64 {
    const STEPS: usize = 20_000;
    let start = seconds(1);
    #[cfg(target_arch = "x86_64")]
    {
        if Isa::detect() == Isa::Avx512Bf16 {
            // SAFETY: the features were just found.
            unsafe { dot_products(STEPS) };
            return (STEPS * 24 * 64) as f64 / (seconds(1) - start);
        }
    }
    let mut x = std::hint::black_box([[0f32; 8]; 12]);
    for _ in 0..STEPS {
        x = x.map(|x| x.map(|x| x * 1.000_1 + 0.5));
    }
    std::hint::black_box(x);
    (STEPS * 12 * 8 * 2) as f64 / (seconds(1) - start)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
fn dot_products(steps: usize) {
    use std::arch::x86_64::*;
    // SAFETY: both are 512 bits, and all bits make values.
    let one: __m512bh = unsafe { std::mem::transmute(_mm512_set1_epi32(std::hint::black_box(0x3f80_3f80))) };
    let mut sums = [_mm512_setzero_ps(); 24];
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = _mm512_dpbf16_ps(*sum, one, one);
        }
    }
    std::hint::black_box(sums.map(|sum| _mm512_reduce_add_ps(sum)));
}
