//! Floating-point arithmetic. Answers come from the host's own arithmetic where it is the same operation, and otherwise from a
//! search: the value of the result's type that is nearest to, or on the right side of, the exact result in a wider type.

use super::harness::check;

const NAN: u64 = 0x7fff_ffff;

fn f32s(row: &[u64]) -> Vec<f32> {
    row.iter().map(|b| f32::from_bits(*b as u32)).collect()
}

fn f64s(row: &[u64]) -> Vec<f64> {
    row.iter().map(|b| f64::from_bits(*b)).collect()
}

/// Bits of an f32 result; every NaN is the canonical one.
fn bits(x: f32) -> Option<u64> {
    Some(if x.is_nan() { NAN } else { x.to_bits().into() })
}

fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0f32.copysign(x) } else { x }
}

#[test]
fn f32_to_nearest() {
    check("add.f32 %d, %a, %b;", "f32", &["f32"; 2], |r| bits(f32s(r)[0] + f32s(r)[1]));
    check("add.rn.f32 %d, %a, %b;", "f32", &["f32"; 2], |r| bits(f32s(r)[0] + f32s(r)[1]));
    check("sub.f32 %d, %a, %b;", "f32", &["f32"; 2], |r| bits(f32s(r)[0] - f32s(r)[1]));
    check("mul.f32 %d, %a, %b;", "f32", &["f32"; 2], |r| bits(f32s(r)[0] * f32s(r)[1]));
    check("div.rn.f32 %d, %a, %b;", "f32", &["f32"; 2], |r| bits(f32s(r)[0] / f32s(r)[1]));
    check("fma.rn.f32 %d, %a, %b, %c;", "f32", &["f32"; 3], |r| bits(f32s(r)[0].mul_add(f32s(r)[1], f32s(r)[2])));
    check("mad.rn.f32 %d, %a, %b, %c;", "f32", &["f32"; 3], |r| bits(f32s(r)[0].mul_add(f32s(r)[1], f32s(r)[2])));
    check("sqrt.rn.f32 %d, %a;", "f32", &["f32"], |r| bits(f32s(r)[0].sqrt()));
    check("rcp.rn.f32 %d, %a;", "f32", &["f32"], |r| bits(1.0 / f32s(r)[0]));
    check("abs.f32 %d, %a;", "f32", &["f32"], |r| Some(r[0] & 0x7fff_ffff));
    check("neg.f32 %d, %a;", "f32", &["f32"], |r| Some(r[0] ^ 0x8000_0000));
    check("copysign.f32 %d, %a, %b;", "f32", &["f32"; 2], |r| Some(r[0] & 0x8000_0000 | r[1] & 0x7fff_ffff));
}

#[test]
fn flushed_and_clamped() {
    let flushed = |r: &[u64]| f32s(r).into_iter().map(flush).collect::<Vec<_>>();
    check("add.ftz.f32 %d, %a, %b;", "f32", &["f32"; 2], |r| bits(flush(flushed(r)[0] + flushed(r)[1])));
    check("mul.ftz.f32 %d, %a, %b;", "f32", &["f32"; 2], |r| bits(flush(flushed(r)[0] * flushed(r)[1])));
    check("fma.rn.ftz.f32 %d, %a, %b, %c;", "f32", &["f32"; 3], |r| {
        bits(flush(flushed(r)[0].mul_add(flushed(r)[1], flushed(r)[2])))
    });
    let clamped = |x: f32| bits(if x.is_nan() { 0.0 } else { x.clamp(0.0, 1.0) + 0.0 });
    check("add.sat.f32 %d, %a, %b;", "f32", &["f32"; 2], |r| clamped(f32s(r)[0] + f32s(r)[1]));
    check("fma.rn.sat.f32 %d, %a, %b, %c;", "f32", &["f32"; 3], |r| {
        clamped(f32s(r)[0].mul_add(f32s(r)[1], f32s(r)[2]))
    });
}

