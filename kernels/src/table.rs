//! The table of kernels: name, file, parameter struct and launch rule of each.
//!
//! A [`Kernel<P>`] takes no other struct than its own `P`, so a launch with wrong parameters does not compile. What a
//! kernel computes is written at the head of its `.cu` file; what its parameters mean, in `params.h`.

use crate::params::*;
use std::marker::PhantomData;

/// What a driver needs to know of a kernel before it has parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol {
    /// `extern "C"` name.
    pub name: &'static str,
    /// The `.cu` file, see [`crate::image`].
    pub file: &'static str,
    /// Threads per block.
    pub threads: u32,
    /// Most dynamic shared memory that a launch asks for, bytes: above 48 KiB the function's attribute must be raised to it.
    pub shared: u32,
}

/// The shape of one launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    /// Blocks; nothing is to be launched if one is 0.
    pub grid: [u32; 3],
    /// Threads per block.
    pub threads: u32,
    /// Dynamic shared memory, bytes.
    pub shared: u32,
}

/// A kernel that takes `P`.
#[derive(Debug)]
pub struct Kernel<P> {
    /// Its untyped part.
    pub symbol: Symbol,
    grid: fn(&P) -> [u32; 3],
    params: PhantomData<fn(&P)>,
}

impl<P> Kernel<P> {
    /// Blocks, threads and shared memory for these parameters.
    pub fn launch(&self, params: &P) -> Launch {
        Launch { grid: (self.grid)(params), threads: self.symbol.threads, shared: self.symbol.shared }
    }
}

