//! Gradients and training steps against torch (tests/golden/README.md), and their bits against threads and recomputation.
//!
//! The rule is DESIGN's: the error against float64 is at most twice that of transformers and peft in bf16.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::panic)]

mod common;
#[path = "common/exact.rs"]
mod exact;

use biomistral_nlu::device::Backward;
use biomistral_nlu::device::cpu::{Cpu, CpuOptions, Isa};
use biomistral_nlu::model::training::{Batch, Learner, StateValues, StepOptions, Tuning};
use common::golden;
use common::training::{
    self, Case, FULL, bits, check_gradients, follow_torch, golden_cases, gradients, lora, rounding, stored,
};
use exact::Exact;
use half::bf16;
use std::collections::BTreeMap;

fn learner(name: &str, isa: Isa, threads: usize, tuning: &Tuning) -> Learner<Cpu> {
    let cpu = Cpu::new(CpuOptions { threads: Some(threads), isa: Some(isa) }).unwrap();
    training::learner(name, cpu, tuning)
}

fn available() -> Vec<Isa> {
    [Isa::Portable, Isa::Avx2, Isa::Avx512Bf16].into_iter().filter(|isa| *isa <= Isa::detect()).collect()
}

#[test]
fn every_gradient_agrees_with_torch_in_double() {
    for (name, kind, tuning) in golden_cases() {
        for isa in available() {
            check_gradients(name, kind, &mut learner(name, isa, 2, &tuning));
        }
    }
}

#[test]
fn bits_depend_neither_on_threads_nor_on_what_is_computed_again() {
    let case = Case::open("mistral_window");
    for tuning in [FULL, lora(0.0), lora(0.3)] {
        let run = |threads, keep| {
            let mut learner = learner("mistral_window", Isa::detect(), threads, &tuning);
            learner.keep_blocks(keep);
            let loss = case.backward(&mut learner, 5);
            (loss.to_bits(), bits(&gradients(&learner)), case.backward(&mut learner, 5).to_bits())
        };
        let first = run(1, 2);
        assert_eq!(first.0, first.2, "a second pass sees what the first left behind");
        for (threads, keep) in [(3, 2), (1, 1), (2, 0)] {
            assert!(run(threads, keep) == first, "{tuning:?} on {threads} threads, {keep} blocks kept");
        }
    }
}

#[test]
fn examples_of_a_batch_do_not_see_each_other_and_gradients_add_up() {
    let case = Case::open("mistral_window");
    let mut together = learner("mistral_window", Isa::detect(), 1, &lora(0.0));
    let losses = together.backward(&case.batch(), 0.125, 0).unwrap();
    let evaluated = together.losses(&case.batch()).unwrap();
    assert_eq!(losses, evaluated);
    let mut apart = learner("mistral_window", Isa::detect(), 1, &lora(0.0));
    let mut each = Vec::new();
    for rows in &case.examples {
        let examples: Vec<_> = std::iter::once(0..rows.len()).collect();
        let batch =
            Batch { tokens: &case.tokens[rows.clone()], examples: &examples, labels: &case.labels[rows.clone()] };
        each.extend(apart.backward(&batch, 0.125, 0).unwrap());
    }
    assert_eq!(losses, each);
    for ((name, a), (_, b)) in gradients(&together).into_iter().zip(gradients(&apart)) {
        let size = a.iter().fold(0f32, |m, x| m.max(x.abs()));
        // The same terms in another order of f32 sums.
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 1e-5 * size), "{name}");
    }
    apart.clear_gradients().unwrap();
    assert_eq!(apart.gradient_norm().unwrap(), 0.0);
}

/// The values of the parameters, f32.
fn values<D: Backward>(learner: &Learner<D>) -> BTreeMap<String, Vec<f32>> {
    let mut values = BTreeMap::new();
    learner
        .store(&mut |name, state| {
            let StateValues::Full(state) = state else { panic!("{name} is not f32") };
            values.insert(name.to_string(), state);
            Ok(())
        })
        .unwrap();
    values
}

#[test]
fn the_gradient_of_dropout_is_the_slope_of_the_loss_with_the_same_masks() {
    let case = Case::open("mistral_window");
    let mut learner = learner("mistral_window", Isa::detect(), 2, &lora(0.5));
    let loss = case.backward(&mut learner, 9);
    let norm = learner.gradient_norm().unwrap();
    assert_ne!(loss, case.backward(&mut learner, 10), "another key, other masks");
    learner.clear_gradients().unwrap();
    case.backward(&mut learner, 9);
    let gradients: BTreeMap<String, Vec<f32>> = gradients(&learner).into_iter().collect();
    let before = values(&learner);
    // Weights are rounded to bf16, so what counts is where they really go.
    let mut at = |step: f64| {
        let mut along = 0.0;
        let mut moved = |name: &str| {
            let mut values = before[name].clone();
            if let Some(gradient) = gradients.get(name) {
                for (w, g) in values.iter_mut().zip(gradient) {
                    *w = bf16::from_f32(*w + (step * *g as f64 / norm) as f32).to_f32();
                    along += *w as f64 * *g as f64;
                }
            }
            Ok(StateValues::Full(values))
        };
        learner.load(&mut moved).unwrap();
        (case.backward(&mut learner, 9), along)
    };
    let ((high, far), (low, near)) = (at(0.02), at(-0.02));
    let slope = (high - low) / (far - near);
    // The forward pass rounds to bf16: a tenth of the slope is noise and curvature; masks of another key miss by half.
    assert!((slope - 1.0).abs() < 0.1, "slope {slope} of the gradient's");
}

