//! What the tests of training on both devices share: golden cases, learners, and the comparisons with torch.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use super::{Error, golden, json};
use biomistral_nlu::device::Backward;
use biomistral_nlu::model::Mistral;
use biomistral_nlu::model::training::{Batch, Learner, LoraOptions, StateValues, StepOptions, Tuning};
use biomistral_nlu::weights::{Checkpoint, PeftAdapter, TARGETS};
use std::collections::BTreeMap;
use std::ops::Range;

/// Models, what is tuned of each, and the name of the goldens.
pub fn golden_cases() -> [(&'static str, &'static str, Tuning); 3] {
    [("mistral_window", "full", FULL), ("llama_tied_odd", "full", FULL), ("mistral_window", "lora", lora(0.0))]
}

pub const FULL: Tuning = Tuning::Full { half_state: false };

pub fn lora(dropout: f32) -> Tuning {
    let targets = TARGETS.map(String::from).to_vec();
    Tuning::Lora(LoraOptions { rank: 4, alpha: 8.0, dropout, targets, rank_stabilised: false, seed: 1 })
}

/// A golden model on `device`; for LoRA with the golden adapter.
pub fn learner<D: Backward>(name: &str, device: D, tuning: &Tuning) -> Learner<D> {
    let checkpoint = Checkpoint::open(&golden(name).join("model")).unwrap();
    let mut learner = Learner::new(Mistral::open(&checkpoint, device, &[]).unwrap(), tuning).unwrap();
    if matches!(tuning, Tuning::Lora(_)) {
        let folder = golden(name).join("all_linear_r4");
        let adapter = PeftAdapter::open(&folder, checkpoint.config()).unwrap();
        let mut values = BTreeMap::new();
        for part in adapter.parts() {
            let block = if part.target.contains("gate") || part.target.contains("up") || part.target.contains("down") {
                "mlp"
            } else {
                "self_attn"
            };
            let name = format!("base_model.model.model.layers.{}.{block}.{}", part.layer, part.target);
            values.insert(format!("{name}.lora_A.weight"), &part.a);
            values.insert(format!("{name}.lora_B.weight"), &part.b);
        }
        let mut load = |name: &str| {
            Ok(StateValues::Full(match values.get(name) {
                Some(values) => values.iter().map(|x| x.to_f32()).collect(),
                None => vec![0.0; values[name.rsplit_once('.').unwrap().0].len()],
            }))
        };
        learner.load(&mut load).unwrap();
    }
    learner
}

/// The rows of a golden batch.
pub struct Case {
    pub facts: serde_json::Value,
    pub tokens: Vec<u32>,
    pub examples: Vec<Range<usize>>,
    pub labels: Vec<Option<u32>>,
}

impl Case {
    pub fn open(name: &str) -> Self {
        let sequences: Vec<Vec<u32>> =
            serde_json::from_value(json(&golden(name).join("case.json"))["sequences"].clone()).unwrap();
        let facts = json(&golden(name).join("training/case.json"));
        let labels: Vec<Vec<i64>> = serde_json::from_value(facts["labels"].clone()).unwrap();
        let mut at = 0;
        let examples = sequences.iter().map(|s| (at, at += s.len()).0..at).collect();
        let labels = labels.concat().into_iter().map(|label| u32::try_from(label).ok()).collect();
        Case { facts, tokens: sequences.concat(), examples, labels }
    }

    pub fn batch(&self) -> Batch<'_> {
        Batch { tokens: &self.tokens, examples: &self.examples, labels: &self.labels }
    }

    /// The mean loss of a training pass.
    pub fn backward<D: Backward>(&self, learner: &mut Learner<D>, key: u64) -> f64 {
        let count = self.labels.iter().flatten().count();
        let losses = learner.backward(&self.batch(), 1.0 / count as f32, key).unwrap();
        assert_eq!(losses.len(), count);
        losses.iter().sum::<f64>() / count as f64
    }
}

/// All gradients, in the order of the parameters.
pub fn gradients<D: Backward>(learner: &Learner<D>) -> Vec<(String, Vec<f32>)> {
    let names: Vec<String> = learner.parameters().map(|(name, _)| name.to_string()).collect();
    names.into_iter().map(|name| (name.clone(), learner.gradient(&name).unwrap())).collect()
}

