//! Predicates: comparisons, selection, classes of numbers, logic.

use super::float::{Brain, Half, Small, flush};
use super::registers::{FULL, Lane, Raw, Registers, map3, write};
use crate::decode::{Combine, Compare, Inst, Op, Test, Type};

/// Executes an instruction about predicates; says whether it was one.
#[inline(always)]
pub fn execute(r: &mut Registers, i: &Inst, lanes: u32) -> bool {
    match i.op {
        Op::SetPredicate(compare, combine) => {
            let result = lanes_where(r, i, i.ty, compare);
            let other = condition(r, i);
            r.set_predicate(i.dst[0], lanes, combine.apply(result, other));
            r.set_predicate(i.dst[1], lanes, combine.apply(!result, other));
        }
        Op::Set(compare, combine) => set(r, i, lanes, compare, combine),
        Op::Select => {
            let choice = condition(r, i);
            if i.ty.size() == 8 { select::<u64>(r, i, lanes, choice) } else { select::<u32>(r, i, lanes, choice) }
        }
        Op::SelectBySign => match (i.ty.size(), i.from) {
            (8, Type::F32) => map3(r, i, lanes, |a: u64, b: u64, c: f32| if sign(i, c) { a } else { b }),
            (8, _) => map3(r, i, lanes, |a: u64, b: u64, c: i32| if c >= 0 { a } else { b }),
            (_, Type::F32) => map3(r, i, lanes, |a: u32, b: u32, c: f32| if sign(i, c) { a } else { b }),
            _ => map3(r, i, lanes, |a: u32, b: u32, c: i32| if c >= 0 { a } else { b }),
        },
        Op::Test(test) => {
            let result = match i.ty {
                Type::F64 => each::<f64>(r, i, |a| class(test, a, f64::MIN_POSITIVE)),
                _ => each::<f32>(r, i, |a| class(test, f64::from(a), f64::from(f32::MIN_POSITIVE))),
            };
            r.set_predicate(i.dst[0], lanes, result);
        }
        Op::Logic(combine, not) => {
            let (a, b) = (r.predicate(i.src[0]), r.predicate(i.src[1]));
            r.set_predicate(i.dst[0], lanes, if not { !a } else { combine.apply(a, b) });
        }
        Op::Move if i.ty == Type::Predicate => {
            let value = r.predicate(i.src[0]) ^ if i.negated { FULL } else { 0 };
            r.set_predicate(i.dst[0], lanes, value);
        }
        _ => return false,
    }
    true
}

/// The predicate operand c.
fn condition(r: &Registers, i: &Inst) -> u32 {
    r.predicate(i.src[2]) ^ if i.negated { FULL } else { 0 }
}

/// `slct`: c >= 0; NaN is not, -0 is.
fn sign(i: &Inst, c: f32) -> bool {
    (if i.ftz { flush(c) } else { c }) >= 0.0
}

#[inline(always)]
fn select<R: Raw>(r: &mut Registers, i: &Inst, lanes: u32, choice: u32) {
    let (a, b) = (R::row(r, i.src[0]), R::row(r, i.src[1]));
    let mut values = [R::default(); 32];
    for lane in 0..32 {
        values[lane] = if choice >> lane & 1 == 1 { a[lane] } else { b[lane] };
    }
    write(r, i.dst[0], lanes, &values);
}

fn class(test: Test, a: f64, min_normal: f64) -> bool {
    match test {
        Test::Finite => a.is_finite(),
        Test::Infinite => a.is_infinite(),
        Test::Number => !a.is_nan(),
        Test::NotNumber => a.is_nan(),
        Test::Normal => a.is_finite() && a.abs() >= min_normal,
        Test::Subnormal => a != 0.0 && a.abs() < min_normal,
    }
}

#[inline(always)]
fn each<T: Lane>(r: &Registers, i: &Inst, f: impl Fn(T) -> bool) -> u32 {
    let a = T::Raw::row(r, i.src[0]);
    (0..32).fold(0, |mask, lane| mask | u32::from(f(T::of(a[lane]))) << lane)
}

#[inline(always)]
fn both<T: Lane>(r: &Registers, i: &Inst, f: impl Fn(T, T) -> bool) -> u32 {
    let (a, b) = (T::Raw::row(r, i.src[0]), T::Raw::row(r, i.src[1]));
    let mut mask = 0;
    for lane in 0..32 {
        mask |= u32::from(f(T::of(a[lane]), T::of(b[lane]))) << lane;
    }
    mask
}

