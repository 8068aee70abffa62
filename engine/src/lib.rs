//! A text and a task in; verbatim spans with exact offsets, or exact probabilities over given choices, out.
//!
//! Floors, ground first: [`text`] and [`weights`], then [`device`], [`model`], [`decode`], [`task`]. A floor uses those
//! below it and none above. One engine holds the weights (shared, immutable); a session holds the key/value cache and
//! scratch (one thread at a time); an answer is a plain value.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod decode;
pub mod device;
mod error;
pub mod model;
pub mod random;
pub mod reserve;
pub mod task;
pub mod text;
pub mod weights;

pub use error::{Error, Result};
