//! Merged models and adapters, against numpy, against what the engine computes unmerged, and against themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::panic)]

use biomistral_nlu::device::cpu::{Cpu, CpuOptions};
use biomistral_nlu::model::{LanguageModel, Mistral, Step};
use biomistral_nlu::weights::MergeSource::{Adapter, Model};
use biomistral_nlu::weights::{
    Checkpoint, MergeOptions, MergeSource, PeftAdapter, merge_adapters, merge_models, random_checkpoint,
};
use half::bf16;
use proptest::prelude::*;
use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name)
}

fn base() -> PathBuf {
    golden("mistral_window/model")
}

fn adapter(name: &str) -> MergeSource {
    Adapter(golden("mistral_window").join(name))
}

/// A model of the base's shape with other weights.
fn tuned(folder: &Path, seed: u64) -> PathBuf {
    let path = folder.join(format!("tuned{seed}"));
    random_checkpoint(Checkpoint::open(&base()).unwrap().config(), seed, &path, &mut |_, _| true).unwrap();
    path
}

fn options(sources: Vec<(MergeSource, f64)>) -> MergeOptions {
    MergeOptions { sources, drop: 0.0, rescale: true, seed: 0 }
}

fn merge(options: &MergeOptions, out: &Path) {
    merge_models(&base(), options, out, &mut |_, _| true).unwrap();
}

/// All values of a model, in order.
fn values(folder: &Path) -> Vec<f32> {
    let model = Checkpoint::open(folder).unwrap();
    model.check_complete().unwrap();
    let tensor = |(name, shape): (String, Vec<usize>)| match shape[..] {
        [rows, cols] => model.matrix(&name, rows, cols).unwrap().data.iter().map(|x| x.to_f32()).collect(),
        _ => model.vector(&name, shape[0]).unwrap(),
    };
    model.config().tensors().flat_map(tensor).collect()
}

#[test]
fn merged_models_are_those_of_numpy() {
    let Some(python) = std::env::var_os("BMN_PYTHON") else {
        println!("SKIPPED merged_models_are_those_of_numpy: set BMN_PYTHON, `make test` does");
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let (first, second) = (tuned(home.path(), 7), tuned(home.path(), 8));
    let lora = || adapter("all_linear_r4");
    for (case, (sources, drop, rescale, seed)) in [
        // The reference system's: one of two models is the base.
        (vec![(Model(base()), 0.5), (Model(first.clone()), 0.5)], 0.2, true, 0),
        (vec![(Model(first.clone()), 0.3), (Model(second), 0.9)], 0.5, false, 3),
        (vec![(lora(), 1.0)], 0.0, true, 0),
        (vec![(lora(), -1.0)], 0.0, true, 0),
        (vec![(Model(first), 0.25), (lora(), 0.5), (adapter("rslora_qv_r8"), 0.25)], 0.1, true, u64::MAX),
    ]
    .into_iter()
    .enumerate()
    {
        let out = home.path().join(format!("out{case}"));
        merge(&MergeOptions { sources: sources.clone(), drop, rescale, seed }, &out);
        let sources: Vec<_> = sources
            .iter()
            .map(|(source, weight)| match source {
                Model(path) => ("model", path, weight),
                Adapter(path) => ("adapter", path, weight),
            })
            .collect();
        let asked = serde_json::json!({
            "base": base(), "out": out, "drop": drop, "rescale": rescale, "seed": seed, "sources": sources,
        });
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/python/merge_reference.py");
        let ran = std::process::Command::new(&python).arg(script).arg(asked.to_string()).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let found: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
        println!("case {case}: {found}");
        let count = |key: &str| found[key].as_u64().unwrap();
        // A sum in f32 is on the other side of a tie once in some ten thousand values.
        assert!(count("worst") <= 1 && count("rounded") * 1000 <= count("compared"), "case {case}: {found}");
        let dropped = found["dropped"][0].as_f64().unwrap();
        let all = count("compared") as f64;
        // Five standard deviations.
        assert!(sources[0].0 == "adapter" || (dropped / all - drop).abs() < 5.0 * (0.25 / all).sqrt(), "{found}");
        let recipe: serde_json::Value =
            serde_json::from_slice(&std::fs::read(out.join("merge.json")).unwrap()).unwrap();
        assert_eq!((&recipe["drop"], recipe["sources"].as_array().unwrap().len()), (&drop.into(), sources.len()));
    }
}

#[test]
fn a_merged_adapter_computes_what_the_engine_merges_while_loading_and_comes_out_again() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("merged");
    merge(&options(vec![(adapter("all_linear_r4"), 1.0)]), &out);
    let tokens: Vec<u32> = (1..40).collect();
    let logits = |path: &Path, merged: Option<&PeftAdapter>| -> Vec<u32> {
        let cpu = Cpu::new(CpuOptions { threads: Some(1), isa: None }).unwrap();
        let parts = merged.map_or(&[][..], |adapter| adapter.parts());
        let mut session = Mistral::open(&Checkpoint::open(path).unwrap(), cpu, parts).unwrap().session().unwrap();
        let step = Step { sequence: session.sequence(None).unwrap(), chain: &tokens, tree: &[], keep: &[20, 38] };
        let rows = session.forward(&[step]).unwrap();
        rows.into_iter().flat_map(|row| session.all_logits(row).unwrap()).map(f32::to_bits).collect()
    };
    let folder = golden("mistral_window/all_linear_r4");
    let loaded = PeftAdapter::open(&folder, Checkpoint::open(&base()).unwrap().config()).unwrap();
    assert_eq!(logits(&out, None), logits(&base(), Some(&loaded)));
    assert_ne!(logits(&out, None), logits(&base(), None));

    let back = home.path().join("back");
    let taken = options(vec![(adapter("all_linear_r4"), -1.0)]);
    merge_models(&out, &taken, &back, &mut |_, _| true).unwrap();
    for ((was, merged), is) in values(&base()).iter().zip(values(&out)).zip(values(&back)) {
        // Half a step of bf16 when it was merged, half of one now.
        let allowed = (merged.abs() + was.abs()) * 2f32.powi(-8);
        assert!((was - is).abs() <= allowed, "{was} became {merged} and then {is}");
    }
}

