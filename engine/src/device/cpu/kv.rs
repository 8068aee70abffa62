//! Keys and values in pages.

use crate::device::Layout;
use crate::{Error, Result};

/// Keys per page.
pub const PAGE: usize = 16;

/// Keys and values of all layers.
pub struct CpuKv {
    layers: usize,
    kv_heads: usize,
    head_dim: usize,
}

fn missing() -> Error {
    Error::internal("the CPU key/value cache is not built yet")
}

impl CpuKv {
    /// Empty storage.
    pub fn new(layers: usize, kv_heads: usize, head_dim: usize) -> Result<Self> {
        Ok(CpuKv { layers, kv_heads, head_dim })
    }

    /// Makes pages `0..pages` usable.
    pub fn reserve(&mut self, _pages: usize) -> Result<()> {
        Err(missing())
    }

    /// Copies the first `keys` keys of page `from` to page `to`, all layers.
    pub fn copy(&mut self, _from: u32, _to: u32, _keys: usize) -> Result<()> {
        Err(missing())
    }

    /// Moves keys between slots of one sequence, in order, all layers.
    pub fn move_keys(&mut self, _pages: &[u32], _moves: &[(u32, u32)]) -> Result<()> {
        Err(missing())
    }

    /// Bytes of one page over all layers.
    pub fn page_bytes(&self) -> usize {
        self.layers * self.kv_heads * self.head_dim * PAGE * 4
    }

    /// Writes the keys (after the rotary embedding) and values `[T, G·D]` of one pass to their slots.
    pub fn write(&mut self, _layer: usize, _layout: &Layout, _k: &[f32], _v: &[f32]) -> Result<()> {
        Err(missing())
    }
}
