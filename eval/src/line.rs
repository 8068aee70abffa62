//! The line of an item in a set's file: everything that its figures are made of.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What was asked about, what is right, what was answered. Offsets are code points of the document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The item: unique in its set.
    pub id: String,
    /// The article, note or sentence that it is a part of; the bootstrap draws these.
    pub document: String,
    /// Tokens of its texts.
    pub tokens: usize,
    /// Its share of the time that its batch took.
    pub seconds: f64,
    /// What is right.
    pub gold: Gold,
    /// What a scorer takes for one of the right mentions that it overlaps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<Place>,
    /// What was answered; nothing where the engine could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// Why not, without text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What is right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gold {
    /// Mentions.
    Spans(Vec<Place>),
    /// Classes, or the one option; none for a pair without a relation.
    Labels(Vec<String>),
    /// A score.
    Score(f64),
}

/// A labelled place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The name asked.
    pub label: String,
    /// First code point.
    pub start: usize,
    /// One past the last.
    pub end: usize,
    /// What stands there.
    pub text: String,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// Mentions.
    Spans {
        /// Every place of every span.
        spans: Vec<SpanLine>,
        /// Per label, the probability of `None`.
        none: BTreeMap<String, f64>,
        /// Per label, words given, right, and both; of files of tokens.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        words: BTreeMap<String, [usize; 3]>,
    },
    /// One option.
    Choice {
        /// The posterior.
        options: Vec<OptionLine>,
        /// The likeliest.
        label: String,
        /// Probability of everything else.
        outside_mass: f64,
    },
    /// Any number of classes.
    Classes {
        /// Per class, the probability of yes.
        options: Vec<OptionLine>,
        /// Those above one half.
        labels: Vec<String>,
        /// The largest of the questions.
        outside_mass: f64,
    },
    /// A score.
    Score {
        /// The posterior.
        options: Vec<OptionLine>,
        /// The likeliest.
        score: i32,
        /// `Σ probability · score`.
        expected: f64,
        /// Probability of everything else.
        outside_mass: f64,
    },
}

/// A place that was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpanLine {
    /// The place.
    #[serde(flatten)]
    pub place: Place,
    /// Probability of the span and its ending, given the answer before it.
    pub probability: f64,
    /// What the grammar left to choose from.
    pub kept_mass: f64,
    /// Whether it is another place of a span's text than the one the span stands for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repeat: bool,
}

/// An option with its probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OptionLine {
    /// Its name.
    pub label: String,
    /// Its probability among the options.
    pub probability: f64,
    /// Over the full vocabulary.
    pub logprob: f64,
}
