//! Integer and floating-point arithmetic, lane by lane.

use super::float::{
    Brain, Half, Pair, SINGLE, Small, add_odd, canonical, directed, div_odd, flush, fma_odd, narrow, zip,
};
use super::registers::{Lane, Registers, each_lane, map1, map2, map3};
use crate::decode::{Carry, CarryBase, Inst, Op, Round, Type};

/// Integers of every width, with PTX's meaning of each operation.
pub trait Integer: Lane {
    /// Low half.
    fn add(self, o: Self) -> Self;
    /// Low half.
    fn sub(self, o: Self) -> Self;
    /// Low half.
    fn mul(self, o: Self) -> Self;
    /// High half.
    fn mul_high(self, o: Self) -> Self;
    /// All ones for a division by zero.
    fn div(self, o: Self) -> Self;
    /// The dividend for a division by zero.
    fn rem(self, o: Self) -> Self;
    /// Smaller one.
    fn least(self, o: Self) -> Self;
    /// Larger one.
    fn most(self, o: Self) -> Self;
    /// Two's complement magnitude.
    fn abs(self) -> Self;
    /// Two's complement.
    fn neg(self) -> Self;
    /// |a - b|
    fn distance(self, o: Self) -> Self;
    /// Clamped sum.
    fn add_saturating(self, o: Self) -> Self;
    /// Clamped difference.
    fn sub_saturating(self, o: Self) -> Self;
}

macro_rules! integer {
    ($($type:ty, $double:ty, $bits:expr);*) => { $(
        impl Integer for $type {
            #[inline(always)]
            fn add(self, o: Self) -> Self { self.wrapping_add(o) }
            #[inline(always)]
            fn sub(self, o: Self) -> Self { self.wrapping_sub(o) }
            #[inline(always)]
            fn mul(self, o: Self) -> Self { self.wrapping_mul(o) }
            #[inline(always)]
            fn mul_high(self, o: Self) -> Self { ((self as $double).wrapping_mul(o as $double) >> $bits) as $type }
            #[inline(always)]
            fn div(self, o: Self) -> Self { if o == 0 { !0 } else { self.wrapping_div(o) } }
            #[inline(always)]
            fn rem(self, o: Self) -> Self { if o == 0 { self } else { self.wrapping_rem(o) } }
            #[inline(always)]
            fn least(self, o: Self) -> Self { self.min(o) }
            #[inline(always)]
            fn most(self, o: Self) -> Self { self.max(o) }
            #[inline(always)]
            #[allow(unused_comparisons)]
            fn abs(self) -> Self { if self < 0 { self.wrapping_neg() } else { self } }
            #[inline(always)]
            fn neg(self) -> Self { self.wrapping_neg() }
            #[inline(always)]
            fn distance(self, o: Self) -> Self { if self < o { o.wrapping_sub(self) } else { self.wrapping_sub(o) } }
            #[inline(always)]
            fn add_saturating(self, o: Self) -> Self { self.saturating_add(o) }
            #[inline(always)]
            fn sub_saturating(self, o: Self) -> Self { self.saturating_sub(o) }
        }
    )* };
}
integer!(u16, u32, 16; i16, i32, 16; u32, u64, 32; i32, i64, 32; u64, u128, 64; i64, i128, 64);

/// Evaluates `$body` with `$t` an integer type; `$otherwise` for other types.
macro_rules! with_integer {
    ($ty:expr, $t:ident => $body:expr, _ => $otherwise:expr) => {
        match $ty {
            Type::U16 => {
                type $t = u16;
                $body
            }
            Type::S16 => {
                type $t = i16;
                $body
            }
            Type::U32 => {
                type $t = u32;
                $body
            }
            Type::S32 => {
                type $t = i32;
                $body
            }
            Type::U64 => {
                type $t = u64;
                $body
            }
            Type::S64 => {
                type $t = i64;
                $body
            }
            _ => $otherwise,
        }
    };
}

/// What the modifiers do to an f32 result.
#[inline(always)]
fn finish(i: &Inst, x: f32) -> f32 {
    let x = canonical(if i.ftz { flush(x) } else { x });
    match (i.saturate, i.relu) {
        (true, _) => {
            if x.is_nan() {
                0.0
            } else {
                x.clamp(0.0, 1.0) + 0.0
            }
        }
        (_, true) => {
            if x.is_nan() {
                x
            } else {
                x.max(0.0)
            }
        }
        _ => x,
    }
}

