//! One line per kernel and architecture: registers, shared memory, spills, and the tensor-core share of the inner loop.
//!
//! The share is counted on the SASS that `nvdisasm -c` prints: of all loops (a backward branch and its label) with the most
//! HMMA instructions, the one with the highest share of them among all its instructions, the predicated ones included.
#![allow(clippy::print_stdout)]

use biomistral_nlu_kernels::{images, table, why_none};
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Instructions and HMMAs of a loop.
type Loop = (usize, usize);

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    if let Some(why) = why_none() {
        println!("{why}");
        return Ok(ExitCode::FAILURE);
    }
    let nvdisasm = nvdisasm();
    let scratch = std::env::temp_dir().join(format!("kernel-report-{}.cubin", std::process::id()));
    println!("{:24} {:>6} {:>9} {:>8} {:>7}  inner loop", "kernel", "arch", "registers", "shared", "spilled");
    for image in images() {
        for cubin in image.cubins {
            let loops = match &nvdisasm {
                Some(tool) => {
                    std::fs::write(&scratch, cubin.bytes)?;
                    let made = Command::new(tool).arg("-c").arg(&scratch).output()?;
                    inner_loops(&String::from_utf8_lossy(&made.stdout))
                }
                None => HashMap::new(),
            };
            for usage in cubin.usage() {
                let dynamic = table::ALL.iter().find(|s| s.name == usage.kernel).map_or(0, |s| s.shared);
                print!(
                    "{:24}  sm_{:<3} {:>8} {:>8}",
                    usage.kernel,
                    cubin.arch,
                    usage.registers,
                    usage.shared + dynamic
                );
                print!(" {:>7}", usage.spilled);
                match loops.get(usage.kernel) {
                    Some((all, tensor)) => println!("  {tensor} HMMA of {all}, {:.3}", *tensor as f64 / *all as f64),
                    None => println!(),
                }
            }
        }
    }
    if nvdisasm.is_some() {
        std::fs::remove_file(scratch)?;
    } else {
        println!("inner loops: no nvdisasm in $CUDA_HOME, build/cuda or on PATH");
    }
    Ok(ExitCode::SUCCESS)
}

fn nvdisasm() -> Option<PathBuf> {
    let homes = std::env::var_os("CUDA_HOME").map(|home| PathBuf::from(home).join("bin"));
    let fetched = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../build/cuda/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = homes.into_iter().chain([fetched]).chain(std::env::split_paths(&path));
    folders.find_map(|folder| Some(folder.join("nvdisasm")).filter(|tool| tool.is_file()))
}

/// The tensor-core loop of every function that has one.
fn inner_loops(sass: &str) -> HashMap<String, Loop> {
    let mut found: HashMap<String, Loop> = HashMap::new();
    let mut function = "";
    let mut code: Vec<&str> = Vec::new();
    let mut labels: HashMap<&str, usize> = HashMap::new();
    for line in sass.lines() {
        if let Some(name) = line.strip_prefix(".text.") {
            function = name.trim_end_matches(':');
            code.clear();
            labels.clear();
        } else if line.starts_with(".L_") {
            labels.insert(line.trim_end_matches(':'), code.len());
        } else if let Some((_, instruction)) = line.split_once("*/").filter(|(head, _)| head.trim().starts_with("/*")) {
            code.push(instruction);
            let target = instruction.split_once("`(").and_then(|(_, tail)| tail.split(')').next());
            let Some(&start) = target.filter(|_| instruction.contains("BRA")).and_then(|t| labels.get(t)) else {
                continue;
            };
            let tensor = code[start..].iter().filter(|i| i.contains("HMMA")).count();
            let this = (code.len() - start, tensor);
            let best = found.entry(function.to_owned()).or_insert((1, 0));
            if tensor > best.1 || tensor == best.1 && this.0 < best.0 {
                *best = this;
            }
        }
    }
    found.retain(|_, l| l.1 > 0);
    found
}
