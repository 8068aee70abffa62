//! A resident block: its memory, its warps and their special registers.

use super::registers::Registers;
use super::warp::{State, Warp};
use crate::decode::{Origin, Program, SpecialRegister};
use crate::memory::{Block, BlockShape, Checks, Region};
use crate::ptx::Bank;

/// The shape of a launch.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub shared_dynamic: u32,
}

impl Grid {
    /// Threads of a block.
    pub fn threads(&self) -> u32 {
        self.block.iter().product()
    }

    /// Index of the `number`-th block.
    pub fn position(&self, number: u64) -> [u32; 3] {
        let [x, y, _] = self.grid.map(u64::from);
        [(number % x) as u32, (number / x % y) as u32, (number / x / y) as u32]
    }
}

/// A block that runs, or waits to be given its next block.
pub struct Resident {
    /// Its index in the grid.
    pub position: [u32; 3],
    /// Shared and local memory, barriers, clocks.
    pub memory: Block,
    /// Its warps; one that takes its turn is absent.
    pub warps: Vec<Option<Warp>>,
    /// Warp instructions executed by the current block.
    pub issued: u64,
}

impl Resident {
    /// Room for a block of this program.
    pub fn new(program: &Program, grid: &Grid, checks: Checks) -> Resident {
        let threads = grid.threads();
        let mut shared: Vec<Region> = program.shared.clone();
        if grid.shared_dynamic != 0 {
            let name = "dynamic shared memory".to_owned();
            shared.push(Region { name, start: program.shared_dynamic, bytes: grid.shared_dynamic });
        }
        let shape = BlockShape { threads, shared, local: program.local_bytes };
        let warp = |index| Warp {
            index,
            registers: Registers::new(program.units),
            pc: 0,
            lanes: 0,
            live: 0,
            merge_at: 0,
            splits: Vec::new(),
            state: State::Done,
            carry: 0,
        };
        let warps = (0..threads.div_ceil(32)).map(|index| Some(warp(index))).collect();
        Resident { position: [0; 3], memory: Block::new(shape, checks), warps, issued: 0 }
    }

    /// Begins the `number`-th block of the grid.
    pub fn start(&mut self, program: &Program, grid: &Grid, number: u64) {
        self.position = grid.position(number);
        self.memory.start(number as u32);
        self.issued = 0;
        let threads = grid.threads();
        for warp in self.warps.iter_mut().flatten() {
            let left = threads - warp.index * 32;
            warp.start(program.start, if left >= 32 { u32::MAX } else { (1 << left) - 1 });
            for (row, bank, origin) in &program.filled {
                let value = |lane: u32| match origin {
                    Origin::Constant(bits) => *bits,
                    Origin::Special(register) => {
                        special(*register, program, grid, self.position, warp.index, lane, number)
                    }
                    Origin::Register => 0,
                };
                match bank {
                    Bank::Word => *warp.registers.word_mut(*row) = std::array::from_fn(|l| value(l as u32) as u32),
                    Bank::Wide => *warp.registers.wide_mut(*row) = std::array::from_fn(|l| value(l as u32)),
                    Bank::Predicate => {
                        let lanes = if value(0) == 0 { 0 } else { u32::MAX };
                        warp.registers.set_predicate(*row, u32::MAX, lanes);
                    }
                }
                warp.registers.define(*row, u32::MAX, u32::MAX);
            }
        }
    }

    /// Whether every warp is done.
    pub fn is_done(&self) -> bool {
        self.warps.iter().flatten().all(|warp| warp.state == State::Done)
    }
}

fn special(
    register: SpecialRegister,
    program: &Program,
    grid: &Grid,
    position: [u32; 3],
    warp: u32,
    lane: u32,
    number: u64,
) -> u64 {
    let thread = warp * 32 + lane;
    let [x, y, _] = grid.block;
    let tid = [thread % x, thread / x % y, thread / (x * y)];
    let value = match register {
        SpecialRegister::Tid(axis) => tid[usize::from(axis)],
        SpecialRegister::Ntid(axis) => grid.block[usize::from(axis)],
        SpecialRegister::Ctaid(axis) => position[usize::from(axis)],
        SpecialRegister::Nctaid(axis) => grid.grid[usize::from(axis)],
        SpecialRegister::LaneId => lane,
        SpecialRegister::WarpId => warp,
        SpecialRegister::WarpCount => 64,
        SpecialRegister::SmId => (number % 8) as u32,
        SpecialRegister::SmCount => 8,
        SpecialRegister::GridId => 1,
        SpecialRegister::LaneMaskEq => 1 << lane,
        SpecialRegister::LaneMaskLt => (1 << lane) - 1,
        SpecialRegister::LaneMaskLe => u32::MAX >> (31 - lane),
        SpecialRegister::LaneMaskGt => !(u32::MAX >> (31 - lane)),
        SpecialRegister::LaneMaskGe => !((1 << lane) - 1),
        SpecialRegister::DynamicSharedBytes => grid.shared_dynamic,
        SpecialRegister::TotalSharedBytes => program.shared_static + grid.shared_dynamic,
        SpecialRegister::Fixed(value) => value,
    };
    u64::from(value)
}
