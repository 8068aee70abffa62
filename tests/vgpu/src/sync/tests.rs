//! Races against an oracle that keeps the happens-before relation as sets of events.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::memory::tests::{at, block, block_of, lanes_from};
use crate::memory::{Block, Launch, Space, arena};
use crate::report::{Checked, FaultKind, Other};

fn arrival(id: u32, threads: Option<u32>, wait: bool) -> Arrival {
    Arrival { id, threads, wait, predicate: 0 }
}

fn all_arrive(block: &mut Block, warps: u32) {
    for warp in 0..warps {
        block.barrier(at(warp, 90, !0), arrival(0, None, true)).unwrap();
    }
    block.released();
}

/// One lane's shared access.
fn touch(l: &mut Launch, b: &mut Block, (warp, lane): (u32, u32), write: bool, offset: u64, size: u32) -> Checked<()> {
    let place = at(warp, 10 * warp + lane, 1 << lane);
    let addresses = [offset; 32];
    if write {
        b.store(l, place, Space::Shared, &addresses, size).map(|_| ())
    } else {
        b.load(l, place, Space::Shared, &addresses, size).map(|_| ())
    }
}

#[test]
fn warps_race_without_a_barrier_and_not_with_one() {
    for (first, second) in [(true, false), (false, true), (true, true)] {
        let (mut l, mut b) = block();
        touch(&mut l, &mut b, (0, 3), first, 512, 4).unwrap();
        let fault = touch(&mut l, &mut b, (1, 5), second, 512, 4).unwrap_err();
        assert_eq!((fault.kind, fault.lanes), (FaultKind::SharedRace, 1 << 5));
        let what = if first { "write" } else { "read" };
        let lane = first.then_some(3);
        assert_eq!(fault.other, Some(Other { pc: 3, block: None, warp: Some(0), lane, what }));
        assert!(fault.note.ends_with("shared offset 512 is byte 0 of dynamic shared memory (1024 bytes)"));
        b.start(1);
        touch(&mut l, &mut b, (0, 3), first, 512, 4).unwrap();
        all_arrive(&mut b, 2);
        touch(&mut l, &mut b, (1, 5), second, 512, 4).unwrap();
    }
    let (mut l, mut b) = block();
    touch(&mut l, &mut b, (0, 0), false, 512, 4).unwrap();
    touch(&mut l, &mut b, (1, 0), false, 512, 4).unwrap();
}

#[test]
fn races_are_exact_to_the_byte() {
    let (mut l, mut b) = block();
    touch(&mut l, &mut b, (0, 0), true, 512, 2).unwrap();
    touch(&mut l, &mut b, (1, 0), true, 514, 1).unwrap();
    touch(&mut l, &mut b, (0, 0), false, 512, 2).unwrap();
    touch(&mut l, &mut b, (1, 0), true, 515, 1).unwrap();
    assert_eq!(touch(&mut l, &mut b, (0, 0), false, 512, 4).unwrap_err().kind, FaultKind::SharedRace);
    b.start(1);
    touch(&mut l, &mut b, (0, 0), true, 512, 16).unwrap();
    assert!(touch(&mut l, &mut b, (1, 0), false, 527, 1).is_err());
    touch(&mut l, &mut b, (1, 0), false, 528, 1).unwrap();
}

#[test]
fn a_named_barrier_orders_what_precedes_the_arrival_only() {
    let (mut l, mut b) = block_of(96);
    touch(&mut l, &mut b, (0, 0), true, 512, 4).unwrap();
    assert_eq!(b.barrier(at(0, 1, !0), arrival(3, Some(64), false)).unwrap(), Step::Continue);
    touch(&mut l, &mut b, (0, 0), true, 516, 4).unwrap();
    assert_eq!(b.barrier(at(1, 1, !0), arrival(3, Some(64), true)).unwrap(), Step::Continue);
    touch(&mut l, &mut b, (1, 0), false, 512, 4).unwrap();
    assert!(touch(&mut l, &mut b, (1, 0), false, 516, 4).is_err());
    assert!(touch(&mut l, &mut b, (2, 0), false, 512, 4).is_err(), "the third warp took no part");
}

