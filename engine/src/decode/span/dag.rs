//! The canonical tokens of every span of a text, as one graph.
//!
//! ```text
//! chunks of the text:   ... │ chunk k │ chunk k+1 │ ...        no token crosses a │
//! node  base(k)   about to read chunk k from its beginning
//! paths base(k) ─ tokens(chunk k) ─► … ─ε─► base(k+1)
//!       base(k) ─ tokens(chunk k up to e) ─► accept e           for every end e inside the chunk
//!       root(p) ─ tokens(" " + chunk k from p on) ─► … ─ε─► base(k+1), and likewise up to every end e
//! ```
//!
//! Paths out of one node share their prefixes. Every node reaches an accept: chunks are entered from last to first, and
//! nothing is entered that leads nowhere. Size and time are linear in the text: a chunk adds its own tokens once for
//! itself and once for each start and end inside it; a chunk with many of both becomes a [`lattice`](super::lattice).

use super::canon::{Encoder, Memo};
use super::grammar::Boundary;
use super::pieces::Pieces;
use super::words::Places;
use crate::Result;
use std::ops::Range;

/// No node, no edge, no end.
pub(super) const NONE: u32 = u32::MAX;

/// A place in the reading of spans.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    /// The first of its `edges`; while a tree grows, the last edge added.
    first_edge: u32,
    edges: u32,
    /// The byte offset where a span that led here may end, or [`NONE`].
    pub accept: u32,
    /// The node that this one is as well (the next chunk's beginning), or [`NONE`]. It has no edges of its own then.
    pub next: u32,
    /// The least end that can be reached from here.
    pub first_end: u32,
}

/// An edge of a tree that grows.
#[derive(Debug, Clone, Copy)]
struct Edge {
    token: u32,
    target: u32,
    sibling: u32,
}

/// The graph, and the node at which each allowed start begins.
#[derive(Debug, Default)]
pub(super) struct Dag {
    pub nodes: Vec<Node>,
    /// Tokens of the edges of each node, sorted, and the nodes that they lead to.
    tokens: Vec<u32>,
    targets: Vec<u32>,
    /// `(start, node)`, by start.
    pub roots: Vec<(u32, u32)>,
}

/// A chunk with more pairs of a start and an end becomes a lattice.
const MANY: usize = 256;
/// Where such a chunk cannot (a rare pre-token, a tokenizer without proof of barriers), spans reach over at most so many
/// ends within it, and pass out of it only from where no more than these are left: time stays linear.
const REACH: usize = 32;

/// What is needed while building.
pub(super) struct Builder<'a> {
    pub dag: Dag,
    pub encoder: &'a dyn Encoder,
    memo: &'a mut Memo,
    text: &'a str,
    pub places: &'a Places,
    boundary: Boundary,
    /// Edges of the tree that grows.
    growing: Vec<Edge>,
    /// Edges of one node, before they are set.
    pub leaving: Vec<(u32, u32)>,
}

impl Dag {
    /// The graph of `text` over `places`.
    pub fn new(
        encoder: &dyn Encoder,
        memo: &mut Memo,
        text: &str,
        places: &Places,
        boundary: Boundary,
    ) -> Result<Self> {
        let chunks = encoder.chunks(text).unwrap_or_else(|| std::iter::once(0..text.len()).collect());
        let (growing, leaving) = (Vec::with_capacity(64), Vec::with_capacity(64));
        let mut builder = Builder { dag: Self::default(), encoder, memo, text, places, boundary, growing, leaving };
        builder.dag.nodes.reserve(text.len());
        builder.dag.tokens.reserve(text.len());
        builder.dag.targets.reserve(text.len());
        let mut after = NONE;
        for chunk in chunks.into_iter().rev() {
            after = builder.chunk(chunk, after)?;
        }
        builder.dag.roots.reverse();
        Ok(builder.dag)
    }

    /// The node `id`.
    pub fn node(&self, id: u32) -> Node {
        self.nodes[id as usize]
    }

    /// Tokens that lead on from `node`, sorted, and the nodes that they lead to.
    pub fn forth(&self, node: u32) -> (&[u32], &[u32]) {
        let node = self.node(node);
        // What is a beginning as well has no edges of its own.
        let node = if node.next == NONE { node } else { self.node(node.next) };
        let range = node.first_edge as usize..(node.first_edge + node.edges) as usize;
        (&self.tokens[range.clone()], &self.targets[range])
    }

    pub fn add_node(&mut self) -> u32 {
        self.nodes.push(Node { first_edge: 0, edges: 0, accept: NONE, next: NONE, first_end: NONE });
        self.nodes.len() as u32 - 1
    }

    /// Makes `edges`, by token, those of a node that has none.
    pub fn set_edges(&mut self, node: u32, edges: impl Iterator<Item = (u32, u32)>) {
        let first = self.tokens.len() as u32;
        for (token, target) in edges {
            self.tokens.push(token);
            self.targets.push(target);
        }
        let node = &mut self.nodes[node as usize];
        (node.first_edge, node.edges) = (first, self.tokens.len() as u32 - first);
    }
}

