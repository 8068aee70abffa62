//! Sentences with marks, in the forms of single corpora: BC2GM, ADE, PHEE, ChemProt, masked pairs.

use crate::brat::{check_targets, same_words};
use crate::document::{Argument, Document, Event, Mention, Relation};
use crate::offsets::{Offsets, Unit};
use crate::problem::{Problems, Trouble};
use serde_json::Value;
use std::collections::HashMap;
use std::ops::Range;

/// BC2GM: `sentences` of `id text`, and `genes` of `id|start end|text`, offsets counting no white space, ends inclusive;
/// `alternatives` likewise, empty where the file is not there.
pub fn bc2gm(
    names: [&str; 3],
    sentences: &str,
    genes: &str,
    alternatives: &str,
    problems: &mut Problems,
) -> Vec<Document> {
    let mut documents: Vec<Document> = Vec::new();
    let mut index = HashMap::new();
    for (number, line) in sentences.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match line.split_once(' ') {
            Some((id, text)) if index.insert(id, documents.len()).is_none() => documents.push(Document::new(id, text)),
            Some(_) => problems.add(Trouble::Repeated, names[0], number + 1),
            None => problems.add(Trouble::Broken, names[0], number + 1),
        }
    }
    type List = fn(&mut Document) -> &mut Vec<Mention>;
    let lists: [List; 2] = [|document| &mut document.mentions, |document| &mut document.alternatives];
    for ((name, lines), list) in [(names[1], genes), (names[2], alternatives)].into_iter().zip(lists) {
        for (number, line) in lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            match bc2gm_line(line, &index, &documents) {
                Ok((at, place)) => {
                    let into = list(&mut documents[at]);
                    into.push(Mention::new(format!("T{}", into.len() + 1), "GENE", place));
                }
                Err(trouble) => problems.add(trouble, name, number + 1),
            }
        }
    }
    documents
}

/// The document that a line is about, and the place.
fn bc2gm_line(
    line: &str,
    index: &HashMap<&str, usize>,
    documents: &[Document],
) -> Result<(usize, Range<usize>), Trouble> {
    let mut columns = line.splitn(3, '|');
    let mut next = || columns.next().ok_or(Trouble::Broken);
    let (id, place, spelled) = (next()?, next()?, next()?);
    let &at = index.get(id).ok_or(Trouble::Dangling)?;
    let document = documents.get(at).ok_or(Trouble::Dangling)?;
    let (start, end) = place.split_once(' ').ok_or(Trouble::Broken)?;
    let number = |digits: &str| digits.parse::<usize>().map_err(|_| Trouble::Broken);
    let (start, end) = (number(start)?, number(end)?);
    let mut solid = document.text.char_indices().filter(|(_, c)| !c.is_whitespace());
    let first = solid.nth(start).ok_or(Trouble::Outside)?.0;
    let last = match end.checked_sub(start).ok_or(Trouble::Outside)? {
        0 => document.text[first..].chars().next().map(|c| (first, c)),
        more => solid.nth(more - 1),
    };
    let (last, c) = last.ok_or(Trouble::Outside)?;
    let place = first..last + c.len_utf8();
    if !same_words(&document.text[place.clone()], spelled) {
        return Err(Trouble::Differs);
    }
    Ok((at, place))
}

