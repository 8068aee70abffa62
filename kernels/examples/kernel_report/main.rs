//! One line per kernel and architecture: registers, shared memory, spills, and the tensor-core share of the inner loop.
//!
//! With `--cubin FILE [NAME]`, the inner loops of the functions of any cubin with NAME in theirs, and their instructions: how other
//! engines' kernels are counted by the same rule (`sass.rs`).
#![allow(clippy::print_stdout)]

mod sass;

use biomistral_nlu_kernels::{images, table, why_none};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<ExitCode, Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => report(),
        ["--cubin", file] => cubin(Path::new(file), ""),
        ["--cubin", file, name] => cubin(Path::new(file), name),
        _ => Err("usage: kernel_report [--cubin FILE [NAME]]".into()),
    }
}

fn report() -> Result<ExitCode, Failure> {
    if let Some(why) = why_none() {
        println!("{why}");
        return Ok(ExitCode::FAILURE);
    }
    let tool = sass::nvdisasm();
    let scratch = std::env::temp_dir().join(format!("kernel-report-{}.cubin", std::process::id()));
    println!("{:24} {:>6} {:>9} {:>8} {:>7}  inner loop", "kernel", "arch", "registers", "shared", "spilled");
    for image in images() {
        for cubin in image.cubins {
            let loops = match &tool {
                Some(tool) => {
                    std::fs::write(&scratch, cubin.bytes)?;
                    sass::inner_loops(&sass::disassembly(tool, &scratch)?)
                }
                None => BTreeMap::new(),
            };
            for usage in cubin.usage() {
                let shared = usage.shared + table::ALL.iter().find(|s| s.name == usage.kernel).map_or(0, |s| s.shared);
                let (kernel, arch) = (usage.kernel, cubin.arch);
                print!("{kernel:24}  sm_{arch:<3} {:>8} {shared:>8} {:>7}", usage.registers, usage.spilled);
                match loops.get(kernel) {
                    Some((round, _)) => println!("  {} HMMA of {}, {:.3}", round.tensor, round.all, round.share()),
                    None => println!(),
                }
            }
        }
    }
    if tool.is_some() {
        std::fs::remove_file(scratch)?;
    } else {
        println!("inner loops: no nvdisasm in $CUDA_HOME, build/cuda or on PATH");
    }
    Ok(ExitCode::SUCCESS)
}

fn cubin(file: &Path, name: &str) -> Result<ExitCode, Failure> {
    let tool = sass::nvdisasm().ok_or("no nvdisasm in $CUDA_HOME, build/cuda or on PATH")?;
    for (function, (round, opcodes)) in sass::inner_loops(&sass::disassembly(&tool, file)?) {
        if function.contains(name) {
            println!("{function}: {} HMMA of {}, {:.3}", round.tensor, round.all, round.share());
            println!("    {}", opcodes.iter().map(|(o, n)| format!("{n} {o}")).collect::<Vec<_>>().join(", "));
        }
    }
    Ok(ExitCode::SUCCESS)
}
