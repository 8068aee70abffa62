//! Memory that is not device memory: a block's shared memory and its threads' local memory, byte for byte with its state.

use super::{Lanes, shadow};

/// One variable of shared memory; bytes in no region are out of bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// What faults call it.
    pub name: String,
    /// Offset of its first byte.
    pub start: u32,
    /// Bytes.
    pub bytes: u32,
}

/// Bytes with their states.
pub struct Buffer {
    // 16-byte units keep the data aligned for every access.
    data: Vec<u128>,
    state: Vec<u8>,
    fresh: Vec<u8>,
}

/// What a check of lanes found.
#[derive(Default)]
pub struct Found {
    /// Lanes with a byte out of bounds, or the destination of a copy.
    pub bad: u32,
    /// Lanes with an undefined byte.
    pub undefined: u32,
}

impl Buffer {
    /// Memory of which `regions` are allocated.
    pub fn new(regions: &[Region]) -> Buffer {
        let end = regions.iter().map(|region| region.start as usize + region.bytes as usize).max().unwrap_or(0);
        // Slack, so that states of an access that starts inside can be read in one go.
        let bytes = end.next_multiple_of(16) + 16;
        let mut fresh = vec![shadow::UNALLOCATED; bytes];
        for region in regions {
            let start = region.start as usize;
            fresh[start..start + region.bytes as usize].fill(shadow::ALLOCATED);
        }
        Buffer { data: vec![0; bytes / 16], state: fresh.clone(), fresh }
    }

    /// Forgets all data: bytes read as rubbish and count as undefined.
    pub fn reset(&mut self) {
        self.state.copy_from_slice(&self.fresh);
        self.data.fill(0xbdbd_bdbd_bdbd_bdbd_bdbd_bdbd_bdbd_bdbd);
    }

    /// Bytes, with what lies between and behind the regions.
    pub fn bytes(&self) -> u32 {
        self.state.len() as u32
    }

    /// The first byte.
    pub fn pointer(&mut self) -> *mut u8 {
        self.data.as_mut_ptr().cast()
    }

    /// Where the byte at `offset` lies, which must be inside.
    pub fn at(&mut self, offset: u64) -> *mut u8 {
        debug_assert!((offset as usize) < self.state.len());
        self.pointer().wrapping_add(offset as usize)
    }

    /// Checks all lanes; with `write`, the bytes of lanes that are not bad become defined.
    #[inline(always)]
    pub fn check<const SIZE: u32>(&mut self, offsets: &[u64; 32], lanes: u32, read: bool, write: bool) -> Found {
        let limit = self.state.len() as u64 - u64::from(SIZE);
        let mut found = Found::default();
        // Mostly nothing is wrong: all states together tell.
        let mut together = shadow::Together::default();
        let inside = Lanes(lanes).all(|lane| {
            let inside = offsets[lane] <= limit;
            if inside {
                // SAFETY: `offset + SIZE` is at most the length of the states.
                unsafe { together.add::<SIZE>(self.state.as_ptr().add(offsets[lane] as usize)) };
            }
            inside
        });
        if inside && together.all_defined::<SIZE>() {
            return found;
        }
        for lane in Lanes(lanes) {
            let offset = offsets[lane];
            if offset > limit {
                found.bad |= 1 << lane;
                continue;
            }
            let state = self.state[offset as usize..].as_mut_ptr();
            // SAFETY: `offset + SIZE` is at most the length of the states.
            let (allocated, defined) = unsafe { shadow::states(state, SIZE) };
            if !allocated {
                found.bad |= 1 << lane;
                continue;
            }
            if read && !defined {
                found.undefined |= 1 << lane;
            }
            if write && !defined {
                // SAFETY: as above.
                unsafe { std::ptr::write_bytes(state, shadow::DEFINED, SIZE as usize) };
            }
        }
        found
    }

    /// Writes 16 bytes and their states at an aligned place that a check accepted.
    #[inline(always)]
    pub fn put(&mut self, offset: u64, data: u128, states: u128) {
        let start = offset as usize;
        self.data[start / 16] = data;
        self.state[start..start + 16].copy_from_slice(&states.to_ne_bytes());
    }

    /// Sets the state of bytes that a check accepted.
    #[inline(always)]
    pub fn shade(&mut self, offset: u64, bytes: u32, state: u8) {
        let start = offset as usize;
        self.state[start..start + bytes as usize].fill(state);
    }

