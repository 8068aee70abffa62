//! BioC XML: documents of passages (and sentences), annotations with locations, relations of nodes.
//!
//! Offsets count from the beginning of the document. The DTD says bytes, every corpus seen counts code points; a writer names
//! the unit in the collection's infons, a reader goes by that name and takes code points without one. The text of a
//! document is its passages at their offsets, spaces between them.

use crate::brat::{check_targets, same_words};
use crate::document::{Argument, Document, Mention, Relation};
use crate::offsets::{Offsets, Unit};
use crate::problem::{Problems, Trouble};
use crate::xml::{self, Element, escape};
use crate::{Error, Result};
use std::fmt::Write;

/// The infon of a collection that names its unit.
pub(crate) const UNIT_KEY: &str = "offset_unit";

/// Longest gap between passages: a larger offset is a mistake, not white space.
const LONGEST_GAP: usize = 4096;

/// Reads a file; `name` is the place that problems name. A file cut off inside a document gives the documents before it.
pub fn read(name: &str, file: &str, problems: &mut Problems) -> Vec<Document> {
    let unit = unit_of(file);
    let mut documents = Vec::new();
    xml::each(file, "document", name, problems, |element, number, problems| {
        match Parts::of_xml(&element) {
            Some(parts) => documents.push(parts.document(unit, name, number, problems)),
            None => problems.add(Trouble::Broken, name, number),
        };
    });
    documents
}

/// The unit that the collection names before its first document.
fn unit_of(file: &str) -> Unit {
    let head = file.split("<document").next().unwrap_or_default();
    let named = head.split_once(&format!("key=\"{UNIT_KEY}\">")).and_then(|(_, rest)| rest.split('<').next());
    named.and_then(|name| Unit::parse(name.trim())).unwrap_or(Unit::CodePoint)
}

/// A document of either BioC, before its offsets are looked at.
#[derive(Default)]
pub(crate) struct Parts {
    pub id: String,
    pub passages: Vec<(usize, String)>,
    pub annotations: Vec<Annotation>,
    pub relations: Vec<Relation>,
    pub notes: Vec<(String, String)>,
}

#[derive(Default)]
pub(crate) struct Annotation {
    pub id: String,
    pub label: String,
    pub places: Vec<(usize, usize)>,
    pub text: Option<String>,
    pub infons: Vec<(String, String)>,
}

impl Parts {
    fn of_xml(element: &Element) -> Option<Self> {
        let mut parts = Parts { id: element.child("id")?.text.trim().to_owned(), ..Parts::default() };
        parts.notes = infons(element);
        parts.holder(element)?;
        for passage in element.all("passage") {
            let offset = offset(passage)?;
            match passage.child("text") {
                Some(text) => parts.passages.push((offset, text.text.clone())),
                // A passage of sentences has no text of its own.
                None => {
                    for sentence in passage.all("sentence") {
                        let text = sentence.child("text").map(|text| text.text.clone()).unwrap_or_default();
                        parts.passages.push((self::offset(sentence)?, text));
                    }
                }
            }
            parts.holder(passage)?;
            passage.all("sentence").try_for_each(|sentence| parts.holder(sentence))?;
        }
        Some(parts)
    }

    /// Annotations and relations directly inside an element.
    fn holder(&mut self, element: &Element) -> Option<()> {
        for annotation in element.all("annotation") {
            let mut places = Vec::new();
            for location in annotation.all("location") {
                let number = |name| location.attribute(name)?.parse::<usize>().ok();
                let offset = number("offset")?;
                places.push((offset, offset.checked_add(number("length")?)?));
            }
            let mut infons = infons(annotation);
            let label = take(&mut infons, "type").unwrap_or_default();
            let text = annotation.child("text").map(|text| text.text.clone());
            let id = annotation.attribute("id").unwrap_or_default().to_owned();
            self.annotations.push(Annotation { id, label, places, text, infons });
        }
        for relation in element.all("relation") {
            let node = |node: &Element| {
                let attribute = |name| node.attribute(name).unwrap_or_default().to_owned();
                Argument { role: attribute("role"), target: attribute("refid") }
            };
            let mut infons = infons(relation);
            self.relations.push(Relation {
                id: relation.attribute("id").unwrap_or_default().to_owned(),
                label: take(&mut infons, "type").unwrap_or_default(),
                arguments: relation.all("node").map(node).collect(),
                attributes: infons,
                ..Relation::default()
            });
        }
        Some(())
    }