#[inline(always)]
fn input(i: &Inst, x: f32) -> f64 {
    f64::from(if i.ftz { flush(x) } else { x })
}

fn finish_small<T: Small>(i: &Inst, exact: f64) -> T {
    let x = T::from_f64(exact, i.round);
    let value = x.to_f32();
    let value = match (i.saturate, i.relu) {
        (true, _) => {
            if value.is_nan() {
                0.0
            } else {
                value.clamp(0.0, 1.0) + 0.0
            }
        }
        (_, true) if !value.is_nan() => value.max(0.0),
        _ if i.ftz && value.abs() < T::MIN_NORMAL => 0.0f32.copysign(value),
        _ => return x,
    };
    T::from_f32(value)
}

/// A float type as f64 for one-operation results, rounded once.
trait Rounded: Lane {
    /// a + b
    fn plus(i: &Inst, a: Self, b: Self) -> Self;
    /// a * b
    fn times(i: &Inst, a: Self, b: Self) -> Self;
    /// a * b + c
    fn times_plus(i: &Inst, a: Self, b: Self, c: Self) -> Self;
    /// -a
    fn minus(a: Self) -> Self;
    /// |a|
    fn magnitude(a: Self) -> Self;
    /// Smaller or larger of two.
    fn extreme(i: &Inst, a: Self, b: Self, most: bool) -> Self;
}

/// min/max of values in f32: a NaN loses unless `.NaN`; -0 < +0. Returns whether `a` is taken, or `None` for NaN.
#[inline(always)]
fn takes_first(nan: bool, a: f64, b: f64, most: bool) -> Option<bool> {
    if nan && (a.is_nan() || b.is_nan()) {
        return None;
    }
    if a.is_nan() && b.is_nan() {
        return None;
    }
    if a.is_nan() || b.is_nan() {
        return Some(b.is_nan());
    }
    Some(if a == b { a.is_sign_negative() != most } else { (a < b) != most })
}

impl Rounded for f32 {
    #[inline(always)]
    fn plus(i: &Inst, a: f32, b: f32) -> f32 {
        finish(i, narrow(add_odd(input(i, a), input(i, b)), SINGLE, i.round) as f32)
    }
    #[inline(always)]
    fn times(i: &Inst, a: f32, b: f32) -> f32 {
        finish(i, narrow(input(i, a) * input(i, b), SINGLE, i.round) as f32)
    }
    #[inline(always)]
    fn times_plus(i: &Inst, a: f32, b: f32, c: f32) -> f32 {
        finish(i, narrow(fma_odd(input(i, a), input(i, b), input(i, c)), SINGLE, i.round) as f32)
    }
    #[inline(always)]
    fn minus(a: f32) -> f32 {
        -a
    }
    #[inline(always)]
    fn magnitude(a: f32) -> f32 {
        a.abs()
    }
    #[inline(always)]
    fn extreme(i: &Inst, a: f32, b: f32, most: bool) -> f32 {
        let (mut a, mut b) = if i.ftz { (flush(a), flush(b)) } else { (a, b) };
        let sign = (a.to_bits() ^ b.to_bits()) & 0x8000_0000;
        if i.xorsign {
            (a, b) = (a.abs(), b.abs());
        }
        let taken = match takes_first(i.nan, f64::from(a), f64::from(b), most) {
            Some(first) => {
                if first {
                    a
                } else {
                    b
                }
            }
            None => return f32::from_bits(0x7fff_ffff),
        };
        if i.xorsign { f32::from_bits(taken.to_bits() | sign) } else { taken }
    }
}

