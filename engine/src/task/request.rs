//! What goes in: documents, requests per task, run options.

use super::schema::{self, Event, Label, Relation};
use crate::decode::{Halt, SpanPolicy};
use crate::text::OffsetUnit;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A text to read. `id` is copied to the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// The caller's name for it.
    #[serde(default)]
    pub id: String,
    /// The text.
    pub text: String,
}

/// A labelled place in a text, half-open, in the unit of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mention {
    /// Entity label.
    pub label: String,
    /// First unit.
    pub start: usize,
    /// One past the last unit.
    pub end: usize,
}

/// A text whose entities are to be related.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelateDocument {
    /// The caller's name for it.
    #[serde(default)]
    pub id: String,
    /// The text.
    pub text: String,
    /// Its entities; `None` has them extracted first, with the labels of the request.
    #[serde(default)]
    pub entities: Option<Vec<Mention>>,
}

/// A multiple-choice question.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The caller's name for it.
    #[serde(default)]
    pub id: String,
    /// The question; `None` asks the request's.
    #[serde(default)]
    pub question: Option<String>,
    /// The text it is about.
    #[serde(default, alias = "text")]
    pub context: Option<String>,
    /// The options; empty takes the request's.
    #[serde(default)]
    pub options: Vec<String>,
}

/// Two texts of which one may follow from the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inference {
    /// The caller's name for it.
    #[serde(default)]
    pub id: String,
    /// What is given.
    pub premise: String,
    /// What may follow.
    pub hypothesis: String,
}

/// Two texts to compare.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextPair {
    /// The caller's name for it.
    #[serde(default)]
    pub id: String,
    /// One text.
    pub text1: String,
    /// The other.
    pub text2: String,
}

/// Which string of an option is scored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChoiceStyle {
    /// `(A) option text` and the end of the answer: the trained format.
    #[default]
    Full,
    /// `(A)` alone, whatever follows.
    Letter,
}

/// How options are scored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChoiceRules {
    /// The string scored.
    pub style: ChoiceStyle,
    /// Number of rotations of the options' order to average over, against position bias; 1 is the order given. More
    /// rotations than options are as many as options.
    pub permute: usize,
    /// Contextual calibration: each log-probability less that of a content-free text, before normalising.
    pub calibrate: bool,
}

impl Default for ChoiceRules {
    fn default() -> Self {
        Self { style: ChoiceStyle::Full, permute: 1, calibrate: false }
    }
}

/// Which places of an extracted span are taken as mentions (events, relations).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mentions {
    /// The first place.
    #[default]
    First,
    /// Every place.
    All,
}

/// Entity spans of given labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ExtractRequest {
    /// The labels, in the order of the answer.
    pub labels: Vec<Label>,
    /// What spans are allowed.
    pub policy: SpanPolicy,
}

/// Events: triggers, then arguments and attributes of each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EventsRequest {
    /// The event types.
    pub events: Vec<Event>,
    /// What trigger and argument spans are allowed.
    pub policy: SpanPolicy,
    /// How attribute values are scored.
    pub choice: ChoiceRules,
    /// Which places of a trigger are events of their own.
    pub mentions: Mentions,
}

/// Classes of a document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ClassifyRequest {
    /// What the prompt asks; `None` asks in the words of the data file.
    pub question: Option<String>,
    /// The classes.
    pub classes: Vec<Label>,
    /// Whether several may apply: then each class is a yes/no question of its own.
    pub multi: bool,
    /// How options are scored.
    pub choice: ChoiceRules,
}

/// Relations of entities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RelateRequest {
    /// The relation types; a pair is asked where at least one allows its labels.
    pub relations: Vec<Relation>,
    /// Entities to extract where a document brings none of its own.
    pub labels: Vec<Label>,
    /// What extracted entities are allowed.
    pub policy: SpanPolicy,
    /// Which places of an extracted entity are mentions of their own.
    pub mentions: Mentions,
    /// Whether only pairs of one sentence (UAX-29) are asked.
    pub same_sentence: bool,
    /// More candidate pairs than this in one document are an error.
    pub max_pairs: usize,
    /// How options are scored.
    pub choice: ChoiceRules,
}