    /// The document, with its offsets checked.
    pub fn document(self, unit: Unit, name: &str, number: usize, problems: &mut Problems) -> Document {
        let mut document = Document::new(self.id, "");
        let mut length = 0;
        for (offset, text) in self.passages {
            if offset < length || offset - length > LONGEST_GAP {
                problems.add(Trouble::Outside, name, number);
            } else {
                document.text.extend(std::iter::repeat_n(' ', offset - length));
                length = offset;
            }
            let start = document.text.len();
            length += unit.count(&text);
            document.text.push_str(&text);
            document.parts.push(start..document.text.len());
        }
        let offsets = Offsets::new(&document.text, unit);
        let mut seen = std::collections::HashSet::new();
        for annotation in self.annotations {
            let places = annotation.places.iter().map(|&(start, end)| offsets.bytes(start, end));
            let trouble = match places.collect::<Option<Vec<_>>>() {
                Some(places) if !places.is_empty() => {
                    let mention = Mention { places, ..Mention::new(annotation.id, annotation.label, 0..0) };
                    let same = annotation.text.is_none_or(|text| same_words(&mention.text(&document.text), &text));
                    let infons = annotation.infons.into_iter();
                    let (concepts, attributes): (Vec<_>, Vec<_>) =
                        infons.partition(|(key, _)| key.eq_ignore_ascii_case("identifier"));
                    let concepts = concepts.into_iter().map(|(_, value)| value).collect();
                    match (same, seen.insert(mention.id.clone())) {
                        (true, true) => {
                            document.mentions.push(Mention { concepts, attributes, ..mention });
                            continue;
                        }
                        (true, false) => Trouble::Repeated,
                        (false, _) => Trouble::Differs,
                    }
                }
                _ => Trouble::Outside,
            };
            problems.add(trouble, name, number);
        }
        document.relations = self.relations;
        document.notes = self.notes.into_iter().collect();
        check_targets(&mut document, name, problems);
        document
    }
}

fn offset(element: &Element) -> Option<usize> {
    element.child("offset")?.text.trim().parse().ok()
}

fn infons(element: &Element) -> Vec<(String, String)> {
    let pair = |infon: &Element| Some((infon.attribute("key")?.to_owned(), infon.text.clone()));
    element.all("infon").filter_map(pair).collect()
}

pub(crate) fn take(infons: &mut Vec<(String, String)>, key: &str) -> Option<String> {
    let at = infons.iter().position(|(name, _)| name == key)?;
    Some(infons.remove(at).1)
}

/// A collection of documents, one passage each part, offsets in `unit`, which the collection names.
///
/// # Errors
/// [`Error::Unwritable`] for events, which BioC has no form for, and for characters that XML has none for.
pub fn write(documents: &[Document], unit: Unit) -> Result<String> {
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<collection>\n<source></source><date></date><key></key>\n",
    );
    let _ = writeln!(out, "<infon key=\"{UNIT_KEY}\">{}</infon>", unit.name());
    for document in documents {
        let unwritable = |detail: &str| Error::Unwritable { id: document.id.clone(), detail: detail.to_owned() };
        if document.text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t' | '\r')) {
            return Err(unwritable("a control character, which XML does not allow"));
        }
        if !document.events.is_empty() {
            return Err(unwritable("an event, which BioC has no form for"));
        }
        let offsets = Offsets::new(&document.text, unit);
        let at = |byte: usize| offsets.at(byte).ok_or_else(|| unwritable("a mention inside a character"));
        let _ = writeln!(out, "<document><id>{}</id>", escape(&document.id));
        for (key, value) in &document.notes {
            let _ = writeln!(out, "<infon key=\"{}\">{}</infon>", escape(key), escape(value));
        }
        let whole = std::iter::once(0..document.text.len()).collect();
        let parts = if document.parts.is_empty() { &whole } else { &document.parts };
        for (number, part) in parts.iter().enumerate() {
            let text = &document.text[part.clone()];
            let _ = writeln!(out, "<passage><offset>{}</offset><text>{}</text>", at(part.start)?, escape(text));
            if number == 0 {
                for mention in &document.mentions {
                    write_annotation(&mut out, mention, &document.text, &at)?;
                }
            }
            out.push_str("</passage>\n");
        }
        for relation in document.relations.iter().filter(|relation| !relation.of_concepts) {
            let id = escape(&relation.id);
            let _ = write!(out, "<relation id=\"{id}\"><infon key=\"type\">{}</infon>", escape(&relation.label));
            for (key, value) in &relation.attributes {
                let _ = write!(out, "<infon key=\"{}\">{}</infon>", escape(key), escape(value));
            }
            for argument in &relation.arguments {
                let (target, role) = (escape(&argument.target), escape(&argument.role));
                let _ = write!(out, "<node refid=\"{target}\" role=\"{role}\"/>");
            }
            out.push_str("</relation>\n");
        }
        out.push_str("</document>\n");
    }
    out.push_str("</collection>\n");
    Ok(out)
}

