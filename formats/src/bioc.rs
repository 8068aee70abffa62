//! BioC (<https://bioc.sourceforge.net>), as XML and as JSON.
//!
//! The DTD says that offsets are bytes, tools count code points: a file is read in the unit that its collection's infon
//! `offset_unit` names, else in the one given; what is written has that infon. Attributes and concepts are infons of their
//! annotation (`identifier`, or `identifier.N:SYSTEM`), events are relations with the infon `kind: event`.

pub use crate::bioc_json::{read as read_json, write as write_json};
pub use crate::bioc_xml::{read as read_xml, write as write_xml};
use crate::document::{given, lose, parts};
use crate::{
    Argument, Attribute, Concept, Document, Error, Event, Losses, Mention, Passage, Relation, Result, Target, Unit,
    Units,
};
use std::collections::BTreeMap;

/// The infon of a collection that names the unit.
pub(crate) const OFFSET_UNIT: &str = "offset_unit";
/// What separates passages that do not touch, as far as their offsets ask for it.
const LONGEST_GAP: usize = 1 << 20;

/// Key and value, in order.
pub(crate) type Infons = Vec<(String, String)>;

/// A document as both notations have it.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    pub id: String,
    pub infons: Infons,
    pub passages: Vec<RawPassage>,
    pub annotations: Vec<RawAnnotation>,
    pub relations: Vec<RawRelation>,
}

/// A passage, or a sentence in one.
#[derive(Debug, Default)]
pub(crate) struct RawPassage {
    pub infons: Infons,
    pub offset: usize,
    pub text: Option<String>,
    /// Offset and text of its sentences, where it has no text of its own.
    pub sentences: Vec<(usize, String)>,
}

#[derive(Debug, Default)]
pub(crate) struct RawAnnotation {
    pub id: String,
    pub infons: Infons,
    /// Offset and length.
    pub locations: Vec<(usize, usize)>,
    pub text: String,
}

#[derive(Debug, Default)]
pub(crate) struct RawRelation {
    pub id: String,
    pub infons: Infons,
    /// Id and role.
    pub nodes: Vec<(String, String)>,
}

pub(crate) fn value<'a>(infons: &'a Infons, key: &str) -> Option<&'a str> {
    infons.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

/// The unit that a collection names, else `unit`.
pub(crate) fn unit_of(infons: &Infons, unit: Unit) -> Result<Unit> {
    match value(infons, OFFSET_UNIT) {
        None => Ok(unit),
        Some(name) => {
            Unit::of_name(name).ok_or_else(|| Error::new("infon offset_unit: expected byte, codepoint or utf16"))
        }
    }
}

impl Raw {
    /// The document that this says.
    pub fn document(self, unit: Unit, losses: &mut Losses) -> Result<Document> {
        let mut document = Document { id: self.id, ..Document::default() };
        let mut length = 0;
        for passage in self.passages {
            let kind = value(&passage.infons, "type").unwrap_or_default().to_owned();
            lose(
                &document,
                losses,
                "infons of passages",
                passage.infons.iter().filter(|(key, _)| key != "type").count(),
            );
            let pieces = passage.text.map_or(passage.sentences, |text| vec![(passage.offset, text)]);
            let mut start = None;
            for (offset, text) in pieces.iter().filter(|(_, text)| !text.is_empty()) {
                let gap = offset.checked_sub(length).filter(|gap| *gap <= LONGEST_GAP).ok_or_else(|| {
                    let id = &document.id;
                    Error::new(format!(
                        "document {id:?}: expected passages one after the other, found offset {offset} at {length}"
                    ))
                })?;
                document.text.extend(std::iter::repeat_n('\n', gap));
                start.get_or_insert(document.text.len());
                document.text.push_str(text);
                length = offset + Units::new(text).offset(unit, text.len()).unwrap_or_default();
            }
            if let Some(start) = start {
                document.passages.push(Passage { kind, range: start..document.text.len() });
            }
        }
        if let [only] = document.passages.as_slice()
            && only.kind.is_empty()
        {
            document.passages.clear();
        }
        let text = std::mem::take(&mut document.text);
        let units = Units::new(&text);
        for annotation in self.annotations {
            mention(annotation, unit, &units, &mut document, losses);
        }
        for relation in self.relations {
            link(relation, &mut document);
        }
        document.text = text;
        for (key, value) in self.infons {
            match key.strip_prefix("class.") {
                Some(_) => document.classes.push(value),
                None => losses.add("infons of documents", &document.id),
            }
        }
        drop_dangling(&mut document, losses);
        document.check()?;
        Ok(document)
    }
}

