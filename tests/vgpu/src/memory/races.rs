//! A block's accesses as the race checks see them.

use super::block::Use;
use super::buffer::describe;
use super::{At, Block, Lanes, Launch, arena};
use crate::report::{Checked, FaultKind, Other, Violation};
use crate::sync::{Actor, COLLECTIVE, Earlier, Scope, Strong, StrongKind, Touch};

impl Use {
    fn touch(self) -> Touch {
        match self {
            Use::Read => Touch::Read,
            Use::Write => Touch::Write,
            Use::Strong(Strong { kind, scope, .. }) => Touch::Strong {
                writes: kind != StrongKind::Load,
                updates: kind == StrongKind::Update,
                cta: scope == Scope::Cta,
            },
        }
    }

    fn title(self) -> &'static str {
        match self {
            Use::Read => "read",
            Use::Write => "write",
            Use::Strong(Strong { kind: StrongKind::Load, .. }) => "strong load",
            Use::Strong(_) => "atomic or strong store",
        }
    }
}

impl Block {
    /// Checks an access to shared memory that is in bounds. `clash` are lanes that write to the same bytes in one instruction,
    /// which is not a matter of order.
    #[inline(always)]
    pub(super) fn shared_races<const SIZE: u32>(
        &mut self,
        at: At,
        offsets: &[u64; 32],
        usage: Use,
        clash: u32,
        collective: bool,
    ) -> Checked<()> {
        let touch = usage.touch();
        let mut actor = Actor { clocks: &self.clocks, warp: at.warp, lane: COLLECTIVE, pc: at.pc };
        let twice =
            |lane: usize| clash >> lane & 1 == 1 && Lanes(clash).any(|l| l < lane && offsets[l] == offsets[lane]);
        for lane in Lanes(at.lanes) {
            if clash != 0 && twice(lane) {
                continue;
            }
            if !collective {
                actor.lane = lane as u8;
            }
            if let Err(earlier) = self.races.touch::<SIZE>(offsets[lane] as u32, touch, &actor) {
                return Err(self.shared_race(at, lane, offsets[lane], usage, earlier));
            }
        }
        if let Use::Strong(strong) = usage {
            let mut last = None;
            for lane in Lanes(at.lanes).filter(|lane| last.replace(offsets[*lane]) != Some(offsets[*lane])) {
                self.locations.operate(offsets[lane], at.warp, strong, &mut self.clocks);
            }
        }
        Ok(())
    }

    #[cold]
    fn shared_race(&self, at: At, lane: usize, offset: u64, usage: Use, earlier: Earlier) -> Box<Violation> {
        let within = earlier.warp == Some(at.warp);
        let kind = if within { FaultKind::WarpRace } else { FaultKind::SharedRace };
        let missing = if within { "warp-level synchronisation" } else { "barrier" };
        let place = describe(&self.regions, offset);
        let note = format!("{} after {} without a {missing} between them: {place}", usage.title(), earlier.what);
        Violation::new(kind, 1 << lane, note).with(other(earlier))
    }

    /// A copy of one lane lands in shared memory. Nobody can have touched the bytes since it was issued.
    pub(super) fn land<const SIZE: u32>(&mut self, at: At, lane: usize, offset: u32) {
        let actor = Actor { clocks: &self.clocks, warp: at.warp, lane: lane as u8, pc: at.pc };
        let landed = self.races.touch::<SIZE>(offset, Touch::Write, &actor);
        debug_assert!(landed.is_ok(), "{landed:?}");
    }

    /// Checks an access to global memory that is in bounds.
    #[inline(always)]
    pub(super) fn global_races<const SIZE: u32>(
        &mut self,
        launch: &mut Launch,
        at: At,
        addresses: &[u64; 32],
        usage: Use,
    ) -> Checked<()> {
        let touch = usage.touch();
        let actor = Actor { clocks: &self.clocks, warp: at.warp, lane: 0, pc: at.pc };
        let Some(races) = launch.races() else { return Ok(()) };
        // Neighbouring lanes mostly access neighbouring bytes: one touch for all of these.
        let mut lanes = Lanes(at.lanes).peekable();
        while let Some(first) = lanes.next() {
            let mut bytes = SIZE;
            let adjoins =
                |lane: &usize, bytes: u32| addresses[*lane] == addresses[first].wrapping_add(u64::from(bytes));
            while lanes.next_if(|lane| adjoins(lane, bytes)).is_some() {
                bytes += SIZE;
            }
            let offset = arena().offset(addresses[first]) as u64;
            if let Err((earlier, sector)) = races.touch(offset, bytes, touch, &actor) {
                return Err(global_race::<SIZE>(at, addresses, usage, earlier, sector));
            }
        }
        if let Use::Strong(strong) = usage {
            let mut last = None;
            for lane in Lanes(at.lanes).filter(|lane| last.replace(addresses[*lane]) != Some(addresses[*lane])) {
                launch.locations.operate(addresses[lane], at.warp, strong, &mut self.clocks);
            }
        }
        Ok(())
    }
}

#[cold]
fn global_race<const SIZE: u32>(
    at: At,
    addresses: &[u64; 32],
    usage: Use,
    earlier: Earlier,
    sector: u64,
) -> Box<Violation> {
    let (start, end) = (sector, (sector & !31) + 32);
    let inside = |lane: &usize| {
        let offset = arena().offset(addresses[*lane]) as u64;
        offset < end && offset + u64::from(SIZE) > start
    };
    let lanes = Lanes(at.lanes).filter(inside).fold(0u32, |lanes, lane| lanes | 1 << lane);
    let place = arena().describe(addresses[lanes.trailing_zeros() as usize & 31]);
    let between = if earlier.block.is_some() { "blocks" } else { "warps" };
    let note = format!("{} after {}, and nothing orders the {between}: {place}", usage.title(), earlier.what);
    Violation::new(FaultKind::GlobalRace, lanes, note).with(Other { lane: None, ..other(earlier) })
}

fn other(earlier: Earlier) -> Other {
    let Earlier { what, pc, block, warp, lane } = earlier;
    Other { pc, block, warp, lane, what }
}
