//! What orders accesses: barriers, warp-level synchronisation, fences and strong operations, kept as vector clocks; and the
//! races found with them.

mod barriers;
mod cell;
mod clocks;
mod global;
mod order;
mod shared;

#[cfg(test)]
mod tests;

pub use barriers::{Arrival, Step};

pub(crate) use barriers::{Barriers, lanes_of};
pub(crate) use cell::{Actor, Earlier, Touch};
pub(crate) use clocks::{COLLECTIVE, Clocks};
pub(crate) use global::GlobalRaces;
pub(crate) use order::Locations;
pub(crate) use shared::SharedRaces;

/// The threads among which an operation is strong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The block.
    Cta,
    /// The device (and `.cluster`).
    Gpu,
    /// The device and the host.
    System,
}

/// What a strong operation orders besides itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing without a fence (`.relaxed`, `.volatile`).
    Relaxed,
    /// Later accesses.
    Acquire,
    /// Earlier accesses.
    Release,
    /// Both.
    AcquireRelease,
}

/// A strong operation's direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrongKind {
    /// `ld.volatile`, `ld.relaxed`, `ld.acquire`.
    Load,
    /// `st.volatile`, `st.relaxed`, `st.release`.
    Store,
    /// `atom`, `red`.
    Update,
}

/// A strong operation: one that does not race with others of its kind within its scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strong {
    /// Direction.
    pub kind: StrongKind,
    /// Order.
    pub order: Order,
    /// Scope.
    pub scope: Scope,
}
