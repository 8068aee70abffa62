//! Progress with an estimate, on stderr, only where a person is looking.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, stderr};

/// A bar over input bytes, or a counter where their number is unknown.
pub struct Progress(ProgressBar);

impl Progress {
    /// Shown unless `quiet` or stderr is no terminal.
    pub fn new(total_bytes: Option<u64>, quiet: bool) -> Self {
        if quiet || !stderr().is_terminal() {
            return Progress(ProgressBar::hidden());
        }
        let (bar, template) = match total_bytes.filter(|n| *n > 0) {
            Some(n) => (ProgressBar::new(n), "{bar:32} {percent:>3} %  {msg}  {elapsed} elapsed, {eta} left"),
            None => (ProgressBar::no_length(), "{spinner} {msg}  {elapsed} elapsed"),
        };
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Progress(bar)
    }

    /// What has been read and finished by now.
    pub fn at(&self, bytes: u64, documents: u64, failed: u64) {
        self.0.set_position(bytes);
        let failed = if failed == 0 { String::new() } else { format!(", {failed} failed") };
        self.0.set_message(format!("{documents} documents{failed}"));
    }

    /// A bar over bytes written or read, whose number [`Progress::of`] brings.
    pub fn bytes() -> Self {
        let progress = Self::new(None, false);
        if let Ok(style) = ProgressStyle::with_template("{bar:32} {bytes} of {total_bytes}, {eta} left") {
            progress.0.set_style(style);
        }
        progress
    }

    /// `done` of `total` bytes. Always true: go on.
    pub fn of(&self, done: u64, total: u64) -> bool {
        self.0.set_length(total);
        self.0.set_position(done);
        true
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
