//! Gives rows their places in a warp's register file.

use super::Inst;
use super::rows::{Origin, Row, RowTable};
use crate::ptx::Bank;

/// Rewrites every row to its place; returns the size of the register file and the rows to be filled beforehand.
pub(super) fn allocate(insts: &mut [Inst], table: &RowTable, _start: u32) -> (u32, Vec<(Row, Bank, Origin)>) {
    let mut places: Vec<Row> = vec![Row::MAX; table.rows.len()];
    let mut units = 5;
    places[..5].copy_from_slice(&[0, 1, 2, 3, 4]);
    for inst in insts.iter_mut() {
        inst.rows_mut(|row, _| {
            let place = &mut places[*row as usize];
            if *place == Row::MAX {
                *place = units;
                units += if table.bank(*row) == Bank::Wide { 2 } else { 1 };
            }
            *row = *place;
        });
    }
    let filled = table
        .rows
        .iter()
        .zip(&places)
        .filter(|((_, origin), place)| **place != Row::MAX && *origin != Origin::Register);
    (units, filled.map(|((bank, origin), place)| (*place, *bank, *origin)).collect())
}
