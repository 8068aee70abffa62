//! Activation buffers, 64-byte aligned.

use crate::device::Element;
use crate::{Error, Result};
use std::marker::PhantomData;

/// One cache line; its alignment is the buffer's.
#[derive(Debug, Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// A growable buffer of `T`, zeroed when made, aligned to 64 bytes.
#[derive(Debug)]
pub struct Buffer<T> {
    lines: Vec<Line>,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Element> Buffer<T> {
    /// `len` zeros.
    pub fn new(len: usize) -> Result<Self> {
        let mut buffer = Buffer { lines: Vec::new(), len: 0, element: PhantomData };
        buffer.reserve(len)?;
        Ok(buffer)
    }

    /// Grows to at least `len` elements; new elements are zero.
    pub fn reserve(&mut self, len: usize) -> Result<()> {
        if len <= self.len {
            return Ok(());
        }
        let too_much = || Error::OutOfMemory {
            what: "a CPU buffer".into(),
            want: (len as u64).saturating_mul(size_of::<T>() as u64),
            free: 0,
        };
        let lines = len.checked_mul(size_of::<T>()).ok_or_else(too_much)?.div_ceil(64);
        self.lines.try_reserve(lines.saturating_sub(self.lines.len())).map_err(|_| too_much())?;
        crate::reserve::check()?;
        self.lines.resize(lines, Line([0; 64]));
        self.len = len;
        Ok(())
    }
}

impl<T: Element> std::ops::Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl<T: Element> std::ops::DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}
