//! What training asks of a device beyond inference: products in all three directions, the backward of each operation, and
//! the optimiser's arithmetic.
//!
//! Gradients of matrix inputs are bf16, those of the residual stream and of parameters f32. Sums run in an order that is a
//! function of the shape alone: the same bits for any number of threads.
//!
//! Activations are `[rows, columns]`, and a device may pad their rows: operations that overwrite one grow it to what they need.
//! Gradients of parameters and the optimiser's state are dense.

use super::{Device, RopeTable, RowSelection};
use crate::Result;
use half::bf16;
use std::ops::Range;

/// One term of a sum of products; low-rank updates are terms too: `[x | u] · [W | B]ᵀ` in the same accumulators.
pub struct Term<'a, D: Device> {
    /// `[T, ·]`.
    pub x: &'a D::Buffer<bf16>,
    /// `[N, K]`.
    pub weight: &'a D::Matrix,
}

/// Where a product goes.
pub enum Output<'a, D: Device> {
    /// Rounded to bf16.
    Round(&'a mut D::Buffer<bf16>),
    /// As it is.
    Store(&'a mut D::Buffer<f32>),
    /// Added to what is there.
    Add(&'a mut D::Buffer<f32>),
}

/// Examples packed one after the other; a row sees those before it in its own example.
pub struct PackedRows<'a> {
    /// The rows of each example, covering all rows in order.
    pub examples: &'a [Range<usize>],
    /// `H`.
    pub heads: usize,
    /// `G`.
    pub kv_heads: usize,
    /// `D`.
    pub head_dim: usize,
    /// Sliding window `W`: row `i` sees rows `i-W < j <= i`.
    pub window: Option<usize>,
}

impl PackedRows<'_> {
    /// `T`.
    pub fn rows(&self) -> usize {
        self.examples.last().map_or(0, |rows| rows.end)
    }
}

/// One step of AdamW (Loshchilov and Hutter, arXiv 1711.05101).
#[derive(Debug, Clone, Copy)]
pub struct AdamStep {
    /// Learning rate of this step.
    pub rate: f32,
    /// Decay of the mean and of the mean square.
    pub beta: [f32; 2],
    /// Added to the root of the mean square.
    pub epsilon: f32,
    /// `1 / (1 - βᵢᵗ)` for step `t`, counted from 1.
    pub correction: [f32; 2],
    /// What gradients are multiplied with first: clipping.
    pub scale: f32,
}

/// One of the parameters that a step changes.
pub struct AdamTensor<'a, D: Device> {
    /// Of the loss, dense.
    pub gradient: &'a D::Buffer<f32>,
    /// Elements.
    pub len: usize,
    /// The optimiser's state.
    pub moments: &'a mut Moments<D>,
    /// The parameter itself.
    pub parameter: Update<'a, D>,
    /// Decoupled weight decay.
    pub decay: f32,
    /// Key of stochastic rounding: made from seed, step and tensor; the element's index is the counter.
    pub key: u64,
}

/// The optimiser's state of one parameter.
pub enum Moments<D: Device> {
    /// Mean, mean square and the parameter itself in f32; the weight is rounded from it.
    Full {
        /// Mean.
        m: D::Buffer<f32>,
        /// Mean square.
        v: D::Buffer<f32>,
        /// The parameter.
        master: D::Buffer<f32>,
    },
    /// Mean and mean square in bf16, no copy of the parameter; all three are rounded stochastically.
    Half {
        /// Mean.
        m: D::Buffer<bf16>,
        /// Mean square.
        v: D::Buffer<bf16>,
    },
}

