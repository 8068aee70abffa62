//! Fragment layouts as the manual prints them, element by element, against a plain matrix product; accumulation models.

use super::model::{aligned_step, aligned_sum, exponent};
use crate::exec::tests::harness::{Operands, empty, entry, run, upload};
use crate::exec::{Options, TensorModel};
use crate::report::FaultKind;

/// (row, column) of element `i` of a lane's fragment; groups and threads as in the manual.
type Layout = fn(g: usize, t: usize, i: usize) -> (usize, usize);

struct Case {
    opcode: &'static str,
    rows: usize,
    k: usize,
    /// Bits of an element of A and B, of C and D.
    bits: usize,
    accumulator_bits: usize,
    a: Layout,
    b: Layout,
    /// Value -> bits of an element.
    encode: fn(f64) -> u64,
    /// Bits of an accumulator -> value, and back.
    decode: fn(u64) -> f64,
    encode_c: fn(f64) -> u64,
    least: i64,
    most: i64,
}

fn bf16(x: f64) -> u64 {
    u64::from((x as f32).to_bits() >> 16)
}

/// Small integers in half precision.
fn f16(x: f64) -> u64 {
    if x == 0.0 {
        return 0;
    }
    let e = x.abs().log2().floor();
    let fraction = (x.abs() / e.exp2() - 1.0) * 1024.0;
    (u64::from(x < 0.0) << 15) | ((e as i64 + 15) as u64) << 10 | fraction as u64
}

fn from_f16(bits: u64) -> f64 {
    let (e, f) = ((bits >> 10 & 31) as i32, (bits & 1023) as f64);
    let magnitude = if e == 0 { f * 2f64.powi(-24) } else { (1.0 + f / 1024.0) * 2f64.powi(e - 15) };
    if bits & 0x8000 != 0 { -magnitude } else { magnitude }
}

const HALF_16_A: Layout = |g, t, i| (if i / 2 % 2 == 0 { g } else { g + 8 }, 2 * t + i % 2 + if i < 4 { 0 } else { 8 });
const HALF_16_B: Layout = |g, t, i| (2 * t + i % 2 + if i < 2 { 0 } else { 8 }, g);
const HALF_8_A: Layout = |g, t, i| (if i < 2 { g } else { g + 8 }, 2 * t + i % 2);
const HALF_8_B: Layout = |g, t, i| (2 * t + i, g);
const BYTES_16_A: Layout = |g, t, i| (if i < 4 { g } else { g + 8 }, 4 * t + i % 4);
const BYTES_16_B: Layout = |g, t, i| (4 * t + i, g);
const BYTES_32_A: Layout =
    |g, t, i| (if i < 4 || (8..12).contains(&i) { g } else { g + 8 }, 4 * t + i % 4 + if i < 8 { 0 } else { 16 });
const BYTES_32_B: Layout = |g, t, i| (4 * t + i % 4 + if i < 4 { 0 } else { 16 }, g);

