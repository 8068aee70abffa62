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

#[cfg(test)]
mod tests {
    use super::*;

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
