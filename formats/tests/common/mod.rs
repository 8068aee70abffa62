//! Documents made up at random.

use biomistral_nlu_formats::{Argument, Attribute, Concept, Document, Event, Mention, Passage, Relation, Target};
use proptest::prelude::*;

/// What a document has beside mentions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Has {
    pub names_of_any_kind: bool,
    pub passages: bool,
    pub title_and_abstract: bool,
    pub parts: bool,
    pub attributes: bool,
    pub systems: bool,
    pub many_concepts: bool,
    pub scores: bool,
    pub events: bool,
    pub relations: bool,
    pub concept_links: bool,
    pub classes: bool,
}

/// Everything, with names that no format is made for.
pub const WILD: Has = Has {
    names_of_any_kind: true,
    passages: true,
    title_and_abstract: false,
    parts: true,
    attributes: true,
    systems: true,
    many_concepts: true,
    scores: true,
    events: true,
    relations: true,
    concept_links: true,
    classes: true,
};

/// A source of choices.
struct Dice(Vec<u32>, usize);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.1 += 1;
        self.0[self.1 % self.0.len()] as usize % sides.max(1)
    }
}

pub fn document(has: Has) -> impl Strategy<Value = Document> {
    let text = match has.title_and_abstract {
        true => "[a-dA-Dä\u{1F600}π.,|]{1,30}\n[a-dA-D ä\u{1F600}π.,|]{1,60}",
        false => "[a-dA-D ä\u{1F600}π\n.,<&>\"'|\r\t:;]{1,80}",
    };
    (text, prop::collection::vec(any::<u32>(), 97)).prop_map(move |(text, dice)| build(has, text, &mut Dice(dice, 0)))
}

fn name(has: Has, dice: &mut Dice) -> String {
    let plain = ["Drug", "Problem", "Dose-form", "Größe", "x", "A_B"];
    let odd =
        ["two words", "", "a:b", "tab\there", "-", "12", "type", "identifier", "<&\"'>", "new\nline", "|t|", "Trigger"];
    match has.names_of_any_kind && dice.roll(3) == 0 {
        true => odd[dice.roll(odd.len())].to_owned(),
        false => plain[dice.roll(plain.len())].to_owned(),
    }
}

fn attributes(has: Has, dice: &mut Dice) -> Vec<Attribute> {
    let mut attributes: Vec<Attribute> = Vec::new();
    for _ in 0..if has.attributes { dice.roll(3) } else { 0 } {
        let value = Some(name(has, dice)).filter(|value| !value.is_empty() && dice.roll(2) == 0);
        let name = name(has, dice);
        if !name.is_empty() && attributes.iter().all(|other| other.name != name) {
            attributes.push(Attribute { name, value });
        }
    }
    attributes
}

fn build(has: Has, text: String, dice: &mut Dice) -> Document {
    let places: Vec<usize> = (0..=text.len()).filter(|b| text.is_char_boundary(*b)).collect();
    let mut document = Document { id: format!("doc{}", dice.roll(9)), text: text.clone(), ..Document::default() };
    if has.title_and_abstract {
        let end = text.find('\n').unwrap();
        document.passages.push(Passage { kind: "title".into(), range: 0..end });
        document.passages.push(Passage { kind: "abstract".into(), range: end + 1..text.len() });
    } else if has.passages && dice.roll(2) == 0 {
        let cut = places[dice.roll(places.len())];
        for range in [0..cut, cut..text.len()].into_iter().filter(|range| !range.is_empty()) {
            document.passages.push(Passage { kind: format!("part{}", document.passages.len()), range });
        }
    }
    for number in 1..=dice.roll(5) {
        let mut cuts: Vec<usize> =
            (0..if has.parts { 4 } else { 2 }).map(|_| places[dice.roll(places.len())]).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let parts: Vec<_> = cuts.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
        if parts.is_empty() {
            continue;
        }
        let code = |dice: &mut Dice| format!("C{}", dice.roll(99));
        let concepts = (0..dice.roll(if has.many_concepts { 4 } else { 2 }))
            .map(|_| Concept { system: if has.systems { "MESH".into() } else { String::new() }, code: code(dice) })
            .collect();
        let id = format!("T{}", if has.names_of_any_kind { number + 3 } else { document.mentions.len() + 1 });
        let score = (has.scores && dice.roll(2) == 0).then(|| dice.roll(1000) as f64 / 1000.0);
        document.mentions.push(Mention {
            id,
            label: name(has, dice),
            parts,
            attributes: attributes(has, dice),
            concepts,
            score,
        });
    }
    if document.mentions.is_empty() {
        return document;
    }
    let mention =
        |dice: &mut Dice, document: &Document| document.mentions[dice.roll(document.mentions.len())].id.clone();
    for number in 1..=if has.events { dice.roll(3) } else { 0 } {
        let trigger = mention(dice, &document);
        let arguments = (0..dice.roll(3))
            .map(|_| Argument { role: format!("Role{}", dice.roll(3)), target: Target::Item(mention(dice, &document)) })
            .collect();
        let (label, attributes) = (name(has, dice), attributes(has, dice));
        document.events.push(Event { id: format!("E{number}"), label, trigger, arguments, attributes });
    }
    for number in 1..=if has.relations || has.concept_links { dice.roll(3) } else { 0 } {
        let target = |dice: &mut Dice| match has.concept_links && (!has.relations || dice.roll(2) == 0) {
            true => Target::Concept(format!("C{}", dice.roll(9))),
            false => Target::Item(mention(dice, &document)),
        };
        let role = |n: usize| if has.relations { format!("Arg{n}") } else { String::new() };
        let arguments = (1..=2).map(|n| Argument { role: role(n), target: target(dice) }).collect();
        let attributes = if has.relations { attributes(has, dice) } else { Vec::new() };
        document.relations.push(Relation { id: format!("R{number}"), label: name(has, dice), arguments, attributes });
    }
    if has.classes {
        document.classes = (0..dice.roll(3)).map(|_| name(has, dice)).collect();
    }
    document.check().unwrap();
    document
}

/// Attributes have no order.
pub fn sorted(mut document: Document) -> Document {
    let sort = |attributes: &mut Vec<Attribute>| attributes.sort_by(|a, b| a.name.cmp(&b.name));
    document.mentions.iter_mut().for_each(|m| sort(&mut m.attributes));
    document.relations.iter_mut().for_each(|r| sort(&mut r.attributes));
    document.events.iter_mut().for_each(|e| sort(&mut e.attributes));
    document
}
