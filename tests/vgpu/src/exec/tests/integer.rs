//! Integer arithmetic and bit operations.

use super::harness::check;

/// Sign- or zero-extends the low bits of an operand by its type.
fn int(ty: &str, bits: u64) -> i128 {
    match ty {
        "u16" | "b16" => (bits as u16).into(),
        "s16" => (bits as i16).into(),
        "u32" | "b32" => (bits as u32).into(),
        "s32" => (bits as i32).into(),
        "s64" => (bits as i64).into(),
        _ => bits.into(),
    }
}

fn bits_of(ty: &str) -> u32 {
    ty[1..].parse().unwrap()
}

const ALL: [&str; 6] = ["u16", "s16", "u32", "s32", "u64", "s64"];

/// `op.ty %d, %a, %b` against a function of exact integers; the result wraps.
fn binary(op: &str, types: &[&str], f: impl Fn(i128, i128, u32) -> Option<i128>) {
    for ty in types {
        check(&format!("{op}.{ty} %d, %a, %b;"), ty, &[ty, ty], |row| {
            f(int(ty, row[0]), int(ty, row[1]), bits_of(ty)).map(|x| x as u64)
        });
    }
}

#[test]
fn sums_and_products() {
    binary("add", &ALL, |a, b, _| Some(a + b));
    binary("sub", &ALL, |a, b, _| Some(a - b));
    binary("mul.lo", &ALL, |a, b, _| Some(a.wrapping_mul(b)));
    for ty in ALL {
        // The high half of a 128-bit product does not fit into i128 for u64: split.
        check(&format!("mul.hi.{ty} %d, %a, %b;"), ty, &[ty, ty], |row| {
            let (a, b) = (int(ty, row[0]), int(ty, row[1]));
            Some(if ty == "u64" { ((a as u128 * b as u128) >> 64) as u64 } else { ((a * b) >> bits_of(ty)) as u64 })
        });
        check(&format!("mad.lo.{ty} %d, %a, %b, %c;"), ty, &[ty, ty, ty], |row| {
            Some(row[0].wrapping_mul(row[1]).wrapping_add(row[2]))
        });
    }
    for (ty, wide) in [("u16", "u32"), ("s16", "s32"), ("u32", "u64"), ("s32", "s64")] {
        check(&format!("mul.wide.{ty} %d, %a, %b;"), wide, &[ty, ty], |row| {
            Some((int(ty, row[0]) * int(ty, row[1])) as u64)
        });
        check(&format!("mad.wide.{ty} %d, %a, %b, %c;"), wide, &[ty, ty, wide], |row| {
            Some((int(ty, row[0]) * int(ty, row[1])) as u64).map(|p| p.wrapping_add(row[2]))
        });
    }
    check("mad.hi.s32 %d, %a, %b, %c;", "s32", &["s32"; 3], |row| {
        Some((((int("s32", row[0]) * int("s32", row[1])) >> 32) + int("s32", row[2])) as u64)
    });
    check("mad.hi.sat.s32 %d, %a, %b, %c;", "s32", &["s32"; 3], |row| {
        let sum = ((int("s32", row[0]) * int("s32", row[1])) >> 32) + int("s32", row[2]);
        Some(sum.clamp(i32::MIN.into(), i32::MAX.into()) as u64)
    });
}

#[test]
fn saturating_sums() {
    let clamp = |x: i128| Some(x.clamp(i32::MIN.into(), i32::MAX.into()));
    binary("add.sat", &["s32"], |a, b, _| clamp(a + b));
    binary("sub.sat", &["s32"], |a, b, _| clamp(a - b));
}

#[test]
fn quotients() {
    // Division by zero and the overflowing one give unspecified values.
    binary("div", &ALL, |a, b, n| (b != 0 && !(b == -1 && a == -(1 << (n - 1)))).then(|| a / b));
    binary("rem", &ALL, |a, b, n| (b != 0 && !(b == -1 && a == -(1 << (n - 1)))).then(|| a % b));
}

