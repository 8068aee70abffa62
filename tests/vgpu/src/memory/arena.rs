//! Device memory: one reserved range of host addresses, so that a device pointer is a host pointer, with a shadow byte per byte.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::shadow;

/// Bytes of address space reserved for device memory; pages are only backed once they are touched.
pub const ARENA_BYTES: usize = 64 << 30;
/// Bytes between two allocations that belong to neither.
const RED_ZONE: usize = 64 << 10;
/// Device pointers are aligned as cuMemAlloc's are, and more.
const ALIGNMENT: usize = 512;

/// The device memory of this process. See [`arena`].
pub struct Arena {
    base: usize,
    shadow: usize,
    state: Mutex<State>,
}

struct State {
    /// Offset of the first byte never handed out.
    next: usize,
    capacity: usize,
    used: usize,
    live: BTreeMap<usize, Allocation>,
    freed: BTreeMap<usize, Allocation>,
    /// Starts of `freed`, oldest first: reused only when the address space is spent.
    oldest: VecDeque<usize>,
}

struct Allocation {
    bytes: usize,
    name: Option<String>,
}

impl Allocation {
    fn title(&self) -> String {
        match &self.name {
            Some(name) => format!("the {}-byte {name}", self.bytes),
            None => format!("a {}-byte allocation", self.bytes),
        }
    }
}

/// The process's device memory, reserved at first use. A machine that cannot reserve it gets an arena of capacity zero.
pub fn arena() -> &'static Arena {
    static ARENA: OnceLock<Arena> = OnceLock::new();
    ARENA.get_or_init(|| {
        let (base, shadow) = (reserve(ARENA_BYTES), reserve(ARENA_BYTES));
        let capacity = if base.is_some() && shadow.is_some() { 16 << 30 } else { 0 };
        let state = State {
            next: RED_ZONE,
            capacity,
            used: 0,
            live: BTreeMap::new(),
            freed: BTreeMap::new(),
            oldest: VecDeque::new(),
        };
        Arena { base: base.unwrap_or(0), shadow: shadow.unwrap_or(0), state: Mutex::new(state) }
    })
}

/// Zeroed pages at a fresh address, backed when touched.
pub(crate) fn reserve(bytes: usize) -> Option<usize> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches no memory of ours.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    (address != libc::MAP_FAILED).then_some(address as usize)
}

impl Arena {
    /// Allocates `bytes` of undefined memory; `None` when the capacity does not allow it.
    pub fn allocate(&self, bytes: usize) -> Option<u64> {
        self.place(bytes, None)
    }

    /// Allocates memory that faults call by `name`, such as "module global `table`".
    pub fn allocate_named(&self, bytes: usize, name: &str) -> Option<u64> {
        self.place(bytes, Some(name.to_owned()))
    }

    fn place(&self, bytes: usize, name: Option<String>) -> Option<u64> {
        let mut state = self.state();
        let bytes = bytes.max(1);
        if bytes > state.capacity.saturating_sub(state.used) {
            return None;
        }
        let start = if state.next + bytes + 2 * RED_ZONE <= ARENA_BYTES {
            let start = state.next;
            state.next = (start + bytes + RED_ZONE).next_multiple_of(ALIGNMENT);
            start
        } else {
            let fits = |start: &usize| state.freed.get(start).is_some_and(|old| old.bytes >= bytes);
            let at = state.oldest.iter().position(fits)?;
            let start = state.oldest.remove(at)?;
            let old = state.freed.remove(&start)?;
            self.shade(start, old.bytes, shadow::UNALLOCATED);
            start
        };
        state.live.insert(start, Allocation { bytes, name });
        state.used += bytes;
        self.shade(start, bytes, shadow::ALLOCATED);
        Some((self.base + start) as u64)
    }

    /// Frees the allocation that starts at `address`; false when none does.
    pub fn free(&self, address: u64) -> bool {
        let mut state = self.state();
        let start = (address as usize).wrapping_sub(self.base);
        let Some(allocation) = state.live.remove(&start) else { return false };
        state.used -= allocation.bytes;
        self.shade(start, allocation.bytes, shadow::FREED);
        let first = (self.base + start).next_multiple_of(4096);
        let end = (self.base + start + allocation.bytes) & !4095;
        if end > first {
            // SAFETY: whole pages of a freed allocation inside the reserved range; reading them again yields zeros.
            unsafe { libc::madvise(first as *mut libc::c_void, end - first, libc::MADV_DONTNEED) };
        }
        state.freed.insert(start, allocation);
        state.oldest.push_back(start);
        true
    }

