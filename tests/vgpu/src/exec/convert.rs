//! Conversions between types, and moves that cut or join registers.

use super::float::{BRAIN, Brain, HALF, Half, SINGLE, Small, TENSOR, canonical, flush, integral, narrow};
use super::registers::{Lane, Registers, each_lane, map1, map2};
use crate::decode::{Inst, Op, Round, Space, Type};
use crate::memory::{LOCAL_WINDOW, SHARED_WINDOW};

/// Generic addresses of the parameter block: this plus the offset.
pub const PARAM_WINDOW: u64 = 3 << 56;

/// Executes a move or conversion; says whether it was one.
#[inline(always)]
pub fn execute(r: &mut Registers, i: &Inst, lanes: u32) -> bool {
    match i.op {
        Op::Move if i.ty.size() == 8 => map1(r, i, lanes, |a: u64| a),
        Op::Move => map1(r, i, lanes, |a: u32| a),
        Op::Pack => pack(r, i, lanes),
        Op::Unpack => unpack(r, i, lanes),
        Op::Convert { integral } => convert(r, i, lanes, integral),
        Op::ConvertPair => convert_pair(r, i, lanes),
        Op::ConvertPack => convert_pack(r, i, lanes),
        Op::ToSpace(space) => {
            let window = if space == Space::Global { 0 } else { 0xff << 56 };
            map1(r, i, lanes, |a: u64| a & !window);
        }
        Op::FromSpace(space) => {
            let window = match space {
                Space::Shared => SHARED_WINDOW,
                Space::Local => LOCAL_WINDOW,
                Space::Param => PARAM_WINDOW,
                _ => 0,
            };
            map1(r, i, lanes, |a: u64| a.wrapping_add(window));
        }
        Op::IsSpace(space) => {
            let a = *r.wide(i.src[0]);
            let is = |address: u64| match address >> 56 {
                1 => space == Space::Shared,
                2 => space == Space::Local,
                3 => space == Space::Param,
                _ => space == Space::Global,
            };
            let result = (0..32).fold(0, |mask, lane| mask | u32::from(is(a[lane])) << lane);
            r.set_predicate(i.dst[0], lanes, result);
        }
        _ => return false,
    }
    true
}

fn pack(r: &mut Registers, i: &Inst, lanes: u32) {
    let bits = 8 * i.ty.size() / i.list.len();
    let mask = (1u64 << bits) - 1;
    let mut values = [0u64; 32];
    for (part, row) in i.list.iter().enumerate() {
        for (value, word) in values.iter_mut().zip(r.word(*row)) {
            *value |= (u64::from(*word) & mask) << (part * bits);
        }
    }
    if i.ty.size() == 8 {
        super::registers::write(r, i.dst[0], lanes, &values);
    } else {
        super::registers::write(r, i.dst[0], lanes, &values.map(|v| v as u32));
    }
}

fn unpack(r: &mut Registers, i: &Inst, lanes: u32) {
    let bits = 8 * i.ty.size() / i.list.len();
    let mask = (1u64 << bits) - 1;
    let values = if i.ty.size() == 8 { *r.wide(i.src[0]) } else { r.word(i.src[0]).map(u64::from) };
    for (part, row) in i.list.iter().enumerate() {
        super::registers::write(r, *row, lanes, &values.map(|v| (v >> (part * bits) & mask) as u32));
    }
}

/// Bits of one operand, as an integer (sign-extended by its type) or as an f64.
enum Value {
    Int(i128),
    Float(f64),
}

/// The value of type `ty` in the low bits of a register.
fn value(ty: Type, bits: u64) -> Value {
    match ty {
        Type::U8 => Value::Int((bits as u8).into()),
        Type::S8 => Value::Int((bits as i8).into()),
        Type::U16 => Value::Int((bits as u16).into()),
        Type::S16 => Value::Int((bits as i16).into()),
        Type::S32 => Value::Int((bits as i32).into()),
        Type::U64 => Value::Int(bits.into()),
        Type::S64 => Value::Int((bits as i64).into()),
        Type::F16 => Value::Float(Half(bits as u16).to_f32().into()),
        Type::BF16 => Value::Float(Brain(bits as u16).to_f32().into()),
        Type::F32 => Value::Float(f32::from_bits(bits as u32).into()),
        Type::F64 => Value::Float(f64::from_bits(bits)),
        _ => Value::Int((bits as u32).into()),
    }
}