#[test]
fn order_and_magnitude() {
    binary("min", &ALL, |a, b, _| Some(a.min(b)));
    binary("max", &ALL, |a, b, _| Some(a.max(b)));
    for ty in ["s16", "s32", "s64"] {
        check(&format!("abs.{ty} %d, %a;"), ty, &[ty], |row| Some(int(ty, row[0]).unsigned_abs() as u64));
        check(&format!("neg.{ty} %d, %a;"), ty, &[ty], |row| Some((-int(ty, row[0])) as u64));
    }
    for ty in ALL {
        check(&format!("sad.{ty} %d, %a, %b, %c;"), ty, &[ty, ty, ty], |row| {
            Some(((int(ty, row[0]) - int(ty, row[1])).unsigned_abs() as u64).wrapping_add(row[2]))
        });
    }
    check("min.relu.s32 %d, %a, %b;", "s32", &["s32", "s32"], |row| {
        Some(int("s32", row[0]).min(int("s32", row[1])).max(0) as u64)
    });
}

#[test]
fn products_of_24_bits() {
    let narrow = |ty: &str, x: u64| if ty == "s32" { ((x as i32) << 8 >> 8) as i128 } else { (x & 0xff_ffff) as i128 };
    for ty in ["u32", "s32"] {
        check(&format!("mul24.lo.{ty} %d, %a, %b;"), ty, &[ty, ty], |r| {
            Some((narrow(ty, r[0]) * narrow(ty, r[1])) as u64)
        });
        check(&format!("mul24.hi.{ty} %d, %a, %b;"), ty, &[ty, ty], |r| {
            Some(((narrow(ty, r[0]) * narrow(ty, r[1])) >> 16) as u64)
        });
        check(&format!("mad24.lo.{ty} %d, %a, %b, %c;"), ty, &[ty, ty, ty], |r| {
            Some((narrow(ty, r[0]) * narrow(ty, r[1])) as u64).map(|p| p.wrapping_add(r[2]))
        });
    }
}

#[test]
fn carries_chain_through_words() {
    // 64-bit sums and differences from 32-bit halves.
    let wide = |r: &[u64]| (r[0] & 0xffff_ffff | r[1] << 32, r[2] & 0xffff_ffff | r[3] << 32);
    let body = |low: &str, high: &str| format!("{{ .reg .u32 t; {low} t, %a, %c; {high} %d, %b, %e; }}");
    check(&body("add.cc.u32", "addc.u32"), "u32", &["u32"; 4], |r| {
        let (x, y) = wide(r);
        Some(x.wrapping_add(y) >> 32)
    });
    check(&body("sub.cc.u32", "subc.u32"), "u32", &["u32"; 4], |r| {
        let (x, y) = wide(r);
        Some(x.wrapping_sub(y) >> 32)
    });
    // (a * b + c) in 64 bits from mad.lo.cc and madc.hi.
    let mad = "{ .reg .u32 t; mad.lo.cc.u32 t, %a, %b, %c; madc.hi.u32 %d, %a, %b, 0; }";
    check(mad, "u32", &["u32"; 3], |r| {
        let [a, b, c] = [r[0], r[1], r[2]].map(|x| x & 0xffff_ffff);
        Some((a * b).wrapping_add(c) >> 32)
    });
    // A chain of three: the carry out of addc.cc.
    let three = "{ .reg .u32 t; add.cc.u32 t, %a, %b; addc.cc.u32 t, %a, %c; addc.u32 %d, 0, 0; }";
    check(three, "u32", &["u32"; 3], |r| {
        let [a, b, c] = [r[0], r[1], r[2]].map(|x| x & 0xffff_ffff);
        Some((a + c + ((a + b) >> 32)) >> 32)
    });
    check("{ .reg .u64 t; add.cc.u64 t, %a, %b; addc.u64 %d, 0, 0; }", "u64", &["u64"; 2], |r| {
        Some(u64::from(r[0].checked_add(r[1]).is_none()))
    });
}

