//! brat standoff: a text file and lines that point into it. BioNLP-ST `.a1` and `.a2` are the same lines in two files.
//!
//! | line | says |
//! |---|---|
//! | `T1⇥Label 8 19⇥text` | a mention; stretches of a discontinuous one by `;` |
//! | `E1⇥Label:T4 Theme:T1 Cause:E2` | an event, its trigger first |
//! | `R1⇥Label Arg1:T1 Arg2:E5` | a relation |
//! | `*⇥Label T1 E2 ..` | a relation of equals |
//! | `A1⇥Label E1 value`, `M1⇥Label E1` | an attribute |
//! | `N1⇥Reference T1 Source:Id⇥text` | a concept of a mention |
//! | `#1⇥AnnotatorNotes T1⇥text` | a remark, not kept |
//!
//! Offsets are code points, as brat's server counts them.

use crate::document::{Argument, Document, Event, Mention, Relation};
use crate::offsets::{Offsets, Unit};
use crate::problem::{Problems, Trouble};
use crate::{Error, Result};
use std::collections::HashSet;
use std::fmt::Write;

/// Reads a document: its text and the standoff files about it, each with the name that problems give as their place.
pub fn read(id: &str, text: &str, standoff: &[(&str, &str)], problems: &mut Problems) -> Document {
    let mut document = Document::new(id, text);
    let offsets = Offsets::new(text, Unit::CodePoint);
    let mut ids = HashSet::new();
    // Attributes, concepts and arguments may stand before what they are about.
    let mut later = Vec::new();
    for (name, lines) in standoff {
        for (number, line) in lines.lines().enumerate().map(|(i, line)| (i + 1, line)) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let trouble = match read_line(line, &offsets, &mut document, &mut ids) {
                Ok(None) => continue,
                Ok(Some(about)) => {
                    later.push((about, *name, number));
                    continue;
                }
                Err(trouble) => trouble,
            };
            problems.add(trouble, name, number);
        }
    }
    for (about, name, line) in later {
        if !attach(&mut document, about) {
            problems.add(Trouble::Dangling, name, line);
        }
    }
    check_targets(&mut document, standoff.first().map_or(id, |(name, _)| name), problems);
    document
}

/// An attribute or concept, and the id of what it is said of.
struct About {
    target: String,
    name: String,
    value: Option<String>,
    concept: bool,
}

fn read_line(
    line: &str,
    offsets: &Offsets,
    document: &mut Document,
    ids: &mut HashSet<String>,
) -> std::result::Result<Option<About>, Trouble> {
    let mut columns = line.split('\t');
    let (id, body) = (columns.next().unwrap_or_default(), columns.next().ok_or(Trouble::Broken)?);
    let kind = id.chars().next().ok_or(Trouble::Broken)?;
    if kind != '*' && !ids.insert(id.to_owned()) {
        return Err(Trouble::Repeated);
    }
    let mut words = body.split(' ').filter(|word| !word.is_empty());
    match kind {
        'T' => {
            let mention = mention(id, body, columns.next().ok_or(Trouble::Broken)?, offsets, &document.text)?;
            document.mentions.push(mention);
        }
        'E' => {
            let mut arguments = words.map(argument).collect::<Option<Vec<_>>>().ok_or(Trouble::Broken)?;
            if arguments.is_empty() {
                return Err(Trouble::Broken);
            }
            let Argument { role: label, target: trigger } = arguments.remove(0);
            document.events.push(Event { id: id.to_owned(), label, trigger, arguments, attributes: Vec::new() });
        }
        'R' => {
            let label = words.next().ok_or(Trouble::Broken)?.to_owned();
            let arguments = words.map(argument).collect::<Option<Vec<_>>>().ok_or(Trouble::Broken)?;
            if arguments.len() < 2 {
                return Err(Trouble::Broken);
            }
            document.relations.push(Relation { id: id.to_owned(), label, arguments, ..Relation::default() });
        }
        '*' => {
            let label = words.next().ok_or(Trouble::Broken)?.to_owned();
            let arguments: Vec<Argument> =
                words.map(|target| Argument { role: String::new(), target: target.to_owned() }).collect();
            if arguments.len() < 2 {
                return Err(Trouble::Broken);
            }
            document.relations.push(Relation { label, arguments, ..Relation::default() });
        }
        'A' | 'M' => {
            let (name, target) = (words.next().ok_or(Trouble::Broken)?, words.next().ok_or(Trouble::Broken)?);
            let value = words.next().map(str::to_owned);
            return Ok(Some(About { target: target.to_owned(), name: name.to_owned(), value, concept: false }));
        }
        'N' => {
            let (_, target) = (words.next().ok_or(Trouble::Broken)?, words.next().ok_or(Trouble::Broken)?);
            let concept = words.next().ok_or(Trouble::Broken)?;
            return Ok(Some(About { target: target.to_owned(), name: concept.to_owned(), value: None, concept: true }));
        }
        _ => return Err(Trouble::Broken),
    }
    Ok(None)
}

