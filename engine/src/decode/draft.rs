//! Drafts: trees of continuations that the constraint allows, worth computing before the model has said so.
//!
//! A draft never changes an answer, only the number of passes to it. A branch is one guessed token and the tokens forced
//! after it; with probability `p` of being reached it saves a pass and costs its rows. So branches are taken in order of `p`
//! per row, down to the relative cost of a row.

use super::tree::{Place, Tree};
use super::{Constraint, StateId};
use crate::{Error, Result};
use std::collections::{BinaryHeap, HashMap};

/// Sets of more tokens than this are places where something begins, smaller ones where something goes on or ends.
const WIDE: usize = 8;

/// What the model thought of tokens when it last had the choice: the estimate of what it will think.
#[derive(Debug, Default)]
pub(super) struct Memory {
    seen: HashMap<(bool, u32), Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    probability: f64,
    chosen: bool,
}

impl Memory {
    /// Learns from one choice: the logits of the allowed tokens and the place of the chosen one.
    pub fn observe(&mut self, allowed: &[u32], logits: &[f32], chosen: usize) {
        let wide = allowed.len() > WIDE;
        let total: f64 = logits.iter().map(|&x| f64::from(x - logits[chosen]).exp()).sum();
        for (place, (&token, &x)) in allowed.iter().zip(logits).enumerate() {
            let probability = f64::from(x - logits[chosen]).exp() / total;
            let seen = self.seen.entry((wide, token)).or_insert(Seen { probability, chosen: false });
            seen.probability = probability;
            // What begins with this token has just been said; only what is said again (such as "None") is expected again.
            if wide && place == chosen && !std::mem::replace(&mut seen.chosen, true) {
                seen.probability *= 0.5;
            }
        }
    }

    /// Probabilities of `allowed`; tokens never seen share evenly what the others leave.
    fn guess(&self, allowed: &[u32]) -> Vec<f64> {
        let wide = allowed.len() > WIDE;
        let seen: Vec<Option<f64>> =
            allowed.iter().map(|&token| self.seen.get(&(wide, token)).map(|seen| seen.probability)).collect();
        let known: f64 = seen.iter().flatten().sum();
        let unknown = seen.iter().filter(|p| p.is_none()).count();
        let rest = (1.0 - known).max(0.05) / unknown.max(1) as f64;
        let total = known + rest * unknown as f64;
        seen.iter().map(|p| p.unwrap_or(rest) / total).collect()
    }
}

/// How much may be drafted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Guessed nodes.
    pub rows: usize,
    /// Tokens before the draft.
    pub cached: usize,
    /// Longest sequence, in tokens.
    pub positions: usize,
    /// Least probability per row.
    pub floor: f64,
    /// Whether tokens are scored: then the row before the last token is wanted, and so are asides.
    pub scored: bool,
}

/// A tree of drafts and the state of the constraint at each node.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub tree: Tree,
    pub states: Vec<StateId>,
    asides: HashMap<Place, Aside>,
}

/// Tokens to be scored from one place on, and the nodes of all but the last.
#[derive(Debug, Clone)]
pub(super) struct Aside {
    pub tokens: Vec<u32>,
    pub nodes: Vec<u32>,
}

impl Draft {
    pub fn aside(&self, place: Place) -> Option<&Aside> {
        self.asides.get(&place)
    }

    fn grow(&mut self, place: Place, token: u32, state: StateId) -> u32 {
        let node = self.tree.grow(place, token);
        if node as usize == self.states.len() {
            self.states.push(state);
        }
        node
    }
}

/// The token that must come next; none where the model is to be asked in any case.
pub(super) fn forced(constraint: &mut dyn Constraint, state: StateId, scored: bool) -> Option<u32> {
    let &[only] = constraint.allowed(state) else { return None };
    (!scored || constraint.aside(state).is_none()).then_some(only)
}

/// A guessed token and those forced after it, not yet in the tree.
struct Branch {
    probability: f64,
    parent: Place,
    depth: usize,
    run: Run,
    ends: bool,
}

impl Branch {
    fn gain(&self) -> f64 {
        self.probability / self.run.len() as f64
    }
}

