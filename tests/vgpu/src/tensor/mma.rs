//! `mma.sync`: 16 x 8 (f64: 8 x 8) tiles, D = A * B + C.
//!
//! Lane 4g + t holds, in register q of a fragment, the elements
//! A: row g + 8 (q mod 2), columns from (q / 2) * 4 P + t P; B: rows from q * 4 P + t P, column g; C, D: row g + 8 (q / 2),
//! column 2 t + q mod 2, where P is the number of elements of a 32-bit register.

use super::model::{TensorModel, aligned_step, aligned_sum, exponent};
use crate::decode::{Accumulator, Element, Inst, Mma};
use crate::exec::float::{brain_to_f32, f32_to_half, half_to_f32};
use crate::exec::registers::{FULL, Registers};

/// Elements of a 32-bit register.
fn packed(element: Element) -> usize {
    match element {
        Element::F16 | Element::BF16 => 2,
        Element::TF32 | Element::F64 => 1,
        Element::U8 | Element::S8 => 4,
    }
}

/// Registers of the D, A, B and C fragments; `None` for a shape that does not exist.
pub fn fragments(mma: Mma) -> Option<[usize; 4]> {
    use Accumulator as Acc;
    use Element::*;
    let exists = match (mma.a, mma.b, mma.accumulator) {
        (F16, F16, Acc::F16 | Acc::F32) | (BF16, BF16, Acc::F32) => matches!(mma.k, 8 | 16),
        (TF32, TF32, Acc::F32) => matches!(mma.k, 4 | 8),
        (U8 | S8, U8 | S8, Acc::S32) => matches!(mma.k, 16 | 32),
        (F64, F64, Acc::F64) => return (mma.k == 4).then_some([2, 1, 1, 2]),
        _ => false,
    };
    let accumulators = if mma.accumulator == Acc::F16 { 2 } else { 4 };
    let k = usize::from(mma.k) / packed(mma.a);
    exists.then_some([accumulators, k / 2, k / 4, accumulators])
}

/// Operations of one instruction, two per multiply-add.
pub fn flops(mma: Mma) -> u64 {
    let rows = if mma.accumulator == Accumulator::F64 { 8 } else { 16 };
    2 * rows * 8 * u64::from(mma.k)
}

/// Executes the instruction for the whole warp.
#[inline(always)]
pub fn multiply(r: &mut Registers, i: &Inst, mma: Mma, model: TensorModel) {
    let half = |word: u32| [half_to_f32(word as u16), half_to_f32((word >> 16) as u16)];
    let brain = |word: u32| [brain_to_f32(word as u16), f32::from_bits(word & 0xffff_0000)];
    let tensor = |word: u32| [f32::from_bits(word & !0x1fff)];
    match (mma.a, mma.k) {
        (Element::F16, 16) => float::<16, 2>(r, i, mma, model, half),
        (Element::F16, _) => float::<8, 2>(r, i, mma, model, half),
        (Element::BF16, 16) => float::<16, 2>(r, i, mma, model, brain),
        (Element::BF16, _) => float::<8, 2>(r, i, mma, model, brain),
        (Element::TF32, 8) => float::<8, 1>(r, i, mma, model, tensor),
        (Element::TF32, _) => float::<4, 1>(r, i, mma, model, tensor),
        (Element::F64, _) => double(r, i),
        (_, 32) => integer::<32>(r, i, mma),
        _ => integer::<16>(r, i, mma),
    }
}

/// A as rows, from its registers.
#[inline(always)]
fn gather_a<T: Copy, const K: usize, const P: usize>(
    r: &Registers,
    rows: &[u32],
    zero: T,
    widen: impl Fn(u32) -> [T; P],
) -> [[T; K]; 16] {
    let mut a = [[zero; K]; 16];
    for (q, row) in rows.iter().enumerate() {
        let words = r.word(*row);
        for g in 0..8 {
            for t in 0..4 {
                let column = (q / 2) * 4 * P + t * P;
                a[g + 8 * (q % 2)][column..column + P].copy_from_slice(&widen(words[4 * g + t]));
            }
        }
    }
    a
}