#[test]
fn adapters_merge_into_one_that_computes_their_sum() {
    let home = tempfile::tempdir().unwrap();
    let config = Checkpoint::open(&base()).unwrap().config().clone();
    for (case, weights) in [[0.5, 0.5], [0.75, -0.5]].into_iter().enumerate() {
        let names = ["all_linear_r4", "rslora_qv_r8"];
        let sources = names.into_iter().map(adapter).zip(weights).collect();
        let (one, apart, together) = (
            home.path().join(format!("one{case}")),
            home.path().join(format!("apart{case}")),
            home.path().join(format!("together{case}")),
        );
        let all = options(sources);
        merge_adapters(&base(), &all, &one).unwrap();
        let adapter = PeftAdapter::open(&one, &config).unwrap();
        assert_eq!((adapter.rank(), adapter.parts().len()), (12, 14));
        merge(&all, &apart);
        merge(&options(vec![(Adapter(one), 1.0)]), &together);
        let (apart, together) = (values(&apart), values(&together));
        let sum = |of: &dyn Fn(usize) -> f32| (0..apart.len()).map(|i| of(i).abs() as f64).sum::<f64>();
        let was = values(&base());
        let (change, error) = (sum(&|i| apart[i] - was[i]), sum(&|i| apart[i] - together[i]));
        // A weight of its own is rounded into B, and the sum is rounded: half a step of bf16, 2^-9, each, of values as large
        // as the change.
        assert!(change > 100.0 && error < change * 2f64.powi(-7), "{error} of a change of {change}");
    }
    let twice = options(vec![(adapter("all_linear_r4"), 0.5), (adapter("all_linear_r4"), 0.5)]);
    let out = home.path().join("twice");
    merge_adapters(&base(), &twice, &out).unwrap();
    let (once, out) = (
        PeftAdapter::open(&golden("mistral_window/all_linear_r4"), &config).unwrap(),
        PeftAdapter::open(&out, &config).unwrap(),
    );
    for (a, b) in once.parts().iter().zip(out.parts()) {
        let half = a.a.len();
        assert!(b.scale == 0.5 * a.scale && b.a[..half] == a.a && b.a[half..] == a.a, "one scale and weight: exact");
    }
    let dropped = MergeOptions { drop: 0.5, ..twice };
    merge_adapters(&base(), &dropped, &home.path().join("dropped")).unwrap();
    let dropped = PeftAdapter::open(&home.path().join("dropped"), &config).unwrap();
    let (mut zeros, mut all) = (0, 0);
    for (a, b) in once.parts().iter().zip(dropped.parts()) {
        for (i, x) in b.a.iter().enumerate() {
            let was = a.a[i % a.a.len()];
            assert!(*x == bf16::ZERO || *x == bf16::from_f32(2.0 * was.to_f32()));
            (zeros, all) = (zeros + usize::from(*x == bf16::ZERO), all + 1);
        }
        assert!(b.a[..a.a.len()] != b.a[a.a.len()..], "each source has its own mask");
    }
    assert!((zeros as f64 / all as f64 - 0.5).abs() < 0.05, "{zeros} of {all} dropped");
}

