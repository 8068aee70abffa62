//! The seven verbs: documents and flags into typed requests, typed answers into result lines.

mod choices;
mod definition;
mod spans;

pub use choices::{AnswerTask, ClassifyTask, EntailTask, SimilarTask};
pub use definition::Definition;
pub use spans::{EventsTask, ExtractTask, RelateTask};

use crate::args::{ChoiceArgs, ModelArgs, Run, SpanArgs, TemplateName, Unit};
use crate::batch::{self, Verb};
use crate::input::{Broken, Document, Input};
use crate::opening::OpeningView;
use crate::results::Results;
use crate::stop::{Result, Stop};
use biomistral_nlu::task::{
    Boundary, ChoiceRules, ChoiceStyle, Engine, EngineOptions, Mentions, RunOptions, Session, SpanPolicy, Template,
    Window,
};
use biomistral_nlu::text::OffsetUnit;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

/// Name under which `--adapter` is loaded.
pub const ADAPTER: &str = "adapter";

/// Answers of one batch.
pub type Answers<A> = biomistral_nlu::Result<Vec<biomistral_nlu::Result<A>>>;

/// What differs between the verbs.
pub trait Task {
    /// What is asked.
    type Request: Serialize;
    /// What it is asked about.
    type Item: Clone;
    /// What comes out.
    type Answer: Serialize;

    /// What the flags and the schema ask, where they suffice without a document.
    fn request(&self) -> Option<Self::Request>;
    /// What is asked of this document; `None` where it brings nothing of its own and the flags decide.
    fn own_request(&self, document: &Document) -> std::result::Result<Option<Self::Request>, String>;
    /// The document as the engine takes it. Ids are kept by the caller.
    fn item(&self, document: &Document) -> std::result::Result<Self::Item, String>;
    /// Asks.
    fn ask(
        session: &mut Session,
        items: &[Self::Item],
        request: &Self::Request,
        run: &RunOptions<'_>,
    ) -> Answers<Self::Answer>;
    /// What to give where neither flags nor document say what is asked.
    fn missing(&self) -> &'static str;
}

/// A verb at work.
struct Worker<T: Task> {
    task: T,
    request: Option<T::Request>,
    session: Session,
    options: RunOptions<'static>,
    with_text: bool,
}

/// A document with its question.
struct Ready<T: Task> {
    item: T::Item,
    /// The document's own request, and its JSON: documents that ask the same are asked together.
    own: Option<(String, T::Request)>,
}

/// Loads the model and runs a verb over all documents.
pub fn run<T: Task>(task: T, model: &ModelArgs, run: &Run) -> Result<()> {
    // Mistakes that need no model are told before one is loaded.
    let mut input = Input::new(&run.inputs, run.format)?;
    let request = task.request();
    if request.is_none() {
        // Then every document has to say what is asked: a first one that has only a text shows that they do not.
        let silent = match input.peek()? {
            Some(Ok(document)) => document.fields.keys().all(|name| name == "id" || name == "text"),
            Some(Err(_)) => false,
            None => true,
        };
        if silent {
            return Err(Stop::usage(task.missing()));
        }
    }
    let engine = open(model, run.template, run.quiet)?;
    let mut session = engine.session()?;
    let options = RunOptions {
        unit: unit(run.unit),
        adapter: model.adapter.as_ref().filter(|_| !model.merge).map(|_| ADAPTER.to_owned()),
        template: run.template.map(Template::from),
        window: run.window.map(|tokens| Window { tokens: (tokens > 0).then_some(tokens), ..Window::default() }),
        show_prompt: run.show_prompt,
        batch: usize::from(run.batch),
        ..RunOptions::default()
    };
    if let Some(request) = &request {
        T::ask(&mut session, &[], request, &options).map_err(|e| Stop::usage(e.to_string()))?;
    }
    let outputs = Results::open(run)?;
    let stop = batch::interrupt_flag()?;
    let mut worker = Worker { task, request, session, options, with_text: run.with_text };
    batch::run(run, input, outputs, &mut worker, &stop)
}

/// The engine that the model flags describe.
pub fn open(model: &ModelArgs, template: Option<TemplateName>, quiet: bool) -> Result<Arc<Engine>> {
    let mut options = EngineOptions {
        model: model.model.clone(),
        device: model.device,
        threads: model.threads.map(usize::from),
        context: model.context,
        weights: model.weights,
        wipe: model.wipe,
        template: template.map(Template::from),
        ..EngineOptions::default()
    };
    match &model.adapter {
        Some(adapter) if model.merge => options.merge = Some(adapter.clone()),
        Some(adapter) => drop(options.adapters.insert(ADAPTER.to_owned(), adapter.clone())),
        None => {}
    }
    let mut view = OpeningView::new(quiet);
    Ok(Arc::new(Engine::open_with(&options, &mut |opening| view.tell(&opening))?))
}

impl<T: Task> Verb for Worker<T> {
    type Ready = Ready<T>;

