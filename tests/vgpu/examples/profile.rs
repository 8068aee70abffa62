//! `make profile-virtual KERNEL=name`: runs the tests of the kernels on the virtual GPU and prints what it counted of the
//! kernels with that name: per shape of launch, and per source line for the shape with most instructions.
//!
//! Arguments: the name or a part of it; `--json` for one JSON array; `--test FILTER` to run only some tests; `--package
//! NAME` for tests of another package.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a tool for the terminal")]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

struct Arguments {
    kernel: String,
    json: bool,
    test: Option<String>,
    package: Option<String>,
}

fn main() -> ExitCode {
    match arguments().and_then(|arguments| profile(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("profile: {why}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<Arguments, String> {
    let mut arguments = Arguments { kernel: String::new(), json: false, test: None, package: None };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--json" => arguments.json = true,
            "--test" => arguments.test = Some(given.next().ok_or("--test takes a part of a test's name")?),
            "--package" => arguments.package = Some(given.next().ok_or("--package takes a package's name")?),
            name if !name.starts_with('-') && arguments.kernel.is_empty() => arguments.kernel = name.into(),
            other => return Err(format!("what is {other}?")),
        }
    }
    Ok(arguments)
}

fn profile(arguments: &Arguments) -> Result<(), String> {
    let folder = std::env::temp_dir().join(format!("vgpu-profile-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let result = run(arguments, &folder).and_then(|()| collect(&folder));
    let _ = std::fs::remove_dir_all(&folder);
    let mut launches = result?;
    launches.retain(|launch| launch["profile"]["kernel"].as_str().is_some_and(|name| name.contains(&arguments.kernel)));
    if launches.is_empty() {
        return Err(format!("no test launched a kernel with {:?} in its name", arguments.kernel));
    }
    launches.sort_by_key(|launch| std::cmp::Reverse(instructions(launch)));
    if arguments.json {
        println!("{}", Value::from(launches));
    } else {
        print(&launches);
    }
    Ok(())
}

fn run(arguments: &Arguments, folder: &Path) -> Result<(), String> {
    // Not `profile_only`: tests that check counters of other kernels would miss them.
    let settings = serde_json::json!({"profile_to": folder, "quiet": true});
    let mut tests = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    tests.args(["test", "--quiet", "--no-fail-fast"]);
    match &arguments.package {
        Some(package) => tests.args(["-p", package]),
        // The tests of the kernels, built as `make test` builds them, not again with other features.
        None => tests.args([
            "--workspace",
            "--test=attention",
            "--test=gemm",
            "--test=product",
            "--test=rows",
            "--test=training",
        ]),
    };
    tests.args(&arguments.test);
    let output = tests.env("VGPU", settings.to_string()).stdout(Stdio::piped()).output();
    let output = output.map_err(|error| format!("cargo does not start: {error}"))?;
    if !output.status.success() {
        // Their counters may still be of use: a kernel is profiled while it is being worked on.
        eprintln!("profile: some tests failed\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// What every test process left behind.
fn collect(folder: &Path) -> Result<Vec<Value>, String> {
    let mut launches = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| error.to_string())? {
        let path = entry.map_err(|error| error.to_string())?.path();
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let part: Vec<Value> = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        launches.extend(part);
    }
    Ok(launches)
}

fn count(launch: &Value, name: &str) -> u64 {
    launch["profile"]["total"][name].as_u64().unwrap_or(0)
}

/// Of one launch, on average.
fn instructions(launch: &Value) -> u64 {
    count(launch, "warps") / launch["profile"]["launches"].as_u64().unwrap_or(1).max(1)
}

fn print(launches: &[Value]) {
    let head = ["kernel", "grid", "block", "launches", "instr", "SIMT", "sectors/min", "waves/min", "tensor flops"];
    println!(
        "{:<24} {:>14} {:>12} {:>8} {:>12} {:>6} {:>12} {:>10} {:>14}",
        head[0], head[1], head[2], head[3], head[4], head[5], head[6], head[7], head[8]
    );
    for launch in launches {
        let shape = |name: &str| launch[name].to_string().replace(['[', ']'], "").replace(',', "x");
        let share = |part, whole| match (count(launch, part), count(launch, whole)) {
            (_, 0) => "-".to_owned(),
            (part, whole) => format!("{:.3}", part as f64 / whole as f64),
        };
        let simt = count(launch, "lanes") as f64 / (32 * count(launch, "warps").max(1)) as f64;
        println!(
            "{:<24} {:>14} {:>12} {:>8} {:>12} {:>6.3} {:>12} {:>10} {:>14}",
            launch["profile"]["kernel"].as_str().unwrap_or("?"),
            shape("grid"),
            shape("block"),
            launch["profile"]["launches"],
            count(launch, "warps"),
            simt,
            share("sectors", "sectors_minimum"),
            share("wavefronts", "wavefronts_minimum"),
            count(launch, "flops"),
        );
    }
    println!("\n{}", launches[0]["table"].as_str().unwrap_or_default());
    let all = launches.iter().map(|launch| count(launch, "warps")).sum::<u64>();
    let seconds = launches.iter().filter_map(|launch| launch["profile"]["nanoseconds"].as_f64()).sum::<f64>() / 1e9;
    let speed = all as f64 / 1e6 / seconds;
    println!("all {all} warp instructions took {seconds:.1} s of processor time: {speed:.1} million per second");
}
