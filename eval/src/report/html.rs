//! One HTML page: no script, nothing loaded, every string escaped.

use super::markdown::LABELS;
use super::{Report, figure, interval, plot, speed};
use crate::score::{ErrorLine, SetFigures};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Errors of a set that the page shows; all are in the set's file of errors.
const SHOWN: usize = 100;

const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
    <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";

/// The page, with the first errors of each set by its name. Errors show words of the corpora.
pub fn html(report: &Report, errors: &BTreeMap<String, Vec<ErrorLine>>) -> String {
    let title = escape(&report.suite);
    let mut out = format!(
        "{HEAD}<title>{title}</title>\n<style>\n{}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<dl>",
        include_str!("style.css")
    );
    for (name, value) in &report.run {
        let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
    }
    out += "</dl>\n<table><tr><th>set<th>metric<th>value<th>95 %<th>baseline<th>documents<th>items<th class=\"wide\"></tr>\n";
    for set in &report.sets {
        row(&mut out, set);
    }
    for (name, value, baseline) in report.means() {
        if !report.sets.iter().any(|set| set.name == name) {
            let name = escape(&name);
            let _ = writeln!(
                out,
                "<tr class=\"mean\"><td>{name}<td>mean<td>{value:.3}<td><td>{baseline:.3}<td><td><td></tr>"
            );
        }
    }
    out += "</table>\n";
    for absent in &report.absent {
        let _ = writeln!(out, "<p class=\"note\">Not evaluated: {}: {}</p>", escape(&absent.name), escape(&absent.why));
    }
    for set in &report.sets {
        section(&mut out, set, errors.get(&set.name).map_or(&[], Vec::as_slice));
    }
    out + "</body>\n</html>\n"
}

fn row(out: &mut String, set: &SetFigures) {
    let value = set.headline().unwrap_or(0.0).clamp(0.0, 1.0);
    let (low, high) = set.interval().unwrap_or((value, value));
    let (low, high) = (low.clamp(0.0, 1.0), high.clamp(0.0, 1.0));
    let bar = format!(
        "<svg viewBox=\"0 0 200 12\" width=\"200\" role=\"img\" aria-label=\"{value:.3}\"><rect class=\"frame\" width=\"200\" height=\"12\"/>\
         <rect class=\"value\" width=\"{:.1}\" height=\"12\"/><line class=\"span\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"6\" y2=\"6\"/>\
         <line class=\"base\" x1=\"{b:.1}\" x2=\"{b:.1}\" y1=\"0\" y2=\"12\"/></svg>",
        200.0 * value,
        200.0 * low,
        200.0 * high,
        b = 200.0 * set.baseline.clamp(0.0, 1.0)
    );
    let name = escape(&set.name);
    let _ = writeln!(
        out,
        "<tr><td><a href=\"#{name}\">{name}</a><td>{}<td>{}<td>{}<td>{:.3}<td>{}<td>{}<td>{bar}</tr>",
        set.metric.name(),
        figure(set.headline()),
        interval(set.interval()),
        set.baseline,
        set.documents,
        set.items
    );
}

fn section(out: &mut String, set: &SetFigures, errors: &[ErrorLine]) {
    let name = escape(&set.name);
    let _ = write!(
        out,
        "<h2 id=\"{name}\">{name} <small>{}</small></h2>\n<div class=\"beside\"><table><tr><th>metric<th>value<th>95 %</tr>",
        escape(&set.task)
    );
    for measured in &set.measures {
        let _ = write!(
            out,
            "<tr><td>{}<td>{}<td>{}</tr>",
            escape(&measured.name),
            figure(measured.value),
            interval(measured.interval)
        );
    }
    out.push_str("</table>\n");
    if !set.labels.is_empty() && set.labels.len() <= LABELS {
        out.push_str("<table><tr><th>label<th>precision<th>recall<th>F1<th>given<th>right<th>both</tr>");
        for label in &set.labels {
            let c = &label.counts;
            let figures = [c.precision(), c.recall(), c.f1()].map(figure).join("<td>");
            let _ = write!(
                out,
                "<tr><td>{}<td>{figures}<td>{}<td>{}<td>{}</tr>",
                escape(&label.label),
                c.given,
                c.gold,
                c.both
            );
        }
        out.push_str("</table>\n");
    }
    out.push_str("</div>\n<div class=\"beside\">");
    if let Some(calibration) = &set.calibration {
        let caption = format!("Reliability: ECE {:.3}, Brier {:.3}", calibration.ece, calibration.brier);
        let _ =
            write!(out, "<figure>{}<figcaption>{caption}</figcaption></figure>", plot::reliability(&calibration.bins));
    }
    if set.by_confidence.is_some() || set.by_mass.is_some() {
        let plot = plot::abstention(set.by_confidence.as_ref(), set.by_mass.as_ref());
        let caption = "Abstaining by probability (solid), by kept mass (dashed)";
        let _ = write!(out, "<figure>{plot}<figcaption>{caption}</figcaption></figure>");
    }
    let _ = write!(out, "</div>\n<p class=\"note\">{}", escape(&speed(set)));
    if set.failed > 0 {
        let _ = write!(out, "; {} of {} items not answered", set.failed, set.items);
    }
    for note in &set.notes {
        let _ = write!(out, "; {}", escape(note));
    }
    out.push_str("</p>\n");
    let kinds: Vec<String> = set.errors.iter().map(|(kind, n)| format!("{n} {}", kind.name())).collect();
    if kinds.is_empty() {
        return;
    }
    let _ = write!(
        out,
        "<details><summary>Errors: {}; the first {}</summary><table><tr><th>item<th>kind<th>given<th>right<th>probability</tr>",
        kinds.join(", "),
        errors.len().min(SHOWN)
    );
    for error in errors.iter().take(SHOWN) {
        let place = |place: &Option<crate::line::Place>| match place {
            None => "–".to_owned(),
            Some(place) if place.text.is_empty() => escape(&place.label),
            Some(place) => {
                format!("<q>{}</q> {} {}–{}", escape(&place.text), escape(&place.label), place.start, place.end)
            }
        };
        let (given, gold) = (place(&error.given), place(&error.gold));
        let _ = write!(
            out,
            "<tr><td>{}<td>{}<td>{given}<td>{gold}<td>{}</tr>",
            escape(&error.id),
            error.kind.name(),
            figure(error.probability)
        );
    }
    out.push_str("</table></details>\n");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
