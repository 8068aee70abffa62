//! The last accesses to some bytes that are alike: the last plain write, and the reads or strong operations since.
//!
//! A write is ordered after everything before it, or it is a race and the launch ends; so the last write stands for all earlier
//! ones. Of reads, those stay that are not ordered before a newer one.

use super::Clocks;
use super::clocks::{COLLECTIVE, Row};
use crate::memory::Lanes;

/// What an access does, as races see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// A plain read.
    Read,
    /// A plain write.
    Write,
    /// A strong operation.
    Strong {
        /// Whether it writes.
        writes: bool,
        /// Whether it reads and writes as one, and so has observed the strong operations before it.
        updates: bool,
        /// Whether it is strong in its block only.
        cta: bool,
    },
}

/// Who touches.
pub struct Actor<'a> {
    /// The block's clocks.
    pub clocks: &'a Clocks,
    /// Warp within the block.
    pub warp: u32,
    /// The lane, or [`COLLECTIVE`].
    pub lane: u8,
    /// The instruction.
    pub pc: u32,
}

/// The earlier access of a race.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// What it did.
    pub what: &'static str,
    /// Its instruction.
    pub pc: u32,
    /// Its block, where it is not the actor's.
    pub block: Option<u32>,
    /// Its warp.
    pub warp: Option<u32>,
    /// Its lane, where known.
    pub lane: Option<u32>,
}

/// What a touch comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Recorded.
    Done,
    /// The bytes are no longer alike: split the cell and try again.
    Split,
    /// A race with an earlier access.
    Race(Earlier),
}

/// What the accesses since the last write were; later ones conflict with earlier ones by these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// At least one plain read.
    #[default]
    Read,
    /// Strong loads.
    StrongLoad,
    /// Strong operations that write.
    StrongWrite,
}

impl Class {
    /// Whether a touch conflicts with accesses of this class when nothing orders them.
    pub fn conflicts(self, touch: Touch) -> bool {
        match touch {
            Touch::Read => self == Class::StrongWrite,
            Touch::Write => true,
            Touch::Strong { writes, .. } => writes && self == Class::Read,
        }
    }

    fn of(touch: Touch) -> Class {
        match touch {
            Touch::Strong { writes: true, .. } => Class::StrongWrite,
            Touch::Strong { writes: false, .. } => Class::StrongLoad,
            _ => Class::Read,
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Class::Read => "read",
            Class::StrongLoad => "strong load",
            Class::StrongWrite => "atomic or strong store",
        }
    }
}

/// See the module. Bytes are bits of a mask over the granule that the cell belongs to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cell {
    pub write_time: u32,
    write_warp_time: u32,
    pub write_pc: u32,
    pub write_bytes: u32,
    pub read_time: u32,
    read_warp_time: u32,
    pub read_pc: u32,
    pub read_bytes: u32,
    /// Warps that read.
    readers: u32,
    /// Lanes of the last of them that did.
    reader_lanes: u32,
    /// Where the readers' times differ: their row in [`Times`], from 1.
    times: u32,
    /// Where the bytes are not alike: the granule's parts, from 1.
    pub split: u32,
    pub write_warp: u8,
    write_lane: u8,
    read_warp: u8,
    pub class: Class,
    pub cta: bool,
}

/// Read times per warp, for cells whose readers' times differ.
pub type Times = Vec<Row>;

impl Cell {
    /// Whether nothing of the running block is recorded.
    #[inline(always)]
    pub fn is_stale(&self, base: u32) -> bool {
        self.write_time <= base && self.read_time <= base
    }

    /// Checks and records a touch of `bytes`.
    #[inline(always)]
    pub fn touch(&mut self, bytes: u32, touch: Touch, actor: &Actor<'_>, times: &mut Times) -> Outcome {
        if self.is_stale(actor.clocks.base()) {
            *self = Cell::default();
        }
        if self.write_bytes & bytes != 0 && !self.write_is_ordered(actor) {
            return Outcome::Race(self.write());
        }
        if self.read_bytes & bytes != 0
            && self.class.conflicts(touch)
            && let Some(earlier) = self.unordered_reader(actor, times)
        {
            return Outcome::Race(earlier);
        }
        if touch == Touch::Write {
            self.record_write(bytes, actor)
        } else {
            self.record_read(bytes, touch, actor, times)
        }
    }

