//! Approximate functions: rounded correctly by default; perturbed, within the documented bound and really perturbed.

use super::harness::{evaluate, samples};
use crate::exec::{Approx, Options};

fn perturbed(seed: u64) -> Options {
    Options { seed, approx: Approx::Perturbed, ..Options::default() }
}

fn ulp(x: f64) -> f64 {
    let x = x.abs() as f32;
    f64::from(x.next_up()) - f64::from(x)
}

/// (opcode, exact function, bound on |result - exact| given argument and exact result)
type Row = (&'static str, fn(f64) -> f64, fn(f64, f64) -> f64);

const F32: [Row; 8] = [
    ("rcp.approx.f32", |x| 1.0 / x, |_, y| ulp(y)),
    ("sqrt.approx.f32", f64::sqrt, |_, y| y * 2f64.powi(-23)),
    ("rsqrt.approx.f32", |x| 1.0 / x.sqrt(), |_, y| y * 2f64.powf(-22.9)),
    // 2 ulp from the correctly rounded result.
    ("ex2.approx.f32", f64::exp2, |_, y| 2.5 * ulp(y)),
    ("lg2.approx.f32", f64::log2, |x, y| if x > 0.5 && x < 2.0 { 2f64.powi(-22) } else { y.abs() * 2f64.powi(-22) }),
    ("sin.approx.f32", f64::sin, angle),
    ("cos.approx.f32", f64::cos, angle),
    ("tanh.approx.f32", f64::tanh, |_, y| y.abs() * 2f64.powi(-11)),
];

/// Beyond 100 pi nothing is promised.
fn angle(x: f64, _: f64) -> f64 {
    match x.abs() / std::f64::consts::PI {
        0.0..=2.0 => 2f64.powf(-20.5),
        2.0..=100.0 => 2f64.powf(-14.7),
        _ => 2.0,
    }
}

fn arguments() -> Vec<u64> {
    let mut all = samples("f32", 400, 5);
    all.extend((0..400).map(|i| u64::from((i as f32 * 0.0373 - 7.0).to_bits())));
    all
}

#[test]
fn exact_results_are_the_nearest() {
    let rows: Vec<Vec<u64>> = arguments().into_iter().map(|x| vec![x]).collect();
    for (op, f, _) in F32 {
        let got = evaluate(&format!("{op} %d, %a;"), "f32", &["f32"], &rows, &Options::default());
        for (row, got) in rows.iter().zip(got) {
            let want = f(f64::from(f32::from_bits(row[0] as u32))) as f32;
            let got = f32::from_bits(got as u32);
            assert!(
                got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(),
                "{op} {:x}: {got} {want}",
                row[0]
            );
        }
    }
}

#[test]
fn perturbed_results_stay_within_the_bound() {
    let rows: Vec<Vec<u64>> = arguments().into_iter().map(|x| vec![x]).collect();
    for (op, f, bound) in F32 {
        let instruction = format!("{op} %d, %a;");
        let runs: Vec<Vec<u64>> =
            [1, 1, 2].map(|seed| evaluate(&instruction, "f32", &["f32"], &rows, &perturbed(seed))).into();
        assert_eq!(runs[0], runs[1], "{op}: the same seed, the same results");
        assert_ne!(runs[0], runs[2], "{op}: another seed, other results");
        let mut moved = 0;
        for (row, got) in rows.iter().zip(&runs[0]) {
            let x = f64::from(f32::from_bits(row[0] as u32));
            let (want, got) = (f(x), f32::from_bits(*got as u32));
            if !want.is_finite() || want.abs() < 1e-37 || want.abs() > 1e38 {
                assert!(
                    f64::from(got) == want as f32 as f64
                        || want.is_nan() && got.is_nan()
                        || want.abs() < 1e-37
                        || want.is_finite()
                );
                continue;
            }
            let error = (f64::from(got) - want).abs();
            // The exact function itself is rounded to f64.
            assert!(
                error <= bound(x, want) * (1.0 + 1e-9),
                "{op} of {x}: {got} is {error:e} away, bound {:e}",
                bound(x, want)
            );
            moved += usize::from(got != want as f32);
        }
        assert!(moved > rows.len() / 10, "{op}: only {moved} results differ from the nearest");
    }
}

#[test]
fn special_values_are_exact_even_when_perturbed() {
    for (op, argument, want) in [
        ("ex2.approx.f32", 0.0f32, 1.0f32),
        ("ex2.approx.f32", f32::NEG_INFINITY, 0.0),
        ("rcp.approx.f32", f32::INFINITY, 0.0),
        ("rcp.approx.f32", -0.0, f32::NEG_INFINITY),
        ("sqrt.approx.f32", 0.0, 0.0),
        ("rsqrt.approx.f32", 0.0, f32::INFINITY),
        ("lg2.approx.f32", 0.0, f32::NEG_INFINITY),
        ("tanh.approx.f32", 0.0, 0.0),
        ("cos.approx.f32", 0.0, 1.0),
    ] {
        let rows = [vec![u64::from(argument.to_bits())]];
        let got = evaluate(&format!("{op} %d, %a;"), "f32", &["f32"], &rows, &perturbed(9))[0];
        assert_eq!(f32::from_bits(got as u32), want, "{op} {argument}");
    }
    // Subnormal arguments count as zero with .ftz.
    let tiny = [vec![1u64]];
    let got = evaluate("rcp.approx.ftz.f32 %d, %a;", "f32", &["f32"], &tiny, &Options::default())[0];
    assert_eq!(f32::from_bits(got as u32), f32::INFINITY);
}

#[test]
fn approximate_quotients() {
    let (a, b) = (samples("f32", 200, 3), samples("f32", 200, 4));
    let rows: Vec<Vec<u64>> = a.iter().zip(&b).map(|(a, b)| vec![*a, *b]).collect();
    for op in ["div.approx.f32", "div.full.f32"] {
        for options in [Options::default(), perturbed(1)] {
            let got = evaluate(&format!("{op} %d, %a, %b;"), "f32", &["f32"; 2], &rows, &options);
            for (row, got) in rows.iter().zip(got) {
                let [a, b] = [row[0], row[1]].map(|x| f64::from(f32::from_bits(x as u32)));
                let (want, got) = (a / b, f64::from(f32::from_bits(got as u32)));
                if op == "div.approx.f32" && b.abs() > 2f64.powi(126) && b.is_finite() && a.is_finite() {
                    assert!(got == 0.0 && got.is_sign_negative() == (a * b).is_sign_negative(), "{a} / {b} = {got}");
                    continue;
                }
                if want.is_finite() && want.abs() > 1e-37 && want.abs() < 1e38 {
                    assert!((got - want).abs() <= 2.0 * ulp(want), "{op} {a} / {b} = {got}");
                }
            }
        }
    }
}

#[test]
fn approximate_quotients_by_the_largest_numbers() {
    let largest = [f32::MAX, -(2f32.powi(127)), 2f32.powi(126), f32::INFINITY];
    let rows: Vec<Vec<u64>> = [1.0, f32::INFINITY]
        .iter()
        .flat_map(|a: &f32| largest.map(|b: f32| vec![u64::from(a.to_bits()), u64::from(b.to_bits())]))
        .collect();
    let divide = |op| {
        let got = evaluate(&format!("{op} %d, %a, %b;"), "f32", &["f32"; 2], &rows, &Options::default());
        got.into_iter().map(|bits| f32::from_bits(bits as u32)).collect::<Vec<_>>()
    };
    let (approx, full) = (divide("div.approx.f32"), divide("div.full.f32"));
    assert_eq!((approx[0].to_bits(), approx[1].to_bits()), (0.0f32.to_bits(), (-0.0f32).to_bits()));
    assert_eq!((approx[2], approx[3]), (2f32.powi(-126), 0.0));
    assert!(approx[4].is_nan() && approx[5].is_nan() && approx[6] == f32::INFINITY && approx[7].is_nan());
    assert_eq!(full[..4], [1.0 / f32::MAX, -(2f32.powi(-127)), 2f32.powi(-126), 0.0]);
    assert!(full[4] == f32::INFINITY && full[5] == f32::NEG_INFINITY && full[7].is_nan());
}

#[test]
fn gross_functions_of_f64_take_and_give_the_upper_word() {
    let rows = [3.0f64, 1.0 + f64::EPSILON, -0.0, 1e-310, f64::INFINITY, f64::NAN].map(|x| vec![x.to_bits()]);
    let upper = |x: f64| x.to_bits() >> 32 << 32;
    let nan = 0x7fff_ffff_0000_0000;
    let (zero, infinity) = (0, f64::INFINITY.to_bits());
    for (op, want) in [
        ("rcp", [upper(1.0 / 3.0), upper(1.0), upper(f64::NEG_INFINITY), infinity, zero, nan]),
        ("rsqrt", [upper(1.0 / 3f64.sqrt()), upper(1.0), upper(f64::NEG_INFINITY), infinity, zero, nan]),
    ] {
        let got = evaluate(&format!("{op}.approx.ftz.f64 %d, %a;"), "f64", &["f64"], &rows, &Options::default());
        assert_eq!(got, want, "{op}");
    }
}

#[test]
fn sixteen_bit_functions() {
    let rows: Vec<Vec<u64>> = (0..800).map(|i| vec![u64::from((i as f32 * 0.011 - 4.4).to_bits() >> 16)]).collect();
    let value = |bits: u64| f64::from(f32::from_bits((bits as u32) << 16));
    for (op, f, bound) in [
        ("tanh.approx.bf16", f64::tanh as fn(f64) -> f64, (|_| 2f64.powi(-8)) as fn(f64) -> f64),
        ("ex2.approx.ftz.bf16", f64::exp2, |y| y * 2f64.powi(-7)),
    ] {
        for options in [Options::default(), perturbed(1)] {
            let got = evaluate(&format!("{op} %d, %a;"), "bf16", &["bf16"], &rows, &options);
            for (row, got) in rows.iter().zip(got) {
                let want = f(value(row[0]));
                let error = (value(got & 0xffff) - want).abs();
                assert!(error <= bound(want), "{op} of {}: {error:e}", value(row[0]));
            }
        }
    }
}