#[test]
fn bytes_of_a_word_remember_their_own_readers() {
    let (mut l, mut b) = block_of(128);
    touch(&mut l, &mut b, (0, 0), false, 512, 4).unwrap();
    // An arrival moves the clock on, so that the second warp's read has another time.
    b.barrier(at(2, 1, !0), arrival(5, Some(128), false)).unwrap();
    touch(&mut l, &mut b, (1, 0), false, 512, 4).unwrap();
    for (warp, wait) in [(0, false), (1, false), (3, true)] {
        b.barrier(at(warp, 1, !0), arrival(1, Some(96), wait)).unwrap();
    }
    touch(&mut l, &mut b, (1, 0), false, 512, 1).unwrap();
    touch(&mut l, &mut b, (3, 0), true, 513, 1).unwrap();
    assert!(touch(&mut l, &mut b, (3, 0), true, 512, 1).is_err());
}

#[test]
fn lanes_of_a_warp_race_until_they_synchronise() {
    for (first, second) in [(true, false), (false, true), (true, true)] {
        let (mut l, mut b) = block();
        let mut both = |b: &mut Block, sync: Option<u32>| {
            touch(&mut l, b, (0, 0), first, 512, 4).unwrap();
            sync.into_iter().for_each(|lanes| b.warp_sync(0, lanes));
            touch(&mut l, b, (0, 1), second, 512, 4)
        };
        assert_eq!(both(&mut b, None).unwrap_err().kind, FaultKind::WarpRace);
        b.start(1);
        assert!(both(&mut b, Some(!0)).is_ok());
        b.start(2);
        assert!(both(&mut b, Some(0b11)).is_ok());
        b.start(3);
        assert_eq!(both(&mut b, Some(0b101)).unwrap_err().kind, FaultKind::WarpRace);
        b.start(4);
        b.exit(0, !0b11);
        assert!(both(&mut b, Some(0b11)).is_ok(), "all lanes that are left");
    }
}

#[test]
fn all_lanes_that_read_are_remembered() {
    for after_barrier in [true, false] {
        let (mut l, mut b) = block();
        touch(&mut l, &mut b, (0, 0), true, 512, 4).unwrap();
        if after_barrier {
            all_arrive(&mut b, 2)
        } else {
            b.warp_sync(0, !0)
        }
        for lane in [5, 6, 7] {
            touch(&mut l, &mut b, (0, lane), false, 512, 4).unwrap();
        }
        let fault = touch(&mut l, &mut b, (0, 7), true, 512, 4).unwrap_err();
        assert_eq!((fault.kind, fault.other.unwrap().lane), (FaultKind::WarpRace, Some(5)));
    }
}

#[test]
fn a_chain_of_partial_synchronisations_orders() {
    let (mut l, mut b) = block();
    touch(&mut l, &mut b, (0, 0), true, 512, 4).unwrap();
    b.warp_sync(0, 0b011);
    b.warp_sync(0, 0b110);
    touch(&mut l, &mut b, (0, 2), false, 512, 4).unwrap();
    touch(&mut l, &mut b, (0, 0), true, 516, 4).unwrap();
    b.warp_sync(0, 0b110);
    b.warp_sync(0, 0b011);
    assert!(touch(&mut l, &mut b, (0, 2), false, 516, 4).is_err(), "the wrong way round");
}

#[test]
fn a_landed_copy_is_the_issuing_lanes_until_it_synchronises() {
    let (mut l, mut b) = block();
    let a = arena().allocate(512).unwrap();
    arena().mark_initialised(a, 512);
    let to = std::array::from_fn(|lane| 512 + 16 * lane as u32);
    b.cp_async(&mut l, at(0, 77, !0), &to, &lanes_from(a, 16), 16, &[16; 32]).unwrap();
    b.cp_wait_all(0, !0);
    touch(&mut l, &mut b, (0, 0), false, 512, 4).unwrap();
    let fault = touch(&mut l, &mut b, (0, 1), false, 512, 4).unwrap_err();
    assert_eq!((fault.kind, fault.other.unwrap().pc), (FaultKind::WarpRace, 77));
    assert_eq!(touch(&mut l, &mut b, (1, 0), false, 512, 4).unwrap_err().kind, FaultKind::SharedRace);
    all_arrive(&mut b, 2);
    touch(&mut l, &mut b, (1, 0), false, 512, 4).unwrap();
    // Issuing it again overwrites what the other warp has read.
    let again = b.cp_async(&mut l, at(0, 78, !0), &to, &lanes_from(a, 16), 16, &[16; 32]);
    assert_eq!(again.err().unwrap().kind, FaultKind::SharedRace);
}

