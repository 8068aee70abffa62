//! Strings to their canonical tokens, remembered across documents.

use super::pieces::Pieces;
use crate::Result;
use crate::text::Tokenizer;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// What span decoding asks of a tokenizer. A *barrier* is a place in a text that no token crosses.
///
/// The boundaries of [`chunks`](Encoder::chunks) must be barriers whatever stands further left, and remain so when the
/// text ends at one of them. Between a character that is not white space and a following space or line feed there must
/// always be a barrier.
pub trait Encoder: Send + Sync {
    /// The ranges between barriers; `None` where the tokenizer has no proof of any.
    fn chunks(&self, text: &str) -> Option<Vec<Range<usize>>>;
    /// Appends the tokens of a text that begins at a barrier within a segment to `out`.
    fn encode_chunk(&self, text: &str, out: &mut Vec<u32>) -> Result<()>;
    /// Tokens of `text` where `before` stands directly before it and a barrier lies between; `before` is empty at the
    /// beginning of a segment.
    fn encode_after(&self, before: &str, text: &str) -> Result<Vec<u32>>;
    /// The bytes that a token stands for, `None` for control tokens.
    fn token_bytes(&self, id: u32) -> Option<&[u8]>;
    /// Tokens of the vocabulary.
    fn vocab_size(&self) -> usize;
    /// Appends the first symbols of a chunk to `out`; true where [`merge`](Encoder::merge) makes of them, and of those of
    /// every piece of the chunk with or without a space before, exactly the tokens.
    fn symbols(&self, chunk: &str, out: &mut Vec<u32>) -> Result<bool>;
    /// Appends the first symbols of a token to `out`.
    fn token_symbols(&self, id: u32, out: &mut Vec<u32>);
    /// Appends what BPE merges `symbols` into.
    fn merge(&self, symbols: &[u32], out: &mut Vec<u32>);
}

impl Encoder for Tokenizer {
    fn chunks(&self, text: &str) -> Option<Vec<Range<usize>>> {
        Tokenizer::chunks(self, text)
    }

    fn encode_chunk(&self, text: &str, out: &mut Vec<u32>) -> Result<()> {
        self.encode_chunk_into(text, out)
    }

    fn encode_after(&self, before: &str, text: &str) -> Result<Vec<u32>> {
        if before.is_empty() { self.encode(text) } else { Tokenizer::encode_after(self, before, text) }
    }

    fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        Tokenizer::token_bytes(self, id)
    }

    fn vocab_size(&self) -> usize {
        Tokenizer::vocab_size(self)
    }

    fn symbols(&self, chunk: &str, out: &mut Vec<u32>) -> Result<bool> {
        Tokenizer::symbols(self, chunk, out)
    }

    fn token_symbols(&self, id: u32, out: &mut Vec<u32>) {
        Tokenizer::token_symbols(self, id, out);
    }

    fn merge(&self, symbols: &[u32], out: &mut Vec<u32>) {
        Tokenizer::merge(self, symbols, out);
    }
}

/// Strings remembered at most; beyond, the memory starts afresh. 64 Ki clinical chunks are about 5 MB.
const STRINGS: usize = 1 << 16;

/// Canonical tokens of strings already seen.
#[derive(Debug, Default)]
pub(super) struct Memo {
    /// Range in `tokens`; `None` for a string that its tokens do not spell (a tokenizer that normalises).
    strings: HashMap<Box<str>, Option<(u32, u32)>>,
    tokens: Vec<u32>,
    scratch: String,
    /// Made when first needed.
    pub pieces: Option<Pieces>,
}

impl Memo {
    /// Tokens of `lead + text`, which follows a barrier; `None` when these tokens spell something else.
    pub fn tokens(&mut self, encoder: &dyn Encoder, lead: &str, text: &str) -> Result<Option<&[u32]>> {
        let found = if lead.is_empty() {
            self.find(encoder, text)
        } else {
            let mut scratch = std::mem::take(&mut self.scratch);
            scratch.clear();
            scratch.push_str(lead);
            scratch.push_str(text);
            let found = self.find(encoder, &scratch);
            self.scratch = scratch;
            found
        }?;
        Ok(found.map(|(from, to)| &self.tokens[from as usize..to as usize]))
    }

    fn find(&mut self, encoder: &dyn Encoder, string: &str) -> Result<Option<(u32, u32)>> {
        if let Some(&found) = self.strings.get(string) {
            return Ok(found);
        }
        if self.strings.len() >= STRINGS {
            self.strings.clear();
            self.tokens.clear();
        }
        let from = self.tokens.len();
        encoder.encode_chunk(string, &mut self.tokens)?;
        let spelled = self.tokens[from..].iter().flat_map(|&t| encoder.token_bytes(t).unwrap_or_default());
        let found = if spelled.eq(string.as_bytes()) {
            Some((from as u32, self.tokens.len() as u32))
        } else {
            self.tokens.truncate(from);
            None
        };
        self.strings.insert(string.into(), found);
        Ok(found)
    }
}

/// A tokenizer and what was learnt of it: canonical tokens of words seen in earlier documents, at most some megabytes.
/// Shared by all grammars of a model; sharing changes the speed of setting one up, never its language.
pub struct SpanCache {
    pub(super) encoder: Arc<dyn Encoder>,
    memo: Mutex<Memo>,
}

impl std::fmt::Debug for SpanCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpanCache").finish_non_exhaustive()
    }
}

impl SpanCache {
    /// An empty cache over a tokenizer.
    pub fn new(encoder: Arc<dyn Encoder>) -> Arc<Self> {
        Arc::new(Self { encoder, memo: Mutex::default() })
    }

    /// Runs `f` on the memory. A thread that died in the middle left it sound: strings are entered last.
    pub(super) fn with<R>(&self, f: impl FnOnce(&dyn Encoder, &mut Memo) -> R) -> R {
        f(self.encoder.as_ref(), &mut self.memo.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
