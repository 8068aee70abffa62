//! Units of offsets.

use serde::{Deserialize, Serialize};

/// The unit that offsets count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OffsetUnit {
    /// UTF-8 bytes.
    Byte,
    /// Unicode scalar values: Python's.
    #[default]
    CodePoint,
    /// UTF-16 code units: Java's, JavaScript's.
    Utf16,
}