const ADD: Strong = Strong { kind: StrongKind::Update, order: Order::Relaxed, scope: Scope::Gpu };
const LOOK: Strong = Strong { kind: StrongKind::Load, order: Order::Relaxed, scope: Scope::Gpu };

#[test]
fn atomics_race_with_plain_accesses_only() {
    let (mut l, mut b) = block();
    all_write(&mut l, &mut b, 512);
    for warp in 0..2 {
        b.strong(&mut l, at(warp, 5, !0), Space::Shared, &[512; 32], 4, ADD).unwrap();
        b.strong(&mut l, at(warp, 6, !0), Space::Shared, &[512; 32], 4, LOOK).unwrap();
    }
    assert_eq!(touch(&mut l, &mut b, (0, 0), true, 512, 4).unwrap_err().kind, FaultKind::SharedRace);
    all_arrive(&mut b, 2);
    touch(&mut l, &mut b, (0, 0), true, 512, 4).unwrap();
    assert!(b.strong(&mut l, at(1, 5, !0), Space::Shared, &[512; 32], 4, ADD).is_err());
}

fn all_write(l: &mut Launch, b: &mut Block, offset: u64) {
    touch(l, b, (0, 0), true, offset, 4).unwrap();
    all_arrive(b, 2);
}

/// Blocks of one warp-pair each, over one allocation of global memory that holds data.
struct Grid {
    l: Launch,
    blocks: Vec<Block>,
    memory: u64,
}

impl Grid {
    fn new(blocks: u32) -> Grid {
        let memory = arena().allocate(4096).unwrap();
        arena().mark_initialised(memory, 4096);
        let start = |index| {
            let shape = crate::memory::BlockShape { threads: 64, shared: Vec::new(), local: 0 };
            let mut block = Block::new(shape, Default::default());
            block.start(index);
            block
        };
        Grid { l: Launch::begin(Default::default()), blocks: (0..blocks).map(start).collect(), memory }
    }

    fn touch(&mut self, block: usize, warp: u32, write: bool, offset: u64) -> Checked<()> {
        let place = at(warp, 100 * block as u32 + warp, 1);
        let addresses = [self.memory + offset; 32];
        let (l, b) = (&mut self.l, &mut self.blocks[block]);
        if write {
            b.store(l, place, Space::Global, &addresses, 4).map(|_| ())
        } else {
            b.load(l, place, Space::Global, &addresses, 4).map(|_| ())
        }
    }

    fn strong(&mut self, block: usize, warp: u32, op: Strong, offset: u64) -> Checked<()> {
        let addresses = [self.memory + offset; 32];
        self.blocks[block].strong(&mut self.l, at(warp, 900, 1), Space::Global, &addresses, 4, op).map(|_| ())
    }
}

#[test]
fn blocks_race_in_global_memory() {
    for (first, second) in [(true, false), (false, true), (true, true)] {
        let mut grid = Grid::new(3);
        grid.touch(2, 1, false, 64).unwrap();
        grid.touch(0, 1, first, 0).unwrap();
        grid.touch(1, 0, second, 4).unwrap();
        let fault = grid.touch(1, 0, second, 0).unwrap_err();
        assert_eq!((fault.kind, fault.lanes), (FaultKind::GlobalRace, 1));
        let other = fault.other.unwrap();
        assert_eq!((other.block, other.pc), (Some(0), 1));
        assert!(fault.note.contains("nothing orders the blocks") && fault.note.contains("is byte 0 of a 4096-byte"));
    }
    let mut grid = Grid::new(2);
    grid.touch(0, 0, false, 0).unwrap();
    grid.touch(1, 0, false, 0).unwrap();
    grid.touch(0, 0, false, 0).unwrap();
    assert!(grid.touch(0, 0, true, 0).is_err(), "the other block has read it");
}

