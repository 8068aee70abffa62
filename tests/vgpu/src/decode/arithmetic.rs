//! Lane-wise arithmetic, logic, comparison, conversion and moves.

use super::decoder::Decoder;
use super::{Bits, Carry, CarryBase, Combine, Compare, Op, Permute, Round, Special, Test, Type};
use crate::ptx::{Bank, Operand};

impl Decoder<'_, '_> {
    pub(super) fn arithmetic(&mut self) -> Option<()> {
        let name = self.modifiers[0];
        let ty = self.inst.ty;
        match name {
            "mov" => self.mov(),
            "cvt" => self.convert(),
            "setp" => self.compare_to_predicate(),
            "set" => self.compare_to_value(),
            "mul" | "mad" if self.has("wide") => self.widening(),
            "mul" | "fma" => self.uniform(if self.has("hi") {
                Op::MulHigh
            } else if name == "fma" {
                Op::Fma
            } else {
                Op::Mul
            }),
            "mad" | "madc" | "add" | "addc" | "sub" | "subc" if self.has("cc") || name.ends_with('c') => self.carry(),
            "mad" => self.uniform(if self.has("hi") { Op::MadHigh } else { Op::Fma }),
            "mul24" => self.uniform(Op::Mul24(self.has("hi"))),
            "mad24" => self.uniform(Op::Mad24(self.has("hi"))),
            "add" => self.uniform(Op::Add),
            "sub" => self.uniform(Op::Sub),
            "div" if ty.is_float() && (self.has("approx") || self.has("full")) => {
                self.uniform(Op::DivApprox { full: self.has("full") })
            }
            "div" => self.uniform(Op::Div),
            "rem" => self.uniform(Op::Rem),
            "sad" => self.uniform(Op::Sad),
            "min" | "max" => {
                let three = self.statement.operands.len() > 3;
                self.uniform(if name == "min" { Op::Min { three } } else { Op::Max { three } })
            }
            "abs" => self.uniform(Op::Abs),
            "neg" => self.uniform(Op::Neg),
            "copysign" => self.uniform(Op::CopySign),
            "rcp" | "sqrt" | "rsqrt" | "ex2" | "lg2" | "sin" | "cos" | "tanh" => {
                let function = match name {
                    "rcp" => Special::Reciprocal,
                    "sqrt" => Special::Sqrt,
                    "rsqrt" => Special::ReciprocalSqrt,
                    "ex2" => Special::Exp2,
                    "lg2" => Special::Log2,
                    "sin" => Special::Sin,
                    "cos" => Special::Cos,
                    _ => Special::Tanh,
                };
                self.uniform(Op::Special { function, approx: self.has("approx") })
            }
            "testp" => {
                let test = match *self.modifiers.get(1)? {
                    "finite" => Test::Finite,
                    "infinite" => Test::Infinite,
                    "number" => Test::Number,
                    "notanumber" => Test::NotNumber,
                    "normal" => Test::Normal,
                    "subnormal" => Test::Subnormal,
                    _ => return None,
                };
                self.result(0, 0, Type::Predicate)?;
                self.source(0, 1, ty)?;
                self.set(Op::Test(test))
            }
            "selp" => {
                self.result(0, 0, ty)?;
                self.source(0, 1, ty)?;
                self.source(1, 2, ty)?;
                self.predicate(2, 3)?;
                self.set(Op::Select)
            }
            "slct" => {
                let [ty, sign] = *self.types.as_slice() else { return None };
                (self.inst.ty, self.inst.from) = (ty, sign);
                self.result(0, 0, ty)?;
                self.source(0, 1, ty)?;
                self.source(1, 2, ty)?;
                self.source(2, 3, sign)?;
                self.set(Op::SelectBySign)
            }
            "dp4a" | "dp2a" => {
                let [a, b] = *self.types.as_slice() else { return None };
                (self.inst.ty, self.inst.from) = (a, b);
                self.result(0, 0, Type::U32)?;
                (0..3).try_for_each(|i| self.source(i, i + 1, Type::U32))?;
                self.set(if name == "dp4a" { Op::Dp4a } else { Op::Dp2a(self.has("hi")) })
            }
            "and" | "or" | "xor" | "not" if ty == Type::Predicate => {
                let combine = if name == "not" { Combine::None } else { Combine::parse(name) };
                self.result(0, 0, ty)?;
                self.source(0, 1, ty)?;
                if name != "not" {
                    self.source(1, 2, ty)?;
                }
                self.set(Op::Logic(combine, name == "not"))
            }
            _ => self.bits(),
        }
    }

