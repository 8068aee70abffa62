//! A launch: which block and which warp runs next, until the grid is done or a rule is broken.

use super::resident::{Grid, Resident};
use super::warp::State;
use super::{Function, Options, Random, Schedule};
use crate::decode::Program;
use crate::memory::{self, Checks};
use crate::ptx;
use crate::report::{Counters, Fault, FaultKind, Frame, Listing, Place, Profile, Violation};

/// What a launch asks for. That it fits the device is the driver's to check.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub shared_dynamic: usize,
    /// The parameter block: [`Function::param_bytes`] bytes.
    pub params: &'a [u8],
    /// All blocks must be resident at once.
    pub cooperative: bool,
}

/// A broken rule, where it was broken.
pub(super) struct Stop {
    pub(super) violation: Box<Violation>,
    pub(super) pc: u32,
}

/// What the interpreter needs at hand while a launch runs.
pub(super) struct Run<'a> {
    pub(super) program: &'a Program,
    pub(super) options: &'a Options,
    pub(super) params: &'a [u8],
    pub(super) memory: memory::Launch,
    pub(super) counters: Vec<Counters>,
    pub(super) random: Random,
    /// Warp instructions of the launch so far.
    pub(super) issued: u64,
}

/// Warp instructions of a turn when nothing is shuffled: long enough to cost nothing, short enough for spinning warps.
const TURN: u64 = 1 << 16;
/// A block that is still running after this many warp instructions gets company, twice as much each time they pass again: it may
/// wait for a block that has not started.
const PATIENCE: u64 = 1 << 19;
/// The company stops doubling here.
const DOUBLINGS: u64 = 12;

/// Runs the grid to its end on the calling thread.
///
/// # Errors
/// The first broken rule.
pub fn launch(function: &Function, launch: &Launch<'_>, options: &Options) -> Result<Profile, Box<Fault>> {
    let program = &*function.program;
    let checks = Checks { definedness: options.definedness, races: options.races };
    let grid = Grid { grid: launch.grid, block: launch.block, shared_dynamic: launch.shared_dynamic as u32 };
    let mut run = Run {
        program,
        options,
        params: launch.params,
        memory: memory::Launch::begin(checks.clone()),
        counters: vec![Counters::default(); program.insts.len()],
        random: Random(options.seed),
        issued: 0,
    };
    if launch.params.len() != program.param_bytes {
        let note = format!("the parameter block has {} bytes, not {}", launch.params.len(), program.param_bytes);
        let violation = Violation::new(FaultKind::InvalidInstruction, 0, note);
        return Err(run.fault(&grid, [0; 3], 0, Stop { violation, pc: program.start }));
    }
    let blocks = launch.grid.iter().map(|n| u64::from(*n)).product::<u64>();
    let started = thread_time();
    run.grid(&grid, &checks, blocks, launch.cooperative)?;
    if !options.profile {
        return Ok(Profile::default());
    }
    let nanoseconds = thread_time() - started;
    Ok(Profile { nanoseconds, ..Profile::new(&program.name, &run.counters, program, run.memory.footprint()) })
}

