//! Answer tokens back to spans.

use super::grammar::{Kind, Move, SpanGrammar, Thread};
use crate::decode::Constraint;
use crate::{Error, Result};
use std::ops::Range;

/// A span of the text that an answer gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanRead {
    /// The occurrence that it stands for, in bytes: the leftmost one that the policy permitted after the spans before it.
    pub range: Range<usize>,
    /// All occurrences at allowed boundaries, in bytes, in the order of the text, `range` among them.
    pub occurrences: Vec<Range<usize>>,
    /// The answer tokens that spell it, the space before it included. The token at `tokens.end` ended it: a separator, a line
    /// feed or the terminator.
    pub tokens: Range<usize>,
}

/// One line of an answer: `None` or at least one span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelLine {
    /// Index of the label among those asked for.
    pub label: usize,
    /// The answer tokens of ` None`, where the line says so.
    pub none: Option<Range<usize>>,
    /// The spans in the order given.
    pub spans: Vec<SpanRead>,
}

impl SpanGrammar {
    /// The lines of a complete answer.
    ///
    /// # Errors
    /// [`Error::Invalid`] where `tokens` is not an answer of this grammar: the index of the first token that is not
    /// allowed, or that the answer is not complete.
    pub fn read(&mut self, tokens: &[u32]) -> Result<Vec<LabelLine>> {
        // Every reading forward; then the one that ends, backward.
        let mut steps: Vec<Vec<(Thread, usize, Move)>> = Vec::with_capacity(tokens.len());
        let mut threads = self.threads(self.start()).to_vec();
        for (i, &token) in tokens.iter().enumerate() {
            let mut step = Vec::new();
            for (from, &thread) in threads.iter().enumerate() {
                self.follow(thread, token, |next, what| step.push((next, from, what)));
            }
            if step.is_empty() {
                return Err(Error::invalid(format!("token {i} of {} is not allowed in an answer", tokens.len())));
            }
            threads.clear();
            threads.extend(step.iter().map(|&(thread, ..)| thread));
            steps.push(step);
        }
        let Some(mut at) = threads.iter().position(|thread| thread.kind == Kind::Done) else {
            return Err(Error::invalid(format!("an answer that is not complete after {} tokens", tokens.len())));
        };
        let mut moves = vec![(0, Move::Literal); tokens.len()];
        for (i, step) in steps.iter().enumerate().rev() {
            let (thread, from, what) = step[at];
            moves[i] = (thread.label as usize, what);
            at = from;
        }
        Ok(self.lines(&moves))
    }

    fn lines(&self, moves: &[(usize, Move)]) -> Vec<LabelLine> {
        let mut lines: Vec<LabelLine> =
            (0..self.labels.len()).map(|label| LabelLine { label, none: None, spans: Vec::new() }).collect();
        let (mut line, mut began) = (0, None);
        for (i, &(label, what)) in moves.iter().enumerate() {
            match what {
                Move::Literal => {}
                Move::None => {
                    let range = lines[line].none.get_or_insert(i..i);
                    range.end = i + 1;
                }
                Move::Span => {
                    began.get_or_insert(i);
                }
                Move::Ends(from, to) => {
                    let range = from as usize..to as usize;
                    let occurrences = self.occurrences(&self.text[range.clone()]);
                    let tokens = began.take().unwrap_or(i)..i;
                    lines[line].spans.push(SpanRead { range, occurrences, tokens });
                }
            }
            line = label;
        }
        lines
    }

    /// Where `span` stands between allowed boundaries.
    fn occurrences(&self, span: &str) -> Vec<Range<usize>> {
        let bytes = self.text.as_bytes();
        let is_here = |&&start: &&u32| bytes[start as usize..].starts_with(span.as_bytes());
        let ends_well = |range: &Range<usize>| self.places.ends.binary_search(&(range.end as u32)).is_ok();
        let starts = self.places.starts.iter().filter(is_here);
        starts.map(|&start| start as usize..start as usize + span.len()).filter(ends_well).collect()
    }
}
