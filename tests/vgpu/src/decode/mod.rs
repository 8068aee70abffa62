//! Opcodes with their modifiers, decoded once into instructions over register rows.
//!
//! A *row* is one register of all 32 lanes. Literals, special registers and addresses of variables are rows too, filled before
//! the first instruction, so that the interpreter never asks what kind an operand is.

mod allocate;
mod arithmetic;
mod control;
mod decoder;
mod link;
mod memory;
mod rows;
mod types;

pub use link::{Param, Program, link};
pub use rows::{FALSE, Origin, Row, RowTable, SINK, SpecialRegister, TRUE, ZERO};
pub use types::*;

use crate::sync::Strong;

/// What an instruction does. Operands stand in [`Inst`]; d, a, b, c, e below are `dst[0]` and `src[0..4]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// d = a
    Move,
    /// d = concatenation of `list`, lowest bits first.
    Pack,
    /// `list` = parts of a, lowest bits first.
    Unpack,
    /// d = c ? a : b, c a predicate.
    Select,
    /// d = c >= 0 ? a : b; `from` is c's type.
    SelectBySign,
    /// a + b
    Add,
    /// a - b
    Sub,
    /// Low half of a * b, or the rounded product.
    Mul,
    /// High half of a * b.
    MulHigh,
    /// a * b, twice as wide.
    MulWide,
    /// a * b of 24-bit integers: bits 0..32 of the product, or (true) 16..48.
    Mul24(bool),
    /// a * b + c: low half, or one rounding.
    Fma,
    /// High half of a * b, + c.
    MadHigh,
    /// a * b + c, twice as wide.
    MadWide,
    /// See [`Op::Mul24`], + c.
    Mad24(bool),
    /// a / b
    Div,
    /// a mod b, sign of a.
    Rem,
    /// |a - b| + c
    Sad,
    /// Minimum of a, b (and c when `three`).
    Min {
        /// Has a third operand.
        three: bool,
    },
    /// Maximum.
    Max {
        /// Has a third operand.
        three: bool,
    },
    /// |a|
    Abs,
    /// -a
    Neg,
    /// Magnitude of b with the sign of a.
    CopySign,
    /// Sums of products of bytes (`dp4a`) plus c; `from` is b's type.
    Dp4a,
    /// Sums of products of two 16-bit and two 8-bit numbers plus c; true: b's high bytes.
    Dp2a(bool),
    /// Carry chains.
    Carry(Carry),
    /// Bits of integers.
    Bits(Bits),
    /// A function of a; approximate when `approx`.
    Special {
        /// Which.
        function: Special,
        /// Rounded correctly otherwise.
        approx: bool,
    },
    /// a / b within 2 ulp; unless `full`, zero for |b| above 2^126.
    DivApprox {
        /// `div.full`.
        full: bool,
    },
    /// From `from` to `ty`.
    Convert {
        /// Rounds to an integral value (float to float).
        integral: bool,
    },
    /// Two f32 to a packed pair: a above, b below.
    ConvertPair,
    /// `cvt.pack`: c shifted up, a and b saturated into its low parts.
    ConvertPack,
    /// Predicates d, d2 from a ? b, combined with predicate c.
    SetPredicate(Compare, Combine),
    /// As a value of type `ty`; `from` is compared.
    Set(Compare, Combine),
    /// Class of a float: `testp`.
    Test(Test),
    /// And/or/xor/not of predicates.
    Logic(Combine, LogicNot),
    /// Mask of the executing lanes.
    ActiveMask,
    /// Low or all bits of a counter that only grows.
    Clock,
    /// Generic address to address in a space.
    ToSpace(Space),
    /// Address in a space to generic.
    FromSpace(Space),
    /// d = a is an address in the space.
    IsSpace(Space),
    /// Load: `list` = vector at a + offset.
    Load(Access),
    /// Store of `list` at a + offset.
    Store(Access),
    /// Atomic update at a + offset by b (and c); d = old value.
    Atomic(Reduce, Space, Strong),
    /// Copy to shared a + offset from global b; size in `imm`, c = bytes to read.
    AsyncCopy {
        /// `size` of the source given.
        partial: bool,
    },
    /// Ends a group of copies.
    AsyncCommit,
    /// Waits until at most `imm` groups are under way.
    AsyncWait,
    /// Waits for all copies.
    AsyncWaitAll,
    /// 8x8 matrices from shared memory.
    LoadMatrix {
        /// Transposed.
        transposed: bool,
    },
    /// 8x8 matrices to shared memory.
    StoreMatrix {
        /// Transposed.
        transposed: bool,
    },
    /// d = a, transposed 8x8.
    MoveMatrix,
    /// Tensor core: list = D, A, B, C fragments.
    Mma(Mma),
    /// d (and predicate d2) = a of the lane chosen by b, c; member mask e.
    Shuffle(Shuffle),
    /// d = vote on predicate a; member mask b.
    Vote(Vote),
    /// d = lanes with equal a (all: one mask or none); member mask b.
    Match {
        /// `match.all`.
        all: bool,
    },
    /// d = reduction of a; member mask b.
    Redux(Reduce),
    /// d = the elected lane, d2 = I am it; member mask a.
    Elect,
    /// Joins the lanes of member mask a.
    WarpSync,
    /// Barrier a, b threads (0: all).
    Barrier {
        /// Waits, rather than only arriving.
        wait: bool,
        /// Names a number of threads.
        counted: bool,
        /// All lanes of the warp execute it together.
        aligned: bool,
        /// Reduces predicate c: popc to d, and/or to predicate d.
        reduce: Option<BarrierReduce>,
    },
    /// Orders memory accesses.
    Fence(crate::sync::Scope),
    /// Goes to `target`.
    Branch,
    /// Goes to `list[a]`: places, not rows.
    BranchIndexed,
    /// Calls the function at `target`; d = row of return places.
    Call,
    /// `vprintf`: prints nothing.
    CallPrintf,
    /// Returns to the place in row a.
    Return,
    /// Ends the lanes.
    Exit,
    /// `trap`
    Trap,
    /// `__assertfail`
    Assert,
    /// Nothing to do here: hints.
    Nop,
    /// Unknown opcode or form: a fault when it is reached.
    Unsupported,
}

