//! Worked examples for few-shot prompting: messages with the engine's own wording, and their right answers.

use crate::config::{SetPlan, TaskPlan};
use crate::line::Gold;
use crate::load::{Item, Subject};
use crate::{Error, Result};
use biomistral_nlu::task::{Label, Prompts, Shot, Wording, mark, one_line};
use biomistral_nlu_formats::{Offsets, Unit};
use biomistral_nlu_train::instruct::{Asking, Draft};
use serde_json::json;
use std::collections::HashSet;

/// `count` examples of the items, each of another document, answer and label as far as there are such: with something to find and
/// without in turn, a class other than the ones before, by the order of the items.
///
/// # Errors
/// [`Error::Invalid`] where there are fewer items.
pub fn shots(prompts: &Prompts, plan: &SetPlan, items: &[Item], count: usize) -> Result<Vec<Shot>> {
    let mut shots: Vec<Shot> = Vec::new();
    let mut documents: HashSet<&str> = HashSet::new();
    // First answers not seen yet, then any.
    for strict in [true, false] {
        for item in items {
            if shots.len() == count {
                return Ok(shots);
            }
            if documents.contains(item.document.as_str()) {
                continue;
            }
            let empty = matches!(&item.gold, Gold::Spans(places) if places.is_empty());
            // Every third example has nothing to find.
            let turn = shots.len() % 3 == 2;
            if strict && matches!(item.gold, Gold::Spans(_)) && empty != turn {
                continue;
            }
            let Some(shot) = shot(prompts, plan, item, shots.len())? else { continue };
            if strict && shots.iter().any(|known| known.answer == shot.answer) {
                continue;
            }
            documents.insert(&item.document);
            shots.push(shot);
        }
    }
    match shots.len() {
        found if found == count => Ok(shots),
        found => Err(Error::invalid(format!("{}: expected {count} examples, found {found}", plan.name))),
    }
}

/// The item as an example, the `at`th; none where an answer could not say what is right.
fn shot(prompts: &Prompts, plan: &SetPlan, item: &Item, at: usize) -> Result<Option<Shot>> {
    let id = item.id.clone();
    let labels = || match &item.gold {
        Gold::Labels(labels) => labels.as_slice(),
        _ => &[],
    };
    let position = |names: &mut dyn Iterator<Item = &str>| {
        let label = labels().first()?;
        names.collect::<Vec<_>>().iter().position(|name| name == label)
    };
    let asking = |wording| Asking { prompts, wording, phrasing: 0 };
    let choice = |wording, variables, text: Option<&str>, options, answer: Option<usize>| {
        answer.map(|answer| Draft::choice(&asking(wording), id.clone(), variables, text, options, answer)).transpose()
    };
    let draft = match (&plan.task, &item.subject) {
        (TaskPlan::Extract { labels, .. }, Subject::Text { text, .. }) => {
            let Gold::Spans(gold) = &item.gold else { return Ok(None) };
            let mut lines: Vec<(String, Option<String>, Vec<&str>)> = Vec::new();
            for label in labels {
                let mut spans: Vec<&str> = Vec::new();
                for place in gold.iter().filter(|place| place.label == label.name) {
                    if !text.contains(&place.text) {
                        return Ok(None);
                    }
                    if !spans.contains(&place.text.as_str()) {
                        spans.push(&place.text);
                    }
                }
                lines.push((label.name.clone(), label.description.clone(), spans));
            }
            Some(Draft::spans(&asking(Wording::Extract), id, json!({}), text, None, &lines)?)
        }
        (TaskPlan::Relate { relations, .. }, Subject::Pair { text, mentions }) => {
            let offsets = Offsets::new(text, Unit::CodePoint);
            let [head, tail] = mentions;
            let place = |mention: &biomistral_nlu::task::Mention| offsets.bytes(mention.start, mention.end);
            let (Some(head_place), Some(tail_place)) = (place(head), place(tail)) else { return Ok(None) };
            let (head_text, tail_text) = (one_line(&text[head_place.clone()]), one_line(&text[tail_place.clone()]));
            let fits = |names: &[String], label: &str| names.iter().any(|name| name == label);
            let allowed: Vec<_> = relations
                .iter()
                .filter(|r| {
                    (fits(&r.head, &head.label) && fits(&r.tail, &tail.label))
                        || (r.symmetric && fits(&r.head, &tail.label) && fits(&r.tail, &head.label))
                })
                .collect();
            let mut options: Vec<String> =
                allowed.iter().map(|r| r.relation().option(&head_text, &tail_text)).collect();
            options.push(prompts.none_option(Wording::Relate, json!({}))?);
            let answer = match labels() {
                [] => Some(allowed.len()),
                _ => position(&mut allowed.iter().map(|r| r.name.as_str())),
            };
            let shown = mark(prompts, text, &[(head_place, &head.label), (tail_place, &tail.label)])?;
            let variables = json!({
                "head": {"label": head.label, "text": head_text}, "tail": {"label": tail.label, "text": tail_text},
            });
            choice(Wording::Relate, variables, Some(shown.as_str()), options, answer)?
        }
        (TaskPlan::Classify { question, classes, multi: false }, Subject::Text { text, .. }) => {
            let options = classes.iter().map(|class| class.label().option_text()).collect();
            let answer = position(&mut classes.iter().map(|class| class.name.as_str()));
            choice(Wording::Classify, json!({"question": question}), Some(text), options, answer)?
        }
        (TaskPlan::Classify { question, classes, multi: true }, Subject::Text { text, .. }) => {
            let applies = |class: &Label| labels().contains(&class.name);
            // Yes and no in turn, about one class after the other.
            let mut of = (0..classes.len()).map(|i| classes[(at + i) % classes.len()].label());
            let Some(class) = of.find(|class| applies(class) == at.is_multiple_of(2)) else { return Ok(None) };
            let options = prompts.yes_no()?.map(str::to_owned).to_vec();
            let variables = json!({"question": question, "label": class});
            let answer = Some(usize::from(!applies(&class)));
            choice(Wording::ClassifyMulti, variables, Some(text), options, answer)?
        }
        (TaskPlan::Answer {}, Subject::Question(question)) => {
            let answer = position(&mut question.options.iter().map(String::as_str));
            let variables = json!({"question": question.question});
            choice(Wording::Answer, variables, question.context.as_deref(), question.options.clone(), answer)?
        }
        (TaskPlan::Entail { labels: plans }, Subject::Texts(premise, hypothesis)) => {
            let variables = json!({"premise": premise, "hypothesis": hypothesis});
            let text = prompts.text(Wording::Entail, &variables)?;
            let options = plans.iter().map(|label| label.label().option_text()).collect();
            let answer = position(&mut plans.iter().map(|label| label.name.as_str()));
            choice(Wording::Entail, variables, Some(text.as_str()), options, answer)?
        }
        (TaskPlan::Similar { scale: [low, high] }, Subject::Texts(text1, text2)) => {
            let Gold::Score(score) = item.gold else { return Ok(None) };
            let variables = json!({"text1": text1, "text2": text2, "low": low, "high": high});
            let text = prompts.text(Wording::Similar, &variables)?;
            let answer = (score + 0.5).floor() as i32;
            let options = (*low..=*high).map(|score| score.to_string()).collect();
            let answer = (*low..=*high).position(|score| score == answer);
            choice(Wording::Similar, variables, Some(text.as_str()), options, answer)?
        }
        _ => None,
    };
    Ok(draft.map(|Draft { message, answer, .. }| Shot { message, answer }))
}
