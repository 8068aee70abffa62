//! A chunk whose starts and ends are too many for a path each: every place and every token that matches there.
//!
//! A *cell* is a token at a place; the edges of its node are the cells that begin where it ends and may stand beside it in a
//! canonical encoding. BPE's canonical token strings are those in which every two neighbours are canonical by themselves,
//! each token among them (Vieira et al., "Language Models over Canonical Byte-Pair Encodings", 2025; measured for Mistral's
//! SentencePiece in `design/constrained-decoding.md`: no exception in 80 000; proved here by enumeration in `tests`).
//!
//! **Two neighbours** merged as one text either stay two, or a rule joins parts of them across their boundary. All that
//! can be joined is the last part of the left one and the first part of the right one, as they stand at some moment of
//! the merging. Each part is there until its own token merges it with its neighbour; where no rule that makes a token
//! ranks before the rules that made its two parts, a token's rules apply in the order of their ranks, so a rule of rank `c`
//! across the boundary applies if and only if `c < P` and `c <= Q`, `P` and `Q` being the ranks at which the left and the
//! right part go (the leftmost of equal ranks goes first). The moments are read off the two tokens' trees of merges from
//! the last one back: of the two parts undo the merge of greater rank, the right one of equals. So
//!
//! * nothing joins: the two may meet;
//! * only the two whole tokens join: that is how a longer cell comes about, its tree of merges with it. No look at the
//!   vocabulary is needed;
//! * anything else joins: neither.
//!
//! Tokens whose rules apply in another order are asked of the tokenizer's own merging. Linear in the chunk: some two
//! tokens match at a byte.

use super::canon::Encoder;
use super::shape::{Chunk, Draft, NONE};
use crate::Result;
use std::ops::Range;

/// A token at a place.
#[derive(Debug, Clone, Copy)]
struct Cell {
    token: u32,
    /// The symbol at which it ends.
    to: u32,
    /// One more than the rank of the rule that made it; 0 for a symbol.
    rank: u32,
    /// The cells that this rule joined.
    left: u32,
    right: u32,
    /// Whether its rules may apply in another order than that of their ranks.
    unordered: bool,
    /// Its node, or [`NONE`] where it leads nowhere.
    node: u32,
}

/// What becomes of two neighbours.
enum Meeting {
    Stay,
    /// Rank and token.
    Join(u32, u32),
    Part,
}

/// A chunk's cells.
pub(super) struct Lattice<'a> {
    encoder: &'a dyn Encoder,
    passes: bool,
    symbols: Vec<u32>,
    /// Byte offset of each symbol, and the chunk's end.
    offsets: Vec<u32>,
    cells: Vec<Cell>,
    /// The cells that begin at each symbol.
    columns: Vec<Range<u32>>,
    space: u32,
    leaving: Vec<(u32, u32)>,
    merged: Vec<u32>,
}

impl Draft {
    /// The cells of `chunk`, where merging its symbols is all that makes its tokens.
    pub(super) fn lattice<'a>(&mut self, encoder: &'a dyn Encoder, chunk: Chunk) -> Result<Option<Lattice<'a>>> {
        let (mut symbols, mut space) = (Vec::with_capacity(chunk.text.len()), Vec::new());
        let merged = encoder.symbols(chunk.text, &mut symbols)?;
        encoder.symbols(" ", &mut space)?;
        let (true, [space]) = (merged, &space[..]) else { return Ok(None) };
        let mut offsets = vec![0];
        offsets.extend(symbols.iter().scan(0, |at, &symbol| {
            *at += length(encoder, symbol);
            Some(*at)
        }));
        let columns = vec![0..0; symbols.len() + 1];
        let (cells, leaving, merged) = (Vec::with_capacity(4 * symbols.len()), Vec::new(), Vec::new());
        let passes = chunk.passes;
        let space = *space;
        let mut lattice = Lattice { encoder, passes, symbols, offsets, cells, columns, space, leaving, merged };
        for at in (0..lattice.symbols.len()).rev() {
            let first = lattice.cells.len() as u32;
            lattice.column(self, lattice.symbols[at], at + 1, lattice.offsets[at], true);
            lattice.columns[at] = first..lattice.cells.len() as u32;
        }
        Ok(Some(lattice))
    }
}

fn length(encoder: &dyn Encoder, token: u32) -> u32 {
    encoder.token_bytes(token).map_or(0, <[u8]>::len) as u32
}

