//! The span graph made deterministic, one state at a time, as a walk needs it.
//!
//! A state is every place of the graph that the text may be at, each with the last end that its walk may have (from
//! `max_words` and `no_overlap`). Two starts of the same words are two places of one state until they differ; its accepts
//! are the ends of all occurrences. A single place without a limit, by far the most common state, is a node of the graph as
//! it stands: its number is the node's and nothing is copied.

use super::dag::{Dag, NONE};
use super::intern::Interner;

/// State in which nothing can be read.
pub(super) const EMPTY: u32 = 0;
/// State before the first token of a span that may start anywhere; it has too many places to list them.
const OPEN: u32 = 1;
/// The state of node 0.
const NODES: u32 = 2;

/// A token that leads out of a state.
#[derive(Debug, Clone, Copy)]
struct Exit {
    /// The state after it, [`NONE`] until asked for.
    next: u32,
    /// The range in `targets` of its places.
    places: (u32, u32),
}

#[derive(Debug, Clone, Copy)]
struct Expansion {
    /// Its tokens in `tokens` and `exits`.
    tokens: (u32, u32),
    /// Its accepts in `accepts`.
    accepts: (u32, u32),
}

/// Room from the beginning for the expansions of a short answer.
const ROOM: usize = 1024;

/// All states seen so far: [`EMPTY`], [`OPEN`], each node, then sets of places in the order that they were met.
#[derive(Debug)]
pub(super) struct Sets {
    dag: Dag,
    /// Places: node in the high half, last end allowed in the low half.
    sets: Interner<u64>,
    expansions: Vec<Option<Expansion>>,
    tokens: Vec<u32>,
    exits: Vec<Exit>,
    targets: Vec<u64>,
    accepts: Vec<u32>,
    /// The state after each of the graph's openings, [`NONE`] until asked for.
    opened: Vec<u32>,
    /// The end of a span that led to the node asked about last.
    end: u32,
    /// While a state is expanded: the places reached, and of each the token (high half) and its index.
    reached: Vec<u64>,
    pairs: Vec<u64>,
    scratch: Vec<u64>,
}

/// A state as it is stored.
enum Form {
    Empty,
    Open,
    Node(u32),
    Set(u32),
}

impl Sets {
    /// No sets yet.
    pub fn new(dag: Dag) -> Self {
        Self {
            opened: vec![NONE; dag.openings.len()],
            end: NONE,
            dag,
            sets: Interner::new(),
            expansions: Vec::with_capacity(ROOM),
            tokens: Vec::with_capacity(ROOM),
            exits: Vec::with_capacity(ROOM),
            targets: Vec::with_capacity(ROOM),
            accepts: Vec::with_capacity(ROOM),
            reached: Vec::with_capacity(ROOM),
            pairs: Vec::with_capacity(ROOM),
            scratch: Vec::with_capacity(ROOM),
        }
    }

    /// `(start, node)` of every start, by start.
    pub fn roots(&self) -> &[(u32, u32)] {
        &self.dag.roots
    }

    /// Whether a walk from root `node` can end at or before `limit`.
    pub fn can_end(&self, node: u32, limit: u32) -> bool {
        self.dag.first_end(node) <= limit
    }

    /// The state before the first token of a span over `(node, limit)` pairs, each of which [can end](Self::can_end).
    pub fn root(&mut self, places: impl Iterator<Item = (u32, u32)>) -> u32 {
        self.scratch.clear();
        self.scratch.extend(places.map(|(node, limit)| pack(node, limit)));
        self.state_of_scratch()
    }

    /// The state before the first token of a span over all of [`roots`](Self::roots).
    pub fn open_root(&self) -> u32 {
        if self.opened.is_empty() { EMPTY } else { OPEN }
    }

    fn state_of_scratch(&mut self) -> u32 {
        self.scratch.sort_unstable();
        self.scratch.dedup();
        match self.scratch[..] {
            [] => EMPTY,
            [place] if unpack(place).1 == NONE => unpack(place).0 + NODES,
            _ => {
                let (id, new) = self.sets.intern(&self.scratch);
                if new {
                    self.expansions.push(None);
                }
                self.dag.nodes() + NODES + id
            }
        }
    }

