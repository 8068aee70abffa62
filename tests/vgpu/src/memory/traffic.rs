//! What an access costs on a GPU: 32-byte sectors of global memory, passes over the 32 banks of shared memory.

/// The 32-byte sectors that the lanes touch, and the fewest that hold as many distinct bytes.
pub fn sectors(addresses: &[u64; 32], lanes: u32, size: u32) -> (u32, u32) {
    let (mut sorted, mut count) = ([0u64; 32], 0);
    let mut ascending = true;
    for lane in Lanes(lanes) {
        let address = addresses[lane];
        ascending &= count == 0 || sorted[count - 1] <= address;
        sorted[count] = address;
        count += 1;
    }
    let sorted = &mut sorted[..count];
    if !ascending {
        sorted.sort_unstable();
    }
    // Aligned accesses of at most 16 bytes never straddle a sector; equal or disjoint is all that two of them can be.
    let (mut touched, mut distinct) = (0, 0);
    let mut previous = None;
    for &address in sorted.iter() {
        touched += u32::from(previous.is_none_or(|previous| previous >> 5 != address >> 5));
        distinct += u32::from(previous != Some(address));
        previous = Some(address);
    }
    (touched, (distinct * size).div_ceil(32))
}

/// The passes over shared memory that the lanes need, and the fewest: one per 32, 16 or 8 lanes for accesses of up to 4, 8 or
/// 16 bytes. Lanes of one pass conflict when they need different words of one bank.
pub fn wavefronts(addresses: &[u64; 32], lanes: u32, size: u32) -> (u32, u32) {
    let shift = size.max(4).trailing_zeros();
    let banks = 128usize >> shift;
    let (mut passes, mut fewest) = (0, 0);
    for first in (0..32).step_by(banks) {
        let group = lanes & ((((1u64 << banks) - 1) << first) as u32);
        if group == 0 {
            continue;
        }
        fewest += 1;
        // Mostly every lane has a bank of its own.
        let bank = |lane: usize| 1u32 << ((addresses[first + lane] >> shift) as usize & (banks - 1));
        let taken = (0..banks).fold(0, |taken, lane| taken | bank(lane));
        if taken.count_ones() == banks as u32 {
            passes += 1;
            continue;
        }
        passes += conflicts(addresses, group, shift, banks);
    }
    (passes, fewest)
}

fn conflicts(addresses: &[u64; 32], group: u32, shift: u32, banks: usize) -> u32 {
    let (mut words, mut count) = ([0u64; 32], 0);
    let (mut taken, mut clash) = (0u32, false);
    for lane in Lanes(group) {
        let word = addresses[lane] >> shift;
        if count > 0 && words[count - 1] == word {
            continue;
        }
        let bank = 1 << (word as usize & (banks - 1));
        clash |= taken & bank != 0;
        taken |= bank;
        words[count] = word;
        count += 1;
    }
    if !clash {
        return 1;
    }
    let words = &mut words[..count];
    words.sort_unstable();
    let mut depth = [0u32; 32];
    let mut previous = None;
    for &word in words.iter().filter(|word| previous.replace(**word) != Some(**word)) {
        depth[word as usize & (banks - 1)] += 1;
    }
    depth.into_iter().max().unwrap_or(1)
}

/// The set lanes of a mask, lowest first.
#[derive(Clone, Copy)]
pub struct Lanes(pub u32);

impl Iterator for Lanes {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let lane = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(lane)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn strided(base: u64, stride: u64) -> [u64; 32] {
        std::array::from_fn(|lane| base + lane as u64 * stride)
    }

    #[test]
    fn textbook_patterns_cost_what_the_manual_says() {
        assert_eq!(sectors(&strided(1024, 4), !0, 4), (4, 4));
        assert_eq!(sectors(&strided(1028, 4), !0, 4), (5, 4));
        assert_eq!(sectors(&strided(0, 128), !0, 4), (32, 4));
        assert_eq!(sectors(&strided(64, 0), !0, 4), (1, 1));
        assert_eq!(sectors(&strided(0, 16), !0, 16), (16, 16));
        assert_eq!(wavefronts(&strided(0, 4), !0, 4), (1, 1));
        assert_eq!(wavefronts(&strided(0, 128), !0, 4), (32, 1));
        assert_eq!(wavefronts(&strided(0, 8), !0, 4), (2, 1));
        assert_eq!(wavefronts(&strided(0, 0), !0, 4), (1, 1));
        assert_eq!(wavefronts(&strided(0, 2), !0, 2), (1, 1));
        assert_eq!(wavefronts(&strided(0, 16), !0, 16), (4, 4));
        assert_eq!(wavefronts(&strided(0, 128), !0, 16), (32, 4));
        assert_eq!(wavefronts(&strided(0, 144), !0, 16), (4, 4));
        assert_eq!(wavefronts(&strided(0, 16), 0xff, 16), (1, 1));
        assert_eq!(wavefronts(&strided(0, 8), !0, 8), (2, 2));
    }

    proptest! {
        #[test]
        fn counts_agree_with_sets(raw in proptest::array::uniform32(0u64..4096), lanes in 1u32.., shift in 0u32..5) {
            let size = 1 << shift;
            let addresses = raw.map(|address| address & !(u64::from(size) - 1));
            let active: Vec<usize> = (0..32).filter(|lane| lanes >> lane & 1 == 1).collect();
            let touched: BTreeSet<u64> = active.iter().map(|lane| addresses[*lane] / 32).collect();
            let distinct: BTreeSet<u64> = active.iter().map(|lane| addresses[*lane]).collect();
            let fewest = (distinct.len() as u32 * size).div_ceil(32);
            prop_assert_eq!(sectors(&addresses, lanes, size), (touched.len() as u32, fewest));
            let per_pass = if size <= 4 { 32 } else { 128 / size as usize };
            let (mut passes, mut groups) = (0, 0);
            for first in (0..32).step_by(per_pass) {
                let mut banks: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
                for lane in active.iter().filter(|lane| **lane >= first && **lane < first + per_pass) {
                    for word in addresses[*lane] / 4..(addresses[*lane] + u64::from(size)).div_ceil(4) {
                        banks.entry(word % 32).or_default().insert(word);
                    }
                }
                groups += u32::from(!banks.is_empty());
                passes += banks.values().map(|words| words.len() as u32).max().unwrap_or(0);
            }
            prop_assert_eq!(wavefronts(&addresses, lanes, size), (passes, groups));
        }
    }
}
