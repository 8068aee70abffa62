//! Entity spans of documents, and the step from found places to spans in the caller's unit.

use super::answer::{ExtractAnswer, LabelOutcome, Occurrence, Span, Status};
use super::ask_spans::{Found, FoundLabel, FoundSpan, SpanAsk};
use super::prompts::Wording;
use super::request::{Document, ExtractRequest};
use super::session::Work;
use crate::text::{OffsetMap, OffsetUnit};
use crate::{Error, Result};
use serde_json::json;
use std::ops::Range;

pub(crate) fn extract(
    work: &mut Work<'_>,
    documents: &[Document],
    request: &ExtractRequest,
) -> Vec<Result<ExtractAnswer>> {
    let asks = documents.iter().map(|document| {
        Ok(SpanAsk {
            purpose: "extract",
            wording: Wording::Extract,
            labels: request.labels.clone(),
            variables: json!({}),
            source: document.text.clone(),
            shown: None,
            window: work.run.window,
        })
    });
    let found = work.find(asks.collect(), &request.policy);
    documents.iter().zip(found).map(|(document, found)| answer(work, document, found?)).collect()
}

fn answer(work: &Work<'_>, document: &Document, found: Found) -> Result<ExtractAnswer> {
    let units = Units::new(&document.text, work.run.unit);
    let mut spans = Vec::new();
    for label in &found.labels {
        spans.extend(units.spans(label)?);
    }
    Ok(ExtractAnswer {
        id: document.id.clone(),
        status: Status::Ok,
        unit: work.run.unit,
        spans,
        labels: found.labels.iter().map(outcome).collect(),
        windows: found.windows.len(),
        provenance: work.setting.provenance.clone(),
        prompts: found.prompts,
    })
}

pub(crate) fn outcome(found: &FoundLabel) -> LabelOutcome {
    LabelOutcome {
        label: found.label.clone(),
        none_probability: found.none_probability,
        limit_reached: found.limit_reached,
    }
}

/// A text with its offsets in the caller's unit.
pub(crate) struct Units<'t> {
    text: &'t str,
    unit: OffsetUnit,
    map: OffsetMap<'t>,
}

impl<'t> Units<'t> {
    pub fn new(text: &'t str, unit: OffsetUnit) -> Self {
        Self { text, unit, map: OffsetMap::new(text) }
    }

    /// The spans of a label.
    pub fn spans(&self, found: &FoundLabel) -> Result<Vec<Span>> {
        found.spans.iter().map(|span| self.span(&found.label, span)).collect()
    }

    /// A span.
    pub fn span(&self, label: &str, found: &FoundSpan) -> Result<Span> {
        let Occurrence { start, end } = self.occurrence(&found.place.range)?;
        Ok(Span {
            label: label.to_owned(),
            text: self.text[found.place.range.clone()].to_owned(),
            start,
            end,
            occurrences: found.places.iter().map(|place| self.occurrence(&place.range)).collect::<Result<_>>()?,
            logprob: found.logprob,
            kept_mass: found.kept_mass,
        })
    }

    fn occurrence(&self, range: &Range<usize>) -> Result<Occurrence> {
        let offset = |byte| {
            let offset = self.map.offset(self.unit, byte);
            offset.ok_or_else(|| {
                Error::internal(format!("a span that starts or ends inside a character, at byte {byte}"))
            })
        };
        Ok(Occurrence { start: offset(range.start)?, end: offset(range.end)? })
    }

    /// The bytes of a place given in the caller's unit; `None` where it is empty, beyond the text or inside a character.
    pub fn bytes(&self, start: usize, end: usize) -> Option<Range<usize>> {
        let range = self.map.byte(self.unit, start)?..self.map.byte(self.unit, end)?;
        (range.start < range.end && self.text.get(range.clone()).is_some()).then_some(range)
    }
}
