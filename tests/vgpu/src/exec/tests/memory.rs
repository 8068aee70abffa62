//! Loads, stores, atomics, addresses, asynchronous copies.

use super::harness::{Buffer, empty, entry, module, run, upload, words};
use crate::exec::{Launch, Options, Schedule, launch};
use crate::report::FaultKind;

fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 167 + 13) as u8).collect()
}

#[test]
fn loads_and_stores_of_every_width() {
    // Each thread copies 16 bytes from in to out in pieces of one type and vector length.
    let source = upload(&bytes(32 * 16));
    for (ty, size) in [("u8", 1), ("b16", 2), ("f32", 4), ("b64", 8)] {
        for lanes in [1, 2, 4] {
            if size * lanes > 16 {
                continue;
            }
            let register = if size == 8 {
                "b64"
            } else if size == 4 {
                "b32"
            } else {
                "b16"
            };
            let list = ["x0", "x1", "x2", "x3"][..lanes].join(", ");
            let vector = if lanes == 1 { String::new() } else { format!(".v{lanes}") };
            let operand = if lanes == 1 { list.clone() } else { format!("{{{list}}}") };
            let copies: String = (0..16 / (size * lanes)).map(|k| {
                let at = k * size * lanes;
                format!("ld.global.nc{vector}.{ty} {operand}, [%rd_i+{at}]; st.global{vector}.{ty} [%rd_o+{at}], {operand};\n")
            }).collect();
            let body = format!("add.u64 %rd_i, %rd_i, %rd_lane; add.u64 %rd_o, %rd_o, %rd_lane; {copies}");
            let out = empty(32 * 16);
            let text = entry(&["i", "o"], &format!(".reg .{register} {list};"), &body);
            run(&text, 1, 32, &[source.address, out.address], &Options::default()).unwrap();
            assert_eq!(out.bytes(), source.bytes(), "{ty} x {lanes}");
        }
    }
}

#[test]
fn narrow_loads_extend() {
    let source = upload(&words(&[0x8001_80f0; 64]));
    for (load, want) in [
        ("ld.global.u8 x", 0xf0u64),
        ("ld.global.s8 x", 0xffff_fff0),
        ("ld.global.u16 x", 0x80f0),
        ("ld.global.s16 x", 0xffff_80f0),
        ("ld.global.s8 w", 0xffff_ffff_ffff_fff0),
        ("ld.global.u32 w", 0x8001_80f0),
        ("ld.global.s32 w", 0xffff_ffff_8001_80f0),
    ] {
        let out = upload(&[0; 256]);
        let register = if load.ends_with('w') {
            "st.global.u64 [%rd_o], w;"
        } else {
            "cvt.u64.u32 w, x; st.global.u64 [%rd_o], w;"
        };
        let text = entry(&["i", "o"], ".reg .u32 x; .reg .u64 w;", &format!("{load}, [%rd_i]; {register}"));
        run(&text, 1, 32, &[source.address, out.address], &Options::default()).unwrap();
        let got = u64::from_le_bytes(out.bytes()[..8].try_into().unwrap());
        assert_eq!(got, want, "{load}");
    }
}

#[test]
fn generic_addresses_reach_every_space() {
    // Lanes of one instruction read global, shared and local memory through generic addresses.
    let body = "mov.u32 x, 11; mov.u64 a, s; st.shared.u32 [a], x; cvta.shared.u64 a, a; bar.warp.sync 0xffffffff;
         mov.u32 x, 22; mov.u64 b, l; st.local.u32 [b], x; cvta.local.u64 b, b;
         cvta.global.u64 c, %rd_i;
         and.b32 x, %r_tid, 3; setp.eq.u32 p, x, 0; selp.b64 c, a, c, p; setp.eq.u32 p, x, 1; selp.b64 c, b, c, p;
         isspacep.shared p, c; isspacep.local q, c; isspacep.global r, c;
         ld.u32 x, [c];
         @p add.u32 x, x, 100; @q add.u32 x, x, 200; @r add.u32 x, x, 300; st.global.u32 [%rd_o], x;";
    let text = entry(
        &["i", "o"],
        ".shared .align 4 .b8 s[4]; .local .align 4 .b8 l[4]; .reg .pred p, q, r; .reg .u32 x; .reg .u64 a, b, c;",
        body,
    );
    let source = upload(&words(&[33; 64]));
    let out = upload(&[0; 256]);
    run(&text, 1, 32, &[source.address, out.address], &Options::default()).unwrap();
    let got: Vec<u32> = out.words().into_iter().step_by(2).collect();
    assert!(got.iter().enumerate().all(|(l, x)| *x == [111, 222, 333, 333][l % 4]), "{got:?}");
}