impl Default for RelateRequest {
    fn default() -> Self {
        Self {
            relations: Vec::new(),
            labels: Vec::new(),
            policy: SpanPolicy::default(),
            mentions: Mentions::default(),
            same_sentence: false,
            max_pairs: 1024,
            choice: ChoiceRules::default(),
        }
    }
}

/// Multiple-choice questions; question and options here serve the items that bring none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AnswerRequest {
    /// The question of items without one.
    pub question: Option<String>,
    /// The options of items without any.
    pub options: Vec<String>,
    /// How options are scored.
    pub choice: ChoiceRules,
}

/// Inference.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EntailRequest {
    /// The options; empty takes entailment, neutral, contradiction.
    pub options: Vec<String>,
    /// How options are scored.
    pub choice: ChoiceRules,
}

/// Similarity on an integer scale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SimilarRequest {
    /// Lowest score: unrelated.
    pub low: i32,
    /// Highest score: equivalent.
    pub high: i32,
    /// How options are scored.
    pub choice: ChoiceRules,
}

impl Default for SimilarRequest {
    /// 0 to 5, the scale of STS-B.
    fn default() -> Self {
        Self { low: 0, high: 5, choice: ChoiceRules::default() }
    }
}

/// Which chat template frames the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Template {
    /// The Zephyr-style one of BioMistral-NLU.
    Zephyr,
    /// The one that comes with the model.
    Model,
}

/// Cutting of a text that does not fit into windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Window {
    /// Most text tokens of one window; `None` takes what the context leaves.
    pub tokens: Option<usize>,
    /// Most text tokens that a window shares with the one before.
    pub overlap: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { tokens: None, overlap: 64 }
    }
}

/// A flag that stops a run from any thread. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// An untriggered flag.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the runs that hold it: one atomic store.
    pub fn trigger(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Makes it usable again.
    pub fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether it was triggered.
    pub fn is_triggered(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Called with the number of documents done and of all, from the thread of the run; [`ControlFlow::Break`] ends it, and the
/// documents not done answer [`Error::Cancelled`].
pub type ProgressFn<'a> = &'a dyn Fn(usize, usize) -> ControlFlow<()>;

/// A worked example: a message as the task writes it, and its right answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shot {
    /// What was asked.
    pub message: String,
    /// What was answered.
    pub answer: String,
}

/// How a batch is run; the same for every task.
#[derive(Clone)]
pub struct RunOptions<'a> {
    /// Unit of offsets in and out.
    pub unit: OffsetUnit,
    /// Name of the adapter to answer with.
    pub adapter: Option<String>,
    /// Chat template; `None` follows the rule of [`super::EngineOptions::template`].
    pub template: Option<Template>,
    /// Windows for texts that do not fit; `None` makes them [`Error::TooLong`].
    pub window: Option<Window>,
    /// Whether spans carry log-probabilities, kept mass and the probability of `None`. Choices always do.
    pub scores: bool,
    /// Whether answers carry the prompts, token ids and candidates' token ids.
    pub show_prompt: bool,
    /// Examples that stand before every question as earlier turns of the conversation.
    pub shots: Vec<Shot>,
    /// Documents decoded together. Does not change an answer.
    pub batch: usize,
    /// Flag that stops the run; documents not done answer [`Error::Cancelled`].
    pub cancel: Option<Cancel>,
    /// Moment after which documents not done answer [`Error::TimedOut`].
    pub deadline: Option<Instant>,
    /// Progress callback.
    pub progress: Option<ProgressFn<'a>>,
}

