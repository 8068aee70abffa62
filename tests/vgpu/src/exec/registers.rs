//! The register file of a warp: rows of 32 lanes, and which lanes of each are defined.

use crate::decode::{Inst, Op, Row};

/// All lanes.
pub const FULL: u32 = u32::MAX;

/// One row of 32-bit lanes; two of them in a row are a row of 64-bit lanes. A predicate is the first word of a row.
#[derive(Clone, Copy)]
#[repr(C, align(128))]
struct Unit([u32; 32]);

/// Rows of a warp, with one mask of defined lanes each.
#[derive(Clone, Default)]
pub struct Registers {
    units: Vec<Unit>,
    defined: Vec<u32>,
}

impl Registers {
    /// A file of `units` rows, all undefined.
    pub fn new(units: u32) -> Registers {
        Registers { units: vec![Unit([0xbad0_bad0; 32]); units as usize], defined: vec![0; units as usize] }
    }

    /// Forgets what the rows held.
    pub fn undefine(&mut self) {
        self.defined.fill(0);
    }

    /// 32-bit lanes of a row.
    #[inline(always)]
    pub fn word(&self, row: Row) -> &[u32; 32] {
        &self.units[row as usize].0
    }

    /// 32-bit lanes of a row.
    #[inline(always)]
    pub fn word_mut(&mut self, row: Row) -> &mut [u32; 32] {
        &mut self.units[row as usize].0
    }

    /// 64-bit lanes of a row.
    #[inline(always)]
    pub fn wide(&self, row: Row) -> &[u64; 32] {
        let pair: &[Unit] = &self.units[row as usize..row as usize + 2];
        // SAFETY: two units are 256 bytes, aligned to 128, without padding, and any bits are valid.
        unsafe { &*pair.as_ptr().cast::<[u64; 32]>() }
    }

    /// 64-bit lanes of a row.
    #[inline(always)]
    pub fn wide_mut(&mut self, row: Row) -> &mut [u64; 32] {
        let pair: &mut [Unit] = &mut self.units[row as usize..row as usize + 2];
        // SAFETY: as in `wide`, and the borrow is exclusive.
        unsafe { &mut *pair.as_mut_ptr().cast::<[u64; 32]>() }
    }

    /// Lanes of a predicate.
    #[inline(always)]
    pub fn predicate(&self, row: Row) -> u32 {
        self.units[row as usize].0[0]
    }

    /// Sets a predicate in some lanes.
    #[inline(always)]
    pub fn set_predicate(&mut self, row: Row, lanes: u32, value: u32) {
        let word = &mut self.units[row as usize].0[0];
        *word = *word & !lanes | value & lanes;
    }

    /// Defined lanes of a row.
    #[inline(always)]
    pub fn defined(&self, row: Row) -> u32 {
        self.defined[row as usize]
    }

    /// Says which of `lanes` are defined now.
    #[inline(always)]
    pub fn define(&mut self, row: Row, lanes: u32, defined: u32) {
        let mask = &mut self.defined[row as usize];
        *mask = *mask & !lanes | defined & lanes;
    }

    /// The rule for most instructions: a result lane is defined if every operand of that lane is.
    #[inline(always)]
    pub fn propagate(&mut self, inst: &Inst, lanes: u32) {
        let mut defined = self.defined(inst.guard);
        for row in inst.src {
            defined &= self.defined(row);
        }
        let results = inst.list_results as usize;
        for row in inst.list.iter().skip(results) {
            defined &= self.defined(*row);
        }
        for row in inst.list.iter().take(results).chain(&inst.dst) {
            self.define(*row, lanes, defined);
        }
    }

    /// `selp` takes the definedness of the operand it takes.
    #[inline(always)]
    pub fn propagate_select(&mut self, inst: &Inst, lanes: u32) {
        debug_assert!(inst.op == Op::Select);
        let [a, b, c, _] = inst.src;
        let choice = self.predicate(c) ^ if inst.negated { FULL } else { 0 };
        let taken = choice & self.defined(a) | !choice & self.defined(b);
        let defined = taken & self.defined(c) & self.defined(inst.guard);
        self.define(inst.dst[0], lanes, defined);
    }
}

/// How 32 raw lanes are found in the file.
pub trait Raw: Copy + Default {
    /// Lanes of a row.
    fn row(registers: &Registers, row: Row) -> &[Self; 32];
    /// Lanes of a row.
    fn row_mut(registers: &mut Registers, row: Row) -> &mut [Self; 32];
}

