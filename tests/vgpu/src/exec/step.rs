//! The turn of a warp: fetch, guard, control flow, and the dispatch to what computes.

use super::launch::{Run, Stop};
use super::registers::{FULL, Registers, write};
use super::resident::Resident;
use super::warp::{Split, State, Warp};
use super::{Options, arithmetic, bits, compare, convert, special};
use crate::decode::{BarrierReduce, Inst, Op};
use crate::memory::{At, Space};
use crate::report::{Checked, FaultKind, Violation};
use crate::sync::{Arrival, Step};
use crate::tensor;

/// Warp instructions after which a warp whose lanes diverged runs other lanes, whatever their place.
const DIVERGED_TURN: u64 = 1 << 11;

/// What the running split does after an instruction.
enum Next {
    /// Goes on behind it.
    Advance,
    /// The instruction has set the place, or parked the lanes.
    Moved,
    /// The warp waits at a barrier.
    Wait,
}

impl Run<'_> {
    /// Runs the warp until it waits, is done, or has executed `length` instructions.
    #[cfg(not(target_arch = "x86_64"))]
    pub(super) fn turn(&mut self, block: &mut Resident, warp: &mut Warp, length: u64) -> Result<(), Stop> {
        self.turn_anywhere(block, warp, length)
    }

    /// Runs the warp until it waits, is done, or has executed `length` instructions. Compiled once, for machines with AVX2: a
    /// second copy of the interpreter would double the time to build it.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn turn(&mut self, block: &mut Resident, warp: &mut Warp, length: u64) -> Result<(), Stop> {
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("bmi2") {
            // SAFETY: the machine has these features; all that have them have the others that `turn_avx2` names.
            return unsafe { self.turn_avx2(block, warp, length) };
        }
        let note = "the virtual GPU needs a processor with AVX2 and FMA";
        Err(Stop { violation: Violation::new(FaultKind::Unsupported, 0, note), pc: warp.pc })
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt,lzcnt,f16c")]
    fn turn_avx2(&mut self, block: &mut Resident, warp: &mut Warp, length: u64) -> Result<(), Stop> {
        self.turn_anywhere(block, warp, length)
    }

    #[inline(always)]
    fn turn_anywhere(&mut self, block: &mut Resident, warp: &mut Warp, length: u64) -> Result<(), Stop> {
        // Lanes apart from each other may wait for each other: short turns let all of them run.
        let length = if warp.splits.is_empty() { length } else { length.min(DIVERGED_TURN) };
        let limit = self.issued + length;
        let program = self.program;
        loop {
            if warp.pc >= warp.merge_at || warp.lanes == 0 {
                warp.reschedule(None);
                if warp.lanes == 0 {
                    return self.nobody_runs(warp);
                }
            }
            if self.issued >= limit {
                if !warp.splits.is_empty() {
                    warp.reschedule(Some(&mut self.random));
                }
                return Ok(());
            }
            self.issued += 1;
            let pc = warp.pc;
            let inst = &program.insts[pc as usize];
            match self.instruction(block, warp, inst) {
                Ok(Next::Advance) => warp.pc += 1,
                Ok(Next::Moved) => {}
                Ok(Next::Wait) => {
                    warp.pc += 1;
                    warp.state = State::AtBarrier;
                    return Ok(());
                }
                Err(violation) => return Err(Stop { violation, pc }),
            }
        }
    }

    /// No split can run: the warp is done, or lanes wait for others that never come.
    #[cold]
    fn nobody_runs(&self, warp: &mut Warp) -> Result<(), Stop> {
        let Some(split) = warp.splits.first().copied() else {
            warp.state = State::Done;
            return Ok(());
        };
        let elsewhere = warp.splits.iter().skip(1);
        let places: Vec<String> = elsewhere
            .map(|s| format!("lanes 0x{:08x} wait at PTX line {}", s.lanes, self.program.insts[s.pc as usize].line))
            .collect();
        let mut note = format!("lanes 0x{:08x} wait here for lanes that never come", split.lanes);
        let exited = !warp.live;
        if exited != 0 {
            note += &format!("; lanes 0x{exited:08x} have left the kernel");
        }
        for place in places {
            note += "; ";
            note += &place;
        }
        let violation = Violation::new(FaultKind::AbsentLanes, split.lanes, note);
        Err(Stop { violation, pc: split.pc })
    }

    #[inline(always)]
    fn instruction(&mut self, block: &mut Resident, warp: &mut Warp, inst: &Inst) -> Checked<Next> {
        let mut lanes = warp.lanes;
        if inst.guard != crate::decode::TRUE {
            let undefined = lanes & !warp.registers.defined(inst.guard);
            self.options.definedness.check_branch(undefined)?;
            lanes &= warp.registers.predicate(inst.guard) ^ if inst.guard_negated { FULL } else { 0 };
        }
        self.counters[warp.pc as usize].issue(lanes);
        if inst.op == Op::Branch {
            jump(warp, lanes, inst.target);
            return Ok(Next::Moved);
        }
        if lanes == 0 {
            return Ok(Next::Advance);
        }
        match inst.op {
            Op::Load(access) => self.load(block, warp, inst, access, lanes)?,
            Op::Store(access) => self.store(block, warp, inst, access, lanes)?,
            Op::Mma(mma) => {
                if !self.whole_warp(warp, lanes)? {
                    return Ok(Next::Moved);
                }
                self.counters[warp.pc as usize].flops += tensor::flops(mma);
                tensor::multiply(&mut warp.registers, inst, mma, self.options.tensor);
                tensor::defined(&mut warp.registers, inst, mma);
            }
            Op::LoadMatrix { .. } | Op::StoreMatrix { .. } | Op::MoveMatrix => {
                if !self.whole_warp(warp, lanes)? {
                    return Ok(Next::Moved);
                }
                self.matrix(block, warp, inst)?;
            }
            Op::AsyncCopy { partial } => self.async_copy(block, warp, inst, partial, lanes)?,
            Op::AsyncCommit => block.memory.cp_commit(warp.index, lanes),
            Op::AsyncWait => block.memory.cp_wait(warp.index, lanes, inst.imm),
            Op::AsyncWaitAll => block.memory.cp_wait_all(warp.index, lanes),
            Op::Select => {
                compare::execute(&mut warp.registers, inst, lanes);
                warp.registers.propagate_select(inst, lanes);
            }
            Op::Shuffle(_) | Op::Vote(_) | Op::Match { .. } | Op::Redux(_) | Op::Elect | Op::WarpSync => {
                return self
                    .collective(block, warp, inst, lanes)
                    .map(|here| if here { Next::Advance } else { Next::Moved });
            }
            Op::Atomic(operation, space, strong) => self.atomic(block, warp, inst, operation, space, strong, lanes)?,
            Op::Fence(scope) => block.memory.fence(warp.index, scope),
            Op::Nop => {}
            Op::ActiveMask => {
                write(&mut warp.registers, inst.dst[0], lanes, &[lanes; 32]);
                warp.registers.define(inst.dst[0], lanes, FULL);
            }
            Op::Clock => {
                if inst.ty.size() == 8 {
                    write(&mut warp.registers, inst.dst[0], lanes, &[self.issued; 32]);
                } else {
                    write(&mut warp.registers, inst.dst[0], lanes, &[self.issued as u32; 32]);
                }
                warp.registers.define(inst.dst[0], lanes, FULL);
            }
            Op::Barrier { .. }
            | Op::BranchIndexed
            | Op::Call
            | Op::Return
            | Op::Exit
            | Op::CallPrintf
            | Op::Trap
            | Op::Assert
            | Op::Unsupported => return self.control(block, warp, inst, lanes),
            _ => {
                lanewise(&mut warp.registers, inst, lanes, &mut warp.carry, self.options);
                warp.registers.propagate(inst, lanes);
            }
        }
        Ok(Next::Advance)
    }

    /// Whether the whole warp is here. If not, the lanes are parked until it is.
    #[inline(always)]
    fn whole_warp(&self, warp: &mut Warp, lanes: u32) -> Checked<bool> {
        if lanes == FULL {
            return Ok(true);
        }
        if lanes == warp.live {
            let note = "the instruction needs all 32 lanes of the warp";
            return Err(Violation::new(FaultKind::AbsentLanes, lanes, note));
        }
        warp.park(lanes);
        Ok(false)
    }

    fn control(&mut self, block: &mut Resident, warp: &mut Warp, inst: &Inst, lanes: u32) -> Checked<Next> {
        let fail = |kind, note: &str| Err(Violation::new(kind, lanes, note));
        match inst.op {
            Op::Barrier { wait, counted, reduce, .. } => {
                return self.barrier(block, warp, inst, lanes, (wait, counted, reduce));
            }
            Op::BranchIndexed => {
                self.options.definedness.check_branch(lanes & !warp.registers.defined(inst.src[0]))?;
                let index = *warp.registers.word(inst.src[0]);
                let target = |lane: usize| inst.list.get(index[lane] as usize).copied();
                return match scatter(warp, lanes, target) {
                    true => Ok(Next::Moved),
                    false => fail(FaultKind::InvalidInstruction, "the index lies outside of the table of branches"),
                };
            }
            Op::Call => {
                write(&mut warp.registers, inst.dst[0], lanes, &[warp.pc + 1; 32]);
                jump(warp, lanes, inst.target);
            }
            Op::Return => {
                let places = *warp.registers.word(inst.src[0]);
                scatter(warp, lanes, |lane| Some(places[lane]));
            }
            Op::Exit => {
                warp.live &= !lanes;
                warp.lanes &= !lanes;
                block.memory.exit(warp.index, lanes);
                warp.unpark();
                warp.pc += 1;
            }
            Op::CallPrintf => {
                if inst.imm == 1 {
                    let addresses = [inst.offset as u64; 32];
                    let at = At { warp: warp.index, pc: warp.pc, lanes };
                    let access = block.memory.store(&mut self.memory, at, Space::Local, &addresses, 4)?;
                    for pointer in access.pointer.iter().filter(|p| !p.is_null()) {
                        // SAFETY: the store was permitted for four bytes at every lane's pointer.
                        unsafe { pointer.cast::<u32>().write(0) };
                    }
                }
                warp.pc += 1;
            }
            Op::Trap => return fail(FaultKind::Trap, ""),
            Op::Assert => return fail(FaultKind::Assert, ""),
            _ => return fail(FaultKind::Unsupported, "this instruction, or this form of it, is not implemented"),
        }
        Ok(Next::Moved)
    }

    fn barrier(
        &mut self,
        block: &mut Resident,
        warp: &mut Warp,
        inst: &Inst,
        lanes: u32,
        (wait, counted, reduce): (bool, bool, Option<BarrierReduce>),
    ) -> Checked<Next> {
        if lanes != warp.live {
            warp.park(lanes);
            return Ok(Next::Moved);
        }
        let first = lanes.trailing_zeros() as usize;
        let (ids, counts) = (warp.registers.word(inst.src[0]), warp.registers.word(inst.src[1]));
        let (id, count) = (ids[first], counts[first]);
        let uniform = |lane: usize| lanes >> lane & 1 == 0 || (ids[lane] == id && (!counted || counts[lane] == count));
        if !(0..32).all(uniform) {
            let note = "lanes of one warp name different barriers or counts";
            return Err(Violation::new(FaultKind::InvalidInstruction, lanes, note));
        }
        let predicate = match reduce {
            Some(_) => warp.registers.predicate(inst.src[2]) ^ if inst.negated { FULL } else { 0 },
            None => 0,
        };
        let at = At { warp: warp.index, pc: warp.pc, lanes };
        let arrival = Arrival { id, threads: counted.then_some(count), wait, predicate: predicate & lanes };
        match block.memory.barrier(at, arrival)? {
            Step::Wait => Ok(Next::Wait),
            Step::Continue => {
                warp.pc += 1;
                self.barrier_result(warp, block.memory.reduced(warp.index));
                Ok(Next::Moved)
            }
        }
    }

    /// The warp has passed the barrier in front of its place: what `bar.red` answers.
    pub(super) fn barrier_result(&self, warp: &mut Warp, (count, all, any): (u32, bool, bool)) {
        let inst = &self.program.insts[warp.pc as usize - 1];
        let Op::Barrier { reduce: Some(reduce), .. } = inst.op else { return };
        let (row, lanes) = (inst.dst[0], warp.live);
        match reduce {
            BarrierReduce::Count => write(&mut warp.registers, row, lanes, &[count; 32]),
            BarrierReduce::And => warp.registers.set_predicate(row, lanes, if all { FULL } else { 0 }),
            BarrierReduce::Or => warp.registers.set_predicate(row, lanes, if any { FULL } else { 0 }),
        }
        warp.registers.define(row, lanes, FULL);
    }
}

