//! Comparisons, selection, predicate logic.

use super::harness::check;

fn holds(op: &str, a: f64, b: f64) -> bool {
    let nan = a.is_nan() || b.is_nan();
    match op {
        "eq" => !nan && a == b,
        "ne" => !nan && a != b,
        "lt" => !nan && a < b,
        "le" => !nan && a <= b,
        "gt" => !nan && a > b,
        "ge" => !nan && a >= b,
        "num" => !nan,
        "nan" => nan,
        _ => nan || holds(&op[..2], a, b),
    }
}

/// Exact value of an integer or float operand; integers beyond 53 bits are compared by the caller.
fn value(ty: &str, bits: u64) -> f64 {
    match ty {
        "f32" => f32::from_bits(bits as u32).into(),
        "f64" => f64::from_bits(bits),
        "bf16" => f32::from_bits((bits as u32) << 16).into(),
        "u16" => f64::from(bits as u16),
        "s16" => f64::from(bits as i16),
        "u32" => f64::from(bits as u32),
        _ => f64::from(bits as i32),
    }
}

#[test]
fn floats_ordered_and_not() {
    for op in ["eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"] {
        for ty in ["f32", "f64", "bf16"] {
            check(&format!("setp.{op}.{ty} %d, %a, %b;"), "pred", &[ty, ty], |r| {
                Some(holds(op, value(ty, r[0]), value(ty, r[1])).into())
            });
        }
        check(&format!("setp.{op}.ftz.f32 %d, %a, %b;"), "pred", &["f32", "f32"], |r| {
            let flush = |x: u64| if f32::from_bits(x as u32).is_subnormal() { 0.0 } else { value("f32", x) };
            Some(holds(op, flush(r[0]), flush(r[1])).into())
        });
    }
}

#[test]
fn integers() {
    for op in ["eq", "ne", "lt", "le", "gt", "ge"] {
        for ty in ["u16", "s16", "u32", "s32"] {
            check(&format!("setp.{op}.{ty} %d, %a, %b;"), "pred", &[ty, ty], |r| {
                Some(holds(op, value(ty, r[0]), value(ty, r[1])).into())
            });
        }
        check(&format!("setp.{op}.u64 %d, %a, %b;"), "pred", &["u64", "u64"], |r| {
            let order = match op {
                "eq" => r[0] == r[1],
                "ne" => r[0] != r[1],
                "lt" => r[0] < r[1],
                "le" => r[0] <= r[1],
                "gt" => r[0] > r[1],
                _ => r[0] >= r[1],
            };
            Some(order.into())
        });
        check(&format!("setp.{op}.s64 %d, %a, %b;"), "pred", &["s64", "s64"], |r| {
            let (a, b) = (r[0] as i64, r[1] as i64);
            let order = match op {
                "eq" => a == b,
                "ne" => a != b,
                "lt" => a < b,
                "le" => a <= b,
                "gt" => a > b,
                _ => a >= b,
            };
            Some(order.into())
        });
    }
    for (op, same) in [("lo", "lt"), ("ls", "le"), ("hi", "gt"), ("hs", "ge")] {
        check(&format!("setp.{op}.u32 %d, %a, %b;"), "pred", &["u32", "u32"], |r| {
            Some(holds(same, value("u32", r[0]), value("u32", r[1])).into())
        });
    }
}

#[test]
fn combined_with_a_third() {
    let types = ["s32", "s32", "pred"];
    check("setp.lt.and.s32 %d, %a, %b, %c;", "pred", &types, |r| Some(u64::from((r[0] as i32) < (r[1] as i32)) & r[2]));
    check("setp.lt.or.s32 %d, %a, %b, !%c;", "pred", &types, |r| {
        Some(u64::from((r[0] as i32) < (r[1] as i32)) | (r[2] ^ 1))
    });
    check("setp.lt.xor.s32 %d, %a, %b, %c;", "pred", &types, |r| Some(u64::from((r[0] as i32) < (r[1] as i32)) ^ r[2]));
    // The second result is the negated comparison, combined as well.
    check("setp.lt.and.s32 %q|%d, %a, %b, %c;", "pred", &types, |r| {
        Some(u64::from((r[0] as i32) >= (r[1] as i32)) & r[2])
    });
}

#[test]
fn values_of_comparisons() {
    check("set.lt.u32.s32 %d, %a, %b;", "b32", &["s32", "s32"], |r| {
        Some(if (r[0] as i32) < (r[1] as i32) { 0xffff_ffff } else { 0 })
    });
    check("set.gt.f32.f32 %d, %a, %b;", "b32", &["f32", "f32"], |r| {
        Some(if holds("gt", value("f32", r[0]), value("f32", r[1])) { 0x3f80_0000 } else { 0 })
    });
    check("set.eq.and.u32.u32 %d, %a, %b, %c;", "b32", &["u32", "u32", "pred"], |r| {
        Some(if r[0] == r[1] && r[2] == 1 { 0xffff_ffff } else { 0 })
    });
    check("set.le.bf16x2.bf16x2 %d, %a, %b;", "b32", &["bf16x2", "bf16x2"], |r| {
        let half = |s: u32| {
            let v = |x: u64| value("bf16", x >> s & 0xffff);
            if holds("le", v(r[0]), v(r[1])) { 0x3f80u64 << s } else { 0 }
        };
        Some(half(0) | half(16))
    });
}

#[test]
fn selection() {
    check("selp.b32 %d, %a, %b, %c;", "b32", &["b32", "b32", "pred"], |r| Some(if r[2] == 1 { r[0] } else { r[1] }));
    check("selp.f64 %d, %a, %b, %c;", "f64", &["f64", "f64", "pred"], |r| Some(if r[2] == 1 { r[0] } else { r[1] }));
    check("selp.b16 %d, %a, %b, %c;", "b16", &["b16", "b16", "pred"], |r| Some(if r[2] == 1 { r[0] } else { r[1] }));
    check("slct.b32.s32 %d, %a, %b, %c;", "b32", &["b32", "b32", "s32"], |r| {
        Some(if r[2] as i32 >= 0 { r[0] } else { r[1] })
    });
    check("slct.u64.f32 %d, %a, %b, %c;", "u64", &["u64", "u64", "f32"], |r| {
        Some(if f32::from_bits(r[2] as u32) >= 0.0 { r[0] } else { r[1] })
    });
}

#[test]
fn logic_of_predicates() {
    let types = ["pred", "pred"];
    check("and.pred %d, %a, %b;", "pred", &types, |r| Some(r[0] & r[1]));
    check("or.pred %d, %a, %b;", "pred", &types, |r| Some(r[0] | r[1]));
    check("xor.pred %d, %a, %b;", "pred", &types, |r| Some(r[0] ^ r[1]));
    check("not.pred %d, %a;", "pred", &types[..1], |r| Some(r[0] ^ 1));
    check("mov.pred %d, %a;", "pred", &types[..1], |r| Some(r[0]));
}

#[test]
fn classes_of_numbers() {
    let class = |name: &str, f: &dyn Fn(f32) -> bool| {
        check(&format!("testp.{name}.f32 %d, %a;"), "pred", &["f32"], |r| Some(f(f32::from_bits(r[0] as u32)).into()));
    };
    class("finite", &|x| x.is_finite());
    class("infinite", &|x| x.is_infinite());
    class("number", &|x| !x.is_nan());
    class("notanumber", &|x| x.is_nan());
    class("normal", &|x| x.is_normal());
    class("subnormal", &|x| x.is_subnormal());
}
