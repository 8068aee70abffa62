//! Gives rows their places in a warp's register file: linear scan over live intervals.
//!
//! The compiler numbers registers afresh for every value; a large kernel has tens of thousands. Rows whose values are never
//! needed at the same time share a place, so that a warp's registers fit the host's caches. A row that may be read before it
//! is written is live from the entry on, and so never finds another row's data.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::rows::{Origin, Row, RowTable, TRUE};
use super::{Inst, Op};
use crate::ptx::Bank;

/// A set of rows.
#[derive(Clone, PartialEq)]
struct Rows(Vec<u64>);

impl Rows {
    fn new(rows: usize) -> Rows {
        Rows(vec![0; rows.div_ceil(64)])
    }

    fn insert(&mut self, row: Row) {
        self.0[row as usize / 64] |= 1 << (row % 64);
    }

    fn remove(&mut self, row: Row) {
        self.0[row as usize / 64] &= !(1 << (row % 64));
    }

    fn each(&self, mut f: impl FnMut(Row)) {
        for (word, bits) in self.0.iter().enumerate() {
            let mut rest = *bits;
            while rest != 0 {
                f((word * 64) as Row + rest.trailing_zeros());
                rest &= rest - 1;
            }
        }
    }
}

/// Instructions that run one after another.
struct Block {
    first: usize,
    /// Behind the last one.
    end: usize,
    successors: Vec<usize>,
    live_in: Rows,
}

/// Rewrites every row to its place; returns the size of the register file and the rows to be filled beforehand.
pub(super) fn allocate(insts: &mut [Inst], table: &RowTable, start: u32) -> (u32, Vec<(Row, Bank, Origin)>) {
    let blocks = liveness(insts, table.rows.len());
    let intervals = intervals(insts, &blocks, table.rows.len(), start);
    let mut places: Vec<Row> = vec![Row::MAX; table.rows.len()];
    places[..5].copy_from_slice(&[0, 1, 2, 3, 4]);
    let mut units = 5;
    let mut new_place = |bank: Bank| {
        let place = units;
        units += if bank == Bank::Wide { 2 } else { 1 };
        place
    };
    let mut order = Vec::new();
    for (row, interval) in intervals.iter().enumerate().skip(5) {
        let Some((first, last)) = *interval else { continue };
        let (bank, origin) = table.rows[row];
        match origin {
            Origin::Register => order.push((first, last, row, bank)),
            _ => places[row] = new_place(bank),
        }
    }
    order.sort_unstable_by_key(|(first, _, row, _)| (*first, *row));
    // Places in use, by the end of their interval; the smallest end comes first.
    let mut active: BinaryHeap<Reverse<(usize, Row, usize)>> = BinaryHeap::new();
    let mut free: [Vec<Row>; 3] = Default::default();
    for (first, last, row, bank) in order {
        while let Some(Reverse((end, place, bank))) = active.peek().copied() {
            if end >= first {
                break;
            }
            active.pop();
            free[bank].push(place);
        }
        let place = free[bank as usize].pop().unwrap_or_else(|| new_place(bank));
        places[row] = place;
        active.push(Reverse((last, place, bank as usize)));
    }
    for inst in insts.iter_mut() {
        inst.rows_mut(|row, _| *row = places[*row as usize]);
    }
    let filled = table.rows.iter().zip(&places);
    let filled = filled.filter(|((_, origin), place)| **place != Row::MAX && *origin != Origin::Register);
    let filled = filled.map(|((bank, origin), place)| (*place, *bank, *origin)).collect();
    (units, filled)
}

/// Places to which control can go from the instruction at `pc`.
fn successors(insts: &[Inst], pc: usize) -> Vec<usize> {
    let inst = &insts[pc];
    let mut out = match inst.op {
        Op::Branch | Op::Call => vec![inst.target as usize],
        Op::BranchIndexed => inst.list.iter().map(|place| *place as usize).collect(),
        // Behind every call of this function.
        Op::Return => {
            let calls = insts
                .iter()
                .enumerate()
                .filter(|(_, call)| call.op == Op::Call && insts[call.target as usize].function == inst.function);
            calls.map(|(place, _)| place + 1).collect()
        }
        Op::Exit | Op::Trap | Op::Assert | Op::Unsupported => Vec::new(),
        _ => vec![pc + 1],
    };
    if inst.guard != TRUE {
        out.push(pc + 1);
    }
    out.retain(|place| *place < insts.len());
    out
}

