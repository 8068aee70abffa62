//! Memory kept back for the moment when the system gives none.
//!
//! Rust ends the process where memory is refused, unless it was asked for with `try_reserve`: a library must not. A process, or a
//! shared object, that makes [`Reserve`] its allocator gets refused memory from a reserve of 32 MiB instead, and work under
//! way ends with [`Error::OutOfMemory`] at its next [`check`]: before every pass of the model, text, tensor and buffer. What was
//! lent comes back as it is freed. The reserve is never touched before, so it takes address space but no memory.

use crate::{Error, Result};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};

/// Bytes of the reserve.
const SIZE: usize = if cfg!(miri) { 1 << 16 } else { 32 << 20 };
/// Bytes that it is lent by.
const UNIT: usize = 64;
const UNITS: usize = SIZE / UNIT;
/// Its alignment, the largest there is.
const ALIGN: usize = 4096;
/// A larger request is refused, lest it take what many small ones need. Whatever may be larger is asked for with `try_reserve`.
const LARGEST: usize = SIZE / 4;
/// Bytes that the system must give for work to go on once the reserve is in use.
const PROBE: usize = 1 << 20;

/// An allocator: that of the system, and behind it the reserve.
pub struct Reserve;

#[repr(C, align(4096))]
struct Pool {
    bytes: UnsafeCell<MaybeUninit<[u8; SIZE]>>,
    /// A bit for each unit that is lent.
    lent: UnsafeCell<[u64; UNITS / 64]>,
    /// Where to look for room first.
    next: UnsafeCell<usize>,
    locked: AtomicBool,
    used: AtomicUsize,
}

// SAFETY: `lent` and `next` are touched under `locked` only, `bytes` by those that units were lent to.
unsafe impl Sync for Pool {}

static POOL: Pool = Pool {
    bytes: UnsafeCell::new(MaybeUninit::uninit()),
    lent: UnsafeCell::new([0; UNITS / 64]),
    next: UnsafeCell::new(0),
    locked: AtomicBool::new(false),
    used: AtomicUsize::new(0),
};

impl Pool {
    fn start(&self) -> *mut u8 {
        self.bytes.get().cast()
    }

    fn holds(&self, ptr: *mut u8) -> bool {
        (ptr as usize).wrapping_sub(self.start() as usize) < SIZE
    }

    /// Calls `change` with the bits and the place to look at first. It must not allocate.
    fn locked<R>(&self, change: impl FnOnce(&mut [u64; UNITS / 64], &mut usize) -> R) -> R {
        while self.locked.compare_exchange_weak(false, true, Acquire, Relaxed).is_err() {
            std::hint::spin_loop();
        }
        // SAFETY: the lock is held.
        let result = unsafe { change(&mut *self.lent.get(), &mut *self.next.get()) };
        self.locked.store(false, Release);
        result
    }

    /// Room for `layout`, or NULL.
    fn lend(&self, layout: Layout) -> *mut u8 {
        let (units, step) = (layout.size().div_ceil(UNIT), layout.align().div_ceil(UNIT));
        if layout.size() > LARGEST || layout.align() > ALIGN {
            return std::ptr::null_mut();
        }
        let found = self.locked(|lent, next| {
            let taken = |unit: &usize| lent[unit / 64] >> (unit % 64) & 1 == 1;
            let search = |from: usize, to: usize| {
                let mut at = from.next_multiple_of(step);
                while at + units <= to {
                    match (at..at + units).rev().find(taken) {
                        Some(unit) => at = (unit + 1).next_multiple_of(step),
                        None => return Some(at),
                    }
                }
                None
            };
            let at = search(*next, UNITS).or_else(|| search(0, UNITS))?;
            (at..at + units).for_each(|unit| lent[unit / 64] |= 1 << (unit % 64));
            *next = at + units;
            Some(at)
        });
        let Some(at) = found else { return std::ptr::null_mut() };
        self.used.fetch_add(units, Relaxed);
        // SAFETY: a unit of the pool.
        unsafe { self.start().add(at * UNIT) }
    }

    /// Takes back what was lent for `layout` at `ptr`.
    fn take_back(&self, ptr: *mut u8, layout: Layout) {
        let (at, units) = ((ptr as usize - self.start() as usize) / UNIT, layout.size().div_ceil(UNIT));
        self.locked(|lent, _| (at..at + units).for_each(|unit| lent[unit / 64] &= !(1 << (unit % 64))));
        self.used.fetch_sub(units, Relaxed);
    }
}