fn mention(raw: RawAnnotation, unit: Unit, units: &Units<'_>, document: &mut Document, losses: &mut Losses) {
    let spans: Option<Vec<_>> = raw.locations.iter().map(|(at, len)| Some((*at, at.checked_add(*len)?))).collect();
    let Some(parts) = spans.and_then(|spans| parts(units, unit, &spans)) else {
        losses.add("mentions whose offsets are none of the text", &document.id);
        return;
    };
    let mut mention = Mention { id: raw.id, parts, ..Mention::default() };
    let flat = |text: &str| text.replace(['\n', '\r', '\t'], " ");
    if flat(&mention.text(units.text())) != flat(&raw.text) {
        losses.add("mentions whose text differs from that at their offsets", &document.id);
        return;
    }
    for (key, value) in raw.infons {
        let system = key.strip_prefix("identifier").map(|rest| rest.split_once(':').map_or(rest, |(_, system)| system));
        match (key.as_str(), system) {
            ("type", _) => mention.label = value,
            ("score", _) if value.parse::<f64>().is_ok_and(f64::is_finite) => mention.score = value.parse().ok(),
            (_, Some(system)) => mention.concepts.push(Concept { system: system.to_owned(), code: value }),
            _ => mention.attributes.extend(attribute(key, value)),
        }
    }
    document.mentions.push(mention);
}

fn attribute(name: String, value: String) -> Option<Attribute> {
    (!name.is_empty()).then(|| Attribute { name, value: Some(value).filter(|value| !value.is_empty()) })
}

fn link(raw: RawRelation, document: &mut Document) {
    let is_event = value(&raw.infons, "kind") == Some("event");
    let mut arguments: Vec<Argument> = (raw.nodes.into_iter())
        .map(|(refid, role)| match refid.strip_prefix("concept:") {
            Some(code) => Argument { role, target: Target::Concept(code.to_owned()) },
            None => Argument { role, target: Target::Item(refid) },
        })
        .collect();
    let mut label = String::new();
    let mut attributes = Vec::new();
    for (key, value) in raw.infons {
        match key.as_str() {
            "type" => label = value,
            "kind" if is_event => {}
            _ => attributes.extend(attribute(key, value)),
        }
    }
    let trigger = arguments.iter().position(|a| is_event && a.role == TRIGGER && a.target.item().is_some());
    if let Some(Argument { target: Target::Item(trigger), .. }) = trigger.map(|at| arguments.remove(at)) {
        document.events.push(Event { id: raw.id, label, trigger, arguments, attributes });
    } else {
        document.relations.push(Relation { id: raw.id, label, arguments, attributes });
    }
}

/// Role of the node that an event's trigger is.
const TRIGGER: &str = "Trigger";

/// Numbers relations without an id, and leaves out what points to items that are not there.
fn drop_dangling(document: &mut Document, losses: &mut Losses) {
    for (number, relation) in (1..).zip(&mut document.relations) {
        if relation.id.is_empty() {
            relation.id = format!("R{number}");
        }
    }
    loop {
        let known: std::collections::HashSet<String> = (document.mentions.iter().map(|m| &m.id))
            .chain(document.relations.iter().map(|r| &r.id))
            .chain(document.events.iter().map(|e| &e.id))
            .cloned()
            .collect();
        let there =
            |arguments: &[Argument]| arguments.iter().all(|a| a.target.item().is_none_or(|id| known.contains(id)));
        let before = document.relations.len() + document.events.len();
        document.relations.retain(|r| there(&r.arguments));
        document.events.retain(|e| known.contains(&e.trigger) && there(&e.arguments));
        let lost = before - document.relations.len() - document.events.len();
        lose(document, losses, "items that point to what is not there", lost);
        if lost == 0 {
            return;
        }
    }
}

