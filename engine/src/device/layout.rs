//! The rows of one pass and what each of them sees.

use crate::{Error, Result};

/// One pass: packed rows of one or more sequences. The same for all layers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// Position of each row, `[T]`; a tree node's is that of the chain's end plus its depth.
    pub positions: Vec<u32>,
    /// The sequences, in row order, covering all rows.
    pub sequences: Vec<SequenceRows>,
}

/// The rows of one sequence in a pass.
///
/// Slots are places in the sequence's cache. Slots `0..cached` hold keys of earlier passes, slot `j` at position `j`. Row `i`
/// of this pass writes slot `cached + i`. Of the new rows, the first `chain` are causal: row `i` sees slots `0..=cached+i`.
/// The others are nodes of a tree: node `n` sees slots `0..cached+chain` and those nodes whose bit is set in `tree[n]`
/// (its own always is). Keys count in order of their position, so a node computes the bits it would compute as a causal row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceRows {
    /// First packed row.
    pub row: usize,
    /// Keys already in the cache.
    pub cached: usize,
    /// Causal rows.
    pub chain: usize,
    /// Ancestor sets of the tree nodes that follow, at most 64; parents come before children.
    pub tree: Vec<u64>,
    /// Cache pages; slot `s` lies in page `pages[s / page]`.
    pub pages: Vec<u32>,
}

impl SequenceRows {
    /// Number of rows of this sequence in the pass.
    pub fn rows(&self) -> usize {
        self.chain.saturating_add(self.tree.len())
    }
}

impl Layout {
    /// `T`: number of packed rows.
    pub fn rows(&self) -> usize {
        self.positions.len()
    }

    /// The pages that hold a key, of all sequences, for pages of `page` keys.
    pub fn pages(&self, page: usize) -> impl Iterator<Item = u32> {
        let used = move |s: &SequenceRows| (s.cached + s.rows()).div_ceil(page);
        self.sequences.iter().flat_map(move |s| s.pages.iter().take(used(s)).copied())
    }

    /// Checks that the sequences cover the rows in order, that positions are those of their slots and that there are enough
    /// pages of `page` keys.
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::Shape`] naming the first thing that is wrong.
    pub fn check(&self, page: usize) -> Result<()> {
        let mut row = 0;
        for sequence in &self.sequences {
            if sequence.row != row || sequence.rows() > self.rows() - row || sequence.tree.len() > 64 {
                return Err(Error::invalid(format!(
                    "layout: expected a sequence from row {row} with at most 64 nodes within {} rows, found one from row {} with {} nodes",
                    self.rows(),
                    sequence.row,
                    sequence.tree.len()
                )));
            }
            row += sequence.rows();
            sequence.check(&self.positions[sequence.row..row], page)?;
        }
        if row != self.rows() {
            return Err(Error::shape("rows covered by the sequences of a layout", self.rows(), row));
        }
        Ok(())
    }
}

impl SequenceRows {
    fn check(&self, positions: &[u32], page: usize) -> Result<()> {
        let slots = self.cached.saturating_add(self.rows());
        if self.pages.len() < slots.div_ceil(page) {
            return Err(Error::invalid(format!(
                "layout: expected pages for {slots} slots, found {} pages of {page}",
                self.pages.len()
            )));
        }
        for (i, &found) in positions.iter().enumerate() {
            let want = match i.checked_sub(self.chain) {
                None => self.cached.saturating_add(i),
                Some(node) => {
                    let seen = self.tree[node];
                    if seen >> node != 1 {
                        return Err(Error::invalid(format!(
                            "layout: expected node {node} to see itself and no later node, found the set {seen:#x}"
                        )));
                    }
                    self.cached + self.chain + seen.count_ones() as usize - 1
                }
            };
            if found as usize != want {
                return Err(Error::invalid(format!("layout: expected position {want} for row {i}, found {found}")));
            }
        }
        Ok(())
    }
}
