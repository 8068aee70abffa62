//! The sixteen named barriers of a block.

use super::Clocks;
use super::clocks::Joined;
use crate::memory::{At, Lanes};
use crate::report::{Checked, FaultKind, Other, Violation};

/// A warp's arrival at a barrier.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Which of the sixteen.
    pub id: u32,
    /// Threads that take part; `None` for all of the block.
    pub threads: Option<u32>,
    /// Whether the warp waits (`bar.sync`, `bar.red`) or goes on (`bar.arrive`).
    pub wait: bool,
    /// Lanes whose predicate holds, for `bar.red`.
    pub predicate: u32,
}

/// What a warp does after it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It goes on.
    Continue,
    /// It waits until it is released.
    Wait,
}

#[derive(Clone, Copy, Default)]
struct Barrier {
    /// Warps that the barrier waits for; zero when nobody has arrived.
    expected: u32,
    arrived: u32,
    waiting: u32,
    /// The first arrival's instruction and warp.
    first: (u32, u32),
    lanes: u32,
    population: u32,
    all: bool,
}

/// The barriers of one block.
pub struct Barriers {
    threads: u32,
    barriers: [Barrier; 16],
    joined: [Option<Box<Joined>>; 16],
    /// Lanes that left the kernel, per warp, and the lanes that the warp had.
    exited: [u32; 32],
    members: [u32; 32],
    released: u32,
    /// `bar.red` results by warp.
    reduced: [(u32, bool, bool); 32],
}

impl Barriers {
    pub fn new(threads: u32) -> Barriers {
        let members = std::array::from_fn(|warp| lanes_of(threads, warp as u32));
        Barriers {
            threads,
            barriers: [Barrier::default(); 16],
            joined: Default::default(),
            exited: [0; 32],
            members,
            released: 0,
            reduced: [(0, false, false); 32],
        }
    }

    pub fn reset(&mut self) {
        *self = Barriers::new(self.threads);
    }

    pub fn exit(&mut self, warp: u32, lanes: u32) {
        self.exited[warp as usize] |= lanes;
    }

    pub fn take_released(&mut self) -> u32 {
        std::mem::take(&mut self.released)
    }

    pub fn reduced(&self, warp: u32) -> (u32, bool, bool) {
        self.reduced[warp as usize]
    }

    pub fn arrive(&mut self, at: At, arrival: Arrival, clocks: &mut Clocks) -> Checked<Step> {
        let warps = self.threads.div_ceil(32);
        let expected = self.expected(at, arrival, warps)?;
        self.check_lanes(at, arrival)?;
        let barrier = &mut self.barriers[arrival.id as usize];
        let bit = 1 << at.warp;
        if barrier.arrived != 0 && barrier.expected != expected {
            let note = format!(
                "barrier {} with {} threads, while others wait at it with {} threads",
                arrival.id,
                expected * 32,
                barrier.expected * 32
            );
            let (pc, warp) = barrier.first;
            let other = Other { pc, block: None, warp: Some(warp), lane: None, what: "first arrival" };
            return Err(Violation::new(FaultKind::BarrierCount, at.lanes, note).with(other));
        }
        if barrier.arrived & bit != 0 {
            let note =
                format!("barrier {}: this warp arrives a second time before the barrier is complete", arrival.id);
            return Err(Violation::new(FaultKind::BarrierDivergence, at.lanes, note));
        }
        if barrier.arrived == 0 {
            *barrier = Barrier { expected, first: (at.pc, at.warp), all: true, ..Barrier::default() };
        }
        barrier.arrived |= bit;
        barrier.lanes += at.lanes.count_ones();
        barrier.population += (arrival.predicate & at.lanes).count_ones();
        barrier.all &= arrival.predicate & at.lanes == at.lanes;
        if arrival.wait {
            barrier.waiting |= bit;
        }
        let joined = self.joined[arrival.id as usize].get_or_insert_with(Default::default);
        clocks.arrive(at.warp, joined, arrival.wait);
        if barrier.arrived.count_ones() < expected {
            return Ok(if arrival.wait { Step::Wait } else { Step::Continue });
        }
        let done = std::mem::take(barrier);
        if let Some(joined) = self.joined[arrival.id as usize].take() {
            clocks.complete(done.waiting, &joined);
        }
        for warp in Lanes(done.waiting) {
            self.reduced[warp] = (done.population, done.all, done.population != 0);
        }
        self.released |= done.waiting & !bit;
        Ok(Step::Continue)
    }

    /// The warps that the barrier waits for.
    fn expected(&self, at: At, arrival: Arrival, warps: u32) -> Checked<u32> {
        let fail = |kind, note: String| Err(Violation::new(kind, at.lanes, note));
        if arrival.id >= 16 {
            return fail(FaultKind::InvalidInstruction, format!("barrier {}: there are sixteen, 0 to 15", arrival.id));
        }
        let Some(threads) = arrival.threads else { return Ok(warps) };
        if threads == 0 || !threads.is_multiple_of(32) {
            let note = format!("barrier {} with {threads} threads: the count must be a multiple of 32", arrival.id);
            return fail(FaultKind::BarrierCount, note);
        }
        if threads / 32 > warps {
            let note = format!("barrier {} with {threads} threads in a block of {}", arrival.id, self.threads);
            return fail(FaultKind::BarrierCount, note);
        }
        Ok(threads / 32)
    }

    fn check_lanes(&self, at: At, arrival: Arrival) -> Checked<()> {
        let (members, exited) = (self.members[at.warp as usize], self.exited[at.warp as usize]);
        if at.lanes == members {
            return Ok(());
        }
        let note = if exited & members != 0 {
            format!("barrier {}: lanes 0x{:08x} of this warp left the kernel before it", arrival.id, exited & members)
        } else {
            format!("barrier {}: lanes 0x{:08x} of this warp are elsewhere", arrival.id, members & !at.lanes)
        };
        Err(Violation::new(FaultKind::BarrierDivergence, at.lanes, note))
    }

    /// Nobody can go on: the first warp that waits in vain, and the fault that names them all.
    pub fn stuck(&self) -> (At, Box<Violation>) {
        let warps = |mask: u32| Lanes(mask).map(|warp| warp.to_string()).collect::<Vec<_>>().join(" ");
        let is_gone = |warp: &u32| {
            let members = self.members[*warp as usize];
            members != 0 && self.exited[*warp as usize] & members == members
        };
        let gone = (0..32).filter(is_gone).fold(0, |warps, warp| warps | 1 << warp);
        let mut notes = Vec::new();
        let mut first = None;
        for (id, barrier) in self.barriers.iter().enumerate().filter(|(_, barrier)| barrier.waiting != 0) {
            first.get_or_insert(barrier.first);
            let (arrived, expected) = (barrier.arrived.count_ones() * 32, barrier.expected * 32);
            let who = warps(barrier.arrived);
            notes
                .push(format!("barrier {id}: {arrived} of {expected} threads arrived (warps {who}), nobody else will"));
        }
        if gone != 0 {
            notes.push(format!("warps {} left the kernel", warps(gone)));
        }
        let (pc, warp) = first.unwrap_or_default();
        let at = At { warp, pc, lanes: self.members[warp as usize] };
        (at, Violation::new(FaultKind::BarrierDivergence, at.lanes, notes.join("; ")))
    }
}

/// The lanes that a warp of a block of `threads` has.
pub(crate) fn lanes_of(threads: u32, warp: u32) -> u32 {
    match threads.saturating_sub(warp * 32) {
        0 => 0,
        count @ 1..32 => (1 << count) - 1,
        _ => !0,
    }
}