impl Rounded for f64 {
    fn plus(i: &Inst, a: f64, b: f64) -> f64 {
        let sum = a + b;
        let part = sum - a;
        directed(sum, (a - (sum - part)) + (b - part), i.round)
    }
    fn times(i: &Inst, a: f64, b: f64) -> f64 {
        let product = a * b;
        directed(product, a.mul_add(b, -product), i.round)
    }
    fn times_plus(_: &Inst, a: f64, b: f64, c: f64) -> f64 {
        a.mul_add(b, c)
    }
    fn minus(a: f64) -> f64 {
        -a
    }
    fn magnitude(a: f64) -> f64 {
        a.abs()
    }
    fn extreme(i: &Inst, a: f64, b: f64, most: bool) -> f64 {
        match takes_first(i.nan, a, b, most) {
            Some(first) => {
                if first {
                    a
                } else {
                    b
                }
            }
            None => f64::from_bits(0x7fff_ffff_ffff_ffff),
        }
    }
}

macro_rules! rounded_small {
    ($type:ident) => {
        impl Rounded for $type {
            #[inline(always)]
            fn plus(i: &Inst, a: Self, b: Self) -> Self {
                finish_small(i, add_odd(f64::from(a.to_f32()), f64::from(b.to_f32())))
            }
            #[inline(always)]
            fn times(i: &Inst, a: Self, b: Self) -> Self {
                finish_small(i, f64::from(a.to_f32()) * f64::from(b.to_f32()))
            }
            #[inline(always)]
            fn times_plus(i: &Inst, a: Self, b: Self, c: Self) -> Self {
                finish_small(i, fma_odd(f64::from(a.to_f32()), f64::from(b.to_f32()), f64::from(c.to_f32())))
            }
            #[inline(always)]
            fn minus(a: Self) -> Self {
                $type(a.0 ^ 0x8000)
            }
            #[inline(always)]
            fn magnitude(a: Self) -> Self {
                $type(a.0 & 0x7fff)
            }
            #[inline(always)]
            fn extreme(i: &Inst, a: Self, b: Self, most: bool) -> Self {
                let sign = (a.0 ^ b.0) & 0x8000;
                let (a, b) = if i.xorsign { ($type(a.0 & 0x7fff), $type(b.0 & 0x7fff)) } else { (a, b) };
                let taken = match takes_first(i.nan, f64::from(a.to_f32()), f64::from(b.to_f32()), most) {
                    Some(first) => {
                        if first {
                            a
                        } else {
                            b
                        }
                    }
                    None => return $type(0x7fff),
                };
                if i.xorsign { $type(taken.0 | sign) } else { taken }
            }
        }
    };
}
rounded_small!(Half);
rounded_small!(Brain);

impl<T: Rounded + Lane<Raw = u32>> Rounded for Pair<T> {
    #[inline(always)]
    fn plus(i: &Inst, a: Self, b: Self) -> Self {
        zip(a, b, |a, b| T::plus(i, a, b))
    }
    #[inline(always)]
    fn times(i: &Inst, a: Self, b: Self) -> Self {
        zip(a, b, |a, b| T::times(i, a, b))
    }
    #[inline(always)]
    fn times_plus(i: &Inst, a: Self, b: Self, c: Self) -> Self {
        Pair(T::times_plus(i, a.0, b.0, c.0), T::times_plus(i, a.1, b.1, c.1))
    }
    #[inline(always)]
    fn minus(a: Self) -> Self {
        Pair(T::minus(a.0), T::minus(a.1))
    }
    #[inline(always)]
    fn magnitude(a: Self) -> Self {
        Pair(T::magnitude(a.0), T::magnitude(a.1))
    }
    #[inline(always)]
    fn extreme(i: &Inst, a: Self, b: Self, most: bool) -> Self {
        zip(a, b, |a, b| T::extreme(i, a, b, most))
    }
}

/// Evaluates `$body` with `$t` a float type.
macro_rules! with_float {
    ($ty:expr, $t:ident => $body:expr, _ => $otherwise:expr) => {
        match $ty {
            Type::F32 => {
                type $t = f32;
                $body
            }
            Type::F64 => {
                type $t = f64;
                $body
            }
            Type::F16 => {
                type $t = Half;
                $body
            }
            Type::BF16 => {
                type $t = Brain;
                $body
            }
            Type::F16x2 => {
                type $t = Pair<Half>;
                $body
            }
            Type::BF16x2 => {
                type $t = Pair<Brain>;
                $body
            }
            _ => $otherwise,
        }
    };
}

