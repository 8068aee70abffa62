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

#[cfg(test)]
mod tests {
    use super::super::ask_spans::Place;
    use super::*;

    const TEXT: &str = "chest pain and pain and ache";

    fn span(window: usize, places: &[(usize, usize)], logprob: f64) -> FoundSpan {
        let places: Vec<Place> = places.iter().map(|&(start, end)| Place { range: start..end, window }).collect();
        FoundSpan { place: places[0].clone(), places, logprob: Some(logprob), kept_mass: Some(-logprob / 10.0) }
    }

    fn window(spans: Vec<FoundSpan>, none: f64) -> Vec<FoundLabel> {
        vec![FoundLabel { label: "p".into(), spans, none_probability: Some(none), limit_reached: false }]
    }

    /// Text, places and log-probability of each span, and the probability of `None`.
    type Merged = (Vec<(String, Vec<(usize, usize)>, f64)>, f64);

    fn found(windows: Vec<Vec<FoundLabel>>, policy: &SpanPolicy) -> Merged {
        let merged = merge(TEXT, windows, policy).remove(0);
        let spans = merged.spans.iter().map(|span| {
            let places = span.places.iter().map(|place| (place.range.start, place.range.end)).collect();
            (TEXT[span.place.range.clone()].to_owned(), places, span.logprob.unwrap())
        });
        (spans.collect(), merged.none_probability.unwrap())
    }

    #[test]
    fn one_text_is_one_span_with_all_its_places_and_the_best_score() {
        let windows = || {
            vec![
                window(vec![span(0, &[(24, 28)], -1.0), span(0, &[(6, 10), (15, 19)], -3.0)], 0.5),
                window(vec![span(1, &[(15, 19)], -2.0), span(1, &[(24, 28)], -1.0)], 0.25),
            ]
        };
        let (spans, none) = found(windows(), &SpanPolicy::default());
        assert_eq!(
            spans,
            [("ache".to_owned(), vec![(24, 28)], -1.0), ("pain".to_owned(), vec![(6, 10), (15, 19)], -2.0)]
        );
        assert_eq!(none, 0.125);
        let (spans, _) = found(windows(), &SpanPolicy { source_order: true, ..SpanPolicy::default() });
        assert_eq!(spans.iter().map(|span| span.0.as_str()).collect::<Vec<_>>(), ["pain", "ache"]);
        // Where a text may be given more than once, only the same place is the same span.
        let (spans, _) = found(windows(), &SpanPolicy { unique: false, ..SpanPolicy::default() });
        assert_eq!(spans.len(), 3);
    }

    #[test]
    fn of_overlapping_places_the_longest_stays() {
        let policy = SpanPolicy { no_overlap: true, ..SpanPolicy::default() };
        let windows = vec![
            window(vec![span(0, &[(6, 10)], -0.1), span(0, &[(24, 28)], -1.0)], 0.5),
            window(vec![span(1, &[(0, 10)], -5.0)], 0.5),
        ];
        let (spans, _) = found(windows, &policy);
        assert_eq!(spans.iter().map(|span| span.0.as_str()).collect::<Vec<_>>(), ["ache", "chest pain"]);
    }
}