#[test]
fn local_memory_belongs_to_a_thread() {
    let body =
        "mov.u64 a, l; mul.wide.u32 b, %r_tid, 0; add.u64 a, a, b; st.local.u32 [a+4], %r_tid; ld.local.u32 x, [a+4];
         st.global.u32 [%rd_o], x;";
    let text = entry(&["o"], ".local .align 8 .b8 l[8]; .reg .u32 x; .reg .u64 a, b;", body);
    let out = upload(&[0; 512]);
    run(&text, 1, 64, &[out.address], &Options::default()).unwrap();
    assert!(out.words().into_iter().step_by(2).enumerate().all(|(t, x)| x == t as u32));
    let fault = run(&text.replace("[a+4]", "[a+8]"), 1, 64, &[out.address], &Options::default()).unwrap_err();
    assert_eq!(fault.kind, FaultKind::OutOfBounds, "{fault}");
}

#[test]
fn module_variables_and_constants() {
    let text = ".const .align 4 .u32 table[4] = {10, 20, 30, 40};\n.global .align 4 .b8 counter[4];\n.global .align 8 .u64 pointer[1] = {table+8};\n"
        .to_owned()
        + &entry(
            &["o"],
            ".reg .u32 x, y; .reg .u64 a, b;",
            "and.b32 x, %r_tid, 3; mul.wide.u32 a, x, 4; mov.u64 b, table; add.u64 a, a, b; ld.const.u32 x, [a];
             ld.const.u32 y, [table+4]; add.u32 x, x, y; ld.global.u64 a, [pointer]; ld.const.u32 y, [a]; add.u32 x, x, y;
             red.global.add.u32 [counter], 1; st.global.u32 [%rd_o], x;",
        );
    let module = module(&text);
    let out = upload(&[0; 256]);
    let params = out.address.to_le_bytes();
    let shape = Launch { grid: [2, 1, 1], block: [16, 1, 1], shared_dynamic: 0, params: &params, cooperative: false };
    launch(&module.function("k").unwrap(), &shape, &Options::default()).unwrap();
    assert!(out.words().into_iter().step_by(2).enumerate().all(|(t, x)| x == 10 * (t as u32 % 4) + 10 + 20 + 30));
    let (address, size) = module.global("counter").unwrap();
    let counter = std::mem::ManuallyDrop::new(Buffer { address, bytes: size });
    assert_eq!(counter.words(), [32]);
    assert!(module.global("nothing").is_none());
}

#[test]
fn parameters_of_every_kind() {
    let text = ".visible .entry k(.param .u64 out, .param .u8 a, .param .align 16 .b8 s[24], .param .f32 f)
    { .reg .u64 o, p; .reg .u32 x, y; .reg .u16 h; .reg .f32 v;
      ld.param.u64 o, [out]; ld.param.u8 h, [a]; cvt.u32.u16 x, h; ld.param.v2.u32 {y, _}, [s+8]; add.u32 x, x, y;
      mov.b64 p, s; cvta.param.u64 p, p; ld.u32 y, [p+20]; add.u32 x, x, y;
      ld.param.f32 v, [f]; cvt.rzi.u32.f32 y, v; add.u32 x, x, y; st.global.u32 [o], x; ret; }";
    let module = module(text);
    let function = module.function("k").unwrap();
    let places: Vec<_> = function.params().iter().map(|p| (p.offset, p.size, p.align)).collect();
    assert_eq!(places, [(0, 8, 8), (8, 1, 1), (16, 24, 16), (40, 4, 4)]);
    assert_eq!(function.param_bytes(), 44);
    let out = empty(4);
    let mut params = vec![0xee; 44];
    params[..8].copy_from_slice(&out.address.to_le_bytes());
    params[8] = 200;
    params[24..28].copy_from_slice(&1000u32.to_le_bytes());
    params[36..40].copy_from_slice(&30000u32.to_le_bytes());
    params[40..].copy_from_slice(&7.9f32.to_le_bytes());
    let shape = Launch { grid: [1; 3], block: [1; 3], shared_dynamic: 0, params: &params, cooperative: false };
    launch(&function, &shape, &Options::default()).unwrap();
    assert_eq!(out.words(), [31207]);
    let short = Launch { params: &params[..40], ..shape };
    assert!(launch(&function, &short, &Options::default()).is_err());
}

