//! The operations a transformer needs, as one trait, and its devices.
//!
//! Shape letters: `T` packed rows of a pass, `H` query heads, `G` key/value heads, `D` head dim, `C` model dim, `F`
//! feed-forward dim, `V` vocabulary, `R` LoRA rank. Activations that enter a matrix product are bf16, everything else
//! (residual stream, accumulators) f32. Every operation computes a row's result from that row's inputs alone, in an order
//! fixed by the shape, so results do not depend on the batch, the number of threads or the cache.
//!
//! Operations are fused as a GPU wants them: projection with rotary embedding and cache write, gate and up with SwiGLU,
//! projection with residual add. A device may split them; the model is written once over this trait.

mod backward;
mod choice;
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod layout;
mod plan;
#[cfg(test)]
pub(crate) mod reference;

pub use backward::{AdamStep, AdamTensor, Backward, LossGradient, Moments, Output, PackedRows, Term, Update};
pub use choice::{DeviceChoice, WeightStorage};
pub use layout::{Layout, SequenceRows};
pub use plan::{Granularity, MemoryPlan};

use crate::Result;
pub use crate::weights::HostMatrix;
use half::bf16;
use std::ops::Range;

/// Element types that live in device buffers.
pub trait Element: bytemuck::Pod + Send + Sync {}
impl Element for f32 {}
impl Element for bf16 {}

/// Low-rank update of one projection for a range of packed rows: `y += (scale · x Aᵀ) Bᵀ`, inside the accumulators.
pub struct LoraPart<'a, D: Device> {
    /// Packed rows of the pass it applies to.
    pub rows: Range<usize>,
    /// `A`: `[R, K]`.
    pub a: &'a D::Matrix,
    /// `B`: `[N, R]`.
    pub b: &'a D::Matrix,
    /// `alpha / R` (or `alpha / sqrt(R)` for rank-stabilised adapters).
    pub scale: f32,
}

/// A projection: its weight and the low-rank updates of this pass (row ranges disjoint, possibly none).
pub struct Linear<'a, D: Device> {
    /// `[N, K]`.
    pub weight: &'a D::Matrix,
    /// Updates, one per range of rows that has an adapter touching this weight.
    pub lora: &'a [LoraPart<'a, D>],
}

/// Cosines and sines `[positions, D/2]` each, f32, of angles `p · theta^(-2i/D)` computed in f64.
pub struct RopeTable<D: Device> {
    /// Cosines.
    pub cos: D::Buffer<f32>,
    /// Sines.
    pub sin: D::Buffer<f32>,
    /// Number of positions tabulated.
    pub positions: usize,
}

/// Where keys and values of one layer's pass go and come from.
pub struct Attention<'a, D: Device> {
    /// Storage of all layers.
    pub kv: &'a mut D::Kv,
    /// Which layer.
    pub layer: usize,
    /// Rows of the pass and the cache pages of their sequences.
    pub layout: &'a Layout,
    /// `H`.
    pub heads: usize,
    /// Sliding window `W`: keys `i-W < j <= i` by position.
    pub window: Option<usize>,
}