    /// Records a plain read in the common case: everything before is ordered, or was read like this since. False: use `touch`.
    #[inline(always)]
    pub fn read_fast(&mut self, bytes: u32, actor: &Actor<'_>) -> bool {
        let clocks = actor.clocks;
        let (now, warp_now, bit) = (clocks.now(), clocks.warp_now(actor.warp), 1 << actor.warp);
        let fresh = self.read_bytes == 0;
        let alike = fresh || self.read_bytes == bytes && self.class == Class::Read;
        if !alike || !clocks.orders_all(actor.warp, self.write_time) {
            return false;
        }
        let lane = if actor.lane < COLLECTIVE { 1 << actor.lane } else { 0 };
        let mut lanes = lane;
        if fresh || clocks.orders_all(actor.warp, self.read_time) {
            (self.readers, self.times, self.read_bytes) = (bit, 0, bytes);
            (self.class, self.cta) = (Class::Read, false);
        } else if self.read_time == now && self.times == 0 {
            self.readers |= bit;
            if u32::from(self.read_warp) == actor.warp && self.read_warp_time == warp_now {
                lanes |= self.reader_lanes;
            }
        } else {
            return false;
        }
        (self.read_time, self.read_warp_time, self.reader_lanes) = (now, warp_now, lanes);
        (self.read_warp, self.read_pc) = (actor.warp as u8, actor.pc);
        true
    }

    /// Records a plain write in the common case: everything before is ordered, and of no other bytes. False: use `touch`.
    #[inline(always)]
    pub fn write_fast(&mut self, bytes: u32, actor: &Actor<'_>) -> bool {
        let latest = self.write_time.max(self.read_time);
        let fast = actor.clocks.orders_all(actor.warp, latest) && (self.write_bytes | self.read_bytes) & !bytes == 0;
        if fast {
            self.set_write(bytes, actor);
        }
        fast
    }

    #[inline(always)]
    fn set_write(&mut self, bytes: u32, actor: &Actor<'_>) {
        *self = Cell {
            write_time: actor.clocks.now(),
            write_warp_time: actor.clocks.warp_now(actor.warp),
            write_pc: actor.pc,
            write_bytes: bytes,
            write_warp: actor.warp as u8,
            write_lane: actor.lane,
            ..Cell::default()
        };
    }

    fn write(&self) -> Earlier {
        let lane = (self.write_lane < COLLECTIVE).then_some(u32::from(self.write_lane));
        Earlier { what: "write", pc: self.write_pc, block: None, warp: Some(u32::from(self.write_warp)), lane }
    }

    #[inline(always)]
    fn write_is_ordered(&self, actor: &Actor<'_>) -> bool {
        if actor.clocks.orders_all(actor.warp, self.write_time) {
            return true;
        }
        if u32::from(self.write_warp) == actor.warp {
            actor.clocks.orders_lane(actor.warp, actor.lane, self.write_lane, self.write_warp_time)
        } else {
            actor.clocks.orders(actor.warp, u32::from(self.write_warp), self.write_time)
        }
    }

    /// A reader that is not ordered before the actor.
    #[inline(always)]
    fn unordered_reader(&self, actor: &Actor<'_>, times: &Times) -> Option<Earlier> {
        if actor.clocks.orders_all(actor.warp, self.read_time) {
            return None;
        }
        let reader = |warp, lane| {
            Some(Earlier { what: self.class.title(), pc: self.read_pc, block: None, warp: Some(warp), lane })
        };
        for warp in Lanes(self.readers & !(1 << actor.warp)) {
            let time = if self.times == 0 { self.read_time } else { times[self.times as usize - 1][warp] };
            if !actor.clocks.orders(actor.warp, warp as u32, time) {
                return reader(warp as u32, None);
            }
        }
        if u32::from(self.read_warp) != actor.warp {
            return None;
        }
        let ordered = |lane: &usize| actor.clocks.orders_lane(actor.warp, actor.lane, *lane as u8, self.read_warp_time);
        let lane = Lanes(self.reader_lanes).find(|lane| !ordered(lane))?;
        reader(actor.warp, Some(lane as u32))
    }

