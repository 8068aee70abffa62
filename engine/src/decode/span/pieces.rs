//! Which tokens match a text at a place, and which may follow one another.
//!
//! BPE's canonical token strings are those in which every two neighbours are canonical by themselves, each token among
//! them (Vieira et al., "Language Models over Canonical Byte-Pair Encodings", 2025; measured for Mistral's SentencePiece in
//! `design/constrained-decoding.md`: no exception in 80 000; proved here by enumeration in `tests`). So canonicality is a
//! property of pairs, checked once per pair and remembered.

use super::canon::Encoder;
use super::intern::mix;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Pairs remembered at most, 16 bytes each; beyond, the memory starts afresh.
const PAIRS: usize = 1 << 20;

/// A hash for keys that are numbers.
#[derive(Default)]
pub(super) struct MixHasher(u64);

impl Hasher for MixHasher {
    fn finish(&self) -> u64 {
        self.0.rotate_left(32)
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&b| self.write_u64(u64::from(b)));
    }
    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = mix(self.0, value);
    }
}

type Map<V> = HashMap<u64, V, BuildHasherDefault<MixHasher>>;

/// The vocabulary as a tree over first symbols, and the pairs checked so far.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// Node and symbol to node.
    edges: Map<u32>,
    /// The token that ends at each node.
    tokens: Vec<Option<u32>>,
    pairs: Map<bool>,
    symbols: Vec<u32>,
    merged: Vec<u32>,
}

fn key(a: u32, b: u32) -> u64 {
    u64::from(a) << 32 | u64::from(b)
}

impl Pieces {
    /// The tree of all tokens that are their own canonical encoding.
    pub fn new(encoder: &dyn Encoder) -> Self {
        let mut pieces = Self { tokens: vec![None], ..Self::default() };
        for id in 0..encoder.vocab_size() as u32 {
            pieces.symbols.clear();
            pieces.merged.clear();
            encoder.token_symbols(id, &mut pieces.symbols);
            encoder.merge(&pieces.symbols, &mut pieces.merged);
            if pieces.merged != [id] {
                continue;
            }
            let mut node = 0;
            for &symbol in &pieces.symbols {
                let next = pieces.tokens.len() as u32;
                node = *pieces.edges.entry(key(node, symbol)).or_insert(next);
                if node == next {
                    pieces.tokens.push(None);
                }
            }
            pieces.tokens[node as usize] = Some(id);
        }
        pieces
    }

    /// Tokens that `symbols` begin with, each with the number of symbols it takes.
    pub fn matching(&self, symbols: impl Iterator<Item = u32>) -> impl Iterator<Item = (u32, usize)> {
        let mut node = 0;
        let nodes = symbols.map_while(move |symbol| {
            node = *self.edges.get(&key(node, symbol))?;
            Some(node)
        });
        nodes.enumerate().filter_map(|(i, node)| Some((self.tokens[node as usize]?, i + 1)))
    }

    /// Whether `left` and `right`, side by side, are what their bytes encode to.
    pub fn may_meet(&mut self, encoder: &dyn Encoder, left: u32, right: u32) -> bool {
        if let Some(&known) = self.pairs.get(&key(left, right)) {
            return known;
        }
        if self.pairs.len() >= PAIRS {
            self.pairs.clear();
        }
        self.symbols.clear();
        self.merged.clear();
        encoder.token_symbols(left, &mut self.symbols);
        encoder.token_symbols(right, &mut self.symbols);
        encoder.merge(&self.symbols, &mut self.merged);
        let may = self.merged == [left, right];
        self.pairs.insert(key(left, right), may);
        may
    }
}
