//! Logits against an independent implementation: transformers and a float64 numpy reference (tests/golden/README.md).
//!
//! The rule is DESIGN's: the error against float64 is at most twice that of transformers in bf16. This engine keeps the residual
//! stream in f32, so it is held to once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod common;

use biomistral_nlu::device::cpu::{Cpu, CpuOptions, Isa};
use biomistral_nlu::model::{AdapterId, LanguageModel, Mistral, Step};
use biomistral_nlu::weights::{Checkpoint, PeftAdapter};
use common::{Error, golden, json, npy_f32, npy_f64};
use std::path::Path;
use std::sync::Arc;

/// How far from float64 an implementation may be, as a multiple of transformers in bf16.
const FACTOR: f64 = 1.0;

fn open(path: &Path, isa: Isa) -> Arc<Mistral<Cpu>> {
    let checkpoint = Checkpoint::open(path).unwrap();
    Mistral::open(&checkpoint, Cpu::new(CpuOptions { threads: Some(2), isa: Some(isa) }).unwrap(), &[]).unwrap()
}

/// Logits `[rows, V]` of all rows of the sequences, which run packed in one pass.
fn logits(model: &Arc<Mistral<Cpu>>, sequences: &[Vec<u32>], adapter: Option<AdapterId>) -> Vec<f32> {
    let mut session = model.clone().session().unwrap();
    let keep: Vec<Vec<u32>> = sequences.iter().map(|s| (0..s.len() as u32).collect()).collect();
    let ids: Vec<_> = sequences.iter().map(|_| session.sequence(adapter).unwrap()).collect();
    let steps: Vec<Step<'_>> = (0..sequences.len())
        .map(|i| Step { sequence: ids[i], chain: &sequences[i], tree: &[], keep: &keep[i] })
        .collect();
    let rows = session.forward(&steps).unwrap();
    rows.into_iter().flat_map(|row| session.all_logits(row).unwrap()).collect()
}

fn sequences(case: &serde_json::Value) -> Vec<Vec<u32>> {
    serde_json::from_value(case["sequences"].clone()).unwrap()
}

fn available() -> impl Iterator<Item = Isa> {
    [Isa::Portable, Isa::Avx2, Isa::Avx512Bf16].into_iter().filter(|isa| *isa <= Isa::detect())
}

#[test]
fn tiny_models_agree_with_float64() {
    for name in ["mistral_window", "mistral_mqa", "llama_tied_odd", "mistral_d32", "llama_d64", "mistral_d128"] {
        let folder = golden(name);
        let case = json(&folder.join("case.json"));
        let want = npy_f32(&folder.join("logits.npy"));
        for isa in available() {
            let got = logits(&open(&folder.join("model"), isa), &sequences(&case), None);
            Error::of(&got, &want).check(&case["bf16"], FACTOR, &format!("{name} on {isa:?}"));
        }
    }
}

#[test]
fn adapters_agree_with_peft_unmerged_and_merged() {
    let folder = golden("mistral_window");
    let case = json(&folder.join("case.json"));
    let first = &sequences(&case)[..1];
    for (name, facts) in case["adapters"].as_object().unwrap() {
        let want = npy_f32(&folder.join(name).join("logits.npy"));
        for isa in available() {
            let checkpoint = Checkpoint::open(&folder.join("model")).unwrap();
            let peft = PeftAdapter::open(&folder.join(name), checkpoint.config()).unwrap();
            let model = open(&folder.join("model"), isa);
            let base = logits(&model, first, None);
            let adapter = model.load_adapter(peft.parts()).unwrap();
            let got = logits(&model, first, Some(adapter));
            Error::of(&got, &want).check(&facts["bf16"], FACTOR, &format!("{name} on {isa:?}"));
            let moved = Error::of(&got, &base).mean_abs / facts["change"]["mean_abs"].as_f64().unwrap();
            assert!((0.9..1.1).contains(&moved), "{name} moves the logits {moved} times as far as in peft");
            assert!(model.unload_adapter(adapter) && !model.unload_adapter(adapter));

            let cpu = Cpu::new(CpuOptions { threads: Some(1), isa: Some(isa) }).unwrap();
            let merged = Mistral::open(&checkpoint, cpu, peft.parts()).unwrap();
            // One more rounding, of W + sBA to bf16, than either side of the rule has.
            let got = logits(&merged, first, None);
            Error::of(&got, &want).check(&facts["bf16"], 2.0, &format!("{name} merged on {isa:?}"));
        }
    }
}

#[test]
fn demo_model_agrees_with_transformers() {
    let Some(path) = common::demo_model("demo_model_agrees_with_transformers") else { return };
    let folder = golden("demo");
    let case = json(&folder.join("case.json"));
    let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
    let positions: Vec<u32> = serde_json::from_value(case["positions"].clone()).unwrap();
    let chosen: Vec<u32> = serde_json::from_value(case["chosen_ids"].clone()).unwrap();
    let model = open(&path, Isa::detect());
    let mut session = model.clone().session().unwrap();
    let sequence = session.sequence(None).unwrap();
    let rows = session.forward(&[Step { sequence, chain: &ids, tree: &[], keep: &positions }]).unwrap();
    let asks: Vec<_> = rows.iter().map(|&row| (row, &chosen[..])).collect();
    let got = session.logits(&asks).unwrap();
    let lse = session.normalisers(&rows).unwrap();
    // Both goldens: weights as dequantised (`exact`), and rounded to bf16 as this engine stores them.
    for kind in ["exact", "rounded"] {
        let want = npy_f32(&folder.join(format!("logits_{kind}.npy")));
        let want_lse = npy_f64(&folder.join(format!("lse_{kind}.npy")));
        let bf16 = &case["bf16"][kind];
        Error::of(&got, &want).check(&bf16["logits"], FACTOR, &format!("logits, {kind}"));
        let lse32: Vec<f32> = lse.iter().map(|&x| x as f32).collect();
        let want32: Vec<f32> = want_lse.iter().map(|&x| x as f32).collect();
        Error::of(&lse32, &want32).check(&bf16["lse"], FACTOR, &format!("log-sum-exp, {kind}"));
        let argmax: Vec<u32> = serde_json::from_value(case[&format!("argmax_{kind}")].clone()).unwrap();
        let same = rows.iter().zip(&argmax).filter(|(row, want)| {
            let logits = session.all_logits(**row).unwrap();
            (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])) == Some(**want as usize)
        });
        let reference = (bf16["same_argmax"].as_f64().unwrap() * argmax.len() as f64).round() as usize;
        let same = same.count();
        assert!(
            same >= reference,
            "{kind}: {same} most likely tokens are the same, {reference} in transformers in bf16"
        );
    }
}
