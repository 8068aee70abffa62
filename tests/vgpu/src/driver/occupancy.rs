//! Occupancy: how many blocks of a kernel an SM holds at a time, by threads, shared memory, registers and block slots.

use super::arch::{BLOCK_THREADS, REGISTERS, SHARED_RESERVED};
use super::args::{In, Out};
use super::errors::{INVALID_VALUE, NOT_SUPPORTED, Result};
use super::function::{self, Function};
use super::state::state;
use std::ffi::{c_int, c_uint};

/// `CUoccupancyB2DSize`: dynamic shared memory of a block of that many threads.
type SharedOf = extern "C" fn(c_int) -> usize;

/// Registers are given to warps in units of this many.
const REGISTER_UNIT: u32 = 256;

/// Blocks of `threads` threads and `dynamic` bytes of dynamic shared memory that fit an SM.
pub fn blocks(function: &Function, threads: i32, dynamic: usize) -> i32 {
    let limits = state().limits();
    let (threads, most) = (threads as u32, function.code.max_threads());
    let warps = threads.div_ceil(32);
    let registers = warps * (function.registers() as u32 * 32).next_multiple_of(REGISTER_UNIT);
    let shared = function.shared() + dynamic + SHARED_RESERVED as usize;
    if threads > most || registers > REGISTERS as u32 {
        return 0;
    }
    let by_threads = limits.threads as u32 / (warps * 32);
    let by_registers = REGISTERS as u32 / registers;
    let by_shared = (limits.shared as usize / shared) as u32;
    by_threads.min(by_registers).min(by_shared).min(limits.blocks as u32) as i32
}

fn active_blocks(place: Out<c_int>, function: u64, threads: c_int, dynamic: usize) -> Result {
    let function = function::by_handle(function)?;
    if !(1..=BLOCK_THREADS).contains(&threads) {
        return Err(INVALID_VALUE);
    }
    place.set(blocks(&function, threads, dynamic))
}

/// The block size with most threads resident, the largest of equals, and the grid that fills the device with it.
fn best_block(
    grid: Out<c_int>,
    block: Out<c_int>,
    function: u64,
    shared: Option<SharedOf>,
    dynamic: usize,
    limit: c_int,
) -> Result {
    let function = function::by_handle(function)?;
    let most = match limit {
        0 => BLOCK_THREADS,
        1.. => limit.min(BLOCK_THREADS),
        _ => return Err(INVALID_VALUE),
    };
    let most = most.min(function.code.max_threads() as i32);
    let resident = |threads: i32| blocks(&function, threads, shared.map_or(dynamic, |shared| shared(threads)));
    let sizes = (1..=most / 32).map(|warps| warps * 32).chain((most % 32 != 0).then_some(most));
    let best = sizes.max_by_key(|threads| (resident(*threads) * threads, *threads)).ok_or(INVALID_VALUE)?;
    grid.set(resident(best) * state().limits().multiprocessors)?;
    block.set(best)
}

api! {
    fn cuOccupancyMaxActiveBlocksPerMultiprocessor(count: Out<c_int>, function: u64, threads: c_int, dynamic: usize) {
        active_blocks(count, function, threads, dynamic)
    }

    fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        count: Out<c_int>, function: u64, threads: c_int, dynamic: usize, flags: c_uint,
    ) {
        if flags > 1 {
            return Err(INVALID_VALUE);
        }
        active_blocks(count, function, threads, dynamic)
    }

    fn cuOccupancyAvailableDynamicSMemPerBlock(bytes: Out<usize>, function: u64, blocks: c_int, threads: c_int) {
        let function = function::by_handle(function)?;
        let limits = state().limits();
        if blocks < 1 || !(1..=BLOCK_THREADS).contains(&threads) || blocks > limits.blocks {
            return Err(INVALID_VALUE);
        }
        let share = limits.shared / blocks - SHARED_RESERVED;
        let left = share.min(limits.shared_block) - function.shared() as i32;
        bytes.set(left.max(0) as usize)
    }

    fn cuOccupancyMaxPotentialBlockSize(
        grid: Out<c_int>, block: Out<c_int>, function: u64, shared: Option<SharedOf>, dynamic: usize, limit: c_int,
    ) {
        best_block(grid, block, function, shared, dynamic, limit)
    }

    fn cuOccupancyMaxPotentialBlockSizeWithFlags(
        grid: Out<c_int>, block: Out<c_int>, function: u64, shared: Option<SharedOf>, dynamic: usize, limit: c_int,
        flags: c_uint,
    ) {
        if flags > 1 {
            return Err(INVALID_VALUE);
        }
        best_block(grid, block, function, shared, dynamic, limit)
    }

    fn cuOccupancyMaxPotentialClusterSize(_size: Out<c_int>, _function: u64, _config: In<u8>) { Err(NOT_SUPPORTED) }
    fn cuOccupancyMaxActiveClusters(_count: Out<c_int>, _function: u64, _config: In<u8>) { Err(NOT_SUPPORTED) }
}
