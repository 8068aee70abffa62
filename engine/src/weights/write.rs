//! Writing HF model folders: converted checkpoints, and random ones of any shape.
//!
//! A folder appears whole or not at all: files are written under a temporary name beside it, which is renamed at the end and
//! removed on every failure. Tensors stream; the largest single one is what memory is needed for.

use super::dequantize::round;
use super::safetensors::{INDEX, SINGLE};
use super::{Checkpoint, ModelConfig};
use crate::random::mix;
use crate::{Error, Result};
use half::bf16;
use rayon::prelude::*;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Files larger than this are split.
const SHARD: u64 = 4 << 30;
/// The data of a file begin at a multiple of this, so that mapped rows begin at cache lines.
const ALIGN: usize = 64;
/// Bytes between two reports of progress.
const PIECE: usize = 8 << 20;

/// `progress(done, total)` in bytes; returning false cancels.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64) -> bool;

/// A tensor to be written.
struct Part {
    name: String,
    shape: Vec<usize>,
    /// f32, for vectors that bf16 cannot hold exactly; else bf16.
    wide: bool,
}

impl Part {
    fn values(&self) -> usize {
        self.shape.iter().product()
    }

    fn bytes(&self) -> u64 {
        (self.values() * if self.wide { 4 } else { 2 }) as u64
    }
}

/// Takes the bytes of a part, piece by piece.
type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<()>;

impl Checkpoint {
    /// Writes this checkpoint as a HF folder: `config.json`, and matrices in bf16 as the engine computes with them. Vectors stay
    /// f32 where bf16 would change them. The tokenizer is not part of it.
    ///
    /// # Errors
    /// [`Error::Invalid`] where `folder` exists; those of [`Checkpoint::check_complete`]; [`Error::Io`]; [`Error::Cancelled`].
    pub fn write_safetensors(&self, folder: &Path, progress: Progress<'_>) -> Result<()> {
        self.write_sharded(folder, SHARD, progress)
    }

    fn write_sharded(&self, folder: &Path, shard: u64, progress: Progress<'_>) -> Result<()> {
        self.check_complete()?;
        let exact = |x: &f32| bf16::from_f32(*x).to_f32() == *x;
        let mut parts = Vec::new();
        for (name, shape) in self.config().tensors() {
            let wide = shape.len() == 1 && !self.vector(&name, shape[0])?.iter().all(exact);
            parts.push(Part { name, shape, wide });
        }
        write_folder(self.config(), &parts, folder, shard, progress, &mut |part, sink| match part.shape[..] {
            [rows, cols] => sink(bytemuck::cast_slice(&self.matrix(&part.name, rows, cols)?.data)),
            _ => {
                let values = self.vector(&part.name, part.values())?;
                if part.wide {
                    sink(bytemuck::cast_slice(&values))
                } else {
                    let values: Vec<bf16> = values.into_iter().map(bf16::from_f32).collect();
                    sink(bytemuck::cast_slice(&values))
                }
            }
        })
    }
}

/// Files beside the weights that belong to a model.
pub const COMPANIONS: [&str; 8] = [
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
    "bmn.json",
    "LICENSE",
];

/// Copies the [`COMPANIONS`] that the folder `model` has to `folder`; of a GGUF file there are none.
///
/// # Errors
/// [`Error::Io`].
pub fn copy_companions(model: &Path, folder: &Path) -> Result<()> {
    for name in COMPANIONS {
        let (from, to) = (model.join(name), folder.join(name));
        if from.is_file() {
            std::fs::copy(&from, &to).map_err(|e| Error::io(&to, e))?;
        }
    }
    Ok(())
}

/// The values of one tensor: matrices in bf16, vectors in f32.
pub enum ModelTensor {
    /// Of a vector.
    Vector(Vec<f32>),
    /// Of a matrix.
    Matrix(Vec<bf16>),
}

