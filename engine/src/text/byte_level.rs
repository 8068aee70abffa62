//! Byte-level BPE (GPT-2): the printable alphabet that stands for bytes, and the first symbols of a text.

use std::collections::HashMap;

use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, PreTokenizerWrapper};

use super::pretoken::Gpt2;
use crate::{Error, Result};

const NONE: u32 = u32::MAX;

/// How a text is cut into words before merging.
#[derive(Debug)]
pub(super) enum Words {
    /// GPT-2's rule, by our scanner; its boundaries are proved.
    Gpt2(Gpt2),
    /// Any other rule of a `tokenizer.json`, by `tokenizers`; nothing is proved about its boundaries.
    Other(Box<PreTokenizerWrapper>),
}

/// Text to first symbols of byte-level BPE.
#[derive(Debug)]
pub(super) struct ByteLevel {
    pub words: Words,
    /// A segment that does not begin with a space gets one.
    pub prefix_space: bool,
    bytes: [u32; 256],
    /// Where a word that is a token is taken whole, past the merges (`ignore_merges`): all tokens by their bytes.
    pub whole: Option<HashMap<Box<[u8]>, u32>>,
}

impl ByteLevel {
    /// `bytes` holds the id of each byte's own token, where there is one.
    pub fn new(words: Words, prefix_space: bool, bytes: [Option<u32>; 256]) -> Self {
        Self { words, prefix_space, bytes: bytes.map(|id| id.unwrap_or(NONE)), whole: None }
    }

    /// Appends the first symbols of `word`. Some vocabularies lack rare bytes; `tokenizers` drops those silently.
    pub fn symbols(&self, word: &str, out: &mut Vec<u32>) -> Result<()> {
        for byte in word.bytes() {
            match self.bytes[byte as usize] {
                NONE => {
                    return Err(Error::invalid(format!(
                        "the text holds the byte 0x{byte:02X}, for which the vocabulary has no token"
                    )));
                }
                id => out.push(id),
            }
        }
        Ok(())
    }

    /// Calls `each` with every word of `text`, in order.
    pub fn for_each_word(&self, text: &str, mut each: impl FnMut(&str) -> Result<()>) -> Result<()> {
        match &self.words {
            Words::Gpt2(gpt2) => gpt2.split(text).try_for_each(each),
            Words::Other(rule) => {
                let mut split = PreTokenizedString::from(text);
                rule.pre_tokenize(&mut split).map_err(|e| Error::invalid(format!("the pre-tokenizer failed: {e}")))?;
                let mut end = 0;
                for (_, range, _) in split.get_splits(OffsetReferential::Original, OffsetType::Byte) {
                    // A rule may drop what it splits at; then the tokens would no longer be those of the text.
                    let word = text.get(end..range.1).filter(|_| range.0 == end);
                    each(word.ok_or_else(|| Error::unsupported("a pre-tokenizer that leaves out parts of the text"))?)?;
                    end = range.1;
                }
                if end != text.len() {
                    return Err(Error::unsupported("a pre-tokenizer that leaves out parts of the text"));
                }
                Ok(())
            }
        }
    }
}

/// The character that stands for `byte` in a byte-level vocabulary: itself where it is printable, else the next free one
/// from U+0100.
pub(super) fn byte_char(byte: u8) -> char {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    if printable(byte) {
        return byte as char;
    }
    let before = (0..byte).filter(|&b| !printable(b)).count() as u32;
    char::from_u32(0x100 + before).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Byte-level token strings back to bytes: the byte of each character below U+0200, where it stands for one.
pub(super) struct Alphabet([Option<u8>; 0x200]);

impl Alphabet {
    pub fn new() -> Self {
        let mut bytes = [None; 0x200];
        for byte in 0..=255 {
            bytes[byte_char(byte) as usize] = Some(byte);
        }
        Self(bytes)
    }

    /// The bytes of a token string, `None` where it holds a character outside the alphabet.
    pub fn bytes(&self, token: &str) -> Option<Vec<u8>> {
        token.chars().map(|c| *self.0.get(c as usize)?).collect()
    }
}
