//! Speed of the CPU device's training operations in GFLOP/s, best of many, at the shapes of the demo model.
//!
//! `cargo run --release -p biomistral-nlu --example training_kernels [threads ...]`; `--cross-entropy THREADS` prints that one's
//! seconds and the peak of its memory as JSON.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use biomistral_nlu::device::cpu::{Buffer, Cpu, CpuMatrix, CpuOptions};
use biomistral_nlu::device::{Backward, Device, HostMatrix, LossGradient, Output, PackedRows, Term};
use biomistral_nlu::weights::MatrixData;
use half::bf16;
use std::time::Instant;

const T: usize = 1024;

fn values(len: usize) -> Vec<bf16> {
    (0..len).map(|i| bf16::from_f32(((i * 7919) % 31) as f32 / 64.0 - 0.23)).collect()
}

fn matrix(cpu: &Cpu, rows: usize, cols: usize) -> CpuMatrix {
    cpu.matrix(HostMatrix { data: MatrixData::Owned(values(rows * cols)), rows, cols }).unwrap()
}

fn halves(cpu: &Cpu, len: usize) -> Buffer<bf16> {
    let mut buffer = cpu.buffer(len).unwrap();
    cpu.write(&mut buffer, 0, &values(len)).unwrap();
    buffer
}

/// Seconds that this thread has run: what other processes take does not count.
fn own_seconds() -> f64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a timespec to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// One thread by its own clock, several by the wall's.
fn report(threads: usize, what: &str, flops: usize, runs: usize, mut run: impl FnMut()) {
    let origin = Instant::now();
    let now = || if threads == 1 { own_seconds() } else { origin.elapsed().as_secs_f64() };
    run();
    let seconds = (0..runs).map(|_| {
        let start = now();
        run();
        now() - start
    });
    let best = seconds.fold(f64::INFINITY, f64::min);
    println!("{what:40} {:8.2} ms {:7.1} GFLOP/s", best * 1e3, flops as f64 / best / 1e9);
}

/// MiB that this process has, or had at most since the mark was reset.
fn memory(key: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn cross_entropy(threads: usize) {
    let cpu = Cpu::new(CpuOptions { threads: Some(threads), isa: None }).unwrap();
    let (v, c) = (49_152, 576);
    let (head, x) = (matrix(&cpu, v, c), halves(&cpu, T * c));
    let mut dx = cpu.buffer(T * c).unwrap();
    cpu.write(&mut dx, 0, &vec![1.0; T * c]).unwrap();
    let targets: Vec<u32> = (0..T as u32).collect();
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS");
    let mut seconds: Vec<f64> = (0..4)
        .map(|_| {
            let start = Instant::now();
            let gradient = LossGradient { weight: 1.0, dx: &mut dx, dhead: None };
            cpu.pass(|| cpu.cross_entropy(&x, &head, &targets, Some(gradient))).unwrap();
            start.elapsed().as_secs_f64()
        })
        .skip(1)
        .collect();
    seconds.sort_by(f64::total_cmp);
    println!("{{\"seconds\": {}, \"mib\": {}}}", seconds[1], memory("VmHWM") - before);
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("--cross-entropy") {
        return cross_entropy(std::env::args().nth(2).unwrap().parse().unwrap());
    }
    let threads: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    for threads in if threads.is_empty() { vec![1, 2] } else { threads } {
        let cpu = Cpu::new(CpuOptions { threads: Some(threads), isa: None }).unwrap();
        println!("{} on {threads} threads, {T} rows", cpu.fingerprint());
        for (n, k) in [(576, 576), (1536, 576), (576, 1536)] {
            let (weight, x, dy) = (matrix(&cpu, n, k), halves(&cpu, T * k), halves(&cpu, T * n));
            let (mut y, mut dx, mut dw) =
                (cpu.buffer::<f32>(T * n).unwrap(), cpu.buffer::<f32>(T * k).unwrap(), cpu.buffer(n * k).unwrap());
            let flops = 2 * T * n * k;
            cpu.pass(|| {
                report(threads, &format!("linear {n}x{k}"), flops, 10, || {
                    let terms = [Term { x: &x, weight: &weight }];
                    cpu.linear(&terms, T, 1.0, Output::Store(&mut y)).unwrap();
                });
                report(threads, &format!("linear_dx {n}x{k}"), flops, 10, || {
                    let terms = [Term { x: &dy, weight: &weight }];
                    cpu.linear_dx(&terms, T, 1.0, Output::Store(&mut dx)).unwrap();
                });
                report(threads, &format!("linear_dw {n}x{k}"), flops, 10, || {
                    cpu.linear_dw((&dy, n), (&x, k), T, &mut dw).unwrap();
                });
                Ok(())
            })
            .unwrap();
        }
        for (n, k) in [(16, 576), (16, 1536)] {
            let (a, x, du) = (matrix(&cpu, n, k), halves(&cpu, T * k), halves(&cpu, T * n));
            let (mut u, mut da) = (cpu.buffer::<bf16>(T * n).unwrap(), cpu.buffer(n * k).unwrap());
            cpu.pass(|| {
                report(threads, &format!("u = x A, {n}x{k}"), 2 * T * n * k, 10, || {
                    cpu.linear(&[Term { x: &x, weight: &a }], T, 2.0, Output::Round(&mut u)).unwrap();
                });
                report(threads, &format!("dA, {n}x{k}"), 2 * T * n * k, 10, || {
                    cpu.linear_dw((&du, n), (&x, k), T, &mut da).unwrap();
                });
                Ok(())
            })
            .unwrap();
        }
        let (v, c) = (49_152, 576);
        let (head, x) = (matrix(&cpu, v, c), halves(&cpu, T * c));
        let mut dx = cpu.buffer(T * c).unwrap();
        let targets: Vec<u32> = (0..T as u32).collect();
        cpu.pass(|| {
            report(threads, "cross-entropy and its gradient", 4 * T * v * c, 2, || {
                let gradient = LossGradient { weight: 1.0, dx: &mut dx, dhead: None };
                cpu.cross_entropy(&x, &head, &targets, Some(gradient)).unwrap();
            });
            Ok(())
        })
        .unwrap();
        for length in [128, 1024] {
            let (heads, kv_heads, head_dim) = (9, 3, 64);
            let examples: Vec<_> = (0..T).step_by(length).map(|start| start..start + length).collect();
            let rows = PackedRows { examples: &examples, heads, kv_heads, head_dim, window: None };
            let (q, k, d_o) = (halves(&cpu, T * 576), halves(&cpu, T * 192), halves(&cpu, T * 576));
            let (mut o, mut lse) = (cpu.buffer(T * 576).unwrap(), cpu.buffer(T * heads).unwrap());
            let [mut dq, mut dk, mut dv] = [576, 192, 192].map(|n| cpu.buffer(T * n).unwrap());
            let flops = 2 * T * length * heads * head_dim;
            cpu.pass(|| {
                report(threads, &format!("attention, length {length}"), flops, 10, || {
                    cpu.packed_attention([&q, &k, &k], &rows, &mut o, &mut lse).unwrap();
                });
                report(threads, &format!("attention backward, length {length}"), flops * 5 / 2, 10, || {
                    let d = [&mut dq, &mut dk, &mut dv];
                    cpu.packed_attention_backward([&q, &k, &k], (&o, &lse), &d_o, &rows, d).unwrap();
                });
                Ok(())
            })
            .unwrap();
        }
    }
}