/// Bits of all gradients.
pub fn bits(gradients: &[(String, Vec<f32>)]) -> Vec<u32> {
    gradients.iter().flat_map(|(_, g)| g.iter().map(|x| x.to_bits())).collect()
}

/// Loss and gradient of every parameter against torch in f64: at most twice the error of transformers and peft in bf16.
pub fn check_gradients<D: Backward>(name: &str, kind: &str, learner: &mut Learner<D>) {
    let case = Case::open(name);
    let bytes = std::fs::read(golden(name).join(format!("training/{kind}.safetensors"))).unwrap();
    let want = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let facts = &case.facts[kind];
    let loss = case.backward(learner, 0);
    let exact = facts["loss"].as_f64().unwrap();
    let device = learner.fingerprint();
    assert!((loss / exact - 1.0).abs() < 2e-3, "{name} {kind} {device}: loss {loss}, {exact} in double");
    let gradients = gradients(learner);
    assert_eq!(gradients.len(), want.len(), "{name} {kind}");
    for (parameter, got) in gradients {
        let want: Vec<f32> = want
            .tensor(&parameter)
            .expect(&parameter)
            .data()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|x| f32::from_le_bytes(*x))
            .collect();
        Error::of(&got, &want).check(&facts["bf16"][&parameter], 2.0, &format!("{name} {kind} {device} {parameter}"));
    }
}

/// How far losses of matrix inputs in bf16 may be from those of transformers and peft in f32: 1e-3, or twice what
/// transformers and peft themselves lose by computing in bf16, the rule of all comparisons here. That is more for the golden
/// adapter alone, whose random `B` changes this small model by half its loss.
pub fn rounding(name: &str, kind: &str) -> f64 {
    let facts = &Case::open(name).facts[kind];
    let Some(rounded) = facts["bf16_losses"].as_array() else { return 1e-3 };
    let off = rounded.iter().zip(facts["losses"].as_array().unwrap());
    let off = off.map(|(a, b)| (a.as_f64().unwrap() / b.as_f64().unwrap() - 1.0).abs());
    2.0 * off.fold(0.5e-3, f64::max)
}

/// Losses of the first `steps` steps against transformers and peft in f32, and gradient norms, twenty times as far.
pub fn follow_torch<D: Backward>(name: &str, kind: &str, learner: &mut Learner<D>, steps: usize, allowed: f64) {
    let case = Case::open(name);
    let want: Vec<f64> = serde_json::from_value(case.facts[kind]["losses"].clone()).unwrap();
    let norms: Vec<f64> = serde_json::from_value(case.facts[kind]["norms"].clone()).unwrap();
    assert!(steps <= want.len());
    for (number, (want, want_norm)) in want.iter().zip(&norms).take(steps).enumerate() {
        learner.clear_gradients().unwrap();
        let loss = case.backward(learner, 0);
        let norm = learner.gradient_norm().unwrap();
        println!("{name} {kind} step {number}: {loss} ({want}), norm {norm} ({want_norm})");
        assert!((loss / want - 1.0).abs() < allowed, "{name} {kind} step {number}: loss {loss}, in torch {want}");
        assert!(
            (norm / want_norm - 1.0).abs() < 20.0 * allowed,
            "{name} {kind} step {number}: {norm}, in torch {want_norm}"
        );
        let options = StepOptions {
            number: number as u64 + 1,
            rate: 1e-3,
            beta: [0.9, 0.999],
            epsilon: 1e-8,
            decay: 0.1,
            scale: (1.0 / norm).min(1.0),
            seed: 0,
        };
        learner.step(&options).unwrap();
    }
}

/// Everything that a learner stores.
pub fn stored<D: Backward>(learner: &Learner<D>) -> BTreeMap<String, StateValues> {
    let mut values = BTreeMap::new();
    learner
        .store(&mut |name, state| {
            values.insert(name.to_string(), state);
            Ok(())
        })
        .unwrap();
    values
}
