//! The lines of a set into its figures.

use crate::config::{Headline, SetPlan, TaskPlan};
use crate::line::{Answer, Gold, Line, Place};
use crate::load::NONE;
use crate::metrics::{
    Calibration, Counts, Curve, abstention, bag_overlap, bootstrap, brier, calibration, example, example_f1, macro_f1,
    micro_f1, pearson_of_sums, pearson_sums, ratio, spearman, summed,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A figure with its interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The metric.
    pub name: String,
    /// Its value; none where it is not defined.
    pub value: Option<f64>,
    /// The middle 95 % over resamples of the documents.
    pub interval: Option<(f64, f64)>,
}

/// The counts of one label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelFigures {
    /// The label.
    pub label: String,
    /// Its counts: mentions, words where the set's metric is of words, answers otherwise.
    pub counts: Counts,
}

/// The figures of a set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetFigures {
    /// The set.
    pub name: String,
    /// Its group.
    pub group: Option<String>,
    /// Its task.
    pub task: String,
    /// The benchmark's metric.
    pub metric: Headline,
    /// Every metric of the task.
    pub measures: Vec<Measured>,
    /// The benchmark's metric of an answer that does not look: the most frequent answer, no mention, one score.
    pub baseline: f64,
    /// Documents evaluated.
    pub documents: usize,
    /// Items asked.
    pub items: usize,
    /// Items that the engine could not answer; they count as unanswered.
    pub failed: usize,
    /// Per label, in the order asked.
    pub labels: Vec<LabelFigures>,
    /// Of probabilities of choices, of classes, of spans.
    pub calibration: Option<Calibration>,
    /// Abstaining by probability.
    pub by_confidence: Option<Curve>,
    /// Abstaining by the mass that grammar or options left.
    pub by_mass: Option<Curve>,
    /// Errors of each kind.
    pub errors: BTreeMap<ErrorKind, usize>,
    /// Seconds of computing.
    pub seconds: f64,
    /// Tokens of the texts.
    pub tokens: usize,
    /// What a reader has to know.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A kind of error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorKind {
    /// A mention that overlaps a right one of its label, at another place.
    Boundary,
    /// A mention at a right place, with another label.
    Label,
    /// A mention that is none.
    Invented,
    /// A mention that was not given.
    Missed,
    /// An answer that is not the right one.
    Wrong,
    /// No answer.
    Unanswered,
}

impl ErrorKind {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::Boundary => "wrong boundary",
            ErrorKind::Label => "wrong label",
            ErrorKind::Invented => "invented",
            ErrorKind::Missed => "missed",
            ErrorKind::Wrong => "wrong answer",
            ErrorKind::Unanswered => "unanswered",
        }
    }
}

/// An error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorLine {
    /// The item.
    pub id: String,
    /// What kind.
    pub kind: ErrorKind,
    /// What was given: a place, or an option's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given: Option<Place>,
    /// What is right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gold: Option<Place>,
    /// The probability of what was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
}

/// A metric as the bootstrap sees it: what each document adds to its sums.
pub(crate) struct Rows {
    pub name: &'static str,
    pub rows: Vec<Vec<f64>>,
    pub of: fn(&[f64]) -> Option<f64>,
}

/// Everything that is counted of a set, per document.
#[derive(Default)]
pub(crate) struct Counted {
    /// The documents, in order of name.
    pub documents: Vec<String>,
    pub metrics: Vec<Rows>,
    /// Pairs of expected and right score, per document.
    scores: Vec<Vec<(f64, f64)>>,
    labels: Vec<LabelFigures>,
    errors: Vec<ErrorLine>,
    /// Confidence, kept mass, and whether it is right, of each answer.
    answers: Vec<(f64, f64, bool)>,
    /// Sum and number of Brier scores.
    brier: (f64, usize),
}

