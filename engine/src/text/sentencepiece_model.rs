//! `tokenizer.model`: the protobuf that SentencePiece writes (`sentencepiece_model.proto`), read by hand.

use super::sentencepiece::{DummyPrefix, Piece, PieceKind};
use crate::{Error, Result};

/// What a `tokenizer.model` says.
#[derive(Debug)]
pub(super) struct SentencePieceModel<'a> {
    pub pieces: Vec<Piece<'a>>,
    pub prefix: DummyPrefix,
    pub bos: &'a str,
    pub eos: &'a str,
}

impl<'a> SentencePieceModel<'a> {
    /// Reads a BPE model with byte fallback and the identity normaliser; any other is refused by name.
    pub fn parse(file: &str, bytes: &'a [u8]) -> Result<Self> {
        let mut model = Self { pieces: Vec::new(), prefix: DummyPrefix::Every, bos: "<s>", eos: "</s>" };
        let refuse = |what: &str| Err(Error::unsupported(format!("{file}: {what}")));
        // Defaults of the proto: unigram, white space collapsed.
        let (mut kind, mut collapse) = (1, true);
        for field in Fields::new(file, bytes) {
            match field? {
                (1, Value::Bytes(piece)) => model.pieces.push(read_piece(file, piece)?),
                (2, Value::Bytes(trainer)) => {
                    for field in Fields::new(file, trainer) {
                        match field? {
                            (3, Value::Int(k)) => kind = k,
                            (24, Value::Int(1)) => return refuse("SentencePiece with white space as a suffix"),
                            (46, Value::Bytes(name)) => model.bos = utf8(file, name)?,
                            (47, Value::Bytes(name)) => model.eos = utf8(file, name)?,
                            _ => {}
                        }
                    }
                }
                (3, Value::Bytes(normalizer)) => {
                    for field in Fields::new(file, normalizer) {
                        match field? {
                            (2, Value::Bytes(map)) if !map.is_empty() => {
                                return refuse("SentencePiece with a normaliser that changes characters");
                            }
                            (3, Value::Int(0)) => model.prefix = DummyPrefix::Never,
                            (4, Value::Int(flag)) => collapse = flag != 0,
                            (5, Value::Int(0)) => return refuse("SentencePiece without escaped white space"),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        if model.pieces.is_empty() {
            return Err(Error::format(file, "expected a SentencePiece model, found no pieces"));
        }
        match kind {
            2 => {}
            1 => return refuse("a SentencePiece model of type unigram (expected BPE)"),
            _ => return refuse(&format!("a SentencePiece model of type {kind} (expected BPE, 2)")),
        }
        if collapse {
            return refuse("SentencePiece that collapses white space");
        }
        Ok(model)
    }
}

fn read_piece<'a>(file: &str, bytes: &'a [u8]) -> Result<Piece<'a>> {
    let mut piece = Piece { text: "", score: 0.0, kind: PieceKind::Normal };
    for field in Fields::new(file, bytes) {
        match field? {
            (1, Value::Bytes(text)) => piece.text = utf8(file, text)?,
            (2, Value::Fixed32(bits)) => piece.score = f32::from_bits(bits),
            (3, Value::Int(kind)) => {
                piece.kind = i64::try_from(kind)
                    .ok()
                    .and_then(PieceKind::from_number)
                    .ok_or_else(|| Error::format(file, format!("expected a piece type of 1 to 6, found {kind}")))?;
            }
            _ => {}
        }
    }
    Ok(piece)
}

fn utf8<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|_| Error::format(file, "a piece is not UTF-8"))
}

/// A protobuf field's value; 64-bit fixed ones occur nowhere in this format and are skipped.
#[derive(Debug, PartialEq)]
enum Value<'a> {
    Int(u64),
    Fixed32(u32),
    Fixed64,
    Bytes(&'a [u8]),
}

/// The fields of one protobuf message: number and value.
struct Fields<'a, 'f> {
    file: &'f str,
    rest: &'a [u8],
}

impl<'a, 'f> Fields<'a, 'f> {
    fn new(file: &'f str, bytes: &'a [u8]) -> Self {
        Self { file, rest: bytes }
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, n: u64) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(usize::try_from(n).ok()?)?;
        self.rest = rest;
        Some(head)
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Int(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed64)?,
            2 => {
                let n = self.varint()?;
                Value::Bytes(self.take(n)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((key >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a, '_> {
    type Item = Result<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.rest = &[];
        }
        Some(
            field.ok_or_else(|| {
                Error::format(self.file, "expected a protobuf message, found a truncated or broken one")
            }),
        )
    }
}
