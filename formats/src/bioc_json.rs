//! BioC's JSON notation, as PubTator's service and bconv write it.

use crate::bioc::{Infons, OFFSET_UNIT, Raw, RawAnnotation, RawPassage, RawRelation, raw, unit_of};
use crate::{Document, Error, Losses, Result, Unit};
use serde_json::{Map, Value, json};

/// Reads a collection, a single document, or a list of either.
///
/// # Errors
/// What is no JSON, by its line; a collection or document of another form.
pub fn read(file: &str, unit: Unit, losses: &mut Losses) -> Result<Vec<Document>> {
    // The parser's own message may quote the file.
    let value: Value =
        serde_json::from_str(file).map_err(|e| Error::at(e.line(), "expected JSON, found something else"))?;
    let list = match value {
        Value::Array(list) => list,
        one => vec![one],
    };
    let mut documents = Vec::new();
    for value in list {
        let unit = unit_of(&infons(&value, losses)?, unit)?;
        match value.get("documents") {
            Some(Value::Array(list)) => {
                for value in list {
                    documents.push(document(value, losses)?.document(unit, losses)?);
                }
            }
            Some(_) => return Err(Error::new("documents: expected a list, found something else")),
            None => documents.push(document(&value, losses)?.document(unit, losses)?),
        }
    }
    Ok(documents)
}

/// A string, or a number as one; empty where there is none.
fn string(value: &Value, key: &str) -> Result<String> {
    match value.get(key) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(_) => Err(Error::new(format!("{key}: expected a string, found something else"))),
    }
}

fn number(value: &Value, key: &str) -> Result<usize> {
    let found = value.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    found.ok_or_else(|| Error::new(format!("{key}: expected a whole number, found something else")))
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a [Value]> {
    match value.get(key) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(Error::new(format!("{key}: expected a list, found something else"))),
    }
}

fn infons(value: &Value, losses: &mut Losses) -> Result<Infons> {
    let map = match value.get("infons") {
        None | Some(Value::Null) => return Ok(Infons::new()),
        Some(Value::Object(map)) => map,
        Some(_) => return Err(Error::new("infons: expected an object, found something else")),
    };
    let mut infons = Infons::new();
    for (key, value) in map {
        match value {
            Value::String(text) => infons.push((key.clone(), text.clone())),
            Value::Number(_) | Value::Bool(_) => infons.push((key.clone(), value.to_string())),
            Value::Null => {}
            Value::Array(_) | Value::Object(_) => losses.add("infons that are lists or objects", "file"),
        }
    }
    // Keys of an object have no order; those with a number (`class.2`, `identifier.2:MESH`) say theirs.
    let number = |key: &str| {
        let (_, rest) = key.split_once('.')?;
        rest.split(':').next()?.parse::<u64>().ok()
    };
    infons.sort_by_key(|(key, _)| number(key));
    Ok(infons)
}

fn document(value: &Value, losses: &mut Losses) -> Result<Raw> {
    if !value.is_object() {
        return Err(Error::new("expected a BioC document, found something else"));
    }
    let mut raw = Raw { id: string(value, "id")?, infons: infons(value, losses)?, ..Raw::default() };
    both(value, &mut raw, losses)?;
    for passage in list(value, "passages")? {
        let mut read =
            RawPassage { infons: infons(passage, losses)?, offset: number(passage, "offset")?, ..Default::default() };
        read.text = passage.get("text").and_then(Value::as_str).map(str::to_owned);
        both(passage, &mut raw, losses)?;
        for sentence in list(passage, "sentences")? {
            read.sentences.push((number(sentence, "offset")?, string(sentence, "text")?));
            both(sentence, &mut raw, losses)?;
        }
        raw.passages.push(read);
    }
    Ok(raw)
}

/// Annotations and relations, which stand in documents, passages and sentences.
fn both(value: &Value, raw: &mut Raw, losses: &mut Losses) -> Result<()> {
    for annotation in list(value, "annotations")? {
        let locations = (list(annotation, "locations")?.iter())
            .map(|location| Ok((number(location, "offset")?, number(location, "length")?)))
            .collect::<Result<_>>()?;
        let infons = infons(annotation, losses)?;
        raw.annotations.push(RawAnnotation {
            id: string(annotation, "id")?,
            infons,
            locations,
            text: string(annotation, "text")?,
        });
    }
    for relation in list(value, "relations")? {
        let nodes = (list(relation, "nodes")?.iter())
            .map(|node| Ok((string(node, "refid")?, string(node, "role")?)))
            .collect::<Result<_>>()?;
        raw.relations.push(RawRelation { id: string(relation, "id")?, infons: infons(relation, losses)?, nodes });
    }
    Ok(())
}

/// Writes a collection whose infon `offset_unit` names `unit`.
pub fn write(documents: &[Document], unit: Unit, losses: &mut Losses) -> String {
    let object =
        |infons: &Infons| Value::Object(infons.iter().map(|(k, v)| (k.clone(), json!(v))).collect::<Map<_, _>>());
    let one = |raw: Raw| {
        let passage = |p: &RawPassage| json!({"infons": object(&p.infons), "offset": p.offset, "text": p.text, "sentences": [], "annotations": [], "relations": []});
        let annotation = |a: &RawAnnotation| {
            let locations: Vec<_> = a.locations.iter().map(|(at, len)| json!({"offset": at, "length": len})).collect();
            json!({"id": a.id, "infons": object(&a.infons), "text": a.text, "locations": locations})
        };
        let relation = |r: &RawRelation| {
            let nodes: Vec<_> = r.nodes.iter().map(|(refid, role)| json!({"refid": refid, "role": role})).collect();
            json!({"id": r.id, "infons": object(&r.infons), "nodes": nodes})
        };
        json!({
            "id": raw.id,
            "infons": object(&raw.infons),
            "passages": raw.passages.iter().map(passage).collect::<Vec<_>>(),
            "annotations": raw.annotations.iter().map(annotation).collect::<Vec<_>>(),
            "relations": raw.relations.iter().map(relation).collect::<Vec<_>>(),
        })
    };
    let documents: Vec<Value> = documents.iter().map(|document| one(raw(document, unit, losses))).collect();
    let collection =
        json!({"source": "", "date": "", "key": "", "infons": {OFFSET_UNIT: unit.name()}, "documents": documents});
    format!("{collection}\n")
}
