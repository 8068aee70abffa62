use std::io;
use std::path::{Path, PathBuf};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a file could not be read or written at all. What is wrong inside a readable file is a [`crate::Problem`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system said no.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Not the expected form.
    #[error("{what}: {detail}")]
    Format {
        /// The file, or the part of it.
        what: String,
        /// Expected and found; no text of a document.
        detail: String,
    },
    /// A document that the asked format cannot say.
    #[error("document {id}: {detail}")]
    Unwritable {
        /// Its id.
        id: String,
        /// What the format cannot say.
        detail: String,
    },
}

impl Error {
    /// [`Error::Io`] of `path`.
    pub fn io(path: &Path, source: io::Error) -> Self {
        Error::Io { path: path.to_owned(), source }
    }

    /// [`Error::Format`].
    pub fn format(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Error::Format { what: what.into(), detail: detail.into() }
    }
}
