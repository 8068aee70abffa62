//! Annotated documents, and the formats that corpora and tools keep them in.
//!
//! | file | what it settles |
//! |---|---|
//! | `document` | documents, mentions, events, relations; pairs and questions |
//! | `offsets` | byte, code point and UTF-16 offsets of one text |
//! | `problem` | what was wrong with a file, and where; never with its text |
//! | `brat`, `bioc`, `bioc_json`, `pubtator`, `conll`, `label_studio`, `jsonl` | one format each |
//! | `fhir`, `omop` | forms that are only written, with codes of the caller's table (`codes`) |
//! | `ppi`, `sentences`, `tables` | forms of single corpora: XML of pairs, sentences with marks, CSV, TSV and JSON |
//! | `licensed` | forms of corpora that need a licence: i2b2, ShARe/CLEF (lines, Knowtator XML), BioASQ |
//! | `docx`, `xml` | tables of Word documents, elements of XML files |
//! | `corpora` | the corpora by name: which files, which format |
//!
//! Offsets are bytes of the text inside this crate; every reader converts and checks them. What cannot be read is a
//! [`Problem`], never left out in silence.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod bioc;
pub mod bioc_json;
pub mod brat;
mod codes;
pub mod conll;
pub mod convert;
pub mod corpora;
mod document;
mod docx;
mod error;
pub mod fhir;
pub mod jsonl;
pub mod label_studio;
pub mod licensed;
mod offsets;
pub mod omop;
pub mod ppi;
mod problem;
pub mod pubtator;
pub mod sentences;
pub mod tables;
mod xml;

pub use codes::{Code, Codes};
pub use document::{Argument, Document, Event, Mention, Pair, Question, Relation};
pub use error::{Error, Result};
pub use offsets::{Offsets, Unit};
pub use problem::{Problem, Problems, Trouble};
