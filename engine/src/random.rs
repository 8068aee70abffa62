//! Counter-based random numbers: a number depends on its key and index alone, never on who asks or in which order.

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): a counter becomes 64 random bits.
#[inline(always)]
pub fn mix(counter: u64) -> u64 {
    let x = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// 32 random bits of element `index` under `key`.
#[inline(always)]
pub fn uniform(key: u64, index: usize) -> u32 {
    (mix(key.wrapping_add(index as u64)) >> 32) as u32
}
