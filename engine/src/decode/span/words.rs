//! Where a span may start and end.
//!
//! **Words** ([`Boundary::Word`]). A place between two characters is open unless it is
//! * inside a grapheme cluster (`e` + U+0301),
//! * inside a run of letters, digits and marks (`SpO₂`, `5µg`), scripts written without spaces excepted,
//! * beside the point or comma between two digits (`12.5`, so that no answer can say `5`),
//! * beside the apostrophe between two letters (`don't`), save that a span may end before `'s` (`aspirin's`).
//!
//! A span starts at an open place before a character that is neither white space nor one that closes (`,;:!?)]}` and
//! their like; a full stop only before a digit) and ends at one after a character that is neither white space nor one
//! that opens or joins (`,;:([{` and their like). So `(+)-catechin`, `IL-2`, `5-HT`, `Ca2+`, `b.i.d.` are all spans.
//! Characters ([`Boundary::Char`]): every place between grapheme clusters is open, white space at either end excepted.
//!
//! **Walls**: line breaks and ` ... `. No span reaches over one, or into one from before it.

use super::grammar::Boundary;
use unicode_segmentation::GraphemeCursor;

/// The open places of one text, all byte offsets, sorted.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub starts: Vec<u32>,
    pub ends: Vec<u32>,
    /// First bytes of walls.
    pub walls: Vec<u32>,
    /// Ends of the words that white space separates.
    pub word_ends: Vec<u32>,
}

/// The [marks](Places::marks) of a byte: a span may start at it, a span may end after it, a wall begins at it.
const START: u8 = 1;
const END: u8 = 2;
const WALL: u8 = 4;

impl Places {
    /// The marks of each byte of the text, which has `length` bytes: what is open in a part of it, whatever stands
    /// around that.
    pub fn marks(&self, length: usize) -> Vec<u8> {
        let mut marks = vec![0; length];
        self.starts.iter().for_each(|&at| marks[at as usize] |= START);
        self.ends.iter().for_each(|&at| marks[at as usize - 1] |= END);
        self.walls.iter().for_each(|&at| marks[at as usize] |= WALL);
        marks
    }

    /// Makes these the places of a part with these marks, counted from its beginning. Word ends are left alone.
    pub fn read_marks(&mut self, marks: &[u8]) {
        self.starts.clear();
        self.ends.clear();
        self.walls.clear();
        for (at, &mark) in (0u32..).zip(marks) {
            if mark & START != 0 {
                self.starts.push(at);
            }
            if mark & END != 0 {
                self.ends.push(at + 1);
            }
            if mark & WALL != 0 {
                self.walls.push(at);
            }
        }
    }

    /// Where the first wall at or after `at` begins, or the end of the world.
    pub fn wall(&self, at: u32) -> u32 {
        self.walls.get(self.walls.partition_point(|&w| w < at)).copied().unwrap_or(u32::MAX)
    }