/// Writes a HF folder of the tensors that `tensor(name)` returns, in the order of [`ModelConfig::tensors`]; vectors in f32.
/// `rest` puts into the folder what else belongs there, before it gets its name.
///
/// # Errors
/// [`Error::Invalid`] where `folder` exists; [`Error::Io`]; [`Error::Cancelled`]; those of `tensor` and `rest`.
pub fn write_model(
    config: &ModelConfig,
    folder: &Path,
    progress: Progress<'_>,
    tensor: &mut dyn FnMut(&str) -> Result<ModelTensor>,
    rest: &mut dyn FnMut(&Path) -> Result<()>,
) -> Result<()> {
    let part = |(name, shape): (String, Vec<usize>)| Part { name, wide: shape.len() == 1, shape };
    let parts: Vec<Part> = config.tensors().map(part).collect();
    new_folder(folder, |temporary| {
        write_files(config, &parts, temporary, SHARD, progress, &mut |part, sink| match tensor(&part.name)? {
            ModelTensor::Vector(values) => sink(bytemuck::cast_slice(&values)),
            ModelTensor::Matrix(values) => sink(bytemuck::cast_slice(&values)),
        })?;
        rest(temporary)
    })
}

/// Writes a HF folder of random weights: matrices of standard deviation 0.02, norms 1. For measuring speed at sizes that
/// nobody wants to download; the same seed gives the same bytes.
///
/// # Errors
/// [`Error::Invalid`] where `folder` exists; [`Error::Format`] for an impossible shape; [`Error::Io`]; [`Error::Cancelled`].
pub fn random_checkpoint(config: &ModelConfig, seed: u64, folder: &Path, progress: Progress<'_>) -> Result<()> {
    random_sharded(config, seed, folder, SHARD, progress)
}

pub(super) fn random_sharded(
    config: &ModelConfig,
    seed: u64,
    folder: &Path,
    shard: u64,
    progress: Progress<'_>,
) -> Result<()> {
    config.validate("random model")?;
    let part = |(name, shape)| Part { name, shape, wide: false };
    let parts: Vec<Part> = config.tensors().map(part).collect();
    let mut piece = vec![bf16::ONE; 4 << 20];
    let mut stream = 0;
    write_folder(config, &parts, folder, shard, progress, &mut |part, sink| {
        stream += 1;
        if part.shape.len() == 1 {
            return sink(bytemuck::cast_slice(&vec![bf16::ONE; part.values()]));
        }
        let key = mix(seed ^ mix(stream));
        let mut at = 0;
        while at < part.values() {
            let now = piece.len().min(part.values() - at);
            piece[..now].par_chunks_mut(1 << 14).enumerate().for_each(|(i, values)| {
                let first = (at + (i << 14)) as u64;
                for (j, value) in values.iter_mut().enumerate() {
                    *value = round(0.02 * near_normal(mix(key.wrapping_add(first + j as u64))));
                }
            });
            sink(bytemuck::cast_slice(&piece[..now]))?;
            at += now;
        }
        Ok(())
    })
}

/// Mean 0, standard deviation 1, near enough to normal: the sum of four uniform 16-bit numbers, centred and scaled.
fn near_normal(bits: u64) -> f32 {
    let sum: u32 = (0..4).map(|i| (bits >> (16 * i)) as u32 & 0xffff).sum();
    (sum as i32 - 131_070) as f32 * (3f32.sqrt() / 65_536.0)
}

