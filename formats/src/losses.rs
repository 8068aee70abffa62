//! What a conversion left behind.

use std::collections::BTreeMap;

/// Kinds of things that were left behind or changed, with how many there were and where the first one stood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses(BTreeMap<String, (u64, String)>);

impl Losses {
    /// Counts one; `place` is a document's id or a line.
    pub fn add(&mut self, what: impl Into<String>, place: impl AsRef<str>) {
        self.0.entry(what.into()).or_insert_with(|| (0, place.as_ref().to_owned())).0 += 1;
    }

    /// Whether nothing was lost.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was lost, how often, and where first; sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64, &str)> {
        self.0.iter().map(|(what, (count, place))| (what.as_str(), *count, place.as_str()))
    }
}
