//! Mentions pointed at inside a text: `the <chest pain>(problem) of`.

use super::prompts::Prompts;
use crate::{Error, Result};
use std::cmp::Reverse;
use std::ops::Range;

/// The text with every mention wrapped in its marks. Nested mentions nest; of equal places the first given is outermost.
///
/// # Errors
/// [`Error::Invalid`] for a place that is not one of the text's.
pub fn mark(prompts: &Prompts, text: &str, mentions: &[(Range<usize>, &str)]) -> Result<String> {
    if mentions.iter().any(|(place, _)| text.get(place.clone()).is_none()) {
        return Err(Error::invalid("mentions: expected places in the text"));
    }
    let mut cuts = Vec::with_capacity(2 * mentions.len());
    for (i, (place, label)) in mentions.iter().enumerate() {
        let (open, close) = prompts.mark(label)?;
        cuts.push((place.start, 1, Reverse(place.end), i, open));
        // Of closings at one place the innermost comes first: the latest start, then the last given.
        cuts.push((place.end, 0, Reverse(place.start), mentions.len() - i, close));
    }
    cuts.sort();
    let mut marked = String::with_capacity(text.len() + 16 * cuts.len());
    let mut done = 0;
    for (at, .., mark) in cuts {
        marked.push_str(&text[done..at]);
        marked.push_str(&mark);
        done = at;
    }
    marked.push_str(&text[done..]);
    Ok(marked)
}

/// A mention's text on one line, as an instruction names it.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(text: &str, mentions: &[(Range<usize>, &str)]) -> String {
        mark(&Prompts::built_in().unwrap(), text, mentions).unwrap()
    }

    #[test]
    fn wraps_mentions() {
        assert_eq!(marked("no chest pain.", &[(3..13, "problem")]), "no <chest pain>(problem).");
        assert_eq!(marked("aspirin for pain", &[(12..16, "P"), (0..7, "D")]), "<aspirin>(D) for <pain>(P)");
    }

    #[test]
    fn nests_and_touches() {
        assert_eq!(marked("chest pain", &[(0..5, "site"), (0..10, "P")]), "<<chest>(site) pain>(P)");
        assert_eq!(marked("chest pain", &[(6..10, "S"), (0..10, "P")]), "<chest <pain>(S)>(P)");
        assert_eq!(marked("ab", &[(0..1, "A"), (1..2, "B")]), "<a>(A)<b>(B)");
        assert_eq!(marked("a", &[(0..1, "A"), (0..1, "B")]), "<<a>(B)>(A)");
    }
}
