//! An entry and the functions it calls, linked into one list of instructions.
//!
//! Callees stand before their callers: the interpreter runs the lowest place first, so diverged lanes return before their
//! companions run ahead. Every function owns its rows and its local memory once, which is why recursion is not supported.

use std::collections::HashMap;
use std::sync::Arc;

use super::allocate::allocate;
use super::control::is_call;
use super::rows::{Origin, Row, RowTable};
use super::{Inst, Op, Round, SINK, TRUE, Type, ZERO};
use crate::memory::Region;
use crate::ptx::{self, Bank, Operand, Statement, VariableSpace};

/// One parameter of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Bytes from the start of the parameter block.
    pub offset: usize,
    /// Bytes.
    pub size: usize,
    /// Bytes.
    pub align: usize,
}

/// An entry, ready to run.
#[derive(Debug)]
pub struct Program {
    /// The module it comes from.
    pub module: Arc<ptx::Module>,
    /// Its symbol.
    pub name: String,
    /// Instructions of the entry and of all it calls.
    pub insts: Vec<Inst>,
    /// Place of the entry's first instruction.
    pub start: u32,
    /// Size of a warp's register file, in rows of 32 words.
    pub units: u32,
    /// Rows filled before the first instruction.
    pub filled: Vec<(Row, Bank, Origin)>,
    /// Parameters, in order.
    pub params: Vec<Param>,
    /// Bytes of the parameter block.
    pub param_bytes: usize,
    /// Bytes of static shared memory, without the gaps between its variables.
    pub shared_static: u32,
    /// Where the dynamic part of shared memory begins.
    pub shared_dynamic: u32,
    /// The variables of static shared memory.
    pub shared: Vec<Region>,
    /// Bytes of local memory of a thread.
    pub local_bytes: u32,
    /// Largest number of threads of a block.
    pub max_threads: u32,
    /// `.reqntid`
    pub required_block: Option<[u32; 3]>,
}

/// Where the variables and registers of a linked function are.
#[derive(Default)]
pub(super) struct Frame {
    /// Row of the function's first register; the others follow.
    first_row: Row,
    /// Address of each variable in its space.
    addresses: Vec<i64>,
    /// Row that holds where each lane returns to; none for an entry.
    pub(super) return_row: Option<Row>,
    /// Place of the first instruction; `u32::MAX` until the function is linked.
    pub(super) start: u32,
}

pub(super) struct Linker<'a> {
    pub(super) module: &'a ptx::Module,
    /// Device addresses of module variables; 0 for those in shared memory.
    device: &'a [u64],
    pub(super) rows: RowTable,
    /// Frames of the functions linked so far; a call to one that is not here is recursive or external.
    pub(super) frames: HashMap<usize, Frame>,
    pub(super) function: usize,
    /// Offsets of the module's shared variables.
    shared: HashMap<u32, i64>,
    regions: Vec<Region>,
}

/// Links the entry at `function` of the module; `device` holds the address of every module variable.
pub fn link(module: &Arc<ptx::Module>, function: usize, device: &[u64]) -> Program {
    let entry = &module.functions[function];
    let order = reachable(module, function);
    let mut linker = Linker {
        module,
        device,
        rows: RowTable::default(),
        frames: HashMap::new(),
        function,
        shared: HashMap::new(),
        regions: Vec::new(),
    };
    let (shared_static, shared_dynamic, local_bytes, param_bytes) = linker.layout(&order);
    let mut insts = Vec::new();
    for &function in &order {
        linker.function = function;
        let start = insts.len() as u32;
        insts.extend(module.functions[function].body.iter().map(|statement| linker.instruction(statement, start)));
        // Running off the end of a body is a return.
        let statement = Statement { opcode: "ret".into(), guard: None, operands: Vec::new(), line: 0, location: 0 };
        insts.push(linker.instruction(&statement, start));
        if let Some(frame) = linker.frames.get_mut(&function) {
            frame.start = start;
        }
    }
    let start = linker.frames[&function].start;
    let params = entry.params.iter().map(|p| {
        let variable = &entry.variables[*p as usize];
        let offset = linker.frames[&function].addresses[*p as usize] as usize;
        Param { offset, size: variable.size, align: variable.align }
    });
    let params = params.collect();
    let (units, filled) = allocate(&mut insts, &linker.rows, start);
    Program {
        module: Arc::clone(module),
        name: entry.name.clone(),
        insts,
        start,
        units,
        filled,
        params,
        param_bytes,
        shared_static,
        shared_dynamic,
        shared: linker.regions,
        local_bytes,
        max_threads: entry.max_threads.unwrap_or(1024),
        required_block: entry.required_block,
    }
}