/// Applies an atomic once per thread to one cell; returns the cell and the old values that were returned.
fn atomic(instruction: &str, ty: &str, initial: u64, operands: &[u64]) -> (u64, Vec<u64>) {
    let wide = ty.ends_with("64");
    let register = if wide {
        "b64"
    } else if ty.ends_with("16") {
        "b16"
    } else {
        "b32"
    };
    let width = &register[1..];
    let cell = upload(&initial.to_le_bytes());
    let input = upload(&operands.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
    let out = upload(&vec![0; operands.len() * 8]);
    let body = format!(
        "ld.param.u64 %rd_c, [k_c]; ld.global.b{width} v, [%rd_i]; {instruction} st.global.b{width} [%rd_o], x;"
    );
    let text = entry(&["c", "i", "o"], &format!(".reg .{register} v, x;"), &body);
    for schedule in [Schedule::InOrder, Schedule::Shuffled] {
        let options = Options { schedule, seed: 3, ..Options::default() };
        if schedule == Schedule::Shuffled {
            // Only that it runs: the order is another one.
            let cell = upload(&initial.to_le_bytes());
            run(&text, 1, operands.len() as u32, &[cell.address, input.address, out.address], &options).unwrap();
        } else {
            let params = [cell.address, input.address, out.address];
            if let Err(fault) = run(&text, 1, operands.len() as u32, &params, &options) {
                panic!("{instruction}: {fault}");
            }
        }
    }
    let out = {
        // The shuffled run wrote the answers last; repeat the plain one.
        let again = upload(&vec![0; operands.len() * 8]);
        let cell = upload(&initial.to_le_bytes());
        run(&text, 1, operands.len() as u32, &[cell.address, input.address, again.address], &Options::default())
            .unwrap();
        again
    };
    let value = u64::from_le_bytes(cell.bytes().try_into().unwrap());
    (value, out.bytes().chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().unwrap())).collect())
}

#[test]
fn atomics_of_every_type() {
    let operands: Vec<u64> = (0..40u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16 | i << 60).collect();
    // In order, each thread returns what its predecessors left.
    let check = |op: &str, ty: &str, initial: u64, f: &dyn Fn(u64, u64) -> u64| {
        let mask = if ty.ends_with("64") { u64::MAX } else { 0xffff_ffff };
        let (got, olds) = atomic(&format!("atom.global.{op}.{ty} x, [%rd_c], v;"), ty, initial, &operands);
        let mut cell = initial & mask;
        for (operand, old) in operands.iter().zip(olds) {
            assert_eq!(old & mask, cell, "{op}.{ty}");
            cell = f(cell, *operand & mask) & mask;
        }
        assert_eq!(got & mask, cell, "{op}.{ty}");
        let (got, _) = atomic(
            &format!("red.relaxed.gpu.global.{op}.{ty} [%rd_c], v; mov.b{} x, v;", &ty[1..]),
            ty,
            initial,
            &operands,
        );
        assert_eq!(got & mask, cell, "red {op}.{ty}");
    };
    check("add", "u32", 5, &|a, b| a.wrapping_add(b));
    check("add", "s32", 5, &|a, b| a.wrapping_add(b));
    check("add", "u64", 5, &|a, b| a.wrapping_add(b));
    check("min", "u32", 1 << 31, &u64::min);
    check("max", "u32", 1 << 31, &u64::max);
    check("min", "s32", 5, &|a, b| (a as i32).min(b as i32) as u64);
    check("max", "s32", 5, &|a, b| (a as i32).max(b as i32) as u64);
    check("min", "u64", 1 << 63, &u64::min);
    check("max", "s64", 5, &|a, b| (a as i64).max(b as i64) as u64);
    check("and", "b32", u64::MAX, &|a, b| a & b);
    check("or", "b64", 0, &|a, b| a | b);
    check("xor", "b32", 77, &|a, b| a ^ b);
    check("inc", "u32", 3, &|a, b| if a >= b { 0 } else { a + 1 });
    check("dec", "u32", 3, &|a, b| if a == 0 || a > b { b } else { a - 1 });
    check("add", "f32", 0, &|a, b| (f32::from_bits(a as u32) + f32::from_bits(b as u32)).to_bits().into());
}

