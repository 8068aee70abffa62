//! Races in a block's shared memory: a cell per four bytes, split into single bytes where these differ.

use super::cell::{Actor, Cell, Earlier, Outcome, Times, Touch};

/// Bytes of a granule.
const GRANULE: u32 = 4;
const WHOLE: u32 = (1 << GRANULE) - 1;

/// What is known of the accesses to shared memory.
pub struct SharedRaces {
    cells: Vec<Cell>,
    parts: Vec<[Cell; GRANULE as usize]>,
    /// Parts of granules that are whole again.
    spare: Vec<u32>,
    times: Times,
}

impl SharedRaces {
    /// For `bytes` of shared memory.
    pub fn new(bytes: u32) -> SharedRaces {
        let cells = vec![Cell::default(); bytes.div_ceil(GRANULE) as usize];
        SharedRaces { cells, parts: Vec::new(), spare: Vec::new(), times: Times::new() }
    }

    /// A new block. Cells of the old one are recognised by their times.
    pub fn start(&mut self) {
        self.parts.clear();
        self.spare.clear();
        self.times.clear();
    }

    /// Checks and records an access that is in bounds.
    #[inline(always)]
    pub fn touch(&mut self, offset: u32, size: u32, touch: Touch, actor: &Actor<'_>) -> Result<(), Earlier> {
        if size < GRANULE {
            let bytes = ((1 << size) - 1) << (offset % GRANULE);
            return self.touch_granule(offset / GRANULE, bytes, touch, actor);
        }
        for granule in offset / GRANULE..(offset + size) / GRANULE {
            self.touch_granule(granule, WHOLE, touch, actor)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn touch_granule(&mut self, granule: u32, bytes: u32, touch: Touch, actor: &Actor<'_>) -> Result<(), Earlier> {
        let cell = &mut self.cells[granule as usize];
        if cell.split == 0 || cell.is_stale(actor.clocks.base()) {
            match cell.touch(bytes, touch, actor, &mut self.times) {
                Outcome::Done => return Ok(()),
                Outcome::Race(earlier) => return Err(earlier),
                Outcome::Split => {
                    let parts = std::array::from_fn(|byte| cell.part(1 << byte, &mut self.times));
                    let split = self.spare.pop().unwrap_or(self.parts.len() as u32 + 1);
                    match self.parts.get_mut(split as usize - 1) {
                        Some(spare) => *spare = parts,
                        None => self.parts.push(parts),
                    }
                    *cell = Cell::split_into(split);
                }
            }
        }
        self.touch_parts(granule, bytes, touch, actor)
    }

    #[cold]
    #[inline(never)]
    fn touch_parts(&mut self, granule: u32, bytes: u32, touch: Touch, actor: &Actor<'_>) -> Result<(), Earlier> {
        let cell = &mut self.cells[granule as usize];
        let parts = &mut self.parts[cell.split as usize - 1];
        for (byte, part) in parts.iter_mut().enumerate().filter(|(byte, _)| bytes >> byte & 1 == 1) {
            match part.touch(1 << byte, touch, actor, &mut self.times) {
                Outcome::Race(earlier) => return Err(earlier),
                Outcome::Done | Outcome::Split => {}
            }
        }
        // Keeps the granule from looking stale; a write of all bytes makes them alike again.
        cell.write_time = actor.clocks.now();
        if touch == Touch::Write && bytes == WHOLE {
            self.spare.push(cell.split);
            *cell = Cell::default();
            cell.touch(bytes, touch, actor, &mut self.times);
        }
        Ok(())
    }
}
