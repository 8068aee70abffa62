//! Conversions and moves.

use super::harness::check;

fn int(ty: &str, bits: u64) -> i128 {
    match ty {
        "u8" => (bits as u8).into(),
        "s8" => (bits as i8).into(),
        "u16" => (bits as u16).into(),
        "s16" => (bits as i16).into(),
        "u32" => (bits as u32).into(),
        "s32" => (bits as i32).into(),
        "s64" => (bits as i64).into(),
        _ => bits.into(),
    }
}

fn range(ty: &str) -> (i128, i128) {
    let n: u32 = ty[1..].parse().unwrap();
    if ty.starts_with('s') { (-(1 << (n - 1)), (1 << (n - 1)) - 1) } else { (0, (1 << n) - 1) }
}

/// The result register of 8-bit types has 16 bits: the manual extends by the sign of the result.
fn narrowed(ty: &str, x: i128) -> u64 {
    let n: u32 = ty[1..].parse().unwrap();
    let shift = 128 - n;
    (if ty.starts_with('s') { x << shift >> shift } else { ((x as u128) << shift >> shift) as i128 }) as u64
}

#[test]
fn between_integers() {
    let types = ["u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64"];
    for to in types {
        for from in types {
            check(&format!("cvt.{to}.{from} %d, %a;"), to, &[from], |r| Some(narrowed(to, int(from, r[0]))));
            check(&format!("cvt.sat.{to}.{from} %d, %a;"), to, &[from], |r| {
                let (low, high) = range(to);
                Some(narrowed(to, int(from, r[0]).clamp(low, high)))
            });
        }
    }
}

#[test]
fn wider_registers_than_types() {
    check("cvt.u32.u32 %d, %a;", "u64", &["u64"], |r| Some(r[0] & 0xffff_ffff));
    check("cvt.s32.s64 %d, %a;", "s64", &["s64"], |r| Some(r[0] as i32 as u64));
}

fn rounded(mode: &str, x: f64) -> f64 {
    match mode {
        "rni" => x.round_ties_even(),
        "rzi" => x.trunc(),
        "rmi" => x.floor(),
        _ => x.ceil(),
    }
}

#[test]
fn from_floats_to_integers() {
    for mode in ["rni", "rzi", "rmi", "rpi"] {
        for to in ["u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64"] {
            let (low, high) = range(to);
            let clamp = |x: f64| (rounded(mode, x) as i128).clamp(low, high);
            check(&format!("cvt.{mode}.{to}.f32 %d, %a;"), to, &["f32"], |r| {
                let x = f64::from(f32::from_bits(r[0] as u32));
                (!x.is_nan()).then(|| narrowed(to, clamp(x)))
            });
            check(&format!("cvt.{mode}.{to}.f64 %d, %a;"), to, &["f64"], |r| {
                let x = f64::from_bits(r[0]);
                (!x.is_nan()).then(|| narrowed(to, clamp(x)))
            });
        }
        check(&format!("cvt.{mode}.f32.f32 %d, %a;"), "f32", &["f32"], |r| {
            let x = f32::from_bits(r[0] as u32);
            (!x.is_nan()).then(|| (rounded(mode, x.into()) as f32).to_bits().into())
        });
        check(&format!("cvt.{mode}.f64.f64 %d, %a;"), "f64", &["f64"], |r| {
            let x = f64::from_bits(r[0]);
            (!x.is_nan()).then(|| rounded(mode, x).to_bits())
        });
    }
    // NaN: 0 for 32 bits, the most negative number for 64.
    check("cvt.rni.s32.f32 %d, %a;", "s32", &["f32"], |r| {
        let x = f32::from_bits(r[0] as u32);
        Some(if x.is_nan() { 0 } else { x.round_ties_even() as i32 as u64 })
    });
    check("cvt.rni.s64.f32 %d, %a;", "s64", &["f32"], |r| {
        let x = f32::from_bits(r[0] as u32);
        Some(if x.is_nan() { 1 << 63 } else { x.round_ties_even() as i64 as u64 })
    });
}

#[test]
fn from_integers_to_floats() {
    for from in ["u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64"] {
        check(&format!("cvt.rn.f32.{from} %d, %a;"), "f32", &[from], |r| {
            let x = int(from, r[0]);
            Some((x as f32).to_bits().into())
        });
        check(&format!("cvt.rn.f64.{from} %d, %a;"), "f64", &[from], |r| Some((int(from, r[0]) as f64).to_bits()));
        for (mode, up) in [("rm", false), ("rp", true)] {
            check(&format!("cvt.{mode}.f32.{from} %d, %a;"), "f32", &[from], |r| {
                let x = int(from, r[0]);
                let near = x as f32;
                let chosen = match (near as i128).cmp(&x) {
                    std::cmp::Ordering::Less if up => near.next_up(),
                    std::cmp::Ordering::Greater if !up => near.next_down(),
                    _ => near,
                };
                Some(chosen.to_bits().into())
            });
        }
    }
}

