//! The folder of a run: what was run, lines of answers, reports.

use crate::results::cut_and_read;
use crate::stop::{Result, Stop};
use biomistral_nlu_eval::{Line, Suite};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// What a run's answers depend on, in `run.json`; a run goes on only as what it began.
#[derive(Serialize, Deserialize)]
pub struct Identity {
    /// The configuration, with the sets that were asked for.
    pub suite: Suite,
    /// Everything else, by name.
    pub run: BTreeMap<String, String>,
}

impl Identity {
    /// What reports show of it.
    pub fn shown(&self) -> BTreeMap<String, String> {
        self.run.clone()
    }

    fn json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(|e| Stop::failed(format!("the run as JSON: {e}")))
    }
}

/// The folder of a run, and the file of the set at work.
pub struct Folder {
    path: PathBuf,
    open: Option<(PathBuf, File)>,
}

impl Folder {
    /// Creates it, or takes one up that holds the same run.
    pub fn open(path: &Path, identity: &Identity, resume: bool) -> Result<Self> {
        let folder = Folder { path: path.to_owned(), open: None };
        let json = identity.json()?;
        match std::fs::read_to_string(path.join("run.json")) {
            Err(_) if std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) => {
                return Err(Stop::usage(format!("{}: expected an empty folder or one of a run", path.display())));
            }
            Err(_) => {
                std::fs::create_dir_all(path).map_err(|e| Stop::failed(format!("{}: {e}", path.display())))?;
                folder.file("run.json", &json)?;
            }
            Ok(_) if !resume => {
                return Err(Stop::usage(format!("{} holds a run already: --resume continues it", path.display())));
            }
            Ok(held) if held != json => {
                let why = "holds another run (run.json): expected the same model, adapter, sets and flags";
                return Err(Stop::usage(format!("{} {why}", path.display())));
            }
            Ok(_) => {}
        }
        Ok(folder)
    }

    /// Opens the file of a set and returns its whole lines by id; an unfinished last one is cut off.
    pub fn set(&mut self, set: &str) -> Result<BTreeMap<String, Line>> {
        let path = self.path.join(format!("{set}.jsonl"));
        let name = path.display().to_string();
        let fail = |e: std::io::Error| Stop::failed(format!("{name}: {e}"));
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(&path).map_err(fail)?;
        cut_and_read(&mut file, &name)?;
        let known = Self::read(&self.path, set)?.unwrap_or_default();
        self.open = Some((path, file));
        Ok(known.into_iter().map(|line| (line.id.clone(), line)).collect())
    }

    /// Appends lines to the file of the set at work, and hands them to the system.
    pub fn write(&mut self, lines: &[Line]) -> Result<()> {
        let Some((path, file)) = &mut self.open else { return Ok(()) };
        let text = joined(lines)?;
        file.write_all(text.as_bytes()).map_err(|e| Stop::failed(format!("{}: {e}", path.display())))
    }

    /// Writes a file of lines whole.
    pub fn lines<T: Serialize>(&self, name: &str, lines: &[T]) -> Result<()> {
        self.file(name, &joined(lines)?)
    }

    /// Writes a file whole, or leaves it as it was.
    pub fn file(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path.join(name);
        let unfinished = self.path.join(format!("{name}.unfinished"));
        let written = std::fs::write(&unfinished, text).and_then(|()| std::fs::rename(&unfinished, &path));
        written.map_err(|e| Stop::failed(format!("{}: {e}", path.display())))
    }

    /// The identity of the run in a folder.
    pub fn identity(path: &Path) -> Result<Identity> {
        let file = path.join("run.json");
        let fail = |why: String| Stop::failed(format!("{}: {why}", file.display()));
        let text = std::fs::read_to_string(&file).map_err(|e| fail(e.to_string()))?;
        serde_json::from_str(&text).map_err(|e| fail(e.to_string()))
    }

    /// The lines of a set in a folder; none where there is no such file.
    pub fn read(path: &Path, set: &str) -> Result<Option<Vec<Line>>> {
        let path = path.join(format!("{set}.jsonl"));
        let fail = |why: String| Stop::failed(format!("{}: {why}", path.display()));
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(fail(e.to_string())),
        };
        let mut lines = Vec::new();
        for (number, line) in BufReader::new(file).lines().enumerate() {
            let line = line.map_err(|e| fail(e.to_string()))?;
            let broken = |_| fail(format!("line {}: expected an answer as bmn eval writes it", number + 1));
            lines.push(serde_json::from_str(&line).map_err(broken)?);
        }
        Ok(Some(lines))
    }
}

fn joined<T: Serialize>(lines: &[T]) -> Result<String> {
    let mut text = String::new();
    for line in lines {
        text += &serde_json::to_string(line).map_err(|e| Stop::failed(format!("a line as JSON: {e}")))?;
        text.push('\n');
    }
    Ok(text)
}
