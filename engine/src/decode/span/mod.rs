//! Verbatim spans: the set of token strings that an extraction answer over one text may be.
//!
//! An answer has one line per asked label, in order, and every span in it is a piece of the text:
//!
//! ```text
//! answer = line "\n" line ... line terminator       line = label ": " ( "None" | span ( " ... " span )* )
//! ```
//!
//! | file | what it settles |
//! |---|---|
//! | `words` | where spans may start and end, and what no span may contain |
//! | `canon` | strings to canonical tokens, remembered across documents |
//! | `dag` | the canonical tokens of every span of a text as one graph of linear size, made of the shapes of its chunks |
//! | `shape`, `lattice` | the graph of one chunk: from the tokens of every piece of it, or from the rules of BPE |
//! | `sets` | that graph made deterministic, as far as a walk needs it |
//! | `history` | the spans given so far in a line, and which occurrence each one stands for |
//! | `grammar` | labels, `None`, separators and line ends around the spans: the [`Constraint`](super::Constraint) |
//! | `read` | answer tokens back to spans with byte offsets |
//!
//! **One string, one token path.** Only the tokens that the tokenizer itself gives for an answer are allowed, so that the
//! model's probability of a span is not split over spellings it never saw.
//!
//! **What no span may be**, so that an answer reads back in one way only: a span never holds a line break, is never exactly
//! `None`, and none of its space-separated words is exactly `...`. To keep that local, no span starts with `...`, ends where
//! the text reads ` ...`, or reaches into a ` ... ` of the text from before it.

mod canon;
mod dag;
mod grammar;
mod history;
mod intern;
mod lattice;
mod read;
mod sets;
mod shape;
#[cfg(test)]
mod tests;
mod words;

pub use canon::{Encoder, SpanCache};
pub use grammar::{Boundary, SpanGrammar, SpanPolicy};
pub use read::{LabelLine, SpanRead};