    /// Bytes that may be allocated at once.
    pub fn capacity(&self) -> usize {
        self.state().capacity
    }

    /// Sets the capacity, at most the reserved range.
    pub fn set_capacity(&self, bytes: usize) {
        self.state().capacity = if self.base == 0 { 0 } else { bytes.min(ARENA_BYTES / 2) };
    }

    /// Bytes allocated now.
    pub fn used(&self) -> usize {
        self.state().used
    }

    /// Whether `address` lies in the reserved range at all.
    #[inline]
    pub fn contains(&self, address: u64) -> bool {
        self.offset(address) < ARENA_BYTES && self.base != 0
    }

    /// The live allocation around `address`: its start and its bytes.
    pub fn allocation(&self, address: u64) -> Option<(u64, usize)> {
        let state = self.state();
        let offset = self.offset(address);
        let (start, allocation) = state.live.range(..=offset).next_back()?;
        (offset < start + allocation.bytes).then_some(((self.base + start) as u64, allocation.bytes))
    }

    /// Whether every byte of the range is allocated; where not, the first bad one described.
    pub fn check(&self, address: u64, bytes: usize) -> Result<(), String> {
        if bytes == 0 {
            return Ok(());
        }
        let end = address.checked_add(bytes as u64 - 1);
        if !self.contains(address) || !end.is_some_and(|end| self.contains(end)) {
            return Err(self.describe(address));
        }
        match self.shadow_of(address, bytes).iter().position(|state| state & shadow::ALLOCATED == 0) {
            Some(bad) => Err(self.describe(address + bad as u64)),
            None => Ok(()),
        }
    }

    /// Marks a range that [`Arena::check`] accepted as holding data.
    pub fn mark_initialised(&self, address: u64, bytes: usize) {
        self.shade(self.offset(address), bytes, shadow::DEFINED);
    }

    /// Marks a range that [`Arena::check`] accepted as allocated and holding no data yet.
    pub fn mark_uninitialised(&self, address: u64, bytes: usize) {
        self.shade(self.offset(address), bytes, shadow::ALLOCATED);
    }

    /// Whether every byte of an allocated range holds data.
    pub fn is_initialised(&self, address: u64, bytes: usize) -> bool {
        self.check(address, bytes).is_ok()
            && self.shadow_of(address, bytes).iter().all(|state| *state == shadow::DEFINED)
    }

    /// Gives the bytes at `to` the states of those at `from`; both ranges must have passed [`Arena::check`].
    pub fn copy_definedness(&self, to: u64, from: u64, bytes: usize) {
        // SAFETY: both ranges lie in the reserved shadow; they may overlap, as the copy they follow.
        unsafe { std::ptr::copy(self.shadow_pointer(from), self.shadow_pointer(to), bytes) };
    }

    /// What an address is, relative to the nearest allocation.
    pub fn describe(&self, address: u64) -> String {
        if !self.contains(address) {
            return format!("0x{address:x} is no device address");
        }
        let state = self.state();
        let offset = self.offset(address);
        if let Some((start, old)) = state.freed.range(..=offset).next_back()
            && offset < start + old.bytes
        {
            return format!("0x{address:x} is byte {} of {} that was freed", offset - start, old.title());
        }
        let before = state.live.range(..=offset).next_back();
        if let Some((start, allocation)) = before
            && offset < start + allocation.bytes
        {
            return format!("0x{address:x} is byte {} of {}", offset - start, allocation.title());
        }
        let past = before.map(|(start, allocation)| (offset - start - allocation.bytes, allocation));
        let ahead = state.live.range(offset..).next().map(|(start, allocation)| (start - offset, allocation));
        match (past, ahead) {
            (Some((past, allocation)), None) => {
                format!("0x{address:x} is {past} bytes past the end of {}", allocation.title())
            }
            (Some((past, allocation)), Some((ahead, _))) if past <= ahead => {
                format!("0x{address:x} is {past} bytes past the end of {}", allocation.title())
            }
            (_, Some((ahead, allocation))) => {
                format!("0x{address:x} is {ahead} bytes before {}", allocation.title())
            }
            (None, None) => format!("0x{address:x} is in no allocation"),
        }
    }

