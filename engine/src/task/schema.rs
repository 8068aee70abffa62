//! What may be asked for: labels, events with arguments and attributes, relations, classes.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// How answers name the option that the engine adds: no relation, attribute not mentioned.
pub(crate) const NONE: &str = "none";

/// A name and, where the name does not say it, what it means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The name as it stands in prompt and answer.
    pub name: String,
    /// What the prompt says it means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl Label {
    /// A label without a description.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), description: None }
    }

    /// The name as an option of a choice: `name` or `name: description`.
    pub fn option_text(&self) -> String {
        match &self.description {
            None => self.name.clone(),
            Some(description) => format!("{}: {description}", self.name),
        }
    }
}

/// An attribute of an event: one of given values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// Name and meaning.
    #[serde(flatten)]
    pub label: Label,
    /// The values to choose from.
    pub values: Vec<Label>,
    /// Whether every event has it; otherwise a last option says that the text does not mention it.
    #[serde(default)]
    pub required: bool,
}

/// An event type: a trigger span, arguments that are spans, attributes that are choices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Name and meaning; also the label of the trigger.
    #[serde(flatten)]
    pub label: Label,
    /// Arguments, extracted as spans.
    #[serde(default)]
    pub arguments: Vec<Label>,
    /// Attributes, chosen from given values.
    #[serde(default)]
    pub attributes: Vec<Attribute>,
}

/// A relation type, from a head to a tail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relation {
    /// Name and meaning. `{head}` and `{tail}` in the description stand for the two mentions.
    #[serde(flatten)]
    pub label: Label,
    /// Entity labels that may be its head.
    pub head: Vec<String>,
    /// Entity labels that may be its tail.
    pub tail: Vec<String>,
    /// Whether head and tail may be exchanged; then each pair is asked once, the mention that comes first as head.
    #[serde(default)]
    pub symmetric: bool,
}

impl Relation {
    /// The option that says it of two mentions: the description with their texts put in, else the name.
    pub fn option(&self, head: &str, tail: &str) -> String {
        let Some(description) = &self.label.description else { return self.label.name.clone() };
        let mut text = String::new();
        let mut rest = description.as_str();
        while let Some(at) = rest.find('{') {
            text.push_str(&rest[..at]);
            rest = &rest[at..];
            let (mention, name) = if rest.starts_with("{head}") {
                (head, "{head}")
            } else if rest.starts_with("{tail}") {
                (tail, "{tail}")
            } else {
                ("{", "{")
            };
            text.push_str(mention);
            rest = &rest[name.len()..];
        }
        text + rest
    }
}

/// Everything that a caller asks of a text, as one JSON object; each task reads its part.
///
/// ```json
/// {"labels": ["drug", {"name": "problem", "description": "a disease, sign or symptom"}],
///  "classes": ["cardiology", "other"],
///  "events": [{"name": "smoking", "arguments": ["amount"], "attributes": [{"name": "status", "values": ["current", "past"]}]}],
///  "relations": [{"name": "treats", "head": ["drug"], "tail": ["problem"]}]}
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Schema {
    /// Entity labels.
    pub labels: Vec<Label>,
    /// Document classes.
    pub classes: Vec<Label>,
    /// Event types.
    pub events: Vec<Event>,
    /// Relation types.
    pub relations: Vec<Relation>,
}

impl Schema {
    /// Reads and checks a schema.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names the field, as in `schema.events[1].attributes[0].values: expected a list, found a string`.
    pub fn from_json(json: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(json).map_err(|e| Error::invalid(format!("schema: not JSON: {e}")))?;
        let mut fields = Fields::new(&value, "schema".to_owned())?;
        let schema = Self {
            labels: fields.list("labels", label)?,
            classes: fields.list("classes", label)?,
            events: fields.list("events", event)?,
            relations: fields.list("relations", relation)?,
        };
        fields.finish()?;
        schema.check()?;
        Ok(schema)
    }

