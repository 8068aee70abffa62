//! Shuffles, votes, matches, reductions over lanes.

use super::harness::{entry, run, upload};
use crate::exec::Options;

/// Runs a body that leaves its answer in `x` in one warp of `lanes` lanes; each lane's `v` is a fixed pseudo-random word.
fn answers(body: &str, lanes: u32) -> Vec<u32> {
    let declarations = ".reg .pred p, q; .reg .u32 x, v, m, l; .reg .u64 w;";
    let body = format!(
        "mad.lo.u32 v, %r_tid, 2654435761, 12345; shr.u32 v, v, 7; mov.u32 x, 0; {body} st.global.u32 [%rd_o], x;"
    );
    let out = upload(&[0; 256]);
    if let Err(fault) = run(&entry(&["o"], declarations, &body), 1, lanes, &[out.address], &Options::default()) {
        panic!("{fault}");
    }
    out.words().into_iter().step_by(2).take(lanes as usize).collect()
}

fn value(lane: u32) -> u32 {
    lane.wrapping_mul(2_654_435_761).wrapping_add(12345) >> 7
}

#[test]
fn shuffles_in_segments() {
    // Segments of 32, 16, 8, 4 and 2 lanes, and the clamps of both directions.
    for width in [32u32, 16, 8, 4, 2] {
        for step in [0u32, 1, 3, 5, 8, 17, 31] {
            let low_clamp = (32 - width) << 8;
            let high_clamp = low_clamp | 31;
            let segment = |lane: u32| (lane / width * width, lane / width * width + width - 1);
            let got =
                answers(&format!("shfl.sync.up.b32 x|p, v, {step}, {low_clamp}, 0xffffffff; @!p add.u32 x, x, 1;"), 32);
            for lane in 0..32u32 {
                let inside = lane as i64 - i64::from(step) >= i64::from(segment(lane).0);
                let want = if inside { value(lane - step) } else { value(lane) + 1 };
                assert_eq!(got[lane as usize], want, "up {step} in {width}, lane {lane}");
            }
            let got = answers(
                &format!("shfl.sync.down.b32 x|p, v, {step}, {high_clamp}, 0xffffffff; @!p add.u32 x, x, 1;"),
                32,
            );
            for lane in 0..32u32 {
                let inside = lane + step <= segment(lane).1;
                let want = if inside { value(lane + step) } else { value(lane) + 1 };
                assert_eq!(got[lane as usize], want, "down {step} in {width}, lane {lane}");
            }
            let got = answers(
                &format!("shfl.sync.bfly.b32 x|p, v, {step}, {high_clamp}, 0xffffffff; @!p add.u32 x, x, 1;"),
                32,
            );
            for lane in 0..32u32 {
                let inside = lane ^ step <= segment(lane).1;
                let want = if inside { value(lane ^ step) } else { value(lane) + 1 };
                assert_eq!(got[lane as usize], want, "bfly {step} in {width}, lane {lane}");
            }
            let got = answers(
                &format!("shfl.sync.idx.b32 x|p, v, {step}, {high_clamp}, 0xffffffff; @!p add.u32 x, x, 1;"),
                32,
            );
            for lane in 0..32u32 {
                assert_eq!(
                    got[lane as usize],
                    value(segment(lane).0 + step % width),
                    "idx {step} in {width}, lane {lane}"
                );
            }
        }
    }
}

#[test]
fn votes() {
    let odd = "and.b32 m, v, 1; setp.eq.u32 p, m, 1;";
    let ballot = (0..32).fold(0, |mask, lane| mask | (value(lane) & 1) << lane);
    assert_eq!(answers(&format!("{odd} vote.sync.ballot.b32 x, p, 0xffffffff;"), 32), [ballot; 32]);
    assert_eq!(answers(&format!("{odd} vote.sync.ballot.b32 x, !p, 0xffffffff;"), 32), [!ballot; 32]);
    let asked = |vote: &str, p: &str| {
        answers(
            &format!("{odd} setp.lt.u32 q, %r_tid, 40; vote.sync.{vote}.pred p, {p}, 0xffffffff; selp.u32 x, 1, 0, p;"),
            32,
        )[0]
    };
    assert_eq!([asked("any", "p"), asked("all", "p"), asked("uni", "p")], [1, 0, 0]);
    assert_eq!([asked("any", "q"), asked("all", "q"), asked("uni", "q")], [1, 1, 1]);
    assert_eq!([asked("any", "!q"), asked("all", "!q"), asked("uni", "!q")], [0, 0, 1]);
}

