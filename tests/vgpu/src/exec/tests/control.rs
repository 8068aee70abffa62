//! Divergence and reconvergence, calls, barriers, spinning, scheduling.

use super::harness::{empty, entry, module, run, run_dynamic, upload, words};
use crate::exec::{Options, Schedule};
use crate::report::FaultKind;

fn shuffled(seed: u64) -> Options {
    Options { seed, schedule: Schedule::Shuffled, ..Options::default() }
}

/// Runs one block and returns the 32-bit result of each thread.
fn results(text: &str, threads: u32, options: &Options) -> Vec<u32> {
    let out = upload(&vec![0; threads as usize * 8]);
    if let Err(fault) = run(text, 1, threads, &[out.address], options) {
        panic!("{fault}");
    }
    out.words().into_iter().step_by(2).collect()
}

#[test]
fn lanes_take_their_own_way() {
    let text = entry(
        &["o"],
        ".reg .pred p, q; .reg .u32 x, n;",
        "and.b32 n, %r_tid, 3; mov.u32 x, 100;
         setp.eq.u32 p, n, 0; @p bra ZERO;
         setp.eq.u32 q, n, 1; @q bra ONE;
         add.u32 x, x, 20; bra END;
         ZERO: add.u32 x, x, 1; bra END;
         ONE: add.u32 x, x, 10;
         END: st.global.u32 [%rd_o], x;",
    );
    let got = results(&text, 64, &Options::default());
    assert!(got.iter().enumerate().all(|(t, x)| *x == [101, 110, 120, 120][t % 4]), "{got:?}");
}

#[test]
fn loops_with_different_trip_counts_meet_again() {
    // Collatz steps; afterwards all lanes vote together, which needs them to have met.
    let text = entry(
        &["o"],
        ".reg .pred p, q; .reg .u32 x, n, m, b;",
        "add.u32 x, %r_tid, 1; mov.u32 n, 0;
         LOOP: setp.eq.u32 p, x, 1; @p bra DONE;
         and.b32 m, x, 1; setp.eq.u32 q, m, 0;
         @q shr.u32 x, x, 1; @!q mad.lo.u32 x, x, 3, 1;
         add.u32 n, n, 1; bra LOOP;
         DONE: activemask.b32 b; setp.ne.u32 p, b, 0xffffffff; @p trap;
         vote.sync.ballot.b32 m, !p, 0xffffffff; st.global.u32 [%rd_o], n;",
    );
    let steps = |mut x: u32| {
        let mut n = 0;
        while x != 1 {
            x = if x.is_multiple_of(2) { x / 2 } else { 3 * x + 1 };
            n += 1;
        }
        n
    };
    for options in [Options::default(), shuffled(1), shuffled(2)] {
        // With turns cut short, lanes may pass `activemask` apart; only the default schedule promises to meet there.
        let text = if options.schedule == Schedule::InOrder { text.clone() } else { text.replace("@p trap;", "") };
        let got = results(&text, 128, &options);
        assert!(got.iter().enumerate().all(|(t, n)| *n == steps(t as u32 + 1)), "{got:?}");
    }
}

#[test]
fn a_sync_instruction_waits_for_lanes_on_another_way() {
    // The halves reach the same shuffle from different places.
    let text = entry(
        &["o"],
        ".reg .pred p; .reg .u32 x, y;",
        "setp.lt.u32 p, %r_tid, 16; mov.u32 x, %r_tid; @p bra LOW;
         add.u32 x, x, 100; bra MEET;
         LOW: add.u32 x, x, 200; add.u32 x, x, 1;
         MEET: shfl.sync.bfly.b32 y, x, 16, 31, 0xffffffff; st.global.u32 [%rd_o], y;",
    );
    let got = results(&text, 32, &Options::default());
    let own = |t: u32| if t < 16 { t + 201 } else { t + 100 };
    assert!(got.iter().enumerate().all(|(t, y)| *y == own(t as u32 ^ 16)), "{got:?}");
}

