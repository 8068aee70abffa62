//! Questions whose answer is spans: one line per label, windows merged.

use super::answer::ShownPrompt;
use super::frame::{Prompt, common_prefix};
use super::merge::merge;
use super::prompts::Wording;
use super::request::Window;
use super::schema::Label;
use super::session::Work;
use super::window;
use crate::decode::{Generated, Generation, SpanGrammar, SpanPolicy};
use crate::{Error, Result};
use serde_json::{Value, json};
use std::ops::Range;

/// A question answered by spans of `source`.
#[derive(Debug, Clone)]
pub(crate) struct SpanAsk {
    pub purpose: &'static str,
    pub wording: Wording,
    pub labels: Vec<Label>,
    /// Variables of the instruction besides the labels.
    pub variables: Value,
    /// The text that spans are copied from.
    pub source: String,
    /// The text the prompt shows where it is not the source itself (a mention marked in it).
    pub shown: Option<String>,
    /// Windows where it does not fit.
    pub window: Option<Window>,
}

/// A place of a span in the source, and the window it was found in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub range: Range<usize>,
    pub window: usize,
}

/// A span with the place it stands for, and all places of its text in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FoundSpan {
    pub place: Place,
    pub places: Vec<Place>,
    pub logprob: Option<f64>,
    pub kept_mass: Option<f64>,
}

/// The spans of one label.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FoundLabel {
    pub label: String,
    pub spans: Vec<FoundSpan>,
    pub none_probability: Option<f64>,
    pub limit_reached: bool,
}

/// The answer to a [`SpanAsk`].
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub labels: Vec<FoundLabel>,
    /// Byte ranges of the windows read; one where the text fits.
    pub windows: Vec<Range<usize>>,
    pub prompts: Vec<ShownPrompt>,
}

/// One prompt: an ask, or one window of it.
struct Piece {
    window: Range<usize>,
    prompt: Prompt,
    shared: usize,
    grammar: SpanGrammar,
}

/// Tokens that windows leave for the answer: a quarter of the context, at most these.
const ANSWER_TOKENS: usize = 512;

