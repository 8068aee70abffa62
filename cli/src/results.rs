//! Results out: JSON lines in input order, failed documents beside or among them, and continuing where a run stopped.

use crate::args::Run;
use crate::input::Broken;
use crate::stop::{Result, Stop};
use serde_json::Value;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write, stdout};
use std::path::{Path, PathBuf};

/// Ids that a results file holds already, with how often.
#[derive(Default)]
pub struct Done(HashMap<String, u64>);

impl Done {
    /// Whether this document is in the file already; each line stands for one document of that id.
    pub fn take(&mut self, id: &Value) -> bool {
        match self.0.get_mut(&id.to_string()) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }
}

/// Where result lines go.
pub struct Results {
    out: Box<dyn Write>,
    out_name: String,
    errors: Option<(Box<dyn Write>, String)>,
    /// Lines of failed documents written.
    pub failed: u64,
    /// Lines of answered documents written.
    pub answered: u64,
}

impl Results {
    /// Opens the outputs of a run; with `--resume`, also says what they hold already.
    pub fn open(run: &Run) -> Result<(Self, Done)> {
        let mut done = Done::default();
        for file in [&run.out, &run.errors].into_iter().flatten() {
            if run.inputs.iter().any(|input| same_file(input, file)) {
                return Err(Stop::usage(format!("{}: is an input too", file.display())));
            }
        }
        if let (Some(a), Some(b)) = (&run.out, &run.errors)
            && (a == b || same_file(a, b))
        {
            return Err(Stop::usage("--out and --errors: expected two files, found one; leave --errors out instead"));
        }
        let (out, out_name): (Box<dyn Write>, _) = match &run.out {
            None => (Box::new(BufWriter::new(stdout())), "stdout".to_owned()),
            Some(path) => {
                let name = path.display().to_string();
                let fail = |e: std::io::Error| Stop::failed(format!("{}: {e}", path.display()));
                let holds = std::fs::metadata(path).is_ok_and(|m| m.len() > 0);
                let file = if run.resume {
                    let mut file = OpenOptions::new()
                        .read(true)
                        .write(true)
                        .create(true)
                        .truncate(false)
                        .open(path)
                        .map_err(fail)?;
                    done = cut_and_read(&mut file, &name)?;
                    file
                } else if holds && !run.force {
                    let why = "holds data already: --resume continues it, --force replaces it";
                    return Err(Stop::usage(format!("{name} {why}")));
                } else {
                    File::create(path).map_err(fail)?
                };
                (Box::new(BufWriter::new(file)), name)
            }
        };
        let errors = match &run.errors {
            None => None,
            Some(path) => {
                let file = File::create(path).map_err(|e| Stop::failed(format!("{}: {e}", path.display())))?;
                Some((Box::new(BufWriter::new(file)) as Box<dyn Write>, path.display().to_string()))
            }
        };
        Ok((Results { out, out_name, errors, failed: 0, answered: 0 }, done))
    }

    /// Writes one result line.
    pub fn answer(&mut self, line: &str) -> Result<()> {
        self.answered += 1;
        writeln!(self.out, "{line}").map_err(|e| Stop::write(&self.out_name, &e))
    }

    /// Writes one failed document.
    pub fn fail(&mut self, broken: &Broken) -> Result<()> {
        self.failed += 1;
        let line = broken.to_json()?;
        let (to, name) = match &mut self.errors {
            Some((file, name)) => (file, name),
            None => (&mut self.out, &mut self.out_name),
        };
        writeln!(to, "{line}").map_err(|e| Stop::write(name, &e))
    }

    /// Hands everything written to the system.
    pub fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(|e| Stop::write(&self.out_name, &e))?;
        match &mut self.errors {
            Some((file, name)) => file.flush().map_err(|e| Stop::write(name, &e)),
            None => Ok(()),
        }
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    let real = |p: &Path| -> Option<PathBuf> { std::fs::canonicalize(p).ok() };
    a.as_os_str() != "-" && real(a).is_some() && real(a) == real(b)
}

/// Counts the ids of whole result lines, cuts an unfinished last line off and leaves the file at its end.
pub fn cut_and_read(file: &mut File, name: &str) -> Result<Done> {
    use std::io::{Seek, SeekFrom};
    #[derive(serde::Deserialize)]
    struct Line {
        id: Value,
    }
    let fail = |e: std::io::Error| Stop::failed(format!("{name}: {e}"));
    let mut done = Done::default();
    let mut whole = 0u64;
    let mut number = 0u64;
    let mut reader = BufReader::new(&*file);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let read = reader.read_until(b'\n', &mut bytes).map_err(fail)? as u64;
        if read == 0 || bytes.last() != Some(&b'\n') {
            break;
        }
        number += 1;
        let line: Line = serde_json::from_slice(&bytes).map_err(|_| {
            Stop::failed(format!("{name}: line {number} is not a result line, so --resume cannot continue this file"))
        })?;
        *done.0.entry(line.id.to_string()).or_default() += 1;
        whole += read;
    }
    drop(reader);
    file.set_len(whole).map_err(fail)?;
    file.seek(SeekFrom::Start(whole)).map_err(fail)?;
    Ok(done)
}
