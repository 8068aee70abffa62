//! Cross-entropy and its gradient.

use crate::harness::{Address, Device, Random};
use biomistral_nlu_kernels::params::CrossEntropyParams;
use biomistral_nlu_kernels::table;
use half::bf16;

/// Rows of logits and their targets.
struct Rows {
    logits: Vec<f32>,
    targets: Vec<u32>,
    n: usize,
}

impl Rows {
    /// Logits spread by `spread`; the target of row 1 is almost certain, that of row 2 almost excluded.
    fn new(m: usize, n: usize, spread: f32) -> Self {
        let mut random = Random::new(n as u64);
        let mut logits: Vec<f32> = (0..m * n).map(|_| spread * random.uniform()).collect();
        let targets: Vec<u32> = (0..m).map(|i| if i % 2 == 0 { random.below(n) } else { n - 1 } as u32).collect();
        for (row, far) in [(1, 18.0), (2, -40.0)] {
            if row < m {
                logits[row * n + targets[row] as usize] = far;
            }
        }
        Self { logits, targets, n }
    }

    /// Losses, and what the logits' memory holds afterwards.
    fn run(&self, device: &Device, weight: f32, gradient: bool) -> (Vec<f64>, Vec<f32>) {
        let (m, ld) = (self.targets.len(), self.n.next_multiple_of(4) + 4);
        let logits = device.output(&self.logits, self.n, ld);
        let targets = device.array(&self.targets);
        let out = device.output(&vec![f64::NAN; 2 * m], 2, 2);
        let params = CrossEntropyParams {
            logits: logits.address(),
            targets: targets.address(),
            out: out.address(),
            ld: ld as i64,
            m: m as i32,
            n: self.n as i32,
            weight,
            gradient: gradient.into(),
        };
        device.launch(&table::CROSS_ENTROPY, &params);
        let losses = device.read(&out).as_chunks::<2>().0.iter().map(|[low, sum]| low + sum.ln()).collect();
        (losses, device.read(&logits))
    }

    /// Against f64.
    fn check(&self, device: &Device, weight: f32) {
        let (losses, after) = self.run(device, weight, true);
        for (i, (z, after)) in self.logits.chunks(self.n).zip(after.chunks(self.n)).enumerate() {
            let what = format!("V {} row {i}", self.n);
            let (z, target): (Vec<f64>, _) = (z.iter().map(|z| f64::from(*z)).collect(), self.targets[i] as usize);
            let max = z.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
            let sum: f64 = z.iter().map(|z| (z - max).exp()).sum();
            let rest: f64 = (0..z.len()).filter(|j| *j != target).map(|j| (z[j] - max).exp()).sum();
            let loss = max - z[target] + sum.ln();
            // ex2 of an argument of up to 60 rounded to 2^-24 of itself, and sums of as many: below 2^-16 of a probability.
            let within = f64::from(2f32.powi(-16));
            assert!((losses[i] - loss).abs() <= within, "{what}: {}, expected {loss}", losses[i]);
            let gradient: &[bf16] = bytemuck::cast_slice(after);
            for (j, g) in gradient[..self.n].iter().enumerate() {
                let p = if j == target { -rest / sum } else { (z[j] - max).exp() / sum };
                let expected = p * f64::from(weight);
                // Relative, also where the target is almost certain; bf16 rounds to 2^-9.
                let within = expected.abs() * (within + f64::from(2f32.powi(-8))) + 1e-38;
                assert!((g.to_f64() - expected).abs() <= within, "{what}: gradient {j} {g}, expected {expected}");
            }
            // The second half of the memory is as it was.
            let kept = self.n.div_ceil(2);
            assert!(
                after[kept..].iter().zip(&z[kept..]).all(|(a, z)| f64::from(*a) == *z),
                "{what}: the gradient is longer than a row"
            );
        }
    }
}

#[test]
fn losses_and_gradients_agree_with_f64() {
    let Some(device) = Device::open("losses_and_gradients_agree_with_f64") else { return };
    // One logit, less than a vector, tails of 1 to 3, one thread's worth more and less than a piece, several pieces.
    for (m, n) in [(1, 1), (3, 3), (3, 5), (2, 131), (3, 2047), (3, 2049), (2, 4098), (3, 6144)] {
        Rows::new(m, n, 8.0).check(&device, 0.125);
    }
    Rows::new(3, 300, 30.0).check(&device, -3.0);
}

#[test]
fn the_gradient_is_the_slope_of_the_loss() {
    let Some(device) = Device::open("the_gradient_is_the_slope_of_the_loss") else { return };
    let rows = Rows::new(1, 37, 4.0);
    let (_, after) = rows.run(&device, 1.0, true);
    let gradient: Vec<bf16> = bytemuck::pod_collect_to_vec(&after);
    for (j, expected) in gradient.iter().enumerate().take(rows.n) {
        let at = |step: f32| {
            let mut moved = Rows { logits: rows.logits.clone(), targets: rows.targets.clone(), n: rows.n };
            moved.logits[j] += step;
            (moved.run(&device, 0.0, false).0[0], f64::from(moved.logits[j]))
        };
        let ((high, far), (low, near)) = (at(0.05), at(-0.05));
        let slope = (high - low) / (far - near);
        // step²/6 of a third derivative of at most 1/6, losses to 1e-6 over 0.1, and the gradient's own bf16.
        assert!((slope - expected.to_f64()).abs() <= 1e-4 + slope.abs() / 256.0, "{j}: {slope}, {expected}");
    }
}

#[test]
fn without_a_gradient_logits_stay_and_losses_are_the_same() {
    let Some(device) = Device::open("without_a_gradient_logits_stay_and_losses_are_the_same") else { return };
    let rows = Rows::new(3, 2500, 8.0);
    let (losses, after) = rows.run(&device, 1.0, false);
    assert!(after == rows.logits);
    assert_eq!(losses, rows.run(&device, 0.5, true).0);
}

#[test]
fn what_is_not_a_number_is_not_hidden() {
    let Some(device) = Device::open("what_is_not_a_number_is_not_hidden") else { return };
    for poison in [f32::NAN, f32::INFINITY] {
        for at in [0, 700, 2400] {
            let mut rows = Rows::new(2, 2500, 8.0);
            rows.logits[at] = poison;
            let (losses, _) = rows.run(&device, 1.0, true);
            assert!(losses[0].is_nan() && losses[1].is_finite(), "{poison} at {at}: {losses:?}");
        }
    }
}

#[test]
fn losses_hold_under_every_order() {
    let Some(device) = Device::open("losses_hold_under_every_order") else { return };
    device.under_all(|_| Rows::new(3, 2053, 8.0).check(&device, 0.5));
    let rows = Rows::new(3, 2053, 8.0);
    let Some(control) = device.control else { return };
    // The seed perturbs approximate arithmetic, too: that stays exact.
    let run = |settings: &str| {
        control.configure(settings).unwrap();
        let (losses, after) = rows.run(&device, 1.0, true);
        (losses, bytemuck::pod_collect_to_vec::<f32, u32>(&after))
    };
    let first = run(r#"{"schedule": "in_order", "approx": "exact"}"#);
    assert!(run(r#"{"schedule": "shuffled", "seed": 5}"#) == first, "bits depend on the order of warps");
}
