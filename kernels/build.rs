//! Compiles every `cu/*.cu` to one PTX (NVRTC, `compute_80`) and that PTX to one cubin per architecture (ptxas).
//!
//! The PTX is what the tests execute on the virtual GPU, so what is tested is what every cubin is made from. CUDA 12.9 is
//! used because its images load on drivers from R525 (sm_80 to 90) and R570 (sm_100, 120) on; CUDA 13's ask for R580.
//!
//! The tools are looked for in `$CUDA_HOME`, beside the `ptxas` on `PATH`, and in `build/cuda` (`make cuda`). Without them
//! the crate builds with no images and says why. `BMN_CUDA_ARCHS=80,90` restricts the cubins of a development build.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::{env, fs};

#[path = "build/nvrtc.rs"]
mod nvrtc;

use nvrtc::{Nvrtc, Toolchain};

/// Architectures that get a cubin; any other device of compute capability 8.0 or more takes the PTX.
const ARCHS: [u32; 6] = [80, 86, 89, 90, 100, 120];

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let repository = root.parent().unwrap_or(&root).to_path_buf();
    println!("cargo::rerun-if-changed=cu");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build/nvrtc.rs");
    // A missing file would rebuild every time; `make cuda` touches this file instead.
    let fetched = repository.join("build/cuda/installed");
    if fetched.is_file() {
        println!("cargo::rerun-if-changed={}", fetched.display());
    }
    for variable in ["CUDA_HOME", "BMN_CUDA_ARCHS"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }

    let images = match Toolchain::find(&repository) {
        Ok(tools) => compile_all(&tools, &root, &repository, &out)?,
        Err(why) => format!(
            "pub(crate) static IMAGES: &[Image] = &[];\npub(crate) static WHY_NONE: Option<&str> = Some({why:?});\n"
        ),
    };
    fs::write(out.join("images.rs"), images)?;
    Ok(())
}

fn compile_all(tools: &Toolchain, root: &Path, repository: &Path, out: &Path) -> Result<String, Failure> {
    let archs: Vec<u32> = match env::var("BMN_CUDA_ARCHS") {
        Ok(list) => list.split(',').map(|a| a.trim().parse()).collect::<Result<_, _>>()?,
        Err(_) => ARCHS.to_vec(),
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(root.join("cu"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "cu") {
            names.push(path.file_stem().and_then(|s| s.to_str()).ok_or("a .cu file's name is not UTF-8")?.to_owned());
        }
    }
    names.sort();

    let nvrtc = Nvrtc::open(&tools.nvrtc)?;
    let front: Vec<_> = names.iter().map(|name| move || front_end(&nvrtc, name, root, repository, out)).collect();
    let changed = in_parallel(front)?;
    let mut back = Vec::new();
    for (name, changed) in names.iter().zip(changed) {
        for &arch in &archs {
            back.push(move || back_end(&tools.ptxas, name, arch, changed, out));
        }
    }
    in_parallel(back)?;

    let mut code =
        String::from("pub(crate) static WHY_NONE: Option<&str> = None;\npub(crate) static IMAGES: &[Image] = &[\n");
    // Names relative to images.rs, which lies beside them: the crate's text is the same in any folder.
    for name in &names {
        write!(code, "    Image {{ file: {name:?}, ptx: include_str!(\"{name}.ptx\"), cubins: &[")?;
        for arch in &archs {
            let stem = format!("{name}.sm_{arch}");
            write!(
                code,
                "\n        Cubin {{ arch: {arch}, bytes: include_bytes!(\"{stem}.cubin\"), resources: include_str!(\"{stem}.txt\") }},"
            )?;
        }
        code.push_str("\n    ] },\n");
    }
    code.push_str("];\n");
    Ok(code)
}

/// Runs the jobs on as many threads as cargo allows; the first failure wins.
fn in_parallel<T: Send>(jobs: Vec<impl FnOnce() -> Result<T, Failure> + Send>) -> Result<Vec<T>, Failure> {
    let threads = env::var("NUM_JOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(1usize).clamp(1, 16);
    let count = jobs.len();
    let queue = Mutex::new(jobs.into_iter().enumerate());
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(count) {
            scope.spawn(|| {
                loop {
                    let Some((index, job)) = queue.lock().ok().and_then(|mut q| q.next()) else { break };
                    let result = job();
                    if let Ok(mut done) = done.lock() {
                        done.insert(index, result);
                    }
                }
            });
        }
    });
    done.into_inner().map_err(|_| "a compile thread panicked")?.into_values().collect()
}

/// `cu/NAME.cu` to `OUT_DIR/NAME.ptx`; whether it changed.
fn front_end(nvrtc: &Nvrtc, name: &str, root: &Path, repository: &Path, out: &Path) -> Result<bool, Failure> {
    let file = format!("cu/{name}.cu");
    let source = fs::read_to_string(root.join(&file))?;
    let options = ["--gpu-architecture=compute_80", "--std=c++17", "--generate-line-info", "--include-path=cu"];
    let ptx = nvrtc.compile(&file, &source, &options)?;
    // NVRTC makes names absolute; an artefact names no folder of the machine that built it.
    let ptx = ptx.replace(&format!("\"{}/", repository.display()), "\"");
    let path = out.join(format!("{name}.ptx"));
    let changed = fs::read_to_string(&path).map_or(true, |old| old != ptx);
    if changed {
        fs::write(path, ptx)?;
    }
    Ok(changed)
}

/// `OUT_DIR/NAME.ptx` to `OUT_DIR/NAME.sm_ARCH.cubin`, with what ptxas says of registers, spills and shared memory beside.
fn back_end(ptxas: &Path, name: &str, arch: u32, changed: bool, out: &Path) -> Result<(), Failure> {
    let stem = format!("{name}.sm_{arch}");
    let (cubin, log) = (out.join(format!("{stem}.cubin")), out.join(format!("{stem}.txt")));
    if !changed && cubin.is_file() && log.is_file() {
        return Ok(());
    }
    let profiling = env::var_os("CARGO_FEATURE_PROFILING").is_some();
    let ptx = fs::read_to_string(out.join(format!("{name}.ptx")))?;
    let source = out.join(format!("{stem}.ptx"));
    fs::write(&source, if profiling { ptx } else { without_lines(&ptx) })?;
    let mut command = Command::new(ptxas);
    command.arg(format!("-arch=sm_{arch}")).args(["-v", "-O3"]);
    if profiling {
        command.arg("-lineinfo");
    }
    let made = command.arg("-o").arg(&cubin).arg(&source).output()?;
    fs::remove_file(source)?;
    let said = String::from_utf8_lossy(&made.stderr);
    if !made.status.success() {
        return Err(format!("{stem}: ptxas {}\n{said}", made.status).into());
    }
    // How long it took would make every build another one.
    let facts: Vec<&str> = said.lines().filter(|line| !line.contains("Compile time")).collect();
    fs::write(log, facts.join("\n"))?;
    Ok(())
}

/// The PTX without line information, which would triple the cubins.
fn without_lines(ptx: &str) -> String {
    let mut text = String::with_capacity(ptx.len());
    let mut section = false;
    for line in ptx.lines() {
        let start = line.trim_start();
        section |= start.starts_with(".section");
        if !section && !start.starts_with(".loc\t") && !start.starts_with(".file") {
            text.push_str(line);
            text.push('\n');
        }
        section &= start != "}";
    }
    text.replace(".target sm_80, debug", ".target sm_80")
}
