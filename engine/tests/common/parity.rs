//! Logits against an independent implementation: transformers and a float64 numpy reference (tests/golden/README.md), on whatever
//! device the model runs. The rule is DESIGN's: the error against float64 is at most twice that of transformers in bf16; a device
//! that does better is held to what it does.

use super::bits::Model;
use super::{Error, golden, json, npy_f32, npy_f64};
use biomistral_nlu::model::{AdapterId, Step};
use biomistral_nlu::weights::{AdapterPart, Checkpoint, PeftAdapter};

/// Tiny models of every shape.
pub const MODELS: [&str; 6] =
    ["mistral_window", "mistral_mqa", "llama_tied_odd", "mistral_d32", "llama_d64", "mistral_d128"];

/// Logits `[rows, V]` of all rows of the sequences, which run packed in one pass.
pub fn logits(model: &Model, sequences: &[Vec<u32>], adapter: Option<AdapterId>) -> Vec<f32> {
    let mut session = model.clone().session().unwrap();
    let keep: Vec<Vec<u32>> = sequences.iter().map(|s| (0..s.len() as u32).collect()).collect();
    let ids: Vec<_> = sequences.iter().map(|_| session.sequence(adapter).unwrap()).collect();
    let steps: Vec<Step<'_>> = (0..sequences.len())
        .map(|i| Step { sequence: ids[i], chain: &sequences[i], tree: &[], keep: &keep[i] })
        .collect();
    let rows = session.forward(&steps).unwrap();
    rows.into_iter().flat_map(|row| session.all_logits(row).unwrap()).collect()
}

pub fn sequences(case: &serde_json::Value) -> Vec<Vec<u32>> {
    serde_json::from_value(case["sequences"].clone()).unwrap()
}

/// Logits of all positions of a tiny model, `factor` times as far from float64 as transformers in bf16 at most.
pub fn tiny_model_agrees(name: &str, model: &Model, factor: f64, on: &str) {
    let folder = golden(name);
    let case = json(&folder.join("case.json"));
    let want = npy_f32(&folder.join("logits.npy"));
    let got = logits(model, &sequences(&case), None);
    Error::of(&got, &want).check(&case["bf16"], factor, &format!("{name} on {on}"));
}

/// Adapters applied beside the weights and added into them.
pub fn adapters_agree(open: &dyn Fn(&Checkpoint, &[AdapterPart]) -> Model, factor: f64, on: &str) {
    let folder = golden("mistral_window");
    let case = json(&folder.join("case.json"));
    let first = &sequences(&case)[..1];
    let checkpoint = Checkpoint::open(&folder.join("model")).unwrap();
    let model = open(&checkpoint, &[]);
    let base = logits(&model, first, None);
    for (name, facts) in case["adapters"].as_object().unwrap() {
        let want = npy_f32(&folder.join(name).join("logits.npy"));
        let peft = PeftAdapter::open(&folder.join(name), checkpoint.config()).unwrap();
        let adapter = model.load_adapter(peft.parts()).unwrap();
        let got = logits(&model, first, Some(adapter));
        Error::of(&got, &want).check(&facts["bf16"], factor, &format!("{name} on {on}"));
        let moved = Error::of(&got, &base).mean_abs / facts["change"]["mean_abs"].as_f64().unwrap();
        assert!((0.9..1.1).contains(&moved), "{name} moves the logits {moved} times as far as in peft");
        assert!(model.unload_adapter(adapter) && !model.unload_adapter(adapter));

        let got = logits(&open(&checkpoint, peft.parts()), first, None);
        // One more rounding, of W + sBA to bf16, than either side of the rule has.
        Error::of(&got, &want).check(&facts["bf16"], 2.0, &format!("{name} merged on {on}"));
    }
}

/// The demo model on the first `tokens` of a text, both its weights as dequantised (`exact`) and rounded to bf16 as this engine
/// stores them.
pub fn demo_model_agrees(model: &Model, factor: f64, tokens: usize) {
    let folder = golden("demo");
    let case = json(&folder.join("case.json"));
    let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
    let ids = &ids[..tokens.min(ids.len())];
    let mut positions: Vec<u32> = serde_json::from_value(case["positions"].clone()).unwrap();
    let all = positions.len();
    positions.retain(|&position| (position as usize) < ids.len());
    let chosen: Vec<u32> = serde_json::from_value(case["chosen_ids"].clone()).unwrap();
    let mut session = model.clone().session().unwrap();
    let sequence = session.sequence(None).unwrap();
    let rows = session.forward(&[Step { sequence, chain: ids, tree: &[], keep: &positions }]).unwrap();
    let asks: Vec<_> = rows.iter().map(|&row| (row, &chosen[..])).collect();
    let got = session.logits(&asks).unwrap();
    let lse = session.normalisers(&rows).unwrap();
    for kind in ["exact", "rounded"] {
        let want = npy_f32(&folder.join(format!("logits_{kind}.npy")));
        let want_lse = npy_f64(&folder.join(format!("lse_{kind}.npy")));
        let bf16 = &case["bf16"][kind];
        Error::of(&got, &want[..got.len()]).check(&bf16["logits"], factor, &format!("logits, {kind}"));
        let lse32: Vec<f32> = lse.iter().map(|&x| x as f32).collect();
        let want32: Vec<f32> = want_lse[..lse.len()].iter().map(|&x| x as f32).collect();
        Error::of(&lse32, &want32).check(&bf16["lse"], factor, &format!("log-sum-exp, {kind}"));
        let argmax: Vec<u32> = serde_json::from_value(case[&format!("argmax_{kind}")].clone()).unwrap();
        let same = rows.iter().zip(&argmax).filter(|(row, want)| {
            let logits = session.all_logits(**row).unwrap();
            (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])) == Some(**want as usize)
        });
        let missed = ((1.0 - bf16["same_argmax"].as_f64().unwrap()) * all as f64).round() as usize;
        let others = rows.len() - same.count();
        assert!(others <= missed, "{kind}: {others} most likely tokens differ, {missed} in transformers in bf16");
    }
}
