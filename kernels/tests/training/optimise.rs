//! AdamW and the norm of a gradient.

use crate::harness::{Address, Device, Random};
use biomistral_nlu_kernels::params::{AdamParams, SumSquaresParams};
use biomistral_nlu_kernels::table::{self, SUM_SQUARES_CHUNK};
use half::bf16;

fn floats(random: &mut Random, n: usize, size: f32) -> Vec<f32> {
    (0..n).map(|_| size * random.uniform()).collect()
}

/// SplitMix64's finaliser, as engine/src/random.rs has it.
fn uniform(key: u64, index: u64) -> u32 {
    let x = key.wrapping_add(index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 32) as u32
}

/// One of x's neighbours in bf16: the upper one (away from zero) if `random` is less than the distance in 65536ths.
fn stochastic(x: f32, random: u32) -> bf16 {
    if !x.is_finite() {
        return bf16::from_f32(x);
    }
    let low = x.to_bits() >> 16 << 16;
    let up = u64::from(x.to_bits() - low) + u64::from(random & 0xffff) >= 0x1_0000;
    bf16::from_bits(((low >> 16) + u32::from(up)) as u16)
}

/// Every operation rounded to f32, in the order of Loshchilov and Hutter's algorithm.
fn adam(p: &AdamParams, gradient: f32, m: f32, v: f32, w: f32) -> [f32; 3] {
    let g = gradient * p.scale;
    let m = p.beta[0] * m + p.rest[0] * g;
    let v = p.beta[1] * v + p.rest[1] * g * g;
    let by = (m * p.correction[0]) / ((v * p.correction[1]).sqrt() + p.epsilon);
    [m, v, w - p.decay * w - p.rate * by]
}

fn step(random: &mut Random) -> AdamParams {
    AdamParams {
        key: random.next(),
        beta: [0.9, 0.999],
        rest: [1.0 - 0.9f32, 1.0 - 0.999f32],
        correction: [10.0, 1000.5],
        epsilon: 1e-8,
        rate: 1e-2,
        decay: 1e-3,
        scale: 0.37,
        ..AdamParams::default()
    }
}

#[test]
fn adamw_computes_the_bits_of_plain_arithmetic() {
    let Some(device) = Device::open("adamw_computes_the_bits_of_plain_arithmetic") else { return };
    let mut random = Random::new(31);
    for (rows, columns) in [(1usize, 1usize), (5, 51), (3, 1024), (40, 64)] {
        let n = rows * columns;
        let mut gradient = floats(&mut random, n, 1.0);
        let (m, w) = (floats(&mut random, n, 0.5), floats(&mut random, n, 2.0));
        let v: Vec<f32> = floats(&mut random, n, 0.1).iter().map(|v| v.abs()).collect();
        if n > 5 {
            (gradient[1], gradient[2], gradient[3]) = (f32::NAN, f32::INFINITY, 0.0);
            gradient[4] = f32::MIN_POSITIVE / 8.0;
        }
        for weighted in [true, false] {
            let ld = columns.next_multiple_of(64);
            let from = device.array(&gradient);
            let state = [&m, &v, &w].map(|x| device.output(x, n, n));
            let weight = device.output(&vec![bf16::NAN; n], columns, ld);
            let params = AdamParams {
                gradient: from.address(),
                m: state[0].address(),
                v: state[1].address(),
                master: state[2].address(),
                weight: if weighted { weight.address() } else { 0 },
                ld: ld as i64,
                length: n as u32,
                columns: columns as u32,
                ..step(&mut random)
            };
            device.launch(&table::ADAMW, &params);
            let expected: Vec<[f32; 3]> = (0..n).map(|i| adam(&params, gradient[i], m[i], v[i], w[i])).collect();
            for (k, state) in state.iter().enumerate() {
                for (i, (found, expected)) in device.read(state).iter().zip(&expected).enumerate() {
                    let expected = expected[k];
                    let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
                    assert!(same, "state {k} of element {i} of {n}: {found}, expected {expected}");
                }
            }
            for (found, expected) in device.read(&weight).iter().zip(&expected) {
                let expected = if weighted { bf16::from_f32(expected[2]) } else { bf16::NAN };
                assert!(found == &expected || found.is_nan() && expected.is_nan());
            }
        }
    }
}

#[test]
fn state_in_bf16_is_rounded_by_the_elements_own_draws() {
    let Some(device) = Device::open("state_in_bf16_is_rounded_by_the_elements_own_draws") else { return };
    let mut random = Random::new(32);
    for (rows, columns) in [(7usize, 51usize), (3, 1024)] {
        let (n, ld) = (rows * columns, columns.next_multiple_of(64));
        let mut gradient = floats(&mut random, n, 1.0);
        (gradient[1], gradient[2]) = (f32::NAN, f32::NEG_INFINITY);
        let mut half = |size: f32| floats(&mut random, n, size).iter().map(|x| bf16::from_f32(*x)).collect::<Vec<_>>();
        let (m, mut v, w) = (half(0.5), half(0.1), half(2.0));
        v.iter_mut().for_each(|v| *v = bf16::from_f32(v.to_f32().abs()));
        v[5] = bf16::MAX;
        let from = device.array(&gradient);
        let state = [&m, &v].map(|x| device.output(x, n, n));
        let weight = device.output(&w, columns, ld);
        let params = AdamParams {
            gradient: from.address(),
            m: state[0].address(),
            v: state[1].address(),
            weight: weight.address(),
            ld: ld as i64,
            length: n as u32,
            columns: columns as u32,
            ..step(&mut random)
        };
        device.launch(&table::ADAMW_HALF, &params);
        let found = [device.read(&state[0]), device.read(&state[1]), device.read(&weight)];
        for i in 0..n {
            let exact = adam(&params, gradient[i], m[i].to_f32(), v[i].to_f32(), w[i].to_f32());
            let (first, second) = (uniform(params.key, 2 * i as u64), uniform(params.key, 2 * i as u64 + 1));
            let draws = [first, first >> 16, second];
            for k in 0..3 {
                let (found, expected) = (found[k][i], stochastic(exact[k], draws[k]));
                let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
                assert!(same, "value {k} of element {i} of {n}: {found}, expected {expected} for {}", exact[k]);
            }
        }
    }
}

#[test]
fn squares_add_up_by_position_alone() {
    let Some(device) = Device::open("squares_add_up_by_position_alone") else { return };
    let mut random = Random::new(33);
    let chunk = SUM_SQUARES_CHUNK as usize;
    for n in [1, 300, chunk, 2 * chunk + 77] {
        // Squares beyond f32 and below it.
        let x: Vec<f32> = (0..n).map(|i| random.uniform() * if i % 2 == 0 { 1e30 } else { 1e-30 }).collect();
        let from = device.array(&x);
        let chunks = n.div_ceil(chunk);
        let run = || {
            let out = device.output(&vec![f64::NAN; chunks], chunks, chunks);
            let params = SumSquaresParams { x: from.address(), out: out.address(), length: n as u32, reserved: 0 };
            device.launch(&table::SUM_SQUARES, &params);
            device.read(&out)
        };
        let mut first = Vec::new();
        device.under_all(|settings| {
            for (found, x) in run().iter().zip(x.chunks(chunk)) {
                let exact: f64 = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
                assert!((found / exact - 1.0).abs() < 1e-12, "{n}, {settings}: {found}, expected {exact}");
            }
        });
        for _ in 0..2 {
            let found: Vec<u64> = run().iter().map(|x| x.to_bits()).collect();
            assert!(first.is_empty() || first == found);
            first = found;
        }
    }
}
