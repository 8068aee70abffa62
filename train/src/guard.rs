//! What ends a run before it does harm: losses and gradients that are no numbers, and sudden jumps.

use crate::data::Example;
use crate::{Error, Result};

/// Steps whose mean a jump is measured against.
const MEMORY: usize = 32;

/// The losses of the last steps.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// Oldest first.
    pub losses: Vec<f64>,
}

impl Guard {
    /// Takes note of a step's loss, or stops the run and names the step's examples by file and line.
    pub fn check(
        &mut self,
        step: u64,
        loss: f64,
        norm: f64,
        spike: f64,
        batch: &[&Example],
        files: &[String],
    ) -> Result<()> {
        let mean = self.losses.iter().sum::<f64>() / self.losses.len().max(1) as f64;
        let why = if !loss.is_finite() || !norm.is_finite() {
            format!("expected finite numbers, found a loss of {loss} and a gradient of norm {norm}")
        } else if spike > 0.0 && self.losses.len() == MEMORY && loss > spike * mean {
            format!("the loss is {loss:.4}, {:.1} times the mean of the {MEMORY} steps before", loss / mean)
        } else {
            if self.losses.len() == MEMORY {
                self.losses.remove(0);
            }
            self.losses.push(loss);
            return Ok(());
        };
        let places: Vec<String> = batch.iter().map(|e| format!("{}:{}", files[e.corpus], e.line)).collect();
        Err(Error::invalid(format!("step {step}: {why}; its examples are {}", places.join(", "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_and_what_is_no_number_are_stopped_by_name() {
        let group = String::new();
        let example = Example { tokens: vec![1, 2], from: 1, corpus: 0, line: 7, group, question: None };
        let files = ["notes.jsonl".to_string()];
        let mut guard = Guard::default();
        let mut check = |loss, norm| guard.check(3, loss, norm, 5.0, &[&example], &files);
        for _ in 0..31 {
            check(2.0, 1.0).unwrap();
        }
        check(100.0, 1.0).unwrap(); // Not yet enough steps to compare with.
        for _ in 0..32 {
            check(2.0, 1.0).unwrap();
        }
        check(9.9, 1.0).unwrap();
        for (loss, norm) in [(f64::NAN, 1.0), (f64::INFINITY, 1.0), (2.0, f64::NAN), (20.0, 1.0)] {
            let error = check(loss, norm).unwrap_err().to_string();
            assert!(error.contains("step 3") && error.contains("notes.jsonl:7"), "{error}");
        }
        check(2.0, 1.0).unwrap();
        assert_eq!(guard.losses.len(), 32);
    }
}
