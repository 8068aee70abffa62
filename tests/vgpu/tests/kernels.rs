//! Deliberately broken kernels, which must be stopped at the right line, and correct ones that must not.
//!
//! The sources are compiled by NVRTC where it is found; what they are given and how they are marked stands in `kernels/args.h`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use vgpu::exec::{self, Launch, Module, Options, Schedule};
use vgpu::memory::{Definedness, arena};
use vgpu::report::{Fault, Profile, Site};

#[path = "../../../kernels/build/nvrtc.rs"]
mod nvrtc;

/// One kernel of a source file, with its launch and its marks.
#[derive(Debug)]
struct Case {
    name: String,
    blocks: u32,
    threads: u32,
    shared: usize,
    /// Lines marked as the fault's, with its kind.
    fault: Vec<(u32, String)>,
    other: Option<u32>,
    caller: Option<u32>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels")
}

/// The file's cases and its PTX; `None` without NVRTC.
fn compile(file: &str) -> Option<(Vec<Case>, Module)> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tools = match nvrtc::Toolchain::find(&repository) {
        Ok(tools) => tools,
        Err(why) => {
            println!("SKIPPED {file}: {why}");
            return None;
        }
    };
    let text = std::fs::read_to_string(folder().join(file)).unwrap();
    let include = format!("--include-path={}", folder().display());
    let options = ["--gpu-architecture=compute_80", "--std=c++17", "--generate-line-info", &include];
    let name = format!("kernels/{file}");
    let ptx = nvrtc::Nvrtc::open(&tools.nvrtc).unwrap().compile(&name, &text, &options).unwrap();
    Some((cases(&text), Module::load(&ptx).unwrap()))
}

fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut shape = (0, 0, 0);
    // Marks in functions before the first kernel belong to the kernel that inlines them: the next one.
    let mut early = Vec::new();
    let mut open = false;
    for (index, line) in text.lines().enumerate() {
        let number = index as u32 + 1;
        if let Some(launch) = line.strip_prefix("// <<<") {
            let mut values =
                launch.trim_end_matches(">>>").split(',').map(|value| value.trim().parse::<u32>().unwrap());
            shape = (values.next().unwrap(), values.next().unwrap(), values.next().unwrap_or(0) as usize);
        }
        if let Some(rest) = line.strip_prefix("extern \"C\" __global__ void ") {
            let name = rest.split('(').next().unwrap().to_owned();
            let (blocks, threads, shared) = shape;
            let fault = std::mem::take(&mut early);
            cases.push(Case { name, blocks, threads, shared, fault, other: None, caller: None });
            open = true;
        }
        if let Some((_, mark)) = line.split_once("// FAULT") {
            let (inlined, kind) = mark.split_once(' ').unwrap();
            match cases.last_mut().filter(|_| open) {
                Some(case) if inlined == "-INLINED" => {
                    (case.caller, case.fault) = (Some(number), vec![(0, kind.to_owned())]);
                }
                Some(case) => case.fault.push((number, kind.to_owned())),
                None => early.push((number, kind.to_owned())),
            }
        }
        if let Some(case) = cases.last_mut() {
            if line.contains("// OTHER") {
                case.other = Some(number);
            }
            if line.contains("// CALLER") {
                case.caller = Some(number);
            }
        }
        if line == "}" {
            open = false;
        }
    }
    cases
}

/// Device memory for one launch: see `args.h`.
struct Args {
    allocations: Vec<u64>,
    params: Vec<u8>,
}

impl Args {
    fn new() -> Args {
        let mut allocations = Vec::new();
        let mut buffer = |count: usize, value: Option<fn(usize) -> u32>| {
            let start = arena().allocate(4 * count).unwrap();
            if let Some(value) = value {
                for index in 0..count {
                    // SAFETY: a live allocation of `count` words.
                    unsafe { (start as *mut u32).add(index).write(value(index)) };
                }
                arena().mark_initialised(start, 4 * count);
            }
            allocations.push(start);
            start
        };
        let number: Option<fn(usize) -> u32> = Some(|index| (index as f32).to_bits());
        let pointers = [
            buffer(1024, number),
            buffer(1024, None),
            buffer(1024, None),
            buffer(1024, Some(|_| 0)),
            buffer(25, number),
            buffer(256, number),
        ];
        arena().free(pointers[5]);
        allocations.pop();
        let mut params: Vec<u8> = pointers.iter().flat_map(|pointer| pointer.to_le_bytes()).collect();
        params.extend(1000u32.to_le_bytes());
        params.resize(56, 0);
        Args { allocations, params }
    }
}

impl Drop for Args {
    fn drop(&mut self) {
        self.allocations.iter().for_each(|start| assert!(arena().free(*start)));
    }
}

