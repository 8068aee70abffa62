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
            out.convert_from_f32_slice(values);
        }
    }
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
            for (x, y) in src.chunks_exact(2).zip(out) {
                *y = half_at(x, 0);
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
        DType::Q4_0 => nibbles_32(half_at(block, 0), -8, 0.0, 0, &block[2..], out),
        DType::Q4_1 => nibbles_32(half_at(block, 0), 0, half_at(block, 2), 0, &block[4..], out),
        DType::Q5_0 => nibbles_32(half_at(block, 0), -16, 0.0, high_bits(block, 2), &block[6..], out),
        DType::Q5_1 => nibbles_32(half_at(block, 0), 0, half_at(block, 2), high_bits(block, 4), &block[8..], out),
        DType::Q4K => groups_of_32(block, None, &block[16..], out),
        DType::Q5K => groups_of_32(block, Some(&block[16..48]), &block[48..], out),
        DType::Q6K => {
            let (low, high, scales, d) = (&block[..128], &block[128..192], &block[192..208], half_at(block, 208));
            for (i, y) in out.iter_mut().enumerate() {
                // Two halves of 128 values: value 32k + l keeps its low bits in nibble k/2 of byte 32(k%2) + l, its high bits
                // in bit pair k of byte l.
                let (half, k, l) = (i / 128, i / 32 % 4, i % 32);
                let nibble = low[64 * half + 32 * (k % 2) + l] >> (4 * (k / 2)) & 15;
                let pair = high[32 * half + l] >> (2 * k) & 3;
                let scale = f32::from(scales[i / 16] as i8);
                *y = d * scale * f32::from(i16::from(nibble | pair << 4) - 32);
            }
        }
        DType::F32 | DType::F16 | DType::Bf16 => to_f32(dtype, block, out),
    }
}

fn high_bits(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// `y[i] = d (q_i + bias) + m`; low nibbles hold values 0..16, high nibbles 16..32, bit `i` of `high` is the fifth bit.
fn nibbles_32(d: f32, bias: i16, m: f32, high: u32, qs: &[u8], out: &mut [f32]) {
    for (i, y) in out.iter_mut().enumerate() {
        let nibble = qs[i % 16] >> (4 * (i / 16)) & 15;
        let q = i16::from(nibble) | ((high >> i & 1) << 4) as i16;
        *y = d * f32::from(q + bias) + m;
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
        for (l, y) in out.iter_mut().enumerate() {
            let nibble = qs[32 * (g / 2) + l] >> (4 * (g % 2)) & 15;
            let fifth = high.map_or(0, |high| (high[l] >> g & 1) << 4);
            *y = scale * f32::from(nibble | fifth) - min;
        }
    }
}
