//! The work of attention over packed examples: tiles of rows (or keys) of one example.

use crate::params::PackedItem;
use std::cmp::Reverse;
use std::ops::Range;

/// Tiles of at most `rows` rows of each example, those that see most first; None where a row is beyond 2^32.
pub fn packed_items(examples: &[Range<usize>], rows: usize) -> Option<Vec<PackedItem>> {
    let mut items = Vec::new();
    for example in examples {
        let (start, length) = (u32::try_from(example.start).ok()?, u32::try_from(example.len()).ok()?);
        items.extend((0..length).step_by(rows).map(|first| PackedItem { start, length, first, reserved: 0 }));
    }
    items.sort_by_key(|item| Reverse(item.first));
    Some(items)
}