#[inline(always)]
fn integers<T: Lane + Ord>(r: &Registers, i: &Inst, compare: Compare) -> u32 {
    match compare {
        Compare::Eq | Compare::EqUnordered => both(r, i, |a: T, b: T| a == b),
        Compare::Ne | Compare::NeUnordered => both(r, i, |a: T, b: T| a != b),
        Compare::Lt | Compare::LtUnordered => both(r, i, |a: T, b: T| a < b),
        Compare::Le | Compare::LeUnordered => both(r, i, |a: T, b: T| a <= b),
        Compare::Gt | Compare::GtUnordered => both(r, i, |a: T, b: T| a > b),
        Compare::Ge | Compare::GeUnordered => both(r, i, |a: T, b: T| a >= b),
        Compare::Number => FULL,
        Compare::Nan => 0,
    }
}

#[inline(always)]
fn floats<T: Lane>(r: &Registers, i: &Inst, compare: Compare, value: impl Fn(T) -> f64) -> u32 {
    both(r, i, |a: T, b: T| holds(compare, value(a), value(b)))
}

#[inline(always)]
fn holds(compare: Compare, a: f64, b: f64) -> bool {
    let unordered = a.is_nan() | b.is_nan();
    match compare {
        Compare::Eq => a == b,
        Compare::Ne => !unordered & (a != b),
        Compare::Lt => a < b,
        Compare::Le => a <= b,
        Compare::Gt => a > b,
        Compare::Ge => a >= b,
        Compare::EqUnordered => unordered | (a == b),
        Compare::NeUnordered => a != b,
        Compare::LtUnordered => unordered | (a < b),
        Compare::LeUnordered => unordered | (a <= b),
        Compare::GtUnordered => unordered | (a > b),
        Compare::GeUnordered => unordered | (a >= b),
        Compare::Number => !unordered,
        Compare::Nan => unordered,
    }
}

#[inline(always)]
fn lanes_where(r: &Registers, i: &Inst, ty: Type, compare: Compare) -> u32 {
    match ty {
        Type::F32 if i.ftz => floats(r, i, compare, |a: f32| f64::from(flush(a))),
        Type::F32 => floats(r, i, compare, |a: f32| f64::from(a)),
        Type::F64 => floats(r, i, compare, |a: f64| a),
        Type::F16 => floats(r, i, compare, |a: Half| f64::from(a.to_f32())),
        Type::BF16 => floats(r, i, compare, |a: Brain| f64::from(a.to_f32())),
        Type::U16 => integers::<u16>(r, i, compare),
        Type::S16 => integers::<i16>(r, i, compare),
        Type::S32 => integers::<i32>(r, i, compare),
        Type::U64 => integers::<u64>(r, i, compare),
        Type::S64 => integers::<i64>(r, i, compare),
        // `setp.eq.f16x2 p|q`: p from the low halves, handled by the caller's second call.
        Type::F16x2 => both(r, i, |a: u32, b: u32| holds(compare, half(a), half(b))),
        Type::BF16x2 => both(r, i, |a: u32, b: u32| holds(compare, brain(a), brain(b))),
        _ => integers::<u32>(r, i, compare),
    }
}

fn half(word: u32) -> f64 {
    f64::from(Half(word as u16).to_f32())
}

fn brain(word: u32) -> f64 {
    f64::from(Brain(word as u16).to_f32())
}

fn set(r: &mut Registers, i: &Inst, lanes: u32, compare: Compare, combine: Combine) {
    let one = match i.ty {
        Type::F32 => 0x3f80_0000,
        Type::F16 | Type::F16x2 => 0x3c00,
        Type::BF16 | Type::BF16x2 => 0x3f80,
        Type::U16 | Type::S16 => 0xffff,
        _ if matches!(i.from, Type::F16x2 | Type::BF16x2) => 0xffff,
        _ => FULL,
    };
    let other = condition(r, i);
    let low = combine.apply(lanes_where(r, i, i.from, compare), other);
    let packed = matches!(i.from, Type::F16x2 | Type::BF16x2);
    let high = if packed {
        let value = |word: u32| if i.from == Type::F16x2 { half(word >> 16) } else { brain(word >> 16) };
        combine.apply(both(r, i, |a: u32, b: u32| holds(compare, value(a), value(b))), other)
    } else {
        0
    };
    let bit = |mask: u32, lane: usize| if mask >> lane & 1 == 1 { one } else { 0 };
    let values = std::array::from_fn(|lane| bit(low, lane) | if packed { bit(high, lane) << 16 } else { 0 });
    write::<u32>(r, i.dst[0], lanes, &values);
}
