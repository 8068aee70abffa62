//! What the targets share: bytes as a file beside good ones, in a folder that is made once.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The folder of this process.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        tempfile::Builder::new().prefix("bmn-fuzz").tempdir_in(parent).expect("a temporary folder").keep()
    })
}

/// Writes `data` as `name` in a folder where `others` stand, and returns the folder.
pub fn with_file(name: &str, data: &[u8], others: &[(&str, &[u8])]) -> &'static Path {
    let folder = folder();
    for (name, data) in others {
        let path = folder.join(name);
        if !path.exists() {
            std::fs::write(path, data).expect("a writable folder");
        }
    }
    std::fs::write(folder.join(name), data).expect("a writable folder");
    folder
}

/// The tiny model that damaged files stand beside.
pub const CONFIG: &[u8] = include_bytes!("../../tests/golden/mistral_window/model/config.json");
/// Its weights.
pub const WEIGHTS: &[u8] = include_bytes!("../../tests/golden/mistral_window/model/model.safetensors");
/// Options of an adapter for it.
pub const ADAPTER: &[u8] = include_bytes!("../../tests/golden/mistral_window/all_linear_r4/adapter_config.json");

/// Reads every tensor that a checkpoint has by its own account.
pub fn read_all(checkpoint: &biomistral_nlu::weights::Checkpoint) {
    let _ = checkpoint.id();
    if checkpoint.check_complete().is_err() {
        return;
    }
    let shapes: Vec<(String, Vec<usize>)> = checkpoint.config().tensors().collect();
    for (name, shape) in shapes {
        match shape[..] {
            [len] => drop(checkpoint.vector(&name, len)),
            [rows, cols] => drop(checkpoint.matrix(&name, rows, cols)),
            _ => {}
        }
    }
}
