//! The configuration of an evaluation.

use crate::{Error, Result};
use biomistral_nlu::task;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A benchmark: its sets, as its TOML file says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Its name in reports.
    pub name: String,
    /// Decides which documents `--limit` takes, which examples are shown, and what the bootstrap draws.
    #[serde(default = "seed")]
    pub seed: u64,
    /// The sets.
    pub set: Vec<SetPlan>,
    /// Sets of the benchmark that no configuration can have, and why.
    #[serde(default)]
    pub absent: Vec<Absent>,
}

/// A set of the benchmark that is not evaluated.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Absent {
    /// Its name.
    pub name: String,
    /// Why.
    pub why: String,
}

/// A set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPlan {
    /// Its name in reports and files.
    pub name: String,
    /// Sets of one group are averaged before groups are.
    pub group: Option<String>,
    /// How it is read, where that is not its folder's name: one of `biomistral_nlu_formats::corpora::NAMES`.
    pub reader: Option<String>,
    /// Its folder, below the folder that the command names or below a folder in that.
    pub folder: PathBuf,
    /// Per split, the reader's splits that it may be; the first that is there is taken. A name also stands for a folder of a path.
    /// Without any, all there is belongs to every split.
    #[serde(default)]
    pub splits: BTreeMap<String, Vec<String>>,
    /// The benchmark's own metric.
    pub metric: Headline,
    /// What is asked.
    pub task: TaskPlan,
}

/// The metric that a set is reported by; all that its task has are in the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Headline {
    /// Micro F1 of mentions: label and both offsets.
    EntityF1,
    /// The same without labels.
    UntypedF1,
    /// Micro F1 of lower-cased strings per passage and label.
    StringF1,
    /// Macro over labels of the F1 of words.
    WordF1,
    /// Micro F1 over labels, the negative class left out.
    MicroF1,
    /// Macro F1 over labels, the negative class left out.
    MacroF1,
    /// Share of right answers.
    Accuracy,
    /// F1 of the means over documents of precision and recall.
    ExampleF1,
    /// Pearson's correlation of the expected score.
    Pearson,
    /// Spearman's rank correlation of the expected score.
    Spearman,
}

impl Headline {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Headline::EntityF1 => "entity_f1",
            Headline::UntypedF1 => "untyped_f1",
            Headline::StringF1 => "string_f1",
            Headline::WordF1 => "word_f1",
            Headline::MicroF1 => "micro_f1",
            Headline::MacroF1 => "macro_f1",
            Headline::Accuracy => "accuracy",
            Headline::ExampleF1 => "example_f1",
            Headline::Pearson => "pearson",
            Headline::Spearman => "spearman",
        }
    }
}

/// A label: what the corpus calls it, and what the prompt does.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelPlan {
    /// Its names in the corpus; none for the name asked.
    #[serde(default)]
    pub gold: Vec<String>,
    /// The name asked.
    pub name: String,
    /// What the prompt says it means.
    pub description: Option<String>,
}

impl LabelPlan {
    /// Whether the corpus means it by `label`.
    pub fn is(&self, label: &str) -> bool {
        if self.gold.is_empty() { self.name == label } else { self.gold.iter().any(|name| name == label) }
    }

    /// As the engine asks for it.
    pub fn label(&self) -> task::Label {
        task::Label { name: self.name.clone(), description: self.description.clone() }
    }
}

/// A relation between mentions.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelationPlan {
    /// Its names in the corpus; none for its own name.
    #[serde(default)]
    pub gold: Vec<String>,
    /// Its name in reports.
    pub name: String,
    /// The option, `{head}` and `{tail}` for the mentions.
    pub text: String,
    /// Names of labels that may be its head.
    pub head: Vec<String>,
    /// Names of labels that may be its tail.
    pub tail: Vec<String>,
    /// Whether it has no direction.
    #[serde(default)]
    pub symmetric: bool,
}

impl RelationPlan {
    /// Whether the corpus means it by `label`.
    pub fn is(&self, label: &str) -> bool {
        if self.gold.is_empty() { self.name == label } else { self.gold.iter().any(|name| name == label) }
    }

