//! Offsets in bytes, code points and UTF-16 units.

/// What an offset counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Unit {
    /// UTF-8 bytes: Rust, C.
    Byte,
    /// Unicode code points: Python, and in practice brat, PubTator and BioC.
    #[default]
    CodePoint,
    /// UTF-16 code units: Java, JavaScript, C#.
    Utf16,
}

impl Unit {
    /// The name that files carry.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Byte => "byte",
            Unit::CodePoint => "codepoint",
            Unit::Utf16 => "utf16",
        }
    }

    /// The unit of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        [Unit::Byte, Unit::CodePoint, Unit::Utf16].into_iter().find(|unit| unit.name() == name)
    }
}

/// Converts offsets into one text.
#[derive(Debug, Clone)]
pub struct Units<'a> {
    text: &'a str,
    /// Byte, code point and UTF-16 offset right after each character that is not ASCII.
    after: Vec<[usize; 3]>,
}

impl<'a> Units<'a> {
    /// The converter of `text`.
    pub fn new(text: &'a str) -> Self {
        let (mut after, mut at) = (Vec::new(), [0, 0, 0]);
        for c in text.chars() {
            at = [at[0] + c.len_utf8(), at[1] + 1, at[2] + c.len_utf16()];
            if !c.is_ascii() {
                after.push(at);
            }
        }
        Units { text, after }
    }

    /// The text that offsets count in.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The offset in `unit` of the character at `byte`; `None` inside a character or past the end.
    pub fn offset(&self, unit: Unit, byte: usize) -> Option<usize> {
        self.text.is_char_boundary(byte).then(|| self.convert(Unit::Byte, unit, byte))
    }

    /// The byte of `offset` in `unit`; `None` inside a character or past the end.
    pub fn byte(&self, unit: Unit, offset: usize) -> Option<usize> {
        let byte = self.convert(unit, Unit::Byte, offset);
        self.text.is_char_boundary(byte).then_some(byte)
    }

    /// Between the last such character and the place there is ASCII alone, which all units count alike.
    fn convert(&self, from: Unit, to: Unit, offset: usize) -> usize {
        let index = self.after.partition_point(|after| after[from as usize] <= offset);
        let base = index.checked_sub(1).map_or([0, 0, 0], |before| self.after[before]);
        base[to as usize].saturating_add(offset - base[from as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_place_converts_as_counting_does(text in "[a-c äπ\u{1F600}]{0,40}") {
            let units = Units::new(&text);
            let mut found = [Vec::new(), Vec::new(), Vec::new()];
            for byte in (0..=text.len()).filter(|b| text.is_char_boundary(*b)) {
                let before = &text[..byte];
                let expected = [byte, before.chars().count(), before.encode_utf16().count()];
                for unit in [Unit::Byte, Unit::CodePoint, Unit::Utf16] {
                    prop_assert_eq!(units.offset(unit, byte), Some(expected[unit as usize]));
                    prop_assert_eq!(units.byte(unit, expected[unit as usize]), Some(byte));
                    found[unit as usize].push(expected[unit as usize]);
                }
            }
            for unit in [Unit::Byte, Unit::CodePoint, Unit::Utf16] {
                for offset in 0..text.len() + 3 {
                    prop_assert_eq!(units.byte(unit, offset).is_some(), found[unit as usize].contains(&offset));
                }
            }
            prop_assert_eq!(units.byte(Unit::Utf16, usize::MAX), None);
        }
    }
}
