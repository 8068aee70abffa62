//! Tables in Markdown.

use super::{Report, figure, interval, speed};
use crate::compare::Comparison;
use crate::score::SetFigures;
use std::fmt::Write;

/// The page.
pub fn markdown(report: &Report) -> String {
    let mut out = format!("# {}\n\n", report.suite);
    for (name, value) in &report.run {
        let _ = writeln!(out, "- {name}: {value}");
    }
    out += "\n| set | metric | value | 95 % | baseline | above it | documents | items |\n|---|---|---|---|---|---|---|---|\n";
    for set in &report.sets {
        let above = set.headline().map(|value| value - set.baseline);
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {:.3} | {} | {} | {} |",
            set.name,
            set.metric.name(),
            figure(set.headline()),
            interval(set.interval()),
            set.baseline,
            figure(above),
            set.documents,
            set.items,
        );
    }
    for (name, value, baseline) in report.means() {
        let known = report.sets.iter().any(|set| set.name == name);
        if !known {
            let _ = writeln!(out, "| **{name}** | mean | {value:.3} | | {baseline:.3} | {:.3} | | |", value - baseline);
        }
    }
    for absent in &report.absent {
        let _ = writeln!(out, "\nNot evaluated: {}: {}", absent.name, absent.why);
    }
    for set in &report.sets {
        section(&mut out, set);
    }
    out
}

fn section(out: &mut String, set: &SetFigures) {
    let _ = write!(out, "\n## {} ({})\n\n| metric | value | 95 % |\n|---|---|---|\n", set.name, set.task);
    for measured in &set.measures {
        let _ = writeln!(out, "| {} | {} | {} |", measured.name, figure(measured.value), interval(measured.interval));
    }
    if !set.labels.is_empty() && set.labels.len() <= LABELS {
        out.push_str("\n| label | precision | recall | F1 | given | right | both |\n|---|---|---|---|---|---|---|\n");
        for label in &set.labels {
            let c = &label.counts;
            let (precision, recall, f1) = (figure(c.precision()), figure(c.recall()), figure(c.f1()));
            let cells = [cell(&label.label), precision, recall, f1].join(" | ");
            let _ = writeln!(out, "| {cells} | {} | {} | {} |", c.given, c.gold, c.both);
        }
    }
    out.push('\n');
    if let Some(calibration) = &set.calibration {
        let _ = writeln!(out, "- calibration: ECE {:.3}, Brier {:.3}", calibration.ece, calibration.brier);
    }
    for (name, curve) in [("probability", &set.by_confidence), ("kept mass", &set.by_mass)] {
        let Some(curve) = curve else { continue };
        let at = |i: usize| curve.points.get(i).map_or(0.0, |point| point[1]);
        let (all, half, tenth) = (at(19), at(9), at(1));
        let _ = writeln!(
            out,
            "- right of all answers {all:.3}; of the half with the highest {name} {half:.3}, of the tenth {tenth:.3}"
        );
    }
    let kinds: Vec<String> = set.errors.iter().map(|(kind, n)| format!("{n} {}", kind.name())).collect();
    let _ = writeln!(out, "- errors: {}", if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") });
    let _ = writeln!(out, "- speed: {}", speed(set));
    if set.failed > 0 {
        let _ = writeln!(out, "- not answered: {} of {} items", set.failed, set.items);
    }
    for note in &set.notes {
        let _ = writeln!(out, "- {note}");
    }
}

/// Sets with more labels than this, such as exam questions, get no table of them.
pub(super) const LABELS: usize = 40;

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Runs side by side.
pub fn comparison(runs: &[String], sets: &[Comparison]) -> String {
    let mut out = String::from("| set | metric | items |");
    for (i, run) in runs.iter().enumerate() {
        let _ = write!(out, " {} |", cell(run));
        if i > 0 {
            out.push_str(" less the first, 95 % | other sign |");
        }
    }
    let _ = writeln!(out, "\n|---|---|---|{}", "---|".repeat(3 * runs.len() - 2));
    for set in sets {
        let _ = write!(out, "| {} | {} | {} |", set.set, set.metric, set.items);
        for (i, value) in set.values.iter().enumerate() {
            let _ = write!(out, " {} |", figure(*value));
            if let Some(at) = i.checked_sub(1) {
                match &set.differences[at] {
                    None => out.push_str(" – | – |"),
                    Some(d) => {
                        let _ = write!(
                            out,
                            " {:+.3} ({:+.3} to {:+.3}) | {:.3} |",
                            d.difference, d.low, d.high, d.other_sign
                        );
                    }
                }
            }
        }
        out.push('\n');
    }
    let elsewhere: usize = sets.iter().map(|set| set.elsewhere).sum();
    if elsewhere > 0 {
        let _ = writeln!(out, "\n{elsewhere} items that not every run has are not compared.");
    }
    out
}