#[test]
fn between_floats() {
    check("cvt.f64.f32 %d, %a;", "f64", &["f32"], |r| {
        let x = f32::from_bits(r[0] as u32);
        (!x.is_nan()).then(|| f64::from(x).to_bits())
    });
    check("cvt.rn.f32.f64 %d, %a;", "f32", &["f64"], |r| {
        let x = f64::from_bits(r[0]) as f32;
        Some(if x.is_nan() { 0x7fff_ffff } else { x.to_bits().into() })
    });
    for (mode, up) in [("rm", false), ("rp", true)] {
        check(&format!("cvt.{mode}.f32.f64 %d, %a;"), "f32", &["f64"], |r| {
            let x = f64::from_bits(r[0]);
            let near = x as f32;
            if x.is_nan() || x.is_infinite() {
                return None;
            }
            let chosen = if up && f64::from(near) < x {
                near.next_up()
            } else if !up && f64::from(near) > x {
                near.next_down()
            } else {
                near
            };
            Some(chosen.to_bits().into())
        });
    }
    check("cvt.sat.f32.f32 %d, %a;", "f32", &["f32"], |r| {
        let x = f32::from_bits(r[0] as u32);
        Some(if x.is_nan() { 0 } else { (x.clamp(0.0, 1.0) + 0.0).to_bits().into() })
    });
    // tf32: ten fraction bits, ties away.
    check("cvt.rna.tf32.f32 %d, %a;", "f32", &["f32"], |r| {
        let x = f32::from_bits(r[0] as u32);
        let bits = r[0] as u32;
        (x.is_finite() && x.abs() < 1e38 && x.abs() > 1e-37).then(|| u64::from((bits + 0x1000) & !0x1fff))
    });
}

#[test]
fn packed_bytes() {
    check("cvt.pack.sat.s8.s32.b32 %d, %a, %b, %c;", "b32", &["s32", "s32", "b32"], |r| {
        let part = |x: u64| (x as i32).clamp(-128, 127) as u8;
        Some(r[2] << 16 | u64::from(part(r[0])) << 8 | u64::from(part(r[1])))
    });
    check("cvt.pack.sat.u8.s32.b32 %d, %a, %b, %c;", "b32", &["s32", "s32", "b32"], |r| {
        let part = |x: u64| (x as i32).clamp(0, 255) as u8;
        Some(r[2] << 16 | u64::from(part(r[0])) << 8 | u64::from(part(r[1])))
    });
    check("cvt.pack.sat.s16.s32 %d, %a, %b;", "b32", &["s32", "s32"], |r| {
        let part = |x: u64| (x as i32).clamp(-32768, 32767) as u16;
        Some(u64::from(part(r[0])) << 16 | u64::from(part(r[1])))
    });
}

#[test]
fn parts_and_wholes() {
    check("mov.b32 %d, {%a, %b};", "b32", &["b16", "b16"], |r| Some(r[0] | r[1] << 16));
    check("mov.b64 %d, {%a, %b};", "b64", &["b32", "b32"], |r| Some(r[0] | r[1] << 32));
    check("mov.b64 %d, {%a, %b, %c, %e};", "b64", &["b16"; 4], |r| Some(r[0] | r[1] << 16 | r[2] << 32 | r[3] << 48));
    check("{ .reg .b32 t; mov.b64 {t, %d}, %a; }", "b32", &["b64"], |r| Some(r[0] >> 32));
    check("mov.b64 {%d, _}, %a;", "b32", &["b64"], |r| Some(r[0]));
    check("{ .reg .b16 t; mov.b32 {t, %d}, %a; }", "b16", &["b32"], |r| Some(r[0] >> 16));
    check("{ .reg .b16 t, u, v; mov.b64 {t, u, %d, v}, %a; }", "b16", &["b64"], |r| Some(r[0] >> 32));
    check("mov.b32 %d, %a;", "b32", &["b32"], |r| Some(r[0]));
    check("mov.f64 %d, 0d3FF8000000000000;", "f64", &["b32"], |_| Some(1.5f64.to_bits()));
    check("mov.f32 %d, 0f3FC00000;", "f32", &["b32"], |_| Some(u64::from(1.5f32.to_bits())));
    check("mov.f32 %d, 1.5;", "f32", &["b32"], |_| Some(u64::from(1.5f32.to_bits())));
    check("mov.u32 %d, -1;", "b32", &["b32"], |_| Some(0xffff_ffff));
    check("mov.u32 %d, WARP_SZ;", "b32", &["b32"], |_| Some(32));
}
