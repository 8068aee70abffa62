//! `bmn train`: a fine-tuning run from a configuration file.

use crate::args::Train;
use crate::bench::machine::bf16_rate;
use crate::stop::{Result, Stop};
use biomistral_nlu::device::DeviceChoice;
use biomistral_nlu_train::{Config, Event, Outcome, Trainer, plan};
use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Share of the processor's bf16 rate that training reaches (`make bench-training`: 0.60 to 0.63).
const REACHED: f64 = 0.6;

/// How long so many operations take: on the processor by what it multiplies now; on a GPU, whose rate no plan can know
/// without it, at two rates.
fn estimate(operations: f64, config: &Config) -> String {
    let at = |rate: f64| time(operations / rate);
    if matches!(config.run.device, DeviceChoice::Cuda(_)) {
        return format!("{} at 100 TFLOP/s, {} at 400", at(1e14), at(4e14));
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let rate = bf16_rate(if config.run.threads == 0 { cores } else { config.run.threads });
    format!("about {} on the processor, at {REACHED} of its {:.0} GFLOP/s", at(REACHED * rate), rate / 1e9)
}

/// Runs `bmn train`.
pub fn train(args: &Train) -> Result<()> {
    let mut config = Config::read(&args.config)?;
    config.run.device = args.device.unwrap_or(config.run.device);
    if args.plan {
        let plan = plan(&config)?;
        return writeln!(stdout(), "{plan}\ntime         {}", estimate(plan.operations, &config))
            .map_err(|e| Stop::write("stdout", &e));
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // The second one ends the process at once.
        signal_hook::flag::register_conditional_shutdown(signal, 130, interrupted.clone())
            .and_then(|_| signal_hook::flag::register(signal, interrupted.clone()))
            .map_err(|e| Stop::failed(format!("cannot listen to interrupts: {e}")))?;
    }
    let mut trainer = Trainer::new(config, args.resume)?;
    let mut lines = Lines { terminal: stderr().is_terminal(), quiet: args.quiet };
    lines.plain(&trainer.plan().to_string());
    if trainer.step() > 0 {
        lines.plain(&format!("going on after step {}", trainer.step()));
    }
    let outcome = trainer.run(&mut |event| {
        lines.event(&event);
        !interrupted.load(Ordering::Relaxed)
    })?;
    match outcome {
        Outcome::Done(folder) => writeln!(stdout(), "{}", folder.display()).map_err(|e| Stop::write("stdout", &e)),
        Outcome::Stopped(step) => Err(Stop::Interrupted(format!("stopped after step {step}, --resume goes on"))),
    }
}

/// What is shown of a run: one line that is overwritten, where a person is looking.
struct Lines {
    terminal: bool,
    quiet: bool,
}

impl Lines {
    fn plain(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(stderr(), "{text}");
        }
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Step { step: (step, steps), loss, rate, speed, left, memory } => {
                let memory = memory.map_or(String::new(), |mib| format!(", {mib} MiB"));
                let line = format!(
                    "step {step} of {steps}: loss {loss:.4}, rate {rate:.2e}, {speed:.0} tokens/s, {} left{memory}",
                    time(*left)
                );
                if self.terminal && !self.quiet {
                    let _ = write!(stderr(), "\r\x1b[2K{line}");
                    let _ = stderr().flush();
                } else {
                    self.plain(&line);
                }
            }
            Event::Validation { step, loss, answers } => {
                let accuracy = answers.accuracy().map_or(String::new(), |x| format!(", accuracy {x:.3}"));
                let f1 = answers.f1().map_or(String::new(), |x| format!(", F1 {x:.3}"));
                self.below(&format!("step {step}: validation loss {loss:.4}{accuracy}{f1}"));
            }
            Event::Saved { step } => self.below(&format!("step {step}: saved")),
        }
    }

    fn below(&self, text: &str) {
        self.plain(&if self.terminal { format!("\n{text}") } else { text.to_string() });
    }
}

/// Hours, minutes and seconds.
fn time(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_in_sixties() {
        assert_eq!(
            [time(0.4), time(59.6), time(3661.0), time(360_000.0)],
            ["0:00:00", "0:01:00", "1:01:01", "100:00:00"]
        );
    }
}
