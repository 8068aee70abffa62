//! XML as small trees: each element of a wanted name becomes one, the rest is passed over.

use crate::problem::{Problems, Trouble};
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

/// Deeper elements than any of these formats has: the file is none of them.
const DEEPEST: usize = 64;

/// An element.
#[derive(Debug, Default)]
pub(crate) struct Element {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    /// Text directly inside, joined.
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    pub fn all<'e>(&'e self, name: &'e str) -> impl Iterator<Item = &'e Element> {
        self.children.iter().filter(move |child| child.name == name)
    }
}

/// Calls `each` with every element called `wanted`, with its number from 1. What is cut off at the end of the file and what is
/// not well-formed is a problem; elements before it were given.
pub(crate) fn each(
    file: &str,
    wanted: &str,
    place: &str,
    problems: &mut Problems,
    mut each: impl FnMut(Element, usize, &mut Problems),
) {
    let mut reader = Reader::from_str(file);
    let config = reader.config_mut();
    config.allow_dangling_amp = true;
    config.expand_empty_elements = true;
    let mut open: Vec<Element> = Vec::new();
    let mut number = 0;
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) if !open.is_empty() || start.name().as_ref() == wanted => {
                if open.len() == DEEPEST {
                    problems.add(Trouble::Broken, place, number + 1);
                    return;
                }
                open.push(element(&start, place, number + 1, problems));
            }
            Ok(Event::End(_)) => {
                let Some(done) = open.pop() else { continue };
                match open.last_mut() {
                    Some(parent) => parent.children.push(done),
                    None => {
                        number += 1;
                        each(done, number, problems);
                    }
                }
            }
            Ok(Event::Text(text)) => {
                if let Some(inside) = open.last_mut() {
                    inside.text.push_str(&text.xml10_content());
                }
            }
            Ok(Event::CData(text)) => {
                if let Some(inside) = open.last_mut() {
                    inside.text.push_str(&text.xml10_content());
                }
            }
            Ok(Event::GeneralRef(reference)) => {
                let Some(inside) = open.last_mut() else { continue };
                match reference.resolve_char_ref() {
                    Ok(Some(c)) => inside.text.push(c),
                    Ok(None) => match resolve_predefined_entity(&reference) {
                        Some(text) => inside.text.push_str(text),
                        // An entity of a DTD, which is never fetched: as it is written.
                        None => {
                            inside.text.push('&');
                            inside.text.push_str(&reference);
                            inside.text.push(';');
                        }
                    },
                    Err(_) => problems.add(Trouble::Broken, place, number + 1),
                }
            }
            Ok(Event::Eof) => {
                if !open.is_empty() {
                    problems.add(Trouble::Truncated, place, number + 1);
                }
                return;
            }
            Ok(_) => {}
            Err(_) => {
                let trouble = if open.is_empty() { Trouble::Broken } else { Trouble::Truncated };
                problems.add(trouble, place, number + 1);
                return;
            }
        }
    }
}

fn element(start: &BytesStart<'_>, place: &str, number: usize, problems: &mut Problems) -> Element {
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        match attribute.map(|a| (a.key.as_ref().to_owned(), a.normalized_value(XmlVersion::Explicit1_0))) {
            Ok((key, Ok(value))) => attributes.push((key, value.into_owned())),
            _ => problems.add(Trouble::Broken, place, number),
        }
    }
    Element { name: start.name().as_ref().to_owned(), attributes, ..Element::default() }
}

/// Text as it may stand in an element or a quoted attribute.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Readers make line feeds of these; as references they stay.
            '\r' => out.push_str("&#13;"),
            _ => out.push(c),
        }
    }
    out
}
