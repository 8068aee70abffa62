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

/// The same bytes on both sides.
struct Block {
    host: PinnedHostSlice<u8>,
    device: Memory,
}

/// Lists of a pass: filled from the start by each pass, so that equal passes put them at equal addresses.
pub(super) struct Lists {
    shared: Arc<Shared>,
    block: Block,
    /// First free byte.
    at: usize,
    /// Recorded behind the copies of the pass before.
    copied: CudaEvent,
    /// Outgrown in this pass, which still launches with what they hold.
    outgrown: Vec<Block>,
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

impl Block {
    fn new(shared: &Arc<Shared>, len: usize) -> Result<Self> {
        let device = Memory::uninitialised(shared, "lists of a pass", len, true)?;
        Ok(Self { host: pinned(shared, len)?, device })
    }
}

impl Lists {
    pub fn new(shared: &Arc<Shared>) -> Result<Self> {
        Ok(Self {
            block: Block::new(shared, START)?,
            at: 0,
            copied: shared.driver.context.new_event(None).map_err(|e| failed("an event", e))?,
            outgrown: Vec::new(),
            shared: Arc::clone(shared),
        })
    }

    /// Starts a pass: lists of earlier passes may be overwritten once their copies are done.
    pub fn begin(&mut self) -> Result<()> {
        self.copied.synchronize().map_err(|e| failed("lists of a pass", e))?;
        self.forget_outgrown();
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
        if end > self.block.host.len() {
            let len = (self.block.host.len() + bytes.len().next_multiple_of(ALIGN)).next_power_of_two();
            self.outgrown.push(std::mem::replace(&mut self.block, Block::new(&self.shared, len)?));
            self.at = 0;
            return self.put(list);
        }
        let op = "lists of a pass";
        let host = &mut self.block.host.as_mut_slice().map_err(|e| failed(op, e))?[self.at..][..bytes.len()];
        host.copy_from_slice(bytes);
        let address = self.block.device.address(self.at);
        if !bytes.is_empty() {
            copy(&self.shared, address, host).map_err(|e| failed(op, e))?;
        }
        self.at = end;
        Ok(address)
    }

    /// Their copies are done.
    fn forget_outgrown(&mut self) {
        for mut block in self.outgrown.drain(..) {
            if self.shared.wipe {
                wipe(&mut block.host);
            }
        }
    }
}

impl Drop for Lists {
    fn drop(&mut self) {
        let context = &self.shared.driver.context;
        context.record_err(self.copied.record(&self.shared.driver.stream).and_then(|()| self.copied.synchronize()));
        self.forget_outgrown();
        if self.shared.wipe {
            wipe(&mut self.block.host);
        }
    }
}

fn wipe(host: &mut PinnedHostSlice<u8>) {
    // The event in it was never recorded: the memory is there whatever became of the device.
    if let Ok(bytes) = host.as_mut_slice() {
        bytes.fill(0);
        std::hint::black_box(bytes);
    }
}
