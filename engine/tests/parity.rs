//! Logits on the processor against float64, transformers and peft, see `common/parity.rs`.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod common;

use biomistral_nlu::device::cpu::{Cpu, CpuOptions, Isa};
use biomistral_nlu::model::Mistral;
use biomistral_nlu::weights::{AdapterPart, Checkpoint};
use common::bits::Model;
use common::{golden, parity};

/// How far from float64 the logits may be, as a multiple of transformers in bf16: the residual stream is f32 here.
const FACTOR: f64 = 1.0;

fn open(checkpoint: &Checkpoint, merge: &[AdapterPart], isa: Isa) -> Model {
    Mistral::open(checkpoint, Cpu::new(CpuOptions { threads: Some(2), isa: Some(isa) }).unwrap(), merge).unwrap()
}

fn available() -> impl Iterator<Item = Isa> {
    [Isa::Portable, Isa::Avx2, Isa::Avx512Bf16].into_iter().filter(|isa| *isa <= Isa::detect())
}

#[test]
fn tiny_models_agree_with_float64() {
    for name in parity::MODELS {
        let checkpoint = Checkpoint::open(&golden(name).join("model")).unwrap();
        for isa in available() {
            parity::tiny_model_agrees(name, &open(&checkpoint, &[], isa), FACTOR, &format!("{isa:?}"));
        }
    }
}

#[test]
fn adapters_agree_with_peft_unmerged_and_merged() {
    for isa in available() {
        parity::adapters_agree(&|checkpoint, merge| open(checkpoint, merge, isa), FACTOR, &format!("{isa:?}"));
    }
}

#[test]
fn demo_model_agrees_with_transformers() {
    let Some(path) = common::demo_model("demo_model_agrees_with_transformers") else { return };
    parity::demo_model_agrees(&open(&Checkpoint::open(&path).unwrap(), &[], Isa::detect()), FACTOR, usize::MAX);
}
