//! Vector clocks of a block's warps, and the order of lanes within a warp.
//!
//! A block has one clock that counts synchronising events. An access is stamped with the time at which it is made; it is ordered
//! before an access of another warp when that warp's row says that it knows the first one's past up to the stamp.

use std::rc::Rc;

use super::order::{Knowledge, Past};
use super::{Order, Scope, Strong, StrongKind};
use crate::memory::Lanes;

/// Per warp of a block, the time up to which something is known of it.
pub type Row = [u32; 32];

/// What the arrivals at a barrier bring together.
#[derive(Clone, Default)]
pub struct Joined {
    row: Row,
    known: Option<Rc<Knowledge>>,
    fenced: Fenced,
}

/// What a warp's fences have made ready for others: by its strong stores and updates after the fence.
#[derive(Clone, Default)]
struct Fenced {
    block: Option<Past>,
    device: Option<Past>,
}

/// The clocks of one block.
pub struct Clocks {
    warps: usize,
    /// The block's index in the launch.
    block: u32,
    /// Counts what the block's warps release, for the reads of other blocks.
    releases: u32,
    /// Per warp, what it knows of other blocks.
    known: [Option<Rc<Knowledge>>; 32],
    fenced: [Fenced; 32],
    /// The time at which the block started; older stamps belong to its predecessors.
    base: u32,
    now: u32,
    rows: Box<[Row; 32]>,
    /// Per warp, the time up to which it knows the past of all warps.
    floor: [u32; 32],
    lanes: Box<[LaneOrder; 32]>,
}

/// The order of a warp's lanes. Stamps are warp times, which count the warp's synchronisations.
#[derive(Clone)]
struct LaneOrder {
    now: u32,
    /// Accesses up to here are ordered before all lanes.
    floor: u32,
    /// Per lane, per other lane, the warp time up to which its past is known; only set when a synchronisation had few members.
    known: Option<Box<[Row; 32]>>,
}

/// The lane of an access that a whole warp makes together, as stmatrix does.
pub const COLLECTIVE: u8 = 32;

impl Clocks {
    pub fn new(warps: usize) -> Clocks {
        let lanes = LaneOrder { now: 1, floor: 0, known: None };
        let mut clocks = Clocks {
            warps,
            block: 0,
            releases: 0,
            known: Default::default(),
            fenced: Default::default(),
            base: 0,
            now: 0,
            rows: Box::new([[0; 32]; 32]),
            floor: [0; 32],
            lanes: Box::new(std::array::from_fn(|_| lanes.clone())),
        };
        clocks.start(0);
        clocks
    }

    /// Begins the `block`-th block: everything before is ordered before it.
    pub fn start(&mut self, block: u32) {
        (self.block, self.releases) = (block, 0);
        self.known.fill(None);
        self.fenced.fill_with(Fenced::default);
        self.base = self.now;
        self.rows.fill([self.base; 32]);
        self.floor.fill(self.base);
        self.now += 1;
        for lanes in self.lanes.iter_mut() {
            lanes.sync_all();
        }
    }

    /// The time that accesses made now are stamped with.
    #[inline(always)]
    pub fn now(&self) -> u32 {
        self.now
    }

    /// Stamps up to here are of earlier blocks.
    #[inline(always)]
    pub fn base(&self) -> u32 {
        self.base
    }

    /// The warp time that accesses of the warp are stamped with.
    #[inline(always)]
    pub fn warp_now(&self, warp: u32) -> u32 {
        self.lanes[warp as usize].now
    }

    /// Whether all that any warp did up to `time` is ordered before what `warp` does now.
    #[inline(always)]
    pub fn orders_all(&self, warp: u32, time: u32) -> bool {
        time <= self.floor[warp as usize]
    }

    /// Whether what another warp did up to `time` is ordered before what `warp` does now.
    #[inline(always)]
    pub fn orders(&self, warp: u32, other: u32, time: u32) -> bool {
        time <= self.rows[warp as usize][other as usize]
    }

    /// Whether what another lane of the warp did at `warp_time` is ordered before what `lane` does now.
    #[inline]
    pub fn orders_lane(&self, warp: u32, lane: u8, other: u8, warp_time: u32) -> bool {
        let order = &self.lanes[warp as usize];
        if warp_time <= order.floor || lane == other {
            return true;
        }
        match &order.known {
            Some(known) if lane < COLLECTIVE && other < COLLECTIVE => warp_time <= known[lane as usize][other as usize],
            _ => false,
        }
    }

    /// The lanes have synchronised; `live` are all that the warp still has.
    #[inline]
    pub fn warp_sync(&mut self, warp: u32, lanes: u32, live: u32) {
        let order = &mut self.lanes[warp as usize];
        if lanes & live == live {
            order.sync_all();
        } else {
            order.sync_some(lanes);
        }
    }

    pub fn arrive(&mut self, warp: u32, joined: &mut Joined, waits: bool) {
        let row = &mut self.rows[warp as usize];
        row[warp as usize] = self.now;
        join(&mut joined.row, row);
        join_known(&mut joined.known, &self.known[warp as usize]);
        joined.fenced.join(&self.fenced[warp as usize]);
        if !waits {
            // What the warp does from here on is not covered by the barrier.
            self.now += 1;
        }
    }

