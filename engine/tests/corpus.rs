//! Extraction over the abstracts of BC5CDR's train and development files: spans are verbatim and lie where their offsets say, in all
//! three units, with non-ASCII text before and inside them.
//!
//! `BMN_CORPORA` names the folder of the corpora. Every 60th abstract is read, `BMN_CORPUS_EVERY=1` reads all 1,000.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod common;

use biomistral_nlu::decode::SpanPolicy;
use biomistral_nlu::task::{
    Document, Engine, EngineOptions, ExtractRequest, Label, OffsetUnit, RunOptions, Span, Template,
};
use std::path::Path;
use std::sync::Arc;

/// Title and abstract of each record of a PubTator file, joined by a line break.
fn abstracts(path: &Path) -> Vec<Document> {
    let file = std::fs::read_to_string(path).unwrap();
    let mut documents: Vec<Document> = Vec::new();
    for line in file.lines() {
        if let Some((id, title)) = line.split_once("|t|") {
            documents.push(Document { id: id.to_owned(), text: title.to_owned() });
        } else if let Some((_, text)) = line.split_once("|a|") {
            let document = documents.last_mut().unwrap();
            document.text = format!("{}\n{text}", document.text);
        }
    }
    documents
}

/// The corpus is ASCII; clinical text is not. Two- to four-byte characters, surrogate pairs, combining marks.
fn less_ascii(text: &str) -> String {
    ["🩺 ", text]
        .concat()
        .replace(" with ", " с ")
        .replace("mg", "µg")
        .replace("ine ", "ïne ")
        .replace("patient", "pa\u{301}tient👩‍⚕️")
}

/// `start..end` of the text, counted without the engine's help.
fn slice(text: &str, unit: OffsetUnit, start: usize, end: usize) -> String {
    match unit {
        OffsetUnit::Byte => text[start..end].to_owned(),
        OffsetUnit::CodePoint => text.chars().skip(start).take(end - start).collect(),
        OffsetUnit::Utf16 => String::from_utf16(&text.encode_utf16().collect::<Vec<_>>()[start..end]).unwrap(),
    }
}

fn check(document: &Document, unit: OffsetUnit, span: &Span) {
    assert!(!span.text.is_empty());
    assert_eq!(slice(&document.text, unit, span.start, span.end), span.text, "{}", document.id);
    assert!(span.occurrences.iter().any(|place| (place.start, place.end) == (span.start, span.end)));
    for place in &span.occurrences {
        assert_eq!(slice(&document.text, unit, place.start, place.end), span.text, "{}", document.id);
    }
}

#[test]
fn bc5cdr_spans_are_verbatim_in_all_units() {
    let name = "bc5cdr_spans_are_verbatim_in_all_units";
    let Some(model) = common::demo_model(name) else { return };
    let Some(corpora) = std::env::var_os("BMN_CORPORA") else {
        println!("SKIPPED {name}: set BMN_CORPORA to the folder of the corpora");
        return;
    };
    let folder = Path::new(&corpora).join("dev/bc5cdr/CDR.Corpus.v010516");
    let every = std::env::var("BMN_CORPUS_EVERY").map_or(60, |n| n.parse().unwrap());
    let options = EngineOptions { model, template: Some(Template::Model), ..EngineOptions::default() };
    let mut session = Arc::new(Engine::open(&options).unwrap()).session().unwrap();
    let request = ExtractRequest {
        labels: vec![Label::new("Disease"), Label::new("Chemical")],
        policy: SpanPolicy { max_words: Some(6), max_spans: Some(6), ..SpanPolicy::default() },
    };
    let mut documents = abstracts(&folder.join("CDR_TrainingSet.PubTator.txt"));
    documents.extend(abstracts(&folder.join("CDR_DevelopmentSet.PubTator.txt")));
    assert_eq!(documents.len(), 1000);
    let documents: Vec<Document> = documents.into_iter().step_by(every).collect();
    let (mut spans, mut beyond_ascii) = (0, 0);
    for (i, batch) in documents.chunks(8).enumerate() {
        let changed: Vec<Document> = batch
            .iter()
            .enumerate()
            .map(|(j, d)| if j % 2 == 0 { d.clone() } else { Document { text: less_ascii(&d.text), ..d.clone() } })
            .collect();
        let unit = [OffsetUnit::Utf16, OffsetUnit::CodePoint, OffsetUnit::Byte][i % 3];
        let run = RunOptions { unit, scores: false, batch: 8, ..RunOptions::default() };
        for (document, answer) in changed.iter().zip(session.extract(&changed, &request, &run).unwrap()) {
            let answer = answer.unwrap();
            assert_eq!(answer.id, document.id);
            answer.spans.iter().for_each(|span| check(document, unit, span));
            spans += answer.spans.len();
            beyond_ascii += answer.spans.iter().filter(|s| s.start > 0 && !document.text.is_ascii()).count();
        }
    }
    println!("{} abstracts, {spans} spans, {beyond_ascii} of them behind non-ASCII text", documents.len());
    assert!(spans >= documents.len() && beyond_ascii > 0);
}
