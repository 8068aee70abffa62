//! Records that are one choice per text: classes, questions, inference, similarity.

use super::build::Maker;
use super::config::Named;
use super::passages::inside;
use super::record::{Dice, Draft};
use crate::Result;
use biomistral_nlu::task::Wording;
use biomistral_nlu_formats::{Document, Pair, Question};
use serde_json::json;
use std::collections::BTreeMap;

/// `name` or `name: meaning`, as inference spells a class.
pub(crate) fn option((name, description): (String, Option<String>)) -> String {
    description.map_or(name.clone(), |description| format!("{name}: {description}"))
}

/// A document of one class.
pub(crate) fn classify(
    maker: &mut Maker<'_>,
    document: &Document,
    question: Option<&str>,
    classes: &BTreeMap<String, Named>,
    most: usize,
) -> Result<()> {
    let [class] = document.classes.as_slice() else {
        maker.count("not one class");
        return Ok(());
    };
    let Some((class, _)) = classes.get_key_value(class) else {
        maker.count("a class that is not asked for");
        return Ok(());
    };
    let mut dice = maker.dice(&document.id, class);
    let mut offered: Vec<&String> = classes.keys().filter(|other| *other != class).collect();
    dice.shuffle(&mut offered);
    let others = (most.max(2) - 1).min(offered.len());
    offered.truncate(if others > 2 { 2 + dice.below(others - 1) } else { others });
    offered.push(class);
    dice.shuffle(&mut offered);
    let answer = offered.iter().position(|other| *other == class).unwrap_or_default();
    let options: Vec<String> = offered.iter().map(|class| option(classes[*class].pick(&mut dice))).collect();
    let question = question.map(|question| filled(question, document));
    let variables = json!({"question": question});
    let (id, text) = (document.id.clone(), Some(document.text.as_str()));
    maker.take(Draft::choice(&maker.asking(&id, Wording::Classify), id, variables, text, options, answer)?)
}

/// A document's passages as documents whose classes are the types of the events that are triggered in them.
pub(crate) fn of_events(maker: &Maker<'_>, document: &Document) -> Vec<Document> {
    let triggers = document.events.iter().filter_map(|event| Some((event, document.mention(&event.trigger)?.extent())));
    let triggers: Vec<_> = triggers.collect();
    let passages = maker.passages(document).into_iter().map(|passage| {
        let mut made = Document::new(format!("{}:{}", document.id, passage.start), &document.text[passage.clone()]);
        for (event, _) in triggers.iter().filter(|(_, place)| inside(place, &passage)) {
            if !made.classes.contains(&event.label) {
                made.classes.push(event.label.clone());
            }
        }
        made
    });
    passages.collect()
}

/// Whether a class applies: the document's own, or another.
pub(crate) fn classify_multi(
    maker: &mut Maker<'_>,
    document: &Document,
    question: Option<&str>,
    classes: &BTreeMap<String, Named>,
    applies: f64,
) -> Result<()> {
    let mut dice = maker.dice(&document.id, "multi");
    let (own, other): (Vec<&String>, Vec<&String>) = classes.keys().partition(|class| document.classes.contains(class));
    let applies = !own.is_empty() && (other.is_empty() || dice.chance(applies));
    let from = if applies { &own } else { &other };
    let Some(&class) = from.get(dice.below(from.len())) else {
        maker.count("no class that is asked for");
        return Ok(());
    };
    let (name, description) = classes[class].pick(&mut dice);
    let mut label = json!({"name": name});
    if let Some(description) = description {
        label["description"] = json!(description);
    }
    let options = maker.prompts.yes_no()?.map(str::to_owned).to_vec();
    let variables = json!({"question": question.map(|q| filled(q, document)), "label": label});
    let (id, text, answer) = (document.id.clone(), Some(document.text.as_str()), usize::from(!applies));
    maker.take(Draft::choice(&maker.asking(&id, Wording::ClassifyMulti), id, variables, text, options, answer)?)
}

