//! Device memory: buffers that grow, and what they hold wiped on request when they are given back.

use super::Shared;
use super::driver::failed;
use crate::device::Element;
use crate::{Error, Result};
use cudarc::driver::sys::CUresult;
use cudarc::driver::{CudaSlice, DevicePtr};
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

/// Below this a growing buffer doubles; above it grows to what is asked for.
const DOUBLING: usize = 1 << 20;

/// Device memory of fixed size, given back when dropped. Always of at least one byte.
pub(super) struct Memory {
    bytes: CudaSlice<u8>,
    shared: Arc<Shared>,
    /// May hold a text or what was computed from it.
    text: bool,
}

impl Memory {
    /// Zeroed memory. `what` names it where there is none left.
    pub fn zeroed(shared: &Arc<Shared>, what: &str, len: usize, text: bool) -> Result<Self> {
        let mut memory = Self::uninitialised(shared, what, len, text)?;
        let stream = &shared.driver.stream;
        stream.memset_zeros(&mut memory.bytes).map_err(|e| failed(what, e))?;
        Ok(memory)
    }

    /// Memory that is written before it is read.
    pub fn uninitialised(shared: &Arc<Shared>, what: &str, len: usize, text: bool) -> Result<Self> {
        shared.flush()?;
        // SAFETY: what is read is written first: by `zeroed`, by an upload or by a kernel.
        let bytes = unsafe { shared.driver.stream.alloc::<u8>(len.max(1)) };
        let bytes = bytes.map_err(|e| match e.0 {
            CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                let free = shared.driver.memory().map_or(0, |(free, _)| free);
                Error::OutOfMemory { what: format!("{what} on the device"), want: len as u64, free }
            }
            _ => failed(what, e),
        })?;
        Ok(Self { bytes, shared: Arc::clone(shared), text })
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Address of byte `at`.
    pub fn address(&self, at: usize) -> u64 {
        let (address, _order) = self.bytes.device_ptr(&self.shared.driver.stream);
        address + at as u64
    }

    /// Copies from the host, which may change its bytes once this returns.
    pub fn write(&mut self, op: &str, at: usize, data: &[u8]) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        self.shared.flush()?;
        let stream = &self.shared.driver.stream;
        let mut to = self.bytes.slice_mut(at..at + data.len());
        stream.memcpy_htod(data, &mut to).map_err(|e| failed(op, e))?;
        self.shared.driver.check(op)
    }

    /// Copies to the host and waits for it, and so for everything before it.
    pub fn read(&self, op: &str, at: usize, out: &mut [u8]) -> Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        self.shared.flush()?;
        let stream = &self.shared.driver.stream;
        let from = self.bytes.slice(at..at + out.len());
        stream.memcpy_dtoh(&from, out).map_err(|e| failed(op, e))?;
        // The copy waited in a `Drop` of cudarc's, which kept what went wrong.
        self.shared.driver.check(op)
    }

    /// Zeroes bytes.
    pub fn clear(&mut self, op: &str, range: Range<usize>) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        self.shared.flush()?;
        self.shared.driver.stream.memset_zeros(&mut self.bytes.slice_mut(range)).map_err(|e| failed(op, e))
    }

    /// Copies within the device, from other memory.
    pub fn copy_from(&mut self, op: &str, at: usize, from: &Memory, range: Range<usize>) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        self.shared.flush()?;
        let mut to = self.bytes.slice_mut(at..at + range.len());
        self.shared.driver.stream.memcpy_dtod(&from.bytes.slice(range), &mut to).map_err(|e| failed(op, e))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // What fails here is told at the next boundary.
        let driver = &self.shared.driver;
        driver.context.record_err(self.shared.flush_raw().map_err(|(_, e)| e));
        if self.shared.wipe && self.text {
            driver.context.record_err(driver.stream.memset_zeros(&mut self.bytes));
        }
    }
}

/// A growable buffer of `T`, zeroed when made.
pub struct Buffer<T> {
    shared: Arc<Shared>,
    memory: Option<Memory>,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Element> Buffer<T> {
    pub(super) fn new(shared: &Arc<Shared>, len: usize) -> Result<Self> {
        let mut buffer = Buffer { shared: Arc::clone(shared), memory: None, len: 0, element: PhantomData };
        buffer.reserve(len)?;
        Ok(buffer)
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Grows to at least `len` elements; new elements are zero.
    pub(super) fn reserve(&mut self, len: usize) -> Result<()> {
        if len <= self.len {
            return Ok(());
        }
        let old = self.len * size_of::<T>();
        let grown = if old < DOUBLING { len.max(2 * self.len) } else { len };
        let bytes = grown.checked_mul(size_of::<T>()).ok_or_else(|| Error::OutOfMemory {
            what: "a buffer on the device".into(),
            want: u64::MAX,
            free: 0,
        })?;
        let mut memory = Memory::zeroed(&self.shared, "a buffer", bytes, true)?;
        if let Some(from) = &self.memory {
            memory.copy_from("growing a buffer", 0, from, 0..old)?;
        }
        (self.memory, self.len) = (Some(memory), grown);
        Ok(())
    }

    /// Address of element `at`; 0 for an empty buffer.
    pub(super) fn address(&self, at: usize) -> u64 {
        self.memory.as_ref().map_or(0, |memory| memory.address(at * size_of::<T>()))
    }

    pub(super) fn write(&mut self, at: usize, data: &[T]) -> Result<()> {
        super::need("write", "buffer", at + data.len(), self.len)?;
        let bytes = bytemuck::cast_slice(data);
        self.memory.as_mut().map_or(Ok(()), |memory| memory.write("write", at * size_of::<T>(), bytes))
    }

    /// Zeroes the first `len` elements.
    pub(super) fn clear(&mut self, len: usize) -> Result<()> {
        super::need("clear", "buffer", len, self.len)?;
        self.memory.as_mut().map_or(Ok(()), |memory| memory.clear("clear", 0..len * size_of::<T>()))
    }

    pub(super) fn read(&self, at: usize, out: &mut [T]) -> Result<()> {
        super::need("read", "buffer", at + out.len(), self.len)?;
        let bytes = bytemuck::cast_slice_mut(out);
        self.memory.as_ref().map_or(Ok(()), |memory| memory.read("read", at * size_of::<T>(), bytes))
    }
}
