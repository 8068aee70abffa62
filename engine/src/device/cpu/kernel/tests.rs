use super::*;
use crate::device::cpu::Isa;

fn isas() -> Vec<Isa> {
    [Isa::Portable, Isa::Avx2, Isa::Avx512Bf16].into_iter().filter(|isa| *isa <= Isa::detect()).collect()
}

/// Numbers in (-1, 1) that no test shares by chance.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<bf16> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bf16::from_f32((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0)
    };
    (0..len).map(|_| next()).collect()
}

/// The order as the module's docs tell it, written anew.
fn by_the_book(parts: &[(&[bf16], &[bf16])]) -> f32 {
    let mut lanes = [0f32; 16];
    for (x, w) in parts {
        for c in 0..x.len().div_ceil(32) {
            for (l, lane) in lanes.iter_mut().enumerate() {
                for i in [32 * c + 2 * l + 1, 32 * c + 2 * l] {
                    if i < x.len() {
                        *lane = x[i].to_f32().mul_add(w[i].to_f32(), *lane);
                    }
                }
            }
        }
    }
    let eight: Vec<f32> = (0..8).map(|l| lanes[l] + lanes[l + 8]).collect();
    let four: Vec<f32> = (0..4).map(|l| eight[l] + eight[l + 4]).collect();
    (four[0] + four[2]) + (four[1] + four[3])
}

fn rows(data: &[bf16], k: usize) -> Vec<&[bf16]> {
    data.chunks(k).collect()
}

#[test]
fn dots_follow_the_order_bit_by_bit() {
    for isa in isas() {
        let shapes = |t| [(t, 1, 0), (t, 5, 3), (t, 8, 16), (t, 7, 33)];
        for k in [1, 2, 31, 32, 33, 63, 64, 127, 576, 577, 3100] {
            for (t, n, r) in (1..=26).chain([DOTS_ROWS]).flat_map(shapes) {
                let (x, w) = (noise(1, t * k), noise(2, n * k));
                let (u, b) = (noise(3, t * r), noise(4, n * r));
                let stride = n + 3;
                let mut y = vec![f32::NAN; t * stride];
                (kernels(isa).dots)(&Dots { x: &x, w: &w, u: &u, b: &b, shape: [t, n, k, r] }, &mut y, stride);
                for i in 0..t {
                    for j in 0..n {
                        let parts = [(&x[i * k..][..k], &w[j * k..][..k]), (&u[i * r..][..r], &b[j * r..][..r])];
                        let want = by_the_book(&parts);
                        assert_eq!(
                            y[i * stride + j].to_bits(),
                            want.to_bits(),
                            "{isa:?} K {k} T {t} N {n} R {r} at {i},{j}"
                        );
                    }
                    assert!(y[i * stride + n..(i + 1) * stride].iter().all(|y| y.is_nan()), "{isa:?} wrote past a row");
                }
            }
        }
    }
}