/// B as rows, from its registers.
#[inline(always)]
fn gather_b<T: Copy, const K: usize, const P: usize>(
    r: &Registers,
    rows: &[u32],
    zero: T,
    widen: impl Fn(u32) -> [T; P],
) -> [[T; 8]; K] {
    let mut b = [[zero; 8]; K];
    for (q, row) in rows.iter().enumerate() {
        let words = r.word(*row);
        for g in 0..8 {
            for t in 0..4 {
                for (h, value) in widen(words[4 * g + t]).into_iter().enumerate() {
                    b[q * 4 * P + t * P + h][g] = value;
                }
            }
        }
    }
    b
}

#[inline(always)]
fn float<const K: usize, const P: usize>(
    r: &mut Registers,
    i: &Inst,
    mma: Mma,
    model: TensorModel,
    widen: impl Fn(u32) -> [f32; P],
) {
    let accumulators = i.list_results as usize;
    let (first_b, first_c) = (accumulators + K / 2 / P, accumulators + K / 2 / P + K / 4 / P);
    let a = gather_a::<f32, K, P>(r, &i.list[accumulators..first_b], 0.0, &widen);
    let b = gather_b::<f32, K, P>(r, &i.list[first_b..first_c], 0.0, &widen);
    let mut c = [[0f32; 8]; 16];
    for (q, row) in i.list[first_c..].iter().enumerate() {
        for (lane, word) in r.word(*row).iter().enumerate() {
            let (g, t) = (lane / 4, lane % 4);
            if mma.accumulator == Accumulator::F16 {
                c[g + 8 * q][2 * t] = half_to_f32(*word as u16);
                c[g + 8 * q][2 * t + 1] = half_to_f32((*word >> 16) as u16);
            } else {
                c[g + 8 * (q / 2)][2 * t + q % 2] = f32::from_bits(*word);
            }
        }
    }
    match model.step(mma.a == Element::TF32) {
        None => sequential(&a, &b, &mut c),
        Some((terms, fraction)) => aligned(&a, &b, &mut c, terms, fraction),
    }
    for (q, row) in i.list[..accumulators].iter().enumerate() {
        let words = r.word_mut(*row);
        for (lane, word) in words.iter_mut().enumerate() {
            let (g, t) = (lane / 4, lane % 4);
            *word = if mma.accumulator == Accumulator::F16 {
                let half = |h: usize| u32::from(f32_to_half(c[g + 8 * q][2 * t + h]));
                half(0) | half(1) << 16
            } else {
                c[g + 8 * (q / 2)][2 * t + q % 2].to_bits()
            };
        }
    }
}

#[inline(always)]
fn sequential<const K: usize>(a: &[[f32; K]; 16], b: &[[f32; 8]; K], c: &mut [[f32; 8]; 16]) {
    // Several rows at a time hide the latency of the additions.
    const ROWS: usize = 8;
    for first in [0, ROWS] {
        let mut sums: [[f32; 8]; ROWS] = std::array::from_fn(|row| c[first + row]);
        for k in 0..K {
            for row in 0..ROWS {
                for n in 0..8 {
                    sums[row][n] = a[first + row][k].mul_add(b[k][n], sums[row][n]);
                }
            }
        }
        c[first..first + ROWS].copy_from_slice(&sums);
    }
}

#[inline(always)]
fn aligned<const K: usize>(a: &[[f32; K]; 16], b: &[[f32; 8]; K], c: &mut [[f32; 8]; 16], terms: usize, fraction: i32) {
    let finite = |rows: &[[f32; 8]]| rows.as_flattened().iter().all(|x| x.is_finite());
    if !a.as_flattened().iter().all(|x| x.is_finite()) || !finite(b) || !finite(c) {
        for (a, c) in a.iter().zip(c) {
            for (n, sum) in c.iter_mut().enumerate() {
                for (step, a) in a.chunks(terms).enumerate() {
                    *sum = aligned_sum(a, |k| b[step * terms + k][n], *sum, fraction);
                }
            }
        }
        return;
    }
    let b_exponents = b.map(|row| row.map(exponent));
    for (a, c) in a.iter().zip(c) {
        let a_exponents = a.map(exponent);
        for first in (0..K).step_by(terms) {
            let step = first..(first + terms).min(K);
            aligned_step(
                &a[step.clone()],
                &a_exponents[step.clone()],
                &b[step.clone()],
                &b_exponents[step],
                c,
                fraction,
            );
        }
    }
}

