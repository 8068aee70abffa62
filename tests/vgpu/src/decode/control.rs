//! Control flow, warp collectives, barriers, tensor-core instructions.

use super::decoder::Decoder;
use super::link::{call_lists, callee_of};
use super::{Accumulator, BarrierReduce, Element, Mma, Op, Reduce, Shuffle, Type, Vote};
use crate::ptx::{Bank, Literal, Operand, Statement};
use crate::sync::Scope;

/// Whether a statement is a call.
pub(super) fn is_call(statement: &Statement) -> bool {
    statement.opcode == "call" || statement.opcode.starts_with("call.")
}

impl Decoder<'_, '_> {
    pub(super) fn control(&mut self) -> Option<()> {
        let op = match self.modifiers[0] {
            "bra" => {
                self.inst.target = self.label(0)?;
                Op::Branch
            }
            "brx" => {
                self.source(0, 0, Type::U32)?;
                let Operand::Label(table) = self.operand(1)? else { return None };
                let function = &self.linker.module.functions[self.linker.function];
                let (_, entries) = function.branch_tables.iter().find(|(t, _)| t == table)?;
                self.inst.list = entries.iter().map(|e| e + self.start).collect();
                Op::BranchIndexed
            }
            "call" => return self.call(),
            "ret" => match self.linker.frames.get(&self.linker.function)?.return_row {
                Some(row) => {
                    self.inst.src[0] = row;
                    Op::Return
                }
                None => Op::Exit,
            },
            "exit" => Op::Exit,
            "trap" => Op::Trap,
            "bar" | "barrier" => return self.barrier(),
            "membar" | "fence" => Op::Fence(self.scope(Scope::System)),
            "nanosleep" | "griddepcontrol" | "pmevent" | "setmaxnreg" => Op::Nop,
            _ => return None,
        };
        self.inst.op = op;
        Some(())
    }

    fn call(&mut self) -> Option<()> {
        let (module, statement) = (self.linker.module, self.statement);
        if let Some(callee) = callee_of(module, statement) {
            let (target, frame) = (&module.functions[callee], self.linker.frames.get(&callee)?);
            // A callee that is not placed yet is on the path to here: recursion.
            if frame.start == u32::MAX {
                return None;
            }
            let (returns, arguments) = call_lists(statement);
            if returns.len() != target.returns.len() || arguments.len() != target.params.len() {
                return None;
            }
            (self.inst.op, self.inst.target) = (Op::Call, frame.start);
            self.inst.dst[0] = frame.return_row?;
            return Some(());
        }
        let name = statement.operands.iter().find_map(|o| match o {
            Operand::Name(name) => Some(name.as_str()),
            _ => None,
        })?;
        self.inst.op = match name {
            "__assertfail" => Op::Assert,
            "vprintf" => {
                if let Some(result) = call_lists(statement).0.first() {
                    (self.inst.offset, self.inst.imm) = (self.linker.variable(result)?.1, 1);
                }
                Op::CallPrintf
            }
            _ => return None,
        };
        Some(())
    }

    fn barrier(&mut self) -> Option<()> {
        if self.statement.opcode == "bar.warp.sync" {
            self.source(0, 0, Type::U32)?;
            self.inst.op = Op::WarpSync;
            return Some(());
        }
        let aligned = self.modifiers[0] == "bar" || self.has("aligned");
        if self.has("cluster") {
            return None;
        }
        let (reduce, first) = match self.modifiers.iter().position(|m| *m == "red") {
            None => (None, 0),
            Some(_) if self.has("popc") => (Some(BarrierReduce::Count), 1),
            Some(_) if self.has("and") => (Some(BarrierReduce::And), 1),
            Some(_) => (Some(BarrierReduce::Or), 1),
        };
        let mut count = self.statement.operands.len().checked_sub(first)?;
        if reduce.is_some() {
            let ty = if reduce == Some(BarrierReduce::Count) { Type::U32 } else { Type::Predicate };
            self.result(0, 0, ty)?;
            count = count.checked_sub(1)?;
            self.predicate(2, first + count)?;
        }
        self.source(0, first, Type::U32)?;
        if count > 1 {
            self.source(1, first + 1, Type::U32)?;
        }
        self.inst.op = Op::Barrier { wait: !self.has("arrive"), counted: count > 1, aligned, reduce };
        Some(())
    }