// SAFETY: memory comes from the system's allocator, or from units that belong to nobody else until they are taken back, of the
// size and alignment asked for; which of the two shows in the address. Nothing here allocates or unwinds.
unsafe impl GlobalAlloc for Reserve {
    // Not inlined, all four: at thousands of places they would be a seventh of the library.
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about `layout`, here and below.
        let ptr = unsafe { System.alloc(layout) };
        if ptr.is_null() { POOL.lend(layout) } else { ptr }
    }

    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let ptr = unsafe { System.alloc_zeroed(layout) };
        if !ptr.is_null() {
            return ptr;
        }
        let ptr = POOL.lend(layout);
        if !ptr.is_null() {
            // SAFETY: as many bytes were lent.
            unsafe { ptr.write_bytes(0, layout.size()) };
        }
        ptr
    }

    #[inline(never)]
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        if POOL.holds(ptr) {
            return POOL.take_back(ptr, layout);
        }
        // SAFETY: the system gave it.
        unsafe { System.dealloc(ptr, layout) }
    }

    #[inline(never)]
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !POOL.holds(ptr) {
            // SAFETY: the system gave it.
            let grown = unsafe { System.realloc(ptr, layout, new_size) };
            if !grown.is_null() {
                return grown;
            }
        }
        // SAFETY: the caller promises that the new size is not too large; the two places are different, and both as large as copied.
        unsafe {
            let to = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !to.is_null() {
                to.copy_from_nonoverlapping(ptr, layout.size().min(new_size));
                self.dealloc(ptr, layout);
            }
            to
        }
    }
}

/// Refuses to go on where the reserve is in use and the system still gives no memory.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub fn check() -> Result<()> {
    if POOL.used.load(Relaxed) == 0 {
        return Ok(());
    }
    // SAFETY: a layout of some bytes; what was given is given back. The compiler must not do without.
    let given = unsafe {
        let layout = Layout::new::<[u8; PROBE]>();
        let ptr = std::hint::black_box(System.alloc(layout));
        if !ptr.is_null() {
            System.dealloc(ptr, layout);
        }
        !ptr.is_null()
    };
    match given {
        true => Ok(()),
        false => Err(Error::OutOfMemory { what: "to go on".into(), want: PROBE as u64, free: 0 }),
    }
}

/// An empty vector with room for `len` elements.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn room<T>(len: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    let short = |_| {
        let want = (len as u64).saturating_mul(size_of::<T>() as u64);
        Error::OutOfMemory { what: "an array".into(), want, free: 0 }
    };
    values.try_reserve_exact(len).map_err(short)?;
    check()?;
    Ok(values)
}

/// `len` times `value`.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn filled<T: Copy>(value: T, len: usize) -> Result<Vec<T>> {
    let mut values = room(len)?;
    values.resize(len, value);
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was lent, all of it.
    fn bytes<'a>(ptr: *mut u8, layout: Layout) -> &'a mut [u8] {
        // SAFETY: lent to this test for as long, and written before it is read.
        unsafe { std::slice::from_raw_parts_mut(ptr, layout.size()) }
    }

    /// What the pool lends is aligned, disjoint and comes back. Nothing else in this process uses it: it has the usual allocator.
    #[test]
    fn the_reserve_lends_each_byte_once_and_takes_it_back() {
        let mut held: Vec<(*mut u8, Layout, u8)> = Vec::new();
        for round in 0..4000u32 {
            let n = crate::random::mix(u64::from(round)) as usize;
            if n.is_multiple_of(3) && !held.is_empty() {
                let (ptr, layout, mark) = held.swap_remove(n / 3 % held.len());
                assert!(bytes(ptr, layout).iter().all(|byte| *byte == mark), "overwritten");
                POOL.take_back(ptr, layout);
                continue;
            }
            let layout = Layout::from_size_align(1 + n / 7 % 5000, 1 << (n / 11 % 13)).unwrap();
            let ptr = POOL.lend(layout);
            assert!(!ptr.is_null() && POOL.holds(ptr) && (ptr as usize).is_multiple_of(layout.align()));
            bytes(ptr, layout).fill(round as u8);
            held.push((ptr, layout, round as u8));
        }
        assert!(POOL.used.load(Relaxed) > 0 && check().is_ok(), "there is memory here");
        let most = Layout::from_size_align(LARGEST, 1).unwrap();
        let large: Vec<*mut u8> = std::iter::from_fn(|| Some(POOL.lend(most)).filter(|ptr| !ptr.is_null())).collect();
        assert!(large.len() < 4, "more than there is");
        large.into_iter().for_each(|ptr| POOL.take_back(ptr, most));
        assert!(POOL.lend(Layout::from_size_align(LARGEST + 1, 1).unwrap()).is_null());
        // A piece that grows moves to the system, with what it holds.
        for (ptr, layout, mark) in held {
            let grown = Layout::from_size_align(2 * layout.size() + 1, layout.align()).unwrap();
            // SAFETY: lent for `layout`.
            let to = unsafe { Reserve.realloc(ptr, layout, grown.size()) };
            assert!(!POOL.holds(to) && bytes(to, layout).iter().all(|byte| *byte == mark));
            // SAFETY: what `realloc` gave.
            unsafe { Reserve.dealloc(to, grown) };
        }
        assert_eq!(POOL.used.load(Relaxed), 0);
        assert!(POOL.locked(|lent, _| lent.iter().all(|bits| *bits == 0)));
    }
}
