//! The optimiser's arithmetic: one launch for all parameters of a kind, whose blocks find theirs in a table. Every operation is
//! rounded as on the processor, so both devices take the same step.

use super::super::launch::bytes_of;
use super::super::memory::Buffer;
use super::super::state::State;
use super::super::{Cuda, CudaMatrix, Shared, int, need};
use crate::device::{AdamStep, AdamTensor, Moments, Update};
use crate::{Error, Result};
use biomistral_nlu_kernels::params::{self, AdamParams, SquaresTensor, SumSquaresParams};
use biomistral_nlu_kernels::table::{ADAMW, ADAMW_CHUNK, ADAMW_HALF, SUM_SQUARES, SUM_SQUARES_CHUNK};

/// The entries of a launch and the number of their blocks.
struct Table<T> {
    entries: Vec<T>,
    blocks: usize,
}

impl<T: Copy + 'static> Table<T> {
    fn new() -> Self {
        Table { entries: Vec::new(), blocks: 0 }
    }

    /// Appends what `entry` makes of the number of its first block.
    fn push(&mut self, op: &str, blocks: usize, entry: impl FnOnce(u32) -> T) -> Result<()> {
        let first = int(op, self.blocks)?.cast_unsigned();
        self.entries.push(entry(first));
        self.blocks += blocks;
        Ok(())
    }

    /// Its address on the device, the number of entries and that of blocks.
    fn put(&self, op: &str, state: &mut State) -> Result<(u64, u32, u32)> {
        let (count, blocks) = (int(op, self.entries.len())?, int(op, self.blocks)?);
        Ok((state.lists.put(bytes_of(&self.entries))?, count.cast_unsigned(), blocks.cast_unsigned()))
    }
}

/// See [`crate::device::Backward::sum_squares`].
pub(super) fn sum_squares(shared: &Shared, state: &mut State, xs: &[(&Buffer<f32>, usize)]) -> Result<Vec<f64>> {
    let (op, chunk) = ("sum_squares", SUM_SQUARES_CHUNK as usize);
    let mut table = Table::new();
    for (x, len) in xs {
        need(op, "x", *len, x.len())?;
        let length = int(op, *len)?.cast_unsigned();
        table.push(op, len.div_ceil(chunk), |first| SquaresTensor { x: x.address(0), length, first })?;
    }
    let mut sums = vec![0f64; table.blocks];
    state.scratch.begin(&[size_of_val(&sums[..])])?;
    let (at, out) = state.scratch.take(size_of_val(&sums[..]));
    let (tensors, count, blocks) = table.put(op, state)?;
    shared.launch(&SUM_SQUARES, &SumSquaresParams { tensors, out, count, blocks })?;
    state.scratch.read(op, at, &mut sums)?;
    let mut rest = &sums[..];
    let of = |(_, len): &(_, usize)| {
        let (own, others) = rest.split_at(len.div_ceil(chunk));
        rest = others;
        own.iter().sum()
    };
    Ok(xs.iter().map(of).collect())
}

/// See [`crate::device::Backward::adamw`].
pub(super) fn adamw(
    shared: &Shared,
    state: &mut State,
    step: &AdamStep,
    tensors: Vec<AdamTensor<'_, Cuda>>,
) -> Result<()> {
    let op = "adamw";
    let (mut full, mut half) = (Table::new(), Table::new());
    for AdamTensor { gradient, len, moments, parameter, decay, key } in tensors {
        need(op, "gradient", len, gradient.len())?;
        let mut entry = params::AdamTensor {
            gradient: gradient.address(0),
            key,
            length: int(op, len)?.cast_unsigned(),
            columns: 1,
            decay: step.rate * decay,
            ..params::AdamTensor::default()
        };
        if let Update::Matrix(matrix) = &parameter {
            weight(&mut entry, matrix, len)?;
        }
        let table = match (moments, parameter) {
            (Moments::Full { m, v, master }, parameter) => {
                let master = match parameter {
                    Update::Matrix(_) => master,
                    Update::Vector(vector) => vector,
                };
                for (name, x) in [("m", &*m), ("v", &*v), ("parameter", &*master)] {
                    need(op, name, len, x.len())?;
                }
                (entry.m, entry.v, entry.master) = (m.address(0), v.address(0), master.address(0));
                &mut full
            }
            (Moments::Half { m, v }, Update::Matrix(_)) => {
                need(op, "m", len, m.len())?;
                need(op, "v", len, v.len())?;
                (entry.m, entry.v) = (m.address(0), v.address(0));
                &mut half
            }
            (Moments::Half { .. }, Update::Vector(_)) => {
                return Err(Error::invalid("adamw: a vector needs state in f32"));
            }
        };
        table.push(op, len.div_ceil(ADAMW_CHUNK as usize), |first| params::AdamTensor { first, ..entry })?;
    }
    for (kernel, table) in [(&ADAMW, full), (&ADAMW_HALF, half)] {
        let (tensors, count, blocks) = table.put(op, state)?;
        let params = AdamParams {
            tensors,
            beta: step.beta,
            rest: step.beta.map(|beta| 1.0 - beta),
            correction: step.correction,
            epsilon: step.epsilon,
            rate: step.rate,
            scale: step.scale,
            count,
            blocks,
            reserved: 0,
        };
        shared.launch(kernel, &params)?;
    }
    Ok(())
}

fn weight(entry: &mut params::AdamTensor, matrix: &CudaMatrix, len: usize) -> Result<()> {
    if matrix.int8() {
        return Err(Error::unsupported("training of a matrix of int8"));
    }
    if matrix.rows * matrix.cols != len {
        return Err(Error::shape("adamw, matrix", len, matrix.rows * matrix.cols));
    }
    let weight = matrix.weight();
    (entry.weight, entry.ld, entry.columns) = (weight.data, weight.ld, int("adamw", matrix.cols)?.cast_unsigned());
    Ok(())
}
