//! What was wrong inside a file: counted and shown by place, never by text.

use std::collections::BTreeMap;
use std::fmt;

/// A kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// A line, row or element that is not of the format; it is left out.
    Broken,
    /// The file ends inside a document; that document is left out.
    Truncated,
    /// Offsets outside the text, or inside a character; the mention is left out.
    Outside,
    /// The text at the offsets is not the mention's; the mention is left out.
    Differs,
    /// An argument, trigger or attribute of something that is not there.
    Dangling,
    /// An id that an earlier line has already; the later one is left out.
    Repeated,
    /// No label, no answer or no text where the task needs one; the item is left out.
    Unlabelled,
    /// Not UTF-8; the wrong bytes were replaced.
    Encoding,
}

impl Trouble {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Trouble::Broken => "broken line",
            Trouble::Truncated => "truncated document",
            Trouble::Outside => "offset outside the text",
            Trouble::Differs => "text differs at the offset",
            Trouble::Dangling => "reference to nothing",
            Trouble::Repeated => "repeated id",
            Trouble::Unlabelled => "without label",
            Trouble::Encoding => "not UTF-8",
        }
    }
}

/// One trouble and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What.
    pub trouble: Trouble,
    /// The file, or the document's id.
    pub place: String,
    /// Line, row or element, from 1; 0 where there is none.
    pub line: usize,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.place, self.trouble.name()),
            line => write!(f, "{}, {line}: {}", self.place, self.trouble.name()),
        }
    }
}

/// Troubles in the order found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Adds one.
    pub fn add(&mut self, trouble: Trouble, place: &str, line: usize) {
        self.0.push(Problem { trouble, place: place.to_owned(), line });
    }

    /// How many of each kind.
    pub fn counts(&self) -> BTreeMap<Trouble, usize> {
        let mut counts = BTreeMap::new();
        for problem in &self.0 {
            *counts.entry(problem.trouble).or_default() += 1;
        }
        counts
    }
}
