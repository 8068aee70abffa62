//! PubTator: `id|t|title`, `id|a|abstract`, then tab-separated mentions and relations; a blank line ends a document.
//!
//! The text is title, one character, abstract; offsets are code points. A mention is `id start end text type [concept]`,
//! a relation `id type concept concept [note]`.

use crate::brat::same_words;
use crate::document::{Argument, Document, Mention, Relation};
use crate::offsets::{Offsets, Unit};
use crate::problem::{Problems, Trouble};
use crate::{Error, Result};
use std::fmt::Write;

/// Reads a file; `name` is the place that problems name.
pub fn read(name: &str, file: &str, problems: &mut Problems) -> Vec<Document> {
    let mut documents = Vec::new();
    let mut open: Option<Open> = None;
    for (number, line) in file.lines().enumerate().map(|(i, line)| (i + 1, line)) {
        if line.trim().is_empty() {
            documents.extend(open.take().map(Open::close));
            continue;
        }
        if let Some((id, part, text)) = header(line) {
            if open.as_ref().is_some_and(|open| open.document.id != id) {
                documents.extend(open.take().map(Open::close));
            }
            let open = open.get_or_insert_with(|| Open::new(id));
            open.part(part, text);
            continue;
        }
        let read = open.as_mut().map_or(Err(Trouble::Broken), |open| open.line(line));
        if let Err(trouble) = read {
            problems.add(trouble, name, number);
        }
    }
    documents.extend(open.map(Open::close));
    documents
}

fn header(line: &str) -> Option<(&str, char, &str)> {
    let (id, rest) = line.split_once('|')?;
    let (part, text) = rest.split_once('|')?;
    let part = match part {
        "t" => 't',
        "a" => 'a',
        _ => return None,
    };
    (!id.is_empty() && !id.contains('\t')).then_some((id, part, text))
}

struct Open {
    document: Document,
    offsets: Option<Offsets>,
}

impl Open {
    fn new(id: &str) -> Self {
        Open { document: Document::new(id, ""), offsets: None }
    }

    fn part(&mut self, part: char, text: &str) {
        let document = &mut self.document;
        if part == 'a' || !document.text.is_empty() {
            document.text.push('\n');
        }
        let start = document.text.len();
        document.text.push_str(text);
        document.parts.push(start..document.text.len());
    }

    fn line(&mut self, line: &str) -> std::result::Result<(), Trouble> {
        let columns: Vec<&str> = line.split('\t').collect();
        let document = &mut self.document;
        if columns.first().is_none_or(|id| *id != document.id) {
            return Err(Trouble::Broken);
        }
        match columns[1..] {
            [start, end, spelled, label, ref concept @ ..] if concept.len() < 3 && start.parse::<usize>().is_ok() => {
                let number = |digits: &str| digits.parse::<usize>().map_err(|_| Trouble::Broken);
                let offsets = self.offsets.get_or_insert_with(|| Offsets::new(&document.text, Unit::CodePoint));
                let place = offsets.bytes(number(start)?, number(end)?).ok_or(Trouble::Outside)?;
                if !same_words(&document.text[place.clone()], spelled) {
                    return Err(Trouble::Differs);
                }
                let id = format!("T{}", document.mentions.len() + 1);
                let concepts = concept.iter().flat_map(|concept| concept.split([',', ';', '|']));
                let concepts = match concept.first() {
                    // A variant's notation has bars of its own.
                    Some(whole) if whole.contains('|') => vec![(*whole).to_owned()],
                    _ => concepts.map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect(),
                };
                document.mentions.push(Mention { concepts, ..Mention::new(id, label, place) });
            }
            [label, head, tail, ref note @ ..] if note.len() < 2 => {
                let argument = |role: &str, target: &str| Argument { role: role.to_owned(), target: target.to_owned() };
                document.relations.push(Relation {
                    id: format!("R{}", document.relations.len() + 1),
                    label: label.to_owned(),
                    arguments: vec![argument("Arg1", head), argument("Arg2", tail)],
                    of_concepts: true,
                    attributes: note.iter().map(|note| ("Novelty".to_owned(), (*note).to_owned())).collect(),
                });
            }
            _ => return Err(Trouble::Broken),
        }
        Ok(())
    }