/// The sign of `exact - x`, where `exact` is a sum of two f64 that need not fit an f64.
fn side(high: f64, low: f64, x: f32) -> f64 {
    // x is close to `high`, so the difference is exact or its sign is clear.
    (high - f64::from(x)) + low
}

/// The f32 that a directed rounding of `high + low` gives.
fn directed(mode: &str, high: f64, low: f64) -> Option<f32> {
    let near = high as f32;
    if !high.is_finite() || !near.is_finite() || high == 0.0 {
        return None;
    }
    let mut candidates = [near.next_down(), near, near.next_up()];
    let down = |x: &&f32| side(high, low, **x) >= 0.0;
    Some(match (mode, high > 0.0) {
        ("rm", _) | ("rz", true) => *candidates.iter().rev().find(down)?,
        _ => {
            candidates.reverse();
            *candidates.iter().rev().find(|x| side(high, low, **x) <= 0.0)?
        }
    })
}

#[test]
fn f32_rounded_in_a_direction() {
    for mode in ["rz", "rm", "rp"] {
        check(&format!("mul.{mode}.f32 %d, %a, %b;"), "f32", &["f32"; 2], |r| {
            let [a, b] = [f32s(r)[0], f32s(r)[1]].map(f64::from);
            let finite = a * b;
            // Overflow and underflow are left to the other tests.
            if finite.abs() < 1e-30 || finite.is_nan() {
                return None;
            }
            bits(directed(mode, finite, 0.0)?)
        });
        check(&format!("add.{mode}.f32 %d, %a, %b;"), "f32", &["f32"; 2], |r| {
            let [a, b] = [f32s(r)[0], f32s(r)[1]].map(f64::from);
            let (high, small) = if a.abs() > b.abs() { (a, b) } else { (b, a) };
            let sum = high + small;
            bits(directed(mode, sum, small - (sum - high))?)
        });
        check(&format!("fma.{mode}.f32 %d, %a, %b, %c;"), "f32", &["f32"; 3], |r| {
            let [a, b, c] = [f32s(r)[0], f32s(r)[1], f32s(r)[2]].map(f64::from);
            let (high, small) = if (a * b).abs() > c.abs() { (a * b, c) } else { (c, a * b) };
            let sum = high + small;
            if sum.abs() < 1e-30 {
                return None;
            }
            bits(directed(mode, sum, small - (sum - high))?)
        });
    }
    // A quotient is below x when x * b is above a.
    for (mode, below) in [("rm", true), ("rp", false)] {
        check(&format!("div.{mode}.f32 %d, %a, %b;"), "f32", &["f32"; 2], |r| {
            let (a, b) = (f32s(r)[0], f32s(r)[1]);
            let near = a / b;
            if !near.is_finite() || near == 0.0 || near.abs() < 1e-30 || near.abs() > 1e30 {
                return None;
            }
            let exceeds = |x: f32| {
                (f64::from(x) * f64::from(b) > f64::from(a)) == (b > 0.0) && f64::from(x) * f64::from(b) != f64::from(a)
            };
            let candidates = [near.next_down(), near, near.next_up()];
            let equal = candidates.iter().find(|x| f64::from(**x) * f64::from(b) == f64::from(a));
            let chosen = match (equal, below) {
                (Some(x), _) => x,
                (None, true) => candidates.iter().rev().find(|x| !exceeds(**x))?,
                (None, false) => candidates.iter().find(|x| exceeds(**x))?,
            };
            bits(*chosen)
        });
    }
}