fn mention(
    id: &str,
    body: &str,
    spelled: &str,
    offsets: &Offsets,
    text: &str,
) -> std::result::Result<Mention, Trouble> {
    let (label, places) = body.split_once(' ').ok_or(Trouble::Broken)?;
    let places = places.split(';').map(|place| {
        let (start, end) = place.trim().split_once(' ').ok_or(Trouble::Broken)?;
        let number = |digits: &str| digits.trim().parse::<usize>().map_err(|_| Trouble::Broken);
        offsets.bytes(number(start)?, number(end)?).ok_or(Trouble::Outside)
    });
    let places = places.collect::<std::result::Result<Vec<_>, _>>()?;
    let mention = Mention { places, ..Mention::new(id, label, 0..0) };
    if !same_words(&mention.text(text), spelled) {
        return Err(Trouble::Differs);
    }
    Ok(mention)
}

/// Whether two texts differ in white space alone: brat writes a line break inside a mention as a space.
pub(crate) fn same_words(a: &str, b: &str) -> bool {
    a.split_whitespace().eq(b.split_whitespace())
}

fn argument(word: &str) -> Option<Argument> {
    let (role, target) = word.split_once(':')?;
    (!role.is_empty() && !target.is_empty()).then(|| Argument { role: role.to_owned(), target: target.to_owned() })
}

fn attach(document: &mut Document, about: About) -> bool {
    let mention = document.mentions.iter_mut().find(|mention| mention.id == about.target);
    if about.concept {
        return mention.map(|mention| mention.concepts.push(about.name)).is_some();
    }
    let pair = (about.name, about.value.unwrap_or_default());
    if let Some(mention) = mention {
        mention.attributes.push(pair);
    } else if let Some(event) = document.events.iter_mut().find(|event| event.id == about.target) {
        event.attributes.push(pair);
    } else if let Some(relation) = document.relations.iter_mut().find(|relation| relation.id == about.target) {
        relation.attributes.push(pair);
    } else {
        return false;
    }
    true
}

/// Counts arguments of nothing and takes them out; an event without trigger and a relation of one go with them.
pub(crate) fn check_targets(document: &mut Document, place: &str, problems: &mut Problems) {
    loop {
        let known: HashSet<&str> = document
            .mentions
            .iter()
            .map(|mention| mention.id.as_str())
            .chain(document.events.iter().map(|event| event.id.as_str()))
            .collect();
        let known: HashSet<String> = known.into_iter().map(str::to_owned).collect();
        let (mut dangling, mut lost) = (0, 0);
        let mut keep = |arguments: &mut Vec<Argument>| {
            let before = arguments.len();
            arguments.retain(|argument| known.contains(&argument.target));
            dangling += before - arguments.len();
        };
        document.events.retain_mut(|event| {
            keep(&mut event.arguments);
            let fine = known.contains(&event.trigger);
            lost += usize::from(!fine);
            fine
        });
        document.relations.retain_mut(|relation| {
            if relation.of_concepts {
                return true;
            }
            keep(&mut relation.arguments);
            relation.arguments.len() > 1
        });
        (0..dangling + lost).for_each(|_| problems.add(Trouble::Dangling, place, 0));
        // Events that went may be arguments of others.
        if lost == 0 {
            return;
        }
    }
}

