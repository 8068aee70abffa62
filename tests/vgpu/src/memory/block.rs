//! One resident block: its shared and local memory, asynchronous copies, barriers and clocks.

use super::buffer::{Buffer, Found, Region, describe};
use super::copies::{Copies, Copy};
use super::traffic::{sectors, wavefronts};
use super::{Access, At, Checks, CopyTraffic, Definedness, Lanes, Launch, Space};
use super::{check_aligned, clashes, global, shadow};
use crate::report::{Checked, FaultKind, Other, Violation};
use crate::sync::{Arrival, Barriers, Clocks, Locations, Scope, SharedRaces, Step, Strong, StrongKind, lanes_of};

/// The launch's shape as far as a block's memory depends on it.
pub struct BlockShape {
    /// Threads of a block.
    pub threads: u32,
    /// The variables of shared memory and its dynamic part.
    pub shared: Vec<Region>,
    /// Bytes of local memory per thread.
    pub local: u32,
}

/// One resident block. Reused for the blocks of a launch, one after another, by [`Block::start`].
pub struct Block {
    pub(super) checks: Checks,
    threads: u32,
    pub(super) regions: Vec<Region>,
    shared: Buffer,
    local_bytes: u32,
    warps: Vec<Warp>,
    barriers: Barriers,
    pub(super) clocks: Clocks,
    pub(super) races: SharedRaces,
    /// What strong operations on shared memory have released.
    pub(super) locations: Locations,
}

struct Warp {
    local: Buffer,
    copies: Copies,
    live: u32,
}

/// Calls a function with a constant access size, so that each size gets its own code.
macro_rules! sized {
    ($size:expr, $($call:ident).+ ($($argument:expr),*)) => {
        match $size {
            1 => $($call).+::<1>($($argument),*),
            2 => $($call).+::<2>($($argument),*),
            4 => $($call).+::<4>($($argument),*),
            8 => $($call).+::<8>($($argument),*),
            _ => $($call).+::<16>($($argument),*),
        }
    };
}

/// What an access does to the bytes.
#[derive(Clone, Copy)]
pub(super) enum Use {
    Read,
    Write,
    Strong(Strong),
}

impl Use {
    pub(super) fn reads(self) -> bool {
        match self {
            Use::Read => true,
            Use::Write => false,
            Use::Strong(strong) => strong.kind != StrongKind::Store,
        }
    }

    pub(super) fn writes(self) -> bool {
        match self {
            Use::Read => false,
            Use::Write => true,
            Use::Strong(strong) => strong.kind != StrongKind::Load,
        }
    }
}

impl Block {
    /// A block that has not started.
    pub fn new(shape: BlockShape, checks: Checks) -> Block {
        let warps = shape.threads.div_ceil(32);
        let warp = |_| Warp { local: Buffer::new(&local_regions(shape.local)), copies: Copies::default(), live: 0 };
        let shared = Buffer::new(&shape.shared);
        Block {
            checks,
            races: SharedRaces::new(shared.bytes()),
            locations: Locations::default(),
            shared,
            local_bytes: shape.local,
            threads: shape.threads,
            warps: (0..warps).map(warp).collect(),
            barriers: Barriers::new(shape.threads),
            clocks: Clocks::new(warps as usize),
            regions: shape.shared,
        }
    }

    /// Begins the `block`-th block: all memory undefined, all barriers empty, all threads alive.
    pub fn start(&mut self, block: u32) {
        self.shared.reset();
        self.barriers.reset();
        self.clocks.start(block);
        self.races.start();
        self.locations.clear();
        for (index, warp) in self.warps.iter_mut().enumerate() {
            warp.local.reset();
            warp.copies.clear();
            warp.live = lanes_of(self.threads, index as u32);
        }
    }

    /// A plain load of `size` bytes per lane.
    ///
    /// # Errors
    /// The broken rule. Undefined bytes are none: they are lanes of [`Access::undefined`].
    #[inline]
    pub fn load(&mut self, l: &mut Launch, at: At, space: Space, from: &[u64; 32], size: u32) -> Checked<Access> {
        sized!(size, self.access(l, at, space, from, Use::Read))
    }