    pub(super) fn collective(&mut self) -> Option<()> {
        match self.modifiers[0] {
            "activemask" => {
                self.inst.op = Op::ActiveMask;
                self.result(0, 0, Type::U32)
            }
            "shfl" => {
                self.inst.op = Op::Shuffle(match *self.modifiers.get(2)? {
                    "up" => Shuffle::Up,
                    "down" => Shuffle::Down,
                    "bfly" => Shuffle::Butterfly,
                    "idx" => Shuffle::Index,
                    _ => return None,
                });
                self.results(Type::U32, Type::Predicate)?;
                (0..4).try_for_each(|i| self.source(i, i + 1, Type::U32))
            }
            "vote" => {
                let vote = match *self.modifiers.get(2)? {
                    "ballot" => Vote::Ballot,
                    "any" => Vote::Any,
                    "all" => Vote::All,
                    "uni" => Vote::Uniform,
                    _ => return None,
                };
                self.inst.op = Op::Vote(vote);
                self.result(0, 0, if vote == Vote::Ballot { Type::U32 } else { Type::Predicate })?;
                self.predicate(0, 1)?;
                self.source(1, 2, Type::U32)
            }
            "match" => {
                self.inst.op = Op::Match { all: self.has("all") };
                self.results(Type::U32, Type::Predicate)?;
                self.source(0, 1, self.inst.ty)?;
                self.source(1, 2, Type::U32)
            }
            "redux" => {
                self.inst.op = Op::Redux(self.modifiers.iter().find_map(|m| Reduce::parse(m))?);
                if self.inst.ty.is_float() {
                    return None;
                }
                self.result(0, 0, Type::U32)?;
                self.source(0, 1, Type::U32)?;
                self.source(1, 2, Type::U32)
            }
            "elect" => {
                self.inst.op = Op::Elect;
                self.results(Type::U32, Type::Predicate)?;
                self.source(0, 1, Type::U32)
            }
            _ => None,
        }
    }

    /// `mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {d}, {a}, {b}, {c}`
    pub(super) fn mma(&mut self) -> Option<()> {
        let shape = *self.modifiers.iter().find(|m| m.starts_with('m') && m.contains('n') && m.contains('k'))?;
        let (_, k) = shape.rsplit_once('k')?;
        if !self.has("row") || !self.has("col") || self.has("xor") || self.has("and") || self.has("sp") {
            return None;
        }
        let [d, a, b, c] = *self.types.as_slice() else { return None };
        let element = |t: Type| {
            Some(match t {
                Type::F16 => Element::F16,
                Type::BF16 => Element::BF16,
                Type::TF32 => Element::TF32,
                Type::U8 => Element::U8,
                Type::S8 => Element::S8,
                Type::F64 => Element::F64,
                _ => return None,
            })
        };
        let accumulator = match (d, c) {
            (Type::F32, Type::F32) => Accumulator::F32,
            (Type::F16, Type::F16) => Accumulator::F16,
            (Type::S32, Type::S32) => Accumulator::S32,
            (Type::F64, Type::F64) => Accumulator::F64,
            _ => return None,
        };
        let mma = Mma { k: k.parse().ok()?, a: element(a)?, b: element(b)?, accumulator, saturate: self.inst.saturate };
        let rows = if shape.starts_with("m8n8") { 8 } else { 16 };
        let bank = if accumulator == Accumulator::F64 { Bank::Wide } else { Bank::Word };
        let counts = crate::tensor::fragments(mma).filter(|_| rows == if bank == Bank::Wide { 8 } else { 16 })?;
        let mut list = Vec::new();
        for (index, count) in counts.into_iter().enumerate() {
            let fragment = self.rows_of(index, bank)?;
            if fragment.len() != count {
                return None;
            }
            list.extend(fragment);
        }
        self.inst.op = Op::Mma(mma);
        self.inst.wide_list = bank == Bank::Wide;
        self.inst.list_results = counts[0] as u32;
        self.inst.list = list.into();
        Some(())
    }

    /// `ldmatrix`, `stmatrix`, `movmatrix`
    pub(super) fn matrix(&mut self) -> Option<()> {
        let transposed = self.has("trans");
        if !self.has("b16") || (!self.has("m8n8")) {
            return None;
        }
        match self.modifiers[0] {
            "ldmatrix" => {
                self.inst.list = self.rows_of(0, Bank::Word)?.into();
                self.inst.list_results = self.inst.list.len() as u32;
                self.address(1)?;
                self.inst.op = Op::LoadMatrix { transposed };
            }
            "stmatrix" => {
                self.address(0)?;
                self.inst.list = self.rows_of(1, Bank::Word)?.into();
                self.inst.op = Op::StoreMatrix { transposed };
            }
            _ => {
                self.result(0, 0, Type::U32)?;
                self.source(0, 1, Type::U32)?;
                self.inst.op = Op::MoveMatrix;
            }
        }
        matches!(self.inst.list.len(), 0 | 1 | 2 | 4).then_some(())
    }

    fn label(&self, index: usize) -> Option<u32> {
        let Operand::Label(label) = self.operand(index)? else { return None };
        Some(self.linker.module.functions[self.linker.function].labels[*label as usize] + self.start)
    }

    /// The literal at an operand.
    pub(super) fn literal(&self, index: usize) -> Option<u64> {
        match self.operand(index)? {
            Operand::Literal(Literal::Int(value)) => Some(*value),
            _ => None,
        }
    }
}
