//! `bmn doctor`: what this machine offers and which code paths will run.

use crate::args::Doctor;
use crate::stop::{Result, Stop};
use biomistral_nlu::device::Device;
use biomistral_nlu::device::cpu::{Cpu, CpuOptions};
use serde_json::json;
use std::io::{Write, stdout};

/// Runs `bmn doctor`.
pub fn doctor(args: &Doctor) -> Result<()> {
    let cpu = Cpu::new(CpuOptions::default())?;
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let kib = |name: &str| field("/proc/meminfo", name).and_then(|v| v.split(' ').next()?.parse::<u64>().ok());
    let gib =
        |name: &str| kib(name).map_or("unknown".to_owned(), |n| format!("{:.1} GiB", n as f64 / (1 << 20) as f64));
    let isa = format!("{:?}", cpu.isa()).to_lowercase();
    let report = if args.json {
        let report = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "processor": processor,
            "architecture": std::env::consts::ARCH,
            "features": features(),
            "isa": isa,
            "fingerprint": cpu.fingerprint(),
            "threads": threads,
            "memory_bytes": kib("MemTotal").map(|n| n << 10),
            "memory_available_bytes": kib("MemAvailable").map(|n| n << 10),
            "cuda": "not built in",
        });
        format!("{report}\n")
    } else {
        let rows = [
            ("bmn", env!("CARGO_PKG_VERSION").to_owned()),
            ("processor", processor),
            ("features", features().join(" ")),
            ("kernels", isa),
            ("fingerprint", cpu.fingerprint()),
            ("threads", threads.to_string()),
            ("memory", format!("{}, {} available", gib("MemTotal"), gib("MemAvailable"))),
            ("cuda", "not built in".to_owned()),
        ];
        rows.iter().map(|(name, value)| format!("{name:12} {value}\n")).collect()
    };
    let mut out = stdout().lock();
    out.write_all(report.as_bytes()).and_then(|()| out.flush()).map_err(|e| Stop::write("stdout", &e))
}

/// The value of the first line `name : value`.
fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.split(':').next().map(str::trim) == Some(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The features that the kernels care about, of those the processor has.
#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    macro_rules! list {
        ($($name:tt),*) => { [$(($name, is_x86_feature_detected!($name))),*] };
    }
    let all = list!("avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni", "avx512bf16");
    all.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
}

/// The features that the kernels care about: none outside x86-64 yet.
#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<&'static str> {
    Vec::new()
}
