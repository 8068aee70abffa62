//! Cutting a text into overlapping windows at sentence ends.

use crate::{Error, Result};
use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// A stretch that is not cut, and its number of tokens.
struct Piece {
    end: usize,
    tokens: usize,
}

/// Byte ranges that cover `text`, each at most `limit` tokens by `count`, each sharing at most `overlap` tokens with the one
/// before. Cuts are at sentence ends (UAX-29); a sentence that does not fit is cut after white space, a word that does
/// not fit between characters.
pub(crate) fn cut(
    text: &str,
    limit: usize,
    overlap: usize,
    count: &dyn Fn(&str) -> Result<usize>,
) -> Result<Vec<Range<usize>>> {
    if overlap >= limit {
        return Err(Error::invalid(format!(
            "window.overlap: expected fewer tokens than a window holds ({limit}), found {overlap}"
        )));
    }
    let mut pieces = Vec::new();
    for sentence in text.split_sentence_bounds() {
        add(&mut pieces, sentence, limit, count)?;
    }
    let start_of = |i: usize| if i == 0 { 0 } else { pieces[i - 1].end };
    let mut windows = Vec::new();
    let (mut first, mut last) = (0, 0);
    while last < pieces.len() {
        let mut tokens: usize = pieces[first..last].iter().map(|piece| piece.tokens).sum();
        while last < pieces.len() && tokens + pieces[last].tokens <= limit {
            tokens += pieces[last].tokens;
            last += 1;
        }
        windows.push(start_of(first)..start_of(last));
        if last == pieces.len() {
            break;
        }
        // The next window repeats the end of this one, as far as its own first new piece still fits.
        let room = overlap.min(limit - pieces[last].tokens);
        let mut shared = 0;
        let mut next = last;
        while next > first + 1 && shared + pieces[next - 1].tokens <= room {
            next -= 1;
            shared += pieces[next].tokens;
        }
        first = next;
    }
    Ok(windows)
}

fn add(pieces: &mut Vec<Piece>, stretch: &str, limit: usize, count: &dyn Fn(&str) -> Result<usize>) -> Result<()> {
    let tokens = count(stretch)?;
    let start = pieces.last().map_or(0, |piece| piece.end);
    if tokens <= limit {
        pieces.push(Piece { end: start + stretch.len(), tokens });
        return Ok(());
    }
    let words: Vec<&str> = stretch.split_inclusive(char::is_whitespace).collect();
    if words.len() > 1 {
        return words.iter().try_for_each(|word| add(pieces, word, limit, count));
    }
    for (i, c) in stretch.char_indices() {
        let tokens = count(&stretch[i..i + c.len_utf8()])?;
        if tokens > limit {
            return Err(Error::TooLong { what: "one character".to_owned(), need: tokens, limit });
        }
        pieces.push(Piece { end: start + i + c.len_utf8(), tokens });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Result<usize> {
        Ok(text.split_whitespace().map(|word| word.chars().count().div_ceil(4)).sum::<usize>())
    }

    #[test]
    fn cuts_at_sentence_ends_and_overlaps_by_whole_sentences() {
        let text = "One two. Three four. Five six. Seven.";
        let cuts = |limit, overlap| {
            let windows = cut(text, limit, overlap, &words).unwrap();
            windows.into_iter().map(|range| &text[range]).collect::<Vec<_>>()
        };
        // Tokens per sentence: 2, 4, 2, 2.
        assert_eq!(cuts(6, 0), ["One two. Three four. ", "Five six. Seven."]);
        assert_eq!(cuts(6, 4), ["One two. Three four. ", "Three four. Five six. ", "Five six. Seven."]);
        assert_eq!(cuts(100, 4), [text]);
        assert!(cut(text, 4, 4, &words).is_err());
    }

    proptest! {
        #[test]
        fn windows_cover_the_text_fit_and_overlap_no_more_than_asked(
            text in "([a-zé😀]{1,30}[ .\n]{1,2}){0,30}", limit in 2usize..20, overlap in 0usize..10,
        ) {
            prop_assume!(overlap < limit);
            let windows = cut(&text, limit, overlap, &words).unwrap();
            let mut covered = 0;
            for (i, window) in windows.iter().enumerate() {
                prop_assert!(window.start <= covered && window.end > covered);
                prop_assert!(i == 0 || window.start > windows[i - 1].start);
                prop_assert!(words(&text[window.clone()]).unwrap() <= limit);
                prop_assert!(words(&text[window.start..covered]).unwrap() <= overlap);
                covered = window.end;
            }
            prop_assert_eq!(covered, text.len());
        }
    }
}
