//! Sixteen f32 lanes: the few vector operations of attention, one implementation per instruction set.
//!
//! The order within each operation is part of the device's numerics fingerprint.

use super::kv::{GROUP, Lane};
use std::ops::Range;

/// Sixteen f32 and what attention does with them.
pub(super) trait Lanes: Copy {
    /// Rows and vectors whose sums the registers hold while a product runs. They decide speed and no bit.
    const ROWS: usize;
    /// See [`Lanes::ROWS`].
    const WIDE: usize;

    /// All lanes `x`.
    fn splat(x: f32) -> Self;
    /// Reads sixteen values.
    fn load(x: &[f32; GROUP]) -> Self;
    /// Writes sixteen values.
    fn store(self, to: &mut [f32; GROUP]);
    /// `self + a · b` per lane, where `a` is one pair of bf16 and each lane of `b` another.
    fn dot(self, a: u32, b: &Lane) -> Self;
    /// `self - x`.
    fn sub(self, x: Self) -> Self;
    /// `self * x`.
    fn mul(self, x: Self) -> Self;
    /// `self * x + y`.
    fn mul_add(self, x: Self, y: Self) -> Self;
    /// The larger per lane.
    fn max(self, x: Self) -> Self;
    /// Lanes outside `range` become `x`.
    fn keep(self, range: Range<usize>, x: f32) -> Self;
    /// `2^self` up to 126, relative error below 4e-7 down to -126, and 0 far below; NaN stays.
    fn exp2(self) -> Self;
    /// Rounds `self` and then `next` to bf16, nearest even.
    fn round(self, next: Self, to: &mut Lane);
    /// Asks for a lane's memory ahead of its use; any address will do.
    fn prefetch(_lane: *const Lane) {}
    /// The largest lane.
    fn reduce_max(self) -> f32;
    /// The sum of the lanes, in a fixed order.
    fn reduce_sum(self) -> f32;
}

/// Polynomial of `2^f` on `[0, 1]`, lowest power first, relative error 8e-8 before rounding.
pub(super) const EXP2: [f32; 6] = [1.0, 0.693_151_3, 0.240_164_44, 0.055_799_93, 0.009_017_006, 0.001_867_141_7];

/// The bf16 nearest to `x`, ties to even; NaN stays NaN. Without a branch, so that loops over it become vectors.
#[inline(always)]
pub(super) fn bf16_bits(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    (if x.is_nan() { bits | 1 << 22 } else { rounded }) >> 16
}

/// Plain Rust.
#[derive(Clone, Copy)]
pub(super) struct Portable([f32; GROUP]);

impl Portable {
    #[inline(always)]
    fn zip(self, x: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Portable(std::array::from_fn(|i| f(self.0[i], x.0[i])))
    }
}

impl Lanes for Portable {
    const ROWS: usize = 2;
    const WIDE: usize = 1;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Portable([x; GROUP])
    }
    #[inline(always)]
    fn load(x: &[f32; GROUP]) -> Self {
        Portable(*x)
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; GROUP]) {
        *to = self.0;
    }
    #[inline(always)]
    fn dot(self, a: u32, b: &Lane) -> Self {
        let (low, high) = (f32::from_bits(a << 16), f32::from_bits(a & 0xffff_0000));
        Portable(std::array::from_fn(|i| {
            self.0[i] + low * f32::from_bits(b.0[i] << 16) + high * f32::from_bits(b.0[i] & 0xffff_0000)
        }))
    }
    #[inline(always)]
    fn sub(self, x: Self) -> Self {
        self.zip(x, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, x: Self) -> Self {
        self.zip(x, |a, b| a * b)
    }
    #[inline(always)]
    fn mul_add(self, x: Self, y: Self) -> Self {
        Portable(std::array::from_fn(|i| self.0[i] * x.0[i] + y.0[i]))
    }
    #[inline(always)]
    fn max(self, x: Self) -> Self {
        self.zip(x, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn keep(self, range: Range<usize>, x: f32) -> Self {
        Portable(std::array::from_fn(|i| if range.contains(&i) { self.0[i] } else { x }))
    }
    #[inline(always)]
    fn exp2(self) -> Self {
        Portable(self.0.map(|x| {
            let whole = x.floor();
            let f = x - whole;
            let p = EXP2.iter().rev().fold(0.0, |p, c| p * f + c);
            // A cast saturates; NaN becomes 0.
            let power = f32::from_bits(((whole as i32).clamp(-127, 126) + 127) as u32 * (1 << 23));
            if x < -126.0 { 0.0 } else { p * power }
        }))
    }
    #[inline(always)]
    fn round(self, next: Self, to: &mut Lane) {
        for (x, to) in [self, next].iter().zip(to.0.chunks_exact_mut(GROUP / 2)) {
            for (x, pair) in x.0.chunks_exact(2).zip(to) {
                *pair = bf16_bits(x[0]) | bf16_bits(x[1]) << 16;
            }
        }
    }
    #[inline(always)]
    fn reduce_max(self) -> f32 {
        self.0.iter().fold(f32::NEG_INFINITY, |m, &x| m.max(x))
    }
    #[inline(always)]
    fn reduce_sum(self) -> f32 {
        let mut x = self.0;
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                x[i] += x[i + half];
            }
        }
        x[0]
    }
}
