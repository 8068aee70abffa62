//! Result lines as cards that can be shown; what a line does not hold is not shown.

use super::marks::{Mark, locate};
use biomistral_nlu::text::{OffsetMap, OffsetUnit};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Texts of the documents, by the JSON of their id.
pub type Texts = HashMap<String, Map<String, Value>>;

/// All that is shown.
#[derive(Default)]
pub struct Page {
    /// One per result line.
    pub cards: Vec<Card>,
    /// Span labels in the order met: the legend.
    pub legend: Vec<String>,
    /// Provenance fields that all results share.
    pub provenance: Vec<(String, String)>,
}

/// One result.
#[derive(Default)]
pub struct Card {
    /// The document's id.
    pub id: String,
    /// Name of what was asked.
    pub task: &'static str,
    /// Input texts by name, the marked one left out.
    pub inputs: Vec<(&'static str, String)>,
    /// The text that spans refer to.
    pub text: Option<String>,
    /// Spans over `text`.
    pub marks: Vec<Mark>,
    /// Rows of the table of spans.
    pub spans: Vec<SpanRow>,
    /// Unit of the offsets shown.
    pub unit: String,
    /// Posteriors.
    pub choices: Vec<Choice>,
    /// Lines such as `head → relation → tail`.
    pub facts: Vec<Fact>,
    /// Single figures.
    pub figures: Vec<(&'static str, String)>,
    /// Why there is no answer, or what could not be shown.
    pub warnings: Vec<String>,
}

/// A span as listed below the text.
pub struct SpanRow {
    /// Index in the legend.
    pub label: usize,
    /// The span.
    pub text: String,
    /// Offsets as the result gives them.
    pub place: String,
    /// Log-probability.
    pub logprob: Option<f64>,
}

/// A posterior over options.
pub struct Choice {
    /// What was chosen for, empty where the card says it.
    pub name: String,
    /// Option and probability.
    pub options: Vec<(String, f64)>,
    /// Options that are the answer.
    pub answers: Vec<String>,
    /// Probability of everything else.
    pub outside: Option<f64>,
}

/// A relation between two mentions, or an event with one argument or attribute.
pub struct Fact {
    /// Text and legend index of the first mention.
    pub head: (String, usize),
    /// What connects or describes.
    pub link: String,
    /// The second mention.
    pub tail: Option<(String, usize)>,
    /// Its probability.
    pub probability: Option<f64>,
}

impl Page {
    /// Adds one result line; `texts` serves results that carry no input of their own.
    pub fn add(&mut self, line: &Map<String, Value>, texts: &Texts) {
        let id = line.get("id").cloned().unwrap_or(Value::Null);
        let mut card = Card { id: show(&id), task: task_of(line), ..Card::default() };
        if str_of(line, "status") == Some("error") {
            card.task = "failed";
            card.warnings.push(str_of(line, "error").unwrap_or("no reason given").to_owned());
        }
        let empty = Map::new();
        let input =
            line.get("input").and_then(Value::as_object).or_else(|| texts.get(&id.to_string())).unwrap_or(&empty);
        card.unit = str_of(line, "unit").unwrap_or("codepoint").to_owned();
        let marked = line.contains_key("unit");
        for name in ["question", "premise", "hypothesis", "text", "text2"] {
            if let Some(text) = str_of(input, name) {
                match name {
                    "text" if marked => card.text = Some(text.to_owned()),
                    _ => card.inputs.push((name, text.to_owned())),
                }
            }
        }
        self.spans(line, &mut card);
        self.events(line, &mut card);
        self.relations(line, &mut card);
        card.choices.extend(choice(line, String::new()));
        if let Some(expected) = line.get("expected").and_then(Value::as_f64) {
            card.figures.push(("expected score", format!("{expected:.2}")));
        }
        if card.text.is_none() && marked {
            card.warnings
                .push("The text is not here: give it with --input, or make results with --with-text.".to_owned());
        }
        if let Some(provenance) = line.get("provenance").and_then(Value::as_object) {
            let fields = provenance.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), show(v)));
            for field in fields.filter(|(k, _)| k != "schema") {
                if !self.provenance.contains(&field) {
                    self.provenance.push(field);
                }
            }
        }
        self.cards.push(card);
    }

    fn spans(&mut self, line: &Map<String, Value>, card: &mut Card) {
        for name in ["spans", "entities"] {
            for span in objects(line, name) {
                let label = str_of(span, "label").unwrap_or("").to_owned();
                self.span(card, span, label);
            }
        }
    }

    /// Lists one span and marks all its places.
    fn span(&mut self, card: &mut Card, span: &Map<String, Value>, label: String) -> usize {
        let label = self.label(label);
        let text = str_of(span, "text").unwrap_or("").to_owned();
        let own = [span.clone()];
        let places: Vec<&Map<String, Value>> = match objects(span, "occurrences") {
            list if list.is_empty() => own.iter().collect(),
            list => list,
        };
        let logprob = span.get("logprob").and_then(Value::as_f64);
        let map = card.text.as_deref().map(OffsetMap::new);
        let mut shown = Vec::new();
        for place in places {
            let (Some(start), Some(end)) = (number(place, "start"), number(place, "end")) else { continue };
            shown.push(format!("{start}–{end}"));
            let (Some(document), Some(map)) = (&card.text, &map) else { continue };
            let unit = match card.unit.as_str() {
                "byte" => OffsetUnit::Byte,
                "utf16" => OffsetUnit::Utf16,
                _ => OffsetUnit::CodePoint,
            };
            match locate(document, map, unit, start, end, Some(&text).filter(|t| !t.is_empty()).map(|t| t.as_str())) {
                Some((from, to)) => {
                    let mut tip = format!("{} · {} {start}–{end}", self.legend[label], card.unit);
                    if let Some(l) = logprob {
                        tip.push_str(&format!(" · log-probability {l:.3} (p {:.3})", l.exp()));
                    }
                    let mark = Mark { start: from, end: to, label, tip };
                    if !card.marks.iter().any(|m| (m.start, m.end, m.label) == (from, to, label)) {
                        card.marks.push(mark);
                    }
                }
                None => card.warnings.push(format!("The span at {start}–{end} is not what stands there in the text.")),
            }
        }
        card.spans.push(SpanRow { label, text, place: shown.join(", "), logprob });
        label
    }

    fn events(&mut self, line: &Map<String, Value>, card: &mut Card) {
        for event in objects(line, "events") {
            let Some(trigger) = event.get("trigger").and_then(Value::as_object) else { continue };
            let head_label = self.span(card, trigger, str_of(trigger, "label").unwrap_or("").to_owned());
            let head = (str_of(trigger, "text").unwrap_or("").to_owned(), head_label);
            for argument in objects(event, "arguments") {
                let name = str_of(argument, "label").unwrap_or("").to_owned();
                let tail_label = self.span(card, argument, name.clone());
                let tail = (str_of(argument, "text").unwrap_or("").to_owned(), tail_label);
                card.facts.push(Fact { head: head.clone(), link: name, tail: Some(tail), probability: None });
            }
            for attribute in objects(event, "attributes") {
                let name = str_of(attribute, "name").unwrap_or("");
                card.choices.extend(choice(attribute, format!("{} · {name}", head.0)));
            }
            if event.get("arguments").and_then(Value::as_array).is_none_or(Vec::is_empty) {
                card.facts.push(Fact { head, link: "no arguments".to_owned(), tail: None, probability: None });
            }
        }
    }

    fn relations(&mut self, line: &Map<String, Value>, card: &mut Card) {
        let entities = objects(line, "entities");
        for pair in objects(line, "pairs") {
            let side = |name: &str| -> Option<(String, String)> {
                let entity = entities.get(number(pair, name)?)?;
                Some((str_of(entity, "text")?.to_owned(), str_of(entity, "label")?.to_owned()))
            };
            let (Some(head), Some(tail)) = (side("head"), side("tail")) else { continue };
            let Some(choice) = choice(pair, String::new()) else { continue };
            let answer = choice.answers.first().cloned().unwrap_or_default();
            let probability = choice.options.iter().find(|(o, _)| *o == answer).map(|(_, p)| *p);
            let (head, tail) = ((head.0, self.label(head.1)), (tail.0, self.label(tail.1)));
            card.facts.push(Fact { head, link: answer, tail: Some(tail), probability });
        }
    }

    fn label(&mut self, name: String) -> usize {
        self.legend.iter().position(|l| *l == name).unwrap_or_else(|| {
            self.legend.push(name);
            self.legend.len() - 1
        })
    }
}

