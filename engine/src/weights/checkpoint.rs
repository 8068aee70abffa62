//! A model on disk, whichever way it is stored, under HF names.

use super::dequantize::{to_bf16, to_f32};
use super::{Arena, DType, Gguf, HEAD, HostMatrix, MatrixData, ModelConfig, PeftAdapter, TensorInfo};
use super::{gguf_model, pages, safetensors};
use crate::{Error, Result};
use memmap2::Mmap;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Values converted per task: some tens of microseconds of work.
const TASK: usize = 1 << 16;

/// A file of a checkpoint.
pub(super) struct StoredFile {
    pub path: PathBuf,
    pub map: Arc<Mmap>,
    /// What is mapped, whatever has been put in its place.
    pub file: File,
}

/// A model folder (`config.json` and `*.safetensors`) or a GGUF file: opened, not loaded.
///
/// Files are memory-mapped. Nothing but headers is read before a tensor is asked for, and bf16 matrices are used where they lie.
/// A file that is shortened while mapped ends the process with SIGBUS, as for every mapped model: replace files by renaming.
pub struct Checkpoint {
    path: PathBuf,
    config: ModelConfig,
    pub(super) files: Vec<StoredFile>,
    tensors: BTreeMap<String, TensorInfo>,
    /// Rows of q and k lie in GGUF's interleaved order.
    interleaved: bool,
    arena: Arena,
    /// [`Checkpoint::base_id`], once it was asked for.
    pub(super) base: OnceLock<String>,
}

