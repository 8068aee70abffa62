//! The spans given so far in a line, and which occurrence each one stands for.
//!
//! **Tie rule.** A span stands for its leftmost occurrence among those that the policy still permits: with
//! `no_overlap` those that share no byte with an occurrence chosen before, with `source_order` those that start no earlier
//! than the one chosen last, without `unique` those not chosen yet. So a span may be given again only as often as it
//! occurs, and no answer is endless.

use super::dag::NONE;
use super::grammar::SpanPolicy;
use super::intern::MixHasher;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;

/// The history of a line in which nothing was given.
pub(super) const START: u32 = 0;

#[derive(Debug, Clone, Copy)]
struct Entry {
    before: u32,
    /// The chosen occurrence; empty for [`START`].
    start: u32,
    end: u32,
    /// Spans so far.
    count: u32,
    /// Range in `tokens` of the span with the space before it.
    tokens: (u32, u32),
    /// No further occurrence of these words may be given.
    exhausted: bool,
}

/// All histories met so far; each is a span after another history.
#[derive(Debug)]
pub(super) struct Histories {
    entries: Vec<Entry>,
    known: HashMap<(u32, u32, u32), u32, BuildHasherDefault<MixHasher>>,
    tokens: Vec<u32>,
}

impl Histories {
    /// Only [`START`], in which the tokens `none` may not be a span; `occurs` says whether the text holds them at all.
    pub fn new(none: &[u32], occurs: bool) -> Self {
        let tokens = (0, none.len() as u32);
        let start = Entry { before: NONE, start: 0, end: 0, count: 0, tokens, exhausted: occurs };
        Self { entries: vec![start], known: HashMap::default(), tokens: none.to_vec() }
    }

    /// Number of spans given.
    pub fn count(&self, history: u32) -> u32 {
        self.entries[history as usize].count
    }

    /// The occurrence chosen last.
    pub fn last(&self, history: u32) -> Option<(u32, u32)> {
        let entry = self.entries[history as usize];
        (history != START).then_some((entry.start, entry.end))
    }

    fn chain(&self, history: u32) -> impl Iterator<Item = (u32, Entry)> + '_ {
        let mut at = history;
        std::iter::from_fn(move || {
            let entry = *self.entries.get(at as usize)?;
            Some((std::mem::replace(&mut at, entry.before), entry))
        })
    }

    fn chosen(&self, history: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.chain(history).filter(|&(id, _)| id != START).map(|(_, entry)| (entry.start, entry.end))
    }

    /// Entries whose words may not be given again, [`START`]'s `None` among them.
    pub fn exhausted(&self, history: u32) -> impl Iterator<Item = u32> + '_ {
        self.chain(history).filter(|(_, entry)| entry.exhausted).map(|(id, _)| id)
    }

    /// Tokens of an entry's span, with the space before it.
    pub fn tokens(&self, entry: u32) -> &[u32] {
        let (from, to) = self.entries[entry as usize].tokens;
        &self.tokens[from as usize..to as usize]
    }

    /// Which of the occurrences of `length` bytes that end at `ends` (those that the policy's limits let a walk reach) the
    /// next span stands for, and whether it is the last that may.
    pub fn choose(&self, history: u32, ends: &[u32], length: u32, policy: &SpanPolicy) -> Option<(u32, u32, bool)> {
        let mut free =
            ends.iter().filter(|&&end| policy.unique || !self.chosen(history).any(|c| c == (end - length, end)));
        let end = *free.next()?;
        Some((end - length, end, policy.unique || free.next().is_none()))
    }

    /// The history after one more span.
    pub fn push(&mut self, before: u32, (start, end, exhausted): (u32, u32, bool), tokens: &[u32]) -> u32 {
        if let Some(&known) = self.known.get(&(before, start, end)) {
            return known;
        }
        let from = self.tokens.len() as u32;
        self.tokens.extend_from_slice(tokens);
        let id = self.entries.len() as u32;
        let count = self.entries[before as usize].count + 1;
        self.entries.push(Entry { before, start, end, count, tokens: (from, self.tokens.len() as u32), exhausted });
        self.known.insert((before, start, end), id);
        id
    }

    /// Calls `keep(start, node, limit)` for each of the `roots` (by start) that `history` leaves to a next span, with the
    /// last end that it leaves them, until `keep` says to stop.
    pub fn roots(
        &self,
        history: u32,
        policy: &SpanPolicy,
        roots: &[(u32, u32)],
        mut keep: impl FnMut(u32, u32, u32) -> bool,
    ) {
        let mut chosen: Vec<(u32, u32)> = if policy.no_overlap { self.chosen(history).collect() } else { Vec::new() };
        chosen.sort_unstable();
        let mut ahead = chosen.into_iter().peekable();
        let first = match self.last(history) {
            Some((start, _)) if policy.source_order => roots.partition_point(|&(p, _)| p < start),
            _ => 0,
        };
        let mut taken = 0;
        for &(start, node) in &roots[first..] {
            while let Some((_, end)) = ahead.next_if(|&(from, _)| from <= start) {
                taken = taken.max(end);
            }
            let limit = ahead.peek().map_or(NONE, |&(from, _)| from);
            if start >= taken && !keep(start, node, limit) {
                return;
            }
        }
    }
}