fn cases() -> Vec<Case> {
    let f32s = |bits: u64| f64::from(f32::from_bits(bits as u32));
    let to_f32 = |x: f64| u64::from((x as f32).to_bits());
    let base = Case {
        opcode: "m16n8k16.row.col.f32.bf16.bf16.f32",
        rows: 16,
        k: 16,
        bits: 16,
        accumulator_bits: 32,
        a: HALF_16_A,
        b: HALF_16_B,
        encode: bf16,
        decode: f32s,
        encode_c: to_f32,
        least: -8,
        most: 8,
    };
    let mut cases = vec![
        Case { ..copy(&base) },
        Case { opcode: "m16n8k8.row.col.f32.bf16.bf16.f32", k: 8, a: HALF_8_A, b: HALF_8_B, ..copy(&base) },
        Case { opcode: "m16n8k16.row.col.f32.f16.f16.f32", encode: f16, ..copy(&base) },
        Case { opcode: "m16n8k8.row.col.f32.f16.f16.f32", k: 8, a: HALF_8_A, b: HALF_8_B, encode: f16, ..copy(&base) },
    ];
    let half = Case { encode: f16, accumulator_bits: 16, decode: from_f16, encode_c: f16, ..copy(&base) };
    cases.push(Case { opcode: "m16n8k16.row.col.f16.f16.f16.f16", ..copy(&half) });
    cases.push(Case { opcode: "m16n8k8.row.col.f16.f16.f16.f16", k: 8, a: HALF_8_A, b: HALF_8_B, ..half });
    let tensor = Case { bits: 32, encode: to_f32, ..copy(&base) };
    cases.push(Case {
        opcode: "m16n8k8.row.col.f32.tf32.tf32.f32",
        k: 8,
        a: |g, t, i| (if i % 2 == 0 { g } else { g + 8 }, if i < 2 { t } else { t + 4 }),
        b: |g, t, i| (t + 4 * i, g),
        ..copy(&tensor)
    });
    cases.push(Case {
        opcode: "m16n8k4.row.col.f32.tf32.tf32.f32",
        k: 4,
        a: |g, t, i| (g + 8 * i, t),
        b: |g, t, _| (t, g),
        ..tensor
    });
    let to_int = |x: f64| x as i64 as u64;
    let bytes = Case {
        bits: 8,
        encode: to_int,
        decode: |bits| f64::from(bits as u32 as i32),
        encode_c: to_int,
        least: -128,
        most: 127,
        ..copy(&base)
    };
    let (k16, k32) = ((BYTES_16_A, BYTES_16_B), (BYTES_32_A, BYTES_32_B));
    for (opcode, k, (a, b), least, most) in [
        ("m16n8k16.row.col.s32.s8.s8.s32", 16, k16, -128, 127),
        ("m16n8k32.row.col.s32.s8.s8.s32", 32, k32, -128, 127),
        ("m16n8k32.row.col.satfinite.s32.s8.s8.s32", 32, k32, -128, 127),
        ("m16n8k16.row.col.s32.u8.u8.s32", 16, k16, 0, 255),
        ("m16n8k32.row.col.s32.u8.u8.s32", 32, k32, 0, 255),
        ("m16n8k32.row.col.s32.u8.s8.s32", 32, k32, 0, 127),
    ] {
        cases.push(Case { opcode, k, a, b, least, most, ..copy(&bytes) });
    }
    cases.push(Case {
        opcode: "m8n8k4.row.col.f64.f64.f64.f64",
        rows: 8,
        k: 4,
        bits: 64,
        accumulator_bits: 64,
        a: |g, t, _| (g, t),
        b: |g, t, _| (t, g),
        encode: f64::to_bits,
        decode: f64::from_bits,
        encode_c: f64::to_bits,
        ..base
    });
    cases
}

fn copy(case: &Case) -> Case {
    Case { ..*case }
}

/// Element `i` of C and D, for 16 and for 8 rows.
fn place_c(case: &Case, g: usize, t: usize, i: usize) -> (usize, usize) {
    if case.rows == 8 { (g, 2 * t + i) } else { (if i < 2 { g } else { g + 8 }, 2 * t + i % 2) }
}

/// Packs a lane's elements into its registers.
fn pack(values: &[u64], bits: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in values {
        bytes.extend_from_slice(&value.to_le_bytes()[..bits / 8]);
    }
    bytes
}

