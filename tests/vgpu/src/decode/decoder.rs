//! One statement on its way to an instruction: what the opcode families share.

use super::link::Linker;
use super::rows::{FALSE, Origin, Row, SINK, SpecialRegister, TRUE};
use super::{Inst, Op, Round, Space, Type};
use crate::ptx::{Bank, Literal, Operand, Statement, VariableSpace};
use crate::sync::{Order, Scope, Strong, StrongKind};

/// The statement, its modifiers, and the instruction so far. A method that returns `None` says: unknown form.
pub(super) struct Decoder<'a, 'm> {
    pub(super) linker: &'a mut Linker<'m>,
    pub(super) statement: &'a Statement,
    pub(super) modifiers: Vec<&'a str>,
    /// Types among the modifiers, in order.
    pub(super) types: Vec<Type>,
    pub(super) inst: Inst,
    /// Place of the function's first instruction.
    pub(super) start: u32,
}

impl Linker<'_> {
    /// Decodes a statement of the current function, whose first instruction stands at `start`.
    pub(super) fn instruction(&mut self, statement: &Statement, start: u32) -> Inst {
        let modifiers: Vec<&str> = statement.opcode.split('.').filter(|m| !m.is_empty()).collect();
        let types = modifiers.iter().skip(1).filter_map(|m| Type::parse(m)).collect::<Vec<_>>();
        let inst = self.blank(statement);
        let mut decoder = Decoder { linker: self, statement, modifiers, types, inst, start };
        let known = decoder.guard().is_some() && decoder.decode().is_some();
        let mut inst = decoder.inst;
        if !known {
            let guard = (inst.guard, inst.guard_negated);
            inst = self.blank(statement);
            (inst.guard, inst.guard_negated) = guard;
        }
        inst
    }
}

impl Decoder<'_, '_> {
    fn guard(&mut self) -> Option<()> {
        if let Some((register, negated)) = self.statement.guard {
            let (row, bank) = self.linker.register(register);
            if bank != Bank::Predicate {
                return None;
            }
            (self.inst.guard, self.inst.guard_negated) = (row, negated);
        }
        Some(())
    }

    fn decode(&mut self) -> Option<()> {
        self.inst.ty = self.types.last().copied().unwrap_or(Type::U32);
        self.inst.ftz = self.has("ftz");
        self.inst.saturate = self.has("sat") || self.has("satfinite");
        self.inst.nan = self.has("NaN");
        self.inst.relu = self.has("relu");
        self.inst.xorsign = self.has("xorsign");
        self.inst.round = match () {
            () if self.has("rz") || self.has("rzi") => Round::Zero,
            () if self.has("rm") || self.has("rmi") => Round::Down,
            () if self.has("rp") || self.has("rpi") => Round::Up,
            () if self.has("rna") => Round::NearestAway,
            () => Round::Nearest,
        };
        match *self.modifiers.first()? {
            "bra" | "brx" | "call" | "ret" | "exit" | "trap" | "bar" | "barrier" | "membar" | "fence" | "nanosleep"
            | "griddepcontrol" | "brkpt" | "pmevent" | "setmaxnreg" => self.control(),
            "activemask" | "shfl" | "vote" | "match" | "redux" | "elect" => self.collective(),
            "mma" => self.mma(),
            "ldmatrix" | "stmatrix" | "movmatrix" => self.matrix(),
            "ld" | "ldu" | "st" | "atom" | "red" | "cp" | "cvta" | "isspacep" | "prefetch" | "prefetchu"
            | "discard" | "applypriority" | "createpolicy" => self.memory(),
            _ => self.arithmetic(),
        }
    }

    pub(super) fn has(&self, modifier: &str) -> bool {
        self.modifiers.contains(&modifier)
    }

    pub(super) fn operand(&self, index: usize) -> Option<&Operand> {
        self.statement.operands.get(index)
    }

    /// The row of an operand that is read as `ty`.
    pub(super) fn row(&mut self, operand: &Operand, ty: Type) -> Option<Row> {
        let bank = ty.bank();
        Some(match operand {
            Operand::Register(register) => {
                let (row, own) = self.linker.register(*register);
                return (own == bank).then_some(row);
            }
            Operand::Literal(literal) => {
                let bits = literal_bits(*literal, ty);
                self.linker.rows.value(bank, bits)
            }
            Operand::Local { .. } | Operand::Module { .. } => {
                let (_, address) = self.linker.variable(operand)?;
                self.linker.rows.value(bank, address as u64)
            }
            Operand::Special(name) => {
                let (register, own) = SpecialRegister::parse(name)?;
                if own != bank {
                    return None;
                }
                match register {
                    SpecialRegister::Fixed(value) => self.linker.rows.value(bank, u64::from(value)),
                    _ => self.linker.rows.filled(bank, Origin::Special(register)),
                }
            }
            Operand::Name(name) if name == "WARP_SZ" => self.linker.rows.value(bank, 32),
            _ => return None,
        })
    }

    /// Reads operand `index` into `src[slot]`.
    pub(super) fn source(&mut self, slot: usize, index: usize, ty: Type) -> Option<()> {
        let statement = self.statement;
        self.inst.src[slot] = self.row(statement.operands.get(index)?, ty)?;
        Some(())
    }

    /// Reads a predicate operand, negated or not, into `src[slot]`.
    pub(super) fn predicate(&mut self, slot: usize, index: usize) -> Option<()> {
        self.inst.src[slot] = match self.operand(index)? {
            Operand::NotPredicate(register) => {
                let register = *register;
                self.inst.negated = true;
                let (row, bank) = self.linker.register(register);
                (bank == Bank::Predicate).then_some(row)?
            }
            Operand::Literal(Literal::Int(value)) => {
                if *value == 0 {
                    FALSE
                } else {
                    TRUE
                }
            }
            _ => return self.source(slot, index, Type::Predicate),
        };
        Some(())
    }

