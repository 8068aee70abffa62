//! The shape of a model.

use crate::{Error, Result};

/// Name of the embedding table.
pub const EMBEDDING: &str = "model.embed_tokens.weight";
/// Name of the last normalisation.
pub const NORM: &str = "model.norm.weight";
/// Name of the head where it is not tied to the embedding table.
pub const HEAD: &str = "lm_head.weight";

/// Which member of the family a checkpoint says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// `MistralForCausalLM`: grouped-query attention, sliding window where configured.
    Mistral,
    /// `LlamaForCausalLM`: the sub-case without a window.
    Llama,
}

/// Sizes and constants of one model, checked for consistency when read.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Architecture as declared by the checkpoint.
    pub architecture: Architecture,
    /// `C`: width of the residual stream.
    pub hidden_size: usize,
    /// `F`: width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Number of transformer blocks.
    pub layers: usize,
    /// `H`: query heads.
    pub heads: usize,
    /// `G`: key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// `D`: width of one head; even.
    pub head_dim: usize,
    /// `V`: vocabulary size.
    pub vocab_size: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Epsilon of RMSNorm.
    pub rms_norm_eps: f32,
    /// `W`: a row sees keys `i-W < j <= i`; `None` sees all before it.
    pub sliding_window: Option<usize>,
    /// Longest context the model was made for, in tokens.
    pub max_positions: usize,
    /// Whether the head is the embedding table.
    pub tied_head: bool,
}

/// Upper bound of every dimension: far above any model, low enough that no product of three overflows.
const MAX_DIM: usize = 1 << 20;
const MAX_LAYERS: usize = 1 << 10;

impl ModelConfig {
    /// Checks ranges and divisibility; `file` names the origin in errors.
    ///
    /// # Errors
    /// [`Error::Format`] naming the first value out of range.
    pub fn validate(&self, file: &str) -> Result<()> {
        let fail = |why: String| Err(Error::format(file, why));
        for (what, value, max) in [
            ("hidden size", self.hidden_size, MAX_DIM),
            ("intermediate size", self.intermediate_size, MAX_DIM),
            ("number of layers", self.layers, MAX_LAYERS),
            ("number of heads", self.heads, MAX_DIM),
            ("number of key/value heads", self.kv_heads, MAX_DIM),
            ("head width", self.head_dim, MAX_DIM),
            ("vocabulary size", self.vocab_size, 16 * MAX_DIM),
            ("longest context", self.max_positions, u32::MAX as usize >> 1),
            ("sliding window", self.sliding_window.unwrap_or(1), u32::MAX as usize >> 1),
        ] {
            if value == 0 || value > max {
                return fail(format!("{what}: expected 1 to {max}, found {value}"));
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return fail(format!("{} heads are not a multiple of {} key/value heads", self.heads, self.kv_heads));
        }
        if !self.head_dim.is_multiple_of(2) {
            return fail(format!("head width: rotary embedding expects an even number, found {}", self.head_dim));
        }
        if self.heads * self.head_dim > MAX_DIM {
            return fail(format!("{} heads of width {}: expected at most {MAX_DIM} in all", self.heads, self.head_dim));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta >= 1.0) {
            return fail(format!("rope_theta: expected a finite number of at least 1, found {}", self.rope_theta));
        }
        if !(self.rms_norm_eps.is_finite() && self.rms_norm_eps > 0.0) {
            return fail(format!("rms_norm_eps: expected a finite positive number, found {}", self.rms_norm_eps));
        }
        Ok(())
    }

    /// Name and shape of every tensor of the model, in the order in which a forward pass reads them.
    pub fn tensors(&self) -> impl Iterator<Item = (String, Vec<usize>)> {
        let (c, f, v) = (self.hidden_size, self.intermediate_size, self.vocab_size);
        let (q, kv) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let head = (!self.tied_head).then(|| (HEAD.to_string(), vec![v, c]));
        let layers = (0..self.layers).flat_map(move |layer| {
            [
                ("input_layernorm", vec![c]),
                ("self_attn.q_proj", vec![q, c]),
                ("self_attn.k_proj", vec![kv, c]),
                ("self_attn.v_proj", vec![kv, c]),
                ("self_attn.o_proj", vec![c, q]),
                ("post_attention_layernorm", vec![c]),
                ("mlp.gate_proj", vec![f, c]),
                ("mlp.up_proj", vec![f, c]),
                ("mlp.down_proj", vec![c, f]),
            ]
            .map(|(part, shape)| (format!("model.layers.{layer}.{part}.weight"), shape))
        });
        let embedding = std::iter::once((EMBEDDING.to_string(), vec![v, c]));
        embedding.chain(layers).chain([(NORM.to_string(), vec![c])]).chain(head)
    }
}