/// Runs the instruction on fragments made from bits of matrices; returns D's bits, row by row.
fn multiply(case: &Case, a: &[Vec<u64>], b: &[Vec<u64>], c: &[Vec<u64>], model: TensorModel) -> Vec<Vec<u64>> {
    let (na, nb) = (case.rows * case.k / 32, case.k * 8 / 32);
    let nc = case.rows * 8 / 32;
    let fragment = |n: usize, bits: usize, at: &dyn Fn(usize, usize, usize) -> u64| -> Vec<u8> {
        (0..32).flat_map(|l| pack(&(0..n).map(|i| at(l / 4, l % 4, i)).collect::<Vec<_>>(), bits)).collect()
    };
    let fa = fragment(na, case.bits, &|g, t, i| {
        let (row, column) = (case.a)(g, t, i);
        a[row][column]
    });
    let fb = fragment(nb, case.bits, &|g, t, i| {
        let (row, column) = (case.b)(g, t, i);
        b[row][column]
    });
    let fc = fragment(nc, case.accumulator_bits, &|g, t, i| {
        let (row, column) = place_c(case, g, t, i);
        c[row][column]
    });
    let wide = case.bits == 64;
    let width = if wide { 64 } else { 32 };
    let (ra, rb, rc) = (fa.len() / 32 * 8 / width, fb.len() / 32 * 8 / width, fc.len() / 32 * 8 / width);
    let names = |stem: &str, n: usize| (0..n).map(|i| format!("{stem}{i}")).collect::<Vec<_>>().join(", ");
    let load = |stem: &str, n: usize| -> String {
        let step = width / 8;
        let base = format!(
            "ld.param.u64 %rd_{stem}, [k_{stem}]; mul.wide.u32 %rd_lane, %r_tid, {}; add.u64 %rd_{stem}, %rd_{stem}, %rd_lane;\n",
            n * step
        );
        base + &(0..n)
            .map(|i| format!("ld.global.b{width} {stem}{i}, [%rd_{stem}+{}];\n", i * step))
            .collect::<String>()
    };
    let mut body = load("a", ra) + &load("b", rb) + &load("c", rc);
    body += &format!(
        "mma.sync.aligned.{} {{{}}}, {{{}}}, {{{}}}, {{{}}};\n",
        case.opcode,
        names("d", rc),
        names("a", ra),
        names("b", rb),
        names("c", rc)
    );
    body += &format!(
        "ld.param.u64 %rd_d, [k_d]; mul.wide.u32 %rd_lane, %r_tid, {}; add.u64 %rd_d, %rd_d, %rd_lane;\n",
        rc * width / 8
    );
    for i in 0..rc {
        body += &format!("st.global.b{width} [%rd_d+{}], d{i};\n", i * width / 8);
    }
    let all = [names("a", ra), names("b", rb), names("c", rc), names("d", rc)].join(", ");
    let text = entry(&["a", "b", "c", "d"], &format!(".reg .b{width} {all};"), &body);
    let (ba, bb, bc, out) = (upload(&fa), upload(&fb), upload(&fc), empty(fc.len()));
    let options = Options { tensor: model, ..Options::default() };
    let params = [ba.address, bb.address, bc.address, out.address];
    if let Err(fault) = run(&text, 1, 32, &params, &options) {
        panic!("{}: {fault}", case.opcode);
    }
    let mut d = vec![vec![0; 8]; case.rows];
    let bytes = out.bytes();
    for l in 0..32 {
        for i in 0..nc {
            let size = case.accumulator_bits / 8;
            let at = (l * nc + i) * size;
            let mut bits = [0; 8];
            bits[..size].copy_from_slice(&bytes[at..at + size]);
            let (row, column) = place_c(case, l / 4, l % 4, i);
            d[row][column] = u64::from_le_bytes(bits);
        }
    }
    d
}

fn matrix(rows: usize, columns: usize, mut f: impl FnMut() -> u64) -> Vec<Vec<u64>> {
    (0..rows).map(|_| (0..columns).map(|_| f()).collect()).collect()
}

#[test]
fn every_shape_multiplies_as_its_layout_says() {
    for case in cases() {
        for model in [TensorModel::Sequential, TensorModel::A100, TensorModel::H100] {
            let mut random = Operands(77);
            let mut integer = |least: i64, most: i64| least + (random.next() >> 20) as i64 % (most - least + 1);
            // Integers whose products and sums every accumulator holds exactly.
            let value =
                |rows: usize, columns: usize, least: i64, most: i64, integer: &mut dyn FnMut(i64, i64) -> i64| {
                    (0..rows).map(|_| (0..columns).map(|_| integer(least, most)).collect()).collect::<Vec<Vec<i64>>>()
                };
            let a = value(case.rows, case.k, case.least, case.most, &mut integer);
            let b = value(case.k, 8, case.least.max(-128), case.most.min(127), &mut integer);
            let c = value(case.rows, 8, -500, 500, &mut integer);
            let bits = |m: &Vec<Vec<i64>>, encode: fn(f64) -> u64| -> Vec<Vec<u64>> {
                m.iter().map(|row| row.iter().map(|x| encode(*x as f64)).collect()).collect()
            };
            let d = multiply(&case, &bits(&a, case.encode), &bits(&b, case.encode), &bits(&c, case.encode_c), model);
            for (row, d) in d.iter().enumerate() {
                for (column, d) in d.iter().enumerate() {
                    let want = (0..case.k).map(|k| a[row][k] * b[k][column]).sum::<i64>() + c[row][column];
                    assert_eq!((case.decode)(*d), want as f64, "{} {model:?} at {row}, {column}", case.opcode);
                }
            }
        }
    }
}

