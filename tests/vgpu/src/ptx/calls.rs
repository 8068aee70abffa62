//! Parameters in registers: formals of functions declared `.reg`, and registers or numbers as arguments of calls.
//!
//! They become what compilers write, copies to and from variables of the `.param` space, so that nothing behind the parser knows
//! of them.

use super::body::Body;
use super::parse::Parser;
use super::{Bank, Function, Operand, ParseError, Register, Statement, Variable, VariableSpace};

type Guard = Option<(Register, bool)>;

impl Parser<'_> {
    /// Declares the registers of a function's formals, and fills those of its parameters.
    pub(super) fn formals_to_registers(&mut self, function: &mut Function, body: &mut Body) -> Result<(), ParseError> {
        for place in function.in_registers.clone() {
            let Variable { name, size, .. } = &function.variables[place as usize];
            let bank = match size {
                1..=4 => Bank::Word,
                8 => Bank::Wide,
                _ => return self.error(format!("'{name}' has {size} bytes, which are no register")),
            };
            let register = function.registers.len() as Register;
            body.scope().registers.insert(name.clone(), register);
            function.registers.push(bank);
            if function.params.contains(&place) {
                let copy = self.copy(function, body, "ld", place, Operand::Register(register), None);
                function.body.push(copy);
            }
        }
        Ok(())
    }

    /// Stores the results that are registers, as a function returns.
    pub(super) fn results_from_registers(&self, function: &mut Function, body: &Body, guard: Guard) {
        for place in function.in_registers.clone() {
            let name = &function.variables[place as usize].name;
            if let Some(register) = body.formal(name).filter(|_| function.returns.contains(&place)) {
                let copy = self.copy(function, body, "st", place, Operand::Register(register), guard);
                function.body.push(copy);
            }
        }
    }

    /// Replaces a call's registers and numbers by variables, stores the arguments, and returns the loads of its results.
    pub(super) fn arguments_from_registers(
        &self,
        function: &mut Function,
        body: &Body,
        guard: Guard,
        operands: &mut [Operand],
    ) -> Vec<Statement> {
        let called = operands.iter().find_map(|operand| match operand {
            Operand::Label(reference) => Some(body.wanted[*reference as usize].0.as_str()),
            _ => None,
        });
        let callee = self.module.functions.iter().find(|f| !f.entry && Some(f.name.as_str()) == called);
        let Some(callee) = callee else { return Vec::new() };
        let sizes = |places: &[u32]| -> Vec<usize> {
            places.iter().map(|place| callee.variables[*place as usize].size).collect()
        };
        let has_results = matches!(operands.first(), Some(Operand::List(_)));
        let (results, arguments) = (sizes(&callee.returns), sizes(&callee.params));
        let mut after = Vec::new();
        for (index, sizes) in [(0, results), (if has_results { 2 } else { 1 }, arguments)] {
            let is_result = index == 0;
            let Some(Operand::List(items)) = operands.get_mut(index) else { continue };
            for (item, size) in items.iter_mut().zip(sizes) {
                if !matches!(item, Operand::Register(_) | Operand::Literal(_)) || !matches!(size, 1 | 2 | 4 | 8) {
                    continue;
                }
                let variable = function.variables.len() as u32;
                let (name, space) = (String::new(), VariableSpace::CallParam);
                let (init, relocations) = (Vec::new(), Vec::new());
                function.variables.push(Variable { name, space, size, align: size, init, relocations });
                let actual = std::mem::replace(item, Operand::Local { variable, offset: 0 });
                let copy = self.copy(function, body, if is_result { "ld" } else { "st" }, variable, actual, guard);
                if is_result { after.push(copy) } else { function.body.push(copy) }
            }
        }
        after
    }

    /// A load or a store of a whole variable.
    fn copy(&self, f: &Function, body: &Body, opcode: &str, place: u32, value: Operand, guard: Guard) -> Statement {
        let base = Box::new(Operand::Local { variable: place, offset: 0 });
        let address = Operand::Address { base, offset: 0 };
        let operands = if opcode == "ld" { vec![value, address] } else { vec![address, value] };
        let opcode = format!("{opcode}.param.b{}", 8 * f.variables[place as usize].size);
        Statement { guard, opcode, operands, line: self.line(), location: body.location }
    }
}