#[test]
fn f64_arithmetic() {
    // The payload of a NaN is not specified.
    let bits = |x: f64| (!x.is_nan()).then_some(x.to_bits());
    check("add.f64 %d, %a, %b;", "f64", &["f64"; 2], |r| bits(f64s(r)[0] + f64s(r)[1]));
    check("sub.rn.f64 %d, %a, %b;", "f64", &["f64"; 2], |r| bits(f64s(r)[0] - f64s(r)[1]));
    check("mul.rn.f64 %d, %a, %b;", "f64", &["f64"; 2], |r| bits(f64s(r)[0] * f64s(r)[1]));
    check("div.rn.f64 %d, %a, %b;", "f64", &["f64"; 2], |r| bits(f64s(r)[0] / f64s(r)[1]));
    check("fma.rn.f64 %d, %a, %b, %c;", "f64", &["f64"; 3], |r| bits(f64s(r)[0].mul_add(f64s(r)[1], f64s(r)[2])));
    check("sqrt.rn.f64 %d, %a;", "f64", &["f64"], |r| bits(f64s(r)[0].sqrt()));
    check("rcp.rn.f64 %d, %a;", "f64", &["f64"], |r| bits(1.0 / f64s(r)[0]));
    check("neg.f64 %d, %a;", "f64", &["f64"], |r| Some(r[0] ^ 1 << 63));
    check("abs.f64 %d, %a;", "f64", &["f64"], |r| Some(r[0] & !(1 << 63)));
}

/// min/max as the manual says: a NaN loses (or wins, with `.NaN`), and -0 is less than +0.
fn extreme(a: f32, b: f32, most: bool, nan: bool) -> f32 {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => f32::NAN,
        (true, false) | (false, true) if nan => f32::NAN,
        (true, false) => b,
        (false, true) => a,
        _ if a == 0.0 && b == 0.0 => {
            let negative = a.is_sign_negative() as u32 + b.is_sign_negative() as u32;
            if (most && negative == 2) || (!most && negative > 0) { -0.0 } else { 0.0 }
        }
        _ if (a < b) != most => a,
        _ => b,
    }
}

#[test]
fn extremes() {
    for (op, most) in [("min", false), ("max", true)] {
        check(&format!("{op}.f32 %d, %a, %b;"), "f32", &["f32"; 2], |r| {
            bits(extreme(f32s(r)[0], f32s(r)[1], most, false))
        });
        check(&format!("{op}.NaN.f32 %d, %a, %b;"), "f32", &["f32"; 2], |r| {
            bits(extreme(f32s(r)[0], f32s(r)[1], most, true))
        });
        check(&format!("{op}.f32 %d, %a, %b, %c;"), "f32", &["f32"; 3], |r| {
            let v = f32s(r);
            bits(extreme(extreme(v[0], v[1], most, false), v[2], most, false))
        });
        check(&format!("{op}.xorsign.abs.f32 %d, %a, %b;"), "f32", &["f32"; 2], |r| {
            let v = f32s(r);
            let sign = if v[0].is_sign_negative() != v[1].is_sign_negative() { -1.0 } else { 1.0 };
            if v[0].is_nan() || v[1].is_nan() {
                return None;
            }
            bits(extreme(v[0].abs(), v[1].abs(), most, false).copysign(sign))
        });
        check(&format!("{op}.f64 %d, %a, %b;"), "f64", &["f64"; 2], |r| {
            let (a, b) = (f64s(r)[0], f64s(r)[1]);
            if a.is_nan() && b.is_nan() || a == 0.0 && b == 0.0 {
                return None;
            }
            Some(if most { a.max(b) } else { a.min(b) }.to_bits())
        });
    }
}

/// A 16-bit format by brute force: all finite values, sorted, so that rounding is a search.
struct Table {
    /// (value, bits), ascending, positive.
    values: Vec<(f64, u16)>,
    infinity: u16,
}

