//! The canonical tokens of everything that a chunk lets a span hold, as a graph of its own.
//!
//! ```text
//! base       about to read the chunk from its beginning
//! paths base    ─ tokens(chunk) ─► …  and on to the next chunk
//!       base    ─ tokens(chunk up to e) ─► accept e          for every end e inside the chunk
//!       root(p) ─ tokens(" " + chunk from p on) ─► …         for every start p, likewise
//! ```
//!
//! Paths out of one node share their prefixes. Every node reaches an accept: nothing is entered that leads nowhere. All of it
//! follows from the chunk's characters, the open places in it and whether anything can be read after it; so the shape of
//! a word is made once and [remembered](super::canon::Memo), and counts all offsets from the chunk's beginning. A chunk with
//! many starts and ends becomes a [`lattice`](super::lattice).

use super::canon::{Encoder, Memo};
use super::grammar::Boundary;
use super::words::Places;
use crate::Result;

/// No node, no edge, no end.
pub(super) const NONE: u32 = u32::MAX;
/// The least end of a node that no end of its own chunk follows.
pub(super) const BEYOND: u32 = NONE - 1;

/// A place in the reading of spans, while its shape is made.
#[derive(Debug, Clone, Copy)]
struct Growing {
    /// Its edges; while a tree grows, the last edge added.
    first_edge: u32,
    edges: u32,
    accept: u32,
    first_end: u32,
    passes: bool,
}

/// A place in the reading of spans.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'a> {
    /// Where a span that led here may end, or [`NONE`].
    pub accept: u32,
    /// The least end that can be reached from here, [`BEYOND`] where that lies in a later chunk.
    pub first_end: u32,
    /// Whether this is the next chunk's beginning as well. It has no edges of its own then.
    pub passes: bool,
    /// Tokens that lead on, sorted, and the nodes that they lead to.
    pub tokens: &'a [u32],
    pub targets: &'a [u32],
}

/// A chunk's graph.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// The nodes, each told by where it begins here: accept, first end, passes (the high bit) and number of edges, their
    /// tokens, their targets. So a node that is visited for the first time costs one cache line, seldom two.
    words: Box<[u32]>,
    /// The node that begins the chunk, or [`NONE`] where nothing can be read from it.
    pub base: u32,
    /// `(start, node)`, by start.
    pub roots: Box<[(u32, u32)]>,
    /// `(token, node)` of every edge out of a root, by token.
    pub openings: Box<[(u32, u32)]>,
}

/// Words of a node before its edges.
const HEAD: usize = 3;
const PASSES: u32 = 1 << 31;

impl Shape {
    /// All nodes are below this number.
    pub fn nodes(&self) -> usize {
        self.words.len()
    }

    /// The node `id`.
    pub fn node(&self, id: u32) -> Node<'_> {
        let words = &self.words[id as usize..];
        let (head, edges) = (&words[..HEAD], (words[HEAD - 1] & !PASSES) as usize);
        let (tokens, targets) = words[HEAD..HEAD + 2 * edges].split_at(edges);
        Node { accept: head[0], first_end: head[1], passes: head[2] & PASSES != 0, tokens, targets }
    }

    /// The least end that can be reached from the node `id`, as [`Node::first_end`].
    pub fn first_end(&self, id: u32) -> u32 {
        self.words[id as usize + 1]
    }

    /// Bytes that it takes.
    pub fn size(&self) -> usize {
        size_of::<Self>() + 4 * self.words.len() + 8 * (self.roots.len() + self.openings.len())
    }
}

/// What a shape follows from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk<'a> {
    pub text: &'a str,
    /// The open places, by [`Places::marks`].
    pub marks: &'a [u8],
    /// Whether anything can be read after it.
    pub passes: bool,
    pub boundary: Boundary,
}

impl Chunk<'_> {
    /// Appends a string to `out` that no other chunk has.
    pub fn key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.text.as_bytes());
        out.extend_from_slice(self.marks);
        out.push(u8::from(self.passes) | u8::from(self.boundary == Boundary::Char) << 1);
    }
}

/// An edge of a tree that grows.
#[derive(Debug, Clone, Copy)]
struct Edge {
    token: u32,
    target: u32,
    sibling: u32,
}

