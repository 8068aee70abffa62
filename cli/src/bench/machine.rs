//! What the machine itself can do: bytes read and bf16 products per second, the roof that model speeds are held against.

use std::hint::black_box;
use std::time::Instant;

/// Memory far larger than the caches, to read through: a share of it per thread.
pub struct Memory(Vec<Vec<u64>>);

impl Memory {
    /// 512 MiB for `threads` threads.
    pub fn new(threads: usize) -> Self {
        let words = (512usize << 20) / 8 / threads;
        Self((0..threads).map(|i| vec![i as u64 + 1; words]).collect())
    }

    /// Reads all of it, whole passes for at least `seconds`; returns bytes read and the seconds that took.
    pub fn read(&self, seconds: f64) -> (f64, f64) {
        let pass: usize = self.0.iter().map(|words| 8 * words.len()).sum();
        let (start, mut bytes) = (Instant::now(), 0.0);
        loop {
            std::thread::scope(|scope| {
                for words in &self.0 {
                    scope.spawn(|| black_box(sum(words)));
                }
            });
            bytes += pass as f64;
            let taken = start.elapsed().as_secs_f64();
            if taken >= seconds {
                return (bytes, taken);
            }
        }
    }
}

/// Independent sums, so that reading and not adding is what takes time.
fn sum(words: &[u64]) -> u64 {
    let mut sums = [0u64; 64];
    for line in words.chunks_exact(64) {
        for (sum, word) in sums.iter_mut().zip(line) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.iter().fold(0, |a, b| a.wrapping_add(*b))
}

/// Operations (two per product) per second of bf16 dot products on registers alone, all threads together; of f32
/// multiply-adds where the processor has no bf16 ones.
pub fn bf16_rate(threads: usize) -> f64 {
    // Long beside the start of a thread and the ramp of the clock.
    const STEPS: usize = 12_000_000;
    let pass = || {
        let start = Instant::now();
        let operations: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| products(STEPS))).collect();
            workers.into_iter().map(|worker| worker.join().unwrap_or(0)).sum()
        });
        operations as f64 / start.elapsed().as_secs_f64()
    };
    (0..6).map(|_| pass()).fold(0.0, f64::max)
}

/// Runs products for `steps` rounds; returns how many operations that were.
fn products(steps: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16") {
        // SAFETY: the features that the function is compiled for were just found.
        return unsafe { bf16_products(steps) };
    }
    let mut lanes = black_box([[1f32; 16]; 8]);
    for _ in 0..steps {
        for lane in &mut lanes {
            lane.iter_mut().for_each(|x| *x = *x * 0.999 + 0.5);
        }
    }
    black_box(lanes);
    steps * 8 * 16 * 2
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
fn bf16_products(steps: usize) -> usize {
    use std::arch::x86_64::{__m512, __m512bh};
    use std::arch::x86_64::{_mm512_dpbf16_ps, _mm512_reduce_add_ps, _mm512_set1_ps, _mm512_setzero_ps};
    /// Enough independent sums to hide the latency of one.
    const SUMS: usize = 24;
    // SAFETY: both types are 512 bits of plain data, and every pattern of bits is a value of both.
    let ones: __m512bh = unsafe { std::mem::transmute::<__m512, __m512bh>(_mm512_set1_ps(black_box(1.0))) };
    let mut sums = [_mm512_setzero_ps(); SUMS];
    for _ in 0..steps / SUMS {
        for sum in &mut sums {
            *sum = _mm512_dpbf16_ps(*sum, ones, ones);
        }
    }
    black_box(sums.map(|sum| _mm512_reduce_add_ps(sum)));
    steps / SUMS * SUMS * 32 * 2
}