/// Processor time of this thread so far, in nanoseconds: other work on the machine does not count.
fn thread_time() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is where the call writes.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The numbers of the blocks, in the order in which they start.
fn order(blocks: u64, schedule: Schedule, random: &mut Random) -> impl Iterator<Item = u64> + use<> {
    // Shuffled: a stride that is coprime to the number of blocks visits each once.
    let (stride, first) = match schedule {
        Schedule::InOrder => (1, 0),
        Schedule::Shuffled => {
            let coprime = |s: &u64| gcd(*s, blocks) == 1;
            let stride = std::iter::repeat_with(|| 1 + random.next() % blocks).find(coprime).unwrap_or(1);
            (stride, random.next() % blocks)
        }
    };
    (0..blocks).map(move |n| ((u128::from(n) * u128::from(stride) + u128::from(first)) % u128::from(blocks)) as u64)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Run<'_> {
    fn grid(&mut self, grid: &Grid, checks: &Checks, blocks: u64, cooperative: bool) -> Result<(), Box<Fault>> {
        if blocks == 0 || grid.threads() == 0 {
            return Ok(());
        }
        let program = self.program;
        let mut waiting = order(blocks, self.options.schedule, &mut self.random);
        let least = if cooperative { blocks as usize } else { self.options.resident_blocks.max(1) as usize };
        let mut residents: Vec<Resident> = Vec::new();
        let mut idle: Vec<Resident> = Vec::new();
        loop {
            let oldest = residents.iter().map(|resident| resident.issued).max().unwrap_or(0);
            let room = least.saturating_mul(1 << (oldest / PATIENCE).min(DOUBLINGS));
            while residents.len() < room {
                let Some(number) = waiting.next() else { break };
                let mut resident = idle.pop().unwrap_or_else(|| Resident::new(program, grid, checks.clone()));
                resident.start(program, grid, number);
                residents.push(resident);
            }
            if residents.is_empty() {
                return Ok(());
            }
            let mut next = 0;
            while next < residents.len() {
                self.round(grid, &mut residents[next])?;
                if residents[next].is_done() {
                    idle.push(residents.swap_remove(next));
                } else {
                    next += 1;
                }
            }
        }
    }

    /// One turn for every warp of a block that can run.
    fn round(&mut self, grid: &Grid, resident: &mut Resident) -> Result<(), Box<Fault>> {
        let shuffled = self.options.schedule == Schedule::Shuffled;
        let count = resident.warps.len();
        let (first, stride) = if shuffled {
            let coprime = |s: &usize| gcd(*s as u64, count as u64) == 1;
            let random = &mut self.random;
            let stride = std::iter::repeat_with(|| 1 + random.below(count)).find(coprime).unwrap_or(1);
            (random.below(count), stride)
        } else {
            (0, 1)
        };
        let mut ran = false;
        for turn in 0..count {
            let index = (first + turn * stride) % count;
            let Some(mut warp) = resident.warps[index].take_if(|warp| warp.state == State::Ready) else { continue };
            ran = true;
            let length = if shuffled { 1 + self.random.next() % (1 << (2 + self.random.below(12))) } else { TURN };
            let before = self.issued;
            let result = self.turn(resident, &mut warp, length);
            resident.issued += self.issued - before;
            resident.warps[index] = Some(warp);
            if let Err(stop) = result {
                return Err(self.fault(grid, resident.position, index as u32, stop));
            }
            self.release(resident);
        }
        if !ran && !resident.is_done() {
            let (at, violation) = resident.memory.stuck();
            return Err(self.fault(grid, resident.position, at.warp, Stop { violation, pc: at.pc }));
        }
        if self.options.watchdog != 0 && self.issued > self.options.watchdog {
            return Err(self.hang(grid, resident));
        }
        Ok(())
    }

    /// Lets the warps go on whose barrier is complete.
    fn release(&mut self, resident: &mut Resident) {
        let mut released = resident.memory.released();
        while released != 0 {
            let index = released.trailing_zeros();
            released &= released - 1;
            let answer = resident.memory.reduced(index);
            if let Some(warp) = &mut resident.warps[index as usize] {
                warp.state = State::Ready;
                self.barrier_result(warp, answer);
            }
        }
    }

    fn hang(&self, grid: &Grid, resident: &Resident) -> Box<Fault> {
        let warp = resident.warps.iter().flatten().find(|warp| warp.state == State::Ready);
        let (index, pc, lanes) = warp.map_or((0, self.program.start, 0), |warp| (warp.index, warp.pc, warp.lanes));
        let note = format!("no end after {} warp instructions", self.issued);
        let violation = Violation::new(FaultKind::Hang, lanes, note);
        let mut fault = self.fault(grid, resident.position, index, Stop { violation, pc });
        for other in resident.warps.iter().flatten().filter(|warp| warp.index != index && warp.state != State::Done) {
            let line = self.program.ptx_line(other.pc.saturating_sub(1));
            let what = if other.state == State::AtBarrier { "waits at the barrier at" } else { "runs near" };
            fault.note(format!("warp {} {what} PTX line {line}", other.index));
        }
        fault
    }

    fn fault(&self, grid: &Grid, block: [u32; 3], warp: u32, stop: Stop) -> Box<Fault> {
        let place =
            Place { kernel: &self.program.name, block, block_dim: grid.block, grid_dim: grid.grid, warp, pc: stop.pc };
        Box::new(Fault::new(*stop.violation, &place, self.program))
    }
}

impl Listing for Program {
    fn ptx_line(&self, pc: u32) -> u32 {
        self.insts.get(pc as usize).map_or(0, |inst| inst.line)
    }

    fn ptx_text(&self, pc: u32) -> String {
        let line = self.ptx_line(pc) as usize;
        self.module.text.get(line.wrapping_sub(1)).map_or_else(String::new, |text| text.trim().to_owned())
    }

    fn frames(&self, pc: u32) -> Vec<Frame> {
        let Some(inst) = self.insts.get(pc as usize) else { return Vec::new() };
        let locations = &self.module.functions[inst.function as usize].locations;
        let chain = std::iter::successors(Some(inst.location), |l| locations[*l as usize].inlined_at);
        let known = chain.map(|l| &locations[l as usize]).filter(|l| l.file != 0);
        let frame = |location: &ptx::Location| Frame {
            file: self.module.files.get(&location.file).cloned().unwrap_or_default(),
            line: location.line,
            function: (!location.function.is_empty()).then(|| location.function.clone()),
            source: None,
        };
        known.map(frame).collect()
    }
}