    pub fn complete(&mut self, waiting: u32, joined: &Joined) {
        for warp in Lanes(waiting) {
            join(&mut self.rows[warp], &joined.row);
            join_known(&mut self.known[warp], &joined.known);
            self.fenced[warp].join(&joined.fenced);
            self.raise_floor(warp);
            self.lanes[warp].sync_all();
        }
        self.now += 1;
    }

    fn raise_floor(&mut self, warp: usize) {
        self.floor[warp] = self.rows[warp][..self.warps].iter().copied().min().unwrap_or(0);
    }

    /// The block's index in the launch.
    #[inline(always)]
    pub fn block(&self) -> u32 {
        self.block
    }

    /// How often the block has released something.
    #[inline(always)]
    pub fn releases(&self) -> u32 {
        self.releases
    }

    /// Whether a warp knows the past of another block's warp up to `time`.
    pub fn knows(&self, warp: u32, block: u32, other: u32, time: u32) -> bool {
        let known = self.known[warp as usize].as_ref().and_then(|known| known.get(&block));
        known.is_some_and(|(row, _)| time <= row[other as usize])
    }

    /// Whether a warp knows another block's reads made before its `releases`-th release.
    pub fn knows_reads(&self, warp: u32, block: u32, releases: u32) -> bool {
        let known = self.known[warp as usize].as_ref().and_then(|known| known.get(&block));
        known.is_some_and(|(_, known)| releases < *known)
    }

    /// What a warp has done and knows, as others may learn it. The clock moves on: what follows is not part of it.
    fn past(&mut self, warp: u32) -> Past {
        let index = warp as usize;
        self.rows[index][index] = self.now;
        self.now += 1;
        self.releases += 1;
        Past { row: self.rows[index], block: self.block, releases: self.releases, known: self.known[index].clone() }
    }

    /// A fence: strong stores and updates that follow release what precedes it.
    pub fn fence(&mut self, warp: u32, scope: Scope) {
        let past = self.past(warp);
        let fenced = &mut self.fenced[warp as usize];
        if scope > Scope::Cta {
            fenced.device = Some(past.clone());
        }
        fenced.block = Some(past);
    }

    /// What a strong operation releases, and whether other blocks may learn it.
    pub fn release(&mut self, warp: u32, strong: Strong) -> Option<(Past, bool)> {
        if strong.kind == StrongKind::Load {
            return None;
        }
        let device = strong.scope > Scope::Cta;
        if matches!(strong.order, Order::Release | Order::AcquireRelease) {
            return Some((self.past(warp), device));
        }
        let fenced = &self.fenced[warp as usize];
        match &fenced.device {
            Some(past) if device => Some((past.clone(), true)),
            _ => fenced.block.clone().map(|past| (past, false)),
        }
    }

    /// A warp learns what others released.
    pub fn acquire(&mut self, warp: u32, learned: &Knowledge) {
        let index = warp as usize;
        for (block, (row, releases)) in learned {
            if *block == self.block {
                join(&mut self.rows[index], row);
                continue;
            }
            let known = Rc::make_mut(self.known[index].get_or_insert_with(Default::default));
            let entry = known.entry(*block).or_insert(([0; 32], 0));
            join(&mut entry.0, row);
            entry.1 = entry.1.max(*releases);
        }
        self.raise_floor(index);
    }
}

impl Fenced {
    fn join(&mut self, other: &Fenced) {
        for (own, other) in [(&mut self.block, &other.block), (&mut self.device, &other.device)] {
            match (own, other) {
                (Some(own), Some(other)) => own.join(other),
                (own @ None, other) => *own = other.clone(),
                (Some(_), None) => {}
            }
        }
    }
}

/// Both together; shared where one of them is all.
pub fn join_known(known: &mut Option<Rc<Knowledge>>, other: &Option<Rc<Knowledge>>) {
    let Some(other) = other else { return };
    match known {
        Some(known) if !Rc::ptr_eq(known, other) => {
            let known = Rc::make_mut(known);
            for (block, (row, releases)) in other.iter() {
                let entry = known.entry(*block).or_insert(([0; 32], 0));
                join(&mut entry.0, row);
                entry.1 = entry.1.max(*releases);
            }
        }
        Some(_) => {}
        None => *known = Some(other.clone()),
    }
}

impl LaneOrder {
    #[inline]
    fn sync_all(&mut self) {
        self.floor = self.now;
        self.now += 1;
        if self.known.is_some() {
            self.known = None;
        }
    }

    #[cold]
    fn sync_some(&mut self, lanes: u32) {
        let known = self.known.get_or_insert_with(|| Box::new([[0; 32]; 32]));
        let mut row = [0; 32];
        for lane in Lanes(lanes) {
            join(&mut row, &known[lane]);
        }
        for lane in Lanes(lanes) {
            row[lane] = self.now;
        }
        for lane in Lanes(lanes) {
            known[lane] = row;
        }
        self.now += 1;
    }
}

/// The later of both, per warp.
pub fn join(row: &mut Row, other: &Row) {
    for (time, other) in row.iter_mut().zip(other) {
        *time = (*time).max(*other);
    }
}