#[test]
fn bitwise() {
    for (ty, n) in [("b16", 16), ("b32", 32), ("b64", 64)] {
        check(&format!("and.{ty} %d, %a, %b;"), ty, &[ty, ty], |r| Some(r[0] & r[1]));
        check(&format!("or.{ty} %d, %a, %b;"), ty, &[ty, ty], |r| Some(r[0] | r[1]));
        check(&format!("xor.{ty} %d, %a, %b;"), ty, &[ty, ty], |r| Some(r[0] ^ r[1]));
        check(&format!("not.{ty} %d, %a;"), ty, &[ty], |r| Some(!r[0]));
        check(&format!("cnot.{ty} %d, %a;"), ty, &[ty], |r| Some(u64::from(r[0] == 0)));
        check(&format!("shl.{ty} %d, %a, %b;"), ty, &[ty, "u32"], |r| Some(if r[1] >= n { 0 } else { r[0] << r[1] }));
    }
    for ty in ALL {
        check(&format!("shr.{ty} %d, %a, %b;"), ty, &[ty, "u32"], |r| {
            Some((int(ty, r[0]) >> r[1].min(u64::from(bits_of(ty)))) as u64)
        });
    }
    for ty in ["b32", "b64"] {
        check(&format!("popc.{ty} %d, %a;"), "u32", &[ty], |r| Some(u64::from(r[0].count_ones())));
        check(&format!("clz.{ty} %d, %a;"), "u32", &[ty], |r| {
            Some(u64::from(r[0].leading_zeros() - (64 - bits_of(ty))))
        });
        check(&format!("brev.{ty} %d, %a;"), ty, &[ty], |r| Some(r[0].reverse_bits() >> (64 - bits_of(ty))));
    }
    for ty in ["u32", "s32", "u64", "s64"] {
        // Slow and obvious: look for the bit.
        let find = |x: i128| {
            let x = if x < 0 { !x } else { x };
            (0..bits_of(ty)).rev().find(|b| x >> b & 1 == 1)
        };
        check(&format!("bfind.{ty} %d, %a;"), "u32", &[ty], |r| {
            Some(find(int(ty, r[0])).map_or(0xffff_ffff, u64::from))
        });
        check(&format!("bfind.shiftamt.{ty} %d, %a;"), "u32", &[ty], |r| {
            Some(find(int(ty, r[0])).map_or(0xffff_ffff, |b| u64::from(bits_of(ty) - 1 - b)))
        });
    }
}

#[test]
fn three_input_logic_has_all_tables() {
    for table in [0x00u8, 0x80, 0xfe, 0x96, 0xe8, 0xca, 0x01, 0x7f, 0xff, 0x6a, 0x2d] {
        check(&format!("lop3.b32 %d, %a, %b, %c, {table};"), "b32", &["b32"; 3], |r| {
            Some((0..32).fold(0, |out, bit| {
                let index = (r[0] >> bit & 1) << 2 | (r[1] >> bit & 1) << 1 | r[2] >> bit & 1;
                out | u64::from(table >> index & 1) << bit
            }))
        });
    }
}