    /// A plain store of `size` bytes per lane, which become defined; the data is the caller's to write.
    ///
    /// # Errors
    /// The broken rule.
    #[inline]
    pub fn store(&mut self, l: &mut Launch, at: At, space: Space, to: &[u64; 32], size: u32) -> Checked<Access> {
        sized!(size, self.access(l, at, space, to, Use::Write))
    }

    /// A strong operation: an atomic update, or a volatile, relaxed, acquiring or releasing load or store.
    ///
    /// # Errors
    /// The broken rule; an update of undefined bytes is one.
    pub fn strong(
        &mut self,
        l: &mut Launch,
        at: At,
        space: Space,
        addresses: &[u64; 32],
        size: u32,
        op: Strong,
    ) -> Checked<Access> {
        let access: Access = sized!(size, self.access(l, at, space, addresses, Use::Strong(op)))?;
        if op.kind == StrongKind::Update && access.undefined != 0 && self.checks.definedness != Definedness::Off {
            let address = addresses[access.undefined.trailing_zeros() as usize];
            let note = format!("the updated memory holds no data: {}", self.describe(space, address));
            return Err(Violation::new(FaultKind::UndefinedAtomic, access.undefined, note));
        }
        Ok(access)
    }

    /// `ldmatrix`: 16-byte rows at the addresses of the lanes `rows`, read by the warp as one.
    ///
    /// # Errors
    /// The broken rule.
    pub fn load_matrix(&mut self, at: At, addresses: &[u64; 32], rows: u32) -> Checked<Access> {
        self.shared_access::<16>(At { lanes: rows, ..at }, addresses, Use::Read, true)
    }

    /// `stmatrix`: 16-byte rows at the addresses of the lanes `rows`, written by the warp as one.
    ///
    /// # Errors
    /// The broken rule.
    pub fn store_matrix(&mut self, at: At, addresses: &[u64; 32], rows: u32) -> Checked<Access> {
        self.shared_access::<16>(At { lanes: rows, ..at }, addresses, Use::Write, true)
    }

    /// Lanes whose bytes at `offset` from their address hold an undefined one. The access must have passed its check.
    pub fn undefined(&self, space: Space, warp: u32, addresses: &[u64; 32], lanes: u32, offset: u32, size: u32) -> u32 {
        let buffer = match space {
            Space::Global => return global::undefined(addresses, lanes, offset, size),
            Space::Shared => &self.shared,
            Space::Local => &self.warps[warp as usize].local,
        };
        let defined = |lane: &usize| {
            let start = self.offset(space, *lane, addresses[*lane]) + u64::from(offset);
            buffer.states(start, size).iter().all(|state| *state == shadow::DEFINED)
        };
        Lanes(lanes).filter(|lane| !defined(lane)).fold(0, |lanes, lane| lanes | 1 << lane)
    }

