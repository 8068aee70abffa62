//! Items answered by the engine's tasks.

use crate::config::{SetPlan, TaskPlan};
use crate::line::{Answer, Line, OptionLine, Place, SpanLine};
use crate::load::{Item, NONE, Subject};
use crate::metrics::word_counts;
use crate::{Error, Gold, Result};
use biomistral_nlu::task::{
    AnswerRequest, Choice, ChoiceRules, ClassifyAnswer, ClassifyRequest, Document, EntailRequest, ExtractAnswer,
    ExtractRequest, Inference, OffsetUnit, OptionScore, Question, RelateAnswer, RelateDocument, RelateRequest,
    RunOptions, Session, SimilarRequest, Span, TextPair, Window,
};
use std::collections::BTreeMap;
use std::time::Instant;

/// How a set is asked: its plan, and the run's options. Offsets are code points whatever the options say.
pub struct Setting<'s> {
    /// The set.
    pub plan: &'s SetPlan,
    /// Adapter, template, examples, batch.
    pub run: RunOptions<'s>,
    /// How options are scored.
    pub choice: ChoiceRules,
}

/// Answers items of the set, one line each, in order. An item that the model cannot read whole or that the engine refuses has an error
/// in the place of its answer, and counts as unanswered.
///
/// # Errors
/// What no item could be asked under, and what ended the run: [`Error::Cancelled`], a device that failed.
pub fn ask(session: &mut Session, setting: &Setting<'_>, items: &[Item]) -> Result<Vec<Line>> {
    let start = Instant::now();
    let tokenizer = session.engine().tokenizer().clone();
    let answers = answers(session, setting, items)?;
    let seconds = start.elapsed().as_secs_f64() / items.len().max(1) as f64;
    let lines = items.iter().zip(answers).map(|(item, answer)| {
        let (answer, error) = match answer {
            Ok(answer) => (Some(answer), None),
            Err(e @ (Error::TooLong { .. } | Error::Invalid { .. })) => (None, Some(e.to_string())),
            Err(e) => return Err(e),
        };
        let mut tokens = 0;
        for text in texts(&item.subject) {
            tokens += tokenizer.encode(text)?.len();
        }
        let (id, document) = (item.id.clone(), item.document.clone());
        let (gold, alternatives) = (item.gold.clone(), item.alternatives.clone());
        Ok(Line { id, document, tokens, seconds, gold, alternatives, answer, error })
    });
    lines.collect()
}

fn texts(subject: &Subject) -> Vec<&str> {
    match subject {
        Subject::Text { text, .. } | Subject::Pair { text, .. } => vec![text],
        Subject::Question(q) => q.context.iter().chain(&q.question).map(String::as_str).collect(),
        Subject::Texts(first, second) => vec![first, second],
    }
}

type Answers = Result<Vec<Result<Answer>>>;

