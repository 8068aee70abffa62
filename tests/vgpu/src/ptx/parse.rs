//! Module scope: directives, variables, function headers.

use std::collections::HashMap;

use super::lex::{Token, literal, tokens};
use super::{Function, Literal, Location, Module, ParseError, Variable, VariableSpace};

/// Parses a module. A trailing NUL is allowed.
pub fn parse(source: &str) -> Result<Module, ParseError> {
    let mut parser = Parser { tokens: tokens(source)?, next: 0, module: Module::default(), strings: HashMap::new() };
    if parser.tokens.iter().all(|t| t.text != ".version") {
        return Err(ParseError { line: 1, message: "not PTX: there is no .version directive".into() });
    }
    parser.module()?;
    let Parser { mut module, strings, .. } = parser;
    for location in module.functions.iter_mut().flat_map(|f| &mut f.locations) {
        if let Some(text) = strings.get(&location.function) {
            location.function.clone_from(text);
        }
    }
    module.text = source.trim_end_matches('\0').lines().map(str::to_owned).collect();
    Ok(module)
}

/// Bytes of one element of a type such as `.f32`, `.b8`, `.pred`.
pub(super) fn type_bytes(name: &str) -> Option<usize> {
    Some(match name.trim_start_matches('.') {
        "pred" | "b8" | "u8" | "s8" => 1,
        "b16" | "u16" | "s16" | "f16" | "bf16" => 2,
        "b32" | "u32" | "s32" | "f32" | "f16x2" | "bf16x2" | "tf32" => 4,
        "b64" | "u64" | "s64" | "f64" => 8,
        "b128" => 16,
        _ => return None,
    })
}

pub(super) struct Parser<'a> {
    pub(super) tokens: Vec<Token<'a>>,
    pub(super) next: usize,
    pub(super) module: Module,
    /// `.debug_str`: label -> text.
    strings: HashMap<String, String>,
}