fn run(module: &Module, case: &Case, options: &Options) -> Result<Profile, Box<Fault>> {
    let function = module.function(&case.name).unwrap();
    let args = Args::new();
    let launch = Launch {
        grid: [case.blocks, 1, 1],
        block: [case.threads, 1, 1],
        shared_dynamic: case.shared,
        params: &args.params,
        cooperative: false,
    };
    exec::launch(&function, &launch, options)
}

fn options() -> Options {
    Options { watchdog: 300_000, ..Options::default() }
}

fn shuffled(seed: u64) -> Options {
    Options { seed, schedule: Schedule::Shuffled, resident_blocks: 1 + seed as u32 % 3, ..options() }
}

/// What is wrong with a fault; empty if nothing.
fn wrong(case: &Case, fault: &Fault) -> String {
    let mut wrong = String::new();
    let kind = serde_json::to_value(fault.kind).unwrap();
    let want: Vec<&str> = case.fault.iter().map(|(_, kind)| kind.as_str()).collect();
    if kind.as_str() != Some(want[0]) {
        write!(wrong, "kind {kind}, not {}; ", want[0]).unwrap();
    }
    let lines = |site: &Site| -> Vec<u32> { site.frames.iter().map(|frame| frame.line).collect() };
    let (site, second) =
        (lines(&fault.site), fault.second.as_ref().map_or_else(Vec::new, |second| lines(&second.site)));
    let is_fault = |lines: &[u32]| match case.caller {
        Some(caller) => lines[1..].contains(&caller),
        None => case.fault.iter().any(|(line, _)| lines.first() == Some(line)),
    };
    let is_other = |lines: &[u32]| case.other.is_none_or(|line| lines.contains(&line));
    // Which of two racing accesses comes first is not the kernel's to say.
    let swapped = case.other.is_some() && !second.is_empty() && is_fault(&second) && is_other(&site);
    if !(is_fault(&site) && is_other(&second) || swapped) {
        let (fault, other) = (&case.fault, case.other);
        write!(wrong, "lines {site:?} and {second:?}, not {fault:?} {:?} and {other:?}; ", case.caller).unwrap();
    }
    if fault.site.frames.iter().any(|frame| frame.source.is_none()) {
        write!(wrong, "no source text; ").unwrap();
    }
    if fault.lanes == 0 || fault.kernel != case.name {
        write!(wrong, "lanes {:x} of {}; ", fault.lanes, fault.kernel).unwrap();
    }
    wrong
}

/// Runs the broken kernels of a file; there must be `count`.
fn stops(file: &str, count: usize) {
    let Some((cases, module)) = compile(file) else { return };
    let mut failures = String::new();
    for case in &cases {
        match run(&module, case, &options()) {
            Ok(_) => writeln!(failures, "{}: not stopped", case.name).unwrap(),
            Err(fault) => {
                let wrong = wrong(case, &fault);
                if !wrong.is_empty() {
                    writeln!(failures, "{}: {wrong}\n{fault}\n", case.name).unwrap();
                }
            }
        }
        for seed in 0..4 {
            if run(&module, case, &shuffled(seed)).is_ok() {
                writeln!(failures, "{}: not stopped in the order of seed {seed}", case.name).unwrap();
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
    assert_eq!(cases.len(), count);
}

#[test]
fn accesses_out_of_bounds_are_stopped() {
    stops("bounds.cu", 17);
}

#[test]
fn undefined_data_is_stopped() {
    stops("undefined.cu", 14);
}

#[test]
fn races_in_shared_memory_are_stopped() {
    stops("shared_races.cu", 12);
}

#[test]
fn unfinished_copies_are_stopped() {
    stops("copies.cu", 9);
}

#[test]
fn races_in_global_memory_are_stopped() {
    stops("global_races.cu", 8);
}

#[test]
fn barriers_and_endless_loops_are_stopped() {
    stops("barriers.cu", 15);
}

#[test]
fn correct_kernels_run_in_every_order() {
    let Some((cases, module)) = compile("correct.cu") else { return };
    let mut failures = String::new();
    for case in &cases {
        for options in std::iter::once(options()).chain((0..12).map(shuffled)) {
            // Blocks that wait for others only get their company after a while.
            let options = Options { watchdog: 20_000_000, ..options };
            if let Err(fault) = run(&module, case, &options) {
                writeln!(failures, "{} ({:?} {}):\n{fault}\n", case.name, options.schedule, options.seed).unwrap();
                break;
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
    assert_eq!(cases.len(), 21);
}

#[test]
fn undefined_branches_are_allowed_where_asked() {
    let Some((cases, module)) = compile("undefined.cu") else { return };
    let branch = cases.iter().find(|case| case.name == "branch").unwrap();
    let lenient = Options { definedness: Definedness::Lenient, ..options() };
    assert!(run(&module, branch, &lenient).is_ok());
    for case in cases.iter().filter(|case| case.name != "branch") {
        assert!(run(&module, case, &lenient).is_err(), "{}", case.name);
    }
}
