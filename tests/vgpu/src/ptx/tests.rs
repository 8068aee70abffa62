//! What the parser keeps of a module, and that it survives whatever it is given.

use super::{Bank, Literal, Operand, VariableSpace, lex, parse};

const SAMPLE: &str = r#"
// comment
.version 8.8
.target sm_80
.address_size 64
.file 1 "kernels/cu/x.cu"
.const .align 4 .b8 table[8] = {1, 2, 0xff, 4};
.global .align 8 .u64 pointer = generic(table)+4;
.extern .shared .align 128 .b8 dynamic[];
.func (.param .b32 ret) f(.param .b32 x) ;
.func (.param .b32 ret) f(.param .b32 x)
{
    .reg .b32 %r<3>;
    ld.param.u32 %r1, [x];
    st.param.b32 [ret+0], %r1;
    ret;
}
.visible .entry k(.param .align 16 .b8 p[24], .param .u64 q)
.reqntid 128, 2
.minnctapersm 2
{
    .reg .pred %p<2>;
    .reg .b64 %rd<4>;
    .reg .b32 %r<4>;
    .shared .align 16 .b8 s[64][2];
    .loc 1 40 3
    .loc 1 7 1, function_name $L__info_string0, inlined_at 1 40 3
$L__BB0_1: /* a label
    and a comment over lines */
    @!%p1 ld.global.L1::no_allocate.v2.u32 {%r1, %r2}, [%rd1+-16];
    setp.lt.or.s32 %p1|_, %r1, -5, !%p1;
    mov.f32 %r3, 0f3F800000;
    { .reg .b32 %r1; $L: mov.b32 %r1, s+4; @%p1 bra $L; }
    @%p1 bra.uni $L__BB0_1;
    ret;
}
.section .debug_str
{
$L__info_string0:
.b8 102
.b8 0
}
"#;

#[test]
fn a_module_keeps_what_matters() {
    let module = parse(SAMPLE).unwrap();
    assert_eq!(module.files[&1], "kernels/cu/x.cu");
    let spaces: Vec<_> = module.variables.iter().map(|v| (v.space, v.size, v.align)).collect();
    assert_eq!(
        spaces,
        [(VariableSpace::Constant, 8, 4), (VariableSpace::Global, 8, 8), (VariableSpace::SharedDynamic, 0, 128)]
    );
    assert_eq!(module.variables[0].init, [1, 2, 255, 4]);
    assert_eq!(module.variables[1].relocations, [(0, "table".to_owned(), 4)]);
    let defined: Vec<_> = module.functions.iter().map(|f| (f.name.as_str(), f.entry, f.defined)).collect();
    assert_eq!(defined, [("f", false, false), ("f", false, true), ("k", true, true)]);
    let k = &module.functions[2];
    assert_eq!((k.max_threads, k.required_block), (Some(256), Some([128, 2, 1])));
    assert_eq!((k.variables[0].size, k.variables[0].align, k.variables[2].size), (24, 16, 128));
    assert_eq!(k.registers.iter().filter(|b| **b == Bank::Wide).count(), 4);
}

#[test]
fn statements_have_their_operands_resolved() {
    let module = parse(SAMPLE).unwrap();
    let k = &module.functions[2];
    let load = &k.body[0];
    assert_eq!((load.opcode.as_str(), load.guard), ("ld.global.L1::no_allocate.v2.u32", Some((1, true))));
    assert_eq!(load.line, 30);
    let Operand::Address { offset: -16, base } = &load.operands[1] else { panic!("{:?}", load.operands) };
    assert_eq!(**base, Operand::Register(3));
    let compare = &k.body[1].operands;
    assert_eq!(compare[0], Operand::Pair(Operand::Register(1).into(), Operand::Sink.into()));
    assert_eq!(compare[2], Operand::Literal(Literal::Int(-5i64 as u64)));
    assert_eq!(compare[3], Operand::NotPredicate(1));
    // The inner block has a register %r1 and a label of its own; the shared variable takes its offset.
    let inner = &k.body[3].operands;
    assert_ne!(inner[0], Operand::Register(7));
    assert_eq!(inner[1], Operand::Local { variable: 2, offset: 4 });
    let target = |statement: usize| match k.body[statement].operands[0] {
        Operand::Label(label) => k.labels[label as usize],
        _ => panic!("no label"),
    };
    assert_eq!((target(4), target(5)), (3, 0));
    let place = &k.locations[load.location as usize];
    assert_eq!((place.line, place.function.as_str()), (7, "f"));
    assert_eq!(k.locations[place.inlined_at.unwrap() as usize].line, 40);
}

#[test]
fn literals() {
    assert_eq!(lex::literal("0x10"), Some(Literal::Int(16)));
    assert_eq!(lex::literal("-1"), Some(Literal::Int(u64::MAX)));
    assert_eq!(lex::literal("4294967295U"), Some(Literal::Int(u32::MAX.into())));
    assert_eq!(lex::literal("010"), Some(Literal::Int(8)));
    assert_eq!(lex::literal("0b101"), Some(Literal::Int(5)));
    assert_eq!(lex::literal("0fBF800000"), Some(Literal::F32(0xbf80_0000)));
    assert_eq!(lex::literal("0d3FF0000000000000"), Some(Literal::F64(1.0)));
    assert_eq!(lex::literal("-2.5"), Some(Literal::F64(-2.5)));
    assert_eq!(lex::literal("abc"), None);
}

#[test]
fn errors_name_the_line() {
    let text = ".version 8.8\n.target sm_80\n.visible .entry k()\n{\n.reg .b32 %r<2>;\n@%p3 mov.b32 %r1, 0;\nret;\n}\n";
    let error = parse(text).unwrap_err();
    assert_eq!(error.to_string(), "PTX line 6: unknown predicate '%p3'");
    assert!(parse("hello").unwrap_err().message.contains(".version"));
    assert!(parse(&SAMPLE.replace("{%r1, %r2}", &"{".repeat(100_000))).unwrap_err().message.contains("nested"));
    assert!(parse(&SAMPLE.replace("s[64][2]", "s[99999999][9999999999]")).is_err());
    assert!(parse(&SAMPLE.replace("%rd<4>", "%rd<4294967295>")).is_err());
}

#[test]
fn no_text_makes_the_parser_or_the_linker_panic() {
    let link = |text: &str| {
        if let Ok(module) = parse(text) {
            let module = std::sync::Arc::new(module);
            let addresses = vec![4096; module.variables.len()];
            for (index, function) in module.functions.iter().enumerate().filter(|(_, f)| f.entry && f.defined) {
                assert_eq!(crate::decode::link(&module, index, &addresses).name, function.name);
            }
        }
    };
    link(SAMPLE);
    for end in (0..SAMPLE.len()).filter(|end| SAMPLE.is_char_boundary(*end)) {
        link(&SAMPLE[..end]);
    }
    // Tokens exchanged, doubled and dropped.
    let words: Vec<&str> = SAMPLE.split_inclusive(char::is_whitespace).collect();
    let mut state = 1u64;
    let mut random = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    for _ in 0..2000 {
        let mut words = words.clone();
        for _ in 0..=random(3) {
            let (a, b) = (random(words.len()), random(words.len()));
            match random(3) {
                0 => words.swap(a, b),
                1 => words[a] = words[b],
                _ => drop(words.remove(a)),
            }
        }
        link(&words.concat());
    }
}
