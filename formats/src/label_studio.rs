//! Label Studio JSON: tasks with a text, labelled stretches and relations between them.
//!
//! Offsets are UTF-16 code units, as its editor counts in JavaScript; a task that names another unit (`data.offset_unit`) is
//! read in that. Annotations are read first, predictions where there is none; written are predictions, for review.

use crate::brat::{check_targets, same_words};
use crate::document::{Argument, Document, Mention, Relation};
use crate::offsets::{Offsets, Unit};
use crate::problem::{Problems, Trouble};
use crate::{Error, Result};
use serde_json::{Value, json};
use std::collections::HashSet;

/// Reads a file, a list of tasks; `name` is the place that problems name.
pub fn read(name: &str, file: &str, problems: &mut Problems) -> Vec<Document> {
    let Ok(Value::Array(tasks)) = serde_json::from_str::<Value>(file) else {
        problems.add(Trouble::Broken, name, 0);
        return Vec::new();
    };
    let mut documents = Vec::with_capacity(tasks.len());
    for (number, task) in tasks.iter().enumerate() {
        match document(task, name, number + 1, problems) {
            Some(document) => documents.push(document),
            None => problems.add(Trouble::Broken, name, number + 1),
        }
    }
    documents
}

fn document(task: &Value, name: &str, number: usize, problems: &mut Problems) -> Option<Document> {
    let data = &task["data"];
    let id = [&data["id"], &task["id"]].into_iter().find_map(|id| match id {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    });
    let mut document = Document::new(id.unwrap_or_else(|| number.to_string()), data["text"].as_str()?);
    let unit = match data["offset_unit"].as_str() {
        None => Unit::Utf16,
        Some(unit) => Unit::parse(unit)?,
    };
    let offsets = Offsets::new(&document.text, unit);
    let first = |key: &str| task[key].as_array().and_then(|of| of.first()).map(|of| &of["result"]);
    let results = first("annotations").or(first("predictions")).and_then(Value::as_array);
    let mut ids = HashSet::new();
    for result in results.into_iter().flatten() {
        let read = match result["type"].as_str() {
            Some("labels") => mention(result, &offsets, &document.text).and_then(|mention| {
                let fresh = ids.insert(mention.id.clone());
                fresh.then(|| document.mentions.push(mention)).ok_or(Trouble::Repeated)
            }),
            Some("relation") => relation(result).map(|relation| document.relations.push(relation)),
            Some("choices") => {
                let choices = result["value"]["choices"].as_array().into_iter().flatten();
                document.classes.extend(choices.filter_map(|choice| choice.as_str().map(str::to_owned)));
                Ok(())
            }
            _ => Err(Trouble::Broken),
        };
        if let Err(trouble) = read {
            problems.add(trouble, name, number);
        }
    }
    check_targets(&mut document, name, problems);
    Some(document)
}

fn mention(result: &Value, offsets: &Offsets, text: &str) -> std::result::Result<Mention, Trouble> {
    let value = &result["value"];
    let number = |key: &str| value[key].as_u64().and_then(|n| usize::try_from(n).ok()).ok_or(Trouble::Broken);
    let (start, end) = (number("start")?, number("end")?);
    let place = offsets.bytes(start, end).ok_or(Trouble::Outside)?;
    if value["text"].as_str().is_some_and(|spelled| !same_words(&text[place.clone()], spelled)) {
        return Err(Trouble::Differs);
    }
    let label = value["labels"][0].as_str().ok_or(Trouble::Unlabelled)?;
    Ok(Mention::new(result["id"].as_str().ok_or(Trouble::Broken)?, label, place))
}

fn relation(result: &Value) -> std::result::Result<Relation, Trouble> {
    let end = |key: &str, role: &str| {
        let target = result[key].as_str().ok_or(Trouble::Broken)?.to_owned();
        Ok(Argument { role: role.to_owned(), target })
    };
    let label = result["labels"][0].as_str().unwrap_or_default().to_owned();
    let arguments = vec![end("from_id", "Arg1")?, end("to_id", "Arg2")?];
    Ok(Relation { label, arguments, ..Relation::default() })
}

/// Tasks with predictions, each naming its unit.
///
/// # Errors
/// [`Error::Unwritable`] for what the format has no form for: discontinuous mentions, events, relations of more than two.
pub fn write(documents: &[Document], unit: Unit) -> Result<String> {
    let tasks = documents.iter().map(|document| task(document, unit)).collect::<Result<Vec<_>>>()?;
    serde_json::to_string_pretty(&tasks).map_err(|e| Error::format("Label Studio", e.to_string()))
}

fn task(document: &Document, unit: Unit) -> Result<Value> {
    let unwritable = |detail: &str| Error::Unwritable { id: document.id.clone(), detail: detail.to_owned() };
    let offsets = Offsets::new(&document.text, unit);
    let mut results = Vec::new();
    if !document.classes.is_empty() {
        let value = json!({"choices": document.classes});
        results.push(json!({"type": "choices", "from_name": "class", "to_name": "text", "value": value}));
    }
    for mention in &document.mentions {
        let [place] = mention.places.as_slice() else {
            return Err(unwritable("a discontinuous mention, which Label Studio does not have"));
        };
        let (Some(start), Some(end)) = (offsets.at(place.start), offsets.at(place.end)) else {
            return Err(unwritable("a mention outside the text"));
        };
        let value =
            json!({"start": start, "end": end, "text": mention.text(&document.text), "labels": [mention.label]});
        let result =
            json!({"id": mention.id, "type": "labels", "from_name": "label", "to_name": "text", "value": value});
        results.push(result);
    }
    if !document.events.is_empty() {
        return Err(unwritable("an event, which Label Studio does not have"));
    }
    for relation in &document.relations {
        let ([from, to], false) = (relation.arguments.as_slice(), relation.of_concepts) else {
            return Err(unwritable("a relation of concepts or of more than two, which Label Studio does not have"));
        };
        let (from, to) = (&from.target, &to.target);
        let labels = [&relation.label];
        results.push(json!({"type": "relation", "from_id": from, "to_id": to, "direction": "right", "labels": labels}));
    }
    let data = json!({"id": document.id, "text": document.text, "offset_unit": unit.name()});
    Ok(json!({"data": data, "predictions": [{"model_version": "", "result": results}]}))
}
