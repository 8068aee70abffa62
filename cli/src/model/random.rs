//! Random weights of a given shape: to measure what a model of that size costs, without having one.

use super::shards;
use crate::stop::{Result, Stop};
use biomistral_nlu::weights::{Architecture, ModelConfig};
use std::path::Path;

/// Half the width of the uniform distribution: the standard deviation is that of Mistral's initialisation, 0.02.
const HALF_WIDTH: f32 = 0.02 * 1.732_050_8;

/// Runs `bmn model random`.
pub fn random(out: &Path, shape: &str, seed: u64) -> Result<()> {
    let config = config(shape)?;
    shards::write(out, &config, |name, shape| {
        let len = shape.iter().product();
        Ok(if shape.len() == 1 { bf16(1.0).repeat(len) } else { matrix(name, len, seed) })
    })
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

/// `len` values, a function of name and seed alone.
fn matrix(name: &str, len: usize, seed: u64) -> Vec<u8> {
    let mut state = name.bytes().fold(seed ^ 0x9e37_79b9_7f4a_7c15, |s, b| mix(s ^ u64::from(b)));
    let mut bytes = Vec::with_capacity(2 * len + 8);
    while bytes.len() < 2 * len {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let random = mix(state);
        for i in 0..4 {
            let unit = f32::from((random >> (16 * i)) as u16) / 32_768.0 - 1.0;
            bytes.extend(bf16(unit * HALF_WIDTH));
        }
    }
    bytes.truncate(2 * len);
    bytes
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Rounded towards zero: the last bit of a random weight does not matter.
fn bf16(x: f32) -> [u8; 2] {
    ((x.to_bits() >> 16) as u16).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_have_the_spread_asked_for_and_depend_on_name_and_seed() {
        let values: Vec<f64> = matrix("a", 100_000, 1)
            .chunks(2)
            .map(|b| f64::from(f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16)))
            .collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let deviation = (values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / values.len() as f64).sqrt();
        // The error of the mean of 100,000 draws is 0.02 / 316; bf16 truncation shrinks values by at most 2^-7.
        assert!(mean.abs() < 4.0 * 0.02 / 316.0, "{mean}");
        assert!((deviation / 0.02 - 1.0).abs() < 0.02, "{deviation}");
        assert_eq!(matrix("a", 10, 1), matrix("a", 10, 1));
        assert_ne!(matrix("a", 10, 1), matrix("b", 10, 1));
        assert_ne!(matrix("a", 10, 1), matrix("a", 10, 2));
        assert_eq!(matrix("a", 7, 1).len(), 14);
    }
}
