//! Events in two steps: trigger spans by event type, then per trigger its arguments as spans and its attributes as choices.

use super::answer::{AttributeAnswer, EventAnswer, EventsAnswer, LabelOutcome, ShownPrompt, Span, Status};
use super::ask_choice::{ChoiceAsk, Chosen, Content};
use super::ask_spans::{Found, FoundLabel, FoundSpan, Place, SpanAsk};
use super::extract::{Units, outcome};
use super::mark::{mark, one_line};
use super::prompts::Wording;
use super::request::{Document, EventsRequest, Mentions};
use super::schema::{Attribute, Event, NONE};
use super::session::Work;
use crate::Result;
use serde_json::{Value, json};
use std::ops::Range;

/// A trigger, and the window that its event is read in.
struct Trigger<'r> {
    event: &'r Event,
    found: FoundSpan,
    window: Range<usize>,
}

/// A document on its way.
struct Reading<'r> {
    triggers: Vec<Trigger<'r>>,
    labels: Vec<LabelOutcome>,
    prompts: Vec<ShownPrompt>,
}

pub(crate) fn events(
    work: &mut Work<'_>,
    documents: &[Document],
    request: &EventsRequest,
) -> Vec<Result<EventsAnswer>> {
    let asks = documents.iter().map(|document| {
        Ok(SpanAsk {
            purpose: "trigger",
            wording: Wording::Trigger,
            labels: request.events.iter().map(|event| event.label.clone()).collect(),
            variables: json!({}),
            source: document.text.clone(),
            shown: None,
            window: work.run.window,
        })
    });
    let found = work.find(asks.collect(), &request.policy);
    let readings: Vec<Result<Reading<'_>>> = found.into_iter().map(|found| Ok(read(found?, request))).collect();
    let (mut arguments, mut attributes) = (Vec::new(), Vec::new());
    for (document, reading) in documents.iter().zip(&readings) {
        for trigger in reading.iter().flat_map(|reading| &reading.triggers) {
            if !trigger.event.arguments.is_empty() {
                arguments.push(argument_ask(work, &document.text, trigger));
            }
            attributes.extend(trigger.event.attributes.iter().map(|a| attribute_ask(work, &document.text, trigger, a)));
        }
    }
    let mut arguments = work.find(arguments, &request.policy).into_iter();
    let mut attributes = work.choose(attributes, &request.choice).into_iter();
    let answers = documents.iter().zip(readings).map(|(document, reading)| {
        let reading = reading?;
        // All of this document's parts are taken before the first error ends it.
        let parts: Vec<Parts> = reading
            .triggers
            .iter()
            .map(|trigger| Parts {
                arguments: if trigger.event.arguments.is_empty() { None } else { arguments.next() },
                attributes: attributes.by_ref().take(trigger.event.attributes.len()).collect(),
            })
            .collect();
        answer(work, document, reading, parts)
    });
    answers.collect()
}

/// What the second step says of one trigger.
struct Parts {
    arguments: Option<Result<Found>>,
    attributes: Vec<Result<Chosen>>,
}

fn read<'r>(found: Found, request: &'r EventsRequest) -> Reading<'r> {
    let (mut triggers, windows) = (Vec::new(), &found.windows);
    for (event, label) in request.events.iter().zip(&found.labels) {
        for span in &label.spans {
            let spans = match request.mentions {
                Mentions::First => vec![span.clone()],
                Mentions::All => {
                    let alone =
                        |place: &Place| FoundSpan { place: place.clone(), places: vec![place.clone()], ..*span };
                    span.places.iter().map(alone).collect()
                }
            };
            triggers.extend(spans.into_iter().map(|found| {
                let window = windows[found.place.window].clone();
                Trigger { event, found, window }
            }));
        }
    }
    Reading { triggers, labels: found.labels.iter().map(outcome).collect(), prompts: found.prompts }
}

impl Trigger<'_> {
    /// The window's text with the trigger marked.
    fn marked(&self, work: &Work<'_>, text: &str) -> Result<String> {
        let range = &self.found.place.range;
        let place = range.start - self.window.start..range.end - self.window.start;
        mark(&work.engine.prompts, &text[self.window.clone()], &[(place, &self.event.label.name)])
    }

    fn variables(&self, trigger: &str) -> Value {
        json!({"event": self.event.label, "trigger": one_line(trigger)})
    }
}

fn argument_ask(work: &Work<'_>, text: &str, trigger: &Trigger<'_>) -> Result<SpanAsk> {
    Ok(SpanAsk {
        purpose: "argument",
        wording: Wording::Argument,
        labels: trigger.event.arguments.clone(),
        variables: trigger.variables(&text[trigger.found.place.range.clone()]),
        source: text[trigger.window.clone()].to_owned(),
        shown: Some(trigger.marked(work, text)?),
        window: None,
    })
}

fn attribute_ask(work: &Work<'_>, text: &str, trigger: &Trigger<'_>, attribute: &Attribute) -> Result<ChoiceAsk> {
    let prompts = &work.engine.prompts;
    let mut labels: Vec<String> = attribute.values.iter().map(|value| value.name.clone()).collect();
    let mut texts: Vec<String> = attribute.values.iter().map(|value| value.option_text()).collect();
    if !attribute.required {
        labels.push(NONE.to_owned());
        texts.push(prompts.none_option(Wording::Attribute, json!({"attribute": attribute.label}))?);
    }
    let variables = |spelled: &str| {
        let mut variables = trigger.variables(spelled);
        variables["attribute"] = json!(attribute.label);
        variables
    };
    let nothing = prompts.content_free();
    Ok(ChoiceAsk {
        purpose: "attribute",
        wording: Wording::Attribute,
        labels,
        texts,
        content: Content {
            variables: variables(&text[trigger.found.place.range.clone()]),
            text: Some(trigger.marked(work, text)?),
        },
        blank: Content { variables: variables(nothing), text: Some(nothing.to_owned()) },
    })
}

fn answer(work: &Work<'_>, document: &Document, reading: Reading<'_>, parts: Vec<Parts>) -> Result<EventsAnswer> {
    let units = Units::new(&document.text, work.run.unit);
    let Reading { triggers, labels, mut prompts } = reading;
    let mut events = Vec::with_capacity(triggers.len());
    for (trigger, parts) in triggers.into_iter().zip(parts) {
        let span = units.span(&trigger.event.label.name, &trigger.found)?;
        let mut event = EventAnswer { trigger: span, arguments: Vec::new(), attributes: Vec::new() };
        if let Some(found) = parts.arguments.transpose()? {
            event.arguments = arguments(&units, found.labels, trigger.window.start)?;
            prompts.extend(found.prompts);
        }
        for (attribute, chosen) in trigger.event.attributes.iter().zip(parts.attributes) {
            let (choice, shown) = chosen?;
            event.attributes.push(AttributeAnswer { name: attribute.label.name.clone(), choice });
            prompts.extend(shown);
        }
        events.push(event);
    }
    Ok(EventsAnswer {
        id: document.id.clone(),
        status: Status::Ok,
        unit: work.run.unit,
        events,
        labels,
        provenance: work.setting.provenance.clone(),
        prompts,
    })
}

/// Argument spans of a window as spans of the document.
fn arguments(units: &Units<'_>, labels: Vec<FoundLabel>, window: usize) -> Result<Vec<Span>> {
    let mut spans = Vec::new();
    for mut label in labels {
        for place in label.spans.iter_mut().flat_map(|span| span.places.iter_mut().chain([&mut span.place])) {
            place.range = place.range.start + window..place.range.end + window;
        }
        spans.extend(units.spans(&label)?);
    }
    Ok(spans)
}