#[test]
fn warps_of_a_block_race_in_global_memory() {
    let mut grid = Grid::new(1);
    grid.touch(0, 0, true, 0).unwrap();
    grid.touch(0, 0, false, 0).unwrap();
    let fault = grid.touch(0, 1, false, 0).unwrap_err();
    assert_eq!((fault.kind, fault.other.unwrap().block), (FaultKind::GlobalRace, None));
    all_arrive(&mut grid.blocks[0], 2);
    grid.touch(0, 1, false, 0).unwrap();
}

/// Every block writes its part, the last one to count reads all. What is left out must be found.
fn last_block(fence: bool, barrier: bool, scope: Scope) -> Checked<()> {
    let mut grid = Grid::new(4);
    for block in 0..4usize {
        for warp in 0..2 {
            grid.touch(block, warp, true, 64 * block as u64 + 4 * u64::from(warp))?;
        }
        if barrier {
            all_arrive(&mut grid.blocks[block], 2);
        }
        if fence {
            grid.blocks[block].fence(0, scope);
        }
        grid.strong(block, 0, Strong { scope, ..ADD }, 2048)?;
        all_arrive(&mut grid.blocks[block], 2);
    }
    for part in 0..4 {
        grid.touch(3, 1, false, 64 * part + 4)?;
    }
    grid.touch(3, 0, true, 2048)
}

#[test]
fn the_last_block_may_read_what_the_others_released() {
    last_block(true, true, Scope::Gpu).unwrap();
    assert_eq!(last_block(false, true, Scope::Gpu).unwrap_err().kind, FaultKind::GlobalRace);
    assert_eq!(last_block(true, false, Scope::Gpu).unwrap_err().kind, FaultKind::GlobalRace);
    assert_eq!(last_block(true, true, Scope::Cta).unwrap_err().kind, FaultKind::GlobalRace);
}

#[test]
fn release_and_acquire_need_no_fence() {
    let mut grid = Grid::new(2);
    let release = Strong { kind: StrongKind::Store, order: Order::Release, scope: Scope::Gpu };
    let acquire = Strong { kind: StrongKind::Load, order: Order::Acquire, scope: Scope::Gpu };
    grid.touch(0, 0, true, 0).unwrap();
    grid.strong(0, 0, release, 1024).unwrap();
    grid.touch(0, 0, true, 4).unwrap();
    grid.strong(1, 0, acquire, 1024).unwrap();
    grid.touch(1, 0, false, 0).unwrap();
    assert!(grid.touch(1, 0, false, 4).is_err(), "written after the release");
    assert!(grid.touch(1, 1, false, 0).is_err(), "the other warp did not acquire");
}

#[test]
fn a_fence_before_the_barrier_counts_for_the_thread_that_releases() {
    let mut grid = Grid::new(2);
    grid.touch(0, 1, true, 0).unwrap();
    grid.blocks[0].fence(1, Scope::Gpu);
    all_arrive(&mut grid.blocks[0], 2);
    grid.strong(0, 0, ADD, 2048).unwrap();
    grid.strong(1, 0, ADD, 2048).unwrap();
    grid.touch(1, 0, false, 0).unwrap();
}

#[test]
fn reads_after_the_release_are_not_part_of_it() {
    for late in [false, true] {
        let mut grid = Grid::new(2);
        let release = |grid: &mut Grid| {
            grid.blocks[0].fence(0, Scope::Gpu);
            grid.strong(0, 0, ADD, 2048).unwrap();
        };
        if late {
            release(&mut grid);
        }
        grid.touch(0, 0, false, 0).unwrap();
        if !late {
            release(&mut grid);
        }
        grid.strong(1, 0, ADD, 2048).unwrap();
        assert_eq!(grid.touch(1, 0, true, 0).is_err(), late);
    }
}

