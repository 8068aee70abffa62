//! One error type for the whole engine: a sentence that names the thing, what was expected and what was found.

use std::path::PathBuf;

/// Result of every fallible engine call.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong. `Display` is one sentence and never holds document text; [`Error::code`] never changes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An argument or input that cannot be used.
    #[error("{what}")]
    Invalid {
        /// The thing, what was expected and what was found.
        what: String,
    },
    /// A tensor or buffer of another shape than asked for.
    #[error("{op}: expected shape {want}, found {got}")]
    Shape {
        /// Operation or tensor name.
        op: String,
        /// Expected shape.
        want: String,
        /// Found shape.
        got: String,
    },
    /// A file that cannot be opened, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that can be read but not understood: truncated, inconsistent or lying about itself.
    #[error("{file}: {why}")]
    Format {
        /// File name, and the part of it where known.
        file: String,
        /// What was expected and what was found.
        why: String,
    },
    /// An adapter made for other weights than those it is to be used with.
    #[error("{adapter}: expected the base model it was made for, weights {want}, found weights {got}")]
    OtherBase {
        /// The adapter's file.
        adapter: String,
        /// Identity of the weights it was made for.
        want: String,
        /// Identity of the weights there are.
        got: String,
    },
    /// Something this engine does not do, by name.
    #[error("not supported: {what}")]
    Unsupported {
        /// The thing.
        what: String,
    },
    /// A device that is not there, or that no driver is for.
    #[error("not supported: {what}")]
    NoDevice {
        /// The thing.
        what: String,
    },
    /// More tokens than the context holds.
    #[error("{what} needs {need} tokens, the limit is {limit}: {} too many", need.saturating_sub(*limit))]
    TooLong {
        /// The thing that does not fit.
        what: String,
        /// Tokens needed.
        need: usize,
        /// Tokens available.
        limit: usize,
    },
    /// A device operation that failed.
    #[error("{op} failed on the device with code {code}")]
    Device {
        /// Operation.
        op: String,
        /// The driver's code.
        code: i64,
    },
    /// Not enough memory.
    #[error("{what} needs {want} bytes, {free} are free")]
    OutOfMemory {
        /// What was to be allocated.
        what: String,
        /// Bytes wanted.
        want: u64,
        /// Bytes free.
        free: u64,
    },
    /// The caller asked to stop.
    #[error("cancelled by the caller")]
    Cancelled,
    /// The caller's time limit passed.
    #[error("not done within the time limit")]
    TimedOut,
    /// A broken invariant of the engine itself.
    #[error("internal error: {why}")]
    Internal {
        /// Which one.
        why: String,
    },
}

impl Error {
    /// The stable number of this kind of error, as the C ABI returns it.
    pub fn code(&self) -> i32 {
        match self {
            Error::Invalid { .. } | Error::Shape { .. } => 1,
            Error::Io { .. } => 4,
            Error::Format { .. } | Error::OtherBase { .. } => 5,
            Error::Unsupported { .. } => 7,
            Error::TooLong { .. } => 8,
            Error::NoDevice { .. } => 9,
            Error::OutOfMemory { .. } => 10,
            Error::Device { .. } => 11,
            Error::Cancelled => 12,
            Error::TimedOut => 16,
            Error::Internal { .. } => 100,
        }
    }

    /// An equal error, for another request that it concerns too.
    pub(crate) fn again(&self) -> Self {
        match self {
            Error::Invalid { what } => Error::Invalid { what: what.clone() },
            Error::Shape { op, want, got } => Error::Shape { op: op.clone(), want: want.clone(), got: got.clone() },
            Error::Io { path, source } => {
                Error::Io { path: path.clone(), source: std::io::Error::new(source.kind(), source.to_string()) }
            }
            Error::Format { file, why } => Error::Format { file: file.clone(), why: why.clone() },
            Error::OtherBase { adapter, want, got } => {
                Error::OtherBase { adapter: adapter.clone(), want: want.clone(), got: got.clone() }
            }
            Error::Unsupported { what } => Error::Unsupported { what: what.clone() },
            Error::NoDevice { what } => Error::NoDevice { what: what.clone() },
            Error::TooLong { what, need, limit } => Error::TooLong { what: what.clone(), need: *need, limit: *limit },
            Error::Device { op, code } => Error::Device { op: op.clone(), code: *code },
            Error::OutOfMemory { what, want, free } => {
                Error::OutOfMemory { what: what.clone(), want: *want, free: *free }
            }
            Error::Cancelled => Error::Cancelled,
            Error::TimedOut => Error::TimedOut,
            Error::Internal { why } => Error::Internal { why: why.clone() },
        }
    }

    /// Short constructor for [`Error::Invalid`].
    pub fn invalid(what: impl Into<String>) -> Self {
        Error::Invalid { what: what.into() }
    }

    /// Short constructor for [`Error::Format`].
    pub fn format(file: impl Into<String>, why: impl Into<String>) -> Self {
        Error::Format { file: file.into(), why: why.into() }
    }

    /// Short constructor for [`Error::Unsupported`].
    pub fn unsupported(what: impl Into<String>) -> Self {
        Error::Unsupported { what: what.into() }
    }

    /// Short constructor for [`Error::Internal`].
    pub fn internal(why: impl Into<String>) -> Self {
        Error::Internal { why: why.into() }
    }

    /// Short constructor for [`Error::Io`].
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Error::Io { path: path.into(), source }
    }

    /// Short constructor for [`Error::Shape`].
    pub fn shape(op: impl Into<String>, want: impl std::fmt::Debug, got: impl std::fmt::Debug) -> Self {
        Error::Shape { op: op.into(), want: format!("{want:?}"), got: format!("{got:?}") }
    }
}
