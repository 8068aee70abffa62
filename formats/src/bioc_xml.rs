//! BioC's XML notation: a flat state machine over the tags, so that depth costs nothing.

use crate::bioc::{Infons, OFFSET_UNIT, Raw, RawAnnotation, RawPassage, RawRelation, raw, unit_of};
use crate::{Document, Error, Losses, Result, Unit};
use quick_xml::Reader;
use quick_xml::escape::{minimal_escape, unescape};
use quick_xml::events::{BytesStart, Event};
use std::borrow::Cow;
use std::fmt::Write;

/// Reads a collection.
///
/// # Errors
/// XML that is not well-formed, by its line; an entity that is not one of XML's own; a collection or document that cannot be
/// understood.
pub fn read(file: &str, unit: Unit, losses: &mut Losses) -> Result<Vec<Document>> {
    let mut reader = Reader::from_str(file);
    reader.config_mut().expand_empty_elements = true;
    let mut reading = Reading { unit, ..Reading::default() };
    loop {
        let place = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        let here = |why: &str| Error::at(1 + file.bytes().take(place).filter(|b| *b == b'\n').count(), why);
        // The parser's own message may quote the file.
        let event = reader.read_event().map_err(|_| here("expected well-formed XML, found something else"))?;
        match event {
            Event::Start(tag) => reading.start(&tag).map_err(|why| here(&why.why))?,
            Event::End(tag) => reading.end(tag.name().0, losses).map_err(|why| here(&why.why))?,
            Event::Text(text) => reading.text.push_str(&text.xml10_content()),
            Event::CData(text) => reading.text.push_str(&text.xml10_content()),
            Event::GeneralRef(name) => {
                let reference = format!("&{};", name.xml10_content());
                let resolved =
                    unescape(&reference).map_err(|_| here("expected an entity of XML's own, found another"))?;
                reading.text.push_str(&resolved);
            }
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Empty(_) => {}
        }
    }
    match (reading.depth.is_empty(), reading.collection) {
        (true, true) => Ok(reading.documents),
        (false, _) => Err(Error::new("expected the end of the collection, found the end of the file")),
        (true, false) => Err(Error::new("expected a BioC collection, found none")),
    }
}

/// Deepest nesting that is read.
const DEEPEST: usize = 64;

#[derive(Default)]
struct Reading {
    unit: Unit,
    documents: Vec<Document>,
    collection: bool,
    depth: Vec<String>,
    /// Text of the element that is open.
    text: String,
    key: String,
    infons: Infons,
    document: Raw,
    passage: RawPassage,
    sentence: (usize, String),
    annotation: RawAnnotation,
    relation: RawRelation,
}

impl Reading {
    fn start(&mut self, tag: &BytesStart<'_>) -> Result<()> {
        let name = tag.name().0.to_owned();
        match name.as_str() {
            "collection" if self.depth.is_empty() => self.collection = true,
            _ if self.depth.is_empty() => return Err(Error::new("expected a collection, found another element")),
            "document" => self.document = Raw::default(),
            "passage" => self.passage = RawPassage::default(),
            "sentence" => self.sentence = Default::default(),
            "annotation" => {
                self.annotation = RawAnnotation { id: attribute(tag, "id")?.unwrap_or_default(), ..Default::default() };
            }
            "relation" => {
                self.relation = RawRelation { id: attribute(tag, "id")?.unwrap_or_default(), ..Default::default() };
            }
            "infon" => self.key = attribute(tag, "key")?.unwrap_or_default(),
            "location" => {
                let number = |key| -> Result<usize> {
                    let found = attribute(tag, key)?.and_then(|text| text.parse().ok());
                    found.ok_or_else(|| Error::new(format!("location: expected a number {key}, found something else")))
                };
                self.annotation.locations.push((number("offset")?, number("length")?));
            }
            "node" => {
                let refid = attribute(tag, "refid")?.unwrap_or_default();
                self.relation.nodes.push((refid, attribute(tag, "role")?.unwrap_or_default()));
            }
            _ => {}
        }
        if self.depth.len() == DEEPEST {
            return Err(Error::new(format!("expected at most {DEEPEST} elements in each other, found more")));
        }
        self.depth.push(name);
        self.text.clear();
        Ok(())
    }

