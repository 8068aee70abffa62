//! Operations on bits of integers, lane by lane.

use super::registers::{Registers, each_lane, map1, map2, map3};
use crate::decode::{Bits, Inst, Permute, Type};

/// Executes a bit operation.
#[inline(always)]
pub fn execute(r: &mut Registers, i: &Inst, lanes: u32, op: Bits) {
    let wide = i.ty.size() == 8;
    match op {
        Bits::And if wide => map2(r, i, lanes, |a: u64, b: u64| a & b),
        Bits::Or if wide => map2(r, i, lanes, |a: u64, b: u64| a | b),
        Bits::Xor if wide => map2(r, i, lanes, |a: u64, b: u64| a ^ b),
        Bits::And => map2(r, i, lanes, |a: u32, b: u32| a & b),
        Bits::Or => map2(r, i, lanes, |a: u32, b: u32| a | b),
        Bits::Xor => map2(r, i, lanes, |a: u32, b: u32| a ^ b),
        Bits::Not if wide => map1(r, i, lanes, |a: u64| !a),
        Bits::Not => map1(r, i, lanes, |a: u32| !a),
        Bits::Cnot if wide => map1(r, i, lanes, |a: u64| u64::from(a == 0)),
        Bits::Cnot if i.ty.size() == 2 => map1(r, i, lanes, |a: u16| u16::from(a == 0)),
        Bits::Cnot => map1(r, i, lanes, |a: u32| u32::from(a == 0)),
        Bits::Shl => shift_left(r, i, lanes),
        Bits::Shr => shift_right(r, i, lanes),
        Bits::Lop3(table) => map3(r, i, lanes, move |a: u32, b: u32, c: u32| lop3(table, a, b, c)),
        Bits::Prmt(mode) => map3(r, i, lanes, move |a: u32, b: u32, c: u32| permute(mode, a, b, c)),
        Bits::ShfLeft { wrap } => map3(r, i, lanes, move |a: u32, b: u32, c: u32| {
            let n = if wrap { c & 31 } else { c.min(32) };
            ((u64::from(b) << 32 | u64::from(a)) << n >> 32) as u32
        }),
        Bits::ShfRight { wrap } => map3(r, i, lanes, move |a: u32, b: u32, c: u32| {
            let n = if wrap { c & 31 } else { c.min(32) };
            ((u64::from(b) << 32 | u64::from(a)) >> n) as u32
        }),
        Bits::Popc if wide => map1(r, i, lanes, u64::count_ones),
        Bits::Popc => map1(r, i, lanes, u32::count_ones),
        Bits::Clz if wide => map1(r, i, lanes, u64::leading_zeros),
        Bits::Clz => map1(r, i, lanes, u32::leading_zeros),
        Bits::Brev if wide => map1(r, i, lanes, u64::reverse_bits),
        Bits::Brev => map1(r, i, lanes, u32::reverse_bits),
        Bits::Bfind { shift_amount } => find_leading(r, i, lanes, shift_amount),
        Bits::Bmsk { wrap } => map2(r, i, lanes, move |a: u32, b: u32| {
            let (a, b) = if wrap { (a & 31, b & 31) } else { (a.min(32), b.min(32)) };
            (((1u64 << b) - 1) << a) as u32
        }),
        Bits::Szext { wrap } => sign_or_zero_extend(r, i, lanes, wrap),
        Bits::Bfi => insert(r, i, lanes),
        Bits::Bfe => extract(r, i, lanes),
        Bits::Fns => map3(r, i, lanes, find_nth_set),
    }
}

fn shift_left(r: &mut Registers, i: &Inst, lanes: u32) {
    match i.ty.size() {
        8 => map2(r, i, lanes, |a: u64, b: u32| a.checked_shl(b).unwrap_or(0)),
        4 => map2(r, i, lanes, |a: u32, b: u32| a.checked_shl(b).unwrap_or(0)),
        _ => map2(r, i, lanes, |a: u16, b: u32| a.checked_shl(b).unwrap_or(0)),
    }
}

fn shift_right(r: &mut Registers, i: &Inst, lanes: u32) {
    match i.ty {
        Type::S64 => map2(r, i, lanes, |a: i64, b: u32| a >> b.min(63)),
        Type::S32 => map2(r, i, lanes, |a: i32, b: u32| a >> b.min(31)),
        Type::S16 => map2(r, i, lanes, |a: i16, b: u32| a >> b.min(15)),
        Type::U64 => map2(r, i, lanes, |a: u64, b: u32| a.checked_shr(b).unwrap_or(0)),
        Type::U16 => map2(r, i, lanes, |a: u16, b: u32| a.checked_shr(b).unwrap_or(0)),
        _ => map2(r, i, lanes, |a: u32, b: u32| a.checked_shr(b).unwrap_or(0)),
    }
}

/// Bit (4a + 2b + c) of the table, for each bit of the operands.
#[inline(always)]
fn lop3(table: u8, a: u32, b: u32, c: u32) -> u32 {
    let mut result = 0;
    for row in 0..8u8 {
        let term = |bit: u8, x: u32| if row & bit != 0 { x } else { !x };
        if table >> row & 1 == 1 {
            result |= term(4, a) & term(2, b) & term(1, c);
        }
    }
    result
}

