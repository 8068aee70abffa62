//! The configuration of a build.

use crate::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A build, as its TOML file says. Folders of corpora are below the one that the command names.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstructConfig {
    /// Decides everything that is random.
    #[serde(default = "seed")]
    pub seed: u64,
    /// Longest record in tokens; a longer one is left out and counted.
    #[serde(default = "max_tokens")]
    pub max_tokens: usize,
    /// Sizes of passages in characters, each as likely as the others; 1 for a sentence.
    #[serde(default = "sizes")]
    pub passages: Vec<usize>,
    /// Wordings of an instruction that records are written in, of those that the prompts have; 1 for inference's alone.
    #[serde(default = "phrasings")]
    pub phrasings: usize,
    /// JSON of ids that must not be trained on, by corpus, below the corpora's folder.
    pub exclusions: Option<PathBuf>,
    /// Evaluation sets: no document that shares a 13-gram or an id with one is taken.
    #[serde(default)]
    pub evaluation: Vec<Evaluation>,
    /// What the card shall say of the whole, such as a task that no corpus gives.
    #[serde(default)]
    pub remarks: Vec<String>,
    /// The corpora.
    pub corpus: Vec<CorpusPlan>,
    /// The run that `train.toml` beside the records shall describe; without one, there is none.
    pub run: Option<RunPlan>,
}

/// A run on the records.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunPlan {
    /// Tokens of an epoch.
    pub tokens: usize,
    /// Share of them by task; a task without one is not trained on.
    pub shares: BTreeMap<String, f64>,
    /// How often a record of a corpus is drawn, compared with one of the same task and another corpus; 1 without.
    #[serde(default)]
    pub weights: BTreeMap<String, f64>,
    /// What a token of a task's answers counts in the loss, compared with those of other tasks; 1 without. An answer that
    /// is a letter has one token to learn, an answer of spans dozens.
    #[serde(default)]
    pub loss_weights: BTreeMap<String, f64>,
    /// Every other key of the run's configuration.
    pub train: toml::Table,
}

impl RunPlan {
    /// Reads a file with the table `[run]` alone.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] with the line of an unknown key or a wrong type.
    pub fn read(path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            run: RunPlan,
        }
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        let file: File = toml::from_str(&text).map_err(|e| Error::format(path.display().to_string(), e.to_string()))?;
        Ok(file.run)
    }

    /// Whether it names tasks and corpora that there are: a misspelt one would be left out without a word.
    ///
    /// # Errors
    /// [`Error::Format`] naming the first that there is not.
    pub(super) fn check(&self, corpora: &[CorpusPlan]) -> Result<()> {
        let task = |name: &str| corpora.iter().flat_map(|c| &c.task).any(|task| task.name() == name);
        let corpus = |name: &str| corpora.iter().any(|corpus| corpus.name == name);
        let share = self.shares.keys().find(|name| !task(name)).map(|name| ("shares", name));
        let loss = self.loss_weights.keys().find(|name| !task(name)).map(|name| ("loss_weights", name));
        let weight = || self.weights.keys().find(|name| !corpus(name)).map(|name| ("weights", name));
        match share.or(loss).or_else(weight) {
            Some((what, name)) => Err(Error::format(
                "run",
                format!("{what}: expected names in the configuration's corpora, found {name:?}"),
            )),
            None => Ok(()),
        }
    }
}

/// An evaluation set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Its name in reports.
    pub name: String,
    /// How it is read, where that is not its name: a format of `biomistral_nlu_formats::corpora::NAMES`.
    pub reader: Option<String>,
    /// Its folder.
    pub folder: PathBuf,
}

/// A corpus and what it is asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusPlan {
    /// Its name in records and reports.
    pub name: String,
    /// How it is read, where that is not its name: a format of `biomistral_nlu_formats::corpora::NAMES`.
    pub reader: Option<String>,
    /// Its folder.
    pub folder: PathBuf,
    /// Its licence, for the card.
    pub licence: String,
    /// Splits that are left out.
    #[serde(default)]
    pub without: Vec<String>,
    /// Splits that are for validation instead.
    #[serde(default)]
    pub validation: Vec<String>,
    /// What it is asked.
    pub task: Vec<TaskPlan>,
}

/// What a name of a corpus is called in prompts, and what it means. Labels that are called the same are one label.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Named {
    /// One name.
    One(String),
    /// Several; each record takes one of them.
    Several(Vec<String>),
    /// A name with a meaning, which every other record is told.
    Described {
        /// The name.
        name: String,
        /// Its meaning.
        description: String,
    },
}

