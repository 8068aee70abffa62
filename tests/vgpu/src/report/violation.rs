//! A broken rule as the checks see it: warps, lanes and instruction numbers, no texts.

use serde::Serialize;

/// The result of a check. The error is boxed: checks stand in the interpreter's inner loop.
pub type Checked<T> = Result<T, Box<Violation>>;

/// A broken rule, before [`super::Fault`] gives it its place in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub kind: FaultKind,
    /// Lanes of the executing warp that break it.
    pub lanes: u32,
    /// The circumstances: the address described, the barrier's counts.
    pub note: String,
    /// The other side of a race.
    pub other: Option<Other>,
}

/// The access that a racing one collides with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its instruction.
    pub pc: u32,
    /// Its block's linear index; `None` in the block of the fault.
    pub block: Option<u32>,
    /// Its warp within its block, where known.
    pub warp: Option<u32>,
    /// Its lane, where known.
    pub lane: Option<u32>,
    /// What it did: "write", "read", "atomic", "cp.async".
    pub what: &'static str,
}

impl Violation {
    /// A violation without a second access.
    #[cold]
    pub fn new(kind: FaultKind, lanes: u32, note: impl Into<String>) -> Box<Violation> {
        Box::new(Violation { kind, lanes, note: note.into(), other: None })
    }

    /// Names the second access.
    #[must_use]
    pub fn with(mut self: Box<Self>, other: Other) -> Box<Violation> {
        self.other = Some(other);
        self
    }
}

/// The rules. [`FaultKind::code`] is the `CUresult` that a driver would answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// An access to bytes of no allocation, variable or frame.
    OutOfBounds,
    /// An access to freed memory.
    UseAfterFree,
    /// An address that is no multiple of the access's size.
    Misaligned,
    /// An address computed from undefined data.
    UndefinedAddress,
    /// Control flow that depends on undefined data.
    UndefinedBranch,
    /// Undefined data stored where others see it.
    UndefinedStore,
    /// An atomic update of memory that holds no data, or with an undefined operand.
    UndefinedAtomic,
    /// Two warps access shared memory without a barrier between them.
    SharedRace,
    /// Two lanes of one warp access memory without a warp-level synchronisation between them.
    WarpRace,
    /// Two blocks, or two warps of one, access global memory without order between them.
    GlobalRace,
    /// An access to the destination of an asynchronous copy that was not waited for.
    PendingCopy,
    /// A barrier that some threads of its group never reach.
    BarrierDivergence,
    /// A barrier with a thread count that makes no sense or differs between warps.
    BarrierCount,
    /// A `.sync` instruction whose member mask names lanes that never come.
    AbsentLanes,
    /// No progress within the allowed number of instructions.
    Hang,
    /// The kernel executed `trap`.
    Trap,
    /// A failed `assert` of the kernel.
    Assert,
    /// An instruction that the virtual GPU does not know.
    Unsupported,
    /// An instruction used as the manual forbids.
    InvalidInstruction,
}

impl FaultKind {
    /// The `CUresult` of a launch that ends this way.
    pub fn code(self) -> u32 {
        match self {
            FaultKind::OutOfBounds | FaultKind::UseAfterFree => 700,
            FaultKind::Hang => 702,
            FaultKind::Assert => 710,
            FaultKind::InvalidInstruction => 715,
            FaultKind::Misaligned => 716,
            FaultKind::Unsupported => 801,
            _ => 719,
        }
    }

    /// The rule in words, as a fault's headline says it.
    pub fn title(self) -> &'static str {
        match self {
            FaultKind::OutOfBounds => "out-of-bounds access",
            FaultKind::UseAfterFree => "use after free",
            FaultKind::Misaligned => "misaligned access",
            FaultKind::UndefinedAddress => "address computed from undefined data",
            FaultKind::UndefinedBranch => "control flow depends on undefined data",
            FaultKind::UndefinedStore => "undefined data stored to global memory",
            FaultKind::UndefinedAtomic => "atomic update of undefined data",
            FaultKind::SharedRace => "shared memory race",
            FaultKind::WarpRace => "race between lanes of a warp",
            FaultKind::GlobalRace => "global memory race",
            FaultKind::PendingCopy => "access to an asynchronous copy that was not waited for",
            FaultKind::BarrierDivergence => "divergent barrier",
            FaultKind::BarrierCount => "wrong barrier count",
            FaultKind::AbsentLanes => ".sync instruction with absent lanes",
            FaultKind::Hang => "hang",
            FaultKind::Trap => "trap",
            FaultKind::Assert => "failed assertion",
            FaultKind::Unsupported => "unsupported instruction",
            FaultKind::InvalidInstruction => "invalid use of an instruction",
        }
    }
}