fn answers(session: &mut Session, Setting { plan, run, choice: rules }: &Setting<'_>, items: &[Item]) -> Answers {
    let (run, rules) = (RunOptions { unit: OffsetUnit::CodePoint, ..run.clone() }, rules.clone());
    let text = |item: &Item| match &item.subject {
        Subject::Text { text, .. } => Document { id: item.id.clone(), text: text.clone() },
        _ => Document::default(),
    };
    match &plan.task {
        TaskPlan::Extract { labels, .. } => {
            let request =
                ExtractRequest { labels: labels.iter().map(|label| label.label()).collect(), ..Default::default() };
            let documents: Vec<Document> = items.iter().map(text).collect();
            let run = RunOptions { window: Some(Window::default()), ..run };
            let answers = session.extract(&documents, &request, &run)?;
            Ok(items.iter().zip(answers).map(|(item, answer)| Ok(spans(item, &answer?))).collect())
        }
        TaskPlan::Relate { relations, .. } => {
            let relations = relations.iter().map(|relation| relation.relation()).collect();
            let request = RelateRequest { relations, choice: rules, ..RelateRequest::default() };
            let document = |item: &Item| match &item.subject {
                Subject::Pair { text, mentions } => {
                    RelateDocument { id: item.id.clone(), text: text.clone(), entities: Some(mentions.to_vec()) }
                }
                _ => RelateDocument::default(),
            };
            let documents: Vec<RelateDocument> = items.iter().map(document).collect();
            let answers = session.relate(&documents, &request, &run)?;
            Ok(answers.into_iter().map(|answer| answer.map(relation)).collect())
        }
        TaskPlan::Classify { question, classes, multi } => {
            let classes = classes.iter().map(|class| class.label()).collect();
            let request = ClassifyRequest { question: question.clone(), classes, multi: *multi, choice: rules };
            let documents: Vec<Document> = items.iter().map(text).collect();
            let answers = session.classify(&documents, &request, &run)?;
            let one = |answer| match answer {
                ClassifyAnswer::Single(answer) => choice(answer.choice),
                ClassifyAnswer::Multi(answer) => Answer::Classes {
                    options: options(answer.options),
                    labels: answer.answer,
                    outside_mass: answer.outside_mass,
                },
            };
            Ok(answers.into_iter().map(|answer| answer.map(one)).collect())
        }
        TaskPlan::Answer {} => {
            let question = |item: &Item| match &item.subject {
                Subject::Question(question) => question.clone(),
                _ => Question::default(),
            };
            let questions: Vec<Question> = items.iter().map(question).collect();
            let request = AnswerRequest { choice: rules, ..AnswerRequest::default() };
            let answers = session.answer(&questions, &request, &run)?;
            Ok(answers.into_iter().map(|answer| answer.map(|answer| choice(answer.choice))).collect())
        }
        TaskPlan::Entail { labels } => {
            let options = labels.iter().map(|label| label.label().option_text()).collect();
            let request = EntailRequest { options, choice: rules };
            let pair = |item: &Item| match &item.subject {
                Subject::Texts(premise, hypothesis) => {
                    Inference { id: item.id.clone(), premise: premise.clone(), hypothesis: hypothesis.clone() }
                }
                _ => Inference::default(),
            };
            let pairs: Vec<Inference> = items.iter().map(pair).collect();
            let answers = session.entail(&pairs, &request, &run)?;
            // Options may carry descriptions; lines have names.
            let named = |mut choice: Choice| {
                let name =
                    |text: &str| labels.iter().find(|l| l.label().option_text() == *text).map(|l| l.name.clone());
                choice.answer = name(&choice.answer).unwrap_or(choice.answer);
                for option in &mut choice.options {
                    option.label = name(&option.label).unwrap_or_default();
                }
                self::choice(choice)
            };
            Ok(answers.into_iter().map(|answer| answer.map(|answer| named(answer.choice))).collect())
        }
        TaskPlan::Similar { scale: [low, high] } => {
            let request = SimilarRequest { low: *low, high: *high, choice: rules };
            let pair = |item: &Item| match &item.subject {
                Subject::Texts(a, b) => TextPair { id: item.id.clone(), text1: a.clone(), text2: b.clone() },
                _ => TextPair::default(),
            };
            let pairs: Vec<TextPair> = items.iter().map(pair).collect();
            let answers = session.similar(&pairs, &request, &run)?;
            let score = |answer: biomistral_nlu::task::SimilarAnswer| Answer::Score {
                options: options(answer.choice.options),
                score: answer.score,
                expected: answer.expected,
                outside_mass: answer.choice.outside_mass,
            };
            Ok(answers.into_iter().map(|answer| answer.map(score)).collect())
        }
    }
}

fn options(options: Vec<OptionScore>) -> Vec<OptionLine> {
    let line = |o: OptionScore| OptionLine { label: o.label, probability: o.probability, logprob: o.logprob };
    options.into_iter().map(line).collect()
}

fn choice(choice: Choice) -> Answer {
    Answer::Choice { options: options(choice.options), label: choice.answer, outside_mass: choice.outside_mass }
}

