//! Task metrics: validation records answered by the engine's own decoding, exact choices and verbatim spans.
//!
//! A record is a **choice** where its question lists options in lines `(A) ...` and its answer is one of them, and asks for
//! **spans** where its question ends in `Medical text:` and a text, and its answer has lines `label: span ... span` or
//! `label: None`, the formats of the reference system. Others have a loss only.

use crate::data::Example;
use crate::{Error, Result};
use biomistral_nlu::decode::{ChoiceRequest, Decoder, Generation, SpanCache, SpanGrammar, SpanPolicy};
use biomistral_nlu::model::AdapterId;
use biomistral_nlu::text::Tokenizer;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What stands before the text in a question for spans.
const TEXT: &str = "\nMedical text:";
/// What stands between two spans of a line.
const SEPARATOR: &str = "...";

/// What is asked of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// One of the options, each as it would be answered; which one is right.
    Choice {
        /// Options as the prompt spells them.
        options: Vec<String>,
        /// Index of the right one.
        right: usize,
    },
    /// The spans of each label.
    Spans {
        /// Where they are found.
        text: String,
        /// Labels and their spans.
        gold: Vec<(String, Vec<String>)>,
    },
}

impl Ask {
    /// What the last message before `answer` asks for, where that can be told.
    pub fn read(question: &str, answer: &str) -> Option<Ask> {
        let option = |(i, line): (usize, &str)| {
            let letter = char::from(b'A' + u8::try_from(i).ok().filter(|i| *i < 26)?);
            line.trim().strip_prefix(&format!("({letter}) ")).map(|_| line.trim().to_string())
        };
        let first = question.lines().position(|line| line.trim().starts_with("(A) "));
        let options: Vec<String> = match first {
            Some(first) => question.lines().skip(first).enumerate().map_while(option).collect(),
            None => Vec::new(),
        };
        if let Some(right) = options.iter().position(|option| option == answer.trim()) {
            return Some(Ask::Choice { options, right });
        }
        let (_, text) = question.split_once(TEXT)?;
        let line = |line: &str| {
            let (label, spans) = line.split_once(':')?;
            let spans = match spans.trim() {
                "None" => Vec::new(),
                spans => spans.split(SEPARATOR).map(|span| span.trim().to_string()).collect(),
            };
            Some((label.to_string(), spans))
        };
        let gold = answer.lines().map(line).collect::<Option<Vec<_>>>().filter(|gold| !gold.is_empty())?;
        Some(Ask::Spans { text: text.to_string(), gold })
    }
}

/// Right, wrong and missed answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Score {
    /// Choices made, and right ones.
    pub choices: (usize, usize),
    /// Spans given, wanted, and both.
    pub spans: (usize, usize, usize),
}

impl Score {
    fn add(&mut self, other: Score) {
        self.choices = (self.choices.0 + other.choices.0, self.choices.1 + other.choices.1);
        let (a, b) = (self.spans, other.spans);
        self.spans = (a.0 + b.0, a.1 + b.1, a.2 + b.2);
    }

    /// Share of the choices that are right.
    pub fn accuracy(&self) -> Option<f64> {
        (self.choices.0 > 0).then(|| self.choices.1 as f64 / self.choices.0 as f64)
    }

    /// Micro F1 of the spans, each compared as lower-cased text, as the reference system does.
    pub fn f1(&self) -> Option<f64> {
        let (given, wanted, both) = self.spans;
        (given + wanted > 0).then(|| 2.0 * both as f64 / (given + wanted) as f64)
    }

    /// As it stands in the metrics file.
    pub fn json(&self) -> Value {
        json!({"accuracy": self.accuracy(), "f1": self.f1()})
    }
}

/// Texts that two bags have in common.
fn common(given: &[String], wanted: &[String]) -> usize {
    let mut left: Vec<String> = wanted.iter().map(|span| span.to_lowercase()).collect();
    let found = |span: &&String| match left.iter().position(|other| *other == span.to_lowercase()) {
        Some(at) => {
            left.swap_remove(at);
            true
        }
        None => false,
    };
    given.iter().filter(found).count()
}

