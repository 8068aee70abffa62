//! Spans of overlapping windows as spans of the text.
//!
//! The rule, per label: spans of the same text (of the same place, where a text may be given more than once) become one.
//! It stands for the place of the earliest window's, has the places of all, each once, and the greatest log-probability
//! among them, kept mass along with it; the earliest window's among equals. Order is that of windows, then of answers; with
//! `source_order` that of places. With `no_overlap`, of spans whose places overlap the longest stays, then the leftmost,
//! then the earliest. `None` has the product of its probabilities.

use super::ask_spans::{FoundLabel, FoundSpan};
use crate::decode::SpanPolicy;
use std::cmp::Reverse;

/// The labels of all windows, each window with the same labels in the same order, as labels of `text`.
pub(crate) fn merge(text: &str, mut windows: Vec<Vec<FoundLabel>>, policy: &SpanPolicy) -> Vec<FoundLabel> {
    if windows.len() == 1 {
        return windows.remove(0);
    }
    let labels = windows.first().map_or(0, Vec::len);
    let mut windows: Vec<_> = windows.into_iter().map(Vec::into_iter).collect();
    (0..labels)
        .filter_map(|_| windows.iter_mut().map(Iterator::next).collect::<Option<Vec<_>>>())
        .map(|of| label(text, of, policy))
        .collect()
}

fn label(text: &str, windows: Vec<FoundLabel>, policy: &SpanPolicy) -> FoundLabel {
    let mut merged = FoundLabel {
        label: windows.first().map(|window| window.label.clone()).unwrap_or_default(),
        spans: Vec::new(),
        none_probability: windows.iter().map(|window| window.none_probability).product(),
        limit_reached: windows.iter().any(|window| window.limit_reached),
    };
    for span in windows.into_iter().flat_map(|window| window.spans) {
        let same = |other: &&mut FoundSpan| match policy.unique {
            true => text[other.place.range.clone()] == text[span.place.range.clone()],
            false => other.place.range == span.place.range,
        };
        match merged.spans.iter_mut().find(same) {
            Some(known) => unite(known, span),
            None => merged.spans.push(span),
        }
    }
    if policy.no_overlap {
        keep_apart(&mut merged.spans);
    }
    if policy.source_order {
        merged.spans.sort_by_key(|span| (span.place.range.start, span.place.range.end));
    }
    merged
}

fn unite(known: &mut FoundSpan, again: FoundSpan) {
    if again.logprob > known.logprob {
        (known.logprob, known.kept_mass) = (again.logprob, again.kept_mass);
    }
    for place in again.places {
        if known.places.iter().all(|other| other.range != place.range) {
            known.places.push(place);
        }
    }
    known.places.sort_by_key(|place| place.range.start);
}

fn keep_apart(spans: &mut Vec<FoundSpan>) {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|&i| (Reverse(spans[i].place.range.len()), spans[i].place.range.start, i));
    let mut kept: Vec<usize> = Vec::new();
    for i in order {
        let apart = |&other: &usize| {
            let (a, b) = (&spans[other].place.range, &spans[i].place.range);
            a.end <= b.start || b.end <= a.start
        };
        if kept.iter().all(apart) {
            kept.push(i);
        }
    }
    let mut place = 0;
    spans.retain(|_| {
        place += 1;
        kept.contains(&(place - 1))
    });
}
