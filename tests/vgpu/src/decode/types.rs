//! The vocabulary of instructions: types, comparisons, rounding, scopes.

use crate::ptx::Bank;

/// A PTX type; `.bN` counts as `.uN`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Type {
    U8,
    S8,
    U16,
    S16,
    U32,
    S32,
    U64,
    S64,
    F16,
    BF16,
    F32,
    F64,
    F16x2,
    BF16x2,
    U16x2,
    S16x2,
    TF32,
    Predicate,
    B128,
}

impl Type {
    /// The type a modifier names.
    pub fn parse(name: &str) -> Option<Type> {
        Some(match name {
            "u8" | "b8" => Type::U8,
            "s8" => Type::S8,
            "u16" | "b16" => Type::U16,
            "s16" => Type::S16,
            "u32" | "b32" => Type::U32,
            "s32" => Type::S32,
            "u64" | "b64" => Type::U64,
            "s64" => Type::S64,
            "f16" => Type::F16,
            "bf16" => Type::BF16,
            "f32" => Type::F32,
            "f64" => Type::F64,
            "f16x2" => Type::F16x2,
            "bf16x2" => Type::BF16x2,
            "u16x2" => Type::U16x2,
            "s16x2" => Type::S16x2,
            "tf32" => Type::TF32,
            "pred" => Type::Predicate,
            "b128" => Type::B128,
            _ => return None,
        })
    }

    /// Bytes in memory.
    pub fn size(self) -> usize {
        match self {
            Type::U8 | Type::S8 | Type::Predicate => 1,
            Type::U16 | Type::S16 | Type::F16 | Type::BF16 => 2,
            Type::U64 | Type::S64 | Type::F64 => 8,
            Type::B128 => 16,
            _ => 4,
        }
    }

    /// The bank of registers that hold it.
    pub fn bank(self) -> Bank {
        match self {
            Type::Predicate => Bank::Predicate,
            t if t.size() == 8 => Bank::Wide,
            _ => Bank::Word,
        }
    }

    /// `.sN`
    pub fn is_signed(self) -> bool {
        matches!(self, Type::S8 | Type::S16 | Type::S32 | Type::S64 | Type::S16x2)
    }

    /// Floating point, packed or not.
    pub fn is_float(self) -> bool {
        matches!(self, Type::F16 | Type::BF16 | Type::F32 | Type::F64 | Type::TF32 | Type::F16x2 | Type::BF16x2)
    }
}

/// State space of an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Space {
    Generic,
    /// Also `.const`.
    Global,
    Shared,
    Local,
    /// The launch's parameter block.
    Param,
}

/// Comparison of `setp` and `set`. The unordered ones hold when an operand is NaN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    EqUnordered,
    NeUnordered,
    LtUnordered,
    LeUnordered,
    GtUnordered,
    GeUnordered,
    Number,
    Nan,
}

impl Compare {
    /// The comparison a modifier names.
    pub fn parse(name: &str) -> Option<Compare> {
        Some(match name {
            "eq" => Compare::Eq,
            "ne" => Compare::Ne,
            "lt" | "lo" => Compare::Lt,
            "le" | "ls" => Compare::Le,
            "gt" | "hi" => Compare::Gt,
            "ge" | "hs" => Compare::Ge,
            "equ" => Compare::EqUnordered,
            "neu" => Compare::NeUnordered,
            "ltu" => Compare::LtUnordered,
            "leu" => Compare::LeUnordered,
            "gtu" => Compare::GtUnordered,
            "geu" => Compare::GeUnordered,
            "num" => Compare::Number,
            "nan" => Compare::Nan,
            _ => return None,
        })
    }
}

/// How `setp` combines its result with a third predicate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Combine {
    None,
    And,
    Or,
    Xor,
}

impl Combine {
    /// The combination a modifier names.
    pub fn parse(name: &str) -> Combine {
        match name {
            "and" => Combine::And,
            "or" => Combine::Or,
            "xor" => Combine::Xor,
            _ => Combine::None,
        }
    }

