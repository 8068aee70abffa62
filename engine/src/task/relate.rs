//! Relations: candidate pairs by the labels that the schema allows, one choice per pair.

use super::answer::{PairAnswer, RelateAnswer, ShownPrompt, Span, Status};
use super::ask_choice::{ChoiceAsk, Chosen, Content};
use super::ask_spans::{Found, FoundSpan, Place, SpanAsk};
use super::extract::Units;
use super::mark::{mark, one_line};
use super::prompts::Wording;
use super::request::{Mentions, RelateDocument, RelateRequest};
use super::schema::{NONE, Relation};
use super::session::Work;
use crate::{Error, Result};
use serde_json::json;
use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// An entity with its bytes.
struct Entity {
    place: Range<usize>,
    span: Span,
}

/// A document on its way: its entities, the pairs to ask, the prompts so far.
struct Reading {
    entities: Vec<Entity>,
    pairs: Vec<(usize, usize)>,
    prompts: Vec<ShownPrompt>,
}

pub(crate) fn relate(
    work: &mut Work<'_>,
    documents: &[RelateDocument],
    request: &RelateRequest,
) -> Vec<Result<RelateAnswer>> {
    let asks = documents.iter().filter(|document| document.entities.is_none()).map(|document| {
        if request.labels.is_empty() {
            return Err(Error::invalid("entities: expected them in the document, or labels to extract in the request"));
        }
        Ok(SpanAsk {
            purpose: "extract",
            wording: Wording::Extract,
            labels: request.labels.clone(),
            variables: json!({}),
            source: document.text.clone(),
            shown: None,
            window: None,
        })
    });
    let mut found = work.find(asks.collect(), &request.policy).into_iter();
    let readings: Vec<Result<Reading>> = documents
        .iter()
        .map(|document| {
            let found = if document.entities.is_none() { found.next() } else { None };
            read(work, document, found.transpose()?, request)
        })
        .collect();
    let asks = documents.iter().zip(&readings).flat_map(|(document, reading)| {
        let pairs = reading.iter().flat_map(|reading| reading.pairs.iter().map(move |&pair| (reading, pair)));
        pairs.map(|(reading, pair)| ask(work, document, reading, pair, request)).collect::<Vec<_>>()
    });
    let mut chosen = work.choose(asks.collect(), &request.choice).into_iter();
    let answers = documents.iter().zip(readings).map(|(document, reading)| {
        let reading = reading?;
        let chosen: Vec<Result<Chosen>> = chosen.by_ref().take(reading.pairs.len()).collect();
        answer(work, document, reading, chosen.into_iter().collect::<Result<_>>()?)
    });
    answers.collect()
}

fn read(work: &Work<'_>, document: &RelateDocument, found: Option<Found>, request: &RelateRequest) -> Result<Reading> {
    let units = Units::new(&document.text, work.run.unit);
    let mut prompts = Vec::new();
    let mut entities = Vec::new();
    let mut add = |label: &str, place: Range<usize>, logprob, kept_mass| {
        let at = Place { range: place.clone(), window: 0 };
        let found = FoundSpan { places: vec![at.clone()], place: at, logprob, kept_mass };
        entities.push(Entity { place, span: units.span(label, &found)? });
        Ok::<_, Error>(())
    };
    for (i, mention) in document.entities.iter().flatten().enumerate() {
        let place = units.bytes(mention.start, mention.end).ok_or_else(|| {
            let (start, end) = (mention.start, mention.end);
            Error::invalid(format!("entities[{i}]: expected a place in the text, found {start}..{end}"))
        })?;
        add(&mention.label, place, None, None)?;
    }
    if let Some(found) = found {
        prompts = found.prompts;
        for label in &found.labels {
            for span in &label.spans {
                let places = match request.mentions {
                    Mentions::First => std::slice::from_ref(&span.place),
                    Mentions::All => &span.places,
                };
                for place in places {
                    add(&label.label, place.range.clone(), span.logprob, span.kept_mass)?;
                }
            }
        }
    }
    let pairs = pairs(&document.text, &entities, request);
    if pairs.len() > request.max_pairs {
        return Err(Error::invalid(format!(
            "max_pairs: expected at most {} candidate pairs, found {}",
            request.max_pairs,
            pairs.len()
        )));
    }
    Ok(Reading { entities, pairs, prompts })
}