/// What an optimiser's step changes.
pub enum Update<'a, D: Device> {
    /// A matrix in bf16.
    Matrix(&'a mut D::Matrix),
    /// A vector in f32.
    Vector(&'a mut D::Buffer<f32>),
}

/// The operations of training.
pub trait Backward: Device {
    /// `y = scale · Σᵢ xᵢ Wᵢᵀ` for the first `t` rows; all `Wᵢ` have `N` rows.
    fn linear(&self, terms: &[Term<'_, Self>], t: usize, scale: f32, y: Output<'_, Self>) -> Result<()>;
    /// `dx = scale · Σᵢ dyᵢ Wᵢ` for the first `t` rows; all `Wᵢ` have `K` columns.
    fn linear_dx(&self, terms: &[Term<'_, Self>], t: usize, scale: f32, dx: Output<'_, Self>) -> Result<()>;
    /// `dw += dyᵀ x`, `dy: [T, N]`, `x: [T, K]`, `dw: [N, K]` f32; rows in order.
    fn linear_dw(
        &self,
        dy: (&Self::Buffer<bf16>, usize),
        x: (&Self::Buffer<bf16>, usize),
        t: usize,
        dw: &mut Self::Buffer<f32>,
    ) -> Result<()>;

    /// Copies an activation of `[rows, columns]`.
    fn copy(&self, x: &Self::Buffer<f32>, shape: [usize; 2], out: &mut Self::Buffer<f32>) -> Result<()>;
    /// `out = bf16(x)`, `[rows, columns]`.
    fn round(&self, x: &Self::Buffer<f32>, shape: [usize; 2], out: &mut Self::Buffer<bf16>) -> Result<()>;
    /// Rotary embedding of heads of width `D` in rows of `n` elements; backwards (the transpose) where `inverse`.
    fn rope(
        &self,
        x: &Self::Buffer<f32>,
        n: usize,
        positions: &[u32],
        table: &RopeTable<Self>,
        inverse: bool,
        out: &mut Self::Buffer<bf16>,
    ) -> Result<()>;
    /// `o = softmax(q kᵀ / sqrt(D) + mask) v`, and `lse: [T, H]`, the natural log of each softmax's denominator.
    fn packed_attention(
        &self,
        qkv: [&Self::Buffer<bf16>; 3],
        rows: &PackedRows<'_>,
        o: &mut Self::Buffer<bf16>,
        lse: &mut Self::Buffer<f32>,
    ) -> Result<()>;
    /// Gradients of attention with respect to `q`, `k` and `v`, from `o`, `lse` and `d_o`.
    fn packed_attention_backward(
        &self,
        qkv: [&Self::Buffer<bf16>; 3],
        output: (&Self::Buffer<bf16>, &Self::Buffer<f32>),
        d_o: &Self::Buffer<bf16>,
        rows: &PackedRows<'_>,
        dqkv: [&mut Self::Buffer<f32>; 3],
    ) -> Result<()>;
    /// `a = silu(gate) ∘ up`, `[rows, columns]`.
    fn swiglu(
        &self,
        gate: &Self::Buffer<bf16>,
        up: &Self::Buffer<bf16>,
        shape: [usize; 2],
        a: &mut Self::Buffer<bf16>,
    ) -> Result<()>;
    /// Gradients of SwiGLU with respect to gate and up.
    fn swiglu_backward(
        &self,
        da: &Self::Buffer<bf16>,
        gate: &Self::Buffer<bf16>,
        up: &Self::Buffer<bf16>,
        shape: [usize; 2],
        d: [&mut Self::Buffer<bf16>; 2],
    ) -> Result<()>;
    /// Adds the gradients of RMSNorm: to `dh`, rows as [`Device::rms_norm`] read them, and to `dw` where it is asked for.
    #[allow(clippy::too_many_arguments)]
    fn rms_norm_backward(
        &self,
        dx: &Self::Buffer<f32>,
        h: &Self::Buffer<f32>,
        w: &Self::Buffer<f32>,
        eps: f32,
        rows: RowSelection<'_>,
        dh: &mut Self::Buffer<f32>,
        dw: Option<&mut Self::Buffer<f32>>,
    ) -> Result<()>;
    /// `dtable[tokens[t], :] += dh[t, :]`, rows in order.
    fn embed_backward(
        &self,
        dh: &Self::Buffer<f32>,
        tokens: &[u32],
        c: usize,
        dtable: &mut Self::Buffer<f32>,
    ) -> Result<()>;
    /// Cross-entropy of each row of `x` against its target over the whole vocabulary, f64; the logits of a few rows at a time
    /// are all that ever exists. With `gradient`, also `dx` of `weight · Σ losses`, and `dhead +=` where it is asked for.
    fn cross_entropy(
        &self,
        x: &Self::Buffer<bf16>,
        head: &Self::Matrix,
        targets: &[u32],
        gradient: Option<LossGradient<'_, Self>>,
    ) -> Result<Vec<f64>>;

    /// `out = x ∘ mask / (1 - p)`, `[rows, columns]`, where an element of the mask is 0 with probability `p`, by `key` and the
    /// element's index without padding.
    fn dropout(
        &self,
        x: &Self::Buffer<bf16>,
        shape: [usize; 2],
        p: f32,
        key: u64,
        out: &mut Self::Buffer<bf16>,
    ) -> Result<()>;
    /// `dx += dz ∘ mask / (1 - p)` with the same mask.
    fn dropout_backward(
        &self,
        dz: &Self::Buffer<f32>,
        shape: [usize; 2],
        p: f32,
        key: u64,
        dx: &mut Self::Buffer<f32>,
    ) -> Result<()>;

    /// Zeroes an activation of `[rows, columns]`; what has one row is dense.
    fn clear(&self, x: &mut Self::Buffer<f32>, shape: [usize; 2]) -> Result<()>;
    /// `Σ x²` of the first elements of each vector in f64, in chunks fixed by position. All vectors at once.
    fn sum_squares(&self, xs: &[(&Self::Buffer<f32>, usize)]) -> Result<Vec<f64>>;
    /// One step of AdamW of all parameters at once; each becomes what it would alone.
    fn adamw(&self, step: &AdamStep, tensors: Vec<AdamTensor<'_, Self>>) -> Result<()>;
    /// Overwrites a matrix, which from then on has memory of its own.
    fn write_matrix(&self, matrix: &mut Self::Matrix, values: &[bf16]) -> Result<()>;
    /// The values of a matrix.
    fn read_matrix(&self, matrix: &Self::Matrix) -> Result<Vec<bf16>>;
}

/// What [`Backward::cross_entropy`] does beyond the losses.
pub struct LossGradient<'a, D: Device> {
    /// What each row's loss counts.
    pub weight: f32,
    /// `[T, C]`, overwritten.
    pub dx: &'a mut D::Buffer<f32>,
    /// `[V, C]`, added to.
    pub dhead: Option<&'a mut D::Buffer<f32>>,
}