/// ADE's `PMID|sentence|text|start|end|text|start|end`, places in the abstract, which is not there: the sentence's own place
/// is what most of its lines agree on. One document per sentence; the two mentions have the given labels.
pub fn ade(name: &str, file: &str, labels: [&str; 2], relation: &str, problems: &mut Problems) -> Vec<Document> {
    type Row<'a> = (usize, [(&'a str, usize, usize); 2]);
    let mut order: Vec<((&str, &str), Vec<Row<'_>>)> = Vec::new();
    let mut index: HashMap<(&str, &str), usize> = HashMap::new();
    for (number, line) in file.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let columns: Vec<&str> = line.trim_end().split('|').collect();
        let row = match columns[..] {
            [pmid, sentence, text1, start1, end1, text2, start2, end2] => {
                let numbers = [start1, end1, start2, end2].map(|digits| digits.parse::<usize>().ok());
                match numbers {
                    [Some(a), Some(b), Some(c), Some(d)] => Some(((pmid, sentence), [(text1, a, b), (text2, c, d)])),
                    _ => None,
                }
            }
            _ => None,
        };
        let Some((key, marks)) = row else {
            problems.add(Trouble::Broken, name, number + 1);
            continue;
        };
        let at = *index.entry(key).or_insert_with(|| {
            order.push((key, Vec::new()));
            order.len() - 1
        });
        order[at].1.push((number + 1, marks));
    }
    let mut documents = Vec::with_capacity(order.len());
    for (number, ((pmid, sentence), rows)) in order.into_iter().enumerate() {
        let mut document = Document::new(format!("{pmid}:{}", number + 1), sentence);
        document.source = Some(pmid.to_owned());
        let offsets = Offsets::new(sentence, Unit::CodePoint);
        let base = base(sentence, &offsets, rows.iter().flat_map(|(_, marks)| marks));
        for (line, marks) in rows {
            let mut ids = Vec::new();
            for ((text, start, end), label) in marks.into_iter().zip(labels) {
                let place = base.and_then(|base| offsets.bytes(start.checked_sub(base)?, end.checked_sub(base)?));
                match place.map(|place| (same_words(&sentence[place.clone()], text), place)) {
                    Some((true, place)) => ids.push(mention_at(&mut document, label, place)),
                    Some((false, _)) => problems.add(Trouble::Differs, name, line),
                    None => problems.add(Trouble::Outside, name, line),
                }
            }
            if let [first, second] = ids.as_slice() {
                let argument = |role: &str, target: &str| Argument { role: role.to_owned(), target: target.to_owned() };
                document.relations.push(Relation {
                    id: format!("R{}", document.relations.len() + 1),
                    label: relation.to_owned(),
                    arguments: vec![argument("Arg1", second), argument("Arg2", first)],
                    ..Relation::default()
                });
            }
        }
        documents.push(document);
    }
    documents
}

/// Where a sentence begins in its abstract, in code points: the place that explains most mentions, the first of several.
fn base<'a>(
    sentence: &str,
    offsets: &Offsets,
    marks: impl Iterator<Item = &'a (&'a str, usize, usize)>,
) -> Option<usize> {
    let mut votes: HashMap<usize, usize> = HashMap::new();
    for (text, start, _) in marks.filter(|(text, ..)| !text.is_empty()) {
        for (byte, _) in sentence.match_indices(text) {
            if let Some(base) = offsets.at(byte).and_then(|at| start.checked_sub(at)) {
                *votes.entry(base).or_default() += 1;
            }
        }
    }
    votes.into_iter().max_by_key(|&(base, votes)| (votes, std::cmp::Reverse(base))).map(|(base, _)| base)
}

/// The id of the mention of a label and place, made where there is none.
fn mention_at(document: &mut Document, label: &str, place: Range<usize>) -> String {
    let same = |mention: &&Mention| mention.label == label && mention.places == [place.clone()];
    if let Some(mention) = document.mentions.iter().find(same) {
        return mention.id.clone();
    }
    let id = format!("T{}", document.mentions.len() + 1);
    document.mentions.push(Mention::new(&id, label, place));
    id
}

/// PHEE: JSON lines of a sentence and its events, arguments nested one in the other; a mention per text and start.
pub fn phee(name: &str, file: &str, problems: &mut Problems) -> Vec<Document> {
    let mut documents = Vec::new();
    for (number, line) in file.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let read =
            serde_json::from_str::<Value>(line).ok().and_then(|line| phee_line(&line, name, number + 1, problems));
        match read {
            Some(document) => documents.push(document),
            None => problems.add(Trouble::Broken, name, number + 1),
        }
    }
    documents
}

