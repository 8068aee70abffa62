//! The span graph made deterministic, one state at a time, as a walk needs it.
//!
//! A state is what is known after some tokens of a span: the bytes read so far, and every place of the graph that the text
//! may be at, each with the last end that its walk may have (from `max_words` and `no_overlap`). Two starts of the
//! same words are two places of one state until they differ; its accepts are the ends of all occurrences.

use super::canon::Encoder;
use super::dag::{Dag, NONE};
use super::intern::Interner;

/// State in which nothing can be read.
pub(super) const EMPTY: u32 = 0;

/// What one token leads to, `(token, target place)`, while a state is expanded.
type Pairs = Vec<(u32, u64)>;

#[derive(Debug, Clone, Copy)]
struct Expansion {
    /// First of its tokens in `tokens`, `next` and `bounds`.
    first: u32,
    count: u32,
    /// Its accepts in `accepts`.
    accepts: (u32, u32),
}

/// All states seen so far.
#[derive(Debug)]
pub(super) struct Sets {
    dag: Dag,
    /// Bytes read, the space before the span included, then the places: node in the high half, last end allowed in the low half.
    states: Interner<u64>,
    expansions: Vec<Option<Expansion>>,
    tokens: Vec<u32>,
    /// State after each token, [`NONE`] until asked for.
    next: Vec<u32>,
    /// The range in `targets` of each token's places.
    bounds: Vec<(u32, u32)>,
    targets: Vec<u64>,
    accepts: Vec<u32>,
    pairs: Pairs,
    scratch: Vec<u64>,
}

impl Sets {
    /// No states but the empty one.
    pub fn new(dag: Dag) -> Self {
        let mut sets = Self {
            dag,
            states: Interner::new(),
            expansions: Vec::new(),
            tokens: Vec::new(),
            next: Vec::new(),
            bounds: Vec::new(),
            targets: Vec::new(),
            accepts: Vec::new(),
            pairs: Vec::new(),
            scratch: Vec::new(),
        };
        sets.intern_scratch();
        sets
    }

    /// `(start, node)` of every start, by start.
    pub fn roots(&self) -> &[(u32, u32)] {
        &self.dag.roots
    }

    /// Whether a walk from root `node` can end at or before `limit`.
    pub fn can_end(&self, node: u32, limit: u32) -> bool {
        self.dag.node(node).first_end <= limit
    }

    /// The state before the first token of a span over `(node, limit)` pairs, each of which [can end](Self::can_end).
    pub fn root(&mut self, places: impl Iterator<Item = (u32, u32)>) -> u32 {
        self.scratch.clear();
        self.scratch.push(0);
        self.scratch.extend(places.map(|(node, limit)| pack(node, limit)));
        if self.scratch.len() == 1 {
            return EMPTY;
        }
        self.scratch[1..].sort_unstable();
        self.intern_scratch()
    }

    fn intern_scratch(&mut self) -> u32 {
        let (id, new) = self.states.intern(&self.scratch);
        if new {
            self.expansions.push(None);
        }
        id
    }

    /// Bytes of the span read so far.
    pub fn read(&self, state: u32) -> u32 {
        self.states.get(state).first().map_or(0, |&read| (read as u32).saturating_sub(1))
    }

    /// Tokens that continue the span, sorted.
    pub fn tokens(&mut self, state: u32) -> &[u32] {
        let e = self.expand(state);
        &self.tokens[e.first as usize..(e.first + e.count) as usize]
    }

    /// Ends of the occurrences of what was read so far, sorted: empty where the span may not end.
    pub fn accepts(&mut self, state: u32) -> &[u32] {
        let e = self.expand(state);
        &self.accepts[e.accepts.0 as usize..e.accepts.1 as usize]
    }

    /// The state after `token`, [`EMPTY`] where it does not continue the span.
    pub fn step(&mut self, encoder: &dyn Encoder, state: u32, token: u32) -> u32 {
        let Ok(at) = self.tokens(state).binary_search(&token) else { return EMPTY };
        let e = self.expand(state);
        let at = e.first as usize + at;
        if self.next[at] == NONE {
            let (from, to) = self.bounds[at];
            let length = encoder.token_bytes(token).map_or(0, <[u8]>::len) as u64;
            self.scratch.clear();
            self.scratch.push(self.states.get(state)[0] + length);
            self.scratch.extend_from_slice(&self.targets[from as usize..to as usize]);
            self.next[at] = self.intern_scratch();
        }
        self.next[at]
    }

    fn expand(&mut self, state: u32) -> Expansion {
        if let Some(e) = self.expansions[state as usize] {
            return e;
        }
        let mut pairs = std::mem::take(&mut self.pairs);
        pairs.clear();
        let accepts_from = self.accepts.len();
        for &place in self.states.get(state).iter().skip(1) {
            let (mut id, limit) = unpack(place);
            // Everything ends somewhere: without a limit there is nothing to look up.
            let free = limit == NONE;
            loop {
                let node = self.dag.node(id);
                let live = self.dag.edges(node).filter(|&(_, target)| free || self.can_end(target, limit));
                pairs.extend(live.map(|(token, target)| (token, pack(target, limit))));
                if node.accept <= limit && node.accept != NONE {
                    self.accepts.push(node.accept);
                }
                if node.next == NONE || !(free || self.can_end(node.next, limit)) {
                    break;
                }
                id = node.next;
            }
        }
        if pairs.len() > 1 {
            pairs.sort_unstable();
            pairs.dedup();
        }
        self.accepts[accepts_from..].sort_unstable();
        let first = self.tokens.len() as u32;
        for group in pairs.chunk_by(|a, b| a.0 == b.0) {
            let from = self.targets.len() as u32;
            self.targets.extend(group.iter().map(|&(_, place)| place));
            self.tokens.push(group[0].0);
            self.next.push(NONE);
            self.bounds.push((from, self.targets.len() as u32));
        }
        self.pairs = pairs;
        let e = Expansion {
            first,
            count: self.tokens.len() as u32 - first,
            accepts: (accepts_from as u32, self.accepts.len() as u32),
        };
        self.expansions[state as usize] = Some(e);
        e
    }
}

/// High half: the node; low half: the last end allowed.
fn pack(node: u32, limit: u32) -> u64 {
    u64::from(node) << 32 | u64::from(limit)
}

fn unpack(place: u64) -> (u32, u32) {
    ((place >> 32) as u32, place as u32)
}
