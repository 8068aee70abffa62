//! What a file says about one tensor.

use std::fmt;

/// Element type of a stored tensor. Quantised types are those of GGUF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DType {
    /// 32-bit float.
    F32,
    /// IEEE half.
    F16,
    /// bfloat16.
    Bf16,
    /// 4 bits, scale per 32.
    Q4_0,
    /// 4 bits, scale and minimum per 32.
    Q4_1,
    /// 5 bits, scale per 32.
    Q5_0,
    /// 5 bits, scale and minimum per 32.
    Q5_1,
    /// 8 bits, scale per 32.
    Q8_0,
    /// 4 bits, two-level scales and minima, 256.
    Q4K,
    /// 5 bits, two-level scales and minima, 256.
    Q5K,
    /// 6 bits, two-level scales, 256.
    Q6K,
}

impl DType {
    /// Values per block and bytes per block; plain types have blocks of one.
    pub fn block(self) -> (usize, usize) {
        match self {
            DType::F32 => (1, 4),
            DType::F16 | DType::Bf16 => (1, 2),
            DType::Q4_0 => (32, 18),
            DType::Q4_1 => (32, 20),
            DType::Q5_0 => (32, 22),
            DType::Q5_1 => (32, 24),
            DType::Q8_0 => (32, 34),
            DType::Q4K => (256, 144),
            DType::Q5K => (256, 176),
            DType::Q6K => (256, 210),
        }
    }

    /// Bytes of `values` consecutive values; `None` on overflow or where a block would be cut.
    pub fn bytes(self, values: usize) -> Option<usize> {
        let (per_block, bytes) = self.block();
        if values.is_multiple_of(per_block) { (values / per_block).checked_mul(bytes) } else { None }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "F32",
            DType::F16 => "F16",
            DType::Bf16 => "BF16",
            DType::Q4_0 => "Q4_0",
            DType::Q4_1 => "Q4_1",
            DType::Q5_0 => "Q5_0",
            DType::Q5_1 => "Q5_1",
            DType::Q8_0 => "Q8_0",
            DType::Q4K => "Q4_K",
            DType::Q5K => "Q5_K",
            DType::Q6K => "Q6_K",
        })
    }
}

/// A tensor of a checkpoint: what `bmn model info` lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name in the HF convention, `model.layers.0.self_attn.q_proj.weight`; names without a counterpart stay as stored.
    pub name: String,
    /// Element type, or the file's name for one that cannot be read.
    pub dtype: Result<DType, String>,
    /// Outer dimension first: `[rows, cols]` or `[len]`.
    pub shape: Vec<usize>,
    /// Stored bytes.
    pub bytes: usize,
    /// Which file of the checkpoint.
    pub(super) file: usize,
    /// First byte in it.
    pub(super) offset: usize,
}
