//! What a pass needs beside its operands: scratch memory and lists of the host.

use super::Shared;
use super::lists::Lists;
use super::memory::Memory;
use crate::Result;
use std::sync::Arc;

/// Every piece of scratch starts at a multiple of this, bytes.
const ALIGN: usize = 256;

/// Memory that an operation uses and the next one overwrites. No operation allocates.
pub(super) struct Scratch {
    shared: Arc<Shared>,
    memory: Memory,
    at: usize,
}

impl Scratch {
    pub fn new(shared: &Arc<Shared>) -> Result<Self> {
        let memory = Memory::uninitialised(shared, "scratch memory", 1 << 20, true)?;
        Ok(Self { shared: Arc::clone(shared), memory, at: 0 })
    }

    /// Starts an operation that takes pieces of at most these bytes.
    pub fn begin(&mut self, pieces: &[usize]) -> Result<()> {
        let need: usize = pieces.iter().map(|bytes| bytes.next_multiple_of(ALIGN)).sum();
        if need > self.memory.len() {
            // What was launched with the old one comes before its release in the stream.
            self.memory = Memory::uninitialised(&self.shared, "scratch memory", need.next_power_of_two(), true)?;
        }
        self.at = 0;
        Ok(())
    }

    /// The next piece: its place, to read it, and its address.
    pub fn take(&mut self, bytes: usize) -> (usize, u64) {
        let at = self.at;
        self.at += bytes.next_multiple_of(ALIGN);
        debug_assert!(self.at <= self.memory.len(), "scratch was begun for less");
        (at, self.memory.address(at))
    }

    /// Reads values from a piece, after waiting for what computes them.
    pub fn read<T: bytemuck::Pod>(&self, op: &str, at: usize, out: &mut [T]) -> Result<()> {
        self.memory.read(op, at, bytemuck::cast_slice_mut(out))
    }
}

/// State of the device that one thread at a time uses.
pub(super) struct State {
    pub lists: Lists,
    pub scratch: Scratch,
    pub plan: Option<super::attention::PassPlan>,
}

impl State {
    pub fn new(shared: &Arc<Shared>) -> Result<Self> {
        Ok(Self { lists: Lists::new(shared)?, scratch: Scratch::new(shared)?, plan: None })
    }
}