#[test]
fn wide_follows_the_order_bit_by_bit() {
    for isa in isas() {
        let kernels = kernels(isa);
        for k in [1, 31, 32, 33, 65, 200] {
            for (m, n, r) in
                [(1, 16, 0), (4, 32, 0), (5, 48, 7), (8, 32, 33), (9, 48, 16), (12, 16, 1), (13, 48, 0), (16, 48, 64)]
            {
                let (x, w) = (noise(1, m * k), noise(2, n * k));
                let (u, b) = (noise(3, m * r), noise(4, n * r));
                let pack = |data: &[bf16], k: usize, cols: usize| {
                    let chunks = k.div_ceil(CHUNK);
                    let mut pairs = vec![0xdead_beef; Packed::size(chunks, cols)];
                    for (at, group) in data.chunks(GROUP * k).enumerate() {
                        (kernels.pack)(
                            &rows(group, k),
                            &mut pairs,
                            Packed::lane_stride(chunks, cols),
                            cols,
                            at * GROUP,
                        );
                    }
                    pairs
                };
                let operand =
                    |pairs, k: usize, cols| Packed { pairs, lane: Packed::lane_stride(k.div_ceil(CHUNK), cols), cols };
                let (px, pw) = (pack(&x, k, GROUP), pack(&w, k, n));
                let mut parts = vec![(operand(&px, k, GROUP), operand(&pw, k, n), k.div_ceil(CHUNK))];
                let packed = (r > 0).then(|| (pack(&u, r, GROUP), pack(&b, r, n)));
                if let Some((u, b)) = &packed {
                    parts.push((operand(u, r, GROUP), operand(b, r, n), r.div_ceil(CHUNK)));
                }
                let stride = n + 2;
                let (mut whole, mut halved) = (vec![f32::NAN; GROUP * stride], vec![f32::NAN; GROUP * stride]);
                (kernels.wide)(&Wide { parts: &parts, rows: m, positions: 0..16, add: false }, &mut whole, stride);
                (kernels.wide)(&Wide { parts: &parts, rows: m, positions: 0..8, add: false }, &mut halved, stride);
                (kernels.wide)(&Wide { parts: &parts, rows: m, positions: 8..16, add: true }, &mut halved, stride);
                for (y, name) in [(&whole, "whole"), (&halved, "halved")] {
                    for i in 0..m {
                        for j in 0..n {
                            let mut parts = vec![(&x[i * k..][..k], &w[j * k..][..k])];
                            if r > 0 {
                                parts.push((&u[i * r..][..r], &b[j * r..][..r]));
                            }
                            let want = by_the_book(&parts);
                            assert_eq!(
                                y[i * stride + j].to_bits(),
                                want.to_bits(),
                                "{isa:?} {name} K {k} M {m} N {n} R {r} at {i},{j}"
                            );
                        }
                        assert!(
                            y[i * stride + n..(i + 1) * stride].iter().all(|y| y.is_nan()),
                            "{isa:?} wrote past a row"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn shapes_that_disagree_panic_instead_of_reading_past_the_end() {
    let x = noise(1, 64);
    for isa in isas() {
        let run = |x: &[bf16], w: &[bf16], shape, room: usize| {
            let dots = Dots { x, w, u: &[], b: &[], shape };
            std::panic::catch_unwind(|| (kernels(isa).dots)(&dots, &mut vec![0.0; room], 2)).is_err()
        };
        assert!(!run(&x, &x, [1, 2, 32, 0], 2), "{isa:?}");
        let bad = [
            run(&x[..31], &x, [1, 2, 32, 0], 2),
            run(&x, &x[..63], [1, 2, 32, 0], 2),
            run(&x, &x, [1, 2, 32, 1], 2),
            run(&x, &x, [2, 2, 32, 0], 3),
            run(&x, &x, [1, 3, 20, 0], 3),
        ];
        assert_eq!(bad, [true; 5], "{isa:?}");
    }
}

#[test]
fn exp_is_within_two_ulp() {
    // Every 997th float of the range; 2 ulp: one of the reduction and one of the last product.
    let mut worst = 0.0f64;
    for bits in (0..f32::INFINITY.to_bits()).step_by(997) {
        for x in [f32::from_bits(bits), -f32::from_bits(bits)] {
            let (y, want) = (pointwise::exp(x), (x as f64).exp());
            if want < f32::MIN_POSITIVE as f64 {
                assert!((0.0..=1.2e-38).contains(&y), "exp({x}) = {y}");
            } else if want > f32::MAX as f64 {
                assert!(y == f32::INFINITY || y > 3.4e38, "exp({x}) = {y}");
            } else {
                let ulp = f32::from_bits((want as f32).to_bits() + 1) as f64 - want as f32 as f64;
                let error = if y.is_finite() {
                    (y as f64 - want).abs() / ulp
                } else {
                    assert!(x > 88.72);
                    0.0
                };
                worst = worst.max(error);
            }
        }
    }
    println!("exp: {worst:.3} ulp at most");
    assert!(worst <= 2.0, "{worst} ulp");
    assert!(pointwise::exp(f32::NAN).is_nan());
    assert_eq!(
        (pointwise::exp(0.0), pointwise::exp(f32::NEG_INFINITY), pointwise::exp(f32::INFINITY)),
        (1.0, 0.0, f32::INFINITY)
    );
}

#[test]
fn rounding_is_that_of_half() {
    for bits in (0..=u32::MAX).step_by(65_521).chain([
        0x7f80_0001,
        0xff80_0001,
        0x7f7f_ffff,
        0x3f80_8000,
        0x3f81_8000,
        0x3f80_8001,
    ]) {
        let x = f32::from_bits(bits);
        let (got, want) = (pointwise::to_bf16(x), bf16::from_f32(x));
        assert!(got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan()), "{bits:#x}: {got:?} {want:?}");
    }
}

#[test]
fn pointwise_operations_have_the_same_bits_everywhere() {
    for len in [1, 7, 16, 127, 576] {
        let f = |seed| noise(seed, len).iter().map(|x| x.to_f32() * 9.0).collect::<Vec<f32>>();
        let run = |isa| {
            let k = kernels(isa);
            let (mut x, mut a, mut h) = (vec![bf16::ZERO; len], vec![bf16::ZERO; len], f(3));
            (k.rms_norm)(&f(1), &f(2), 1e-5, &mut x);
            (k.swiglu)(&f(1), &f(2), &mut a);
            (k.add)(&f(1), &mut h);
            (k.rotate)(&mut h, &f(4), &f(5));
            (x, a, h.iter().map(|h| h.to_bits()).collect::<Vec<_>>(), (k.max_sum_exp)(&f(1)))
        };
        let want = run(Isa::Portable);
        isas().into_iter().for_each(|isa| assert_eq!(run(isa), want, "{isa:?} {len}"));
    }
}
