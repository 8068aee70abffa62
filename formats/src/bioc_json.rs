//! BioC JSON: the same documents as BioC XML; the unit is an infon of the collection.

use crate::bioc::{Annotation, Parts, UNIT_KEY, take};
use crate::document::{Argument, Document, Relation};
use crate::offsets::{Offsets, Unit};
use crate::problem::{Problems, Trouble};
use crate::{Error, Result};
use serde_json::{Map, Value, json};

/// Reads a collection, or JSON lines of documents; `name` is the place that problems name.
pub fn read(name: &str, file: &str, problems: &mut Problems) -> Vec<Document> {
    let mut found = Vec::new();
    let mut number = 0;
    let mut values = serde_json::Deserializer::from_str(file).into_iter::<Value>();
    loop {
        let value = match values.next() {
            None => return found,
            Some(Ok(value)) => value,
            Some(Err(e)) => {
                problems.add(if e.is_eof() { Trouble::Truncated } else { Trouble::Broken }, name, number + 1);
                return found;
            }
        };
        let unit = value["infons"][UNIT_KEY].as_str().and_then(Unit::parse).unwrap_or(Unit::CodePoint);
        let documents = match &value["documents"] {
            Value::Array(documents) => documents.as_slice(),
            _ => std::slice::from_ref(&value),
        };
        for document in documents {
            number += 1;
            match parts(document) {
                Some(parts) => found.push(parts.document(unit, name, number, problems)),
                None => problems.add(Trouble::Broken, name, number),
            }
        }
    }
}

fn parts(document: &Value) -> Option<Parts> {
    let mut parts = Parts { id: text(&document["id"])?, notes: infons(document), ..Parts::default() };
    holder(&mut parts, document)?;
    for passage in document["passages"].as_array()? {
        match passage["text"].as_str() {
            Some(text) => parts.passages.push((number(&passage["offset"])?, text.to_owned())),
            None => {
                for sentence in list(passage, "sentences") {
                    let text = sentence["text"].as_str().unwrap_or_default().to_owned();
                    parts.passages.push((number(&sentence["offset"])?, text));
                }
            }
        }
        holder(&mut parts, passage)?;
        list(passage, "sentences").iter().try_for_each(|sentence| holder(&mut parts, sentence))?;
    }
    Some(parts)
}

fn holder(parts: &mut Parts, value: &Value) -> Option<()> {
    for annotation in list(value, "annotations") {
        let mut places = Vec::new();
        for location in list(annotation, "locations") {
            let offset = number(&location["offset"])?;
            places.push((offset, offset.checked_add(number(&location["length"])?)?));
        }
        let mut infons = infons(annotation);
        let label = take(&mut infons, "type").unwrap_or_default();
        let id = text(&annotation["id"]).unwrap_or_default();
        let text = annotation["text"].as_str().map(str::to_owned);
        parts.annotations.push(Annotation { id, label, places, text, infons });
    }
    for relation in list(value, "relations") {
        let mut infons = infons(relation);
        let node = |node: &Value| Argument {
            role: text(&node["role"]).unwrap_or_default(),
            target: text(&node["refid"]).unwrap_or_default(),
        };
        parts.relations.push(Relation {
            id: text(&relation["id"]).unwrap_or_default(),
            label: take(&mut infons, "type").unwrap_or_default(),
            arguments: list(relation, "nodes").iter().map(node).collect(),
            attributes: infons,
            ..Relation::default()
        });
    }
    Some(())
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}

/// Ids are strings, or numbers where a writer was careless.
fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned).or_else(|| value.as_u64().map(|number| number.to_string()))
}

/// An infon of several values is a list.
fn infons(value: &Value) -> Vec<(String, String)> {
    let one = |key: &String, value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (key.clone(), text)
    };
    let each = value["infons"].as_object().into_iter().flatten().flat_map(|(key, value)| match value {
        Value::Array(values) => values.iter().map(|value| one(key, value)).collect(),
        value => vec![one(key, value)],
    });
    each.collect()
}

/// A collection of documents, offsets in `unit`, which the collection names.
///
/// # Errors
/// [`Error::Unwritable`] for events, which BioC has no form for.
pub fn write(documents: &[Document], unit: Unit) -> Result<String> {
    let documents = documents.iter().map(|document| one(document, unit)).collect::<Result<Vec<_>>>()?;
    let collection =
        json!({"source": "", "date": "", "key": "", "infons": {UNIT_KEY: unit.name()}, "documents": documents});
    serde_json::to_string_pretty(&collection).map_err(|e| Error::format("BioC JSON", e.to_string()))
}

fn one(document: &Document, unit: Unit) -> Result<Value> {
    let unwritable = |detail: &str| Error::Unwritable { id: document.id.clone(), detail: detail.to_owned() };
    if !document.events.is_empty() {
        return Err(unwritable("an event, which BioC has no form for"));
    }
    let offsets = Offsets::new(&document.text, unit);
    let at = |byte: usize| offsets.at(byte).ok_or_else(|| unwritable("a mention inside a character"));
    let annotation = |mention: &crate::Mention| {
        let locations = mention.places.iter().map(|place| {
            let start = at(place.start)?;
            Ok(json!({"offset": start, "length": at(place.end)? - start}))
        });
        let concepts = mention.concepts.iter().map(|concept| ("identifier", concept));
        let pairs = concepts.chain(mention.attributes.iter().map(|(key, value)| (key.as_str(), value)));
        Ok(json!({
            "id": mention.id, "infons": gathered(&mention.label, pairs), "text": mention.text(&document.text),
            "locations": locations.collect::<Result<Vec<_>>>()?,
        }))
    };
    let whole = std::iter::once(0..document.text.len()).collect();
    let parts = if document.parts.is_empty() { &whole } else { &document.parts };
    let passages = parts.iter().enumerate().map(|(number, part)| {
        let mentions = if number == 0 { document.mentions.as_slice() } else { &[] };
        let annotations = mentions.iter().map(annotation).collect::<Result<Vec<_>>>()?;
        let text = &document.text[part.clone()];
        Ok(json!({"offset": at(part.start)?, "infons": {}, "text": text, "sentences": [], "annotations": annotations, "relations": []}))
    });
    let relation = |relation: &Relation| {
        let nodes = relation.arguments.iter().map(|a| json!({"refid": a.target, "role": a.role}));
        let pairs = relation.attributes.iter().map(|(key, value)| (key.as_str(), value));
        json!({"id": relation.id, "infons": gathered(&relation.label, pairs), "nodes": nodes.collect::<Vec<_>>()})
    };
    let relations = document.relations.iter().filter(|relation| !relation.of_concepts).map(relation);
    Ok(json!({
        "id": document.id, "infons": document.notes, "passages": passages.collect::<Result<Vec<_>>>()?,
        "annotations": [], "relations": relations.collect::<Vec<_>>(),
    }))
}

/// Infons with the type first; a key that comes twice has a list.
fn gathered<'p>(label: &str, pairs: impl Iterator<Item = (&'p str, &'p String)>) -> Value {
    let mut infons = Map::new();
    infons.insert("type".to_owned(), json!(label));
    for (key, value) in pairs {
        match infons.get_mut(key) {
            None => drop(infons.insert(key.to_owned(), json!(value))),
            Some(Value::Array(values)) => values.push(json!(value)),
            Some(one) => *one = json!([one.take(), value]),
        }
    }
    Value::Object(infons)
}