fn range(ty: Type) -> (i128, i128) {
    let bits = 8 * ty.size() as u32;
    if ty.is_signed() { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

#[inline(always)]
fn convert(r: &mut Registers, i: &Inst, lanes: u32, to_integral: bool) {
    let plain = !i.ftz && !i.saturate && !i.relu && !i.wide_list && !i.short_address;
    let nearest = i.round == Round::Nearest;
    if plain {
        match (i.ty, i.from) {
            (Type::U64 | Type::S64, Type::U32) => return map1(r, i, lanes, |a: u32| u64::from(a)),
            (Type::U64 | Type::S64, Type::S32) => return map1(r, i, lanes, |a: i32| i64::from(a)),
            (Type::U32 | Type::S32, Type::U64 | Type::S64) => return map1(r, i, lanes, |a: u64| a as u32),
            (Type::U32 | Type::S32, Type::U16) => return map1(r, i, lanes, |a: u16| u32::from(a)),
            (Type::U16 | Type::S16, Type::U32 | Type::S32) => return map1(r, i, lanes, |a: u32| a as u16),
            (Type::F32, Type::BF16) => return map1(r, i, lanes, |a: Brain| canonical(a.to_f32())),
            (Type::F32, Type::F16) => return map1(r, i, lanes, |a: Half| canonical(a.to_f32())),
            (Type::BF16, Type::F32) if nearest => return map1(r, i, lanes, Brain::from_f32),
            (Type::F16, Type::F32) if nearest => return map1(r, i, lanes, Half::from_f32),
            (Type::F32, Type::S32) if nearest => return map1(r, i, lanes, |a: i32| a as f32),
            (Type::F32, Type::U32) if nearest => return map1(r, i, lanes, |a: u32| a as f32),
            _ => {}
        }
    }
    each_lane(lanes, |lane| {
        let wide_source = i.from.size() == 8 || i.short_address;
        let bits = if wide_source { r.wide(i.src[0])[lane] } else { u64::from(r.word(i.src[0])[lane]) };
        let bits = converted(i, value(i.from, bits), to_integral);
        if i.ty.size() == 8 || i.wide_list {
            r.wide_mut(i.dst[0])[lane] = bits;
        } else {
            r.word_mut(i.dst[0])[lane] = bits as u32;
        }
    });
}

/// Bits of the result, extended to 64 by the result's sign.
fn converted(i: &Inst, value: Value, to_integral: bool) -> u64 {
    if !i.ty.is_float() {
        let (low, high) = range(i.ty);
        let result = match value {
            Value::Int(x) if i.saturate => x.clamp(low, high),
            Value::Int(x) => x,
            Value::Float(x) if x.is_nan() => match i.from {
                // The manual: NaN converts to 0, and to 0x8000000000000000 for 64-bit results of f32 and f64.
                Type::F32 | Type::F64 if i.ty.size() == 8 => return 1 << 63,
                _ => 0,
            },
            Value::Float(x) => {
                let x = if i.ftz && i.from == Type::F32 { f64::from(flush(x as f32)) } else { x };
                (integral(x, i.round) as i128).clamp(low, high)
            }
        };
        let bits = 8 * i.ty.size();
        let truncated =
            if i.ty.is_signed() { result << (128 - bits) >> (128 - bits) } else { result & ((1 << bits) - 1) };
        return truncated as u64;
    }
    let mut x = match value {
        Value::Float(x) => x,
        Value::Int(x) => return from_integer(i, x),
    };
    if i.ftz && i.from == Type::F32 {
        x = f64::from(flush(x as f32));
    }
    if to_integral {
        x = integral(x, i.round);
    }
    if i.saturate {
        x = if x.is_nan() { 0.0 } else { x.clamp(0.0, 1.0) + 0.0 };
    }
    if i.relu && !x.is_nan() {
        x = x.max(0.0);
    }
    float_bits(i, x)
}

fn from_integer(i: &Inst, x: i128) -> u64 {
    // An i64 or u64 has more bits than an f64: round to odd first, so that the next rounding is right.
    let nearest = x as f64;
    let x = if i.ty == Type::F64 {
        super::float::directed(nearest, (x - nearest as i128) as f64, i.round)
    } else {
        super::float::odd(nearest, (x - nearest as i128) as f64)
    };
    float_bits(i, if i.saturate { x.clamp(0.0, 1.0) } else { x })
}

fn float_bits(i: &Inst, x: f64) -> u64 {
    match i.ty {
        Type::F64 => x.to_bits(),
        Type::F16 => Half::from_f32(narrow(x, HALF, i.round) as f32).0.into(),
        Type::BF16 => Brain::from_f32(narrow(x, BRAIN, i.round) as f32).0.into(),
        Type::TF32 if x.is_nan() => 0x7fff_ffff,
        Type::TF32 => (narrow(x, TENSOR, i.round) as f32).to_bits().into(),
        _ => {
            let x = canonical(narrow(x, SINGLE, i.round) as f32);
            (if i.ftz { flush(x) } else { x }).to_bits().into()
        }
    }
}

/// d = {a to the upper half, b to the lower}
#[inline(always)]
fn convert_pair(r: &mut Registers, i: &Inst, lanes: u32) {
    let relu = |x: f32| if i.relu && x <= 0.0 { 0.0 } else { x };
    let clamp = |x: f32, max: f32| if i.saturate && !x.is_nan() { x.clamp(-max, max) } else { x };
    match (i.ty, i.round) {
        (Type::BF16x2, Round::Nearest) if !i.saturate => {
            map2(r, i, lanes, |a: f32, b: f32| Brain::from_f32(relu(a)).raw() << 16 | Brain::from_f32(relu(b)).raw())
        }
        (Type::F16x2, Round::Nearest) if !i.saturate => {
            map2(r, i, lanes, |a: f32, b: f32| Half::from_f32(relu(a)).raw() << 16 | Half::from_f32(relu(b)).raw())
        }
        (Type::BF16x2, round) => map2(r, i, lanes, |a: f32, b: f32| {
            let one = |x: f32| Brain::from_f64(f64::from(clamp(relu(x), 3.389_531_4e38)), round).raw();
            one(a) << 16 | one(b)
        }),
        (_, round) => map2(r, i, lanes, |a: f32, b: f32| {
            let one = |x: f32| Half::from_f64(f64::from(clamp(relu(x), 65504.0)), round).raw();
            one(a) << 16 | one(b)
        }),
    }
}

/// `cvt.pack.sat`: c shifted up by both results, then a, then b in the lowest bits.
fn convert_pack(r: &mut Registers, i: &Inst, lanes: u32) {
    let (low, high) = range(i.ty);
    let bits = 8 * i.ty.size() as u32;
    let mask = (1u32 << bits) - 1;
    each_lane(lanes, |lane| {
        let [a, b, c] = [0, 1, 2].map(|k| r.word(i.src[k])[lane]);
        let part = |x: u32| (i128::from(x as i32).clamp(low, high) as u32) & mask;
        let above = if bits == 8 { c << 16 } else { 0 };
        r.word_mut(i.dst[0])[lane] = above | part(a) << bits | part(b);
    });
}
