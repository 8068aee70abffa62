//! A bf16 matrix where it lies: in a memory-mapped file or in memory of our own.

use super::pages::PageSlice;
use half::bf16;
use memmap2::Mmap;
use std::sync::Arc;

#[cfg(target_endian = "big")]
compile_error!("mapped weights are read in place, which needs a little-endian machine");

/// A weight `[rows, cols]` of bf16 values, row-major, `y = x · Wᵀ`.
pub struct HostMatrix {
    /// `rows * cols` values.
    pub data: MatrixData,
    /// `N`: outputs.
    pub rows: usize,
    /// `K`: inputs.
    pub cols: usize,
}

/// Row-major bf16 values, either a view of a mapped file or owned.
pub enum MatrixData {
    /// `len` values at byte `offset` of a mapped file; checked to be in bounds and 2-byte aligned when made.
    Mapped {
        /// The file.
        map: Arc<Mmap>,
        /// First byte.
        offset: usize,
        /// Number of bf16 values.
        len: usize,
    },
    /// Values made on load (dequantised, converted or reordered), in huge pages shared with other matrices.
    Pages(PageSlice),
    /// Values made by hand.
    Owned(Vec<bf16>),
}

impl std::ops::Deref for MatrixData {
    type Target = [bf16];

    fn deref(&self) -> &[bf16] {
        match self {
            MatrixData::Mapped { map, offset, len } => bytemuck::cast_slice(&map[*offset..*offset + 2 * *len]),
            MatrixData::Pages(values) => values,
            MatrixData::Owned(values) => values,
        }
    }
}