/// The error of a merge that must leave nothing behind.
fn refused(from: &Path, options: &MergeOptions) -> String {
    let home = tempfile::tempdir().unwrap();
    let error = merge_models(from, options, &home.path().join("out"), &mut |_, _| true).unwrap_err();
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "{error}");
    error.to_string()
}

#[test]
fn sources_of_another_model_are_errors_that_name_them() {
    let other = golden("llama_tied_odd/model");
    let lora = || vec![(adapter("all_linear_r4"), 1.0)];
    assert!(refused(&base(), &options(vec![(Model(other.clone()), 1.0)])).contains("llama_tied_odd"));
    let error = refused(&other, &options(lora()));
    assert!(error.contains("all_linear_r4") || error.contains("the model has"), "{error}");
    for bad in [
        options(vec![]),
        options(vec![(adapter("all_linear_r4"), f64::NAN)]),
        MergeOptions { drop: 1.0, ..options(lora()) },
        MergeOptions { drop: -0.1, ..options(lora()) },
        MergeOptions { drop: f64::NAN, ..options(lora()) },
    ] {
        assert!(refused(&base(), &bad).contains("merge: expected"));
    }
    assert!(refused(&base(), &options(vec![(Adapter("/no/such/adapter".into()), 1.0)])).contains("/no/such/adapter"));
    let home = tempfile::tempdir().unwrap();
    let error = merge_models(&base(), &options(lora()), home.path(), &mut |_, _| true).unwrap_err().to_string();
    assert!(error.contains("expected a name that is free"), "{error}");
    let out = home.path().join("out");
    let error = merge_models(&base(), &options(lora()), &out, &mut |done, total| done * 2 < total).unwrap_err();
    assert!(error.code() == 12 && std::fs::read_dir(home.path()).unwrap().count() == 0);
    let model = options(vec![(Model(base()), 1.0)]);
    assert!(merge_adapters(&base(), &model, &out).unwrap_err().to_string().contains("expected adapters only"));
    // The same shapes with other meaning.
    let altered = home.path().join("altered");
    std::fs::create_dir(&altered).unwrap();
    std::fs::copy(base().join("model.safetensors"), altered.join("model.safetensors")).unwrap();
    let config = std::fs::read_to_string(base().join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["rms_norm_eps"] = 0.5.into();
    std::fs::write(altered.join("config.json"), config.to_string()).unwrap();
    let error = refused(&base(), &options(vec![(Model(altered), 1.0)]));
    assert!(error.contains("altered") && error.contains("rms_norm_eps"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each value is the base's, or the base's and the rescaled difference; the same seed gives the same bytes.
    #[test]
    fn each_difference_is_dropped_or_rescaled(drop in 0.0f64..0.95, weight in -2.0f64..2.0, seed: u64) {
        let home = tempfile::tempdir().unwrap();
        let from = tuned(home.path(), 5);
        let sources = vec![(Model(from.clone()), weight)];
        let options = MergeOptions { sources, drop, rescale: true, seed };
        let (out, again) = (home.path().join("out"), home.path().join("again"));
        merge(&options, &out);
        merge(&options, &again);
        let read = |folder: &Path| std::fs::read(folder.join("model.safetensors")).unwrap();
        prop_assert!(read(&out) == read(&again));
        let (mut dropped, mut all) = (0, 0);
        for ((was, to), is) in values(&base()).into_iter().zip(values(&from)).zip(values(&out)) {
            let moved = (was as f64 + weight / (1.0 - drop) * (to as f64 - was as f64)) as f32;
            let near = |want: f32| (is - want).abs() <= want.abs() * 2f32.powi(-8) + 1e-6;
            prop_assert!(near(was) || near(moved), "{was} and {to} made {is}, not {moved}");
            if (moved - was).abs() > 0.02 * was.abs() + 1e-5 {
                (dropped, all) = (dropped + usize::from(near(was)), all + 1);
            }
        }
        // Six standard deviations.
        prop_assert!(all == 0 || (dropped as f64 / all as f64 - drop).abs() <= 6.0 * (0.25 / all as f64).sqrt());
    }
}
