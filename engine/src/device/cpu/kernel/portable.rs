//! Plain Rust: the path for machines without the others, and what they are compared with.

use super::{CHUNK, Dots, Kernels, LANES, Wide, lane, pointwise, tree};
use half::bf16;

pub static KERNELS: Kernels = Kernels {
    dots_rows: 8,
    dots_k: 0,
    dots,
    pack,
    wide,
    rms_norm: pointwise::rms_norm,
    swiglu: pointwise::swiglu,
    max_sum_exp: pointwise::max_sum_exp,
    add: pointwise::add,
    round: pointwise::round,
    rotate: pointwise::rotate,
};

/// The two elements of a pair; the product of two bf16 is exact in f32.
#[inline(always)]
fn halves(pair: u32) -> (f32, f32) {
    (f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000))
}

#[inline(always)]
fn accumulate(lanes: &mut [f32; LANES], x: &[bf16], w: &[bf16]) {
    for (l, lane) in lanes.iter_mut().enumerate() {
        *lane += x[2 * l + 1].to_f32() * w[2 * l + 1].to_f32();
        *lane += x[2 * l].to_f32() * w[2 * l].to_f32();
    }
}

fn run(lanes: &mut [f32; LANES], x: &[bf16], w: &[bf16]) {
    let ((xs, x_tail), (ws, w_tail)) = (x.as_chunks::<CHUNK>(), w.as_chunks::<CHUNK>());
    xs.iter().zip(ws).for_each(|(x, w)| accumulate(lanes, x, w));
    if !x_tail.is_empty() {
        let mut last = [[bf16::ZERO; CHUNK]; 2];
        last[0][..x_tail.len()].copy_from_slice(x_tail);
        last[1][..w_tail.len()].copy_from_slice(w_tail);
        accumulate(lanes, &last[0], &last[1]);
    }
}

fn dots(d: &Dots<'_>, y: &mut [f32], stride: usize) {
    let [t, n, k, r] = d.check(y, stride);
    for n in 0..n {
        for t in 0..t {
            let mut lanes = [0f32; LANES];
            run(&mut lanes, &d.x[t * k..][..k], &d.w[n * k..][..k]);
            run(&mut lanes, &d.u[t * r..][..r], &d.b[n * r..][..r]);
            y[t * stride + n] = tree(lanes);
        }
    }
}

pub fn pack(rows: &[&[bf16]], pairs: &mut [u32], stride: usize, cols: usize, at: usize) {
    let k = rows[0].len();
    let element = |row: &[bf16], i: usize| if i < k { row[i].to_bits() as u32 } else { 0 };
    for position in 0..LANES {
        for c in 0..k.div_ceil(CHUNK) {
            let first = c * CHUNK + 2 * lane(position);
            let out = &mut pairs[position * stride + c * cols + at..][..LANES];
            out.fill(0);
            for (out, row) in out.iter_mut().zip(rows) {
                *out = element(row, first) | element(row, first + 1) << 16;
            }
        }
    }
}

/// Rows that share the widening of a weight vector.
const ROWS: usize = 4;

fn wide(d: &Wide<'_>, y: &mut [f32], stride: usize) {
    let vectors = d.check(y, stride);
    for m in (0..d.rows).step_by(ROWS) {
        for j in 0..vectors {
            let mut levels = [[[0f32; LANES]; ROWS]; 5];
            for (step, position) in d.positions.clone().enumerate() {
                let mut sums = [[0f32; LANES]; ROWS];
                for (x, w, chunks) in d.parts {
                    for c in 0..*chunks {
                        let w = &w.pairs[position * w.lane + c * w.cols + j * LANES..][..LANES];
                        let x = &x.pairs[position * x.lane + c * x.cols + m..][..ROWS];
                        for (sums, x) in sums.iter_mut().zip(x) {
                            let (even, odd) = halves(*x);
                            for (sum, w) in sums.iter_mut().zip(w) {
                                let (w_even, w_odd) = halves(*w);
                                *sum += odd * w_odd;
                                *sum += even * w_even;
                            }
                        }
                    }
                }
                let level = step.trailing_ones() as usize;
                for left in &levels[..level] {
                    for (sums, left) in sums.iter_mut().zip(left) {
                        sums.iter_mut().zip(left).for_each(|(sum, left)| *sum += left);
                    }
                }
                levels[level] = sums;
            }
            let sums = levels[d.positions.len().trailing_zeros() as usize];
            for (i, sums) in sums.iter().enumerate() {
                for (y, sum) in y[(m + i) * stride + j * LANES..][..LANES].iter_mut().zip(sums) {
                    *y = if d.add { *y + sum } else { *sum };
                }
            }
        }
    }
}