impl Checkpoint {
    /// Opens a model folder or a `.gguf` file and reads configuration and tensor tables.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] for truncated or inconsistent files; [`Error::Unsupported`] for another architecture.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            let config = ModelConfig::read_json(&path.join("config.json"))?;
            let (mut files, mut tensors) = (Vec::new(), Vec::new());
            for file in safetensors::open_folder(path)? {
                files.push(StoredFile { path: file.path, map: file.map, file: file.file });
                tensors.extend(file.tensors);
            }
            return Self::of(path, config, files, tensors, false);
        }
        if !path.exists() || Gguf::is_gguf(path) {
            let gguf = Gguf::open(path)?;
            let config = gguf_model::read_config(&gguf)?;
            let renamed = gguf.tensors().iter().map(|tensor| TensorInfo {
                name: gguf_model::hf_name(&tensor.name).unwrap_or_else(|| tensor.name.clone()),
                ..tensor.clone()
            });
            let tensors = renamed.collect();
            let (map, file) = gguf.into_file();
            let file = StoredFile { path: path.into(), map, file };
            return Self::of(path, config, vec![file], tensors, true);
        }
        Err(Error::format(path.display().to_string(), "expected a model folder or a GGUF file"))
    }

    fn of(
        path: &Path,
        config: ModelConfig,
        files: Vec<StoredFile>,
        stored: Vec<TensorInfo>,
        interleaved: bool,
    ) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        for tensor in stored {
            if let Some(twin) = tensors.insert(tensor.name.clone(), tensor) {
                return Err(Error::format(path.display().to_string(), format!("tensor {} is stored twice", twin.name)));
            }
        }
        Ok(Checkpoint {
            path: path.into(),
            config,
            files,
            tensors,
            interleaved,
            arena: Arena::default(),
            base: OnceLock::new(),
        })
    }

    /// The folder or file this was opened from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Shape of the model.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// All stored tensors by name.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.tensors.values()
    }

    /// The matrix `name`, `[rows, cols]` in bf16: in place where it is stored so, else converted on all threads of the pool,
    /// rounded to nearest even. Rows of q and k come in the order of the rotate-half rotary embedding.
    ///
    /// # Errors
    /// [`Error::Format`] where it is missing, [`Error::Shape`], [`Error::Unsupported`] for other element types,
    /// [`Error::OutOfMemory`].
    pub fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<HostMatrix> {
        let (tensor, dtype) = self.find(name, &[rows, cols])?;
        let map = &self.files[tensor.file].map;
        let permuted = self.permuted(name);
        let address = map.as_ptr() as usize + tensor.offset;
        if dtype == DType::Bf16 && address.is_multiple_of(2) && !permuted {
            pages::expect_streaming(map);
            let data = MatrixData::Mapped { map: map.clone(), offset: tensor.offset, len: rows * cols };
            return Ok(HostMatrix { data, rows, cols });
        }
        let head_dim = self.config.head_dim;
        if permuted && !rows.is_multiple_of(head_dim) {
            return Err(Error::shape(name, format!("rows in multiples of {head_dim}"), rows));
        }
        let stored = &map[tensor.offset..tensor.offset + tensor.bytes];
        let row_bytes = tensor.bytes.checked_div(rows).unwrap_or(0);
        let mut values = self.arena.zeroed(rows * cols)?;
        let rows_per_task = (TASK / cols.max(1)).max(1);
        values.par_chunks_mut((rows_per_task * cols).max(1)).enumerate().for_each(|(task, chunk)| {
            for (i, out) in chunk.chunks_exact_mut(cols).enumerate() {
                let row = task * rows_per_task + i;
                let row = if permuted { gguf_model::interleaved_row(row, head_dim) } else { row };
                to_bf16(dtype, &stored[row * row_bytes..(row + 1) * row_bytes], out);
            }
        });
        pages::release(map, tensor.offset..tensor.offset + tensor.bytes);
        Ok(HostMatrix { data: MatrixData::Pages(values), rows, cols })
    }

    /// Rows `rows` of the matrix `name`, or all of a vector, in f32; lets the system take the file's pages back.
    ///
    /// # Errors
    /// As [`Checkpoint::matrix`].
    pub(super) fn rows(&self, name: &str, shape: &[usize], rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let tensor = self.sample(name, shape, rows, out)?;
        pages::release(&self.files[tensor.file].map, tensor.offset..tensor.offset + tensor.bytes);
        Ok(())
    }

    /// The same, pages kept; which tensor it was.
    pub(super) fn sample(
        &self,
        name: &str,
        shape: &[usize],
        rows: Range<usize>,
        out: &mut [f32],
    ) -> Result<&TensorInfo> {
        let (tensor, dtype) = self.find(name, shape)?;
        let map = &self.files[tensor.file].map;
        let stored = &map[tensor.offset..tensor.offset + tensor.bytes];
        let cols = shape.last().copied().unwrap_or(0).max(1);
        let row_bytes = tensor.bytes / if shape.len() == 2 { shape[0] } else { 1 }.max(1);
        out.par_chunks_mut(cols).zip(rows).for_each(|(out, row)| {
            let row = if self.permuted(name) { gguf_model::interleaved_row(row, self.config.head_dim) } else { row };
            to_f32(dtype, &stored[row * row_bytes..(row + 1) * row_bytes], out);
        });
        Ok(tensor)
    }

    /// The adapter in `folder`, which must be for this model.
    ///
    /// # Errors
    /// As [`PeftAdapter::open`] and [`PeftAdapter::check_base`].
    pub fn adapter(&self, folder: &Path) -> Result<PeftAdapter> {
        let adapter = PeftAdapter::open(folder, &self.config)?;
        if adapter.base().is_some() {
            adapter.check_base(self.base_id()?)?;
        }
        Ok(adapter)
    }

    /// Lets the system take back all pages of the files; they are read again when touched.
    pub(super) fn release(&self) {
        self.files.iter().for_each(|file| pages::release(&file.map, 0..file.map.len()));
    }

    /// The vector `name`, `len` values in f32.
    ///
    /// # Errors
    /// As [`Checkpoint::matrix`].
    pub fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>> {
        let (tensor, dtype) = self.find(name, &[len])?;
        let mut values = vec![0.0; len];
        to_f32(dtype, &self.files[tensor.file].map[tensor.offset..tensor.offset + tensor.bytes], &mut values);
        Ok(values)
    }

    /// Checks that the files hold exactly the tensors that the configuration demands, each with its shape and a readable type.
    ///
    /// # Errors
    /// The first tensor that is missing, misshapen, of an unknown type or not part of the model, by name.
    pub fn check_complete(&self) -> Result<()> {
        let mut extra: BTreeMap<&str, &TensorInfo> = self.tensors.iter().map(|(name, t)| (name.as_str(), t)).collect();
        for (name, shape) in self.config.tensors() {
            self.find(&name, &shape)?;
            extra.remove(name.as_str());
        }
        for (name, tensor) in extra {
            self.check_extra(name, tensor)?;
        }
        Ok(())
    }

    /// Whether rows must come in another order than they are stored in.
    fn permuted(&self, name: &str) -> bool {
        self.interleaved && [".q_proj.weight", ".k_proj.weight"].iter().any(|end| name.ends_with(end))
    }

    fn find(&self, name: &str, shape: &[usize]) -> Result<(&TensorInfo, DType)> {
        let file = || self.path.display().to_string();
        let Some(tensor) = self.tensors.get(name) else {
            return Err(Error::format(
                file(),
                format!("tensor {name}: expected shape {shape:?}, found no such tensor"),
            ));
        };
        if tensor.shape != shape {
            return Err(Error::shape(format!("{}: tensor {name}", file()), shape, &tensor.shape));
        }
        match &tensor.dtype {
            Ok(dtype) => Ok((tensor, *dtype)),
            Err(other) => Err(Error::unsupported(format!("{}: tensor {name} of type {other}", file()))),
        }
    }

    /// Tensors beyond the model change what it computes, but for tables of rotary frequencies equal to our own.
    fn check_extra(&self, name: &str, tensor: &TensorInfo) -> Result<()> {
        let file = self.path.display();
        if name.ends_with(".rotary_emb.inv_freq") || name.ends_with(".attn_rot_embd.weight") {
            return Ok(());
        }
        if name == "rope_freqs.weight" && tensor.dtype == Ok(DType::F32) {
            let factors = &self.files[tensor.file].map[tensor.offset..tensor.offset + tensor.bytes];
            if factors.chunks_exact(4).all(|x| x == 1f32.to_le_bytes()) {
                return Ok(());
            }
            return Err(Error::unsupported(format!("{file}: tensor {name} (rotary frequencies scaled per dimension)")));
        }
        let why = if name == HEAD { " where the configuration ties the head to the embedding" } else { "" };
        Err(Error::format(
            file.to_string(),
            format!("tensor {name}: expected no such tensor{why}, found shape {:?}", tensor.shape),
        ))
    }
}
