//! Forms of corpora that need a licence or a registration, which whoever has one brings: i2b2 2010, ShARe/CLEF 2013, BioASQ.

use crate::brat::same_words;
use crate::document::{Argument, Document, Mention, Question, Relation};
use crate::offsets::{Offsets, Unit};
use crate::problem::{Problems, Trouble};
use crate::xml::{self, Element};
use serde_json::Value;
use std::collections::HashMap;
use std::ops::Range;

/// i2b2 2010: a text of one sentence per line, `concepts` of `c="text" line:word line:word||t="type"`, `relations` of
/// `c=".." l:w l:w||r="type"||c=".." l:w l:w`. Lines count from 1, words between white space from 0, ends inclusive. `names` are
/// those of the two files.
pub fn i2b2(
    id: &str,
    text: &str,
    names: [&str; 2],
    concepts: &str,
    relations: &str,
    problems: &mut Problems,
) -> Document {
    let mut document = Document::new(id, text);
    let mut at = 0;
    let mut words: Vec<Vec<Range<usize>>> = Vec::new();
    for line in text.split_inclusive('\n') {
        let places = line.split_whitespace().map(|word| {
            let start = word.as_ptr() as usize - text.as_ptr() as usize;
            start..start + word.len()
        });
        words.push(places.collect());
        document.parts.push(at..at + line.trim_end().len());
        at += line.len();
    }
    document.parts.retain(|part| !part.is_empty());
    let mut ids: HashMap<Range<usize>, String> = HashMap::new();
    for (number, line) in numbered(concepts) {
        let read = concept(line).and_then(|(spelled, place, rest)| {
            let label = rest.strip_prefix("||t=\"").and_then(|rest| rest.split('"').next()).ok_or(Trouble::Broken)?;
            Ok((found(&document.text, &words, spelled, place)?, label))
        });
        match read {
            Ok((place, label)) => {
                let id = format!("T{}", document.mentions.len() + 1);
                ids.entry(place.clone()).or_insert_with(|| id.clone());
                document.mentions.push(Mention::new(id, label, place));
            }
            Err(trouble) => problems.add(trouble, names[0], number),
        }
    }
    for (number, line) in numbered(relations) {
        let read = concept(line).and_then(|(first, one, rest)| {
            let (label, rest) =
                rest.strip_prefix("||r=\"").and_then(|r| r.split_once("\"||")).ok_or(Trouble::Broken)?;
            let (second, other, _) = concept(rest)?;
            let ends = [found(&document.text, &words, first, one)?, found(&document.text, &words, second, other)?];
            let [Some(head), Some(tail)] = ends.map(|place| ids.get(&place)) else { return Err(Trouble::Dangling) };
            let argument = |role: &str, id: &String| Argument { role: role.to_owned(), target: id.clone() };
            let arguments = vec![argument("Arg1", head), argument("Arg2", tail)];
            Ok(Relation { label: label.to_owned(), arguments, ..Relation::default() })
        });
        match read {
            Ok(relation) => {
                document.relations.push(Relation { id: format!("R{}", document.relations.len() + 1), ..relation });
            }
            Err(trouble) => problems.add(trouble, names[1], number),
        }
    }
    document
}

fn numbered(file: &str) -> impl Iterator<Item = (usize, &str)> {
    file.lines().enumerate().map(|(i, line)| (i + 1, line.trim())).filter(|(_, line)| !line.is_empty())
}

/// A place by line and word, from the first to the last.
type Words = [[usize; 2]; 2];

