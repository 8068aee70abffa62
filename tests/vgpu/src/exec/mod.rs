//! The warp interpreter: lanes, divergence, arithmetic, collectives, and the launch of a grid.

mod access;
mod arithmetic;
mod bits;
mod collective;
mod compare;
mod convert;
pub(crate) mod float;
mod launch;
mod module;
pub(crate) mod registers;
mod resident;
mod special;
mod step;
#[cfg(test)]
pub(crate) mod tests;
mod warp;

pub use launch::{Launch, launch};
pub use module::{Function, LoadError, Module};

pub use crate::decode::Param;
use crate::memory::Definedness;
pub use crate::tensor::TensorModel;

/// In which order warps and blocks run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// Ascending; a warp runs until it waits.
    #[default]
    InOrder,
    /// Orders and lengths of turns by the seed.
    Shuffled,
}

/// What approximate functions return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Approx {
    /// The correctly rounded result.
    #[default]
    Exact,
    /// Anything within the documented bound, by the seed.
    Perturbed,
}

/// How a launch is executed and checked.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seed of every choice below.
    pub seed: u64,
    /// Order of warps and blocks.
    pub schedule: Schedule,
    /// Blocks that take turns; 0: one, and more only when it does not end on its own.
    pub resident_blocks: u32,
    /// Approximate functions.
    pub approx: Approx,
    /// Accumulation of tensor cores.
    pub tensor: TensorModel,
    /// Undefined data.
    pub definedness: Definedness,
    /// Checks races.
    pub races: bool,
    /// Warp instructions after which a launch counts as hanging; 0: never.
    pub watchdog: u64,
    /// Counts per source line in the result, which is empty without.
    pub profile: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            seed: 0,
            schedule: Schedule::InOrder,
            resident_blocks: 0,
            approx: Approx::Exact,
            tensor: TensorModel::Sequential,
            definedness: Definedness::Strict,
            races: true,
            watchdog: 20_000_000_000,
            profile: true,
        }
    }
}

/// A sequence of numbers by a seed (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}
