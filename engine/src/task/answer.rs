//! What comes out: plain values that serialise to the documented JSON.

use crate::Error;
use crate::text::OffsetUnit;
use serde::{Deserialize, Serialize};

/// The status of an answer; a document that fails is a [`Failure`] instead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Answered in full.
    #[default]
    Ok,
}

/// Everything an answer depends on besides the document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of this library.
    pub engine: String,
    /// Numerics fingerprint of device and kernels.
    pub fingerprint: String,
    /// Identity of the weights.
    pub weights: String,
    /// Identity of the adapter, where one answered.
    pub adapter: Option<String>,
    /// SHA-256 of the tokenizer.
    pub tokenizer: String,
    /// Chat template: `zephyr` or `model`.
    pub template: String,
    /// SHA-256 over the data file of prompts, the chat template's source and the run's examples.
    pub prompts: String,
    /// SHA-256 of the request as JSON: labels, options, rules.
    pub schema: String,
}

/// A place in the text, half-open, in the unit of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Occurrence {
    /// First unit.
    pub start: usize,
    /// One past the last unit.
    pub end: usize,
}

/// A verbatim span: `document[start..end] == text` in the unit of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// The label it was extracted for.
    pub label: String,
    /// The span.
    pub text: String,
    /// Start of the place it stands for: the leftmost that the policy permits after the spans before it.
    pub start: usize,
    /// End of that place.
    pub end: usize,
    /// All places where the text stands at allowed boundaries, in order, `start..end` among them.
    pub occurrences: Vec<Occurrence>,
    /// Natural log-probability of the span with its ending, over the full vocabulary, given the answer before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprob: Option<f64>,
    /// Product over its tokens of the probability that the rules left to choose from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_mass: Option<f64>,
}

/// What holds for one label of an extraction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelOutcome {
    /// The label.
    pub label: String,
    /// Probability of `None` over the full vocabulary, given the answer before it (product over windows).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub none_probability: Option<f64>,
    /// Whether it has as many spans as the rules allow, so that more may be missing.
    pub limit_reached: bool,
}

/// One option of a choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OptionScore {
    /// The option as the caller named it.
    pub label: String,
    /// Posterior probability among the options (of `Yes` among yes and no for multi-label classes).
    pub probability: f64,
    /// Natural log-probability of the option's full string over the full vocabulary.
    pub logprob: f64,
}

/// A posterior over options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The options in the order given.
    pub options: Vec<OptionScore>,
    /// The most probable option; of equals the first given.
    pub answer: String,
    /// Probability of everything that is none of the options.
    pub outside_mass: f64,
}

/// One candidate string of a shown prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownCandidate {
    /// The option it stands for.
    pub label: String,
    /// The exact text scored, terminator aside.
    pub text: String,
    /// Its token ids, terminator included where it is scored.
    pub ids: Vec<u32>,
    /// Its log-probability.
    pub logprob: f64,
}

/// A prompt as the model read it, enough to recompute the answer elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownPrompt {
    /// What it asked: `extract`, `trigger`, `argument`, `attribute`, `classify`, .. and `calibrate` for content-free ones.
    pub purpose: String,
    /// The text, control tokens spelled out. The ids decide: a look-alike of a control token in a document is plain text.
    pub prompt: String,
    /// Its token ids.
    pub prompt_ids: Vec<u32>,
    /// The candidates of a choice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<ShownCandidate>,
    /// The tokens generated, for an extraction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answer_ids: Vec<u32>,
}

/// Entity spans of a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExtractAnswer {
    /// The document's id.
    pub id: String,
    /// Always `ok`.
    pub status: Status,
    /// Unit of every offset.
    pub unit: OffsetUnit,
    /// The spans, by label in the order asked, then in the order of the answer.
    pub spans: Vec<Span>,
    /// Per label.
    pub labels: Vec<LabelOutcome>,
    /// Number of windows the text was read in.
    pub windows: usize,
    /// What the answer depends on.
    pub provenance: Provenance,
    /// The prompts, where asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<ShownPrompt>,
}