#[test]
fn integer_sums_wrap_or_saturate() {
    let case = |saturate: &str| cases().into_iter().find(|c| c.opcode.contains(saturate) && c.k == 32).unwrap();
    let ones = |rows, columns| matrix(rows, columns, || 100);
    let c = matrix(16, 8, || i32::MAX as u64);
    let wrapped = multiply(&case("col.s32.s8.s8"), &ones(16, 32), &ones(32, 8), &c, TensorModel::Sequential);
    assert_eq!(wrapped[3][5] as u32 as i32, i32::MAX.wrapping_add(320_000));
    let clamped = multiply(&case("satfinite"), &ones(16, 32), &ones(32, 8), &c, TensorModel::Sequential);
    assert_eq!(clamped[3][5] as u32 as i32, i32::MAX);
}

/// D of one dot product: `c` plus products of `a` with ones.
fn dot(a: &[f32], c: f32, model: TensorModel) -> f32 {
    let case = &cases()[0];
    let column = |x: f32| u64::from(x.to_bits() >> 16);
    let ma = (0..16).map(|_| a.iter().map(|x| column(*x)).collect()).collect::<Vec<_>>();
    let mb = matrix(16, 8, || column(1.0));
    let mc = matrix(16, 8, || u64::from(c.to_bits()));
    let d = multiply(case, &ma, &mb, &mc, model);
    f32::from_bits(d[9][2] as u32)
}

#[test]
fn eight_columns_at_a_time_have_the_bits_of_one() {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bits = (state >> 32) as u32;
        match bits % 8 {
            0 => 0.0,
            1 => -0.0,
            // Any finite number, subnormal ones too.
            2 => f32::from_bits(bits & 0xbfff_ffff),
            3 => f32::from_bits(bits & 0x807f_ffff),
            _ => (bits as i32) as f32 * 2f32.powi(-24),
        }
    };
    for round in 0..2000 {
        let (terms, fraction) = [(8, 24), (16, 25), (4, 24)][round % 3];
        let zero = round % 7 == 0;
        let a: Vec<f32> = (0..terms).map(|_| if zero { 0.0 } else { next() }).collect();
        let b: Vec<[f32; 8]> = (0..terms).map(|_| std::array::from_fn(|_| next())).collect();
        let c: [f32; 8] = std::array::from_fn(|_| next());
        let want: [u32; 8] = std::array::from_fn(|n| aligned_sum(&a, |k| b[k][n], c[n], fraction).to_bits());
        let mut got = c;
        let exponents: Vec<i32> = a.iter().copied().map(exponent).collect();
        let b_exponents: Vec<[i32; 8]> = b.iter().map(|row| row.map(exponent)).collect();
        aligned_step(&a, &exponents, &b, &b_exponents, &mut got, fraction);
        assert_eq!(got.map(f32::to_bits), want, "{a:?} {b:?} {c:?}");
    }
}

#[test]
fn models_keep_the_bits_they_are_said_to_keep() {
    let big = 16_777_216.0; // 2^24: one more is half an f32 ulp
    let ones = [1.0; 16];
    assert_eq!(dot(&ones, big, TensorModel::Sequential), big);
    assert_eq!(dot(&ones, big, TensorModel::A100), big + 16.0);
    assert_eq!(dot(&ones, big, TensorModel::H100), big + 16.0);
    // Eight at a time: the first eight cancel the second eight only when they stand in one step.
    let mut halves = [0.5; 16];
    halves[8..].fill(-0.5);
    // A100: 2^24 + 4 is exact, then - 4; bits below 2^0 are cut when aligned to 2^24 with 24 fraction bits.
    assert_eq!(dot(&halves, big, TensorModel::A100), big);
    // H100 keeps 2^-1 too: 2^24 + 16 * 0.5.
    assert_eq!(dot(&[0.5; 16], big, TensorModel::A100), big);
    assert_eq!(dot(&[0.5; 16], big, TensorModel::H100), big + 8.0);
    // Cutting goes towards zero: 1 - 2^-25.
    let mut tiny = [0.0; 16];
    tiny[3] = -(2f32.powi(-25));
    assert_eq!(dot(&tiny, 1.0, TensorModel::Sequential), 1.0);
    assert_eq!(dot(&tiny, 1.0, TensorModel::A100), 1.0);
    assert_eq!(dot(&tiny, 1.0, TensorModel::H100), 1.0f32.next_down());
    // The sequential model adds in ascending k.
    let mut order = [0.0; 16];
    (order[0], order[1], order[15]) = (big, 1.0, -big);
    assert_eq!(dot(&order, 0.0, TensorModel::Sequential), 0.0);
    order[1] = 0.0;
    order[14] = -big;
    order[15] = 1.0;
    assert_eq!(dot(&order, 0.0, TensorModel::Sequential), 1.0);
    for model in [TensorModel::Sequential, TensorModel::A100, TensorModel::H100] {
        assert!(dot(&[f32::INFINITY; 16], 0.0, model).is_infinite());
        assert_eq!(dot(&[0.0; 16], 0.0, model), 0.0);
    }
}

