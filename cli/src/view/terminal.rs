//! Results for reading in a terminal: spans in colour, or in brackets where there is none.

use super::html::percent;
use super::marks::runs;
use super::page::{Card, Page};
use std::fmt::Write;

/// ANSI colours for labels, readable on light and dark.
const COLOURS: [u8; 8] = [34, 31, 32, 35, 33, 36, 94, 91];

/// The page as plain text, with ANSI colours if `colour`.
pub fn terminal(page: &Page, note: Option<&str>, colour: bool) -> String {
    let mut out = String::new();
    let pen = Pen { colour };
    if let Some(note) = note {
        let _ = writeln!(out, "{}\n", clean(note));
    }
    for card in &page.cards {
        let _ = writeln!(out, "{} {}", pen.paint("1", &clean(&card.id)), pen.paint("2", card.task));
        self::card(&mut out, page, card, &pen);
        out.push('\n');
    }
    out
}

struct Pen {
    colour: bool,
}

impl Pen {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn span(&self, page: &Page, label: usize, text: &str, ends: bool) -> String {
        let name = clean(&page.legend[label]);
        if !self.colour {
            return if ends { format!("[{text}]{{{name}}}") } else { format!("[{text}]") };
        }
        let colour = COLOURS[label % COLOURS.len()];
        let tag = if ends { format!("\x1b[2;{colour}m {name}\x1b[0m") } else { String::new() };
        format!("\x1b[4;{colour}m{text}\x1b[0m{tag}")
    }
}

fn card(out: &mut String, page: &Page, card: &Card, pen: &Pen) {
    for warning in &card.warnings {
        let _ = writeln!(out, "  ! {}", clean(warning));
    }
    for (name, text) in &card.inputs {
        let _ = writeln!(out, "  {} {}", pen.paint("2", &format!("{name}:")), clean(text).replace('\n', "\n  "));
    }
    if let Some(text) = &card.text {
        let mut body = String::new();
        for run in runs(text, &card.marks) {
            let text = clean(run.text);
            // The innermost span colours the run, outer ones that end here are named after it.
            match run.over.split_last() {
                None => body.push_str(&text),
                Some((inner, outer)) => {
                    body.push_str(&pen.span(page, card.marks[inner.mark].label, &text, inner.ends));
                    for over in outer.iter().rev().filter(|o| o.ends) {
                        body.push_str(&format!("{{{}}}", clean(&page.legend[card.marks[over.mark].label])));
                    }
                }
            }
        }
        let _ = writeln!(out, "  {}", body.replace('\n', "\n  "));
    }
    for (name, value) in &card.figures {
        let _ = writeln!(out, "  {} {value}", pen.paint("2", &format!("{name}:")));
    }
    for fact in &card.facts {
        let tail = fact.tail.as_ref().map_or(String::new(), |(text, _)| format!(" → {}", clean(text)));
        let p = fact.probability.map_or(String::new(), |p| format!(" ({})", percent(p)));
        let _ = writeln!(out, "  {} → {}{p}{tail}", clean(&fact.head.0), pen.paint("1", &clean(&fact.link)));
    }
    for choice in &card.choices {
        if !choice.name.is_empty() {
            let _ = writeln!(out, "  {}", pen.paint("2", &clean(&choice.name)));
        }
        let widest = choice.options.iter().map(|(o, _)| o.chars().count()).max().unwrap_or(0).clamp(12, 48);
        for (option, p) in &choice.options {
            let answer = choice.answers.contains(option);
            let bar = "█".repeat((p.clamp(0.0, 1.0) * 24.0).round() as usize);
            let line =
                format!("{} {:widest$} {bar:24} {:>8}", if answer { "✓" } else { " " }, clean(option), percent(*p));
            let _ = writeln!(out, "  {}", if answer { pen.paint("1", &line) } else { line });
        }
        if let Some(mass) = choice.outside {
            let line = format!("  {:widest$} {:24} {:>8}", "outside", "", percent(mass));
            let _ = writeln!(out, "  {}", pen.paint("2", &line));
        }
    }
    if card.spans.is_empty() && card.task == "entities" {
        let _ = writeln!(out, "  {}", pen.paint("2", "no spans"));
    }
}

/// Text without control characters: a document must not be able to drive the terminal.
fn clean(text: &str) -> String {
    let safe = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    text.replace("\r\n", "\n").chars().map(safe).collect()
}