impl Table {
    fn new(ty: &str) -> Table {
        let (exponent_bits, fraction_bits) = if ty.starts_with("bf16") { (8, 7) } else { (5, 10) };
        let bias = (1 << (exponent_bits - 1)) - 1;
        let infinity = (((1u32 << exponent_bits) - 1) << fraction_bits) as u16;
        let value = |bits: u16| {
            let (e, f) = (i32::from(bits >> fraction_bits), f64::from(bits & ((1 << fraction_bits) - 1)));
            let scale = 2f64.powi(-fraction_bits);
            if e == 0 { f * scale * 2f64.powi(1 - bias) } else { (1.0 + f * scale) * 2f64.powi(e - bias) }
        };
        Table { values: (0..infinity).map(|b| (value(b), b)).collect(), infinity }
    }

    fn get(&self, bits: u16) -> f64 {
        let sign = if bits & 0x8000 != 0 { -1.0 } else { 1.0 };
        match bits & 0x7fff {
            b if b > self.infinity => f64::NAN,
            b if b == self.infinity => sign * f64::INFINITY,
            b => sign * self.values[usize::from(b)].0,
        }
    }

    /// Nearest even of `high + low`.
    fn nearest(&self, high: f64, low: f64) -> u16 {
        if high.is_nan() {
            return 0x7fff;
        }
        let sign = if high.is_sign_negative() { 0x8000 } else { 0 };
        let (high, low) = (high.abs(), if sign != 0 { -low } else { low });
        let largest = self.values[self.values.len() - 1];
        let above = self.values.partition_point(|v| v.0 < high).min(self.values.len() - 1);
        let below = above.saturating_sub(1);
        let step = largest.0 - self.values[self.values.len() - 2].0;
        if high >= largest.0 + step / 2.0 {
            return sign | self.infinity;
        }
        // Distances to the neighbours, compared with the low part in mind.
        let (down, up) = (high - self.values[below].0, self.values[above].0 - high);
        let up_is_nearer = match down.total_cmp(&up) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal if low != 0.0 => low > 0.0,
            std::cmp::Ordering::Equal => self.values[above].1.is_multiple_of(2),
        };
        sign | if up_is_nearer { self.values[above].1 } else { self.values[below].1 }
    }
}

/// high + low = a * b + c exactly, for 16-bit operands.
fn exact_fma(a: f64, b: f64, c: f64) -> (f64, f64) {
    let product = a * b;
    let (large, small) = if product.abs() > c.abs() { (product, c) } else { (c, product) };
    let sum = large + small;
    (sum, if sum.is_finite() { small - (sum - large) } else { 0.0 })
}

