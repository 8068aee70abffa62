//! The table of rows of a program while it is decoded.

use std::collections::HashMap;

use crate::ptx::Bank;

/// A register of all 32 lanes: its place in a warp's register file.
pub type Row = u32;

/// A word that is 0 and always defined: stands for a missing operand.
pub const ZERO: Row = 0;
/// Takes results that nobody wants; two units, so that a 64-bit result fits.
pub const SINK: Row = 1;
/// A predicate that is always true.
pub const TRUE: Row = 3;
/// A predicate that is always false.
pub const FALSE: Row = 4;

/// What fills a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The program writes it.
    Register,
    /// A value that is the same for all lanes and blocks.
    Constant(u64),
    /// A special register.
    Special(SpecialRegister),
}

/// A special register with a fixed value per lane and block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum SpecialRegister {
    Tid(u8),
    Ntid(u8),
    Ctaid(u8),
    Nctaid(u8),
    LaneId,
    WarpId,
    WarpCount,
    SmId,
    SmCount,
    GridId,
    LaneMaskEq,
    LaneMaskLt,
    LaneMaskLe,
    LaneMaskGt,
    LaneMaskGe,
    DynamicSharedBytes,
    TotalSharedBytes,
    /// A register of clusters or environments whose value is this for every launch we make.
    Fixed(u32),
}

impl SpecialRegister {
    /// The special register of that name, with its bank.
    pub fn parse(name: &str) -> Option<(SpecialRegister, Bank)> {
        use SpecialRegister::*;
        let (stem, axis) = match name.rsplit_once('.') {
            Some((stem, "x")) => (stem, 0),
            Some((stem, "y")) => (stem, 1),
            Some((stem, "z")) => (stem, 2),
            Some((_, _)) => return None,
            None => (name, 3),
        };
        let register = match (stem, axis) {
            ("%tid", 0..3) => Tid(axis),
            ("%ntid", 0..3) => Ntid(axis),
            ("%ctaid" | "%clusterid", 0..3) => Ctaid(axis),
            ("%nctaid" | "%nclusterid", 0..3) => Nctaid(axis),
            ("%cluster_ctaid", 0..3) | ("%cluster_ctarank", 3) => Fixed(0),
            ("%cluster_nctaid", 0..3) | ("%cluster_nctarank", 3) => Fixed(1),
            ("%is_explicit_cluster", 3) => Fixed(0),
            ("%laneid", 3) => LaneId,
            ("%warpid", 3) => WarpId,
            ("%nwarpid", 3) => WarpCount,
            ("%smid", 3) => SmId,
            ("%nsmid", 3) => SmCount,
            ("%gridid", 3) => return Some((GridId, Bank::Wide)),
            ("%lanemask_eq", 3) => LaneMaskEq,
            ("%lanemask_lt", 3) => LaneMaskLt,
            ("%lanemask_le", 3) => LaneMaskLe,
            ("%lanemask_gt", 3) => LaneMaskGt,
            ("%lanemask_ge", 3) => LaneMaskGe,
            ("%dynamic_smem_size", 3) => DynamicSharedBytes,
            ("%total_smem_size", 3) => TotalSharedBytes,
            _ => return None,
        };
        Some((register, Bank::Word))
    }
}

/// Rows in the making: `allocate` gives them their final places.
#[derive(Clone, Debug)]
pub struct RowTable {
    /// Bank and origin of each row; the first five are the fixed ones.
    pub rows: Vec<(Bank, Origin)>,
    known: HashMap<(Bank, Origin), Row>,
}

impl Default for RowTable {
    fn default() -> Self {
        let value = Origin::Constant;
        let rows = vec![
            (Bank::Word, value(0)),
            (Bank::Wide, Origin::Register),
            (Bank::Word, Origin::Register),
            (Bank::Predicate, value(1)),
            (Bank::Predicate, value(0)),
        ];
        let known = [0, 3, 4].map(|row: Row| (rows[row as usize], row)).into();
        RowTable { rows, known }
    }
}

impl RowTable {
    /// A new row that the program writes.
    pub fn register(&mut self, bank: Bank) -> Row {
        self.rows.push((bank, Origin::Register));
        self.rows.len() as Row - 1
    }

    /// The row that holds a constant or special register.
    pub fn filled(&mut self, bank: Bank, origin: Origin) -> Row {
        let rows = &mut self.rows;
        *self.known.entry((bank, origin)).or_insert_with_key(|key| {
            rows.push(*key);
            rows.len() as Row - 1
        })
    }

    /// The row of a literal.
    pub fn value(&mut self, bank: Bank, bits: u64) -> Row {
        let bits = match bank {
            Bank::Word => bits & 0xffff_ffff,
            Bank::Wide => bits,
            Bank::Predicate => u64::from(bits != 0),
        };
        self.filled(bank, Origin::Constant(bits))
    }

    /// Bank of a row.
    pub fn bank(&self, row: Row) -> Bank {
        self.rows[row as usize].0
    }
}
