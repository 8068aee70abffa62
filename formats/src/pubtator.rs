//! PubTator: `PMID|t|TITLE`, `PMID|a|ABSTRACT`, then tab-separated mentions and relations; an empty line ends a document.
//!
//! Offsets are code points of the title, one character, and the abstract: the format has no place to say anything else,
//! so that is the unit of every file.

use crate::document::{given, lose, parts};
use crate::{Argument, Concept, Document, Error, Losses, Mention, Passage, Relation, Result, Target, Unit, Units};
use std::fmt::Write;

const UNIT: Unit = Unit::CodePoint;

/// Reads a file. A mention whose text differs from that at its offsets is left out and counted.
///
/// # Errors
/// A line of another form, by its number.
pub fn read(file: &str, losses: &mut Losses) -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    let mut block: Vec<(usize, &str)> = Vec::new();
    for (number, line) in (1..).zip(file.split('\n')) {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if !line.is_empty() {
            block.push((number, line));
        } else if !block.is_empty() {
            documents.push(document(&std::mem::take(&mut block), losses)?);
        }
    }
    if !block.is_empty() {
        documents.push(document(&block, losses)?);
    }
    Ok(documents)
}

fn document(lines: &[(usize, &str)], losses: &mut Losses) -> Result<Document> {
    let mut parts = [None, None];
    let mut rows = Vec::new();
    let mut id = None;
    for (number, line) in lines {
        let text = line.split_once('|').and_then(|(id, rest)| match (id.contains('\t'), rest.split_once('|')) {
            (false, Some(("t", text))) => Some((id, 0, text)),
            (false, Some(("a", text))) => Some((id, 1, text)),
            _ => None,
        });
        let name = match text {
            Some((name, which, text)) => {
                if parts[which].replace(text).is_some() {
                    return Err(Error::at(*number, "expected one title and one abstract, found another"));
                }
                name
            }
            None => {
                rows.push((*number, line.split('\t').collect::<Vec<_>>()));
                line.split('\t').next().unwrap_or_default()
            }
        };
        if *id.get_or_insert(name) != name {
            return Err(Error::at(*number, "expected the id of the document's first line, found another"));
        }
    }
    let [Some(title), second] = parts else {
        return Err(Error::at(lines[0].0, "expected ID|t|TITLE, found a document without it"));
    };
    let text = second.map_or(title.to_owned(), |second| format!("{title}\n{second}"));
    let start = (title.len() + 1).min(text.len());
    let passages = [("title", 0..title.len()), ("abstract", start..text.len())];
    let passages = (passages.into_iter().filter(|(_, range)| !range.is_empty()))
        .map(|(kind, range)| Passage { kind: kind.into(), range })
        .collect();
    let mut document = Document { id: id.unwrap_or_default().to_owned(), passages, ..Document::default() };
    let units = Units::new(&text);
    for (number, row) in &rows {
        line(&mut document, *number, row, &units, losses)?;
    }
    document.text = text;
    document.check()?;
    Ok(document)
}

/// A mention (two numbers after the id) or a relation (a name and two concepts).
fn line(document: &mut Document, number: usize, row: &[&str], units: &Units<'_>, losses: &mut Losses) -> Result<()> {
    let place = format!("line {number}");
    match row {
        [_, start, end, said, label, rest @ ..] if is_number(start) && is_number(end) => {
            let far = || Error::at(number, "expected offsets, found numbers beyond every text");
            let offsets = (start.parse().map_err(|_| far())?, end.parse().map_err(|_| far())?);
            let Some(parts) = parts(units, UNIT, &[offsets]) else {
                losses.add("mentions whose offsets are none of the text", place);
                return Ok(());
            };
            let id = format!("T{}", document.mentions.len() + 1);
            let mut mention = Mention { id, label: (*label).to_owned(), parts, ..Mention::default() };
            if mention.text(units.text()).replace(['\n', '\r', '\t'], " ") != *said {
                losses.add("mentions whose text differs from that at their offsets", place);
                return Ok(());
            }
            let codes = rest.first().filter(|codes| !codes.is_empty() && **codes != "-");
            mention.concepts.extend(codes.map(|codes| Concept { system: String::new(), code: (*codes).to_owned() }));
            if rest.len() > 1 {
                losses.add("columns after a mention's concept", place);
            }
            document.mentions.push(mention);
        }
        [_, label, first, second, rest @ ..] => {
            let concept = |code: &str| Argument { role: String::new(), target: Target::Concept(code.to_owned()) };
            let id = format!("R{}", document.relations.len() + 1);
            let arguments = vec![concept(first), concept(second)];
            let attributes = (rest.iter().filter(|value| !value.is_empty()))
                .map(|value| crate::Attribute { name: NOVELTY.into(), value: Some((*value).to_owned()) })
                .collect();
            document.relations.push(Relation { id, label: (*label).to_owned(), arguments, attributes });
        }
        _ => return Err(Error::at(number, "expected a mention or a relation in columns, found something else")),
    }
    Ok(())
}