impl Counted {
    /// The value of a metric over drawn documents.
    pub fn value(&self, name: &str, drawn: &[usize]) -> Option<f64> {
        if name == Headline::Spearman.name() {
            let pairs: Vec<(f64, f64)> = drawn.iter().flat_map(|&i| self.scores[i].iter().copied()).collect();
            return spearman(&pairs);
        }
        let metric = self.metrics.iter().find(|metric| metric.name == name)?;
        summed(&metric.rows, drawn, metric.of)
    }
}

/// The figures of a set's lines, and the list of its errors.
pub fn figures(plan: &SetPlan, lines: &[Line], seed: u64) -> (SetFigures, Vec<ErrorLine>) {
    let counted = count(plan, lines);
    let n = counted.documents.len();
    let all: Vec<usize> = (0..n).collect();
    let mut names: Vec<&'static str> = counted.metrics.iter().map(|metric| metric.name).collect();
    if matches!(plan.task, TaskPlan::Similar { .. }) {
        names.push(Headline::Spearman.name());
    }
    let measured = |name: &'static str| Measured {
        name: name.to_owned(),
        value: counted.value(name, &all),
        interval: bootstrap(n, seed, |drawn| counted.value(name, drawn)),
    };
    let measures: Vec<Measured> = names.into_iter().map(measured).collect();
    let constant = count(plan, &constant(plan, lines));
    let by = |score: fn(&(f64, f64, bool)) -> f64| -> Vec<(f64, bool)> {
        counted.answers.iter().map(|answer| (score(answer), answer.2)).collect()
    };
    let mut errors = BTreeMap::new();
    for error in &counted.errors {
        *errors.entry(error.kind).or_default() += 1;
    }
    let (confidence, mass) = (by(|answer| answer.0), by(|answer| answer.1));
    let mean_brier = counted.brier.0 / counted.brier.1.max(1) as f64;
    let figures = SetFigures {
        name: plan.name.clone(),
        group: plan.group.clone(),
        task: plan.task.name().to_owned(),
        metric: plan.metric,
        measures,
        baseline: constant.value(plan.metric.name(), &all).unwrap_or(0.0),
        documents: n,
        items: lines.len(),
        failed: lines.iter().filter(|line| line.answer.is_none()).count(),
        calibration: calibration(&confidence, mean_brier),
        by_confidence: abstention(&confidence),
        by_mass: abstention(&mass),
        errors,
        seconds: lines.iter().map(|line| line.seconds).sum(),
        tokens: lines.iter().map(|line| line.tokens).sum(),
        notes: Vec::new(),
        labels: counted.labels,
    };
    (figures, counted.errors)
}

/// The lines as they were if every answer were the most frequent right one: of classes those that most items have, of mentions none.
fn constant(plan: &SetPlan, lines: &[Line]) -> Vec<Line> {
    let mut frequent: BTreeMap<&str, usize> = BTreeMap::new();
    for line in lines {
        match &line.gold {
            Gold::Labels(labels) if labels.is_empty() => *frequent.entry(NONE).or_default() += 1,
            Gold::Labels(labels) => labels.iter().for_each(|label| *frequent.entry(label).or_default() += 1),
            _ => {}
        }
    }
    let most = frequent.iter().max_by_key(|(_, count)| **count).map_or(NONE, |(label, _)| label).to_owned();
    let half = |label: &&str| frequent[*label] * 2 > lines.len() && *label != NONE;
    let classes: Vec<String> = frequent.keys().copied().filter(|label| half(label)).map(str::to_owned).collect();
    let multi = matches!(plan.task, TaskPlan::Classify { multi: true, .. });
    let (options, outside_mass) = (Vec::new, 0.0);
    let answer = |line: &Line| match &line.gold {
        Gold::Labels(_) if multi => Some(Answer::Classes { options: options(), labels: classes.clone(), outside_mass }),
        Gold::Labels(_) => Some(Answer::Choice { options: options(), label: most.clone(), outside_mass }),
        _ => None,
    };
    lines.iter().map(|line| Line { answer: answer(line), ..line.clone() }).collect()
}

