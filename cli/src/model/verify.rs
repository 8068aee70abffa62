//! `bmn model verify`: every tensor in its place, and the SHA-256 of every file.

use crate::progress::Progress;
use crate::stop::{Result, Stop};
use biomistral_nlu::weights::Checkpoint;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write, stdout};
use std::path::{Path, PathBuf};

/// Runs `bmn model verify`: lines as `sha256sum` prints them, names relative to the model folder.
pub fn verify(model: &Path, against: Option<&Path>) -> Result<()> {
    let expected = against.map(read_list).transpose()?;
    Checkpoint::open(model)?.check_complete()?;
    let mut found = BTreeMap::new();
    let progress = Progress::bytes();
    let files = files(model)?;
    let total = files.iter().filter_map(|path| Some(path.metadata().ok()?.len())).sum();
    let mut done = 0;
    for path in files {
        let name = path.file_name().map_or(String::new(), |n| n.to_string_lossy().into_owned());
        let hash = sha256(&path, |bytes| {
            done += bytes;
            progress.of(done, total);
        })?;
        writeln!(stdout(), "{hash}  {name}").map_err(|e| Stop::write("stdout", &e))?;
        found.insert(name, hash);
    }
    progress.finish();
    let Some(expected) = expected else { return Ok(()) };
    let wrong: Vec<String> = expected
        .iter()
        .filter_map(|(name, want)| match found.get(name) {
            Some(hash) if hash == want => None,
            Some(hash) => Some(format!("{name}: expected sha256 {want}, found {hash}")),
            None => Some(format!("{name}: expected a file, found none")),
        })
        .chain(
            found.keys().filter(|name| !expected.contains_key(*name)).map(|name| format!("{name}: is not in the list")),
        )
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(Stop::failed(wrong.join("\n"))) }
}

/// The files of a model, sorted by name; folders inside are not part of it.
fn files(model: &Path) -> Result<Vec<PathBuf>> {
    if model.is_file() {
        return Ok(vec![model.to_owned()]);
    }
    let fail = |e: std::io::Error| Stop::failed(format!("{}: {e}", model.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(model).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn sha256(path: &Path, mut read: impl FnMut(u64)) -> Result<String> {
    let fail = |e: std::io::Error| Stop::failed(format!("{}: {e}", path.display()));
    let mut file = File::open(path).map_err(fail)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(fail)? {
            0 => return Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect()),
            n => {
                hash.update(&buffer[..n]);
                read(n as u64);
            }
        }
    }
}

fn read_list(path: &Path) -> Result<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(path).map_err(|e| Stop::failed(format!("{}: {e}", path.display())))?;
    let line = |(i, line): (usize, &str)| match line.split_once("  ") {
        Some((hash, name)) if hash.len() == 64 => Ok((name.to_owned(), hash.to_ascii_lowercase())),
        _ => Err(Stop::failed(format!("{}: line {}: expected `SHA256  NAME`", path.display(), i + 1))),
    };
    text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()).map(line).collect()
}