    /// The shadow byte of a device address that [`Arena::contains`].
    #[inline]
    pub(crate) fn shadow_pointer(&self, address: u64) -> *mut u8 {
        (self.shadow + self.offset(address)) as *mut u8
    }

    /// Offset in the reserved range; meaningless for an address outside.
    #[inline]
    pub(crate) fn offset(&self, address: u64) -> usize {
        (address as usize).wrapping_sub(self.base)
    }

    fn shadow_of(&self, address: u64, bytes: usize) -> &[u8] {
        // SAFETY: the callers have checked that the range lies in the arena, whose shadow has the same size.
        unsafe { std::slice::from_raw_parts(self.shadow_pointer(address), bytes) }
    }

    fn shade(&self, offset: usize, bytes: usize, state: u8) {
        debug_assert!(offset <= ARENA_BYTES && bytes <= ARENA_BYTES - offset);
        // SAFETY: the range lies in the reserved shadow.
        unsafe { std::ptr::write_bytes((self.shadow + offset) as *mut u8, state, bytes) };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_described_relative_to_the_nearest_allocation() {
        let arena = arena();
        let start = arena.allocate(1200).unwrap();
        assert_eq!(start % 512, 0);
        assert!(arena.describe(start + 7).ends_with("is byte 7 of a 1200-byte allocation"));
        assert!(arena.describe(start + 1200).ends_with("is 0 bytes past the end of a 1200-byte allocation"));
        assert!(arena.describe(start + 1204).ends_with("is 4 bytes past the end of a 1200-byte allocation"));
        assert!(arena.describe(start - 3).ends_with("is 3 bytes before a 1200-byte allocation"));
        assert!(arena.describe(12).ends_with("0xc is no device address"));
        assert_eq!(arena.allocation(start + 1199), Some((start, 1200)));
        assert_eq!(arena.allocation(start + 1200), None);
        assert!(arena.free(start));
        assert!(!arena.free(start));
        assert!(arena.describe(start + 5).ends_with("is byte 5 of a 1200-byte allocation that was freed"));
        let named = arena.allocate_named(64, "module global `table`").unwrap();
        assert!(arena.describe(named + 64).ends_with("is 0 bytes past the end of the 64-byte module global `table`"));
    }

    #[test]
    fn ranges_are_checked_to_the_byte() {
        let arena = arena();
        let start = arena.allocate(100).unwrap();
        assert!(arena.check(start, 100).is_ok());
        assert!(arena.check(start, 101).unwrap_err().contains("0 bytes past the end"));
        assert!(arena.check(start + 99, 1).is_ok());
        assert!(arena.check(start - 1, 1).is_err());
        assert!(arena.check(u64::MAX, 2).is_err());
        assert!(arena.check(0, 0).is_ok());
        assert!(!arena.is_initialised(start, 1));
        arena.mark_initialised(start, 50);
        assert!(arena.is_initialised(start, 50) && !arena.is_initialised(start, 51));
        arena.copy_definedness(start + 50, start, 25);
        assert!(arena.is_initialised(start, 75) && !arena.is_initialised(start, 76));
        arena.mark_uninitialised(start + 10, 1);
        assert!(!arena.is_initialised(start + 10, 1));
        arena.free(start);
        assert!(arena.check(start, 1).unwrap_err().contains("freed"));
    }

    #[test]
    fn memory_is_zero_again_after_it_was_freed_and_the_capacity_is_kept() {
        let arena = arena();
        let start = arena.allocate(1 << 20).unwrap();
        // SAFETY: a live allocation of a mebibyte.
        unsafe { std::ptr::write_bytes(start as *mut u8, 7, 1 << 20) };
        arena.free(start);
        // SAFETY: the reserved range stays mapped.
        assert_eq!(unsafe { *((start as usize + 8192) as *const u8) }, 0);
        assert!(arena.allocate(arena.capacity() + 1).is_none());
    }
}
