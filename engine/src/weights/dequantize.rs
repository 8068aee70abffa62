//! Stored rows to f32 or bf16.
//!
//! Block layouts are those of GGUF (ggml's quantised types), little-endian, scales in IEEE half. Every value is computed in
//! f32 in the order given in [`block_to_f32`], then rounded once, to nearest even, when bf16 is asked for.

use super::DType;
use half::{bf16, f16, slice::HalfFloatSliceExt};

/// Values per step: a multiple of every block length.
const STEP: usize = 256;

/// `out = bf16(values of src)`. `src` holds `out.len()` values of type `dtype`.
pub(super) fn to_bf16(dtype: DType, src: &[u8], out: &mut [bf16]) {
    let mut values = [0f32; STEP];
    let step_bytes = STEP / dtype.block().0 * dtype.block().1;
    for (src, out) in src.chunks(step_bytes).zip(out.chunks_mut(STEP)) {
        if dtype == DType::Bf16 {
            for (x, y) in src.chunks_exact(2).zip(out) {
                *y = bf16::from_le_bytes([x[0], x[1]]);
            }
        } else {
            let values = &mut values[..out.len()];
            to_f32(dtype, src, values);
            for (x, y) in values.iter().zip(out) {
                *y = round(*x);
            }
        }
    }
}

/// Nearest bf16, ties to even, NaN kept: `bf16::from_f32` without branches, four times as fast over a slice.
pub(super) fn round(x: f32) -> bf16 {
    let bits = x.to_bits();
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    bf16::from_bits(if x.is_nan() { bits >> 16 | 0x40 } else { nearest } as u16)
}

/// `out = f32(values of src)`. `src` holds `out.len()` values of type `dtype`.
pub(super) fn to_f32(dtype: DType, src: &[u8], out: &mut [f32]) {
    let (per_block, bytes) = dtype.block();
    match dtype {
        DType::F32 => {
            for (x, y) in src.chunks_exact(4).zip(out) {
                *y = f32::from_le_bytes([x[0], x[1], x[2], x[3]]);
            }
        }
        DType::F16 => {
            let mut halves = [f16::ZERO; STEP];
            for (src, out) in src.chunks(2 * STEP).zip(out.chunks_mut(STEP)) {
                let halves = &mut halves[..out.len()];
                bytemuck::cast_slice_mut(halves).copy_from_slice(src);
                halves.convert_to_f32_slice(out);
            }
        }
        DType::Bf16 => {
            for (x, y) in src.chunks_exact(2).zip(out) {
                *y = bf16::from_le_bytes([x[0], x[1]]).to_f32();
            }
        }
        _ => {
            for (block, out) in src.chunks_exact(bytes).zip(out.chunks_exact_mut(per_block)) {
                block_to_f32(dtype, block, out);
            }
        }
    }
}

fn half_at(src: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([src[at], src[at + 1]]).to_f32()
}

