//! Function bodies: declarations, labels, source positions, instructions.

use std::collections::HashMap;

use super::lex::literal;
use super::parse::{Parser, type_bytes};
use super::{Bank, Function, Literal, Location, Operand, ParseError, Register, Statement, VariableSpace};

/// Names of one `{ }`.
#[derive(Default)]
pub(super) struct Scope {
    parent: Option<usize>,
    pub(super) registers: HashMap<String, Register>,
    /// `%r<100>`: prefix, count, first register.
    ranges: Vec<(String, u32, Register)>,
    variables: HashMap<String, u32>,
    /// Labels defined here: place in the body.
    labels: HashMap<String, u32>,
    tables: HashMap<String, Vec<String>>,
}

/// What is known while a body is read.
pub(super) struct Body {
    scopes: Vec<Scope>,
    current: usize,
    /// Labels met as operands, with the scope of their use; resolved at the end because they may come later.
    pub(super) wanted: Vec<(String, usize, u32)>,
    /// The last location at (file, line, column), for `inlined_at`.
    seen: HashMap<(u64, u64, u64), u32>,
    pub(super) location: u32,
    /// Operands that the current one stands in.
    depth: u32,
}

/// `[{a|b}]` is three deep; real code needs no more.
const MAX_DEPTH: u32 = 16;

impl Body {
    fn chain(&self, scope: usize) -> impl Iterator<Item = &Scope> {
        std::iter::successors(Some(scope), |s| self.scopes[*s].parent).map(|s| &self.scopes[s])
    }

    fn register(&self, name: &str) -> Option<Register> {
        self.chain(self.current).find_map(|scope| {
            scope.registers.get(name).copied().or_else(|| {
                scope.ranges.iter().find_map(|(prefix, count, first)| {
                    let number: u32 = name.strip_prefix(prefix.as_str())?.parse().ok()?;
                    (number < *count).then_some(first + number)
                })
            })
        })
    }

    /// The register of a formal, whatever stands in inner scopes.
    pub(super) fn formal(&self, name: &str) -> Option<Register> {
        self.scopes[0].registers.get(name).copied()
    }

    fn variable(&self, name: &str) -> Option<u32> {
        self.chain(self.current).find_map(|scope| scope.variables.get(name).copied())
    }

    pub(super) fn scope(&mut self) -> &mut Scope {
        let current = self.current;
        &mut self.scopes[current]
    }
}