/// No modifier changes what the machine computes anyway.
#[inline(always)]
fn is_plain(i: &Inst) -> bool {
    !i.ftz && !i.saturate && !i.relu && i.round == Round::Nearest
}

/// Executes an arithmetic instruction; says whether it was one.
#[inline(always)]
pub fn execute(r: &mut Registers, i: &Inst, lanes: u32, carry: &mut u32) -> bool {
    let ty = i.ty;
    match i.op {
        Op::Add if ty == Type::F32 && is_plain(i) => map2(r, i, lanes, |a: f32, b: f32| canonical(a + b)),
        Op::Sub if ty == Type::F32 && is_plain(i) => map2(r, i, lanes, |a: f32, b: f32| canonical(a - b)),
        Op::Mul if ty == Type::F32 && is_plain(i) => map2(r, i, lanes, |a: f32, b: f32| canonical(a * b)),
        Op::Fma if ty == Type::F32 && is_plain(i) => {
            map3(r, i, lanes, |a: f32, b: f32, c: f32| canonical(a.mul_add(b, c)));
        }
        Op::Add if ty.is_float() => with_float!(ty, T => map2(r, i, lanes, |a: T, b: T| T::plus(i, a, b)), _ => {}),
        Op::Sub if ty.is_float() => {
            with_float!(ty, T => map2(r, i, lanes, |a: T, b: T| T::plus(i, a, T::minus(b))), _ => {});
        }
        Op::Mul if ty.is_float() => with_float!(ty, T => map2(r, i, lanes, |a: T, b: T| T::times(i, a, b)), _ => {}),
        Op::Fma if ty.is_float() => {
            with_float!(ty, T => map3(r, i, lanes, |a: T, b: T, c: T| T::times_plus(i, a, b, c)), _ => {});
        }
        Op::Min { .. } | Op::Max { .. } => extremes(r, i, lanes),
        Op::Div if ty == Type::F32 => map2(r, i, lanes, |a: f32, b: f32| {
            finish(i, narrow(div_odd(input(i, a), input(i, b)), SINGLE, i.round) as f32)
        }),
        Op::Div if ty == Type::F64 => map2(r, i, lanes, |a: f64, b: f64| {
            let quotient = a / b;
            let remainder = (-quotient).mul_add(b, a);
            directed(quotient, if b < 0.0 { -remainder } else { remainder }, i.round)
        }),
        Op::Abs if ty.is_float() => with_float!(ty, T => map1(r, i, lanes, |a: T| T::magnitude(a)), _ => {}),
        Op::Neg if ty.is_float() => with_float!(ty, T => map1(r, i, lanes, |a: T| T::minus(a)), _ => {}),
        Op::CopySign if ty == Type::F64 => map2(r, i, lanes, |a: f64, b: f64| b.copysign(a)),
        Op::CopySign => map2(r, i, lanes, |a: f32, b: f32| b.copysign(a)),
        Op::Add if ty == Type::U16x2 => map2(r, i, lanes, |a: Pair<u16>, b| zip(a, b, u16::wrapping_add)),
        Op::Add if ty == Type::S16x2 => map2(r, i, lanes, |a: Pair<i16>, b| zip(a, b, i16::wrapping_add)),
        Op::Add if i.saturate => with_integer!(ty, T => map2(r, i, lanes, |a: T, b: T| a.add_saturating(b)), _ => {}),
        Op::Sub if i.saturate => with_integer!(ty, T => map2(r, i, lanes, |a: T, b: T| a.sub_saturating(b)), _ => {}),
        Op::Add => with_integer!(ty, T => map2(r, i, lanes, |a: T, b: T| a.add(b)), _ => {}),
        Op::Sub => with_integer!(ty, T => map2(r, i, lanes, |a: T, b: T| a.sub(b)), _ => {}),
        Op::Mul => with_integer!(ty, T => map2(r, i, lanes, |a: T, b: T| a.mul(b)), _ => {}),
        Op::MulHigh => with_integer!(ty, T => map2(r, i, lanes, |a: T, b: T| a.mul_high(b)), _ => {}),
        Op::Fma => with_integer!(ty, T => map3(r, i, lanes, |a: T, b: T, c: T| a.mul(b).add(c)), _ => {}),
        Op::MadHigh if i.saturate => map3(r, i, lanes, |a: i32, b: i32, c: i32| a.mul_high(b).saturating_add(c)),
        Op::MadHigh => with_integer!(ty, T => map3(r, i, lanes, |a: T, b: T, c: T| a.mul_high(b).add(c)), _ => {}),
        Op::MulWide | Op::MadWide => widening(r, i, lanes),
        Op::Mul24(high) | Op::Mad24(high) => product_24(r, i, lanes, high),
        Op::Div => with_integer!(ty, T => map2(r, i, lanes, |a: T, b: T| a.div(b)), _ => {}),
        Op::Rem => with_integer!(ty, T => map2(r, i, lanes, |a: T, b: T| a.rem(b)), _ => {}),
        Op::Sad => with_integer!(ty, T => map3(r, i, lanes, |a: T, b: T, c: T| a.distance(b).add(c)), _ => {}),
        Op::Abs => with_integer!(ty, T => map1(r, i, lanes, |a: T| Integer::abs(a)), _ => {}),
        Op::Neg => with_integer!(ty, T => map1(r, i, lanes, |a: T| a.neg()), _ => {}),
        Op::Dp4a => dot_bytes(r, i, lanes),
        Op::Dp2a(high) => dot_halves(r, i, lanes, high),
        Op::Carry(kind) => with_carry(r, i, lanes, kind, carry),
        _ => return false,
    }
    true
}

