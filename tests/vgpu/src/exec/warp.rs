//! A warp: its registers and where its lanes are.
//!
//! Lanes that diverge become splits (place, mask). The split with the lowest place runs first and merges with others at the
//! same place. A split at a `.sync` instruction whose other lanes are not there is parked until they come.

use super::Random;
use super::registers::{FULL, Registers};

/// Lanes that stand at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Their next instruction.
    pub pc: u32,
    /// The lanes.
    pub lanes: u32,
    /// Waiting for other lanes.
    pub parked: bool,
}

/// Whether a warp can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has lanes that can run.
    Ready,
    /// All its lanes wait at a barrier, the instruction before `pc`.
    AtBarrier,
    /// No lane is left.
    Done,
}

/// One warp of a resident block.
pub struct Warp {
    /// Place in the block.
    pub index: u32,
    /// Its rows.
    pub registers: Registers,
    /// Next instruction of the running split.
    pub pc: u32,
    /// Lanes of the running split.
    pub lanes: u32,
    /// Lanes that have not exited.
    pub live: u32,
    /// The place at which the running split must look for others to merge with.
    pub merge_at: u32,
    /// The other splits.
    pub splits: Vec<Split>,
    /// Whether it can run.
    pub state: State,
    /// The carry bit of each lane.
    pub carry: u32,
}

impl Warp {
    /// Starts over with the lanes of `lanes` at `pc`; the caller fills the rows.
    pub fn start(&mut self, pc: u32, lanes: u32) {
        self.registers.undefine();
        (self.pc, self.lanes, self.live, self.merge_at) = (pc, lanes, lanes, FULL);
        self.splits.clear();
        (self.state, self.carry) = (State::Ready, 0);
    }

    /// Chooses the next split: the lowest place, or any by `random`. Afterwards no lane may be running: all wait.
    #[cold]
    pub fn reschedule(&mut self, random: Option<&mut Random>) {
        if self.lanes != 0 {
            self.splits.push(Split { pc: self.pc, lanes: self.lanes, parked: false });
            self.lanes = 0;
        }
        self.merge();
        let runnable: Vec<usize> = (0..self.splits.len()).filter(|s| !self.splits[*s].parked).collect();
        let chosen = match random {
            Some(random) if !runnable.is_empty() => Some(runnable[random.below(runnable.len())]),
            _ => runnable.into_iter().min_by_key(|s| self.splits[*s].pc),
        };
        self.merge_at = FULL;
        if let Some(chosen) = chosen {
            let split = self.splits.swap_remove(chosen);
            (self.pc, self.lanes) = (split.pc, split.lanes);
            let above = self.splits.iter().map(|s| s.pc).filter(|pc| *pc > split.pc);
            self.merge_at = above.min().unwrap_or(FULL);
        }
    }

    /// Joins splits at the same place; a newcomer wakes those parked there.
    fn merge(&mut self) {
        let mut first = 0;
        while first < self.splits.len() {
            let mut other = first + 1;
            while other < self.splits.len() {
                if self.splits[other].pc == self.splits[first].pc {
                    let joined = self.splits.swap_remove(other);
                    self.splits[first].lanes |= joined.lanes;
                    self.splits[first].parked = false;
                } else {
                    other += 1;
                }
            }
            first += 1;
        }
    }

    /// Parks `lanes` at the current instruction; the rest of the running split, whose guard is false, steps over it.
    #[cold]
    pub fn park(&mut self, lanes: u32) {
        self.splits.push(Split { pc: self.pc, lanes, parked: true });
        self.lanes &= !lanes;
        self.pc += 1;
        self.reschedule(None);
    }

    /// Wakes every parked split: the lanes that they wait for may have exited.
    pub fn unpark(&mut self) {
        self.splits.iter_mut().for_each(|split| split.parked = false);
    }

    /// A branch that only `taken` of the running lanes take.
    pub fn diverge(&mut self, taken: u32, target: u32) {
        let split = Split { pc: target, lanes: taken, parked: false };
        self.splits.push(split);
        self.lanes &= !taken;
        self.pc += 1;
        self.reschedule(None);
    }
}