#[test]
fn votes_in_groups() {
    // Two halves, each with its own member mask, in one instruction.
    let body = "setp.lt.u32 p, %r_tid, 16; selp.u32 m, 0xffff, 0xffff0000, p; and.b32 l, v, 1; setp.eq.u32 q, l, 1;
                vote.sync.ballot.b32 x, q, m;";
    let ballot = (0..32).fold(0u32, |mask, lane| mask | (value(lane) & 1) << lane);
    let got = answers(body, 32);
    assert!(got[..16].iter().all(|x| *x == ballot & 0xffff) && got[16..].iter().all(|x| *x == ballot & 0xffff_0000));
    // A warp that is not full: the missing lanes are not waited for.
    let got = answers("setp.ne.u32 p, %r_tid, 3; vote.sync.ballot.b32 x, p, 0xffffffff;", 20);
    assert_eq!(got, [0xf_fff7; 20]);
}

#[test]
fn matches() {
    let got = answers("and.b32 m, v, 3; match.any.sync.b32 x, m, 0xffffffff;", 32);
    for lane in 0..32 {
        let want = (0..32).filter(|l| value(*l) & 3 == value(lane) & 3).fold(0, |mask, l| mask | 1 << l);
        assert_eq!(got[lane as usize], want);
    }
    let wide =
        "cvt.u64.u32 w, v; shl.b64 w, w, 40; shr.u64 w, w, 63; shl.b64 w, w, 35; match.any.sync.b64 x, w, 0xffffffff;";
    let bit = |lane: u32| value(lane) >> 23 & 1;
    let got = answers(wide, 32);
    for lane in 0..32 {
        let want = (0..32).filter(|l| bit(*l) == bit(lane)).fold(0, |mask, l| mask | 1 << l);
        assert_eq!(got[lane as usize], want);
    }
    assert_eq!(answers("match.all.sync.b32 x|p, 5, 0xffffffff; @!p trap;", 32), [u32::MAX; 32]);
    assert_eq!(answers("match.all.sync.b32 x|p, v, 0xffffffff; @p trap;", 32), [0; 32]);
}

#[test]
fn reductions() {
    let values: Vec<u32> = (0..32).map(value).collect();
    let signed: Vec<i32> = values.iter().map(|v| (*v as i32).wrapping_sub(1 << 24)).collect();
    let all = |op: &str| answers(&format!("redux.sync.{op} x, v, 0xffffffff;"), 32)[31];
    let offset = |op: &str| answers(&format!("sub.u32 v, v, 16777216; redux.sync.{op} x, v, 0xffffffff;"), 32)[0];
    assert_eq!(all("add.u32"), values.iter().fold(0u32, |a, b| a.wrapping_add(*b)));
    assert_eq!(all("min.u32"), *values.iter().min().unwrap());
    assert_eq!(all("max.u32"), *values.iter().max().unwrap());
    assert_eq!(offset("min.s32"), *signed.iter().min().unwrap() as u32);
    assert_eq!(offset("max.s32"), *signed.iter().max().unwrap() as u32);
    assert_eq!(all("and.b32"), values.iter().fold(u32::MAX, |a, b| a & b));
    assert_eq!(all("or.b32"), values.iter().fold(0, |a, b| a | b));
    assert_eq!(all("xor.b32"), values.iter().fold(0, |a, b| a ^ b));
}

#[test]
fn special_registers_of_lanes() {
    for (register, want) in [
        ("%laneid", (|l| l) as fn(u32) -> u32),
        ("%lanemask_eq", |l| 1 << l),
        ("%lanemask_lt", |l| (1 << l) - 1),
        ("%lanemask_le", |l| ((2u64 << l) - 1) as u32),
        ("%lanemask_gt", |l| !((2u64 << l) - 1) as u32),
        ("%lanemask_ge", |l| !((1 << l) - 1)),
    ] {
        let got = answers(&format!("mov.u32 x, {register};"), 32);
        assert!(got.iter().enumerate().all(|(l, x)| *x == want(l as u32)), "{register}: {got:x?}");
    }
    assert_eq!(answers("elect.sync x|p, 0xffffffff; @p add.u32 x, x, 100;", 32)[..3], [100, 0, 0]);
}