    /// Checks names, duplicates and the labels that relations refer to.
    pub fn check(&self) -> Result<()> {
        check_names(&self.labels, "schema.labels")?;
        check_options(&self.classes, "schema.classes")?;
        check_events(&self.events, "schema.events")?;
        check_relations(&self.relations, "schema.relations")?;
        if self.labels.is_empty() {
            return Ok(()); // the entities come from the caller, with labels of their own
        }
        for (i, relation) in self.relations.iter().enumerate() {
            for (side, names) in [("head", &relation.head), ("tail", &relation.tail)] {
                if let Some(name) = names.iter().find(|name| self.labels.iter().all(|label| label.name != **name)) {
                    return Err(Error::invalid(format!(
                        "schema.relations[{i}].{side}: expected names from schema.labels, found {name:?}"
                    )));
                }
            }
        }
        Ok(())
    }
}

/// Names that head a line of an extraction answer: no colon, no line break, distinct.
pub(crate) fn check_names(labels: &[Label], path: &str) -> Result<()> {
    distinct(labels, path)?;
    for (i, label) in labels.iter().enumerate() {
        if label.name.contains(':') {
            return Err(Error::invalid(format!(
                "{path}[{i}].name: expected no colon (it ends the name in an answer), found {:?}",
                label.name
            )));
        }
        check_label(label, &format!("{path}[{i}]"))?;
    }
    Ok(())
}

/// Texts of a choice: at least two when any, one line each, distinct.
pub(crate) fn check_options(options: &[Label], path: &str) -> Result<()> {
    if options.len() == 1 {
        return Err(Error::invalid(format!("{path}: expected at least 2 options, found 1")));
    }
    distinct(options, path)?;
    options.iter().enumerate().try_for_each(|(i, option)| check_label(option, &format!("{path}[{i}]")))
}

pub(crate) fn check_events(events: &[Event], path: &str) -> Result<()> {
    let triggers: Vec<Label> = events.iter().map(|event| event.label.clone()).collect();
    check_names(&triggers, path)?;
    for (i, event) in events.iter().enumerate() {
        check_names(&event.arguments, &format!("{path}[{i}].arguments"))?;
        let attributes: Vec<Label> = event.attributes.iter().map(|attribute| attribute.label.clone()).collect();
        check_names(&attributes, &format!("{path}[{i}].attributes"))?;
        for (j, attribute) in event.attributes.iter().enumerate() {
            let values = format!("{path}[{i}].attributes[{j}].values");
            if attribute.values.is_empty() || (attribute.required && attribute.values.len() < 2) {
                let least = 1 + usize::from(attribute.required);
                return Err(Error::invalid(format!(
                    "{values}: expected at least {least}, found {}",
                    attribute.values.len()
                )));
            }
            distinct(&attribute.values, &values)?;
            reserved(&attribute.values, &values)?;
            for (k, value) in attribute.values.iter().enumerate() {
                check_label(value, &format!("{values}[{k}]"))?;
            }
        }
    }
    Ok(())
}

pub(crate) fn check_relations(relations: &[Relation], path: &str) -> Result<()> {
    let names: Vec<Label> = relations.iter().map(|relation| relation.label.clone()).collect();
    distinct(&names, path)?;
    reserved(&names, path)?;
    for (i, relation) in relations.iter().enumerate() {
        check_label(&relation.label, &format!("{path}[{i}]"))?;
        for (side, labels) in [("head", &relation.head), ("tail", &relation.tail)] {
            if labels.is_empty() {
                return Err(Error::invalid(format!(
                    "{path}[{i}].{side}: expected at least 1 entity label, found none"
                )));
            }
        }
    }
    Ok(())
}

fn distinct(labels: &[Label], path: &str) -> Result<()> {
    let mut seen = HashSet::new();
    match labels.iter().position(|label| !seen.insert(label.name.as_str())) {
        Some(i) => {
            Err(Error::invalid(format!("{path}[{i}].name: expected distinct names, found {:?} twice", labels[i].name)))
        }
        None => Ok(()),
    }
}

/// "none" names the option that the engine adds.
fn reserved(labels: &[Label], path: &str) -> Result<()> {
    match labels.iter().position(|label| label.name == NONE) {
        Some(i) => Err(Error::invalid(format!("{path}[{i}].name: \"none\" is the name of the option added for that"))),
        None => Ok(()),
    }
}

