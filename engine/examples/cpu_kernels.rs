//! Speed of the CPU device's projections beside the machine's limits, measured in the same run, best of many.
//!
//! `cargo run --release -p biomistral-nlu --example cpu_kernels [threads ...]`
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use biomistral_nlu::device::cpu::{Buffer, Cpu, CpuMatrix, CpuOptions};
use biomistral_nlu::device::{Device, HostMatrix, Linear};
use biomistral_nlu::weights::MatrixData;
use half::bf16;
use memmap2::{Mmap, MmapMut, MmapOptions};
use std::sync::Arc;
use std::time::Instant;

/// Seconds that this thread has run: what other processes take does not count.
fn own_seconds() -> f64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a timespec to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// Seconds of the fastest of `runs`; one thread by its own clock, several by the wall's.
fn best(threads: usize, runs: usize, mut run: impl FnMut()) -> f64 {
    let origin = Instant::now();
    let now = || if threads == 1 { own_seconds() } else { origin.elapsed().as_secs_f64() };
    let mut time = || {
        let start = now();
        run();
        now() - start
    };
    time();
    (0..runs).map(|_| time()).fold(f64::INFINITY, f64::min)
}

/// Bytes of small bf16 numbers, in large pages where the system grants them.
fn memory(bytes: usize) -> Arc<Mmap> {
    let mut map: MmapMut = MmapOptions::new().len(bytes).map_anon().unwrap();
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::HugePage);
    let values: &mut [bf16] = bytemuck::cast_slice_mut(&mut map);
    values.iter_mut().enumerate().for_each(|(i, x)| *x = bf16::from_f32(((i * 7919) % 31) as f32 / 64.0 - 0.23));
    Arc::new(map.make_read_only().unwrap())
}

/// Cuts matrices from one mapping.
struct Weights<'a> {
    cpu: &'a Cpu,
    map: Arc<Mmap>,
    offset: usize,
}

impl Weights<'_> {
    fn matrix(&mut self, rows: usize, cols: usize) -> CpuMatrix {
        let data = MatrixData::Mapped { map: self.map.clone(), offset: self.offset, len: rows * cols };
        self.offset += 2 * rows * cols;
        self.cpu.matrix(HostMatrix { data, rows, cols }).unwrap()
    }
}

fn plain(weight: &CpuMatrix) -> Linear<'_, Cpu> {
    Linear { weight, lora: &[] }
}

/// On each of `threads` threads at once; seconds of the slowest.
fn on_all(threads: usize, run: impl Fn(usize) + Sync) {
    if threads == 1 {
        return run(0);
    }
    std::thread::scope(|scope| {
        (0..threads).for_each(|i| {
            drop(scope.spawn({
                let run = &run;
                move || run(i)
            }))
        })
    });
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
fn products(rounds: usize) -> f32 {
    use std::arch::x86_64::*;
    // SAFETY: both are 64 bytes of plain data.
    let one: __m512bh = unsafe { std::mem::transmute(_mm512_set1_epi16(0x3f80)) };
    let mut sums = [_mm512_setzero_ps(); 12];
    for _ in 0..rounds {
        sums.iter_mut().for_each(|sum| *sum = _mm512_dpbf16_ps(*sum, one, one));
    }
    sums.iter().map(|&sum| _mm512_reduce_add_ps(sum)).sum()
}

/// GFLOP/s of dot products of bf16 in registers; none without AVX-512 BF16.
fn peak(threads: usize) -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512bf16") {
        let rounds = 2_000_000;
        // SAFETY: the machine has the instructions.
        let seconds = best(threads, 9, || on_all(threads, |_| _ = std::hint::black_box(unsafe { products(rounds) })));
        return Some((threads * rounds * 12 * 64) as f64 / seconds / 1e9);
    }
    None
}

/// GB/s of reading `map`.
fn bandwidth(threads: usize, map: &Mmap) -> f64 {
    let words: &[u64] = bytemuck::cast_slice(&map[..]);
    let share = words.len() / threads;
    let read = |i: usize| {
        let mut sums = [0u64; 64];
        for chunk in words[i * share..(i + 1) * share].as_chunks::<64>().0 {
            sums.iter_mut().zip(chunk).for_each(|(sum, word)| *sum |= word);
        }
        std::hint::black_box(sums);
    };
    (share * threads * 8) as f64 / best(threads, 7, || on_all(threads, read)) / 1e9
}