impl Lattice<'_> {
    /// The node that begins the chunk, or [`NONE`].
    pub(super) fn base(&mut self, draft: &mut Draft) -> u32 {
        let column = self.columns[0].clone();
        self.fork(draft, column)
    }

    /// The node at which a span that starts at `start` begins, a space standing before it, or [`NONE`].
    pub(super) fn root(&mut self, draft: &mut Draft, start: u32) -> u32 {
        let Ok(at) = self.offsets.binary_search(&start) else { return NONE };
        let first = self.cells.len();
        self.column(draft, self.space, at, start, false);
        let root = self.fork(draft, first as u32..self.cells.len() as u32);
        self.cells.truncate(first);
        root
    }

    /// A node with edges to `cells`.
    fn fork(&mut self, draft: &mut Draft, cells: Range<u32>) -> u32 {
        self.leaving.clear();
        let cells = self.cells[cells.start as usize..cells.end as usize].iter();
        self.leaving.extend(cells.filter(|cell| cell.node != NONE).map(|cell| (cell.token, cell.node)));
        draft.add(NONE, false, &mut self.leaving)
    }

    /// Adds the cells that begin with `symbol`, which ends at symbol `to`, as do those of all later columns. Of the chunk's
    /// text they take what follows byte `from`; a span may end with the symbol alone where `may_end` says so.
    fn column(&mut self, draft: &mut Draft, symbol: u32, to: usize, from: u32, may_end: bool) {
        let (first, wall) = (self.cells.len(), draft.places.wall(from));
        // The bytes that the cells have before `from`.
        let lead = length(self.encoder, symbol) - (self.offsets[to] - from);
        let leaf =
            Cell { token: symbol, to: to as u32, rank: 0, left: NONE, right: NONE, unordered: false, node: NONE };
        self.cells.push(leaf);
        let mut at = first;
        while let Some(&cell) = self.cells.get(at) {
            self.leaving.clear();
            for right in self.columns[cell.to as usize].clone() {
                let next = self.cells[right as usize];
                match self.meeting(at as u32, right, (symbol, to)) {
                    Meeting::Stay if next.node != NONE => self.leaving.push((next.token, next.node)),
                    Meeting::Join(rank, token) if self.cells[first..].iter().all(|cell| cell.to != next.to) => {
                        let unordered = cell.unordered || next.unordered || rank + 1 < cell.rank.max(next.rank);
                        let (left, rank, node) = (at as u32, rank + 1, NONE);
                        self.cells.push(Cell { token, to: next.to, rank, left, right, unordered, node });
                    }
                    _ => {}
                }
            }
            let end = self.offsets[cell.to as usize];
            let spelt = length(self.encoder, cell.token) == end - from + lead;
            if wall >= end && spelt {
                let ends = (may_end || at > first) && draft.places.ends.binary_search(&end).is_ok();
                let passes = self.passes && cell.to as usize == self.symbols.len();
                self.cells[at].node = draft.add(if ends { end } else { NONE }, passes, &mut self.leaving);
            }
            at += 1;
        }
    }

    /// What becomes of the cells `left` and `right`; the column of `left` begins with the symbol `first.0`, which ends at
    /// symbol `first.1`.
    fn meeting(&mut self, left: u32, right: u32, first: (u32, usize)) -> Meeting {
        let [mut l, mut r] = [left, right].map(|cell| self.cells[cell as usize]);
        let join = self.encoder.rule(l.token, r.token);
        if l.unordered || r.unordered {
            let symbols = &self.symbols[first.1..r.to as usize];
            self.merged.clear();
            self.encoder.merge(&[&[first.0], symbols].concat(), &mut self.merged);
            return match (&self.merged[..], join) {
                (&[a, b], _) if (a, b) == (l.token, r.token) => Meeting::Stay,
                (&[whole], Some((rank, token))) if whole == token => Meeting::Join(rank, token),
                _ => Meeting::Part,
            };
        }
        let (mut left_goes, mut right_goes) = (u32::MAX, u32::MAX);
        while l.rank != r.rank || l.rank != 0 {
            if r.rank >= l.rank {
                right_goes = r.rank;
                r = self.cells[r.left as usize];
            } else {
                left_goes = l.rank;
                l = self.cells[l.right as usize];
            }
            if let Some((rank, _)) = self.encoder.rule(l.token, r.token)
                && rank + 1 < left_goes
                && rank < right_goes
            {
                return Meeting::Part;
            }
        }
        join.map_or(Meeting::Stay, |(rank, token)| Meeting::Join(rank, token))
    }
}
