//! Metrics against scikit-learn, seqeval and scipy on random answers: tests/python/metrics_golden.py wrote what they say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use biomistral_nlu_eval::metrics::word_counts;
use biomistral_nlu_eval::{
    Answer, Gold, Headline, LabelPlan, Line, OptionLine, Place, SetFigures, SetPlan, SpanLine, TaskPlan, figures,
};
use serde_json::Value;
use std::collections::BTreeMap;

fn cases(name: &str) -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/metrics.json");
    let all: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    all[name].as_array().unwrap().clone()
}

fn plan(metric: Headline, task: TaskPlan) -> SetPlan {
    let (folder, splits) = ("s".into(), BTreeMap::new());
    SetPlan { name: "s".into(), group: None, reader: None, folder, splits, metric, task }
}

fn labels(of: &Value) -> Vec<LabelPlan> {
    let label = |name: &Value| LabelPlan { gold: Vec::new(), name: text(name), description: None };
    of.as_array().unwrap().iter().map(label).collect()
}

fn line(i: usize, gold: Gold, answer: Answer) -> Line {
    let id = format!("{i:04}");
    let (document, alternatives, answer) = (id.clone(), Vec::new(), Some(answer));
    Line { document, id, tokens: 1, seconds: 0.0, gold, alternatives, answer, error: None }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[track_caller]
fn close(what: &str, found: f64, expected: f64) {
    // Both sides count whole numbers in f64, or sum at most some hundreds of them.
    assert!((found - expected).abs() < 1e-9, "{what}: {found}, expected {expected}");
}

fn measured(figures: &SetFigures, name: &str) -> f64 {
    figures.measures.iter().find(|measured| measured.name == name).unwrap().value.unwrap()
}

#[test]
fn spans_as_seqeval_counts_them() {
    for case in cases("spans") {
        let mut lines = Vec::new();
        for (i, document) in case["documents"].as_array().unwrap().iter().enumerate() {
            let tokens: Vec<String> = document["tokens"].as_array().unwrap().iter().map(text).collect();
            // Tokens of two characters, a space between them.
            let places = |side: &str| -> Vec<Place> {
                let place = |span: &Value| {
                    let at = |i: usize| span[i].as_u64().unwrap() as usize;
                    let (first, last) = (at(1), at(2));
                    let (start, end) = (3 * first, 3 * last - 1);
                    Place { label: text(&span[0]), start, end, text: tokens[first..last].join(" ") }
                };
                document[side].as_array().unwrap().iter().map(place).collect()
            };
            let (gold, given) = (places("gold"), places("given"));
            let words: Vec<(usize, usize)> = (0..tokens.len()).map(|i| (3 * i, 3 * i + 2)).collect();
            let counts = labels(&case["labels"]).into_iter().map(|label| {
                let of = |places: &[Place]| -> Vec<(usize, usize)> {
                    places.iter().filter(|p| p.label == label.name).map(|p| (p.start, p.end)).collect()
                };
                (label.name.clone(), word_counts(&words, &of(&given), &of(&gold)))
            });
            let words = counts.collect();
            let span = |place: Place| SpanLine { place, probability: 0.5, kept_mass: 1.0, repeat: false };
            let spans = given.into_iter().map(span).collect();
            lines.push(line(i, Gold::Spans(gold), Answer::Spans { spans, none: BTreeMap::new(), words }));
        }
        let plan = plan(Headline::EntityF1, TaskPlan::Extract { labels: labels(&case["labels"]), passage: 0 });
        let (figures, errors) = figures(&plan, &lines, 42);
        let expected = &case["expected"];
        for name in ["entity_f1", "string_f1", "word_f1"] {
            close(name, measured(&figures, name), number(&expected[name]));
        }
        if figures.labels.len() > 1 {
            close("untyped_f1", measured(&figures, "untyped_f1"), number(&expected["untyped_f1"]));
        }
        let f1: f64 = figures.labels.iter().map(|label| label.counts.f1().unwrap()).sum();
        close("entity_macro", f1 / figures.labels.len() as f64, number(&expected["entity_macro"]));
        let sum = |of: fn(&biomistral_nlu_eval::LabelFigures) -> f64| figures.labels.iter().map(of).sum::<f64>();
        let (given, gold, both) = (sum(|l| l.counts.given), sum(|l| l.counts.gold), sum(|l| l.counts.both));
        close("precision", both / given, number(&expected["precision"]));
        close("recall", both / gold, number(&expected["recall"]));
        // Every answer that is not right is one error, and so is every mention that no error names as the right one.
        let wrong = errors.iter().filter(|error| error.given.is_some()).count();
        let missed = errors.iter().filter(|error| error.gold.is_some()).count();
        assert_eq!((wrong as f64, missed as f64), (given - both, gold - both));
        // Another generator of random numbers: ends of 1,000 resamples scatter by about a tenth of the interval.
        let (low, high) = figures.measures[0].interval.unwrap();
        let ends = [number(&expected["interval"][0]), number(&expected["interval"][1])];
        let slack = 0.15 * (ends[1] - ends[0]);
        assert!((low - ends[0]).abs() < slack && (high - ends[1]).abs() < slack, "{low} to {high}, expected {ends:?}");
        // Saying nothing finds nothing.
        assert_eq!(figures.baseline, 0.0);
    }
}

#[test]
fn alternatives_as_the_scorer_of_bc2gm_counts_them() {
    for case in cases("alternatives") {
        let mut lines = Vec::new();
        for (i, document) in case["documents"].as_array().unwrap().iter().enumerate() {
            let places = |list: &str| -> Vec<Place> {
                let at = |number: &Value| number.as_u64().unwrap() as usize;
                let place = |span: &Value| {
                    let (start, end) = (at(&span[1]), at(&span[2]));
                    Place { label: "g".to_owned(), start, end, text: format!("{start} {end}") }
                };
                document[list].as_array().unwrap().iter().map(place).collect()
            };
            let span = |place: Place| SpanLine { place, probability: 0.5, kept_mass: 1.0, repeat: false };
            let spans = places("given").into_iter().map(span).collect();
            let answer = Answer::Spans { spans, none: BTreeMap::new(), words: BTreeMap::new() };
            let line = line(i, Gold::Spans(places("gold")), answer);
            lines.push(Line { alternatives: places("alternatives"), ..line });
        }
        let labels = vec![LabelPlan { gold: Vec::new(), name: "g".to_owned(), description: None }];
        let plan = plan(Headline::EntityF1, TaskPlan::Extract { labels, passage: 0 });
        let (figures, _) = figures(&plan, &lines, 42);
        close("alternative_f1", measured(&figures, "alternative_f1"), number(&case["expected"]["f1"]));
        assert!(measured(&figures, "alternative_f1") > measured(&figures, "entity_f1"));
    }
}

#[test]
fn choices_as_scikit_learn_counts_them() {
    for case in cases("choices") {
        let names: Vec<String> = case["names"].as_array().unwrap().iter().map(text).collect();
        let mut lines = Vec::new();
        for (i, gold) in case["gold"].as_array().unwrap().iter().enumerate() {
            let options: Vec<OptionLine> = names
                .iter()
                .zip(case["probabilities"][i].as_array().unwrap())
                .map(|(label, p)| OptionLine { label: label.clone(), probability: number(p), logprob: number(p).ln() })
                .collect();
            let best = options.iter().max_by(|a, b| a.probability.total_cmp(&b.probability)).unwrap();
            let label = best.label.clone();
            let gold = if gold == "none" { Vec::new() } else { vec![text(gold)] };
            lines.push(line(i, Gold::Labels(gold), Answer::Choice { options, label, outside_mass: 0.0 }));
        }
        let positive: Vec<Value> = names[..names.len() - 1].iter().map(|name| Value::from(name.as_str())).collect();
        let task = TaskPlan::Classify { question: None, classes: labels(&Value::from(positive)), multi: false };
        let (figures, errors) = figures(&plan(Headline::MicroF1, task), &lines, 42);
        let expected = &case["expected"];
        for name in ["micro_f1", "macro_f1", "accuracy"] {
            close(name, measured(&figures, name), number(&expected[name]));
        }
        for (label, row) in figures.labels.iter().zip(expected["per_label"].as_array().unwrap()) {
            let counts = &label.counts;
            for (i, found) in [counts.precision(), counts.recall(), counts.f1()].into_iter().enumerate() {
                close(&label.label, found.unwrap(), number(&row[i]));
            }
        }
        let calibration = figures.calibration.unwrap();
        close("ece", calibration.ece, number(&expected["ece"]));
        close("brier", calibration.brier, number(&expected["brier"]));
        let curve = figures.by_confidence.unwrap();
        close("risk", curve.risk, number(&expected["risk"]));
        close("all kept", curve.points[19][1], number(&expected["accuracy"]));
        let wrong = lines.len() as f64 * (1.0 - number(&expected["accuracy"]));
        assert_eq!(errors.len() as f64, wrong.round());
    }
}

#[test]
fn classes_as_scikit_learn_counts_them() {
    for case in cases("classes") {
        let names: Vec<String> = case["labels"].as_array().unwrap().iter().map(text).collect();
        let mut lines = Vec::new();
        for (i, row) in case["gold"].as_array().unwrap().iter().enumerate() {
            let pairs = names.iter().zip(row.as_array().unwrap());
            let gold = pairs.filter(|(_, is)| is.as_bool().unwrap()).map(|(name, _)| name.clone()).collect();
            let options: Vec<OptionLine> = names
                .iter()
                .zip(case["probabilities"][i].as_array().unwrap())
                .map(|(label, p)| OptionLine { label: label.clone(), probability: number(p), logprob: number(p).ln() })
                .collect();
            let labels = options.iter().filter(|o| o.probability > 0.5).map(|o| o.label.clone()).collect();
            lines.push(line(i, Gold::Labels(gold), Answer::Classes { options, labels, outside_mass: 0.0 }));
        }
        let task = TaskPlan::Classify { question: None, classes: labels(&case["labels"]), multi: true };
        let (figures, _) = figures(&plan(Headline::ExampleF1, task), &lines, 42);
        for name in ["example_f1", "micro_f1", "macro_f1"] {
            close(name, measured(&figures, name), number(&case["expected"][name]));
        }
        close("brier", figures.calibration.unwrap().brier, number(&case["expected"]["brier"]));
    }
}

#[test]
fn scores_as_scipy_correlates_them() {
    for case in cases("scores") {
        let list = |name: &str| case[name].as_array().unwrap().clone();
        let lines: Vec<Line> = (0..list("gold").len())
            .map(|i| {
                let score = list("scores")[i].as_i64().unwrap() as i32;
                let expected = number(&list("expected_scores")[i]);
                let answer = Answer::Score { options: Vec::new(), score, expected, outside_mass: 0.0 };
                line(i, Gold::Score(number(&list("gold")[i])), answer)
            })
            .collect();
        let (figures, _) = figures(&plan(Headline::Pearson, TaskPlan::Similar { scale: [0, 4] }), &lines, 42);
        for name in ["pearson", "pearson_integer", "spearman"] {
            close(name, measured(&figures, name), number(&case["expected"][name]));
        }
    }
}