/// An attribute of an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttributeAnswer {
    /// The attribute's name.
    pub name: String,
    /// Posterior over its values; the option `null` stands for "not mentioned" where the attribute is not required.
    #[serde(flatten)]
    pub choice: Choice,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventAnswer {
    /// Trigger span, labelled with the event type.
    pub trigger: Span,
    /// Argument spans, labelled with the argument's name.
    pub arguments: Vec<Span>,
    /// Attributes.
    pub attributes: Vec<AttributeAnswer>,
}

/// Events of a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventsAnswer {
    /// The document's id.
    pub id: String,
    /// Always `ok`.
    pub status: Status,
    /// Unit of every offset.
    pub unit: OffsetUnit,
    /// The events, by type in the order asked, then in the order of the answer.
    pub events: Vec<EventAnswer>,
    /// Per event type: what holds for its triggers.
    pub labels: Vec<LabelOutcome>,
    /// What the answer depends on.
    pub provenance: Provenance,
    /// The prompts, where asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<ShownPrompt>,
}

/// The answer of a single choice: [`crate::task::Session::answer`], `entail`, and `classify` with one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChoiceAnswer {
    /// The document's id.
    pub id: String,
    /// Always `ok`.
    pub status: Status,
    /// The posterior.
    #[serde(flatten)]
    pub choice: Choice,
    /// What the answer depends on.
    pub provenance: Provenance,
    /// The prompts, where asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<ShownPrompt>,
}

/// Several classes of a document: each class is its own yes/no posterior, so the probabilities do not sum to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MultiAnswer {
    /// The document's id.
    pub id: String,
    /// Always `ok`.
    pub status: Status,
    /// Per class: probability of yes among yes and no, log-probability of yes.
    pub options: Vec<OptionScore>,
    /// The classes with a probability above one half, in the order given.
    pub answer: Vec<String>,
    /// The largest outside mass of the questions.
    pub outside_mass: f64,
    /// What the answer depends on.
    pub provenance: Provenance,
    /// The prompts, where asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<ShownPrompt>,
}

/// The answer of a classification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ClassifyAnswer {
    /// One class.
    Single(ChoiceAnswer),
    /// Any number of classes.
    Multi(MultiAnswer),
}

/// The relation of one ordered pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairAnswer {
    /// Index of the head in `entities`.
    pub head: usize,
    /// Index of the tail in `entities`.
    pub tail: usize,
    /// Posterior over the relations its labels allow and `none`.
    #[serde(flatten)]
    pub choice: Choice,
}

/// Relations of a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RelateAnswer {
    /// The document's id.
    pub id: String,
    /// Always `ok`.
    pub status: Status,
    /// Unit of every offset.
    pub unit: OffsetUnit,
    /// The mentions, given or extracted.
    pub entities: Vec<Span>,
    /// Every candidate pair.
    pub pairs: Vec<PairAnswer>,
    /// What the answer depends on.
    pub provenance: Provenance,
    /// The prompts, where asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<ShownPrompt>,
}

/// Similarity of two texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SimilarAnswer {
    /// The document's id.
    pub id: String,
    /// Always `ok`.
    pub status: Status,
    /// Posterior over the scores; labels and answer are integers written out.
    #[serde(flatten)]
    pub choice: Choice,
    /// The most probable score.
    pub score: i32,
    /// `Σ probability · score`.
    pub expected: f64,
    /// What the answer depends on.
    pub provenance: Provenance,
    /// The prompts, where asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<ShownPrompt>,
}

/// A document that was not answered, as it stands in a list of answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The document's id.
    pub id: String,
    /// Always `error`.
    pub status: String,
    /// Stable number of the kind of error ([`Error::code`]).
    pub code: i32,
    /// One sentence, never with document text.
    pub error: String,
}

impl Failure {
    /// The failure of document `id`.
    pub fn new(id: impl Into<String>, error: &Error) -> Self {
        Self { id: id.into(), status: "error".to_owned(), code: error.code(), error: error.to_string() }
    }
}