    /// Result and operands all of type `ty`.
    fn uniform(&mut self, op: Op) -> Option<()> {
        let ty = self.inst.ty;
        if matches!(ty, Type::Predicate | Type::B128 | Type::U8 | Type::S8) {
            return None;
        }
        if !supported(op, self.inst.ty, self.inst.round) || self.statement.operands.len() > 5 {
            return None;
        }
        self.result(0, 0, ty)?;
        for index in 1..self.statement.operands.len() {
            self.source(index - 1, index, ty)?;
        }
        self.set(op)
    }

    fn widening(&mut self) -> Option<()> {
        let ty = self.inst.ty;
        let wide = match ty.size() {
            2 => Type::U32,
            4 => Type::U64,
            _ => return None,
        };
        self.result(0, 0, wide)?;
        self.source(0, 1, ty)?;
        self.source(1, 2, ty)?;
        if self.modifiers[0] == "mad" {
            self.source(2, 3, wide)?;
            return self.set(Op::MadWide);
        }
        self.set(Op::MulWide)
    }

    fn carry(&mut self) -> Option<()> {
        let (name, ty) = (self.modifiers[0], self.inst.ty);
        let base = match name.trim_end_matches('c') {
            "add" => CarryBase::Add,
            "sub" => CarryBase::Sub,
            _ if self.has("hi") => CarryBase::MadHigh,
            _ => CarryBase::MadLow,
        };
        if !matches!(ty, Type::U32 | Type::S32 | Type::U64 | Type::S64) || self.statement.operands.len() > 5 {
            return None;
        }
        self.result(0, 0, ty)?;
        for index in 1..self.statement.operands.len() {
            self.source(index - 1, index, ty)?;
        }
        self.set(Op::Carry(Carry { base, reads: name.ends_with('c'), writes: self.has("cc") }))
    }

