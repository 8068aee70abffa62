//! Evaluation: official files in, the engine's answers to them, figures out.
//!
//! | file | what it settles |
//! |---|---|
//! | `config` | the TOML file: sets, labels, relations, metrics |
//! | `load` | a set's files into items: what is asked, and what is right |
//! | `shots` | worked examples for few-shot prompting |
//! | `ask` | items answered by the engine's tasks, one line each |
//! | `line` | that line, all that figures are made of |
//! | `metrics` | the figures: pure functions |
//! | `score` | the lines of a set into its figures |
//! | `compare` | runs side by side, with paired differences |
//! | `report` | Markdown and HTML |
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

/// The configurations that `bmn eval` knows by name: text of `data/blue.toml` and `data/blurb.toml`.
pub const BUILT_IN: [(&str, &str); 2] =
    [("blue", include_str!("../../data/blue.toml")), ("blurb", include_str!("../../data/blurb.toml"))];

mod ask;
mod compare;
mod config;
mod line;
mod load;
pub mod metrics;
pub mod report;
mod score;
mod shots;

pub use ask::{Setting, ask};
pub use biomistral_nlu::{Error, Result};
pub use compare::{Comparison, Difference, compare};
pub use config::{Absent, Headline, LabelPlan, RelationPlan, SetPlan, Suite, TaskPlan};
pub use line::{Answer, Gold, Line, OptionLine, Place, SpanLine};
pub use load::{Item, Loaded, Subject, load};
pub use score::{ErrorKind, ErrorLine, LabelFigures, Measured, SetFigures, figures};
pub use shots::shots;
