//! JSON lines, this project's own form: everything a document has, its unit on every line. Results of `bmn` with their texts
//! (`--with-text`) are read as well.
//!
//! `{"id", "source", "text", "unit", "spans": [{"id", "label", "start", "end", "text", "places", "concepts", "attributes"}],
//! "events": [{"id", "label", "trigger", "arguments": [{"role", "target"}], "attributes"}], "relations": [{.., "of_concepts"}],
//! "classes", "notes", "parts"}`; `places` is there for discontinuous spans alone.

use crate::brat::{check_targets, same_words};
use crate::document::{Argument, Document, Event, Mention, Relation};
use crate::offsets::{Offsets, Unit};
use crate::problem::{Problems, Trouble};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

#[derive(Serialize, Deserialize)]
struct Line {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    text: String,
    unit: String,
    #[serde(default)]
    spans: Vec<Span>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    events: Vec<Happening>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    relations: Vec<Link>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    classes: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    notes: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parts: Vec<[usize; 2]>,
}

#[derive(Serialize, Deserialize)]
struct Span {
    #[serde(default)]
    id: String,
    label: String,
    start: usize,
    end: usize,
    text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    places: Vec<[usize; 2]>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    concepts: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
struct Happening {
    id: String,
    label: String,
    trigger: String,
    #[serde(default)]
    arguments: Vec<Part>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
struct Link {
    #[serde(default)]
    id: String,
    label: String,
    arguments: Vec<Part>,
    #[serde(default)]
    of_concepts: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
struct Part {
    role: String,
    target: String,
}

/// Reads a file; `name` is the place that problems name.
pub fn read(name: &str, file: &str, problems: &mut Problems) -> Vec<Document> {
    let mut documents = Vec::new();
    for (number, line) in file.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let line: Option<Line> = serde_json::from_str(line).ok();
        match line.and_then(|line| Some((Unit::parse(&line.unit)?, line))) {
            Some((unit, line)) => documents.push(document(line, unit, name, number + 1, problems)),
            None => problems.add(Trouble::Broken, name, number + 1),
        }
    }
    documents
}

fn document(line: Line, unit: Unit, name: &str, number: usize, problems: &mut Problems) -> Document {
    let Line { source, classes, notes, .. } = line;
    let mut document = Document { source, classes, notes, ..Document::new(line.id, line.text) };
    let offsets = Offsets::new(&document.text, unit);
    for [start, end] in line.parts {
        match (offsets.byte(start), offsets.byte(end)) {
            (Some(start), Some(end)) if start <= end => document.parts.push(start..end),
            _ => problems.add(Trouble::Outside, name, number),
        }
    }
    let mut ids = HashSet::new();
    for (i, span) in line.spans.into_iter().enumerate() {
        let places = if span.places.is_empty() { vec![[span.start, span.end]] } else { span.places };
        let places: Option<Vec<_>> = places.into_iter().map(|[start, end]| offsets.bytes(start, end)).collect();
        let id = if span.id.is_empty() { format!("T{}", i + 1) } else { span.id };
        let Some(places) = places else {
            problems.add(Trouble::Outside, name, number);
            continue;
        };
        let (concepts, attributes) = (span.concepts, span.attributes);
        let mention = Mention { places, concepts, attributes, ..Mention::new(id, span.label, 0..0) };
        if !same_words(&mention.text(&document.text), &span.text) {
            problems.add(Trouble::Differs, name, number);
        } else if !ids.insert(mention.id.clone()) {
            problems.add(Trouble::Repeated, name, number);
        } else {
            document.mentions.push(mention);
        }
    }
    let arguments =
        |parts: Vec<Part>| parts.into_iter().map(|part| Argument { role: part.role, target: part.target }).collect();
    for Happening { id, label, trigger, arguments: parts, attributes } in line.events {
        document.events.push(Event { id, label, trigger, arguments: arguments(parts), attributes });
    }
    for Link { id, label, arguments: parts, of_concepts, attributes } in line.relations {
        document.relations.push(Relation { id, label, arguments: arguments(parts), of_concepts, attributes });
    }
    check_targets(&mut document, name, problems);
    document
}

/// One line with its line feed.
///
/// # Errors
/// [`Error::Unwritable`] for places that are none of the text's.
pub fn write(document: &Document, unit: Unit) -> Result<String> {
    let offsets = Offsets::new(&document.text, unit);
    let range = |place: &std::ops::Range<usize>| match (offsets.at(place.start), offsets.at(place.end)) {
        (Some(start), Some(end)) => Ok([start, end]),
        _ => Err(Error::Unwritable { id: document.id.clone(), detail: "a place outside the text".to_owned() }),
    };
    let mut spans = Vec::with_capacity(document.mentions.len());
    for mention in &document.mentions {
        let [start, end] = range(&mention.extent())?;
        let places = if mention.discontinuous() { &mention.places[..] } else { &[] };
        spans.push(Span {
            id: mention.id.clone(),
            label: mention.label.clone(),
            start,
            end,
            text: mention.text(&document.text).into_owned(),
            places: places.iter().map(range).collect::<Result<_>>()?,
            concepts: mention.concepts.clone(),
            attributes: mention.attributes.clone(),
        });
    }
    let parts = |arguments: &[Argument]| {
        arguments.iter().map(|a| Part { role: a.role.clone(), target: a.target.clone() }).collect()
    };
    let event = |event: &Event| Happening {
        id: event.id.clone(),
        label: event.label.clone(),
        trigger: event.trigger.clone(),
        arguments: parts(&event.arguments),
        attributes: event.attributes.clone(),
    };
    let link = |relation: &Relation| Link {
        id: relation.id.clone(),
        label: relation.label.clone(),
        arguments: parts(&relation.arguments),
        of_concepts: relation.of_concepts,
        attributes: relation.attributes.clone(),
    };
    let line = Line {
        id: document.id.clone(),
        source: document.source.clone(),
        text: document.text.clone(),
        unit: unit.name().to_owned(),
        spans,
        events: document.events.iter().map(event).collect(),
        relations: document.relations.iter().map(link).collect(),
        classes: document.classes.clone(),
        notes: document.notes.clone(),
        parts: document.parts.iter().map(range).collect::<Result<_>>()?,
    };
    Ok(serde_json::to_string(&line).map_err(|e| Error::format("JSON lines", e.to_string()))? + "\n")
}