/// One quantised block; `q` is the stored integer:
/// * Q4_0 `d (q - 8)`, Q5_0 `d (q - 16)`, Q8_0 `d q`: 32 values, one scale
/// * Q4_1, Q5_1 `d q + m`: 32 values, one scale and minimum
/// * Q4_K, Q5_K `(d s_i) q - (d_min m_i)`: 8 groups of 32 values with 6-bit `s_i`, `m_i`
/// * Q6_K `(d s_i) (q - 32)`: 16 groups of 16 values with 8-bit `s_i`
fn block_to_f32(dtype: DType, block: &[u8], out: &mut [f32]) {
    match dtype {
        DType::Q8_0 => {
            let d = half_at(block, 0);
            for (q, y) in block[2..].iter().zip(out) {
                *y = d * f32::from(*q as i8);
            }
        }
        DType::Q4_0 => nibbles_32(half_at(block, 0), -8.0, 0.0, 0, &block[2..], out),
        DType::Q4_1 => nibbles_32(half_at(block, 0), 0.0, half_at(block, 2), 0, &block[4..], out),
        DType::Q5_0 => nibbles_32(half_at(block, 0), -16.0, 0.0, high_bits(block, 2), &block[6..], out),
        DType::Q5_1 => nibbles_32(half_at(block, 0), 0.0, half_at(block, 2), high_bits(block, 4), &block[8..], out),
        DType::Q4K => groups_of_32(block, None, &block[16..], out),
        DType::Q5K => groups_of_32(block, Some(&block[16..48]), &block[48..], out),
        DType::Q6K => {
            let (low, high, scales, d) = (&block[..128], &block[128..192], &block[192..208], half_at(block, 208));
            // Groups of 32: group g keeps its low bits in nibble g/2 % 2 of 32 bytes, its high bits in bit pair g % 4 of 32 others.
            for (g, out) in out.chunks_exact_mut(32).enumerate() {
                let (half, k) = (g / 4, g % 4);
                let low = &low[64 * half + 32 * (k % 2)..][..32];
                let high = &high[32 * half..][..32];
                let scale = [2 * g, 2 * g + 1].map(|i| d * f32::from(scales[i] as i8));
                for ((low, high), y) in low.iter().zip(high).zip(&mut *out) {
                    let q = i32::from(*low) >> (4 * (k / 2)) & 15 | (i32::from(*high) >> (2 * k) & 3) << 4;
                    *y = (q - 32) as f32;
                }
                for (out, scale) in out.chunks_exact_mut(16).zip(scale) {
                    out.iter_mut().for_each(|y| *y *= scale);
                }
            }
        }
        DType::F32 | DType::F16 | DType::Bf16 => to_f32(dtype, block, out),
    }
}

fn high_bits(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// `y[i] = d (q_i + bias) + m`; low nibbles hold values 0..16, high nibbles 16..32, bit `i` of `high` is the fifth bit.
fn nibbles_32(d: f32, bias: f32, m: f32, high: u32, qs: &[u8], out: &mut [f32]) {
    let (first, second) = out.split_at_mut(16);
    for (q, y) in qs.iter().zip(first) {
        *y = (i32::from(*q) & 15) as f32;
    }
    for (q, y) in qs.iter().zip(second) {
        *y = (i32::from(*q) >> 4) as f32;
    }
    if high != 0 {
        for (i, y) in out.iter_mut().enumerate() {
            *y += ((high >> i & 1) << 4) as f32;
        }
    }
    for y in out {
        *y = d * (*y + bias) + m;
    }
}

/// Eight groups of 32; groups 2p and 2p+1 are the low and high nibbles of 32 bytes, bit `g` of `high[l]` the fifth bit.
fn groups_of_32(block: &[u8], high: Option<&[u8]>, qs: &[u8], out: &mut [f32]) {
    let (d, d_min, packed) = (half_at(block, 0), half_at(block, 2), &block[4..16]);
    for (g, out) in out.chunks_exact_mut(32).enumerate() {
        // Six-bit scales and minima: the first four whole in bytes 0..8, the others split between bytes 8..12 and the top bits.
        let (scale, min) = match g {
            0..4 => (packed[g] & 63, packed[g + 4] & 63),
            _ => (packed[g + 4] & 15 | packed[g - 4] >> 6 << 4, packed[g + 4] >> 4 | packed[g] >> 6 << 4),
        };
        let (scale, min) = (d * f32::from(scale), d_min * f32::from(min));
        let shift = 4 * (g % 2);
        for (q, y) in qs[32 * (g / 2)..][..32].iter().zip(&mut *out) {
            *y = (i32::from(*q) >> shift & 15) as f32;
        }
        if let Some(high) = high {
            for (bits, y) in high.iter().zip(&mut *out) {
                *y += ((i32::from(*bits) >> g & 1) << 4) as f32;
            }
        }
        for y in out {
            *y = scale * *y - min;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `half` is the oracle: every upper half of an f32 (all signs, exponents, subnormals, infinities, NaNs) with the lower
    /// halves at which rounding changes.
    #[test]
    fn rounding_is_that_of_half() {
        for upper in 0..=0xffffu32 {
            for lower in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let x = f32::from_bits(upper << 16 | lower);
                assert_eq!(round(x).to_bits(), bf16::from_f32(x).to_bits(), "{:#x}", x.to_bits());
            }
        }
    }
}
