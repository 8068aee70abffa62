//! Spans over a text as runs of characters that share the same spans, nested and crossing ones included.

use biomistral_nlu::text::{OffsetMap, OffsetUnit};

/// A labelled place in a text, in bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// Index of its label in the page's legend.
    pub label: usize,
    /// What a reader sees on pointing at it.
    pub tip: String,
}

/// A run of text between two places where a span begins or ends.
#[derive(Debug, PartialEq)]
pub struct Run<'a> {
    /// The text.
    pub text: &'a str,
    /// Spans over it: line number below the text, span index, and whether the span ends with this run; lowest line last.
    pub over: Vec<Over>,
}

/// One span over a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    /// Line below the text, 0 next to it. Spans that overlap have different lines.
    pub level: usize,
    /// Index of the span in the list given.
    pub mark: usize,
    /// Whether it ends here.
    pub ends: bool,
}

/// Byte range of a span given in `unit`, `None` where the text there is not `expected`.
pub fn locate(
    text: &str,
    map: &OffsetMap<'_>,
    unit: OffsetUnit,
    start: usize,
    end: usize,
    expected: Option<&str>,
) -> Option<(usize, usize)> {
    let (start, end) = (map.byte(unit, start)?, map.byte(unit, end)?);
    let found = text.get(start..end)?;
    (!found.is_empty() && expected.is_none_or(|e| e == found)).then_some((start, end))
}

/// Cuts `text` at every span boundary. Marks must be non-empty and lie on character boundaries.
pub fn runs<'a>(text: &'a str, marks: &[Mark]) -> Vec<Run<'a>> {
    let levels = levels(marks);
    let mut cuts: Vec<usize> = marks.iter().flat_map(|m| [m.start, m.end]).chain([0, text.len()]).collect();
    cuts.sort_unstable();
    cuts.dedup();
    let run = |pair: &[usize]| {
        let (from, to) = (pair[0], pair[1]);
        let mut over: Vec<Over> = marks
            .iter()
            .enumerate()
            .filter(|(_, m)| m.start <= from && to <= m.end)
            .map(|(mark, m)| Over { level: levels[mark], mark, ends: m.end == to })
            .collect();
        over.sort_unstable_by_key(|o| std::cmp::Reverse(o.level));
        Run { text: &text[from..to], over }
    };
    cuts.windows(2).map(run).collect()
}

/// Inner spans get low lines: shorter ones choose first, each takes the lowest line free over its whole length.
fn levels(marks: &[Mark]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..marks.len()).collect();
    order.sort_by_key(|i| (marks[*i].end - marks[*i].start, marks[*i].start, *i));
    let mut levels: Vec<Option<usize>> = vec![None; marks.len()];
    for &i in &order {
        let taken: Vec<usize> = (0..marks.len())
            .filter(|j| marks[*j].start < marks[i].end && marks[i].start < marks[*j].end)
            .filter_map(|j| levels[j])
            .collect();
        levels[i] = (0..=taken.len()).find(|level| !taken.contains(level));
    }
    levels.into_iter().map(Option::unwrap_or_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(start: usize, end: usize) -> Mark {
        Mark { start, end, label: 0, tip: String::new() }
    }

    #[test]
    fn runs_join_to_the_text_and_carry_exactly_the_spans_over_them() {
        let text = "severe chest pain";
        let marks = [mark(0, 17), mark(7, 12), mark(7, 17), mark(0, 12)];
        let runs = runs(text, &marks);
        assert_eq!(runs.iter().map(|r| r.text).collect::<String>(), text);
        let mut at = 0;
        for run in &runs {
            let middle = at + run.text.len() / 2;
            let want: Vec<usize> =
                (0..marks.len()).filter(|i| marks[*i].start <= middle && middle < marks[*i].end).collect();
            let mut got: Vec<usize> = run.over.iter().map(|o| o.mark).collect();
            got.sort_unstable();
            assert_eq!(got, want);
            at += run.text.len();
        }
    }

    #[test]
    fn overlapping_spans_never_share_a_line_and_touching_ones_may() {
        let marks = [mark(0, 5), mark(3, 8), mark(5, 8), mark(8, 9)];
        let levels = levels(&marks);
        for (i, a) in marks.iter().enumerate() {
            for (j, b) in marks.iter().enumerate().skip(i + 1) {
                if a.start < b.end && b.start < a.end {
                    assert_ne!(levels[i], levels[j]);
                }
            }
        }
        assert_eq!((levels[0], levels[2], levels[3]), (0, 0, 0));
    }

    #[test]
    fn a_span_ends_once() {
        let marks = [mark(0, 6), mark(2, 4)];
        let runs = runs("abcdef", &marks);
        for i in 0..marks.len() {
            assert_eq!(runs.iter().flat_map(|r| &r.over).filter(|o| o.mark == i && o.ends).count(), 1);
        }
    }

    #[test]
    fn places_are_refused_where_the_text_differs() {
        let text = "β-blocker 💊 x";
        let map = OffsetMap::new(text);
        assert_eq!(locate(text, &map, OffsetUnit::CodePoint, 0, 9, Some("β-blocker")), Some((0, 10)));
        assert_eq!(locate(text, &map, OffsetUnit::Utf16, 10, 12, Some("💊")), Some((11, 15)));
        assert_eq!(locate(text, &map, OffsetUnit::Utf16, 10, 11, None), None);
        assert_eq!(locate(text, &map, OffsetUnit::CodePoint, 0, 9, Some("b-blocker")), None);
        assert_eq!(locate(text, &map, OffsetUnit::Byte, 4, 4, None), None);
    }
}
