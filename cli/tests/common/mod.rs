//! Running `bmn` as its users do.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // each test file uses its part

use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a run left behind.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Standard output as JSON lines.
    pub fn lines(&self) -> Vec<Value> {
        self.out.lines().map(|l| serde_json::from_str(l).expect("a JSON line")).collect()
    }
}

pub fn bmn() -> Command {
    Command::new(env!("CARGO_BIN_EXE_bmn"))
}

/// Runs `bmn ARGS` with `input` on stdin.
pub fn run(args: &[&str], input: &[u8]) -> Ran {
    let mut child = bmn()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("bmn starts");
    let mut stdin = child.stdin.take().expect("stdin");
    let input = input.to_vec();
    // A run that refuses its arguments closes stdin early; that is no fault of the test.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("bmn ends");
    writer.join().expect("writer");
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).expect("UTF-8 on stdout"),
        err: String::from_utf8(output.stderr).expect("UTF-8 on stderr"),
    }
}

/// The demo model, or `None` after saying that the test named is skipped.
pub fn demo_model(test: &str) -> Option<PathBuf> {
    path_of("BMN_DEMO_MODEL", test)
}

/// The path in an environment variable, or `None` after saying that the test named is skipped.
pub fn path_of(variable: &str, test: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        println!("SKIPPED {test}: set {variable}, `make test` does");
    }
    path
}

pub fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("a file");
    path.to_str().expect("UTF-8 path").to_owned()
}

pub fn read_lines(path: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("a file");
    text.lines().map(|l| serde_json::from_str(l).expect("a JSON line")).collect()
}
