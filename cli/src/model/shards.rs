//! Writing a model folder: bf16 safetensors in shards, their index, and config.json.

use crate::progress::Progress;
use crate::stop::{Result, Stop};
use biomistral_nlu::weights::ModelConfig;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Bytes after which a new file begins.
const SHARD: u64 = 4 << 30;

/// Writes `config` and one bf16 tensor after the other as `fill(name, shape)` gives them: little-endian bytes.
///
/// The folder must not exist or be empty. An interrupted run leaves it without config.json, which nothing takes for a model.
pub fn write(
    folder: &Path,
    config: &ModelConfig,
    mut fill: impl FnMut(&str, &[usize]) -> Result<Vec<u8>>,
) -> Result<()> {
    let fail = |path: &Path| {
        let name = path.display().to_string();
        move |e: std::io::Error| Stop::failed(format!("{name}: {e}"))
    };
    std::fs::create_dir_all(folder).map_err(fail(folder))?;
    if std::fs::read_dir(folder).map_err(fail(folder))?.next().is_some() {
        return Err(Stop::usage(format!("{}: expected a new or empty folder", folder.display())));
    }
    let tensors: Vec<(String, Vec<usize>)> = config.tensors().collect();
    let bytes = |shape: &[usize]| 2 * shape.iter().map(|n| *n as u64).product::<u64>();
    let total: u64 = tensors.iter().map(|(_, shape)| bytes(shape)).sum();
    let mut shards: Vec<&[(String, Vec<usize>)]> = Vec::new();
    let (mut first, mut size) = (0, 0u64);
    for (i, (_, shape)) in tensors.iter().enumerate() {
        if i > first && size + bytes(shape) > SHARD {
            shards.push(&tensors[first..i]);
            (first, size) = (i, 0);
        }
        size += bytes(shape);
    }
    shards.push(&tensors[first..]);

    let progress = Progress::new(Some(total), false);
    let (mut written, mut count) = (0, 0);
    let mut weight_map = Map::new();
    for (number, shard) in shards.iter().enumerate() {
        let name = match shards.len() {
            1 => "model.safetensors".to_owned(),
            n => format!("model-{:05}-of-{n:05}.safetensors", number + 1),
        };
        let path = folder.join(&name);
        let mut out = BufWriter::new(File::create(&path).map_err(fail(&path))?);
        let mut header = Map::new();
        let mut offset = 0;
        for (tensor, shape) in *shard {
            let end = offset + bytes(shape);
            header.insert(tensor.clone(), json!({"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]}));
            weight_map.insert(tensor.clone(), Value::String(name.clone()));
            offset = end;
        }
        header.insert("__metadata__".to_owned(), json!({"format": "pt"}));
        let mut header = Value::Object(header).to_string();
        // The data begins at a multiple of 64 bytes, so that it can be used where it is mapped.
        header.push_str(&" ".repeat((64 - (8 + header.len()) % 64) % 64));
        out.write_all(&(header.len() as u64).to_le_bytes()).map_err(fail(&path))?;
        out.write_all(header.as_bytes()).map_err(fail(&path))?;
        for (tensor, shape) in *shard {
            let data = fill(tensor, shape)?;
            if data.len() as u64 != bytes(shape) {
                return Err(Stop::failed(format!("{tensor}: expected {} bytes, found {}", bytes(shape), data.len())));
            }
            out.write_all(&data).map_err(fail(&path))?;
            (written, count) = (written + bytes(shape), count + 1);
            progress.tensors(written, count);
        }
        out.flush().map_err(fail(&path))?;
    }
    progress.finish();
    let save = |name: &str, value: &Value| {
        let path = folder.join(name);
        std::fs::write(&path, format!("{value:#}\n")).map_err(fail(&path))
    };
    if shards.len() > 1 {
        let index = json!({"metadata": {"total_size": total}, "weight_map": weight_map});
        save("model.safetensors.index.json", &index)?;
    }
    save("config.json", &config.to_json())
}
