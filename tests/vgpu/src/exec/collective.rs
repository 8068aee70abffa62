//! Instructions in which the lanes of a member mask exchange values.

use super::launch::Run;
use super::registers::{FULL, Registers, write};
use super::resident::Resident;
use super::warp::{Split, Warp};
use crate::decode::{Inst, Op, Reduce, Shuffle, Type, Vote};
use crate::report::{Checked, FaultKind, Violation};

impl Run<'_> {
    /// Executes a collective for every group of lanes whose members are all here; parks the others. Says whether lanes are
    /// left that go on.
    pub(super) fn collective(
        &mut self,
        block: &mut Resident,
        warp: &mut Warp,
        inst: &Inst,
        lanes: u32,
    ) -> Checked<bool> {
        let row = match inst.op {
            Op::Shuffle(_) => inst.src[3],
            Op::Elect | Op::WarpSync => inst.src[0],
            _ => inst.src[1],
        };
        self.options.definedness.check_branch(lanes & !warp.registers.defined(row))?;
        let members = *warp.registers.word(row);
        let (mut rest, mut incomplete) = (lanes, 0);
        while rest != 0 {
            let mask = members[rest.trailing_zeros() as usize];
            let group = (0..32).filter(|l| rest >> l & 1 == 1 && members[*l] == mask).fold(0, |g, l| g | 1 << l);
            rest &= !group;
            if group & !mask != 0 {
                let note = format!("lanes execute it that are not in its member mask 0x{mask:08x}");
                return Err(Violation::new(FaultKind::InvalidInstruction, group & !mask, note));
            }
            if group != mask & warp.live {
                incomplete |= group;
                continue;
            }
            execute(&mut warp.registers, inst, group);
            if inst.op == Op::WarpSync {
                block.memory.warp_sync(warp.index, group);
            }
        }
        if incomplete == 0 {
            return Ok(true);
        }
        if incomplete == lanes {
            warp.park(lanes);
            return Ok(false);
        }
        warp.splits.push(Split { pc: warp.pc, lanes: incomplete, parked: true });
        warp.lanes &= !incomplete;
        Ok(true)
    }
}

fn execute(r: &mut Registers, i: &Inst, lanes: u32) {
    match i.op {
        Op::Shuffle(kind) => shuffle(r, i, lanes, kind),
        Op::Vote(vote) => {
            let predicate = r.predicate(i.src[0]) ^ if i.negated { FULL } else { 0 };
            let (ballot, known) = (predicate & lanes, whole(r, i.src[0], lanes));
            let answer = match vote {
                Vote::Ballot => {
                    write(r, i.dst[0], lanes, &[ballot; 32]);
                    r.define(i.dst[0], lanes, known);
                    return;
                }
                Vote::Any => ballot != 0,
                Vote::All => ballot == lanes,
                Vote::Uniform => ballot == lanes || ballot == 0,
            };
            r.set_predicate(i.dst[0], lanes, if answer { FULL } else { 0 });
            r.define(i.dst[0], lanes, known);
        }
        Op::Redux(operation) => {
            let known = whole(r, i.src[0], lanes);
            let values = *r.word(i.src[0]);
            let members = (0..32).filter(|l| lanes >> l & 1 == 1).map(|l| values[l]);
            let result = members.reduce(|a, b| reduce(operation, i.ty == Type::S32, a, b)).unwrap_or(0);
            write(r, i.dst[0], lanes, &[result; 32]);
            r.define(i.dst[0], lanes, known);
        }
        Op::Match { all } => {
            let known = whole(r, i.src[0], lanes);
            let values: [u64; 32] = if i.ty.size() == 8 { *r.wide(i.src[0]) } else { r.word(i.src[0]).map(u64::from) };
            let equal = |lane: usize| {
                (0..32).filter(|l| lanes >> l & 1 == 1 && values[*l] == values[lane]).fold(0, |m, l| m | 1u32 << l)
            };
            let mut masks: [u32; 32] = std::array::from_fn(equal);
            if all {
                let same = masks[lanes.trailing_zeros() as usize] == lanes;
                masks = [if same { lanes } else { 0 }; 32];
                r.set_predicate(i.dst[1], lanes, if same { FULL } else { 0 });
                r.define(i.dst[1], lanes, known);
            }
            write(r, i.dst[0], lanes, &masks);
            r.define(i.dst[0], lanes, known);
        }
        Op::Elect => {
            let leader = lanes.trailing_zeros();
            write(r, i.dst[0], lanes, &[leader; 32]);
            r.set_predicate(i.dst[1], lanes, 1 << leader);
            i.dst.iter().for_each(|row| r.define(*row, lanes, FULL));
        }
        _ => {}
    }
}

/// All ones if a row is defined in all of `lanes`.
fn whole(r: &Registers, row: u32, lanes: u32) -> u32 {
    if r.defined(row) & lanes == lanes { FULL } else { 0 }
}

fn reduce(operation: Reduce, signed: bool, a: u32, b: u32) -> u32 {
    match operation {
        Reduce::Add => a.wrapping_add(b),
        Reduce::And => a & b,
        Reduce::Or => a | b,
        Reduce::Xor => a ^ b,
        Reduce::Min if signed => (a as i32).min(b as i32) as u32,
        Reduce::Max if signed => (a as i32).max(b as i32) as u32,
        Reduce::Min => a.min(b),
        _ => a.max(b),
    }
}

/// The lane that `lane` reads, and whether it lies within its segment.
fn source(kind: Shuffle, lane: u32, b: u32, c: u32) -> (u32, bool) {
    let (b, clamp, segment) = (b & 31, c & 31, c >> 8 & 31);
    let (first, last) = (lane & segment, lane & segment | clamp & !segment);
    let (source, inside) = match kind {
        Shuffle::Up => (lane.wrapping_sub(b), lane as i32 - b as i32 >= last as i32),
        Shuffle::Down => (lane + b, lane + b <= last),
        Shuffle::Butterfly => (lane ^ b, lane ^ b <= last),
        Shuffle::Index => (first | b & !segment, first | b & !segment <= last),
    };
    if inside { (source & 31, true) } else { (lane, false) }
}

/// A lane that reads from outside of the group gets an undefined value.
fn shuffle(r: &mut Registers, i: &Inst, lanes: u32, kind: Shuffle) {
    let [a, b, c] = [0, 1, 2].map(|k| *r.word(i.src[k]));
    let control = r.defined(i.src[1]) & r.defined(i.src[2]);
    let held = r.defined(i.src[0]) & lanes;
    let (mut values, mut inside, mut defined) = ([0; 32], 0, 0);
    for lane in 0..32u32 {
        let l = lane as usize;
        let (from, within) = source(kind, lane, b[l], c[l]);
        values[l] = a[from as usize];
        inside |= u32::from(within) << lane;
        defined |= (held >> from & 1) << lane;
    }
    write(r, i.dst[0], lanes, &values);
    r.define(i.dst[0], lanes, defined & control);
    r.set_predicate(i.dst[1], lanes, inside);
    r.define(i.dst[1], lanes, control);
}
