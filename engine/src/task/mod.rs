//! The seven tasks: instruction and options in, typed answers out.

mod answer;
#[cfg(test)]
mod mark;
mod prompts;
mod request;
mod schema;
mod unit;
#[cfg(test)]
mod window;

pub use answer::{
    AttributeAnswer, Choice, ChoiceAnswer, ClassifyAnswer, EventAnswer, EventsAnswer, ExtractAnswer, Failure,
    LabelOutcome, MultiAnswer, Occurrence, OptionScore, PairAnswer, Provenance, RelateAnswer, ShownCandidate,
    ShownPrompt, SimilarAnswer, Span, Status,
};
pub use prompts::{BUILT_IN, Prompts, Wording, letter};
pub use request::{
    AnswerRequest, Cancel, ChoiceRules, ChoiceStyle, ClassifyRequest, Document, EntailRequest, EventsRequest,
    ExtractRequest, Inference, Mention, Mentions, ProgressFn, Question, RelateDocument, RelateRequest, RunOptions,
    SimilarRequest, SpanBoundary, SpanRules, Template, TextPair, Window,
};
pub use schema::{Attribute, Event, Label, Relation, Schema};
pub use unit::OffsetUnit;

#[cfg(test)]
mod tests;
