//! [`Tokenizer`]: text to token ids and back, one meaning for every file format.

use std::ops::Range;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::bpe::Bpe;
use super::byte_level::{ByteLevel, Words};
use super::segment::Segment;
use super::sentencepiece::{DummyPrefix, SentencePiece};
use super::vocabulary::Vocabulary;
use crate::{Error, Result};

/// A tokenizer of the Mistral family: SentencePiece BPE with byte fallback, or byte-level BPE.
///
/// Immutable, `Send` and `Sync`. It reads `tokenizer.json`, `tokenizer.model` and the metadata of a GGUF into the same
/// compact tables (pair rules and token bytes; no string is kept twice); pre-tokenizers other than GPT-2's run through the
/// `tokenizers` crate.
///
/// **Text is data.** No text given to [`encode`](Self::encode) ever becomes a control token, however it is spelt; added and
/// user-defined tokens are reachable only by id, through [`Segment::Control`].
///
/// **Segments.** A segment is plain text between control tokens (or the ends of the prompt). SentencePiece models put one
/// space before the text they encode (the dummy prefix). The `tokenizer.json` of Mistral v0.1, with which BioMistral-NLU
/// was trained, does so in *every* segment; a SentencePiece library does so once per call. `encode` is one segment, so
/// both agree on it, and [`encode_segments`](Self::encode_segments) follows the `tokenizer.json`.
///
/// **Barriers.** A barrier is a boundary that no merge crosses, whatever stands further left and right: tokens(x + y) =
/// tokens(x) + tokens(y). For SentencePiece these are the beginnings of runs of spaces and both sides of a line feed,
/// provided that no piece of the vocabulary reaches across (checked when opening). For byte-level BPE they are the
/// boundaries of GPT-2's pre-tokens at which both sides can be scanned alone; the table stands in `pretoken.rs`. There a
/// barrier looks at two characters on each side. It holds for every string that keeps these four, and also for one that
/// begins inside the left two; so a span may begin anywhere before a barrier, and may end at it or two characters behind it
/// (one, where that one is not white space).
#[derive(Debug)]
pub struct Tokenizer {
    pub(super) vocabulary: Vocabulary,
    pub(super) bpe: Bpe,
    pub(super) kind: Kind,
    pub(super) bos: Option<u32>,
    pub(super) eos: Option<u32>,
    pub(super) hash: String,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one per tokenizer")]
pub(super) enum Kind {
    SentencePiece(SentencePiece),
    ByteLevel(ByteLevel),
}

impl Tokenizer {
    /// Opens a model folder (its `tokenizer.json`, else its `tokenizer.model`), one of these files, or a `.gguf`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] for a broken file; [`Error::Unsupported`] for rules that this engine does not
    /// follow exactly, by name.
    pub fn open(path: &Path) -> Result<Self> {
        super::open::open(path)
    }

    /// A `tokenizer.json` or `tokenizer.model` in memory; `file` names it in errors.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes(file: &str, bytes: &[u8]) -> Result<Self> {
        super::open::from_bytes(file, bytes, None)
    }

    pub(super) fn new(vocabulary: Vocabulary, bpe: Bpe, kind: Kind, bos: Option<u32>, eos: Option<u32>) -> Self {
        let mut tokenizer = Self { vocabulary, bpe, kind, bos, eos, hash: String::new() };
        tokenizer.hash = tokenizer.digest();
        tokenizer
    }

    /// Number of token ids, control tokens included.
    pub fn vocab_size(&self) -> usize {
        self.vocabulary.len()
    }

