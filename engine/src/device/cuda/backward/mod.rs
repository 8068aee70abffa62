//! The operations of training on a CUDA device.
//!
//! Rows lie as in the forward pass: bf16 ones `padded` and f32 ones `residual` elements apart. What is written grows as
//! needed. Gradients of parameters and the optimiser's state are dense.

mod attention;
mod dropout;
mod loss;
mod optimise;
mod product;
mod rows;

use super::memory::Buffer;
use super::{Cuda, CudaMatrix};
use crate::Result;
use crate::device::{AdamStep, AdamTensor, Backward, LossGradient, Output, PackedRows, RopeTable, RowSelection, Term};
use half::bf16;

impl Backward for Cuda {
    fn linear(&self, terms: &[Term<'_, Self>], t: usize, scale: f32, y: Output<'_, Self>) -> Result<()> {
        product::linear(self, terms, t, scale, y)
    }

    fn linear_dx(&self, terms: &[Term<'_, Self>], t: usize, scale: f32, dx: Output<'_, Self>) -> Result<()> {
        product::linear_dx(self, terms, t, scale, dx)
    }

    fn linear_dw(
        &self,
        dy: (&Buffer<bf16>, usize),
        x: (&Buffer<bf16>, usize),
        t: usize,
        dw: &mut Buffer<f32>,
    ) -> Result<()> {
        product::linear_dw(self, dy, x, t, dw)
    }

    fn copy(&self, x: &Buffer<f32>, shape: [usize; 2], out: &mut Buffer<f32>) -> Result<()> {
        self.op(|_| rows::copy(&self.shared, x, shape, out))
    }

    fn round(&self, x: &Buffer<f32>, shape: [usize; 2], out: &mut Buffer<bf16>) -> Result<()> {
        self.op(|_| rows::round(&self.shared, x, shape, out))
    }

    fn rope(
        &self,
        x: &Buffer<f32>,
        n: usize,
        positions: &[u32],
        table: &RopeTable<Self>,
        inverse: bool,
        out: &mut Buffer<bf16>,
    ) -> Result<()> {
        self.op(|state| rows::rope(&self.shared, state, x, n, positions, table, inverse, out))
    }

    fn packed_attention(
        &self,
        qkv: [&Buffer<bf16>; 3],
        rows: &PackedRows<'_>,
        o: &mut Buffer<bf16>,
        lse: &mut Buffer<f32>,
    ) -> Result<()> {
        self.op(|state| attention::forward(&self.shared, state, qkv, rows, o, lse))
    }

    fn packed_attention_backward(
        &self,
        qkv: [&Buffer<bf16>; 3],
        output: (&Buffer<bf16>, &Buffer<f32>),
        d_o: &Buffer<bf16>,
        rows: &PackedRows<'_>,
        dqkv: [&mut Buffer<f32>; 3],
    ) -> Result<()> {
        self.op(|state| attention::backward(&self.shared, state, qkv, output, d_o, rows, dqkv))
    }

    fn swiglu(&self, gate: &Buffer<bf16>, up: &Buffer<bf16>, shape: [usize; 2], a: &mut Buffer<bf16>) -> Result<()> {
        self.op(|_| rows::swiglu(&self.shared, gate, up, shape, a))
    }

    fn swiglu_backward(
        &self,
        da: &Buffer<bf16>,
        gate: &Buffer<bf16>,
        up: &Buffer<bf16>,
        shape: [usize; 2],
        d: [&mut Buffer<bf16>; 2],
    ) -> Result<()> {
        self.op(|_| rows::swiglu_backward(&self.shared, da, gate, up, shape, d))
    }

    fn rms_norm_backward(
        &self,
        dx: &Buffer<f32>,
        h: &Buffer<f32>,
        w: &Buffer<f32>,
        eps: f32,
        rows: RowSelection<'_>,
        dh: &mut Buffer<f32>,
        dw: Option<&mut Buffer<f32>>,
    ) -> Result<()> {
        self.op(|state| rows::rms_norm_backward(&self.shared, state, dx, h, w, eps, rows, dh, dw))
    }

    fn embed_backward(&self, dh: &Buffer<f32>, tokens: &[u32], c: usize, dtable: &mut Buffer<f32>) -> Result<()> {
        self.op(|state| rows::embed_backward(&self.shared, state, dh, tokens, c, dtable))
    }

    fn cross_entropy(
        &self,
        x: &Buffer<bf16>,
        head: &CudaMatrix,
        targets: &[u32],
        gradient: Option<LossGradient<'_, Self>>,
    ) -> Result<Vec<f64>> {
        loss::cross_entropy(self, x, head, targets, gradient)
    }

    fn dropout(&self, x: &Buffer<bf16>, shape: [usize; 2], p: f32, key: u64, out: &mut Buffer<bf16>) -> Result<()> {
        dropout::forward(self, x, shape, p, key, out)
    }

    fn dropout_backward(
        &self,
        dz: &Buffer<f32>,
        shape: [usize; 2],
        p: f32,
        key: u64,
        dx: &mut Buffer<f32>,
    ) -> Result<()> {
        dropout::backward(self, dz, shape, p, key, dx)
    }

    fn clear(&self, x: &mut Buffer<f32>, shape: [usize; 2]) -> Result<()> {
        self.op(|_| rows::clear(x, shape))
    }

    fn sum_squares(&self, xs: &[(&Buffer<f32>, usize)]) -> Result<Vec<f64>> {
        self.op(|state| optimise::sum_squares(&self.shared, state, xs))
    }

    fn adamw(&self, step: &AdamStep, tensors: Vec<AdamTensor<'_, Self>>) -> Result<()> {
        self.op(|state| optimise::adamw(&self.shared, state, step, tensors))
    }

    fn write_matrix(&self, matrix: &mut CudaMatrix, values: &[bf16]) -> Result<()> {
        self.op(|_| matrix.write(values))
    }

    fn read_matrix(&self, matrix: &CudaMatrix) -> Result<Vec<bf16>> {
        self.op(|_| matrix.read())
    }
}