/// A relation between mentions.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelationPlan {
    /// Labels in the corpus; none for one that the corpus never has, which is offered as a wrong option.
    #[serde(default)]
    pub labels: Vec<String>,
    /// The option, `{head}` and `{tail}` for the mentions.
    pub text: String,
    /// Labels of mentions that may be its head.
    pub head: Vec<String>,
    /// Labels of mentions that may be its tail.
    pub tail: Vec<String>,
    /// Whether it has no direction.
    #[serde(default)]
    pub symmetric: bool,
}

/// An attribute of events: one of given values.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttributePlan {
    /// What it is called.
    pub label: Named,
    /// Names by value in the corpus; `""` for an attribute that is there without a value.
    pub values: BTreeMap<String, Named>,
    /// The value of events without it; where there is none, they are answered "not mentioned".
    pub otherwise: Option<Named>,
    /// Share of the events without it that are asked for it.
    #[serde(default = "absent_share")]
    pub absent: f64,
}

/// A task, and how many records it may have.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum TaskPlan {
    /// Entity spans.
    Extract {
        /// Most records.
        cap: usize,
        /// Names by label; labels that are not here are not asked for.
        labels: BTreeMap<String, Named>,
        /// Most labels of a record.
        #[serde(default = "most_labels")]
        most: usize,
        /// Share of the passages without any span that are taken.
        #[serde(default = "empty_share")]
        empty: f64,
    },
    /// Which of several words is a mention of a label: a multiple-choice question of its own making.
    Pick {
        /// Most records.
        cap: usize,
        /// Names by label; labels that are not here are not asked for.
        labels: BTreeMap<String, Named>,
    },
    /// Event triggers.
    Trigger {
        /// Most records.
        cap: usize,
        /// Names by event type.
        labels: BTreeMap<String, Named>,
        /// Most labels of a record.
        #[serde(default = "most_labels")]
        most: usize,
        /// Share of the passages without any span that are taken.
        #[serde(default = "empty_share")]
        empty: f64,
    },
    /// Arguments of an event.
    Argument {
        /// Most records.
        cap: usize,
        /// Names by event type.
        events: BTreeMap<String, Named>,
        /// Names by role.
        roles: BTreeMap<String, Named>,
    },
    /// Attributes of an event.
    Attribute {
        /// Most records.
        cap: usize,
        /// Names by event type.
        events: BTreeMap<String, Named>,
        /// The attributes by name in the corpus.
        attributes: BTreeMap<String, AttributePlan>,
    },
    /// Relations of pairs.
    Relate {
        /// Most records.
        cap: usize,
        /// Names by label of a mention.
        labels: BTreeMap<String, Named>,
        /// The relations.
        relations: Vec<RelationPlan>,
        /// Pairs without a relation per pair with one.
        #[serde(default = "one")]
        negatives: f64,
        /// Whether pairs that the corpus does not list are without a relation.
        #[serde(default = "yes")]
        closed: bool,
    },
    /// One class of a text.
    Classify {
        /// Most records.
        cap: usize,
        /// The question; `{key}` stands for the document's note of that name. Without one, the file's.
        question: Option<String>,
        /// Names by class.
        classes: BTreeMap<String, Named>,
        /// Most options of a record.
        #[serde(default = "most_options")]
        options: usize,
        /// Whether each class is asked by itself, with yes and no.
        #[serde(default)]
        multi: bool,
        /// Share of the records of `multi` in which the class applies.
        #[serde(default = "half")]
        applies: f64,
        /// Most records of `multi` about one text, each about another class, as long as one that applies is left.
        #[serde(default = "once")]
        questions: usize,
        /// Where the classes of a text come from.
        #[serde(default)]
        of: ClassesOf,
    },
    /// Multiple-choice questions: the corpus' own, or one made of each labelled pair, whose first text it is asked about.
    Answer {
        /// Most records.
        cap: usize,
        /// The question about a pair, `{second}` for its second text.
        question: Option<Named>,
        /// Its options by label of the pair.
        #[serde(default)]
        labels: BTreeMap<String, Named>,
        /// Shares of the pairs of a label that are asked, where not all are: how often an option is right is learned too.
        #[serde(default)]
        keep: BTreeMap<String, f64>,
    },
    /// Inference.
    Entail {
        /// Most records.
        cap: usize,
        /// Options by label.
        labels: BTreeMap<String, Named>,
    },
    /// Similarity.
    Similar {
        /// Most records.
        cap: usize,
        /// Lowest and highest score in the corpus.
        scale: [f64; 2],
        /// Highest scores that records are asked for, from 0; each as likely as the others.
        high: Vec<i32>,
    },
}

