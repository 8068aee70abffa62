//! Training on the CUDA device: gradients and steps against torch, the processor and itself.
#![cfg(feature = "cuda")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod common;

use biomistral_nlu::device::cpu::{Cpu, CpuOptions};
use biomistral_nlu::device::cuda::Cuda;
use biomistral_nlu::device::{
    AdamStep, AdamTensor, Backward, Device, HostMatrix, LossGradient, Moments, Output, PackedRows, RopeTable,
    RowSelection, Term, Update,
};
use biomistral_nlu::model::training::{Learner, StepOptions, Tuning};
use biomistral_nlu::weights::MatrixData;
use common::gpu::Gpu;
use common::training::{
    self, Case, FULL, bits, check_gradients, follow_torch, golden_cases, gradients, lora, rounding, stored,
};
use half::bf16;
use std::ops::Range;

fn learner(gpu: &Gpu, name: &str, tuning: &Tuning) -> Learner<Cuda> {
    training::learner(name, gpu.cuda(), tuning)
}

fn cpu() -> Cpu {
    Cpu::new(CpuOptions { threads: Some(2), isa: None }).unwrap()
}

#[test]
fn every_gradient_agrees_with_torch_in_double() {
    let settings = r#"{"schedule": "shuffled", "tensor": "h100", "approx": "perturbed"}"#;
    let Some(gpu) = Gpu::take("every_gradient_agrees_with_torch_in_double", settings) else { return };
    for (name, kind, tuning) in golden_cases() {
        check_gradients(name, kind, &mut learner(&gpu, name, &tuning));
    }
}

#[test]
fn steps_follow_the_losses_of_torch() {
    let Some(gpu) = Gpu::take("steps_follow_the_losses_of_torch", "{}") else { return };
    for (name, kind, tuning) in golden_cases() {
        follow_torch(name, kind, &mut learner(&gpu, name, &tuning), 10, rounding(name, kind));
    }
}

/// Loss of one step, which changes the parameters.
fn step<D: Backward>(case: &Case, learner: &mut Learner<D>, number: u64) -> f64 {
    learner.clear_gradients().unwrap();
    // One mask in all steps: the loss is to fall.
    let loss = case.backward(learner, 9);
    let norm = learner.gradient_norm().unwrap();
    let (rate, beta, scale) = (1e-3, [0.9, 0.99], (1.0 / norm).min(1.0));
    learner.step(&StepOptions { number, rate, beta, epsilon: 1e-8, decay: 0.1, scale, seed: 3 }).unwrap();
    loss
}

