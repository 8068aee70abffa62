//! What annotated corpora say of a text.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;

/// A text with what is said of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// Its id in the corpus: a PubMed id, a file name, a sentence number.
    pub id: String,
    /// The id of the article or note it is a part of, where that is another: overlaps between corpora are found by it.
    pub source: Option<String>,
    /// The text.
    pub text: String,
    /// Where its parts begin (title, abstract, sections), as bytes; empty for one part.
    pub parts: Vec<Range<usize>>,
    /// Its tokens, as bytes, where the file is one of tokens; empty for others.
    pub tokens: Vec<Range<usize>>,
    /// Mentions.
    pub mentions: Vec<Mention>,
    /// What a scorer takes in the place of a mention that it overlaps; of BC2GM alone.
    pub alternatives: Vec<Mention>,
    /// Events.
    pub events: Vec<Event>,
    /// Relations.
    pub relations: Vec<Relation>,
    /// Classes of the whole text.
    pub classes: Vec<String>,
    /// Whatever else the file says of it.
    pub notes: BTreeMap<String, String>,
}

/// A mention: one stretch of the text, or several (a discontinuous one).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mention {
    /// Its id in the document.
    pub id: String,
    /// Its type.
    pub label: String,
    /// Bytes, in order, at least one range, none empty.
    pub places: Vec<Range<usize>>,
    /// Concepts it was linked to, as the file names them.
    pub concepts: Vec<String>,
    /// Attributes: name and value; an empty value for a flag.
    pub attributes: Vec<(String, String)>,
}

/// An event: its trigger and its arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Its id in the document.
    pub id: String,
    /// Its type.
    pub label: String,
    /// Id of the mention that triggers it.
    pub trigger: String,
    /// Arguments.
    pub arguments: Vec<Argument>,
    /// Attributes: name and value; an empty value for a flag.
    pub attributes: Vec<(String, String)>,
}

/// A role, and who plays it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Argument {
    /// The role: `Theme`, `Arg1`.
    pub role: String,
    /// Id of a mention or an event; of a concept in relations of documents.
    pub target: String,
}

/// A relation between mentions, events or concepts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relation {
    /// Its id in the document; may be empty.
    pub id: String,
    /// Its type.
    pub label: String,
    /// Who is related, head first.
    pub arguments: Vec<Argument>,
    /// Whether targets are concepts of the document's mentions instead of mentions.
    pub of_concepts: bool,
    /// Attributes: name and value.
    pub attributes: Vec<(String, String)>,
}

/// Two texts and what is said of them: inference, similarity.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// Its id in the corpus.
    pub id: String,
    /// The id of the article it is from, where there is one.
    pub source: Option<String>,
    /// Premise, first sentence, longer question.
    pub first: String,
    /// Hypothesis, second sentence, shorter question.
    pub second: String,
    /// The class; empty where there is a score.
    pub label: String,
    /// The score.
    pub score: Option<f64>,
}

/// A question with options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Its id in the corpus.
    pub id: String,
    /// The id of the article it is from, where there is one.
    pub source: Option<String>,
    /// What the answer is to be found in.
    pub context: Option<String>,
    /// The question.
    pub question: String,
    /// The options.
    pub options: Vec<String>,
    /// Which of them is right.
    pub answer: usize,
}

impl Document {
    /// A document without annotations.
    pub fn new(id: impl Into<String>, text: impl Into<String>) -> Self {
        Document { id: id.into(), text: text.into(), ..Document::default() }
    }

    /// The mention of an id.
    pub fn mention(&self, id: &str) -> Option<&Mention> {
        self.mentions.iter().find(|mention| mention.id == id)
    }

    /// The mention that `target` names: itself, or the trigger of an event.
    pub fn resolve(&self, target: &str) -> Option<&Mention> {
        self.mention(target).or_else(|| {
            let event = self.events.iter().find(|event| event.id == target)?;
            self.mention(&event.trigger)
        })
    }

    /// The id that overlaps with other corpora are found by.
    pub fn origin(&self) -> &str {
        self.source.as_deref().unwrap_or(&self.id)
    }
}

impl Mention {
    /// A mention of one stretch.
    pub fn new(id: impl Into<String>, label: impl Into<String>, place: Range<usize>) -> Self {
        Mention { id: id.into(), label: label.into(), places: vec![place], ..Mention::default() }
    }

    /// From its first byte to its last, gaps included.
    pub fn extent(&self) -> Range<usize> {
        let start = self.places.iter().map(|place| place.start).min().unwrap_or(0);
        start..self.places.iter().map(|place| place.end).max().unwrap_or(start)
    }

    /// Whether it has gaps.
    pub fn discontinuous(&self) -> bool {
        self.places.len() > 1
    }

    /// Its text, parts joined by one space.
    pub fn text<'t>(&self, text: &'t str) -> std::borrow::Cow<'t, str> {
        match self.places.as_slice() {
            [place] => text.get(place.clone()).unwrap_or_default().into(),
            places => {
                let parts: Vec<&str> = places.iter().filter_map(|place| text.get(place.clone())).collect();
                parts.join(" ").into()
            }
        }
    }
}
