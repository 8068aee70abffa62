//! Races in a block's shared memory: a cell per 16 bytes, split into words and these into bytes where the accesses differ.

use super::cell::{Actor, Cell, Earlier, Outcome, Times, Touch};

/// Bytes of a granule, the widest access.
const GRANULE: u32 = 16;
const WHOLE: u32 = (1 << GRANULE) - 1;

/// What is known of the accesses to shared memory.
pub struct SharedRaces {
    cells: Vec<Cell>,
    words: Parts,
    bytes: Parts,
    times: Times,
}

/// The four parts of each cell that is split.
#[derive(Default)]
struct Parts {
    parts: Vec<[Cell; 4]>,
    /// Parts of cells that are whole again.
    spare: Vec<u32>,
}

impl Parts {
    fn clear(&mut self) {
        self.parts.clear();
        self.spare.clear();
    }

    /// Splits a cell into four, the first of which covers `first`, the others what follows.
    fn split(&mut self, cell: &mut Cell, first: u32, times: &mut Times) {
        let width = first.count_ones();
        let parts = std::array::from_fn(|part| cell.part(first << (width * part as u32), times));
        let split = self.spare.pop().unwrap_or(self.parts.len() as u32 + 1);
        match self.parts.get_mut(split as usize - 1) {
            Some(spare) => *spare = parts,
            None => self.parts.push(parts),
        }
        *cell = Cell::split_into(split);
    }
}

impl SharedRaces {
    /// For `bytes` of shared memory.
    pub fn new(bytes: u32) -> SharedRaces {
        let cells = vec![Cell::default(); bytes.div_ceil(GRANULE) as usize];
        SharedRaces { cells, words: Parts::default(), bytes: Parts::default(), times: Times::new() }
    }

    /// A new block. Cells of the old one are recognised by their times.
    pub fn start(&mut self) {
        self.words.clear();
        self.bytes.clear();
        self.times.clear();
    }

    /// Checks and records an access that is in bounds and aligned.
    #[inline(always)]
    pub fn touch<const SIZE: u32>(&mut self, offset: u32, touch: Touch, actor: &Actor<'_>) -> Result<(), Earlier> {
        let mask = if SIZE == GRANULE { WHOLE } else { ((1 << SIZE) - 1) << (offset % GRANULE) };
        let cell = &mut self.cells[(offset / GRANULE) as usize];
        if cell.split == 0 {
            let done = match touch {
                Touch::Read => cell.read_fast(mask, actor),
                Touch::Write => cell.write_fast(mask, actor),
                Touch::Strong { .. } => false,
            };
            if done {
                return Ok(());
            }
        } else if !cell.is_stale(actor.clocks.base()) {
            return self.touch_words(offset / GRANULE, mask, touch, actor);
        }
        self.touch_whole(offset / GRANULE, mask, touch, actor)
    }

    #[inline(never)]
    fn touch_whole(&mut self, granule: u32, mask: u32, touch: Touch, actor: &Actor<'_>) -> Result<(), Earlier> {
        let cell = &mut self.cells[granule as usize];
        match cell.touch(mask, touch, actor, &mut self.times) {
            Outcome::Done => Ok(()),
            Outcome::Race(earlier) => Err(earlier),
            Outcome::Split => {
                self.words.split(cell, 15, &mut self.times);
                self.touch_words(granule, mask, touch, actor)
            }
        }
    }

    fn touch_words(&mut self, granule: u32, mask: u32, touch: Touch, actor: &Actor<'_>) -> Result<(), Earlier> {
        let cell = &mut self.cells[granule as usize];
        for (index, word) in self.words.parts[cell.split as usize - 1].iter_mut().enumerate() {
            let first = 1 << (4 * index);
            let mask = mask & (15 * first);
            if mask == 0 || word.split == 0 && touch == Touch::Read && word.read_fast(mask, actor) {
                continue;
            }
            if word.split == 0 {
                match word.touch(mask, touch, actor, &mut self.times) {
                    Outcome::Done => continue,
                    Outcome::Race(earlier) => return Err(earlier),
                    Outcome::Split => self.bytes.split(word, first, &mut self.times),
                }
            }
            for (at, byte) in self.bytes.parts[word.split as usize - 1].iter_mut().enumerate() {
                let bit = first << at;
                if mask & bit != 0
                    && let Outcome::Race(earlier) = byte.touch(bit, touch, actor, &mut self.times)
                {
                    return Err(earlier);
                }
            }
            if touch == Touch::Write && mask == 15 * first {
                // A write of all bytes makes them alike again.
                self.bytes.spare.push(word.split);
                *word = Cell::default();
                word.touch(mask, touch, actor, &mut self.times);
            }
        }
        // Keeps the granule from looking stale.
        cell.write_time = actor.clocks.now();
        if touch == Touch::Write && mask == WHOLE {
            self.words.spare.push(cell.split);
            *cell = Cell::default();
            cell.touch(mask, touch, actor, &mut self.times);
        }
        Ok(())
    }
}