/// Declares the kernels and lists their symbols: `NAME: Params = "symbol" in "file", threads, shared bytes, grid;`.
macro_rules! kernels {
    ($($(#[$doc:meta])* $name:ident: $params:ty = $symbol:literal in $file:literal, $threads:expr, $shared:expr, $grid:expr;)*) => {
        $($(#[$doc])* pub static $name: Kernel<$params> = Kernel {
            symbol: Symbol { name: $symbol, file: $file, threads: $threads, shared: $shared },
            grid: $grid,
            params: PhantomData,
        };)*
        /// Every kernel of the table.
        pub static ALL: &[&Symbol] = &[$(&$name.symbol),*];
    };
}

kernels! {
    /// `out[i] = i + base`.
    PROBE: ProbeParams = "probe" in "probe", 256, 0, |p| [blocks(p.n, 256), 1, 1];

    /// `out = scale · x Wᵀ`, bf16.
    GEMM_STORE: GemmParams = "gemm_store" in "gemm", 128, GEMM_SHARED, plain_tiles;
    /// `out += x Wᵀ + lora`, f32.
    GEMM_ADD: GemmParams = "gemm_add" in "gemm", 128, GEMM_SHARED, plain_tiles;
    /// `out = silu(x W0ᵀ + lora) ∘ (x W1ᵀ + lora)`, bf16.
    GEMM_SWIGLU: GemmParams = "gemm_swiglu" in "gemm", 128, GEMM_SHARED, gate_tiles;
    /// q (turned) to `out`, k (turned) and v to the cache.
    GEMM_QKV: QkvParams = "gemm_qkv" in "gemm", 128, GEMM_SHARED, qkv_tiles;
    /// [`GEMM_ADD`] with int8 weights.
    GEMM_INT8_ADD: GemmParams = "gemm_int8_add" in "gemm_int8", 128, GEMM_SHARED, plain_tiles;
    /// [`GEMM_SWIGLU`] with int8 weights.
    GEMM_INT8_SWIGLU: GemmParams = "gemm_int8_swiglu" in "gemm_int8", 128, GEMM_SHARED, gate_tiles;
    /// [`GEMM_QKV`] with int8 weights.
    GEMM_INT8_QKV: QkvParams = "gemm_int8_qkv" in "gemm_int8", 128, GEMM_SHARED, qkv_tiles;

    /// `out = scale · Σ xᵢ Wᵢᵀ`, and `+=`.
    LINEAR: ProductParams = "linear" in "product", 128, GEMM_SHARED, product_tiles::<128, 128>;
    /// The same for few columns.
    LINEAR_TALL: ProductParams = "linear_tall" in "product", 128, GEMM_SHARED, product_tiles::<64, 32>;
    /// `out = scale · Σ dyᵢ Wᵢ`, and `+=`.
    LINEAR_DX: ProductParams = "linear_dx" in "product", 128, GEMM_SHARED, product_tiles::<128, 128>;
    /// The same for few columns.
    LINEAR_DX_TALL: ProductParams = "linear_dx_tall" in "product", 128, GEMM_SHARED, product_tiles::<64, 32>;
    /// `out = dyᵀ x`, and `+=`, by slices of rows.
    LINEAR_DW: ProductParams = "linear_dw" in "product", 128, GEMM_SHARED, product_tiles::<128, 128>;
    /// The same for few columns.
    LINEAR_DW_TALL: ProductParams = "linear_dw_tall" in "product", 128, GEMM_SHARED, product_tiles::<64, 32>;
    /// The same for few rows.
    LINEAR_DW_WIDE: ProductParams = "linear_dw_wide" in "product", 128, GEMM_SHARED, product_tiles::<32, 128>;
    /// `out += Σ slices`, in order.
    ADD_SLICES: AddSlicesParams = "add_slices" in "product", 256, 0, |p| [u32::try_from((p.count.max(0) + 255) / 256).unwrap_or(u32::MAX), 1, 1];

    /// [`GEMM_STORE`], 8 rows of x per block.
    SKINNY_STORE_8: GemmParams = "skinny_store_8" in "skinny", 64, SKINNY_SHARED[0], plain_strips::<0>;
    /// 16 rows.
    SKINNY_STORE_16: GemmParams = "skinny_store_16" in "skinny", 64, SKINNY_SHARED[1], plain_strips::<1>;
    /// 32 rows.
    SKINNY_STORE_32: GemmParams = "skinny_store_32" in "skinny", 128, SKINNY_SHARED[2], plain_strips::<2>;
    /// 64 rows.
    SKINNY_STORE_64: GemmParams = "skinny_store_64" in "skinny", 128, SKINNY_SHARED[3], plain_strips::<3>;
    /// [`GEMM_ADD`], 8 rows of x per block.
    SKINNY_ADD_8: GemmParams = "skinny_add_8" in "skinny", 64, SKINNY_SHARED[0], plain_strips::<0>;
    /// 16 rows.
    SKINNY_ADD_16: GemmParams = "skinny_add_16" in "skinny", 64, SKINNY_SHARED[1], plain_strips::<1>;
    /// 32 rows.
    SKINNY_ADD_32: GemmParams = "skinny_add_32" in "skinny", 128, SKINNY_SHARED[2], plain_strips::<2>;
    /// 64 rows.
    SKINNY_ADD_64: GemmParams = "skinny_add_64" in "skinny", 128, SKINNY_SHARED[3], plain_strips::<3>;
    /// [`GEMM_SWIGLU`], 8 rows of x per block.
    SKINNY_SWIGLU_8: GemmParams = "skinny_swiglu_8" in "skinny", 64, SKINNY_SHARED[0], gate_strips::<0>;
    /// 16 rows.
    SKINNY_SWIGLU_16: GemmParams = "skinny_swiglu_16" in "skinny", 64, SKINNY_SHARED[1], gate_strips::<1>;
    /// 32 rows.
    SKINNY_SWIGLU_32: GemmParams = "skinny_swiglu_32" in "skinny", 128, SKINNY_SHARED[2], gate_strips::<2>;
    /// 64 rows.
    SKINNY_SWIGLU_64: GemmParams = "skinny_swiglu_64" in "skinny", 128, SKINNY_SHARED[3], gate_strips::<3>;
    /// [`GEMM_QKV`], 8 rows of x per block.
    SKINNY_QKV_8: QkvParams = "skinny_qkv_8" in "skinny", 64, SKINNY_SHARED[0], qkv_strips::<0>;
    /// 16 rows.
    SKINNY_QKV_16: QkvParams = "skinny_qkv_16" in "skinny", 64, SKINNY_SHARED[1], qkv_strips::<1>;
    /// 32 rows.
    SKINNY_QKV_32: QkvParams = "skinny_qkv_32" in "skinny", 128, SKINNY_SHARED[2], qkv_strips::<2>;
    /// 64 rows.
    SKINNY_QKV_64: QkvParams = "skinny_qkv_64" in "skinny", 128, SKINNY_SHARED[3], qkv_strips::<3>;
    /// `out = x W0ᵀ`, f32, 8 rows of x per block.
    SKINNY_LOGITS_8: GemmParams = "skinny_logits_8" in "skinny", 64, SKINNY_SHARED[0], plain_strips::<0>;
    /// 16 rows.
    SKINNY_LOGITS_16: GemmParams = "skinny_logits_16" in "skinny", 64, SKINNY_SHARED[1], plain_strips::<1>;
    /// 32 rows.
    SKINNY_LOGITS_32: GemmParams = "skinny_logits_32" in "skinny", 128, SKINNY_SHARED[2], plain_strips::<2>;
    /// 64 rows.
    SKINNY_LOGITS_64: GemmParams = "skinny_logits_64" in "skinny", 128, SKINNY_SHARED[3], plain_strips::<3>;

    /// [`SKINNY_ADD_8`] with int8 weights, 8 rows of x per block.
    SKINNY_INT8_ADD_8: GemmParams = "skinny_int8_add_8" in "skinny_int8", 64, SKINNY_SHARED[0], plain_strips::<0>;
    /// 16 rows.
    SKINNY_INT8_ADD_16: GemmParams = "skinny_int8_add_16" in "skinny_int8", 64, SKINNY_SHARED[1], plain_strips::<1>;
    /// 32 rows.
    SKINNY_INT8_ADD_32: GemmParams = "skinny_int8_add_32" in "skinny_int8", 128, SKINNY_SHARED[2], plain_strips::<2>;
    /// 64 rows.
    SKINNY_INT8_ADD_64: GemmParams = "skinny_int8_add_64" in "skinny_int8", 128, SKINNY_SHARED[3], plain_strips::<3>;
    /// [`SKINNY_SWIGLU_8`] with int8 weights, 8 rows of x per block.
    SKINNY_INT8_SWIGLU_8: GemmParams = "skinny_int8_swiglu_8" in "skinny_int8", 64, SKINNY_SHARED[0], gate_strips::<0>;
    /// 16 rows.
    SKINNY_INT8_SWIGLU_16: GemmParams = "skinny_int8_swiglu_16" in "skinny_int8", 64, SKINNY_SHARED[1], gate_strips::<1>;
    /// 32 rows.
    SKINNY_INT8_SWIGLU_32: GemmParams = "skinny_int8_swiglu_32" in "skinny_int8", 128, SKINNY_SHARED[2], gate_strips::<2>;
    /// 64 rows.
    SKINNY_INT8_SWIGLU_64: GemmParams = "skinny_int8_swiglu_64" in "skinny_int8", 128, SKINNY_SHARED[3], gate_strips::<3>;
    /// [`SKINNY_QKV_8`] with int8 weights, 8 rows of x per block.
    SKINNY_INT8_QKV_8: QkvParams = "skinny_int8_qkv_8" in "skinny_int8", 64, SKINNY_SHARED[0], qkv_strips::<0>;
    /// 16 rows.
    SKINNY_INT8_QKV_16: QkvParams = "skinny_int8_qkv_16" in "skinny_int8", 64, SKINNY_SHARED[1], qkv_strips::<1>;
    /// 32 rows.
    SKINNY_INT8_QKV_32: QkvParams = "skinny_int8_qkv_32" in "skinny_int8", 128, SKINNY_SHARED[2], qkv_strips::<2>;
    /// 64 rows.
    SKINNY_INT8_QKV_64: QkvParams = "skinny_int8_qkv_64" in "skinny_int8", 128, SKINNY_SHARED[3], qkv_strips::<3>;
    /// [`SKINNY_LOGITS_8`] with int8 weights, 8 rows of x per block.
    SKINNY_INT8_LOGITS_8: GemmParams = "skinny_int8_logits_8" in "skinny_int8", 64, SKINNY_SHARED[0], plain_strips::<0>;
    /// 16 rows.
    SKINNY_INT8_LOGITS_16: GemmParams = "skinny_int8_logits_16" in "skinny_int8", 64, SKINNY_SHARED[1], plain_strips::<1>;
    /// 32 rows.
    SKINNY_INT8_LOGITS_32: GemmParams = "skinny_int8_logits_32" in "skinny_int8", 128, SKINNY_SHARED[2], plain_strips::<2>;
    /// 64 rows.
    SKINNY_INT8_LOGITS_64: GemmParams = "skinny_int8_logits_64" in "skinny_int8", 128, SKINNY_SHARED[3], plain_strips::<3>;

    /// Logits of chosen rows of a bf16 head.
    HEAD_SOME: HeadSomeParams = "head_some" in "skinny", 64, SKINNY_SHARED[0], |p| [blocks(p.longest, 32), blocks(p.asks, 1), 1];
    /// Logits of chosen rows of an int8 head.
    HEAD_SOME_INT8: HeadSomeParams = "head_some_int8" in "skinny_int8", 64, SKINNY_SHARED[0], |p| [blocks(p.longest, 32), blocks(p.asks, 1), 1];
    /// Attention of many rows, `D <= 16`.
    ATTENTION_PROMPT_16: AttentionParams = "attention_prompt_16" in "attention_prompt", 128, attention_shared(16, 2), items;
    /// Attention of many rows, `D <= 32`.
    ATTENTION_PROMPT_32: AttentionParams = "attention_prompt_32" in "attention_prompt", 128, attention_shared(32, 2), items;
    /// Attention of many rows, `D <= 64`.
    ATTENTION_PROMPT_64: AttentionParams = "attention_prompt_64" in "attention_prompt", 128, attention_shared(64, 2), items;
    /// Attention of many rows, `D <= 96`.
    ATTENTION_PROMPT_96: AttentionParams = "attention_prompt_96" in "attention_prompt", 128, attention_shared(96, 2), items;
    /// Attention of many rows, `D <= 128`.
    ATTENTION_PROMPT_128: AttentionParams = "attention_prompt_128" in "attention_prompt", 128, attention_shared(128, 2), items;
    /// Attention of many rows, `D <= 256`.
    ATTENTION_PROMPT_256: AttentionParams = "attention_prompt_256" in "attention_prompt", 128, attention_shared(256, 2), items;
    /// Splits of attention of few rows, `D <= 16`.
    ATTENTION_SPLIT_16: AttentionParams = "attention_split_16" in "attention_split", 128, attention_shared(16, 4), items;
    /// Splits of attention of few rows, `D <= 32`.
    ATTENTION_SPLIT_32: AttentionParams = "attention_split_32" in "attention_split", 128, attention_shared(32, 4), items;
    /// Splits of attention of few rows, `D <= 64`.
    ATTENTION_SPLIT_64: AttentionParams = "attention_split_64" in "attention_split", 128, attention_shared(64, 4), items;
    /// Splits of attention of few rows, `D <= 96`.
    ATTENTION_SPLIT_96: AttentionParams = "attention_split_96" in "attention_split", 128, attention_shared(96, 4), items;
    /// Splits of attention of few rows, `D <= 128`.
    ATTENTION_SPLIT_128: AttentionParams = "attention_split_128" in "attention_split", 128, attention_shared(128, 4), items;
    /// Splits of attention of few rows, `D <= 256`.
    ATTENTION_SPLIT_256: AttentionParams = "attention_split_256" in "attention_split", 128, attention_shared(256, 2), items;
    /// Merges the splits of each row.
    ATTENTION_COMBINE: CombineParams = "attention_combine" in "attention_combine", 128, 0, |p| [blocks(p.row_count.saturating_mul(p.heads), 4), 1, 1];
    /// Root mean square norm of rows.
    RMS_NORM: RmsNormParams = "rms_norm" in "rms_norm", 256, 0, |p| [blocks(p.row_count, 1), 1, 1];
    /// Rows of the embedding table.
    EMBED: EmbedParams = "embed" in "embed", 256, 0, |p| [blocks(p.row_count, 1), blocks(p.channels, 2048), 1];
    /// Keys and values from page to page.
    KV_COPY: KvCopyParams = "kv_copy" in "kv", 256, 0, |p| {
        let elements = p.kv_heads.saturating_mul(p.head_dim * p.keys);
        [blocks(elements, 256 * if p.head_dim % 8 == 0 { 8 } else { 2 }), blocks(p.array_count, 1), 1]
    };
    /// Keys and values from slot to slot.
    KV_MOVE: KvMoveParams = "kv_move" in "kv", 128, 0, |p| [blocks(p.kv_heads, 1), blocks(p.array_count, 1), 1];
    /// Maximum and sum of exponentials of every 64 logits of each row, bf16 head.
    HEAD_LSE: HeadLseParams = "head_lse" in "head_lse", 128, GEMM_SHARED, lse_tiles;
    /// The same, int8 head.
    HEAD_LSE_INT8: HeadLseParams = "head_lse_int8" in "head_lse", 128, GEMM_SHARED, lse_tiles;
    /// Adds up what `head_lse` left.
    HEAD_LSE_FOLD: HeadLseParams = "head_lse_fold" in "head_lse", 128, 0, |p| [blocks(p.m, 4), 1, 1];
    /// Loss of each row's logits, which become their gradient.
    CROSS_ENTROPY: CrossEntropyParams = "cross_entropy" in "cross_entropy", 512, 0, |p| [blocks(p.m, 1), 1, 1];
    /// `out = x ∘ mask / (1 - p)`.
    DROPOUT: DropoutParams = "dropout" in "dropout", 256, 0, |p| [blocks(p.rows, 1), blocks(p.columns, 1024), 1];
    /// `dx += dz ∘ mask / (1 - p)`.
    DROPOUT_BACKWARD: DropoutParams = "dropout_backward" in "dropout", 256, 0, |p| [blocks(p.rows, 1), blocks(p.columns, 1024), 1];
    /// The largest allowed logit of each row.
    ARGMAX: ArgmaxParams = "argmax" in "argmax", 512, 0, |p| [blocks(p.m, 1), 1, 1];

    /// Attention of packed examples, `D <= 16`.
    PACKED_ATTENTION_16: PackedAttentionParams = "packed_attention_16" in "packed_attention", 128, packed_shared(16, 2), packed_rows;
    /// Attention of packed examples, `D <= 64`.
    PACKED_ATTENTION_64: PackedAttentionParams = "packed_attention_64" in "packed_attention", 128, packed_shared(64, 2), packed_rows;
    /// Attention of packed examples, `D <= 128`.
    PACKED_ATTENTION_128: PackedAttentionParams = "packed_attention_128" in "packed_attention", 128, packed_shared(128, 2), packed_rows;
    /// Attention of packed examples, `D <= 256`.
    PACKED_ATTENTION_256: PackedAttentionParams = "packed_attention_256" in "packed_attention", 128, packed_shared(256, 2), packed_rows;
    /// `delta = Σ dO ∘ O`.
    PACKED_DELTA: PackedAttentionParams = "packed_delta" in "packed_backward", 128, 0, |p| [blocks(p.rows.saturating_mul(p.heads), 4), 1, 1];
    /// Gradient of the queries, `D <= 16`.
    PACKED_DQ_16: PackedAttentionParams = "packed_dq_16" in "packed_backward", 128, backward_shared(16, 2, 0), packed_rows;
    /// Gradient of the queries, `D <= 64`.
    PACKED_DQ_64: PackedAttentionParams = "packed_dq_64" in "packed_backward", 128, backward_shared(64, 2, 0), packed_rows;
    /// Gradient of the queries, `D <= 128`.
    PACKED_DQ_128: PackedAttentionParams = "packed_dq_128" in "packed_backward", 128, backward_shared(128, 2, 0), packed_rows;
    /// Gradient of the queries, `D <= 256`.
    PACKED_DQ_256: PackedAttentionParams = "packed_dq_256" in "packed_backward", 128, backward_shared(256, 1, 0), packed_rows;
    /// Gradients of the keys and values, `D <= 16`.
    PACKED_DKV_16: PackedAttentionParams = "packed_dkv_16" in "packed_backward", 128, backward_shared(16, 2, 512), packed_keys;
    /// Gradients of the keys and values, `D <= 64`.
    PACKED_DKV_64: PackedAttentionParams = "packed_dkv_64" in "packed_backward", 128, backward_shared(64, 2, 512), packed_keys;
    /// Gradients of the keys and values, `D <= 128`.
    PACKED_DKV_128: PackedAttentionParams = "packed_dkv_128" in "packed_backward", 128, backward_shared(128, 2, 512), packed_keys;
    /// Gradients of the keys and values, `D <= 256`.
    PACKED_DKV_256: PackedAttentionParams = "packed_dkv_256" in "packed_backward", 128, backward_shared(256, 1, 512), packed_keys;

    /// `out = bf16(x)`.
    ROUND_ROWS: CopyParams = "round_rows" in "pointwise", 256, 0, |p| vectors(p.row_count, p.columns);
    /// `out = x`.
    COPY_ROWS: CopyParams = "copy_rows" in "pointwise", 256, 0, |p| vectors(p.row_count, p.columns);
    /// `out = silu(gate) ∘ up`.
    SWIGLU_ROWS: SwigluParams = "swiglu_rows" in "pointwise", 256, 0, |p| vectors(p.row_count, p.columns);
    /// Its gradients.
    SWIGLU_BACKWARD: SwigluParams = "swiglu_backward" in "pointwise", 256, 0, |p| vectors(p.row_count, p.columns);
    /// Rotary embedding of rows, and back.
    ROPE_ROWS: RopeParams = "rope_rows" in "pointwise", 256, 0, |p| [blocks(p.row_count, 1), blocks(p.columns / 2, 256), 1];
    /// Gradient of the norm's input.
    RMS_NORM_BACKWARD: RmsNormBackwardParams = "rms_norm_backward" in "rms_norm_backward", 256, 0, |p| [blocks(p.row_count, 1), 1, 1];
    /// Gradient of the norm's weight, 64 rows at a time.
    RMS_NORM_DW: RmsNormBackwardParams = "rms_norm_dw" in "rms_norm_backward", 256, 0, |p| [blocks(p.channels, 256), blocks(p.row_count, 64), 1];
    /// Their sum.
    RMS_NORM_DW_FOLD: RmsNormBackwardParams = "rms_norm_dw_fold" in "rms_norm_backward", 256, 0, |p| [blocks(p.channels, 256), 1, 1];
    /// Gradient of the embedding table.
    EMBED_BACKWARD: EmbedBackwardParams = "embed_backward" in "embed_backward", 256, 0, |p| [blocks(p.segment_count, 1), blocks(p.channels, 256), 1];
    /// A step of AdamW of all parameters with state in f32.
    ADAMW: AdamParams = "adamw" in "adamw", 256, 0, |p| [p.blocks, 1, 1];
    /// A step of AdamW of all parameters with state in bf16.
    ADAMW_HALF: AdamParams = "adamw_half" in "adamw", 256, 0, |p| [p.blocks, 1, 1];
    /// Sums of squares of 16384 elements each.
    SUM_SQUARES: SumSquaresParams = "sum_squares" in "adamw", 256, 0, |p| [p.blocks, 1, 1];
}

/// Elements of a block of [`ADAMW`] and [`ADAMW_HALF`].
pub const ADAMW_CHUNK: u32 = 1024;
/// Elements of a sum of [`SUM_SQUARES`].
pub const SUM_SQUARES_CHUNK: u32 = 16384;

/// `⌈n / per⌉` as a grid extent, 0 for none.
fn blocks(n: i32, per: u32) -> u32 {
    n.max(0).cast_unsigned().div_ceil(per)
}

/// Shared memory of gemm_*: `kGemmMemory`.
const GEMM_SHARED: u32 = 48 << 10;
/// Shared memory of skinny_*_{8,16,32,64}: the shapes in `skinny_kernel.cuh`.
const SKINNY_SHARED: [u32; 4] = [45 << 10, 48 << 10, 48 << 10, 96 << 10];
/// Rows of x and rows of W per block of skinny_*.
const SKINNY_TILE: [(u32, u32); 4] = [(8, 32), (16, 32), (32, 64), (64, 64)];

// Columns come in pairs (epilogue.cuh): a tile of 128 is 64 pairs.
fn tiles(m: i32, pairs: i32) -> [u32; 3] {
    [blocks(m, 128) * blocks(pairs, 64), 1, 1]
}
fn strips<const B: usize>(m: i32, pairs: i32) -> [u32; 3] {
    let (tokens, rows) = SKINNY_TILE[B];
    [blocks(pairs, rows / 2), blocks(m, tokens), 1]
}
fn product_tiles<const M: u32, const N: u32>(p: &ProductParams) -> [u32; 3] {
    let longest = if p.term_count == 1 { p.terms[0].k } else { p.slice };
    [blocks(p.m, M) * blocks(p.n, N), blocks(longest, p.slice.max(1).cast_unsigned()).max(1), 1]
}
fn qkv_pairs(p: &QkvParams) -> i32 {
    (p.heads + 2 * p.kv_heads) * (p.head_dim / 2)
}
fn plain_tiles(p: &GemmParams) -> [u32; 3] {
    tiles(p.m, p.n - p.n / 2)
}
fn gate_tiles(p: &GemmParams) -> [u32; 3] {
    tiles(p.m, p.n)
}
fn qkv_tiles(p: &QkvParams) -> [u32; 3] {
    tiles(p.gemm.m, qkv_pairs(p))
}
fn plain_strips<const B: usize>(p: &GemmParams) -> [u32; 3] {
    strips::<B>(p.m, p.n - p.n / 2)
}
fn gate_strips<const B: usize>(p: &GemmParams) -> [u32; 3] {
    strips::<B>(p.m, p.n)
}
fn qkv_strips<const B: usize>(p: &QkvParams) -> [u32; 3] {
    strips::<B>(p.gemm.m, qkv_pairs(p))
}

/// Index of the skinny bucket for `rows` rows of x, or none where gemm_* is the kernel to take.
const fn bucket(rows: usize) -> Option<usize> {
    match rows {
        0..=8 => Some(0),
        9..=16 => Some(1),
        17..=32 => Some(2),
        33..=64 => Some(3),
        _ => None,
    }
}

/// `out += x Wᵀ + lora` for this many rows of x: skinny up to 64, tiles above. All choices give the same bits.
pub fn add(rows: usize, int8: bool) -> &'static Kernel<GemmParams> {
    const SKINNY: [[&Kernel<GemmParams>; 4]; 2] = [
        [&SKINNY_ADD_8, &SKINNY_ADD_16, &SKINNY_ADD_32, &SKINNY_ADD_64],
        [&SKINNY_INT8_ADD_8, &SKINNY_INT8_ADD_16, &SKINNY_INT8_ADD_32, &SKINNY_INT8_ADD_64],
    ];
    bucket(rows).map_or([&GEMM_ADD, &GEMM_INT8_ADD][usize::from(int8)], |b| SKINNY[usize::from(int8)][b])
}

/// `out = silu(gate) ∘ up` for this many rows of x, see [`add`].
pub fn swiglu(rows: usize, int8: bool) -> &'static Kernel<GemmParams> {
    const SKINNY: [[&Kernel<GemmParams>; 4]; 2] = [
        [&SKINNY_SWIGLU_8, &SKINNY_SWIGLU_16, &SKINNY_SWIGLU_32, &SKINNY_SWIGLU_64],
        [&SKINNY_INT8_SWIGLU_8, &SKINNY_INT8_SWIGLU_16, &SKINNY_INT8_SWIGLU_32, &SKINNY_INT8_SWIGLU_64],
    ];
    bucket(rows).map_or([&GEMM_SWIGLU, &GEMM_INT8_SWIGLU][usize::from(int8)], |b| SKINNY[usize::from(int8)][b])
}

