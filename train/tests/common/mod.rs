//! A model so small that a step takes milliseconds, and data that it can learn by heart.
#![allow(dead_code, reason = "every test binary uses another part")]

use biomistral_nlu::weights::{Architecture, ModelConfig, random_checkpoint};
use biomistral_nlu_train::Config;
use std::path::Path;

pub const RECORDS: usize = 24;

/// Writes a model, training data and a configuration to `folder`; `extra` is appended to the configuration.
pub fn fixture(folder: &Path, method: &str, extra: &str) {
    let model = folder.join("model");
    if !model.exists() {
        let config = ModelConfig {
            architecture: Architecture::Mistral,
            hidden_size: 32,
            intermediate_size: 48,
            layers: 2,
            heads: 4,
            kv_heads: 2,
            head_dim: 8,
            vocab_size: 340,
            rope_theta: 1e4,
            rms_norm_eps: 1e-5,
            sliding_window: Some(64),
            max_positions: 256,
            tied_head: false,
        };
        random_checkpoint(&config, 3, &model, &mut |_, _| true).unwrap();
        let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/tokenizer_model/tiny.model");
        std::fs::copy(tokenizer, model.join("tokenizer.model")).unwrap();
        let record = |i: usize| {
            let (question, answer) = [
                (format!("Drugs?\\nMedical text:{i}, take aspirin."), "Drug: aspirin"),
                (format!("Drugs?\\nMedical text:{i}, take aspirin."), "Drug: None"),
                (format!("Note {i}?\\n(A) smoker\\n(B) never"), "(A) smoker"),
            ][i % 3]
                .clone();
            format!(
                "{{\"messages\": [{{\"role\": \"user\", \"content\": \"{question}\"}}, \
                 {{\"role\": \"assistant\", \"content\": \"{answer}\"}}], \"task\": \"t{}\"}}\n",
                i % 3
            )
        };
        std::fs::write(folder.join("train.jsonl"), (0..RECORDS).map(record).collect::<String>()).unwrap();
        std::fs::write(folder.join("dev.jsonl"), (30..36).map(record).collect::<String>()).unwrap();
    }
    let text = format!(
        "model = \"model\"\noutput = \"run\"\nmax_tokens = 128\n{extra}\n\
         [[train]]\nfile = \"train.jsonl\"\n[[validation]]\nfile = \"dev.jsonl\"\n\
         [tuning]\nmethod = \"{method}\"\nrank = 4\nalpha = 8.0\ndropout = {}\n\
         [optimiser]\nrate = 2e-2\nwarmup = 0.1\n\
         [run]\nepochs = 4\nbatch = 5\npass_tokens = 150\nsave_every = 4\nvalidate_every = 7\nthreads = 1\n",
        if method == "lora" { "0.1" } else { "0.0\nhalf_state = true" }
    );
    std::fs::write(folder.join("config.toml"), text).unwrap();
}

/// The fixture's configuration with another output folder.
pub fn config(folder: &Path, output: &str) -> Config {
    let mut config = Config::read(&folder.join("config.toml")).unwrap();
    config.output = folder.join(output);
    config
}
