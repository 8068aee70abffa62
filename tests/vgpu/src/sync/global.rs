//! Races in global memory, between blocks and between the warps of one.
//!
//! A granule is a 32-byte sector, split into words and these into bytes where the accesses to them differ. It remembers the
//! accesses of the block that touched it last as shared memory does, and of all other blocks the last write and who has read
//! since. Lanes of one warp are not told apart here.

use std::collections::HashMap;

use super::Clocks;
use super::cell::{Actor, Cell, Class, Earlier, Outcome, Times, Touch};
use crate::memory::{ARENA_BYTES, reserve};
use crate::report::Footprint;

const SECTOR: u64 = 32;
const PAGE: u64 = 4096;
const SECTORS: usize = (PAGE / SECTOR) as usize;

/// What is known of the accesses to global memory in one launch.
pub struct GlobalRaces {
    pages: Pages,
    words: Vec<[Granule; 8]>,
    bytes: Vec<[Granule; 4]>,
    times: Times,
    readers: Readers,
}

#[derive(Clone, Copy, Default)]
struct Granule {
    /// The block that `cell` tells of, plus one.
    block: u32,
    cell: Cell,
    /// The block's count of releases when it last read.
    releases: u32,
    others: Others,
    /// Where the bytes are not alike: the parts, from 1.
    split: u32,
}

/// The last accesses of blocks other than the granule's.
#[derive(Clone, Copy, Default)]
struct Others {
    writer: u32,
    write_time: u32,
    write_pc: u32,
    write_bytes: u32,
    write_warp: u8,
    class: Class,
    cta: bool,
    read_pc: u32,
    read_bytes: u32,
    /// A set of [`Readers`].
    readers: u32,
}

impl GlobalRaces {
    /// For one launch; `None` where the tables cannot be reserved.
    pub fn new() -> Option<GlobalRaces> {
        Some(GlobalRaces {
            pages: Pages::new()?,
            words: Vec::new(),
            bytes: Vec::new(),
            times: Times::new(),
            readers: Readers::default(),
        })
    }

    /// Forgets everything: a new launch.
    pub fn start(&mut self) {
        self.pages.clear();
        self.words.clear();
        self.bytes.clear();
        self.times.clear();
        self.readers = Readers::default();
    }

    /// Distinct sectors touched.
    pub fn footprint(&self) -> Footprint {
        self.pages.footprint()
    }

    /// Checks and records an access to `bytes` from `offset` in the arena on. A race comes with the offset of its sector.
    #[inline]
    pub fn touch(&mut self, offset: u64, bytes: u32, touch: Touch, actor: &Actor<'_>) -> Result<(), (Earlier, u64)> {
        let (mut at, end) = (offset, offset + u64::from(bytes));
        while at < end {
            let stop = end.min((at & !(SECTOR - 1)) + SECTOR);
            let mask = (((1u64 << (stop - at)) - 1) << (at & (SECTOR - 1))) as u32;
            let (page, sector) = (self.pages.page(at / PAGE), (at % PAGE / SECTOR) as usize);
            page.mark(sector, touch);
            let granule = &mut page.granules[sector];
            if granule.split == 0 && !granule.touch_fast(mask, touch, actor) {
                match granule.touch(mask, touch, actor, &mut self.times, &mut self.readers) {
                    Outcome::Done => {}
                    Outcome::Race(earlier) => return Err((earlier, at)),
                    Outcome::Split => {
                        let times = &mut self.times;
                        self.words.push(std::array::from_fn(|word| granule.part(15 << (4 * word), times)));
                        granule.split = self.words.len() as u32;
                    }
                }
            }
            if granule.split != 0 {
                let split = granule.split;
                self.touch_words(split, mask, touch, actor).map_err(|earlier| (earlier, at))?;
            }
            at = stop;
        }
        Ok(())
    }

    #[inline(never)]
    fn touch_words(&mut self, split: u32, mask: u32, touch: Touch, actor: &Actor<'_>) -> Result<(), Earlier> {
        for (index, word) in self.words[split as usize - 1].iter_mut().enumerate() {
            let mask = mask & 15 << (4 * index);
            if mask == 0 {
                continue;
            }
            if word.split == 0 {
                match word.touch(mask, touch, actor, &mut self.times, &mut self.readers) {
                    Outcome::Done => continue,
                    Outcome::Race(earlier) => return Err(earlier),
                    Outcome::Split => {
                        let times = &mut self.times;
                        self.bytes.push(std::array::from_fn(|byte| word.part(1 << (4 * index + byte), times)));
                        word.split = self.bytes.len() as u32;
                    }
                }
            }
            for (at, byte) in self.bytes[word.split as usize - 1].iter_mut().enumerate() {
                let bit = 1 << (4 * index + at);
                if mask & bit == 0 {
                    continue;
                }
                if let Outcome::Race(earlier) = byte.touch(bit, touch, actor, &mut self.times, &mut self.readers) {
                    return Err(earlier);
                }
            }
        }
        Ok(())
    }
}