/// Everything that computes a lane from the same lane.
#[inline(always)]
fn lanewise(r: &mut Registers, inst: &Inst, lanes: u32, carry: &mut u32, options: &Options) {
    if let Op::Bits(op) = inst.op {
        bits::execute(r, inst, lanes, op);
        return;
    }
    let done = arithmetic::execute(r, inst, lanes, carry)
        || compare::execute(r, inst, lanes)
        || convert::execute(r, inst, lanes)
        || special::execute(r, inst, lanes, options);
    debug_assert!(done, "no module executes {:?}", inst.op);
}

/// `lanes` of the running split go to `target`, the others behind the instruction.
#[inline(always)]
fn jump(warp: &mut Warp, lanes: u32, target: u32) {
    if lanes == 0 {
        warp.pc += 1;
    } else if lanes == warp.lanes {
        warp.pc = target;
        if !warp.splits.is_empty() {
            warp.reschedule(None);
        }
    } else {
        warp.diverge(lanes, target);
    }
}

/// Each lane goes to its own place; false if one has none.
fn scatter(warp: &mut Warp, lanes: u32, target: impl Fn(usize) -> Option<u32>) -> bool {
    let mut rest = lanes;
    while rest != 0 {
        let Some(pc) = target(rest.trailing_zeros() as usize) else { return false };
        let same = (0..32).filter(|l| rest >> l & 1 == 1 && target(*l) == Some(pc));
        let together = same.fold(0, |mask, lane| mask | 1 << lane);
        warp.splits.push(Split { pc, lanes: together, parked: false });
        rest &= !together;
    }
    warp.lanes &= !lanes;
    warp.pc += 1;
    warp.reschedule(None);
    true
}
