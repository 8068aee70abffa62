//! `ldmatrix`, `stmatrix`, `movmatrix`: 8 x 8 matrices of 16-bit elements.
//!
//! Matrix m has its rows at the addresses of lanes 8 m to 8 m + 7. Lane l holds elements (l / 4, 2 (l mod 4)) and the next of
//! each; transposed: (2 (l mod 4), l / 4) and the one below it.

use crate::decode::Inst;
use crate::exec::registers::{FULL, Registers};

/// Where half `h` of lane `l`'s word lies: row and byte in the row.
fn element(lane: usize, h: usize, transposed: bool) -> (usize, usize) {
    if transposed { (2 * (lane % 4) + h, 2 * (lane / 4)) } else { (lane / 4, 2 * (2 * (lane % 4) + h)) }
}

/// Loads the fragments of `i.list` from the rows; `undefined(row, byte)` tells which 16-bit elements hold nothing.
#[inline(always)]
pub fn load_matrix(
    r: &mut Registers,
    i: &Inst,
    rows: &[*mut u8; 32],
    transposed: bool,
    undefined: Option<&dyn Fn(usize, usize) -> bool>,
) {
    for (m, target) in i.list.iter().enumerate() {
        let rows = &rows[8 * m..8 * m + 8];
        // SAFETY: the memory checked 16 bytes at the pointer of every lane that gives a row.
        let read = |row: usize, byte: usize| u32::from(unsafe { rows[row].add(byte).cast::<u16>().read() });
        let words = r.word_mut(*target);
        if transposed {
            for (lane, word) in words.iter_mut().enumerate() {
                let [low, high] = [0, 1].map(|h| element(lane, h, true));
                *word = read(low.0, low.1) | read(high.0, high.1) << 16;
            }
        } else {
            for (words, row) in words.chunks_exact_mut(4).zip(rows) {
                // SAFETY: as above.
                words.copy_from_slice(&unsafe { row.cast::<[u32; 4]>().read() });
            }
        }
        let mut defined = FULL;
        if let Some(undefined) = undefined {
            for lane in 0..32 {
                let lost = (0..2).any(|h| {
                    let (row, byte) = element(lane, h, transposed);
                    undefined(8 * m + row, byte)
                });
                defined &= !(u32::from(lost) << lane);
            }
        }
        r.define(*target, FULL, defined);
    }
}

/// Stores the fragments of `i.list` to the rows; returns the undefined 16-bit elements: (lane that gives the row, byte).
pub fn store_matrix(r: &Registers, i: &Inst, rows: &[*mut u8; 32], transposed: bool) -> Vec<(usize, usize)> {
    let mut undefined = Vec::new();
    for (m, source) in i.list.iter().enumerate() {
        for (lane, word) in r.word(*source).iter().enumerate() {
            for h in 0..2 {
                let (row, byte) = element(lane, h, transposed);
                // SAFETY: as in `load_matrix`.
                unsafe { rows[8 * m + row].add(byte).cast::<u16>().write((word >> (16 * h)) as u16) };
                if r.defined(*source) >> lane & 1 == 0 {
                    undefined.push((8 * m + row, byte));
                }
            }
        }
    }
    undefined
}

/// d = a transposed.
pub fn move_matrix(r: &mut Registers, i: &Inst) {
    let (words, mask) = (*r.word(i.src[0]), r.defined(i.src[0]));
    let target = r.word_mut(i.dst[0]);
    let mut defined = 0;
    for (lane, word) in target.iter_mut().enumerate() {
        *word = 0;
        let mut known = true;
        for h in 0..2 {
            let (row, byte) = element(lane, h, true);
            let (source, half) = (4 * row + byte / 4, byte / 2 % 2);
            *word |= (words[source] >> (16 * half) & 0xffff) << (16 * h);
            known &= mask >> source & 1 == 1;
        }
        defined |= u32::from(known) << lane;
    }
    r.define(i.dst[0], FULL, defined);
}
