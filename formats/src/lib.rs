//! Annotated documents and the formats they are exchanged in.
//!
//! | file | what it settles |
//! |---|---|
//! | `document` | the model: text, passages, mentions, relations, events, classes; offsets in bytes |
//! | `unit` | bytes, code points, UTF-16 units |
//! | `losses` | what a format could not carry, counted |
//! | `brat`, `bioc`, `bioc_xml`, `bioc_json`, `pubtator`, `label_studio`, `lines` | read and written |
//!
//! Readers take any bytes that are text: a file that cannot be understood is an [`Error`] with its line, never a panic, and
//! no message quotes a document. Where nothing is counted in [`Losses`], reading what was written gives the same document.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod bioc;
mod bioc_json;
mod bioc_xml;
pub mod brat;
mod document;
mod error;
mod losses;
pub mod pubtator;
mod unit;

pub use document::{Argument, Attribute, Concept, Document, Event, Mention, Passage, Relation, Target};
pub use error::{Error, Result};
pub use losses::Losses;
pub use unit::{Unit, Units};