/// Byte selectors of the modes other than the plain one, by c's low two bits, lowest byte first.
fn selectors(mode: Permute, c: u32) -> u32 {
    let n = c & 3;
    let pick = |f: &dyn Fn(u32) -> u32| (0..4).fold(0, |all, k| all | (f(k) & 7) << (4 * k));
    match mode {
        Permute::Selectors => c,
        Permute::Forward4 => pick(&|k| n + k),
        Permute::Backward4 => pick(&|k| n.wrapping_sub(k)),
        Permute::Replicate8 => pick(&|_| n),
        Permute::EdgeClampLeft => pick(&|k| k.max(n)),
        Permute::EdgeClampRight => pick(&|k| k.min(n)),
        Permute::Replicate16 => pick(&|k| (n & 1) * 2 + (k & 1)),
    }
}

#[inline(always)]
fn permute(mode: Permute, a: u32, b: u32, c: u32) -> u32 {
    let bytes = u64::from(b) << 32 | u64::from(a);
    let chosen = if mode == Permute::Selectors { c } else { selectors(mode, c) };
    let mut result = 0;
    for k in 0..4 {
        let selector = chosen >> (4 * k);
        let byte = (bytes >> (8 * (selector & 7))) as u8;
        let byte = if selector & 8 != 0 { (byte as i8 >> 7) as u8 } else { byte };
        result |= u32::from(byte) << (8 * k);
    }
    result
}

/// Position of the most significant bit that is not a copy of the sign; all ones when there is none.
fn find_leading(r: &mut Registers, i: &Inst, lanes: u32, shift_amount: bool) {
    let bits = 8 * i.ty.size() as u32;
    let answer = move |leading: u32| match (leading == bits, shift_amount) {
        (true, _) => u32::MAX,
        (false, true) => leading,
        (false, false) => bits - 1 - leading,
    };
    match i.ty {
        Type::S64 => map1(r, i, lanes, |a: i64| answer((if a < 0 { !a } else { a }).leading_zeros())),
        Type::S32 => map1(r, i, lanes, |a: i32| answer((if a < 0 { !a } else { a }).leading_zeros())),
        Type::U64 => map1(r, i, lanes, |a: u64| answer(a.leading_zeros())),
        _ => map1(r, i, lanes, |a: u32| answer(a.leading_zeros())),
    }
}

fn sign_or_zero_extend(r: &mut Registers, i: &Inst, lanes: u32, wrap: bool) {
    let signed = i.ty.is_signed();
    map2(r, i, lanes, move |a: u32, b: u32| {
        let bits = if wrap { b & 31 } else { b };
        match bits {
            0 => 0,
            32.. => a,
            _ if signed => ((a << (32 - bits)) as i32 >> (32 - bits)) as u32,
            _ => a & ((1 << bits) - 1),
        }
    });
}

/// The operands of `bfi`/`bfe` as numbers: value rows may be 32 or 64 bits.
fn lane(r: &Registers, wide: bool, row: u32, lane: usize) -> u64 {
    if wide { r.wide(row)[lane] } else { u64::from(r.word(row)[lane]) }
}

fn set_lane(r: &mut Registers, wide: bool, row: u32, lane: usize, value: u64) {
    if wide {
        r.wide_mut(row)[lane] = value;
    } else {
        r.word_mut(row)[lane] = value as u32;
    }
}

/// `len` ones from `position` up.
fn field(position: u32, len: u32) -> u64 {
    let ones = if len >= 64 { u64::MAX } else { (1 << len) - 1 };
    ones.checked_shl(position).unwrap_or(0)
}

/// Bits of a, `e` of them, into b at position c.
fn insert(r: &mut Registers, i: &Inst, lanes: u32) {
    let wide = i.ty.size() == 8;
    each_lane(lanes, |l| {
        let (position, len) = (r.word(i.src[2])[l] & 255, r.word(i.src[3])[l] & 255);
        let (a, b) = (lane(r, wide, i.src[0], l), lane(r, wide, i.src[1], l));
        let mask = field(position, len);
        set_lane(r, wide, i.dst[0], l, b & !mask | a.checked_shl(position).unwrap_or(0) & mask);
    });
}

/// c bits of a from position b; the sign bit fills, which is the field's last bit or a's when the field runs out.
fn extract(r: &mut Registers, i: &Inst, lanes: u32) {
    let (wide, signed) = (i.ty.size() == 8, i.ty.is_signed());
    let bits = if wide { 64 } else { 32 };
    each_lane(lanes, |l| {
        let (position, len) = (r.word(i.src[1])[l] & 255, r.word(i.src[2])[l] & 255);
        let a = lane(r, wide, i.src[0], l);
        let sign = signed && len > 0 && a >> (position + len - 1).min(bits - 1) & 1 == 1;
        let taken = len.min(bits.saturating_sub(position));
        let value = a.checked_shr(position).unwrap_or(0) & field(0, taken);
        let value = if sign { value | !field(0, taken) } else { value };
        set_lane(r, wide, i.dst[0], l, value);
    });
}

/// Position of the `offset`-th set bit at or above (below, when negative) `base`.
fn find_nth_set(mask: u32, base: u32, offset: i32) -> u32 {
    if base >= 32 {
        return u32::MAX;
    }
    if offset == 0 {
        return if mask >> base & 1 == 1 { base } else { u32::MAX };
    }
    let mut left = offset.unsigned_abs();
    let mut position = base as i32;
    while (0..32).contains(&position) {
        if mask >> position & 1 == 1 {
            left -= 1;
            if left == 0 {
                return position as u32;
            }
        }
        position += offset.signum();
    }
    u32::MAX
}
