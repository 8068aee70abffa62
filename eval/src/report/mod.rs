//! Figures for people: Markdown for terminals and documents, one HTML page with everything.

mod html;
mod markdown;
mod plot;

pub use html::html;
pub use markdown::{comparison, markdown};

use crate::config::Absent;
use crate::score::SetFigures;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The figures of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The benchmark.
    pub suite: String,
    /// How it was run, by name: model, adapter, split, examples.
    pub run: BTreeMap<String, String>,
    /// Figures, in the order of the configuration.
    pub sets: Vec<SetFigures>,
    /// Sets without figures, and why.
    pub absent: Vec<Without>,
}

/// A set without figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Without {
    /// The set.
    pub name: String,
    /// Why.
    pub why: String,
}

impl From<&Absent> for Without {
    fn from(absent: &Absent) -> Self {
        Without { name: absent.name.clone(), why: absent.why.clone() }
    }
}

impl SetFigures {
    /// The benchmark's metric.
    pub fn headline(&self) -> Option<f64> {
        self.measures.iter().find(|measured| measured.name == self.metric.name())?.value
    }

    /// Its interval.
    pub fn interval(&self) -> Option<(f64, f64)> {
        self.measures.iter().find(|measured| measured.name == self.metric.name())?.interval
    }
}

impl Report {
    /// Means of the benchmark's metrics and of the baselines: of each group in order of first appearance, and of all. Groups count alike.
    pub fn means(&self) -> Vec<(String, f64, f64)> {
        let mut groups: Vec<(&str, Vec<&SetFigures>)> = Vec::new();
        for set in &self.sets {
            let name = set.group.as_deref().unwrap_or(&set.name);
            match groups.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sets)) => sets.push(set),
                None => groups.push((name, vec![set])),
            }
        }
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let mut means: Vec<(String, f64, f64)> = groups
            .into_iter()
            .map(|(name, sets)| {
                let value = mean(sets.iter().map(|set| set.headline().unwrap_or(0.0)).collect());
                (name.to_owned(), value, mean(sets.iter().map(|set| set.baseline).collect()))
            })
            .collect();
        let all = (mean(means.iter().map(|m| m.1).collect()), mean(means.iter().map(|m| m.2).collect()));
        means.push(("mean".to_owned(), all.0, all.1));
        means
    }
}

/// Three digits, or a dash.
fn figure(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.3}"))
}

fn interval(interval: Option<(f64, f64)>) -> String {
    interval.map_or("–".to_owned(), |(low, high)| format!("{low:.3} to {high:.3}"))
}

/// Items, documents and tokens per second.
fn speed(set: &SetFigures) -> String {
    match set.seconds > 0.0 {
        true => format!(
            "{:.2} documents/s, {:.0} tokens/s of text",
            set.documents as f64 / set.seconds,
            set.tokens as f64 / set.seconds
        ),
        false => "–".to_owned(),
    }
}