/// A chunk with more pairs of a start and an end becomes a lattice.
const MANY: usize = 256;
/// Where such a chunk cannot (a rare pre-token, a tokenizer without proof of barriers), spans reach over at most so many
/// ends within it, and pass out of it only from where no more than these are left: time stays linear.
const REACH: usize = 32;

/// A shape while it is made, and room to make the next one in.
#[derive(Debug, Default)]
pub(super) struct Draft {
    nodes: Vec<Growing>,
    /// Tokens of the edges of each node, sorted, and the nodes that they lead to.
    tokens: Vec<u32>,
    targets: Vec<u32>,
    roots: Vec<(u32, u32)>,
    openings: Vec<(u32, u32)>,
    /// Where each node begins in the shape.
    begins: Vec<u32>,
    /// The chunk's open places, counted from its beginning.
    pub places: Places,
    /// Edges of the tree that grows.
    growing: Vec<Edge>,
    /// Edges of one node, before they are set.
    leaving: Vec<(u32, u32)>,
}

impl Draft {
    /// Makes the shape of `chunk`.
    pub fn make(&mut self, encoder: &dyn Encoder, memo: &mut Memo, chunk: Chunk) -> Result<Shape> {
        self.nodes.clear();
        self.tokens.clear();
        self.targets.clear();
        self.roots.clear();
        self.openings.clear();
        self.places.read_marks(chunk.marks);
        let starts = std::mem::take(&mut self.places.starts);
        // After one space the span is read as it stands in the text.
        let as_it_stands = |start: u32| start == 1 && chunk.text.starts_with(' ');
        let many = (starts.len() + 1) * self.places.ends.len() > MANY;
        let lattice = if many || chunk.boundary == Boundary::Char { self.lattice(encoder, chunk)? } else { None };
        let base;
        if let Some(mut lattice) = lattice {
            base = lattice.base(self);
            for &start in &starts {
                let root = if as_it_stands(start) { base } else { lattice.root(self, start) };
                self.enter(start, root);
            }
        } else {
            let reach = if many { REACH } else { usize::MAX };
            let mut tree = |draft: &mut Self, from, lead| draft.tree(encoder, memo, chunk, from, lead, reach);
            base = tree(self, 0, "")?;
            for &start in &starts {
                let root = if as_it_stands(start) { base } else { tree(self, start, " ")? };
                self.enter(start, root);
            }
        }
        self.places.starts = starts;
        Ok(self.finish(base))
    }

    /// The shape as it was made.
    fn finish(&mut self, base: u32) -> Shape {
        let mut size = 0;
        self.begins.clear();
        for node in &self.nodes {
            self.begins.push(size as u32);
            size += HEAD + 2 * node.edges as usize;
        }
        let begins = |node: u32| self.begins[node as usize];
        let mut words = Vec::with_capacity(size);
        for node in &self.nodes {
            let edges = node.first_edge as usize..(node.first_edge + node.edges) as usize;
            words.extend([node.accept, node.first_end, node.edges | if node.passes { PASSES } else { 0 }]);
            words.extend_from_slice(&self.tokens[edges.clone()]);
            words.extend(self.targets[edges].iter().map(|&target| begins(target)));
        }
        let pairs = |pairs: &[(u32, u32)]| pairs.iter().map(|&(key, node)| (key, begins(node))).collect();
        let (roots, mut openings): (_, Box<[_]>) = (pairs(&self.roots), pairs(&self.openings));
        openings.sort_unstable();
        Shape { words: words.into(), base: if base == NONE { NONE } else { begins(base) }, roots, openings }
    }

    fn enter(&mut self, start: u32, root: u32) {
        if root != NONE {
            self.roots.push((start, root));
            let node = self.nodes[root as usize];
            let range = node.first_edge as usize..(node.first_edge + node.edges) as usize;
            self.openings.extend(self.tokens[range.clone()].iter().copied().zip(self.targets[range].iter().copied()));
        }
    }

