//! Keys and values of all layers, in pages, packed the way the attention kernel reads them.
//!
//! A page holds [`PAGE`] keys of all layers. Per layer and kv head it holds four groups of [`GROUP`] keys:
//! keys `[D/2][16 keys]` and values `[8 key pairs][D]`, each element a pair of bf16 in a `u32` (two dims of a key; one
//! dim of two adjacent keys, the even one low). That is the operand order of bf16 dot products, so no path repacks.
//! `D` of the values is padded to a multiple of 16 with zeros.

use super::lanes::bf16_bits;
use super::team::{Parts, Team};
use crate::device::Layout;
use crate::{Error, Result};
use memmap2::{MmapMut, MmapOptions};
use std::sync::atomic::{AtomicBool, Ordering};

/// Keys per page.
pub const PAGE: usize = 64;
/// Keys per group, the lanes of a vector.
pub(super) const GROUP: usize = 16;
/// Groups per page.
const GROUPS: usize = PAGE / GROUP;
/// Address space taken at a time. Untouched parts of it cost nothing.
const CHUNK_BYTES: usize = 64 << 20;

/// Sixteen pairs of bf16: one vector load.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(super) struct Lane(pub [u32; GROUP]);

/// Keys and values of all layers of a session, bf16.
pub struct CpuKv {
    shape: KvShape,
    /// Mapped anonymous memory, `chunk_pages` pages each; the system zeroes a page when it is first touched.
    chunks: Vec<MmapMut>,
    chunk_pages: usize,
    pages: usize,
    /// A value that is not finite was written once: from then on hidden keys are cleared before they are multiplied by zero.
    tainted: bool,
}

/// Places of keys and values within a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct KvShape {
    pub layers: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
}

impl KvShape {
    /// Lanes of the keys of one group.
    pub fn key_lanes(&self) -> usize {
        self.head_dim / 2
    }
    /// Lanes of one key pair's values.
    pub fn value_width(&self) -> usize {
        self.head_dim.div_ceil(GROUP)
    }
    /// Lanes of the values of one group.
    pub fn value_lanes(&self) -> usize {
        GROUP / 2 * self.value_width()
    }
    /// Lanes of one kv head in a page.
    fn head_lanes(&self) -> usize {
        GROUPS * (self.key_lanes() + self.value_lanes())
    }
    fn page_lanes(&self) -> usize {
        self.layers * self.kv_heads * self.head_lanes()
    }
    /// First lane of a head within a page.
    fn head(&self, layer: usize, head: usize) -> usize {
        (layer * self.kv_heads + head) * self.head_lanes()
    }
    /// First lanes, relative to the head's, of the keys and the values of a group.
    fn group(&self, group: usize) -> (usize, usize) {
        (group * self.key_lanes(), GROUPS * self.key_lanes() + group * self.value_lanes())
    }
    /// Keys and values of a group among the lanes of its head.
    fn group_of<'l>(&self, lanes: &'l mut [Lane], group: usize) -> (&'l mut [Lane], &'l mut [Lane]) {
        let (k, v) = self.group(group);
        let (keys, values) = lanes.split_at_mut(v);
        (&mut keys[k..k + self.key_lanes()], &mut values[..self.value_lanes()])
    }
}

/// Keys and values of one group of sixteen, apart from the cache or in it.
pub(super) fn copy_key(shape: &KvShape, from: (&[Lane], &[Lane], usize), to: (&mut [Lane], &mut [Lane], usize)) {
    for (a, b) in from.0.iter().zip(to.0.iter_mut()) {
        b.0[to.2] = a.0[from.2];
    }
    let width = shape.value_width();
    let source = &from.1[from.2 / 2 * width..][..width];
    let target = &mut to.1[to.2 / 2 * width..][..width];
    for (a, b) in source.iter().zip(target) {
        for (&a, b) in a.0.iter().zip(&mut b.0) {
            *b = set_half(*b, to.2 % 2, half(a, from.2 % 2));
        }
    }
}

/// The low or high bf16 of a pair.
fn half(pair: u32, index: usize) -> u32 {
    (pair >> (16 * index)) & 0xffff
}

fn set_half(pair: u32, index: usize, bits: u32) -> u32 {
    (pair & !(0xffff << (16 * index))) | (bits << (16 * index))
}

