//! The rows of one pass and what each of them sees.

/// One pass: packed rows of one or more sequences. The same for all layers.
#[derive(Debug, Clone, Default)]
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
#[derive(Debug, Clone)]
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
        self.chain + self.tree.len()
    }
}

impl Layout {
    /// `T`: number of packed rows.
    pub fn rows(&self) -> usize {
        self.positions.len()
    }
}