/// q, k, v with rotary embedding and cache write for this many rows of x, see [`add`].
pub fn qkv(rows: usize, int8: bool) -> &'static Kernel<QkvParams> {
    const SKINNY: [[&Kernel<QkvParams>; 4]; 2] = [
        [&SKINNY_QKV_8, &SKINNY_QKV_16, &SKINNY_QKV_32, &SKINNY_QKV_64],
        [&SKINNY_INT8_QKV_8, &SKINNY_INT8_QKV_16, &SKINNY_INT8_QKV_32, &SKINNY_INT8_QKV_64],
    ];
    bucket(rows).map_or([&GEMM_QKV, &GEMM_INT8_QKV][usize::from(int8)], |b| SKINNY[usize::from(int8)][b])
}

/// All logits of this many rows of x, f32; beyond 64 rows the grid repeats the largest bucket.
pub fn logits(rows: usize, int8: bool) -> &'static Kernel<GemmParams> {
    const SKINNY: [[&Kernel<GemmParams>; 4]; 2] = [
        [&SKINNY_LOGITS_8, &SKINNY_LOGITS_16, &SKINNY_LOGITS_32, &SKINNY_LOGITS_64],
        [&SKINNY_INT8_LOGITS_8, &SKINNY_INT8_LOGITS_16, &SKINNY_INT8_LOGITS_32, &SKINNY_INT8_LOGITS_64],
    ];
    SKINNY[usize::from(int8)][bucket(rows).unwrap_or(3)]
}

