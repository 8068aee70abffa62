//! What also stands in an evaluation set: by id, and by a run of 13 words.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Words in a run.
const RUN: usize = 13;

/// Why a document is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Overlap {
    /// Its id is on the list of exclusions.
    Listed,
    /// An evaluation set has its id.
    Id(String),
    /// An evaluation set has a run of its words.
    Words(String),
}

impl Overlap {
    pub fn reason(&self) -> String {
        match self {
            Overlap::Listed => "id on the exclusion list".to_owned(),
            Overlap::Id(set) => format!("id in {set}"),
            Overlap::Words(set) => format!("{RUN}-gram in {set}"),
        }
    }
}

/// Ids and runs of words of the evaluation sets.
#[derive(Default)]
pub(crate) struct Held {
    listed: HashMap<String, HashSet<String>>,
    ids: HashMap<String, usize>,
    runs: HashMap<u64, usize>,
    sets: Vec<String>,
}

impl Held {
    /// Adds ids that must not be trained on in `corpus`.
    pub fn list(&mut self, corpus: &str, ids: impl IntoIterator<Item = String>) {
        self.listed.entry(corpus.to_owned()).or_default().extend(ids);
    }

    /// Begins an evaluation set; what is added next is its.
    pub fn begin(&mut self, set: &str) {
        self.sets.push(set.to_owned());
    }

    pub fn id(&mut self, id: &str) {
        if numeric(id) {
            self.ids.entry(id.to_owned()).or_insert(self.sets.len().saturating_sub(1));
        }
    }

    pub fn text(&mut self, text: &str) {
        let set = self.sets.len().saturating_sub(1);
        for run in runs(text) {
            self.runs.entry(run).or_insert(set);
        }
    }

    /// Whether a document of a corpus, called so or read so, with this id and these texts stands in an evaluation set.
    pub fn find<'t>(&self, corpus: [&str; 2], id: &str, texts: impl IntoIterator<Item = &'t str>) -> Option<Overlap> {
        if corpus.iter().any(|name| self.listed.get(*name).is_some_and(|ids| ids.contains(id))) {
            return Some(Overlap::Listed);
        }
        if let Some(&set) = self.ids.get(id) {
            return Some(Overlap::Id(self.sets[set].clone()));
        }
        let found = texts.into_iter().flat_map(runs).find_map(|run| self.runs.get(&run));
        found.map(|&set| Overlap::Words(self.sets[set].clone()))
    }
}

/// PubMed ids are compared across corpora; row numbers are not.
fn numeric(id: &str) -> bool {
    id.len() > 4 && id.bytes().all(|b| b.is_ascii_digit())
}

/// A hash of each run of words in lower case, letters and digits alone.
fn runs(text: &str) -> Vec<u64> {
    let words: Vec<String> =
        text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
    let hash = |run: &[String]| {
        let mut hasher = DefaultHasher::new();
        run.hash(&mut hasher);
        hasher.finish()
    };
    words.windows(RUN).map(hash).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirteen_words_are_the_limit() {
        let words = |n: usize| (0..n).map(|i| format!("w{i}")).collect::<Vec<_>>().join(" ");
        let mut held = Held::default();
        held.begin("test");
        held.text(&words(14));
        held.id("12345");
        held.id("7");
        held.list("a", ["99".to_owned()]);
        let shared = format!("x {}, y", words(13).replace(' ', ", ").to_uppercase());
        assert_eq!(held.find(["a", "x"], "1", [shared.as_str()]), Some(Overlap::Words("test".to_owned())));
        assert_eq!(held.find(["a", "x"], "1", [words(12).as_str()]), None);
        assert_eq!(held.find(["a", "x"], "12345", []), Some(Overlap::Id("test".to_owned())));
        assert_eq!(held.find(["a", "x"], "7", []), None);
        assert_eq!(held.find(["a", "x"], "99", []), Some(Overlap::Listed));
        assert_eq!(held.find(["x", "a"], "99", []), Some(Overlap::Listed));
        assert_eq!(held.find(["b", "x"], "99", []), None);
    }
}