impl PartialEq for Branch {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Branch {}
impl PartialOrd for Branch {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Branch {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.gain().total_cmp(&other.gain())
    }
}

/// Nodes that a pass takes at most.
const NODES: usize = 64;

/// Tokens, each with the state after it.
type Run = Vec<(u32, StateId)>;

/// The best draft below `state`, a state where the model is asked, with the asides of all places where it is.
///
/// # Errors
/// [`Error::TooLong`] where the aside of `state` does not fit.
pub(super) fn draft(constraint: &mut dyn Constraint, state: StateId, memory: &Memory, room: Room) -> Result<Draft> {
    let mut drafter =
        Drafter { constraint, memory, room, limit: 0, draft: Draft::default(), branches: BinaryHeap::new() };
    if let Some((tokens, run)) = drafter.aside(state)? {
        let (need, limit) = (room.cached + run.len(), room.positions);
        if need > limit {
            return Err(Error::TooLong { what: "the prompt with its answer".into(), need, limit });
        }
        if run.len() > NODES {
            return Err(Error::unsupported(format!("scoring an alternative of {} tokens, at most {NODES}", run.len())));
        }
        drafter.add_aside(None, tokens, &run);
    }
    drafter.limit = (drafter.draft.tree.len() + room.rows).min(NODES);
    drafter.branch(state, None, 1.0, 0);
    while let Some(branch) = drafter.branches.pop() {
        drafter.add(branch)?;
    }
    Ok(drafter.draft)
}

struct Drafter<'a> {
    constraint: &'a mut dyn Constraint,
    memory: &'a Memory,
    room: Room,
    limit: usize,
    draft: Draft,
    branches: BinaryHeap<Branch>,
}

impl Drafter<'_> {
    /// The aside wanted at `state`: its tokens, and all but the last with their states.
    fn aside(&mut self, state: StateId) -> Result<Option<(Vec<u32>, Run)>> {
        let wanted = if self.room.scored { self.constraint.aside(state) } else { None };
        let Some(tokens) = wanted.filter(|tokens| !tokens.is_empty()) else { return Ok(None) };
        let mut state = state;
        let mut run = Run::new();
        for &token in &tokens[..tokens.len() - 1] {
            let refused = || Error::internal(format!("the constraint refused token {token} of an aside"));
            state = self.constraint.advance(state, token).ok_or_else(refused)?;
            run.push((token, state));
        }
        Ok(Some((tokens, run)))
    }

    fn add_aside(&mut self, place: Place, tokens: Vec<u32>, run: &Run) {
        let mut end = place;
        let mut nodes = Vec::with_capacity(run.len());
        for &(token, state) in run {
            let node = self.draft.grow(end, token, state);
            nodes.push(node);
            end = Some(node);
        }
        self.draft.asides.insert(place, Aside { tokens, nodes });
    }

    /// Adds the branch, where there is room for it and for the aside at its end, and the branches below it.
    fn add(&mut self, branch: Branch) -> Result<()> {
        let Some(&(_, state)) = branch.run.last() else { return Ok(()) };
        let aside = if branch.ends { None } else { self.aside(state)? };
        let beside = aside.as_ref().map_or(0, |(_, run)| run.len());
        let depth = branch.depth + branch.run.len();
        if self.draft.tree.len() + branch.run.len() + beside > self.limit
            || self.room.cached + depth + beside > self.room.positions
        {
            return Ok(());
        }
        let mut place = branch.parent;
        for &(token, state) in &branch.run {
            place = Some(self.draft.grow(place, token, state));
        }
        if let Some((tokens, run)) = aside {
            self.add_aside(place, tokens, &run);
        }
        if !branch.ends {
            self.branch(state, place, branch.probability, depth);
        }
        Ok(())
    }

    /// Offers the branches below `parent`, a place with a choice, that may be worth their rows.
    fn branch(&mut self, state: StateId, parent: Place, probability: f64, depth: usize) {
        let allowed = self.constraint.allowed(state).to_vec();
        for (&token, guess) in allowed.iter().zip(self.memory.guess(&allowed)) {
            let probability = probability * guess;
            if probability < self.room.floor {
                continue;
            }
            if let Some((run, ends)) =
                self.run(state, token, self.room.rows.min(self.room.positions - self.room.cached - depth))
            {
                let branch = Branch { probability, parent, depth, run, ends };
                if branch.gain() >= self.room.floor {
                    self.branches.push(branch);
                }
            }
        }
    }

    /// `token` and all tokens forced after it, and whether the answer ends there; the last token of an answer is not a row.
    /// `None` where there is no row to compute or more than `limit`.
    fn run(&mut self, mut state: StateId, mut token: u32, limit: usize) -> Option<(Run, bool)> {
        let mut run = Run::new();
        loop {
            state = self.constraint.advance(state, token)?;
            if self.constraint.allowed(state).is_empty() {
                return (self.room.scored && !run.is_empty()).then_some((run, true));
            }
            if run.len() == limit {
                return None;
            }
            run.push((token, state));
            match forced(self.constraint, state, self.room.scored) {
                Some(only) => token = only,
                None => return Some((run, false)),
            }
        }
    }
}
