//! Loads, stores, atomics, asynchronous copies, addresses.

use super::decoder::Decoder;
use super::{Access, Op, Reduce, Space, Type};
use crate::ptx::{Bank, Operand, VariableSpace};
use crate::sync::StrongKind;

impl Decoder<'_, '_> {
    pub(super) fn memory(&mut self) -> Option<()> {
        match self.modifiers[0] {
            "ld" | "ldu" => {
                let space = self.address(1)?;
                let strong = self.strong(StrongKind::Load);
                self.vector(0)?;
                self.inst.list_results = self.inst.list.len() as u32;
                self.set(Op::Load(Access { space, strong }))
            }
            "st" => {
                let space = self.address(0)?;
                let strong = self.strong(StrongKind::Store);
                self.vector(1)?;
                self.set(Op::Store(Access { space, strong }))
            }
            "atom" | "red" => self.atomic(),
            "cp" => self.copy(),
            "cvta" => self.convert_address(),
            "isspacep" => {
                self.result(0, 0, Type::Predicate)?;
                self.source(0, 1, Type::U64)?;
                self.set(Op::IsSpace(self.space()))
            }
            "createpolicy" => {
                // A policy is an opaque hint; it must be a defined value.
                self.result(0, 0, Type::U64)?;
                self.inst.ty = Type::U64;
                self.inst.src[0] = self.linker.rows.value(Bank::Wide, 0);
                self.set(Op::Move)
            }
            "prefetch" | "prefetchu" | "applypriority" => self.set(Op::Nop),
            _ => None,
        }
    }

    /// The vector that is loaded or stored: its registers may be wider than its elements.
    fn vector(&mut self, index: usize) -> Option<()> {
        let ty = self.inst.ty;
        if matches!(ty, Type::B128 | Type::Predicate) {
            return None;
        }
        let bank = self.bank_of(index, ty.bank());
        self.inst.wide_list = match bank {
            Bank::Wide => true,
            Bank::Word if ty.size() <= 4 => false,
            _ => return None,
        };
        let statement = self.statement;
        let items = match statement.operands.get(index)? {
            Operand::List(items) => items.as_slice(),
            single => std::slice::from_ref(single),
        };
        let wanted = if self.has("v8") {
            8
        } else if self.has("v4") {
            4
        } else if self.has("v2") {
            2
        } else {
            1
        };
        if items.len() != wanted || wanted * ty.size() > 16 {
            return None;
        }
        let read = match (bank == ty.bank(), bank) {
            (true, _) => ty,
            (false, Bank::Wide) => Type::U64,
            _ => Type::U32,
        };
        let mut list = Vec::with_capacity(wanted);
        for item in items {
            list.push(if *item == Operand::Sink { super::SINK } else { self.row(item, read)? });
        }
        self.inst.list = list.into();
        Some(())
    }

    fn atomic(&mut self) -> Option<()> {
        let reduce = self.modifiers[0] == "red";
        let operation = self.modifiers.iter().skip(1).find_map(|m| Reduce::parse(m))?;
        if self.has("v2") || self.has("v4") || self.has("v8") || self.has("async") {
            return None;
        }
        let ty = self.inst.ty;
        let fits = match operation {
            Reduce::Add => !matches!(ty, Type::U8 | Type::S8 | Type::S16),
            Reduce::Min | Reduce::Max => !matches!(ty, Type::F32 | Type::F64 | Type::U16 | Type::S16),
            Reduce::And | Reduce::Or | Reduce::Xor | Reduce::Exchange => matches!(ty, Type::U32 | Type::U64),
            Reduce::CompareAndSwap => matches!(ty, Type::U16 | Type::U32 | Type::U64),
            Reduce::Increment | Reduce::Decrement => ty == Type::U32,
        };
        if !fits || ty == Type::B128 {
            return None;
        }
        let space = self.address(if reduce { 0 } else { 1 })?;
        let first = if reduce { 1 } else { 2 };
        if !reduce {
            self.result(0, 0, ty)?;
        }
        self.source(1, first, ty)?;
        if operation == Reduce::CompareAndSwap {
            self.source(2, first + 1, ty)?;
        }
        let strong = self.strong(StrongKind::Update)?;
        self.set(Op::Atomic(operation, space, strong))
    }

    /// `cp.async.cg.shared.global [to], [from], 16[, bytes or ignore];`
    fn copy(&mut self) -> Option<()> {
        if self.modifiers.get(1) != Some(&"async") || self.has("bulk") || self.has("mbarrier") {
            return None;
        }
        match *self.modifiers.get(2)? {
            "commit_group" => return self.set(Op::AsyncCommit),
            "wait_all" => return self.set(Op::AsyncWaitAll),
            "wait_group" => {
                self.inst.imm = u32::try_from(self.literal(0)?).ok()?;
                return self.set(Op::AsyncWait);
            }
            "ca" | "cg" => {}
            _ => return None,
        }
        let statement = self.statement;
        let Operand::Address { base, offset } = statement.operands.get(1)? else { return None };
        self.inst.src[1] = self.row(base, Type::U64)?;
        self.inst.from_offset = *offset;
        self.address(0)?;
        self.inst.imm = u32::try_from(self.literal(2)?).ok()?;
        if !matches!((self.modifiers[2], self.inst.imm), ("ca", 4 | 8 | 16) | ("cg", 16)) {
            return None;
        }
        // The fourth operand is the source size; with a cache policy it is the policy unless there is a fifth.
        let hinted = self.has("L2::cache_hint");
        let partial = statement.operands.len() > if hinted { 4 } else { 3 };
        if partial {
            if self.bank_of(3, Bank::Word) != Bank::Word {
                return None;
            }
            self.source(2, 3, Type::U32)?;
        }
        self.inst.op = Op::AsyncCopy { partial };
        Some(())
    }

    fn convert_address(&mut self) -> Option<()> {
        if self.bank_of(0, Bank::Wide) != Bank::Wide {
            return None;
        }
        self.inst.ty = Type::U64;
        self.result(0, 0, Type::U64)?;
        self.source(0, 1, Type::U64)?;
        let mut space = self.space();
        if let Some((VariableSpace::Local | VariableSpace::CallParam, _)) =
            self.operand(1).and_then(|o| self.linker.variable(o))
        {
            space = Space::Local;
        }
        self.set(if self.has("to") { Op::ToSpace(space) } else { Op::FromSpace(space) })
    }
}
