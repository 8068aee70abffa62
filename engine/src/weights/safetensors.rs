//! A HF model folder: one `model.safetensors`, or shards listed in `model.safetensors.index.json`.

use super::config_json::read_object;
use super::pages::map_file;
use super::{DType, TensorInfo};
use crate::{Error, Result};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The usual name of a single file.
pub(super) const SINGLE: &str = "model.safetensors";
/// The usual name of the list of shards.
pub(super) const INDEX: &str = "model.safetensors.index.json";
const MAX_INDEX: u64 = 64 << 20;

/// A mapped safetensors file.
pub(super) struct SafetensorsFile {
    pub path: PathBuf,
    pub map: Arc<Mmap>,
    pub file: File,
    pub tensors: Vec<TensorInfo>,
    /// What the header says beside the tensors.
    pub metadata: HashMap<String, String>,
}

/// Maps one file and reads its header; `number` is its own in the checkpoint.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] where header and file disagree: the format demands that tensors fill the file exactly.
pub(super) fn open_file(path: &Path, number: usize) -> Result<SafetensorsFile> {
    let (map, file) = map_file(path)?;
    let bad = |why: String| Error::format(path.display().to_string(), why);
    let (header, metadata) = SafeTensors::read_metadata(&map).map_err(|e| bad(format!("safetensors header: {e}")))?;
    let header_bytes = header + 8;
    let mut tensors = Vec::new();
    for (name, info) in metadata.tensors() {
        let (start, end) = info.data_offsets;
        let offset = header_bytes.checked_add(start);
        let inside = header_bytes.checked_add(end).is_some_and(|end| end <= map.len());
        let (Some(offset), true, Some(bytes)) = (offset, inside, end.checked_sub(start)) else {
            return Err(bad(format!("tensor {name}: bytes {start} to {end} of the data lie beyond the file")));
        };
        let dtype = match info.dtype {
            Dtype::F32 => Ok(DType::F32),
            Dtype::F16 => Ok(DType::F16),
            Dtype::BF16 => Ok(DType::Bf16),
            other => Err(format!("{other:?}")),
        };
        tensors.push(TensorInfo { name, dtype, shape: info.shape.clone(), bytes, file: number, offset });
    }
    let metadata = metadata.metadata().clone().unwrap_or_default();
    Ok(SafetensorsFile { path: path.to_path_buf(), map, file, tensors, metadata })
}

/// Opens all files of a model folder.
///
/// # Errors
/// As [`open_file`], and [`Error::Format`] where index and shards disagree; [`Error::Unsupported`] for a folder of pickles.
pub(super) fn open_folder(folder: &Path) -> Result<Vec<SafetensorsFile>> {
    let single = folder.join(SINGLE);
    if single.exists() {
        return Ok(vec![open_file(&single, 0)?]);
    }
    let index_path = folder.join(INDEX);
    if !index_path.exists() {
        let place = folder.display();
        if folder.join("pytorch_model.bin").exists() || folder.join("pytorch_model.bin.index.json").exists() {
            return Err(Error::unsupported(format!(
                "{place}: pickled weights (pytorch_model.bin); save as safetensors"
            )));
        }
        return Err(Error::format(place.to_string(), format!("expected {SINGLE} or {INDEX}, found neither")));
    }
    let listed = read_index(&index_path)?;
    let shards: BTreeSet<&String> = listed.values().collect();
    let files = shards.iter().enumerate().map(|(i, shard)| open_file(&folder.join(shard), i));
    let files = files.collect::<Result<Vec<_>>>()?;
    let index = index_path.display().to_string();
    let mut found = BTreeSet::new();
    for (file, shard) in files.iter().zip(shards) {
        for tensor in &file.tensors {
            if listed.get(&tensor.name) != Some(shard) {
                return Err(Error::format(
                    index,
                    format!("tensor {} lies in {shard} but is not listed there", tensor.name),
                ));
            }
            found.insert(&tensor.name);
        }
    }
    match listed.iter().find(|(name, _)| !found.contains(name)) {
        Some((name, shard)) => {
            Err(Error::format(index, format!("tensor {name}: expected in {shard}, not found there")))
        }
        None => Ok(files),
    }
}

/// Tensor name to shard file name. Shards lie beside the index, nowhere else.
fn read_index(path: &Path) -> Result<BTreeMap<String, String>> {
    let file = path.display().to_string();
    let map = read_object(path, MAX_INDEX)?;
    let Some(Value::Object(weights)) = map.get("weight_map") else {
        return Err(Error::format(file, "weight_map: expected an object"));
    };
    weights
        .iter()
        .map(|(name, shard)| match shard.as_str() {
            Some(shard) if Path::new(shard).file_name().is_some_and(|plain| plain == shard) => {
                Ok((name.clone(), shard.to_string()))
            }
            _ => Err(Error::format(&file, format!("weight_map of {name}: expected a file name without folders"))),
        })
        .collect()
}
