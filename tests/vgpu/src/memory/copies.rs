//! Asynchronous copies of one warp: issued, grouped, and landed at the last moment that the manual allows.

use std::collections::VecDeque;

use super::Lanes;

/// One `cp.async` instruction of a warp, or what is left of it.
pub struct Copy {
    /// Lanes whose part has not landed.
    pub lanes: u32,
    /// The group that it belongs to.
    group: u32,
    /// The instruction.
    pub pc: u32,
    /// Bytes written per lane.
    pub size: u32,
    /// Shared offsets.
    pub to: [u32; 32],
    /// Device addresses.
    pub from: [u64; 32],
    /// Bytes read per lane; the rest of `size` becomes zero.
    pub from_size: [u32; 32],
    /// All lanes read all bytes.
    pub whole: bool,
}

/// The unfinished copies of a warp. Groups are counted per thread, as the manual has it.
#[derive(Default)]
pub struct Copies {
    queue: VecDeque<Copy>,
    /// The group that the lane's next copy joins.
    group: [u32; 32],
    /// Whether lanes have closed different numbers of groups.
    apart: bool,
}

impl Copies {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.group = [0; 32];
        self.apart = false;
    }

    /// Records a copy in the open group of each lane.
    pub fn issue(&mut self, lanes: u32, pc: u32, size: u32, to: &[u32; 32], from: &[u64; 32], from_size: &[u32; 32]) {
        let whole = Lanes(lanes).all(|lane| from_size[lane] >= size);
        let mut rest = lanes;
        while rest != 0 {
            let group = self.group[rest.trailing_zeros() as usize];
            let members = match self.apart {
                false => rest,
                true => Lanes(rest).filter(|lane| self.group[*lane] == group).fold(0, |lanes, lane| lanes | 1 << lane),
            };
            let (to, from, from_size) = (*to, *from, *from_size);
            self.queue.push_back(Copy { lanes: members, group, pc, size, to, from, from_size, whole });
            rest &= !members;
        }
    }

    /// Closes the open group of the lanes.
    pub fn commit(&mut self, lanes: u32) {
        self.apart |= lanes != !0;
        for lane in Lanes(lanes) {
            self.group[lane] += 1;
        }
    }

    /// Takes one copy that must land so that at most `pending` closed groups of each of the lanes stay unfinished: the copy and
    /// the lanes of it that land.
    pub fn due(&mut self, lanes: u32, pending: u32) -> Option<(Copy, u32)> {
        if !self.apart {
            // The oldest group comes first.
            let first = self.queue.front_mut().filter(|copy| copy.group < self.group[0].saturating_sub(pending))?;
            if first.lanes & !lanes == 0 {
                return self.queue.pop_front().map(|copy| (copy.lanes, copy)).map(|(lanes, copy)| (copy, lanes));
            }
        }
        let limit = |lane: usize| self.group[lane].saturating_sub(pending);
        let due = |copy: &Copy| {
            let lands = |lane: &usize| copy.group < limit(*lane);
            Lanes(copy.lanes & lanes).filter(lands).fold(0u32, |lanes, lane| lanes | 1 << lane)
        };
        let (at, landing) =
            self.queue.iter().enumerate().map(|(at, copy)| (at, due(copy))).find(|(_, lanes)| *lanes != 0)?;
        if landing == self.queue[at].lanes {
            let copy = self.queue.remove(at)?;
            return Some((copy, landing));
        }
        self.queue[at].lanes &= !landing;
        Some((Copy { ..self.queue[at] }, landing))
    }

    /// The unfinished copy whose destination holds the byte at `offset`: its instruction and lane.
    pub fn covering(&self, offset: u64) -> Option<(u32, u32)> {
        self.queue.iter().rev().find_map(|copy| {
            let covers = |lane: &usize| {
                let start = u64::from(copy.to[*lane]);
                (start..start + u64::from(copy.size)).contains(&offset)
            };
            Lanes(copy.lanes).find(covers).map(|lane| (copy.pc, lane as u32))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issue(copies: &mut Copies, lanes: u32, pc: u32) {
        let to = std::array::from_fn(|lane| lane as u32 * 16);
        copies.issue(lanes, pc, 16, &to, &[0; 32], &[16; 32]);
    }

    fn land(copies: &mut Copies, lanes: u32, pending: u32) -> Vec<(u32, u32)> {
        let mut landed = Vec::new();
        while let Some((copy, lanes)) = copies.due(lanes, pending) {
            landed.push((copy.pc, lanes));
        }
        landed
    }

    #[test]
    fn a_wait_lands_all_but_the_newest_groups() {
        let mut copies = Copies::default();
        for pc in 0..3 {
            issue(&mut copies, !0, pc);
            copies.commit(!0);
        }
        issue(&mut copies, !0, 3);
        assert_eq!(land(&mut copies, !0, 3), []);
        assert_eq!(land(&mut copies, !0, 1), [(0, !0), (1, !0)]);
        assert_eq!(land(&mut copies, !0, 0), [(2, !0)], "a copy of the open group waits for its commit");
        assert_eq!(copies.covering(35), Some((3, 2)));
        copies.commit(!0);
        assert_eq!(land(&mut copies, !0, 0), [(3, !0)]);
        assert_eq!(copies.covering(35), None);
    }

    #[test]
    fn groups_are_the_threads_own() {
        let mut copies = Copies::default();
        issue(&mut copies, 0xff, 1);
        copies.commit(0x0f);
        assert_eq!(land(&mut copies, !0, 0), [(1, 0x0f)]);
        issue(&mut copies, 0xff, 2);
        copies.commit(0xff);
        assert_eq!(land(&mut copies, 0xf3, 0), [(1, 0xf0), (2, 0x03), (2, 0xf0)]);
        assert_eq!(land(&mut copies, !0, 0), [(2, 0x0c)]);
    }
}