    /// The bytes a token stands for; `None` for control tokens and unknown ids.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.vocabulary.token(id)
    }

    /// The id of a control token, `"</s>"` or `"<|im_end|>"`.
    pub fn control(&self, name: &str) -> Option<u32> {
        self.vocabulary.control(name)
    }

    /// The name of a control token; `None` for tokens with bytes and unknown ids.
    pub fn control_name(&self, id: u32) -> Option<&str> {
        self.vocabulary.name(id)
    }

    /// All control tokens, sorted by name.
    pub fn controls(&self) -> &[(String, u32)] {
        self.vocabulary.controls()
    }

    /// The token that begins a sequence, where the model names one.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// Whether a sequence begins with [`bos`](Self::bos) by the tokenizer's own rule: SentencePiece's does, also where a chat
    /// template does not write it; a byte-level one's does not.
    pub fn adds_bos(&self) -> bool {
        self.bos.is_some() && matches!(self.kind, Kind::SentencePiece(_))
    }

    /// The token that ends an answer, where the model names one.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// SHA-256 of vocabulary and rules, hexadecimal: equal hashes encode equally.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The tokens of one segment of plain text at the beginning of a prompt (or after a control token, where the dummy prefix
    /// is the same in every segment; see the type).
    ///
    /// # Errors
    /// [`Error::Invalid`] where the vocabulary has no token for a byte of the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        crate::reserve::check()?;
        let mut out = Vec::with_capacity(text.len() / 3 + 2);
        self.encode_segment(text, true, &mut out)?;
        Ok(out)
    }

    /// The tokens of a prompt: control tokens as given, each text a segment of its own. Texts that follow one another directly
    /// are one segment.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_segments(&self, segments: &[Segment]) -> Result<Vec<u32>> {
        crate::reserve::check()?;
        let mut out = Vec::new();
        for (i, segment) in super::segment::joined(segments).iter().enumerate() {
            match segment {
                super::segment::Joined::Control(id) => out.push(*id),
                super::segment::Joined::Text(text) => self.encode_segment(text, i == 0, &mut out)?,
            }
        }
        Ok(out)
    }

    /// The tokens of `text` directly after `before` in one segment: tokens(before + text) without tokens(before).
    ///
    /// # Errors
    /// [`Error::Invalid`] where `before` is empty, or no barrier lies between the two and their tokens do not separate.
    pub fn encode_after(&self, before: &str, text: &str) -> Result<Vec<u32>> {
        if before.is_empty() {
            return Err(Error::invalid("encode_after: expected a text that stands before, found none"));
        }
        if self.barrier(before, text) {
            return self.encode_chunk(text);
        }
        let left = self.encode(before)?;
        let mut whole = self.encode(&[before, text].concat())?;
        if !whole.starts_with(&left) {
            return Err(Error::invalid("encode_after: no token boundary lies between the text before and the text"));
        }
        Ok(whole.split_off(left.len()))
    }

    /// The tokens of a text that begins at a barrier inside a segment, as each of [`chunks`](Self::chunks) but the first does.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_chunk(&self, chunk: &str) -> Result<Vec<u32>> {
        let mut out = Vec::with_capacity(8);
        self.encode_chunk_into(chunk, &mut out)?;
        Ok(out)
    }

    /// [`encode_chunk`](Self::encode_chunk), appending to `out`.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_chunk_into(&self, chunk: &str, out: &mut Vec<u32>) -> Result<()> {
        let mut symbols = Vec::with_capacity(chunk.len());
        match &self.kind {
            Kind::SentencePiece(rules) => {
                rules.symbols(chunk, &mut symbols);
                self.bpe.merge(&symbols, out);
                Ok(())
            }
            Kind::ByteLevel(rules) => {
                rules.for_each_word(chunk, |word| self.encode_word(rules, word, &mut symbols, out))
            }
        }
    }

    /// Appends the first symbols of a chunk to `out`, and says whether merging alone makes the tokens of every piece of it:
    /// tokens(piece) = [`merge`](Self::merge)(symbols(piece)), also with one space before the piece. False for a chunk
    /// that a pre-tokenizer may cut further.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub(crate) fn symbols(&self, chunk: &str, out: &mut Vec<u32>) -> Result<bool> {
        match &self.kind {
            Kind::SentencePiece(rules) => {
                rules.symbols(chunk, out);
                Ok(true)
            }
            Kind::ByteLevel(rules) => {
                rules.symbols(chunk, out)?;
                let Words::Gpt2(gpt2) = &rules.words else { return Ok(false) };
                let alone = gpt2.digits() && chunk.starts_with(char::is_numeric);
                Ok(rules.whole.is_none() && !alone && !chunk.contains('\'') && gpt2.split(chunk).count() == 1)
            }
        }
    }

    /// Appends what `symbols` merge into.
    pub(crate) fn merge(&self, symbols: &[u32], out: &mut Vec<u32>) {
        self.bpe.merge(symbols, out);
    }

    /// Rank of the merge rule for two neighbouring tokens, and what it makes of them.
    pub(crate) fn rule(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        self.bpe.rule(left, right)
    }

    /// Whether the boundary between `before` and `after` is a barrier; true also where one of them is empty.
    pub fn barrier(&self, before: &str, after: &str) -> bool {
        match &self.kind {
            Kind::SentencePiece(rules) => rules.cuts(before, after),
            Kind::ByteLevel(ByteLevel { words: Words::Gpt2(gpt2), .. }) => gpt2.cuts(before, after),
            Kind::ByteLevel(_) => before.is_empty() || after.is_empty(),
        }
    }

    /// The byte ranges of `text` between its barriers: the tokens of a segment are those of its chunks, one after the other
    /// (the first with the dummy prefix, where the tokenizer has one). `None` where nothing is proved about this tokenizer.
    ///
    /// A chunk of SentencePiece is a run of spaces with the characters up to the next space, or one line feed. A chunk of
    /// byte-level BPE is a pre-token (` word`, ` (`, `2`), seldom several.
    pub fn chunks(&self, text: &str) -> Option<Vec<Range<usize>>> {
        match &self.kind {
            Kind::SentencePiece(rules) => rules.chunks(text),
            Kind::ByteLevel(ByteLevel { words: Words::Gpt2(gpt2), .. }) => Some(gpt2.chunks(text)),
            Kind::ByteLevel(_) => None,
        }
    }

    /// The text of `ids`: the inverse of [`encode`](Self::encode) and, control tokens left out, of
    /// [`encode_segments`](Self::encode_segments). The dummy prefix is removed; unknown ids have no text. Bytes, since a
    /// sequence may end inside a character.
    pub fn decode(&self, ids: &[u32]) -> Vec<u8> {
        let mut out = Vec::with_capacity(ids.len() * 4);
        for (i, &id) in ids.iter().enumerate() {
            let Some(bytes) = self.token_bytes(id) else { continue };
            let begins = i == 0 || self.token_bytes(ids[i - 1]).is_none();
            let prefix = begins && bytes.starts_with(b" ") && self.prefixes(i == 0);
            out.extend_from_slice(&bytes[usize::from(prefix)..]);
        }
        out
    }

    /// The byte range of each token in `text`, for `ids` = `encode(text)`; a dummy prefix has no width.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the tokens are not those of a text of this length.
    pub fn offsets(&self, text: &str, ids: &[u32]) -> Result<Vec<Range<usize>>> {
        let stray = || Error::invalid("offsets: the tokens are not those of the text");
        let mut ranges = Vec::with_capacity(ids.len());
        let length: usize = ids.iter().filter_map(|&id| self.token_bytes(id)).map(<[u8]>::len).sum();
        let mut prefix = usize::from(self.prefixes(true) && length == text.len() + 1);
        let mut at = 0;
        for &id in ids {
            let bytes = self.token_bytes(id).ok_or_else(stray)?;
            let bytes = bytes.get(std::mem::take(&mut prefix)..).ok_or_else(stray)?;
            if !text.as_bytes()[at..].starts_with(bytes) {
                return Err(stray());
            }
            ranges.push(at..at + bytes.len());
            at += bytes.len();
        }
        if at == text.len() { Ok(ranges) } else { Err(stray()) }
    }

    /// Whether a segment (the first of a prompt or a later one) begins with a space that its text does not have.
    fn prefixes(&self, first: bool) -> bool {
        match &self.kind {
            Kind::SentencePiece(rules) => match rules.prefix {
                DummyPrefix::Never => false,
                DummyPrefix::First => first,
                DummyPrefix::Every => true,
            },
            Kind::ByteLevel(rules) => rules.prefix_space,
        }
    }

    fn encode_segment(&self, text: &str, first: bool, out: &mut Vec<u32>) -> Result<()> {
        let mut symbols = Vec::new();
        match &self.kind {
            Kind::SentencePiece(rules) => {
                rules.prefix_symbol(text, first, &mut symbols);
                for chunk in rules.chunks(text).unwrap_or_else(|| std::iter::once(0..text.len()).collect()) {
                    rules.symbols(&text[chunk], &mut symbols);
                    self.bpe.merge(&symbols, out);
                    symbols.clear();
                }
                Ok(())
            }
            Kind::ByteLevel(rules) => {
                let spaced;
                let text = if rules.prefix_space && !text.is_empty() && !text.starts_with(' ') {
                    spaced = [" ", text].concat();
                    &spaced
                } else {
                    text
                };
                rules.for_each_word(text, |word| self.encode_word(rules, word, &mut symbols, out))
            }
        }
    }

    fn encode_word(&self, rules: &ByteLevel, word: &str, symbols: &mut Vec<u32>, out: &mut Vec<u32>) -> Result<()> {
        if let Some(&id) = rules.whole.as_ref().and_then(|whole| whole.get(word.as_bytes())) {
            out.push(id);
            return Ok(());
        }
        symbols.clear();
        rules.symbols(word, symbols)?;
        self.bpe.merge(symbols, out);
        Ok(())
    }

    fn digest(&self) -> String {
        let mut sha = Sha256::new();
        let rules = match &self.kind {
            Kind::SentencePiece(r) => format!("sentencepiece {:?} {}", r.prefix, r.prefix_unless_space),
            Kind::ByteLevel(r) => {
                let words = match &r.words {
                    Words::Gpt2(gpt2) => format!("gpt2 digits {}", gpt2.digits()),
                    Words::Other(rule) => format!("{rule:?}"),
                };
                format!("byte-level {} {} {words}", r.prefix_space, r.whole.is_some())
            }
        };
        sha.update(rules);
        for id in 0..self.vocab_size() as u32 {
            let bytes = self.token_bytes(id).unwrap_or_default();
            sha.update((bytes.len() as u32).to_le_bytes());
            sha.update(bytes);
        }
        for (name, id) in self.controls() {
            sha.update(id.to_le_bytes());
            sha.update((name.len() as u32).to_le_bytes());
            sha.update(name);
        }
        for rule in self.bpe.rules() {
            let numbers = [rule.left, rule.right, rule.rank, rule.merged].map(u32::to_le_bytes);
            sha.update(numbers.as_flattened());
        }
        sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
