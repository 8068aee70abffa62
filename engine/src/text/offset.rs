//! Offsets in bytes, code points and UTF-16 units.

use serde::{Deserialize, Serialize};

/// What an offset into a text counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OffsetUnit {
    /// UTF-8 bytes: Rust, C, Go.
    Byte,
    /// Unicode code points: Python.
    #[default]
    CodePoint,
    /// UTF-16 code units: Java, JavaScript, C#, Windows.
    Utf16,
}

/// Bytes between two table entries: 24 bytes of table for each, and at most this many bytes to count from one.
const STEP: usize = 128;

/// Converts offsets into one text between the three units: from bytes in O(1), to bytes in O(log n). A text of ASCII alone
/// needs no table, since all units agree.
#[derive(Debug, Clone)]
pub struct OffsetMap<'a> {
    text: &'a str,
    /// Entry `i` stands at the first character that begins at or after byte `i * STEP`. Empty for ASCII.
    marks: Vec<Mark>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    byte: usize,
    code_point: usize,
    utf16: usize,
}

impl Mark {
    fn get(&self, unit: OffsetUnit) -> usize {
        match unit {
            OffsetUnit::Byte => self.byte,
            OffsetUnit::CodePoint => self.code_point,
            OffsetUnit::Utf16 => self.utf16,
        }
    }

    fn step(&mut self, c: char) {
        self.byte += c.len_utf8();
        self.code_point += 1;
        self.utf16 += c.len_utf16();
    }
}

impl<'a> OffsetMap<'a> {
    /// The map of `text`.
    pub fn new(text: &'a str) -> Self {
        let mut marks = Vec::new();
        if !text.is_ascii() {
            marks.reserve_exact(text.len() / STEP + 1);
            let mut at = Mark { byte: 0, code_point: 0, utf16: 0 };
            for c in text.chars() {
                if at.byte >= marks.len() * STEP {
                    marks.push(at);
                }
                at.step(c);
            }
        }
        Self { text, marks }
    }

    /// The offset in `unit` of the character at `byte`; `None` inside a character or past the end.
    pub fn offset(&self, unit: OffsetUnit, byte: usize) -> Option<usize> {
        if !self.text.is_char_boundary(byte) {
            return None;
        }
        if self.marks.is_empty() {
            return Some(byte);
        }
        let mut index = (byte / STEP).min(self.marks.len() - 1);
        // The entry of a step whose first bytes belong to the character before stands up to three bytes later.
        if self.marks[index].byte > byte {
            index -= 1;
        }
        let mut at = self.marks[index];
        self.text[at.byte..byte].chars().for_each(|c| at.step(c));
        Some(at.get(unit))
    }

    /// The byte at which the character at `offset` (in `unit`) begins; `None` inside a character or past the end.
    pub fn byte(&self, unit: OffsetUnit, offset: usize) -> Option<usize> {
        if self.marks.is_empty() || unit == OffsetUnit::Byte {
            return self.text.is_char_boundary(offset).then_some(offset);
        }
        // The first entry stands at 0, so there is one before.
        let index = self.marks.partition_point(|mark| mark.get(unit) <= offset) - 1;
        let mut at = self.marks[index];
        for c in self.text[at.byte..].chars() {
            if at.get(unit) >= offset {
                break;
            }
            at.step(c);
        }
        (at.get(unit) == offset).then_some(at.byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every offset by counting from the beginning.
    fn check(text: &str) {
        let map = OffsetMap::new(text);
        let boundaries: Vec<usize> = (0..=text.len()).filter(|&b| text.is_char_boundary(b)).collect();
        for unit in [OffsetUnit::Byte, OffsetUnit::CodePoint, OffsetUnit::Utf16] {
            let count = |byte: usize| match unit {
                OffsetUnit::Byte => byte,
                OffsetUnit::CodePoint => text[..byte].chars().count(),
                OffsetUnit::Utf16 => text[..byte].encode_utf16().count(),
            };
            let mut bytes = vec![None; count(text.len()) + 1];
            for byte in 0..=text.len() + 2 {
                let want = boundaries.contains(&byte).then(|| count(byte));
                assert_eq!(map.offset(unit, byte), want, "{unit:?} {byte}");
                if let Some(offset) = want {
                    bytes[offset] = Some(byte);
                }
            }
            for (offset, want) in bytes.iter().chain([&None; 3]).enumerate() {
                assert_eq!(map.byte(unit, offset), *want, "{unit:?} {offset}");
            }
        }
    }

    #[test]
    fn all_units_agree_with_counting_from_the_beginning() {
        for c in ["a", "é", "₂", "😖"] {
            // Every alignment of a long text of wide characters against the table's steps.
            for shift in 0..4 {
                check(&["a".repeat(shift), c.repeat(300)].concat());
            }
        }
        check("");
        check("SpO₂ 88 % → e\u{301} 👨‍👩‍👧 x");
    }

    #[test]
    fn ascii_needs_no_table() {
        assert_eq!(OffsetMap::new(&"a".repeat(1000)).marks.capacity(), 0);
    }

    proptest! {
        #[test]
        fn any_text(text in "(\\PC|\n|😖|é){0,400}") {
            check(&text);
        }
    }

    #[test]
    fn units_are_lower_case_in_json() {
        let names = serde_json::to_string(&[OffsetUnit::Byte, OffsetUnit::CodePoint, OffsetUnit::Utf16]).unwrap();
        assert_eq!(names, r#"["byte","codepoint","utf16"]"#);
    }
}
