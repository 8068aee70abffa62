//! Floating point as the PTX manual defines it: formats, rounding, NaN, flushing.

use super::registers::Lane;
use crate::decode::Round;

/// A binary format narrower than f64.
#[derive(Clone, Copy)]
pub struct Format {
    /// Bits of the significand, with the leading one.
    precision: i32,
    /// Exponent of the smallest normal number.
    min_exponent: i32,
    /// Largest finite number.
    max: f64,
}

/// IEEE single.
pub const SINGLE: Format = Format { precision: 24, min_exponent: -126, max: f32::MAX as f64 };
/// IEEE half.
pub const HALF: Format = Format { precision: 11, min_exponent: -14, max: 65504.0 };
/// The upper half of a single.
pub const BRAIN: Format = Format { precision: 8, min_exponent: -126, max: 3.389_531_389_251_535_5e38 };
/// tf32: range of f32, precision of f16.
pub const TENSOR: Format = Format { precision: 11, min_exponent: -126, max: 3.401_162_134_214_653e38 };

/// 2^e
fn power(e: i32) -> f64 {
    f64::from_bits(((e + 1023) as u64) << 52)
}

/// `value` rounded to an integer.
pub fn integral(value: f64, round: Round) -> f64 {
    match round {
        Round::Nearest => value.round_ties_even(),
        Round::NearestAway => value.round(),
        Round::Zero => value.trunc(),
        Round::Down => value.floor(),
        Round::Up => value.ceil(),
    }
}

/// `value` rounded to a format, as an f64. For f32 results of an f64 computation, pass the sum rounded to odd.
pub fn narrow(value: f64, format: Format, round: Round) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let exponent = ((value.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(format.min_exponent);
    let ulp = exponent - (format.precision - 1);
    // Two steps: 2^-ulp alone may overflow.
    let (half, rest) = (ulp / 2, ulp - ulp / 2);
    let rounded = integral(value * power(-half) * power(-rest), round) * power(half) * power(rest);
    if rounded.abs() <= format.max {
        return rounded.copysign(value);
    }
    let inwards = match round {
        Round::Nearest | Round::NearestAway => false,
        Round::Zero => true,
        Round::Down => value > 0.0,
        Round::Up => value < 0.0,
    };
    if inwards { format.max.copysign(value) } else { f64::INFINITY.copysign(value) }
}

/// The neighbour of `value` that keeps a nonzero `error` visible to a second rounding: rounding to odd.
pub fn odd(value: f64, error: f64) -> f64 {
    if error == 0.0 || error.is_nan() || !value.is_finite() || value.to_bits() & 1 == 1 {
        return value;
    }
    if value == 0.0 {
        return f64::from_bits(1).copysign(error);
    }
    let outwards = (error > 0.0) == (value > 0.0);
    f64::from_bits(if outwards { value.to_bits() + 1 } else { value.to_bits() - 1 })
}

/// a + b, rounded to odd.
pub fn add_odd(a: f64, b: f64) -> f64 {
    let sum = a + b;
    let part = sum - a;
    odd(sum, (a - (sum - part)) + (b - part))
}

/// a * b + c for a product that is exact in f64, rounded to odd.
pub fn fma_odd(a: f64, b: f64, c: f64) -> f64 {
    add_odd(a * b, c)
}

/// a / b of f32 operands, rounded to odd.
pub fn div_odd(a: f64, b: f64) -> f64 {
    let quotient = a / b;
    let remainder = (-quotient).mul_add(b, a);
    odd(quotient, if b < 0.0 { -remainder } else { remainder })
}

/// sqrt(a), rounded to odd.
pub fn sqrt_odd(a: f64) -> f64 {
    let root = a.sqrt();
    odd(root, (-root).mul_add(root, a))
}

/// f64 `nearest` moved one step when `round` asks for the other side of the exact result `nearest + error`.
pub fn directed(nearest: f64, error: f64, round: Round) -> f64 {
    if error == 0.0 || error.is_nan() || !nearest.is_finite() {
        return nearest;
    }
    match round {
        Round::Nearest | Round::NearestAway => nearest,
        Round::Down if error < 0.0 => nearest.next_down(),
        Round::Up if error > 0.0 => nearest.next_up(),
        Round::Zero if error < 0.0 && nearest > 0.0 => nearest.next_down(),
        Round::Zero if error > 0.0 && nearest < 0.0 => nearest.next_up(),
        _ => nearest,
    }
}

/// A subnormal f32 becomes a zero of its sign.
#[inline(always)]
pub fn flush(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE { 0.0f32.copysign(x) } else { x }
}

/// f32 operations return this NaN whatever NaN they were given.
#[inline(always)]
pub fn canonical(x: f32) -> f32 {
    if x.is_nan() { f32::from_bits(0x7fff_ffff) } else { x }
}

/// f16 bits to f32.
#[inline(always)]
pub fn half_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff) << 13;
    // The exponent's bias differs by 112; a multiplication moves it and normalises subnormals too.
    let finite = f32::from_bits(magnitude) * f32::from_bits((112 + 127) << 23);
    let special = f32::from_bits(magnitude | 0x7f80_0000);
    f32::from_bits(sign | if magnitude >= 0x0f80_0000 { special } else { finite }.to_bits())
}