/// `u = scale · x Aᵀ` of a low-rank update, bf16, any number of rows: `A` has few rows, so blocks are made of few tokens.
pub fn lora_u(rows: usize) -> &'static Kernel<GemmParams> {
    if rows <= 8 { &SKINNY_STORE_8 } else { &SKINNY_STORE_16 }
}

/// Columns or rows of a product up to which its small tiles are taken: a LoRA rank. No bit depends on it.
const NARROW: usize = 64;

/// `Σ xᵢ Wᵢᵀ` for this many columns.
pub fn linear(n: usize) -> &'static Kernel<ProductParams> {
    if n <= NARROW { &LINEAR_TALL } else { &LINEAR }
}

/// `Σ dyᵢ Wᵢ` for this many columns.
pub fn linear_dx(n: usize) -> &'static Kernel<ProductParams> {
    if n <= NARROW { &LINEAR_DX_TALL } else { &LINEAR_DX }
}

/// `dyᵀ x` of this many rows and columns.
pub fn linear_dw(m: usize, n: usize) -> &'static Kernel<ProductParams> {
    match (m <= NARROW, n <= NARROW) {
        (_, true) => &LINEAR_DW_TALL,
        (true, false) => &LINEAR_DW_WIDE,
        (false, false) => &LINEAR_DW,
    }
}