#[test]
fn absent_lanes_of_a_sync_instruction_are_a_fault() {
    let text = entry(
        &["o"],
        ".reg .pred p; .reg .u32 x;",
        "setp.lt.u32 p, %r_tid, 16; @!p bra END;
         shfl.sync.idx.b32 x, %r_tid, 0, 31, 0xffffffff;
         END: bar.warp.sync 0xffffffff;",
    );
    let out = upload(&[0; 256]);
    let fault = run(&text, 1, 32, &[out.address], &Options::default()).unwrap_err();
    assert_eq!((fault.kind, fault.lanes), (FaultKind::AbsentLanes, 0xffff), "{fault}");
    // Lanes that have left the kernel are not waited for.
    let text = text.replace("@!p bra END;", "@!p ret;").replace("END:", "");
    run(&text, 1, 32, &[out.address], &Options::default()).unwrap();
}

#[test]
fn a_lane_outside_of_its_own_mask_is_a_fault() {
    let text = entry(&["o"], ".reg .u32 x;", "shfl.sync.idx.b32 x, %r_tid, 0, 31, 0xffff;");
    let out = upload(&[0; 256]);
    let fault = run(&text, 1, 32, &[out.address], &Options::default()).unwrap_err();
    assert_eq!((fault.kind, fault.lanes), (FaultKind::InvalidInstruction, 0xffff_0000), "{fault}");
}

#[test]
fn functions_with_parameters_and_frames() {
    // f(x, s) = x * s.b + local[x & 3] with s passed by value and a local array; called under divergence, and twice.
    let function = ".func (.param .b32 f_ret) f(.param .b32 f_x, .param .align 4 .b8 f_s[8])
    { .local .align 8 .b8 depot[16]; .reg .b64 sp, a; .reg .b32 x, b, i, v; .reg .pred p;
      mov.u64 sp, depot; cvta.local.u64 sp, sp;
      ld.param.b32 x, [f_x]; mov.b64 a, f_s; ld.param.b32 b, [a+4];
      mov.u32 i, 0; mov.u64 a, sp;
      FILL: mul.lo.u32 v, i, 1000; st.u32 [a], v; add.u64 a, a, 4; add.u32 i, i, 1; setp.lt.u32 p, i, 4; @p bra FILL;
      and.b32 i, x, 3; mul.wide.u32 a, i, 4; add.u64 a, a, sp; ld.u32 v, [a];
      mad.lo.u32 v, x, b, v; st.param.b32 [f_ret+0], v; ret; }\n";
    let call = |x: &str, to: &str| {
        format!(
            "{{ .param .b32 p0; .param .align 4 .b8 p1[8]; .param .b32 r0; st.param.b32 [p0+0], {x};
             st.param.b32 [p1+0], 9; st.param.b32 [p1+4], 7; call.uni (r0), f, (p0, p1); ld.param.b32 {to}, [r0+0]; }}"
        )
    };
    let body = format!(
        "and.b32 m, %r_tid, 1; setp.eq.u32 p, m, 0; mov.u32 y, 5; @p bra SKIP;
         {} SKIP: {} add.u32 y, y, z; st.global.u32 [%rd_o], y;",
        call("%r_tid", "y"),
        call("y", "z")
    );
    let text = function.to_owned() + &entry(&["o"], ".reg .u32 y, z, m; .reg .pred p;", &body);
    let f = |x: u32| x * 7 + (x & 3) * 1000;
    for options in [Options::default(), shuffled(3)] {
        let got = results(&text, 64, &options);
        for (t, got) in got.iter().enumerate() {
            let y = if t % 2 == 0 { 5 } else { f(t as u32) };
            assert_eq!(*got, y + f(y), "thread {t}");
        }
    }
}

