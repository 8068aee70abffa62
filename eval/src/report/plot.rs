//! Diagrams as inline SVG.

use crate::metrics::{Bin, Curve};
use std::fmt::Write;

const SIDE: f64 = 220.0;
const MARGIN: f64 = 34.0;

fn x(value: f64) -> f64 {
    MARGIN + value * SIDE
}

fn y(value: f64) -> f64 {
    8.0 + (1.0 - value) * SIDE
}

/// A square from 0 to 1 both ways, with `inside` drawn in it.
fn square(label: &str, across: &str, inside: &str) -> String {
    let (width, height) = (SIDE + MARGIN + 12.0, SIDE + 44.0);
    let mut svg =
        format!("<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" role=\"img\" aria-label=\"{label}\">");
    for tick in [0.0, 0.5, 1.0] {
        let _ = write!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{tick}</text>\
             <text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{tick}</text>",
            MARGIN - 5.0,
            y(tick) + 4.0,
            x(tick),
            y(0.0) + 16.0
        );
    }
    let _ = write!(
        svg,
        "<rect class=\"frame\" x=\"{MARGIN}\" y=\"8\" width=\"{SIDE}\" height=\"{SIDE}\"/>{inside}\
         <text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{across}</text></svg>",
        x(0.5),
        y(0.0) + 32.0
    );
    svg
}

/// Share right by probability: points on the diagonal are calibrated; bars below are how many answers are in each tenth.
pub fn reliability(bins: &[Bin]) -> String {
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(0).max(1) as f64;
    let mut inside =
        format!("<line class=\"even\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>", x(0.0), y(0.0), x(1.0), y(1.0));
    let mut points = Vec::new();
    for (i, bin) in bins.iter().enumerate().filter(|(_, bin)| bin.count > 0) {
        let left = i as f64 / bins.len() as f64;
        let height = bin.count as f64 / most * 0.25;
        let _ = write!(
            inside,
            "<rect class=\"bar\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{} answers</title></rect>",
            x(left) + 1.0,
            y(height),
            SIDE / bins.len() as f64 - 2.0,
            height * SIDE,
            bin.count
        );
        points.push((bin.confidence, bin.right));
    }
    inside += &line(&points, "a");
    inside.extend(
        points.iter().map(|p| format!("<circle class=\"a\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>", x(p.0), y(p.1))),
    );
    square("Reliability diagram", "probability, and share right", &inside)
}

/// Share right among the answers kept, by probability (solid) and by kept mass (dashed).
pub fn abstention(by_confidence: Option<&Curve>, by_mass: Option<&Curve>) -> String {
    let points = |curve: &Curve| curve.points.iter().map(|p| (p[0], p[1])).collect::<Vec<_>>();
    let draw = |curve: Option<&Curve>, class| curve.map_or(String::new(), |curve| line(&points(curve), class));
    let inside = draw(by_confidence, "a") + &draw(by_mass, "b");
    square("Abstention curve", "share of answers kept, and share right among them", &inside)
}

fn line(points: &[(f64, f64)], class: &str) -> String {
    let points: Vec<String> = points.iter().map(|p| format!("{:.1},{:.1}", x(p.0), y(p.1))).collect();
    format!("<polyline class=\"{class}\" points=\"{}\"/>", points.join(" "))
}