/// A question with the document's notes in the place of their names.
fn filled(question: &str, document: &Document) -> String {
    let fill = |text: String, (key, value): (&String, &String)| {
        text.replace(&format!("{{{key}}}"), &value.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    document.notes.iter().fold(question.to_owned(), fill)
}

/// A question with its options in a random order.
pub(crate) fn answer(maker: &mut Maker<'_>, question: &Question) -> Result<()> {
    let mut dice = maker.dice(&question.id, "options");
    let mut order: Vec<usize> = (0..question.options.len()).collect();
    dice.shuffle(&mut order);
    let answer = order.iter().position(|&option| option == question.answer).unwrap_or_default();
    let options = order.iter().map(|&option| question.options[option].split_whitespace().collect::<Vec<_>>().join(" "));
    let variables = json!({"question": question.question});
    let (id, text) = (question.id.clone(), question.context.as_deref());
    maker.take(Draft::choice(&maker.asking(&id, Wording::Answer), id, variables, text, options.collect(), answer)?)
}

/// A labelled pair as a question about its first text.
pub(crate) fn answer_pair(
    maker: &mut Maker<'_>,
    pair: &Pair,
    question: &Named,
    labels: &BTreeMap<String, Named>,
) -> Result<()> {
    let Some(answer) = labels.keys().position(|label| *label == pair.label) else {
        maker.count("a label that is not asked for");
        return Ok(());
    };
    let mut dice = maker.dice(&pair.id, "question");
    let second = pair.second.trim().trim_end_matches('.');
    let question = Question {
        id: pair.id.clone(),
        source: pair.source.clone(),
        context: Some(pair.first.clone()),
        question: question.any(&mut dice).replace("{second}", second),
        options: labels.values().map(Named::name).collect(),
        answer,
    };
    self::answer(maker, &question)
}

/// A labelled pair with its options in a random order.
pub(crate) fn entail(maker: &mut Maker<'_>, pair: &Pair, labels: &BTreeMap<String, Named>) -> Result<()> {
    let Some((label, _)) = labels.get_key_value(&pair.label) else {
        maker.count("a label that is not asked for");
        return Ok(());
    };
    let mut dice = maker.dice(&pair.id, "options");
    let mut offered: Vec<&String> = labels.keys().collect();
    dice.shuffle(&mut offered);
    let answer = offered.iter().position(|other| *other == label).unwrap_or_default();
    let options: Vec<String> = offered.iter().map(|label| labels[*label].name()).collect();
    let variables = json!({"premise": pair.first, "hypothesis": pair.second});
    let text = maker.prompts.text(Wording::Entail, &variables)?;
    let asking = maker.asking(&pair.id, Wording::Entail);
    maker.take(Draft::choice(&asking, pair.id.clone(), variables, Some(&text), options, answer)?)
}

/// A scored pair on one of the scales, rounded half up.
pub(crate) fn similar(maker: &mut Maker<'_>, pair: &Pair, [low, high]: [f64; 2], scales: &[i32]) -> Result<()> {
    let Some(score) = pair.score.filter(|score| (low..=high).contains(score)) else {
        maker.count("no score on the scale");
        return Ok(());
    };
    let mut dice = maker.dice(&pair.id, "scale");
    let most = scales[dice.below(scales.len())];
    let answer = ((score - low) / (high - low) * f64::from(most) + 0.5).floor() as usize;
    let options = (0..=most).map(|score| score.to_string()).collect();
    let variables = json!({"text1": pair.first, "text2": pair.second, "low": 0, "high": most});
    let text = maker.prompts.text(Wording::Similar, &variables)?;
    let asking = maker.asking(&pair.id, Wording::Similar);
    maker.take(Draft::choice(&asking, pair.id.clone(), variables, Some(&text), options, answer)?)
}

impl Named {
    /// One of its names, as it is written.
    fn any(&self, dice: &mut Dice) -> String {
        match self {
            Named::Several(names) => names.get(dice.below(names.len())).cloned().unwrap_or_default(),
            _ => self.name(),
        }
    }

    /// The name alone, as it is written: options of inference.
    fn name(&self) -> String {
        match self {
            Named::One(name) | Named::Described { name, .. } => name.clone(),
            Named::Several(names) => names.first().cloned().unwrap_or_default(),
        }
    }
}