    /// Lane by lane.
    pub fn apply(self, result: u32, other: u32) -> u32 {
        match self {
            Combine::None => result,
            Combine::And => result & other,
            Combine::Or => result | other,
            Combine::Xor => result ^ other,
        }
    }
}

/// Rounding direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Round {
    /// To nearest, ties to even.
    Nearest,
    /// To nearest, ties away from zero (`.rna`).
    NearestAway,
    /// Towards zero.
    Zero,
    /// Towards minus infinity.
    Down,
    /// Towards plus infinity.
    Up,
}

/// Lane addressed by `shfl`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Shuffle {
    Up,
    Down,
    Butterfly,
    Index,
}

/// What `vote` computes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Vote {
    All,
    Any,
    Uniform,
    Ballot,
}

/// Operation of `atom`, `red`, `redux`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Reduce {
    Add,
    Min,
    Max,
    And,
    Or,
    Xor,
    Exchange,
    CompareAndSwap,
    Increment,
    Decrement,
}

impl Reduce {
    /// The operation a modifier names.
    pub fn parse(name: &str) -> Option<Reduce> {
        Some(match name {
            "add" => Reduce::Add,
            "min" => Reduce::Min,
            "max" => Reduce::Max,
            "and" => Reduce::And,
            "or" => Reduce::Or,
            "xor" => Reduce::Xor,
            "exch" => Reduce::Exchange,
            "cas" => Reduce::CompareAndSwap,
            "inc" => Reduce::Increment,
            "dec" => Reduce::Decrement,
            _ => return None,
        })
    }
}

/// A function approximated by the special function unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Special {
    Reciprocal,
    Sqrt,
    ReciprocalSqrt,
    Exp2,
    Log2,
    Sin,
    Cos,
    Tanh,
}

/// Operation on bits of integers, by lanes; named after the opcode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Bits {
    And,
    Or,
    Xor,
    Not,
    /// Logical negation: 1 if zero, else 0.
    Cnot,
    Shl,
    Shr,
    /// `lop3`: the look-up table.
    Lop3(u8),
    Prmt(Permute),
    /// Funnel shift, low to high.
    ShfLeft {
        wrap: bool,
    },
    ShfRight {
        wrap: bool,
    },
    Bfi,
    Bfe,
    Bmsk {
        wrap: bool,
    },
    Szext {
        wrap: bool,
    },
    Popc,
    Clz,
    Bfind {
        shift_amount: bool,
    },
    Brev,
    Fns,
}

/// Mode of `prmt`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Permute {
    Selectors,
    Forward4,
    Backward4,
    Replicate8,
    EdgeClampLeft,
    EdgeClampRight,
    Replicate16,
}

/// Arithmetic with a carry bit: `add.cc`, `addc`, `sub.cc`, `subc`, `mad.lo.cc`, ...
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Carry {
    /// The operation before the carry.
    pub base: CarryBase,
    /// Adds (or subtracts) the carry bit.
    pub reads: bool,
    /// Leaves the carry (or borrow) bit.
    pub writes: bool,
}

/// See [`Carry`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum CarryBase {
    Add,
    Sub,
    MadLow,
    MadHigh,
}

/// Element type of a matrix operand of `mma`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Element {
    F16,
    BF16,
    TF32,
    U8,
    S8,
    F64,
}

/// Accumulator of `mma`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Accumulator {
    F16,
    F32,
    S32,
    F64,
}

/// Shape and types of an `mma.sync` with 16 rows and 8 columns (8 and 8 for f64).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mma {
    /// Depth.
    pub k: u8,
    /// Elements of A.
    pub a: Element,
    /// Elements of B.
    pub b: Element,
    /// C and D.
    pub accumulator: Accumulator,
    /// Clamps integer sums instead of wrapping.
    pub saturate: bool,
}
