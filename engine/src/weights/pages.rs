//! Memory that weights lie in: mapped files, and huge pages of our own.
//!
//! Reading weights from 2 MiB pages is 1.4 to 1.6 times faster than from 4 KiB pages. Matrices of a small model are smaller
//! than one such page, so an [`Arena`] packs many into one mapping.

use crate::{Error, Result};
use half::bf16;
use memmap2::{Advice, Mmap, MmapMut, MmapRaw, UncheckedAdvice};
use std::fs::File;
use std::ops::{Deref, DerefMut, Range};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

const HUGE_PAGE: usize = 2 << 20;
const CHUNK: usize = 64 << 20;
/// Allocations start at a cache line, so that vector loads of aligned rows never straddle two.
const ALIGN: usize = 64;

/// Maps a file for reading, and the file: what is mapped stays the same where another one is put in its place. Nothing is read yet.
///
/// # Errors
/// [`Error::Io`] where the path is not a readable regular file.
pub(super) fn map_file(path: &Path) -> Result<(Arc<Mmap>, File)> {
    let io = |e| Error::io(path, e);
    let file = File::open(path).map_err(io)?;
    if !file.metadata().map_err(io)?.is_file() {
        return Err(Error::format(path.display().to_string(), "expected a regular file"));
    }
    // SAFETY: the map is read-only and lives as long as its views. As with every mapped model file, whoever shortens or
    // rewrites the file while it is loaded breaks the process; bytes are plain numbers, so no content is invalid.
    let map = unsafe { Mmap::map(&file) }.map_err(io)?;
    Ok((Arc::new(map), file))
}

/// Tells the system that the file will be read often and in long runs. File systems with large folios (ext4, xfs) then read it
/// into huge pages, 2 MiB at a time, so this is not for those who look at a few bytes only. A hint: it may fail.
pub(super) fn expect_streaming(map: &Mmap) {
    let _ = map.advise(Advice::HugePage);
}

/// Lets the system take back the pages of a part of a mapped file that has been converted and is not read again soon.
pub(super) fn release(map: &Mmap, range: Range<usize>) {
    // SAFETY: the map is a read-only view of a file, so dropped pages are read from the file again when touched.
    let _ = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) };
}

/// A source of zeroed bf16 memory in huge pages. Memory goes back to the system when the last slice of its chunk is dropped.
#[derive(Default)]
pub struct Arena {
    /// The chunk being filled and its first free byte.
    current: Mutex<Option<(Weak<MmapRaw>, usize)>>,
}

impl Arena {
    /// `len` zeros. They take no memory until written.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] where the system refuses the mapping.
    pub fn zeroed(&self, len: usize) -> Result<PageSlice> {
        let bytes = len.checked_mul(2).filter(|bytes| *bytes < isize::MAX as usize - 2 * CHUNK);
        let bytes = bytes.ok_or_else(|| out_of_memory(u64::MAX))?;
        crate::reserve::check()?;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let last = current.take().and_then(|(chunk, free)| Some((chunk.upgrade()?, free)));
        let (chunk, offset) = match last {
            Some((chunk, free)) if chunk.len() - free >= bytes => (chunk, free),
            _ => new_chunk(bytes)?,
        };
        let free = (offset + bytes).next_multiple_of(ALIGN).min(chunk.len());
        *current = Some((Arc::downgrade(&chunk), free));
        Ok(PageSlice { chunk, offset, len })
    }
}

/// A fresh mapping with room for `bytes`, and its first huge-page boundary.
fn new_chunk(bytes: usize) -> Result<(Arc<MmapRaw>, usize)> {
    let size = bytes.max(CHUNK) + HUGE_PAGE;
    let map = MmapRaw::from(MmapMut::map_anon(size).map_err(|_| out_of_memory(size as u64))?);
    // Only a hint: without huge pages everything works, slower.
    let _ = map.advise(Advice::HugePage);
    let start = (map.as_ptr() as usize).next_multiple_of(HUGE_PAGE) - map.as_ptr() as usize;
    Ok((Arc::new(map), start))
}

fn out_of_memory(want: u64) -> Error {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.split_whitespace().next());
    let free = available.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0).saturating_mul(1024);
    Error::OutOfMemory { what: "weights".into(), want, free }
}

/// bf16 values in an [`Arena`], 64-byte aligned, writable while owned.
pub struct PageSlice {
    chunk: Arc<MmapRaw>,
    offset: usize,
    len: usize,
}

impl Deref for PageSlice {
    type Target = [bf16];

    fn deref(&self) -> &[bf16] {
        // SAFETY: `Arena::zeroed` checked that `len` values from `offset` lie inside the mapping, aligned to 64 bytes, and gives
        // no byte to two slices; the mapping is zeroed (every bit pattern is a bf16) and lives as long as `chunk`.
        unsafe { std::slice::from_raw_parts(self.chunk.as_ptr().add(self.offset).cast(), self.len) }
    }
}

impl DerefMut for PageSlice {
    fn deref_mut(&mut self) -> &mut [bf16] {
        // SAFETY: as in `deref`; the bytes belong to this slice alone, and it is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.chunk.as_mut_ptr().add(self.offset).cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_of_an_arena_are_zero_aligned_and_disjoint() {
        let arena = Arena::default();
        let lens = [1, 31, 32, 33, 0, 700_000, CHUNK / 2, CHUNK / 2 + 1, 5];
        let mut slices: Vec<PageSlice> = lens.iter().map(|len| arena.zeroed(*len).unwrap()).collect();
        for (i, slice) in slices.iter_mut().enumerate() {
            assert_eq!(slice.len(), lens[i]);
            assert_eq!(slice.as_ptr() as usize % ALIGN, 0);
            assert!(slice.iter().all(|x| x.to_bits() == 0), "slice {i} was written by another");
            slice.fill(bf16::from_f32(i as f32 + 1.0));
        }
        for (i, slice) in slices.iter().enumerate() {
            assert!(slice.iter().all(|x| x.to_f32() == i as f32 + 1.0), "slice {i} was overwritten");
        }
    }

    #[test]
    fn an_impossible_size_is_an_error() {
        for len in [usize::MAX, usize::MAX / 2, 1 << 60, 1 << 47] {
            let error = Arena::default().zeroed(len).err().expect("must be refused");
            assert_eq!(error.code(), 10, "{error}");
        }
    }
}
