//! int8 weights: one f32 scale per row, and the order in which a row lies in memory.

/// Where element `k` of a row lies in memory: within each 16, the four bytes of lane `t` of an mma fragment are
/// `k = 2t, 2t+8, 2t+1, 2t+9`, so that one 32-bit word becomes two packed bf16 registers with two masks each.
pub const fn int8_position(k: usize) -> usize {
    let j = k % 16;
    k - j + j % 8 / 2 * 4 + j % 2 * 2 + j / 8
}

/// Elements of memory of a row of `k`: a multiple of 16, the tail zero.
pub const fn int8_row(k: usize) -> usize {
    k.next_multiple_of(16)
}

/// Quantises a row to `round(w / scale)` with `scale = max|w| / 127`, laid out as the kernels read it, and returns `scale`.
///
/// Ties go to even. A row of zeros has scale 0. `packed` has `int8_row(row.len())` elements or more; those beyond are zeroed.
pub fn quantize_row(row: &[f32], packed: &mut [i8]) -> f32 {
    let scale = row.iter().fold(0.0f32, |m, w| m.max(w.abs())) / 127.0;
    packed.fill(0);
    if scale > 0.0 {
        for (k, w) in row.iter().enumerate() {
            // Within ±127 by the choice of scale; a saturating cast rounds nothing.
            packed[int8_position(k)] = (w / scale).round_ties_even() as i8;
        }
    }
    scale
}