fn phee_line(line: &Value, name: &str, number: usize, problems: &mut Problems) -> Option<Document> {
    let id = line["id"].as_str()?;
    let mut document = Document::new(id, line["context"].as_str()?);
    document.source = id.split_once('_').map(|(pmid, _)| pmid.to_owned());
    let offsets = Offsets::new(&document.text, Unit::CodePoint);
    let mut phee = Phee { document, offsets, name, number, problems };
    for annotation in line["annotations"].as_array()? {
        for event in annotation["events"].as_array()? {
            let triggers = phee.mentions(event.get("Trigger")?, event["event_type"].as_str()?);
            let Some(trigger) = triggers.first().cloned() else { continue };
            let mut made = Event {
                id: format!("E{}", phee.document.events.len() + 1),
                label: event["event_type"].as_str()?.to_owned(),
                trigger,
                ..Event::default()
            };
            for (role, value) in event.as_object()?.iter().filter(|(role, _)| *role != "Trigger") {
                phee.argument(role, value, &mut made, 0);
            }
            phee.document.events.push(made);
        }
    }
    let mut document = phee.document;
    check_targets(&mut document, name, phee.problems);
    Some(document)
}

struct Phee<'p> {
    document: Document,
    offsets: Offsets,
    name: &'p str,
    number: usize,
    problems: &'p mut Problems,
}

impl Phee<'_> {
    /// The mentions of `{"text": [[..]], "start": [[..]]}`: one per outer element, its fragments inside.
    fn mentions(&mut self, value: &Value, label: &str) -> Vec<String> {
        let lists = |key: &str| value[key].as_array().map_or(&[][..], Vec::as_slice);
        let mut ids = Vec::new();
        for (texts, starts) in lists("text").iter().zip(lists("start")) {
            let (Some(texts), Some(starts)) = (texts.as_array(), starts.as_array()) else { continue };
            let places = texts.iter().zip(starts).map(|(text, start)| {
                let (text, start) = (text.as_str()?, usize::try_from(start.as_u64()?).ok()?);
                let place = self.offsets.bytes(start, start.checked_add(text.chars().count())?)?;
                Some((same_words(&self.document.text[place.clone()], text), place))
            });
            let places: Option<Vec<(bool, Range<usize>)>> = places.collect();
            let trouble = match places {
                Some(places) if !places.is_empty() && places.iter().all(|(same, _)| *same) => {
                    let mut places: Vec<Range<usize>> = places.into_iter().map(|(_, place)| place).collect();
                    places.sort_by_key(|place| place.start);
                    let id = format!("T{}", self.document.mentions.len() + 1);
                    self.document.mentions.push(Mention { places, ..Mention::new(&id, label, 0..0) });
                    ids.push(id);
                    continue;
                }
                Some(places) if !places.is_empty() => Trouble::Differs,
                _ => Trouble::Outside,
            };
            self.problems.add(trouble, self.name, self.number);
        }
        ids
    }

    fn argument(&mut self, role: &str, value: &Value, event: &mut Event, depth: usize) {
        let Some(object) = value.as_object().filter(|_| depth < 8) else {
            return value.as_array().filter(|_| depth < 8).into_iter().flatten().for_each(|one| {
                if one.is_object() {
                    self.argument(role, one, event, depth + 1);
                }
            });
        };
        let targets = self.mentions(value, role).into_iter();
        event.arguments.extend(targets.map(|target| Argument { role: role.to_owned(), target }));
        match &object.get("value") {
            Some(Value::Bool(true)) => event.attributes.push((role.to_owned(), String::new())),
            Some(Value::String(value)) => event.attributes.push((role.to_owned(), value.clone())),
            _ => {}
        }
        for (role, value) in
            object.iter().filter(|(key, _)| !["text", "start", "entity_id", "value"].contains(&key.as_str()))
        {
            self.argument(role, value, event, depth + 1);
        }
    }
}