/// Asks what `examples` ask, each framed with the text `before` its answer, and scores the answers, all together under "" and
/// by group. An answer that does not fit into the decoder's context is a wrong one.
pub fn score(
    decoder: &mut Decoder,
    tokenizer: &Arc<Tokenizer>,
    terminator: u32,
    adapter: Option<AdapterId>,
    examples: &[&Example],
) -> Result<BTreeMap<String, Score>> {
    let cache = SpanCache::new(tokenizer.clone());
    let mut scores: BTreeMap<String, Score> = BTreeMap::new();
    for example in examples {
        let Some(question) = &example.question else { continue };
        let prompt = &example.tokens[..question.prompt];
        let score = match &question.ask {
            Ask::Choice { options, right } => {
                let choices: Vec<Vec<u32>> = options
                    .iter()
                    .map(|option| {
                        let ids = match question.before.as_str() {
                            "" => tokenizer.encode(option),
                            before => tokenizer.encode_after(before, option),
                        };
                        Ok([ids?, vec![terminator]].concat())
                    })
                    .collect::<Result<_>>()?;
                let request = ChoiceRequest { prompt, shared: 0, adapter, choices: &choices };
                let best = fitting(decoder.choose(&[request]).pop())?.map(|posterior| {
                    let p = &posterior.probabilities;
                    (0..p.len()).fold(0, |best, i| if p[i] > p[best] { i } else { best })
                });
                Score { choices: (1, usize::from(best == Some(*right))), spans: (0, 0, 0) }
            }
            Ask::Spans { text, gold } => {
                let labels: Vec<String> = gold.iter().map(|(label, _)| label.clone()).collect();
                let policy = SpanPolicy::default();
                let mut grammar = SpanGrammar::over(&cache, text, &labels, &policy, terminator, &question.before)?;
                let request = Generation { prompt, shared: 0, adapter, constraint: &mut grammar };
                let answer = fitting(decoder.generate(&mut [request]).pop())?;
                let lines = answer.map_or(Ok(Vec::new()), |answer| grammar.read(&answer.tokens))?;
                let mut spans = (0, gold.iter().map(|(_, spans)| spans.len()).sum(), 0);
                for line in lines {
                    let given: Vec<String> =
                        line.spans.iter().map(|span| text[span.range.clone()].to_string()).collect();
                    spans.0 += given.len();
                    spans.2 += common(&given, &gold[line.label].1);
                }
                Score { choices: (0, 0), spans }
            }
        };
        scores.entry(example.group.clone()).or_default().add(score);
        scores.entry(String::new()).or_default().add(score);
    }
    Ok(scores)
}

/// Nothing where the context is too short.
fn fitting<T>(answer: Option<Result<T>>) -> Result<Option<T>> {
    match answer {
        Some(Ok(answer)) => Ok(Some(answer)),
        Some(Err(Error::TooLong { .. })) | None => Ok(None),
        Some(Err(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_told_apart_by_their_format() {
        let options = ["(A) current smoker", "(B) never"].map(String::from).to_vec();
        let question = "Smoking?\nNote: (A) is no option here.\n(A) current smoker\n (B) never\nAnswer:";
        let choice = Ask::read(question, "(B) never");
        assert_eq!(choice, Some(Ask::Choice { options, right: 1 }));
        assert_eq!(Ask::read(question, "(C) none"), None);
        let question = "Find.\nMedical text:Aspirin: 5 mg ... daily";
        let gold =
            vec![("Drug".to_string(), vec!["Aspirin".to_string(), "5 mg".to_string()]), ("Route".into(), vec![])];
        assert_eq!(
            Ask::read(question, "Drug: Aspirin ... 5 mg\nRoute: None"),
            Some(Ask::Spans { text: "Aspirin: 5 mg ... daily".into(), gold })
        );
        assert_eq!(Ask::read(question, "no labels"), None);
        assert_eq!(Ask::read("Summarise.", "Drug: Aspirin"), None);
    }

    #[test]
    fn spans_are_compared_as_bags_of_lower_case() {
        let bag = |spans: &[&str]| spans.iter().map(|span| span.to_string()).collect::<Vec<_>>();
        assert_eq!(common(&bag(&["Aspirin", "aspirin", "x"]), &bag(&["ASPIRIN", "y"])), 1);
        let score = Score { choices: (4, 3), spans: (3, 2, 1) };
        assert_eq!((score.accuracy(), score.f1()), (Some(0.75), Some(0.4)));
        assert_eq!((Score::default().accuracy(), Score::default().f1()), (None, None));
    }
}