#[test]
fn operands_may_change_sides() {
    // Products commute, so tokens as A and weights as B give the same bits as the other way round.
    let case = &cases()[0];
    for model in [TensorModel::Sequential, TensorModel::A100, TensorModel::H100] {
        let mut random = Operands(5);
        let mut element = || bf16(((random.next() >> 40) as f64 / 8_388_608.0 - 1.0) * 3.0);
        let (x, w) = (matrix(8, 16, &mut element), matrix(8, 16, &mut element));
        let c = matrix(8, 8, || u64::from((element() as u32) << 16));
        let transposed = |m: &[Vec<u64>], rows: usize| -> Vec<Vec<u64>> {
            (0..rows).map(|r| m.iter().map(|row| row[r]).collect()).collect()
        };
        let padded = |m: &[Vec<u64>], columns: usize| -> Vec<Vec<u64>> {
            m.iter().cloned().chain((0..8).map(|_| vec![0; columns])).collect()
        };
        let one = multiply(case, &padded(&x, 16), &transposed(&w, 16), &padded(&c, 8), model);
        let other = multiply(case, &padded(&w, 16), &transposed(&x, 16), &padded(&transposed(&c, 8), 8), model);
        assert!((0..8).all(|r| (0..8).all(|n| one[r][n] == other[n][r])), "{model:?}");
    }
}

/// Shared memory holds 256 rows' worth of numbered 16-bit elements; lane l's row address is that of row (5 l + 3) mod 32.
const MATRIX: &str = ".shared .align 16 .b8 s[512]; .reg .u32 a, b, n, r0, r1, r2, r3; .reg .b16 h;";

/// Fills shared memory with element numbers and computes the row address in `a`.
const FILL: &str = "mov.u32 b, s; mov.u32 n, 0;
    F: mad.lo.u32 a, n, 32, %r_tid; cvt.u16.u32 h, a; mad.lo.u32 a, a, 2, b; st.shared.b16 [a], h;
    add.u32 n, n, 1; setp.lt.u32 p, n, 8; @p bra F; bar.sync 0;
    mad.lo.u32 a, %r_tid, 5, 3; and.b32 a, a, 31; mad.lo.u32 a, a, 16, b;";

/// The element at (row, column) of matrix m.
fn number(m: usize, row: usize, column: usize) -> u32 {
    (((8 * m + row) * 5 + 3) % 32 * 8 + column) as u32
}

#[test]
fn matrices_from_shared_memory() {
    for count in [1usize, 2, 4] {
        for transposed in [false, true] {
            let registers = ["r0", "r1", "r2", "r3"][..count].join(", ");
            let trans = if transposed { ".trans" } else { "" };
            let mut body =
                format!("{FILL} ldmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16 {{{registers}}}, [a];\n");
            body += "ld.param.u64 %rd_o, [k_o]; mul.wide.u32 %rd_lane, %r_tid, 16; add.u64 %rd_o, %rd_o, %rd_lane;";
            for m in 0..count {
                body += &format!("st.global.u32 [%rd_o+{}], r{m};", 4 * m);
            }
            let out = upload(&[0; 512]);
            let text = entry(&["o"], &format!(".reg .pred p; {MATRIX}"), &body);
            if let Err(fault) = run(&text, 1, 32, &[out.address], &Options::default()) {
                panic!("{fault}");
            }
            for (at, word) in out.words().into_iter().enumerate() {
                let (lane, m) = (at / 4, at % 4);
                if m >= count {
                    continue;
                }
                let (row, column) = (lane / 4, 2 * (lane % 4));
                let want = if transposed {
                    number(m, column, row) | number(m, column + 1, row) << 16
                } else {
                    number(m, row, column) | number(m, row, column + 1) << 16
                };
                assert_eq!(word, want, "x{count} transposed {transposed} lane {lane} matrix {m}");
            }
        }
    }
}