impl Default for RunOptions<'_> {
    fn default() -> Self {
        Self {
            unit: OffsetUnit::CodePoint,
            adapter: None,
            template: None,
            window: None,
            scores: true,
            show_prompt: false,
            shots: Vec::new(),
            batch: 32,
            cancel: None,
            deadline: None,
            progress: None,
        }
    }
}

impl RunOptions<'_> {
    /// What ends the run early.
    pub(crate) fn halt(&self) -> Halt {
        Halt { flag: self.cancel.as_ref().map(|cancel| Arc::clone(&cancel.0)), deadline: self.deadline }
    }
}

fn check_policy(policy: &SpanPolicy) -> Result<()> {
    match (policy.max_spans, policy.max_words) {
        (Some(0), _) | (_, Some(0)) => Err(Error::invalid("policy: expected limits of at least 1, found 0")),
        _ => Ok(()),
    }
}

impl ChoiceRules {
    fn check(&self) -> Result<()> {
        match self.permute {
            0 => Err(Error::invalid("choice.permute: expected at least 1, found 0")),
            _ => Ok(()),
        }
    }
}

/// A request that can be checked before any document is read.
pub(crate) trait Check {
    fn check(&self) -> Result<()>;
}

impl Check for ExtractRequest {
    fn check(&self) -> Result<()> {
        at_least_one(&self.labels, "labels")?;
        schema::check_names(&self.labels, "labels")?;
        check_policy(&self.policy)
    }
}

impl Check for EventsRequest {
    fn check(&self) -> Result<()> {
        at_least_one(&self.events, "events")?;
        schema::check_events(&self.events, "events")?;
        check_policy(&self.policy)?;
        self.choice.check()
    }
}

impl Check for ClassifyRequest {
    fn check(&self) -> Result<()> {
        at_least_one(&self.classes, "classes")?;
        match self.multi {
            true => schema::check_names(&self.classes, "classes")?,
            false => schema::check_options(&self.classes, "classes")?,
        }
        self.choice.check()
    }
}

impl Check for RelateRequest {
    fn check(&self) -> Result<()> {
        at_least_one(&self.relations, "relations")?;
        schema::check_relations(&self.relations, "relations")?;
        schema::check_names(&self.labels, "labels")?;
        check_policy(&self.policy)?;
        self.choice.check()
    }
}

impl Check for AnswerRequest {
    fn check(&self) -> Result<()> {
        check_texts(&self.options, "options")?;
        self.choice.check()
    }
}

impl Check for EntailRequest {
    fn check(&self) -> Result<()> {
        check_texts(&self.options, "options")?;
        self.choice.check()
    }
}

impl Check for SimilarRequest {
    fn check(&self) -> Result<()> {
        let steps = i64::from(self.high) - i64::from(self.low);
        if !(1..1000).contains(&steps) {
            return Err(Error::invalid(format!(
                "low, high: expected a scale of 2 to 1000 scores, found {} to {}",
                self.low, self.high
            )));
        }
        self.choice.check()
    }
}

fn at_least_one<T>(items: &[T], path: &str) -> Result<()> {
    if items.is_empty() {
        return Err(Error::invalid(format!("{path}: expected at least 1, found none")));
    }
    Ok(())
}

/// Options given as bare texts. The caller's own words: never quoted in an error, they may come from a document.
pub(crate) fn check_texts(options: &[String], path: &str) -> Result<()> {
    if options.len() == 1 {
        return Err(Error::invalid(format!("{path}: expected at least 2 options, found 1")));
    }
    for (i, option) in options.iter().enumerate() {
        if option.is_empty() || option.trim() != option || option.chars().any(char::is_control) {
            return Err(Error::invalid(format!("{path}[{i}]: expected one non-empty line without space around it")));
        }
        if options[..i].contains(option) {
            return Err(Error::invalid(format!("{path}[{i}]: expected distinct options, found one twice")));
        }
    }
    Ok(())
}