    fn result_row(&mut self, operand: &Operand, bank: Bank) -> Option<Row> {
        match operand {
            Operand::Register(register) => {
                let (row, own) = self.linker.register(*register);
                (own == bank).then_some(row)
            }
            Operand::Sink => Some(SINK),
            _ => None,
        }
    }

    /// `dst[slot]` is operand `index`.
    pub(super) fn result(&mut self, slot: usize, index: usize, ty: Type) -> Option<()> {
        let statement = self.statement;
        self.inst.dst[slot] = self.result_row(statement.operands.get(index)?, ty.bank())?;
        Some(())
    }

    /// The first operand: a result, or a pair of results.
    pub(super) fn results(&mut self, first: Type, second: Type) -> Option<()> {
        let statement = self.statement;
        match statement.operands.first()? {
            Operand::Pair(a, b) => {
                self.inst.dst[0] = self.result_row(a, first.bank())?;
                self.inst.dst[1] = self.result_row(b, second.bank())?;
                Some(())
            }
            _ => self.result(0, 0, first),
        }
    }

    /// Rows of a list operand, or of a single one; all in `bank`, literals allowed.
    pub(super) fn rows_of(&mut self, index: usize, bank: Bank) -> Option<Vec<Row>> {
        let statement = self.statement;
        let operand = statement.operands.get(index)?;
        let items = match operand {
            Operand::List(items) => items.as_slice(),
            single => std::slice::from_ref(single),
        };
        let ty = if bank == Bank::Wide { Type::U64 } else { Type::U32 };
        items.iter().map(|item| if *item == Operand::Sink { Some(SINK) } else { self.row(item, ty) }).collect()
    }

    /// Bank of the registers in an operand; that of `otherwise` when it has none.
    pub(super) fn bank_of(&self, index: usize, otherwise: Bank) -> Bank {
        let bank = |operand: &Operand| match operand {
            Operand::Register(register) => Some(self.linker.register(*register).1),
            _ => None,
        };
        match self.operand(index) {
            Some(Operand::List(items)) => items.iter().find_map(bank),
            Some(single) => bank(single),
            None => None,
        }
        .unwrap_or(otherwise)
    }

    /// The space that the modifiers name.
    pub(super) fn space(&self) -> Space {
        for modifier in &self.modifiers {
            match *modifier {
                "global" | "const" => return Space::Global,
                "local" => return Space::Local,
                "param" | "param::entry" if self.linker.module.functions[self.linker.function].entry => {
                    return Space::Param;
                }
                // Parameters of a function lie in the thread's local memory.
                "param" | "param::entry" | "param::func" => return Space::Local,
                m if m.starts_with("shared") => return Space::Shared,
                _ => {}
            }
        }
        Space::Generic
    }

    /// Reads an address operand into a, `offset` and `short_address`; returns the space, which a variable decides.
    pub(super) fn address(&mut self, index: usize) -> Option<Space> {
        let statement = self.statement;
        let operand = match statement.operands.get(index)? {
            Operand::List(items) => items.first()?,
            operand => operand,
        };
        let Operand::Address { base, offset } = operand else { return None };
        self.inst.offset = *offset;
        let space = match self.linker.variable(base) {
            Some((space, _)) => match space {
                VariableSpace::Global | VariableSpace::Constant => Space::Global,
                VariableSpace::Shared | VariableSpace::SharedDynamic => Space::Shared,
                VariableSpace::Local | VariableSpace::CallParam => Space::Local,
                VariableSpace::KernelParam => Space::Param,
            },
            None => self.space(),
        };
        self.inst.short_address = match **base {
            Operand::Register(register) => self.linker.register(register).1 == Bank::Word,
            _ => false,
        };
        self.inst.src[0] = self.row(base, if self.inst.short_address { Type::U32 } else { Type::U64 })?;
        Some(space)
    }

    pub(super) fn scope(&self, otherwise: Scope) -> Scope {
        for modifier in &self.modifiers {
            match *modifier {
                "cta" => return Scope::Cta,
                "gpu" | "gl" | "cluster" => return Scope::Gpu,
                "sys" => return Scope::System,
                _ => {}
            }
        }
        otherwise
    }

    /// Memory order of a load, store or update; `None` for plain accesses.
    pub(super) fn strong(&self, kind: StrongKind) -> Option<Strong> {
        let order = match () {
            () if self.has("acq_rel") => Order::AcquireRelease,
            () if self.has("acquire") => Order::Acquire,
            () if self.has("release") => Order::Release,
            () if self.has("relaxed") || self.has("volatile") || self.has("mmio") => Order::Relaxed,
            () if kind == StrongKind::Update => Order::Relaxed,
            () => return None,
        };
        let scope = self.scope(if kind == StrongKind::Update { Scope::Gpu } else { Scope::System });
        Some(Strong { kind, order, scope })
    }

    pub(super) fn set(&mut self, op: Op) -> Option<()> {
        self.inst.op = op;
        Some(())
    }
}

/// Bits of a literal read as `ty`.
fn literal_bits(literal: Literal, ty: Type) -> u64 {
    match (literal, ty) {
        (Literal::Int(bits), _) => bits,
        (Literal::F32(bits), Type::F64) => f64::from(f32::from_bits(bits)).to_bits(),
        (Literal::F32(bits), _) => u64::from(bits),
        (Literal::F64(value), Type::F32) => u64::from((value as f32).to_bits()),
        (Literal::F64(value), _) => value.to_bits(),
    }
}