    fn bits(&mut self) -> Option<()> {
        let ty = self.inst.ty;
        let wrap = self.has("wrap");
        // The operands' types, after the result's.
        let (op, result, operands): (Bits, Type, &[Type]) = match self.modifiers[0] {
            "and" => (Bits::And, ty, &[ty, ty]),
            "or" => (Bits::Or, ty, &[ty, ty]),
            "xor" => (Bits::Xor, ty, &[ty, ty]),
            "not" => (Bits::Not, ty, &[ty]),
            "cnot" => (Bits::Cnot, ty, &[ty]),
            "shl" => (Bits::Shl, ty, &[ty, Type::U32]),
            "shr" => (Bits::Shr, ty, &[ty, Type::U32]),
            "prmt" => {
                let mode = match *self.modifiers.last()? {
                    "b32" => Permute::Selectors,
                    "f4e" => Permute::Forward4,
                    "b4e" => Permute::Backward4,
                    "rc8" => Permute::Replicate8,
                    "ecl" => Permute::EdgeClampLeft,
                    "ecr" => Permute::EdgeClampRight,
                    "rc16" => Permute::Replicate16,
                    _ => return None,
                };
                (Bits::Prmt(mode), ty, &[Type::U32; 3])
            }
            "shf" if self.has("l") => (Bits::ShfLeft { wrap }, ty, &[Type::U32; 3]),
            "shf" => (Bits::ShfRight { wrap }, ty, &[Type::U32; 3]),
            "bfi" => (Bits::Bfi, ty, &[ty, ty, Type::U32, Type::U32]),
            "bfe" => (Bits::Bfe, ty, &[ty, Type::U32, Type::U32]),
            "bmsk" => (Bits::Bmsk { wrap }, ty, &[Type::U32; 2]),
            "szext" => (Bits::Szext { wrap }, ty, &[ty, Type::U32]),
            "popc" => (Bits::Popc, Type::U32, &[ty]),
            "clz" => (Bits::Clz, Type::U32, &[ty]),
            "bfind" => (Bits::Bfind { shift_amount: self.has("shiftamt") }, Type::U32, &[ty]),
            "brev" => (Bits::Brev, ty, &[ty]),
            "fns" => (Bits::Fns, ty, &[Type::U32; 3]),
            "lop3" if self.modifiers.len() == 2 => {
                (Bits::Lop3(u8::try_from(self.literal(4)?).ok()?), ty, &[Type::U32; 3])
            }
            _ => return None,
        };
        if ty == Type::Predicate || ty.is_float() && !matches!(op, Bits::And | Bits::Or | Bits::Xor | Bits::Not) {
            return None;
        }
        self.result(0, 0, result)?;
        for (slot, operand) in operands.iter().enumerate() {
            self.source(slot, slot + 1, *operand)?;
        }
        self.set(Op::Bits(op))
    }

    fn mov(&mut self) -> Option<()> {
        let ty = self.inst.ty;
        if ty == Type::B128 {
            return None;
        }
        match (self.operand(0)?, self.operand(1)?) {
            (Operand::List(parts), _) => {
                let part = ty.size() / parts.len().max(1);
                self.inst.wide_list = part == 8;
                self.inst.list = self.rows_of(0, if part == 8 { Bank::Wide } else { Bank::Word })?.into();
                self.inst.list_results = self.inst.list.len() as u32;
                self.source(0, 1, ty)?;
                (part.is_power_of_two() && part < 8).then_some(())?;
                self.set(Op::Unpack)
            }
            (_, Operand::List(parts)) => {
                let part = ty.size() / parts.len().max(1);
                self.inst.list = self.rows_of(1, Bank::Word)?.into();
                self.result(0, 0, ty)?;
                (part.is_power_of_two() && part < 8).then_some(())?;
                self.set(Op::Pack)
            }
            (_, Operand::Special(name)) if name.starts_with("%clock") || name == "%globaltimer" => {
                self.inst.ty = if name.ends_with("64") || name == "%globaltimer" { Type::U64 } else { Type::U32 };
                if self.bank_of(0, Bank::Word) != self.inst.ty.bank() {
                    return None;
                }
                self.result(0, 0, self.inst.ty)?;
                self.set(Op::Clock)
            }
            _ => {
                self.result(0, 0, ty)?;
                self.predicate_or_source(ty)?;
                self.set(Op::Move)
            }
        }
    }

    fn predicate_or_source(&mut self, ty: Type) -> Option<()> {
        if ty == Type::Predicate { self.predicate(0, 1) } else { self.source(0, 1, ty) }
    }

