//! Adapters by name: `--adapter demo` is the folder `demo` among the adapters that came with this program.

use std::path::{Path, PathBuf};

/// The folder that `given` stands for: itself where it is there or has more than one part, else the adapter of that name.
///
/// # Errors
/// A name that is neither a folder nor an adapter that came along, with those that did.
pub fn folder(given: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(given);
    if path.exists() || path.components().count() != 1 {
        return Ok(path);
    }
    let places = places();
    if let Some(found) = places.iter().map(|place| place.join(given)).find(|folder| folder.is_dir()) {
        return Ok(found);
    }
    let mut names: Vec<String> = places.iter().flat_map(|place| names(place)).collect();
    names.sort();
    names.dedup();
    let known = if names.is_empty() { "none came with this program".to_owned() } else { names.join(", ") };
    Err(format!("expected a PEFT folder or the name of an adapter ({known}), found neither"))
}

/// Where adapters with names are: `$BMN_ADAPTERS`, beside the installed program, in the repository it was built in.
fn places() -> Vec<PathBuf> {
    let program = std::env::current_exe().and_then(|path| path.canonicalize()).unwrap_or_default();
    let above = |levels, folder| program.ancestors().nth(levels).map(|root: &Path| root.join(folder));
    let own = std::env::var_os("BMN_ADAPTERS").map(PathBuf::from);
    own.into_iter().chain(above(2, "share/biomistral-nlu/adapters")).chain(above(3, "data/adapters")).collect()
}

fn names(place: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
