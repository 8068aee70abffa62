//! Accesses of a launch to device memory.

use std::sync::{Mutex, PoisonError};

use super::traffic::sectors;
use super::{Access, At, Checks, Definedness, Lanes, arena, check_aligned, shadow};
use crate::report::{Checked, FaultKind, Footprint, Violation};
use crate::sync::{GlobalRaces, Locations};

/// Tables of accesses that no launch uses: they are large, so they are kept.
static SPARE: Mutex<Vec<GlobalRaces>> = Mutex::new(Vec::new());

/// What the checks know about one kernel launch. Launches of several streams, or of several tests, run side by side; races are
/// looked for within each.
pub struct Launch {
    /// What strong operations on global memory have released.
    pub(super) locations: Locations,
    races: Option<GlobalRaces>,
}

impl Drop for Launch {
    fn drop(&mut self) {
        SPARE.lock().unwrap_or_else(PoisonError::into_inner).extend(self.races.take());
    }
}

impl Launch {
    /// Begins a launch.
    pub fn begin(checks: Checks) -> Launch {
        let spare = || SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut races = if checks.races { spare().or_else(GlobalRaces::new) } else { None };
        if let Some(races) = races.as_mut() {
            races.start();
        }
        Launch { locations: Locations::default(), races }
    }

    /// Distinct sectors of global memory touched so far; zero when races are not checked.
    pub fn footprint(&self) -> Footprint {
        self.races.as_ref().map_or_else(Footprint::default, GlobalRaces::footprint)
    }

    /// The table of accesses, when races are checked.
    pub(super) fn races(&mut self) -> Option<&mut GlobalRaces> {
        self.races.as_mut()
    }
}

/// Checks bounds and definedness of the lanes' bytes in device memory; with `write` they become defined.
#[inline(always)]
pub(super) fn check<const SIZE: u32>(at: At, addresses: &[u64; 32], read: bool, write: bool) -> Checked<Access> {
    check_aligned(at, addresses, SIZE)?;
    let arena = arena();
    let mut access = Access { pointer: [std::ptr::null_mut(); 32], undefined: 0, clash: 0, units: 0, minimum: 0 };
    let contiguous = (1..32).all(|lane| addresses[lane] == addresses[0].wrapping_add((lane as u32 * SIZE) as u64));
    if at.lanes == !0 && contiguous && arena.contains(addresses[0]) && arena.contains(addresses[31]) {
        let bytes = 32 * SIZE as usize;
        // SAFETY: both ends lie in the arena, aligned, so the whole range has a shadow, which no other code borrows.
        let states = unsafe { std::slice::from_raw_parts_mut(arena.shadow_pointer(addresses[0]), bytes) };
        let and = states.iter().fold(shadow::DEFINED, |and, state| and & state);
        if and & shadow::ALLOCATED != 0 && (!read || and == shadow::DEFINED) {
            if write && and != shadow::DEFINED {
                states.fill(shadow::DEFINED);
            }
            access.pointer = addresses.map(|address| address as *mut u8);
            access.units = ((addresses[31] >> 5) - (addresses[0] >> 5) + 1) as u32;
            access.minimum = SIZE;
            return Ok(access);
        }
    }
    // Mostly nothing is wrong: all states together tell.
    let mut together = shadow::Together::default();
    let inside = Lanes(at.lanes).all(|lane| {
        let inside = arena.contains(addresses[lane]);
        if inside {
            // SAFETY: an aligned address in the arena, whose shadow is as large.
            unsafe { together.add::<SIZE>(arena.shadow_pointer(addresses[lane])) };
            access.pointer[lane] = addresses[lane] as *mut u8;
        }
        inside
    });
    if inside && together.all_defined::<SIZE>() {
        (access.units, access.minimum) = sectors(addresses, at.lanes, SIZE);
        return Ok(access);
    }
    let mut bad = 0;
    for lane in Lanes(at.lanes) {
        let address = addresses[lane];
        if !arena.contains(address) {
            bad |= 1 << lane;
            continue;
        }
        let states = arena.shadow_pointer(address);
        // SAFETY: an aligned address in the arena, whose shadow is as large.
        let (allocated, defined) = unsafe { shadow::states(states, SIZE) };
        if !allocated {
            bad |= 1 << lane;
            continue;
        }
        if read && !defined {
            access.undefined |= 1 << lane;
        }
        if write && !defined {
            // SAFETY: as above.
            unsafe { std::ptr::write_bytes(states, shadow::DEFINED, SIZE as usize) };
        }
        access.pointer[lane] = address as *mut u8;
    }
    if bad != 0 {
        return Err(out_of_bounds(bad, addresses, SIZE, write));
    }
    (access.units, access.minimum) = sectors(addresses, at.lanes, SIZE);
    Ok(access)
}

#[cold]
fn out_of_bounds(bad: u32, addresses: &[u64; 32], size: u32, write: bool) -> Box<Violation> {
    let address = addresses[bad.trailing_zeros() as usize];
    // Within an access it is the first byte that is not allocated which tells most.
    let first = (address..address + u64::from(size)).find(|byte| arena().check(*byte, 1).is_err()).unwrap_or(address);
    let place = arena().describe(first);
    let kind = if place.ends_with("freed") { FaultKind::UseAfterFree } else { FaultKind::OutOfBounds };
    Violation::new(kind, bad, format!("{size}-byte global {}: {place}", if write { "write" } else { "read" }))
}

/// Lanes with an undefined byte in device memory that a check accepted.
pub(super) fn undefined(addresses: &[u64; 32], lanes: u32, offset: u32, size: u32) -> u32 {
    let defined = |lane: &usize| arena().is_initialised(addresses[*lane] + u64::from(offset), size as usize);
    Lanes(lanes).filter(|lane| !defined(lane)).fold(0, |lanes, lane| lanes | 1 << lane)
}

/// Lanes stored undefined data: a fault, as the host or other blocks see it.
pub(super) fn store_undefined(definedness: Definedness, addresses: &[u64; 32], lanes: u32, offset: u32) -> Checked<()> {
    if lanes == 0 || definedness == Definedness::Off {
        return Ok(());
    }
    let address = addresses[lanes.trailing_zeros() as usize] + u64::from(offset);
    Err(Violation::new(FaultKind::UndefinedStore, lanes, arena().describe(address)))
}
