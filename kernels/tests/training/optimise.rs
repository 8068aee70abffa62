//! AdamW and the norm of a gradient.

use crate::harness::{Address, Device, Input, Output, Random};
use biomistral_nlu_kernels::params::{AdamParams, AdamTensor, SquaresTensor, SumSquaresParams};
use biomistral_nlu_kernels::table::{self, ADAMW_CHUNK, SUM_SQUARES_CHUNK};
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
fn adam(p: &AdamParams, decay: f32, gradient: f32, m: f32, v: f32, w: f32) -> [f32; 3] {
    let g = gradient * p.scale;
    let m = p.beta[0] * m + p.rest[0] * g;
    let v = p.beta[1] * v + p.rest[1] * g * g;
    let by = (m * p.correction[0]) / ((v * p.correction[1]).sqrt() + p.epsilon);
    [m, v, w - decay * w - p.rate * by]
}

/// The step of a launch over these parameters.
fn step(tensors: &Input, lengths: impl Iterator<Item = u32>) -> AdamParams {
    let each: Vec<u32> = lengths.collect();
    AdamParams {
        tensors: tensors.address(),
        beta: [0.9, 0.999],
        rest: [1.0 - 0.9f32, 1.0 - 0.999f32],
        correction: [10.0, 1000.5],
        epsilon: 1e-8,
        rate: 1e-2,
        scale: 0.37,
        count: each.len() as u32,
        blocks: each.iter().map(|length| length.div_ceil(ADAMW_CHUNK)).sum(),
        reserved: 0,
    }
}

/// Sets where the blocks of each parameter begin.
fn number(tensors: &mut [AdamTensor]) {
    let mut blocks = 0;
    for tensor in tensors {
        tensor.first = blocks;
        blocks += tensor.length.div_ceil(ADAMW_CHUNK);
    }
}

fn same(found: f32, expected: f32) -> bool {
    found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan()
}

/// Shapes of one launch: parts of a block, whole blocks and their edges, one that is empty.
const SHAPES: [(usize, usize); 8] = [(1, 1), (5, 51), (0, 3), (3, 1024), (40, 64), (1, 1025), (1, 1023), (2, 512)];

/// A parameter in f32 on the device.
struct Full {
    host: [Vec<f32>; 4],
    state: [Output<f32>; 3],
    weight: Option<Output<bf16>>,
    _gradient: Input,
}

#[test]
fn adamw_computes_the_bits_of_plain_arithmetic_for_all_parameters_at_once() {
    let name = "adamw_computes_the_bits_of_plain_arithmetic_for_all_parameters_at_once";
    let Some(device) = Device::open(name) else { return };
    let mut random = Random::new(31);
    let (mut tensors, mut parameters) = (Vec::new(), Vec::new());
    for ((rows, columns), weighted) in SHAPES.into_iter().flat_map(|shape| [(shape, true), (shape, false)]) {
        let n = rows * columns;
        let mut gradient = floats(&mut random, n, 1.0);
        let (m, w) = (floats(&mut random, n, 0.5), floats(&mut random, n, 2.0));
        let v: Vec<f32> = floats(&mut random, n, 0.1).iter().map(|v| v.abs()).collect();
        if n > 5 {
            (gradient[1], gradient[2], gradient[3]) = (f32::NAN, f32::INFINITY, 0.0);
            gradient[4] = f32::MIN_POSITIVE / 8.0;
        }
        let ld = columns.next_multiple_of(64);
        let from = device.array(&gradient);
        let state = [&m, &v, &w].map(|x| device.output(x, n.max(1), n.max(1)));
        let weight = weighted.then(|| device.output(&vec![bf16::NAN; n], columns, ld));
        tensors.push(AdamTensor {
            gradient: from.address(),
            m: state[0].address(),
            v: state[1].address(),
            master: state[2].address(),
            weight: weight.as_ref().map_or(0, Address::address),
            ld: ld as i64,
            key: random.next(),
            length: n as u32,
            columns: columns as u32,
            decay: 1e-3 * random.uniform(),
            first: 0,
        });
        parameters.push(Full { host: [gradient, m, v, w], state, weight, _gradient: from });
    }
    number(&mut tensors);
    // The entries' bytes: integers and floats without padding.
    let table = device.array(&words(&tensors));
    let params = step(&table, tensors.iter().map(|t| t.length));
    device.launch(&table::ADAMW, &params);
    for (number, (tensor, Full { host: [gradient, m, v, w], state, weight, .. })) in
        tensors.iter().zip(&parameters).enumerate()
    {
        let expected: Vec<[f32; 3]> =
            (0..w.len()).map(|i| adam(&params, tensor.decay, gradient[i], m[i], v[i], w[i])).collect();
        for (k, state) in state.iter().enumerate() {
            for (i, (found, expected)) in device.read(state).iter().zip(&expected).enumerate() {
                let expected = expected[k];
                assert!(
                    same(*found, expected),
                    "state {k}, element {i} of parameter {number}: {found}, not {expected}"
                );
            }
        }
        for (found, expected) in weight.iter().flat_map(|weight| device.read(weight)).zip(&expected) {
            assert!(same(found.to_f32(), bf16::from_f32(expected[2]).to_f32()), "parameter {number}");
        }
    }
}

