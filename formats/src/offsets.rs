//! Offsets of one text in the three units that files use.

use std::ops::Range;

/// What an offset counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// UTF-8 bytes.
    Byte,
    /// Unicode code points.
    CodePoint,
    /// UTF-16 code units.
    Utf16,
}

impl Unit {
    /// Its name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Byte => "byte",
            Unit::CodePoint => "codepoint",
            Unit::Utf16 => "utf16",
        }
    }

    /// The unit of a name.
    pub fn parse(name: &str) -> Option<Self> {
        [Unit::Byte, Unit::CodePoint, Unit::Utf16].into_iter().find(|unit| unit.name() == name)
    }

    fn length(self, c: char) -> usize {
        match self {
            Unit::Byte => c.len_utf8(),
            Unit::CodePoint => 1,
            Unit::Utf16 => c.len_utf16(),
        }
    }

    /// Length of a text in this unit.
    pub fn count(self, text: &str) -> usize {
        match self {
            Unit::Byte => text.len(),
            _ => text.chars().map(|c| self.length(c)).sum(),
        }
    }
}

/// Byte offsets of every place of a text in one unit, and back.
#[derive(Debug, Clone)]
pub struct Offsets {
    /// Byte of each unit and one past the last; `None` inside a character. Empty where units are bytes of ASCII.
    bytes: Vec<Option<u32>>,
    length: usize,
    unit: Unit,
}

impl Offsets {
    /// Of `text` in `unit`. A text of 4 GiB and above has no places.
    pub fn new(text: &str, unit: Unit) -> Self {
        let length = text.len();
        if text.is_ascii() {
            return Offsets { bytes: Vec::new(), length, unit };
        }
        let mut bytes = Vec::with_capacity(length + 1);
        for (at, c) in text.char_indices() {
            bytes.push(u32::try_from(at).ok());
            bytes.extend((1..unit.length(c)).map(|_| None));
        }
        bytes.push(u32::try_from(length).ok());
        Offsets { bytes, length, unit }
    }

    /// The byte at an offset of the unit; `None` outside the text and inside a character.
    pub fn byte(&self, at: usize) -> Option<usize> {
        if self.bytes.is_empty() {
            return (at <= self.length).then_some(at);
        }
        self.bytes.get(at).copied().flatten().map(|byte| byte as usize)
    }

    /// The bytes of a non-empty range in the unit.
    pub fn bytes(&self, start: usize, end: usize) -> Option<Range<usize>> {
        let (start, end) = (self.byte(start)?, self.byte(end)?);
        (start < end).then_some(start..end)
    }

    /// The offset in the unit of a byte that begins a character or ends the text.
    pub fn at(&self, byte: usize) -> Option<usize> {
        if self.bytes.is_empty() {
            return (byte <= self.length).then_some(byte);
        }
        let wanted = u32::try_from(byte).ok()?;
        let (mut low, mut high) = (0, self.bytes.len());
        while low < high {
            let mut middle = low + (high - low) / 2;
            // Inside a character: its first unit decides.
            while self.bytes[middle].is_none() && middle > low {
                middle -= 1;
            }
            match self.bytes[middle] {
                Some(found) if found == wanted => return Some(middle),
                Some(found) if found > wanted => high = middle,
                _ => {
                    low = middle + 1;
                    while low < high && self.bytes[low].is_none() {
                        low += 1;
                    }
                }
            }
        }
        None
    }

    /// The unit.
    pub fn unit(&self) -> Unit {
        self.unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn three_units_of_one_text() {
        let text = "aé😀b";
        let places = |unit| (0..10).map(|at| Offsets::new(text, unit).byte(at)).collect::<Vec<_>>();
        assert_eq!(places(Unit::Byte)[..9], [Some(0), Some(1), None, Some(3), None, None, None, Some(7), Some(8)]);
        assert_eq!(places(Unit::CodePoint)[..6], [Some(0), Some(1), Some(3), Some(7), Some(8), None]);
        assert_eq!(places(Unit::Utf16)[..7], [Some(0), Some(1), Some(3), None, Some(7), Some(8), None]);
        assert_eq!(Offsets::new("abc", Unit::Utf16).byte(4), None);
        assert_eq!(Offsets::new("abc", Unit::Utf16).bytes(2, 2), None);
    }

    proptest! {
        #[test]
        fn there_and_back(text in "[a-cé😀]{0,12}", byte in 0usize..40) {
            for unit in [Unit::Byte, Unit::CodePoint, Unit::Utf16] {
                let offsets = Offsets::new(&text, unit);
                let expected = text.is_char_boundary(byte).then(|| unit.count(&text[..byte]));
                prop_assert_eq!(offsets.at(byte), expected);
                if let Some(at) = expected {
                    prop_assert_eq!(offsets.byte(at), Some(byte));
                }
            }
        }
    }
}
