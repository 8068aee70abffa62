//! The tokenizer inside a GGUF.

use super::bpe::{Bpe, Merge};
use super::byte_level::{Alphabet, ByteLevel, Words};
use super::pretoken::Gpt2;
use super::sentencepiece::{self, DummyPrefix, Piece, PieceKind};
use super::tokenizer::{Kind, Tokenizer};
use super::vocabulary::Vocabulary;
use crate::{Error, Result};

/// The values of `tokenizer.ggml.*`, as they stand in the file.
#[derive(Debug, Default)]
pub struct GgufVocabulary<'a> {
    /// `tokenizer.ggml.model`: `llama` (SentencePiece) or `gpt2` (byte-level BPE).
    pub model: &'a str,
    /// `tokenizer.ggml.pre`: the pre-tokenizer of a byte-level vocabulary.
    pub pre: Option<&'a str>,
    /// `tokenizer.ggml.tokens`.
    pub tokens: Vec<&'a str>,
    /// `tokenizer.ggml.scores`.
    pub scores: &'a [f32],
    /// `tokenizer.ggml.token_type`: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; all normal if empty.
    pub token_types: &'a [i64],
    /// `tokenizer.ggml.merges`: `"left right"`.
    pub merges: Vec<&'a str>,
    /// `tokenizer.ggml.bos_token_id`.
    pub bos: Option<u32>,
    /// `tokenizer.ggml.eos_token_id`.
    pub eos: Option<u32>,
    /// `tokenizer.ggml.add_space_prefix`: the dummy prefix; absent, it is there in SentencePiece models only.
    pub add_space_prefix: Option<bool>,
}

impl Tokenizer {
    /// The tokenizer of a GGUF's metadata; `file` names it in errors.
    ///
    /// # Errors
    /// [`Error::Format`] for values that contradict one another; [`Error::Unsupported`] for another model or
    /// pre-tokenizer, by name.
    pub fn from_gguf_vocabulary(file: &str, gguf: &GgufVocabulary) -> Result<Self> {
        let fail = |why: String| Err(Error::format(file, why));
        let n = gguf.tokens.len();
        if n == 0 || u32::try_from(n).is_err() {
            return fail(format!("tokenizer.ggml.tokens: expected tokens, found {n}"));
        }
        if !gguf.token_types.is_empty() && gguf.token_types.len() != n {
            return fail(format!("tokenizer.ggml.token_type: expected {n} values, found {}", gguf.token_types.len()));
        }
        for (name, id) in [("bos", gguf.bos), ("eos", gguf.eos)] {
            if let Some(id) = id.filter(|&id| id as usize >= n) {
                return fail(format!("tokenizer.ggml.{name}_token_id: expected an id below {n}, found {id}"));
            }
        }
        let mut kinds = Vec::with_capacity(n);
        for i in 0..n {
            let number = gguf.token_types.get(i).copied().unwrap_or(1);
            let Some(kind) = PieceKind::from_number(number) else {
                return fail(format!("tokenizer.ggml.token_type[{i}]: expected 1 to 6, found {number}"));
            };
            kinds.push(kind);
        }
        match gguf.model {
            "llama" => sentence_piece(file, gguf, &kinds),
            "gpt2" => byte_level(file, gguf, &kinds),
            other => Err(Error::unsupported(format!("{file}: tokenizer.ggml.model {other:?} (llama and gpt2 are)"))),
        }
    }
}

fn sentence_piece(file: &str, gguf: &GgufVocabulary, kinds: &[PieceKind]) -> Result<Tokenizer> {
    let n = gguf.tokens.len();
    if gguf.scores.len() != n {
        return Err(Error::format(
            file,
            format!("tokenizer.ggml.scores: expected {n} values, found {}", gguf.scores.len()),
        ));
    }
    let pieces: Vec<Piece> = (gguf.tokens.iter().copied().zip(gguf.scores).zip(kinds))
        .map(|((text, &score), &kind)| Piece { text, score, kind })
        .collect();
    let prefix = if gguf.add_space_prefix.unwrap_or(true) { DummyPrefix::Every } else { DummyPrefix::Never };
    let (vocabulary, bpe, rules) = sentencepiece::build(file, &pieces, prefix)?;
    Ok(Tokenizer::new(vocabulary, bpe, Kind::SentencePiece(rules), gguf.bos, gguf.eos))
}

fn byte_level(file: &str, gguf: &GgufVocabulary, kinds: &[PieceKind]) -> Result<Tokenizer> {
    let digits = match gguf.pre {
        Some("smollm") => true,
        Some("gpt-2" | "default") | None => false,
        Some(other) => {
            return Err(Error::unsupported(format!(
                "{file}: tokenizer.ggml.pre {other:?} (smollm, gpt-2 and default are)"
            )));
        }
    };
    let alphabet = Alphabet::new();
    let mut vocabulary = Vocabulary::default();
    for (id, (token, kind)) in gguf.tokens.iter().zip(kinds).enumerate() {
        match kind {
            PieceKind::Normal | PieceKind::Unused => match alphabet.bytes(token) {
                Some(bytes) => vocabulary.push(&bytes)?,
                None => {
                    return Err(Error::format(file, format!("token {id} holds a character that stands for no byte")));
                }
            },
            _ => vocabulary.push_control(token)?,
        }
    }
    vocabulary.finish();
    let (merges, bytes) = {
        let index = vocabulary.index();
        let mut merges = Vec::with_capacity(gguf.merges.len());
        for (rank, line) in gguf.merges.iter().enumerate() {
            let sides = line.split_once(' ').and_then(|(l, r)| Some((alphabet.bytes(l)?, alphabet.bytes(r)?)));
            let rule = sides.and_then(|(left, right)| {
                let whole = [&left[..], &right[..]].concat();
                Some((*index.get(&left[..])?, *index.get(&right[..])?, *index.get(&whole[..])?))
            });
            let Some((left, right, merged)) = rule else {
                return Err(Error::format(file, format!("merge {rank}: expected two tokens whose union is one")));
            };
            merges.push(Merge { left, right, rank: rank as u32, merged });
        }
        (merges, std::array::from_fn(|byte| index.get(&[byte as u8][..]).copied()))
    };
    let bpe = Bpe::new(vocabulary.len(), merges)?;
    let rules = ByteLevel::new(Words::Gpt2(Gpt2::new(digits)?), gguf.add_space_prefix.unwrap_or(false), bytes);
    Ok(Tokenizer::new(vocabulary, bpe, Kind::ByteLevel(rules), gguf.bos, gguf.eos))
}