/// Token-level JSON lines: `doc_key`, `sentences` of tokens, `ner` `[start, end, label]` and `relations` `[s, e, s, e, label]` per
/// sentence, ends inclusive, tokens counted through the document. The text is the tokens with one space between them.
pub fn tokens(name: &str, file: &str, problems: &mut Problems) -> Vec<Document> {
    let mut documents = Vec::new();
    for (number, line) in file.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let read = serde_json::from_str::<Value>(line).ok();
        match read.and_then(|line| tokens_line(&line, name, number + 1, problems)) {
            Some(document) => documents.push(document),
            None => problems.add(Trouble::Broken, name, number + 1),
        }
    }
    documents
}

fn tokens_line(line: &Value, name: &str, number: usize, problems: &mut Problems) -> Option<Document> {
    let mut document = Document::new(line["doc_key"].as_str()?, "");
    let mut places = Vec::new();
    for sentence in line["sentences"].as_array()? {
        let start = document.text.len() + usize::from(!document.text.is_empty());
        for token in sentence.as_array()? {
            if !document.text.is_empty() {
                document.text.push(' ');
            }
            let start = document.text.len();
            document.text.push_str(token.as_str()?);
            places.push(start..document.text.len());
        }
        document.parts.push(start.min(document.text.len())..document.text.len());
    }
    document.tokens.clone_from(&places);
    let place = |start: &Value, end: &Value| {
        let at = |value: &Value| places.get(usize::try_from(value.as_u64()?).ok()?);
        let (start, end) = (at(start)?.start, at(end)?.end);
        (start < end).then_some(start..end)
    };
    let list =
        |key: &str| line[key].as_array().into_iter().flatten().flat_map(|of| of.as_array().into_iter().flatten());
    for entry in list("ner") {
        match (place(&entry[0], &entry[1]), entry[2].as_str()) {
            (Some(place), Some(label)) => drop(mention_at(&mut document, label, place)),
            _ => problems.add(Trouble::Outside, name, number),
        }
    }
    for entry in list("relations") {
        let find = |place: Option<Range<usize>>| {
            let place = place?;
            document.mentions.iter().find(|mention| mention.places == [place.clone()]).map(|mention| mention.id.clone())
        };
        let ends = (find(place(&entry[0], &entry[1])), find(place(&entry[2], &entry[3])), entry[4].as_str());
        let (Some(head), Some(tail), Some(label)) = ends else {
            problems.add(Trouble::Dangling, name, number);
            continue;
        };
        let argument = |role: &str, target: String| Argument { role: role.to_owned(), target };
        let relation = Relation {
            id: format!("R{}", document.relations.len() + 1),
            label: label.to_owned(),
            arguments: vec![argument("Arg1", head), argument("Arg2", tail)],
            ..Relation::default()
        };
        document.relations.push(relation);
    }
    Some(document)
}

/// A sentence whose pair stands masked as `@GENE$` and `@DISEASE$`, and its class: the masks become mentions, the class a relation
/// called `associated` (1) or `none` (0).
pub fn masked(id: String, text: &str, related: bool) -> Option<Document> {
    let mut document = Document::new(id, text);
    for (mask, label) in [("@GENE$", "gene"), ("@DISEASE$", "disease"), ("@CHEMICAL$", "chemical")] {
        if let Some(start) = text.find(mask) {
            mention_at(&mut document, label, start..start + mask.len());
        }
    }
    let argument = |mention: &Mention| Argument { role: mention.label.clone(), target: mention.id.clone() };
    let arguments: Vec<Argument> = document.mentions.iter().map(argument).collect();
    if arguments.len() != 2 {
        return None;
    }
    let label = if related { "associated" } else { crate::ppi::NONE }.to_owned();
    document.relations.push(Relation { id: "R1".to_owned(), label, arguments, ..Relation::default() });
    Some(document)
}