fn check_label(label: &Label, path: &str) -> Result<()> {
    check_line(&label.name, &format!("{path}.name"))?;
    label.description.as_ref().map_or(Ok(()), |text| check_line(text, &format!("{path}.description")))
}

/// One non-empty line without space around it.
pub(crate) fn check_line(text: &str, path: &str) -> Result<()> {
    if text.is_empty() || text.trim() != text || text.chars().any(char::is_control) {
        return Err(Error::invalid(format!(
            "{path}: expected one non-empty line without space around it, found {text:?}"
        )));
    }
    Ok(())
}

fn label(value: &Value, path: &str) -> Result<Label> {
    if let Value::String(name) = value {
        return Ok(Label::new(name.as_str()));
    }
    let mut fields = Fields::new(value, path.to_owned())?;
    let label = fields.label()?;
    fields.finish()?;
    Ok(label)
}

fn attribute(value: &Value, path: &str) -> Result<Attribute> {
    let mut fields = Fields::new(value, path.to_owned())?;
    let attribute =
        Attribute { label: fields.label()?, values: fields.list("values", label)?, required: fields.flag("required")? };
    fields.finish()?;
    Ok(attribute)
}

fn event(value: &Value, path: &str) -> Result<Event> {
    let mut fields = Fields::new(value, path.to_owned())?;
    let event = Event {
        label: fields.label()?,
        arguments: fields.list("arguments", label)?,
        attributes: fields.list("attributes", attribute)?,
    };
    fields.finish()?;
    Ok(event)
}

fn relation(value: &Value, path: &str) -> Result<Relation> {
    let mut fields = Fields::new(value, path.to_owned())?;
    let relation = Relation {
        label: fields.label()?,
        head: fields.list("head", string)?,
        tail: fields.list("tail", string)?,
        symmetric: fields.flag("symmetric")?,
    };
    fields.finish()?;
    Ok(relation)
}

fn string(value: &Value, path: &str) -> Result<String> {
    value.as_str().map(str::to_owned).ok_or_else(|| wrong(path, "a string", value))
}

/// An object read field by field, so that every error names its field and nothing unknown is passed over.
struct Fields<'a> {
    object: &'a Map<String, Value>,
    path: String,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    fn new(value: &'a Value, path: String) -> Result<Self> {
        let object = value.as_object().ok_or_else(|| wrong(&path, "an object", value))?;
        Ok(Self { object, path, known: Vec::new() })
    }

    fn get(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.object.get(name)
    }

    fn list<T>(&mut self, name: &'static str, read: fn(&Value, &str) -> Result<T>) -> Result<Vec<T>> {
        let path = format!("{}.{name}", self.path);
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                items.iter().enumerate().map(|(i, item)| read(item, &format!("{path}[{i}]"))).collect()
            }
            Some(other) => Err(wrong(&path, "a list", other)),
        }
    }

    fn flag(&mut self, name: &'static str) -> Result<bool> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(wrong(&format!("{}.{name}", self.path), "true or false", other)),
        }
    }

    fn label(&mut self) -> Result<Label> {
        let path = format!("{}.name", self.path);
        let name =
            self.get("name").ok_or_else(|| Error::invalid(format!("{path}: expected a string, found nothing")))?;
        let name = string(name, &path)?;
        let description = match self.get("description") {
            None | Some(Value::Null) => None,
            Some(value) => Some(string(value, &format!("{}.description", self.path))?),
        };
        Ok(Label { name, description })
    }

    fn finish(self) -> Result<()> {
        match self.object.keys().find(|key| !self.known.contains(&key.as_str())) {
            Some(key) => {
                Err(Error::invalid(format!("{}: expected only {}, found {key:?}", self.path, self.known.join(", "))))
            }
            None => Ok(()),
        }
    }
}

fn wrong(path: &str, expected: &str, found: &Value) -> Error {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Error::invalid(format!("{path}: expected {expected}, found {found}"))
}
