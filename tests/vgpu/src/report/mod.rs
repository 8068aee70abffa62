//! What the virtual GPU tells: faults with their place in the source, counters and profiles.

mod counters;
mod fault;
mod source;
mod violation;

#[cfg(test)]
mod tests;

pub use counters::{Counters, Footprint, Line, Profile};
pub use fault::{Fault, Frame, Listing, Place, Second, Site};
pub use violation::{Checked, FaultKind, Other, Violation};
