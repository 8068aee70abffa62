//! The canonical tokens of every span of a text, as one graph: the [shapes](super::shape) of its chunks, one after the other.
//!
//! ```text
//! chunks of the text:   ... │ chunk k │ chunk k+1 │ ...        no token crosses a │
//! base(k) ─ tokens(chunk k) ─► … ─ε─► base(k+1)
//! ```
//!
//! A shape stands in it once, however often its chunk occurs; a node is told by the chunk and its node within the shape.
//! Chunks are entered from last to first, and nothing is entered that leads nowhere. Size and time are linear in the text.

use super::canon::{Encoder, Memo};
use super::grammar::Boundary;
pub(super) use super::shape::NONE;
use super::shape::{BEYOND, Chunk, Draft, Node, Shape};
use super::words::Places;
use crate::{Error, Result};
use std::ops::Range;
use std::sync::Arc;

/// Where a shape stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stand {
    shape: u32,
    /// Byte offset in the text.
    start: u32,
    /// Number of the shape's first node.
    first: u32,
    /// The node that begins the next chunk and the least end reached from there, or [`NONE`].
    after: u32,
    after_end: u32,
    /// The stand of the same shape entered before it, or [`NONE`].
    twin: u32,
}

/// The numbers of nodes, words of shapes, are dealt out to stands in blocks of `1 << BLOCK`.
const BLOCK: u32 = 6;

/// The graph, and the node at which each allowed start begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dag {
    shapes: Vec<Arc<Shape>>,
    /// The last stand of each shape.
    last: Vec<u32>,
    stands: Vec<Stand>,
    /// The stand of each block of nodes.
    owners: Vec<u32>,
    /// `(start, node)`, by start.
    pub roots: Vec<(u32, u32)>,
    /// Tokens of the edges out of all roots, sorted.
    pub openings: Vec<u32>,
}

/// A node's edges.
pub(super) struct Forth<'a> {
    /// Sorted.
    pub tokens: &'a [u32],
    /// The nodes that they lead to, less `first`.
    targets: &'a [u32],
    shape: &'a Shape,
    stand: &'a Stand,
}

impl Forth<'_> {
    /// The node that edge `at` leads to.
    pub fn target(&self, at: usize) -> u32 {
        self.stand.first + self.targets[at]
    }

    /// The least end that can be reached over edge `at`.
    pub fn first_end(&self, at: usize) -> u32 {
        self.stand.end(self.shape.first_end(self.targets[at]))
    }
}