/// Form of a load or store.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Access {
    /// Where.
    pub space: Space,
    /// Volatile, relaxed, acquire, release; `None` for plain accesses.
    pub strong: Option<Strong>,
}

/// Class of a number: `testp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Test {
    Finite,
    Infinite,
    Number,
    NotNumber,
    Normal,
    Subnormal,
}

/// What `barrier.red` computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum BarrierReduce {
    Count,
    And,
    Or,
}

/// Whether the first operand of [`Op::Logic`] is negated.
pub type LogicNot = bool;

/// One decoded instruction.
#[derive(Clone, Debug)]
pub struct Inst {
    /// What it does.
    pub op: Op,
    /// Main type.
    pub ty: Type,
    /// Second type: source of a conversion, compared type, ...
    pub from: Type,
    /// Rounding.
    pub round: Round,
    /// Flushes subnormal inputs and results.
    pub ftz: bool,
    /// Clamps: floats to [0, 1], integers to their range.
    pub saturate: bool,
    /// `min.NaN`: NaN wins.
    pub nan: bool,
    /// Negative results become 0.
    pub relu: bool,
    /// Takes magnitudes and xors signs (`min.xorsign.abs`).
    pub xorsign: bool,
    /// The predicate operand is negated.
    pub negated: bool,
    /// `a` is a 32-bit address; b of a copy likewise never is.
    pub short_address: bool,
    /// Rows of `list` are 64 bits per lane.
    pub wide_list: bool,
    /// Predicate under which lanes execute ([`TRUE`]: all).
    pub guard: Row,
    /// Lanes whose guard is false execute.
    pub guard_negated: bool,
    /// Results.
    pub dst: [Row; 2],
    /// Operands; those that are missing are [`ZERO`].
    pub src: [Row; 4],
    /// Vector elements and fragments; the first `list_results` are results.
    pub list: Box<[Row]>,
    /// See `list`.
    pub list_results: u32,
    /// Bytes added to an address.
    pub offset: i64,
    /// Bytes added to b: the source address of a copy.
    pub from_offset: i64,
    /// A literal operand.
    pub imm: u32,
    /// Place of the next instruction after a branch or call.
    pub target: u32,
    /// Line of the PTX text.
    pub line: u32,
    /// Function of the module.
    pub function: u32,
    /// Place in that function's locations.
    pub location: u32,
}

impl Inst {
    /// Every row it reads, and every row it writes.
    pub fn rows_mut(&mut self, mut each: impl FnMut(&mut Row, bool)) {
        each(&mut self.guard, false);
        self.src.iter_mut().for_each(|row| each(row, false));
        if self.op != Op::BranchIndexed {
            let results = self.list_results as usize;
            self.list.iter_mut().enumerate().for_each(|(i, row)| each(row, i < results));
        }
        self.dst.iter_mut().for_each(|row| each(row, true));
    }
}