#[test]
fn permutations_of_bytes() {
    let bytes =
        |r: &[u64]| -> Vec<u64> { (0..8).map(|k| (r[1] << 32 | r[0] & 0xffff_ffff) >> (8 * k) & 255).collect() };
    check("prmt.b32 %d, %a, %b, %c;", "b32", &["b32"; 3], |r| {
        let bytes = bytes(r);
        Some((0..4).fold(0, |out, k| {
            let selector = r[2] >> (4 * k);
            let byte = bytes[(selector & 7) as usize];
            let byte = if selector & 8 == 0 {
                byte
            } else if byte & 0x80 != 0 {
                255
            } else {
                0
            };
            out | byte << (8 * k)
        }))
    });
    // The manual's table: selector bytes 3, 2, 1, 0 for c = 0, 1, 2, 3.
    let modes: [(&str, [[usize; 4]; 4]); 6] = [
        ("f4e", [[3, 2, 1, 0], [4, 3, 2, 1], [5, 4, 3, 2], [6, 5, 4, 3]]),
        ("b4e", [[5, 6, 7, 0], [6, 7, 0, 1], [7, 0, 1, 2], [0, 1, 2, 3]]),
        ("rc8", [[0, 0, 0, 0], [1, 1, 1, 1], [2, 2, 2, 2], [3, 3, 3, 3]]),
        ("ecl", [[3, 2, 1, 0], [3, 2, 1, 1], [3, 2, 2, 2], [3, 3, 3, 3]]),
        ("ecr", [[0, 0, 0, 0], [1, 1, 1, 0], [2, 2, 1, 0], [3, 2, 1, 0]]),
        ("rc16", [[1, 0, 1, 0], [3, 2, 3, 2], [1, 0, 1, 0], [3, 2, 3, 2]]),
    ];
    for (mode, table) in modes {
        check(&format!("prmt.b32.{mode} %d, %a, %b, %c;"), "b32", &["b32"; 3], |r| {
            let (bytes, row) = (bytes(r), table[(r[2] & 3) as usize]);
            Some((0..4).fold(0, |out, k| out | bytes[row[3 - k]] << (8 * k)))
        });
    }
}

#[test]
fn funnel_shifts() {
    let pair = |r: &[u64]| u128::from(r[1] << 32 | r[0] & 0xffff_ffff);
    for (mode, amount) in [("wrap", (|n| n & 31) as fn(u64) -> u64), ("clamp", |n| n.min(32))] {
        check(&format!("shf.l.{mode}.b32 %d, %a, %b, %c;"), "b32", &["b32"; 3], |r| {
            Some(((pair(r) << amount(r[2])) >> 32) as u64)
        });
        check(&format!("shf.r.{mode}.b32 %d, %a, %b, %c;"), "b32", &["b32"; 3], |r| {
            Some((pair(r) >> amount(r[2])) as u64)
        });
    }
}

#[test]
fn bit_fields() {
    for ty in ["u32", "s32", "u64", "s64"] {
        // The manual's loop, bit by bit.
        check(&format!("bfe.{ty} %d, %a, %b, %c;"), ty, &[ty, "u32", "u32"], |r| {
            let (msb, position, len) = (u64::from(bits_of(ty)) - 1, r[1] & 255, r[2] & 255);
            let signed = ty.starts_with('s') && len != 0;
            let sign = if signed { r[0] >> (position + len - 1).min(msb) & 1 } else { 0 };
            Some((0..=msb).fold(0, |d, i| {
                let bit = if i < len && position + i <= msb { r[0] >> (position + i) & 1 } else { sign };
                d | bit << i
            }))
        });
    }
    for ty in ["b32", "b64"] {
        check(&format!("bfi.{ty} %d, %a, %b, %c, %e;"), ty, &[ty, ty, "u32", "u32"], |r| {
            let (msb, position, len) = (u64::from(bits_of(ty)) - 1, r[2] & 255, r[3] & 255);
            let mut d = r[1];
            for i in 0..len.min(msb + 1) {
                if position + i <= msb {
                    d = d & !(1 << (position + i)) | (r[0] >> i & 1) << (position + i);
                }
            }
            Some(d)
        });
    }
    check("bmsk.clamp.b32 %d, %a, %b;", "b32", &["u32", "u32"], |r| {
        Some((0..32).filter(|i| *i >= r[0] && *i < r[0].saturating_add(r[1])).fold(0, |m, i| m | 1 << i))
    });
    check("bmsk.wrap.b32 %d, %a, %b;", "b32", &["u32", "u32"], |r| {
        let (a, b) = (r[0] & 31, r[1] & 31);
        Some((0..32).filter(|i| *i >= a && *i < a + b).fold(0, |m, i| m | 1 << i))
    });
    for ty in ["u32", "s32"] {
        check(&format!("szext.clamp.{ty} %d, %a, %b;"), ty, &[ty, "u32"], |r| {
            let n = r[1].min(32) as u32;
            let low = if n == 0 { 0 } else { (r[0] << (64 - n)) >> (64 - n) };
            let negative = ty == "s32" && n > 0 && low >> (n - 1) & 1 == 1;
            Some(if negative { low | u64::MAX.checked_shl(n).unwrap_or(0) } else { low })
        });
    }
    let small = "{ .reg .u32 t, u; and.b32 t, %b, 31; shl.b32 u, %c, 26; shr.s32 u, u, 26; fns.b32 %d, %a, t, u; }";
    check(small, "u32", &["b32", "u32", "s32"], |r| {
        let (mask, base, offset) = (r[0], r[1] & 31, (r[2] as i32) << 26 >> 26);
        let set: Vec<u64> = (0..32).filter(|b| mask >> b & 1 == 1).collect();
        let found = match offset {
            0 => set.iter().find(|b| **b == base).copied(),
            1.. => set.iter().filter(|b| **b >= base).nth(offset as usize - 1).copied(),
            _ => set.iter().rev().filter(|b| **b <= base).nth(offset.unsigned_abs() as usize - 1).copied(),
        };
        Some(found.unwrap_or(0xffff_ffff))
    });
}

