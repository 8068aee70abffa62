//! Which weights these are: a cheap identity for every answer, one of the values that adapters remember, and full hashes for
//! those who verify.

use super::checkpoint::{Checkpoint, StoredFile};
use super::pages;
use super::peft::hex;
use crate::{Error, Result};
use half::bf16;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes sampled at the beginning, middle and end of each tensor.
const SAMPLE: usize = 4096;
/// Bytes hashed between two reports of progress.
const STEP: usize = 8 << 20;

/// A file of a checkpoint and its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHash {
    /// Name without folders.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 in hex, as `sha256sum` and model hubs print it.
    pub sha256: String,
}

impl Checkpoint {
    /// SHA-256, in hex, of the configuration, the sorted table of tensors (name, type, shape) and, of each tensor, 4 KiB from
    /// its beginning, middle and end. Sharding and the order in the files do not matter.
    ///
    /// It reads some megabytes of a 7B model. It tells fine-tuned models apart, for training moves every tensor, but a change
    /// made on purpose between the samples escapes it: that is what [`Checkpoint::file_hashes`] is for.
    ///
    /// # Errors
    /// [`Error::Format`] where a file has changed its size since it was opened; [`Error::Io`].
    pub fn id(&self) -> Result<String> {
        self.files.iter().try_for_each(unchanged)?;
        let mut hash = Sha256::new();
        hash.update(self.config().to_json().to_string());
        for tensor in self.tensors() {
            let dtype = tensor.dtype.as_ref().map_or_else(Clone::clone, ToString::to_string);
            hash.update(format!("\n{} {dtype} {:?} {}\n", tensor.name, tensor.shape, tensor.bytes));
            let stored = &self.files[tensor.file].map[tensor.offset..tensor.offset + tensor.bytes];
            let last = stored.len().saturating_sub(SAMPLE);
            for start in [0, last / 2, last] {
                hash.update(&stored[start..stored.len().min(start + SAMPLE)]);
            }
        }
        Ok(hex(&hash.finalize()))
    }

    /// What an adapter remembers of the model it was made for: SHA-256, in hex, of name and shape of each tensor and of its first,
    /// middle and last row, all of a vector, in bf16 as they are computed with. A GGUF file and the folder converted from it have
    /// the same.
    ///
    /// Fine-tuning moves every row that it uses, so it tells the models of a family apart. It sees neither a change made on
    /// purpose in other rows nor the numbers of the configuration that are no shapes. Read once, when it is first asked for.
    ///
    /// # Errors
    /// As [`Checkpoint::check_complete`], and [`Error::Format`] where a file has changed its size since it was opened.
    pub fn base_id(&self) -> Result<&str> {
        if let Some(id) = self.base.get() {
            return Ok(id);
        }
        let id = self.read_base_id()?;
        Ok(self.base.get_or_init(|| id))
    }

    fn read_base_id(&self) -> Result<String> {
        self.files.iter().try_for_each(unchanged)?;
        let mut hash = Sha256::new();
        for (name, shape) in self.config().tensors() {
            let (rows, cols) = if let [rows, cols] = shape[..] { (rows, cols) } else { (1, shape[0]) };
            hash.update(format!("{name} {shape:?}\n"));
            let mut values = vec![0f32; cols];
            for row in [0, rows / 2, rows.saturating_sub(1)].into_iter().filter(|row| *row < rows) {
                self.sample(&name, &shape, row..row + 1, &mut values)?;
                // Equal values are one model's: a quantised zero may have a sign.
                let rounded =
                    values.iter().map(|x| bf16::from_f32(*x)).map(|x| if x == bf16::ZERO { bf16::ZERO } else { x });
                rounded.for_each(|x| hash.update(x.to_le_bytes()));
            }
        }
        Ok(hex(&hash.finalize()))
    }

    /// Hashes of all weight files, in the order of their names; files in parallel. `progress(done, total)` is told bytes, from any
    /// thread, and stops the work by returning false.
    ///
    /// # Errors
    /// [`Error::Cancelled`]; [`Error::Format`] where a file has changed its size since it was opened; [`Error::Io`].
    pub fn file_hashes(&self, progress: &(dyn Fn(u64, u64) -> bool + Sync)) -> Result<Vec<FileHash>> {
        let total = self.files.iter().map(|file| file.map.len() as u64).sum();
        let done = AtomicU64::new(0);
        let hash_file = |file: &StoredFile| {
            unchanged(file)?;
            let mut hash = Sha256::new();
            for (i, step) in file.map.chunks(STEP).enumerate() {
                hash.update(step);
                pages::release(&file.map, i * STEP..i * STEP + step.len());
                let done = done.fetch_add(step.len() as u64, Ordering::Relaxed) + step.len() as u64;
                if !progress(done, total) {
                    return Err(Error::Cancelled);
                }
            }
            let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok(FileHash { name, bytes: file.map.len() as u64, sha256: hex(&hash.finalize()) })
        };
        self.files.par_iter().map(hash_file).collect()
    }
}

/// Reading beyond the end of a file that has been shortened would end the process.
fn unchanged(file: &StoredFile) -> Result<()> {
    let now = file.file.metadata().map_err(|e| Error::io(&file.path, e))?.len();
    if now == file.map.len() as u64 {
        return Ok(());
    }
    let why = format!("expected {} bytes, as when it was opened, found {now}", file.map.len());
    Err(Error::format(file.path.display().to_string(), why))
}
