//! From logits to answers: choices, spans, the answer's grammar, speculation, batching.

mod batch;
mod choice;
mod decoder;
mod draft;
mod generate;
mod halt;
mod prefix;
pub mod span;
mod top_spans;
mod tree;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod toy;

pub use choice::{ChoiceRequest, Posterior};
pub use decoder::{Decoder, DecoderOptions, Mode, Scores};
pub use generate::{Continuation, Generated, Generation};
pub use halt::Halt;
pub use span::{Boundary, LabelLine, SpanCache, SpanGrammar, SpanPolicy, SpanRead};
pub use top_spans::{Candidate, SpanQuery, TopSpans};

/// A state of a [`Constraint`], interned: equal states have equal ids within one constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateId(pub u32);

/// The set of token strings an answer may be, walked one token at a time.
///
/// Every reachable state that is not final allows at least one token, and every allowed path reaches a final state.
pub trait Constraint: Send {
    /// The state before the first token.
    fn start(&self) -> StateId;
    /// Tokens allowed next, sorted, distinct; empty exactly in the final state.
    fn allowed(&mut self, state: StateId) -> &[u32];
    /// The state after `token`, `None` where it is not allowed.
    fn advance(&mut self, state: StateId, token: u32) -> Option<StateId>;
    /// Tokens whose probability is wanted at `state` whatever is chosen there, such as "no span" and the end of its line.
    /// All but the last are allowed one after another.
    fn aside(&mut self, _state: StateId) -> Option<Vec<u32>> {
        None
    }
}