#[test]
fn steps_follow_the_processor() {
    let Some(gpu) = Gpu::take("steps_follow_the_processor", r#"{"tensor": "a100"}"#) else { return };
    // With dropout: both devices drop the same elements. With state in bf16: both round with the same random numbers.
    let cases = [
        ("mistral_window", lora(0.3)),
        ("llama_tied_odd", FULL),
        ("llama_tied_odd", Tuning::Full { half_state: true }),
    ];
    for (name, tuning) in cases {
        let case = Case::open(name);
        let mut here = training::learner(name, cpu(), &tuning);
        let mut there = learner(&gpu, name, &tuning);
        let first = step(&case, &mut there, 1);
        assert!((step(&case, &mut here, 1) / first - 1.0).abs() < 2e-3);
        let mut last = first;
        for number in 2..11 {
            let want = step(&case, &mut here, number);
            last = step(&case, &mut there, number);
            println!("{name} step {number}: {last} ({want})");
            // Activations are rounded to bf16 after sums in another order.
            assert!(
                (last / want - 1.0).abs() < 5e-3,
                "{name} {tuning:?} step {number}: {last}, on the processor {want}"
            );
        }
        assert!(last < first, "{name} {tuning:?} learns nothing: {first} to {last}");
    }
}

#[test]
fn bits_depend_neither_on_the_order_of_blocks_nor_on_what_is_computed_again() {
    let name = "bits_depend_neither_on_the_order_of_blocks_nor_on_what_is_computed_again";
    let Some(gpu) = Gpu::take(name, "{}") else { return };
    let case = Case::open("mistral_window");
    for tuning in [FULL, lora(0.3)] {
        let run = |settings: &str, keep| {
            if let Some(control) = gpu.control {
                control.configure(settings).unwrap();
            }
            let mut learner = learner(&gpu, "mistral_window", &tuning);
            learner.keep_blocks(keep);
            let loss = case.backward(&mut learner, 5);
            let gradients = bits(&gradients(&learner));
            (loss.to_bits(), gradients, case.backward(&mut learner, 5).to_bits())
        };
        let first = run(r#"{"schedule": "in_order"}"#, 2);
        assert_eq!(first.0, first.2, "a second pass sees what the first left behind");
        assert!(run(r#"{"schedule": "shuffled", "seed": 11, "resident_blocks": 2}"#, 1) == first, "{tuning:?}");
    }
}

#[test]
fn state_that_was_stored_goes_on_to_the_same_bits() {
    let Some(gpu) = Gpu::take("state_that_was_stored_goes_on_to_the_same_bits", "{}") else { return };
    let case = Case::open("llama_tied_odd");
    for tuning in [FULL, Tuning::Full { half_state: true }] {
        let mut through = learner(&gpu, "llama_tied_odd", &tuning);
        step(&case, &mut through, 1);
        let middle = stored(&through);
        step(&case, &mut through, 2);
        let mut resumed = learner(&gpu, "llama_tied_odd", &tuning);
        resumed.load(&mut |name| Ok(middle[name].clone())).unwrap();
        assert!(stored(&resumed) == middle);
        step(&case, &mut resumed, 2);
        assert!(stored(&resumed) == stored(&through), "{tuning:?}");
        assert!(stored(&through) != middle);
    }
}

/// State and parameter after `steps` steps of parameters of all kinds, with the squares of the gradients; `together`, or each
/// alone.
fn optimised<D: Backward>(d: &D, steps: u64, together: bool) -> Vec<u32> {
    // Parts of a block of 1024 elements, whole ones and their edges; vectors, matrices in f32 and in bf16.
    let shapes =
        [(1, 5, 'v'), (3, 7, 'm'), (2, 512, 'h'), (1, 1025, 'm'), (33, 65, 'h'), (1, 3000, 'v'), (130, 130, 'm')];
    let vector = |seed, n: usize| {
        let mut buffer = d.buffer::<f32>(n).unwrap();
        d.write(&mut buffer, 0, &numbers(seed, n)).unwrap();
        buffer
    };
    let mut matrices: Vec<D::Matrix> = shapes.iter().map(|(rows, cols, _)| matrix(d, 1, *rows, *cols)).collect();
    let mut vectors: Vec<D::Buffer<f32>> = shapes.iter().map(|(rows, cols, _)| vector(2, rows * cols)).collect();
    let mut moments: Vec<Moments<D>> = Vec::new();
    for (rows, cols, kind) in shapes {
        let n = rows * cols;
        moments.push(match kind {
            'h' => Moments::Half { m: d.buffer(n).unwrap(), v: d.buffer(n).unwrap() },
            _ => Moments::Full { m: d.buffer(n).unwrap(), v: d.buffer(n).unwrap(), master: vector(3, n) },
        });
    }
    let mut bits = Vec::new();
    for number in 1..=steps {
        let gradients: Vec<D::Buffer<f32>> =
            shapes.iter().enumerate().map(|(i, (rows, cols, _))| vector(10 * number + i as u64, rows * cols)).collect();
        let lengths = shapes.map(|(rows, cols, _)| rows * cols);
        let listed: Vec<_> = gradients.iter().zip(lengths).collect();
        let squares = match together {
            true => d.sum_squares(&listed).unwrap(),
            false => listed.iter().flat_map(|x| d.sum_squares(&[*x]).unwrap()).collect(),
        };
        // Both devices add up in chunks of their own.
        bits.extend(squares.iter().map(|sum| (*sum as f32).to_bits()));
        let correction = [0.9f64, 0.99].map(|beta| (1.0 / (1.0 - beta.powi(number as i32))) as f32);
        let step = AdamStep { rate: 0.02, beta: [0.9, 0.99], epsilon: 1e-8, correction, scale: 0.7 };
        let mut tensors = Vec::new();
        let state = matrices.iter_mut().zip(&mut vectors).zip(&mut moments).zip(listed).enumerate();
        for (i, (((matrix, vector), moments), (gradient, len))) in state {
            let parameter = if shapes[i].2 == 'v' { Update::Vector(vector) } else { Update::Matrix(matrix) };
            let (decay, key) = (0.01 * i as f32, 1000 * number + i as u64);
            tensors.push(AdamTensor { gradient, len, moments, parameter, decay, key });
        }
        match together {
            true => d.adamw(&step, tensors).unwrap(),
            false => tensors.into_iter().for_each(|tensor| d.adamw(&step, vec![tensor]).unwrap()),
        }
    }
    let half = |buffer: &D::Buffer<bf16>, n| {
        let mut values = vec![bf16::ZERO; n];
        d.read(buffer, 0, &mut values).unwrap();
        values.into_iter().map(|x| x.to_f32()).collect::<Vec<_>>()
    };
    for (i, (rows, cols, _)) in shapes.into_iter().enumerate() {
        let n = rows * cols;
        let mut all: Vec<f32> = d.read_matrix(&matrices[i]).unwrap().iter().map(|x| x.to_f32()).collect();
        all.extend(values(d, &vectors[i], n));
        match &moments[i] {
            Moments::Full { m, v, master } => [m, v, master].iter().for_each(|x| all.extend(values(d, x, n))),
            Moments::Half { m, v } => [m, v].iter().for_each(|x| all.extend(half(x, n))),
        }
        bits.extend(all.iter().map(|x| x.to_bits()));
    }
    bits
}

#[test]
fn a_step_of_all_parameters_at_once_gives_the_bits_of_each_alone() {
    let name = "a_step_of_all_parameters_at_once_gives_the_bits_of_each_alone";
    let Some(gpu) = Gpu::take(name, r#"{"schedule": "shuffled"}"#) else { return };
    let want = optimised(&cpu(), 5, false);
    assert!(optimised(&cpu(), 5, true) == want, "on the processor");
    assert!(optimised(&gpu.cuda(), 5, true) == want, "on the device");
}

/// Numbers of a sequence in [-1, 1).
fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let uniform = |i| biomistral_nlu::random::uniform(seed, i) as f32 / (1u64 << 31) as f32 - 1.0;
    (0..n).map(uniform).collect()
}

fn bf16s(seed: u64, n: usize) -> Vec<bf16> {
    numbers(seed, n).into_iter().map(bf16::from_f32).collect()
}

fn matrix<D: Device>(d: &D, seed: u64, rows: usize, cols: usize) -> D::Matrix {
    d.matrix(HostMatrix { data: MatrixData::Owned(bf16s(seed, rows * cols)), rows, cols }).unwrap()
}

/// `[t, k]` in the device's layout: rows of an embedding table.
fn activation<D: Backward>(d: &D, seed: u64, t: usize, k: usize) -> D::Buffer<bf16> {
    let table = d.matrix(HostMatrix { data: MatrixData::Owned(bf16s(seed, t * k)), rows: t, cols: k }).unwrap();
    let mut h = d.buffer::<f32>(t * k).unwrap();
    d.embed(&table, &(0..t as u32).collect::<Vec<_>>(), &mut h).unwrap();
    let mut x = d.buffer::<bf16>(t * k).unwrap();
    d.round(&h, [t, k], &mut x).unwrap();
    x
}

fn values<D: Device>(d: &D, buffer: &D::Buffer<f32>, len: usize) -> Vec<f32> {
    let mut values = vec![0f32; len];
    d.read(buffer, 0, &mut values).unwrap();
    values
}

/// Gradient of a weight over more rows than a slice, then losses and gradients of more rows than a chunk.
fn long_sums<D: Backward>(d: &D) -> (Vec<f32>, Vec<f64>, Vec<f32>, Vec<f32>) {
    let (t, n, k) = (1100, 5, 12);
    let (dy, x) = (activation(d, 1, t, n), activation(d, 2, t, k));
    let mut dw = d.buffer::<f32>(n * k).unwrap();
    d.linear_dw((&dy, n), (&x, k), t, &mut dw).unwrap();
    let (t, c, v) = (150, 12, 40);
    let (x, head) = (activation(d, 3, t, c), matrix(d, 4, v, c));
    let targets: Vec<u32> = (0..t as u32).map(|i| i * 7 % v as u32).collect();
    let (mut dx, mut dhead) = (d.buffer::<f32>(t * c).unwrap(), d.buffer::<f32>(v * c).unwrap());
    let step = LossGradient { weight: 0.5, dx: &mut dx, dhead: Some(&mut dhead) };
    let losses = d.cross_entropy(&x, &head, &targets, Some(step)).unwrap();
    (values(d, &dw, n * k), losses, values(d, &dx, t * c), values(d, &dhead, v * c))
}

#[test]
fn long_sums_agree_with_the_processor() {
    let Some(gpu) = Gpu::take("long_sums_agree_with_the_processor", "{}") else { return };
    let (here, there) = (long_sums(&cpu()), long_sums(&gpu.cuda()));
    let near = |what: &str, a: &[f32], b: &[f32], within: f32| {
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= within), "{what}: {a:?}, on the processor {b:?}");
    };
    // Sums of 1100 products below 1 in f32; probabilities of bf16 are within 2^-8 of themselves.
    near("dw", &there.0, &here.0, 1e-3);
    assert!(there.1.iter().zip(&here.1).all(|(a, b)| (a - b).abs() < 1e-5), "{:?} {:?}", there.1, here.1);
    near("dx", &there.2, &here.2, 4e-3);
    near("dhead", &there.3, &here.3, 8e-3);
}

#[test]
fn operations_refuse_what_does_not_fit() {
    let Some(gpu) = Gpu::take("operations_refuse_what_does_not_fit", "{}") else { return };
    let d = gpu.cuda();
    let (x, w, other) = (activation(&d, 1, 4, 8), matrix(&d, 2, 6, 8), matrix(&d, 3, 5, 7));
    let mut y = d.buffer::<f32>(0).unwrap();
    let term = |weight| Term { x: &x, weight };
    assert!(d.linear(&[], 4, 1.0, Output::Store(&mut y)).is_err(), "no terms");
    assert!(d.linear(&[term(&w), term(&other)], 4, 1.0, Output::Store(&mut y)).is_err(), "6 and 5 rows");
    assert!(d.linear_dx(&[term(&w), term(&other)], 4, 1.0, Output::Store(&mut y)).is_err(), "8 and 7 columns");
    assert!(d.linear(&[term(&w)], 500, 1.0, Output::Store(&mut y)).is_err(), "500 rows of 4");
    assert!(d.linear(&[term(&w)], 4, 1.0, Output::Add(&mut y)).is_err(), "added to nothing");
    let seven: Vec<_> = (0..7).map(|_| term(&w)).collect();
    assert!(d.linear(&seven, 4, 1.0, Output::Store(&mut y)).is_err(), "seven terms");
    assert!(d.linear_dw((&x, 8), (&x, 8), 4, &mut y).is_err(), "a gradient of no elements");
    assert!(d.cross_entropy(&x, &w, &[5, 6], None).is_err(), "target 6 of 6");
    assert!(d.cross_entropy(&x, &w, &[0; 500], None).is_err(), "500 rows of 4");
    assert!(d.cross_entropy(&x, &w, &[], None).unwrap().is_empty());
    assert!(d.linear(&[term(&w)], 4, 1.0, Output::Store(&mut y)).is_ok());
}

#[test]
fn rows_examples_and_parameters_that_do_not_fit_are_refused() {
    let Some(gpu) = Gpu::take("rows_examples_and_parameters_that_do_not_fit_are_refused", "{}") else { return };
    let d = gpu.cuda();
    let (mut f32s, mut o) = (d.buffer::<f32>(0).unwrap(), d.buffer::<bf16>(0).unwrap());
    let mut h = d.buffer::<f32>(4 * 8).unwrap();
    let x = activation(&d, 1, 4, 8);
    assert!(d.copy(&h, [5, 8], &mut f32s).is_err() && d.round(&h, [5, 8], &mut o).is_err(), "5 rows of 4");
    assert!(d.swiglu(&x, &x, [500, 8], &mut o).is_err(), "500 rows of 4");

    let (cos, sin) = (d.buffer::<f32>(3 * 4).unwrap(), d.buffer::<f32>(3 * 4).unwrap());
    let table = RopeTable { cos, sin, positions: 3 };
    assert!(d.rope(&h, 8, &[0, 2], &table, false, &mut o).is_ok());
    assert!(d.rope(&h, 8, &[0, 3], &table, false, &mut o).is_err(), "position 3 of 3");
    assert!(d.rope(&h, 12, &[0], &table, false, &mut o).is_err(), "a head and a half");

    let attend = |examples: &[Range<usize>], heads, kv_heads, head_dim, window| {
        let rows = PackedRows { examples, heads, kv_heads, head_dim, window };
        d.packed_attention([&x, &x, &x], &rows, &mut d.buffer(0).unwrap(), &mut d.buffer(0).unwrap())
    };
    assert!(attend(&[0..1, 1..4], 2, 1, 4, Some(2)).is_ok());
    assert!(attend(&[0..1, 2..4], 2, 1, 4, None).is_err(), "row 1 belongs to no example");
    assert!(attend(&[0..4, 4..4], 2, 1, 4, None).is_err(), "an example without rows");
    assert!(attend(std::slice::from_ref(&(0..4)), 3, 2, 2, None).is_err(), "3 heads on 2");
    assert!(attend(std::slice::from_ref(&(0..4)), 2, 1, 4, Some(0)).is_err(), "a window of nothing");
    assert!(attend(std::slice::from_ref(&(0..1)), 1, 1, 258, None).is_err(), "heads of 258");
    assert!(attend(std::slice::from_ref(&(0..4)), 2, 1, 7, None).is_err(), "heads of 7");
    assert!(attend(std::slice::from_ref(&(0..400)), 2, 1, 4, None).is_err(), "400 rows of 4");

    let (w, mut dh) = (d.buffer::<f32>(8).unwrap(), d.buffer::<f32>(4 * 8).unwrap());
    let mut norm = |rows: &[u32]| d.rms_norm_backward(&h, &h, &w, 1e-5, RowSelection::Some(rows), &mut dh, None);
    assert!(norm(&[0, 3]).is_ok());
    assert!(norm(&[3, 0]).is_err() && norm(&[1, 1]).is_err(), "rows out of order, and twice");
    assert!(norm(&[4]).is_err(), "row 4 of 4");
    let mut dtable = d.buffer::<f32>(3 * 8).unwrap();
    assert!(d.embed_backward(&h, &[2, 0, 2], 8, &mut dtable).is_ok());
    assert!(d.embed_backward(&h, &[3], 8, &mut dtable).is_err(), "token 3 of 3");

    let step = AdamStep { rate: 0.1, beta: [0.9; 2], epsilon: 1e-8, correction: [1.0; 2], scale: 1.0 };
    let (mut weight, mut vector) = (matrix(&d, 5, 4, 8), d.buffer::<f32>(8).unwrap());
    let adamw = |len, state, parameter: Update<'_, Cuda>| {
        let mut moments = Moments::<Cuda>::Half { m: d.buffer(state).unwrap(), v: d.buffer(state).unwrap() };
        d.adamw(&step, vec![AdamTensor { gradient: &h, len, moments: &mut moments, parameter, decay: 0.0, key: 1 }])
    };
    assert!(adamw(32, 32, Update::Matrix(&mut weight)).is_ok());
    assert!(adamw(31, 32, Update::Matrix(&mut weight)).is_err(), "31 of 32 elements");
    assert!(adamw(32, 31, Update::Matrix(&mut weight)).is_err(), "31 moments");
    assert!(adamw(8, 8, Update::Vector(&mut vector)).is_err(), "a vector in bf16");
    assert!(d.adamw(&step, Vec::new()).is_ok() && d.sum_squares(&[]).unwrap().is_empty(), "nothing to do");
    assert!(d.sum_squares(&[(&h, 33)]).is_err(), "33 of 32");
    assert!(d.write_matrix(&mut weight, &[bf16::ZERO; 31]).is_err(), "31 values");
    d.clear(&mut h, [4, 8]).unwrap();
    // Rows of 8 lie 64 apart.
    let values = bf16s(6, 32);
    d.write_matrix(&mut weight, &values).unwrap();
    assert_eq!(d.read_matrix(&weight).unwrap(), values);
}