    /// A node that reaches `first_end` at best, with the edges in `leaving`; [`NONE`], and no node, where that is nowhere.
    pub fn add(&mut self, accept: u32, passes: bool, leaving: &mut [(u32, u32)]) -> u32 {
        let here = accept.min(if passes { BEYOND } else { NONE });
        let first_end = leaving.iter().map(|&(_, target)| self.nodes[target as usize].first_end).fold(here, u32::min);
        if first_end == NONE {
            return NONE;
        }
        let (first_edge, edges) = self.set_edges(leaving);
        self.nodes.push(Growing { first_edge, edges, accept, first_end, passes });
        self.nodes.len() as u32 - 1
    }

    fn set_edges(&mut self, leaving: &mut [(u32, u32)]) -> (u32, u32) {
        let first = self.tokens.len() as u32;
        leaving.sort_unstable();
        self.tokens.extend(leaving.iter().map(|&(token, _)| token));
        self.targets.extend(leaving.iter().map(|&(_, target)| target));
        (first, leaving.len() as u32)
    }

    /// The tree of everything readable from `from` over at most `reach` ends, `lead` standing before it.
    fn tree(
        &mut self,
        encoder: &dyn Encoder,
        memo: &mut Memo,
        chunk: Chunk,
        from: u32,
        lead: &str,
        reach: usize,
    ) -> Result<u32> {
        let to = chunk.text.len() as u32;
        let wall = self.places.wall(from);
        let ends = std::mem::take(&mut self.places.ends);
        let first = ends.partition_point(|&e| e <= from);
        let last = first + ends[first..].partition_point(|&e| e <= wall);
        let passes = to < wall && chunk.passes && last - first <= reach;
        let last = last.min(first.saturating_add(reach));
        self.growing.clear();
        let root = self.add_growing();
        for &end in &ends[first..last] {
            let tokens = memo.tokens(encoder, lead, &chunk.text[from as usize..end as usize])?;
            if let Some(node) = tokens.map(|tokens| self.path(root, tokens)) {
                self.nodes[node as usize].accept = end;
            }
        }
        if passes && let Some(tokens) = memo.tokens(encoder, lead, &chunk.text[from as usize..])? {
            let node = self.path(root, tokens);
            self.nodes[node as usize].passes = true;
        }
        self.places.ends = ends;
        // Children come after their parents.
        for id in (root..self.nodes.len() as u32).rev() {
            let node = self.nodes[id as usize];
            let mut leaving = std::mem::take(&mut self.leaving);
            leaving.clear();
            leaving.extend(siblings(&self.growing, node));
            debug_assert!(!node.passes || leaving.is_empty(), "what a chunk's last node is");
            let here = node.accept.min(if node.passes { BEYOND } else { NONE });
            let first_end =
                leaving.iter().map(|&(_, target)| self.nodes[target as usize].first_end).fold(here, u32::min);
            let (first_edge, edges) = self.set_edges(&mut leaving);
            self.nodes[id as usize] = Growing { first_edge, edges, first_end, ..node };
            self.leaving = leaving;
        }
        let dead = self.nodes[root as usize].first_end == NONE;
        if dead {
            self.nodes.truncate(root as usize);
        }
        Ok(if dead { NONE } else { root })
    }

    /// The node after `tokens`.
    fn path(&mut self, root: u32, tokens: &[u32]) -> u32 {
        let mut node = root;
        for &token in tokens {
            let known = siblings(&self.growing, self.nodes[node as usize]).find(|&(t, _)| t == token);
            node = match known {
                Some((_, target)) => target,
                None => {
                    let target = self.add_growing();
                    let last = &mut self.nodes[node as usize].first_edge;
                    let sibling = std::mem::replace(last, self.growing.len() as u32);
                    self.growing.push(Edge { token, target, sibling });
                    target
                }
            };
        }
        node
    }

    /// A node of a tree that grows.
    fn add_growing(&mut self) -> u32 {
        self.nodes.push(Growing { first_edge: NONE, edges: 0, accept: NONE, first_end: NONE, passes: false });
        self.nodes.len() as u32 - 1
    }
}

/// `(token, target)` of the edges out of `node` while its tree grows.
fn siblings(growing: &[Edge], node: Growing) -> impl Iterator<Item = (u32, u32)> + '_ {
    let mut at = node.first_edge;
    std::iter::from_fn(move || {
        let edge = growing.get(at as usize)?;
        at = edge.sibling;
        Some((edge.token, edge.target))
    })
}
