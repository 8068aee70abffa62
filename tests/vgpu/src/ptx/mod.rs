//! PTX text: lexer and parser.
//!
//! The parser resolves names (registers, variables, labels, special registers) and scopes, and leaves opcodes as text:
//! what an opcode means is [`crate::decode`]'s business, so that an unknown one matters only when it is executed.

mod body;
mod calls;
mod lex;
mod parse;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub use parse::parse;

/// Why a text is not PTX that can be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Line of the PTX text, from 1.
    pub line: u32,
    /// What was expected and found there.
    pub message: String,
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PTX line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for ParseError {}

/// How many bits a virtual register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bank {
    /// 8-, 16- and 32-bit registers: 32 bits per lane.
    Word,
    /// 64 bits per lane.
    Wide,
    /// One bit per lane.
    Predicate,
}

/// A virtual register of one function: its place in [`Function::registers`].
pub type Register = u32;

/// Where a variable lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VariableSpace {
    /// `.global`, in device memory.
    Global,
    /// `.const`, in device memory, read only.
    Constant,
    /// `.shared`, one per block.
    Shared,
    /// `.extern .shared x[]`: begins where the block's static shared memory ends.
    SharedDynamic,
    /// `.local`, one per thread.
    Local,
    /// `.param` of an entry: in the launch's parameter block.
    KernelParam,
    /// `.param` of a `.func` or of a call site: one per thread.
    CallParam,
}

/// A declared variable.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Name, as written.
    pub name: String,
    /// Where it lives.
    pub space: VariableSpace,
    /// Bytes.
    pub size: usize,
    /// Bytes.
    pub align: usize,
    /// First bytes of its value; the rest is zero.
    pub init: Vec<u8>,
    /// Places in `init` (byte offset) that hold the 64-bit address of a module variable plus an addend.
    pub relocations: Vec<(usize, String, u64)>,
}

/// A literal, as written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Literal {
    /// Integer, two's complement.
    Int(u64),
    /// `0f3F800000`: bits of an f32.
    F32(u32),
    /// `0d…` or a decimal fraction.
    F64(f64),
}

/// An operand with its names resolved.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A virtual register.
    Register(Register),
    /// `!%p`
    NotPredicate(Register),
    /// A literal.
    Literal(Literal),
    /// A variable of this function, plus bytes.
    Local {
        /// Place in [`Function::variables`].
        variable: u32,
        /// Bytes.
        offset: i64,
    },
    /// A variable of the module, plus bytes.
    Module {
        /// Place in [`Module::variables`].
        variable: u32,
        /// Bytes.
        offset: i64,
    },
    /// A special register, as written.
    Special(String),
    /// A label: place in [`Function::labels`].
    Label(u32),
    /// A name that is none of the above: a function, or a prototype.
    Name(String),
    /// `{a, b}` or the `(a, b)` of a call.
    List(Vec<Operand>),
    /// `[base + offset]`
    Address {
        /// Register, variable or literal.
        base: Box<Operand>,
        /// Bytes.
        offset: i64,
    },
    /// `a|b`
    Pair(Box<Operand>, Box<Operand>),
    /// `_`
    Sink,
}

/// One instruction.
#[derive(Clone, Debug)]
pub struct Statement {
    /// `@%p` or `@!%p` (true: negated).
    pub guard: Option<(Register, bool)>,
    /// Opcode with its modifiers.
    pub opcode: String,
    /// Operands, in order.
    pub operands: Vec<Operand>,
    /// Line of the PTX text, from 1.
    pub line: u32,
    /// Place in [`Function::locations`].
    pub location: u32,
}

/// A `.loc`: a place in the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// Key of [`Module::files`]; 0: unknown.
    pub file: u32,
    /// Line, from 1.
    pub line: u32,
    /// The inlined function, as `.debug_str` names it; empty when not inlined.
    pub function: String,
    /// Where it was inlined: a place in [`Function::locations`].
    pub inlined_at: Option<u32>,
}

/// An `.entry` or a `.func`.
#[derive(Clone, Debug, Default)]
pub struct Function {
    /// Symbol.
    pub name: String,
    /// Whether the host can launch it.
    pub entry: bool,
    /// Whether it has a body; `.extern` functions have none.
    pub defined: bool,
    /// Bank of each virtual register.
    pub registers: Vec<Bank>,
    /// Parameters, shared, local and call-site variables.
    pub variables: Vec<Variable>,
    /// The formal parameters among them, in order.
    pub params: Vec<u32>,
    /// The formal return values among them, in order.
    pub returns: Vec<u32>,
    /// The formals of both kinds that are declared as registers, which the body copies from and to these variables.
    pub in_registers: Vec<u32>,
    /// Instructions.
    pub body: Vec<Statement>,
    /// Place of each label in `body`.
    pub labels: Vec<u32>,
    /// `.branchtargets` tables: label of the table and its entries.
    pub branch_tables: Vec<(u32, Vec<u32>)>,
    /// Places in the source; the first is "unknown".
    pub locations: Vec<Location>,
    /// `.maxntid`, as a product.
    pub max_threads: Option<u32>,
    /// `.reqntid`.
    pub required_block: Option<[u32; 3]>,
}

/// A parsed module.
#[derive(Clone, Debug, Default)]
pub struct Module {
    /// Functions, in order.
    pub functions: Vec<Function>,
    /// Module-scope variables, in order.
    pub variables: Vec<Variable>,
    /// `.file` names.
    pub files: HashMap<u32, String>,
    /// The text, by lines.
    pub text: Vec<String>,
}