impl Granule {
    /// Records a plain access in the common case: no other block has touched the bytes. False: use `touch`.
    #[inline(always)]
    fn touch_fast(&mut self, bytes: u32, touch: Touch, actor: &Actor<'_>) -> bool {
        if self.block != actor.clocks.block() + 1 || self.others.write_bytes != 0 {
            return false;
        }
        match touch {
            Touch::Read => {
                self.releases = actor.clocks.releases();
                self.cell.read_fast(bytes, actor)
            }
            Touch::Write => self.others.read_bytes == 0 && self.cell.write_fast(bytes, actor),
            Touch::Strong { .. } => false,
        }
    }

    #[inline]
    fn touch(
        &mut self,
        bytes: u32,
        touch: Touch,
        actor: &Actor<'_>,
        times: &mut Times,
        readers: &mut Readers,
    ) -> Outcome {
        let block = actor.clocks.block() + 1;
        if self.block != block {
            if self.block != 0 && !self.hand_over(readers) {
                return Outcome::Split;
            }
            self.block = block;
            self.cell = Cell::default();
        }
        if let Some(earlier) = self.others.race(bytes, touch, actor, readers) {
            return Outcome::Race(earlier);
        }
        let updates = matches!(touch, Touch::Strong { updates: true, .. });
        if updates && self.others.class != Class::Read && self.others.read_bytes & !bytes == 0 {
            // The update has observed them, and stands for them from here on.
            (self.others.read_bytes, self.others.readers) = (0, 0);
        }
        if touch != Touch::Write {
            self.releases = actor.clocks.releases();
        }
        self.cell.touch(bytes, touch, actor, times)
    }

    /// Files the block's accesses under those of others, as another block comes; false where the bytes are not alike.
    fn hand_over(&mut self, readers: &mut Readers) -> bool {
        let (cell, others, block) = (&self.cell, &mut self.others, self.block - 1);
        let alike = others.write_bytes & !cell.write_bytes == 0 || cell.write_bytes == 0;
        let alike_read = others.read_bytes == 0 || others.read_bytes == cell.read_bytes || cell.read_bytes == 0;
        if !alike || !alike_read {
            return false;
        }
        if cell.write_bytes != 0 {
            others.writer = block;
            others.write_time = cell.write_time;
            others.write_pc = cell.write_pc;
            others.write_bytes = cell.write_bytes;
            others.write_warp = cell.write_warp;
            if others.read_bytes & !cell.write_bytes == 0 {
                // Ordered before the write, or it would have been a race.
                (others.read_bytes, others.readers) = (0, 0);
            }
        }
        if cell.read_bytes != 0 {
            let keep = others.read_bytes != 0 && others.class == cell.class;
            let set = if keep { others.readers } else { 0 };
            others.readers = readers.add(set, block, self.releases);
            others.read_bytes = cell.read_bytes;
            others.read_pc = cell.read_pc;
            others.cta = cell.cta || keep && others.cta;
            others.class = cell.class;
        }
        true
    }

    fn part(&self, bytes: u32, times: &mut Times) -> Granule {
        let others = Others {
            write_bytes: self.others.write_bytes & bytes,
            read_bytes: self.others.read_bytes & bytes,
            ..self.others
        };
        Granule { cell: self.cell.part(bytes, times), others, split: 0, ..*self }
    }
}

impl Others {
    #[inline]
    fn race(&self, bytes: u32, touch: Touch, actor: &Actor<'_>, readers: &Readers) -> Option<Earlier> {
        let (clocks, warp) = (actor.clocks, actor.warp);
        if self.write_bytes & bytes != 0 && !knows_write(clocks, warp, self) {
            let writer = Some(u32::from(self.write_warp));
            return Some(Earlier {
                what: "write",
                pc: self.write_pc,
                block: Some(self.writer),
                warp: writer,
                lane: None,
            });
        }
        if self.read_bytes & bytes == 0 {
            return None;
        }
        // Strong operations of different blocks are strong among each other only when both have the device's scope.
        let narrow = match touch {
            Touch::Strong { writes, cta, .. } => (cta || self.cta) && (writes || self.class == Class::StrongWrite),
            _ => false,
        };
        if !narrow && !self.class.conflicts(touch) {
            return None;
        }
        let block = readers.unknown(self.readers, clocks, warp)?;
        Some(Earlier { what: self.class.title(), pc: self.read_pc, block: Some(block), warp: None, lane: None })
    }
}