/// The fifth column of a relation, as BioRED has it.
const NOVELTY: &str = "novelty";

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Writes documents; their text is one line for the title and one for all that follows.
pub fn write(documents: &[Document], losses: &mut Losses) -> String {
    let mut out = String::new();
    for document in documents {
        one(document, &mut out, losses);
    }
    out
}

fn one(document: &Document, out: &mut String, losses: &mut Losses) {
    let text = &document.text;
    let units = Units::new(text);
    let id = flat(document, &document.id, &['\t', '|', '\n', '\r', ' '], losses);
    let end = match document.passages.first() {
        Some(first) if first.range.start == 0 && text[first.range.end..].starts_with(['\n', ' ']) => first.range.end,
        _ => text.find('\n').unwrap_or(text.len()),
    };
    // The character between the two is one code point, whatever it is.
    let (title, rest) = (&text[..end], text[end..].chars().next().map(|c| &text[end + c.len_utf8()..]));
    for (what, part) in [("t", Some(title)), ("a", rest)] {
        if let Some(part) = part {
            if part.contains(['\n', '\r']) {
                losses.add("line breaks, written as spaces", &document.id);
            }
            let _ = writeln!(out, "{id}|{what}|{}", part.replace(['\n', '\r'], " "));
        }
    }
    if text[end..].starts_with(' ') {
        losses.add("the space after the title, read as a line break", &document.id);
    }
    let start = (end + 1).min(text.len());
    let expected = [("title", 0..end), ("abstract", start..text.len())];
    let expected: Vec<_> = expected.iter().filter(|(_, range)| !range.is_empty()).collect();
    let same = document.passages.len() == expected.len()
        && document.passages.iter().zip(&expected).all(|(p, e)| p.kind == e.0 && p.range == e.1);
    lose(document, losses, "passages other than title and abstract", usize::from(!same));
    for (number, mention) in (1..).zip(&document.mentions) {
        let (start, end) = given(&units, UNIT, &mention.hull());
        lose(document, losses, "parts of mentions, written as one span", usize::from(mention.parts.len() > 1));
        lose(document, losses, "ids", usize::from(mention.id != format!("T{number}")));
        lose(document, losses, "attributes", mention.attributes.len());
        lose(document, losses, "scores", usize::from(mention.score.is_some()));
        let said = text[mention.hull()].replace(['\n', '\r', '\t'], " ");
        let label = flat(document, &mention.label, &['\t', '\n', '\r'], losses);
        let code = code(document, mention, losses);
        let _ = writeln!(out, "{id}\t{start}\t{end}\t{said}\t{label}\t{code}");
    }
    for (number, relation) in (1..).zip(&document.relations) {
        lose(document, losses, "ids", usize::from(relation.id != format!("R{number}")));
        let codes: Vec<String> = relation.arguments.iter().filter_map(|a| linked(document, a, losses)).collect();
        let [first, second] = codes.as_slice() else {
            losses.add("relations that are not between two concepts", &document.id);
            continue;
        };
        lose(document, losses, "roles", relation.arguments.iter().filter(|a| !a.role.is_empty()).count());
        let label = flat(document, &relation.label, &['\t', '\n', '\r'], losses);
        let label = if is_number(&label) { format!("_{label}") } else { label };
        let _ = write!(out, "{id}\t{label}\t{first}\t{second}");
        for attribute in &relation.attributes {
            match (&attribute.value, attribute.name == NOVELTY) {
                (Some(value), true) => {
                    let _ = write!(out, "\t{}", flat(document, value, &['\t', '\n', '\r'], losses));
                }
                _ => losses.add("attributes", &document.id),
            }
        }
        out.push('\n');
    }
    lose(document, losses, "events", document.events.len());
    lose(document, losses, "classes of documents", document.classes.len());
    out.push('\n');
}

/// The concept that stands for an argument: itself, or that of a mention.
fn linked(document: &Document, argument: &Argument, losses: &mut Losses) -> Option<String> {
    let code = match &argument.target {
        Target::Concept(code) => code,
        Target::Item(id) => {
            let concept = document.mention(id)?.concepts.first()?;
            losses.add("which mention of a concept stands in a relation", &document.id);
            &concept.code
        }
    };
    Some(flat(document, code, &['\t', '\n', '\r'], losses))
}

fn code(document: &Document, mention: &Mention, losses: &mut Losses) -> String {
    let Some(first) = mention.concepts.first() else { return "-".into() };
    lose(document, losses, "concepts after the first", mention.concepts.len() - 1);
    lose(document, losses, "vocabularies of concepts", usize::from(!first.system.is_empty()));
    flat(document, &first.code, &['\t', '\n', '\r'], losses)
}

/// A column without what separates columns, and not empty.
fn flat(document: &Document, text: &str, bad: &[char], losses: &mut Losses) -> String {
    if !text.is_empty() && text != "-" && !text.contains(bad) {
        return text.to_owned();
    }
    losses.add("names that the format cannot carry, replaced by _", &document.id);
    if text.is_empty() || text == "-" { "_".to_owned() } else { text.replace(bad, "_") }
}
