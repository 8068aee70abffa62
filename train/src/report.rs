//! The report of a run: one HTML page, its curves inline SVG.

use crate::config::Config;
use crate::plan::Plan;
use serde_json::Value;
use std::fmt::Write;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
svg{width:100%;height:auto;background:#fafafa;border:1px solid #ddd}table{border-collapse:collapse}\
td{padding:.1rem .8rem .1rem 0;vertical-align:top;overflow-wrap:anywhere}h1,h2{font-weight:600}";
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 260.0;
const MARGIN: f64 = 48.0;
/// Points of a curve at most: more than there are pixels.
const POINTS: usize = 900;

/// A named curve of `(step, value)`.
struct Curve {
    points: Vec<(f64, f64)>,
    colour: &'static str,
}

/// The page of `lines`, the metrics of a run.
pub fn html(config: &Config, plan: &Plan, origin: &[(String, String)], lines: &[Value]) -> String {
    let curve = |key: &str, colour| {
        let point = |line: &Value| Some((line["step"].as_f64()?, line[key].as_f64()?));
        Curve { points: lines.iter().filter_map(point).collect(), colour }
    };
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Training run</title><style>{STYLE}</style>\
         <h1>Training run</h1>"
    );
    for (title, curves) in [
        (
            "Loss per token: training (blue), validation (red)",
            vec![curve("loss", "#2a6fb0"), curve("validation", "#c0392b")],
        ),
        (
            "Validation: accuracy of choices (blue), F1 of spans (red)",
            vec![curve("accuracy", "#2a6fb0"), curve("f1", "#c0392b")],
        ),
        ("Norm of the gradients", vec![curve("norm", "#2a6fb0")]),
        ("Learning rate", vec![curve("rate", "#2a6fb0")]),
        ("Resident memory, MiB", vec![curve("memory_mib", "#2a6fb0")]),
    ] {
        let _ = write!(page, "<h2>{title}</h2>{}", svg(&curves));
    }
    let _ = write!(page, "<h2>Plan</h2><pre>{}</pre><h2>Made from</h2><table>", escape(&plan.to_string()));
    let model = ("model file".to_string(), config.model.display().to_string());
    for (what, value) in std::iter::once(&model).chain(origin) {
        let _ = write!(page, "<tr><td>{}<td>{}", escape(what), escape(value));
    }
    page + "</table></html>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn svg(curves: &[Curve]) -> String {
    let all = || curves.iter().flat_map(|curve| &curve.points).filter(|point| point.1.is_finite());
    let range = |of: fn(&(f64, f64)) -> f64| {
        all().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
    };
    if all().next().is_none() {
        return "<p>Nothing yet.</p>".into();
    }
    let ((left, right), (low, high)) = (range(|point| point.0), range(|point| point.1));
    let share = |x: f64, (from, to): (f64, f64)| if to > from { (x - from) / (to - from) } else { 0.5 };
    let place = |&(x, y): &(f64, f64)| {
        let x = MARGIN + share(x, (left, right)) * (WIDTH - 2.0 * MARGIN);
        (x, HEIGHT - MARGIN / 2.0 - share(y, (low, high)) * (HEIGHT - MARGIN))
    };
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-size=\"12\">");
    for (value, y) in [(high, MARGIN / 2.0), (low, HEIGHT - MARGIN / 2.0)] {
        let _ = write!(svg, "<text x=\"2\" y=\"{:.1}\">{}</text>", y + 4.0, short(value));
    }
    let _ = write!(svg, "<text x=\"{MARGIN}\" y=\"{}\">step {left}</text>", HEIGHT - 4.0);
    let _ =
        write!(svg, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">step {right}</text>", WIDTH - MARGIN, HEIGHT - 4.0);
    for Curve { points, colour } in curves {
        let step = points.len().div_ceil(POINTS).max(1);
        let path: Vec<String> = points
            .iter()
            .filter(|point| point.1.is_finite())
            .step_by(step)
            .map(place)
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        let _ = write!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{}\"/>",
            path.join(" ")
        );
    }
    svg + "</svg>"
}

/// Four digits or so.
fn short(x: f64) -> String {
    match x.abs() {
        0.0 => "0".into(),
        size if !(1e-3..1e5).contains(&size) => format!("{x:.2e}"),
        size if size >= 100.0 => format!("{x:.0}"),
        _ => format!("{x:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_span_the_plot_and_text_is_escaped() {
        let curve = Curve { points: vec![(1.0, 4.0), (2.0, f64::NAN), (3.0, 2.0)], colour: "red" };
        let drawn = svg(&[curve]);
        assert!(drawn.contains("points=\"48.0,24.0 852.0,236.0\""), "{drawn}");
        assert!(drawn.contains(">4.0000<") && drawn.contains(">2.0000<") && drawn.contains("step 3"));
        assert_eq!(svg(&[]), "<p>Nothing yet.</p>");
        assert_eq!(escape("<a & b>"), "&lt;a &amp; b&gt;");
        assert_eq!([short(0.0), short(2e-5), short(313.2), short(1.5)], ["0", "2.00e-5", "313", "1.5000"]);
    }
}