/// `c="text" 1:0 1:2` and what stands behind it.
fn concept(line: &str) -> Result<(&str, Words, &str), Trouble> {
    // The text may hold quotes: the last one before the places ends it.
    let rest = line.strip_prefix("c=\"").ok_or(Trouble::Broken)?;
    let head = rest.find("||").map_or(rest, |bars| &rest[..bars]);
    let quote = head.rfind("\" ").ok_or(Trouble::Broken)?;
    let places = head[quote + 2..].trim();
    let place = |place: &str| -> Option<[usize; 2]> {
        let (line, word) = place.split_once(':')?;
        Some([line.parse().ok()?, word.parse().ok()?])
    };
    let (from, to) = places.split_once(' ').ok_or(Trouble::Broken)?;
    let (Some(from), Some(to)) = (place(from), place(to.trim())) else { return Err(Trouble::Broken) };
    Ok((&head[..quote], [from, to], &rest[head.len()..]))
}

/// The bytes of a place whose words are those spelled.
fn found(text: &str, words: &[Vec<Range<usize>>], spelled: &str, place: Words) -> Result<Range<usize>, Trouble> {
    let word = |[line, word]: [usize; 2]| words.get(line.checked_sub(1)?)?.get(word);
    let (Some(first), Some(last)) = (word(place[0]), word(place[1])) else { return Err(Trouble::Outside) };
    if first.start >= last.end {
        return Err(Trouble::Outside);
    }
    // Concepts are spelled in lower case.
    let place = first.start..last.end;
    match same_words(&text[place.clone()].to_lowercase(), &spelled.to_lowercase()) {
        true => Ok(place),
        false => Err(Trouble::Differs),
    }
}

/// ShARe/CLEF 2013, task 1: lines `file||type||concept||start||end`, further `||start||end` for discontinuous mentions. Offsets are
/// code points, ends exclusive.
pub fn share(id: &str, text: &str, name: &str, pipes: &str, problems: &mut Problems) -> Document {
    let mut document = Document::new(id, text);
    let offsets = Offsets::new(text, Unit::CodePoint);
    for (number, line) in numbered(pipes) {
        let columns: Vec<&str> = line.split("||").collect();
        let [_, label, concept, places @ ..] = columns.as_slice() else {
            problems.add(Trouble::Broken, name, number);
            continue;
        };
        let numbers: Option<Vec<usize>> = places.iter().map(|digits| digits.trim().parse().ok()).collect();
        let numbers = numbers.filter(|numbers| !numbers.is_empty() && numbers.len().is_multiple_of(2));
        let Some(numbers) = numbers.filter(|_| !label.is_empty()) else {
            problems.add(Trouble::Broken, name, number);
            continue;
        };
        let places: Option<Vec<Range<usize>>> =
            numbers.chunks_exact(2).map(|ends| offsets.bytes(ends[0], ends[1])).collect();
        let Some(mut places) = places else {
            problems.add(Trouble::Outside, name, number);
            continue;
        };
        places.sort_by_key(|place| place.start);
        let concepts = vec![(*concept).to_owned()];
        let id = format!("T{}", document.mentions.len() + 1);
        document.mentions.push(Mention { places, concepts, ..Mention::new(id, *label, 0..0) });
    }
    document
}

