//! MNLU-Instruct: corpora in, records that [`crate::Trainer`] reads out, with the wording that inference uses.
//!
//! | file | what it settles |
//! |---|---|
//! | `config` | the TOML file: corpora, tasks, caps |
//! | `passages` | documents cut into sentences and paragraphs, mentions whole |
//! | `overlap` | what also stands in an evaluation set, by id and by 13-grams |
//! | `spans`, `pairs`, `choices` | the records of each task |
//! | `record` | one record, checked against the grammar of its answer |
//! | `build` | all of it, into a folder |
//! | `card` | what was taken, what was left out, and why |

mod attributes;
mod build;
mod card;
mod choices;
mod config;
mod overlap;
mod pairs;
mod passages;
mod record;
mod spans;

pub use build::{Built, build};
pub use card::{Card, CorpusCard, TaskCard};
pub use config::{AttributePlan, ClassesOf, CorpusPlan, InstructConfig, Named, RelationPlan, RunPlan, TaskPlan};
pub use passages::{Passage, cut};
pub use record::{Asking, Draft};
