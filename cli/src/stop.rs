//! How a run ends, and the exit code that says so.

use std::process::ExitCode;

/// Result of everything in the command.
pub type Result<T> = std::result::Result<T, Stop>;

/// Why a run ended before or without full success.
#[derive(Debug)]
pub enum Stop {
    /// Something went wrong: exit code 1.
    Failed(String),
    /// The command line cannot be carried out as written: 2.
    Usage(String),
    /// Everything was tried, some documents failed: 3.
    SomeFailed(String),
    /// The user asked to stop: 130.
    Interrupted(String),
    /// Whoever read our output has gone away; nobody is left to tell: 0, like a reader that has seen enough.
    ReaderGone,
}

impl Stop {
    /// A failure.
    pub fn failed(why: impl Into<String>) -> Self {
        Stop::Failed(why.into())
    }

    /// Wrong usage.
    pub fn usage(why: impl Into<String>) -> Self {
        Stop::Usage(why.into())
    }

    /// A write that failed: a closed pipe is no failure.
    pub fn write(what: &str, e: &std::io::Error) -> Self {
        match e.kind() {
            std::io::ErrorKind::BrokenPipe => Stop::ReaderGone,
            _ => Stop::Failed(format!("{what}: {e}")),
        }
    }

    /// The exit code and the message for stderr.
    pub fn report(self) -> (ExitCode, Option<String>) {
        match self {
            Stop::Failed(why) => (ExitCode::from(1), Some(why)),
            Stop::Usage(why) => (ExitCode::from(2), Some(format!("{why}\nTry 'bmn help' or 'bmn VERB --help'."))),
            Stop::SomeFailed(why) => (ExitCode::from(3), Some(why)),
            Stop::Interrupted(why) => (ExitCode::from(130), Some(why)),
            Stop::ReaderGone => (ExitCode::SUCCESS, None),
        }
    }
}

impl From<biomistral_nlu::Error> for Stop {
    fn from(e: biomistral_nlu::Error) -> Self {
        Stop::Failed(e.to_string())
    }
}
