//! The state of a byte: allocated, and holding data or not. One byte of shadow per byte of memory.

/// In no allocation.
pub const UNALLOCATED: u8 = 0;
/// Allocated; nothing was written to it yet.
pub const ALLOCATED: u8 = 1;
/// Allocated and written.
pub const DEFINED: u8 = 3;
/// In an allocation that was freed.
pub const FREED: u8 = 4;
/// The destination of an asynchronous copy that has not landed: like unallocated memory to every access.
pub const PENDING: u8 = 8;

/// Whether all of `size` bytes are allocated, and whether all are written.
///
/// # Safety
/// `at` points to `size` readable shadow bytes; `size` is 1, 2, 4, 8 or 16.
#[inline(always)]
pub unsafe fn states(at: *const u8, size: u32) -> (bool, bool) {
    const ONE: u128 = 0x0101_0101_0101_0101_0101_0101_0101_0101;
    // SAFETY: the caller's promise; reads of unaligned integers are asked for as such.
    let and = unsafe {
        match size {
            1 => *at as u128 | (ONE * 3) << 8,
            2 => (at as *const u16).read_unaligned() as u128 | (ONE * 3) << 16,
            4 => (at as *const u32).read_unaligned() as u128 | (ONE * 3) << 32,
            8 => (at as *const u64).read_unaligned() as u128 | (ONE * 3) << 64,
            _ => (at as *const u128).read_unaligned(),
        }
    };
    (and & ONE == ONE, and & (ONE * 3) == ONE * 3)
}

/// The states of several accesses of one size, of which only the worst counts.
#[derive(Clone, Copy)]
pub struct Together(u128);

impl Default for Together {
    fn default() -> Together {
        Together(u128::MAX)
    }
}

impl Together {
    /// # Safety
    /// `at` points to `SIZE` readable shadow bytes; `SIZE` is 1, 2, 4, 8 or 16.
    #[inline(always)]
    pub unsafe fn add<const SIZE: u32>(&mut self, at: *const u8) {
        // SAFETY: the caller's promise.
        self.0 &= unsafe {
            match SIZE {
                1 => *at as u128,
                2 => (at as *const u16).read_unaligned() as u128,
                4 => (at as *const u32).read_unaligned() as u128,
                8 => (at as *const u64).read_unaligned() as u128,
                _ => (at as *const u128).read_unaligned(),
            }
        };
    }

    /// Whether every byte of all of them is written.
    #[inline(always)]
    pub fn all_defined<const SIZE: u32>(self) -> bool {
        let all = (u128::MAX >> (128 - 8 * SIZE)) / 255 * u128::from(DEFINED);
        self.0 & all == all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_several_accesses_decides() {
        fn ask<const SIZE: u32>() {
            for bad in 0..3 * SIZE as usize {
                for (state, want) in [(DEFINED, true), (ALLOCATED, false), (FREED, false), (PENDING, false)] {
                    let mut bytes = [DEFINED; 48];
                    bytes[bad] = state;
                    let mut together = Together::default();
                    for access in 0..3 {
                        // SAFETY: three accesses of at most 16 bytes lie in 48.
                        unsafe { together.add::<SIZE>(bytes.as_ptr().add(access * SIZE as usize)) };
                    }
                    assert_eq!(together.all_defined::<SIZE>(), want, "size {SIZE} byte {bad} state {state}");
                }
            }
        }
        ask::<1>();
        ask::<2>();
        ask::<4>();
        ask::<8>();
        ask::<16>();
    }

    #[test]
    fn one_byte_decides_for_every_size() {
        for size in [1u32, 2, 4, 8, 16] {
            for bad in 0..size as usize {
                let mut bytes = [DEFINED; 16];
                bytes[size as usize..].fill(UNALLOCATED);
                // SAFETY: an array of 16 shadow bytes.
                let ask = |bytes: &[u8; 16]| unsafe { states(bytes.as_ptr(), size) };
                assert_eq!(ask(&bytes), (true, true));
                for (state, want) in
                    [(ALLOCATED, (true, false)), (FREED, (false, false)), (UNALLOCATED, (false, false))]
                {
                    bytes[bad] = state;
                    assert_eq!(ask(&bytes), want, "size {size} byte {bad} state {state}");
                }
            }
        }
    }
}