    /// As the engine asks for it.
    pub fn relation(&self) -> task::Relation {
        let label = task::Label { name: self.name.clone(), description: Some(self.text.clone()) };
        task::Relation { label, head: self.head.clone(), tail: self.tail.clone(), symmetric: self.symmetric }
    }
}

/// What a set is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum TaskPlan {
    /// Entity spans.
    Extract {
        /// The labels, in the order asked.
        labels: Vec<LabelPlan>,
        /// Documents are read in passages of whole sentences of at least so many characters; 1 for sentences, 0 for whole documents.
        #[serde(default = "sentence")]
        passage: usize,
    },
    /// The relation of two given mentions.
    Relate {
        /// Labels of mentions; others are not looked at.
        labels: Vec<LabelPlan>,
        /// The relations, in the order asked.
        relations: Vec<RelationPlan>,
        /// Whether the corpus lists every pair that is to be judged; otherwise all pairs of a sentence that the relations allow are.
        #[serde(default)]
        listed: bool,
    },
    /// Classes of a text.
    Classify {
        /// The question; without one, the prompts' own.
        question: Option<String>,
        /// The classes, in the order asked.
        classes: Vec<LabelPlan>,
        /// Whether any number of them may apply.
        #[serde(default)]
        multi: bool,
    },
    /// Multiple-choice questions.
    Answer {},
    /// Inference.
    Entail {
        /// The options, in the order asked.
        labels: Vec<LabelPlan>,
    },
    /// Similarity.
    Similar {
        /// Lowest and highest score.
        scale: [i32; 2],
    },
}

impl Suite {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] as [`Suite::parse`].
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Reads the text of the file `name`.
    ///
    /// # Errors
    /// [`Error::Format`] with the line of an unknown key or a wrong type, or naming a set whose metric its task does not have.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let suite: Self = toml::from_str(text).map_err(|e| Error::format(name, e.to_string()))?;
        if suite.set.is_empty() {
            return Err(Error::format(name, "set: expected at least one"));
        }
        for (i, set) in suite.set.iter().enumerate() {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if set.name.is_empty() || !set.name.chars().all(plain) || set.name.starts_with('.') {
                return Err(Error::format(name, format!("set[{i}].name: expected letters, digits, - and _")));
            }
            if suite.set[..i].iter().any(|other| other.name == set.name) {
                return Err(Error::format(name, format!("expected distinct sets, found {} twice", set.name)));
            }
            let (metric, known) = (set.metric.name(), set.task.metrics());
            if !known.contains(&metric) {
                let why = format!("{}: expected a metric of {}, found {metric}", set.name, known.join(", "));
                return Err(Error::format(name, why));
            }
        }
        Ok(suite)
    }
}

impl TaskPlan {
    /// Its name in reports.
    pub fn name(&self) -> &'static str {
        match self {
            TaskPlan::Extract { .. } => "extract",
            TaskPlan::Relate { .. } => "relate",
            TaskPlan::Classify { .. } => "classify",
            TaskPlan::Answer {} => "answer",
            TaskPlan::Entail { .. } => "entail",
            TaskPlan::Similar { .. } => "similar",
        }
    }

    /// The metrics it has, by name.
    pub fn metrics(&self) -> &'static [&'static str] {
        match self {
            TaskPlan::Extract { .. } => &["entity_f1", "untyped_f1", "string_f1", "word_f1"],
            TaskPlan::Classify { multi: true, .. } => &["example_f1", "micro_f1", "macro_f1"],
            TaskPlan::Similar { .. } => &["pearson", "spearman"],
            _ => &["micro_f1", "macro_f1", "accuracy"],
        }
    }
}

impl SetPlan {
    /// How it is read.
    pub fn reader(&self) -> String {
        let folder = || self.folder.file_name().map(|name| name.to_string_lossy().into_owned());
        self.reader.clone().or_else(folder).unwrap_or_default()
    }
}

fn seed() -> u64 {
    42
}
fn sentence() -> usize {
    1
}