    /// The states of `bytes` from `offset` on, cut at the end.
    pub fn states(&self, offset: u64, bytes: u32) -> &[u8] {
        let end = self.state.len();
        let start = usize::try_from(offset).unwrap_or(end).min(end);
        &self.state[start..end.min(start + bytes as usize)]
    }

    /// Writable states of bytes that a check accepted.
    pub fn states_mut(&mut self, offset: u64, bytes: u32) -> &mut [u8] {
        &mut self.state[offset as usize..][..bytes as usize]
    }
}

/// An offset relative to the nearest region.
pub fn describe(regions: &[Region], offset: u64) -> String {
    let title = |region: &Region| format!("{} ({} bytes)", readable(&region.name), region.bytes);
    let offset_of = |region: &Region| (u64::from(region.start), u64::from(region.start) + u64::from(region.bytes));
    if let Some(region) = regions.iter().find(|region| (offset_of(region).0..offset_of(region).1).contains(&offset)) {
        return format!("shared offset {offset} is byte {} of {}", offset - offset_of(region).0, title(region));
    }
    let before = regions.iter().filter(|region| offset_of(region).1 <= offset).max_by_key(|region| offset_of(region).1);
    let after = regions.iter().filter(|region| offset_of(region).0 > offset).min_by_key(|region| region.start);
    match (before, after) {
        (Some(region), next) => {
            let past = offset - offset_of(region).1;
            match next.map(|next| (next, offset_of(next).0 - offset)) {
                Some((next, ahead)) if ahead < past => {
                    format!("shared offset {offset} is {ahead} bytes before {}", title(next))
                }
                _ => format!("shared offset {offset} is {past} bytes past the end of {}", title(region)),
            }
        }
        (None, Some(region)) => {
            let ahead = offset_of(region).0 - offset;
            format!("shared offset {offset} is {ahead} bytes before {}", title(region))
        }
        (None, None) => format!("shared offset {offset}: the kernel has no shared memory"),
    }
}

/// The variable's own name of a local variable's mangled one: `_ZZ6kernelE4tile` is `tile`.
fn readable(name: &str) -> String {
    let own = |name: &str| {
        let length = name.rsplit('E').next()?;
        let digits = length.len() - length.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (count, rest) = length.split_at(digits);
        rest.get(..count.parse().ok()?).filter(|own| !own.is_empty()).map(|own| format!("`{own}`"))
    };
    if name.starts_with("_ZZ") { own(name).unwrap_or_else(|| name.to_owned()) } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_bounded_to_the_byte() {
        let regions = [
            Region { name: "`a`".into(), start: 0, bytes: 10 },
            Region { name: "dynamic shared memory".into(), start: 128, bytes: 100 },
        ];
        let mut buffer = Buffer::new(&regions);
        let offsets: [u64; 32] =
            std::array::from_fn(|lane| [0, 8, 9, 10, 127, 128, 227, 228, 1 << 40, u64::MAX][lane % 10]);
        let found = buffer.check::<1>(&offsets, 0x3ff, false, true);
        assert_eq!(found.bad, 0b11_1001_1000);
        let found = buffer.check::<1>(&offsets, 0b0010_0110, true, false);
        assert_eq!((found.bad, found.undefined), (0, 0));
        let found = buffer.check::<2>(&[8; 32], 1, true, false);
        assert_eq!((found.bad, found.undefined), (0, 0));
        let found = buffer.check::<4>(&[8; 32], 1, true, false);
        assert_eq!(found.bad, 1);
        buffer.reset();
        assert_eq!(buffer.check::<1>(&offsets, 1, true, false).undefined, 1);
        assert_eq!(readable("_ZZ13static_sharedE6second"), "`second`");
        assert_eq!(readable("_ZZN1a1bEvE4tile"), "`tile`");
        assert_eq!(describe(&regions, 10), "shared offset 10 is 0 bytes past the end of `a` (10 bytes)");
        assert_eq!(describe(&regions, 120), "shared offset 120 is 8 bytes before dynamic shared memory (100 bytes)");
        assert_eq!(describe(&regions, 130), "shared offset 130 is byte 2 of dynamic shared memory (100 bytes)");
        assert_eq!(
            describe(&regions, 230),
            "shared offset 230 is 2 bytes past the end of dynamic shared memory (100 bytes)"
        );
    }
}