/// The answer about the pair: the way it was asked, or the other where only that is asked. Mentions at one place are no pair.
fn relation(mut answer: RelateAnswer) -> Answer {
    let forward = answer.pairs.iter().position(|pair| pair.head == 0);
    match forward.or((!answer.pairs.is_empty()).then_some(0)) {
        Some(at) => choice(answer.pairs.swap_remove(at).choice),
        None => Answer::Choice { options: Vec::new(), label: NONE.to_owned(), outside_mass: 0.0 },
    }
}

fn spans(item: &Item, answer: &ExtractAnswer) -> Answer {
    let (start, words) = match &item.subject {
        Subject::Text { start, words, .. } => (*start, words.as_slice()),
        _ => (0, &[][..]),
    };
    let mut lines = Vec::new();
    let mut none = BTreeMap::new();
    for outcome in &answer.labels {
        none.extend(outcome.none_probability.map(|probability| (outcome.label.clone(), probability)));
        let of: Vec<&Span> = answer.spans.iter().filter(|span| span.label == outcome.label).collect();
        lines.extend(places(&of).into_iter().map(|(at, (first, last), repeat)| {
            let span = of[at];
            let (label, text) = (span.label.clone(), span.text.clone());
            SpanLine {
                place: Place { label, start: start + first, end: start + last, text },
                probability: span.logprob.map_or(0.0, f64::exp),
                kept_mass: span.kept_mass.unwrap_or(0.0),
                repeat,
            }
        }));
    }
    let mut counts = BTreeMap::new();
    if let (false, Gold::Spans(gold)) = (words.is_empty(), &item.gold) {
        for outcome in &answer.labels {
            let of = |place: &&Place| place.label == outcome.label;
            let given: Vec<_> = lines.iter().map(|line| &line.place).filter(of).map(|p| (p.start, p.end)).collect();
            let gold: Vec<_> = gold.iter().filter(of).map(|place| (place.start, place.end)).collect();
            counts.insert(outcome.label.clone(), word_counts(words, &given, &gold));
        }
    }
    Answer::Spans { spans: lines, none, words: counts }
}

/// Where the spans of one label stand: all occurrences of each, but none that overlaps a longer span's; at least one per span. By span,
/// the place, and whether it is a further one.
fn places(spans: &[&Span]) -> Vec<(usize, (usize, usize), bool)> {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(spans[i].end - spans[i].start), spans[i].start));
    let mut taken: Vec<(usize, (usize, usize), bool)> = Vec::new();
    for i in order {
        let mut repeat = false;
        for place in &spans[i].occurrences {
            let place = (place.start, place.end);
            if taken.iter().all(|(_, (start, end), _)| place.1 <= *start || *end <= place.0) {
                taken.push((i, place, repeat));
                repeat = true;
            }
        }
        if !repeat {
            taken.push((i, (spans[i].start, spans[i].end), false));
        }
    }
    taken.sort_by_key(|(_, place, _)| *place);
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use biomistral_nlu::task::Occurrence;

    fn span(text: &str, starts: &[usize]) -> Span {
        let occurrences = starts.iter().map(|&start| Occurrence { start, end: start + text.len() }).collect();
        let (label, text, start, end) = ("g".to_owned(), text.to_owned(), starts[0], starts[0] + text.len());
        Span { label, text, start, end, occurrences, logprob: None, kept_mass: None }
    }

    #[test]
    fn a_string_stands_for_its_places_outside_longer_spans() {
        // "p53 protein binds p53 and p53": the first p53 is inside the longer span.
        let (long, short) = (span("p53 protein", &[0]), span("p53", &[0, 18, 26]));
        let found = places(&[&short, &long]);
        assert_eq!(found, [(1, (0, 11), false), (0, (18, 21), false), (0, (26, 29), true)]);
        // A span whose every place is inside another is still an answer.
        assert_eq!(places(&[&span("p53", &[0]), &long]).len(), 2);
    }
}