impl Raw for u32 {
    #[inline(always)]
    fn row(registers: &Registers, row: Row) -> &[u32; 32] {
        registers.word(row)
    }
    #[inline(always)]
    fn row_mut(registers: &mut Registers, row: Row) -> &mut [u32; 32] {
        registers.word_mut(row)
    }
}

impl Raw for u64 {
    #[inline(always)]
    fn row(registers: &Registers, row: Row) -> &[u64; 32] {
        registers.wide(row)
    }
    #[inline(always)]
    fn row_mut(registers: &mut Registers, row: Row) -> &mut [u64; 32] {
        registers.wide_mut(row)
    }
}

/// A value of one lane and how it lies in a row.
pub trait Lane: Copy {
    /// The row's lanes.
    type Raw: Raw;
    /// From the bits of a lane.
    fn of(raw: Self::Raw) -> Self;
    /// To the bits of a lane.
    fn raw(self) -> Self::Raw;
}

macro_rules! integer_lanes {
    ($($type:ty, $unsigned:ty, $raw:ty);*) => { $(
        impl Lane for $type {
            type Raw = $raw;
            #[inline(always)]
            fn of(raw: $raw) -> Self {
                raw as $type
            }
            #[inline(always)]
            fn raw(self) -> $raw {
                self as $unsigned as $raw
            }
        }
    )* };
}
integer_lanes!(u16, u16, u32; i16, u16, u32; u32, u32, u32; i32, u32, u32; u64, u64, u64; i64, u64, u64);

impl Lane for f32 {
    type Raw = u32;
    #[inline(always)]
    fn of(raw: u32) -> Self {
        f32::from_bits(raw)
    }
    #[inline(always)]
    fn raw(self) -> u32 {
        self.to_bits()
    }
}

impl Lane for f64 {
    type Raw = u64;
    #[inline(always)]
    fn of(raw: u64) -> Self {
        f64::from_bits(raw)
    }
    #[inline(always)]
    fn raw(self) -> u64 {
        self.to_bits()
    }
}

/// Writes `values` to the lanes of `lanes`.
#[inline(always)]
pub fn write<R: Raw>(registers: &mut Registers, row: Row, lanes: u32, values: &[R; 32]) {
    let target = R::row_mut(registers, row);
    if lanes == FULL {
        *target = *values;
    } else {
        for lane in 0..32 {
            target[lane] = if lanes >> lane & 1 == 1 { values[lane] } else { target[lane] };
        }
    }
}

/// d = f(a)
#[inline(always)]
pub fn map1<A: Lane, D: Lane>(r: &mut Registers, i: &Inst, lanes: u32, f: impl Fn(A) -> D) {
    let a = A::Raw::row(r, i.src[0]);
    let mut values = [D::Raw::default(); 32];
    for lane in 0..32 {
        values[lane] = f(A::of(a[lane])).raw();
    }
    write(r, i.dst[0], lanes, &values);
}

/// d = f(a, b)
#[inline(always)]
pub fn map2<A: Lane, B: Lane, D: Lane>(r: &mut Registers, i: &Inst, lanes: u32, f: impl Fn(A, B) -> D) {
    let (a, b) = (A::Raw::row(r, i.src[0]), B::Raw::row(r, i.src[1]));
    let mut values = [D::Raw::default(); 32];
    for lane in 0..32 {
        values[lane] = f(A::of(a[lane]), B::of(b[lane])).raw();
    }
    write(r, i.dst[0], lanes, &values);
}

/// d = f(a, b, c)
#[inline(always)]
pub fn map3<A: Lane, B: Lane, C: Lane, D: Lane>(r: &mut Registers, i: &Inst, lanes: u32, f: impl Fn(A, B, C) -> D) {
    let (a, b, c) = (A::Raw::row(r, i.src[0]), B::Raw::row(r, i.src[1]), C::Raw::row(r, i.src[2]));
    let mut values = [D::Raw::default(); 32];
    for lane in 0..32 {
        values[lane] = f(A::of(a[lane]), B::of(b[lane]), C::of(c[lane])).raw();
    }
    write(r, i.dst[0], lanes, &values);
}

/// Runs `f` once per executing lane, for instructions too rare to be worth a vector loop.
#[inline(always)]
pub fn each_lane(lanes: u32, mut f: impl FnMut(usize)) {
    let mut rest = lanes;
    while rest != 0 {
        f(rest.trailing_zeros() as usize);
        rest &= rest - 1;
    }
}