/// Where the classes of a text come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassesOf {
    /// The document has them.
    #[default]
    Document,
    /// They are the types of the events that are triggered in a passage.
    Events,
    /// They are the labels of the mentions in a passage.
    Mentions,
}

impl TaskPlan {
    /// Its name in records.
    pub fn name(&self) -> &'static str {
        match self {
            TaskPlan::Extract { .. } => "extract",
            TaskPlan::Pick { .. } => "pick",
            TaskPlan::Trigger { .. } => "trigger",
            TaskPlan::Argument { .. } => "argument",
            TaskPlan::Attribute { .. } => "attribute",
            TaskPlan::Relate { .. } => "relate",
            TaskPlan::Classify { multi: false, .. } => "classify",
            TaskPlan::Classify { multi: true, .. } => "classify_multi",
            TaskPlan::Answer { .. } => "answer",
            TaskPlan::Entail { .. } => "entail",
            TaskPlan::Similar { .. } => "similar",
        }
    }

    /// Most records.
    pub fn cap(&self) -> usize {
        match self {
            TaskPlan::Extract { cap, .. }
            | TaskPlan::Pick { cap, .. }
            | TaskPlan::Trigger { cap, .. }
            | TaskPlan::Argument { cap, .. }
            | TaskPlan::Attribute { cap, .. }
            | TaskPlan::Relate { cap, .. }
            | TaskPlan::Classify { cap, .. }
            | TaskPlan::Answer { cap, .. }
            | TaskPlan::Entail { cap, .. }
            | TaskPlan::Similar { cap, .. } => *cap,
        }
    }
}

impl InstructConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] with the line of an unknown key or a wrong type, or naming a value out of range.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        let name = path.display().to_string();
        let config: Self = toml::from_str(&text).map_err(|e| Error::format(&name, e.to_string()))?;
        let sizes = config.passages.iter().all(|&size| size > 0) && !config.passages.is_empty();
        for (what, fine) in [
            ("passages: expected sizes of at least 1 character", sizes),
            ("phrasings: expected at least 1", config.phrasings > 0),
            ("corpus: expected at least one", !config.corpus.is_empty()),
            (
                "answer: expected both question and labels, or neither",
                config.corpus.iter().flat_map(|c| &c.task).all(|task| match task {
                    TaskPlan::Answer { question, labels, .. } => question.is_some() != labels.is_empty(),
                    _ => true,
                }),
            ),
            (
                "keep of an answer: expected shares from 0 to 1 of labels that it has",
                config.corpus.iter().flat_map(|c| &c.task).all(|task| match task {
                    TaskPlan::Answer { labels, keep, .. } => {
                        keep.iter().all(|(label, share)| labels.contains_key(label) && (0.0..=1.0).contains(share))
                    }
                    _ => true,
                }),
            ),
            (
                "questions of classes: expected at least 1, and more of multi only",
                config.corpus.iter().flat_map(|c| &c.task).all(|task| match task {
                    TaskPlan::Classify { questions, multi, .. } => *questions == 1 || *multi && *questions > 1,
                    _ => true,
                }),
            ),
            ("cap of a task: expected at least 1", config.corpus.iter().flat_map(|c| &c.task).all(|t| t.cap() > 0)),
        ] {
            if !fine {
                return Err(Error::format(&name, what));
            }
        }
        let files: Vec<String> =
            config.corpus.iter().flat_map(|c| c.task.iter().map(|t| format!("{}.{}", c.name, t.name()))).collect();
        match files.iter().enumerate().find(|(i, file)| files[..*i].contains(file)) {
            Some((_, file)) => {
                Err(Error::format(&name, format!("expected each task of a corpus once, found {file} twice")))
            }
            None => Ok(config),
        }
    }
}

fn seed() -> u64 {
    42
}
fn max_tokens() -> usize {
    512
}
fn phrasings() -> usize {
    1
}
fn sizes() -> Vec<usize> {
    vec![1, 500, 1200]
}
fn most_labels() -> usize {
    4
}
fn empty_share() -> f64 {
    0.15
}
fn absent_share() -> f64 {
    0.1
}
fn one() -> f64 {
    1.0
}
fn yes() -> bool {
    true
}
fn half() -> f64 {
    0.5
}
fn once() -> usize {
    1
}
fn most_options() -> usize {
    8
}