impl CpuKv {
    /// Empty storage for `layers` layers of `kv_heads` heads of width `head_dim`.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless all are positive and `head_dim` is even.
    pub fn new(layers: usize, kv_heads: usize, head_dim: usize) -> Result<Self> {
        if layers == 0 || kv_heads == 0 || head_dim == 0 || !head_dim.is_multiple_of(2) {
            return Err(Error::invalid(format!(
                "key/value cache: expected positive sizes and an even head dim, found {layers} layers of {kv_heads} heads of {head_dim}"
            )));
        }
        let shape = KvShape { layers, kv_heads, head_dim };
        let chunk_pages = (CHUNK_BYTES / (shape.page_lanes() * size_of::<Lane>())).max(1);
        Ok(CpuKv { shape, chunks: Vec::new(), chunk_pages, pages: 0, tainted: false })
    }

    /// Bytes of one page over all layers.
    pub fn page_bytes(&self) -> usize {
        self.shape.page_lanes() * size_of::<Lane>()
    }

    /// Makes pages `0..pages` usable; existing ones keep their contents. Memory is taken as keys are written.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when the pages asked for do not fit into the memory that the system calls available.
    pub fn reserve(&mut self, pages: usize) -> Result<()> {
        if pages <= self.pages {
            return Ok(());
        }
        crate::reserve::check()?;
        let want = ((pages - self.pages) as u64).saturating_mul(self.page_bytes() as u64);
        let free = memory_available();
        let short = || Error::OutOfMemory { what: format!("a key/value cache of {pages} pages"), want, free };
        if want > free {
            return Err(short());
        }
        while self.chunks.len() * self.chunk_pages < pages {
            let chunk = MmapOptions::new().len(self.chunk_pages * self.page_bytes()).map_anon().map_err(|_| short())?;
            // Huge pages are a wish: without them reading is slower and nothing else changes.
            #[cfg(target_os = "linux")]
            let _ = chunk.advise(memmap2::Advice::HugePage);
            self.chunks.push(chunk);
        }
        self.pages = pages;
        Ok(())
    }

    /// Copies the first `keys` keys of page `from` to page `to`, all layers.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a page that is not reserved or more keys than a page holds.
    pub fn copy(&mut self, from: u32, to: u32, keys: usize) -> Result<()> {
        self.check_page(from)?;
        self.check_page(to)?;
        if keys > PAGE {
            return Err(Error::invalid(format!("key/value copy: expected at most {PAGE} keys, found {keys}")));
        }
        if from == to {
            return Ok(());
        }
        let shape = self.shape;
        let mut buffer = vec![Lane([0; GROUP]); shape.head_lanes()];
        for layer in 0..shape.layers {
            for head in 0..shape.kv_heads {
                buffer.copy_from_slice(self.head(layer, head, from));
                let target = self.head_mut(layer, head, to);
                for group in 0..keys.div_ceil(GROUP) {
                    let (k, v) = shape.group(group);
                    let (key, value) = (k..k + shape.key_lanes(), v..v + shape.value_lanes());
                    if (group + 1) * GROUP <= keys {
                        target[key.clone()].copy_from_slice(&buffer[key]);
                        target[value.clone()].copy_from_slice(&buffer[value]);
                        continue;
                    }
                    let (target_keys, target_values) = target.split_at_mut(v);
                    for i in 0..keys % GROUP {
                        let to = (&mut target_keys[key.clone()], &mut target_values[..shape.value_lanes()], i);
                        copy_key(&shape, (&buffer[key.clone()], &buffer[value.clone()], i), to);
                    }
                }
            }
        }
        Ok(())
    }