fn ends_block(op: Op) -> bool {
    use Op::*;
    matches!(op, Branch | BranchIndexed | Call | Return | Exit | Trap | Assert | Unsupported)
}

/// The blocks with the rows that are live at their beginnings.
fn liveness(insts: &mut [Inst], rows: usize) -> Vec<Block> {
    let mut leads = vec![false; insts.len() + 1];
    leads[0] = true;
    for pc in 0..insts.len() {
        if ends_block(insts[pc].op) {
            leads[pc + 1] = true;
            successors(insts, pc).into_iter().for_each(|place| leads[place] = true);
        }
    }
    let firsts: Vec<usize> = (0..insts.len()).filter(|pc| leads[*pc]).collect();
    let mut block_of = vec![0; insts.len() + 1];
    for (block, first) in firsts.iter().enumerate() {
        block_of[*first] = block;
    }
    let mut blocks: Vec<Block> = Vec::with_capacity(firsts.len());
    for (index, &first) in firsts.iter().enumerate() {
        let end = firsts.get(index + 1).copied().unwrap_or(insts.len());
        let successors = successors(insts, end - 1).into_iter().map(|place| block_of[place]).collect();
        blocks.push(Block { first, end, successors, live_in: Rows::new(rows) });
    }
    let mut changed = true;
    while changed {
        changed = false;
        for index in (0..blocks.len()).rev() {
            let mut live = live_out(&blocks, index, rows);
            for pc in (blocks[index].first..blocks[index].end).rev() {
                step_back(&mut insts[pc], &mut live);
            }
            if live != blocks[index].live_in {
                blocks[index].live_in = live;
                changed = true;
            }
        }
    }
    blocks
}

fn live_out(blocks: &[Block], index: usize, rows: usize) -> Rows {
    let mut live = Rows::new(rows);
    for successor in &blocks[index].successors {
        for (word, other) in live.0.iter_mut().zip(&blocks[*successor].live_in.0) {
            *word |= other;
        }
    }
    live
}

/// The rows live in front of an instruction, from those live behind it. A guarded write keeps the old value in some lanes.
fn step_back(inst: &mut Inst, live: &mut Rows) {
    if inst.guard == TRUE {
        inst.rows_mut(|row, written| {
            if written {
                live.remove(*row)
            }
        });
    }
    inst.rows_mut(|row, written| {
        if !written {
            live.insert(*row)
        }
    });
}

/// First and last position at which each row is needed: an instruction reads at twice its place and writes one later.
fn intervals(insts: &mut [Inst], blocks: &[Block], rows: usize, start: u32) -> Vec<Option<(usize, usize)>> {
    let mut intervals: Vec<Option<(usize, usize)>> = vec![None; rows];
    let mut touch = |row: Row, position: usize| {
        let interval = intervals[row as usize].get_or_insert((position, position));
        *interval = (interval.0.min(position), interval.1.max(position));
    };
    for (index, block) in blocks.iter().enumerate() {
        block.live_in.each(|row| touch(row, 2 * block.first));
        live_out(blocks, index, rows).each(|row| touch(row, 2 * block.end));
        if block.first == start as usize {
            block.live_in.each(|row| touch(row, 0));
        }
        for (pc, inst) in insts.iter_mut().enumerate().take(block.end).skip(block.first) {
            inst.rows_mut(|row, written| touch(*row, 2 * pc + usize::from(written)));
        }
    }
    intervals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_gives_back_what_was_put_in() {
        let mut set = Rows::new(130);
        [0, 63, 64, 129].into_iter().for_each(|row| set.insert(row));
        set.remove(63);
        let mut seen = Vec::new();
        set.each(|row| seen.push(row));
        assert_eq!(seen, [0, 64, 129]);
    }
}