/// The functions an entry can call, callees first, the entry last.
fn reachable(module: &ptx::Module, entry: usize) -> Vec<usize> {
    let mut order = Vec::new();
    // (function, next statement to look at); a function on the path is not entered again.
    let mut path = vec![(entry, 0)];
    while let Some((function, next)) = path.pop() {
        let body = &module.functions[function].body;
        let callee = body.iter().enumerate().skip(next).find_map(|(place, statement)| {
            let callee = callee_of(module, statement)?;
            let known = order.contains(&callee) || callee == function || path.iter().any(|(f, _)| *f == callee);
            (!known).then_some((place, callee))
        });
        match callee {
            Some((place, callee)) => path.extend([(function, place + 1), (callee, 0)]),
            None => order.push(function),
        }
    }
    order
}

/// The defined function that a call statement names.
pub(super) fn callee_of(module: &ptx::Module, statement: &Statement) -> Option<usize> {
    if !is_call(statement) {
        return None;
    }
    statement.operands.iter().find_map(|operand| match operand {
        Operand::Name(name) => module.functions.iter().position(|f| f.defined && !f.entry && f.name == *name),
        _ => None,
    })
}

impl Linker<'_> {
    /// Places the variables of all functions: bytes of static shared memory, where the dynamic part begins, bytes of local memory
    /// and of parameters.
    fn layout(&mut self, order: &[usize]) -> (u32, u32, u32, usize) {
        let (mut shared, mut local, mut param) = (0i64, 0i64, 0i64);
        // Variables of shared memory lie apart, so that running over the end of one does not end in the next.
        const APART: i64 = 128;
        let mut packed = 0i64;
        let place = |counter: &mut i64, size: usize, align: usize| {
            let address = (*counter as u64).next_multiple_of(align as u64) as i64;
            *counter = address + size as i64;
            address
        };
        let mut dynamic_align = 16;
        for (index, variable) in self.module.variables.iter().enumerate() {
            match variable.space {
                VariableSpace::Shared if self.uses(order, index as u32) => {
                    place(&mut packed, variable.size, variable.align);
                    let address = place(&mut shared, variable.size, variable.align.max(APART as usize));
                    shared += APART;
                    self.shared.insert(index as u32, address);
                    self.regions.push(region(variable, address));
                }
                VariableSpace::SharedDynamic => dynamic_align = dynamic_align.max(variable.align),
                _ => {}
            }
        }
        for &function in order {
            let f = &self.module.functions[function];
            let first_row = self.rows.rows.len() as Row;
            for bank in &f.registers {
                self.rows.register(*bank);
            }
            let aliases = self.call_aliases(function);
            let mut addresses = Vec::with_capacity(f.variables.len());
            for (index, variable) in f.variables.iter().enumerate() {
                addresses.push(match variable.space {
                    VariableSpace::Shared => {
                        place(&mut packed, variable.size, variable.align);
                        let address = place(&mut shared, variable.size, variable.align.max(APART as usize));
                        shared += APART;
                        self.regions.push(region(variable, address));
                        address
                    }
                    VariableSpace::KernelParam => place(&mut param, variable.size, variable.align),
                    VariableSpace::SharedDynamic => i64::MIN,
                    _ => match aliases.get(&(index as u32)) {
                        Some(address) => *address,
                        None => place(&mut local, variable.size, variable.align),
                    },
                });
            }
            let return_row = (!f.entry).then(|| self.rows.register(Bank::Word));
            self.frames.insert(function, Frame { first_row, addresses, return_row, start: u32::MAX });
        }
        let shared = (shared as u64).next_multiple_of(dynamic_align as u64) as i64;
        for (index, variable) in self.module.variables.iter().enumerate() {
            if variable.space == VariableSpace::SharedDynamic {
                self.shared.insert(index as u32, shared);
            }
        }
        for frame in self.frames.values_mut() {
            frame.addresses.iter_mut().filter(|a| **a == i64::MIN).for_each(|a| *a = shared);
        }
        (packed as u32, shared as u32, local as u32, param as usize)
    }

    fn uses(&self, order: &[usize], variable: u32) -> bool {
        fn mentions(operand: &Operand, wanted: u32) -> bool {
            match operand {
                Operand::Module { variable, .. } => *variable == wanted,
                Operand::List(items) => items.iter().any(|o| mentions(o, wanted)),
                Operand::Address { base, .. } => mentions(base, wanted),
                Operand::Pair(a, b) => mentions(a, wanted) || mentions(b, wanted),
                _ => false,
            }
        }
        let statements = order.iter().flat_map(|f| &self.module.functions[*f].body);
        statements.flat_map(|s| &s.operands).any(|o| mentions(o, variable))
    }

    /// A `.param` variable of a call site is the callee's own parameter: what is stored there needs no copying.
    fn call_aliases(&self, function: usize) -> HashMap<u32, i64> {
        let f = &self.module.functions[function];
        let mut aliases = HashMap::new();
        for statement in &f.body {
            let Some(callee) = callee_of(self.module, statement) else { continue };
            let (Some(frame), target) = (self.frames.get(&callee), &self.module.functions[callee]) else { continue };
            let (returns, arguments) = call_lists(statement);
            for (formal, actual) in target.returns.iter().zip(returns).chain(target.params.iter().zip(arguments)) {
                if let Operand::Local { variable, offset: 0 } = actual {
                    aliases.insert(*variable, frame.addresses[*formal as usize]);
                }
            }
        }
        aliases
    }

    /// A blank instruction for a statement.
    pub(super) fn blank(&self, statement: &Statement) -> Inst {
        Inst {
            op: Op::Unsupported,
            ty: Type::U32,
            from: Type::U32,
            round: Round::Nearest,
            ftz: false,
            saturate: false,
            nan: false,
            relu: false,
            xorsign: false,
            negated: false,
            short_address: false,
            wide_list: false,
            guard: TRUE,
            guard_negated: false,
            dst: [SINK; 2],
            src: [ZERO; 4],
            list: Box::default(),
            list_results: 0,
            offset: 0,
            from_offset: 0,
            imm: 0,
            target: 0,
            line: statement.line,
            function: self.function as u32,
            location: statement.location,
        }
    }

    /// Row and bank of a register of the current function.
    pub(super) fn register(&self, register: ptx::Register) -> (Row, Bank) {
        let row = self.frames[&self.function].first_row + register;
        (row, self.rows.bank(row))
    }

    /// Space and address of a variable operand.
    pub(super) fn variable(&self, operand: &Operand) -> Option<(VariableSpace, i64)> {
        match operand {
            Operand::Local { variable, offset } => {
                let space = self.module.functions[self.function].variables[*variable as usize].space;
                let address = self.frames[&self.function].addresses[*variable as usize];
                Some((space, address.wrapping_add(*offset)))
            }
            Operand::Module { variable, offset } => {
                let space = self.module.variables[*variable as usize].space;
                let address = match space {
                    VariableSpace::Shared | VariableSpace::SharedDynamic => *self.shared.get(variable)?,
                    _ => *self.device.get(*variable as usize)? as i64,
                };
                Some((space, address.wrapping_add(*offset)))
            }
            _ => None,
        }
    }
}

fn region(variable: &ptx::Variable, address: i64) -> Region {
    Region { name: variable.name.clone(), start: address as u32, bytes: variable.size as u32 }
}

/// The return values and the arguments of a call: `(ret), name, (args)`.
pub(super) fn call_lists(statement: &Statement) -> (&[Operand], &[Operand]) {
    let operands = &statement.operands;
    let list = |index: usize| match operands.get(index) {
        Some(Operand::List(items)) => items.as_slice(),
        _ => &[],
    };
    match operands.first() {
        Some(Operand::List(_)) => (list(0), list(2)),
        _ => (&[], list(1)),
    }
}
