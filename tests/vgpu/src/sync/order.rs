//! What strong operations hand from one warp to another: released at a location, acquired from it.
//!
//! Every strong load or update acquires; that is a little more than the manual promises, as code that counts blocks with an
//! atomic and reads the others' results behind a barrier does not fence again. Releasing takes a fence or a `.release`.

use std::collections::HashMap;
use std::rc::Rc;

use super::clocks::{Clocks, Row, join, join_known};
use super::{Scope, Strong, StrongKind};

/// Per block, the times of its warps up to which their past is known, and the block's count of releases.
pub type Knowledge = HashMap<u32, (Row, u32)>;

/// What a warp had done and known at some moment.
#[derive(Clone)]
pub struct Past {
    pub row: Row,
    pub block: u32,
    pub releases: u32,
    pub known: Option<Rc<Knowledge>>,
}

impl Past {
    /// Adds another warp's past of the same block.
    pub fn join(&mut self, other: &Past) {
        join(&mut self.row, &other.row);
        self.releases = self.releases.max(other.releases);
        join_known(&mut self.known, &other.known);
    }

    fn add_to(&self, knowledge: &mut Knowledge) {
        let own = knowledge.entry(self.block).or_insert(([0; 32], 0));
        join(&mut own.0, &self.row);
        own.1 = own.1.max(self.releases);
        for (block, (row, releases)) in self.known.iter().flat_map(|known| known.iter()) {
            let entry = knowledge.entry(*block).or_insert(([0; 32], 0));
            join(&mut entry.0, row);
            entry.1 = entry.1.max(*releases);
        }
    }
}

/// What was released at one address.
#[derive(Default)]
struct Location {
    device: Knowledge,
    /// Released for the releasing block's own threads only.
    block: HashMap<u32, Past>,
}

/// What was released, by address.
#[derive(Default)]
pub struct Locations {
    locations: HashMap<u64, Location>,
}

impl Locations {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.locations.clear();
    }

    /// A strong operation of a warp on `address`: it learns what was released there, then releases what it may.
    pub fn operate(&mut self, address: u64, warp: u32, strong: Strong, clocks: &mut Clocks) {
        if strong.kind != StrongKind::Store
            && let Some(location) = self.locations.get(&address)
        {
            if strong.scope > Scope::Cta {
                clocks.acquire(warp, &location.device);
            } else if let Some(own) = location.device.get(&clocks.block()) {
                clocks.acquire(warp, &HashMap::from([(clocks.block(), *own)]));
            }
            if let Some(past) = location.block.get(&clocks.block()) {
                let mut knowledge = Knowledge::new();
                past.add_to(&mut knowledge);
                clocks.acquire(warp, &knowledge);
            }
        }
        let Some((past, device)) = clocks.release(warp, strong) else { return };
        let location = self.locations.entry(address).or_default();
        if device {
            past.add_to(&mut location.device);
        } else {
            location.block.entry(past.block).and_modify(|own| own.join(&past)).or_insert(past);
        }
    }
}
