//! GPT-2's pre-tokens: the words that byte-level BPE never merges across.
//!
//! The rule is `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`, scanned left to right; where
//! digits stand alone (SmolLM), the text is first cut around every digit and the rule runs on each part. A hand-written
//! scanner of the same language: the regex engine takes several hundred times as long per byte.
//!
//! **Cuts.** Some boundaries depend on where scanning began (`'s` is a contraction unless more punctuation stands before
//! it), and white space at an end is matched whole where a word behind it would take the last character. [`Gpt2::cuts`]
//! keeps the boundaries that hold on both sides: between `b c` and `d e`
//!
//! | c | d | a cut |
//! |---|---|---|
//! | not space | white space | yes |
//! | white space | white space | iff `e` is there and not white space (nor a digit standing alone) |
//! | white space | digit standing alone | yes |
//! | white space | not space | iff `c` is not U+0020 and `b` is not white space (`\r\n` alone is one word, before `x` two) |
//! | letter, number, other | of another class | yes, unless `c` is `'` and a contraction's letters follow |
//! | digit standing alone | digit standing alone | yes |
//!
//! So a cut holds for every string that ends in `b c` (or is `c`) before it and begins with `d e` behind it: the tokens of
//! the whole are the tokens of the two sides.

use std::ops::Range;

use crate::{Error, Result};

/// A Unicode class as sorted ranges, from the tables that `tokenizers`' own regex engine uses.
#[derive(Debug)]
struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    fn new(pattern: &str) -> Result<Self> {
        let hir = regex_syntax::parse(pattern).ok();
        match hir.as_ref().map(regex_syntax::hir::Hir::kind) {
            Some(regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(class))) => {
                Ok(Self(class.ranges().iter().map(|r| (r.start() as u32, r.end() as u32)).collect()))
            }
            _ => Err(Error::internal(format!("{pattern} is not a class"))),
        }
    }

    fn contains(&self, c: char) -> bool {
        let at = self.0.partition_point(|&(start, _)| start <= c as u32);
        at > 0 && c as u32 <= self.0[at - 1].1
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Space,
    Letter,
    Number,
    Other,
}

/// The scanner.
#[derive(Debug)]
pub(super) struct Gpt2 {
    letters: Ranges,
    numbers: Ranges,
    ascii: [Class; 128],
    /// Digits stand alone.
    digits: bool,
}

impl Gpt2 {
    /// A scanner; with `digits`, every digit is a pre-token of its own.
    pub fn new(digits: bool) -> Result<Self> {
        let (letters, numbers) = (Ranges::new(r"\p{L}")?, Ranges::new(r"\p{N}")?);
        let mut gpt2 = Self { letters, numbers, ascii: [Class::Other; 128], digits };
        for c in 0..128u8 {
            gpt2.ascii[c as usize] = gpt2.class_of_any(c as char);
        }
        Ok(gpt2)
    }

    /// Whether digits stand alone.
    pub fn digits(&self) -> bool {
        self.digits
    }

    fn class_of_any(&self, c: char) -> Class {
        if c.is_whitespace() {
            Class::Space
        } else if if self.digits { c.is_numeric() } else { self.numbers.contains(c) } {
            // `tokenizers` finds digits by Rust's table, which may be of a later Unicode version than the regex's.
            Class::Number
        } else if self.letters.contains(c) {
            Class::Letter
        } else {
            Class::Other
        }
    }

    fn class(&self, c: char) -> Class {
        match self.ascii.get(c as usize) {
            Some(&class) => class,
            None => self.class_of_any(c),
        }
    }

    fn alone(&self, class: Class) -> bool {
        self.digits && class == Class::Number
    }

    /// Length in bytes of the pre-token at the beginning of `rest`, which must not be empty.
    fn next(&self, rest: &str) -> usize {
        if let Some(letters) = contraction(rest) {
            return 1 + letters;
        }
        let mut chars = rest.char_indices();
        let Some((_, first)) = chars.next() else { return 0 };
        let (mut class, mut from) = (self.class(first), first.len_utf8());
        if self.alone(class) {
            return from;
        }
        if first == ' '
            && let Some((_, second)) = chars.next()
            && self.class(second) != Class::Space
            && !self.alone(self.class(second))
        {
            class = self.class(second);
            from += second.len_utf8();
        }
        let (mut end, mut last) = (from, 0);
        for c in rest[from..].chars() {
            let next = self.class(c);
            if next != class {
                // White space before a word leaves its last character to the word: `\s+(?!\S)`.
                return if class == Class::Space && last > 0 && !self.alone(next) { end - last } else { end };
            }
            last = c.len_utf8();
            end += last;
        }
        end
    }

