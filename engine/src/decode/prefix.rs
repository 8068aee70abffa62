//! Prefixes of prompts that stay in the cache of the session, so that an instruction is read once for many documents.

use crate::model::{AdapterId, ModelSession, SequenceId};

/// Sequences by adapter and tokens; the least recently used leave when the tokens held exceed the capacity.
///
/// A fork of a cached prefix gives the same bits as reading the prefix again, because a row's result depends on its own
/// history alone.
#[derive(Debug)]
pub(super) struct PrefixCache {
    entries: Vec<Entry>,
    capacity: usize,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    adapter: Option<AdapterId>,
    tokens: Vec<u32>,
    sequence: SequenceId,
    used: u64,
}

impl PrefixCache {
    /// An empty cache of at most `capacity` tokens.
    pub fn new(capacity: usize) -> Self {
        PrefixCache { entries: Vec::new(), capacity, clock: 0 }
    }

    /// Whether a prefix of `len` tokens can be held.
    pub fn fits(&self, len: usize) -> bool {
        len <= self.capacity
    }

    /// The sequence that holds exactly these tokens.
    pub fn find(&mut self, adapter: Option<AdapterId>, tokens: &[u32]) -> Option<SequenceId> {
        self.clock += 1;
        let entry = self.entries.iter_mut().find(|e| e.adapter == adapter && e.tokens == tokens)?;
        entry.used = self.clock;
        Some(entry.sequence)
    }

    /// Takes over `sequence`, releasing older ones until all fit.
    pub fn insert(
        &mut self,
        session: &mut dyn ModelSession,
        adapter: Option<AdapterId>,
        tokens: &[u32],
        sequence: SequenceId,
    ) {
        self.clock += 1;
        let mut held: usize = tokens.len() + self.entries.iter().map(|e| e.tokens.len()).sum::<usize>();
        self.entries.sort_by_key(|e| e.used);
        let mut leave = 0;
        while held > self.capacity && leave < self.entries.len() {
            held -= self.entries[leave].tokens.len();
            leave += 1;
        }
        for entry in self.entries.drain(..leave) {
            session.release(entry.sequence);
        }
        self.entries.push(Entry { adapter, tokens: tokens.to_vec(), sequence, used: self.clock });
    }

    /// Releases the prefixes that `leaves` names.
    pub fn forget(&mut self, session: &mut dyn ModelSession, leaves: impl Fn(Option<AdapterId>) -> bool) {
        self.entries.retain(|entry| {
            let stays = !leaves(entry.adapter);
            if !stays {
                session.release(entry.sequence);
            }
            stays
        });
    }
}
