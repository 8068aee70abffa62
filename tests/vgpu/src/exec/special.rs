//! The special function unit: reciprocals, roots, exponentials, logarithms, sine, cosine, hyperbolic tangent.
//!
//! Hardware approximates them; the manual bounds the error. Here they are rounded correctly or, when asked, moved away from the
//! exact value within that bound. The error depends on function, argument and seed only, as hardware's does on its tables.
//!
//! The bounds are those of the PTX ISA manual 9.0, sections 9.7.3.8 (div), 9.7.3.13 to 9.7.3.22 (rcp, sqrt, rsqrt, sin, cos, lg2,
//! ex2, tanh), 9.7.4.9 and 9.7.4.10 (tanh and ex2 of 16 bits).

use super::float::{Brain, Half, Pair, SINGLE, Small, canonical, div_odd, flush, narrow, sqrt_odd};
use super::registers::{Registers, map1, map2};
use super::{Approx, Options};
use crate::decode::{Inst, Op, Special, Type};

/// How far an approximation may be from the exact value.
#[derive(Clone, Copy)]
enum Bound {
    /// Units in the last place, from the exact value.
    Ulps(u32),
    /// Units in the last place, from the correctly rounded value.
    UlpsOfNearest(u32),
    /// Relative to the exact value.
    Relative(f64),
    Absolute(f64),
    /// `lg2`: absolute for arguments in (0.5, 2), relative elsewhere.
    Log2,
    /// Nothing is promised: anything in [-1, 1], here.
    None,
}

fn exact(function: Special, x: f64) -> f64 {
    match function {
        Special::Reciprocal => 1.0 / x,
        Special::Sqrt => x.sqrt(),
        Special::ReciprocalSqrt => 1.0 / x.sqrt(),
        Special::Exp2 => x.exp2(),
        Special::Log2 => x.log2(),
        Special::Sin => x.sin(),
        Special::Cos => x.cos(),
        Special::Tanh => x.tanh(),
    }
}

/// The manual's bound for f32.
fn bound(function: Special, x: f64) -> Bound {
    let turns = x.abs() / std::f64::consts::TAU;
    match function {
        Special::Reciprocal => Bound::Ulps(1),
        Special::Sqrt => Bound::Relative(2f64.powi(-23)),
        Special::ReciprocalSqrt => Bound::Relative(2f64.powf(-22.9)),
        Special::Exp2 => Bound::UlpsOfNearest(2),
        Special::Log2 => Bound::Log2,
        Special::Sin | Special::Cos if turns <= 1.0 => Bound::Absolute(2f64.powf(-20.5)),
        Special::Sin | Special::Cos if turns <= 50.0 => Bound::Absolute(2f64.powf(-14.7)),
        Special::Sin | Special::Cos => Bound::None,
        // Subnormal arguments are passed through.
        Special::Tanh if x.abs() < f64::from(f32::MIN_POSITIVE) => Bound::Relative(0.0),
        Special::Tanh => Bound::Relative(2f64.powi(-11)),
    }
}

/// The bound for 16-bit results, and whether it is relative.
fn small_bound(function: Special, half: bool) -> Bound {
    match (function, half) {
        (Special::Exp2, true) => Bound::Relative(2f64.powf(-9.9)),
        (Special::Exp2, false) => Bound::Relative(2f64.powi(-7)),
        (_, true) => Bound::Absolute(2f64.powf(-10.987)),
        (_, false) => Bound::Absolute(2f64.powi(-8)),
    }
}

/// A number in [-1, 1] that depends on all of its arguments.
fn noise(seed: u64, function: u32, argument: u64) -> f64 {
    let mut z = seed ^ argument.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(function) << 56;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ z >> 31) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// An f32 within the bound of `exact`: anywhere in it by `noise`.
fn perturbed(exact: f64, argument: f64, bound: Bound, noise: f64) -> f32 {
    let nearest = exact as f32;
    if exact == 0.0 || !exact.is_finite() || !nearest.is_finite() || argument == 0.0 || !argument.is_finite() {
        return nearest;
    }
    let rounding = 2f64.powi(-24);
    let moved = |step: f64| {
        let x = (exact + noise * step) as f32;
        // Rounding must not carry the result past the bound.
        if (f64::from(x) - exact).abs() <= step.abs() { x } else { nearest }
    };
    match bound {
        Bound::Relative(limit) => moved(limit.max(rounding) * exact),
        Bound::Absolute(limit) => moved(limit),
        Bound::Log2 if argument > 0.5 && argument < 2.0 => moved(2f64.powi(-22)),
        Bound::Log2 => moved(2f64.powi(-22) * exact),
        Bound::None => noise as f32,
        Bound::UlpsOfNearest(n) => {
            let steps = (noise.abs() * f64::from(n + 1)) as u32;
            let result = (0..steps.min(n)).fold(nearest, |x, _| if noise < 0.0 { x.next_down() } else { x.next_up() });
            if result.is_finite() { result } else { nearest }
        }
        Bound::Ulps(n) => {
            let below = if f64::from(nearest) <= exact { nearest } else { nearest.next_down() };
            let above = if f64::from(nearest) >= exact { nearest } else { nearest.next_up() };
            let steps = ((noise.abs() * f64::from(n)) as u32).min(n - 1);
            let start = if noise < 0.0 { below } else { above };
            let result = (0..steps).fold(start, |x, _| if noise < 0.0 { x.next_down() } else { x.next_up() });
            if result.is_finite() { result } else { nearest }
        }
    }
}

