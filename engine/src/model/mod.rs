//! Mistral itself, written once for every device, behind an object-safe face that decoding uses.

mod adapter;
mod kept;
mod mistral;
mod open;
mod pages;
mod session;
pub mod training;

pub use mistral::Mistral;
pub use open::{Opening, Placement, open};
#[cfg(feature = "cuda")]
pub(crate) use session::PASS_ROWS;

use crate::Result;
use crate::weights::{AdapterPart, ModelConfig};
use std::sync::Arc;

/// A loaded adapter of a model. Ids are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AdapterId(pub u32);

/// A sequence of tokens in a session's cache. Ids are never reused within a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u64);

/// A final hidden state that a session keeps until it is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowId(pub u32);

/// Immutable weights and configuration, shared by sessions and threads.
pub trait LanguageModel: Send + Sync {
    /// Shape of the model.
    fn config(&self) -> &ModelConfig;
    /// Numerics fingerprint of the device and kernels that compute it.
    fn fingerprint(&self) -> String;
    /// A new session with an empty cache. It keeps the weights alive.
    fn session(self: Arc<Self>) -> Result<Box<dyn ModelSession>>;
    /// Makes an adapter resident, to be applied unmerged to sequences started with its id.
    fn load_adapter(&self, weights: &[AdapterPart]) -> Result<AdapterId>;
    /// Forgets an adapter; sequences that use it keep it. Returns whether it was loaded.
    fn unload_adapter(&self, id: AdapterId) -> bool;
}

/// A node of a tree of drafts or choices, evaluated in one pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeNode {
    /// Token to read at this node.
    pub token: u32,
    /// Index of the parent node, smaller than this node's; `None` follows the chain directly.
    pub parent: Option<u32>,
}

/// What one sequence adds in a pass: `chain` is appended to the cache for good, `tree` stays in flight until
/// [`ModelSession::commit`] keeps one path of it; the next pass or commit of that sequence forgets the rest.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The sequence.
    pub sequence: SequenceId,
    /// Tokens appended causally.
    pub chain: &'a [u32],
    /// At most 64 nodes after the chain.
    pub tree: &'a [TreeNode],
    /// Rows (chain first, then tree) whose final hidden state is kept.
    pub keep: &'a [u32],
}

/// One thread's work on a model: key/value cache, scratch, kept rows.
pub trait ModelSession: Send {
    /// An empty sequence, computed with `adapter` when given.
    fn sequence(&mut self, adapter: Option<AdapterId>) -> Result<SequenceId>;
    /// A sequence that shares the first `len` tokens of `from`.
    fn fork(&mut self, from: SequenceId, len: usize) -> Result<SequenceId>;
    /// Tokens in the cache, in-flight nodes not counted.
    fn len(&self, sequence: SequenceId) -> usize;
    /// Forgets a sequence. Unknown ids are ignored.
    fn release(&mut self, sequence: SequenceId);
    /// One packed pass over all steps (each sequence at most once). Returns the kept rows in the order asked for.
    fn forward(&mut self, steps: &[Step<'_>]) -> Result<Vec<RowId>>;
    /// Appends in-flight nodes, a path from a root down, to the cache. No computation.
    fn commit(&mut self, sequence: SequenceId, path: &[u32]) -> Result<()>;
    /// Logits of chosen tokens at kept rows, concatenated.
    fn logits(&mut self, asks: &[(RowId, &[u32])]) -> Result<Vec<f32>>;
    /// Log-sum-exp over the full vocabulary at kept rows.
    fn normalisers(&mut self, rows: &[RowId]) -> Result<Vec<f64>>;
    /// All logits at one kept row.
    fn all_logits(&mut self, row: RowId) -> Result<Vec<f32>>;
    /// Forgets kept rows. Unknown ids are ignored.
    fn release_rows(&mut self, rows: &[RowId]);
    /// Bytes of cache that sequences hold now.
    fn cache_bytes(&self) -> usize;
}