impl Builder<'_> {
    /// Enters a chunk and the starts in it. `after` is the node of the next chunk; returns that of this one, or [`NONE`]
    /// where nothing can be read from it.
    fn chunk(&mut self, chunk: Range<usize>, after: u32) -> Result<u32> {
        let (from, to) = (chunk.start as u32, chunk.end as u32);
        let within = |places: &[u32], from: u32, to: u32| {
            let first = places.partition_point(|&p| p < from);
            first..first + places[first..].partition_point(|&p| p < to)
        };
        let (places, bytes) = (self.places, self.text.as_bytes());
        let starts = &places.starts[within(&places.starts, from, to)];
        // After one space the span is read as it stands in the text.
        let as_it_stands = |start: u32| start == from + 1 && bytes[chunk.start] == b' ';
        let many = (starts.len() + 1) * within(&places.ends, from + 1, to + 1).len() > MANY;
        let base;
        if (many || self.boundary == Boundary::Char)
            && let Some((symbols, space)) = self.symbols(&self.text[chunk.clone()])?
        {
            let encoder = self.encoder;
            let mut pieces = self.memo.pieces.take().unwrap_or_else(|| Pieces::new(encoder));
            let lattice = self.lattice(&mut pieces, &chunk, symbols, space, after);
            base = self.lattice_base(&lattice);
            for &start in starts.iter().rev() {
                let root = if as_it_stands(start) { base } else { self.lattice_root(&mut pieces, &lattice, start) };
                self.enter(start, root);
            }
            self.memo.pieces = Some(pieces);
        } else {
            let reach = if many { REACH } else { usize::MAX };
            base = self.trie(from, to, "", after, reach)?;
            for &start in starts.iter().rev() {
                let root = if as_it_stands(start) { base } else { self.trie(start, to, " ", after, reach)? };
                self.enter(start, root);
            }
        }
        Ok(base)
    }

    fn enter(&mut self, start: u32, root: u32) {
        if root != NONE {
            self.dag.roots.push((start, root));
        }
    }

    /// First symbols of `chunk` and of a space, where merging them is all that makes its tokens.
    fn symbols(&self, chunk: &str) -> Result<Option<(Vec<u32>, u32)>> {
        let (mut symbols, mut space) = (Vec::with_capacity(chunk.len()), Vec::new());
        let merged = self.encoder.symbols(chunk, &mut symbols)?;
        self.encoder.symbols(" ", &mut space)?;
        Ok((merged && space.len() == 1).then(|| (symbols, space[0])))
    }

    /// The tree of everything readable from `from` over at most `reach` ends within a chunk that ends at `to`, `lead`
    /// standing before it.
    fn trie(&mut self, from: u32, to: u32, lead: &str, after: u32, reach: usize) -> Result<u32> {
        let wall = self.places.wall(from);
        let ends = &self.places.ends;
        let first = ends.partition_point(|&e| e <= from);
        let last = first + ends[first..].partition_point(|&e| e <= to.min(wall));
        let passes = to < wall && after != NONE && last - first <= reach;
        let last = last.min(first.saturating_add(reach));
        self.growing.clear();
        let root = add_growing(&mut self.dag);
        for &end in &ends[first..last] {
            if let Some(node) = self.path(root, lead, from..end)? {
                self.dag.nodes[node as usize].accept = end;
            }
        }
        if passes && let Some(node) = self.path(root, lead, from..to)? {
            self.dag.nodes[node as usize].next = after;
        }
        // Children come after their parents.
        for id in (root..self.dag.nodes.len() as u32).rev() {
            let node = self.dag.node(id);
            let next = if node.next == NONE { NONE } else { self.dag.node(node.next).first_end };
            let mut leaving = std::mem::take(&mut self.leaving);
            leaving.clear();
            leaving.extend(siblings(&self.growing, node));
            leaving.sort_unstable();
            debug_assert!(node.next == NONE || leaving.is_empty(), "what a chunk's last node is");
            let below = leaving.iter().map(|&(_, target)| self.dag.node(target).first_end).min().unwrap_or(NONE);
            self.dag.set_edges(id, leaving.iter().copied());
            self.dag.nodes[id as usize].first_end = node.accept.min(next).min(below);
            self.leaving = leaving;
        }
        let dead = self.dag.node(root).first_end == NONE;
        if dead {
            self.dag.nodes.truncate(root as usize);
        }
        Ok(if dead { NONE } else { root })
    }

    /// The node after the tokens of `lead + text[range]`; none where these tokens do not spell it.
    fn path(&mut self, root: u32, lead: &str, range: Range<u32>) -> Result<Option<u32>> {
        let (start, end) = (range.start as usize, range.end as usize);
        let space_before = lead == " " && start > 0 && self.text.as_bytes()[start - 1] == b' ';
        let (lead, start) = if space_before { ("", start - 1) } else { (lead, start) };
        let Some(tokens) = self.memo.tokens(self.encoder, lead, &self.text[start..end])? else { return Ok(None) };
        let mut node = root;
        for &token in tokens {
            let known = siblings(&self.growing, self.dag.node(node)).find(|&(t, _)| t == token);
            node = match known {
                Some((_, target)) => target,
                None => {
                    let target = add_growing(&mut self.dag);
                    let sibling =
                        std::mem::replace(&mut self.dag.nodes[node as usize].first_edge, self.growing.len() as u32);
                    self.growing.push(Edge { token, target, sibling });
                    target
                }
            };
        }
        Ok(Some(node))
    }
}

/// A node of a tree that grows.
fn add_growing(dag: &mut Dag) -> u32 {
    let node = dag.add_node();
    dag.nodes[node as usize].first_edge = NONE;
    node
}

/// `(token, target)` of the edges out of `node` while its tree grows.
fn siblings(growing: &[Edge], node: Node) -> impl Iterator<Item = (u32, u32)> + '_ {
    let mut at = node.first_edge;
    std::iter::from_fn(move || {
        let edge = growing.get(at as usize)?;
        at = edge.sibling;
        Some((edge.token, edge.target))
    })
}
