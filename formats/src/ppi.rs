//! The XML of DDI-2013 and of the five protein-interaction corpora: sentences with entities and pairs.
//!
//! `<sentence id text><entity id charOffset="23-31;40-44" type text/><pair e1 e2 ddi type/><interaction e1 e2 type/></sentence>`.
//! DDI's offsets end at the last character, the other corpora's one past it; `inclusive` says which. A pair that does not
//! interact is a relation called `none`.

use crate::brat::check_targets;
use crate::document::{Argument, Document, Mention, Relation};
use crate::offsets::{Offsets, Unit};
use crate::problem::{Problems, Trouble};
use crate::xml::{self, Element};

/// The label of a pair that a file lists as not related.
pub const NONE: &str = "none";

/// Reads a file, one document per sentence with the id of its document as source.
pub fn read(name: &str, file: &str, inclusive: bool, problems: &mut Problems) -> Vec<Document> {
    let mut documents = Vec::new();
    xml::each(file, "document", name, problems, |element, number, problems| {
        let source = element.attribute("origId").or(element.attribute("id")).unwrap_or_default();
        for sentence in element.all("sentence") {
            match read_sentence(sentence, inclusive, name, number, problems) {
                Some(document) => documents.push(Document { source: Some(source.to_owned()), ..document }),
                None => problems.add(Trouble::Broken, name, number),
            }
        }
    });
    documents
}

fn read_sentence(
    sentence: &Element,
    inclusive: bool,
    name: &str,
    number: usize,
    problems: &mut Problems,
) -> Option<Document> {
    let mut document = Document::new(sentence.attribute("id")?, sentence.attribute("text")?);
    let offsets = Offsets::new(&document.text, Unit::CodePoint);
    for entity in sentence.all("entity") {
        let place = |place: &str| {
            let (start, end) = place.split_once('-')?;
            let end = end.parse::<usize>().ok()?.checked_add(usize::from(inclusive))?;
            offsets.bytes(start.parse().ok()?, end)
        };
        let places = entity.attribute("charOffset")?.split([';', ',']).map(place).collect::<Option<Vec<_>>>();
        let Some(places) = places.filter(|places| !places.is_empty()) else {
            problems.add(Trouble::Outside, name, number);
            continue;
        };
        let mention = Mention { places, ..Mention::new(entity.attribute("id")?, entity.attribute("type")?, 0..0) };
        let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
        if letters(&mention.text(&document.text)) != letters(entity.attribute("text")?) {
            problems.add(Trouble::Differs, name, number);
            continue;
        }
        document.mentions.push(mention);
    }
    for pair in sentence.children.iter().filter(|child| child.name == "pair" || child.name == "interaction") {
        let related =
            pair.attribute("ddi").or(pair.attribute("interaction")).is_none_or(|yes| yes.eq_ignore_ascii_case("true"));
        let argument =
            |role: &str, key| Some(Argument { role: role.to_owned(), target: pair.attribute(key)?.to_owned() });
        document.relations.push(Relation {
            id: pair.attribute("id").unwrap_or_default().to_owned(),
            label: if related { pair.attribute("type").unwrap_or("interaction") } else { NONE }.to_owned(),
            arguments: vec![argument("e1", "e1")?, argument("e2", "e2")?],
            ..Relation::default()
        });
    }
    check_targets(&mut document, name, problems);
    Some(document)
}