fn items(p: &AttentionParams) -> [u32; 3] {
    [blocks(p.item_count, 1), 1, 1]
}

fn vectors(rows: i32, columns: i32) -> [u32; 3] {
    [blocks(rows, 1), blocks(columns, 2048), 1]
}
fn packed_rows(p: &PackedAttentionParams) -> [u32; 3] {
    [blocks(p.item_count.saturating_mul(p.heads), 1), 1, 1]
}
fn packed_keys(p: &PackedAttentionParams) -> [u32; 3] {
    [blocks(p.item_count.saturating_mul(p.kv_heads), 1), 1, 1]
}

/// Bytes of two tiles of its own and `stages` pairs of streamed ones, each pair with `extra` bytes.
const fn backward_shared(head_dim: u32, stages: u32, extra: u32) -> u32 {
    let rows = if head_dim > 128 { 32 } else { 64 };
    2 * rows * head_dim * 2 + stages * (2 * 64 * head_dim * 2 + extra)
}

/// The kernels of attention over packed examples for one width of heads.
#[derive(Debug, Clone, Copy)]
pub struct Packed {
    /// Rows or keys of an item of work.
    pub rows: usize,
    /// Forward.
    pub forward: &'static Kernel<PackedAttentionParams>,
    /// Gradient of the queries.
    pub dq: &'static Kernel<PackedAttentionParams>,
    /// Gradients of the keys and values.
    pub dkv: &'static Kernel<PackedAttentionParams>,
}

