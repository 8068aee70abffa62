//! GPT-2's pre-tokens: the words that byte-level BPE never merges across.
//!
//! The rule is `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`, scanned left to right; where
//! digits stand alone (SmolLM), the text is first cut around every digit and the rule runs on each part. A hand-written
//! scanner of the same language: the regex engine takes several hundred times as long per byte.
//!
//! **Cuts.** Some boundaries depend on where scanning began (`'s` is a contraction unless more punctuation stands before
//! it). [`Gpt2::cuts`] keeps those that do not: between characters `c` and `d` followed by `e`
//!
//! | c | d | boundary for every left context |
//! |---|---|---|
//! | not space | white space | yes |
//! | white space | white space | iff `e` is there and not white space (nor a digit standing alone) |
//! | white space | not space | iff `c` is not U+0020, or `d` is a digit standing alone |
//! | letter, number, other | of another class | yes, unless `c` is `'` and a contraction's letters follow |
//! | digit standing alone | digit standing alone | yes |
//!
//! So a cut at `p` holds for every string that ends in `c` before `p` and continues with `d` and `e` after it, or ends
//! at `p`: the tokens of the whole are the tokens of the two sides.

use std::ops::Range;

use crate::{Error, Result};

/// `\p{L}` as sorted ranges, from the tables that `tokenizers`' own regex engine uses.
#[derive(Debug)]
struct Letters(Vec<(u32, u32)>);

impl Letters {
    fn new() -> Result<Self> {
        let hir = regex_syntax::parse(r"\p{L}").map_err(|_| Error::internal(r"\p{L} is not a class"))?;
        let regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(class)) = hir.kind() else {
            return Err(Error::internal(r"\p{L} is not a class"));
        };
        Ok(Self(class.ranges().iter().map(|r| (r.start() as u32, r.end() as u32)).collect()))
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
    letters: Letters,
    ascii: [Class; 128],
    /// Digits stand alone.
    digits: bool,
}

impl Gpt2 {
    /// A scanner; with `digits`, every digit is a pre-token of its own.
    pub fn new(digits: bool) -> Result<Self> {
        let mut gpt2 = Self { letters: Letters::new()?, ascii: [Class::Other; 128], digits };
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
        } else if c.is_numeric() {
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

    /// Whether the boundary between `before` and `after` holds whatever stands further left (see the table above). At the
    /// beginning or the end of a text it does.
    pub fn cuts(&self, before: &str, after: &str) -> bool {
        let (Some(c), Some(d)) = (before.chars().next_back(), after.chars().next()) else { return true };
        let (left, right) = (self.class(c), self.class(d));
        match (left == Class::Space, right == Class::Space) {
            (false, true) => true,
            (true, true) => {
                after.chars().nth(1).map(|e| self.class(e)).is_some_and(|e| e != Class::Space && !self.alone(e))
            }
            (true, false) => c != ' ' || self.alone(right),
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