    fn form(&self, state: u32) -> Form {
        let nodes = self.dag.nodes();
        match state {
            EMPTY => Form::Empty,
            OPEN => Form::Open,
            state if state - NODES < nodes => Form::Node(state - NODES),
            state => Form::Set(state - NODES - nodes),
        }
    }

    /// Tokens that continue the span, sorted.
    pub fn tokens(&mut self, state: u32) -> &[u32] {
        match self.form(state) {
            Form::Empty => &[],
            Form::Open => &self.dag.openings,
            Form::Node(node) => self.dag.forth(node).1.tokens,
            Form::Set(set) => {
                let (from, to) = self.expand(set).tokens;
                &self.tokens[from as usize..to as usize]
            }
        }
    }

    /// Ends of the occurrences of what was read so far, sorted: empty where the span may not end.
    pub fn accepts(&mut self, state: u32) -> &[u32] {
        match self.form(state) {
            Form::Empty | Form::Open => &[],
            Form::Node(node) => {
                self.end = self.dag.accept(node);
                if self.end == NONE { &[] } else { std::slice::from_ref(&self.end) }
            }
            Form::Set(set) => {
                let (from, to) = self.expand(set).accepts;
                &self.accepts[from as usize..to as usize]
            }
        }
    }

    /// The state after `token`, [`EMPTY`] where it does not continue the span.
    pub fn step(&mut self, state: u32, token: u32) -> u32 {
        match self.form(state) {
            Form::Empty => EMPTY,
            Form::Open => {
                let Ok(at) = self.dag.openings.binary_search(&token) else { return EMPTY };
                if self.opened[at] == NONE {
                    self.scratch.clear();
                    self.dag.open(token, |node| self.scratch.push(pack(node, NONE)));
                    self.opened[at] = self.state_of_scratch();
                }
                self.opened[at]
            }
            Form::Node(node) => {
                let (_, forth) = self.dag.forth(node);
                forth.tokens.binary_search(&token).map_or(EMPTY, |at| forth.target(at) + NODES)
            }
            Form::Set(set) => {
                let (from, to) = self.expand(set).tokens;
                let Ok(at) = self.tokens[from as usize..to as usize].binary_search(&token) else { return EMPTY };
                let at = from as usize + at;
                let exit = self.exits[at];
                if exit.next == NONE {
                    self.scratch.clear();
                    self.scratch.extend_from_slice(&self.targets[exit.places.0 as usize..exit.places.1 as usize]);
                    self.exits[at].next = self.state_of_scratch();
                }
                self.exits[at].next
            }
        }
    }

    fn expand(&mut self, set: u32) -> Expansion {
        if let Some(e) = self.expansions[set as usize] {
            return e;
        }
        self.pairs.clear();
        self.reached.clear();
        let accepts_from = self.accepts.len();
        for &place in self.sets.get(set) {
            let (id, limit) = unpack(place);
            // Everything ends somewhere: without a limit there is nothing to look up.
            let free = limit == NONE;
            let (accept, forth) = self.dag.forth(id);
            if accept <= limit && accept != NONE {
                self.accepts.push(accept);
            }
            for (at, &token) in forth.tokens.iter().enumerate() {
                if free || forth.first_end(at) <= limit {
                    self.pairs.push(pack(token, self.reached.len() as u32));
                    self.reached.push(pack(forth.target(at), limit));
                }
            }
        }
        self.pairs.sort_unstable();
        self.accepts[accepts_from..].sort_unstable();
        let first = self.tokens.len() as u32;
        for group in self.pairs.chunk_by(|a, b| a >> 32 == b >> 32) {
            let from = self.targets.len() as u32;
            self.targets.extend(group.iter().map(|&pair| self.reached[unpack(pair).1 as usize]));
            let next = match self.targets[from as usize..] {
                [place] if unpack(place).1 == NONE => unpack(place).0 + NODES,
                _ => NONE,
            };
            self.tokens.push(unpack(group[0]).0);
            self.exits.push(Exit { next, places: (from, self.targets.len() as u32) });
        }
        let e = Expansion {
            tokens: (first, self.tokens.len() as u32),
            accepts: (accepts_from as u32, self.accepts.len() as u32),
        };
        self.expansions[set as usize] = Some(e);
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