#[test]
fn exchange_and_compare() {
    let operands: Vec<u64> = (100..132).collect();
    let (cell, olds) = atomic("atom.global.exch.b32 x, [%rd_c], v;", "b32", 9, &operands);
    assert_eq!((cell & 0xffff_ffff, olds[0], olds[31]), (131, 9, 130));
    // Only the thread that finds 105 replaces it.
    let (cell, olds) = atomic("atom.global.cas.b32 x, [%rd_c], v, 7;", "b32", 105, &operands);
    assert_eq!((cell & 0xffff_ffff, olds[5], olds[6]), (7, 105, 7));
    let (cell, _) = atomic("atom.global.cas.b64 x, [%rd_c], v, 7;", "b64", 105, &operands);
    assert_eq!(cell, 7);
    let (cell, _) = atomic("atom.global.cas.b16 x, [%rd_c], v, 7;", "b16", 0x1_0069, &operands);
    assert_eq!(cell, 0x1_0007, "the neighbour of a 16-bit cell stays");
    let one = 0x3c00u64;
    let (cell, _) = atomic("atom.global.add.noftz.f16 x, [%rd_c], v;", "f16", 0x1234_0000, &[one; 32]);
    assert_eq!(cell, 0x1234_5000, "32 in half precision is 0x5000");
    let (cell, _) = atomic("atom.global.add.noftz.bf16x2 x, [%rd_c], v;", "b32", 0, &[0x3f80_4000; 32]);
    assert_eq!(cell, 0x4200_4280, "32 and 64");
    let (cell, _) = atomic("atom.global.add.f64 x, [%rd_c], v;", "f64", 0, &[0.5f64.to_bits(); 32]);
    assert_eq!(f64::from_bits(cell), 16.0);
}

#[test]
fn shared_atomics() {
    let body = "mov.u32 a, s; setp.eq.u32 p, %r_tid, 0; mov.u32 x, 0; @p st.shared.u32 [a], x; bar.sync 0;
         atom.shared.add.u32 x, [a], %r_tid; bar.sync 0; ld.shared.u32 x, [a]; st.global.u32 [%rd_o], x;";
    let text = entry(&["o"], ".shared .align 4 .b8 s[4]; .reg .pred p; .reg .u32 a, x;", body);
    let out = upload(&[0; 512]);
    run(&text, 1, 64, &[out.address], &Options::default()).unwrap();
    assert!(out.words().into_iter().step_by(2).all(|x| x == 63 * 32));
}

#[test]
fn asynchronous_copies() {
    let source = upload(&bytes(32 * 16));
    for (form, size) in [("ca", 4), ("ca", 8), ("ca", 16), ("cg", 16)] {
        let body = format!(
            "mad.lo.u32 a, %r_tid, 16, 0; mov.u32 b, s; add.u32 a, a, b; add.u64 %rd_i, %rd_i, %rd_lane;
             add.u64 %rd_o, %rd_o, %rd_lane;
             cp.async.{form}.shared.global [a], [%rd_i], {size}; cp.async.commit_group; cp.async.wait_group 0;
             ld.shared.u32 x, [a]; st.global.u32 [%rd_o], x;"
        );
        let text = entry(&["i", "o"], ".shared .align 16 .b8 s[512]; .reg .u32 a, b, x;", &body);
        let out = upload(&[0; 512]);
        run(&text, 1, 32, &[source.address, out.address], &Options::default()).unwrap();
        let want = source.bytes();
        assert!(out.bytes().chunks(16).zip(want.chunks(16)).all(|(o, i)| o[..4] == i[..4]), "{form} {size}");
    }
    // A shorter source: the rest is zero. Lanes copy 0, 1, ... 15 bytes of 16.
    let body = "mad.lo.u32 a, %r_tid, 16, 0; mov.u32 b, s; add.u32 a, a, b; add.u64 %rd_i, %rd_i, %rd_lane; and.b32 n, %r_tid, 15;
         add.u64 %rd_o, %rd_o, %rd_lane; cp.async.cg.shared.global.L2::128B [a], [%rd_i], 16, n; cp.async.wait_all;
         ld.shared.v4.u32 {x, y, z, w}, [a]; st.global.v4.u32 [%rd_o], {x, y, z, w};";
    let text = entry(&["i", "o"], ".shared .align 16 .b8 s[512]; .reg .u32 a, b, n, x, y, z, w;", body);
    let out = upload(&[0xff; 512]);
    run(&text, 1, 32, &[source.address, out.address], &Options::default()).unwrap();
    for (lane, (got, from)) in out.bytes().chunks(16).zip(source.bytes().chunks(16)).enumerate() {
        let n = lane % 16;
        assert!(got[..n] == from[..n] && got[n..].iter().all(|b| *b == 0), "lane {lane}");
    }
}

