//! Documents cut into passages that hold their mentions whole.

use biomistral_nlu_formats::{Document, Mention};
use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// A passage: a place of the document without white space around it.
pub type Passage = Range<usize>;

/// Sentences (UAX-29), joined where a mention would be cut, where one begins in lower case after another's full stop
/// (`e.g. this`), and until each but the last has `size` characters. A passage does not cross parts.
pub fn cut(document: &Document, size: usize) -> Vec<Passage> {
    let text = &document.text;
    let mut ends: Vec<usize> = Vec::new();
    let mut at = 0;
    for sentence in text.split_sentence_bounds() {
        // A line break ends a sentence as well: lists and headings have no full stop.
        for line in sentence.split_inclusive('\n') {
            at += line.len();
            ends.push(at);
        }
    }
    let extents: Vec<Range<usize>> = document.mentions.iter().map(Mention::extent).collect();
    let cuts = |end: usize| extents.iter().any(|extent| extent.start < end && end < extent.end);
    let lower = |end: usize| text[end..].trim_start().starts_with(char::is_lowercase) && !text[..end].ends_with('\n');
    let part_ends = |end: usize| document.parts.iter().any(|part| part.end == text[..end].trim_end().len());
    let (mut passages, mut start) = (Vec::new(), 0);
    for end in ends {
        let long = text[start..end].chars().count() >= size || part_ends(end);
        if end < text.len() && (!long || cuts(end) || lower(end)) {
            continue;
        }
        let inside = &text[start..end];
        let from = start + inside.len() - inside.trim_start().len();
        let to = from + inside.trim().len();
        if from < to {
            passages.push(from..to);
        }
        start = end;
    }
    passages
}

/// Whether one place lies in another.
pub(crate) fn inside(place: &Range<usize>, passage: &Passage) -> bool {
    passage.start <= place.start && place.end <= passage.end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str, mention: Option<Range<usize>>, size: usize) -> Vec<String> {
        let mut document = Document::new("d", text);
        document.mentions = mention.into_iter().map(|place| Mention::new("T", "x", place)).collect();
        cut(&document, size).into_iter().map(|passage| text[passage].to_owned()).collect()
    }

    #[test]
    fn sentences_are_joined_where_they_must() {
        let text = "One two. Three E. Coli four, e.g. five.\n- six\nSeven.";
        assert_eq!(texts(text, None, 1), ["One two.", "Three E.", "Coli four, e.g. five.", "- six", "Seven."]);
        assert_eq!(texts(text, Some(15..22), 1)[1], "Three E. Coli four, e.g. five.");
        assert_eq!(texts(text, None, 20), ["One two. Three E. Coli four, e.g. five.", "- six\nSeven."]);
        assert_eq!(texts(text, Some(0..text.len()), 1), [text]);
        assert!(texts("  \n ", None, 1).is_empty());
    }
}
