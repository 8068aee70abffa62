//! One HTML file with everything in it: no script, no external resource, every string escaped.

use super::marks::runs;
use super::page::{Card, Choice, Page};
use std::fmt::Write;

/// Colours by Okabe and Ito, told apart with every common kind of colour blindness; after eight the line style changes.
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#b8a800"];
const LINES: [&str; 4] = ["solid", "dashed", "dotted", "double"];

/// What stands around the cards.
pub struct Frame<'a> {
    /// Head line.
    pub title: &'a str,
    /// Line under it.
    pub note: Option<&'a str>,
    /// Warning over everything.
    pub banner: Option<&'a str>,
}

/// The page.
pub fn html(page: &Page, frame: &Frame<'_>) -> String {
    let mut out = String::new();
    let title = escape(frame.title);
    out.push_str("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    // Even if something slipped through unescaped, nothing on the page may run or load.
    out.push_str(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
    );
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    out.push_str("<meta name=\"referrer\" content=\"no-referrer\">\n");
    push(&mut out, format_args!("<title>{title}</title>\n<style>\n{}", include_str!("style.css")));
    for label in 0..page.legend.len() {
        let (colour, line) = (COLOURS[label % COLOURS.len()], LINES[label / COLOURS.len() % LINES.len()]);
        push(&mut out, format_args!(".c{label}{{--c:{colour};--line:{line}}}\n"));
    }
    out.push_str("</style>\n</head>\n<body>\n");
    if let Some(banner) = frame.banner {
        push(&mut out, format_args!("<p class=\"banner\" role=\"note\">{}</p>\n", escape(banner)));
    }
    push(&mut out, format_args!("<header>\n<h1>{title}</h1>\n"));
    if let Some(note) = frame.note {
        push(&mut out, format_args!("<p class=\"note\">{}</p>\n", escape(note)));
    }
    if !page.legend.is_empty() {
        out.push_str("<ul class=\"legend\" aria-label=\"Labels\">\n");
        for (i, label) in page.legend.iter().enumerate() {
            push(&mut out, format_args!("<li><span class=\"m c{i}\" style=\"--l:0\">{}</span></li>\n", escape(label)));
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</header>\n<main>\n");
    for card in &page.cards {
        self::card(&mut out, page, card);
    }
    out.push_str("</main>\n<footer>\n");
    if !page.provenance.is_empty() {
        out.push_str("<details><summary>How these results were made</summary><dl>\n");
        for (name, value) in &page.provenance {
            push(&mut out, format_args!("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(value)));
        }
        out.push_str("</dl></details>\n");
    }
    push(
        &mut out,
        format_args!("<p>bmn {} · not a medical device</p>\n</footer>\n</body>\n</html>\n", env!("CARGO_PKG_VERSION")),
    );
    out
}

fn card(out: &mut String, page: &Page, card: &Card) {
    push(
        out,
        format_args!("<article>\n<h2><bdi>{}</bdi> <small>{}</small></h2>\n", escape(&card.id), escape(card.task)),
    );
    for warning in &card.warnings {
        push(out, format_args!("<p class=\"warning\">{}</p>\n", escape(warning)));
    }
    for (name, text) in &card.inputs {
        push(out, format_args!("<div class=\"input\"><b>{}</b><bdi>{}</bdi></div>\n", escape(name), escape(text)));
    }
    if let Some(text) = &card.text {
        let runs = runs(text, &card.marks);
        let depth = runs.iter().flat_map(|run| &run.over).map(|over| over.level).max().unwrap_or(0);
        push(out, format_args!("<p class=\"text\" dir=\"auto\" style=\"--depth:{depth}\">"));
        for run in &runs {
            for over in &run.over {
                let mark = &card.marks[over.mark];
                let (label, level, tip) = (mark.label, over.level, escape(&mark.tip));
                // Copied text stays verbatim: the label is drawn by CSS and not part of the text.
                let end =
                    if over.ends { format!(" data-label=\"{}\"", escape(&page.legend[label])) } else { String::new() };
                push(out, format_args!("<span class=\"m c{label}\" style=\"--l:{level}\" title=\"{tip}\"{end}>"));
            }
            out.push_str(&escape(run.text));
            run.over.iter().for_each(|_| out.push_str("</span>"));
        }
        out.push_str("</p>\n");
    }
    for (name, value) in &card.figures {
        push(out, format_args!("<p class=\"figure\"><b>{}</b> {}</p>\n", escape(name), escape(value)));
    }
    facts(out, card);
    for choice in &card.choices {
        self::choice(out, choice);
    }
    spans(out, page, card);
    out.push_str("</article>\n");
}

fn facts(out: &mut String, card: &Card) {
    if card.facts.is_empty() {
        return;
    }
    out.push_str("<ul class=\"facts\">\n");
    for fact in &card.facts {
        let mention = |(text, label): &(String, usize)| {
            format!("<span class=\"m c{label}\" style=\"--l:0\">{}</span>", escape(text))
        };
        let tail = fact.tail.as_ref().map_or(String::new(), |t| format!(" <i>→</i> {}", mention(t)));
        let p = fact.probability.map_or(String::new(), |p| format!(" <small>{}</small>", escape(&percent(p))));
        push(out, format_args!("<li>{} <i>→</i> <b>{}</b>{p}{tail}</li>\n", mention(&fact.head), escape(&fact.link)));
    }
    out.push_str("</ul>\n");
}

fn choice(out: &mut String, choice: &Choice) {
    out.push_str("<table class=\"choice\">\n");
    if !choice.name.is_empty() {
        push(out, format_args!("<caption>{}</caption>\n", escape(&choice.name)));
    }
    for (option, p) in &choice.options {
        let answer = choice.answers.contains(option);
        let (class, tick) = if answer { (" class=\"answer\"", "✓ ") } else { ("", "") };
        let width = p.clamp(0.0, 1.0) * 100.0;
        push(
            out,
            format_args!(
                "<tr{class}><th scope=\"row\">{tick}{}</th><td class=\"bar\"><i style=\"width:{width:.1}%\"></i></td><td>{}</td></tr>\n",
                escape(option),
                escape(&percent(*p))
            ),
        );
    }
    if let Some(mass) = choice.outside {
        let width = mass.clamp(0.0, 1.0) * 100.0;
        push(
            out,
            format_args!(
                "<tr class=\"outside\" title=\"Probability that the model gives to everything that is none of the options\">\
                 <th scope=\"row\">outside the options</th><td class=\"bar\"><i style=\"width:{width:.1}%\"></i></td><td>{}</td></tr>\n",
                escape(&percent(mass))
            ),
        );
    }
    out.push_str("</table>\n");
}

fn spans(out: &mut String, page: &Page, card: &Card) {
    if card.spans.is_empty() {
        if card.task == "entities" {
            out.push_str("<p class=\"figure\">no spans</p>\n");
        }
        return;
    }
    let count = card.spans.len();
    let noun = if count == 1 { "span" } else { "spans" };
    push(out, format_args!("<details><summary>{count} {noun}</summary><table class=\"spans\">\n"));
    push(
        out,
        format_args!(
            "<tr><th>label</th><th>span</th><th>{} offsets</th><th>log-probability</th></tr>\n",
            escape(&card.unit)
        ),
    );
    for span in &card.spans {
        let logprob = span.logprob.map_or("–".to_owned(), |l| format!("{l:.3}"));
        push(
            out,
            format_args!(
                "<tr><td><span class=\"m c{}\" style=\"--l:0\">{}</span></td><td><bdi>{}</bdi></td><td>{}</td><td>{logprob}</td></tr>\n",
                span.label,
                escape(&page.legend[span.label]),
                escape(&span.text),
                escape(&span.place)
            ),
        );
    }
    out.push_str("</table></details>\n");
}

/// A probability as per cent, with enough places to tell small ones from none.
pub fn percent(p: f64) -> String {
    match p * 100.0 {
        x if x >= 99.95 || x == 0.0 => format!("{x:.0} %"),
        x if x >= 0.1 => format!("{x:.1} %"),
        x if x >= 0.001 => format!("{x:.3} %"),
        _ => "< 0.001 %".to_owned(),
    }
}

/// Text that is safe as HTML content and inside quoted attributes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Control characters are not allowed in HTML; their pictures show that they are there.
            '\0'..='\u{8}' | '\u{b}'..='\u{1f}' if c != '\r' => {
                out.push(char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}'));
            }
            '\u{7f}' => out.push('\u{2421}'),
            c => out.push(c),
        }
    }
    out
}

fn push(out: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(what); // writing to a String cannot fail
}
