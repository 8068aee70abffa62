//! Dropout: masks from counters, never stored, the processor's bit for bit.

use crate::Result;
use crate::device::cuda::matrix::padded;
use crate::device::cuda::memory::Buffer;
use crate::device::cuda::{Cuda, int, need, residual};
use biomistral_nlu_kernels::params::DropoutParams;
use biomistral_nlu_kernels::table::{DROPOUT, DROPOUT_BACKWARD};
use half::bf16;

/// Everything but the addresses.
fn params(op: &str, [rows, columns]: [usize; 2], ld: usize, p: f32, key: u64) -> Result<DropoutParams> {
    let (rows, columns, ld) = (int(op, rows)?, int(op, columns)?, ld as i64);
    Ok(DropoutParams { x: 0, out: 0, ldx: ld, ldo: ld, key, rows, columns, p, keep: 1.0 / (1.0 - p) })
}

/// `out = x ∘ mask / (1 - p)`.
pub(super) fn forward(
    cuda: &Cuda,
    x: &Buffer<bf16>,
    shape: [usize; 2],
    p: f32,
    key: u64,
    out: &mut Buffer<bf16>,
) -> Result<()> {
    let (op, ld) = ("dropout", padded(shape[1]));
    need(op, "x", shape[0] * ld, x.len())?;
    out.reserve(shape[0] * ld)?;
    let params = DropoutParams { x: x.address(0), out: out.address(0), ..params(op, shape, ld, p, key)? };
    cuda.op(|_| cuda.shared.launch(&DROPOUT, &params))
}

/// `dx += dz ∘ mask / (1 - p)`.
pub(super) fn backward(
    cuda: &Cuda,
    dz: &Buffer<f32>,
    shape: [usize; 2],
    p: f32,
    key: u64,
    dx: &mut Buffer<f32>,
) -> Result<()> {
    let (op, ld) = ("dropout_backward", residual(shape[1]));
    need(op, "dz", shape[0] * ld, dz.len())?;
    need(op, "dx", shape[0] * ld, dx.len())?;
    let params = DropoutParams { x: dz.address(0), out: dx.address(0), ..params(op, shape, ld, p, key)? };
    cuda.op(|_| cuda.shared.launch(&DROPOUT_BACKWARD, &params))
}