#[test]
fn every_block_that_read_is_remembered() {
    let mut grid = Grid::new(3);
    let release = |grid: &mut Grid, block: usize| {
        grid.blocks[block].fence(0, Scope::Gpu);
        grid.strong(block, 0, ADD, 2048).unwrap();
    };
    grid.touch(0, 0, false, 0).unwrap();
    grid.touch(1, 0, false, 0).unwrap();
    release(&mut grid, 1);
    grid.strong(2, 0, ADD, 2048).unwrap();
    assert_eq!(grid.touch(2, 0, true, 0).unwrap_err().other.unwrap().block, Some(0));
    // A block's second read is not part of what it released after its first.
    grid.touch(0, 0, false, 64).unwrap();
    grid.touch(1, 0, false, 64).unwrap();
    release(&mut grid, 0);
    grid.touch(0, 0, false, 64).unwrap();
    grid.strong(1, 0, ADD, 2048).unwrap();
    assert!(grid.touch(1, 0, true, 64).is_err());
}

#[test]
fn a_barrier_of_its_own_does_not_order_a_block_after_others() {
    let mut grid = Grid::new(2);
    grid.touch(0, 0, false, 0).unwrap();
    grid.touch(1, 0, false, 0).unwrap();
    all_arrive(&mut grid.blocks[1], 2);
    assert_eq!(grid.touch(1, 0, true, 0).unwrap_err().other.unwrap().block, Some(0));
}

#[test]
fn the_footprint_counts_sectors_once() {
    let mut grid = Grid::new(2);
    for block in 0..2 {
        grid.touch(block, 0, false, 0).unwrap();
        grid.touch(block, 0, false, 28).unwrap();
        grid.touch(block, 0, false, 32).unwrap();
        grid.touch(block, 0, true, 1024 + 32 * block as u64).unwrap();
    }
    let footprint = grid.l.footprint();
    assert_eq!((footprint.sectors_read, footprint.sectors_written), (2, 2));
}

#[test]
fn barriers_complete_by_their_counts() {
    let (_l, mut b) = block_of(96);
    assert_eq!(b.barrier(at(0, 0, !0), arrival(0, None, true)).unwrap(), Step::Wait);
    assert_eq!(b.barrier(at(2, 0, !0), arrival(0, None, true)).unwrap(), Step::Wait);
    assert_eq!(b.released(), 0);
    assert_eq!(b.barrier(at(1, 0, !0), arrival(0, None, true)).unwrap(), Step::Continue);
    assert_eq!((b.released(), b.released()), (0b101, 0));
    let mut reduce =
        |warp, predicate| b.barrier(at(warp, 0, !0), Arrival { predicate, ..arrival(1, None, true) }).unwrap();
    assert_eq!((reduce(0, 0xff), reduce(1, !0), reduce(2, !0)), (Step::Wait, Step::Wait, Step::Continue));
    assert_eq!((b.reduced(0), b.reduced(2)), ((72, false, true), (72, false, true)));
    b.released();
    let kind = |result: Checked<Step>| result.unwrap_err().kind;
    assert_eq!(kind(b.barrier(at(0, 0, !0), arrival(2, Some(48), true))), FaultKind::BarrierCount);
    assert_eq!(kind(b.barrier(at(0, 0, !0), arrival(2, Some(128), true))), FaultKind::BarrierCount);
    assert_eq!(kind(b.barrier(at(0, 0, !0), arrival(16, None, true))), FaultKind::InvalidInstruction);
    b.barrier(at(0, 0, !0), arrival(2, Some(96), true)).unwrap();
    assert_eq!(kind(b.barrier(at(1, 0, !0), arrival(2, Some(64), true))), FaultKind::BarrierCount);
    assert_eq!(kind(b.barrier(at(0, 0, !0), arrival(2, Some(96), true))), FaultKind::BarrierDivergence);
    assert_eq!(kind(b.barrier(at(1, 0, 0xff), arrival(2, Some(96), true))), FaultKind::BarrierDivergence);
    b.exit(2, !0);
    b.exit(1, 1);
    let fault = b.barrier(at(1, 0, !1), arrival(2, Some(96), true)).unwrap_err();
    assert!(fault.note.ends_with("lanes 0x00000001 of this warp left the kernel before it"), "{}", fault.note);
    let (place, fault) = b.stuck();
    assert_eq!((place.warp, fault.kind), (0, FaultKind::BarrierDivergence));
    assert_eq!(fault.note, "barrier 2: 32 of 96 threads arrived (warps 0), nobody else will; warps 2 left the kernel");
}

