//! Keys and values in pages: per layer two arrays `[page][G][64][D]` in bf16, which grow by blocks of pages.

use super::memory::Memory;
use super::state::State;
use super::{Shared, int};
use crate::device::Layout;
use crate::{Error, Result};
use biomistral_nlu_kernels::params::{KvCopyParams, KvMoveParams};
use biomistral_nlu_kernels::table::{KV_COPY, KV_MOVE};
use half::bf16;
use std::sync::Arc;

/// Keys per page.
pub const PAGE: usize = 64;
/// Widest head that the attention kernels take.
const WIDEST_HEAD: usize = 256;
/// Pages by which the cache grows at least.
const BLOCK: usize = 8;

/// Keys and values of all layers of a session.
pub struct CudaKv {
    shared: Arc<Shared>,
    layers: Vec<Layer>,
    kv_heads: usize,
    head_dim: usize,
    /// Pages that may be used; the arrays may have more.
    pages: usize,
}

#[derive(Default)]
struct Layer {
    keys: Option<Memory>,
    values: Option<Memory>,
}

impl CudaKv {
    pub(super) fn new(shared: &Arc<Shared>, layers: usize, kv_heads: usize, head_dim: usize) -> Result<Self> {
        if layers == 0 || kv_heads == 0 || head_dim == 0 || !head_dim.is_multiple_of(2) {
            return Err(Error::invalid(format!(
                "key/value cache: expected positive sizes and an even head dim, found {layers} layers of {kv_heads} heads of {head_dim}"
            )));
        }
        if head_dim > WIDEST_HEAD {
            return Err(Error::unsupported(format!(
                "heads of width {head_dim} on a CUDA device, at most {WIDEST_HEAD}"
            )));
        }
        let layers = std::iter::repeat_with(Layer::default).take(layers).collect();
        Ok(CudaKv { shared: Arc::clone(shared), layers, kv_heads, head_dim, pages: 0 })
    }

    /// Bytes of one page in one array.
    fn array_page(&self) -> usize {
        self.kv_heads * PAGE * self.head_dim * size_of::<bf16>()
    }

    /// Bytes of one page over all layers.
    pub(super) fn page_bytes(&self) -> usize {
        2 * self.layers.len() * self.array_page()
    }

    pub(super) fn kv_heads(&self) -> usize {
        self.kv_heads
    }

    pub(super) fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Addresses of the keys and the values of a layer.
    pub(super) fn layer(&self, layer: usize) -> Result<[u64; 2]> {
        let address = |memory: &Option<Memory>| memory.as_ref().map_or(0, |memory| memory.address(0));
        let of = |layer: &Layer| [address(&layer.keys), address(&layer.values)];
        self.layers.get(layer).map(of).ok_or_else(|| {
            Error::invalid(format!("key/value cache: expected a layer below {}, found {layer}", self.layers.len()))
        })
    }

    /// Makes pages `0..pages` usable; existing ones keep their contents, new ones are zero.
    pub(super) fn reserve(&mut self, pages: usize) -> Result<()> {
        if pages <= self.pages {
            return Ok(());
        }
        // Growing by half keeps the copying below two copies a page; where that much is not left, what is asked for may be.
        let (blocks, page) = (pages.next_multiple_of(BLOCK), self.array_page());
        self.grow(blocks.max(self.pages + self.pages / 2), page).or_else(|error| match error {
            Error::OutOfMemory { .. } => self.grow(pages, page),
            error => Err(error),
        })?;
        self.pages = pages;
        Ok(())
    }

    /// Layer by layer, so that no more than one array exists twice at a time.
    fn grow(&mut self, pages: usize, page: usize) -> Result<()> {
        let used = self.pages * page;
        for layer in &mut self.layers {
            for array in [&mut layer.keys, &mut layer.values] {
                if array.as_ref().is_some_and(|old| old.len() >= pages * page) {
                    continue;
                }
                let mut grown = Memory::zeroed(&self.shared, "the key/value cache", pages * page, true)?;
                if let Some(old) = array {
                    grown.copy_from("growing the key/value cache", 0, old, 0..used)?;
                }
                *array = Some(grown);
            }
        }
        Ok(())
    }

    /// Copies the first `keys` keys of page `from` to page `to`, all layers.
    pub(super) fn copy(&mut self, shared: &Shared, state: &mut State, from: u32, to: u32, keys: usize) -> Result<()> {
        self.check_page(from)?;
        self.check_page(to)?;
        if keys > PAGE {
            return Err(Error::invalid(format!("key/value copy: expected at most {PAGE} keys, found {keys}")));
        }
        if from == to {
            return Ok(());
        }
        let (array_count, kv_heads, head_dim) = self.sizes()?;
        let params =
            KvCopyParams { arrays: self.arrays(state)?, array_count, kv_heads, head_dim, keys: keys as i32, from, to };
        shared.launch(&KV_COPY, &params)
    }

    /// Moves keys between slots of the sequence whose pages are `pages`: slot `from` to slot `to`, in order, all layers.
    pub(super) fn move_keys(
        &mut self,
        shared: &Shared,
        state: &mut State,
        pages: &[u32],
        moves: &[(u32, u32)],
    ) -> Result<()> {
        let place = |slot: u32| self.place(pages, slot as usize);
        let moves = moves.iter().map(|&(from, to)| Ok([place(from)?, place(to)?])).collect::<Result<Vec<_>>>()?;
        let (array_count, kv_heads, head_dim) = self.sizes()?;
        let params = KvMoveParams {
            arrays: self.arrays(state)?,
            moves: state.lists.put(&moves)?,
            array_count,
            kv_heads,
            head_dim,
            count: int("key/value move", moves.len())?,
        };
        shared.launch(&KV_MOVE, &params)
    }

    /// Number of arrays, kv heads and head width.
    fn sizes(&self) -> Result<(i32, i32, i32)> {
        let op = "key/value cache";
        Ok((int(op, 2 * self.layers.len())?, int(op, self.kv_heads)?, int(op, self.head_dim)?))
    }

    /// Address of a list of the arrays' addresses: keys and values of each layer.
    fn arrays(&self, state: &mut State) -> Result<u64> {
        let arrays = (0..self.layers.len()).map(|layer| self.layer(layer)).collect::<Result<Vec<_>>>()?;
        state.lists.put(&arrays)
    }

    /// Where slot `slot` of the sequence with these pages lies: `page * 64 + place in page`.
    pub(super) fn place(&self, pages: &[u32], slot: usize) -> Result<u32> {
        let page = *pages.get(slot / PAGE).ok_or_else(|| {
            Error::invalid(format!("key/value cache: expected a slot below {}, found {slot}", pages.len() * PAGE))
        })?;
        self.check_page(page)?;
        Ok(page * PAGE as u32 + (slot % PAGE) as u32)
    }

    fn check_page(&self, page: u32) -> Result<()> {
        if (page as usize) < self.pages {
            return Ok(());
        }
        Err(Error::invalid(format!("key/value cache: expected a page below {}, found {page}", self.pages)))
    }

    /// The layout is sound and its pages are reserved.
    pub(super) fn check(&self, layout: &Layout) -> Result<()> {
        layout.check(PAGE)?;
        layout.pages(PAGE).try_for_each(|page| self.check_page(page))
    }
}