    /// Moves keys between slots of the sequence whose pages are `pages`: slot `from` to slot `to`, in order, all layers.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a slot outside the pages or a page that is not reserved.
    pub fn move_keys(&mut self, pages: &[u32], moves: &[(u32, u32)]) -> Result<()> {
        for &(from, to) in moves {
            for slot in [from, to] {
                let page = pages.get(slot as usize / PAGE).ok_or_else(|| {
                    Error::invalid(format!(
                        "key/value move: expected a slot below {}, found {slot}",
                        pages.len() * PAGE
                    ))
                })?;
                self.check_page(*page)?;
            }
        }
        let shape = self.shape;
        let mut key = vec![Lane([0; GROUP]); shape.key_lanes()];
        let mut value = vec![Lane([0; GROUP]); shape.value_lanes()];
        for layer in 0..shape.layers {
            for head in 0..shape.kv_heads {
                for &(from, to) in moves {
                    if from == to {
                        continue;
                    }
                    let (k, v) = self.group(layer, head, pages, from as usize / GROUP);
                    copy_key(&shape, (k, v, from as usize % GROUP), (&mut key, &mut value, 0));
                    let (k, v) = self.group_mut(layer, head, pages, to as usize / GROUP);
                    copy_key(&shape, (&key, &value, 0), (k, v, to as usize % GROUP));
                }
            }
        }
        Ok(())
    }

    /// Rounds the pass's keys and values, `[T, G·D]` each, to bf16 and puts row `i` of each sequence into its slot; a head
    /// is a task of `team`.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Invalid`] when the layout does not fit the buffers or the cache.
    pub fn write(&mut self, team: &Team, layer: usize, layout: &Layout, k: &[f32], v: &[f32]) -> Result<()> {
        self.check(layer, layout)?;
        let shape = self.shape;
        let stride = shape.kv_heads * shape.head_dim;
        for (name, x) in [("keys", k), ("values", v)] {
            if x.len() < layout.rows() * stride {
                return Err(Error::shape(format!("{name} of a pass"), (layout.rows(), stride), x.len()));
            }
        }
        let finite = AtomicBool::new(true);
        let chunk_pages = self.chunk_pages;
        let chunks: Vec<Parts<'_, Lane>> =
            self.chunks.iter_mut().map(|chunk| Parts::new(bytemuck::cast_slice_mut(chunk))).collect();
        let write = |head: usize| {
            for sequence in &layout.sequences {
                let (first, end) = (sequence.cached, sequence.cached + sequence.rows());
                let mut slot = first;
                while slot < end {
                    let group = slot / GROUP;
                    let at = (sequence.row + slot - first) * stride + head * shape.head_dim;
                    let rows = Rows { k: &k[at..], v: &v[at..], stride, count: end.min((group + 1) * GROUP) - slot };
                    let page = sequence.pages[group / GROUPS] as usize;
                    let lanes = page % chunk_pages * shape.page_lanes() + shape.head(layer, head);
                    // SAFETY: a head's lanes are those of one task, which takes them one page at a time.
                    let lanes = unsafe { chunks[page / chunk_pages].range(lanes..lanes + shape.head_lanes()) };
                    if !rows.write(&shape, shape.group_of(lanes, group % GROUPS), slot % GROUP) {
                        finite.store(false, Ordering::Relaxed);
                    }
                    slot += rows.count;
                }
            }
        };
        // Few rows take less time than waking anyone.
        match layout.rows() {
            0..=8 => (0..shape.kv_heads).for_each(write),
            _ => team.run(shape.kv_heads, write)?,
        }
        self.tainted |= !finite.into_inner();
        Ok(())
    }

    /// Whether a value that is not finite was ever written.
    pub(super) fn tainted(&self) -> bool {
        self.tainted
    }

    pub(super) fn shape(&self) -> KvShape {
        self.shape
    }

    /// Keys and values of slots `16 group..16 group + 16` of the sequence whose pages are `pages`.
    pub(super) fn group(&self, layer: usize, head: usize, pages: &[u32], group: usize) -> (&[Lane], &[Lane]) {
        let lanes = self.head(layer, head, pages[group / GROUPS]);
        let (k, v) = self.shape.group(group % GROUPS);
        (&lanes[k..k + self.shape.key_lanes()], &lanes[v..v + self.shape.value_lanes()])
    }

    fn group_mut(&mut self, layer: usize, head: usize, pages: &[u32], group: usize) -> (&mut [Lane], &mut [Lane]) {
        let shape = self.shape;
        shape.group_of(self.head_mut(layer, head, pages[group / GROUPS]), group % GROUPS)
    }

    fn head(&self, layer: usize, head: usize, page: u32) -> &[Lane] {
        let at = page as usize % self.chunk_pages * self.shape.page_lanes() + self.shape.head(layer, head);
        let chunk: &[Lane] = bytemuck::cast_slice(&self.chunks[page as usize / self.chunk_pages]);
        &chunk[at..at + self.shape.head_lanes()]
    }

