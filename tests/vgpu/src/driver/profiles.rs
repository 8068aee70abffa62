//! Counters for `make profile-virtual`: kept apart per shape of launch, written when the process ends.

use super::launch::Shape;
use super::state::{merge, say};
use crate::report::Profile;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// What was counted, by kernel and shape, and the folder for it.
#[derive(Default)]
struct Kept {
    folder: PathBuf,
    launches: BTreeMap<(String, Shape), Profile>,
}

static KEPT: Mutex<Option<Kept>> = Mutex::new(None);

fn kept() -> MutexGuard<'static, Option<Kept>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps one launch's counts for the end of the process.
pub fn keep(folder: &str, profile: &Profile, shape: &Shape) {
    static AT_END: Once = Once::new();
    AT_END.call_once(|| {
        // SAFETY: `write` is a function of this library, which is never unloaded.
        unsafe { libc::atexit(write) };
    });
    let mut kept = kept();
    let kept = kept.get_or_insert_default();
    kept.folder = folder.into();
    merge(&mut kept.launches, (profile.kernel.clone(), *shape), profile);
}

/// One JSON file per process, named by its number: a test run is many processes.
extern "C" fn write() {
    let Some(kept) = kept().take() else { return };
    let entry = |((_, shape), profile): (&(String, Shape), &Profile)| {
        json!({
            "grid": shape.grid,
            "block": shape.block,
            "shared": shape.dynamic,
            "profile": profile,
            "table": profile.to_string(),
        })
    };
    let all: Vec<Value> = kept.launches.iter().map(entry).collect();
    let path = kept.folder.join(format!("{}.json", std::process::id()));
    if let Err(error) = std::fs::write(&path, Value::from(all).to_string()) {
        say(&format!("vgpu: {}: {error}", path.display()));
    }
}