fn write_folder(
    config: &ModelConfig,
    parts: &[Part],
    folder: &Path,
    shard: u64,
    progress: Progress<'_>,
    fill: &mut dyn FnMut(&Part, Sink<'_>) -> Result<()>,
) -> Result<()> {
    new_folder(folder, |temporary| write_files(config, parts, temporary, shard, progress, fill))
}

/// Makes `folder` by `fill`ing a temporary one beside it, which is renamed at the end and removed on failure.
pub(super) fn new_folder(folder: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if folder.exists() {
        return Err(Error::invalid(format!(
            "{}: expected a name that is free, found a file or folder",
            folder.display()
        )));
    }
    let temporary = temporary_name(folder)?;
    std::fs::create_dir(&temporary).map_err(|e| Error::io(&temporary, e))?;
    let written = fill(&temporary).and_then(|()| std::fs::rename(&temporary, folder).map_err(|e| Error::io(folder, e)));
    if written.is_err() {
        // The first error is the one to report; what cannot be removed now is at least plainly named.
        let _ = std::fs::remove_dir_all(&temporary);
    }
    written
}

fn temporary_name(folder: &Path) -> Result<PathBuf> {
    let Some(name) = folder.file_name() else {
        return Err(Error::invalid(format!("{}: expected the name of a new folder", folder.display())));
    };
    let mut temporary = name.to_os_string();
    temporary.push(format!(".unfinished-{}", std::process::id()));
    Ok(folder.with_file_name(temporary))
}

fn write_files(
    config: &ModelConfig,
    parts: &[Part],
    folder: &Path,
    shard: u64,
    progress: Progress<'_>,
    fill: &mut dyn FnMut(&Part, Sink<'_>) -> Result<()>,
) -> Result<()> {
    let total: u64 = parts.iter().map(Part::bytes).sum();
    let shards = split(parts, shard);
    let mut done = 0;
    let mut index = Map::new();
    for (number, shard) in shards.iter().enumerate() {
        let name = match shards.len() {
            1 => SINGLE.to_string(),
            count => format!("model-{:05}-of-{count:05}.safetensors", number + 1),
        };
        let path = folder.join(&name);
        let io = |e| Error::io(&path, e);
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&path).map_err(io)?);
        file.write_all(&header(shard)).map_err(io)?;
        for part in *shard {
            index.insert(part.name.clone(), json!(name));
            let mut written = 0;
            fill(part, &mut |bytes| {
                for piece in bytes.chunks(PIECE) {
                    file.write_all(piece).map_err(io)?;
                    written += piece.len() as u64;
                    if !progress(done + written, total) {
                        return Err(Error::Cancelled);
                    }
                }
                Ok(())
            })?;
            if written != part.bytes() {
                return Err(Error::internal(format!("{}: wrote {written} of {} bytes", part.name, part.bytes())));
            }
            done += written;
        }
        file.into_inner().map_err(|e| io(e.into_error()))?.sync_all().map_err(io)?;
    }
    if shards.len() > 1 {
        write_json(&folder.join(INDEX), &json!({"metadata": {"total_size": total}, "weight_map": index}))?;
    }
    write_json(&folder.join("config.json"), &config.to_json())
}

/// Consecutive parts of at most `shard` bytes together; a larger part stands alone.
fn split(parts: &[Part], shard: u64) -> Vec<&[Part]> {
    let (mut shards, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (i, part) in parts.iter().enumerate() {
        if i > start && bytes + part.bytes() > shard {
            shards.push(&parts[start..i]);
            (start, bytes) = (i, 0);
        }
        bytes += part.bytes();
    }
    shards.push(&parts[start..]);
    shards
}

/// Length and JSON table, padded with spaces.
fn header(parts: &[Part]) -> Vec<u8> {
    let mut table = Map::new();
    table.insert("__metadata__".into(), json!({"format": "pt"}));
    let mut at = 0;
    for part in parts {
        let dtype = if part.wide { "F32" } else { "BF16" };
        let end = at + part.bytes();
        table.insert(part.name.clone(), json!({"dtype": dtype, "shape": part.shape, "data_offsets": [at, end]}));
        at = end;
    }
    let mut text = Value::Object(table).to_string().into_bytes();
    text.resize((8 + text.len()).next_multiple_of(ALIGN) - 8, b' ');
    [&(text.len() as u64).to_le_bytes()[..], &text].concat()
}

pub(super) fn write_json(path: &Path, value: &Value) -> Result<()> {
    std::fs::write(path, format!("{value:#}\n")).map_err(|e| Error::io(path, e))
}