/// One place where a transformer can run.
///
/// All buffers are row-major and may be longer than needed; the first `T` rows count. Methods panic never; a wrong shape
/// is [`crate::Error::Shape`], a failed launch [`crate::Error::Device`].
pub trait Device: Send + Sync + Sized + 'static {
    /// A weight matrix `[N, K]` in bf16, resident.
    type Matrix: Send + Sync;
    /// A growable activation buffer.
    type Buffer<T: Element>: Send + Sync;
    /// Keys and values of all layers in pages of [`Device::kv_page`] keys.
    type Kv: Send;

    /// What decides the last bits of every result: device, instruction set, kernel set and reduction layout.
    fn fingerprint(&self) -> String;

    /// Makes a weight resident, in the storage the device was opened for. A mapped file may stay mapped.
    fn matrix(&self, host: HostMatrix) -> Result<Self::Matrix>;
    /// Makes a matrix resident as it is: an embedding table, a low-rank factor.
    fn matrix_bf16(&self, host: HostMatrix) -> Result<Self::Matrix> {
        self.matrix(host)
    }
    /// A zeroed buffer of `len` elements.
    fn buffer<T: Element>(&self, len: usize) -> Result<Self::Buffer<T>>;
    /// Grows `buffer` to at least `len` elements, contents kept.
    fn reserve<T: Element>(&self, buffer: &mut Self::Buffer<T>, len: usize) -> Result<()>;
    /// Copies `data` to element `at`.
    fn write<T: Element>(&self, buffer: &mut Self::Buffer<T>, at: usize, data: &[T]) -> Result<()>;
    /// Copies `out.len()` elements from element `at`.
    fn read<T: Element>(&self, buffer: &Self::Buffer<T>, at: usize, out: &mut [T]) -> Result<()>;

    /// Keys per page, a constant of the device.
    fn kv_page(&self) -> usize;
    /// Empty storage for `layers` layers of `kv_heads` heads of width `head_dim`.
    fn kv(&self, layers: usize, kv_heads: usize, head_dim: usize) -> Result<Self::Kv>;
    /// Makes pages `0..pages` usable; existing ones keep their contents.
    fn kv_reserve(&self, kv: &mut Self::Kv, pages: usize) -> Result<()>;
    /// Bytes of one page over all layers.
    fn kv_page_bytes(&self, kv: &Self::Kv) -> usize;
    /// Copies the first `keys` keys of page `from` to page `to`, all layers.
    fn kv_copy(&self, kv: &mut Self::Kv, from: u32, to: u32, keys: usize) -> Result<()>;
    /// Moves keys between slots of the sequence whose pages are `pages`: slot `from` to slot `to`, in order, all layers.
    fn kv_move(&self, kv: &mut Self::Kv, pages: &[u32], moves: &[(u32, u32)]) -> Result<()>;

    /// Runs the operations of one forward pass. A device may hold its threads or collect the operations into a graph; what it
    /// learns too late to fail one of them fails the pass.
    fn pass<R>(&self, run: impl FnOnce() -> Result<R>) -> Result<R> {
        run()
    }

    /// `h[t, :] = table[tokens[t], :]`, `h: [T, C]` f32.
    fn embed(&self, table: &Self::Matrix, tokens: &[u32], h: &mut Self::Buffer<f32>) -> Result<()>;
    /// `x[i, :] = h[r_i, :] · rsqrt(mean(h[r_i, :]²) + eps) ∘ w`; `r` is `0..T` or the given rows; `h` f32, `x` bf16, `w: [C]` f32.
    fn rms_norm(
        &self,
        h: &Self::Buffer<f32>,
        w: &Self::Buffer<f32>,
        eps: f32,
        rows: RowSelection<'_>,
        x: &mut Self::Buffer<bf16>,
        x_row: usize,
    ) -> Result<()>;
    /// `q, k, v = x Wqᵀ, x Wkᵀ, x Wvᵀ`; rotate-half rotary embedding of `q` and `k` at the layout's positions; `q` (bf16,
    /// `[T, H·D]`) is returned, `k` and `v` go to the layout's cache slots.
    fn qkv(
        &self,
        x: &Self::Buffer<bf16>,
        weights: [Linear<'_, Self>; 3],
        rope: &RopeTable<Self>,
        at: &mut Attention<'_, Self>,
        q: &mut Self::Buffer<bf16>,
    ) -> Result<()>;
    /// `o = softmax(q kᵀ / sqrt(D) + mask) v` per head, `o: [T, H·D]` bf16; row `t` of query head `h` reads kv head
    /// `h / (H/G)` and sees what [`SequenceRows`] says.
    fn attention(&self, q: &Self::Buffer<bf16>, at: &mut Attention<'_, Self>, o: &mut Self::Buffer<bf16>)
    -> Result<()>;
    /// `h[t, :] += x[t, :] · Wᵀ` for `t < T`, f32.
    fn linear_add(
        &self,
        x: &Self::Buffer<bf16>,
        weight: Linear<'_, Self>,
        t: usize,
        h: &mut Self::Buffer<f32>,
    ) -> Result<()>;
    /// `a = silu(x Wgᵀ) ∘ (x Wuᵀ)`, `a: [T, F]` bf16.
    fn gate_up(
        &self,
        x: &Self::Buffer<bf16>,
        gate: Linear<'_, Self>,
        up: Linear<'_, Self>,
        t: usize,
        a: &mut Self::Buffer<bf16>,
    ) -> Result<()>;

    /// Log-sum-exp over all `V` logits of each row in `rows` of `x`, natural log, f64; logits are never stored.
    fn head_lse(&self, x: &Self::Buffer<bf16>, head: &Self::Matrix, rows: &[u32]) -> Result<Vec<f64>>;
    /// Logits of chosen vocabulary rows: for each `(row of x, ids)`, `x[row] · head[id]`, concatenated in order. The same bits
    /// as [`Device::head_all`] gives for the same row and id.
    fn head_some(&self, x: &Self::Buffer<bf16>, head: &Self::Matrix, asks: &[(u32, &[u32])]) -> Result<Vec<f32>>;
    /// All `V` logits of one row.
    fn head_all(&self, x: &Self::Buffer<bf16>, head: &Self::Matrix, row: u32) -> Result<Vec<f32>>;
}

/// Which rows an operation reads.
#[derive(Debug, Clone, Copy)]
pub enum RowSelection<'a> {
    /// Rows `0..T`.
    All(usize),
    /// These rows, in this order.
    Some(&'a [u32]),
}