pub(crate) fn count(plan: &SetPlan, lines: &[Line]) -> Counted {
    let names: BTreeSet<&str> = lines.iter().map(|line| line.document.as_str()).collect();
    let index: BTreeMap<&str, usize> = names.iter().enumerate().map(|(i, name)| (*name, i)).collect();
    let documents = names.iter().map(|name| (*name).to_owned()).collect();
    let mut tally = Tally { counted: Counted { documents, ..Counted::default() }, index };
    match &plan.task {
        TaskPlan::Extract { labels, .. } => {
            let labels: Vec<&str> = labels.iter().map(|label| label.name.as_str()).collect();
            tally.spans(&distinct(labels), lines, plan.metric);
        }
        TaskPlan::Classify { classes, multi: true, .. } => {
            let labels = classes.iter().map(|class| class.name.as_str()).collect();
            tally.classes(&distinct(labels), lines);
        }
        TaskPlan::Similar { .. } => tally.scores(lines),
        TaskPlan::Relate { relations, .. } => {
            tally.choices(&distinct(relations.iter().map(|r| r.name.as_str()).collect()), lines);
        }
        TaskPlan::Classify { classes: labels, .. } | TaskPlan::Entail { labels } => {
            tally.choices(&distinct(labels.iter().map(|label| label.name.as_str()).collect()), lines);
        }
        TaskPlan::Answer {} => {
            let right = lines.iter().filter_map(|line| match &line.gold {
                Gold::Labels(labels) => labels.first().map(String::as_str),
                _ => None,
            });
            let given = lines.iter().filter_map(|line| match &line.answer {
                Some(Answer::Choice { label, .. }) => Some(label.as_str()),
                _ => None,
            });
            let labels: BTreeSet<&str> = right.chain(given).collect();
            tally.choices(&labels.into_iter().collect::<Vec<_>>(), lines);
        }
    }
    tally.counted
}

/// Several labels of a corpus may be asked for by one name.
fn distinct(labels: Vec<&str>) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    labels.into_iter().filter(|label| seen.insert(*label)).collect()
}

struct Tally<'l> {
    counted: Counted,
    index: BTreeMap<&'l str, usize>,
}