#[test]
fn sixteen_bit_floats() {
    for ty in ["f16", "bf16"] {
        let table = Table::new(ty);
        let v = |r: &[u64]| r.iter().map(|b| table.get(*b as u16)).collect::<Vec<f64>>();
        let exact = |(high, low): (f64, f64)| Some(u64::from(table.nearest(high, low)));
        check(&format!("fma.rn.{ty} %d, %a, %b, %c;"), ty, &[ty; 3], |r| exact(exact_fma(v(r)[0], v(r)[1], v(r)[2])));
        check(&format!("fma.rn.relu.{ty} %d, %a, %b, %c;"), ty, &[ty; 3], |r| {
            let (high, low) = exact_fma(v(r)[0], v(r)[1], v(r)[2]);
            if high < 0.0 {
                Some(0)
            } else if high == 0.0 {
                None
            } else {
                exact((high, low))
            }
        });
        check(&format!("add.{ty} %d, %a, %b;"), ty, &[ty; 2], |r| exact(exact_fma(v(r)[0], 1.0, v(r)[1])));
        check(&format!("sub.rn.{ty} %d, %a, %b;"), ty, &[ty; 2], |r| exact(exact_fma(v(r)[1], -1.0, v(r)[0])));
        check(&format!("mul.{ty} %d, %a, %b;"), ty, &[ty; 2], |r| exact((v(r)[0] * v(r)[1], 0.0)));
        check(&format!("neg.{ty} %d, %a;"), ty, &[ty], |r| Some(r[0] ^ 0x8000));
        check(&format!("abs.{ty} %d, %a;"), ty, &[ty], |r| Some(r[0] & 0x7fff));
        check(&format!("max.{ty} %d, %a, %b;"), ty, &[ty; 2], |r| {
            exact((f64::from(extreme(v(r)[0] as f32, v(r)[1] as f32, true, false)), 0.0))
        });
        check(&format!("min.NaN.{ty} %d, %a, %b;"), ty, &[ty; 2], |r| {
            exact((f64::from(extreme(v(r)[0] as f32, v(r)[1] as f32, false, true)), 0.0))
        });
        // Packed: both halves on their own.
        let packed = format!("{ty}x2");
        let halves = |r: &[u64], f: &dyn Fn(&[f64]) -> (f64, f64)| {
            let half = |shift: u32| {
                let values: Vec<f64> = r.iter().map(|b| table.get((b >> shift) as u16)).collect();
                let (high, low) = f(&values);
                u64::from(table.nearest(high, low)) << shift
            };
            Some(half(0) | half(16))
        };
        let three = [packed.as_str(); 3];
        check(&format!("fma.rn.{packed} %d, %a, %b, %c;"), &packed, &three, |r| {
            halves(r, &|v| exact_fma(v[0], v[1], v[2]))
        });
        check(&format!("add.{packed} %d, %a, %b;"), &packed, &three[..2], |r| {
            halves(r, &|v| exact_fma(v[0], 1.0, v[1]))
        });
        check(&format!("mul.{packed} %d, %a, %b;"), &packed, &three[..2], |r| halves(r, &|v| (v[0] * v[1], 0.0)));
        check(&format!("max.{packed} %d, %a, %b;"), &packed, &three[..2], |r| {
            halves(r, &|v| (f64::from(extreme(v[0] as f32, v[1] as f32, true, false)), 0.0))
        });
        check(&format!("neg.{packed} %d, %a;"), &packed, &three[..1], |r| Some(r[0] ^ 0x8000_8000));
        check(&format!("abs.{packed} %d, %a;"), &packed, &three[..1], |r| Some(r[0] & 0x7fff_7fff));
    }
}

#[test]
fn conversions_to_sixteen_bits() {
    for ty in ["f16", "bf16"] {
        let table = Table::new(ty);
        let nearest = |bits: u64| u64::from(table.nearest(f64::from(f32::from_bits(bits as u32)), 0.0));
        check(&format!("cvt.rn.{ty}.f32 %d, %a;"), ty, &["f32"], |r| Some(nearest(r[0])));
        check(&format!("cvt.f32.{ty} %d, %a;"), "f32", &[ty], |r| bits(table.get(r[0] as u16) as f32));
        check(&format!("cvt.rn.{ty}x2.f32 %d, %a, %b;"), "b32", &["f32", "f32"], |r| {
            Some(nearest(r[0]) << 16 | nearest(r[1]))
        });
        check(&format!("cvt.rn.relu.{ty}x2.f32 %d, %a, %b;"), "b32", &["f32", "f32"], |r| {
            let relu = |b: u64| if f32::from_bits(b as u32) <= 0.0 { 0 } else { nearest(b) };
            Some(relu(r[0]) << 16 | relu(r[1]))
        });
        // Towards zero: the value below in magnitude.
        check(&format!("cvt.rz.{ty}.f32 %d, %a;"), ty, &["f32"], |r| {
            let x = f32::from_bits(r[0] as u32);
            let magnitude = f64::from(x.abs());
            if x.is_nan() || x.is_infinite() {
                return Some(nearest(r[0]));
            }
            let below = table.values.partition_point(|v| v.0 <= magnitude) - 1;
            Some(u64::from(table.values[below].1) | (r[0] >> 16 & 0x8000))
        });
    }
    check("cvt.rn.f16.f64 %d, %a;", "f16", &["f64"], |r| {
        Some(Table::new("f16").nearest(f64::from_bits(r[0]), 0.0).into())
    });
}
