//! What a GGUF of architecture `llama` holds, in HF terms: configuration, tensor names, order of the rows of q and k.

use super::{Architecture, EMBEDDING, Gguf, HEAD, ModelConfig, NORM, TensorInfo};
use crate::{Error, Result};

/// The configuration of a GGUF. Its head is tied where it stores none.
///
/// # Errors
/// [`Error::Unsupported`] naming another architecture or option; [`Error::Format`] for missing or inconsistent values.
pub(super) fn read_config(gguf: &Gguf) -> Result<ModelConfig> {
    let file = gguf.name();
    let bad = |why: String| Error::format(file, why);
    match gguf.text("general.architecture")? {
        Some("llama") => {}
        Some(other) => return Err(Error::unsupported(format!("{file}: architecture {other}; expected llama"))),
        None => return Err(bad("metadata general.architecture: expected a text, found nothing".into())),
    }
    let need = |key: &str| match gguf.uint(key)? {
        Some(n) => Ok(n),
        None => Err(bad(format!("metadata {key}: expected a whole number, found nothing"))),
    };
    if gguf.uint("llama.expert_count")?.is_some_and(|n| n > 0) {
        return Err(Error::unsupported(format!("{file}: llama.expert_count (mixture of experts)")));
    }
    for key in ["llama.rope.scaling.type", "llama.rope.scale_linear", "llama.rope.scaling.factor"] {
        let harmless = match gguf.metadata().get(key) {
            None => true,
            Some(super::GgufValue::Text(kind)) => kind == "none",
            Some(super::GgufValue::Float(factor)) => *factor == 1.0,
            Some(_) => false,
        };
        if !harmless {
            return Err(Error::unsupported(format!("{file}: {key}")));
        }
    }
    let (hidden_size, heads) = (need("llama.embedding_length")?, need("llama.attention.head_count")?);
    let rope_dim = gguf.uint("llama.rope.dimension_count")?;
    let head_dim = match gguf.uint("llama.attention.key_length")?.or(rope_dim) {
        Some(n) => n,
        None if heads != 0 && hidden_size % heads == 0 => hidden_size / heads,
        None => return Err(bad(format!("hidden size {hidden_size} is not a multiple of {heads} heads"))),
    };
    for key in ["llama.rope.dimension_count", "llama.attention.value_length"] {
        if let Some(n) = gguf.uint(key)?.filter(|n| *n != head_dim) {
            return Err(Error::unsupported(format!("{file}: {key} {n} differs from the head width {head_dim}")));
        }
    }
    let table = tensor(gguf, "token_embd.weight").ok_or_else(|| bad("tensor token_embd.weight is missing".into()))?;
    let vocab_size = table.shape[0];
    if let Some(n) = gguf.uint("llama.vocab_size")?.filter(|n| *n != vocab_size) {
        return Err(bad(format!("llama.vocab_size is {n}, token_embd.weight has {vocab_size} rows")));
    }
    let Some(rms_norm_eps) = gguf.float("llama.attention.layer_norm_rms_epsilon")? else {
        return Err(bad("metadata llama.attention.layer_norm_rms_epsilon: expected a number, found nothing".into()));
    };
    // Mistral is stored as `llama`, and its window is not; where a file does name one, it counts.
    let sliding_window = gguf.uint("llama.attention.sliding_window")?.filter(|n| *n > 0);
    let config = ModelConfig {
        architecture: if sliding_window.is_some() { Architecture::Mistral } else { Architecture::Llama },
        hidden_size,
        intermediate_size: need("llama.feed_forward_length")?,
        layers: need("llama.block_count")?,
        heads,
        kv_heads: gguf.uint("llama.attention.head_count_kv")?.unwrap_or(heads),
        head_dim,
        vocab_size,
        rope_theta: gguf.float("llama.rope.freq_base")?.unwrap_or(10_000.0),
        rms_norm_eps: rms_norm_eps as f32,
        sliding_window,
        max_positions: need("llama.context_length")?,
        tied_head: tensor(gguf, "output.weight").is_none(),
    };
    config.validate(file)?;
    Ok(config)
}

fn tensor<'a>(gguf: &'a Gguf, name: &str) -> Option<&'a TensorInfo> {
    gguf.tensors().iter().find(|tensor| tensor.name == name && !tensor.shape.is_empty())
}

/// The HF name of a GGUF tensor; `None` for those that HF models do not have.
pub(super) fn hf_name(name: &str) -> Option<String> {
    match name {
        "token_embd.weight" => return Some(EMBEDDING.into()),
        "output_norm.weight" => return Some(NORM.into()),
        "output.weight" => return Some(HEAD.into()),
        _ => {}
    }
    let (layer, part) = name.strip_prefix("blk.")?.split_once('.')?;
    let part = match part.strip_suffix(".weight")? {
        "attn_norm" => "input_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_output" => "self_attn.o_proj",
        "ffn_norm" => "post_attention_layernorm",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        _ => return None,
    };
    // Only the canonical spelling, so that `blk.07` is no second layer 7.
    let number: usize = layer.parse().ok().filter(|n: &usize| n.to_string() == layer)?;
    Some(format!("model.layers.{number}.{part}.weight"))
}

/// The stored row of row `row` of q or k. GGUF interleaves the two halves of each head for its rotary embedding:
/// `(h, half, i)` of the rotate-half order lies at `(h, i, half)`.
pub(super) fn interleaved_row(row: usize, head_dim: usize) -> usize {
    let (head, half, i) = (row / head_dim, row % head_dim / (head_dim / 2), row % (head_dim / 2));
    head * head_dim + 2 * i + half
}