impl Tally<'_> {
    /// A table of sums, one row per document.
    fn table(&self, columns: usize) -> Vec<Vec<f64>> {
        vec![vec![0.0; columns]; self.index.len()]
    }

    fn row(&self, line: &Line) -> usize {
        self.index[line.document.as_str()]
    }

    /// Counts per label over all documents.
    fn labels(&mut self, labels: &[&str], table: &[Vec<f64>]) {
        let sum = |column: usize| table.iter().map(|row| row[column]).sum::<f64>();
        let figures = labels.iter().enumerate().map(|(i, label)| LabelFigures {
            label: (*label).to_owned(),
            counts: Counts { given: sum(3 * i), gold: sum(3 * i + 1), both: sum(3 * i + 2) },
        });
        self.counted.labels = figures.collect();
    }

    fn spans(&mut self, labels: &[&str], lines: &[Line], metric: Headline) {
        let columns = 3 * labels.len();
        let (mut strict, mut strings, mut words) = (self.table(columns), self.table(columns), self.table(columns));
        let (mut untyped, mut lenient) = (self.table(3), self.table(3));
        let mut has_words = false;
        for line in lines {
            let row = self.row(line);
            let Gold::Spans(gold) = &line.gold else { continue };
            let none = Vec::new();
            let (spans, counts) = match &line.answer {
                Some(Answer::Spans { spans, words, .. }) => (spans, Some(words)),
                _ => (&none, None),
            };
            type Where = (usize, usize);
            let places = |label: Option<&str>| -> [BTreeSet<Where>; 2] {
                let of = |place: &&Place| label.is_none_or(|label| label == place.label);
                let given = spans.iter().map(|span| &span.place).filter(of).map(|p| (p.start, p.end));
                [given.collect(), gold.iter().filter(of).map(|p| (p.start, p.end)).collect()]
            };
            let add = |row: &mut [f64], [given, gold]: [BTreeSet<Where>; 2]| {
                for (sum, more) in row.iter_mut().zip([given.len(), gold.len(), given.intersection(&gold).count()]) {
                    *sum += more as f64;
                }
            };
            add(&mut untyped[row], places(None));
            let given: BTreeSet<&Place> = spans.iter().map(|span| &span.place).collect();
            for (sum, more) in lenient[row].iter_mut().zip(with_alternatives(&given, gold, &line.alternatives)) {
                *sum += more as f64;
            }
            for (i, label) in labels.iter().enumerate() {
                add(&mut strict[row][3 * i..3 * i + 3], places(Some(label)));
                // As answers are written: each string once.
                let given: BTreeSet<String> = spans
                    .iter()
                    .filter(|span| span.place.label == *label && !span.repeat)
                    .map(|span| span.place.text.to_lowercase())
                    .collect();
                let right: BTreeSet<String> =
                    gold.iter().filter(|p| p.label == *label).map(|p| p.text.to_lowercase()).collect();
                let (given, right): (Vec<_>, Vec<_>) = (given.into_iter().collect(), right.into_iter().collect());
                let both = bag_overlap(&given, &right);
                for (j, more) in [given.len(), right.len(), both].into_iter().enumerate() {
                    strings[row][3 * i + j] += more as f64;
                }
                if let Some(counts) = counts.and_then(|counts| counts.get(*label)) {
                    has_words = true;
                    for (j, more) in counts.iter().enumerate() {
                        words[row][3 * i + j] += *more as f64;
                    }
                }
            }
            for span in spans {
                let right = gold.iter().any(|p| (p.label == span.place.label) && same(p, &span.place));
                self.counted.answers.push((span.probability, span.kept_mass, right));
                self.counted.brier.0 += brier(std::iter::once((span.probability, right)));
                self.counted.brier.1 += 1;
            }
            self.span_errors(line, spans.iter().map(|span| (&span.place, span.probability)).collect(), gold);
        }
        self.labels(labels, if metric == Headline::WordF1 { &words } else { &strict });
        let metrics = &mut self.counted.metrics;
        metrics.push(Rows { name: "entity_f1", rows: strict, of: micro_f1 });
        if labels.len() > 1 {
            metrics.push(Rows { name: "untyped_f1", rows: untyped, of: micro_f1 });
        }
        metrics.push(Rows { name: "string_f1", rows: strings, of: micro_f1 });
        if lines.iter().any(|line| !line.alternatives.is_empty()) {
            metrics.push(Rows { name: "alternative_f1", rows: lenient, of: micro_f1 });
        }
        if has_words {
            metrics.push(Rows { name: "word_f1", rows: words, of: macro_f1 });
        }
    }

    fn span_errors(&mut self, line: &Line, mut given: Vec<(&Place, f64)>, gold: &[Place]) {
        let mut gold: Vec<&Place> = gold.iter().collect();
        let found = |place: &Place, gold: &[&Place]| gold.iter().any(|p| p.label == place.label && same(p, place));
        let right: Vec<&Place> = given.iter().map(|(place, _)| *place).filter(|place| found(place, &gold)).collect();
        given.retain(|(place, _)| !found(place, &gold));
        gold.retain(|place| !found(place, &right));
        let errors = &mut self.counted.errors;
        let mut push = |kind, given: Option<(&Place, f64)>, gold: Option<&Place>| {
            let (place, probability) = (given.map(|given| given.0.clone()), given.map(|given| given.1));
            errors.push(ErrorLine { id: line.id.clone(), kind, given: place, gold: gold.cloned(), probability });
        };
        if line.answer.is_none() {
            push(ErrorKind::Unanswered, None, None);
        }
        let overlap = |a: &Place, b: &Place| a.label == b.label && a.start < b.end && b.start < a.end;
        type Alike = fn(&Place, &Place) -> bool;
        let kinds: [(ErrorKind, Alike); 2] = [(ErrorKind::Boundary, overlap), (ErrorKind::Label, same)];
        for (kind, is) in kinds {
            given.retain(|&(place, probability)| match gold.iter().position(|other| is(place, other)) {
                Some(at) => {
                    push(kind, Some((place, probability)), Some(gold.swap_remove(at)));
                    false
                }
                None => true,
            });
        }
        given.into_iter().for_each(|given| push(ErrorKind::Invented, Some(given), None));
        gold.into_iter().for_each(|gold| push(ErrorKind::Missed, None, Some(gold)));
    }

    fn choices(&mut self, labels: &[&str], lines: &[Line]) {
        let (mut table, mut right) = (self.table(3 * labels.len()), self.table(2));
        let at = |label: &str| labels.iter().position(|other| *other == label);
        for line in lines {
            let row = self.row(line);
            let Gold::Labels(gold) = &line.gold else { continue };
            let given = match &line.answer {
                Some(Answer::Choice { label, .. }) => Some(label.as_str()),
                _ => None,
            };
            let is = given.is_some_and(|given| gold.iter().any(|g| g == given) || (gold.is_empty() && given == NONE));
            right[row][0] += f64::from(u8::from(is));
            right[row][1] += 1.0;
            for at in gold.iter().filter_map(|label| at(label)) {
                table[row][3 * at + 1] += 1.0;
            }
            if let Some(at) = given.and_then(at) {
                table[row][3 * at] += 1.0;
                table[row][3 * at + 2] += f64::from(u8::from(is));
            }
            let mut probability = None;
            if let Some(Answer::Choice { options, outside_mass, .. }) = &line.answer
                && !options.is_empty()
            {
                let holds = |label: &str| gold.iter().any(|g| g == label) || (gold.is_empty() && label == NONE);
                let top = options.iter().map(|option| option.probability).fold(0.0, f64::max);
                self.counted.answers.push((top, 1.0 - outside_mass, is));
                self.counted.brier.0 += brier(options.iter().map(|o| (o.probability, holds(&o.label))));
                self.counted.brier.1 += 1;
                probability = Some(top);
            }
            if !is {
                let first = gold.first().map_or(NONE, String::as_str);
                self.counted.errors.push(wrong(&line.id, given, Some(first), probability));
            }
        }
        self.labels(labels, &table);
        let metrics = &mut self.counted.metrics;
        metrics.push(Rows { name: "micro_f1", rows: table.clone(), of: micro_f1 });
        metrics.push(Rows { name: "macro_f1", rows: table, of: macro_f1 });
        metrics.push(Rows { name: "accuracy", rows: right, of: ratio });
    }

    /// Classes of a document are those of its items together.
    fn classes(&mut self, labels: &[&str], lines: &[Line]) {
        let (mut table, mut examples) = (self.table(3 * labels.len()), self.table(3));
        let mut sets: BTreeMap<usize, [BTreeSet<&str>; 2]> = BTreeMap::new();
        for line in lines {
            let Gold::Labels(gold) = &line.gold else { continue };
            let sets = sets.entry(self.row(line)).or_default();
            sets[1].extend(gold.iter().map(String::as_str));
            let Some(Answer::Classes { options, labels: given, outside_mass }) = &line.answer else {
                self.counted.errors.push(wrong(&line.id, None, None, None));
                continue;
            };
            sets[0].extend(given.iter().map(String::as_str));
            for option in options {
                let (yes, holds) = (option.probability > 0.5, gold.contains(&option.label));
                let confidence = option.probability.max(1.0 - option.probability);
                self.counted.answers.push((confidence, 1.0 - outside_mass, yes == holds));
                self.counted.brier.0 += brier(std::iter::once((option.probability, holds)));
                self.counted.brier.1 += 1;
                if yes != holds {
                    let name = Some(option.label.as_str());
                    let (given, gold) = if yes { (name, None) } else { (None, name) };
                    let mut error = wrong(&line.id, given, gold, Some(option.probability));
                    error.kind = if yes { ErrorKind::Invented } else { ErrorKind::Missed };
                    self.counted.errors.push(error);
                }
            }
        }
        for (row, [given, gold]) in &sets {
            for (i, label) in labels.iter().enumerate() {
                let (given, gold) = (given.contains(label), gold.contains(label));
                for (j, more) in [given, gold, given && gold].into_iter().enumerate() {
                    table[*row][3 * i + j] += f64::from(u8::from(more));
                }
            }
            examples[*row] = example(given, gold).to_vec();
        }
        self.labels(labels, &table);
        let metrics = &mut self.counted.metrics;
        metrics.push(Rows { name: "example_f1", rows: examples, of: example_f1 });
        metrics.push(Rows { name: "micro_f1", rows: table.clone(), of: micro_f1 });
        metrics.push(Rows { name: "macro_f1", rows: table, of: macro_f1 });
    }

    fn scores(&mut self, lines: &[Line]) {
        self.counted.scores = vec![Vec::new(); self.index.len()];
        let pair = |line: &Line| match (&line.answer, &line.gold) {
            (Some(Answer::Score { expected, score, .. }), Gold::Score(gold)) => {
                Some((*expected, f64::from(*score), *gold))
            }
            _ => None,
        };
        let pairs: Vec<_> = lines.iter().filter_map(|line| Some((self.row(line), pair(line)?))).collect();
        let n = pairs.len().max(1) as f64;
        let mean = |of: fn(&(f64, f64, f64)) -> f64| pairs.iter().map(|(_, pair)| of(pair)).sum::<f64>() / n;
        let means = (mean(|p| p.0), mean(|p| p.1), mean(|p| p.2));
        let (mut expected, mut integer) = (self.table(6), self.table(6));
        for (row, pair) in &pairs {
            self.counted.scores[*row].push((pair.0, pair.2));
            for (table, x) in [(&mut expected, pair.0 - means.0), (&mut integer, pair.1 - means.1)] {
                for (sum, more) in table[*row].iter_mut().zip(pearson_sums(x, pair.2 - means.2)) {
                    *sum += more;
                }
            }
        }
        self.counted.metrics.push(Rows { name: "pearson", rows: expected, of: pearson_of_sums });
        self.counted.metrics.push(Rows { name: "pearson_integer", rows: integer, of: pearson_of_sums });
        let unanswered = lines.iter().filter(|line| line.answer.is_none());
        self.counted.errors.extend(unanswered.map(|line| wrong(&line.id, None, None, None)));
    }
}

