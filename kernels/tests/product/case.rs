//! A sum of products: inputs from a seed, launch by any kernel of its direction, and the f64 oracle.

use crate::harness::{Address, Device, Expected, Input, Random};
use biomistral_nlu_kernels::params::{ProductParams, ProductTerm};
use biomistral_nlu_kernels::table::{self, Kernel};
use half::bf16;

/// Which way the operands lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Linear,
    Dx,
    Dw,
}

impl Direction {
    pub const ALL: [Self; 3] = [Self::Linear, Self::Dx, Self::Dw];

    /// Its kernels: square tiles, tall ones, wide ones.
    pub fn kernels(self) -> Vec<&'static Kernel<ProductParams>> {
        match self {
            Self::Linear => vec![&table::LINEAR, &table::LINEAR_TALL],
            Self::Dx => vec![&table::LINEAR_DX, &table::LINEAR_DX_TALL],
            Self::Dw => vec![&table::LINEAR_DW, &table::LINEAR_DW_TALL, &table::LINEAR_DW_WIDE],
        }
    }

    /// Whether A, and B, lie with the summed index down their rows.
    fn across(self) -> [bool; 2] {
        match self {
            Self::Linear => [false, false],
            Self::Dx => [false, true],
            Self::Dw => [true, true],
        }
    }
}

/// Where the sum goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Round,
    Store,
    Add,
}

/// Shapes of one sum.
#[derive(Debug, Clone)]
pub struct Case {
    pub direction: Direction,
    pub output: Output,
    pub m: usize,
    pub n: usize,
    /// What each term sums over.
    pub ks: Vec<usize>,
    pub scale: f32,
    /// Rows padded to 64 elements, as the engine does; else oddly.
    pub dense: bool,
}

/// Inputs of one case: `a[i * k + l]` and `b[j * k + l]` per term, whichever way they lie on the device.
pub struct Data {
    case: Case,
    terms: Vec<[Vec<bf16>; 2]>,
    /// What the output holds before.
    pub before: Vec<f32>,
}

/// Swaps rows and columns.
fn turned(values: &[bf16], columns: usize) -> Vec<bf16> {
    (0..columns).flat_map(|c| values[c..].iter().step_by(columns).copied()).collect()
}

impl Case {
    pub fn new(direction: Direction, output: Output, m: usize, n: usize, ks: &[usize]) -> Self {
        // Not a power of two: a scale at the wrong place changes bits.
        let scale = if output == Output::Add { 1.0 } else { 0.7 };
        Self { direction, output, m, n, ks: ks.to_vec(), scale, dense: false }
    }

    /// What all terms sum over together.
    pub fn k(&self) -> usize {
        self.ks.iter().sum()
    }

    pub fn data(&self) -> Data {
        let mut random = Random::new(7);
        let terms = self.ks.iter().map(|k| [random.bf16s(self.m * k), random.bf16s(self.n * k)]).collect();
        let before = (0..self.m * self.n).map(|_| random.uniform()).collect();
        Data { case: self.clone(), terms, before }
    }
}

impl Data {
    /// The same inputs for row `row` alone.
    pub fn only(&self, row: usize) -> Self {
        let case = &self.case;
        let terms = self.terms.iter().zip(&case.ks).map(|([a, b], k)| [a[row * k..(row + 1) * k].to_vec(), b.clone()]);
        Self {
            terms: terms.collect(),
            before: self.before[row * case.n..(row + 1) * case.n].to_vec(),
            case: Case { m: 1, ..case.clone() },
        }
    }

    /// Operands on the device and all parameters but the output's.
    pub fn params(&self, device: &Device) -> (Vec<Input>, ProductParams) {
        let case = &self.case;
        // Odd paddings on purpose: a row start is 16-byte aligned and no more.
        let padded = |columns: usize| {
            if case.dense { columns.next_multiple_of(64) } else { columns.next_multiple_of(8) + 8 }
        };
        let (mut held, mut terms) = (Vec::new(), [ProductTerm::default(); 6]);
        for ((values, k), term) in self.terms.iter().zip(&case.ks).zip(&mut terms) {
            let mut place = |values: &[bf16], outers: usize, across: bool| {
                let columns = if across { outers } else { *k };
                let ld = padded(columns);
                let input = match across {
                    true => device.input(&turned(values, *k), columns, ld),
                    false => device.input(values, columns, ld),
                };
                let address = input.address();
                held.push(input);
                (address, ld as i64)
            };
            let [across_a, across_b] = case.direction.across();
            let (a, lda) = place(&values[0], case.m, across_a);
            let (b, ldb) = place(&values[1], case.n, across_b);
            *term = ProductTerm { a, b, lda, ldb, k: *k as i32, reserved: 0 };
        }
        let params = ProductParams {
            terms,
            out: 0,
            ldo: 0,
            m: case.m as i32,
            n: case.n as i32,
            term_count: case.ks.len() as i32,
            output: case.output as i32,
            slice: i32::MAX,
            scale: case.scale,
        };
        (held, params)
    }

    /// The output, `[m, n]`, widened to f32.
    pub fn run(&self, device: &Device, kernel: &Kernel<ProductParams>) -> Vec<f32> {
        let (case, (_held, params)) = (&self.case, self.params(device));
        if case.output == Output::Round {
            let ld = case.n.next_multiple_of(8) + 8;
            let out = device.output(&vec![bf16::NAN; case.m * case.n], case.n, ld);
            device.launch(kernel, &ProductParams { out: out.address(), ldo: ld as i64, ..params });
            return device.read(&out).into_iter().map(bf16::to_f32).collect();
        }
        // Dense rows, as gradients have: aligned to 16 bytes only if the width is.
        let out = device.output(&self.before, case.n, case.n);
        device.launch(kernel, &ProductParams { out: out.address(), ldo: case.n as i64, ..params });
        device.read(&out)
    }

    /// The output in f64 with its bound: that of the f32 sums of `gemm/case.rs`, and 2^-8 of the value for a bf16 store.
    pub fn oracle(&self) -> Vec<Expected> {
        let case = &self.case;
        let steps = (case.k() + 32) as f64 / f64::from(1 << 22);
        let mut expected = Vec::with_capacity(case.m * case.n);
        for (i, j) in (0..case.m).flat_map(|i| (0..case.n).map(move |j| (i, j))) {
            let (mut sum, mut size) = (0.0, 0.0);
            for ([a, b], &k) in self.terms.iter().zip(&case.ks) {
                for (a, b) in a[i * k..(i + 1) * k].iter().zip(&b[j * k..(j + 1) * k]) {
                    sum += a.to_f64() * b.to_f64();
                    size += (a.to_f64() * b.to_f64()).abs();
                }
            }
            let (value, within) = (sum * f64::from(case.scale), steps * size * f64::from(case.scale));
            expected.push(match case.output {
                Output::Round => Expected { value, within: within + value.abs() / 256.0 },
                Output::Store => Expected { value, within },
                Output::Add => {
                    Expected { value: value + f64::from(self.before[i * case.n + j]), within: within + 1e-6 }
                }
            });
        }
        expected
    }
}