/// The adapter as LoRA begins: every `B` is 0.
fn start_afresh<D: Backward>(learner: &mut Learner<D>) {
    let before = values(learner);
    let mut load = |name: &str| {
        let mut values = before[name].clone();
        if name.ends_with("lora_B.weight") {
            values.fill(0.0);
        }
        Ok(StateValues::Full(values))
    };
    learner.load(&mut load).unwrap();
}

#[test]
fn ten_steps_follow_the_losses_of_torch() {
    for (name, kind, tuning) in golden_cases() {
        follow_torch(name, kind, &mut learner(name, Isa::detect(), 2, &tuning), 10, rounding(name, kind));
    }
    // LoRA begins with every B at 0.
    let mut learner = learner("mistral_window", Isa::detect(), 2, &lora(0.0));
    start_afresh(&mut learner);
    follow_torch("mistral_window", "fresh", &mut learner, 10, rounding("mistral_window", "fresh"));
}

/// Like with like: where nothing but tuned matrices is rounded, what is left of a difference is torch's rounding to f32.
#[test]
fn in_f64_every_gradient_and_ten_steps_are_those_of_torch() {
    for (name, kind, tuning) in golden_cases() {
        let mut learner = training::learner(name, Exact, &tuning);
        let case = Case::open(name);
        let loss = case.backward(&mut learner, 0);
        assert!((loss / case.facts[kind]["loss"].as_f64().unwrap() - 1.0).abs() < 1e-6, "{name} {kind}: {loss}");
        let bytes = std::fs::read(golden(name).join(format!("training/{kind}.safetensors"))).unwrap();
        let want = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        for (parameter, got) in gradients(&learner) {
            let want = want.tensor(&parameter).unwrap();
            let want: Vec<f32> = want.data().as_chunks::<4>().0.iter().map(|x| f32::from_le_bytes(*x)).collect();
            let (error, most) = (common::Error::of(&got, &want), want.iter().fold(0f32, |m, x| m.max(x.abs())));
            // Both are stored in f32, and cosines and sines are.
            assert!(error.max_abs <= 1e-5 * f64::from(most), "{name} {kind} {parameter}: {error:?} of {most}");
        }
        follow_torch(name, kind, &mut learner, 10, 1e-4);
    }
    let mut learner = training::learner("mistral_window", Exact, &lora(0.0));
    start_afresh(&mut learner);
    follow_torch("mistral_window", "fresh", &mut learner, 10, 1e-4);
}

#[test]
fn state_that_was_stored_goes_on_to_the_same_bits() {
    let case = Case::open("llama_tied_odd");
    for tuning in [FULL, Tuning::Full { half_state: true }] {
        let step = |learner: &mut Learner<Cpu>, number| {
            learner.clear_gradients().unwrap();
            case.backward(learner, number);
            let (rate, beta) = (1e-2, [0.9, 0.99]);
            let options = StepOptions { number, rate, beta, epsilon: 1e-8, decay: 0.1, scale: 0.5, seed: 3 };
            learner.step(&options).unwrap();
        };
        let mut through = learner("llama_tied_odd", Isa::detect(), 2, &tuning);
        step(&mut through, 1);
        let middle = stored(&through);
        step(&mut through, 2);
        let mut resumed = learner("llama_tied_odd", Isa::detect(), 1, &tuning);
        resumed.load(&mut |name| Ok(middle[name].clone())).unwrap();
        assert!(stored(&resumed) == middle);
        step(&mut resumed, 2);
        assert!(stored(&resumed) == stored(&through), "{tuning:?}");
        assert!(stored(&through) != middle);
        let short = |_: &str| Ok(StateValues::Full(vec![0.0; 3]));
        assert!(resumed.load(&mut { short }).is_err());
    }
}

#[test]
fn batches_that_contradict_themselves_are_errors() {
    let case = Case::open("mistral_window");
    let mut learner = learner("mistral_window", Isa::detect(), 1, &lora(0.0));
    let batch = case.batch();
    for bad in [
        Batch { labels: &batch.labels[1..], ..batch },
        Batch { examples: &batch.examples[..2], ..batch },
        Batch { examples: &batch.examples[1..], ..batch },
        Batch { tokens: &[], examples: &[], labels: &[] },
        Batch { tokens: &[9999; 58], ..batch },
        Batch { labels: &[Some(9999); 58], ..batch },
    ] {
        assert!(learner.backward(&bad, 1.0, 0).is_err());
    }
    assert!(learner.backward(&batch, 1.0, 0).is_ok());
}
