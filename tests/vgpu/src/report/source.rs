//! Finding the text of a source line that line information names by a relative path.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

type Files = HashMap<String, Option<Arc<Vec<String>>>>;

/// Line `number` (from 1) of `file`, when the file is found: as named, or below `$VGPU_SOURCES`, or below the current folder
/// or one of its parents, or below this workspace.
pub fn line(file: &str, number: u32) -> Option<String> {
    static FILES: OnceLock<Mutex<Files>> = OnceLock::new();
    let files = FILES.get_or_init(Mutex::default);
    let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = files.entry(file.to_owned()).or_insert_with(|| read(file).map(Arc::new)).clone()?;
    lines.get((number as usize).checked_sub(1)?).cloned()
}

fn read(file: &str) -> Option<Vec<String>> {
    let bytes = roots().iter().find_map(|root| std::fs::read(root.join(file)).ok())?;
    Some(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
}

fn roots() -> Vec<PathBuf> {
    let mut roots = vec![PathBuf::new()];
    roots.extend(std::env::var_os("VGPU_SOURCES").map(PathBuf::from));
    if let Ok(here) = std::env::current_dir() {
        roots.extend(here.ancestors().map(Path::to_path_buf));
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    roots.push(workspace);
    roots
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_line_is_found_below_the_workspace() {
        let text = super::line("tests/vgpu/src/report/source.rs", 1).unwrap();
        assert!(text.starts_with("//! Finding the text"));
        assert_eq!(super::line("tests/vgpu/src/report/source.rs", 0), None);
        assert_eq!(super::line("no/such/file.cu", 1), None);
    }
}
