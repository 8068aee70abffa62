//! CoNLL columns: a token and its tag per line, an empty line after each sentence.
//!
//! Tags are `B-Type`, `I-Type`, `O`, or without types; a mention may begin with `I` (IOB1, or inside tags alone). The text is
//! put together from the tokens: with one space between them, or as such text is usually written.

use crate::document::{Document, Mention};
use crate::problem::{Problems, Trouble};

/// How tokens become text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    /// One space between tokens.
    Tokens,
    /// No space before `,` or after `(`, around hyphens and the like.
    Written,
}

/// A file's layout.
#[derive(Debug, Clone, Copy)]
pub struct Layout<'a> {
    /// The type of mentions whose tags name none.
    pub label: &'a str,
    /// How tokens become text.
    pub spacing: Spacing,
}

/// Reads a file, one document per sentence, numbered from 1 after `name`. The tag is the last column.
pub fn read(name: &str, file: &str, layout: Layout<'_>, problems: &mut Problems) -> Vec<Document> {
    let mut documents = Vec::new();
    let mut tokens: Vec<(&str, &str)> = Vec::new();
    let mut source = None;
    for (number, line) in file.lines().chain([""]).enumerate().map(|(i, line)| (i + 1, line.trim_end())) {
        let mark = line.strip_prefix("-DOCSTART-");
        if (line.is_empty() || mark.is_some()) && !tokens.is_empty() {
            let id = format!("{name}:{}", documents.len() + 1);
            let mut document = sentence(id, &tokens, layout);
            document.source.clone_from(&source);
            documents.push(document);
            tokens.clear();
        }
        if let Some(rest) = mark {
            source = rest.split(['(', ')']).nth(1).map(str::to_owned);
        } else if !line.is_empty() {
            let split = line.rsplit_once(['\t', ' ']);
            let token = split.and_then(|(head, tag)| Some((head.split(['\t', ' ']).next()?, tag)));
            match token.filter(|(token, tag)| !token.is_empty() && parse(tag).is_some()) {
                Some(token) => tokens.push(token),
                None => problems.add(Trouble::Broken, name, number),
            }
        }
    }
    documents
}

/// Whether a tag begins a mention, and its type; `Some(None)` outside.
fn parse(tag: &str) -> Option<Option<(bool, &str)>> {
    let (prefix, label) = tag.split_once('-').unwrap_or((tag, ""));
    match prefix {
        "O" if label.is_empty() => Some(None),
        "B" => Some(Some((true, label))),
        "I" => Some(Some((false, label))),
        _ => None,
    }
}

fn sentence(id: String, tokens: &[(&str, &str)], layout: Layout<'_>) -> Document {
    let mut document = Document::new(id, "");
    let mut before: Option<(&str, Option<&str>)> = None;
    for (i, &(token, tag)) in tokens.iter().enumerate() {
        let last = i.checked_sub(1).map(|last| tokens[last].0);
        let earlier = i.checked_sub(2).map(|earlier| tokens[earlier].0);
        let apart = last.is_some_and(|last| match layout.spacing {
            Spacing::Tokens => true,
            Spacing::Written => apart(earlier, last, token),
        });
        if apart {
            document.text.push(' ');
        }
        let start = document.text.len();
        document.text.push_str(token);
        let end = document.text.len();
        document.tokens.push(start..end);
        let tag = parse(tag).flatten();
        let goes_on = |label: &str| before.is_some_and(|(_, inside)| inside == Some(label));
        match tag {
            Some((begins, label)) if begins || !goes_on(label) => {
                let shown = if label.is_empty() { layout.label } else { label };
                let number = document.mentions.len() + 1;
                document.mentions.push(Mention::new(format!("T{number}"), shown, start..end));
            }
            Some(_) => {
                if let Some(place) = document.mentions.last_mut().and_then(|mention| mention.places.last_mut()) {
                    place.end = end;
                }
            }
            None => {}
        }
        before = Some((token, tag.map(|(_, label)| label)));
    }
    document
}

/// Whether a space stands between two tokens of written text.
fn apart(earlier: Option<&str>, last: &str, token: &str) -> bool {
    let digit = |text: &str| text.ends_with(|c: char| c.is_ascii_digit());
    match (last, token) {
        (_, "," | "." | ";" | ":" | ")" | "]" | "}" | "%" | "?" | "!" | "'s" | "n't") => false,
        ("(" | "[" | "{", _) => false,
        ("-" | "/", _) | (_, "-" | "/") => false,
        // A decimal point, a thousands comma.
        ("." | ",", next) => !(earlier.is_some_and(digit) && next.starts_with(|c: char| c.is_ascii_digit())),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(file: &str, layout: Layout<'_>) -> (Vec<String>, Vec<(String, String)>, usize) {
        let mut problems = Problems::default();
        let documents = read("f", file, layout, &mut problems);
        let spans = documents.iter().flat_map(|document| {
            document.mentions.iter().map(|m| (m.label.clone(), m.text(&document.text).into_owned()))
        });
        (documents.iter().map(|d| d.text.clone()).collect(), spans.collect(), problems.0.len())
    }

    #[test]
    fn tags_of_three_styles() {
        let layout = Layout { label: "X", spacing: Spacing::Tokens };
        let (_, spans, problems) =
            texts("a\tB-G\nb\tI-G\nc\tB-G\nd\tO\n\ne I-P\nf I-P\ng I-Q\n\nh\tB\ni\tI\nbroken\nj\tZ\n", layout);
        let expected = [("G", "a b"), ("G", "c"), ("P", "e f"), ("Q", "g"), ("X", "h i")];
        assert_eq!(spans, expected.map(|(label, text)| (label.to_owned(), text.to_owned())));
        assert_eq!(problems, 2);
    }

    #[test]
    fn written_text() {
        let file = "A\tO\nmulti\tO\n-\tO\nKH\tB-G\n(\tO\n1\tO\n.\tO\n5\tO\n%\tO\n)\tO\n,\tO\nB\tO\n.\tO\nC\tO\n";
        let (texts, spans, _) = texts(file, Layout { label: "X", spacing: Spacing::Written });
        assert_eq!(texts, ["A multi-KH (1.5%), B. C"]);
        assert_eq!(spans, [("G".to_owned(), "KH".to_owned())]);
    }

    #[test]
    fn documents_begin_at_their_mark() {
        let mut problems = Problems::default();
        let layout = Layout { label: "X", spacing: Spacing::Tokens };
        let documents = read("f", "-DOCSTART- (12)\n\na O\n\nb O\n-DOCSTART- (13)\n\nc O\n", layout, &mut problems);
        let sources: Vec<_> = documents.iter().map(|document| document.source.as_deref()).collect();
        assert_eq!(sources, [Some("12"), Some("12"), Some("13")]);
    }
}
