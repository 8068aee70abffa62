//! Why a file cannot be understood.

use std::fmt;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// One sentence that never holds text of a document, and the line it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Line, from 1, where the format has lines.
    pub line: Option<usize>,
    /// What was expected and what was found.
    pub why: String,
}

impl Error {
    /// About a whole document or file.
    pub fn new(why: impl Into<String>) -> Self {
        Error { line: None, why: why.into() }
    }

    /// About a line, from 1.
    pub fn at(line: usize, why: impl Into<String>) -> Self {
        Error { line: Some(line), why: why.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

impl std::error::Error for Error {}