    fn close(self) -> Document {
        self.document
    }
}

/// A document in PubTator's form, offsets in code points.
///
/// # Errors
/// [`Error::Unwritable`] for what the format cannot say: line breaks in a part, discontinuous mentions.
pub fn write(document: &Document) -> Result<String> {
    let unwritable = |detail: &str| Error::Unwritable { id: document.id.clone(), detail: detail.to_owned() };
    if document.id.contains(['|', '\t', '\n', '\r']) || document.id.is_empty() {
        return Err(unwritable("an id that is empty or has a bar, tab or line break, which PubTator does not allow"));
    }
    let (title, body) = document.text.split_once('\n').unwrap_or((&document.text, ""));
    if body.contains(['\n', '\r']) || title.contains('\r') {
        return Err(unwritable("a text of more than two lines, which PubTator does not allow"));
    }
    let offsets = Offsets::new(&document.text, Unit::CodePoint);
    let mut out = format!("{0}|t|{title}\n{0}|a|{body}\n", document.id);
    for mention in &document.mentions {
        let [place] = mention.places.as_slice() else {
            return Err(unwritable("a discontinuous mention, which PubTator does not allow"));
        };
        let (Some(start), Some(end)) = (offsets.at(place.start), offsets.at(place.end)) else {
            return Err(unwritable("a mention outside the text"));
        };
        let spelled = mention.text(&document.text).replace(['\n', '\t'], " ");
        let _ = write!(out, "{}\t{start}\t{end}\t{spelled}\t{}", document.id, mention.label);
        let concepts = mention.concepts.join(",");
        let _ = if concepts.is_empty() { writeln!(out) } else { writeln!(out, "\t{concepts}") };
    }
    for relation in document.relations.iter().filter(|relation| relation.of_concepts) {
        let targets: Vec<&str> = relation.arguments.iter().map(|argument| argument.target.as_str()).collect();
        let _ = write!(out, "{}\t{}\t{}", document.id, relation.label, targets.join("\t"));
        let notes: String = relation.attributes.iter().map(|(_, value)| format!("\t{value}")).collect();
        let _ = writeln!(out, "{notes}");
    }
    out.push('\n');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_counts_what_is_wrong() {
        let file = "1|t|Aé b.\n1|a|Gave c.1A>G twice.\n1\t1\t2\té\tGene\t5,6\n1\t11\t17\tc.1A>G\tVariant\tc|SUB|A|1|G\n\
                    1\tAssociation\t5\tX1\tNovel\n\n2|t|Only a title\n2|a|\n";
        let mut problems = Problems::default();
        let documents = read("f", file, &mut problems);
        assert_eq!(problems, Problems::default());
        assert_eq!(documents[0].mentions[0].concepts, ["5", "6"]);
        assert_eq!(documents[0].mentions[1].text(&documents[0].text), "c.1A>G");
        assert_eq!(documents[1].text, "Only a title\n");
        let written: String = documents.iter().map(|document| write(document).unwrap()).collect();
        assert_eq!(read("f", &written, &mut problems), documents);

        let wrong = "1\t0\t1\tA\tGene\n1|t|Ab\n1|a|c\n2\t0\t1\tA\tGene\n1\t0\t9\tA\tGene\n1\t0\t1\tB\tGene\n1\tx\n";
        let documents = read("f", wrong, &mut problems);
        assert_eq!((documents.len(), documents[0].mentions.len()), (1, 0));
        let counts: Vec<_> = problems.counts().into_iter().collect();
        assert_eq!(counts, [(Trouble::Broken, 3), (Trouble::Outside, 1), (Trouble::Differs, 1)]);
    }
}