fn extremes(r: &mut Registers, i: &Inst, lanes: u32) {
    let (most, three) = match i.op {
        Op::Max { three } => (true, three),
        Op::Min { three } => (false, three),
        _ => return,
    };
    let ty = i.ty;
    match (ty, three) {
        (Type::U16x2, _) => {
            map2(r, i, lanes, |a: Pair<u16>, b| zip(a, b, |a, b| if most { a.max(b) } else { a.min(b) }))
        }
        (Type::S16x2, _) => map2(r, i, lanes, |a: Pair<i16>, b| {
            zip(a, b, |a, b| {
                let taken = if most { a.max(b) } else { a.min(b) };
                if i.relu { taken.max(0) } else { taken }
            })
        }),
        (_, true) => with_float!(ty, T => map3(r, i, lanes, |a: T, b: T, c: T| {
            T::extreme(i, T::extreme(i, a, b, most), c, most)
        }), _ => {}),
        (_, false) if ty.is_float() => {
            with_float!(ty, T => map2(r, i, lanes, |a: T, b: T| T::extreme(i, a, b, most)), _ => {});
        }
        (Type::S32, false) if i.relu => {
            map2(r, i, lanes, |a: i32, b: i32| if most { a.max(b) } else { a.min(b) }.max(0));
        }
        _ if most => with_integer!(ty, T => map2(r, i, lanes, |a: T, b: T| a.most(b)), _ => {}),
        _ => with_integer!(ty, T => map2(r, i, lanes, |a: T, b: T| a.least(b)), _ => {}),
    }
}

fn widening(r: &mut Registers, i: &Inst, lanes: u32) {
    let add = i.op == Op::MadWide;
    match (i.ty, add) {
        (Type::S16, false) => map2(r, i, lanes, |a: i16, b: i16| i32::from(a) * i32::from(b)),
        (Type::U16, false) => map2(r, i, lanes, |a: u16, b: u16| u32::from(a) * u32::from(b)),
        (Type::S32, false) => map2(r, i, lanes, |a: i32, b: i32| i64::from(a) * i64::from(b)),
        (_, false) => map2(r, i, lanes, |a: u32, b: u32| u64::from(a) * u64::from(b)),
        (Type::S16, true) => {
            map3(r, i, lanes, |a: i16, b: i16, c: i32| (i32::from(a) * i32::from(b)).wrapping_add(c));
        }
        (Type::U16, true) => {
            map3(r, i, lanes, |a: u16, b: u16, c: u32| (u32::from(a) * u32::from(b)).wrapping_add(c));
        }
        (Type::S32, true) => {
            map3(r, i, lanes, |a: i32, b: i32, c: i64| (i64::from(a) * i64::from(b)).wrapping_add(c));
        }
        (_, true) => map3(r, i, lanes, |a: u32, b: u32, c: u64| (u64::from(a) * u64::from(b)).wrapping_add(c)),
    }
}

