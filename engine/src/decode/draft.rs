//! Drafts: trees of continuations that the constraint allows, worth computing before the model has said so.
//!
//! A draft never changes an answer, only the number of passes to it. A branch is one guessed token and the tokens forced
//! after it; with probability `p` of being reached it saves a pass and costs its rows. So branches are taken in order of `p`
//! per row, down to the relative cost of a row.

use super::tree::{Place, Tree};
use super::{Constraint, StateId};
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
    /// Nodes.
    pub rows: usize,
    /// Nodes on one path.
    pub depth: usize,
    /// Least probability per row.
    pub floor: f64,
    /// Whether the row before the last token is wanted (it is where that token is scored).
    pub last_row: bool,
}

/// A tree of drafts and the state of the constraint at each node.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub tree: Tree,
    pub states: Vec<StateId>,
}

/// A guessed token and those forced after it, not yet in the tree.
struct Branch {
    probability: f64,
    parent: Place,
    depth: usize,
    run: Vec<(u32, StateId)>,
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

/// The best draft below `state`, a state with a choice.
pub(super) fn draft(constraint: &mut dyn Constraint, state: StateId, memory: &Memory, room: Room) -> Draft {
    let mut draft = Draft::default();
    let mut drafter = Drafter { constraint, memory, room, branches: BinaryHeap::new() };
    drafter.branch(state, None, 1.0, 0);
    while let Some(branch) = drafter.branches.pop() {
        if branch.gain() < room.floor {
            break;
        }
        if draft.tree.len() + branch.run.len() > room.rows {
            continue;
        }
        let mut place = branch.parent;
        for &(token, state) in &branch.run {
            place = Some(draft.tree.grow(place, token));
            draft.states.push(state);
        }
        if let (false, Some(&(_, state))) = (branch.ends, branch.run.last()) {
            drafter.branch(state, place, branch.probability, branch.depth + branch.run.len());
        }
    }
    draft
}

struct Drafter<'a> {
    constraint: &'a mut dyn Constraint,
    memory: &'a Memory,
    room: Room,
    branches: BinaryHeap<Branch>,
}

impl Drafter<'_> {
    /// Adds the branches below `parent`, a place with a choice, that may be worth their rows.
    fn branch(&mut self, state: StateId, parent: Place, probability: f64, depth: usize) {
        let allowed = self.constraint.allowed(state).to_vec();
        for (&token, guess) in allowed.iter().zip(self.memory.guess(&allowed)) {
            let probability = probability * guess;
            if probability < self.room.floor {
                continue;
            }
            if let Some((run, ends)) = self.run(state, token, self.room.rows.min(self.room.depth - depth)) {
                self.branches.push(Branch { probability, parent, depth, run, ends });
            }
        }
    }

    /// `token` and all tokens forced after it, each with the state after it, and whether the answer ends there; the last token
    /// of an answer is not a row. `None` where there is no row to compute or more than `limit`.
    fn run(&mut self, mut state: StateId, mut token: u32, limit: usize) -> Option<(Vec<(u32, StateId)>, bool)> {
        let mut run = Vec::new();
        loop {
            state = self.constraint.advance(state, token)?;
            let next = match *self.constraint.allowed(state) {
                [] => return (self.room.last_row && !run.is_empty()).then_some((run, true)),
                [only] => Some(only),
                _ => None,
            };
            if run.len() == limit {
                return None;
            }
            run.push((token, state));
            match next {
                Some(only) => token = only,
                None => return Some((run, false)),
            }
        }
    }
}
