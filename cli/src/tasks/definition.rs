//! What is asked, from flags, the schema file and the document's own line.

use crate::input::Document;
use crate::stop::{Result, Stop};
use biomistral_nlu::task::{Label, Relation, Schema};
use serde_json::{Map, Value};
use std::path::Path;

/// Fields of a schema that a line may bring along; `options` is another name of `classes`.
const FIELDS: [&str; 4] = ["labels", "classes", "events", "relations"];

/// A schema and whether relations were named without saying what they connect.
#[derive(Debug, Clone, Default)]
pub struct Definition {
    /// What is asked.
    pub schema: Schema,
    /// Relations without head and tail labels: any entity label may stand on either side.
    pub open_relations: bool,
}

impl Definition {
    /// Schema file first, then flags in its place.
    pub fn new(file: Option<&Path>, labels: &[String], classes: &[String], relations: &[String]) -> Result<Self> {
        let mut schema = match file {
            None => Schema::default(),
            Some(path) => {
                let json =
                    std::fs::read_to_string(path).map_err(|e| Stop::failed(format!("{}: {e}", path.display())))?;
                Schema::from_json(&json).map_err(|e| Stop::usage(format!("{}: {e}", path.display())))?
            }
        };
        if !labels.is_empty() {
            schema.labels = named(labels);
        }
        if !classes.is_empty() {
            schema.classes = named(classes);
        }
        let mut open_relations = false;
        if !relations.is_empty() {
            schema.relations = relations.iter().map(|r| relation(r)).collect::<Result<_>>()?;
            let open = schema.relations.iter().filter(|r| r.head.is_empty()).count();
            open_relations = open > 0;
            if open_relations && open < relations.len() {
                return Err(Stop::usage("--relations: say HEAD>TAIL for every relation or for none"));
            }
        }
        let mut definition = Definition { schema, open_relations };
        let all: Vec<String> = definition.schema.labels.iter().map(|l| l.name.clone()).collect();
        if open_relations && !all.is_empty() {
            definition.connect(&all);
        }
        Ok(definition)
    }

    /// Lets relations without sides connect any of these labels.
    pub fn connect(&mut self, labels: &[String]) {
        for relation in &mut self.schema.relations {
            relation.head = labels.to_vec();
            relation.tail = labels.to_vec();
        }
    }

    /// This definition with what the line brings along, `None` where it brings nothing.
    pub fn with(&self, document: &Document) -> std::result::Result<Option<Self>, String> {
        let mut own = Map::new();
        for name in FIELDS {
            if let Some(value) = document.fields.get(name).filter(|v| !v.is_null()) {
                own.insert(name.to_owned(), value.clone());
            }
        }
        if let Some(value) = document.fields.get("options").filter(|v| !v.is_null()) {
            own.insert("classes".to_owned(), value.clone());
        }
        if own.is_empty() {
            return Ok(None);
        }
        let read = Schema::from_json(&Value::Object(own.clone()).to_string()).map_err(|e| e.to_string())?;
        let mut mine = self.clone();
        for (name, _) in own {
            match name.as_str() {
                "labels" => mine.schema.labels.clone_from(&read.labels),
                "classes" => mine.schema.classes.clone_from(&read.classes),
                "events" => mine.schema.events.clone_from(&read.events),
                _ => {
                    mine.schema.relations.clone_from(&read.relations);
                    mine.open_relations = false;
                }
            }
        }
        Ok(Some(mine))
    }
}

fn named(names: &[String]) -> Vec<Label> {
    names.iter().map(Label::new).collect()
}

/// `NAME` or `NAME=HEAD>TAIL`, with `|` between several labels of a side.
fn relation(text: &str) -> Result<Relation> {
    let Some((name, sides)) = text.split_once('=') else {
        return Ok(Relation { label: Label::new(text), head: Vec::new(), tail: Vec::new(), symmetric: false });
    };
    let Some((head, tail)) = sides.split_once('>') else {
        return Err(Stop::usage(format!("--relations: expected NAME or NAME=HEAD>TAIL, found {text:?}")));
    };
    let side = |labels: &str| labels.split('|').map(str::to_owned).collect();
    Ok(Relation { label: Label::new(name), head: side(head), tail: side(tail), symmetric: false })
}