/// The kernels for a head dim; none above 256, 0 or odd.
pub fn packed(head_dim: usize) -> Option<Packed> {
    let of = |rows, forward, dq, dkv| Some(Packed { rows, forward, dq, dkv });
    match head_dim {
        _ if !head_dim.is_multiple_of(2) => None,
        2..=16 => of(64, &PACKED_ATTENTION_16, &PACKED_DQ_16, &PACKED_DKV_16),
        18..=64 => of(64, &PACKED_ATTENTION_64, &PACKED_DQ_64, &PACKED_DKV_64),
        66..=128 => of(64, &PACKED_ATTENTION_128, &PACKED_DQ_128, &PACKED_DKV_128),
        130..=256 => of(32, &PACKED_ATTENTION_256, &PACKED_DQ_256, &PACKED_DKV_256),
        _ => None,
    }
}

fn lse_tiles(p: &HeadLseParams) -> [u32; 3] {
    [blocks(p.m, 128) * blocks(p.n, 128), 1, 1]
}

/// Bytes of the queries, `stages` buffers of 64 keys, a byte for each of a node's ancestors, the item, and what two warps exchange.
const fn attention_shared(head_dim: u32, stages: u32) -> u32 {
    let (rows, exchange) = if head_dim > 128 { (32, 4096 + 256) } else { (64, 0) };
    (rows + stages * 64) * head_dim * 2 + 128 + exchange
}

/// Bytes of the rows and `stages` buffers of 64 of packed_attention_*.
const fn packed_shared(head_dim: u32, stages: u32) -> u32 {
    let rows = if head_dim > 128 { 32 } else { 64 };
    (rows + stages * 64) * head_dim * 2
}

/// The prompt and the split kernel for a head dim; none above 256, 0 or odd.
pub fn attention(head_dim: usize) -> Option<(&'static Kernel<AttentionParams>, &'static Kernel<AttentionParams>)> {
    match head_dim {
        _ if !head_dim.is_multiple_of(2) => None,
        2..=16 => Some((&ATTENTION_PROMPT_16, &ATTENTION_SPLIT_16)),
        18..=32 => Some((&ATTENTION_PROMPT_32, &ATTENTION_SPLIT_32)),
        34..=64 => Some((&ATTENTION_PROMPT_64, &ATTENTION_SPLIT_64)),
        66..=96 => Some((&ATTENTION_PROMPT_96, &ATTENTION_SPLIT_96)),
        98..=128 => Some((&ATTENTION_PROMPT_128, &ATTENTION_SPLIT_128)),
        130..=256 => Some((&ATTENTION_PROMPT_256, &ATTENTION_SPLIT_256)),
        _ => None,
    }
}