#[test]
fn parameters_in_registers() {
    // g(x, y) = (x - y, 64-bit x + y); returns early for odd x; h(x, s) takes a register and a variable, and ends without ret.
    let functions = ".func (.reg .u32 d, .reg .u64 s) g(.reg .u32 x, .reg .u64 y)
    { .reg .u64 w; .reg .u32 m; .reg .pred q; cvt.u64.u32 w, x; add.u64 s, w, y; cvt.u32.u64 m, y; sub.u32 d, x, m;
      and.b32 m, x, 1; setp.ne.u32 q, m, 0; @q ret; add.u32 d, d, 1000; ret; }
    .func (.param .b32 h_r) h(.reg .b32 x, .param .b32 h_y)
    { .reg .u32 y; ld.param.b32 y, [h_y]; mul.lo.u32 y, y, x; st.param.b32 [h_r], y; }\n";
    let body = "and.b32 m, %r_tid, 2; setp.ne.u32 p, m, 0; mov.u32 a, 7; mov.u64 b, 9;
        @p call (a, b), g, (%r_tid, 5); cvt.u32.u64 c, b; call (d), h, (c, 3); mad.lo.u32 a, d, 10000, a;
        st.global.u32 [%rd_o], a;";
    let declarations = ".reg .u32 a, c, d, m; .reg .u64 b; .reg .pred p;";
    let text = functions.to_owned() + &entry(&["o"], declarations, body);
    for options in [Options::default(), shuffled(3)] {
        for (t, got) in results(&text, 64, &options).into_iter().enumerate() {
            let t = t as u32;
            let difference = t.wrapping_sub(5).wrapping_add(if t % 2 == 1 { 0 } else { 1000 });
            let (a, b) = if t & 2 == 0 { (7, 9) } else { (difference, t + 5) };
            assert_eq!(got, (b * 3 * 10000).wrapping_add(a), "thread {t}");
        }
    }
}

#[test]
fn tables_of_branches() {
    let text = entry(
        &["o"],
        ".reg .u32 x, n;",
        "and.b32 n, %r_tid, 3; mov.u32 x, 0;
         T: .branchtargets A, B, A, C;
         brx.idx n, T;
         A: mov.u32 x, 1; bra END;
         B: mov.u32 x, 2; bra END;
         C: mov.u32 x, 3;
         END: st.global.u32 [%rd_o], x;",
    );
    let got = results(&text, 32, &Options::default());
    assert!(got.iter().enumerate().all(|(t, x)| *x == [1, 2, 1, 3][t % 4]), "{got:?}");
}

#[test]
fn an_unknown_instruction_matters_only_when_it_is_reached() {
    let text = entry(
        &["o"],
        ".reg .pred p; .reg .u32 x;",
        "setp.gt.u32 p, %r_tid, 99; @!p bra END; frobnicate.b32 x, %r_tid; END: mov.u32 x, 8; st.global.u32 [%rd_o], x;",
    );
    assert_eq!(results(&text, 32, &Options::default()), [8; 32]);
    let out = upload(&[0; 2048]);
    let fault = run(&text, 1, 128, &[out.address], &Options::default()).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unsupported, "{fault}");
    assert!(fault.site.ptx.contains("frobnicate"), "{fault}");
}

#[test]
fn inline_assembly_has_its_own_names() {
    let text = entry(
        &["o"],
        ".reg .u32 x, t;",
        "mov.u32 t, 1; mov.u32 x, 0;
         { .reg .u32 t; .reg .pred p; mov.u32 t, 5; L: add.u32 x, x, t; setp.lt.u32 p, x, 10; @p bra L; }
         { .reg .u32 t; .reg .pred p; mov.u32 t, 7; L: add.u32 x, x, t; setp.lt.u32 p, x, 30; @p bra L; }
         add.u32 x, x, t; st.global.u32 [%rd_o], x;",
    );
    assert_eq!(results(&text, 32, &Options::default()), [32; 32]);
}