/// What BC2GM's scorer (`alt_eval.perl`) counts, as sums of which the micro F1 is its F: a gold mention is found by an answer at its
/// place or at that of an alternative that overlaps it, an answer is wrong if it is at the place of neither. The two divisors are
/// found and wrong, and all gold mentions: an answer may find two.
fn with_alternatives(given: &BTreeSet<&Place>, gold: &[Place], alternatives: &[Place]) -> [usize; 3] {
    let overlap = |a: &Place, b: &Place| a.label == b.label && a.start < b.end && b.start < a.end;
    let found = |gold: &&Place| {
        given.contains(gold) || alternatives.iter().any(|other| overlap(other, gold) && given.contains(other))
    };
    let found = gold.iter().filter(found).count();
    let wrong = given.iter().filter(|place| !gold.contains(place) && !alternatives.contains(place)).count();
    [found + wrong, gold.len(), found]
}

fn same(a: &Place, b: &Place) -> bool {
    (a.start, a.end) == (b.start, b.end)
}

fn wrong(id: &str, given: Option<&str>, gold: Option<&str>, probability: Option<f64>) -> ErrorLine {
    let place = |label: &str| Place { label: label.to_owned(), start: 0, end: 0, text: String::new() };
    let kind = if given.is_some() { ErrorKind::Wrong } else { ErrorKind::Unanswered };
    ErrorLine { id: id.to_owned(), kind, given: given.map(place), gold: gold.map(place), probability }
}