    /// The places of `text`.
    pub fn new(text: &str, boundary: Boundary) -> Self {
        let mut places = Self {
            starts: Vec::with_capacity(text.len() / 4),
            ends: Vec::with_capacity(text.len() / 4),
            ..Self::default()
        };
        let (mut before_that, mut before) = (Kind::SPACE, Kind::SPACE);
        let mut rest = text.chars();
        let mut at = 0;
        let mut after = rest.next().map(Kind::of);
        loop {
            // `before` | `here` `after`, the place in question is at byte `at`.
            let Some(here) = after else {
                places.place(text, at, Kind::SPACE, before, Kind::SPACE, Kind::SPACE, boundary);
                return places;
            };
            after = rest.next().map(Kind::of);
            places.place(text, at, before_that, before, here, after.unwrap_or(Kind::SPACE), boundary);
            if is_line_break(here.c) || text[at..].starts_with(" ... ") {
                places.walls.push(at as u32);
            }
            at += here.c.len_utf8();
            (before_that, before) = (before, here);
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn place(&mut self, text: &str, at: usize, a: Kind, b: Kind, c: Kind, d: Kind, boundary: Boundary) {
        if !b.space && c.space {
            self.word_ends.push(at as u32);
        }
        let closed = match boundary {
            Boundary::Char => false,
            Boundary::Word => (b.word && c.word && !(b.unspaced || c.unspaced)) || joined(a, b, c) || joined(b, c, d),
        };
        let possessed = closed && is_possessive(&text[at..]);
        if closed && !possessed || b.space && c.space {
            return;
        }
        let beyond_ascii = !b.c.is_ascii() || !c.c.is_ascii();
        if beyond_ascii && !GraphemeCursor::new(at, text.len(), true).is_boundary(text, 0).unwrap_or(true) {
            return;
        }
        let free = boundary == Boundary::Char;
        let closes = !free && (c.closes || c.c == '.' && !d.digit);
        if !c.space && !closes && !possessed && !text[at..].starts_with("...") {
            self.starts.push(at as u32);
        }
        if !b.space && (free || !b.opens) && !text[..at].ends_with(" ...") {
            self.ends.push(at as u32);
        }
    }
}

/// Whether `b` joins `a` and `c` into one word.
fn joined(a: Kind, b: Kind, c: Kind) -> bool {
    match b.c {
        '.' | ',' => a.digit && c.digit,
        '\'' | '’' => a.word && c.word && !a.digit && !c.digit,
        _ => false,
    }
}

/// Whether `text` begins with `'s` and the word ends there.
fn is_possessive(text: &str) -> bool {
    let after = text.strip_prefix("'s").or_else(|| text.strip_prefix("’s"));
    after.is_some_and(|after| !after.starts_with(|c: char| c.is_alphanumeric() || c == '\''))
}

/// What the rules ask of a character.
#[derive(Debug, Clone, Copy)]
struct Kind {
    c: char,
    space: bool,
    word: bool,
    digit: bool,
    opens: bool,
    closes: bool,
    unspaced: bool,
}

impl Kind {
    /// White space, and what lies before and after a text.
    const SPACE: Self =
        Self { c: ' ', space: true, word: false, digit: false, opens: false, closes: false, unspaced: false };

    fn of(c: char) -> Self {
        if c == ' ' {
            return Self::SPACE;
        }
        Self {
            c,
            space: c.is_whitespace(),
            word: c.is_alphanumeric(),
            digit: c.is_ascii_digit(),
            opens: matches!(c, ',' | ';' | ':' | '(' | '[' | '{' | '«' | '“' | '‘' | '¿' | '¡' | '、' | '，' | '（'),
            closes: matches!(
                c,
                ',' | ';' | ':' | '!' | '?' | ')' | ']' | '}' | '»' | '”' | '’' | '…' | '、' | '，' | '。' | '）'
            ),
            unspaced: is_unspaced(c),
        }
    }
}

fn is_line_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Scripts written without spaces between words: Thai to Myanmar, Khmer, kana, Han and their extensions.
fn is_unspaced(c: char) -> bool {
    matches!(c as u32,
        0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x3040..=0x30FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF
        | 0xF900..=0xFAFF | 0x20000..=0x3FFFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(text: &str, boundary: Boundary) -> Vec<&str> {
        let places = Places::new(text, boundary);
        let mut spans = Vec::new();
        for &p in &places.starts {
            spans.extend(
                places.ends.iter().filter(|&&e| e > p && e <= places.wall(p)).map(|&e| &text[p as usize..e as usize]),
            );
        }
        spans
    }

    #[test]
    fn names_with_signs_and_hyphens_are_spans() {
        for (text, span) in [
            ("of (+)-catechin in", "(+)-catechin"),
            ("(IL-2)", "IL-2"),
            ("β-thalassemia.", "β-thalassemia"),
            ("5-HT,", "5-HT"),
            ("Ca2+-free", "Ca2+"),
            ("(-)-epicatechin", "(-)-epicatechin"),
            ("SpO₂ 97%", "SpO₂"),
            ("COVID-19", "COVID"),
            ("b.i.d. dosing", "b.i.d."),
            ("胸痛と発熱", "発熱"),
            ("12.5 mg", "12.5 mg"),
            ("aspirin's effect", "aspirin"),
            ("aspirin's effect", "aspirin's effect"),
            ("cafe\u{301} au", "cafe\u{301}"),
        ] {
            assert!(spans(text, Boundary::Word).contains(&span), "{span} in {text}");
        }
    }

    #[test]
    fn nothing_inside_words_numbers_or_clusters_is_a_span() {
        for (text, span) in [
            ("12.5 mg", "5"),
            ("12.5 mg", "12"),
            ("1,000", "000"),
            ("don't", "don"),
            ("don't", "t"),
            ("aspirin's", "s"),
            ("aspirin's", "'s"),
            ("o'shea", "o"),
            ("pains", "pain"),
            ("SpO₂", "SpO"),
            ("5µg", "µg"),
            ("cafe\u{301}s", "cafe"),
            ("a, b", "a,"),
            ("a, b", ", b"),
            ("a\nb", "a\nb"),
            ("a ... b", "a ... b"),
            ("a ... b", "..."),
            ("a ... b", "a ..."),
            ("a ...", "a ..."),
        ] {
            assert!(!spans(text, Boundary::Word).contains(&span), "{span} in {text}");
        }
        assert_eq!(spans("ab c", Boundary::Char), ["a", "ab", "ab c", "b", "b c", "c"]);
        assert_eq!(spans("e\u{301}", Boundary::Char), ["e\u{301}"]);
    }
}
