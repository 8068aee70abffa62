//! Strings to their canonical tokens, remembered across documents.

use super::shape::{Chunk, Draft, Shape};
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
    /// Appends the first symbols of a chunk to `out`; true where [`merge`](Encoder::merge) makes of them, and of those of
    /// every piece of the chunk with or without a space before, exactly the tokens.
    fn symbols(&self, chunk: &str, out: &mut Vec<u32>) -> Result<bool>;
    /// Appends what BPE merges `symbols` into: of all neighbours for which there is a [`rule`](Encoder::rule) those of the
    /// least rank become one, the leftmost of equals, until no rule is left.
    fn merge(&self, symbols: &[u32], out: &mut Vec<u32>);
    /// Rank of the rule for two neighbours and the token that it makes of them.
    fn rule(&self, left: u32, right: u32) -> Option<(u32, u32)>;
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

    fn symbols(&self, chunk: &str, out: &mut Vec<u32>) -> Result<bool> {
        Tokenizer::symbols(self, chunk, out)
    }

    fn merge(&self, symbols: &[u32], out: &mut Vec<u32>) {
        Tokenizer::merge(self, symbols, out);
    }

    fn rule(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        Tokenizer::rule(self, left, right)
    }
}

/// Strings remembered at most; beyond, the memory starts afresh. 64 Ki clinical chunks are about 5 MB.
const STRINGS: usize = 1 << 16;
/// Bytes that the shapes remembered take at most; beyond, the memory starts afresh.
const SHAPES: usize = 16 << 20;
/// A longer chunk hardly comes twice.
const LONG: usize = 64;

/// A shape, and its number in the document that had it last.
#[derive(Debug)]
struct Known {
    shape: Arc<Shape>,
    document: u64,
    index: u32,
}

/// Canonical tokens of strings already seen, and shapes of chunks.
#[derive(Debug, Default)]
pub(super) struct Memo {
    /// Range in `tokens`; `None` for a string that its tokens do not spell (a tokenizer that normalises).
    strings: HashMap<Box<str>, Option<(u32, u32)>>,
    tokens: Vec<u32>,
    scratch: String,
    /// By [`Chunk::key`].
    shapes: HashMap<Box<[u8]>, Known>,
    shapes_size: usize,
    key: Vec<u8>,
    document: u64,
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

    /// From here on [`shape`](Self::shape) numbers the shapes of another document.
    pub fn begin_document(&mut self) {
        self.document += 1;
    }

    /// The number of the shape of `chunk` in `shapes`, those of this document; it is entered where it is new there.
    pub fn shape(
        &mut self,
        encoder: &dyn Encoder,
        draft: &mut Draft,
        chunk: Chunk,
        shapes: &mut Vec<Arc<Shape>>,
    ) -> Result<u32> {
        let (document, index) = (self.document, shapes.len() as u32);
        if chunk.text.len() > LONG {
            shapes.push(Arc::new(draft.make(encoder, self, chunk)?));
            return Ok(index);
        }
        self.key.clear();
        chunk.key(&mut self.key);
        if let Some(known) = self.shapes.get_mut(&*self.key) {
            if known.document != document {
                shapes.push(known.shape.clone());
                (known.document, known.index) = (document, index);
            }
            return Ok(known.index);
        }
        let key = self.key.as_slice().into();
        let shape = Arc::new(draft.make(encoder, self, chunk)?);
        shapes.push(shape.clone());
        let size = shape.size() + self.key.len();
        if self.shapes_size + size > SHAPES {
            self.shapes.clear();
            self.shapes_size = 0;
        }
        self.shapes_size += size;
        self.shapes.insert(key, Known { shape, document, index });
        Ok(index)
    }

    #[cfg(test)]
    pub fn shapes_fit(&self) -> bool {
        let size: usize = self.shapes.iter().map(|(key, known)| key.len() + known.shape.size()).sum();
        size == self.shapes_size && size <= SHAPES
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

/// A tokenizer and what was learnt of it: words seen in earlier documents, at most some megabytes. Shared by all grammars of a model; sharing changes the speed of setting one up, never its language.
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