    /// The pre-tokens of `text`, in order.
    pub fn split<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a str> {
        let mut rest = text;
        std::iter::from_fn(move || {
            let (word, after) = rest.split_at(self.next(rest));
            rest = after;
            (!word.is_empty()).then_some(word)
        })
    }

    /// Whether the boundary between `before` and `after` is a cut (see the table above); at the beginning or the end of a
    /// text it is.
    pub fn cuts(&self, before: &str, after: &str) -> bool {
        let mut back = before.chars().rev();
        let (Some(c), Some(d)) = (back.next(), after.chars().next()) else { return true };
        let mut space_before = || back.next().is_some_and(|b| self.class(b) == Class::Space);
        let (left, right) = (self.class(c), self.class(d));
        match (left == Class::Space, right == Class::Space) {
            (false, true) => true,
            (true, true) => {
                after.chars().nth(1).map(|e| self.class(e)).is_some_and(|e| e != Class::Space && !self.alone(e))
            }
            (true, false) => self.alone(right) || (c != ' ' && !space_before()),
            (false, false) if left == right => self.alone(left),
            (false, false) => c != '\'' || contraction_letters(after).is_none(),
        }
    }

    /// The parts of `text` between all its cuts.
    pub fn chunks(&self, text: &str) -> Vec<Range<usize>> {
        let mut chunks = Vec::with_capacity(text.len() / 4 + 1);
        let mut start = 0;
        for (at, _) in text.char_indices().skip(1) {
            if self.cuts(&text[..at], &text[at..]) {
                chunks.push(start..at);
                start = at;
            }
        }
        if start < text.len() {
            chunks.push(start..text.len());
        }
        chunks
    }
}

/// Bytes of the letters after the apostrophe of a contraction at the beginning of `text`.
fn contraction(text: &str) -> Option<usize> {
    contraction_letters(text.strip_prefix('\'')?)
}

/// Bytes of `s`, `t`, `re`, `ve`, `m`, `ll` or `d` at the beginning of `text`.
fn contraction_letters(text: &str) -> Option<usize> {
    ["s", "t", "re", "ve", "m", "ll", "d"].iter().find(|letters| text.starts_with(**letters)).map(|l| l.len())
}

#[cfg(test)]
mod tests {
    use super::super::tests::nasty_text;
    use super::*;
    use proptest::prelude::*;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;
    use tokenizers::pre_tokenizers::digits::Digits;
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    /// The pre-tokens of `tokenizers`: `Digits(individual_digits)` where asked for, then `ByteLevel(use_regex)`.
    fn theirs(text: &str, digits: bool) -> Vec<&str> {
        let mut split = PreTokenizedString::from(text);
        if digits {
            Digits::new(true).pre_tokenize(&mut split).unwrap();
        }
        ByteLevel::new(false, true, true).pre_tokenize(&mut split).unwrap();
        let splits = split.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits.into_iter().map(|(_, range, _)| &text[range.0..range.1]).collect()
    }

    fn check(text: &str) {
        for digits in [false, true] {
            let gpt2 = Gpt2::new(digits).unwrap();
            assert_eq!(gpt2.split(text).collect::<Vec<_>>(), theirs(text, digits), "{digits} {text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn the_scanner_splits_as_the_regex(text in nasty_text()) {
            check(&text);
        }
    }

    #[test]
    fn every_character_is_of_the_class_that_the_regex_gives_it() {
        let planes = ('\0'..='\u{323af}').chain('\u{e0000}'..='\u{e01ff}').collect::<Vec<char>>();
        for some in planes.chunks(64) {
            check(&some.iter().flat_map(|&c| ['a', c, '1', c, '.', c, ' ', c]).collect::<String>());
        }
    }
}
