//! Opening a model: the plan of the device's memory and the bar while weights are loaded, on stderr.

use crate::progress::Progress;
use biomistral_nlu::model::Opening;
use std::io::{IsTerminal, Write, stderr};

/// Shows what opening a model tells.
pub struct OpeningView {
    quiet: bool,
    bar: Option<Progress>,
}

impl OpeningView {
    /// Nothing is shown if `quiet`; the bar only on a terminal.
    pub fn new(quiet: bool) -> Self {
        OpeningView { quiet, bar: None }
    }

    /// The next thing that was told.
    pub fn tell(&mut self, opening: &Opening<'_>) {
        match opening {
            _ if self.quiet => {}
            Opening::Plan(plan) => {
                let _ = writeln!(stderr(), "{plan}");
            }
            // Weights that are mapped are there at once.
            Opening::Weights { done, total } if stderr().is_terminal() => {
                let bar = self.bar.get_or_insert_with(Progress::bytes);
                bar.of(*done, *total);
                if done == total {
                    bar.finish();
                }
            }
            Opening::Weights { .. } => {}
        }
    }
}
