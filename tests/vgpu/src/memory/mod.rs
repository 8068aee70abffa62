//! The memories of the virtual GPU and the checks on every access to them.
//!
//! [`arena`] is device memory. A [`Launch`] holds what the checks know about one kernel launch, a [`Block`] the shared and local
//! memory of one resident block with its asynchronous copies, barriers and clocks. The interpreter asks a block once per warp
//! instruction; the answer is where the data lies and which lanes read undefined bytes, or the broken rule.

mod arena;
mod block;
mod buffer;
mod copies;
mod global;
mod races;
mod shadow;
mod traffic;

#[cfg(test)]
pub(crate) mod tests;

pub use arena::{ARENA_BYTES, Arena, arena};
pub use block::{Block, BlockShape};
pub use buffer::Region;
pub use global::Launch;
pub use traffic::Lanes;

pub(crate) use arena::reserve;

use crate::report::{Checked, FaultKind, Violation};

/// Generic addresses of shared memory: this plus the offset.
pub const SHARED_WINDOW: u64 = 1 << 56;
/// Generic addresses of local memory: this plus the offset.
pub const LOCAL_WINDOW: u64 = 2 << 56;

/// A memory that the lanes of an instruction access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Device memory, constants included.
    Global,
    /// The block's memory; addresses are offsets.
    Shared,
    /// The thread's own memory; addresses are offsets.
    Local,
}

/// The lanes of `lanes` by the memory that their generic address lies in. Offsets need no change: a block ignores the window.
pub fn generic(addresses: &[u64; 32], lanes: u32) -> [(Space, u32); 3] {
    let (mut shared, mut local) = (0, 0);
    for lane in Lanes(lanes) {
        match addresses[lane] & !0xffff_ffff {
            SHARED_WINDOW => shared |= 1 << lane,
            LOCAL_WINDOW => local |= 1 << lane,
            _ => {}
        }
    }
    [(Space::Global, lanes & !shared & !local), (Space::Shared, shared), (Space::Local, local)]
}

/// Who accesses memory.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// Warp within the block.
    pub warp: u32,
    /// The instruction.
    pub pc: u32,
    /// The executing lanes.
    pub lanes: u32,
}

/// How strictly undefined data is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Definedness {
    /// Not at all.
    Off,
    /// It must not become an address or be stored to global memory.
    Lenient,
    /// It must not decide a branch either.
    Strict,
}

impl Definedness {
    /// Whether `undefined` lanes may decide a branch.
    #[inline]
    pub fn check_branch(self, undefined: u32) -> Checked<()> {
        if undefined != 0 && self == Definedness::Strict {
            return Err(Violation::new(FaultKind::UndefinedBranch, undefined, ""));
        }
        Ok(())
    }

    /// Whether `undefined` lanes may give an address.
    #[inline]
    pub fn check_address(self, undefined: u32) -> Checked<()> {
        if undefined != 0 && self != Definedness::Off {
            return Err(Violation::new(FaultKind::UndefinedAddress, undefined, ""));
        }
        Ok(())
    }
}

/// Which checks are made. Bounds, alignment and unfinished copies are always checked.
#[derive(Clone, Debug)]
pub struct Checks {
    /// Undefined data.
    pub definedness: Definedness,
    /// Races in shared and global memory.
    pub races: bool,
}

impl Default for Checks {
    fn default() -> Checks {
        Checks { definedness: Definedness::Strict, races: true }
    }
}

/// A permitted access.
pub struct Access {
    /// Where each lane's bytes lie; null for lanes that do not take part.
    pub pointer: [*mut u8; 32],
    /// Lanes that read at least one undefined byte.
    pub undefined: u32,
    /// Lanes that store to bytes to which another lane of the same instruction stores.
    pub clash: u32,
    /// Sectors of global memory, or wavefronts of shared memory.
    pub units: u32,
    /// The fewest that the access needs.
    pub minimum: u32,
}

impl Access {
    /// After the data is written: whether lanes that clash stored the same. `agrees` says whether memory at the lane's pointer
    /// holds what the lane stored.
    ///
    /// # Errors
    /// [`FaultKind::WarpRace`] with the lanes whose value is lost.
    pub fn check_clash(&self, agrees: impl Fn(usize, *const u8) -> bool) -> Checked<()> {
        if self.clash == 0 {
            return Ok(());
        }
        let lost =
            Lanes(self.clash).filter(|lane| !agrees(*lane, self.pointer[*lane])).fold(0, |lost, lane| lost | 1 << lane);
        if lost == 0 {
            return Ok(());
        }
        let note = "lanes of one instruction store different values to the same bytes; which one stays is undefined";
        Err(Violation::new(FaultKind::WarpRace, lost, note))
    }
}

/// Traffic of an asynchronous copy: what it reads from global memory and what it will write to shared memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyTraffic {
    /// Sectors of global memory.
    pub sectors: u32,
    /// The fewest for as many bytes.
    pub sectors_minimum: u32,
    /// Wavefronts of shared memory.
    pub wavefronts: u32,
    /// The fewest.
    pub wavefronts_minimum: u32,
}

/// Lanes whose address is no multiple of `size`.
#[inline(always)]
fn check_aligned(at: At, addresses: &[u64; 32], size: u32) -> Checked<()> {
    let low = u64::from(size) - 1;
    // What lanes that do not execute hold is mostly aligned too.
    if addresses.iter().fold(0, |bits, address| bits | address) & low == 0 {
        return Ok(());
    }
    let mut bad = 0u32;
    for (lane, address) in addresses.iter().enumerate() {
        bad |= u32::from(address & low != 0) << lane;
    }
    if bad & at.lanes == 0 {
        return Ok(());
    }
    Err(misaligned(bad & at.lanes, addresses, size))
}

#[cold]
fn misaligned(lanes: u32, addresses: &[u64; 32], size: u32) -> Box<Violation> {
    let address = addresses[lanes.trailing_zeros() as usize];
    Violation::new(FaultKind::Misaligned, lanes, format!("{size}-byte access at 0x{address:x}"))
}

/// Lanes that store where a lower or higher lane of the same instruction stores too.
///
/// `size` is that of the aligned access.
fn clashes(addresses: &[u64; 32], lanes: u32, size: u32) -> u32 {
    // Addresses that differ mostly differ in these bits too.
    let (shift, mut taken) = (size.trailing_zeros(), [0u64; 4]);
    for lane in Lanes(lanes) {
        let place = (addresses[lane] >> shift) as usize;
        taken[place >> 6 & 3] |= 1 << (place & 63);
    }
    if taken.iter().map(|bits| bits.count_ones()).sum::<u32>() == lanes.count_ones() {
        return 0;
    }
    let (mut sorted, mut count) = ([(0u64, 0usize); 32], 0);
    for lane in Lanes(lanes) {
        sorted[count] = (addresses[lane], lane);
        count += 1;
    }
    let sorted = &mut sorted[..count];
    sorted.sort_unstable();
    let pairs = sorted.windows(2).filter(|pair| pair[0].0 == pair[1].0);
    pairs.fold(0, |lanes, pair| lanes | 1 << pair[0].1 | 1 << pair[1].1)
}
