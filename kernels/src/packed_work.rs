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

#[cfg(test)]
mod tests {
    use super::packed_items;

    #[test]
    fn every_row_has_one_tile_and_late_ones_come_first() {
        let examples = [0..1, 1..65, 65..130, 130..270];
        let items = packed_items(&examples, 64).unwrap();
        let mut rows: Vec<u32> = Vec::new();
        for item in &items {
            let example = item.start as usize..(item.start + item.length) as usize;
            assert!(examples.contains(&example) && item.first % 64 == 0);
            rows.extend(item.start + item.first..item.start + item.length.min(item.first + 64));
        }
        rows.sort_unstable();
        assert_eq!(rows, (0..270).collect::<Vec<u32>>());
        assert!(items.windows(2).all(|pair| pair[0].first >= pair[1].first));
        let last = u32::MAX as usize;
        assert!(packed_items(std::slice::from_ref(&(last + 1..last + 2)), 64).is_none());
        assert_eq!(packed_items(&[], 64), Some(Vec::new()));
    }
}