impl Parser<'_> {
    pub(super) fn body(&mut self, function: &mut Function) -> Result<(), ParseError> {
        let mut root = Scope::default();
        for (place, variable) in function.variables.iter().enumerate() {
            root.variables.insert(variable.name.clone(), place as u32);
        }
        let mut body =
            Body { scopes: vec![root], current: 0, wanted: Vec::new(), seen: HashMap::new(), location: 0, depth: 0 };
        self.expect("{")?;
        self.formals_to_registers(function, &mut body)?;
        loop {
            match self.peek() {
                "" => return self.error(format!("the file ends inside '{}'", function.name)),
                "{" => {
                    self.next += 1;
                    body.scopes.push(Scope { parent: Some(body.current), ..Scope::default() });
                    body.current = body.scopes.len() - 1;
                }
                "}" => {
                    self.next += 1;
                    match body.scopes[body.current].parent {
                        Some(parent) => body.current = parent,
                        None => break,
                    }
                }
                ".reg" => self.registers(function, &mut body)?,
                ".shared" => self.body_variable(function, &mut body, VariableSpace::Shared)?,
                ".local" => self.body_variable(function, &mut body, VariableSpace::Local)?,
                ".param" => self.body_variable(function, &mut body, VariableSpace::CallParam)?,
                ".loc" => self.location(function, &mut body)?,
                ".pragma" => self.skip_past(";"),
                ";" => self.next += 1,
                _ if self.peek_second() == ":" => self.label(function, &mut body)?,
                _ => self.statement(function, &mut body)?,
            }
        }
        self.results_from_registers(function, &body, None);
        self.resolve_labels(function, &body)
    }

    fn registers(&mut self, function: &mut Function, body: &mut Body) -> Result<(), ParseError> {
        self.next += 1;
        let mut name = self.take();
        if matches!(name, ".v2" | ".v4") {
            return self.error("vector registers are not supported".into());
        }
        let bank = match (name, type_bytes(name)) {
            (".pred", _) => Bank::Predicate,
            (_, Some(8)) => Bank::Wide,
            (_, Some(1..=4)) => Bank::Word,
            _ => return self.error(format!("registers of type '{name}' are not supported")),
        };
        loop {
            name = self.take();
            let first = function.registers.len() as Register;
            let count = if self.eat("<") {
                let count = self.count()?;
                self.expect(">")?;
                if count > 1 << 22 || function.registers.len() > 1 << 24 {
                    return self.error(format!("{count} registers are too many"));
                }
                body.scope().ranges.push((name.to_owned(), count, first));
                count
            } else {
                body.scope().registers.insert(name.to_owned(), first);
                1
            };
            function.registers.extend(std::iter::repeat_n(bank, count as usize));
            if !self.eat(",") {
                return self.expect(";");
            }
        }
    }

    fn body_variable(
        &mut self,
        function: &mut Function,
        body: &mut Body,
        space: VariableSpace,
    ) -> Result<(), ParseError> {
        self.next += 1;
        let (variable, _) = self.variable(space)?;
        self.expect(";")?;
        body.scope().variables.insert(variable.name.clone(), function.variables.len() as u32);
        function.variables.push(variable);
        Ok(())
    }

    /// `.loc file line column[, function_name label[+offset], inlined_at file line column]`
    fn location(&mut self, function: &mut Function, body: &mut Body) -> Result<(), ParseError> {
        self.next += 1;
        let key = (self.int()?, self.int()?, self.int()?);
        let place = |key: (u64, u64, u64)| Location { file: key.0 as u32, line: key.1 as u32, ..Location::default() };
        let mut location = place(key);
        if self.eat(",") {
            self.expect("function_name")?;
            location.function = self.take().to_owned();
            if self.eat("+") {
                self.next += 1;
            }
            self.expect(",")?;
            self.expect("inlined_at")?;
            let parent = (self.int()?, self.int()?, self.int()?);
            location.inlined_at = Some(*body.seen.entry(parent).or_insert_with(|| {
                function.locations.push(place(parent));
                function.locations.len() as u32 - 1
            }));
        }
        function.locations.push(location);
        body.location = function.locations.len() as u32 - 1;
        body.seen.insert(key, body.location);
        Ok(())
    }

    /// `name:` in front of an instruction or a `.branchtargets` table.
    fn label(&mut self, function: &mut Function, body: &mut Body) -> Result<(), ParseError> {
        let name = self.take().to_owned();
        self.next += 1;
        match self.peek() {
            ".branchtargets" => {
                self.next += 1;
                let mut targets = Vec::new();
                while !self.eat(";") {
                    targets.push(self.take().to_owned());
                    self.eat(",");
                    if self.next > self.tokens.len() {
                        return self.error("the file ends inside .branchtargets".into());
                    }
                }
                body.scope().tables.insert(name.clone(), targets);
            }
            ".callprototype" | ".calltargets" => self.skip_past(";"),
            _ => {}
        }
        let place = function.body.len() as u32;
        body.scope().labels.insert(name, place);
        Ok(())
    }

    fn statement(&mut self, function: &mut Function, body: &mut Body) -> Result<(), ParseError> {
        let line = self.line();
        let mut guard = None;
        if self.eat("@") {
            let negated = self.eat("!");
            let name = self.take();
            let Some(register) = body.register(name) else { return self.error(format!("unknown predicate '{name}'")) };
            guard = Some((register, negated));
        }
        let opcode = self.take().to_owned();
        let mut operands = Vec::new();
        while !self.eat(";") {
            operands.push(self.operand(body)?);
            if !self.eat(",") && self.peek() != ";" {
                return self
                    .error(format!("expected ',' or ';' after an operand of '{opcode}', found '{}'", self.peek()));
            }
        }
        let after = match opcode.split('.').next() {
            Some("ret") => {
                self.results_from_registers(function, body, guard);
                Vec::new()
            }
            Some("call") => self.arguments_from_registers(function, body, guard, &mut operands),
            _ => Vec::new(),
        };
        function.body.push(Statement { guard, opcode, operands, line, location: body.location });
        function.body.extend(after);
        Ok(())
    }

    fn operand(&mut self, body: &mut Body) -> Result<Operand, ParseError> {
        if body.depth > MAX_DEPTH {
            return self.error(format!("operands are nested more than {MAX_DEPTH} deep"));
        }
        body.depth += 1;
        let operand = self.operand_inside(body);
        body.depth -= 1;
        operand
    }

    fn operand_inside(&mut self, body: &mut Body) -> Result<Operand, ParseError> {
        let first = match self.take() {
            "{" => self.list(body, "}")?,
            "(" => self.list(body, ")")?,
            "[" => self.address(body)?,
            "!" => {
                let name = self.take();
                match body.register(name) {
                    Some(register) => Operand::NotPredicate(register),
                    None => return self.error(format!("unknown predicate '{name}'")),
                }
            }
            "_" => Operand::Sink,
            "" => return self.error("the file ends inside an instruction".into()),
            name => self.named(body, name)?,
        };
        if self.eat("|") {
            let second = self.operand(body)?;
            return Ok(Operand::Pair(Box::new(first), Box::new(second)));
        }
        Ok(first)
    }

    fn list(&mut self, body: &mut Body, close: &str) -> Result<Operand, ParseError> {
        let mut items = Vec::new();
        while !self.eat(close) {
            items.push(self.operand(body)?);
            self.eat(",");
        }
        Ok(Operand::List(items))
    }

    /// `[base]`, `[base+16]`, `[base+-4]`; a tensor coordinate list after a comma becomes a list.
    fn address(&mut self, body: &mut Body) -> Result<Operand, ParseError> {
        let base = self.operand(body)?;
        let mut offset = 0i64;
        while !self.eat("]") {
            if self.eat(",") {
                let second = self.operand(body)?;
                self.expect("]")?;
                return Ok(Operand::List(vec![base, second]));
            }
            self.eat("+");
            offset = offset.wrapping_add(self.int()? as i64);
        }
        Ok(Operand::Address { base: Box::new(base), offset })
    }

    fn named(&mut self, body: &mut Body, name: &str) -> Result<Operand, ParseError> {
        if let Some(register) = body.register(name) {
            return Ok(Operand::Register(register));
        }
        if let Some(value) = literal(name) {
            return Ok(Operand::Literal(value));
        }
        let local = body.variable(name);
        let module = || self.module.variables.iter().position(|v| v.name == name).map(|p| p as u32);
        if let Some(variable) = local {
            return Ok(Operand::Local { variable, offset: self.addend()? });
        }
        if let Some(variable) = module() {
            return Ok(Operand::Module { variable, offset: self.addend()? });
        }
        if name.starts_with('%') {
            return Ok(Operand::Special(name.to_owned()));
        }
        let reference = body.wanted.len() as u32;
        body.wanted.push((name.to_owned(), body.current, self.line()));
        Ok(Operand::Label(reference))
    }

    /// `+8` after a variable's name.
    fn addend(&mut self) -> Result<i64, ParseError> {
        match (self.peek(), literal(self.peek())) {
            ("+", _) => {
                self.next += 1;
                Ok(self.int()? as i64)
            }
            (text, Some(Literal::Int(value))) if text.starts_with('-') => {
                self.next += 1;
                Ok(value as i64)
            }
            _ => Ok(0),
        }
    }

    /// Turns references to labels into places of the body; names that are no label stay names (functions, prototypes).
    fn resolve_labels(&mut self, function: &mut Function, body: &Body) -> Result<(), ParseError> {
        let find = |name: &str, scope: usize| body.chain(scope).find_map(|s| s.labels.get(name).copied());
        let mut resolved = Vec::with_capacity(body.wanted.len());
        for (name, scope, line) in &body.wanted {
            let table = body.chain(*scope).find_map(|s| s.tables.get(name));
            if let Some(table) = table {
                let mut entries = Vec::with_capacity(table.len());
                for target in table {
                    let Some(place) = find(target, *scope) else {
                        return Err(ParseError { line: *line, message: format!("unknown label '{target}'") });
                    };
                    entries.push(place);
                }
                function.branch_tables.push((function.labels.len() as u32, entries));
            }
            resolved.push(match find(name, *scope) {
                Some(place) => {
                    function.labels.push(place);
                    Operand::Label(function.labels.len() as u32 - 1)
                }
                None => Operand::Name(name.clone()),
            });
        }
        for operand in function.body.iter_mut().flat_map(|s| &mut s.operands) {
            substitute(operand, &resolved);
        }
        Ok(())
    }
}

fn substitute(operand: &mut Operand, resolved: &[Operand]) {
    match operand {
        Operand::Label(reference) => *operand = resolved[*reference as usize].clone(),
        Operand::List(items) => items.iter_mut().for_each(|o| substitute(o, resolved)),
        Operand::Address { base, .. } => substitute(base, resolved),
        Operand::Pair(a, b) => {
            substitute(a, resolved);
            substitute(b, resolved);
        }
        _ => {}
    }
}