/// A thread, or a warp where lanes do not matter.
type Who = (u32, u32);

#[derive(Clone, Debug)]
enum Event {
    Touch {
        who: Who,
        write: bool,
        offset: u64,
        size: u32,
    },
    Sync {
        warp: u32,
        lanes: u32,
    },
    /// The first of the warps arrives without waiting, the others wait.
    Named {
        warps: Vec<u32>,
    },
    All,
}

/// Happens-before by sets: what each thread knows of earlier events.
#[derive(Default)]
struct Oracle {
    knows: BTreeMap<Who, BTreeSet<usize>>,
    touches: Vec<(Who, bool, u64, u64)>,
}

impl Oracle {
    fn unite(&mut self, from: &[Who], to: &[Who]) {
        let all: BTreeSet<usize> = from.iter().filter_map(|who| self.knows.get(who)).flatten().copied().collect();
        to.iter().for_each(|who| self.knows.entry(*who).or_default().extend(&all));
    }

    /// The earlier touches that race with this one.
    fn touch(&mut self, who: Who, write: bool, start: u64, end: u64) -> Vec<(Who, bool)> {
        let knows = self.knows.entry(who).or_default();
        let mut races = Vec::new();
        for (index, (other, wrote, from, to)) in self.touches.iter().enumerate() {
            if *from < end && start < *to && (write || *wrote) && *other != who && !knows.contains(&index) {
                races.push((*other, *wrote));
            }
        }
        knows.insert(self.touches.len());
        self.touches.push((who, write, start, end));
        races
    }
}