#[inline(always)]
fn integer<const K: usize>(r: &mut Registers, i: &Inst, mma: Mma) {
    let bytes = |word: u32, element: Element| {
        word.to_le_bytes().map(|b| if element == Element::S8 { i32::from(b as i8) } else { i32::from(b) })
    };
    let (first_b, first_c) = (4 + K / 8, 4 + K / 8 + K / 16);
    let a = gather_a::<i32, K, 4>(r, &i.list[4..first_b], 0, |w| bytes(w, mma.a));
    let b = gather_b::<i32, K, 4>(r, &i.list[first_b..first_c], 0, |w| bytes(w, mma.b));
    let mut sums = [[0i32; 8]; 16];
    for (a, sums) in a.iter().zip(&mut sums) {
        for (k, a) in a.iter().enumerate() {
            for n in 0..8 {
                sums[n] += a * b[k][n];
            }
        }
    }
    let c: [[u32; 32]; 4] = std::array::from_fn(|q| *r.word(i.list[first_c + q]));
    for q in 0..4 {
        let words = r.word_mut(i.list[q]);
        for (lane, word) in words.iter_mut().enumerate() {
            let sum = sums[lane / 4 + 8 * (q / 2)][2 * (lane % 4) + q % 2];
            let c = c[q][lane] as i32;
            *word = if mma.saturate { c.saturating_add(sum) } else { c.wrapping_add(sum) } as u32;
        }
    }
}

/// m8n8k4: A row g column t, B row t column g, C and D row g columns 2 t, 2 t + 1.
fn double(r: &mut Registers, i: &Inst) {
    let read = |row: u32| r.wide(row).map(f64::from_bits);
    let (a, b) = (read(i.list[2]), read(i.list[3]));
    let c = [read(i.list[4]), read(i.list[5])];
    for (q, c) in c.iter().enumerate() {
        let values = std::array::from_fn(|lane| {
            let (g, n) = (lane / 4, 2 * (lane % 4) + q);
            (0..4).fold(c[lane], |sum, k| a[4 * g + k].mul_add(b[4 * n + k], sum)).to_bits()
        });
        *r.wide_mut(i.list[q]) = values;
    }
}

/// Definedness of an mma: an element of D is defined if its row of A, its column of B and its element of C are.
#[inline(always)]
pub fn defined(r: &mut Registers, i: &Inst, mma: Mma) {
    let results = i.list_results as usize;
    let known = i.list[results..].iter().fold(FULL, |all, row| all & r.defined(*row));
    if known == FULL {
        i.list[..results].iter().for_each(|row| r.define(*row, FULL, FULL));
        return;
    }
    defined_in_part(r, i, mma);
}

#[cold]
fn defined_in_part(r: &mut Registers, i: &Inst, mma: Mma) {
    let results = i.list_results as usize;
    let masks: Vec<u32> = i.list[results..].iter().map(|row| r.defined(*row)).collect();
    let Some([_, a_count, b_count, _]) = fragments(mma) else { return };
    let (a, rest) = masks.split_at(a_count);
    let (b, c) = rest.split_at(b_count);
    let whole = |mask: u32, g: usize| mask >> (4 * g) & 15 == 15;
    let row = &|row: usize| {
        a.iter().enumerate().filter(|(q, _)| a_count == 1 || q % 2 == row / 8).all(|(_, m)| whole(*m, row % 8))
    };
    let column = &|n: usize| b.iter().all(|mask| whole(*mask, n));
    let lanes = |q: usize| {
        (0..32).filter(move |lane| {
            let (g, t) = (lane / 4, lane % 4);
            let inputs = match mma.accumulator {
                Accumulator::F16 => row(g + 8 * q) && column(2 * t) && column(2 * t + 1),
                _ => row(g + 8 * (q / 2)) && column(2 * t + q % 2),
            };
            inputs && c[q] >> lane & 1 == 1
        })
    };
    let masks: Vec<u32> = (0..results).map(|q| lanes(q).fold(0, |mask, lane| mask | 1 << lane)).collect();
    for (row, mask) in i.list.iter().zip(masks) {
        r.define(*row, FULL, mask);
    }
}