impl<'a> Parser<'a> {
    pub(super) fn peek(&self) -> &'a str {
        self.tokens.get(self.next).map_or("", |t| t.text)
    }

    pub(super) fn peek_second(&self) -> &'a str {
        self.tokens.get(self.next + 1).map_or("", |t| t.text)
    }

    pub(super) fn line(&self) -> u32 {
        self.tokens.get(self.next).or(self.tokens.last()).map_or(1, |t| t.line)
    }

    pub(super) fn take(&mut self) -> &'a str {
        let text = self.peek();
        self.next += 1;
        text
    }

    pub(super) fn eat(&mut self, text: &str) -> bool {
        let found = self.next < self.tokens.len() && self.peek() == text;
        self.next += usize::from(found);
        found
    }

    pub(super) fn error<T>(&self, message: String) -> Result<T, ParseError> {
        Err(ParseError { line: self.line(), message })
    }

    pub(super) fn expect(&mut self, text: &str) -> Result<(), ParseError> {
        if self.eat(text) { Ok(()) } else { self.error(format!("expected '{text}', found '{}'", self.peek())) }
    }

    pub(super) fn int(&mut self) -> Result<u64, ParseError> {
        match literal(self.peek()) {
            Some(Literal::Int(value)) => {
                self.next += 1;
                Ok(value)
            }
            _ => self.error(format!("expected a number, found '{}'", self.peek())),
        }
    }

    /// An unsigned 32-bit number: a size, a line.
    pub(super) fn count(&mut self) -> Result<u32, ParseError> {
        let value = self.int()?;
        u32::try_from(value).or_else(|_| self.error(format!("{value} is too large here")))
    }

    pub(super) fn skip_past(&mut self, text: &str) {
        while self.next < self.tokens.len() && self.take() != text {}
    }

    fn skip_line(&mut self) {
        let line = self.line();
        while self.next < self.tokens.len() && self.line() == line {
            self.next += 1;
        }
    }

    fn module(&mut self) -> Result<(), ParseError> {
        while self.next < self.tokens.len() {
            match self.peek() {
                ".version" | ".target" | ".address_size" | ".pragma" => self.skip_line(),
                ".file" => self.file()?,
                ".section" => self.section(),
                ".visible" | ".weak" | ".common" | ".extern" => self.next += 1,
                ".alias" => self.skip_past(";"),
                ".entry" | ".func" => self.function()?,
                ".global" | ".const" | ".shared" => self.module_variable()?,
                other => return self.error(format!("unexpected '{other}' at module scope")),
            }
        }
        Ok(())
    }

    /// `.file 1 "kernels/cu/gemm.cu"[, time, size]`
    fn file(&mut self) -> Result<(), ParseError> {
        self.next += 1;
        let number = self.count()?;
        let name = self.take().to_owned();
        self.module.files.insert(number, name);
        while self.eat(",") {
            self.next += 1;
        }
        Ok(())
    }

    /// Debug sections: only the zero-terminated strings of `.debug_str` matter.
    fn section(&mut self) {
        self.skip_past("{");
        let mut label = String::new();
        let mut bytes = Vec::new();
        while !matches!(self.peek(), "}" | "") {
            let text = self.take();
            if self.eat(":") {
                label = text.to_owned();
                bytes.clear();
            } else if let Some(Literal::Int(value)) = literal(text) {
                match value as u8 {
                    0 => {
                        let text = String::from_utf8_lossy(&bytes).into_owned();
                        self.strings.entry(std::mem::take(&mut label)).or_insert(text);
                    }
                    byte => bytes.push(byte),
                }
            }
        }
        self.next += 1;
    }

    fn module_variable(&mut self) -> Result<(), ParseError> {
        let space = match self.take() {
            ".global" => VariableSpace::Global,
            ".const" => VariableSpace::Constant,
            _ => VariableSpace::Shared,
        };
        let (mut variable, element) = self.variable(space)?;
        if self.eat("=") {
            self.initializer(&mut variable, element)?;
        }
        self.expect(";")?;
        self.module.variables.push(variable);
        Ok(())
    }

    /// `[.align N] [.v4] .type name[n][m]`; returns the bytes of an element too.
    pub(super) fn variable(&mut self, space: VariableSpace) -> Result<(Variable, usize), ParseError> {
        let (mut align, mut element, mut lanes) = (None, None, 1);
        while self.peek().starts_with('.') {
            match self.take() {
                ".align" => align = Some(self.count()? as usize),
                ".v2" => lanes = 2,
                ".v4" => lanes = 4,
                // Hints on what an entry's pointer parameter points to.
                ".ptr" | ".global" | ".shared" | ".const" | ".local" | ".attribute" => {
                    if self.eat("(") {
                        self.skip_past(")");
                    }
                }
                name => match type_bytes(name) {
                    Some(bytes) => element = Some(bytes),
                    None => {
                        self.next -= 1;
                        return self.error(format!("unknown type '{name}'"));
                    }
                },
            }
        }
        let Some(element) = element else { return self.error(format!("'{}' has no type", self.peek())) };
        let name = self.take().to_owned();
        let (mut size, mut space) = (element * lanes, space);
        while self.eat("[") {
            if self.eat("]") {
                size = 0;
                if space == VariableSpace::Shared {
                    space = VariableSpace::SharedDynamic;
                }
            } else {
                let n = self.count()? as usize;
                self.expect("]")?;
                size = match size.checked_mul(n) {
                    Some(size) => size,
                    None => return self.error(format!("the size of '{name}' overflows")),
                };
            }
        }
        let largest = if matches!(space, VariableSpace::Global | VariableSpace::Constant) { 1 << 32 } else { 1 << 24 };
        if size > largest {
            return self.error(format!("'{name}' has {size} bytes, more than the {largest} of its space"));
        }
        let align = align.unwrap_or(element * lanes).max(1);
        if !align.is_power_of_two() {
            return self.error(format!("alignment {align} of '{name}' is no power of two"));
        }
        Ok((Variable { name, space, size, align, init: Vec::new(), relocations: Vec::new() }, element))
    }

    fn initializer(&mut self, variable: &mut Variable, element: usize) -> Result<(), ParseError> {
        let mut depth = 0;
        loop {
            match self.peek() {
                "{" => (self.next, depth) = (self.next + 1, depth + 1),
                "}" => (self.next, depth) = (self.next + 1, depth - 1),
                "," => self.next += 1,
                "" => return self.error("the file ends inside an initialiser".into()),
                text => match literal(text) {
                    Some(value) => {
                        self.next += 1;
                        let bits = match value {
                            Literal::Int(bits) => bits,
                            Literal::F32(bits) => u64::from(bits),
                            Literal::F64(value) if element == 4 => u64::from((value as f32).to_bits()),
                            Literal::F64(value) => value.to_bits(),
                        };
                        variable.init.extend_from_slice(&bits.to_le_bytes()[..element.min(8)]);
                    }
                    None => self.relocation(variable)?,
                },
            }
            if depth == 0 && self.peek() == ";" {
                break;
            }
        }
        variable.size = variable.size.max(variable.init.len());
        Ok(())
    }

    /// `name`, `name+8`, `generic(name)+8`
    fn relocation(&mut self, variable: &mut Variable) -> Result<(), ParseError> {
        let mut name = self.take();
        if name == "generic" && self.eat("(") {
            name = self.take();
            self.expect(")")?;
        }
        let addend = if self.eat("+") { self.int()? } else { 0 };
        variable.relocations.push((variable.init.len(), name.to_owned(), addend));
        variable.init.extend_from_slice(&[0; 8]);
        Ok(())
    }

    fn function(&mut self) -> Result<(), ParseError> {
        let entry = self.take() == ".entry";
        let mut function = Function { entry, locations: vec![Location::default()], ..Function::default() };
        if !entry && self.peek() == "(" {
            function.returns = self.formals(&mut function, VariableSpace::CallParam)?;
        }
        function.name = self.take().to_owned();
        if self.peek() == "(" {
            let space = if entry { VariableSpace::KernelParam } else { VariableSpace::CallParam };
            function.params = self.formals(&mut function, space)?;
        }
        loop {
            match self.peek() {
                "{" => break,
                ";" => {
                    self.next += 1;
                    self.module.functions.push(function);
                    return Ok(());
                }
                directive @ (".maxntid" | ".reqntid") => {
                    self.next += 1;
                    let mut block = [1; 3];
                    for (axis, extent) in block.iter_mut().enumerate() {
                        if axis == 0 || self.eat(",") {
                            *extent = self.count()?;
                        }
                    }
                    function.max_threads = Some(block.iter().fold(1u32, |n, b| n.saturating_mul(*b)));
                    if directive == ".reqntid" {
                        function.required_block = Some(block);
                    }
                }
                // Performance directives change nothing here.
                directive if directive.starts_with('.') => {
                    self.next += 1;
                    while literal(self.peek()).is_some() || self.peek() == "," {
                        self.next += 1;
                    }
                }
                other => return self.error(format!("unexpected '{other}' before the body of '{}'", function.name)),
            }
        }
        self.body(&mut function)?;
        function.defined = true;
        self.module.functions.push(function);
        Ok(())
    }

    /// `(.param .b64 a, .param .align 8 .b8 b[24], .reg .b32 c)`
    fn formals(&mut self, function: &mut Function, space: VariableSpace) -> Result<Vec<u32>, ParseError> {
        let mut places = Vec::new();
        self.expect("(")?;
        while !self.eat(")") {
            let place = function.variables.len() as u32;
            if !function.entry && self.eat(".reg") {
                function.in_registers.push(place);
            } else {
                self.expect(".param")?;
            }
            places.push(place);
            function.variables.push(self.variable(space)?.0);
            self.eat(",");
        }
        Ok(places)
    }
}