#[test]
fn barriers_order_a_block() {
    // Each thread reads its neighbour's value, in both directions, several times.
    let text = entry(
        &["o"],
        ".shared .align 4 .b8 s[1024]; .reg .pred p; .reg .u32 x, a, b, i, n;",
        "mov.u32 x, %r_tid; mov.u32 i, 0; mov.u32 a, s; mad.lo.u32 a, %r_tid, 4, a;
         add.u32 n, %r_tid, 33; and.b32 n, n, 255; mov.u32 b, s; mad.lo.u32 b, n, 4, b;
         LOOP: st.shared.u32 [a], x; bar.sync 0; ld.shared.u32 x, [b]; bar.sync 0;
         add.u32 x, x, 1; add.u32 i, i, 1; setp.lt.u32 p, i, 5; @p bra LOOP;
         st.global.u32 [%rd_o], x;",
    );
    for options in [Options::default(), shuffled(5), shuffled(6), shuffled(7)] {
        let got = results(&text, 256, &options);
        assert!(got.iter().enumerate().all(|(t, x)| *x == (t as u32 + 5 * 33) % 256 + 5), "{got:?}");
    }
}

#[test]
fn barriers_that_reduce() {
    let text = entry(
        &["o"],
        ".reg .pred p, q, r; .reg .u32 n, x, m;",
        "and.b32 m, %r_tid, 3; setp.eq.u32 p, m, 0;
         bar.red.popc.u32 n, 0, p; bar.red.or.pred q, 0, p; bar.red.and.pred r, 0, !p;
         selp.u32 x, 1000, 0, q; add.u32 n, n, x; selp.u32 x, 5000, 0, r; add.u32 n, n, x;
         st.global.u32 [%rd_o], n;",
    );
    assert_eq!(results(&text, 96, &Options::default()), [1024; 96]);
}

#[test]
fn named_barriers_join_producers_and_consumers() {
    let text = entry(
        &["o"],
        ".shared .align 4 .b8 s[128]; .reg .pred p; .reg .u32 x, a, l;",
        "and.b32 l, %r_tid, 31; mov.u32 a, s; mad.lo.u32 a, l, 4, a; mov.u32 x, 0;
         setp.lt.u32 p, %r_tid, 32; @p bra PRODUCE;
         bar.sync 1, 64; ld.shared.u32 x, [a]; bra END;
         PRODUCE: mad.lo.u32 x, l, 3, 1; st.shared.u32 [a], x; bar.arrive 1, 64;
         END: st.global.u32 [%rd_o], x;",
    );
    for options in [Options::default(), shuffled(8), shuffled(9)] {
        let got = results(&text, 64, &options);
        assert!(got.iter().enumerate().all(|(t, x)| *x == (t as u32 % 32) * 3 + 1), "{got:?}");
    }
}

#[test]
fn a_barrier_that_nobody_completes_is_a_fault() {
    let text = entry(
        &["o"],
        ".reg .pred p;",
        "setp.lt.u32 p, %r_tid, 32; @p bra END; bar.sync 0; END: st.global.u32 [%rd_o], %r_tid;",
    );
    let out = upload(&[0; 512]);
    let fault = run(&text, 1, 64, &[out.address], &Options::default()).unwrap_err();
    assert_eq!(fault.kind, FaultKind::BarrierDivergence, "{fault}");
}

/// Blocks count up in device memory, each waiting for its predecessor.
const CHAIN: &str = ".reg .pred p; .reg .u32 x;";

#[test]
fn blocks_that_wait_for_each_other_all_run() {
    // Block b waits until the counter is (blocks - 1 - b): the first block in order waits for the last one.
    let body = "ld.param.u64 %rd_o, [k_o]; mov.u32 x, %nctaid.x; sub.u32 x, x, 1; sub.u32 %r_cta, x, %r_cta;
         WAIT: ld.acquire.gpu.global.u32 x, [%rd_o]; setp.ne.u32 p, x, %r_cta; @p bra WAIT;
         atom.add.release.gpu.global.u32 x, [%rd_o], 1;";
    let text = entry(&["o"], CHAIN, body);
    for options in [Options::default(), shuffled(1), Options { resident_blocks: 7, ..shuffled(2) }] {
        let out = upload(&words(&[0; 2]));
        run(&text, 7, 1, &[out.address], &options).unwrap();
        assert_eq!(out.words()[0], 7);
    }
}

