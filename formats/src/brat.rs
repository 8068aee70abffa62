//! brat standoff: `.txt` beside `.ann`, or `.a1` and `.a2` (<https://brat.nlplab.org/standoff.html>).
//!
//! Offsets are code points in practice. What is written names its unit in a note on the first mention,
//! `#1  OffsetUnit T1  codepoint`, which brat shows and other readers skip; a note like it in what is read decides.

use crate::document::{given, lose, parts};
use crate::{
    Argument, Attribute, Concept, Document, Error, Event, Losses, Mention, Relation, Result, Target, Unit, Units,
};
use std::collections::HashMap;
use std::fmt::Write;

/// Reads the annotations of one text; `.a1` and `.a2` are given together.
///
/// A mention whose text differs from that at its offsets is left out and counted, and what needs it as well.
///
/// # Errors
/// A line that is no annotation, by its number (counted through all of `annotations`).
pub fn read(id: &str, text: &str, annotations: &[&str], unit: Unit, losses: &mut Losses) -> Result<Document> {
    let lines = || annotations.iter().flat_map(|a| a.split('\n')).map(|line| line.strip_suffix('\r').unwrap_or(line));
    let unit = match lines().find_map(unit_note) {
        None => unit,
        Some(name) => Unit::of_name(name).ok_or_else(|| Error::new("OffsetUnit: expected byte, codepoint or utf16"))?,
    };
    let units = Units::new(text);
    let mut document = Document { id: id.to_owned(), text: text.to_owned(), ..Document::default() };
    let mut reading = Reading::default();
    for (number, line) in (1..).zip(lines()) {
        let place = || format!("{id}:{number}");
        let expected = |what: &str| Error::at(number, format!("expected {what}, found something else"));
        match line.chars().next() {
            None => {}
            Some('T') => {
                match mention(line, unit, &units).ok_or_else(|| expected("ID<tab>LABEL START END<tab>TEXT"))? {
                    Ok(mention) => document.mentions.push(mention),
                    Err(why) => losses.add(why, place()),
                }
            }
            Some('E') => document.events.push(event(line).ok_or_else(|| expected("ID<tab>LABEL:ID ROLE:ID ..."))?),
            Some('R') => {
                document.relations.push(relation(line).ok_or_else(|| expected("ID<tab>LABEL ROLE:ID ROLE:ID"))?);
            }
            Some('*') => {
                reading.loose += 1;
                let id = format!("*{}", reading.loose);
                document.relations.push(loose(line, id).ok_or_else(|| expected("*<tab>LABEL ID ID ..."))?);
            }
            Some('A' | 'M') => {
                reading.attributes.push(attribute(line).ok_or_else(|| expected("ID<tab>NAME ID VALUE"))?)
            }
            Some('N') => {
                reading.concepts.push(concept(line).ok_or_else(|| expected("ID<tab>Reference ID SYSTEM:CODE"))?)
            }
            Some('#') if unit_note(line).is_some() => {}
            Some('#') => losses.add("notes", place()),
            Some(_) => return Err(expected("a line that begins with T, E, R, *, A, M, N or #")),
        }
    }
    reading.settle(&mut document, losses)?;
    document.check()?;
    Ok(document)
}

/// Lines that speak of items which may come later.
#[derive(Default)]
struct Reading {
    attributes: Vec<(String, Attribute)>,
    concepts: Vec<(String, Concept)>,
    loose: usize,
}

impl Reading {
    /// Gives attributes and concepts to their items, and leaves out what points to items that are not there.
    fn settle(self, document: &mut Document, losses: &mut Losses) -> Result<()> {
        let gone = "items that point to what is not there";
        let place = document.id.clone();
        loop {
            let known: std::collections::HashSet<&str> = (document.mentions.iter().map(|m| m.id.as_str()))
                .chain(document.relations.iter().map(|r| r.id.as_str()))
                .chain(document.events.iter().map(|e| e.id.as_str()))
                .collect();
            let there = |a: &Argument| a.target.item().is_none_or(|id| known.contains(id));
            let fine = |e: &Event| known.contains(e.trigger.as_str()) && e.arguments.iter().all(there);
            let keep: Vec<bool> = document.events.iter().map(fine).collect();
            let relations: Vec<bool> = document.relations.iter().map(|r| r.arguments.iter().all(there)).collect();
            let before = keep.len() + relations.len();
            let (mut keep, mut relations) = (keep.into_iter(), relations.into_iter());
            document.events.retain(|_| keep.next().unwrap_or(true));
            document.relations.retain(|_| relations.next().unwrap_or(true));
            let lost = before - document.events.len() - document.relations.len();
            lose(document, losses, gone, lost);
            if lost == 0 {
                break;
            }
        }
        let mut at: HashMap<String, &mut Vec<Attribute>> = HashMap::new();
        let mut concepts: HashMap<String, &mut Vec<Concept>> = HashMap::new();
        for mention in &mut document.mentions {
            concepts.insert(mention.id.clone(), &mut mention.concepts);
            at.insert(mention.id.clone(), &mut mention.attributes);
        }
        at.extend(document.relations.iter_mut().map(|r| (r.id.clone(), &mut r.attributes)));
        at.extend(document.events.iter_mut().map(|e| (e.id.clone(), &mut e.attributes)));
        for (id, attribute) in self.attributes {
            match at.get_mut(&id) {
                Some(attributes) => attributes.push(attribute),
                None => losses.add(gone, &place),
            }
        }
        for (id, concept) in self.concepts {
            match concepts.get_mut(&id) {
                Some(concepts) => concepts.push(concept),
                None => losses.add(gone, &place),
            }
        }
        Ok(())
    }
}