    fn end(&mut self, name: &str, losses: &mut Losses) -> Result<()> {
        self.depth.pop();
        let text = std::mem::take(&mut self.text);
        let number = |text: &str| {
            text.trim().parse::<usize>().map_err(|_| Error::new("offset: expected a number, found something else"))
        };
        let parent = self.depth.last().cloned().unwrap_or_default();
        match (name, parent.as_str()) {
            ("id", "document") => self.document.id = text,
            ("infon", parent) => {
                let infon = (std::mem::take(&mut self.key), text);
                match parent {
                    "collection" => {
                        if infon.0 == OFFSET_UNIT && !self.documents.is_empty() {
                            return Err(Error::new("expected the collection's infons before its documents"));
                        }
                        self.infons.push(infon);
                    }
                    "document" => self.document.infons.push(infon),
                    "passage" => self.passage.infons.push(infon),
                    "annotation" => self.annotation.infons.push(infon),
                    "relation" => self.relation.infons.push(infon),
                    _ => losses.add("infons of sentences", &self.document.id),
                }
            }
            ("offset", "passage") => self.passage.offset = number(&text)?,
            ("offset", "sentence") => self.sentence.0 = number(&text)?,
            ("text", "passage") => self.passage.text = Some(text),
            ("text", "sentence") => self.sentence.1 = text,
            ("text", "annotation") => self.annotation.text = text,
            ("sentence", _) => self.passage.sentences.push(std::mem::take(&mut self.sentence)),
            ("annotation", _) => self.document.annotations.push(std::mem::take(&mut self.annotation)),
            ("relation", _) => self.document.relations.push(std::mem::take(&mut self.relation)),
            ("passage", _) => self.document.passages.push(std::mem::take(&mut self.passage)),
            ("document", _) => {
                let unit = unit_of(&self.infons, self.unit)?;
                self.documents.push(std::mem::take(&mut self.document).document(unit, losses)?);
            }
            _ => {}
        }
        Ok(())
    }
}

fn attribute(tag: &BytesStart<'_>, key: &str) -> Result<Option<String>> {
    let wrong = || Error::new("expected attributes of XML's own form, found something else");
    for found in tag.attributes() {
        let found = found.map_err(|_| wrong())?;
        if found.key.0 == key {
            return unescape(&found.value).map(|value| Some(value.into_owned())).map_err(|_| wrong());
        }
    }
    Ok(None)
}

/// Writes a collection whose infon `offset_unit` names `unit`.
///
/// # Errors
/// A control character, which XML cannot carry, by document and byte.
pub fn write(documents: &[Document], unit: Unit, losses: &mut Losses) -> Result<String> {
    let mut out =
        String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE collection SYSTEM \"BioC.dtd\">\n");
    out.push_str("<collection>\n<source></source>\n<date></date>\n<key></key>\n");
    let _ = writeln!(out, "<infon key=\"{OFFSET_UNIT}\">{}</infon>", unit.name());
    for document in documents {
        one(&raw(document, unit, losses), &mut out).map_err(|byte| {
            Error::new(format!(
                "document {:?}: XML cannot carry the control character at byte {byte} of a text or name",
                document.id
            ))
        })?;
    }
    out.push_str("</collection>\n");
    Ok(out)
}

fn one(document: &Raw, out: &mut String) -> std::result::Result<(), usize> {
    let _ = writeln!(out, "<document>\n<id>{}</id>", carry(&document.id)?);
    infons(&document.infons, out)?;
    for passage in &document.passages {
        out.push_str("<passage>\n");
        infons(&passage.infons, out)?;
        let text = passage.text.as_deref().unwrap_or_default();
        let _ = writeln!(out, "<offset>{}</offset>\n<text>{}</text>\n</passage>", passage.offset, carry(text)?);
    }
    for annotation in &document.annotations {
        let _ = writeln!(out, "<annotation id=\"{}\">", carry(&annotation.id)?);
        infons(&annotation.infons, out)?;
        for (offset, length) in &annotation.locations {
            let _ = writeln!(out, "<location offset=\"{offset}\" length=\"{length}\"/>");
        }
        let _ = writeln!(out, "<text>{}</text>\n</annotation>", carry(&annotation.text)?);
    }
    for relation in &document.relations {
        let _ = writeln!(out, "<relation id=\"{}\">", carry(&relation.id)?);
        infons(&relation.infons, out)?;
        for (refid, role) in &relation.nodes {
            let _ = writeln!(out, "<node refid=\"{}\" role=\"{}\"/>", carry(refid)?, carry(role)?);
        }
        out.push_str("</relation>\n");
    }
    out.push_str("</document>\n");
    Ok(())
}

fn infons(infons: &Infons, out: &mut String) -> std::result::Result<(), usize> {
    for (key, value) in infons {
        let _ = writeln!(out, "<infon key=\"{}\">{}</infon>", carry(key)?, carry(value)?);
    }
    Ok(())
}

/// Escaped, white space that a parser would change as references; or the byte of a character that XML 1.0 does not have.
fn carry(text: &str) -> std::result::Result<Cow<'_, str>, usize> {
    let allowed = |c: char| !matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}');
    match text.char_indices().find(|(_, c)| !allowed(*c)) {
        Some((byte, _)) => Err(byte),
        None => Ok(minimal_escape(text)
            .replace('"', "&quot;")
            .replace('\r', "&#13;")
            .replace('\t', "&#9;")
            .replace('\n', "&#10;")
            .into()),
    }
}