impl Stand {
    /// A shape's offset in the text.
    fn end(&self, offset: u32) -> u32 {
        match offset {
            NONE => NONE,
            BEYOND => self.after_end,
            offset => self.start + offset,
        }
    }
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
        let marks = places.marks(text.len());
        let mut dag = Self {
            shapes: Vec::with_capacity(chunks.len()),
            last: Vec::with_capacity(chunks.len()),
            stands: Vec::with_capacity(chunks.len()),
            owners: Vec::with_capacity(text.len() / 2),
            roots: Vec::with_capacity(places.starts.len()),
            openings: Vec::new(),
        };
        let (mut draft, mut after, mut after_end) = (Draft::default(), NONE, NONE);
        memo.begin_document();
        for range in chunks.into_iter().rev() {
            let (start, passes) = (range.start as u32, after != NONE);
            let chunk = Chunk { text: &text[range.clone()], marks: &marks[range], passes, boundary };
            let shape = memo.shape(encoder, &mut draft, chunk, &mut dag.shapes)?;
            (after, after_end) = dag.enter(shape, start, after, after_end)?;
        }
        dag.roots.reverse();
        dag.openings = opening_tokens(&dag.shapes);
        Ok(dag)
    }

    /// Enters a shape at `start` before the node `after`; returns its beginning and the least end reached from there.
    fn enter(&mut self, shape: u32, start: u32, after: u32, after_end: u32) -> Result<(u32, u32)> {
        let stand = self.stands.len() as u32;
        if self.last.len() <= shape as usize {
            self.last.push(NONE);
        }
        let twin = std::mem::replace(&mut self.last[shape as usize], stand);
        let (first, shape_id) = (self.nodes(), shape);
        let shape = &self.shapes[shape as usize];
        let blocks = shape.nodes().div_ceil(1 << BLOCK);
        // One below, for the numbers of states.
        if self.owners.len() + blocks > (u32::MAX >> BLOCK) as usize - 1 {
            return Err(Error::TooLong { what: "the text's spans".into(), need: usize::MAX, limit: u32::MAX as usize });
        }
        self.owners.resize(self.owners.len() + blocks, stand);
        let stand = Stand { shape: shape_id, start, first, after, after_end, twin };
        self.roots.extend(shape.roots.iter().rev().map(|&(at, node)| (start + at, first + node)));
        self.stands.push(stand);
        Ok(match shape.base {
            NONE => (NONE, NONE),
            base => (first + base, stand.end(shape.first_end(base))),
        })
    }

    #[cfg(test)]
    pub fn shapes(&self) -> usize {
        self.shapes.len()
    }

    /// All numbers of nodes are below this one.
    pub fn nodes(&self) -> u32 {
        (self.owners.len() as u32) << BLOCK
    }

    fn find(&self, node: u32) -> (&Stand, &Shape, Node<'_>) {
        let stand = &self.stands[self.owners[(node >> BLOCK) as usize] as usize];
        let shape = &*self.shapes[stand.shape as usize];
        (stand, shape, shape.node(node - stand.first))
    }

    /// The least end that can be reached from `node`.
    pub fn first_end(&self, node: u32) -> u32 {
        let (stand, _, node) = self.find(node);
        stand.end(node.first_end)
    }

    /// The end of a span that led to `node`, or [`NONE`].
    pub fn accept(&self, node: u32) -> u32 {
        let (stand, _, node) = self.find(node);
        stand.end(node.accept)
    }

    /// The end of a span that led to `node`, or [`NONE`], and its edges.
    pub fn forth(&self, node: u32) -> (u32, Forth<'_>) {
        let (mut stand, mut shape, mut node) = self.find(node);
        let accept = stand.end(node.accept);
        if node.passes {
            (stand, shape, node) = self.find(stand.after);
        }
        (accept, Forth { tokens: node.tokens, targets: node.targets, shape, stand })
    }

    /// Calls `each` with every node that `token` leads to from a root.
    pub fn open(&self, token: u32, mut each: impl FnMut(u32)) {
        for (shape, &last) in self.shapes.iter().zip(&self.last) {
            let range = equal(&shape.openings, token);
            let mut at = if range.is_empty() { NONE } else { last };
            while let Some(stand) = self.stands.get(at as usize) {
                shape.openings[range.clone()].iter().for_each(|&(_, node)| each(stand.first + node));
                at = stand.twin;
            }
        }
    }
}

/// The entries of `token`.
fn equal(openings: &[(u32, u32)], token: u32) -> Range<usize> {
    let first = openings.partition_point(|&(t, _)| t < token);
    first..first + openings[first..].iter().take_while(|&&(t, _)| t == token).count()
}

/// The tokens that some shape opens with, sorted: read off a set of bits, since most shapes share most of them.
fn opening_tokens(shapes: &[Arc<Shape>]) -> Vec<u32> {
    let mut bits: Vec<u64> = Vec::new();
    for shape in shapes {
        if let Some(&(last, _)) = shape.openings.last()
            && bits.len() <= last as usize / 64
        {
            bits.resize(last as usize / 64 + 1, 0);
        }
        for &(token, _) in &shape.openings {
            bits[token as usize / 64] |= 1 << (token % 64);
        }
    }
    let mut tokens = Vec::with_capacity(1024);
    for (i, &word) in bits.iter().enumerate() {
        let mut word = word;
        while word != 0 {
            tokens.push(i as u32 * 64 + word.trailing_zeros());
            word &= word - 1;
        }
    }
    tokens
}
