//! Verbs whose answers are places in the text: extract, events, relate.

use super::{Answers, Definition, Task, choice_rules, mentions, span_policy};
use crate::args::{Events, Extract, Relate};
use crate::input::{Document as Line, kind};
use crate::stop::Result;
use biomistral_nlu::task::{
    Document, EventsAnswer, EventsRequest, ExtractAnswer, ExtractRequest, Mention, RelateAnswer, RelateDocument,
    RelateRequest, RunOptions, Session, SpanPolicy,
};
use serde_json::Value;

/// `bmn extract`
pub struct ExtractTask {
    definition: Definition,
    policy: SpanPolicy,
}

impl ExtractTask {
    /// From flags.
    pub fn new(args: &Extract) -> Result<Self> {
        let definition = Definition::new(args.run.schema.as_deref(), &args.labels, &[], &[])?;
        Ok(ExtractTask { definition, policy: span_policy(&args.spans) })
    }

    fn of(&self, definition: &Definition) -> Option<ExtractRequest> {
        let labels = definition.schema.labels.clone();
        (!labels.is_empty()).then(|| ExtractRequest { labels, policy: self.policy.clone() })
    }
}

impl Task for ExtractTask {
    type Request = ExtractRequest;
    type Item = Document;
    type Answer = ExtractAnswer;

    fn request(&self) -> Option<ExtractRequest> {
        self.of(&self.definition)
    }

    fn own_request(&self, line: &Line) -> std::result::Result<Option<ExtractRequest>, String> {
        Ok(self.definition.with(line)?.and_then(|d| self.of(&d)))
    }

    fn item(&self, line: &Line) -> std::result::Result<Document, String> {
        document(line)
    }

    fn ask(
        session: &mut Session,
        items: &[Document],
        request: &ExtractRequest,
        run: &RunOptions<'_>,
    ) -> Answers<ExtractAnswer> {
        session.extract(items, request, run)
    }

    fn missing(&self) -> &'static str {
        "no labels: expected --labels, --schema or \"labels\" in the line"
    }
}

/// `bmn events`
pub struct EventsTask {
    definition: Definition,
    base: EventsRequest,
}

impl EventsTask {
    /// From flags.
    pub fn new(args: &Events) -> Result<Self> {
        let definition = Definition::new(args.run.schema.as_deref(), &[], &[], &[])?;
        let base = EventsRequest {
            events: Vec::new(),
            policy: span_policy(&args.spans),
            choice: choice_rules(&args.choice),
            mentions: mentions(args.all_mentions),
        };
        Ok(EventsTask { definition, base })
    }

    fn of(&self, definition: &Definition) -> Option<EventsRequest> {
        let events = definition.schema.events.clone();
        (!events.is_empty()).then(|| EventsRequest { events, ..self.base.clone() })
    }
}

impl Task for EventsTask {
    type Request = EventsRequest;
    type Item = Document;
    type Answer = EventsAnswer;

    fn request(&self) -> Option<EventsRequest> {
        self.of(&self.definition)
    }

    fn own_request(&self, line: &Line) -> std::result::Result<Option<EventsRequest>, String> {
        Ok(self.definition.with(line)?.and_then(|d| self.of(&d)))
    }

    fn item(&self, line: &Line) -> std::result::Result<Document, String> {
        document(line)
    }

    fn ask(
        session: &mut Session,
        items: &[Document],
        request: &EventsRequest,
        run: &RunOptions<'_>,
    ) -> Answers<EventsAnswer> {
        session.events(items, request, run)
    }

    fn missing(&self) -> &'static str {
        "no event types: expected --schema with \"events\", or \"events\" in the line"
    }
}

/// `bmn relate`
pub struct RelateTask {
    definition: Definition,
    base: RelateRequest,
}

impl RelateTask {
    /// From flags.
    pub fn new(args: &Relate) -> Result<Self> {
        let definition = Definition::new(args.run.schema.as_deref(), &args.labels, &[], &args.relations)?;
        let base = RelateRequest {
            policy: span_policy(&args.spans),
            choice: choice_rules(&args.choice),
            mentions: mentions(args.all_mentions),
            same_sentence: args.same_sentence,
            ..RelateRequest::default()
        };
        Ok(RelateTask { definition, base })
    }

    fn of(&self, definition: &Definition) -> Option<RelateRequest> {
        let (relations, labels) = (definition.schema.relations.clone(), definition.schema.labels.clone());
        let whole = !relations.is_empty() && relations.iter().all(|r| !r.head.is_empty());
        whole.then(|| RelateRequest { relations, labels, ..self.base.clone() })
    }
}

impl Task for RelateTask {
    type Request = RelateRequest;
    type Item = RelateDocument;
    type Answer = RelateAnswer;

    fn request(&self) -> Option<RelateRequest> {
        self.of(&self.definition)
    }

    fn own_request(&self, line: &Line) -> std::result::Result<Option<RelateRequest>, String> {
        let own = self.definition.with(line)?;
        let mut definition = own.clone().unwrap_or_else(|| self.definition.clone());
        if definition.open_relations {
            // Relations that name no sides connect whatever labels the document's own entities have.
            let mut labels: Vec<String> = entities(line)?.unwrap_or_default().into_iter().map(|e| e.label).collect();
            labels.extend(definition.schema.labels.iter().map(|l| l.name.clone()));
            labels.sort();
            labels.dedup();
            definition.connect(&labels);
            return Ok(self.of(&definition));
        }
        Ok(own.and_then(|d| self.of(&d)))
    }

    fn item(&self, line: &Line) -> std::result::Result<RelateDocument, String> {
        let Document { id, text } = document(line)?;
        Ok(RelateDocument { id, text, entities: entities(line)? })
    }

    fn ask(
        session: &mut Session,
        items: &[RelateDocument],
        request: &RelateRequest,
        run: &RunOptions<'_>,
    ) -> Answers<RelateAnswer> {
        session.relate(items, request, run)
    }

    fn missing(&self) -> &'static str {
        "no relations: expected --relations and --labels, --schema, or \"relations\" and \"entities\" in the line"
    }
}

fn document(line: &Line) -> std::result::Result<Document, String> {
    Ok(Document { id: String::new(), text: line.required("text")?.to_owned() })
}

/// `"entities": [{"label", "start", "end"}]`
fn entities(line: &Line) -> std::result::Result<Option<Vec<Mention>>, String> {
    let list = match line.fields.get("entities") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) => list,
        Some(other) => return Err(format!("\"entities\": expected a list, found {}", kind(other))),
    };
    let mention = |(i, value): (usize, &Value)| {
        let label = value.get("label").and_then(Value::as_str);
        let place = |name: &str| value.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        match (label, place("start"), place("end")) {
            (Some(label), Some(start), Some(end)) => Ok(Mention { label: label.to_owned(), start, end }),
            _ => Err(format!("entities[{i}]: expected label, start and end")),
        }
    };
    list.iter().enumerate().map(mention).collect::<std::result::Result<_, _>>().map(Some)
}