fn lanes(warp: u32, mask: u32) -> Vec<Who> {
    (0..4).filter(|lane| mask >> lane & 1 == 1).map(|lane| (warp, lane)).collect()
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let touch = (0u32..3, 0u32..4, any::<bool>(), 0u64..3, 0u32..4).prop_map(|(warp, lane, write, slot, shift)| {
        let size = 1 << shift;
        Event::Touch { who: (warp, lane), write, offset: 512 + (slot * 3) / u64::from(size) * u64::from(size), size }
    });
    let sync =
        (0u32..3, 0u32..16).prop_map(|(warp, mask)| Event::Sync { warp, lanes: if mask == 0 { 15 } else { mask } });
    let named =
        proptest::sample::subsequence(vec![0u32, 1, 2], 2..=2).prop_shuffle().prop_map(|warps| Event::Named { warps });
    proptest::collection::vec(prop_oneof![8 => touch, 3 => sync, 2 => named, 1 => Just(Event::All)], 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn shared_races_agree_with_happens_before(events in events()) {
        let (mut l, mut b) = block_of(96);
        for warp in 0..3 {
            // Four lanes per warp are enough to tell all cases apart.
            b.warp_sync(warp, !0);
        }
        let mut oracle = Oracle::default();
        let everyone: Vec<Who> = (0..3).flat_map(|warp| lanes(warp, 15)).collect();
        for event in events {
            match event {
                Event::Touch { who, write, offset, size } => {
                    let races = oracle.touch(who, write, offset, offset + u64::from(size));
                    let found = touch(&mut l, &mut b, who, write, offset, size);
                    prop_assert!(found.is_ok() || !races.is_empty(), "false alarm: {found:?}");
                    if found.is_err() {
                        return Ok(());
                    }
                    // Of a warp's own reads only the last reading warp's lanes are kept.
                    let excused = |(other, wrote): &(Who, bool)| !wrote && other.0 == who.0;
                    prop_assert!(races.iter().all(excused), "missed: {races:?}");
                    if !races.is_empty() {
                        return Ok(());
                    }
                }
                Event::Sync { warp, lanes: mask } => {
                    let members = lanes(warp, mask);
                    oracle.unite(&members, &members);
                    b.warp_sync(warp, if mask == 15 { !0 } else { mask });
                }
                Event::Named { warps } => {
                    let all: Vec<Who> = warps.iter().flat_map(|warp| lanes(*warp, 15)).collect();
                    oracle.unite(&all, &all[4..]);
                    for (index, warp) in warps.iter().enumerate() {
                        b.barrier(at(*warp, 50, !0), arrival(1, Some(64), index > 0)).unwrap();
                    }
                }
                Event::All => {
                    oracle.unite(&everyone, &everyone);
                    all_arrive(&mut b, 3);
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
enum GridEvent {
    Touch { block: usize, warp: u32, write: bool, offset: u64, lanes: u32, size: u32 },
    Fence { block: usize, warp: u32 },
    Add { block: usize, warp: u32, location: u64 },
    All { block: usize },
}

fn grid_events(blocks: usize) -> impl Strategy<Value = Vec<GridEvent>> {
    let who = move || (0..blocks, 0u32..2);
    let touch =
        (who(), any::<bool>(), 0u64..5, 0u32..3, 1u32..9).prop_map(|((block, warp), write, slot, shift, lanes)| {
            GridEvent::Touch { block, warp, write, offset: slot * 4, lanes, size: 1 << shift }
        });
    let fence = who().prop_map(|(block, warp)| GridEvent::Fence { block, warp });
    let add = (who(), 0u64..2).prop_map(|((block, warp), location)| GridEvent::Add { block, warp, location });
    let all = (0..blocks).prop_map(|block| GridEvent::All { block });
    proptest::collection::vec(prop_oneof![6 => touch, 3 => fence, 3 => add, 2 => all], 1..40)
}

fn check_grid(blocks: usize, events: Vec<GridEvent>) -> Result<(), TestCaseError> {
    let mut grid = Grid::new(blocks as u32);
    let mut oracle = Oracle::default();
    let mut fenced: BTreeMap<Who, BTreeSet<usize>> = BTreeMap::new();
    let mut released: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
    for event in events {
        match event {
            GridEvent::Touch { block, warp, write, offset, lanes, size } => {
                let who = (block as u32, warp);
                let end = offset + u64::from(lanes * size);
                let races = oracle.touch(who, write, offset, end);
                let place = at(warp, 1, (1 << lanes) - 1);
                let addresses = lanes_from(grid.memory + offset, u64::from(size));
                let b = &mut grid.blocks[block];
                let found = if write {
                    b.store(&mut grid.l, place, Space::Global, &addresses, size)
                } else {
                    b.load(&mut grid.l, place, Space::Global, &addresses, size)
                };
                prop_assert!(found.is_ok() || !races.is_empty(), "false alarm: {:?}", found.err());
                if found.is_err() {
                    return Ok(());
                }
                // A block's reads are known to its releases, not to the warp's, and other blocks may push them out.
                let excused = |(_, wrote): &(Who, bool)| !wrote && blocks > 1;
                prop_assert!(races.iter().all(excused), "missed: {races:?}");
                if !races.is_empty() {
                    return Ok(());
                }
            }
            GridEvent::Fence { block, warp } => {
                let who = (block as u32, warp);
                fenced.entry(who).or_default().extend(oracle.knows.get(&who).into_iter().flatten());
                grid.blocks[block].fence(warp, Scope::Gpu);
            }
            GridEvent::Add { block, warp, location } => {
                let who = (block as u32, warp);
                let known = released.entry(location).or_default();
                oracle.knows.entry(who).or_default().extend(known.iter());
                known.extend(fenced.get(&who).into_iter().flatten());
                grid.strong(block, warp, ADD, 1024 + 64 * location).unwrap();
            }
            GridEvent::All { block } => {
                let warps = [(block as u32, 0), (block as u32, 1)];
                oracle.unite(&warps, &warps);
                let all: BTreeSet<usize> = warps.iter().filter_map(|who| fenced.get(who)).flatten().copied().collect();
                warps.iter().for_each(|who| {
                    fenced.entry(*who).or_default().extend(&all);
                });
                all_arrive(&mut grid.blocks[block], 2);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn races_between_blocks_agree_with_happens_before(events in grid_events(3)) {
        check_grid(3, events)?;
    }

    #[test]
    fn races_of_one_block_agree_with_happens_before(events in grid_events(1)) {
        check_grid(1, events)?;
    }
}
