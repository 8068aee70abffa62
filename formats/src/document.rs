//! The document that every format is read into and written from. Offsets are bytes of `text`, half-open.

use crate::{Error, Losses, Result, Unit, Units};
use std::collections::HashSet;
use std::ops::Range;

/// A text with what is said about it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Document {
    /// Name, as PubMed id or file name.
    pub id: String,
    /// All of its text.
    pub text: String,
    /// Parts of the text with a name, as title and abstract, in order and apart; empty where the format has none.
    pub passages: Vec<Passage>,
    /// Spans with a label; triggers of events are among them.
    pub mentions: Vec<Mention>,
    /// Labelled links between mentions, events or concepts.
    pub relations: Vec<Relation>,
    /// Events: a trigger and arguments.
    pub events: Vec<Event>,
    /// Classes of the whole document.
    pub classes: Vec<String>,
}

/// A named part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// As `title`; may be empty.
    pub kind: String,
    /// Bytes.
    pub range: Range<usize>,
}

/// A labelled span, in one or more parts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mention {
    /// Unique among mentions, relations and events of the document.
    pub id: String,
    /// Its type.
    pub label: String,
    /// Bytes; at least one part, in order, apart, none empty.
    pub parts: Vec<Range<usize>>,
    /// As `Negation`, `Certainty: low`.
    pub attributes: Vec<Attribute>,
    /// Entries of vocabularies.
    pub concepts: Vec<Concept>,
    /// Probability or other number that whoever found it gave.
    pub score: Option<f64>,
}

/// A property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Name.
    pub name: String,
    /// `None` for a property that is there or not; never empty.
    pub value: Option<String>,
}

/// An entry of a vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concept {
    /// Vocabulary, as `MESH`; empty where the format does not say.
    pub system: String,
    /// Code in it.
    pub code: String,
}

/// A labelled link.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Relation {
    /// Unique among mentions, relations and events of the document.
    pub id: String,
    /// Its type.
    pub label: String,
    /// What it links; roles may be empty.
    pub arguments: Vec<Argument>,
    /// Properties.
    pub attributes: Vec<Attribute>,
}

/// An event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Event {
    /// Unique among mentions, relations and events of the document.
    pub id: String,
    /// Its type, that of the trigger as a rule.
    pub label: String,
    /// Id of the mention that expresses it.
    pub trigger: String,
    /// Its arguments.
    pub arguments: Vec<Argument>,
    /// Properties.
    pub attributes: Vec<Attribute>,
}

/// What stands in a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Name of the role; may be empty.
    pub role: String,
    /// Who fills it.
    pub target: Target,
}

/// What an argument points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Id of a mention, relation or event of the document.
    Item(String),
    /// Code of a concept, for formats that link concepts rather than mentions.
    Concept(String),
}

impl Mention {
    /// From the first part's start to the last one's end.
    pub fn hull(&self) -> Range<usize> {
        match (self.parts.first(), self.parts.last()) {
            (Some(first), Some(last)) => first.start..last.end,
            _ => 0..0,
        }
    }

    /// The text of its parts, a space between them.
    pub fn text(&self, text: &str) -> String {
        let parts: Vec<&str> = self.parts.iter().filter_map(|part| text.get(part.clone())).collect();
        parts.join(" ")
    }
}

impl Target {
    /// The item's id, unless it is a concept.
    pub fn item(&self) -> Option<&str> {
        match self {
            Target::Item(id) => Some(id),
            Target::Concept(_) => None,
        }
    }
}

impl Document {
    /// The mention of an id.
    pub fn mention(&self, id: &str) -> Option<&Mention> {
        self.mentions.iter().find(|mention| mention.id == id)
    }

    /// Checks what the fields promise: ranges, unique ids, targets that are there.
    ///
    /// # Errors
    /// The first broken promise, by document and item id.
    pub fn check(&self) -> Result<()> {
        let fail = |item: &str, why: &str| Err(Error::new(format!("document {:?}: {item:?}: {why}", self.id)));
        let in_order = |ranges: &[&Range<usize>]| {
            ranges.iter().all(|range| range.start < range.end && self.text.get((*range).clone()).is_some())
                && ranges.windows(2).all(|pair| pair[0].end <= pair[1].start)
        };
        if !in_order(&self.passages.iter().map(|passage| &passage.range).collect::<Vec<_>>()) {
            return fail("passages", "expected ranges of the text in order and apart");
        }
        let mut ids = HashSet::new();
        for mention in &self.mentions {
            if mention.parts.is_empty() || !in_order(&mention.parts.iter().collect::<Vec<_>>()) {
                return fail(&mention.id, "expected parts of the text in order and apart");
            }
            if mention.score.is_some_and(|score| !score.is_finite()) {
                return fail(&mention.id, "expected a finite score");
            }
            if !ids.insert(mention.id.as_str()) {
                return fail(&mention.id, "expected an id of its own, found it twice");
            }
        }
        for event in &self.events {
            if !ids.contains(event.trigger.as_str()) {
                return fail(&event.id, "expected a trigger that is a mention");
            }
        }
        for id in self.relations.iter().map(|r| &r.id).chain(self.events.iter().map(|e| &e.id)) {
            if !ids.insert(id) {
                return fail(id, "expected an id of its own, found it twice");
            }
        }
        let arguments = self.relations.iter().map(|r| (&r.id, &r.arguments));
        for (id, arguments) in arguments.chain(self.events.iter().map(|e| (&e.id, &e.arguments))) {
            if arguments.iter().filter_map(|a| a.target.item()).any(|target| !ids.contains(target)) {
                return fail(id, "expected arguments that are items of the document, found another id");
            }
        }
        let attributes = self.mentions.iter().flat_map(|m| &m.attributes);
        let attributes = attributes.chain(self.relations.iter().flat_map(|r| &r.attributes));
        for attribute in attributes.chain(self.events.iter().flat_map(|e| &e.attributes)) {
            if attribute.name.is_empty() || attribute.value.as_deref() == Some("") {
                return fail("attributes", "expected names, and values that are not empty");
            }
        }
        Ok(())
    }
}

/// Parts in `unit` as bytes, sorted; `None` where they are no parts of the text.
pub(crate) fn parts(units: &Units<'_>, unit: Unit, given: &[(usize, usize)]) -> Option<Vec<Range<usize>>> {
    let mut parts: Vec<Range<usize>> = Vec::with_capacity(given.len());
    for (start, end) in given {
        parts.push(units.byte(unit, *start)?..units.byte(unit, *end)?);
    }
    parts.sort_by_key(|part| (part.start, part.end));
    let apart = parts.windows(2).all(|pair| pair[0].end <= pair[1].start);
    (!parts.is_empty() && apart && parts.iter().all(|part| part.start < part.end)).then_some(parts)
}

/// A range in `unit`; the range comes from a checked document.
pub(crate) fn given(units: &Units<'_>, unit: Unit, range: &Range<usize>) -> (usize, usize) {
    let place = |byte| units.offset(unit, byte).unwrap_or(byte);
    (place(range.start), place(range.end))
}

/// Counts what a format without it loses of `document`.
pub(crate) fn lose(document: &Document, losses: &mut Losses, what: &str, many: usize) {
    for _ in 0..many {
        losses.add(what, &document.id);
    }
}