fn knows_write(clocks: &Clocks, warp: u32, others: &Others) -> bool {
    let writer = u32::from(others.write_warp);
    if others.writer == clocks.block() {
        return writer == warp || clocks.orders(warp, writer, others.write_time);
    }
    clocks.knows(warp, others.writer, writer, others.write_time)
}

/// Sets of blocks that have read, as chains that share their tails: most granules were read by the same blocks.
#[derive(Default)]
struct Readers {
    /// Block, its count of releases when it read, the rest of the set.
    links: Vec<(u32, u32, u32)>,
    known: HashMap<(u32, u32, u32), u32>,
    last: Option<((u32, u32, u32), u32)>,
}

impl Readers {
    fn add(&mut self, set: u32, block: u32, releases: u32) -> u32 {
        let key = (block, releases, set);
        if let Some((last, set)) = self.last
            && last == key
        {
            return set;
        }
        let found = self.chain(set).take(8).any(|link| link.0 == block && link.1 == releases);
        let id = if found {
            set
        } else {
            *self.known.entry(key).or_insert_with(|| {
                self.links.push(key);
                self.links.len() as u32
            })
        };
        self.last = Some((key, id));
        id
    }

    fn chain(&self, set: u32) -> impl Iterator<Item = (u32, u32, u32)> {
        let link = |set: u32| self.links.get((set as usize).wrapping_sub(1)).copied();
        std::iter::successors(link(set), move |(_, _, rest)| link(*rest))
    }

    /// A block of the set whose reads the warp does not know of.
    fn unknown(&self, set: u32, clocks: &Clocks, warp: u32) -> Option<u32> {
        let known = |block, releases| block == clocks.block() || clocks.knows_reads(warp, block, releases);
        self.chain(set).find(|(block, releases, _)| !known(*block, *releases)).map(|(block, _, _)| block)
    }
}

/// The granules, by page of the arena; only touched pages exist.
struct Pages {
    /// Per page of the arena, its place in `pages` plus one. Reserved address space, zero where untouched.
    index: *mut u32,
    pages: Vec<Box<Page>>,
    used: Vec<u64>,
}

struct Page {
    granules: [Granule; SECTORS],
    read: u128,
    written: u128,
}

// SAFETY: the table belongs to this value alone.
unsafe impl Send for Pages {}

impl Pages {
    fn new() -> Option<Pages> {
        let index = reserve(ARENA_BYTES / PAGE as usize * size_of::<u32>())? as *mut u32;
        Some(Pages { index, pages: Vec::new(), used: Vec::new() })
    }

    fn clear(&mut self) {
        for page in self.used.drain(..) {
            // SAFETY: as in `page`.
            unsafe { *self.index.add(page as usize) = 0 };
        }
    }

    #[inline(always)]
    fn page(&mut self, page: u64) -> &mut Page {
        debug_assert!(page < ARENA_BYTES as u64 / PAGE);
        // SAFETY: accesses are checked to lie in the arena, for every page of which the table has an entry.
        let entry = unsafe { &mut *self.index.add(page as usize) };
        if *entry == 0 {
            self.used.push(page);
            *entry = self.used.len() as u32;
            let fresh = Page { granules: [Granule::default(); SECTORS], read: 0, written: 0 };
            match self.pages.get_mut(self.used.len() - 1) {
                Some(old) => **old = fresh,
                None => self.pages.push(Box::new(fresh)),
            }
        }
        &mut self.pages[*entry as usize - 1]
    }

    fn footprint(&self) -> Footprint {
        let sum =
            |count: fn(&Page) -> u32| self.pages[..self.used.len()].iter().map(|page| u64::from(count(page))).sum();
        Footprint {
            sectors_read: sum(|page| page.read.count_ones()),
            sectors_written: sum(|page| page.written.count_ones()),
        }
    }
}

impl Page {
    #[inline(always)]
    fn mark(&mut self, sector: usize, touch: Touch) {
        if touch != Touch::Write {
            self.read |= 1 << sector;
        }
        if touch == Touch::Write || matches!(touch, Touch::Strong { writes: true, .. }) {
            self.written |= 1 << sector;
        }
    }
}
