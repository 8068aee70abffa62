//! What the host hands to kernels beside their parameters: token ids, rows, positions, page tables.

use super::Shared;
use super::driver::failed;
use super::memory::Memory;
use crate::{Error, Result};
use cudarc::driver::sys::CUresult;
use cudarc::driver::{CudaEvent, DriverError, PinnedHostSlice, result};
use std::sync::Arc;

/// Every list starts at a multiple of this, bytes.
const ALIGN: usize = 256;
/// Bytes at first.
const START: usize = 1 << 18;

/// Lists of a pass: filled from the start by each pass, so that equal passes put them at equal addresses.
pub(super) struct Lists {
    shared: Arc<Shared>,
    host: PinnedHostSlice<u8>,
    device: Memory,
    /// First free byte, the same in both.
    at: usize,
    /// Recorded behind the copies of the pass before.
    copied: CudaEvent,
    /// Outgrown in this pass, which still launches with what they hold.
    outgrown: Vec<(PinnedHostSlice<u8>, Memory)>,
}

/// Pinned memory, which the device copies from while the host goes on.
pub(super) fn pinned(shared: &Shared, len: usize) -> Result<PinnedHostSlice<u8>> {
    // SAFETY: bytes are written before they are copied.
    let memory = unsafe { shared.driver.context.alloc_pinned::<u8>(len) };
    memory.map_err(|e| match e.0 {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
            Error::OutOfMemory { what: "page-locked memory of the host".into(), want: len as u64, free: 0 }
        }
        _ => failed("page-locked memory", e),
    })
}

/// Copies `from`, which is pinned and stays as it is until the copy is done, to the device's `address`.
pub(super) fn copy(shared: &Shared, address: u64, from: &[u8]) -> std::result::Result<(), DriverError> {
    shared.driver.context.bind_to_thread()?;
    // SAFETY: the caller's address has room for `from`; both outlive the copy, for host memory is reused only behind an event
    // and device memory freed in the stream's order.
    unsafe { result::memcpy_htod_async(address, from, shared.driver.stream.cu_stream()) }
}

impl Lists {
    pub fn new(shared: &Arc<Shared>) -> Result<Self> {
        Self::of(shared, START)
    }

    fn of(shared: &Arc<Shared>, len: usize) -> Result<Self> {
        Ok(Self {
            host: pinned(shared, len)?,
            device: Memory::uninitialised(shared, "lists of a pass", len, true)?,
            at: 0,
            copied: shared.driver.context.new_event(None).map_err(|e| failed("an event", e))?,
            outgrown: Vec::new(),
            shared: Arc::clone(shared),
        })
    }

    /// Starts a pass: lists of earlier passes may be overwritten once their copies are done.
    pub fn begin(&mut self) -> Result<()> {
        self.copied.synchronize().map_err(|e| failed("lists of a pass", e))?;
        self.outgrown.clear();
        self.at = 0;
        Ok(())
    }

    /// Ends it.
    pub fn end(&mut self) -> Result<()> {
        self.copied.record(&self.shared.driver.stream).map_err(|e| failed("lists of a pass", e))
    }

    /// Address of a copy of `list`, which stays until the next pass begins.
    pub fn put<T: bytemuck::NoUninit>(&mut self, list: &[T]) -> Result<u64> {
        let bytes: &[u8] = bytemuck::cast_slice(list);
        let end = self.at + bytes.len().max(1).next_multiple_of(ALIGN);
        if end > self.host.len() {
            self.more(bytes.len())?;
            return self.put(list);
        }
        let op = "lists of a pass";
        let host = &mut self.host.as_mut_slice().map_err(|e| failed(op, e))?[self.at..][..bytes.len()];
        host.copy_from_slice(bytes);
        let address = self.device.address(self.at);
        if !bytes.is_empty() {
            copy(&self.shared, address, host).map_err(|e| failed(op, e))?;
        }
        self.at = end;
        Ok(address)
    }

    /// Room for more lists.
    fn more(&mut self, bytes: usize) -> Result<()> {
        let len = (self.host.len() + bytes.next_multiple_of(ALIGN)).next_power_of_two();
        let Self { host, device, .. } = Self::of(&self.shared, len)?;
        let outgrown = (std::mem::replace(&mut self.host, host), std::mem::replace(&mut self.device, device));
        self.outgrown.push(outgrown);
        self.at = 0;
        Ok(())
    }
}