fn choice(of: &Map<String, Value>, name: String) -> Option<Choice> {
    let options: Vec<(String, f64)> = objects(of, "options")
        .into_iter()
        .filter_map(|o| Some((show(o.get("label")?), o.get("probability")?.as_f64()?)))
        .collect();
    let answers = match of.get("answer") {
        Some(Value::Array(list)) => list.iter().map(show).collect(),
        Some(Value::Null) | None => Vec::new(),
        Some(one) => vec![show(one)],
    };
    let outside = of.get("outside_mass").and_then(Value::as_f64);
    (!options.is_empty()).then_some(Choice { name, options, answers, outside })
}

fn task_of(line: &Map<String, Value>) -> &'static str {
    match line {
        l if l.contains_key("spans") => "entities",
        l if l.contains_key("events") => "events",
        l if l.contains_key("pairs") => "relations",
        l if l.contains_key("expected") => "similarity",
        l if l.get("answer").is_some_and(Value::is_array) => "classes",
        l if l.contains_key("options") => "choice",
        _ => "result",
    }
}

fn objects<'a>(of: &'a Map<String, Value>, name: &str) -> Vec<&'a Map<String, Value>> {
    of.get(name).and_then(Value::as_array).map_or(Vec::new(), |list| list.iter().filter_map(Value::as_object).collect())
}

fn str_of<'a>(of: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    of.get(name).and_then(Value::as_str)
}

fn number(of: &Map<String, Value>, name: &str) -> Option<usize> {
    of.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok())
}

fn show(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}