    fn convert(&mut self) -> Option<()> {
        if self.has("pack") {
            let [to, from] = *self.types.get(..2)? else { return None };
            (self.inst.ty, self.inst.from) = (to, from);
            self.result(0, 0, Type::U32)?;
            self.source(0, 1, Type::U32)?;
            self.source(1, 2, Type::U32)?;
            if self.statement.operands.len() > 3 {
                self.source(2, 3, Type::U32)?;
            }
            (from == Type::S32 && matches!(to, Type::S16 | Type::U16 | Type::S8 | Type::U8)).then_some(())?;
            return self.set(Op::ConvertPack);
        }
        let [to, from] = *self.types.as_slice() else { return None };
        (self.inst.ty, self.inst.from) = (to, from);
        if self.statement.operands.len() == 3 {
            let rounds = matches!(self.inst.round, Round::Nearest | Round::Zero);
            (matches!(to, Type::BF16x2 | Type::F16x2) && from == Type::F32 && rounds).then_some(())?;
            self.result(0, 0, Type::U32)?;
            self.source(0, 1, Type::F32)?;
            self.source(1, 2, Type::F32)?;
            return self.set(Op::ConvertPair);
        }
        let packed = |t: Type| matches!(t, Type::F16x2 | Type::BF16x2 | Type::U16x2 | Type::S16x2 | Type::Predicate);
        if packed(to) || packed(from) || from == Type::TF32 {
            return None;
        }
        // Registers may be wider than the types.
        let to_bank = self.bank_of(0, to.bank());
        let from_bank = self.bank_of(1, from.bank());
        if (to.bank() == Bank::Wide && to_bank != Bank::Wide) || (from.bank() == Bank::Wide && from_bank != Bank::Wide)
        {
            return None;
        }
        let natural = |t: Type, bank: Bank| if bank == t.bank() { t } else { Type::U64 };
        self.result(0, 0, natural(to, to_bank))?;
        self.source(0, 1, natural(from, from_bank))?;
        self.inst.wide_list = to_bank == Bank::Wide && to.bank() != Bank::Wide;
        self.inst.short_address = from_bank == Bank::Wide && from.bank() != Bank::Wide;
        let integral = ["rni", "rzi", "rmi", "rpi"].iter().any(|m| self.has(m));
        self.set(Op::Convert { integral })
    }

    fn compare_to_predicate(&mut self) -> Option<()> {
        let compare = Compare::parse(self.modifiers.get(1)?)?;
        let combine = Combine::parse(self.modifiers.get(2)?);
        let ty = self.inst.ty;
        self.results(Type::Predicate, Type::Predicate)?;
        self.source(0, 1, ty)?;
        self.source(1, 2, ty)?;
        if combine != Combine::None {
            self.predicate(2, 3)?;
        }
        self.set(Op::SetPredicate(compare, combine))
    }

    fn compare_to_value(&mut self) -> Option<()> {
        let compare = Compare::parse(self.modifiers.get(1)?)?;
        let combine = Combine::parse(self.modifiers.get(2)?);
        let [to, from] = *self.types.as_slice() else { return None };
        (self.inst.ty, self.inst.from) = (to, from);
        self.result(0, 0, to)?;
        self.source(0, 1, from)?;
        self.source(1, 2, from)?;
        if combine != Combine::None {
            self.predicate(2, 3)?;
        }
        self.set(Op::Set(compare, combine))
    }
}

/// Whether the interpreter computes this operation on this type with this rounding.
fn supported(op: Op, ty: Type, round: Round) -> bool {
    let int = !ty.is_float();
    let half = matches!(ty, Type::F16 | Type::BF16 | Type::F16x2 | Type::BF16x2);
    let pair = matches!(ty, Type::U16x2 | Type::S16x2);
    match op {
        Op::MulHigh | Op::MadHigh | Op::Rem | Op::Sad => int && !pair,
        Op::Mul24(_) | Op::Mad24(_) => matches!(ty, Type::U32 | Type::S32),
        Op::Special { approx: false, .. } | Op::Div if !int => matches!(ty, Type::F32 | Type::F64),
        Op::Special { .. } => !int,
        Op::DivApprox { .. } => ty == Type::F32,
        Op::CopySign => matches!(ty, Type::F32 | Type::F64),
        Op::Add | Op::Min { .. } | Op::Max { .. } if pair => true,
        Op::Fma if ty == Type::F64 => round == Round::Nearest,
        Op::Add | Op::Sub | Op::Mul | Op::Fma if half => round == Round::Nearest,
        _ => !pair && ty != Type::TF32,
    }
}
