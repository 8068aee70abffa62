//! Runs side by side.

use crate::config::SetPlan;
use crate::line::Line;
use crate::metrics::{Paired, paired};
use crate::score::count;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One set in several runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The set.
    pub set: String,
    /// Its metric.
    pub metric: String,
    /// Items that every run has; only these are compared.
    pub items: usize,
    /// Items that some run has and another has not.
    pub elsewhere: usize,
    /// The metric in each run.
    pub values: Vec<Option<f64>>,
    /// Of each run from the second on, its difference from the first.
    pub differences: Vec<Option<Difference>>,
}

/// A difference from the first run, on the same resamples of the documents.
pub type Difference = Paired;

/// Compares the lines of one set from several runs on the items that all of them have.
pub fn compare(plan: &SetPlan, runs: &[&[Line]], seed: u64) -> Comparison {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for line in runs.iter().flat_map(|lines| lines.iter()) {
        *seen.entry(&line.id).or_default() += 1;
    }
    let shared = |line: &&Line| seen[line.id.as_str()] == runs.len();
    let kept: Vec<Vec<Line>> = runs.iter().map(|lines| lines.iter().filter(shared).cloned().collect()).collect();
    let counted: Vec<_> = kept.iter().map(|lines| count(plan, lines)).collect();
    let name = plan.metric.name();
    let n = counted.first().map_or(0, |counted| counted.documents.len());
    let all: Vec<usize> = (0..n).collect();
    let differences = counted
        .iter()
        .skip(1)
        .map(|other| paired(n, seed, |drawn| counted[0].value(name, drawn), |drawn| other.value(name, drawn)));
    let items = kept.first().map_or(0, Vec::len);
    Comparison {
        set: plan.name.clone(),
        metric: name.to_owned(),
        items,
        elsewhere: seen.len() - items,
        values: counted.iter().map(|counted| counted.value(name, &all)).collect(),
        differences: differences.collect(),
    }
}
