//! The wording of the tasks, read from `data/prompts.toml`; training writes its examples with the same functions.

use crate::{Error, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, UndefinedBehavior};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

/// The file that this build carries.
pub const BUILT_IN: &str = include_str!("../../data/prompts.toml");

/// An instruction of the data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wording {
    /// Entity spans.
    Extract,
    /// Event trigger spans.
    Trigger,
    /// Argument spans of one event.
    Argument,
    /// One attribute of one event.
    Attribute,
    /// One class of a document.
    Classify,
    /// Whether one class applies.
    ClassifyMulti,
    /// The relation of one pair of mentions.
    Relate,
    /// A multiple-choice question.
    Answer,
    /// Inference between two texts.
    Entail,
    /// Similarity of two texts.
    Similar,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    format: Format,
    mark: Mark,
    extract: Task,
    trigger: Task,
    argument: Task,
    attribute: Task,
    classify: Task,
    classify_multi: Task,
    relate: Task,
    answer: Task,
    entail: Task,
    similar: Task,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Format {
    #[serde(rename = "source")]
    _source: String,
    message: String,
    option: String,
    label: String,
    separator: String,
    none: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    #[serde(rename = "source")]
    _source: String,
    open: String,
    close: String,
    content_free: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Task {
    #[serde(rename = "source")]
    _source: String,
    instruct: String,
    #[serde(default)]
    also: Vec<String>,
    text: Option<String>,
    none: Option<String>,
    yes: Option<String>,
    no: Option<String>,
    #[serde(default)]
    options: Vec<String>,
}

/// The parsed data file. Rendering is a pure function of it.
pub struct Prompts {
    file: File,
    jinja: Environment<'static>,
    hash: String,
}

impl Prompts {
    /// The wording this build carries ([`BUILT_IN`]).
    pub fn built_in() -> Result<Self> {
        Self::parse(BUILT_IN)
    }

    /// Reads a data file of this layout.
    pub fn parse(source: &str) -> Result<Self> {
        let file: File = toml::from_str(source).map_err(|e| Error::format("prompts.toml", e.to_string()))?;
        let mut jinja = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        jinja.set_syntax(syntax.map_err(|e| Error::internal(format!("template syntax: {}", e.kind())))?);
        jinja.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        Ok(Self { file, jinja, hash: sha256_hex(source.as_bytes()) })
    }

    /// Version of the wording; weights tuned with one version are asked in that version.
    pub fn version(&self) -> u32 {
        self.file.version
    }

    /// SHA-256 of the data file, in hex.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The instruction of a task, with the variables that the data file names for it.
    pub fn instruct(&self, wording: Wording, variables: impl Serialize) -> Result<String> {
        self.render(&self.task(wording).instruct, variables)
    }

    /// How many wordings a task's instruction has: that of inference, number 0, and those for training alone.
    pub fn phrasings(&self, wording: Wording) -> usize {
        1 + self.task(wording).also.len()
    }

    /// [`Prompts::instruct`] in wording number `phrasing`; beyond the last, in that of inference.
    pub fn instruct_as(&self, wording: Wording, phrasing: usize, variables: impl Serialize) -> Result<String> {
        let task = self.task(wording);
        let template = phrasing.checked_sub(1).and_then(|also| task.also.get(also)).unwrap_or(&task.instruct);
        self.render(template, variables)
    }

    /// The text part of a task whose text is made of several (inference, similarity).
    pub fn text(&self, wording: Wording, variables: impl Serialize) -> Result<String> {
        let template = self.task(wording).text.as_deref();
        self.render(template.ok_or_else(|| missing(wording, "text"))?, variables)
    }

    /// The option that says "none of these" for a task that has one (attribute, relate).
    pub fn none_option(&self, wording: Wording, variables: impl Serialize) -> Result<String> {
        let template = self.task(wording).none.as_deref();
        self.render(template.ok_or_else(|| missing(wording, "none"))?, variables)
    }

    /// The two options of [`Wording::ClassifyMulti`], yes first.
    pub fn yes_no(&self) -> Result<[&str; 2]> {
        let task = &self.file.classify_multi;
        match (task.yes.as_deref(), task.no.as_deref()) {
            (Some(yes), Some(no)) => Ok([yes, no]),
            _ => Err(missing(Wording::ClassifyMulti, "yes and no")),
        }
    }

    /// The options a task has when the caller gives none (inference).
    pub fn default_options(&self, wording: Wording) -> &[String] {
        &self.task(wording).options
    }

    /// The user message: instruction and text, or the instruction alone.
    pub fn message(&self, instruct: &str, text: Option<&str>) -> Result<String> {
        match text {
            None => Ok(instruct.to_owned()),
            Some(text) => self.render(&self.file.format.message, json!({"instruct": instruct, "text": text})),
        }
    }

    /// `(A) text` for the option at `index`.
    pub fn option(&self, index: usize, text: &str) -> Result<String> {
        self.render(&self.file.format.option, json!({"letter": letter(index), "text": text}))
    }

    /// `(A)` for the option at `index`: the part of [`Prompts::option`] before its text.
    pub fn option_letter(&self, index: usize) -> Result<String> {
        Ok(self.option(index, "")?.trim_end().to_owned())
    }

    /// What stands before and after a marked mention.
    pub fn mark(&self, label: &str) -> Result<(String, String)> {
        let mark = &self.file.mark;
        Ok((self.render(&mark.open, json!({"label": label}))?, self.render(&mark.close, json!({"label": label}))?))
    }

    /// The text of a content-free input.
    pub fn content_free(&self) -> &str {
        &self.file.mark.content_free
    }

    /// One line of an extraction answer: `label: span ... span` or `label: None`.
    pub fn span_line(&self, label: &str, spans: &[&str]) -> String {
        let format = &self.file.format;
        let spans = if spans.is_empty() { format.none.clone() } else { spans.join(&format.separator) };
        format!("{label}{} {spans}", format.label)
    }

    fn render(&self, template: &str, variables: impl Serialize) -> Result<String> {
        // minijinja's own message could quote a variable, and variables hold document text.
        let rendered = self.jinja.render_str(template, Value::from(Serde(variables)));
        rendered.map_err(|e| Error::format("prompts.toml", e.kind().to_string()))
    }

    fn task(&self, wording: Wording) -> &Task {
        match wording {
            Wording::Extract => &self.file.extract,
            Wording::Trigger => &self.file.trigger,
            Wording::Argument => &self.file.argument,
            Wording::Attribute => &self.file.attribute,
            Wording::Classify => &self.file.classify,
            Wording::ClassifyMulti => &self.file.classify_multi,
            Wording::Relate => &self.file.relate,
            Wording::Answer => &self.file.answer,
            Wording::Entail => &self.file.entail,
            Wording::Similar => &self.file.similar,
        }
    }
}

/// A, B, .. Z, AA, AB, ..: the letters of option `index`.
pub fn letter(index: usize) -> String {
    let mut letters = Vec::new();
    let mut rest = index + 1;
    while rest > 0 {
        rest -= 1;
        letters.push((b'A' + (rest % 26) as u8) as char);
        rest /= 26;
    }
    letters.iter().rev().collect()
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        for digit in [byte >> 4, byte & 15] {
            hex.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    hex
}

fn missing(wording: Wording, field: &str) -> Error {
    Error::format("prompts.toml", format!("{wording:?} has no `{field}`"))
}