#[test]
fn dot_products() {
    let byte = |x: u64, k: u32, signed: bool| {
        let b = (x >> (8 * k)) as u8;
        if signed { i64::from(b as i8) } else { i64::from(b) }
    };
    let half = |x: u64, k: u32, signed: bool| {
        let h = (x >> (16 * k)) as u16;
        if signed { i64::from(h as i16) } else { i64::from(h) }
    };
    for (at, a) in [("u32", false), ("s32", true)] {
        for (bt, b) in [("u32", false), ("s32", true)] {
            check(&format!("dp4a.{at}.{bt} %d, %a, %b, %c;"), "u32", &["b32"; 3], |r| {
                let sum: i64 = (0..4).map(|k| byte(r[0], k, a) * byte(r[1], k, b)).sum();
                Some((sum as u64).wrapping_add(r[2]))
            });
            for (mode, first) in [("lo", 0), ("hi", 2)] {
                check(&format!("dp2a.{mode}.{at}.{bt} %d, %a, %b, %c;"), "u32", &["b32"; 3], |r| {
                    let sum: i64 = (0..2).map(|k| half(r[0], k, a) * byte(r[1], first + k, b)).sum();
                    Some((sum as u64).wrapping_add(r[2]))
                });
            }
        }
    }
}

#[test]
fn pairs_of_halves() {
    let pair = |r: u64, f: &dyn Fn(u16) -> i32| [f(r as u16), f((r >> 16) as u16)];
    let join = |lanes: [i32; 2]| u64::from(lanes[0] as u16) | u64::from(lanes[1] as u16) << 16;
    let signed = |h: u16| i32::from(h as i16);
    let unsigned = |h: u16| i32::from(h);
    let zip = |r: &[u64], f: &dyn Fn(u16) -> i32, op: &dyn Fn(i32, i32) -> i32| {
        let (a, b) = (pair(r[0], f), pair(r[1], f));
        Some(join([op(a[0], b[0]), op(a[1], b[1])]))
    };
    check("add.u16x2 %d, %a, %b;", "b32", &["b32", "b32"], |r| zip(r, &unsigned, &|a, b| a + b));
    check("add.s16x2 %d, %a, %b;", "b32", &["b32", "b32"], |r| zip(r, &signed, &|a, b| a + b));
    check("max.s16x2 %d, %a, %b;", "b32", &["b32", "b32"], |r| zip(r, &signed, &|a, b| a.max(b)));
    check("min.u16x2 %d, %a, %b;", "b32", &["b32", "b32"], |r| zip(r, &unsigned, &|a, b| a.min(b)));
    check("max.relu.s16x2 %d, %a, %b;", "b32", &["b32", "b32"], |r| zip(r, &signed, &|a, b| a.max(b).max(0)));
}