impl Work<'_> {
    /// The spans of every ask, in order.
    pub fn find(&mut self, asks: Vec<Result<SpanAsk>>, policy: &SpanPolicy) -> Vec<Result<Found>> {
        let mut pieces = Vec::new();
        let planned: Vec<Result<(SpanAsk, usize)>> = asks
            .into_iter()
            .map(|ask| {
                let ask = ask?;
                let parts = self.pieces(&ask, policy)?;
                let count = parts.len();
                pieces.extend(parts);
                Ok((ask, count))
            })
            .collect();
        let adapter = self.setting.adapter;
        let mut generations: Vec<Generation<'_>> = pieces
            .iter_mut()
            .map(|piece| Generation {
                prompt: &piece.prompt.ids,
                shared: piece.shared,
                adapter,
                constraint: &mut piece.grammar,
            })
            .collect();
        let generated = self.decoder.generate(&mut generations);
        let mut answered = pieces.into_iter().zip(generated);
        planned
            .into_iter()
            .map(|planned| {
                let (ask, count) = planned?;
                // All pieces of this ask are taken before the first error ends it.
                let parts: Vec<(Piece, Result<Generated>)> = answered.by_ref().take(count).collect();
                self.found(&ask, parts, policy)
            })
            .collect()
    }

    /// One piece where prompt and shortest answer fit and no smaller window is asked for, else one per window.
    fn pieces(&self, ask: &SpanAsk, policy: &SpanPolicy) -> Result<Vec<Piece>> {
        let limit = self.engine.context;
        let count = |text: &str| Ok(self.engine.tokenizer.encode(text)?.len());
        let blank = self.prompt(ask, "")?;
        let least = self.shortest_answer(&blank, ask)?;
        let whole = self.prompt(ask, ask.shown.as_ref().unwrap_or(&ask.source))?;
        let need = whole.ids.len() + least;
        let fits = need <= limit;
        let cut = match ask.window {
            None if !fits => {
                return Err(Error::TooLong { what: "the prompt with its shortest answer".into(), need, limit });
            }
            None => None,
            Some(window) => match window.tokens {
                Some(most) if count(&ask.source)? > most => Some((window, most)),
                most => (!fits).then_some((window, most.unwrap_or(limit))),
            },
        };
        let Some((window, most)) = cut else {
            return Ok(vec![self.piece(ask, 0..ask.source.len(), whole, &blank, policy)?]);
        };
        let reserve = least.max(ANSWER_TOKENS.min(limit / 4));
        let taken = blank.ids.len() + reserve;
        let mut room = limit.checked_sub(taken).filter(|&room| room > 0).unwrap_or(0).min(most);
        while room > 0 {
            let ranges = window::cut(&ask.source, room, window.overlap, &count)?;
            let mut excess = 0;
            let mut pieces = Vec::with_capacity(ranges.len());
            for range in ranges {
                let prompt = self.prompt(ask, &ask.source[range.clone()])?;
                excess = excess.max((prompt.ids.len() + reserve).saturating_sub(limit));
                pieces.push((range, prompt));
            }
            if excess == 0 {
                let pieces = pieces.into_iter();
                return pieces.map(|(range, prompt)| self.piece(ask, range, prompt, &blank, policy)).collect();
            }
            // Token counts of parts need not add up to that of the whole; a window that came out too long makes all smaller.
            room = room.saturating_sub(excess);
        }
        Err(Error::TooLong { what: "the instruction with room for an answer".into(), need: taken + 1, limit })
    }

    fn piece(
        &self,
        ask: &SpanAsk,
        window: Range<usize>,
        prompt: Prompt,
        blank: &Prompt,
        policy: &SpanPolicy,
    ) -> Result<Piece> {
        let labels: Vec<String> = ask.labels.iter().map(|label| label.name.clone()).collect();
        let (text, terminator) = (&ask.source[window.clone()], self.setting.frame.terminator());
        let grammar = SpanGrammar::over(&self.engine.spans, text, &labels, policy, terminator, &prompt.before)?;
        let shared = common_prefix(&prompt.ids, &blank.ids);
        Ok(Piece { window, prompt, shared, grammar })
    }

    fn prompt(&self, ask: &SpanAsk, text: &str) -> Result<Prompt> {
        let mut variables = ask.variables.clone();
        variables["labels"] = json!(ask.labels);
        let prompts = &self.engine.prompts;
        let message = prompts.message(&prompts.instruct(ask.wording, variables)?, Some(text))?;
        self.framed(&message)
    }

    /// Tokens of `label: None` for every label, and of the terminator.
    fn shortest_answer(&self, prompt: &Prompt, ask: &SpanAsk) -> Result<usize> {
        let lines: Vec<String> = ask.labels.iter().map(|l| self.engine.prompts.span_line(&l.name, &[])).collect();
        Ok(prompt.encode_answer(&self.engine.tokenizer, &lines.join("\n"))?.len() + 1)
    }

    fn found(&self, ask: &SpanAsk, parts: Vec<(Piece, Result<Generated>)>, policy: &SpanPolicy) -> Result<Found> {
        let mut found = Found { labels: Vec::new(), windows: Vec::new(), prompts: Vec::new() };
        let mut windows = Vec::with_capacity(parts.len());
        for (window, (mut piece, generated)) in parts.into_iter().enumerate() {
            let generated = generated?;
            windows.push(read(&mut piece, window, &generated, ask, policy)?);
            if self.run.show_prompt {
                found.prompts.push(ShownPrompt {
                    purpose: ask.purpose.to_owned(),
                    prompt: piece.prompt.spelled(&self.engine.tokenizer),
                    prompt_ids: piece.prompt.ids,
                    candidates: Vec::new(),
                    answer_ids: generated.tokens,
                });
            }
            found.windows.push(piece.window);
        }
        found.labels = merge(&ask.source, windows, policy);
        Ok(found)
    }
}

/// The spans of one piece, at their places in the whole source.
fn read(
    piece: &mut Piece,
    window: usize,
    generated: &Generated,
    ask: &SpanAsk,
    policy: &SpanPolicy,
) -> Result<Vec<FoundLabel>> {
    let lines = piece.grammar.read(&generated.tokens)?;
    let mut asides = generated.asides.iter();
    let offset = piece.window.start;
    let at = |range: &Range<usize>| Place { range: range.start + offset..range.end + offset, window };
    let with_end = |tokens: &Range<usize>| tokens.start..tokens.end + 1;
    let logprob = |tokens: &Range<usize>| generated.logprobs.get(with_end(tokens)).map(|each| each.iter().sum::<f64>());
    let mass = |tokens: &Range<usize>| generated.mass.get(with_end(tokens)).map(|each| each.iter().product::<f64>());
    let labels = ask.labels.iter().zip(lines).map(|(label, line)| FoundLabel {
        label: label.name.clone(),
        none_probability: asides.next().map(|logprob| logprob.exp()),
        limit_reached: policy.max_spans == Some(line.spans.len()),
        spans: line
            .spans
            .iter()
            .map(|span| FoundSpan {
                place: at(&span.range),
                places: span.occurrences.iter().map(at).collect(),
                logprob: logprob(&span.tokens),
                kept_mass: mass(&span.tokens),
            })
            .collect(),
    });
    Ok(labels.collect())
}
