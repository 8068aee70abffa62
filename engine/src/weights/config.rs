//! The shape of a model.

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
