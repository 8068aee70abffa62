//! The learning rate of each step.

use crate::config::{OptimiserOptions, ScheduleKind};

/// Linear warm-up, then constant, falling linearly or as half a cosine to 0 at the last step.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    kind: ScheduleKind,
    rate: f64,
    warmup: u64,
    steps: u64,
}

impl Schedule {
    /// For a run of `steps` steps; the warm-up takes its share of them, rounded up.
    pub fn new(options: &OptimiserOptions, steps: u64) -> Self {
        let warmup = (options.warmup * steps as f64).ceil() as u64;
        Schedule { kind: options.schedule, rate: options.rate, warmup, steps }
    }

    /// The rate of step `number`, from 1: as transformers counts, the first step of a warm-up has rate 0.
    pub fn rate(&self, number: u64) -> f64 {
        let done = number.saturating_sub(1);
        if done < self.warmup {
            return self.rate * done as f64 / self.warmup as f64;
        }
        let left = self.steps.saturating_sub(self.warmup).max(1);
        let progress = ((done - self.warmup) as f64 / left as f64).min(1.0);
        match self.kind {
            ScheduleKind::Constant => self.rate,
            ScheduleKind::Linear => self.rate * (1.0 - progress),
            ScheduleKind::Cosine => self.rate * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `get_cosine_schedule_with_warmup` and its siblings of transformers, factors of ten steps with three of warm-up.
    #[test]
    fn rates_are_those_of_transformers() {
        let cosine = [0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0, 0.9504844, 0.8117449, 0.6112605, 0.3887395, 0.1882551, 0.0495156];
        let linear = [0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0, 6.0 / 7.0, 5.0 / 7.0, 4.0 / 7.0, 3.0 / 7.0, 2.0 / 7.0, 1.0 / 7.0];
        let constant = [0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        for (schedule, factors) in
            [(ScheduleKind::Cosine, cosine), (ScheduleKind::Linear, linear), (ScheduleKind::Constant, constant)]
        {
            let options = OptimiserOptions { rate: 2.0, warmup: 0.25, schedule, ..OptimiserOptions::default() };
            let rates = Schedule::new(&options, 10);
            for (i, factor) in factors.iter().enumerate() {
                assert!((rates.rate(i as u64 + 1) - 2.0 * factor).abs() < 1e-6, "{schedule:?} {i}");
            }
        }
    }

    #[test]
    fn a_run_without_warm_up_begins_at_the_full_rate() {
        let options = OptimiserOptions { warmup: 0.0, ..OptimiserOptions::default() };
        assert_eq!(Schedule::new(&options, 1).rate(1), options.rate);
    }
}
