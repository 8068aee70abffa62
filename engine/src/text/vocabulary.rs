//! The bytes of every token, in one block, and the names of the tokens that text cannot reach.

use std::collections::HashMap;

use crate::{Error, Result};

/// Token id to bytes. Control tokens have no bytes, only names.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    bytes: Vec<u8>,
    /// Token `i` is `bytes[ends[i - 1]..ends[i]]`.
    ends: Vec<u32>,
    /// Control tokens: name and id, sorted by name; of equal names the lower id is kept.
    controls: Vec<(String, u32)>,
}

impl Vocabulary {
    /// Appends the token of the next id.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        let end = u32::try_from(self.bytes.len()).map_err(|_| Error::unsupported("a vocabulary of 4 GiB or more"))?;
        self.ends.push(end);
        Ok(())
    }

    /// Appends a control token: a name and no bytes.
    pub fn push_control(&mut self, name: &str) -> Result<()> {
        self.controls.push((name.to_owned(), self.ends.len() as u32));
        self.push(&[])
    }

    /// Sorts the names and gives back memory reserved for growing; call once, after the last token.
    pub fn finish(&mut self) {
        self.controls.sort();
        self.controls.dedup_by(|later, first| later.0 == first.0);
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    /// Number of ids, control tokens included.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of a token that text can reach.
    pub fn token(&self, id: u32) -> Option<&[u8]> {
        let end = *self.ends.get(id as usize)? as usize;
        let start = if id == 0 { 0 } else { self.ends[id as usize - 1] as usize };
        (start < end).then(|| &self.bytes[start..end])
    }

    /// All tokens that text can reach, with their ids.
    pub fn tokens(&self) -> impl Iterator<Item = (u32, &[u8])> {
        (0..self.len() as u32).filter_map(|id| Some((id, self.token(id)?)))
    }

    /// The id of a control token.
    pub fn control(&self, name: &str) -> Option<u32> {
        let at = self.controls.binary_search_by(|(n, _)| n.as_str().cmp(name)).ok()?;
        Some(self.controls[at].1)
    }

    /// Control tokens, sorted by name.
    pub fn controls(&self) -> &[(String, u32)] {
        &self.controls
    }

    /// The name of a control token.
    pub fn name(&self, id: u32) -> Option<&str> {
        self.controls.iter().find(|(_, i)| *i == id).map(|(name, _)| name.as_str())
    }

    /// Bytes to id; the first of equal tokens. Borrows, and is meant to be dropped after loading.
    pub fn index(&self) -> HashMap<&[u8], u32> {
        let mut index = HashMap::with_capacity(self.len());
        for (id, bytes) in self.tokens() {
            index.entry(bytes).or_insert(id);
        }
        index
    }
}