/// Parameter structs as words: `params.h` has no padding.
fn words(tensors: &[AdamTensor]) -> Vec<u64> {
    let pair = |a: u32, b: u32| u64::from(a) | u64::from(b) << 32;
    let words = |t: &AdamTensor| {
        let AdamTensor { gradient, m, v, master, weight, ld, key, length, columns, decay, first } = *t;
        [gradient, m, v, master, weight, ld as u64, key, pair(length, columns), pair(decay.to_bits(), first)]
    };
    tensors.iter().flat_map(words).collect()
}

#[test]
fn state_in_bf16_is_rounded_by_the_elements_own_draws() {
    let Some(device) = Device::open("state_in_bf16_is_rounded_by_the_elements_own_draws") else { return };
    let mut random = Random::new(32);
    let (mut tensors, mut parameters) = (Vec::new(), Vec::new());
    for (rows, columns) in [(7usize, 51usize), (3, 1024), (1, 1)] {
        let (n, ld) = (rows * columns, columns.next_multiple_of(64));
        let mut gradient = floats(&mut random, n, 1.0);
        let mut half = |size: f32| floats(&mut random, n, size).iter().map(|x| bf16::from_f32(*x)).collect::<Vec<_>>();
        let (m, mut v, w) = (half(0.5), half(0.1), half(2.0));
        v.iter_mut().for_each(|v| *v = bf16::from_f32(v.to_f32().abs()));
        if n > 5 {
            (gradient[1], gradient[2]) = (f32::NAN, f32::NEG_INFINITY);
            v[5] = bf16::MAX;
        }
        let from = device.array(&gradient);
        let state = [&m, &v].map(|x| device.output(x, n, n));
        let weight = device.output(&w, columns, ld);
        tensors.push(AdamTensor {
            gradient: from.address(),
            m: state[0].address(),
            v: state[1].address(),
            weight: weight.address(),
            ld: ld as i64,
            key: random.next(),
            length: n as u32,
            columns: columns as u32,
            decay: 1e-3,
            ..AdamTensor::default()
        });
        let [mean, square] = state;
        parameters.push((gradient, [m, v, w], [mean, square, weight], from));
    }
    number(&mut tensors);
    let table = device.array(&words(&tensors));
    let params = step(&table, tensors.iter().map(|t| t.length));
    device.launch(&table::ADAMW_HALF, &params);
    for (tensor, (gradient, [m, v, w], state, _)) in tensors.iter().zip(&parameters) {
        let found = state.each_ref().map(|state| device.read(state));
        for i in 0..w.len() {
            let exact = adam(&params, tensor.decay, gradient[i], m[i].to_f32(), v[i].to_f32(), w[i].to_f32());
            let (first, second) = (uniform(tensor.key, 2 * i as u64), uniform(tensor.key, 2 * i as u64 + 1));
            let draws = [first, first >> 16, second];
            for k in 0..3 {
                let (found, expected) = (found[k][i], stochastic(exact[k], draws[k]));
                let n = w.len();
                assert!(
                    same(found.to_f32(), expected.to_f32()),
                    "value {k} of element {i} of {n}: {found}, expected {expected} for {}",
                    exact[k]
                );
            }
        }
    }
}

#[test]
fn squares_add_up_by_position_alone() {
    let Some(device) = Device::open("squares_add_up_by_position_alone") else { return };
    let mut random = Random::new(33);
    let chunk = SUM_SQUARES_CHUNK as usize;
    // Squares beyond f32 and below it.
    let mut numbers =
        |n: usize| (0..n).map(|i| random.uniform() * if i % 2 == 0 { 1e30 } else { 1e-30 }).collect::<Vec<f32>>();
    let all = [1, 300, chunk, 0, 2 * chunk + 77, 5].map(&mut numbers);
    let on_device = all.each_ref().map(|x| device.array(x));
    let (mut words, mut blocks) = (Vec::new(), 0);
    for (x, at) in all.iter().zip(&on_device) {
        let SquaresTensor { x: address, length, first } =
            SquaresTensor { x: at.address(), length: x.len() as u32, first: blocks };
        words.extend([address, u64::from(length) | u64::from(first) << 32]);
        blocks += length.div_ceil(SUM_SQUARES_CHUNK);
    }
    let table = device.array(&words);
    let run = || {
        let out = device.output(&vec![f64::NAN; blocks as usize], blocks as usize, blocks as usize);
        let params = SumSquaresParams { tensors: table.address(), out: out.address(), count: all.len() as u32, blocks };
        device.launch(&table::SUM_SQUARES, &params);
        device.read(&out)
    };
    let mut bits: Option<Vec<u64>> = None;
    device.under_all(|settings| {
        let found = run();
        for (found, x) in found.iter().zip(all.iter().flat_map(|x| x.chunks(chunk))) {
            let exact: f64 = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
            assert!((found / exact - 1.0).abs() < 1e-12, "{settings}: {found}, expected {exact}");
        }
    });
    for _ in 0..2 {
        let found: Vec<u64> = run().iter().map(|x| x.to_bits()).collect();
        assert!(bits.get_or_insert_with(|| found.clone()) == &found);
    }
}