/// Ordered pairs that at least one relation allows, heads in order, tails in order. Where only symmetric relations do, the
/// mention that stands first is the head.
fn pairs(text: &str, entities: &[Entity], request: &RelateRequest) -> Vec<(usize, usize)> {
    let sentences: Vec<usize> = text.split_sentence_bound_indices().map(|(start, _)| start).collect();
    let sentence = |entity: &Entity| sentences.partition_point(|&start| start <= entity.place.start);
    let mut pairs = Vec::new();
    for (i, head) in entities.iter().enumerate() {
        for (j, tail) in entities.iter().enumerate() {
            let apart = request.same_sentence && sentence(head) != sentence(tail);
            if i == j || head.place == tail.place || apart {
                continue;
            }
            let ordered = (head.place.start, head.place.end, i) < (tail.place.start, tail.place.end, j);
            let allowed = allowed(request, head, tail);
            if allowed.iter().any(|relation| !relation.symmetric) || (ordered && !allowed.is_empty()) {
                pairs.push((i, j));
            }
        }
    }
    pairs
}

fn allowed<'r>(request: &'r RelateRequest, head: &Entity, tail: &Entity) -> Vec<&'r Relation> {
    let fits = |labels: &[String], entity: &Entity| labels.contains(&entity.span.label);
    let forward = |r: &Relation| fits(&r.head, head) && fits(&r.tail, tail);
    let backward = |r: &Relation| r.symmetric && fits(&r.head, tail) && fits(&r.tail, head);
    request.relations.iter().filter(|relation| forward(relation) || backward(relation)).collect()
}

fn ask(
    work: &Work<'_>,
    document: &RelateDocument,
    reading: &Reading,
    (head, tail): (usize, usize),
    request: &RelateRequest,
) -> Result<ChoiceAsk> {
    let prompts = &work.engine.prompts;
    let (head, tail) = (&reading.entities[head], &reading.entities[tail]);
    let relations = allowed(request, head, tail);
    let spelled = |entity: &Entity| one_line(&entity.span.text);
    let mut labels: Vec<String> = relations.iter().map(|relation| relation.label.name.clone()).collect();
    let mut texts: Vec<String> =
        relations.iter().map(|relation| relation.option(&spelled(head), &spelled(tail))).collect();
    labels.push(NONE.to_owned());
    texts.push(prompts.none_option(Wording::Relate, json!({}))?);
    let mentions = [(head.place.clone(), head.span.label.as_str()), (tail.place.clone(), tail.span.label.as_str())];
    let variables = |head_text: &str, tail_text: &str| {
        json!({
            "head": {"label": head.span.label, "text": head_text},
            "tail": {"label": tail.span.label, "text": tail_text},
        })
    };
    let nothing = prompts.content_free();
    Ok(ChoiceAsk {
        purpose: "relate",
        wording: Wording::Relate,
        labels,
        texts,
        content: Content {
            variables: variables(&spelled(head), &spelled(tail)),
            text: Some(mark(prompts, &document.text, &mentions)?),
        },
        blank: Content { variables: variables(nothing, nothing), text: Some(nothing.to_owned()) },
    })
}

fn answer(work: &Work<'_>, document: &RelateDocument, reading: Reading, chosen: Vec<Chosen>) -> Result<RelateAnswer> {
    let Reading { entities, pairs, mut prompts } = reading;
    let mut answers = Vec::with_capacity(pairs.len());
    for ((head, tail), (choice, shown)) in pairs.into_iter().zip(chosen) {
        answers.push(PairAnswer { head, tail, choice });
        prompts.extend(shown);
    }
    Ok(RelateAnswer {
        id: document.id.clone(),
        status: Status::Ok,
        unit: work.run.unit,
        entities: entities.into_iter().map(|entity| entity.span).collect(),
        pairs: answers,
        provenance: work.setting.provenance.clone(),
        prompts,
    })
}
