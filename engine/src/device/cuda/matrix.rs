//! Weights: uploaded from where the host has them, in bf16 or rounded to int8 with a scale per row, rows padded to whole cache
//! lines.

use super::Shared;
use super::driver::failed;
use super::lists::{copy, pinned};
use super::memory::Memory;
use crate::weights::HostMatrix;
use crate::{Error, Result};
use biomistral_nlu_kernels::params::Weight;
use biomistral_nlu_kernels::{int8_row, quantize_row};
use cudarc::driver::{CudaEvent, PinnedHostSlice};
use half::bf16;
use rayon::prelude::*;
use std::sync::Arc;

/// Columns of matrices and activations are padded to a multiple of this: a cache line of bf16.
pub(super) const COLUMNS: usize = 64;
/// Bytes of each of the two halves that weights pass through.
const HALF: usize = 8 << 20;

/// Elements from row to row of a bf16 matrix with `columns` columns.
pub(super) fn padded(columns: usize) -> usize {
    columns.next_multiple_of(COLUMNS)
}

/// Bytes from row to row of an int8 matrix.
fn int8_bytes(columns: usize) -> usize {
    int8_row(columns).next_multiple_of(COLUMNS * size_of::<bf16>())
}

/// A resident weight `[N, K]`.
pub struct CudaMatrix {
    memory: Memory,
    /// f32 `[N]` of an int8 matrix.
    scales: Option<Memory>,
    pub(super) rows: usize,
    pub(super) cols: usize,
}

impl CudaMatrix {
    /// As kernels take it.
    pub(super) fn weight(&self) -> Weight {
        Weight {
            data: self.memory.address(0),
            scale: self.scales.as_ref().map_or(0, |scales| scales.address(0)),
            ld: (if self.int8() { int8_bytes(self.cols) } else { padded(self.cols) }) as i64,
        }
    }

    /// Whether its values are int8.
    pub(super) fn int8(&self) -> bool {
        self.scales.is_some()
    }

    /// Its values, row by row.
    pub(super) fn read(&self) -> Result<Vec<bf16>> {
        let ld = self.bf16_ld("read_matrix")?;
        let mut values = Vec::with_capacity(self.rows * self.cols);
        let mut rows = vec![bf16::ZERO; (HALF / size_of::<bf16>()).next_multiple_of(ld)];
        let per_turn = rows.len() / ld;
        for first in (0..self.rows).step_by(per_turn) {
            let part = &mut rows[..per_turn.min(self.rows - first) * ld];
            self.memory.read("read_matrix", first * ld * size_of::<bf16>(), bytemuck::cast_slice_mut(part))?;
            part.chunks_exact(ld).for_each(|row| values.extend_from_slice(&row[..self.cols]));
        }
        Ok(values)
    }

    /// Overwrites it with values row by row.
    pub(super) fn write(&mut self, values: &[bf16]) -> Result<()> {
        let ld = self.bf16_ld("write_matrix")?;
        if values.len() != self.rows * self.cols {
            return Err(Error::shape("write_matrix", self.rows * self.cols, values.len()));
        }
        let per_turn = (HALF / size_of::<bf16>()).div_ceil(ld);
        let mut rows = vec![bf16::ZERO; per_turn.min(self.rows) * ld];
        for (turn, values) in values.chunks(per_turn * self.cols).enumerate() {
            let part = &mut rows[..values.len() / self.cols * ld];
            let filled = part.chunks_exact_mut(ld).zip(values.chunks_exact(self.cols));
            filled.for_each(|(to, from)| to[..self.cols].copy_from_slice(from));
            let at = turn * per_turn * ld * size_of::<bf16>();
            self.memory.write("write_matrix", at, bytemuck::cast_slice(part))?;
        }
        Ok(())
    }

    fn bf16_ld(&self, op: &str) -> Result<usize> {
        if self.int8() {
            return Err(Error::unsupported(format!("{op}: a matrix of int8")));
        }
        Ok(padded(self.cols))
    }
}

/// Two pinned buffers in turn: one is filled while the other is copied.
pub(super) struct Staging {
    halves: [(PinnedHostSlice<u8>, CudaEvent); 2],
    turn: usize,
}

impl Staging {
    pub fn new(shared: &Shared) -> Result<Self> {
        let half = || -> Result<_> {
            Ok((pinned(shared, HALF)?, shared.driver.context.new_event(None).map_err(|e| failed("an event", e))?))
        };
        Ok(Self { halves: [half()?, half()?], turn: 0 })
    }

    /// Makes a matrix resident, as int8 if asked for.
    pub fn upload(&mut self, shared: &Arc<Shared>, host: &HostMatrix, int8: bool) -> Result<CudaMatrix> {
        let (rows, cols) = (host.rows, host.cols);
        if rows.checked_mul(cols) != Some(host.data.len()) || host.data.is_empty() {
            return Err(Error::shape("matrix", format!("[{rows}, {cols}]"), host.data.len()));
        }
        let stride = if int8 { int8_bytes(cols) } else { padded(cols) * size_of::<bf16>() };
        if stride > HALF {
            return Err(Error::unsupported(format!("a weight with rows of {cols} values")));
        }
        let memory = Memory::uninitialised(shared, "a weight", rows * stride, false)?;
        let mut scales = vec![0f32; if int8 { rows } else { 0 }];
        let op = "upload of a weight";
        let per_turn = HALF / stride;
        for first in (0..rows).step_by(per_turn) {
            let count = per_turn.min(rows - first);
            let (buffer, copied) = &mut self.halves[self.turn];
            self.turn ^= 1;
            copied.synchronize().map_err(|e| failed(op, e))?;
            let bytes = &mut buffer.as_mut_slice().map_err(|e| failed(op, e))?[..count * stride];
            let from = host.data[first * cols..(first + count) * cols].par_chunks_exact(cols);
            let filled = bytes.par_chunks_exact_mut(stride).zip(from);
            match int8 {
                false => filled.for_each(|(to, from)| {
                    let (values, padding) = to.split_at_mut(cols * size_of::<bf16>());
                    values.copy_from_slice(bytemuck::cast_slice(from));
                    padding.fill(0);
                }),
                true => filled.zip(&mut scales[first..first + count]).for_each(|((to, from), scale)| {
                    let row: Vec<f32> = from.iter().map(|value| value.to_f32()).collect();
                    *scale = quantize_row(&row, bytemuck::cast_slice_mut(to));
                }),
            }
            copy(shared, memory.address(first * stride), bytes).map_err(|e| failed(op, e))?;
            copied.record(&shared.driver.stream).map_err(|e| failed(op, e))?;
        }
        let scales = match int8 {
            false => None,
            true => {
                let mut on_device =
                    Memory::uninitialised(shared, "scales of a weight", rows * size_of::<f32>(), false)?;
                on_device.write(op, 0, bytemuck::cast_slice(&scales))?;
                Some(on_device)
            }
        };
        Ok(CudaMatrix { memory, scales, rows, cols })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // The device may still read; an error is told where the stream is next waited for.
        for (_, copied) in &self.halves {
            let _ = copied.synchronize();
        }
    }
}
