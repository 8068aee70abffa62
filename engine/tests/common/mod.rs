//! What the integration tests share: golden files, models of the environment, bit comparison.
#![allow(dead_code)]

pub mod bits;
#[cfg(feature = "cuda")]
pub mod gpu;
pub mod parity;
pub mod training;

use std::path::{Path, PathBuf};

/// A folder of `tests/golden`.
pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name)
}

pub fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The values of a version 1.0 `.npy` file.
fn npy<const N: usize>(path: &Path, kind: &str) -> Vec<[u8; N]> {
    let bytes = std::fs::read(path).unwrap();
    let header = 10 + u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let header_text = std::str::from_utf8(&bytes[10..header]).unwrap();
    let c_order = header_text.contains("'fortran_order': False");
    assert!(c_order && header_text.contains(kind), "{} is not {kind} in C order", path.display());
    bytes[header..].as_chunks::<N>().0.to_vec()
}

pub fn npy_f32(path: &Path) -> Vec<f32> {
    npy::<4>(path, "<f4").into_iter().map(f32::from_le_bytes).collect()
}

pub fn npy_f64(path: &Path) -> Vec<f64> {
    npy::<8>(path, "<f8").into_iter().map(f64::from_le_bytes).collect()
}

/// The demo model's GGUF, or a line that says which test is skipped.
pub fn demo_model(test: &str) -> Option<PathBuf> {
    let path = std::env::var_os("BMN_DEMO_MODEL").map(PathBuf::from);
    if path.is_none() {
        println!("SKIPPED {test}: set BMN_DEMO_MODEL, `make test` does");
    }
    path
}

/// Distance of two lists of numbers.
#[derive(Debug)]
pub struct Error {
    pub max_abs: f64,
    pub mean_abs: f64,
}

impl Error {
    pub fn of(got: &[f32], want: &[f32]) -> Self {
        assert_eq!(got.len(), want.len());
        let differences: Vec<f64> = got.iter().zip(want).map(|(g, w)| (*g as f64 - *w as f64).abs()).collect();
        assert!(differences.iter().all(|d| d.is_finite()));
        let max_abs = differences.iter().copied().fold(0.0, f64::max);
        Self { max_abs, mean_abs: differences.iter().sum::<f64>() / differences.len() as f64 }
    }

    /// At most `factor` times the error of the reference.
    pub fn check(&self, reference: &serde_json::Value, factor: f64, what: &str) {
        let of = |key: &str| reference[key].as_f64().unwrap();
        println!("{what}: {self:?}, reference {} and {}", of("max_abs"), of("mean_abs"));
        assert!(self.mean_abs <= factor * of("mean_abs"), "{what}: mean {} of {}", self.mean_abs, of("mean_abs"));
        assert!(self.max_abs <= factor * of("max_abs"), "{what}: max {} of {}", self.max_abs, of("max_abs"));
    }
}

/// Equal to the last bit.
pub fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}
