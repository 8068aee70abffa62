//! One record: the message that inference would send, and the answer it would have to give.

use crate::{Error, Result};
use biomistral_nlu::decode::{Constraint, SpanCache, SpanGrammar, SpanPolicy};
use biomistral_nlu::random::{mix, uniform};
use biomistral_nlu::task::{Frame, Prompts, Wording};
use biomistral_nlu::text::{ChatTemplate, Tokenizer};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// A record before it is counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Its id.
    pub id: String,
    /// What is asked.
    pub message: String,
    /// What is to be answered.
    pub answer: String,
    /// Texts of a choice's options.
    pub options: Vec<String>,
    /// The text that spans are copied from, and the labels: what the answer's grammar is made of.
    pub spans: Option<(String, Vec<String>)>,
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    task: &'a str,
    corpus: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    options: String,
    messages: [Said<'a>; 2],
}

#[derive(Serialize)]
struct Said<'a> {
    role: &'a str,
    content: &'a str,
}

/// An instruction in one of its wordings.
pub struct Asking<'p> {
    /// The data file.
    pub prompts: &'p Prompts,
    /// The instruction.
    pub wording: Wording,
    /// Number of the wording; inference's is 0.
    pub phrasing: usize,
}

impl Asking<'_> {
    fn message(&self, variables: Value, text: Option<&str>) -> Result<String> {
        let instruct = self.prompts.instruct_as(self.wording, self.phrasing, variables)?;
        self.prompts.message(&instruct, text)
    }
}

impl Draft {
    /// A choice: options lettered in the order given, the answer the whole of one. `variables` are the wording's own.
    pub fn choice(
        asking: &Asking<'_>,
        id: String,
        mut variables: Value,
        text: Option<&str>,
        options: Vec<String>,
        answer: usize,
    ) -> Result<Self> {
        let shown = options.iter().enumerate().map(|(i, option)| asking.prompts.option(i, option));
        let shown = shown.collect::<Result<Vec<_>>>()?;
        let answer = shown.get(answer).cloned().ok_or_else(|| Error::invalid("an answer that is no option"))?;
        variables["options"] = json!(shown);
        let message = asking.message(variables, text)?;
        Ok(Draft { id, message, answer, options, spans: None })
    }

    /// Spans: a line per label. `shown` is the text of the prompt where it has marks that the spans' own text has not.
    pub fn spans(
        asking: &Asking<'_>,
        id: String,
        mut variables: Value,
        source: &str,
        shown: Option<&str>,
        lines: &[(String, Option<String>, Vec<&str>)],
    ) -> Result<Self> {
        let label = |(name, description, _): &(String, Option<String>, Vec<&str>)| match description {
            None => json!({"name": name}),
            Some(description) => json!({"name": name, "description": description}),
        };
        variables["labels"] = lines.iter().map(label).collect();
        let message = asking.message(variables, Some(shown.unwrap_or(source)))?;
        let answer: Vec<String> = lines.iter().map(|(name, _, spans)| asking.prompts.span_line(name, spans)).collect();
        let labels = lines.iter().map(|(name, ..)| name.clone()).collect();
        Ok(Draft {
            id,
            message,
            answer: answer.join("\n"),
            options: Vec::new(),
            spans: Some((source.to_owned(), labels)),
        })
    }

    /// The line of a file.
    pub fn line(&self, task: &str, corpus: &str) -> Result<String> {
        let user = Said { role: "user", content: &self.message };
        let assistant = Said { role: "assistant", content: &self.answer };
        // The reference system's files join options so.
        let options = self.options.join("[SEP]");
        let line = Line { id: &self.id, task, corpus, options, messages: [user, assistant] };
        serde_json::to_string(&line).map_err(|e| Error::internal(format!("a record as JSON: {e}")))
    }
}

/// Counts a record's tokens and checks that decoding could give its answer.
pub(crate) struct Checker {
    tokenizer: Arc<Tokenizer>,
    frame: Frame,
    spans: Arc<SpanCache>,
}

impl Checker {
    pub fn new(tokenizer: Tokenizer) -> Result<Self> {
        let tokenizer = Arc::new(tokenizer);
        let frame = Frame::new(ChatTemplate::zephyr(), &tokenizer)?;
        Ok(Checker { spans: SpanCache::new(tokenizer.clone()), tokenizer, frame })
    }

    /// Tokens of the prompt and of the answer with its end; `None` where the answer is none that decoding could give.
    pub fn count(&self, draft: &Draft) -> Result<Option<(usize, usize)>> {
        let prompt = self.frame.prompt(&self.tokenizer, &draft.message)?;
        let mut answer = prompt.encode_answer(&self.tokenizer, &draft.answer)?;
        answer.push(self.frame.terminator());
        if let Some((text, labels)) = &draft.spans {
            let (policy, terminator) = (SpanPolicy::default(), self.frame.terminator());
            let mut grammar = SpanGrammar::over(&self.spans, text, labels, &policy, terminator, &prompt.before)?;
            let mut state = Some(grammar.start());
            for &token in &answer {
                state = state.and_then(|state| grammar.advance(state, token));
            }
            if state.is_none() {
                return Ok(None);
            }
        }
        Ok(Some((prompt.ids.len(), answer.len())))
    }

    pub fn tokenizer_hash(&self) -> &str {
        self.tokenizer.hash()
    }
}

/// Random numbers of one record: by its key alone, in the order asked.
pub(crate) struct Dice {
    key: u64,
    asked: usize,
}

impl Dice {
    /// Of a name under a seed.
    pub fn new(seed: u64, name: &str) -> Self {
        Dice { key: name.bytes().fold(mix(seed), |key, byte| mix(key ^ u64::from(byte))), asked: 0 }
    }

    /// Below `n`, all alike; 0 where `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.asked += 1;
        ((u64::from(uniform(self.key, self.asked)) * n as u64) >> 32) as usize
    }

    /// True in this share of cases.
    pub fn chance(&mut self, share: f64) -> bool {
        self.asked += 1;
        f64::from(uniform(self.key, self.asked)) < share * 4_294_967_296.0
    }

    /// In a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}