/// Knowtator (and eHOST) XML, the other form of ShARe/CLEF: an `annotation` says where (`span` elements of code points, ends
/// exclusive, several for a discontinuous mention), the `classMention` of the same id what, the `stringSlotMention`s that it has
/// what else: `associated_code` the concept, others attributes.
pub fn knowtator(id: &str, text: &str, name: &str, file: &str, problems: &mut Problems) -> Document {
    let mut document = Document::new(id, text);
    let offsets = Offsets::new(text, Unit::CodePoint);
    let of = |element: &Element, child: &str, attribute: &str| -> Option<String> {
        element.child(child)?.attribute(attribute).map(str::to_owned)
    };
    let (mut slots, mut classes) = (HashMap::new(), HashMap::new());
    // The file is gone through once for each kind; the last time counts its problems.
    let mut twice = Problems::default();
    xml::each(file, "stringSlotMention", name, &mut twice, |slot, _, _| {
        let value = of(&slot, "stringSlotMentionValue", "value");
        if let (Some(id), Some(key), Some(value)) = (slot.attribute("id"), of(&slot, "mentionSlot", "id"), value) {
            slots.insert(id.to_owned(), (key, value));
        }
    });
    xml::each(file, "classMention", name, &mut twice, |class, _, _| {
        let has = class.all("hasSlotMention").filter_map(|slot| slots.get(slot.attribute("id")?).cloned());
        if let (Some(id), Some(label)) = (class.attribute("id"), of(&class, "mentionClass", "id")) {
            classes.insert(id.to_owned(), (label, has.collect::<Vec<_>>()));
        }
    });
    xml::each(file, "annotation", name, problems, |annotation, number, problems| {
        let ends = |span: &Element| -> Option<[usize; 2]> {
            let end = |key: &str| span.attribute(key)?.trim().parse().ok();
            Some([end("start")?, end("end")?])
        };
        let spans: Option<Vec<[usize; 2]>> = annotation.all("span").map(ends).collect();
        let Some(spans) = spans.filter(|spans| !spans.is_empty()) else {
            return problems.add(Trouble::Broken, name, number);
        };
        let Some((label, slots)) = of(&annotation, "mention", "id").and_then(|id| classes.get(&id)) else {
            return problems.add(Trouble::Dangling, name, number);
        };
        let places: Option<Vec<Range<usize>>> = spans.iter().map(|&[start, end]| offsets.bytes(start, end)).collect();
        let Some(mut places) = places else {
            return problems.add(Trouble::Outside, name, number);
        };
        places.sort_by_key(|place| place.start);
        // What is spelled has the fragments of a discontinuous mention in a row, with some mark between them.
        let spelled = annotation.child("spannedText").map(|spelled| spelled.text.as_str());
        if spelled.is_some_and(|s| spans.len() == 1 && !same_words(&text[places[0].clone()], s)) {
            return problems.add(Trouble::Differs, name, number);
        }
        let (concepts, attributes): (Vec<_>, Vec<_>) =
            slots.iter().cloned().partition(|(key, _)| key == "associated_code");
        let concepts = concepts.into_iter().map(|(_, code)| code).collect();
        let id = format!("T{}", document.mentions.len() + 1);
        document.mentions.push(Mention { places, concepts, attributes, ..Mention::new(id, label, 0..0) });
    });
    document
}

/// BioASQ: the yes/no questions of a file of questions, their snippets the context; other types are of other tasks.
pub fn bioasq(name: &str, file: &str, problems: &mut Problems) -> Vec<Question> {
    let read = serde_json::from_str::<Value>(file).ok();
    let Some(list) = read.as_ref().and_then(|file| file["questions"].as_array()) else {
        problems.add(Trouble::Broken, name, 0);
        return Vec::new();
    };
    let options = ["yes", "no"].map(str::to_owned).to_vec();
    let mut questions = Vec::new();
    for (number, one) in list.iter().enumerate().filter(|(_, one)| one["type"] == "yesno") {
        // Golden files of some years have a list of one.
        let exact = one["exact_answer"].as_str().or(one["exact_answer"][0].as_str()).unwrap_or_default().to_lowercase();
        let answer = options.iter().position(|option| *option == exact.trim());
        let snippets = one["snippets"].as_array().into_iter().flatten().filter_map(|snippet| snippet["text"].as_str());
        let context: Vec<&str> = snippets.map(str::trim).collect();
        let context = (!context.is_empty()).then(|| context.join("\n"));
        match (answer, one["id"].as_str(), one["body"].as_str()) {
            (Some(answer), Some(id), Some(body)) => {
                let question = body.split_whitespace().collect::<Vec<_>>().join(" ");
                let (id, options) = (id.to_owned(), options.clone());
                questions.push(Question { id, source: None, context, question, options, answer });
            }
            _ => problems.add(Trouble::Unlabelled, name, number + 1),
        }
    }
    questions
}
