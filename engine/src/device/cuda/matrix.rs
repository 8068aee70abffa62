//! Weights: uploaded from where the host has them, rows padded to whole cache lines.

use super::Shared;
use super::driver::failed;
use super::lists::{copy, pinned};
use super::memory::Memory;
use crate::weights::HostMatrix;
use crate::{Error, Result};
use biomistral_nlu_kernels::params::Weight;
use cudarc::driver::{CudaEvent, PinnedHostSlice};
use half::bf16;
use std::sync::Arc;

/// Columns of matrices and activations are padded to a multiple of this: a cache line of bf16.
pub(super) const COLUMNS: usize = 64;
/// Bytes of each of the two halves that weights pass through.
const HALF: usize = 8 << 20;

/// Elements from row to row of a bf16 matrix with `columns` columns.
pub(super) fn padded(columns: usize) -> usize {
    columns.next_multiple_of(COLUMNS)
}

/// A resident weight `[N, K]`.
pub struct CudaMatrix {
    memory: Memory,
    pub(super) rows: usize,
    pub(super) cols: usize,
}

impl CudaMatrix {
    /// As kernels take it.
    pub(super) fn weight(&self) -> Weight {
        Weight { data: self.memory.address(0), scale: 0, ld: padded(self.cols) as i64 }
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

    /// Makes a matrix resident.
    pub fn upload(&mut self, shared: &Arc<Shared>, host: &HostMatrix) -> Result<CudaMatrix> {
        let (rows, cols) = (host.rows, host.cols);
        if rows.checked_mul(cols) != Some(host.data.len()) || host.data.is_empty() {
            return Err(Error::shape("matrix", format!("[{rows}, {cols}]"), host.data.len()));
        }
        let ld = padded(cols);
        let memory = Memory::uninitialised(shared, "a weight", rows * ld * size_of::<bf16>(), false)?;
        let op = "upload of a weight";
        let per_turn = (HALF / (ld * size_of::<bf16>())).max(1);
        if ld * size_of::<bf16>() > HALF {
            return Err(Error::unsupported(format!("a weight with rows of {cols} values")));
        }
        for first in (0..rows).step_by(per_turn) {
            let count = per_turn.min(rows - first);
            let (buffer, copied) = &mut self.halves[self.turn];
            self.turn ^= 1;
            copied.synchronize().map_err(|e| failed(op, e))?;
            let bytes = &mut buffer.as_mut_slice().map_err(|e| failed(op, e))?[..count * ld * size_of::<bf16>()];
            let from = host.data[first * cols..(first + count) * cols].chunks_exact(cols);
            for (to, from) in bytes.chunks_exact_mut(ld * size_of::<bf16>()).zip(from) {
                let (values, padding) = to.split_at_mut(cols * size_of::<bf16>());
                values.copy_from_slice(bytemuck::cast_slice(from));
                padding.fill(0);
            }
            copy(shared, memory.address(first * ld * size_of::<bf16>()), bytes).map_err(|e| failed(op, e))?;
            copied.record(&shared.driver.stream).map_err(|e| failed(op, e))?;
        }
        Ok(CudaMatrix { memory, rows, cols })
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
