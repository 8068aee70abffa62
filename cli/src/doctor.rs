//! `bmn doctor`: what this machine offers and which code paths will run.

use crate::args::Doctor;
use crate::stop::{Result, Stop};
use biomistral_nlu::device::Device;
use biomistral_nlu::device::cpu::{Cpu, CpuOptions};
#[cfg(feature = "cuda")]
use biomistral_nlu::device::cuda::{self, CudaInfo};
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
            "cuda": cuda_json(),
        });
        format!("{report}\n")
    } else {
        let mut rows = vec![
            ("bmn", env!("CARGO_PKG_VERSION").to_owned()),
            ("processor", processor),
            ("features", features().join(" ")),
            ("kernels", isa),
            ("fingerprint", cpu.fingerprint()),
            ("threads", threads.to_string()),
            ("memory", format!("{}, {} available", gib("MemTotal"), gib("MemAvailable"))),
        ];
        rows.extend(cuda_lines().into_iter().map(|line| ("cuda", line)));
        rows.iter().map(|(name, value)| format!("{name:12} {value}\n")).collect()
    };
    let mut out = stdout().lock();
    out.write_all(report.as_bytes()).and_then(|()| out.flush()).map_err(|e| Stop::write("stdout", &e))
}

/// What CUDA there is: the kernels in this build, then each device, or why there is none.
#[cfg(feature = "cuda")]
fn cuda_lines() -> Vec<String> {
    let kernels = match cuda::kernels() {
        Ok(kernels) => format!("kernels {} for {}", kernels.hash, kernels.architectures.join(" ")),
        Err(why) => why.to_owned(),
    };
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let line = |d: &CudaInfo| {
        let (major, minor) = d.capability;
        let usable = d.check().map_or_else(|e| e.to_string(), |()| "usable".to_owned());
        format!(
            "cuda:{} {}, compute capability {major}.{minor}, {:.1} GiB, {:.1} free, driver for CUDA {}: {usable}",
            d.ordinal,
            d.name,
            gib(d.total),
            gib(d.free),
            cuda::version(d.driver),
        )
    };
    let devices = cuda::devices().map_or_else(|e| vec![e.to_string()], |all| all.iter().map(line).collect());
    [vec![kernels], devices].concat()
}

#[cfg(feature = "cuda")]
fn cuda_json() -> serde_json::Value {
    let kernels = match cuda::kernels() {
        Ok(kernels) => json!({"hash": kernels.hash, "architectures": kernels.architectures}),
        Err(why) => json!({"none": why}),
    };
    let device = |d: &CudaInfo| {
        json!({
            "device": format!("cuda:{}", d.ordinal),
            "name": d.name,
            "compute_capability": format!("{}.{}", d.capability.0, d.capability.1),
            "driver_cuda": cuda::version(d.driver),
            "multiprocessors": d.multiprocessors,
            "memory_bytes": d.total,
            "memory_available_bytes": d.free,
            "unusable": d.check().err().map(|e| e.to_string()),
        })
    };
    match cuda::devices() {
        Ok(all) => json!({"kernels": kernels, "devices": all.iter().map(device).collect::<Vec<_>>()}),
        Err(e) => json!({"kernels": kernels, "devices": [], "unusable": e.to_string()}),
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda_lines() -> Vec<String> {
    vec!["not built in".to_owned()]
}

#[cfg(not(feature = "cuda"))]
fn cuda_json() -> serde_json::Value {
    json!("not built in")
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