#[test]
fn copies_land_only_when_waited_for() {
    let template = "mad.lo.u32 a, %r_tid, 16, 0; mov.u32 b, s; add.u32 a, a, b; add.u64 %rd_i, %rd_i, %rd_lane;
         cp.async.cg.shared.global [a], [%rd_i], 16; cp.async.commit_group;
         cp.async.cg.shared.global [a+512], [%rd_i], 16; cp.async.commit_group;
         WAIT ld.shared.u32 x, [a+READ]; st.global.u32 [%rd_o], x;";
    let source = upload(&bytes(32 * 16));
    let out = upload(&[0; 256]);
    let go = |wait: &str, read: &str| {
        let body = template.replace("WAIT", wait).replace("READ", read);
        let text = entry(&["i", "o"], ".shared .align 16 .b8 s[1024]; .reg .u32 a, b, x;", &body);
        run(&text, 1, 32, &[source.address, out.address], &Options::default()).map_err(|fault| fault.kind)
    };
    go("cp.async.wait_group 1;", "0").unwrap();
    go("cp.async.wait_group 0;", "512").unwrap();
    go("cp.async.wait_all;", "512").unwrap();
    assert_eq!(go("", "0").unwrap_err(), FaultKind::PendingCopy);
    assert_eq!(go("cp.async.wait_group 1;", "512").unwrap_err(), FaultKind::PendingCopy);
    assert_eq!(go("cp.async.wait_group 2;", "0").unwrap_err(), FaultKind::PendingCopy);
}

#[test]
fn hints_do_nothing() {
    let body = "createpolicy.fractional.L2::evict_first.b64 p, 1.0; prefetch.global.L2 [%rd_i];
         ld.global.L1::no_allocate.L2::cache_hint.u32 x, [%rd_i], p; st.global.cs.L2::cache_hint.u32 [%rd_o], x, p;
         fence.acq_rel.gpu; membar.cta; fence.proxy.async; nanosleep.u32 20; prefetchu.L1 [%rd_i];
         applypriority.global.L2::evict_normal [%rd_i], 128; pmevent 1; griddepcontrol.wait; setmaxnreg.inc.sync.aligned.u32 40;";
    let text = entry(&["i", "o"], ".reg .u64 p; .reg .u32 x;", body);
    let source = upload(&bytes(256));
    let out = upload(&[0; 256]);
    run(&text, 1, 32, &[source.address, out.address], &Options::default()).unwrap();
    assert!(out.words().into_iter().step_by(2).eq(source.words().into_iter().step_by(2)));
}

#[test]
fn uniform_loads_and_clocks() {
    let body = "ldu.global.u32 x, [%rd_i]; mov.u32 y, %clock; mov.u64 a, %clock64; mov.u64 b, %globaltimer;
         mov.u64 c, %clock64; setp.gt.u64 p, c, a; @!p trap; st.global.v2.u32 [%rd_o], {x, y};";
    let text = entry(&["i", "o"], ".reg .pred p; .reg .u32 x, y; .reg .u64 a, b, c;", body);
    let source = upload(&bytes(256));
    let out = upload(&[0; 256]);
    run(&text, 1, 32, &[source.address, out.address], &Options::default()).unwrap();
    assert!(out.words().into_iter().step_by(2).eq(source.words().into_iter().step_by(2)));
}

#[test]
fn accesses_outside_are_faults() {
    let text = entry(&["i", "o"], ".reg .u32 x;", "ld.global.u32 x, [%rd_i+4]; st.global.u32 [%rd_o], x;");
    let out = upload(&[0; 256]);
    let source = upload(&[0; 252]);
    let fault = run(&text, 1, 32, &[source.address, out.address], &Options::default()).unwrap_err();
    assert_eq!((fault.kind, fault.lanes), (FaultKind::OutOfBounds, 1 << 31), "{fault}");
    let odd = text.replace("[%rd_i+4]", "[%rd_i+2]");
    let fault = run(&odd, 1, 32, &[source.address, out.address], &Options::default()).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Misaligned, "{fault}");
}