    #[inline(always)]
    fn record_write(&mut self, bytes: u32, actor: &Actor<'_>) -> Outcome {
        let (now, warp_now) = (actor.clocks.now(), actor.clocks.warp_now(actor.warp));
        if (self.write_bytes | self.read_bytes) & !bytes != 0 {
            let same = self.write_time == now
                && self.write_warp_time == warp_now
                && u32::from(self.write_warp) == actor.warp
                && self.write_lane == actor.lane
                && self.read_bytes == 0;
            if !same {
                return Outcome::Split;
            }
            self.write_bytes |= bytes;
            self.write_pc = actor.pc;
            return Outcome::Done;
        }
        self.set_write(bytes, actor);
        Outcome::Done
    }

    #[inline(always)]
    fn record_read(&mut self, bytes: u32, touch: Touch, actor: &Actor<'_>, times: &mut Times) -> Outcome {
        let (now, warp_now) = (actor.clocks.now(), actor.clocks.warp_now(actor.warp));
        let class = Class::of(touch);
        let cta = matches!(touch, Touch::Strong { cta: true, .. });
        let bit = 1 << actor.warp;
        let lane = if actor.lane < COLLECTIVE { 1 << actor.lane } else { 0 };
        let updates = matches!(touch, Touch::Strong { updates: true, .. }) && self.class != Class::Read;
        if self.read_bytes == 0
            || self.read_bytes == bytes && (updates || self.unordered_reader(actor, times).is_none())
        {
            // All earlier reads are ordered before this one, which stands for them from here on.
            self.readers = bit;
            self.read_bytes = bytes;
            self.times = 0;
            self.reader_lanes = lane;
            (self.class, self.cta) = (class, cta);
        } else if self.read_bytes == bytes {
            if self.times == 0 && self.read_time != now {
                let mut row = [0; 32];
                Lanes(self.readers).for_each(|warp| row[warp] = self.read_time);
                times.push(row);
                self.times = times.len() as u32;
            }
            if self.times != 0 {
                times[self.times as usize - 1][actor.warp as usize] = now;
            }
            let goes_on = u32::from(self.read_warp) == actor.warp && self.read_warp_time == warp_now;
            self.reader_lanes = if goes_on { self.reader_lanes | lane } else { lane };
            self.readers |= bit;
            self.class =
                if self.class == Class::Read || class == Class::Read { Class::Read } else { self.class.max(class) };
            self.cta |= cta;
        } else {
            let alike = self.readers == bit
                && self.times == 0
                && self.read_time == now
                && self.read_warp_time == warp_now
                && self.reader_lanes == lane
                && (self.class, self.cta) == (class, cta);
            if !alike {
                return Outcome::Split;
            }
            self.read_bytes |= bytes;
        }
        self.read_time = now;
        self.read_warp_time = warp_now;
        self.read_warp = actor.warp as u8;
        self.read_pc = actor.pc;
        Outcome::Done
    }

    /// A cell whose bytes are told apart elsewhere.
    pub fn split_into(split: u32) -> Cell {
        Cell { split, ..Cell::default() }
    }

    /// What the cell says about some of its bytes only.
    pub fn part(&self, bytes: u32, times: &mut Times) -> Cell {
        let mut part =
            Cell { write_bytes: self.write_bytes & bytes, read_bytes: self.read_bytes & bytes, split: 0, ..*self };
        if part.write_bytes == 0 {
            part.write_time = 0;
        }
        if part.read_bytes == 0 {
            (part.read_time, part.times) = (0, 0);
        }
        if part.times != 0 {
            times.push(times[part.times as usize - 1]);
            part.times = times.len() as u32;
        }
        part
    }
}