    fn ready(&self, document: &Document) -> std::result::Result<Ready<T>, String> {
        let own = self.task.own_request(document).map_err(|why| unquoted(&why))?;
        if own.is_none() && self.request.is_none() {
            return Err(self.task.missing().to_owned());
        }
        let own = own.map(|request| serde_json::to_string(&request).map(|key| (key, request)));
        Ok(Ready { item: self.task.item(document)?, own: own.transpose().map_err(|e| format!("request: {e}"))? })
    }

    fn answer(&mut self, documents: &[(&Document, &Ready<T>)]) -> Vec<std::result::Result<String, Broken>> {
        let mut lines: Vec<Option<std::result::Result<String, Broken>>> = documents.iter().map(|_| None).collect();
        let key = |i: usize| documents[i].1.own.as_ref().map(|(key, _)| key.as_str());
        let mut left: Vec<usize> = (0..documents.len()).collect();
        while let Some(&first) = left.first() {
            let group: Vec<usize> = left.iter().copied().filter(|i| key(*i) == key(first)).collect();
            left.retain(|i| !group.contains(i));
            let own = documents[first].1.own.as_ref().map(|(_, request)| request);
            let Some(request) = own.or(self.request.as_ref()) else { continue };
            let items: Vec<T::Item> = group.iter().map(|i| documents[*i].1.item.clone()).collect();
            let mut answers = match T::ask(&mut self.session, &items, request, &self.options) {
                Ok(answers) => answers.into_iter().map(|a| a.map_err(|e| (e.code(), e.to_string()))).collect(),
                Err(e) => group.iter().map(|_| Err((e.code(), unquoted(&e.to_string())))).collect::<Vec<_>>(),
            };
            for i in group.into_iter().rev() {
                let document = documents[i].0;
                let answer = answers.pop().unwrap_or_else(|| Err((100, "the engine gave no answer".to_owned())));
                let line = answer.and_then(|answer| self.line(document, &answer).map_err(|why| (100, why)));
                lines[i] = Some(line.map_err(|(code, why)| document.broken(code, why)));
            }
        }
        let none = |document: &Document| Err(document.broken(100, "the engine gave no answer"));
        lines.into_iter().zip(documents).map(|(line, (d, _))| line.unwrap_or_else(|| none(d))).collect()
    }
}

impl<T: Task> Worker<T> {
    /// The answer as a line, with the id as the document gave it and, if asked for, the texts.
    fn line(&self, document: &Document, answer: &T::Answer) -> std::result::Result<String, String> {
        let json = |e: serde_json::Error| format!("answer as JSON: {e}");
        let line = serde_json::to_string(answer).map_err(json)?;
        // The engine's id is a string and was left empty; the caller's may be a number.
        let Some(rest) = line.strip_prefix(r#"{"id":"","#) else {
            return Err("answer as JSON: expected the id first".to_owned());
        };
        let mut line = format!("{{\"id\":{},{rest}", document.id);
        if self.with_text {
            let texts: serde_json::Map<String, Value> = ["question", "premise", "hypothesis", "text", "text1", "text2"]
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), document.fields.get(*name)?.clone())))
                .collect();
            line.pop();
            line.push_str(&format!(",\"input\":{}}}", Value::Object(texts)));
        }
        Ok(line)
    }
}

/// An error about what a document brought along, without the words it quotes.
fn unquoted(why: &str) -> String {
    let (mut out, mut quoted, mut escaped) = (String::new(), false, false);
    for c in why.chars() {
        match c {
            '"' if !escaped => {
                quoted = !quoted;
                out.push_str(if quoted { "\"…" } else { "\"" });
            }
            c if !quoted => out.push(c),
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    out
}

fn unit(unit: Unit) -> OffsetUnit {
    match unit {
        Unit::Byte => OffsetUnit::Byte,
        Unit::Codepoint => OffsetUnit::CodePoint,
        Unit::Utf16 => OffsetUnit::Utf16,
    }
}

fn span_policy(args: &SpanArgs) -> SpanPolicy {
    let default = SpanPolicy::default();
    SpanPolicy {
        boundary: if args.inside_words { Boundary::Char } else { Boundary::Word },
        max_words: args.max_words.or(default.max_words),
        max_spans: args.max_spans.or(default.max_spans),
        no_overlap: args.no_overlap,
        ..default
    }
}

pub fn choice_rules(args: &ChoiceArgs) -> ChoiceRules {
    let style = if args.letters { ChoiceStyle::Letter } else { ChoiceStyle::Full };
    ChoiceRules { style, permute: args.permute, calibrate: args.calibrate }
}

fn mentions(all: bool) -> Mentions {
    if all { Mentions::All } else { Mentions::First }
}

#[cfg(test)]
mod tests {
    use super::unquoted;

    #[test]
    fn quoted_words_do_not_leave() {
        assert_eq!(unquoted(r#"labels[0].name: found "a \"secret\" name" twice"#), "labels[0].name: found \"…\" twice");
        assert_eq!(unquoted(r#"found "\\" and "x""#), "found \"…\" and \"…\"");
        assert_eq!(unquoted("nothing quoted"), "nothing quoted");
    }
}
