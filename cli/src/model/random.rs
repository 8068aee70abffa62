//! Random weights of a given shape: to measure what a model of that size costs, without having one.

use crate::progress::Progress;
use crate::stop::{Result, Stop};
use biomistral_nlu::weights::{Architecture, ModelConfig, random_checkpoint};
use std::path::Path;

/// Runs `bmn model random`.
pub fn random(out: &Path, shape: &str, seed: u64) -> Result<()> {
    let config = config(shape)?;
    let progress = Progress::bytes();
    let written = random_checkpoint(&config, seed, out, &mut |done, total| progress.of(done, total));
    progress.finish();
    Ok(written?)
}

fn config(shape: &str) -> Result<ModelConfig> {
    let tiny = ModelConfig {
        architecture: Architecture::Mistral,
        hidden_size: 64,
        intermediate_size: 176,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 16,
        vocab_size: 512,
        rope_theta: 10_000.0,
        rms_norm_eps: 1e-5,
        sliding_window: Some(4096),
        max_positions: 32_768,
        tied_head: false,
    };
    match shape {
        "tiny" => Ok(tiny),
        "7b" => Ok(ModelConfig {
            hidden_size: 4096,
            intermediate_size: 14_336,
            layers: 32,
            heads: 32,
            kv_heads: 8,
            head_dim: 128,
            vocab_size: 32_000,
            ..tiny
        }),
        path if Path::new(path).is_file() => Ok(ModelConfig::read_json(Path::new(path))?),
        other => Err(Stop::usage(format!("--shape: expected 7b, tiny or a config.json, found {other:?}"))),
    }
}
