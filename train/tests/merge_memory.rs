//! Memory of a merge. A test binary of its own: what is measured is the whole process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use biomistral_nlu::weights::{Architecture, MergeOptions, MergeSource, ModelConfig, merge_models, random_checkpoint};

/// MiB of `key` in the process' status.
fn memory(key: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).expect(key);
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

#[test]
fn merging_needs_memory_for_one_tensor_and_not_for_a_model() {
    let config = ModelConfig {
        architecture: Architecture::Mistral,
        hidden_size: 1024,
        intermediate_size: 2816,
        layers: 4,
        heads: 16,
        kv_heads: 4,
        head_dim: 64,
        vocab_size: 8000,
        rope_theta: 1e4,
        rms_norm_eps: 1e-5,
        sliding_window: None,
        max_positions: 256,
        tied_head: false,
    };
    let home = tempfile::tempdir().unwrap();
    let [base, tuned, out] = ["base", "tuned", "out"].map(|name| home.path().join(name));
    for (folder, seed) in [(&base, 1), (&tuned, 2)] {
        random_checkpoint(&config, seed, folder, &mut |_, _| true).unwrap();
    }
    let model = std::fs::metadata(base.join("model.safetensors")).unwrap().len() as f64 / (1 << 20) as f64;
    let sources = vec![(MergeSource::Model(base.clone()), 0.5), (MergeSource::Model(tuned), 0.5)];
    let options = MergeOptions { sources, drop: 0.2, rescale: true, seed: 0 };
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS");
    merge_models(&base, &options, &out, &mut |_, _| true).unwrap();
    let took = memory("VmHWM") - before;
    println!("merging models of {model:.0} MiB took {took:.0} MiB");
    // The largest tensor takes 16 MiB, and blocks 12; the rest are pages of three mapped models that were just touched.
    assert!(model > 110.0 && took < 64.0, "merging models of {model:.0} MiB took {took:.0} MiB");
}