/// Whether the options ask for errors, and by which seed.
fn seed_of(options: &Options, approx: bool) -> Option<u64> {
    (approx && options.approx == Approx::Perturbed).then_some(options.seed)
}

fn single(i: &Inst, function: Special, x: f32, seed: Option<u64>) -> f32 {
    let x = f64::from(if i.ftz { flush(x) } else { x });
    let result = match seed {
        None => match function {
            Special::Reciprocal => narrow(div_odd(1.0, x), SINGLE, i.round) as f32,
            Special::Sqrt => narrow(sqrt_odd(x), SINGLE, i.round) as f32,
            _ => exact(function, x) as f32,
        },
        Some(seed) => perturbed(exact(function, x), x, bound(function, x), noise(seed, function as u32, x.to_bits())),
    };
    canonical(if i.ftz { flush(result) } else { result })
}

/// `rcp.approx.ftz.f64`, `rsqrt.approx.ftz.f64` (sections 9.7.3.14 and 9.7.3.17): of the upper word, to an upper word.
fn gross(function: Special, x: f64) -> f64 {
    let flush = |x: f64| if x.abs() < f64::MIN_POSITIVE { 0f64.copysign(x) } else { x };
    let upper = |x: f64| f64::from_bits(x.to_bits() & !0xffff_ffff);
    let result = flush(upper(exact(function, flush(upper(x)))));
    if x.is_nan() || result.is_nan() { f64::from_bits(0x7fff_ffff_0000_0000) } else { result }
}

fn small<T: Small>(function: Special, i: &Inst, x: T, half: bool, seed: Option<u64>) -> T {
    let flush = |x: f32| if i.ftz && x.abs() < T::MIN_NORMAL { 0f32.copysign(x) } else { x };
    let x = f64::from(flush(x.to_f32()));
    let value = exact(function, x);
    let rounded = T::from_f32(flush(value as f32));
    let Some(seed) = seed else { return rounded };
    let noise = noise(seed, 16 + function as u32, x.to_bits());
    let limit = match small_bound(function, half) {
        Bound::Relative(limit) => limit * value.abs(),
        Bound::Absolute(limit) => limit,
        _ => 0.0,
    };
    let moved = T::from_f32(flush(perturbed(value, x, Bound::Absolute(limit), noise)));
    if (f64::from(moved.to_f32()) - value).abs() <= limit { moved } else { rounded }
}

/// Executes a special function or an approximate division; says whether it was one.
#[inline(always)]
pub fn execute(r: &mut Registers, i: &Inst, lanes: u32, options: &Options) -> bool {
    match i.op {
        Op::Special { function, approx } => {
            let seed = seed_of(options, approx);
            match i.ty {
                Type::F64 if i.ftz => map1(r, i, lanes, |x: f64| gross(function, x)),
                Type::F64 => map1(r, i, lanes, |x: f64| exact(function, x)),
                Type::F16 => map1(r, i, lanes, |x: Half| small(function, i, x, true, seed)),
                Type::BF16 => map1(r, i, lanes, |x: Brain| small(function, i, x, false, seed)),
                Type::F16x2 => map1(r, i, lanes, |x: Pair<Half>| {
                    Pair(small(function, i, x.0, true, seed), small(function, i, x.1, true, seed))
                }),
                Type::BF16x2 => map1(r, i, lanes, |x: Pair<Brain>| {
                    Pair(small(function, i, x.0, false, seed), small(function, i, x.1, false, seed))
                }),
                _ => map1(r, i, lanes, |x: f32| single(i, function, x, seed)),
            }
        }
        Op::DivApprox { full } => {
            let seed = seed_of(options, true);
            map2(r, i, lanes, |a: f32, b: f32| {
                let (a, b) = if i.ftz { (flush(a), flush(b)) } else { (a, b) };
                // Its reciprocal is subnormal, and lost.
                if !full && b.is_finite() && b.abs() > 2f32.powi(126) {
                    return canonical(a * 0f32.copysign(b));
                }
                let quotient = f64::from(a) / f64::from(b);
                let result = match seed {
                    None => quotient as f32,
                    Some(seed) => {
                        let argument = u64::from(a.to_bits()) << 32 | u64::from(b.to_bits());
                        perturbed(quotient, f64::from(b), Bound::Ulps(2), noise(seed, 32, argument))
                    }
                };
                canonical(if i.ftz { flush(result) } else { result })
            });
        }
        _ => return false,
    }
    true
}