#[test]
fn a_lock_between_lanes_of_a_warp_makes_progress() {
    let body = "ld.param.u64 %rd_o, [k_o];
         TRY: atom.cas.acquire.gpu.global.b32 x, [%rd_o], 0, 1; setp.ne.u32 p, x, 0; @p bra TRY;
         ld.relaxed.gpu.global.u32 x, [%rd_o+4]; add.u32 x, x, 1; st.relaxed.gpu.global.u32 [%rd_o+4], x;
         atom.exch.release.gpu.global.b32 x, [%rd_o], 0;";
    let text = entry(&["o"], CHAIN, body);
    for options in [Options::default(), shuffled(4)] {
        let out = upload(&words(&[0; 2]));
        run(&text, 2, 8, &[out.address], &options).unwrap();
        assert_eq!(out.words(), [0, 16]);
    }
}

#[test]
fn the_watchdog_ends_a_hang() {
    let text = entry(&["o"], "", "LOOP: bra LOOP;");
    let out = upload(&[0; 256]);
    let options = Options { watchdog: 1_000_000, ..Options::default() };
    let fault = run(&text, 1, 32, &[out.address], &options).unwrap_err();
    assert_eq!((fault.kind, fault.code()), (FaultKind::Hang, 702), "{fault}");
}

#[test]
fn trap_and_assert() {
    let out = upload(&[0; 256]);
    let text = entry(&["o"], ".reg .pred p;", "setp.eq.u32 p, %r_tid, 5; @p trap;");
    let fault = run(&text, 1, 32, &[out.address], &Options::default()).unwrap_err();
    assert_eq!((fault.kind, fault.lanes), (FaultKind::Trap, 1 << 5), "{fault}");
    let text = ".extern .func __assertfail(.param .b64 a0);\n.extern .func (.param .b32 r0) vprintf(.param .b64 a0);\n".to_owned()
        + &entry(
            &["o"],
            ".reg .pred p;",
            "{ .param .b64 a; .param .b32 r; .reg .b32 x; st.param.b64 [a], %rd_o; call.uni (r), vprintf, (a); ld.param.b32 x, [r];
               st.global.u32 [%rd_o], x; }
             setp.eq.u32 p, %r_tid, 7; @!p bra DONE; { .param .b64 b; st.param.b64 [b], %rd_o; call.uni __assertfail, (b); } DONE:",
        );
    let fault = run(&text, 1, 32, &[out.address], &Options::default()).unwrap_err();
    assert_eq!((fault.kind, fault.lanes), (FaultKind::Assert, 1 << 7), "{fault}");
}

#[test]
fn source_lines_through_inlining() {
    let text = ".file 1 \"kernels/x.cu\"\n".to_owned()
        + &entry(&["o"], "", ".loc 1 30 3\n.loc 1 12 5, function_name $L_name0, inlined_at 1 30 3\ntrap;")
        + ".section .debug_str\n{\n$L_name0:\n.b8 102\n.b8 111\n.b8 111\n.b8 0\n}\n";
    let out = upload(&[0; 256]);
    let fault = run(&text, 1, 32, &[out.address], &Options::default()).unwrap_err();
    let frames: Vec<_> = fault.site.frames.iter().map(|f| (f.file.as_str(), f.line, f.function.as_deref())).collect();
    assert_eq!(frames, [("kernels/x.cu", 12, Some("foo")), ("kernels/x.cu", 30, None)]);
    assert_eq!(fault.site.ptx, "trap;");
}

