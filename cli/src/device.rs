//! `--device`: what this build can compute on.

use crate::stop::{Result, Stop};

/// Refuses devices that this build does not have.
pub fn check(device: &str) -> Result<()> {
    match device {
        "auto" | "cpu" => Ok(()),
        cuda if cuda == "cuda" || cuda.starts_with("cuda:") => {
            Err(Stop::failed(format!("--device {cuda}: this bmn is not built with CUDA; use --device cpu")))
        }
        other => Err(Stop::usage(format!("--device: expected cpu, cuda:N or auto, found {other:?}"))),
    }
}
