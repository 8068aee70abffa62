//! The seven tasks: instruction and options in, typed answers out.
//!
//! | file | what it settles |
//! |---|---|
//! | `prompts` | the wording, from `data/prompts.toml`, shared with training |
//! | `schema` | labels, events, relations and classes, read from JSON and checked |
//! | `request`, `answer` | what goes in and what comes out, with their JSON |
//! | `engine`, `session` | a loaded model shared by threads; one thread's work on it |
//! | `frame` | a message in its chat template: token ids, what stands before the answer, what ends it |
//! | `ask_choice`, `ask_spans` | the two kinds of question every task is made of |
//! | `window`, `merge` | texts longer than the context: cutting, and putting the spans together |
//! | `extract`, `events`, `relate`, `choices` | the tasks |

mod answer;
mod ask_choice;
mod ask_spans;
mod choices;
mod engine;
mod events;
mod extract;
mod frame;
mod mark;
mod merge;
mod prompts;
mod relate;
mod request;
mod schema;
mod session;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod toy_tests;
mod window;

pub use crate::decode::{Boundary, SpanPolicy};
pub use crate::text::OffsetUnit;
pub use answer::{
    AttributeAnswer, Choice, ChoiceAnswer, ClassifyAnswer, EventAnswer, EventsAnswer, ExtractAnswer, Failure,
    LabelOutcome, MultiAnswer, Occurrence, OptionScore, PairAnswer, Provenance, RelateAnswer, ShownCandidate,
    ShownPrompt, SimilarAnswer, Span, Status,
};
pub use engine::{Engine, EngineOptions, EngineParts, ModelSettings};
pub use frame::{Frame, Prompt};
pub use mark::{mark, one_line};
pub use prompts::{BUILT_IN, Prompts, Wording, letter};
pub use request::{
    AnswerRequest, Cancel, ChoiceRules, ChoiceStyle, ClassifyRequest, Document, EntailRequest, EventsRequest,
    ExtractRequest, Inference, Mention, Mentions, ProgressFn, Question, RelateDocument, RelateRequest, RunOptions,
    Shot, SimilarRequest, Template, TextPair, Window,
};
pub use schema::{Attribute, Event, Label, Relation, Schema};
pub use session::Session;