#[test]
fn dynamic_shared_memory_stands_behind_the_static_part() {
    let text = ".extern .shared .align 16 .b8 dynamic[];\n".to_owned()
        + &entry(
            &["o"],
            ".shared .align 4 .b8 s[20]; .reg .u32 a, b, x, n;",
            "mov.u32 a, dynamic; mov.u32 b, s; sub.u32 x, a, b; mov.u32 n, %dynamic_smem_size; add.u32 x, x, n;
             mad.lo.u32 a, %r_tid, 4, a; st.shared.u32 [a], x; ld.shared.u32 x, [a]; st.global.u32 [%rd_o], x;",
        );
    let out = upload(&[0; 256]);
    run_dynamic(&text, 1, 32, 128, &[out.address], &Options::default()).unwrap();
    // The distance of the two, and the dynamic size.
    let distance = out.words()[0] - 128;
    assert!(distance >= 20 && distance.is_multiple_of(16), "{distance}");
    assert!(out.words().into_iter().step_by(2).all(|x| x == distance + 128));
    assert_eq!(module(&text).function("k").unwrap().shared_bytes(), 20);
    let fault = run_dynamic(&text, 1, 32, 124, &[out.address], &Options::default()).unwrap_err();
    assert_eq!((fault.kind, fault.lanes), (FaultKind::OutOfBounds, 1 << 31), "{fault}");
}

#[test]
fn undefined_values_are_followed() {
    let out = empty(512);
    let go = |body: &str, options: &Options| {
        let text = entry(&["o"], ".shared .align 4 .b8 s[128]; .reg .pred p; .reg .u32 x, y, a; .reg .b64 z;", body);
        run(&text, 1, 32, &[out.address], options).map_err(|fault| fault.kind)
    };
    let strict = Options::default();
    let lenient = Options { definedness: crate::memory::Definedness::Lenient, ..Options::default() };
    let off = Options { definedness: crate::memory::Definedness::Off, ..Options::default() };
    let undefined = "mov.u32 a, s; mad.lo.u32 a, %r_tid, 4, a; ld.shared.u32 x, [a]; ";
    let with = |rest: &str| undefined.to_owned() + rest;
    // Reading and computing is no fault; storing, branching and addressing is.
    go(&with("add.u32 y, x, 1;"), &strict).unwrap();
    let store = with("add.u32 y, x, 1; st.global.u32 [%rd_o], y;");
    assert_eq!(go(&store, &lenient).unwrap_err(), FaultKind::UndefinedStore);
    go(&store, &off).unwrap();
    let branch = with("setp.eq.u32 p, x, 1; @p bra END; END: mov.u32 y, 1;");
    assert_eq!(go(&branch, &strict).unwrap_err(), FaultKind::UndefinedBranch);
    go(&branch, &lenient).unwrap();
    let address = with("and.b32 x, x, 0; cvt.u64.u32 z, x; add.u64 z, z, %rd_o; ld.global.u32 y, [z];");
    assert_eq!(go(&address, &lenient).unwrap_err(), FaultKind::UndefinedAddress);
    // A selection takes the definedness of what it takes.
    let taken = with("setp.lt.u32 p, %r_tid, 99; selp.u32 y, 7, x, p; st.global.u32 [%rd_o], y;");
    go(&taken, &strict).unwrap();
    let other = with("setp.gt.u32 p, %r_tid, 3; selp.u32 y, 7, x, p; st.global.u32 [%rd_o], y;");
    assert_eq!(go(&other, &strict).unwrap_err(), FaultKind::UndefinedStore);
    // A register that was never written, even when its place in the file held something else before.
    let never = "mov.u32 a, 5; st.global.u32 [%rd_o], a; st.global.u32 [%rd_o], y;";
    assert_eq!(go(never, &strict).unwrap_err(), FaultKind::UndefinedStore);
    // Written in some lanes only.
    let some = "setp.lt.u32 p, %r_tid, 16; @p mov.u32 y, 5; st.global.u32 [%rd_o], y;";
    assert_eq!(go(some, &strict).unwrap_err(), FaultKind::UndefinedStore);
    // A shuffle moves definedness with the values.
    let moved = with(
        "setp.lt.u32 p, %r_tid, 16; @p mov.u32 x, 5; shfl.sync.idx.b32 y, x, 3, 31, 0xffffffff; st.global.u32 [%rd_o], y;",
    );
    go(&moved, &strict).unwrap();
    let moved = moved.replace("x, 3, 31", "x, 17, 31");
    assert_eq!(go(&moved, &strict).unwrap_err(), FaultKind::UndefinedStore);
}
