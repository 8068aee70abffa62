//! The operations of training on a CUDA device.
//!
//! Rows lie as in the forward pass: bf16 ones `padded` and f32 ones `residual` elements apart. What is written grows as
//! needed. Gradients of parameters and the optimiser's state are dense.

use super::memory::Buffer;
use super::{Cuda, CudaMatrix};
use crate::device::{
    AdamStep, Backward, LossGradient, Moments, Output, PackedRows, RopeTable, RowSelection, Term, Update,
};
use crate::{Error, Result};
use half::bf16;

fn missing(op: &str) -> Error {
    Error::unsupported(format!("{op} on CUDA"))
}

impl Backward for Cuda {
    fn linear(&self, _terms: &[Term<'_, Self>], _t: usize, _scale: f32, _y: Output<'_, Self>) -> Result<()> {
        Err(missing("linear"))
    }

    fn linear_dx(&self, _terms: &[Term<'_, Self>], _t: usize, _scale: f32, _dx: Output<'_, Self>) -> Result<()> {
        Err(missing("linear_dx"))
    }

    fn linear_dw(
        &self,
        _dy: (&Buffer<bf16>, usize),
        _x: (&Buffer<bf16>, usize),
        _t: usize,
        _dw: &mut Buffer<f32>,
    ) -> Result<()> {
        Err(missing("linear_dw"))
    }

    fn copy(&self, _x: &Buffer<f32>, _shape: [usize; 2], _out: &mut Buffer<f32>) -> Result<()> {
        Err(missing("copy"))
    }

    fn round(&self, _x: &Buffer<f32>, _shape: [usize; 2], _out: &mut Buffer<bf16>) -> Result<()> {
        Err(missing("round"))
    }

    fn rope(
        &self,
        _x: &Buffer<f32>,
        _n: usize,
        _positions: &[u32],
        _table: &RopeTable<Self>,
        _inverse: bool,
        _out: &mut Buffer<bf16>,
    ) -> Result<()> {
        Err(missing("rope"))
    }

    fn packed_attention(
        &self,
        _qkv: [&Buffer<bf16>; 3],
        _rows: &PackedRows<'_>,
        _o: &mut Buffer<bf16>,
        _lse: &mut Buffer<f32>,
    ) -> Result<()> {
        Err(missing("packed_attention"))
    }

    fn packed_attention_backward(
        &self,
        _qkv: [&Buffer<bf16>; 3],
        _output: (&Buffer<bf16>, &Buffer<f32>),
        _d_o: &Buffer<bf16>,
        _rows: &PackedRows<'_>,
        _dqkv: [&mut Buffer<f32>; 3],
    ) -> Result<()> {
        Err(missing("packed_attention_backward"))
    }

    fn swiglu(
        &self,
        _gate: &Buffer<bf16>,
        _up: &Buffer<bf16>,
        _shape: [usize; 2],
        _a: &mut Buffer<bf16>,
    ) -> Result<()> {
        Err(missing("swiglu"))
    }

    fn swiglu_backward(
        &self,
        _da: &Buffer<bf16>,
        _gate: &Buffer<bf16>,
        _up: &Buffer<bf16>,
        _shape: [usize; 2],
        _d: [&mut Buffer<bf16>; 2],
    ) -> Result<()> {
        Err(missing("swiglu_backward"))
    }

    fn rms_norm_backward(
        &self,
        _dx: &Buffer<f32>,
        _h: &Buffer<f32>,
        _w: &Buffer<f32>,
        _eps: f32,
        _rows: RowSelection<'_>,
        _dh: &mut Buffer<f32>,
        _dw: Option<&mut Buffer<f32>>,
    ) -> Result<()> {
        Err(missing("rms_norm_backward"))
    }

    fn embed_backward(&self, _dh: &Buffer<f32>, _tokens: &[u32], _c: usize, _dtable: &mut Buffer<f32>) -> Result<()> {
        Err(missing("embed_backward"))
    }

    fn cross_entropy(
        &self,
        _x: &Buffer<bf16>,
        _head: &CudaMatrix,
        _targets: &[u32],
        _gradient: Option<LossGradient<'_, Self>>,
    ) -> Result<Vec<f64>> {
        Err(missing("cross_entropy"))
    }

    fn dropout(
        &self,
        _x: &Buffer<bf16>,
        _shape: [usize; 2],
        _p: f32,
        _key: u64,
        _out: &mut Buffer<bf16>,
    ) -> Result<()> {
        Err(missing("dropout"))
    }

    fn dropout_backward(
        &self,
        _dz: &Buffer<f32>,
        _shape: [usize; 2],
        _p: f32,
        _key: u64,
        _dx: &mut Buffer<f32>,
    ) -> Result<()> {
        Err(missing("dropout_backward"))
    }

    fn clear(&self, _x: &mut Buffer<f32>, _shape: [usize; 2]) -> Result<()> {
        Err(missing("clear"))
    }

    fn sum_squares(&self, _x: &Buffer<f32>, _len: usize) -> Result<f64> {
        Err(missing("sum_squares"))
    }

    fn adamw(
        &self,
        _step: &AdamStep,
        _gradient: &Buffer<f32>,
        _len: usize,
        _moments: &mut Moments<Self>,
        _parameter: Update<'_, Self>,
    ) -> Result<()> {
        Err(missing("adamw"))
    }

    fn write_matrix(&self, _matrix: &mut CudaMatrix, _values: &[bf16]) -> Result<()> {
        Err(missing("write_matrix"))
    }

    fn read_matrix(&self, _matrix: &CudaMatrix) -> Result<Vec<bf16>> {
        Err(missing("read_matrix"))
    }
}