    /// After a store: the lanes stored an undefined element at `offset` from their address. Shared and local memory remember.
    ///
    /// # Errors
    /// [`FaultKind::UndefinedStore`] in global memory, which others see.
    pub fn store_undefined(
        &mut self,
        space: Space,
        warp: u32,
        addresses: &[u64; 32],
        lanes: u32,
        offset: u32,
        size: u32,
    ) -> Checked<()> {
        if space == Space::Global {
            return global::store_undefined(self.checks.definedness, addresses, lanes, offset);
        }
        for lane in Lanes(lanes) {
            let start = self.offset(space, lane, addresses[lane]) + u64::from(offset);
            match space {
                Space::Local => self.warps[warp as usize].local.shade(start, size, shadow::ALLOCATED),
                _ => self.shared.shade(start, size, shadow::ALLOCATED),
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn access<const SIZE: u32>(
        &mut self,
        launch: &mut Launch,
        at: At,
        space: Space,
        addresses: &[u64; 32],
        usage: Use,
    ) -> Checked<Access> {
        match space {
            Space::Global => {
                let mut access = global::check::<SIZE>(at, addresses, usage.reads(), usage.writes())?;
                if matches!(usage, Use::Write) {
                    access.clash = clashes(addresses, at.lanes, SIZE);
                }
                if self.checks.races {
                    self.global_races::<SIZE>(launch, at, addresses, usage)?;
                }
                Ok(access)
            }
            Space::Shared => self.shared_access::<SIZE>(at, addresses, usage, false),
            Space::Local => self.local_access::<SIZE>(at, addresses, usage),
        }
    }

    #[inline(always)]
    fn shared_access<const SIZE: u32>(
        &mut self,
        at: At,
        addresses: &[u64; 32],
        usage: Use,
        collective: bool,
    ) -> Checked<Access> {
        let offsets = addresses.map(|address| address & 0xffff_ffff);
        check_aligned(at, &offsets, SIZE)?;
        let Found { bad, undefined } = self.shared.check::<SIZE>(&offsets, at.lanes, usage.reads(), usage.writes());
        if bad != 0 {
            return Err(self.bad_shared(bad, &offsets, SIZE, usage));
        }
        let clash = if matches!(usage, Use::Write) { clashes(&offsets, at.lanes, SIZE) } else { 0 };
        if self.checks.races {
            self.shared_races::<SIZE>(at, &offsets, usage, clash, collective)?;
        }
        let base = self.shared.pointer();
        let (units, minimum) = wavefronts(&offsets, at.lanes, SIZE);
        Ok(Access { pointer: pointers(base, &offsets, at.lanes), undefined, clash, units, minimum })
    }

    #[inline(always)]
    fn local_access<const SIZE: u32>(&mut self, at: At, addresses: &[u64; 32], usage: Use) -> Checked<Access> {
        let mut offsets = [0; 32];
        let mut outside = 0;
        for lane in Lanes(at.lanes) {
            outside |=
                u32::from((addresses[lane] & 0xffff_ffff) + u64::from(SIZE) > u64::from(self.local_bytes)) << lane;
            offsets[lane] = self.offset(Space::Local, lane, addresses[lane]);
        }
        check_aligned(at, &offsets, SIZE)?;
        if outside != 0 {
            let offset = addresses[outside.trailing_zeros() as usize] & 0xffff_ffff;
            let note = format!("{SIZE}-byte access at offset {offset} of {} bytes of local memory", self.local_bytes);
            return Err(Violation::new(FaultKind::OutOfBounds, outside, note));
        }
        let local = &mut self.warps[at.warp as usize].local;
        let found = local.check::<SIZE>(&offsets, at.lanes, usage.reads(), usage.writes());
        let pointer = pointers(local.pointer(), &offsets, at.lanes);
        Ok(Access { pointer, undefined: found.undefined, clash: 0, units: 0, minimum: 0 })
    }

    /// The offset in the space's buffer.
    #[inline(always)]
    fn offset(&self, space: Space, lane: usize, address: u64) -> u64 {
        let offset = address & 0xffff_ffff;
        if space == Space::Local { offset + lane as u64 * u64::from(local_stride(self.local_bytes)) } else { offset }
    }

    fn describe(&self, space: Space, address: u64) -> String {
        match space {
            Space::Global => super::arena().describe(address),
            Space::Shared => describe(&self.regions, address & 0xffff_ffff),
            Space::Local => format!("local offset {}", address & 0xffff_ffff),
        }
    }

    #[cold]
    fn bad_shared(&self, bad: u32, offsets: &[u64; 32], size: u32, usage: Use) -> Box<Violation> {
        let lane = bad.trailing_zeros() as usize;
        let bytes = offsets[lane]..offsets[lane] + u64::from(size);
        let state = |byte: u64| self.shared.states(byte, 1).first().copied().unwrap_or(shadow::UNALLOCATED);
        let action = if usage.writes() { "write" } else { "read" };
        if let Some(byte) = bytes.clone().find(|byte| state(*byte) == shadow::PENDING) {
            let copy =
                self.warps.iter().enumerate().find_map(|(warp, state)| Some((warp, state.copies.covering(byte)?)));
            let note =
                format!("{size}-byte {action} before the copy is complete: {}", self.describe(Space::Shared, byte));
            let fault = Violation::new(FaultKind::PendingCopy, bad, note);
            return match copy {
                Some((warp, (pc, lane))) => {
                    fault.with(Other { pc, block: None, warp: Some(warp as u32), lane: Some(lane), what: "cp.async" })
                }
                None => fault,
            };
        }
        let byte = bytes.clone().find(|byte| state(*byte) & shadow::ALLOCATED == 0).unwrap_or(bytes.start);
        let note = format!("{size}-byte shared {action}: {}", self.describe(Space::Shared, byte));
        Violation::new(FaultKind::OutOfBounds, bad, note)
    }

    /// `cp.async`: `from_size` bytes per lane from device memory, zeros up to `size`, to shared memory. The source is checked
    /// here; the destination may not be touched until the copy has landed.
    ///
    /// # Errors
    /// The broken rule.
    pub fn cp_async(
        &mut self,
        l: &mut Launch,
        at: At,
        to: &[u32; 32],
        from: &[u64; 32],
        size: u32,
        from_size: &[u32; 32],
    ) -> Checked<CopyTraffic> {
        let mut traffic = CopyTraffic::default();
        let reading = Lanes(at.lanes).filter(|lane| from_size[*lane] != 0).fold(0, |lanes, lane| lanes | 1 << lane);
        let whole = Lanes(reading).filter(|lane| from_size[*lane] >= size).fold(0, |lanes, lane| lanes | 1 << lane);
        check_aligned(At { lanes: reading, ..at }, from, size)?;
        if whole != 0 {
            let access: Access =
                sized!(size, self.access(l, At { lanes: whole, ..at }, Space::Global, from, Use::Read))?;
            (traffic.sectors, traffic.sectors_minimum) = (access.units, access.minimum);
        }
        // Lanes that read less than they write are few: byte by byte.
        for lane in Lanes(reading & !whole) {
            let one = At { lanes: 1 << lane, ..at };
            for byte in 0..u64::from(from_size[lane]) {
                self.access::<1>(l, one, Space::Global, &[from[lane] + byte; 32], Use::Read)?;
            }
            let (sectors, fewest) = sectors(from, one.lanes, size);
            traffic.sectors += sectors;
            traffic.sectors_minimum += fewest;
        }
        let offsets = to.map(u64::from);
        let access: Access = sized!(size, self.shared_access(at, &offsets, Use::Write, false))?;
        if access.clash != 0 {
            let note = format!(
                "lanes copy to the same bytes: {}",
                describe(&self.regions, offsets[access.clash.trailing_zeros() as usize])
            );
            return Err(Violation::new(FaultKind::WarpRace, access.clash, note));
        }
        (traffic.wavefronts, traffic.wavefronts_minimum) = (access.units, access.minimum);
        for lane in Lanes(at.lanes) {
            if size == 16 {
                self.shared.shade(offsets[lane], 16, shadow::PENDING);
            } else {
                self.shared.shade(offsets[lane], size, shadow::PENDING);
            }
        }
        prefetch(from, reading);
        self.warps[at.warp as usize].copies.issue(at.lanes, at.pc, size, to, from, from_size);
        Ok(traffic)
    }

    /// `cp.async.commit_group` by the lanes.
    pub fn cp_commit(&mut self, warp: u32, lanes: u32) {
        self.warps[warp as usize].copies.commit(lanes);
    }

    /// `cp.async.wait_group`: all but the newest `pending` groups of each lane land now, and not before.
    pub fn cp_wait(&mut self, warp: u32, lanes: u32, pending: u32) {
        while let Some((copy, landing)) = self.warps[warp as usize].copies.due(lanes, pending) {
            if copy.size == 16 && copy.whole {
                self.land_whole(warp, &copy, landing);
                continue;
            }
            for lane in Lanes(landing) {
                let (to, size) = (u64::from(copy.to[lane]), copy.size);
                let read = copy.from_size[lane].min(size) as usize;
                self.shared.states_mut(to, size).fill(shadow::DEFINED);
                if self.checks.races {
                    let place = At { warp, pc: copy.pc, lanes: 1 << lane };
                    sized!(size, self.land(place, lane, copy.to[lane]));
                }
                let target = self.shared.at(to);
                // SAFETY: issuing the copy checked both ranges: `read` bytes of device memory, `size` of shared memory.
                unsafe {
                    std::ptr::copy_nonoverlapping(copy.from[lane] as *const u8, target, read);
                    std::ptr::write_bytes(target.add(read), 0, size as usize - read);
                    let source = super::arena().shadow_pointer(copy.from[lane]);
                    let states = self.shared.states_mut(to, size).as_mut_ptr();
                    std::ptr::copy_nonoverlapping(source, states, read);
                }
            }
        }
    }

    /// Copies of 16 bytes that read all of them, as most do.
    fn land_whole(&mut self, warp: u32, copy: &Copy, landing: u32) {
        for lane in Lanes(landing) {
            let to = copy.to[lane];
            if self.checks.races {
                self.land::<16>(At { warp, pc: copy.pc, lanes: 1 << lane }, lane, to);
            }
            // SAFETY: issuing the copy checked 16 bytes of device memory and of shared memory.
            unsafe {
                let from = copy.from[lane];
                let (data, states) = (from as *const u128, super::arena().shadow_pointer(from) as *const u128);
                self.shared.put(u64::from(to), data.read_unaligned(), states.read_unaligned());
            }
        }
    }

    /// `cp.async.wait_all`: every copy of the lanes lands now.
    pub fn cp_wait_all(&mut self, warp: u32, lanes: u32) {
        self.cp_commit(warp, lanes);
        self.cp_wait(warp, lanes, 0);
    }

    /// The lanes have met at a `.sync` instruction.
    #[inline]
    pub fn warp_sync(&mut self, warp: u32, lanes: u32) {
        self.clocks.warp_sync(warp, lanes, self.warps[warp as usize].live);
    }

    /// `membar` or `fence`.
    pub fn fence(&mut self, warp: u32, scope: Scope) {
        self.clocks.fence(warp, scope);
    }

    /// A warp arrives at a barrier with all the lanes that it has.
    ///
    /// # Errors
    /// [`FaultKind::BarrierDivergence`] when lanes are missing or the warp arrives twice, [`FaultKind::BarrierCount`] for a
    /// count that cannot be, or that differs from the others'.
    pub fn barrier(&mut self, at: At, arrival: Arrival) -> Checked<Step> {
        self.barriers.arrive(at, arrival, &mut self.clocks)
    }

    /// Lanes left the kernel. Copies that they did not wait for never land.
    pub fn exit(&mut self, warp: u32, lanes: u32) {
        self.warps[warp as usize].live &= !lanes;
        self.barriers.exit(warp, lanes);
    }

    /// Takes the warps whose barrier was completed since the last call.
    pub fn released(&mut self) -> u32 {
        self.barriers.take_released()
    }

    /// What `bar.red` answers to a warp that was released: how many threads' predicate holds, whether all do, whether any does.
    pub fn reduced(&self, warp: u32) -> (u32, bool, bool) {
        self.barriers.reduced(warp)
    }

    /// Nobody can go on: the place of the first warp that waits at a barrier in vain, and the fault that names all.
    pub fn stuck(&self) -> (At, Box<Violation>) {
        self.barriers.stuck()
    }

    /// The first byte of shared memory.
    pub fn shared_pointer(&mut self) -> *mut u8 {
        self.shared.pointer()
    }
}

#[inline(always)]
fn pointers(base: *mut u8, offsets: &[u64; 32], lanes: u32) -> [*mut u8; 32] {
    if lanes == !0 {
        return offsets.map(|offset| base.wrapping_add(offset as usize));
    }
    let mut pointers = [std::ptr::null_mut(); 32];
    for lane in Lanes(lanes) {
        pointers[lane] = base.wrapping_add(offsets[lane] as usize);
    }
    pointers
}

/// What will be copied is fetched meanwhile: weights are large, and read once.
fn prefetch(from: &[u64; 32], lanes: u32) {
    #[cfg(target_arch = "x86_64")]
    for lane in Lanes(lanes) {
        // SAFETY: a hint, which touches nothing.
        unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(from[lane] as *const i8) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, lanes);
}

/// Bytes from one lane's local memory to the next one's.
fn local_stride(bytes: u32) -> u32 {
    bytes.next_multiple_of(16)
}

fn local_regions(bytes: u32) -> Vec<Region> {
    let lane = |lane| Region { name: "local memory".into(), start: lane * local_stride(bytes), bytes };
    if bytes == 0 { Vec::new() } else { (0..32).map(lane).collect() }
}