/// What both notations write of a document; one passage for all of the text where it has none.
pub(crate) fn raw(document: &Document, unit: Unit, losses: &mut Losses) -> Raw {
    let units = Units::new(&document.text);
    let mut raw = Raw { id: document.id.clone(), ..Raw::default() };
    raw.infons = (1..).zip(&document.classes).map(|(n, class)| (format!("class.{n}"), class.clone())).collect();
    let whole = [Passage { kind: String::new(), range: 0..document.text.len() }];
    let passages = if document.passages.is_empty() { &whole[..] } else { &document.passages };
    if let [only] = document.passages.as_slice()
        && only.kind.is_empty()
    {
        losses.add("a passage without a name that is all there is", &document.id);
    }
    let mut end = 0;
    for passage in passages {
        if document.text[end..passage.range.start].bytes().any(|b| b != b'\n') {
            losses.add("text between passages, read as line breaks", &document.id);
        }
        end = passage.range.end;
        let infons = match passage.kind.is_empty() {
            true => Infons::new(),
            false => vec![("type".into(), passage.kind.clone())],
        };
        let (offset, _) = given(&units, unit, &passage.range);
        let text = Some(document.text[passage.range.clone()].to_owned());
        raw.passages.push(RawPassage { infons, offset, text, sentences: Vec::new() });
    }
    if end < document.text.len() {
        losses.add("text after the last passage", &document.id);
    }
    for mention in &document.mentions {
        let mut infons = vec![("type".to_owned(), mention.label.clone())];
        infons.extend(mention.score.map(|score| ("score".to_owned(), score.to_string())));
        for (number, concept) in (1..).zip(&mention.concepts) {
            let key = match (number, concept.system.is_empty()) {
                (1, true) => "identifier".to_owned(),
                _ => format!("identifier.{number}:{}", concept.system),
            };
            infons.push((key, concept.code.clone()));
        }
        add(document, &mention.attributes, &mut infons, losses);
        let locations = mention.parts.iter().map(|part| given(&units, unit, part)).map(|(a, b)| (a, b - a)).collect();
        let text = mention.text(&document.text);
        raw.annotations.push(RawAnnotation { id: mention.id.clone(), infons, locations, text });
    }
    let relations = document.relations.iter().map(|r| (&r.id, &r.label, None, &r.arguments, &r.attributes));
    let events = document.events.iter().map(|e| (&e.id, &e.label, Some(&e.trigger), &e.arguments, &e.attributes));
    for (id, label, trigger, arguments, attributes) in relations.chain(events) {
        let mut infons = vec![("type".to_owned(), label.clone())];
        infons.extend(trigger.map(|_| ("kind".to_owned(), "event".to_owned())));
        add(document, attributes, &mut infons, losses);
        let mut nodes: Vec<_> = trigger.map(|id| (id.clone(), TRIGGER.to_owned())).into_iter().collect();
        for argument in arguments {
            let target = match &argument.target {
                Target::Item(id) => id.clone(),
                Target::Concept(code) => format!("concept:{code}"),
            };
            nodes.push((target, argument.role.clone()));
        }
        if id.is_empty() {
            losses.add("relations without an id", &document.id);
        }
        raw.relations.push(RawRelation { id: id.clone(), infons, nodes });
    }
    let ids = raw.annotations.iter().map(|a| &a.id).chain(raw.relations.iter().map(|r| &r.id));
    lose(document, losses, "ids that begin with concept:", ids.filter(|id| id.starts_with("concept:")).count());
    raw
}

/// Attributes as infons whose keys are free and taken once.
fn add(document: &Document, attributes: &[Attribute], infons: &mut Infons, losses: &mut Losses) {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for attribute in attributes {
        let taken =
            ["type", "score", "kind"].contains(&attribute.name.as_str()) || attribute.name.starts_with("identifier");
        let seen = count.entry(&attribute.name).or_default();
        *seen += 1;
        match taken || *seen > 1 {
            true => losses.add("attributes whose name is taken", &document.id),
            false => infons.push((attribute.name.clone(), attribute.value.clone().unwrap_or_default())),
        }
    }
}
