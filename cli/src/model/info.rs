//! `bmn model info`: architecture, sizes, tokenizer and identity.

use crate::stop::{Result, Stop};
use biomistral_nlu::text::Tokenizer;
use biomistral_nlu::weights::Checkpoint;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Write, stdout};
use std::path::Path;

/// Runs `bmn model info`.
pub fn info(model: &Path, as_json: bool) -> Result<()> {
    let checkpoint = Checkpoint::open(model)?;
    let config = checkpoint.config();
    let mut stored: BTreeMap<String, usize> = BTreeMap::new();
    let (mut bytes, mut count) = (0u64, 0);
    for tensor in checkpoint.tensors() {
        let kind = tensor.dtype.as_ref().map_or_else(String::clone, |dtype| format!("{dtype:?}"));
        *stored.entry(kind.to_uppercase()).or_default() += 1;
        bytes += tensor.bytes as u64;
        count += 1;
    }
    let parameters: u64 = config.tensors().map(|(_, shape)| shape.iter().map(|n| *n as u64).product::<u64>()).sum();
    // Keys and values of all layers, bf16.
    let kv_bytes = 2 * 2 * config.layers * config.kv_heads * config.head_dim;
    let tokenizer = match Tokenizer::open(model) {
        Ok(t) => json!({"vocabulary": t.vocab_size(), "bos": t.bos(), "eos": t.eos(), "sha256": t.hash()}),
        Err(e) => json!({"missing": e.to_string()}),
    };
    let complete = checkpoint.check_complete().map_or_else(|e| e.to_string(), |()| "yes".to_owned());
    let rows = [
        ("path", json!(model)),
        ("id", json!(checkpoint.id()?)),
        ("architecture", json!(format!("{:?}", config.architecture))),
        ("parameters", json!(parameters)),
        ("layers", json!(config.layers)),
        ("hidden_size", json!(config.hidden_size)),
        ("intermediate_size", json!(config.intermediate_size)),
        ("heads", json!(config.heads)),
        ("kv_heads", json!(config.kv_heads)),
        ("head_dim", json!(config.head_dim)),
        ("vocabulary", json!(config.vocab_size)),
        ("context", json!(config.max_positions)),
        ("sliding_window", json!(config.sliding_window)),
        ("rope_theta", json!(config.rope_theta)),
        ("tied_head", json!(config.tied_head)),
        ("tensors", json!(count)),
        ("stored", json!(stored)),
        ("stored_bytes", json!(bytes)),
        ("bf16_bytes", json!(2 * parameters)),
        ("kv_bytes_per_token", json!(kv_bytes)),
        ("tokenizer", json!(tokenizer)),
        ("complete", json!(complete)),
    ];
    let text: String = if as_json {
        let fields: Vec<String> = rows.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}\n", fields.join(","))
    } else {
        let show = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        rows.iter().map(|(name, value)| format!("{name:20} {}\n", show(value))).collect()
    };
    let mut out = stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| Stop::write("stdout", &e))
}