fn unit_note(line: &str) -> Option<&str> {
    let (_, rest) = line.strip_prefix('#')?.split_once('\t')?;
    let (kind, name) = rest.split_once('\t')?;
    kind.starts_with("OffsetUnit ").then_some(name)
}

fn id(text: &str) -> Option<String> {
    (text.len() > 1 && !text.contains(char::is_whitespace)).then(|| text.to_owned())
}

/// A mention, or why it is left out.
fn mention(line: &str, unit: Unit, units: &Units<'_>) -> Option<std::result::Result<Mention, &'static str>> {
    let mut columns = line.splitn(3, '\t');
    let (name, place, said) = (id(columns.next()?)?, columns.next()?, columns.next().unwrap_or_default());
    let (label, offsets) = place.split_once(' ')?;
    let pair = |part: &str| {
        let (start, end) = part.trim().split_once(' ')?;
        Some((start.parse().ok()?, end.trim().parse().ok()?))
    };
    let offsets: Vec<(usize, usize)> = offsets.split(';').map(pair).collect::<Option<_>>()?;
    let Some(parts) = parts(units, unit, &offsets) else {
        return Some(Err("mentions whose offsets are none of the text"));
    };
    let mention = Mention { id: name, label: label.to_owned(), parts, ..Mention::default() };
    let same = mention.text(units.text()).replace(['\n', '\r', '\t'], " ") == said.replace('\t', " ");
    Some(if same { Ok(mention) } else { Err("mentions whose text differs from that at their offsets") })
}

fn argument(word: &str) -> Option<Argument> {
    let (role, target) = word.rsplit_once(':')?;
    Some(Argument { role: role.to_owned(), target: Target::Item(id(target)?) })
}

fn event(line: &str) -> Option<Event> {
    let (name, rest) = line.split_once('\t')?;
    let mut words = rest.split_ascii_whitespace();
    let (label, trigger) = words.next()?.rsplit_once(':')?;
    let arguments = words.map(argument).collect::<Option<_>>()?;
    let attributes = Vec::new();
    Some(Event { id: id(name)?, label: label.to_owned(), trigger: trigger.to_owned(), arguments, attributes })
}

fn relation(line: &str) -> Option<Relation> {
    let (name, rest) = line.split_once('\t')?;
    let mut words = rest.split_ascii_whitespace();
    let label = words.next()?.to_owned();
    Some(Relation {
        id: id(name)?,
        label,
        arguments: words.map(argument).collect::<Option<_>>()?,
        attributes: Vec::new(),
    })
}

fn loose(line: &str, id: String) -> Option<Relation> {
    let mut words = line.strip_prefix("*\t")?.split_ascii_whitespace();
    let label = words.next()?.to_owned();
    let argument = |word: &str| Argument { role: String::new(), target: Target::Item(word.to_owned()) };
    Some(Relation { id, label, arguments: words.map(argument).collect(), attributes: Vec::new() })
}

fn attribute(line: &str) -> Option<(String, Attribute)> {
    let (name, rest) = line.split_once('\t')?;
    id(name)?;
    let mut words = rest.split_ascii_whitespace();
    let (name, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let value = words.next().map(str::to_owned);
    words.next().is_none().then_some((target, Attribute { name, value }))
}

fn concept(line: &str) -> Option<(String, Concept)> {
    let (name, rest) = line.split_once('\t')?;
    id(name)?;
    let reference = rest.split('\t').next()?;
    let mut words = reference.splitn(3, ' ');
    let (_, target, entry) = (words.next()?, words.next()?.to_owned(), words.next()?);
    let (system, code) = entry.split_once(':')?;
    Some((target, Concept { system: system.to_owned(), code: code.to_owned() }))
}

/// The annotations of `document`, for a file beside its text.
pub fn write(document: &Document, unit: Unit, losses: &mut Losses) -> String {
    let units = Units::new(&document.text);
    let names = names(document, losses);
    let name = |id: &str| names.get(id).map_or(id, String::as_str).to_owned();
    let mut out = String::new();
    if let Some(first) = document.mentions.first() {
        let _ = writeln!(out, "#1\tOffsetUnit {}\t{}", name(&first.id), unit.name());
    }
    let mut word = |text: &str| word(document, text, losses);
    let mut attributes = Vec::new();
    let mut concepts = Vec::new();
    for mention in &document.mentions {
        let parts: Vec<String> = (mention.parts.iter().map(|part| given(&units, unit, part)))
            .map(|(start, end)| format!("{start} {end}"))
            .collect();
        let said = mention.text(&document.text).replace(['\n', '\r', '\t'], " ");
        let _ = writeln!(out, "{}\t{} {}\t{said}", name(&mention.id), word(&mention.label), parts.join(";"));
        attributes.extend(mention.attributes.iter().map(|attribute| (name(&mention.id), attribute)));
        concepts.extend(mention.concepts.iter().map(|concept| (mention, concept)));
    }
    for event in &document.events {
        let _ = write!(out, "{}\t{}:{}", name(&event.id), word(&event.label), name(&event.trigger));
        for (argument, target) in event.arguments.iter().filter_map(|a| Some((a, a.target.item()?))) {
            let _ = write!(out, " {}:{}", word(&argument.role), name(target));
        }
        out.push('\n');
        attributes.extend(event.attributes.iter().map(|attribute| (name(&event.id), attribute)));
    }
    for relation in &document.relations {
        if is_loose(relation) {
            let targets: Vec<String> = relation.arguments.iter().filter_map(|a| a.target.item()).map(&name).collect();
            let _ = writeln!(out, "*\t{} {}", word(&relation.label), targets.join(" "));
            continue;
        }
        if relation.arguments.iter().any(|a| a.target.item().is_none()) {
            continue;
        }
        let _ = write!(out, "{}\t{}", name(&relation.id), word(&relation.label));
        for (argument, target) in relation.arguments.iter().filter_map(|a| Some((a, a.target.item()?))) {
            let _ = write!(out, " {}:{}", word(&argument.role), name(target));
        }
        out.push('\n');
        attributes.extend(relation.attributes.iter().map(|attribute| (name(&relation.id), attribute)));
    }
    for (number, (target, attribute)) in (1..).zip(attributes) {
        let _ = write!(out, "A{number}\t{} {target}", word(&attribute.name));
        if let Some(value) = &attribute.value {
            let _ = write!(out, " {}", word(value));
        }
        out.push('\n');
    }
    for (number, (mention, concept)) in (1..).zip(concepts) {
        let (system, code) = (word(&concept.system).replace(':', "_"), word(&concept.code));
        let _ = writeln!(out, "N{number}\tReference {} {system}:{code}\t", name(&mention.id));
    }
    out
}

/// A relation without roles: brat's `*` lines.
fn is_loose(relation: &Relation) -> bool {
    !relation.arguments.is_empty()
        && relation.attributes.is_empty()
        && relation.arguments.iter().all(|a| a.role.is_empty() && a.target.item().is_some())
}

/// Ids as brat wants them: a letter by kind and a number. Counts what cannot be written.
fn names(document: &Document, losses: &mut Losses) -> HashMap<String, String> {
    let mut names = HashMap::new();
    let (mut loose, mut renamed) = (0, 0);
    let mut give = |id: &str, letter: char, number: usize, all_fit: bool| {
        let new = if all_fit { id.to_owned() } else { format!("{letter}{}", number + 1) };
        renamed += usize::from(new != id);
        names.insert(id.to_owned(), new);
    };
    let fits = |id: &str, letter| {
        id.strip_prefix(letter).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    let all = document.mentions.iter().all(|m| fits(&m.id, 'T'));
    document.mentions.iter().enumerate().for_each(|(i, m)| give(&m.id, 'T', i, all));
    let all = document.events.iter().all(|e| fits(&e.id, 'E'));
    document.events.iter().enumerate().for_each(|(i, e)| give(&e.id, 'E', i, all));
    let all = document.relations.iter().filter(|r| !is_loose(r)).all(|r| fits(&r.id, 'R'));
    for (i, relation) in document.relations.iter().enumerate() {
        match is_loose(relation) {
            false => give(&relation.id, 'R', i, all),
            true => {
                loose += 1;
                give(&relation.id, '*', loose - 1, false);
            }
        }
    }
    lose(document, losses, "ids, replaced by brat's", renamed);
    lose(document, losses, "scores", document.mentions.iter().filter(|m| m.score.is_some()).count());
    lose(document, losses, "passages", document.passages.len());
    lose(document, losses, "classes of documents", document.classes.len());
    let concept = |a: &Argument| a.target.item().is_none();
    let linked = document.relations.iter().filter(|r| r.arguments.iter().any(concept)).count();
    lose(document, losses, "relations between concepts", linked);
    let unsaid = document.events.iter().flat_map(|e| &e.arguments).filter(|a| concept(a)).count();
    lose(document, losses, "arguments that are concepts", unsaid);
    names
}

/// A name that brat can carry: without white space, `:` and emptiness.
fn word(document: &Document, text: &str, losses: &mut Losses) -> String {
    let bad = |c: char| c.is_whitespace() || c == ':';
    if !text.is_empty() && !text.contains(bad) {
        return text.to_owned();
    }
    losses.add("names with white space or colons, replaced by _", &document.id);
    if text.is_empty() { "_".to_owned() } else { text.replace(bad, "_") }
}
