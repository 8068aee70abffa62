//! The metrics file: one JSON line per step or validation. After an interruption, lines beyond the checkpoint are cut off.

use crate::{Error, Result};
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// An open metrics file.
pub struct Metrics {
    path: PathBuf,
    file: std::fs::File,
}

impl Metrics {
    /// Opens `path` and keeps the lines of steps up to `step`; a line that was cut by a kill is among those dropped.
    pub fn open(path: &Path, step: u64) -> Result<Self> {
        let io = |e| Error::io(path, e);
        let kept: String = read(path)?
            .into_iter()
            .filter(|line| line["step"].as_u64().is_some_and(|at| at <= step))
            .map(|line| format!("{line}\n"))
            .collect();
        let unfinished = path.with_extension("unfinished");
        std::fs::write(&unfinished, kept).and_then(|()| std::fs::rename(&unfinished, path)).map_err(io)?;
        Ok(Metrics { path: path.into(), file: OpenOptions::new().append(true).open(path).map_err(io)? })
    }

    /// Appends a line.
    pub fn write(&mut self, line: &Value) -> Result<()> {
        self.file.write_all(format!("{line}\n").as_bytes()).map_err(|e| Error::io(&self.path, e))
    }
}

/// The whole lines of a metrics file; none where there is no file.
pub fn read(path: &Path) -> Result<Vec<Value>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(Error::io(path, e)),
    }
}

/// MiB of memory that this process has resident, where the system tells.
pub fn resident_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}