fn write_annotation(
    out: &mut String,
    mention: &Mention,
    text: &str,
    at: &dyn Fn(usize) -> Result<usize>,
) -> Result<()> {
    let (id, label) = (escape(&mention.id), escape(&mention.label));
    let _ = write!(out, "<annotation id=\"{id}\"><infon key=\"type\">{label}</infon>");
    let concepts = mention.concepts.iter().map(|concept| ("identifier", concept.as_str()));
    let attributes = mention.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    for (key, value) in concepts.chain(attributes) {
        let _ = write!(out, "<infon key=\"{}\">{}</infon>", escape(key), escape(value));
    }
    for place in &mention.places {
        let start = at(place.start)?;
        let _ = write!(out, "<location offset=\"{start}\" length=\"{}\"/>", at(place.end)? - start);
    }
    let _ = writeln!(out, "<text>{}</text></annotation>", escape(&mention.text(text)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "<?xml version='1.0'?><collection><source/><document><id>7</id>\
        <passage><offset>0</offset><text>A &lt; 5 &#181;g</text>\
        <annotation id='T1'><infon key='type'>dose</infon><location offset='4' length='4'/><text>5 µg</text></annotation></passage>\
        <passage><offset>9</offset><sentence><offset>9</offset><text>No pain.</text>\
        <annotation id='T2'><infon key='type'>problem</infon><infon key='identifier'>R52</infon>\
        <location offset='12' length='4'/><text>pain</text></annotation>\
        <relation id='R1'><infon key='type'>for</infon><node refid='T1' role='head'/><node refid='T2' role='tail'/></relation>\
        </sentence></passage></document>";

    #[test]
    fn reads_what_it_writes_in_any_unit() {
        let mut problems = Problems::default();
        let documents = read("f", &format!("{FILE}</collection>"), &mut problems);
        assert_eq!(problems, Problems::default());
        let document = &documents[0];
        assert_eq!(document.text, "A < 5 µg No pain.");
        assert_eq!(document.mentions[1].text(&document.text), "pain");
        assert_eq!(document.relations[0].arguments[1].target, "T2");
        for unit in [Unit::Byte, Unit::CodePoint, Unit::Utf16] {
            let again = read("f", &write(&documents, unit).unwrap(), &mut problems);
            assert_eq!(again, documents);
        }
        assert_eq!(problems, Problems::default());
    }

    #[test]
    fn a_file_cut_off_gives_the_documents_before() {
        let mut problems = Problems::default();
        let cut = format!("{FILE}{}", &FILE[FILE.find("<document").unwrap()..FILE.len() - 40]);
        assert_eq!(read("f", &cut, &mut problems).len(), 1);
        assert_eq!(problems.counts().into_iter().collect::<Vec<_>>(), [(Trouble::Truncated, 1)]);
    }

    #[test]
    fn wrong_offsets_are_problems() {
        let mut problems = Problems::default();
        let wrong =
            FILE.replace("offset='4' length='4'", "offset='4' length='400'").replace("<text>pain<", "<text>pane<");
        let documents = read("f", &wrong, &mut problems);
        assert!(documents[0].mentions.is_empty() && documents[0].relations.is_empty());
        let counts: Vec<_> = problems.counts().into_iter().collect();
        assert_eq!(counts, [(Trouble::Outside, 1), (Trouble::Differs, 1), (Trouble::Dangling, 2)]);
    }
}
