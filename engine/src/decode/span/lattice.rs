//! A chunk whose starts and ends are too many for a path each: every place and every token that matches there.
//!
//! A node stands for a token at a place, its edges are the tokens that match where it ends and [may
//! meet](super::pieces::Pieces::may_meet) it. Linear in the chunk: some two tokens match at a byte.

use super::dag::{Builder, NONE};
use super::pieces::Pieces;
use std::ops::Range;

/// A chunk on its way into the graph.
pub(super) struct Lattice {
    symbols: Vec<u32>,
    /// Byte offset in the text of each symbol, and the chunk's end.
    offsets: Vec<u32>,
    /// `(token, node)` of the tokens that begin at each symbol and lead somewhere, by token.
    arcs: Vec<Vec<(u32, u32)>>,
    space: u32,
    after: u32,
}

impl Builder<'_> {
    /// The lattice of a chunk with these first `symbols`; `space` is the symbol of a space, `after` the next chunk's node.
    pub(super) fn lattice(
        &mut self,
        pieces: &mut Pieces,
        chunk: &Range<usize>,
        symbols: Vec<u32>,
        space: u32,
        after: u32,
    ) -> Lattice {
        let length = |&symbol: &u32| self.encoder.token_bytes(symbol).map_or(0, <[u8]>::len) as u32;
        let mut offsets = vec![chunk.start as u32];
        for symbol in &symbols {
            offsets.push(offsets[offsets.len() - 1] + length(symbol));
        }
        let mut lattice = Lattice { arcs: vec![Vec::new(); symbols.len() + 1], symbols, offsets, space, after };
        for at in (0..lattice.symbols.len()).rev() {
            let from = lattice.offsets[at];
            let mut arcs = Vec::new();
            for (token, count) in pieces.matching(lattice.symbols[at..].iter().copied()) {
                arcs.push((token, at + count));
            }
            arcs.sort_unstable();
            for (token, to) in arcs {
                let node = self.arc(pieces, &lattice, token, from, to, true);
                if node != NONE {
                    lattice.arcs[at].push((token, node));
                }
            }
        }
        lattice
    }

    /// The node that begins the chunk, or [`NONE`].
    pub(super) fn lattice_base(&mut self, lattice: &Lattice) -> u32 {
        self.fork(&lattice.arcs[0])
    }

    /// The node at which a span that starts at `start` begins, a space standing before it, or [`NONE`].
    pub(super) fn lattice_root(&mut self, pieces: &mut Pieces, lattice: &Lattice, start: u32) -> u32 {
        let Ok(at) = lattice.offsets.binary_search(&start) else { return NONE };
        let symbols = std::iter::once(lattice.space).chain(lattice.symbols[at..].iter().copied());
        let first: Vec<(u32, usize)> = pieces.matching(symbols).collect();
        let mut arcs = Vec::new();
        for (token, count) in first {
            let node = self.arc(pieces, lattice, token, start, at + count - 1, count > 1);
            if node != NONE {
                arcs.push((token, node));
            }
        }
        arcs.sort_unstable();
        self.fork(&arcs)
    }

    /// The node after `token`, which takes the text from byte `from` to symbol `to`; it may end a span where it is not
    /// only the space before one.
    fn arc(&mut self, pieces: &mut Pieces, lattice: &Lattice, token: u32, from: u32, to: usize, may_end: bool) -> u32 {
        let end = lattice.offsets[to];
        if self.places.wall(from) < end {
            return NONE;
        }
        let node = self.dag.add_node();
        let mut first_end = NONE;
        if may_end && self.places.ends.binary_search(&end).is_ok() {
            self.dag.nodes[node as usize].accept = end;
            first_end = end;
        }
        if to == lattice.symbols.len() && lattice.after != NONE {
            self.dag.nodes[node as usize].next = lattice.after;
            first_end = first_end.min(self.dag.node(lattice.after).first_end);
        }
        let mut edges = std::mem::take(&mut self.leaving);
        edges.clear();
        edges.extend(lattice.arcs[to].iter().filter(|&&(next, _)| pieces.may_meet(self.encoder, token, next)));
        first_end = edges.iter().map(|&(_, target)| self.dag.node(target).first_end).fold(first_end, u32::min);
        self.dag.set_edges(node, edges.iter().copied());
        self.leaving = edges;
        if first_end == NONE {
            self.dag.nodes.pop();
            return NONE;
        }
        self.dag.nodes[node as usize].first_end = first_end;
        node
    }

    /// A node with these edges.
    fn fork(&mut self, arcs: &[(u32, u32)]) -> u32 {
        let Some(first_end) = arcs.iter().map(|&(_, target)| self.dag.node(target).first_end).min() else {
            return NONE;
        };
        let node = self.dag.add_node();
        self.dag.set_edges(node, arcs.iter().copied());
        self.dag.nodes[node as usize].first_end = first_end;
        node
    }
}