struct Model {
    name: &'static str,
    layers: usize,
    c: usize,
    f: usize,
    kv: usize,
    v: usize,
}

/// All projections of one pass of `t` rows, the head's normaliser for one row included: seconds and bytes.
fn pass(cpu: &Cpu, model: &Model, map: &Arc<Mmap>, t: usize) -> (f64, usize) {
    let Model { layers, c, f, kv, v, .. } = *model;
    let mut weights = Weights { cpu, map: map.clone(), offset: 0 };
    let layer =
        |w: &mut Weights<'_>| [w.matrix(c + 2 * kv, c), w.matrix(c, c), w.matrix(f, c), w.matrix(f, c), w.matrix(c, f)];
    let blocks: Vec<[CpuMatrix; 5]> = (0..layers).map(|_| layer(&mut weights)).collect();
    let head = weights.matrix(v, c);
    let x: Buffer<bf16> = cpu.buffer(t * f).unwrap();
    let mut a: Buffer<bf16> = cpu.buffer(t * f).unwrap();
    let mut h: Buffer<f32> = cpu.buffer(t * (c + 2 * kv)).unwrap();
    let seconds = best(cpu.team().threads(), 9, || {
        cpu.pass(|| {
            for [qkv, o, gate, up, down] in &blocks {
                cpu.linear_add(&x, plain(qkv), t, &mut h).unwrap();
                cpu.linear_add(&x, plain(o), t, &mut h).unwrap();
                cpu.gate_up(&x, plain(gate), plain(up), t, &mut a).unwrap();
                cpu.linear_add(&x, plain(down), t, &mut h).unwrap();
            }
            cpu.head_lse(&x, &head, &[0])
        })
        .unwrap();
    });
    (seconds, weights.offset)
}

fn main() {
    let mut threads: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    if threads.is_empty() {
        threads = vec![1, std::thread::available_parallelism().map_or(1, |n| n.get())];
    }
    let models = [
        Model { name: "SmolLM2-135M", layers: 30, c: 576, f: 1536, kv: 192, v: 49152 },
        Model { name: "two layers of 7B", layers: 2, c: 4096, f: 14336, kv: 1024, v: 32000 },
    ];
    let map = memory(2 << 30);
    for threads in threads {
        let cpu = Cpu::new(CpuOptions { threads: Some(threads), isa: None }).unwrap();
        println!("{threads} thread(s), {}", cpu.fingerprint());
        let peak = peak(threads).unwrap_or(f64::NAN);
        println!("  products in registers {peak:8.1} GFLOP/s");
        let t = 512;
        for (n, k) in [(576, 576), (1536, 576), (576, 1536), (4096, 4096), (14336, 4096), (4096, 14336)] {
            let weight = Weights { cpu: &cpu, map: map.clone(), offset: 0 }.matrix(n, k);
            let x: Buffer<bf16> = cpu.buffer(t * k).unwrap();
            let mut h: Buffer<f32> = cpu.buffer(t * n).unwrap();
            let runs = (20_000_000_000 / (2 * t * n * k)).clamp(3, 30);
            let seconds = best(threads, runs, || {
                cpu.pass(|| cpu.linear_add(&x, plain(&weight), t, &mut h)).unwrap();
            });
            let rate = (2 * t * n * k) as f64 / seconds / 1e9;
            println!("  T {t} N {n:5} K {k:5}  {rate:8.1} GFLOP/s  {:5.1} %", 100.0 * rate / peak);
        }
        let limit = bandwidth(threads, &map);
        println!("  reading               {limit:8.1} GB/s");
        for model in &models {
            for t in [1, 2, 4, 8, 9, 12, 16, 24, 32, 48, 64] {
                let (seconds, bytes) = pass(&cpu, model, &map, t);
                let rate = bytes as f64 / seconds / 1e9;
                println!(
                    "  {} T {t:2} {:8.2} ms {rate:6.1} GB/s  {:5.1} %",
                    model.name,
                    seconds * 1e3,
                    100.0 * rate / limit
                );
            }
        }
    }
}
