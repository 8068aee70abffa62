//! Checkpoints: folders that appear whole or not at all.
//!
//! `step-00000012/` holds `state.safetensors` (parameters and the optimiser's state) and `run.json` (where the run stood, what it
//! was made from, and the hash of the state). Order of data, dropout and rounding follow from the seed and the step's number.

use crate::{Error, Result};
use biomistral_nlu::device::Backward;
use biomistral_nlu::model::training::{Learner, StateValues};
use half::bf16;
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

const STATE: &str = "state.safetensors";
const FACTS: &str = "run.json";
/// Checkpoints that stay.
const KEPT: usize = 2;

/// Where a run stood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Steps done.
    pub step: u64,
    /// Of what decides the result: configuration, data, model, tokenizer, device. Checked before a run goes on.
    pub origin: Vec<(String, String)>,
    /// Losses that jumps are measured against.
    pub losses: Vec<f64>,
    /// Tokens trained on.
    pub tokens: u64,
    /// Seconds spent.
    pub seconds: f64,
    /// SHA-256 of the state.
    pub state: String,
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(values: &StateValues) -> (&'static str, usize, &[u8]) {
    match values {
        StateValues::Full(values) => ("F32", values.len(), bytemuck::cast_slice(values)),
        StateValues::Half(values) => ("BF16", values.len(), bytemuck::cast_slice(values)),
    }
}

/// Writes a checkpoint to `folder` and removes all but the last two. On failure the others are as they were.
pub fn save<D: Backward>(folder: &Path, facts: &mut Facts, learner: &Learner<D>) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let name = format!("step-{:08}", facts.step);
    let temporary = folder.join(format!("unfinished-{name}"));
    clear(&temporary)?;
    std::fs::create_dir(&temporary).map_err(|e| Error::io(&temporary, e))?;
    if let Err(error) = write(&temporary, facts, learner) {
        // A full disk: make room; the first error is the one to report.
        let _ = clear(&temporary);
        return Err(error);
    }
    let to = folder.join(&name);
    clear(&to)?;
    std::fs::rename(&temporary, &to).and_then(|()| File::open(folder)?.sync_all()).map_err(|e| Error::io(&to, e))?;
    let all = list(folder)?;
    all[..all.len().saturating_sub(KEPT)].iter().try_for_each(|old| clear(old))
}

fn write<D: Backward>(temporary: &Path, facts: &mut Facts, learner: &Learner<D>) -> Result<()> {
    let path = temporary.join(STATE);
    let io = |e| Error::io(&path, e);
    let (mut table, mut at) = (Map::new(), 0);
    learner.store(&mut |name, values| {
        let (dtype, len, bytes) = bytes(&values);
        let end = at + bytes.len();
        table.insert(name.into(), json!({"dtype": dtype, "shape": [len], "data_offsets": [at, end]}));
        at = end;
        Ok(())
    })?;
    let mut header = serde_json::Value::Object(table).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&path).map_err(io)?);
    let mut hash = Sha256::new();
    for part in [&(header.len() as u64).to_le_bytes()[..], &header] {
        hash.update(part);
        file.write_all(part).map_err(io)?;
    }
    learner.store(&mut |_, values| {
        let (_, _, bytes) = bytes(&values);
        hash.update(bytes);
        file.write_all(bytes).map_err(io)
    })?;
    file.into_inner().map_err(|e| io(e.into_error()))?.sync_all().map_err(io)?;
    facts.state = hex(hash);
    let path = temporary.join(FACTS);
    let io = |e| Error::io(&path, e);
    let text = serde_json::to_string_pretty(facts).map_err(|e| Error::internal(e.to_string()))?;
    let mut file = File::create(&path).map_err(io)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)
}

/// Removes a folder, if it is there.
fn clear(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(folder, e)),
        _ => Ok(()),
    }
}

/// Whole checkpoints, oldest first.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(folder, e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::io(folder, e))?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("step-")) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The last checkpoint in `folder`, if there is one.
pub fn last(folder: &Path) -> Result<Option<(PathBuf, Facts)>> {
    let Some(path) = list(folder)?.pop() else { return Ok(None) };
    let name = path.join(FACTS);
    let text = std::fs::read(&name).map_err(|e| Error::io(&name, e))?;
    let facts = serde_json::from_slice(&text)
        .map_err(|e| Error::format(name.display().to_string(), format!("expected a checkpoint's facts: {e}")))?;
    Ok(Some((path, facts)))
}

/// Reads the state of the checkpoint `path` into `learner`, after checking its hash.
pub fn load<D: Backward>(path: &Path, facts: &Facts, learner: &mut Learner<D>) -> Result<()> {
    let path = path.join(STATE);
    let broken = |why: String| Error::format(path.display().to_string(), why);
    let file = File::open(&path).map_err(|e| Error::io(&path, e))?;
    // SAFETY: the file belongs to this run, which only ever replaces checkpoints by renaming.
    let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io(&path, e))?;
    let mut hash = Sha256::new();
    hash.update(&map[..]);
    if hex(hash) != facts.state {
        return Err(broken("expected the state that run.json has the hash of, found another one".into()));
    }
    let tensors = SafeTensors::deserialize(&map).map_err(|e| broken(e.to_string()))?;
    learner.load(&mut |name| {
        let tensor = tensors.tensor(name).map_err(|_| broken(format!("expected a tensor {name}, found none")))?;
        let data = tensor.data();
        match tensor.dtype() {
            Dtype::F32 => {
                Ok(StateValues::Full(data.as_chunks::<4>().0.iter().map(|x| f32::from_le_bytes(*x)).collect()))
            }
            Dtype::BF16 => {
                Ok(StateValues::Half(data.as_chunks::<2>().0.iter().map(|x| bf16::from_le_bytes(*x)).collect()))
            }
            other => Err(broken(format!("{name}: expected F32 or BF16, found {other:?}"))),
        }
    })
}
