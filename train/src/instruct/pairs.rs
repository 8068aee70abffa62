//! Records about pairs of mentions: which relation, or none.

use super::build::Maker;
use super::config::{Named, RelationPlan};
use super::passages::{cut, inside};
use super::record::{Dice, Draft};
use crate::Result;
use biomistral_nlu::task::{self, Label, Wording, mark, one_line};
use biomistral_nlu_formats::{Document, Mention};
use serde_json::json;
use std::collections::BTreeMap;

/// What a corpus is asked about its pairs.
pub(crate) struct Plan<'p> {
    pub labels: &'p BTreeMap<String, Named>,
    pub relations: &'p [RelationPlan],
    pub negatives: f64,
    pub closed: bool,
}

/// A pair of mentions, head first, and the number of its relation; `None` for no relation.
type Pair<'d> = (&'d Mention, &'d Mention, Option<usize>);

/// Pairs of a document's sentences: those with a relation, and as many without as the plan says.
pub(crate) fn relate(maker: &mut Maker<'_>, document: &Document, plan: &Plan<'_>) -> Result<()> {
    let mut dice = maker.dice(&document.id, "pairs");
    let stated = stated(document);
    for passage in cut(document, 1) {
        let here: Vec<&Mention> = document
            .mentions
            .iter()
            .filter(|m| plan.labels.contains_key(&m.label) && !m.discontinuous() && inside(&m.extent(), &passage))
            .collect();
        let (mut related, mut unrelated): (Vec<Pair<'_>>, Vec<Pair<'_>>) = (Vec::new(), Vec::new());
        for head in &here {
            for tail in here.iter().filter(|tail| tail.extent() != head.extent()) {
                let allowed = allowed(plan, head, tail);
                let forward = allowed.iter().any(|&r| !plan.relations[r].symmetric);
                let first = (head.extent().start, head.extent().end) < (tail.extent().start, tail.extent().end);
                if allowed.is_empty() || !(forward || first) {
                    continue;
                }
                match gold(&stated, plan, &allowed, head, tail) {
                    Gold::One(relation) => related.push((*head, *tail, Some(relation))),
                    Gold::None if plan.closed => unrelated.push((*head, *tail, None)),
                    Gold::None => {}
                    Gold::Other => maker.count("a pair with two relations or one that is not asked for"),
                }
            }
        }
        dice.shuffle(&mut unrelated);
        let most = (related.len().max(1) as f64 * plan.negatives).round() as usize;
        // A sentence without any relation gives one negative now and then.
        let most = if related.is_empty() && !dice.chance(0.2) { 0 } else { most };
        unrelated.truncate(most);
        for pair in related.into_iter().chain(unrelated) {
            let text = &document.text[passage.clone()];
            record(maker, document, text, passage.start, pair, plan, &mut dice)?;
        }
    }
    Ok(())
}

enum Gold {
    One(usize),
    None,
    Other,
}

/// A relation that the document states: its label, and the ids of the mentions that may be its first and its second argument.
struct Stated<'d> {
    label: &'d str,
    ends: [Vec<&'d str>; 2],
    of_concepts: bool,
}

fn stated(document: &Document) -> Vec<Stated<'_>> {
    let mentions = |target: &str, of_concepts: bool| -> Vec<&str> {
        match of_concepts {
            true => document
                .mentions
                .iter()
                .filter(|m| m.concepts.iter().any(|c| c == target))
                .map(|m| m.id.as_str())
                .collect(),
            false => document.resolve(target).map(|mention| mention.id.as_str()).into_iter().collect(),
        }
    };
    let relations = document.relations.iter().filter(|relation| relation.label != biomistral_nlu_formats::ppi::NONE);
    let stated = relations.filter_map(|relation| {
        let [first, second, ..] = relation.arguments.as_slice() else { return None };
        let of_concepts = relation.of_concepts;
        let ends = [first, second].map(|argument| mentions(&argument.target, of_concepts));
        Some(Stated { label: &relation.label, ends, of_concepts })
    });
    stated.collect()
}

/// What the document says of a pair in this direction, or in either for symmetric relations.
fn gold(stated: &[Stated<'_>], plan: &Plan<'_>, allowed: &[usize], head: &Mention, tail: &Mention) -> Gold {
    let mut found = Gold::None;
    for Stated { label, ends: [first, second], of_concepts } in stated {
        let both = |a: &Mention, b: &Mention| first.contains(&a.id.as_str()) && second.contains(&b.id.as_str());
        let (forward, backward) = (both(head, tail), both(tail, head));
        if !forward && !backward {
            continue;
        }
        let has = |r: &RelationPlan| r.labels.iter().any(|known| known == label);
        let number = allowed
            .iter()
            .copied()
            .find(|&r| has(&plan.relations[r]) && (forward || plan.relations[r].symmetric || *of_concepts));
        // The other direction of a relation that has one says nothing about this direction.
        let elsewhere = !forward && plan.relations.iter().any(has);
        found = match (found, number) {
            (Gold::None, Some(number)) => Gold::One(number),
            (Gold::One(known), Some(number)) if known == number => Gold::One(known),
            (found, None) if elsewhere => found,
            _ => Gold::Other,
        };
    }
    found
}

fn allowed(plan: &Plan<'_>, head: &Mention, tail: &Mention) -> Vec<usize> {
    let fits = |r: &RelationPlan, a: &Mention, b: &Mention| r.head.contains(&a.label) && r.tail.contains(&b.label);
    let of = |r: &RelationPlan| fits(r, head, tail) || (r.symmetric && fits(r, tail, head));
    (0..plan.relations.len()).filter(|&i| of(&plan.relations[i])).collect()
}

fn record(
    maker: &mut Maker<'_>,
    document: &Document,
    text: &str,
    start: usize,
    (head, tail, relation): Pair<'_>,
    plan: &Plan<'_>,
    dice: &mut Dice,
) -> Result<()> {
    // Some of the relations, in a random order: the last letter would say "none" by itself if there were always as many.
    let mut options = allowed(plan, head, tail);
    dice.shuffle(&mut options);
    options.sort_by_key(|&option| Some(option) != relation);
    options.truncate(1 + dice.below(options.len()));
    dice.shuffle(&mut options);
    let place = |mention: &Mention| mention.extent().start - start..mention.extent().end - start;
    let (head_name, _) = plan.labels[&head.label].pick(dice);
    let (tail_name, _) = plan.labels[&tail.label].pick(dice);
    let (head_text, tail_text) = (one_line(&text[place(head)]), one_line(&text[place(tail)]));
    let spell = |&r: &usize| {
        let label = Label { name: plan.relations[r].text.clone(), description: Some(plan.relations[r].text.clone()) };
        let relation = task::Relation { label, head: Vec::new(), tail: Vec::new(), symmetric: false };
        relation.option(&head_text, &tail_text)
    };
    let mut texts: Vec<String> = options.iter().map(spell).collect();
    texts.push(maker.prompts.none_option(Wording::Relate, json!({}))?);
    let answer = match relation {
        None => options.len(),
        Some(relation) => options.iter().position(|&option| option == relation).unwrap_or(options.len()),
    };
    let shown = mark(maker.prompts, text, &[(place(head), &head_name), (place(tail), &tail_name)])?;
    let variables = json!({
        "head": {"label": head_name, "text": head_text}, "tail": {"label": tail_name, "text": tail_text},
    });
    let id = format!("{}:{}-{}", document.id, head.id, tail.id);
    maker.take(Draft::choice(&maker.asking(&id, Wording::Relate), id, variables, Some(&shown), texts, answer)?)
}
