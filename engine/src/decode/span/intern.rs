//! Slices to numbers: equal slices get equal numbers, in order of first sight.

use std::hash::Hasher;

/// A value that can be mixed into a hash.
pub(super) trait Mix: Copy + Eq {
    /// The hash `h` continued by this value.
    fn mix(self, h: u64) -> u64;
}

/// One step of a multiplicative hash; the high bits are the good ones.
pub(super) fn mix(h: u64, value: u64) -> u64 {
    (h.rotate_left(5) ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// A hash for keys that are numbers.
#[derive(Default)]
pub(super) struct MixHasher(u64);

impl Hasher for MixHasher {
    fn finish(&self) -> u64 {
        self.0.rotate_left(32)
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&b| self.write_u64(u64::from(b)));
    }
    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = mix(self.0, value);
    }
}

impl Mix for u32 {
    fn mix(self, h: u64) -> u64 {
        mix(h, u64::from(self))
    }
}

impl Mix for u64 {
    fn mix(self, h: u64) -> u64 {
        mix(h, self)
    }
}

const FREE: u32 = u32::MAX;
/// Slices for which there is room from the beginning: those of a short answer.
const ROOM: usize = 512;

/// An append-only set of slices in one arena, found again by open addressing.
#[derive(Debug)]
pub(super) struct Interner<T> {
    items: Vec<T>,
    /// End of each slice in `items`; it starts where the one before ends.
    ends: Vec<u32>,
    hashes: Vec<u32>,
    table: Vec<u32>,
}

impl<T: Mix> Interner<T> {
    pub fn new() -> Self {
        Self {
            items: Vec::with_capacity(ROOM),
            ends: Vec::with_capacity(ROOM),
            hashes: Vec::with_capacity(ROOM),
            table: vec![FREE; 2 * ROOM],
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn get(&self, id: u32) -> &[T] {
        let start = if id == 0 { 0 } else { self.ends[id as usize - 1] };
        &self.items[start as usize..self.ends[id as usize] as usize]
    }

    /// The number of `slice`, and whether it is new.
    pub fn intern(&mut self, slice: &[T]) -> (u32, bool) {
        let hash = (slice.iter().fold(slice.len() as u64, |h, &item| item.mix(h)) >> 32) as u32;
        let mask = self.table.len() - 1;
        let mut at = hash as usize & mask;
        while self.table[at] != FREE {
            let id = self.table[at];
            if self.hashes[id as usize] == hash && self.get(id) == slice {
                return (id, false);
            }
            at = (at + 1) & mask;
        }
        let id = self.ends.len() as u32;
        self.table[at] = id;
        self.items.extend_from_slice(slice);
        self.ends.push(self.items.len() as u32);
        self.hashes.push(hash);
        if self.ends.len() * 2 > self.table.len() {
            self.grow();
        }
        (id, true)
    }

    fn grow(&mut self) {
        let mask = self.table.len() * 2 - 1;
        self.table = vec![FREE; mask + 1];
        for (id, &hash) in self.hashes.iter().enumerate() {
            let mut at = hash as usize & mask;
            while self.table[at] != FREE {
                at = (at + 1) & mask;
            }
            self.table[at] = id as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn numbers_are_those_of_a_map(slices in prop::collection::vec(prop::collection::vec(0u64..3, 0..5), 0..300)) {
            let (mut interner, mut map) = (Interner::new(), HashMap::new());
            for slice in slices {
                let next = map.len() as u32;
                let id = *map.entry(slice.clone()).or_insert(next);
                prop_assert_eq!(interner.intern(&slice), (id, id == next));
                prop_assert_eq!(interner.get(id), &slice[..]);
                prop_assert_eq!(interner.len(), map.len());
            }
        }
    }
}