/// Products of the low 24 bits: 48 bits, of which the low or the high 32 are taken.
fn product_24(r: &mut Registers, i: &Inst, lanes: u32, high: bool) {
    let shift = if high { 16 } else { 0 };
    let add = matches!(i.op, Op::Mad24(_));
    if i.ty == Type::S32 {
        let narrow = |x: i32| i64::from(x << 8 >> 8);
        map3(r, i, lanes, |a: i32, b: i32, c: i32| {
            let product = ((narrow(a) * narrow(b)) >> shift) as i32;
            match (add, i.saturate) {
                (false, _) => product,
                (true, false) => product.wrapping_add(c),
                (true, true) => product.saturating_add(c),
            }
        });
    } else {
        let narrow = |x: u32| u64::from(x & 0xff_ffff);
        map3(r, i, lanes, |a: u32, b: u32, c: u32| {
            let product = ((narrow(a) * narrow(b)) >> shift) as u32;
            if add { product.wrapping_add(c) } else { product }
        });
    }
}

/// Byte `k` of a word, sign-extended when signed.
fn byte(word: u32, k: u32, signed: bool) -> i32 {
    let byte = (word >> (8 * k)) as u8;
    if signed { i32::from(byte as i8) } else { i32::from(byte) }
}

fn dot_bytes(r: &mut Registers, i: &Inst, lanes: u32) {
    let (signed_a, signed_b) = (i.ty.is_signed(), i.from.is_signed());
    map3(r, i, lanes, |a: u32, b: u32, c: u32| {
        (0..4).fold(c, |sum, k| sum.wrapping_add((byte(a, k, signed_a) * byte(b, k, signed_b)) as u32))
    });
}

fn dot_halves(r: &mut Registers, i: &Inst, lanes: u32, high: bool) {
    let (signed_a, signed_b) = (i.ty.is_signed(), i.from.is_signed());
    let first = if high { 2 } else { 0 };
    map3(r, i, lanes, |a: u32, b: u32, c: u32| {
        (0..2).fold(c, |sum, k| {
            let half = (a >> (16 * k)) as u16;
            let half = if signed_a { i32::from(half as i16) } else { i32::from(half) };
            sum.wrapping_add(half.wrapping_mul(byte(b, first + k, signed_b)) as u32)
        })
    });
}

fn with_carry(r: &mut Registers, i: &Inst, lanes: u32, kind: Carry, carry: &mut u32) {
    let wide = i.ty.size() == 8;
    let bits = if wide { 64 } else { 32 };
    let low = |x: u128| if wide { x & u128::from(u64::MAX) } else { x & 0xffff_ffff };
    each_lane(lanes, |lane| {
        let [a, b, c] = [0, 1, 2].map(|k| match (wide, kind.base, k) {
            (_, CarryBase::Add | CarryBase::Sub, 2) => 0,
            (true, ..) => u128::from(r.wide(i.src[k])[lane]),
            (false, ..) => u128::from(r.word(i.src[k])[lane]),
        });
        let carried = u128::from(kind.reads && *carry >> lane & 1 == 1);
        let result = match kind.base {
            CarryBase::Add => a + b + carried,
            CarryBase::Sub => a.wrapping_sub(b).wrapping_sub(carried),
            CarryBase::MadLow => low(a * b) + c + carried,
            CarryBase::MadHigh => low(product_high(i.ty, a, b)) + c + carried,
        };
        if wide {
            r.wide_mut(i.dst[0])[lane] = result as u64;
        } else {
            r.word_mut(i.dst[0])[lane] = result as u32;
        }
        if kind.writes {
            *carry = *carry & !(1 << lane) | ((result >> bits & 1) as u32) << lane;
        }
    });
}

/// High half of a product of two 32- or 64-bit integers.
fn product_high(ty: Type, a: u128, b: u128) -> u128 {
    match ty {
        Type::S32 => ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32 as u128,
        Type::U32 => (a * b) >> 32,
        Type::S64 => ((i128::from(a as i64) * i128::from(b as i64)) >> 64) as u64 as u128,
        _ => (a * b) >> 64,
    }
}
