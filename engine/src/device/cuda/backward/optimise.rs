//! The optimiser's arithmetic. Every operation is rounded as on the processor, so both devices take the same step.

use super::super::memory::Buffer;
use super::super::state::State;
use super::super::{Cuda, CudaMatrix, Shared, int, need};
use crate::device::{AdamStep, Moments, Update};
use crate::{Error, Result};
use biomistral_nlu_kernels::params::{AdamParams, SumSquaresParams};
use biomistral_nlu_kernels::table::{ADAMW, ADAMW_HALF, SUM_SQUARES, SUM_SQUARES_CHUNK};

/// See [`crate::device::Backward::sum_squares`].
pub(super) fn sum_squares(shared: &Shared, state: &mut State, x: &Buffer<f32>, len: usize) -> Result<f64> {
    let op = "sum_squares";
    need(op, "x", len, x.len())?;
    let mut sums = vec![0f64; len.div_ceil(SUM_SQUARES_CHUNK as usize)];
    state.scratch.begin(&[size_of_val(&sums[..])])?;
    let (at, out) = state.scratch.take(size_of_val(&sums[..]));
    let params = SumSquaresParams { x: x.address(0), out, length: int(op, len)?.cast_unsigned(), reserved: 0 };
    shared.launch(&SUM_SQUARES, &params)?;
    state.scratch.read(op, at, &mut sums)?;
    Ok(sums.iter().sum())
}

/// See [`crate::device::Backward::adamw`].
pub(super) fn adamw(
    shared: &Shared,
    step: &AdamStep,
    gradient: &Buffer<f32>,
    len: usize,
    moments: &mut Moments<Cuda>,
    parameter: Update<'_, Cuda>,
) -> Result<()> {
    let op = "adamw";
    need(op, "gradient", len, gradient.len())?;
    let mut params = AdamParams {
        gradient: gradient.address(0),
        key: step.key,
        length: int(op, len)?.cast_unsigned(),
        columns: 1,
        beta: step.beta,
        rest: step.beta.map(|beta| 1.0 - beta),
        correction: step.correction,
        epsilon: step.epsilon,
        rate: step.rate,
        decay: step.rate * step.decay,
        scale: step.scale,
        ..AdamParams::default()
    };
    if let Update::Matrix(matrix) = &parameter {
        weight(&mut params, matrix, len)?;
    }
    match (moments, parameter) {
        (Moments::Full { m, v, master }, parameter) => {
            let master = match parameter {
                Update::Matrix(_) => master,
                Update::Vector(vector) => vector,
            };
            for (name, x) in [("m", &*m), ("v", &*v), ("parameter", &*master)] {
                need(op, name, len, x.len())?;
            }
            (params.m, params.v, params.master) = (m.address(0), v.address(0), master.address(0));
            shared.launch(&ADAMW, &params)
        }
        (Moments::Half { m, v }, Update::Matrix(_)) => {
            need(op, "m", len, m.len())?;
            need(op, "v", len, v.len())?;
            (params.m, params.v) = (m.address(0), v.address(0));
            shared.launch(&ADAMW_HALF, &params)
        }
        (Moments::Half { .. }, Update::Vector(_)) => Err(Error::invalid("adamw: a vector needs state in f32")),
    }
}

fn weight(params: &mut AdamParams, matrix: &CudaMatrix, len: usize) -> Result<()> {
    if matrix.int8() {
        return Err(Error::unsupported("training of a matrix of int8"));
    }
    if matrix.rows * matrix.cols != len {
        return Err(Error::shape("adamw, matrix", len, matrix.rows * matrix.cols));
    }
    let weight = matrix.weight();
    (params.weight, params.ld, params.columns) = (weight.data, weight.ld, int("adamw", matrix.cols)?.cast_unsigned());
    Ok(())
}
