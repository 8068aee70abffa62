//! Fine-tuning: examples in, an adapter or a model out.
//!
//! The transformer, its gradients and the optimiser's arithmetic are the engine's; here are the examples and their order,
//! the schedule, and runs that can be interrupted at any moment. The same configuration and data give the same bits, on
//! any number of threads and after any number of interruptions.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod answers;
mod checkpoint;
mod config;
mod data;
mod guard;
pub mod instruct;
mod learner;
mod metrics;
mod plan;
mod report;
mod run;
mod schedule;

pub use answers::{Ask, Score};
pub use biomistral_nlu::{Error, Result};
pub use config::{Config, Corpus, Labels, Method, OptimiserOptions, RunOptions, ScheduleKind, TooLong, TuningOptions};
pub use data::{Data, Example, Question};
pub use plan::Plan;
pub use report::html;
pub use run::{Event, Outcome, Trainer, plan};
pub use schedule::Schedule;