    fn head_mut(&mut self, layer: usize, head: usize, page: u32) -> &mut [Lane] {
        let at = page as usize % self.chunk_pages * self.shape.page_lanes() + self.shape.head(layer, head);
        let chunk: &mut [Lane] = bytemuck::cast_slice_mut(&mut self.chunks[page as usize / self.chunk_pages]);
        &mut chunk[at..at + self.shape.head_lanes()]
    }

    fn check_page(&self, page: u32) -> Result<()> {
        if (page as usize) < self.pages {
            return Ok(());
        }
        Err(Error::invalid(format!("key/value cache: expected a page below {}, found {page}", self.pages)))
    }

    /// The layout is sound and its pages are reserved.
    pub(super) fn check(&self, layer: usize, layout: &Layout) -> Result<()> {
        if layer >= self.shape.layers {
            return Err(Error::invalid(format!(
                "key/value cache: expected a layer below {}, found {layer}",
                self.shape.layers
            )));
        }
        layout.check(PAGE)?;
        layout.pages(PAGE).try_for_each(|page| self.check_page(page))
    }
}

/// Keys and values of one head for adjacent slots of a group: the first `D` of every `stride` values.
struct Rows<'a> {
    k: &'a [f32],
    v: &'a [f32],
    stride: usize,
    count: usize,
}

impl Rows<'_> {
    /// Rounds them into slots `first..first + count` of a group; whether all values are finite.
    fn write(&self, shape: &KvShape, to: (&mut [Lane], &mut [Lane]), first: usize) -> bool {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor was just asked.
            return unsafe { self.write_avx2(shape, to, first) };
        }
        self.write_any(shape, to, first)
    }

    /// The same instructions per element on wider vectors: the same bits.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn write_avx2(&self, shape: &KvShape, to: (&mut [Lane], &mut [Lane]), first: usize) -> bool {
        self.write_any(shape, to, first)
    }

    #[inline(always)]
    fn write_any(&self, shape: &KvShape, (keys, values): (&mut [Lane], &mut [Lane]), first: usize) -> bool {
        for i in 0..self.count {
            let k = &self.k[i * self.stride..][..shape.head_dim];
            for (k, lanes) in k.chunks(2 * GROUP).zip(keys.chunks_mut(GROUP)) {
                let k = padded::<{ 2 * GROUP }>(k);
                let mut pairs = [0; GROUP];
                for (k, pair) in k.chunks_exact(2).zip(&mut pairs) {
                    *pair = bf16_bits(k[0]) | bf16_bits(k[1]) << 16;
                }
                for (lane, pair) in lanes.iter_mut().zip(pairs) {
                    lane.0[first + i] = pair;
                }
            }
        }
        let width = shape.value_width();
        let mut bad = 0;
        for pair in first / 2..(first + self.count).div_ceil(2) {
            let lanes = &mut values[pair * width..][..width];
            for half in 0..2 {
                let Some(i) = (2 * pair + half).checked_sub(first).filter(|&i| i < self.count) else { continue };
                let v = &self.v[i * self.stride..][..shape.head_dim];
                let kept = 0xffff_0000 >> (16 * half);
                for (v, lane) in v.chunks(GROUP).zip(&mut *lanes) {
                    let v = padded::<GROUP>(v);
                    for (v, to) in v.into_iter().zip(&mut lane.0) {
                        let bits = bf16_bits(v);
                        bad |= u32::from(bits & 0x7f80 == 0x7f80);
                        *to = *to & kept | bits << (16 * half);
                    }
                }
            }
        }
        bad == 0
    }
}

/// `N` values, zeros after the given ones: a fixed count makes loops vectors.
#[inline(always)]
fn padded<const N: usize>(x: &[f32]) -> [f32; N] {
    <[f32; N]>::try_from(x).unwrap_or_else(|_| std::array::from_fn(|i| x.get(i).copied().unwrap_or(0.0)))
}

/// Bytes the system could give out now; no limit where it does not say.
fn memory_available() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.map_or(u64::MAX, |kib| kib.saturating_mul(1024))
}