#[test]
fn matrices_to_shared_memory_and_back() {
    for count in [1usize, 2, 4] {
        for trans in ["", ".trans"] {
            // Store fragments that name lane and register, load them again: the same.
            let registers = ["r0", "r1", "r2", "r3"][..count].join(", ");
            let mut body = FILL.to_owned();
            for m in 0..count {
                body += &format!("mad.lo.u32 r{m}, %r_tid, 65537, {};", 0x40_0000 * (m + 1) + 0x100 * m);
            }
            body += &format!(
                "stmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16 [a], {{{registers}}}; bar.warp.sync 0xffffffff;\n"
            );
            body += "mov.u32 r3, 0; mov.u32 r2, 0; mov.u32 r1, 0;";
            body += &format!("ldmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16 {{{registers}}}, [a];\n");
            body += "ld.param.u64 %rd_o, [k_o]; mul.wide.u32 %rd_lane, %r_tid, 16; add.u64 %rd_o, %rd_o, %rd_lane;";
            for m in 0..count {
                body += &format!("st.global.u32 [%rd_o+{}], r{m};", 4 * m);
            }
            let out = upload(&[0; 512]);
            let text = entry(&["o"], &format!(".reg .pred p; {MATRIX}"), &body);
            if let Err(fault) = run(&text, 1, 32, &[out.address], &Options::default()) {
                panic!("{fault}");
            }
            for (at, word) in out.words().into_iter().enumerate().filter(|(at, _)| at % 4 < count) {
                let (lane, m) = (at / 4, at % 4);
                assert_eq!(word, (lane * 65537 + 0x40_0000 * (m + 1) + 0x100 * m) as u32, "x{count}{trans}");
            }
        }
    }
}

#[test]
fn a_matrix_is_transposed_in_registers() {
    let body = "mad.lo.u32 a, %r_tid, 2, 0; add.u32 b, a, 1; shl.b32 b, b, 16; or.b32 a, a, b;
        movmatrix.sync.aligned.m8n8.trans.b16 b, a; st.global.u32 [%rd_o], b;";
    let out = upload(&[0; 256]);
    run(&entry(&["o"], ".reg .u32 a, b;", body), 1, 32, &[out.address], &Options::default()).unwrap();
    for (lane, word) in out.words().into_iter().step_by(2).enumerate() {
        let (row, column) = (lane / 4, 2 * (lane % 4));
        assert_eq!(word, (column * 8 + row) as u32 | (((column + 1) * 8 + row) as u32) << 16);
    }
}

#[test]
fn undefined_elements_spoil_only_what_depends_on_them() {
    // a0 is undefined in lane 4, so row 1 of D is; rows of the other lanes may be stored.
    let body = "mov.b32 b0, 0; mov.b32 b1, 0; mov.b32 a1, 0; setp.ne.u32 p, %r_tid, 4; @p mov.b32 a0, 0;
        mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {d0, d1, d2, d3}, {a0, a1, a1, a1}, {b0, b1}, {b0, b0, b0, b0};
        shr.u32 n, %r_tid, 2; setp.ne.u32 p, n, ROW; @p st.global.u32 [%rd_o], d0; st.global.u32 [%rd_o+4], d2;";
    let out = upload(&[0; 256]);
    let go = |row: &str| {
        let text =
            entry(&["o"], ".reg .pred p; .reg .b32 n, a0, a1, b0, b1, d0, d1, d2, d3;", &body.replace("ROW", row));
        run(&text, 1, 32, &[out.address], &Options::default())
    };
    go("1").unwrap();
    let fault = go("2").unwrap_err();
    assert_eq!((fault.kind, fault.lanes), (FaultKind::UndefinedStore, 0xf0), "{fault}");
}

#[test]
fn a_warp_that_is_not_whole_cannot_multiply() {
    let body = "mov.b32 a0, 0; mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {d0, d1, d2, d3}, {a0, a0}, {a0}, {a0, a0, a0, a0};";
    let out = upload(&[0; 256]);
    let text = entry(&["o"], ".reg .b32 a0, d0, d1, d2, d3;", body);
    assert_eq!(run(&text, 1, 16, &[out.address], &Options::default()).unwrap_err().kind, FaultKind::AbsentLanes);
}