/// The `.ann` lines of a document, in code points.
///
/// # Errors
/// [`Error::Unwritable`] for ids that brat's lines cannot hold and for labels with white space.
pub fn write(document: &Document) -> Result<String> {
    let offsets = Offsets::new(&document.text, Unit::CodePoint);
    let unwritable = |detail: &str| Error::Unwritable { id: document.id.clone(), detail: detail.to_owned() };
    let word = |word: &str| match word.is_empty() || word.chars().any(|c| c.is_whitespace() || c == ':') {
        true => Err(unwritable("a name that is empty or has white space or a colon, which brat does not allow")),
        false => Ok(()),
    };
    let numbered = |id: &str, kind: char| match id.strip_prefix(kind) {
        Some(rest) if !rest.is_empty() && !rest.contains(char::is_whitespace) => Ok(()),
        _ => Err(unwritable("an id that is not brat's: T, E or R and a number")),
    };
    let mut out = String::new();
    let mut extra = Vec::new();
    for mention in &document.mentions {
        numbered(&mention.id, 'T')?;
        word(&mention.label)?;
        let places = mention.places.iter().map(|place| match (offsets.at(place.start), offsets.at(place.end)) {
            (Some(start), Some(end)) => Ok(format!("{start} {end}")),
            _ => Err(unwritable("a mention outside the text")),
        });
        let places = places.collect::<Result<Vec<_>>>()?.join(";");
        let spelled = mention.text(&document.text).split_whitespace().collect::<Vec<_>>().join(" ");
        let _ = writeln!(out, "{}\t{} {places}\t{spelled}", mention.id, mention.label);
        extra.extend(mention.attributes.iter().map(|pair| (&mention.id, pair)));
    }
    let arguments = |arguments: &[Argument]| -> Result<String> {
        let mut words = String::new();
        for argument in arguments {
            word(&argument.role)?;
            let _ = write!(words, " {}:{}", argument.role, argument.target);
        }
        Ok(words)
    };
    for event in &document.events {
        numbered(&event.id, 'E')?;
        word(&event.label)?;
        let _ = writeln!(out, "{}\t{}:{}{}", event.id, event.label, event.trigger, arguments(&event.arguments)?);
        extra.extend(event.attributes.iter().map(|pair| (&event.id, pair)));
    }
    for relation in &document.relations {
        word(&relation.label)?;
        if relation.of_concepts {
            return Err(unwritable("a relation of concepts, which brat does not have"));
        }
        if relation.arguments.iter().all(|argument| argument.role.is_empty()) {
            let targets: Vec<&str> = relation.arguments.iter().map(|argument| argument.target.as_str()).collect();
            let _ = writeln!(out, "*\t{} {}", relation.label, targets.join(" "));
            continue;
        }
        numbered(&relation.id, 'R')?;
        let _ = writeln!(out, "{}\t{}{}", relation.id, relation.label, arguments(&relation.arguments)?);
        extra.extend(relation.attributes.iter().map(|pair| (&relation.id, pair)));
    }
    for (number, (target, (name, value))) in extra.into_iter().enumerate() {
        word(name)?;
        let value = if value.is_empty() { String::new() } else { format!(" {value}") };
        let _ = writeln!(out, "A{}\t{name} {target}{value}", number + 1);
    }
    let concepts = document.mentions.iter().flat_map(|m| m.concepts.iter().map(move |concept| (&m.id, concept)));
    for (number, (target, concept)) in concepts.enumerate() {
        if concept.contains(char::is_whitespace) {
            return Err(unwritable("a concept with white space, which brat does not allow"));
        }
        let _ = writeln!(out, "N{}\tReference {target} {concept}\t", number + 1);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Zoë had no chest\npain, nor left and right arm pain.";

    fn parse(ann: &str) -> (Document, Problems) {
        let mut problems = Problems::default();
        let document = read("d", TEXT, &[("d.ann", ann)], &mut problems);
        (document, problems)
    }

    #[test]
    fn reads_what_it_writes() {
        let ann = "T1\tProblem 11 21\tchest pain\nT2\tProblem 27 31;42 50\tleft arm pain\nT3\tNegation 8 10\tno\n\
                   E1\tFinding:T3 About:T1 Also:T2\nE2\tFinding:T3 About:E1\nR1\tNear Arg1:T1 Arg2:E1\n*\tEquiv T1 T2\n\
                   A1\tNegated T1\nA2\tCertainty E1 high\nN1\tReference T1 ICD10:R07\t\n";
        let (document, problems) = parse(ann);
        assert_eq!(problems, Problems::default());
        // Bytes: one more than code points after the e with two dots.
        assert_eq!(document.mentions[1].places, [28..32, 43..51]);
        assert_eq!(document.mentions[1].text(TEXT), "left arm pain");
        assert_eq!(document.mentions[0].concepts, ["ICD10:R07"]);
        assert_eq!(document.events[1].arguments[0].target, "E1");
        assert_eq!(document.resolve("E2").unwrap().id, "T3");
        let again = parse(&write(&document).unwrap()).0;
        assert_eq!(again, document);
    }

    #[test]
    fn every_broken_line_is_a_problem_and_nothing_else_is_lost() {
        let good = "T9\tProblem 11 16\tchest";
        for (line, trouble) in [
            ("T1\tProblem 11 99\tchest", Trouble::Outside),
            ("T1\tProblem 16 11\tchest", Trouble::Outside),
            ("T1\tProblem 11 17\tchests", Trouble::Differs),
            ("T1\tProblem 11 16", Trouble::Broken),
            ("T1\tProblem 11,16\tchest", Trouble::Broken),
            ("T1\tProblem 11 18446744073709551616\tchest", Trouble::Broken),
            ("T9\tProblem 0 3\tZoë", Trouble::Repeated),
            ("E1\tFinding:T7", Trouble::Dangling),
            ("R1\tNear Arg1:T9 Arg2:T7", Trouble::Dangling),
            ("R1\tNear Arg1:T9", Trouble::Broken),
            ("A1\tNegated T7", Trouble::Dangling),
            ("X1\twhat", Trouble::Broken),
            ("no tab", Trouble::Broken),
        ] {
            let (document, problems) = parse(&format!("{good}\n{line}\n# remark\n\n"));
            assert_eq!(document.mentions.len(), 1, "{line}");
            assert_eq!((document.events.len(), document.relations.len()), (0, 0), "{line}");
            assert_eq!(problems.counts().into_iter().collect::<Vec<_>>(), [(trouble, 1)], "{line}");
        }
    }
}