/// f32 to f16 bits, to nearest even. NaN becomes 0x7fff.
#[inline(always)]
pub fn f32_to_half(x: f32) -> u16 {
    let bits = x.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    // Adding 0.5 aligns a subnormal's last bit with the f32's last bit; the addition rounds.
    let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0x3f00_0000);
    let normal = magnitude.wrapping_add(0xc800_0fff).wrapping_add(magnitude >> 13 & 1) >> 13;
    let rounded = if magnitude < 0x3880_0000 { subnormal } else { normal };
    let finite = if magnitude >= 0x477f_f000 { 0x7c00 } else { rounded } as u16;
    if magnitude > 0x7f80_0000 { 0x7fff } else { sign | finite }
}

/// bf16 bits to f32.
#[inline(always)]
pub fn brain_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// f32 to bf16 bits, to nearest even. NaN becomes 0x7fff.
#[inline(always)]
pub fn f32_to_brain(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16;
    if x.is_nan() { 0x7fff } else { rounded }
}

/// A 16-bit float.
pub trait Small: Copy {
    /// Its format.
    const FORMAT: Format;
    /// Smallest normal number.
    const MIN_NORMAL: f32;
    /// From bits.
    fn from_bits(bits: u16) -> Self;
    /// To bits.
    fn bits(self) -> u16;
    /// Exactly.
    fn to_f32(self) -> f32;
    /// To nearest even.
    fn from_f32(x: f32) -> Self;
    /// From an f64, with any rounding.
    fn from_f64(x: f64, round: Round) -> Self {
        Self::from_f32(narrow(x, Self::FORMAT, round) as f32)
    }
}

/// f16
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Half(pub u16);
/// bf16
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Brain(pub u16);
/// Two 16-bit values in a word, the first in the low half.
#[derive(Clone, Copy)]
pub struct Pair<T>(pub T, pub T);

macro_rules! small {
    ($type:ident, $format:expr, $min:expr, $widen:ident, $round:ident) => {
        impl Small for $type {
            const FORMAT: Format = $format;
            const MIN_NORMAL: f32 = $min;
            #[inline(always)]
            fn from_bits(bits: u16) -> Self {
                $type(bits)
            }
            #[inline(always)]
            fn bits(self) -> u16 {
                self.0
            }
            #[inline(always)]
            fn to_f32(self) -> f32 {
                $widen(self.0)
            }
            #[inline(always)]
            fn from_f32(x: f32) -> Self {
                $type($round(x))
            }
        }
        impl Lane for $type {
            type Raw = u32;
            #[inline(always)]
            fn of(raw: u32) -> Self {
                $type(raw as u16)
            }
            #[inline(always)]
            fn raw(self) -> u32 {
                u32::from(self.0)
            }
        }
    };
}
small!(Half, HALF, 6.103_515_6e-5, half_to_f32, f32_to_half);
small!(Brain, BRAIN, f32::MIN_POSITIVE, brain_to_f32, f32_to_brain);

impl<T: Lane<Raw = u32>> Lane for Pair<T> {
    type Raw = u32;
    #[inline(always)]
    fn of(raw: u32) -> Self {
        Pair(T::of(raw & 0xffff), T::of(raw >> 16))
    }
    #[inline(always)]
    fn raw(self) -> u32 {
        self.0.raw() & 0xffff | self.1.raw() << 16
    }
}

/// Applies `f` to both halves.
#[inline(always)]
pub fn zip<T: Copy>(a: Pair<T>, b: Pair<T>, f: impl Fn(T, T) -> T) -> Pair<T> {
    Pair(f(a.0, b.0), f(a.1, b.1))
}
